//! sshd's log as typed events: the server's own witness of what the client believes.
//!
//! Owns the wording of OpenSSH 8.4 to 10.6 (`message`, `line`), what log writers wrap around it (`envelope`, `stamp`), splitting a
//! byte stream into lines (`parser`) and counting (`counts`). Memory does not grow with the log. Must not know the ledger, files
//! or where the bytes come from.

mod counts;
mod envelope;
mod line;
mod message;
mod parser;
mod stamp;
pub mod wording;

pub use counts::{DropCounts, DropRule, Refusal, ServerLogCounts, UNKNOWN_SAMPLES};
pub use envelope::{Enveloped, Envelopes};
pub use line::{ServerLogEvent, Severity, parse_line, parse_message};
pub use message::{DropCause, Peer, PenaltyReason, RateLimitedDrops, ServerLogMessage};
pub use parser::{LogLines, MAX_LINE_BYTES};
pub use stamp::{InvalidMoment, Moment};

#[cfg(test)]
mod tests;
