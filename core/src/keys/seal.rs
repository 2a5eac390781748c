//! Secrets at rest: AES-256-GCM under a key that is not in the database.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    error::Unspecified,
    hmac,
};
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::secret::SecretBytes;

const VERSION: u8 = 1;
const MARK: std::ops::Range<usize> = 1..9;
const NONCE: std::ops::Range<usize> = 9..9 + NONCE_LEN;
const TAG_BYTES: usize = 16;

/// Seals what rests in the database. Losing it means losing every sealed secret; it belongs into no backup of them.
///
/// A sealed secret is `version 1 │ mark 8 │ nonce 12 │ ciphertext │ tag 16`. The mark tells one master key from another
/// (it is a MAC under the key, over nothing secret), so that "the wrong key" and "a damaged row" are different errors.
pub struct MasterKey {
    key: SecretBytes<32>,
    mark: [u8; 8],
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// Why a secret could not be sealed. Only the crypto library's own failure is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret could not be sealed")]
pub struct SealError;

/// Why a sealed secret did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It was sealed under another master key.
    #[error("sealed under another master key")]
    WrongMasterKey,
    /// It was changed, cut, or belongs to another row.
    #[error("the sealed secret is damaged or belongs to another row")]
    Damaged,
}

impl MasterKey {
    /// Derives the working key (HKDF-Expand with SHA-256, RFC 5869, whose first block is one HMAC) from 32 uniformly
    /// random bytes.
    pub fn new(secret: &SecretBytes<32>) -> Self {
        let prk = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        let seal = hmac::sign(&prk, b"symbolon master seal\x01");
        let name = hmac::sign(&prk, b"symbolon master mark\x01");
        let (mut key, mut mark) = ([0; 32], [0; 8]);
        key.copy_from_slice(seal.as_ref());
        mark.copy_from_slice(&name.as_ref()[..8]);
        Self { key: SecretBytes::new(key), mark }
    }

    /// Tells this master key from others. It is no secret: it stands in front of everything that is sealed.
    pub const fn mark(&self) -> [u8; 8] {
        self.mark
    }

    /// Seals a secret that belongs to `context`: whatever names its row. It opens under the same context alone.
    pub fn seal(
        &self,
        secret: &[u8],
        context: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<Box<[u8]>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        // Of one size from the beginning: a Vec that grew would leave a copy of the secret behind.
        let mut sealed = Vec::with_capacity(NONCE.end + secret.len() + TAG_BYTES);
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.mark);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(secret);
        let tag = self
            .cipher()
            .map_err(|_| SealError)?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                self.associated(context),
                &mut sealed[NONCE.end..],
            )
            .map_err(|_| SealError)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed.into_boxed_slice())
    }

    /// Opens what [`seal`](Self::seal) made for the same context.
    pub fn open(&self, sealed: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        if sealed.len() < NONCE.end + TAG_BYTES || sealed[0] != VERSION {
            return Err(OpenError::Damaged);
        }
        if !bool::from(sealed[MARK].ct_eq(&self.mark)) {
            return Err(OpenError::WrongMasterKey);
        }
        let nonce =
            Nonce::try_assume_unique_for_key(&sealed[NONCE]).map_err(|_| OpenError::Damaged)?;
        let mut secret = Zeroizing::new(sealed[NONCE.end..].to_vec());
        let secret_bytes = self
            .cipher()
            .map_err(|_| OpenError::Damaged)?
            .open_in_place(nonce, self.associated(context), &mut secret)
            .map_err(|_| OpenError::Damaged)?
            .len();
        secret.truncate(secret_bytes);
        Ok(secret)
    }

    fn cipher(&self) -> Result<LessSafeKey, Unspecified> {
        UnboundKey::new(&AES_256_GCM, self.key.expose()).map(LessSafeKey::new)
    }

    fn associated(&self, context: &[u8]) -> Aad<Vec<u8>> {
        Aad::from([&[VERSION], self.mark.as_slice(), context].concat())
    }
}

/// The [mark](MasterKey::mark) of the master key under which something was sealed; `None` if nothing is sealed like this.
pub fn sealed_by(sealed: &[u8]) -> Option<&[u8; 8]> {
    sealed.get(MARK).and_then(|mark| mark.try_into().ok())
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn only_the_same_key_and_context_open() {
        let rng = &mut rand_chacha::ChaCha20Rng::from_seed([1; 32]);
        let (ours, other) =
            (MasterKey::new(&SecretBytes::random(rng)), MasterKey::new(&SecretBytes::random(rng)));
        for secret in [&b""[..], b"x", &[7; 1000]] {
            let sealed = ours.seal(secret, b"row 1", rng).unwrap();
            assert_eq!(ours.open(&sealed, b"row 1").unwrap().as_slice(), secret);
            assert_eq!(ours.open(&sealed, b"row 2").unwrap_err(), OpenError::Damaged);
            assert_eq!(other.open(&sealed, b"row 1").unwrap_err(), OpenError::WrongMasterKey);
            assert_eq!(sealed_by(&sealed), Some(&ours.mark()));
            assert_ne!(ours.mark(), other.mark());
            assert_ne!(ours.seal(secret, b"row 1", rng).unwrap(), sealed, "a nonce came twice");
        }
    }

    #[test]
    fn no_changed_byte_opens() {
        let rng = &mut rand_chacha::ChaCha20Rng::from_seed([2; 32]);
        let master = MasterKey::new(&SecretBytes::random(rng));
        let sealed = master.seal(b"secret", b"row", rng).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(master.open(&changed, b"row").is_err(), "byte {at}");
            assert!(master.open(&sealed[..at], b"row").is_err(), "cut at {at}");
        }
        assert_eq!(format!("{master:?}"), "MasterKey(…)");
    }
}
