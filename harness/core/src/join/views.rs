//! What each witness can say of an attempt, and which witnesses a round has.
//!
//! Owns the shapes and the reading of TCP_INFO. Who is believed is `account`'s.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{AttemptId, TaskId};
use crate::instant::RunInstant;
use crate::manifest::{NetworkPath, ServerDescription, ServerKind};
use crate::scenario::StrategyKind;
use crate::vocabulary::{AttemptOutcome, AttemptTrace, Close, Phase, StageFailure};

/// The views of attempts that a round can have, or that a number needs. "No data" follows from comparing the two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Views {
    /// The client's own record of each attempt.
    pub client: bool,
    /// sshd's log.
    pub server: bool,
    /// Every refusal is in that log.
    pub drops: bool,
    /// sshd sees the client's own ports, so that lines are joined to attempts one by one.
    pub by_port: bool,
    /// TCP_INFO of the client's socket speaks of sshd's listener.
    pub kernel: bool,
}

impl Views {
    /// None.
    pub const NONE: Views = Views {
        client: false,
        server: false,
        drops: false,
        by_port: false,
        kernel: false,
    };
    /// The client's.
    pub const CLIENT: Views = Views {
        client: true,
        ..Views::NONE
    };
    /// sshd's log.
    pub const SERVER: Views = Views {
        server: true,
        ..Views::NONE
    };
    /// sshd's log with every refusal.
    pub const DROPS: Views = Views {
        drops: true,
        ..Views::SERVER
    };
    /// sshd's log with every refusal, connection by connection: enough to count the attempts of a client that keeps no
    /// record.
    pub const LOGGED: Views = Views {
        by_port: true,
        ..Views::DROPS
    };
    /// All of them: who refused each attempt is known.
    pub const ALL: Views = Views {
        client: true,
        server: true,
        drops: true,
        by_port: true,
        kernel: true,
    };

    /// Those that a strategy on a server has.
    #[must_use]
    pub fn of(strategy: StrategyKind, server: &ServerDescription) -> Views {
        strategy.views().and(server.views())
    }

    /// Those that both have.
    #[must_use]
    pub fn and(self, other: Views) -> Views {
        Views {
            client: self.client && other.client,
            server: self.server && other.server,
            drops: self.drops && other.drops,
            by_port: self.by_port && other.by_port,
            kernel: self.kernel && other.kernel,
        }
    }

    /// Without sshd's log: it was promised and not read.
    #[must_use]
    pub fn without_log(self) -> Views {
        Views {
            server: false,
            drops: false,
            ..self
        }
    }

    /// Whether everything that `needed` names is there.
    #[must_use]
    pub fn have(self, needed: Views) -> bool {
        self.and(needed) == needed
    }

    /// Whether everything that one of these names is there.
    #[must_use]
    pub fn have_one_of(self, needed: &[Views]) -> bool {
        needed.iter().any(|needed| self.have(*needed))
    }

    /// The first thing of `needed` that is not there, as a reason for a person.
    #[must_use]
    pub fn missing(self, needed: Views) -> Option<&'static str> {
        let lacks = |has: bool, needs: bool| needs && !has;
        if lacks(self.client, needed.client) {
            Some("this strategy has no record of the client's own")
        } else if lacks(self.server, needed.server) {
            Some("the server's log cannot be read on this target")
        } else if lacks(self.drops, needed.drops) {
            Some("this sshd does not log every drop")
        } else if lacks(self.by_port, needed.by_port) {
            Some("this network path does not keep source ports")
        } else if lacks(self.kernel, needed.kernel) {
            Some("the client's sockets do not speak of sshd's listener on this network path")
        } else {
            None
        }
    }
}

impl StrategyKind {
    /// The witnesses of the attempts of this strategy, on a server that hides nothing.
    #[must_use]
    pub fn views(self) -> Views {
        match self {
            // Every strategy of our own tells of each of its attempts.
            StrategyKind::PerCommand
            | StrategyKind::ReusedSession
            | StrategyKind::Stalled
            | StrategyKind::Staircase
            | StrategyKind::OneShot
            | StrategyKind::Multiplexed
            | StrategyKind::FailingLogin => Views::ALL,
            // A program of somebody else's: nothing stands between it and sshd, and nobody looks at its sockets.
            StrategyKind::Command => Views::LOGGED,
        }
    }
}

impl ServerDescription {
    /// The witnesses that a server of this kind lets one hear.
    #[must_use]
    pub fn views(&self) -> Views {
        let direct = match self.network_path {
            NetworkPath::Direct | NetworkPath::HostNetwork => true,
            // The client's socket ends at a proxy, or at a machine whose listener is not ours to look at.
            NetworkPath::PublishedPort | NetworkPath::Remote => false,
        };
        let ours = match self.kind {
            ServerKind::Docker | ServerKind::Local | ServerKind::Embedded => true,
            // There is no kernel under a model.
            ServerKind::External | ServerKind::Simulated => false,
        };
        // The log of a server that somebody else runs is only taken for its log once it named an address and a port of ours:
        // then nothing stands between that changes them, and the client's socket ends there.
        let named = self.kind == ServerKind::External && self.log_available;
        Views {
            client: true,
            server: self.log_available,
            drops: self.log_available && self.log_has_every_drop,
            by_port: self.network_path.keeps_source_port() || named,
            kernel: direct && ours || named,
        }
    }
}

