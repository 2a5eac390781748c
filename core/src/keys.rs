//! The key ring: upcoming, active and retired keys, by schedule; sealed at rest.

/// The signature algorithm of a key.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
pub enum Algorithm {
    #[default]
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "EdDSA")]
    Ed25519,
    #[serde(rename = "RS256")]
    Rs256,
}

/// A key as it rests.
#[derive(Debug, Clone)]
pub struct KeyRecord {}
