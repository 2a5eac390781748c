//! Pushed authorization requests (RFC 9126): a client sends what it asks for to the server directly, and the browser
//! carries only a name for it. Nobody on the way through the browser can read or change the request.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand_core::CryptoRng;

use crate::{
    change::{Change, Write},
    client::ClientId,
    secret::{SecretBytes, sha256},
    time::Time,
};

/// How long a pushed request counts: somebody may have to log in meanwhile. FAPI 2.0, section 5.3.2.2, asks for less than
/// 600 seconds.
pub const LIFE: Duration = Duration::from_mins(9);

/// How many requests of one client rest. More are refused until some have been used or have expired.
pub const PUSHED_MAX: u32 = 10_000;

/// The longest pushed request, in bytes.
pub const PUSHED_BYTES_MAX: usize = 16 * 1024;

const PREFIX: &str = "urn:ietf:params:oauth:request_uri:";

/// SHA-256 of the random part of a `request_uri`: all of it that rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushedDigest([u8; 32]);

impl PushedDigest {
    /// The digest of a `request_uri` of ours. `None`: it is something else.
    ///
    /// ```
    /// use symbolon_core::oauth::pushed::PushedDigest;
    /// let ours = format!("urn:ietf:params:oauth:request_uri:{}", "A".repeat(43));
    /// assert!(PushedDigest::of(&ours).is_some());
    /// assert!(PushedDigest::of("https://client.example/request.jwt").is_none());
    /// ```
    pub fn of(request_uri: &str) -> Option<Self> {
        let mut random = [0; 32];
        let text = request_uri.strip_prefix(PREFIX)?;
        (URL_SAFE_NO_PAD.decode_slice(text, &mut random) == Ok(32)).then(|| Self::digest(&random))
    }

    fn digest(random: &[u8; 32]) -> Self {
        Self(sha256(random))
    }

    /// The bytes, as they rest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A pushed request, as it rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Which one.
    pub digest: PushedDigest,
    /// Whose it is.
    pub client: ClientId,
    /// Its parameters, as the client sent them, without what the client proved itself with.
    pub form: Box<str>,
    /// From when it does not count.
    pub expires_at: Time,
}

/// Takes a request of a client that has authenticated. Returns its `request_uri`, which is told this once.
pub fn push(
    client: &ClientId,
    form: String,
    now: Time,
    rng: &mut impl CryptoRng,
) -> (Change, String) {
    let random = SecretBytes::<32>::random(rng);
    let digest = PushedDigest::digest(random.expose());
    let uri = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random.expose()));
    let mut change = Change::at(now);
    let (client, form) = (client.clone(), form.into());
    change.write(Write::Push(Box::new(Pushed { digest, client, form, expires_at: now + LIFE })));
    (change, uri)
}
