//! How often the comparison is wrong: false alarms of a build compared with itself, and the power to find a change, on
//! rounds drawn from models of what real rounds do. Seeded, so that the table in `reports/README.md` is this one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::analysis::ledger_builder::{NEW, OLD, manifest};
use crate::ids::StrategyName;
use crate::manifest::Manifest;

const TASKS: f64 = 120.0;

/// How the rounds of a run vary.
#[derive(Clone, Copy)]
struct Model {
    name: &'static str,
    /// Standard deviation of a round's handshakes and refusals, as shares.
    handshakes: f64,
    refusals: f64,
    /// Standard deviation of a whole run's level, as a share: the machine was busier, or not.
    drift: f64,
    /// Failed tasks and leftover directories of a round are Poisson counts of a gamma-distributed mean: mean and shape.
    failures: (f64, f64),
}

const MODELS: [Model; 5] = [
    Model {
        name: "calm machine (rounds vary as measured on an idle one)",
        handshakes: 0.013,
        refusals: 0.08,
        drift: 0.0,
        failures: (0.1, 1.0),
    },
    Model {
        name: "busy machine (connections vary by 3 % between rounds)",
        handshakes: 0.03,
        refusals: 0.15,
        drift: 0.0,
        failures: (1.0, 1.0),
    },
    Model {
        name: "very busy machine (5 %), and whole runs drift by 2 %",
        handshakes: 0.05,
        refusals: 0.25,
        drift: 0.02,
        failures: (8.0, 20.0),
    },
    Model {
        name: "failures in clumps (8 a round, standard deviation 6)",
        handshakes: 0.013,
        refusals: 0.08,
        drift: 0.0,
        failures: (8.0, 2.0),
    },
    Model {
        name: "no refusals, rare failures in clumps (0.5 a round, standard deviation 1.3)",
        handshakes: 0.0,
        refusals: 0.0,
        drift: 0.0,
        failures: (0.5, 0.2),
    },
];
/// Rounds of the baseline and of the new run.
const ROUNDS: [(usize, usize); 3] = [(2, 2), (3, 3), (5, 2)];

struct Draw(ChaCha8Rng);

impl Draw {
    fn uniform(&mut self) -> f64 {
        self.0.random::<f64>().clamp(1e-12, 1.0 - 1e-12)
    }

    /// Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    fn around(&mut self, mean: f64, share: f64) -> f64 {
        (mean * (1.0 + share * self.normal())).round().max(0.0)
    }

    /// Gamma of mean 1, by Marsaglia and Tsang (2000).
    fn gamma(&mut self, shape: f64) -> f64 {
        let boosted = shape.max(0.0) + 1.0;
        let d = boosted - 1.0 / 3.0;
        let value = loop {
            let x = self.normal();
            let v = (1.0 + x / (9.0 * d).sqrt()).powi(3);
            if v > 0.0 && self.uniform().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                break d * v;
            }
        };
        value * self.uniform().powf(1.0 / shape) / shape
    }

    fn poisson(&mut self, mean: f64) -> f64 {
        let (limit, mut product, mut events) = ((-mean).exp(), self.uniform(), 0.0);
        while product > limit {
            product *= self.uniform();
            events += 1.0;
        }
        events
    }
}

type Rounds = Vec<BTreeMap<String, f64>>;

/// The rounds of one strategy of one run, its connections multiplied by `factor`.
fn rounds(draw: &mut Draw, model: Model, rounds: usize, mean: (f64, f64), factor: f64) -> Rounds {
    let level = factor * (1.0 + model.drift * draw.normal());
    (0..rounds)
        .map(|_| {
            let handshakes = draw.around(mean.0 * level, model.handshakes);
            let refusals = if model.refusals > 0.0 {
                draw.around(mean.1 * level, model.refusals)
            } else {
                0.0
            };
            let failed = |draw: &mut Draw| {
                let rate = model.failures.0 * draw.gamma(model.failures.1);
                draw.poisson(rate).min(TASKS)
            };
            let values = [
                ("handshakes", handshakes),
                ("banner_eof", refusals),
                ("attempts", handshakes + refusals),
                ("tasks_failed", failed(draw)),
                ("leftover_dirs", failed(draw)),
            ];
            values
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()
        })
        .collect()
}

fn of_run(draw: &mut Draw, model: Model, count: usize, factor: f64) -> [Rounds; 2] {
    [
        rounds(draw, model, count, (1072.0, 176.0), factor),
        rounds(draw, model, count, (360.0, 84.0), factor),
    ]
}

fn side<'a>(manifest: &'a Manifest, run: &'a [Rounds; 2]) -> Side<'a> {
    Side {
        faults: Vec::new(),
        scenario: &manifest.scenario,
        target: &manifest.target,
        environment: &manifest.environment,
        strategies: [OLD, NEW]
            .into_iter()
            .zip(run)
            .map(|(name, rounds)| StrategyRounds {
                strategy: StrategyName(name.to_owned()),
                rounds: rounds.iter().collect(),
            })
            .collect(),
    }
}

/// Shares of comparisons: with an alarm (or, with a change, that found it in `attempts`), and inconclusive.
fn shares(model: Model, (base, new): (usize, usize), factor: f64, comparisons: u32) -> (f64, f64) {
    let mut manifest = manifest();
    manifest.scenario.tasks = 120;
    let mut draw = Draw(ChaCha8Rng::seed_from_u64(68115));
    let (mut alarms, mut unsure) = (0.0, 0.0);
    for _ in 0..comparisons {
        let before = of_run(&mut draw, model, base, 1.0);
        let after = of_run(&mut draw, model, new, factor);
        let compared = compare(
            &side(&manifest, &before),
            &side(&manifest, &after),
            &[],
            &MinimumEffect::default(),
        );
        match compared.verdict {
            crate::gate::Verdict::Fail => alarms += 1.0,
            crate::gate::Verdict::Inconclusive => unsure += 1.0,
            crate::gate::Verdict::Pass | crate::gate::Verdict::Measured => {}
        }
    }
    let all = f64::from(comparisons);
    (alarms / all, unsure / all)
}

#[test]
fn a_build_compared_with_itself_alarms_in_at_most_one_of_twenty_comparisons() {
    let mut table = String::new();
    for model in MODELS {
        writeln!(table, "{}", model.name).expect("a string");
        for (base, new) in ROUNDS {
            let (alarms, unsure) = shares(model, (base, new), 1.0, 2000);
            writeln!(
                table,
                "  {base} + {new} rounds: alarms {:4.1} %, inconclusive {:4.1} %",
                alarms * 100.0,
                unsure * 100.0
            )
            .expect("a string");
            assert!(alarms <= 0.05, "{table}");
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn a_fifth_more_attempts_is_found() {
    let mut table = String::new();
    for model in &MODELS[..3] {
        writeln!(table, "{}", model.name).expect("a string");
        for (base, new) in ROUNDS {
            let (found, unsure) = shares(*model, (base, new), 1.2, 500);
            writeln!(
                table,
                "  {base} + {new} rounds: regressed {:5.1} %, inconclusive {:4.1} %",
                found * 100.0,
                unsure * 100.0,
            )
            .expect("a string");
            // What is not proven is at least not passed.
            assert!(found + unsure >= 0.95, "{table}");
        }
    }
    let (found, _) = shares(MODELS[1], (3, 3), 1.2, 500);
    assert!(found >= 0.9, "{table}");
    insta::assert_snapshot!(table);
}
