//! Sessions in the memory of one process. They are gone with it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use symbolon_core::{data::DataVersion, id::SessionId, session::Limits, time::Time};

use super::{
    Answer, Applied, BATCH_MAX, Delta, Event, EventId, LIST_MAX, Loaded, Opened, Opening, Part,
    Reason, Record, SessionStore, TOMBSTONE, Unavailable, Values, What, too_many,
};

/// Sessions in memory: about 400 bytes for a small one. Clones share them.
///
/// One lock covers everything, so each verb is one step; reading takes it shared.
#[derive(Clone)]
pub struct Memory(Arc<RwLock<Table>>);

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("Memory").field("sessions", &table.slots.len()).finish()
    }
}

impl Memory {
    /// For this many sessions, those included that ended within [`TOMBSTONE`]. When it is full it sweeps, and then opens
    /// no more; visitors may fill three quarters of it, so that a flood of them keeps nobody from logging in.
    pub fn new(sessions_max: usize) -> Self {
        Self::with(sessions_max, None)
    }

    /// The same, with [events](SessionStore::events): at most `events_max` wait to be settled, and while they do nothing
    /// is opened.
    pub fn with_events(sessions_max: usize, events_max: usize) -> Self {
        Self::with(sessions_max, Some(events_max))
    }

    fn with(sessions_max: usize, events_max: Option<usize>) -> Self {
        Self(Arc::new(RwLock::new(Table { sessions_max, events_max, ..Table::default() })))
    }

    fn read<T>(&self, look: impl FnOnce(&Table) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<'a, T: Send + 'a>(&self, act: impl FnOnce(&mut Table) -> T) -> Answer<'a, T> {
        done(act(&mut self.0.write().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn done<'a, T: Send + 'a>(value: T) -> Answer<'a, T> {
    Box::pin(std::future::ready(Ok(value)))
}

impl SessionStore for Memory {
    fn create<'a>(&'a self, opening: &'a Opening, now: Time) -> Answer<'a, Opened> {
        let opened = self.write(|table| table.create(opening, now));
        Box::pin(async { opened.await? })
    }

    fn load(&self, id: SessionId, part: Part, now: Time) -> Answer<'_, Loaded> {
        match self.read(|table| table.load(id, part, now)) {
            Some(loaded) => done(loaded),
            // It has run out, and the first to notice ends it.
            None => self.write(|table| match table.live(id, now) {
                Ok(live) => live.loaded(id, part),
                Err(Absent::Gone(reason)) => Loaded::Gone(reason),
                Err(Absent::Unknown) => Loaded::Unknown,
            }),
        }
    }

    fn apply<'a>(&'a self, id: SessionId, delta: &'a Delta, now: Time) -> Answer<'a, Applied> {
        self.write(|table| table.apply(id, delta, now))
    }

    fn touch<'a>(&'a self, seen: &'a [(SessionId, Time)]) -> Answer<'a, ()> {
        self.write(|table| table.touch(seen))
    }

    fn renew<'a>(&'a self, old: SessionId, opening: &'a Opening, now: Time) -> Answer<'a, Opened> {
        let opened = self.write(|table| table.renew(old, opening, now));
        Box::pin(async { opened.await? })
    }

    fn end(&self, id: SessionId, reason: Reason, now: Time) -> Answer<'_, bool> {
        self.write(|table| {
            let live = table.live(id, now).is_ok();
            if live {
                table.end(id, reason, now);
            }
            live
        })
    }

    fn end_user<'a>(
        &'a self,
        user: &'a str,
        but: Option<SessionId>,
        reason: Reason,
        now: Time,
    ) -> Answer<'a, u64> {
        self.write(|table| table.end_user(user, but, reason, now))
    }

    fn list<'a>(&'a self, user: &'a str, now: Time) -> Answer<'a, Vec<Record>> {
        done(self.read(|table| table.list(user, now)))
    }

    fn sweep(&self, most: usize, now: Time) -> Answer<'_, bool> {
        self.write(|table| table.sweep(most, now))
    }

    fn events(&self, most: usize) -> Answer<'_, Vec<Event>> {
        done(self.read(|table| table.events.iter().take(most).cloned().collect()))
    }

    fn settle<'a>(&'a self, heard: &'a [EventId]) -> Answer<'a, ()> {
        self.write(|table| table.events.retain(|event| !heard.contains(&event.id)))
    }
}

