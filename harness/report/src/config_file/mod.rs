//! What OpenSSH releases make of a user's own `sshd_config`, and what of it was run: the document of `check-config FILE`.
//!
//! Owns its shape, its conclusion and its two renderings. Pure; what sshd said is handed in.

mod text;
mod words;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config_check::{Agreement, ConfigCheck};
use crate::json::pretty;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::release::Release;
use sshchurn_core::scenario::MaxStartups;
use sshchurn_core::sshd_file::changes::{self, Fatal};
use sshchurn_core::sshd_file::complaint::Complaint;
use sshchurn_core::sshd_file::extract::{LeftOut, RUN};
use sshchurn_core::sshd_file::findings::{self, Finding};
use sshchurn_core::sshd_file::{ConfigFile, Place, short_name};

pub use text::text;

/// Version of the document.
pub const CONFIG_FILE_VERSION: u32 = 1;

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The file, as it was named or found.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// What it says.
    pub text: String,
}

/// Why an sshd ends at a file, or what it says of it and goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// The line; `null` where it is about the whole.
    pub at: Option<Line>,
    /// In sshd's words, or in those of the source.
    pub said: String,
}

/// A keyword and the value in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// As sshd_config(5) spells it.
    pub keyword: String,
    /// As `sshd -T` prints it.
    pub value: String,
}

/// What one release makes of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseReading {
    /// `9.2`.
    pub release: String,
    /// The program that was asked, such as `OpenSSH_9.2p1`; `null` where there is none here, and the reading is from OpenSSH's
    /// source, not run: then only lines about MaxStartups and limits per source are judged.
    pub program: Option<String>,
    /// Whether it takes the file as it is.
    pub accepted: bool,
    /// Why it does not: every line, not only the first at which sshd ends.
    pub problems: Vec<Problem>,
    /// What it says and goes on.
    pub notices: Vec<Problem>,
    /// Lines that it was not shown, since it would open or look up what they name.
    pub withheld: Vec<Line>,
    /// `MaxStartups` in force, without the lines that it refuses; `null` where it does not say.
    pub max_startups: Option<String>,
    /// Whether that is sshd's default, since no line that it takes sets it.
    pub is_default: bool,
    /// What that does, in a sentence; `null` with it.
    pub meaning: Option<String>,
    /// What the file sets besides, of keywords that bear on admission, with the values in force.
    pub settings: Vec<Setting>,
}

/// How much an odd line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// What is in force is not what the line says.
    Differs,
    /// Worth knowing.
    Note,
}

/// An odd line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Odd {
    /// Whether it decides anything.
    pub weight: Weight,
    /// What is odd, and what to do about it.
    pub told: String,
}

/// What was run of the file on a server, and how it behaved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Behaviour {
    /// The release.
    pub release: String,
    /// Keywords that were run besides MaxStartups, with the values in force.
    pub run: Vec<Setting>,
    /// Keywords and blocks that were not, and why.
    pub left_out: Vec<NotRun>,
    /// How it behaved.
    pub check: ConfigCheck,
}

/// What was not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotRun {
    /// Keyword, or `Match` with its criteria.
    pub what: String,
    /// Why.
    pub why: String,
}

impl From<LeftOut> for NotRun {
    fn from(left: LeftOut) -> Self {
        NotRun {
            what: left.what,
            why: left.why,
        }
    }
}

/// What kept a file from being run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unfinished {
    /// Why.
    pub why: String,
    /// What the program ends with, unless there is a difference already.
    pub exit: ExitCode,
}

/// The conclusion about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileVerdict {
    /// A release's sshd does not take it.
    Refused,
    /// What is in force is not what is written, or expected; or it differs between releases; or the server behaves differently.
    Differs,
    /// It could not be seen.
    Inconclusive,
    /// What is written is in force, and, where it was run, what the server does.
    Agrees,
}

