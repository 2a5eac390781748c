//! The grant `refresh_token` (RFC 6749, section 6): the rotation of first-party logins, with the same answer again and
//! with theft. The scope may shrink for one token; the ID token has no `nonce` (OpenID Connect Core, section 12.2).

use super::{Asked, OauthError, Tokens};
use crate::{
    app::now,
    http::input::Caller,
    ops::{
        self, check,
        refresh::{Refused, Use},
    },
};

pub(super) async fn grant(asked: &Asked<'_>) -> Result<Tokens, OauthError> {
    let Asked { http, client, shown, key, caller, parameters } = *asked;
    let Caller { device, asked } = caller;
    let token = parameters.require("refresh_token", "refresh_token is missing")?;
    let (scope, resources) = (parameters.get("scope"), parameters.resources()?);
    let used = Use { token, client, shown, key, scope, resources, device, asked };
    ops::refresh::refresh(&http.app, used, now()).await.map_err(|refused| match refused {
        Refused::Unavailable(error) | Refused::Check(check::Refused::Unavailable(error)) => {
            error.into()
        }
        Refused::Scope => OauthError::SCOPE,
        Refused::Audience(_) => OauthError::TARGET,
        refused => {
            tracing::debug!(reason = %refused, "a refresh token proves nothing");
            OauthError::INVALID_GRANT
        }
    })
}
