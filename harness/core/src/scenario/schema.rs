//! The JSON Schema of scenario files, generated from their mirror: editors check a file while it is written.

use serde_json::Value;

use super::mirror::ScenarioFile;
use super::tunables;

/// The schema as pretty JSON with a line end, as it is checked in.
#[must_use]
pub fn json() -> String {
    let mut schema = value();
    without_defaults(&mut schema);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// The schema: that of the mirror, and the keys of strategies that their own table has.
pub(super) fn value() -> Value {
    let mut schema = schemars::schema_for!(ScenarioFile).to_value();
    let strategy = schema.pointer_mut("/$defs/StrategyFile/properties");
    if let Some(Value::Object(keys)) = strategy {
        keys.extend(tunables::properties().map(|(key, schema)| (key.to_owned(), schema)));
    }
    schema
}

/// The mirror's fields default to empty values only to make them optional; the real defaults stand in their
/// descriptions, since some depend on the kind of the strategy.
fn without_defaults(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.remove("default");
            object.values_mut().for_each(without_defaults);
        }
        Value::Array(items) => items.iter_mut().for_each(without_defaults),
        _ => {}
    }
}
