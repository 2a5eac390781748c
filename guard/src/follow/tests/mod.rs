//! A follower against a server in this process: its log and leases are those of the core, its faults are told.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Form, State as Held},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use rand_core::Rng;
use serde_json::{Value, json};
use symbolon_core::{
    follower::{Answer, Question},
    id::{EntryId, KeyId, LogId, NodeId, SessionId, TokenId, UserId},
    keys::{Algorithm, SigningKey},
    lease::{Asking as AskingLease, Leases},
    log::{After, Cursor, Entry, Tail},
    session::Assurance,
    time::{Tick, Time},
    token,
};
use tokio::sync::{Semaphore, watch};

use super::{clock::Reading, *};
use crate::os::Os;
use crate::{Half, Refusal, remote::UNAVAILABLE};

mod decide;
mod keys;
mod log;
#[cfg(feature = "axum")]
mod streams;

const LEASE: Duration = Duration::from_secs(1);
/// The entry life of tokens that live five minutes.
const ENTRY_LIFE: Duration = Duration::from_secs(361);
const NOW: Time = Time::from_secs(1_800_000_000);
const AUDIENCE: &str = "https://api.example";
const ISSUER: &str = "https://auth.example";
const SID: SessionId = SessionId::from_bytes([2; 16]);
const PARENT: SessionId = SessionId::from_bytes([3; 16]);
const JTI: TokenId = TokenId::from_bytes([4; 16]);
const HALF: EntryId = EntryId::from_bytes([5; 16]);
const NODE: NodeId = NodeId::from_bytes([7; 16]);
const KID: KeyId = KeyId::from_bytes([6; 16]);
const COOKIE: &str = "syms_cookie";
const OPAQUE: &str = "opaque";

/// A clock that passes when it is told to, and a process that forks when it is told to.
#[derive(Clone, Default)]
struct Wound(Arc<AtomicU64>, Arc<AtomicU32>);

impl Wound {
    fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_nanos()).unwrap(), SeqCst);
    }

    fn passed(&self) -> Duration {
        Duration::from_nanos(self.0.load(SeqCst))
    }
}

impl Source for Wound {
    fn read(&self) -> Reading {
        Reading { boot: self.passed(), raw: self.passed() }
    }

    fn process(&self) -> u32 {
        1 + self.1.load(SeqCst)
    }
}

/// How `/follow` answers.
#[derive(Clone, Copy)]
enum Manner {
    Honest,
    Silent,
    Refusing(u16),
    /// It hears the question, and its answer is lost.
    Losing,
    /// What it answers is changed.
    Forging(fn(&mut Answer)),
}

struct Log {
    leases: Leases,
    tail: Tail,
    questions: Vec<Question>,
}

struct Fake {
    clock: Wound,
    /// By how much the server's wall clock jumped, in milliseconds.
    jumped: AtomicI64,
    log: Mutex<Log>,
    grown: watch::Sender<u64>,
    manner: Mutex<Manner>,
    page: AtomicUsize,
    /// What is said of a credential.
    known: Mutex<HashMap<String, Value>>,
    introspections: AtomicUsize,
    jwks: Mutex<(StatusCode, String)>,
    fetches: AtomicUsize,
    /// A place for each answer that may leave.
    gate: Semaphore,
}

impl Fake {
    fn now(&self) -> Time {
        Time::from_millis(NOW.millis() + self.jumped.load(SeqCst)) + self.clock.passed()
    }

    fn tick(&self) -> Tick {
        Tick::default() + self.clock.passed()
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }

    fn end(&self, id: EntryId) {
        let mut log = self.log();
        let sequence = log.tail.head().sequence + 1;
        let mut tag = [0; 8];
        Os.fill_bytes(&mut tag);
        log.tail.push(Entry { sequence, tag, id });
        drop(log);
        self.grown.send_replace(sequence);
    }

