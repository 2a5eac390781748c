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
}
