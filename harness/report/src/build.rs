//! A summary and its findings become a document.
//!
//! Owns the translation and nothing else: no number is computed here that is not in the summary.

use std::collections::BTreeMap;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::document::{
    NumbersReport, PerTaskReport, PhasesReport, RateReport, RoundReport, RunReport, SCHEMA_VERSION,
    ScopeReport, ServerLogReport, StrategyReport, ToolReport,
};
use super::view::advice::Advice;
use sshchurn_core::analysis::catalogue;
use sshchurn_core::analysis::latency::Stage;
use sshchurn_core::analysis::laws::Law;
use sshchurn_core::analysis::summary::{
    Numbers, PerTask, RoundSummary, RunSummary, Scope, StrategySummary,
};
use sshchurn_core::analysis::validity::Check;
use sshchurn_core::analysis::{admission, burst};
use sshchurn_core::gate::{Decision, GateResult};
use sshchurn_core::manifest::Manifest;
use sshchurn_core::server_log::DropRule;
use sshchurn_core::vocabulary::Phase;

/// What was found out about a run beside its numbers.
#[derive(Debug, Clone)]
pub struct Findings {
    /// From [`sshchurn_core::analysis::laws::check`].
    pub laws: Vec<Law>,
    /// From [`sshchurn_core::analysis::validity::check`].
    pub validity: Vec<Check>,
    /// From [`sshchurn_core::gate::judge`].
    pub gates: Vec<GateResult>,
    /// What the scenario expects to show, likewise.
    pub expectations: Vec<GateResult>,
    /// From [`sshchurn_core::gate::decide`].
    pub decision: Decision,
}

/// Builds the document. Pure: the same arguments give the same report.
#[must_use]
pub fn build(manifest: &Manifest, run: &RunSummary, findings: Findings) -> RunReport {
    let Findings {
        laws,
        validity,
        gates,
        expectations,
        decision,
    } = findings;
    let warnings = manifest
        .target
        .warnings
        .iter()
        .chain(&manifest.environment.warnings)
        .chain(&run.warnings)
        .cloned()
        .collect();
    let (admission, admission_missing) = match admission::of_run(run) {
        Ok(curve) => (Some(curve), None),
        Err(missing) => (None, Some(missing.to_owned())),
    };
    let mut report = RunReport {
        schema_version: SCHEMA_VERSION,
        tool: ToolReport {
            name: "sshchurn".to_owned(),
            version: manifest.tool_version.clone(),
        },
        run_id: manifest.run_id.clone(),
        started_at: rfc3339(manifest.started_at_unix_ns),
        duration_ns: run.ended.0,
        run_end: run.ledger.closed,
        verdict: decision.verdict,
        exit: decision.exit_code,
        exit_code: decision.exit_code.code(),
        reasons: decision.reasons,
        next_step: Advice::RunAgain.into(),
        baseline: None,
        stand_in: manifest.target.kind.stand_in(),
        gates,
        expectations,
        environment: manifest.environment.clone(),
        target: manifest.target.clone(),
        scenario: manifest.scenario.clone(),
        strategies: run.strategies.iter().map(strategy).collect(),
        admission,
        admission_missing,
        admission_held: DropRule::of(manifest)
            .and_then(|rule| admission::of_staircases(run, rule.max_startups.max_startups())),
        most_likely_max_startups: admission::most_likely(
            &admission::held_trials(run),
            DropRule::of(manifest).map(|rule| rule.max_startups.max_startups()),
        )
        .map(|found| found.to_string()),
        stalled_bursts: burst::of_run(run),
        laws,
        validity,
        warnings,
    };
    report.advise();
    report
}

fn rfc3339(unix_ns: u64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ns))
        .ok()
        .and_then(|instant| instant.format(&Rfc3339).ok())
        .unwrap_or_default()
}

