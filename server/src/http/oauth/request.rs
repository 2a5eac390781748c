//! Authorization requests as they arrive: in a query, in a form that was pushed before, or in an object that the client
//! signed. What comes out is the client, where to answer it, and the parameters that count.

use std::sync::Arc;

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use symbolon_core::{
    client::Client,
    oauth::{
        authorization::{ASKED_MAX, Fault, Request, ResponseMode},
        pushed::PushedDigest,
    },
    secret::SecretText,
    time::Time,
};

use super::parameters::Parameters;
use crate::{
    http::{Http, next::Next},
    ops,
};

/// Where requests arrive, below the base path.
pub const PATH: &str = "/oauth2/authorize";

/// The mark of [`Asked::again`].
const STAMP: &str = "symbolon_asked";

/// What of an answer's parameters are, by name.
pub type Said<'a> = Vec<(&'a str, &'a str)>;

/// Why a request cannot be answered where it says: nobody hears it but who looks at the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswerable {
    /// This parameter is wrong.
    Parameter(&'static str),
    /// The server cannot tell now.
    Unavailable,
}

/// Parameters that a page names when they are wrong.
pub const NAMED: &[&str] = &[
    "client_id",
    "redirect_uri",
    "request",
    "request_uri",
    "response_type",
    "response_mode",
    "state",
    "scope",
    "nonce",
    "prompt",
    "code_challenge",
    "code_challenge_method",
];

/// A request whose client and redirect URI are known to belong together.
#[derive(Debug)]
pub struct Asked {
    /// Who asks.
    pub client: Arc<Client>,
    /// Where the answer goes.
    pub redirect_uri: String,
    /// The pushed request that it is.
    pub pushed: Option<PushedDigest>,
    /// When it was seen first, if that was marked and not too long ago.
    pub asked_at: Option<Time>,
    /// What is wrong with the object that it stands in.
    wrong: Option<Fault>,
    /// As it came, without the mark.
    came: String,
    parameters: Parameters,
}

impl Asked {
    /// Reads a request as it comes through the browser.
    ///
    /// # Errors
    /// [`Unanswerable`].
    pub async fn read(http: &Http, query: &str, now: Time) -> Result<Self, Unanswerable> {
        let mut parameters = Parameters::read(query)
            .map_err(|unreadable| Unanswerable::Parameter(unreadable.parameter(NAMED)))?;
        let stamp = parameters.take(STAMP);
        let came = parameters.to_form();
        let ring = || http.app.keys();
        let asked_at = stamp
            .and_then(|stamp| ring().ring.stamped(&came, stamp.expose(), now))
            .filter(|at| now.since(*at) < ASKED_MAX);
        let client = parameters.get("client_id").and_then(|id| http.app.client(&id.parse().ok()?));
        let client = client
            .filter(|client| !http.app.store.is_ended(&[client.id.entry()]))
            .ok_or(Unanswerable::Parameter("client_id"))?;
        let pushed = parameters.get("request_uri").and_then(PushedDigest::of);
        if let Some(digest) = pushed {
            parameters = Self::pushed(http, &client, digest, now).await?;
        }
        let mut wrong = None;
        // An object expires while somebody logs in; what was seen in time counts.
        match signed(http, &client, &parameters, asked_at.unwrap_or(now)).await {
            Ok(None) => {}
            Ok(Some(object)) => parameters = object,
            Err(fault) => wrong = Some(fault),
        }
        let wrong_parameter = if wrong.is_some() { "request" } else { "redirect_uri" };
        let redirect_uri = parameters
            .get("redirect_uri")
            .filter(|uri| client.admits_redirect(uri))
            .ok_or(Unanswerable::Parameter(wrong_parameter))?
            .to_owned();
        Ok(Self { client, redirect_uri, pushed, asked_at, wrong, came, parameters })
    }

    /// What the client pushed: nothing beside it counts (RFC 9126, section 4).
    async fn pushed(
        http: &Http,
        client: &Client,
        digest: PushedDigest,
        now: Time,
    ) -> Result<Parameters, Unanswerable> {
        let pushed = ops::push::load(&http.app, digest, now).await.map_err(|error| {
            tracing::error!(%error, "a pushed request was not read");
            Unanswerable::Unavailable
        })?;
        pushed
            .filter(|pushed| pushed.client == client.id)
            .and_then(|pushed| Parameters::read(pushed.form.as_bytes()).ok())
            .ok_or(Unanswerable::Parameter("request_uri"))
    }

    /// What the client asks for.
    ///
    /// # Errors
    /// The [`Fault`] that it hears.
    pub fn request(&self) -> Result<Request, Fault> {
        let fault = |error, says| Err(Fault { error, says });
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        if self.pushed.is_none() && self.parameters.get("request_uri").is_some() {
            return fault("request_uri_not_supported", "request_uri is none of a pushed request");
        }
        if self.pushed.is_none() && self.client.require_pushed_authorization_requests {
            return fault("invalid_request", "the client has to push its requests");
        }
        self.request_of_push()
    }

