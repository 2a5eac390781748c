//! The settings of `symbolon forward-auth`, which have a file of their own.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use symbolon_core::{client::ClientId, secret::SecretText, session::Assurance};
use symbolon_guard::{
    cookie::Layout,
    follow::{Dial, Without},
};

use super::{
    ConfigError, Log, Origin, PublicUrl, ReadFile, Shown, Sources,
    reader::Reader,
    secret_from,
    section::{Section, Setting, optional, section, table},
    value::{ExactOrigin, FromValue},
};
use crate::{
    forward::path::{InvalidPath, StrictPath},
    listen::{Bounds, Network},
};

section! {
    /// What stands before the first table of the file.
    pub struct Top {
        /// The origins under which browsers see the applications behind the proxy. A check for any other host is
        /// refused. The cookie's name and the CSRF rules follow from them.
        origins: Vec<ExactOrigin>;
        /// Where the proxy tells of the original request. `x-original`: in `X-Original-Method`, `X-Original-URI` and
        /// `X-Original-Host` (nginx, HAProxy, an application that asks by itself). `x-forwarded`: in
        /// `X-Forwarded-Method`, `-Uri` and `-Host` (Caddy, Traefik). `request`: the check has the method and the host
        /// of the original, and its path after `/check` (Envoy). What stands elsewhere is ignored.
        headers: Headers = r#""x-original""#;
    }

    /// Where the service listens, and for whom.
    pub struct ForwardListen {
        /// The address. The default reaches this machine only, where the proxy should be: a check carries every
        /// credential in clear.
        address: SocketAddr = r#""127.0.0.1:8090""#;
        /// The proxies, as addresses or networks. All others are refused: they could write any original request.
        trusted_proxies: Vec<Network> = r#"["127.0.0.1", "::1"]"#;
        /// Who may read `/metrics`, as addresses or networks. All others find nothing there.
        metrics_from: Vec<Network> = r#"["127.0.0.1", "::1"]"#;
        /// Connections at a time. More wait in the kernel's queue until one ends.
        connections_max: u32 = "4096", in "1" ..= "1000000";
        /// The head of a request. More than what the proxy takes, because it adds headers to it.
        head_bytes_max: usize = "65536", in "8192" ..= "262144";
        /// How long a connection may take for the head of a request, or be silent before the next: longer than the
        /// proxy keeps idle connections.
        head_timeout: Duration = r#""75s""#, in r#""100ms""# ..= r#""10m""#;
        /// How long a request may take.
        request_timeout: Duration = r#""10s""#, in r#""1s""# ..= r#""10m""#;
        /// How long requests in flight may take to finish when the service stops.
        shutdown_timeout: Duration = r#""10s""#, in r#""0s""# ..= r#""10m""#;
    }

    /// The Symbolon server that says whose credential it is.
    pub struct Server {
        /// Where this service reaches it, with its path.
        url: String;
        /// Where browsers reach it: its `public_url`. By default `url`.
        public_url: Option<PublicUrl>;
        /// The client that asks: *resource*, or *confidential* if it sends browsers to another host's login.
        client_id: ClientId;
        /// The file with its secret.
        client_secret_file: PathBuf;
        /// Whom access tokens are for. With it they are verified here, and refused if they are for others; without it
        /// the server is asked once about each.
        audience: Option<String>;
        /// How fresh decisions are. `lease`: decided here, while the server vouches for hearing of every end. `strict`:
        /// the server is asked about every request. `until-expiry`: decided here until a credential expires.
        dial: Dial = r#""lease""#;
        /// What to do while there is no lease: `ask` the server about every request, `refuse`, or `trust-expiry`.
        without_lease: Without = r#""ask""#;
        /// The authorities that are trusted for `https`, PEM. By default those of the system.
        ca_file: Option<PathBuf>;
        /// How long one question may take.
        deadline: Duration = r#""2s""#, in r#""10ms""# ..= r#""1m""#;
        /// Questions under way at a time; one more is refused as unavailable.
        in_flight_max: usize = "1024", in "1" ..= "100000";
        /// Whether plain `http` may leave this machine, with the secret and all credentials in clear.
        trust_network: bool = "false";
    }

    /// A short-lived token for the application, instead of trust in headers. It lies in `X-Symbolon-Token`.
    pub struct Internal {
        /// Whom it is for. With it, each check that finds an identity makes a token (`at+jwt`, ES256); its keys are at
        /// `/jwks.json` of this service and new at each start.
        audience: Option<String>;
        /// Who it says made it.
        issuer: String = r#""symbolon-forward-auth""#;
        /// How long it lives. It outlives a confirmed end by this much at most.
        lifetime: Duration = r#""5s""#, in r#""1s""# ..= r#""5s""#;
    }

    /// What a request needs. The first rule that fits decides; where none does, a login is needed.
    pub struct Rule {
        /// For this host only, with its port if the origin has one.
        host: Option<String>;
        /// For this path and all below it. Upper and lower case are different.
        path: Option<RulePath>;
        /// For exactly this path.
        path_exact: Option<RulePath>;
        /// For these methods only.
        methods: Vec<HttpMethod> = "[]";
        /// `public`: everybody; who has a valid credential is known. `session`: whoever has one, also a visitor or a
        /// machine client. `login`: a user who logged in.
        access: Access = r#""login""#;
        /// The role that is needed, too.
        role: Option<String>;
        /// The scope that is needed, too. Session cookies have none.
        scope: Option<String>;
        /// The assurance level that is needed, too.
        assurance: Option<Assurance>;
        /// How long ago the login may be, at most: a browser logs in once more, others hear `max_age` (RFC 9470).
        max_age: Option<Duration>;
        /// How fresh the decision is, instead of `server.dial`.
        dial: Option<Dial>;
    }
}