/// A file that was checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigFileCheck {
    /// Version of this document.
    pub schema_version: u32,
    /// The file, and what it includes.
    pub files: Vec<String>,
    /// The connection that `Match` blocks were applied to (`sshd -C`); `null`: to none.
    pub connection: Option<String>,
    /// The `MaxStartups` that it is expected to mean; `null`: what is written.
    pub expected: Option<String>,
    /// What each release makes of it.
    pub releases: Vec<ReleaseReading>,
    /// Odd lines.
    pub odd: Vec<Odd>,
    /// `Match` blocks, by their first lines.
    pub match_blocks: Vec<Line>,
    /// What was run; empty where it was only read.
    pub behaviour: Vec<Behaviour>,
    /// What kept the rest from being run; `null` where nothing did.
    pub unfinished: Option<Unfinished>,
    /// Conclusion.
    pub verdict: FileVerdict,
    /// Why.
    pub reasons: Vec<String>,
}

impl ReleaseReading {
    /// What its own sshd said. `settings` is empty where it did not say what is in force.
    #[must_use]
    pub fn asked(
        config: &ConfigFile,
        release: Release,
        program: &str,
        complaints: &[Complaint],
        settings: &[(String, String)],
        withheld: &[Place],
    ) -> Self {
        let told = |notices: bool| -> Vec<Problem> {
            complaints
                .iter()
                .filter(|complaint| complaint.is_notice() == notices)
                .map(|complaint| Problem {
                    at: complaint.place.map(|place| Line::of(config, place)),
                    said: complaint.said.clone(),
                })
                .collect()
        };
        let in_force = |keyword: &str| {
            settings
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(keyword))
                .map(|(_, value)| value.clone())
        };
        let problems = told(false);
        let max_startups = in_force("maxstartups");
        // In a block they may be in force for the connection that was asked for.
        let set = |keyword: &str| config.directives.iter().any(|line| line.sets(keyword));
        ReleaseReading {
            release: release.to_string(),
            program: Some(program.to_owned()),
            accepted: problems.is_empty(),
            notices: told(true),
            withheld: withheld
                .iter()
                .map(|place| Line::of(config, *place))
                .collect(),
            is_default: is_default(config, &problems),
            meaning: max_startups.as_deref().map(meaning),
            max_startups,
            problems,
            settings: RUN
                .into_iter()
                .chain(["UsePAM", "UseDNS"])
                .filter(|keyword| set(keyword))
                .filter_map(|keyword| {
                    Some(Setting {
                        keyword: keyword.to_owned(),
                        value: in_force(keyword)?,
                    })
                })
                .collect(),
        }
    }

    /// What the source of a release says that it makes of the file.
    #[must_use]
    pub fn from_source(config: &ConfigFile, release: Release) -> Self {
        let reading = changes::reading(config, release);
        let problems: Vec<Problem> = reading
            .fatal
            .iter()
            .map(|(directive, why)| Problem {
                at: Some(Line::of(config, directive.place)),
                said: match why {
                    Fatal::InMatch => {
                        format!("{} is not allowed in a Match block", directive.keyword)
                    }
                    Fatal::Unknown => format!("{} is not known yet", directive.keyword),
                    Fatal::Value => format!("the value of {} cannot be read", directive.keyword),
                },
            })
            .collect();
        let max_startups = reading.max_startups.to_string();
        let per_source = reading
            .per_source
            .filter(|_| config.sets("PerSourceMaxStartups"));
        ReleaseReading {
            release: release.to_string(),
            program: None,
            accepted: problems.is_empty(),
            is_default: is_default(config, &problems),
            problems,
            notices: Vec::new(),
            withheld: Vec::new(),
            meaning: Some(meaning(&max_startups)),
            max_startups: Some(max_startups),
            settings: per_source
                .into_iter()
                .map(|value| Setting {
                    keyword: "PerSourceMaxStartups".to_owned(),
                    value,
                })
                .collect(),
        }
    }
}

impl Line {
    fn of(config: &ConfigFile, place: Place) -> Self {
        Line {
            file: config.files[place.file].name.clone(),
            line: place.line,
            text: config.line(place).trim().to_owned(),
        }
    }

    /// `sshd_config line 3`, among these files.
    fn place(&self, files: &[String]) -> String {
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        format!("{} line {}", short_name(&self.file, &files), self.line)
    }
}

