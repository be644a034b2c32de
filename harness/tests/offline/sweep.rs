//! `sshchurn sweep` on the embedded stand-in: a grid, going on after an interruption, shards, and what is refused before anything
//! is run.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::driver::{
    self, Finished, Running, binary, nothing_is_left, sshchurn, start_command, wait_until,
};
use nix::sys::signal::Signal;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);

/// Few tasks, limits that refuse nobody, and a strategy whose connections are known beforehand: three for each task.
const SCENARIO: &str = "name = \"tiny\"\ntasks = 2\ntime_scale = 0.01\nmax_duration = \"30s\"\n[job]\nduration = \"2s\"\n\
                        log_lines = 1\n[[strategy]]\nkind = \"reused-session\"\ncleanup = \"always\"\n[sshd]\n\
                        max_startups = \"100:30:200\"\n";

/// Two points of two keys, twice each.
const GRID: [&str; 6] = [
    "--vary",
    "tasks=2,4",
    "--vary",
    "max_startups=100:30:200,200:30:300",
    "--repeats",
    "2",
];

fn scenario(folder: &Path) -> String {
    let path = folder.join("tiny.toml");
    std::fs::write(&path, SCENARIO).unwrap();
    path.display().to_string()
}

/// `sshchurn sweep tiny --target embedded ARGS --out FOLDER/OUT`, in the background.
fn start(folder: &Path, out: &str, args: &[&str]) -> Running {
    let mut command = Command::new(binary());
    command
        .args(["sweep", &scenario(folder), "--target", "embedded"])
        .args(args)
        .arg("--out")
        .arg(folder.join(out))
        .env("TMPDIR", folder);
    start_command(command, folder.join(out))
}

fn sweep(folder: &Path, out: &str, args: &[&str]) -> Finished {
    start(folder, out, args).finish(SOON * 4)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn document(folder: &Path) -> Value {
    serde_json::from_str(&read(&folder.join("sweep.json"))).unwrap()
}

/// What does not depend on the clock: for each point and repeat its settings, its seed and its handshakes.
fn facts(report: &Value) -> BTreeMap<(u64, u64), (String, u64, f64)> {
    let mut facts = BTreeMap::new();
    for point in report["points"].as_array().unwrap() {
        let handshakes = point["strategies"][0]["values"]
            .as_array()
            .unwrap()
            .iter()
            .find(|value| value["metric"] == "handshakes")
            .unwrap();
        for (index, run) in point["runs"].as_array().unwrap().iter().enumerate() {
            if run["state"] == "ran" {
                let key = (
                    point["point"].as_u64().unwrap(),
                    run["repeat"].as_u64().unwrap(),
                );
                let number = handshakes["values"][index].as_f64().unwrap();
                let seed = run["seed"].as_u64().unwrap();
                facts.insert(key, (point["settings"].to_string(), seed, number));
            }
        }
    }
    facts
}

fn records(out: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(out.join("records")) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".json"))
        .collect();
    names.sort();
    names
}

