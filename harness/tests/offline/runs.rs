//! The real binary on the embedded stand-in: the whole way from scenario to report on any machine.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::driver::{
    self, books_balance, count, nothing_is_left, run, sshchurn, strategy, temporary, wait_until,
};
use nix::sys::signal::Signal;

const SOON: Duration = Duration::from_secs(20);

/// For what any run shows: waits hardly longer than the handshakes.
const QUICK: [&str; 5] = ["smoke", "--target", "embedded", "--time-scale", "0.02"];

/// Starts a run on the stand-in.
fn embedded(directory: &Path, args: &[&str]) -> driver::Running {
    driver::start(directory, &[&["--target", "embedded"], args].concat())
}

#[test]
fn open_gates_makes_exactly_the_connections_the_strategies_promise() {
    let directory = tempfile::tempdir().unwrap();
    let finished = run(
        directory.path(),
        &["open-gates", "--target", "embedded", "--time-scale", "0.1"],
    )
    .code(0);
    let report = finished.report();
    books_balance(&report);

    let reused = &strategy(&report, "reused-session")["totals"];
    assert_eq!(reused["total"]["handshakes_per_task"]["min"], 3);
    assert_eq!(reused["total"]["handshakes_per_task"]["max"], 3);
    assert_eq!(count(&reused["total"], "handshakes"), 90);
    assert_eq!(reused["server"]["server_accepted"], 90);

    // 2 + Σ polls + 1: the poll connections are what the polls' commands add up to, nothing was repeated.
    let per_command = &strategy(&report, "per-command")["totals"];
    assert_eq!(count(&per_command["phases"]["submit"], "handshakes"), 60);
    assert_eq!(count(&per_command["phases"]["cleanup"], "handshakes"), 30);
    assert_eq!(
        count(&per_command["phases"]["poll"], "handshakes"),
        count(&per_command["phases"]["poll"], "commands")
    );
    for numbers in [reused, per_command] {
        assert_eq!(count(&numbers["total"], "banner_eof"), 0);
        assert_eq!(count(&numbers["total"], "retries"), 0);
        assert_eq!(numbers["server"]["server_drops"], 0);
        assert_eq!(numbers["leftovers"]["leftover_dirs"], 0);
    }
}

#[test]
fn multiplexed_tasks_share_connections_until_max_sessions_is_reached() {
    let directory = tempfile::tempdir().unwrap();
    let scenario = directory.path().join("shared.toml");
    // Twelve to a connection of ten sessions, all at once: two of each have no room.
    let text = "name = \"shared\"\ntasks = 24\n[[strategy]]\nkind = \"multiplexed\"\ncommand = \"sleep 2\"\n\
                sessions_per_connection = 12\n[sshd]\nmax_startups = \"10:30:100\"\n[sshd.options]\nMaxSessions = 10\n";
    std::fs::write(&scenario, text).unwrap();
    let finished = run(
        directory.path(),
        &[scenario.to_str().unwrap(), "--target", "embedded"],
    )
    .code(0);
    let report = finished.report();
    books_balance(&report);
    let totals = &strategy(&report, "multiplexed")["totals"];
    assert_eq!(count(&totals["total"], "handshakes"), 2);
    assert_eq!(count(&totals["total"], "commands"), 24);
    assert_eq!(count(&totals["total"], "channel_refused"), 4);
    assert_eq!(totals["tasks"]["tasks_failed"], 4);
    assert_eq!(totals["tasks"]["tasks_succeeded"], 20);
}

#[test]
fn embedded_results_say_so_in_their_first_line() {
    let directory = tempfile::tempdir().unwrap();
    let finished = run(directory.path(), &QUICK);
    let first = finished
        .stdout
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    assert!(first.contains("EMBEDDED"), "{first}");
    assert_eq!(finished.report()["stand_in"], "embedded");
    for file in ["report.json", "events.jsonl.zst", "sshd.log", "sshd_config"] {
        assert!(finished.directory.join(file).exists(), "{file}");
    }
}

#[test]
fn report_renders_a_run_directory_again_to_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let finished = run(
        directory.path(),
        &[&QUICK[..], &["--format", "json"]].concat(),
    );
    let read = |file: &str| std::fs::read_to_string(finished.directory.join(file)).unwrap();
    let written = RENDERED.map(read);
    assert_eq!(finished.stdout, written[0]);
    for (file, text) in RENDERED.iter().zip(&written) {
        assert!(!text.is_empty(), "{file}");
        std::fs::remove_file(finished.directory.join(file)).unwrap();
    }
    let run_directory = finished.directory.display().to_string();
    let formats = ["json", "html", "md", "junit", "openmetrics", "bencher"];
    for (index, format) in formats.into_iter().enumerate() {
        let again = sshchurn(&["report", &run_directory, "--format", format]);
        assert!(again.stdout == written[index], "{format}: {}", again.stdout);
        assert_eq!(again.code, finished.code, "{format}");
        for (file, text) in RENDERED.iter().zip(&written) {
            assert!(read(file) == *text, "{file} after {format}");
        }
    }
}

