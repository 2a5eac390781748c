//! Servers in processes of their own on one database, as `serve` runs them, and what requests to them cost.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::Command,
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::Value;

use crate::{
    harness::{Result, cpu_of},
    load::{Done, Job, Step, Walk, run},
    process::{self, Server},
    stores::Postgres,
    traffic::get_session,
    world::{CHEAP_PASSWORDS, Folder, ORIGIN, PASSWORD, World, login},
};

/// How many users log in: each has but a few sessions, as users have.
pub(crate) const USERS: usize = 400;
/// Connections of all requests together.
pub(crate) const CONNECTIONS: usize = 32;

/// A login that has happened.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) sid: String,
    pub(crate) cookie: Option<String>,
    pub(crate) refresh_token: Option<String>,
}

impl Login {
    fn headers(&self) -> String {
        let cookie = self.cookie.as_deref().unwrap_or_default();
        format!("host: localhost:8080\r\norigin: {ORIGIN}\r\ncookie: {cookie}\r\n")
    }

    /// Shows the session.
    pub(crate) fn check(&self) -> Step {
        Step::get(get_session(&self.headers().replacen("host: localhost:8080\r\n", "", 1)))
    }

    /// Ends it.
    pub(crate) fn end(&self, query: &str) -> Step {
        let head = format!("DELETE /api/v1/sessions/{}{query} HTTP/1.1\r\n", self.sid);
        Step::get(head + &self.headers())
    }

    /// Uses its refresh token, again and again.
    pub(crate) fn refreshes(&self, times: usize) -> Walk {
        let head = "POST /api/v1/refresh HTTP/1.1\r\nhost: localhost:8080\r\ncontent-type: application/json\r\n";
        let body = r#"{"refresh_token":"{}"}"#.to_owned();
        let step = Step { body, ..Step::get(head.to_owned()).taking(r#""refresh_token":""#) };
        let taken = self.refresh_token.clone().unwrap_or_default();
        Walk { steps: vec![step; times], taken }
    }
}

/// A login by password over HTTP.
pub(crate) fn log_in(user: usize) -> Step {
    let head =
        "POST /api/v1/login HTTP/1.1\r\nhost: localhost:8080\r\ncontent-type: application/json\r\n";
    let user = format!("user{}", user % USERS);
    let body = serde_json::json!({ "username": user, "password": PASSWORD }).to_string();
    Step { body, ..Step::get(head.to_owned()) }
}

/// Adds the users, and logs them in so often, without HTTP.
pub(crate) fn logins(world: &World, count: usize, deliver: &'static str) -> Result<Vec<Login>> {
    const AT_ONCE: usize = 16;
    for user in 0..USERS {
        // They may be there from the last time.
        let _ = world.add_user(&format!("user{user}"));
    }
    let task = async |first: usize| {
        let mut done = Vec::new();
        for number in (first..count).step_by(AT_ONCE) {
            let user = format!("user{}", number % USERS);
            let address = Ipv4Addr::LOCALHOST.into();
            let (cookie, answer) = login(&world.router, &user, deliver, address).await?;
            let text = |name: &str| answer[name].as_str().map(str::to_owned);
            let sid = text("sid").ok_or("no session")?;
            done.push(Login { sid, cookie, refresh_token: text("refresh_token") });
        }
        Result::Ok(done)
    };
    let all = world.runtime.block_on(join_all((0..AT_ONCE).map(task)));
    Ok(all.into_iter().collect::<Result<Vec<_>>>()?.concat())
}

/// Servers on one store.
pub(crate) struct Fleet {
    servers: Vec<Server>,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) folder: Folder,
}

impl Fleet {
    /// Starts so many on what a world has left. Without a URL it is one, on a file. What they say goes into `said0`,
    /// `said1` … of the folder.
    pub(crate) fn start(
        folder: Folder,
        url: Option<&str>,
        count: usize,
        settings: &[&str],
    ) -> Result<Self> {
        let binary = process::build()?;
        let mut fleet = Self { servers: Vec::new(), addresses: Vec::new(), folder };
        for number in 0..count {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let mut command = fleet.command(&binary, url, number, port);
            for setting in settings {
                command.args(["--set", setting]);
            }
            let said = File::create(fleet.folder.0.join(format!("said{number}")))?;
            let started = Server::start(command.arg("serve").stderr(said), port);
            let (server, _) = started.map_err(|error| {
                let said = std::fs::read_to_string(fleet.folder.0.join(format!("said{number}")));
                format!("{error}: {}", said.unwrap_or_default())
            })?;
            fleet.servers.push(server);
            fleet.addresses.push(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        }
        Ok(fleet)
    }

    /// Stops them. Returns what they leave on disk.
    pub(crate) fn stop(self) -> Folder {
        self.folder
    }

    fn command(&self, binary: &Path, url: Option<&str>, number: usize, port: u16) -> Command {
        let folder = &self.folder.0;
        let data =
            if url.is_some() { folder.join(format!("node{number}")) } else { folder.clone() };
        let mut command = process::command(binary, &data, port);
        if let Some(url) = url {
            command.env("SYMBOLON_STORE__URL", url);
        }
        let key = folder.join("master.key").display().to_string();
        let own = [("public_url", ORIGIN), ("log.level", "warn"), ("keys.master_key_file", &key)];
        for (setting, value) in own.iter().chain(&CHEAP_PASSWORDS) {
            command.args(["--set", &format!("{setting}={value}")]);
        }
        command
    }

    /// The CPU time of all of them so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        self.servers.iter().map(|server| cpu_of(server.0.id())).sum()
    }

