//! The table of all routes: method, path, who gets in, and who answers. What is not in it does not exist, and a test
//! walks it with nobody, a wrong user, a right user and an ended session.

use std::convert::Infallible;

use axum::{Router, middleware::from_fn_with_state, routing};
use symbolon_guard::{Guard, Require};

use super::{
    Http, api,
    authority::{AtUserinfo, InProcess, token_in_form, unless_basic},
    follow, health, oauth, openapi, pages,
};

/// Who gets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody. No half is looked at; what the request proves, it proves in its body.
    Public,
    /// Everybody; who carries a live half is known.
    Anyone,
    /// Who carries a live half, visitors too.
    Session,
    /// Who has logged in.
    Login,
    /// Who carries an access token that is for userinfo.
    Userinfo,
    /// Clients that authenticate.
    Client,
    /// Clients that authenticate with HTTP Basic, and who carries a live half.
    ClientOrSession,
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: &'static str,
    /// The path below the base path.
    pub path: &'static str,
    /// Who gets in.
    pub access: Access,
}

macro_rules! routes {
    ($($method:ident $path:literal $access:ident $handler:path;)*) => {
        /// All routes.
        pub const ROUTES: &[Route] = &[
            $(Route { method: stringify!($method), path: $path, access: Access::$access }),*
        ];

        /// The router of the table.
        pub fn build(http: &Http) -> Router<Http> {
            Router::new()$(.route($path, enter(http, $path, Access::$access, routing::$method($handler))))*
        }
    };
}

routes! {
    get    "/healthz"                              Public          health::healthz;
    get    "/readyz"                               Public          health::readyz;
    get    "/metrics"                              Public          health::metrics;

    get    "/"                                     Anyone          pages::home;
    get    "/assets/{file}"                        Public          pages::asset;
    get    "/login"                                Anyone          pages::entry::login;
    post   "/login"                                Public          pages::entry::login_form;
    get    "/register"                             Anyone          pages::entry::register;
    post   "/register"                             Public          pages::entry::register_form;
    get    "/logout"                               Anyone          pages::entry::logout;
    post   "/logout"                               Anyone          pages::entry::logout_form;
    get    "/account"                              Anyone          pages::account::account;
    get    "/account/password"                     Anyone          pages::account::password;
    post   "/account/password"                     Login           pages::account::password_form;
    post   "/account/sessions/end-others"          Login           pages::account::end_others;
    post   "/account/sessions/end-all"             Login           pages::account::end_all;
    post   "/account/sessions/{sid}/end"           Login           pages::account::end_one;
    get    "/account/apps"                         Anyone          pages::account::apps;
    post   "/account/apps/{client}/forbid"         Login           pages::account::forbid;

    post   "/api/v1/login"                         Public          api::session::login;
    post   "/api/v1/logout"                        Anyone          api::session::logout;
    get    "/api/v1/session"                       Session         api::session::session;
    get    "/api/v1/sessions"                      Login           api::session::sessions;
    post   "/api/v1/sessions"                      Client          api::data::open_visitor;
    delete "/api/v1/sessions"                      Login           api::session::end_sessions;
    delete "/api/v1/sessions/{sid}"                ClientOrSession api::session::end_session;
    get    "/api/v1/sessions/{sid}/data"           ClientOrSession api::data::read;
    patch  "/api/v1/sessions/{sid}/data"           ClientOrSession api::data::merge;
    post   "/api/v1/refresh"                       Public          api::tokens::refresh;
    delete "/api/v1/refresh"                       Public          api::tokens::end_by_cookie;
    get    "/api/v1/refresh/continue"              Public          api::tokens::refresh_continue;
    post   "/api/v1/refresh/continue"              Public          api::tokens::refresh_continue_form;
    post   "/api/v1/handover"                      ClientOrSession api::tokens::handover;
    post   "/api/v1/code"                          Client          api::code::redeem;
    post   "/api/v1/register"                      Public          api::account::register;
    post   "/api/v1/password"                      Login           api::account::change_password;
    get    "/api/v1/openapi.json"                  Public          openapi::serve;

    post   "/follow"                               Client          follow::follow;
    get    "/oauth2/authorize"                     Anyone          pages::authorize::authorize;
    post   "/oauth2/authorize"                     Public          pages::authorize::by_form;
    post   "/oauth2/consent"                       Login           pages::consent::consent_form;
    get    "/device"                               Anyone          pages::device::device;
    post   "/device"                               Login           pages::device::device_form;
    post   "/oauth2/device_authorization"          Public          oauth::device::begin;
    post   "/oauth2/par"                           Public          oauth::par::push;
    get    "/oauth2/logout"                        Anyone          pages::logout::logout;
    post   "/oauth2/logout"                        Public          pages::logout::by_form;
    post   "/oauth2/logout/confirm"                Anyone          pages::logout::confirm_form;
    post   "/oauth2/token"                         Public          oauth::token::token;
    get    "/oauth2/userinfo"                      Userinfo        oauth::userinfo::userinfo;
    post   "/oauth2/userinfo"                      Userinfo        oauth::userinfo::userinfo;
    post   "/oauth2/introspect"                    Client          oauth::introspect;
    post   "/oauth2/revoke"                        Public          oauth::revoke;
    get    "/.well-known/jwks.json"                Public          oauth::jwks;
    get    "/.well-known/openid-configuration"     Public          oauth::metadata::metadata;
    get    "/.well-known/oauth-authorization-server" Public        oauth::metadata::metadata;
}

type Method = routing::MethodRouter<Http>;

fn enter(http: &Http, path: &str, access: Access, route: Method) -> Method {
    let rules = if path.starts_with("/api/") { &http.api_rules } else { &http.rules };
    let optional = || Guard::optional(rules.clone(), InProcess(http.app.clone()));
    let required = || Guard::required(rules.clone(), InProcess(http.app.clone()));
    let route = match access {
        // A client authenticates in its handler: `Authenticated` is the extractor for HTTP Basic, `Parameters` reads every way.
        Access::Public | Access::Client => route,
        Access::Anyone => route.layer(optional()),
        Access::Session => route.layer(required()),
        Access::Login => route.layer::<_, Infallible>(Require::login()).layer(required()),
        Access::Userinfo => route
            .layer(Guard::required(rules.clone(), AtUserinfo(http.app.clone())))
            .layer(from_fn_with_state(http.clone(), token_in_form)),
        Access::ClientOrSession => route.layer(from_fn_with_state(http.clone(), unless_basic)),
    };
    if pages::is_page(path) {
        route.layer(from_fn_with_state(http.clone(), pages::explain))
    } else {
        route
    }
}
