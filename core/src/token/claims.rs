//! What an access token says (RFC 9068, section 2.2).

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use super::json::{MEMBERS_MAX, Unambiguous};
use crate::{
    client::ClientId,
    id::{SessionId, Text, TokenId, UserId},
    oauth::jwk::Thumbprint,
    time::Time,
};

/// What an access token says. In JSON it is the claims set; having read one proves nothing, only a
/// [`Verifier`](super::Verifier) does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Who issued it: this server's URL.
    pub iss: Box<str>,
    /// Whom it speaks for: the `sub` claim. `None` is the client itself, whose `sub` is its `client_id`.
    pub user: Option<UserId>,
    /// The resource servers that it is for.
    pub aud: Audience,
    /// The client that got it.
    pub client_id: ClientId,
    /// When it was issued. In JSON whole seconds, as every time here.
    pub iat: Time,
    /// From when on it is void.
    pub exp: Time,
    /// Until when it is not valid yet. Never issued, honoured where it stands.
    pub nbf: Option<Time>,
    /// Its own id.
    pub jti: TokenId,
    /// The session whose shadow it is.
    pub sid: SessionId,
    /// What it may be used for, separated by spaces (RFC 6749, section 3.3).
    pub scope: Option<Box<str>>,
    /// The user's roles.
    pub roles: Vec<Box<str>>,
    /// When the user logged in.
    pub auth_time: Option<Time>,
    /// The assurance level of the login (OpenID Connect Core, section 2).
    pub acr: Option<Box<str>>,
    /// How the user logged in (RFC 8176).
    pub amr: Vec<Box<str>>,
    /// Who acts for the user, if it is not the client that they logged in to (RFC 8693, section 4.1).
    pub act: Option<Actor>,
    /// The key whose holder alone may use the token (`cnf.jkt`: RFC 9449, section 6.1). Whoever verifies such a token
    /// asks for a [proof](crate::oauth::dpop) besides.
    pub key: Option<Thumbprint>,
    /// What the configuration adds ([`mapped`](crate::mapped)), by name. No other member of these claims has such a name.
    pub more: Map<String, Value>,
}

impl Claims {
    /// The scopes, one by one.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scope.iter().flat_map(|scope| scope.split_ascii_whitespace())
    }
}

/// A service that acts for a user: the `act` claim (RFC 8693, section 4.1). The user is who the token speaks for; this says
/// through whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// The service.
    pub sub: ClientId,
    /// Who acted before it. That it is said is all: only [`Self::sub`] counts where something is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Self>>,
}

impl Actor {
    /// How many services stand in the chain, this one among them.
    pub fn count(&self) -> usize {
        std::iter::successors(Some(self), |actor| actor.act.as_deref()).count()
    }
}

/// The resource servers that a token is for: at least one. In JSON a string when it is one, otherwise an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience(Vec<Box<str>>);

/// A token must be for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token needs an audience")]
pub struct EmptyAudience;

impl Audience {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// Whether this one is among them.
    pub fn contains(&self, name: &str) -> bool {
        self.iter().any(|one| one == name)
    }
}

impl From<&str> for Audience {
    fn from(one: &str) -> Self {
        Self(vec![one.into()])
    }
}

impl TryFrom<Vec<Box<str>>> for Audience {
    type Error = EmptyAudience;

    fn try_from(all: Vec<Box<str>>) -> Result<Self, EmptyAudience> {
        if all.is_empty() { Err(EmptyAudience) } else { Ok(Self(all)) }
    }
}

impl Serialize for Audience {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => serializer.serialize_str(one),
            all => all.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;

        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Audience;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }

            fn visit_str<E: Error>(self, one: &str) -> Result<Audience, E> {
                Ok(one.into())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Audience, A::Error> {
                let mut all = Vec::with_capacity(2);
                while let Some(one) = seq.next_element()? {
                    all.push(one);
                }
                Audience::try_from(all).map_err(Error::custom)
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

/// The claims set as it is written.
#[derive(Serialize)]
struct Written<'a> {
    iss: &'a str,
    sub: Cow<'a, str>,
    aud: &'a Audience,
    client_id: &'a ClientId,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    jti: TokenId,
    sid: SessionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    roles: &'a [Box<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    amr: &'a [Box<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<&'a Actor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
    #[serde(flatten, skip_serializing_if = "Map::is_empty")]
    more: &'a Map<String, Value>,
}

/// How a token is bound (RFC 7800). Another way than by a key's thumbprint is not known here, and refused.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    jkt: Thumbprint,
}

impl Serialize for Claims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sub = match self.user {
            Some(user) => user.to_string().into(),
            None => self.client_id.as_str().into(),
        };
        let written = Written {
            iss: &self.iss,
            sub,
            aud: &self.aud,
            client_id: &self.client_id,
            iat: self.iat.secs(),
            exp: self.exp.secs(),
            nbf: self.nbf.map(Time::secs),
            jti: self.jti,
            sid: self.sid,
            scope: self.scope.as_deref(),
            roles: &self.roles,
            auth_time: self.auth_time.map(Time::secs),
            acr: self.acr.as_deref(),
            amr: &self.amr,
            act: self.act.as_ref(),
            cnf: self.key.map(|jkt| Confirmation { jkt }),
            more: &self.more,
        };
        written.serialize(serializer)
    }
}

