//! The account: devices and sessions as a tree, and the password.

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde::Deserialize;
use symbolon_core::{
    id::SessionId,
    secret::SecretText,
    session::{Assurance, Reason, Session},
};
use symbolon_guard::{Half, Identity};

use super::{
    Http, View,
    entry::{self, logged_out},
    login_url, see_other,
};
use crate::{
    app::now,
    http::{
        confirm::Confirm,
        input::Form,
        next::Next,
        output,
        problem::{self, Problem},
    },
    ops::{self, password::Refused, sessions::Tree},
    ui::{self, Done, Over, TokenFamily, Wanted},
};

/// `GET /account`.
pub async fn account(State(http): State<Http>, view: View) -> Response {
    show(&http, &view, done(&view)).await.unwrap_or_else(|problem| view.refuse(&http, &problem))
}

/// What was just done, from the query of the redirect: two numbers and a word, nothing that could be misused.
fn done(view: &View) -> Option<Done> {
    let number = |name| view.param(name).and_then(|text| text.parse::<u64>().ok());
    let over = over(view);
    match view.param("done")? {
        "ended" => Some(Done::Ended(over)),
        "others" => Some(Done::OthersEnded { count: number("count")?, over }),
        "password" => Some(Done::PasswordChanged(over)),
        _ => None,
    }
}

fn over(view: &View) -> Over {
    let ms = view.param("ms").and_then(|text| text.parse().ok());
    ms.map_or(Over::NotYet, |ms| Over::After { ms })
}

/// Back to a page of the account, which says what was done and how long it took until it was over everywhere.
fn back(http: &Http, page: &str, what: &str, over: Over, set: HeaderMap) -> Response {
    let ms = match over {
        Over::After { ms } => format!("&ms={ms}"),
        Over::NotYet => String::new(),
    };
    see_other(&http.path(&format!("{page}?done={what}{ms}")), set)
}

fn to_login(http: &Http, here: &str) -> Response {
    see_other(&login_url(http, Next::parse(&http.path(here)).as_ref()), HeaderMap::new())
}

async fn show(http: &Http, view: &View, done: Option<Done>) -> Result<Response, Problem> {
    let Some((identity, user)) =
        view.identity.as_ref().and_then(|identity| Some((identity, identity.subject?)))
    else {
        return Ok(to_login(http, "/account"));
    };
    let now = now();
    let trees = ops::sessions::tree(&http.app, user, now).await?;
    let sessions = shown(&trees, identity);
    let name = entry::username(http, Some(identity)).await;
    let page = view.page_at(http, "/account", name.as_deref());
    let csrf_token = SecretText::new(identity.csrf_token());
    let template =
        ui::Account { page: &page, csrf_token: &csrf_token, now, sessions: &sessions, done };
    Ok(view.html(http, StatusCode::OK, &template, None))
}

/// Browsers with their apps. What an app keeps after the logout stands beside the app, while that lives.
fn shown<'a>(trees: &'a [Tree], identity: &Identity) -> Vec<ui::Session<'a>> {
    let allowed = |tree: &Tree, kept: &Session| {
        tree.children.iter().any(|app| Some(app.id) == kept.granted_by)
    };
    let is_shown_elsewhere = |kept: &Session| trees.iter().any(|tree| allowed(tree, kept));
    let one_tree = |tree: &'a Tree| {
        let kept = trees.iter().map(|tree| &tree.session).filter(|kept| allowed(tree, kept));
        let children = tree.children.iter().chain(kept);
        let children = children.map(|child| one(child, identity, Vec::new())).collect();
        one(&tree.session, identity, children)
    };
    trees.iter().filter(|tree| !is_shown_elsewhere(&tree.session)).map(one_tree).collect()
}

fn one<'a>(
    session: &'a Session,
    identity: &Identity,
    children: Vec<ui::Session<'a>>,
) -> ui::Session<'a> {
    let login = session.login.as_ref();
    let family = |family: &'a symbolon_core::family::Family| TokenFamily {
        client: family.client.as_str(),
        generation: u64::from(family.generation.0),
    };
    ui::Session {
        sid: session.id,
        device: &session.device.label,
        client: session.client.as_str(),
        address: session.device.address,
        logged_in_at: login.map_or(session.opened_at, |login| login.at),
        seen_at: session.seen_at,
        assurance: login.map_or(Assurance::Aal1, |login| login.assurance),
        remembered: login.is_some_and(|login| login.remembered),
        outlives: session.granted_by.is_some(),
        is_this: session.id == identity.session,
        cookie: session.cookie.map(|cookie| u64::from(cookie.generation.0)),
        families: session.families.iter().map(family).collect(),
        children,
    }
}

