//! Device authorization (RFC 8628): a device without a browser shows a short code, its user types that in a browser that is
//! logged in here, and the device, which asks again and again, gets its tokens.
//!
//! ```text
//! begun ──approved──► an authorization code, whose text the device has had from the beginning
//!   └────denied────► refused at every poll, until it is forgotten
//! ```
//!
//! An approval issues an authorization [code](crate::code) under the digest of the device code. From then on everything is
//! as with codes: it is of use once and to its client; used again, it ends what it got; it counts only while the browser
//! session lives that approved it. So the device's session is a *child of that browser session*. It could be one of its own
//! that outlives the browser, and it is not: whoever was talked into typing a code (section 5.4) ends what they gave away
//! by logging out, they see it under their browser in the list of their sessions, and there is no second kind of login
//! that one act does not end. The price is that a television is logged in no longer than the browser. Who wants more says
//! so, as every application does: with the scope `offline_access`, which the page names.
//!
//! Both codes rest as digests. A device code has 256 random bits. A user code has 34: it is found only by somebody who is
//! logged in, with few tries, and then it connects somebody else's device to *their* account.

use std::{fmt, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand_core::CryptoRng;

use crate::{
    change::{Change, Write},
    client::ClientId,
    code::{Asked, Code, CodeDigest},
    secret::{SecretBytes, SecretText, sha256},
    session::Session,
    time::Time,
};

/// How long a device waits for its user.
pub const LIFE: Duration = Duration::from_mins(10);

/// How long a device waits between two questions (section 3.2), to begin with.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// How much longer a device waits that asked too early (section 3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// No device waits longer than this.
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// By how much a question may be early: not every answer takes equally long to arrive.
const JITTER: Duration = Duration::from_secs(1);

/// How many devices of one client wait. More are refused until some are done, or have expired.
pub const DEVICES_MAX: u32 = 10_000;

const PREFIX: &str = "symd_";

/// Consonants, which make no words; no two of them look alike (section 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// How many letters a user code has.
const USER_CODE_LETTERS: usize = 8;

/// What the user of a device types. Prints nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct UserCode(SecretBytes<USER_CODE_LETTERS>);

impl UserCode {
    /// Draws one.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut letters = [0; USER_CODE_LETTERS];
        for letter in &mut letters {
            let mut byte = [u8::MAX];
            // Each letter is as likely as any other.
            while byte[0] >= 240 {
                rng.fill_bytes(&mut byte);
            }
            *letter = LETTERS[usize::from(byte[0] % 20)];
        }
        Self(SecretBytes::new(letters))
    }

    /// Reads what somebody typed: small letters, blanks and hyphens do no harm.
    ///
    /// ```
    /// use symbolon_core::oauth::device::UserCode;
    /// let code = UserCode::parse("wdjb mjht").unwrap();
    /// assert_eq!(code.text().expose(), "WDJB-MJHT");
    /// assert!(UserCode::parse("WDJB-MJH").is_none());
    /// assert!(UserCode::parse("ABCD-EFGH").is_none());
    /// ```
    pub fn parse(typed: &str) -> Option<Self> {
        let mut letters = [0; USER_CODE_LETTERS];
        let plain = |byte: &u8| !matches!(byte, b'-' | b' ');
        let mut typed = typed.bytes().filter(plain).map(|byte| byte.to_ascii_uppercase());
        for letter in &mut letters {
            *letter = typed.next().filter(|byte| LETTERS.contains(byte))?;
        }
        typed.next().is_none().then(|| Self(SecretBytes::new(letters)))
    }

    /// As it is shown: two groups of four.
    pub fn text(&self) -> SecretText {
        let letters: String = self.0.expose().iter().copied().map(char::from).collect();
        let (first, second) = letters.split_at(USER_CODE_LETTERS / 2);
        SecretText::new(format!("{first}-{second}"))
    }

    /// All of it that rests.
    pub fn digest(&self) -> UserCodeDigest {
        UserCodeDigest(sha256(self.0.expose()))
    }
}

