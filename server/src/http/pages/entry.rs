//! Log in, register, log out.

use axum::{
    extract::State,
    http::{HeaderMap, Method, StatusCode},
    response::Response,
};
use serde::Deserialize;
use symbolon_core::secret::SecretText;
use symbolon_guard::{Identity, Refusal};

use super::{
    Http, Next, View,
    authorize::Onward,
    logout::{self as ending, Ended},
    see_other,
};
use crate::{
    app::now,
    config::Registration,
    http::{
        input::{Caller, Form},
        output,
        problem::{self, Problem},
    },
    ops::{
        self,
        login::{Attempt, Deliver},
        register::Application,
    },
    ui::{self, LoginReason, Over},
};

/// The name of who is logged in.
pub async fn username(http: &Http, identity: Option<&Identity>) -> Option<String> {
    let session = identity?.session;
    identity?.subject?;
    if let Some(known) = http.app.live.get(session, now()) {
        return known.login.as_ref().map(|login| login.name.to_string());
    }
    let live = ops::check::load(&http.app, session).await.ok()?;
    live.user.as_ref().map(|user| user.name.to_string())
}

/// `GET /login`.
pub async fn login(State(http): State<Http>, view: View) -> Response {
    let next = view.next(&http);
    let is_known = view.identity.as_ref().is_some_and(|identity| identity.subject.is_some());
    let again = view.param("again").is_some();
    if is_known && !again {
        return see_other(&destination(&http, next.as_ref()), HeaderMap::new());
    }
    let reason = match view.refusal {
        Some(Refusal::InvalidToken | Refusal::Renewed) => Some(LoginReason::SessionEnded),
        _ if is_known => Some(LoginReason::Again),
        _ => next.as_ref().map(|_| LoginReason::LoginNeeded),
    };
    let again = again.then(|| "1".to_owned());
    let typed = LoginForm { again, ..LoginForm::default() };
    show_login(&http, &view, &typed, next.as_ref(), reason, &[], StatusCode::OK).await
}

fn destination(http: &Http, next: Option<&Next>) -> String {
    next.map_or_else(|| http.path("/account"), |next| next.as_str().to_owned())
}

async fn show_login(
    http: &Http,
    view: &View,
    typed: &LoginForm,
    next: Option<&Next>,
    reason: Option<LoginReason>,
    problems: &[ui::Problem],
    status: StatusCode,
) -> Response {
    let (csrf_token, set) = view.form_token(http);
    let onward = Onward::of(http, next).await;
    let page = view.page_towards(http, &view.here, &onward, None);
    let username = match (&*typed.username, &onward.login_hint) {
        ("", Some(hint)) => hint,
        (typed, _) => typed,
    };
    let template = ui::Login {
        page: &page,
        csrf_token: &csrf_token,
        next: next.map_or("", Next::as_str),
        username,
        remember: typed.remember.is_some(),
        again: typed.again.is_some(),
        registration_open: http.app.config.registration == Registration::Open,
        reason,
        problems,
    };
    view.html_to(http, status, &template, set, &onward)
}

/// The login form.
#[derive(Debug, Default, Deserialize)]
pub struct LoginForm {
    #[serde(default)]
    csrf_token: String,
    #[serde(default)]
    next: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: SecretText,
    remember: Option<String>,
    again: Option<String>,
}

/// `POST /login`.
pub async fn login_form(
    State(http): State<Http>,
    view: View,
    caller: Caller,
    Form(form): Form<LoginForm>,
) -> Response {
    let next = http.next(&form.next);
    if !view.check_form(&http, &form.csrf_token) {
        let status = StatusCode::FORBIDDEN;
        return show_login(
            &http,
            &view,
            &form,
            next.as_ref(),
            None,
            &[ui::Problem::FormExpired],
            status,
        )
        .await;
    }
    match try_login(&http, &view, caller, &form).await {
        Ok(set) => see_other(&destination(&http, next.as_ref()), set),
        Err(problem) => match typed_wrong(&problem) {
            Some(wrong) => {
                let status =
                    StatusCode::from_u16(problem.code().status).unwrap_or(StatusCode::BAD_REQUEST);
                show_login(&http, &view, &form, next.as_ref(), None, &[wrong], status).await
            }
            None => view.refuse(&http, &problem),
        },
    }
}

async fn try_login(
    http: &Http,
    view: &View,
    caller: Caller,
    form: &LoginForm,
) -> Result<HeaderMap, Problem> {
    let now = now();
    let attempt = Attempt {
        client: http.app.client(&http.default_client).ok_or(problem::CLIENT)?,
        username: &form.username,
        password: &form.password,
        again: form.again.is_some(),
        remember: form.remember.is_some(),
        presented: http.session_cookie(&view.headers)?,
        device: caller.device,
        deliver: Deliver::Cookie,
    };
    let done = ops::login::login(&http.app, attempt, now).await?;
    let mut set = HeaderMap::new();
    let cookie = done.cookie.ok_or(problem::UNAVAILABLE)?;
    output::set_session(http, &mut set, &done.session, &cookie, now)?;
    Ok(set)
}

/// What the form can say about a refusal.
fn typed_wrong(problem: &Problem) -> Option<ui::Problem> {
    let code = problem.code();
    if code == problem::CREDENTIALS {
        Some(ui::Problem::WrongCredentials)
    } else if code == problem::LIMITED {
        Some(ui::Problem::TooManyAttempts(problem.wait()))
    } else if code == problem::UNAVAILABLE {
        Some(ui::Problem::Busy)
    } else {
        None
    }
}

