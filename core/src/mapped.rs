//! Claims by configuration: what applications are told besides the standard claims, or under another name.
//!
//! A mapped claim adds; it never replaces. The names that a protocol gives a meaning to are refused
//! ([`MappedClaim::check`]), so that no configuration can make a token say something else than what it is.

use serde_json::{Map, Value};

use crate::{
    client::ClientId,
    profile,
    scope::{self, Scope},
    user::User,
};

/// The longest name of a claim, in bytes: room for a URL.
pub const NAME_BYTES_MAX: usize = 128;

/// The longest constant, in bytes.
pub const VALUE_BYTES_MAX: usize = 1024;

/// The most mapped claims: tokens stay small.
pub const CLAIMS_MAX: usize = 32;

/// Where a claim can stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the ID token.
    IdToken,
    /// At userinfo.
    Userinfo,
    /// In the access token, and what introspection tells of it.
    AccessToken,
}

/// Where its value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The user's roles, as a list.
    Roles,
    /// A standard claim of the user.
    Profile(Box<str>),
    /// The same for everybody.
    Constant(Box<str>),
}

/// One claim that the configuration adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedClaim {
    /// Its name.
    pub name: Box<str>,
    /// Where its value comes from.
    pub source: Source,
    /// Where it stands.
    pub places: Vec<Place>,
    /// The scope that asks for it; `None`: it is told always.
    pub scope: Option<Scope>,
    /// Who is told; empty: every client.
    pub clients: Vec<ClientId>,
}

/// Why a claim cannot be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClaim {
    /// Its name is empty, too long, or has spaces or control characters in it.
    #[error("a claim's name is 1 to {NAME_BYTES_MAX} visible characters")]
    Name,
    /// The protocol says what it means.
    #[error("the protocol gives this name its meaning; no configuration may change what it says")]
    Protocol,
    /// The user's profile says what it is.
    #[error("this is a standard claim: it can come from the user's own, and from nothing else")]
    Standard,
    /// Access tokens say roles by themselves.
    #[error("access tokens have `roles` by themselves")]
    Roles,
    /// No user has such a claim.
    #[error("there is neither a standard claim of this name nor `roles`")]
    Source,
    /// The constant is too long.
    #[error("a constant has at most {VALUE_BYTES_MAX} bytes")]
    Value,
}

/// What tokens, userinfo and introspection say by themselves, and what readers of tokens take for more than a text.
const PROTOCOL: &[&str] = &[
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "sid",
    "client_id",
    "scope",
    "auth_time",
    "nonce",
    "acr",
    "amr",
    "azp",
    "at_hash",
    "c_hash",
    "s_hash",
    "act",
    "may_act",
    "cnf",
    "events",
    "active",
    "token_type",
    "username",
    "parent",
    "revoked_by",
    "authorization_details",
    "entitlements",
    "_claim_names",
    "_claim_sources",
];

impl MappedClaim {
    /// Whether it can be added.
    ///
    /// # Errors
    /// [`InvalidClaim`].
    pub fn check(&self) -> Result<(), InvalidClaim> {
        let name = &*self.name;
        let plain = |c: char| !c.is_whitespace() && !c.is_control();
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(plain) {
            return Err(InvalidClaim::Name);
        }
        if PROTOCOL.contains(&name) {
            return Err(InvalidClaim::Protocol);
        }
        let own = matches!(&self.source, Source::Profile(from) if **from == *name);
        if profile::scope_of(name).is_some() && !own {
            return Err(InvalidClaim::Standard);
        }
        if name == "roles" && self.places.contains(&Place::AccessToken) {
            return Err(InvalidClaim::Roles);
        }
        match &self.source {
            Source::Profile(from) if profile::scope_of(from).is_none() => Err(InvalidClaim::Source),
            Source::Constant(text) if text.len() > VALUE_BYTES_MAX => Err(InvalidClaim::Value),
            _ => Ok(()),
        }
    }

    fn is_for(&self, place: Place, client: &ClientId, granted: &str) -> bool {
        self.places.contains(&place)
            && (self.clients.is_empty() || self.clients.contains(client))
            && self.scope.as_ref().is_none_or(|scope| scope::has(granted, scope.as_str()))
    }

    fn value(&self, user: Option<&User>) -> Option<Value> {
        match &self.source {
            Source::Constant(text) => Some((**text).into()),
            Source::Roles => {
                let roles = user?.roles.iter().map(|role| role.as_str().into()).collect();
                Some(Value::Array(roles))
            }
            Source::Profile(name) => user?.claim(name),
        }
    }
}

/// What the configuration adds at a place, for a client with this scope; `user` is nobody where a client acts for itself.
pub fn told(
    claims: &[MappedClaim],
    place: Place,
    (client, granted): (&ClientId, &str),
    user: Option<&User>,
) -> Map<String, Value> {
    let here = claims.iter().filter(|claim| claim.is_for(place, client, granted));
    here.filter_map(|claim| Some((claim.name.as_ref().to_owned(), claim.value(user)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(name: &str, source: Source, places: &[Place]) -> MappedClaim {
        let places = places.to_vec();
        MappedClaim { name: name.into(), source, places, scope: None, clients: Vec::new() }
    }

    #[test]
    fn what_can_be_added() {
        use InvalidClaim::{Name, Protocol, Roles, Standard, Value};
        let constant = || Source::Constant("x".into());
        let from = |name: &str| Source::Profile(name.into());
        let check = |name: &str, source: Source, expected| {
            let claim = claim(name, source, &[Place::IdToken, Place::AccessToken]);
            assert_eq!(claim.check(), expected, "{name}");
        };
        check("groups", Source::Roles, Ok(()));
        check("https://shop.example/roles", Source::Roles, Ok(()));
        check("tenant", constant(), Ok(()));
        check("email", from("email"), Ok(()));
        check("mail", from("email"), Ok(()));
        check("login", from("preferred_username"), Ok(()));
        for name in PROTOCOL {
            check(name, constant(), Err(Protocol));
            check(name, Source::Roles, Err(Protocol));
        }
        check("email", from("nickname"), Err(Standard));
        check("email_verified", constant(), Err(Standard));
        check("preferred_username", constant(), Err(Standard));
        check("roles", Source::Roles, Err(Roles));
        check("mail", from("password"), Err(InvalidClaim::Source));
        check("mail", from("sub"), Err(InvalidClaim::Source));
        check("long", Source::Constant("x".repeat(VALUE_BYTES_MAX + 1).into()), Err(Value));
        for bad in ["", "two words", "new\nline", &"x".repeat(NAME_BYTES_MAX + 1)] {
            check(bad, constant(), Err(Name));
        }
        assert_eq!(claim("roles", Source::Roles, &[Place::IdToken]).check(), Ok(()));
    }
}
