//! An authorization request (RFC 6749, section 4.1.1; OpenID Connect Core, section 3.1.2.1), from the moment on when it
//! is known which client it comes from and where to answer it: what can be wrong with it, and what must hold before the
//! client gets a code.
//!
//! | module item | says |
//! |---|---|
//! | [`Request::read`] | what is asked for, or the error that goes back to the client |
//! | [`STEPS`] | what must hold, in which order, and what the browser is shown where it does not |
//!
//! ```
//! use symbolon_core::{client::Client, oauth::authorization::{Page, Request, Seen}, time::Time};
//!
//! let client: Client = serde_json::from_str(r#"{
//!     "id": "shop", "kind": "confidential", "first_party": true, "redirect_uris": ["https://shop.example/in"]
//! }"#)?;
//! let parameters = [
//!     ("response_type", "code"),
//!     ("scope", "openid"),
//!     ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
//!     ("code_challenge_method", "S256"),
//! ];
//! let request = Request::read(&client, |name| {
//!     parameters.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
//! })?;
//! // Nobody is logged in.
//! let seen = Seen::nobody(Time::from_secs(1_800_000_000));
//! assert_eq!(request.next(&seen), Ok(Some(Page::Login)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::time::Duration;

use serde_json::Value;

use super::{
    grant::GrantType,
    jwk::Thumbprint,
    pkce::{self, Challenge, InvalidPkce},
};
use crate::{
    client::{Client, ClientKind},
    id::UserId,
    scope,
    session::{Assurance, Login},
    time::Time,
};

/// The longest `nonce`, `state` or `login_hint`, in bytes.
pub const TEXT_BYTES_MAX: usize = 1024;

/// The most scopes of one request, repetitions included.
pub const SCOPES_MAX: usize = 32;

/// How long a page on the way (the login, the consent) may stay open before the question begins anew.
pub const ASKED_MAX: Duration = Duration::from_hours(1);

/// An error for the client: its code (RFC 6749, section 4.1.2.1; OpenID Connect Core, section 3.1.2.6), and what it
/// says to the people who write the client. Never anything that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{error}: {says}")]
pub struct Fault {
    /// What programs compare.
    pub error: &'static str,
    /// What people read.
    pub says: &'static str,
}

const fn fault(error: &'static str, says: &'static str) -> Fault {
    Fault { error, says }
}

const fn invalid(says: &'static str) -> Fault {
    fault("invalid_request", says)
}

/// How the answer travels (OAuth 2.0 Multiple Response Types; OAuth 2.0 Form Post).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ResponseMode {
    /// In the query of the redirect URI.
    #[default]
    Query,
    /// In a form that the browser posts there.
    FormPost,
}

