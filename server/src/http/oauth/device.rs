//! `POST /oauth2/device_authorization` (RFC 8628, section 3.1): a device begins to wait for its user.

use axum::{extract::State, http::HeaderMap, response::Response};
use serde_json::json;
use symbolon_core::{
    family::Binding,
    oauth::{
        device::{INTERVAL, LIFE},
        grant::GrantType,
    },
};

use super::{error::OauthError, parameters::Parameters};
use crate::{
    app::now,
    http::{Http, input::Caller, output},
    ops::{self, device::NotBegun},
};

/// Where people type the code, below the base path.
pub const PATH: &str = "/device";

/// `POST /oauth2/device_authorization`.
pub async fn begin(
    State(http): State<Http>,
    headers: HeaderMap,
    caller: Caller,
    parameters: Parameters,
) -> Result<Response, OauthError> {
    let (client, shown) = parameters.client(&headers, &http).await?;
    if !client.may_use(GrantType::DeviceCode) {
        return Err(OauthError::unauthorized_client("the client's grant_types have no such grant"));
    }
    if shown == Binding::None {
        let charged = http.app.attempts.device(&client.id, caller.device.address, now());
        charged.map_err(|_| OauthError::TOO_MANY)?;
    }
    let what = (parameters.get("scope").unwrap_or_default(), parameters.resource()?);
    let codes = ops::device::begin(&http.app, &client, what, now()).await;
    let codes = codes.map_err(|refused| match refused {
        NotBegun::Audience => OauthError::TARGET,
        NotBegun::TooMany => OauthError::TOO_MANY,
        NotBegun::Unavailable(error) => error.into(),
    })?;
    let uri = format!("{}{PATH}", http.app.config.public_url.issuer());
    let user_code = codes.user.text();
    let user_code = user_code.expose();
    Ok(output::json(
        HeaderMap::new(),
        json!({
            "device_code": codes.device.expose(),
            "user_code": user_code,
            "verification_uri": uri,
            "verification_uri_complete": format!("{uri}?user_code={user_code}"),
            "expires_in": LIFE.as_secs(),
            "interval": INTERVAL.as_secs(),
        }),
    ))
}
