//! Hand-built reports for the tests of the renderers: a run with every witness, one with hardly any data, one of the
//! stand-in whose books do not balance, and one whose texts are chosen by an enemy.
//!
//! Owns what happens in them; `analysis::ledger_builder` has the words.

use super::{Findings, RunReport, build};
use sshchurn_core::analysis::ledger_builder::{LedgerBuilder, OLD, manifest, small_run};
use sshchurn_core::analysis::summary::{Numbers, RunSummary};
use sshchurn_core::analysis::{laws, validity};
use sshchurn_core::gate::{Reason, ReasonId, Threshold, decide, judge};
use sshchurn_core::ids::RoundId;
use sshchurn_core::ledger::{Event, Record, RunEnd};
use sshchurn_core::manifest::{Manifest, NetworkPath, PackageRecord, ServerKind};
use sshchurn_core::reading::{KernelReading, ServerReading};
use sshchurn_core::vocabulary::{AttemptOutcome, Phase};

/// What a renderer must never let through as it is.
pub(super) const ENEMY: &str = "<script>alert('x')</script> | `rm` \"@octocat\" &amp; ]]> \\ #1";

pub(super) fn report_of(
    manifest: &Manifest,
    ledger: &LedgerBuilder,
    thresholds: &[&str],
) -> RunReport {
    report_of_run(manifest, &ledger.summary(), thresholds)
}

fn report_of_run(manifest: &Manifest, run: &RunSummary, thresholds: &[&str]) -> RunReport {
    let thresholds: Vec<Threshold> = thresholds
        .iter()
        .map(|text| Threshold::parse(text, &manifest.scenario.strategy_names()).expect("valid"))
        .collect();
    let laws = laws::check(run);
    let validity = validity::check(run);
    let gates = judge(&thresholds, run);
    let decision = decide(run, &laws, &validity, &gates);
    build(
        manifest,
        run,
        Findings {
            laws,
            validity,
            gates,
            expectations: Vec::new(),
            decision,
        },
    )
}

/// Gates of all three outcomes; no gauge, no cost.
pub(super) fn plain() -> RunReport {
    let manifest = manifest();
    report_of(
        &manifest,
        &small_run(manifest.clone()),
        &[
            "reused-session.banner_eof == 0",
            "reused-session.submit.tcp.p99 < 250ms",
            "per-command.attempts >= 3 * reused-session.attempts",
            "startups_peak <= 100",
        ],
    )
}

/// The same run with everything that a server's machine can show; it passes.
pub(super) fn full() -> RunReport {
    of_full(&witnessed(small_run(manifest())))
}

/// The same with other numbers of its first strategy.
pub(super) fn full_with(change: impl FnOnce(&mut Numbers)) -> RunReport {
    let mut run = witnessed(small_run(manifest())).summary();
    change(&mut run.strategies[0].numbers);
    report_of_run(&manifest(), &run, &[])
}

/// The same with two drops, by other causes, that no client saw.
pub(super) fn mismatched() -> RunReport {
    let mut ledger = witnessed(small_run(manifest()));
    ledger.logged_in(
        0,
        "drop connection #100 from [127.0.0.1]:9 on [127.0.0.1]:22 past MaxStartups",
    );
    ledger.logged_in(
        2,
        "drop connection #1 from [127.0.0.1]:10 on [127.0.0.1]:22 penalty: connections without attempting authentication",
    );
    of_full(&ledger)
}

fn of_full(ledger: &LedgerBuilder) -> RunReport {
    report_of(
        &manifest(),
        ledger,
        &["startups_peak <= 100", "per-command.attempts >= 24"],
    )
}

/// A run of one round that was interrupted on a server which lets nobody look: nearly everything is missing.
pub(super) fn bare() -> RunReport {
    let mut manifest = manifest();
    let target = &mut manifest.target;
    target.kind = ServerKind::External;
    target.network_path = NetworkPath::Remote;
    target.effective_max_startups = None;
    target.effective_config.clear();
    target.sshd_config = None;
    target.release = None;
    target.inventory_available = false;
    target.log_available = false;
    target.log_has_every_drop = false;
    target.round_trip_ns = None;
    target.exec_cost_ns = None;
    target.login_shell_cost_ns = None;
    let mut ledger = LedgerBuilder::new(manifest.clone());
    ledger.round(OLD, 1, 2).start(0);
    ledger.attempt(0, Phase::Submit, 1, AttemptOutcome::ConnectTimeout);
    ledger.run_end(RunEnd::Interrupted);
    report_of(&manifest, &ledger, &["reused-session.banner_eof == 0"])
}

/// The stand-in, and a drop that no client saw.
pub(super) fn unbalanced_stand_in() -> RunReport {
    let mut embedded = manifest();
    embedded.target.kind = ServerKind::Embedded;
    let mut ledger = small_run(embedded.clone());
    ledger.logged_in(0, "p 37, r 5");
    ledger.logged_in(
        0,
        "drop connection #20 from [127.0.0.1]:9 on [127.0.0.1]:22 past MaxStartups",
    );
    report_of(&embedded, &ledger, &[])
}

