use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

fn reach(allowed: &[&str]) -> Reach {
    within(Duration::from_secs(60), allowed)
}

fn within(timeout: Duration, allowed: &[&str]) -> Reach {
    let allowed_networks = allowed.iter().map(|network| network.parse().unwrap()).collect();
    Reach::new(&Outbound { allowed_networks, ca_file: None, timeout })
}

#[test]
fn only_addresses_of_the_internet_are_public() {
    for (text, public) in [
        ("8.8.8.8", true),
        ("1.1.1.1", true),
        ("172.15.255.255", true),
        ("172.32.0.0", true),
        ("100.63.255.255", true),
        ("100.128.0.0", true),
        ("192.0.1.1", true),
        ("223.255.255.255", true),
        ("0.0.0.0", false),
        ("10.1.2.3", false),
        ("100.64.0.1", false),
        ("127.0.0.1", false),
        ("127.8.9.10", false),
        ("169.254.169.254", false),
        ("172.16.0.1", false),
        ("172.31.255.255", false),
        ("192.0.0.8", false),
        ("192.0.2.1", false),
        ("192.88.99.1", false),
        ("192.168.1.1", false),
        ("198.19.0.1", false),
        ("198.51.100.1", false),
        ("203.0.113.9", false),
        ("224.0.0.1", false),
        ("255.255.255.255", false),
        ("2606:4700:4700::1111", true),
        ("2001:4860:4860::8888", true),
        ("::", false),
        ("::1", false),
        ("::ffff:127.0.0.1", false),
        ("::ffff:10.0.0.1", false),
        ("::ffff:8.8.8.8", true),
        ("::127.0.0.1", false),
        ("64:ff9b::7f00:1", false),
        ("2001::1", false),
        ("2001:db8::1", false),
        ("2002:7f00:1::", false),
        ("3fff::1", false),
        ("fc00::1", false),
        ("fd12:3456::1", false),
        ("fe80::1", false),
        ("fec0::1", false),
        ("ff02::1", false),
    ] {
        assert_eq!(is_public(text.parse().unwrap()), public, "{text}");
    }
}

#[test]
fn urls_that_are_not_asked() {
    for url in [
        "",
        "/path",
        "ftp://shop.example/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:70/",
        "https://user@shop.example/",
        "https://user:password@shop.example/",
        "https://shop.example\r\nx: y/",
        "https:///path",
        &format!("https://shop.example/{}", "a".repeat(URL_BYTES_MAX)),
    ] {
        assert!(matches!(Place::of(url), Err(Unreached::Url(_))), "{url}");
    }
    let place = Place::of("https://[2001:db8::1]:8443/a/b?c=d").unwrap();
    assert_eq!((place.host.as_str(), place.port, place.secure), ("2001:db8::1", 8443, true));
    assert_eq!(
        (place.authority.as_str(), place.target.as_str()),
        ("[2001:db8::1]:8443", "/a/b?c=d")
    );
}

/// A listener that counts who connects and answers each with these bytes.
async fn answering(bytes: Vec<u8>) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let met = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&met);
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let bytes = bytes.clone();
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let _ = tcp.read(&mut head).await;
                let _ = tcp.write_all(&bytes).await;
                // Held open: whoever waits for the end of it waits for long.
                let _ = tcp.read(&mut head).await;
            });
        }
    });
    (port, met)
}

#[tokio::test]
async fn ssrf_to_private_addresses_never_connects_however_they_are_written() {
    let (port, met) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into()).await;
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0",
    ] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:{port}/");
            let error = reach(&[]).get(&url, "*/*", 10).await.unwrap_err();
            let refused =
                matches!(error, Unreached::Forbidden(_) | Unreached::Unknown | Unreached::Url(_));
            assert!(refused, "{url}: {error}");
        }
    }
    assert_eq!(met.load(Ordering::SeqCst), 0);
    let reply = reach(&["127.0.0.1"]).get(&format!("http://127.0.0.1:{port}/"), "*/*", 10).await;
    assert_eq!(reply.unwrap().status, 200);
}

#[test]
fn plain_http_goes_to_allowed_addresses_alone() {
    let (public, private) = ("8.8.8.8".parse().unwrap(), "10.0.0.1".parse().unwrap());
    let open = reach(&["10.0.0.0/8"]);
    assert!(matches!(open.admit(public, false), Err(Unreached::Plain(_))));
    assert!(open.admit(public, true).is_ok());
    assert!(open.admit(private, false).is_ok());
    assert!(matches!(reach(&[]).admit(private, true), Err(Unreached::Forbidden(_))));
}

#[tokio::test]
async fn redirects_are_answers_and_megabytes_are_not_read() {
    let (elsewhere, met) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into()).await;
    let to = format!(
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{elsewhere}/\r\ncontent-length: 0\r\n\r\n"
    );
    let (port, _) = answering(to.into()).await;
    let reach = reach(&["127.0.0.1"]);
    let url = format!("http://127.0.0.1:{port}/");
    assert_eq!(reach.get(&url, "*/*", 10).await.unwrap().status, 302);
    assert_eq!(reach.post_form(&url, "a=b".to_owned()).await.unwrap(), 302);
    assert_eq!(met.load(Ordering::SeqCst), 0);

    let mut long = b"HTTP/1.1 200 OK\r\ncontent-length: 8000000\r\n\r\n".to_vec();
    long.resize(8_000_000, b'x');
    let (port, _) = answering(long).await;
    let url = format!("http://127.0.0.1:{port}/");
    assert!(matches!(reach.get(&url, "*/*", 1000).await, Err(Unreached::TooLong(1000))));
    // Of the answer to a form nothing but the head is waited for.
    assert_eq!(reach.post_form(&url, String::new()).await.unwrap(), 200);

    let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
    while head.len() < 100_000 {
        head.extend_from_slice(b"x-more: and more and more and more\r\n");
    }
    let (port, _) = answering(head).await;
    let url = format!("http://127.0.0.1:{port}/");
    assert!(matches!(reach.get(&url, "*/*", 1000).await, Err(Unreached::Http(_))));
}

#[tokio::test]
async fn a_server_that_hangs_is_left() {
    let (port, _) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab".into()).await;
    let reach = within(Duration::from_millis(200), &["127.0.0.1"]);
    let error = reach.get(&format!("http://127.0.0.1:{port}/"), "*/*", 10).await;
    assert!(matches!(error, Err(Unreached::Late)));
}
