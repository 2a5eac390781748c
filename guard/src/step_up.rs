//! How strong and how recent a login must be, and how a client hears of it (RFC 9470).

use std::{fmt::Write, time::Duration};

use symbolon_core::{session::Assurance, time::Time};

use crate::identity::Claims;

/// What a login must be. Whatever is `None` is not asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepUp {
    /// At least this strong (`acr`).
    pub assurance: Option<Assurance>,
    /// At most so long ago (`auth_time`). A user without `auth_time` logged in too long ago.
    pub max_age: Option<Duration>,
}

impl StepUp {
    /// Whether a login is all of that.
    pub(crate) fn is_met_by(&self, claims: &Claims, now: Time) -> bool {
        let recent = |age| claims.auth_time.is_some_and(|at| now.since(at) <= age);
        self.assurance.is_none_or(|level| claims.assurance.is_some_and(|own| own >= level))
            && self.max_age.is_none_or(recent)
    }

    /// What the client sends to the authorization endpoint, as parameters of a challenge (section 3).
    pub(crate) fn parameters(&self) -> String {
        let mut parameters = String::new();
        if let Some(level) = self.assurance {
            let _ = write!(parameters, ", acr_values=\"{}\"", level.as_str());
        }
        if let Some(age) = self.max_age {
            let _ = write!(parameters, ", max_age=\"{}\"", age.as_secs());
        }
        parameters
    }
}
