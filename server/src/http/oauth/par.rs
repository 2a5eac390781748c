//! `POST /oauth2/par` (RFC 9126): a client pushes its authorization request.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use symbolon_core::{
    family::Binding,
    oauth::pushed::{LIFE, PUSHED_BYTES_MAX},
};

use super::{error::OauthError, parameters::Parameters, request::Asked};
use crate::{
    app::now,
    http::{Http, input::Caller},
    ops::{self, push::Refused},
};

/// What a client proves itself with, and who it is: none of it belongs to the request that rests.
const OF_THE_CLIENT: [&str; 4] =
    ["client_secret", "client_assertion", "client_assertion_type", "client_id"];

/// `POST /oauth2/par`. What is wrong with the request is said here, and not in the browser (section 2.3).
pub async fn push(
    State(http): State<Http>,
    headers: HeaderMap,
    caller: Caller,
    mut parameters: Parameters,
) -> Result<Response, OauthError> {
    let (client, shown) = parameters.client(&headers, &http).await?;
    for name in OF_THE_CLIENT {
        parameters.take(name);
    }
    if parameters.get("request_uri").is_some() {
        return Err(OauthError::invalid_request("request_uri cannot be pushed"));
    }
    let asked = Asked::of_client(&http, client.clone(), parameters, now()).await?;
    asked.request_of_push()?;
    let mut form = asked.to_form();
    // A proof says which key the code shall be bound to, as the parameter does (RFC 9449, section 10.1).
    if let Some(key) = super::proven_key(&http, &headers, "/oauth2/par")? {
        match asked.get("dpop_jkt") {
            None => form.push_str(&format!("&dpop_jkt={key}")),
            Some(asked) if asked == key.to_string() => {}
            Some(_) => return Err(OauthError::PROOF),
        }
    }
    if form.len() > PUSHED_BYTES_MAX {
        return Err(OauthError::invalid_request("the request is too long"));
    }
    if shown == Binding::None || client.is_registered() {
        let charged = http.app.attempts.pushed(&client.id, caller.device.address, now());
        charged.map_err(|_| OauthError::TOO_MANY)?;
    }
    let uri =
        ops::push::push(&http.app, &client.id, form, now()).await.map_err(
            |refused| match refused {
                Refused::TooMany => OauthError::TOO_MANY,
                Refused::Unavailable(error) => error.into(),
            },
        )?;
    let body = json!({ "request_uri": uri, "expires_in": LIFE.as_secs() });
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