impl ResponseMode {
    /// Every mode, by its name.
    pub const ALL: [(&'static str, Self); 2] =
        [("query", Self::Query), ("form_post", Self::FormPost)];

    /// The mode that a request asks for. `None`: there is no such mode.
    pub fn read(text: Option<&str>) -> Option<Self> {
        let Some(text) = text else { return Some(Self::default()) };
        Self::ALL.into_iter().find(|(name, _)| *name == text).map(|(_, mode)| mode)
    }
}

/// The values of `prompt` that are answered.
pub const PROMPTS: [&str; 4] = ["none", "login", "consent", "select_account"];

/// What the client wants to be shown, whether or not it is needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Prompt {
    none: bool,
    login: bool,
    consent: bool,
    select_account: bool,
}

impl Prompt {
    fn read(text: &str) -> Result<Self, Fault> {
        let mut prompt = Self::default();
        for value in text.split(' ').filter(|value| !value.is_empty()) {
            match value {
                "none" => prompt.none = true,
                "login" => prompt.login = true,
                "consent" => prompt.consent = true,
                "select_account" => prompt.select_account = true,
                _ => return Err(invalid("prompt has a value that the metadata does not list")),
            }
        }
        if prompt.none && prompt != (Self { none: true, ..Self::default() }) {
            return Err(invalid("prompt=none goes with no other value"));
        }
        Ok(prompt)
    }
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// How the answer travels.
    pub response_mode: ResponseMode,
    /// What the verifier must fit. None only for a client that need not send one.
    pub challenge: Option<Challenge>,
    /// What of the asked scope the client may have, separated by spaces, in the order in which it was asked.
    pub scope: Box<str>,
    /// What the ID token repeats.
    pub nonce: Option<Box<str>>,
    /// For which resource server (RFC 8707); one of the client's audiences.
    pub resource: Option<Box<str>>,
    /// The key without which the code is of no use (`dpop_jkt`: RFC 9449, section 10).
    pub key: Option<Thumbprint>,
    /// Who the client thinks will log in: for the login page.
    pub login_hint: Option<Box<str>>,
    /// The languages of the pages, best first.
    pub ui_locales: Option<Box<str>>,
    /// An ID token of whoever the client thinks is logged in. The edge verifies it.
    pub id_token_hint: Option<Box<str>>,
    prompt: Prompt,
    max_age: Option<Duration>,
    assurance: Option<Assurance>,
    first_party: bool,
}

impl Request {
    /// Reads the parameters. Unknown ones are passed over (RFC 6749, section 3.1).
    ///
    /// # Errors
    /// The first [`Fault`]; it goes back to the client.
    pub fn read<'a>(client: &Client, get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, Fault> {
        match get("response_type") {
            Some("code") => {}
            None => return Err(invalid("response_type is missing")),
            Some(_) => {
                return Err(fault("unsupported_response_type", "response_type must be code"));
            }
        }
        if client.kind == ClientKind::Resource || !client.may_use(GrantType::AuthorizationCode) {
            return Err(fault("unauthorized_client", "the client logs nobody in by a code"));
        }
        let response_mode = ResponseMode::read(get("response_mode"))
            .ok_or(invalid("response_mode must be query or form_post"))?;
        let text = |name, says| match get(name) {
            Some(text) if text.len() > TEXT_BYTES_MAX => Err(invalid(says)),
            text => Ok(text.map(Into::into)),
        };
        text("state", "state is longer than 1024 bytes")?;
        let max_age = get("max_age").map(|text| {
            let secs = text.parse().map_err(|_| invalid("max_age is a number of seconds"));
            secs.map(Duration::from_secs)
        });
        let key = get("dpop_jkt").map(|text| {
            text.parse().map_err(|_| invalid("dpop_jkt must be the SHA-256 thumbprint of a key"))
        });
        Ok(Self {
            response_mode,
            challenge: challenge(client, &get)?,
            scope: scopes(client, get("scope").unwrap_or_default())?,
            nonce: text("nonce", "nonce is longer than 1024 bytes")?,
            resource: resource(client, get("resource"))?,
            key: key.transpose()?,
            login_hint: text("login_hint", "login_hint is longer than 1024 bytes")?,
            ui_locales: text("ui_locales", "ui_locales is longer than 1024 bytes")?,
            id_token_hint: get("id_token_hint").map(Into::into),
            prompt: Prompt::read(get("prompt").unwrap_or_default())?,
            max_age: max_age.transpose()?,
            assurance: assurance(get("claims"))?.max(stepped_up(get("acr_values"))),
            first_party: client.first_party,
        })
    }

    /// The page that the browser needs next. `None`: every step is done, and the client may have a code.
    ///
    /// # Errors
    /// What the client hears that wanted no page, or whose wish nobody can grant.
    pub fn next(&self, seen: &Seen<'_>) -> Result<Option<Page>, Fault> {
        let undone = STEPS.iter().find(|step| !(step.holds)(self, seen));
        let Some(step) = undone else {
            let assurance = seen.login.map(|login| login.assurance);
            return if assurance >= self.assurance { Ok(None) } else { Err(UNMET) };
        };
        if self.prompt.none { Err(step.otherwise) } else { Ok(Some(step.page)) }
    }

