//! Deciding alone, and still hearing of every end: the guard follows a server's revocation log under a lease.
//!
//! A [`Following`] is an [`Authority`]. It verifies access tokens itself and asks the server once about everything else;
//! whatever it knows, it looks up in the set of ended ids at every request, and only while it holds a lease. What the
//! server has confirmed to be over is over here, even if this process is cut off: then its lease runs out first.
//!
//! ```
//! use axum::{Router, routing::get};
//! use symbolon_guard::{Guard, Identity, Rules, follow::{Dial, Following, Settings}};
//! # use symbolon_guard::SecretText;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (server, secret) = ("http://127.0.0.1:9", SecretText::default());
//! let settings = Settings::new(server, "cart-api".parse()?, secret).audience("https://cart.example");
//! let (following, task) = Following::new(settings)?;
//! tokio::spawn(task);
//!
//! let rules = Rules::new("https://shop.example")?;
//! let pay = get(|me: Identity| async move { format!("{} pays", me.session) })
//!     .layer(Guard::required(rules.clone(), following.dial(Dial::Strict)));
//! let app: Router = Router::new()
//!     .route("/cart", get(|me: Identity| async move { format!("the cart of {}", me.session) }))
//!     .layer(Guard::required(rules, following.clone()))
//!     .route("/pay", pay);
//! # let _ = app;
//! assert!(!following.status().ready); // Nobody listens there.
//! # Ok(())
//! # }
//! ```
//!
//! | situation | [`Dial::Strict`] | [`Dial::Lease`] | [`Dial::UntilExpiry`] |
//! |---|---|---|---|
//! | the log says that it ended | refused | refused | refused |
//! | there is a lease | the server is asked | decided here | decided here |
//! | there is none | the server is asked | as [`Without`] says | decided here, by expiry |
//!
//! Processes that are frozen between requests (functions as a service) use [`Dial::Strict`].
//!
//! | file | what it knows |
//! |---|---|
//! | `decide` | one decision: what is known, else verified, else asked |
//! | `state` | the log and the lease: what a decision stands on |
//! | `clock` | a clock that neither stops in sleep nor is slewed |
//! | `cache` | credentials that were proven |
//! | `keys` | the server's public keys |
//! | `task` | what goes on behind |
//! | `life` | when an identity dies |

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::request::Parts;
use hyper_util::client::legacy::connect::Connect;
use symbolon_core::{
    client::ClientId,
    follower::SEEN_MAX,
    id::SessionId,
    secret::SecretText,
    token::{Rules, TokenType},
};
use tokio::sync::watch;

use self::{
    cache::Credentials,
    clock::{Source, System},
    decide::Use,
    keys::Keys,
    state::{Policy, State},
};
use crate::{
    Authority,
    admit::Carried,
    error::Refusal,
    identity::{Claims, Identity},
    link,
    remote::{self, Asking, InvalidServer},
};

mod cache;
mod clock;
mod decide;
mod keys;
mod life;
mod state;
mod task;
#[cfg(test)]
mod tests;

pub use life::Life;
pub use task::Task;

/// How fresh a decision is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dial {
    /// The server is asked about every request.
    Strict,
    /// Decided here under a lease: an end that was confirmed is over here.
    #[default]
    Lease,
    /// Decided here until it expires, lease or not: an end is over here when it is heard of, or at the expiry. The server
    /// is told, and then confirms an end *except* for this client.
    UntilExpiry,
}

/// What to do without a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Without {
    /// Ask the server about every request.
    #[default]
    Ask,
    /// Refuse every request as unavailable.
    Refuse,
    /// Trust the expiry alone, as [`Dial::UntilExpiry`] does.
    TrustExpiry,
}

/// Which server to follow, and as whom. Change the fields that have a default as needed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server and the client that asks. Without an audience no token is verified here: the server is asked once about
    /// each, which also judges its audience.
    pub remote: remote::Settings,
    /// The `iss` of access tokens. Default: the server's URL.
    pub issuer: Option<String>,
    /// The accepted `typ`s of access tokens. Default: `at+jwt`.
    pub types: Vec<TokenType>,
    /// The longest life of an access token. Default: an hour.
    pub lifetime_max: Duration,
    /// About how much memory credentials may take that were proven lately. Default: 64 MiB, some 70,000 of them.
    pub cache_bytes_max: usize,
}

impl Settings {
    /// Settings with defaults.
    pub fn new(server: impl Into<String>, client: ClientId, secret: SecretText) -> Self {
        remote::Settings::new(server, client, secret).into()
    }

    /// Verifies access tokens here: those that are for this audience.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.remote.audience = Some(audience.into());
        self
    }
}

impl From<remote::Settings> for Settings {
    fn from(remote: remote::Settings) -> Self {
        Self {
            remote,
            issuer: None,
            types: vec![TokenType::AtJwt],
            lifetime_max: Duration::from_secs(3600),
            cache_bytes_max: 64 * 1024 * 1024,
        }
    }
}

