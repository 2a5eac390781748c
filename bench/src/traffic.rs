//! What requests cost over HTTP on keep-alive connections: the server's worker on one core, the load on the other.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use axum::{Json, Router, routing};
use serde_json::Value;
use symbolon::http::authority::InProcess;
use symbolon_guard::{Guard, Identity, Rules};

use crate::{
    harness::{Result, Rounds, clock, process_cpu},
    load::{Done, Job, Load},
    table::{Row, Table},
    world::{ORIGIN, World, bare, login as log_in},
};

const ROUNDS: usize = 11;
const ROUND_MS: u64 = 250;
const CONNECTIONS: usize = 32;
const SESSION: &str = "/api/v1/session";

/// What a job came to, round by round.
#[derive(Default)]
struct Measured {
    per_sec: Rounds,
    cpu_us: Rounds,
}

impl Measured {
    /// The rate as a share of another's, the rates, and the same of CPU time.
    fn beside(&self, bare: &Self) -> String {
        format!(
            "{} % ({:.0} : {:.0} requests/s); CPU {:.1} : {:.1} µs, so {} % by CPU",
            self.per_sec.over(&bare.per_sec).times(100.0),
            self.per_sec.median(),
            bare.per_sec.median(),
            self.cpu_us.median(),
            bare.cpu_us.median(),
            bare.cpu_us.over(&self.cpu_us).times(100.0),
        )
    }
}

/// Runs the jobs in turn, round by round, after one round that warms up.
fn alternate<const N: usize>(load: &mut Load, jobs: [&mut Job; N]) -> Result<[Measured; N]> {
    let mut all = [const { None::<Measured> }; N].map(Option::unwrap_or_default);
    for round in 0..=ROUNDS {
        for (job, measured) in jobs.iter().zip(&mut all) {
            let before = process_cpu();
            let done = load.run(job)?;
            let cpu = process_cpu().saturating_sub(before);
            if round > 0 {
                measured.per_sec.push(done.answers as f64 / done.secs);
                measured.cpu_us.push(cpu.as_secs_f64() * 1e6 / done.answers as f64);
            }
        }
    }
    Ok(all)
}

fn job(address: SocketAddr, requests: Vec<String>) -> Job {
    Job { address, for_ms: ROUND_MS, pause_ms: 0, requests, refresh: None }
}

fn get_session(header: &str) -> String {
    format!(
        "GET {SESSION} HTTP/1.1\r\nhost: localhost:8080\r\nuser-agent: bench\r\n{header}\r\n\r\n"
    )
}

/// The requests of some sessions, by cookie.
fn sessions(world: &World, count: usize) -> Result<Vec<String>> {
    let cookies = (0..count).map(|_| world.login("session")?.0.ok_or("no cookie".into()));
    cookies.map(|cookie: Result<String>| Ok(get_session(&format!("cookie: {}", cookie?)))).collect()
}

/// The JSON that the server answers one request with.
fn answer_of(world: &World, request: axum::http::Request<axum::body::Body>) -> Result<Value> {
    Ok(world.runtime.block_on(crate::world::answer(&world.router, request))?.1)
}

/// The check of a session, at a guard and at a node.
pub(crate) fn session_check(table: &mut Table) -> Result<()> {
    let world = World::on_one_core()?;
    let requests = sessions(&world, CONNECTIONS)?;
    let cookie = requests.first().and_then(|r| r.split("cookie: ").nth(1)).ok_or("no cookie")?;
    let request = axum::http::Request::get(SESSION).header("cookie", cookie.trim());
    let answer = answer_of(&world, request.body(axum::body::Body::empty())?)?;

    let leaked: &'static Value = Box::leak(Box::new(answer.clone()));
    let guard = Guard::required(Rules::new(ORIGIN)?, InProcess(Arc::clone(&world.app)));
    let guarded = Router::new()
        .route(SESSION, routing::get(async move |_: Identity| Json(leaked)))
        .layer(guard);
    let mut load = Load::start()?;
    let mut jobs = [
        job(world.serve_axum(bare(SESSION, answer))?, requests.clone()),
        job(world.serve_axum(guarded)?, requests.clone()),
        job(world.serve_axum(world.router.clone())?, requests.clone()),
        job(world.serve()?, requests),
    ];
    let [bare, guarded, router, node] = alternate(&mut load, jobs.each_mut())?;
    let rows = [
        (
            &guarded,
            "session check at a guard, warm",
            "the same axum route with and without the guard in front of it (authority in the same process)",
        ),
        (
            &router,
            "session check at a node, warm: its routes",
            "`GET /api/v1/session` of the server's router against a bare axum route that answers the same JSON",
        ),
        (
            &node,
            "session check at a node, warm: as `serve` runs it",
            "the same with logs, metrics, bounds and time limits around the router",
        ),
    ];
    for (measured, figure, how) in rows {
        let how = &format!(
            "{how}; 32 connections, 32 sessions, both in turn, {ROUNDS} rounds of {ROUND_MS} ms"
        );
        table.row(&Row { figure, measured: measured.beside(&bare), budget: "≥ 85 %", how })?;
    }
    Ok(())
}

