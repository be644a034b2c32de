//! `run --target simulated` and `plan`: no server, the same ledger, laws and report; and an answer that stands when it is asked
//! again.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::driver::{Finished, binary, sshchurn, start_command};
use nix::sys::signal::Signal;
use serde_json::Value;

/// A round that is under way is computed to its end.
const SOON: Duration = Duration::from_secs(60);

fn run(folder: &Path, name: &str, arguments: &[&str]) -> Finished {
    let out = folder.join(name);
    let mut all = vec!["run"];
    all.extend(arguments);
    let out_text = out.display().to_string();
    all.extend(["--target", "simulated", "--out", &out_text]);
    let mut finished = sshchurn(&all);
    finished.directory = out;
    finished
}

fn holds(report: &Value) {
    for law in report["laws"].as_array().unwrap() {
        assert_ne!(law["status"], "broken", "{law}");
    }
    assert_eq!(report["stand_in"], "simulated");
}

#[test]
fn every_strategy_keeps_the_laws_and_says_first_that_it_is_simulated() {
    let folder = tempfile::tempdir().unwrap();
    for scenario in [
        "airflow-68115",
        "stalled-burst",
        "orphans",
        "one-shot",
        "multiplexed",
        "staircase",
        "slow-auth",
    ] {
        let finished = run(folder.path(), scenario, &[scenario, "--rounds", "1"]);
        let text = &finished.stdout;
        assert!(text.starts_with("SIMULATED"), "{scenario}: {text}");
        assert_eq!(
            finished.code,
            Some(0),
            "{scenario}: {text}\n{}",
            finished.stderr
        );
        holds(&finished.report());
        for document in ["report.md", "report.html", "junit.xml", "metrics.txt"] {
            let text = std::fs::read_to_string(finished.directory.join(document)).unwrap();
            assert!(text.contains("SIMULATED"), "{scenario}: {document}");
        }
    }
}

#[test]
fn same_seed_gives_the_same_ledger_and_another_seed_another() {
    let folder = tempfile::tempdir().unwrap();
    let mut facts = Vec::new();
    for (name, seed) in [("a", "1"), ("b", "1"), ("c", "2")] {
        let arguments = ["smoke", "--rounds", "1", "--seed", seed];
        let report = run(folder.path(), name, &arguments).report();
        facts.push(report["strategies"].clone());
    }
    assert_eq!(facts[0], facts[1]);
    assert_ne!(facts[0], facts[2]);
}

#[test]
fn keyword_that_the_model_does_not_know_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["smoke", "--sshd-option", "PerSourcePenalties=yes"];
    let finished = run(folder.path(), "run", &arguments);
    assert_eq!(finished.code, Some(2), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("PerSourcePenalties yes"),
        "{}",
        finished.stderr
    );
    assert!(!finished.directory.join("events.jsonl.zst").exists());
}

#[test]
fn calibration_that_is_none_is_an_error_and_without_the_target_it_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.json");
    std::fs::write(&file, "{}").unwrap();
    let path = file.display().to_string();
    let finished = run(folder.path(), "run", &["smoke", "--calibration", &path]);
    assert_eq!(finished.code, Some(2), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("no calibration of this version"),
        "{}",
        finished.stderr
    );
    let other = sshchurn(&[
        "run",
        "smoke",
        "--target",
        "embedded",
        "--calibration",
        &path,
    ]);
    assert_eq!(other.code, Some(2));
    assert!(
        other.stderr.contains("--target simulated"),
        "{}",
        other.stderr
    );
}

fn plan(arguments: &[&str]) -> Finished {
    let mut all = vec!["plan", "--assume", "--no-sensitivity"];
    all.extend(arguments);
    sshchurn(&all)
}

fn planned(arguments: &[&str]) -> Value {
    let mut all = arguments.to_vec();
    all.extend(["--format", "json"]);
    let finished = plan(&all);
    serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", finished.stderr))
}

const ONE_SHOT: [&str; 6] = [
    "one-shot",
    "-n",
    "40",
    "--threshold",
    "banner_eof == 0",
    "--find",
];

