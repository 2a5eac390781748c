//! The connection to the server: one for all requests, made anew when it breaks. No question waits longer than its
//! deadline, and none waits at all while the server is known to be away.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, Pipeline, PushInfo, PushKind, RedisFuture,
    RedisResult, Value,
    aio::{AsyncPushSender, ConnectionLike, MultiplexedConnection, SendError},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::trouble::Trouble;

const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Looking up a name, TLS and logging in take this many times as long as a question.
const PATIENCE: u32 = 4;

/// Where the server is.
pub(super) enum Place {
    One(Box<Client>),
    Cluster(Box<ClusterClient>),
}

/// The way to the server. When it is dropped, the connection closes.
pub(super) struct Link {
    state: watch::Receiver<State>,
    broken: mpsc::Sender<u64>,
    deadline: Duration,
    keeper: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

#[derive(Clone)]
enum State {
    Up(Connection, u64),
    /// It broke just now, and the first try to reach the server again is under way.
    Trying,
    Down(Trouble),
}

impl Link {
    /// Connects.
    pub(super) async fn open(place: Place, deadline: Duration) -> Result<Self, Trouble> {
        let (broken, reports) = mpsc::channel(16);
        let connection = place.connect(deadline * PATIENCE, &broken, 0).await?;
        let (publish, state) = watch::channel(State::Up(connection, 0));
        let keeper = tokio::spawn(keep(place, deadline, publish, broken.clone(), reports));
        Ok(Self { state, broken, deadline, keeper })
    }

    /// Asks, if there is a connection or will be at once.
    pub(super) async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, Trouble> {
        self.ask_by(None, question).await.1
    }

    /// Asks something that changes nothing, and asks again if the connection breaks.
    pub(super) async fn read<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Trouble> {
        let ask = async |connection: &mut Connection| command.query_async(connection).await;
        match self.ask_by(None, ask).await {
            (Some(broken), Err(Trouble::Unreachable(_))) => self.ask_by(Some(broken), ask).await.1,
            (_, answer) => answer,
        }
    }

    /// Asks by another connection than this one, and says by which.
    async fn ask_by<T>(
        &self,
        broken: Option<u64>,
        question: impl AsyncFnOnce(&mut Connection) -> RedisResult<T>,
    ) -> (Option<u64>, Result<T, Trouble>) {
        let mut asked = None;
        let answer = timeout(self.deadline, async {
            let (mut connection, number) = self.connection(broken).await?;
            asked = Some(number);
            question(&mut connection).await.map_err(Trouble::from)
        });
        let answer = answer.await.unwrap_or(Err(Trouble::Silent));
        if let (Err(trouble), Some(number)) = (&answer, asked)
            && trouble.is_of_the_connection()
        {
            // The channel is full of reports then, and one is enough.
            let _ = self.broken.try_send(number);
        }
        (asked, answer)
    }

    async fn connection(&self, broken: Option<u64>) -> Result<(Connection, u64), Trouble> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| match state {
            State::Up(_, number) => Some(*number) != broken,
            State::Trying => false,
            State::Down(_) => true,
        });
        let gone = |_| Trouble::Unreachable("the store was closed".to_owned());
        match &*settled.await.map_err(gone)? {
            State::Up(connection, number) => Ok((connection.clone(), *number)),
            State::Down(trouble) => Err(trouble.clone()),
            State::Trying => Err(Trouble::Silent),
        }
    }
}

/// Makes the connection anew whenever it breaks, until the store is dropped.
async fn keep(
    place: Place,
    deadline: Duration,
    state: watch::Sender<State>,
    broken: mpsc::Sender<u64>,
    mut reports: mpsc::Receiver<u64>,
) {
    let mut current = 0;
    while let Some(number) = reports.recv().await {
        if number != current {
            continue;
        }
        current += 1;
        state.send_replace(State::Trying);
        let (mut wait, mut patience) = (BACKOFF_MIN, deadline);
        let connection = loop {
            match place.connect(patience, &broken, current).await {
                Ok(connection) => break connection,
                Err(trouble) => {
                    if matches!(&*state.borrow(), State::Trying) {
                        tracing::warn!(cause = %trouble, "the session store is away");
                    }
                    state.send_replace(State::Down(trouble));
                }
            }
            sleep(wait).await;
            // From now on no request waits for it.
            (wait, patience) = ((wait * 2).min(BACKOFF_MAX), deadline * PATIENCE);
        };
        if matches!(&*state.borrow(), State::Down(_)) {
            tracing::info!("the session store is back");
        }
        state.send_replace(State::Up(connection, current));
    }
}

impl Place {
    /// A connection that has answered, so that a server that only listens is none. The `number` is what it reports
    /// when it breaks.
    async fn connect(
        &self,
        patience: Duration,
        broken: &mpsc::Sender<u64>,
        number: u64,
    ) -> Result<Connection, Trouble> {
        let connecting = async {
            let mut connection = match self {
                Self::One(client) => {
                    let report = Report { broken: broken.clone(), number };
                    let config = AsyncConnectionConfig::new()
                        .set_connection_timeout(None)
                        .set_response_timeout(None)
                        .set_push_sender(report);
                    let connect = client.get_multiplexed_async_connection_with_config(&config);
                    Connection::One(connect.await?)
                }
                Self::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
            };
            redis::cmd("PING").query_async::<Value>(&mut connection).await?;
            Ok(connection)
        };
        timeout(patience, connecting).await.unwrap_or(Err(Trouble::Silent))
    }
}

/// Tells that the connection of this number broke, before a question finds out.
struct Report {
    broken: mpsc::Sender<u64>,
    number: u64,
}

impl AsyncPushSender for Report {
    fn send(&self, info: PushInfo) -> Result<(), SendError> {
        if info.kind == PushKind::Disconnection {
            // The channel is full of reports then, and one is enough.
            let _ = self.broken.try_send(self.number);
        }
        Ok(())
    }
}

/// A connection to one server, or to a cluster.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    /// Asks the very server that has this key.
    pub(super) async fn ask_owner<T: FromRedisValue>(
        &mut self,
        command: Cmd,
        key: &str,
    ) -> RedisResult<T> {
        let answer = match self {
            Self::One(connection) => connection.req_packed_command(&command).await?,
            Self::Cluster(connection) => {
                let owner = Route::with_key(key.as_bytes(), SlotAddr::Master);
                let owner = SingleNodeRoutingInfo::SpecificNode(owner);
                connection.route_command(command, RoutingInfo::SingleNode(owner)).await?
            }
        };
        Ok(redis::from_redis_value(answer.extract_error()?)?)
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}
