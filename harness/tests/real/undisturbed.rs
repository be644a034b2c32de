//! The harness leaves nothing behind in the sshd that it measures, and says what it could not see of its configuration: on
//! the machine's own sshd, and on OpenSSH 10.0, which bans addresses.

use std::path::Path;

use serde_json::Value;

use crate::driver::{self, Finished, books_balance, count, run, sshchurn, strategy};
use crate::machine::Kind;

/// The lines of a run's `sshd.log` that begin so.
fn logged(finished: &Finished, beginning: &str) -> usize {
    let log = std::fs::read_to_string(finished.directory.join("sshd.log")).unwrap();
    log.lines()
        .filter(|line| line.starts_with(beginning))
        .count()
}

/// `check-config ARGS --format json`, its exit code and its document.
fn check_config(folder: &Path, name: &str, args: &[&str]) -> (Option<i32>, Value) {
    let out = folder.join(name).display().to_string();
    let fixed = ["check-config", "--format", "json", "--out", &out];
    let finished = sshchurn(&[&fixed[..], args].concat());
    let document = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|_| panic!("{}\n{}", finished.stdout, finished.stderr));
    (finished.code, document)
}

/// What else decided in the climbs of a check: word and climbs.
fn other_limits(check: &Value) -> Vec<(&str, u64)> {
    check["climbs"]["other_limits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|met| {
            (
                met["limit"].as_str().unwrap(),
                met["climbs"].as_u64().unwrap(),
            )
        })
        .collect()
}

#[test]
fn sshd_with_a_single_slot_is_measured_and_every_connection_that_it_ever_admits_logs_in() {
    let Some(_alone) = Kind::Local.alone() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "smoke",
        "--target",
        "local",
        "-n",
        "2",
        "--max-startups",
        "1:100:1",
        // The tables by source are not empty then, and sshd starts over after the calibration.
        "--sshd-option",
        "PerSourceMaxStartups=16",
        // Lines that sshd adds up.
        "--sshd-option",
        "AcceptEnv=ONE",
        "--sshd-option",
        "AcceptEnv=OTHER",
    ];
    let finished = run(folder.path(), &arguments).code(0);
    let report = finished.report();
    books_balance(&report);
    let target = &report["target"];
    let introduced = target["identification"].as_str().unwrap();
    assert!(introduced.starts_with("SSH-2.0-OpenSSH_"), "{introduced}");
    let sent: Vec<&Value> = target["effective_config"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|setting| setting[0] == "acceptenv")
        .map(|setting| &setting[1])
        .collect();
    assert_eq!(sent, ["ONE", "OTHER"]);
    // The slots are still read after it: the title is there again.
    let seen = &report["strategies"][0]["per_round"][0]["startups"];
    assert!(seen["samples"].as_u64().unwrap() > 0, "{seen}");
    assert_eq!(logged(&finished, "Received SIGHUP; restarting."), 1);
    let admitted = logged(&finished, "Connection from ");
    assert!(admitted > 0);
    assert_eq!(admitted, logged(&finished, "Accepted publickey for "));
    driver::nothing_is_left(folder.path());
}

#[test]
fn climbs_that_login_grace_time_or_a_limit_per_source_cut_short_are_no_agreement_and_no_difference()
{
    let Some(_alone) = Kind::Local.alone() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let grace = [
        "--target",
        "local",
        "--climbs",
        "2",
        // Further than any machine climbs in a second.
        "--max-startups",
        "10:30:400",
        "--sshd-option",
        "LoginGraceTime=1",
    ];
    let (code, check) = check_config(folder.path(), "grace", &grace);
    assert_eq!(code, Some(3), "{check:#}");
    assert_eq!(check["climbs"]["reached_full"], 0);
    assert_eq!(other_limits(&check), [("login_grace_time", 2)], "{check:#}");
    let told = check["problems"][0].as_str().unwrap();
    assert!(told.contains("LoginGraceTime took slots back"), "{told}");

    let source = [
        "--target",
        "local",
        "--climbs",
        "3",
        "--max-startups",
        "32:30:64",
        "--sshd-option",
        "PerSourceMaxStartups=16",
    ];
    let (code, check) = check_config(folder.path(), "source", &source);
    assert_eq!(code, Some(3), "{check:#}");
    assert_eq!(
        other_limits(&check),
        [("per_source_max_startups", 3)],
        "{check:#}"
    );
    assert_eq!(check["climbs"]["other_limits"][0]["most_held"], 16);
    // 16 that were held and 30 where everything is refused, whatever `full` is.
    assert_eq!(check["climbs"]["other_limits"][0]["connections"], 3 * 30);
    assert_eq!(check["most_likely"], Value::Null);
    let told = check["problems"][0].as_str().unwrap();
    assert!(told.contains("PerSourceMaxStartups refused"), "{told}");
}

