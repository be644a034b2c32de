//! The verdict as JUnit XML, which CI systems show test by test.
//!
//! Owns the mapping: one case for each check of a gate, each law of the books and each check of the generator. What
//! fails is a failure; what could not be measured is an error. Times are the run's, never the rendering's.

use std::time::Duration;

use chrono::DateTime;
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use super::document::RunReport;
use super::view::story;
use super::view::words::{gate_value, word};
use sshchurn_core::analysis::laws::{Law, LawStatus};
use sshchurn_core::analysis::validity::{Check, CheckStatus};
use sshchurn_core::gate::{GateOutcome, GateResult};

/// Renders the report. The same report always gives the same bytes.
#[must_use]
pub fn render(report: &RunReport) -> String {
    let mut suite = TestSuite::new(format!("sshchurn.{}", report.scenario.name));
    // A run that began before the calendar has no time stamp; nothing else of it is lost.
    if let Ok(started) = DateTime::parse_from_rfc3339(&report.started_at) {
        suite.set_timestamp(started);
    }
    let time = Duration::from_nanos(report.duration_ns);
    suite.set_time(time);
    for (name, value) in [
        ("run_id", report.run_id.0.clone()),
        ("verdict", report.verdict.as_str().to_owned()),
        ("exit_code", report.exit_code.to_string()),
        ("target", report.target.kind.as_str().to_owned()),
        ("stand_in", report.stand_in_word().to_owned()),
    ] {
        suite.add_property(Property::new(name, value));
    }
    let mut lines = story::notices(report);
    lines.push(story::sentence(report));
    suite.set_system_out(lines.join("\n"));
    for gate in &report.gates {
        suite.add_test_cases(of_gate(gate));
    }
    suite.add_test_cases(report.laws.iter().map(of_law));
    suite.add_test_cases(report.validity.iter().map(of_check));
    let mut junit = Report::new("sshchurn");
    junit.set_time(time).add_test_suite(suite);
    // Fails only where the writer does, and this one is memory.
    let mut xml = junit.to_string().unwrap_or_default();
    if !xml.ends_with('\n') {
        xml.push('\n');
    }
    xml
}

fn case(class: &str, name: String, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(format!("sshchurn.{class}"));
    case
}

fn not(kind: NonSuccessKind, about: &str, message: String) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(about.to_owned()).set_message(message);
    status
}

fn of_gate(gate: &GateResult) -> Vec<TestCase> {
    if gate.checks.is_empty() {
        // No strategy at all is no data.
        let status = not(
            NonSuccessKind::Error,
            "no_data",
            "no strategy was run".to_owned(),
        );
        return vec![case("gate", gate.expression.clone(), status)];
    }
    gate.checks
        .iter()
        .map(|check| {
            let told = format!(
                "{}: {} {} {}",
                check.strategy,
                gate_value(gate, check.actual),
                gate.operator,
                gate_value(gate, check.limit)
            );
            let status = match check.outcome {
                GateOutcome::Pass => TestCaseStatus::success(),
                GateOutcome::Fail => not(NonSuccessKind::Failure, "threshold", told.clone()),
                GateOutcome::Inconclusive => not(NonSuccessKind::Error, "no_data", told.clone()),
            };
            let name = format!("{} [{}]", gate.expression, check.strategy);
            let mut case = case("gate", name, status);
            case.set_system_out(told);
            case
        })
        .collect()
}

fn of_law(law: &Law) -> TestCase {
    let status = match law.status {
        LawStatus::Holds => TestCaseStatus::success(),
        LawStatus::NotCheckable => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(law.reason.clone().unwrap_or_default());
            status
        }
        LawStatus::Broken => {
            let mut lines = Vec::new();
            for balance in law.balances.iter().filter(|balance| !balance.holds) {
                let place = match (&balance.round, &balance.strategy) {
                    (Some(round), Some(strategy)) => format!("round {round} ({strategy})"),
                    _ => "run".to_owned(),
                };
                lines.push(format!(
                    "{place}: {} {}, {} {}",
                    law.left, balance.left, law.right, balance.right
                ));
                lines.extend(balance.detail.iter().cloned());
            }
            let mut status = not(
                NonSuccessKind::Error,
                "books",
                format!("a cross-check failed: {}", law.description),
            );
            status.set_description(lines.join("\n"));
            status
        }
    };
    case("books", word(&law.id), status)
}

fn of_check(check: &Check) -> TestCase {
    let told = format!("{} (limit {})", check.actual, check.limit);
    let advice = check.advice.as_deref().unwrap_or_default();
    let status = match check.status {
        CheckStatus::Ok | CheckStatus::Warn => TestCaseStatus::success(),
        CheckStatus::Invalid => {
            let mut status = not(NonSuccessKind::Error, "invalid", told.clone());
            status.set_description(advice.to_owned());
            status
        }
    };
    let mut case = case("validity", word(&check.id), status);
    case.set_system_out(match check.status {
        CheckStatus::Ok => told,
        CheckStatus::Warn => format!("warning: {told}: {advice}"),
        CheckStatus::Invalid => format!("{told}: {advice}"),
    });
    case
}
