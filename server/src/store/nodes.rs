//! This process as one node of many that share a database: it follows the log, under a lease of its own.
//!
//! | step | in the database | rule |
//! |---|---|---|
//! | renew | one transaction: hold the end of the log against ends; read what is new; apply it; write down what is acknowledged | 11, 15, 16 |
//! | decide | none: under a lease that counts from before the transaction | 13 |
//! | confirm | read the rows of the others until each has acknowledged, or a lease has passed; remove who was silent | 17 |

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use symbolon_core::{
    id::{LogId, NodeId},
    lease::{Confirmation, waited},
    log::{Cursor, Entry},
    time::{Tick, Time},
};
use tokio::time::sleep;

use super::{
    StoreError,
    engine::{Connection, Row, Statement, sql},
    moving, open,
    pool::{self, Tries},
    rows,
    shared::Shared,
};
use crate::os::{Mark, Os, now, tick};

/// Renewals per lease.
const RENEWALS: u32 = 5;

/// The longest pause between two looks at the rows of nodes that have yet to acknowledge.
const LOOK_MAX: Duration = Duration::from_millis(25);

/// Entries that are read at a time.
const PAGE: usize = symbolon_core::follower::ENTRIES_MAX;

/// Where this process stands. Whoever has it has the turn to read the log.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Its row.
    id: Option<NodeId>,
    /// What its followers have not all acknowledged yet.
    unsettled: VecDeque<(u64, Confirmation)>,
    /// Up to where they have.
    settled: u64,
}

/// A node as its row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Drawn at its start.
    pub id: NodeId,
    /// What it calls itself.
    pub name: Box<str>,
    /// Its version of Symbolon.
    pub version: Box<str>,
    /// When it started, by its clock.
    pub started_at: Time,
    /// When it wrote its row last, by its clock.
    pub seen_at: Time,
    /// How many entries of the log it has yet to acknowledge, for itself and its followers.
    pub behind: u64,
    /// How long it decides alone.
    pub lease: Duration,
    /// How often it has renewed that.
    pub renewals: u64,
    /// How many followers hold a lease from it.
    pub followers: u64,
    /// Whether it is the one that was asked.
    pub own: bool,
}

/// How far an end has come at the other nodes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Others {
    pub(super) acknowledged: u32,
    pub(super) waited_out: u32,
    pub(super) waiting: usize,
}

