//! `GET` and `POST /oauth2/userinfo` (OpenID Connect Core, section 5.3): what an app is told about its user. The guard
//! in front of it ([`AtUserinfo`](crate::http::authority::AtUserinfo)) lets in access tokens that are for this endpoint.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use symbolon_guard::{Identity, Refusal};

use crate::{
    app::now,
    http::{Http, output, problem::Problem},
    ops::userinfo::{self, Told},
};

/// `GET` and `POST /oauth2/userinfo`.
pub async fn userinfo(State(http): State<Http>, identity: Identity) -> Result<Response, Problem> {
    let Some(sub) = identity.subject else { return Ok(Refusal::InvalidToken.into_response()) };
    let what = (&identity.client, &*identity.scopes.join(" "));
    Ok(match userinfo::userinfo(&http.app, (identity.session, sub), what, now()).await? {
        None => Refusal::InvalidToken.into_response(),
        Some(Told::Plain(claims)) => output::json(HeaderMap::new(), claims),
        Some(Told::Signed(text)) => {
            let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/jwt"));
            ([kind], text.expose().to_owned()).into_response()
        }
    })
}
