//! Sweeps from hand-built runs: what is missing, what could not measure, the exit code, every rendering, the schema.

use std::sync::OnceLock;

use super::*;
use crate::RunReport;
use crate::sample;
use crate::schema::assert_conforms;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::gate::{Aggregate, Reason, ReasonId, Selector, Verdict};
use sshchurn_core::ids::StrategyName;
use sshchurn_core::quantity::number;
use sshchurn_core::sweep::{Axis, Job, Shard, grid, seed_of};

fn definition(vary: &[&str], repeats: u32) -> SweepDefinition {
    let axes: Vec<Axis> = vary
        .iter()
        .map(|text| Axis::parse(text).expect("an axis"))
        .collect();
    SweepDefinition {
        schema_version: SWEEP_SCHEMA_VERSION,
        scenario: "small".to_owned(),
        origin: "built-in".to_owned(),
        effective_toml: "name = \"small\"\ntasks = 2\n".to_owned(),
        seed: 1,
        server: AskedServer {
            target: "local".to_owned(),
            options: Vec::new(),
        },
        repeats,
        points: grid(&axes)
            .expect("different keys")
            .into_iter()
            .map(|settings| DefinedPoint {
                settings,
                strategies: names(),
            })
            .collect(),
    }
}

/// Made once: it takes most of the time of these tests.
fn full() -> RunReport {
    static FULL: OnceLock<RunReport> = OnceLock::new();
    FULL.get_or_init(sample::full).clone()
}

fn names() -> Vec<StrategyName> {
    full()
        .strategies
        .iter()
        .map(|strategy| strategy.strategy.clone())
        .collect()
}

fn selectors(texts: &[&str]) -> Vec<Selector> {
    texts
        .iter()
        .map(|text| Selector::parse(text, &names()).expect("a metric"))
        .collect()
}

fn record(definition: &SweepDefinition, job: Job, report: &RunReport) -> SweepRecord {
    let settings = &definition.point(job.point).expect("a point").settings;
    SweepRecord::ran(job, settings, seed_of(1, job.repeat), 2_500_000_000, report)
}

/// The sample run with other numbers, which differ from job to job.
fn other_run(job: Job) -> RunReport {
    let mut report = full();
    for strategy in &mut report.strategies {
        for round in &mut strategy.per_round {
            let refused = f64::from(job.point * 10 + job.repeat);
            round.values.insert("banner_eof".to_owned(), refused);
        }
    }
    report
}

/// A grid of four points and two repeats, in which a run is missing, one could not measure, one could not be run, and a threshold
/// does not hold.
fn grid_sweep() -> SweepReport {
    let definition = definition(&["tasks=30,60", "max_startups=5:50:10,10:30:100"], 2);
    let mut records = Vec::new();
    for job in definition.jobs(Shard::WHOLE) {
        let mut report = other_run(job);
        match (job.point, job.repeat) {
            (4, 2) => continue,
            (3, 1) => {
                report.exit = ExitCode::Inconclusive;
                report.exit_code = 3;
                report.verdict = Verdict::Inconclusive;
                let text = "the generator was saturated";
                report.reasons = vec![Reason::new(ReasonId::Invalid, text)];
            }
            (2, 2) => {
                report.exit = ExitCode::GateFailed;
                report.exit_code = 1;
                report.verdict = Verdict::Fail;
            }
            (1, 1) => {
                let settings = &definition.points[0].settings;
                let error = "no container could be started".to_owned();
                let exit = ExitCode::Environment;
                records.push(SweepRecord::failed(
                    job, settings, 1, 9_000_000, error, exit,
                ));
                continue;
            }
            _ => {}
        }
        records.push(record(&definition, job, &report));
    }
    let sources = Sources {
        records,
        ..Sources::default()
    };
    SweepReport::new(
        &definition,
        Shard::WHOLE,
        &selectors(&DEFAULT_METRICS),
        sources,
    )
}

/// One key, once each, of a run that lacks nearly everything.
fn bare_sweep() -> SweepReport {
    let definition = definition(&["poll_interval=1s,5s"], 1);
    let records = definition.jobs(Shard::WHOLE).into_iter();
    let records = records.map(|job| record(&definition, job, &sample::bare()));
    let sources = Sources {
        records: records.collect(),
        interrupted: true,
        ..Sources::default()
    };
    let metrics = selectors(&["server_accepted", "startups_peak", "submit.p99", "attempts"]);
    SweepReport::new(&definition, Shard::WHOLE, &metrics, sources)
}

