//! What the command line changes in a scenario.

use super::args::OverrideArgs;
use super::error::CliError;
use crate::doctor::Finding;
use crate::shipped::SCENARIOS;
use sshchurn_core::gate::Threshold;
use sshchurn_core::ids::StrategyName;
use sshchurn_core::scenario::Scenario;
use sshchurn_core::sshd_file::extract::Extract;

/// A scenario as it is to be run.
pub(super) struct Resolved {
    /// With the overrides applied.
    pub(super) scenario: Scenario,
    /// Where it came from.
    pub(super) origin: String,
    /// What the overrides took out of it that was there to judge; for the report, where nobody sees the command line.
    pub(super) left_out: Vec<Finding>,
}

/// What can be run of a user's own `sshd_config`.
pub(super) struct OfFile {
    /// The file, as it was named.
    pub(super) name: String,
    pub(super) extract: Extract,
}

impl OfFile {
    /// What is not run of it, aloud.
    fn not_run(&self) -> impl Iterator<Item = Finding> {
        let Extract { left_out, .. } = &self.extract;
        left_out.iter().map(|left| {
            Finding::warning(
                "sshd_config",
                format!("{}: not run: {}: {}", self.name, left.what, left.why),
                "the numbers are those of a server without it",
            )
        })
    }
}

/// The scenario of that name with the overrides applied, which must still go together.
pub(super) fn resolve(name: &str, args: &OverrideArgs) -> Result<Resolved, CliError> {
    resolve_with(name, args, None)
}

/// The same with what can be run of a user's own `sshd_config` in the place of what the scenario says of the server.
pub(super) fn resolve_with(
    name: &str,
    args: &OverrideArgs,
    file: Option<&OfFile>,
) -> Result<Resolved, CliError> {
    let (mut scenario, origin) = SCENARIOS
        .resolve(name)
        .map_err(|errors| CliError::Scenario(errors.render()))?;
    let mut changes = Vec::new();
    let mut change = |what: &str, before: String, after: String| {
        if before != after {
            changes.push(format!("{what} {before} → {after}"));
        }
    };
    if let Some(tasks) = args.tasks {
        change("tasks", scenario.tasks.to_string(), tasks.to_string());
        scenario.tasks = tasks;
    }
    if let Some(OfFile { name, extract }) = file {
        let before = scenario.sshd.max_startups.to_string();
        let after = extract.max_startups.to_string();
        change(&format!("MaxStartups, of {name},"), before, after);
        for (keyword, value) in &extract.keywords {
            let before = scenario.sshd.keyword(keyword).unwrap_or("unset").to_owned();
            change(keyword, before, value.clone());
        }
        for (keyword, value) in &scenario.sshd.keywords {
            let kept = |(other, _): &(String, String)| other.eq_ignore_ascii_case(keyword);
            if !extract.keywords.iter().any(kept) {
                change(keyword, value.clone(), "unset".to_owned());
            }
        }
        extract.apply(&mut scenario.sshd);
    }
    if let Some(max_startups) = args.max_startups {
        let before = scenario.sshd.max_startups.to_string();
        change("MaxStartups", before, max_startups.to_string());
        scenario.sshd.max_startups = max_startups;
    }
    if let Some(rounds) = args.rounds {
        scenario.rounds = rounds;
    }
    if let Some(seed) = args.seed {
        scenario.seed = seed;
    }
    if let Some(time_scale) = args.time_scale {
        let before = scenario.time_scale.to_string();
        change("time scale", before, time_scale.to_string());
        scenario.time_scale = time_scale;
    }
    if let Some(max_duration) = args.max_duration {
        scenario.max_duration = max_duration;
    }
    let mut left_out: Vec<Finding> = select_strategies(&mut scenario, &args.strategies)?
        .into_iter()
        .map(not_judged)
        .collect();
    set_keywords(&mut scenario, &args.sshd_options)?;
    changes.extend(
        args.sshd_options
            .iter()
            .map(|(keyword, value)| format!("{keyword} {value}")),
    );
    left_out.extend(another_experiment(&mut scenario, &changes));
    left_out.extend(file.into_iter().flat_map(OfFile::not_run));
    scenario
        .gate
        .extend(args.goals.iter().flat_map(|goal| goal.thresholds()));
    scenario.gate.extend(args.thresholds.iter().cloned());
    scenario.gate.extend(implied_gates(&scenario));
    let changed = format!("{name}, with the changes of the command line");
    scenario
        .consistent(&changed)
        .map_err(|errors| CliError::Scenario(errors.render()))?;
    Ok(Resolved {
        scenario,
        origin,
        left_out,
    })
}

