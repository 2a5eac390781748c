//! Sessions of an application's own: our layer beside those of others, each in front of the same few routes.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde::Deserialize;

use crate::{
    harness::Result,
    load::{Done, Job, Load, Step},
    stores::{Postgres, Redis},
    table::{Row, Table},
    traffic::{CONNECTIONS, Measured, in_turn, repeat},
    world::Folder,
};

/// Long enough that every connection has an answer.
const TAKEN_MS: u64 = 200;
const ROUTES: [&str; 4] = ["/none", "/read", "/write", "/new"];
/// Enough that what a table of them has left over is a fair share.
const WEIGHED_MIN: u64 = 150_000;
/// It is slow to open them, and its heap is collected before it is read.
const WEIGHED_IN_NODE_MIN: u64 = 20_000;
const WEIGHED_IN_REDIS_MIN: u64 = 50_000;
const WEIGHED_IN_POSTGRES_MIN: u64 = 10_000;

/// An application: what it is called, the word by which its program knows it, and the same without sessions.
struct Kind {
    name: &'static str,
    word: &'static str,
    bare: &'static str,
}

const fn kind(name: &'static str, word: &'static str, bare: &'static str) -> Kind {
    Kind { name, word, bare }
}

const KINDS: &[Kind] = &[
    kind("axum", "axum", "axum"),
    kind("symbolon-guard, memory", "ours-memory", "axum"),
    kind("tower-sessions, memory", "tower-memory", "axum"),
    kind("symbolon-guard, Redis", "ours-redis", "axum"),
    kind("tower-sessions, Redis", "tower-redis", "axum"),
    kind("tower-sessions, Redis, idle limit moved by reads", "tower-redis-idle", "axum"),
    kind("symbolon-guard, PostgreSQL", "ours-postgres", "axum"),
    kind("actix-web", "actix", "actix"),
    kind("actix-session, all in the cookie", "actix-cookie", "actix"),
    kind("actix-session, Redis", "actix-redis", "actix"),
    kind("Express", "express", "express"),
    kind("express-session, memory", "express-memory", "express"),
    kind("express-session and connect-redis", "express-redis", "express"),
];

impl Kind {
    fn keeps(&self, store: &str) -> bool {
        self.word.split('-').any(|part| part == store)
    }

    fn is_bare(&self) -> bool {
        self.word == self.bare
    }
}

/// Where sessions are kept but in memory; `None` where it is not installed.
struct Stores {
    redis: Option<Redis>,
    postgres: Option<Postgres>,
}

/// Everything that this measures.
pub(crate) fn own_sessions(table: &mut Table) -> Result<()> {
    let folder = Folder::new()?;
    let stores = Stores { redis: Redis::start(&folder.0)?, postgres: Postgres::start(&[])? };
    let mut applications = Vec::new();
    for kind in KINDS {
        match Application::start(kind, &stores)? {
            Ok(application) => applications.push(application),
            Err(why) => skip(table, &format!("{}: {why}", kind.name))?,
        }
    }
    let mut load = Load::start()?;
    // Before rows that were removed leave room for new ones.
    for application in &applications {
        if let Some(postgres) = &stores.postgres
            && application.kind.keeps("postgres")
        {
            in_postgres(table, &mut load, application, postgres)?;
        }
    }
    costs(table, &mut load, &applications)?;
    for application in &applications {
        if let Some(redis) = &stores.redis
            && application.kind.keeps("redis")
        {
            in_redis(table, &mut load, application, redis)?;
        }
    }
    drop(applications);
    for kind in KINDS.iter().filter(|kind| kind.keeps("memory")) {
        if let Ok(application) = Application::start(kind, &stores)? {
            in_memory(table, &mut load, &application)?;
        }
    }
    Ok(())
}

fn skip(table: &mut Table, why: &str) -> Result<()> {
    Ok(table.row(&Row { figure: "own sessions", measured: why.to_owned(), budget: "", how: "" })?)
}

