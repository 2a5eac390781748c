//! [`Session`]: what a handler has of the session of its request.

use std::{
    fmt,
    marker::PhantomData,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use http::Extensions;
use serde::{Serialize, de::DeserializeOwned};
use symbolon_core::{csrf, data::DataVersion, id::SessionId};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};

use super::{
    Login, Misuse, SessionError, Sessions,
    layer::Carried,
    reach::Reach,
    state::{Send, State},
};
use crate::{
    os::now,
    store::{Delta, Loaded, Part, Reason, Record},
};

/// The most attempts of one [`Session::update`].
const UPDATES_MAX: usize = 1000;

/// The session of a request. It costs nothing until it is asked for something: then the store is asked, once for who it
/// is and once for its data.
///
/// What is [`set`](Self::set) is saved when the handler has answered, before the answer leaves; only the keys that
/// changed are written, so parallel requests lose nothing of each other's. That is one question to the store: nothing is
/// read for it. Call [`save`](Self::save) where that is too
/// late: before a redirect goes out by other means, before a body is streamed.
///
/// A session is opened when there is something to keep: a request that only reads gets no cookie.
///
/// Clones are the same session.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    sessions: Sessions,
    /// That of the layer around ours.
    outer: Option<Session>,
    state: AsyncMutex<State>,
    pending: Mutex<Delta>,
    asked: AtomicBool,
}

/// A key of session data and the type of its value, declared once.
///
/// ```
/// use symbolon_guard::session::Key;
/// const CART: Key<Vec<String>> = Key::new("cart");
/// ```
pub struct Key<T> {
    name: &'static str,
    value: PhantomData<fn(T) -> T>,
}

impl<T> Key<T> {
    /// The key of this name: 1 to 128 bytes.
    pub const fn new(name: &'static str) -> Self {
        Self { name, value: PhantomData }
    }
}

impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.name)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("name", &self.0.sessions.name()).finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn begin(sessions: Sessions, carried: Carried, outer: Option<Self>) -> Self {
        let pending = Delta::new(sessions.settings().data_bytes_max);
        Self(Arc::new(Inner {
            sessions,
            outer,
            state: AsyncMutex::new(State::begin(carried)),
            pending: Mutex::new(pending),
            asked: AtomicBool::new(false),
        }))
    }

    /// The session of a request by its name, where several layers stand in front of the route. As an extractor,
    /// [`Session`] is that of the layer nearest to the handler.
    pub fn named(name: &str, extensions: &Extensions) -> Option<Self> {
        let nearest = extensions.get::<Self>();
        let mut all = std::iter::successors(nearest, |session| session.0.outer.as_ref());
        all.find(|session| session.0.sessions.name() == name).cloned()
    }

    pub(super) fn is_of(&self, sessions: &Sessions) -> bool {
        self.0.sessions.is(sessions)
    }

    /// Who is logged in; `None` for a visitor, and where there is no session.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub async fn user(&self) -> Result<Option<Arc<str>>, SessionError> {
        Ok(self.record().await?.and_then(|record| record.user))
    }

    /// What is known of the session; `None` where there is none.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub async fn record(&self) -> Result<Option<Record>, SessionError> {
        let state = self.ask(Part::Record).await?;
        Ok(state.record().cloned())
    }

    /// The value of a key: as this request has set it, or as it was when the request first asked.
    ///
    /// A value that is there but is no `T` counts as absent and is logged: one written by another version of the
    /// application must not lock anybody out.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`]; [`SessionError::Ended`] when it has ended since this request first looked.
    pub async fn get<T: DeserializeOwned>(&self, key: &Key<T>) -> Result<Option<T>, SessionError> {
        if let Some(changed) = self.pending().get(key.name) {
            return Ok(changed.and_then(|bytes| read(key.name, bytes)));
        }
        let state = self.ask(Part::All).await?;
        let bytes = state.values()?.and_then(|(_, values)| values.get(key.name));
        Ok(bytes.and_then(|bytes| read(key.name, bytes)))
    }

    /// Gives a key a value. It is saved when the handler has answered.
    ///
    /// # Errors
    /// [`SessionError::Misuse`].
    pub fn set<T: Serialize>(&self, key: &Key<T>, value: &T) -> Result<(), SessionError> {
        let json = serde_json::to_vec(value).map_err(|_| SessionError::Misuse(Misuse::Value))?;
        Ok(self.pending().set(key.name, json)?)
    }

    /// Takes a key away. It is saved when the handler has answered.
    ///
    /// # Errors
    /// [`SessionError::Misuse`].
    pub fn remove<T>(&self, key: &Key<T>) -> Result<(), SessionError> {
        Ok(self.pending().remove(key.name)?)
    }

    /// The value of a key, which goes with that: for a message that the next page shows once.
    ///
    /// # Errors
    /// As of [`get`](Self::get).
    pub async fn take<T: DeserializeOwned>(&self, key: &Key<T>) -> Result<Option<T>, SessionError> {
        let value = self.get(key).await?;
        if value.is_some() {
            self.remove(key)?;
        }
        Ok(value)
    }

    /// Changes a value so that parallel requests do not undo each other's change, and saves it at once: `change` gets
    /// the value as it is now, perhaps several times, and gives the new one.
    ///
    /// # Errors
    /// As of [`save`](Self::save); [`SessionError::Contended`].
    pub async fn update<T: Serialize + DeserializeOwned>(
        &self,
        key: &Key<T>,
        mut change: impl FnMut(Option<T>) -> T,
    ) -> Result<T, SessionError> {
        self.save().await?;
        let mut state = self.ask(Part::All).await?;
        for _ in 0..UPDATES_MAX {
            let (version, old) = match state.values()? {
                Some((version, values)) => (version, values.get(key.name)),
                None => (DataVersion(0), None),
            };
            let new = change(old.and_then(|bytes| read(key.name, bytes)));
            let json = serde_json::to_vec(&new).map_err(|_| SessionError::Misuse(Misuse::Value))?;
            let mut delta = Delta::new(self.bytes_max()).only_at(version);
            delta.set(key.name, json)?;
            if state.write(self.sessions(), delta).await? {
                return Ok(new);
            }
            state.look(self.sessions(), Part::All).await?;
        }
        Err(SessionError::Contended)
    }

    /// Saves what has changed, now. Without a session, and with something to keep, one is opened.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`], [`SessionError::TooLarge`]; [`SessionError::Ended`] when the session has ended
    /// since this request first looked, or lately got a new id that this request does not hold. What could not be saved is
    /// dropped.
    pub async fn save(&self) -> Result<(), SessionError> {
        let delta = self.take_pending();
        if delta.is_empty() {
            return Ok(());
        }
        self.state().await.write(self.sessions(), delta).await.map(drop)
    }

    /// Forgets what this request knows and has not saved, and asks the store anew: for long requests.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`]; [`SessionError::Ended`].
    pub async fn reload(&self) -> Result<(), SessionError> {
        self.take_pending();
        let mut state = self.state().await;
        state.look(self.sessions(), Part::All).await?;
        state.values().map(drop)
    }

    /// Logs a user in, once the application knows who it is. The session gets a new id; the data of a visitor, and of
    /// this user's own session, comes along. Another user's session is logged out with that, and nothing of it comes along.
    ///
    /// Where the session of before ended while this request ran, as when a form is sent twice, a new one is opened
    /// without its data.
    ///
    /// # Errors
    /// [`SessionError::TooMany`]; [`SessionError::Ended`] when all sessions of this user were ended after this request
    /// began: what it has proven may not be true any more; and as of [`save`](Self::save).
    pub async fn login(&self, login: Login) -> Result<(), SessionError> {
        if !login.is_possible() {
            return Err(SessionError::Misuse(Misuse::User));
        }
        self.state().await.login(self.sessions(), login, self.take_pending()).await
    }

    /// Gives the session a new id and keeps everything else: at every change of privilege that is no login. The old id
    /// ends with that. Without a session there is nothing to do.
    ///
    /// # Errors
    /// As of [`save`](Self::save).
    pub async fn renew(&self) -> Result<(), SessionError> {
        let mut state = self.ask(Part::Record).await?;
        if state.secret()?.is_some() {
            state.renew(self.sessions(), self.take_pending()).await?;
        }
        Ok(())
    }

    /// Logs out: ends the session, and has the browser forget it. The browser forgets it even where the store does not
    /// answer.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`]: the session may live on, although its browser has forgotten it.
    pub async fn logout(&self) -> Result<(), SessionError> {
        self.take_pending();
        self.state().await.end(self.sessions()).await
    }

    /// Logs the user out everywhere, here too. Returns how many sessions that ended.
    ///
    /// # Errors
    /// As of [`logout`](Self::logout).
    pub async fn logout_everywhere(&self) -> Result<u64, SessionError> {
        let ended = self.end_all(false).await;
        self.logout().await?;
        ended
    }

    /// Logs the user out everywhere but here: for *log out other devices*, and after a changed password, with
    /// [`renew`](Self::renew). Logins of this user that are under way open nothing. Returns how many sessions ended.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub async fn logout_others(&self) -> Result<u64, SessionError> {
        self.end_all(true).await
    }

    /// The live sessions of whoever is logged in, those opened last first, at most 100. Nobody has none.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub async fn list(&self) -> Result<Vec<Record>, SessionError> {
        let Some(user) = self.user().await? else { return Ok(Vec::new()) };
        let at = now();
        self.reach().ask(|store| store.list(&user, at)).await
    }

    /// Ends another session of whoever is logged in here, as its user asks for from a list. Returns whether there was
    /// such a live one; that of anybody else is left alone.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub async fn end(&self, id: SessionId) -> Result<bool, SessionError> {
        let (Some(user), at) = (self.user().await?, now()) else { return Ok(false) };
        match self.reach().ask(|store| store.load(id, Part::Record, at)).await? {
            Loaded::Live(record, _) if record.user == Some(user) => {
                self.reach().ask(|store| store.end(id, Reason::Revoked, at)).await
            }
            _ => Ok(false),
        }
    }

    /// The CSRF token of this session: for a form, in a field, beside the same-origin proof that the layer asks for
    /// anyway. It changes at every login. Without a session one is opened.
    ///
    /// # Errors
    /// As of [`save`](Self::save).
    pub async fn csrf_token(&self) -> Result<String, SessionError> {
        let mut state = self.ask(Part::Record).await?;
        if state.secret()?.is_none() {
            state.open_visitor(self.sessions(), self.take_pending()).await?;
        }
        let secret = state.secret()?.ok_or(SessionError::Unavailable)?;
        Ok(csrf::token(secret.csrf().expose()))
    }

    /// Whether this is the CSRF token of the session that the request came with.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub async fn is_csrf_token(&self, given: &str) -> Result<bool, SessionError> {
        let state = self.ask(Part::Record).await?;
        let secret = state.secret().ok().flatten();
        Ok(secret.is_some_and(|secret| csrf::matches(given, secret.csrf().expose())))
    }

    /// What is left to do when the handler has answered: what the answer tells the client to hold, and whether the
    /// answer depends on the session.
    pub(super) async fn finish(&self) -> (Result<(), SessionError>, Option<Send>, bool) {
        let saved = match self.save().await {
            // The answer was made; there is nothing to write to any more.
            Err(SessionError::Ended(reason)) => {
                tracing::debug!(reason = reason.as_str(), "the session has ended meanwhile");
                Ok(())
            }
            other => other,
        };
        let send = self.0.state.lock().await.take_send();
        (saved, send, self.0.asked.load(Ordering::Relaxed))
    }

    fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    fn reach(&self) -> &Arc<Reach> {
        self.sessions().reach()
    }

    fn bytes_max(&self) -> usize {
        self.sessions().settings().data_bytes_max
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, Delta> {
        self.0.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_pending(&self) -> Delta {
        let none = Delta::new(self.bytes_max());
        std::mem::replace(&mut *self.pending(), none)
    }

    /// What is known, on which the answer depends from here on.
    async fn state(&self) -> MutexGuard<'_, State> {
        self.0.asked.store(true, Ordering::Relaxed);
        self.0.state.lock().await
    }

    /// The state, in which at least this much is known.
    async fn ask(&self, part: Part) -> Result<MutexGuard<'_, State>, SessionError> {
        let mut state = self.state().await;
        state.ask(self.sessions(), part).await?;
        Ok(state)
    }

    async fn end_all(&self, but_this: bool) -> Result<u64, SessionError> {
        let Some(Record { id, user: Some(user), .. }) = self.record().await? else { return Ok(0) };
        let (but, at) = (but_this.then_some(id), now());
        self.reach().ask(|store| store.end_user(&user, but, Reason::Revoked, at)).await
    }
}

fn read<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes)
        .inspect_err(|error| tracing::warn!(key, %error, "a value of a session is of another type"))
        .ok()
}
