//! Strict mode: a Symbolon server in another process is asked about every request (RFC 7662).
//!
//! Nothing is kept, so what the server has ended is refused from the next request on; and each request costs one
//! question over a kept-alive connection. When the server does not answer in time, nobody gets in.

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use form_urlencoded::byte_serialize;
use http::{
    HeaderValue, Request, Response, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
    request::Parts,
};
use http_body_util::{BodyExt, Limited};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connect, HttpConnector},
    },
    rt::{TokioExecutor, TokioTimer},
};
use serde::Deserialize;
use symbolon_core::{
    client::ClientId,
    csrf::{InvalidOrigin, Origin},
    id::SessionId,
    secret::SecretText,
    session::Assurance,
    time::Time,
};
use tokio::sync::Semaphore;

use crate::{
    Authority,
    admit::{Carried, Half},
    error::Refusal,
    identity::Claims,
};

/// The most bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long an unused connection is kept.
const CONNECTION_IDLE: Duration = Duration::from_secs(30);
/// What those are told whom the server could not be asked about.
const UNAVAILABLE: Refusal = Refusal::Unavailable { retry_after_secs: 1 };

/// Which server to ask, and as whom. Change the fields that have a default as needed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server's URL, with its path: `http://127.0.0.1:8080`, `https://shop.example/auth`.
    pub server: String,
    /// The client that asks; of the kind *resource*, or *confidential*.
    pub client: ClientId,
    /// Its secret.
    pub secret: SecretText,
    /// Refuse access tokens that are not for this audience, whatever the server says of them. The server already
    /// refuses those that are for none of the client's audiences. Default: none.
    pub audience: Option<String>,
    /// How long one question may take, connecting included. Default: 2 s.
    pub deadline: Duration,
    /// How many questions may be under way; one more is refused as unavailable. Default: 1024.
    pub in_flight_max: usize,
    /// Whether `http` may leave this machine, with the secret and the credentials of all users in clear. Default: no.
    pub trust_network: bool,
}

impl Settings {
    /// Settings with defaults.
    pub fn new(server: impl Into<String>, client: ClientId, secret: SecretText) -> Self {
        Self {
            server: server.into(),
            client,
            secret,
            audience: None,
            deadline: Duration::from_secs(2),
            in_flight_max: 1024,
            trust_network: false,
        }
    }
}

/// Why a server cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidServer {
    /// See [`InvalidOrigin`].
    #[error(transparent)]
    Origin(#[from] InvalidOrigin),
    /// The URL has a query or characters that no path has.
    #[error("the path of the server's URL is not one")]
    Path,
    /// [`Remote::new`] does not speak TLS.
    #[error("https needs a connector that speaks TLS: use Remote::over")]
    Tls,
    /// `http` would carry secrets over the network.
    #[error(
        "http to another machine shows every credential to the network: use https, or set trust_network"
    )]
    Insecure,
}

/// An [`Authority`] that asks a Symbolon server about every request. Cheap to clone; clones share their connections.
///
/// It speaks plain http, to this machine unless told otherwise. For https bring the connector of your TLS library, such
/// as that of the crate `hyper-rustls`, and use [`Remote::over`]: which roots to trust is the application's to say.
pub struct Remote<C = HttpConnector> {
    asked: Arc<Asked<C>>,
}

struct Asked<C> {
    client: Client<C, String>,
    endpoint: Uri,
    authorization: HeaderValue,
    audience: Option<String>,
    deadline: Duration,
    free: Semaphore,
}

impl<C> Clone for Remote<C> {
    fn clone(&self) -> Self {
        Self { asked: self.asked.clone() }
    }
}

impl<C> fmt::Debug for Remote<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("endpoint", &self.asked.endpoint).finish_non_exhaustive()
    }
}

impl Remote {
    /// Asks over plain http.
    ///
    /// # Errors
    /// [`InvalidServer`] says what to write instead.
    pub fn new(settings: Settings) -> Result<Self, InvalidServer> {
        if settings.server.starts_with("https://") {
            return Err(InvalidServer::Tls);
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self::over(settings, connector)
    }
}

impl<C: Connect + Clone + Send + Sync + 'static> Remote<C> {
    /// Asks over connections that `connector` makes.
    ///
    /// # Errors
    /// [`InvalidServer`] says what to write instead.
    pub fn over(settings: Settings, connector: C) -> Result<Self, InvalidServer> {
        let (origin, path) = Origin::split(&settings.server)?;
        if !(origin.is_secure() || origin.is_loopback() || settings.trust_network) {
            return Err(InvalidServer::Insecure);
        }
        if path.contains(['?', '#']) {
            return Err(InvalidServer::Path);
        }
        let endpoint = format!("{origin}{path}/oauth2/introspect");
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(CONNECTION_IDLE)
            .build(connector);
        let asked = Asked {
            client,
            endpoint: endpoint.parse().map_err(|_| InvalidServer::Path)?,
            authorization: basic(&settings.client, &settings.secret)?,
            audience: settings.audience,
            deadline: settings.deadline,
            free: Semaphore::new(settings.in_flight_max.min(Semaphore::MAX_PERMITS)),
        };
        Ok(Self { asked: Arc::new(asked) })
    }

