//! What an access token's client is told about the user (OpenID Connect Core, section 5.3).

use serde_json::{Map, Value, json};
use symbolon_core::{
    client::ClientId,
    id::{SessionId, UserId},
    mapped::Place,
    oauth::claims,
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
    let Some(Found::Live(session, Some(user))) = app.store.session(session).await? else {
        return Ok(None);
    };
    let client = app.client(client).filter(|_| user.disabled_at.is_none());
    let Some(client) = client else { return Ok(None) };
    let mut told = Map::new();
    told.insert("sub".into(), json!(sub));
    if scope::has(scope, "profile") {
        told.insert(USERNAME.into(), user.name.as_str().into());
    }
    let known = user.profile.claims(scope);
    told.extend(known.map(|(name, value)| (name.to_owned(), value.clone())));
    // What the client asked for by name under this login, with whichever of its requests.
    let families = session.families.iter().filter(|family| family.client == client.id);
    let named = families.flat_map(|family| claims::told(&family.claims.userinfo, &user));
    told.extend(named.map(|(name, value)| (name.to_owned(), value)));
    told.extend(issue::mapped(app, Place::Userinfo, (&client, scope), Some(&user)));
    let Some(algorithm) = client.userinfo_algorithm else { return Ok(Some(Told::Plain(told))) };
    let issuer = app.config.public_url.issuer();
    let told = UserInfo { issuer, client: &client.id, claims: &told };
    let signed = issue::sign(app, algorithm, now, |key| told.issue(key)).await?;
    Ok(Some(Told::Signed(signed)))
}
