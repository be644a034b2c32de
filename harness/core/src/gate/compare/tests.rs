//! What a comparison says of rounds written by hand, and of runs that are not alike.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::estimate::Noise;
use super::*;
use crate::analysis::catalogue::{Better, CATALOGUE, metric};
use crate::analysis::ledger_builder::{NEW, OLD, manifest};
use crate::gate::Verdict;
use crate::ids::StrategyName;
use crate::manifest::{Manifest, PackageRecord, ServerKind};
use crate::vocabulary::Phase;

const EVENTS: Noise = Noise::Events {
    base: 1.0,
    new: 1.0,
};

/// Rounds of one strategy: a column of values for each metric.
type Columns<'a> = &'a [(&'a str, &'a [f64])];

fn rounds(columns: Columns<'_>) -> Vec<BTreeMap<String, f64>> {
    let count = columns.iter().map(|(_, values)| values.len()).max();
    (0..count.unwrap_or(0))
        .map(|round| {
            columns
                .iter()
                .filter_map(|(name, values)| Some(((*name).to_owned(), *values.get(round)?)))
                .collect()
        })
        .collect()
}

fn compared_of(
    (base, new): (&Manifest, &Manifest),
    (before, after): (Columns<'_>, Columns<'_>),
    gates: &[&str],
) -> Comparison {
    let (before, after) = (rounds(before), rounds(after));
    let gates: Vec<GateMetric> = gates
        .iter()
        .map(|text| GateMetric::parse(text, &base.scenario.strategy_names()).expect("valid"))
        .collect();
    fn side<'a>(manifest: &'a Manifest, rounds: &'a [BTreeMap<String, f64>]) -> Side<'a> {
        Side {
            faults: Vec::new(),
            scenario: &manifest.scenario,
            target: &manifest.target,
            environment: &manifest.environment,
            strategies: vec![StrategyRounds {
                strategy: StrategyName(NEW.to_owned()),
                rounds: rounds.iter().collect(),
            }],
        }
    }
    compare(
        &side(base, &before),
        &side(new, &after),
        &gates,
        &MinimumEffect::default(),
    )
}

fn hundred_tasks() -> Manifest {
    let mut manifest = manifest();
    manifest.scenario.tasks = 100;
    manifest
}

fn compared(before: Columns<'_>, after: Columns<'_>, gates: &[&str]) -> Comparison {
    let manifest = hundred_tasks();
    compared_of((&manifest, &manifest), (before, after), gates)
}

fn finding(comparison: &Comparison, name: &str) -> Finding {
    let found = comparison.metrics.iter();
    let mut found = found.filter(|metric| metric.metric == name && metric.phase.is_none());
    found.next().expect("the metric is compared").finding
}

#[test]
fn a_fifth_more_attempts_in_two_calm_rounds_is_a_regression() {
    let calm = compared(
        &[("attempts", &[1338.0, 1352.0])],
        &[("attempts", &[1598.0, 1614.0])],
        &[],
    );
    assert_eq!(finding(&calm, "attempts"), Finding::Regressed);
    assert_eq!(calm.verdict, Verdict::Fail);
    assert!(calm.reasons[0].contains("regressed: reused-session.attempts"));
}

#[test]
fn large_but_unproven_is_inconclusive_and_never_a_pass() {
    let noisy = compared(
        &[("attempts", &[1100.0, 1500.0])],
        &[("attempts", &[1450.0, 1700.0])],
        &[],
    );
    assert_eq!(finding(&noisy, "attempts"), Finding::Inconclusive);
    assert_eq!(noisy.verdict, Verdict::Inconclusive);
    assert!(
        noisy.reasons[0].contains("chance explains it"),
        "{noisy:#?}"
    );
}

#[test]
fn significant_but_small_is_unchanged() {
    let small = compared(
        &[("attempts", &[1000.0, 1001.0, 1002.0])],
        &[("attempts", &[1060.0, 1061.0, 1062.0])],
        &[],
    );
    assert_eq!(finding(&small, "attempts"), Finding::Unchanged);
    assert_eq!(small.verdict, Verdict::Pass);
    // Relatively large, but less than half a connection for each task.
    let few = compared(
        &[("banner_eof", &[10.0, 11.0, 10.0])],
        &[("banner_eof", &[45.0, 46.0, 45.0])],
        &[],
    );
    assert_eq!(finding(&few, "banner_eof"), Finding::Unchanged);
}

