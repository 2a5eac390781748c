//! `/device` (RFC 8628, section 3.3): a person types the code that a device shows, sees whose device it is, and decides.
//! The steps, in this order:
//!
//! | what must be | otherwise |
//! |---|---|
//! | somebody is logged in | the login, which leads back here with the code |
//! | the code was sent from our page, even one that came with the address | the page, with the code in its field |
//! | a device that waits shows it | the page says that none does, a bounded number of times |
//! | the person has seen the client's name and the warning, and decides | the question |
//! | | the page that says what was decided |

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde::Deserialize;
use symbolon_core::{
    oauth::device::{UserCode, Waiting},
    secret::SecretText,
};
use symbolon_guard::Identity;

use super::{Http, Next, View, entry, login_url, see_other};
use crate::{
    app::now,
    http::{
        input::{Caller, Form},
        oauth::device::PATH,
        problem,
    },
    ops::{self, device::Refused},
    ui,
};

/// `GET /device`.
pub async fn device(State(http): State<Http>, view: View) -> Response {
    let Some(identity) = view.identity.as_ref().filter(|identity| identity.subject.is_some())
    else {
        let here = Next::parse(&http.path(&view.here));
        return see_other(&login_url(&http, here.as_ref()), HeaderMap::new());
    };
    if let Some(decided) = view.param("decided") {
        let name = entry::username(&http, Some(identity)).await;
        let page = view.page(&http, name.as_deref());
        let template = ui::DeviceDone { page: &page, allowed: decided == "allow" };
        return view.html(&http, StatusCode::OK, &template, None);
    }
    let typed = view.param("user_code").unwrap_or_default();
    show(&http, &view, identity, typed, &[], StatusCode::OK).await
}

/// What was said about a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Decision {
    Allow,
    Deny,
}

/// The code, and then the decision.
#[derive(Debug, Deserialize)]
pub struct DeviceForm {
    #[serde(default)]
    csrf_token: String,
    #[serde(default)]
    user_code: SecretText,
    decision: Option<Decision>,
}

/// `POST /device`.
pub async fn device_form(
    State(http): State<Http>,
    view: View,
    identity: Identity,
    caller: Caller,
    Form(form): Form<DeviceForm>,
) -> Response {
    if identity.check_form_token(&form.csrf_token).is_err() {
        return view.refuse(&http, &problem::FORM_TOKEN.into());
    }
    let Some(cookie) = http.session_cookie(&view.headers).ok().flatten() else {
        return view.refused(&http, 403, ui::Refusal::Forbidden, None);
    };
    let (whose, device) = ((&cookie, form.user_code.expose()), &caller.device);
    let refused = match form.decision {
        None => match ops::device::find(&http.app, whose, device, now()).await {
            Ok(waiting) => return ask(&http, &view, &identity, &waiting, &form.user_code).await,
            Err(refused) => refused,
        },
        Some(decision) => {
            let allow = decision == Decision::Allow;
            match ops::device::decide(&http.app, whose, allow, device, now()).await {
                Ok(()) => {
                    let said = if allow { "allow" } else { "deny" };
                    let to = format!("{}?decided={said}", http.path(PATH));
                    return see_other(&to, HeaderMap::new());
                }
                Err(refused) => refused,
            }
        }
    };
    let (wrong, status) = match refused {
        Refused::Unknown => (ui::Problem::WrongUserCode, StatusCode::UNPROCESSABLE_ENTITY),
        Refused::Limited(limited) => {
            let wait = limited.retry_after;
            (ui::Problem::TooManyAttempts(wait), StatusCode::TOO_MANY_REQUESTS)
        }
        Refused::Cookie => return view.refused(&http, 403, ui::Refusal::Forbidden, None),
        Refused::Unavailable(error) => return view.refuse(&http, &error.into()),
    };
    show(&http, &view, &identity, form.user_code.expose(), &[wrong], status).await
}

async fn show(
    http: &Http,
    view: &View,
    identity: &Identity,
    typed: &str,
    problems: &[ui::Problem],
    status: StatusCode,
) -> Response {
    let name = entry::username(http, Some(identity)).await;
    let page = view.page_at(http, PATH, name.as_deref());
    let csrf_token = SecretText::new(identity.csrf_token());
    // What is no code is not shown again: nobody else's words belong on this page.
    let code = UserCode::parse(typed).map(|code| code.text()).unwrap_or_default();
    let template = ui::ConnectDevice {
        page: &page,
        csrf_token: &csrf_token,
        user_code: code.expose(),
        problems,
    };
    view.html(http, status, &template, None)
}

/// Asks, for applications of ours, too. The page looks like the server and not like the client: it is about whom to trust.
async fn ask(
    http: &Http,
    view: &View,
    identity: &Identity,
    waiting: &Waiting,
    typed: &SecretText,
) -> Response {
    let name = entry::username(http, Some(identity)).await;
    let page = view.page_at(http, PATH, name.as_deref());
    let csrf_token = SecretText::new(identity.csrf_token());
    let described = |name| ui::Wanted { name, described: http.app.config.scopes.get(name) };
    let wanted: Vec<_> = waiting.scope.split_ascii_whitespace().map(described).collect();
    let code = UserCode::parse(typed.expose()).map(|code| code.text()).unwrap_or_default();
    let template = ui::DeviceConsent {
        page: &page,
        csrf_token: &csrf_token,
        client: &ops::device::title(&http.app, &waiting.client),
        user_code: &code,
        wanted: &wanted,
    };
    view.html(http, StatusCode::OK, &template, None)
}
