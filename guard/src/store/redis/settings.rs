//! Which server, under which name, and how long it may take.

use std::{fmt, time::Duration};

use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, TlsCertificates,
    cluster::ClusterClient,
};

use super::{link::Place, trouble::Trouble};

const NAME_BYTES_MAX: usize = 64;

/// Where the sessions are, and how to get there.
#[derive(Clone)]
pub struct Settings {
    servers: Vec<ConnectionInfo>,
    pub(super) is_cluster: bool,
    root_certificates: Option<Vec<u8>>,
    pub(super) name: String,
    pub(super) events_max: u64,
    pub(super) deadline: Duration,
}

/// What does not fit together in [`Settings`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSettings {
    /// The text names no server.
    #[error(
        "a Redis URL is redis://[user:password@]host[:port][/database], rediss://… with TLS, or unix:///path"
    )]
    Url,
    /// A cluster has no unix sockets and no database but the first.
    #[error("the servers of a cluster are redis:// or rediss:// URLs without a database")]
    Cluster,
    /// The name of the store cannot be one.
    #[error("the name of a store is 1 to {NAME_BYTES_MAX} letters, digits and any of - _ . :")]
    Name,
}

impl fmt::Debug for Settings {
    /// Neither user nor password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.servers.iter().map(|one| one.addr().to_string()).collect();
        f.debug_struct("Settings")
            .field("servers", &servers)
            .field("is_cluster", &self.is_cluster)
            .field("name", &self.name)
            .field("events_max", &self.events_max)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// On this server: `redis://…`, `rediss://…` (TLS with the machine's root certificates), `unix://…`.
    ///
    /// # Errors
    /// [`InvalidSettings::Url`].
    pub fn new(url: &str) -> Result<Self, InvalidSettings> {
        Ok(Self {
            servers: vec![server(url)?],
            is_cluster: false,
            root_certificates: None,
            name: "sessions".to_owned(),
            events_max: 0,
            deadline: Duration::from_millis(500),
        })
    }

    /// On the cluster of which these are some servers; it names the others itself.
    ///
    /// # Errors
    /// [`InvalidSettings::Url`], [`InvalidSettings::Cluster`].
    pub fn cluster(urls: &[&str]) -> Result<Self, InvalidSettings> {
        let servers = urls.iter().map(|url| server(url)).collect::<Result<Vec<_>, _>>()?;
        let first = urls.first().ok_or(InvalidSettings::Cluster)?;
        for server in &servers {
            let is_unix = matches!(server.addr(), ConnectionAddr::Unix(_));
            if is_unix || server.redis_settings().db() != 0 {
                return Err(InvalidSettings::Cluster);
            }
        }
        Ok(Self { servers, is_cluster: true, ..Self::new(first)? })
    }

    /// Under this name, so that several applications can share a server: all keys begin with it, in braces. Short is
    /// best, because every session repeats it; it is `sessions` unless said otherwise.
    ///
    /// # Errors
    /// [`InvalidSettings::Name`].
    pub fn named(self, name: &str) -> Result<Self, InvalidSettings> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
            return Err(InvalidSettings::Name);
        }
        Ok(Self { name: name.to_owned(), ..self })
    }

    /// Keeps [events](super::super::SessionStore::events), of which this many may wait to be settled; while so many do,
    /// no session is opened. All processes that share a store have to agree on whether it keeps events. Each session
    /// takes about 120 bytes more.
    #[must_use]
    pub fn with_events(self, events_max: u32) -> Self {
        Self { events_max: events_max.into(), ..self }
    }

    /// A verb that has no answer by then is unavailable; 500 ms unless said otherwise.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Trusts these root certificates (PEM) instead of the machine's.
    #[must_use]
    pub fn root_certificates(self, pem: Vec<u8>) -> Self {
        Self { root_certificates: Some(pem), ..self }
    }

    pub(super) fn place(&self) -> Result<Place, Trouble> {
        let uses_tls = |one: &ConnectionInfo| matches!(one.addr(), ConnectionAddr::TcpTls { .. });
        if self.servers.iter().any(uses_tls) {
            // Where the application has chosen a provider, this changes nothing.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let certificates = self
            .root_certificates
            .clone()
            .map(|pem| TlsCertificates { client_tls: None, root_cert: Some(pem) });
        if self.is_cluster {
            let mut builder = ClusterClient::builder(self.servers.clone())
                .use_protocol(ProtocolVersion::RESP3)
                .connection_timeout(self.deadline * 2)
                .response_timeout(self.deadline)
                .retries(2);
            if let Some(certificates) = certificates {
                builder = builder.certs(certificates);
            }
            return Ok(Place::Cluster(Box::new(builder.build()?)));
        }
        let [server] = &*self.servers else {
            return Err(Trouble::Unreachable("no server is named".to_owned()));
        };
        let client = match certificates {
            Some(certificates) if uses_tls(server) => {
                Client::build_with_tls(server.clone(), certificates)?
            }
            _ => Client::open(server.clone())?,
        };
        Ok(Place::One(Box::new(client)))
    }
}

fn server(url: &str) -> Result<ConnectionInfo, InvalidSettings> {
    let server = url.into_connection_info().map_err(|_| InvalidSettings::Url)?;
    // `#insecure` would trust any certificate.
    if matches!(server.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
        return Err(InvalidSettings::Url);
    }
    let settings = server.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Ok(server.set_redis_settings(settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_names() {
        for (url, fits) in [
            ("redis://127.0.0.1", true),
            ("redis://user:password@redis.example:6380/3", true),
            ("rediss://redis.example", true),
            ("unix:///run/redis.sock", true),
            ("rediss://redis.example/#insecure", false),
            ("http://redis.example", false),
            ("redis.example:6379", false),
            ("redis://redis.example/x", false),
            ("", false),
        ] {
            assert_eq!(Settings::new(url).is_ok(), fits, "{url}");
        }
        let settings = Settings::new("redis://user:password@redis.example").unwrap();
        assert!(!format!("{settings:?}").contains("password"));
        for (name, fits) in
            [("s", true), ("a-b_c.d:e", true), ("", false), ("{s}", false), ("세션", false)]
        {
            assert_eq!(settings.clone().named(name).is_ok(), fits, "{name}");
        }
        for (urls, fits) in [
            (&["redis://a", "redis://b:7000"][..], true),
            (&[], false),
            (&["unix:///run/redis.sock"], false),
            (&["redis://a/1"], false),
        ] {
            assert_eq!(Settings::cluster(urls).is_ok(), fits, "{urls:?}");
        }
    }
}
