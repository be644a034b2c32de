//! The matrix as a table, for terminals and for Markdown: one line for each strategy of each release.
//!
//! Owns layout and wording. The cells are the same in both forms.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use super::document::{MatrixReport, MatrixRow, RowState, StrategyCell};
use crate::analysis::admission::CurveVerdict;
use crate::analysis::laws::Joined;
use crate::report::terminal::time;

const NONE: &str = "–";
const HEAD: [&str; 11] = [
    "OpenSSH",
    "refused clients read",
    "strategy",
    "attempts",
    "refused",
    "drops",
    "one for one",
    "CPU/handshake",
    "books",
    "admission (p)",
    "verdict",
];
/// Columns with numbers.
const RIGHT: std::ops::RangeInclusive<usize> = 3..=7;

/// The table for a terminal, with what does not fit into cells below it.
#[must_use]
pub fn text(report: &MatrixReport) -> String {
    let mut table = Table::new();
    table
        .load_style(
            TableStyle::new()
                .header_separator(LineStyle::new('─', '─', '─', '─'))
                .bottom_border(LineStyle::new('─', '─', '─', '─')),
        )
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(HEAD);
    for row in lines(report) {
        table.add_row(row);
    }
    for column in RIGHT {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let table: Vec<String> = table
        .to_string()
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    let mut out = format!("{}\n\n{}\n", title(report), table.join("\n"));
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
    out.push_str(&line(&HEAD.map(str::to_owned)));
    out.push_str(&line(&std::array::from_fn::<_, 11, _>(|column| {
        if RIGHT.contains(&column) {
            "---:".to_owned()
        } else {
            "---".to_owned()
        }
    })));
    for cells in lines(report) {
        out.push_str(&line(&cells.map(|cell| cell.replace('|', "\\|"))));
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

/// All lines of the table; what belongs to the release is in the first of its lines only.
fn lines(report: &MatrixReport) -> Vec<[String; 11]> {
    let mut lines = Vec::new();
    for row in &report.rows {
        let mut first = true;
        for strategy in &row.strategies {
            lines.push(cells(row, Some(strategy), first));
            first = false;
        }
        if first {
            lines.push(cells(row, None, true));
        }
    }
    lines
}

fn cells(row: &MatrixRow, strategy: Option<&StrategyCell>, first: bool) -> [String; 11] {
    let once = |text: String| if first { text } else { String::new() };
    let of = |value: &dyn Fn(&StrategyCell) -> Option<String>| {
        strategy.and_then(value).unwrap_or_else(|| NONE.to_owned())
    };
    [
        once(release(row)),
        once(texts(row)),
        of(&|cell| Some(cell.strategy.0.clone())),
        of(&|cell| Some(cell.attempts.to_string())),
        of(&|cell| Some(cell.banner_eof.to_string())),
        of(&|cell| cell.server_drops.map(|drops| drops.to_string())),
        of(&one_for_one),
        of(&|cell| cell.server_cpu_per_handshake_ns.map(time)),
        once(books(row)),
        once(admission(row)),
        once(verdict(row)),
    ]
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
