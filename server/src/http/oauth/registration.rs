//! `POST /oauth2/register`: clients register themselves (RFC 7591; OpenID Connect Dynamic Client Registration 1.0). At
//! `/oauth2/register/{client_id}` they look at what is registered, replace and remove it (RFC 7592).
//!
//! Nothing of it is there unless the configuration says so.

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, Path, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use symbolon_core::{
    client::{Client, ClientId},
    oauth::registration::{METADATA_BYTES_MAX, Refused as Metadata, metadata},
    secret::SecretText,
};

use crate::{
    app::now,
    config::ClientRegistration,
    http::{
        Http,
        input::Caller,
        problem::{self, Problem},
    },
    ops::client_registration::{self, Refused, Registered},
};

/// Where clients register themselves, below the issuer.
pub const PATH: &str = "/oauth2/register";

/// Metadata, as it came.
#[derive(Debug)]
pub struct Asked(Bytes);

impl FromRequest<Http> for Asked {
    type Rejection = Refusal;

    async fn from_request(request: Request, http: &Http) -> Result<Self, Refusal> {
        is_on(http)?;
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
        let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Refusal::Unreadable("send JSON"));
        }
        match Bytes::from_request(request, http).await {
            Ok(bytes) if bytes.len() <= METADATA_BYTES_MAX => Ok(Self(bytes)),
            _ => Err(Refusal::Unreadable("the metadata cannot be read, or is too long")),
        }
    }
}

/// `POST /oauth2/register`.
///
/// # Errors
/// [`Refusal`].
pub async fn register(
    State(http): State<Http>,
    headers: HeaderMap,
    caller: Caller,
    Asked(json): Asked,
) -> Result<Response, Refusal> {
    let token = bearer(&headers);
    let address = caller.device.address;
    let done =
        client_registration::register(&http.app, &json, token.as_ref(), address, now()).await;
    let registered = done.map_err(|why| Refusal::No { why, presented: token.is_some() })?;
    Ok((StatusCode::CREATED, told(&http, &registered)).into_response())
}

/// `GET /oauth2/register/{client_id}`.
///
/// # Errors
/// [`Refusal`].
pub async fn show(
    State(http): State<Http>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    is_on(&http)?;
    let (id, token) = named(&id, &headers)?;
    let client = client_registration::load(&http.app, &id, &token)?;
    let client = Client::clone(&client);
    Ok(told(&http, &Registered { client, secret: None, token }).into_response())
}

/// `PUT /oauth2/register/{client_id}`.
///
/// # Errors
/// [`Refusal`].
pub async fn update(
    State(http): State<Http>,
    Path(id): Path<String>,
    headers: HeaderMap,
    caller: Caller,
    Asked(json): Asked,
) -> Result<Response, Refusal> {
    let (id, token) = named(&id, &headers)?;
    let address = caller.device.address;
    let registered =
        client_registration::update(&http.app, &id, token, &json, address, now()).await?;
    Ok(told(&http, &registered).into_response())
}

/// `DELETE /oauth2/register/{client_id}`.
///
/// # Errors
/// [`Refusal`].
pub async fn remove(
    State(http): State<Http>,
    Path(id): Path<String>,
    headers: HeaderMap,
    caller: Caller,
) -> Result<Response, Refusal> {
    is_on(&http)?;
    let (id, token) = named(&id, &headers)?;
    let address = caller.device.address;
    client_registration::remove(&http.app, &id, &token, address, now()).await?;
    Ok((StatusCode::NO_CONTENT, NOT_KEPT).into_response())
}

/// A refusal on its way out.
#[derive(Debug)]
pub enum Refusal {
    /// There is no registration.
    Off,
    /// The body says nothing.
    Unreadable(&'static str),
    /// What was asked is not done.
    No {
        /// Why.
        why: Refused,
        /// Whether a token was presented: who brings none hears of no error in it (RFC 6750, section 3.1).
        presented: bool,
    },
}

impl From<Refused> for Refusal {
    fn from(why: Refused) -> Self {
        Self::No { why, presented: true }
    }
}

const INVALID_METADATA: &str = "invalid_client_metadata";

const NOT_KEPT: [(header::HeaderName, HeaderValue); 2] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::PRAGMA, HeaderValue::from_static("no-cache")),
];

