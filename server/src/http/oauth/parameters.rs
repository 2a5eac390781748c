//! The parameters of a request to an OAuth endpoint, and the client that they name.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use symbolon_core::{
    client::{AuthMethod, Client},
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

/// Each parameter of a form once (RFC 6749, section 3.2). One without a value counts as absent.
#[derive(Debug)]
pub struct Parameters(Vec<(String, SecretText)>);

impl FromRequest<Http> for Parameters {
    type Rejection = OauthError;

    async fn from_request(request: Request, state: &Http) -> Result<Self, OauthError> {
        let form = "application/x-www-form-urlencoded";
        let kind = request.headers().get(header::CONTENT_TYPE);
        if !kind.is_some_and(|kind| kind.as_bytes().starts_with(form.as_bytes())) {
            return Err(OauthError::invalid_request("send a form"));
        }
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|_| OauthError::invalid_request("the body cannot be read"))?;
        Self::read(&bytes)
    }
}

impl Parameters {
    /// Reads a form, or a query.
    ///
    /// # Errors
    /// `invalid_request` where a parameter stands twice.
    pub fn read(form: &[u8]) -> Result<Self, OauthError> {
        let all: Vec<(String, SecretText)> = serde_urlencoded::from_bytes(form)
            .map_err(|_| OauthError::invalid_request("the form cannot be read"))?;
        let twice = |(at, (name, _)): (usize, &(String, SecretText))| {
            all[..at].iter().any(|(before, _)| before == name)
        };
        // The one parameter that may stand twice (RFC 8707, section 2); a token is for one resource server.
        if all.iter().filter(|(name, _)| name == "resource").count() > 1 {
            return Err(OauthError::TARGET);
        }
        if all.len() > PARAMETERS_MAX || all.iter().enumerate().any(twice) {
            return Err(OauthError::invalid_request(
                "a parameter stands twice, or there are too many",
            ));
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

    /// As a form again, without some.
    pub fn without(&self, names: &[&str]) -> String {
        let kept = self.0.iter().filter(|(name, _)| !names.contains(&name.as_str()));
        let kept: Vec<_> = kept.map(|(name, value)| (name, value.expose())).collect();
        serde_urlencoded::to_string(kept).unwrap_or_default()
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
        let secret = self.secret("client_secret");
        let method = secret.map_or(AuthMethod::None, |_| AuthMethod::ClientSecretPost);
        let binding = match (secret, client.secret) {
            (Some(secret), Some(digest)) if digest.matches(secret) => Binding::Client,
            (None, _) => Binding::None,
            _ => return Err(refused()),
        };
        if client.may_authenticate(method) { Ok((client, binding)) } else { Err(refused()) }
    }
}

/// More than any request has.
const PARAMETERS_MAX: usize = 64;