    /// Whether somebody proved who they are as lately as the client wants: after it asked (`prompt=login`), or at most
    /// so long before (`max_age`).
    fn is_fresh(&self, seen: &Seen<'_>) -> bool {
        let Some(login) = seen.login else { return false };
        let since_asked = || seen.asked_at.is_some_and(|asked| login.at >= asked);
        let reference = seen.asked_at.unwrap_or(seen.now);
        (!self.prompt.login || since_asked())
            && self.max_age.is_none_or(|age| login.at + age >= reference)
    }

    /// Whether the person has chosen this account: on the page, or by logging in for this very request.
    fn account_is_chosen(&self, seen: &Seen<'_>) -> bool {
        let just_now =
            || seen.login.zip(seen.asked_at).is_some_and(|(login, asked)| login.at >= asked);
        !self.prompt.select_account || seen.approved || just_now()
    }

    /// Whether the person has allowed this scope to this client: now, or before. Nobody is asked for our own clients.
    fn is_allowed(&self, seen: &Seen<'_>) -> bool {
        let before = |allowed| scope::is_within(&self.scope, allowed);
        seen.approved
            || !self.prompt.consent && (self.first_party || seen.allowed.is_some_and(before))
    }
}

/// The challenge (RFC 7636). Only a client that can prove itself, and says so, may do without.
fn challenge<'a>(
    client: &Client,
    get: &impl Fn(&str) -> Option<&'a str>,
) -> Result<Option<Challenge>, Fault> {
    let required = client.kind == ClientKind::Public || client.pkce_required;
    let requested = pkce::requested(get("code_challenge"), get("code_challenge_method"), required);
    requested.map_err(|invalid_pkce| {
        invalid(match invalid_pkce {
            InvalidPkce::Missing => "code_challenge is missing",
            InvalidPkce::Method => "code_challenge_method must be S256",
            InvalidPkce::MethodAlone => "code_challenge_method without code_challenge",
            InvalidPkce::Challenge(_) => "code_challenge must be an S256 challenge",
        })
    })
}

fn scopes(client: &Client, asked: &str) -> Result<Box<str>, Fault> {
    let names = asked.split(' ').filter(|name| !name.is_empty());
    if !names.clone().all(|name| name.parse::<scope::Scope>().is_ok()) {
        return Err(fault("invalid_scope", "scope has a name that none has"));
    }
    if names.count() > SCOPES_MAX {
        return Err(fault("invalid_scope", "more than 32 scopes"));
    }
    Ok(client.scope(asked))
}

fn resource(client: &Client, asked: Option<&str>) -> Result<Option<Box<str>>, Fault> {
    let Some(asked) = asked else { return Ok(None) };
    client
        .audience(Some(asked))
        .map(|audience| Some(audience.into()))
        .ok_or(fault("invalid_target", "resource is none of the client's audiences"))
}

/// The assurance that `acr_values` asks for: the lowest of our levels in it, because an API may have refused less (RFC 9470,
/// section 5). What others call their levels is a mere wish (OpenID Connect Core, section 3.1.2.1): it is answered by what
/// there is, and the ID token says which.
fn stepped_up(acr_values: Option<&str>) -> Option<Assurance> {
    let listed = |level: &Assurance| acr_values?.split(' ').find(|value| *value == level.as_str());
    Assurance::ALL.into_iter().find(|level| listed(level).is_some())
}

/// The assurance that the `claims` parameter makes essential (OpenID Connect Core, section 5.5.1.1).
fn assurance(claims: Option<&str>) -> Result<Option<Assurance>, Fault> {
    let Some(claims) = claims else { return Ok(None) };
    let claims: Value = serde_json::from_str(claims)
        .ok()
        .filter(Value::is_object)
        .ok_or(invalid("claims is no JSON object"))?;
    let acr = &claims["id_token"]["acr"];
    if acr["essential"] != true {
        return Ok(None);
    }
    let listed = acr["values"].as_array().map(Vec::as_slice).unwrap_or_default();
    let wanted = |level: &Assurance| {
        [&acr["value"]].into_iter().chain(listed).any(|value| value == level.as_str())
    };
    if acr["value"].is_null() && listed.is_empty() {
        return Ok(None);
    }
    Assurance::ALL.into_iter().find(wanted).map(Some).ok_or(UNMET)
}

