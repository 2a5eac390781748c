//! The grant `urn:ietf:params:oauth:grant-type:device_code` (RFC 8628, section 3.4): a device asks whether its user has
//! decided.

use symbolon_core::{
    code,
    oauth::device::{Heard, Over},
};

use super::{Asked, OauthError, Tokens};
use crate::{
    app::now,
    http::input::Caller,
    ops::{
        self,
        code::{Holder, Refused},
        device::NotYet,
    },
};

pub(super) async fn grant(asked: &Asked<'_>) -> Result<Tokens, OauthError> {
    let Asked { http, client, shown, key, caller, parameters } = *asked;
    let Caller { device, asked } = caller;
    let code = parameters.require("device_code", "device_code is missing")?;
    let resources = parameters.resources()?;
    let holder = Holder { client, shown, key, resources, device, asked };
    ops::device::poll(&http.app, code, holder, now()).await.map_err(|not_yet| match not_yet {
        NotYet::Heard(Heard::Pending) => OauthError::PENDING,
        NotYet::Heard(Heard::SlowDown) => OauthError::SLOW_DOWN,
        NotYet::Over(Over::Denied) => OauthError::DENIED,
        NotYet::Over(Over::Expired) | NotYet::Code(Refused::Code(code::Refused::Expired)) => {
            OauthError::EXPIRED
        }
        NotYet::Code(Refused::Audience(_)) => OauthError::TARGET,
        NotYet::Unavailable(error) | NotYet::Code(Refused::Unavailable(error)) => error.into(),
        refused => {
            tracing::debug!(reason = %refused, "a device code proves nothing");
            OauthError::INVALID_GRANT
        }
    })
}
