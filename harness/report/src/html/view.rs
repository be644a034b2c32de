//! Every word and number of the page, in the places of the template.
//!
//! Owns what is shown and in which words; knows nothing of HTML.

use serde::Serialize;

use super::parts::{self, Part};
use crate::document::RunReport;
use crate::plot::{self, DataTable, Figure};
use crate::view::story;
use crate::view::table;
use crate::view::words::{counted, gate_value, reason_texts, time};
use sshchurn_core::analysis::laws::{Law, LawStatus};
use sshchurn_core::analysis::validity::CheckStatus;
use sshchurn_core::gate::{GateOutcome, GateResult, Verdict};

/// The page.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    title: String,
    notices: Vec<String>,
    started: String,
    verdict: &'static str,
    verdict_word: String,
    scenario: String,
    sentence: String,
    remarks: Vec<String>,
    reasons: Vec<String>,
    headlines: Vec<Headline>,
    setup: Vec<String>,
    warnings: Vec<String>,
    gates: Vec<Gate>,
    expectations: Vec<Gate>,
    comparison: Vec<Figure>,
    fates: Figure,
    rounds: Vec<Figure>,
    more_rounds: Vec<Figure>,
    numbers: Numbers,
    books: String,
    laws: Vec<LawView>,
    reconciliation: Vec<Part>,
    server: Vec<Part>,
    validity_line: String,
    validity: DataTable,
    environment: Vec<(String, String)>,
    effective_config: Vec<(String, String)>,
    sshd_config: Option<String>,
    description: String,
    toml: String,
    footer: String,
}

#[derive(Debug, Serialize)]
struct Headline {
    name: String,
    ink: String,
    facts: Vec<FactView>,
}

#[derive(Debug, Serialize)]
struct FactView {
    label: &'static str,
    value: String,
    note: String,
}

#[derive(Debug, Serialize)]
struct Gate {
    class: &'static str,
    word: &'static str,
    expression: String,
    checks: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Numbers {
    head: Vec<String>,
    rows: Vec<NumbersRow>,
}

#[derive(Debug, Serialize)]
struct NumbersRow {
    class: &'static str,
    label: String,
    cells: Vec<String>,
}

#[derive(Debug, Serialize)]
struct LawView {
    class: &'static str,
    word: &'static str,
    open: bool,
    description: String,
    note: String,
    balances: DataTable,
}

pub(super) fn page(report: &RunReport) -> Page {
    let (rounds, more_rounds) = rounds(report);
    let fine = report
        .validity
        .iter()
        .filter(|check| check.status == CheckStatus::Ok)
        .count();
    Page {
        title: format!(
            "{}: {} – sshchurn",
            report.scenario.name,
            report.verdict.as_str()
        ),
        notices: story::notices(report),
        started: started(&report.started_at),
        verdict: report.verdict.as_str(),
        verdict_word: report.verdict.as_str().to_uppercase(),
        scenario: report.scenario.name.clone(),
        sentence: story::sentence(report),
        remarks: story::answers(report)
            .into_iter()
            .chain(story::remarks(report))
            .collect(),
        reasons: reasons(report),
        headlines: headlines(report),
        setup: setup(report),
        warnings: story::warnings(report),
        gates: report.gates.iter().map(gate).collect(),
        expectations: report.expectations.iter().map(expectation).collect(),
        comparison: plot::comparison(report),
        fates: plot::fates(report),
        rounds,
        more_rounds,
        numbers: numbers(report),
        books: parts::books_line(report),
        laws: report.laws.iter().map(law).collect(),
        reconciliation: parts::reconciliation(report),
        server: parts::server(report),
        validity_line: format!(
            "{fine} of {} checks are in order. A warning bounds its effect on the numbers; an invalid check makes the run inconclusive.",
            report.validity.len()
        ),
        validity: parts::validity(report),
        environment: parts::environment(report),
        effective_config: report.target.effective_config.clone(),
        sshd_config: report.target.sshd_config.clone(),
        description: report.scenario.description.clone(),
        toml: report.scenario.effective_toml.clone(),
        footer: format!(
            "{} {}, report schema {}. Next step: {}",
            report.tool.name, report.tool.version, report.schema_version, report.next_step.text
        ),
    }
}

/// `2026-11-25T10:25:07.443605261Z` to the minute, as a person reads it.
fn started(rfc3339: &str) -> String {
    match (
        rfc3339.get(..10),
        rfc3339.get(11..16),
        rfc3339.ends_with('Z'),
    ) {
        (Some(day), Some(minute), true) => format!("{day} {minute} UTC"),
        _ => rfc3339.to_owned(),
    }
}

/// The sentence names the first reason of a run without conclusion, and failed thresholds are listed below.
fn reasons(report: &RunReport) -> Vec<String> {
    match report.verdict {
        Verdict::Pass | Verdict::Measured => Vec::new(),
        Verdict::Fail => reason_texts(&report.reasons),
        Verdict::Inconclusive => reason_texts(report.reasons.get(1..).unwrap_or_default()),
    }
}

fn headlines(report: &RunReport) -> Vec<Headline> {
    report
        .strategies
        .iter()
        .enumerate()
        .map(|(index, strategy)| Headline {
            name: strategy.strategy.0.clone(),
            ink: plot::strategy_ink(index),
            facts: story::facts(report, strategy)
                .into_iter()
                .map(|fact| FactView {
                    label: fact.label,
                    value: fact
                        .value
                        .map_or_else(|| "—".to_owned(), |value| value.to_string()),
                    note: fact.note,
                })
                .collect(),
        })
        .collect()
}

fn setup(report: &RunReport) -> Vec<String> {
    let (scenario, target) = (&report.scenario, &report.target);
    let release = target.release_and_image();
    let mut parts = vec![
        format!(
            "{} tasks, {} of each strategy",
            scenario.tasks,
            counted(u64::from(scenario.rounds), "round")
        ),
        format!(
            "MaxStartups {}",
            report.max_startups().unwrap_or("not known")
        ),
        format!("{} target, {release}", target.kind.as_str()),
        format!("path {}", target.network_path.as_str()),
    ];
    if let Some(ns) = target.round_trip_ns {
        parts.push(format!("TCP connect {}", time(ns)));
    }
    parts.push(story::cpus(report));
    parts.push(format!("ran {}", time(report.duration_ns)));
    parts.push(format!("exit code {}", report.exit_code));
    parts
}

/// Class and word of a gate's outcome.
fn outcome(outcome: GateOutcome) -> (&'static str, &'static str) {
    match outcome {
        GateOutcome::Pass => ("pass", "pass"),
        GateOutcome::Fail => ("fail", "FAIL"),
        GateOutcome::Inconclusive => ("inconclusive", "no data"),
    }
}

fn gate(gate: &GateResult) -> Gate {
    judged(gate, outcome(gate.outcome))
}

/// What a demonstration is expected to show decides nothing: it has none of the colours of what does.
fn expectation(result: &GateResult) -> Gate {
    let word = match result.outcome {
        GateOutcome::Pass => "met",
        GateOutcome::Fail => "not met",
        GateOutcome::Inconclusive => "no data",
    };
    judged(result, ("expected", word))
}

fn judged(gate: &GateResult, (class, word): (&'static str, &'static str)) -> Gate {
    Gate {
        class,
        word,
        expression: gate.expression.clone(),
        checks: gate
            .checks
            .iter()
            .map(|check| {
                format!(
                    "{}: {} {} {}",
                    check.strategy,
                    gate_value(gate, check.actual),
                    gate.operator,
                    gate_value(gate, check.limit)
                )
            })
            .collect(),
    }
}

/// The first repetition of each strategy, and all others; in the order of execution.
fn rounds(report: &RunReport) -> (Vec<Figure>, Vec<Figure>) {
    let mut all: Vec<(u32, Figure, bool)> = report
        .strategies
        .iter()
        .enumerate()
        .flat_map(|(index, strategy)| {
            strategy
                .per_round
                .iter()
                .enumerate()
                .map(move |(place, round)| {
                    let figure = plot::time_line(round, strategy, index);
                    (round.round.0, figure, place == 0)
                })
        })
        .collect();
    all.sort_by_key(|(round, ..)| *round);
    let (first, more): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, _, first)| *first);
    let figures =
        |list: Vec<(u32, Figure, bool)>| list.into_iter().map(|(_, figure, _)| figure).collect();
    (figures(first), figures(more))
}

