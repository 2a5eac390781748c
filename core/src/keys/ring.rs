//! The opened keys, and which of them is for what now.

use rand_core::CryptoRng;

use super::{
    Algorithm, InvalidKey, Jwks, KeyRecord, KeyState, Life, MasterKey, NewKey, OpenError, Policy,
    SealError, SigningKey, Usage, VerifyingKey, lives,
};
use crate::{handle::HandleKey, id::KeyId, secret::SecretBytes, time::Time};

/// Why a key could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NewKeyError {
    /// The crypto library refused.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// It could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Why the ring could not be opened. A server without all of its keys must not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenRingError {
    /// This key's secret did not open.
    #[error("key {0}: {1}")]
    Sealed(KeyId, OpenError),
    /// This key's secret opened and is no key.
    #[error("key {0}: {1}")]
    Key(KeyId, InvalidKey),
}

impl NewKey {
    /// Makes the key and seals it. No handle key shares its [short id](HandleKey::short_id) with one of `records`.
    pub fn make(
        &self,
        records: &[KeyRecord],
        master: &MasterKey,
        now: Time,
        rng: &mut impl CryptoRng,
    ) -> Result<KeyRecord, NewKeyError> {
        let short = |id: KeyId| id.as_bytes()[..4].to_vec();
        let taken = |id| records.iter().any(|record| short(record.id) == short(id));
        let mut id = KeyId::random(rng);
        while taken(id) {
            id = KeyId::random(rng);
        }
        let context = context(id, self.usage);
        let sealed = match self.usage {
            Usage::Sign(algorithm) => {
                let secret = SigningKey::generate(id, algorithm)?.to_pkcs8()?;
                master.seal(&secret, &context, rng)?
            }
            Usage::Handle => {
                let secret = SecretBytes::<32>::random(rng);
                master.seal(secret.expose(), &context, rng)?
            }
        };
        let Self { usage, activates_at } = *self;
        Ok(KeyRecord { id, usage, sealed, created_at: now, activates_at, withdrawn_at: None })
    }
}

/// What a sealed secret belongs to.
fn context(id: KeyId, usage: Usage) -> Vec<u8> {
    format!("key {id} {usage}").into_bytes()
}

/// The opened keys. It answers for any moment; open it anew when the records have changed.
#[derive(Debug)]
pub struct KeyRing {
    signing: Vec<(Life, SigningKey)>,
    handle: Vec<(Life, HandleKey)>,
    withdrawn: Vec<KeyId>,
}

impl KeyRing {
    /// Opens every key that is not withdrawn.
    pub fn open(
        records: &[KeyRecord],
        master: &MasterKey,
        policy: &Policy,
    ) -> Result<Self, OpenRingError> {
        let mut ring = Self { signing: Vec::new(), handle: Vec::new(), withdrawn: Vec::new() };
        for (record, life) in records.iter().zip(lives(records, policy)) {
            let id = record.id;
            if life.withdrawn {
                ring.withdrawn.push(id);
                continue;
            }
            let secret = master
                .open(&record.sealed, &context(id, record.usage))
                .map_err(|error| OpenRingError::Sealed(id, error))?;
            match record.usage {
                Usage::Sign(algorithm) => {
                    let key = SigningKey::from_pkcs8(id, algorithm, &secret)
                        .map_err(|error| OpenRingError::Key(id, error))?;
                    ring.signing.push((life, key));
                }
                Usage::Handle => {
                    let secret = secret
                        .as_slice()
                        .try_into()
                        .map_err(|_| OpenRingError::Key(id, InvalidKey::Malformed))?;
                    ring.handle.push((life, HandleKey::new(id, &SecretBytes::new(secret))));
                }
            }
        }
        Ok(ring)
    }

    /// The key that signs now. `None`: [`plan`](super::plan) would make one.
    pub fn signing_key(&self, algorithm: Algorithm, now: Time) -> Option<&SigningKey> {
        active(&self.signing, now).find(|key| key.verifying_key().algorithm() == algorithm)
    }

    /// When this server saw this request, by a [stamp](HandleKey::stamp) of one of its keys.
    pub fn stamped(&self, request: &str, stamp: &str, now: Time) -> Option<Time> {
        known(&self.handle, now).find_map(|key| key.stamped(request, stamp))
    }

    /// Every key that a token may be signed with: upcoming, active and retired ones.
    pub fn verifying_keys(&self, now: Time) -> impl Iterator<Item = &VerifyingKey> {
        known(&self.signing, now).map(SigningKey::verifying_key)
    }

    /// The [verifying keys](Self::verifying_keys) as the world sees them. Caches of it must be younger than
    /// [`Policy::publish_ahead`].
    pub fn jwks(&self, now: Time) -> Jwks {
        Jwks { keys: self.verifying_keys(now).map(|key| key.jwk().clone()).collect() }
    }

    /// The key that makes handles now. `None`: [`plan`](super::plan) would make one.
    pub fn handle_key(&self, now: Time) -> Option<&HandleKey> {
        active(&self.handle, now).next()
    }

    /// The key that a handle names, if handles made with it may still live. `None`: load the ring anew, once.
    pub fn handle_key_by_short_id(&self, short_id: [u8; 4], now: Time) -> Option<&HandleKey> {
        known(&self.handle, now).find(|key| key.short_id() == short_id)
    }

    /// The key that a session's row names, likewise.
    pub fn handle_key_by_id(&self, id: KeyId, now: Time) -> Option<&HandleKey> {
        known(&self.handle, now).find(|key| key.id() == id)
    }

    /// The keys that were declared lost, until everything made with them before is over. Whoever has the private key
    /// can still sign: a copy of the JWKS must not be older than this list reaches back ([`Policy::keep_tokens`]).
    pub fn withdrawn(&self) -> &[KeyId] {
        &self.withdrawn
    }
}

fn active<K>(keys: &[(Life, K)], now: Time) -> impl Iterator<Item = &K> {
    keys.iter().filter(move |(life, _)| life.state(now) == KeyState::Active).map(|(_, key)| key)
}

fn known<K>(keys: &[(Life, K)], now: Time) -> impl Iterator<Item = &K> {
    let known = |state| matches!(state, KeyState::Upcoming | KeyState::Active | KeyState::Retired);
    keys.iter().filter(move |(life, _)| known(life.state(now))).map(|(_, key)| key)
}
