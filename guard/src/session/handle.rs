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
use symbolon_core::{
    csrf, data::DataVersion, id::SessionId, secret::SecretText, session::Limits, time::Time,
};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};

use super::{
    Misuse, SessionError, Sessions,
    layer::{Carried, InRequest},
    secret::Secret,
};
use crate::{
    os::now,
    store::{
        Applied, AtMost, Delta, LABEL_BYTES_MAX, Loaded, Opened, Opening, Part, Reason, Record,
        TOMBSTONE, USER_BYTES_MAX, Values,
    },
};

/// The most attempts of one [`Session::update`].
const UPDATES_MAX: usize = 1000;

/// The session of a request. It costs nothing until it is asked for something: then the store is asked, once for who it
/// is and once for its data.
///
/// What is [`set`](Self::set) is saved when the handler has answered, before the answer leaves; only the keys that
/// changed are written, so parallel requests lose nothing of each other's. Call [`save`](Self::save) where that is too
/// late: before a redirect goes out by other means, before a body is streamed.
///
/// A session is opened when there is something to keep: a request that only reads gets no cookie.
///
/// Clones are the same session.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    sessions: Sessions,
    /// What the request holds of a session of an earlier system, if that is all it holds.
    earlier: Option<SecretText>,
    began_at: Time,
    state: AsyncMutex<State>,
    pending: Mutex<Delta>,
    asked: AtomicBool,
}

struct State {
    secret: Option<Secret>,
    known: Known,
    send: Option<Send>,
}

/// What is known of the session.
enum Known {
    NotAsked,
    /// There is none.
    Nothing,
    Live(Record, Option<Values>),
    /// It was live and has ended.
    Gone(Reason),
}

/// What the answer tells the client to hold.
pub(super) enum Send {
    Set(Secret, Option<std::time::Duration>),
    Clear,
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

/// A login: who, and what for a session it gets.
///
/// ```
/// use symbolon_guard::session::Login;
/// let login = Login::new("user-17").remembered(true).label("Firefox on Linux");
/// ```
#[derive(Debug, Clone)]
pub struct Login {
    user: Arc<str>,
    label: Option<Arc<str>>,
    remembered: bool,
    at_most: Option<AtMost>,
    limits: Option<(std::time::Duration, std::time::Duration)>,
}

impl Login {
    /// Of the user whom the application knows by this name: 1 to 256 bytes that never change.
    pub fn new(user: impl Into<Arc<str>>) -> Self {
        Self { user: user.into(), label: None, remembered: false, at_most: None, limits: None }
    }

    /// Whether the user asked to be remembered: the longer limits, and a cookie that outlives the browser.
    #[must_use]
    pub fn remembered(self, remembered: bool) -> Self {
        Self { remembered, ..self }
    }

    /// What the user knows the session by in a list. Cut after 128 bytes.
    #[must_use]
    pub fn label(self, label: &str) -> Self {
        let label = &label[..label.floor_char_boundary(LABEL_BYTES_MAX)];
        Self { label: Some(label.into()), ..self }
    }

    /// How many sessions this user may have, this one included.
    #[must_use]
    pub fn at_most(self, at_most: AtMost) -> Self {
        Self { at_most: Some(at_most), ..self }
    }

    /// How long this session may be silent, and how long it lives, instead of what the settings say.
    #[must_use]
    pub fn limits(self, idle: std::time::Duration, absolute: std::time::Duration) -> Self {
        Self { limits: Some((idle, absolute)), ..self }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("name", &self.0.sessions.name()).finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn begin(sessions: Sessions, carried: Carried) -> Self {
        let pending = Delta::new(sessions.settings().data_bytes_max);
        let (secret, earlier) = carried.split();
        let state = State { secret, known: Known::NotAsked, send: None };
        Self(Arc::new(Inner {
            sessions,
            earlier,
            began_at: now(),
            state: AsyncMutex::new(state),
            pending: Mutex::new(pending),
            asked: AtomicBool::new(false),
        }))
    }

    /// The session of a request by its name, where several layers stand in front of the route. As an extractor,
    /// [`Session`] is that of the layer nearest to the handler.
    pub fn named(name: &str, extensions: &Extensions) -> Option<Self> {
        let all = &extensions.get::<InRequest>()?.0;
        all.iter().find(|session| session.0.sessions.name() == name).cloned()
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
        match &state.known {
            Known::Live(_, Some(values)) => {
                Ok(values.get(key.name).and_then(|bytes| read(key.name, bytes)))
            }
            Known::Gone(reason) => Err(SessionError::Ended(*reason)),
            _ => Ok(None),
        }
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
            let (version, old) = match &state.known {
                Known::Live(record, Some(values)) => (record.version, values.get(key.name)),
                Known::Gone(reason) => return Err(SessionError::Ended(*reason)),
                _ => (DataVersion(0), None),
            };
            let new = change(old.and_then(|bytes| read(key.name, bytes)));
            let json = serde_json::to_vec(&new).map_err(|_| SessionError::Misuse(Misuse::Value))?;
            let mut delta = Delta::new(self.bytes_max()).only_at(version);
            delta.set(key.name, json)?;
            if self.write(&mut state, delta).await? {
                return Ok(new);
            }
            self.reload_into(&mut state).await?;
        }
        Err(SessionError::Contended)
    }

