//! The real binary compares runs on the embedded stand-in: exit codes, refusals, and a baseline that joins the verdict.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::driver::{self, Finished, Running, sshchurn};

const SOON: Duration = Duration::from_secs(120);

/// A scenario whose client is of this kind, whatever the kind, under the same name.
fn scenario(directory: &Path, kind: &str) -> PathBuf {
    let path = directory.join(format!("{kind}.toml"));
    let text = format!(
        "name = \"client\"\ntasks = 12\nrounds = 2\ntime_scale = 0.1\n[job]\nduration = \"8s\"\n[[strategy]]\nname = \
         \"client\"\nkind = \"{kind}\"\ncleanup = \"always\"\n[sshd]\nmax_startups = \"1000:100:1000\"\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// Starts a run; runs that do not build on each other go on at once, since they are mostly waits.
fn start_of(directory: &Path, kind: &str, name: &str, further: &[&str]) -> Running {
    let file = scenario(directory, kind);
    let folder = directory.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let mut args = vec![file.to_str().unwrap(), "--target", "embedded"];
    args.extend(further);
    driver::start(&folder, &args)
}

fn run_of(directory: &Path, kind: &str, name: &str, further: &[&str]) -> Finished {
    start_of(directory, kind, name, further).finish(SOON)
}

fn compare(base: &Path, new: &Path, further: &[&str]) -> Finished {
    let mut args = vec!["compare", base.to_str().unwrap(), new.to_str().unwrap()];
    args.extend(further);
    sshchurn(&args)
}

#[test]
fn a_client_that_polls_on_new_connections_regresses_and_the_same_client_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let [base, same, churn] = [
        ("reused-session", "base"),
        ("reused-session", "same"),
        ("per-command", "churn"),
    ]
    .map(|(kind, name)| start_of(directory.path(), kind, name, &[]))
    .map(|running| running.finish(SOON).code(0));

    let unchanged = compare(&base.directory, &same.directory, &[]).code(0);
    assert!(
        unchanged.stdout.starts_with("EMBEDDED"),
        "{}",
        unchanged.stdout
    );
    let file = base.directory.join("report.json");
    let regressed = compare(&file, &churn.directory, &["--format", "json"]).code(1);
    let document: serde_json::Value = serde_json::from_str(&regressed.stdout).unwrap();
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["verdict"], "fail");
    let found = |name: &str| {
        let metrics = document["metrics"].as_array().unwrap();
        let gating = metrics.iter().find(|metric| metric["metric"] == name);
        gating.unwrap()["finding"].clone()
    };
    assert_eq!(found("handshakes"), "regressed");
    assert_eq!(found("tasks_failed"), "unchanged");
    let client = document["differences"].as_array().unwrap();
    assert!(
        client
            .iter()
            .any(|difference| difference["what"] == "client.kind")
    );
    // The other way round it is an improvement.
    let improved = compare(&churn.directory, &base.directory, &["--format", "md"]).code(0);
    assert!(improved.stdout.contains("improved"), "{}", improved.stdout);
    // A report.json is not needed where the ledger is.
    std::fs::remove_file(&file).unwrap();
    compare(&base.directory, &same.directory, &[]).code(0);
}

#[test]
fn a_baseline_joins_the_verdict_of_the_run_and_of_its_report() {
    let directory = tempfile::tempdir().unwrap();
    let base = run_of(directory.path(), "reused-session", "base", &[]).code(0);
    let baseline = base.directory.join("report.json");
    let baseline = ["--baseline", baseline.to_str().unwrap()];
    let passed = start_of(directory.path(), "reused-session", "same", &baseline);
    let failed = start_of(directory.path(), "per-command", "churn", &baseline);
    let passed = passed.finish(SOON).code(0);
    assert!(passed.stdout.contains("Against the baseline: PASS"));
    let failed = failed.finish(SOON).code(1);
    assert!(failed.stdout.contains("Verdict: FAIL"), "{}", failed.stdout);
    assert!(failed.stdout.contains("REGRESSED"), "{}", failed.stdout);
    let report = failed.report();
    assert_eq!(report["verdict"], "fail");
    assert!(report["baseline"].is_string());
    assert!(failed.directory.join("comparison.json").exists());
    // Rendered again without the baseline, to the same bytes and the same exit code.
    std::fs::remove_dir_all(&base.directory).unwrap();
    let written = std::fs::read_to_string(failed.directory.join("report.json")).unwrap();
    let again = sshchurn(&[
        "report",
        failed.directory.to_str().unwrap(),
        "--format",
        "json",
    ])
    .code(1);
    assert_eq!(again.stdout, written);
}

