//! Verbs that act on users, sessions, clients and keys: each is one call of the local admin API. It goes through the
//! running server's socket; where no server runs, the data folder is opened and the same router answers here.

use std::{
    io::{BufRead, IsTerminal},
    path::PathBuf,
};

use axum::{
    Router,
    http::{Method, StatusCode},
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use symbolon_core::profile::Profile;

use super::{Arguments, Exit, out};
use crate::{
    app::{App, StartError},
    config::{Config, ConfigError},
    listen::{self, CallError},
};

/// One call of the local admin API.
#[derive(Debug)]
pub(super) struct Call {
    method: Method,
    path: String,
    body: Option<Value>,
    /// What people see of each item of a list.
    columns: &'static [&'static str],
    /// The member of the last item after which the next page of a list begins.
    pages: Option<&'static str>,
}

impl Call {
    pub(super) fn new(method: Method, path: impl Into<String>, body: Option<Value>) -> Self {
        Self { method, path: path.into(), body, columns: &[], pages: None }
    }

    pub(super) fn list(path: impl Into<String>, columns: &'static [&'static str]) -> Self {
        Self { columns, ..Self::new(Method::GET, path, None) }
    }
}

/// Whether to wait until what was ended is over everywhere.
#[derive(Debug, Clone, Args)]
pub(super) struct Confirming {
    /// Wait until every service refuses what was ended, at most this long (such as 2s; 5s if not said)
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    confirm: Option<String>,
}

impl Call {
    pub(super) fn confirmed(mut self, confirming: &Confirming) -> Self {
        if let Some(within) = &confirming.confirm {
            let sign = if self.path.contains('?') { '&' } else { '?' };
            self.path = format!("{}{sign}confirm={}", self.path, part(within));
        }
        self
    }
}

/// A path or query part.
pub(super) fn part(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add a user; the password is read from standard input
    Add {
        /// The login name
        name: String,
        /// A role (repeat for more)
        #[arg(long = "role")]
        roles: Vec<String>,
    },
    /// List users
    List,
    /// Show a user
    Show {
        /// The login name
        name: String,
    },
    /// Let a user log in no more, and end all sessions
    Disable {
        /// The login name
        name: String,
        #[command(flatten)]
        confirm: Confirming,
    },
    /// Let a disabled user log in again
    Enable {
        /// The login name
        name: String,
    },
    /// Set the roles of a user
    Roles {
        /// The login name
        name: String,
        /// The roles, all of them
        roles: Vec<String>,
    },
    /// Set what applications are told about a user: all of it
    Profile {
        /// The login name
        name: String,
        /// Standard claims, such as email=user@example.com email_verified=true address.country=KR
        claims: Vec<String>,
    },
    /// Set a new password, read from standard input, and end all sessions
    Password {
        /// The login name
        name: String,
        #[command(flatten)]
        confirm: Confirming,
    },
    /// Make an invitation to register
    Invite,
}

impl UserCommand {
    pub(super) fn call(&self) -> Result<Call, Exit> {
        let of = |name: &str, rest: &str| format!("/users/{}{rest}", part(name));
        Ok(match self {
            Self::Add { name, roles } => {
                let body = json!({ "username": name, "password": password()?, "roles": roles });
                Call::new(Method::POST, "/users", Some(body))
            }
            Self::List => Call {
                pages: Some("username"),
                ..Call::list("/users", &["username", "sub", "roles", "added_at", "disabled_at"])
            },
            Self::Show { name } => Call::new(Method::GET, of(name, ""), None),
            Self::Disable { name, confirm } => {
                Call::new(Method::POST, of(name, "/disable"), None).confirmed(confirm)
            }
            Self::Enable { name } => Call::new(Method::POST, of(name, "/enable"), None),
            Self::Profile { name, claims } => {
                let path = of(name, "/profile");
                Call::new(Method::PUT, path, Some(json!(profile(claims)?)))
            }
            Self::Roles { name, roles } => {
                Call::new(Method::PUT, of(name, "/roles"), Some(json!(roles)))
            }
            Self::Password { name, confirm } => {
                let body = json!({ "password": password()? });
                Call::new(Method::POST, of(name, "/password"), Some(body)).confirmed(confirm)
            }
            Self::Invite => Call::new(Method::POST, "/invitations", None),
        })
    }
}

