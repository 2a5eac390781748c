//! What can be broken on purpose.

/// One broken form of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The lease counts from when the answer arrived.
    LeaseFromAnswer,
    /// A ticker reads the clock; decisions take what it read last.
    CachedNow,
    /// The cursor moves before the entries are in the set.
    AcknowledgeBeforeApplying,
    /// Two processes use one identity, and the server does not look at the last answer.
    SharedIdentity,
    /// A snapshot takes the place of what is held.
    SnapshotReplaces,
    /// After a restore the log goes on under its old name, with tags that prove nothing.
    SequencesReused,
    /// A node behind a cursor answers at once, and its follower believes whatever came last.
    TakenBackwards,
    /// A renewal reads the log, waits, and only then writes its lease down.
    RenewalOutsideLock,
    /// What was ended already is confirmed at once.
    EndedAlreadyIsConfirmed,
    /// A confirmation takes the head of the log before what the asker saw committed is in it.
    NoBarrier,
    /// `iat` is read when the token is signed, however old the proof of life is.
    PauseBeforeSignature,
    /// A hit in the cache does not look at the set.
    CacheSkipsSet,
    /// A cached answer's age counts from when it arrived.
    CacheAgeFromArrival,
    /// Many wait for one question that was sent before some of them came, and all believe the answer.
    LoadIsShared,
    /// Two ends commit in another order than their sequences.
    LogGap,
    /// Entries leave while tokens live that carry their ids.
    EntryLeavesEarly,
    /// After a start, nobody waits for the leases of the process before.
    LeasesForgotten,
    /// After a start, leases of the new length are waited for, but longer ones had been granted.
    LongestLeaseForgotten,
    /// The first page of an answer is treated as all of it.
    PartialPageIsComplete,
    /// A node grants whole leases, however little is left of its own.
    NodeGrantsWhole,
    /// A node acknowledges what its followers have not.
    NodeAcknowledgesAlone,
    /// A node that reads another log page by page answers from the pages that it has.
    NodeServesPartialSnapshot,
    /// A node that must start again acknowledges the snapshot while leases run that it granted before.
    NodeAcknowledgesSnapshot,
    /// What was acknowledged of one log counts for another.
    NodeKeepsAcknowledgements,
    /// A child is made from a copy that says that its parent lives.
    ChildFromCache,
    /// `exp` is judged by the verifier's own wall clock.
    LocalWallClock,
    /// Clocks differ in rate by more than the protocol allows for.
    ClocksBeyondAllowance,
    /// A proxy gives one answer to two that asked.
    CoalescedQuestions,
    /// Entries are told, and ends confirmed, before they are durable.
    NotDurable,
}

/// Every fault, and within how many histories it must show.
pub(crate) const ALL: &[(Fault, u64)] = &[
    (Fault::LeaseFromAnswer, 300),
    (Fault::CachedNow, 300),
    (Fault::AcknowledgeBeforeApplying, 300),
    (Fault::SharedIdentity, 300),
    (Fault::SnapshotReplaces, 300),
    (Fault::SequencesReused, 300),
    (Fault::TakenBackwards, 300),
    (Fault::RenewalOutsideLock, 300),
    (Fault::EndedAlreadyIsConfirmed, 300),
    (Fault::NoBarrier, 300),
    (Fault::PauseBeforeSignature, 300),
    (Fault::CacheSkipsSet, 300),
    (Fault::CacheAgeFromArrival, 300),
    (Fault::LoadIsShared, 300),
    (Fault::LogGap, 300),
    (Fault::EntryLeavesEarly, 300),
    (Fault::LeasesForgotten, 300),
    (Fault::LongestLeaseForgotten, 300),
    (Fault::PartialPageIsComplete, 300),
    (Fault::NodeGrantsWhole, 300),
    (Fault::NodeAcknowledgesAlone, 300),
    (Fault::NodeServesPartialSnapshot, 300),
    (Fault::NodeAcknowledgesSnapshot, 300),
    (Fault::NodeKeepsAcknowledgements, 3000),
    (Fault::ChildFromCache, 300),
    (Fault::LocalWallClock, 300),
    (Fault::ClocksBeyondAllowance, 300),
    (Fault::CoalescedQuestions, 300),
    (Fault::NotDurable, 300),
];
