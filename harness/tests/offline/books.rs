//! Runs whose books must not balance, and configurations that must not agree: the real binary on the embedded stand-in.

use std::path::Path;
use std::time::Duration;

use crate::driver::{self, keep_lines, missed_ports, run, sshchurn, start, take_lines};

const SOON: Duration = Duration::from_secs(60);

/// Takes the later half of the server's lines out of the ledger, as if they had never been read.
fn lose_the_end_of_the_log(run: &Path) {
    let mut lines = 0;
    keep_lines(run, |_| {
        lines += 1;
        true
    });
    let mut kept = lines / 2;
    keep_lines(run, |_| {
        let keep = kept > 0;
        kept -= usize::from(keep);
        keep
    });
}

/// The negative control: what is taken out of the log is missed, and nothing else is.
#[test]
fn lines_taken_out_of_the_log_are_missed_by_their_ports() {
    let directory = tempfile::tempdir().unwrap();
    let finished = run(directory.path(), &["smoke", "--target", "embedded"]).code(0);
    let taken = take_lines(&finished.directory, 20);
    let again = sshchurn(&["report", &finished.directory.display().to_string()]).code(3);
    assert_eq!(missed_ports(&finished.report()), taken, "{}", again.stdout);
}

#[test]
fn a_log_that_was_cut_off_is_unbalanced_and_the_cause_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let finished = run(directory.path(), &["smoke", "--target", "embedded"]).code(0);
    lose_the_end_of_the_log(&finished.directory);
    let again = sshchurn(&["report", &finished.directory.display().to_string()]).code(3);
    assert!(again.stdout.contains("FAILED"), "{}", again.stdout);
    assert!(again.stdout.contains("cut off"), "{}", again.stdout);
    assert!(again.stdout.contains("client only"), "{}", again.stdout);
    assert_eq!(finished.report()["verdict"], "inconclusive");
}

#[test]
fn a_second_client_behind_the_harness_is_unbalanced_and_the_cause_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = start(
        directory.path(),
        &[
            "smoke",
            "--target",
            "embedded",
            "--strategy",
            "reused-session",
            "-v",
        ],
    );
    driver::stranger(&mut running, SOON);
    let finished = running.finish(SOON).code(3);
    assert!(finished.stdout.contains("FAILED"), "{}", finished.stdout);
    assert!(
        finished.stdout.contains("another client uses this server"),
        "{}",
        finished.stdout
    );
    let report = finished.report();
    let books = &report["strategies"][0]["per_round"][0]["reconciliation"]["connections"];
    assert!(books["server_only"].as_u64().unwrap() > 0, "{books:#}");
}

#[test]
fn check_config_agrees_with_what_the_server_does_and_catches_a_wrong_expectation() {
    let directory = tempfile::tempdir().unwrap();
    let check = |name: &str, more: &[&str]| {
        let out = directory.path().join(name).display().to_string();
        let arguments = ["check-config", "--target", "embedded", "--out", &out];
        sshchurn(&[&arguments[..], more].concat())
    };
    let small = ["--max-startups", "3:50:8", "--climbs", "20"];
    let agreed = check("agreed", &small).code(0);
    for words in [
        "effective (as told)          3:50:8",
        "Verdict: AGREES (exit 0): 20 of 20 climbs reached 8 slots in use",
    ] {
        assert!(agreed.stdout.contains(words), "{}", agreed.stdout);
    }
    // No sshd ran.
    assert!(!agreed.stdout.contains("sshd -T"), "{}", agreed.stdout);
    let wrong = check("wrong", &[&small[..], &["--expect", "5:50:12"]].concat()).code(1);
    assert!(
        wrong.stdout.contains("Verdict: DIFFERS"),
        "{}",
        wrong.stdout
    );
    check("hard", &["--max-startups", "5:100:10", "--climbs", "2"]).code(0);
    // It is what the server was told that decides, and not a test that happens to fit.
    let other = check(
        "other",
        &[
            "--max-startups",
            "5:30:20",
            "--climbs",
            "1",
            "--expect",
            "3:30:9",
        ],
    )
    .code(1);
    assert!(
        other
            .stdout
            .contains("DIFFERS (exit 1): the stand-in was told 5:30:20, where 3:30:9 is expected"),
        "{}",
        other.stdout
    );
    let external = sshchurn(&["check-config", "--target", "external"]).code(2);
    assert!(
        external
            .stderr
            .contains("[possible values: auto, docker, local, embedded]"),
        "{}",
        external.stderr
    );
    let typo = check("typo", &["--expect", "5"]).code(2);
    assert!(typo.stderr.contains("start:rate:full"), "{}", typo.stderr);
}

#[test]
fn climbs_that_log_in_at_their_end_are_in_the_books_and_climbs_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    // The stand-in bans nobody, and says that it ignores this; the client does what it would do.
    let arguments = [
        "staircase",
        "--target",
        "embedded",
        "--rounds",
        "2",
        "--max-startups",
        "5:100:10",
        "--sshd-option",
        "PerSourcePenalties=noauth:60s",
    ];
    let report = run(directory.path(), &arguments).code(0).report();
    driver::books_balance(&report);
    let totals = &driver::strategy(&report, "staircase")["totals"]["total"];
    assert_eq!(driver::count(totals, "handshakes"), 2 * 5);
    assert_eq!(driver::count(totals, "attempts_held"), 0);
    assert_eq!(driver::count(totals, "banner_eof"), 2 * 30);
    assert_eq!(report["admission_held"]["verdict"], "fits", "{report:#}");
}

#[test]
fn a_stalled_burst_follows_the_rule_and_its_slots_are_seen() {
    let directory = tempfile::tempdir().unwrap();
    let finished = run(
        directory.path(),
        &["stalled-burst", "--target", "embedded", "--rounds", "5"],
    )
    .code(0);
    let report = finished.report();
    driver::books_balance(&report);
    let burst = &report["stalled_bursts"][0];
    assert_eq!(burst["connections"], 100);
    assert_eq!(burst["verdict"], "fits", "{burst:#}");
    assert_eq!(report["admission"]["verdict"], "fits");
    // The gauge is read now and then: it may miss the largest number, and a burst as a whole, but never shows more.
    let mut seen = 0;
    for round in report["strategies"][0]["per_round"].as_array().unwrap() {
        let held = driver::count(&round["numbers"]["total"], "attempts_held");
        let peak = round["startups"]["peak"].as_u64().unwrap();
        assert!(peak <= held, "{peak} of {held}");
        seen = seen.max(peak);
    }
    assert!(seen > 0, "no slot was seen in any round");
}
