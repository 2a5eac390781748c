//! Redeeming an authorization code, for the server side of an application on another host.

use axum::{extract::State, http::HeaderMap, response::Response};
use serde::{Deserialize, Serialize};
use symbolon_core::secret::SecretText;
use utoipa::ToSchema;

use crate::{
    app::now,
    http::{
        Http,
        input::{Authenticated, Body, Caller},
        output,
        problem::{self, Problem},
    },
    ops::{self, code::Refused},
};

/// A code that the browser brought from `/oauth2/authorize`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CodeRequest {
    /// The code.
    #[schema(value_type = String)]
    pub code: SecretText,
    /// The redirect URI of the authorization request.
    pub redirect_uri: String,
    /// The verifier that the client kept for this browser (RFC 7636).
    #[schema(value_type = String)]
    pub code_verifier: SecretText,
}

/// A session of the application's own, under the browser session that authorised it.
#[derive(Serialize, ToSchema)]
pub struct CodeRedeemed {
    /// The value of the session cookie, to set on the application's own host.
    session_cookie: String,
    /// How long the browser shall keep it, in seconds; `null`: until it is closed.
    max_age: Option<u64>,
    /// The session. It stays the same for as long as the browser session lives.
    sid: String,
}

impl std::fmt::Debug for CodeRedeemed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeRedeemed").field("sid", &self.sid).finish_non_exhaustive()
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unavailable(error) => error.into(),
            refused => {
                tracing::debug!(reason = %refused, "a code proves nothing");
                problem::GRANT.into()
            }
        }
    }
}

/// Redeems an authorization code for a session cookie. A code can be used once: a second use is refused, and ends the
/// session that the first one got.
#[utoipa::path(post, path = "/api/v1/code", tag = "session", request_body = CodeRequest, responses(
    (status = 200, body = CodeRedeemed),
    (status = 400, description = "`invalid_grant`"),
    (status = 401, description = "`invalid_client`")))]
pub async fn redeem(
    State(http): State<Http>,
    Authenticated(client): Authenticated,
    caller: Caller,
    Body(body): Body<CodeRequest>,
) -> Result<Response, Problem> {
    let now = now();
    // The cookie is of use to the app alone, and so to anybody: others get tokens, which say less.
    if !client.first_party {
        return Err(problem::CLIENT_KIND.into());
    }
    let CodeRequest { code, redirect_uri, code_verifier } = &body;
    let (session, cookie) = ops::code::for_cookie(
        &http.app,
        (&client, code),
        redirect_uri,
        code_verifier,
        &caller.asked,
        now,
    )
    .await?;
    let redeemed = CodeRedeemed {
        session_cookie: cookie.expose().to_owned(),
        max_age: output::max_age(&session, now).map(|age| age.as_secs()),
        sid: session.id.to_string(),
    };
    Ok(output::json(HeaderMap::new(), redeemed))
}
