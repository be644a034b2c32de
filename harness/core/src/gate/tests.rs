//! The grammar with its errors, evaluation, and the precedence of verdicts.

use super::*;
use crate::analysis::ledger_builder::{LedgerBuilder, NEW, OLD, manifest, small_run};
use crate::analysis::summary::RunSummary;
use crate::analysis::{laws, validity};
use crate::exit_code::ExitCode;
use crate::ids::StrategyName;
use crate::ledger::RunEnd;
use crate::vocabulary::Phase;

fn strategies() -> Vec<StrategyName> {
    manifest().scenario.strategy_names()
}

fn parse(text: &str) -> Threshold {
    Threshold::parse(text, &strategies()).unwrap_or_else(|error| panic!("{error}"))
}

fn error(text: &str) -> String {
    Threshold::parse(text, &strategies())
        .expect_err("it is wrong")
        .to_string()
}

fn judged(run: &RunSummary, texts: &[&str]) -> Vec<GateOutcome> {
    let thresholds: Vec<_> = texts.iter().map(|text| parse(text)).collect();
    judge(&thresholds, run)
        .iter()
        .map(|gate| gate.outcome)
        .collect()
}

fn decision(run: &RunSummary, texts: &[&str]) -> Decision {
    let thresholds: Vec<_> = texts.iter().map(|text| parse(text)).collect();
    let gates = judge(&thresholds, run);
    decide(run, &laws::check(run), &validity::check(run), &gates)
}

#[test]
fn the_examples_of_the_documentation_parse() {
    let threshold = parse("reused-session.banner_eof == 0");
    assert_eq!(threshold.left.strategy, Some(StrategyName(NEW.to_owned())));
    assert_eq!(threshold.left.metric.name, "banner_eof");
    assert_eq!(threshold.left.aggregate, Aggregate::Total);
    assert_eq!(threshold.bound, Bound::Value(0.0));

    let threshold = parse("reused-session.submit.tcp.p99 < 250ms");
    assert_eq!(threshold.left.phase, Some(Phase::Submit));
    assert_eq!(threshold.left.aggregate, Aggregate::Percentile(99.0));
    assert_eq!(threshold.bound, Bound::Value(250e6));

    let threshold = parse("per-command.attempts>=2*reused-session.attempts");
    assert_eq!(threshold.operator, Operator::AtLeast);
    assert!(matches!(threshold.bound, Bound::Multiple { factor, .. } if factor == 2.0));
}

#[test]
fn submit_is_a_metric_before_an_aggregate_and_a_phase_before_a_metric() {
    let threshold = parse("submit.p95 <= 1.5 s");
    assert_eq!(
        (threshold.left.phase, threshold.left.metric.name),
        (None, "submit")
    );
    assert_eq!(threshold.left.aggregate, Aggregate::Percentile(95.0));
    assert_eq!(threshold.bound, Bound::Value(1.5e9));
    let threshold = parse("submit.attempts.max <= 9");
    assert_eq!(threshold.left.phase, Some(Phase::Submit));
}

#[test]
fn every_mistake_is_an_error_with_its_place() {
    let errors = [
        "baner_eof == 0",
        "reused-session.poll.baner_eof == 0",
        "reusd-session.banner_eof == 0",
        "banner_eof",
        "banner_eof = 0",
        "banner_eof == ",
        " == 0",
        "banner_eof == zero",
        "banner_eof == 10ms",
        "tcp.p99 < 250",
        "tcp < 250ms",
        "tcp.p101 < 250ms",
        "tcp.p0 < 250ms",
        "submit.p101 < 250ms",
        "tcp.avg < 250ms",
        "banner_eof.p99 == 0",
        "poll.leftover_dirs == 0",
        "attempts >= 2 * tcp.p99",
        "attempts >= nan * handshakes",
        "attempts >= 2 * reused-session.attempts",
        "attempts >= 2 *",
        "banner_eof == -1",
        "tcp.p99 < 250 parsecs",
    ]
    .map(error)
    .join("\n");
    insta::assert_snapshot!(errors);
}

#[test]
fn all_wrong_thresholds_are_reported_at_once() {
    let texts = ["attempts > 0", "x == 0", "y == 0"].map(str::to_owned);
    let errors = Threshold::parse_all(&texts, &strategies()).expect_err("two are wrong");
    assert_eq!(errors.len(), 2);
}

