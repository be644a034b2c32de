//! A comparison as Markdown, for a pull request's comment or a job's summary.
//!
//! Owns nothing but the format.

use std::fmt::Write as _;

use super::document::CompareReport;
use super::rows::{self, Row, TITLES};
use super::terminal::run;
use sshchurn_core::gate::Verdict;

/// Renders the comparison. The same comparison always gives the same bytes.
#[must_use]
pub fn render(report: &CompareReport) -> String {
    let mut out = String::new();
    if let Some(kind) = report.stand_in {
        let _ = write!(out, "**{}**\n\n", kind.headline());
    }
    let word = match report.verdict {
        Verdict::Pass | Verdict::Measured => "pass",
        Verdict::Fail => "FAIL",
        Verdict::Inconclusive => "inconclusive",
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "**Against the baseline: {word}** (exit {})\n\n- baseline: {}\n- new: {}",
        report.exit_code,
        text(&run(&report.base)),
        text(&run(&report.new))
    );
    for difference in &report.differences {
        let _ = writeln!(out, "- differs: {}", text(&difference.text()));
    }
    for reason in &report.reasons {
        let _ = writeln!(out, "- {}", text(reason));
    }
    if !report.refused {
        table(&mut out, "Gating metrics", &rows::gating(report));
        table(
            &mut out,
            "Information (decides nothing)",
            &rows::information(report),
        );
    }
    out
}

fn table(out: &mut String, title: &str, rows: &[Row<'_>]) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n### {title}\n\n| strategy | {}finding |", {
        let titles: Vec<&str> = TITLES
            .into_iter()
            .filter(|title| !title.is_empty())
            .collect();
        format!("{} | ", titles.join(" | "))
    });
    let _ = writeln!(out, "|---|---|{}---|", "---:|".repeat(TITLES.len() - 2));
    for Row { metric, cells } in rows {
        let _ = writeln!(
            out,
            "| {} | {} | {} |",
            text(&metric.strategy.0),
            cells.join(" | "),
            metric.finding.as_str()
        );
    }
}

/// Text that may hold what Markdown takes for its own.
fn text(plain: &str) -> String {
    let mut escaped = String::with_capacity(plain.len());
    for character in plain.chars() {
        match character {
            '|' | '*' | '_' | '`' | '<' | '[' | '\\' => {
                escaped.push('\\');
                escaped.push(character);
            }
            '\n' | '\r' => escaped.push(' '),
            character => escaped.push(character),
        }
    }
    escaped
}
