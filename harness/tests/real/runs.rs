//! The real binary on real sshds: the machine's own, and one in a container.

use std::process::Command;
use std::time::Duration;

use crate::driver::{
    self, Finished, books_balance, count, missed_ports, nothing_is_left, run, sshchurn, strategy,
    take_lines, temporary, wait_until,
};
use crate::log_follow::Stopped;
use crate::machine::{Kind, on_each_kind};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Starting a container may mean building its image first.
const STARTED: Duration = Duration::from_secs(240);
const SOON: Duration = Duration::from_secs(60);
/// How long sshd may take to log a connection that it has before it.
const UNREAD: Duration = Duration::from_millis(100);
/// Looks for a connection that is under way.
const TRIES: u32 = 100;

on_each_kind!(
    open_gates_makes_exactly_the_promised_connections_by_the_ledger_and_by_sshds_log,
    old_strategy_meets_more_refusals_and_lines_taken_out_of_sshds_log_are_missed_by_their_ports,
    refused_channels_spend_the_reconnect_budget_on_a_real_sshd,
    sshd_killed_in_the_middle_of_a_run_ends_it_with_a_clear_message,
    second_client_of_a_real_sshd_is_unbalanced_and_the_cause_is_said,
    log_of_a_real_sshd_emptied_in_the_middle_of_a_run_is_unbalanced_and_the_cause_is_said,
    check_config_agrees_with_a_real_sshd_and_catches_a_wrong_expectation,
    failed_start_says_why_in_sshds_words_and_leaves_its_directory_free_for_another_try,
    interrupts_in_every_phase_leave_nothing_behind,
    harness_killed_outright_leaves_nothing_that_the_next_run_does_not_remove,
);

fn on(target: &str, args: &[&str]) -> (tempfile::TempDir, Finished) {
    let directory = tempfile::tempdir().unwrap();
    let finished = run(directory.path(), &[args, &["--target", target]].concat());
    (directory, finished)
}

/// Starts a run that is far from its end whenever a test has a look at it.
fn many_rounds(directory: &std::path::Path, target: &str) -> driver::Running {
    driver::start(directory, &["smoke", "--rounds", "30", "--target", target])
}

