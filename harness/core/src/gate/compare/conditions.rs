//! Whether two runs may be compared at all: the same experiment, on what kind of machine.
//!
//! What makes another experiment is refused: the workload, the settings of the server, the stand-in against a real
//! sshd. What may move the numbers of the same experiment is a warning: release, machine, load. What a strategy does is
//! neither: strategies are matched by name, and the client behind the name is what a comparison is for.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pace::Pace;
use crate::ids::StrategyName;
use crate::manifest::{
    EnvironmentRecord, PackageRecord, ScenarioRecord, ServerDescription, ServerKind,
    StrategyRecord, image_parts, is_own_image,
};
use crate::quantity::number;

/// Keys of a scenario that may differ without a word: they name the run, bound it, judge it, or repeat it.
const FREE_KEYS: [&str; 8] = [
    "name",
    "description",
    "seed",
    "rounds",
    "max_duration",
    "gate",
    "expectation",
    "strategy",
];
/// A bare command may cost this much more on one machine than on the other before it is worth a word.
const COST_RATIO: f64 = 2.0;
/// Load averages may be this far apart, for each CPU.
const LOAD_PER_CPU: f64 = 0.5;

/// What a difference does to a comparison.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Another experiment: refused unless allowed.
    Experiment,
    /// May move the numbers: a warning.
    Conditions,
    /// The client under test itself: shown, since it is what is compared.
    Client,
    /// What the comparison was asked to be about: shown likewise.
    Varied,
}

/// Something that is not the same in both runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// What it does to the comparison.
    pub weight: Weight,
    /// What differs, e.g. `job.duration`.
    pub what: String,
    /// In the baseline; `null` where it is absent.
    pub base: Option<String>,
    /// In the new run; `null` where it is absent.
    pub new: Option<String>,
}

impl Difference {
    fn new(
        weight: Weight,
        what: impl Into<String>,
        base: Option<String>,
        new: Option<String>,
    ) -> Self {
        Difference {
            weight,
            what: what.into(),
            base,
            new,
        }
    }

    /// `what: base in the baseline, new in the new run`.
    #[must_use]
    pub fn text(&self) -> String {
        let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".to_owned());
        format!(
            "{}: {} in the baseline, {} in the new run",
            self.what,
            side(&self.base),
            side(&self.new)
        )
    }
}

/// The difference of two scenarios, as far as it is known before anything is started.
#[must_use]
pub fn scenario_differences(base: &ScenarioRecord, new: &ScenarioRecord) -> Vec<Difference> {
    let mut differences = Vec::new();
    let has = |record: &ScenarioRecord, name: &StrategyName| record.kind_of(name).is_some();
    for StrategyRecord { name, .. } in &base.strategies {
        if !has(new, name) {
            differences.push(strategy_missing(name, true));
        }
    }
    for StrategyRecord { name, .. } in &new.strategies {
        if !has(base, name) {
            differences.push(strategy_missing(name, false));
        }
    }
    let (base, new) = (keys(&base.effective_toml), keys(&new.effective_toml));
    compare_maps(&mut differences, &base.experiment, &new.experiment, |key| {
        (Weight::Experiment, key.to_owned())
    });
    for (name, base) in &base.strategies {
        if let Some(new) = new.strategies.get(name) {
            compare_maps(&mut differences, base, new, |key| {
                (Weight::Client, format!("{name}.{key}"))
            });
        }
    }
    differences
}

fn strategy_missing(name: &StrategyName, in_base: bool) -> Difference {
    let there = |there: bool| there.then(|| "present".to_owned());
    Difference::new(
        Weight::Experiment,
        format!("strategy {name}"),
        there(in_base),
        there(!in_base),
    )
}

/// The difference of two servers of the kinds given, as far as the kind tells.
#[must_use]
pub fn kind_difference(base: ServerKind, new: ServerKind) -> Option<Difference> {
    let none = |kind| matches!(kind, ServerKind::Embedded | ServerKind::Simulated);
    let weight = match none(base) || none(new) {
        true => Weight::Experiment,
        false => Weight::Conditions,
    };
    (base != new).then(|| {
        let text = |kind: ServerKind| match kind {
            ServerKind::Embedded => "embedded (a stand-in, not OpenSSH)".to_owned(),
            ServerKind::Simulated => "simulated (a model, nothing measured)".to_owned(),
            kind => kind.as_str().to_owned(),
        };
        Difference::new(weight, "target", Some(text(base)), Some(text(new)))
    })
}