    /// The same, of a request that is about to be pushed.
    ///
    /// # Errors
    /// The [`Fault`] that it hears.
    pub fn request_of_push(&self) -> Result<Request, Fault> {
        Request::read(&self.client, |name| self.parameters.get(name))
    }

    /// Reads a request that its client sends here itself.
    ///
    /// # Errors
    /// The [`Fault`] that it hears.
    pub async fn of_client(
        http: &Http,
        client: Arc<Client>,
        mut parameters: Parameters,
        now: Time,
    ) -> Result<Self, Fault> {
        let fault = |says| Fault { error: "invalid_request", says };
        if let Some(object) = signed(http, &client, &parameters, now).await? {
            parameters = object;
        }
        let redirect_uri = parameters
            .get("redirect_uri")
            .filter(|uri| client.admits_redirect(uri))
            .ok_or(fault("redirect_uri is none of the client's"))?
            .to_owned();
        let came = String::new();
        let (pushed, asked_at, wrong) = (None, None, None);
        Ok(Self { client, redirect_uri, pushed, asked_at, wrong, came, parameters })
    }

    /// As a form, of which nothing is in an object any more.
    pub fn to_form(&self) -> String {
        self.parameters.to_form()
    }

    /// A parameter that counts.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name)
    }

    /// This very request, for after the login, marked with the moment at which it was seen first.
    ///
    /// # Errors
    /// The [`Fault`] that the client hears.
    pub fn again(&self, http: &Http, now: Time) -> Result<Next, Fault> {
        let keys = http.app.keys();
        let key = keys.ring.handle_key(now).ok_or(UNAVAILABLE)?;
        let stamp = key.stamp(&self.came, self.asked_at.unwrap_or(now));
        let says = "the request is too long: push it (RFC 9126)";
        Next::parse(&http.path(&format!("{PATH}?{}&{STAMP}={stamp}", self.came)))
            .ok_or(Fault { error: "invalid_request", says })
    }

    /// Where a form leads whose answer goes to the redirect URI: its origin, or private scheme. `form-action` must
    /// admit it, because browsers check it against every hop.
    pub fn origin(&self) -> Option<String> {
        let (scheme, rest) = self.redirect_uri.split_once(':')?;
        match rest.strip_prefix("//") {
            Some(rest) if matches!(scheme, "http" | "https") => {
                Some(format!("{scheme}://{}", rest.split(['/', '?']).next()?))
            }
            _ => Some(format!("{scheme}:")),
        }
    }

    /// How the answer travels, also of a request that has other faults.
    pub fn mode(&self) -> ResponseMode {
        ResponseMode::read(self.get("response_mode")).unwrap_or_default()
    }

    /// What is said to the client: with its `state`, and who says it (RFC 9207).
    pub fn saying<'a>(&'a self, http: &'a Http, say: &[(&'a str, &'a str)]) -> Said<'a> {
        let state = self.get("state").map(|state| ("state", state));
        let issuer = ("iss", http.app.config.public_url.issuer());
        say.iter().copied().chain(state).chain([issuer]).collect()
    }

    /// To the redirect URI, with what there is to say in its query.
    pub fn redirect(&self, said: &Said<'_>) -> Response {
        let separator = if self.redirect_uri.contains('?') { '&' } else { '?' };
        let query = serde_urlencoded::to_string(said).unwrap_or_default();
        let to = format!("{}{separator}{query}", self.redirect_uri);
        let mut response = (StatusCode::SEE_OTHER, HeaderMap::new()).into_response();
        if let Ok(to) = HeaderValue::try_from(to) {
            response.headers_mut().insert(header::LOCATION, to);
        }
        response
    }
}

/// What stands in the object of a request that has one: then nothing beside it counts (RFC 9101, section 6.3).
async fn signed(
    http: &Http,
    client: &Client,
    parameters: &Parameters,
    seen_at: Time,
) -> Result<Option<Parameters>, Fault> {
    let Some(text) = parameters.get("request") else { return Ok(None) };
    let says = "request is no request object of this client that counts";
    let fault = Fault { error: "invalid_request_object", says };
    let object = ops::signed_request::read(&http.app, client, text, seen_at).await;
    let object = object.map_err(|refused| {
        tracing::debug!(reason = %refused, "a request object says nothing");
        fault
    })?;
    let own = |(name, value): (&str, &str)| (name.to_owned(), SecretText::new(value.to_owned()));
    let all = object.iter().map(own).collect();
    Parameters::of(all).map(Some).map_err(|_| fault)
}

/// Nothing can be decided now.
pub const UNAVAILABLE: Fault =
    Fault { error: "temporarily_unavailable", says: "try again in a moment" };
