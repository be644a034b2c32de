//! One scenario over several OpenSSH releases, side by side.
//!
//! `document` is the versioned document, built of the runs' own reports; `table` renders it for terminals and Markdown.
//! Nothing is measured or judged here that is not in a run's report.

mod document;
mod table;

use crate::json::pretty;
pub use document::{
    AdmissionCell, BooksCell, MATRIX_SCHEMA_VERSION, MatrixReport, MatrixRow, RowState,
    StrategyCell,
};
pub use table::{markdown, text};

/// The document as JSON: pretty, one final newline.
#[must_use]
pub fn json(report: &MatrixReport) -> String {
    pretty(report)
}

#[cfg(test)]
mod tests;
