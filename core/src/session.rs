//! Sessions: one login of one user on one device or in one app; or a visitor without a user.
//!
//! A [`Session`] is always alive. Ending one consumes it and leaves a tombstone at the store, so that a late writer
//! learns "gone". Its id stays for life: only when the *user* changes is there a new session with a new id. At every
//! other change of privilege the generation of its cookie moves, and the old one's id goes into the revocation log.
//!
//! ```text
//! visitor ──login──► authenticated ──step up──► authenticated (higher assurance)
//!    │                    │                          │
//!    └──────────────── end, idle limit, absolute limit ──────────► ended
//! ```

use std::time::Duration;

use aws_lc_rs::digest;
use rand_core::CryptoRng;

use crate::{
    audit::{Act, Event},
    change::{Change, Write},
    client::ClientId,
    family::{Families, Family, NewFamily},
    handle::{FamilyNumber, Generation, Kind, Name, Proven, Salt},
    id::{EntryId, KeyId, SessionId, TokenId, UserId},
    time::Time,
    user::{Epoch, User},
};

/// How often a row was written. A write names the version it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u64);

impl Version {
    /// The version of a row that was just inserted.
    pub const FIRST: Self = Self(1);

    /// The version after one more write.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// How sure we are who it is (NIST SP 800-63B-4): the `acr` claim.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Assurance {
    /// One factor.
    Aal1,
    /// Two factors.
    Aal2,
}

impl Assurance {
    /// Every level there is, the lowest first.
    pub const ALL: [Self; 2] = [Self::Aal1, Self::Aal2];

    /// The `acr` value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aal1 => "aal1",
            Self::Aal2 => "aal2",
        }
    }
}

/// How a user proved who they are: an `amr` value of RFC 8176.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// A password.
    Pwd,
    /// A one-time password.
    Otp,
    /// A key held in hardware.
    Hwk,
}

/// What the user of a session proved, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Who.
    pub user: UserId,
    /// The user's epoch when the proof began. The store refuses a session whose epoch is behind the user's.
    pub epoch: Epoch,
    /// The `auth_time` claim.
    pub at: Time,
    /// The `amr` claim.
    pub methods: Vec<Method>,
    /// The `acr` claim.
    pub assurance: Assurance,
    /// Whether the user asked to be remembered on this device.
    pub remembered: bool,
}

/// Where a session is, for the eyes of its owner.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Device {
    /// What a person calls it, such as `Firefox · Linux`.
    pub label: Box<str>,
    /// The `User-Agent` header, at most 256 bytes of it.
    pub user_agent: Box<str>,
    /// The address it was last proven from.
    pub address: std::net::IpAddr,
}

/// How long a session lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long it may be silent.
    pub idle: Duration,
    /// When it ends in any case. Nothing moves it.
    pub ends_at: Time,
}

impl Limits {
    /// Whether a session that was last seen at `seen_at` is within its limits at `now`.
    ///
    /// # Errors
    /// [`Lapse::Expired`] or [`Lapse::Idle`].
    pub fn standing(&self, seen_at: Time, now: Time) -> Result<(), Lapse> {
        if now >= self.ends_at {
            return Err(Lapse::Expired);
        }
        if now.since(seen_at) >= self.idle { Err(Lapse::Idle) } else { Ok(()) }
    }
}

/// How long sessions of each kind live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// A visitor may be silent this long, and lives no longer.
    pub visitor: Duration,
    /// A login may be silent this long.
    pub idle: Duration,
    /// A login lives no longer.
    pub absolute: Duration,
    /// The same two for a user who asked to be remembered.
    pub remembered_idle: Duration,
    /// See `remembered_idle`.
    pub remembered_absolute: Duration,
}

impl Lifetimes {
    /// The limits of a [detached](Session::detached) session.
    pub fn detached(&self, now: Time) -> Limits {
        Limits { idle: self.remembered_idle, ends_at: now + self.remembered_absolute }
    }

    fn limits(&self, login: Option<&Login>, now: Time) -> Limits {
        let (idle, absolute) = match login {
            None => (self.visitor, self.visitor),
            Some(login) if login.remembered => (self.remembered_idle, self.remembered_absolute),
            Some(_) => (self.idle, self.absolute),
        };
        Limits { idle, ends_at: now + absolute }
    }
}

/// A century: longer than any server runs.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The session cookie that is current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookie {
    /// It moves at every change of privilege.
    pub generation: Generation,
    /// The key that made it.
    pub key: KeyId,
}

