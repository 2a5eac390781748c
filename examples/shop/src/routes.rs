//! Who may do what in the shop, and what happens then.

use std::{convert::Infallible, error::Error, net::SocketAddr, sync::Arc};

use askama::Template;
use axum::{
    Form, Json, Router,
    extract::{ConnectInfo, DefaultBodyLimit, Path, Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER,
            SET_COOKIE, USER_AGENT, VARY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    middleware::{Next, from_fn_with_state},
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};
use symbolon_guard::{
    Guard, Half, Identity, Refusal, Require, Rules,
    cookie::Layout,
    remote::{Remote, Settings as Asked},
};

use crate::{
    Settings, goods,
    page::{Page, View},
    symbolon::Symbolon,
};

/// The largest form: a token and the id of an article.
const FORM_BYTES_MAX: usize = 4 * 1024;

/// What every request of the shop needs.
pub(crate) struct Shop {
    rules: Rules,
    policy: HeaderValue,
    pub(crate) symbolon: Symbolon,
    pub(crate) symbolon_url: String,
    pub(crate) public_url: String,
}

type Shared = State<Arc<Shop>>;

/// All routes of the shop.
pub(crate) fn build(settings: Settings) -> Result<Router, Box<dyn Error + Send + Sync>> {
    let Settings { public_url, symbolon_url, client_id, client_secret } = settings;
    let rules = Rules::new(&public_url)?;
    // Without the origin of the login, browsers stop a form whose answer leads there.
    let forms = Layout::of(&symbolon_url)?.origin().clone();
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' {forms}; \
         base-uri 'none'; frame-ancestors 'none'"
    );
    let shop = Arc::new(Shop {
        rules: rules.clone(),
        policy: HeaderValue::try_from(policy)?,
        symbolon: Symbolon::new(&symbolon_url, &client_id, &client_secret)?,
        symbolon_url: symbolon_url.trim_end_matches('/').to_owned(),
        public_url: public_url.clone(),
    });
    let asked = Asked::new(shop.symbolon_url.clone(), client_id.parse()?, client_secret);
    let authority = Remote::new(Asked { audience: Some(public_url), ..asked })?;

    let for_users = get(checkout).post(order).layer::<_, Infallible>(Require::login());
    let pages = Router::new()
        .route("/", get(shelf))
        .route("/cart", get(cart).post(change_cart))
        .route("/checkout", for_users)
        .route("/thanks", get(thanks))
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(Guard::optional(rules.clone(), authority.clone()))
        .layer(from_fn_with_state(shop.clone(), explain));
    Ok(Router::new()
        .route("/api/cart", get(api_cart).layer(Guard::required(rules, authority)))
        .route("/assets/{file}", get(asset))
        .merge(pages)
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(from_fn_with_state(shop.clone(), harden))
        .with_state(shop))
}

#[derive(Template)]
#[template(path = "shelf.html")]
struct Shelf {
    page: Page,
}

async fn shelf(page: Page) -> Response {
    render(&Shelf { page })
}

#[derive(Template)]
#[template(path = "cart.html")]
struct CartPage {
    page: Page,
}

async fn cart(page: Page) -> Response {
    render(&CartPage { page })
}

/// The form of the shelf and of the cart. Each button adds or removes one piece of one article.
#[derive(Deserialize)]
struct Change {
    #[serde(default)]
    csrf_token: String,
    add: Option<String>,
    remove: Option<String>,
}

async fn change_cart(
    State(shop): Shared,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    identity: Option<Identity>,
    view: View,
    Form(form): Form<Change>,
) -> Result<Response, Refusal> {
    let mut answer = Redirect::to(&view.link("/cart")).into_response();
    let sid = if let Some(identity) = identity {
        identity.check_form_token(&form.csrf_token)?;
        identity.session.to_string()
    } else {
        // Nothing that the guard looks at came along, so the origin must prove that a page of ours asked.
        shop.rules.check_origin(&Method::POST, &headers)?;
        let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
        let visitor = shop.symbolon.open_visitor(peer.ip(), agent).await?;
        let cookie = HeaderValue::try_from(visitor.set_cookie.expose());
        answer.headers_mut().extend(cookie.ok().map(|value| (SET_COOKIE, value)));
        visitor.sid
    };
    let known = |id: Option<String>| id.and_then(|id| goods::find(&id));
    let (added, removed) = (known(form.add), known(form.remove));
    let change = shop.symbolon.change_cart(&sid, |cart| {
        added.inspect(|article| cart.add(article.id));
        removed.inspect(|article| cart.remove(article.id));
    });
    change.await?;
    Ok(answer)
}

#[derive(Template)]
#[template(path = "checkout.html")]
struct Checkout {
    page: Page,
}

async fn checkout(page: Page) -> Response {
    render(&Checkout { page })
}

#[derive(Deserialize)]
struct Order {
    #[serde(default)]
    csrf_token: String,
}

/// Nothing is sold: the cart is emptied.
async fn order(
    State(shop): Shared,
    identity: Identity,
    view: View,
    Form(form): Form<Order>,
) -> Result<Redirect, Refusal> {
    identity.check_form_token(&form.csrf_token)?;
    shop.symbolon.change_cart(&identity.session.to_string(), |cart| cart.clear()).await?;
    Ok(Redirect::to(&view.link("/thanks")))
}

#[derive(Template)]
#[template(path = "thanks.html")]
struct Thanks {
    page: Page,
}

async fn thanks(page: Page) -> Response {
    render(&Thanks { page })
}

/// The cart for other programs, by an access token for the shop or by the cookie.
async fn api_cart(
    State(shop): Shared,
    identity: Identity,
) -> Result<([(axum::http::HeaderName, &'static str); 1], Json<Value>), Refusal> {
    let sid = identity.session.to_string();
    let cart = shop.symbolon.cart(&sid).await?;
    let carried_by = match identity.half() {
        Some(Half::Bearer | Half::Dpop) => "token",
        _ => "cookie",
    };
    let body = json!({ "sid": sid, "carried_by": carried_by, "cart": cart });
    Ok(([(CACHE_CONTROL, "no-store")], Json(body)))
}

async fn asset(Path(file): Path<String>) -> Response {
    let picture = || goods::find(file.strip_suffix(".svg")?).map(|article| article.picture);
    let (kind, text) = match picture() {
        Some(picture) => ("image/svg+xml", picture),
        None if file == "shop.css" => ("text/css", include_str!("../assets/shop.css")),
        None => return StatusCode::NOT_FOUND.into_response(),
    };
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "public, max-age=300")], text).into_response()
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    page: Page,
    status: u16,
}

/// Turns a refusal for programs into what a person can use: the login, or a page that says what happened. Whatever goes
/// wrong behind a page, the guard's refusals included, passes here.
async fn explain(State(shop): Shared, view: View, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    if status == StatusCode::UNAUTHORIZED {
        return Redirect::to(&view.at(&shop, "/login")).into_response();
    }
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let page = Page::of_nobody(&shop, view);
    let mut explained = render(&ErrorPage { page, status: status.as_u16() });
    *explained.status_mut() = status;
    let again = response.headers().get(RETRY_AFTER).cloned();
    explained.headers_mut().extend(again.map(|value| (RETRY_AFTER, value)));
    explained
}

/// What all answers carry.
async fn harden(State(shop): Shared, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, shop.policy.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // With `no-referrer`, browsers would hide the origin of our own forms.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

fn render(page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => {
            ([(CACHE_CONTROL, "no-store"), (VARY, "accept-language")], Html(html)).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "a page does not render");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
