//! What is odd about the lines of an `sshd_config`, whether or not an sshd complains about it.
//!
//! Owns finding it in the text; the words are the report's, and what a release makes of it is [`changes`]' and sshd's own.

use super::changes;
use super::{ConfigFile, Place, line};

/// Keywords whose lines sshd collects, besides those in which [`adds_up`](crate::scenario::adds_up) knows.
const COLLECTED: [&str; 6] = [
    "hostcertificate",
    "hostkey",
    "include",
    "listenaddress",
    "match",
    "port",
];

/// Keywords that are looked for in words that sshd does not know, since they are what this program is about.
const NUMBERED: [&str; 9] = [
    "ClientAliveCountMax",
    "ClientAliveInterval",
    "LoginGraceTime",
    "MaxAuthTries",
    "MaxSessions",
    "MaxStartups",
    "PerSourceMaxStartups",
    "PerSourceNetBlockSize",
    "Port",
];

/// Something odd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Several lines set one keyword to different values, and one of them counts.
    Several {
        /// As the first line types it.
        keyword: String,
        /// Every line with what it says.
        lines: Vec<(Place, String)>,
    },
    /// sshd reads only a part of a `MaxStartups`, and says nothing.
    PartlyRead {
        /// The line.
        place: Place,
        /// As typed.
        value: String,
        /// What is left over.
        ignored: String,
    },
    /// A number too large for sshd's `int` is cut off silently.
    CutOff {
        /// The line.
        place: Place,
        /// As typed.
        value: String,
    },
    /// `MaxStartups` whose first number is 0 or less: newer releases refuse it, and older ones do not do what it says.
    NotPositive {
        /// The line.
        place: Place,
        /// As typed.
        value: String,
    },
    /// `MaxStartups` with one number.
    OneNumber {
        /// The line.
        place: Place,
        /// The number.
        value: String,
    },
    /// Single quotes, which releases before 8.7 take for a part of the value.
    SingleQuotes {
        /// The line.
        place: Place,
    },
    /// A number is stuck to its keyword.
    NoSeparator {
        /// The line.
        place: Place,
        /// As typed.
        word: String,
        /// The keyword that is meant.
        keyword: &'static str,
    },
    /// `MaxStartups` after a `Match` line.
    InMatch {
        /// The line.
        place: Place,
        /// First line of the block.
        block: Place,
    },
    /// A byte order mark becomes a part of the first word.
    ByteOrderMark {
        /// The line.
        place: Place,
    },
    /// A pattern of an `Include` line fits no file.
    NothingIncluded {
        /// The line.
        place: Place,
        /// As typed.
        pattern: String,
    },
    /// Files include each other deeper than sshd goes.
    TooDeep {
        /// The line.
        place: Place,
    },
}

/// Everything odd, in the order of the lines.
#[must_use]
pub fn find(config: &ConfigFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, source) in config.files.iter().enumerate() {
        if source.text.starts_with('\u{feff}') {
            let place = Place { file, line: 1 };
            findings.push(Finding::ByteOrderMark { place });
        }
    }
    for directive in &config.directives {
        let place = directive.place;
        if let Some(keyword) = stuck(&directive.keyword) {
            findings.push(Finding::NoSeparator {
                place,
                word: directive.keyword.clone(),
                keyword,
            });
        }
        if !directive.sets("MaxStartups") {
            continue;
        }
        if let Some(block) = directive.block.map(|block| &config.blocks[block])
            && !block.is_all
        {
            let block = block.place;
            findings.push(Finding::InMatch { place, block });
        }
        findings.extend(of_startups(place, &directive.rest));
    }
    findings.extend(several(config));
    findings.extend(
        config
            .nothing_included()
            .map(|(place, pattern)| Finding::NothingIncluded {
                place,
                pattern: pattern.to_owned(),
            }),
    );
    findings.extend(config.too_deep.map(|place| Finding::TooDeep { place }));
    findings
}

fn of_startups(place: Place, rest: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let words = line::arguments(rest, line::SINGLE_QUOTES).unwrap_or_default();
    let Some(value) = words.first() else {
        return findings;
    };
    if rest.starts_with('\'') {
        findings.push(Finding::SingleQuotes { place });
    }
    let (numbers, ignored) = changes::scanned(value, 3);
    let value = value.clone();
    let exact = numbers
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(":");
    match numbers.len() {
        1 | 3 if !ignored.is_empty() => findings.push(Finding::PartlyRead {
            place,
            ignored: ignored.to_owned(),
            value,
        }),
        1 | 3 if is_larger(&value) => findings.push(Finding::CutOff { place, value }),
        1 | 3 if numbers[0] <= 0 => findings.push(Finding::NotPositive { place, value }),
        1 => findings.push(Finding::OneNumber {
            place,
            value: exact,
        }),
        _ => {}
    }
    findings
}

/// Whether a number in it does not fit sshd's `int`.
fn is_larger(value: &str) -> bool {
    value
        .split(':')
        .any(|number| number.trim().parse::<i32>().is_err())
}

/// The keyword that a number is stuck to.
fn stuck(word: &str) -> Option<&'static str> {
    let letters = word.trim_end_matches(|c: char| c.is_ascii_digit() || c == ':');
    NUMBERED
        .into_iter()
        .find(|known| letters.len() < word.len() && known.eq_ignore_ascii_case(letters))
}

/// Keywords of which one line counts, and which several lines set to different values.
fn several(config: &ConfigFile) -> Vec<Finding> {
    let mut seen: Vec<(String, Vec<(Place, String)>)> = Vec::new();
    for directive in config.global() {
        let keyword = directive.keyword.to_ascii_lowercase();
        if crate::scenario::adds_up(&keyword) || COLLECTED.contains(&keyword.as_str()) {
            continue;
        }
        let said = line::arguments(&directive.rest, line::SINGLE_QUOTES).unwrap_or_default();
        let line = (directive.place, said.join(" "));
        match seen
            .iter_mut()
            .find(|(known, _)| known.eq_ignore_ascii_case(&keyword))
        {
            Some((_, lines)) => lines.push(line),
            None => seen.push((directive.keyword.clone(), vec![line])),
        }
    }
    seen.into_iter()
        .filter(|(_, lines)| lines.iter().any(|(_, said)| *said != lines[0].1))
        .map(|(keyword, lines)| Finding::Several { keyword, lines })
        .collect()
}
