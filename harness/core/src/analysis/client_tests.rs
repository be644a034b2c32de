//! Rounds of clients under test: what is counted when sshd's log is the only witness, and what is not claimed then.

use super::laws::{self, LawId, LawStatus};
use super::ledger_builder::{LedgerBuilder, manifest};
use super::summary::{RunSummary, StrategySummary};
use super::validity::{self, CheckId, CheckStatus};
use crate::gate::{GateOutcome, Threshold, judge};
use crate::ids::{RoundId, StrategyName, TaskId};
use crate::ledger::{Event, RoundEnd, RunEnd};
use crate::manifest::{Manifest, ProgramRecord, StrategyRecord};
use crate::reading::{KernelReading, ListenerReading, ServerReading};
use crate::scenario::client::host_of;
use crate::scenario::{Per, StrategyKind};
use crate::vocabulary::{CleanupResult, ClientEnd, TaskFate};

const NAME: &str = "client";

fn of_client() -> Manifest {
    let mut manifest = manifest();
    manifest.scenario.rounds = 1;
    manifest.scenario.strategies = vec![StrategyRecord {
        name: StrategyName(NAME.to_owned()),
        kind: StrategyKind::Command,
        program: Some(ProgramRecord {
            argv: vec!["client".to_owned()],
            per: Per::Task,
            leftovers: None,
            files: Vec::new(),
            limits: String::new(),
        }),
        failing: None,
    }];
    manifest
}

/// A round of three tasks with these lines in sshd's log, and so many drops of the listening socket.
fn run(lines: &[String], queue_drops: u64) -> RunSummary {
    run_of(of_client(), lines, queue_drops)
}

/// The same where each task has a key.
fn run_with_keys(lines: &[String]) -> RunSummary {
    let mut manifest = of_client();
    manifest.task_keys = (0..3).map(|task| format!("SHA256:{task}")).collect();
    run_of(manifest, lines, 0)
}

fn run_of(manifest: Manifest, lines: &[String], queue_drops: u64) -> RunSummary {
    let mut ledger = LedgerBuilder::new(manifest);
    ledger.round(NAME, 1, 3);
    let round = RoundId(1);
    let sampled = |drops| Event::ServerSampled {
        round,
        reading: Box::new(ServerReading {
            kernel: Some(KernelReading {
                listen_overflows: Some(0),
                listen_drops: Some(0),
                ..KernelReading::default()
            }),
            listener: Some(ListenerReading {
                queue: 0,
                queue_limit: 128,
                drops: Some(drops),
            }),
            ..ServerReading::default()
        }),
    };
    ledger.push(sampled(7));
    for task in 0..3 {
        ledger.start(task);
    }
    for line in lines {
        ledger.wait(5).logged(line);
    }
    for task in 0..3 {
        ledger.push(Event::ClientEnded {
            round,
            task: Some(TaskId(task)),
            end: ClientEnd::Exited { status: 0 },
            took: std::time::Duration::from_secs(1),
            left_behind: std::collections::BTreeMap::new(),
            output_bytes: 0,
            recognised: 0,
            excerpt: String::new(),
        });
        ledger.end(task, TaskFate::Succeeded, CleanupResult::NotRequired);
        ledger.push(Event::ClientCleared {
            round,
            task: Some(TaskId(task)),
            cpu_ns: 10,
            memory_bytes: 100,
            killed: 0,
        });
    }
    ledger.push(sampled(7 + queue_drops));
    ledger
        .round_end(RoundEnd::Complete)
        .run_end(RunEnd::Complete);
    ledger.summary()
}

fn client(run: &RunSummary) -> &StrategySummary {
    run.strategy(&StrategyName(NAME.to_owned())).expect("there")
}

fn begins(task: u32, port: u16) -> String {
    let host = host_of(TaskId(task));
    format!("Connection from 127.0.0.1 port {port} on {host} port 22 rdomain \"lo\"")
}

fn logs_in(port: u16) -> String {
    format!("Accepted publickey for runner from 127.0.0.1 port {port} ssh2: ED25519 SHA256:x")
}

/// To an address that is no task's.
fn begins_elsewhere(port: u16) -> String {
    format!("Connection from 127.0.0.1 port {port} on 127.0.0.1 port 22 rdomain \"lo\"")
}

fn logs_in_as(task: u32, port: u16) -> String {
    format!("Accepted publickey for runner from 127.0.0.1 port {port} ssh2: ED25519 SHA256:{task}")
}

fn dropped_elsewhere(port: u16) -> String {
    format!("drop connection #12 from [127.0.0.1]:{port} on [127.0.0.1]:22 past MaxStartups")
}

fn dropped(task: u32, port: u16) -> String {
    let host = host_of(TaskId(task));
    format!("drop connection #12 from [127.0.0.1]:{port} on [{host}]:22 past MaxStartups")
}

