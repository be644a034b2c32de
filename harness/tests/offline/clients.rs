//! Clients under test on the embedded stand-in: programs of somebody else's, counted by the server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::driver::{
    self, Finished, Running, books_balance, count, nothing_is_left, processes_with, skipped,
    sshchurn, strategy, wait_until,
};

const SOON: Duration = Duration::from_secs(60);
/// One connection of OpenSSH's client, as a part of a shell script.
const SSH: &str = "ssh -F $SSHCHURN_SSH_CONFIG $SSHCHURN_HOST true </dev/null";

/// Whether this machine has OpenSSH's client, which most of these run.
fn has_ssh() -> bool {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join("ssh").is_file());
    if !found {
        skipped(
            "SSHCHURN_REQUIRE_LOCAL",
            "this machine has no OpenSSH client",
        );
    }
    found
}

/// A scenario of one client, in a folder of its own.
struct Case {
    folder: tempfile::TempDir,
    scenario: PathBuf,
}

impl Case {
    fn new(tasks: u32, strategy: &str) -> Self {
        Case::with(tasks, strategy, "max_startups = \"100:30:200\"", "")
    }

    fn with(tasks: u32, strategy: &str, sshd: &str, gate: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let scenario = folder.path().join("client.toml");
        let text = format!(
            "name = \"client\"\ntasks = {tasks}\n[[strategy]]\nkind = \"command\"\n{strategy}\n[sshd]\n{sshd}\n{gate}\n"
        );
        std::fs::write(&scenario, text).unwrap();
        Case { folder, scenario }
    }

    /// The same with a shell script as its program.
    fn script(tasks: u32, script: &str, more: &str) -> Self {
        Case::new(tasks, &format!("{}\n{more}", in_shell(script)))
    }

    fn start(&self, args: &[&str]) -> Running {
        let scenario = self.scenario.to_str().unwrap();
        let target: &[&str] = match args.contains(&"--target") {
            true => &[],
            false => &["--target", "embedded"],
        };
        let all = [&[scenario], target, args].concat();
        driver::start(&self.folder.path().join("here"), &all)
    }

    fn run(&self, args: &[&str]) -> Finished {
        self.start(args).finish(Duration::from_secs(120))
    }
}

fn clients(report: &Value) -> &Value {
    &strategy(report, "command")["totals"]["clients"]
}

/// Twenty tasks, each with as many of these connections as its number modulo five: every one is told apart.
fn told_apart(ssh: &str) -> (Case, Finished, Value) {
    let script = format!(
        "n=$((SSHCHURN_TASK % 5)); while [ $n -gt 0 ]; do {ssh} || exit 1; n=$((n - 1)); done"
    );
    let case = Case::script(20, &script, "");
    let finished = case.run(&[]).code(0);
    let report = finished.report();
    books_balance(&report);
    let command = strategy(&report, "command");
    let expected: Vec<u64> = (0..20).map(|task| task % 5).collect();
    assert_eq!(
        command["per_round"][0]["task_connections"],
        Value::from(expected)
    );
    assert_eq!(count(&command["totals"]["total"], "handshakes"), 40);
    assert_eq!(command["totals"]["total"]["handshakes_per_task"]["max"], 4);
    (case, finished, report)
}

/// A shell script as a client's program.
fn in_shell(script: &str) -> String {
    format!("argv = [\"sh\", \"-c\", {}]", Value::from(script))
}

#[test]
fn holders_beside_clients_are_told_from_them_by_their_ports() {
    if !has_ssh() {
        return;
    }
    let case = Case::with(
        3,
        &in_shell(SSH),
        "max_startups = \"100:30:200\"",
        "[holders]\ncount = 5",
    );
    let report = case.run(&[]).code(0).report();
    books_balance(&report);
    let totals = &strategy(&report, "command")["totals"];
    assert_eq!(count(&totals["total"], "attempts"), 3);
    assert_eq!(count(&totals["total"], "handshakes"), 3);
    assert_eq!(clients(&report)["unattributed"], 0);
    assert_eq!(clients(&report)["tasks_unseen"], 0);
    assert_eq!(totals["holders"]["admitted"], 5);
}

