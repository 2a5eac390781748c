//! Applications of others: what they want, what they may do, and the way back to them.

use std::fmt;

use askama::Template;
use symbolon_core::{client::ClientId, secret::SecretText, time::Time};

use super::{Locale, Page, moment::Moment, words::Words};
use crate::config::sections::ScopeWords;

/// One scope that a client wants, or has.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its name.
    pub name: &'a str,
    /// What the configuration says about it.
    pub described: Option<&'a ScopeWords>,
}

impl<'a> Wanted<'a> {
    /// What it allows, in words; its name, if nobody has described it.
    fn text(&self, words: &'static Words) -> &'a str {
        if let Some(scope) = self.described {
            let korean = scope.description_ko.as_deref().filter(|_| words.locale == Locale::Ko);
            return korean.unwrap_or(&scope.description);
        }
        match self.name {
            "openid" => words.scope_openid,
            "profile" => words.scope_profile,
            "email" => words.scope_email,
            "address" => words.scope_address,
            "phone" => words.scope_phone,
            "offline_access" => words.scope_offline_access,
            name => name,
        }
    }
}

/// Whether a client shall have what it asks for, and with which account.
#[derive(Debug, Template)]
#[template(path = "consent.html")]
pub struct Consent<'a> {
    /// Who looks, and where.
    pub page: &'a Page<'a>,
    /// The form's CSRF token.
    pub csrf_token: &'a SecretText,
    /// What people call the client.
    pub client: &'a str,
    /// The origin to which the browser goes then.
    pub host: Option<String>,
    /// The request, which the form sends back.
    pub request: &'a str,
    /// What the client wants; nothing where only the account is asked for.
    pub wanted: &'a [Wanted<'a>],
}

impl Consent<'_> {
    fn title(&self) -> String {
        let words = self.page.words;
        if self.wanted.is_empty() {
            words.choose_title(self.client)
        } else {
            words.consent_title(self.client)
        }
    }
}

/// Whether a device without a browser shall be logged in. Our own applications ask, too: the person may not know that they
/// log somebody else in.
#[derive(Debug, Template)]
#[template(path = "device_consent.html")]
pub struct DeviceConsent<'a> {
    /// Who looks, and where.
    pub page: &'a Page<'a>,
    /// The form's CSRF token.
    pub csrf_token: &'a SecretText,
    /// What people call the client.
    pub client: &'a str,
    /// What the device must show.
    pub user_code: &'a SecretText,
    /// What the client wants.
    pub wanted: &'a [Wanted<'a>],
}

impl DeviceConsent<'_> {
    fn title(&self) -> String {
        self.page.words.device_consent_title(self.client)
    }
}

/// The answer of an authorization request, which the browser posts to the client (OAuth 2.0 Form Post Response Mode).
/// Without script it takes a click.
#[derive(Template)]
#[template(path = "form_post.html")]
pub struct FormPost<'a> {
    /// Who looks, and where.
    pub page: &'a Page<'a>,
    /// A redirect URI of the client.
    pub action: &'a str,
    /// What is said.
    pub fields: &'a [(&'a str, &'a str)],
}

// It holds a code.
impl fmt::Debug for FormPost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FormPost").field("action", &self.action).finish_non_exhaustive()
    }
}

/// One application to which a user allows something.
#[derive(Debug)]
pub struct App<'a> {
    /// The client.
    pub id: &'a ClientId,
    /// What people call it.
    pub name: &'a str,
    /// What it may do.
    pub may: Vec<Wanted<'a>>,
    /// Since when.
    pub since: Time,
}

/// `GET /account/apps`.
#[derive(Debug, Template)]
#[template(path = "apps.html")]
pub struct Apps<'a> {
    /// Who looks, and where.
    pub page: &'a Page<'a>,
    /// The CSRF token of every form.
    pub csrf_token: &'a SecretText,
    /// The applications.
    pub apps: &'a [App<'a>],
    /// How far an end has come that was just asked for.
    pub forbidden: Option<super::Over>,
}

impl Apps<'_> {
    const fn tab(&self) -> &'static str {
        "apps"
    }

    fn done_text(&self) -> Option<String> {
        let words = self.page.words;
        self.forbidden.map(|over| format!("{} {}", words.app_forbidden, words.over(over)))
    }

    fn since(&self, app: &App<'_>) -> Moment {
        Moment::exact(app.since)
    }
}
