//! Authorization codes (RFC 6749, section 4.1): how a browser that is logged in here gets a session of its own at an
//! application on another host.
//!
//! The server hands the browser a code, and the application redeems it, server to server, for a *child session*: it has
//! a cookie or tokens of its own and dies with the browser session that authorised it. A code is bound to its client, to the
//! redirect URI, to the browser (by the PKCE challenge of RFC 7636, `S256` alone, whose verifier the application keeps
//! for that browser) and to the session and epoch under which it was issued.
//!
//! | presented | decision |
//! |---|---|
//! | fits, unused, in time, parent alive | the child session, with a new cookie or a new token family |
//! | fits, used before | refused, and what it got must end (RFC 6749, section 4.1.2) |
//! | another client, redirect URI or verifier | refused, without effect |
//!
//! What does not fit has no effect: whoever saw a code in a log or an address bar can neither spend it, nor spoil it for
//! the browser that waits for it, nor end what it got. A verifier has 256 bits, so a failed try teaches nothing.

use std::{fmt, str::FromStr, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;

use crate::{
    audit::{Act, Event},
    change::{Change, Write},
    client::ClientId,
    family::NewFamily,
    handle::FamilyNumber,
    id::{KeyId, SessionId, Text},
    oauth::{jwk::Thumbprint, pushed::PushedDigest},
    secret::{SecretBytes, SecretText, sha256},
    session::{Lifetimes, Login, Reason, Session},
    time::Time,
    user::{Epoch, User},
};

/// How long a code can be redeemed. An application redeems it while the browser waits.
pub const LIFE: Duration = Duration::from_secs(60);

/// How many codes of one session rest. One more removes the oldest, used or not.
pub const CODES_MAX: u32 = 32;

const PREFIX: &str = "syma_";

/// SHA-256 of a code: all of it that rests. The code has 256 random bits, so nothing slower is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeDigest([u8; 32]);

impl CodeDigest {
    /// The digest of a presented code, whatever was presented.
    pub fn of(code: &SecretText) -> Self {
        Self(sha256(code.expose().as_bytes()))
    }

    /// The digest whose bytes these are.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, as they rest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The text is no `S256` challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a code challenge is the SHA-256 of the verifier: 43 characters of unpadded base64url")]
pub struct InvalidChallenge;

/// A PKCE challenge, method `S256` (RFC 7636, section 4.2).
///
/// ```
/// use symbolon_core::{code::Challenge, secret::SecretText};
/// // The example of RFC 7636, appendix B.
/// let challenge: Challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".parse()?;
/// let verifier = |text: &str| SecretText::new(text.to_owned());
/// assert!(challenge.is_of(&verifier("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")));
/// assert!(!challenge.is_of(&verifier("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")));
/// # Ok::<(), symbolon_core::code::InvalidChallenge>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge([u8; 32]);

impl Challenge {
    /// The challenge whose bytes these are.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, as they rest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `verifier` is well formed (43 to 128 unreserved characters) and the one that the challenge was made of.
    pub fn is_of(&self, verifier: &SecretText) -> bool {
        let text = verifier.expose().as_bytes();
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
        (43..=128).contains(&text.len())
            && text.iter().all(plain)
            && bool::from(self.0.ct_eq(&sha256(text)))
    }
}

impl serde::Serialize for Challenge {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> serde::Deserialize<'de> for Challenge {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for Challenge {
    type Err = InvalidChallenge;

    fn from_str(text: &str) -> Result<Self, InvalidChallenge> {
        let mut bytes = [0; 32];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(32) => Ok(Self(bytes)),
            _ => Err(InvalidChallenge),
        }
    }
}

/// A code, as it rests.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    /// Which one.
    pub digest: CodeDigest,
    /// Who may redeem it.
    pub client: ClientId,
    /// What it was asked for.
    pub asked: Asked,
    /// The browser session that authorised it.
    pub session: SessionId,
    /// The epoch of that session then. What ends the user's sessions ends their codes.
    pub epoch: Epoch,
    /// From when it cannot be redeemed.
    pub expires_at: Time,
    /// The session that it got, once it was used.
    pub child: Option<SessionId>,
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (client, session) = (&self.client, &self.session);
        f.debug_struct("Code").field("client", client).field("session", session).finish()
    }
}

