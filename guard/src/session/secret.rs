//! What a browser holds to prove a session: 24 random bytes, and a tag of the application's key.
//!
//! ```text
//! syma_ │ base64url of: secret 24 │ tag 8
//! ```
//!
//! * The store knows the first half of the secret's SHA-256. It is the session's public id and leads nowhere: a stolen
//!   store opens nothing.
//! * The tag is an HMAC-SHA-256 over the name of the session and the secret. It is not what keeps attackers out, for
//!   which the secret is long enough: it keeps what somebody made up from costing a look into the store. So keys can
//!   rotate, and a leaked key opens nothing.

use std::{fmt, sync::Arc};

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest, hmac};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use symbolon_core::{
    id::SessionId,
    secret::{SecretBytes, SecretText},
};

use crate::os::Os;

const PREFIX: &str = "syma_";
const SECRET_BYTES: usize = 24;
const BYTES: usize = SECRET_BYTES + 8;

/// The shortest secret text that a key is made of.
pub const KEY_BYTES_MIN: usize = 32;

/// The keys that sign what browsers hold: the first signs, all verify.
#[derive(Clone)]
pub struct Keys(Arc<[hmac::Key]>);

/// The secret of a key is too short to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key for sessions is at least {KEY_BYTES_MIN} bytes of random text")]
pub struct ShortKey;

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

impl Keys {
    /// A key for every node of the application, from the secret text that they share.
    ///
    /// ```
    /// use symbolon_guard::{SecretText, session::Keys};
    /// let text = |text: &str| SecretText::new(text.to_owned());
    /// let keys = Keys::new(&text("of this year: 32 random bytes or more"))?;
    /// let keys = keys.or(&text("of last year: 32 random bytes or more"))?;
    /// assert!(Keys::new(&text("keyboard cat")).is_err());
    /// # Ok::<(), symbolon_guard::session::ShortKey>(())
    /// ```
    ///
    /// # Errors
    /// [`ShortKey`].
    pub fn new(secret: &SecretText) -> Result<Self, ShortKey> {
        Ok(Self([key(secret)?].into()))
    }

    /// Also accepts what an earlier key has signed. Keep it for as long as a session may live.
    ///
    /// # Errors
    /// [`ShortKey`].
    pub fn or(self, earlier: &SecretText) -> Result<Self, ShortKey> {
        let mut keys = self.0.to_vec();
        keys.push(key(earlier)?);
        Ok(Self(keys.into()))
    }

    /// A key of this process alone: for sessions that do not outlive it.
    pub fn random() -> Self {
        let secret = SecretBytes::<32>::random(&mut Os);
        Self([hmac::Key::new(hmac::HMAC_SHA256, secret.expose())].into())
    }

    /// Reads what a browser sent, if one of the keys has signed it for this name.
    pub(super) fn verify(&self, name: &str, text: &[u8]) -> Option<Secret> {
        let text = text.strip_prefix(PREFIX.as_bytes())?;
        let mut bytes = [0; BYTES];
        if URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) != Ok(BYTES) {
            return None;
        }
        let (secret, tag) = bytes.split_first_chunk::<SECRET_BYTES>()?;
        let fits = |key| verify_slices_are_equal(&sign(key, name, secret), tag).is_ok();
        let signed = self.0.iter().any(fits);
        signed.then(|| Secret(SecretBytes::new(*secret)))
    }

    /// What the browser is to hold.
    pub(super) fn sign(&self, name: &str, secret: &Secret) -> SecretText {
        let secret = secret.0.expose();
        let mut bytes = [0; BYTES];
        bytes[..SECRET_BYTES].copy_from_slice(secret);
        if let Some(key) = self.0.first() {
            bytes[SECRET_BYTES..].copy_from_slice(&sign(key, name, secret));
        }
        let mut text = PREFIX.to_owned();
        URL_SAFE_NO_PAD.encode_string(bytes, &mut text);
        SecretText::new(text)
    }
}

