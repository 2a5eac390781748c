//! Access tokens and keys at their door: what must be refused, what another library says, hostile signatures, and the
//! schedule of the ring.

mod forge;
mod keys;
mod oracle;
mod properties;
mod refusals;
mod wycheproof;
