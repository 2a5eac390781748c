//! The pure domain of Symbolon: what a session is, what proves one, and how it ends.
//!
//! Nothing here waits, reads a clock, draws a random number on its own, or touches a file or socket: `now` and
//! `rng` are parameters. Core *decides*; the decision is a value (a [`change::Change`], a [`refresh::Refresh`]) that
//! the server's `ops` commit.
//!
//! | module | noun |
//! |---|---|
//! | [`id`], [`time`], [`secret`] | the small types everything is made of |
//! | [`handle`] | what a client holds to prove a session: session cookie, refresh token |
//! | [`session`], [`family`] | one login, its limits, its token families |
//! | [`refresh`] | rotation, the same answer again, theft |
//! | [`code`] | authorization codes: a browser session gets a child at an application |
//! | [`token`], [`keys`] | access tokens (JWS, RFC 9068) and the key ring |
//! | [`oauth`] | what clients present: keys, assertions, proofs, requests; scopes and URIs |
//! | [`revocation`] | the set of ended ids that every check looks at |
//! | [`log`], [`lease`], [`follower`], [`node`] | who knows of what has ended, and who may decide alone meanwhile |
//! | [`user`], [`client`], [`password`], [`limit`], [`csrf`] | who, which application, and the rules at the door |
//! | [`change`], [`audit`] | the decision itself |

pub mod audit;
pub mod change;
pub mod client;
pub mod code;
pub mod csrf;
pub mod data;
pub mod family;
pub mod follower;
pub mod handle;
pub mod id;
pub mod keys;
pub mod lease;
pub mod limit;
pub mod log;
pub mod logout_uri;
pub mod mapped;
pub mod node;
pub mod notice;
pub mod oauth;
pub mod password;
pub mod profile;
pub mod refresh;
pub mod revocation;
pub mod scope;
pub mod secret;
pub mod session;
pub mod subject;
pub mod time;
pub mod token;
pub mod user;
