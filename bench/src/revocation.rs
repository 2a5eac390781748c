//! How soon an end is over everywhere: a real server in a process of its own, and followers that ask it over HTTP.

use std::{net::SocketAddr, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
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
    following::{REVOCATIONS, revoke},
    harness::{Result, Rounds, clock, cpu_of, resident_bytes},
    load::body,
    process::{self, Server},
    table::{Row, Table},
    world::{Folder, ORIGIN, World, basic},
};

const CROWDS: [usize; 4] = [1, 10, 100, 1000];
/// How often something is ended, each time confirmed and unconfirmed, for each crowd but the largest.
const ENDS: usize = 120;
const ENDS_OF_LARGEST: usize = 40;
const CUT_OFF: usize = 5;
const REST: Duration = Duration::from_secs(5);
const LEASE: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(60);

/// The server, and what to ask it with.
struct Node {
    _folder: Folder,
    server: Server,
    address: SocketAddr,
    authorization: String,
    /// Logins that can be ended: their ids and cookies.
    logins: Vec<(SessionId, String)>,
}

impl Node {
    fn start(world: World, logins: usize) -> Result<Self> {
        let authorization = basic(&world.add_resource_server()?);
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
        Ok(Self { _folder: folder, server, address, authorization, logins })
    }

    fn id(&self) -> u32 {
        self.server.0.id()
    }

    async fn connect(&self) -> Result<Connection> {
        Connection::open(self.address).await
    }

    fn asking(&self, connection: Connection) -> Asking {
        Asking {
            connection,
            authorization: self.authorization.clone(),
            follower: Follower::new(&mut Os),
        }
    }

    /// Ends a login and waits for the answer. Returns its id, and when that was asked for.
    async fn end(&mut self, connection: &mut Connection, query: &str) -> Result<(EntryId, Tick)> {
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
struct Connection {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, bytes: Vec::new() })
    }

    async fn ask(&mut self, request: &str) -> Result<&[u8]> {
        self.stream.write_all(request.as_bytes()).await?;
        self.bytes.clear();
        loop {
            if self.stream.read_buf(&mut self.bytes).await? == 0 {
                return Err("the server closed the connection".into());
            }
            // An answer without a body has no length, either.
            let is_empty = self.bytes.starts_with(b"HTTP/1.1 204");
            if is_empty && self.bytes.ends_with(b"\r\n\r\n") {
                return Ok(&[]);
            }
            if !is_empty && body(&self.bytes)?.is_some() {
                break;
            }
        }
        Ok(body(&self.bytes)?.unwrap_or_default())
    }
}

/// A follower on its connection.
struct Asking {
    connection: Connection,
    authorization: String,
    follower: Follower,
}