impl Shared {
    /// Renews the lease for as long as the store is open: in time, and when something has happened.
    pub(super) async fn keep_renewed(self: Arc<Self>) {
        let pause = self.log.lease() / RENEWALS;
        loop {
            if let Err(error) = self.renew().await {
                tracing::warn!(%error, "the lease of this node was not renewed");
                sleep(pause.min(Duration::from_millis(100))).await;
                continue;
            }
            let settles = async {
                loop {
                    let mut heard = pin!(self.log.heard());
                    // Whoever acknowledges between the look and the wait is not missed.
                    heard.as_mut().enable();
                    if self.place.lock().await.settle(&self) {
                        return;
                    }
                    heard.await;
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                // An end, here or at another node.
                () = self.poked.notified() => {}
                () = settles => {}
            }
        }
    }

    /// Waits until this process may decide alone, if it may not already.
    pub(super) async fn stand(&self) -> Result<(), StoreError> {
        if self.log.stands() {
            return Ok(());
        }
        self.renew_unless(|| self.log.stands()).await?;
        if self.log.stands() { Ok(()) } else { Err(pool::timed_out().into()) }
    }

    /// Takes a lease. When this returns, everything is applied and published that was committed when it was called.
    pub(super) async fn renew(&self) -> Result<(), StoreError> {
        self.renew_unless(|| false).await
    }

    /// The same, unless it was done while others had the turn.
    async fn renew_unless(&self, done: impl Fn() -> bool) -> Result<(), StoreError> {
        let mut tries = Tries::until(self.pool.deadline());
        loop {
            let renewed = tries.run(async {
                let mut place = self.place.lock().await;
                while !done() && !self.try_renew(&mut place).await? {}
                Ok(())
            });
            match renewed.await {
                Err(StoreError::Database(error)) if tries.again(&error).await => {}
                renewed => return renewed,
            }
        }
    }

    /// Says whether that was all: otherwise there is more to read.
    async fn try_renew(&self, place: &mut Place) -> Result<bool, StoreError> {
        let asked = Mark::now();
        let mut connection = Connection::Postgres(self.pool.lend().await?);
        connection.run("BEGIN").await?;
        // Whoever ends something holds this row until it is committed, and waits for whoever reads it here.
        let query = sql("SELECT settings FROM log_head WHERE id = 1 FOR SHARE");
        let head = query.fetch_optional(&mut connection).await?;
        let settings = head.as_ref().map_or(Ok(0), |head| rows::count(head, "settings"))?;
        let history = open::history(&mut connection).await?;
        if history != self.log.head().log {
            return self.restart(connection, history, place).await.map(|()| false);
        }
        // A new statement: it sees what was committed while the last one waited.
        let entries = entries_after(self.log.head().sequence).fetch_all(&mut connection).await?;
        let all = entries.len() < PAGE;
        // Applied first, acknowledged then: what is read is committed.
        self.apply(place, &entries)?;
        if all {
            self.write_row(&mut connection, place).await?;
        }
        connection.run("COMMIT").await?;
        connection.put_back();
        if all {
            self.settings.store(settings, Ordering::Release);
            self.log.renewed(asked);
        }
        Ok(all)
    }

    /// Publishes what was read from the log, and notes who has to acknowledge it.
    pub(super) fn apply(&self, place: &mut Place, read: &[Row]) -> Result<(), StoreError> {
        let entries: Result<Vec<(Entry, Time)>, StoreError> =
            read.iter().map(|row| Ok((rows::entry(row)?, rows::time(row, "at")?))).collect();
        let entries = entries?;
        if !entries.is_empty() {
            self.log.publish(&entries);
            place.unsettled.push_back(self.log.unsettled());
        }
        place.settle(self);
        Ok(())
    }

    /// The database tells another history than before: it was restored, or another server has taken over. Nobody knows
    /// who held leases then.
    async fn restart(
        &self,
        mut connection: Connection,
        history: LogId,
        place: &mut Place,
    ) -> Result<(), StoreError> {
        tracing::warn!("the database tells another history: the log is read anew");
        let (sequence, tag) = open::load_head(&mut connection).await?;
        let mut ended = Vec::new();
        let since = now() - self.entry_life;
        open::each_ended(&mut connection, since, |id, at| ended.push((id, at))).await?;
        let longest = open::raise_lease(&mut connection, self.log.lease()).await?;
        connection.run("COMMIT").await?;
        connection.put_back();
        let earlier_until = tick() + waited(longest.max(self.log.lease()));
        self.log.restart(Cursor { log: history, sequence, tag }, ended, earlier_until);
        *place = Place::default();
        place.unsettled.push_back(self.log.unsettled());
        Ok(())
    }

    /// Writes down what is acknowledged. If somebody has removed the row, its leases were waited out: it begins anew.
    async fn write_row(
        &self,
        connection: &mut Connection,
        place: &mut Place,
    ) -> Result<(), StoreError> {
        let acknowledged = rows::int(place.settled);
        let (seen_at, lease) = (now().millis(), rows::millis(self.log.lease()));
        let followers = rows::int(self.log.followers() as u64);
        if let Some(id) = place.id {
            let query = "UPDATE nodes SET acknowledged = $2, renewals = renewals + 1, seen_at = $3, \
                         lease_ms = $4, followers = $5 WHERE id = $1";
            let query = sql(query).bind(&id.as_bytes()[..]).bind(acknowledged).bind(seen_at);
            if query.bind(lease).bind(followers).execute(connection).await? == 1 {
                return Ok(());
            }
        }
        // Whoever moves the store has held the head of the log when it wrote that down.
        moving::refuse_marked(connection).await?;
        self.refuse_other_cluster(connection, seen_at).await?;
        let id = NodeId::random(&mut Os);
        place.id = Some(id);
        let query = "INSERT INTO nodes (id, name, public_url, version, started_at, seen_at, acknowledged, \
                     lease_ms, renewals, followers) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9)";
        let query = sql(query).bind(&id.as_bytes()[..]).bind(&*self.name).bind(&*self.public_url);
        let query = query.bind(env!("CARGO_PKG_VERSION")).bind(self.started_at.millis());
        let query = query.bind(seen_at).bind(acknowledged).bind(lease).bind(followers);
        query.execute(connection).await?;
        Ok(())
    }

    /// Tokens of two issuers would come from one store. Whoever has not been seen for a while is no hindrance.
    async fn refuse_other_cluster(
        &self,
        connection: &mut Connection,
        now: i64,
    ) -> Result<(), StoreError> {
        let query = "SELECT name, public_url FROM nodes WHERE public_url NOT IN ($1, '') \
                     AND seen_at + lease_ms * 2 > $2 LIMIT 1";
        let query = sql(query).bind(&*self.public_url).bind(now);
        let Some(other) = query.fetch_optional(connection).await? else { return Ok(()) };
        let (name, public_url) =
            (other.try_get::<&str>("name")?, other.try_get::<&str>("public_url")?);
        Err(StoreError::OtherCluster { name: name.into(), public_url: public_url.into() })
    }

    /// Waits until every other node has acknowledged everything up to `sequence`, or may not decide alone any more. The
    /// flag says whether that came about before `deadline`.
    pub(super) async fn confirm_others(
        &self,
        sequence: u64,
        deadline: Tick,
    ) -> Result<(bool, Others), StoreError> {
        // Whoever took a lease without knowing of the end had begun before it was committed, which was before now.
        let began = tick();
        let own = self.place.lock().await.id;
        let query = "SELECT id, acknowledged, renewals, lease_ms FROM nodes";
        let mut known: Option<Vec<Silent>> = None;
        let mut others = Others::default();
        let mut pause = Duration::from_millis(1);
        loop {
            let rows = self.pool.read(&sql(query)).await?;
            let nodes = rows.iter().map(Silent::read).collect::<Result<Vec<_>, _>>()?;
            let mut nodes: Vec<_> = nodes.into_iter().filter(|node| Some(node.id) != own).collect();
            // Whoever has come since came with the end.
            if let Some(known) = &known {
                nodes.retain(|node| known.iter().any(|known| known.id == node.id));
            }
            let known = known.get_or_insert_with(|| nodes.clone());
            nodes.retain(|node| node.acknowledged < sequence);
            let over = nodes.iter().map(|node| began + waited(node.lease)).max();
            let is_over = over.is_none_or(|over| tick() >= over);
            others.waiting = if is_over { 0 } else { nodes.len() };
            others.waited_out = if is_over { nodes.len() as u32 } else { 0 };
            others.acknowledged = (known.len() - nodes.len()) as u32;
            if is_over {
                let silent = |node: &&Silent| known.iter().any(|known| known.is_same(node));
                for node in nodes.iter().filter(silent) {
                    self.remove(node).await?;
                }
                return Ok((true, others));
            }
            if tick() >= deadline {
                return Ok((false, others));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LOOK_MAX);
        }
    }

    /// Removes the row of a node that was silent for a whole lease, so that nobody waits for it again.
    async fn remove(&self, node: &Silent) -> Result<(), StoreError> {
        let query = "DELETE FROM nodes WHERE id = $1 AND renewals = $2";
        let query = sql(query).bind(&node.id.as_bytes()[..]).bind(rows::int(node.renewals));
        self.run(&query).await.map(drop)
    }

    /// Every node that has a row, by name.
    pub(super) async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        let own = self.place.lock().await.id;
        let query = "SELECT n.*, h.sequence - n.acknowledged AS behind FROM nodes n, log_head h \
                     ORDER BY n.name, n.id";
        let rows = self.pool.read(&sql(query)).await?;
        rows.iter().map(|row| Node::read(row, own)).collect()
    }
}

