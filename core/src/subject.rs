//! Subject types (OpenID Connect Core, section 8): under which id a client knows a user.
//!
//! A *public* subject is the user's id. A *pairwise* one is another id for each sector, so that two sectors cannot find
//! out by it that they have the same user. It has the form of a user's id, and opens nothing: who the user is follows
//! from the session that a token names, never from its `sub`.

use std::{fmt, str::FromStr};

use aws_lc_rs::hmac;

use crate::{
    client::Client,
    id::{Text, UserId},
    oauth::uri::Uri,
    secret::SecretBytes,
};

/// What a client's `subject_type` says (OpenID Connect Dynamic Client Registration, section 2).
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum SubjectType {
    /// The same for every client.
    #[default]
    Public,
    /// Another one for each sector.
    Pairwise,
}

impl SubjectType {
    /// Every type, by its name.
    pub const ALL: [&'static str; 2] = ["public", "pairwise"];
}

/// A `sector_identifier_uri`: an `https` URL (or `http` where the configuration allows to reach it) whose host is the
/// sector, of a list of all redirect URIs of its clients.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct SectorUri(Box<str>);

/// The text is no place where a list of redirect URIs can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sector_identifier_uri is an https URL without user and fragment")]
pub struct InvalidSectorUri;

impl SectorUri {
    /// As it was registered.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SectorUri {
    type Err = InvalidSectorUri;

