//! The admin API of the local socket: what the command line speaks. Whoever can open the socket (the owner of the data
//! folder) may do everything here.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, Query, Request, State},
    http::{HeaderMap, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use symbolon_core::{
    client::{Client, ClientId},
    id::{KeyId, SessionId, TokenId},
    keys::{KeyState, Usage, lives},
    profile::Profile,
    secret::SecretText,
    session::Reason,
    time::Time,
    user::{Role, User},
};

use super::{
    api::{account::policy, session::SessionItem},
    confirm::Confirm,
    oauth::registration,
    problem::{self, Problem},
};
use crate::{
    app::{App, now},
    config::{ClientRegistration, span},
    ops::{
        self,
        client_registration::{self, LIFE_MAX, USES_MAX},
        clients,
        end::Ending,
        users,
    },
};

type Answer = Result<Response, Problem>;
type Shared = State<Arc<App>>;

/// The router of the local socket.
pub fn router(app: Arc<App>) -> Router {
    let routes = Router::new()
        .route("/users", get(list_users).post(add_user))
        .route("/users/{name}", get(show_user))
        .route("/users/{name}/disable", post(disable_user))
        .route("/users/{name}/enable", post(enable_user))
        .route("/users/{name}/roles", put(set_roles))
        .route("/users/{name}/profile", put(set_profile))
        .route("/users/{name}/password", post(reset_password))
        .route("/invitations", post(invite))
        .route("/sessions", get(list_sessions).delete(end_sessions))
        .route("/sessions/{sid}", get(show_session).delete(end_session))
        .route("/tokens/{jti}", delete(end_token))
        .route("/clients", get(list_clients).post(add_client))
        .route("/clients/{id}", get(show_client).delete(remove_client))
        .route("/clients/{id}/secret", post(rotate_secret))
        .route("/client-invitations", post(invite_client))
        .route("/keys", get(list_keys).post(rotate_key))
        .route("/keys/{id}", delete(withdraw_key))
        .route("/cluster", get(list_nodes))
        .fallback(async || Problem::from(problem::NOT_FOUND));
    super::standing(routes, &app).layer(middleware::from_fn(to_its_end)).with_state(app)
}

/// Whoever interrupts the command line does not stop an act halfway, when it is written and not yet in force here.
async fn to_its_end(request: Request, then: Next) -> Response {
    let answer = tokio::spawn(then.run(request)).await;
    answer.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

fn ok(value: Value) -> Answer {
    Ok(Json(value).into_response())
}

fn none() -> HeaderMap {
    HeaderMap::new()
}

fn user_json(user: &User) -> Value {
    json!({
        "username": user.name, "sub": user.id, "roles": user.roles, "profile": user.profile,
        "added_at": user.added_at.secs(), "disabled_at": user.disabled_at.map(Time::secs),
    })
}

impl From<users::Refused> for Problem {
    fn from(refused: users::Refused) -> Self {
        match refused {
            users::Refused::Username(error) => {
                Self::from(problem::USERNAME).detail(error.to_string())
            }
            users::Refused::Taken => problem::TAKEN.into(),
            users::Refused::Unknown => {
                Self::from(problem::NOT_FOUND).detail("there is no such user")
            }
            users::Refused::Roles => problem::ROLES.into(),
            users::Refused::Policy(refused) => policy(refused),
            users::Refused::Unavailable(error) => error.into(),
        }
    }
}

impl From<clients::Refused> for Problem {
    fn from(refused: clients::Refused) -> Self {
        match refused {
            clients::Refused::Taken => problem::TAKEN.into(),
            refused @ clients::Refused::RemovedLately => {
                Self::from(problem::TAKEN).detail(refused.to_string())
            }
            clients::Refused::Unknown => {
                Self::from(problem::NOT_FOUND).detail("there is no such client")
            }
            clients::Refused::Declared => problem::DECLARED.into(),
            refused @ clients::Refused::NoSecret => {
                Self::from(problem::CLIENT_KIND).detail(refused.to_string())
            }
            refused @ clients::Refused::Settings(_) => {
                Self::from(problem::CLIENT_SETTINGS).detail(refused.to_string())
            }
            clients::Refused::Unavailable(error) => error.into(),
        }
    }
}

#[derive(Debug, Deserialize)]
struct After {
    #[serde(default)]
    after: String,
}

async fn list_users(State(app): Shared, Query(After { after }): Query<After>) -> Answer {
    let users = app.store.users(&after, 1000).await.map_err(ops::Unavailable::from)?;
    ok(users.iter().map(user_json).collect())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUser {
    username: String,
    password: SecretText,
    #[serde(default)]
    roles: BTreeSet<Role>,
}

async fn add_user(State(app): Shared, Json(new): Json<NewUser>) -> Answer {
    let name = users::add(&app, &new.username, &new.password, new.roles, now()).await?;
    Ok((StatusCode::CREATED, Json(user_json(&users::by_name(&app, name.as_str()).await?)))
        .into_response())
}

async fn show_user(State(app): Shared, Path(name): Path<String>) -> Answer {
    ok(user_json(&users::by_name(&app, &name).await?))
}

async fn disable_user(confirm: Confirm, State(app): Shared, Path(name): Path<String>) -> Answer {
    let user = users::by_name(&app, &name).await?;
    let ended = ops::end::disable(&app, user.id, now()).await?.ok_or(problem::NOT_FOUND)?;
    confirm.answer(&app, none(), Some(json!({ "username": user.name, "ended": ended }))).await
}

async fn enable_user(State(app): Shared, Path(name): Path<String>) -> Answer {
    ok(user_json(&users::enable(&app, &name, now()).await?))
}

async fn set_roles(
    State(app): Shared,
    Path(name): Path<String>,
    Json(roles): Json<BTreeSet<Role>>,
) -> Answer {
    ok(user_json(&users::set_roles(&app, &name, &roles, now()).await?))
}

async fn set_profile(
    State(app): Shared,
    Path(name): Path<String>,
    Json(profile): Json<Profile>,
) -> Answer {
    ok(user_json(&users::set_profile(&app, &name, &profile, now()).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    password: SecretText,
}

async fn reset_password(
    confirm: Confirm,
    State(app): Shared,
    Path(name): Path<String>,
    Json(new): Json<NewPassword>,
) -> Answer {
    let ended = users::reset_password(&app, &name, &new.password, now()).await?;
    confirm.answer(&app, none(), Some(json!({ "username": name, "ended": ended }))).await
}

async fn invite(State(app): Shared) -> Answer {
    let code = ops::register::invite(&app, now()).await?;
    let url = format!("{}/register?invitation={}", app.config.public_url.issuer(), code.expose());
    ok(json!({ "invitation": code.expose(), "url": url }))
}

#[derive(Debug, Deserialize)]
struct OfUser {
    user: String,
}

async fn list_sessions(State(app): Shared, Query(OfUser { user }): Query<OfUser>) -> Answer {
    let user = users::by_name(&app, &user).await?;
    let tree = ops::sessions::tree(&app, user.id, now()).await?;
    let items: Vec<_> =
        tree.iter().map(|node| SessionItem::new(&node.session, &node.children, None)).collect();
    ok(json!(items))
}

async fn show_session(State(app): Shared, Path(sid): Path<SessionId>) -> Answer {
    match ops::sessions::one(&app, sid).await? {
        Some(Ok((session, user))) => {
            let mut item = json!(SessionItem::new(&session, &[], None));
            item["username"] = json!(user.map(|user| user.name));
            ok(item)
        }
        Some(Err(reason)) => ok(json!({ "sid": sid, "ended": reason.as_str() })),
        None => Err(problem::SESSION_GONE.into()),
    }
}

async fn end_session(confirm: Confirm, State(app): Shared, Path(sid): Path<SessionId>) -> Answer {
    let ending = ops::end::session(&app, sid, Reason::EndedByAdmin, now()).await?;
    if ending != Ending::Now && !confirm.is_wanted() {
        return Err(problem::SESSION_GONE.into());
    }
    // What is not there is not alive anywhere either, once that is confirmed.
    if ending == Ending::Unknown {
        ops::end::unknown(&app, sid, now()).await?;
    }
    let ended = u32::from(ending == Ending::Now);
    confirm.answer(&app, none(), Some(json!({ "sid": sid, "ended": ended }))).await
}

async fn end_sessions(
    confirm: Confirm,
    State(app): Shared,
    Query(OfUser { user }): Query<OfUser>,
) -> Answer {
    let user = users::by_name(&app, &user).await?;
    let ended = ops::end::sessions_of(&app, user.id, None, Reason::EndedByAdmin, now()).await?;
    confirm.answer(&app, none(), Some(json!({ "username": user.name, "ended": ended }))).await
}

async fn end_token(confirm: Confirm, State(app): Shared, Path(jti): Path<TokenId>) -> Answer {
    ops::end::token(&app, jti, now()).await?;
    confirm.answer(&app, none(), None).await
}

async fn list_clients(State(app): Shared) -> Answer {
    let drift = clients::drift(&app).await;
    let known = app.clients();
    // What the configuration has declared since is not there yet.
    let new = drift.iter().map(|(client, _)| client).filter(|it| !known.contains_key(&it.id));
    let all = known.values().map(|client| &**client).chain(new);
    let mut items: Vec<_> = all.map(|client| client_json(client, &drift)).collect();
    items.sort_by_key(|client| client["id"].to_string());
    ok(json!(items))
}

fn client_json(client: &Client, drift: &[(Client, &str)]) -> Value {
    let mut item = json!(client);
    let drift = drift.iter().find(|(other, _)| other.id == client.id).map(|(_, how)| how);
    item["registered"] = client.is_registered().into();
    item["drift"] = json!(drift);
    // Seconds, as in all answers here.
    item["added_at"] = client.added_at.secs().into();
    item
}

async fn add_client(State(app): Shared, Json(members): Json<Map<String, Value>>) -> Answer {
    let issuer = app.config.public_url.issuer();
    let client = Client::read(&members, Some(issuer)).map_err(clients::Refused::Settings)?;
    let id = client.id.clone();
    let secret = clients::add(&app, client, now()).await?;
    let body = json!({ "client_id": id, "client_secret": secret.as_ref().map(SecretText::expose) });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

async fn show_client(State(app): Shared, Path(id): Path<ClientId>) -> Answer {
    let client = app.client(&id).ok_or(problem::NOT_FOUND)?;
    ok(client_json(&client, &clients::drift(&app).await))
}

async fn remove_client(confirm: Confirm, State(app): Shared, Path(id): Path<ClientId>) -> Answer {
    clients::remove(&app, &id, now()).await?;
    confirm.answer(&app, none(), None).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InviteClient {
    uses: u32,
    life: String,
}

/// Makes an initial access token (RFC 7591, section 3).
async fn invite_client(State(app): Shared, Json(asked): Json<InviteClient>) -> Answer {
    let malformed = |why: String| Problem::from(problem::MALFORMED).detail(why);
    if app.config.client_registration.mode != ClientRegistration::Token {
        return Err(problem::NO_INVITATIONS.into());
    }
    let life = span(&asked.life).map_err(|why| malformed(format!("life: {why}")))?;
    if life.is_zero() || life > LIFE_MAX {
        return Err(malformed("life: it is at most 90d".to_owned()));
    }
    if !(1..=USES_MAX).contains(&asked.uses) {
        return Err(malformed(format!("uses: they are 1 to {USES_MAX}")));
    }
    let now = now();
    let token = client_registration::invite(&app, asked.uses, life, now).await?;
    let endpoint = format!("{}{}", app.config.public_url.issuer(), registration::PATH);
    ok(json!({
        "initial_access_token": token.expose(), "uses": asked.uses,
        "expires_at": (now + life).secs(), "registration_endpoint": endpoint,
    }))
}

async fn rotate_secret(State(app): Shared, Path(id): Path<ClientId>) -> Answer {
    let secret = clients::rotate_secret(&app, &id, now()).await?;
    ok(json!({ "client_id": id, "client_secret": secret.expose() }))
}

async fn list_nodes(State(app): Shared) -> Answer {
    let nodes = app.store.nodes().await.map_err(ops::Unavailable::from)?;
    let now = now();
    let rows = nodes.iter().map(|node| {
        json!({
            "id": node.id, "name": node.name, "version": node.version, "this": node.own,
            "started_at": node.started_at.secs(), "behind": node.behind,
            "seen_ms_ago": now.since(node.seen_at).as_millis() as u64,
            "lease_ms": node.lease.as_millis() as u64, "renewals": node.renewals,
            "followers": node.followers, "clock_skew_ms": node.skew_ms,
        })
    });
    ok(rows.collect())
}

async fn list_keys(State(app): Shared) -> Answer {
    let records = app.store.keys().await.map_err(ops::Unavailable::from)?;
    let lives = lives(&records, &app.key_policy());
    let now = now();
    let rows = records.iter().zip(lives).map(|(record, life)| {
        json!({
            "kid": record.id, "usage": record.usage.to_string(), "state": state(life.state(now)),
            "created_at": record.created_at.secs(), "activates_at": record.activates_at.secs(),
            "retires_at": life.retires_at.map(Time::secs),
        })
    });
    ok(rows.collect())
}

const fn state(state: KeyState) -> &'static str {
    match state {
        KeyState::Upcoming => "upcoming",
        KeyState::Active => "active",
        KeyState::Retired => "retired",
        KeyState::Withdrawn => "withdrawn",
        KeyState::Removed => "removed",
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotate {
    usage: String,
}

async fn rotate_key(State(app): Shared, Json(rotate): Json<Rotate>) -> Answer {
    let usage: Usage = rotate.usage.parse().map_err(|_| {
        Problem::from(problem::MALFORMED).detail("usage is handle, ES256, EdDSA or RS256")
    })?;
    let id = ops::keys::rotate(&app, usage, now()).await?;
    Ok((StatusCode::CREATED, Json(json!({ "kid": id, "usage": usage.to_string() })))
        .into_response())
}

async fn withdraw_key(confirm: Confirm, State(app): Shared, Path(id): Path<KeyId>) -> Answer {
    // One that was withdrawn before can be confirmed once more.
    if !ops::keys::withdraw(&app, id, now()).await? && !confirm.is_wanted() {
        return Err(Problem::from(problem::NOT_FOUND).detail("there is no such key"));
    }
    confirm.answer(&app, none(), None).await
}