    fn behaves(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    fn says(&self, credential: &str, what: Value) {
        self.known.lock().unwrap().insert(credential.to_owned(), what);
    }

    fn publishes(&self, keys: &[&SigningKey]) {
        let keys: Vec<_> = keys.iter().map(|key| key.verifying_key().jwk()).collect();
        *self.jwks.lock().unwrap() = (StatusCode::OK, json!({ "keys": keys }).to_string());
    }

    fn hear(&self, question: &Question, tick: Tick) -> Result<(), StatusCode> {
        let mut log = self.log();
        log.questions.push(question.clone());
        let cursor = question.cursor.filter(|cursor| cursor.log == log.tail.head().log);
        let asking = AskingLease {
            follower: question.follower,
            name: "api",
            last: question.last_answer,
            acknowledges: cursor.map(|cursor| cursor.sequence),
            trusts_expiry: question.trusts_expiry,
        };
        let heard = log.leases.hear(&asking, tick);
        heard.map(drop).map_err(|_| StatusCode::CONFLICT)
    }

    fn tell(&self, question: &Question, tick: Tick) -> Answer {
        let mut log = self.log();
        let start = Cursor::start(log.tail.head().log);
        let (from, after) = match question.cursor.map(|cursor| (cursor, log.tail.after(&cursor))) {
            Some((cursor, After::Entries(entries))) => (cursor, entries),
            _ => match log.tail.after(&start) {
                After::Entries(entries) => (start, entries),
                other => panic!("{other:?}"),
            },
        };
        let page = self.page.load(SeqCst).min(after.len());
        let more = page < after.len();
        let grant = match more {
            true => log.leases.answer(question.follower, &mut Os),
            false => log.leases.grant(question.follower, tick, None, &mut Os),
        };
        let cursor = after[..page].last().map_or(from, |last| Cursor::at(from.log, last));
        Answer {
            question: question.question,
            answer: grant.answer,
            node: None,
            cursor,
            ended: after[..page].iter().map(|entry| entry.id).collect(),
            more,
            lease_ms: u64::try_from(grant.lease.as_millis()).unwrap(),
            now_ms: self.now(),
            entry_life_ms: u64::try_from(ENTRY_LIFE.as_millis()).unwrap(),
        }
    }
}

async fn answer_follow(Held(fake): Held<Arc<Fake>>, Json(question): Json<Question>) -> Response {
    let (tick, manner) = (fake.tick(), *fake.manner.lock().unwrap());
    if let Manner::Refusing(status) = manner {
        fake.log().questions.push(question);
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    if let Err(refused) = fake.hear(&question, tick) {
        return refused.into_response();
    }
    let head = fake.log().tail.head();
    if question.cursor == Some(head) {
        let mut grown = fake.grown.subscribe();
        grown.mark_unchanged();
        if fake.log().tail.head() == head {
            let _ = tokio::time::timeout(Duration::from_millis(20), grown.changed()).await;
        }
    }
    let mut answer = fake.tell(&question, tick);
    match manner {
        Manner::Silent => std::future::pending().await,
        Manner::Losing => StatusCode::BAD_GATEWAY.into_response(),
        Manner::Forging(forge) => {
            forge(&mut answer);
            Json(answer).into_response()
        }
        _ => Json(answer).into_response(),
    }
}

async fn answer_introspection(
    Held(fake): Held<Arc<Fake>>,
    Form(asked): Form<HashMap<String, String>>,
) -> Json<Value> {
    // What it says is true when it is asked; the answer may take its time.
    let answer = fake.known.lock().unwrap().get(&asked["token"]).cloned();
    fake.introspections.fetch_add(1, SeqCst);
    fake.gate.acquire().await.unwrap().forget();
    fake.gate.add_permits(1);
    Json(answer.unwrap_or_else(|| json!({ "active": false })))
}

async fn answer_jwks(Held(fake): Held<Arc<Fake>>) -> (StatusCode, String) {
    let answer = fake.jwks.lock().unwrap().clone();
    fake.fetches.fetch_add(1, SeqCst);
    fake.gate.acquire().await.unwrap().forget();
    fake.gate.add_permits(1);
    answer
}

/// A server, a follower, and a clock for both.
struct World {
    fake: Arc<Fake>,
    following: Following,
    task: Option<Task>,
    clock: Wound,
    key: SigningKey,
}

impl World {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// Nothing is followed yet.
    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let (clock, key) = (Wound::default(), key(KID, Algorithm::Ed25519));
        // The process before this one granted none.
        let leases = Leases::new(LEASE, Tick::default(), 10);
        let tail = Tail::new(Cursor::start(LogId::from_bytes([1; 16])), 10_000);
        let fake = Arc::new(Fake {
            clock: clock.clone(),
            jumped: AtomicI64::new(0),
            log: Mutex::new(Log { leases, tail, questions: Vec::new() }),
            grown: watch::Sender::new(0),
            manner: Mutex::new(Manner::Honest),
            page: AtomicUsize::new(usize::MAX),
            known: Mutex::default(),
            introspections: AtomicUsize::new(0),
            jwks: Mutex::default(),
            fetches: AtomicUsize::new(0),
            gate: Semaphore::new(1),
        });
        fake.publishes(&[&key]);
        fake.says(COOKIE, said("session"));
        fake.says(OPAQUE, said("Bearer"));
        let routes = Router::new()
            .route("/follow", post(answer_follow))
            .route("/oauth2/introspect", post(answer_introspection))
            .route("/.well-known/jwks.json", get(answer_jwks))
            .with_state(fake.clone());
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", socket.local_addr().unwrap());
        tokio::spawn(async { axum::serve(socket, routes).await });

        let secret = SecretText::new("symc_secret".to_owned());
        let mut settings = Settings::new(server, "api".parse().unwrap(), secret).audience(AUDIENCE);
        settings.issuer = Some(ISSUER.to_owned());
        change(&mut settings);
        let connector = link::plain(&settings.remote).unwrap();
        let (following, task) =
            Following::by(settings, connector, Box::new(clock.clone())).unwrap();
        Self { fake, following, task: Some(task), clock, key }
    }

    /// Follows, and decides by itself.
    async fn ready() -> Self {
        let mut world = Self::new().await;
        world.follow().await;
        world
    }

    async fn follow(&mut self) {
        tokio::spawn(self.task.take().unwrap());
        within(self.following.ready()).await;
    }

    async fn sees(&self, credential: &str) -> Result<SessionId, Refusal> {
        see(&self.following, credential).await
    }

    /// Ends an id, and waits until that was acknowledged.
    async fn end(&self, id: EntryId) {
        self.fake.end(id);
        let head = self.fake.log().tail.head();
        until(|| self.fake.log().questions.last().is_some_and(|last| last.cursor == Some(head)))
            .await;
    }

    /// From now on the server is not heard any more, and the lease runs out.
    fn cut_off(&self) {
        self.fake.behaves(Manner::Refusing(503));
        self.clock.advance(LEASE * 2);
    }

    fn introspections(&self) -> usize {
        self.fake.introspections.load(SeqCst)
    }

    fn fetches(&self) -> usize {
        self.fake.fetches.load(SeqCst)
    }

    fn token(&self) -> String {
        token(&self.key, &claims())
    }
}

async fn see(following: &Following, credential: &str) -> Result<SessionId, Refusal> {
    let half = match credential.starts_with("syms_") {
        true => Half::SessionCookie,
        false => Half::Bearer,
    };
    let credential = SecretText::new(credential.to_owned());
    let seen = within(following.recognise(half, &credential, Use::Request)).await;
    seen.map(|claims| claims.session)
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("it takes too long")
}

async fn until(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

fn key(id: KeyId, algorithm: Algorithm) -> SigningKey {
    SigningKey::generate(id, algorithm).unwrap()
}

fn claims() -> token::Claims {
    token::Claims {
        iss: ISSUER.into(),
        user: Some(UserId::from_bytes([1; 16])),
        aud: AUDIENCE.into(),
        client_id: "shop".parse().unwrap(),
        iat: NOW,
        exp: NOW + Duration::from_secs(300),
        nbf: None,
        jti: JTI,
        sid: SID,
        scope: Some("cart".into()),
        roles: vec!["editor".into()],
        auth_time: Some(NOW),
        acr: Some("aal2".into()),
        amr: Vec::new(),
        act: None,
        key: None,
        more: Default::default(),
    }
}

fn token(key: &SigningKey, claims: &token::Claims) -> String {
    claims.issue(TokenType::AtJwt, key).unwrap().expose().to_owned()
}

/// What the server says of a credential of this type.
fn said(token_type: &str) -> Value {
    json!({
        "active": true, "token_type": token_type, "client_id": "shop", "sid": SID, "parent": PARENT,
        "aud": AUDIENCE, "exp": (NOW + Duration::from_secs(300)).secs(), "revoked_by": [SID, PARENT, HALF],
    })
}
