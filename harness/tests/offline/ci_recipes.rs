//! The CI recipes of `reports/ci`, executed: the script on the real binary and on a stand-in of it, the YAML files with
//! stand-ins for what a CI system provides.

use std::fs::{read_to_string, write};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::driver::{self, Finished, books_balance, nothing_is_left, start_command};
use nix::sys::signal::Signal;
use saphyr::{LoadableYamlNode as _, Yaml};

const SOON: Duration = Duration::from_secs(60);
/// Where the recipes have the run directory.
const OUT: &str = "sshchurn-report";
const TEMPORARY: &str = "tmp";
/// The stand-in that is over in seconds and refuses nobody.
const QUICK: [&str; 5] = [
    "smoke",
    "--target",
    "embedded",
    "--max-startups",
    "100:30:200",
];

fn recipes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/ci")
}

/// Writes an executable script.
fn program(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// `gate.sh ARGS` in a folder, where nothing of the environment this test runs in is seen.
fn gate(directory: &Path, args: &[&str]) -> Command {
    let mut command = clean("sh", directory);
    command.arg(recipes().join("gate.sh")).args(args);
    command.env("SSHCHURN", driver::binary());
    command
}

/// A program in a folder and a bare environment, with a temporary folder of its own.
fn clean(program: &str, directory: &Path) -> Command {
    let temporary = directory.join(TEMPORARY);
    std::fs::create_dir_all(&temporary).unwrap();
    let mut command = Command::new(program);
    command
        .current_dir(directory)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        .env("TMPDIR", temporary)
        .env("HOME", directory);
    command
}

fn to_the_end(command: Command, directory: &Path) -> Finished {
    start_command(command, directory.join(OUT)).finish(SOON)
}

#[test]
fn gate_ends_with_the_exit_code_of_the_run_and_keeps_its_files() {
    let cases = [
        ("per-command.handshakes > 10", 0, "gate: pass"),
        ("per-command.handshakes < 10", 1, "gate: fail"),
        // Nobody is refused, so there is no time to refusal.
        ("per-command.refusal.p99 < 1s", 3, "gate: inconclusive"),
    ];
    // All at once: a run is mostly waits.
    let started = cases.map(|(threshold, code, words)| {
        let directory = tempfile::tempdir().unwrap();
        let summary = directory.path().join("summary.md");
        write(&summary, "what an earlier step wrote\n").unwrap();
        let mut command = gate(
            directory.path(),
            &[&QUICK[..], &["--threshold", threshold]].concat(),
        );
        command.env("GITHUB_STEP_SUMMARY", &summary);
        let running = start_command(command, directory.path().join(OUT));
        (directory, summary, running, code, words)
    });
    for (directory, summary, running, code, words) in started {
        let finished = running.finish(SOON).code(code);
        assert!(finished.stderr.contains(words), "{}", finished.stderr);
        books_balance(&finished.report());
        let text = read_to_string(finished.directory.join("report.txt")).unwrap();
        assert!(text.contains("Verdict"), "{text}");
        assert_eq!(finished.stdout, text);
        for file in ["events.jsonl.zst", "sshd.log", "sshd_config"] {
            assert!(finished.directory.join(file).exists(), "{file}");
        }
        let summary = read_to_string(&summary).unwrap();
        assert!(summary.starts_with("what an earlier step wrote\n## sshchurn: "));
        assert!(
            summary.contains(&format!("(exit code {code})"))
                && summary.contains("\n### sshchurn: "),
            "{summary}"
        );
        let left = driver::temporary(&directory.path().join(TEMPORARY), "");
        assert_eq!(left, Vec::<String>::new());
    }
}

#[test]
fn gate_on_wrong_input_is_2_and_touches_nothing() {
    let directory = tempfile::tempdir().unwrap();
    to_the_end(gate(directory.path(), &[]), directory.path()).code(2);
    let finished = to_the_end(gate(directory.path(), &["smokee"]), directory.path()).code(2);
    assert!(
        finished.stderr.contains("did you mean"),
        "{}",
        finished.stderr
    );
    assert!(!finished.directory.exists());

    std::fs::create_dir(directory.path().join(OUT)).unwrap();
    let precious = directory.path().join(OUT).join("report.json");
    write(&precious, "precious").unwrap();
    to_the_end(gate(directory.path(), &QUICK), directory.path()).code(2);
    assert_eq!(read_to_string(&precious).unwrap(), "precious");
    assert_eq!(driver::temporary(&directory.path().join(OUT), "").len(), 1);
}

#[test]
fn gate_that_is_ended_lets_the_run_clean_up_and_keeps_the_partial_report() {
    let directory = tempfile::tempdir().unwrap();
    let command = gate(
        directory.path(),
        &["smoke", "--target", "embedded", "--rounds", "50"],
    );
    let mut running = start_command(command, directory.path().join(OUT));
    running.signal_at("round 1/", SOON, Signal::SIGTERM);
    let finished = running.finish(SOON).code(130);
    assert_eq!(finished.report()["run_end"], "interrupted");
    assert!(finished.directory.join("report.txt").exists());
    nothing_is_left(&directory.path().join(TEMPORARY));
}

/// A program that says how it was called, writes files into its run directory, and ends as it is told.
fn stand_in(directory: &Path, writes: &[&str], code: i32) -> PathBuf {
    let path = directory.join("stand-in");
    let writes: String = writes
        .iter()
        .map(|file| format!("echo 'text of {file}' >\"$out/{file}\"\n"))
        .collect();
    program(
        &path,
        &format!(
            "printf '%s\\n' \"$@\" >called\nfor out; do :; done\nmkdir -p \"$out\"\n{writes}exit {code}"
        ),
    );
    path
}

/// What a judged run leaves.
const REPORTS: [&str; 5] = [
    "report.html",
    "report.md",
    "junit.xml",
    "report.json",
    "metrics.txt",
];

#[test]
fn gate_puts_the_markdown_report_into_the_summary_and_trusts_no_verdict_without_the_reports() {
    let directory = tempfile::tempdir().unwrap();
    let summary = directory.path().join("summary.md");
    let with = |writes: &[&str], code, ends_with| {
        let _ = std::fs::remove_file(&summary);
        let mut command = gate(directory.path(), &["airflow-68115"]);
        command
            .env("SSHCHURN", stand_in(directory.path(), writes, code))
            .env("GITHUB_STEP_SUMMARY", &summary);
        let finished = to_the_end(command, directory.path()).code(ends_with);
        let text = read_to_string(&summary).unwrap();
        std::fs::remove_dir_all(&finished.directory).unwrap();
        (finished.stderr, text)
    };
    for code in [0, 1, 3, 4, 130] {
        let (stderr, text) = with(&REPORTS, code, code);
        assert!(!stderr.contains("gate: not in"), "{stderr}");
        assert!(text.ends_with("\n\ntext of report.md\n"), "{text}");
    }
    for code in [0, 1, 3] {
        let (stderr, text) = with(&["report.json", "report.html", "metrics.txt"], code, 4);
        assert!(
            stderr.contains("not in sshchurn-report: report.md junit.xml")
                && stderr.contains(&format!("ended with exit code {code}")),
            "{stderr}"
        );
        assert!(text.contains("There is no report"), "{text}");
        assert!(text.contains("(exit code 4)"), "{text}");
    }
    // Nothing was measured, so that there is nothing to write.
    for code in [4, 130] {
        let (stderr, text) = with(&[], code, code);
        assert!(!stderr.contains("left no whole report"), "{stderr}");
        assert!(text.contains(&format!("(exit code {code})")), "{text}");
    }
}

#[test]
fn gate_compares_with_a_baseline_that_is_there_and_says_so_when_it_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let called_with = |baseline: &str| {
        let mut command = gate(directory.path(), &["smoke", "--threshold", "a b == 0"]);
        command
            .env("SSHCHURN", stand_in(directory.path(), &REPORTS, 0))
            .env("SSHCHURN_BASELINE", baseline);
        let finished = to_the_end(command, directory.path()).code(0);
        let called = read_to_string(directory.path().join("called")).unwrap();
        (finished.stderr, called.replace('\n', "|"))
    };
    let plain = format!("run|smoke|--threshold|a b == 0|--out|{OUT}|");
    let (stderr, called) = called_with("base line.json");
    assert_eq!(called, plain);
    assert!(stderr.contains("no baseline base line.json"), "{stderr}");
    write(directory.path().join("base line.json"), "{}").unwrap();
    assert_eq!(
        called_with("base line.json").1,
        plain.replace("--out", "--baseline|base line.json|--out")
    );
    assert_eq!(called_with("").1, plain);
}

