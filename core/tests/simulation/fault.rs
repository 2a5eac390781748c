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
    // Of nodes that share a store:
    /// A node's lease counts from when its renewal was committed.
    NodeLeaseFromCommit,
    /// A node decides without looking at its lease.
    GateIsOpen,
    /// A renewal shares no lock with ends.
    RenewalSharesNoLock,
    /// A renewal reads the log, and then waits for the lock.
    RenewalReadsFirst,
    /// Entries get their numbers from a sequence that nobody locks.
    NumberedOutsideLock,
    /// The state changes in one commit, the log in another.
    EntriesApart,
    /// A node whose row was removed renews all the same.
    RenewsWithoutRow,
    /// A node whose row is gone, perhaps with those of others, confirms without them.
    RowGoneNotWaitedFor,
    /// A node whose row is older than it left it takes no notice.
    OlderRowIsOwn,
    /// Two nodes are configured with one identity.
    NodesShareIdentity,
    /// Who does not acknowledge at once is not waited for.
    SilentIsGone,
    /// The lease that is waited out counts from when the end was asked for, not from after its commit.
    WaitsFromAsking,
    /// A node does not look which history the store tells.
    HistoryIgnored,
    /// It looks at the name alone, not whether the log has come to the same number with another entry.
    EntryNotCompared,
    /// A node that goes over to another history waits for no leases of before.
    HistoryNotWaitedFor,
    /// So does one that starts.
    StartNotWaitedFor,
    /// What a node acknowledged of one history counts for another.
    ProgressKept,
    /// Ends are confirmed though a failover may lose them.
    UnfencedConfirms,
    /// Of a session that the store does not know no entry is written.
    UnknownIsGone,
    /// A refresh token moves on, whatever generation it has come to.
    RefreshWithoutVersion,
    /// A refresh token moves on, whether its session lives or not.
    RefreshWithoutLife,
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
/// Those that nodes on a shared store can have.
pub(crate) const SHARED: &[Fault] = &[
    Fault::NodeLeaseFromCommit,
    Fault::GateIsOpen,
    Fault::RenewalSharesNoLock,
    Fault::RenewalReadsFirst,
    Fault::NumberedOutsideLock,
    Fault::EntriesApart,
    Fault::RenewsWithoutRow,
    Fault::RowGoneNotWaitedFor,
    Fault::OlderRowIsOwn,
    Fault::NodesShareIdentity,
    Fault::SilentIsGone,
    Fault::WaitsFromAsking,
    Fault::HistoryIgnored,
    Fault::EntryNotCompared,
    Fault::HistoryNotWaitedFor,
    Fault::StartNotWaitedFor,
    Fault::ProgressKept,
    Fault::UnfencedConfirms,
    Fault::UnknownIsGone,
    Fault::RefreshWithoutVersion,
    Fault::RefreshWithoutLife,
    // Those above that show here, too.
    Fault::AcknowledgeBeforeApplying,
    Fault::SharedIdentity,
    Fault::SnapshotReplaces,
    Fault::SequencesReused,
    Fault::TakenBackwards,
    Fault::EndedAlreadyIsConfirmed,
    Fault::NoBarrier,
    Fault::CacheSkipsSet,
    Fault::NodeGrantsWhole,
    Fault::NodeAcknowledgesAlone,
    Fault::ChildFromCache,
    Fault::ClocksBeyondAllowance,
    Fault::NotDurable,
];
