//! One scenario over several OpenSSH releases, side by side.
//!
//! `document` is the versioned document, built of the runs' own reports; `table` renders it for terminals and Markdown.
//! Nothing is measured or judged here that is not in a run's report.

mod document;
mod table;

pub use document::{
    AdmissionCell, BooksCell, MATRIX_SCHEMA_VERSION, MatrixReport, MatrixRow, RowState,
    StrategyCell,
};
pub use table::{markdown, text};

/// The document as JSON: pretty, one final newline.
#[must_use]
pub fn json(report: &MatrixReport) -> String {
    // Cannot fail: every key is a string and floats that are not finite become null.
    let mut text = serde_json::to_string_pretty(report).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;
