//! Leftover directories against a listing made by hand, on the machine's own sshd and in a container.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use crate::machine::{Kind, on_each_kind};
use sshchurn::shipped::{RECIPE, SCENARIOS};
use sshchurn_core::ids::TaskId;
use sshchurn_core::ledger::Event;
use sshchurn_core::vocabulary::CleanupResult;
use sshchurn_engine::clock::RunClock;
use sshchurn_engine::collector::Collector;
use sshchurn_engine::{Engine, StopController, plan_rounds};
use sshchurn_server::{RunningServer, ServerChoice, ServerOptions, ServerRequest, start};

const WITHIN: Duration = Duration::from_secs(60);

/// Names of the job directories, by `ls` in the container or on this machine.
fn listed_by_hand(choice: ServerChoice, target: &RunningServer) -> Vec<String> {
    let jobs = &target.description().jobs_directory;
    let output = if choice == ServerChoice::Docker {
        let owned = format!("label=sshchurn.run={RUN}");
        let id = Command::new("docker")
            .args(["ps", "-q", "--filter", &owned])
            .output()
            .unwrap();
        let id = String::from_utf8_lossy(&id.stdout).trim().to_owned();
        Command::new("docker")
            .args(["exec", &id, "ls", "-A1", jobs])
            .output()
            .unwrap()
    } else {
        Command::new("ls").args(["-A1", jobs]).output().unwrap()
    };
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

const RUN: &str = "leftovers-test";

on_each_kind!(leftovers_of_both_strategies_equal_a_listing_made_by_hand);

fn leftovers_of_both_strategies_equal_a_listing_made_by_hand(kind: Kind) {
    tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(compare_with_a_listing(match kind {
            Kind::Local => ServerChoice::Local,
            Kind::Docker => ServerChoice::Docker,
        }));
}

async fn compare_with_a_listing(choice: ServerChoice) {
    let (mut scenario, _) = SCENARIOS.resolve("orphans").unwrap();
    // With a limit of three, a slow server lets few tasks submit, by chance none of the scenario's fifth.
    scenario.job.killed_share = 0.8;
    let mut left = 0;
    let request = ServerRequest {
        sshd: scenario.sshd.clone(),
        run_id: RUN.to_owned(),
        ready_within: WITHIN,
    };
    let target = start(choice, &request, &ServerOptions::new(RECIPE), &|text| {
        eprintln!("{text}")
    })
    .await
    .unwrap();
    let endpoint = target.endpoint();
    let connector = endpoint.connector();
    for plan in plan_rounds(&scenario) {
        target.clear_jobs().await.unwrap();
        let (sender, receiver) = mpsc::channel();
        let collector = Collector::new(RunClock::start(), sender);
        let (_stop, signal) = StopController::new();
        let jobs = target.description().jobs_directory.clone();
        let engine = Engine::new(scenario.clone(), jobs, collector.clone(), signal);
        engine
            .run_round(&plan, || connector.for_another_task())
            .await;
        collector.finish();
        target.wait_idle(WITHIN).await.unwrap();

        let by_hand = listed_by_hand(choice, &target);
        let by_target: Vec<String> = target
            .job_directories()
            .await
            .unwrap()
            .unwrap()
            .into_iter()
            .map(|found| found.name)
            .collect();
        assert_eq!(by_hand, by_target, "{choice:?} {}", plan.strategy.name);
        left += by_hand.len();

        // Each is a task's, was to be removed, and was not.
        let (mut names, mut ends) = (BTreeMap::<String, TaskId>::new(), BTreeMap::new());
        for record in receiver {
            match record.event {
                Event::TaskScheduled { task, job_id, .. } => {
                    names.insert(job_id, task);
                }
                Event::TaskEnded {
                    task,
                    removal_required,
                    cleanup,
                    ..
                } => {
                    ends.insert(task, (removal_required, cleanup));
                }
                _ => {}
            }
        }
        for name in &by_hand {
            let (required, cleanup) = ends[&names[name]];
            assert!(
                required && cleanup != CleanupResult::Removed,
                "{name}: {cleanup:?}"
            );
        }
    }
    assert!(left > 0, "the scenario leaves directories behind");
    target.stop().await.unwrap();
}
