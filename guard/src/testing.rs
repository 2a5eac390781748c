//! For tests of applications: identities without a server.

use std::{collections::HashMap, sync::Arc};

use http::request::Parts;
use symbolon_core::{
    client::ClientId,
    id::{SessionId, UserId},
    oauth::jwk::Thumbprint,
    secret::SecretText,
    session::Assurance,
    time::Time,
};

use crate::{Authority, Carried, Claims, Half, Identity, Refusal};

/// Claims of a made-up user, to be changed at will.
#[derive(Debug, Clone)]
pub struct Sample(Claims);

/// A user who logged in with one factor, without roles and scopes, at a client called `app`.
pub fn claims() -> Sample {
    Sample(Claims {
        subject: Some(UserId::from_bytes([1; 16])),
        session: SessionId::from_bytes([2; 16]),
        parent: None,
        client: app(),
        scopes: Vec::new(),
        roles: Arc::default(),
        assurance: Some(Assurance::Aal1),
        auth_time: None,
        key: None,
    })
}

#[expect(clippy::expect_used, reason = "a constant that a test covers")]
fn app() -> ClientId {
    "app".parse().expect("a client id")
}

impl Sample {
    /// With a role.
    #[must_use]
    pub fn role(mut self, role: &str) -> Self {
        let more = [Box::from(role)];
        self.0.roles = self.0.roles.iter().cloned().chain(more).collect();
        self
    }

    /// With a scope.
    #[must_use]
    pub fn scope(mut self, scope: &str) -> Self {
        self.0.scopes.push(scope.into());
        self
    }

    /// With another assurance level.
    #[must_use]
    pub fn assurance(mut self, level: Assurance) -> Self {
        self.0.assurance = Some(level);
        self
    }

    /// Logged in at this moment.
    #[must_use]
    pub const fn logged_in_at(mut self, at: Time) -> Self {
        self.0.auth_time = Some(at);
        self
    }

    /// Without a user: a visitor, or a machine client.
    #[must_use]
    pub fn without_user(mut self) -> Self {
        (self.0.subject, self.0.assurance) = (None, None);
        self
    }

    /// Bound to a key.
    #[must_use]
    pub fn bound(mut self, key: Thumbprint) -> Self {
        self.0.key = Some(key);
        self
    }

    /// The claims themselves.
    pub fn build(self) -> Claims {
        self.0
    }

    /// The identity of a request that carries them as a bearer token.
    pub fn bearer(self, token: &str) -> Identity {
        Identity::new(Arc::new(self.0), Carried::Bearer(SecretText::new(token.to_owned())))
    }

    /// The identity of a request that carries them as a session cookie.
    pub fn session_cookie(self, value: &str) -> Identity {
        Identity::new(Arc::new(self.0), Carried::SessionCookie(SecretText::new(value.to_owned())))
    }
}

/// An authority that knows what it was told. Session cookies are prefixed `syms_`; any other text is an access token.
///
/// ```
/// use symbolon_guard::testing::{self, Known};
/// let authority = Known::default()
///     .with("syms_example", testing::claims().role("admin"))
///     .with("an.access.token", testing::claims().scope("cart"));
/// # let _ = authority;
/// ```
#[derive(Debug, Clone, Default)]
pub struct Known(HashMap<Box<str>, Arc<Claims>>);

impl Known {
    /// Also knows this credential.
    #[must_use]
    pub fn with(mut self, credential: &str, claims: Sample) -> Self {
        self.0.insert(credential.into(), Arc::new(claims.build()));
        self
    }
}

impl Authority for Known {
    async fn identify(&self, carried: &Carried, _: &Parts) -> Result<Arc<Claims>, Refusal> {
        let (half, text) = carried.credential().ok_or(Refusal::LoginRequired)?;
        let text = text.expose();
        let fits = text.starts_with("syms_") == (half == Half::SessionCookie);
        self.0.get(text).filter(|_| fits).cloned().ok_or(Refusal::InvalidToken)
    }
}
