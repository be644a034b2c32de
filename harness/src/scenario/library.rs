//! The scenarios shipped with the program, embedded so that they need no files beside it.

use super::config::Scenario;

/// Name of the scenario that runs when none is named.
pub const DEFAULT: &str = "airflow-68115";

const SHIPPED: &[(&str, &str)] = &[
    (
        "airflow-68115",
        include_str!("../../../scenarios/airflow-68115.toml"),
    ),
    (
        "airflow-68115-200",
        include_str!("../../../scenarios/airflow-68115-200.toml"),
    ),
    ("smoke", include_str!("../../../scenarios/smoke.toml")),
    (
        "max-sessions",
        include_str!("../../../scenarios/max-sessions.toml"),
    ),
    ("orphans", include_str!("../../../scenarios/orphans.toml")),
    (
        "open-gates",
        include_str!("../../../scenarios/open-gates.toml"),
    ),
    (
        "stalled-burst",
        include_str!("../../../scenarios/stalled-burst.toml"),
    ),
    (
        "staircase",
        include_str!("../../../scenarios/staircase.toml"),
    ),
    (
        "per-source",
        include_str!("../../../scenarios/per-source.toml"),
    ),
    (
        "penalties",
        include_str!("../../../scenarios/penalties.toml"),
    ),
    (
        "regression-gate",
        include_str!("../../../scenarios/regression-gate.toml"),
    ),
    (
        "regression-gate-churn",
        include_str!("../../../scenarios/regression-gate-churn.toml"),
    ),
];

/// All shipped scenarios, the default first.
#[must_use]
pub fn all() -> Vec<Scenario> {
    // A test parses each of them; one that did not parse would be missing here and fail that test.
    SHIPPED
        .iter()
        .filter_map(|(name, text)| Scenario::parse(name, text).ok())
        .collect()
}

/// Names of the shipped scenarios.
#[must_use]
pub fn names() -> Vec<&'static str> {
    SHIPPED.iter().map(|(name, _)| *name).collect()
}

/// The TOML text of a shipped scenario.
#[must_use]
pub fn text(name: &str) -> Option<&'static str> {
    SHIPPED
        .iter()
        .find(|(shipped, _)| *shipped == name)
        .map(|(_, text)| *text)
}
