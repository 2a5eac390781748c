//! Session data, and visitors' sessions to keep it in.

use std::{collections::BTreeMap, fmt, net::IpAddr, sync::Arc};

use axum::{
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor},
};
use serde_json::Value;
use symbolon_core::{
    client::{Client, ClientId},
    data::{DataVersion, Refused as Unfit},
    id::SessionId,
};
use symbolon_guard::{Identity, cookie::Cookie};
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::now,
    http::{
        Http,
        input::{self, Authenticated, Body, Caller},
        output,
        problem::{self, Problem},
    },
    ops::{
        self,
        data::{Reader, Refused},
    },
};

/// Whose namespace a browser means.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct DataQuery {
    /// The client whose declared keys a browser wants; clients that authenticate have their own.
    #[param(value_type = Option<String>)]
    client_id: Option<ClientId>,
    /// From a client's server side: its user is there now, so the session is not silent.
    #[serde(default)]
    seen: bool,
}

/// Who asks for the data of which session: its client's server side, or a browser that holds the session.
fn reader(
    http: &Http,
    headers: &HeaderMap,
    identity: Option<&Identity>,
    session: SessionId,
    query: DataQuery,
) -> Result<(Arc<Client>, Reader), Problem> {
    if let Some(client) = input::basic(headers, http)? {
        // Whose sessions these are, a stranger's client does not say; and what it wrote would cost a row each.
        if client.is_registered() {
            return Err(problem::CLIENT_KIND.into());
        }
        return Ok((client, Reader::Client));
    }
    let identity = identity.ok_or(problem::UNAUTHENTICATED)?;
    // Somebody else's session looks like none.
    if identity.session != session {
        return Err(problem::SESSION_GONE.into());
    }
    let id = query.client_id.unwrap_or_else(|| identity.client.clone());
    http.app
        .client(&id)
        .map(|client| (client, Reader::Browser))
        .ok_or_else(|| problem::CLIENT.into())
}

/// Reads the session data of a client: JSON members by key, with an `ETag`.
#[utoipa::path(get, path = "/api/v1/sessions/{sid}/data", tag = "data", params(("sid" = String, Path), DataQuery), responses(
    (status = 200, body = BTreeMap<String, Value>), (status = 404, description = "`session_gone`")))]
pub async fn read(
    State(http): State<Http>,
    headers: HeaderMap,
    identity: Option<Identity>,
    Path(sid): Path<String>,
    Query(query): Query<DataQuery>,
) -> Result<Response, Problem> {
    let session: SessionId = sid.parse().map_err(|_| problem::SESSION_GONE)?;
    let seen = query.seen;
    let (client, reader) = reader(&http, &headers, identity.as_ref(), session, query)?;
    let seen = seen && reader == Reader::Client;
    let document = ops::data::read(&http.app, session, &client, reader, seen, now()).await?;
    Ok(output::json(etag(document.version), document.values))
}

/// Merges a patch per key into the session data of a client; `null` removes a key. With `If-Match`, only at that
/// version. The answer has the new `ETag`.
#[utoipa::path(patch, path = "/api/v1/sessions/{sid}/data", tag = "data", params(("sid" = String, Path), DataQuery),
    request_body = BTreeMap<String, Value>, responses((status = 200, description = "Merged"),
    (status = 412, description = "`version_mismatch`"), (status = 413, description = "`session_data_too_large`")))]
pub async fn merge(
    State(http): State<Http>,
    headers: HeaderMap,
    identity: Option<Identity>,
    Path(sid): Path<String>,
    Query(query): Query<DataQuery>,
    Body(Patch(patch)): Body<Patch>,
) -> Result<Response, Problem> {
    let session: SessionId = sid.parse().map_err(|_| problem::SESSION_GONE)?;
    let (client, reader) = reader(&http, &headers, identity.as_ref(), session, query)?;
    let expected = if_match(&headers)?;
    let version =
        ops::data::merge(&http.app, session, &client, reader, &patch, expected, now()).await?;
    Ok(output::json(etag(version), serde_json::json!({ "version": version.0 })))
}

