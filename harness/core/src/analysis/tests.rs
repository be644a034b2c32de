//! The summary of hand-built ledgers, the laws over random ones, and the limits of validity.

use proptest::prelude::*;

use super::catalogue::{self, Aggregate, CATALOGUE};
use super::latency::{Latency, Stage};
use super::laws::{self, LawId, LawStatus};
use super::ledger_builder::{LedgerBuilder, NEW, OLD, manifest, small_run};
use super::summary::{RunSummary, Spread, StrategySummary, Summarizer};
use super::validity::{self, CheckId, CheckStatus};
use crate::ids::StrategyName;
use crate::ledger::{Event, RoundEnd, RunEnd};
use crate::manifest::{NetworkPath, ServerKind};
use crate::server_log::DropCounts;
use crate::vocabulary::{
    AttemptOutcome, CleanupResult, Close, CommandOutcome, GeneratorFault, Phase, StageFailure,
    Step, TaskFailure, TaskFate,
};

/// A drop that no client of the harness met.
const STRANGER_DROPPED: &str =
    "drop connection #20 from [127.0.0.1]:9 on [127.0.0.1]:22 past MaxStartups";

fn strategy<'a>(run: &'a RunSummary, name: &str) -> &'a StrategySummary {
    run.strategy(&StrategyName(name.to_owned()))
        .expect("the run has it")
}

fn broken(run: &RunSummary) -> Vec<LawId> {
    laws::broken(&laws::check(run)).map(|law| law.id).collect()
}

fn status(run: &RunSummary, id: CheckId) -> CheckStatus {
    validity::check(run)
        .into_iter()
        .find(|check| check.id == id)
        .expect("the check was made")
        .status
}

#[test]
fn a_small_run_is_counted_by_strategy_phase_and_round() {
    let run = small_run(manifest()).summary();
    let old = strategy(&run, OLD);
    let total = &old.numbers.total;
    // Per round: 9 or 10 handshakes, 1 refusal at submit; in round two 3 more at cleanup and one handshake less.
    assert_eq!(total.counts.attempts, 24);
    assert_eq!(total.counts.handshakes, 19);
    assert_eq!(total.counts.banner_eof, 5);
    assert_eq!(total.counts.connections, 20);
    assert_eq!(total.counts.first_attempt_ok, 17);
    assert_eq!(total.counts.final_ok, 19);
    assert_eq!(total.counts.retries, 2);
    assert_eq!(total.retries_by_kind.connect, 2);
    assert_eq!(total.banner_eof_split.with_text, 5);
    assert_eq!(total.banner_eof_texts["Exceeded MaxStartups"], 5);
    let cleanup = old.numbers.scope(Some(Phase::Cleanup));
    assert_eq!((cleanup.counts.attempts, cleanup.counts.banner_eof), (6, 3));
    let found = old.numbers.leftovers.expect("the inventory was taken");
    assert_eq!((found.leftover_dirs, found.cleanup_connect_failed), (1, 1));
    assert_eq!(old.numbers.server_accepted, Some(19));
    assert_eq!(old.rounds.len(), 2);

    let new = strategy(&run, NEW);
    let spread = new.numbers.total.handshakes_per_task;
    assert_eq!((spread.min, spread.max, spread.tasks), (3, 3, 4));
    assert_eq!(new.numbers.tasks.tasks_succeeded, 4);
    assert_eq!(new.numbers.tasks.polls, 4);
    assert_eq!(broken(&run), []);
}

#[test]
fn stages_are_timed_from_their_own_instants() {
    let run = small_run(manifest()).summary();
    let times = &strategy(&run, NEW).numbers.total.latencies;
    let max = |stage| times.get(stage).max_ns();
    assert_eq!(max(Stage::Tcp), Some(1_000_000));
    assert_eq!(max(Stage::Banner), Some(2_000_000));
    assert_eq!(max(Stage::Kex), Some(3_000_000));
    assert_eq!(max(Stage::Auth), Some(4_000_000));
    assert_eq!(max(Stage::Exec), Some(4_000_000));
    assert_eq!(max(Stage::Refusal), None);
    assert_eq!(times.get(Stage::Submit).min_ns(), Some(18_000_000));
    assert_eq!(times.get(Stage::Submit).max_ns(), Some(36_000_000));
}

