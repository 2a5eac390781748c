//! Events on their way from the store to the application.

use std::{fmt, time::Duration};

use tokio::time::sleep;

use super::reach::Reach;
use crate::store::Event;

/// Events that are taken at a time.
const EVENTS_MAX: usize = 100;
/// How long nobody looks when there was nothing, or something failed.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn tell<F, T, E>(reach: &Reach, mut hear: F)
where
    F: FnMut(Event) -> T,
    T: Future<Output = Result<(), E>>,
    E: fmt::Display,
{
    loop {
        let events = reach.ask(|store| store.events(EVENTS_MAX)).await.unwrap_or_default();
        let (all, mut heard) = (events.len(), Vec::with_capacity(events.len()));
        for event in events {
            let id = event.id;
            match hear(event).await {
                Ok(()) => heard.push(id),
                Err(error) => {
                    tracing::warn!(%error, "an event of a session was not taken; it comes again");
                    break;
                }
            }
        }
        let settled = heard.is_empty() || reach.ask(|store| store.settle(&heard)).await.is_ok();
        if all < EVENTS_MAX || heard.len() < all || !settled {
            sleep(PAUSE).await;
        }
    }
}