impl fmt::Debug for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserCode")
    }
}

/// SHA-256 of a user code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserCodeDigest([u8; 32]);

impl UserCodeDigest {
    /// The digest whose bytes these are.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, as they rest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A device that waits for its user, as it rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Of the device code.
    pub digest: CodeDigest,
    /// Of the user code.
    pub user_code: UserCodeDigest,
    /// Whose device it is.
    pub client: ClientId,
    /// What of the asked scope the client may have.
    pub scope: Box<str>,
    /// For which resource server, where it is not the client's first.
    pub resource: Option<Box<str>>,
    /// From when it waits in vain.
    pub expires_at: Time,
    /// How long it waits between two questions.
    pub interval: Duration,
    /// Before then the next question is too early.
    pub next_at: Time,
    /// Whether its user said no.
    pub denied: bool,
}

/// Both codes of a device, which are told this once.
#[derive(Debug)]
pub struct Codes {
    /// What the device asks with.
    pub device: SecretText,
    /// What its user types.
    pub user: UserCode,
}

/// What a device hears that must go on waiting, or need not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// `authorization_pending`.
    Pending,
    /// `slow_down`: too early, and from now on the interval is longer.
    SlowDown,
}

/// Why a device waits no longer. Nothing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Over {
    /// `invalid_grant`: it is another client's device.
    #[error("the device code belongs to another client")]
    OtherClient,
    /// `access_denied`.
    #[error("the user said no")]
    Denied,
    /// `expired_token`.
    #[error("the device code has expired")]
    Expired,
}

