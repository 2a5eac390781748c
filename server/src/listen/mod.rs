//! Sockets in: TCP with or without TLS, the local socket of the command line, and who is at the other end.
//!
//! One accept loop serves all. Every connection has bounds: their number, the bytes and the time of a request's head,
//! the time of a request. When the server stops it accepts no more, tells idle connections to close, and gives requests
//! in flight their time.

mod forwarded;
mod hung_up;
mod local;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, Response, StatusCode, header},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};
use tower::ServiceExt;

use self::hung_up::Watched;
pub use self::{
    forwarded::{InvalidNetwork, Network, Peer, Proxies},
    local::{CallError, LocalListener, SOCKET_NAME, answer, call},
    tls::{Certificates, TlsError},
};
use crate::{config::Listen, os::Asked};

/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection that has asked for nothing yet stays open when the server stops.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to wait when the system has no more sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The moment at which the server stops.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// Brings that moment about, at the latest when it is dropped.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Stop {
    /// The moment, and what brings it about.
    pub fn new() -> (Stopper, Self) {
        let (stopper, stop) = watch::channel(false);
        (Stopper(stopper), Self(stop))
    }

    /// The moment at which SIGTERM or SIGINT comes.
    ///
    /// # Errors
    /// The system does not hand signals on.
    pub fn on_signal() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (stopper, stop) = Self::new();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            stopper.stop();
        });
        Ok(stop)
    }

    /// Waits for the moment.
    pub async fn wait(&mut self) {
        // An error says that the stopper is gone: that, too, is the moment.
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }
}

impl Stopper {
    /// Now.
    pub fn stop(self) {
        self.0.send_replace(true);
    }
}

/// The bounds of connections.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at a time; more wait in the kernel's queue.
    pub connections_max: u32,
    /// The head of a request.
    pub head_bytes_max: usize,
    /// The time for the head of a request, and of silence before it.
    pub head_timeout: Duration,
    /// The time from the head of a request to its answer.
    pub request_timeout: Duration,
    /// The time that requests in flight have when the server stops.
    pub shutdown_timeout: Duration,
}

impl From<&Listen> for Bounds {
    fn from(listen: &Listen) -> Self {
        Self {
            connections_max: listen.connections_max,
            head_bytes_max: listen.head_bytes_max,
            head_timeout: listen.head_timeout,
            request_timeout: listen.request_timeout,
            shutdown_timeout: listen.shutdown_timeout,
        }
    }
}

/// Answers requests from sockets.
#[derive(Debug, Clone)]
pub struct Front(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    router: Router,
    proxies: Proxies,
    bounds: Bounds,
    http: http1::Builder,
}

impl Front {
    /// Answers with this router, which finds a [`Peer`] in the extensions of every request.
    pub fn new(router: Router, proxies: Proxies, bounds: Bounds) -> Self {
        // Hyper takes 100 headers of a request, and sets them up faster when it is not told how many.
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(bounds.head_timeout)
            .max_header_size(bounds.head_bytes_max)
            .max_buf_size(bounds.head_bytes_max.max(8192));
        Self(Arc::new(Inner { router, proxies, bounds, http }))
    }

    /// The same bounds, before another router.
    #[must_use]
    pub fn with(&self, router: Router) -> Self {
        let Inner { proxies, bounds, http, .. } = &*self.0;
        let (proxies, bounds, http) = (proxies.clone(), *bounds, http.clone());
        Self(Arc::new(Inner { router, proxies, bounds, http }))
    }

    /// Serves a socket until `stop`. Returns whether all requests in flight were answered in time.
    pub async fn serve(&self, listener: Listener, mut stop: Stop) -> bool {
        // What still runs when this is dropped is aborted.
        let mut connections = JoinSet::new();
        let permits = Arc::new(Semaphore::new(self.0.bounds.connections_max as usize));
        loop {
            let permit = tokio::select! {
                biased;
                () = stop.wait() => break,
                permit = free(&permits) => permit,
            };
            let accepted = tokio::select! {
                biased;
                () = stop.wait() => break,
                accepted = listener.accept() => accepted,
            };
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok(socket) => {
                    let (front, stop) = (self.clone(), stop.clone());
                    connections.spawn(async move {
                        front.connection(socket, stop).await;
                        drop(permit);
                    });
                }
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "no connection can be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        for socket in listener.last() {
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else { break };
            let (front, stop) = (self.clone(), stop.clone());
            connections.spawn(async move {
                front.connection(socket, stop).await;
                drop(permit);
            });
        }
        let finished = async { while connections.join_next().await.is_some() {} };
        let in_time = tokio::time::timeout(self.0.bounds.shutdown_timeout, finished).await.is_ok();
        if !in_time {
            tracing::warn!(connections = connections.len(), "requests in flight were cut off");
        }
        in_time
    }

