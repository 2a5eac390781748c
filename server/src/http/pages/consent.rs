//! The page on which a person allows something to an application, and its answer.

use axum::{extract::State, http::StatusCode, response::Response};
use serde::Deserialize;
use symbolon_core::{oauth::authorization::Request, secret::SecretText};
use symbolon_guard::Identity;

use super::{
    Http, Next, View,
    authorize::{self, Onward},
    entry,
};
use crate::{
    http::{
        input::Form,
        oauth::request::{Asked, PATH},
        problem,
    },
    ui,
};

/// What was said to what a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The client may have it.
    Allow,
    /// It may not.
    Deny,
    /// Not with this account.
    Switch,
}

/// Asks.
pub async fn show(
    http: &Http,
    view: &View,
    asked: &Asked,
    request: &Request,
    next: &Next,
) -> Response {
    let Some(identity) = &view.identity else {
        return view.refused(http, 401, ui::Refusal::BadRequest, None);
    };
    let name = entry::username(http, Some(identity)).await;
    let onward = Onward::to(asked);
    let page = view.page_towards(http, &view.here, &onward, name.as_deref());
    let csrf_token = SecretText::new(identity.csrf_token());
    let wanted: Vec<_> = if asked.client.first_party {
        Vec::new()
    } else {
        let described = |name| http.app.config.scopes.get(name);
        let names = request.permission.split_ascii_whitespace();
        names.map(|name| ui::Wanted { name, described: described(name) }).collect()
    };
    let template = ui::Consent {
        page: &page,
        csrf_token: &csrf_token,
        client: asked.client.title_in(view.locale.tag()),
        host: asked.origin(),
        request: next.as_str().split_once('?').map_or("", |(_, query)| query),
        wanted: &wanted,
    };
    view.html_to(http, StatusCode::OK, &template, None, &onward)
}

/// The answer to the page.
#[derive(Debug, Deserialize)]
pub struct ConsentForm {
    #[serde(default)]
    csrf_token: String,
    request: String,
    decision: Decision,
}

/// `POST /oauth2/consent`.
pub async fn consent_form(
    State(http): State<Http>,
    view: View,
    identity: Identity,
    Form(form): Form<ConsentForm>,
) -> Response {
    if identity.check_form_token(&form.csrf_token).is_err() {
        return view.refuse(&http, &problem::FORM_TOKEN.into());
    }
    if Next::parse(&http.path(&format!("{PATH}?{}", form.request))).is_none() {
        return view.refuse(&http, &problem::MALFORMED.into());
    }
    authorize::respond(&http, &view, &form.request, Some(form.decision)).await
}
