//! Clients that register themselves (RFC 7591, RFC 7592; OpenID Connect Dynamic Client Registration 1.0): their metadata
//! in the words of the standards, as a client, and back.
//!
//! What such a client may have is the server's [`Policy`] to say. It is never one of ours: consent is asked for it, and
//! nothing that takes trust is open to it. Members that nobody here knows are passed over (RFC 7591, section 2), unless
//! they ask for a protection that there is not: then the client hears so, rather than believe that it has it.
//!
//! ```
//! use symbolon_core::oauth::registration::{Policy, client, metadata};
//!
//! let policy = Policy::default();
//! let json = br#"{"redirect_uris": ["https://shop.example/in"], "client_name": "Shop", "mood": "good"}"#;
//! let shop = client(&"dyn-1".parse()?, json, &policy)?;
//! let told = metadata(&shop);
//! assert_eq!(told["token_endpoint_auth_method"], "client_secret_basic");
//! assert_eq!(told["grant_types"], serde_json::json!(["authorization_code"]));
//! assert!(!shop.first_party && !told.contains_key("mood"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use serde_json::{Map, Value, json};

use super::grant::GrantType;
use crate::{
    client::{AuthMethod, Client, ClientId, ClientKind, Fault, Language, faults_text},
    scope::{STANDARD, Scope},
    secret::SecretText,
    subject::{SubjectType, sector_of},
    token::json::Unambiguous,
};

/// The longest metadata of one client, in bytes.
pub const METADATA_BYTES_MAX: usize = 64 * 1024;

/// What clients that register themselves may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The scopes that they may ask for, besides the standard ones.
    pub scopes: Vec<Scope>,
    /// The grants that they may use.
    pub grant_types: Vec<GrantType>,
    /// The audiences that their access tokens can be for. None: userinfo alone.
    pub audiences: Vec<String>,
    /// Whether their authorization requests need a code challenge, also of those that prove who they are.
    pub pkce_required: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            scopes: Vec::new(),
            grant_types: GrantType::DEFAULT.into(),
            audiences: Vec::new(),
            pkce_required: true,
        }
    }
}

/// Why metadata is refused (RFC 7591, section 3.2.2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// `invalid_redirect_uri`: with a redirect URI, or because one is missing.
    #[error("{0}")]
    RedirectUri(String),
    /// `invalid_client_metadata`: with any other member.
    #[error("{0}")]
    Metadata(String),
}

impl Refused {
    fn of(faults: &[Fault]) -> Self {
        let text = faults_text(faults);
        let redirect = faults.iter().any(|fault| fault.field == "redirect_uris");
        if redirect { Self::RedirectUri(text) } else { Self::Metadata(text) }
    }

    fn one(field: &str, why: &str) -> Self {
        Self::of(&[Fault::new(field, why)])
    }
}

/// Members that are called the same here.
const SAME: [&str; 18] = [
    "redirect_uris",
    "post_logout_redirect_uris",
    "backchannel_logout_uri",
    "backchannel_logout_session_required",
    "frontchannel_logout_uri",
    "frontchannel_logout_session_required",
    "application_type",
    "require_pushed_authorization_requests",
    "dpop_bound_access_tokens",
    "default_max_age",
    "require_auth_time",
    "request_object_signing_alg",
    "token_endpoint_auth_method",
    "token_endpoint_auth_signing_alg",
    "jwks",
    "jwks_uri",
    "subject_type",
    "sector_identifier_uri",
];

/// Members that have another name here: theirs, and ours.
const RENAMED: [(&str, &str); 4] = [
    ("client_name", "name"),
    ("grant_types", "grant_types"),
    ("id_token_signed_response_alg", "id_token_algorithm"),
    ("userinfo_signed_response_alg", "userinfo_algorithm"),
];

/// Members that are for people.
const ABOUT: [&str; 8] = [
    "client_uri",
    "logo_uri",
    "policy_uri",
    "tos_uri",
    "initiate_login_uri",
    "contacts",
    "software_id",
    "software_version",
];

/// Protections that there are not.
const LACKING: [&str; 8] = [
    "id_token_encrypted_response_alg",
    "id_token_encrypted_response_enc",
    "userinfo_encrypted_response_alg",
    "userinfo_encrypted_response_enc",
    "request_object_encryption_alg",
    "request_object_encryption_enc",
    "tls_client_certificate_bound_access_tokens",
    "require_signed_request_object",
];

/// A name in a language: RFC 7591, section 2.2.
const NAME_IN: &str = "client_name#";

