//! The pages on which somebody types: login, registration, a new password.

use std::time::Duration;

use askama::{Template, filters::HtmlSafe};
use symbolon_core::{password::Refused, secret::SecretText};

use super::{Page, moment, words::Words};

/// Why a form was not accepted. No problem tells a stranger whether a user exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// There is no such user, or the password is another.
    WrongCredentials,
    /// An attempt limit, and how long it lasts.
    TooManyAttempts(Duration),
    /// More password hashes are asked for than can be made.
    Busy,
    /// The form's CSRF token is too old.
    FormExpired,
    /// What was typed is no username.
    InvalidUsername,
    /// Somebody has the name. Only who was invited sees this.
    NameTaken,
    /// The new password is not taken.
    NewPassword(Refused),
    /// The current password is another.
    WrongCurrentPassword,
    /// The invitation does not exist, is used, or has expired.
    WrongInvitation,
    /// No device that waits shows the code.
    WrongUserCode,
}

impl Problem {
    /// The `id` of the field that has to be mended, unless it is the form as a whole.
    const fn field(self) -> Option<&'static str> {
        match self {
            Self::WrongCredentials | Self::TooManyAttempts(_) | Self::Busy | Self::FormExpired => {
                None
            }
            Self::InvalidUsername | Self::NameTaken => Some("username"),
            Self::NewPassword(_) => Some("new_password"),
            Self::WrongCurrentPassword => Some("current_password"),
            Self::WrongInvitation => Some("invitation"),
            Self::WrongUserCode => Some("user_code"),
        }
    }

    fn text(self, words: &Words) -> String {
        match self {
            Self::TooManyAttempts(wait) => words.try_again_in(&moment::wait(wait, words)),
            Self::NewPassword(Refused::TooShort { min }) => words.too_short(min),
            Self::NewPassword(Refused::TooLong { max }) => words.too_long(max),
            Self::NewPassword(Refused::Common) => words.password_common.to_owned(),
            Self::NewPassword(Refused::ContainsName) => words.password_name.to_owned(),
            Self::WrongCredentials => words.wrong_credentials.to_owned(),
            Self::Busy => words.busy.to_owned(),
            Self::FormExpired => words.form_expired.to_owned(),
            Self::InvalidUsername => words.invalid_username.to_owned(),
            Self::NameTaken => words.name_taken.to_owned(),
            Self::WrongCurrentPassword => words.wrong_password.to_owned(),
            Self::WrongInvitation => words.wrong_invitation.to_owned(),
            Self::WrongUserCode => words.wrong_user_code.to_owned(),
        }
    }
}

/// All problems of a form, at its top: read out at once, each linked to its field.
#[derive(Debug, Template)]
#[template(path = "problems.html")]
struct Problems<'a> {
    words: &'a Words,
    problems: &'a [Problem],
}

impl HtmlSafe for Problems<'_> {}

/// One labelled input, with its hint and its problem tied to it. It may hold a secret: no `Debug`.
#[derive(Template)]
#[template(path = "field.html")]
struct Field<'a> {
    /// Also its `name`.
    id: &'a str,
    kind: &'a str,
    label: &'a str,
    value: &'a str,
    autocomplete: &'a str,
    hint: String,
    problem: Option<String>,
    focus: bool,
}

impl HtmlSafe for Field<'_> {}

impl<'a> Field<'a> {
    fn new(id: &'a str, label: &'a str, autocomplete: &'a str) -> Self {
        let kind = if id.ends_with("password") { "password" } else { "text" };
        let (hint, problem) = (String::new(), None);
        Self { id, kind, label, value: "", autocomplete, hint, problem, focus: false }
    }

    fn value(self, value: &'a str) -> Self {
        Self { value, ..self }
    }

    fn hint(self, hint: String) -> Self {
        Self { hint, ..self }
    }

    /// Looks for its own problem; the first field that has one gets the focus, else the one that is `first`.
    fn judged(mut self, problems: &[Problem], words: &Words, first: bool) -> Self {
        let own = problems.iter().find(|problem| problem.field() == Some(self.id));
        let mended_first = problems.iter().find_map(|problem| problem.field());
        self.problem = own.map(|problem| problem.text(words));
        self.focus = mended_first.map_or(first, |id| id == self.id);
        self
    }

    /// The `id`s of what describes it.
    fn described_by(&self) -> String {
        let mut ids = Vec::new();
        if !self.hint.is_empty() {
            ids.push(format!("{}-hint", self.id));
        }
        if self.problem.is_some() {
            ids.push(format!("{}-problem", self.id));
        }
        ids.join(" ")
    }
}

/// Why somebody who did not ask for it sees the login page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginReason {
    /// The page they wanted needs a login.
    LoginNeeded,
    /// Their session has ended.
    SessionEnded,
    /// They are logged in, and the application wants to know that it is still them.
    Again,
}