#[test]
fn clients_with_a_valid_key_meet_no_ban_whatever_a_ban_lasts() {
    let Some(_alone) = Kind::Docker.alone() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = vec!["smoke", "--release", "10.0", "-n", "4"];
    // Nobody is refused: an attempt given up under load would earn a penalty of its own.
    arguments.extend(["--max-startups", "100:30:200"]);
    for line in [
        "PerSourcePenalties=noauth:24h",
        "PerSourcePenalties=authfail:24h",
        "PerSourcePenalties=grace-exceeded:24h",
    ] {
        arguments.extend(["--sshd-option", line]);
    }
    let finished = run(folder.path(), &arguments).code(0);
    let report = finished.report();
    books_balance(&report);
    // What the harness's own logins before the first round had earned was forgotten, which took its time.
    assert!(report["target"]["restart_ns"].as_u64().unwrap() > 0);
    let in_force = report["target"]["effective_config"].to_string();
    for penalty in ["noauth:86400", "authfail:86400", "grace-exceeded:86400"] {
        assert!(in_force.contains(penalty), "{in_force}");
    }
    for name in ["per-command", "reused-session"] {
        let totals = &strategy(&report, name)["totals"];
        assert_eq!(count(&totals["total"], "banner_eof"), 0, "{name}");
        assert_eq!(totals["tasks"]["tasks_succeeded"], 4, "{name}");
    }
    assert_eq!(logged(&finished, "srclimit_penalise: "), 0);
}

#[test]
fn silent_clients_are_banned_when_their_own_penalties_say_so_and_not_one_sooner() {
    let Some(_alone) = Kind::Docker.alone() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("silent.toml");
    // 5 s each: the third makes it 15 s at most, which is not more than `min`.
    let text = "name = \"silent\"\ntasks = 1\nrounds = 10\n[[strategy]]\nkind = \"stalled\"\n[sshd]\n\
                max_startups = \"10:30:100\"\nmin_release = \"9.8\"\n[sshd.options]\n\
                PerSourcePenalties = [\"noauth:5s\", \"min:15s max:60s\"]\n";
    std::fs::write(&scenario, text).unwrap();
    let arguments = [scenario.to_str().unwrap(), "--release", "10.0"];
    let report = run(folder.path(), &arguments).report();
    books_balance(&report);
    let rounds = strategy(&report, "stalled")["per_round"]
        .as_array()
        .unwrap();
    let held: Vec<u64> = rounds
        .iter()
        .map(|round| count(&round["numbers"]["total"], "attempts_held"))
        .collect();
    assert_eq!(held.len(), 10);
    assert_eq!(held[..4], [1, 1, 1, 1], "the harness has earned none");
    // Penalties run off while rounds take their time: how much later the ban comes is the machine's.
    let admitted = held.iter().take_while(|held| **held == 1).count();
    let lasted = |round: usize| {
        let started = |round: usize| rounds[round]["started_ns"].as_u64();
        started(round).zip(started(0)).map(|(at, first)| at - first)
    };
    if let Some(until_fifth) = lasted(4)
        && until_fifth < 4_000_000_000
    {
        assert_eq!(admitted, 4, "{held:?}");
    }
    let slow = lasted(9).is_none_or(|ns| ns > 25_000_000_000);
    assert!(admitted < 10 || slow, "{held:?}");

    // One climb would be enough for a ban, were it not that what it holds logs in at its end.
    let climbs = [
        "--release",
        "10.0",
        "--climbs",
        "3",
        "--max-startups",
        "5:100:10",
        "--sshd-option",
        "PerSourcePenalties=noauth:60s",
    ];
    let (code, check) = check_config(folder.path(), "climbs", &climbs);
    assert_eq!(code, Some(0), "{check:#}");
    assert_eq!(check["climbs"]["reached_full"], 3, "{check:#}");
    assert_eq!(other_limits(&check), []);
    assert_eq!(check["effective"], "5:100:10");
}

#[test]
fn climb_that_earns_its_address_a_ban_leaves_too_little_to_judge_and_the_ban_is_named() {
    let Some(_alone) = Kind::Docker.alone() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    // LoginGraceTime takes slots back while the first climb still goes on, and each of them costs more than `min`.
    let arguments = [
        "--release",
        "10.0",
        "--climbs",
        "2",
        "--max-startups",
        "10:30:400",
        "--sshd-option",
        "LoginGraceTime=1",
        "--sshd-option",
        "PerSourcePenalties=grace-exceeded:60s",
    ];
    let (code, check) = check_config(folder.path(), "banned", &arguments);
    assert_eq!(code, Some(3), "{check:#}");
    assert_eq!(check["climbs"]["reached_full"], 0, "{check:#}");
    let limits = other_limits(&check);
    assert!(limits.contains(&("login_grace_time", 1)), "{check:#}");
    assert!(limits.contains(&("per_source_penalties", 1)), "{check:#}");
    // What the climb let go of when it was over cost `noauth`, and sshd names the last.
    let told = check["problems"][0].as_str().unwrap();
    assert!(
        told.contains("PerSourcePenalties refused 30 connections ("),
        "{told}"
    );
    assert!(told.contains("the address was banned"), "{told}");
}