/// What is rendered into a run directory.
const RENDERED: [&str; 7] = [
    "report.json",
    "report.html",
    "report.md",
    "junit.xml",
    "metrics.txt",
    "bencher.json",
    "latencies.hlog",
];

#[test]
fn report_is_shown_whatever_file_cannot_be_written_and_then_the_exit_code_is_4() {
    let directory = tempfile::tempdir().unwrap();
    let finished = run(
        directory.path(),
        &["open-gates", "--target", "embedded", "--rounds", "1"],
    )
    .code(0);
    // No file takes the name of a folder.
    let html = finished.directory.join("report.html");
    std::fs::remove_file(&html).unwrap();
    std::fs::create_dir(&html).unwrap();
    std::fs::remove_file(finished.directory.join("junit.xml")).unwrap();
    let again = sshchurn(&["report", &finished.directory.display().to_string()]).code(4);
    assert_eq!(again.stdout, finished.stdout);
    assert!(again.stderr.contains("report.html"), "{}", again.stderr);
    assert!(
        again.stderr.contains("`sshchurn report "),
        "{}",
        again.stderr
    );
    assert!(finished.directory.join("junit.xml").exists());
}

#[test]
fn refused_channels_spend_the_reconnect_budget() {
    let directory = tempfile::tempdir().unwrap();
    let finished = run(
        directory.path(),
        &[
            "max-sessions",
            "--target",
            "embedded",
            "--time-scale",
            "0.03",
        ],
    )
    .code(0);
    let reused = &strategy(&finished.report(), "reused-session")["totals"].clone();
    assert_eq!(count(&reused["phases"]["poll"], "channel_refused"), 120);
    assert_eq!(count(&reused["phases"]["poll"], "handshakes"), 120);
    assert_eq!(
        reused["tasks"]["failed"]
            .as_u64()
            .or(reused["tasks"]["tasks_failed"].as_u64()),
        Some(20)
    );
}

#[test]
fn orphans_are_counted_and_tied_to_their_causes() {
    let directory = tempfile::tempdir().unwrap();
    let finished = run(directory.path(), &["orphans", "--target", "embedded"]).code(0);
    let report = finished.report();
    books_balance(&report);
    let leftovers = &strategy(&report, "reused-session")["totals"]["leftovers"];
    assert_eq!(
        leftovers["unexplained"].as_u64().unwrap_or(0),
        0,
        "{leftovers:#}"
    );
    assert!(
        leftovers["leftover_dirs"].as_u64().unwrap() >= 1,
        "{leftovers:#}"
    );
}

#[test]
fn failed_threshold_is_1_and_a_threshold_without_data_is_3() {
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        ("per-command.handshakes < 10", 1),
        // Nothing is refused, so there is no time to refusal.
        ("per-command.refusal.p99 < 1s", 3),
        ("per-command.handshakes > 10", 0),
    ];
    // All at once: a run is mostly waits.
    let started = cases.map(|(threshold, code)| {
        let args = [
            &QUICK[..],
            &["--max-startups", "100:30:200", "--threshold", threshold],
        ]
        .concat();
        (
            driver::start_as(directory.path(), &code.to_string(), &args),
            code,
        )
    });
    for (running, code) in started {
        running.finish(Duration::from_secs(60)).code(code);
    }
}

#[test]
fn wrong_input_is_2_and_starts_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let cases: [(&[&str], &str); 7] = [
        (&["smokee"], "did you mean `smoke`?"),
        (
            &["smoke", "--threshold", "per-command.handshaks > 1"],
            "handshakes",
        ),
        (&["smoke", "--threshold", "handshakes.p101 > 1"], "p101"),
        (&["smoke", "--strategy", "multiplexed"], "no such strategy"),
        (&["smoke", "--max-startups", "10:30"], "start:rate:full"),
        (
            &["smoke", "--sshd-option", "Port=22"],
            "the harness sets this keyword itself",
        ),
        (&["smoke", "--target", "external"], "--address"),
    ];
    for (args, expected) in cases {
        let finished = run(directory.path(), args).code(2);
        assert!(
            finished.stderr.contains(expected),
            "{args:?}: {}",
            finished.stderr
        );
        assert!(!finished.directory.join("events.jsonl.zst").exists());
    }
}