/// The verbs, for whoever holds the lock.
#[derive(Default)]
struct Table {
    slots: BTreeMap<SessionId, Slot>,
    /// The sessions of each user that have not ended.
    users: BTreeSet<(Arc<str>, SessionId)>,
    /// Whose sessions were all ended, and when.
    users_ended: BTreeMap<Arc<str>, Time>,
    swept: Option<SessionId>,
    events: VecDeque<Event>,
    events_written: u128,
    events_max: Option<usize>,
    sessions_max: usize,
}

enum Slot {
    Live(Box<Live>),
    Ended(Reason, Time),
}

/// A record and its data, without the id that it is found by. A byte here is a megabyte with a million sessions.
struct Live {
    user: Option<Arc<str>>,
    label: Option<Arc<str>>,
    values: Values,
    opened_at: Time,
    seen_at: Time,
    ends_at: Time,
    idle_ms: u64,
    version: u64,
    remembered: bool,
}

impl Live {
    fn new(record: &Record, values: Values) -> Self {
        Self {
            user: record.user.clone(),
            label: record.label.clone(),
            values,
            opened_at: record.opened_at,
            seen_at: record.seen_at,
            ends_at: record.limits.ends_at,
            idle_ms: u64::try_from(record.limits.idle.as_millis()).unwrap_or(u64::MAX),
            version: record.version.0,
            remembered: record.remembered,
        }
    }

    fn record(&self, id: SessionId) -> Record {
        let idle = Duration::from_millis(self.idle_ms);
        Record {
            id,
            user: self.user.clone(),
            label: self.label.clone(),
            remembered: self.remembered,
            opened_at: self.opened_at,
            seen_at: self.seen_at,
            limits: Limits { idle, ends_at: self.ends_at },
            version: DataVersion(self.version),
        }
    }

    fn loaded(&self, id: SessionId, part: Part) -> Loaded {
        let values = (part == Part::All).then(|| self.values.clone());
        Loaded::Live(self.record(id), values)
    }
}

/// Why there is no live session.
enum Absent {
    Gone(Reason),
    Unknown,
}

impl Table {
    /// `None`: it is there and has run out.
    fn load(&self, id: SessionId, part: Part, now: Time) -> Option<Loaded> {
        match self.slots.get(&id) {
            None => Some(Loaded::Unknown),
            Some(Slot::Ended(reason, _)) => Some(Loaded::Gone(*reason)),
            Some(Slot::Live(live)) => {
                let loaded = live.loaded(id, part);
                let lapsed =
                    matches!(&loaded, Loaded::Live(record, _) if record.lapsed(now).is_some());
                (!lapsed).then_some(loaded)
            }
        }
    }

    /// The live session of this id. One that has run out ends here.
    fn live(&mut self, id: SessionId, now: Time) -> Result<&mut Live, Absent> {
        let lapsed = match self.slots.get(&id) {
            None => return Err(Absent::Unknown),
            Some(Slot::Ended(reason, _)) => return Err(Absent::Gone(*reason)),
            Some(Slot::Live(live)) => live.record(id).lapsed(now),
        };
        if let Some(reason) = lapsed {
            self.end(id, reason, now);
            return Err(Absent::Gone(reason));
        }
        match self.slots.get_mut(&id) {
            Some(Slot::Live(live)) => Ok(live),
            _ => Err(Absent::Unknown),
        }
    }

    fn create(&mut self, opening: &Opening, now: Time) -> Result<Opened, Unavailable> {
        self.room(opening, now)?;
        if self.slots.contains_key(&opening.id) {
            return Ok(Opened::Taken);
        }
        if self.is_stale(opening) {
            return Ok(Opened::Stale);
        }
        let Some(values) = Values::default().merged(&opening.delta) else {
            return Ok(Opened::TooLarge);
        };
        let Some(surplus) = self.surplus(opening, None, now) else { return Ok(Opened::TooMany) };
        for id in surplus {
            self.end(id, Reason::TooMany, now);
        }
        let record = opening.record(DataVersion(0), now);
        self.tell(&record, What::Created, now);
        self.insert(&record, values);
        Ok(Opened::Live(record))
    }

