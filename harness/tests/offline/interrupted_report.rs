//! Signals after the last round, with the real binary. The ledger in the run directory is replaced by a FIFO, so that
//! the process provably waits while it computes its report: a FIFO can be opened for writing without waiting only once
//! somebody is opening it for reading.

use std::cell::OnceCell;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::driver::{
    self, Finished, Running, books_balance, nothing_is_left, run, sshchurn, wait_until,
};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

const SOON: Duration = Duration::from_secs(60);
const LEDGER: &str = "events.jsonl.zst";
/// What the first signal is answered with.
const ANSWER: &str = "still writing the report";
const QUICK: [&str; 7] = [
    "smoke",
    "--rounds",
    "1",
    "--target",
    "embedded",
    "--max-startups",
    "100:30:200",
];

/// A run directory whose ledger can be held back.
struct Held {
    run: PathBuf,
    ledger: PathBuf,
}

impl Held {
    /// Takes the ledger away and leaves a FIFO in its place.
    fn new(run: &Path) -> Self {
        let ledger = run.with_extension("ledger");
        std::fs::rename(run.join(LEDGER), &ledger).unwrap();
        nix::unistd::mkfifo(&run.join(LEDGER), Mode::from_bits_truncate(0o600)).unwrap();
        Held {
            run: run.to_path_buf(),
            ledger,
        }
    }

    /// Waits until somebody opens the ledger for reading, which is then waiting for what is written here.
    fn reader(&self) -> File {
        let fifo = OnceCell::new();
        wait_until(SOON, "a reader of the ledger", || {
            OpenOptions::new()
                .write(true)
                .custom_flags(OFlag::O_NONBLOCK.bits())
                .open(self.run.join(LEDGER))
                .is_ok_and(|opened| fifo.set(opened).is_ok())
        });
        let fifo = fifo.into_inner().unwrap();
        fcntl(&fifo, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
        fifo
    }

    /// Gives the ledger to the reader.
    fn release(&self, mut fifo: File) {
        fifo.write_all(&std::fs::read(&self.ledger).unwrap())
            .unwrap();
    }

    /// Puts the ledger back.
    fn restore(&self) {
        std::fs::rename(&self.ledger, self.run.join(LEDGER)).unwrap();
    }

    /// Names in the run directory.
    fn files(&self) -> Vec<String> {
        driver::temporary(&self.run, "")
    }
}

/// A run whose report cannot be computed until its ledger is given back.
fn held_run(directory: &Path, args: &[&str]) -> (Running, Held) {
    let mut running = driver::start(directory, &[&QUICK, args].concat());
    running.wait_for("target:", SOON);
    let held = Held::new(&running.directory);
    (running, held)
}

/// `sshchurn report RUNDIR` in the background.
fn report_in_background(run: &Path) -> Running {
    let mut command = Command::new(driver::binary());
    command.arg("report").arg(run);
    driver::start_command(command, run.to_path_buf())
}

/// `sshchurn report RUNDIR` to its end.
fn report_again(run: &Path) -> Finished {
    sshchurn(&["report", &run.display().to_string(), "--format", "json"])
}

/// Asserts that nothing of a report is in a run directory, not even a part under another name.
#[track_caller]
fn no_report(held: &Held) {
    let mut files = held.files();
    files.sort_unstable();
    assert_eq!(files, [LEDGER, "sshd_config"]);
}

#[test]
fn one_signal_while_a_run_computes_its_report_changes_nothing() {
    let cases = [
        (Signal::SIGINT, "per-command.handshakes > 10", 0),
        (Signal::SIGTERM, "per-command.handshakes < 10", 1),
        (Signal::SIGHUP, "per-command.refusal.p99 < 1s", 3),
    ];
    // The runs at once, since they are mostly waits.
    let started = cases.map(|(signal, threshold, code)| {
        let directory = tempfile::tempdir().unwrap();
        let (running, held) = held_run(directory.path(), &["--threshold", threshold]);
        (directory, running, held, signal, code)
    });
    for (directory, mut running, held, signal, code) in started {
        let fifo = held.reader();
        no_report(&held);
        running.signal(signal);
        running.wait_for(ANSWER, SOON);
        held.release(fifo);
        let finished = running.finish(SOON).code(code);
        assert!(finished.stdout.contains("Verdict"), "{}", finished.stdout);
        let report = finished.report();
        assert_eq!(report["run_end"], "complete");
        books_balance(&report);
        nothing_is_left(directory.path());
        held.restore();
        let written = std::fs::read_to_string(held.run.join("report.json")).unwrap();
        assert_eq!(report_again(&held.run).code(code).stdout, written);
    }
}

#[test]
fn second_signal_gives_the_report_up_and_says_how_to_have_it_later() {
    let directory = tempfile::tempdir().unwrap();
    let (mut running, held) = held_run(directory.path(), &[]);
    let _fifo = held.reader();
    running.signal(Signal::SIGINT);
    running.signal_at(ANSWER, SOON, Signal::SIGINT);
    let finished = running.finish(SOON).code(130);
    assert!(
        finished.stderr.contains("`sshchurn report "),
        "{}",
        finished.stderr
    );
    no_report(&held);
    nothing_is_left(directory.path());
    held.restore();
    let again = report_again(&held.run).code(0);
    assert_eq!(again.stdout.lines().last(), Some("}"));
}

#[test]
fn signal_between_the_last_round_and_the_report_does_not_make_the_run_an_interrupted_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = driver::start(directory.path(), &QUICK);
    running.signal_at("round 2/2", SOON, Signal::SIGINT);
    let finished = running.finish(SOON).code(0);
    assert_eq!(finished.report()["run_end"], "complete");
    nothing_is_left(directory.path());
}

