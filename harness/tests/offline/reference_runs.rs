//! The reference runs of `reports/reference`: rendered again from their ledgers to the same bytes, and what they
//! say is what the documentation says of them. `SSHCHURN_UPDATE=1` writes what differs.

use std::fs::{copy, create_dir, read_dir, read_to_string, write};
use std::path::{Path, PathBuf};

use crate::driver::{Finished, books_balance, count, sshchurn, strategy};
use serde_json::Value;

/// What was recorded, and is never written again.
const RECORDED: [&str; 2] = ["events.jsonl.zst", "sshd_config"];
/// What is computed from it.
const RENDERED: [&str; 7] = [
    "report.json",
    "report.html",
    "report.md",
    "junit.xml",
    "metrics.txt",
    "bencher.json",
    "latencies.hlog",
];
/// The run that the README shows.
const SHOWN: &str = "airflow-68115-openssh-9.2";
/// Release, and what its refused clients read (sshd.c:drop_connection).
const RUNS: [(&str, &str, &str); 2] = [
    (SHOWN, "OpenSSH_9.2p1", "Exceeded MaxStartups"),
    (
        "airflow-68115-openssh-10.6",
        "OpenSSH_10.6p1",
        "Not allowed at this time",
    ),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn updating() -> bool {
    std::env::var_os("SSHCHURN_UPDATE").is_some()
}

/// The documents of a run, computed in a folder that has nothing but what was recorded.
fn rendered_again(run: &str, within: &Path) -> Finished {
    let directory = within.join(run);
    create_dir(&directory).unwrap();
    for name in RECORDED {
        copy(
            root().join("reports/reference").join(run).join(name),
            directory.join(name),
        )
        .unwrap();
    }
    let mut finished = sshchurn(&["report", directory.to_str().unwrap()]).code(0);
    finished.directory = directory;
    finished
}

/// Says where two texts part.
fn first_difference(committed: &str, rendered: &str) -> String {
    let lines = |text: &str| {
        text.lines()
            .map(|line| line.chars().take(200).collect::<String>())
            .collect::<Vec<_>>()
    };
    let (committed, rendered) = (lines(committed), lines(rendered));
    let at = (0..)
        .find(|at| committed.get(*at) != rendered.get(*at))
        .unwrap();
    format!(
        "line {}:\n  committed {:?}\n  rendered  {:?}",
        at + 1,
        committed.get(at),
        rendered.get(at)
    )
}

#[test]
fn reference_runs_are_rendered_again_from_their_ledgers_to_the_same_bytes() {
    let temporary = tempfile::tempdir().unwrap();
    let mut found: Vec<String> = read_dir(root().join("reports/reference"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    let mut known: Vec<&str> = RUNS.map(|(run, ..)| run).to_vec();
    known.sort_unstable();
    assert_eq!(found, known);
    for run in known {
        let finished = rendered_again(run, temporary.path());
        for name in RENDERED {
            let path = root().join("reports/reference").join(run).join(name);
            let rendered = read_to_string(finished.directory.join(name)).unwrap();
            if updating() {
                write(&path, &rendered).unwrap();
            }
            let committed = read_to_string(&path).unwrap();
            assert!(
                committed == rendered,
                "{run}/{name} is rendered differently now; if that is meant, write it anew with \
                 `SSHCHURN_UPDATE=1 cargo test --test offline reference_runs`. {}",
                first_difference(&committed, &rendered)
            );
        }
    }
}

#[test]
fn reference_runs_balance_join_every_refusal_and_read_what_their_release_sends() {
    for (run, release, text) in RUNS {
        let path = root()
            .join("reports/reference")
            .join(run)
            .join("report.json");
        let report: Value = serde_json::from_str(&read_to_string(path).unwrap()).unwrap();
        books_balance(&report);
        let found = report["target"]["release"].as_str().unwrap();
        assert!(found.starts_with(release), "{run}: {found}");
        assert_eq!(report["scenario"]["name"], "airflow-68115", "{run}");
        for name in ["per-command", "reused-session"] {
            let rounds = strategy(&report, name)["per_round"].as_array().unwrap();
            assert_eq!(
                Value::from(rounds.len()),
                report["scenario"]["rounds"],
                "{run}"
            );
            for round in rounds {
                let total = &round["numbers"]["total"];
                let refused = count(total, "banner_eof");
                let books = &round["reconciliation"];
                assert_eq!(books["joined"], "source_port", "{run}");
                assert_eq!(books["refusals"]["matched"], refused, "{run}");
                for alone in ["client_only", "server_only"] {
                    assert_eq!(books["refusals"][alone], 0, "{run}");
                    assert_eq!(books["handshakes"][alone], 0, "{run}");
                }
                let texts = total["banner_eof_texts"].as_object().unwrap();
                assert!(texts.keys().all(|found| found == text), "{run}: {texts:?}");
            }
        }
        let refused = |name| count(&strategy(&report, name)["totals"]["total"], "banner_eof");
        assert!(refused("per-command") > refused("reused-session"), "{run}");
    }
}

#[test]
fn readme_shows_what_the_reference_run_prints() {
    const BEGIN: &str = "```text\n";
    const END: &str = "```\n";
    let temporary = tempfile::tempdir().unwrap();
    let printed = rendered_again(SHOWN, temporary.path()).stdout;
    let path = root().join("README.md");
    let readme = read_to_string(&path).unwrap();
    let begin = readme.find(BEGIN).unwrap() + BEGIN.len();
    let end = begin + readme[begin..].find(END).unwrap();
    if updating() {
        let anew = format!("{}{printed}{}", &readme[..begin], &readme[end..]);
        write(&path, anew).unwrap();
        return;
    }
    assert!(
        readme[begin..end] == printed,
        "README.md shows another output; write it anew with `SSHCHURN_UPDATE=1 cargo test --test offline reference_runs`. {}",
        first_difference(&readme[begin..end], &printed)
    );
}