#[test]
fn rounds_that_disagree_are_no_proof() {
    // One wild round cannot hide in a mean: 15 of 16 pairs agree, 14 of 16 do not.
    let estimate = |new: &[f64]| {
        Estimate::of(&[100.0, 101.0, 102.0, 130.0], new, EVENTS)
            .expect("four rounds")
            .pairs_more
    };
    assert!(estimate(&[128.0, 140.0, 141.0, 142.0]) >= AGREEMENT);
    assert!(estimate(&[128.0, 129.0, 141.0, 142.0]) < AGREEMENT);
}

#[test]
fn a_zero_baseline_is_judged_by_its_difference() {
    let comparison = compared(
        &[("tasks_failed", &[0.0, 0.0, 0.0])],
        &[("tasks_failed", &[8.0, 7.0, 9.0])],
        &[],
    );
    let metric = &comparison.metrics[0];
    let estimate = metric.estimate.expect("three rounds each");
    assert_eq!(metric.finding, Finding::Regressed);
    assert_eq!((estimate.ratio, estimate.ratio_interval), (None, None));
    assert!(estimate.difference_interval.0 > 0.0);
    // One failed task in each round is below the minimum effect, and two in all are what chance does.
    let one = compared(
        &[("tasks_failed", &[0.0, 0.0])],
        &[("tasks_failed", &[1.0, 1.0])],
        &[],
    );
    assert_eq!(finding(&one, "tasks_failed"), Finding::Unchanged);
    let p = one.metrics[0].p_worse.expect("less is better");
    assert!(p > LEVEL, "{p}");
    let none = compared(
        &[("tasks_failed", &[0.0, 0.0])],
        &[("tasks_failed", &[0.0, 0.0])],
        &[],
    );
    assert_eq!(finding(&none, "tasks_failed"), Finding::Unchanged);
    assert_eq!(none.verdict, Verdict::Pass);
}

#[test]
fn rounds_without_variance_are_judged_as_counts() {
    // Three handshakes for each task became four, in every round.
    let more = compared(
        &[("handshakes", &[300.0, 300.0])],
        &[("handshakes", &[400.0, 400.0])],
        &[],
    );
    let estimate = more.metrics[0].estimate.expect("two rounds each");
    assert_eq!(more.metrics[0].finding, Finding::Regressed);
    let (low, high) = estimate.difference_interval;
    assert!(low > 50.0 && high < 150.0 && low < high, "{low} {high}");
    let same = compared(
        &[("handshakes", &[300.0, 300.0])],
        &[("handshakes", &[300.0, 300.0])],
        &[],
    );
    assert_eq!(finding(&same, "handshakes"), Finding::Unchanged);
    assert!(same.metrics[0].estimate.expect("there").constant);
}

#[test]
fn one_round_is_insufficient_on_either_side() {
    for (before, after) in [
        (&[100.0][..], &[100.0, 101.0][..]),
        (&[100.0, 101.0][..], &[100.0][..]),
    ] {
        let comparison = compared(&[("attempts", before)], &[("attempts", after)], &[]);
        assert_eq!(finding(&comparison, "attempts"), Finding::Insufficient);
        assert_eq!(comparison.verdict, Verdict::Inconclusive);
        assert!(comparison.reasons[0].starts_with("insufficient"));
    }
}

#[test]
fn a_gating_metric_that_one_side_lacks_is_no_pass() {
    let (full, short): (Columns<'_>, Columns<'_>) = (
        &[("attempts", &[9.0, 9.0]), ("leftover_dirs", &[0.0, 0.0])],
        &[("attempts", &[9.0, 9.0])],
    );
    for (before, after) in [(full, short), (short, full)] {
        let comparison = compared(before, after, &[]);
        assert_eq!(finding(&comparison, "leftover_dirs"), Finding::Insufficient);
        assert_eq!(comparison.verdict, Verdict::Inconclusive);
    }
    // What neither can measure (leftovers of an external server) is not guarded, unless it is asked for.
    assert_eq!(compared(short, short, &[]).verdict, Verdict::Pass);
    let asked = compared(short, short, &["attempts", "leftover_dirs"]);
    assert_eq!(finding(&asked, "leftover_dirs"), Finding::Insufficient);
    assert_eq!(asked.verdict, Verdict::Inconclusive);
}