/// Values by key, none of which stands twice.
#[derive(Debug)]
pub struct Patch(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Patch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = Patch;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("values by key")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Patch, A::Error> {
                let mut values = BTreeMap::new();
                while let Some((key, value)) = map.next_entry()? {
                    if values.insert(key, value).is_some() {
                        return Err(A::Error::custom("a key stands twice"));
                    }
                }
                Ok(Patch(values))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

fn etag(version: DataVersion) -> HeaderMap {
    let value = HeaderValue::try_from(format!("\"{}\"", version.0));
    value.into_iter().map(|value| (header::ETAG, value)).collect()
}

fn if_match(headers: &HeaderMap) -> Result<Option<DataVersion>, Problem> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let text = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().unwrap_or_default(),
        (Some(_), Some(_)) => "",
    };
    let version = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .and_then(|text| text.parse().ok());
    let malformed =
        || Problem::from(problem::MALFORMED).detail("If-Match is the ETag of an earlier answer");
    version.map(|version| Some(DataVersion(version))).ok_or_else(malformed)
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Gone => problem::SESSION_GONE.into(),
            Refused::Undeclared(key) => Self::from(problem::DATA_UNDECLARED).detail(key),
            Refused::Unfit(Unfit::Key) => problem::DATA_KEY.into(),
            Refused::Unfit(unfit @ Unfit::TooLarge { .. }) => {
                Self::from(problem::DATA_TOO_LARGE).detail(unfit.to_string())
            }
            Refused::Unfit(Unfit::Version) => problem::VERSION.into(),
            Refused::Unavailable(error) => error.into(),
        }
    }
}

const NAME_BYTES_MAX: usize = 256;

/// A visitor to open a session for.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VisitorRequest {
    /// The visitor's address, as the client sees it.
    #[schema(value_type = Option<String>)]
    pub address: Option<IpAddr>,
    /// The visitor's `User-Agent`.
    pub user_agent: Option<String>,
    /// The client's own name for the session, which its own cookie stands for: 1 to 256 bytes that nobody guesses. The
    /// session's id follows from it, and there is no cookie to relay.
    pub name: Option<String>,
}

/// A visitor's session, and the cookie to relay to the browser.
#[derive(Debug, Serialize, ToSchema)]
pub struct VisitorAnswer {
    /// The session.
    sid: String,
    /// The whole `Set-Cookie` header to relay.
    #[serde(skip_serializing_if = "Option::is_none")]
    set_cookie: Option<String>,
    /// The cookie's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    cookie_name: Option<&'static str>,
}

/// Opens a session for somebody who has not logged in, because there is a cart to keep. Only for clients that
/// authenticate; they relay the cookie, or have one of their own and say its name.
#[utoipa::path(post, path = "/api/v1/sessions", tag = "data", request_body = VisitorRequest, responses(
    (status = 201, description = "Opened", body = VisitorAnswer),
    (status = 200, description = "The session of this `name` is open already", body = VisitorAnswer),
    (status = 404, description = "`session_gone`: the session of this `name` has ended, and stays ended")))]
pub async fn open_visitor(
    State(http): State<Http>,
    Authenticated(client): Authenticated,
    mut caller: Caller,
    Body(body): Body<VisitorRequest>,
) -> Result<Response, Problem> {
    if let Some(address) = body.address {
        caller.device.address = address;
    }
    if let Some(agent) = &body.user_agent {
        caller.device = input::device_of(caller.device.address, agent);
    }
    // Visitors are of our own pages, and cost a row each.
    if client.is_registered() {
        return Err(problem::CLIENT_KIND.into());
    }
    let now = now();
    if let Some(name) = &body.name {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(Problem::from(problem::MALFORMED).detail("name has 1 to 256 bytes"));
        }
        let (id, opened) =
            ops::visitor::open_named(&http.app, &client, name, caller.device, now).await?;
        let answer = VisitorAnswer { sid: id.to_string(), set_cookie: None, cookie_name: None };
        return Ok(answer.with(if opened { StatusCode::CREATED } else { StatusCode::OK }));
    }
    let (session, cookie) = ops::visitor::open(&http.app, &client, caller.device, now).await?;
    let cookie = cookie.ok_or(problem::UNAVAILABLE)?;
    let mut set = HeaderMap::new();
    output::set_session(&http, &mut set, &session, &cookie, now)?;
    let set_cookie = set.get(header::SET_COOKIE).and_then(|value| value.to_str().ok());
    let set_cookie = set_cookie.map(str::to_owned);
    let cookie_name = Some(http.rules.layout().name(Cookie::Session));
    let answer = VisitorAnswer { sid: session.id.to_string(), set_cookie, cookie_name };
    Ok(answer.with(StatusCode::CREATED))
}

impl VisitorAnswer {
    fn with(self, status: StatusCode) -> Response {
        let mut response = output::json(HeaderMap::new(), self);
        *response.status_mut() = status;
        response
    }
}

impl From<ops::visitor::Refused> for Problem {
    fn from(refused: ops::visitor::Refused) -> Self {
        match refused {
            ops::visitor::Refused::Gone => problem::SESSION_GONE.into(),
            ops::visitor::Refused::Limited(limited) => limited.into(),
            ops::visitor::Refused::Unavailable(error) => error.into(),
        }
    }
}
