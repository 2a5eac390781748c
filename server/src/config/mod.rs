//! Settings: defaults, then one TOML file, then `SYMBOLON_*` variables, then flags; what comes later wins.
//!
//! A variable is named after its setting, with `__` for the dots: `SYMBOLON_LIFETIMES__ACCESS_TOKEN=10m`. Every value
//! remembers where it comes from, an unknown key is an error, and all errors are told at once. What a setting is stands
//! in one place, [`sections`]; reading, `config show` and the reference are made from it.
//!
//! ```
//! use symbolon::config::{Config, Sources};
//! let toml = "public_url = 'https://shop.example/auth'\n[lifetimes]\nacces_token = '10m'".to_owned();
//! let sources = Sources { file: Some(("symbolon.toml".into(), toml)), ..Sources::default() };
//! let errors = Config::load(&sources, &|path| std::fs::read_to_string(path)).unwrap_err();
//! assert_eq!(errors[0].to_string(), "lifetimes.acces_token: there is no such setting (symbolon.toml:3)");
//! assert_eq!(errors[0].fix, "Did you mean `lifetimes.access_token`?");
//! ```

mod build;
mod claims;
mod error;
pub mod forward;
mod reader;
mod reference;
mod safety;
mod section;
pub mod sections;
#[cfg(test)]
mod tests;
mod value;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use symbolon_core::{
    client::{Client, ClientId, SecretDigest},
    limit::LoginQuotas,
    mapped::MappedClaim,
    oauth::registration::Policy,
    secret::SecretText,
    session::Lifetimes,
};
use symbolon_guard::cookie::{InvalidPublicUrl, Layout};
use tracing_subscriber::filter::{LevelFilter, Targets};

pub use self::{
    error::{ConfigError, Origin},
    reference::reference,
    section::{Section, Setting},
    sections::{Limits, Listen, Log, Outbound, RegisterClient, Revocation, Timings},
    value::{FromValue, Shape, span},
};
use crate::{
    attempts::Quotas,
    ui::{Brand, Locale},
};

/// Everything that can be set, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where browsers find the server.
    pub public_url: PublicUrl,
    /// The folder of the database and the local socket.
    pub data_dir: PathBuf,
    /// The file of the master key.
    pub master_key_file: PathBuf,
    /// The client that a request means which names none.
    pub default_client: ClientId,
    /// The language of pages for browsers that ask for none of ours.
    pub default_locale: Locale,
    /// Where the server listens, and whom it believes.
    pub listen: Listen,
    /// How long everything lives.
    pub lifetimes: Timings,
    /// What a new password must be, and what its hash costs.
    pub password: PasswordSettings,
    /// Bounds.
    pub limits: Limits,
    /// How soon everybody knows of an end.
    pub revocation: Revocation,
    /// The PostgreSQL database, if there is one.
    pub store: StoreSettings,
    /// How servers are asked that clients name.
    pub outbound: Outbound,
    /// Who may make an account.
    pub registration: Registration,
    /// Who may register a client, and what such clients may have.
    pub client_registration: RegisterClient,
    /// Whose pages these are.
    pub brand: Brand,
    /// Whose pages a client's users see, where that is not `brand`.
    pub client_brands: BTreeMap<ClientId, Brand>,
    /// The clients that the file declares, and the default one.
    pub clients: Vec<Client>,
    /// What the consent page says of the scopes that are not standard.
    pub scopes: BTreeMap<String, sections::ScopeWords>,
    /// What applications are told besides the standard claims.
    pub claims: Vec<MappedClaim>,
    /// What the server says about itself.
    pub log: Log,
    shown: Vec<Shown>,
    asked: Option<Asked>,
}

/// What it takes to read the configuration of this process again.
#[derive(Debug, Clone)]
struct Asked {
    file: Option<PathBuf>,
    defaults: Vec<(String, String)>,
    flags: Vec<(String, String)>,
}

/// One value, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Shown {
    /// The setting.
    pub key: String,
    /// Its value in TOML; none if there is none. A secret one is not shown.
    pub value: Option<String>,
    /// Where it comes from.
    #[serde(serialize_with = "origin_text")]
    pub origin: Origin,
}

fn origin_text<S: serde::Serializer>(origin: &Origin, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(origin)
}

/// Everything that a configuration is made of, the weakest first.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Defaults of the command, by keys with dots.
    pub defaults: Vec<(String, String)>,
    /// The path and the text of the file.
    pub file: Option<(PathBuf, String)>,
    /// The environment; only variables that begin with `SYMBOLON_` are looked at.
    pub environment: Vec<(String, String)>,
    /// What the command line sets, by keys with dots.
    pub flags: Vec<(String, String)>,
}

impl Sources {
    fn layers(&self, sections: &'static [Section]) -> reader::Layers {
        let mut layers = reader::Layers::new(sections);
        layers.texts(&self.defaults, &Origin::Command);
        if let Some((path, text)) = &self.file {
            layers.file(path, text);
        }
        layers.environment(self.environment.iter().cloned());
        layers.texts(&self.flags, &Origin::Flag);
        layers
    }
}