/// `GET /register`.
pub async fn register(State(http): State<Http>, view: View) -> Response {
    if http.app.config.registration == Registration::Closed {
        return view.refuse(&http, &problem::REGISTRATION_CLOSED.into());
    }
    let form = RegisterForm {
        invitation: view.param("invitation").map(|code| SecretText::new(code.to_owned())),
        next: view.next(&http).map(|next| next.as_str().to_owned()).unwrap_or_default(),
        ..RegisterForm::default()
    };
    show_register(&http, &view, &form, &[], StatusCode::OK).await
}

async fn show_register(
    http: &Http,
    view: &View,
    typed: &RegisterForm,
    problems: &[ui::Problem],
    status: StatusCode,
) -> Response {
    let (csrf_token, set) = view.form_token(http);
    let next = http.next(&typed.next);
    let onward = Onward::of(http, next.as_ref()).await;
    let page = view.page_towards(http, &view.here, &onward, None);
    let needs_invitation = http.app.config.registration == Registration::Invitation;
    let nothing = SecretText::default();
    let invitation = typed.invitation.as_ref().unwrap_or(&nothing);
    let template = ui::Register {
        page: &page,
        csrf_token: &csrf_token,
        next: &typed.next,
        username: &typed.username,
        invitation: needs_invitation.then_some(invitation),
        password_length_min: http.app.password_policy().length_min,
        problems,
    };
    view.html(http, status, &template, set)
}

/// The registration form.
#[derive(Debug, Default, Deserialize)]
pub struct RegisterForm {
    #[serde(default)]
    csrf_token: String,
    #[serde(default)]
    next: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    new_password: SecretText,
    invitation: Option<SecretText>,
}

/// `POST /register`.
pub async fn register_form(
    State(http): State<Http>,
    view: View,
    caller: Caller,
    Form(form): Form<RegisterForm>,
) -> Response {
    use ops::register::Refused;
    if !view.check_form(&http, &form.csrf_token) {
        return show_register(
            &http,
            &view,
            &form,
            &[ui::Problem::FormExpired],
            StatusCode::FORBIDDEN,
        )
        .await;
    }
    let application = Application {
        username: &form.username,
        password: &form.new_password,
        invitation: form.invitation.as_ref(),
        address: caller.device.address,
    };
    let wrong = match ops::register::register(&http.app, application, now()).await {
        Ok(()) => {
            let next = http.next(&form.next);
            let onward = Onward::of(&http, next.as_ref()).await;
            let page = view.page_towards(&http, "/login", &onward, None);
            let template =
                ui::Registered { page: &page, next: next.as_ref().map_or("", Next::as_str) };
            return view.html(&http, StatusCode::OK, &template, None);
        }
        Err(Refused::Username(_)) => ui::Problem::InvalidUsername,
        Err(Refused::Policy(refused)) => ui::Problem::NewPassword(refused),
        Err(Refused::Invitation) => ui::Problem::WrongInvitation,
        Err(Refused::Taken) => ui::Problem::NameTaken,
        Err(Refused::Limited(limited)) => ui::Problem::TooManyAttempts(limited.retry_after),
        Err(refused) => return view.refuse(&http, &refused.into()),
    };
    show_register(&http, &view, &form, &[wrong], StatusCode::UNPROCESSABLE_ENTITY).await
}

/// `GET /logout`: a question, because a link alone must not log anybody out.
pub async fn logout(State(http): State<Http>, view: View) -> Response {
    let Some(identity) = &view.identity else {
        return logged_out(&http, &view, false, None, HeaderMap::new());
    };
    let name = username(&http, Some(identity)).await;
    let next = view.next(&http);
    let onward = Onward::of(&http, next.as_ref()).await;
    let page = view.page_towards(&http, &view.here, &onward, name.as_deref());
    let csrf_token = SecretText::new(identity.csrf_token());
    let to = next.as_ref().map_or("", Next::as_str);
    let template = ui::Logout { page: &page, csrf_token: &csrf_token, next: to };
    view.html_to(&http, StatusCode::OK, &template, None, &onward)
}

/// The logout form.
#[derive(Debug, Deserialize)]
pub struct LogoutForm {
    #[serde(default)]
    csrf_token: String,
    #[serde(default)]
    next: String,
}

/// `POST /logout`.
pub async fn logout_form(
    State(http): State<Http>,
    view: View,
    Form(form): Form<LogoutForm>,
) -> Response {
    // The guard asks this of a cookie. A form of another site carries none, and its answer would still remove them.
    if http.rules.check_origin(&Method::POST, &view.headers).is_err() {
        return view.refuse(&http, &problem::CROSS_SITE.into());
    }
    let next = http.next(&form.next);
    let ended = match &view.identity {
        Some(identity) if identity.check_form_token(&form.csrf_token).is_err() => {
            return view.refuse(&http, &problem::FORM_TOKEN.into());
        }
        Some(identity) => ending::end(&http, identity, next.is_some()).await,
        None => Ok(Ended::nothing(&http)),
    };
    match ended {
        Ok(ended) => ending::finish(&http, &view, None, next.as_ref().map(Next::as_str), ended),
        Err(problem) => view.refuse(&http, &problem),
    }
}

/// The page after a logout.
pub fn logged_out(
    http: &Http,
    view: &View,
    everywhere: bool,
    over: Option<Over>,
    set: HeaderMap,
) -> Response {
    let page = view.page_at(http, "/", None);
    let template = ui::LoggedOut { page: &page, everywhere, over, back: None, frames: &[] };
    let mut response = view.html(http, StatusCode::OK, &template, None);
    response.headers_mut().extend(set);
    response
}
