//! A follower asks for what has ended since, and gets the right to decide alone for a moment.

use symbolon_core::{
    client::ClientId,
    follower::{Answer, Question, SEEN_MAX},
    lease::{Asking, Grant, NotHeard},
    log::{Cursor, Entry},
    time::Tick,
};

use super::Unavailable;
use crate::{
    app::{App, entry_life},
    os::now,
    store::Told,
};

/// Why a question gets no answer.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It gets no lease.
    #[error(transparent)]
    NotHeard(#[from] NotHeard),
    /// It says that more sessions were seen than one question may.
    #[error("one question names at most {SEEN_MAX} sessions that were seen")]
    TooMuch,
    /// It is for another node, which holds the lease that it was given last. Nothing of it was heard here.
    #[error("the question is for another node")]
    Elsewhere,
    /// The store does not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Answers as soon as there is something to tell, and within two fifths of a lease: so a follower that asks again at
/// once has its next answer before the lease of the last is over. `asked_at` is when the question arrived.
///
/// # Errors
/// [`Refused`].
pub async fn answer(
    app: &App,
    client: &ClientId,
    question: Question,
    asked_at: Tick,
) -> Result<Answer, Refused> {
    if question.seen.len() > SEEN_MAX {
        return Err(Refused::TooMuch);
    }
    let log = app.store.log();
    // Where there is one server, it is the right one.
    if let (Some(asked), Some(own)) = (question.node, log.node())
        && asked != own
    {
        return Err(Refused::Elsewhere);
    }
    let asking = Asking {
        follower: question.follower,
        name: client.as_str(),
        last: question.last_answer,
        acknowledges: None,
        trusts_expiry: question.trusts_expiry,
    };
    if question.trusts_expiry {
        // Before it is answered: only then does the follower trust.
        let span = entry_life(&app.config) / 8;
        let noted = app.store.note_trust(client.as_str(), now(), span).await;
        noted.map_err(Unavailable::from)?;
    }
    let has_all = log.hear(asking, question.cursor.as_ref())?;
    app.live.saw_elsewhere(&question.seen, now());
    if let Some(cursor) = question.cursor.filter(|_| has_all) {
        log.wait_after(cursor.sequence, log.lease() * 2 / 5).await;
    }
    let Page { entries, cursor, grant, more } = tell(app, &question, asked_at).await?;
    Ok(Answer {
        question: question.question,
        answer: grant.answer,
        node: log.node(),
        cursor,
        ended: entries.iter().map(|entry| entry.id).collect(),
        more,
        lease_ms: u64::try_from(grant.lease.as_millis()).unwrap_or(0),
        now_ms: now(),
        entry_life_ms: u64::try_from(entry_life(&app.config).as_millis()).unwrap_or(u64::MAX),
    })
}

struct Page {
    entries: Vec<Entry>,
    cursor: Cursor,
    grant: Grant,
    more: bool,
}

/// What follows the cursor: from memory for those who keep up, otherwise a page from the store.
async fn tell(app: &App, question: &Question, asked_at: Tick) -> Result<Page, Unavailable> {
    let log = app.store.log();
    let start = Cursor::start(log.head().log);
    let mut cursor = question.cursor.unwrap_or(start);
    let mut caught_up = false;
    loop {
        match log.tell(question.follower, &cursor, asked_at) {
            Told::All { entries, cursor, grant } => {
                return Ok(Page { entries, cursor, grant, more: false });
            }
            Told::Restart => cursor = start,
            // Another node has told it more, unless it is of a history that was lost.
            Told::Ahead if !caught_up => {
                app.store.barrier().await?;
                caught_up = true;
            }
            Told::Ahead => cursor = start,
            Told::Older => match app.store.entries_after(&cursor).await? {
                None => cursor = start,
                // Nothing that is still needed lies between there and what is in memory.
                Some((entries, reached)) if entries.is_empty() => cursor = reached,
                Some((entries, cursor)) => {
                    let grant = log.tell_part(question.follower);
                    return Ok(Page { entries, cursor, grant, more: true });
                }
            },
        }
    }
}
