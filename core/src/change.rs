//! A [`Change`] is a decision: what must be written, on what condition, and what is said about it. The store applies it
//! whole or not at all.

use std::time::Duration;

use crate::{
    audit::Event,
    client::{Client, ClientId, SecretDigest},
    code::{Code, CodeDigest},
    data::Document,
    handle::Name,
    id::{EntryId, KeyId, SessionId, UserId},
    keys::KeyRecord,
    oauth::{
        device::Waiting,
        pushed::{Pushed, PushedDigest},
    },
    session::{Reason, Session, Version},
    time::Time,
    user::User,
};

/// One row to write, with the condition under which it may be written. No write brings an ended thing back. Whatever ends
/// a session, the clients that were told of it ([`Write::Tell`]) are due to hear of its end in the same commit.
#[derive(Debug, Clone)]
pub enum Write {
    /// Inserts a session. Conditions: its parent (if any) is alive; its user is not disabled and the user's epoch is
    /// not above the session's. Otherwise *gone*. Its parent has no live session for the same client, otherwise
    /// *conflict*.
    OpenSession(Box<Session>),
    /// Replaces a session's row. Conditions: alive, otherwise *gone*; at the version it carries, otherwise *conflict*.
    SaveSession(Box<Session>),
    /// Ends a session and every live session under it, leaving tombstones, and logs each. Condition: it is alive,
    /// otherwise *gone*.
    EndSession { id: SessionId, reason: Reason },
    /// Ends up to `most` live sessions of a user, the oldest first, except one (and those under it); logs each.
    EndSessionsOf { user: UserId, except: Option<SessionId>, reason: Reason, most: u32 },
    /// Ends the oldest sessions of a user until `keep` are left that have no parent; logs each. Together with
    /// [`Self::OpenSession`] before it, logins of one user are one after the other, and no two leave more.
    KeepNewest { user: UserId, keep: u32 },
    /// Moves session data to the session that takes its place.
    CarryData { from: SessionId, to: SessionId },
    /// Replaces the session data of one client. Conditions: the session is alive, otherwise *gone*; the document is at
    /// the version it carries, otherwise *conflict*.
    SaveData { session: SessionId, client: ClientId, document: Document },
    /// Inserts a user. Condition: the name is free, otherwise *conflict*.
    AddUser(Box<User>),
    /// Replaces a user's row. Condition: at the version it carries, otherwise *conflict*.
    SaveUser(Box<User>),
    /// Replaces a password's hash by one of the same password with other parameters. Condition: the row's version,
    /// otherwise *conflict*.
    RehashPassword { user: UserId, version: Version, hash: crate::secret::SecretText },
    /// Inserts an authorization code, and removes the oldest of its session over [`CODES_MAX`](crate::code::CODES_MAX).
    /// Conditions: the session is alive, otherwise *gone*; its row is at this version, otherwise *conflict*.
    IssueCode { code: Box<Code>, version: Version },
    /// Marks an authorization code as used, and by what. Condition: it is there, unused and not expired, otherwise
    /// *conflict*.
    UseCode { digest: CodeDigest, child: SessionId },
    /// Notes that a client is told of a session, once for each of them. If the session has ended already, the client is
    /// due to hear that now.
    Tell { session: SessionId, client: ClientId, subject: Box<str> },
    /// Removes that note: the client has heard of the end, or never will.
    Told { session: SessionId, client: ClientId },
    /// A try was in vain: there were this many, and the next is at this time. With `all` everything else that is due to
    /// the client waits until then, too.
    TellLater { session: SessionId, client: ClientId, tries: u32, at: Time, all: bool },
    /// Sets the scope that a user allows a client, all of it.
    AllowScope { user: UserId, client: ClientId, scope: Box<str> },
    /// Forgets what a user allows a client, with the codes that it has not redeemed, and ends its live sessions of that
    /// user and those under them; logs each. Condition: there is something to forget, otherwise *gone*.
    ForbidClient { user: UserId, client: ClientId },
    /// Inserts a pushed request. Condition: its client has fewer than [`PUSHED_MAX`](crate::oauth::pushed::PUSHED_MAX),
    /// otherwise *gone*.
    Push(Box<Pushed>),
    /// Uses up a pushed request. Condition: it is there and not expired, otherwise *conflict*.
    UsePushed(PushedDigest),
    /// Inserts a device that waits for its user. Conditions: its client has fewer than
    /// [`DEVICES_MAX`](crate::oauth::device::DEVICES_MAX), otherwise *gone*; no other shows its user code, otherwise
    /// *conflict*.
    BeginDevice(Box<Waiting>),
    /// A waiting device has asked: when it may ask next, and the interval from now on. Condition: it is there, and its next
    /// question was due at `before`, otherwise *conflict*.
    PollDevice { digest: CodeDigest, before: Time, next: (Time, Duration) },
    /// The user of a waiting device does not allow it. Condition: it is there, neither denied nor expired, otherwise
    /// *conflict*.
    DenyDevice(CodeDigest),
    /// A device waits no longer. Condition: as [`Self::DenyDevice`].
    EndDevice(CodeDigest),
    /// Inserts a client. Condition: the name is free, otherwise *conflict*.
    AddClient(Box<Client>),
    /// Inserts a client that registers itself. Condition: fewer than `most` have, otherwise *conflict*.
    RegisterClient { client: Box<Client>, most: u32 },
    /// Replaces a client's row. Conditions: it exists, otherwise *gone*; it is at the version that the client carries,
    /// otherwise *conflict*.
    SaveClient(Box<Client>),
    /// Removes a client, what users allowed it, and ends every live session that was opened for it, and those under them; logs each.
    /// Condition: it exists, otherwise *gone*.
    RemoveClient(ClientId),
    /// Inserts a key. Condition: its id is new, otherwise *conflict*.
    AddKey(Box<KeyRecord>),
    /// Withdraws a key. Condition: it exists and is not withdrawn, otherwise *gone*.
    WithdrawKey(KeyId),
    /// Removes a key that no verifier needs any more.
    RemoveKey(KeyId),
    /// Inserts an initial access token for registrations, by its digest.
    AddRegistrationToken { digest: SecretDigest, uses: u32, expires_at: Time },
    /// Uses one up once. Condition: it is there, has a use left and is not expired, otherwise *gone*.
    UseRegistrationToken(SecretDigest),
    /// Inserts an invitation by the digest of its code.
    AddInvitation { digest: [u8; 32], expires_at: Time },
    /// Uses an invitation. Condition: it is there and not expired, otherwise *gone*.
    UseInvitation { digest: [u8; 32] },
}

/// What must be written, on what condition, and what is said about it.
#[derive(Debug, Clone)]
pub struct Change {
    /// When it was decided.
    pub at: Time,
    /// The rows, in order.
    pub writes: Vec<Write>,
    /// Ids for the revocation log, besides those of the sessions that the writes end.
    pub entries: Vec<EntryId>,
    /// What the audit trail will say.
    pub events: Vec<Event>,
}

impl Change {
    /// An empty change, decided at `now`.
    pub const fn at(now: Time) -> Self {
        Self { at: now, writes: Vec::new(), entries: Vec::new(), events: Vec::new() }
    }

    /// Adds a row.
    pub fn write(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// Puts an id into the revocation log.
    pub fn end(&mut self, id: EntryId) {
        self.entries.push(id);
    }

    /// Puts the handle that a new generation replaces into the revocation log.
    pub fn end_handle(&mut self, old: Option<Name>) {
        self.entries.extend(old.map(|name| name.id().entry()));
    }

    /// Says what happened.
    pub fn record(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Whether there is nothing to commit.
    pub const fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.entries.is_empty() && self.events.is_empty()
    }
}
