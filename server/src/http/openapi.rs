//! OpenAPI 3.1, generated from the handlers and served.

use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;

use super::api;

/// The document.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Symbolon",
        description = "First-party API: session and token, two halves of one login. Refusals are \
        RFC 9457 problem details with a stable `code`.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(
        api::session::login,
        api::session::logout,
        api::session::session,
        api::session::sessions,
        api::session::end_session,
        api::session::end_sessions,
        api::code::redeem,
        api::data::open_visitor,
        api::data::read,
        api::data::merge,
        api::tokens::refresh,
        api::tokens::end_by_cookie,
        api::tokens::refresh_continue,
        api::tokens::refresh_continue_form,
        api::tokens::handover,
        api::account::register,
        api::account::change_password,
    )
)]
pub struct Document;

/// Serves the document.
pub async fn serve() -> Response {
    axum::Json(Document::openapi()).into_response()
}
