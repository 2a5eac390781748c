//! Keys: made ahead of time, published, used, retired, withdrawn.

use std::sync::Arc;

use symbolon_core::{
    audit::{Act, Event},
    change::{Change, Write},
    id::KeyId,
    keys::{Algorithm, KeyAct, KeyRecord, NewKey, Usage, plan},
    time::Time,
};

use super::Unavailable;
use crate::{
    app::{App, Keys, Os},
    store::Outcome,
};

/// Makes the keys that are due, removes those that nobody needs, and opens the ring anew.
///
/// # Errors
/// [`Unavailable`].
pub async fn rotate_due(app: &App, now: Time) -> Result<(), Unavailable> {
    let _turn = app.key_turn.lock().await;
    let records = app.store.keys().await?;
    let mut wanted = vec![Usage::Handle, Usage::Sign(Algorithm::default())];
    let clients = app.clients();
    wanted.extend(clients.values().flat_map(|client| client.algorithms()).map(Usage::Sign));
    // A usage that was wanted once has keys, and goes on having them.
    wanted.extend(records.iter().map(|record| record.usage));
    wanted.sort_unstable();
    wanted.dedup();
    carry_out(app, &records, &wanted, now).await
}

/// The keys, with one that signs by `algorithm` among them. It is there before the first token is
/// ([`Client::algorithms`](symbolon_core::client::Client::algorithms)), unless making it failed then.
///
/// # Errors
/// [`Unavailable`].
pub async fn with_signing_key(
    app: &App,
    algorithm: Algorithm,
    now: Time,
) -> Result<Arc<Keys>, Unavailable> {
    let keys = app.keys();
    if keys.ring.signing_key(algorithm, now).is_some() {
        return Ok(keys);
    }
    let _turn = app.key_turn.lock().await;
    if app.keys().ring.signing_key(algorithm, now).is_none() {
        let records = app.store.keys().await?;
        carry_out(app, &records, &[Usage::Sign(algorithm)], now).await?;
    }
    Ok(app.keys())
}

async fn carry_out(
    app: &App,
    records: &[KeyRecord],
    wanted: &[Usage],
    now: Time,
) -> Result<(), Unavailable> {
    for act in plan(records, wanted, now, &app.key_policy()) {
        let write = match act {
            KeyAct::Create(new) => Write::AddKey(Box::new(make(app, records, new, now).await?)),
            KeyAct::Remove(id) => Write::RemoveKey(id),
        };
        commit(app, write, now).await?;
    }
    app.open_ring().await
}

/// Making an RSA key takes long enough to be kept off the threads that answer requests.
async fn make(
    app: &App,
    records: &[KeyRecord],
    new: NewKey,
    now: Time,
) -> Result<KeyRecord, Unavailable> {
    let (records, master) = (records.to_vec(), Arc::clone(&app.master));
    let made = tokio::task::spawn_blocking(move || new.make(&records, &master, now, &mut Os)).await;
    let failed = |error: &dyn std::fmt::Display| Unavailable::Key(error.to_string());
    made.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
}

async fn commit(app: &App, write: Write, now: Time) -> Result<Outcome, Unavailable> {
    let mut change = Change::at(now);
    change.record(Event::of_server(Act::KeyChanged));
    change.write(write);
    Ok(app.store.commit(change).await?)
}

/// Makes a new key for a usage now and lets it take over as soon as everybody has seen it.
///
/// # Errors
/// [`Unavailable`].
pub async fn rotate(app: &App, usage: Usage, now: Time) -> Result<KeyId, Unavailable> {
    let _turn = app.key_turn.lock().await;
    let records = app.store.keys().await?;
    let new = NewKey { usage, activates_at: now + app.key_policy().publish_ahead };
    let record = make(app, &records, new, now).await?;
    let id = record.id;
    commit(app, Write::AddKey(Box::new(record)), now).await?;
    app.open_ring().await?;
    Ok(id)
}

/// Declares a key lost: whatever was made with it is refused from now on. Says whether there was such a key.
///
/// # Errors
/// [`Unavailable`].
pub async fn withdraw(app: &App, id: KeyId, now: Time) -> Result<bool, Unavailable> {
    {
        let _turn = app.key_turn.lock().await;
        let mut change = Change::at(now);
        change.record(Event::of_server(Act::KeyChanged));
        change.write(Write::WithdrawKey(id));
        change.end(id.entry());
        if !matches!(app.store.commit(change).await?, Outcome::Applied(_)) {
            return Ok(false);
        }
        app.open_ring().await?;
    }
    rotate_due(app, now).await?;
    Ok(true)
}
