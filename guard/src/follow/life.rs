//! Telling when an identity dies, for what goes on after a request was let in.

use std::time::Duration;

use super::{Dial, Following, decide::Use};
use crate::identity::Identity;

/// How soon to look again when there is no lease, and how late to notice that one is over.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_millis(10);

/// The life of one identity: for event streams and WebSockets, which go on after their request was let in.
///
/// A stream that ends only when the client leaves outlives the login. So ask [`Life::stands`] before each message, and
/// end when [`Life::over`] does. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Life {
    following: Following,
    identity: Identity,
}

impl Life {
    pub(super) const fn new(following: Following, identity: Identity) -> Self {
        Self { following, identity }
    }

    /// Whether the identity would be let in now: its session, its token, its client, its key have not ended, it has not
    /// expired, and there is a lease, or else what the layer does without one lets it in. Costs what a repeated
    /// credential costs. It does not keep the session from falling idle.
    pub async fn stands(&self) -> bool {
        self.is_let_in(&self.following).await
    }

    /// Waits until the identity is let in no more: at once when its end is heard, and when it expires. When there is no
    /// lease any more the server is asked once per second, or it is over, as configured. With [`Dial::Strict`] this waits
    /// as with [`Dial::Lease`]; what must be strict asks [`Life::stands`].
    pub async fn over(&self) {
        let dial = match self.following.policy.dial {
            Dial::Strict => Dial::Lease,
            dial => dial,
        };
        let following = self.following.dial(dial);
        let mut news = following.shared.news.subscribe();
        loop {
            news.mark_unchanged();
            if !self.is_let_in(&following).await {
                return;
            }
            let wait = self.look_again_in(&following);
            // Either there is news, or it is time to look.
            let _ = tokio::time::timeout(wait, news.changed()).await;
        }
    }

    async fn is_let_in(&self, following: &Following) -> bool {
        let Some((half, credential)) = self.identity.carried().credential() else { return false };
        following.recognise(half, credential, Use::Looking).await.is_ok()
    }

    fn look_again_in(&self, following: &Following) -> Duration {
        let lease = following.shared.state.standings().lease_left;
        let lease = if lease.is_zero() { LOOK_AGAIN } else { lease };
        let credential = self.identity.carried().credential().map(|(_, credential)| credential);
        let left = credential.and_then(|credential| following.left_of(credential));
        lease.min(left.unwrap_or(LOOK_AGAIN)).max(LATE)
    }
}
