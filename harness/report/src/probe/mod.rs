//! What a probe found out of a server's `MaxStartups`: the document of `sshchurn probe` and its two renderings.
//!
//! `document` is its shape, `story` the answer and what limits it, in words, `terminal` the text. Pure; the statistics are
//! `core`'s.

mod document;
mod story;
mod terminal;
#[cfg(test)]
mod tests;

pub use document::{
    ClimbReport, ElsewhereReport, EstimateReport, HardLimitReport, LevelReport, OtherLimitReport,
    PROBE_SCHEMA_VERSION, ProbeFacts, ProbeKind, ProbeReport, json, report,
};
pub use terminal::render as text;
