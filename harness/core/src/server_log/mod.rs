//! sshd's log as typed events: the server's own witness of what the client believes.
//!
//! Owns the wording of OpenSSH 8.4 to 10.6 (`message`, `line`), splitting a byte stream into lines
//! (`parser`) and counting (`counts`). Memory does not grow with the log. Must not know the ledger, files
//! or where the bytes come from.

mod counts;
mod line;
mod message;
mod parser;

pub use counts::{DropCounts, DropRule, Refusal, ServerLogCounts, UNKNOWN_SAMPLES};
pub use line::{ServerLogEvent, Severity, parse_line};
pub use message::{DropCause, Peer, PenaltyReason, RateLimitedDrops, ServerLogMessage};
pub use parser::{LogLines, MAX_LINE_BYTES};

#[cfg(test)]
mod tests;
