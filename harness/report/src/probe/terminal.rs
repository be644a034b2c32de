//! For a terminal: the answer, then the evidence.

use super::document::{LevelReport, ProbeReport};
use crate::ruled_table;
use crate::view::words::counted;
use sshchurn_core::quantity::{number, seconds};

/// Rows of the table.
const BANDS: usize = 14;

/// Renders the report. The same report always gives the same text.
#[must_use]
pub fn render(report: &ProbeReport) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    if report.embedded_stand_in {
        line(
            "EMBEDDED STAND-IN: not an OpenSSH server; it decides by OpenSSH's rule because it was written to",
        );
    }
    for sentence in &report.answer {
        line(sentence);
    }
    line("");
    for note in &report.notes {
        line(&format!("  - {note}"));
    }
    line(&format!(
        "Seen at {} ({}): {} in {:.1} s, {}",
        report.server,
        report
            .identification
            .as_deref()
            .unwrap_or("it has not introduced itself"),
        counted(u64::from(report.connections), "connection"),
        seconds(report.took_ns),
        counted(report.climbs.len() as u64, "climb"),
    ));
    let texts: Vec<String> = report
        .refusal_texts
        .iter()
        .map(|(text, count)| match text.as_str() {
            "" => format!("{count} without a word"),
            text => format!("{count} with `{text}`"),
        })
        .collect();
    if !texts.is_empty() {
        line(&format!("Refusals: {}", texts.join(", ")));
    }
    if !report.levels.is_empty() {
        let rows = bands(&report.levels);
        let head = ["held", "tried", "refused", "seen", "fitted"];
        line(&ruled_table::render(head, rows, 1..5));
    }
    out
}

/// Neighbouring numbers together: a hundred rows are for the JSON.
fn bands(levels: &[LevelReport]) -> Vec<Vec<String>> {
    let certain = |level: &LevelReport| match level.fitted_percent {
        Some(percent) => percent == 0 || percent == 100,
        None => level.refused == 0,
    };
    let drawn = levels.iter().filter(|level| !certain(level)).count();
    let size = drawn.div_ceil(BANDS).max(1);
    let mut groups: Vec<Vec<&LevelReport>> = Vec::new();
    for level in levels {
        let joins = groups.last().is_some_and(|group| {
            let first = group[0];
            match certain(level) || certain(first) {
                true => {
                    certain(level) && certain(first) && first.fitted_percent == level.fitted_percent
                }
                false => group.len() < size,
            }
        });
        match groups.last_mut().filter(|_| joins) {
            Some(group) => group.push(level),
            None => groups.push(vec![level]),
        }
    }
    groups.iter().map(|group| band(group)).collect()
}

fn band(group: &[&LevelReport]) -> Vec<String> {
    let (first, last) = (group[0].held, group[group.len() - 1].held);
    let tries: u64 = group.iter().map(|level| level.tries).sum();
    let refused: u64 = group.iter().map(|level| level.refused).sum();
    let fitted: Option<f64> = group
        .iter()
        .map(|level| Some(f64::from(level.fitted_percent?) * number(level.tries)))
        .sum();
    vec![
        match first == last {
            true => first.to_string(),
            false => format!("{first}–{last}"),
        },
        tries.to_string(),
        refused.to_string(),
        format!("{:.1} %", 100.0 * number(refused) / number(tries)),
        fitted.map_or_else(
            || "–".to_owned(),
            |fitted| format!("{:.1} %", fitted / number(tries)),
        ),
    ]
}
