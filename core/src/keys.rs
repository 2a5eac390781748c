//! The key ring: upcoming, active and retired keys, by schedule; sealed at rest.
