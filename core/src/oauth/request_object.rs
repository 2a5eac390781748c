//! Request objects (RFC 9101): an authorization request that its client signed, so that nobody on the way through the
//! browser can change it.
//!
//! What stands in the object is the whole request: the parameters beside it in the URL count for nothing but
//! `client_id`, which says whose keys to take (RFC 9101, section 6.3).
//!
//! An object is no proof of who sends it, and no assertion: one whose `sub` is the client is refused, so that it is
//! never presented as one (RFC 9101, section 10.8), and an [assertion](super::assertion) has such a `sub`.
//!
//! ```
//! use symbolon_core::{oauth::{jwk::PublicKeys, request_object::{RequestObject, Rules}}, time::Time};
//!
//! // Of the key of RFC 8037, appendix A: {"iss":"shop","aud":"https://auth.example","exp":1800000060,
//! // "client_id":"shop","scope":"openid","max_age":60}
//! let text = concat!("eyJhbGciOiJFZERTQSIsInR5cCI6Im9hdXRoLWF1dGh6LXJlcStqd3QifQ.eyJpc3MiOiJzaG9wIiwiYXVkIjoiaHR0",
//!     "cHM6Ly9hdXRoLmV4YW1wbGUiLCJleHAiOjE4MDAwMDAwNjAsImNsaWVudF9pZCI6InNob3AiLCJzY29wZSI6Im9wZW5pZCIsIm1heF9h",
//!     "Z2UiOjYwfQ.Xpozi60KNfBYfxo61D3SHZfg61RxuUbrJROg3-JWYwQjdQmhg78nDFwhh4AhF6tNhhMWoXHtASzuqJHUQvMCDA");
//! let keys = PublicKeys::parse(r#"{"keys":[{"kty":"OKP","crv":"Ed25519",
//!     "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#)?;
//!
//! let (rules, now) = (Rules::new("https://auth.example"), Time::from_secs(1_800_000_000));
//! let request = RequestObject::verify(text, &"shop".parse()?, &keys, &rules, now)?;
//! assert_eq!((request.get("scope"), request.get("max_age")), (Some("openid"), Some("60")));
//! assert_eq!(request.get("exp"), None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::time::Duration;

use serde_json::Value;

use super::{
    jwk::{PublicKeys, SignatureAlgorithm},
    jws::{Claims, InvalidJws, Jws},
};
use crate::{client::ClientId, time::Time};

/// The longest request object that is looked at, in bytes.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// The most parameters of one request.
pub const PARAMETERS_MAX: usize = 64;

/// Why a request object is refused. To the client all of them are `invalid_request_object` (RFC 9101, section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequestObject {
    /// It is no JWS of one of the client's keys, or not of this kind.
    #[error(transparent)]
    Jws(#[from] InvalidJws),
    /// `iss` or `client_id` name another client, or `sub` names the client.
    #[error("the request object is not one of this client")]
    Client,
    /// `aud` is missing, or others.
    #[error("the audience is another")]
    Audience,
    /// It has a `request` or `request_uri`: one object does not lead to another.
    #[error("a request object inside of a request object")]
    Nested,
    /// A parameter is no text, number, truth value, object, or (`resource` alone) array of texts, or there are more
    /// than [`PARAMETERS_MAX`].
    #[error("a parameter is malformed, or there are too many")]
    Parameter,
}

/// What the server insists on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules<'a> {
    /// The issuer: it must be in `aud`.
    pub issuer: &'a str,
    /// The one algorithm, where the client has registered one.
    pub algorithm: Option<SignatureAlgorithm>,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// How far ahead `exp` may lie.
    pub lifetime_max: Duration,
}

impl<'a> Rules<'a> {
    /// The usual rules: 30 seconds of leeway, lives up to an hour (FAPI 2.0 Message Signing, section 5.3.1).
    pub const fn new(issuer: &'a str) -> Self {
        Self {
            issuer,
            algorithm: None,
            leeway: Duration::from_secs(30),
            lifetime_max: Duration::from_secs(3600),
        }
    }
}

/// The parameters of an authorization request that its client signed, as if they had come in a form. Each stands once,
/// but `resource`, which may be there more often (RFC 8707, section 2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestObject {
    parameters: Parameters,
}

type Parameters = Vec<(Box<str>, Box<str>)>;

impl RequestObject {
    /// Verifies the `request` parameter of a request of this client.
    ///
    /// Claims become parameters like this: a text is itself; a number (`max_age`) and a truth value are their JSON; an
    /// object (`claims`) is its JSON; an array of texts, which only `resource` may be, is its name once for each. The claims that are about the object
    /// itself (`iss aud exp nbf iat jti`) are none, and neither is `null`.
    ///
    /// # Errors
    /// The first reason against it; [`InvalidJws::Expired`] only when there is no other.
    pub fn verify(
        text: &str,
        client: &ClientId,
        keys: &PublicKeys,
        rules: &Rules<'_>,
        now: Time,
    ) -> Result<Self, InvalidRequestObject> {
        let jws = Jws::parse(text, REQUEST_BYTES_MAX)?;
        jws.check_type(&["oauth-authz-req+jwt", "JWT"])?;
        jws.check_algorithm(rules.algorithm)?;
        let claims = jws.verified_by(keys)?;
        let name = client.as_str();
        let other = claims.text("client_id")?.is_some_and(|claimed| claimed != name);
        if claims.required("iss")? != name || other || claims.text("sub")? == Some(name) {
            return Err(InvalidRequestObject::Client);
        }
        if !claims.audiences()?.contains(&rules.issuer) {
            return Err(InvalidRequestObject::Audience);
        }
        claims.jti()?;
        let timely = claims.expires_at(rules.leeway, rules.lifetime_max, now);
        let parameters = parameters(claims)?;
        timely?;
        Ok(Self { parameters })
    }

    /// Each parameter, in the order of their names; values of one name in the order in which they stood.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The value of a parameter; the first one of `resource`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(own, _)| *own == name).map(|(_, value)| value)
    }
}

/// What is about the object and not about the request.
const ABOUT_ITSELF: [&str; 7] = ["iss", "aud", "exp", "nbf", "iat", "jti", "sub"];

fn parameters(claims: Claims) -> Result<Parameters, InvalidRequestObject> {
    let mut parameters = Parameters::new();
    for (name, value) in claims.into_members() {
        if name == "request" || name == "request_uri" {
            return Err(InvalidRequestObject::Nested);
        }
        if ABOUT_ITSELF.contains(&name.as_str()) {
            continue;
        }
        let mut add = |value: String| parameters.push((name.as_str().into(), value.into()));
        match value {
            Value::Null => {}
            Value::String(text) => add(text),
            Value::Number(_) | Value::Bool(_) | Value::Object(_) => add(value.to_string()),
            Value::Array(_) if name != "resource" => return Err(InvalidRequestObject::Parameter),
            Value::Array(all) => {
                for one in all {
                    let Value::String(text) = one else {
                        return Err(InvalidRequestObject::Parameter);
                    };
                    add(text);
                }
            }
        }
        if parameters.len() > PARAMETERS_MAX {
            return Err(InvalidRequestObject::Parameter);
        }
    }
    // One name's values stay in their order.
    parameters.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(parameters)
}