/// Every text that a peer, a file or a log chose is [`ENEMY`].
pub(super) fn hostile() -> RunReport {
    let mut report = mismatched();
    let enemy = || ENEMY.to_owned();
    report.scenario.name = enemy();
    report.scenario.description = enemy();
    report.scenario.origin = enemy();
    report.scenario.effective_toml = enemy();
    report.target.identification = enemy();
    report.target.release = Some(enemy());
    report.target.image = Some(enemy());
    report.target.login_shell = Some(enemy());
    report.target.packages = Some(vec![PackageRecord {
        name: enemy(),
        version: Some(enemy()),
    }]);
    report.target.sshd_config = Some(enemy());
    report.target.choice = enemy();
    report.target.effective_config = vec![(enemy(), enemy())];
    report.environment.kernel = enemy();
    report.warnings = vec![enemy()];
    report.reasons = [enemy(), enemy()]
        .map(|text| Reason::new(ReasonId::Threshold, text))
        .to_vec();
    for gate in &mut report.gates {
        gate.expression = enemy();
    }
    for law in &mut report.laws {
        for balance in &mut law.balances {
            balance.detail = vec![enemy()];
        }
    }
    for check in &mut report.validity {
        (check.actual, check.limit, check.advice) = (enemy(), enemy(), Some(enemy()));
    }
    for strategy in &mut report.strategies {
        strategy.strategy.0 = format!("{}{ENEMY}", strategy.strategy);
        strategy.totals.total.banner_eof_texts = [(enemy(), 3)].into();
        if let Some(drops) = &mut strategy.totals.server.server_drops_by_cause {
            drops.penalties = [(enemy(), 2)].into();
        }
        for sides in strategy
            .per_round
            .iter_mut()
            .filter_map(|round| round.reconciliation.as_mut())
        {
            sides.connections.client_only_first = vec![enemy()];
            sides.handshakes.suspects = vec![enemy()];
        }
    }
    report
}

/// Adds what the samplers of a target would have recorded: slots that follow the attempts, two readings of the server's
/// counters in each round, and the starts of phases.
fn witnessed(mut ledger: LedgerBuilder) -> LedgerBuilder {
    let mut records: Vec<Record> = Vec::new();
    let mut slots = 0;
    let mut begun = 0;
    let mut current = RoundId(0);
    for record in std::mem::take(&mut ledger.records) {
        let at = record.at;
        let mut after = Vec::new();
        match &record.event {
            Event::RoundStarted { round, .. } => {
                (slots, begun) = (0, at.0);
                after.push(reading(*round, 1));
                after.push(changed(*round, 0));
            }
            Event::TaskStarted { round, task } => after.push(Event::PhaseStarted {
                round: *round,
                task: *task,
                phase: Phase::Submit,
            }),
            Event::PhaseEnded {
                round,
                task,
                phase: Phase::Submit,
            } => after.push(Event::PhaseStarted {
                round: *round,
                task: *task,
                phase: Phase::Poll,
            }),
            Event::AttemptStarted {
                round,
                task,
                phase,
                ordinal,
                ..
            } => {
                if (*phase, *ordinal) == (Phase::Cleanup, 1) {
                    let (round, task) = (*round, *task);
                    after.push(Event::PhaseEnded {
                        round,
                        task,
                        phase: Phase::Poll,
                    });
                    after.push(Event::PhaseStarted {
                        round,
                        task,
                        phase: Phase::Cleanup,
                    });
                }
                (slots, current) = (slots + 6, *round);
                after.push(changed(current, slots));
            }
            Event::AttemptEnded { .. } => {
                slots = slots.saturating_sub(4);
                after.push(changed(current, slots));
            }
            Event::TaskEnded { round, task, .. } => after.push(Event::PhaseEnded {
                round: *round,
                task: *task,
                phase: Phase::Cleanup,
            }),
            Event::RoundEnded { round, .. } => {
                // Before the end: a sampler stops when the round does.
                for event in [
                    Event::StartupsSampled {
                        round: *round,
                        samples: 40,
                        over_ns: at.0 - begun,
                        sampler_cpu_ns: Some(2_000_000),
                    },
                    reading(*round, 3),
                ] {
                    records.push(Record { seq: 0, at, event });
                }
            }
            _ => {}
        }
        records.push(record);
        for event in after {
            records.push(Record { seq: 0, at, event });
        }
    }
    for (seq, record) in records.iter_mut().enumerate() {
        record.seq = seq as u64;
    }
    ledger.records = records;
    ledger
}

fn changed(round: RoundId, slots: u32) -> Event {
    Event::StartupsChanged {
        round,
        slots: slots.min(100),
        start: 10,
        full: 100,
    }
}

fn reading(round: RoundId, times: u64) -> Event {
    Event::ServerSampled {
        round,
        reading: Box::new(ServerReading {
            tree_cpu_ns: Some(70_000_000 * times),
            listener_cpu_ns: Some(3_000_000 * times),
            group_cpu_ns: Some(90_000_000 * times),
            processes: Some(4 + u32::try_from(times).expect("small")),
            memory_bytes: Some(12_000_000 * times),
            kernel: Some(KernelReading {
                listen_overflows: Some(times),
                listen_drops: Some(2 * times),
                ..KernelReading::default()
            }),
            listener: None,
        }),
    }
}