    async fn connection(self, socket: Socket, mut stop: Stop) {
        match socket {
            Socket::Local(stream) => {
                self.drive(stream, Arc::default(), Caller::Local, stop).await;
            }
            Socket::Tcp(stream, address, None) => {
                let (stream, wanted) = Watched::new(stream);
                self.drive(stream, wanted, Caller::Remote(address, false), stop).await;
            }
            Socket::Tcp(stream, address, Some(certificates)) => {
                let (stream, wanted) = Watched::new(stream);
                let handshake = certificates.acceptor().accept(stream);
                let over = async {
                    stop.wait().await;
                    tokio::time::sleep(FIRST_REQUEST_TIMEOUT).await;
                };
                let done = tokio::select! {
                    done = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake) => done,
                    () = over => return,
                };
                match done {
                    Ok(Ok(stream)) => {
                        self.drive(stream, wanted, Caller::Remote(address, true), stop).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%error, %address, "no TLS handshake"),
                    Err(_) => tracing::debug!(%address, "the TLS handshake took too long"),
                }
            }
        }
    }

    async fn drive<S>(self, stream: S, wanted: Arc<AtomicBool>, caller: Caller, mut stop: Stop)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let asked = Notify::new();
        let service = service_fn(|request| {
            asked.notify_one();
            self.clone().answer(request, Asked::now(Arc::clone(&wanted)), caller)
        });
        let mut connection = pin!(self.0.http.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.wait() => {
                // Whoever has just connected has a request on its way. Hyper would wait for it however long it does not
                // come.
                let first = async {
                    tokio::select! {
                        ended = connection.as_mut() => Some(ended),
                        () = asked.notified() => None,
                    }
                };
                match tokio::time::timeout(FIRST_REQUEST_TIMEOUT, first).await {
                    Err(_) => return,
                    Ok(Some(ended)) => ended,
                    Ok(None) => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                }
            }
        };
        if let Err(error) = ended {
            // Clients go away and send nonsense all day long.
            tracing::debug!(%error, "a connection ended early");
        }
    }

    async fn answer(
        self,
        mut request: Request<Incoming>,
        asked: Asked,
        caller: Caller,
    ) -> Result<Response<Body>, Infallible> {
        let peer = match caller {
            Caller::Local => Peer::LOCAL,
            Caller::Remote(address, tls) => {
                self.0.proxies.peer(address.ip(), tls, request.headers())
            }
        };
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(asked);
        let answer = self.0.router.clone().oneshot(request.map(Body::new));
        match tokio::time::timeout(self.0.bounds.request_timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => Ok(too_slow()),
        }
    }
}

/// A place in the bounds; says so once when there is none.
async fn free(permits: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
        return Some(permit);
    }
    tracing::warn!("listen.connections_max is reached: new connections wait");
    // The semaphore is never closed.
    Arc::clone(permits).acquire_owned().await.ok()
}

/// Whether it is about one connection that went away before it was accepted.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | NotConnected)
}

fn too_slow() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
    // What is left of the request's body is not waited for.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A socket that listens.
#[derive(Debug)]
pub enum Listener {
    /// TCP; over TLS if there are certificates.
    Tcp(TcpListener, Option<Arc<Certificates>>),
    /// The socket of the command line.
    Local(LocalListener),
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream, SocketAddr, Option<Arc<Certificates>>),
    Local(UnixStream),
}

impl Socket {
    fn tcp(
        stream: TcpStream,
        address: SocketAddr,
        certificates: Option<Arc<Certificates>>,
    ) -> io::Result<Self> {
        // Answers are written in one go; waiting for more only delays them.
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream, address, certificates))
    }
}

#[derive(Debug, Clone, Copy)]
enum Caller {
    /// The address of the socket's other end, and whether it speaks TLS.
    Remote(SocketAddr, bool),
    Local,
}

impl Listener {
    async fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Local(listener) => listener.accept().await.map(Socket::Local),
            Self::Tcp(listener, certificates) => {
                let (stream, address) = listener.accept().await?;
                Socket::tcp(stream, address, certificates.clone())
            }
        }
    }

    /// Closes it, and gives who has connected and was not accepted yet: the kernel would cut them off in the middle of
    /// their request.
    fn last(self) -> Vec<Socket> {
        let Self::Tcp(listener, certificates) = self else { return Vec::new() };
        let Ok(listener) = listener.into_std() else { return Vec::new() };
        let mut last = Vec::new();
        loop {
            match listener.accept() {
                Ok((stream, address)) => last.push((stream, address)),
                Err(error) if is_of_connection(&error) => {}
                // Nobody else waits.
                Err(_) => break,
            }
        }
        drop(listener);
        let socket = |(stream, address): (std::net::TcpStream, SocketAddr)| {
            stream.set_nonblocking(true)?;
            Socket::tcp(TcpStream::from_std(stream)?, address, certificates.clone())
        };
        last.into_iter().filter_map(|accepted| socket(accepted).ok()).collect()
    }
}
