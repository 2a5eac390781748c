//! The guard from outside: what an application and an attacker can see of it.

#[cfg(test)]
mod admit;
#[cfg(test)]
mod broken;
#[cfg(test)]
mod dpop;
#[cfg(test)]
mod layer;
#[cfg(test)]
mod load;
#[cfg(test)]
mod postgres;
#[cfg(test)]
#[cfg(feature = "redis")]
mod redis;
#[cfg(test)]
#[cfg(feature = "remote")]
mod remote;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod stores;
