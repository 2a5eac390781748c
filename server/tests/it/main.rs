//! The tests at the door: one binary, so that it links once.

// `cfg(test)` tells clippy that these are tests throughout.
#[cfg(test)]
mod app_sessions;
#[cfg(test)]
mod architecture;
#[cfg(test)]
mod assertion;
#[cfg(test)]
mod attacks;
#[cfg(test)]
mod authorize;
#[cfg(test)]
mod backchannel;
#[cfg(test)]
mod cached;
#[cfg(test)]
mod claims;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod codes;
#[cfg(test)]
mod deployed;
#[cfg(test)]
mod device;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod dpop;
#[cfg(test)]
mod exchange;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod fapi;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod flows;
#[cfg(test)]
mod followers;
#[cfg(test)]
mod forward;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod late;
#[cfg(test)]
mod listen;
#[cfg(test)]
mod machines;
#[cfg(test)]
mod moving;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod oauth;
#[cfg(test)]
mod offline;
#[cfg(test)]
mod opaque;
#[cfg(test)]
mod pairwise;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod prober;
#[cfg(test)]
mod process;
#[cfg(test)]
mod races;
#[cfg(test)]
mod receiver;
#[cfg(test)]
mod registered;
#[cfg(test)]
mod registration;
#[cfg(test)]
mod replaced;
#[cfg(test)]
mod resources;
#[cfg(test)]
mod revocation;
#[cfg(test)]
mod revoked;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod rp_logout;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod step_up;
#[cfg(test)]
mod store;
#[cfg(test)]
mod trouble;
#[cfg(test)]
mod turning;
#[cfg(test)]
mod upgrade;
#[cfg(test)]
mod userinfo;
#[cfg(test)]
mod wire;
#[cfg(test)]
mod world;

/// How often a race is run: `./test all` asks for 10,000.
pub(crate) fn races() -> usize {
    let asked =
        std::env::var_os("SYMBOLON_TEST_RACES").and_then(|races| races.to_str()?.parse().ok());
    asked.unwrap_or(500)
}
