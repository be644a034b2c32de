//! For a terminal.

use super::document::DiagnoseReport;
use super::sections::sections;
use crate::ruled_table;

const WIDTH: u16 = 100;

/// Renders the report. The same report always gives the same text.
#[must_use]
pub fn render(report: &DiagnoseReport) -> String {
    let mut out = String::new();
    for sentence in &report.answer {
        out.push_str(&wrapped(sentence, ""));
    }
    for limit in &report.limits {
        out.push_str(&wrapped(limit, "  - "));
    }
    for section in sections(report) {
        out.push_str(&format!("\n{}\n", section.title));
        if !section.rows.is_empty() {
            let table =
                ruled_table::render_within(WIDTH, section.head, section.rows, section.numbers);
            out.push_str(&table);
            out.push('\n');
        }
        for note in &section.notes {
            out.push_str(&wrapped(note, "  "));
        }
    }
    if let Some(verdict) = report.verdict() {
        out.push_str(&format!(
            "\nVerdict: {} (exit {})\n",
            verdict.as_str().to_uppercase(),
            report.exit.code()
        ));
    }
    out
}

/// A paragraph within the width; further lines are indented as far as its first word.
fn wrapped(text: &str, lead: &str) -> String {
    let mut out = String::from(lead);
    let mut column = lead.chars().count();
    let mut first = true;
    for word in text.split(' ') {
        let length = word.chars().count();
        if !first && column + 1 + length > usize::from(WIDTH) {
            out.push('\n');
            out.push_str(&" ".repeat(lead.len()));
            column = lead.len();
        } else if !first {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
        first = false;
    }
    out.push('\n');
    out
}
