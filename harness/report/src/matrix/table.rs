//! The matrix as a table, for terminals and for Markdown: one line for each strategy of each release.
//!
//! Owns layout and wording. The cells are the same in both forms; what refused clients read stands below, since it would
//! make the table wider than most terminals.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::document::{MatrixReport, MatrixRow, RowState, StrategyCell};
use crate::markdown::text as inert;
use crate::ruled_table;
use crate::view::words::time;
use sshchurn_core::analysis::admission::CurveVerdict;
use sshchurn_core::analysis::reconciliation::Joined;
use sshchurn_core::manifest::Substitution;

const NONE: &str = "–";
const HEAD: [&str; 10] = [
    "OpenSSH",
    "strategy",
    "attempts",
    "refused",
    "drops",
    "joined",
    "CPU/handshake",
    "cross-checks",
    "admission (p)",
    "verdict",
];
/// Columns with numbers.
const NUMBERS: std::ops::Range<usize> = 2..7;

/// The table for a terminal, with what does not fit into cells below it.
#[must_use]
pub fn text(report: &MatrixReport) -> String {
    let rows = lines(report).into_iter().map(Vec::from);
    let mut out = format!(
        "{}\n\n{}\n",
        title(report),
        ruled_table::render(HEAD, rows, NUMBERS)
    );
    for remark in remarks(report) {
        let _ = writeln!(out, "{remark}");
    }
    let _ = writeln!(out, "Exit code: {}", exit(report));
    out
}

/// The same as Markdown.
#[must_use]
pub fn markdown(report: &MatrixReport) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut out = format!("# {}\n\n", inert(&title(report)));
    out.push_str(&line(&HEAD.map(str::to_owned)));
    out.push_str(&line(&std::array::from_fn::<_, 10, _>(|column| {
        let alignment = if NUMBERS.contains(&column) {
            "---:"
        } else {
            "---"
        };
        alignment.to_owned()
    })));
    for cells in lines(report) {
        out.push_str(&line(&cells.map(|cell| inert(&cell))));
    }
    out.push('\n');
    for remark in remarks(report) {
        let _ = writeln!(out, "- {}", inert(&remark));
    }
    let _ = writeln!(out, "- Exit code: {}", exit(report));
    out
}

fn title(report: &MatrixReport) -> String {
    let given = report.rows.iter().any(|row| row.image.is_some());
    format!(
        "{} over {} OpenSSH {}",
        report.scenario,
        report.rows.len(),
        if given { "servers" } else { "releases" }
    )
}

fn exit(report: &MatrixReport) -> String {
    let stopped = if report.interrupted {
        ", stopped by the user"
    } else {
        ""
    };
    format!(
        "{} (the most severe of all releases{stopped})",
        report.exit_code
    )
}

/// All lines of the table; what belongs to the release is in the first of its lines only.
fn lines(report: &MatrixReport) -> Vec<[String; 10]> {
    let mut lines = Vec::new();
    for row in &report.rows {
        lines.push(cells(row, row.strategies.first(), true));
        let further = row.strategies.iter().skip(1);
        lines.extend(further.map(|strategy| cells(row, Some(strategy), false)));
    }
    lines
}

fn cells(row: &MatrixRow, strategy: Option<&StrategyCell>, first: bool) -> [String; 10] {
    let once = |text: String| if first { text } else { String::new() };
    let of = |value: &dyn Fn(&StrategyCell) -> Option<String>| {
        strategy.and_then(value).unwrap_or_else(|| NONE.to_owned())
    };
    [
        once(release(row)),
        of(&|cell| Some(cell.strategy.0.clone())),
        of(&|cell| Some(cell.attempts.to_string())),
        of(&|cell| Some(cell.banner_eof.to_string())),
        of(&|cell| cell.server_drops.map(|drops| drops.to_string())),
        of(&joined),
        of(&|cell| cell.server_cpu_per_handshake_ns.map(time)),
        once(books(row)),
        once(admission(row)),
        once(verdict(row)),
    ]
}

/// What ran, where it is more than what was asked for.
fn release(row: &MatrixRow) -> String {
    let server = row
        .server
        .as_ref()
        .map(|server| server.strip_prefix("OpenSSH_").unwrap_or(server));
    match (server, &row.image) {
        (Some(server), None) => server.to_owned(),
        (Some(server), Some(image)) => format!("{server} ({image})"),
        (None, _) => row.release.clone(),
    }
}

/// Refusals joined to sshd's own line for each of them.
fn joined(cell: &StrategyCell) -> Option<String> {
    Some(match (cell.joined?, cell.unmatched?) {
        (Joined::SourcePort, 0) => "all".to_owned(),
        (Joined::Count, 0) => "by count".to_owned(),
        (_, alone) => format!("{alone} alone"),
    })
}

fn books(row: &MatrixRow) -> String {
    match &row.books {
        None => NONE.to_owned(),
        Some(books) if books.broken.is_empty() => format!("{} passed", books.holding),
        Some(books) => format!("{} FAILED", books.broken.len()),
    }
}

fn admission(row: &MatrixRow) -> String {
    let Some(admission) = &row.admission else {
        return NONE.to_owned();
    };
    let verdict = match admission.verdict {
        CurveVerdict::Fits => "fits",
        CurveVerdict::Differs => "DIFFERS",
        CurveVerdict::Insufficient => "too few draws",
    };
    match admission.p_value {
        Some(p) => format!("{verdict} ({p:.2})"),
        None => verdict.to_owned(),
    }
}

fn verdict(row: &MatrixRow) -> String {
    match (row.state, row.verdict, row.exit_code) {
        (RowState::NotRun, _, _) => "not run".to_owned(),
        (RowState::Ran, Some(verdict), Some(code)) => format!("{} ({code})", verdict.as_str()),
        (RowState::Failed, _, Some(code)) => format!("no run ({code})"),
        (RowState::Ran | RowState::Failed, _, _) => NONE.to_owned(),
    }
}

/// What refused clients read, and what went wrong, release by release.
fn remarks(report: &MatrixReport) -> Vec<String> {
    let mut by_text: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for row in &report.rows {
        for text in row.refusal_texts.keys() {
            by_text.entry(text).or_default().push(release(row));
        }
    }
    let substituted = report.rows.iter().flat_map(|row| &row.substitutions);
    let mut remarks: Vec<String> = substituted.flat_map(Substitution::lines).collect();
    let read = by_text.into_iter().map(|(text, releases)| {
        let text = if text.is_empty() { "nothing" } else { text };
        format!("Refused clients read: {text} ({})", releases.join(", "))
    });
    remarks.extend(read);
    for row in &report.rows {
        let mut say = |text: &str| remarks.push(format!("{}: {text}", row.release));
        if let Some(error) = &row.error {
            say(error);
        }
        if let Some(missing) = &row.admission_missing {
            say(&format!("no admission curve: {missing}"));
        }
        for reason in &row.reasons {
            say(reason);
        }
        for law in row.books.iter().flat_map(|books| &books.broken) {
            say(&format!("broken: {law}"));
        }
    }
    remarks
}
