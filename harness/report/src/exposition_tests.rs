//! The OpenMetrics text against a strict reader of its grammar.
//!
//! Owns the reader: families in one piece, metadata before samples, suffixes by type, labels and escapes, no duplicate,
//! one end. <https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md>

use std::collections::{BTreeMap, BTreeSet};

use super::sample::{bare, full, full_with, hostile, mismatched, plain, unbalanced_stand_in};
use super::*;
use sshchurn_core::analysis::catalogue::{CATALOGUE, Unit};
use sshchurn_core::analysis::latency::Stage;
use sshchurn_core::analysis::summary::Holders;

#[derive(Debug, Default)]
struct Family {
    kind: String,
    unit: String,
    help: bool,
    samples: Vec<Sample>,
}

#[derive(Debug, PartialEq)]
struct Sample {
    suffix: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Reads an exposition; panics at whatever the specification forbids.
fn read(text: &str) -> BTreeMap<String, Family> {
    let body = text.strip_suffix("# EOF\n").expect("ends with # EOF");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut current = String::new();
    for line in body.lines() {
        assert!(!line.is_empty() && line.trim() == line, "blank in {line:?}");
        if let Some(meta) = line.strip_prefix("# ") {
            let mut words = meta.splitn(3, ' ');
            let (what, name) = (words.next().expect("a word"), words.next().expect("a name"));
            let rest = words.next().unwrap_or_default();
            assert_name(name);
            if current != name {
                assert!(!families.contains_key(name), "{name} is not in one piece");
                name.clone_into(&mut current);
            }
            let family = families.entry(name.to_owned()).or_default();
            assert!(
                family.samples.is_empty(),
                "metadata of {name} after samples"
            );
            match what {
                "TYPE" => {
                    assert!(family.kind.is_empty(), "two types of {name}");
                    let kinds = ["counter", "gauge", "summary", "info", "stateset"];
                    assert!(kinds.contains(&rest), "type {rest}");
                    rest.clone_into(&mut family.kind);
                }
                "UNIT" => {
                    assert!(
                        name.ends_with(&format!("_{rest}")),
                        "{name} is not in {rest}"
                    );
                    rest.clone_into(&mut family.unit);
                }
                "HELP" => family.help = !rest.is_empty(),
                other => panic!("metadata {other}"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = match series.split_once('{') {
            None => (series, BTreeMap::new()),
            Some((name, labels)) => {
                let labels = labels.strip_suffix('}').expect("closed labels");
                (name, read_labels(labels))
            }
        };
        let suffix = name
            .strip_prefix(current.as_str())
            .unwrap_or_else(|| panic!("{name} outside its family {current}"));
        let family = families.get_mut(&current).expect("metadata first");
        let allowed: &[&str] = match family.kind.as_str() {
            "counter" => &["_total"],
            "gauge" | "stateset" => &[""],
            "summary" => &["", "_count", "_sum"],
            "info" => &["_info"],
            other => panic!("{current} has type {other:?}"),
        };
        assert!(allowed.contains(&suffix), "{name} of a {}", family.kind);
        let value: f64 = value.parse().expect("a number");
        assert!(value.is_finite() && value >= 0.0, "{line}");
        match (family.kind.as_str(), suffix) {
            ("stateset", _) => assert!([0.0, 1.0].contains(&value), "{line}"),
            ("info", _) => assert!((value - 1.0).abs() < f64::EPSILON, "{line}"),
            ("summary", "") => {
                let quantile: f64 = labels["quantile"].parse().expect("a number");
                assert!((0.0..=1.0).contains(&quantile), "{line}");
            }
            _ => {}
        }
        if family.kind == "stateset" {
            assert!(labels.contains_key(&current), "{line} names no state");
        }
        assert!(seen.insert(series.to_owned()), "twice: {series}");
        family.samples.push(Sample {
            suffix: suffix.to_owned(),
            labels,
            value,
        });
    }
    for (name, family) in &families {
        assert!(
            family.help && !family.kind.is_empty(),
            "{name} is not described"
        );
        assert!(!family.samples.is_empty(), "{name} is empty");
        assert_eq!(
            name.ends_with("_seconds"),
            family.unit == "seconds",
            "{name}"
        );
    }
    families
}

fn assert_name(name: &str) {
    let fits =
        |character: char| character.is_ascii_lowercase() || "_0123456789".contains(character);
    assert!(
        name.starts_with("sshchurn_") && name.chars().all(fits),
        "{name}"
    );
    for reserved in ["_total", "_info", "_count", "_sum", "_created", "_bucket"] {
        assert!(!name.ends_with(reserved), "{name}");
    }
}

fn read_labels(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").expect("a quoted value");
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next().expect("a closing quote") {
                (index, '"') => break index,
                (_, '\\') => match characters.next().expect("an escaped character").1 {
                    'n' => value.push('\n'),
                    escaped @ ('\\' | '"') => value.push(escaped),
                    other => panic!("escape {other}"),
                },
                (_, character) => value.push(character),
            }
        };
        assert!(
            name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
            "{name}"
        );
        assert!(
            labels.insert(name.to_owned(), value).is_none(),
            "{name} twice"
        );
        rest = &after[end + 1..];
        if !rest.is_empty() {
            rest = rest.strip_prefix(',').expect("a comma");
        }
    }
    labels
}

/// The value of a series.
fn value(families: &BTreeMap<String, Family>, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let labels: BTreeMap<String, String> = labels
        .iter()
        .map(|(label, text)| ((*label).to_owned(), (*text).to_owned()))
        .collect();
    families
        .get(name)?
        .samples
        .iter()
        .find(|sample| sample.labels == labels)
        .map(|sample| sample.value)
}

#[test]
fn every_exposition_follows_the_specification() {
    for report in [
        plain(),
        full(),
        mismatched(),
        bare(),
        unbalanced_stand_in(),
        hostile(),
    ] {
        read(&openmetrics::render(&report));
    }
    insta::assert_snapshot!(openmetrics::render(&full()));
}

#[test]
fn every_metric_of_the_catalogue_is_exported_where_it_has_data() {
    // What needs a scenario of its own.
    let mut report = full_with(|numbers| {
        numbers.holders = Some(Holders {
            admitted: 1,
            ..Holders::default()
        });
        numbers.tasks_banned = Some(1);
        numbers.unbanned_spacing_ns = Some(5_000_000_000);
        numbers.total.first_banned_attempt = numbers.total.attempts_per_task;
    });
    let times = &mut report.strategies[0].totals.total.times;
    times.insert(Stage::Ban, times[&Stage::Tcp]);
    let families = read(&openmetrics::render(&report));
    for metric in CATALOGUE {
        let name = match metric.unit {
            Unit::Nanoseconds => format!("sshchurn_{}_seconds", metric.name),
            _ => format!("sshchurn_{}", metric.name),
        };
        assert!(families.contains_key(&name), "no {name}");
    }
}

#[test]
fn phases_of_a_counter_add_up_to_the_whole() {
    let report = full();
    let families = read(&openmetrics::render(&report));
    let sum: f64 = families["sshchurn_attempts"]
        .samples
        .iter()
        .filter(|sample| sample.labels["strategy"] == "per-command")
        .map(|sample| sample.value)
        .sum();
    assert!((sum - 24.0).abs() < f64::EPSILON);
    let drops = value(
        &families,
        "sshchurn_server_drops",
        &[("strategy", "per-command")],
    );
    assert_eq!(drops, Some(5.0));
    // 140 ms in each of two rounds.
    let cpu = value(
        &families,
        "sshchurn_server_cpu_seconds",
        &[("strategy", "per-command")],
    );
    assert_eq!(cpu, Some(0.28));
}

#[test]
fn what_is_not_known_has_no_series() {
    let families = read(&openmetrics::render(&bare()));
    for name in [
        "sshchurn_leftover_dirs",
        "sshchurn_server_drops",
        "sshchurn_startups_peak",
        "sshchurn_server_cpu_seconds",
        "sshchurn_tcp_seconds",
    ] {
        assert!(!families.contains_key(name), "{name}");
    }
    // Nothing was attempted in this phase, so that nothing was refused in it says nothing.
    let refused = |phase| {
        let labels = [("strategy", "per-command"), ("phase", phase)];
        value(&families, "sshchurn_banner_eof", &labels)
    };
    assert_eq!(refused("poll"), None);
    assert_eq!(refused("submit"), Some(0.0));
}
