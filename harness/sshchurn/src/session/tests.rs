//! Whole runs through the library on the stand-in: what is told, what is left in the directory, what an interrupt does.

use std::path::Path;
use std::sync::Mutex;

use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::ids::RunId;
use sshchurn_core::ledger::{Event, LedgerReader, RoundEnd, RunEnd};
use sshchurn_server::{ServerChoice, ServerOptions};
use tokio::sync::mpsc;

use super::simulate::Simulation;
use super::*;
use crate::shipped::{RECIPE, SCENARIOS};

/// A quick run on the stand-in in which nobody is refused.
fn order(folder: &Path) -> RunOrder {
    let (mut scenario, origin) = SCENARIOS.resolve("smoke").expect("shipped");
    scenario.rounds = 1;
    scenario.sshd.max_startups = "100:30:200".parse().expect("valid");
    RunOrder {
        scenario,
        origin,
        server: ServerChoice::Embedded,
        options: ServerOptions::new(RECIPE),
        simulation: Simulation::assumed(),
        run_id: RunId("session-test".to_owned()),
        directory: RunDirectory::create(Some(&folder.join("run")), "run").expect("made"),
        findings: Vec::new(),
        baseline: None,
    }
}

/// One letter for each kind of notice, in order.
fn told(log: &NoticeLog) -> String {
    log.notices()
        .iter()
        .map(|notice| match notice {
            Notice::ScenarioBegins { .. } => 'b',
            Notice::ServerBeingMade(_) => 'm',
            Notice::ServerReady(_) => 's',
            Notice::Warning(_) => 'w',
            Notice::RoundStarted { .. } => '(',
            Notice::RoundEnded { .. } => ')',
            Notice::RoundRecorded { .. } => '.',
            Notice::ClimbEnded { .. } => 'c',
            Notice::ServerLost(_) => 'l',
            Notice::LedgerLost => 'x',
            Notice::SweepRunStarted { .. } => '<',
            Notice::SweepRunEnded(_) => '>',
            Notice::Interrupted(_) => '!',
            Notice::ReportGivenUp(_) => 'g',
        })
        .filter(|letter| *letter != 'w')
        .collect()
}

/// What can be made again from the ledger at any time.
fn rendered() -> impl Iterator<Item = &'static str> {
    let forms = sshchurn_report::format::RUN.iter();
    let others = [RunFile::ServerLog, RunFile::Latencies].map(RunFile::name);
    forms.filter_map(|form| form.file).chain(others)
}

#[tokio::test(flavor = "multi_thread")]
async fn run_tells_its_rounds_and_leaves_every_file_and_the_log_is_what_the_ledger_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let (order, log) = (order(folder.path()), NoticeLog::default());
    let concluded = order.run(&Interrupts::none(), &log).await;
    let concluded = concluded.expect("no error").expect("a report");
    assert!(concluded.problems.is_empty(), "{:?}", concluded.problems);
    assert_eq!(concluded.report.run_end, Some(RunEnd::Complete));
    assert_eq!(told(&log), "bs().().");
    for notice in log.notices() {
        if let Notice::RoundEnded {
            title, counts, end, ..
        } = notice
        {
            assert_eq!(end, RoundEnd::Complete);
            assert_eq!(counts.tasks_succeeded, u64::from(title.tasks));
        }
    }
    let recorded = RunFile::RECORDED.into_iter().map(RunFile::name);
    let mut expected: Vec<&str> = recorded.chain(rendered()).collect();
    expected.sort_unstable();
    assert_eq!(names(order.directory.path()), expected);

    let ledger = LedgerReader::open(&order.directory.file(RunFile::Ledger)).expect("a ledger");
    let logged: String = ledger
        .filter_map(|record| match record.expect("readable").event {
            Event::ServerLogged { line } => Some(line + "\n"),
            _ => None,
        })
        .collect();
    assert!(logged.lines().count() > 10, "{logged}");
    let exported = std::fs::read_to_string(order.directory.file(RunFile::ServerLog));
    assert_eq!(exported.expect("written"), logged);
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_run_is_reported_whatever_file_could_not_be_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let order = order(folder.path());
    // No file takes the name of a folder.
    let in_the_way = ["report.html", RunFile::ServerLog.name()];
    let path = |file: &str| order.directory.path().join(file);
    for file in in_the_way {
        std::fs::create_dir(path(file)).expect("made");
    }
    let concluded = order.run(&Interrupts::none(), &NoticeLog::default()).await;
    let concluded = concluded.expect("no error").expect("a report");
    let told: Vec<String> = concluded.problems.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), in_the_way.len(), "{told:?}");
    for file in in_the_way {
        assert!(told.iter().any(|text| text.contains(file)), "{told:?}");
    }
    assert_eq!(concluded.exit(), ExitCode::Environment);
    assert!(!concluded.report.strategies.is_empty());
    for file in rendered() {
        let written = !in_the_way.contains(&file);
        assert_eq!(path(file).is_file(), written, "{file}");
    }
    // What is missing can be had later, and is the same.
    for file in in_the_way {
        std::fs::remove_dir(path(file)).expect("removed");
    }
    let directory = RunDirectory::open(order.directory.path()).expect("a run");
    let interrupts = Interrupts::none();
    interrupts.enter(Stage::Closing);
    let again = conclude(&directory, None, &interrupts, &NoticeLog::default()).await;
    let again = again.expect("no error").expect("a report");
    assert!(again.problems.is_empty());
    assert_eq!(again.report, concluded.report);
    assert!(path("report.html").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupt_in_the_first_round_drains_it_and_the_partial_run_is_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let order = order(folder.path());
    let (sender, signals) = mpsc::unbounded_channel();
    let (answers, log) = (NoticeLog::default(), NoticeLog::default());
    let interrupts = Interrupts::listen(signals, answers.clone());
    let sender = Mutex::new(Some(sender));
    let observer = |notice: Notice| {
        if let Notice::RoundStarted { .. } = notice
            && let Some(sender) = sender.lock().expect("not poisoned").take()
        {
            sender.send(Signal::Interrupt).expect("listening");
        }
        log.notice(notice);
    };
    let concluded = order.run(&interrupts, &observer).await;
    let report = concluded.expect("no error").expect("a report").report;
    assert_eq!(report.run_end, Some(RunEnd::Interrupted));
    assert_eq!(report.exit, ExitCode::Interrupted);
    assert!(interrupts.requested());
    assert_eq!(told(&log), "bs().");
    assert_eq!(told(&answers), "!");
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupt_before_the_server_is_ready_leaves_no_directory() {
    let folder = tempfile::tempdir().expect("a folder");
    let order = order(folder.path());
    let (sender, signals) = mpsc::unbounded_channel();
    let (answer, mut answered) = mpsc::unbounded_channel();
    let interrupts = Interrupts::listen(signals, move |notice: Notice| {
        // Nobody may wait for it any more.
        let _ = answer.send(told_ending(&notice));
    });
    sender.send(Signal::Terminate).expect("listening");
    assert_eq!(answered.recv().await, Some(true));
    let log = NoticeLog::default();
    let concluded = order.run(&interrupts, &log).await;
    assert!(concluded.expect("no error").is_none());
    assert_eq!(told(&log), "b");
    assert!(!order.directory.path().exists());
}

fn told_ending(notice: &Notice) -> bool {
    matches!(notice, Notice::Interrupted(SignalAnswer::EndsWithoutReport))
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("readable")
        .map(|entry| {
            entry
                .expect("readable")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort_unstable();
    names
}
