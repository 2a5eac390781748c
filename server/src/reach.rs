//! Requests to servers that clients name: receivers of logout tokens, key sets. Whoever registers a client chooses their
//! URLs, so a request must not become a way into the network that this server stands in (SSRF).
//!
//! * The host is resolved once, each address is judged, and the connection goes to an address that was judged: a name
//!   that resolves otherwise a moment later gains nothing (DNS rebinding).
//! * Only public addresses are reached, and those that the configuration allows (`outbound.allowed_networks`). Plain
//!   `http` goes to allowed addresses alone.
//! * No redirect is followed, no proxy is asked, no cookie or credential is sent, no connection is used twice.
//! * Every request has a deadline from its first to its last byte, and an answer is read up to a bound.
//!
//! How many requests go out at a time is for the caller to bound.

pub mod trust;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{
    HeaderMap, Request, StatusCode, Uri,
    header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT},
    uri::Scheme,
};
use http_body_util::{BodyExt, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

use self::trust::{NoTrust, trusting};
use crate::{config::Outbound, listen::Network};

/// The longest URL that is asked.
const URL_BYTES_MAX: usize = 2048;

/// The head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Why a server gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unreached {
    /// The URL is none that is asked.
    #[error("the URL is not allowed: {0}")]
    Url(&'static str),
    /// The name has no address.
    #[error("the name of the server has no address")]
    Unknown,
    /// The address is of a network that may not be reached.
    #[error("{0} is not public; `outbound.allowed_networks` can allow it")]
    Forbidden(IpAddr),
    /// Plain `http` to an address that is not among those that are allowed.
    #[error("plain http to {0} is not allowed; `outbound.allowed_networks` can allow it")]
    Plain(IpAddr),
    /// No authority is trusted.
    #[error("no connection over TLS can be made: {0}")]
    Trust(Arc<NoTrust>),
    /// It does not listen, its certificate is not trusted, or it hung up.
    #[error("the connection failed: {0}")]
    Connection(#[from] std::io::Error),
    /// It does not speak HTTP, or hung up within it.
    #[error("the answer is no HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// The answer is longer than it may be.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// It took too long.
    #[error("no whole answer in time")]
    Late,
}

/// What a server answered, whatever its status. A redirect is an answer like any other.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Vec<u8>,
}

/// Asks servers that somebody else named.
pub struct Reach {
    allowed: Vec<Network>,
    deadline: Duration,
    ca_file: Option<PathBuf>,
    // The authorities are read when they are needed first: many servers ask nobody.
    tls: OnceLock<Result<TlsConnector, Arc<NoTrust>>>,
}

impl std::fmt::Debug for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reach").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl Reach {
    /// Asks as this configuration says.
    pub fn new(outbound: &Outbound) -> Self {
        Self {
            allowed: outbound.allowed_networks.clone(),
            deadline: outbound.timeout,
            ca_file: outbound.ca_file.clone(),
            tls: OnceLock::new(),
        }
    }

    /// Gets a document of at most `body_bytes_max`. `accept` is what it may be.
    ///
    /// # Errors
    /// [`Unreached`].
    pub async fn get(
        &self,
        url: &str,
        accept: &'static str,
        body_bytes_max: usize,
    ) -> Result<Reply, Unreached> {
        let request = Request::get(url).header(ACCEPT, accept);
        self.in_time(async {
            let (answer, _connection) = self.send(url, request, String::new()).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, body_bytes_max).collect().await;
            let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
                Ok(error) => Unreached::Http(*error),
                Err(_) => Unreached::TooLong(body_bytes_max),
            })?;
            Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes().into() })
        })
        .await
    }

    /// Posts a form (`application/x-www-form-urlencoded`). Of the answer nothing but its status is read.
    ///
    /// # Errors
    /// [`Unreached`].
    pub async fn post_form(&self, url: &str, form: String) -> Result<StatusCode, Unreached> {
        let request = Request::post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.in_time(async {
            let (answer, _connection) = self.send(url, request, form).await?;
            Ok(answer.status())
        })
        .await
    }

    async fn in_time<T>(
        &self,
        asked: impl Future<Output = Result<T, Unreached>>,
    ) -> Result<T, Unreached> {
        tokio::time::timeout(self.deadline, asked).await.unwrap_or(Err(Unreached::Late))
    }

    /// The head of the answer, and the task that reads the rest: the connection is closed when it is dropped.
    async fn send(
        &self,
        url: &str,
        request: http::request::Builder,
        body: String,
    ) -> Result<(http::Response<Incoming>, JoinSet<()>), Unreached> {
        let place = Place::of(url)?;
        let io = self.connect(&place).await?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES_MAX);
        let (mut sender, connection) = builder.handshake::<_, String>(TokioIo::new(io)).await?;
        let mut task = JoinSet::new();
        task.spawn(async move {
            // Whoever asked learns what went wrong from the answer.
            let _ = connection.await;
        });
        let request = request
            .uri(place.target)
            .header(HOST, place.authority)
            .header(USER_AGENT, "Symbolon")
            .header(CONNECTION, "close")
            .body(body)
            .map_err(|_| Unreached::Url("it cannot be asked"))?;
        Ok((sender.send_request(request).await?, task))
    }

    async fn connect(&self, place: &Place) -> Result<Box<dyn Both>, Unreached> {
        let tcp = self.dial(place).await?;
        tcp.set_nodelay(true)?;
        if !place.secure {
            return Ok(Box::new(tcp));
        }
        let name = ServerName::try_from(place.host.clone())
            .map_err(|_| Unreached::Url("no certificate can name its host"))?;
        Ok(Box::new(self.tls()?.connect(name, tcp).await?))
    }

    /// The first address that may be reached and listens.
    async fn dial(&self, place: &Place) -> Result<TcpStream, Unreached> {
        let found = tokio::net::lookup_host((place.host.as_str(), place.port)).await;
        let addresses: Vec<SocketAddr> =
            found.map_err(|_| Unreached::Unknown)?.take(ADDRESSES_MAX).collect();
        let mut last = Unreached::Unknown;
        for address in addresses {
            match self.admit(address.ip(), place.secure) {
                Err(refused) => last = refused,
                Ok(()) => match TcpStream::connect(address).await {
                    Ok(tcp) => return Ok(tcp),
                    Err(error) => last = error.into(),
                },
            }
        }
        Err(last)
    }

    /// Whether this address may be reached.
    fn admit(&self, address: IpAddr, secure: bool) -> Result<(), Unreached> {
        if self.allowed.iter().any(|network| network.contains(address)) {
            return Ok(());
        }
        match (is_public(address), secure) {
            (false, _) => Err(Unreached::Forbidden(address)),
            (true, false) => Err(Unreached::Plain(address)),
            (true, true) => Ok(()),
        }
    }

    fn tls(&self) -> Result<&TlsConnector, Unreached> {
        let trust = || trusting(self.ca_file.as_deref()).map_err(Arc::new);
        self.tls.get_or_init(trust).as_ref().map_err(|error| Unreached::Trust(Arc::clone(error)))
    }
}

