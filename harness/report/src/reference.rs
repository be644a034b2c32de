//! The reference of formats and metrics: what `reports/metrics.md`, `ledger.md` and `report-json.md` hold, generated from the
//! catalogue and the types, whose comments are its sentences.
//!
//! Owns how a JSON Schema reads as Markdown. What a field means is its type's.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use sshchurn_core::analysis::catalogue::{Better, CATALOGUE, Metric};
use sshchurn_core::join::Views;
use sshchurn_core::ledger::Record;

use super::document::RunReport;

const GENERATED: &str =
    "<!-- Generated from the code, whose tests keep it so: change the comments there. -->";

/// Every page of the reference: its file in `reports/`, and its text.
#[must_use]
pub fn all() -> [(&'static str, String); 3] {
    [
        ("metrics.md", metrics()),
        (
            "ledger.md",
            page(
                "The ledger",
                "`events.jsonl.zst` holds one record a line, zstd-compressed, in the order in which things were recorded. Its first \
                 line is a header with the version of the format; the sequence number leaves no gap, and the instants never go back. \
                 All times are in nanoseconds since the run began (`zstd -dc events.jsonl.zst | head`).",
                &schemars::schema_for!(Record).to_value(),
            ),
        ),
        (
            "report-json.md",
            page(
                "report.json",
                "What a run came to. Numbers carry their unit in their name (`_ns`, `_bytes`, `_per_s`, `_share`); a value that was not \
                 measured is `null`, never 0. The same as a JSON Schema: `report.schema.json`.",
                &schemars::schema_for!(RunReport).to_value(),
            ),
        ),
    ]
}

fn metrics() -> String {
    let mut out = format!(
        "# Metrics\n\n{GENERATED}\n\nThe names are API: in thresholds, in `report.json`, in `metrics.txt`. A metric that needs a witness has \
         no data where that witness is not there; no data is never a pass. *Seen by* says whose records it is counted from: the client's \
         own, sshd's log, or both joined connection by connection.\n\n\
         | metric | unit | by phase | seen by | better | aggregates | meaning |\n|---|---|---|---|---|---|---|\n"
    );
    for metric in CATALOGUE {
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} | {} | {} | {} |",
            metric.name,
            metric.unit.as_str(),
            if metric.by_phase { "yes" } else { "" },
            seen_by(metric),
            match metric.better {
                Better::Less => "less",
                Better::More => "more",
                Better::Neither => "",
            },
            metric.aggregates(),
            cell(metric.description),
        );
    }
    out
}

fn seen_by(metric: &Metric) -> String {
    let sets: Vec<String> = metric.needs.iter().map(witnesses).collect();
    sets.join(", or ")
}

fn witnesses(views: &Views) -> String {
    let log = match views.drops {
        true => "sshd's log with every refusal",
        false => "sshd's log",
    };
    let all = [
        (views.client, "the client"),
        (views.server, log),
        (views.kernel, "the kernel"),
    ];
    let seen: Vec<&str> = all
        .into_iter()
        .filter(|(there, _)| *there)
        .map(|(_, who)| who)
        .collect();
    seen.join(" and ")
}