/// CPU time and rates, each route of all applications in turn.
fn costs(table: &mut Table, load: &mut Load, applications: &[Application]) -> Result<()> {
    let mut all: Vec<Vec<Measured>> = Vec::new();
    for path in ROUTES {
        let jobs =
            applications.iter().map(|one| one.job(load, path)).collect::<Result<Vec<_>>>()?;
        all.push(in_turn(load, jobs)?);
    }
    for (at, application) in applications.iter().enumerate() {
        let kind = application.kind;
        let bare = applications.iter().position(|one| one.kind.word == kind.bare);
        let bare = bare.ok_or("no bare application")?;
        let each = ROUTES.iter().zip(&all).map(|(path, measured)| {
            let (own, bare) = (&measured[at], &measured[bare]);
            let rate = own.per_sec.median();
            if kind.is_bare() {
                format!("{path} {} µs, {rate:.0}/s", own.cpu_us)
            } else {
                format!("{path} +{} µs, {rate:.0}/s", own.cpu_us.minus(&bare.cpu_us))
            }
        });
        table.row(&Row {
            figure: &application.title(),
            measured: each.collect::<Vec<_>>().join("; "),
            budget: if kind.word == "ours-memory" { "≤ 2.5 µs" } else { "" },
            how: "CPU of the process per request, over the same application without sessions; 32 connections and sessions, all in turn; Redis on the application's core",
        })?;
    }
    Ok(())
}

/// What one request asks of Redis, and what a session weighs there.
fn in_redis(
    table: &mut Table,
    load: &mut Load,
    application: &Application,
    redis: &Redis,
) -> Result<()> {
    let mut asked = Vec::new();
    for path in ROUTES {
        let mut job = application.job(load, path)?;
        // With one request at a time, what Redis reads at once is a round trip.
        job.walks.truncate(1);
        load.run(&job)?;
        redis.ask("CONFIG RESETSTAT")?;
        let answers = load.run(&job)?.answers as f64;
        let info = redis.ask("INFO all")?;
        let trips = number(&info, "total_reads_processed:")? as f64 / answers;
        asked.push(format!("{path} {trips:.2} ({})", commands(&info, answers)));
    }
    redis.ask("FLUSHALL")?;
    let before = number(&redis.ask("INFO all")?, "used_memory:")?;
    let job = Job { for_ms: 100, ..application.fresh("/login") };
    let opened = open(load, &job, WEIGHED_IN_REDIS_MIN)?;
    let grown = number(&redis.ask("INFO all")?, "used_memory:")?.saturating_sub(before);
    redis.ask("FLUSHALL")?;
    let ours = application.kind.word.starts_with("ours");
    table.row(&Row {
        figure: &format!("{}: at Redis", application.title()),
        measured: format!(
            "round trips (commands) per request: {}; {} bytes per session of a user",
            asked.join("; "),
            grown / opened
        ),
        budget: if ours { "1 round trip; ≤ 260 bytes" } else { "" },
        how: "`INFO`: `total_reads_processed` with one request at a time, `commandstats` with what scripts call, growth of `used_memory` by sessions of users of their own with one number in each; only ours finds the sessions of a user",
    })?;
    Ok(())
}

/// What a session weighs in PostgreSQL, its indexes included.
fn in_postgres(
    table: &mut Table,
    load: &mut Load,
    application: &Application,
    postgres: &Postgres,
) -> Result<()> {
    const SIZE: &str = "SELECT pg_database_size(current_database())";
    let before = postgres.ask(SIZE)?;
    let job = Job { for_ms: 100, ..application.fresh("/login") };
    let opened = open(load, &job, WEIGHED_IN_POSTGRES_MIN)?;
    let grown = postgres.ask(SIZE)?.saturating_sub(before);
    table.row(&Row {
        figure: &format!("{}: in PostgreSQL", application.title()),
        measured: format!("{} bytes per session of a user", grown / opened),
        budget: "",
        how: "growth of the database, indexes included, by sessions of users of their own with one number in each",
    })?;
    Ok(())
}

/// What a session weighs in the process.
fn in_memory(table: &mut Table, load: &mut Load, application: &Application) -> Result<()> {
    let job = Job { for_ms: 100, ..application.fresh("/login") };
    let warm = Job { for_ms: 10, ..application.fresh("/none") };
    load.run(&warm)?;
    let before = application.weight(load)?;
    let least = if application.kind.bare == "express" { WEIGHED_IN_NODE_MIN } else { WEIGHED_MIN };
    let opened = open(load, &job, least)?;
    let grown = application.weight(load)?.saturating_sub(before);
    let ours = application.kind.word.starts_with("ours");
    table.row(&Row {
        figure: &format!("{}: weight", application.title()),
        measured: format!("{} bytes per session of a user", grown / opened),
        budget: if ours { "≤ 400 bytes" } else { "" },
        how: "growth of a fresh process (Node: of its heap after a collection) by 150,000 sessions or some more (Node: 20,000) of users of their own with one number in each; only ours finds the sessions of a user",
    })?;
    Ok(())
}

/// Opens at least so many sessions. Returns how many.
fn open(load: &mut Load, job: &Job, least: u64) -> Result<u64> {
    let mut opened = 0;
    while opened < least {
        opened += load.run(job)?.answers;
    }
    Ok(opened)
}