#[test]
fn signals_while_report_works_do_what_they_do_to_a_run() {
    let directory = tempfile::tempdir().unwrap();
    let finished = run(directory.path(), &QUICK).code(0);
    let report = finished.directory.join("report.json");
    let written = std::fs::read(&report).unwrap();
    let held = Held::new(&finished.directory);

    std::fs::remove_file(&report).unwrap();
    let mut running = report_in_background(&held.run);
    let fifo = held.reader();
    running.signal(Signal::SIGINT);
    running.wait_for(ANSWER, SOON);
    held.release(fifo);
    running.finish(SOON).code(0);
    assert_eq!(std::fs::read(&report).unwrap(), written);

    std::fs::write(&report, "an older report").unwrap();
    let mut running = report_in_background(&held.run);
    let _fifo = held.reader();
    running.signal(Signal::SIGINT);
    running.signal_at(ANSWER, SOON, Signal::SIGTERM);
    running.finish(SOON).code(130);
    assert_eq!(std::fs::read(&report).unwrap(), b"an older report");
}

#[test]
fn process_killed_while_it_computes_its_report_leaves_no_half_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let (running, held) = held_run(directory.path(), &[]);
    let fifo = held.reader();
    running.signal(Signal::SIGKILL);
    assert_eq!(running.finish(SOON).code, None);
    drop(fifo);
    no_report(&held);
    nothing_is_left(directory.path());

    let running = report_in_background(&held.run);
    let fifo = held.reader();
    running.signal(Signal::SIGKILL);
    assert_eq!(running.finish(SOON).code, None);
    drop(fifo);
    no_report(&held);

    held.restore();
    let again = report_again(&held.run).code(0);
    let written = std::fs::read_to_string(held.run.join("report.json")).unwrap();
    assert_eq!(again.stdout, written);
    let report: serde_json::Value = serde_json::from_str(&written).unwrap();
    assert_eq!(report["run_end"], "complete");
    books_balance(&report);
}

#[test]
fn process_whose_output_nobody_takes_can_be_interrupted_and_has_written_its_report() {
    /// What a pipe holds before its writer waits (pipe(7)).
    const PIPE_BYTES: usize = 64 * 1024;
    let directory = tempfile::tempdir().unwrap();
    let mut running = driver::start(
        directory.path(),
        &[&QUICK[..], &["--format", "json"]].concat(),
    );
    wait_until(SOON, "the report", || {
        running.directory.join("report.json").exists()
    });
    running.signal(Signal::SIGINT);
    running.signal_at(ANSWER, SOON, Signal::SIGINT);
    let stat = format!("/proc/{}/stat", running.pid());
    wait_until(SOON, "its end", || {
        std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") Z "))
    });
    let finished = running.finish(SOON).code(130);
    let written = std::fs::read(finished.directory.join("report.json")).unwrap();
    assert!(written.len() > PIPE_BYTES, "{}", written.len());
    assert_eq!(finished.report()["run_end"], "complete");
    nothing_is_left(directory.path());
}
