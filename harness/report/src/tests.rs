//! Snapshots of every renderer from hand-built reports, what all of them have in common, the schema, and the writer.

use super::sample::{ENEMY, bare, full, hostile, mismatched, plain, unbalanced_stand_in};
use super::schema::assert_conforms;
use super::*;
use sshchurn_core::gate::{Reason, ReasonId, Verdict};
use sshchurn_core::release::Release;
use sshchurn_core::release_changes::substitution;

/// The report in every form, each with its name.
fn forms(report: &RunReport) -> impl Iterator<Item = (&'static str, String)> {
    let forms = format::RUN.iter();
    forms.map(move |form| (form.name, form.render(report, format::Screen::FILE)))
}

fn samples() -> [(&'static str, RunReport); 6] {
    [
        ("plain", plain()),
        ("full", full()),
        ("mismatched", mismatched()),
        ("bare", bare()),
        ("stand-in", unbalanced_stand_in()),
        ("hostile", hostile()),
    ]
}

#[test]
fn narrow_terminal_has_one_strategy_below_the_other_and_no_number_is_broken() {
    let text = terminal::render_with(&plain(), false, 80);
    let table: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.starts_with("Sums over all rounds"))
        .skip(1)
        .take_while(|line| line.starts_with([' ', '─']))
        .collect();
    assert!(
        table.iter().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    let heads = table.iter().filter(|line| {
        let line = line.trim();
        line == "per-command" || line == "reused-session"
    });
    assert_eq!(heads.count(), 2, "{text}");
    assert!(
        text.contains("24  [11 12 13]") && text.contains("12  [6 6 6]"),
        "{text}"
    );
}

#[test]
fn the_terminal_report_reads_side_by_side() {
    insta::assert_snapshot!(terminal::render(&plain()));
}

#[test]
fn the_terminal_report_of_an_unbalanced_stand_in_says_both_at_once() {
    let text = terminal::render(&unbalanced_stand_in());
    assert!(text.starts_with("EMBEDDED STAND-IN"), "{text}");
    // The table is the same as above.
    let after = text.split("Cross-checks:").nth(1).expect("they are shown");
    insta::assert_snapshot!(after);
}

#[test]
fn the_terminal_report_stays_within_its_width_and_colours_only_on_request() {
    let report = plain();
    let plain = terminal::render(&report);
    assert!(!plain.contains('\x1b'));
    let table = plain
        .lines()
        .filter(|line| line.contains(" / ") || line.contains('─'));
    assert!(table.clone().count() > 10);
    for line in table {
        assert!(line.chars().count() <= 110, "{line}");
    }
    assert!(terminal::render_with(&report, true, terminal::WIDTH).contains("\x1b[1;31m"));
}

#[test]
fn the_json_report_is_stable_and_reads_back() {
    let report = full();
    let text = json::render(&report);
    let back: RunReport = serde_json::from_str(&text).expect("it reads back");
    assert!(back == report, "not the same document");
    assert!(json::render(&back) == text, "not the same bytes");
    insta::assert_snapshot!(text);
}

#[test]
fn every_renderer_gives_the_same_bytes_from_a_document_that_was_read_back() {
    for (sample, report) in samples() {
        let back: RunReport = serde_json::from_str(&json::render(&report)).expect("it reads back");
        for ((name, text), (_, again)) in forms(&report).zip(forms(&back)) {
            assert!(text == again, "{name} of {sample}");
            assert!(text.ends_with('\n'), "{name} of {sample}");
        }
    }
}

#[test]
fn every_format_for_people_says_first_that_it_is_a_stand_in() {
    let report = unbalanced_stand_in();
    let page = html::render(&report);
    let body = page.split("<body>").nth(1).expect("a body");
    let body = body.trim_start().trim_start_matches("<main>").trim_start();
    for text in [&terminal::render(&report), &markdown::render(&report), body] {
        let first = text.lines().next().expect("a line");
        assert!(first.contains("EMBEDDED STAND-IN"), "{first}");
    }
    for (name, said) in forms(&report) {
        let words = match name {
            "json" => "\"stand_in\": \"embedded\"",
            // Nothing of a run that could not measure is tracked.
            "bencher" => "{}",
            _ => "EMBEDDED STAND-IN",
        };
        assert!(said.contains(words), "{name}");
    }
}

/// A run on 9.2 where 8.9 was asked for.
fn substituted() -> RunReport {
    let mut report = full();
    report.target.substitution = substitution(Release::new(8, 9), Release::new(9, 2));
    report
}

#[test]
fn every_format_says_first_that_another_release_ran_and_in_what_it_differs() {
    let report = substituted();
    let page = html::render(&report);
    let body = page.split("<body>").nth(1).expect("a body");
    let body = body.trim_start().trim_start_matches("<main>").trim_start();
    for text in [&terminal::render(&report), &markdown::render(&report), body] {
        let first = text.lines().next().expect("a line");
        assert!(
            first.contains("this is OpenSSH 9.2, not the 8.9 that was asked for"),
            "{first}"
        );
    }
    let lines = report
        .target
        .substitution
        .as_ref()
        .expect("another")
        .lines();
    for (name, said) in forms(&report).filter(|(name, _)| *name != "bencher") {
        let json = name == "json";
        assert!(json || said.contains(&lines[0]), "{name}");
        for difference in &report
            .target
            .substitution
            .as_ref()
            .expect("another")
            .differences
        {
            // The rest has signs that some formats escape.
            let what = difference.what.split('`').next().expect("text");
            assert!(said.contains(what), "{name}: {what}");
        }
    }
    for (name, said) in forms(&full()) {
        assert!(!said.contains("not the 8.9"), "{name}");
    }
}

#[test]
fn reports_name_the_image_that_was_given_and_not_one_that_was_made() {
    let mut report = full();
    report.target.image = Some(format!("my/base:1@sha256:{}", "ab12".repeat(16)));
    let shown = "OpenSSH_9.2p1, image my/base:1 ab12ab12ab12";
    let page = html::render(&report).replace("&#x2f;", "/");
    for text in [terminal::render(&report), page] {
        assert!(text.contains(shown), "{text}");
    }
    report.target.image = Some(String::from(
        "sshchurn/openssh:9.2-bookworm-eb836a14@sha256:ab12",
    ));
    assert!(!terminal::render(&report).contains(", image"));
}

#[test]
fn the_sentence_says_what_happened_whatever_the_verdict() {
    for (report, verdict, parts) in [
        (
            full(),
            Verdict::Pass,
            [
                "Both thresholds hold: per-command made 24 connection attempts and was refused 5 times",
                "leaving 1 job directory behind",
            ],
        ),
        (
            plain(),
            Verdict::Fail,
            [
                "1 of 4 thresholds do not hold: ",
                "reused-session made 12 connection attempts and was never refused",
            ],
        ),
        (
            bare(),
            Verdict::Inconclusive,
            [
                "Nothing can be concluded (the run was interrupted; this report is partial)",
                "reused-session made no connection attempt",
            ],
        ),
        (
            unbalanced_stand_in(),
            Verdict::Inconclusive,
            [
                "Measured on an in-process stand-in and not on OpenSSH, nothing can be concluded",
                "4 of 4 tasks",
            ],
        ),
    ] {
        let sentence = view::story::sentence(&report);
        assert_eq!(report.verdict, verdict, "{sentence}");
        for part in parts {
            assert!(sentence.contains(part), "no `{part}` in: {sentence}");
        }
        assert!(
            sentence.ends_with('.') && !sentence.contains('\n'),
            "{sentence}"
        );
    }
}

#[test]
fn the_page_shows_everything_that_is_known() {
    let page = html::render(&full());
    assert!(!page.contains("class=\"missing\""), "something is missing");
    // The style sheet and the drawings are not for reading.
    let mut rest = page.as_str();
    let mut words = String::new();
    for (from, to) in std::iter::once(("<style>", "</style>"))
        .chain(std::iter::repeat_n(("</desc>", "</svg>"), 9))
    {
        let (before, after) = rest.split_once(from).expect("a beginning");
        let (_, after) = after.split_once(to).expect("an end");
        words.push_str(&format!("{before}{from}…{to}"));
        rest = after;
    }
    words.push_str(rest);
    insta::assert_snapshot!(words);
}

#[test]
fn every_kind_of_plot_is_drawn_as_it_was() {
    let report = full();
    let strategy = &report.strategies[0];
    let mut figures = plot::comparison(&report);
    figures.push(plot::fates(&report));
    figures.push(plot::time_line(&strategy.per_round[0], strategy, 0));
    assert_eq!(figures.len(), 6);
    let mut drawings = String::new();
    for figure in figures {
        let picture = figure.picture.expect("drawn");
        drawings.push_str(&format!(
            "{} {}\n{}\n\n",
            figure.id, picture.view_box, picture.body
        ));
    }
    insta::assert_snapshot!(drawings);
}

#[test]
fn the_page_says_in_a_sentence_what_is_not_known() {
    let page = html::render(&bare());
    for sentence in [
        "There is no admission curve: the server&#x27;s log cannot be read on this target.",
        "this target&#x27;s file system cannot be listed",
        "Drops by cause are not known",
        "Startup slots in use are not known",
        "What the run cost the server is not known",
        "The kernel&#x27;s counters were not read on this target.",
        "The server&#x27;s log was not read, so nothing could be joined to it.",
        "No time was measured",
        "There was no handshake, so there is no rate.",
        "This server cannot be asked for its effective configuration.",
    ] {
        assert!(page.contains(sentence), "no `{sentence}`");
    }
    assert!(page.contains("<b>—</b>"));
}

#[test]
fn the_page_shows_unmatched_cases_in_full() {
    let page = html::render(&mismatched());
    for text in [
        "port 9 dropped with 100 slots",
        "port 10",
        "noauth",
        "FAILED",
    ] {
        assert!(page.contains(text), "no `{text}`");
    }
}

#[test]
fn every_plot_has_a_title_a_description_and_its_data() {
    let page = html::render(&full());
    let plots = page.matches("<svg ").count();
    // Five comparisons, and four rounds of two strategies.
    assert_eq!(plots, 9);
    for part in [
        "<title id=",
        "<desc id=",
        "role=\"img\" aria-labelledby=",
        "Data of this plot",
    ] {
        assert_eq!(page.matches(part).count(), plots, "{part}");
    }
}

#[test]
fn nothing_of_a_peer_becomes_markup() {
    let report = hostile();
    let page = html::render(&report);
    assert!(page.matches("&lt;script&gt;alert").count() > 20);
    assert!(!page.contains("<script"), "a script came through");
    assert_eq!(
        page.matches("octocat").count(),
        page.matches("&quot;@octocat&quot;").count()
    );

    let text = markdown::render(&report);
    assert!(text.contains("octocat"));
    for sign in ["<script", "@octocat", "`", "#1 ", " | &#96;rm"] {
        assert!(!text.contains(sign), "{sign} in {text}");
    }
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let columns = line.matches('|').count();
        assert!(columns == 4, "{columns} separators in {line}");
    }

    let metrics = openmetrics::render(&report);
    assert!(metrics.contains(r#"\"@octocat\""#), "{metrics}");
    assert!(!junit::render(&report).contains("<script"));
    assert!(ENEMY.contains("<script"));
}

#[test]
fn the_comment_fits_and_shows_the_verdict_first() {
    insta::assert_snapshot!(markdown::render(&full()));
    let mut report = hostile();
    let long = "long ".repeat(5000);
    let reason = Reason::new(ReasonId::Threshold, long.clone());
    report.reasons = vec![reason; 1000];
    report.warnings = vec![long.clone(); 1000];
    let gate = report.gates[0].clone();
    report.gates = vec![gate; 200];
    assert!(markdown::render(&report).len() < 65_000);
}

#[test]
fn bencher_has_the_median_and_the_range_of_each_metric_and_says_of_which_server() {
    let report = plain();
    let form = format::named(format::RUN, "bencher").expect("a form");
    let text = form.render(&report, format::Screen::FILE);
    let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let benchmarks = document.as_object().expect("an object");
    assert_eq!(benchmarks.len(), report.strategies.len());
    for (strategy, (name, measures)) in report.strategies.iter().zip(benchmarks) {
        let of = format!("{} / {} / ", report.scenario.name, strategy.strategy);
        assert!(name.starts_with(&of), "{name}");
        let attempts = &measures["attempts"];
        let spread = strategy.spread["attempts"];
        assert_eq!(attempts["value"], spread.median);
        assert_eq!(attempts["lower_value"], spread.min);
        assert_eq!(attempts["upper_value"], spread.max);
        assert!(measures.get("submit.attempts").is_none());
    }
}

#[test]
fn junit_has_a_case_for_every_gate_law_and_check() {
    let xml = junit::render(&plain());
    insta::assert_snapshot!(xml);
    let report = unbalanced_stand_in();
    assert!(report.gates.is_empty());
    let xml = junit::render(&report);
    let cases = report.laws.len() + report.validity.len();
    assert_eq!(xml.matches("<testcase ").count(), cases);
    assert!(xml.contains("<error "), "{xml}");
}

#[test]
fn junit_is_green_exactly_when_the_run_passed() {
    for (sample, report) in samples() {
        let xml = junit::render(&report);
        // The enemy chose its own texts, not its verdict.
        let failed = xml.contains("<failure ");
        let green = !failed && !xml.contains("<error ");
        assert_eq!(green, report.verdict == Verdict::Pass, "{sample}: {xml}");
        if report.verdict == Verdict::Fail {
            assert!(failed, "{sample}: {xml}");
        }
    }
}

#[test]
fn every_json_report_is_what_its_schema_says() {
    for (_, report) in samples() {
        assert_conforms::<RunReport>(&json::render(&report));
    }
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