#[test]
fn a_task_that_waited_for_anothers_end_is_no_fault_of_the_generator() {
    for (first_ends, own) in [(true, 0), (false, 600_000_000)] {
        let mut ledger = LedgerBuilder::new(manifest());
        ledger.round(OLD, 1, 2).start(0).wait(600);
        if first_ends {
            ledger.end(0, TaskFate::Succeeded, CleanupResult::Removed);
        }
        ledger.start(1);
        let run = ledger.summary();
        let round = &strategy(&run, OLD).rounds[0];
        assert_eq!(round.start.own_lag_max_ns, own);
        let lag = round.numbers.total.latencies.get(Stage::StartLag);
        assert_eq!(lag.max_ns(), Some(600_000_000));
        let warned = status(&run, CheckId::StartLag) == CheckStatus::Warn;
        assert_eq!(warned, own > 0);
    }
}

#[test]
fn the_peak_rate_counts_any_one_second_and_not_a_calendar_one() {
    let mut ledger = LedgerBuilder::new(manifest());
    ledger.round(OLD, 1, 1).start(0);
    for gap in [0, 490, 490, 2000] {
        ledger.wait(gap);
        let connection = ledger.connect(0, Phase::Submit, 1);
        ledger.close(connection);
    }
    let run = ledger.summary();
    let rate = strategy(&run, OLD).numbers.total.rate;
    // Authenticated at 10, 510 and 1010 ms: the third is exactly one second after the first.
    assert_eq!(rate.peak, 2);
    assert_eq!((rate.handshakes, rate.window_ns), (4, 3_020_000_000));
}

#[test]
fn the_spread_of_a_burst_is_that_of_first_connects() {
    let mut ledger = LedgerBuilder::new(manifest());
    ledger.round(OLD, 1, 3).start(0).start(1).start(2);
    for task in [0, 1, 2, 0] {
        ledger.refused(task, Phase::Submit, 1);
    }
    let run = ledger.summary();
    let start = strategy(&run, OLD).rounds[0].start;
    assert!(start.burst);
    assert_eq!(start.spread_ns, Some(20_000_000));
    assert_eq!(start.spread_p99_ns, Some(20_000_000));
}

#[test]
fn leftovers_are_tied_to_task_and_cause() {
    let mut ledger = LedgerBuilder::new(manifest());
    let killed = TaskFate::Failed {
        failure: TaskFailure::Killed,
    };
    let submit = TaskFate::Failed {
        failure: TaskFailure::SubmitCommand,
    };
    ledger
        .round(OLD, 1, 6)
        .end(0, TaskFate::Succeeded, CleanupResult::CommandFailed)
        .end(1, killed, CleanupResult::NotAttempted)
        .end(2, submit, CleanupResult::NotAttempted)
        .end(3, TaskFate::Interrupted, CleanupResult::NotAttempted)
        .end(4, TaskFate::Succeeded, CleanupResult::NotRequired)
        .end(5, TaskFate::Succeeded, CleanupResult::Removed);
    for task in 0..5 {
        ledger.leftover(task);
    }
    ledger.round_end(RoundEnd::Complete);
    let run = ledger.summary();
    let found = strategy(&run, OLD).numbers.leftovers.expect("taken");
    assert_eq!(found.leftover_dirs, 4);
    assert_eq!(
        (
            found.cleanup_command_failed,
            found.killed,
            found.submit_failed,
            found.interrupted,
            found.kept_by_policy
        ),
        (1, 1, 1, 1, 1)
    );
    assert!(!broken(&run).contains(&LawId::Inventory));
}

#[test]
fn a_directory_found_again_is_not_counted_twice() {
    let mut ledger = LedgerBuilder::new(manifest());
    for _ in 0..2 {
        ledger
            .round(OLD, 1, 1)
            .end(0, TaskFate::Interrupted, CleanupResult::NotAttempted)
            .directory("job-1-0")
            .round_end(RoundEnd::Complete);
    }
    let run = ledger.summary();
    let found = strategy(&run, OLD).numbers.leftovers.expect("taken");
    assert_eq!((found.leftover_dirs, found.carried_over), (1, 1));
    assert!(!broken(&run).contains(&LawId::Inventory));
}

