//! Introspection (RFC 7662): what a half proves now, told to an authenticated client.

use std::sync::Arc;

use serde_json::{Map, Value};

use symbolon_core::{
    client::{Client, ClientId, ClientKind},
    handle::Kind,
    id::{EntryId, SessionId, TokenId, UserId},
    oauth::jwk::Thumbprint,
    secret::SecretText,
    session::Assurance,
    subject::SubjectType,
    time::Time,
    token::Actor,
};

use super::{Unavailable, check};
use crate::app::App;

/// What is proven.
#[derive(Debug, Clone)]
pub struct Active {
    /// The session.
    pub session: SessionId,
    /// The session that authorised it.
    pub parent: Option<SessionId>,
    /// The user, as the asker or the token's client knows them; `None` for a visitor.
    pub user: Option<UserId>,
    /// The user's login name, where the session's row was read, and the asker may know more than a pairwise subject.
    pub username: Option<String>,
    /// The client that it belongs to.
    pub client: ClientId,
    /// The user's roles.
    pub roles: Arc<[Box<str>]>,
    /// Separated by spaces.
    pub scope: String,
    /// How sure we are who it is.
    pub assurance: Assurance,
    /// When the user logged in.
    pub auth_time: Option<Time>,
    /// When it was issued or opened.
    pub issued_at: Time,
    /// When it ends by itself.
    pub expires_at: Time,
    /// The access token's id and audiences; `None` for a session cookie.
    pub token: Option<(TokenId, Vec<String>)>,
    /// Who acts for the user, where a service exchanged a token for it.
    pub act: Option<Actor>,
    /// The key that the token is bound to.
    pub key: Option<Thumbprint>,
    /// What the configuration adds to the token.
    pub more: Map<String, Value>,
    /// The ids that end it when the revocation log names one of them.
    pub revoked_by: Vec<EntryId>,
}

/// What the half proves, or `None`. A token is told to its client and to its audience, which no client is that registered itself; a session cookie to clients that
/// keep a secret, that of an app's own session to this app alone. Refresh tokens are nobody's business but the server's.
///
/// # Errors
/// [`Unavailable`].
pub async fn introspect(
    app: &App,
    asker: &Client,
    text: &SecretText,
    now: Time,
) -> Result<Option<Active>, Unavailable> {
    if text.expose().starts_with(Kind::Cookie.prefix()) {
        cookie(app, asker, text, now).await
    } else {
        Ok(token(app, asker, text, now))
    }
}

async fn cookie(
    app: &App,
    asker: &Client,
    text: &SecretText,
    now: Time,
) -> Result<Option<Active>, Unavailable> {
    // Nobody here knows who registered a client by itself.
    if asker.kind == ClientKind::Public || asker.is_registered() {
        return Ok(None);
    }
    let known = match check::cookie(app, text, now).await {
        Ok(known) => known,
        Err(check::Refused::Unavailable(unavailable)) => return Err(unavailable),
        Err(_) => return Ok(None),
    };
    // One application must not take the cookie of another one's user for its own user's.
    if known.parent.is_some() && known.client != asker.id {
        return Ok(None);
    }
    let login = known.login.as_ref();
    // A name is the same everywhere.
    let pairwise = asker.subject_type == SubjectType::Pairwise;
    let mut revoked_by = known.entries().to_vec();
    revoked_by.dedup();
    Ok(Some(Active {
        session: known.session(),
        parent: known.parent,
        user: login.map(|login| app.subject(asker, login.user)),
        username: login.filter(|_| !pairwise).map(|login| login.name.to_string()),
        client: known.client.clone(),
        roles: login.map(|login| Arc::clone(&login.roles)).unwrap_or_default(),
        scope: String::new(),
        assurance: login.map_or(Assurance::Aal1, |login| login.assurance),
        auth_time: login.map(|login| login.at),
        issued_at: known.opened_at,
        expires_at: known.limits.ends_at.min(known.seen_at() + known.limits.idle),
        token: None,
        act: None,
        key: None,
        more: Map::new(),
        revoked_by,
    }))
}

fn token(app: &App, asker: &Client, text: &SecretText, now: Time) -> Option<Active> {
    let verified = check::token(app, text, now).ok()?;
    let claims = &verified.claims;
    let mut names = asker.audiences.iter().chain(&asker.exchange_audiences);
    // The audiences of a client that registered itself are where it may go, and none of them is it.
    let theirs = claims.client_id == asker.id
        || !asker.is_registered() && names.any(|own| claims.aud.contains(own));
    theirs.then(|| Active {
        session: claims.sid,
        parent: None,
        user: claims.user,
        username: None,
        scope: claims.scope.as_deref().unwrap_or_default().to_owned(),
        roles: Arc::clone(&verified.identity.roles),
        assurance: verified.identity.assurance.unwrap_or(Assurance::Aal1),
        auth_time: claims.auth_time,
        issued_at: claims.iat,
        expires_at: claims.exp,
        token: Some((claims.jti, claims.aud.iter().map(str::to_owned).collect())),
        act: claims.act.clone(),
        key: claims.key,
        more: claims.more.clone(),
        revoked_by: verified.entries.to_vec(),
        client: claims.client_id.clone(),
    })
}
