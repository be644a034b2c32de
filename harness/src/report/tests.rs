//! Snapshots of every renderer from one hand-built report, the schema, and the writer.

use std::path::Path;

use super::*;
use crate::analysis::ledger_builder::{LedgerBuilder, manifest, small_run};
use crate::analysis::{laws, validity};
use crate::gate::{Threshold, decide, judge};
use crate::manifest::{Manifest, TargetKind};

fn report_of(manifest: &Manifest, ledger: &LedgerBuilder, thresholds: &[&str]) -> RunReport {
    let run = ledger.summary();
    let thresholds: Vec<Threshold> = thresholds
        .iter()
        .map(|text| Threshold::parse(text, &manifest.scenario.strategies).expect("valid"))
        .collect();
    let laws = laws::check(&run);
    let validity = validity::check(&run);
    let gates = judge(&thresholds, &run);
    let decision = decide(&run, &laws, &validity, &gates);
    build(
        manifest,
        &run,
        Findings {
            laws,
            validity,
            gates,
            decision,
        },
    )
}

fn sample() -> RunReport {
    let manifest = manifest();
    report_of(
        &manifest,
        &small_run(manifest.clone()),
        &[
            "reused-session.banner_eof == 0",
            "reused-session.submit.tcp.p99 < 250ms",
            "per-command.attempts >= 3 * reused-session.attempts",
            "startups_peak <= 100",
        ],
    )
}

#[test]
fn the_terminal_report_reads_side_by_side() {
    insta::assert_snapshot!(terminal::render(&sample()));
}

#[test]
fn the_terminal_report_of_an_unbalanced_stand_in_says_both_at_once() {
    let mut embedded = manifest();
    embedded.target.kind = TargetKind::Embedded;
    let mut ledger = small_run(embedded.clone());
    ledger.logs[0].1.drops.max_startups_draw += 1;
    ledger.logs[0].1.ports.entry(9).or_default().drops += 1;
    let text = terminal::render(&report_of(&embedded, &ledger, &[]));
    assert!(text.starts_with("EMBEDDED STAND-IN"), "{text}");
    // The table is the same as above.
    let after = text.split("Books:").nth(1).expect("the books are shown");
    insta::assert_snapshot!(after);
}

#[test]
fn the_terminal_report_stays_within_its_width_and_colours_only_on_request() {
    let report = sample();
    let plain = terminal::render(&report);
    assert!(!plain.contains('\x1b'));
    let table = plain
        .lines()
        .filter(|line| line.contains(" / ") || line.contains('─'));
    assert!(table.clone().count() > 10);
    for line in table {
        assert!(line.chars().count() <= 110, "{line}");
    }
    assert!(terminal::render_with(&report, true).contains("\x1b[1;31m"));
}

#[test]
fn the_json_report_is_stable_and_reads_back() {
    let report = sample();
    let text = json::render(&report);
    let back: RunReport = serde_json::from_str(&text).expect("it reads back");
    assert_eq!(back, report);
    assert_eq!(json::render(&back), text);
    insta::assert_snapshot!(text);
}

#[test]
fn the_checked_in_schema_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../reports/report.schema.json");
    let schema = schema_json();
    if std::env::var_os("SSHCHURN_UPDATE").is_some() {
        write_file(&path, schema.as_bytes()).expect("reports/ is writable");
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        checked_in == schema,
        "reports/report.schema.json is out of date; run the tests with SSHCHURN_UPDATE=1"
    );
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("report.json");
    write_file(&path, b"one").expect("written");
    write_file(&path, b"two").expect("replaced");
    assert_eq!(std::fs::read(&path).expect("there"), b"two");
    let missing = folder.path().join("no/such/report.json");
    assert!(write_file(&missing, b"x").is_err());
    let names = std::fs::read_dir(folder.path()).expect("readable").count();
    assert_eq!(names, 1, "no temporary file is left");
}
