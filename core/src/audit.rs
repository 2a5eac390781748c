//! The audit trail: what happened, to whom, by whom. It carries ids and never a secret.

use crate::{
    client::ClientId,
    id::{SessionId, UserId},
    session::{Reason, Session},
};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A user was added.
    UserAdded,
    /// Somebody registered under a name that is taken.
    NameTaken,
    /// A user logged in.
    LoggedIn,
    /// A visitor's session was opened.
    VisitorOpened,
    /// A machine client's session was opened.
    MachineOpened,
    /// A session was ended.
    SessionEnded(Reason),
    /// All sessions of a user, or all but one, were ended.
    SessionsEnded(Reason),
    /// One access token was ended.
    TokenEnded,
    /// The user proved more.
    SteppedUp,
    /// A browser session opened a session for an application, or gave it a new cookie.
    Authorized,
    /// A service got a token to act for the user of a session.
    Exchanged,
    /// A user took back what an application was allowed.
    AppForbidden,
    /// A login was handed over to another half.
    HandedOver,
    /// A refresh token was rotated after history was lost: the presented one was newer than the row.
    Adopted,
    /// The password was changed.
    PasswordChanged,
    /// A user's row was changed by an administrator.
    UserChanged,
    /// A client was added, changed or removed.
    ClientChanged,
    /// A key was made, withdrawn or removed.
    KeyChanged,
    /// An invitation was made or used.
    InvitationChanged,
    /// A client could not be told of the end of a session, and nobody tries any more.
    LogoutNotDelivered,
}

impl Act {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UserAdded => "user.added",
            Self::NameTaken => "user.name_taken",
            Self::LoggedIn => "session.logged_in",
            Self::VisitorOpened => "session.visitor_opened",
            Self::MachineOpened => "session.machine_opened",
            Self::SessionEnded(_) => "session.ended",
            Self::SessionsEnded(_) => "user.sessions_ended",
            Self::TokenEnded => "token.ended",
            Self::SteppedUp => "session.stepped_up",
            Self::Authorized => "session.authorized",
            Self::Exchanged => "session.exchanged",
            Self::AppForbidden => "user.app_forbidden",
            Self::HandedOver => "session.handed_over",
            Self::Adopted => "session.adopted",
            Self::PasswordChanged => "user.password_changed",
            Self::UserChanged => "user.changed",
            Self::ClientChanged => "client.changed",
            Self::KeyChanged => "key.changed",
            Self::InvitationChanged => "invitation.changed",
            Self::LogoutNotDelivered => "client.logout_not_delivered",
        }
    }

    /// Why, where there is a reason.
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::SessionEnded(reason) | Self::SessionsEnded(reason) => Some(*reason),
            _ => None,
        }
    }
}

/// One entry of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub act: Act,
    /// Whose session or account it concerns.
    pub user: Option<UserId>,
    /// Which session it concerns.
    pub session: Option<SessionId>,
    /// Which client it concerns.
    pub client: Option<ClientId>,
}

impl Event {
    /// Something that happened to a session.
    pub fn of_session(act: Act, session: &Session) -> Self {
        let user = session.login.as_ref().map(|login| login.user);
        Self { act, user, session: Some(session.id), client: Some(session.client.clone()) }
    }

    /// Something that happened to a user.
    pub const fn of_user(act: Act, user: UserId) -> Self {
        Self { act, user: Some(user), session: None, client: None }
    }

    /// Something that happened to a client.
    pub const fn of_client(act: Act, client: ClientId) -> Self {
        Self { act, user: None, session: None, client: Some(client) }
    }

    /// Something that happened to the server itself.
    pub const fn of_server(act: Act) -> Self {
        Self { act, user: None, session: None, client: None }
    }
}