fn key(secret: &SecretText) -> Result<hmac::Key, ShortKey> {
    let bytes = secret.expose().as_bytes();
    if bytes.len() < KEY_BYTES_MIN {
        return Err(ShortKey);
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, bytes))
}

fn sign(key: &hmac::Key, name: &str, secret: &[u8; SECRET_BYTES]) -> [u8; 8] {
    let mut context = hmac::Context::with_key(key);
    for part in [b"symbolon application session v1\0", name.as_bytes(), b"\0", secret] {
        context.update(part);
    }
    let mut tag = [0; 8];
    tag.copy_from_slice(&context.sign().as_ref()[..8]);
    tag
}

/// What proves one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Secret(SecretBytes<SECRET_BYTES>);

impl Secret {
    pub(super) fn random() -> Self {
        Self(SecretBytes::random(&mut Os))
    }

    /// What a browser is to hold in place of a cookie of an earlier system: always the same, so that requests at the same
    /// time agree.
    pub(super) fn of_earlier(earlier: &SecretText) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"symbolon earlier session v1\0");
        context.update(earlier.expose().as_bytes());
        let mut secret = [0; SECRET_BYTES];
        secret.copy_from_slice(&context.finish().as_ref()[..SECRET_BYTES]);
        Self(SecretBytes::new(secret))
    }

    /// The public id of the session.
    pub(super) fn id(&self) -> SessionId {
        let digest = digest::digest(&digest::SHA256, self.0.expose());
        let mut id = [0; 16];
        id.copy_from_slice(&digest.as_ref()[..16]);
        SessionId::from_bytes(id)
    }

    /// What CSRF tokens are derived from. It stays when a newer key signs.
    pub(super) fn csrf(&self) -> SecretText {
        SecretText::new(URL_SAFE_NO_PAD.encode(self.0.expose()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(texts: &[&str]) -> Keys {
        let text = |text: &str| SecretText::new(text.repeat(KEY_BYTES_MIN));
        let first = Keys::new(&text(texts[0])).unwrap();
        texts[1..].iter().fold(first, |keys, other| keys.or(&text(other)).unwrap())
    }

    #[test]
    fn keys_rotate() {
        let secret = Secret::random();
        let text = keys(&["a"]).sign("session", &secret);
        // Keys, name, whether it is accepted.
        for (verifier, name, accepted) in [
            (keys(&["a"]), "session", true),
            (keys(&["b", "a"]), "session", true),
            (keys(&["c", "b", "a"]), "session", true),
            (keys(&["c", "b"]), "session", false),
            (keys(&["a"]), "admin", false),
            (Keys::random(), "session", false),
        ] {
            let read = verifier.verify(name, text.expose().as_bytes());
            assert_eq!(read, accepted.then(|| secret.clone()), "{verifier:?} {name}");
        }
        // The first one signs.
        let text = keys(&["b", "a"]).sign("session", &secret);
        assert_eq!(keys(&["a"]).verify("session", text.expose().as_bytes()), None);
    }

    #[test]
    fn any_changed_character_is_refused() {
        let keys = keys(&["a"]);
        let text = keys.sign("session", &Secret::random()).expose().to_owned();
        assert_eq!(text.len(), 48);
        for at in 0..text.len() {
            for other in *b"AQgwz-_0=. \0\xff" {
                let mut bytes = text.clone().into_bytes();
                if bytes[at] != other {
                    bytes[at] = other;
                    assert_eq!(keys.verify("session", &bytes), None, "{at}");
                }
            }
        }
        for bad in ["", "syma_", &text[..47], &format!("{text}A"), &format!("{text}="), &text[5..]]
        {
            assert_eq!(keys.verify("session", bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn nothing_prints_a_secret() {
        let secret = Secret::random();
        let printed = format!("{secret:?} {:?}", keys(&["a", "b"]));
        assert_eq!(printed, "Secret(SecretBytes(…)) Keys(2)");
        assert_ne!(secret.id().to_string()[..20], secret.csrf().expose()[..20]);
    }
}