#[test]
fn grid_is_run_twice_interrupted_and_gone_on_with_and_in_shards_with_the_same_result() {
    let folder = tempfile::tempdir().unwrap();
    let whole = sweep(folder.path(), "whole", &GRID).code(0);
    assert!(
        whole.stdout.starts_with("EMBEDDED STAND-IN"),
        "{}",
        whole.stdout
    );
    for words in [
        "tiny over tasks and max_startups: 4 points",
        "8 of 8 runs done",
        "Exit code: 0",
    ] {
        assert!(whole.stdout.contains(words), "{words}: {}", whole.stdout);
    }
    assert!(
        whole.stdout.lines().all(|line| line.chars().count() <= 110),
        "{}",
        whole.stdout
    );
    assert!(
        whole.stderr.contains("if each takes the median of these"),
        "{}",
        whole.stderr
    );
    let report = document(&whole.directory);
    let expected = facts(&report);
    assert_eq!(expected.len(), 8);
    for ((_, repeat), (settings, seed, handshakes)) in &expected {
        let tasks = if settings.contains("\"4\"") { 4.0 } else { 2.0 };
        assert!(
            (handshakes - tasks * 3.0).abs() < 1e-9,
            "{settings}: {handshakes}"
        );
        assert_eq!(
            *repeat == 1,
            *seed == 1,
            "the first repeat has the scenario's own seed"
        );
    }
    // One row for each point, repeat, strategy and metric, below the names of the columns.
    let rows = read(&whole.directory.join("sweep.csv")).lines().count();
    assert_eq!(rows, 1 + 4 * 2 * 6);
    assert!(read(&whole.directory.join("sweep.html")).contains("<svg"));
    assert!(
        !whole.directory.join("runs").exists(),
        "run directories are kept"
    );

    // Ctrl-C after the first run has begun: it is recorded, and nothing after it.
    let mut running = start(folder.path(), "stopped", &GRID);
    running.signal_at("run 1 of 8", SOON, Signal::SIGINT);
    let stopped = running.finish(SOON).code(130);
    assert_eq!(records(&stopped.directory).len(), 1, "{}", stopped.stderr);
    for words in [
        "the sweep stops after the run under way",
        "1 of 8 runs are recorded",
        "--out",
    ] {
        assert!(
            stopped.stderr.contains(words),
            "{words}: {}",
            stopped.stderr
        );
    }
    assert!(stopped.stdout.contains("Not run: "), "{}", stopped.stdout);

    // Killed in the middle of its third run: the second is recorded, the third is not.
    let mut running = start(folder.path(), "stopped", &GRID);
    running.wait_for("run 3 of 8", SOON);
    running.signal(Signal::SIGKILL);
    let killed = running.finish(SOON);
    assert_eq!(killed.code, None);
    assert!(
        (2..=3).contains(&records(&killed.directory).len()),
        "{}",
        killed.stderr
    );
    let resumed = sweep(folder.path(), "stopped", &GRID).code(0);
    assert!(
        resumed.stderr.contains("going on with the sweep"),
        "{}",
        resumed.stderr
    );
    assert!(
        !resumed.stderr.contains("run 1 of 8:"),
        "{}",
        resumed.stderr
    );
    assert_eq!(facts(&document(&resumed.directory)), expected);
    assert!(!resumed.directory.join("runs").exists());

    // Nothing is left to do, and the report is the same.
    let again = sweep(folder.path(), "stopped", &GRID).code(0);
    assert!(!again.stderr.contains("run 8 of 8"), "{}", again.stderr);
    assert_eq!(again.stdout, resumed.stdout);

    // Shards, each into a directory of its own.
    let shard = |index: &str| {
        sweep(
            folder.path(),
            &format!("shard-{index}"),
            &[&GRID[..], &["--shard", &format!("{index}/2")]].concat(),
        )
    };
    let first = shard("1").code(0);
    assert_eq!(records(&first.directory).len(), 4);
    let directories = ["1", "2"].map(|index| {
        folder
            .path()
            .join(format!("shard-{index}"))
            .display()
            .to_string()
    });
    let half = sshchurn(&["sweep", "--report", &directories[0]]).code(3);
    assert!(
        half.stdout.contains("4 of 8 runs done") && half.stdout.contains("Not run: "),
        "{}",
        half.stdout
    );
    shard("2").code(0);
    let merged = folder.path().join("merged");
    let together = sshchurn(&[
        "sweep",
        "--report",
        &directories[0],
        &directories[1],
        "--out",
        merged.to_str().unwrap(),
        "--metric",
        "handshakes",
    ])
    .code(0);
    assert!(
        together.stdout.contains("8 of 8 runs done"),
        "{}",
        together.stdout
    );
    assert_eq!(facts(&document(&merged)), expected);
    nothing_is_left(folder.path());
}

#[test]
fn second_interrupt_gives_the_run_under_way_up_and_keeps_those_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let args = [
        "--vary",
        "tasks=2,3",
        "--vary",
        "job.duration=2s,2000s",
        "--vary",
        "time_scale=0.01",
        "--max-duration",
        "5m",
    ];
    let mut running = start(folder.path(), "out", &args);
    // Two of the four points take twenty seconds: the first of these is under way for long enough.
    running.wait_for("2000s", SOON);
    running.signal(Signal::SIGINT);
    running.signal_at("stops after the run under way", SOON, Signal::SIGINT);
    let stopped = running.finish(SOON).code(130);
    assert!(
        stopped.stderr.contains("the run under way is given up"),
        "{}",
        stopped.stderr
    );
    let report = document(&stopped.directory);
    assert_eq!(report["interrupted"], true);
    assert!(records(&stopped.directory).len() < 4);
    assert!(!stopped.directory.join("runs").exists());
    wait_until(SOON, "everything is gone", || {
        driver::processes_with(&folder.path().display().to_string()).is_empty()
    });
    nothing_is_left(folder.path());
}

