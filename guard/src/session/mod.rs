//! Sessions of the application's own, without a Symbolon server: typed data, logins, limits, on a
//! [store](crate::store) of the application's choice.
//!
//! ```
//! use axum::{Router, routing::{get, post}};
//! use symbolon_guard::{Rules, session::{Key, Keys, Login, Session, SessionError, Sessions, Settings}};
//! use symbolon_guard::store::memory::Memory;
//! # use {axum::body::Body, http::Request, tower::ServiceExt};
//!
//! const CART: Key<Vec<String>> = Key::new("cart");
//!
//! async fn add(session: Session) -> Result<String, SessionError> {
//!     let cart = session.update(&CART, |cart| {
//!         let mut cart = cart.unwrap_or_default();
//!         cart.push("tea".to_owned());
//!         cart
//!     });
//!     Ok(format!("{} in the cart", cart.await?.len()))
//! }
//!
//! async fn login(session: Session) -> Result<&'static str, SessionError> {
//!     // … once the password is right:
//!     session.login(Login::new("user-17")).await?;
//!     Ok("welcome")
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = Settings::new(Rules::new("https://shop.example")?, Keys::random());
//! let sessions = Sessions::new(settings, Memory::new(1_000_000))?;
//! let app: Router =
//!     Router::new().route("/cart", post(add)).route("/login", post(login)).layer(sessions);
//! # let answer = app.oneshot(Request::post("/cart").body(Body::empty())?).await?;
//! # assert_eq!(answer.status(), 200);
//! # assert!(answer.headers()["set-cookie"].to_str()?.starts_with("__Host-session=syma_"));
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! * An ended session stays ended while requests are running, and a new id never follows from an old one.
//! * Parallel requests do not lose each other's changes: each writes the keys that it changed.
//! * A request that does not ask for its session costs no look into the store; what nobody has signed neither.
//! * A store that is down gives 503 with `Retry-After` within [`store_wait_max`](Settings::store_wait_max), then at
//!   once, and by itself everything again when it is back.
//! * The layer removes a cookie at a logout only: a late answer to an old request must not remove the cookie that a
//!   login has just set.
//!
//! There is no copy of sessions beside the store, so an end counts for the next request on every node.

use std::{fmt, sync::Arc};

use symbolon_core::id::SessionId;

use crate::{
    os::now,
    store::{Event, Reason, SessionStore},
};

mod arrive;
mod error;
mod events;
mod handle;
mod layer;
mod login;
mod reach;
mod secret;
mod settings;
mod state;

pub use arrive::{Adopted, Arrival, Arrivals, Arrived};
pub use error::{Misuse, SessionError};
pub use handle::{Key, Session};
pub use layer::WithSessions;
pub use login::Login;
pub use secret::{KEY_BYTES_MIN, Keys, ShortKey};
pub use settings::{Csrf, InvalidSettings, NAME_BYTES_MAX, SameSite, Settings, Transport};

/// The layer that gives every request its [`Session`]. Cheap to clone.
#[derive(Clone)]
pub struct Sessions(Arc<Shared>);

struct Shared {
    settings: Settings,
    cookie: settings::Cookie,
    reach: Arc<reach::Reach>,
    arrived: arrive::Counter,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { settings, reach, .. } = &*self.0;
        f.debug_struct("Sessions").field("name", &settings.name).field("in", reach).finish()
    }
}

impl Sessions {
    /// Sessions like this, in this store.
    ///
    /// # Errors
    /// [`InvalidSettings`] says what does not fit together.
    pub fn new(settings: Settings, store: impl SessionStore) -> Result<Self, InvalidSettings> {
        let cookie = settings.cookie()?;
        let reach = Arc::new(reach::Reach::new(Arc::new(store), settings.store_wait_max));
        Ok(Self(Arc::new(Shared { settings, cookie, reach, arrived: Default::default() })))
    }

    /// Ends a session, whosever it is: for administrators. Returns whether it was live.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub async fn end(&self, id: SessionId) -> Result<bool, SessionError> {
        let at = now();
        self.reach().ask(|store| store.end(id, Reason::Revoked, at)).await
    }

    /// Ends all sessions of a user, and every login of theirs that is under way: when they are disabled, or their password
    /// was reset. Returns how many were live.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub async fn end_user(&self, user: &str) -> Result<u64, SessionError> {
        let at = now();
        self.reach().ask(|store| store.end_user(user, None, Reason::Revoked, at)).await
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn SessionStore> {
        &self.reach().store
    }

    /// Tells of everything that happens to sessions, if the store keeps events. It never comes back: spawn it.
    ///
    /// Each event is told at least once, those of one session in their order. An event that `hear` fails on is told again
    /// after a while, and those after it wait. Where several nodes tell, each event is told by one or more of them.
    pub async fn tell<F, T, E>(&self, hear: F)
    where
        F: FnMut(Event) -> T,
        T: Future<Output = Result<(), E>>,
        E: fmt::Display,
    {
        events::tell(self.reach(), hear).await;
    }

    fn name(&self) -> &str {
        &self.0.settings.name
    }

    fn settings(&self) -> &Settings {
        &self.0.settings
    }

    fn cookie(&self) -> &settings::Cookie {
        &self.0.cookie
    }

    fn reach(&self) -> &Arc<reach::Reach> {
        &self.0.reach
    }

    fn arrived_here(&self) -> &arrive::Counter {
        &self.0.arrived
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
