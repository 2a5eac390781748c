//! What nodes say to the store that they share, and what it answers: the statements of the server's store, one by one.

use symbolon_core::{id::SessionId, log::Cursor, node::Row};

use crate::serving::Logged;

/// A transaction, and the connection that it is on.
pub(crate) type Tx = u64;

#[derive(Debug, Clone)]
pub(crate) enum Query {
    /// Shares the lock on the end of the log, and asks which history this is.
    Hold,
    /// What the log has from a place on, the entry there first, up to one page.
    From(u64),
    /// All of the log, for whoever begins. Writes down how long a lease is, if there was no longer one.
    Snapshot(u64),
    /// The row of a node that should be there.
    Update(Row),
    Insert(Row),
    /// The rows of all nodes.
    Nodes,
    /// Removes a row, if it still says the same.
    Remove(Row),
    Load(SessionId),
    Open {
        sid: SessionId,
        parent: Option<SessionId>,
    },
    End(SessionId),
    /// Moves the refresh token of a session on to the next generation, if it is still at this one.
    Save {
        sid: SessionId,
        at: u64,
        next: u64,
        token: u64,
    },
    /// Puts what this transaction has ended into the log.
    Number,
    Commit,
    Close,
}

/// A session as it rests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    pub(crate) parent: Option<SessionId>,
    pub(crate) ended: bool,
    pub(crate) generation: u64,
    /// What the token of this generation is made from.
    pub(crate) token: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum Rows {
    Head(Cursor),
    Entries {
        entries: Vec<Logged>,
        all: bool,
    },
    Log {
        head: Cursor,
        entries: Vec<Logged>,
        longest: u64,
    },
    Count(usize),
    Nodes(Vec<Row>),
    Session(Option<Session>),
    Ended(Vec<SessionId>),
    Gone,
    Conflict,
    Done,
    /// There is no such transaction any more.
    Failed,
}
