//! A real server in a process of its own, and followers that ask it over HTTP, each on its connection.

use std::{
    net::SocketAddr,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use symbolon::app::Os;
use symbolon_core::{
    follower::Follower,
    id::{EntryId, SessionId},
    time::Tick,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::timeout,
};

use crate::{
    harness::{Result, clock},
    load::body,
    process::{self, Server},
    world::{Folder, ORIGIN, World, basic},
};

const DEADLINE: Duration = Duration::from_secs(60);

/// The server, and what to ask it with.
pub(crate) struct Node {
    _folder: Folder,
    server: Server,
    pub(crate) address: SocketAddr,
    pub(crate) secret: String,
    /// Logins that can be ended: their ids and cookies.
    logins: Vec<(SessionId, String)>,
}

impl Node {
    pub(crate) fn start(world: World, logins: usize) -> Result<Self> {
        let secret = world.add_resource_server()?;
        let logins = (0..logins).map(|_| {
            let (cookie, answer) = world.login("session")?;
            let sid = answer["sid"].as_str().ok_or("no session")?;
            Ok((sid.parse()?, cookie.ok_or("no cookie")?))
        });
        let logins = logins.collect::<Result<_>>()?;
        let binary = process::build()?;
        let folder = world.close();
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = process::command(&binary, &folder.0, port);
        for setting in [&format!("public_url={ORIGIN}"), "log.level=warn"] {
            command.args(["--set", setting]);
        }
        let (server, _) = Server::start(command.arg("serve"), port)?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Ok(Self { _folder: folder, server, address, secret, logins })
    }

    pub(crate) fn id(&self) -> u32 {
        self.server.0.id()
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        Connection::open(self.address).await
    }

    /// Ends a login and waits for the answer. Returns its id, and when that was asked for.
    pub(crate) async fn end(
        &mut self,
        connection: &mut Connection,
        query: &str,
    ) -> Result<(EntryId, Tick)> {
        let (sid, cookie) = self.logins.pop().ok_or("no more logins")?;
        let request = format!(
            "DELETE /api/v1/sessions/{sid}{query} HTTP/1.1\r\nhost: localhost:8080\r\norigin: {ORIGIN}\r\ncookie: {cookie}\r\n\r\n"
        );
        let began = now();
        connection.ask(&request).await?;
        Ok((sid.entry(), began))
    }
}

/// A kept-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, bytes: Vec::new() })
    }

    pub(crate) async fn ask(&mut self, request: &str) -> Result<&[u8]> {
        self.stream.write_all(request.as_bytes()).await?;
        self.bytes.clear();
        loop {
            if self.stream.read_buf(&mut self.bytes).await? == 0 {
                return Err("the server closed the connection".into());
            }
            if body(&self.bytes)?.is_some() {
                break;
            }
        }
        Ok(body(&self.bytes)?.unwrap_or_default())
    }
}

/// A follower on its connection.
pub(crate) struct Asking {
    connection: Connection,
    authorization: String,
    follower: Follower,
    /// Bytes of questions and answers, of the whole crowd.
    moved: Arc<AtomicU64>,
}

impl Asking {
    /// One question and its answer, applied.
    pub(crate) async fn ask(&mut self) -> Result<Vec<EntryId>> {
        let question = self.follower.ask(now(), Vec::new(), &mut Os);
        let question = serde_json::to_string(&question)?;
        let (authorization, length) = (&self.authorization, question.len());
        let request = format!(
            "POST /follow HTTP/1.1\r\nhost: localhost:8080\r\nauthorization: {authorization}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{question}"
        );
        let answer = serde_json::from_slice(self.connection.ask(&request).await?)?;
        let moved = request.len() + self.connection.bytes.len();
        self.moved.fetch_add(moved as u64, Relaxed);
        Ok(self.follower.hear(answer)?)
    }

    /// Follows for ever. Says what it has applied, and when.
    async fn follow(mut self, said: UnboundedSender<(Option<EntryId>, Tick)>) -> Result<()> {
        self.ask().await?;
        said.send((None, now()))?;
        loop {
            for id in self.ask().await? {
                said.send((Some(id), now()))?;
            }
        }
    }
}

/// The clock of followers.
pub(crate) fn now() -> Tick {
    static BEGAN: LazyLock<Instant> = LazyLock::new(clock);
    Tick::from_nanos(u64::try_from(BEGAN.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// Followers that have a lease.
pub(crate) struct Crowd {
    pub(crate) tasks: JoinSet<Result<()>>,
    moved: Arc<AtomicU64>,
    heard: UnboundedReceiver<(Option<EntryId>, Tick)>,
    say: UnboundedSender<(Option<EntryId>, Tick)>,
}

impl Crowd {
    pub(crate) fn empty() -> Self {
        let (say, heard) = unbounded_channel();
        Self { tasks: JoinSet::new(), moved: Arc::default(), heard, say }
    }

    /// Another follower of the node at this address. It has not asked yet.
    pub(crate) async fn asking(&self, address: SocketAddr, secret: &str) -> Result<Asking> {
        let (connection, moved) = (Connection::open(address).await?, Arc::clone(&self.moved));
        let (authorization, follower) = (basic(secret), Follower::new(&mut Os));
        Ok(Asking { connection, authorization, follower, moved })
    }

    pub(crate) async fn grow_to(&mut self, size: usize, node: &Node) -> Result<()> {
        let more = size - self.tasks.len();
        for _ in 0..more {
            let asking = self.asking(node.address, &node.secret).await?;
            self.tasks.spawn(asking.follow(self.say.clone()));
        }
        self.await_all(more, None).await.map(drop)
    }

    /// How many bytes of HTTP went to and fro so far.
    pub(crate) fn moved_bytes(&self) -> u64 {
        self.moved.load(Relaxed)
    }

    /// When each of so many has said this.
    pub(crate) async fn await_all(
        &mut self,
        count: usize,
        what: Option<EntryId>,
    ) -> Result<Vec<Tick>> {
        let all = async {
            let mut ticks = Vec::with_capacity(count);
            while ticks.len() < count {
                tokio::select! {
                    heard = self.heard.recv() => match heard {
                        Some((said, at)) if said == what => ticks.push(at),
                        _ => {}
                    },
                    Some(ended) = self.tasks.join_next() => ended??,
                }
            }
            Result::Ok(ticks)
        };
        timeout(DEADLINE, all).await?
    }
}