#[test]
fn a_gate_on_a_strategy_that_is_not_compared_is_no_pass_because_another_one_has_the_metric() {
    let rounds: Columns<'_> = &[("attempts", &[9.0, 9.0])];
    let gates = [format!("{NEW}.attempts"), format!("{OLD}.attempts")];
    let compared = compared(rounds, rounds, &gates.each_ref().map(String::as_str));
    assert_eq!(compared.verdict, Verdict::Inconclusive);
    assert_eq!(
        compared.reasons,
        ["no strategy to compare has per-command.attempts"]
    );
}

#[test]
fn unequal_numbers_of_rounds_are_compared_by_their_means() {
    let comparison = compared(
        &[("attempts", &[1000.0, 1010.0, 990.0, 1005.0, 995.0, 1000.0])],
        &[("attempts", &[1210.0, 1190.0])],
        &[],
    );
    assert_eq!(finding(&comparison, "attempts"), Finding::Regressed);
    let estimate = comparison.metrics[0].estimate.expect("enough rounds");
    assert!((estimate.difference - 200.0).abs() < 1e-9);
}

#[test]
fn unequal_numbers_of_tasks_are_compared_for_each_task() {
    let (base, mut new) = (hundred_tasks(), hundred_tasks());
    new.scenario.tasks = 50;
    let comparison = compared_of(
        (&base, &new),
        (
            &[
                ("attempts", &[1000.0, 1010.0]),
                ("attempts_per_task", &[10.0, 10.1]),
            ],
            &[
                ("attempts", &[502.0, 501.0]),
                ("attempts_per_task", &[10.0, 10.0]),
            ],
        ),
        &[],
    );
    let attempts = &comparison.metrics[0];
    assert!(attempts.per_task);
    assert_eq!(attempts.finding, Finding::Unchanged);
    assert!((attempts.base.expect("there").mean - 10.05).abs() < 1e-9);
    assert!((attempts.minimum - 1.005).abs() < 1e-9);
    assert!(!comparison.metrics[1].per_task, "it is already");
}

#[test]
fn direction_decides_what_is_worse() {
    let gates = ["tasks_succeeded"];
    let (many, few): (Columns<'_>, Columns<'_>) = (
        &[("tasks_succeeded", &[100.0, 99.0, 100.0])],
        &[("tasks_succeeded", &[60.0, 62.0, 61.0])],
    );
    let worse = compared(many, few, &gates);
    assert_eq!(finding(&worse, "tasks_succeeded"), Finding::Regressed);
    let better = compared(few, many, &gates);
    assert_eq!(finding(&better, "tasks_succeeded"), Finding::Improved);
    assert_eq!(better.verdict, Verdict::Pass);
    // `polls` has no better side: it changes, and decides nothing.
    let (before, after): (Columns<'_>, Columns<'_>) = (
        &[("attempts", &[9.0, 9.0]), ("polls", &[200.0, 201.0])],
        &[("attempts", &[9.0, 9.0]), ("polls", &[900.0, 901.0])],
    );
    let changed = compared(before, after, &[]);
    assert_eq!(finding(&changed, "polls"), Finding::Changed);
    assert_eq!(changed.verdict, Verdict::Pass);
}

#[test]
fn noise_that_would_hide_a_large_regression_is_inconclusive() {
    let blind = compared(
        &[("attempts", &[100.0, 900.0])],
        &[("attempts", &[150.0, 860.0])],
        &[],
    );
    assert_eq!(finding(&blind, "attempts"), Finding::Inconclusive);
    assert!(blind.reasons[0].contains("vary too much"), "{blind:#?}");
}

#[test]
fn what_a_slower_machine_does_is_not_blamed_on_the_client() {
    let of = |handshakes: f64, auth_ms: f64| {
        let (handshakes, auth) = ([handshakes; 3], [auth_ms * 1e6; 3]);
        compared(
            &[("handshakes", &[1000.0; 3]), ("auth", &[20e6; 3])],
            &[("handshakes", &handshakes), ("auth", &auth)],
            &[],
        )
    };
    assert_eq!(finding(&of(1200.0, 29.0), "handshakes"), Finding::Regressed);
    let slower = of(1200.0, 80.0);
    assert_eq!(finding(&slower, "handshakes"), Finding::Inconclusive);
    assert!(slower.reasons[0].contains("another speed"), "{slower:#?}");
    assert_eq!(
        finding(&of(1200.0, 5.0), "handshakes"),
        Finding::Inconclusive
    );
    assert_eq!(finding(&of(4000.0, 80.0), "handshakes"), Finding::Regressed);
    assert_eq!(finding(&of(1000.0, 80.0), "handshakes"), Finding::Unchanged);
}

