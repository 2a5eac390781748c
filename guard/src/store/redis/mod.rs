//! Sessions in Redis or Valkey: one server with its replicas, or a cluster.
//!
//! ```no_run
//! use symbolon_guard::store::redis::{Redis, Settings};
//! # async fn open() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = Settings::new("rediss://app:password@redis.example:6379/")?;
//! let store = Redis::open(settings).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Every verb is one atomic script and one round trip; a [`load`](super::SessionStore::load) is one plain read, and a
//! script besides only where it finds that a session has run out. A small session of a user takes 200 to 260 bytes
//! of the server's memory, its place in the user's list included. Redis 6.2 or Valkey is the oldest that works.
//!
//! # What persistence means for the promises
//!
//! A store keeps its promises as long as its server keeps what it has answered. Redis can be told not to:
//!
//! | setting | what a killed or replaced server loses |
//! |---|---|
//! | `appendonly yes`, `appendfsync always` | nothing that it has answered |
//! | `appendonly yes`, `appendfsync everysec` | at a power failure about the last second or two; when only the process dies, nothing that reached the operating system |
//! | `appendonly no` with snapshots | everything since the last snapshot, which may be hours |
//! | no persistence | everything |
//! | a replica takes over | what had not reached it: replication does not wait. `min-replicas-to-write` bounds how much, to about `min-replicas-max-lag` |
//! | `maxmemory-policy` other than `noeviction` | sessions of people who are logged in, whenever memory runs out |
//!
//! What is lost may be an *end*: a session whose logout was answered is live again. If that must not be, use
//! `appendfsync always`, and a replica takes over only by hand; or keep sessions in a SQL store. Whatever is lost, no
//! session is half there, and nobody gets another's.
//!
//! [`Redis::open`] looks at these settings and warns of what they mean.
//!
//! # What the server's user may do
//!
//! The keys of a store all begin with its [name](Settings::named) in braces, so its rights can be
//! `~{sessions}* +@connection +@scripting +@read +@write +info`, in a cluster also `+cluster|slots`. Without `+config|get`
//! two of the settings above are not looked at, which a warning says.
//!
//! # In a cluster, and beside Sentinel
//!
//! All keys of one store rest on one node, because a login moves data from a visitor's session to any user's in one step.
//! A cluster gives such a store replicas and failover, and spreads several stores over its nodes. Sentinel is not asked:
//! name an address that leads to the primary. When the server behind it says that it is read-only, or is gone, the name is
//! looked up again.

use std::{fmt, sync::Arc};

use aws_lc_rs::digest;
use redis::{Script, ScriptInvocation, Value};
use symbolon_core::{data::DataVersion, id::SessionId, time::Time};

use self::{link::Link, scripts::Scripts};
use super::{
    Answer, Applied, BATCH_MAX, Delta, Event, EventId, LIST_MAX, Loaded, Opened, Opening,
    Otherwise, Part, Reason, Record, SessionStore, Unavailable,
};

pub mod adopt;
mod check;
mod codec;
mod link;
mod scripts;
mod settings;
mod trouble;

pub use settings::{InvalidSettings, Settings};
pub use trouble::Trouble;

/// The most bytes that a session takes. What is longer was not written by us.
const WHOLE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How often a session is read again that changes while it is found to be unreadable.
const READS_MAX: usize = 4;

/// Sessions in Redis. Clones share the connection; see [the module](self).
#[derive(Clone)]
pub struct Redis(Arc<Shared>);

struct Shared {
    link: Link,
    scripts: Scripts,
    /// The name in braces.
    tag: String,
    /// Zero if no events are kept.
    events_max: u64,
    is_cluster: bool,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("store", &self.0.tag).finish_non_exhaustive()
    }
}

impl Redis {
    /// Connects, tries whatever the store will do, and warns of settings that break promises.
    ///
    /// It belongs to the tokio runtime that it was opened on. When the connection breaks it is made anew, with pauses of
    /// up to 2 s; meanwhile every verb is [`Unavailable`] at once.
    ///
    /// # Errors
    /// [`Trouble`] says what has to change.
    pub async fn open(settings: Settings) -> Result<Self, Trouble> {
        let link = Link::open(settings.place()?, settings.deadline).await?;
        let scripts = Scripts::new();
        let tag = format!("{{{}}}", settings.name);
        let (events_max, is_cluster) = (settings.events_max, settings.is_cluster);
        let store = Self(Arc::new(Shared { link, scripts, tag, events_max, is_cluster }));
        store.check_rights().await?;
        store.check_settings().await?;
        Ok(store)
    }