    async fn ask(&self, credential: &SecretText) -> Result<Answer, Unanswered> {
        let asked = &*self.asked;
        let _place = asked.free.try_acquire().map_err(|_| Unanswered::Full)?;
        let body: String = byte_serialize(credential.expose().as_bytes()).collect();
        let mut question = Request::post(asked.endpoint.clone())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(format!("token={body}"))
            .map_err(|_| Unanswered::Garbled)?;
        question.headers_mut().insert(AUTHORIZATION, asked.authorization.clone());
        let answered = async {
            let response = asked.client.request(question).await;
            let (head, body) = response.map_err(|_| Unanswered::Unreachable)?.into_parts();
            if head.status != StatusCode::OK {
                return Err(Unanswered::Status(head.status));
            }
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            Ok(Response::from_parts(head, body.map_err(|_| Unanswered::Garbled)?.to_bytes()))
        };
        let response = tokio::time::timeout(asked.deadline, answered).await;
        let response = response.map_err(|_| Unanswered::Late)??;
        // What does not parse is not repeated in an error: it could hold anything.
        serde_json::from_slice(response.body()).map_err(|_| Unanswered::Garbled)
    }
}

/// HTTP Basic authentication of a client: both parts are form-encoded first (RFC 6749, section 2.3.1).
fn basic(client: &ClientId, secret: &SecretText) -> Result<HeaderValue, InvalidServer> {
    let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = SecretText::new(format!("{}:{}", encode(client.as_str()), encode(secret.expose())));
    let text = SecretText::new(format!("Basic {}", STANDARD.encode(pair.expose())));
    let mut value = HeaderValue::from_str(text.expose()).map_err(|_| InvalidServer::Path)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Why there is no answer. It goes to the log; the request is refused as unavailable.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("too many questions are under way")]
    Full,
    #[error("the server cannot be reached")]
    Unreachable,
    #[error("the server did not answer in time")]
    Late,
    #[error("the server answered {0}")]
    Status(StatusCode),
    #[error("the server's answer is not what RFC 7662 says")]
    Garbled,
}

impl<C: Connect + Clone + Send + Sync + 'static> Authority for Remote<C> {
    async fn identify(&self, carried: &Carried, _: &Parts) -> Result<Arc<Claims>, Refusal> {
        let (half, credential) = carried.credential().ok_or(Refusal::LoginRequired)?;
        let unavailable = |why: Unanswered| {
            tracing::warn!(endpoint = %self.asked.endpoint, %why, "cannot check a credential");
            UNAVAILABLE
        };
        let answer = self.ask(credential).await.map_err(unavailable)?;
        if !answer.active {
            return Err(Refusal::InvalidToken);
        }
        if !answer.is_for(half, self.asked.audience.as_deref()) {
            tracing::debug!(?half, "refused a credential of another kind or for another audience");
            return Err(Refusal::InvalidToken);
        }
        answer.claims().map(Arc::new).ok_or_else(|| unavailable(Unanswered::Garbled))
    }
}

/// RFC 7662, section 2.2, and the claims of RFC 9068.
#[derive(Deserialize)]
struct Answer {
    active: bool,
    token_type: Option<String>,
    #[serde(default)]
    aud: Audience,
    sub: Option<String>,
    sid: Option<SessionId>,
    parent: Option<SessionId>,
    client_id: Option<ClientId>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    roles: Vec<Box<str>>,
    acr: Option<Assurance>,
    auth_time: Option<i64>,
}

/// One audience or several (RFC 7519, section 4.1.3).
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Answer {
    /// Whether this is about the half that was carried: a session cookie's text is no access token, wherever it stands.
    fn is_for(&self, half: Half, audience: Option<&str>) -> bool {
        let token_type = self.token_type.as_deref().unwrap_or_default();
        match half {
            Half::SessionCookie => token_type == "session",
            Half::Bearer | Half::TokenCookie => {
                token_type.eq_ignore_ascii_case("Bearer")
                    && audience.is_none_or(|wanted| match &self.aud {
                        Audience::One(one) => one == wanted,
                        Audience::Several(several) => several.iter().any(|one| one == wanted),
                    })
            }
        }
    }

    /// `None` when the answer lacks what every session has.
    fn claims(self) -> Option<Claims> {
        let client = self.client_id?;
        let subject = match self.sub {
            // A machine client is its own subject (RFC 9068, section 2.2).
            Some(sub) if sub == client.as_str() => None,
            Some(sub) => Some(sub.parse().ok()?),
            None => None,
        };
        Some(Claims {
            subject,
            session: self.sid?,
            parent: self.parent,
            client,
            scopes: self.scope.split(' ').filter(|s| !s.is_empty()).map(Box::from).collect(),
            roles: self.roles.into(),
            assurance: self.acr,
            auth_time: self.auth_time.map(Time::from_secs),
        })
    }
}
