//! What clients and resource servers need to know (OpenID Connect Discovery, section 3; RFC 8414, section 2). It is made
//! of the same tables that decide, so that it says what is on and nothing else.

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use symbolon_core::{
    keys::Algorithm,
    oauth::{
        authorization::{PROMPTS, ResponseMode},
        jwk::SignatureAlgorithm,
    },
    profile, scope,
    session::Assurance,
    subject::SubjectType,
};

use super::{parameters, token};
use crate::http::Http;

/// `GET /.well-known/openid-configuration` and `/.well-known/oauth-authorization-server`.
pub async fn metadata(State(http): State<Http>) -> Response {
    let issuer = http.app.config.public_url.issuer();
    let algorithms = Algorithm::ALL.map(Algorithm::name);
    let of_clients = SignatureAlgorithm::ALL.map(SignatureAlgorithm::name);
    let claims: Vec<_> = ID_TOKEN_CLAIMS.iter().copied().chain(profile::names()).collect();
    let mut document = json!({
        "issuer": issuer,
        "scopes_supported": scope::STANDARD,
        "claims_supported": claims,
        // Of the `claims` parameter an essential `acr` counts, and no more.
        "claims_parameter_supported": false,
        "response_types_supported": ["code"],
        "response_modes_supported": ResponseMode::ALL.map(|(name, _)| name),
        "grant_types_supported": token::GRANTS,
        "code_challenge_methods_supported": ["S256"],
        "prompt_values_supported": PROMPTS,
        "subject_types_supported": SubjectType::ALL,
        // Those that somebody can log in with.
        "acr_values_supported": [Assurance::Aal1.as_str()],
        "id_token_signing_alg_values_supported": algorithms,
        "userinfo_signing_alg_values_supported": algorithms,
        "access_token_signing_alg_values_supported": algorithms,
        "token_endpoint_auth_methods_supported": parameters::METHODS,
        "token_endpoint_auth_signing_alg_values_supported": of_clients,
        // A public client proves nothing, so it learns nothing about tokens.
        "introspection_endpoint_auth_methods_supported": parameters::METHODS[..3],
        "introspection_endpoint_auth_signing_alg_values_supported": of_clients,
        "revocation_endpoint_auth_methods_supported": parameters::METHODS,
        "revocation_endpoint_auth_signing_alg_values_supported": of_clients,
        "dpop_signing_alg_values_supported": of_clients,
        "authorization_response_iss_parameter_supported": true,
        "backchannel_logout_supported": true,
        "backchannel_logout_session_supported": true,
        "frontchannel_logout_supported": true,
        "frontchannel_logout_session_supported": true,
        "require_pushed_authorization_requests": false,
        "request_parameter_supported": true,
        "request_object_signing_alg_values_supported": of_clients,
        "request_uri_parameter_supported": false,
        "ui_locales_supported": ["ko", "en"],
    });
    for (name, path) in ENDPOINTS {
        document[name] = format!("{issuer}{path}").into();
    }
    let mut response = axum::Json(document).into_response();
    let minutes = HeaderValue::from_static("public, max-age=300");
    response.headers_mut().insert(header::CACHE_CONTROL, minutes);
    response
}

/// Where things are, below the issuer.
const ENDPOINTS: [(&str, &str); 9] = [
    ("authorization_endpoint", "/oauth2/authorize"),
    ("pushed_authorization_request_endpoint", "/oauth2/par"),
    ("token_endpoint", "/oauth2/token"),
    ("userinfo_endpoint", "/oauth2/userinfo"),
    ("end_session_endpoint", "/oauth2/logout"),
    ("jwks_uri", "/.well-known/jwks.json"),
    ("introspection_endpoint", "/oauth2/introspect"),
    ("revocation_endpoint", "/oauth2/revoke"),
    ("device_authorization_endpoint", "/oauth2/device_authorization"),
];

/// What ID tokens say, besides what userinfo tells.
const ID_TOKEN_CLAIMS: [&str; 12] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "iat",
    "auth_time",
    "nonce",
    "acr",
    "amr",
    "azp",
    "sid",
    "at_hash",
];
