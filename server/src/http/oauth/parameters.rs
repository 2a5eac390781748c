//! The parameters of a request to an OAuth endpoint, and the client that they name.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use symbolon_core::{
    client::{Client, ClientKind},
    family::Binding,
    oauth::assertion::ASSERTION_TYPE,
    secret::SecretText,
};

use super::error::OauthError;
use crate::{
    app::now,
    http::{Http, input},
    ops,
};

/// How clients authenticate at the token endpoint, as the metadata names it. See [`Parameters::client`].
pub const METHODS: [&str; 4] =
    ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];

/// The most bytes of a query or a form: what a request can hold, an assertion and an object included.
pub const FORM_BYTES_MAX: usize = 64 * 1024;

/// More than any request has.
const PARAMETERS_MAX: usize = 64;

/// The parameters of a query or a form: each once (RFC 6749, sections 3.1 and 3.2). One without a value counts as
/// absent. Any of them may be a secret, so none is printed.
#[derive(Debug, Clone)]
pub struct Parameters(Vec<(String, SecretText)>);

/// Why there are no parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// It is no form, or there is too much of it.
    Form,
    /// This parameter stands twice.
    Twice(String),
}

impl Unreadable {
    /// The parameter to name to people, if it is one of these. Others are named by whoever sent them, and repeated to
    /// nobody.
    pub fn parameter(&self, named: &[&'static str]) -> &'static str {
        let Self::Twice(name) = self else { return "?" };
        named.iter().find(|named| **named == name).copied().unwrap_or("?")
    }
}

impl From<Unreadable> for OauthError {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Form => Self::invalid_request("the form cannot be read, or is too long"),
            // The one parameter that may stand twice (RFC 8707, section 2); a token is for one resource server.
            Unreadable::Twice(name) if name == "resource" => Self::TARGET,
            Unreadable::Twice(_) => Self::invalid_request("a parameter stands twice"),
        }
    }
}

impl FromRequest<Http> for Parameters {
    type Rejection = OauthError;

    async fn from_request(request: Request, state: &Http) -> Result<Self, OauthError> {
        if !input::is_form(request.headers()) {
            return Err(OauthError::invalid_request("send a form"));
        }
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|_| OauthError::invalid_request("the body cannot be read"))?;
        Ok(Self::read(&bytes)?)
    }
}

impl Parameters {
    /// Reads a form, or a query.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(form: impl AsRef<[u8]>) -> Result<Self, Unreadable> {
        let form = form.as_ref();
        if form.len() > FORM_BYTES_MAX {
            return Err(Unreadable::Form);
        }
        Self::of(serde_urlencoded::from_bytes(form).map_err(|_| Unreadable::Form)?)
    }

    /// Takes parameters that stood somewhere else.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn of(all: Vec<(String, SecretText)>) -> Result<Self, Unreadable> {
        if all.len() > PARAMETERS_MAX {
            return Err(Unreadable::Form);
        }
        for (at, (name, _)) in all.iter().enumerate() {
            if all[..at].iter().any(|(before, _)| before == name) {
                return Err(Unreadable::Twice(name.clone()));
            }
        }
        Ok(Self(all))
    }

    /// A parameter that may be a secret.
    pub fn secret(&self, name: &str) -> Option<&SecretText> {
        let found = self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value);
        found.filter(|value| !value.expose().is_empty())
    }

    /// A parameter that must be there.
    ///
    /// # Errors
    /// `invalid_request`, with what to say.
    pub fn require(&self, name: &str, says: &'static str) -> Result<&SecretText, OauthError> {
        self.secret(name).ok_or_else(|| OauthError::invalid_request(says))
    }

    /// A parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.secret(name).map(SecretText::expose)
    }

    /// Whether the request says nothing of who sends it.
    pub fn names_nobody(&self, headers: &HeaderMap) -> bool {
        let silent = |name| self.secret(name).is_none();
        !headers.contains_key(header::AUTHORIZATION)
            && ["client_id", "client_secret", "client_assertion"].into_iter().all(silent)
    }

    /// Takes a parameter out.
    pub fn take(&mut self, name: &str) -> Option<SecretText> {
        let at = self.0.iter().position(|(own, _)| own == name)?;
        Some(self.0.remove(at).1)
    }

    /// As a form again, in the same order.
    pub fn to_form(&self) -> String {
        let all: Vec<_> = self.0.iter().map(|(name, value)| (name, value.expose())).collect();
        serde_urlencoded::to_string(all).unwrap_or_default()
    }

    /// The client that asks, and what it showed: its secret by HTTP Basic (`client_secret_basic`) or in the form
    /// (`client_secret_post`), or an assertion (`private_key_jwt`), never two of them; a public client names itself
    /// (`none`). RFC 6749, section 2.3; RFC 7521, section 4.2.
    ///
    /// # Errors
    /// `invalid_client`, `invalid_request`.
    pub async fn client(
        &self,
        headers: &HeaderMap,
        http: &Http,
    ) -> Result<(Arc<Client>, Binding), OauthError> {
        let named = self.get("client_id");
        let by_basic = headers.contains_key(header::AUTHORIZATION);
        let assertion = self.secret("client_assertion");
        let ways = [by_basic, self.secret("client_secret").is_some(), assertion.is_some()];
        if ways.into_iter().filter(|way| *way).count() > 1 {
            let says = "a client authenticates in one way, not in two";
            return Err(OauthError::invalid_request(says));
        }
        let refused = || OauthError::invalid_client(by_basic);
        if let Some(assertion) = assertion {
            if self.get("client_assertion_type") != Some(ASSERTION_TYPE) {
                return Err(refused());
            }
            let client = ops::assertion::client(&http.app, assertion, named, now()).await;
            return client.map(|client| (client, Binding::Client)).map_err(|why| match why {
                ops::assertion::Refused::Unavailable(error) => error.into(),
                why => {
                    tracing::debug!(%why, "a client assertion proves nothing");
                    refused()
                }
            });
        }
        if by_basic {
            let client = input::basic(headers, http).ok().flatten().ok_or_else(refused)?;
            let same = named.is_none_or(|named| named == client.id.as_str());
            return if same { Ok((client, Binding::Client)) } else { Err(refused()) };
        }
        let client = named.and_then(|id| http.app.client(&id.parse().ok()?)).ok_or_else(refused)?;
        if http.app.store.is_ended(&[client.id.entry()]) {
            return Err(refused());
        }
        match (self.secret("client_secret"), client.kind, client.secret) {
            (Some(secret), _, Some(digest)) if digest.matches(secret) => {
                Ok((client, Binding::Client))
            }
            (None, ClientKind::Public, _) => Ok((client, Binding::None)),
            _ => Err(refused()),
        }
    }
}