/// The claims set as it is being read.
#[derive(Default)]
struct Read<'de> {
    iss: Option<Box<str>>,
    sub: Option<Text<'de>>,
    aud: Option<Audience>,
    client_id: Option<ClientId>,
    iat: Option<i64>,
    exp: Option<i64>,
    nbf: Option<i64>,
    jti: Option<TokenId>,
    sid: Option<SessionId>,
    scope: Option<Box<str>>,
    roles: Option<Vec<Box<str>>>,
    auth_time: Option<i64>,
    acr: Option<Box<str>>,
    amr: Option<Vec<Box<str>>>,
    act: Option<Actor>,
    cnf: Option<Confirmation>,
    /// Those whose names are not known here.
    more: Map<String, Value>,
}

impl<'de> Read<'de> {
    /// Reads the value of one member. A derived reader would pass over unknown members, where another could see
    /// something else: here nothing may stand twice, at any depth.
    fn member<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "iss" => once(&mut self.iss, map),
            "sub" => once(&mut self.sub, map),
            "aud" => once(&mut self.aud, map),
            "client_id" => once(&mut self.client_id, map),
            "iat" => once(&mut self.iat, map),
            "exp" => once(&mut self.exp, map),
            "nbf" => once(&mut self.nbf, map),
            "jti" => once(&mut self.jti, map),
            "sid" => once(&mut self.sid, map),
            "scope" => once(&mut self.scope, map),
            "roles" => once(&mut self.roles, map),
            "auth_time" => once(&mut self.auth_time, map),
            "acr" => once(&mut self.acr, map),
            "amr" => once(&mut self.amr, map),
            "act" => once(&mut self.act, map),
            "cnf" => once(&mut self.cnf, map),
            "nonce" | "at_hash" | "c_hash" | "events" => {
                Err(Error::custom("a claim of another kind of token"))
            }
            _ if self.more.len() == MEMBERS_MAX => Err(Error::custom("too many members")),
            other => {
                let Unambiguous(value) = map.next_value()?;
                match self.more.insert(other.to_owned(), value) {
                    None => Ok(()),
                    Some(_) => Err(Error::custom("a member stands twice")),
                }
            }
        }
    }

    fn finish<E: Error>(self) -> Result<Claims, E> {
        let missing = || E::custom("a required claim is missing");
        let sub = self.sub.ok_or_else(missing)?.0;
        let client_id = self.client_id.ok_or_else(missing)?;
        let user =
            if sub == client_id.as_str() { None } else { Some(sub.parse().map_err(E::custom)?) };
        Ok(Claims {
            iss: self.iss.ok_or_else(missing)?,
            user,
            aud: self.aud.ok_or_else(missing)?,
            client_id,
            iat: self.iat.map(Time::from_secs).ok_or_else(missing)?,
            exp: self.exp.map(Time::from_secs).ok_or_else(missing)?,
            nbf: self.nbf.map(Time::from_secs),
            jti: self.jti.ok_or_else(missing)?,
            sid: self.sid.ok_or_else(missing)?,
            scope: self.scope,
            roles: self.roles.unwrap_or_default(),
            auth_time: self.auth_time.map(Time::from_secs),
            acr: self.acr,
            amr: self.amr.unwrap_or_default(),
            act: self.act,
            key: self.cnf.map(|cnf| cnf.jkt),
            more: self.more,
        })
    }
}

/// A member that stands once and has its type; `null` has none.
fn once<'de, T, A>(place: &mut Option<T>, map: &mut A) -> Result<(), A::Error>
where
    T: Deserialize<'de>,
    A: MapAccess<'de>,
{
    if place.is_some() {
        return Err(Error::custom("a member stands twice"));
    }
    *place = Some(map.next_value()?);
    Ok(())
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ClaimsSet;

        impl<'de> Visitor<'de> for ClaimsSet {
            type Value = Claims;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the claims of an access token")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
                let mut read = Read::default();
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    read.member(&name.0, &mut map)?;
                }
                read.finish()
            }
        }
        deserializer.deserialize_map(ClaimsSet)
    }
}
