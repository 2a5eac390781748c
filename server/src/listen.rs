//! Sockets in: TCP and TLS listeners, the local socket, forwarded headers from trusted proxies.