fn leaves(port: u16) -> String {
    format!("Connection closed by 127.0.0.1 port {port} [preauth]")
}

fn outcome(run: &RunSummary, threshold: &str) -> GateOutcome {
    let names = [StrategyName(NAME.to_owned())];
    let threshold = Threshold::parse(threshold, &names).unwrap_or_else(|error| panic!("{error}"));
    judge(&[threshold], run)[0].outcome
}

fn broken(run: &RunSummary) -> Vec<LawId> {
    laws::broken(&laws::check(run)).map(|law| law.id).collect()
}

#[test]
fn each_connection_is_counted_once_by_what_became_of_it_and_belongs_to_its_task() {
    let run = run(
        &[
            begins(0, 9001),
            logs_in(9001),
            begins(0, 9002),
            logs_in(9002),
            dropped(1, 9003),
            begins(1, 9004),
            leaves(9004),
            begins(1, 9005),
            "Failed publickey for runner from 127.0.0.1 port 9005 ssh2: ED25519 SHA256:x".to_owned(),
            leaves(9005),
            begins(1, 9006),
            "Unable to negotiate with 127.0.0.1 port 9006: no matching host key type found. Their offer: x [preauth]"
                .to_owned(),
        ],
        0,
    );
    let numbers = &client(&run).numbers;
    let counts = numbers.total.counts;
    assert_eq!(
        (counts.attempts, counts.handshakes, counts.banner_eof),
        (6, 2, 1)
    );
    assert_eq!(
        (counts.client_left, counts.auth_failed, counts.kex_failed),
        (1, 1, 1)
    );
    assert_eq!(counts.attempt_outcomes(), counts.attempts);
    assert_eq!(client(&run).rounds[0].task_connections, Some(vec![2, 4, 0]));
    let clients = numbers.clients.as_ref().expect("clients");
    assert_eq!((clients.tasks_unseen, clients.unattributed), (Some(1), 0));
    assert_eq!(clients.cpu_ns, Some(30));
    assert_eq!(broken(&run), Vec::<LawId>::new());
    let makers = numbers.total.makers.expect("told by the log");
    assert_eq!(makers.refused_by_max_startups, 1);
    // What nobody saw has no data.
    assert_eq!(outcome(&run, "retries == 0"), GateOutcome::Inconclusive);
    assert_eq!(
        outcome(&run, "listen_queue_refused == 0"),
        GateOutcome::Inconclusive
    );
    assert_eq!(
        outcome(&run, "handshakes_per_task.max <= 2"),
        GateOutcome::Pass
    );
    assert_eq!(outcome(&run, "banner_eof == 0"), GateOutcome::Fail);
}

#[test]
fn connection_without_a_task_leaves_the_mean_and_nothing_else_per_task() {
    let run = run(
        &[
            begins_elsewhere(9001),
            logs_in(9001),
            begins(0, 9002),
            logs_in(9002),
        ],
        0,
    );
    assert_eq!(client(&run).rounds[0].task_connections, None);
    let names = [StrategyName(NAME.to_owned())];
    let value = |text: &str| {
        let threshold = Threshold::parse(text, &names).expect("fine");
        judge(&[threshold], &run)[0].checks[0].actual
    };
    assert_eq!(value("handshakes == 2"), Some(2.0));
    let mean = value("handshakes_per_task <= 1").expect("a mean");
    assert!((mean - 2.0 / 3.0).abs() < 1e-9, "{mean}");
    assert_eq!(value("handshakes_per_task.max <= 1"), None);
}

#[test]
fn logins_at_an_address_of_nobody_are_counted_for_the_tasks_whose_keys_they_used() {
    let run = run_with_keys(&[
        begins_elsewhere(9001),
        logs_in_as(0, 9001),
        begins_elsewhere(9002),
        logs_in_as(2, 9002),
        begins_elsewhere(9003),
        logs_in_as(2, 9003),
        begins(2, 9004),
        logs_in_as(2, 9004),
    ]);
    assert_eq!(client(&run).rounds[0].task_connections, Some(vec![1, 0, 3]));
    let clients = client(&run).numbers.clients.as_ref().expect("clients");
    assert_eq!((clients.logins_by_key, clients.unattributed), (3, 0));
    assert_eq!(clients.tasks_unseen, Some(1));
    assert!(client(&run).rounds[0].start.spread_ns.is_some());
    for threshold in [
        "handshakes_per_task.max == 3",
        "handshakes_per_task.min == 0",
        "attempts_per_task.max == 3",
    ] {
        assert_eq!(outcome(&run, threshold), GateOutcome::Pass, "{threshold}");
    }
    assert_eq!(broken(&run), Vec::<LawId>::new());
}

