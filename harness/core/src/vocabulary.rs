//! The words of the ledger: phases, steps, attempt and command outcomes, task fates.
//!
//! These are facts as seen on the socket, typed end to end; text is made of them only in `report`.
//! The variants mirror the metric names of the report, which are API.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::instant::RunInstant;
use crate::reading::TcpReading;
use crate::socket_error::SocketError;

/// Part of a task's life in which an attempt was made. Counts are always kept apart by phase.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Detect the operating system and start the job; all of the life of a client without a job.
    Submit,
    /// Watch it until it ends.
    Poll,
    /// Remove its directory.
    Cleanup,
}

impl Phase {
    /// All phases in the order of a task's life.
    pub const ALL: [Phase; 3] = [Phase::Submit, Phase::Poll, Phase::Cleanup];

    /// The word used in metric names.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Submit => "submit",
            Phase::Poll => "poll",
            Phase::Cleanup => "cleanup",
        }
    }
}

/// One remote command.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Print the name of the operating system.
    Detect,
    /// Make the job directory and start the job detached.
    Submit,
    /// Print the exit code when there is one.
    Check,
    /// Print the size of the log.
    Size,
    /// Print a piece of the log.
    Read,
    /// Remove the job directory.
    Cleanup,
    /// Run the one command of a client without a job (`one-shot`).
    Run,
}

impl Step {
    /// The phase the step belongs to.
    #[must_use]
    pub fn phase(self) -> Phase {
        match self {
            Step::Detect | Step::Submit | Step::Run => Phase::Submit,
            Step::Check | Step::Size | Step::Read => Phase::Poll,
            Step::Cleanup => Phase::Cleanup,
        }
    }
}

/// How the peer ended a TCP connection. On loopback the split is timing (unread client bytes at `close()`
/// make Linux send RST), so both are one class with sub-counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Close {
    /// FIN: a clean end of file.
    Eof,
    /// RST: `ECONNRESET` on read, or `ECONNRESET`/`EPIPE` on write.
    Reset,
}

/// Why a stage after the identification string failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum StageFailure {
    /// The peer ended the connection.
    Lost {
        /// How.
        close: Close,
    },
    /// The deadline passed.
    TimedOut,
    /// The server refused (authentication only).
    Rejected,
    /// The peer broke the protocol, or no algorithm was common.
    Protocol {
        /// Detail for a person to read; never a key.
        detail: String,
    },
}

/// A failure of the generator itself; never counted as a failure of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GeneratorFault {
    /// `EMFILE` or `ENFILE`: out of file descriptors.
    OpenFiles,
    /// `EADDRNOTAVAIL`: out of ephemeral ports.
    EphemeralPorts,
    /// `ENOBUFS` or `ENOMEM`.
    Memory,
    /// Any other local error, kept by its errno in the trace.
    Other,
}

/// How an attempt ended. Exactly one for every attempt; the conservation law of the report counts these.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// Authenticated.
    Handshake,
    /// A refusal: the server ended the connection before its identification string.
    BannerEof {
        /// FIN or RST.
        close: Close,
    },
    /// TCP refused the connection (`ECONNREFUSED`, unreachable).
    ConnectRefused,
    /// No TCP connection before the deadline.
    ConnectTimeout,
    /// Connected, but no identification string before the deadline.
    BannerTimeout,
    /// The key exchange failed.
    KexFailed {
        /// Why.
        failure: StageFailure,
    },
    /// Authentication failed.
    AuthFailed {
        /// Why.
        failure: StageFailure,
    },
    /// The generator could not make the attempt.
    GeneratorFault {
        /// Why.
        fault: GeneratorFault,
    },
    /// Admitted (the identification string came), and then kept silent before authentication on purpose, to hold its
    /// startup slot.
    Held,
    /// Given up by the harness: the run was stopped or the task was killed while the attempt was under way.
    Interrupted,
}

impl AttemptOutcome {
    /// The metric this outcome is counted under.
    #[must_use]
    pub fn metric(&self) -> &'static str {
        match self {
            AttemptOutcome::Handshake => "handshakes",
            AttemptOutcome::BannerEof { .. } => "banner_eof",
            AttemptOutcome::ConnectRefused => "connect_refused",
            AttemptOutcome::ConnectTimeout => "connect_timeout",
            AttemptOutcome::BannerTimeout => "banner_timeout",
            AttemptOutcome::KexFailed { .. } => "kex_failed",
            AttemptOutcome::AuthFailed { .. } => "auth_failed",
            AttemptOutcome::GeneratorFault { .. } => "generator_fault",
            AttemptOutcome::Held => "attempts_held",
            AttemptOutcome::Interrupted => "attempts_interrupted",
        }
    }
}

