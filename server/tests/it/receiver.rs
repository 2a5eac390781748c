//! A client's server side: it hears what is posted to it, and answers as the test tells it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// How a request is answered.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Status(u16),
    /// To this URL.
    Redirect(String),
    /// Never; the connection stays open.
    Hang,
    /// 200, and this many bytes.
    Long(usize),
    /// The connection ends.
    Drop,
}

#[derive(Debug, Default)]
struct State {
    /// Answers to the next requests; then 200.
    replies: VecDeque<Reply>,
    /// Instead of 200.
    usual: Option<Reply>,
    heard: Vec<String>,
}

/// A receiver on a free port of this machine.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    port: u16,
    state: Arc<Mutex<State>>,
    came: Arc<Notify>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let receiver = Self { port, state: Arc::default(), came: Arc::default() };
        let own = receiver.clone();
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                tokio::spawn(own.clone().serve(tcp));
            }
        });
        receiver
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The next requests are answered like this; those after them with 200.
    pub(crate) fn answer(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state.lock().unwrap().replies.extend(replies);
    }

    /// Every request is answered like this.
    pub(crate) fn always(&self, reply: Reply) {
        self.state.lock().unwrap().usual = Some(reply);
    }

    /// What was posted: head and body of each request.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.state.lock().unwrap().heard.clone()
    }

    /// Waits until this many requests have come.
    pub(crate) async fn hears(&self, count: usize) -> Vec<String> {
        let wait = async {
            loop {
                let came = self.came.notified();
                let heard = self.heard();
                if heard.len() >= count {
                    return heard;
                }
                came.await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), wait)
            .await
            .unwrap_or_else(|_| panic!("only {} of {count} requests came", self.heard().len()))
    }

    async fn serve(self, mut tcp: TcpStream) {
        let Some(request) = read(&mut tcp).await else { return };
        let reply = {
            let mut state = self.state.lock().unwrap();
            state.heard.push(request);
            let usual = state.usual.clone().unwrap_or(Reply::Status(200));
            state.replies.pop_front().unwrap_or(usual)
        };
        self.came.notify_waiters();
        let (head, body) = match reply {
            Reply::Status(status) => {
                (format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n"), 0)
            }
            Reply::Redirect(to) => {
                (format!("HTTP/1.1 307 X\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"), 0)
            }
            Reply::Long(bytes) => {
                (format!("HTTP/1.1 200 X\r\ncontent-length: {bytes}\r\n\r\n"), bytes)
            }
            Reply::Hang => {
                let _ = tcp.read(&mut [0; 1]).await;
                return;
            }
            Reply::Drop => return,
        };
        let _ = tcp.write_all(head.as_bytes()).await;
        let _ = tcp.write_all(&vec![b'x'; body]).await;
    }
}

/// A request with a body of a known length.
async fn read(tcp: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4096];
        let count = tcp.read(&mut part).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_ascii_lowercase();
        let length = length.lines().find_map(|line| line.strip_prefix("content-length: "))?;
        if body.len() >= length.trim().parse().ok()? {
            return Some(text.into_owned());
        }
    }
}