#[test]
fn thresholds_are_judged_on_unrounded_values() {
    let run = small_run(manifest()).summary();
    let outcomes = judged(
        &run,
        &[
            "reused-session.banner_eof == 0",
            "per-command.banner_eof == 5",
            "banner_eof == 0",
            "per-command.attempts >= 2 * reused-session.attempts",
            "per-command.attempts >= 2.01 * reused-session.attempts",
            "reused-session.tcp.max == 1ms",
            "reused-session.tcp.max < 1ms",
            "per-command.leftover_dirs.max == 1",
            "per-command.leftover_dirs.median == 0.5",
            "reused-session.handshakes_per_task.max == 3",
            "per-command.server_drops == per-command.banner_eof",
            "server_accepted == handshakes",
        ],
    );
    use GateOutcome::{Fail, Pass};
    assert_eq!(
        outcomes,
        [
            Pass, Pass, Fail, Pass, Fail, Pass, Fail, Pass, Pass, Pass, Pass, Pass
        ]
    );
}

#[test]
fn no_data_is_inconclusive_and_never_a_pass() {
    let run = small_run(manifest()).summary();
    assert_eq!(
        judged(
            &run,
            &[
                "reused-session.refusal.p99 < 10s",
                "startups_peak < 1000",
                "startups_peak >= 0",
                "reused-session.refusal.p99 <= 2 * per-command.refusal.p99",
            ]
        ),
        [GateOutcome::Inconclusive; 4]
    );
    let nothing = LedgerBuilder::new(manifest()).summary();
    assert_eq!(
        judged(&nothing, &["banner_eof == 0"]),
        [GateOutcome::Inconclusive]
    );
}

#[test]
fn a_sound_run_without_gates_is_measured_and_does_not_pass() {
    let decision = decision(&small_run(manifest()).summary(), &[]);
    assert_eq!(decision.verdict, Verdict::Measured);
    assert_eq!(decision.exit_code, ExitCode::Success);
    assert_eq!(decision.reasons, []);
}

#[test]
fn a_failed_gate_outweighs_one_without_data() {
    let decision = decision(
        &small_run(manifest()).summary(),
        &["startups_peak < 5", "per-command.banner_eof == 0"],
    );
    assert_eq!(
        (decision.verdict, decision.exit_code),
        (Verdict::Fail, ExitCode::GateFailed)
    );
    assert_eq!(decision.reasons.len(), 2);
}

#[test]
fn a_gate_without_data_makes_the_run_inconclusive() {
    let decision = decision(&small_run(manifest()).summary(), &["startups_peak < 5"]);
    assert_eq!(
        (decision.verdict, decision.exit_code),
        (Verdict::Inconclusive, ExitCode::Inconclusive)
    );
}

#[test]
fn unbalanced_books_outweigh_a_failed_gate() {
    let mut ledger = small_run(manifest());
    // A drop that no client of the harness met.
    ledger.logged_in(
        0,
        "drop connection #20 from [127.0.0.1]:9 on [127.0.0.1]:22 past MaxStartups",
    );
    let decision = decision(&ledger.summary(), &[&format!("{OLD}.banner_eof == 0")]);
    assert_eq!(
        (decision.verdict, decision.exit_code),
        (Verdict::Inconclusive, ExitCode::Inconclusive)
    );
    let reason = &decision.reasons[0];
    assert_eq!(reason.id, ReasonId::CrossCheck);
    assert!(
        reason
            .text
            .contains("a cross-check failed in 1 of 4 rounds")
    );
}

#[test]
fn a_stopped_run_has_the_exit_code_of_what_stopped_it() {
    for (end, code) in [
        (RunEnd::Interrupted, ExitCode::Interrupted),
        (RunEnd::ServerLost, ExitCode::Environment),
        (RunEnd::OutOfTime, ExitCode::Inconclusive),
    ] {
        let mut ledger = small_run(manifest());
        ledger.records.pop();
        ledger.run_end(end);
        let decision = decision(&ledger.summary(), &[]);
        assert_eq!(
            (decision.verdict, decision.exit_code),
            (Verdict::Inconclusive, code)
        );
        assert_eq!(decision.reasons.len(), 1, "{:?}", decision.reasons);
    }
}
