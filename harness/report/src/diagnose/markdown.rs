//! As Markdown, for an issue or a job's summary.
//!
//! Sentences are this program's own; cells may hold what a peer chose, and are escaped.

use super::document::DiagnoseReport;
use super::sections::sections;
use crate::markdown::text as escaped;
use sshchurn_core::gate::Verdict;

/// Renders the report. The same report always gives the same bytes.
#[must_use]
pub fn render(report: &DiagnoseReport) -> String {
    let mut out = format!("**{}**\n", report.answer.join(" "));
    if let Some(verdict) = report.verdict() {
        let word = match verdict {
            Verdict::Fail => "FAIL",
            other => other.as_str(),
        };
        out.push_str(&format!(
            "\nVerdict: **{word}** (exit {})\n",
            report.exit.code()
        ));
    }
    if !report.limits.is_empty() {
        out.push('\n');
        for limit in &report.limits {
            out.push_str(&format!("- {limit}\n"));
        }
    }
    for section in sections(report) {
        out.push_str(&format!("\n### {}\n\n", section.title));
        if !section.rows.is_empty() {
            let rules: Vec<&str> = (0..section.head.len())
                .map(|column| {
                    if section.numbers.contains(&column) {
                        "---:"
                    } else {
                        "---"
                    }
                })
                .collect();
            out.push_str(&format!(
                "| {} |\n|{}|\n",
                section.head.join(" | "),
                rules.join("|")
            ));
            for row in &section.rows {
                let cells: Vec<String> = row.iter().map(|cell| escaped(cell)).collect();
                out.push_str(&format!("| {} |\n", cells.join(" | ")));
            }
            if !section.notes.is_empty() {
                out.push('\n');
            }
        }
        for note in &section.notes {
            out.push_str(&format!("{note}\n"));
        }
    }
    out
}