/// Containers of this program, running or not.
fn containers() -> Vec<String> {
    let listed = Command::new("docker")
        .args(["ps", "-aq", "--filter", "label=sshchurn.owner"])
        .output()
        .unwrap();
    String::from_utf8_lossy(&listed.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Per round: what client and sshd counted of the same thing.
fn rounds(report: &serde_json::Value, name: &str) -> Vec<(u64, u64, u64, u64, u64)> {
    strategy(report, name)["per_round"]
        .as_array()
        .unwrap()
        .iter()
        .map(|round| {
            let numbers = &round["numbers"];
            (
                count(&numbers["total"], "attempts"),
                count(&numbers["total"], "banner_eof"),
                numbers["server"]["server_drops"].as_u64().unwrap(),
                count(&numbers["total"], "handshakes"),
                numbers["server"]["server_accepted"].as_u64().unwrap(),
            )
        })
        .collect()
}

fn open_gates_makes_exactly_the_promised_connections_by_the_ledger_and_by_sshds_log(kind: Kind) {
    let target = kind.as_str();
    let (_directory, finished) = on(target, &["open-gates", "--time-scale", "0.1"]);
    let report = finished.code(0).report();
    books_balance(&report);
    let reused = &strategy(&report, "reused-session")["totals"];
    assert_eq!(reused["total"]["handshakes_per_task"]["min"], 3, "{target}");
    assert_eq!(reused["total"]["handshakes_per_task"]["max"], 3, "{target}");
    let old = &strategy(&report, "per-command")["totals"];
    assert_eq!(count(&old["phases"]["submit"], "handshakes"), 60);
    assert_eq!(count(&old["phases"]["cleanup"], "handshakes"), 30);
    assert_eq!(
        count(&old["phases"]["poll"], "handshakes"),
        count(&old["phases"]["poll"], "commands")
    );
    for name in ["reused-session", "per-command"] {
        for (attempts, refusals, drops, handshakes, accepted) in rounds(&report, name) {
            assert_eq!(
                (attempts, refusals, drops),
                (handshakes, 0, 0),
                "{target} {name}"
            );
            assert_eq!(handshakes, accepted, "{target} {name}");
        }
        assert_eq!(
            strategy(&report, name)["totals"]["leftovers"]["leftover_dirs"],
            0
        );
    }
}

fn old_strategy_meets_more_refusals_and_lines_taken_out_of_sshds_log_are_missed_by_their_ports(
    kind: Kind,
) {
    let target = kind.as_str();
    // The default scenario with one round of each, waits shrunk: the counts, not the times, are what is checked.
    let (_directory, finished) = on(
        target,
        &["airflow-68115", "--rounds", "1", "--time-scale", "0.5"],
    );
    let finished = finished.code(0);
    let report = finished.report();
    books_balance(&report);
    let (old, new) = (
        rounds(&report, "per-command"),
        rounds(&report, "reused-session"),
    );
    for (old, new) in old.iter().zip(&new) {
        assert!(old.0 > new.0, "{target}: attempts {} and {}", old.0, new.0);
        assert!(old.1 > new.1, "{target}: refusals {} and {}", old.1, new.1);
        for (_, refusals, drops, handshakes, accepted) in [old, new] {
            assert_eq!((refusals, handshakes), (drops, accepted), "{target}");
        }
    }
    // The same run once more, with a log that lost some lines.
    let taken = take_lines(&finished.directory, 20);
    sshchurn(&["report", &finished.directory.display().to_string()]).code(3);
    assert_eq!(missed_ports(&finished.report()), taken, "{target}");
}

fn refused_channels_spend_the_reconnect_budget_on_a_real_sshd(kind: Kind) {
    let target = kind.as_str();
    let (_directory, finished) = on(target, &["max-sessions", "--time-scale", "0.03"]);
    let report = finished.code(0).report();
    let reused = &strategy(&report, "reused-session")["totals"];
    assert_eq!(
        count(&reused["phases"]["poll"], "channel_refused"),
        120,
        "{target}"
    );
}

fn sshd_killed_in_the_middle_of_a_run_ends_it_with_a_clear_message(kind: Kind) {
    let target = kind.as_str();
    let directory = tempfile::tempdir().unwrap();
    let mut running = many_rounds(directory.path(), target);
    running.wait_for("round 1/", STARTED);
    kill(
        Pid::from_raw(listener_below(running.pid(), kind)),
        Signal::SIGKILL,
    )
    .unwrap();
    let finished = running.finish(SOON).code(4);
    assert!(
        finished.stderr.contains("the server under test died"),
        "{}",
        finished.stderr
    );
    assert_eq!(finished.report()["run_end"], "server_lost");
    nothing_is_left(directory.path());
    assert_eq!(containers(), Vec::<String>::new());
}

/// Pid of the listening sshd of a running harness.
fn listener_below(harness: i32, kind: Kind) -> i32 {
    let ancestors: Vec<i32> = if kind == Kind::Local {
        vec![harness]
    } else {
        let id = Command::new("docker")
            .args(["ps", "-q", "--filter", "label=sshchurn.owner"])
            .output()
            .unwrap();
        let id = String::from_utf8_lossy(&id.stdout).trim().to_owned();
        let pid = Command::new("docker")
            .args(["inspect", "-f", "{{.State.Pid}}", &id])
            .output()
            .unwrap();
        vec![String::from_utf8_lossy(&pid.stdout).trim().parse().unwrap()]
    };
    let table: Vec<(i32, i32, String)> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let (head, tail) = stat.rsplit_once(')')?;
            let (pid, name) = head.split_once(" (")?;
            Some((
                pid.parse().ok()?,
                tail.split_whitespace().nth(1)?.parse().ok()?,
                name.to_owned(),
            ))
        })
        .collect();
    let mut below = ancestors;
    let mut next = 0;
    while next < below.len() {
        for (pid, parent, name) in &table {
            if *parent == below[next] {
                if name == "sshd" {
                    return *pid;
                }
                below.push(*pid);
            }
        }
        next += 1;
    }
    panic!("no sshd below {below:?}");
}

