//! The pages: forms in, HTML or a redirect out. They work without script.

pub mod account;
pub mod authorize;
pub mod consent;
pub mod device;
pub mod entry;
pub mod logout;

use std::collections::HashMap;

use axum::{
    extract::{FromRequestParts, Path, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next as Then,
    response::{IntoResponse, Response},
};
use symbolon_core::{
    client::ClientId,
    csrf,
    secret::{SecretBytes, SecretText},
};
use symbolon_guard::{Identity, Refusal, Rules};

use self::authorize::Onward;
use super::{
    Http,
    next::Next,
    oauth::parameters::{Parameters, Unreadable},
    problem::{self, Problem},
};
use crate::{
    app::Os,
    config::{Config, Registration},
    telemetry::RequestId,
    ui::{self, Locale, Page, Site, Template},
};

/// The pages of a server, prepared.
#[derive(Debug)]
pub struct Pages {
    site: Site,
    /// The pages of clients that have a brand of their own.
    of_clients: HashMap<ClientId, Site>,
    form_cookie: &'static str,
    secure: bool,
}

impl Pages {
    /// Prepares the pages.
    pub fn new(config: &Config, rules: &Rules) -> Self {
        let secure = rules.layout().origin().is_secure();
        let site = |brand: &ui::Brand| Site::new(rules.layout().base(), brand.clone());
        let of_client = |(id, brand): (&ClientId, &ui::Brand)| (id.clone(), site(brand));
        Self {
            site: site(&config.brand),
            of_clients: config.client_brands.iter().map(of_client).collect(),
            form_cookie: if secure { "__Host-symbolon-form" } else { "symbolon-form" },
            secure,
        }
    }

    fn asset(&self, path: &str) -> Option<&ui::Asset> {
        let sites = self.of_clients.values().chain([&self.site]);
        sites.flat_map(Site::assets).find(|asset| asset.path == path)
    }
}

/// Who looks at a page, and how.
#[derive(Debug)]
pub struct View {
    locale: Locale,
    /// The language came with the query: the browser should remember it.
    chosen: bool,
    here: String,
    query: HashMap<String, String>,
    headers: HeaderMap,
    /// Who carries a live half.
    pub identity: Option<Identity>,
    /// Why a half that came along proves nothing.
    pub refusal: Option<Refusal>,
    request_id: String,
}

impl FromRequestParts<Http> for View {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs: Vec<(String, String)> =
            serde_urlencoded::from_str(query).map_err(|_| Problem::from(problem::MALFORMED))?;
        let query: HashMap<_, _> = pairs.into_iter().collect();
        let text =
            |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let asked = ui::Asked {
            ui_locales: query.get("ui_locales").map(String::as_str),
            cookie: cookie(&parts.headers, Locale::COOKIE),
            accept_language: text(header::ACCEPT_LANGUAGE),
        };
        let locale = Locale::negotiate(asked, http.app.config.default_locale);
        let here = parts.uri.path_and_query().map_or("/", |here| here.as_str());
        Ok(Self {
            locale,
            chosen: query.contains_key("ui_locales"),
            here: here.to_owned(),
            query,
            headers: parts.headers.clone(),
            identity: parts.extensions.get().cloned(),
            refusal: parts.extensions.get().cloned(),
            request_id: RequestId::current().map(|id| id.to_string()).unwrap_or_default(),
        })
    }
}

/// The one cookie of this name, if there is exactly one.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut values = pairs
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter_map(|(key, value)| (key == name).then_some(value));
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

impl View {
    /// Whether a person reads the answer, in a browser.
    fn is_person(&self) -> bool {
        let accept = self.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        accept.is_some_and(|accept| accept.contains("text/html"))
    }

