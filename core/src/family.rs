//! Token families: the refresh tokens of one session, numbered, each with its own generation.
//!
//! A family belongs to one client and holds what its last answer said, so that the same answer can be given again
//! without storing a token. A session has at most [`FAMILIES_MAX`]; opening one more closes the one that was silent
//! longest, of the same client if it has one: a client that opens many pushes out its own. A handle of a closed family
//! is refused and is never taken for theft.

use std::time::Duration;

use crate::{
    client::ClientId,
    handle::{FamilyNumber, Generation, Kind, Name},
    id::{KeyId, SessionId},
    oauth::jwk::Thumbprint,
    scope,
    time::Time,
    user::Role,
};

/// How many token families a session can have at a time.
pub const FAMILIES_MAX: usize = 8;

/// What, besides the handle itself, its holder must show at every use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Binding {
    /// Nothing: whoever holds it can use it.
    None,
    /// The client's own authentication.
    Client,
    /// A proof with this key (RFC 9449, section 5): what a public client's refresh token is bound to.
    Key(Thumbprint),
}

/// Where a request came from, coarsely: a digest of the network and one of the user agent. It decides nothing alone;
/// repeats from another network *and* another user agent over several generations do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Whence {
    network: u64,
    agent: u64,
}

impl Whence {
    /// Digests the network (`/24` of IPv4, `/64` of IPv6) and the user agent.
    pub fn new(address: std::net::IpAddr, user_agent: &str) -> Self {
        let network = match address.to_canonical() {
            std::net::IpAddr::V4(ip) => digest(&ip.octets()[..3]),
            std::net::IpAddr::V6(ip) => digest(&ip.octets()[..8]),
        };
        Self { network, agent: digest(user_agent.as_bytes()) }
    }

    /// Whether both the network and the user agent differ.
    pub const fn is_stranger_to(self, other: Self) -> bool {
        self.network != other.network && self.agent != other.agent
    }
}

fn digest(bytes: &[u8]) -> u64 {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut short = [0; 8];
    short.copy_from_slice(&digest.as_ref()[..8]);
    // 53 bits, so that the number survives every JSON parser.
    u64::from_be_bytes(short) >> 11
}

/// What the access token of a generation says, kept so that a repeat says the same.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Issued {
    /// `iat`, and the moment of the rotation.
    pub at: Time,
    /// `exp`.
    pub expires_at: Time,
    /// `aud`.
    pub audience: Box<str>,
    /// `scope`, separated by spaces; empty for none.
    pub scope: Box<str>,
    /// `roles`.
    pub roles: Vec<Role>,
    /// `auth_time`: when the user had proven who they are. A machine has none.
    #[serde(default)]
    pub auth_time: Option<Time>,
    /// `cnf.jkt`: the key that the access token is bound to.
    #[serde(default)]
    pub key: Option<Thumbprint>,
}

/// The refresh tokens of one app (or tab) under one session.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Family {
    /// Its number within the session, never used again.
    pub number: FamilyNumber,
    /// The client that holds it.
    pub client: ClientId,
    /// The generation that is current.
    pub generation: Generation,
    /// The key that made the current generation, so that a repeat makes the same.
    pub key: KeyId,
    /// What the holder must show besides.
    pub binding: Binding,
    /// What the client may do, separated by spaces. No access token of the family says more.
    #[serde(default)]
    pub scope: Box<str>,
    /// What the current generation's access token says.
    pub issued: Issued,
    /// Who asked for the current generation.
    pub whence: Whence,
    /// Repeats of a request by somebody else, from elsewhere.
    pub strangers: Strangers,
}

/// For how many generations in a row somebody repeated a refresh from another network *and* another user agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Strangers {
    generations: u8,
    last: u32,
}

impl Strangers {
    /// Counts a repeat of `generation`; returns for how many generations in a row it has happened now.
    pub(crate) const fn count(&mut self, generation: Generation) -> u8 {
        if self.last != generation.0 {
            let in_a_row = self.last.saturating_add(1) == generation.0;
            self.generations = if in_a_row { self.generations.saturating_add(1) } else { 1 };
            self.last = generation.0;
        }
        self.generations
    }
}