fn numbers(report: &RunReport) -> Numbers {
    Numbers {
        head: report
            .strategies
            .iter()
            .map(|strategy| strategy.strategy.0.clone())
            .collect(),
        rows: table::rows(report)
            .into_iter()
            .map(|row| NumbersRow {
                class: match (&row.cells, row.level) {
                    (None, _) => "section",
                    (Some(_), 0) => "top",
                    (Some(_), _) => "row",
                },
                label: row.label,
                cells: row
                    .cells
                    .unwrap_or_else(|| vec![String::new(); report.strategies.len()]),
            })
            .collect(),
    }
}

fn law(law: &Law) -> LawView {
    let (class, word) = match law.status {
        LawStatus::Holds => ("pass", "passed"),
        LawStatus::Broken => ("fail", "FAILED"),
        LawStatus::NotCheckable => ("unknown", "unknown"),
    };
    let note = match (&law.reason, &law.allowance) {
        (Some(reason), _) => format!("Not checkable: {reason}."),
        (None, Some(allowance)) => format!("Allowed for: {allowance}."),
        (None, None) => String::new(),
    };
    let head = [
        "Round",
        &law.left,
        &law.right,
        "Explained",
        "Balances",
        "Detail",
    ];
    LawView {
        class,
        word,
        open: law.status == LawStatus::Broken,
        description: law.description.clone(),
        note,
        balances: DataTable {
            head: head.into_iter().map(str::to_owned).collect(),
            rows: law
                .balances
                .iter()
                .map(|balance| {
                    let place = match (&balance.round, &balance.strategy) {
                        (Some(round), Some(strategy)) => format!("{round} ({strategy})"),
                        (Some(round), None) => round.to_string(),
                        (None, _) => "whole run".to_owned(),
                    };
                    vec![
                        place,
                        balance.left.to_string(),
                        balance.right.to_string(),
                        balance.explained.to_string(),
                        if balance.holds { "yes" } else { "NO" }.to_owned(),
                        balance.detail.join("; "),
                    ]
                })
                .collect(),
        },
    }
}