    fn page<'a>(&'a self, http: &'a Http, user: Option<&'a str>) -> Page<'a> {
        Page::new(&http.pages.site, self.locale, &self.here, user)
    }

    /// A page on the way somewhere: it looks like the client at the other end.
    fn page_towards<'a>(
        &'a self,
        http: &'a Http,
        here: &'a str,
        onward: &Onward,
        user: Option<&'a str>,
    ) -> Page<'a> {
        let site = onward.client.as_ref().and_then(|client| http.pages.of_clients.get(client));
        Page::new(site.unwrap_or(&http.pages.site), self.locale, here, user)
    }

    /// A page of the same address under another path, for forms whose address cannot be shown by `GET`.
    fn page_at<'a>(&'a self, http: &'a Http, here: &'a str, user: Option<&'a str>) -> Page<'a> {
        Page::new(&http.pages.site, self.locale, here, user)
    }

    fn param(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    fn next(&self, http: &Http) -> Option<Next> {
        self.param("next").and_then(|text| http.next(text))
    }

    /// The CSRF token for a form that works without a session, and the cookie that it belongs to.
    fn form_token(&self, http: &Http) -> (SecretText, Option<HeaderValue>) {
        if let Some(held) =
            cookie(&self.headers, http.pages.form_cookie).filter(|held| held.len() == 22)
        {
            return (SecretText::new(csrf::token(held)), None);
        }
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let fresh = URL_SAFE_NO_PAD.encode(SecretBytes::<16>::random(&mut Os).expose());
        let secure = if http.pages.secure { "; Secure" } else { "" };
        let name = http.pages.form_cookie;
        let set = HeaderValue::try_from(format!(
            "{name}={fresh}; Path=/; HttpOnly; SameSite=Lax{secure}"
        ));
        (SecretText::new(csrf::token(&fresh)), set.ok())
    }

    /// Whether a form without a session comes from our own page in this browser.
    fn check_form(&self, http: &Http, token: &str) -> bool {
        let from_here = http.rules.check_origin(&Method::POST, &self.headers).is_ok();
        from_here
            && cookie(&self.headers, http.pages.form_cookie)
                .is_some_and(|held| csrf::matches(token, held))
    }

    fn html(
        &self,
        http: &Http,
        status: StatusCode,
        template: &impl Template,
        set: Option<HeaderValue>,
    ) -> Response {
        self.html_to(http, status, template, set, &Onward::default())
    }

    /// A page whose form leads somewhere: browsers check `form-action` against every hop, so the policy of this page
    /// admits that origin, and no other.
    fn html_to(
        &self,
        http: &Http,
        status: StatusCode,
        template: &impl Template,
        set: Option<HeaderValue>,
        onward: &Onward,
    ) -> Response {
        let Ok(html) = template.render() else {
            return (StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be shown\n")
                .into_response();
        };
        let mut response = (status, axum::response::Html(html)).into_response();
        let headers = response.headers_mut();
        if let Ok(policy) = HeaderValue::try_from(ui::csp(&onward.origins)) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        headers.insert(header::VARY, HeaderValue::from_static("accept-language, cookie"));
        headers.extend(set.map(|cookie| (header::SET_COOKIE, cookie)));
        if self.chosen {
            let secure = if http.pages.secure { "; Secure" } else { "" };
            let (name, tag) = (Locale::COOKIE, self.locale.tag());
            let cookie = format!("{name}={tag}; Path=/; SameSite=Lax; Max-Age=31536000{secure}");
            if let Ok(cookie) = HeaderValue::try_from(cookie) {
                headers.append(header::SET_COOKIE, cookie);
            }
        }
        response
    }

    /// A page that says what happened, what to do, and what to quote.
    fn refuse(&self, http: &Http, problem: &Problem) -> Response {
        use ui::Refusal as Why;
        let code = problem.code();
        let refusal = match code.status {
            _ if code == problem::REGISTRATION_CLOSED => Why::RegistrationClosed,
            _ if code == problem::FORM_TOKEN || code == problem::CROSS_SITE => Why::ForeignForm,
            status => why(status),
        };
        self.refused(http, code.status, refusal, problem.retry_after_secs())
    }

    fn refused(
        &self,
        http: &Http,
        status: u16,
        refusal: ui::Refusal,
        retry_after_secs: Option<u64>,
    ) -> Response {
        let page = self.page_at(http, "/", None);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        let template = ui::Refused { page: &page, refusal, request_id: &self.request_id };
        let mut response = self.html(http, status, &template, None);
        if let Some(after) = retry_after_secs {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after));
        }
        response
    }
}

const fn why(status: u16) -> ui::Refusal {
    use ui::Refusal as Why;
    match status {
        403 => Why::Forbidden,
        404 | 405 => Why::NotFound,
        413 | 414 | 431 => Why::TooLarge,
        429 => Why::TooManyRequests,
        503 => Why::Unavailable,
        500 => Why::Internal,
        _ => Why::BadRequest,
    }
}

/// Whether a route answers with pages.
pub fn is_page(path: &str) -> bool {
    matches!(
        path,
        "/" | "/login"
            | "/register"
            | "/logout"
            | "/device"
            | "/oauth2/authorize"
            | "/oauth2/consent"
    ) || ["/account", "/oauth2/logout"].iter().any(|pages| path.starts_with(pages))
}