fn strategy(strategy: &StrategySummary) -> StrategyReport {
    let spread = catalogue::scoped()
        .filter_map(|(metric, phase)| Some((metric.key(phase), metric.spread(strategy, phase)?)));
    let overall = catalogue::scoped().map(|(metric, phase)| {
        let values = metric.overall(strategy, phase);
        let values = values.map(|(word, value)| (word.to_owned(), value));
        (metric.key(phase), BTreeMap::from_iter(values))
    });
    StrategyReport {
        strategy: strategy.strategy.clone(),
        cleanup: strategy.rounds.first().map(|round| round.cleanup),
        rounds: u32::try_from(strategy.rounds.len()).unwrap_or(u32::MAX),
        totals: numbers(&strategy.numbers),
        overall: overall.filter(|(_, values)| !values.is_empty()).collect(),
        spread: spread.collect(),
        per_round: strategy.rounds.iter().map(round).collect(),
    }
}

fn round(round: &RoundSummary) -> RoundReport {
    RoundReport {
        round: round.round,
        repetition: round.repetition,
        end: round.end,
        started_ns: round.started.0,
        ended_ns: round.ended.0,
        proven_idle: round.proven_idle,
        numbers: numbers(&round.numbers),
        values: catalogue::scoped()
            .filter_map(|(metric, phase)| {
                Some((metric.key(phase), metric.of_round(&round.numbers, phase)?))
            })
            .collect(),
        task_ends: round.task_ends.clone(),
        task_connections: round.task_connections.clone(),
        failing: round.failing.clone(),
        timeline: round.timeline.clone(),
        startups: round.startups.clone(),
        server_cost: round.server_cost.clone(),
        kernel: round.kernel,
        reconciliation: round.reconciliation.clone(),
    }
}

fn numbers(numbers: &Numbers) -> NumbersReport {
    let phase = |phase| scope(numbers.scope(Some(phase)));
    NumbersReport {
        tasks: numbers.tasks,
        failures: numbers.failures,
        total: scope(&numbers.total),
        phases: PhasesReport {
            submit: phase(Phase::Submit),
            poll: phase(Phase::Poll),
            cleanup: phase(Phase::Cleanup),
        },
        leftovers: numbers.leftovers,
        server: ServerLogReport {
            server_accepted: numbers.server_accepted,
            server_drops: numbers.server_drops.as_ref().map(|drops| drops.total()),
            server_drops_by_cause: numbers.server_drops.clone(),
            startups_peak: numbers.startups_peak,
            server_cpu_ns: numbers.server_cpu_ns,
            server_cpu_per_handshake_ns: numbers.server_cpu_per_handshake_ns(),
            server_cpu_per_task_ns: numbers.server_cpu_per_task_ns(),
            key_commands: numbers.key_commands,
        },
        start_spread_ns: numbers.start_spread_ns,
        clients: numbers.clients.clone(),
        holders: numbers.holders,
        tasks_banned: numbers.tasks_banned,
        first_banned_attempt: per_task(&numbers.total.first_banned_attempt),
        unbanned_spacing_ns: numbers.unbanned_spacing_ns,
    }
}

fn scope(scope: &Scope) -> ScopeReport {
    ScopeReport {
        counts: scope.counts,
        banner_eof_split: scope.banner_eof_split,
        banner_eof_texts: scope.banner_eof_texts.clone(),
        makers: scope.makers,
        retries_by_kind: scope.retries_by_kind,
        handshake_rate_per_s: scope.rate.mean().map(|mean| RateReport {
            mean,
            peak: scope.rate.peak,
            window_ns: scope.rate.window_ns,
        }),
        attempts_per_task: per_task(&scope.attempts_per_task),
        handshakes_per_task: per_task(&scope.handshakes_per_task),
        times: Stage::ALL
            .into_iter()
            .filter_map(|stage| Some((stage, scope.latencies.get(stage).summary()?)))
            .collect(),
    }
}

fn per_task(spread: &PerTask) -> Option<PerTaskReport> {
    Some(PerTaskReport {
        min: spread.range().map(|(min, _)| min),
        mean: spread.mean()?,
        max: spread.range().map(|(_, max)| max),
    })
}
