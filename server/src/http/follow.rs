//! `POST /follow`: the revocation log for those who decide alone.

use axum::{extract::State, http::HeaderMap, response::Response};
use symbolon_core::{client::ClientKind, follower::Question, lease::NotHeard};

use super::{
    Http,
    input::{Authenticated, Body},
    output,
    problem::{self, Problem},
};
use crate::{
    ops::follow::{self, Refused},
    os::tick,
};

/// Answers what has ended after the follower's cursor, at once or when the next end comes, within two fifths of a lease.
pub async fn follow(
    State(http): State<Http>,
    Authenticated(client): Authenticated,
    Body(question): Body<Question>,
) -> Result<Response, Problem> {
    // Followers say which sessions were used and how long a confirmation waits: that is for our own services.
    if client.kind != ClientKind::Resource && !client.first_party {
        return Err(Problem::from(problem::CLIENT_KIND)
            .detail("only resource servers and first-party clients follow the revocation log"));
    }
    // After the question was sent: a lease that counts from here is known for longer than it is used.
    let asked_at = tick();
    let answer = follow::answer(&http.app, &client.id, question, asked_at).await?;
    Ok(output::json(HeaderMap::new(), answer))
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotHeard(NotHeard::Identity) => problem::FOLLOWER_IDENTITY.into(),
            Refused::NotHeard(NotHeard::Full) => problem::FOLLOWERS.into(),
            Refused::Elsewhere => problem::FOLLOWER_ELSEWHERE.into(),
            Refused::TooMuch => Self::from(problem::MALFORMED).detail(refused.to_string()),
            Refused::Unavailable(error) => error.into(),
        }
    }
}