/// Whether no line sets `MaxStartups` that is not refused.
fn is_default(config: &ConfigFile, problems: &[Problem]) -> bool {
    !config
        .global()
        .filter(|directive| directive.sets("MaxStartups"))
        .map(|directive| Line::of(config, directive.place))
        .any(|line| {
            problems
                .iter()
                .all(|problem| problem.at.as_ref() != Some(&line))
        })
}

/// What a value that sshd holds does.
fn meaning(value: &str) -> String {
    match value.parse::<MaxStartups>() {
        Ok(value) => words::curve(value),
        Err(error) => format!("sshd cannot work with it: {error}"),
    }
}

impl ConfigFileCheck {
    /// Puts the readings together, and draws the conclusion about what is written.
    #[must_use]
    pub fn new(
        config: &ConfigFile,
        connection: Option<String>,
        expected: Option<MaxStartups>,
        releases: Vec<ReleaseReading>,
    ) -> Self {
        let found = findings::find(config);
        let mut odd: Vec<Odd> = found
            .iter()
            .map(|finding| Odd {
                weight: match finding {
                    Finding::PartlyRead { .. }
                    | Finding::CutOff { .. }
                    | Finding::NotPositive { .. } => Weight::Differs,
                    Finding::OneNumber { value, .. } if is_misread(value, &releases) => {
                        Weight::Differs
                    }
                    _ => Weight::Note,
                },
                told: words::finding(config, finding),
            })
            .collect();
        odd.extend(
            releases
                .iter()
                .filter_map(|reading| table_is_wrong(config, reading)),
        );
        ConfigFileCheck {
            schema_version: CONFIG_FILE_VERSION,
            files: config.files.iter().map(|file| file.name.clone()).collect(),
            connection,
            expected: expected.map(|value| value.to_string()),
            releases,
            odd,
            match_blocks: config
                .blocks
                .iter()
                .filter(|block| !block.is_all)
                .map(|block| Line::of(config, block.place))
                .collect(),
            behaviour: Vec::new(),
            unfinished: None,
            verdict: FileVerdict::Inconclusive,
            reasons: Vec::new(),
        }
        .concluded()
    }

    /// The same with what was run.
    #[must_use]
    pub fn with_behaviour(mut self, behaviour: Vec<Behaviour>) -> Self {
        self.behaviour = behaviour;
        self.concluded()
    }

    /// The same with what kept the rest from being run.
    #[must_use]
    pub fn with_unfinished(mut self, why: String, exit: ExitCode) -> Self {
        self.unfinished = Some(Unfinished { why, exit });
        self.concluded()
    }

    fn concluded(mut self) -> Self {
        let refused: Vec<String> = self
            .releases
            .iter()
            .filter_map(|reading| Some((reading, reading.problems.first()?)))
            .map(|(reading, first)| {
                let at = first
                    .at
                    .as_ref()
                    .map_or_else(String::new, |line| format!("{}: ", line.place(&self.files)));
                let more = match reading.problems.len() {
                    1 => String::new(),
                    problems => format!(" (and {} more)", problems - 1),
                };
                let release = &reading.release;
                format!(
                    "OpenSSH {release} refuses the file: {at}{}{more}",
                    first.said
                )
            })
            .collect();
        let differs = self.differences();
        let unknown = self.not_seen();
        (self.verdict, self.reasons) = if !refused.is_empty() {
            (FileVerdict::Refused, refused)
        } else if !differs.is_empty() {
            (FileVerdict::Differs, differs)
        } else if !unknown.is_empty() {
            (FileVerdict::Inconclusive, unknown)
        } else {
            (FileVerdict::Agrees, Vec::new())
        };
        self
    }