/// Reads a file that a setting names: a logo, a secret.
pub type ReadFile<'f> = &'f dyn Fn(&Path) -> io::Result<String>;

/// The configuration of this process: the file that was asked for, or `symbolon.toml` here if there is one, and the
/// environment. `defaults` are weaker than both, `flags` are stronger.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn read(
    file: Option<&Path>,
    defaults: &[(&str, String)],
    flags: &[(String, String)],
) -> Result<Config, Vec<ConfigError>> {
    let defaults = defaults.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    read_as(Asked { file: file.map(Path::to_owned), defaults, flags: flags.to_vec() })
}

fn read_as(asked: Asked) -> Result<Config, Vec<ConfigError>> {
    let Asked { file, defaults, flags } = &asked;
    let sources = sources(file.as_deref(), "symbolon.toml", defaults, flags)?;
    let config = Config::load(&sources, &|path| std::fs::read_to_string(path))?;
    Ok(Config { asked: Some(asked), ..config })
}

/// The configuration of a forward-auth service, in the same way: of the file that was asked for, or of
/// `forward-auth.toml`.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn read_forward(
    file: Option<&Path>,
    flags: &[(String, String)],
) -> Result<forward::ForwardConfig, Vec<ConfigError>> {
    let sources = sources(file, "forward-auth.toml", &[], flags)?;
    forward::ForwardConfig::load(&sources, &|path| std::fs::read_to_string(path))
}

fn sources(
    file: Option<&Path>,
    usual: &str,
    defaults: &[(String, String)],
    flags: &[(String, String)],
) -> Result<Sources, Vec<ConfigError>> {
    Ok(Sources {
        defaults: defaults.to_vec(),
        file: read_file(file, Path::new(usual)).map_err(|error| vec![error])?,
        environment: texts(std::env::vars_os())?,
        flags: flags.to_vec(),
    })
}

/// The variables that are ours, as text. One that is no text must not be passed over: its setting would be another.
fn texts(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, Vec<ConfigError>> {
    let mut texts = Vec::new();
    let mut errors = Vec::new();
    for (name, value) in variables {
        let Ok(name) = name.into_string() else { continue };
        // `read_file` takes this one as a path.
        if !name.starts_with(reader::PREFIX) || name == "SYMBOLON_CONFIG" {
            continue;
        }
        match value.into_string() {
            Ok(value) => texts.push((name, value)),
            Err(_) => {
                let cause = format!("the value of {name} is no UTF-8 text");
                let fix = "Write it in UTF-8, or unset the variable.";
                errors.push(ConfigError::new("config_invalid_value", cause, fix));
            }
        }
    }
    if errors.is_empty() { Ok(texts) } else { Err(errors) }
}

fn read_file(asked: Option<&Path>, usual: &Path) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let named = std::env::var_os("SYMBOLON_CONFIG").map(PathBuf::from);
    let asked = asked.or(named.as_deref());
    let path = asked.unwrap_or(usual);
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some((path.to_owned(), text))),
        Err(missing) if asked.is_none() && missing.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let cause = format!("{} cannot be read: {error}", path.display());
            let fix = "Give the path of the file with --config or SYMBOLON_CONFIG.";
            Err(ConfigError::new("config_file", cause, fix))
        }
    }
}

impl Config {
    /// Puts the sources together.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(sources: &Sources, read: ReadFile<'_>) -> Result<Self, Vec<ConfigError>> {
        build::build(&mut sources.layers(sections::SECTIONS), read)
    }

    /// The configuration as it is by now, in the place that this one was read from. `None`: it was read from none.
    ///
    /// # Errors
    /// Everything that is wrong with it by now.
    pub fn read_again(&self) -> Option<Result<Self, Vec<ConfigError>>> {
        self.asked.clone().map(read_as)
    }

    /// The same configuration, which was not read from any place: somebody has changed it since.
    #[must_use]
    pub fn detached(self) -> Self {
        Self { asked: None, ..self }
    }

    /// Every setting with its value and its origin, in the order of the reference.
    pub fn shown(&self) -> &[Shown] {
        &self.shown
    }
}

/// The URL under which browsers reach the server, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    url: Box<str>,
    local: bool,
}

impl PublicUrl {
    /// The URL as the issuer of tokens (RFC 8414, section 2).
    pub fn issuer(&self) -> &str {
        &self.url
    }

    /// Whether only browsers on this machine reach it.
    pub const fn is_local(&self) -> bool {
        self.local
    }

    /// Whether it begins with `https`.
    pub fn is_secure(&self) -> bool {
        self.url.starts_with("https://")
    }
}

impl FromStr for PublicUrl {
    type Err = InvalidPublicUrl;