table! {
    Top at [];
    ForwardListen at ["listen"];
    Server at ["server"];
    Internal at ["internal_token"];
    Rule at ["rule", "#"];
    Log at ["log"];
}

/// The shortest `max_age` of a rule: below it, a browser would be sent to log in again and again.
const MAX_AGE_MIN: Duration = Duration::from_secs(30);

/// Which headers tell of the original request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Headers {
    /// `X-Original-Method`, `X-Original-URI`, `X-Original-Host`.
    XOriginal,
    /// `X-Forwarded-Method`, `X-Forwarded-Uri`, `X-Forwarded-Host`.
    XForwarded,
    /// The check itself: its method, its path after `/check`, its `Host`.
    Request,
}

/// Who gets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Everybody.
    Public,
    /// Whoever has a live session.
    Session,
    /// A user who logged in.
    Login,
}

/// A path of a rule: as strict as those of requests, without a query and without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulePath(pub String);

impl FromStr for RulePath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        let path = StrictPath::parse(text)?;
        if text.contains('?') {
            return Err(InvalidPath::Form);
        }
        Ok(Self(path.as_str().to_owned()))
    }
}

/// A method of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpMethod(pub http::Method);

/// The text is no method in capital letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a method is written in capital letters")]
pub struct InvalidMethod;

impl FromStr for HttpMethod {
    type Err = InvalidMethod;

    fn from_str(text: &str) -> Result<Self, InvalidMethod> {
        let capital = !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        let method = capital.then(|| http::Method::from_bytes(text.as_bytes()).ok()).flatten();
        method.map(Self).ok_or(InvalidMethod)
    }
}

/// The settings of a forward-auth service, checked.
#[derive(Debug, Clone)]
pub struct ForwardConfig {
    /// The origins of the applications: at least one, of different hosts.
    pub origins: Vec<String>,
    /// Which headers tell of the original request.
    pub headers: Headers,
    /// Where the service listens, and for whom.
    pub listen: ForwardListen,
    /// The server that is asked.
    pub server: Server,
    /// Its public URL.
    pub issuer: PublicUrl,
    /// The secret of `server.client_id`.
    pub secret: SecretText,
    /// The token for the application.
    pub internal: Internal,
    /// What requests need, in the order of the file.
    pub rules: Vec<Rule>,
    /// What the service says about itself.
    pub log: Log,
    shown: Vec<Shown>,
}

impl ForwardConfig {
    /// Puts the sources together.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(sources: &Sources, read: ReadFile<'_>) -> Result<Self, Vec<ConfigError>> {
        let mut layers = sources.layers(SECTIONS);
        let rules = layers.names("rule", "Join rules for paths that begin alike.");
        let mut reader = layers.reader();
        let config = config(&mut reader, &rules, read);
        let Reader { errors, shown, .. } = reader;
        match config {
            Some(config) if errors.is_empty() => Ok(Self { shown, ..config }),
            _ => Err(errors),
        }
    }

    /// Every setting with its value and its origin, in the order of the reference.
    pub fn shown(&self) -> &[Shown] {
        &self.shown
    }

    /// What an operator should know, but may want.
    pub fn warnings(&self) -> Vec<ConfigError> {
        let origin = |key: &str| {
            let shown = self.shown.iter().find(|shown| shown.key == key);
            shown.map_or(Origin::Default, |shown| shown.origin.clone())
        };
        let mut warnings = Vec::new();
        let mut warn = |code, key: &str, cause, fix| {
            warnings.push(ConfigError::new(code, cause, fix).at(key, Some(origin(key))));
        };
        if self.listen.trusted_proxies.iter().any(Network::is_everything) {
            warn(
                "trusted_proxies_everybody",
                "listen.trusted_proxies",
                "whoever reaches this service can ask it in the name of the proxy",
                "Name the proxies' own addresses or network.",
            );
        }
        if !self.listen.address.ip().is_loopback() {
            warn(
                "checks_in_clear",
                "listen.address",
                "checks carry every user's credential over the network in clear",
                "Listen on 127.0.0.1 beside the proxy, or in a network that is yours alone.",
            );
        }
        warnings
    }
}

