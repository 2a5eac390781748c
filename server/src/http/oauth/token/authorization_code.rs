//! The grant `authorization_code` (RFC 6749, section 4.1.3), with the verifier of RFC 7636, section 4.5.

use super::{Asked, OauthError, Tokens};
use crate::{
    app::now,
    http::input::Caller,
    ops::{
        self,
        code::{Holder, Refused},
    },
};

/// The redirect URI is required, because no code was issued without. Whether a verifier must be there, the code says.
pub(super) async fn grant(asked: &Asked<'_>) -> Result<Tokens, OauthError> {
    let Asked { http, client, shown, key, caller, parameters } = *asked;
    let Caller { device, asked } = caller;
    let code = parameters.require("code", "code is missing")?;
    let redirect_uri = parameters.require("redirect_uri", "redirect_uri is missing")?.expose();
    let verifier = parameters.secret("code_verifier");
    let resources = parameters.resources()?;
    let holder = Holder { client, shown, key, resources, device, asked };
    let tokens = ops::code::for_tokens(&http.app, code, holder, (redirect_uri, verifier), now());
    tokens.await.map_err(|refused| match refused {
        Refused::Unavailable(error) => error.into(),
        Refused::Audience(_) => OauthError::TARGET,
        refused => {
            tracing::debug!(reason = %refused, "a code proves nothing");
            OauthError::INVALID_GRANT
        }
    })
}
