//! Sockets in: TCP and TLS listeners, the local socket, forwarded headers from trusted proxies.

/// Who is at the other end of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The address of the caller.
    pub address: std::net::IpAddr,
    /// Whether it came over TLS.
    pub secure: bool,
}