#[test]
fn every_connection_belongs_to_the_task_that_made_it() {
    if !has_ssh() {
        return;
    }
    let (case, _, report) = told_apart(SSH);
    let command = strategy(&report, "command");
    assert_eq!(clients(&report)["tasks_unseen"], 4);
    assert_eq!(clients(&report)["ends"]["exit 0"], 20);
    assert!(clients(&report)["cpu_ns"].as_u64().unwrap() > 0);
    // What only the client could know has no data, and is not zero.
    assert!(command["per_round"][0]["values"].get("retries").is_none());
    assert!(
        command["per_round"][0]["values"]
            .get("submit.attempts")
            .is_none()
    );
    nothing_is_left(&case.folder.path().join("here"));
}

#[test]
fn one_program_for_all_tasks_is_told_apart_by_the_addresses_it_is_given() {
    if !has_ssh() {
        return;
    }
    let script = "for host in $(echo {hosts} | tr , ' '); do ssh -F {ssh_config} $host true </dev/null || exit 1; done";
    let case = Case::script(7, script, "per = \"round\"");
    let report = case.run(&[]).code(0).report();
    books_balance(&report);
    let round = &strategy(&report, "command")["per_round"][0];
    assert_eq!(round["task_connections"], Value::from(vec![1; 7]));
    assert_eq!(clients(&report)["started"], 1);

    // One that ignores them is counted all the same, and nothing is made up about its tasks.
    let script = "ssh -F {ssh_config} 127.0.0.1 true && ssh -F {ssh_config} 127.0.0.1 true";
    let case = Case::script(4, script, "per = \"round\"");
    let finished = case
        .run(&["--threshold", "handshakes_per_task <= 0.5"])
        .code(0);
    let report = finished.report();
    books_balance(&report);
    let command = strategy(&report, "command");
    assert_eq!(command["per_round"][0]["task_connections"], Value::Null);
    let per_task = &command["totals"]["total"]["handshakes_per_task"];
    assert_eq!(
        (&per_task["mean"], &per_task["min"]),
        (&Value::from(0.5), &Value::Null)
    );
    assert_eq!(clients(&report)["unattributed"], 2);
    assert!(
        finished.stdout.contains(
            "2 of 2 connections belong to no task: neither an address nor a key names one"
        )
    );
}

/// The same to an address that the client has hard-wired, after which it is another connection of some task.
const HARD_WIRED: &str = "ssh -F $SSHCHURN_SSH_CONFIG 127.0.0.1 true </dev/null";

#[test]
fn client_with_a_hard_wired_address_is_told_apart_by_its_key() {
    if !has_ssh() {
        return;
    }
    let (case, finished, report) = told_apart(HARD_WIRED);
    assert_eq!(clients(&report)["logins_by_key"], 40);
    assert_eq!(clients(&report)["unattributed"], 0);
    let told = "40 of 40 logins belong to a task by the key that they used";
    assert!(finished.stdout.contains(told), "{}", finished.stdout);
    for name in ["report.md", "report.html"] {
        let text = std::fs::read_to_string(finished.directory.join(name)).unwrap();
        assert!(text.contains(told), "{name} does not say it");
    }
    // The ledger alone has it.
    std::fs::remove_file(finished.directory.join("report.json")).unwrap();
    let directory = finished.directory.display().to_string();
    let again = sshchurn(&["report", &directory, "--format", "json"]).code(0);
    let again: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(again["strategies"], report["strategies"]);
    nothing_is_left(&case.folder.path().join("here"));
}

#[test]
fn refusals_at_a_hard_wired_address_stay_the_rounds_and_logins_are_told_apart() {
    if !has_ssh() {
        return;
    }
    // One slot: of twelve at once most are refused, and each goes on until it is in.
    let script = format!("until {HARD_WIRED}; do :; done");
    let argv = in_shell(&script);
    let case = Case::with(12, &argv, "max_startups = \"1:100:1\"", "");
    let finished = case
        .run(&[
            "--threshold",
            "handshakes_per_task.max <= 1",
            "--threshold",
            "handshakes_per_task.min >= 1",
        ])
        .code(0);
    let report = finished.report();
    books_balance(&report);
    let command = strategy(&report, "command");
    let refused = count(&command["totals"]["total"], "banner_eof");
    assert!(refused > 0, "{command:#}");
    assert_eq!(clients(&report)["logins_by_key"], 12);
    assert_eq!(clients(&report)["unattributed_refusals"], refused);
    assert_eq!(clients(&report)["unattributed_logins"], 0);
    assert_eq!(command["per_round"][0]["task_connections"], Value::Null);
    let attempts = &command["totals"]["total"]["attempts_per_task"];
    assert_eq!(attempts["max"], Value::Null);
    let said = format!("{refused} of them refused: neither an address nor a key names one");
    assert!(finished.stdout.contains(&said), "{}", finished.stdout);
}