    /// Saves what has changed, now. Without a session, and with something to keep, one is opened.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`], [`SessionError::TooLarge`]; [`SessionError::Ended`] when the session has ended
    /// since this request first looked. What could not be saved is dropped.
    pub async fn save(&self) -> Result<(), SessionError> {
        let delta = self.take_pending();
        if delta.is_empty() {
            return Ok(());
        }
        let mut state = self.ask(Part::Record).await?;
        let sets_something = delta.iter().any(|(_, value)| value.is_some());
        if sets_something || matches!(state.known, Known::Live(..) | Known::Gone(_)) {
            self.write(&mut state, delta).await?;
        }
        Ok(())
    }

    /// Forgets what this request knows and has not saved, and asks the store anew: for long requests.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`]; [`SessionError::Ended`].
    pub async fn reload(&self) -> Result<(), SessionError> {
        self.take_pending();
        let mut state = self.ask(Part::Record).await?;
        self.reload_into(&mut state).await?;
        match state.known {
            Known::Gone(reason) => Err(SessionError::Ended(reason)),
            _ => Ok(()),
        }
    }

    /// Logs a user in, once the application knows who it is. The session gets a new id; the data of a visitor, and of
    /// this user's own session, comes along. Another user's session is logged out first, and nothing of it comes along.
    ///
    /// Where the session of before ended while this request ran, as when a form is sent twice, a new one is opened
    /// without its data.
    ///
    /// # Errors
    /// [`SessionError::TooMany`]; [`SessionError::Ended`] when all sessions of this user were ended after this request
    /// began: what it has proven may not be true any more; and as of [`save`](Self::save).
    pub async fn login(&self, login: Login) -> Result<(), SessionError> {
        if login.user.is_empty() || login.user.len() > USER_BYTES_MAX {
            return Err(SessionError::Misuse(Misuse::User));
        }
        let now = now();
        if now.since(self.0.began_at) >= TOMBSTONE {
            // Longer than the store knows of ends.
            return Err(SessionError::Ended(Reason::Revoked));
        }
        let mut state = self.ask(Part::Record).await?;
        let settings = self.0.sessions.settings();
        let (idle, absolute) = login.limits.unwrap_or(if login.remembered {
            (settings.lifetimes.remembered_idle, settings.lifetimes.remembered_absolute)
        } else {
            (settings.lifetimes.idle, settings.lifetimes.absolute)
        });
        let wanted = |secret: &Secret, delta| Opening {
            id: secret.id(),
            user: Some(Arc::clone(&login.user)),
            label: login.label.clone(),
            remembered: login.remembered,
            opened_at: now,
            limits: Limits { idle, ends_at: now + absolute },
            at_most: login.at_most.or(settings.at_most),
            began_at: self.0.began_at,
            delta,
        };
        if let Some(Record { id, user: Some(user), .. }) = state.record()
            && **user != *login.user
        {
            let id = *id;
            self.end_own(&mut state, id, now).await?;
        }
        self.open(&mut state, wanted).await
    }

    /// Gives the session a new id and keeps everything else: at every change of privilege that is no login. The old id
    /// ends with that. Without a session there is nothing to do.
    ///
    /// # Errors
    /// As of [`save`](Self::save).
    pub async fn renew(&self) -> Result<(), SessionError> {
        let mut state = self.ask(Part::Record).await?;
        let Some(record) = state.record().cloned() else {
            return match state.known {
                Known::Gone(reason) => Err(SessionError::Ended(reason)),
                _ => Ok(()),
            };
        };
        let began_at = self.0.began_at;
        let secret = Secret::random();
        let opening = Opening {
            id: secret.id(),
            user: record.user,
            label: record.label,
            remembered: record.remembered,
            opened_at: record.opened_at,
            limits: record.limits,
            at_most: None,
            began_at,
            delta: self.take_pending(),
        };
        let at = now();
        let opened = self.reach().ask(|store| store.renew(record.id, &opening, at)).await?;
        self.opened(&mut state, secret, &opening, opened)
    }