/// Turns a refusal for programs into what a person can use: the login, or a page that says what happened. What the guard
/// refuses in front of a page passes here.
pub async fn explain(State(http): State<Http>, request: Request, then: Then) -> Response {
    let (mut parts, body) = request.into_parts();
    let view = View::from_request_parts(&mut parts, &http).await;
    let may_return = parts.method == Method::GET;
    let response = then.run(Request::from_parts(parts, body)).await;
    match view {
        Ok(view) if view.is_person() && is_problem(&response) => {
            let status = response.status().as_u16();
            let retry_after = response.headers().get(header::RETRY_AFTER);
            let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
            match status {
                401 => {
                    let here = Next::parse(&http.path(&view.here)).filter(|_| may_return);
                    see_other(&login_url(&http, here.as_ref()), HeaderMap::new())
                }
                // In front of a page, this is a missing proof of origin.
                403 => view.refused(&http, status, ui::Refusal::ForeignForm, None),
                _ => view.refused(&http, status, why(status), retry_after),
            }
        }
        _ => response,
    }
}

fn is_problem(response: &Response) -> bool {
    response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/problem+json")
}

/// What does not exist: a page for people, a problem for programs.
pub async fn not_found(State(http): State<Http>, view: View) -> Response {
    let problem = Problem::from(problem::NOT_FOUND);
    if view.is_person() { view.refuse(&http, &problem) } else { problem.into_response() }
}

/// The most bytes of a query that a browser is sent with.
const QUERY_BYTES_MAX: usize = 16 * 1024;

/// Lets the browser come once more by itself, with the parameters of a form in the query: the session cookie does not
/// come along with a form of another site, but with the `GET` that this leads to. `named`: the parameters that a page
/// names.
fn again(
    http: &Http,
    view: &View,
    (path, named): (&str, &[&'static str]),
    form: &[u8],
) -> Response {
    match Parameters::read(form).map(|parameters| parameters.to_form()) {
        Ok(query) if query.len() <= QUERY_BYTES_MAX => {
            see_other(&http.path(&format!("{path}?{query}")), HeaderMap::new())
        }
        Err(twice @ Unreadable::Twice(_)) => {
            let parameter = twice.parameter(named);
            view.refused(http, 400, ui::Refusal::Authorization { parameter }, None)
        }
        Ok(_) | Err(Unreadable::Form) => view.refused(http, 413, ui::Refusal::TooLarge, None),
    }
}

/// 303 to a path of ours, setting cookies.
fn see_other(to: &str, set: HeaderMap) -> Response {
    let mut response = (StatusCode::SEE_OTHER, set).into_response();
    if let Ok(to) = HeaderValue::try_from(to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

/// The login page, with where to go then.
pub fn login_url(http: &Http, next: Option<&Next>) -> String {
    let login = http.path("/login");
    match next.and_then(|next| serde_urlencoded::to_string([("next", next.as_str())]).ok()) {
        Some(query) => format!("{login}?{query}"),
        None => login,
    }
}

/// The login page for somebody who is logged in, and shall say once more who they are.
fn login_again_url(http: &Http, next: &Next) -> String {
    format!("{}&again=1", login_url(http, Some(next)))
}

/// `GET /`.
pub async fn home(State(http): State<Http>, view: View) -> Response {
    let name = entry::username(&http, view.identity.as_ref()).await;
    let page = view.page(&http, name.as_deref());
    let registration_open = http.app.config.registration == Registration::Open;
    view.html(&http, StatusCode::OK, &ui::Home { page: &page, registration_open }, None)
}

/// `GET /assets/{file}`.
pub async fn asset(State(http): State<Http>, Path(file): Path<String>) -> Response {
    let Some(asset) = http.pages.asset(&format!("/assets/{file}")) else {
        return Problem::from(problem::NOT_FOUND).into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, asset.content_type),
        (header::CACHE_CONTROL, ui::ASSET_CACHE_CONTROL),
        (header::CONTENT_SECURITY_POLICY, ui::ASSET_CSP),
    ];
    (headers, asset.bytes.clone()).into_response()
}

/// One button, where a click from our own origin is needed before the browser rotates its tokens.
pub fn continue_page(http: &Http, view: &View) -> Response {
    let (csrf_token, set) = view.form_token(http);
    let page = view.page_at(http, "/", None);
    let next = view.param("next").unwrap_or_default();
    let template = ui::Continue {
        page: &page,
        action: "/api/v1/refresh/continue",
        csrf_token: &csrf_token,
        next,
    };
    view.html(http, StatusCode::OK, &template, set)
}

/// Whether the form of [`continue_page`] comes from there.
pub fn continue_form_is_ours(http: &Http, view: &View, token: &str) -> bool {
    view.check_form(http, token)
}