#[test]
fn a_directory_that_was_reported_removed_or_belongs_to_nobody_breaks_the_inventory_law() {
    for name in ["job-1-0", "somebody-elses"] {
        let mut ledger = LedgerBuilder::new(manifest());
        ledger
            .round(OLD, 1, 1)
            .end(0, TaskFate::Succeeded, CleanupResult::Removed)
            .directory(name)
            .round_end(RoundEnd::Complete);
        assert!(
            broken(&ledger.summary()).contains(&LawId::Inventory),
            "{name}"
        );
    }
}

/// The port of the first refusal.
fn refused_port(ledger: &LedgerBuilder) -> u16 {
    ledger
        .records
        .iter()
        .find_map(|record| match &record.event {
            Event::AttemptEnded {
                outcome: AttemptOutcome::BannerEof { .. },
                trace,
                ..
            } => trace.local_port,
            _ => None,
        })
        .expect("one refusal")
}

#[test]
fn a_cut_log_is_unbalanced() {
    let mut ledger = small_run(manifest());
    let port = refused_port(&ledger);
    ledger.unlog(port);
    let run = ledger.summary();
    assert_eq!(broken(&run), [LawId::ServerConnections, LawId::ServerDrops]);
    let laws = laws::check(&run);
    let law = laws
        .iter()
        .find(|law| law.id == LawId::ServerDrops)
        .expect("checked");
    let line = &law.balances[0];
    assert_eq!((line.left, line.right, line.holds), (1, 0, false));
    assert!(
        line.detail
            .iter()
            .any(|text| text.contains(&format!("port {port}"))),
        "{line:?}"
    );
}

#[test]
fn a_second_client_behind_the_harness_is_unbalanced_even_when_totals_agree() {
    let mut ledger = small_run(manifest());
    // One login is logged for a port that no attempt of the harness came from.
    let login = ledger
        .records
        .iter_mut()
        .find_map(|record| match &mut record.event {
            Event::ServerLogged { line } if line.starts_with("Accepted") => Some(line),
            _ => None,
        })
        .expect("one login");
    *login =
        "Accepted publickey for runner from 127.0.0.1 port 11 ssh2: ED25519 SHA256:x".to_owned();
    let run = ledger.summary();
    assert_eq!(broken(&run), [LawId::ServerAccepted]);
    let laws = laws::check(&run);
    let law = laws
        .iter()
        .find(|law| law.id == LawId::ServerAccepted)
        .expect("checked");
    let line = &law.balances[0];
    assert_eq!(line.left, line.right);
    assert!(
        line.detail
            .iter()
            .any(|text| text.contains("port 11 logged in")),
        "{line:?}"
    );
    assert!(
        line.detail
            .iter()
            .any(|text| text.contains("another client")),
        "{line:?}"
    );
}

/// The server's log as a run leaves it that could not read it.
fn not_read(ledger: &mut LedgerBuilder) {
    ledger
        .records
        .retain(|record| !matches!(record.event, Event::ServerLogged { .. }));
    for record in &mut ledger.records {
        if let Event::RoundEnded { log_taken, .. } = &mut record.event {
            *log_taken = false;
        }
    }
    ledger.renumber();
}

#[test]
fn a_promised_log_that_was_not_read_is_unbalanced_and_one_that_was_not_promised_is_not() {
    let mut ledger = small_run(manifest());
    not_read(&mut ledger);
    assert_eq!(
        broken(&ledger.summary()),
        [
            LawId::ServerConnections,
            LawId::ServerAccepted,
            LawId::ServerDrops
        ]
    );

    let mut without = manifest();
    without.target.log_available = false;
    let mut ledger = small_run(without);
    not_read(&mut ledger);
    let run = ledger.summary();
    assert_eq!(broken(&run), []);
    let laws = laws::check(&run);
    let law = laws
        .iter()
        .find(|law| law.id == LawId::ServerDrops)
        .expect("checked");
    assert_eq!(law.status, LawStatus::NotCheckable);
    assert_eq!(strategy(&run, OLD).numbers.server_accepted, None);
}