    /// Where what is in force is not what is meant.
    fn differences(&self) -> Vec<String> {
        let mut differs: Vec<String> = self
            .odd
            .iter()
            .filter(|odd| odd.weight == Weight::Differs)
            .map(|odd| odd.told.clone())
            .collect();
        let mut values: Vec<(&str, Vec<Release>)> = Vec::new();
        for reading in &self.releases {
            let (Some(value), Ok(release)) = (&reading.max_startups, reading.release.parse())
            else {
                continue;
            };
            match values.iter_mut().find(|(known, _)| known == value) {
                Some((_, releases)) => releases.push(release),
                None => values.push((value, vec![release])),
            }
        }
        if values.len() > 1 {
            let told: Vec<String> = values
                .iter()
                .map(|(value, releases)| format!("{value} on {}", words::listed(releases)))
                .collect();
            differs.push(format!(
                "MaxStartups differs between releases: {}",
                told.join(", ")
            ));
        }
        for (value, releases) in &values {
            // A release may say that it is in force, and end when it begins to listen.
            if let Err(why) = value.parse::<MaxStartups>() {
                differs.push(format!(
                    "MaxStartups {value} on {}: {why}",
                    words::listed(releases)
                ));
            }
            if let Some(expected) = self
                .expected
                .as_deref()
                .filter(|expected| expected != value)
            {
                differs.push(format!(
                    "MaxStartups is {value} on {}, where {expected} is expected",
                    words::listed(releases)
                ));
            }
        }
        for behaviour in &self.behaviour {
            if behaviour.check.agreement == Agreement::Differs {
                let reasons = behaviour.check.reasons.iter();
                differs.extend(reasons.map(|reason| format!("on {}: {reason}", behaviour.release)));
            }
        }
        differs
    }

    /// What could not be seen.
    fn not_seen(&self) -> Vec<String> {
        let silent = self
            .releases
            .iter()
            .filter(|reading| reading.max_startups.is_none())
            .map(|reading| {
                format!(
                    "OpenSSH {} does not say which MaxStartups is in force",
                    reading.release
                )
            });
        let from_source = self
            .releases
            .iter()
            .filter(|reading| reading.program.is_none())
            .map(|reading| {
                format!(
                    "OpenSSH {} was not asked: what is said of it is from OpenSSH's source, and says nothing of other keywords",
                    reading.release
                )
            });
        let unfinished = self.unfinished.iter();
        let unfinished = unfinished.map(|unfinished| format!("not run: {}", unfinished.why));
        let mut unseen: Vec<String> = unfinished.chain(silent).chain(from_source).collect();
        for behaviour in &self.behaviour {
            if behaviour.check.agreement == Agreement::Inconclusive {
                let problems = behaviour.check.problems.iter();
                unseen.extend(problems.map(|told| format!("on {}: {told}", behaviour.release)));
            }
        }
        unseen
    }

    /// 0 agrees, 1 differs, 2 refused, 3 could not be seen, or what kept it from being run.
    #[must_use]
    pub fn exit(&self) -> ExitCode {
        match self.verdict {
            FileVerdict::Agrees => ExitCode::Success,
            FileVerdict::Differs => ExitCode::GateFailed,
            FileVerdict::Refused => ExitCode::Usage,
            FileVerdict::Inconclusive => self
                .unfinished
                .as_ref()
                .map_or(ExitCode::Inconclusive, |unfinished| unfinished.exit),
        }
    }
}

/// Whether a release takes one number for something else than a hard limit (10.1 and 10.2), and that is in force.
fn is_misread(number: &str, releases: &[ReleaseReading]) -> bool {
    let misread = format!("10:30:{number}");
    releases.iter().any(|reading| {
        let release = reading.release.parse::<Release>();
        release.is_ok_and(changes::misreads_one_number)
            && number != "10"
            && reading.max_startups.as_deref() == Some(&misread)
    })
}

/// Where the table of the source and the program disagree: the program is right, and the user should know.
fn table_is_wrong(config: &ConfigFile, reading: &ReleaseReading) -> Option<Odd> {
    let (Some(_), Some(said), true) = (&reading.program, &reading.max_startups, reading.accepted)
    else {
        return None;
    };
    let release: Release = reading.release.parse().ok()?;
    let table = changes::reading(config, release);
    let tabled = table.max_startups.to_string();
    (changes::covers(release) && (tabled != *said || !table.fatal.is_empty())).then(|| Odd {
        weight: Weight::Note,
        told: format!(
            "sshchurn's own table of releases is wrong here: it expects {tabled} on {release}, and sshd says {said}. Please \
             report it"
        ),
    })
}

/// The document as JSON: pretty, one final newline.
#[must_use]
pub fn json(check: &ConfigFileCheck) -> String {
    pretty(check)
}

#[cfg(test)]
mod tests;