    /// Logs out: ends the session, and has the browser forget it. The browser forgets it even where the store does not
    /// answer.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`]: the session may live on, although its browser has forgotten it.
    pub async fn logout(&self) -> Result<(), SessionError> {
        self.take_pending();
        let mut state = self.state().await;
        let id = match (&state.known, &state.secret) {
            (Known::Live(record, _), _) => record.id,
            (Known::NotAsked, Some(secret)) => secret.id(),
            _ => return Ok(()),
        };
        self.end_own(&mut state, id, now()).await
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
        if matches!(state.known, Known::Nothing) {
            let delta = self.take_pending();
            self.write(&mut state, delta).await?;
        }
        match (&state.known, &state.secret) {
            (Known::Live(..), Some(secret)) => Ok(csrf::token(secret.csrf().expose())),
            (Known::Gone(reason), _) => Err(SessionError::Ended(*reason)),
            _ => Err(SessionError::Unavailable),
        }
    }

    /// Whether this is the CSRF token of the session that the request came with.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub async fn is_csrf_token(&self, given: &str) -> Result<bool, SessionError> {
        let state = self.ask(Part::Record).await?;
        Ok(match (&state.known, &state.secret) {
            (Known::Live(..), Some(secret)) => csrf::matches(given, secret.csrf().expose()),
            _ => false,
        })
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
        let send = self.state().await.send.take();
        (saved, send, self.0.asked.load(Ordering::Relaxed))
    }

    fn reach(&self) -> &Arc<super::reach::Reach> {
        self.0.sessions.reach()
    }

    fn bytes_max(&self) -> usize {
        self.0.sessions.settings().data_bytes_max
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, Delta> {
        self.0.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_pending(&self) -> Delta {
        let none = Delta::new(self.bytes_max());
        std::mem::replace(&mut *self.pending(), none)
    }

    async fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().await
    }

    /// The state, in which at least this much is known.
    async fn ask(&self, part: Part) -> Result<MutexGuard<'_, State>, SessionError> {
        self.0.asked.store(true, Ordering::Relaxed);
        let mut state = self.state().await;
        let id = match (&state.known, &state.secret) {
            (Known::NotAsked, None) => {
                state.known = Known::Nothing;
                return Ok(state);
            }
            (Known::NotAsked, Some(secret)) => secret.id(),
            (Known::Live(record, None), _) if part == Part::All => record.id,
            _ => return Ok(state),
        };
        let first = matches!(state.known, Known::NotAsked);
        let at = now();
        let earlier = self.0.earlier.as_ref().filter(|_| first);
        state.known = match self.0.sessions.look(earlier, id, part, at).await? {
            Loaded::Live(record, values) => {
                if first && record.touch_is_due(at) {
                    self.reach().seen(id, at);
                }
                if earlier.is_some() {
                    let max_age = record.remembered.then(|| record.limits.ends_at.since(at));
                    state.send = state.secret.clone().map(|secret| Send::Set(secret, max_age));
                }
                Known::Live(record, values)
            }
            // Before this request: it came with something that has ended.
            Loaded::Gone(_) | Loaded::Unknown if first => {
                state.secret = None;
                Known::Nothing
            }
            Loaded::Gone(reason) => Known::Gone(reason),
            Loaded::Unknown => Known::Gone(Reason::Expired),
        };
        Ok(state)
    }

    async fn reload_into(&self, state: &mut State) -> Result<(), SessionError> {
        let Some(id) = state.record().map(|record| record.id) else { return Ok(()) };
        let at = now();
        state.known = match self.reach().ask(|store| store.load(id, Part::All, at)).await? {
            Loaded::Live(record, values) => Known::Live(record, values),
            Loaded::Gone(reason) => Known::Gone(reason),
            Loaded::Unknown => Known::Gone(Reason::Expired),
        };
        Ok(())
    }