#[test]
fn refusals_at_an_address_of_nobody_stay_the_rounds_and_logins_are_told_apart_all_the_same() {
    let lines = [
        begins_elsewhere(9001),
        logs_in_as(0, 9001),
        dropped_elsewhere(9002),
        dropped_elsewhere(9003),
        begins_elsewhere(9004),
        leaves(9004),
        begins_elsewhere(9005),
        logs_in_as(1, 9005),
    ];
    let run = run_with_keys(&lines);
    let numbers = &client(&run).numbers;
    let clients = numbers.clients.as_ref().expect("clients");
    assert_eq!(
        (
            clients.unattributed,
            clients.unattributed_refusals,
            clients.unattributed_logins
        ),
        (3, 2, 0)
    );
    // Any of the three may have been the first of any task.
    assert_eq!(client(&run).rounds[0].task_connections, None);
    assert_eq!(clients.tasks_unseen, None);
    assert_eq!(client(&run).rounds[0].start.spread_ns, None);
    for (threshold, expected) in [
        ("handshakes_per_task.max == 1", GateOutcome::Pass),
        ("handshakes_per_task.min == 0", GateOutcome::Pass),
        ("attempts_per_task.max <= 5", GateOutcome::Inconclusive),
        ("banner_eof == 2", GateOutcome::Pass),
    ] {
        assert_eq!(outcome(&run, threshold), expected, "{threshold}");
    }
    assert_eq!(numbers.total.attempts_per_task.mean(), Some(5.0 / 3.0));
    assert_eq!(broken(&run), Vec::<LawId>::new());

    // One login that is no task's may be any task's.
    let more = [&lines[..], &[begins_elsewhere(9006), logs_in(9006)]].concat();
    let run = run_with_keys(&more);
    assert_eq!(
        outcome(&run, "handshakes_per_task.max == 1"),
        GateOutcome::Inconclusive
    );
    let clients = client(&run).numbers.clients.as_ref().expect("clients");
    assert_eq!((clients.unattributed, clients.unattributed_logins), (4, 1));
}

#[test]
fn what_sshd_could_not_serve_is_a_refusal_without_a_task() {
    let fork = "fork: Resource temporarily unavailable".to_owned();
    let run = run(&[begins(0, 9001), logs_in(9001), fork], 0);
    let numbers = &client(&run).numbers;
    assert_eq!(numbers.total.counts.banner_eof, 1);
    assert_eq!(numbers.total.makers.expect("told").unserved, 1);
    let clients = numbers.clients.as_ref().expect("clients");
    assert_eq!(
        (clients.unattributed, clients.unattributed_refusals),
        (1, 1)
    );
}

#[test]
fn kernel_that_turned_connections_away_makes_counts_lower_bounds_and_few_is_never_a_pass() {
    let lines = [begins(0, 9001), logs_in(9001)];
    let sure = run(&lines, 0);
    assert_eq!(outcome(&sure, "handshakes <= 1"), GateOutcome::Pass);
    let bound = run(&lines, 3);
    assert!(
        client(&bound)
            .numbers
            .clients
            .as_ref()
            .expect("clients")
            .lower_bound
    );
    for (threshold, expected) in [
        ("handshakes <= 1", GateOutcome::Inconclusive),
        ("attempts == 1", GateOutcome::Inconclusive),
        ("banner_eof == 0", GateOutcome::Inconclusive),
        ("handshakes_per_task < 2", GateOutcome::Inconclusive),
        // Already too many, and already enough: more changes nothing.
        ("handshakes <= 0", GateOutcome::Fail),
        ("handshakes >= 1", GateOutcome::Pass),
        ("handshakes >= 2", GateOutcome::Inconclusive),
        // No count of connections.
        ("tasks_failed == 0", GateOutcome::Pass),
        ("server_accepted <= 1", GateOutcome::Pass),
    ] {
        assert_eq!(outcome(&bound, threshold), expected, "{threshold}");
    }
}

#[test]
fn log_that_lost_a_beginning_or_an_end_breaks_its_law() {
    for lines in [
        vec![logs_in(9001)],
        vec![begins(0, 9001), logs_in(9001), begins(1, 9002)],
    ] {
        assert_eq!(broken(&run(&lines, 0)), [LawId::LogWhole]);
    }
    let whole = run(&[begins(0, 9001), logs_in(9001)], 0);
    let laws = laws::check(&whole);
    let status = |id| laws.iter().find(|law| law.id == id).map(|law| law.status);
    assert_eq!(status(LawId::LogWhole), Some(LawStatus::Holds));
    assert_eq!(
        status(LawId::ServerConnections),
        Some(LawStatus::NotCheckable)
    );
}

#[test]
fn client_that_met_nobody_is_invalid() {
    let run = run(&[], 0);
    let admitted = validity::check(&run)
        .into_iter()
        .find(|check| check.id == CheckId::Admitted);
    assert_eq!(admitted.expect("made").status, CheckStatus::Invalid);
    assert_eq!(outcome(&run, "banner_eof == 0"), GateOutcome::Inconclusive);
}