    /// Sends these to every node at once; each walk has a connection. Says how many walks were gone, and how long it took.
    pub(crate) async fn drive(&self, walks: Vec<Vec<Walk>>, for_ms: Option<u64>) -> Result<Done> {
        let jobs = self.addresses.iter().zip(walks);
        let jobs = jobs.map(|(address, walks)| Job {
            address: *address,
            for_ms: for_ms.unwrap_or_default(),
            once: for_ms.is_none(),
            pause_ms: 0,
            walks,
            process: None,
        });
        let jobs: Vec<_> = jobs.collect();
        let mut all = Done::default();
        for done in join_all(jobs.iter().map(run)).await {
            let done = done?;
            all.answers += done.answers;
            all.secs = all.secs.max(done.secs);
        }
        Ok(all)
    }
}

/// What some answers took.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) answers: f64,
    pub(crate) secs: f64,
    /// CPU time of all nodes, and of PostgreSQL.
    pub(crate) node: Duration,
    pub(crate) store: Duration,
}

impl Cost {
    pub(crate) fn per_sec(&self) -> f64 {
        self.answers / self.secs
    }

    pub(crate) fn micros(&self, of: Duration) -> f64 {
        of.as_secs_f64() * 1e6 / self.answers
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.answers += other.answers;
        self.secs += other.secs;
        self.node += other.node;
        self.store += other.store;
    }

    /// Of a run in which each walk had so many requests.
    pub(crate) async fn of(
        fleet: &Fleet,
        postgres: Option<&Postgres>,
        walks: Vec<Vec<Walk>>,
        for_ms: Option<u64>,
    ) -> Result<Self> {
        let steps = walks.iter().flatten().map(|walk| walk.steps.len()).max().unwrap_or(1);
        let cpu = || Ok::<_, crate::harness::Error>((fleet.cpu()?, store_cpu(postgres)?));
        let before = cpu()?;
        let done = fleet.drive(walks, for_ms).await?;
        let after = cpu()?;
        Ok(Self {
            answers: done.answers as f64 * steps as f64,
            secs: done.secs,
            node: after.0.saturating_sub(before.0),
            store: after.1.saturating_sub(before.1),
        })
    }
}

fn store_cpu(postgres: Option<&Postgres>) -> Result<Duration> {
    postgres.map_or(Ok(Duration::ZERO), Postgres::cpu)
}

/// As many requests on each of so many connections, the rest left out.
pub(crate) fn spread(steps: &[Step], connections: usize) -> Vec<Walk> {
    let each = steps.len() / connections;
    let walks = steps.chunks_exact(each.max(1)).take(connections);
    walks.map(|steps| Walk { steps: steps.to_vec(), taken: String::new() }).collect()
}

/// What this was measured with.
pub(crate) fn versions(postgres: Option<&Postgres>) -> Result<String> {
    let line = |path: &str, name: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        line.rsplit(':').next().unwrap_or_default().trim().to_owned()
    };
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cores = std::thread::available_parallelism()?;
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let mut text = format!("Symbolon {} ({profile})", env!("CARGO_PKG_VERSION"));
    if let Some(postgres) = postgres {
        text += &format!(", PostgreSQL {}", postgres.text("SHOW server_version")?);
    }
    text += &format!(", SQLite {}", sqlite_version()?);
    Ok(text
        + &format!(", Linux {}, {cores} × {}", kernel.trim(), line("/proc/cpuinfo", "model name")))
}

fn sqlite_version() -> Result<String> {
    use sqlx::{Connection, Row};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = sqlx::SqliteConnection::connect("sqlite::memory:").await?;
        let row = sqlx::query("SELECT sqlite_version()").fetch_one(&mut connection).await?;
        Ok(row.try_get(0)?)
    })
}

/// Whether an answer says that an end is over everywhere.
pub(crate) fn is_confirmed(answer: &[u8]) -> bool {
    serde_json::from_slice::<Value>(answer).is_ok_and(|answer| answer["confirmed"] == true)
}