    fn from_str(text: &str) -> Result<Self, InvalidSectorUri> {
        let uri = Uri::parse(text).map_err(|_| InvalidSectorUri)?;
        let fits = uri.is_web() && uri.fragment.is_none();
        fits.then(|| Self(text.into())).ok_or(InvalidSectorUri)
    }
}

impl<'de> serde::Deserialize<'de> for SectorUri {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a client cannot have pairwise subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSector {
    /// It has redirect URIs of several hosts, or none that has a host.
    #[error("its redirect_uris have not one host in common: give a sector_identifier_uri")]
    Host,
    /// Where the user's account is, their id stands.
    #[error("a token for the server itself tells the user's own id: give it other audiences")]
    Server,
}

/// The sector of a client with pairwise subjects (section 8.1): the host of its `sector_identifier_uri`, or else the one
/// of its redirect URIs, in lower case. `None` for a client with public subjects.
///
/// # Errors
/// [`NoSector::Host`].
pub fn sector_of(client: &Client) -> Result<Option<String>, NoSector> {
    if client.subject_type == SubjectType::Public {
        return Ok(None);
    }
    let named = client.sector_identifier_uri.as_ref().map(SectorUri::as_str);
    let mut hosts = match named {
        Some(uri) => vec![host_of(uri)],
        None => client.redirect_uris.iter().map(|uri| host_of(uri)).collect(),
    };
    hosts.sort_unstable();
    hosts.dedup();
    match hosts.as_slice() {
        [Some(host)] => Ok(Some(host.clone())),
        _ => Err(NoSector::Host),
    }
}

fn host_of(uri: &str) -> Option<String> {
    let host = Uri::parse(uri).ok()?.host?;
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

/// Whether a client can have the subjects that it asks for, at the server of this issuer.
///
/// # Errors
/// [`NoSector`].
pub fn check(client: &Client, issuer: &str) -> Result<(), NoSector> {
    match sector_of(client)? {
        Some(_) if client.audiences.iter().any(|audience| audience == issuer) => {
            Err(NoSector::Server)
        }
        _ => Ok(()),
    }
}

/// Makes pairwise subjects. It follows from the master key and never rotates: another key would make every user of
/// every pairwise client somebody new.
pub struct SubjectKey(hmac::Key);

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectKey(…)")
    }
}

impl SubjectKey {
    /// Derives the key from 32 uniformly random bytes, those of the master key (HKDF-Expand with SHA-256, RFC 5869,
    /// whose first block is one HMAC).
    pub fn new(master: &SecretBytes<32>) -> Self {
        let prk = hmac::Key::new(hmac::HMAC_SHA256, master.expose());
        let key = hmac::sign(&prk, b"symbolon pairwise subject\x01");
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()))
    }

    /// The `sub` under which a client knows a user. A pairwise client whose sector is not known, which no registration
    /// lets in, has a sector of its own.
    ///
    /// ```
    /// use symbolon_core::{client::Client, id::UserId, secret::SecretBytes, subject::SubjectKey};
    ///
    /// let client = |id: &str, uri: &str| serde_json::from_value::<Client>(serde_json::json!({
    ///     "id": id, "kind": "confidential", "subject_type": "pairwise", "redirect_uris": [uri],
    /// }));
    /// let (shop, stock) =
    ///     (client("shop", "https://a.example/in")?, client("stock", "https://a.example/stock")?);
    /// let other = client("other", "https://b.example/in")?;
    /// let (key, user) = (SubjectKey::new(&SecretBytes::new([1; 32])), UserId::from_bytes([2; 16]));
    /// assert_eq!(key.subject(&shop, user), key.subject(&stock, user));
    /// assert_ne!(key.subject(&shop, user), key.subject(&other, user));
    /// assert_ne!(key.subject(&shop, user), user);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subject(&self, client: &Client, user: UserId) -> UserId {
        let sector = match sector_of(client) {
            Ok(None) => return user,
            Ok(Some(host)) => host,
            // No host has a colon in it.
            Err(_) => format!("client:{}", client.id),
        };
        let mut mac = hmac::Context::with_key(&self.0);
        mac.update(user.as_bytes());
        // Last, because it is the only part without a fixed length.
        mac.update(sector.as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&mac.sign().as_ref()[..16]);
        UserId::from_bytes(id)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn client(more: &Value) -> Client {
        let mut client = json!({ "id": "app", "kind": "confidential", "subject_type": "pairwise" });
        client.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(client).unwrap()
    }

    #[test]
    fn the_sector_is_one_host() {
        let uris = |uris: &[&str]| json!({ "redirect_uris": uris });
        let named = |uri: &str| json!({ "redirect_uris": ["https://a.example/in"], "sector_identifier_uri": uri });
        for (more, sector) in [
            (uris(&["https://a.example/in"]), Ok(Some("a.example"))),
            (uris(&["https://a.example/in", "https://A.example:8443/x"]), Ok(Some("a.example"))),
            (uris(&["https://a.example/in", "https://b.example/in"]), Err(NoSector::Host)),
            (uris(&["https://a.example/in", "com.example.app:/in"]), Err(NoSector::Host)),
            (uris(&["com.example.app:/in"]), Err(NoSector::Host)),
            (uris(&[]), Err(NoSector::Host)),
            (named("https://Sector.example/list.json"), Ok(Some("sector.example"))),
            (json!({ "subject_type": "public" }), Ok(None)),
        ] {
            let found = sector_of(&client(&more));
            assert_eq!(found, sector.map(|host| host.map(str::to_owned)), "{more}");
        }
    }

    #[test]
    fn no_token_for_the_server_itself() {
        let issuer = "https://auth.example";
        let of = |audience: &str| json!({ "redirect_uris": ["https://a.example/in"], "audiences": [audience] });
        assert_eq!(check(&client(&of(issuer)), issuer), Err(NoSector::Server));
        assert_eq!(check(&client(&of("https://api.example")), issuer), Ok(()));
    }

    #[test]
    fn another_key_is_another_subject_and_nothing_is_printed() {
        let (user, app) = (
            UserId::from_bytes([7; 16]),
            client(&json!({ "redirect_uris": ["https://a.example/"] })),
        );
        let key = |byte| SubjectKey::new(&SecretBytes::new([byte; 32]));
        assert_eq!(key(1).subject(&app, user), key(1).subject(&app, user));
        assert_ne!(key(1).subject(&app, user), key(2).subject(&app, user));
        assert_eq!(format!("{:?}", key(1)), "SubjectKey(…)");
        // Without a sector it still is nobody's else.
        let homeless = client(&json!({}));
        assert_ne!(key(1).subject(&homeless, user), user);
    }
}
