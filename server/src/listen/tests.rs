use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{
    Extension, Router,
    http::{Method, StatusCode},
    routing::{get, post},
};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener},
    sync::Notify,
};

use super::*;
use crate::config::Forwarded;

/// Long enough for a busy machine; nothing asserts how long anything took.
const DEADLINE: Duration = Duration::from_secs(60);

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        use symbolon_core::secret::SecretBytes;
        let id = SecretBytes::<8>::random(&mut crate::app::Os);
        let name: String = id.expose().iter().map(|byte| format!("{byte:02x}")).collect();
        let path = std::env::temp_dir().join(format!("symbolon-listen-{name}"));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const BOUNDS: Bounds = Bounds {
    connections_max: 100,
    head_bytes_max: 8192,
    head_timeout: DEADLINE,
    request_timeout: DEADLINE,
    shutdown_timeout: DEADLINE,
};

fn front(router: Router, bounds: Bounds) -> Front {
    let proxies = Proxies::new(vec!["127.0.0.1".parse().unwrap()], Forwarded::XForwarded);
    Front::new(router, proxies, bounds)
}

async fn tcp() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Everything that comes back on a connection until it closes.
async fn say(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    heard(stream).await
}

async fn heard(mut stream: impl AsyncRead + Unpin) -> String {
    let mut heard = Vec::new();
    // Servers may reset a connection that they refuse to read further.
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut heard)).await.unwrap();
    String::from_utf8(heard).unwrap()
}

async fn whoami(Extension(peer): Extension<Peer>) -> String {
    format!("{} {}", peer.address, peer.secure)
}