#[test]
fn one_program_with_one_host_for_all_tasks_is_told_apart_by_the_keys_it_is_given() {
    if !has_ssh() {
        return;
    }
    // As many connections with a key as its place in the list.
    let script = "n=0; for key in $(echo {keys} | tr , ' '); do n=$((n + 1)); i=0; \
                  while [ $i -lt $n ]; do i=$((i + 1)); \
                  ssh -F {ssh_config} -i $key {host} true </dev/null || exit 1; done; done";
    let case = Case::script(4, script, "per = \"round\"");
    let report = case.run(&[]).code(0).report();
    books_balance(&report);
    let round = &strategy(&report, "command")["per_round"][0];
    assert_eq!(round["task_connections"], Value::from(vec![1, 2, 3, 4]));
    assert_eq!(clients(&report)["logins_by_key"], 10);
}

#[test]
fn list_that_is_too_long_for_the_environment_breaks_no_round_and_is_whole_on_standard_input() {
    if !has_ssh() {
        return;
    }
    let script = "test -z \"$SSHCHURN_KEYS\" && test -n \"$SSHCHURN_HOSTS\" || exit 7; \
                  set -- $(tr , ' '); test $# = 600 || exit 8; \
                  ssh -F {ssh_config} -i ${600} {host} true </dev/null";
    let case = Case::script(600, script, "per = \"round\"\nstdin = \"{keys}\"");
    // Six hundred paths of more than 220 characters are more than a variable takes.
    let here = case.folder.path().join("x".repeat(200));
    let args = [case.scenario.to_str().unwrap(), "--target", "embedded"];
    let report = driver::run(&here, &args).code(0).report();
    let round = &strategy(&report, "command")["per_round"][0];
    let mut expected = vec![0; 600];
    expected[599] = 1;
    assert_eq!(round["task_connections"], Value::from(expected));
    nothing_is_left(&here);
}

#[test]
fn gate_on_connections_is_red_for_a_client_that_makes_more_and_green_for_one_that_does_not() {
    if !has_ssh() {
        return;
    }
    let gate = ["--threshold", "handshakes_per_task <= 1"];
    let green = Case::script(5, SSH, "");
    let red = Case::script(5, &format!("{SSH}; {SSH}"), "");
    let finished = green.run(&gate).code(0);
    assert!(
        finished
            .stdout
            .contains("pass          handshakes_per_task <= 1")
    );
    red.run(&gate).code(1);
}

#[test]
fn refusals_are_sshds_own_and_what_the_client_says_of_them_is_information() {
    if !has_ssh() {
        return;
    }
    // One slot, and a client that holds it until the others have tried.
    let argv = in_shell(SSH);
    let case = Case::with(30, &argv, "max_startups = \"1:100:1\"", "");
    let finished = case.run(&[
        "--threshold",
        "banner_eof == 0",
        "--threshold",
        "tasks_failed <= 30",
    ]);
    let report = finished.report();
    books_balance(&report);
    let totals = &strategy(&report, "command")["totals"];
    let (attempts, refused) = (
        count(&totals["total"], "attempts"),
        count(&totals["total"], "banner_eof"),
    );
    assert_eq!(attempts, 30);
    assert_eq!(refused, totals["server"]["server_drops"].as_u64().unwrap());
    assert_eq!(
        refused,
        totals["total"]["makers"]["refused_by_max_startups"]
            .as_u64()
            .unwrap()
    );
    assert_eq!(finished.code, Some(if refused > 0 { 1 } else { 0 }));
    assert_eq!(
        clients(&report)["recognised"].as_u64() > Some(0),
        refused > 0
    );
}

