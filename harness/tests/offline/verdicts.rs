//! What a run says of itself, on the embedded stand-in: that nothing was judged, what a demonstration was expected to show, and
//! whether the limit would do.

use std::path::Path;
use std::time::Duration;

use crate::driver::{self, Finished, run, sshchurn};

const SOON: Duration = Duration::from_secs(120);

/// One connection and one try for each of 30 tasks.
fn one_shot(directory: &Path, name: &str, further: &[&str]) -> Finished {
    let mut args = vec![
        "one-shot", "--target", "embedded", "-n", "30", "--rounds", "2",
    ];
    args.extend(further);
    run(&directory.join(name), &args)
}

#[test]
fn run_without_a_threshold_is_measured_and_says_first_what_was_lost_and_whether_the_limit_would_do()
{
    let directory = tempfile::tempdir().unwrap();
    let tight = one_shot(directory.path(), "tight", &["--max-startups", "2:100:2"]).code(0);
    let report = tight.report();
    assert_eq!(
        (&report["verdict"], &report["exit_code"]),
        (&"measured".into(), &0.into())
    );
    let lost = report["strategies"][0]["totals"]["tasks"]["tasks_failed"]
        .as_u64()
        .unwrap();
    assert!(lost > 0);
    assert!(!tight.stdout.contains("PASS"), "{}", tight.stdout);
    let said = format!("and {lost} of 60 tasks were lost");
    assert!(
        tight.stdout.contains("MaxStartups 2:100:2 was not enough"),
        "{}",
        tight.stdout
    );
    assert!(
        tight.stdout.contains(&said),
        "no {said} in {}",
        tight.stdout
    );
    let markdown = std::fs::read_to_string(tight.directory.join("report.md")).unwrap();
    assert!(
        markdown.contains(&format!("one-shot lost {lost} of 60 tasks. Measured")),
        "{markdown}"
    );

    let wide = one_shot(directory.path(), "wide", &["--max-startups", "100:30:200"]).code(0);
    let enough = "MaxStartups 100:30:200 was enough: it refused nobody";
    assert!(wide.stdout.contains(enough), "{}", wide.stdout);
}

#[test]
fn goals_in_words_judge_and_the_better_limit_passes() {
    let directory = tempfile::tempdir().unwrap();
    let goals = ["--goal", "no refusals", "--goal", "no-lost-tasks"];
    let with = |limit: &'static str| [&["--max-startups", limit], &goals[..]].concat();
    let wide = one_shot(directory.path(), "wide", &with("100:30:200")).code(0);
    assert_eq!(wide.report()["verdict"], "pass");
    let tight = one_shot(directory.path(), "tight", &with("2:100:2")).code(1);
    let failed = |report: &serde_json::Value| -> Vec<String> {
        let gates = report["gates"].as_array().unwrap().iter();
        gates
            .filter(|gate| gate["outcome"] == "fail")
            .map(|gate| gate["expression"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        failed(&tight.report()),
        ["banner_eof == 0", "tasks_failed == 0"]
    );
    let wrong = sshchurn(&["run", "one-shot", "--goal", "no refusal"]).code(2);
    assert!(wrong.stderr.contains("no-refusals"), "{}", wrong.stderr);

    // Two limits side by side: another experiment, unless that is the question.
    let [tight, wide] = [&tight, &wide].map(|run| run.directory.to_str().unwrap());
    sshchurn(&["compare", tight, wide]).code(2);
    let varied = [
        "compare",
        tight,
        wide,
        "--varied",
        "max_startups",
        "--format",
        "json",
    ];
    let compared = sshchurn(&varied);
    // What it says of chance is its own; that it compares is what was asked.
    assert_ne!(compared.code, Some(2), "{}", compared.stderr);
    let document: serde_json::Value = serde_json::from_str(&compared.stdout).unwrap();
    let differences = document["differences"].as_array().unwrap();
    let about = differences
        .iter()
        .filter(|difference| difference["weight"] == "varied");
    let about: Vec<&str> = about
        .map(|difference| difference["what"].as_str().unwrap())
        .collect();
    assert_eq!(about, ["sshd.max_startups", "MaxStartups in force"]);
    // Another key does not excuse it.
    sshchurn(&["compare", tight, wide, "--varied", "tasks"]).code(2);
}

#[test]
fn expectations_are_told_of_the_scenario_as_it_is_written_and_left_out_of_a_changed_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("demonstration.toml");
    std::fs::write(
        &file,
        "name = \"demonstration\"\ndescription = \"Three clients and two places.\"\ntasks = 3\n\
         [[strategy]]\nkind = \"one-shot\"\ncommand = \"sleep 0.2\"\n[sshd]\nmax_startups = \"50:100:50\"\n\
         [[expectation]]\nthreshold = \"handshakes == 3\"\n[[expectation]]\nthreshold = \"banner_eof >= 1\"\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let start = |name: &str, further: &[&str]| {
        let args = [&[file, "--target", "embedded"], further].concat();
        driver::start(&directory.path().join(name), &args)
    };
    let [written, changed] = [("written", &[][..]), ("changed", &["-n", "4"][..])]
        .map(|(name, further)| start(name, further))
        .map(|running| running.finish(SOON).code(0));
    let report = written.report();
    assert_eq!(report["verdict"], "measured");
    let outcomes: Vec<&str> = report["expectations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|met| met["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["pass", "fail"]);
    for words in [
        "met           handshakes == 3",
        "not met       banner_eof >= 1",
    ] {
        assert!(
            written.stdout.contains(words),
            "no {words} in {}",
            written.stdout
        );
    }
    let report = changed.report();
    assert_eq!(report["expectations"], serde_json::json!([]));
    assert_eq!(
        report["scenario"]["description"],
        "`demonstration` with changes: tasks 3 → 4."
    );
    let warnings = report["warnings"].to_string();
    assert!(
        warnings.contains("(tasks 3 → 4): banner_eof >= 1"),
        "{warnings}"
    );
    // A wrong one is an error before anything starts.
    let wrong = std::fs::read_to_string(file)
        .unwrap()
        .replace("banner_eof", "baner_eof");
    std::fs::write(file, wrong).unwrap();
    let error = sshchurn(&["run", file, "--target", "embedded"]).code(2);
    assert!(error.stderr.contains("baner_eof"), "{}", error.stderr);
}

#[test]
fn settings_of_a_server_that_is_somebody_elses_cannot_be_given() {
    let external = [
        "run",
        "smoke",
        "--target",
        "external",
        "--address",
        "127.0.0.1:1",
        "--user",
        "x",
        "--key",
        "x",
    ];
    for option in [
        ["--max-startups", "20:30:200"],
        ["--sshd-option", "MaxSessions=3"],
    ] {
        let refused = sshchurn(&[&external[..], &option[..]].concat()).code(2);
        assert!(
            refused.stderr.contains("configuration of its own"),
            "{}",
            refused.stderr
        );
    }
}
