//! `POST /oauth2/token` (RFC 6749, section 3.2). The steps, in this order:
//!
//! | what must be | otherwise |
//! |---|---|
//! | a form in which every parameter stands once | `invalid_request` |
//! | the client is who it says ([`Parameters::client`]) | `invalid_client`, 401 |
//! | where it brings a proof of a key (DPoP), it fits this request and is new; a client whose tokens must be bound brings one | `invalid_dpop_proof`, `use_dpop_nonce` |
//! | `grant_type` is one of [`GRANTS`] | `unsupported_grant_type` |
//! | the client may use the grant | `unauthorized_client` |
//! | what the grant's own file says | its error |
//!
//! Answers and errors are those of sections 5.1 and 5.2, and nobody keeps them.

mod authorization_code;
mod client_credentials;
mod device_code;
mod refresh_token;
mod token_exchange;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use symbolon_core::{
    client::Client,
    family::Binding,
    oauth::{exchange::ACCESS_TOKEN, grant::GrantType, jwk::Thumbprint},
};

use super::{error::OauthError, parameters::Parameters};
use crate::{
    app::now,
    http::{
        Http,
        input::Caller,
        output::{self, TokenAnswer},
    },
    ops::issue::Tokens,
};

macro_rules! grants {
    ($($name:ident $grant:path;)*) => {
        /// The grants that are on.
        pub const GRANTS: &[GrantType] = &[$(GrantType::$name),*];

        async fn grant(name: GrantType, asked: &Asked<'_>) -> Result<Tokens, OauthError> {
            match name {
                $(GrantType::$name => $grant(asked).await,)*
            }
        }
    };
}

grants! {
    AuthorizationCode authorization_code::grant;
    RefreshToken      refresh_token::grant;
    ClientCredentials client_credentials::grant;
    TokenExchange     token_exchange::grant;
    DeviceCode        device_code::grant;
}

/// What a grant is asked with.
struct Asked<'a> {
    http: &'a Http,
    client: &'a Client,
    /// What the client showed besides its name.
    shown: Binding,
    /// The key that the access token shall be bound to.
    key: Option<Thumbprint>,
    caller: &'a Caller,
    parameters: &'a Parameters,
}

/// `POST /oauth2/token`.
pub async fn token(
    State(http): State<Http>,
    headers: HeaderMap,
    caller: Caller,
    parameters: Parameters,
) -> Result<Response, OauthError> {
    let (client, shown) = parameters.client(&headers, &http).await?;
    let key = super::proven_key(&http, &headers, "/oauth2/token")?;
    if client.dpop_bound_access_tokens && key.is_none() {
        return Err(OauthError::PROOF);
    }
    let shown = match (shown, key) {
        // Whoever authenticates needs no key for its refresh tokens, and may change it (RFC 9449, section 5).
        (Binding::None, Some(key)) => Binding::Key(key),
        (shown, _) => shown,
    };
    let (parameters, caller) = (&parameters, &caller);
    let asked = Asked { http: &http, client: &client, shown, key, caller, parameters };
    let name = parameters.require("grant_type", "grant_type is missing")?;
    let name: GrantType = name.expose().parse().map_err(|_| OauthError::GRANT_TYPE)?;
    if !client.may_use(name) {
        return Err(OauthError::unauthorized_client("the client's grant_types have no such grant"));
    }
    let tokens = grant(name, &asked).await?;
    let answer = TokenAnswer::new(&tokens, now());
    let answer = match name {
        GrantType::TokenExchange => answer.exchanged(ACCESS_TOKEN),
        _ => answer,
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    Ok(output::json(headers, answer))
}