#[test]
fn client_that_leaves_before_it_has_logged_in_has_a_cause_of_its_own() {
    if !has_ssh() {
        return;
    }
    // A key that the server does not know, and a client that trusts nobody.
    let refused = "ssh -F /dev/null -o BatchMode=yes -o UserKnownHostsFile=$SSHCHURN_KNOWN_HOSTS -o IdentityFile=none \
                   -o IdentityAgent=none -p $SSHCHURN_PORT -l $SSHCHURN_USER $SSHCHURN_HOST true </dev/null; true";
    let distrusts = "ssh -F $SSHCHURN_SSH_CONFIG -o UserKnownHostsFile=/dev/null $SSHCHURN_HOST true </dev/null; true";
    for (script, what) in [(refused, "auth_failed"), (distrusts, "client_left")] {
        let case = Case::script(2, script, "");
        let report = case.run(&[]).report();
        let total = &strategy(&report, "command")["totals"]["total"];
        let known = count(total, "auth_failed") + count(total, "client_left");
        assert_eq!((count(total, "attempts"), known), (2, 2), "{what}: {total}");
        assert_eq!(count(total, "handshakes"), 0);
    }
}

#[test]
fn bad_clients_are_failed_tasks_or_a_clear_error_and_never_green() {
    if !has_ssh() {
        return;
    }
    let loud = "head -c 100000000 /dev/zero | tr '\\0' x; exit 3";
    let bomb = "f() { f | f & }; f; wait";
    let cases = [
        ("hang", "sleep 1000", "timeout = \"1s\"", 1, "timed out"),
        ("loud", loud, "", 1, "exit 3"),
        ("signal", "kill -9 $$", "", 1, "signal 9"),
        ("child", "sleep 1000 & exit 0", "", 1, "exit 0"),
        ("bomb", bomb, "max_processes = 40\ntimeout = \"5s\"", 1, ""),
        ("deaf", "exit 0", "", 3, "exit 0"),
        // It kills whoever watches it, and would go on for ever.
        (
            "parricide",
            "kill -9 $PPID; sleep 1000",
            "",
            1,
            "not watched to its end",
        ),
        // A daemon as daemons are made.
        (
            "daemon",
            "setsid sh -c 'sleep 1000 & exit 0' </dev/null >/dev/null 2>&1",
            "",
            1,
            "exit 0",
        ),
    ];
    for (name, then, more, code, end) in cases {
        let script = match name {
            "deaf" => then.to_owned(),
            _ => format!("{SSH}; {then}"),
        };
        let case = Case::script(2, &script, more);
        let finished = case.run(&[]);
        let report = finished.report();
        assert_eq!(finished.code, Some(code), "{name}:\n{}", finished.stdout);
        let ends = clients(&report)["ends"].as_object().unwrap();
        assert!(end.is_empty() || ends.contains_key(end), "{name}: {ends:?}");
        let failed = strategy(&report, "command")["totals"]["tasks"]["tasks_failed"].as_u64();
        assert_eq!(failed > Some(0), code == 1, "{name}");
        nothing_is_left(&case.folder.path().join("here"));
        let outputs = finished.directory.join("clients/round-1/task-0.txt");
        let size = std::fs::metadata(outputs).map_or(0, |file| file.len());
        assert!(size < 100_000, "{name}: {size} bytes");
        if name == "child" {
            assert_eq!(clients(&report)["left_behind"], 2);
            assert!(
                finished.stdout.contains("2 × `sleep 1000`"),
                "{}",
                finished.stdout
            );
        }
    }
}

#[test]
fn child_that_may_linger_fails_no_task_and_is_ended_all_the_same() {
    if !has_ssh() {
        return;
    }
    let case = Case::script(2, &format!("{SSH}; sleep 1234 & exit 0"), "lingers = true");
    let report = case.run(&[]).code(0).report();
    assert_eq!(clients(&report)["left_behind"], 2);
    assert_eq!(processes_with("sleep 1234"), Vec::<String>::new());
}

#[test]
fn clients_that_say_they_are_ready_begin_together() {
    if !has_ssh() {
        return;
    }
    let script = format!(
        "sleep 0.$((SSHCHURN_TASK % 4)); echo ready >&$SSHCHURN_READY_FD; read go <&$SSHCHURN_GO_FD; {SSH}"
    );
    let case = Case::script(8, &script, "waits_for_go = true");
    let report = case.run(&[]).code(0).report();
    assert_eq!(
        strategy(&report, "command")["per_round"][0]["task_connections"],
        Value::from(vec![1; 8])
    );
    // Nor does one whose watcher it has killed before it was ready.
    let case = Case::script(2, "kill -9 $PPID; sleep 1000", "waits_for_go = true");
    let report = case.run(&[]).code(3).report();
    assert_eq!(clients(&report)["ends"]["not watched to its end"], 2);
    nothing_is_left(&case.folder.path().join("here"));
    // One that is never ready, since it is gone, keeps nobody waiting.
    let case = Case::script(2, "exit 7", "waits_for_go = true");
    let report = case.run(&[]).code(3).report();
    assert_eq!(clients(&report)["ends"]["exit 7"], 2);
}

