//! The conformance suite on each of our stores.

use symbolon_guard::store::{SessionStore, conformance, memory::Memory};

/// How often each race is run.
#[expect(clippy::disallowed_methods, reason = "how long the tests may take is the caller's choice")]
pub(crate) fn rounds() -> usize {
    std::env::var("SYMBOLON_TEST_RACES").ok().and_then(|text| text.parse().ok()).unwrap_or(500)
}

pub(crate) async fn conforms(store: impl SessionStore) {
    match conformance::run(store, rounds()).await {
        Ok(report) => println!("{report}"),
        Err(failures) => panic!("\n{failures}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_conforms() {
    conforms(Memory::with_events(100_000, 100_000)).await;
}
