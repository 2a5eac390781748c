//! What the shop's server side asks Symbolon for: a session for a visitor, and the cart that is kept with a session.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use axum::http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, ETAG, IF_MATCH, InvalidHeaderValue},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http_body_util::{BodyExt, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use symbolon_guard::{Refusal, SecretText};

/// How long one question may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// The most bytes of an answer that are read: session data is 64 KiB at most, unless configured otherwise.
const ANSWER_BYTES_MAX: usize = 128 * 1024;
/// How often a change is tried when others change the same cart meanwhile. Each time one of them gets through.
const TRIES_MAX: usize = 16;
/// The most pieces of one article.
const PIECES_MAX: u32 = 99;
/// What those are told for whom Symbolon has no answer.
const UNAVAILABLE: Refusal = Refusal::Unavailable { retry_after_secs: 2 };

/// Pieces by article.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Cart(BTreeMap<String, u32>);

impl Cart {
    /// The articles and how many pieces of each.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&str, u32)> {
        self.0.iter().map(|(id, pieces)| (id.as_str(), *pieces))
    }

    pub(crate) fn add(&mut self, id: &str) {
        let pieces = self.0.entry(id.to_owned()).or_default();
        *pieces = (*pieces + 1).min(PIECES_MAX);
    }

    pub(crate) fn remove(&mut self, id: &str) {
        if let Some(pieces) = self.0.get_mut(id) {
            *pieces = pieces.saturating_sub(1);
        }
        self.0.retain(|_, pieces| *pieces > 0);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The shop's session data. Other keys than `cart` would be left alone: patches merge per key.
#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    cart: Cart,
}

/// A visitor's new session.
#[derive(Deserialize)]
pub(crate) struct Visitor {
    pub(crate) sid: String,
    /// The whole `Set-Cookie` header, for the visitor's browser alone.
    pub(crate) set_cookie: SecretText,
}

/// Symbolon, asked as the shop's client.
pub(crate) struct Symbolon {
    http: Client<HttpConnector, String>,
    url: String,
    authorization: HeaderValue,
}

impl Symbolon {
    /// `url` is plain http: the demo runs on one machine.
    pub(crate) fn new(
        url: &str,
        client_id: &str,
        secret: &SecretText,
    ) -> Result<Self, InvalidHeaderValue> {
        // Ids and secrets of Symbolon are made of characters that need no form encoding (RFC 6749, section 2.3.1).
        let pair = STANDARD.encode(format!("{client_id}:{}", secret.expose()));
        let mut authorization = HeaderValue::try_from(format!("Basic {pair}"))?;
        authorization.set_sensitive(true);
        let http = Client::builder(TokioExecutor::new()).build_http();
        Ok(Self { http, url: url.trim_end_matches('/').to_owned(), authorization })
    }

    /// Opens a session for somebody who has not logged in, because there is a cart to keep.
    pub(crate) async fn open_visitor(
        &self,
        address: IpAddr,
        user_agent: Option<&str>,
    ) -> Result<Visitor, Refusal> {
        let body = json!({ "address": address, "user_agent": user_agent });
        let answer = self.ask(Method::POST, "", None, Some(&body)).await?;
        read(&answer)
    }

    /// The cart of a session.
    pub(crate) async fn cart(&self, sid: &str) -> Result<Cart, Refusal> {
        Ok(self.load(sid).await?.0)
    }

    /// Changes the cart of a session. It is written only if it is still as it was read; otherwise the change is made
    /// again to what somebody else has written, so that nothing is lost.
    pub(crate) async fn change_cart(
        &self,
        sid: &str,
        change: impl Fn(&mut Cart),
    ) -> Result<(), Refusal> {
        for _ in 0..TRIES_MAX {
            let (mut cart, version) = self.load(sid).await?;
            change(&mut cart);
            let patch = json!({ "cart": cart });
            let answer = self.ask(Method::PATCH, &data(sid), Some(&version), Some(&patch)).await?;
            if answer.status() != StatusCode::PRECONDITION_FAILED {
                return Ok(());
            }
        }
        Err(UNAVAILABLE)
    }

    async fn load(&self, sid: &str) -> Result<(Cart, HeaderValue), Refusal> {
        let answer = self.ask(Method::GET, &data(sid), None, None).await?;
        let version = answer.headers().get(ETAG).ok_or(UNAVAILABLE)?.clone();
        Ok((read::<Data>(&answer)?.cart, version))
    }

    /// One question: the answer is a success, or says that `if_match` is no more.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        if_match: Option<&HeaderValue>,
        body: Option<&Value>,
    ) -> Result<Response<Vec<u8>>, Refusal> {
        let mut question = Request::new(body.map(Value::to_string).unwrap_or_default());
        let uri = format!("{}/api/v1/sessions{path}", self.url);
        *question.uri_mut() = uri.parse().map_err(|_| UNAVAILABLE)?;
        *question.method_mut() = method;
        let headers = question.headers_mut();
        headers.insert(AUTHORIZATION, self.authorization.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(if_match.map(|version| (IF_MATCH, version.clone())));
        let answered = async {
            let (head, body) = self.http.request(question).await.ok()?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.ok()?.to_bytes();
            Some(Response::from_parts(head, body.to_vec()))
        };
        let answer = tokio::time::timeout(DEADLINE, answered).await.ok().flatten();
        match answer.map(|answer| (answer.status(), answer)) {
            Some((status, answer))
                if status.is_success() || status == StatusCode::PRECONDITION_FAILED =>
            {
                Ok(answer)
            }
            // The session ended after the guard had asked about it.
            Some((StatusCode::NOT_FOUND, _)) => Err(Refusal::InvalidToken),
            other => {
                let status = other.map(|(status, _)| status.as_u16());
                tracing::warn!(status, "Symbolon has no answer");
                Err(UNAVAILABLE)
            }
        }
    }
}

fn data(sid: &str) -> String {
    format!("/{sid}/data")
}

fn read<'a, T: Deserialize<'a>>(answer: &'a Response<Vec<u8>>) -> Result<T, Refusal> {
    serde_json::from_slice(answer.body()).map_err(|_| UNAVAILABLE)
}
