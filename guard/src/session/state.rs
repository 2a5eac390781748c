//! What a request knows of its session. Every question to the store is asked here, and what comes back decides what the
//! answer tells the client to hold.

use std::{sync::Arc, time::Duration};

use symbolon_core::{
    data::DataVersion, id::SessionId, secret::SecretText, session::Limits, time::Time,
};

use super::{SessionError, Sessions, layer::Carried, login::Login, reach::Reach, secret::Secret};
use crate::{
    os::now,
    store::{Applied, Delta, Loaded, Opened, Opening, Part, Reason, Record, TOMBSTONE, Values},
};

pub(super) struct State {
    /// What the request holds of a session of an earlier system, if that is all it holds.
    earlier: Option<SecretText>,
    began_at: Time,
    secret: Option<Secret>,
    known: Known,
    send: Option<Send>,
}

/// What is known of the session.
enum Known {
    NotAsked,
    /// There is none.
    Nothing,
    /// It has a new id, which its client may hold by now: what this request opened could take its place.
    Replaced,
    /// It was live when this request wrote to it, and nobody has looked.
    Written(SessionId),
    Live(Record, Option<Values>),
    /// It was live and has ended.
    Gone(Reason),
}

/// What the answer tells the client to hold.
pub(super) enum Send {
    Set(Secret, Option<Duration>),
    Clear,
}

impl State {
    pub(super) fn begin(carried: Carried) -> Self {
        let (secret, earlier) = carried.split();
        Self { earlier, began_at: now(), secret, known: Known::NotAsked, send: None }
    }

    /// What is known of a live session.
    pub(super) fn record(&self) -> Option<&Record> {
        match &self.known {
            Known::Live(record, _) => Some(record),
            _ => None,
        }
    }

    /// The data of a live session, as far as it was asked for.
    ///
    /// # Errors
    /// [`SessionError::Ended`].
    pub(super) fn values(&self) -> Result<Option<(DataVersion, &Values)>, SessionError> {
        match &self.known {
            Known::Live(record, Some(values)) => Ok(Some((record.version, values))),
            Known::Gone(reason) => Err(SessionError::Ended(*reason)),
            _ => Ok(None),
        }
    }

    /// What proves the live session.
    ///
    /// # Errors
    /// [`SessionError::Ended`].
    pub(super) fn secret(&self) -> Result<Option<&Secret>, SessionError> {
        match &self.known {
            Known::Live(..) => Ok(self.secret.as_ref()),
            Known::Gone(reason) => Err(SessionError::Ended(*reason)),
            _ => Ok(None),
        }
    }

    /// What the answer is to tell the client, once.
    pub(super) fn take_send(&mut self) -> Option<Send> {
        self.send.take()
    }

    /// The session that there is or may be.
    fn id(&self) -> Option<SessionId> {
        match (&self.known, &self.secret) {
            (Known::Live(record, _), _) => Some(record.id),
            (Known::Written(id), _) => Some(*id),
            (Known::NotAsked, Some(secret)) => Some(secret.id()),
            _ => None,
        }
    }

    /// Sees to it that at least this much is known.
    pub(super) async fn ask(
        &mut self,
        sessions: &Sessions,
        part: Part,
    ) -> Result<(), SessionError> {
        match &self.known {
            Known::NotAsked | Known::Written(_) => self.look(sessions, part).await,
            Known::Live(_, None) if part == Part::All => self.look(sessions, part).await,
            _ => Ok(()),
        }
    }

    /// Asks the store, whatever is known.
    pub(super) async fn look(
        &mut self,
        sessions: &Sessions,
        part: Part,
    ) -> Result<(), SessionError> {
        let first = matches!(self.known, Known::NotAsked);
        let Some(id) = self.id() else {
            if first {
                self.known = Known::Nothing;
            }
            return Ok(());
        };
        let at = now();
        let earlier = self.earlier.as_ref().filter(|_| first);
        self.known = match sessions.look(earlier, id, part, at).await? {
            Loaded::Live(record, values) => {
                if first && record.touch_is_due(at) {
                    sessions.reach().seen(id, at);
                }
                if earlier.is_some() {
                    let max_age = record.remembered.then(|| record.limits.ends_at.since(at));
                    self.send = self.secret.clone().map(|secret| Send::Set(secret, max_age));
                }
                Known::Live(record, values)
            }
            // Before this request: it came with something that has ended.
            Loaded::Gone(reason) if first => self.came_too_late(reason),
            Loaded::Unknown if first => self.came_too_late(Reason::Expired),
            Loaded::Gone(reason) => Known::Gone(reason),
            Loaded::Unknown => Known::Gone(Reason::Expired),
        };
        Ok(())
    }

    /// A session of an earlier system moves here before anything is done with it.
    async fn arrive(&mut self, sessions: &Sessions) -> Result<(), SessionError> {
        match (&self.known, &self.earlier) {
            (Known::NotAsked, Some(_)) => self.look(sessions, Part::Record).await,
            _ => Ok(()),
        }
    }

    /// Writes changes to the session, or opens one with them if there is anything to keep. Returns whether the version was
    /// the expected one.
    ///
    /// Nobody looks first: the write itself says whether the session lives.
    pub(super) async fn write(
        &mut self,
        sessions: &Sessions,
        delta: Delta,
    ) -> Result<bool, SessionError> {
        self.arrive(sessions).await?;
        match self.known {
            Known::Gone(reason) => return Err(SessionError::Ended(reason)),
            Known::Replaced => return Err(SessionError::Ended(Reason::Renewed)),
            _ => {}
        }
        let Some(id) = self.id() else { return self.keep(sessions, delta).await };
        let at = now();
        let ended = match sessions.reach().ask(|store| store.apply(id, &delta, at)).await? {
            Applied::Done(version) => {
                self.has_written(id, version, &delta);
                return Ok(true);
            }
            Applied::Conflict(_) => return Ok(false),
            Applied::TooLarge => {
                return Err(SessionError::TooLarge { bytes_max: delta.bytes_max });
            }
            Applied::Gone(reason) => reason,
            Applied::Unknown => Reason::Expired,
        };
        if matches!(self.known, Known::NotAsked) {
            // Before this request: it came with something that has ended.
            self.known = self.came_too_late(ended);
            if matches!(self.known, Known::Nothing) {
                return self.keep(sessions, delta).await;
            }
            return Err(SessionError::Ended(ended));
        }
        Err(self.has_ended(ended))
    }

