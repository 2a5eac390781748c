//! A simulation of the revocation protocol.

// `cfg(test)` tells clippy that these are tests throughout.
#[cfg(test)]
mod alone;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod decide;
#[cfg(test)]
mod draw;
#[cfg(test)]
mod facts;
#[cfg(test)]
mod fault;
#[cfg(test)]
mod guard;
#[cfg(test)]
mod held;
#[cfg(test)]
mod host;
#[cfg(test)]
mod node;
#[cfg(test)]
mod origin;
#[cfg(test)]
mod plan;
#[cfg(test)]
mod serving;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
