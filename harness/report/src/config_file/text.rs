//! The document for a terminal: the answer first, then each release, then lines to look at.

use super::{ConfigFileCheck, FileVerdict, Line, Problem, ReleaseReading, Setting, words};
use crate::config_check;
use crate::view::words::counted;

/// For a terminal.
#[must_use]
pub fn text(check: &ConfigFileCheck) -> String {
    let mut lines = Vec::new();
    let word = match check.verdict {
        FileVerdict::Refused => "REFUSED",
        FileVerdict::Differs => "DIFFERS",
        FileVerdict::Inconclusive => "INCONCLUSIVE",
        FileVerdict::Agrees => "AGREES",
    };
    let mut reasons = check.reasons.iter();
    let first = match (reasons.next(), check.behaviour.is_empty()) {
        (Some(reason), _) => reason.clone(),
        (None, true) => format!("{}; it was read, not run", in_force(check)),
        (None, false) => format!("{}, and the server does it", in_force(check)),
    };
    lines.push(format!(
        "Verdict: {word} (exit {}): {first}",
        check.exit().code()
    ));
    lines.extend(reasons.map(|reason| format!("  also: {reason}")));
    if let Some((main, included)) = check.files.split_first() {
        lines.push(String::new());
        lines.push(match included.len() {
            0 => format!("File: {main}"),
            more => format!(
                "File: {main}, with {}",
                counted(more as u64, "included file")
            ),
        });
        lines.extend(included.iter().map(|file| format!("  includes {file}")));
    }
    for reading in &check.releases {
        lines.push(String::new());
        lines.extend(release(reading, &check.files));
    }
    if !check.odd.is_empty() {
        lines.push(String::new());
        lines.push("Lines to look at".to_owned());
        lines.extend(check.odd.iter().map(|odd| format!("  {}", odd.told)));
    }
    if !check.match_blocks.is_empty() {
        lines.push(String::new());
        lines.push(match &check.connection {
            Some(connection) => format!("Match blocks, as they apply to {connection}"),
            None => "Match blocks, not applied (`--connection user=NAME,addr=IP` applies them)"
                .to_owned(),
        });
        lines.extend(
            check
                .match_blocks
                .iter()
                .map(|line| format!("  {}", told(line, &check.files))),
        );
    }
    for behaviour in &check.behaviour {
        lines.push(String::new());
        let run = match behaviour.run.is_empty() {
            true => "MaxStartups".to_owned(),
            false => format!("MaxStartups, {}", settings(&behaviour.run)),
        };
        lines.push(format!("Run on OpenSSH {}: {run}", behaviour.release));
        for left in &behaviour.left_out {
            lines.push(format!("  not run: {}: {}", left.what, left.why));
        }
        lines.push(String::new());
        lines.push(config_check::text(&behaviour.check).trim_end().to_owned());
    }
    let text = lines.join("\n") + "\n";
    // Values are the user's: nothing in them is an order to the terminal.
    text.replace(|c: char| c.is_control() && c != '\n', " ")
}

/// The one value that all releases agree on.
fn in_force(check: &ConfigFileCheck) -> String {
    let value = check
        .releases
        .iter()
        .find_map(|reading| reading.max_startups.as_deref())
        .unwrap_or_default();
    let releases: Vec<_> = check
        .releases
        .iter()
        .filter_map(|reading| reading.release.parse().ok())
        .collect();
    let of = words::listed(&releases);
    format!("MaxStartups {value} is in force on OpenSSH {of}")
}

fn release(reading: &ReleaseReading, files: &[String]) -> Vec<String> {
    let asked = match &reading.program {
        Some(program) => format!("asked: {program}"),
        None => "from OpenSSH's source, not run".to_owned(),
    };
    let mut lines = vec![format!("OpenSSH {} ({asked})", reading.release)];
    if !reading.accepted {
        lines.push(format!(
            "  refuses the file: {}",
            counted(reading.problems.len() as u64, "problem")
        ));
        lines.extend(
            reading
                .problems
                .iter()
                .map(|told| format!("    {}", problem(told, files))),
        );
    }
    if let Some(value) = &reading.max_startups {
        let without = match reading.accepted {
            true => "",
            false => "without these lines ",
        };
        let default = match reading.is_default {
            true => ", sshd's default: no line sets it",
            false => "",
        };
        lines.push(format!("  {without}MaxStartups {value}{default}"));
    }
    if let Some(meaning) = &reading.meaning {
        lines.push(format!("  {meaning}"));
    }
    if !reading.settings.is_empty() {
        lines.push(format!("  also in force: {}", settings(&reading.settings)));
    }
    for notice in &reading.notices {
        lines.push(format!(
            "  ignored by this release: {}",
            problem(notice, files)
        ));
    }
    for line in &reading.withheld {
        lines.push(format!(
            "  not shown to sshd, which would open or look up what it names: {}",
            told(line, files)
        ));
    }
    lines
}

fn problem(problem: &Problem, files: &[String]) -> String {
    match &problem.at {
        Some(line) => format!("{}: {}", told(line, files), problem.said),
        None => problem.said.clone(),
    }
}

/// `sshd_config line 3 (`Foo yes`)`.
fn told(line: &Line, files: &[String]) -> String {
    const MOST: usize = 60;
    let text: String = line.text.chars().take(MOST).collect();
    let more = match line.text.chars().count() > MOST {
        true => "…",
        false => "",
    };
    format!("{} (`{text}{more}`)", line.place(files))
}

fn settings(settings: &[Setting]) -> String {
    let told: Vec<String> = settings
        .iter()
        .map(|setting| format!("{} {}", setting.keyword, setting.value))
        .collect();
    told.join(", ")
}