#[test]
fn what_a_client_leaves_on_the_server_is_counted_by_its_pattern() {
    if !has_ssh() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine-before"), "").unwrap();
    let place = folder.path().display();
    let script =
        format!("touch {place}/mine-$SSHCHURN_TASK; touch {place}/other-$SSHCHURN_TASK; {SSH}");
    let case = Case::script(3, &script, &format!("leftovers = \"{place}/mine-*\""));
    let report = case
        .run(&["--threshold", "leftover_dirs == 0"])
        .code(1)
        .report();
    assert_eq!(
        strategy(&report, "command")["totals"]["leftovers"]["leftover_dirs"],
        3
    );
}

#[test]
fn harness_that_is_killed_outright_takes_its_clients_with_it() {
    let mark = "sleep 4321";
    let case = Case::script(3, mark, "");
    let mut running = case.start(&["-v"]);
    running.wait_for("target", SOON);
    wait_until(SOON, "the clients run", || processes_with(mark).len() >= 3);
    kill(Pid::from_raw(running.pid()), Signal::SIGKILL).unwrap();
    running.finish(SOON);
    wait_until(SOON, "the clients are gone", || {
        processes_with(mark).is_empty()
    });
    let place = case.folder.path().join("here").display().to_string();
    wait_until(SOON, "the launcher is gone", || {
        processes_with(&place).is_empty()
    });
    // The key that they were given goes with the next run.
    let next = Case::script(1, "true", "");
    let all = [next.scenario.to_str().unwrap(), "--target", "embedded"];
    driver::start_as(&case.folder.path().join("here"), "next", &all)
        .finish(SOON)
        .code(3);
    nothing_is_left(&case.folder.path().join("here"));
}

#[test]
fn interrupted_run_ends_its_clients_and_says_which_tasks_it_interrupted() {
    let mark = "sleep 5432";
    let case = Case::script(3, mark, "");
    let mut running = case.start(&["-v"]);
    running.wait_for("target", SOON);
    wait_until(SOON, "the clients run", || processes_with(mark).len() >= 3);
    running.signal(Signal::SIGINT);
    running.wait_for("again", SOON);
    running.signal(Signal::SIGINT);
    let finished = running.finish(SOON).code(130);
    let report = finished.report();
    let tasks = &strategy(&report, "command")["totals"]["tasks"];
    assert_eq!(tasks["tasks_interrupted"], 3);
    assert_eq!(clients(&report)["ends"]["interrupted"], 3);
    assert_eq!(processes_with(mark), Vec::<String>::new());
}

