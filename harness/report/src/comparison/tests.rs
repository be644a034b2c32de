//! Snapshots of every renderer from two hand-built reports, the schema, and how a comparison joins a verdict.

use super::*;
use crate::json::{self, ReadError};
use crate::schema::assert_conforms;
use crate::{Findings, RunReport, SCHEMA_VERSION, build};
use sshchurn_core::analysis::ledger_builder::{manifest, small_run};
use sshchurn_core::analysis::{laws, validity};
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::gate::{Verdict, decide};
use sshchurn_core::ids::RunId;
use sshchurn_core::ledger::RunEnd;
use sshchurn_core::manifest::ServerKind;
use sshchurn_core::release::Release;
use sshchurn_core::release_changes::substitution;

/// A report of three rounds each, of 100 tasks; `attempts` are those of the second strategy's rounds.
fn report(run_id: &str, attempts: [f64; 3]) -> RunReport {
    let mut manifest = manifest();
    manifest.run_id = RunId(run_id.to_owned());
    manifest.scenario.tasks = 100;
    let run = small_run(manifest.clone()).summary();
    let laws = laws::check(&run);
    let validity = validity::check(&run);
    let decision = decide(&run, &laws, &validity, &[]);
    let findings = Findings {
        laws,
        validity,
        gates: Vec::new(),
        expectations: Vec::new(),
        decision,
    };
    let mut report = build(&manifest, &run, findings);
    for (index, strategy) in report.strategies.iter_mut().enumerate() {
        let round = strategy.per_round[0].clone();
        strategy.per_round = attempts
            .iter()
            .enumerate()
            .map(|(repetition, attempts)| {
                let mut round = round.clone();
                round.values.clear();
                let jitter = if repetition == 1 { 7.0 } else { 0.0 };
                let (handshakes, attempts) = match index {
                    0 => (900.0 + jitter, 1000.0 + 2.0 * jitter),
                    _ => (300.0, *attempts),
                };
                let values = [
                    ("attempts", attempts),
                    ("poll.attempts", attempts - 150.0),
                    ("handshakes", handshakes),
                    ("banner_eof", attempts - handshakes),
                    ("tasks_failed", 0.0),
                    ("leftover_dirs", 0.0),
                    ("handshake_rate_per_s", handshakes / 12.0),
                    ("task", 9.3e9 + 1e8 * jitter),
                    ("polls", 200.0),
                ];
                let values = values.into_iter();
                round
                    .values
                    .extend(values.map(|(name, value)| (name.to_owned(), value)));
                round
            })
            .collect();
    }
    report
}

fn base() -> RunReport {
    report("before-20261124T071800Z", [440.0, 452.0, 446.0])
}

fn new() -> RunReport {
    let mut new = report("after-20261125T071800Z", [561.0, 549.0, 570.0]);
    new.environment.cpus = 4;
    new
}

fn compared() -> CompareReport {
    compare(&base(), &new(), &CompareRequest::default())
}

#[test]
fn the_terminal_comparison_shows_gating_metrics_first() {
    insta::assert_snapshot!(terminal::render(&compared()));
}

#[test]
fn the_markdown_comparison_is_a_table() {
    insta::assert_snapshot!(markdown::render(&compared()));
}

#[test]
fn the_json_comparison_is_stable_and_reads_back() {
    let compared = compared();
    let text = json::render_comparison(&compared);
    let back = json::parse_comparison(&text).expect("it reads back");
    assert_eq!(back, compared);
    insta::assert_snapshot!(text);
}

#[test]
fn colour_is_only_there_on_request() {
    assert!(!terminal::render(&compared()).contains('\x1b'));
    assert!(terminal::render_with(&compared(), true).contains("\x1b[1;31mFAIL"));
}

#[test]
fn the_stand_in_against_sshd_is_refused_unless_it_is_allowed() {
    let (base, mut new) = (base(), base());
    new.target.kind = ServerKind::Embedded;
    new.stand_in = new.target.kind.stand_in();
    let refused = compare(&base, &new, &CompareRequest::default());
    assert!(refused.refused && refused.metrics.is_empty());
    assert_eq!(refused.exit, ExitCode::Inconclusive);
    let text = terminal::render(&refused);
    assert!(text.starts_with("EMBEDDED STAND-IN"), "{text}");
    assert!(text.contains("REFUSED  target: local"), "{text}");
    let request = CompareRequest {
        allow_different: true,
        ..CompareRequest::default()
    };
    let allowed = compare(&base, &new, &request);
    assert_eq!(allowed.verdict, Verdict::Pass);
    assert!(terminal::render(&allowed).contains("ANOTHER EXPERIMENT"));
}