/// The client's record of an attempt that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientView {
    /// Attempt.
    pub attempt: AttemptId,
    /// Task; `None` of a holder.
    pub task: Option<TaskId>,
    /// Phase it is counted under.
    pub phase: Phase,
    /// 1 for the first try at its connection.
    pub ordinal: u32,
    /// When it began.
    pub started: RunInstant,
    /// When its end was recorded.
    pub ended: RunInstant,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// What the stream tap saw.
    pub trace: AttemptTrace,
}

impl ClientView {
    /// When `connect()` was called, or the attempt began where it never came to that.
    #[must_use]
    pub fn begun(&self) -> RunInstant {
        self.trace.connect_called.unwrap_or(self.started)
    }

    /// Whether the TCP connection stood: sshd must have seen it, or the kernel only pretended.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.trace.connected.is_some()
    }

    /// Whether it was a refusal.
    #[must_use]
    pub fn refused(&self) -> bool {
        matches!(self.outcome, AttemptOutcome::BannerEof { .. })
    }

    /// Whether the client gave it up by itself, before the server had said a word.
    #[must_use]
    pub fn given_up_silent(&self) -> bool {
        let given_up = match self.outcome {
            AttemptOutcome::Interrupted
            | AttemptOutcome::GeneratorFault { .. }
            | AttemptOutcome::BannerTimeout
            | AttemptOutcome::ConnectTimeout => true,
            AttemptOutcome::Handshake
            | AttemptOutcome::Held
            | AttemptOutcome::BannerEof { .. }
            | AttemptOutcome::ConnectRefused
            | AttemptOutcome::KexFailed { .. }
            | AttemptOutcome::AuthFailed { .. } => false,
        };
        given_up && self.trace.identified.is_none()
    }

    /// Whether sshd may have authenticated it although the client does not know: `Accepted` is logged before the client
    /// hears of it.
    #[must_use]
    pub fn maybe_accepted(&self) -> bool {
        match &self.outcome {
            AttemptOutcome::Interrupted | AttemptOutcome::GeneratorFault { .. } => {
                self.trace.keyed.is_some()
            }
            AttemptOutcome::AuthFailed { failure } => {
                matches!(failure, StageFailure::Lost { .. } | StageFailure::TimedOut)
            }
            AttemptOutcome::Handshake
            | AttemptOutcome::Held
            | AttemptOutcome::BannerEof { .. }
            | AttemptOutcome::ConnectRefused
            | AttemptOutcome::ConnectTimeout
            | AttemptOutcome::BannerTimeout
            | AttemptOutcome::KexFailed { .. } => false,
        }
    }
}

/// What sshd's lines say of the beginning of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// `Connection from`: admitted, and its process was up.
    Admitted,
    /// `drop connection`.
    Dropped,
    /// Neither: only a later line of it is there.
    Unannounced,
}

/// What TCP_INFO of the client's socket says became of the connection, read before the socket was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelView {
    /// Data was sent, sent again, and never acknowledged, and nothing came back; of a client that sent nothing, the
    /// answer to its SYN came again. The server's kernel never made a socket for it: its accept queue was full when the
    /// handshake's last ACK came (tcp_check_req), and the client does not hear of that.
    NeverMade,
    /// The SYN was sent again and never answered.
    NeverAnswered,
    /// What the client sent was acknowledged, or something came back: the server's kernel had a socket for it.
    Acknowledged,
    /// Reset before anything had to be sent again, or inside `connect()`.
    ResetAtOnce,
    /// Nothing was sent, or it was given up too soon: TCP_INFO does not say.
    Unsettled,
}

impl KernelView {
    /// Reads the trace of an attempt; `None` where TCP_INFO was not read.
    #[must_use]
    pub fn of(client: &ClientView) -> Option<KernelView> {
        let tcp = client.trace.tcp.as_ref()?;
        let reset = client.outcome
            == AttemptOutcome::BannerEof {
                close: Close::Reset,
            };
        Some(match () {
            () if !client.connected() && reset => KernelView::ResetAtOnce,
            () if !client.connected() && tcp.segments_retrans > 0 => KernelView::NeverAnswered,
            () if !client.connected() => KernelView::Unsettled,
            // The SYN counts as one byte.
            () if tcp.bytes_received > 0 || tcp.bytes_acked > 1 => KernelView::Acknowledged,
            () if tcp.bytes_retrans > 0 => KernelView::NeverMade,
            () if tcp.bytes_sent == 0 && tcp.segments_in > 1 => KernelView::NeverMade,
            () if reset && tcp.bytes_sent > 0 => KernelView::ResetAtOnce,
            () => KernelView::Unsettled,
        })
    }
}
