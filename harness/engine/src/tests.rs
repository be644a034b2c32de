//! Both strategies to the last retry, on a paused clock against a scripted server.

use std::time::Duration;

use super::testing::{EOF, RESET, Script, Told, scenario, tell, tell_on, tell_with};
use super::{Spawner, StopLevel, TokioSpawner, plan_rounds};
use crate::simulation::InPlace;
use futures::stream;
use sshchurn_core::ledger::{Event, RoundEnd};
use sshchurn_core::scenario::StrategyKind::{PerCommand, ReusedSession};
use sshchurn_core::scenario::{ArrivalShape, HoldUntil, HoldersConfig, Life, StrategyKind};
use sshchurn_core::vocabulary::{
    AttemptOutcome, CleanupPolicy, CleanupResult, Close, CommandOutcome, ConnectionEnd, Phase,
    RetryKind, Step, TaskFailure, TaskFate,
};

fn failed(failure: TaskFailure) -> Vec<TaskFate> {
    vec![TaskFate::Failed { failure }]
}

fn cleanup_of(told: &Told) -> (bool, CleanupResult) {
    told.records
        .iter()
        .find_map(|record| match record.event {
            Event::TaskEnded {
                removal_required,
                cleanup,
                ..
            } => Some((removal_required, cleanup)),
            _ => None,
        })
        .expect("the task ended")
}

/// Every attempt, command, phase, connection and task that began also ended, exactly once.
fn everything_ended_once(told: &Told) {
    use std::collections::HashMap;
    let mut open: HashMap<String, i64> = HashMap::new();
    let mut add = |key: String, by: i64| *open.entry(key).or_default() += by;
    for record in &told.records {
        match &record.event {
            Event::AttemptStarted { attempt, .. } => add(format!("attempt {attempt}"), 1),
            Event::HolderStarted { attempt, .. } => add(format!("attempt {attempt}"), 1),
            Event::AttemptEnded {
                attempt, outcome, ..
            }
            | Event::HolderEnded {
                attempt, outcome, ..
            } => {
                add(format!("attempt {attempt}"), -1);
                if *outcome == AttemptOutcome::Handshake {
                    add(format!("connection {attempt}"), 1);
                }
            }
            Event::ConnectionEnded { attempt, .. } => add(format!("connection {attempt}"), -1),
            Event::CommandStarted { command, .. } => add(format!("command {command}"), 1),
            Event::CommandEnded { command, .. } => add(format!("command {command}"), -1),
            Event::PhaseStarted { task, phase, .. } => add(format!("phase {task} {phase:?}"), 1),
            Event::PhaseEnded { task, phase, .. } => add(format!("phase {task} {phase:?}"), -1),
            Event::TaskScheduled { task, .. } => add(format!("task {task}"), 1),
            Event::TaskEnded { task, .. } => add(format!("task {task}"), -1),
            _ => {}
        }
    }
    let unbalanced: Vec<_> = open.iter().filter(|(_, count)| **count != 0).collect();
    assert!(unbalanced.is_empty(), "{unbalanced:?}");
}

#[tokio::test(start_paused = true)]
async fn undisturbed_reused_session_makes_exactly_three_connections() {
    let told = tell(&scenario(ReusedSession, 1), vec![Script::default()]).await;
    assert_eq!(told.attempts(), [1, 1, 1]);
    assert_eq!(told.fates(), [TaskFate::Succeeded]);
    assert_eq!(told.removed, [true]);
    everything_ended_once(&told);
}

#[tokio::test(start_paused = true)]
async fn undisturbed_per_command_makes_two_plus_polls_plus_one_connections() {
    let told = tell(&scenario(PerCommand, 1), vec![Script::default()]).await;
    // A 12 s job polled every 5 s: at 0, 5, 10 and 15 s; only the last finds the log grown.
    assert_eq!(told.polls(), [2, 2, 2, 3]);
    assert_eq!(told.attempts(), [2, 9, 1]);
    assert_eq!(told.fates(), [TaskFate::Succeeded]);
    everything_ended_once(&told);
}

#[tokio::test(start_paused = true)]
async fn old_monitor_swallows_an_eof_and_polls_one_interval_later() {
    let mut script = Script::default();
    // detect, submit, then the first poll's check and size are refused in good order.
    script.connects.extend([None, None, Some(EOF), Some(EOF)]);
    let told = tell(&scenario(PerCommand, 1), vec![script]).await;
    assert_eq!(told.fates(), [TaskFate::Succeeded]);
    assert_eq!(told.waits(RetryKind::Command), Vec::<f64>::new());
    let checks = told.commands_at(Step::Check);
    assert!(
        (checks[0] - 5.0).abs() < 0.2,
        "first check to get through: {checks:?}"
    );
    everything_ended_once(&told);
}

