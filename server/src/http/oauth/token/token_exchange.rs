//! The grant `urn:ietf:params:oauth:grant-type:token-exchange` (RFC 8693, section 2.1): a service acts for the user whose
//! access token it was called with.

use symbolon_core::{
    family::Binding,
    oauth::exchange::{self, ACCESS_TOKEN},
};

use super::{Asked, OauthError, Tokens};
use crate::{
    app::now,
    ops::{self, exchange::Refused},
};

/// Who acts is the client that authenticated, so there is no `actor_token`.
pub(super) async fn grant(asked: &Asked<'_>) -> Result<Tokens, OauthError> {
    let Asked { http, client, shown, key, parameters, .. } = *asked;
    if shown != Binding::Client {
        return Err(OauthError::unauthorized_client("a public client acts for nobody"));
    }
    let subject = parameters.require("subject_token", "subject_token is missing")?;
    let kind = parameters.require("subject_token_type", "subject_token_type is missing")?;
    let wanted = parameters.get("requested_token_type").unwrap_or(ACCESS_TOKEN);
    if kind.expose() != ACCESS_TOKEN || wanted != ACCESS_TOKEN {
        return Err(OauthError::invalid_request("only access tokens are exchanged"));
    }
    if ["actor_token", "actor_token_type"].iter().any(|name| parameters.get(name).is_some()) {
        return Err(OauthError::invalid_request("who acts is the client: send no actor_token"));
    }
    // One token is for one resource server, whichever way it is named.
    let audience = match (parameters.resource()?, parameters.get("audience")) {
        (Some(one), Some(other)) if one != other => return Err(OauthError::TARGET),
        (resource, audience) => resource.or(audience),
    };
    let wants = exchange::Asked { scope: parameters.get("scope"), audience, key };
    ops::exchange::tokens(&http.app, client, subject, wants, now()).await.map_err(refused)
}

/// A token that is not accepted for any reason is `invalid_request` (section 2.2.2).
fn refused(refused: Refused) -> OauthError {
    match refused {
        Refused::Unavailable(error) => error.into(),
        Refused::Exchange(exchange::Refused::Scope) => OauthError::SCOPE,
        Refused::Exchange(exchange::Refused::Audience) => OauthError::TARGET,
        refused => {
            tracing::debug!(reason = %refused, "a token is not exchanged");
            OauthError::invalid_request("subject_token is none that this client may exchange")
        }
    }
}
