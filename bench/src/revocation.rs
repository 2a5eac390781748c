//! How soon an end is over everywhere: a real server in a process of its own, and followers that ask it over HTTP.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use symbolon_core::{secret::SecretText, time::Tick};
use symbolon_guard::follow::{Following, Settings};

use crate::{
    crowd::{Connection, Crowd, Node, now},
    following::{REVOCATIONS, revoke},
    harness::{Result, Rounds, cpu_of, process_cpu, resident_bytes},
    table::{Row, Table},
    world::{CLIENT, ORIGIN, World},
};

const CROWDS: [usize; 4] = [1, 10, 100, 1000];
/// How often something is ended, each time confirmed and unconfirmed, for each crowd but the largest.
const ENDS: usize = 120;
const ENDS_OF_LARGEST: usize = 40;
const CUT_OFF: usize = 5;
const REST: Duration = Duration::from_secs(5);
const LEASE: Duration = Duration::from_secs(1);
/// Guards that follow in this process, to measure what one costs.
const GUARDS: u32 = 100;

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
        cut_off(&mut node, &crowd, &mut connection, table).await?;
        at_rest(&node, &crowd, alone_bytes, table).await
    })?;
    drop(runtime);
    guards_at_rest(&node, table)
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
async fn cut_off(
    node: &mut Node,
    crowd: &Crowd,
    connection: &mut Connection,
    table: &mut Table,
) -> Result<()> {
    let mut waited = Rounds::default();
    for _ in 0..CUT_OFF {
        let mut silent = crowd.asking(node.address, &node.secret).await?;
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

/// What a follower costs the server while nothing ends.
async fn at_rest(node: &Node, crowd: &Crowd, alone_bytes: u64, table: &mut Table) -> Result<()> {
    let size = u32::try_from(crowd.tasks.len())?;
    let before = (cpu_of(node.id())?, crowd.moved_bytes());
    tokio::time::sleep(REST).await;
    let cpu = cpu_of(node.id())?.saturating_sub(before.0).as_secs_f64();
    let moved = crowd.moved_bytes() - before.1;
    let with_followers = resident_bytes(&node.id().to_string())?;
    let mut silent = Vec::new();
    for _ in 0..size {
        let mut connection = node.connect().await?;
        connection.ask("GET /healthz HTTP/1.1\r\nhost: localhost:8080\r\n\r\n").await?;
        silent.push(connection);
    }
    let with_silent = resident_bytes(&node.id().to_string())?;
    let each = |of: f64| of / f64::from(size);
    let each_sec = |of: f64| each(of) / REST.as_secs_f64();
    let kilobytes = |bytes: u64| each(bytes as f64) / 1e3;
    table.row(&Row {
        figure: "a follower at rest, at the server",
        measured: format!(
            "{:.0} µs of CPU and {:.1} kB of HTTP per second, {:.1} kB of memory (an idle connection alone: {:.1} kB)",
            each_sec(cpu * 1e6),
            each_sec(moved as f64 / 1e3),
            kilobytes(with_followers.saturating_sub(alone_bytes)),
            kilobytes(with_silent.saturating_sub(with_followers))
        ),
        budget: "",
        how: &format!("CPU time of the server's process over {} s with {size} followers and nothing ended (2.5 questions per follower and second at a lease of 1 s); bytes of questions and answers with their headers; growth of the process's memory since it had no follower; then its growth by as many connections that asked once for `/healthz`. Each by the number of followers", REST.as_secs()),
    })?;
    Ok(())
}

/// What following costs whoever follows, while nothing ends: in a process of its own.
fn guards_at_rest(node: &Node, table: &mut Table) -> Result<()> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("follow")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    writeln!(child.stdin.take().ok_or("no stdin")?, "{} {}", node.address, node.secret)?;
    let output = child.wait_with_output()?;
    let (cpu_us, bytes): (f64, f64) = serde_json::from_slice(&output.stdout)?;
    table.row(&Row {
        figure: "a follower at rest, at the guard",
        measured: format!("{cpu_us:.0} µs of CPU per second, {:.1} kB of memory", bytes / 1e3),
        budget: "",
        how: &format!("CPU time over {} s, and growth, of a process with {GUARDS} `follow::Following` of that server, by their number", REST.as_secs()),
    })?;
    Ok(())
}

/// A guard that follows the server there, and is ready.
pub(crate) fn guard(
    runtime: &tokio::runtime::Runtime,
    address: impl std::fmt::Display,
    secret: &str,
) -> Result<Following> {
    let secret = SecretText::new(secret.to_owned());
    let settings = Settings::new(format!("http://{address}"), CLIENT.parse()?, secret);
    let settings = Settings { issuer: Some(ORIGIN.into()), ..settings };
    let (following, task) = Following::new(settings.audience(ORIGIN))?;
    runtime.spawn(task);
    runtime.block_on(following.ready());
    Ok(following)
}

/// The side of that process: prints microseconds per second, and bytes, of one.
pub(crate) fn follow() -> Result<()> {
    let line = std::io::stdin().lines().next().ok_or("no line")??;
    let (address, secret) = line.split_once(' ').ok_or("no secret")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let before_bytes = resident_bytes("self")?;
    let guards =
        (0..GUARDS).map(|_| guard(&runtime, address, secret)).collect::<Result<Vec<_>>>()?;
    let bytes = resident_bytes("self")?.saturating_sub(before_bytes) as f64;
    let before = process_cpu();
    std::thread::sleep(REST);
    let cpu_us = process_cpu().saturating_sub(before).as_secs_f64() * 1e6;
    if !guards.iter().all(|guard| guard.status().ready) {
        return Err("a guard has lost its lease".into());
    }
    let each = |of: f64| of / f64::from(GUARDS);
    let figures = (each(cpu_us) / REST.as_secs_f64(), each(bytes));
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&figures)?)?;
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