    fn renew(
        &mut self,
        old: SessionId,
        opening: &Opening,
        now: Time,
    ) -> Result<Opened, Unavailable> {
        self.room(opening, now)?;
        let live = match self.live(old, now) {
            Err(Absent::Gone(reason)) => return Ok(Opened::Gone(reason)),
            Err(Absent::Unknown) => return Ok(Opened::Unknown),
            Ok(live) => live,
        };
        let inherits = opening.inherits(live.user.as_deref());
        let same_user = live.user == opening.user;
        let (values, version) = if inherits {
            (live.values.merged(&opening.delta), DataVersion(live.version))
        } else {
            (Values::default().merged(&opening.delta), DataVersion(0))
        };
        if self.slots.contains_key(&opening.id) {
            return Ok(Opened::Taken);
        }
        if !same_user && self.is_stale(opening) {
            return Ok(Opened::Stale);
        }
        let Some(values) = values else { return Ok(Opened::TooLarge) };
        let Some(surplus) = self.surplus(opening, Some(old), now) else {
            return Ok(Opened::TooMany);
        };
        for id in surplus {
            self.end(id, Reason::TooMany, now);
        }
        let record = opening.record(version, now);
        if inherits {
            self.bury(old, Reason::Renewed, now);
            self.tell(&record, What::Renewed { from: old }, now);
        } else {
            self.end(old, Reason::Logout, now);
            self.tell(&record, What::Created, now);
        }
        self.insert(&record, values);
        Ok(Opened::Live(record))
    }

    fn apply(&mut self, id: SessionId, delta: &Delta, now: Time) -> Applied {
        let live = match self.live(id, now) {
            Ok(live) => live,
            Err(Absent::Gone(reason)) => return Applied::Gone(reason),
            Err(Absent::Unknown) => return Applied::Unknown,
        };
        let version = DataVersion(live.version);
        if delta.expected.is_some_and(|expected| expected != version) {
            return Applied::Conflict(version);
        }
        if delta.is_empty() {
            return Applied::Done(version);
        }
        let Some(merged) = live.values.merged(delta) else { return Applied::TooLarge };
        live.values = merged;
        live.version += 1;
        live.seen_at = live.seen_at.max(now);
        Applied::Done(DataVersion(live.version))
    }

    fn touch(&mut self, seen: &[(SessionId, Time)]) {
        for (id, seen_at) in seen.iter().take(BATCH_MAX) {
            if let Some(Slot::Live(live)) = self.slots.get_mut(id)
                && live.record(*id).may_be_touched(*seen_at)
            {
                live.seen_at = *seen_at;
            }
        }
    }

    fn end_user(&mut self, user: &str, but: Option<SessionId>, reason: Reason, now: Time) -> u64 {
        let ended_at = self.users_ended.entry(user.into()).or_insert(now);
        *ended_at = now.max(*ended_at);
        let others = self.of_user(user).filter(|id| Some(*id) != but);
        let mut ended = 0;
        for id in others.collect::<Vec<_>>() {
            if self.live(id, now).is_ok() {
                self.end(id, reason, now);
                ended += 1;
            }
        }
        ended
    }

    fn list(&self, user: &str, now: Time) -> Vec<Record> {
        let mut found: Vec<_> =
            self.of_user(user).filter_map(|id| self.standing(id, now)).collect();
        found.sort_unstable_by_key(|record| std::cmp::Reverse((record.opened_at, record.id)));
        found.truncate(LIST_MAX);
        found
    }

    /// The record of a session that has not run out.
    fn standing(&self, id: SessionId, now: Time) -> Option<Record> {
        match self.slots.get(&id)? {
            Slot::Live(live) => Some(live.record(id)).filter(|record| record.lapsed(now).is_none()),
            Slot::Ended(..) => None,
        }
    }

    /// Goes on where it stopped, all around.
    fn sweep(&mut self, most: usize, now: Time) -> bool {
        let from = self.swept.map_or(Bound::Unbounded, Bound::Excluded);
        let batch = self.slots.range((from, Bound::Unbounded)).take(most);
        let batch: Vec<SessionId> = batch.map(|(id, _)| *id).collect();
        let more = batch.len() == most;
        self.swept = batch.last().filter(|_| more).copied();
        for id in batch {
            match self.slots.get(&id) {
                Some(Slot::Ended(_, at)) if now.since(*at) >= TOMBSTONE => {
                    self.slots.remove(&id);
                }
                _ => drop(self.live(id, now)),
            }
        }
        if !more {
            self.users_ended.retain(|_, at| now.since(*at) < TOMBSTONE);
        }
        more
    }

    fn is_stale(&self, opening: &Opening) -> bool {
        let ended_at = opening.user.as_ref().and_then(|user| self.users_ended.get(user));
        ended_at.is_some_and(|ended_at| opening.began_at < *ended_at)
    }

