//! Clients under test on this machine's own sshd, and one in a container: the scenarios of `scenarios/clients`, each with the
//! client it is named after. Python's come from whatever `python3` is first in PATH.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::driver::{Finished, books_balance, count, nothing_is_left, run, skipped, strategy};
use crate::machine::Kind;

const REQUIRED: &str = "SSHCHURN_REQUIRE_CLIENTS";

fn scenario(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scenarios/clients/{name}.toml"))
}

/// Whether a client is there: its own words are not looked at.
fn there(probe: &[&str]) -> bool {
    let found = Command::new(probe[0])
        .args(&probe[1..])
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        skipped(
            REQUIRED,
            &format!("`{}` does not work here", probe.join(" ")),
        );
    }
    found
}

/// Runs a client's scenario to a pass, where client and sshd are there.
fn passes(name: &str, probe: &[&str]) -> Option<Value> {
    passes_on(Kind::Local, name, probe)
}

fn passes_on(kind: Kind, name: &str, probe: &[&str]) -> Option<Value> {
    if !there(probe) {
        return None;
    }
    let _alone = kind.alone()?;
    let directory = tempfile::tempdir().unwrap();
    let path = scenario(name);
    let finished = run(
        directory.path(),
        &[path.to_str().unwrap(), "--target", kind.as_str()],
    );
    let finished = finished.code(0);
    let report = finished.report();
    books_balance(&report);
    nothing_is_left(directory.path());
    Some(report)
}

fn connections(report: &Value, name: &str) -> Vec<u64> {
    let tasks = &strategy(report, name)["per_round"][0]["task_connections"];
    let tasks = tasks
        .as_array()
        .unwrap_or_else(|| panic!("told apart: {tasks}"));
    tasks.iter().map(|task| task.as_u64().unwrap()).collect()
}

#[test]
fn openssh_makes_a_connection_for_each_command() {
    if let Some(report) = passes("openssh", &["ssh", "-V"]) {
        assert_eq!(connections(&report, "openssh"), [3; 20]);
    }
}

#[test]
fn sessions_beyond_max_sessions_fall_back_to_connections_of_their_own() {
    if let Some(report) = passes("openssh-controlmaster", &["ssh", "-V"]) {
        let totals = &strategy(&report, "openssh-controlmaster")["totals"];
        assert_eq!(count(&totals["total"], "handshakes"), 21);
        assert_eq!(totals["clients"]["sessions_refused"], 20);
    }
}

#[test]
fn rsync_makes_one_connection_and_leaves_nothing() {
    leaves_nothing_of_rsync(Kind::Local);
}

#[test]
fn rsync_finds_itself_in_a_container_too() {
    leaves_nothing_of_rsync(Kind::Docker);
}

fn leaves_nothing_of_rsync(kind: Kind) {
    if let Some(report) = passes_on(kind, "rsync", &["rsync", "--version"]) {
        assert_eq!(connections(&report, "rsync"), [1; 20]);
        let leftovers = &strategy(&report, "rsync")["totals"]["leftovers"];
        assert_eq!(leftovers["leftover_dirs"], 0);
    }
}

#[test]
fn git_makes_one_connection_for_a_fetch() {
    if let Some(report) = passes("git", &["git", "--version"]) {
        assert_eq!(connections(&report, "git"), [1; 20]);
    }
}

#[test]
fn paramiko_makes_one_connection_for_three_commands() {
    if let Some(report) = passes("paramiko", &["python3", "-c", "import paramiko"]) {
        assert_eq!(connections(&report, "paramiko"), [1; 20]);
    }
}

#[test]
fn asyncssh_in_one_process_is_told_apart_by_the_addresses_it_is_given() {
    if let Some(report) = passes("asyncssh", &["python3", "-c", "import asyncssh"]) {
        assert_eq!(connections(&report, "asyncssh"), [1; 20]);
    }
}

#[test]
fn ansible_shares_connections_only_with_control_persist_and_its_masters_are_ended() {
    if let Some(report) = passes("ansible", &["ansible-playbook", "--version"]) {
        assert_eq!(connections(&report, "control-persist"), [1; 20]);
        let without = connections(&report, "no-control-persist");
        assert!(without.iter().all(|task| *task >= 3), "{without:?}");
    }
}

#[test]
fn airflows_provider_makes_the_connections_that_our_models_make() {
    let both = "for python in \"${AIRFLOW_OLD_PYTHON:-python3}\" \"${AIRFLOW_NEW_PYTHON:-python3}\"; do \
                \"$python\" -c 'import airflow.providers.ssh' || exit 1; done";
    if let Some(report) = passes("airflow", &["sh", "-c", both]) {
        for (real, model, expected) in [
            ("provider-old", "model-old", 12),
            ("provider-new", "model-new", 3),
        ] {
            assert_eq!(connections(&report, real), [expected; 20], "{real}");
            let totals = &strategy(&report, model)["totals"]["total"];
            assert_eq!(count(totals, "handshakes"), 20 * expected, "{model}");
        }
    }
}

#[test]
fn client_that_insists_on_localhost_is_told_apart_by_its_key() {
    if !there(&["ssh", "-V"]) {
        return;
    }
    let Some(_alone) = Kind::Local.alone() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hard-wired.toml");
    let script = "n=$((SSHCHURN_TASK % 5)); while [ $n -gt 0 ]; do \
                  ssh -F $SSHCHURN_SSH_CONFIG 127.0.0.1 true </dev/null || exit 1; n=$((n - 1)); done";
    let scenario = format!(
        "name = \"hard-wired\"\ntasks = 15\n[[strategy]]\nkind = \"command\"\n\
         argv = [\"sh\", \"-c\", {}]\n[sshd]\nmax_startups = \"100:30:200\"\n",
        Value::from(script)
    );
    std::fs::write(&path, scenario).unwrap();
    let here = folder.path().join("here");
    let finished = run(&here, &[path.to_str().unwrap(), "--target", "local"]).code(0);
    let report = finished.report();
    books_balance(&report);
    let expected: Vec<u64> = (0..15).map(|task| task % 5).collect();
    assert_eq!(connections(&report, "command"), expected);
    let clients = &strategy(&report, "command")["totals"]["clients"];
    assert_eq!(clients["logins_by_key"], 30);
    assert_eq!(clients["unattributed"], 0);
    nothing_is_left(&here);
}

#[test]
fn real_refusals_of_a_client_are_sshds_own_lines() {
    let Some(_alone) = Kind::Local.alone() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let path = scenario("openssh");
    let finished: Finished = run(
        directory.path(),
        &[
            path.to_str().unwrap(),
            "--target",
            "local",
            "-n",
            "40",
            "--max-startups",
            "2:100:2",
            "--threshold",
            "tasks_failed >= 1",
        ],
    );
    let report = finished.report();
    books_balance(&report);
    let totals = &strategy(&report, "openssh")["totals"];
    let refused = count(&totals["total"], "banner_eof");
    assert!(refused > 0, "{totals}");
    assert_eq!(totals["server"]["server_drops"], refused);
    assert_eq!(
        totals["total"]["makers"]["refused_by_max_startups"],
        refused
    );
    // The gate of the scenario asks for the number of logins only, and each of the clients that were refused has failed.
    let failed = totals["tasks"]["tasks_failed"].as_u64().unwrap();
    assert!(failed <= refused, "{failed} of {refused}");
    assert!(totals["clients"]["recognised"].as_u64() > Some(0));
}