trait Both: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

/// What a URL says.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    secure: bool,
    /// Without brackets.
    host: String,
    port: u16,
    /// As it stands in the `Host` field.
    authority: String,
    /// Path and query.
    target: String,
}

impl Place {
    fn of(url: &str) -> Result<Self, Unreached> {
        if url.len() > URL_BYTES_MAX {
            return Err(Unreached::Url("it is too long"));
        }
        let uri: Uri = url.parse().map_err(|_| Unreached::Url("it is malformed"))?;
        let secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(Unreached::Url("it begins with neither https nor http")),
        };
        let authority = uri.authority().ok_or(Unreached::Url("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(Unreached::Url("it names a user"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(Unreached::Url("it names no host"));
        }
        Ok(Self {
            secure,
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            target: uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
        })
    }
}

/// Whether anybody can have this address on the Internet (the IANA registries of special-purpose addresses). Whatever
/// carries an IPv4 address is judged by that one, or is not public.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = matches!(
        (a, b, c),
        // This host; private; shared (RFC 6598); loopback; link-local, where clouds keep their credentials; private.
        (0 | 10 | 127, ..) | (100, 64..=127, _) | (169, 254, _) | (172, 16..=31, _)
        // Protocols and documentation; 6to4 relays; private; benchmarks; documentation; multicast, reserved, broadcast.
        | (192, 0, 0 | 2) | (192, 88, 99) | (192, 168, _) | (198, 18..=19, _)
        | (198, 51, 100) | (203, 0, 113) | (224.., ..)
    );
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Unicast addresses of the Internet are all in 2000::/3. Within it: protocols and Teredo (2001::/23), documentation
    // (2001:db8::/32, 3fff::/20), 6to4 (2002::/16).
    let special = match a {
        0x2001 => b < 0x0200 || b == 0x0db8,
        0x2002 => true,
        0x3fff => b < 0x1000,
        _ => false,
    };
    (0x2000..0x4000).contains(&a) && !special
}

#[cfg(test)]
mod tests;