fn second_client_of_a_real_sshd_is_unbalanced_and_the_cause_is_said(kind: Kind) {
    let target = kind.as_str();
    let directory = tempfile::tempdir().unwrap();
    let mut running = driver::start(
        directory.path(),
        &[
            "smoke",
            "--strategy",
            "reused-session",
            "--target",
            target,
            "-v",
        ],
    );
    driver::stranger(&mut running, STARTED);
    let finished = running.finish(SOON).code(3);
    assert!(
        finished.stdout.contains("another client uses this server"),
        "{target}: {}",
        finished.stdout
    );
    let report = finished.report();
    let books = &report["strategies"][0]["per_round"][0]["reconciliation"]["connections"];
    assert!(books["server_only"].as_u64().unwrap() > 0, "{books:#}");
}

fn log_of_a_real_sshd_emptied_in_the_middle_of_a_run_is_unbalanced_and_the_cause_is_said(
    kind: Kind,
) {
    let target = kind.as_str();
    let directory = tempfile::tempdir().unwrap();
    let fan_out = [
        "airflow-68115",
        "-n",
        "60",
        "--rounds",
        "2",
        "--time-scale",
        "0.5",
    ];
    let mut running = driver::start(
        directory.path(),
        &[&fan_out[..], &["--target", target]].concat(),
    );
    // More has been read of it than the round under way will write, and more rounds are to come.
    running.wait_for("round 2/", STARTED);
    empty_unread_log(directory.path(), kind, running.pid());
    let finished = running.finish(STARTED).code(3);
    for words in ["FAILED", "client only", "does not go on after"] {
        assert!(
            finished.stdout.contains(words),
            "{target} {words}: {}",
            finished.stdout
        );
    }
}

/// Empties sshd's log where sshd writes it, while a connection is in it that the harness has not read of. The log is read
/// as it is written, so the harness stands still for that, and sshd goes on with what is under way.
fn empty_unread_log(directory: &std::path::Path, kind: Kind, harness: i32) {
    let folder = temporary(directory, &format!("sshchurn-{}-", kind.as_str()))
        .pop()
        .unwrap();
    let log = directory.join(folder).join("sshd.log");
    let written = || std::fs::read(&log).unwrap();
    let connection_after = |offset: usize| {
        let log = written();
        let text = String::from_utf8_lossy(&log[offset..]);
        text.contains("Connection from") || text.contains("drop connection")
    };
    for _ in 0..TRIES {
        let length = written().len();
        wait_until(SOON, "sshd logs a connection", || connection_after(length));
        let _stopped = Stopped::new(harness);
        let length = written().len();
        if driver::comes_true(UNREAD, || connection_after(length)) {
            std::fs::File::create(&log).unwrap();
            return;
        }
    }
    panic!("no connection was under way in {TRIES} looks");
}

fn check_config_agrees_with_a_real_sshd_and_catches_a_wrong_expectation(kind: Kind) {
    let target = kind.as_str();
    let directory = tempfile::tempdir().unwrap();
    let check = |name: &str, more: &[&str]| {
        let out = directory.path().join(name).display().to_string();
        let arguments = [
            "check-config",
            "--target",
            target,
            "--out",
            &out,
            "--climbs",
            "2",
            "--max-startups",
            "5:100:10",
        ];
        sshchurn(&[&arguments[..], more].concat())
    };
    let agreed = check("agreed", &[]).code(0);
    for words in ["effective (sshd -T)          5:100:10", "Verdict: AGREES"] {
        assert!(agreed.stdout.contains(words), "{target}: {}", agreed.stdout);
    }
    let wrong = check("wrong", &["--expect", "8:100:10"]).code(1);
    assert!(
        wrong.stdout.contains("Verdict: DIFFERS"),
        "{target}: {}",
        wrong.stdout
    );
}

