//! What a log that already exists says about sshd's limits: the fold over its lines, and the result.
//!
//! Owns what a line counts as (`fold`), the arithmetic of throttling episodes (`episodes`), whether refusals would show
//! (`sight`), sources, logins, losses, messages of clients, unknown lines, and thresholds on all that. Memory does not grow with
//! the log. Knows neither files nor words for a person: the first are the session's, the second the report's.

mod arrivals;
mod client;
mod episodes;
mod fold;
mod logins;
mod losses;
mod result;
mod shapes;
mod sight;
mod sources;
mod threshold;

pub use arrivals::{AdmittedBy, ArrivalWindow, Arrivals, MOST_ARRIVALS, NoArrivals};
pub use client::ClientMessage;
pub use fold::Diagnoser;
pub use result::{
    ClientCount, Diagnosis, Drops, Episode, EpisodeRule, LineCounts, LogLevel, Logins, Losses,
    OtherCounts, Peak, Shape, SourceCounts, Sources, WhyAtLeast,
};
pub use threshold::{DiagnosisThreshold, ThresholdResult, judge};

#[cfg(test)]
mod tests;

/// Adds without overflow: a log may claim any number.
fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}