#[test]
fn information_never_decides() {
    let comparison = compared(
        &[("attempts", &[9.0, 9.0]), ("retries", &[10.0, 10.0])],
        &[("attempts", &[9.0, 9.0]), ("retries", &[900.0, 900.0])],
        &[],
    );
    assert_eq!(finding(&comparison, "retries"), Finding::Regressed);
    assert_eq!(comparison.verdict, Verdict::Pass);
    assert!(comparison.metrics[0].gates, "gating metrics come first");
}

#[test]
fn a_fault_of_a_side_is_inconclusive_even_when_everything_regressed() {
    let manifest = hundred_tasks();
    let (before, after) = (
        rounds(&[("attempts", &[100.0, 100.0])]),
        rounds(&[("attempts", &[900.0, 900.0])]),
    );
    let side = |rounds: &'static [BTreeMap<String, f64>], faults: Vec<String>| Side {
        faults,
        scenario: Box::leak(Box::new(manifest.scenario.clone())),
        target: Box::leak(Box::new(manifest.target.clone())),
        environment: Box::leak(Box::new(manifest.environment.clone())),
        strategies: vec![StrategyRounds {
            strategy: StrategyName(NEW.to_owned()),
            rounds: rounds.iter().collect(),
        }],
    };
    let comparison = compare(
        &side(before.leak(), vec!["it was interrupted".to_owned()]),
        &side(after.leak(), Vec::new()),
        &[],
        &MinimumEffect::default(),
    );
    assert_eq!(comparison.verdict, Verdict::Inconclusive);
    assert!(comparison.reasons[0].contains("the baseline is no measurement"));
}

#[test]
fn the_interval_is_students_with_the_pooled_variance() {
    // Means 10 and 14, pooled variance 2, t(0.95, 2) = 2.919986: half-width 2.919986 · √2.
    let estimate = Estimate::of(&[9.0, 11.0], &[13.0, 15.0], Noise::Measured).expect("two each");
    let (low, high) = estimate.difference_interval;
    assert!(
        (low - (4.0 - 2.919_986 * 2.0_f64.sqrt())).abs() < 1e-4,
        "{low}"
    );
    assert!(
        (high - (4.0 + 2.919_986 * 2.0_f64.sqrt())).abs() < 1e-4,
        "{high}"
    );
    // t = 4 / √2 = 2.828427, one-sided with 2 degrees of freedom.
    assert!(
        (estimate.p_more - 0.052_786).abs() < 1e-5,
        "{}",
        estimate.p_more
    );
    assert!((estimate.p_more + estimate.p_less - 1.0).abs() < 1e-9);
}

#[test]
fn counts_without_variance_follow_the_exact_binomial() {
    // 6 events, all on one side: (1/2)^6 = 0.0156.
    let estimate = Estimate::of(&[0.0, 0.0], &[3.0, 3.0], EVENTS).expect("two each");
    assert!(
        (0.012..0.024).contains(&estimate.p_more),
        "{}",
        estimate.p_more
    );
}

#[test]
fn agreeing_rounds_alone_are_rare_by_chance() {
    // Every way to deal distinct values to both sides is equally likely when the build is the same.
    for (m, n) in [(3, 3), (5, 2), (4, 3), (4, 4), (5, 3), (7, 2), (5, 5)] {
        let all = m + n;
        let (mut dealt, mut agreeing) = (0.0, 0.0);
        for mask in 0_u32..1 << all {
            if mask.count_ones() != n {
                continue;
            }
            let of = |mine: bool| -> Vec<f64> {
                let picked = (0..all).filter(|bit| (mask >> bit & 1 == 1) == mine);
                picked.map(f64::from).collect()
            };
            let estimate = Estimate::of(&of(false), &of(true), EVENTS).expect("two each");
            dealt += 1.0;
            if estimate.pairs_more >= AGREEMENT {
                agreeing += 1.0;
            }
        }
        assert!(agreeing / dealt <= LEVEL, "{m} + {n}: {}", agreeing / dealt);
    }
}