    fn from_str(text: &str) -> Result<Self, InvalidPublicUrl> {
        let layout = Layout::of(text)?;
        let url = format!("{}{}", layout.origin(), layout.base()).into();
        Ok(Self { url, local: layout.origin().is_loopback() })
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// Where everything is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreSettings {
    /// The database; without one, a file in the data folder.
    pub url: Option<DatabaseUrl>,
    /// Connections that read, and as many that write.
    pub connections_max: u32,
    /// How long one act may take.
    pub timeout: Duration,
    /// Whether no commit is lost when another server takes over.
    pub fenced: bool,
}

/// The URL of a PostgreSQL database. It may hold a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseUrl(pub SecretText);

/// The text is no URL of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the URL of a database begins with postgres:// and names one host")]
pub struct InvalidDatabaseUrl;

impl FromStr for DatabaseUrl {
    type Err = InvalidDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        let schemes = ["postgres://", "postgresql://"];
        let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
        match rest {
            // Of several hosts each server would choose for itself, and two could take writes at a time.
            Some(rest) if !rest.is_empty() && !names_several_hosts(rest) => {
                Ok(Self(SecretText::new(text.to_owned())))
            }
            _ => Err(InvalidDatabaseUrl),
        }
    }
}

fn names_several_hosts(rest: &str) -> bool {
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = before.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let of_query = query.split('&').filter(|part| part.starts_with("host"));
    std::iter::once(host).chain(of_query).any(|host| host.contains(',') || host.contains("%2C"))
}

/// Who may make an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// Everybody.
    Open,
    /// Who has an invitation.
    Invitation,
    /// Administrators make accounts.
    Closed,
}

/// Who may register a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientRegistration {
    /// Nobody: administrators add clients.
    Off,
    /// Who has an initial access token.
    Token,
    /// Everybody.
    Open,
}

impl RegisterClient {
    /// What such clients may have.
    pub fn policy(&self) -> Policy {
        Policy {
            scopes: self.scopes.clone(),
            grant_types: self.grant_types.clone(),
            audiences: self.audiences.clone(),
            pkce_required: self.pkce_required,
        }
    }
}

/// Which header tells the caller's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forwarded {
    /// `X-Forwarded-For` and `X-Forwarded-Proto`.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Which events are logged: a level, and levels of modules, with commas between.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLevel(pub Targets);

/// The text is no level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is none of error, warn, info, debug and trace, nor module=level")]
pub struct InvalidLevel;

impl FromStr for LogLevel {
    type Err = InvalidLevel;

    fn from_str(text: &str) -> Result<Self, InvalidLevel> {
        // To `Targets` a misspelt level is a module of that name, and then nothing is logged.
        for directive in text.split(',') {
            let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
            level.trim().parse::<LevelFilter>().map_err(|_| InvalidLevel)?;
        }
        text.parse().map(Self).map_err(|_| InvalidLevel)
    }
}

/// The digest of a client's secret, in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SecretSha256(pub SecretDigest);

/// The text is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 digest is 64 hexadecimal digits")]
pub struct InvalidDigest;

impl FromStr for SecretSha256 {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(InvalidDigest);
        }
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| InvalidDigest)?;
        }
        Ok(Self(SecretDigest::from_bytes(bytes)))
    }
}

/// Passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordSettings {
    /// What a new hash costs.
    pub cost: crate::password::Cost,
    /// Hashes computed at a time.
    pub hashes_in_flight_max: usize,
    /// Hashes that wait at most.
    pub queue_max: usize,
    /// Characters of a new password, at least.
    pub length_min: usize,
}

impl Timings {
    /// The lifetimes of sessions.
    pub const fn sessions(&self) -> Lifetimes {
        Lifetimes {
            visitor: self.visitor,
            idle: self.session_idle,
            absolute: self.session_absolute,
            remembered_idle: self.remembered_idle,
            remembered_absolute: self.remembered_absolute,
        }
    }

    /// The longest that any configuration lets an access token live. Followers and verifiers rely on it, so it does
    /// not follow `access_token`.
    pub const fn access_token_max(&self) -> Duration {
        Duration::from_hours(1)
    }

    /// The longest that any session of this configuration lives.
    pub fn session_absolute_max(&self) -> Duration {
        self.session_absolute.max(self.remembered_absolute).max(self.visitor)
    }
}

impl Limits {
    /// How often anybody may try what.
    pub const fn quotas(&self) -> Quotas {
        Quotas {
            login: LoginQuotas {
                address: self.login_per_address,
                pair: self.login_per_address_and_account,
                account: self.login_per_account,
            },
            registration: self.registration_per_address,
            visitor: self.visitors_per_address,
            client: self.client_registrations_per_address,
        }
    }
}

/// Reads a secret from its file, without the line break at its end.
fn secret_from(read: ReadFile<'_>, path: &Path) -> io::Result<SecretText> {
    let text = zeroize::Zeroizing::new(read(path)?);
    Ok(SecretText::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}
