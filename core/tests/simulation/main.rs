//! A simulation of the revocation protocol: core's log, leases and followers, in a world where everything goes wrong.
//!
//! A history is drawn from one seed ([`plan`]) and runs in virtual time ([`stage`]). When a promise is broken, the test
//! prints the seed; `SYMBOLON_TEST_SEED=…` tells that history event by event. `SYMBOLON_TEST_RACES` asks for more.
//!
//! *Simulated.* The store and the server before it ([`origin`]): commits that become durable before they are told, ends
//! with their children, confirmations behind one writer and with a deadline, restarts, restored backups (by command,
//! which ends everything, and by an older disk, of which the server knows nothing). Nodes with followers of their own
//! ([`node`]). Guards, up to 120, behind the origin, a node or a load balancer ([`guard`]), with cached answers and
//! questions that many wait for; some are copies that share an identity, or come back with a stored one. Tokens with
//! `iat` and `exp`, proven and signed with pauses between ([`decide`]). Clocks at the edge of the allowed drift; wall
//! clocks that jump: servers' within the leeway, guards' anyhow. Messages late, lost, doubled, overtaken; processes cut
//! off, frozen, killed; store answers later than an entry lives. Requests also come at the last moment of a lease, when
//! a process wakes, and right after a confirmation.
//!
//! *Servers that share a store* have histories of their own ([`cluster`]). The store ([`database`]) runs transactions
//! statement by statement, with locks that are waited for, commits that are slow, answers that come late or never, and
//! what is left by those who gave up; it is away, frozen, restarted, taken over (sometimes with a loss) and put back from
//! copies. The servers ([`member`]) run core's tail, leases, progress and waiting ([`symbolon_core::node`]); what is the
//! server's own is modelled after its files, statement by statement ([`renewal`], [`acts`]). Followers move between them.
//!
//! *Judged* ([`facts`]): after a confirmed end, nobody lets the session or a child in; later than a lease after any end,
//! nobody does so under a lease; who heard of an end never does again; no token outlives `exp`; none is issued on a
//! proof of life after the end; and once the weather is calm, all followers are ready and know every end, and every
//! confirmation returns. Where a store is shared, also ([`clients`]): nobody reads past an entry, takes a lease past an end,
//! or loses a write of which somebody was told, and a refresh token has one successor. [`fault`] lists what is broken on
//! purpose, and how soon some history must show it.
//!
//! *Not simulated:* bytes, HTTP and SQL; handles, theft and who may ask (they have tests of their own); notifications;
//! two databases that both believe to be the first; a process that is copied while it holds a lease, and a hypervisor
//! that stops the clocks (stated limits); server clocks that jump further than the leeway; what an older disk forgot and nobody heard of.
//! [`alone`] tests each piece where no history comes.

// `cfg(test)` tells clippy that these are tests throughout.
#[cfg(test)]
mod acts;
#[cfg(test)]
mod alone;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod database;
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
mod member;
#[cfg(test)]
mod node;
#[cfg(test)]
mod origin;
#[cfg(test)]
mod plan;
#[cfg(test)]
mod renewal;
#[cfg(test)]
mod serving;
#[cfg(test)]
mod sql;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod statements;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