#[test]
fn gating_metrics_are_parsed_and_refused_with_a_reason() {
    let strategies = manifest().scenario.strategy_names();
    let parse = |text: &str| GateMetric::parse(text, &strategies);
    let gate = parse("reused-session.poll.banner_eof").expect("valid");
    assert_eq!(gate.phase, Some(Phase::Poll));
    assert_eq!(gate.to_string(), "reused-session.poll.banner_eof");
    assert_eq!(parse("task").expect("a latency").metric.name, "task");
    let error = |text: &str| parse(text).expect_err("it is wrong").to_string();
    assert!(error("atempts").contains("did you mean `attempts`?"));
    assert!(error("poll.leftover_dirs").contains("not kept by phase"));
    assert!(error("polls").contains("cannot regress"));
    assert!(error("task.p99").contains("takes no aggregate"));
    assert!(error("reusd-session.attempts").contains("did you mean `reused-session`?"));
}

#[test]
fn default_gates_exist_and_can_regress() {
    for name in DEFAULT_GATES {
        let metric = metric(name).expect("in the catalogue");
        assert_ne!(metric.better, Better::Neither, "{name}");
    }
    assert!(CATALOGUE.iter().any(|metric| metric.better == Better::More));
}

fn differing(change: impl FnOnce(&mut Manifest)) -> Vec<(Weight, String)> {
    let mut base = manifest();
    base.scenario.effective_toml =
        "tasks = 2\nseed = 1\n[job]\nduration = \"4s\"\n[[strategy]]\nname = \
         \"client\"\nkind = \"reused-session\"\n[sshd]\nmax_startups = \"10:30:100\"\n"
            .to_owned();
    let mut new = base.clone();
    change(&mut new);
    fn side(manifest: &Manifest) -> Side<'_> {
        Side {
            faults: Vec::new(),
            scenario: &manifest.scenario,
            target: &manifest.target,
            environment: &manifest.environment,
            strategies: Vec::new(),
        }
    }
    differences(&side(&base), &side(&new))
        .into_iter()
        .map(|difference| (difference.weight, difference.what))
        .collect()
}

#[test]
fn another_experiment_is_told_from_another_machine_and_another_client() {
    let edit = |from: &'static str, to: &'static str| {
        differing(move |new| {
            new.scenario.effective_toml = new.scenario.effective_toml.replace(from, to);
        })
    };
    let of = |weight: Weight, what: &str| vec![(weight, what.to_owned())];
    assert_eq!(differing(|_| {}), Vec::new());
    assert_eq!(edit("seed = 1", "seed = 2"), Vec::new());
    assert_eq!(edit("4s", "8s"), of(Weight::Experiment, "job.duration"));
    assert_eq!(
        edit("tasks = 2", "tasks = 3"),
        of(Weight::Experiment, "tasks")
    );
    assert_eq!(
        edit("30:100", "30:200"),
        of(Weight::Experiment, "sshd.max_startups")
    );
    assert_eq!(
        edit("reused-session", "per-command"),
        of(Weight::Client, "client.kind")
    );
    let embedded = differing(|new| new.target.kind = ServerKind::Embedded);
    assert_eq!(embedded, of(Weight::Experiment, "target"));
    let docker = differing(|new| new.target.kind = ServerKind::Docker);
    assert_eq!(docker, of(Weight::Conditions, "target"));
    let release = differing(|new| new.target.release = Some("OpenSSH_10.0".to_owned()));
    assert_eq!(release, of(Weight::Conditions, "release"));
    let cpus = differing(|new| new.environment.cpus = 8);
    assert_eq!(cpus, of(Weight::Conditions, "CPUs"));
    let busy = differing(|new| new.environment.load_average_1m = Some(4.0));
    assert_eq!(busy, of(Weight::Conditions, "load average"));
    let slow = differing(|new| new.target.exec_cost_ns = Some(9_000_000));
    assert_eq!(slow, of(Weight::Conditions, "cost of a bare command"));
    let fewer = differing(|new| {
        new.scenario.strategies.remove(0);
    });
    assert_eq!(fewer, of(Weight::Experiment, &format!("strategy {OLD}")));
}

