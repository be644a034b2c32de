//! Classification: from what the tap saw to the one outcome of an attempt. Pure.
//!
//! Order matters: the earliest stage that was not reached names the failure, and local errors are never
//! laid at the server's door.

use sshchurn_core::socket_error::SocketError;
use sshchurn_core::vocabulary::{
    AttemptOutcome, AttemptTrace, Close, CommandOutcome, GeneratorFault, StageFailure,
};

/// Which of the two error paths of the old monitor a failure takes: Python's `OSError` family (refused, reset,
/// timeout), which is retried per command, or the SSH library's own errors, which are logged and swallowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// An error of the operating system or a timeout.
    Os,
    /// An error of the SSH layer: lost or closed in good order, protocol, channel.
    Ssh,
}

/// Classifies a failed `connect()` or `socket()` call.
#[must_use]
pub fn connect_error(error: &SocketError) -> AttemptOutcome {
    let generator = |fault| AttemptOutcome::GeneratorFault { fault };
    match error {
        SocketError::ProcessFiles | SocketError::SystemFiles => {
            generator(GeneratorFault::OpenFiles)
        }
        SocketError::AddressNotAvailable | SocketError::AddressInUse => {
            generator(GeneratorFault::EphemeralPorts)
        }
        SocketError::NoBuffers | SocketError::NoMemory => generator(GeneratorFault::Memory),
        SocketError::ConnectionRefused
        | SocketError::HostUnreachable
        | SocketError::NetworkUnreachable
        | SocketError::HostDown => AttemptOutcome::ConnectRefused,
        SocketError::TimedOut => AttemptOutcome::ConnectTimeout,
        // The handshake of TCP was done and reset before the call returned: a refusal, not a closed port.
        SocketError::ConnectionReset | SocketError::BrokenPipe => AttemptOutcome::BannerEof {
            close: Close::Reset,
        },
        SocketError::ConnectionAborted | SocketError::Other(_) => generator(GeneratorFault::Other),
    }
}

/// Classifies an attempt that failed after the TCP connection stood. `detail` is the library's own word.
#[must_use]
pub fn after_connect(trace: &AttemptTrace, detail: &str) -> AttemptOutcome {
    let close = close_of(trace);
    if trace.identified.is_none() {
        return match (close, &trace.errno) {
            (Some(close), _) => AttemptOutcome::BannerEof { close },
            (None, Some(SocketError::TimedOut)) => AttemptOutcome::BannerTimeout,
            (None, Some(SocketError::NoBuffers | SocketError::NoMemory)) => {
                AttemptOutcome::GeneratorFault {
                    fault: GeneratorFault::Memory,
                }
            }
            // Not an SSH server, or one that talks too much before its identification.
            (None, _) => AttemptOutcome::KexFailed {
                failure: protocol(detail),
            },
        };
    }
    let failure = match (close, &trace.errno) {
        (Some(close), _) => StageFailure::Lost { close },
        (None, Some(SocketError::TimedOut)) => StageFailure::TimedOut,
        (None, _) => protocol(detail),
    };
    if trace.keyed.is_none() {
        AttemptOutcome::KexFailed { failure }
    } else {
        AttemptOutcome::AuthFailed { failure }
    }
}

/// Classifies a login that came to nothing. A server that rejects one names the methods that are left (RFC 4252, 5.1); where none is
/// named and the stream has ended, the library gives the same word for a connection that was lost before the answer. sshd may have
/// accepted that login: `LoginGraceTime` can end its process between its log line and its answer.
#[must_use]
pub fn not_let_in(trace: &AttemptTrace, methods_named: bool) -> AttemptOutcome {
    match close_of(trace) {
        Some(close) if !methods_named => AttemptOutcome::AuthFailed {
            failure: StageFailure::Lost { close },
        },
        _ => AttemptOutcome::AuthFailed {
            failure: StageFailure::Rejected,
        },
    }
}

/// Classifies an attempt whose deadline passed after the TCP connection stood.
#[must_use]
pub fn timed_out(trace: &AttemptTrace) -> AttemptOutcome {
    let failure = StageFailure::TimedOut;
    if trace.identified.is_none() {
        AttemptOutcome::BannerTimeout
    } else if trace.keyed.is_none() {
        AttemptOutcome::KexFailed { failure }
    } else {
        AttemptOutcome::AuthFailed { failure }
    }
}

/// How the peer ended the stream, when it did.
#[must_use]
pub fn close_of(trace: &AttemptTrace) -> Option<Close> {
    match &trace.errno {
        Some(
            SocketError::ConnectionReset | SocketError::BrokenPipe | SocketError::ConnectionAborted,
        ) => Some(Close::Reset),
        Some(_) => None,
        None => trace.saw_eof.then_some(Close::Eof),
    }
}

fn protocol(detail: &str) -> StageFailure {
    StageFailure::Protocol {
        detail: detail.to_owned(),
    }
}

/// Which error path a failed attempt takes in the old monitor.
#[must_use]
pub fn severity_of_attempt(outcome: &AttemptOutcome) -> Severity {
    match outcome {
        AttemptOutcome::BannerEof {
            close: Close::Reset,
        }
        | AttemptOutcome::ConnectRefused
        | AttemptOutcome::ConnectTimeout
        | AttemptOutcome::BannerTimeout
        | AttemptOutcome::GeneratorFault { .. } => Severity::Os,
        AttemptOutcome::BannerEof { close: Close::Eof }
        | AttemptOutcome::Handshake
        | AttemptOutcome::Held
        | AttemptOutcome::Interrupted => Severity::Ssh,
        AttemptOutcome::KexFailed { failure } | AttemptOutcome::AuthFailed { failure } => {
            match failure {
                StageFailure::Lost {
                    close: Close::Reset,
                }
                | StageFailure::TimedOut => Severity::Os,
                StageFailure::Lost { close: Close::Eof }
                | StageFailure::Rejected
                | StageFailure::Protocol { .. } => Severity::Ssh,
            }
        }
    }
}

/// Which error path a failed command takes in the old monitor.
#[must_use]
pub fn severity_of_command(outcome: &CommandOutcome) -> Severity {
    match outcome {
        CommandOutcome::ConnectionLost {
            close: Close::Reset,
        }
        | CommandOutcome::TimedOut => Severity::Os,
        CommandOutcome::ConnectionLost { close: Close::Eof }
        | CommandOutcome::ChannelRefused
        | CommandOutcome::Completed { .. }
        | CommandOutcome::Interrupted => Severity::Ssh,
    }
}
