//! `GET /oauth2/authorize` (RFC 6749, section 4.1.1): an application sends its user's browser here and gets it back with
//! a code, for a session of its own. The steps, in this order:
//!
//! | what must be | otherwise |
//! |---|---|
//! | every parameter stands once | a page that names it |
//! | `client_id` names a first-party client | a page that names it |
//! | `redirect_uri` is exactly one of that client's | a page that names it |
//! | nothing of what [`FAULTS`] lists | back to the client with the error |
//! | somebody is logged in | the login page, which leads back here; with `prompt=none`, back with `login_required` |
//! | | back to the client with a code |
//!
//! Nobody is sent to a URI that is not one of a client's. What goes back says who answers (`iss`, RFC 9207).

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    http::HeaderMap,
    response::Response,
};
use symbolon_core::{
    client::{Client, ClientKind},
    code::{Challenge, Request},
    oauth::grant::GrantType,
};

use super::{Http, Next, View, login_url, see_other};
use crate::{
    app::now,
    http::problem,
    ops::{self, code::Refused},
    ui,
};

/// The path below the base path.
const PATH: &str = "/oauth2/authorize";

/// What can be wrong once it is known where to say so: the error (RFC 6749, section 4.1.2.1), what it says, whether it is
/// so. The first that is so is said.
const FAULTS: &[(Fault, IsSo)] = &[
    (("invalid_request", "response_type is missing"), |it| it.get("response_type").is_none()),
    (("unsupported_response_type", "response_type must be code"), |it| {
        it.get("response_type") != Some("code")
    }),
    (("unauthorized_client", "the client logs nobody in by a code"), |it| {
        it.client.kind == ClientKind::Resource || !it.client.may_use(GrantType::AuthorizationCode)
    }),
    (("request_not_supported", "request is not supported"), |it| it.get("request").is_some()),
    (("request_uri_not_supported", "request_uri is not supported"), |it| {
        it.get("request_uri").is_some()
    }),
    (("invalid_request", "response_mode must be query"), |it| {
        it.get("response_mode").is_some_and(|mode| mode != "query")
    }),
    (("invalid_request", "code_challenge_method must be S256"), |it| {
        it.get("code_challenge_method") != Some("S256")
    }),
    (NO_CHALLENGE, |it| it.challenge().is_none()),
    (("invalid_request", "prompt must be none"), |it| {
        it.get("prompt").is_some_and(|prompt| prompt != "none")
    }),
    (("invalid_request", "max_age is not supported"), |it| it.get("max_age").is_some()),
];

const NO_CHALLENGE: Fault = ("invalid_request", "code_challenge must be an S256 challenge");

/// Parameters that a page names when they are wrong.
const NAMED: &[&str] = &[
    "client_id",
    "redirect_uri",
    "response_type",
    "state",
    "scope",
    "nonce",
    "code_challenge",
    "code_challenge_method",
];

/// An error that goes back to the client, and what it says.
type Fault = (&'static str, &'static str);

type IsSo = fn(&Asked) -> bool;

/// A request whose client and redirect URI are known to belong together.
struct Asked {
    client: Arc<Client>,
    redirect_uri: String,
    parameters: Vec<(String, String)>,
}