/// How things stand with following.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Whether it is decided here: there is a lease, and there are keys if tokens are verified here.
    pub ready: bool,
    /// For how long it may still be decided here.
    pub lease_left: Duration,
    /// How old what is known of the log is: counted from the question whose answer brought the last lease. `None`: there
    /// was none.
    pub stale_for: Option<Duration>,
    /// How many ended ids are known.
    pub ended_ids: usize,
    /// How many credentials are known that were proven lately.
    pub credentials: usize,
    /// How many public keys are known.
    pub keys: usize,
}

/// An [`Authority`] that decides here, under a lease, and hears of every end. Cheap to clone; clones share all but their
/// dial.
#[derive(Clone)]
pub struct Following {
    shared: Arc<Shared>,
    policy: Policy,
}

struct Shared {
    asking: Asking,
    state: State,
    credentials: Credentials,
    keys: Option<Keys>,
    leeway: Duration,
    seen: Mutex<HashSet<SessionId>>,
    /// Something ended, or it is ready now.
    news: watch::Sender<()>,
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (server, Policy { dial, without }) = (self.shared.asking.link.base(), self.policy);
        f.debug_struct("Following")
            .field("server", &server)
            .field("dial", &dial)
            .field("without", &without)
            .finish_non_exhaustive()
    }
}

impl Following {
    /// Follows over plain http, which stays on this machine unless the settings say otherwise. Nothing happens before
    /// the task is spawned: until then there is no lease.
    ///
    /// # Errors
    /// [`InvalidServer`] says what to write instead.
    pub fn new(settings: Settings) -> Result<(Self, Task), InvalidServer> {
        let connector = link::plain(&settings.remote)?;
        Self::over(settings, connector)
    }

    /// Follows over connections that `connector` makes: bring that of your TLS library.
    ///
    /// # Errors
    /// [`InvalidServer`] says what to write instead.
    pub fn over<C>(settings: Settings, connector: C) -> Result<(Self, Task), InvalidServer>
    where
        C: Connect + Clone + Send + Sync + 'static,
    {
        Self::by(settings, connector, Box::new(System))
    }

    fn by<C>(
        settings: Settings,
        connector: C,
        source: Box<dyn Source>,
    ) -> Result<(Self, Task), InvalidServer>
    where
        C: Connect + Clone + Send + Sync + 'static,
    {
        let Settings { remote, issuer, types, lifetime_max, cache_bytes_max } = settings;
        let (deadline, asking) = (remote.deadline, Asking::new(remote, connector)?);
        let issuer = issuer.unwrap_or_else(|| asking.link.base().to_owned());
        let rules =
            Rules { types, lifetime_max, ..Rules::new(&issuer, asking.audience.as_deref()) };
        let leeway = rules.leeway;
        let shared = Arc::new(Shared {
            state: State::new(source, leeway),
            credentials: Credentials::new(cache_bytes_max),
            keys: asking.audience.is_some().then(|| Keys::new(rules, deadline)),
            asking,
            leeway,
            seen: Mutex::default(),
            news: watch::Sender::new(()),
        });
        let policy = Policy { dial: Dial::Lease, without: Without::Ask };
        Ok((Self { shared: shared.clone(), policy }, Task::new(shared)))
    }

    /// The same, decided in another way: for one layer, one route.
    #[must_use]
    pub fn dial(&self, dial: Dial) -> Self {
        self.with(Policy { dial, ..self.policy })
    }

    /// The same, with something else to do without a lease.
    #[must_use]
    pub fn without_lease(&self, without: Without) -> Self {
        self.with(Policy { without, ..self.policy })
    }

    fn with(&self, policy: Policy) -> Self {
        if policy.trusts_expiry() {
            self.shared.state.declare_trust_in_expiry();
        }
        Self { shared: self.shared.clone(), policy }
    }

    /// Waits until it is decided here. For as long as the server cannot be reached, that is for ever.
    pub async fn ready(&self) {
        let mut news = self.shared.news.subscribe();
        loop {
            news.mark_unchanged();
            if self.status().ready {
                return;
            }
            // The sender is here, so there will be news or none.
            let _ = news.changed().await;
        }
    }

    /// How things stand: for metrics and health checks.
    pub fn status(&self) -> Status {
        let standings = self.shared.state.standings();
        let keys = self.shared.keys.as_ref().map(Keys::len);
        Status {
            ready: !standings.lease_left.is_zero() && keys != Some(0),
            lease_left: standings.lease_left,
            stale_for: standings.stale_for,
            ended_ids: standings.ended_ids,
            credentials: self.shared.credentials.len(),
            keys: keys.unwrap_or(0),
        }
    }

    /// Tells when an identity dies that was let in.
    pub fn life(&self, identity: &Identity) -> Life {
        Life::new(self.clone(), identity.clone())
    }
}

impl Authority for Following {
    async fn identify(&self, carried: &Carried, _: &Parts) -> Result<Arc<Claims>, Refusal> {
        let (half, credential) = carried.credential().ok_or(Refusal::LoginRequired)?;
        self.recognise(half, credential, Use::Request).await
    }
}

impl Shared {
    /// Tells the server with the next question that a session is in use; unless too many are, then later.
    fn saw(&self, session: SessionId) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let room = seen.len() < SEEN_MAX;
        if room {
            seen.insert(session);
        }
        room
    }

    fn take_seen(&self) -> Vec<SessionId> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *seen).into_iter().collect()
    }
}