impl Waiting {
    /// Takes a device of a client that has said or proven who it is.
    pub fn begin(
        client: &ClientId,
        (scope, resource): (Box<str>, Option<Box<str>>),
        now: Time,
        rng: &mut impl CryptoRng,
    ) -> (Change, Codes) {
        let secret = SecretBytes::<32>::random(rng);
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret.expose()));
        let codes = Codes { device: SecretText::new(text), user: UserCode::random(rng) };
        let waiting = Self {
            digest: CodeDigest::of(&codes.device),
            user_code: codes.user.digest(),
            client: client.clone(),
            scope,
            resource,
            expires_at: now + LIFE,
            interval: INTERVAL,
            next_at: now,
            denied: false,
        };
        let mut change = Change::at(now);
        change.write(Write::BeginDevice(Box::new(waiting)));
        (change, codes)
    }

    /// Whether its user can still decide.
    pub fn is_open(&self, now: Time) -> bool {
        !self.denied && now < self.expires_at
    }

    /// A question of the device: what it hears, once the change is committed.
    ///
    /// # Errors
    /// [`Over`].
    pub fn poll(&self, client: &ClientId, now: Time) -> Result<(Change, Heard), Over> {
        if self.client != *client {
            return Err(Over::OtherClient);
        } else if now >= self.expires_at {
            return Err(Over::Expired);
        } else if self.denied {
            return Err(Over::Denied);
        }
        let (heard, interval) = if now + JITTER < self.next_at {
            (Heard::SlowDown, (self.interval + SLOWER).min(INTERVAL_MAX))
        } else {
            (Heard::Pending, self.interval)
        };
        let mut change = Change::at(now);
        let next = (now + interval, interval);
        change.write(Write::PollDevice { digest: self.digest, before: self.next_at, next });
        Ok((change, heard))
    }

    /// Its user allows it, in a browser session that is in good [standing](Session::standing); `allowed` is all that they
    /// allow the client from now on. `None`: nobody has logged in, or the session is an app's own, which authorises
    /// nothing, or it is too late.
    pub fn approve(&self, session: &Session, allowed: Box<str>, now: Time) -> Option<Change> {
        let login = session.login.as_ref().filter(|_| session.parent.is_none())?;
        if !self.is_open(now) {
            return None;
        }
        let client = self.client.clone();
        let (scope, resources) = (self.scope.clone(), self.resource.as_deref().into());
        let code = Code {
            digest: self.digest,
            client: client.clone(),
            // No browser is sent anywhere with it: the empty URI is none that a client could name.
            asked: Asked { scope, resources, ..Asked::default() },
            session: session.id,
            epoch: login.epoch,
            expires_at: self.expires_at,
            child: None,
        };
        let mut change = Change::at(now);
        change.write(Write::EndDevice(self.digest));
        change.write(Write::AllowScope { user: login.user, client, scope: allowed });
        change.write(Write::IssueCode { code: Box::new(code), version: session.version });
        Some(change)
    }

    /// Its user does not allow it.
    pub fn deny(&self, now: Time) -> Change {
        let mut change = Change::at(now);
        change.write(Write::DenyDevice(self.digest));
        change
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;

    const NOW: Time = Time::from_secs(1_000_000);

    fn begun() -> (Waiting, Codes) {
        let client = "tv".parse().unwrap();
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let (change, codes) = Waiting::begin(&client, ("openid".into(), None), NOW, &mut rng);
        let [Write::BeginDevice(waiting)] = &change.writes[..] else { panic!("{change:?}") };
        ((**waiting).clone(), codes)
    }

    #[test]
    fn codes_rest_as_digests_and_print_nothing() {
        let (waiting, codes) = begun();
        assert_eq!(waiting.digest, CodeDigest::of(&codes.device));
        assert_eq!(waiting.user_code, codes.user.digest());
        let printed = format!("{codes:?}");
        assert!(!printed.contains(codes.user.text().expose()) && !printed.contains(PREFIX));
    }

    #[test]
    fn every_letter_is_drawn_and_read_again() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let code = UserCode::random(&mut rng);
            let text = code.text();
            seen.extend(text.expose().bytes().filter(|byte| *byte != b'-'));
            assert_eq!(UserCode::parse(&text.expose().to_lowercase()), Some(code));
        }
        assert_eq!(seen.len(), LETTERS.len());
        for wrong in ["", "BCDF-GHJ", "BCDF-GHJKL", "BCDF-GHJA", "BCDF-GHJ\u{212a}", "BCDF_GHJK"] {
            assert_eq!(UserCode::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_polling_interval_is_enforced() {
        let (mut waiting, _) = begun();
        let mut now = NOW;
        for (after_ms, heard, interval_secs) in [
            (0, Heard::Pending, 5),
            (4_500, Heard::Pending, 5),
            (1_000, Heard::SlowDown, 10),
            (5_000, Heard::SlowDown, 15),
            (15_000, Heard::Pending, 15),
            (0, Heard::SlowDown, 20),
            (0, Heard::SlowDown, 25),
        ] {
            now = now + Duration::from_millis(after_ms);
            let (change, got) = waiting.poll(&waiting.client, now).unwrap();
            let [Write::PollDevice { before, next, .. }] = &change.writes[..] else {
                panic!("{change:?}")
            };
            assert_eq!((got, next.1.as_secs(), *before), (heard, interval_secs, waiting.next_at));
            (waiting.next_at, waiting.interval) = *next;
        }
        for _ in 0..20 {
            let (change, _) = waiting.poll(&waiting.client, now).unwrap();
            let [Write::PollDevice { next, .. }] = &change.writes[..] else { panic!("{change:?}") };
            (waiting.next_at, waiting.interval) = *next;
        }
        assert_eq!(waiting.interval, INTERVAL_MAX);
    }

    #[test]
    fn what_is_over() {
        let (waiting, _) = begun();
        let denied = Waiting { denied: true, ..waiting.clone() };
        let late = NOW + LIFE;
        for (waiting, client, at, over) in [
            (&waiting, "other", NOW, Over::OtherClient),
            (&waiting, "other", late, Over::OtherClient),
            (&waiting, "tv", late, Over::Expired),
            (&denied, "tv", NOW, Over::Denied),
        ] {
            let polled = waiting.poll(&client.parse().unwrap(), at);
            assert_eq!(polled.err(), Some(over));
        }
        assert!(waiting.is_open(NOW) && !waiting.is_open(late) && !denied.is_open(NOW));
    }
}
