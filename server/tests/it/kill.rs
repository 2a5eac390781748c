//! The real process, killed under load: what clients were told is there afterwards.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use axum::http::Method;
use serde_json::json;

use crate::{
    process::{Http, Server, free_port, run},
    store::Folder,
};

const PASSWORD: &str = "correct horse battery staple";

/// What a client was told about one session. What was asked and not answered may be either way.
#[derive(Debug, Clone, Default)]
struct Told {
    refresh: String,
    access: String,
    /// The last counter whose write was acknowledged.
    written: u64,
    end_asked: bool,
    ended: bool,
}

/// Everything that clients were told.
#[derive(Debug, Default)]
struct Ledger {
    sessions: Mutex<HashMap<String, Told>>,
    acknowledged: AtomicUsize,
    stop: AtomicBool,
}

impl Ledger {
    fn note(&self, sid: &str, edit: impl FnOnce(&mut Told)) {
        edit(self.sessions.lock().unwrap().entry(sid.to_owned()).or_default());
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    fn told(&self) -> Vec<(String, Told)> {
        self.sessions.lock().unwrap().clone().into_iter().collect()
    }
}

/// One client: logs in, refreshes, writes data, ends every third session; until it is told to stop or nobody answers.
async fn client(http: Http, basic: String, ledger: Arc<Ledger>) -> Option<()> {
    let mut round = 0_u64;
    while !ledger.stop.load(Ordering::Relaxed) {
        round += 1;
        let body = json!({ "username": "load", "password": PASSWORD, "deliver": "token" });
        let login = http.post("/api/v1/login", &[], &body).await?;
        assert_eq!(login.status, 200, "{login:?}");
        let text = |json: &serde_json::Value, name: &str| json[name].as_str().unwrap().to_owned();
        let sid = text(&login.json, "sid");
        let mut refresh = text(&login.json, "refresh_token");
        ledger.note(&sid, |told| {
            told.refresh.clone_from(&refresh);
            told.access = text(&login.json, "access_token");
        });
        for counter in 1..=3_u64 {
            let data = format!("/api/v1/sessions/{sid}/data");
            let patch = json!({ "counter": counter });
            let written =
                http.send(Method::PATCH, &data, &[("authorization", &basic)], Some(&patch)).await?;
            assert_eq!(written.status, 200, "{written:?}");
            ledger.note(&sid, |told| told.written = counter);
            let body = json!({ "refresh_token": refresh });
            let rotated = http.post("/api/v1/refresh", &[], &body).await?;
            assert_eq!(rotated.status, 200, "{rotated:?}");
            refresh = text(&rotated.json, "refresh_token");
            ledger.note(&sid, |told| {
                told.refresh.clone_from(&refresh);
                told.access = text(&rotated.json, "access_token");
            });
        }
        if round.is_multiple_of(3) {
            ledger.note(&sid, |told| told.end_asked = true);
            let ended =
                http.post("/api/v1/logout", &[], &json!({ "refresh_token": refresh })).await?;
            assert_eq!(ended.status, 204, "{ended:?}");
            ledger.note(&sid, |told| told.ended = true);
        }
    }
    Some(())
}

async fn check(http: &Http, basic: &str, sid: &str, told: &Told) {
    let bearer = format!("Bearer {}", told.access);
    let refresh = json!({ "refresh_token": told.refresh });
    let access = http
        .send(Method::GET, "/api/v1/session", &[("authorization", &bearer)], None)
        .await
        .unwrap();
    let data = format!("/api/v1/sessions/{sid}/data");
    let data = http.send(Method::GET, &data, &[("authorization", basic)], None).await.unwrap();
    let refreshed = http.post("/api/v1/refresh", &[], &refresh).await.unwrap();
    let statuses = [access.status.as_u16(), data.status.as_u16(), refreshed.status.as_u16()];
    if told.ended {
        assert_eq!(statuses, [401, 404, 400], "an ended session came back: {sid} {told:?}");
    } else if !told.end_asked {
        assert_eq!(statuses, [200, 200, 200], "an acknowledged session was lost: {sid} {told:?}");
        let counter = data.json["counter"].as_u64().unwrap_or(0);
        assert!(
            counter >= told.written,
            "an acknowledged write was lost: {sid} {told:?} has {counter}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_keeps_what_it_acknowledged() {
    let folder = Folder::new();
    let port = free_port();
    let mut server = Server::start(&folder.0, port).await;
    run(&folder.0, &["user", "add", "load"], PASSWORD);
    let client_added = run(
        &folder.0,
        &[
            "client",
            "add",
            "load-shop",
            "--kind",
            "confidential",
            "--audience",
            "https://a.example",
        ],
        "",
    );
    let basic = {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let secret = client_added["client_secret"].as_str().unwrap();
        format!("Basic {}", STANDARD.encode(format!("load-shop:{secret}")))
    };
    let ledger = Arc::new(Ledger::default());
    for round in 1..=(crate::races() / 100).clamp(3, 20) {
        ledger.stop.store(false, Ordering::Relaxed);
        let before = ledger.acknowledged.load(Ordering::Relaxed);
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..16 {
            clients.spawn(client(server.http.clone(), basic.clone(), Arc::clone(&ledger)));
        }
        // In the middle of the load, wherever that is each time.
        while ledger.acknowledged.load(Ordering::Relaxed) < before + 100 + round * 37 {
            tokio::task::yield_now().await;
        }
        server.kill();
        ledger.stop.store(true, Ordering::Relaxed);
        while let Some(client) = clients.join_next().await {
            client.unwrap();
        }
        server = Server::start(&folder.0, port).await;
        for (sid, told) in ledger.told() {
            check(&server.http, &basic, &sid, &told).await;
        }
        // What was checked was refreshed, too: only the next round's sessions are compared again.
        ledger.sessions.lock().unwrap().clear();
    }
}
