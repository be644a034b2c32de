//! The events of a run and their envelope.
//!
//! Owns what can happen; must not know who says so or who listens.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{AttemptId, CommandId, RoundId, StrategyName, TaskId};
use crate::instant::RunInstant;
use crate::manifest::Manifest;
use crate::reading::{GeneratorSample, ServerReading};
use crate::vocabulary::{
    AttemptOutcome, AttemptTrace, CleanupPolicy, CleanupResult, ClientEnd, CommandOutcome,
    ConnectionEnd, Phase, RetryKind, Step, TaskFate,
};

/// One event with its place in the order of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Position, from 0, without gaps.
    pub seq: u64,
    /// When it was recorded; never decreases with `seq`.
    pub at: RunInstant,
    /// What happened.
    pub event: Event,
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoundEnd {
    /// Every task reached its own end.
    Complete,
    /// First interrupt: tasks under way were let finish, the others were not started.
    Drained,
    /// Second interrupt, or the drain deadline: tasks under way were abandoned.
    Aborted,
    /// `max_duration` was reached.
    OutOfTime,
    /// The server under test died.
    ServerLost,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunEnd {
    /// All rounds were executed.
    Complete,
    /// Stopped by the user.
    Interrupted,
    /// `max_duration` was reached.
    OutOfTime,
    /// The server under test died or could not be asked any more.
    ServerLost,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// First event of every ledger: what is about to be run.
    RunStarted {
        /// Everything that was fixed beforehand.
        manifest: Box<Manifest>,
    },
    /// A round begins on a target proven idle.
    RoundStarted {
        /// The round.
        round: RoundId,
        /// Repetition, from 1: rounds of different strategies with the same repetition share their random draws.
        repetition: u32,
        /// Strategy of the round.
        strategy: StrategyName,
        /// Cleanup policy in force.
        cleanup: CleanupPolicy,
        /// Tasks in the round.
        tasks: u32,
        /// Whether the server was seen idle, as opposed to unknown.
        proven_idle: bool,
    },
    /// A task's place in the arrival pattern; recorded when the barrier is released.
    TaskScheduled {
        /// Round.
        round: RoundId,
        /// Task.
        task: TaskId,
        /// When it was meant to begin.
        intended: RunInstant,
        /// Name of its job directory.
        job_id: String,
    },
    /// The task left the barrier and began.
    TaskStarted {
        /// Round.
        round: RoundId,
        /// Task.
        task: TaskId,
    },
    /// The task entered a phase.
    PhaseStarted {
        /// Round.
        round: RoundId,
        /// Task.
        task: TaskId,
        /// Phase.
        phase: Phase,
    },
    /// The task left a phase, whatever became of it.
    PhaseEnded {
        /// Round.
        round: RoundId,
        /// Task.
        task: TaskId,
        /// Phase.
        phase: Phase,
    },
    /// A connection attempt begins.
    AttemptStarted {
        /// Round.
        round: RoundId,
        /// Task.
        task: TaskId,
        /// Attempt.
        attempt: AttemptId,
        /// Phase it is counted under.
        phase: Phase,
        /// 1 for the first try at this connection, more for retries.
        ordinal: u32,
    },
    /// The attempt of a silent client beside the tasks begins.
    HolderStarted {
        /// Round.
        round: RoundId,
        /// Attempt.
        attempt: AttemptId,
    },
    /// It ended, in exactly one outcome.
    HolderEnded {
        /// Attempt.
        attempt: AttemptId,
        /// How.
        outcome: AttemptOutcome,
        /// What the stream tap saw.
        trace: Box<AttemptTrace>,
    },
    /// A connection attempt ended, in exactly one outcome.
    AttemptEnded {
        /// Attempt.
        attempt: AttemptId,
        /// How.
        outcome: AttemptOutcome,
        /// What the stream tap saw.
        trace: Box<AttemptTrace>,
    },
    /// An established connection ended.
    ConnectionEnded {
        /// The attempt that made it.
        attempt: AttemptId,
        /// By whom and how.
        end: ConnectionEnd,
        /// Bytes received over its whole life.
        bytes_in: u64,
        /// Bytes sent over its whole life.
        bytes_out: u64,
    },
    /// A command begins.
    CommandStarted {
        /// Command.
        command: CommandId,
        /// The connection it runs on.
        attempt: AttemptId,
        /// Round.
        round: RoundId,
        /// Task.
        task: TaskId,
        /// Which command of the job.
        step: Step,
    },
    /// A command ended.
    CommandEnded {
        /// Command.
        command: CommandId,
        /// How.
        outcome: CommandOutcome,
        /// Bytes of standard output.
        stdout_bytes: u64,
    },
    /// One whole poll ended (all its commands, whatever became of them).
    PollEnded {
        /// Round.
        round: RoundId,
        /// Task.
        task: TaskId,
        /// Commands the poll consisted of when undisturbed: 2, or 3 when the log had grown.
        commands: u32,
        /// Whether the exit code was seen.
        completed: bool,
    },
    /// A wait before another try.
    RetryScheduled {
        /// Round.
        round: RoundId,
        /// Task.
        task: TaskId,
        /// Phase.
        phase: Phase,
        /// What is tried again.
        retry: RetryKind,
        /// How long it waits.
        #[serde(rename = "wait_ns", with = "nanoseconds")]
        #[schemars(with = "u64")]
        wait: Duration,
    },
    /// A task ended.
    TaskEnded {
        /// Round.
        round: RoundId,
        /// Task.
        task: TaskId,
        /// What became of it.
        fate: TaskFate,
        /// Whether the cleanup policy required the directory to be gone now.
        removal_required: bool,
        /// What became of the removal.
        cleanup: CleanupResult,
    },
    /// A client under test ended, or its time was up.
    ClientEnded {
        /// Round.
        round: RoundId,
        /// The task it ran for; `None` where it ran for all of the round.
        task: Option<TaskId>,
        /// How.
        end: ClientEnd,
        /// From its start to its end.
        #[serde(rename = "took_ns", with = "nanoseconds")]
        #[schemars(with = "u64")]
        took: Duration,
        /// Names of processes that were left when it had ended, and how often.
        left_behind: BTreeMap<String, u64>,
        /// What it wrote to standard output and standard error, bytes.
        output_bytes: u64,
        /// Lines of it that speak of a refusal. Information: nothing is judged by it.
        recognised: u64,
        /// The end of it, of one that failed its task.
        excerpt: String,
    },
    /// Everything that a client under test had started is gone.
    ClientCleared {
        /// Round.
        round: RoundId,
        /// The task it ran for; `None` where it ran for all of the round.
        task: Option<TaskId>,
        /// CPU time of all its processes, nanoseconds.
        cpu_ns: u64,
        /// Largest resident set of any one of its processes, bytes.
        memory_bytes: u64,
        /// Processes that had to be ended.
        killed: u32,
    },
    /// How busy the clients under test and the machine were in a round.
    ClientsSampled {
        /// Round.
        round: RoundId,
        /// The largest share of one core that any thread of a client used over some seconds; `None` when no two readings
        /// were far enough apart.
        thread_share: Option<f64>,
        /// Name of that thread.
        thread: String,
        /// The largest share of all cores that was in use by anything; likewise.
        machine_share: Option<f64>,
        /// The seconds over which they were taken.
        window_s: f64,
    },
    /// A job directory found on the target's own file system after a round.
    DirectoryFound {
        /// Round.
        round: RoundId,
        /// Name of the directory: the job id.
        name: String,
    },
    /// The listener's gauge showed another number of startup slots than before (or was read for the first time in
    /// the round).
    StartupsChanged {
        /// Round.
        round: RoundId,
        /// Slots in use.
        slots: u32,
        /// `start` of the running listener.
        start: u32,
        /// `full` of the running listener.
        full: u32,
    },
    /// The gauge was read no further in this round.
    StartupsSampled {
        /// Round.
        round: RoundId,
        /// Readings, changed or not.
        samples: u64,
        /// From the first reading to the last, nanoseconds.
        over_ns: u64,
        /// CPU time that reading cost, nanoseconds.
        sampler_cpu_ns: Option<u64>,
    },
    /// The server's side was looked at: first when the round began, last when the server was idle again.
    ServerSampled {
        /// Round.
        round: RoundId,
        /// The reading.
        reading: Box<ServerReading>,
    },
    /// A line of the server's log. The record's instant is when it was read: an upper bound of when it was written.
    ServerLogged {
        /// The line without its end. What is no UTF-8 is replaced.
        line: String,
    },
    /// The harness made a connection that is no attempt, to a server that somebody else runs, and waited for its line in that
    /// server's log: what was logged before it has been read then.
    LogMarked {
        /// The client's address.
        address: IpAddr,
        /// The client's port.
        port: u16,
    },
    /// The generator looked at itself.
    GeneratorSampled {
        /// The reading.
        sample: GeneratorSample,
    },
    /// A round ended; everything the harness did in it lies between its two events.
    RoundEnded {
        /// Round.
        round: RoundId,
        /// How.
        end: RoundEnd,
        /// Whether the target was seen idle after it.
        proven_idle: bool,
        /// Whether the target's job directories were listed (each is a `DirectoryFound`).
        inventory_taken: bool,
        /// Whether every line that the server had logged by then is in the ledger.
        log_taken: bool,
    },
    /// The user, a deadline or the target stopped the run.
    StopRequested {
        /// Word for a person: `SIGINT`, `max_duration`, ….
        reason: String,
        /// Whether tasks under way are abandoned rather than let finish.
        abort: bool,
    },
    /// A warning that belongs into every report.
    Warned {
        /// Full sentence with its remedy.
        text: String,
    },
    /// Last event of every ledger that was closed in good order.
    RunEnded {
        /// How.
        end: RunEnd,
    },
}

mod nanoseconds {
    //! Durations as integer nanoseconds: the unit stands in the key.

    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        value: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        crate::quantity::nanoseconds(*value).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_nanos)
    }
}