    fn key(&self, id: SessionId) -> Vec<u8> {
        [self.0.tag.as_bytes(), b"s", id.as_bytes()].concat()
    }

    fn outbox(&self) -> String {
        format!("{}o", self.0.tag)
    }

    /// Runs a script.
    async fn run(
        &self,
        script: &Script,
        now: Time,
        fill: impl FnOnce(&mut ScriptInvocation<'_>),
    ) -> Result<Reply, Trouble> {
        let mut call = script.prepare_invoke();
        call.key(&self.0.tag).arg(self.0.events_max).arg(now.millis());
        fill(&mut call);
        let answer: Vec<Value> =
            self.0.link.ask(async |connection| call.invoke_async(connection).await).await?;
        Ok(Reply(answer))
    }

    async fn open_session(
        &self,
        old: Option<SessionId>,
        foreign: Option<(&[u8], &str)>,
        opening: &Opening,
        now: Time,
    ) -> Result<Reply, Unavailable> {
        let record = codec::encode(&opening.record(DataVersion(0), now));
        let record = record.ok_or_else(|| Unavailable::because("user or label is too long"))?;
        let delta = changes(&opening.delta)?;
        let (at_most, refuse) = match opening.at_most {
            None => (0, false),
            Some(at_most) => (at_most.sessions.get(), at_most.otherwise == Otherwise::Refuse),
        };
        let old = old.map(|id| id.as_bytes().to_vec()).unwrap_or_default();
        let reply = self.run(&self.0.scripts.open, now, |call| {
            if let Some((key, _)) = foreign {
                call.key(key);
            }
            call.arg(opening.id.as_bytes()).arg(record).arg(delta);
            call.arg(bytes_max(&opening.delta)).arg(opening.began_at.millis());
            call.arg(at_most).arg(u8::from(refuse)).arg(old);
            call.arg(foreign.map_or("", |(_, digest)| digest));
        });
        Ok(reply.await?)
    }

    /// What became of an opening, by the answer of the script.
    fn opened(reply: &Reply, opening: &Opening, now: Time) -> Result<Opened, Unavailable> {
        Ok(match reply.status()? {
            b"live" => {
                let record = opening.record(DataVersion(reply.number(1)?), now);
                Opened::Live(codec::rounded(record))
            }
            b"taken" => Opened::Taken,
            b"stale" => Opened::Stale,
            b"many" => Opened::TooMany,
            b"large" => Opened::TooLarge,
            b"gone" => Opened::Gone(reply.reason()?),
            b"unknown" => Opened::Unknown,
            b"full" => return Err(Unavailable::because("too many events wait to be settled")),
            _ => return Err(reply.unexpected()),
        })
    }

    async fn load_session(
        &self,
        id: SessionId,
        part: Part,
        now: Time,
    ) -> Result<Loaded, Unavailable> {
        let mut whole = part == Part::All;
        for _ in 0..READS_MAX {
            let most = if whole { WHOLE_BYTES_MAX } else { codec::RECORD_BYTES_MAX };
            let mut command = redis::cmd("GETRANGE");
            command.arg(self.key(id)).arg(0).arg(most - 1);
            let bytes = match self.0.link.read::<Vec<u8>>(&command).await {
                Ok(bytes) if bytes.is_empty() => return Ok(Loaded::Unknown),
                Ok(bytes) => Some(bytes),
                Err(Trouble::WrongType(_)) => None,
                Err(trouble) => return Err(trouble.into()),
            };
            let unreadable = match bytes.as_deref().map(|bytes| (bytes, codec::decode(id, bytes))) {
                Some((_, Ok(codec::Resting::Ended(reason)))) => return Ok(Loaded::Gone(reason)),
                Some((_, Ok(codec::Resting::Live(record, _)))) if record.lapsed(now).is_some() => {
                    String::new()
                }
                Some((_, Ok(codec::Resting::Live(record, _)))) if part == Part::Record => {
                    return Ok(Loaded::Live(record, None));
                }
                Some((bytes, Ok(codec::Resting::Live(record, data)))) => {
                    match codec::values(data) {
                        Ok(values) => return Ok(Loaded::Live(record, Some(values))),
                        Err(_) => sha1(bytes),
                    }
                }
                Some((bytes, Err(_))) => sha1(bytes),
                None => String::new(),
            };
            let reply = self.run(&self.0.scripts.load, now, |call| {
                call.arg(id.as_bytes()).arg(unreadable);
            });
            let reply = reply.await?;
            match reply.status()? {
                b"gone" => return Ok(Loaded::Gone(reply.reason()?)),
                b"unknown" => return Ok(Loaded::Unknown),
                // It is another by now, or only its beginning was looked at.
                b"live" => whole = true,
                _ => return Err(reply.unexpected()),
            }
        }
        Err(Unavailable::because("an unreadable session keeps changing"))
    }

    async fn waiting(&self, most: usize) -> Result<Vec<Event>, Unavailable> {
        let mut command = redis::cmd("XRANGE");
        command.arg(self.outbox()).arg("-").arg("+").arg("COUNT").arg(most.min(BATCH_MAX));
        let entries: Vec<(String, Vec<Vec<u8>>)> = self.0.link.read(&command).await?;
        let mut alien = Vec::new();
        let mut events = Vec::new();
        for (name, fields) in entries {
            let event =
                event_id(&name).zip(fields.get(1)).and_then(|(id, bytes)| codec::event(id, bytes));
            match event {
                Some(event) => events.push(event),
                None => alien.push(name),
            }
        }
        if !alien.is_empty() {
            tracing::warn!(entries = alien.len(), "events that cannot be read are dropped");
            self.drop_events(&alien).await?;
        }
        Ok(events)
    }

    async fn drop_events(&self, names: &[String]) -> Result<(), Unavailable> {
        let mut command = redis::cmd("XDEL");
        command.arg(self.outbox()).arg(names);
        Ok(self.0.link.ask(async |connection| command.exec_async(connection).await).await?)
    }
}

impl SessionStore for Redis {
    fn create<'a>(&'a self, opening: &'a Opening, now: Time) -> Answer<'a, Opened> {
        Box::pin(async move {
            Self::opened(&self.open_session(None, None, opening, now).await?, opening, now)
        })
    }