/// What the stream tap saw of one attempt. Instants are on the run clock; a stage that was not reached is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AttemptTrace {
    /// `connect()` was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_called: Option<RunInstant>,
    /// The TCP connection stood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected: Option<RunInstant>,
    /// The first byte of the server arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<RunInstant>,
    /// The identification line was complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identified: Option<RunInstant>,
    /// Key exchange done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyed: Option<RunInstant>,
    /// Authentication done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authenticated: Option<RunInstant>,
    /// The outcome was known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<RunInstant>,
    /// Client's source address, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_address: Option<IpAddr>,
    /// Client's source port: joins the attempt to the server's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_port: Option<u16>,
    /// The identification line, without line end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identification: Option<String>,
    /// Text the server sent before, or instead of, its identification line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_before: Option<String>,
    /// The stream's first end or error: FIN.
    pub saw_eof: bool,
    /// The stream's first error. A reset with `connected` absent came before `connect()` had answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<SocketError>,
    /// Bytes received so far.
    pub bytes_in: u64,
    /// Bytes sent so far.
    pub bytes_out: u64,
    /// What the kernel said of the socket before it was closed; read of attempts that did not become a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpReading>,
}

/// How a command on an established connection ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum CommandOutcome {
    /// It ran; the server reported an exit status.
    Completed {
        /// The exit status (128 plus the signal number when it died of one).
        exit_status: u32,
    },
    /// `SSH_MSG_CHANNEL_OPEN_FAILURE` (`MaxSessions`), or the exec request was denied.
    ChannelRefused,
    /// The connection ended before the command did.
    ConnectionLost {
        /// How, as the tap saw it.
        close: Close,
    },
    /// The command's deadline passed.
    TimedOut,
    /// Given up by the harness.
    Interrupted,
}

/// Who ended an established connection, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionEnd {
    /// The client, in good order.
    ClosedByClient,
    /// The client, without a word: the task was killed or the run stopped.
    AbandonedByClient,
    /// The server: end of file.
    LostEof,
    /// The server: reset.
    LostReset,
}

/// What a wait before another try is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetryKind {
    /// The operator's connect loop (`conn_retry_attempts`).
    Connect,
    /// A monitoring command repeated after an OS-level error (per-command).
    Command,
    /// A monitoring session made anew (`max_reconnect_attempts`, reused-session).
    Reconnect,
    /// Another round of cleanup (`cleanup_retries`).
    CleanupRound,
}

/// When job directories are to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CleanupPolicy {
    /// Never: every directory stays by policy and none is a leftover.
    Never,
    /// When the job is known to have ended with exit code 0.
    OnSuccess,
    /// Always, whatever became of the task.
    Always,
}

/// Why a task failed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TaskFailure {
    /// No connection for detect, submit or the one command within the retry budget.
    SubmitConnect,
    /// A detect or submit command failed, or the one command could not be run to its end.
    SubmitCommand,
    /// Monitoring ended in an error: the retry or reconnect budget was spent.
    Monitor,
    /// The job itself, or the one command of a client without a job, ended with a non-zero exit code.
    JobExit,
    /// Killed on purpose before completion (`job.killed_share`).
    Killed,
    /// The client under test could not be started.
    ClientStart,
    /// The client under test ended with an exit status other than 0, or by a signal.
    ClientExit,
    /// The client under test took longer than its `timeout` and was ended.
    ClientTimeout,
    /// The client under test ended well and left processes behind that are none of its business any more (`lingers`).
    ClientLeftBehind,
}

/// How a client under test ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum ClientEnd {
    /// By itself.
    Exited {
        /// Exit status.
        status: i32,
    },
    /// By a signal that the harness did not send.
    Signalled {
        /// Its number.
        signal: i32,
    },
    /// It took too long and was ended.
    TimedOut,
    /// It ended by itself, and had wanted more processes than it may have.
    OverLimit,
    /// The process that watched it was killed: how it ended is not known.
    Unwatched,
    /// It could not be started.
    NotStarted {
        /// Why, for a person.
        error: String,
    },
    /// The run was stopped while it ran.
    Interrupted,
}

/// What became of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "fate", rename_all = "snake_case")]
pub enum TaskFate {
    /// The exit code of the job, or of the one command, was read and was 0; or everything was held that was to be.
    Succeeded,
    /// It failed.
    Failed {
        /// Why.
        failure: TaskFailure,
    },
    /// The run was stopped while the task was under way.
    Interrupted,
    /// The run was stopped before the task began.
    NotStarted,
}

/// What became of the removal of a task's job directory, as the client believes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CleanupResult {
    /// The policy did not ask for removal.
    NotRequired,
    /// The command ran and succeeded.
    Removed,
    /// No connection could be had within the budget.
    ConnectFailed,
    /// Connected, but the command failed.
    CommandFailed,
    /// Required but never tried: the task was killed, or the run stopped.
    NotAttempted,
}