#[test]
fn external_target_that_is_not_loopback_needs_consent() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    std::fs::write(&key, "not read").unwrap();
    let key = key.display().to_string();
    // TEST-NET-1 (RFC 5737): documentation only; refused before any packet is sent.
    let finished = run(
        directory.path(),
        &[
            "smoke",
            "--target",
            "external",
            "--address",
            "192.0.2.1:22",
            "--user",
            "x",
            "--key",
            &key,
        ],
    )
    .code(2);
    assert!(finished.stderr.contains("--consent"), "{}", finished.stderr);
}

#[test]
fn run_directory_in_use_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("run")).unwrap();
    std::fs::write(directory.path().join("run/report.json"), "precious").unwrap();
    run(directory.path(), &["smoke", "--target", "embedded"]).code(2);
    assert_eq!(
        std::fs::read_to_string(directory.path().join("run/report.json")).unwrap(),
        "precious"
    );
}

#[test]
fn first_interrupt_drains_and_reports() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = embedded(directory.path(), &["smoke", "--rounds", "50"]);
    running.signal_at("round 1/", SOON, Signal::SIGINT);
    let finished = running.finish(SOON).code(130);
    let report = finished.report();
    assert_eq!(report["run_end"], "interrupted");
    books_balance(&report);
    assert!(
        finished.stderr.contains("press Ctrl-C again"),
        "{}",
        finished.stderr
    );
    nothing_is_left(directory.path());
}

#[test]
fn second_interrupt_aborts_draining_tasks() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = embedded(
        directory.path(),
        &[
            "smoke",
            "--time-scale",
            "10",
            "--max-startups",
            "100:30:200",
        ],
    );
    running.signal_at("target:", SOON, Signal::SIGINT);
    running.signal_at("press Ctrl-C again", SOON, Signal::SIGINT);
    let finished = running.finish(SOON).code(130);
    nothing_is_left(directory.path());
    books_balance(&finished.report());
}

#[test]
fn terminate_and_hang_up_abort_at_once() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let directory = tempfile::tempdir().unwrap();
        let mut running = embedded(directory.path(), &["smoke", "--time-scale", "10"]);
        running.signal_at("target:", SOON, signal);
        running.finish(SOON).code(130);
        nothing_is_left(directory.path());
    }
}

#[test]
fn run_that_exceeds_its_bound_is_inconclusive() {
    let directory = tempfile::tempdir().unwrap();
    let finished = run(
        directory.path(),
        &[
            "smoke",
            "--target",
            "embedded",
            "--time-scale",
            "10",
            "--max-duration",
            "2s",
        ],
    )
    .code(3);
    assert_eq!(finished.report()["run_end"], "out_of_time");
}

#[test]
fn killed_harness_leaves_a_folder_and_jobs_that_the_next_run_removes() {
    let directory = tempfile::tempdir().unwrap();
    // Jobs of more than a minute: they do not end by themselves while they are looked at.
    let mut running = embedded(directory.path(), &["smoke", "--time-scale", "10"]);
    running.wait_for("target:", SOON);
    wait_until(SOON, "a job", || !jobs(directory.path()).is_empty());
    running.signal(Signal::SIGKILL);
    assert_eq!(running.finish(SOON).code, None);
    assert_eq!(temporary(directory.path(), "sshchurn-").len(), 1);
    let jobs = jobs(directory.path());
    assert!(jobs.iter().any(|job| is_alive(job)), "{jobs:?}");
    driver::start_as(directory.path(), "again", &QUICK).finish(Duration::from_secs(60));
    nothing_is_left(directory.path());
    assert!(!jobs.iter().any(|job| is_alive(job)), "{jobs:?}");
}

/// Process ids that the jobs below the stand-in's temporary folder have written down.
fn jobs(directory: &Path) -> Vec<String> {
    let folders = temporary(directory, "sshchurn-");
    folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(directory.join(folder).join("jobs")).ok())
        .flatten()
        .filter_map(|job| std::fs::read_to_string(job.ok()?.path().join("pid")).ok())
        .map(|pid| pid.trim().to_owned())
        // Made, and not written yet.
        .filter(|pid| !pid.is_empty())
        .collect()
}

/// Whether a process is there and not a zombie.
fn is_alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with('Z'))
    })
}

#[test]
fn closed_stdout_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    let script = format!(
        "{} run smoke --target embedded --time-scale 0.02 --max-startups 100:30:200 --out {}/run | head -n 1; exit \"${{PIPESTATUS[0]}}\"",
        driver::binary(),
        directory.path().display()
    );
    let mut command = Command::new("bash");
    command.arg("-c").arg(script);
    driver::start_command(command, directory.path().join("run"))
        .finish(Duration::from_secs(60))
        .code(0);
}