#[test]
fn what_can_never_work_is_an_error_before_anything_is_started() {
    let refused = |case: &Case, args: &[&str], words: &[&str]| {
        let finished = case.run(args);
        assert!(
            matches!(finished.code, Some(2 | 4)),
            "{:?}: {}",
            finished.code,
            finished.stderr
        );
        for word in words {
            assert!(
                finished.stderr.contains(word),
                "no `{word}` in {}",
                finished.stderr
            );
        }
        assert!(!finished.directory.exists(), "{}", finished.stderr);
    };
    let fine = Case::script(2, SSH, "");
    refused(
        &fine,
        &["--threshold", "submit.attempts < 3"],
        &["no phases", "submit."],
    );
    refused(
        &fine,
        &["--threshold", "command.poll.banner_eof == 0"],
        &["no phases", "poll."],
    );
    let missing = Case::new(2, "argv = [\"no-such-program-at-all\"]");
    refused(&missing, &[], &["no-such-program-at-all", "PATH"]);
    let there = Case::new(2, "argv = [\"./client.sh\"]");
    refused(&there, &[], &["./client.sh", "counts from the scenario"]);
    std::fs::write(there.folder.path().join("client.sh"), "true\n").unwrap();
    refused(&there, &[], &["cannot be executed", "chmod +x"]);
    for (keys, words) in [
        ("argv = []", &["there is none"][..]),
        ("", &["argv", "missing"]),
        ("argv = [\"x\", 3]", &["list of strings"]),
        (
            "argv = [\"x\", \"{hosts}\"]",
            &["{hosts}", "per = \"round\""],
        ),
        (
            "argv = [\"x\", \"{keys}\"]",
            &["{keys}", "`{key}`", "per = \"round\""],
        ),
        (
            "argv = [\"x\", \"{task}\"]\nper = \"round\"",
            &["{task}", "per = \"task\""],
        ),
        ("argv = [\"x\"]\nper = \"job\"", &["task", "round"]),
        ("argv = [\"x\"]\nleftovers = \"tmp/x\"", &["absolute path"]),
        (
            "argv = [\"x\"]\nconn_retry_attempts = 3",
            &["program of yours"],
        ),
        ("argv = [\"x\"]\ntimeout = \"0s\"", &["longer than zero"]),
        ("argv = [\"x\"]\nlingers = 1", &["true"]),
    ] {
        refused(&Case::new(1, keys), &[], words);
    }
    let path = fine.scenario.to_str().unwrap();
    let finished = sshchurn(&["run", path, "--target", "docker", "--network", "published"]);
    assert_eq!(finished.code, Some(2), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("--network host"),
        "{}",
        finished.stderr
    );
}

#[test]
fn what_the_servers_machine_lacks_is_an_error_before_anything_is_started() {
    let argv = in_shell(SSH);
    let packages = "packages = [\"no-such-package-at-all\"]";
    let shell = "login_shell = \"/no/such/shell\"";
    let missing = [
        "no-such-package-at-all",
        "sshd.packages",
        "`apt-get install no-such-package-at-all`",
        "--target docker",
    ];
    let shells = ["/no/such/shell", "sshd.login_shell", "--target docker"];
    for target in ["embedded", "local"] {
        for (keys, all) in [
            (packages.to_owned(), vec![&missing[..]]),
            (shell.to_owned(), vec![&shells]),
            // Both at once.
            (format!("{packages}\n{shell}"), vec![&missing, &shells]),
        ] {
            let sshd = format!("max_startups = \"100:30:200\"\n{keys}");
            let case = Case::with(1, &argv, &sshd, "");
            let finished = case.run(&["--target", target]).code(4);
            for words in all.into_iter().flatten() {
                assert!(
                    finished.stderr.contains(words),
                    "{target}: no `{words}` in {}",
                    finished.stderr
                );
            }
            assert!(!finished.directory.exists(), "{}", finished.stderr);
        }
    }
}

#[test]
fn stand_in_gives_every_command_to_the_login_shell_of_the_scenario_and_the_report_says_which() {
    if !has_ssh() {
        return;
    }
    for (keys, shell, seen) in [
        ("", "/bin/sh", "sh /bin/sh"),
        ("login_shell = \"/bin/bash\"", "/bin/bash", "bash /bin/bash"),
    ] {
        let ssh = "ssh -F $SSHCHURN_SSH_CONFIG $SSHCHURN_HOST 'echo $0 $SHELL' </dev/null";
        let script = format!("[ \"$({ssh})\" = '{seen}' ]");
        let argv = in_shell(&script);
        let case = Case::with(
            1,
            &argv,
            &format!("max_startups = \"100:30:200\"\n{keys}"),
            "",
        );
        let report = case.run(&[]).code(0).report();
        assert_eq!(report["target"]["login_shell"], shell);
        let effective = report["scenario"]["effective_toml"].as_str().unwrap();
        assert_eq!(effective.contains("login_shell"), !keys.is_empty());
    }
}

