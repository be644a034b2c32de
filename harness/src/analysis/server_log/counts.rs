//! Counts of one round's share of the server's log.
//!
//! Owns what is counted and by what key. Bounded: the largest part is one entry for each of the 65 536 TCP
//! ports.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::line::ServerLogEvent;
use super::message::{DropCause, ServerLogMessage};

/// Unknown lines kept in full; all are counted.
pub const UNKNOWN_SAMPLES: usize = 10;
const SAMPLE_CHARS: usize = 200;

/// Refusals by the cause sshd names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropCounts {
    /// `MaxStartups` or `PerSourceMaxStartups`; sshd words them alike.
    pub max_startups: u64,
    /// `PerSourcePenalties`, by reason.
    pub penalties: BTreeMap<String, u64>,
}

impl DropCounts {
    /// All refusals.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.max_startups + self.penalties.values().sum::<u64>()
    }

    /// Adds another round's.
    pub fn merge(&mut self, other: &DropCounts) {
        self.max_startups += other.max_startups;
        for (reason, count) in &other.penalties {
            *self.penalties.entry(reason.clone()).or_default() += count;
        }
    }
}

/// What the server's log says of one round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerLogCounts {
    /// Lines read.
    pub lines: u64,
    /// Lines this program does not know.
    pub unknown_lines: u64,
    /// The first of them, in full.
    pub unknown_samples: Vec<String>,
    /// `Connection from`: admitted, session process up.
    pub connections: u64,
    /// `Accepted METHOD for`: authenticated.
    pub accepted: u64,
    /// `drop connection` lines.
    pub drops: DropCounts,
    /// Client ports of `Connection from`, with how often each occurred.
    pub connection_ports: BTreeMap<u16, u32>,
    /// Client ports of authenticated connections.
    pub accepted_ports: BTreeMap<u16, u32>,
    /// Client ports of refusals.
    pub drop_ports: BTreeMap<u16, u32>,
    /// `MaxStartups` drops by the number of slots in use.
    pub drops_by_slots: BTreeMap<u32, u64>,
    /// Draws by probability in per cent: how many, and how many of them meant refusal.
    pub draws: BTreeMap<u32, (u64, u64)>,
    /// Drops that sshd says it did not log one by one (`logging rate-limited: additional N`).
    pub rate_limited_drops: u64,
    /// Whether every drop line was forced out by `LogVerbose`, as its tag shows; true when there was none.
    pub every_drop_forced: bool,
    /// `Failed METHOD for`.
    pub authentication_failures: u64,
    /// `Timeout before authentication`.
    pub grace_timeouts: u64,
    /// `Starting session`.
    pub sessions_started: u64,
    /// `no more sessions`.
    pub sessions_refused: u64,
    /// `fork: …`: admitted but not served; the client sees a close without text.
    pub fork_failures: u64,
    /// `pipe(startup_p)`, `reexec socketpair`: accepted but not served; likewise.
    pub pipe_failures: u64,
    /// `accept: …`.
    pub accept_failures: u64,
    /// Session processes that crashed.
    pub crashes: u64,
    /// Penalties that became active.
    pub penalties_activated: u64,
    /// Times the listener started over (`Server listening`, SIGHUP): its slot counter began at 0 again.
    pub restarts: u64,
}

impl ServerLogCounts {
    /// Empty counts.
    #[must_use]
    pub fn new() -> Self {
        ServerLogCounts {
            every_drop_forced: true,
            ..Self::default()
        }
    }

    /// Refusals by the server's own account.
    #[must_use]
    pub fn server_drops(&self) -> u64 {
        self.drops.total()
    }

    /// Connections the listener took and closed for want of a process or a descriptor.
    #[must_use]
    pub fn resource_failures(&self) -> u64 {
        self.fork_failures + self.pipe_failures
    }

    /// Counts one line.
    pub fn fold(&mut self, event: &ServerLogEvent<'_>) {
        use ServerLogMessage as M;
        self.lines += 1;
        match event.message {
            M::Listening { .. } | M::Restarting => self.restarts += 1,
            M::Connection { source } => {
                self.connections += 1;
                *self.connection_ports.entry(source.port).or_default() += 1;
            }
            M::Draw { probability, drawn } => {
                let (draws, refused) = self.draws.entry(probability).or_default();
                *draws += 1;
                *refused += u64::from(drawn < probability);
            }
            M::Drop {
                slots,
                source,
                cause,
                ..
            } => {
                self.every_drop_forced &= event.forced;
                *self.drop_ports.entry(source.port).or_default() += 1;
                match cause {
                    DropCause::MaxStartups => {
                        self.drops.max_startups += 1;
                        *self.drops_by_slots.entry(slots).or_default() += 1;
                    }
                    DropCause::Penalty(reason) => {
                        let reason = reason.as_str().to_owned();
                        *self.drops.penalties.entry(reason).or_default() += 1;
                    }
                }
            }
            M::RateLimited { dropped, .. } => self.rate_limited_drops += dropped,
            M::Authenticated { source, .. } => {
                self.accepted += 1;
                *self.accepted_ports.entry(source.port).or_default() += 1;
            }
            M::AuthenticationFailed { .. } => self.authentication_failures += 1,
            M::GraceTimeout { .. } => self.grace_timeouts += 1,
            M::SessionStarted { .. } => self.sessions_started += 1,
            M::SessionRefused => self.sessions_refused += 1,
            M::ForkFailed => self.fork_failures += 1,
            M::PipeFailed => self.pipe_failures += 1,
            M::AcceptFailed => self.accept_failures += 1,
            M::Crashed => self.crashes += 1,
            M::Penalised { active } => self.penalties_activated += u64::from(active),
            M::Unknown { text } => {
                self.unknown_lines += 1;
                if self.unknown_samples.len() < UNKNOWN_SAMPLES {
                    self.unknown_samples
                        .push(text.chars().take(SAMPLE_CHARS).collect());
                }
            }
            M::Stopped
            | M::ThrottlingBegan
            | M::ThrottlingContinues { .. }
            | M::ThrottlingEnded { .. }
            | M::InvalidUser { .. }
            | M::TooManyAuthenticationFailures
            | M::SessionEnded { .. }
            | M::ReceivedDisconnect { .. }
            | M::Disconnected { .. }
            | M::ConnectionEnded { .. }
            | M::LeftBeforeIdentification { .. }
            | M::ProtocolError
            | M::Incidental => {}
        }
    }
}