#[tokio::test]
async fn every_request_knows_its_peer() {
    let (listener, address) = tcp().await;
    let (stopper, stop) = Stop::new();
    let front = front(Router::new().route("/", get(whoami)), BOUNDS);
    let served =
        tokio::spawn(async move { front.serve(Listener::Tcp(listener, None), stop).await });
    let direct = say(address, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(direct.ends_with("127.0.0.1 false"), "{direct}");
    let proxied = "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 192.0.2.1\r\nx-forwarded-proto: https\r\nconnection: close\r\n\r\n";
    let proxied = say(address, proxied).await;
    assert!(proxied.ends_with("192.0.2.1 true"), "{proxied}");
    stopper.stop();
    assert!(served.await.unwrap());
}

/// A proxy sends to whoever listens. What has reached the kernel before the socket closes is answered.
#[tokio::test]
async fn who_has_connected_before_the_stop_is_answered() {
    let (listener, address) = tcp().await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        waiting.push(stream);
    }
    let silent = TcpStream::connect(address).await.unwrap();
    let (stopper, stop) = Stop::new();
    stopper.stop();
    let front = front(Router::new().route("/", get(whoami)), BOUNDS);
    assert!(front.serve(Listener::Tcp(listener, None), stop).await);
    for stream in waiting {
        let answer = heard(stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.ends_with("127.0.0.1 false"), "{answer}");
    }
    assert_eq!(heard(silent).await, "");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn hostile_heads_are_refused() {
    let (listener, address) = tcp().await;
    let (_stopper, stop) = Stop::new();
    let front = front(Router::new().route("/", get(whoami)), BOUNDS);
    tokio::spawn(async move { front.serve(Listener::Tcp(listener, None), stop).await });
    let many: String = (0..101).map(|at| format!("x-{at}: 1\r\n")).collect();
    let long = format!("x: {}\r\n", "a".repeat(BOUNDS.head_bytes_max));
    for (head, status) in [
        (format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\nhost: a\r\n{long}\r\n"), "431"),
        ("GET / HTTP/1.1\r\nho st: a\r\n\r\n".to_owned(), "400"),
        (
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"
                .to_owned(),
            "400",
        ),
        ("\0\r\n\r\n".to_owned(), "400"),
    ] {
        let answer = say(address, &head).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}");
    }
}

#[tokio::test]
async fn slow_clients_lose_their_connection() {
    let (listener, address) = tcp().await;
    let (_stopper, stop) = Stop::new();
    let bounds = Bounds {
        head_timeout: Duration::from_millis(50),
        request_timeout: Duration::from_millis(50),
        ..BOUNDS
    };
    let router = Router::new().route("/", post(async |_: String| "read").get(whoami));
    let front = front(router, bounds);
    tokio::spawn(async move { front.serve(Listener::Tcp(listener, None), stop).await });
    // A head that never ends, and silence: the connection closes.
    say(address, "GET / HTTP/1.1\r\nhost: a\r\n").await;
    say(address, "").await;
    // A body that never ends.
    let slow = say(address, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n12").await;
    assert!(slow.starts_with("HTTP/1.1 408 "), "{slow}");
}

#[tokio::test]
async fn over_the_bound_connections_wait_for_their_turn() {
    let (listener, address) = tcp().await;
    let (_stopper, stop) = Stop::new();
    let front =
        front(Router::new().route("/", get(whoami)), Bounds { connections_max: 1, ..BOUNDS });
    tokio::spawn(async move { front.serve(Listener::Tcp(listener, None), stop).await });
    let first = TcpStream::connect(address).await.unwrap();
    let second =
        tokio::spawn(say(address, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"));
    drop(first);
    assert!(second.await.unwrap().starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn requests_in_flight_are_answered_when_the_server_stops() {
    let (began, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (listener, address) = tcp().await;
    let (stopper, stop) = Stop::new();
    let handler = {
        let (began, go) = (Arc::clone(&began), Arc::clone(&go));
        async move || {
            began.notify_one();
            go.notified().await;
            "finished"
        }
    };
    let front = front(Router::new().route("/", get(handler)), BOUNDS);
    let served =
        tokio::spawn(async move { front.serve(Listener::Tcp(listener, None), stop).await });
    let idle = TcpStream::connect(address).await.unwrap();
    let asked = tokio::spawn(say(address, "GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
    began.notified().await;
    stopper.stop();
    // The idle connection is told to go at once; nobody new gets in.
    assert_eq!(heard(idle).await, "");
    assert!(TcpStream::connect(address).await.is_err());
    go.notify_one();
    assert!(asked.await.unwrap().ends_with("finished"));
    assert!(served.await.unwrap(), "all were answered in time");
}

#[tokio::test]
async fn requests_that_do_not_finish_do_not_hold_the_server() {
    let began = Arc::new(Notify::new());
    let (listener, address) = tcp().await;
    let (stopper, stop) = Stop::new();
    let handler = {
        let began = Arc::clone(&began);
        async move || {
            began.notify_one();
            std::future::pending::<()>().await;
        }
    };
    let bounds = Bounds { shutdown_timeout: Duration::from_millis(10), ..BOUNDS };
    let front = front(Router::new().route("/", get(handler)), bounds);
    let served =
        tokio::spawn(async move { front.serve(Listener::Tcp(listener, None), stop).await });
    let _asked = tokio::spawn(say(address, "GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
    began.notified().await;
    stopper.stop();
    assert!(!served.await.unwrap());
}

#[tokio::test]
async fn the_local_socket_carries_json_for_its_owner() {
    let folder = Folder::new();
    let path = folder.file(SOCKET_NAME);
    assert!(call(&path, Method::GET, "/", None).await.unwrap_err().nobody_answers());
    // A killed server leaves its socket behind.
    drop(UnixListener::bind(&path).unwrap());
    assert!(call(&path, Method::GET, "/", None).await.unwrap_err().nobody_answers());

    let router = Router::new()
        .route("/", post(async |body: axum::Json<Value>| (StatusCode::CREATED, body)))
        .route("/none", get(async || StatusCode::NO_CONTENT))
        .route("/number/{n}", get(async |n: axum::extract::Path<u8>| axum::Json(n.0)))
        .route("/text", get(async || "no JSON"))
        .route("/peer", get(async |peer: Extension<Peer>| axum::Json(peer.address.to_string())));
    let listener = LocalListener::bind(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (stopper, stop) = Stop::new();
    let front = front(router, BOUNDS);
    let served = tokio::spawn(async move { front.serve(Listener::Local(listener), stop).await });

    let body = json!({ "password": "한" });
    let echoed = call(&path, Method::POST, "/", Some(body.clone())).await.unwrap();
    assert_eq!(echoed, (StatusCode::CREATED, body));
    let none = call(&path, Method::GET, "/none", None).await.unwrap();
    assert_eq!(none, (StatusCode::NO_CONTENT, Value::Null));
    let peer = call(&path, Method::GET, "/peer", None).await.unwrap();
    assert_eq!(peer.1, json!("127.0.0.1"));
    let typed = call(&path, Method::GET, "/number/x", None).await.unwrap();
    assert_eq!((typed.0.as_u16(), &typed.1["code"]), (400, &json!("malformed_request")));
    assert!(matches!(call(&path, Method::GET, "/text", None).await, Err(CallError::Broken(_))));

    stopper.stop();
    assert!(served.await.unwrap());
    assert!(!path.exists(), "the socket is gone with its server");
}

/// A certificate that signs itself, written to files; returns it.
fn write_pair(certificate_file: &Path, key_file: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(key_file, made.signing_key.serialize_pem()).unwrap();
    fs::write(certificate_file, made.cert.pem()).unwrap();
    CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap()
}

/// Whether the server proves that it is who this certificate says.
async fn shows(address: SocketAddr, certificate: &CertificateDer<'static>) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let Ok(mut stream) = connector.connect(name, stream).await else { return false };
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    heard(stream).await.ends_with("127.0.0.1 true")
}

#[tokio::test]
async fn a_certificate_that_changes_is_read_again_and_a_broken_one_is_not() {
    let folder = Folder::new();
    let (certificate_file, key_file) = (folder.file("c.pem"), folder.file("k.pem"));
    let first = write_pair(&certificate_file, &key_file);
    let certificates = Certificates::open(&certificate_file, &key_file).unwrap();
    let (listener, address) = tcp().await;
    let (_stopper, stop) = Stop::new();
    let front = front(Router::new().route("/", get(whoami)), BOUNDS);
    let listener = Listener::Tcp(listener, Some(Arc::clone(&certificates)));
    tokio::spawn({
        let stop = stop.clone();
        async move { front.serve(listener, stop).await }
    });
    tokio::spawn({
        let certificates = Arc::clone(&certificates);
        async move { certificates.watch_every(Duration::from_millis(5), stop).await }
    });
    assert!(shows(address, &first).await);

    fs::write(&certificate_file, "nonsense").unwrap();
    assert!(certificates.reload().is_err());
    assert!(shows(address, &first).await, "the old one stays");

    let second = write_pair(&certificate_file, &key_file);
    let changed = async {
        while !shows(address, &second).await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, changed).await.unwrap();
    assert!(!shows(address, &first).await);
}

#[test]
fn files_that_are_no_pair_are_refused() {
    let folder = Folder::new();
    let [certificate, key, other] = ["c", "k", "o"].map(|name| folder.file(name));
    write_pair(&folder.file("unused"), &other);
    write_pair(&certificate, &key);
    let empty = folder.file("e");
    fs::write(&empty, "").unwrap();
    for (certificate, key, expected) in [
        (&certificate, &other, "do not go together"),
        (&empty, &key, "there is no certificate in it"),
        (&certificate, &empty, "e: "),
        (&key, &key, "there is no certificate in it"),
        (&folder.file("missing"), &key, "missing: "),
    ] {
        let error = Certificates::open(certificate, key).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// Whoever has hung up before their request is read is known to be gone as soon as that is asked, whatever the reactor knows.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_is_dropped() {
    let (listener, address) = tcp().await;
    let request =
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbody";
    for _ in 0..90 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
    }
    let done = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&done);
    let handler = post(async move |Extension(asked): Extension<Asked>, _: String| {
        asked.is_waited_for().await;
        counted.fetch_add(1, SeqCst);
    });
    let (stopper, stop) = Stop::new();
    let front = front(Router::new().route("/", handler), BOUNDS);
    let served =
        tokio::spawn(async move { front.serve(Listener::Tcp(listener, None), stop).await });
    let last = say(address, request).await;
    assert!(last.starts_with("HTTP/1.1 200"), "{last}");
    stopper.stop();
    assert!(served.await.unwrap());
    assert_eq!(done.load(SeqCst), 1);
}