#[test]
fn too_few_rounds_are_inconclusive() {
    let directory = tempfile::tempdir().unwrap();
    let one = ["--rounds", "1"];
    let [base, new] = ["base", "new"]
        .map(|name| start_of(directory.path(), "reused-session", name, &one))
        .map(|running| running.finish(SOON).code(0));
    let compared = compare(&base.directory, &new.directory, &[]).code(3);
    assert!(
        compared.stdout.contains("insufficient"),
        "{}",
        compared.stdout
    );
}

#[test]
fn what_cannot_be_compared_is_a_usage_error_and_nothing_is_started() {
    let directory = tempfile::tempdir().unwrap();
    let base = run_of(directory.path(), "reused-session", "base", &[]).code(0);
    let file = base.directory.join("report.json");
    let baseline = ["--baseline", file.to_str().unwrap()];

    // More tasks are another experiment.
    let more = [&baseline[..], &["-n", "13"]].concat();
    let refused = run_of(directory.path(), "reused-session", "more", &more).code(2);
    assert!(
        refused
            .stderr
            .contains("tasks: 12 in the baseline, 13 in the new run")
    );
    assert!(!refused.directory.exists(), "nothing was started");
    // Compared on request, task for task.
    let allowed = [&more[..], &["--allow-different"]].concat();
    let allowed = run_of(directory.path(), "reused-session", "allowed", &allowed).code(0);
    assert!(allowed.stderr.contains("another experiment is compared"));
    assert!(
        allowed.stdout.contains("handshakes per task"),
        "{}",
        allowed.stdout
    );

    // Of a run that was compared, the verdict is known only with the comparison.
    std::fs::remove_file(allowed.directory.join("comparison.json")).unwrap();
    let lost = sshchurn(&["report", allowed.directory.to_str().unwrap()]).code(3);
    assert!(
        lost.stdout.contains("comparison.json is not there"),
        "{}",
        lost.stdout
    );

    let one = ["--rounds", "1", "--baseline", file.to_str().unwrap()];
    let one = run_of(directory.path(), "reused-session", "one", &one).code(2);
    assert!(one.stderr.contains("needs 2 rounds"), "{}", one.stderr);
    assert!(!one.directory.exists(), "nothing was started");

    let missing = directory.path().join("no-such.json");
    compare(&missing, &base.directory, &[]).code(2);
    let missing = ["--baseline", missing.to_str().unwrap()];
    let unread = run_of(directory.path(), "reused-session", "unread", &missing).code(2);
    assert!(!unread.directory.exists(), "nothing was started");

    let text = std::fs::read_to_string(&file).unwrap();
    let current = sshchurn_report::SCHEMA_VERSION;
    for (version, advice) in [
        ("1", "sshchurn report RUNDIR"),
        ("99", "use a newer sshchurn"),
    ] {
        let other = directory.path().join(format!("version-{version}.json"));
        let edited = text.replacen(
            &format!("\"schema_version\": {current}"),
            &format!("\"schema_version\": {version}"),
            1,
        );
        std::fs::write(&other, edited).unwrap();
        let refused = compare(&other, &base.directory, &[]).code(2);
        assert!(
            refused
                .stderr
                .contains(&format!("this program reads {current}")),
            "{}",
            refused.stderr
        );
        assert!(refused.stderr.contains(advice), "{}", refused.stderr);
    }
    let unknown = compare(&file, &file, &["--gate-on", "atempts"]).code(2);
    assert!(
        unknown.stderr.contains("did you mean `attempts`?"),
        "{}",
        unknown.stderr
    );
}
