//! Leftover directories against a listing made by hand, on the machine's own sshd and in a container.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;

use crate::machine::{Kind, on_each_kind};
use sshchurn::session::simulate::Simulation;
use sshchurn::session::{Interrupts, Notice, RunDirectory, RunFile, RunOrder, SessionError};
use sshchurn::shipped::{RECIPE, SCENARIOS};
use sshchurn_core::ids::{RoundId, RunId, TaskId};
use sshchurn_core::ledger::{Event, LedgerReader};
use sshchurn_core::vocabulary::CleanupResult;
use sshchurn_server::{ServerChoice, ServerOptions};

const RUN: &str = "leftovers-test";

/// Names of the job directories, by `ls` in the container or on this machine.
fn listed_by_hand(server: ServerChoice, jobs: &str) -> Vec<String> {
    let output = if server == ServerChoice::Docker {
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

/// Runs the scenario on a server and lists by hand after each round, before the next clears what is there.
async fn run_and_list(order: &RunOrder) -> Result<BTreeMap<RoundId, Vec<String>>, SessionError> {
    let jobs = Mutex::new(String::new());
    let listings = Mutex::new(BTreeMap::new());
    let observer = |notice: Notice| match notice {
        Notice::ServerReady(server) => *jobs.lock().unwrap() = server.jobs_directory,
        Notice::RoundRecorded { title } => {
            let by_hand = listed_by_hand(order.server, &jobs.lock().unwrap());
            listings.lock().unwrap().insert(title.round, by_hand);
        }
        Notice::ScenarioBegins { .. }
        | Notice::ServerBeingMade(_)
        | Notice::Warning(_)
        | Notice::RoundStarted { .. }
        | Notice::RoundEnded { .. }
        | Notice::ServerLost(_)
        | Notice::LedgerLost
        | Notice::SweepRunStarted { .. }
        | Notice::SweepRunEnded(_)
        | Notice::Interrupted(_)
        | Notice::ClimbEnded { .. }
        | Notice::ReportGivenUp(_) => {}
    };
    let concluded = order.run(&Interrupts::none(), &observer).await?.unwrap();
    assert!(concluded.problems.is_empty(), "{:?}", concluded.problems);
    Ok(listings.into_inner().unwrap())
}

/// What the ledger says of one round.
#[derive(Default)]
struct Recorded {
    found: Vec<String>,
    tasks: BTreeMap<String, TaskId>,
    ends: BTreeMap<TaskId, (bool, CleanupResult)>,
}

fn recorded(directory: &RunDirectory) -> BTreeMap<RoundId, Recorded> {
    let mut rounds = BTreeMap::<RoundId, Recorded>::new();
    for record in LedgerReader::open(&directory.file(RunFile::Ledger)).unwrap() {
        match record.unwrap().event {
            Event::TaskScheduled {
                round,
                task,
                job_id,
                ..
            } => {
                rounds.entry(round).or_default().tasks.insert(job_id, task);
            }
            Event::TaskEnded {
                round,
                task,
                removal_required,
                cleanup,
                ..
            } => {
                let end = (removal_required, cleanup);
                rounds.entry(round).or_default().ends.insert(task, end);
            }
            Event::DirectoryFound { round, name } => {
                rounds.entry(round).or_default().found.push(name);
            }
            _ => {}
        }
    }
    rounds
}

on_each_kind!(leftovers_of_both_strategies_equal_a_listing_made_by_hand);

fn leftovers_of_both_strategies_equal_a_listing_made_by_hand(kind: Kind) {
    let server = match kind {
        Kind::Local => ServerChoice::Local,
        Kind::Docker => ServerChoice::Docker,
    };
    let folder = tempfile::tempdir().unwrap();
    let (mut scenario, origin) = SCENARIOS.resolve("orphans").unwrap();
    // With a limit of three, a slow server lets few tasks submit, by chance none of the scenario's fifth.
    scenario.job.killed_share = 0.8;
    let rounds = scenario.rounds as usize * scenario.strategies.len();
    let order = RunOrder {
        scenario,
        origin,
        server,
        options: ServerOptions::new(RECIPE),
        simulation: Simulation::assumed(),
        run_id: RunId(RUN.to_owned()),
        directory: RunDirectory::create(Some(folder.path()), RUN).unwrap(),
        findings: Vec::new(),
        baseline: None,
    };
    let listings = tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(run_and_list(&order))
        .unwrap();
    let recorded = recorded(&order.directory);
    assert_eq!(listings.len(), rounds);
    for (round, by_hand) in &listings {
        let recorded = &recorded[round];
        assert_eq!(*by_hand, recorded.found, "{server:?} round {round}");
        assert!(
            !by_hand.is_empty(),
            "the scenario leaves directories behind"
        );
        // Each is a task's, was to be removed, and was not.
        for name in by_hand {
            let (required, cleanup) = recorded.ends[&recorded.tasks[name]];
            assert!(
                required && cleanup != CleanupResult::Removed,
                "{name}: {cleanup:?}"
            );
        }
    }
}
