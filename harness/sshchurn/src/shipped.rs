//! What is shipped with the program, embedded so that it needs no files beside it.

use sshchurn_core::scenario::Library;
use sshchurn_server::docker::Recipe;

/// Name of the scenario that runs when none is named.
pub const DEFAULT: &str = "airflow-68115";

/// The shipped scenarios, the default first.
pub const SCENARIOS: Library = Library(&[
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
    ("one-shot", include_str!("../../../scenarios/one-shot.toml")),
    (
        "slow-auth",
        include_str!("../../../scenarios/slow-auth.toml"),
    ),
    (
        "multiplexed",
        include_str!("../../../scenarios/multiplexed.toml"),
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
        "penalty-spacing",
        include_str!("../../../scenarios/penalty-spacing.toml"),
    ),
    (
        "regression-gate",
        include_str!("../../../scenarios/regression-gate.toml"),
    ),
    (
        "regression-gate-churn",
        include_str!("../../../scenarios/regression-gate-churn.toml"),
    ),
]);

/// The GitHub workflow around a client under test.
pub const GITHUB_WORKFLOW: &str = include_str!("../../../reports/ci/github.yml");

/// How the images of the docker server are made.
pub const RECIPE: Recipe = Recipe {
    dockerfile: include_str!("../../../containers/openssh/Dockerfile"),
    from_packages: include_str!("../../../containers/openssh/build-offline.sh"),
};

#[cfg(test)]
mod tests {
    use std::path::Path;

    use sshchurn_core::scenario;

    use super::*;

    #[test]
    fn every_shipped_scenario_is_valid_and_named_after_its_file() {
        let shipped = SCENARIOS.all();
        assert_eq!(shipped.len(), SCENARIOS.names().len());
        assert_eq!(SCENARIOS.names()[0], DEFAULT);
        for (scenario, name) in shipped.iter().zip(SCENARIOS.names()) {
            assert_eq!(scenario.name, name);
            assert!(!scenario.description.is_empty());
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let files = std::fs::read_dir(folder)
            .expect("the scenarios folder")
            .filter(|entry| {
                entry
                    .as_ref()
                    .is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "toml"))
            })
            .count();
        assert_eq!(files, shipped.len(), "a file is not shipped");
    }

    /// `SSHCHURN_UPDATE=1` writes them anew.
    #[test]
    fn checked_in_schemas_and_reference_are_up_to_date() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut schemas = vec![(
            root.join("scenarios/scenario.schema.json"),
            scenario::schema::json(),
        )];
        let generated = sshchurn_report::schema::all()
            .into_iter()
            .chain(sshchurn_report::reference::all());
        for (name, text) in generated {
            schemas.push((root.join("reports").join(name), text));
        }
        for (path, schema) in schemas {
            if std::env::var_os("SSHCHURN_UPDATE").is_some() {
                std::fs::write(&path, &schema).expect("the folder is writable");
            }
            let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                checked_in == schema,
                "{} is out of date; run the tests with SSHCHURN_UPDATE=1",
                path.display()
            );
        }
    }
}