/// `GET /login`, and the answer to a login that failed.
#[derive(Debug, Template)]
#[template(path = "login.html")]
pub struct Login<'a> {
    /// Who looks, and where.
    pub page: &'a Page<'a>,
    /// The form's CSRF token.
    pub csrf_token: &'a SecretText,
    /// Where to go after login; may be empty. The route that takes the form validates it.
    pub next: &'a str,
    /// What was typed before.
    pub username: &'a str,
    /// Whether the box was ticked before.
    pub remember: bool,
    /// Whether somebody who is logged in shows once more who they are.
    pub again: bool,
    /// Whether one can register.
    pub registration_open: bool,
    /// Why they are here.
    pub reason: Option<LoginReason>,
    /// Why the last attempt failed.
    pub problems: &'a [Problem],
}

impl Login<'_> {
    fn summary(&self) -> Problems<'_> {
        Problems { words: self.page.words, problems: self.problems }
    }

    const fn reason_text(&self) -> Option<&str> {
        match (self.reason, self.problems) {
            (Some(LoginReason::LoginNeeded), []) => Some(self.page.words.login_needed),
            (Some(LoginReason::SessionEnded), []) => Some(self.page.words.session_ended),
            (Some(LoginReason::Again), []) => Some(self.page.words.login_again),
            _ => None,
        }
    }

    fn username_field(&self) -> Field<'_> {
        let words = self.page.words;
        Field::new("username", words.username, "username").value(self.username).judged(
            self.problems,
            words,
            self.username.is_empty(),
        )
    }

    fn password_field(&self) -> Field<'_> {
        let words = self.page.words;
        Field::new("password", words.password, "current-password").judged(
            self.problems,
            words,
            !self.username.is_empty(),
        )
    }
}

/// `GET /register`, and the answer to a registration that cannot be taken as it was typed.
#[derive(Debug, Template)]
#[template(path = "register.html")]
pub struct Register<'a> {
    /// Who looks, and where.
    pub page: &'a Page<'a>,
    /// The form's CSRF token.
    pub csrf_token: &'a SecretText,
    /// Where to go after login; may be empty.
    pub next: &'a str,
    /// What was typed before.
    pub username: &'a str,
    /// The invitation code typed or followed, when one is needed.
    pub invitation: Option<&'a SecretText>,
    /// The least number of characters of a password.
    pub password_length_min: usize,
    /// Why it was not taken. That a name is taken is never a problem: see [`super::Registered`].
    pub problems: &'a [Problem],
}

impl Register<'_> {
    fn summary(&self) -> Problems<'_> {
        Problems { words: self.page.words, problems: self.problems }
    }

    fn username_field(&self) -> Field<'_> {
        let words = self.page.words;
        Field::new("username", words.username, "username")
            .value(self.username)
            .hint(words.username_hint.to_owned())
            .judged(self.problems, words, self.username.is_empty())
    }

    fn password_field(&self) -> Field<'_> {
        let words = self.page.words;
        Field::new("new_password", words.password, "new-password")
            .hint(words.password_hint(self.password_length_min))
            .judged(self.problems, words, !self.username.is_empty())
    }

    fn invitation_field(&self) -> Option<Field<'_>> {
        let words = self.page.words;
        let field = || Field::new("invitation", words.invitation, "off");
        self.invitation.map(|code| field().value(code.expose()).judged(self.problems, words, false))
    }
}

/// `GET /account/password`, and the answer to a change that failed.
#[derive(Debug, Template)]
#[template(path = "password.html")]
pub struct ChangePassword<'a> {
    /// Who looks, and where. Password managers need the user's name.
    pub page: &'a Page<'a>,
    /// The form's CSRF token.
    pub csrf_token: &'a SecretText,
    /// The least number of characters of a password.
    pub password_length_min: usize,
    /// Why it was not changed.
    pub problems: &'a [Problem],
}

impl ChangePassword<'_> {
    fn summary(&self) -> Problems<'_> {
        Problems { words: self.page.words, problems: self.problems }
    }

    const fn tab(&self) -> &'static str {
        "password"
    }

    fn current_field(&self) -> Field<'_> {
        let words = self.page.words;
        Field::new("current_password", words.current_password, "current-password").judged(
            self.problems,
            words,
            true,
        )
    }

    fn new_field(&self) -> Field<'_> {
        let words = self.page.words;
        Field::new("new_password", words.new_password, "new-password")
            .hint(words.password_hint(self.password_length_min))
            .judged(self.problems, words, false)
    }
}

/// `GET /device`, and the answer to a code that no device shows.
#[derive(Debug, Template)]
#[template(path = "device.html")]
pub struct ConnectDevice<'a> {
    /// Who looks, and where.
    pub page: &'a Page<'a>,
    /// The form's CSRF token.
    pub csrf_token: &'a SecretText,
    /// What was typed before, or came with the address.
    pub user_code: &'a str,
    /// Why it was not taken.
    pub problems: &'a [Problem],
}

impl ConnectDevice<'_> {
    fn summary(&self) -> Problems<'_> {
        Problems { words: self.page.words, problems: self.problems }
    }

    fn code_field(&self) -> Field<'_> {
        let words = self.page.words;
        Field::new("user_code", words.user_code, "off")
            .value(self.user_code)
            .hint(words.user_code_hint.to_owned())
            .judged(self.problems, words, true)
    }
}
