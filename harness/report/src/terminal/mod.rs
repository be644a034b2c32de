//! The report for a terminal: gates first, the strategies side by side, then what vouches for the numbers.
//!
//! Owns layout and wording. Plain text some 100 columns wide; colour only when asked for. Rounds what it
//! shows and judges nothing.

mod clients;
mod rows;
mod server;
pub(super) mod table;

use std::fmt::Write as _;

use super::document::RunReport;
use sshchurn_core::analysis::admission::AdmissionCurve;
use sshchurn_core::analysis::laws::LawStatus;
use sshchurn_core::analysis::validity::{Check, CheckId, CheckStatus};
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::gate::{GateOutcome, GateResult, Verdict};
use sshchurn_core::quantity;

/// Renders the report, without colour.
#[must_use]
pub fn render(report: &RunReport) -> String {
    render_with(report, false)
}

/// Renders the report; with `colour`, the words that matter carry ANSI colours.
#[must_use]
pub fn render_with(report: &RunReport, colour: bool) -> String {
    let paint = Paint { colour };
    let mut out = String::new();
    for notice in super::story::notices(report) {
        line(&mut out, &paint.warn(&notice));
    }
    header(&mut out, report);
    let answers = super::story::answers(report);
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
    line(&mut out, &table::render(report));
    for sentence in super::story::remarks(report) {
        line(&mut out, &sentence);
    }
    clients::failures(&mut out, report);
    vouchers(&mut out, report, &paint);
    verdict(&mut out, report, &paint);
    line(&mut out, &format!("Next step: {}", next_step(report)));
    out
}

/// One curve in one line.
#[must_use]
pub(super) fn curve(curve: &AdmissionCurve) -> String {
    server::curve_line(curve)
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

fn header(out: &mut String, report: &RunReport) {
    let (scenario, target) = (&report.scenario, &report.target);
    line(
        out,
        &format!(
            "{}: {} tasks, {} of each strategy, MaxStartups {}",
            scenario.name,
            scenario.tasks,
            super::story::counted(u64::from(scenario.rounds), "round"),
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
            super::story::cpus(report),
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

/// A gate's own value, rounded only where more digits would not be read.
pub(super) fn gate_value(gate: &GateResult, value: Option<f64>) -> String {
    match value {
        None => "no data".to_owned(),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "metrics are never negative, and this is for display"
        )]
        Some(value) if gate.is_duration => time(value.round() as u64),
        Some(value) => decimal(value),
    }
}

pub(super) fn decimal(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// Nanoseconds as a person reads them.
pub(super) fn time(ns: u64) -> String {
    let ns = quantity::number(ns);
    match ns {
        _ if ns >= 99.95e9 => format!("{:.0} s", ns / 1e9),
        _ if ns >= 1e9 => format!("{:.2} s", ns / 1e9),
        _ if ns >= 99.95e6 => format!("{:.0} ms", ns / 1e6),
        _ if ns >= 1e6 => format!("{:.1} ms", ns / 1e6),
        _ => format!("{:.0} µs", ns / 1e3),
    }
}

fn vouchers(out: &mut String, report: &RunReport, paint: &Paint) {
    line(out, "");
    server::admission(out, report);
    let count = |status| report.laws.iter().filter(move |law| law.status == status);
    line(out, &format!("Books: {}", super::story::laws(report)));
    for law in count(LawStatus::Broken) {
        line(
            out,
            &format!("  {}  {}", paint.bad("BROKEN"), law.description),
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
        let _ = write!(text, ": {first}");
    }
    line(out, &text);
    for reason in report.reasons.iter().skip(1) {
        line(out, &format!("  also: {reason}"));
    }
}

pub(super) fn next_step(report: &RunReport) -> &'static str {
    let is_invalid = |check: &Check| check.status == CheckStatus::Invalid;
    let invalid = |id| {
        report
            .validity
            .iter()
            .any(|check| check.id == id && is_invalid(check))
    };
    let no_data = report
        .gates
        .iter()
        .any(|gate| gate.outcome == GateOutcome::Inconclusive);
    match report.exit {
        ExitCode::Success if report.stand_in.is_some() => {
            "run it against a real sshd (`--target docker` or `--target local`) before relying on it."
        }
        ExitCode::Success if report.gates.is_empty() => {
            "add a threshold (`--threshold 'STRATEGY.banner_eof == 0'`) to make this a gate."
        }
        ExitCode::Success if report.baseline.is_some() => "keep the baseline.",
        ExitCode::Success if report.scenario.rounds < 2 => {
            "run it with `--rounds 3` and keep that report.json as the baseline of later runs: one round has no spread."
        }
        ExitCode::Success => "keep report.json as the baseline of later runs.",
        ExitCode::GateFailed => {
            "compare the failed metric by phase in the table, and its attempts in events.jsonl.zst."
        }
        ExitCode::Interrupted => "run it again to the end; these numbers are partial.",
        ExitCode::Environment => {
            "read sshd.log in the run directory: the server under test did not last."
        }
        ExitCode::Usage => "correct the command line or the scenario.",
        // A record that was broken off has books that cannot balance.
        ExitCode::Inconclusive if report.run_end.is_none() => {
            "run it again: this one was killed, or could not write its record any more."
        }
        ExitCode::Inconclusive
            if report
                .laws
                .iter()
                .any(|law| law.status == LawStatus::Broken) =>
        {
            "find who else uses this server, or what cut its log, from the unbalanced law above."
        }
        ExitCode::Inconclusive if invalid(CheckId::GeneratorFaults) => {
            "run `sshchurn doctor` and raise the limit it names."
        }
        ExitCode::Inconclusive if invalid(CheckId::RunComplete) => {
            "raise max_duration, or run fewer tasks or rounds."
        }
        ExitCode::Inconclusive
            if report.baseline.is_some()
                && report
                    .reasons
                    .iter()
                    .all(|reason| reason.starts_with("against the baseline")) =>
        {
            "see the comparison for what it could not say, and run it again with more rounds."
        }
        ExitCode::Inconclusive if invalid(CheckId::Admitted) => {
            "look at the outcomes of the attempts and at sshd.log: nobody got in."
        }
        ExitCode::Inconclusive if no_data && !report.validity.iter().any(is_invalid) => {
            "leave out the thresholds without data, or run what has them: not every target and strategy has every metric."
        }
        ExitCode::Inconclusive => {
            "give the run more room (see the lines above), then run it again."
        }
    }
}
