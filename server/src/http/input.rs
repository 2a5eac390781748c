//! What a request says, parsed once: its JSON body, the client that authenticates, where it comes from.

use std::{net::IpAddr, sync::Arc};

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::de::DeserializeOwned;
use symbolon_core::{
    client::{AuthMethod, Client, ClientId, ClientKind},
    family::Binding,
    secret::SecretText,
    session::Device,
};

use super::{
    Http,
    problem::{self, Problem},
};
use crate::{listen::Peer, os::Asked};

/// A JSON body. Unknown and repeated members are refused.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Http> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Http) -> Result<Self, Problem> {
        if !is_of_type(request.headers(), "application/json") {
            return Err(problem::NOT_JSON.into());
        }
        let bytes = bytes(request, state).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| unreadable(&error))
    }
}

/// Whether the body is a form.
pub fn is_form(headers: &HeaderMap) -> bool {
    is_of_type(headers, "application/x-www-form-urlencoded")
}

fn is_of_type(headers: &HeaderMap, name: &str) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.map(|text| text.split(';').next().unwrap_or_default().trim());
    essence.is_some_and(|essence| essence.eq_ignore_ascii_case(name))
}

async fn bytes(request: Request, state: &Http) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection {
        BytesRejection::FailedToBufferBody(error)
            if error.status() == StatusCode::PAYLOAD_TOO_LARGE =>
        {
            let limit = state.app.config.limits.body_bytes_max;
            Problem::from(problem::TOO_LARGE).detail(format!("limits.body_bytes_max is {limit}"))
        }
        _ => problem::MALFORMED.into(),
    })
}

/// Says what is wrong without repeating what was sent: it may be a secret.
fn unreadable(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let names_only = ["missing field", "unknown field", "duplicate field", "unknown variant"];
    let detail = if names_only.iter().any(|start| text.starts_with(start)) {
        text
    } else {
        format!("not the expected JSON at line {} column {}", error.line(), error.column())
    };
    Problem::from(problem::MALFORMED).detail(detail)
}

/// An `application/x-www-form-urlencoded` body. Repeated fields are refused.
#[derive(Debug)]
pub struct Form<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Http> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Http) -> Result<Self, Problem> {
        if !is_form(request.headers()) {
            return Err(Problem::from(problem::MALFORMED).detail("send a form"));
        }
        let bytes = bytes(request, state).await?;
        serde_urlencoded::from_bytes(&bytes).map(Self).map_err(|_| problem::MALFORMED.into())
    }
}

/// Where a request comes from, and when it came.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The request.
    pub asked: Asked,
    /// The device, as its owner will see it.
    pub device: Device,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let asked = parts.extensions.get::<Asked>().cloned();
        let asked = asked.unwrap_or_else(|| Asked::now(Arc::default()));
        Ok(Self { asked, device: device(parts) })
    }
}

/// The device that a request comes from.
pub fn device(parts: &Parts) -> Device {
    let address =
        parts.extensions.get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.address);
    let agent = parts
        .headers
        .get(header::USER_AGENT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    device_of(address, agent)
}

/// The device of a user agent at an address.
pub fn device_of(address: IpAddr, agent: &str) -> Device {
    let agent = &agent[..agent.floor_char_boundary(256)];
    Device { label: label(agent).into(), user_agent: agent.into(), address }
}

/// What a person calls the device: enough to know one's own.
fn label(agent: &str) -> String {
    let first = |names: &[(&str, &'static str)]| {
        names.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
    };
    // The order matters: every browser claims to be several others.
    let browser = first(&[
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("SamsungBrowser", "Samsung Internet"),
        ("Whale/", "Whale"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ]);
    let system = first(&[
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} · {system}"),
        (Some(one), None) | (None, Some(one)) => one.into(),
        (None, None) => {
            agent.split(['/', ' ']).next().unwrap_or_default().chars().take(40).collect()
        }
    }
}

/// A client that authenticated with HTTP Basic (RFC 6749, section 2.3.1).
#[derive(Debug, Clone)]
pub struct Authenticated(pub Arc<Client>);

impl FromRequestParts<Http> for Authenticated {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Http) -> Result<Self, Problem> {
        basic(&parts.headers, state)?.map(Self).ok_or_else(|| problem::CLIENT.into())
    }
}

/// The client of the `Authorization: Basic` header, if there is one.
///
/// # Errors
/// `invalid_client` if it does not authenticate.
pub fn basic(headers: &HeaderMap, state: &Http) -> Result<Option<Arc<Client>>, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next(), values.next()) else { return Err(problem::CLIENT.into()) };
    let scheme = value.and_then(|value| value.to_str().ok()).and_then(|text| text.split_once(' '));
    let Some((_, encoded)) = scheme.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
    else {
        return Ok(None);
    };
    let authenticate = || {
        let decoded =
            SecretText::new(String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?);
        let (id, secret) = decoded.expose().split_once(':')?;
        let client = state.app.client(&id.parse().ok()?)?;
        // Ids, and secrets that we made, are of characters that form encoding leaves alone. Of a secret that somebody
        // else chose, clients differ on whether to encode it first, as the standard says.
        let matches = [Some(SecretText::new(secret.to_owned())), form_decoded(secret)]
            .iter()
            .flatten()
            .any(|secret| client.secret.is_some_and(|digest| digest.matches(secret)));
        let by_basic = client.may_authenticate(AuthMethod::ClientSecretBasic);
        let counts = matches && by_basic && !state.app.store.is_ended(&[client.id.entry()]);
        counts.then_some(client)
    };
    authenticate().map(Some).ok_or_else(|| problem::CLIENT.into())
}

fn form_decoded(text: &str) -> Option<SecretText> {
    let fields: Vec<(String, String)> =
        serde_urlencoded::from_str(SecretText::new(format!("v={text}")).expose()).ok()?;
    let [(_, value)] = <[_; 1]>::try_from(fields).ok()?;
    Some(SecretText::new(value))
}

/// The client of a request that takes passwords or refresh tokens: authenticated, or public and merely named.
///
/// # Errors
/// `invalid_client`.
pub fn client(
    headers: &HeaderMap,
    named: Option<&ClientId>,
    state: &Http,
) -> Result<(Arc<Client>, Binding), Problem> {
    if let Some(client) = basic(headers, state)? {
        let same = named.is_none_or(|named| *named == client.id);
        return if same { Ok((client, Binding::Client)) } else { Err(problem::CLIENT.into()) };
    }
    let client = match named {
        Some(id) => state.app.client(id),
        None => state.app.client(&state.default_client),
    };
    let client = client.filter(|client| client.kind == ClientKind::Public);
    client.map(|client| (client, Binding::None)).ok_or_else(|| problem::CLIENT.into())
}

/// The `Origin` header.
pub fn origin(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::ORIGIN).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}