#[test]
fn full_disk_stops_the_run_with_a_clear_message() {
    let directory = tempfile::tempdir().unwrap();
    let full = directory.path().join("full");
    std::fs::create_dir(&full).unwrap();
    // A file system of its own in a mount namespace of its own: it is gone with the process.
    let script = format!(
        "mount -t tmpfs -o size=64k tmpfs {full} && exec {binary} run smoke --target embedded --rounds 200 --out {full}/run",
        full = full.display(),
        binary = driver::binary()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "--user", "sh", "-c", &script]);
    if nix::unistd::Uid::effective().is_root() {
        command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]);
    }
    command.env("TMPDIR", directory.path());
    let finished = driver::start_command(command, full).finish(Duration::from_secs(120));
    if finished.stderr.contains("unshare failed") || finished.stderr.contains("mount:") {
        assert!(
            std::env::var_os("SSHCHURN_REQUIRE_LOCAL").is_none(),
            "{}",
            finished.stderr
        );
        // Not `eprintln!`, which the test harness keeps to itself when the test passes.
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("SKIPPED: no mount namespace here: {}\n", finished.stderr),
        );
        return;
    }
    let finished = finished.code(4);
    assert!(
        finished.stderr.contains("No space left on device"),
        "{}",
        finished.stderr
    );
    assert_eq!(
        temporary(directory.path(), "sshchurn-"),
        Vec::<String>::new()
    );
}

#[test]
fn scenarios_are_listed_shown_and_checked() {
    let listed = sshchurn(&["scenario", "list"]).code(0);
    assert!(listed.stdout.contains("airflow-68115") && listed.stdout.contains("orphans"));
    let shown = sshchurn(&["scenario", "show", "orphans"]).code(0);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mine.toml");
    std::fs::write(&file, &shown.stdout).unwrap();
    let file = file.display().to_string();
    sshchurn(&["scenario", "check", &file, "smoke"]).code(0);
    std::fs::write(&file, shown.stdout.replace("tasks", "taks")).unwrap();
    let wrong = sshchurn(&["scenario", "check", &file, "smoke"]).code(2);
    assert!(
        wrong.stderr.contains("did you mean `tasks`?"),
        "{}",
        wrong.stderr
    );
    assert!(
        wrong.stdout.contains("smoke: ok"),
        "the other is checked all the same"
    );
}

#[test]
fn holders_and_logins_that_fail_are_counted_apart_on_the_stand_in_which_bans_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("beside.toml");
    let text = "name = \"beside\"\ntasks = 2\n[holders]\ncount = 3\nuntil = \"grace_time\"\n[[strategy]]\n\
                kind = \"failing-login\"\nlogins = 3\nspacing = [\"0s\", \"10ms\"]\n[sshd]\n\
                max_startups = \"10:30:100\"\nslow_auth = \"1ms\"\n[sshd.options]\nLoginGraceTime = 1\n";
    std::fs::write(&path, text).unwrap();
    let arguments = [path.to_str().unwrap(), "--target", "embedded"];
    let finished = run(directory.path(), &arguments).code(0);
    let report = finished.report();
    books_balance(&report);
    let totals = &report["strategies"][0]["totals"];
    let holders = &totals["holders"];
    assert_eq!(
        (&holders["admitted"], &holders["ended_by_grace"]),
        (&3.into(), &3.into()),
        "{holders:#}"
    );
    let counts = &totals["total"]["counts"];
    assert_eq!(
        (&counts["attempts"], &counts["auth_failed"]),
        (&6.into(), &6.into())
    );
    assert_eq!(totals["tasks"]["tasks_succeeded"], 2);
    assert_eq!(totals["tasks_banned"], 0);
    // Each task came from an address of its own.
    let tasks = report["strategies"][0]["per_round"][0]["failing"]
        .as_array()
        .unwrap();
    let sources: Vec<&str> = tasks
        .iter()
        .map(|task| task["source"].as_str().unwrap())
        .collect();
    assert_eq!(sources, ["127.1.1.1", "127.1.1.2"]);
    assert!(totals["server"]["key_commands"].as_u64().unwrap() >= 6);
    for words in [
        "3 of 3 silent clients beside the tasks (3 in each round) were admitted and held a startup slot; 3 were ended by \
         LoginGraceTime",
        "the stand-in has no penalties",
    ] {
        assert!(finished.stdout.contains(words), "{}", finished.stdout);
    }
    // Elsewhere nobody can have an address of his own.
    let finished = run(
        &directory.path().join("elsewhere"),
        &[
            path.to_str().unwrap(),
            "--target",
            "external",
            "--address",
            "127.0.0.1:22",
            "--user",
            "nobody",
            "--key",
            "/nonexistent",
            "--consent",
            "127.0.0.1",
        ],
    )
    .code(2);
    assert!(
        finished.stderr.contains("a source address of its own"),
        "{}",
        finished.stderr
    );
}