impl From<&ForwardListen> for Bounds {
    fn from(listen: &ForwardListen) -> Self {
        Self {
            connections_max: listen.connections_max,
            head_bytes_max: listen.head_bytes_max,
            head_timeout: listen.head_timeout,
            request_timeout: listen.request_timeout,
            shutdown_timeout: listen.shutdown_timeout,
        }
    }
}

fn config(
    reader: &mut Reader<'_>,
    names: &BTreeSet<String>,
    read: ReadFile<'_>,
) -> Option<ForwardConfig> {
    // Everything is read before anything is given up, so that all errors are told.
    let top = Top::read(reader, &[]);
    let origins = top.as_ref().map(|top| origins(reader, top));
    let listen = ForwardListen::read(reader, &["listen"]);
    let server = Server::read(reader, &["server"]);
    let issuer = server.as_ref().and_then(|server| issuer(reader, server));
    let secret = server.as_ref().and_then(|server| secret(reader, server, read));
    let internal = Internal::read(reader, &["internal_token"]);
    let rules = rules(reader, names, origins.as_deref().unwrap_or_default());
    let log = Log::read(reader, &["log"]);
    Some(ForwardConfig {
        origins: origins?,
        headers: top?.headers,
        listen: listen?,
        issuer: issuer?,
        secret: secret?,
        server: server?,
        internal: internal?,
        rules,
        log: log?,
        shown: Vec::new(),
    })
}

fn origins(reader: &mut Reader<'_>, top: &Top) -> Vec<String> {
    let origins: Vec<String> = top.origins.iter().map(|origin| origin.0.clone()).collect();
    if origins.is_empty() {
        reader.refuse(&["origins"], "there is none", "Name those that browsers see.");
    }
    for origin in &origins {
        if let Err(why) = Layout::of(origin) {
            reader.refuse(&["origins"], format!("{origin}: {why}"), "Write https://host.");
        }
    }
    let hosts: BTreeSet<&str> = origins.iter().map(|origin| host_of(origin)).collect();
    if hosts.len() < origins.len() {
        let fix = "Leave one of them away; which scheme a host has is not guessed.";
        reader.refuse(&["origins"], "two of them have the same host", fix);
    }
    origins
}

/// What stands after the scheme: the host, with its port if that is not the scheme's own.
pub fn host_of(origin: &str) -> &str {
    origin.split_once("://").map_or("", |(_, host)| host)
}

fn issuer(reader: &mut Reader<'_>, server: &Server) -> Option<PublicUrl> {
    if let Some(url) = &server.public_url {
        return Some(url.clone());
    }
    match server.url.parse() {
        Ok(url) => Some(url),
        Err(why) => {
            let fix = "Give server.public_url, the URL under which browsers reach the server.";
            reader.refuse(&["server", "url"], format!("{why}"), fix);
            None
        }
    }
}

fn secret(reader: &mut Reader<'_>, server: &Server, read: ReadFile<'_>) -> Option<SecretText> {
    let cause = match secret_from(read, &server.client_secret_file) {
        Ok(secret) if !secret.expose().is_empty() => return Some(secret),
        Ok(_) => "the file is empty".to_owned(),
        Err(error) => format!("the file cannot be read: {error}"),
    };
    let fix = "Put the secret in it that `symbolon client add` printed.";
    reader.refuse(&["server", "client_secret_file"], cause, fix);
    None
}

fn rules(reader: &mut Reader<'_>, names: &BTreeSet<String>, origins: &[String]) -> Vec<Rule> {
    let mut numbers: Vec<(u32, &String)> = Vec::new();
    for name in names {
        match name.parse() {
            Ok(number) => numbers.push((number, name)),
            Err(_) => reader.refuse(&["rule", name], "rules have numbers", "Write [[rule]]."),
        }
    }
    numbers.sort_unstable();
    let rules = numbers.into_iter().filter_map(|(_, name)| rule(reader, name, origins));
    rules.collect()
}

fn rule(reader: &mut Reader<'_>, name: &str, origins: &[String]) -> Option<Rule> {
    let rule = Rule::read(reader, &["rule", name])?;
    let mut refuse = |key, cause: &str, fix: &str| reader.refuse(&["rule", name, key], cause, fix);
    if rule.path.is_some() && rule.path_exact.is_some() {
        refuse("path_exact", "the rule has a path already", "Leave one of the two away.");
    }
    let known = |host: &String| origins.iter().any(|origin| host_of(origin) == host);
    if !rule.host.as_ref().is_none_or(known) {
        refuse("host", "no origin has this host", "Write it as in origins, with its port.");
    }
    let asks = rule.role.is_some()
        || rule.scope.is_some()
        || rule.assurance.is_some()
        || rule.max_age.is_some();
    if rule.max_age.is_some_and(|age| age < MAX_AGE_MIN) {
        let fix = "Give it 30 seconds or more.";
        refuse("max_age", "nobody is back from the login page so soon", fix);
    }
    if asks && rule.access == Access::Public {
        let fix = "Leave access away, or what is asked of everybody.";
        refuse("access", "everybody gets in, and yet something is asked of them", fix);
    }
    Some(rule)
}