/// The difference of two servers.
pub(super) fn target_differences(
    base: &ServerDescription,
    new: &ServerDescription,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    differences.extend(kind_difference(base.kind, new.kind));
    let mut differ = |weight, what: &str, base: Option<String>, new: Option<String>| {
        if base != new {
            differences.push(Difference::new(weight, what, base, new));
        }
    };
    differ(
        Weight::Experiment,
        "MaxStartups in force",
        base.effective_max_startups.clone(),
        new.effective_max_startups.clone(),
    );
    let path = |target: &ServerDescription| Some(target.network_path.as_str().to_owned());
    differ(Weight::Conditions, "network path", path(base), path(new));
    let release = |target: &ServerDescription| {
        Some(
            target
                .release
                .clone()
                .unwrap_or_else(|| target.identification.clone()),
        )
    };
    differ(Weight::Conditions, "release", release(base), release(new));
    let (before, after) = (base.image.as_deref(), new.image.as_deref());
    if let (Some(before), Some(after)) = (before, after)
        && image_content(before) != image_content(after)
    {
        let (before, after) = (Some(before.to_owned()), Some(after.to_owned()));
        differ(Weight::Conditions, "image", before, after);
    }
    // What one side does not say, an earlier version's record or a server of somebody else's, is no difference.
    if let (Some(base), Some(new)) = (&base.login_shell, &new.login_shell) {
        let (base, new) = (Some(base.clone()), Some(new.clone()));
        differ(Weight::Conditions, "login shell", base, new);
    }
    // Those that only one side has are two scenarios, which differ in that already.
    for before in base.packages.iter().flatten() {
        let same = |after: &&PackageRecord| after.name == before.name;
        if let Some(after) = new.packages.iter().flatten().find(same) {
            differ(
                Weight::Conditions,
                &format!("package {}", before.name),
                before.version.clone(),
                after.version.clone(),
            );
        }
    }
    if base.kind == ServerKind::External || new.kind == ServerKind::External {
        let address = |target: &ServerDescription| Some(target.address.clone());
        differ(Weight::Conditions, "address", address(base), address(new));
    }
    let config = |target: &ServerDescription| -> BTreeMap<String, String> {
        target.effective_config.iter().cloned().collect()
    };
    compare_maps(&mut differences, &config(base), &config(new), |key| {
        (Weight::Conditions, format!("sshd's {key}"))
    });
    if let Some((base, new)) = costs_apart(base.exec_cost_ns, new.exec_cost_ns) {
        differences.push(Difference::new(
            Weight::Conditions,
            "cost of a bare command",
            Some(base),
            Some(new),
        ));
    }
    differences
}

/// What tells the content of one image from that of another, `reference@id`. One that is made for a run is named after its
/// recipe, and each build of it has another id; one that is given may be called anything.
fn image_content(image: &str) -> &str {
    match image_parts(image) {
        (name, id) if is_own_image(name) || id.is_empty() => name,
        (_, id) => id,
    }
}

/// The difference of two machines.
pub(super) fn environment_differences(
    base: &EnvironmentRecord,
    new: &EnvironmentRecord,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut differ = |what: &str, base: String, new: String| {
        differences.push(Difference::new(
            Weight::Conditions,
            what,
            Some(base),
            Some(new),
        ));
    };
    if base.cpus != new.cpus {
        differ("CPUs", base.cpus.to_string(), new.cpus.to_string());
    }
    if base.kernel != new.kernel {
        differ("kernel", base.kernel.clone(), new.kernel.clone());
    }
    if let (Some(before), Some(after)) = (base.load_average_1m, new.load_average_1m)
        && (before - after).abs() > LOAD_PER_CPU * f64::from(base.cpus.min(new.cpus).max(1))
    {
        differ(
            "load average",
            format!("{before:.1}"),
            format!("{after:.1}"),
        );
    }
    differences
}

/// The machine was not as fast.
pub(super) fn pace_difference(strategy: &StrategyName, pace: Pace) -> Difference {
    let text = |ns: f64| Some(format!("{:.1} ms", ns / 1e6));
    Difference::new(
        Weight::Conditions,
        format!(
            "{strategy}: time of an authentication (so a change has to be {:.1} times as large)",
            pace.factor()
        ),
        text(pace.base_ns),
        text(pace.new_ns),
    )
}

fn costs_apart(base: Option<u64>, new: Option<u64>) -> Option<(String, String)> {
    let (base, new) = (number(base?) / 1e6, number(new?) / 1e6);
    let apart = base.max(new) > COST_RATIO * base.min(new);
    apart.then(|| (format!("{base:.1} ms"), format!("{new:.1} ms")))
}

fn compare_maps(
    differences: &mut Vec<Difference>,
    base: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
    name: impl Fn(&str) -> (Weight, String),
) {
    let all: std::collections::BTreeSet<&String> = base.keys().chain(new.keys()).collect();
    for key in all {
        let (base, new) = (base.get(key), new.get(key));
        if base != new {
            let (weight, what) = name(key);
            differences.push(Difference::new(weight, what, base.cloned(), new.cloned()));
        }
    }
}

/// A scenario's text as flat keys.
#[derive(Default)]
struct Keys {
    experiment: BTreeMap<String, String>,
    strategies: BTreeMap<String, BTreeMap<String, String>>,
}

/// The text is the program's own, so that it parses; one that does not is compared as a whole.
fn keys(effective_toml: &str) -> Keys {
    let mut keys = Keys::default();
    let Ok(root) = effective_toml.parse::<toml::Table>() else {
        let whole = effective_toml.to_owned();
        keys.experiment.insert("scenario".to_owned(), whole);
        return keys;
    };
    for (key, value) in &root {
        if !FREE_KEYS.contains(&key.as_str()) {
            flatten(key, value, &mut keys.experiment);
        }
    }
    let strategies = root.get("strategy").and_then(toml::Value::as_array);
    for strategy in strategies.into_iter().flatten() {
        let Some(table) = strategy.as_table() else {
            continue;
        };
        let name = ["name", "kind"]
            .into_iter()
            .find_map(|key| table.get(key)?.as_str())
            .unwrap_or_default();
        let flat = keys.strategies.entry(name.to_owned()).or_default();
        for (key, value) in table {
            flatten(key, value, flat);
        }
    }
    keys
}

fn flatten(key: &str, value: &toml::Value, into: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            for (inner, value) in table {
                flatten(&format!("{key}.{inner}"), value, into);
            }
        }
        toml::Value::String(text) => {
            into.insert(key.to_owned(), text.clone());
        }
        value => {
            into.insert(key.to_owned(), value.to_string());
        }
    }
}
