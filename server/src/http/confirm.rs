//! `?confirm=`: whoever ends something can ask to hear when it is over everywhere.

use std::time::Duration;

use axum::{
    Json,
    extract::{FromRequestParts, Query},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use symbolon_core::time::Tick;
use utoipa::IntoParams;

use super::problem::{self, Problem};
use crate::{
    app::App,
    config::span,
    ops::confirm::{self, Confirmed},
    os::tick,
    ui::Over,
};

/// How long to wait if the request does not say: longer than any lease but an unusual one.
const WITHIN: Duration = Duration::from_secs(5);
/// Below the time that a request may take.
const WITHIN_MAX: Duration = Duration::from_secs(25);

/// Whether a request wants to hear that an end is confirmed, and for how long it waits. Take it before anything else:
/// the time that is told counts from here.
#[derive(Debug, Clone, Copy)]
pub struct Confirm {
    began: Tick,
    within: Option<Duration>,
}

impl Confirm {
    /// As a page does it: waits, because somebody looks.
    pub fn for_a_person() -> Self {
        Self { began: tick(), within: Some(WITHIN) }
    }

    /// Whether that was asked for.
    pub const fn is_wanted(self) -> bool {
        self.within.is_some()
    }

    /// Waits, if that was asked for.
    ///
    /// # Errors
    /// [`Problem`] if the store does not answer. What was ended has ended.
    pub async fn wait(self, app: &App) -> Result<Option<Confirmed>, Problem> {
        match self.within {
            None => Ok(None),
            Some(within) => Ok(Some(confirm::confirm(app, self.began, within).await?)),
        }
    }

    /// Waits, and says for a page how far it has come.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub async fn over(self, app: &App) -> Result<Over, Problem> {
        let confirmed = self.wait(app).await?.filter(|confirmed| confirmed.confirmed);
        Ok(confirmed
            .map_or(Over::NotYet, |confirmed| Over::After { ms: confirmed.took_ms.ceil() as u64 }))
    }

    /// The answer of an end: with `body` and, if that was asked for, how far it has come: 200 when it is confirmed,
    /// 202 when it is not. Without a body and a question, 204.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub async fn answer(
        self,
        app: &App,
        headers: HeaderMap,
        body: Option<Value>,
    ) -> Result<Response, Problem> {
        let Some(confirmed) = self.wait(app).await? else {
            return Ok(match body {
                None => (StatusCode::NO_CONTENT, headers).into_response(),
                Some(mut body) => {
                    body["took_ms"] = json!(confirm::millis(tick().since(self.began)));
                    no_store((headers, Json(body)).into_response())
                }
            });
        };
        let status = if confirmed.confirmed { StatusCode::OK } else { StatusCode::ACCEPTED };
        let mut all = body.unwrap_or_else(|| json!({}));
        if let (Value::Object(all), Value::Object(more)) = (&mut all, json!(confirmed)) {
            all.extend(more);
        }
        Ok(no_store((status, headers, Json(all)).into_response()))
    }
}

fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What the query says of it.
#[derive(Debug, Deserialize, IntoParams)]
pub struct ConfirmQuery {
    /// `true`, or how long to wait at most (`2s`, `500ms`, up to `25s`): answer when what was ended is refused
    /// everywhere.
    confirm: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Confirm {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let began = tick();
        let asked = Query::<ConfirmQuery>::from_request_parts(parts, state).await;
        let asked = asked.map_err(|_| problem::MALFORMED)?.0.confirm;
        let within = match asked.as_deref() {
            None | Some("false") => None,
            Some("true" | "") => Some(WITHIN),
            Some(text) => {
                let within = span(text).ok().filter(|within| *within <= WITHIN_MAX);
                Some(within.ok_or(problem::CONFIRM)?)
            }
        };
        Ok(Self { began, within })
    }
}
