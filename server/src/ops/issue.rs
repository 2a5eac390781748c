//! Making the halves of a login whose row is committed. Nothing here is stored: everything follows from the row.

use std::time::Duration;

use symbolon_core::{
    client::Client,
    family::Issued,
    handle::{FamilyNumber, HandleKey, Name},
    id::{KeyId, SessionId, TokenId, UserId},
    keys::{Algorithm, SigningKey},
    notice::Notice,
    oauth::{grant::GrantType, jwk::Thumbprint},
    scope,
    secret::SecretText,
    session::Session,
    time::Time,
    token::{Actor, Audience, CannotIssue, Claims, IdToken, LogoutToken, TokenFormat},
    user::User,
};

use super::Unavailable;
use crate::app::App;

/// What an app gets (RFC 6749, section 5.1).
#[derive(Debug)]
pub struct Tokens {
    /// The access token.
    pub access: SecretText,
    /// The refresh token, if it may have one.
    pub refresh: Option<SecretText>,
    /// The ID token, where the scope has `openid`.
    pub id_token: Option<SecretText>,
    /// How long the access token is good for.
    pub expires_in: Duration,
    /// When the login ends in any case; a machine has none.
    pub login_ends_at: Option<Time>,
    /// The session whose halves they are.
    pub session: SessionId,
    /// What the access token may be used for, separated by spaces; empty for nothing in particular.
    pub scope: Box<str>,
    /// Whether the access token is bound to a key.
    pub bound: bool,
}

/// Why the client gets no such token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// It asked for an audience that it does not have, or has none at all.
    #[error("the client has no such audience")]
    Audience,
    /// Its tokens must be bound to a key, and there is none.
    #[error("the client takes only access tokens that are bound to a key")]
    Unbound,
}

/// What an access token says that is issued to `client` for `user` at `now`, who logged in at `auth_time`, under a session
/// that ends at `ends_at`; `key` is what it is bound to. The clock must have been read before the proof of life.
///
/// # Errors
/// [`NoToken`].
pub fn issued(
    app: &App,
    client: &Client,
    audience: Option<&str>,
    scope: Box<str>,
    (ends_at, user, auth_time): (Time, &User, Option<Time>),
    key: Option<Thumbprint>,
    now: Time,
) -> Result<Issued, NoToken> {
    if client.dpop_bound_access_tokens && key.is_none() {
        return Err(NoToken::Unbound);
    }
    let for_userinfo = || scope::has(&scope, scope::OPENID).then(|| userinfo(app));
    let audience = match (client.audience(audience), audience) {
        (Some(own), _) => own.into(),
        (None, None) => for_userinfo().ok_or(NoToken::Audience)?.into(),
        (None, Some(asked)) => {
            for_userinfo().filter(|own| own == asked).ok_or(NoToken::Audience)?.into()
        }
    };
    // No token outlives its session.
    let expires_at = (now + app.config.lifetimes.access_token).min(ends_at);
    let roles = user.roles.iter().cloned().collect();
    Ok(Issued { at: now, expires_at, audience, scope, roles, auth_time, key })
}

/// What an access token says that is issued to a machine for itself; without `audience` for its first one. Its session
/// does not run out.
///
/// # Errors
/// [`NoToken`].
pub fn issued_to_machine(
    app: &App,
    client: &Client,
    audience: Option<&str>,
    scope: Box<str>,
    key: Option<Thumbprint>,
    now: Time,
) -> Result<Issued, NoToken> {
    if client.dpop_bound_access_tokens && key.is_none() {
        return Err(NoToken::Unbound);
    }
    let audience = client.audience(audience).ok_or(NoToken::Audience)?.into();
    let expires_at = now + app.config.lifetimes.access_token;
    let (roles, auth_time) = (Vec::new(), None);
    Ok(Issued { at: now, expires_at, audience, scope, roles, auth_time, key })
}

/// The session cookie of a session that has one.
///
/// # Errors
/// [`Unavailable::Key`] if its key is not in the ring.
pub fn cookie(app: &App, session: &Session, now: Time) -> Result<Option<SecretText>, Unavailable> {
    let (Some(name), Some(cookie)) = (session.cookie_name(), session.cookie) else {
        return Ok(None);
    };
    mint(app, session, &name, cookie.key, &session.client, now).map(Some)
}

