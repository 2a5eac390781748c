//! Confirmed means gone, with real processes and real faults: a server, twenty followers of which some are frozen,
//! killed, cut off or late, and a prober that goes on using what has ended.

use std::{
    path::Path,
    process::Stdio,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::http::Method;
use serde_json::{Value, json};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::Instant,
};

use crate::{
    followers::{Follower, Place, Secret},
    prober::{Book, End, Id, broken},
    process::{DEADLINE, Server, free_port, run},
    store::Folder,
    wire::{Fault, Wire},
};

const PASSWORD: &str = "correct horse battery staple";
const LEASE: &str = "SYMBOLON_REVOCATION__LEASE=1s";
/// Longer than anything is held back, so that late answers are heard.
const PATIENT: &str = "deadline = '30s'";
/// Followers by their place in the list. Those behind a wire are the first.
const BROKEN: usize = 0;
const HUNG: usize = 1;
const HALF_OPEN: usize = 2;
/// It trusts expiry alone, as a client of its own.
const CARELESS: usize = 3;
const FROZEN: usize = 4;
const KILLED: usize = 5;
/// Where the machine is busy, a restart takes longer than a lease and proves nothing: so there are some.
const RESTARTS: usize = 3;

/// Both halves of one login.
struct Login {
    sid: String,
    access: String,
    refresh: String,
    token: Id,
    cookie: Id,
}

impl Login {
    fn bearer(&self) -> String {
        format!("Bearer {}", self.access)
    }
}

fn both(logins: &[&Login]) -> Vec<Id> {
    logins.iter().flat_map(|login| [login.token, login.cookie]).collect()
}

/// The server, its followers, and everything that was seen.
struct Scene {
    server: Server,
    place: Place,
    gate: Secret,
    wires: Vec<Wire>,
    followers: Vec<Follower>,
    book: Arc<Book>,
    probers: Vec<JoinHandle<()>>,
    ends: Vec<End>,
    // The last to be dropped.
    folder: Folder,
}

async fn start(folder: &Path, port: u16) -> Server {
    Server::start_by(&["env", LEASE], folder, port, Stdio::inherit()).await
}

fn client(folder: &Path, id: &'static str, issuer: &str) -> Secret {
    let add = ["client", "add", id, "--kind", "resource", "--audience", issuer];
    let added = run(folder, &add, "");
    let secret = added["client_secret"].as_str().unwrap().to_owned();
    let file = folder.join(format!("{id}.secret"));
    std::fs::write(&file, &secret).unwrap();
    Secret { client: id, secret, file }
}

impl Scene {
    async fn new() -> Self {
        let (folder, port) = (Folder::new(), free_port());
        let server = start(&folder.0, port).await;
        for user in ["one", "others", "all"] {
            run(&folder.0, &["user", "add", user], PASSWORD);
        }
        let place = Place { folder: folder.0.clone(), issuer: format!("http://localhost:{port}") };
        let app = ["client", "add", "app", "--kind", "public", "--first-party", "--audience"];
        run(&folder.0, &[&app[..], &[&place.issuer]].concat(), "");
        let gate = client(&folder.0, "gate", &place.issuer);
        let careless = client(&folder.0, "careless", &place.issuer);
        let mut wires = Vec::new();
        for _ in [BROKEN, HUNG, HALF_OPEN, CARELESS] {
            wires.push(Wire::to(port).await);
        }
        let process =
            |of, name: &str, port, more: &str| Follower::process(&place, of, name, port, more);
        let refuses = format!("{PATIENT}\nwithout_lease = 'refuse'");
        let trusts = format!("{PATIENT}\ndial = 'until-expiry'");
        let mut followers = vec![
            process(&gate, "broken", wires[BROKEN].port, PATIENT),
            process(&gate, "hung", wires[HUNG].port, &refuses),
            process(&gate, "half-open", wires[HALF_OPEN].port, PATIENT),
            process(&careless, "careless", wires[CARELESS].port, &trusts),
            process(&gate, "frozen", port, ""),
            process(&gate, "killed", port, ""),
            process(&gate, "strict", port, "dial = 'strict'"),
        ];
        for n in followers.len()..16 {
            followers.push(process(&gate, &format!("process-{n}"), port, ""));
        }
        for n in followers.len()..20 {
            followers.push(Follower::here(&place, &gate, &format!("here-{n}"), port));
        }
        for follower in &followers {
            follower.ready().await;
        }
        let book = Arc::new(Book::default());
        let probers = followers.iter().map(|follower| book.keep_probing(follower)).collect();
        let ends = Vec::new();
        Self { server, place, gate, wires, followers, book, probers, ends, folder }
    }