/// A session that is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The `sid` claim. Public.
    pub id: SessionId,
    /// The row's version.
    pub version: Version,
    /// The browser session that authorised this app's session. Ending it ends this one.
    pub parent: Option<SessionId>,
    /// The app's session that asked for tokens which outlive the login: they are this one's, which is nobody's child.
    pub granted_by: Option<SessionId>,
    /// The client that it was opened for.
    pub client: ClientId,
    /// Who logged in, and how; `None` for a visitor.
    pub login: Option<Login>,
    /// Where it is.
    pub device: Device,
    /// When it was opened.
    pub opened_at: Time,
    /// When it was last proven; written only when it moved by 1/16 of the idle limit.
    pub seen_at: Time,
    /// How long it lives.
    pub limits: Limits,
    /// Enters the proof of every handle.
    pub salt: Salt,
    /// The session cookie, if a browser holds one.
    pub cookie: Option<Cookie>,
    /// The refresh tokens.
    pub families: Families,
}

/// What a new session needs to know.
#[derive(Debug, Clone)]
pub struct Opening {
    /// The client that it is for.
    pub client: ClientId,
    /// The session that authorises it.
    pub parent: Option<SessionId>,
    /// Where it is.
    pub device: Device,
}

/// Why a session ended, or is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The user ended it.
    Logout,
    /// The user ended it from another device.
    EndedByUser,
    /// An administrator ended it.
    EndedByAdmin,
    /// Another session of the same browser took its place.
    Replaced,
    /// The password was changed elsewhere.
    PasswordChanged,
    /// The user was disabled.
    UserDisabled,
    /// The client was removed or disabled.
    ClientRemoved,
    /// An old refresh token came back.
    Theft,
    /// It was silent too long.
    Idle,
    /// It reached its absolute limit.
    Expired,
    /// The user has more sessions than the limit, and this one was the oldest.
    TooMany,
    /// The store was restored from a backup.
    Restored,
}

impl Reason {
    /// The stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::EndedByUser => "ended_by_user",
            Self::EndedByAdmin => "ended_by_admin",
            Self::Replaced => "replaced",
            Self::PasswordChanged => "password_changed",
            Self::UserDisabled => "user_disabled",
            Self::ClientRemoved => "client_removed",
            Self::Theft => "theft",
            Self::Idle => "idle",
            Self::Expired => "expired",
            Self::TooMany => "too_many",
            Self::Restored => "restored",
        }
    }

    /// The reason whose code this is.
    pub fn parse(code: &str) -> Option<Self> {
        use Reason::*;
        let all = [
            Logout,
            EndedByUser,
            EndedByAdmin,
            Replaced,
            PasswordChanged,
            UserDisabled,
            ClientRemoved,
            Theft,
            Idle,
            Expired,
            TooMany,
            Restored,
        ];
        all.into_iter().find(|reason| reason.as_str() == code)
    }
}

/// Why a live row does not count now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lapse {
    /// Silent too long. A copy may be behind: ask the store before refusing.
    #[error("the session was silent too long")]
    Idle,
    /// The absolute limit.
    #[error("the session reached its absolute limit")]
    Expired,
    /// The user is disabled, or the session was begun under a lower epoch.
    #[error("the user's sessions were ended")]
    User,
    /// The generation of the cookie is behind: there was a change of privilege.
    #[error("the session cookie was renewed")]
    Renewed,
    /// The generation is ahead of the row: a copy is old, or history was lost.
    #[error("the handle is newer than the session's row")]
    Ahead,
}

impl Session {
    /// A session for somebody who has not logged in, with a cart perhaps.
    pub fn visitor(
        opening: Opening,
        cookie: KeyId,
        lifetimes: &Lifetimes,
        now: Time,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let mut session = Self::open(opening, None, lifetimes, now, rng);
        session.give_cookie(cookie);
        session
    }

    /// A visitor's session that an application's own cookie stands for: its client opens it under a name
    /// ([`ClientId::session_named`]), and no browser gets the session cookie, which tells it from a machine's.
    pub fn visitor_named(
        name: &str,
        opening: Opening,
        cookie: KeyId,
        lifetimes: &Lifetimes,
        now: Time,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let id = opening.client.session_named(name);
        Self { id, ..Self::visitor(opening, cookie, lifetimes, now, rng) }
    }