#[test]
fn log_of_somebody_elses_server_that_lacks_lines_breaks_no_law_and_gives_no_number() {
    let mut external = manifest();
    external.target.kind = ServerKind::External;
    external.target.network_path = NetworkPath::Remote;
    let whole = small_run(external.clone()).summary();
    assert_eq!(broken(&whole), []);
    let status_of = |run: &RunSummary, id| {
        let laws = laws::check(run);
        laws.into_iter().find(|law| law.id == id).expect("checked")
    };
    assert_eq!(
        status_of(&whole, LawId::ServerDrops).status,
        LawStatus::Holds
    );
    let numbers = &strategy(&whole, OLD).numbers;
    assert_eq!(numbers.server_accepted, Some(19));
    assert_eq!(
        numbers.server_drops.as_ref().map(DropCounts::total),
        Some(5)
    );
    assert!(numbers.total.makers.is_some());

    let mut without_a_login = small_run(external);
    without_a_login.records.retain({
        let mut left = 1;
        move |record| match &record.event {
            Event::ServerLogged { line } if line.starts_with("Accepted") && left > 0 => {
                left -= 1;
                false
            }
            _ => true,
        }
    });
    without_a_login.renumber();
    let run = without_a_login.summary();
    assert_eq!(broken(&run), []);
    let law = status_of(&run, LawId::ServerAccepted);
    assert_eq!(law.status, LawStatus::NotCheckable);
    let reason = law.reason.expect("said");
    assert!(reason.contains("1 of the client's"), "{reason}");
    let numbers = &strategy(&run, OLD).numbers;
    assert_eq!(numbers.server_accepted, None);
    assert_eq!(numbers.server_drops, None);
    assert!(numbers.total.makers.is_none());
}

#[test]
fn a_log_that_leaves_drops_out_gives_no_drops_and_no_law() {
    let mut partial = manifest();
    partial.target.log_has_every_drop = false;
    let run = small_run(partial).summary();
    assert_eq!(strategy(&run, OLD).numbers.server_drops, None);
    assert_eq!(strategy(&run, OLD).numbers.server_accepted, Some(19));
    assert_eq!(broken(&run), []);
}

#[test]
fn attempts_the_client_gave_up_explain_lines_on_the_servers_side_only() {
    let mut ledger = LedgerBuilder::new(manifest());
    ledger.round(OLD, 1, 1).start(0);
    ledger.attempt(
        0,
        Phase::Submit,
        1,
        AttemptOutcome::AuthFailed {
            failure: StageFailure::TimedOut,
        },
    );
    let late = ledger.port();
    // Accepted before the client heard of it.
    ledger.accepted(late);
    ledger.attempt(0, Phase::Submit, 2, AttemptOutcome::BannerTimeout);
    let early = ledger.port();
    // In the kernel's queue when the client gave up, and then dropped.
    ledger.unlog(early);
    ledger.dropped(early).round_end(RoundEnd::Complete);
    let run = ledger.summary();
    assert!(!broken(&run).contains(&LawId::ServerAccepted));
    assert!(!broken(&run).contains(&LawId::ServerDrops));
    let laws = laws::check(&run);
    let law = laws
        .iter()
        .find(|law| law.id == LawId::ServerDrops)
        .expect("checked");
    assert_eq!((law.balances[0].right, law.balances[0].explained), (1, 1));
}

#[test]
fn fork_failures_in_the_log_explain_refusals_without_a_drop() {
    let refused = |lines: &[&str]| {
        let mut ledger = LedgerBuilder::new(manifest());
        ledger
            .round(OLD, 1, 1)
            .start(0)
            .refused(0, Phase::Submit, 1);
        let port = ledger.port();
        ledger.unlog(port);
        // The draw before the drop names no port.
        ledger
            .records
            .retain(|record| !matches!(record.event, Event::ServerLogged { .. }));
        ledger.renumber();
        for line in lines {
            ledger.logged(line);
        }
        ledger.round_end(RoundEnd::Complete);
        broken(&ledger.summary()).contains(&LawId::ServerDrops)
    };
    assert!(refused(&[]));
    assert!(!refused(&["fork: Resource temporarily unavailable"]));
}