#[test]
fn tables_and_rows_say_what_is_missing_and_what_is_not_to_be_relied_on() {
    insta::assert_snapshot!("sweep_text", text(&grid_sweep()));
    insta::assert_snapshot!("sweep_text_without_data", text(&bare_sweep()));
    insta::assert_snapshot!("sweep_csv", csv(&bare_sweep()));
}

#[test]
fn terminal_lines_are_at_most_100_columns_wide_whatever_is_varied() {
    let long = "sshd.options.PerSourcePenalties=\"crash:3600s,authfail:3600s,noauth:3600s,max:3600s,min:60s,and-so-on\",no";
    for vary in [
        &["tasks=30,60", "max_startups=5:50:10"][..],
        &["tasks=1..3", long],
    ] {
        let definition = definition(vary, 3);
        let records = definition.jobs(Shard::WHOLE).into_iter();
        let records = records.map(|job| record(&definition, job, &other_run(job)));
        let sources = Sources {
            records: records.collect(),
            ..Sources::default()
        };
        let metrics = selectors(&[&DEFAULT_METRICS[..], &["tcp.p95", "server_cpu"]].concat());
        let shown = text(&SweepReport::new(
            &definition,
            Shard::WHOLE,
            &metrics,
            sources,
        ));
        let tables = shown.lines().filter(|line| !line.starts_with("Point "));
        for line in tables.take_while(|line| !line.starts_with("Exit code")) {
            assert!(line.chars().count() <= 100, "{line}");
        }
        assert!(shown.contains("server_cpu"), "{shown}");
    }
}

#[test]
fn page_has_a_plot_of_every_metric_and_no_script() {
    let page = html(&grid_sweep());
    assert!(
        !page.contains("<script") && !page.contains("not rendered"),
        "{page}"
    );
    for words in [
        "reused-session over tasks",
        "reused-session by tasks and max_startups",
        "max_startups=5:50:10",
        "no data",
        "the generator was saturated",
        "no container could be started",
    ] {
        assert!(page.contains(words), "{words}");
    }
    let one_key = html(&bare_sweep());
    assert!(one_key.contains("No data: "), "{one_key}");
    assert_eq!(page, html(&grid_sweep()));
}

#[test]
fn document_reads_back_and_is_what_its_schema_says() {
    for report in [grid_sweep(), bare_sweep()] {
        let text = json(&report);
        assert_conforms::<SweepReport>(&text);
        let back: SweepReport = serde_json::from_str(&text).expect("it reads back");
        assert_eq!(back, report);
    }
    let definition = definition(&["tasks=1,2"], 2);
    assert_eq!(
        parse_definition(&definition_json(&definition)).expect("it reads back"),
        definition
    );
    let job = definition.jobs(Shard::WHOLE)[0];
    let record = record(&definition, job, &full());
    assert_eq!(
        parse_record(&record_json(&record)).expect("it reads back"),
        record
    );
    assert!(parse_record("{\"schema_version\": 99}").is_err());
}

#[test]
fn exit_code_is_the_most_severe_and_a_threshold_that_fails_is_none() {
    let definition = definition(&["tasks=1..3"], 1);
    let exit = |exits: &[ExitCode], interrupted| {
        let records = exits.iter().zip(1..).map(|(exit, point)| {
            let mut report = full();
            report.exit = *exit;
            report.exit_code = exit.code();
            record(&definition, Job { point, repeat: 1 }, &report)
        });
        let sources = Sources {
            records: records.collect(),
            interrupted,
            ..Sources::default()
        };
        SweepReport::new(&definition, Shard::WHOLE, &[], sources).exit_code
    };
    use ExitCode::{Environment, GateFailed, Inconclusive, Success};
    assert_eq!(exit(&[Success, GateFailed, Success], false), 0);
    assert_eq!(exit(&[Success, Inconclusive, GateFailed], false), 3);
    assert_eq!(exit(&[Success, GateFailed], false), 3, "one is missing");
    assert_eq!(exit(&[Success, Inconclusive, Environment], false), 4);
    assert_eq!(exit(&[Success], true), 130);
}

