//! What the laws and the validity checks compare: both sides' counts, as they fell out of the fold.
//!
//! Owns shapes only; the judgement is `laws`' and `validity`'s.

use crate::ledger::RunEnd;

/// How tasks of a round began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StartNumbers {
    /// All tasks had the same intended start.
    pub burst: bool,
    /// First `connect()` call of the first task to that of the last, nanoseconds.
    pub spread_ns: Option<u64>,
    /// From the first `connect()` call, the time by which 99 % of the tasks had made theirs, nanoseconds.
    pub spread_p99_ns: Option<u64>,
    /// Largest start lag that `max_in_flight` cannot explain (no task had ended since the intended start),
    /// nanoseconds.
    pub own_lag_max_ns: u64,
    /// TCP connects that took as long as one or more SYN retransmissions.
    pub slow_connects: u64,
}

/// Both sides of the ledger's own conservation laws for one round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoundBooks {
    /// Tasks announced by `RoundStarted`.
    pub tasks_planned: u64,
    /// `TaskScheduled` events.
    pub tasks_scheduled: u64,
    /// Tasks with exactly one `TaskEnded`.
    pub tasks_ended_once: u64,
    /// `AttemptStarted` and `HolderStarted` events.
    pub attempts_started: u64,
    /// Attempts with exactly one `AttemptEnded`, or `HolderEnded`.
    pub attempts_ended_once: u64,
    /// `CommandStarted` events.
    pub commands_started: u64,
    /// Commands with exactly one `CommandEnded`.
    pub commands_ended_once: u64,
    /// Handshakes.
    pub connections_made: u64,
    /// Handshakes with exactly one `ConnectionEnded`.
    pub connections_ended_once: u64,
    /// Connections of clients under test that begin in sshd's log.
    pub connections_logged: u64,
    /// … that were dropped, logged in, or have an end before that.
    pub connections_settled: u64,
    /// Logins of connections whose beginning is not in the log.
    pub connections_unannounced: u64,
}

/// The ledger as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerBooks {
    /// Records.
    pub records: u64,
    /// Records whose `seq` is not the expected one.
    pub sequence_errors: u64,
    /// Records stamped earlier than the one before.
    pub time_reversals: u64,
    /// The first record is `RunStarted`.
    pub opened: bool,
    /// `RunEnded`, when it was the last record.
    pub closed: Option<RunEnd>,
    /// Records after `RunEnded`.
    pub after_close: u64,
    /// Events that name a round, task, attempt or command that is not open: a second end, an end without a start,
    /// an event after its round's end.
    pub stray_events: u64,
    /// The first of them, for a person.
    pub stray_samples: Vec<String>,
    /// `RoundStarted` events.
    pub rounds_started: u64,
    /// Rounds with a `RoundEnded`.
    pub rounds_ended: u64,
}
