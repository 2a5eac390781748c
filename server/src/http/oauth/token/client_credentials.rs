//! The grant `client_credentials` (RFC 6749, section 4.4), with `resource` (RFC 8707). There is no refresh token: the
//! client asks again.

use symbolon_core::family::Binding;

use super::{Asked, OauthError, Tokens};
use crate::{
    app::now,
    ops::{self, machine::Refused},
};

pub(super) async fn grant(asked: &Asked<'_>) -> Result<Tokens, OauthError> {
    let Asked { http, client, shown, key, caller, parameters } = *asked;
    // Whoever knows a public client's name could act for it; a key of its own proves nothing of the client.
    if shown != Binding::Client {
        return Err(OauthError::unauthorized_client("a public client does not act for itself"));
    }
    let resources = parameters.resources()?;
    let what = (parameters.get("scope"), &resources);
    ops::machine::tokens(&http.app, client, what, key, &caller.device, now()).await.map_err(
        |refused| match refused {
            Refused::Scope => OauthError::SCOPE,
            Refused::Audience(_) => OauthError::TARGET,
            Refused::Unavailable(error) => error.into(),
        },
    )
}