#[test]
fn gate_with_the_baseline_of_another_experiment_is_2_and_with_its_own_shows_the_comparison() {
    let directory = tempfile::tempdir().unwrap();
    // Three connections a task, whatever the timing: there is nothing for chance to move.
    let quick = [
        &QUICK[..],
        &["--rounds", "2", "--strategy", "reused-session"],
    ]
    .concat();
    let base = to_the_end(gate(directory.path(), &quick), directory.path()).code(0);
    let baseline = directory.path().join("baseline.json");
    std::fs::rename(base.directory.join("report.json"), &baseline).unwrap();
    std::fs::remove_dir_all(&base.directory).unwrap();

    let with_baseline = |args: &[&str]| {
        let mut command = gate(directory.path(), args);
        command.env("SSHCHURN_BASELINE", "baseline.json");
        to_the_end(command, directory.path())
    };
    let finished = with_baseline(&[&quick[..], &["--time-scale", "0.5"]].concat()).code(2);
    assert!(
        finished.stderr.contains("time_scale"),
        "{}",
        finished.stderr
    );
    assert!(!finished.directory.exists(), "nothing was started");

    let finished = with_baseline(&quick).code(0);
    assert!(finished.directory.join("comparison.json").exists());
    assert!(finished.stdout.contains("unchanged"), "{}", finished.stdout);
}

