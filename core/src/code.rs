//! Authorization codes (RFC 6749, section 4.1): how a browser that is logged in here gets a session of its own at an
//! application on another host.
//!
//! The server hands the browser a code, and the application redeems it, server to server, for a *child session*: it has
//! a cookie of its own and dies with the browser session that authorised it. A code is bound to its client, to the
//! redirect URI, to the browser (by the PKCE challenge of RFC 7636, `S256` alone, whose verifier the application keeps
//! for that browser) and to the session and epoch under which it was issued.
//!
//! | presented | decision |
//! |---|---|
//! | fits, unused, in time, parent alive | a child session, or the next cookie of the one that there is |
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
    id::{KeyId, SessionId},
    secret::{SecretBytes, SecretText},
    session::{Login, Reason, Session},
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
    /// Where the browser was sent with it.
    pub redirect_uri: Box<str>,
    /// What the browser's verifier must fit.
    pub challenge: Challenge,
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

/// What a client asks a code for. The edge has checked that the redirect URI is the client's.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The client.
    pub client: &'a ClientId,
    /// Where the browser will be sent with the code.
    pub redirect_uri: &'a str,
    /// What was made of the verifier that the client keeps for this browser.
    pub challenge: Challenge,
}

/// One presentation of a code, by a client that has authenticated.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// The client.
    pub client: &'a ClientId,
    /// The redirect URI of the request (RFC 6749, section 4.1.3).
    pub redirect_uri: &'a str,
    /// The verifier (RFC 7636, section 4.5).
    pub verifier: &'a SecretText,
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
            redirect_uri: request.redirect_uri.into(),
            challenge: request.challenge,
            session: session.id,
            epoch: login.epoch,
            expires_at: now + LIFE,
            child: None,
        };
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
        } else if *self.redirect_uri != *presented.redirect_uri {
            Err(Refused::RedirectUri)
        } else if !self.challenge.is_of(presented.verifier) {
            Err(Refused::Verifier)
        } else if let Some(child) = self.child {
            Err(Refused::Used(child))
        } else if now >= self.expires_at {
            Err(Refused::Expired)
        } else {
            Ok(())
        }
    }

    /// Redeems a code that has passed [`Self::check`], under its parent as it is at the store now, and with the child
    /// that the client has there already, if it has one. Returns the child as it is after the change.
    ///
    /// There is one child for a client under a browser session, and its id is stable: a second code moves the generation
    /// of its cookie, and the old cookie dies.
    ///
    /// # Errors
    /// [`Refused::NoLogin`].
    pub fn redeem(
        &self,
        (parent, user): (&Session, &User),
        child: Option<Session>,
        key: KeyId,
        now: Time,
        rng: &mut impl CryptoRng,
    ) -> Result<(Change, Session), Refused> {
        let of_user = |login: &&Login| login.user == user.id && self.epoch >= user.epoch;
        let login = parent.login.as_ref().filter(of_user).ok_or(Refused::NoLogin)?;
        let login = Login { epoch: self.epoch, ..login.clone() };
        let mut change = Change::at(now);
        let stands = |child: &Session| child.standing(child.seen_at, Some(user), now).is_ok();
        let child = match child {
            Some(mut child) if stands(&child) => {
                child.login = Some(login);
                child.seen_at = child.seen_at.max(now);
                change.end_handle(child.give_cookie(key));
                change.write(Write::SaveSession(Box::new(child.clone())));
                child
            }
            lapsed => {
                // What was silent too long does not come back, and neither do its tokens.
                if let Some(lapsed) = lapsed {
                    let reason = Reason::Replaced;
                    change.record(Event::of_session(Act::SessionEnded(reason), &lapsed));
                    change.write(Write::EndSession { id: lapsed.id, reason });
                }
                let child = Session::child(parent, self.client.clone(), login, key, now, rng);
                change.write(Write::OpenSession(Box::new(child.clone())));
                child
            }
        };
        change.record(Event::of_session(Act::Authorized, &child));
        change.write(Write::UseCode { digest: self.digest, child: child.id });
        Ok((change, child))
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut array = [0; 32];
    array.copy_from_slice(digest.as_ref());
    array
}
