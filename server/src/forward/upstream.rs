//! The Symbolon server, for what only it can do: redeem a code, end a login.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderValue, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, ORIGIN},
};
use http_body_util::{BodyExt, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde::Deserialize;
use symbolon_core::secret::SecretText;
use symbolon_guard::cookie::{Cookie, Layout};

use super::connect::Connector;
use crate::config::forward::ForwardConfig;

/// The most bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Why the server did not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// It refused: the code is used up, too old, or another browser's.
    #[error("the server refused ({0})")]
    Refused(StatusCode),
    /// It could not be asked, or answered something else.
    #[error("the server cannot be asked now")]
    Unavailable,
}

/// What a code gives.
#[derive(Debug, Deserialize)]
pub struct Redeemed {
    /// The session cookie for the host of the application.
    pub session_cookie: SecretText,
    /// How long the browser keeps it, in seconds; until it is closed if there is none.
    pub max_age: Option<u64>,
}

/// Asks the server.
#[derive(Debug)]
pub struct Upstream {
    client: Client<Connector, String>,
    url: String,
    authorization: HeaderValue,
    /// How browsers see the server.
    layout: Layout,
    deadline: Duration,
}

impl Upstream {
    /// The server of a configuration.
    ///
    /// # Errors
    /// What is wrong with its URL or the credentials, in words.
    pub fn new(config: &ForwardConfig, connector: Connector) -> Result<Self, String> {
        let encode = |text: &str| serde_urlencoded::to_string([("", text)]).unwrap_or_default();
        // RFC 6749, section 2.3.1: both parts are form-encoded first.
        let [id, secret] = [config.server.client_id.as_str(), config.secret.expose()]
            .map(|text| SecretText::new(encode(text)[1..].to_owned()));
        let pair = SecretText::new(format!("{}:{}", id.expose(), secret.expose()));
        let basic = SecretText::new(format!("Basic {}", STANDARD.encode(pair.expose())));
        let mut authorization =
            HeaderValue::from_str(basic.expose()).map_err(|error| error.to_string())?;
        authorization.set_sensitive(true);
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            url: config.server.url.trim_end_matches('/').to_owned(),
            authorization,
            layout: Layout::of(config.issuer.issuer()).map_err(|error| error.to_string())?,
            deadline: config.server.deadline,
        })
    }

    /// Redeems a code for a session cookie.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn redeem(
        &self,
        code: &str,
        redirect_uri: &str,
        verifier: &SecretText,
    ) -> Result<Redeemed, Failed> {
        let body = serde_json::json!({
            "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier.expose(),
        });
        let request = Request::post(format!("{}/api/v1/code", self.url))
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, "application/json");
        let answer = self.send(request.body(body.to_string())).await?;
        serde_json::from_slice(&answer).map_err(|_| Failed::Unavailable)
    }

    /// Ends the session of a cookie, and everything under it.
    ///
    /// # Errors
    /// [`Failed`]; a session that is over already is none.
    pub async fn end(&self, session_cookie: &SecretText) -> Result<(), Failed> {
        let name = self.layout.name(Cookie::Session);
        let cookie = SecretText::new(format!("{name}={}", session_cookie.expose()));
        // So that the next request is refused, here and elsewhere. Longer than the usual lease, shorter than the deadline
        // of a question.
        let request = Request::post(format!("{}/api/v1/logout?confirm=1500ms", self.url))
            .header(COOKIE, cookie.expose())
            .header(ORIGIN, self.layout.origin().as_str());
        match self.send(request.body(String::new())).await {
            Ok(_) | Err(Failed::Refused(StatusCode::UNAUTHORIZED)) => Ok(()),
            Err(failed) => Err(failed),
        }
    }

    async fn send(&self, request: http::Result<Request<String>>) -> Result<Vec<u8>, Failed> {
        let request = request.map_err(|_| Failed::Unavailable)?;
        let answered = async {
            let response = self.client.request(request).await.map_err(|_| Failed::Unavailable)?;
            let (head, body) = response.into_parts();
            if head.status.is_client_error() {
                return Err(Failed::Refused(head.status));
            }
            if !head.status.is_success() {
                return Err(Failed::Unavailable);
            }
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            Ok(body.map_err(|_| Failed::Unavailable)?.to_bytes().to_vec())
        };
        let answered = tokio::time::timeout(self.deadline, answered).await;
        let answered = answered.unwrap_or(Err(Failed::Unavailable));
        if let Err(error) = &answered {
            tracing::warn!(%error, "the server did not do what it was asked for");
        }
        answered
    }
}