const UNMET: Fault = fault(
    "unmet_authentication_requirements",
    "nobody can log in here with the assurance that is asked for",
);

/// Who sits at the browser, and what they have said.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The login of the browser session.
    pub login: Option<&'a Login>,
    /// The same person, as the client knows them: `sub`.
    pub subject: Option<UserId>,
    /// Who the client thinks it is, by an ID token of ours.
    pub hinted: Option<UserId>,
    /// When this very request was seen first, if this server marked it then: a login after that moment is an answer to it.
    pub asked_at: Option<Time>,
    /// What the user has allowed to this client before.
    pub allowed: Option<&'a str>,
    /// Whether the person has just approved exactly this request, on our page.
    pub approved: bool,
    /// The moment.
    pub now: Time,
}

impl Seen<'_> {
    /// A browser in which nobody is logged in.
    pub const fn nobody(now: Time) -> Self {
        Self {
            login: None,
            subject: None,
            hinted: None,
            asked_at: None,
            allowed: None,
            approved: false,
            now,
        }
    }

    fn is_who_was_meant(&self) -> bool {
        self.subject.zip(self.hinted).is_none_or(|(subject, hinted)| subject == hinted)
    }
}

/// What the browser is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// The login.
    Login,
    /// The login, although somebody is logged in.
    LoginAgain,
    /// Who is logged in, what the client wants, and whether it shall have it.
    Consent,
}

