//! What an access token says (RFC 9068, section 2.2).

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Visitor},
};

use crate::{
    client::ClientId,
    id::{SessionId, TokenId, UserId},
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
}

impl Claims {
    /// The scopes, one by one.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scope.iter().flat_map(|scope| scope.split_ascii_whitespace())
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

/// The claims set as it stands in JSON.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    iss: Cow<'a, str>,
    #[serde(borrow)]
    sub: Cow<'a, str>,
    aud: Cow<'a, Audience>,
    client_id: Cow<'a, ClientId>,
    iat: Seconds,
    exp: Seconds,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    nbf: Option<Seconds>,
    jti: TokenId,
    sid: SessionId,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    scope: Option<Cow<'a, Box<str>>>,
    #[serde(default, skip_serializing_if = "is_empty")]
    roles: Cow<'a, [Box<str>]>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    auth_time: Option<Seconds>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    acr: Option<Cow<'a, Box<str>>>,
    #[serde(default, skip_serializing_if = "is_empty")]
    amr: Cow<'a, [Box<str>]>,
    // Claims of other kinds of tokens, and a binding that nobody here checks.
    #[serde(default, skip_serializing, rename = "nonce")]
    _nonce: Forbidden,
    #[serde(default, skip_serializing, rename = "at_hash")]
    _at_hash: Forbidden,
    #[serde(default, skip_serializing, rename = "c_hash")]
    _c_hash: Forbidden,
    #[serde(default, skip_serializing, rename = "events")]
    _events: Forbidden,
    #[serde(default, skip_serializing, rename = "cnf")]
    _cnf: Forbidden,
}

/// A claim that must not be there.
#[derive(Default)]
struct Forbidden;

impl<'de> Deserialize<'de> for Forbidden {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(Error::custom("a claim that no access token of ours has"))
    }
}

/// A NumericDate of whole seconds (RFC 7519, section 2).
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
struct Seconds(i64);

impl From<Time> for Seconds {
    fn from(time: Time) -> Self {
        Self(time.secs())
    }
}

impl From<Seconds> for Time {
    fn from(seconds: Seconds) -> Self {
        Self::from_secs(seconds.0)
    }
}

/// An optional claim that, where it stands, has its type: `null` is none.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<T>, D::Error> {
    T::deserialize(d).map(Some)
}

fn is_empty(list: &[Box<str>]) -> bool {
    list.is_empty()
}

impl Serialize for Claims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sub = match self.user {
            Some(user) => user.to_string().into(),
            None => self.client_id.as_str().into(),
        };
        let wire = Wire {
            iss: Cow::Borrowed(&self.iss),
            sub,
            aud: Cow::Borrowed(&self.aud),
            client_id: Cow::Borrowed(&self.client_id),
            iat: self.iat.into(),
            exp: self.exp.into(),
            nbf: self.nbf.map(Into::into),
            jti: self.jti,
            sid: self.sid,
            scope: self.scope.as_ref().map(Cow::Borrowed),
            roles: Cow::Borrowed(&self.roles),
            auth_time: self.auth_time.map(Into::into),
            acr: self.acr.as_ref().map(Cow::Borrowed),
            amr: Cow::Borrowed(&self.amr),
            _nonce: Forbidden,
            _at_hash: Forbidden,
            _c_hash: Forbidden,
            _events: Forbidden,
            _cnf: Forbidden,
        };
        wire.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let user = if wire.sub == wire.client_id.as_str() {
            None
        } else {
            Some(wire.sub.parse().map_err(Error::custom)?)
        };
        Ok(Self {
            iss: wire.iss.into(),
            user,
            aud: wire.aud.into_owned(),
            client_id: wire.client_id.into_owned(),
            iat: wire.iat.into(),
            exp: wire.exp.into(),
            nbf: wire.nbf.map(Into::into),
            jti: wire.jti,
            sid: wire.sid,
            scope: wire.scope.map(Cow::into_owned),
            roles: wire.roles.into_owned(),
            auth_time: wire.auth_time.map(Into::into),
            acr: wire.acr.map(Cow::into_owned),
            amr: wire.amr.into_owned(),
        })
    }
}
