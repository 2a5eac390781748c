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

/// Every fault. Each shows within a tenth of so many histories today, most in the first few.
pub(crate) const HISTORIES_MAX: u64 = 2000;
pub(crate) const ALL: &[Fault] = &[
    Fault::LeaseFromAnswer,
    Fault::CachedNow,
    Fault::AcknowledgeBeforeApplying,
    Fault::SharedIdentity,
    Fault::SnapshotReplaces,
    Fault::SequencesReused,
    Fault::TakenBackwards,
    Fault::RenewalOutsideLock,
    Fault::EndedAlreadyIsConfirmed,
    Fault::NoBarrier,
    Fault::PauseBeforeSignature,
    Fault::CacheSkipsSet,
    Fault::CacheAgeFromArrival,
    Fault::LoadIsShared,
    Fault::LogGap,
    Fault::EntryLeavesEarly,
    Fault::LeasesForgotten,
    Fault::LongestLeaseForgotten,
    Fault::PartialPageIsComplete,
    Fault::NodeGrantsWhole,
    Fault::NodeAcknowledgesAlone,
    Fault::NodeServesPartialSnapshot,
    Fault::NodeAcknowledgesSnapshot,
    Fault::NodeKeepsAcknowledgements,
    Fault::ChildFromCache,
    Fault::LocalWallClock,
    Fault::ClocksBeyondAllowance,
    Fault::CoalescedQuestions,
    Fault::NotDurable,
];
