//! What goes wrong between us and the server, in words that say what to do.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why the server did not do what it was asked. It goes to the log as the cause of an
/// [`Unavailable`](super::super::Unavailable).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// Nobody listens, or the connection broke.
    #[error("no connection to the Redis server: {0}")]
    Unreachable(String),
    /// It said nothing in time.
    #[error("the Redis server does not answer in time")]
    Silent,
    /// It does not know this user, or this password.
    #[error("the Redis server refuses user or password; they stand in the URL: {0}")]
    Login(String),
    /// The user may not do what the store does.
    #[error(
        "the Redis user lacks a right; it needs the keys of the store and the commands that the guide lists: {0}"
    )]
    Forbidden(String),
    /// It is a replica.
    #[error("the Redis server is a read-only replica; name the primary: {0}")]
    ReadOnly(String),
    /// Its memory is full.
    #[error("the Redis server is out of memory: {0}")]
    Full(String),
    /// It takes no writes: it cannot save, or lacks the replicas that it was told to have.
    #[error("the Redis server takes no writes now: {0}")]
    NoWrites(String),
    /// One of the keys that belong to the whole store holds something of another type.
    #[error("a key of the store holds what another program has written there: {0}")]
    WrongType(String),
    /// In a cluster, keys that must rest in one place do not.
    #[error("these keys do not rest on one node of the cluster: {0}")]
    CrossSlot(String),
    /// It is one of a cluster.
    #[error("the server is part of a cluster; name some of its servers with Settings::cluster")]
    Clustered,
    /// It is older than the oldest that we work with.
    #[error("the server is Redis {0}; the oldest that works is Redis 6.2, or any Valkey")]
    TooOld(String),
    /// It answered what no Redis server answers.
    #[error("the Redis server answered something unexpected: {0}")]
    Unexpected(String),
}

impl Trouble {
    /// Whether a new connection may help: to the same server, or to another that has its name now.
    pub(super) fn is_of_the_connection(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Silent | Self::ReadOnly(_) | Self::Login(_))
    }
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        let text = error.detail().map_or_else(|| error.to_string(), str::to_owned);
        match (error.kind(), error.code()) {
            _ if error.is_timeout() => Self::Silent,
            (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => {
                Self::Login(text)
            }
            (ErrorKind::Server(ServerErrorKind::NoPerm), _) => Self::Forbidden(text),
            (ErrorKind::Server(ServerErrorKind::ReadOnly), _) => Self::ReadOnly(text),
            (ErrorKind::Server(ServerErrorKind::CrossSlot), _) => Self::CrossSlot(text),
            (ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask), _) => {
                Self::Clustered
            }
            (_, Some("OOM")) => Self::Full(text),
            (_, Some("MISCONF" | "NOREPLICAS")) => Self::NoWrites(text),
            (_, Some("WRONGTYPE")) => Self::WrongType(text),
            _ if error.is_unrecoverable_error() || error.is_io_error() => Self::Unreachable(text),
            (ErrorKind::Server(ServerErrorKind::ClusterDown | ServerErrorKind::MasterDown), _)
            | (ErrorKind::ClusterConnectionNotFound, _)
            | (ErrorKind::Server(ServerErrorKind::BusyLoading), _) => Self::Unreachable(text),
            // What a script met inside comes as a general error that names it.
            _ => Self::within(text),
        }
    }
}

impl Trouble {
    fn within(text: String) -> Self {
        let is = |code: &str| text.contains(code);
        if is("NOPERM") || is("can't run this command") || is("No permissions") || is("ACL failure")
        {
            Self::Forbidden(text)
        } else if is("OOM") {
            Self::Full(text)
        } else if is("READONLY") {
            Self::ReadOnly(text)
        } else if is("WRONGTYPE") {
            Self::WrongType(text)
        } else if is("MISCONF") || is("NOREPLICAS") {
            Self::NoWrites(text)
        } else {
            Self::Unexpected(text)
        }
    }
}