/// What of an authorization request matters when its code is redeemed.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asked {
    /// Where the browser was sent with the code: one of the client's URIs, which the edge has checked.
    pub redirect_uri: Box<str>,
    /// What the browser's verifier must fit. None: the request had none, and the code is redeemed without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<Challenge>,
    /// What of the asked scope the client [may have](crate::client::Client::scope), separated by spaces.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub scope: Box<str>,
    /// What the ID token repeats (OpenID Connect Core, section 3.1.2.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<Box<str>>,
    /// For which resource server (RFC 8707), where it is not the client's first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<Box<str>>,
    /// The key that whoever redeems the code must prove to hold (`dpop_jkt`: RFC 9449, section 10).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Thumbprint>,
}

/// What a client asks a code for.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The client.
    pub client: &'a ClientId,
    /// What it asks for.
    pub asked: Asked,
    /// What the user allows it from now on, all of it, if somebody was asked.
    pub allowed: Option<Box<str>>,
    /// The pushed request that this is: it is used up.
    pub pushed: Option<PushedDigest>,
}

/// What a redeemed code gives to the client.
#[derive(Debug, Clone)]
pub enum Gives {
    /// A session cookie for its own host, made with this key. The one before dies.
    Cookie(KeyId),
    /// A token family. Those before stay: each app, and each of its tabs, may have one.
    Tokens(NewFamily),
    /// A token family that outlives the login: of a [detached](Session::detached) session, which the client has beside
    /// the app's own, or which is opened now.
    Offline(NewFamily, Option<Box<Session>>, Lifetimes),
}

/// What was decided of a code that may be redeemed.
#[derive(Debug, Clone)]
pub struct Redeemed {
    /// To be committed before anything is answered.
    pub change: Change,
    /// The session that has the cookie or the family, as it is after the change.
    pub session: Session,
    /// The new token family.
    pub family: Option<FamilyNumber>,
}

/// One presentation of a code, by a client that has authenticated.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// The client.
    pub client: &'a ClientId,
    /// The redirect URI of the request (RFC 6749, section 4.1.3).
    pub redirect_uri: &'a str,
    /// The verifier (RFC 7636, section 4.5), where there was a challenge, and only there: else who takes the challenge off
    /// a request could redeem a code without (RFC 9700, section 4.8.2).
    pub verifier: Option<&'a SecretText>,
    /// The key that it proves to hold.
    pub key: Option<Thumbprint>,
}

/// Why a code is refused. To the client they are all `invalid_grant`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is another client's.
    #[error("the code belongs to another client")]
    OtherClient,
    /// The browser was sent elsewhere with it.
    #[error("the code was issued for another redirect URI")]
    RedirectUri,
    /// It was issued to another browser.
    #[error("the code verifier does not fit")]
    Verifier,
    /// It is bound to another key.
    #[error("the code is bound to a key, of which there is no proof")]
    Key,
    /// It fits and was used before: the session that it got must end.
    #[error("the code was used before")]
    Used(SessionId),
    /// Too late.
    #[error("the code has expired")]
    Expired,
    /// The browser session does not count any more.
    #[error("the session that authorised the code has ended")]
    NoLogin,
}