#[test]
fn run_whose_server_failed_is_marked_and_made_again() {
    let definition = definition(&["tasks=1"], 1);
    let mut report = full();
    report.exit = ExitCode::Environment;
    report.exit_code = 4;
    let job = definition.jobs(Shard::WHOLE)[0];
    let record = record(&definition, job, &report);
    assert!(!record.is_done());
    let sources = Sources {
        records: vec![record],
        ..Sources::default()
    };
    let shown = SweepReport::new(
        &definition,
        Shard::WHOLE,
        &selectors(&["attempts"]),
        sources,
    );
    assert_eq!((shown.exit_code, shown.runs_done), (4, 0));
    assert!(text(&shown).contains("24?"), "{}", text(&shown));
}

#[test]
fn shard_counts_its_own_runs_only_and_shows_the_others() {
    let definition = definition(&["tasks=1..5"], 2);
    let shard: Shard = "2/3".parse().expect("a shard");
    let own = definition.jobs(shard);
    let records = own.iter().map(|job| record(&definition, *job, &full()));
    let sources = Sources {
        records: records.collect(),
        ..Sources::default()
    };
    let report = SweepReport::new(&definition, shard, &selectors(&["attempts"]), sources);
    assert_eq!(report.exit_code, 0);
    assert_eq!(report.runs_asked as usize, own.len());
    let others = report.points.iter().flat_map(|point| &point.runs);
    let others = others
        .filter(|run| run.state == RunState::OtherShard)
        .count();
    assert_eq!(others, 10 - own.len());
    let told = format!("The {} runs of other shards are not here", 10 - own.len());
    assert!(text(&report).contains(&told), "{}", text(&report));
}

#[test]
fn differences_of_two_sweeps_are_named() {
    let one = definition(&["tasks=1,2"], 2);
    assert_eq!(one.differences(&one), Vec::<String>::new());
    let mut moved = one.clone();
    moved.origin = "elsewhere/small.toml".to_owned();
    assert_eq!(one.differences(&moved), Vec::<String>::new());
    let mut other = definition(&["tasks=1,3"], 3);
    other.effective_toml = other.effective_toml.replace("tasks = 2", "tasks = 4");
    other.server.options = vec!["--release 9.2".to_owned()];
    assert_eq!(
        one.differences(&other),
        [
            "repeats: there 2, here 3",
            "server: there --target local, here --target local --release 9.2",
            "point 2: there tasks=2, here tasks=3",
            "the scenario's settings: there `tasks = 2`, here `tasks = 4`"
        ]
    );
}

/// Every value of a record is the one that the summary of the run has, as thresholds are judged by.
#[test]
fn values_are_those_of_the_report() {
    let report = full();
    let definition = definition(&["tasks=2"], 1);
    let record = record(
        &definition,
        Job {
            point: 1,
            repeat: 1,
        },
        &report,
    );
    let strategy = &report.strategies[0];
    let value = |text: &str| {
        let selector = &selectors(&[text])[0];
        record.value(&strategy.strategy, selector)
    };
    let counts = &strategy.totals.total.counts;
    assert_eq!(value("attempts"), Ok(number(counts.attempts)));
    assert_eq!(value("banner_eof"), Ok(number(counts.banner_eof)));
    assert_eq!(
        value("tasks_failed"),
        Ok(number(strategy.totals.tasks.tasks_failed))
    );
    let submit = strategy
        .totals
        .total
        .times
        .iter()
        .find(|(stage, _)| stage.as_str() == "submit");
    if let Some((_, times)) = submit {
        assert_eq!(value("submit.p99"), Ok(number(times.p99_ns)));
        assert_eq!(value("submit.p50"), value("submit.median"));
    }
    let rate = strategy.totals.total.handshake_rate_per_s.expect("a rate");
    assert_eq!(value("handshake_rate_per_s.peak"), Ok(number(rate.peak)));
    for gate in &report.gates {
        for check in &gate.checks {
            let left = gate.expression.split(' ').next().expect("a metric");
            let left = left
                .strip_prefix(&format!("{}.", check.strategy))
                .unwrap_or(left);
            let selector = &selectors(&[left])[0];
            assert_eq!(
                record.value(&check.strategy, selector).ok(),
                check.actual,
                "{left}"
            );
        }
    }
    let odd = &selectors(&["submit.p99.9"])[0];
    assert_eq!(odd.aggregate, Aggregate::Percentile(99.9));
    assert!(is_kept(odd).is_err());
}
