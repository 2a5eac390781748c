//! This process as one node of many that share a database: it follows the log, under a lease of its own.
//!
//! | step | in the database | rule |
//! |---|---|---|
//! | renew | one transaction: hold the end of the log against ends; read what is new; apply it; write down what is acknowledged | 11, 15, 16 |
//! | decide | none: under a lease that counts from before the transaction | 13 |
//! | confirm | read the rows of the others until each has acknowledged, or a lease has passed; remove who was silent; not before a lease after the start | 17 |

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use symbolon_core::{
    id::{LogId, NodeId},
    lease::waited,
    log::{Cursor, Entry},
    node::{self, Others, Progress, Waiting},
    time::{Tick, Time},
};
use tokio::time::sleep;

use super::{
    StoreError,
    engine::{Connection, Row, Statement, sql},
    moving, open,
    pool::{self, Tries},
    rows, schema,
    shared::Shared,
    skew::Skew,
};
use crate::os::{Mark, Os, now, tick};

/// Renewals per lease.
const RENEWALS: u32 = 5;

/// The longest pause between two looks at the rows of nodes that have yet to acknowledge.
const LOOK_MAX: Duration = Duration::from_millis(25);

/// Where the log ends, held against ends, and whether this program may go on here.
const HEAD: &str = "SELECT sequence, tag, settings, issuer, master, \
                    (SELECT MAX(works_from) FROM schema_versions) AS works_from \
                    FROM log_head WHERE id = 1 FOR SHARE";

/// The rows of all nodes.
const ROWS: &str = "SELECT id, acknowledged, renewals, lease_ms FROM nodes";

/// Entries that are read at a time.
const PAGE: usize = symbolon_core::follower::ENTRIES_MAX;

/// Where this process stands. Whoever has it has the turn to read the log.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Its row.
    id: Option<NodeId>,
    /// How often the row was renewed, at least.
    renewals: u64,
    /// What it acknowledges there.
    progress: Progress,
    /// When leases of nodes are over of which the database may know nothing any more.
    earlier_until: Tick,
    /// How far its clock is from that of the database.
    skew: Skew,
    /// Nodes as they stood at the last sweep, and since when nothing has moved there.
    still: Vec<(Tick, node::Row)>,
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
    /// By how many milliseconds its clock is ahead of the database's; negative if it is behind.
    pub skew_ms: i64,
    /// Whether it is the one that was asked.
    pub own: bool,
}

