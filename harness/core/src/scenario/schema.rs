//! The JSON Schema of scenario files, generated from their mirror: editors check a file while it is written.

use super::mirror::ScenarioFile;

/// The schema as pretty JSON with a line end, as it is checked in.
#[must_use]
pub fn json() -> String {
    let mut schema = schemars::schema_for!(ScenarioFile).to_value();
    without_defaults(&mut schema);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// The mirror's fields default to empty values only to make them optional; the real defaults stand in their
/// descriptions, since some depend on the kind of the strategy.
fn without_defaults(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(object) => {
            object.remove("default");
            object.values_mut().for_each(without_defaults);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(without_defaults),
        _ => {}
    }
}