/// What a new family needs to know.
#[derive(Debug, Clone)]
pub struct NewFamily {
    /// The client that will hold it.
    pub client: ClientId,
    /// The active handle key.
    pub key: KeyId,
    /// What the holder must show besides.
    pub binding: Binding,
    /// What the first access token says.
    pub issued: Issued,
    /// Who asked.
    pub whence: Whence,
}

impl Family {
    /// The name of the current refresh token.
    pub const fn handle(&self, session: SessionId) -> Name {
        Name { kind: Kind::Refresh, session, family: self.number, generation: self.generation }
    }

    /// The scope of the next access token, where the client asks for less than it may do. `None` if it asks for
    /// more (RFC 6749, section 6). What it gives up for one token it can have again in the next.
    pub fn scope_of(&self, asked: Option<&str>) -> Option<Box<str>> {
        let Some(asked) = asked else { return Some(self.scope.clone()) };
        let may = |name: &str| scope::has(&self.scope, name);
        asked.split_ascii_whitespace().all(may).then(|| scope::only(asked, may))
    }

    /// How long ago the current generation was made.
    pub fn age(&self, now: Time) -> Duration {
        now.since(self.issued.at)
    }
}

/// The token families of one session.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Families {
    next: u32,
    open: Vec<Family>,
    /// How often all were closed.
    #[serde(default)]
    era: u32,
}

impl Default for Families {
    fn default() -> Self {
        Self { next: FamilyNumber::COOKIE.0 + 1, open: Vec::new(), era: 0 }
    }
}

impl Families {
    /// The open families, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Family> {
        self.open.iter()
    }

    /// The open family of this number.
    pub fn get(&self, number: FamilyNumber) -> Option<&Family> {
        self.open.iter().find(|family| family.number == number)
    }

    pub(crate) fn get_mut(&mut self, number: FamilyNumber) -> Option<&mut Family> {
        self.open.iter_mut().find(|family| family.number == number)
    }

    /// Opens a family and returns its number; where there are [`FAMILIES_MAX`], the one of this client that was silent
    /// longest closes, or else of all.
    pub(crate) fn open(&mut self, new: NewFamily) -> FamilyNumber {
        if self.open.len() >= FAMILIES_MAX {
            let silent = self
                .open
                .iter()
                .enumerate()
                .min_by_key(|(_, family)| (family.client != new.client, family.issued.at));
            if let Some((at, _)) = silent {
                self.open.remove(at);
            }
        }
        let number = FamilyNumber(self.next);
        self.next = self.next.saturating_add(1);
        let NewFamily { client, key, binding, issued, whence } = new;
        let generation = Generation::FIRST;
        self.open.push(Family {
            number,
            client,
            generation,
            key,
            binding,
            scope: issued.scope.clone(),
            issued,
            whence,
            strangers: Strangers::default(),
        });
        number
    }

    /// Closes all; another era of access tokens begins.
    pub(crate) fn close_all(&mut self) {
        self.open.clear();
        self.era = self.era.saturating_add(1);
    }

    /// How often all were closed.
    pub(crate) const fn era(&self) -> u32 {
        self.era
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(client: &str, secs: i64) -> NewFamily {
        let at = Time::from_secs(secs);
        NewFamily {
            client: client.parse().unwrap(),
            key: KeyId::from_bytes([1; 16]),
            binding: Binding::Client,
            issued: Issued {
                at,
                expires_at: at + Duration::from_secs(300),
                audience: "".into(),
                scope: "".into(),
                roles: vec![],
                auth_time: None,
                key: None,
            },
            whence: Whence::new([127, 0, 0, 1].into(), ""),
        }
    }

    #[test]
    fn a_client_that_opens_many_pushes_out_its_own() {
        let mut families = Families::default();
        let quiet = families.open(new("quiet", 0));
        for secs in 1..100 {
            families.open(new("busy", secs));
        }
        assert_eq!(families.iter().count(), FAMILIES_MAX);
        assert!(families.get(quiet).is_some());
        families.open(new("third", 100));
        assert!(families.get(quiet).is_none(), "where it has none, the longest silent closes");
    }
}