    /// A session for a user who has just proven who they are. It always has a new id.
    pub fn authenticated(
        opening: Opening,
        login: Login,
        lifetimes: &Lifetimes,
        now: Time,
        rng: &mut impl CryptoRng,
    ) -> Self {
        Self::open(opening, Some(login), lifetimes, now, rng)
    }

    /// The session of a machine client, which acts for itself. It is opened and ended and never runs out.
    pub fn machine(client: ClientId, device: Device, now: Time, rng: &mut impl CryptoRng) -> Self {
        let opening = Opening { client, parent: None, device };
        let limits = Limits { idle: FOREVER, ends_at: now + FOREVER };
        Self::with(opening, None, limits, now, rng)
    }

    /// The session of an app that a browser session authorises. It proves what the parent proved, is where the parent
    /// is, and lives no longer. Whoever opens it gives it a cookie or tokens of its own.
    pub fn child(
        parent: &Self,
        client: ClientId,
        login: Login,
        now: Time,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let device = parent.device.clone();
        let opening = Opening { client, parent: Some(parent.id), device };
        Self::with(opening, Some(login), parent.limits, now, rng)
    }

    /// The session of the tokens that an app keeps when its user has logged out (OpenID Connect Core, section 11). It
    /// proves what the app's session proves, never has a cookie, and lives as long as a login that is remembered. The
    /// browser's logout leaves it alone; whatever ends all of the user's sessions ends it, too.
    pub fn detached(
        child: &Self,
        login: Login,
        lifetimes: &Lifetimes,
        now: Time,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let (client, device) = (child.client.clone(), child.device.clone());
        let opening = Opening { client, parent: None, device };
        let limits = lifetimes.detached(now);
        Self { granted_by: Some(child.id), ..Self::with(opening, Some(login), limits, now, rng) }
    }

    fn open(
        opening: Opening,
        login: Option<Login>,
        lifetimes: &Lifetimes,
        now: Time,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let limits = lifetimes.limits(login.as_ref(), now);
        Self::with(opening, login, limits, now, rng)
    }

    fn with(
        opening: Opening,
        login: Option<Login>,
        limits: Limits,
        now: Time,
        rng: &mut impl CryptoRng,
    ) -> Self {
        Self {
            id: SessionId::random(rng),
            version: Version::FIRST,
            parent: opening.parent,
            granted_by: None,
            client: opening.client,
            limits,
            login,
            device: opening.device,
            opened_at: now,
            seen_at: now,
            salt: Salt::random(rng),
            cookie: None,
            families: Families::default(),
        }
    }

    /// Whether the session counts at `now`, given when it was last seen (by the row or by the process that asks) and its
    /// user's row. Says nothing about its parent, which is a row and an entry of its own.
    ///
    /// # Errors
    /// The [`Lapse`] that makes it not count.
    pub fn standing(&self, seen_at: Time, user: Option<&User>, now: Time) -> Result<(), Lapse> {
        self.limits.standing(seen_at.max(self.seen_at), now)?;
        let Some(login) = &self.login else { return Ok(()) };
        let counts = |user: &User| {
            user.id == login.user && login.epoch >= user.epoch && user.disabled_at.is_none()
        };
        if user.is_some_and(counts) { Ok(()) } else { Err(Lapse::User) }
    }

    /// The id that ID tokens name: what its client is told of when the login is over.
    pub fn told_as(&self) -> SessionId {
        self.granted_by.unwrap_or(self.id)
    }

