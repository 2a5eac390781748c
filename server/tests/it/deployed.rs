//! Three nodes behind the proxies of `deploy/`, as their files stand there, but for addresses and certificates.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use axum::http::Method;
use serde_json::json;

use crate::{
    postgres,
    process::{DEADLINE, Http, Server, free_port, run},
    store::Folder,
    world::PASSWORD,
};

/// Ends with the test.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|program| program.is_file());
    if found.is_none() {
        println!("skipped, because {name} is not installed");
    }
    found
}

/// A file of `deploy/` with addresses that are here, and without TLS.
fn adapted(file: &str, folder: &Path, port: u16, nodes: &[u16]) -> PathBuf {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let mut text = fs::read_to_string(deploy.join(file)).unwrap();
    for (at, node) in nodes.iter().enumerate() {
        text = text.replace(&format!("10.0.0.1{}:8080", at + 1), &format!("127.0.0.1:{node}"));
    }
    let at = folder.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {at}/{kind};"))
        .join(" ");
    for (there, here) in [
        ("listen 443 ssl;", format!("listen 127.0.0.1:{port};")),
        ("/run/nginx.pid", format!("{at}/nginx.pid")),
        ("http {", format!("http {{ access_log off; {temporary}")),
        ("bind :443 ssl crt", format!("bind 127.0.0.1:{port} #")),
    ] {
        text = text.replace(there, &here);
    }
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("ssl_certificate"));
    let path = folder.join(file);
    fs::write(&path, lines.collect::<Vec<_>>().join("\n") + "\n").unwrap();
    path
}

fn start(proxy: &str, folder: &Path, port: u16, nodes: &[u16]) -> Option<Proxy> {
    let mut command = Command::new(program(proxy)?);
    match proxy {
        "nginx" => {
            let file = adapted("nginx.conf", folder, port, nodes);
            command
                .arg("-p")
                .arg(folder)
                .args(["-e", "stderr", "-g", "daemon off; master_process off;", "-c"])
                .arg(file)
        }
        _ => command.args(["-db", "-f"]).arg(adapted("haproxy.cfg", folder, port, nodes)),
    };
    Some(Proxy(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()))
}

/// Logs in at one node, is known at all, and after a confirmed end at none, whichever is gone meanwhile.
async fn check(proxy: &str) {
    if postgres::shared().is_none() {
        return;
    }
    let folders = [Folder::new(), Folder::new(), Folder::new()];
    let url = postgres::database_of(&folders[0].0).expose().to_owned();
    let port = free_port();
    let ports = [free_port(), free_port(), free_port()];
    let Some(_proxy) = start(proxy, &folders[0].0, port, &ports) else { return };
    let by = [
        "env".to_owned(),
        format!("SYMBOLON_STORE__URL={url}"),
        format!("SYMBOLON_PUBLIC_URL=http://localhost:{port}"),
    ];
    let by: Vec<_> = by.iter().map(String::as_str).collect();
    let mut nodes = Vec::new();
    for (folder, port) in folders.iter().zip(ports) {
        if !nodes.is_empty() {
            fs::copy(folders[0].0.join("master.key"), folder.0.join("master.key")).unwrap();
        }
        nodes.push(Server::start_by(&by, &folder.0, port, Stdio::inherit()).await);
    }
    run(&folders[0].0, &["user", "add", "load"], PASSWORD);
    let http = Http::new(&format!("http://localhost:{port}"));
    let all_answer = async {
        // The proxy has seen all three.
        let mut in_turn = 0;
        while in_turn < 9 {
            let answer = http.get("/readyz").await;
            in_turn = if answer.is_some_and(|it| it.status == 200) { in_turn + 1 } else { 0 };
        }
    };
    tokio::time::timeout(DEADLINE, all_answer).await.unwrap();
    let log_in = json!({ "username": "load", "password": PASSWORD, "deliver": "token" });
    let uses = async |token: &str| {
        let header = ("authorization", token);
        let mut statuses = Vec::new();
        for _ in 0..6 {
            let got = http.send(Method::GET, "/api/v1/session", &[header], None).await;
            statuses.push(got.unwrap().status.as_u16());
        }
        statuses
    };
    for round in 0..3 {
        let login = http.post("/api/v1/login", &[], &log_in).await.unwrap();
        assert_eq!(login.status, 200, "{login:?}");
        let token = format!("Bearer {}", login.json["access_token"].as_str().unwrap());
        assert_eq!(uses(&token).await, [200; 6], "round {round}");
        if round == 1 {
            nodes[2].kill();
        }
        let path = "/api/v1/logout?confirm=10s";
        let ended = http.post(path, &[("authorization", &token)], &json!({})).await.unwrap();
        assert!([200, 204].contains(&ended.status.as_u16()), "{ended:?}");
        assert_eq!(uses(&token).await, [401; 6], "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_behind_nginx_without_stickiness() {
    check("nginx").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_behind_haproxy_without_stickiness() {
    check("haproxy").await;
}