impl Shared {
    /// Renews the lease for as long as the store is open: in time, and when something has happened.
    pub(super) async fn keep_renewed(self: Arc<Self>) {
        let pause = self.log.lease() / RENEWALS;
        let mut said = None;
        loop {
            if let Err(error) = self.renew().await {
                // Once, and not ten times per second.
                let error = Some(error.to_string());
                if said != error {
                    tracing::warn!(error, "the lease of this node was not renewed");
                    said = error;
                }
                sleep(pause.min(Duration::from_millis(100))).await;
                continue;
            }
            if said.take().is_some() {
                tracing::info!("the lease of this node is renewed again");
            }
            let settles = async {
                loop {
                    let mut heard = pin!(self.log.heard());
                    // Whoever acknowledges between the look and the wait is not missed.
                    heard.as_mut().enable();
                    if self.log.settle(&mut self.place.lock().await.progress) {
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
        let head = sql(HEAD).fetch_optional(&mut connection).await?.ok_or_else(|| {
            StoreError::Damaged { table: "log_head", what: "its row is missing".to_owned() }
        })?;
        // Also those that joined before may have to leave.
        schema::refuse_newer_database(&head)?;
        self.cluster.check(&head)?;
        let settings = rows::count(&head, "settings")?;
        let (history, skew) = open::history(&mut connection).await?;
        if skew.is_notable() && !place.skew.is_notable() {
            tracing::warn!(
                ahead_ms = skew.millis(),
                "the clock of this host is not that of the database"
            );
        }
        place.skew = skew;
        if history != self.log.head().log {
            return self.restart(connection, history, place).await.map(|()| false);
        }
        // A new statement: it sees what was committed while the last one waited.
        let read = entries_from(self.log.head().sequence).fetch_all(&mut connection).await?;
        let all = read.len() < PAGE;
        // Applied first, acknowledged then: what is read is committed.
        let follows = self.apply(place, &read)?;
        let end = Cursor {
            log: history,
            sequence: rows::count(&head, "sequence")?,
            tag: rows::tag(&head)?,
        };
        // Put back from a copy, without another name.
        if !follows || (all && self.log.head() != end) {
            return self.restart(connection, history, place).await.map(|()| false);
        }
        if all {
            self.write_row(&mut connection, place).await?;
        }
        connection.run("COMMIT").await?;
        place.renewals += u64::from(all);
        connection.put_back();
        if all {
            self.settings.store(settings, Ordering::Release);
            self.log.renewed(asked);
        }
        Ok(all)
    }

    /// Publishes what was read from the log, and notes who has to acknowledge it. Not if it does not follow what is known.
    pub(super) fn apply(&self, place: &mut Place, read: &[Row]) -> Result<bool, StoreError> {
        let entries: Result<Vec<(Entry, Time)>, StoreError> =
            read.iter().map(|row| Ok((rows::entry(row)?, rows::time(row, "at")?))).collect();
        let (head, mut entries) = (self.log.head(), entries?);
        if !head.is_followed_by(entries.first().map(|(entry, _)| entry)) {
            return Ok(false);
        }
        entries.retain(|(entry, _)| entry.sequence > head.sequence);
        if !entries.is_empty() {
            self.log.publish(&entries);
            self.log.note_applied(&mut place.progress);
        }
        self.log.settle(&mut place.progress);
        Ok(true)
    }

    /// The database tells another history than before: it was restored, or another server has taken over. Nobody knows
    /// who held leases then.
    async fn restart(
        &self,
        mut connection: Connection,
        history: LogId,
        place: &mut Place,
    ) -> Result<(), StoreError> {
        // Half a store has entries of which its end of the log says nothing.
        moving::refuse_marked(&mut connection).await?;
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
        *place = Place { skew: place.skew, earlier_until, ..Place::default() };
        self.log.note_applied(&mut place.progress);
        Ok(())
    }

    /// Writes down what is acknowledged. If the row is gone, this begins anew: somebody has removed it, after waiting
    /// its leases out; or the database was put back from a copy, which may not know of others, either. That is so, too,
    /// where the row is older than it was.
    async fn write_row(
        &self,
        connection: &mut Connection,
        place: &mut Place,
    ) -> Result<(), StoreError> {
        let acknowledged = rows::int(place.progress.acknowledged());
        let (seen_at, lease) = (now().millis(), rows::millis(self.log.lease()));
        let followers = rows::int(self.log.followers() as u64);
        let skew = place.skew.millis();
        if let Some(id) = place.id {
            let query = "UPDATE nodes SET acknowledged = $2, renewals = renewals + 1, seen_at = $3, \
                         lease_ms = $4, followers = $5, skew_ms = $6 WHERE id = $1 AND renewals >= $7";
            let query = sql(query).bind(&id.as_bytes()[..]).bind(acknowledged).bind(seen_at);
            let query = query.bind(lease).bind(followers).bind(skew);
            if query.bind(rows::int(place.renewals)).execute(connection).await? == 1 {
                return Ok(());
            }
            let longest = open::raise_lease(connection, self.log.lease()).await?;
            place.earlier_until = tick() + waited(longest.max(self.log.lease()));
        }
        // Whoever moves the store has held the head of the log when it wrote that down.
        moving::refuse_marked(connection).await?;
        let id = NodeId::random(&mut Os);
        (place.id, place.renewals) = (Some(id), 0);
        let query = "INSERT INTO nodes (id, name, version, started_at, seen_at, acknowledged, lease_ms, \
                     renewals, followers, skew_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $9)";
        let query = sql(query).bind(&id.as_bytes()[..]).bind(&*self.name);
        let query = query.bind(env!("CARGO_PKG_VERSION")).bind(self.started_at.millis());
        let query = query.bind(seen_at).bind(acknowledged).bind(lease).bind(followers).bind(skew);
        query.execute(connection).await?;
        Ok(())
    }

    /// Waits until every other node has acknowledged everything up to `sequence`, or may not decide alone any more. The
    /// flag says whether that came about before `deadline`.
    pub(super) async fn confirm_others(
        &self,
        sequence: u64,
        deadline: Tick,
    ) -> Result<(bool, Others), StoreError> {
        let (own, mut waiting) = {
            let place = self.place.lock().await;
            (place.id, Waiting::new(sequence, tick(), place.earlier_until))
        };
        let mut pause = Duration::from_millis(1);
        loop {
            let rows = self.pool.read(&sql(ROWS)).await?;
            let nodes = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
            let nodes = nodes.into_iter().filter(|node| Some(node.id) != own).collect();
            let others = waiting.look(nodes, tick());
            if others.done {
                for node in &others.silent {
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

    /// Removes the rows of nodes that were silent for a whole lease: of servers that have stopped.
    pub(super) async fn forget_silent(&self) -> Result<(), StoreError> {
        let rows = self.pool.read(&sql(ROWS)).await?;
        let nodes = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let mut place = self.place.lock().await;
        let (own, before) = (place.id, std::mem::take(&mut place.still));
        let mut gone = Vec::new();
        for node in nodes.into_iter().filter(|node| Some(node.id) != own) {
            let known = before.iter().find(|(_, known)| *known == node);
            let since = known.map_or_else(tick, |(since, _)| *since);
            if tick() >= since + waited(node.lease) {
                gone.push(node);
            } else {
                place.still.push((since, node));
            }
        }
        drop(place);
        for node in gone {
            self.remove(&node).await?;
        }
        Ok(())
    }

    /// Removes the row of a node that was silent for a whole lease, so that nobody waits for it again.
    async fn remove(&self, node: &node::Row) -> Result<(), StoreError> {
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

/// What the log has from a place in it on, the entry there first.
pub(super) fn entries_from(sequence: u64) -> Statement<'static> {
    let query = "SELECT sequence, tag, entry, at FROM revocations WHERE sequence >= $1 \
                 ORDER BY sequence LIMIT $2";
    sql(query).bind(rows::int(sequence)).bind(rows::int(PAGE as u64))
}

impl Place {
    /// Where a process begins that has read the log up to here and granted nothing.
    pub(super) fn at(sequence: u64, earlier_until: Tick) -> Self {
        Self { progress: Progress::at(sequence), earlier_until, ..Self::default() }
    }
}

/// Reads the rows of all nodes.
pub(super) async fn rows_of_all(connection: &mut Connection) -> Result<Vec<node::Row>, StoreError> {
    sql(ROWS).fetch_all(connection).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<node::Row, StoreError> {
    Ok(node::Row {
        id: rows::id(row, "id")?,
        acknowledged: rows::count(row, "acknowledged")?,
        renewals: rows::count(row, "renewals")?,
        lease: Duration::from_millis(rows::count(row, "lease_ms")?),
    })
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
            skew_ms: row.try_get("skew_ms")?,
            own: Some(id) == own,
        })
    }
}