#[tokio::test(start_paused = true)]
async fn old_monitor_retries_a_reset_after_one_and_two_seconds() {
    let mut script = Script::default();
    script
        .connects
        .extend([None, None, Some(RESET), Some(RESET)]);
    let told = tell(&scenario(PerCommand, 1), vec![script]).await;
    assert_eq!(told.waits(RetryKind::Command), [1.0, 2.0]);
    assert_eq!(told.fates(), [TaskFate::Succeeded]);
}

#[tokio::test(start_paused = true)]
async fn old_monitor_fails_the_task_after_three_resets_of_one_command() {
    let mut script = Script::default();
    script
        .connects
        .extend([None, None, Some(RESET), Some(RESET), Some(RESET)]);
    let told = tell(&scenario(PerCommand, 1), vec![script]).await;
    assert_eq!(told.fates(), failed(TaskFailure::Monitor));
    // Cleanup `always` still runs.
    assert_eq!(cleanup_of(&told), (true, CleanupResult::Removed));
    everything_ended_once(&told);
}

#[tokio::test(start_paused = true)]
async fn retry_of_the_read_asks_for_the_size_again() {
    let mut script = Script::default();
    script.commands.push((
        Step::Read,
        [Some(CommandOutcome::ConnectionLost {
            close: Close::Reset,
        })]
        .into(),
    ));
    let told = tell(&scenario(PerCommand, 1), vec![script]).await;
    assert_eq!(
        told.commands_at(Step::Size).len(),
        5,
        "four polls and one size repeated with the read"
    );
    assert_eq!(told.commands_at(Step::Read).len(), 2);
    assert_eq!(told.waits(RetryKind::Command), [1.0]);
}

#[tokio::test(start_paused = true)]
async fn size_and_read_retries_nest() {
    let mut script = Script::default();
    script.connects.extend([None, None, None]);
    script.connects.extend(std::iter::repeat_n(Some(RESET), 9));
    let told = tell(&scenario(PerCommand, 1), vec![script]).await;
    // Three tries of the size in each of three tries of the read.
    assert_eq!(
        told.waits(RetryKind::Command),
        [1.0, 2.0, 1.0, 1.0, 2.0, 2.0, 1.0, 2.0]
    );
    assert_eq!(told.fates(), failed(TaskFailure::Monitor));
}