// --- the YAML files -------------------------------------------------------------------------------------------------

/// A job's folder as the CI system prepares it, with stand-ins for what it would fetch, install and build.
struct Job {
    directory: tempfile::TempDir,
}

impl Job {
    fn new() -> Self {
        let job = Job {
            directory: tempfile::tempdir().unwrap(),
        };
        let binary = driver::binary();
        let recipes = recipes().canonicalize().unwrap();
        // The build gives the binary under test; it must be asked for as a user would be told to.
        job.stub(
            "cargo",
            &format!(
                "[ \"$1 $2 $3 $4\" = 'build --release --locked --manifest-path' ] || exit 9\n\
                 target=${{CARGO_TARGET_DIR:-$(dirname \"$5\")/target}}\n\
                 mkdir -p \"$target/release\" && ln -sf {binary} \"$target/release/sshchurn\""
            ),
        );
        // `git clone … DIRECTORY` gives a checkout as far as the recipes use it.
        job.stub(
            "git",
            &format!(
                "[ \"$1\" = clone ] || exit 9\nfor to; do :; done\n\
                 mkdir -p \"$to/reports\" && cp -r {} \"$to/reports/ci\"",
                recipes.display()
            ),
        );
        job.stub("apt-get", "[ \"$1\" = update ] || [ \"$1\" = install ]");
        job
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn stub(&self, name: &str, text: &str) {
        let log = self.path().join("calls");
        let text = format!("echo \"{name} $*\" >>{}\n{text}", log.display());
        program(&self.path().join("stubs").join(name), &text);
    }

    /// What the stand-ins were called with.
    fn calls(&self) -> String {
        read_to_string(self.path().join("calls")).unwrap_or_default()
    }

    /// Runs the lines of a recipe as its CI system does, on the embedded target.
    fn execute(&self, shell: &[&str], lines: &str, variables: &[(String, String)]) -> Finished {
        let mut command = clean(shell[0], self.path());
        command
            .args(&shell[1..])
            .arg(lines)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .env("TARGET", "embedded");
        if !variables
            .iter()
            .any(|(name, value)| name == "SCENARIO" && value == "sshchurn.toml")
            || !self.path().join("sshchurn.toml").exists()
        {
            command.env("SCENARIO", "smoke");
        }
        let path = format!("{}/stubs:/usr/bin:/bin", self.path().display());
        command.env("PATH", path);
        to_the_end(command, self.path())
    }
}

fn yaml(name: &str) -> String {
    read_to_string(recipes().join(name)).unwrap()
}

/// The entries of a mapping of plain values.
fn variables(mapping: &Yaml<'_>, directory: &Path) -> Vec<(String, String)> {
    mapping
        .as_mapping()
        .unwrap()
        .iter()
        .map(|(name, value)| {
            let value = value.as_str().unwrap();
            assert!(!value.contains("${{"), "{value} is evaluated by GitHub");
            let value = value.replace("$CI_PROJECT_DIR", &directory.display().to_string());
            (name.as_str().unwrap().to_owned(), value)
        })
        .collect()
}

fn texts<'y>(sequence: &'y Yaml<'_>) -> Vec<&'y str> {
    sequence
        .as_sequence()
        .unwrap()
        .iter()
        .map(|entry| entry.as_str().unwrap())
        .collect()
}

/// A step of a GitHub job by a key's beginning.
fn step<'y, 'i>(steps: &'y Yaml<'i>, key: &str, beginning: &str) -> &'y Yaml<'i> {
    steps
        .as_sequence()
        .unwrap()
        .iter()
        .find(|step| {
            step.as_mapping_get(key)
                .and_then(Yaml::as_str)
                .is_some_and(|value| value.starts_with(beginning))
        })
        .unwrap_or_else(|| panic!("no step with {key}: {beginning}"))
}

#[test]
fn github_workflow_runs_the_gate_and_always_keeps_its_report() {
    let text = yaml("github.yml");
    let documents = Yaml::load_from_str(&text).unwrap();
    let workflow = &documents[0]["jobs"]["sshchurn"];
    let steps = &workflow["steps"];

    let keep = step(steps, "uses", "actions/upload-artifact@");
    assert_eq!(keep["if"].as_str(), Some("always()"));
    assert_eq!(keep["with"]["path"].as_str(), Some(OUT));
    // The checkout of sshchurn goes where the steps look for it.
    let checkout = steps.as_sequence().unwrap().iter().find_map(|step| {
        step.as_mapping_get("with")
            .and_then(|with| with.as_mapping_get("repository"))
            .map(|_| step["with"]["path"].as_str().unwrap())
    });
    let checkout = checkout.expect("a checkout of sshchurn");

    let commands: Vec<&str> = steps
        .as_sequence()
        .unwrap()
        .iter()
        .filter_map(|step| step.as_mapping_get("run").and_then(Yaml::as_str))
        .collect();
    assert!(commands.iter().any(|lines| lines.contains("gate.sh")));
    let job = Job::new();
    std::fs::create_dir_all(job.path().join(checkout).join("reports")).unwrap();
    symlink(
        recipes().canonicalize().unwrap(),
        job.path().join(checkout).join("reports/ci"),
    )
    .unwrap();
    let mut variables = variables(&workflow["env"], job.path());
    let summary = job.path().join("summary.md");
    variables.push((
        "GITHUB_STEP_SUMMARY".to_owned(),
        summary.display().to_string(),
    ));
    for lines in commands {
        // The shell of a step without `shell`.
        let finished = job.execute(&["bash", "-e", "-c"], lines, &variables);
        let finished = finished.code(0);
        if lines.contains("gate.sh") {
            books_balance(&finished.report());
        }
    }
    assert!(job.calls().contains("cargo build --release"));
    assert!(
        read_to_string(&summary)
            .unwrap()
            .contains("## sshchurn: pass")
    );
}

#[test]
fn gitlab_job_runs_the_gate_and_always_keeps_its_report() {
    let text = yaml("gitlab.yml");
    let documents = Yaml::load_from_str(&text).unwrap();
    let recipe = &documents[0]["sshchurn"];
    let artifacts = &recipe["artifacts"];
    assert_eq!(artifacts["when"].as_str(), Some("always"));
    assert_eq!(texts(&artifacts["paths"]), [format!("{OUT}/")]);
    assert_eq!(
        artifacts["reports"]["junit"].as_str(),
        Some(format!("{OUT}/junit.xml").as_str())
    );
    // Only what is inconclusive is measured again, and what stays so is not waved through.
    assert_eq!(recipe["retry"]["exit_codes"].as_integer(), Some(3));
    assert!(recipe.as_mapping_get("allow_failure").is_none());

    let job = Job::new();
    let mut variables = variables(&recipe["variables"], job.path());
    variables.push(("SSHCHURN_REPOSITORY".to_owned(), "an address".to_owned()));
    // GitLab joins both lists to one script and ends at the first line that fails.
    let lines = [texts(&recipe["before_script"]), texts(&recipe["script"])]
        .concat()
        .join("\n");
    let finished = job.execute(&["sh", "-e", "-c"], &lines, &variables).code(0);
    books_balance(&finished.report());
    let calls = job.calls();
    for call in [
        "apt-get install -y -q --no-install-recommends openssh-server",
        "git clone --depth 1 an address sshchurn",
        "cargo build --release --locked",
    ] {
        assert!(calls.contains(call), "{call} is not in {calls}");
    }
    // Built where the recipe's cache is.
    let cached = texts(&recipe["cache"]["paths"])[0];
    assert!(job.path().join(cached).join("release/sshchurn").exists());
}

#[test]
fn a_client_that_makes_more_connections_turns_the_recipes_red() {
    let job = Job::new();
    std::fs::create_dir_all(job.path().join("sshchurn/reports")).unwrap();
    symlink(
        recipes().canonicalize().unwrap(),
        job.path().join("sshchurn/reports/ci"),
    )
    .unwrap();
    let text = yaml("github.yml");
    let documents = Yaml::load_from_str(&text).unwrap();
    let steps = &documents[0]["jobs"]["sshchurn"]["steps"];
    let lines = step(steps, "run", "sh sshchurn/")["run"].as_str().unwrap();
    let scenario = "name = \"client\"\ntasks = 2\n[[strategy]]\nkind = \"command\"\nargv = [\"sh\", \"client.sh\"]\n\
                    [sshd]\nmax_startups = \"100:30:200\"\n[[gate]]\nthreshold = \"handshakes_per_task <= 1\"\n";
    write(job.path().join("sshchurn.toml"), scenario).unwrap();
    let connect = "ssh -F \"$SSHCHURN_SSH_CONFIG\" \"$SSHCHURN_HOST\" true </dev/null\n";
    let with = [("SCENARIO".to_owned(), "sshchurn.toml".to_owned())];
    for (connections, code) in [(1, 0), (2, 1)] {
        write(job.path().join("client.sh"), connect.repeat(connections)).unwrap();
        let finished = job.execute(&["bash", "-e", "-c"], lines, &with).code(code);
        std::fs::remove_dir_all(finished.directory).unwrap();
    }
}

#[test]
fn inconclusive_run_is_made_again_twice_and_what_it_left_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    // A program that is inconclusive twice, and passes then.
    let stand_in = directory.path().join("sshchurn");
    let lines = "for out; do :; done\nmkdir \"$out\" || exit 2\n\
                 for f in report.html report.md junit.xml report.json metrics.txt; do echo x >\"$out/$f\"; done\n\
                 echo x >>calls; [ $(wc -l <calls) -gt \"$PASSES_AFTER\" ] || exit 3";
    program(&stand_in, lines);
    let gated = |after: &str| {
        let _ = std::fs::remove_file(directory.path().join("calls"));
        let mut command = gate(directory.path(), &["smoke"]);
        command
            .env("SSHCHURN", &stand_in)
            .env("PASSES_AFTER", after);
        let finished = to_the_end(command, directory.path());
        let out = directory.path().join(OUT);
        let kept = (1..=3)
            .filter(|n| out.join(format!("inconclusive-{n}/report.json")).exists())
            .count();
        std::fs::remove_dir_all(out).unwrap();
        (finished.code, kept, finished.stderr)
    };
    let (code, kept, said) = gated("2");
    assert_eq!((code, kept), (Some(0), 2), "{said}");
    assert!(
        said.contains("measured again, 2 of at most 2 times"),
        "{said}"
    );
    let (code, kept, said) = gated("9");
    assert_eq!((code, kept), (Some(3), 2), "{said}");
}

#[test]
fn script_that_cannot_build_the_program_says_so_and_is_4() {
    let job = Job::new();
    job.stub("cargo", "echo 'error: no space left' >&2; exit 101");
    let script = recipes().join("gate.sh").display().to_string();
    let finished = job
        .execute(&["sh", "-c"], &format!("sh {script} smoke"), &[])
        .code(4);
    assert!(
        finished.stderr.contains("could not be built"),
        "{}",
        finished.stderr
    );
}
