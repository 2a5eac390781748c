//! Whoever gives up on a server that is stopped, and goes on at another one, finds everything in order when it goes on.

use std::{fs, io::Write, net::TcpStream};

use serde_json::json;

use crate::{
    nodes::{counts, login, processes},
    postgres::Cluster,
    process::{DEADLINE, Http, Server},
    store::Folder,
    world::PASSWORD,
};

/// Waits until each thread of a process is stopped, which it is when it next leaves the processor.
async fn stopped(server: &Server) {
    server.signal("-STOP");
    let is_stopped = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
        let stats = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("stat")));
        stats.flatten().all(|stat| stat.rsplit(')').next().unwrap().starts_with(" T"))
    };
    let waits = async {
        while !is_stopped() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waits).await.unwrap();
}

/// Sends a refresh and goes away without waiting for the answer.
fn gives_up(port: u16, refresh_token: &str) {
    let body = json!({ "refresh_token": refresh_token }).to_string();
    let head = "POST /api/v1/refresh HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
    let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
}

async fn refresh(http: &Http, token: &str) -> String {
    let body = json!({ "refresh_token": token });
    let answer = http.post("/api/v1/refresh", &[], &body).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json["refresh_token"].as_str().unwrap().to_owned()
}

/// What nobody waits for any more lies in front of the stopped server, and would be an old refresh token when it goes on.
#[tokio::test]
async fn who_gives_up_on_a_stopped_server_is_no_thief() {
    let Some(cluster) = Cluster::start(&["fsync=off"]) else { return };
    let folders = [Folder::new(), Folder::new()];
    let servers = processes(&cluster, &folders).await;
    let body = json!({ "username": "load", "password": PASSWORD });
    servers[0].http.post("/api/v1/register", &[], &body).await.unwrap();
    for round in 0..20 {
        let (bearer, first) = login(&servers[0].http).await;
        assert_eq!(counts(&servers[1].http, &bearer).await, 200);
        stopped(&servers[1]).await;
        (0..8).for_each(|_| gives_up(servers[1].port, &first));
        let second = refresh(&servers[0].http, &first).await;
        let third = refresh(&servers[0].http, &second).await;
        servers[1].signal("-CONT");
        // Whatever came before this is over when these are.
        for _ in 0..8 {
            assert_eq!(counts(&servers[1].http, &bearer).await, 200, "round {round}");
        }
        let fourth = refresh(&servers[1].http, &third).await;
        refresh(&servers[0].http, &fourth).await;
    }
}
