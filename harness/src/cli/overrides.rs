//! What the command line changes in a scenario.

use super::args::OverrideArgs;
use super::error::CliError;
use crate::scenario::Scenario;

/// The scenario of that name with the overrides applied, and where it came from.
pub(super) fn resolve(scenario: &str, args: &OverrideArgs) -> Result<(Scenario, String), CliError> {
    let (mut scenario, origin) =
        Scenario::resolve(scenario).map_err(|errors| CliError::Scenario(errors.render()))?;
    if let Some(tasks) = args.tasks {
        scenario.tasks = tasks;
    }
    if let Some(max_startups) = args.max_startups {
        scenario.sshd.max_startups = max_startups;
    }
    if let Some(rounds) = args.rounds {
        scenario.rounds = rounds;
    }
    if let Some(seed) = args.seed {
        scenario.seed = seed;
    }
    if let Some(time_scale) = args.time_scale {
        scenario.time_scale = time_scale;
    }
    if let Some(max_duration) = args.max_duration {
        scenario.max_duration = max_duration;
    }
    select_strategies(&mut scenario, &args.strategies)?;
    for (keyword, value) in &args.sshd_options {
        scenario
            .sshd
            .set_keyword(keyword, value)
            .map_err(|error| CliError::Usage(format!("--sshd-option {keyword}: {error}")))?;
    }
    scenario.gate.extend(args.thresholds.iter().cloned());
    Ok((scenario, origin))
}

fn select_strategies(scenario: &mut Scenario, wanted: &[String]) -> Result<(), CliError> {
    for name in wanted {
        if !scenario
            .strategies
            .iter()
            .any(|strategy| strategy.name.0 == *name)
        {
            let known: Vec<&str> = scenario
                .strategies
                .iter()
                .map(|strategy| strategy.name.0.as_str())
                .collect();
            return Err(CliError::Usage(format!(
                "--strategy {name}: scenario `{}` has no such strategy; it has {}",
                scenario.name,
                known.join(", ")
            )));
        }
    }
    if !wanted.is_empty() {
        scenario
            .strategies
            .retain(|strategy| wanted.contains(&strategy.name.0));
    }
    Ok(())
}
