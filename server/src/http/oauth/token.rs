//! `POST /oauth2/token` (RFC 6749, section 3.2). The steps, in this order:
//!
//! | what must be | otherwise |
//! |---|---|
//! | a form in which every parameter stands once | `invalid_request` |
//! | the client is who it says ([`Parameters::client`]) | `invalid_client`, 401 |
//! | `grant_type` is one of [`GRANTS`] | `unsupported_grant_type` |
//! | what the grant says: the functions below | its error |
//!
//! Answers and errors are those of sections 5.1 and 5.2, and nobody keeps them.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use symbolon_core::{client::Client, family::Binding, session::Device};

use super::{error::OauthError, parameters::Parameters};
use crate::{
    app::now,
    http::{
        Http,
        input::Caller,
        output::{self, TokenAnswer},
    },
    ops::{self, code::Holder, issue::Tokens, refresh::Use},
};

/// The grants that are on, as the metadata names them.
pub const GRANTS: &[&str] = &["authorization_code", "refresh_token"];

/// What a grant is asked with.
struct Asked<'a> {
    http: &'a Http,
    client: &'a Client,
    shown: Binding,
    device: &'a Device,
    parameters: &'a Parameters,
}

/// `POST /oauth2/token`.
pub async fn token(
    State(http): State<Http>,
    headers: HeaderMap,
    caller: Caller,
    parameters: Parameters,
) -> Result<Response, OauthError> {
    let (client, shown) = parameters.client(&headers, &http)?;
    let asked = Asked {
        http: &http,
        client: &client,
        shown,
        device: &caller.device,
        parameters: &parameters,
    };
    let tokens = match parameters.get("grant_type") {
        Some("authorization_code") => authorization_code(&asked).await,
        Some("refresh_token") => refresh_token(&asked).await,
        Some(_) => Err(OauthError::GRANT_TYPE),
        None => Err(OauthError::invalid_request("grant_type is missing")),
    }?;
    let mut no_cache = HeaderMap::new();
    no_cache.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    Ok(output::json(no_cache, TokenAnswer::new(&tokens, now())))
}

/// Section 4.1.3, with the verifier of RFC 7636, section 4.5. Both are required, because every code was issued with them.
async fn authorization_code(asked: &Asked<'_>) -> Result<Tokens, OauthError> {
    use ops::code::Refused;
    let Asked { http, client, shown, device, parameters } = *asked;
    let missing = OauthError::invalid_request;
    let code = parameters.secret("code").ok_or_else(|| missing("code is missing"))?;
    let redirect_uri =
        parameters.get("redirect_uri").ok_or_else(|| missing("redirect_uri is missing"))?;
    let verifier =
        parameters.secret("code_verifier").ok_or_else(|| missing("code_verifier is missing"))?;
    let holder = Holder { client, shown, device };
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

/// Section 6: the rotation of first-party logins, with the same answer again and with theft. The scope may shrink for
/// one token; the ID token has no `nonce` (OpenID Connect Core, section 12.2).
async fn refresh_token(asked: &Asked<'_>) -> Result<Tokens, OauthError> {
    use ops::refresh::Refused;
    let Asked { http, client, shown, device, parameters } = *asked;
    let missing = || OauthError::invalid_request("refresh_token is missing");
    let token = parameters.secret("refresh_token").ok_or_else(missing)?;
    let used = Use { token, client, shown, scope: parameters.get("scope"), device };
    ops::refresh::refresh(&http.app, used, now()).await.map_err(|refused| match refused {
        Refused::Unavailable(error) | Refused::Check(ops::check::Refused::Unavailable(error)) => {
            error.into()
        }
        Refused::Scope => OauthError::SCOPE,
        refused => {
            tracing::debug!(reason = %refused, "a refresh token proves nothing");
            OauthError::INVALID_GRANT
        }
    })
}