/// Reads the metadata of a client that gets this id. Its secret, its registration access token and its times are the
/// caller's to set.
///
/// # Errors
/// [`Refused`], with everything that is wrong.
pub fn client(id: &ClientId, json: &[u8], policy: &Policy) -> Result<Client, Refused> {
    let asked = members(json)?;
    if let Some(name) = LACKING.iter().find(|name| asked.get(**name).is_some_and(is_wanted)) {
        return Err(Refused::one(name, "this server does not do that"));
    }
    let mut own = Map::new();
    let mut about = Map::new();
    let mut names = Map::new();
    for (name, value) in &asked {
        if let Some(language) = name.strip_prefix(NAME_IN) {
            names.insert(language.to_owned(), value.clone());
        } else if ABOUT.contains(&name.as_str()) {
            about.insert(name.clone(), value.clone());
        } else if SAME.contains(&name.as_str()) {
            own.insert(name.clone(), value.clone());
        } else if let Some((_, ours)) = RENAMED.iter().find(|(theirs, _)| theirs == name) {
            own.insert((*ours).to_owned(), value.clone());
        }
    }
    about.insert("names".to_owned(), names.into());
    let method = asked.get("token_endpoint_auth_method").and_then(Value::as_str);
    let kind = if method == Some(AuthMethod::None.as_str()) { "public" } else { "confidential" };
    own.extend([
        ("id".to_owned(), id.as_str().into()),
        ("kind".to_owned(), kind.into()),
        ("about".to_owned(), about.into()),
    ]);
    own.entry("grant_types").or_insert_with(|| json!([GrantType::AuthorizationCode]));
    own.entry("token_endpoint_auth_method")
        .or_insert_with(|| AuthMethod::ClientSecretBasic.as_str().into());
    let client = Client::read(&own, None).map_err(|faults| Refused::of(&in_their_words(faults)))?;
    let scopes = scopes(asked.get("scope"), policy)?;
    check_grants(&client, &asked, policy)?;
    check_sector(&client)?;
    Ok(Client {
        scopes,
        audiences: policy.audiences.clone(),
        pkce_required: policy.pkce_required,
        ..client
    })
}

/// Members that a client is told and never says (RFC 7592, section 2.2).
const TOLD: [&str; 4] = [
    "registration_access_token",
    "registration_client_uri",
    "client_secret_expires_at",
    "client_id_issued_at",
];

/// Reads the metadata with which a client replaces all of its own (RFC 7592, section 2.2). Its secret goes where it needs
/// none any more; where it needs one for the first time, that is the caller's to set.
///
/// # Errors
/// [`Refused`], with everything that is wrong.
pub fn update(old: &Client, json: &[u8], policy: &Policy) -> Result<Client, Refused> {
    let asked = members(json)?;
    if let Some(name) = TOLD.into_iter().find(|name| asked.contains_key(*name)) {
        return Err(Refused::one(name, "it is not the client's to say"));
    }
    if asked.get("client_id").and_then(Value::as_str) != Some(old.id.as_str()) {
        return Err(Refused::one("client_id", "it is missing, or another client's"));
    }
    if let Some(said) = asked.get("client_secret") {
        let said = said.as_str().map(|text| SecretText::new(text.to_owned()));
        if !said.zip(old.secret).is_some_and(|(said, digest)| digest.matches(&said)) {
            return Err(Refused::one("client_secret", "it is another than the client's"));
        }
    }
    let new = client(&old.id, json, policy)?;
    // Its tokens would name their users anew (OpenID Connect Core, section 12.2), as another sector knows them.
    if sector_of(old) != sector_of(&new) {
        let why =
            "users keep their ids, so it stays as it is, and so does the sector: register anew";
        return Err(Refused::one("subject_type", why));
    }
    Ok(Client {
        secret: old.secret.filter(|_| new.keeps_secret()),
        registration: old.registration,
        version: old.version,
        added_at: old.added_at,
        ..new
    })
}

/// An object in which no member stands twice. What is `null` or an empty text is as good as left out (RFC 7592, section
/// 2.2).
fn members(json: &[u8]) -> Result<Map<String, Value>, Refused> {
    let malformed = || {
        Refused::Metadata("the metadata is no JSON object of members that stand once".to_owned())
    };
    if json.len() > METADATA_BYTES_MAX {
        return Err(Refused::Metadata("the metadata is too long".to_owned()));
    }
    serde_json::from_slice::<Unambiguous>(json).map_err(|_| malformed())?;
    let mut all: Map<String, Value> = serde_json::from_slice(json).map_err(|_| malformed())?;
    all.retain(|_, value| !value.is_null() && value.as_str() != Some(""));
    Ok(all)
}