#[test]
fn through_a_proxy_the_sides_are_compared_by_count() {
    let mut proxied = manifest();
    proxied.target.network_path = NetworkPath::PublishedPort;
    let mut ledger = small_run(proxied);
    for record in &mut ledger.records {
        if let Event::ServerLogged { line } = &mut record.event {
            // The proxy's own ports: none of the client's.
            *line = line.replace("port 2", "port 3").replace("]:2", "]:3");
        }
    }
    assert_eq!(broken(&ledger.summary()), []);
    assert_eq!(
        status(&ledger.summary(), CheckId::NetworkPath),
        CheckStatus::Warn
    );
    ledger.logged_in(0, STRANGER_DROPPED);
    assert_eq!(
        broken(&ledger.summary()),
        [LawId::ServerConnections, LawId::ServerDrops]
    );
}

#[test]
fn a_ledger_that_breaks_off_says_so() {
    let mut ledger = small_run(manifest());
    ledger.records.truncate(40);
    let run = ledger.summary();
    assert!(broken(&run).contains(&LawId::LedgerIntact));
    assert!(broken(&run).contains(&LawId::Rounds));
    assert_eq!(status(&run, CheckId::RunComplete), CheckStatus::Invalid);
    assert_eq!(strategy(&run, OLD).numbers.leftovers, None);
}

#[test]
fn an_empty_ledger_gives_no_numbers_and_no_pass() {
    let run = Summarizer::new().finish();
    assert!(broken(&run).contains(&LawId::LedgerIntact));
    assert_eq!(
        validity::worst(&validity::check(&run)),
        CheckStatus::Invalid
    );
}

#[test]
fn a_strategy_without_rounds_has_no_value_for_any_metric() {
    let run = LedgerBuilder::new(manifest()).summary();
    let old = strategy(&run, OLD);
    for metric in CATALOGUE {
        for aggregate in [Aggregate::Total, Aggregate::Mean, Aggregate::Max] {
            assert_eq!(metric.value(old, None, aggregate), None, "{metric:?}");
        }
    }
}

#[test]
fn outcomes_without_attempts_are_no_data_rather_than_zero() {
    let mut ledger = LedgerBuilder::new(manifest());
    ledger
        .round(NEW, 1, 1)
        .start(0)
        .refused(0, Phase::Submit, 1);
    let run = ledger.summary();
    let new = strategy(&run, NEW);
    let value = |name, phase| {
        let metric = catalogue::metric(name).expect("in the catalogue");
        metric.value(new, phase, Aggregate::Total)
    };
    assert_eq!(value("banner_eof", Some(Phase::Submit)), Some(1.0));
    assert_eq!(value("banner_eof", Some(Phase::Poll)), None);
    assert_eq!(value("attempts", Some(Phase::Poll)), Some(0.0));
    assert_eq!(value("channel_refused", None), None);
}