    fn has_written(&mut self, id: SessionId, version: DataVersion, delta: &Delta) {
        match &mut self.known {
            Known::Live(record, values) => {
                // Where another request wrote in between, nobody here has seen the data of this version.
                let is_next = version.0 == record.version.0 + 1;
                let seen = values.take().filter(|_| is_next);
                *values = seen.and_then(|values| values.merged(delta));
                record.version = version;
            }
            known => *known = Known::Written(id),
        }
    }

    /// Opens a session with these changes, if there is anything to keep.
    async fn keep(&mut self, sessions: &Sessions, delta: Delta) -> Result<bool, SessionError> {
        self.known = Known::Nothing;
        if delta.iter().any(|(_, value)| value.is_some()) {
            // Boxed, because it is large and comes once in a session: every request would carry its room.
            Box::pin(self.open_visitor(sessions, delta)).await?;
        }
        Ok(true)
    }

    /// Opens a session of nobody.
    pub(super) async fn open_visitor(
        &mut self,
        sessions: &Sessions,
        delta: Delta,
    ) -> Result<(), SessionError> {
        let (secret, at) = (Secret::random(), now());
        let settings = sessions.settings();
        let lives = settings.lifetimes.visitor;
        let opening = Opening {
            id: secret.id(),
            user: None,
            label: None,
            remembered: settings.remember_visitors,
            opened_at: at,
            limits: Limits { idle: lives, ends_at: at + lives },
            at_most: None,
            began_at: self.began_at,
            delta,
        };
        self.create(sessions.reach(), secret, opening, at).await
    }

    /// Opens a session of a user in place of the one there is.
    pub(super) async fn login(
        &mut self,
        sessions: &Sessions,
        login: Login,
        delta: Delta,
    ) -> Result<(), SessionError> {
        let at = now();
        if at.since(self.began_at) >= TOMBSTONE {
            // Longer than the store knows of ends.
            return Err(SessionError::Ended(Reason::Revoked));
        }
        self.arrive(sessions).await?;
        let secret = Secret::random();
        let opening = login.opening(secret.id(), sessions.settings(), self.began_at, at, delta);
        let reach = sessions.reach();
        if let Some(old) = self.id() {
            let opened = reach.ask(|store| store.renew(old, &opening, at)).await?;
            if !matches!(opened, Opened::Gone(_) | Opened::Unknown) {
                return self.opened(reach, secret, &opening, opened);
            }
        }
        self.create(reach, secret, opening, at).await
    }

    /// Gives the live session a new id and keeps everything else.
    pub(super) async fn renew(
        &mut self,
        sessions: &Sessions,
        delta: Delta,
    ) -> Result<(), SessionError> {
        let Some(record) = self.record().cloned() else { return Ok(()) };
        let secret = Secret::random();
        let opening = Opening {
            id: secret.id(),
            user: record.user,
            label: record.label,
            remembered: record.remembered,
            opened_at: record.opened_at,
            limits: record.limits,
            at_most: None,
            began_at: self.began_at,
            delta,
        };
        let (reach, at) = (sessions.reach(), now());
        let opened = reach.ask(|store| store.renew(record.id, &opening, at)).await?;
        self.opened(reach, secret, &opening, opened)
    }

    /// Ends the session. What comes after begins another one.
    pub(super) async fn end(&mut self, sessions: &Sessions) -> Result<(), SessionError> {
        self.arrive(sessions).await?;
        let Some(id) = self.id() else { return Ok(()) };
        (self.secret, self.known, self.send) = (None, Known::Nothing, Some(Send::Clear));
        let at = now();
        sessions.reach().ask(|store| store.end(id, Reason::Logout, at)).await.map(drop)
    }

    async fn create(
        &mut self,
        reach: &Arc<Reach>,
        secret: Secret,
        mut opening: Opening,
        at: Time,
    ) -> Result<(), SessionError> {
        opening.delta.expected = None;
        let opened = reach.ask(|store| store.create(&opening, at)).await?;
        self.opened(reach, secret, &opening, opened)
    }

    fn opened(
        &mut self,
        reach: &Arc<Reach>,
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
            Opened::Gone(reason) => return Err(self.has_ended(reason)),
            Opened::Unknown => return Err(self.has_ended(Reason::Expired)),
            // 192 random bits do not repeat.
            Opened::Taken => return Err(SessionError::Unavailable),
        };
        let now = now();
        reach.sweep_if_due(now);
        let max_age = record.remembered.then(|| record.limits.ends_at.since(now));
        self.send = Some(Send::Set(secret.clone(), max_age));
        self.secret = Some(secret);
        self.known = Known::Live(record, None);
        Ok(())
    }

    /// What is known when the request came with a session that has ended.
    fn came_too_late(&mut self, ended: Reason) -> Known {
        self.secret = None;
        if ended == Reason::Renewed { Known::Replaced } else { Known::Nothing }
    }

    fn has_ended(&mut self, reason: Reason) -> SessionError {
        self.known = Known::Gone(reason);
        SessionError::Ended(reason)
    }
}
