//! Register and change the password.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use symbolon_core::{csrf, password, secret::SecretText};
use symbolon_guard::{Half, Identity};
use utoipa::ToSchema;

use crate::{
    app::now,
    http::{
        Http,
        confirm::{Confirm, ConfirmQuery},
        input::{Body, Caller},
        output,
        problem::{self, Problem},
    },
    ops::{self, confirm::Confirmed, register::Application},
};

/// A registration.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterRequest {
    /// The name.
    pub username: String,
    /// The password.
    #[schema(value_type = String, format = Password)]
    pub password: SecretText,
    /// The invitation, where one is needed.
    #[schema(value_type = Option<String>)]
    pub invitation: Option<SecretText>,
}

/// Registers a user. The answer is the same if the name is taken: log in to find out. Only who holds an invitation is
/// told.
#[utoipa::path(post, path = "/api/v1/register", tag = "account", request_body = RegisterRequest, responses(
    (status = 202, description = "If the name was free, the account exists now"),
    (status = 409, description = "`taken`, said to the holder of an invitation, which is still good")))]
pub async fn register(
    State(http): State<Http>,
    headers: HeaderMap,
    caller: Caller,
    Body(body): Body<RegisterRequest>,
) -> Result<Response, Problem> {
    http.refuse_foreign_origin(&headers)?;
    let application = Application {
        username: &body.username,
        password: &body.password,
        invitation: body.invitation.as_ref(),
        address: caller.device.address,
    };
    ops::register::register(&http.app, application, now()).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

/// The problem of a password that is not accepted.
pub fn policy(refused: password::Refused) -> Problem {
    Problem::from(problem::PASSWORD).reason(refused.code()).detail(refused.to_string())
}

impl From<ops::register::Refused> for Problem {
    fn from(refused: ops::register::Refused) -> Self {
        use ops::register::Refused;
        match refused {
            Refused::Closed => problem::REGISTRATION_CLOSED.into(),
            Refused::Invitation => problem::INVITATION.into(),
            Refused::Taken => problem::TAKEN.into(),
            Refused::Username(error) => Self::from(problem::USERNAME).detail(error.to_string()),
            Refused::Policy(refused) => policy(refused),
            Refused::Limited(limited) => limited.into(),
            Refused::Unavailable(error) => error.into(),
        }
    }
}

/// A change of the password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordRequest {
    /// The password as it is.
    #[schema(value_type = String, format = Password)]
    pub current_password: SecretText,
    /// The password as it shall be.
    #[schema(value_type = String, format = Password)]
    pub new_password: SecretText,
}

/// A changed password.
#[derive(Debug, Serialize, ToSchema)]
pub struct PasswordAnswer {
    /// How many other sessions ended.
    ended: usize,
    /// For forms: it belongs to the new cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    csrf_token: Option<String>,
}

/// Changes the password. Every other session ends; in this one every half of before is void. Who came with the session
/// cookie gets a new one; who came with an access token logs in again.
#[utoipa::path(post, path = "/api/v1/password", tag = "account", request_body = PasswordRequest, params(ConfirmQuery), responses(
    (status = 200, body = PasswordAnswer),
    (status = 202, description = "With `confirm`: changed, but what ended is not over everywhere yet", body = Confirmed), (status = 401, description = "`invalid_credentials`")))]
pub async fn change_password(
    confirm: Confirm,
    State(http): State<Http>,
    identity: Identity,
    Body(body): Body<PasswordRequest>,
) -> Result<Response, Problem> {
    let now = now();
    let live = ops::check::load(&http.app, identity.session)
        .await
        .map_err(|_| problem::UNAUTHENTICATED)?;
    let changed =
        ops::password::change(&http.app, &live, &body.current_password, &body.new_password, now)
            .await?;
    // Token → cookie would be a handover, which asks for more than this.
    let cookie = changed.cookie.filter(|_| identity.half() == Some(Half::SessionCookie));
    let mut set = HeaderMap::new();
    if let Some(cookie) = &cookie {
        output::set_session(&http, &mut set, &changed.session, cookie, now)?;
    }
    let csrf_token = cookie.as_ref().map(|cookie| csrf::token(cookie.expose()));
    let body = json!(PasswordAnswer { ended: changed.ended, csrf_token });
    confirm.answer(&http.app, set, Some(body)).await
}

impl From<ops::password::Refused> for Problem {
    fn from(refused: ops::password::Refused) -> Self {
        use ops::password::Refused;
        match refused {
            Refused::Credentials => problem::CREDENTIALS.into(),
            Refused::Policy(refused) => policy(refused),
            Refused::Limited(limited) => limited.into(),
            Refused::Unavailable(error) => error.into(),
        }
    }
}
