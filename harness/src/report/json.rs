//! The report as JSON: pretty, in the order of the document, one final newline.
//!
//! Owns nothing but the format.

use super::document::RunReport;

/// Renders the report. The same report always gives the same bytes.
#[must_use]
pub fn render(report: &RunReport) -> String {
    // Cannot fail: every key is a string and floats that are not finite become null.
    let mut text = serde_json::to_string_pretty(report).unwrap_or_default();
    text.push('\n');
    text
}