    /// Writes changes to the session, or opens one with them. Returns whether the version was the expected one.
    async fn write(&self, state: &mut State, delta: Delta) -> Result<bool, SessionError> {
        let at = now();
        let (record, values) = match &mut state.known {
            Known::Gone(reason) => return Err(SessionError::Ended(*reason)),
            Known::Live(record, values) => (record, values),
            Known::Nothing | Known::NotAsked => {
                let lives = self.0.sessions.settings().lifetimes.visitor;
                let visitor = |secret: &Secret, delta| Opening {
                    id: secret.id(),
                    user: None,
                    label: None,
                    remembered: false,
                    opened_at: at,
                    limits: Limits { idle: lives, ends_at: at + lives },
                    at_most: None,
                    began_at: self.0.began_at,
                    delta,
                };
                self.create(state, &visitor, delta).await?;
                return Ok(true);
            }
        };
        let id = record.id;
        match self.reach().ask(|store| store.apply(id, &delta, at)).await? {
            Applied::Done(version) => {
                *values = values.take().and_then(|values| values.merged(&delta));
                record.version = version;
                Ok(true)
            }
            Applied::Conflict(_) => Ok(false),
            Applied::TooLarge => Err(SessionError::TooLarge { bytes_max: delta.bytes_max }),
            Applied::Gone(reason) => Err(state.has_ended(reason)),
            Applied::Unknown => Err(state.has_ended(Reason::Expired)),
        }
    }

    /// Opens a session in place of the one there is, or a first one.
    async fn open(
        &self,
        state: &mut State,
        wanted: impl Fn(&Secret, Delta) -> Opening,
    ) -> Result<(), SessionError> {
        let delta = self.take_pending();
        if let Some(old) = state.record().map(|record| record.id) {
            let (secret, at) = (Secret::random(), now());
            let opening = wanted(&secret, delta.clone());
            let opened = self.reach().ask(|store| store.renew(old, &opening, at)).await?;
            if !matches!(opened, Opened::Gone(_) | Opened::Unknown) {
                return self.opened(state, secret, &opening, opened);
            }
        }
        self.create(state, &wanted, delta).await
    }

    async fn create(
        &self,
        state: &mut State,
        wanted: &impl Fn(&Secret, Delta) -> Opening,
        delta: Delta,
    ) -> Result<(), SessionError> {
        let (secret, at) = (Secret::random(), now());
        let mut opening = wanted(&secret, delta);
        opening.delta.expected = None;
        let opened = self.reach().ask(|store| store.create(&opening, at)).await?;
        self.opened(state, secret, &opening, opened)
    }

    fn opened(
        &self,
        state: &mut State,
        secret: Secret,
        opening: &Opening,
        opened: Opened,
    ) -> Result<(), SessionError> {
        let record = match opened {
            Opened::Live(record) => record,
            Opened::TooMany => return Err(SessionError::TooMany),
            Opened::Stale => return Err(SessionError::Ended(Reason::Revoked)),
            Opened::TooLarge => {
                return Err(SessionError::TooLarge { bytes_max: opening.delta.bytes_max });
            }
            Opened::Gone(reason) => return Err(state.has_ended(reason)),
            Opened::Unknown => return Err(state.has_ended(Reason::Expired)),
            // 192 random bits do not repeat.
            Opened::Taken => return Err(SessionError::Unavailable),
        };
        let now = now();
        self.reach().sweep_if_due(now);
        let max_age = record.remembered.then(|| record.limits.ends_at.since(now));
        state.send = Some(Send::Set(secret.clone(), max_age));
        state.secret = Some(secret);
        state.known = Known::Live(record, None);
        Ok(())
    }

    /// Ends the session of this request. What comes after begins another one.
    async fn end_own(
        &self,
        state: &mut State,
        id: SessionId,
        at: Time,
    ) -> Result<(), SessionError> {
        *state = State { secret: None, known: Known::Nothing, send: Some(Send::Clear) };
        self.reach().ask(|store| store.end(id, Reason::Logout, at)).await.map(drop)
    }

    async fn end_all(&self, but_this: bool) -> Result<u64, SessionError> {
        let Some(Record { id, user: Some(user), .. }) = self.record().await? else { return Ok(0) };
        let (but, at) = (but_this.then_some(id), now());
        self.reach().ask(|store| store.end_user(&user, but, Reason::Revoked, at)).await
    }
}

impl State {
    fn record(&self) -> Option<&Record> {
        match &self.known {
            Known::Live(record, _) => Some(record),
            _ => None,
        }
    }

    fn has_ended(&mut self, reason: Reason) -> SessionError {
        self.known = Known::Gone(reason);
        SessionError::Ended(reason)
    }
}

fn read<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes)
        .inspect_err(|error| tracing::warn!(key, %error, "a value of a session is of another type"))
        .ok()
}