fn page(title: &str, about: &str, schema: &Value) -> String {
    let mut out = format!("# {title}\n\n{GENERATED}\n\n{about}\n\n");
    section(&mut out, title, schema);
    let definitions = schema.get("$defs").and_then(Value::as_object);
    for (name, definition) in definitions.into_iter().flatten() {
        let _ = writeln!(out, "## {name}\n");
        if let Some(description) = description(definition) {
            let _ = writeln!(out, "{description}\n");
        }
        section(&mut out, name, definition);
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn description(schema: &Value) -> Option<String> {
    let text = schema.get("description")?.as_str()?;
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// One type: the fields of an object, the values of an enumeration, or the variants of a tagged one.
fn section(out: &mut String, name: &str, schema: &Value) {
    if let Some(variants) = variants(schema) {
        if variants.iter().all(|variant| fields(variant).is_none()) {
            values(out, &variants);
        } else {
            for variant in variants {
                let title = tag(variant).unwrap_or_else(|| type_of(variant));
                let _ = writeln!(out, "### {name}: `{title}`\n");
                if let Some(description) = description(variant) {
                    let _ = writeln!(out, "{description}\n");
                }
                table(out, variant);
            }
        }
        return;
    }
    match fields(schema) {
        Some(_) => table(out, schema),
        None => {
            let _ = writeln!(out, "Written as: {}.\n", type_of(schema));
        }
    }
}

fn variants(schema: &Value) -> Option<Vec<&Value>> {
    let list = schema.get("oneOf").or_else(|| schema.get("anyOf"))?;
    Some(list.as_array()?.iter().collect())
}

fn fields(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties")?.as_object()
}

/// What tells a variant from the others: the one field that has a fixed value, or the only one there is.
fn tag(variant: &Value) -> Option<String> {
    let fields = fields(variant)?;
    let constant = fields.values().find_map(|field| field.get("const"));
    match constant {
        Some(value) => Some(
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned),
        ),
        None => fields.keys().next().cloned(),
    }
}

/// Plain words, each with what it means.
fn values(out: &mut String, variants: &[&Value]) {
    out.push_str("| value | meaning |\n|---|---|\n");
    for variant in variants {
        let words: Vec<String> = match (variant.get("const"), variant.get("enum")) {
            (Some(word), _) => vec![word.to_string()],
            (None, Some(Value::Array(words))) => words.iter().map(Value::to_string).collect(),
            _ => vec![type_of(variant)],
        };
        let meaning = description(variant).unwrap_or_default();
        let _ = writeln!(out, "| `{}` | {} |", words.join("`, `"), cell(&meaning));
    }
    out.push('\n');
}

fn table(out: &mut String, schema: &Value) {
    let Some(fields) = fields(schema) else {
        return;
    };
    let shown: Vec<_> = fields
        .iter()
        .filter(|(_, field)| field.get("const").is_none())
        .collect();
    if shown.is_empty() {
        return;
    }
    out.push_str("| field | type | meaning |\n|---|---|---|\n");
    for (name, field) in shown {
        let meaning = description(field).unwrap_or_default();
        let _ = writeln!(
            out,
            "| `{name}` | {} | {} |",
            type_of(field),
            cell(&meaning)
        );
    }
    out.push('\n');
}

/// The type of a value, as a person says it; one that has a section of its own is a link to it.
fn type_of(schema: &Value) -> String {
    if let Some(name) = schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|reference| reference.rsplit('/').next())
    {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    for several in ["anyOf", "oneOf", "allOf"] {
        if let Some(list) = schema.get(several).and_then(Value::as_array) {
            let types: Vec<String> = list.iter().map(type_of).collect();
            return types.join(" or ");
        }
    }
    match schema.get("type") {
        Some(Value::String(name)) => typed(name, schema),
        Some(Value::Array(names)) => {
            let types: Vec<String> = names
                .iter()
                .filter_map(Value::as_str)
                .map(|name| typed(name, schema))
                .collect();
            types.join(" or ")
        }
        _ => "any".to_owned(),
    }
}

fn typed(name: &str, schema: &Value) -> String {
    match name {
        "array" => match schema.get("items").or_else(|| schema.get("prefixItems")) {
            Some(Value::Array(items)) => {
                let items: Vec<String> = items.iter().map(type_of).collect();
                format!("[{}]", items.join(", "))
            }
            Some(items) => format!("list of {}", type_of(items)),
            None => "list".to_owned(),
        },
        "object" => match schema.get("additionalProperties") {
            Some(values @ Value::Object(_)) => format!("map to {}", type_of(values)),
            _ => "object".to_owned(),
        },
        other => other.to_owned(),
    }
}

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_every_event_and_every_field_has_a_sentence() {
        for (name, text) in all() {
            for row in text.lines().filter(|line| line.starts_with("| `")) {
                assert!(!row.ends_with("|  |"), "{name}: {row}");
            }
        }
        let [(_, metrics), (_, ledger), (_, report)] = all();
        for metric in CATALOGUE {
            assert!(
                metrics.contains(&format!("| `{}` |", metric.name)),
                "{metric:?}"
            );
        }
        assert!(ledger.contains("`attempt_ended`") && ledger.contains("## AttemptTrace"));
        assert!(report.contains("| `schema_version` |"));
    }
}