#[test]
fn a_release_that_ran_in_place_of_another_is_compared_as_itself_and_the_other_is_named() {
    let (before, mut after) = (base(), base());
    after.target.substitution = substitution(Release::new(8, 9), Release::new(9, 2));
    let compared = compare(&before, &after, &CompareRequest::default());
    assert_eq!(compared.new.release, compared.base.release);
    assert!(
        compared.differences.is_empty(),
        "{:?}",
        compared.differences
    );
    for text in [terminal::render(&compared), markdown::render(&compared)] {
        assert_eq!(
            text.matches("NOT the 8.9 that was asked for").count(),
            1,
            "{text}"
        );
    }
}

#[test]
fn a_run_that_is_no_measurement_is_inconclusive_on_either_side() {
    let mut broken = base();
    broken.run_end = Some(RunEnd::Interrupted);
    for (before, after) in [(base(), broken.clone()), (broken, base())] {
        let compared = compare(&before, &after, &CompareRequest::default());
        assert_eq!(compared.verdict, Verdict::Inconclusive);
        assert!(compared.reasons[0].contains("interrupted"), "{compared:#?}");
    }
}

#[test]
fn a_comparison_joins_the_verdict_without_hiding_a_stronger_one() {
    let joined = |verdict, exit, compared: &CompareReport| {
        let mut report = base();
        (report.verdict, report.exit) = (verdict, exit);
        join(&mut report, compared);
        assert_eq!(report.exit_code, report.exit.code());
        assert_eq!(report.baseline, Some(compared.base.run_id.clone()));
        (report.verdict, report.exit)
    };
    let failed = compared();
    assert_eq!(failed.verdict, Verdict::Fail);
    let passed = compare(&base(), &base(), &CompareRequest::default());
    assert_eq!(passed.verdict, Verdict::Pass);
    let mut unsure = passed.clone();
    unsure.verdict = Verdict::Inconclusive;
    let fail = (Verdict::Fail, ExitCode::GateFailed);
    let pass = (Verdict::Pass, ExitCode::Success);
    let inconclusive = (Verdict::Inconclusive, ExitCode::Inconclusive);
    let interrupted = (Verdict::Inconclusive, ExitCode::Interrupted);
    for (own, compared, expected) in [
        (pass, &passed, pass),
        (pass, &failed, fail),
        (pass, &unsure, inconclusive),
        (fail, &passed, fail),
        (fail, &unsure, fail),
        (inconclusive, &passed, inconclusive),
        (inconclusive, &failed, fail),
        (interrupted, &failed, interrupted),
        (interrupted, &passed, interrupted),
    ] {
        assert_eq!(joined(own.0, own.1, compared), expected, "{own:?}");
    }
}

#[test]
fn another_schema_version_is_refused_with_both_versions() {
    let of = |version: u32| {
        json::parse(&format!("{{\"schema_version\": {version}, \"x\": 1}}"))
            .expect_err("another version")
    };
    let older = of(SCHEMA_VERSION - 1);
    assert!(matches!(older, ReadError::TooOld { .. }));
    let text = older.to_string();
    assert!(
        text.contains(&format!("schema version {}", SCHEMA_VERSION - 1)),
        "{text}"
    );
    assert!(text.contains(&format!("reads {SCHEMA_VERSION}")), "{text}");
    assert!(matches!(of(SCHEMA_VERSION + 1), ReadError::TooNew { .. }));
    assert!(matches!(of(SCHEMA_VERSION), ReadError::Malformed { .. }));
    let text = json::parse("[]").expect_err("no report").to_string();
    assert!(text.starts_with("not a report of sshchurn"), "{text}");
}

#[test]
fn comparison_is_what_its_schema_says() {
    assert_conforms::<CompareReport>(&json::render_comparison(&compared()));
}