#[tokio::test(start_paused = true)]
async fn operator_connects_three_times_before_and_five_times_after() {
    for (kind, attempts) in [(PerCommand, 3), (ReusedSession, 5)] {
        for refusal in [EOF, RESET, AttemptOutcome::ConnectRefused] {
            let script = Script {
                refuse_all: Some(refusal),
                ..Script::default()
            };
            let told = tell(&scenario(kind, 1), vec![script]).await;
            assert_eq!(told.attempts(), [attempts, 0, 0]);
            let waits = told.waits(RetryKind::Connect);
            assert_eq!(waits.len(), attempts - 1);
            assert!(
                waits.iter().all(|wait| (3.0..5.0).contains(wait)),
                "{waits:?}"
            );
            assert_eq!(told.fates(), failed(TaskFailure::SubmitConnect));
            assert_eq!(cleanup_of(&told), (true, CleanupResult::NotAttempted));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn refused_channels_spend_the_reconnect_budget() {
    let mut script = Script::default();
    script.commands.push((
        Step::Check,
        std::iter::repeat_n(Some(CommandOutcome::ChannelRefused), 100).collect(),
    ));
    let told = tell(&scenario(ReusedSession, 1), vec![script]).await;
    assert_eq!(told.fates(), failed(TaskFailure::Monitor));
    // max_reconnect_attempts 5: the sixth failure in a row ends it.
    assert_eq!(told.attempts(), [1, 6, 1]);
    // Every one of them was another connection, and was had at the first try.
    assert_eq!(told.ordinals(Phase::Poll), [1; 6]);
    let waits = told.waits(RetryKind::Reconnect);
    assert_eq!(waits.len(), 5);
    for (wait, base) in waits.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0]) {
        assert!((base..2.0 * base).contains(wait), "{wait} of {base}");
    }
    everything_ended_once(&told);
}

#[tokio::test(start_paused = true)]
async fn tries_are_counted_at_the_connection_that_is_wanted() {
    // Refused twice, then there; its first command fails, and the next connection is refused once.
    let mut script = Script::default();
    script
        .connects
        .extend([None, Some(EOF), Some(RESET), None, Some(EOF), None]);
    script.commands.push((
        Step::Check,
        [Some(CommandOutcome::ChannelRefused)].into_iter().collect(),
    ));
    let told = tell(&scenario(ReusedSession, 1), vec![script]).await;
    assert_eq!(told.ordinals(Phase::Poll), [1, 2, 3, 1, 2]);

    // Two connects of submit, three polls of two, a check; the size is reset three times, asked for again, and the log read.
    let mut script = Script::default();
    script.connects.extend(std::iter::repeat_n(None, 9));
    script.connects.extend(std::iter::repeat_n(Some(RESET), 3));
    let told = tell(&scenario(PerCommand, 1), vec![script]).await;
    let (undisturbed, last) = ([1; 7], [1, 2, 3, 1, 1]);
    assert_eq!(
        told.ordinals(Phase::Poll),
        [&undisturbed[..], &last].concat()
    );
}

#[tokio::test(start_paused = true)]
async fn only_a_whole_poll_restores_the_reconnect_budget() {
    let refused = || Some(CommandOutcome::ChannelRefused);
    let mut script = Script::default();
    // Five failures, of which the fourth and fifth get as far as the size; then a whole poll, then five more.
    script.commands.push((
        Step::Check,
        [
            refused(),
            refused(),
            refused(),
            None,
            None,
            None,
            refused(),
            refused(),
            refused(),
            refused(),
            refused(),
        ]
        .into(),
    ));
    script
        .commands
        .push((Step::Size, [refused(), refused()].into()));
    let mut scenario = scenario(ReusedSession, 1);
    scenario.job.duration = Duration::from_secs(300);
    let told = tell(&scenario, vec![script]).await;
    assert_eq!(told.fates(), [TaskFate::Succeeded]);
    let waits = told.waits(RetryKind::Reconnect);
    assert_eq!(waits.len(), 10);
    assert!((16.0..32.0).contains(&waits[4]), "{waits:?}");
    assert!((1.0..2.0).contains(&waits[5]), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn cleanup_gives_up_after_its_rounds_and_the_directory_stays() {
    for (kind, attempts, rounds) in [(PerCommand, 3, vec![]), (ReusedSession, 15, vec![2.0, 4.0])] {
        let mut script = Script::default();
        let undisturbed = if kind == PerCommand { 11 } else { 2 };
        script
            .connects
            .extend(std::iter::repeat_n(None, undisturbed));
        script.refuse_all = Some(EOF);
        let told = tell(&scenario(kind, 1), vec![script]).await;
        assert_eq!(told.attempts()[2], attempts, "{kind:?}");
        assert_eq!(told.waits(RetryKind::CleanupRound), rounds);
        assert_eq!(cleanup_of(&told), (true, CleanupResult::ConnectFailed));
        // The task itself succeeded: the failure to clean up is swallowed.
        assert_eq!(told.fates(), [TaskFate::Succeeded]);
        assert_eq!(told.removed, [false]);
    }
}

#[tokio::test(start_paused = true)]
async fn on_success_leaves_the_directory_of_a_task_without_exit_code() {
    let mut script = Script::default();
    script
        .connects
        .extend([None, None, Some(RESET), Some(RESET), Some(RESET)]);
    let mut scenario = scenario(PerCommand, 1);
    scenario.strategies[0].tunables.cleanup = CleanupPolicy::OnSuccess;
    let told = tell(&scenario, vec![script]).await;
    assert_eq!(cleanup_of(&told), (false, CleanupResult::NotRequired));
}

#[tokio::test(start_paused = true)]
async fn killed_tasks_end_before_their_job_and_leave_their_directory() {
    let mut scenario = scenario(ReusedSession, 20);
    scenario.job.killed_share = 0.25;
    let told = tell(&scenario, (0..20).map(|_| Script::default()).collect()).await;
    let killed = told
        .fates()
        .into_iter()
        .filter(|fate| *fate == failed(TaskFailure::Killed)[0])
        .count();
    assert_eq!(killed, 5);
    assert_eq!(told.removed.iter().filter(|removed| !**removed).count(), 5);
    everything_ended_once(&told);
}

#[tokio::test(start_paused = true)]
async fn time_scale_shrinks_waits() {
    let mut scenario = scenario(PerCommand, 1);
    scenario.time_scale = 0.1;
    let script = Script {
        refuse_all: Some(EOF),
        ..Script::default()
    };
    let told = tell(&scenario, vec![script]).await;
    let waits = told.waits(RetryKind::Connect);
    assert!(
        waits.iter().all(|wait| (0.3..0.5).contains(wait)),
        "{waits:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn drain_lets_running_tasks_finish_and_starts_no_others() {
    let mut scenario = scenario(ReusedSession, 10);
    scenario.arrival.shape = ArrivalShape::Ramp {
        over: Duration::from_secs(9),
    };
    let told = tell_with(
        &scenario,
        (0..10).map(|_| Script::default()).collect(),
        |stop| {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(4500)).await;
                stop.raise(StopLevel::Drain);
            });
        },
    )
    .await;
    assert_eq!(told.end, RoundEnd::Drained);
    let fates = told.fates();
    assert_eq!(
        fates
            .iter()
            .filter(|fate| **fate == TaskFate::Succeeded)
            .count(),
        5
    );
    assert_eq!(
        fates
            .iter()
            .filter(|fate| **fate == TaskFate::NotStarted)
            .count(),
        5
    );
    everything_ended_once(&told);
}

#[tokio::test(start_paused = true)]
async fn abort_interrupts_attempts_commands_and_tasks_and_records_their_ends() {
    for kind in [
        PerCommand,
        ReusedSession,
        StrategyKind::Stalled,
        StrategyKind::OneShot,
        StrategyKind::Multiplexed,
        StrategyKind::FailingLogin,
    ] {
        // Without a job a round is over as soon as everybody has an answer.
        let moments: &[u64] = match kind.life() {
            // At 450 ms of per-command: while the connection of detect is being closed.
            Life::Job(_) => &[60, 450, 500, 2_000, 10_900, 14_000],
            Life::Hold(_) => &[60, 300],
            Life::Once | Life::Shared => &[60, 300, 450, 500],
            Life::Failing => &[60, 300, 450, 700, 1_200],
            Life::Program => continue,
        };
        for after_ms in moments.iter().copied() {
            let scripts = (0..10)
                .map(|_| Script {
                    connect_takes: Duration::from_millis(400),
                    close_takes: Duration::from_millis(100),
                    ..Script::default()
                })
                .collect();
            let told = tell_with(&scenario(kind, 10), scripts, |stop| {
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(after_ms)).await;
                    stop.raise(StopLevel::Abort);
                });
            })
            .await;
            assert_eq!(told.end, RoundEnd::Aborted);
            assert_eq!(told.fates().len(), 10, "after {after_ms} ms");
            everything_ended_once(&told);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn staircase_does_not_go_on_where_everything_is_refused() {
    let mut scenario = scenario(StrategyKind::Staircase, 1);
    for (max_startups, admitted, attempts) in [
        ("5:100:10", 5, 35),
        ("3:50:4", 4, 34),
        // Another server's rule, or another limit than `MaxStartups`, shuts far below `full`.
        ("10:30:100", 5, 35),
        ("32:30:64", 16, 46),
        ("10:30:100", 0, 30),
    ] {
        scenario.sshd.max_startups = max_startups.parse().expect("valid");
        let mut script = Script {
            refuse_all: Some(EOF),
            ..Script::default()
        };
        script.connects.extend(std::iter::repeat_n(None, admitted));
        let told = tell(&scenario, vec![script]).await;
        assert_eq!(told.attempts(), [attempts, 0, 0], "{max_startups}");
        everything_ended_once(&told);
    }
}

#[tokio::test(start_paused = true)]
async fn staircase_logs_in_before_it_lets_go_where_silent_clients_would_be_banned() {
    for (penalties, handshakes, held) in [("no", 0, 5), ("noauth:1s", 5, 0)] {
        let mut scenario = scenario(StrategyKind::Staircase, 1);
        scenario.sshd.max_startups = "5:100:10".parse().expect("valid");
        scenario.sshd.keywords = vec![("persourcepenalties".to_owned(), penalties.to_owned())];
        let mut script = Script {
            refuse_all: Some(EOF),
            ..Script::default()
        };
        script.connects.extend(std::iter::repeat_n(None, 5));
        let told = tell(&scenario, vec![script]).await;
        let ended = |wanted: &AttemptOutcome| {
            told.records
                .iter()
                .filter(|record| matches!(&record.event, Event::AttemptEnded { outcome, .. } if outcome == wanted))
                .count()
        };
        assert_eq!(ended(&AttemptOutcome::Handshake), handshakes, "{penalties}");
        assert_eq!(ended(&AttemptOutcome::Held), held, "{penalties}");
        everything_ended_once(&told);
    }
}

#[tokio::test(start_paused = true)]
async fn max_in_flight_holds_later_tasks_back_but_keeps_their_intended_start() {
    let mut scenario = scenario(ReusedSession, 4);
    scenario.arrival.max_in_flight = Some(1);
    let told = tell(&scenario, (0..4).map(|_| Script::default()).collect()).await;
    let intended: std::collections::HashSet<_> = told
        .records
        .iter()
        .filter_map(|record| match record.event {
            Event::TaskScheduled { intended, .. } => Some(intended),
            _ => None,
        })
        .collect();
    assert_eq!(
        intended.len(),
        1,
        "a burst: all were meant to start at once"
    );
    let submits = told.commands_at(Step::Submit);
    assert!(
        submits.windows(2).all(|pair| pair[1] - pair[0] > 14.0),
        "{submits:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn same_seed_gives_the_same_draws_whatever_other_tasks_do() {
    let waits = |disturb: bool| async move {
        let scripts = (0..3)
            .map(|task| Script {
                refuse_all: (task == 1 || disturb).then_some(EOF),
                ..Script::default()
            })
            .collect();
        let told = tell(&scenario(ReusedSession, 3), scripts).await;
        told.records
            .into_iter()
            .filter_map(|record| match record.event {
                Event::RetryScheduled { task, wait, .. } if task.0 == 1 => Some(wait),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let (alone, among_others) = (waits(false).await, waits(true).await);
    assert_eq!(alone.len(), 4);
    assert_eq!(alone, among_others);
}

#[test]
fn rounds_interleave_strategies_and_number_them_in_order() {
    let mut scenario = scenario(PerCommand, 1);
    scenario.strategies.push(
        super::testing::scenario(ReusedSession, 1)
            .strategies
            .remove(0),
    );
    scenario.rounds = 5;
    let plans = plan_rounds(&scenario);
    assert_eq!(plans.len(), 10);
    for (index, pair) in plans.chunks(2).enumerate() {
        assert_ne!(pair[0].strategy.name, pair[1].strategy.name);
        assert_eq!(pair[0].repetition, pair[1].repetition);
        assert_eq!(pair[0].round.0 as usize, 2 * index + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn stalled_tasks_hold_their_slot_until_every_task_has_its_answer() {
    let answered_after = |ms, connects: &[Option<AttemptOutcome>]| Script {
        connect_takes: Duration::from_millis(ms),
        connects: connects.iter().cloned().collect(),
        ..Script::default()
    };
    let scripts = vec![
        answered_after(100, &[]),
        answered_after(900, &[]),
        answered_after(300, &[Some(EOF)]),
    ];
    let told = tell(&scenario(StrategyKind::Stalled, 3), scripts).await;
    everything_ended_once(&told);
    assert_eq!(told.attempts(), [3, 0, 0]);
    let fates = told.fates();
    assert_eq!(
        fates
            .iter()
            .filter(|fate| **fate == TaskFate::Succeeded)
            .count(),
        2
    );
    assert!(fates.contains(&TaskFate::Failed {
        failure: TaskFailure::SubmitConnect
    }));
    let start = told
        .records
        .iter()
        .find(|record| matches!(record.event, Event::AttemptStarted { .. }))
        .expect("attempts")
        .at;
    let released: Vec<_> = told
        .records
        .iter()
        .filter_map(|record| match &record.event {
            Event::AttemptEnded {
                outcome: AttemptOutcome::Held,
                ..
            } => Some(record.at.since(start)),
            _ => None,
        })
        .collect();
    assert_eq!(released.len(), 2);
    for after in released {
        assert!(after >= Duration::from_millis(900), "{after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_held_connection_that_the_server_ends_is_no_held_one() {
    let scripts = vec![
        Script {
            held_lost_after: Some(Duration::from_millis(500)),
            ..Script::default()
        },
        Script {
            connect_takes: Duration::from_secs(2),
            ..Script::default()
        },
    ];
    let told = tell(&scenario(StrategyKind::Stalled, 2), scripts).await;
    everything_ended_once(&told);
    let outcomes: Vec<_> = told
        .records
        .iter()
        .filter_map(|record| match &record.event {
            Event::AttemptEnded { outcome, .. } => Some(outcome.metric()),
            _ => None,
        })
        .collect();
    assert_eq!(outcomes, ["kex_failed", "attempts_held"]);
}

#[tokio::test(start_paused = true)]
async fn one_shot_runs_its_command_on_one_connection_and_is_done() {
    let mut scenario = scenario(StrategyKind::OneShot, 1);
    scenario.strategies[0].tunables.command = "git-upload-pack 'x'".to_owned();
    let told = tell(&scenario, vec![Script::default()]).await;
    assert_eq!(told.attempts(), [1, 0, 0]);
    assert_eq!(told.commands_at(Step::Run).len(), 1);
    assert_eq!(told.ran, [["git-upload-pack 'x'"]]);
    assert_eq!(told.fates(), [TaskFate::Succeeded]);
    assert_eq!(cleanup_of(&told), (false, CleanupResult::NotRequired));
    everything_ended_once(&told);
}

#[tokio::test(start_paused = true)]
async fn one_shot_gives_up_at_its_first_refusal_unless_told_otherwise() {
    let refused = || Script {
        refuse_all: Some(EOF),
        ..Script::default()
    };
    let mut scenario = scenario(StrategyKind::OneShot, 1);
    let told = tell(&scenario, vec![refused()]).await;
    assert_eq!(told.attempts(), [1, 0, 0]);
    assert_eq!(told.fates(), failed(TaskFailure::SubmitConnect));
    assert_eq!(told.waits(RetryKind::Connect), Vec::<f64>::new());

    scenario.strategies[0].tunables.conn_retry_attempts = 3;
    let told = tell(&scenario, vec![refused()]).await;
    assert_eq!(told.ordinals(Phase::Submit), [1, 2, 3]);
    let waits = told.waits(RetryKind::Connect);
    assert!(
        waits.len() == 2 && waits.iter().all(|wait| (3.0..5.0).contains(wait)),
        "{waits:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn one_shot_tells_a_command_that_failed_from_one_that_could_not_be_run() {
    let exits = Script {
        exit_status: 128,
        ..Script::default()
    };
    let told = tell(&scenario(StrategyKind::OneShot, 1), vec![exits]).await;
    assert_eq!(told.fates(), failed(TaskFailure::JobExit));
    let mut refused = Script::default();
    refused
        .commands
        .push((Step::Run, [Some(CommandOutcome::ChannelRefused)].into()));
    let told = tell(&scenario(StrategyKind::OneShot, 1), vec![refused]).await;
    assert_eq!(told.fates(), failed(TaskFailure::SubmitCommand));
    everything_ended_once(&told);
}

fn scripts(count: usize) -> Vec<Script> {
    (0..count).map(|_| Script::default()).collect()
}

#[tokio::test(start_paused = true)]
async fn multiplexed_tasks_share_connections_and_each_runs_its_own_command() {
    let mut scenario = scenario(StrategyKind::Multiplexed, 5);
    scenario.strategies[0].tunables.sessions_per_connection = 2;
    let told = tell(&scenario, scripts(5)).await;
    // Two, two and one.
    assert_eq!(told.attempts(), [3, 0, 0]);
    assert_eq!(told.commands_at(Step::Run).len(), 5);
    assert_eq!(told.fates(), [TaskFate::Succeeded; 5]);
    let closed = told.records.iter().filter(|record| {
        matches!(
            record.event,
            Event::ConnectionEnded {
                end: ConnectionEnd::ClosedByClient,
                ..
            }
        )
    });
    assert_eq!(closed.count(), 3);
    everything_ended_once(&told);
}

#[tokio::test(start_paused = true)]
async fn connection_that_cannot_be_had_fails_all_tasks_that_share_it_and_no_other() {
    let mut scenario = scenario(StrategyKind::Multiplexed, 4);
    scenario.strategies[0].tunables.sessions_per_connection = 2;
    let mut scripts = scripts(4);
    scripts[0].refuse_all = Some(EOF);
    // A channel that is refused fails its own task only.
    scripts[2]
        .commands
        .push((Step::Run, [Some(CommandOutcome::ChannelRefused)].into()));
    let told = tell(&scenario, scripts).await;
    let count = |fate: &dyn Fn(&TaskFate) -> bool| told.fates().iter().filter(|f| fate(f)).count();
    let failed = |failure| TaskFate::Failed { failure };
    assert_eq!(
        count(&|fate| *fate == failed(TaskFailure::SubmitConnect)),
        2
    );
    assert_eq!(
        count(&|fate| *fate == failed(TaskFailure::SubmitCommand)),
        1
    );
    assert_eq!(count(&|fate| *fate == TaskFate::Succeeded), 1);
    everything_ended_once(&told);
}

#[tokio::test(start_paused = true)]
async fn a_round_on_one_thread_and_a_paused_clock_is_the_same_to_the_nanosecond() {
    let shapes = [
        ArrivalShape::Burst,
        ArrivalShape::Poisson { rate_per_s: 3.0 },
    ];
    for (kind, shape) in StrategyKind::ALL
        .into_iter()
        .flat_map(|kind| shapes.iter().map(move |shape| (kind, shape.clone())))
    {
        let tasks = match kind {
            StrategyKind::Staircase => 1,
            PerCommand
            | ReusedSession
            | StrategyKind::Stalled
            | StrategyKind::OneShot
            | StrategyKind::Multiplexed
            | StrategyKind::FailingLogin => 20,
            StrategyKind::Command => continue,
        };
        let mut scenario = scenario(kind, tasks);
        scenario.arrival.shape = shape;
        scenario.strategies[0].tunables.conn_retry_attempts = 4;
        let round = || async {
            let scripts = (0..tasks)
                .map(|task| Script {
                    // Some are refused at first and wait, so that draws, backoff and polls all take part.
                    connects: std::iter::repeat_n(Some(RESET), task as usize % 4).collect(),
                    refuse_all: (kind == StrategyKind::Staircase).then_some(EOF),
                    connect_takes: Duration::from_micros(700 + 31 * u64::from(task)),
                    close_takes: Duration::from_millis(2),
                    ..Script::default()
                })
                .collect();
            tell_on(&InPlace, &scenario, scripts).await.records
        };
        // Whatever else read the time, or slept by it, would show: no two runs take the same time on the wall.
        let (first, second) = (round().await, round().await);
        assert!(first.len() > 20, "{kind:?}");
        let differs = first.iter().zip(&second).find(|(one, other)| one != other);
        assert_eq!(differs, None, "{kind:?}");
        assert_eq!(first.len(), second.len(), "{kind:?}");
    }
}

#[tokio::test]
#[should_panic(expected = "a task of the round")]
async fn a_panic_of_a_task_is_one_of_the_round() {
    TokioSpawner
        .run_all(
            stream::iter([async { panic!("a task of the round") }]),
            std::future::pending(),
        )
        .await;
}

#[tokio::test]
async fn an_interrupted_attempt_says_what_the_kernel_knew_of_its_socket() {
    use super::clock::RunClock;
    use super::collector::Collector;
    use super::link::Link;
    use super::ssh::keys::{HostKeyCheck, KeyPair};
    use super::ssh::{ConnectLimits, RusshConnector};
    use sshchurn_core::ids::{RoundId, TaskId};

    let limits = ConnectLimits::within(Duration::from_secs(60));
    // Nobody accepts: the connection stands in the listener's queue, and what the client says is acknowledged.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let key = KeyPair::generate().expect("a key");
    let connector = RusshConnector::new(address, "nobody", &key, HostKeyCheck::any());
    let (sender, receiver) = std::sync::mpsc::channel();
    let collector = Collector::new(RunClock::start(), sender);
    let link = Link::new(connector, collector.clone(), RoundId(1), TaskId(0));
    let given_up = tokio::time::timeout(
        Duration::from_millis(300),
        link.connect(Phase::Submit, 1, &limits),
    )
    .await;
    assert!(given_up.is_err(), "nobody answered");
    collector.finish();
    let (outcome, trace) = receiver
        .into_iter()
        .find_map(|record| match record.event {
            Event::AttemptEnded { outcome, trace, .. } => Some((outcome, trace)),
            _ => None,
        })
        .expect("the attempt ended");
    assert_eq!(outcome, AttemptOutcome::Interrupted);
    let tcp = trace.tcp.expect("TCP_INFO");
    assert_eq!(tcp.bytes_sent, trace.bytes_out);
    // One more for the SYN.
    assert_eq!(tcp.bytes_acked, tcp.bytes_sent + 1);
    assert_eq!(tcp.bytes_received, 0);
}

/// A one-shot task beside so many holders.
fn beside(count: u32, until: HoldUntil) -> sshchurn_core::scenario::Scenario {
    let mut scenario = scenario(StrategyKind::OneShot, 1);
    scenario.holders = Some(HoldersConfig { count, until });
    scenario
}

/// How the holders ended, with the second in which they did.
fn holders_ended(told: &Told) -> Vec<(&'static str, u64)> {
    told.records
        .iter()
        .filter_map(|record| match &record.event {
            Event::HolderEnded { outcome, .. } => {
                Some((outcome.metric(), record.at.0 / 1_000_000_000))
            }
            _ => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn holders_have_their_answers_before_any_task_begins_and_leave_when_the_last_has_ended() {
    let slow = || Script {
        connect_takes: Duration::from_secs(1),
        ..Script::default()
    };
    let refused = Script {
        connects: [Some(EOF)].into(),
        ..Script::default()
    };
    let told = tell(
        &beside(3, HoldUntil::RoundEnd),
        vec![slow(), refused, slow(), slow()],
    )
    .await;
    everything_ended_once(&told);
    assert_eq!(
        holders_ended(&told),
        [
            ("banner_eof", 1),
            ("attempts_held", 3),
            ("attempts_held", 3)
        ]
    );
    // No task's attempt, and none of them after a task's beginning or before its end.
    assert_eq!(told.attempts(), [1, 0, 0]);
    let place = |wanted: &dyn Fn(&Event) -> bool| {
        let found = told
            .records
            .iter()
            .rposition(|record| wanted(&record.event));
        found.expect("recorded")
    };
    let scheduled = place(&|event| matches!(event, Event::TaskScheduled { .. }));
    assert!(place(&|event| matches!(event, Event::HolderStarted { .. })) < scheduled);
    let ended = place(&|event| matches!(event, Event::TaskEnded { .. }));
    for record in &told.records[..ended] {
        let left = matches!(
            record.event,
            Event::HolderEnded {
                outcome: AttemptOutcome::Held,
                ..
            }
        );
        assert!(!left);
    }
}

#[tokio::test(start_paused = true)]
async fn holders_log_in_before_they_leave_where_leaving_would_earn_a_ban() {
    let mut scenario = beside(2, HoldUntil::RoundEnd);
    scenario.sshd.keywords = vec![("PerSourcePenalties".to_owned(), "yes".to_owned())];
    let told = tell(&scenario, scripts(3)).await;
    everything_ended_once(&told);
    assert_eq!(holders_ended(&told), [("handshakes", 0); 2]);
}

#[tokio::test(start_paused = true)]
async fn holders_until_the_grace_time_outlast_the_tasks_and_an_interrupt_lets_them_go() {
    let ended_by_server = || Script {
        held_lost_after: Some(Duration::from_secs(20)),
        ..Script::default()
    };
    let scripts = || vec![ended_by_server(), ended_by_server(), Script::default()];
    let told = tell(&beside(2, HoldUntil::GraceTime), scripts()).await;
    everything_ended_once(&told);
    assert_eq!(holders_ended(&told), [("kex_failed", 20); 2]);
    assert_eq!(told.fates(), [TaskFate::Succeeded]);

    let told = tell_with(&beside(2, HoldUntil::GraceTime), scripts(), |stop| {
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            stop.raise(StopLevel::Drain);
        });
    })
    .await;
    everything_ended_once(&told);
    assert_eq!(holders_ended(&told), [("attempts_held", 5); 2]);
}

/// Instants of the attempts of a phase, seconds.
fn attempts_at(told: &Told, of: Phase) -> Vec<f64> {
    told.records
        .iter()
        .filter_map(|record| match record.event {
            Event::AttemptStarted { phase, .. } if phase == of => {
                Some((record.at.0 as f64 / 1e8).round() / 10.0)
            }
            _ => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn logins_that_fail_keep_their_spacing_until_one_is_refused_and_then_a_valid_key_is_tried() {
    let mut scenario = scenario(StrategyKind::FailingLogin, 2);
    scenario.strategies[0].tunables.spacing = vec![Duration::from_secs(4), Duration::ZERO];
    scenario.strategies[0].tunables.logins = 5;
    let takes = |connects: Vec<Option<AttemptOutcome>>| Script {
        connects: connects.into(),
        connect_takes: Duration::from_millis(100),
        ..Script::default()
    };
    // The first task: three fail, the fourth is refused, and so are two probes. The second: nobody is refused.
    let refused = takes(vec![
        None,
        None,
        None,
        Some(EOF),
        Some(EOF),
        Some(RESET),
        None,
    ]);
    let told = tell(&scenario, vec![refused, takes(Vec::new())]).await;
    everything_ended_once(&told);
    assert_eq!(told.fates(), [TaskFate::Succeeded; 2]);
    assert_eq!(told.attempts(), [4 + 5, 3, 0]);
    let mut every_four: Vec<f64> = attempts_at(&told, Phase::Submit);
    every_four.retain(|at| *at > 0.95);
    assert_eq!(every_four, [4.1, 8.1, 12.1], "from the release on");
    // 0.1 s for each connect, 0.5 s between.
    assert_eq!(attempts_at(&told, Phase::Poll), [12.7, 13.3, 13.9]);
}

#[tokio::test(start_paused = true)]
async fn login_that_outlasts_its_spacing_is_followed_at_once_and_those_after_it_do_not_catch_up() {
    let mut scenario = scenario(StrategyKind::FailingLogin, 1);
    scenario.strategies[0].tunables.spacing = vec![Duration::from_secs(5)];
    scenario.strategies[0].tunables.logins = 5;
    let slow = Script {
        connect_takes: Duration::from_millis(100),
        next_connects_take: [Duration::from_millis(100), Duration::from_secs(16)].into(),
        ..Script::default()
    };
    let told = tell(&scenario, vec![slow]).await;
    everything_ended_once(&told);
    let pauses: Vec<f64> = attempts_at(&told, Phase::Submit)
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).round())
        .collect();
    assert_eq!(pauses, [5.0, 16.0, 5.0, 5.0]);
}

#[tokio::test(start_paused = true)]
async fn a_ban_that_outlasts_the_probing_is_no_failure_and_another_end_of_a_login_is() {
    let mut scenario = scenario(StrategyKind::FailingLogin, 1);
    scenario.strategies[0].tunables.probe_timeout = Duration::from_secs(3);
    let shut = Script {
        refuse_all: Some(EOF),
        ..Script::default()
    };
    let told = tell(&scenario, vec![shut]).await;
    everything_ended_once(&told);
    assert_eq!(told.fates(), [TaskFate::Succeeded]);
    assert_eq!(told.attempts(), [1, 6, 0]);
    let slow = Script {
        connects: [Some(AttemptOutcome::BannerTimeout)].into(),
        ..Script::default()
    };
    let told = tell(&scenario, vec![slow]).await;
    assert_eq!(told.fates(), failed(TaskFailure::SubmitConnect));
}