#[test]
fn answer_comes_first_as_a_line_for_sshd_config_and_stands_when_it_is_applied() {
    let finished = plan(&["one-shot", "-n", "40", "--threshold", "banner_eof == 0"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let mut lines = finished.stdout.lines();
    assert!(lines.next().unwrap().starts_with("SIMULATED"));
    let line = lines.find(|line| !line.is_empty()).unwrap();
    let value = line
        .strip_prefix("MaxStartups ")
        .unwrap_or_else(|| panic!("{line}"));
    // Applied, and asked again.
    let again = plan(&[
        "one-shot",
        "-n",
        "40",
        "--threshold",
        "banner_eof == 0",
        "--max-startups",
        value,
    ]);
    assert_eq!(
        again
            .stdout
            .lines()
            .find(|line| line.starts_with("MaxStartups")),
        Some(line)
    );
    // And it refuses nobody.
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "one-shot",
        "-n",
        "40",
        "--rounds",
        "5",
        "--max-startups",
        value,
    ];
    let report = run(folder.path(), "applied", &arguments).report();
    let refused = &report["strategies"][0]["totals"]["total"]["counts"]["banner_eof"];
    assert_eq!(refused, &Value::from(0));
}

#[test]
fn next_smaller_value_misses_the_goal() {
    let report = planned(&["one-shot", "-n", "40", "--threshold", "banner_eof == 0"]);
    let answer = &report["strategies"][0]["answer"];
    let held = |of: &Value| of["trials"]["held"].as_u64().unwrap();
    assert!(held(answer) >= 198, "{answer}");
    assert!(held(&answer["next"]) < 198, "{answer}");
    assert_eq!(
        answer["next"]["value"].as_u64().unwrap() + 1,
        answer["value"].as_u64().unwrap()
    );
}

#[test]
fn every_setting_can_be_looked_for() {
    for (find, more) in [
        ("tasks", &["--max-startups", "20:30:40"][..]),
        ("stagger", &["--max-startups", "10:30:20"]),
    ] {
        let mut arguments = ONE_SHOT.to_vec();
        arguments.push(find);
        arguments.extend(more);
        let report = planned(&arguments);
        let value = report["strategies"][0]["answer"]["value"].as_u64();
        assert!(value > Some(0), "{find}: {report}");
    }
}

#[test]
fn goal_that_nothing_meets_ends_in_1_and_says_how_far_it_was() {
    let goal = "handshakes == 1";
    let finished = plan(&["one-shot", "-n", "10", "--threshold", goal]);
    assert_eq!(finished.code, Some(1), "{}", finished.stdout);
    assert!(
        finished.stdout.contains("no value meets"),
        "{}",
        finished.stdout
    );
}

#[test]
fn calibration_of_another_machine_or_day_cannot_say() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.json");
    let path = file.display().to_string();
    let times = "{\"tcp_ns\":1e5,\"banner_ns\":1e7,\"kex_ns\":1e7,\"auth_ns\":2e7,\"exec_ns\":1e7}";
    for (taken, clients, words) in [
        (now(), "here", "another machine"),
        (now() - 200_000, "elsewhere", "hours old"),
    ] {
        let text = format!(
            "{{\"schema_version\":2,\"taken_at_unix_s\":{taken},\"machine\":\"0\",\"target\":\"local\",\"release\":\"OpenSSH_9.2p1\",\
             \"readings\":{{\"cores\":2,\"round_trip_ns\":100000,\"alone\":{times},\"crowd\":16,\"crowded\":{times},\"rush\":100,\
             \"rushes\":[],\"rushes_with_jobs\":[],\"client_command_cpu_ns\":2e5,\"logins_per_s\":50.0,\"logins\":200,\"server_cpu_ns\":3.5e7,\"listener_cpu_ns\":1e6,\
             \"client_cpu_ns\":3e6,\"slot_ns\":null,\"command_ns\":5000000,\"command_cpu_ns\":3e6,\"processes_cpu_ns\":1e7,\
             \"memory_per_login_bytes\":null,\"spread\":0.1}},\"costs\":{},\"fit\":{{\"logins\":1.0,\"banner\":1.0,\"kex\":1.0,\
             \"auth\":1.0,\"slot\":null,\"rushes\":[],\"rushes_with_jobs\":[]}}}}",
            costs()
        );
        std::fs::write(&file, text).unwrap();
        let finished = sshchurn(&[
            "plan",
            "one-shot",
            "-n",
            "10",
            "--clients",
            clients,
            "--no-sensitivity",
            "--calibration",
            &path,
        ]);
        assert_eq!(finished.code, Some(3), "{}", finished.stderr);
        let said = &finished.stderr;
        assert!(
            said.contains("cannot say") && said.contains(words),
            "{said}"
        );
    }
}

#[test]
fn plan_that_is_interrupted_stops_and_nothing_runs_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary());
    command.args(["plan", "--assume", "airflow-68115", "-n", "300"]);
    let mut running = start_command(command, folder.path().to_owned());
    running.wait_for("simulating", SOON);
    running.signal(Signal::SIGINT);
    assert_eq!(running.finish(SOON).code, Some(130));
}

fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn costs() -> String {
    serde_json::to_string(&sshchurn_core::model::server::Costs::assumed()).unwrap()
}