fn mint(
    app: &App,
    session: &Session,
    name: &Name,
    key: KeyId,
    client: &symbolon_core::client::ClientId,
    now: Time,
) -> Result<SecretText, Unavailable> {
    let keys = app.keys();
    let key: &HandleKey = keys
        .ring
        .handle_key_by_id(key, now)
        .ok_or_else(|| Unavailable::Key(format!("handle key {key} is not in the ring")))?;
    Ok(key.mint(name, client, &session.salt))
}

/// The refresh token, access token and ID token that are current in a family. The same row gives the same answer.
/// `nonce` is what the ID token repeats, the first time.
///
/// # Errors
/// [`Unavailable::Key`].
pub async fn family(
    app: &App,
    session: &Session,
    number: FamilyNumber,
    client: &Client,
    nonce: Option<&str>,
    now: Time,
) -> Result<Tokens, Unavailable> {
    let family = session.families.get(number).ok_or_else(|| {
        Unavailable::Key(format!("session {} has no family {}", session.id, number.0))
    })?;
    let refresh = if client.may_use(GrantType::RefreshToken) {
        let name = family.handle(session.id);
        Some(mint(app, session, &name, family.key, &family.client, now)?)
    } else {
        None
    };
    let token = session.token_of(family);
    let who = Who::of(app, session, client);
    let access = access(app, session, &family.issued, token, who, now).await?;
    let id_token = id_token(app, session, &family.issued, &access, client, nonce, now).await?;
    Ok(Tokens { refresh, id_token, ..tokens(session, &family.issued, access, now) })
}

/// An access token alone.
///
/// # Errors
/// [`Unavailable::Key`].
pub async fn access_only(
    app: &App,
    session: &Session,
    issued: &Issued,
    client: &Client,
    now: Time,
) -> Result<Tokens, Unavailable> {
    let token = session.token_alone(&mut crate::app::Os);
    let access = access(app, session, issued, token, Who::of(app, session, client), now).await?;
    Ok(tokens(session, issued, access, now))
}

/// Whom an access token speaks for, and who holds it.
#[derive(Debug)]
pub struct Who<'a> {
    /// The client that gets it.
    pub client: &'a Client,
    /// The user, as the token names them; `None`: the client itself.
    pub subject: Option<UserId>,
    /// Who acts for the user, if it is not the client that they logged in to.
    pub act: Option<Actor>,
}

impl<'a> Who<'a> {
    /// The client itself, for the user of the session, as it knows them.
    fn of(app: &App, session: &Session, client: &'a Client) -> Self {
        let login = session.login.as_ref();
        Self { client, subject: login.map(|login| app.subject(client, login.user)), act: None }
    }
}

/// An access token with which a service acts for the user of a session.
///
/// # Errors
/// [`Unavailable::Key`].
pub async fn on_behalf(
    app: &App,
    session: &Session,
    issued: &Issued,
    who: Who<'_>,
    now: Time,
) -> Result<Tokens, Unavailable> {
    let token = session.token_alone(&mut crate::app::Os);
    let access = access(app, session, issued, token, who, now).await?;
    Ok(tokens(session, issued, access, now))
}

fn tokens(session: &Session, issued: &Issued, access: SecretText, now: Time) -> Tokens {
    Tokens {
        access,
        refresh: None,
        id_token: None,
        expires_in: issued.expires_at.since(now),
        login_ends_at: session.login.as_ref().map(|_| session.limits.ends_at),
        session: session.id,
        scope: issued.scope.clone(),
        bound: issued.key.is_some(),
    }
}