/// Introspection of an access token and of a session cookie.
pub(crate) fn introspection(table: &mut Table) -> Result<()> {
    const PATH: &str = "/oauth2/introspect";
    let world = World::on_one_core()?;
    let basic = world.add_resource_server()?;
    let token = world.login("token")?.1["access_token"].as_str().ok_or("no token")?.to_owned();
    let cookie = world.login("session")?.0.ok_or("no cookie")?;
    let cookie = cookie.split_once('=').ok_or("no cookie")?.1.to_owned();
    let node = world.serve()?;
    let mut load = Load::start()?;
    for (figure, credential) in [
        ("introspection of an access token (ES256)", token),
        ("introspection of a session cookie", cookie),
    ] {
        let form = format!("token={credential}");
        let request = axum::http::Request::post(PATH)
            .header("authorization", &basic)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(axum::body::Body::from(form.clone()))?;
        let answer = answer_of(&world, request)?;
        if answer["active"] != true {
            return Err("the token is not active".into());
        }
        let request = format!(
            "POST {PATH} HTTP/1.1\r\nhost: localhost:8080\r\nauthorization: {basic}\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            form.len()
        );
        let requests = vec![request; CONNECTIONS];
        let mut jobs =
            [job(world.serve_axum(bare(PATH, answer))?, requests.clone()), job(node, requests)];
        let [bare, node] = alternate(&mut load, jobs.each_mut())?;
        table.row(&Row {
            figure,
            measured: node.beside(&bare),
            budget: "≥ 60 %",
            how: "as `serve` runs it, against a bare axum route that reads the body and answers the same JSON",
        })?;
    }
    Ok(())
}

/// Rotations of refresh tokens, each durable before its answer.
pub(crate) fn refresh(table: &mut Table) -> Result<()> {
    let world = World::on_one_core()?;
    let tokens: Vec<String> = (0..64)
        .map(|_| Ok(world.login("token")?.1["refresh_token"].as_str().ok_or("no token")?.into()))
        .collect::<Result<_>>()?;
    let node = world.serve()?;
    let bare = world.serve_axum(bare(SESSION, serde_json::json!({ "ok": true })))?;
    let head = "POST /api/v1/refresh HTTP/1.1\r\nhost: localhost:8080\r\ncontent-type: application/json\r\n";
    let with = |tokens: &[String]| Job {
        for_ms: 1000,
        refresh: Some(tokens.to_vec()),
        ..job(node, vec![head.to_owned(); tokens.len()])
    };
    let mut load = Load::start()?;
    let (one, many) = tokens.split_at(1);
    let mut jobs =
        [with(many), with(one), job(bare, vec![get_session("accept: */*"); CONNECTIONS])];
    let [mut many, mut one, mut plain] = [(); 3].map(|()| Measured::default());
    for _ in 0..7 {
        for (job, measured) in jobs.iter_mut().zip([&mut many, &mut one, &mut plain]) {
            let before = process_cpu();
            let Done { answers, secs, tokens, .. } = load.run(job)?;
            let cpu = process_cpu().saturating_sub(before);
            measured.per_sec.push(answers as f64 / secs);
            measured.cpu_us.push(cpu.as_secs_f64() * 1e6 / answers as f64);
            job.refresh = job.refresh.as_ref().map(|_| tokens);
        }
    }
    // Rauthy: 780/s on one core where a bare answer takes 7.3 µs, thus 1282 µs each, or 176 bare answers.
    let bare_answers = many.cpu_us.over(&plain.cpu_us);
    table.row(&Row {
        figure: "refresh rotation, durable",
        measured: format!(
            "{}/s in 63 sessions at once, {}/s in one alone: {} ×; CPU {} µs each, what {bare_answers} bare answers take ({} µs): Rauthy {:.0} ×",
            many.per_sec,
            one.per_sec,
            many.per_sec.over(&one.per_sec),
            many.cpu_us,
            plain.cpu_us,
            (1e6 / 780.0 / 7.3) / bare_answers.median(),
        ),
        budget: "≥ 8 × Rauthy (whose rotation takes what 176 bare answers take)",
        how: "`POST /api/v1/refresh` over HTTP, SQLite file with synchronous=FULL; CPU of the whole process, SQLite's threads included",
    })?;
    Ok(())
}

