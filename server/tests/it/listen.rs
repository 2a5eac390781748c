//! The server's sockets from outside: what a stop does to connections, and what the log says of requests.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use symbolon::{
    config::{Forwarded, LogFormat},
    listen::{Bounds, Certificates, Front, Listener, Proxies, Stop, Stopper},
    telemetry::{Observe, OfRequest, RequestId},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::Level;
use tracing_subscriber::util::SubscriberInitExt;

use crate::{secrets::Lines, store::Folder};

/// Long enough for a busy machine; nothing asserts how long anything took.
const DEADLINE: Duration = Duration::from_secs(60);
const SECRET: &str = "QmVjYXVzZSBub2JvZHkga25vd3MgaXQgYnV0IHlvdQ";

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("it does not come")
}

struct Served {
    address: SocketAddr,
    stopper: Stopper,
    done: JoinHandle<bool>,
}

impl Served {
    /// Waits for everything, except for requests in flight when it stops.
    async fn new(router: Router, shutdown_timeout: Duration) -> Self {
        let bounds = Bounds {
            connections_max: 100,
            head_bytes_max: 8192,
            head_timeout: DEADLINE * 2,
            request_timeout: DEADLINE * 2,
            shutdown_timeout,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let front = Front::new(router, Proxies::new(vec![], Forwarded::XForwarded), bounds);
        let (stopper, stop) = Stop::new();
        let done =
            tokio::spawn(async move { front.serve(Listener::Tcp(listener, None), stop).await });
        Self { address, stopper, done }
    }

    async fn begin(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn send(&self, request: &str) -> String {
        rest(self.begin(request).await).await
    }
}

/// Everything until the other end closes. A reset is an end, too.
async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = vec![];
    let _ = within(stream.read_to_end(&mut bytes)).await;
    String::from_utf8(bytes).unwrap()
}

fn log(level: Level, format: LogFormat) -> (Lines, tracing::subscriber::DefaultGuard) {
    let lines = Lines::catching();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(level)
        .with_writer(OfRequest::new(lines.clone(), format));
    let logging = match format {
        LogFormat::Text => subscriber.finish().set_default(),
        LogFormat::Json => subscriber.json().flatten_event(true).finish().set_default(),
    };
    (lines, logging)
}

fn router() -> Router {
    let id = async || {
        tracing::warn!("at work");
        format!("id={}", RequestId::current().unwrap())
    };
    let things = get(id).post(async || "ok");
    Router::new().route("/things/{thing}", things).layer(Observe(None))
}

/// A request that is never answered; tells when it has come.
fn held(came: &Arc<Notify>) -> Router {
    let came = Arc::clone(came);
    let hold = async move || {
        came.notify_one();
        std::future::pending::<()>().await;
    };
    Router::new().route("/held", get(hold)).layer(Observe(None))
}

const HELD: &str = "GET /held HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test]
async fn a_stop_waits_for_no_connection_that_asks_nothing() {
    let served = Served::new(router(), DEADLINE * 2).await;
    let silent = served.begin("").await;
    let begun = served.begin("GET / HT").await;
    // The server has seen both when it answers a third.
    assert!(served.send("GET /things/one HTTP/1.0\r\n\r\n").await.contains("id="));
    served.stopper.stop();
    assert!(within(served.done).await.unwrap());
    assert_eq!(rest(silent).await + &rest(begun).await, "");
}

#[tokio::test]
async fn a_stop_cuts_off_what_does_not_end() {
    let came = Arc::new(Notify::new());
    let served = Served::new(held(&came), Duration::from_millis(1)).await;
    let busy = served.begin(HELD).await;
    within(came.notified()).await;
    served.stopper.stop();
    assert!(!within(served.done).await.unwrap());
    assert_eq!(rest(busy).await, "");
}

#[tokio::test]
async fn a_request_has_one_id_everywhere() {
    for level in [Level::DEBUG, Level::WARN] {
        let (lines, _logging) = log(level, LogFormat::Text);
        let served = Served::new(router(), DEADLINE).await;
        let get = "GET /things/one?a=b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n";
        let answer = served.send(&format!("{get}x-request-id: forged\r\n\r\n")).await;
        let id = answer.split("x-request-id: ").nth(1).unwrap().split("\r\n").next().unwrap();
        assert_eq!(id.len(), 22);
        assert!(answer.ends_with(&format!("id={id}")), "{answer}");
        let text = lines.text();
        let of_it = |line: &&str| line.contains("at work") || line.contains("answered");
        assert!(text.lines().filter(of_it).all(|line| line.contains(id)), "{text}");
        assert_eq!(text.matches("at work").count(), 1, "{text}");
        let line = text.lines().find(|line| line.contains("answered")).unwrap_or_default();
        assert_eq!(line.is_empty(), level == Level::WARN, "{text}");
        for part in ["method=GET", "route=/things/{thing}", "status=\"200\"", "duration_ms="] {
            assert!(line.is_empty() || line.contains(part), "{part}: {line}");
        }
        let other = served.send("GET /things/one HTTP/1.0\r\n\r\n").await;
        assert!(!other.contains(id), "two requests have one id");
    }
}

#[tokio::test]
async fn a_line_of_json_says_which_request_it_is_of() {
    let (lines, _logging) = log(Level::WARN, LogFormat::Json);
    let served = Served::new(router(), DEADLINE).await;
    let answer = served.send("GET /things/one HTTP/1.0\r\n\r\n").await;
    tracing::warn!("on its own");
    let text = lines.text();
    let [at_work, other] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    let at_work: serde_json::Value = serde_json::from_str(at_work).unwrap();
    let id = at_work["request"].as_str().unwrap();
    assert!(answer.ends_with(&format!("id={id}")), "{answer}");
    assert_eq!(at_work["method"], "GET");
    assert_eq!(at_work["route"], "/things/{thing}");
    assert_eq!(at_work["message"], "at work");
    assert!(other.contains("on its own") && !other.contains("request"), "{other}");
}

#[tokio::test]
async fn no_log_line_holds_what_a_request_brings() {
    let (lines, _logging) = log(Level::TRACE, LogFormat::Text);
    let served = Served::new(router(), DEADLINE).await;
    for (target, status) in [
        (format!("/things/one?code={SECRET}"), "200 "),
        (format!("/things/{SECRET}"), "200 "),
        (format!("/{SECRET}?{SECRET}"), "404 "),
    ] {
        let answer = served
            .send(&format!(
                "POST {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncookie: a={SECRET}\r\n\
                authorization: Bearer {SECRET}\r\nx-request-id: {SECRET}\r\ncontent-length: 42\r\n\r\n{SECRET}"
            ))
            .await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    assert_eq!(lines.text().matches("answered").count(), 3);
    assert!(!lines.text().contains(SECRET), "{}", lines.text());
}

#[tokio::test]
async fn a_client_that_goes_away_is_told_of() {
    let (lines, _logging) = log(Level::INFO, LogFormat::Text);
    let came = Arc::new(Notify::new());
    let served = Served::new(held(&came), DEADLINE).await;
    let stream = served.begin(HELD).await;
    within(came.notified()).await;
    drop(stream);
    within(async {
        while !lines.text().contains("the client went away") {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[test]
fn nothing_of_a_key_file_is_in_an_error() {
    let folder = Folder::new();
    let (certificate_file, key_file) = (folder.0.join("tls.crt"), folder.0.join("tls.key"));
    let pem = |what: &str, line: &str| {
        format!("-----BEGIN {what}-----{line}{SECRET}{line}-----END {what}-----")
    };
    std::fs::write(&certificate_file, pem("CERTIFICATE", "\n")).unwrap();
    let quoted = format!("{:?}", &SECRET.as_bytes()[..8]);
    let quoted = quoted.trim_matches(['[', ']']);
    // A key whose line breaks were lost on the way, and what else goes wrong.
    for key in [
        pem("PRIVATE KEY", ""),
        pem("PRIVATE KEY", " "),
        pem("PRIVATE KEY", "\n"),
        pem("PRIVATE KEY", "\n!"),
        format!("-----BEGIN {SECRET}"),
        SECRET.to_owned(),
        String::new(),
    ] {
        std::fs::write(&key_file, &key).unwrap();
        let error = Certificates::open(&certificate_file, &key_file).unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(!told.contains(&SECRET[..8]) && !told.contains(quoted), "{key}: {told}");
        assert!(told.contains("tls.key") || key == pem("PRIVATE KEY", "\n"), "{key}: {told}");
    }
}
