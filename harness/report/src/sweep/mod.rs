//! One scenario at many points: what was asked for, what each run came to, and all of it side by side.
//!
//! `definition` is what a sweep is, `record` what is kept of each of its runs, with `values`, which reads metrics off a run's
//! report; `document` puts records together, and `table`, `csv` and `html` (with `figures`) render it. Nothing is measured here
//! that is not in a run's report, and a run that is missing is said in each of them.

mod csv;
mod definition;
mod document;
mod figures;
mod html;
mod record;
mod table;
mod values;
mod words;

use crate::json::{ReadError, parse_as, pretty};
pub use csv::csv;
pub use definition::{AskedServer, DefinedPoint, SWEEP_SCHEMA_VERSION, SweepDefinition};
pub use document::{
    MetricColumn, PointReport, PointStrategy, PointValue, RunCell, RunState, Sources, SweepReport,
};
pub use html::html;
pub use record::{RecordState, RecordedStrategy, SweepRecord};
pub use table::text;
pub use values::{DEFAULT_METRICS, is_kept};

/// The document as JSON: pretty, one final newline.
#[must_use]
pub fn json(report: &SweepReport) -> String {
    pretty(report)
}

/// A definition as it is kept.
#[must_use]
pub fn definition_json(definition: &SweepDefinition) -> String {
    pretty(definition)
}

/// A record as it is kept: in one line, since there are many.
#[must_use]
pub fn record_json(record: &SweepRecord) -> String {
    // Cannot fail: every key is a string and floats that are not finite become null.
    let mut text = serde_json::to_string(record).unwrap_or_default();
    text.push('\n');
    text
}

/// Reads a definition back.
///
/// # Errors
/// [`ReadError`] when it is none, or of another version.
pub fn parse_definition(text: &str) -> Result<SweepDefinition, ReadError> {
    parse_as(text, "definition of a sweep", SWEEP_SCHEMA_VERSION)
}

/// Reads a record back.
///
/// # Errors
/// [`ReadError`] when it is none, or of another version.
pub fn parse_record(text: &str) -> Result<SweepRecord, ReadError> {
    parse_as(text, "record of a sweep", SWEEP_SCHEMA_VERSION)
}

#[cfg(test)]
mod tests;
