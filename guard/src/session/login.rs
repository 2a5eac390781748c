//! [`Login`]: who logs in, and what session they get.

use std::{sync::Arc, time::Duration};

use symbolon_core::{id::SessionId, session::Limits, time::Time};

use super::Settings;
use crate::store::{AtMost, Delta, LABEL_BYTES_MAX, Opening, USER_BYTES_MAX};

/// A login: who, and what for a session it gets.
///
/// ```
/// use symbolon_guard::session::Login;
/// let login = Login::new("user-17").remembered(true).label("Firefox on Linux");
/// ```
#[derive(Debug, Clone)]
pub struct Login {
    user: Arc<str>,
    label: Option<Arc<str>>,
    remembered: bool,
    at_most: Option<AtMost>,
    limits: Option<(Duration, Duration)>,
}

impl Login {
    /// Of the user whom the application knows by this name: 1 to 256 bytes that never change.
    pub fn new(user: impl Into<Arc<str>>) -> Self {
        Self { user: user.into(), label: None, remembered: false, at_most: None, limits: None }
    }

    /// Whether the user asked to be remembered: the longer limits, and a cookie that outlives the browser.
    #[must_use]
    pub fn remembered(self, remembered: bool) -> Self {
        Self { remembered, ..self }
    }

    /// What the user knows the session by in a list. Cut after 128 bytes.
    #[must_use]
    pub fn label(self, label: &str) -> Self {
        let label = &label[..label.floor_char_boundary(LABEL_BYTES_MAX)];
        Self { label: Some(label.into()), ..self }
    }

    /// How many sessions this user may have, this one included.
    #[must_use]
    pub fn at_most(self, at_most: AtMost) -> Self {
        Self { at_most: Some(at_most), ..self }
    }

    /// How long this session may be silent, and how long it lives, instead of what the settings say.
    #[must_use]
    pub fn limits(self, idle: Duration, absolute: Duration) -> Self {
        Self { limits: Some((idle, absolute)), ..self }
    }

    /// Whether there can be a user of this name.
    pub(super) fn is_possible(&self) -> bool {
        !self.user.is_empty() && self.user.len() <= USER_BYTES_MAX
    }

    /// The session to be, of a request that began at `began_at`.
    pub(super) fn opening(
        self,
        id: SessionId,
        settings: &Settings,
        began_at: Time,
        now: Time,
        delta: Delta,
    ) -> Opening {
        let lifetimes = &settings.lifetimes;
        let (idle, absolute) = self.limits.unwrap_or(if self.remembered {
            (lifetimes.remembered_idle, lifetimes.remembered_absolute)
        } else {
            (lifetimes.idle, lifetimes.absolute)
        });
        Opening {
            id,
            user: Some(self.user),
            label: self.label,
            remembered: self.remembered,
            opened_at: now,
            limits: Limits { idle, ends_at: now + absolute },
            at_most: self.at_most.or(settings.at_most),
            began_at,
            delta,
        }
    }
}