/// What the log has gained after a place in it.
pub(super) fn entries_after(sequence: u64) -> Statement<'static> {
    let query = "SELECT sequence, tag, entry, at FROM revocations WHERE sequence > $1 \
                 ORDER BY sequence LIMIT $2";
    sql(query).bind(rows::int(sequence)).bind(rows::int(PAGE as u64))
}

impl Place {
    /// Whether more is acknowledged than before.
    fn settle(&mut self, shared: &Shared) -> bool {
        let before = self.settled;
        while let Some((sequence, confirmation)) = self.unsettled.front_mut() {
            if !shared.log.is_settled(confirmation) {
                break;
            }
            self.settled = *sequence;
            self.unsettled.pop_front();
        }
        self.settled > before
    }

    /// Where a process begins that has read the log up to here and granted nothing.
    pub(super) fn at(sequence: u64) -> Self {
        Self { settled: sequence, ..Self::default() }
    }
}

/// A node that may have yet to acknowledge something.
#[derive(Debug, Clone)]
struct Silent {
    id: NodeId,
    acknowledged: u64,
    renewals: u64,
    lease: Duration,
}

impl Silent {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: rows::id(row, "id")?,
            acknowledged: rows::count(row, "acknowledged")?,
            renewals: rows::count(row, "renewals")?,
            lease: Duration::from_millis(rows::count(row, "lease_ms")?),
        })
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.id, self.renewals) == (other.id, other.renewals)
    }
}

impl Node {
    fn read(row: &Row, own: Option<NodeId>) -> Result<Self, StoreError> {
        let id = rows::id(row, "id")?;
        Ok(Self {
            id,
            name: row.try_get::<&str>("name")?.into(),
            version: row.try_get::<&str>("version")?.into(),
            started_at: rows::time(row, "started_at")?,
            seen_at: rows::time(row, "seen_at")?,
            behind: rows::count(row, "behind")?,
            lease: Duration::from_millis(rows::count(row, "lease_ms")?),
            renewals: rows::count(row, "renewals")?,
            followers: rows::count(row, "followers")?,
            own: Some(id) == own,
        })
    }
}
