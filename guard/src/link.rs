//! The way to a server: which one, as whom, with which limits. Every answer is read whole, within bounds, in time.

use std::{fmt, pin::Pin, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use form_urlencoded::byte_serialize;
use http::{
    HeaderValue, Method, Request, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Limited};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connect, HttpConnector},
    },
    rt::{TokioExecutor, TokioTimer},
};
use symbolon_core::{client::ClientId, csrf::Origin, secret::SecretText};

use crate::remote::{InvalidServer, Settings};

/// How long an unused connection is kept.
const CONNECTION_IDLE: Duration = Duration::from_secs(30);

type Exchanged = Pin<Box<dyn Future<Output = Result<Response, Unanswered>> + Send>>;
type Exchange = dyn Fn(Request<String>, usize) -> Exchanged + Send + Sync;

/// A status and the whole body.
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

/// One question over HTTP.
pub(crate) struct Query {
    pub(crate) method: Method,
    /// Below the server's URL.
    pub(crate) path: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
    pub(crate) deadline: Duration,
    /// The most bytes of an answer that are read.
    pub(crate) answer_bytes_max: usize,
}

/// Why there is no answer. It goes to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("too many questions are under way")]
    Full,
    #[error("the server cannot be reached")]
    Unreachable,
    #[error("the server did not answer in time")]
    Late,
    #[error("the server answered {0}")]
    Status(StatusCode),
    #[error("the server's answer is too long or not what was asked for")]
    Garbled,
}

pub(crate) struct Link {
    exchange: Box<Exchange>,
    /// The server's URL, without a slash at its end.
    base: String,
    authorization: HeaderValue,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("base", &self.base).finish_non_exhaustive()
    }
}

/// Connects in clear, which is what [`Link::new`] allows to this machine alone unless told otherwise.
pub(crate) fn plain(settings: &Settings) -> Result<HttpConnector, InvalidServer> {
    if settings.server.starts_with("https://") {
        return Err(InvalidServer::Tls);
    }
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Ok(connector)
}

impl Link {
    pub(crate) fn new<C>(settings: &Settings, connector: C) -> Result<Self, InvalidServer>
    where
        C: Connect + Clone + Send + Sync + 'static,
    {
        let (origin, path) = Origin::split(&settings.server)?;
        if !(origin.is_secure() || origin.is_loopback() || settings.trust_network) {
            return Err(InvalidServer::Insecure);
        }
        let base = format!("{origin}{path}");
        if path.contains(['?', '#']) || base.parse::<Uri>().is_err() {
            return Err(InvalidServer::Path);
        }
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(CONNECTION_IDLE)
            .build(connector);
        let exchange = move |request, bytes_max| -> Exchanged {
            let response = client.request(request);
            Box::pin(async move {
                let (head, body) =
                    response.await.map_err(|_| Unanswered::Unreachable)?.into_parts();
                let body = Limited::new(body, bytes_max).collect().await;
                let body = body.map_err(|_| Unanswered::Garbled)?.to_bytes().into();
                Ok(Response { status: head.status, body })
            })
        };
        let authorization = basic(&settings.client, &settings.secret)?;
        Ok(Self { exchange: Box::new(exchange), base, authorization })
    }

    /// The server's URL, without a slash at its end.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Asks, as the client.
    pub(crate) async fn ask(&self, query: Query) -> Result<Response, Unanswered> {
        let mut request = Request::builder()
            .method(query.method)
            .uri(format!("{}{}", self.base, query.path))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, query.content_type)
            .body(query.body)
            .map_err(|_| Unanswered::Garbled)?;
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        let answered = (self.exchange)(request, query.answer_bytes_max);
        tokio::time::timeout(query.deadline, answered).await.map_err(|_| Unanswered::Late)?
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
