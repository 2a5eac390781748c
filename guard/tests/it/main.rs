//! The guard from outside: what an application and an attacker can see of it.

mod admit;
mod layer;
#[cfg(feature = "remote")]
mod remote;
