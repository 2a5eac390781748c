//! The one check of a client's metadata, whoever brings it: the configuration, the command line, or the client itself.
//! Each value was parsed into its type; here is what depends on several of them, and how much there may be.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{About, AuthMethod, Client, ClientKind};
use crate::{
    data::KEY_BYTES_MAX,
    oauth::{grant::GrantType, uri::RedirectUri},
    subject,
};

/// The most values of one list.
pub const LIST_MAX: usize = 256;

/// The longest audience, in bytes.
const AUDIENCE_BYTES_MAX: usize = 2048;

/// The most names and contacts of one client.
const ABOUT_MAX: usize = 16;

/// What is wrong with one member.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// The member.
    pub field: String,
    /// What is wrong with it. Never its value.
    pub why: String,
}

impl Fault {
    /// What is wrong with a member.
    pub fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self { field: field.into(), why: why.into() }
    }
}

/// All faults in one line.
pub fn faults_text(faults: &[Fault]) -> String {
    let each: Vec<_> =
        faults.iter().map(|fault| format!("{}: {}", fault.field, fault.why)).collect();
    each.join("; ")
}

impl Client {
    /// Reads a client from JSON, and [checks](Self::check) it.
    ///
    /// ```
    /// use symbolon_core::client::Client;
    /// let read = |json: serde_json::Value| Client::read(&json.as_object().cloned().unwrap_or_default(), None);
    /// assert!(read(serde_json::json!({ "id": "shop", "kind": "public" })).is_ok());
    ///
    /// let faults = read(serde_json::json!({ "id": "shop", "kind": 1, "redirect_uris": ["javascript:alert(1)"] }));
    /// let fields: Vec<_> = faults.unwrap_err().into_iter().map(|fault| fault.field).collect();
    /// assert_eq!(fields, ["kind", "redirect_uris"]);
    /// ```
    ///
    /// # Errors
    /// Everything that is wrong, by member.
    pub fn read(members: &Map<String, Value>, issuer: Option<&str>) -> Result<Self, Vec<Fault>> {
        match Self::deserialize(members) {
            Ok(client) => client.check(issuer).map(|()| client),
            Err(error) => Err(faults_of(members, &error)),
        }
    }

