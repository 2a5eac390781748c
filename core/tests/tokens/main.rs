//! Access tokens and keys at their door: what must be refused, what another library says, hostile signatures, and the
//! schedule of the ring.

#[cfg(test)]
mod forge;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod opaque;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod wycheproof;
