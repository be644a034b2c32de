//! The report for a terminal: gates first, the strategies side by side, then what vouches for the numbers.
//!
//! Owns layout and wording. Plain text some 100 columns wide; colour only when asked for. Rounds what it
//! shows and judges nothing.

use std::fmt::Write as _;
use std::ops::Range;

use super::document::RunReport;
use super::ruled_table;
use super::view::words::{counted, gate_value, time};
use super::view::{admission, story, table};
use sshchurn_core::analysis::laws::LawStatus;
use sshchurn_core::analysis::validity::CheckStatus;
use sshchurn_core::gate::{GateOutcome, GateResult, Verdict};

/// Renders the report, without colour.
#[must_use]
pub fn render(report: &RunReport) -> String {
    render_with(report, false, WIDTH)
}

/// Renders the report for a terminal of so many columns; with `colour`, the words that matter carry ANSI colours.
#[must_use]
pub fn render_with(report: &RunReport, colour: bool, columns: u16) -> String {
    let paint = Paint { colour };
    let mut out = String::new();
    for notice in story::notices(report) {
        line(&mut out, &paint.warn(&notice));
    }
    header(&mut out, report);
    let answers = story::answers(report);
    for sentence in &answers {
        line(&mut out, sentence);
    }
    if !answers.is_empty() {
        line(&mut out, "");
    }
    gates(&mut out, report, &paint);
    expectations(&mut out, report, &paint);
    line(
        &mut out,
        "Sums over all rounds, with [min median max] of a round; task times from the intended start",
    );
    line(&mut out, &table(report, columns));
    for sentence in story::remarks(report) {
        line(&mut out, &sentence);
    }
    failures(&mut out, report);
    vouchers(&mut out, report, &paint);
    verdict(&mut out, report, &paint);
    line(&mut out, &format!("Next step: {}", report.next_step.text));
    out
}

pub(super) fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

pub(super) struct Paint {
    pub(super) colour: bool,
}

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub(super) fn good(&self, text: &str) -> String {
        self.with("32", text)
    }

    pub(super) fn bad(&self, text: &str) -> String {
        self.with("1;31", text)
    }

    pub(super) fn warn(&self, text: &str) -> String {
        self.with("1;33", text)
    }
}

/// Columns that a report is laid out for.
pub const WIDTH: u16 = 100;

/// The strategies side by side; one below the other where the terminal is too narrow for that.
fn table(report: &RunReport, columns: u16) -> String {
    let all = 0..report.strategies.len();
    if columns >= WIDTH {
        let (head, rows) = cells(report, all.clone());
        return ruled_table::render_within(WIDTH, head, rows, 1..all.len() + 1);
    }
    let whole = |strategies: Range<usize>| {
        let numbers = 1..strategies.len() + 1;
        let (head, rows) = cells(report, strategies);
        ruled_table::render(head, rows, numbers)
    };
    let side_by_side = whole(all.clone());
    let fits = |line: &str| line.chars().count() <= usize::from(columns);
    match side_by_side.lines().all(fits) {
        true => side_by_side,
        false => {
            let each: Vec<String> = all.map(|strategy| whole(strategy..strategy + 1)).collect();
            each.join("\n")
        }
    }
}

/// The head and the rows of the table, of these strategies.
fn cells(report: &RunReport, strategies: Range<usize>) -> (Vec<String>, Vec<Vec<String>>) {
    let names = report.strategies[strategies.clone()].iter();
    let head = std::iter::once(String::new())
        .chain(names.map(|s| s.strategy.0.clone()))
        .collect();
    let rows = table::rows(report).into_iter().map(|row| {
        let label = format!("{:1$}{2}", "", 2 * usize::from(row.level), row.label);
        let cells = match row.cells {
            Some(cells) => cells[strategies.clone()].to_vec(),
            None => vec![String::new(); strategies.len()],
        };
        std::iter::once(label).chain(cells).collect()
    });
    (head, rows.collect())
}

fn header(out: &mut String, report: &RunReport) {
    let (scenario, target) = (&report.scenario, &report.target);
    line(
        out,
        &format!(
            "{}: {}, {} of each strategy, MaxStartups {}",
            scenario.name,
            counted(u64::from(scenario.tasks), "task"),
            counted(u64::from(scenario.rounds), "round"),
            report.max_startups().unwrap_or("not known")
        ),
    );
    let release = target.release_and_image();
    let trip = target
        .round_trip_ns
        .map_or_else(String::new, |ns| format!(", TCP connect {}", time(ns)));
    line(
        out,
        &format!(
            "target {} ({release}), path {}{trip}; {}; ran {}",
            target.kind.as_str(),
            target.network_path.as_str(),
            story::cpus(report),
            time(report.duration_ns)
        ),
    );
    line(out, "");
}

