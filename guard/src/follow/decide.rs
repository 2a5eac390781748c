//! One decision: from a credential to the claims that it proves, or a refusal.

use std::{sync::Arc, time::Duration};

use symbolon_core::{
    secret::SecretText,
    session::Assurance,
    time::{Tick, Time},
    token::AccessToken,
};

use super::{
    Following, Shared,
    cache::{IDS_MAX, Ids, Known},
    state::Ground,
};
use crate::{admit::Half, error::Refusal, identity::Claims, remote::UNAVAILABLE};

/// What for a credential is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// A request: the session is in use.
    Request,
    /// To know whether it still counts.
    Looking,
}

/// What is known, judged now.
enum Judged {
    LetIn,
    Refused(Refusal),
    Ask,
    /// What is known says nothing any more.
    Spent,
}

impl Following {
    /// Whose credential it is, decided now.
    pub(super) async fn recognise(
        &self,
        half: Half,
        credential: &SecretText,
        used: Use,
    ) -> Result<Arc<Claims>, Refusal> {
        if let Some(known) = self.shared.credentials.get(credential) {
            match self.judge(&known, used) {
                Judged::LetIn => return Ok(known.claims.clone()),
                Judged::Refused(refusal) => return Err(refusal),
                Judged::Ask => return self.ask_alone(half, credential, used).await,
                Judged::Spent => self.shared.credentials.forget(credential),
            }
        }
        self.meet(half, credential, used).await
    }

    /// Decides about a credential that is not known.
    async fn meet(
        &self,
        half: Half,
        credential: &SecretText,
        used: Use,
    ) -> Result<Arc<Claims>, Refusal> {
        let known = match self.shared.state.ground(&[], self.policy).0 {
            Ground::Here(time) => self.shared.learn(half, credential, time).await?,
            Ground::Ask => return self.ask_alone(half, credential, used).await,
            Ground::Ended | Ground::Refuse => return Err(UNAVAILABLE),
        };
        // What ended meanwhile is in the set by now, or there is no lease any more.
        match self.judge(&known, used) {
            Judged::LetIn => {
                self.shared.credentials.put(credential, known.clone());
                Ok(known.claims.clone())
            }
            Judged::Refused(refusal) => Err(refusal),
            Judged::Ask | Judged::Spent => self.ask_alone(half, credential, used).await,
        }
    }

    /// Asks the server, for this request alone: its answer was made after the request came.
    async fn ask_alone(
        &self,
        half: Half,
        credential: &SecretText,
        used: Use,
    ) -> Result<Arc<Claims>, Refusal> {
        let known = self.shared.ask(half, credential).await?;
        match self.judge(&known, used) {
            Judged::Refused(Refusal::InvalidToken) => return Err(Refusal::InvalidToken),
            Judged::LetIn => self.shared.credentials.put(credential, known.clone()),
            // The server has just said that it counts.
            Judged::Refused(_) | Judged::Ask | Judged::Spent => {}
        }
        Ok(known.claims.clone())
    }

    /// Looks up everything that may have ended, at every use.
    fn judge(&self, known: &Known, used: Use) -> Judged {
        let (ground, now) = self.shared.state.ground(&known.ids, self.policy);
        match ground {
            Ground::Ended => Judged::Refused(Refusal::InvalidToken),
            Ground::Refuse => Judged::Refused(UNAVAILABLE),
            Ground::Ask => Judged::Ask,
            Ground::Here(time) if time >= known.until => Judged::Spent,
            Ground::Here(_) => {
                if used == Use::Request {
                    self.shared.note(known, now);
                }
                Judged::LetIn
            }
        }
    }

    /// How long what is known of a credential still says something.
    pub(super) fn left_of(&self, credential: &SecretText) -> Option<Duration> {
        let known = self.shared.credentials.get(credential)?;
        match self.shared.state.ground(&[], self.policy).0 {
            Ground::Here(time) => Some(known.until.since(time)),
            _ => None,
        }
    }
}

impl Shared {
    /// Finds out whose credential it is: here if it is a token that can be verified, otherwise by asking, together with
    /// all who ask the same.
    async fn learn(
        &self,
        half: Half,
        credential: &SecretText,
        time: Time,
    ) -> Result<Arc<Known>, Refusal> {
        match &self.keys {
            Some(keys) if half != Half::SessionCookie && is_jwt(credential.expose()) => {
                let verified =
                    keys.verify(credential.expose(), time, &self.asking.link, &self.state);
                Ok(Arc::new(self.known_by_token(verified.await?)))
            }
            _ => self.credentials.join(credential, self.ask(half, credential)).await,
        }
    }

    fn known_by_token(&self, token: AccessToken) -> Known {
        let (ids, claims) = (token.entries(), token.claims);
        // The log forgets an end when no token could carry it any more; what it says a token's life is, counts.
        let until = (claims.exp + self.leeway).min(self.state.copy_until_of(claims.iat));
        Known::new(of_token(claims), Ids::of(&ids), until)
    }

    async fn ask(&self, half: Half, credential: &SecretText) -> Result<Arc<Known>, Refusal> {
        // Before the question leaves.
        let copy_until = self.state.copy_until();
        let answer = self.asking.about(half, credential).await?;
        let (ids, exp) = answer.bounds();
        let until = match (copy_until, exp) {
            (Some(until), Some(exp)) if ids.len() <= IDS_MAX => exp.min(until),
            // It cannot be kept: it is spent at once.
            _ => Time::from_millis(i64::MIN),
        };
        let claims = self.asking.claims(answer)?;
        Ok(Arc::new(Known::new(claims, Ids::of(&ids), until)))
    }

    fn note(&self, known: &Known, now: Tick) {
        if known.wants_to_be_seen(now) && self.saw(known.claims.session) {
            known.was_seen(now);
        }
    }
}

/// Three parts: nothing else that the server gives out has a dot in it.
fn is_jwt(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 2
}

fn of_token(claims: symbolon_core::token::Claims) -> Claims {
    let assurance = match claims.acr.as_deref() {
        Some(acr) if acr == Assurance::Aal2.as_str() => Assurance::Aal2,
        _ => Assurance::Aal1,
    };
    Claims {
        subject: claims.user,
        session: claims.sid,
        parent: None,
        scopes: claims.scopes().map(Into::into).collect(),
        assurance: claims.user.map(|_| assurance),
        roles: claims.roles.into(),
        auth_time: claims.auth_time,
        client: claims.client_id,
        act: claims.act,
        key: claims.key,
    }
}
