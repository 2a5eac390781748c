//! Users: who can log in, with what, and since when their sessions count.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde_json::Value;

use crate::{
    audit::{Act, Event},
    change::{Change, Write},
    id::{KeyId, UserId},
    profile::{Profile, USERNAME},
    secret::SecretText,
    session::{Reason, Session, Version},
    time::Time,
};

/// A login name: 1 to 128 characters without spaces, control characters or characters that nobody sees, compared in
/// lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct Username(Box<str>);

/// The text is no login name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a username is 1 to 128 characters without spaces or control characters")]
pub struct InvalidUsername;

impl Username {
    /// The name in lower case, as it is stored and compared.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Username {
    type Err = InvalidUsername;

    fn from_str(text: &str) -> Result<Self, InvalidUsername> {
        // The length is checked in bytes first, so that a hostile text costs nothing.
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && !is_invisible(c);
        if text.is_empty() || text.len() > 512 || !text.chars().all(plain) {
            return Err(InvalidUsername);
        }
        let name = text.to_lowercase();
        if name.chars().count() > 128 { Err(InvalidUsername) } else { Ok(Self(name.into())) }
    }
}

/// Whether a character has no shape of its own: with it, two names look like one, or a name turns what stands around it.
const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A role's name as it stands in the `roles` claim: 1 to 64 of `a-z A-Z 0-9 . _ : / -`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct Role(Box<str>);

/// The text is no role name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is 1 to 64 of a-z A-Z 0-9 . _ : / -")]
pub struct InvalidRole;

impl Role {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Role {
    type Err = InvalidRole;

    fn from_str(text: &str) -> Result<Self, InvalidRole> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:/-".contains(&b);
        let valid = (1..=64).contains(&text.len()) && text.bytes().all(plain);
        valid.then(|| Self(text.into())).ok_or(InvalidRole)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Role {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Raised when all sessions of a user must end: a session that was begun under a lower epoch does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The most roles that one user can have, so that tokens stay small.
pub const ROLES_MAX: usize = 32;

/// One user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The `sub` claim.
    pub id: UserId,
    /// The row's version.
    pub version: Version,
    /// The login name.
    pub name: Username,
    /// The password's hash as a PHC string. It is of no use without the password, and still prints nothing.
    pub password: SecretText,
    /// What the user may do, by name.
    pub roles: BTreeSet<Role>,
    /// What applications are told about the user, as far as their scopes ask for it.
    pub profile: Profile,
    /// Sessions begun under a lower epoch do not count.
    pub epoch: Epoch,
    /// Since when the user may not log in.
    pub disabled_at: Option<Time>,
    /// When the user was added.
    pub added_at: Time,
}

/// How many sessions one commit ends at most; what is left is ended by the next.
pub const END_BATCH: u32 = 256;

impl User {
    /// A standard claim of the user, if there is one of this name and it is known.
    pub fn claim(&self, name: &str) -> Option<Value> {
        if name == USERNAME {
            return Some(self.name.as_str().into());
        }
        self.profile.get(name).cloned()
    }

    /// The decision to end all sessions of this user, or all but `keep` (and those under it). The epoch is raised in
    /// the same commit, so that a login which is under way is refused: nothing slips through between two batches.
    pub fn end_sessions(mut self, keep: Option<Session>, reason: Reason, now: Time) -> Change {
        let mut change = Change::at(now);
        self.epoch = self.epoch.next();
        let (user, except) = (self.id, keep.as_ref().map(|session| session.id));
        if let Some(mut session) = keep {
            if let Some(login) = &mut session.login {
                login.epoch = self.epoch;
            }
            change.write(Write::SaveSession(Box::new(session)));
        }
        change.write(Write::SaveUser(Box::new(self)));
        change.write(Write::EndSessionsOf { user, except, reason, most: END_BATCH });
        change.record(Event::of_user(Act::SessionsEnded(reason), user));
        change
    }

    /// The decision to change the password: every other session ends, and in `keep` every half of before dies, and
    /// every access token. The caller gives out the halves of after.
    pub fn change_password(
        mut self,
        hash: SecretText,
        keep: Option<Session>,
        key: KeyId,
        now: Time,
    ) -> (Change, Option<Session>) {
        let user = self.id;
        self.password = hash;
        let mut ended = Vec::new();
        let keep = keep.map(|mut session| {
            if session.cookie.is_some() {
                ended.extend(session.give_cookie(key).map(|name| name.id().entry()));
            }
            ended.push(session.close_families());
            session
        });
        let mut change = self.end_sessions(keep.clone(), Reason::PasswordChanged, now);
        change.entries.extend(ended);
        change.record(Event::of_user(Act::PasswordChanged, user));
        (change, keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_they_look_like() {
        for (text, name) in [
            ("User@Example.com", Some("user@example.com")),
            ("홍길동", Some("홍길동")),
            ("élodie", Some("élodie")),
            ("", None),
            ("two words", None),
            ("us\u{0}er", None),
            ("admin\u{200b}", None),
            ("admin\u{ad}", None),
            ("\u{202e}nimda", None),
            ("admin\u{2066}", None),
            ("admin\u{3164}", None),
            ("admin\u{e0041}", None),
        ] {
            let parsed = text.parse::<Username>().ok();
            assert_eq!(parsed.as_ref().map(Username::as_str), name, "{text:?}");
        }
    }
}