/// The button of a form.
#[derive(Debug, Deserialize)]
pub struct Button {
    #[serde(default)]
    csrf_token: String,
}

fn check(identity: &Identity, token: &str) -> Result<symbolon_core::id::UserId, Problem> {
    identity.check_form_token(token).map_err(|_| problem::FORM_TOKEN)?;
    identity.subject.ok_or_else(|| problem::UNAUTHENTICATED.into())
}

/// `POST /account/sessions/{sid}/end`.
pub async fn end_one(
    State(http): State<Http>,
    view: View,
    identity: Identity,
    Path(sid): Path<String>,
    Form(button): Form<Button>,
) -> Response {
    let act = async {
        let user = check(&identity, &button.csrf_token)?;
        let sid: SessionId = sid.parse().map_err(|_| problem::NOT_FOUND)?;
        let confirm = Confirm::for_a_person();
        // One that has ended meanwhile is what was wanted.
        ops::end::session_of(&http.app, user, sid, Reason::EndedByUser, now()).await?;
        let over = confirm.over(&http.app).await?;
        if sid == identity.session {
            let mut set = HeaderMap::new();
            output::clear_all(&http, &mut set);
            return Ok(logged_out(&http, &view, false, Some(over), set));
        }
        Ok(back(&http, "/account", "ended", over, HeaderMap::new()))
    };
    act.await.unwrap_or_else(|problem: Problem| view.refuse(&http, &problem))
}

/// `POST /account/sessions/end-others`.
pub async fn end_others(
    State(http): State<Http>,
    view: View,
    identity: Identity,
    Form(button): Form<Button>,
) -> Response {
    let act = async {
        let user = check(&identity, &button.csrf_token)?;
        let confirm = Confirm::for_a_person();
        let keep = Some(identity.session);
        let count =
            ops::end::sessions_of(&http.app, user, keep, Reason::EndedByUser, now()).await?;
        let over = confirm.over(&http.app).await?;
        Ok(back(&http, "/account", &format!("others&count={count}"), over, HeaderMap::new()))
    };
    act.await.unwrap_or_else(|problem: Problem| view.refuse(&http, &problem))
}

/// `POST /account/sessions/end-all`.
pub async fn end_all(
    State(http): State<Http>,
    view: View,
    identity: Identity,
    Form(button): Form<Button>,
) -> Response {
    let act = async {
        let user = check(&identity, &button.csrf_token)?;
        let confirm = Confirm::for_a_person();
        ops::end::sessions_of(&http.app, user, None, Reason::EndedByUser, now()).await?;
        let mut set = HeaderMap::new();
        output::clear_all(&http, &mut set);
        Ok(logged_out(&http, &view, true, Some(confirm.over(&http.app).await?), set))
    };
    act.await.unwrap_or_else(|problem: Problem| view.refuse(&http, &problem))
}

/// `GET /account/apps`.
pub async fn apps(State(http): State<Http>, view: View) -> Response {
    show_apps(&http, &view).await.unwrap_or_else(|problem| view.refuse(&http, &problem))
}

async fn show_apps(http: &Http, view: &View) -> Result<Response, Problem> {
    let Some((identity, user)) =
        view.identity.as_ref().and_then(|identity| Some((identity, identity.subject?)))
    else {
        return Ok(to_login(http, "/account/apps"));
    };
    let allowed = ops::apps::all(&http.app, user).await?;
    let clients: Vec<_> = allowed.iter().map(|it| http.app.client(&it.client)).collect();
    let described = |name| Wanted { name, described: http.app.config.scopes.get(name) };
    let apps: Vec<_> = allowed
        .iter()
        .zip(&clients)
        .map(|(it, client)| ui::App {
            id: &it.client,
            name: client.as_ref().map_or(it.client.as_str(), |client| client.title()),
            may: it.scope.split_ascii_whitespace().map(described).collect(),
            since: it.since,
        })
        .collect();
    let name = entry::username(http, Some(identity)).await;
    let page = view.page_at(http, "/account/apps", name.as_deref());
    let csrf_token = SecretText::new(identity.csrf_token());
    let forbidden = view.param("done").map(|_| over(view));
    let template = ui::Apps { page: &page, csrf_token: &csrf_token, apps: &apps, forbidden };
    Ok(view.html(http, StatusCode::OK, &template, None))
}

