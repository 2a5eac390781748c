//! The `claims` parameter (OpenID Connect Core, section 5.5): claims that a client asks for by their names, in the ID
//! token or at userinfo.
//!
//! A claim is told as little without the user's leave as by its scope: whoever asks for `email` by name needs the
//! permission for the scope `email` ([`ClaimsRequest::scopes`]). Asking never fails for what is not there, *essential* or
//! not (section 5.5.1); only who the user is (`sub`) and how sure we are of it (an essential `acr`) can be insisted on.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{profile, session::Assurance, token::json::Unambiguous, user::User};

/// The longest `claims` parameter. What of it counts rests with the session.
pub const CLAIMS_BYTES_MAX: usize = 2048;

/// What a client wants to be told by name, of what users can have.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClaimsRequest {
    /// In the ID token.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub id_token: Named,
    /// At userinfo.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub userinfo: Named,
}

/// Claims by their names, each with the values of which it must have one to be told; none: it may have any.
pub type Named = BTreeMap<Box<str>, Vec<Value>>;

/// A `claims` parameter, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// What is to be told.
    pub claims: ClaimsRequest,
    /// The `sub` of which the user must have one. `None`: anybody.
    pub subjects: Option<Vec<Box<str>>>,
    /// The values of an essential `acr`, in their order; empty: any will do.
    pub essential_acr: Vec<Box<str>>,
}

/// The text is no `claims` parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "claims is not a JSON object as OpenID Connect Core, section 5.5, describes it, of 2048 bytes at most"
)]
pub struct InvalidClaims;

impl Asked {
    /// Reads the parameter. What is not understood is passed over.
    ///
    /// # Errors
    /// [`InvalidClaims`].
    ///
    /// ```
    /// use symbolon_core::oauth::claims::Asked;
    ///
    /// let asked = Asked::read(r#"{ "id_token": { "email": { "essential": true }, "auth_time": null } }"#)?;
    /// assert_eq!(asked.claims.scopes().collect::<Vec<_>>(), ["email"]);
    /// assert!(Asked::read("[]").is_err());
    /// # Ok::<(), symbolon_core::oauth::claims::InvalidClaims>(())
    /// ```
    pub fn read(text: &str) -> Result<Self, InvalidClaims> {
        if text.len() > CLAIMS_BYTES_MAX {
            return Err(InvalidClaims);
        }
        let Unambiguous(claims) = serde_json::from_str(text).map_err(|_| InvalidClaims)?;
        let Value::Object(mut all) = claims else { return Err(InvalidClaims) };
        let mut asked = Self::default();
        let mut id_token = members(all.remove("id_token"))?;
        if let Some(One { essential: true, values }) = one(id_token.remove("acr"))? {
            asked.essential_acr = values.iter().filter_map(text_of).collect();
            if asked.essential_acr.len() < values.len() {
                return Err(InvalidClaims);
            }
        }
        asked.claims.id_token = asked.named(id_token)?;
        asked.claims.userinfo = asked.named(members(all.remove("userinfo"))?)?;
        Ok(asked)
    }

    fn named(&mut self, members: Map<String, Value>) -> Result<Named, InvalidClaims> {
        let mut named = Named::new();
        for (name, value) in members {
            let values = one(Some(value))?.map(|one| one.values).unwrap_or_default();
            if name == "sub" {
                self.must_be(&values);
            } else if profile::scope_of(&name).is_some() {
                named.insert(name.into(), values);
            }
        }
        Ok(named)
    }

    /// One of these values, and of those of before. What no `sub` can be is nobody's.
    fn must_be(&mut self, values: &[Value]) {
        if values.is_empty() {
            return;
        }
        let mut these: Vec<Box<str>> = values.iter().filter_map(text_of).collect();
        if let Some(before) = &self.subjects {
            these.retain(|one| before.contains(one));
        }
        self.subjects = Some(these);
    }

    /// The assurance that is insisted on: the least of which a name is known. `Err`: none of them is.
    ///
    /// # Errors
    /// Nobody here can be of any of the levels.
    pub fn assurance(&self) -> Result<Option<Assurance>, Unmet> {
        let wanted =
            |level: &Assurance| self.essential_acr.iter().any(|one| **one == *level.as_str());
        match Assurance::ALL.into_iter().find(wanted) {
            None if !self.essential_acr.is_empty() => Err(Unmet),
            level => Ok(level),
        }
    }
}

/// None of the levels that are insisted on is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such assurance level")]
pub struct Unmet;

/// What is asked of one claim.
struct One {
    essential: bool,
    values: Vec<Value>,
}

fn text_of(value: &Value) -> Option<Box<str>> {
    value.as_str().map(Into::into)
}

fn members(object: Option<Value>) -> Result<Map<String, Value>, InvalidClaims> {
    match object {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(members)) => Ok(members),
        Some(_) => Err(InvalidClaims),
    }
}

/// Section 5.5.1. `None`: in the default manner.
fn one(value: Option<Value>) -> Result<Option<One>, InvalidClaims> {
    let mut members = match value {
        None | Some(Value::Null) => return Ok(None),
        value => members(value)?,
    };
    let essential = match members.remove("essential") {
        None => false,
        Some(Value::Bool(essential)) => essential,
        Some(_) => return Err(InvalidClaims),
    };
    let values = match (members.remove("value"), members.remove("values")) {
        (None, None) => Vec::new(),
        (Some(value), None) => vec![value],
        (None, Some(Value::Array(values))) if !values.is_empty() => values,
        _ => return Err(InvalidClaims),
    };
    Ok(Some(One { essential, values }))
}

impl ClaimsRequest {
    /// Whether nothing is asked for by name.
    pub fn is_empty(&self) -> bool {
        self.id_token.is_empty() && self.userinfo.is_empty()
    }

    /// The scopes whose permission is needed for these claims; one may stand twice.
    pub fn scopes(&self) -> impl Iterator<Item = &'static str> {
        let names = self.id_token.keys().chain(self.userinfo.keys());
        names.filter_map(|name| profile::scope_of(name))
    }
}

/// What of the claims that are asked for by name the user has, with the values that are asked for.
pub fn told<'a>(named: &'a Named, user: &'a User) -> impl Iterator<Item = (&'a str, Value)> {
    named.iter().filter_map(|(name, values)| {
        let value = user.claim(name)?;
        (values.is_empty() || values.contains(&value)).then_some((&**name, value))
    })
}