impl Asking {
    /// One question and its answer, applied.
    async fn ask(&mut self) -> Result<Vec<EntryId>> {
        let question = self.follower.ask(now(), Vec::new(), &mut Os);
        let question = serde_json::to_string(&question)?;
        let (authorization, length) = (&self.authorization, question.len());
        let request = format!(
            "POST /follow HTTP/1.1\r\nhost: localhost:8080\r\nauthorization: {authorization}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{question}"
        );
        let answer = serde_json::from_slice(self.connection.ask(&request).await?)?;
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
fn now() -> Tick {
    static BEGAN: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(clock);
    Tick::from_nanos(u64::try_from(BEGAN.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// Followers that have a lease.
struct Crowd {
    tasks: JoinSet<Result<()>>,
    heard: UnboundedReceiver<(Option<EntryId>, Tick)>,
    say: UnboundedSender<(Option<EntryId>, Tick)>,
}

impl Crowd {
    fn empty() -> Self {
        let (say, heard) = unbounded_channel();
        Self { tasks: JoinSet::new(), heard, say }
    }

    async fn grow_to(&mut self, size: usize, node: &Node) -> Result<()> {
        let more = size - self.tasks.len();
        for _ in 0..more {
            let asking = node.asking(node.connect().await?);
            self.tasks.spawn(asking.follow(self.say.clone()));
        }
        self.await_all(more, None).await.map(drop)
    }

    /// When each of so many has said this.
    async fn await_all(&mut self, count: usize, what: Option<EntryId>) -> Result<Vec<Tick>> {
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

/// Milliseconds of many events.
fn spread(of: &Rounds) -> String {
    format!("p50 {:.1}, p99 {:.1}, max {:.1} ms", of.at(0.5), of.at(0.99), of.at(1.0))
}

fn millis(from: Tick, to: Tick) -> f64 {
    to.since(from).as_secs_f64() * 1e3
}

/// How long it takes until an end is known, and known to be known; what followers cost at rest.
pub(crate) fn revocation(table: &mut Table) -> Result<()> {
    raise_files_max()?;
    let logins = 2 * (ENDS * (CROWDS.len() - 1) + ENDS_OF_LARGEST) + CUT_OFF + 1;
    let mut node = Node::start(World::of_many_logins()?, logins)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = node.connect().await?;
        // Shortly after a start, leases of an earlier process are waited for.
        node.end(&mut connection, "?confirm=5s").await?;
        let (mut crowd, alone_bytes) = (Crowd::empty(), resident_bytes(&node.id().to_string())?);
        for size in CROWDS {
            crowd.grow_to(size, &node).await?;
            let ends = if size == 1000 { ENDS_OF_LARGEST } else { ENDS };
            latencies(&mut node, &mut crowd, &mut connection, ends, table).await?;
        }
        cut_off(&mut node, &mut connection, table).await?;
        at_rest(&node, &crowd, alone_bytes, table).await?;
        Ok(())
    })
}

async fn latencies(
    node: &mut Node,
    crowd: &mut Crowd,
    connection: &mut Connection,
    ends: usize,
    table: &mut Table,
) -> Result<()> {
    let size = crowd.tasks.len();
    let [mut applied, mut last, mut confirmed] = [(); 3].map(|()| Rounds::default());
    let cpu = [cpu_of(node.id())?];
    for _ in 0..ends {
        let (id, began) = node.end(connection, "").await?;
        let ticks = crowd.await_all(size, Some(id)).await?;
        ticks.iter().for_each(|at| applied.push(millis(began, *at)));
        last.push(ticks.iter().map(|at| millis(began, *at)).fold(0.0, f64::max));
    }
    let cpu = [cpu[0], cpu_of(node.id())?];
    for _ in 0..ends {
        let (id, began) = node.end(connection, "?confirm=5s").await?;
        confirmed.push(millis(began, now()));
        crowd.await_all(size, Some(id)).await?;
    }
    let cpu = [cpu[1].saturating_sub(cpu[0]), cpu_of(node.id())?.saturating_sub(cpu[1])];
    let [unconfirmed_cpu, confirmed_cpu] = cpu.map(|cpu| cpu.as_secs_f64() * 1e3 / ends as f64);
    let followers = if size == 1 { "1 follower".into() } else { format!("{size} followers") };
    table.row(&Row {
        figure: &format!("revocation, {followers}: from asking for it to applied"),
        measured: format!(
            "at each: {}; at the last: {}; {unconfirmed_cpu:.1} ms of the server's CPU",
            spread(&applied),
            spread(&last)
        ),
        budget: "",
        how: &format!("{ends} × `DELETE /api/v1/sessions/{{sid}}` over HTTP, the next when all have applied the last; server in a process of its own, followers tasks in another, each with its connection, both on all cores"),
    })?;
    table.row(&Row {
        figure: &format!("revocation, {followers}: confirmed"),
        measured: format!("{}; {confirmed_cpu:.1} ms of the server's CPU", spread(&confirmed)),
        budget: if size == 100 { "p99 ≤ 20 ms" } else { "" },
        how: &format!(
            "{ends} × the same with `?confirm=5s`: until its answer, as the one who asks sees it"
        ),
    })?;
    Ok(())
}

/// Somebody who got a lease a moment ago and never speaks again.
async fn cut_off(node: &mut Node, connection: &mut Connection, table: &mut Table) -> Result<()> {
    let mut waited = Rounds::default();
    for _ in 0..CUT_OFF {
        let mut silent = node.asking(node.connect().await?);
        silent.ask().await?;
        let (_, began) = node.end(connection, "?confirm=5s").await?;
        waited.push(millis(began, now()));
    }
    table.row(&Row {
        figure: "revocation, one follower cut off: confirmed",
        measured: format!("{waited} ms with a lease of {} ms", LEASE.as_millis()),
        budget: "≤ lease + 10 %",
        how: &format!("{CUT_OFF} times a follower that got its lease just before the end and then says nothing more, beside 1000 that answer"),
    })?;
    Ok(())
}

async fn at_rest(node: &Node, crowd: &Crowd, alone_bytes: u64, table: &mut Table) -> Result<()> {
    let size = u32::try_from(crowd.tasks.len())?;
    let before = cpu_of(node.id())?;
    tokio::time::sleep(REST).await;
    let cpu = cpu_of(node.id())?.saturating_sub(before).as_secs_f64();
    let with_followers = resident_bytes(&node.id().to_string())?;
    let mut silent = Vec::new();
    for _ in 0..size {
        let mut connection = node.connect().await?;
        connection.ask("GET /healthz HTTP/1.1\r\nhost: localhost:8080\r\n\r\n").await?;
        silent.push(connection);
    }
    let with_silent = resident_bytes(&node.id().to_string())?;
    let kilobytes = |bytes: u64| bytes as f64 / f64::from(size) / 1e3;
    table.row(&Row {
        figure: "a follower at rest, at the server",
        measured: format!(
            "{:.0} µs of CPU per second, {:.1} kB (an idle connection alone: {:.1} kB)",
            cpu * 1e6 / f64::from(size) / REST.as_secs_f64(),
            kilobytes(with_followers.saturating_sub(alone_bytes)),
            kilobytes(with_silent.saturating_sub(with_followers))
        ),
        budget: "",
        how: &format!("CPU time of the server's process over {} s with {size} followers and nothing ended (2.5 questions per follower and second at a lease of 1 s); growth of its memory since it had none, by those; then its growth by as many connections that asked once for `/healthz`", REST.as_secs()),
    })?;
    Ok(())
}

/// What a server with a million revocations weighs.
pub(crate) fn weight(table: &mut Table) -> Result<()> {
    let weigh = |entries: usize| -> Result<f64> {
        let world = World::of_many_logins()?;
        revoke(&world, entries)?;
        let node = Node::start(world, 0)?;
        std::thread::sleep(Duration::from_secs(1));
        Ok(resident_bytes(&node.id().to_string())? as f64 / 1e6)
    };
    let (without, with) = (weigh(0)?, weigh(REVOCATIONS)?);
    table.row(&Row {
        figure: "memory of 1 M revocations in a server",
        measured: format!("{:.1} MB ({with:.1} MB : {without:.1} MB)", with - without),
        budget: "",
        how: "VmRSS of `serve` one second after its first answer, with 1 000 000 ids in its log and with none",
    })?;
    Ok(())
}

/// A thousand connections have two ends; the server inherits the limit.
fn raise_files_max() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}