#[test]
fn what_is_wrong_is_told_before_anything_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("points.csv");
    std::fs::write(&list, "tasks,max_startups\n2\n").unwrap();
    let list = list.to_str().unwrap();
    for (args, words) in [
        (
            &["--vary", "taks=2,3"][..],
            &[
                "point `taks=2`",
                "unknown key `taks`",
                "did you mean `tasks`?",
            ][..],
        ),
        (
            &["--vary", "tasks=2,many"],
            &["point `tasks=many`", "a whole number is needed"],
        ),
        (
            &["--vary", "tasks=0..2"],
            &["point `tasks=0`", "0 is out of range"],
        ),
        (&["--vary", "poll_interval=1s..3s:1s"], &["1s,2s,3s"]),
        (
            &["--vary", "command_attempts=2"],
            &["`reused-session` does not use this tunable"],
        ),
        (
            &["--vary", "strategy=per-command"],
            &["no such strategy", "it has reused-session"],
        ),
        (
            &["--vary", "release=9.2,10.0"],
            &["cannot be chosen", "--target docker"],
        ),
        (
            &["--vary", "tasks=2", "--vary", "tasks=3"],
            &["`tasks` is varied twice"],
        ),
        (
            &["--vary", "tasks=2", "-n", "3"],
            &["--tasks does nothing where `tasks` is varied"],
        ),
        (
            &["--vary", "tasks=2", "--metric", "atempts"],
            &["--metric atempts", "did you mean `attempts`"],
        ),
        (
            &["--vary", "tasks=2", "--metric", "submit.p99.9"],
            &["p99.9 is not kept"],
        ),
        (&["--vary", "tasks=2", "--shard", "3/2"], &["i/K"]),
        (
            &["--vary", "tasks=2", "--address", "127.0.0.1:22"],
            &["does nothing without --target external"],
        ),
        (
            &["--vary", "tasks=1..100000", "--repeats", "2"],
            &["more than 10000 values"],
        ),
        (
            &["--points", list],
            &["points.csv: line 2: 1 values for 2 keys"],
        ),
        (&[], &["--vary"]),
    ] {
        let refused = sweep(folder.path(), "out", args).code(2);
        for word in words {
            assert!(
                refused.stderr.contains(word),
                "{word:?} in {}",
                refused.stderr
            );
        }
        assert!(!folder.path().join("out").exists(), "{args:?}");
    }
    let nothing = sshchurn(&["sweep", "--report", folder.path().to_str().unwrap()]).code(2);
    assert!(
        nothing.stderr.contains("holds no sweep"),
        "{}",
        nothing.stderr
    );
}

#[test]
fn list_of_points_with_thresholds_and_kept_runs_and_another_sweep_is_refused_its_directory() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("points.csv");
    std::fs::write(
        &list,
        "# two points\ntasks,sshd.options.MaxSessions\n2,\n3,20\n",
    )
    .unwrap();
    let list = list.display().to_string();
    let args = [
        "--points",
        &list,
        "--keep-runs",
        "--threshold",
        "handshakes <= 6",
        "--metric",
        "handshakes",
        "--metric",
        "server_cpu",
    ];
    // The threshold does not hold with three tasks, which is shown and is no failure of the sweep.
    let finished = sweep(folder.path(), "out", &args).code(0);
    assert!(
        finished
            .stdout
            .contains("A threshold does not hold: tasks=3, sshd.options.MaxSessions=20."),
        "{}",
        finished.stdout
    );
    for run in ["point-00001-repeat-001", "point-00002-repeat-001"] {
        let kept = finished.directory.join("runs").join(run);
        assert!(kept.join("report.json").exists(), "{run}");
    }
    let other = sweep(folder.path(), "out", &["--vary", "tasks=2,3"]).code(2);
    for words in ["is of another sweep", "the scenario's settings", "point 2"] {
        assert!(other.stderr.contains(words), "{words}: {}", other.stderr);
    }
    let foreign = folder.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("mine"), "precious").unwrap();
    sweep(folder.path(), "foreign", &["--vary", "tasks=2"]).code(2);
    assert_eq!(std::fs::read_dir(&foreign).unwrap().count(), 1);
}
