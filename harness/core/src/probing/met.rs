//! What a probe met beside admissions and refusals: the server's words, and everything that cut a climb short.
//!
//! Owns the facts. What follows from them is the report's to say.

use std::collections::BTreeMap;
use std::time::Duration;

/// Everything that was met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Met {
    /// The server's identification string.
    pub identification: Option<String>,
    /// Refusals by what the server said in place of it; empty where it said nothing.
    pub texts: BTreeMap<String, u64>,
    /// Connections that were closed without a word, where this release of sshd has words for its refusals.
    pub wordless: u64,
    /// Of each climb in which the server ended a held connection, how long that had been held.
    pub lost_after: Vec<Duration>,
    /// Held connections that were replaced before the server's patience would end.
    pub renewed: u32,
    /// What a connection came to that the rule does not know.
    pub failed: Option<Failure>,
    /// Logins of held connections that failed, and how the last of them did, as a metric.
    pub logins_failed: (u32, Option<&'static str>),
    /// Held connections that left without having logged in.
    pub left_silent: u32,
    /// The quickest TCP connect: a round trip.
    pub round_trip: Option<Duration>,
    /// From the first connection to the last one's end.
    pub took: Duration,
}

/// A connection that was neither admitted nor refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The metric that such an attempt is counted under.
    pub metric: &'static str,
    /// Connections held at that moment.
    pub held: u32,
    /// This client had no descriptor, port or memory left.
    pub own: bool,
    /// The server's kernel did not take it in: sshd's listen queue was full.
    pub in_kernel: bool,
}