fn failed_start_says_why_in_sshds_words_and_leaves_its_directory_free_for_another_try(kind: Kind) {
    let target = kind.as_str();
    let directory = tempfile::tempdir().unwrap();
    for (option, words) in [
        ("NoSuchKeyword=1", "NoSuchKeyword"),
        // A server that runs, and lets nobody in.
        ("AllowUsers=somebody-else", "somebody-else"),
    ] {
        let failed = run(
            directory.path(),
            &["smoke", "--target", target, "--sshd-option", option],
        )
        .code(4);
        let lists_users = failed.stderr.contains("not listed in AllowUsers");
        assert!(
            failed.stderr.contains(words) || lists_users,
            "{target}: {}",
            failed.stderr
        );
        assert!(!failed.directory.exists(), "{target}");
    }
    let quick = ["smoke", "--target", target, "--time-scale", "0.02"];
    run(directory.path(), &quick).code(0);
    nothing_is_left(directory.path());
}

#[test]
fn temporary_folder_may_have_a_space_in_its_name() {
    let Some(_alone) = Kind::Local.alone() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let spaced = directory.path().join("with space 100%");
    std::fs::create_dir(&spaced).unwrap();
    // Nobody is refused, so that every task succeeds.
    let roomy = ["smoke", "--target", "local", "--max-startups", "100:30:200"];
    let report = run(&spaced, &roomy).code(0).report();
    books_balance(&report);
    for name in ["per-command", "reused-session"] {
        assert_eq!(
            strategy(&report, name)["totals"]["tasks"]["tasks_succeeded"],
            12
        );
    }
    nothing_is_left(&spaced);
}

fn interrupts_in_every_phase_leave_nothing_behind(kind: Kind) {
    let target = kind.as_str();
    // Before the target is up, as soon as it is, and between rounds.
    for moment in ["scenario ", "target:", "round 1/"] {
        let directory = tempfile::tempdir().unwrap();
        let mut running = many_rounds(directory.path(), target);
        running.signal_at(moment, STARTED, Signal::SIGINT);
        running.finish(SOON).code(130);
        nothing_is_left(directory.path());
        assert_eq!(containers(), Vec::<String>::new(), "{target} {moment}");
    }
}

fn harness_killed_outright_leaves_nothing_that_the_next_run_does_not_remove(kind: Kind) {
    let target = kind.as_str();
    let directory = tempfile::tempdir().unwrap();
    let mut running = many_rounds(directory.path(), target);
    running.signal_at("round 1/", STARTED, Signal::SIGKILL);
    assert_eq!(running.finish(SOON).code, None);
    if kind == Kind::Local {
        // Its supervisor ends sshd and removes the folder by itself.
        wait_until(SOON, "the supervisor's work", || {
            temporary(directory.path(), "sshchurn-").is_empty()
        });
    } else {
        assert_eq!(containers().len(), 1);
    }
    driver::start_as(
        directory.path(),
        "again",
        &["smoke", "--time-scale", "0.02", "--target", target],
    )
    .finish(STARTED);
    nothing_is_left(directory.path());
    assert_eq!(containers(), Vec::<String>::new());
}

#[test]
fn published_port_is_recorded_as_a_proxy_and_its_books_balance_by_count() {
    let Some(_alone) = Kind::Docker.alone() else {
        return;
    };
    let (_directory, finished) = on(
        "docker",
        &[
            "smoke",
            "--network",
            "published",
            "--max-startups",
            "100:30:200",
        ],
    );
    let report = finished.code(0).report();
    assert_eq!(report["target"]["network_path"], "published_port");
    books_balance(&report);
}

#[test]
fn refusals_through_a_published_port_are_ends_without_a_reset_and_are_sshds() {
    let Some(_alone) = Kind::Docker.alone() else {
        return;
    };
    // start = full: no draw, every connection beyond the third is refused.
    let (_directory, finished) = on(
        "docker",
        &[
            "smoke",
            "-n",
            "24",
            "--network",
            "published",
            "--max-startups",
            "3:100:3",
            "--time-scale",
            "0.05",
        ],
    );
    let report = finished.code(0).report();
    books_balance(&report);
    for name in ["per-command", "reused-session"] {
        let totals = &strategy(&report, name)["totals"];
        let refused = count(&totals["total"], "banner_eof");
        assert!(refused > 0, "{name}");
        // The proxy closes in an orderly way whatever sshd did.
        assert_eq!(
            totals["total"]["banner_eof_split"]["eof"], refused,
            "{name}"
        );
        assert_eq!(totals["server"]["server_drops"], refused, "{name}");
    }
}