    /// Whether it can be as it is, at the server of this issuer, where that is known.
    ///
    /// # Errors
    /// Everything that is wrong, by member.
    pub fn check(&self, issuer: Option<&str>) -> Result<(), Vec<Fault>> {
        let mut faults = Vec::new();
        if let Err(why) = subject::check(self, issuer.unwrap_or_default()) {
            faults.push(Fault::new("subject_type", why.to_string()));
        }
        self.check_proof(&mut faults);
        self.check_uris(&mut faults);
        self.check_sizes(&mut faults);
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// One way to prove itself, as its kind needs it.
    fn check_proof(&self, faults: &mut Vec<Fault>) {
        let public = self.kind == ClientKind::Public;
        if self.jwks.is_some() && self.jwks_uri.is_some() {
            faults
                .push(Fault::new("jwks_uri", "the keys are given twice: leave jwks or this away"));
        }
        if public && self.has_keys() {
            let field = if self.jwks_uri.is_some() { "jwks_uri" } else { "jwks" };
            faults.push(Fault::new(field, "a public client keeps no key"));
        }
        let why = match self.token_endpoint_auth_method {
            Some(AuthMethod::None) if !public => "only a public client does not prove itself",
            Some(method) if public && method != AuthMethod::None => {
                "a public client cannot prove itself"
            }
            Some(AuthMethod::PrivateKeyJwt) if !self.has_keys() => {
                "who signs has keys: give jwks or jwks_uri"
            }
            _ => return,
        };
        faults.push(Fault::new("token_endpoint_auth_method", why));
    }

    fn check_uris(&self, faults: &mut Vec<Fault>) {
        let fits = |uri: &RedirectUri| RedirectUri::parse(uri.as_str(), self.application_type);
        let wrong =
            (1..).zip(&self.redirect_uris).find_map(|(at, uri)| Some((at, fits(uri).err()?)));
        if let Some((at, why)) = wrong {
            faults.push(Fault::new("redirect_uris", format!("value {at}: {why}")));
        }
        if !self.may_be_framed() {
            let why = "it has not the scheme, host and port of one of the redirect_uris";
            faults.push(Fault::new("frontchannel_logout_uri", why));
        }
    }

    fn check_sizes(&self, faults: &mut Vec<Fault>) {
        for (field, length, most) in [
            ("redirect_uris", self.redirect_uris.len(), LIST_MAX),
            ("post_logout_redirect_uris", self.post_logout_redirect_uris.len(), LIST_MAX),
            ("origins", self.origins.len(), LIST_MAX),
            ("audiences", self.audiences.len(), LIST_MAX),
            ("exchange_audiences", self.exchange_audiences.len(), LIST_MAX),
            ("scopes", self.scopes.len(), LIST_MAX),
            ("grant_types", self.grant_types.len(), GrantType::ALL.len()),
            ("browser", self.browser.len(), LIST_MAX),
            ("about.contacts", self.about.contacts.len(), ABOUT_MAX),
            ("about.names", self.about.names.len(), ABOUT_MAX),
        ] {
            if length > most {
                faults.push(Fault::new(field, format!("{length} values are more than {most}")));
            }
        }
        let plain = |text: &String| {
            (1..=AUDIENCE_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control)
        };
        for (field, all) in
            [("audiences", &self.audiences), ("exchange_audiences", &self.exchange_audiences)]
        {
            if !all.iter().all(plain) {
                faults.push(Fault::new(field, "an audience is a text of 1 to 2048 bytes"));
            }
        }
        if !self.browser.keys().all(|key| (1..=KEY_BYTES_MAX).contains(&key.len())) {
            faults.push(Fault::new("browser", "a key of session data has 1 to 128 bytes"));
        }
    }
}

/// Which members are wrong, found by reading each alone.
fn faults_of(members: &Map<String, Value>, error: &serde_json::Error) -> Vec<Fault> {
    let least = json!({ "id": "x", "kind": "public" });
    let mut faults = each_alone::<Client>(&least, members);
    if let Some(about) = members.get("about").and_then(Value::as_object) {
        let inner = each_alone::<About>(&json!({}), about);
        if !inner.is_empty() {
            faults.retain(|fault| fault.field != "about");
            let named = |fault: Fault| Fault::new(format!("about.{}", fault.field), fault.why);
            faults.extend(inner.into_iter().map(named));
        }
    }
    let missing = ["id", "kind"].into_iter().filter(|name| !members.contains_key(*name));
    faults.extend(missing.map(|name| Fault::new(name, "it is missing")));
    if faults.is_empty() {
        faults.push(Fault::new("client", why(error)));
    }
    faults
}

fn each_alone<T: DeserializeOwned>(least: &Value, members: &Map<String, Value>) -> Vec<Fault> {
    let wrong = |(name, value): (&String, &Value)| {
        let mut alone = least.clone();
        alone[name] = value.clone();
        let error = serde_json::from_value::<T>(alone).err()?;
        Some(Fault::new(name, why(&error)))
    };
    members.iter().filter_map(wrong).collect()
}

/// What an error says, without the value that is wrong: it may be a secret.
fn why(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let after = |mark: &str| text.rfind(mark).map(|at| text[at + mark.len()..].to_owned());
    if text.starts_with("unknown field") {
        return "there is no such member".to_owned();
    }
    if ["invalid type", "invalid value", "unknown variant"].iter().any(|it| text.starts_with(it)) {
        let expected = after(", expected ").unwrap_or_else(|| "another value".to_owned());
        return format!("expected {expected}");
    }
    text
}
