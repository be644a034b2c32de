//! The matrix from hand-built runs: every state of a row, the exit code, both renderings, the schema.

use super::*;
use crate::schema::assert_conforms;
use crate::{Findings, RunReport, build};
use sshchurn_core::analysis::ledger_builder::{manifest, small_run};
use sshchurn_core::analysis::{laws, validity};
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::gate::decide;
use sshchurn_core::release::Release;
use sshchurn_core::release_changes::substitution;

fn report() -> RunReport {
    let manifest = manifest();
    let run = small_run(manifest.clone()).summary();
    let laws = laws::check(&run);
    let validity = validity::check(&run);
    let decision = decide(&run, &laws, &validity, &[]);
    build(
        &manifest,
        &run,
        Findings {
            laws,
            validity,
            gates: Vec::new(),
            expectations: Vec::new(),
            decision,
        },
    )
}

fn matrix(interrupted: bool, rows: Vec<MatrixRow>) -> MatrixReport {
    MatrixReport::new(
        "small",
        "built-in",
        "name = \"small\"\n".to_owned(),
        interrupted,
        rows,
    )
}

fn sample() -> MatrixReport {
    let report = report();
    let mut other = report.clone();
    other.target.release = Some("OpenSSH_10.0p2".to_owned());
    for round in other.strategies.iter_mut().flat_map(|s| &mut s.per_round) {
        if let Some(refusals) = round
            .reconciliation
            .as_mut()
            .and_then(|books| books.refusals.as_mut())
        {
            refusals.client_only = 2;
        }
    }
    matrix(
        true,
        vec![
            MatrixRow::ran("9.2", &report),
            MatrixRow::ran("10.0", &other),
            MatrixRow::failed(
                "10.3",
                "no image could be made".to_owned(),
                ExitCode::Environment,
            ),
            MatrixRow::not_run("10.6"),
        ],
    )
}

#[test]
fn matrix_reads_release_by_release_on_a_terminal_and_in_markdown() {
    let sample = sample();
    insta::assert_snapshot!("matrix_text", text(&sample));
    insta::assert_snapshot!("matrix_markdown", markdown(&sample));
}

#[test]
fn what_a_server_said_is_only_text_in_markdown() {
    let mut sample = sample();
    let said = "| <img src=x> [link](http://x) `code` @everyone\u{1b}[31m\n# head";
    sample.rows[0].refusal_texts = [(said.to_owned(), 1)].into();
    sample.rows[0].server = Some(String::from("OpenSSH_<b>|x"));
    let markdown = markdown(&sample);
    for markup in [
        "<img",
        "<b>",
        "[link]",
        "`code`",
        "@everyone",
        "\u{1b}",
        "\n# head",
    ] {
        assert!(!markdown.contains(markup), "{markup:?} in {markdown}");
    }
    let columns = |line: &str| line.matches('|').count();
    let table: Vec<&str> = markdown
        .lines()
        .filter(|line| line.starts_with('|'))
        .collect();
    assert!(
        table.iter().all(|line| columns(line) == columns(table[0])),
        "{markdown}"
    );
}

#[test]
fn image_that_was_given_and_release_that_stands_for_another_are_told() {
    let mut given = MatrixRow::ran("my/base:1", &report());
    given.image = Some(String::from("my/base:1"));
    let mut nearest = MatrixRow::ran("9.2", &report());
    nearest
        .substitutions
        .extend(substitution(Release::new(8, 9), Release::new(9, 2)));
    let told = text(&matrix(false, vec![nearest, given]));
    for words in [
        "small over 2 OpenSSH servers",
        "9.2p1 (my/base:1)",
        "this is OpenSSH 9.2, not the 8.9",
    ] {
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn matrix_reads_back_from_its_json() {
    let sample = sample();
    let back: MatrixReport = serde_json::from_str(&json(&sample)).expect("it reads back");
    assert_eq!(back, sample);
}

#[test]
fn exit_code_is_that_of_the_most_severe_release() {
    let row = |exit| MatrixRow::failed("9.2", String::new(), exit);
    let ascending = [
        ExitCode::Success,
        ExitCode::GateFailed,
        ExitCode::Inconclusive,
        ExitCode::Usage,
        ExitCode::Environment,
        ExitCode::Interrupted,
    ];
    for (index, worst) in ascending.into_iter().enumerate() {
        let mut rows: Vec<MatrixRow> = ascending[..=index].iter().map(|exit| row(*exit)).collect();
        assert_eq!(matrix(false, rows.clone()).exit, worst);
        rows.reverse();
        assert_eq!(matrix(false, rows).exit, worst);
    }
    assert_eq!(matrix(true, vec![row(ExitCode::Success)]).exit_code, 130);
    assert_eq!(matrix(false, Vec::new()).exit, ExitCode::Success);
}

#[test]
fn refusals_matched_in_some_rounds_only_are_not_called_matched() {
    let mut report = report();
    let round = report.strategies[0]
        .per_round
        .first_mut()
        .expect("a round was run");
    round.reconciliation = None;
    let row = MatrixRow::ran("9.2", &report);
    assert_eq!(row.strategies[0].matched, None);
    assert_eq!(row.strategies[0].joined, None);
}

#[test]
fn matrix_is_what_its_schema_says() {
    assert_conforms::<MatrixReport>(&json(&sample()));
}