fn is_wanted(value: &Value) -> bool {
    *value != Value::Bool(false)
}

fn in_their_words(mut faults: Vec<Fault>) -> Vec<Fault> {
    for fault in &mut faults {
        let renamed = RENAMED.iter().find(|(_, ours)| *ours == fault.field);
        if let Some((theirs, _)) = renamed {
            fault.field = (*theirs).to_owned();
        } else if fault.field == "about.names" {
            fault.field = "client_name".to_owned();
        } else if let Some(rest) = fault.field.strip_prefix("about.") {
            fault.field = rest.to_owned();
        }
    }
    faults
}

/// What of the scope is not standard: each must be one that such clients may have.
fn scopes(asked: Option<&Value>, policy: &Policy) -> Result<Vec<Scope>, Refused> {
    let Some(asked) = asked else { return Ok(policy.scopes.clone()) };
    let refused = |why| Refused::one("scope", why);
    let text = asked.as_str().ok_or_else(|| refused("expected a text with spaces between"))?;
    let mut own: Vec<Scope> = Vec::new();
    for name in text.split_ascii_whitespace().filter(|name| !STANDARD.contains(name)) {
        let known = policy.scopes.iter().find(|scope| scope.as_str() == name);
        let scope = known
            .ok_or_else(|| refused("clients that register themselves may not have all of it"))?;
        if !own.contains(scope) {
            own.push(scope.clone());
        }
    }
    Ok(own)
}

/// Grants and response types that go together (RFC 7591, section 2.1), and no more than the policy allows.
fn check_grants(
    client: &Client,
    asked: &Map<String, Value>,
    policy: &Policy,
) -> Result<(), Refused> {
    let by_code = client.may_use(GrantType::AuthorizationCode);
    let why = if client.grant_types.iter().any(|grant| !policy.grant_types.contains(grant)) {
        "clients that register themselves may not have all of them"
    } else if client.kind == ClientKind::Public && client.may_use(GrantType::ClientCredentials) {
        "a client that acts for itself proves who it is"
    } else {
        ""
    };
    if !why.is_empty() {
        return Err(Refused::one("grant_types", why));
    }
    let code = || json!("code");
    let responses = match asked.get("response_types") {
        None => by_code.then(code).into_iter().collect(),
        Some(Value::Array(responses)) => responses.clone(),
        Some(_) => return Err(Refused::one("response_types", "expected a list")),
    };
    if responses.iter().any(|response| *response != code()) || responses.is_empty() == by_code {
        let why = "it is [\"code\"] with the grant authorization_code, and otherwise empty";
        return Err(Refused::one("response_types", why));
    }
    if by_code && client.redirect_uris.is_empty() {
        return Err(Refused::one("redirect_uris", "who gets codes has at least one"));
    }
    Ok(())
}

/// A code that goes to a host shows that the client is of its sector. Whoever gets tokens without one shows it by the list
/// at that host.
fn check_sector(client: &Client) -> Result<(), Refused> {
    let pairwise = client.subject_type == SubjectType::Pairwise;
    if pairwise && client.sector_identifier_uri.is_none() && client.may_use(GrantType::DeviceCode) {
        let why = "pairwise subjects for the device grant need it";
        return Err(Refused::one("sector_identifier_uri", why));
    }
    Ok(())
}

/// All registered metadata of a client, in the words of the standards (RFC 7591, section 3.2.1). What the client gets
/// besides, its id and what it proves itself with, is the caller's to add.
pub fn metadata(client: &Client) -> Map<String, Value> {
    let own = json!(client);
    let about = json!(client.about);
    let renamed = RENAMED.into_iter().map(|(theirs, ours)| (theirs, &own[ours]));
    let same = SAME.into_iter().map(|name| (name, &own[name]));
    let for_people = ABOUT.into_iter().map(|name| (name, &about[name]));
    let all = same.chain(renamed).chain(for_people).filter(|(_, value)| !value.is_null());
    let mut told: Map<String, Value> =
        all.map(|(name, value)| (name.to_owned(), value.clone())).collect();
    let named = |(language, name): (&Language, _)| (format!("{NAME_IN}{language}"), json!(name));
    told.extend(client.about.names.iter().map(named));
    let by_code = client.may_use(GrantType::AuthorizationCode);
    let responses: &[&str] = if by_code { &["code"] } else { &[] };
    told.insert("response_types".to_owned(), json!(responses));
    let scope: Vec<&str> =
        STANDARD.into_iter().chain(client.scopes.iter().map(Scope::as_str)).collect();
    told.insert("scope".to_owned(), scope.join(" ").into());
    told
}
