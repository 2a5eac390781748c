//! The pages that say something and offer one way on.

use askama::Template;
use symbolon_core::secret::SecretText;

use super::{Over, Page};

/// `GET /`: where everything starts.
#[derive(Debug, Template)]
#[template(path = "home.html")]
pub struct Home<'a> {
    /// Who looks, and where; the page differs when somebody is logged in.
    pub page: &'a Page<'a>,
    /// Whether one can register.
    pub registration_open: bool,
}

/// After a registration: the same words whether or not the name was taken.
#[derive(Debug, Template)]
#[template(path = "registered.html")]
pub struct Registered<'a> {
    /// Who looks, and where.
    pub page: &'a Page<'a>,
    /// Where to go after login; may be empty.
    pub next: &'a str,
}

/// `GET /logout`: a question, because a link alone must not log anybody out.
#[derive(Debug, Template)]
#[template(path = "logout.html")]
pub struct Logout<'a> {
    /// Who looks, and where.
    pub page: &'a Page<'a>,
    /// The form's CSRF token.
    pub csrf_token: &'a SecretText,
    /// Where to go after logout; may be empty. The route that takes the form validates it.
    pub next: &'a str,
}

/// `GET /oauth2/logout` without a hint of this browser's session: a link alone must not log anybody out.
#[derive(Debug, Template)]
#[template(path = "logout_asked.html")]
pub struct LogoutAsked<'a> {
    /// Who looks, and where.
    pub page: &'a Page<'a>,
    /// The form's CSRF token.
    pub csrf_token: &'a SecretText,
    /// The id of the application that asks; may be empty.
    pub client: &'a str,
    /// What people call it, if there is one.
    pub title: Option<&'a str>,
    /// Where to go after logout; may be empty. The route that takes the form validates it.
    pub back: &'a str,
    /// What goes there with the browser; may be empty.
    pub state: &'a str,
}

/// After the decision about a device.
#[derive(Debug, Template)]
#[template(path = "device_done.html")]
pub struct DeviceDone<'a> {
    /// Who looks, and where.
    pub page: &'a Page<'a>,
    /// Whether it was allowed.
    pub allowed: bool,
}

/// After a logout.
#[derive(Debug, Template)]
#[template(path = "logged_out.html")]
pub struct LoggedOut<'a> {
    /// Who looks, and where; nobody is logged in any more.
    pub page: &'a Page<'a>,
    /// Whether all sessions were ended, not only the one of this device.
    pub everywhere: bool,
    /// How far that has come, if something was ended.
    pub over: Option<Over>,
    /// Where the application is that asked for it: a URI that it has registered.
    pub back: Option<&'a str>,
    /// What applications load to hear of it: URIs that they have registered.
    pub frames: &'a [String],
}

impl LoggedOut<'_> {
    fn over_text(&self) -> Option<String> {
        self.over.map(|over| self.page.words.over(over))
    }
}

/// One button, where a click from our own origin is needed to go on.
#[derive(Debug, Template)]
#[template(path = "continue.html")]
pub struct Continue<'a> {
    /// Who looks, and where.
    pub page: &'a Page<'a>,
    /// The path below the base path that takes the form: a fixed route, never something from a request.
    pub action: &'static str,
    /// The form's CSRF token.
    pub csrf_token: &'a SecretText,
    /// Where to go then; may be empty. The route that takes the form validates it.
    pub next: &'a str,
}

/// What happened, for who sees the page. What exactly is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 400.
    BadRequest,
    /// 400: an application sent the browser here with a request that cannot be answered.
    Authorization {
        /// What is wrong with it.
        parameter: &'static str,
    },
    /// 403: no same-origin proof, or a wrong CSRF token.
    ForeignForm,
    /// 403: logged in, but not allowed.
    Forbidden,
    /// 403: nobody can register.
    RegistrationClosed,
    /// 404, 405.
    NotFound,
    /// 413, 414, 431.
    TooLarge,
    /// 429.
    TooManyRequests,
    /// 503.
    Unavailable,
    /// 500.
    Internal,
}

/// A refusal: what happened, what to do, and what to quote.
#[derive(Debug, Template)]
#[template(path = "refused.html")]
pub struct Refused<'a> {
    /// Who looks, and where.
    pub page: &'a Page<'a>,
    /// What happened.
    pub refusal: Refusal,
    /// The id under which the log knows this request.
    pub request_id: &'a str,
}

impl Refused<'_> {
    /// The parameter that is wrong.
    const fn parameter(&self) -> Option<&'static str> {
        match self.refusal {
            Refusal::Authorization { parameter } => Some(parameter),
            _ => None,
        }
    }

    /// What happened, and what to do.
    const fn says(&self) -> (&'static str, &'static str) {
        let words = self.page.words;
        match self.refusal {
            Refusal::BadRequest => (words.bad_request, words.bad_request_help),
            Refusal::Authorization { .. } => (words.authorization, words.authorization_help),
            Refusal::ForeignForm => (words.foreign_form, words.foreign_form_help),
            Refusal::Forbidden => (words.forbidden, words.forbidden_help),
            Refusal::RegistrationClosed => (words.closed, words.closed_help),
            Refusal::NotFound => (words.not_found, words.not_found_help),
            Refusal::TooLarge => (words.too_large, words.too_large_help),
            Refusal::TooManyRequests => (words.too_many, words.too_many_help),
            Refusal::Unavailable => (words.unavailable, words.unavailable_help),
            Refusal::Internal => (words.internal, words.internal_help),
        }
    }
}