    /// Whether a proven cookie is the current one.
    ///
    /// # Errors
    /// [`Lapse::Renewed`] for an older generation, which never leads to the new one; [`Lapse::Ahead`] for a newer.
    pub fn admits(&self, cookie: Proven) -> Result<(), Lapse> {
        let current = self.cookie.map_or(Generation(0), |cookie| cookie.generation);
        match cookie.name().generation.cmp(&current) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Less => Err(Lapse::Renewed),
            std::cmp::Ordering::Greater => Err(Lapse::Ahead),
        }
    }

    /// The name of the current session cookie.
    pub fn cookie_name(&self) -> Option<Name> {
        let generation = self.cookie?.generation;
        Some(Name {
            kind: Kind::Cookie,
            session: self.id,
            family: FamilyNumber::COOKIE,
            generation,
        })
    }

    /// Gives the browser a cookie, or a new generation of the one it has. Returns the name of the one that dies: its id
    /// belongs into the log.
    pub fn give_cookie(&mut self, key: KeyId) -> Option<Name> {
        let old = self.cookie_name();
        let generation = self.cookie.map_or(Generation::FIRST, |cookie| cookie.generation.next());
        self.cookie = Some(Cookie { generation, key });
        old
    }

    /// Opens a token family for an app of this login.
    pub fn open_family(&mut self, new: NewFamily) -> FamilyNumber {
        self.families.open(new)
    }

    /// The id of the access token that goes with a family's current generation. It follows from the row, so a repeat
    /// carries the same `jti`.
    pub fn token_of(&self, family: &Family) -> TokenId {
        let own = self.token_part(b"symbolon jti\0", family.handle(self.id).id().as_bytes());
        TokenId::in_era(self.era(), own)
    }

    /// An id for an access token that goes with no family.
    pub fn token_alone(&self, rng: &mut impl CryptoRng) -> TokenId {
        let mut own = [0; 8];
        rng.fill_bytes(&mut own);
        TokenId::in_era(self.era(), own)
    }

    /// Whether an access token of this session was given since its families were [closed](Self::close_families) last.
    pub fn is_of_era(&self, token: TokenId) -> bool {
        token.era(self.id) == TokenId::in_era(self.era(), [0; 8]).era(self.id)
    }

    /// Closes every token family. Returns the id that ends all access tokens given until now: it belongs into the log.
    pub fn close_families(&mut self) -> EntryId {
        let ended = TokenId::in_era(self.era(), [0; 8]).era(self.id);
        self.families.close_all();
        ended
    }

    /// What the ids of all access tokens begin with until the families close.
    fn era(&self) -> [u8; 8] {
        self.token_part(b"symbolon era\0", &self.families.era().to_be_bytes())
    }

    fn token_part(&self, what: &[u8], of: &[u8]) -> [u8; 8] {
        let mut hash = digest::Context::new(&digest::SHA256);
        for part in [what, self.salt.expose(), of] {
            hash.update(part);
        }
        let mut part = [0; 8];
        part.copy_from_slice(&hash.finish().as_ref()[..8]);
        part
    }

    /// Raises what the user proved: `auth_time` is now, the cookie's generation moves, the old half dies.
    #[must_use]
    pub fn step_up(
        mut self,
        method: Method,
        assurance: Assurance,
        key: KeyId,
        now: Time,
    ) -> Change {
        let mut change = Change::at(now);
        if let Some(login) = &mut self.login {
            login.at = now;
            login.assurance = login.assurance.max(assurance);
            if !login.methods.contains(&method) {
                login.methods.push(method);
            }
        }
        self.seen_at = now;
        if self.cookie.is_some() {
            change.end_handle(self.give_cookie(key));
        }
        change.record(Event::of_session(Act::SteppedUp, &self));
        change.write(Write::SaveSession(Box::new(self)));
        change
    }

    /// Its user logs in again in the same browser: one login goes on, with its id and the apps under it, as if it began
    /// now. The cookie's generation moves, the old half dies. Returns it as it is after the change.
    ///
    /// `login` is of the same user.
    #[must_use]
    pub fn log_in_again(
        mut self,
        login: Login,
        lifetimes: &Lifetimes,
        key: KeyId,
        now: Time,
    ) -> (Change, Self) {
        let mut change = Change::at(now);
        self.limits = lifetimes.limits(Some(&login), now);
        self.login = Some(login);
        self.seen_at = now;
        change.end_handle(self.give_cookie(key));
        change.record(Event::of_session(Act::LoggedIn, &self));
        change.write(Write::SaveSession(Box::new(self.clone())));
        (change, self)
    }

    /// Notes when it was seen, by whoever says so. Nothing that is seen after it was over wakes it.
    pub fn see(&mut self, at: Time) {
        if at.since(self.seen_at) < self.limits.idle && at < self.limits.ends_at {
            self.seen_at = self.seen_at.max(at);
        }
    }

    /// Whether being seen at `now` is worth a write: it moved by 1/16 of the idle limit.
    pub fn touch_is_due(&self, now: Time) -> bool {
        now.since(self.seen_at) >= self.limits.idle / 16
    }

    /// The decision to end this session, and every session under it.
    pub fn end(&self, reason: Reason, now: Time) -> Change {
        let mut change = Change::at(now);
        change.record(Event::of_session(Act::SessionEnded(reason), self));
        change.write(Write::EndSession { id: self.id, reason });
        change
    }
}
