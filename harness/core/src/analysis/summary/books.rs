//! What the laws and the validity checks compare: both sides' counts, as they fell out of the fold.
//!
//! Owns shapes only; the judgement is `laws`' and `validity`'s.

use std::collections::BTreeMap;

use crate::ids::{AttemptId, TaskId};
use crate::instant::RunInstant;
use crate::ledger::RunEnd;
use crate::vocabulary::Phase;

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

/// What one TCP source port was used for in a round. A port can be used twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PortUse {
    /// Attempts that became a handshake.
    pub handshakes: u32,
    /// Attempts that were refused.
    pub refusals: u32,
    /// Attempts given up or lost so late that the server may have authenticated them.
    pub maybe_accepted: u32,
    /// Attempts given up so early that the server may have dropped them.
    pub maybe_dropped: u32,
    /// Attempts that stood as TCP connections: sshd must have logged them.
    pub reached: u32,
    /// Those of them that were given up before a byte had come: they may never have left the kernel's listen queue.
    pub maybe_queued: u32,
    /// Attempts given up before the TCP connection stood: sshd may have logged them all the same.
    pub maybe_reached: u32,
    /// The first attempt from this port.
    pub first: Option<AttemptNote>,
}

/// One attempt, to be told to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptNote {
    /// Attempt.
    pub attempt: AttemptId,
    /// Task.
    pub task: TaskId,
    /// Phase.
    pub phase: Phase,
    /// 1 for the first try at its connection.
    pub ordinal: u32,
    /// Metric its outcome is counted under.
    pub outcome: &'static str,
    /// `connect()` was called.
    pub at: RunInstant,
    /// Source port.
    pub port: Option<u16>,
}

impl AttemptNote {
    /// For a person; the time is that since the round began.
    #[must_use]
    pub fn told(&self, round_started: RunInstant) -> String {
        let port = match self.port {
            Some(port) => format!("port {port}"),
            None => String::from("port unknown"),
        };
        format!(
            "{port} attempt {} ({}, task {}, {}, try {}, {:.3} s into the round)",
            self.attempt,
            self.outcome,
            self.task,
            self.phase.as_str(),
            self.ordinal,
            self.at.since(round_started).as_secs_f64()
        )
    }
}

/// The client's attempts by source port, to be joined to the server's log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientPorts {
    /// By port; at most 65 536 entries.
    pub by_port: BTreeMap<u16, PortUse>,
    /// The same for attempts whose port is not known.
    pub without_port: PortUse,
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
    /// `AttemptStarted` events.
    pub attempts_started: u64,
    /// Attempts with exactly one `AttemptEnded`.
    pub attempts_ended_once: u64,
    /// `CommandStarted` events.
    pub commands_started: u64,
    /// Commands with exactly one `CommandEnded`.
    pub commands_ended_once: u64,
    /// Handshakes.
    pub connections_made: u64,
    /// Handshakes with exactly one `ConnectionEnded`.
    pub connections_ended_once: u64,
    /// The client's source ports.
    pub ports: ClientPorts,
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
    /// Rounds whose server log was given although the ledger has no such round.
    pub unknown_server_logs: u64,
}