/// An experiment that the command line has changed is not the one that the file describes: what that one is expected to
/// show is not asked of it, and its description is not put over it.
pub(super) fn another_experiment(scenario: &mut Scenario, changes: &[String]) -> Vec<Finding> {
    if changes.is_empty() {
        return Vec::new();
    }
    let changes = changes.join(", ");
    scenario.description = format!("`{}` with changes: {changes}.", scenario.name);
    std::mem::take(&mut scenario.expectations)
        .into_iter()
        .map(|expectation| {
            Finding::warning(
                "expectation",
                format!("not checked, because the command line changes the experiment ({changes}): {expectation}"),
                "use `--threshold` or `--goal` to judge this run",
            )
        })
        .collect()
}

/// Puts the `--sshd-option`s into a scenario.
pub(super) fn set_keywords(
    scenario: &mut Scenario,
    given: &[(String, String)],
) -> Result<(), CliError> {
    scenario
        .sshd
        .set_keywords(given)
        .map_err(|refused| CliError::Usage(format!("--sshd-option {refused}")))
}

/// A client under test that fails is never a pass: where no threshold says how many may, none may.
fn implied_gates(scenario: &Scenario) -> Vec<String> {
    let names = scenario.strategy_names();
    let judged = |name: &StrategyName| {
        scenario
            .gate
            .iter()
            .filter_map(|text| Threshold::parse(text, &names).ok())
            .any(|threshold| {
                let about_it = threshold.left.strategy.as_ref().is_none_or(|of| of == name);
                about_it
                    && ["tasks_failed", "tasks_succeeded"].contains(&threshold.left.metric.name)
            })
    };
    scenario
        .programs()
        .map(|(strategy, _)| &strategy.name)
        .filter(|name| !judged(name))
        .map(|name| format!("{name}.tasks_failed == 0"))
        .collect()
}

/// A threshold of a strategy that does not run, aloud.
pub(super) fn not_judged(threshold: String) -> Finding {
    Finding::warning(
        "threshold",
        format!("not judged: `--strategy` leaves out one of its strategies: {threshold}"),
        "omit `--strategy` to judge it",
    )
}

/// Leaves the wanted strategies, and the thresholds that need no other; returns the others.
pub(super) fn select_strategies(
    scenario: &mut Scenario,
    wanted: &[String],
) -> Result<Vec<String>, CliError> {
    let all: Vec<StrategyName> = scenario.strategy_names();
    for name in wanted {
        if !all.iter().any(|known| known.0 == *name) {
            let known: Vec<&str> = all.iter().map(|name| name.0.as_str()).collect();
            return Err(CliError::Usage(format!(
                "--strategy {name}: scenario `{}` has no such strategy; it has {}",
                scenario.name,
                known.join(", ")
            )));
        }
    }
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    scenario
        .strategies
        .retain(|strategy| wanted.contains(&strategy.name.0));
    let left = scenario.strategy_names();
    let parses = |text: &String, strategies: &[StrategyName]| {
        Threshold::parse_all(std::slice::from_ref(text), strategies).is_ok()
    };
    // One that is wrong anyway is kept, to be told.
    let (kept, dropped) = std::mem::take(&mut scenario.gate)
        .into_iter()
        .partition(|text| parses(text, &left) || !parses(text, &all));
    scenario.gate = kept;
    // They decide nothing, so that nothing is lost with them.
    scenario.expectations.retain(|text| parses(text, &left));
    Ok(dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_go_with_the_strategies_they_name_and_wrong_ones_stay_to_be_told() {
        let mut scenario = SCENARIOS.resolve("airflow-68115").expect("shipped").0;
        scenario.gate = [
            "per-command.attempts >= 2 * reused-session.attempts",
            "reused-session.poll.banner_eof == 0",
            "attempts > 0",
            "atempts > 0",
        ]
        .map(str::to_owned)
        .to_vec();
        let wanted = ["reused-session".to_owned()];
        let dropped = select_strategies(&mut scenario, &wanted).expect("a strategy of it");
        assert_eq!(
            dropped,
            ["per-command.attempts >= 2 * reused-session.attempts"]
        );
        assert_eq!(
            scenario.gate,
            [
                "reused-session.poll.banner_eof == 0",
                "attempts > 0",
                "atempts > 0"
            ]
        );
        assert_eq!(scenario.strategies.len(), 1);
    }

    #[test]
    fn changed_experiment_loses_expectations_and_description_and_an_unchanged_one_keeps_both() {
        let shipped = SCENARIOS.resolve("airflow-68115").expect("shipped").0;
        assert!(!shipped.expectations.is_empty());
        let mut same = shipped.clone();
        assert!(another_experiment(&mut same, &[]).is_empty());
        assert_eq!(same, shipped);
        let mut other = shipped.clone();
        let changes = ["tasks 120 → 200".to_owned()];
        let left_out = another_experiment(&mut other, &changes);
        assert_eq!(left_out.len(), shipped.expectations.len());
        assert!(other.expectations.is_empty());
        assert_eq!(
            other.description,
            "`airflow-68115` with changes: tasks 120 → 200."
        );
    }
}