impl Asked {
    /// Reads a query.
    ///
    /// # Errors
    /// The parameter that is wrong, where nobody can be told but who looks at the page.
    fn read(http: &Http, query: &str) -> Result<Self, &'static str> {
        let parameters: Vec<(String, String)> =
            serde_urlencoded::from_str(query).map_err(|_| "?")?;
        for (at, (name, _)) in parameters.iter().enumerate() {
            if parameters[..at].iter().any(|(before, _)| before == name) {
                return Err(NAMED.iter().find(|named| *named == name).copied().unwrap_or("?"));
            }
        }
        let get = |name: &str| parameters.iter().find(|(own, _)| own == name).map(|(_, it)| it);
        let client = get("client_id").and_then(|id| http.app.client(&id.parse().ok()?));
        let client = client
            .filter(|client| client.first_party && !http.app.store.is_ended(&[client.id.entry()]))
            .ok_or("client_id")?;
        let redirect_uri = get("redirect_uri")
            .filter(|uri| client.redirect_uris.contains(uri))
            .ok_or("redirect_uri")?
            .clone();
        Ok(Self { client, redirect_uri, parameters })
    }

    /// A parameter. One without a value counts as absent (RFC 6749, section 3.1).
    fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.parameters.iter().filter(|(own, _)| own == name);
        values.next().map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn challenge(&self) -> Option<Challenge> {
        self.get("code_challenge")?.parse().ok()
    }

    fn fault(&self) -> Option<Fault> {
        FAULTS.iter().find(|(_, is_so)| is_so(self)).map(|(fault, _)| *fault)
    }

    /// This very request, for after the login.
    fn again(&self, http: &Http) -> Result<Next, Fault> {
        let query = serde_urlencoded::to_string(&self.parameters).ok();
        query
            .and_then(|query| Next::parse(&http.path(&format!("{PATH}?{query}"))))
            .ok_or(("invalid_request", "the request is too long"))
    }

    /// To the redirect URI, with what there is to say.
    fn back(&self, http: &Http, say: &[(&str, &str)]) -> Response {
        let issuer = http.app.config.public_url.issuer();
        let state = self.get("state").map(|state| ("state", state));
        let said: Vec<_> = say.iter().copied().chain(state).chain([("iss", issuer)]).collect();
        let separator = if self.redirect_uri.contains('?') { '&' } else { '?' };
        let query = serde_urlencoded::to_string(said).unwrap_or_default();
        see_other(&format!("{}{separator}{query}", self.redirect_uri), HeaderMap::new())
    }
}

/// `GET /oauth2/authorize`.
pub async fn authorize(
    State(http): State<Http>,
    view: View,
    RawQuery(query): RawQuery,
) -> Response {
    let asked = match Asked::read(&http, query.as_deref().unwrap_or_default()) {
        Ok(asked) => asked,
        Err(parameter) => {
            return view.refused(&http, 400, ui::Refusal::Authorization { parameter }, None);
        }
    };
    match answer(&http, &view, &asked).await {
        Ok(response) => response,
        Err((error, says)) => asked.back(&http, &[("error", error), ("error_description", says)]),
    }
}

async fn answer(http: &Http, view: &View, asked: &Asked) -> Result<Response, Fault> {
    if let Some(fault) = asked.fault() {
        return Err(fault);
    }
    let challenge = asked.challenge().ok_or(NO_CHALLENGE)?;
    let again = asked.again(http)?;
    let to_login = || match asked.get("prompt") {
        Some(_) => Err(("login_required", "nobody is logged in")),
        None => Ok(see_other(&login_url(http, Some(&again)), HeaderMap::new())),
    };
    if view.identity.as_ref().is_none_or(|identity| identity.subject.is_none()) {
        return to_login();
    }
    // Who is known by something else than a session cookie would be sent back here from the login page, for ever.
    let cookie = http.session_cookie(&view.headers).ok().flatten();
    let cookie = cookie.ok_or(("access_denied", "the login has no session cookie"))?;
    let redirect_uri = &asked.redirect_uri;
    let scope = &asked.client.scope(asked.get("scope").unwrap_or_default());
    let nonce = asked.get("nonce");
    let request = Request { client: &asked.client.id, redirect_uri, challenge, scope, nonce };
    match ops::code::issue(&http.app, &cookie, request, now()).await {
        Ok(code) => Ok(asked.back(http, &[("code", code.expose())])),
        // It ended, or was renewed, in this moment.
        Err(Refused::Cookie(_)) => to_login(),
        Err(Refused::Unavailable(error)) => {
            tracing::error!(%error, "a code was not issued");
            Err(("temporarily_unavailable", problem::UNAVAILABLE.title))
        }
        Err(refused) => {
            tracing::debug!(reason = %refused, "a code was refused");
            Err(("access_denied", "the login cannot authorize an application"))
        }
    }
}

/// Where a form leads that leads to an authorization request: the client, and the origin (or private scheme) of the
/// redirect URI, which `form-action` must admit because browsers check it against every hop.
pub fn onward(http: &Http, next: &Next) -> Option<(Arc<Client>, String)> {
    let query = next.as_str().strip_prefix(&http.path(PATH))?.strip_prefix('?')?;
    let asked = Asked::read(http, query).ok()?;
    let (scheme, rest) = asked.redirect_uri.split_once(':')?;
    let origin = match rest.strip_prefix("//") {
        Some(rest) if matches!(scheme, "http" | "https") => {
            format!("{scheme}://{}", rest.split(['/', '?']).next()?)
        }
        _ => format!("{scheme}:"),
    };
    Some((asked.client, origin))
}
