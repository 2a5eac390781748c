//! Strict mode: a Symbolon server in another process is asked about every request (RFC 7662).
//!
//! Nothing is kept, so what the server has ended is refused from the next request on; and each request costs one
//! question over a kept-alive connection. When the server does not answer in time, nobody gets in.

use std::{fmt, sync::Arc, time::Duration};

use http::request::Parts;
use hyper_util::client::legacy::connect::Connect;
use symbolon_core::{client::ClientId, csrf::InvalidOrigin, secret::SecretText};
use tokio::sync::Semaphore;

use crate::{
    Authority,
    admit::{Carried, Half},
    error::Refusal,
    identity::Claims,
    introspection::{Introspection, introspect},
    link::{self, Link, Unanswered},
};

/// What those are told whom the server could not be asked about.
pub(crate) const UNAVAILABLE: Refusal = Refusal::Unavailable { retry_after_secs: 1 };

/// Which server to ask, and as whom. Change the fields that have a default as needed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server's URL, with its path: `http://127.0.0.1:8080`, `https://shop.example/auth`.
    pub server: String,
    /// The client that asks; of the kind *resource*, or *confidential*.
    pub client: ClientId,
    /// Its secret.
    pub secret: SecretText,
    /// Refuse access tokens that are not for this audience, whatever the server says of them. The server already
    /// refuses those that are for none of the client's audiences. Default: none.
    pub audience: Option<String>,
    /// How long one question may take, connecting included. Default: 2 s.
    pub deadline: Duration,
    /// How many questions may be under way; one more is refused as unavailable. Default: 1024.
    pub in_flight_max: usize,
    /// Whether `http` may leave this machine, with the secret and the credentials of all users in clear. Default: no.
    pub trust_network: bool,
}

impl Settings {
    /// Settings with defaults.
    pub fn new(server: impl Into<String>, client: ClientId, secret: SecretText) -> Self {
        Self {
            server: server.into(),
            client,
            secret,
            audience: None,
            deadline: Duration::from_secs(2),
            in_flight_max: 1024,
            trust_network: false,
        }
    }
}

/// Why a server cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidServer {
    /// See [`InvalidOrigin`].
    #[error(transparent)]
    Origin(#[from] InvalidOrigin),
    /// The URL has a query or characters that no path has.
    #[error("the path of the server's URL is not one")]
    Path,
    /// [`Remote::new`] does not speak TLS.
    #[error("https needs a connector that speaks TLS: use `over`")]
    Tls,
    /// `http` would carry secrets over the network.
    #[error(
        "http to another machine shows every credential to the network: use https, or set trust_network"
    )]
    Insecure,
}

/// An [`Authority`] that asks a Symbolon server about every request. Cheap to clone; clones share their connections.
///
/// It speaks plain http, to this machine unless told otherwise. For https bring the connector of your TLS library, such
/// as that of the crate `hyper-rustls`, and use [`Remote::over`]: which roots to trust is the application's to say.
#[derive(Clone)]
pub struct Remote {
    asking: Arc<Asking>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("server", &self.asking.link.base()).finish_non_exhaustive()
    }
}

impl Remote {
    /// Asks over plain http.
    ///
    /// # Errors
    /// [`InvalidServer`] says what to write instead.
    pub fn new(settings: Settings) -> Result<Self, InvalidServer> {
        let connector = link::plain(&settings)?;
        Self::over(settings, connector)
    }

    /// Asks over connections that `connector` makes.
    ///
    /// # Errors
    /// [`InvalidServer`] says what to write instead.
    pub fn over<C>(settings: Settings, connector: C) -> Result<Self, InvalidServer>
    where
        C: Connect + Clone + Send + Sync + 'static,
    {
        Ok(Self { asking: Arc::new(Asking::new(settings, connector)?) })
    }
}

/// Asks about credentials, within bounds.
pub(crate) struct Asking {
    pub(crate) link: Link,
    pub(crate) audience: Option<String>,
    pub(crate) deadline: Duration,
    free: Semaphore,
}

impl Asking {
    pub(crate) fn new<C>(settings: Settings, connector: C) -> Result<Self, InvalidServer>
    where
        C: Connect + Clone + Send + Sync + 'static,
    {
        Ok(Self {
            link: Link::new(&settings, connector)?,
            audience: settings.audience,
            deadline: settings.deadline,
            free: Semaphore::new(settings.in_flight_max.min(Semaphore::MAX_PERMITS)),
        })
    }

    /// What the server says of a credential that is active and of this half.
    ///
    /// # Errors
    /// [`Refusal::InvalidToken`]; [`Refusal::Unavailable`] when the server does not say.
    pub(crate) async fn about(
        &self,
        half: Half,
        credential: &SecretText,
    ) -> Result<Introspection, Refusal> {
        let answer = match self.free.try_acquire() {
            Ok(_place) => introspect(&self.link, credential, self.deadline).await,
            Err(_) => Err(Unanswered::Full),
        };
        let answer = answer.map_err(|why| self.unavailable(why))?;
        if !answer.active {
            return Err(Refusal::InvalidToken);
        }
        if !answer.is_for(half, self.audience.as_deref()) {
            tracing::debug!(?half, "refused a credential of another kind or for another audience");
            return Err(Refusal::InvalidToken);
        }
        Ok(answer)
    }

    /// Whose it is.
    pub(crate) fn claims(&self, answer: Introspection) -> Result<Claims, Refusal> {
        answer.claims().ok_or_else(|| self.unavailable(Unanswered::Garbled))
    }

    fn unavailable(&self, why: Unanswered) -> Refusal {
        tracing::warn!(server = self.link.base(), %why, "cannot check a credential");
        UNAVAILABLE
    }
}

impl Authority for Remote {
    async fn identify(&self, carried: &Carried, _: &Parts) -> Result<Arc<Claims>, Refusal> {
        let (half, credential) = carried.credential().ok_or(Refusal::LoginRequired)?;
        let answer = self.asking.about(half, credential).await?;
        self.asking.claims(answer).map(Arc::new)
    }
}
