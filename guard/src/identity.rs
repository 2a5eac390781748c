//! Who a request is, once it was let in.

use std::{ops::Deref, sync::Arc};

use symbolon_core::{
    client::ClientId,
    csrf,
    id::{SessionId, UserId},
    oauth::jwk::Thumbprint,
    session::Assurance,
    time::Time,
    token::Actor,
};

use crate::{
    admit::{Carried, Half},
    error::Refusal,
};

/// What an [`Authority`](crate::Authority) says about a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The user (`sub`). A visitor who has not logged in has none, a machine client neither.
    pub subject: Option<UserId>,
    /// The session (`sid`): what "my devices" lists and what is ended.
    pub session: SessionId,
    /// The browser session that authorised this one.
    pub parent: Option<SessionId>,
    /// The client that the session was opened for (`client_id`).
    pub client: ClientId,
    /// What the credential may be used for (`scope`).
    pub scopes: Vec<Box<str>>,
    /// What the subject is (`roles`).
    pub roles: Arc<[Box<str>]>,
    /// How sure we are who it is (`acr`). `None` for a visitor.
    pub assurance: Option<Assurance>,
    /// When the user proved it last (`auth_time`). `None` for a visitor and for a machine client.
    pub auth_time: Option<Time>,
    /// The service that acts for the user, and who had acted before it (`act`: RFC 8693, section 4.1). `None` where the user's
    /// own client asks. That somebody acts is for records; decide by [`Self::client`], which is that service, too.
    pub act: Option<Actor>,
    /// The key that the credential is bound to (`cnf.jkt`: RFC 9449, section 6.1). It counts only with a proof of this
    /// key, which the [`Guard`](crate::Guard) asks for.
    pub key: Option<Thumbprint>,
}

impl Claims {
    /// Whether the subject has a role.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|own| **own == *role)
    }

    /// Whether the credential has a scope.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|own| **own == *scope)
    }
}

/// Who a request is. The [`Guard`](crate::Guard) puts it into the request's extensions; with the feature `axum` it is
/// an extractor. It reads like its [`Claims`].
///
/// Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    claims: Arc<Claims>,
    carried: Arc<Carried>,
}

impl Identity {
    pub(crate) fn new(claims: Arc<Claims>, carried: Carried) -> Self {
        Self { claims, carried: Arc::new(carried) }
    }

    /// The credential that proved it.
    #[cfg(feature = "remote")]
    pub(crate) fn carried(&self) -> &Carried {
        &self.carried
    }

    /// The half that proved it.
    pub fn half(&self) -> Option<Half> {
        self.carried.credential().map(|(half, _)| half)
    }

    /// The CSRF token of the credential, to put into forms (field `csrf_token`) and to hand to scripts. It changes
    /// when the credential does. Empty for a bearer token, which needs none.
    pub fn csrf_token(&self) -> String {
        match self.carried.credential() {
            None | Some((Half::Bearer | Half::Dpop, _)) => String::new(),
            Some((Half::SessionCookie | Half::TokenCookie, text)) => csrf::token(text.expose()),
        }
    }

    /// Checks the `csrf_token` field of a form. A request with a bearer token needs none.
    ///
    /// # Errors
    /// [`Refusal::InvalidCsrfToken`].
    pub fn check_form_token(&self, field: &str) -> Result<(), Refusal> {
        match self.carried.credential() {
            Some((Half::Bearer | Half::Dpop, _)) => Ok(()),
            Some((_, text)) if csrf::matches(field, text.expose()) => Ok(()),
            _ => Err(Refusal::InvalidCsrfToken),
        }
    }
}

impl Deref for Identity {
    type Target = Claims;

    fn deref(&self) -> &Claims {
        &self.claims
    }
}
