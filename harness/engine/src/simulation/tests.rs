//! Two executors that must agree: our own, and tokio's paused clock stretched a thousand times.

use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use super::*;
use crate::clock::RunClock;
use crate::collector::Collector;
use crate::testing::scenario;
use crate::{Engine, StopController, plan_rounds};
use sshchurn_core::ledger::{Event, Record};
use sshchurn_core::model::server::{Costs, ServerSettings};
use sshchurn_core::scenario::{ArrivalShape, Scenario, StrategyKind};

const MICROSECOND: u64 = 1_000;

fn servers(scenario: &Scenario, collector: Collector) -> SimulatedServers {
    SimulatedServers {
        settings: ServerSettings::of(scenario.sshd.max_startups),
        costs: Costs::assumed(),
        identification: String::from("SSH-2.0-OpenSSH_9.2"),
        refusal: "Exceeded MaxStartups",
        seed: scenario.seed,
        witnessed: false,
        collector,
    }
}

/// What the tasks of a round say happened, in an order that does not depend on who was polled first: by instant, then by what it
/// says, identifiers that are given out in the order of asking left out.
fn told(records: impl IntoIterator<Item = Record>) -> Vec<(u64, String)> {
    let mut told: Vec<(u64, String)> = records
        .into_iter()
        .filter_map(|record| {
            let text = match record.event {
                Event::AttemptStarted {
                    task,
                    phase,
                    ordinal,
                    ..
                } => format!("attempt {task} {phase:?} {ordinal}"),
                Event::AttemptEnded { outcome, trace, .. } => format!(
                    "ended {outcome:?} {:?} {:?} {:?} {:?}",
                    trace.connect_called, trace.connected, trace.identified, trace.authenticated
                ),
                Event::RetryScheduled {
                    task, retry, wait, ..
                } => format!("retry {task} {retry:?} {wait:?}"),
                Event::CommandStarted { task, step, .. } => format!("command {task} {step:?}"),
                Event::CommandEnded { outcome, .. } => format!("command ended {outcome:?}"),
                Event::TaskEnded { task, fate, .. } => format!("task {task} {fate:?}"),
                _ => return None,
            };
            Some((record.at.0, text))
        })
        .collect();
    told.sort();
    told
}

fn ours(scenario: &Scenario, grain: u64) -> Vec<(u64, String)> {
    let time = VirtualTime::starting_at(SystemTime::UNIX_EPOCH).in_grains(grain);
    let (sender, receiver) = mpsc::channel();
    let collector = Collector::new(RunClock::Virtual(time.clone()), sender);
    let (_keep, signal) = StopController::new();
    let engine = Engine::new(
        scenario.clone(),
        "/jobs".to_owned(),
        collector.clone(),
        signal,
    );
    let plan = plan_rounds(scenario).remove(0);
    let round = servers(scenario, collector.clone()).of_round_in_grains(&plan, grain);
    let tasks = engine.run_round_on(&InPlace, &plan, || round.connector());
    run(&time, round.board(), tasks).expect("it goes on");
    collector.finish();
    told(receiver)
}

/// The same on tokio, whose timers count in milliseconds: a microsecond of the run is one of them.
fn tokios(scenario: &Scenario) -> Vec<(u64, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let clock = RunClock::start_stretched();
        let (sender, receiver) = mpsc::channel();
        let collector = Collector::new(clock.clone(), sender);
        let (_keep, signal) = StopController::new();
        let engine = Engine::new(scenario.clone(), "/jobs".to_owned(), collector.clone(), signal);
        let plan = plan_rounds(scenario).remove(0);
        let round = servers(scenario, collector.clone()).of_round_in_grains(&plan, MICROSECOND);
        let board = round.board().clone();
        let driven = async {
            loop {
                match board.next() {
                    None => board.asked().await,
                    Some(next) => tokio::select! {
                        biased;
                        () = board.asked() => {}
                        () = clock.sleep_until(sshchurn_core::instant::RunInstant(next)) => board.advance(),
                    },
                }
            }
        };
        tokio::select! {
            biased;
            _ = engine.run_round_on(&crate::TokioSpawner, &plan, || round.connector()) => {}
            () = driven => {}
        }
        collector.finish();
        told(receiver)
    })
}

fn workload(seed: u64, tasks: u32) -> Scenario {
    let kind = match seed % 4 {
        0 => StrategyKind::PerCommand,
        1 => StrategyKind::ReusedSession,
        2 => StrategyKind::OneShot,
        _ => StrategyKind::Stalled,
    };
    let mut scenario = scenario(kind, tasks);
    scenario.seed = seed;
    scenario.job.duration = Duration::from_secs(2);
    scenario.strategies[0].tunables.poll_interval = Duration::from_millis(700);
    scenario.arrival.shape = match seed % 3 {
        0 => ArrivalShape::Burst,
        1 => ArrivalShape::Poisson { rate_per_s: 100.0 },
        _ => ArrivalShape::Ramp {
            over: Duration::from_secs(1),
        },
    };
    scenario
}

fn agree(seeds: std::ops::Range<u64>, tasks: u32) {
    for seed in seeds {
        let scenario = workload(seed, tasks);
        let (ours, tokios) = (ours(&scenario, MICROSECOND), tokios(&scenario));
        assert!(ours.len() > tasks as usize);
        if let Some((index, _)) = ours
            .iter()
            .zip(&tokios)
            .enumerate()
            .find(|(_, (a, b))| a != b)
        {
            panic!(
                "seed {seed}: event {index}\n  ours   {:?}\n  tokio's {:?}",
                ours[index], tokios[index]
            );
        }
        assert_eq!(ours.len(), tokios.len(), "seed {seed}");
    }
}

#[test]
fn our_executor_and_tokios_paused_clock_give_the_same_events() {
    agree(0..24, 50);
}

/// The whole of it takes minutes without optimisation: `cargo test --release -p sshchurn-engine -- --ignored`.
#[test]
#[ignore = "1,000 seeds of 200 tasks"]
fn our_executor_and_tokios_paused_clock_give_the_same_events_a_thousand_times() {
    agree(0..1000, 200);
}

#[test]
fn same_seed_gives_the_same_events_and_another_gives_others() {
    let (first, second) = (workload(8, 40), workload(20, 40));
    assert_eq!(ours(&first, 1), ours(&first, 1));
    assert_ne!(ours(&first, 1), ours(&second, 1));
}
