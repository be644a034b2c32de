//! A comparison for a terminal: what is not the same, the gating metrics, the others, the verdict.
//!
//! Owns layout and wording. Plain text some 110 columns wide; colour only when asked for.

use super::document::{CompareReport, ComparedRun};
use super::rows::{self, Row, TITLES};
use crate::ruled_table;
use crate::terminal::{Paint, line};
use crate::view::words::counted;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::gate::Verdict;
use sshchurn_core::gate::compare::{Finding, Weight};

/// Renders the comparison, without colour.
#[must_use]
pub fn render(report: &CompareReport) -> String {
    render_with(report, false)
}

/// Renders the comparison; with `colour`, the words that matter carry ANSI colours.
#[must_use]
pub fn render_with(report: &CompareReport, colour: bool) -> String {
    let paint = Paint { colour };
    let mut out = String::new();
    if let Some(kind) = report.stand_in {
        line(&mut out, &paint.warn(kind.headline()));
    }
    line(&mut out, "Comparison");
    line(&mut out, &format!("  baseline  {}", run(&report.base)));
    line(&mut out, &format!("  new       {}", run(&report.new)));
    differences(&mut out, report, &paint);
    if !report.refused {
        gating(&mut out, report, &paint);
        information(&mut out, report);
    }
    verdict(&mut out, report, &paint);
    out
}

/// One line about a run.
pub(super) fn run(run: &ComparedRun) -> String {
    let asked = run
        .asked_release
        .as_ref()
        .map_or_else(String::new, |asked| {
            format!("; NOT the {asked} that was asked for")
        });
    format!(
        "{} ({}): {}, {}, {} ({}{asked})",
        run.run_id,
        run.started_at,
        counted(u64::from(run.tasks), "task"),
        counted(u64::from(run.rounds), "round"),
        run.target,
        run.release
    )
}

fn differences(out: &mut String, report: &CompareReport, paint: &Paint) {
    for difference in &report.differences {
        let word = match difference.weight {
            Weight::Experiment if report.refused => paint.bad("REFUSED"),
            Weight::Experiment => paint.warn("ANOTHER EXPERIMENT"),
            Weight::Conditions => paint.warn("warning"),
            Weight::Client => "client".to_owned(),
            Weight::Varied => "varied".to_owned(),
        };
        line(out, &format!("  {word}  {}", difference.text()));
    }
    line(out, "");
}

fn gating(out: &mut String, report: &CompareReport, paint: &Paint) {
    line(
        out,
        &format!(
            "Gating: \"regressed\" = worse by at least `least`, statistically significant (at most {:.0} % false alarms in all), \
             and consistent across rounds",
            report.settings.false_alarms * 100.0
        ),
    );
    let rows = rows::gating(report);
    line(out, &table(&rows));
    for row in &rows {
        if let Some(reason) = &row.metric.reason {
            let word = paint.warn(row.metric.finding.as_str());
            line(out, &format!("  {word}  {}: {reason}", row.metric.name()));
        }
    }
    line(out, "");
}

fn information(out: &mut String, report: &CompareReport) {
    let rows = rows::information(report);
    if rows.is_empty() {
        return;
    }
    line(
        out,
        "For information only: does not affect the verdict; not corrected for multiple comparisons; by phase where it changed",
    );
    line(out, &table(&rows));
    line(out, "");
}

fn table(rows: &[Row<'_>]) -> String {
    let mut lines = Vec::new();
    let mut strategy = None;
    for Row { metric, cells } in rows {
        if strategy != Some(&metric.strategy) {
            strategy = Some(&metric.strategy);
            let mut title = vec![metric.strategy.0.clone()];
            title.resize(TITLES.len(), String::new());
            lines.push(title);
        }
        let mut row = cells.to_vec();
        row[0].insert_str(0, "  ");
        row.push(word(metric.finding).to_owned());
        lines.push(row);
    }
    ruled_table::render(TITLES, lines, 1..6)
}

/// The word as it is seen at a glance.
fn word(finding: Finding) -> &'static str {
    match finding {
        Finding::Regressed => "REGRESSED",
        other => other.as_str(),
    }
}

fn verdict(out: &mut String, report: &CompareReport, paint: &Paint) {
    let word = match report.verdict {
        Verdict::Pass | Verdict::Measured => paint.good("PASS"),
        Verdict::Fail => paint.bad("FAIL"),
        Verdict::Inconclusive => paint.warn("INCONCLUSIVE"),
    };
    let mut reasons = report.reasons.iter();
    let first = reasons
        .next()
        .map_or_else(String::new, |reason| format!(": {reason}"));
    line(
        out,
        &format!(
            "Against the baseline: {word} (exit {}){first}",
            report.exit_code
        ),
    );
    for reason in reasons {
        line(out, &format!("  also: {reason}"));
    }
    line(out, &format!("Next step: {}", next_step(report)));
}

fn next_step(report: &CompareReport) -> &'static str {
    let any = |finding| {
        let mut gating = report.metrics.iter().filter(|metric| metric.gates);
        gating.any(|metric| metric.finding == finding)
    };
    match report.exit {
        ExitCode::Success if any(Finding::Improved) => {
            "make the new report the baseline, so that the improvement is kept."
        }
        ExitCode::Success => "keep the baseline.",
        ExitCode::GateFailed => {
            "look at the phase that changed under Information, then at its attempts in events.jsonl.zst."
        }
        _ if report.refused => {
            "make a baseline with this scenario on this target, or pass `--allow-different`."
        }
        _ if any(Finding::Inconclusive) || any(Finding::Insufficient) => {
            "give both runs more rounds (`--rounds 3` at least; more of the baseline help every later run)."
        }
        _ => "make both runs again; one of them measured nothing.",
    }
}
