//! The real binary on every OpenSSH release there is an image of. Skips loudly without Docker, fails where
//! `SSHCHURN_REQUIRE_DOCKER` says that it is required. The first test that needs them builds all images.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::driver::{self, Finished, books_balance, start_command};
use crate::machine::{Alone, Kind};
use nix::sys::signal::Signal;
use serde_json::Value;
use sshchurn::shipped::{RECIPE, SCENARIOS};
use sshchurn_core::release::Release;
use sshchurn_server::docker::Suite;
use sshchurn_server::{ServerChoice, ServerOptions, ServerRequest, start};

/// Five short runs, on a machine that may be busy.
const MATRIX: Duration = Duration::from_secs(600);

/// The machine with the images of all releases, built one after the other; `None` without an engine.
pub(crate) fn alone_with_images() -> Option<Alone> {
    static BUILT: OnceLock<()> = OnceLock::new();
    let alone = Kind::Docker.alone()?;
    BUILT.get_or_init(|| {
        let built = driver::sshchurn(&["image", "build", "--release", "all"]).code(0);
        assert_eq!(built.stdout.lines().count(), Suite::ALL.len());
    });
    Some(alone)
}

fn matrix(out: &Path, args: &[&str]) -> driver::Running {
    let mut command = Command::new(driver::binary());
    command.arg("matrix").args(args).arg("--out").arg(out);
    start_command(command, out.to_path_buf())
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn run(out: &Path, args: &[&str]) -> Finished {
    let mut command = Command::new(driver::binary());
    command.arg("run").args(args).arg("--out").arg(out);
    start_command(command, out.to_path_buf()).finish(MATRIX)
}

/// A scenario file about releases from `least` on.
fn scenario_since(folder: &Path, least: &str) -> String {
    let (mut scenario, _) = SCENARIOS.resolve("smoke").unwrap();
    scenario.sshd.min_release = Some(least.parse().unwrap());
    let path = folder.join("since.toml");
    std::fs::write(&path, scenario.to_toml()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What a refused client reads: another text since 9.8 (sshd.c:drop_connection).
fn refusal(release: Release) -> &'static str {
    if release >= Release::new(9, 8) {
        "Not allowed at this time"
    } else {
        "Exceeded MaxStartups"
    }
}

#[test]
fn every_release_refuses_in_its_words_and_each_refusal_is_found_in_its_log_by_source_port() {
    let Some(_alone) = alone_with_images() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("matrix");
    matrix(
        &out,
        &[
            "smoke",
            "-n",
            "24",
            "--max-startups",
            "3:50:8",
            "--time-scale",
            "0.1",
        ],
    )
    .finish(MATRIX)
    .code(0);
    let document = read(&out.join("matrix.json"));
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(rows.len(), Suite::ALL.len());
    for (suite, row) in Suite::ALL.into_iter().zip(rows) {
        let release = suite.release();
        let report = read(&out.join(release.to_string()).join("report.json"));
        books_balance(&report);
        let server = report["target"]["release"].as_str().unwrap();
        assert_eq!(Release::find(server), Some(release));
        assert_eq!(row["server"], server);
        assert_eq!(row["state"], "ran");

        // All that was read by anybody who was refused, and somebody was.
        let texts = row["refusal_texts"].as_object().unwrap();
        assert_eq!(
            texts.keys().collect::<Vec<_>>(),
            [refusal(release)],
            "{release}"
        );
        for cell in row["strategies"].as_array().unwrap() {
            assert!(
                cell["banner_eof"].as_u64().unwrap() > 0,
                "{release}: {cell}"
            );
            assert_eq!(cell["server_drops"], cell["banner_eof"], "{release}");
            assert_eq!(cell["matched"], cell["banner_eof"], "{release}");
            assert_eq!(cell["joined"], "source_port", "{release}");
            assert_eq!(cell["unmatched"], 0, "{release}");
        }
        // 8.4 does not log its draws but at DEBUG1.
        if release == Release::new(8, 4) {
            assert_eq!(report["admission"], Value::Null);
        } else {
            assert_ne!(
                report["admission"]["verdict"], "differs",
                "{release}: {report:#}"
            );
            assert!(
                row["admission"]["trials"].as_u64().unwrap() > 0,
                "{release}"
            );
        }
        let wording = report["validity"]
            .as_array()
            .unwrap()
            .iter()
            .find(|check| check["id"] == "server_log_wording")
            .unwrap();
        let wording = wording["actual"].as_str().unwrap();
        assert!(wording.starts_with("0 of "), "{release}: {wording}");
    }
}

#[test]
fn release_that_refuses_the_configuration_does_not_keep_the_others_from_being_run() {
    let Some(_alone) = alone_with_images() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("matrix");
    // A keyword that 9.2 does not know yet.
    let arguments = [
        "smoke",
        "--release",
        "10.0",
        "--release",
        "9.2",
        "-n",
        "3",
        "--rounds",
        "1",
        "--sshd-option",
        "PerSourcePenalties=no",
        "--format",
        "md",
    ];
    let finished = matrix(&out, &arguments).finish(MATRIX).code(4);
    let document = read(&out.join("matrix.json"));
    assert_eq!(document["exit_code"], 4);
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(
        (&rows[0]["release"], &rows[0]["state"]),
        (&"9.2".into(), &"failed".into())
    );
    let error = rows[0]["error"].as_str().unwrap();
    assert!(error.contains("PerSourcePenalties"), "{error}");
    assert_eq!(
        (&rows[1]["release"], &rows[1]["state"]),
        (&"10.0".into(), &"ran".into())
    );
    assert_eq!(rows[1]["exit_code"], 0);
    assert!(finished.stdout.contains("| 9.2 |"), "{}", finished.stdout);
}

#[test]
fn first_interrupt_ends_a_matrix_with_the_table_of_what_there_is() {
    let Some(_alone) = alone_with_images() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("matrix");
    let arguments = [
        "smoke",
        "--release",
        "9.2",
        "--release",
        "10.6",
        "--rounds",
        "30",
    ];
    let mut running = matrix(&out, &arguments);
    running.wait_for("round 1/", MATRIX);
    running.signal(Signal::SIGINT);
    let finished = running.finish(MATRIX).code(130);
    assert!(finished.stdout.contains("not run"), "{}", finished.stdout);
    let document = read(&out.join("matrix.json"));
    assert_eq!(document["interrupted"], true);
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(
        (&rows[0]["state"], &rows[0]["exit_code"]),
        (&"ran".into(), &130.into())
    );
    assert_eq!(rows[1]["state"], "not_run");
    assert!(!out.join("10.6").exists());
}

#[test]
fn scenario_about_newer_releases_gets_the_oldest_that_satisfies_it_and_what_a_killed_look_left_goes()
 {
    let Some(_alone) = alone_with_images() else {
        return;
    };
    // As a run leaves it that is killed while it looks into an image: never started, its owner gone. (One of another boot
    // may be of another machine that is about to start it, and stays.)
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let namespace = std::fs::metadata("/proc/self/ns/pid").unwrap().ino();
    // Above what the kernel gives (`PID_MAX_LIMIT`).
    let owner = format!("sshchurn.owner=4194305:1:{}:{namespace}", boot.trim());
    let image = driver::sshchurn(&["image", "build"]).code(0).stdout;
    let left = Command::new("docker")
        .args(["create", "--label", &owner, image.trim(), "/bin/true"])
        .output()
        .unwrap();
    assert!(left.status.success(), "{left:?}");
    let left = String::from_utf8_lossy(&left.stdout).trim().to_owned();

    let folder = tempfile::tempdir().unwrap();
    let scenario = scenario_since(folder.path(), "9.8");
    let out = folder.path().join("run");
    let finished = run(&out, &[&scenario, "--target", "docker", "-n", "3"]).code(0);
    let server = finished.report()["target"]["release"].clone();
    assert_eq!(
        Release::find(server.as_str().unwrap()),
        Some(Release::new(10, 0))
    );
    let looked = Command::new("docker")
        .args(["inspect", &left])
        .output()
        .unwrap();
    assert!(!looked.status.success(), "it is still there");
    let warnings = finished.report()["warnings"].to_string();
    assert!(warnings.contains(&left[..12]), "{warnings}");
}

#[test]
fn contradictory_releases_are_usage_errors_that_name_both() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = scenario_since(folder.path(), "9.8");
    let out = folder.path().join("run");
    for arguments in [
        vec![scenario.as_str(), "--release", "9.2"],
        vec![&scenario, "--target", "local", "--release", "9.2"],
        vec![&scenario, "--target", "embedded"],
    ] {
        let finished = run(&out, &arguments).code(2);
        for release in ["9.2", "9.8"] {
            assert!(finished.stderr.contains(release), "{}", finished.stderr);
        }
        assert!(!out.exists(), "nothing was started");
    }
    run(&out, &["smoke", "--release", "11.3"]).code(2);
    run(&out, &["smoke", "--target", "embedded", "--release", "9.2"]).code(2);
    matrix(&out, &[&scenario, "--release", "9.2"])
        .finish(MATRIX)
        .code(2);
}

#[test]
fn processes_of_jobs_whose_directory_is_gone_are_ended_between_rounds() {
    let Some(_alone) = alone_with_images() else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (scenario, _) = SCENARIOS.resolve("smoke").unwrap();
    let run = format!("orphans-{}", std::process::id());
    let request = ServerRequest {
        sshd: scenario.sshd.clone(),
        run_id: run.clone(),
        ready_within: Duration::from_secs(60),
        listen: sshchurn_server::ListenOn::OneAddress,
        task_keys: [].into(),
        cores: None,
    };
    let options = ServerOptions::new(RECIPE);
    let target = runtime
        .block_on(start(ServerChoice::Docker, &request, &options, &|text| {
            eprintln!("{text}")
        }))
        .unwrap();
    let docker = |arguments: &[&str]| {
        let output = Command::new("docker").args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let owned = format!("label=sshchurn.run={run}");
    let id = docker(&["ps", "-q", "--no-trunc", "--filter", &owned]);
    let limit = docker(&["inspect", "-f", "{{.HostConfig.PidsLimit}}", &id]);
    let full = u64::from(scenario.sshd.max_startups.full);
    assert!(limit.parse::<u64>().unwrap() >= 4096 + full, "{limit}");

    let job = "for i in 1 2; do setsid sh -c 'sleep 600; :' & done; setsid sleep 600";
    docker(&["exec", "-d", "-u", "runner", &id, "sh", "-c", job]);
    let count = || docker(&["exec", &id, "pgrep", "-c", "-x", "sleep"]);
    driver::wait_until(Duration::from_secs(60), "the orphans", || count() == "3");
    runtime.block_on(target.clear_jobs()).unwrap();
    assert_eq!(docker(&["exec", &id, "pgrep", "-u", "runner"]), "");
    runtime.block_on(target.stop()).unwrap();
}