/// Logins with the default cost, and how others fare meanwhile.
pub(crate) fn login(table: &mut Table) -> Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let world = World::on_all_cores()?;
    for number in 0..32 {
        world.add_user(&format!("user{number}"))?;
    }
    let mut load = Load::start()?;
    let probe = Job { pause_ms: 2, for_ms: 2000, ..job(world.serve()?, sessions(&world, 4)?) };
    let [mut alone, mut at_once, mut logins, mut quiet, mut busy] =
        [const { None::<Rounds> }; 5].map(Option::unwrap_or_default);
    let [mut quiet99, mut busy99] = [Rounds::default(), Rounds::default()];
    for _ in 0..5 {
        alone.push(hashes_per_sec(1)? * cores as f64);
        at_once.push(hashes_per_sec(cores)?);
        let still = load.run(&probe)?;
        quiet.push(still.p50_us);
        quiet99.push(still.p99_us);
        let (rate, meanwhile) = while_logging_in(&world, &mut load, None)?;
        logins.push(rate);
        debug_assert!(meanwhile.is_none());
        let (_, meanwhile) = while_logging_in(&world, &mut load, Some(&probe))?;
        let meanwhile = meanwhile.ok_or("no probe")?;
        busy.push(meanwhile.p50_us);
        busy99.push(meanwhile.p99_us);
    }
    table.row(&Row {
        figure: "password login",
        measured: format!(
            "{} % of cores / cost of one hash alone; {} % of what {cores} hashing threads reach at once ({logins} logins/s : {at_once} hashes/s; one thread {})",
            logins.over(&alone).times(100.0),
            logins.over(&at_once).times(100.0),
            alone.times(1.0 / cores as f64),
        ),
        budget: "≥ 95 %",
        how: "whole logins by password (router, store, audit; no HTTP), 4 per core at once, against Argon2id alone (19 MiB, 2 passes, memory used again); 5 rounds of 2 s",
    })?;
    table.row(&Row {
        figure: "session checks while logins use all cores",
        measured: format!(
            "p50 {busy} µs, p99 {busy99} µs; without logins p50 {quiet} µs, p99 {quiet99} µs"
        ),
        budget: "stay fast",
        how: "4 connections, one request each every 2 ms, over HTTP as `serve` runs it",
    })?;
    Ok(())
}

/// Argon2id and nothing else.
fn hashes_per_sec(threads: usize) -> Result<f64> {
    let params = Params::new(19 * 1024, 2, 1, Some(32))?;
    let work = || {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let mut memory = vec![Block::new(); params.block_count()];
        let mut hash = || {
            argon2.hash_password_into_with_memory(
                b"password",
                b"some salt",
                &mut [0; 32],
                &mut memory,
            )
        };
        hash()?;
        let (begin, mut count) = (clock(), 0);
        while begin.elapsed() < Duration::from_secs(1) {
            hash()?;
            count += 1;
        }
        Ok::<_, argon2::Error>(f64::from(count) / begin.elapsed().as_secs_f64())
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let rates = all
            .into_iter()
            .map(|one| one.join().map_err(|_| "a thread broke")?.map_err(Into::into));
        rates.sum()
    })
}

/// Logs users in until the probe is done, or for two seconds. Returns logins per second.
fn while_logging_in(
    world: &World,
    load: &mut Load,
    probe: Option<&Job>,
) -> Result<(f64, Option<Done>)> {
    let (count, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let cores = std::thread::available_parallelism()?.get();
    let tasks: Vec<_> = (0..cores * 4)
        .map(|task| {
            let (router, count, stop) =
                (world.router.clone(), Arc::clone(&count), Arc::clone(&stop));
            world.runtime.spawn(async move {
                let mut turn = task as u32;
                while !stop.load(Relaxed) {
                    // Many users at many addresses: attempt limits are not what is measured.
                    let address =
                        IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | (turn & 0x00ff_ffff)));
                    log_in(&router, &format!("user{}", turn % 32), "session", address).await?;
                    count.fetch_add(1, Relaxed);
                    turn = turn.wrapping_add(977);
                }
                Result::Ok(())
            })
        })
        .collect();
    // The first logins fill the queue.
    std::thread::sleep(Duration::from_millis(200));
    let (before, begin) = (count.load(Relaxed), clock());
    let done = match probe {
        Some(probe) => Some(load.run(probe)?),
        None => {
            std::thread::sleep(Duration::from_secs(2));
            None
        }
    };
    let rate = (count.load(Relaxed) - before) as f64 / begin.elapsed().as_secs_f64();
    stop.store(true, Relaxed);
    for task in tasks {
        world.runtime.block_on(task)??;
    }
    Ok((rate, done))
}