#[test]
fn changed_script_is_recorded_and_is_the_same_experiment() {
    if !has_ssh() {
        return;
    }
    let case = Case::new(20, "argv = [\"sh\", \"client.sh\"]");
    let script = case.folder.path().join("client.sh");
    let digest = |finished: &Finished| {
        let report = finished.report();
        let files = report["scenario"]["strategies"][0]["program"]["files"].clone();
        files[1]["sha256"].as_str().unwrap().to_owned()
    };
    std::fs::write(&script, format!("{SSH}\n")).unwrap();
    let before = case.run(&["--rounds", "3"]).code(0);
    let kept: PathBuf = case.folder.path().join("before");
    std::fs::rename(&before.directory, &kept).unwrap();
    let before = Finished {
        directory: kept,
        ..before
    };
    std::fs::write(&script, format!("{SSH}; {SSH}\n")).unwrap();
    let after = case.run(&["--rounds", "3"]).code(0);
    assert_ne!(digest(&before), digest(&after));
    let path = |run: &Path| run.join("report.json").display().to_string();
    let compared = sshchurn(&["compare", &path(&before.directory), &path(&after.directory)]);
    assert_eq!(
        compared.code,
        Some(1),
        "{}{}",
        compared.stdout,
        compared.stderr
    );
    assert!(
        !compared.stderr.contains("another experiment"),
        "{}",
        compared.stderr
    );
}

#[test]
fn command_is_put_under_test_in_one_step_and_a_change_of_it_turns_the_gate_red() {
    if !has_ssh() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("client.sh");
    let sshchurn = |args: &[&str]| {
        let mut command = std::process::Command::new(driver::binary());
        command.args(args).current_dir(folder.path());
        let out = folder.path().join("out");
        driver::start_command(command, out).finish(Duration::from_secs(120))
    };
    let init = ["init", "--target", "embedded", "--", "sh", "client.sh"];
    let again = ["run", "sshchurn.toml", "--target", "embedded"];

    std::fs::write(&script, "exit 3\n").unwrap();
    let finished = sshchurn(&init).code(3);
    assert!(
        finished.stdout.contains("Your command failed (exit 3)"),
        "{}",
        finished.stdout
    );
    std::fs::write(&script, "true\n").unwrap();
    let finished = sshchurn(&init).code(3);
    assert!(
        finished.stdout.contains("no connection"),
        "{}",
        finished.stdout
    );
    assert!(!folder.path().join("sshchurn.toml").exists());

    std::fs::write(&script, format!("{SSH}; {SSH}\n")).unwrap();
    let finished = sshchurn(&init).code(0);
    assert!(
        finished
            .stdout
            .contains("made 2 connections in each of 3 runs"),
        "{}",
        finished.stdout
    );
    assert!(
        folder
            .path()
            .join(".github/workflows/sshchurn.yml")
            .exists()
    );
    sshchurn(&again).code(0);
    std::fs::write(&script, format!("{SSH}; {SSH}; {SSH}\n")).unwrap();
    sshchurn(&again).code(1);
    let finished = sshchurn(&init).code(2);
    assert!(
        finished.stderr.contains("there already"),
        "{}",
        finished.stderr
    );
}

#[test]
fn model_is_held_against_the_client_that_it_models() {
    if !has_ssh() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("both.toml");
    let argv = Value::from(format!("{SSH}; {SSH}"));
    let text = format!(
        "name = \"both\"\ntasks = 4\nrounds = 3\n[[strategy]]\nkind = \"command\"\nname = \"real\"\n\
         argv = [\"sh\", \"-c\", {argv}]\n[[strategy]]\nkind = \"one-shot\"\n[sshd]\nmax_startups = \"100:30:200\"\n"
    );
    std::fs::write(&scenario, text).unwrap();
    let all = [scenario.to_str().unwrap(), "--target", "embedded"];
    let finished = driver::run(folder.path(), &all).code(0);
    let directory = finished.directory.display().to_string();
    // Two connections against one.
    let held = sshchurn(&["fidelity", &directory]).code(1);
    assert!(
        held.stdout.starts_with("`one-shot` differs from `real`"),
        "{}",
        held.stdout
    );
    assert!(held.stdout.contains("2.000 (+100.0 %)"), "{}", held.stdout);
    let json = sshchurn(&["fidelity", &directory, "--format", "json"])
        .code(1)
        .stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["rows"][0]["metric"], "handshakes");
    assert_eq!(json["rows"][1]["agreement"], "agrees");
    // A strategy against itself, and one that is not there.
    sshchurn(&["fidelity", &directory, "--real", "one-shot"]).code(0);
    let wrong = sshchurn(&["fidelity", &directory, "--model", "two-shot"]).code(2);
    assert!(wrong.stderr.contains("real, one-shot"), "{}", wrong.stderr);
}
