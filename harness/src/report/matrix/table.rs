//! The matrix as tables: for terminals one of the strategies and one of the releases, which fit side by side nowhere; for
//! Markdown one with a line for each strategy of each release.
//!
//! Owns layout and wording. The cells are the same in both forms.

use std::fmt::Write as _;

use super::document::{MatrixReport, MatrixRow, RowState, StrategyCell};
use crate::analysis::admission::CurveVerdict;
use crate::analysis::laws::Joined;
use crate::report::ruled_table;
use crate::report::terminal::time;

const NONE: &str = "–";
const RELEASE: &str = "OpenSSH";
/// What is known of a strategy on a release.
const OF_STRATEGY: [&str; 6] = [
    "strategy",
    "attempts",
    "refused",
    "drops",
    "one for one",
    "CPU/handshake",
];
/// What is known of a release.
const OF_RELEASE: [&str; 4] = ["books", "admission (p)", "verdict", "refused clients read"];
/// Columns with numbers, of a table that begins with release and strategy.
const NUMBERS: std::ops::Range<usize> = 2..7;

/// The tables for a terminal, with what does not fit into cells below them.
#[must_use]
pub fn text(report: &MatrixReport) -> String {
    let by_strategy = ruled_table::render(
        std::iter::once(RELEASE).chain(OF_STRATEGY),
        lines(report)
            .into_iter()
            .map(|line| [vec![line.release], line.of_strategy.to_vec()].concat()),
        NUMBERS,
    );
    let by_release = ruled_table::render(
        std::iter::once(RELEASE).chain(OF_RELEASE),
        report
            .rows
            .iter()
            .map(|row| [vec![release(row)], of_release(row).to_vec()].concat()),
        // No column of it holds numbers.
        0..0,
    );
    let mut out = format!("{}\n\n{by_strategy}\n\n{by_release}\n", title(report));
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
    let mut out = format!("# {}\n\n", title(report));
    let head: Vec<String> = std::iter::once(RELEASE)
        .chain(OF_STRATEGY)
        .chain(OF_RELEASE)
        .map(str::to_owned)
        .collect();
    out.push_str(&line(&head));
    let alignment = |column| {
        if NUMBERS.contains(&column) {
            "---:"
        } else {
            "---"
        }
    };
    let alignments: Vec<String> = (0..head.len())
        .map(|column| alignment(column).to_owned())
        .collect();
    out.push_str(&line(&alignments));
    for cells in lines(report) {
        let cells: Vec<String> = std::iter::once(cells.release)
            .chain(cells.of_strategy)
            .chain(cells.of_release)
            .map(|cell| cell.replace('|', "\\|"))
            .collect();
        out.push_str(&line(&cells));
    }
    out.push('\n');
    for remark in remarks(report) {
        let _ = writeln!(out, "- {remark}");
    }
    let _ = writeln!(out, "- Exit code: {}", exit(report));
    out
}

fn title(report: &MatrixReport) -> String {
    format!(
        "{} over {} OpenSSH releases",
        report.scenario,
        report.rows.len()
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

/// A strategy on a release.
struct Line {
    release: String,
    of_strategy: [String; 6],
    of_release: [String; 4],
}

/// All strategies of all releases; what belongs to the release is in the first of its lines only.
fn lines(report: &MatrixReport) -> Vec<Line> {
    let mut lines = Vec::new();
    for row in &report.rows {
        let first = Line {
            release: release(row),
            of_strategy: of_strategy(row.strategies.first()),
            of_release: of_release(row),
        };
        lines.push(first);
        for strategy in row.strategies.iter().skip(1) {
            lines.push(Line {
                release: String::new(),
                of_strategy: of_strategy(Some(strategy)),
                of_release: Default::default(),
            });
        }
    }
    lines
}

fn of_strategy(strategy: Option<&StrategyCell>) -> [String; 6] {
    let of = |value: &dyn Fn(&StrategyCell) -> Option<String>| {
        strategy.and_then(value).unwrap_or_else(|| NONE.to_owned())
    };
    [
        of(&|cell| Some(cell.strategy.0.clone())),
        of(&|cell| Some(cell.attempts.to_string())),
        of(&|cell| Some(cell.banner_eof.to_string())),
        of(&|cell| cell.server_drops.map(|drops| drops.to_string())),
        of(&one_for_one),
        of(&|cell| cell.server_cpu_per_handshake_ns.map(time)),
    ]
}

fn of_release(row: &MatrixRow) -> [String; 4] {
    [books(row), admission(row), verdict(row), texts(row)]
}

/// What ran, where it is more than what was asked for.
fn release(row: &MatrixRow) -> String {
    match &row.server {
        Some(server) => server.strip_prefix("OpenSSH_").unwrap_or(server).to_owned(),
        None => row.release.clone(),
    }
}

fn texts(row: &MatrixRow) -> String {
    if row.refusal_texts.is_empty() {
        return NONE.to_owned();
    }
    row.refusal_texts
        .keys()
        .map(|text| match text.as_str() {
            "" => "(nothing)",
            text => text,
        })
        .collect::<Vec<_>>()
        .join(", ")
}

fn one_for_one(cell: &StrategyCell) -> Option<String> {
    let (joined, matched, unmatched) = (cell.joined?, cell.matched?, cell.unmatched?);
    Some(match (joined, unmatched) {
        (Joined::Count, 0) => "by count only".to_owned(),
        (Joined::Count, unmatched) => format!("no: {unmatched} too many"),
        (Joined::SourcePort, 0) => "yes".to_owned(),
        (Joined::SourcePort, unmatched) => format!("no: {matched}, {unmatched} alone"),
    })
}

fn books(row: &MatrixRow) -> String {
    match &row.books {
        None => NONE.to_owned(),
        Some(books) if books.broken.is_empty() => format!("balance ({})", books.holding),
        Some(books) => format!("BROKEN: {}", books.broken.len()),
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

/// What went wrong, release by release.
fn remarks(report: &MatrixReport) -> Vec<String> {
    let mut remarks = Vec::new();
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
