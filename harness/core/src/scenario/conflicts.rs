//! What the keys of a scenario may each be and not together.
//!
//! Owns these rules, once for a file as it is read and for a scenario that the command line has changed.

use super::config::{ArrivalShape, HoldUntil, Life, MOST_SOURCES, Scenario, StrategyKind};
use super::problem::ScenarioErrors;

/// Two keys that do not go together.
pub(super) struct Conflict {
    /// The key of the file's top level where it is shown.
    pub(super) key: &'static str,
    pub(super) message: String,
    pub(super) help: String,
}

impl Scenario {
    /// Whether it can be run as it is, whoever has changed its fields.
    ///
    /// # Errors
    /// Every conflict between its keys.
    pub fn consistent(&self, origin: &str) -> Result<(), ScenarioErrors> {
        let found = conflicts(self);
        if found.is_empty() {
            return Ok(());
        }
        let problems = found
            .into_iter()
            .map(|Conflict { key, message, help }| (format!("{key}: {message}"), Some(help)));
        Err(ScenarioErrors::without_text(origin, problems))
    }
}

pub(super) fn conflicts(scenario: &Scenario) -> Vec<Conflict> {
    let mut found = Vec::new();
    if let ArrivalShape::Recorded { offsets, .. } = &scenario.arrival.shape
        && offsets.len() != scenario.tasks as usize
    {
        found.push(Conflict {
            key: "tasks",
            message: format!(
                "arrival.offsets_ms has the start of {} tasks",
                offsets.len()
            ),
            help: "leave the number of tasks out, or choose another arrival.shape".to_owned(),
        });
    }
    in_flight(scenario, &mut found);
    let mut strategies = scenario.strategies.iter();
    if scenario.tasks > 1 && strategies.any(|it| it.kind == StrategyKind::Staircase) {
        found.push(Conflict {
            key: "tasks",
            message: "a `staircase` must be alone to know how many slots are in use".to_owned(),
            help: "tasks = 1".to_owned(),
        });
    }
    failing_logins(scenario, &mut found);
    grace_time(scenario, &mut found);
    found
}

/// Tasks that wait for each other must all be let begin.
fn in_flight(scenario: &Scenario, found: &mut Vec<Conflict>) {
    let tasks = scenario.tasks;
    let Some(limit) = scenario.arrival.max_in_flight else {
        return;
    };
    let mut strategies = scenario.strategies.iter();
    if limit < tasks && strategies.any(|it| matches!(it.kind.life(), Life::Hold(_))) {
        found.push(Conflict {
            key: "arrival",
            message: format!(
                "max_in_flight {limit} is less than {tasks} tasks, and a `stalled` task ends only when all have begun"
            ),
            help: "remove max_in_flight, or the `stalled` strategy".to_owned(),
        });
    }
    let shared = scenario
        .strategies
        .iter()
        .filter(|strategy| strategy.kind.life() == Life::Shared)
        .map(|strategy| strategy.tunables.sessions_per_connection)
        .max();
    if let Some(sharing) = shared.filter(|sharing| limit < (*sharing).min(tasks)) {
        found.push(Conflict {
            key: "arrival",
            message: format!(
                "max_in_flight {limit} is less than the {sharing} tasks that share a connection"
            ),
            help: "lower `sessions_per_connection`, or remove max_in_flight".to_owned(),
        });
    }
}

/// Holders that wait for the end of `LoginGraceTime` need one.
fn grace_time(scenario: &Scenario, found: &mut Vec<Conflict>) {
    let waits = scenario
        .holders
        .is_some_and(|holders| holders.until == HoldUntil::GraceTime);
    let off = |value: &str| matches!(value.trim(), "0" | "0s" | "0m");
    if waits && scenario.sshd.keyword("LoginGraceTime").is_some_and(off) {
        found.push(Conflict {
            key: "holders",
            message:
                "`LoginGraceTime` 0 never ends a silent client, and the round would last for ever"
                    .to_owned(),
            help: "until = \"round_end\"".to_owned(),
        });
    }
}

/// Every task of a `failing-login` strategy has a spacing and a source address of its own.
fn failing_logins(scenario: &Scenario, found: &mut Vec<Conflict>) {
    let failing = scenario
        .strategies
        .iter()
        .filter(|strategy| strategy.kind.life() == Life::Failing);
    let Some(spacings) = failing
        .map(|strategy| strategy.tunables.spacing.len())
        .max()
    else {
        return;
    };
    let (tasks, sshd) = (scenario.tasks, &scenario.sshd);
    let spares = |list: &str| !list.trim().eq_ignore_ascii_case("none");
    if sshd
        .keyword("PerSourcePenaltyExemptList")
        .is_some_and(spares)
    {
        found.push(Conflict {
            key: "sshd",
            message: "`PerSourcePenaltyExemptList` may spare the sources of `failing-login`, and then no spacing bans".to_owned(),
            help: "remove it".to_owned(),
        });
    }
    let spacings = u32::try_from(spacings).unwrap_or(u32::MAX);
    if tasks > MOST_SOURCES {
        found.push(Conflict {
            key: "tasks",
            message: format!(
                "{tasks} tasks of `failing-login` need a source address each, and there are {MOST_SOURCES}"
            ),
            help: format!("tasks = {spacings}"),
        });
    } else if tasks < spacings {
        found.push(Conflict {
            key: "tasks",
            message: format!(
                "{spacings} values of `spacing` need a task each, and there are {tasks}"
            ),
            help: format!("tasks = {spacings}"),
        });
    }
    if tasks > 1 && sshd.keyword("PerSourceNetBlockSize").is_some() {
        found.push(Conflict {
            key: "sshd",
            message: "with `PerSourceNetBlockSize` sshd may count the sources of several `failing-login` tasks as one".to_owned(),
            help: "remove it, or set tasks = 1".to_owned(),
        });
    }
}
