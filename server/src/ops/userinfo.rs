//! What an access token's client is told about the user (OpenID Connect Core, section 5.3).

use serde_json::{Map, Value, json};
use symbolon_core::{
    client::ClientId,
    id::{SessionId, UserId},
    profile::USERNAME,
    scope,
    secret::SecretText,
    time::Time,
    token::UserInfo,
};

use super::{Unavailable, issue};
use crate::{app::App, store::Found};

/// What is told.
#[derive(Debug)]
pub enum Told {
    /// Claims.
    Plain(Map<String, Value>),
    /// Claims as a signed JWT, which the client asks for.
    Signed(SecretText),
}

/// What an access token tells about the user, as it is now: `sub` as the token says it, which names nobody to us. Who it
/// is follows from the session. `None` if it or the client is no more.
///
/// # Errors
/// [`Unavailable`].
pub async fn userinfo(
    app: &App,
    (session, sub): (SessionId, UserId),
    (client, scope): (&ClientId, &str),
    now: Time,
) -> Result<Option<Told>, Unavailable> {
    let user = match app.store.session(session).await? {
        Some(Found::Live(_, user)) => user.filter(|user| user.disabled_at.is_none()),
        _ => None,
    };
    let Some((user, client)) = user.zip(app.client(client)) else { return Ok(None) };
    let mut claims = Map::new();
    claims.insert("sub".into(), json!(sub));
    if scope::has(scope, "profile") {
        claims.insert(USERNAME.into(), user.name.as_str().into());
    }
    let known = user.profile.claims(scope);
    claims.extend(known.map(|(name, value)| (name.to_owned(), value.clone())));
    let Some(algorithm) = client.userinfo_algorithm else { return Ok(Some(Told::Plain(claims))) };
    let issuer = app.config.public_url.issuer();
    let told = UserInfo { issuer, client: &client.id, claims: &claims };
    let signed = issue::sign(app, algorithm, now, |key| told.issue(key)).await?;
    Ok(Some(Told::Signed(signed)))
}