fn gates(out: &mut String, report: &RunReport, paint: &Paint) {
    if report.gates.is_empty() {
        line(out, "Gates: none, so nothing is judged");
    } else {
        line(out, "Gates");
    }
    thresholds(out, &report.gates, |outcome| match outcome {
        GateOutcome::Pass => paint.good("pass        "),
        GateOutcome::Fail => paint.bad("FAIL        "),
        GateOutcome::Inconclusive => paint.warn("inconclusive"),
    });
}

/// What a demonstration is expected to show; it decides nothing, so it is not in the colours of what does.
fn expectations(out: &mut String, report: &RunReport, paint: &Paint) {
    if report.expectations.is_empty() {
        return;
    }
    line(
        out,
        "Expected of this scenario (does not affect the verdict)",
    );
    thresholds(out, &report.expectations, |outcome| match outcome {
        GateOutcome::Pass => "met         ".to_owned(),
        GateOutcome::Fail => paint.warn("not met     "),
        GateOutcome::Inconclusive => "no data     ".to_owned(),
    });
}

fn thresholds(out: &mut String, results: &[GateResult], mark: impl Fn(GateOutcome) -> String) {
    for gate in results {
        line(
            out,
            &format!("  {}  {}", mark(gate.outcome), gate.expression),
        );
        for check in &gate.checks {
            line(
                out,
                &format!(
                    "                  {}: {} {} {}",
                    check.strategy,
                    gate_value(gate, check.actual),
                    gate.operator,
                    gate_value(gate, check.limit)
                ),
            );
        }
    }
    line(out, "");
}

fn vouchers(out: &mut String, report: &RunReport, paint: &Paint) {
    line(out, "");
    for known in admission::lines(report) {
        line(out, &known);
    }
    let count = |status| report.laws.iter().filter(move |law| law.status == status);
    line(out, &format!("Cross-checks: {}", story::laws(report)));
    for law in count(LawStatus::Broken) {
        line(
            out,
            &format!("  {}  {}", paint.bad("FAILED"), law.description),
        );
        for balance in law.balances.iter().filter(|balance| !balance.holds) {
            let place = match (&balance.round, &balance.strategy) {
                (Some(round), Some(strategy)) => format!("round {round} ({strategy})"),
                _ => "run".to_owned(),
            };
            line(
                out,
                &format!(
                    "          {place}: {} {}, {} {}",
                    law.left, balance.left, law.right, balance.right
                ),
            );
            for detail in &balance.detail {
                line(out, &format!("            {detail}"));
            }
        }
        if let Some(allowance) = &law.allowance {
            line(
                out,
                &format!("          (already allowed for: {allowance})"),
            );
        }
    }
    for law in count(LawStatus::NotCheckable) {
        let reason = law.reason.as_deref().unwrap_or("");
        line(out, &format!("  not checkable: {} ({reason})", law.left));
    }
    let fine = report
        .validity
        .iter()
        .filter(|check| check.status == CheckStatus::Ok)
        .count();
    line(
        out,
        &format!("Generator: {fine} of {} checks ok", report.validity.len()),
    );
    for check in &report.validity {
        let word = match check.status {
            CheckStatus::Ok => continue,
            CheckStatus::Warn => paint.warn("warning"),
            CheckStatus::Invalid => paint.bad("INVALID"),
        };
        line(
            out,
            &format!(
                "  {word}  {} (limit {}): {}",
                check.actual,
                check.limit,
                check.advice.as_deref().unwrap_or("")
            ),
        );
    }
    for warning in &report.warnings {
        line(out, &format!("  {}  {warning}", paint.warn("warning")));
    }
    line(out, "");
}

fn verdict(out: &mut String, report: &RunReport, paint: &Paint) {
    let word = match report.verdict {
        Verdict::Pass => paint.good("PASS"),
        Verdict::Measured => "measured, nothing judged".to_owned(),
        Verdict::Fail => paint.bad("FAIL"),
        Verdict::Inconclusive => paint.warn("INCONCLUSIVE"),
    };
    let mut text = format!("Verdict: {word} (exit {})", report.exit_code);
    if let Some(first) = report.reasons.first() {
        let _ = write!(text, ": {}", first.text);
    }
    line(out, &text);
    for reason in report.reasons.iter().skip(1) {
        line(out, &format!("  also: {}", reason.text));
    }
}

/// The first clients that failed, with the end of what they printed.
fn failures(out: &mut String, report: &RunReport) {
    for strategy in &report.strategies {
        let failures = strategy
            .totals
            .clients
            .iter()
            .flat_map(|clients| &clients.failures);
        for failure in failures {
            let whose = match failure.task {
                Some(task) => format!("task {task}"),
                None => "all tasks".to_owned(),
            };
            line(
                out,
                &format!(
                    "{}, round {}, {whose}: {}",
                    strategy.strategy, failure.round, failure.end
                ),
            );
            for text in failure.output.lines() {
                line(out, &format!("  | {text}"));
            }
        }
    }
}
