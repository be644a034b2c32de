//! `RunReport` and its pure renderers.
//!
//! `document` is the versioned document; `build` makes it of a summary, laws, checks and gates; `json` and
//! `terminal` render it; `matrix` puts the reports of several releases side by side, `comparison` those of two runs;
//! `writer` is the only place that writes, and writes whole files or nothing.

mod build;
pub mod comparison;
mod document;
pub mod json;
pub mod matrix;
pub mod terminal;
mod writer;

pub use build::{Findings, build};
pub use document::{
    LeftoverReport, NumbersReport, PerTaskReport, PhasesReport, RateReport, RoundReport, RunReport,
    SCHEMA_VERSION, ScopeReport, ServerLogReport, StrategyReport, TimesReport, ToolReport,
    schema_json,
};
pub use writer::{WriteError, write_file};

#[cfg(test)]
mod tests;