async fn access(
    app: &App,
    session: &Session,
    issued: &Issued,
    token: TokenId,
    Who { client, subject, act }: Who<'_>,
    now: Time,
) -> Result<SecretText, Unavailable> {
    let login = session.login.as_ref();
    let stronger = login.filter(|login| login.assurance > symbolon_core::session::Assurance::Aal1);
    let claims = Claims {
        iss: app.config.public_url.issuer().into(),
        user: subject,
        aud: audience(app, issued)?,
        client_id: client.id.clone(),
        iat: issued.at,
        exp: issued.expires_at,
        nbf: None,
        jti: token,
        sid: session.id,
        scope: (!issued.scope.is_empty()).then(|| issued.scope.clone()),
        roles: issued.roles.iter().map(|role| role.as_str().into()).collect(),
        // Who asks for a recent login must see it (RFC 9470, section 6.1).
        auth_time: issued.auth_time,
        // One factor is what a token without `acr` means: it keeps the usual token small.
        acr: stronger.map(|login| login.assurance.as_str().into()),
        amr: Vec::new(),
        act,
        key: issued.key,
    };
    match client.access_token_format {
        TokenFormat::Jwt => {
            sign(app, client.algorithm, now, |key| claims.issue(client.token_type, key)).await
        }
        TokenFormat::Opaque => seal(app, &claims, now),
    }
}

/// With the scope `openid` a token is good for [userinfo](userinfo), too. That is an audience of its own, and never the
/// server itself: with such a token an app could do what the user can do here.
fn audience(app: &App, issued: &Issued) -> Result<Audience, Unavailable> {
    let mut all = vec![issued.audience.clone()];
    if scope::has(&issued.scope, scope::OPENID) {
        all.push(userinfo(app).into());
        all.dedup();
    }
    Audience::try_from(all).map_err(|error| Unavailable::Key(error.to_string()))
}

/// The userinfo endpoint: where it is, and the audience of tokens that are good there.
pub fn userinfo(app: &App) -> String {
    format!("{}/oauth2/userinfo", app.config.public_url.issuer())
}

async fn id_token(
    app: &App,
    session: &Session,
    issued: &Issued,
    access: &SecretText,
    client: &Client,
    nonce: Option<&str>,
    now: Time,
) -> Result<Option<SecretText>, Unavailable> {
    let Some(login) = session.login.as_ref().filter(|_| scope::has(&issued.scope, scope::OPENID))
    else {
        return Ok(None);
    };
    // Whoever is told of a session hears of its end. The note comes first: no ID token leaves without it. Of a login that
    // is over the client has heard: what outlives it tells nothing new.
    let (told, subject) = (session.told_as(), app.subject(client, login.user));
    if told == session.id || app.store.is_live(told).await? {
        super::tell::note(app, told, client, &subject.to_string(), now).await?;
    }
    let token = IdToken {
        issuer: app.config.public_url.issuer(),
        client: &client.id,
        subject,
        login,
        session: told,
        issued_at: issued.at,
        expires_at: issued.expires_at,
        nonce,
    };
    sign(app, client.id_token_algorithm, now, |key| token.issue(access, key)).await.map(Some)
}

/// What tells a client that a login is over.
///
/// # Errors
/// [`Unavailable::Key`].
pub(super) async fn logout_token(
    app: &App,
    notice: &Notice,
    client: &Client,
    now: Time,
) -> Result<SecretText, Unavailable> {
    let token = LogoutToken {
        issuer: app.config.public_url.issuer(),
        client: &client.id,
        subject: &notice.subject,
        session: notice.session,
        id: TokenId::random(&mut crate::app::Os),
        issued_at: now,
    };
    sign(app, client.id_token_algorithm, now, |key| token.issue(key)).await
}

fn seal(app: &App, claims: &Claims, now: Time) -> Result<SecretText, Unavailable> {
    let keys = app.keys();
    let key = keys.ring.handle_key(now);
    let key = key.ok_or_else(|| Unavailable::Key("no handle key is active".into()))?;
    claims.seal(key.sealing()).map_err(|error| Unavailable::Key(error.to_string()))
}

/// Signs by an algorithm. A key that is slow to make is made when it is first needed.
pub(super) async fn sign(
    app: &App,
    algorithm: Algorithm,
    now: Time,
    issue: impl FnOnce(&SigningKey) -> Result<SecretText, CannotIssue>,
) -> Result<SecretText, Unavailable> {
    let keys = super::keys::with_signing_key(app, algorithm, now).await?;
    let key = keys
        .ring
        .signing_key(algorithm, now)
        .ok_or_else(|| Unavailable::Key(format!("no {algorithm} key is active")))?;
    issue(key).map_err(|error| Unavailable::Key(error.to_string()))
}