impl Code {
    /// A new code of a browser session that is in good [standing](Session::standing), and its text, which is shown this
    /// once. `None`: nobody has logged in, or the session is an app's own, which authorises nothing.
    pub fn issue(
        session: &Session,
        request: Request<'_>,
        now: Time,
        rng: &mut impl CryptoRng,
    ) -> Option<(Change, SecretText)> {
        let login = session.login.as_ref().filter(|_| session.parent.is_none())?;
        let secret = SecretBytes::<32>::random(rng);
        let text = SecretText::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret.expose())));
        let mut change = Change::at(now);
        let code = Self {
            digest: CodeDigest::of(&text),
            client: request.client.clone(),
            asked: request.asked,
            session: session.id,
            epoch: login.epoch,
            expires_at: now + LIFE,
            child: None,
        };
        if let Some(scope) = request.allowed {
            let user = login.user;
            change.write(Write::AllowScope { user, client: request.client.clone(), scope });
        }
        if let Some(digest) = request.pushed {
            change.write(Write::UsePushed(digest));
        }
        change.write(Write::IssueCode { code: Box::new(code), version: session.version });
        Some((change, text))
    }

    /// Whether the code may be redeemed by who presents it.
    ///
    /// # Errors
    /// [`Refused`]. Only [`Refused::Used`] asks for an act: the session that it names must end.
    pub fn check(&self, presented: &Presented<'_>, now: Time) -> Result<(), Refused> {
        if self.client != *presented.client {
            Err(Refused::OtherClient)
        } else if *self.asked.redirect_uri != *presented.redirect_uri {
            Err(Refused::RedirectUri)
        } else if !self.fits(presented.verifier) {
            Err(Refused::Verifier)
        } else if self.asked.key.is_some() && self.asked.key != presented.key {
            Err(Refused::Key)
        } else if let Some(child) = self.child {
            Err(Refused::Used(child))
        } else if now >= self.expires_at {
            Err(Refused::Expired)
        } else {
            Ok(())
        }
    }

    fn fits(&self, verifier: Option<&SecretText>) -> bool {
        match (&self.asked.challenge, verifier) {
            (None, None) => true,
            (Some(challenge), Some(verifier)) => challenge.is_of(verifier),
            _ => false,
        }
    }

    /// Redeems a code that has passed [`Self::check`], under its parent as it is at the store now, and with the child
    /// that the client has there already, if it has one.
    ///
    /// There is one child for a client under a browser session, and its id is stable: it is what the client is told of
    /// when the login is over.
    ///
    /// # Errors
    /// [`Refused::NoLogin`].
    pub fn redeem(
        &self,
        (parent, user): (&Session, &User),
        child: Option<Session>,
        gives: Gives,
        now: Time,
        rng: &mut impl CryptoRng,
    ) -> Result<Redeemed, Refused> {
        let of_user = |login: &&Login| login.user == user.id && self.epoch >= user.epoch;
        let login = parent.login.as_ref().filter(of_user).ok_or(Refused::NoLogin)?;
        let login = Login { epoch: self.epoch, ..login.clone() };
        let mut change = Change::at(now);
        let (mut session, mut write) = match standing(child, &login, user, &mut change) {
            Some(child) => (child, SAVE),
            None => (Session::child(parent, self.client.clone(), login.clone(), now, rng), OPEN),
        };
        let family = match gives {
            Gives::Cookie(key) => {
                change.end_handle(session.give_cookie(key));
                None
            }
            Gives::Tokens(new) => Some(session.open_family(new)),
            Gives::Offline(new, held, lifetimes) => {
                change.write(write(Box::new(session.clone())));
                // One of an app's session that was replaced stays what it is, beside the next.
                let held =
                    held.filter(|held| held.granted_by == Some(session.id)).map(|held| *held);
                (session, write) = match standing(held, &login, user, &mut change) {
                    Some(held) => (held, SAVE),
                    None => (Session::detached(&session, login, &lifetimes, now, rng), OPEN),
                };
                Some(session.open_family(new))
            }
        };
        change.write(write(Box::new(session.clone())));
        change.record(Event::of_session(Act::Authorized, &session));
        change.write(Write::UseCode { digest: self.digest, child: session.id });
        Ok(Redeemed { change, session, family })
    }
}