    fn load(&self, id: SessionId, part: Part, now: Time) -> Answer<'_, Loaded> {
        Box::pin(self.load_session(id, part, now))
    }

    fn apply<'a>(&'a self, id: SessionId, delta: &'a Delta, now: Time) -> Answer<'a, Applied> {
        Box::pin(async move {
            let changes = changes(delta)?;
            let reply = self.run(&self.0.scripts.apply, now, |call| {
                call.arg(id.as_bytes()).arg(changes).arg(bytes_max(delta));
                call.arg(delta.expected.map(|version| version.0.to_string()).unwrap_or_default());
            });
            let reply = reply.await?;
            Ok(match reply.status()? {
                b"done" => Applied::Done(DataVersion(reply.number(1)?)),
                b"gone" => Applied::Gone(reply.reason()?),
                b"unknown" => Applied::Unknown,
                b"conflict" => Applied::Conflict(DataVersion(reply.number(1)?)),
                b"large" => Applied::TooLarge,
                _ => return Err(reply.unexpected()),
            })
        })
    }

    fn touch<'a>(&'a self, seen: &'a [(SessionId, Time)]) -> Answer<'a, ()> {
        Box::pin(async move {
            let seen = &seen[..seen.len().min(BATCH_MAX)];
            if !seen.is_empty() {
                let touch = &self.0.scripts.touch;
                self.run(touch, Time::from_millis(0), |call| {
                    call.arg(codec::touches(seen));
                })
                .await?;
            }
            Ok(())
        })
    }

    fn renew<'a>(&'a self, old: SessionId, opening: &'a Opening, now: Time) -> Answer<'a, Opened> {
        Box::pin(async move {
            Self::opened(&self.open_session(Some(old), None, opening, now).await?, opening, now)
        })
    }

