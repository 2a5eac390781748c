//! Devices and sessions, as what they are: a tree of browsers and the apps under them, each with what it holds.

use std::net::IpAddr;

use askama::{Template, filters::HtmlSafe};
use symbolon_core::{id::SessionId, secret::SecretText, session::Assurance, time::Time};

use super::{Page, moment::Moment};

/// One session, with the sessions that hang under it.
#[derive(Debug, Clone)]
pub struct Session<'a> {
    /// Its id.
    pub sid: SessionId,
    /// The device, such as `Firefox · Linux`.
    pub device: &'a str,
    /// The name of the client it belongs to, as people know it.
    pub client: &'a str,
    /// Where it was last proven from.
    pub address: IpAddr,
    /// When its user logged in: `auth_time`.
    pub logged_in_at: Time,
    /// When it was last used.
    pub seen_at: Time,
    /// How sure we are who it is.
    pub assurance: Assurance,
    /// Whether it is remembered when the browser closes.
    pub remembered: bool,
    /// Whether it outlives the login of the session that allowed it (`offline_access`).
    pub outlives: bool,
    /// Whether it is the one that asks.
    pub is_this: bool,
    /// The generation of its session cookie, if it has one.
    pub cookie: Option<u64>,
    /// Its token families.
    pub families: Vec<TokenFamily<'a>>,
    /// The sessions that it allowed. They end with it, but for those that [outlive](Self::outlives) it.
    pub children: Vec<Self>,
}

/// One token family of a session.
#[derive(Debug, Clone, Copy)]
pub struct TokenFamily<'a> {
    /// The name of the client that holds it.
    pub client: &'a str,
    /// How often its refresh token was rotated.
    pub generation: u64,
}

/// How far an end has come when the page is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// It is refused everywhere.
    After {
        /// How long that took, in milliseconds.
        ms: u64,
    },
    /// A service has not confirmed it yet.
    NotYet,
}

/// What was just done, told once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// One session has ended.
    Ended(Over),
    /// All others have ended.
    OthersEnded {
        /// How many.
        count: u64,
        /// How far that has come.
        over: Over,
    },
    /// The password is changed, and everything of before has ended.
    PasswordChanged(Over),
}

/// `GET /account`.
#[derive(Debug, Template)]
#[template(path = "account.html")]
pub struct Account<'a> {
    /// Who looks, and where.
    pub page: &'a Page<'a>,
    /// The CSRF token of every form.
    pub csrf_token: &'a SecretText,
    /// The moment it is looked at.
    pub now: Time,
    /// The trees, in the order in which they are shown.
    pub sessions: &'a [Session<'a>],
    /// What was just done.
    pub done: Option<Done>,
}

impl Account<'_> {
    fn done_text(&self) -> Option<String> {
        let words = self.page.words;
        self.done.map(|done| match done {
            Done::Ended(over) => words.one_ended(over),
            Done::OthersEnded { count, over } => words.others_ended(count, over),
            Done::PasswordChanged(over) => {
                format!("{} {}", words.password_changed, words.over(over))
            }
        })
    }

    const fn tab(&self) -> &'static str {
        "account"
    }

    fn node<'a>(
        &'a self,
        session: &'a Session<'a>,
        parent: Option<&'a Session<'a>>,
        depth: usize,
    ) -> Node<'a> {
        Node { account: self, page: self.page, session, parent, depth }
    }
}

/// A session of the tree and, by recursion, what hangs under it.
#[derive(Debug, Template)]
#[template(path = "session.html")]
struct Node<'a> {
    account: &'a Account<'a>,
    page: &'a Page<'a>,
    session: &'a Session<'a>,
    parent: Option<&'a Session<'a>>,
    depth: usize,
}

impl HtmlSafe for Node<'_> {}

impl Node<'_> {
    /// The level of its heading: a browser stands under the page's own, an app under its browser's.
    fn level(&self) -> usize {
        (2 + self.depth).min(6)
    }

    /// A browser is known by its device, an app by its client.
    const fn name(&self) -> &str {
        if self.is_browser() { self.session.device } else { self.session.client }
    }

    const fn is_browser(&self) -> bool {
        self.parent.is_none() && !self.session.outlives
    }

    /// The other of the two, unless the parent has just said it.
    fn about(&self) -> Option<&str> {
        match self.parent {
            None if self.is_browser() => Some(self.session.client),
            None => Some(self.session.device),
            Some(parent) if parent.device == self.session.device => None,
            Some(_) => Some(self.session.device),
        }
    }

    fn seen(&self) -> Moment {
        Moment::ago(self.session.seen_at, self.account.now, self.page.words)
    }

    fn logged_in(&self) -> Moment {
        Moment::exact(self.session.logged_in_at)
    }

    /// What can still prove it, each with its generation: the cookie, then the token families.
    fn holds(&self) -> Vec<(String, String)> {
        let words = self.page.words;
        let cookie = self.session.cookie.map(|generation| (words.cookie.to_owned(), generation));
        let tokens = |family: &TokenFamily<'_>| {
            (format!("{}: {}", words.tokens, family.client), family.generation)
        };
        cookie
            .into_iter()
            .chain(self.session.families.iter().map(tokens))
            .map(|(what, generation)| (what, words.generation(generation)))
            .collect()
    }

    const fn assurance(&self) -> &str {
        match self.session.assurance {
            Assurance::Aal1 => self.page.words.one_factor,
            Assurance::Aal2 => self.page.words.two_factors,
        }
    }
}