    /// Logs in, and makes the other half as well.
    async fn log_in(&self, user: &str, client: Option<&str>) -> Login {
        let mut body = json!({ "username": user, "password": PASSWORD, "deliver": "token" });
        if let Some(client) = client {
            body["client_id"] = json!(client);
        }
        let http = &self.server.http;
        let login = http.post("/api/v1/login", &[], &body).await.unwrap();
        assert_eq!(login.status, 200, "{login:?}");
        let text = |name: &str| login.json[name].as_str().unwrap().to_owned();
        let (sid, access, refresh) = (text("sid"), text("access_token"), text("refresh_token"));
        let bearer = format!("Bearer {access}");
        let headers = [("authorization", bearer.as_str()), ("origin", &self.place.issuer)];
        let body = json!({ "to": "session" });
        let handed = http.post("/api/v1/handover", &headers, &body).await.unwrap();
        assert_eq!(handed.status, 200, "{handed:?}");
        let cookie = handed.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap();
        let cookie = self.book.enter("cookie", cookie.to_owned());
        let token = self.book.enter("authorization", bearer.clone());
        Login { sid, access, refresh, token, cookie }
    }

    /// Waits until each follower accepts each of these: so it knows them, and is connected.
    async fn accepted_everywhere(&self, credentials: &[Id]) {
        for follower in &self.followers {
            for credential in credentials {
                let accepted = async {
                    while !self.book.probe(*credential, &follower.name, &follower.door).await {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                };
                let within = tokio::time::timeout(DEADLINE, accepted).await;
                within.unwrap_or_else(|_| panic!("{} refuses {credential}", follower.name));
            }
        }
    }

    /// Notes that an end is confirmed, and asks every follower at once about what has ended. Whoever is frozen or cut
    /// off answers later.
    fn ended(&mut self, credentials: Vec<Id>, answer: &Value) -> JoinSet<bool> {
        let confirmed_at = Instant::now();
        assert_eq!(answer["confirmed"], true, "{answer}");
        let except: Vec<String> = serde_json::from_value(answer["except"].clone()).unwrap();
        let probes = self.book.probe_all(&credentials, self.followers.iter());
        self.ends.push(End { credentials, confirmed_at, except });
        probes
    }

    async fn end_by_api(&self, method: Method, path: &str, by: &Login) -> Value {
        let (path, bearer) = (format!("{path}confirm=25s"), by.bearer());
        let headers = [("authorization", bearer.as_str())];
        let answer = self.server.http.send(method, &path, &headers, None).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json
    }

    /// By the command line, which waits in a process of its own.
    async fn command(&self, arguments: &[&str]) -> Value {
        let folder = self.folder.0.clone();
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let running = tokio::task::spawn_blocking(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            run(&folder, &arguments, "")
        });
        running.await.unwrap()
    }

    async fn end_by_command(&self, arguments: &[&str]) -> Value {
        self.command(&[arguments, &["--confirm=25s"]].concat()).await
    }