/// One step on the way to a code.
#[derive(Debug)]
pub struct Step {
    /// Whether it is done.
    pub holds: fn(&Request, &Seen<'_>) -> bool,
    /// What the browser is shown otherwise.
    pub page: Page,
    /// What a client hears otherwise that wants nothing to be shown (`prompt=none`).
    pub otherwise: Fault,
}

/// What must hold before a client gets a code, in this order.
pub const STEPS: &[Step] = &[
    Step {
        holds: |_, seen| seen.login.is_some(),
        page: Page::Login,
        otherwise: fault("login_required", "nobody is logged in"),
    },
    Step {
        holds: |_, seen| seen.is_who_was_meant(),
        page: Page::LoginAgain,
        otherwise: fault("login_required", "somebody else is logged in"),
    },
    Step {
        holds: Request::is_fresh,
        page: Page::LoginAgain,
        otherwise: fault("login_required", "the login is older than is asked for"),
    },
    Step {
        holds: Request::account_is_chosen,
        page: Page::Consent,
        otherwise: fault("account_selection_required", "nobody has chosen the account"),
    },
    Step {
        holds: Request::is_allowed,
        page: Page::Consent,
        otherwise: fault("consent_required", "the user has not allowed this to the client"),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{session::Method, user::Epoch};

    const NOW: Time = Time::from_secs(1_800_000_000);
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    fn client(more: &Value) -> Client {
        let mut client = serde_json::json!({
            "id": "shop", "kind": "confidential", "redirect_uris": ["https://shop.example/in"],
            "audiences": ["https://api.example"], "scopes": ["cart"],
        });
        client.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(client).unwrap()
    }

    fn read(client: &Client, changes: &[(&str, &str)]) -> Result<Request, Fault> {
        let usual = [
            ("response_type", "code"),
            ("scope", "openid"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        Request::read(client, |name| {
            let all = changes.iter().chain(&usual);
            let mut found = all.filter(|(own, _)| *own == name).map(|(_, value)| *value);
            found.next().filter(|value| !value.is_empty())
        })
    }

    fn login(at: Time) -> Login {
        Login {
            user: UserId::from_bytes([7; 16]),
            epoch: Epoch(1),
            at,
            methods: vec![Method::Pwd],
            assurance: Assurance::Aal1,
            remembered: false,
        }
    }

    #[test]
    fn each_fault_has_its_error() {
        let long = "n".repeat(TEXT_BYTES_MAX + 1);
        let scopes = "s ".repeat(33);
        for (change, error) in [
            (("response_type", ""), "invalid_request"),
            (("response_type", "token"), "unsupported_response_type"),
            (("response_type", "code id_token"), "unsupported_response_type"),
            (("response_mode", "fragment"), "invalid_request"),
            (("code_challenge", ""), "invalid_request"),
            (("code_challenge", "short"), "invalid_request"),
            (("code_challenge_method", ""), "invalid_request"),
            (("code_challenge_method", "plain"), "invalid_request"),
            (("prompt", "create"), "invalid_request"),
            (("prompt", "none login"), "invalid_request"),
            (("max_age", "-1"), "invalid_request"),
            (("max_age", "soon"), "invalid_request"),
            (("nonce", &long), "invalid_request"),
            (("state", &long), "invalid_request"),
            (("scope", "open\"id"), "invalid_scope"),
            (("scope", &scopes), "invalid_scope"),
            (("resource", "https://other.example"), "invalid_target"),
            (("claims", "[]"), "invalid_request"),
            (("claims", "{"), "invalid_request"),
            (
                ("claims", r#"{"id_token":{"acr":{"essential":true,"values":["aal3"]}}}"#),
                "unmet_authentication_requirements",
            ),
        ] {
            let read = read(&client(&serde_json::json!({})), &[change]);
            assert_eq!(read.map_err(|fault| fault.error).err(), Some(error), "{change:?}");
        }
        let resource = client(&serde_json::json!({ "kind": "resource" }));
        assert_eq!(read(&resource, &[]).unwrap_err().error, "unauthorized_client");
    }

    #[test]
    fn only_a_client_that_authenticates_may_do_without_a_challenge() {
        let without = [("code_challenge", ""), ("code_challenge_method", "")];
        for (kind, required, may) in [
            ("confidential", true, false),
            ("confidential", false, true),
            ("public", true, false),
            ("public", false, false),
        ] {
            let client = client(&serde_json::json!({ "kind": kind, "pkce_required": required }));
            assert_eq!(read(&client, &without).is_ok(), may, "{kind} {required}");
            // Who sends one is held to it.
            assert!(read(&client, &[]).unwrap().challenge.is_some());
            let plain = [("code_challenge_method", "plain")];
            assert!(read(&client, &plain).is_err());
        }
    }

    /// What is shown, or what is heard: in words.
    fn next(request: &Request, seen: &Seen<'_>) -> &'static str {
        match request.next(seen) {
            Ok(None) => "code",
            Ok(Some(Page::Login)) => "login",
            Ok(Some(Page::LoginAgain)) => "again",
            Ok(Some(Page::Consent)) => "consent",
            Err(fault) => fault.error,
        }
    }

    #[test]
    fn the_steps_in_their_order() {
        let ours = client(&serde_json::json!({ "first_party": true }));
        let theirs = client(&serde_json::json!({}));
        let old = login(NOW - Duration::from_secs(100));
        let new = login(NOW);
        let (openid, more) = ("openid", "openid cart");
        let nobody = Seen::nobody(NOW);
        let somebody = Seen { login: Some(&old), subject: Some(old.user), ..nobody };
        let asked = Seen { asked_at: Some(NOW - Duration::from_secs(1)), ..somebody };
        let other = Some(UserId::from_bytes([8; 16]));
        for (client, prompt, seen, interactive, none) in [
            (&ours, "", nobody, "login", "login_required"),
            (&ours, "", somebody, "code", "code"),
            (&ours, "", Seen { hinted: Some(old.user), ..somebody }, "code", "code"),
            (&ours, "", Seen { hinted: other, ..somebody }, "again", "login_required"),
            // prompt=login is answered by a login after the question, and by no other.
            (&ours, "login", somebody, "again", ""),
            (&ours, "login", asked, "again", ""),
            (&ours, "login", Seen { login: Some(&new), ..asked }, "code", ""),
            (&ours, "login", Seen { login: Some(&new), asked_at: None, ..asked }, "again", ""),
            (&ours, "select_account", somebody, "consent", ""),
            (&ours, "select_account", Seen { approved: true, ..somebody }, "code", ""),
            (&ours, "select_account", Seen { login: Some(&new), ..asked }, "code", ""),
            (&ours, "consent", somebody, "consent", ""),
            (&ours, "consent", Seen { approved: true, ..somebody }, "code", ""),
            (&theirs, "", somebody, "consent", "consent_required"),
            (&theirs, "", Seen { allowed: Some(openid), ..somebody }, "code", "code"),
            (&theirs, "", Seen { allowed: Some(more), ..somebody }, "code", "code"),
            (&theirs, "consent", Seen { allowed: Some(more), ..somebody }, "consent", ""),
            (&theirs, "login consent", Seen { login: Some(&new), ..asked }, "consent", ""),
        ] {
            let request = read(client, &[("prompt", prompt)]).unwrap();
            assert_eq!(next(&request, &seen), interactive, "{prompt} {seen:?}");
            if prompt.is_empty() {
                let request = read(client, &[("prompt", "none")]).unwrap();
                assert_eq!(next(&request, &seen), none, "{seen:?}");
            }
        }
        // A wider scope is asked again.
        let request = read(&theirs, &[("scope", "openid cart")]).unwrap();
        let seen = Seen { allowed: Some(openid), ..somebody };
        assert_eq!(next(&request, &seen), "consent");
    }

    #[test]
    fn an_age_counts_from_the_question() {
        let ours = client(&serde_json::json!({ "first_party": true }));
        let old = login(NOW - Duration::from_secs(100));
        let new = login(NOW);
        let seen = Seen { login: Some(&old), ..Seen::nobody(NOW) };
        let aged = |age| read(&ours, &[("max_age", age)]).unwrap();
        assert_eq!(next(&aged("100"), &seen), "code");
        assert_eq!(next(&aged("99"), &seen), "again");
        assert_eq!(next(&aged("0"), &seen), "again");
        // A login for this question is never too old for it, however long the page stays open.
        let later = NOW + Duration::from_secs(600);
        let answered = Seen { login: Some(&new), asked_at: Some(NOW), now: later, ..seen };
        assert_eq!(next(&aged("0"), &answered), "code");
        assert_eq!(next(&aged("0"), &Seen { asked_at: None, ..answered }), "again");
    }

    #[test]
    fn only_an_essential_assurance_is_insisted_on() {
        let ours = client(&serde_json::json!({ "first_party": true }));
        let login = login(NOW);
        let seen = Seen { login: Some(&login), ..Seen::nobody(NOW) };
        for (claims, expected) in [
            (r#"{"userinfo":{"name":null}}"#, "code"),
            (r#"{"id_token":{"acr":null}}"#, "code"),
            (r#"{"id_token":{"acr":{"values":["aal2"]}}}"#, "code"),
            (r#"{"id_token":{"acr":{"essential":true}}}"#, "code"),
            (r#"{"id_token":{"acr":{"essential":true,"value":"aal1"}}}"#, "code"),
            (r#"{"id_token":{"acr":{"essential":true,"values":["aal3","aal1"]}}}"#, "code"),
            (
                r#"{"id_token":{"acr":{"essential":true,"values":["aal2"]}}}"#,
                "unmet_authentication_requirements",
            ),
        ] {
            let request = read(&ours, &[("claims", claims)]).unwrap();
            assert_eq!(next(&request, &seen), expected, "{claims}");
        }
        // An API may have refused less than one of these. What is no level of ours is a wish.
        for (acr_values, expected) in [
            ("1 2", "code"),
            ("aal1", "code"),
            ("aal2 aal1", "code"),
            ("aal2", "unmet_authentication_requirements"),
            ("aal3 aal2", "unmet_authentication_requirements"),
        ] {
            let request = read(&ours, &[("acr_values", acr_values)]).unwrap();
            assert_eq!(next(&request, &seen), expected, "{acr_values}");
        }
    }
}