type Put = fn(Box<Session>) -> Write;

const SAVE: Put = Write::SaveSession;
const OPEN: Put = Write::OpenSession;

/// The session that the client has there already, as of this login, if it still counts. What was silent too long does
/// not come back, and neither do its tokens: it is replaced.
fn standing(
    session: Option<Session>,
    login: &Login,
    user: &User,
    change: &mut Change,
) -> Option<Session> {
    let (mut session, now) = (session?, change.at);
    if session.standing(session.seen_at, Some(user), now).is_ok() {
        session.login = Some(login.clone());
        session.see(now);
        return Some(session);
    }
    let reason = Reason::Replaced;
    change.record(Event::of_session(Act::SessionEnded(reason), &session));
    change.write(Write::EndSession { id: session.id, reason });
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;
    use crate::{
        id::UserId,
        session::{Assurance, Device, Lifetimes, Method, Opening, Version},
    };

    const NOW: Time = Time::from_secs(1_000_000);
    const HOUR: Duration = Duration::from_secs(3600);
    const KEY: KeyId = KeyId::from_bytes([5; 16]);
    const URI: &str = "https://shop.example/in";

    fn rng(seed: u64) -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(seed)
    }

    fn user(epoch: u64) -> User {
        User {
            id: UserId::from_bytes([7; 16]),
            version: Version::FIRST,
            name: "user".parse().unwrap(),
            password: SecretText::default(),
            roles: BTreeSet::new(),
            profile: crate::profile::Profile::default(),
            epoch: Epoch(epoch),
            disabled_at: None,
            added_at: NOW,
        }
    }

    fn parent() -> Session {
        let device = Device {
            label: "Firefox".into(),
            user_agent: "Firefox".into(),
            address: [127, 0, 0, 1].into(),
        };
        let opening = Opening { client: "web".parse().unwrap(), parent: None, device };
        let login = Login {
            user: user(1).id,
            epoch: Epoch(1),
            at: NOW - HOUR,
            methods: vec![Method::Pwd],
            assurance: Assurance::Aal1,
            remembered: true,
        };
        let lifetimes = Lifetimes {
            visitor: HOUR,
            idle: HOUR,
            absolute: HOUR * 12,
            remembered_idle: HOUR * 2,
            remembered_absolute: HOUR * 24,
        };
        Session::authenticated(opening, login, &lifetimes, NOW - HOUR, &mut rng(1))
    }

    fn verifier(text: &str) -> SecretText {
        SecretText::new(text.to_owned())
    }

    fn request(client: &ClientId, challenge: Challenge) -> Request<'_> {
        let (redirect_uri, scope) = (URI.into(), "openid".into());
        let challenge = Some(challenge);
        let asked = Asked { redirect_uri, challenge, scope, ..Asked::default() };
        Request { client, asked, allowed: None, pushed: None }
    }

    fn code(parent: &Session) -> (Code, SecretText) {
        let challenge = Challenge::from_bytes(sha256(&[b'v'; 43]));
        let client = "shop".parse().unwrap();
        let request = request(&client, challenge);
        let (change, text) = Code::issue(parent, request, NOW, &mut rng(2)).unwrap();
        let [Write::IssueCode { code, .. }] = &change.writes[..] else { panic!("{change:?}") };
        ((**code).clone(), text)
    }

    #[test]
    fn only_a_login_of_a_browser_authorizes() {
        let (mut visitor, mut child) = (parent(), parent());
        visitor.login = None;
        child.parent = Some(SessionId::from_bytes([1; 16]));
        let client = "shop".parse().unwrap();
        let challenge = Challenge::from_bytes([0; 32]);
        for session in [visitor, child] {
            let request = request(&client, challenge);
            assert!(Code::issue(&session, request, NOW, &mut rng(2)).is_none());
        }
    }

    #[test]
    fn a_code_rests_as_its_digest_and_prints_nothing() {
        let (code, text) = code(&parent());
        assert_eq!(code.digest, CodeDigest::of(&text));
        let printed = format!("{code:?} {text:?}");
        assert!(!printed.contains(&text.expose()[5..]) && !printed.contains("digest"), "{printed}");
    }

    #[test]
    fn what_fits_and_what_does_not() {
        let (fresh, _) = code(&parent());
        let child = SessionId::from_bytes([3; 16]);
        let used = Code { child: Some(child), ..fresh.clone() };
        let plain = Asked { challenge: None, ..fresh.asked.clone() };
        let plain = Code { asked: plain, ..fresh.clone() };
        let (right, wrong) = (verifier(&"v".repeat(43)), verifier(&"w".repeat(43)));
        let in_time = NOW + (LIFE - Duration::from_millis(1));
        let late = NOW + LIFE;
        for (code, client, uri, verifier, at, expected) in [
            (&fresh, "shop", URI, &right, NOW, Ok(())),
            (&fresh, "shop", URI, &right, in_time, Ok(())),
            (&fresh, "shop", URI, &right, late, Err(Refused::Expired)),
            (&fresh, "shop", URI, &wrong, NOW, Err(Refused::Verifier)),
            (&fresh, "shop", "https://shop.example/", &right, NOW, Err(Refused::RedirectUri)),
            (&fresh, "blog", URI, &right, NOW, Err(Refused::OtherClient)),
            (&used, "shop", URI, &right, NOW, Err(Refused::Used(child))),
            (&used, "shop", URI, &right, late, Err(Refused::Used(child))),
            // What does not fit ends nothing.
            (&used, "shop", URI, &wrong, NOW, Err(Refused::Verifier)),
            (&used, "blog", URI, &right, NOW, Err(Refused::OtherClient)),
            // Neither a challenge without verifier, nor a verifier without challenge.
            (&plain, "shop", URI, &right, NOW, Err(Refused::Verifier)),
        ] {
            let client = client.parse().unwrap();
            let presented = Presented {
                client: &client,
                redirect_uri: uri,
                verifier: Some(verifier),
                key: None,
            };
            assert_eq!(code.check(&presented, at), expected);
        }
        let client = "shop".parse().unwrap();
        let without = Presented { client: &client, redirect_uri: URI, verifier: None, key: None };
        assert_eq!(fresh.check(&without, NOW), Err(Refused::Verifier));
        assert_eq!(plain.check(&without, NOW), Ok(()));
    }

    #[test]
    fn verifiers_have_a_form() {
        for (text, fits) in [
            ("v".repeat(43), true),
            ("v".repeat(42), false),
            ("v".repeat(128), true),
            ("v".repeat(129), false),
            ("-._~".repeat(11), true),
            ("v".repeat(43) + "+", false),
            ("v".repeat(43) + "\n", false),
        ] {
            let challenge = Challenge::from_bytes(sha256(text.as_bytes()));
            assert_eq!(challenge.is_of(&verifier(&text)), fits, "{text:?}");
        }
        for text in ["", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-c", "plain text of a verifier"] {
            assert_eq!(text.parse::<Challenge>(), Err(InvalidChallenge), "{text:?}");
        }
    }

    #[test]
    fn what_is_kept_is_of_one_app_session() {
        let parent = parent();
        let (code, _) = code(&parent);
        let month = HOUR * 24 * 30;
        let lifetimes = Lifetimes {
            visitor: HOUR,
            idle: HOUR,
            absolute: HOUR,
            remembered_idle: month,
            remembered_absolute: month * 6,
        };
        let family = NewFamily {
            client: "shop".parse().unwrap(),
            key: KEY,
            binding: crate::family::Binding::Client,
            issued: crate::family::Issued {
                auth_time: None,
                key: None,
                at: NOW,
                expires_at: NOW + HOUR,
                audience: "".into(),
                scope: "openid offline_access".into(),
                roles: vec![],
            },
            whence: crate::family::Whence::new([127, 0, 0, 1].into(), ""),
        };
        let redeem = |child, held: Option<Session>, now, seed| {
            let gives = Gives::Offline(family.clone(), held.map(Box::new), lifetimes);
            code.redeem((&parent, &user(1)), child, gives, now, &mut rng(seed)).unwrap()
        };
        let first = redeem(None, None, NOW, 3);
        let [
            Write::OpenSession(child),
            Write::OpenSession(held),
            Write::UseCode { child: used, .. },
        ] = &first.change.writes[..]
        else {
            panic!("{:?}", first.change)
        };
        // The code leads to the tokens: a second use ends them.
        assert_eq!((&**held, *used), (&first.session, first.session.id));
        assert_eq!((held.parent, held.granted_by), (None, Some(child.id)));
        assert_eq!((held.told_as(), child.told_as()), (child.id, child.id));
        assert_eq!(held.limits, lifetimes.detached(NOW));
        assert_eq!((child.limits, child.families.iter().count()), (parent.limits, 0));
        // The next code: the same two.
        let again = redeem(Some((**child).clone()), Some((**held).clone()), NOW, 4);
        assert_eq!((again.session.id, again.session.families.iter().count()), (held.id, 2));
        // Where the app's session was silent too long, what is kept stays, and the next login keeps its own.
        let later = NOW + parent.limits.idle;
        let fresh = redeem(Some((**child).clone()), Some((**held).clone()), later, 5);
        assert_ne!(fresh.session.id, held.id);
        assert_ne!(fresh.session.granted_by, held.granted_by);
        let ended = |write: &Write| matches!(write, Write::EndSession { id, .. } if *id == held.id);
        assert!(!fresh.change.writes.iter().any(ended), "{:?}", fresh.change);
    }

    #[test]
    fn a_child_proves_what_its_parent_proved_and_lives_no_longer() {
        let parent = parent();
        let (code, _) = code(&parent);
        let redeem = |child, now, seed| {
            let gives = Gives::Cookie(KEY);
            let redeemed = code.redeem((&parent, &user(1)), child, gives, now, &mut rng(seed));
            redeemed.map(|redeemed| (redeemed.change, redeemed.session)).unwrap()
        };
        let (change, child) = redeem(None, NOW, 3);
        assert_eq!((child.parent, child.client.as_str()), (Some(parent.id), "shop"));
        assert_eq!((&child.login, child.limits), (&parent.login, parent.limits));
        assert_ne!((child.id, &child.salt), (parent.id, &parent.salt));
        assert!(
            matches!(&change.writes[..], [Write::OpenSession(_), Write::UseCode { child: id, .. }]
            if *id == child.id)
        );
        // The next code: the same session, another cookie, and the old one's id goes into the log.
        let old = child.cookie_name().unwrap().id().entry();
        let (change, again) = redeem(Some(child.clone()), NOW, 3);
        assert_eq!((again.id, &change.entries[..]), (child.id, &[old][..]));
        assert_ne!(again.cookie, child.cookie);
        // One that was silent too long does not come back.
        let later = NOW + parent.limits.idle;
        let (change, fresh) = redeem(Some(again.clone()), later, 4);
        assert!(
            matches!(&change.writes[..], [Write::EndSession { id, .. }, Write::OpenSession(_), _]
            if *id == again.id)
        );
        assert!(change.entries.is_empty() && fresh.parent == Some(parent.id));
    }

    #[test]
    fn what_ended_the_users_sessions_ended_their_codes() {
        let mut parent = parent();
        let (code, _) = code(&parent);
        // The browser that stayed got the new epoch; its codes did not.
        if let Some(login) = &mut parent.login {
            login.epoch = Epoch(2);
        }
        let gives = Gives::Cookie(KEY);
        let refused = code.redeem((&parent, &user(2)), None, gives, NOW, &mut rng(3));
        assert_eq!(refused.err(), Some(Refused::NoLogin));
    }
}