/// An application in a process of its own, on core 0.
struct Application {
    kind: &'static Kind,
    child: Child,
    ready: Ready,
}

#[derive(Deserialize)]
struct Ready {
    version: String,
    port: u16,
}

impl Application {
    /// Or why there is none.
    fn start(
        kind: &'static Kind,
        stores: &Stores,
    ) -> Result<std::result::Result<Self, &'static str>> {
        let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]);
        if kind.bare == "express" {
            let folder = bench.join("peers");
            if !folder.join("node_modules/connect-redis").exists() {
                return Ok(Err("not installed (npm --prefix bench/peers ci)"));
            }
            command.args(["node", "--expose-gc", "express-session.js"]).current_dir(folder);
            command.env("NODE_ENV", "production");
        } else {
            let program = bench.join("../target/peers/release/symbolon-bench-sessions");
            if !program.exists() {
                return Ok(Err(
                    "not built (cargo build --release --target-dir target/peers --manifest-path bench/peers/sessions/Cargo.toml)",
                ));
            }
            command.arg(program);
        }
        command.arg(kind.word);
        if kind.keeps("redis") {
            let Some(redis) = &stores.redis else { return Ok(Err("no redis-server")) };
            command.arg(redis.url());
        }
        if kind.keeps("postgres") {
            let Some(postgres) = &stores.postgres else { return Ok(Err("no PostgreSQL")) };
            command.arg(postgres.url());
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
        let ready = serde_json::from_str(&line)?;
        Ok(Ok(Self { kind, child, ready }))
    }

    fn title(&self) -> String {
        let (first, rest) = self.kind.name.split_once(',').unwrap_or((self.kind.name, ""));
        let rest = if rest.is_empty() { String::new() } else { format!(",{rest}") };
        format!("{first} {}{rest}", self.ready.version)
    }

    /// Requests that carry no session.
    fn fresh(&self, path: &str) -> Job {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.ready.port));
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost:8080\r\n");
        Job { process: Some(self.child.id()), ..repeat(address, Step::get(head)) }
    }

    /// The requests of a route: of a session per connection, but where sessions are opened.
    fn job(&self, load: &mut Load, path: &str) -> Result<Job> {
        let mut job = self.fresh(path);
        if path == "/new" || self.kind.is_bare() {
            return Ok(job);
        }
        for (walk, cookie) in job.walks.iter_mut().zip(self.take(load, "/new", "session=")?) {
            let cookie = cookie.split(';').next().unwrap_or_default();
            for step in &mut walk.steps {
                // Writing to a String cannot fail.
                let _ = write!(step.head, "cookie: session={cookie}\r\n");
            }
        }
        // A session that its layer does not know would make for a cheap answer.
        let mut check = Job { for_ms: TAKEN_MS, ..job.clone() };
        for step in check.walks.iter_mut().flat_map(|walk| &mut walk.steps) {
            step.head = step.head.replacen(path, "/read", 1);
            *step = step.clone().taking("\r\n\r\n\"");
        }
        let answers = load.run(&check)?.taken;
        if answers.len() != CONNECTIONS || answers.iter().any(|answer| answer != "ok") {
            return Err(format!("{}: the sessions are not there: {answers:?}", self.title()).into());
        }
        Ok(job)
    }

    /// What each connection's last answer has after this text.
    fn take(&self, load: &mut Load, path: &str, after: &str) -> Result<Vec<String>> {
        let mut job = Job { for_ms: TAKEN_MS, ..self.fresh(path) };
        for step in job.walks.iter_mut().flat_map(|walk| &mut walk.steps) {
            *step = step.clone().taking(after);
        }
        let Done { taken, .. } = load.run(&job)?;
        Ok(taken)
    }

    fn weight(&self, load: &mut Load) -> Result<u64> {
        let weights = self.take(load, "/weight", "bytes=")?;
        Ok(weights.first().ok_or("no weight")?.parse()?)
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number that stands after this in an `INFO`.
fn number(info: &str, after: &str) -> Result<u64> {
    let line = info.lines().find_map(|line| line.strip_prefix(after)).ok_or("not in INFO")?;
    Ok(line.trim().parse()?)
}

/// The commands of a request, those that are the bench's own left out.
fn commands(info: &str, answers: f64) -> String {
    let calls = info.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let each = rest.split(',').next()?.parse::<f64>().ok()? / answers;
        let own = name.starts_with("config") || name.starts_with("info");
        (!own && each >= 0.01).then(|| format!("{name} {each:.2}"))
    });
    let calls = calls.collect::<Vec<_>>();
    if calls.is_empty() { "none".to_owned() } else { calls.join(", ") }
}