/// A password is typed without echo or piped in; it never stands on the command line.
fn password() -> Result<String, Exit> {
    let failed = |error: std::io::Error| {
        Exit::new(2, "no_password", error.to_string(), "pipe the password in, or type it")
    };
    if std::io::stdin().is_terminal() {
        return rpassword::prompt_password("Password: ").map_err(failed);
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(failed)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// List the live sessions of a user
    List {
        /// The login name
        #[arg(long)]
        user: String,
    },
    /// Show a session
    Show {
        /// Its id
        #[arg(allow_hyphen_values = true)]
        sid: String,
    },
    /// End a session, with everything under it
    End {
        /// Its id
        #[arg(allow_hyphen_values = true)]
        sid: String,
        #[command(flatten)]
        confirm: Confirming,
    },
    /// End all sessions of a user
    EndAll {
        /// The login name
        #[arg(long)]
        user: String,
        #[command(flatten)]
        confirm: Confirming,
    },
}

impl SessionCommand {
    pub(super) fn call(&self) -> Call {
        match self {
            Self::List { user } => Call::list(
                format!("/sessions?user={}", part(user)),
                &["sid", "device", "address", "client_id", "seen_at", "expires_at", "apps"],
            ),
            Self::Show { sid } => Call::new(Method::GET, format!("/sessions/{}", part(sid)), None),
            Self::End { sid, confirm } => {
                let path = format!("/sessions/{}", part(sid));
                Call::new(Method::DELETE, path, None).confirmed(confirm)
            }
            Self::EndAll { user, confirm } => {
                let path = format!("/sessions?user={}", part(user));
                Call::new(Method::DELETE, path, None).confirmed(confirm)
            }
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// End one access token; its session goes on
    End {
        /// Its id, the `jti` claim
        #[arg(allow_hyphen_values = true)]
        jti: String,
        #[command(flatten)]
        confirm: Confirming,
    },
}

impl TokenCommand {
    pub(super) fn call(&self) -> Call {
        let Self::End { jti, confirm } = self;
        Call::new(Method::DELETE, format!("/tokens/{}", part(jti)), None).confirmed(confirm)
    }
}

/// Says here what is wrong, in the words of the type that will be stored.
fn profile(claims: &[String]) -> Result<Profile, Exit> {
    let pairs = claims.iter().map(|claim| claim.split_once('=').unwrap_or((claim, "")));
    Profile::from_pairs(pairs).map_err(|error| {
        Exit::new(2, "invalid_claims", error.to_string(), "see `symbolon user profile --help`")
    })
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// List keys and where each stands
    List,
    /// Make the next key now; it takes over when everybody has seen it
    Rotate {
        /// handle, ES256, EdDSA or RS256
        usage: String,
    },
    /// Declare a key lost: what was made with it is refused from now on
    Withdraw {
        /// The key's id
        #[arg(allow_hyphen_values = true)]
        kid: String,
        #[command(flatten)]
        confirm: Confirming,
    },
}

impl KeyCommand {
    pub(super) fn call(&self) -> Call {
        match self {
            Self::List => {
                Call::list("/keys", &["kid", "usage", "state", "activates_at", "retires_at"])
            }
            Self::Rotate { usage } => {
                Call::new(Method::POST, "/keys", Some(json!({ "usage": usage })))
            }
            Self::Withdraw { kid, confirm } => {
                let path = format!("/keys/{}", part(kid));
                Call::new(Method::DELETE, path, None).confirmed(confirm)
            }
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum ClusterCommand {
    /// Show each server, how far it has read the log of what has ended, and its lease
    Status,
}

impl ClusterCommand {
    pub(super) fn call(&self) -> Call {
        match self {
            Self::Status => Call::list(
                "/cluster",
                &[
                    "name",
                    "version",
                    "seen_ms_ago",
                    "behind",
                    "lease_ms",
                    "renewals",
                    "followers",
                    "clock_skew_ms",
                    "this",
                ],
            ),
        }
    }
}

/// Makes the call and prints the answer.
pub(super) fn run(arguments: &Arguments, call: &Call) -> Result<(), Exit> {
    let config = arguments.read_config(&[])?;
    let (status, body) = super::run::block_on(async {
        let mut way = Way::Socket(config.data_dir.join(listen::SOCKET_NAME));
        let first = way.ask(call, &call.path).await;
        let answer = match first {
            Err(error) if error.nobody_answers() => {
                way = Way::Here(open(config).await?);
                way.ask(call, &call.path).await
            }
            answered => answered,
        };
        let (status, mut body) = answer.map_err(|error| way.failed(&error))?;
        if status.is_success() {
            rest_of(&mut body, call, &way).await?;
        }
        Ok((status.as_u16(), body))
    })?;
    if (200..300).contains(&status) {
        out::value(&body, call.columns, arguments.json);
        return if status == 202 { Err(Exit::not_confirmed()) } else { Ok(()) };
    }
    Err(Exit::refused(status, &body))
}

/// The declared clients that the running server has otherwise than its configuration says now. Nothing, if no server runs.
pub(super) fn drift(config: &Config) -> Result<Vec<ConfigError>, Exit> {
    let socket = config.data_dir.join(listen::SOCKET_NAME);
    let call = Call::new(Method::GET, "/clients", None);
    let answer =
        super::run::block_on(async { Ok(Way::Socket(socket).ask(&call, &call.path).await) })?;
    let Ok((StatusCode::OK, Value::Array(clients))) = answer else { return Ok(Vec::new()) };
    let drifted = clients.iter().filter_map(|client| {
        let (id, drift) = (client["id"].as_str()?, client["drift"].as_str()?);
        let fix = "Start the server again: declared clients are applied at start.";
        Some(ConfigError::new("client_drift", drift, fix).at(format!("client.{id}"), None))
    });
    Ok(drifted.collect())
}

/// Adds the further pages of a list, until one is empty.
async fn rest_of(body: &mut Value, call: &Call, way: &Way) -> Result<(), Exit> {
    let (Some(member), Some(items)) = (call.pages, body.as_array_mut()) else { return Ok(()) };
    while let Some(after) = items.last().and_then(|item| item[member].as_str()) {
        let path = format!("{}?after={}", call.path, part(after));
        let (status, page) = way.ask(call, &path).await.map_err(|error| way.failed(&error))?;
        match page {
            Value::Array(page) if page.is_empty() => break,
            Value::Array(page) => items.extend(page),
            refused => return Err(Exit::refused(status.as_u16(), &refused)),
        }
    }
    Ok(())
}

/// Where the admin API answers.
enum Way {
    /// The socket of the running server.
    Socket(PathBuf),
    /// No server runs: the lock of the data folder is ours, and so is the act.
    Here(Router),
}

impl Way {
    async fn ask(&self, call: &Call, path: &str) -> Result<(StatusCode, Value), CallError> {
        let (method, body) = (call.method.clone(), call.body.clone());
        match self {
            Self::Socket(socket) => listen::call(socket, method, path, body).await,
            Self::Here(router) => listen::answer(router, method, path, body).await,
        }
    }

    fn failed(&self, error: &CallError) -> Exit {
        match self {
            Self::Socket(_) => {
                Exit::new(4, "server_unreachable", error.to_string(), "look at the server's log")
            }
            Self::Here(_) => Exit::new(1, "failed", error.to_string(), ""),
        }
    }
}

/// The admin API on the data folder itself.
async fn open(config: Config) -> Result<Router, Exit> {
    let folder = config.data_dir.display().to_string();
    if !config.data_dir.is_dir() {
        let fix = "start the server once, or name the folder with --set data_dir=…";
        return Err(Exit::new(
            4,
            "no_data_folder",
            format!("there is no data folder {folder}"),
            fix,
        ));
    }
    let app = App::open(config).await.map_err(|error| start(&error))?;
    Ok(crate::http::local::router(app))
}

/// Why the server or the data folder did not open.
pub(super) fn start(error: &StartError) -> Exit {
    let (code, fix) = error.advice();
    let unreachable = error.is_busy() || code == "database_away";
    Exit::new(if unreachable { 4 } else { 1 }, code, error.to_string(), fix)
}