#[test]
fn login_shell_and_versions_of_packages_are_conditions_and_what_nobody_knows_is_no_difference() {
    let of = |weight: Weight, what: &str| vec![(weight, what.to_owned())];
    let asked = differing(|new| {
        new.scenario
            .effective_toml
            .push_str("packages = [\"git\"]\n");
    });
    assert_eq!(asked, of(Weight::Experiment, "sshd.packages"));
    let with = |shell: Option<&str>, version: Option<&str>| {
        let mut manifest = manifest();
        manifest.target.login_shell = shell.map(str::to_owned);
        manifest.target.packages = version.map(|version| {
            vec![PackageRecord {
                name: "git".to_owned(),
                version: Some(version.to_owned()),
            }]
        });
        manifest.target
    };
    let base = with(Some("/bin/sh"), Some("1:2.39.5-0"));
    let differ = |new| -> Vec<(Weight, String)> {
        conditions::target_differences(&base, &new)
            .into_iter()
            .map(|difference| (difference.weight, difference.text()))
            .collect()
    };
    assert_eq!(
        differ(with(Some("/bin/bash"), Some("1:2.39.5-0"))),
        of(
            Weight::Conditions,
            "login shell: /bin/sh in the baseline, /bin/bash in the new run"
        )
    );
    assert_eq!(
        differ(with(Some("/bin/sh"), Some("1:2.47.3-0"))),
        of(
            Weight::Conditions,
            "package git: 1:2.39.5-0 in the baseline, 1:2.47.3-0 in the new run"
        )
    );
    assert_eq!(differ(with(None, None)), Vec::new());
}

#[test]
fn another_image_is_a_condition_and_another_build_of_the_same_recipe_is_none() {
    let with = |image: Option<&str>| {
        let mut manifest = manifest();
        manifest.target.image = image.map(str::to_owned);
        manifest.target
    };
    let differ = |base, new| {
        let found = conditions::target_differences(&with(base), &with(new));
        let texts = found
            .iter()
            .map(|difference| (difference.weight, difference.what.clone()));
        texts.collect::<Vec<_>>()
    };
    let another = vec![(Weight::Conditions, "image".to_owned())];
    // An image of the user's: what counts is what is in it, not what it is called.
    let mine = Some("my/base:1@sha256:aa");
    assert_eq!(differ(mine, Some("my/base:1@sha256:bb")), another);
    assert_eq!(differ(mine, Some("my/base:2@sha256:aa")), []);
    assert_eq!(differ(mine, Some("my/base@sha256:dd@sha256:bb")), another);
    let made = Some("sshchurn/openssh:9.2-bookworm-eb836a14@sha256:aa");
    let built_again = Some("sshchurn/openssh:9.2-bookworm-eb836a14@sha256:bb");
    assert_eq!(differ(made, built_again), []);
    let recipe = Some("sshchurn/openssh:9.2-bookworm-00000000@sha256:bb");
    assert_eq!(differ(made, recipe), another);
    assert_eq!(differ(made, mine), another);
    // A server that is in no image differs by its kind already.
    assert_eq!(differ(None, mine), []);
}

proptest! {
    /// Swapping the sides swaps the answer, the interval holds the difference, and the ratio's interval agrees with the
    /// difference's on whether there is a change at all.
    #[test]
    fn comparisons_are_antisymmetric_and_their_intervals_agree(
        base in prop::collection::vec(0_u32..400, 2..6),
        new in prop::collection::vec(0_u32..400, 2..6),
    ) {
        let floats = |values: &[u32]| values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>();
        let (base, new) = (floats(&base), floats(&new));
        let there = Estimate::of(&base, &new, EVENTS).expect("two each");
        let back = Estimate::of(&new, &base, EVENTS).expect("two each");
        prop_assert!((there.difference + back.difference).abs() < 1e-9);
        prop_assert!((there.p_more - back.p_less).abs() < 1e-9);
        prop_assert!((there.pairs_more + back.pairs_more - 1.0).abs() < 1e-9);
        let (low, high) = there.difference_interval;
        prop_assert!(low <= there.difference && there.difference <= high);
        prop_assert_eq!(low > 0.0, there.p_more < LEVEL);
        if let Some((ratio_low, ratio_high)) = there.ratio_interval
            && low.abs() > 1e-6
            && high.abs() > 1e-6
        {
            prop_assert_eq!(low > 0.0, ratio_low > 1.0);
            prop_assert_eq!(high < 0.0, ratio_high < 1.0);
        }
    }
}