fn is_on(http: &Http) -> Result<(), Refusal> {
    match http.app.config.client_registration.mode {
        ClientRegistration::Off => Err(Refusal::Off),
        ClientRegistration::Token | ClientRegistration::Open => Ok(()),
    }
}

/// The client of the path, and the token that is presented for it. A text that is no id is a client that is not there.
fn named(id: &str, headers: &HeaderMap) -> Result<(ClientId, SecretText), Refusal> {
    let token = bearer(headers);
    let presented = token.is_some();
    let id = id.parse().ok();
    id.zip(token).ok_or(Refusal::No { why: Refused::Token, presented })
}

/// The one token of the `Authorization` header (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<SecretText> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    let fits = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty();
    fits.then(|| SecretText::new(token.to_owned()))
}

/// What is registered (RFC 7591, section 3.2.1). A secret is told once, so it is not among it later.
fn told(http: &Http, registered: &Registered) -> impl IntoResponse {
    let Registered { client, secret, token } = registered;
    let issuer = http.app.config.public_url.issuer();
    let mut all: Map<String, Value> = metadata(client);
    let mut tell = |name: &str, value: Value| all.insert(name.to_owned(), value);
    tell("client_id", json!(client.id));
    tell("client_id_issued_at", json!(client.added_at.secs()));
    tell("registration_client_uri", json!(format!("{issuer}{PATH}/{}", client.id)));
    tell("registration_access_token", json!(token.expose()));
    if let Some(secret) = secret {
        tell("client_secret", json!(secret.expose()));
        // Never.
        tell("client_secret_expires_at", json!(0));
    }
    (NOT_KEPT, Json(all))
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (why, presented) = match self {
            Self::Off => return Problem::from(problem::NOT_FOUND).into_response(),
            Self::Unreadable(says) => {
                return refusal(StatusCode::BAD_REQUEST, INVALID_METADATA, says);
            }
            Self::No { why, presented } => (why, presented),
        };
        match why {
            Refused::Token => invalid_token(presented),
            Refused::Metadata(Metadata::RedirectUri(says)) => {
                refusal(StatusCode::BAD_REQUEST, "invalid_redirect_uri", &says)
            }
            Refused::Metadata(Metadata::Metadata(says)) => {
                refusal(StatusCode::BAD_REQUEST, INVALID_METADATA, &says)
            }
            Refused::Full => later(StatusCode::SERVICE_UNAVAILABLE, 3600),
            Refused::Limited(limited) => {
                later(StatusCode::TOO_MANY_REQUESTS, limited.retry_after.as_secs() + 1)
            }
            Refused::Unavailable(error) => {
                let secs = Problem::from(error).retry_after_secs().unwrap_or(1);
                later(StatusCode::SERVICE_UNAVAILABLE, secs)
            }
        }
    }
}

fn invalid_token(presented: bool) -> Response {
    let says = "the token is missing, or is none for this";
    let mut response = refusal(StatusCode::UNAUTHORIZED, "invalid_token", says);
    let challenge = if presented { "Bearer error=\"invalid_token\"" } else { "Bearer" };
    let challenge = HeaderValue::from_static(challenge);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

fn later(status: StatusCode, retry_after_secs: u64) -> Response {
    let mut response = refusal(status, "temporarily_unavailable", "try again after Retry-After");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after_secs));
    response
}

/// RFC 7591, section 3.2.2.
fn refusal(status: StatusCode, error: &str, says: &str) -> Response {
    let body = json!({ "error": error, "error_description": says });
    (status, NOT_KEPT, Json(body)).into_response()
}
