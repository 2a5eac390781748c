//! The example's event stream and WebSocket, over real connections: they end when the login does.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::broadcast,
};

use super::*;

#[path = "../../../examples/streams/routes.rs"]
mod routes;

struct Stream {
    socket: TcpStream,
    read: Vec<u8>,
}

impl Stream {
    /// Reads until these bytes have come.
    async fn reads(&mut self, what: &[u8]) {
        within(async {
            while !self.read.windows(what.len()).any(|bytes| bytes == what) {
                let count = self.socket.read_buf(&mut self.read).await.unwrap();
                assert_ne!(count, 0, "{}", String::from_utf8_lossy(&self.read));
            }
        })
        .await;
    }
}

#[tokio::test]
async fn streams_end_with_the_login() {
    for (path, head, opened, ended) in [
        ("/events", String::new(), "text/event-stream", &b"\r\n0\r\n\r\n"[..]),
        (
            "/socket",
            "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://shop.example\r\n"
                .to_owned(),
            "101 Switching",
            // A close frame: 1008, and why.
            &b"\x88\x13\x03\xf0the login is over"[..],
        ),
    ] {
        let world = World::ready().await;
        let said = broadcast::channel(16).0;
        let chat = routes::Chat { following: world.following.clone(), said: said.clone() };
        let rules = crate::Rules::new("https://shop.example").unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, routes::router(rules, chat)).await });

        let mut stream =
            Stream { socket: TcpStream::connect(address).await.unwrap(), read: Vec::new() };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: shop.example\r\nCookie: __Host-symbolon={COOKIE}\r\n{head}\r\n"
        );
        stream.socket.write_all(request.as_bytes()).await.unwrap();
        stream.reads(opened.as_bytes()).await;
        until(|| said.receiver_count() > 0).await;
        said.send("hello".to_owned()).unwrap();
        stream.reads(b"hello").await;
        // Others may end.
        world.end(EntryId::from_bytes([99; 16])).await;
        said.send("still here".to_owned()).unwrap();
        stream.reads(b"still here").await;
        world.end(SID.entry()).await;
        stream.reads(ended).await;
        until(|| said.receiver_count() == 0).await;
    }
}
