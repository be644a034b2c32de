//! JSON Schemas of the documents, generated from their types: what `reports/*.schema.json` holds.
//!
//! Owns the list of them. What a document means is its own module's.

use schemars::JsonSchema;

use super::comparison::CompareReport;
use super::config_check::ConfigCheck;
use super::config_file::ConfigFileCheck;
use super::diagnose::DiagnoseReport;
use super::document::RunReport;
use super::fidelity::FidelityReport;
use super::json::pretty;
use super::matrix::MatrixReport;
use super::plan::PlanReport;
use super::probe::ProbeReport;
use super::sweep::SweepReport;
use sshchurn_core::model::calibration::Calibration;

/// Every document with a schema: its file in `reports/`, and the schema, pretty, with one final newline.
#[must_use]
pub fn all() -> [(&'static str, String); 11] {
    [
        ("report.schema.json", of::<RunReport>()),
        ("matrix.schema.json", of::<MatrixReport>()),
        ("sweep.schema.json", of::<SweepReport>()),
        ("compare.schema.json", of::<CompareReport>()),
        ("check-config.schema.json", of::<ConfigCheck>()),
        ("check-config-file.schema.json", of::<ConfigFileCheck>()),
        ("fidelity.schema.json", of::<FidelityReport>()),
        ("diagnose.schema.json", of::<DiagnoseReport>()),
        ("plan.schema.json", of::<PlanReport>()),
        ("calibration.schema.json", of::<Calibration>()),
        ("probe.schema.json", of::<ProbeReport>()),
    ]
}

fn of<T: JsonSchema>() -> String {
    pretty(&schemars::schema_for!(T))
}

/// Asserts that a document is what its schema says, by another reader of JSON Schema than this crate's types.
#[cfg(test)]
#[track_caller]
pub(super) fn assert_conforms<T: JsonSchema>(document: &str) {
    let schema = serde_json::from_str(&of::<T>()).expect("JSON");
    let document = serde_json::from_str(document).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let problems: Vec<String> = validator
        .iter_errors(&document)
        .map(|problem| format!("{}: {problem}", problem.instance_path()))
        .collect();
    assert_eq!(problems, Vec::<String>::new());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_refuse_what_is_not_the_document() {
        for (name, schema) in all() {
            let schema = serde_json::from_str(&schema).expect("JSON");
            let validator = jsonschema::validator_for(&schema).expect("a schema");
            for wrong in ["{}", "[]", "{\"schema_version\": \"1\"}"] {
                let wrong = serde_json::from_str(wrong).expect("JSON");
                assert!(!validator.is_valid(&wrong), "{name} {wrong}");
            }
        }
    }
}