    /// Who of the user has to go, if anybody; `None` if the new one must not be.
    fn surplus(
        &self,
        opening: &Opening,
        old: Option<SessionId>,
        now: Time,
    ) -> Option<Vec<SessionId>> {
        let (Some(user), Some(at_most)) = (&opening.user, opening.at_most) else {
            return Some(Vec::new());
        };
        let opened = |id| self.standing(id, now).map(|record| (record.opened_at, id));
        let others = self.of_user(user).filter(|id| Some(*id) != old);
        too_many(others.filter_map(opened).collect(), at_most)
    }

    fn of_user(&self, user: &str) -> impl Iterator<Item = SessionId> {
        let user: Arc<str> = user.into();
        let first = (Arc::clone(&user), SessionId::from_bytes([0; 16]));
        let last = (user, SessionId::from_bytes([0xff; 16]));
        self.users.range(first..=last).map(|(_, id)| *id)
    }

    /// Room for one more session and what it has to tell.
    fn room(&mut self, opening: &Opening, now: Time) -> Result<(), Unavailable> {
        if self.events_max.is_some_and(|most| self.events.len() >= most) {
            return Err(Unavailable::because("too many events wait to be settled"));
        }
        let visitors_max = self.sessions_max - self.sessions_max / 4;
        let is_full = |table: &Self| {
            let visitors = table.slots.len() - table.users.len();
            table.slots.len() >= table.sessions_max
                || (opening.user.is_none() && visitors >= visitors_max)
        };
        if is_full(self) {
            self.sweep(BATCH_MAX, now);
        }
        if is_full(self) {
            Err(Unavailable::because("the memory for sessions is full"))
        } else {
            Ok(())
        }
    }

    fn insert(&mut self, record: &Record, values: Values) {
        if let Some(user) = &record.user {
            self.users.insert((Arc::clone(user), record.id));
        }
        self.slots.insert(record.id, Slot::Live(Box::new(Live::new(record, values))));
    }

    fn end(&mut self, id: SessionId, reason: Reason, now: Time) {
        if let Some(record) = self.bury(id, reason, now) {
            self.tell(&record, What::Ended(reason), now);
        }
    }

    /// Puts the tombstone where the session was.
    fn bury(&mut self, id: SessionId, reason: Reason, now: Time) -> Option<Record> {
        let Some(Slot::Live(live)) = self.slots.insert(id, Slot::Ended(reason, now)) else {
            return None;
        };
        if let Some(user) = &live.user {
            self.users.remove(&(Arc::clone(user), id));
        }
        Some(live.record(id))
    }

    fn tell(&mut self, record: &Record, what: What, at: Time) {
        if self.events_max.is_some() {
            self.events_written += 1;
            let (id, user) = (EventId(self.events_written), record.user.clone());
            self.events.push_back(Event { id, session: record.id, user, at, what });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(n: u32, user: Option<&str>) -> Opening {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        Opening {
            id: SessionId::from_bytes(id),
            user: user.map(Into::into),
            label: None,
            remembered: false,
            opened_at: Time::from_secs(0),
            limits: Limits { idle: Duration::from_secs(60), ends_at: Time::from_secs(600) },
            at_most: None,
            began_at: Time::from_secs(0),
            delta: Delta::new(100),
        }
    }

    #[test]
    fn a_flood_of_visitors_is_bounded_and_keeps_nobody_from_logging_in() {
        let (mut table, now) =
            (Table { sessions_max: 100, ..Table::default() }, Time::from_secs(0));
        let flood = |table: &mut Table, from: u32, at: Time| {
            let opened = (from..from + 200)
                .filter(|n| matches!(table.create(&opening(*n, None), at), Ok(Opened::Live(_))));
            opened.count()
        };
        assert_eq!(flood(&mut table, 0, now), 75);
        assert!(table.create(&opening(1000, Some("user")), now).is_ok());
        // They run out, stay as tombstones for a while, and then there is room.
        assert_eq!(flood(&mut table, 2000, Time::from_secs(61)), 0);
        assert_eq!(flood(&mut table, 3000, Time::from_secs(62) + TOMBSTONE), 75);
    }

    #[test]
    fn a_sweep_goes_around_in_batches() {
        let (mut table, now) =
            (Table { sessions_max: 100, ..Table::default() }, Time::from_secs(0));
        for n in 0..25 {
            table.create(&opening(n, Some("user")), now).unwrap();
        }
        let mut sweep = |now| [(); 3].map(|()| table.sweep(10, now));
        assert_eq!(sweep(Time::from_secs(61)), [true, true, false]);
        assert_eq!(sweep(Time::from_secs(61) + TOMBSTONE), [true, true, false]);
        assert!(table.slots.is_empty() && table.users.is_empty());
    }
}
