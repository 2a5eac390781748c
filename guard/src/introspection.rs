//! Asking the server about one credential (RFC 7662).

use std::time::Duration;

use form_urlencoded::byte_serialize;
use http::{Method, StatusCode};
use serde::Deserialize;
use symbolon_core::{
    client::ClientId,
    id::{EntryId, SessionId},
    oauth::jwk::Thumbprint,
    secret::SecretText,
    session::Assurance,
    time::Time,
    token::Actor,
};

use crate::{
    admit::Half,
    identity::Claims,
    link::{Link, Query, Unanswered},
};

/// The most bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// RFC 7662, section 2.2, and the claims of RFC 9068.
#[derive(Deserialize)]
pub(crate) struct Introspection {
    pub(crate) active: bool,
    token_type: Option<String>,
    #[serde(default)]
    aud: Audience,
    sub: Option<String>,
    sid: Option<SessionId>,
    parent: Option<SessionId>,
    client_id: Option<ClientId>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    roles: Vec<Box<str>>,
    acr: Option<Assurance>,
    auth_time: Option<i64>,
    exp: Option<i64>,
    act: Option<Actor>,
    cnf: Option<Confirmation>,
    /// The ids that end the credential once the revocation log names one of them.
    revoked_by: Option<Vec<EntryId>>,
}

/// How a token is bound (RFC 9449, section 6.2). An answer that says it otherwise cannot be read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    jkt: Thumbprint,
}

/// One audience or several (RFC 7519, section 4.1.3).
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

/// Asks whether a credential counts, and whose it is.
pub(crate) async fn introspect(
    link: &Link,
    credential: &SecretText,
    deadline: Duration,
) -> Result<Introspection, Unanswered> {
    let token: String = byte_serialize(credential.expose().as_bytes()).collect();
    let query = Query {
        method: Method::POST,
        path: "/oauth2/introspect",
        content_type: "application/x-www-form-urlencoded",
        body: format!("token={token}"),
        deadline,
        answer_bytes_max: ANSWER_BYTES_MAX,
    };
    let response = link.ask(query).await?;
    if response.status != StatusCode::OK {
        return Err(Unanswered::Status(response.status));
    }
    // What does not parse is not repeated in an error: it could hold anything.
    serde_json::from_slice(&response.body).map_err(|_| Unanswered::Garbled)
}

impl Introspection {
    /// Whether this is about the half that was carried: a session cookie's text is no access token, wherever it stands.
    pub(crate) fn is_for(&self, half: Half, audience: Option<&str>) -> bool {
        let token_type = self.token_type.as_deref().unwrap_or_default();
        match half {
            Half::SessionCookie => token_type == "session",
            Half::Bearer | Half::TokenCookie => {
                token_type.eq_ignore_ascii_case("Bearer") && self.is_to(audience)
            }
            Half::Dpop => token_type.eq_ignore_ascii_case("DPoP") && self.is_to(audience),
        }
    }

    fn is_to(&self, audience: Option<&str>) -> bool {
        audience.is_none_or(|wanted| match &self.aud {
            Audience::One(one) => one == wanted,
            Audience::Several(several) => several.iter().any(|one| one == wanted),
        })
    }

    /// What to look up in the revocation log at every use, and when it ends by itself: `None` when the server does not
    /// say both, so that the answer holds for one request.
    pub(crate) fn bounds(&self) -> (Vec<EntryId>, Option<Time>) {
        let mut ids: Vec<_> = self.revoked_by.iter().flatten().copied().collect();
        ids.extend(self.sid.into_iter().chain(self.parent).map(SessionId::entry));
        ids.extend(self.client_id.iter().map(ClientId::entry));
        ids.sort_unstable();
        ids.dedup();
        (ids, self.exp.filter(|_| self.revoked_by.is_some()).map(Time::from_secs))
    }

    /// `None` when the answer lacks what every session has.
    pub(crate) fn claims(self) -> Option<Claims> {
        let client = self.client_id?;
        let subject = match self.sub {
            // A machine client is its own subject (RFC 9068, section 2.2).
            Some(sub) if sub == client.as_str() => None,
            Some(sub) => Some(sub.parse().ok()?),
            None => None,
        };
        Some(Claims {
            subject,
            session: self.sid?,
            parent: self.parent,
            client,
            scopes: self.scope.split(' ').filter(|s| !s.is_empty()).map(Box::from).collect(),
            roles: self.roles.into(),
            assurance: self.acr,
            auth_time: self.auth_time.map(Time::from_secs),
            act: self.act,
            key: self.cnf.map(|cnf| cnf.jkt),
        })
    }
}
