//! What every page of the shop shows: who is here, the cart, and all of it in Korean or English.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::{FromRequestParts, Query},
    http::{header::ACCEPT_LANGUAGE, request::Parts},
};
use serde::Deserialize;
use symbolon_guard::{Identity, Refusal};

use crate::{
    goods::{self, Article},
    routes::Shop,
    symbolon::Cart,
};

/// How a request wants to be answered: in which language, and whether the address says so.
#[derive(Debug, Clone)]
pub(crate) struct View {
    korean: bool,
    chosen: bool,
    path: String,
}

#[derive(Deserialize)]
struct Asked {
    ui_locales: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for View {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let asked = Query::<Asked>::try_from_uri(&parts.uri).ok();
        let chosen = asked.and_then(|Query(asked)| is_korean(&asked.ui_locales?));
        let header = parts.headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let korean = chosen.or_else(|| is_korean(header?)).unwrap_or(false);
        Ok(Self { korean, chosen: chosen.is_some(), path: parts.uri.path().to_owned() })
    }
}

/// Whether the first language of ours in a list is Korean. Browsers send the most wanted first.
fn is_korean(languages: &str) -> Option<bool> {
    languages.split([',', ' ']).find_map(|language| match language.get(..2)? {
        "ko" => Some(true),
        "en" => Some(false),
        _ => None,
    })
}

impl View {
    /// A path of the shop, in the language that the visitor chose.
    pub(crate) fn link(&self, path: &str) -> String {
        if self.chosen { format!("{path}?ui_locales={}", self.tag()) } else { path.to_owned() }
    }

    /// A path of Symbolon, in the language of this page; from there the way leads back to the cart.
    pub(crate) fn at(&self, shop: &Shop, path: &str) -> String {
        let (symbolon, public) = (&shop.symbolon_url, &shop.public_url);
        format!("{symbolon}{path}?ui_locales={}&next={public}/cart", self.tag())
    }

    fn tag(&self) -> &'static str {
        self.t("en", "ko")
    }

    fn t<'a>(&self, english: &'a str, korean: &'a str) -> &'a str {
        if self.korean { korean } else { english }
    }
}

/// One line of the cart.
pub(crate) struct Line {
    pub(crate) article: &'static Article,
    pub(crate) pieces: u32,
}

/// What the templates draw from.
pub(crate) struct Page {
    view: View,
    shop: Arc<Shop>,
    identity: Option<Identity>,
    pub(crate) lines: Vec<Line>,
}

impl FromRequestParts<Arc<Shop>> for Page {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shop: &Arc<Shop>) -> Result<Self, Refusal> {
        let Ok(view) = View::from_request_parts(parts, shop).await;
        let identity = parts.extensions.get::<Identity>().cloned();
        let cart = match &identity {
            Some(identity) => shop.symbolon.cart(&identity.session.to_string()).await?,
            None => Cart::default(),
        };
        // What is sold no more is not shown.
        let line = |(id, pieces)| Some(Line { article: goods::find(id)?, pieces });
        let lines = cart.lines().filter_map(line).collect();
        Ok(Self { identity, lines, ..Self::of_nobody(shop, view) })
    }
}

impl Page {
    /// A page for whoever it may be.
    pub(crate) fn of_nobody(shop: &Arc<Shop>, view: View) -> Self {
        Self { view, shop: Arc::clone(shop), identity: None, lines: Vec::new() }
    }

    /// The text in the language of this page.
    pub(crate) fn t<'a>(&self, english: &'a str, korean: &'a str) -> &'a str {
        self.view.t(english, korean)
    }

    pub(crate) fn tag(&self) -> &'static str {
        self.view.tag()
    }

    pub(crate) fn link(&self, path: &str) -> String {
        self.view.link(path)
    }

    pub(crate) fn in_language(&self, tag: &str) -> String {
        format!("{}?ui_locales={tag}", self.view.path)
    }

    pub(crate) fn symbolon(&self, path: &str) -> String {
        self.view.at(&self.shop, path)
    }

    pub(crate) fn is_logged_in(&self) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.subject.is_some())
    }

    pub(crate) fn session(&self) -> Option<String> {
        self.identity.as_ref().map(|identity| identity.session.to_string())
    }

    pub(crate) fn csrf_token(&self) -> String {
        self.identity.as_ref().map(Identity::csrf_token).unwrap_or_default()
    }

    pub(crate) fn goods(&self) -> &'static [Article] {
        goods::GOODS
    }

    pub(crate) fn name(&self, article: &Article) -> &'static str {
        self.t(article.name[0], article.name[1])
    }

    pub(crate) fn about(&self, article: &Article) -> &'static str {
        self.t(article.about[0], article.about[1])
    }

    pub(crate) fn pieces(&self) -> u32 {
        self.lines.iter().map(|line| line.pieces).sum()
    }

    pub(crate) fn total(&self) -> String {
        self.won(self.lines.iter().map(|line| line.article.won * line.pieces).sum())
    }

    /// An amount below a milliard, with its thousands apart.
    pub(crate) fn won(&self, amount: u32) -> String {
        let (millions, thousands, ones) =
            (amount / 1_000_000, amount / 1_000 % 1_000, amount % 1_000);
        match (millions, thousands) {
            (0, 0) => format!("₩{ones}"),
            (0, _) => format!("₩{thousands},{ones:03}"),
            _ => format!("₩{millions},{thousands:03},{ones:03}"),
        }
    }
}
