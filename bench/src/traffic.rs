//! What requests cost over HTTP on keep-alive connections: the server's worker on one core, the load on the other.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use axum::{Json, Router, middleware, routing};
use serde_json::Value;
use symbolon::http::authority::InProcess;
use symbolon_guard::{Guard, Identity, Rules};

use crate::{
    harness::{Result, Rounds, clock, cpu_of, process_cpu, thread_cpu},
    load::{Done, Job, Load, Step, Walk},
    table::{Row, Table},
    world::{ORIGIN, World, bare, bare_with, basic, login as log_in},
};

pub(crate) const ROUNDS: usize = 11;
pub(crate) const ROUND_MS: u64 = 250;
pub(crate) const CONNECTIONS: usize = 32;
/// A durable rotation at Rauthy takes as long as so many bare axum answers: it made 780 a second on one core of a machine
/// on which such an answer took 7.3 µs.
const RAUTHY_BARE_ANSWERS: f64 = 1e6 / 780.0 / 7.3;
pub(crate) const SESSION: &str = "/api/v1/session";

/// What a job came to, round by round.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) per_sec: Rounds,
    pub(crate) cpu_us: Rounds,
}

impl Measured {
    /// The rate as a share of another's, the rates, and the same of CPU time.
    pub(crate) fn beside(&self, bare: &Self) -> String {
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
pub(crate) fn alternate<const N: usize>(load: &mut Load, jobs: [Job; N]) -> Result<[Measured; N]> {
    in_turn(load, jobs.into())?.try_into().map_err(|_| "as many as there are jobs".into())
}

/// The same of any number of jobs.
pub(crate) fn in_turn(load: &mut Load, mut jobs: Vec<Job>) -> Result<Vec<Measured>> {
    let mut all: Vec<_> = jobs.iter().map(|_| Measured::default()).collect();
    for round in 0..=ROUNDS {
        for (job, measured) in jobs.iter_mut().zip(&mut all) {
            let cpu = || job.process.map_or_else(|| Ok(process_cpu()), cpu_of);
            let before = cpu()?;
            let Done { answers, secs, taken, .. } = load.run(job)?;
            let cpu = cpu()?.saturating_sub(before);
            job.walks.iter_mut().zip(taken).for_each(|(walk, taken)| walk.taken = taken);
            if round > 0 {
                measured.per_sec.push(answers as f64 / secs);
                measured.cpu_us.push(cpu.as_secs_f64() * 1e6 / answers as f64);
            }
        }
    }
    Ok(all)
}

pub(crate) fn job(address: SocketAddr, requests: Vec<String>) -> Job {
    let walks = requests.into_iter().map(|head| Step::get(head).into()).collect();
    Job { address, for_ms: ROUND_MS, once: false, pause_ms: 0, walks, process: None }
}

/// The same request on every connection.
pub(crate) fn repeat(address: SocketAddr, step: Step) -> Job {
    Job {
        address,
        for_ms: ROUND_MS,
        once: false,
        pause_ms: 0,
        walks: vec![step.into(); CONNECTIONS],
        process: None,
    }
}

pub(crate) fn get_session(header: &str) -> String {
    format!("GET {SESSION} HTTP/1.1\r\nhost: localhost:8080\r\nuser-agent: bench\r\n{header}\r\n")
}

/// The requests of some sessions, by cookie.
pub(crate) fn sessions(world: &World, count: usize) -> Result<Vec<String>> {
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
    let asked = crate::world::answer(&world.router, request.body(axum::body::Body::empty())?);
    let (mut headers, answer) = world.runtime.block_on(asked)?;
    // What axum itself says.
    for own in ["content-type", "content-length"] {
        headers.remove(own);
    }

    let leaked: &'static Value = Box::leak(Box::new(answer.clone()));
    let guard = Guard::required(Rules::new(ORIGIN)?, InProcess(Arc::clone(&world.app)));
    let guarded = Router::new()
        .route(SESSION, routing::get(async move |_: Identity| Json(leaked)))
        .layer(guard);
    let any_layer = bare(SESSION, answer.clone())
        .layer(middleware::map_request(async |request: axum::extract::Request| request));
    let mut load = Load::start()?;
    let jobs = [
        job(world.serve_axum(bare(SESSION, answer.clone()))?, requests.clone()),
        job(world.serve_axum(bare_with(SESSION, headers, answer))?, requests.clone()),
        job(world.serve_axum(any_layer)?, requests.clone()),
        job(world.serve_axum(guarded)?, requests.clone()),
        job(world.serve()?, requests),
    ];
    let [bare, same_answer, any_layer, guarded, node] = alternate(&mut load, jobs)?;
    table.row(&Row {
        figure: "for comparison: an axum layer that does nothing",
        measured: any_layer.beside(&bare),
        budget: "",
        how: "`middleware::map_request` with an identity function, against the same route without it",
    })?;
    let node_how = "`GET /api/v1/session` of a server as `serve` runs it, with logs, metrics, bounds and time limits, against a bare axum route that";
    let rows = [
        (
            guarded.beside(&bare),
            "session check at a guard, warm",
            "≥ 85 %",
            "the same axum route with and without the guard in front of it (authority in the same process)".to_owned(),
        ),
        (
            node.beside(&same_answer),
            "session check at a node, warm, against a route that gives the same answer",
            "≥ 85 %",
            format!("{node_how} answers the same JSON with the same headers"),
        ),
        (
            node.beside(&bare),
            "session check at a node, warm, against a route that sends no headers of its own",
            "",
            format!("{node_how} answers the same JSON"),
        ),
    ];
    for (measured, figure, budget, how) in rows {
        let how = &format!(
            "{how}; 32 connections, 32 sessions, all in turn, {ROUNDS} rounds of {ROUND_MS} ms"
        );
        table.row(&Row { figure, measured, budget, how })?;
    }
    Ok(())
}

/// Introspection of an access token and of a session cookie.
pub(crate) fn introspection(table: &mut Table) -> Result<()> {
    const PATH: &str = "/oauth2/introspect";
    let world = World::on_one_core()?;
    let basic = basic(&world.add_resource_server()?);
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
        let step = Step::form(PATH, &format!("authorization: {basic}\r\n"), &form);
        let jobs =
            [repeat(world.serve_axum(bare(PATH, answer))?, step.clone()), repeat(node, step)];
        let [bare, node] = alternate(&mut load, jobs)?;
        table.row(&Row {
            figure,
            measured: node.beside(&bare),
            budget: "≥ 60 %",
            how: "with all that `serve` puts around it, against a bare axum route that reads the body and answers the same JSON",
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
    let body = r#"{"refresh_token":"{}"}"#.to_owned();
    let step = Step { body, ..Step::get(head.to_owned()).taking(r#""refresh_token":""#) };
    let walk = |token: &String| Walk { steps: vec![step.clone()], taken: token.clone() };
    let with = |tokens: &[String]| Job {
        address: node,
        for_ms: 500,
        once: false,
        pause_ms: 0,
        walks: tokens.iter().map(walk).collect(),
        process: None,
    };
    let mut load = Load::start()?;
    let (one, many) = tokens.split_at(1);
    let plain = job(bare, vec![get_session("accept: */*"); CONNECTIONS]);
    let [many, one, plain] = alternate(&mut load, [with(many), with(one), plain])?;
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
            RAUTHY_BARE_ANSWERS / bare_answers.median(),
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
    let [mut alone, mut at_once, mut hash_cpu] = [(); 3].map(|()| Rounds::default());
    let [mut logins, mut login_cpu] = [(); 2].map(|()| Rounds::default());
    let [mut quiet50, mut quiet99, mut busy50, mut busy99] = [(); 4].map(|()| Rounds::default());
    for _ in 0..5 {
        alone.push(hashes(1)?.0 * cores as f64);
        let (rate, cpu) = hashes(cores)?;
        at_once.push(rate);
        hash_cpu.push(cpu * 1e3);
        let (rate, cpu, ()) = while_logging_in(&world, || {
            std::thread::sleep(Duration::from_secs(2));
            Ok(())
        })?;
        logins.push(rate);
        login_cpu.push(cpu * 1e3);
        let quiet = load.run(&probe)?;
        quiet50.push(quiet.p50_us);
        quiet99.push(quiet.p99_us);
        let (_, _, busy) = while_logging_in(&world, || load.run(&probe))?;
        busy50.push(busy.p50_us);
        busy99.push(busy.p99_us);
    }
    table.row(&Row {
        figure: "password login",
        measured: format!(
            "{} % of cores / cost of one hash alone, {} % of {cores} hashes at once ({logins} logins/s : {alone} : {at_once} hashes/s); by CPU {} % ({hash_cpu} ms of hash in {login_cpu} ms of login)",
            logins.over(&alone).times(100.0),
            logins.over(&at_once).times(100.0),
            hash_cpu.over(&login_cpu).times(100.0),
        ),
        budget: "≥ 95 %",
        how: "whole logins by password (router, store, audit; no HTTP), 4 per core at once, against Argon2id alone (19 MiB, 2 passes, memory used again); 5 rounds of 2 s. The hashing threads have low priority: on a busy machine only CPU tells",
    })?;
    table.row(&Row {
        figure: "session checks while logins use all cores",
        measured: format!(
            "p50 {busy50} µs, p99 {busy99} µs; without logins p50 {quiet50} µs, p99 {quiet99} µs"
        ),
        budget: "stay fast",
        how: "4 connections, one request each every 2 ms, over HTTP as `serve` runs it",
    })?;
    Ok(())
}

/// Argon2id and nothing else: hashes per second, and CPU seconds of each.
fn hashes(threads: usize) -> Result<(f64, f64)> {
    let params = Params::new(19 * 1024, 2, 1, Some(32))?;
    let work = || {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let mut memory = vec![Block::new(); params.block_count()];
        let mut hash = || {
            let mut out = [0; 32];
            argon2.hash_password_into_with_memory(b"password", b"some salt", &mut out, &mut memory)
        };
        hash()?;
        let (begin, cpu, mut count) = (clock(), thread_cpu(), 0);
        while begin.elapsed() < Duration::from_secs(1) {
            hash()?;
            count += 1;
        }
        let cpu = thread_cpu().saturating_sub(cpu).as_secs_f64();
        Ok::<_, argon2::Error>((
            f64::from(count) / begin.elapsed().as_secs_f64(),
            cpu / f64::from(count),
        ))
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut sum = (0.0, 0.0);
        for one in all {
            let (rate, cpu) = one.join().map_err(|_| "a thread broke")??;
            sum = (sum.0 + rate, sum.1 + cpu / threads as f64);
        }
        Ok(sum)
    })
}

/// Logs users in on all cores while something else is done. Returns logins per second and CPU seconds of each.
fn while_logging_in<T>(
    world: &World,
    something: impl FnOnce() -> Result<T>,
) -> Result<(f64, f64, T)> {
    let (count, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let cores = std::thread::available_parallelism()?.get();
    let tasks: Vec<_> = (0..4 * u32::try_from(cores)?)
        .map(|first| {
            let (router, count, stop) =
                (world.router.clone(), Arc::clone(&count), Arc::clone(&stop));
            world.runtime.spawn(async move {
                let mut turn = first;
                while !stop.load(Relaxed) {
                    // Many users at many addresses: attempt limits are not what is measured.
                    let address = Ipv4Addr::from_bits(0x0a00_0000 | (turn & 0x00ff_ffff));
                    let user = format!("user{}", turn % 32);
                    log_in(&router, &user, "session", address.into()).await?;
                    count.fetch_add(1, Relaxed);
                    turn = turn.wrapping_add(977);
                }
                Result::Ok(())
            })
        })
        .collect();
    // The first logins fill the queue.
    std::thread::sleep(Duration::from_millis(200));
    let (before, begin, cpu) = (count.load(Relaxed), clock(), process_cpu());
    let done = something()?;
    let logins = (count.load(Relaxed) - before) as f64;
    let (secs, cpu) = (begin.elapsed().as_secs_f64(), process_cpu().saturating_sub(cpu));
    stop.store(true, Relaxed);
    for task in tasks {
        world.runtime.block_on(task)??;
    }
    Ok((logins / secs, cpu.as_secs_f64() / logins, done))
}