#[test]
fn the_catalogue_names_every_metric_once() {
    let mut names: Vec<_> = CATALOGUE.iter().map(|metric| metric.name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
    assert_eq!(catalogue::nearest("baner_eof"), Some("banner_eof"));
    assert_eq!(catalogue::nearest("zzz"), None);
}

#[test]
fn spread_takes_the_middle_of_an_even_number_of_rounds() {
    assert_eq!(
        Spread::of(vec![4.0, 1.0, 2.0, 3.0]),
        Some(Spread {
            min: 1.0,
            median: 2.5,
            max: 4.0
        })
    );
    assert_eq!(Spread::of(Vec::new()), None);
}

#[test]
fn generator_faults_and_saturation_make_a_run_invalid() {
    let mut ledger = LedgerBuilder::new(manifest());
    ledger.sample(0.0, 6_000).round(OLD, 1, 1).start(0);
    ledger.attempt(
        0,
        Phase::Submit,
        1,
        AttemptOutcome::GeneratorFault {
            fault: GeneratorFault::OpenFiles,
        },
    );
    ledger.wait(1990).sample(3.9, 1);
    let run = ledger.summary();
    assert_eq!(status(&run, CheckId::GeneratorFaults), CheckStatus::Invalid);
    assert_eq!(status(&run, CheckId::LoopLag), CheckStatus::Invalid);
    assert_eq!(status(&run, CheckId::GeneratorCpu), CheckStatus::Invalid);
}

#[test]
fn connects_that_met_syn_retransmission_are_a_warning() {
    let mut ledger = small_run(manifest());
    for record in &mut ledger.records {
        if let Event::AttemptEnded { trace, .. } = &mut record.event {
            trace.connected = trace
                .connected
                .map(|at| at + std::time::Duration::from_secs(1));
            break;
        }
    }
    assert_eq!(
        status(&ledger.summary(), CheckId::SlowConnects),
        CheckStatus::Warn
    );
}

#[test]
fn a_sound_run_passes_every_check() {
    let run = small_run(manifest()).summary();
    let wrong: Vec<_> = validity::check(&run)
        .into_iter()
        .filter(|check| check.status != CheckStatus::Ok)
        .collect();
    assert_eq!(wrong, []);
}

fn outcomes() -> impl Strategy<Value = AttemptOutcome> {
    let lost = StageFailure::Lost { close: Close::Eof };
    prop_oneof![
        4 => Just(AttemptOutcome::Handshake),
        2 => Just(AttemptOutcome::BannerEof { close: Close::Eof }),
        2 => Just(AttemptOutcome::BannerEof { close: Close::Reset }),
        1 => Just(AttemptOutcome::ConnectRefused),
        1 => Just(AttemptOutcome::ConnectTimeout),
        1 => Just(AttemptOutcome::BannerTimeout),
        1 => Just(AttemptOutcome::KexFailed { failure: lost.clone() }),
        1 => Just(AttemptOutcome::AuthFailed { failure: lost }),
        1 => Just(AttemptOutcome::GeneratorFault { fault: GeneratorFault::Other }),
        1 => Just(AttemptOutcome::Interrupted),
    ]
}

fn endings() -> impl Strategy<Value = (TaskFate, CleanupResult)> {
    let failed = |failure| TaskFate::Failed { failure };
    prop_oneof![
        Just((TaskFate::Succeeded, CleanupResult::Removed)),
        Just((TaskFate::Succeeded, CleanupResult::NotRequired)),
        Just((TaskFate::Succeeded, CleanupResult::ConnectFailed)),
        Just((failed(TaskFailure::Killed), CleanupResult::NotAttempted)),
        Just((failed(TaskFailure::Monitor), CleanupResult::CommandFailed)),
        Just((TaskFate::Interrupted, CleanupResult::NotAttempted)),
        Just((TaskFate::NotStarted, CleanupResult::NotRequired)),
    ]
}

fn command_outcomes() -> impl Strategy<Value = CommandOutcome> {
    prop_oneof![
        Just(CommandOutcome::Completed { exit_status: 0 }),
        Just(CommandOutcome::ChannelRefused),
        Just(CommandOutcome::ConnectionLost {
            close: Close::Reset
        }),
        Just(CommandOutcome::TimedOut),
        Just(CommandOutcome::Interrupted),
    ]
}

type TaskScript = (
    Vec<(AttemptOutcome, u8, Vec<CommandOutcome>)>,
    (TaskFate, CleanupResult),
);

fn tasks() -> impl Strategy<Value = Vec<TaskScript>> {
    let commands = proptest::collection::vec(command_outcomes(), 0..3);
    let attempts = proptest::collection::vec((outcomes(), 0u8..3, commands), 0..6);
    proptest::collection::vec((attempts, endings()), 1..6)
}

fn random_run(rounds: &[Vec<TaskScript>]) -> LedgerBuilder {
    let mut plan = manifest();
    plan.scenario.rounds = u32::try_from(rounds.len()).expect("few");
    plan.scenario.strategies.truncate(1);
    let mut ledger = LedgerBuilder::new(plan);
    for (repetition, tasks) in rounds.iter().enumerate() {
        let count = u32::try_from(tasks.len()).expect("few");
        ledger.round(OLD, u32::try_from(repetition).expect("few") + 1, count);
        for (task, (attempts, (fate, cleanup))) in (0..).zip(tasks) {
            if *fate != TaskFate::NotStarted {
                ledger.start(task);
                for (outcome, phase, commands) in attempts {
                    let phase = Phase::ALL[usize::from(*phase)];
                    let step = [Step::Submit, Step::Check, Step::Cleanup][phase as usize];
                    let attempt = ledger.attempt(task, phase, 1, outcome.clone());
                    if *outcome == AttemptOutcome::Handshake {
                        for command in commands {
                            ledger.command(task, attempt, step, command.clone());
                        }
                        ledger.close(attempt);
                    }
                }
            }
            ledger.end(task, *fate, *cleanup);
            if !matches!(cleanup, CleanupResult::Removed) {
                ledger.leftover(task);
            }
        }
        ledger.round_end(RoundEnd::Complete);
    }
    ledger.run_end(RunEnd::Complete);
    ledger
}

proptest! {
    #[test]
    fn every_valid_stream_obeys_every_law(rounds in proptest::collection::vec(tasks(), 1..4)) {
        let run = random_run(&rounds).summary();
        prop_assert_eq!(broken(&run), []);
        prop_assert_eq!(&run.ledger.stray_samples, &Vec::<String>::new());
        // Phases add up to the whole.
        let numbers = &strategy(&run, OLD).numbers;
        let by_phase: u64 = numbers.phases.iter().map(|scope| scope.counts.attempts).sum();
        prop_assert_eq!(by_phase, numbers.total.counts.attempts);
    }

    #[test]
    fn a_lost_record_is_always_caught(
        rounds in proptest::collection::vec(tasks(), 1..3),
        pick in any::<proptest::sample::Index>(),
        renumber in any::<bool>(),
    ) {
        let mut ledger = random_run(&rounds);
        let lost = ledger.records.remove(pick.index(ledger.records.len()));
        if renumber {
            // A forger who also closes the gap in the sequence. What no law counts twice can then go unseen.
            for (seq, record) in ledger.records.iter_mut().enumerate() {
                record.seq = seq as u64;
            }
            let uncounted = match &lost.event {
                Event::TaskStarted { .. } | Event::DirectoryFound { .. } => true,
                // A draw, and what became of a connection that the client had given up, stand on one side only.
                Event::ServerLogged { line } => !line.starts_with("Accepted"),
                _ => false,
            };
            prop_assume!(!uncounted);
        }
        prop_assert!(!broken(&ledger.summary()).is_empty(), "lost {:?}", lost.event);
    }

    #[test]
    fn a_doubled_record_is_always_caught(
        rounds in proptest::collection::vec(tasks(), 1..3),
        pick in any::<proptest::sample::Index>(),
    ) {
        let mut ledger = random_run(&rounds);
        let index = pick.index(ledger.records.len());
        let twin = ledger.records[index].clone();
        ledger.records.insert(index, twin);
        prop_assert!(!broken(&ledger.summary()).is_empty());
    }

    #[test]
    fn quantiles_stay_within_what_was_recorded(values in proptest::collection::vec(0u64..10_000_000_000, 1..200)) {
        let mut latency = Latency::default();
        for value in &values {
            latency.record(std::time::Duration::from_nanos(*value));
        }
        let (min, max) = (values.iter().min().copied(), values.iter().max().copied());
        prop_assert_eq!((latency.min_ns(), latency.max_ns()), (min, max));
        let mut last = 0;
        for percent in [0.1, 50.0, 90.0, 99.0, 99.9, 100.0] {
            let value = latency.percentile_ns(percent);
            prop_assert!(value >= min && value <= max && value >= Some(last));
            last = value.unwrap_or(0);
        }
        // Nearest rank, to three digits.
        let mut sorted = values.clone();
        sorted.sort_unstable();
        let exact = sorted[(sorted.len() - 1) / 2];
        let median = latency.percentile_ns(50.0).unwrap_or(0);
        prop_assert!(median.abs_diff(exact) <= exact / 500 + 1, "{median} {exact}");
    }
}
