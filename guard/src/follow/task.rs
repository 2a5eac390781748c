//! What goes on behind: asking for the log again and again, and keeping the keys.

use std::{
    convert::Infallible,
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, StatusCode};
use symbolon_core::follower::{Answer, Dropped, Question};

use super::{Shared, state::Heard};
use crate::link::{Query, Unanswered};

/// The most bytes of an answer that are read: [`ENTRIES_MAX`](symbolon_core::follower::ENTRIES_MAX) ids and then some.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// How long to wait after a question that failed: the first time, doubled each time, and at most.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long to wait when the server does not know the client.
const PAUSE_STRANGER: Duration = Duration::from_secs(10);
/// A server that has nothing to say keeps a question for a part of the lease. One that does not is asked this often.
const QUESTIONS_PER_LEASE: u32 = 20;
/// How often the keys are fetched, and how soon after that failed.
const KEYS_EVERY: Duration = Duration::from_secs(300);
const KEYS_AGAIN: Duration = Duration::from_secs(2);

/// Follows for as long as it is polled: give it to `tokio::spawn`, in the process that serves. It never ends by itself.
/// Dropping it stops following; then there is soon no lease any more.
///
/// A process that forks while it follows must not go on serving in the child before the child has polled a task of its
/// own: until then the child holds what was left of a lease that it did not ask for.
#[must_use = "nothing is followed unless this is spawned"]
pub struct Task(Pin<Box<dyn Future<Output = ()> + Send>>);

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Task")
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}

impl Task {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(Box::pin(async move {
            let (mut log, mut keys) = (pin!(follow(&shared)), pin!(keep_keys(&shared)));
            poll_fn(|context| {
                let _: Poll<Infallible> = log.as_mut().poll(context);
                let _: Poll<Infallible> = keys.as_mut().poll(context);
                Poll::Pending
            })
            .await
        }))
    }
}

/// Why a question brought nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failed {
    #[error("another process has used the identity, or an answer was lost")]
    Identity,
    #[error("the server does not know the client or its secret, or does not let it follow")]
    Stranger,
    #[error("another node answered")]
    Elsewhere,
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    #[error(transparent)]
    Dropped(#[from] Dropped),
}

async fn follow(shared: &Shared) -> Infallible {
    let (mut lease, mut failures, mut said) = (Duration::ZERO, 0, None);
    loop {
        let asked_at = shared.state.now();
        match ask(shared, lease).await {
            Ok(heard) => {
                if said.take().is_some() {
                    tracing::info!(server = shared.asking.link.base(), "following again");
                }
                (lease, failures) = (heard.lease.max(lease), 0);
                let took = shared.state.now().since(asked_at);
                if !heard.more && heard.ended.is_empty() {
                    let pause = if lease.is_zero() { PAUSE } else { lease / QUESTIONS_PER_LEASE };
                    tokio::time::sleep(pause.saturating_sub(took)).await;
                }
            }
            // A proxy gave it to another node: to the next, then.
            Err(Failed::Elsewhere) if shared.state.elsewhere() => {}
            Err(failed) => {
                if failed == Failed::Identity {
                    shared.state.rename();
                }
                shared.state.forget_node();
                // A lost answer makes one conflict, which is no news.
                if said != Some(failed) && (failed != Failed::Identity || failures > 0) {
                    tracing::warn!(server = shared.asking.link.base(), why = %failed, "cannot follow");
                    said = Some(failed);
                }
                tokio::time::sleep(pause(failed, failures)).await;
                failures += 1;
            }
        }
    }
}

pub(super) fn pause(failed: Failed, failures: u32) -> Duration {
    match (failed, failures) {
        (Failed::Stranger, _) => PAUSE_STRANGER,
        (Failed::Identity, 0) => Duration::ZERO,
        _ => (PAUSE * 2_u32.saturating_pow(failures.min(16))).min(PAUSE_MAX),
    }
}

async fn ask(shared: &Shared, lease: Duration) -> Result<Heard, Failed> {
    let question = shared.state.ask(shared.take_seen());
    let answer = post(shared, &question, lease).await;
    if answer.is_err() {
        // They may have been heard; saying it twice does no harm.
        for session in &question.seen {
            shared.saw(*session);
        }
    }
    let heard = shared.state.hear(answer?)?;
    if let Some(keys) = &shared.keys {
        // Before the next question, which acknowledges.
        keys.withdraw(&heard.ended);
    }
    if heard.regained || !heard.ended.is_empty() {
        shared.news.send_replace(());
    }
    Ok(heard)
}

async fn post(shared: &Shared, question: &Question, lease: Duration) -> Result<Answer, Failed> {
    let query = Query {
        method: Method::POST,
        path: "/follow",
        content_type: "application/json",
        body: serde_json::to_string(question).map_err(|_| Unanswered::Garbled)?,
        // The server may keep the question for a part of the lease.
        deadline: shared.asking.deadline + lease,
        answer_bytes_max: ANSWER_BYTES_MAX,
    };
    let response = shared.asking.link.ask(query).await?;
    match response.status {
        StatusCode::OK => {
            Ok(serde_json::from_slice(&response.body).map_err(|_| Unanswered::Garbled)?)
        }
        StatusCode::CONFLICT => Err(Failed::Identity),
        StatusCode::PRECONDITION_FAILED => Err(Failed::Elsewhere),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Failed::Stranger),
        status => Err(Unanswered::Status(status).into()),
    }
}

async fn keep_keys(shared: &Shared) -> Infallible {
    let Some(keys) = &shared.keys else { return std::future::pending().await };
    loop {
        let pause = match keys.refresh(&shared.asking.link, &shared.state).await {
            Ok(()) => KEYS_EVERY,
            Err(_) => KEYS_AGAIN,
        };
        shared.news.send_replace(());
        tokio::time::sleep(pause).await;
    }
}
