//! What goes on behind, on a clock that the test moves.

use std::time::Duration;

use symbolon::{app::entry_life, jobs, store::Found};
use symbolon_core::{id::SessionId, time::Time};

use crate::world::World;

/// The clock moves on while nobody comes, and the sweeper runs. Returns when the session was last seen, and when its row
/// went.
async fn row_goes(world: &World, sid: SessionId, step: Duration) -> (Time, Time) {
    let Some(Found::Live(session, _)) = world.app.store.session(sid).await.unwrap() else {
        panic!("the session is alive")
    };
    let mut now = session.seen_at;
    while world.app.store.session(sid).await.unwrap().is_some() {
        now = now + step;
        assert!(now < session.limits.ends_at, "the absolute limit came first");
        jobs::sweep(&world.app, sid.as_bytes()[0], now).await;
    }
    (session.seen_at, now)
}

#[tokio::test]
async fn the_row_of_a_silent_session_outlives_everything_that_was_issued_for_it() {
    let world = World::with(|config| config.lifetimes.session_idle = Duration::from_hours(1)).await;
    let sid = world.tokens("user").await.sid.parse().unwrap();
    let (seen, gone) = row_goes(&world, sid, Duration::from_secs(60)).await;
    let life = entry_life(&world.app.config);
    let idle = world.app.config.lifetimes.session_idle;
    assert!(gone > seen + idle + life, "nothing of it is left by then");
    assert!(gone < seen + idle + 2 * life, "long before its absolute limit");
}