/// `POST /account/apps/{client}/forbid`.
pub async fn forbid(
    State(http): State<Http>,
    view: View,
    identity: Identity,
    Path(client): Path<String>,
    Form(button): Form<Button>,
) -> Response {
    let act = async {
        let user = check(&identity, &button.csrf_token)?;
        let client = client.parse().map_err(|_| problem::NOT_FOUND)?;
        let confirm = Confirm::for_a_person();
        ops::apps::forbid(&http.app, user, &client, now()).await?;
        let over = confirm.over(&http.app).await?;
        Ok(back(&http, "/account/apps", "forbidden", over, HeaderMap::new()))
    };
    act.await.unwrap_or_else(|problem: Problem| view.refuse(&http, &problem))
}

/// `GET /account/password`.
pub async fn password(State(http): State<Http>, view: View) -> Response {
    match &view.identity {
        Some(identity) if identity.subject.is_some() => {
            show_password(&http, &view, identity, &[], StatusCode::OK).await
        }
        _ => to_login(&http, "/account/password"),
    }
}

async fn show_password(
    http: &Http,
    view: &View,
    identity: &Identity,
    problems: &[ui::Problem],
    status: StatusCode,
) -> Response {
    let name = entry::username(http, Some(identity)).await;
    let page = view.page_at(http, "/account/password", name.as_deref());
    let csrf_token = SecretText::new(identity.csrf_token());
    let password_length_min = http.app.password_policy().length_min;
    let template =
        ui::ChangePassword { page: &page, csrf_token: &csrf_token, password_length_min, problems };
    view.html(http, status, &template, None)
}

/// The password form.
#[derive(Debug, Deserialize)]
pub struct PasswordForm {
    #[serde(default)]
    csrf_token: String,
    #[serde(default)]
    current_password: SecretText,
    #[serde(default)]
    new_password: SecretText,
    // Password managers fill it in; it changes nothing.
    #[serde(default, rename = "username")]
    _username: String,
}

/// `POST /account/password`.
pub async fn password_form(
    State(http): State<Http>,
    view: View,
    identity: Identity,
    Form(form): Form<PasswordForm>,
) -> Response {
    if let Err(problem) = check(&identity, &form.csrf_token) {
        return view.refuse(&http, &problem);
    }
    let now = now();
    let Ok(live) = ops::check::load(&http.app, identity.session).await else {
        return to_login(&http, "/account/password");
    };
    let changed =
        ops::password::change(&http.app, &live, &form.current_password, &form.new_password, now)
            .await;
    let wrong = match changed {
        Ok(changed) => {
            let mut set = HeaderMap::new();
            // Token → cookie would be a handover, which asks for more than this.
            let cookie = changed.cookie.filter(|_| identity.half() == Some(Half::SessionCookie));
            if let Some(cookie) = &cookie
                && let Err(problem) =
                    output::set_session(&http, &mut set, &changed.session, cookie, now)
            {
                return view.refuse(&http, &problem);
            }
            // What ended has ended; whether it is over everywhere can only be told.
            let over = Confirm::for_a_person().over(&http.app).await.unwrap_or(Over::NotYet);
            return back(&http, "/account", "password", over, set);
        }
        Err(Refused::Credentials) => ui::Problem::WrongCurrentPassword,
        Err(Refused::Policy(refused)) => ui::Problem::NewPassword(refused),
        Err(Refused::Limited(limited)) => ui::Problem::TooManyAttempts(limited.retry_after),
        Err(refused) => return view.refuse(&http, &refused.into()),
    };
    show_password(&http, &view, &identity, &[wrong], StatusCode::UNPROCESSABLE_ENTITY).await
}