    fn end(&self, id: SessionId, reason: Reason, now: Time) -> Answer<'_, bool> {
        Box::pin(async move {
            let reply = self.run(&self.0.scripts.end, now, |call| {
                call.arg(id.as_bytes()).arg(codec::code(reason));
            });
            Ok(reply.await?.number(1)? == 1)
        })
    }

    fn end_user<'a>(
        &'a self,
        user: &'a str,
        but: Option<SessionId>,
        reason: Reason,
        now: Time,
    ) -> Answer<'a, u64> {
        Box::pin(async move {
            let reply = self.run(&self.0.scripts.end_user, now, |call| {
                let but = but.map(|id| id.as_bytes().to_vec()).unwrap_or_default();
                call.arg(user).arg(but).arg(codec::code(reason));
            });
            reply.await?.number(1)
        })
    }

    fn list<'a>(&'a self, user: &'a str, now: Time) -> Answer<'a, Vec<Record>> {
        Box::pin(async move {
            let reply = self.run(&self.0.scripts.list, now, |call| {
                call.arg(user).arg(LIST_MAX);
            });
            let reply = reply.await?;
            let mut listed = Vec::new();
            for pair in reply.0.get(1..).unwrap_or_default().chunks_exact(2) {
                let [Value::BulkString(id), Value::BulkString(bytes)] = pair else {
                    return Err(reply.unexpected());
                };
                let id = SessionId::try_from(&**id).map_err(|_| reply.unexpected())?;
                // One that cannot be read ends when it is loaded.
                if let Ok(codec::Resting::Live(record, _)) = codec::decode(id, bytes) {
                    listed.push(record);
                }
            }
            Ok(listed)
        })
    }

    /// Without events there is nothing to do: everything vanishes by itself.
    fn sweep(&self, most: usize, now: Time) -> Answer<'_, bool> {
        Box::pin(async move {
            if self.0.events_max == 0 {
                return Ok(false);
            }
            let most = most.clamp(1, BATCH_MAX);
            let reply = self.run(&self.0.scripts.sweep, now, |call| {
                call.arg(most);
            });
            Ok(reply.await?.number(1)? == 1)
        })
    }

    fn events(&self, most: usize) -> Answer<'_, Vec<Event>> {
        Box::pin(self.waiting(most))
    }

    fn settle<'a>(&'a self, heard: &'a [EventId]) -> Answer<'a, ()> {
        Box::pin(async move {
            let names: Vec<_> = heard.iter().map(|EventId(id)| event_name(*id)).collect();
            if names.is_empty() { Ok(()) } else { self.drop_events(&names).await }
        })
    }
}

impl From<Trouble> for Unavailable {
    fn from(trouble: Trouble) -> Self {
        Self::because(trouble)
    }
}

/// What a script answered: a word, and what belongs to it.
struct Reply(Vec<Value>);

impl Reply {
    fn status(&self) -> Result<&[u8], Unavailable> {
        match self.0.first() {
            Some(Value::BulkString(word)) => Ok(word),
            _ => Err(self.unexpected()),
        }
    }

    fn number(&self, at: usize) -> Result<u64, Unavailable> {
        match self.0.get(at) {
            Some(Value::Int(number)) => u64::try_from(*number).map_err(|_| self.unexpected()),
            _ => Err(self.unexpected()),
        }
    }

    fn reason(&self) -> Result<Reason, Unavailable> {
        Ok(codec::reason(self.number(1)?))
    }

    fn unexpected(&self) -> Unavailable {
        // Not what it said: that may be data.
        Trouble::Unexpected(format!("{} values to a script", self.0.len())).into()
    }
}

fn changes(delta: &Delta) -> Result<Vec<u8>, Unavailable> {
    codec::changes(delta).ok_or_else(|| Unavailable::because("a value is too long for any store"))
}

fn bytes_max(delta: &Delta) -> usize {
    delta.bytes_max.min(WHOLE_BYTES_MAX - codec::RECORD_BYTES_MAX)
}

fn sha1(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    digest.as_ref().iter().fold(String::with_capacity(40), |mut text, byte| {
        // Text takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The name of an event as its stream knows it: milliseconds and a number.
fn event_name(id: u128) -> String {
    format!("{}-{}", id >> 64, id & u128::from(u64::MAX))
}

fn event_id(name: &str) -> Option<EventId> {
    let (millis, number) = name.split_once('-')?;
    let (millis, number): (u64, u64) = (millis.parse().ok()?, number.parse().ok()?);
    Some(EventId(u128::from(millis) << 64 | u128::from(number)))
}