    /// Waits for the answers of probes, and checks everything that was seen so far.
    async fn check(&self, phase: &str, probes: JoinSet<bool>) {
        let answered = tokio::time::timeout(DEADLINE, probes.join_all()).await;
        answered.unwrap_or_else(|_| panic!("{phase}: probes without an answer"));
        let accepted = self.book.accepted();
        let broken = broken(&self.ends, &accepted);
        let lines: Vec<_> = broken.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "{phase}: {lines:#?}, after {:?}", self.ends);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_accepted_after_a_confirmation() {
    let mut scene = Scene::new().await;
    let stays = scene.log_in("one", None).await;
    connected(&mut scene).await;
    frozen(&mut scene).await;
    killed(&mut scene).await;
    let unheard = cut_off(&mut scene).await;
    late(&mut scene).await;
    for _ in 0..RESTARTS {
        restarted(&mut scene, &stays).await;
    }
    the_checker_sees_who_trusts_expiry(&mut scene, unheard).await;
    // Not because everything is refused: what has not ended counts everywhere.
    scene.accepted_everywhere(&both(&[&stays])).await;
    key_withdrawn(&mut scene, &stays).await;
    for prober in &scene.probers {
        prober.abort();
    }
    assert_eq!(scene.ends.len(), 9 + 2 * RESTARTS);
    let asked = scene.book.asked.load(Ordering::Relaxed);
    assert!(asked > scene.book.accepted().len(), "something was refused, too");
}

/// Everybody hears of it.
async fn connected(scene: &mut Scene) {
    let (one, two) = (scene.log_in("one", None).await, scene.log_in("one", None).await);
    scene.accepted_everywhere(&both(&[&one, &two])).await;
    let path = format!("/api/v1/sessions/{}?", two.sid);
    let answer = scene.end_by_api(Method::DELETE, &path, &one).await;
    let probes = scene.ended(both(&[&two]), &answer);
    scene.check("one session", probes).await;
    let answer = scene.end_by_api(Method::POST, "/api/v1/logout?", &one).await;
    let probes = scene.ended(both(&[&one]), &answer);
    scene.check("a logout", probes).await;
}

/// A process is stopped until its lease is over, and is asked before it wakes. Then there is an answer for it: of the
/// first end, with a lease that is over, too. The second it does not know.
async fn frozen(scene: &mut Scene) {
    let (first, second) = (scene.log_in("one", None).await, scene.log_in("one", None).await);
    scene.accepted_everywhere(&both(&[&first, &second])).await;
    scene.followers[FROZEN].freeze().await;
    let answer = scene.end_by_command(&["session", "end", &first.sid]).await;
    let mut probes = scene.ended(both(&[&first]), &answer);
    let answer = scene.end_by_command(&["session", "end", &second.sid]).await;
    let more = scene.ended(both(&[&second]), &answer);
    probes.spawn(async { more.join_all().await.contains(&true) });
    scene.followers[FROZEN].wake();
    scene.check("frozen", probes).await;
}

/// A process is gone, with everything that it knew; another comes.
async fn killed(scene: &mut Scene) {
    let (keeps, gone) = (scene.log_in("others", None).await, scene.log_in("others", None).await);
    scene.accepted_everywhere(&both(&[&keeps, &gone])).await;
    scene.followers[KILLED].kill();
    let answer = scene.end_by_api(Method::DELETE, "/api/v1/sessions?keep=current&", &keeps).await;
    let probes = scene.ended(both(&[&gone]), &answer);
    let (place, gate, port) = (&scene.place, &scene.gate, scene.server.port);
    let another = Follower::process(place, gate, "another", port, "without_lease = 'refuse'");
    scene.check("killed", probes).await;
    scene.probers.push(scene.book.keep_probing(&another));
    scene.followers[KILLED] = another;
    scene.followers[KILLED].ready().await;
    scene.accepted_everywhere(&both(&[&keeps])).await;
    let probes = scene.book.probe_all(&both(&[&gone]), scene.followers.iter());
    scene.check("killed and replaced", probes).await;
}

/// Three are cut off, each in another way. The one that hears no answers has asked about a credential before it ended,
/// and hears afterwards that it counts, and of the first end, and nothing of the second. From now on the careless one hears nothing, either. Returns a token that it
/// does not know to have ended.
async fn cut_off(scene: &mut Scene) -> Id {
    let (known, unknown) = (scene.log_in("all", None).await, scene.log_in("all", None).await);
    let second = scene.log_in("one", None).await;
    scene.accepted_everywhere(&both(&[&known, &second])).await;
    scene.wires[BROKEN].set(Fault::Cut);
    scene.wires[HUNG].set(Fault::Lost);
    scene.wires[CARELESS].set(Fault::Cut);
    scene.wires[HALF_OPEN].set(Fault::AnswersHeld);
    let half_open = &scene.followers[HALF_OPEN];
    let early = scene.book.probe_all(&[unknown.cookie], [half_open].into_iter());
    scene.wires[HALF_OPEN].holds(2).await;
    let answer = scene.end_by_command(&["session", "end-all", "--user", "all"]).await;
    let mut probes = scene.ended(both(&[&known, &unknown]), &answer);
    let answer = scene.end_by_command(&["session", "end", &second.sid]).await;
    let more = scene.ended(both(&[&second]), &answer);
    probes.spawn(async { more.join_all().await.contains(&true) });
    for cut in [BROKEN, HUNG, HALF_OPEN] {
        scene.wires[cut].set(Fault::None);
    }
    early.join_all().await;
    scene.check("cut off", probes).await;
    let again = scene.book.probe_all(&both(&[&known, &unknown, &second]), scene.followers.iter());
    scene.check("connected again", again).await;
    known.token
}

/// Answers come so late that there is little left of each lease.
async fn late(scene: &mut Scene) {
    for wire in [BROKEN, HUNG, HALF_OPEN] {
        scene.wires[wire].set(Fault::AnswersLate(Duration::from_millis(400)));
    }
    let gone = scene.log_in("one", Some("app")).await;
    let probes = scene.book.probe_all(&both(&[&gone]), scene.followers.iter());
    probes.join_all().await;
    let answer = scene.end_by_command(&["client", "remove", "app"]).await;
    let probes = scene.ended(both(&[&gone]), &answer);
    scene.check("late", probes).await;
    for wire in [BROKEN, HUNG, HALF_OPEN] {
        scene.wires[wire].set(Fault::None);
    }
}

/// The server is killed and forgets who holds a lease. One follower holds one and hears nothing of the new server.
async fn restarted(scene: &mut Scene, stays: &Login) {
    let gone = scene.log_in("one", None).await;
    scene.followers[HUNG].ready().await;
    let known = scene.followers.iter().filter(|follower| follower.name != "careless");
    scene.book.probe_all(&both(&[&gone]), known).join_all().await;
    scene.wires[HUNG].set(Fault::Lost);
    scene.server.kill();
    scene.server = start(&scene.folder.0, scene.server.port).await;
    let path = format!("/api/v1/sessions/{}?", gone.sid);
    let answer = scene.end_by_api(Method::DELETE, &path, stays).await;
    let probes = scene.ended(both(&[&gone]), &answer);
    let again = scene.end_by_command(&["session", "end", &gone.sid]).await;
    scene.ended(both(&[&gone]), &again).detach_all();
    scene.wires[HUNG].set(Fault::None);
    scene.check("restarted", probes).await;
}

/// The careless one goes on accepting what it knew: it is named as an exception, and whoever overlooked that would be
/// caught by the checker.
async fn the_checker_sees_who_trusts_expiry(scene: &mut Scene, unheard: Id) {
    let careless = &scene.followers[CARELESS];
    let accepts = scene.book.probe(unheard, &careless.name, &careless.door).await;
    let overlooked: Vec<_> = scene.ends.iter().map(End::without_exceptions).collect();
    let accepted = scene.book.accepted();
    let caught = broken(&overlooked, &accepted);
    assert!(accepts && !caught.is_empty() && caught.iter().all(|one| one.client == "careless"));
    scene.wires[CARELESS].set(Fault::None);
    scene.followers[CARELESS].ready().await;
}

/// All tokens end; cookies go on, and so do tokens of the next key.
async fn key_withdrawn(scene: &mut Scene, stays: &Login) {
    let keys = scene.command(&["key", "list"]).await;
    let is_ours = |key: &&Value| key["usage"] == "ES256" && key["state"] == "active";
    let kid = keys.as_array().unwrap().iter().find(is_ours).unwrap()["kid"].as_str().unwrap();
    let answer = scene.end_by_command(&["key", "withdraw", kid]).await;
    let probes = scene.ended(vec![stays.token], &answer);
    scene.check("a key", probes).await;
    let body = json!({ "refresh_token": stays.refresh });
    let fresh = scene.server.http.post("/api/v1/refresh", &[], &body).await.unwrap();
    let bearer = format!("Bearer {}", fresh.json["access_token"].as_str().unwrap());
    let fresh = scene.book.enter("authorization", bearer);
    scene.accepted_everywhere(&[stays.cookie, fresh]).await;
    let probes = scene.book.probe_all(&[stays.token], scene.followers.iter());
    scene.check("a key, once more", probes).await;
}
