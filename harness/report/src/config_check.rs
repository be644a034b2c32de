//! What a `MaxStartups` was meant to be, what sshd says it is, and what it does: the document of `check-config`.
//!
//! Owns its shape, its conclusion and its two renderings. Pure; the curves are the analysis'.

use crate::json::pretty;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::view::admission;
use super::view::words::counted;
use sshchurn_core::analysis::admission::{AdmissionCurve, CurveVerdict};
use sshchurn_core::analysis::climb::Climbs;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::manifest::Substitution;
use sshchurn_core::quantity::number;
use sshchurn_core::scenario::MaxStartups;

/// Version of the document.
pub const CONFIG_CHECK_VERSION: u32 = 2;

/// Whether meaning, setting and behaviour are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// All three agree.
    Agrees,
    /// One of them is another.
    Differs,
    /// The behaviour could not be measured.
    Inconclusive,
}

/// The climbs of a check: times that one client held connections until everything was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClimbsSeen {
    /// How many there were.
    pub made: u32,
    /// Those that `MaxStartups` alone decided, up to where the expectation refuses everything.
    pub reached_full: u32,
    /// Those in which something else decided too: they count neither for nor against `MaxStartups`.
    pub not_counted: u32,
    /// What that was.
    pub other_limits: Vec<OtherLimitSeen>,
}

/// A limit that decided in climbs, and is not `MaxStartups`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtherLimitSeen {
    /// Which: `per_source_penalties`, `per_source_max_startups`, `login_grace_time`, `listen_queue`, `fork`, `descriptors`,
    /// `session_ended`, `connection_lost` or `failed`.
    pub limit: String,
    /// Climbs that met it.
    pub climbs: u32,
    /// Connections that it decided, as far as they were counted.
    pub connections: u64,
    /// The most connections that were held in any of these climbs.
    pub most_held: u32,
    /// What it did, for a person.
    pub told: String,
}

impl ClimbsSeen {
    /// As they were counted.
    #[must_use]
    pub fn of(climbs: &Climbs) -> Self {
        ClimbsSeen {
            made: climbs.made,
            reached_full: climbs.reached_full,
            not_counted: climbs.spoilt,
            other_limits: climbs
                .met
                .iter()
                .map(|met| OtherLimitSeen {
                    limit: met.limit.as_str().to_owned(),
                    climbs: met.climbs,
                    connections: met.connections,
                    most_held: met.most_held,
                    told: met.sentence(),
                })
                .collect(),
        }
    }

    /// What else decided, in one line; `None` where nothing did.
    fn others(&self) -> Option<String> {
        let told: Vec<&str> = self.other_limits.iter().map(|met| &*met.told).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

/// A configuration that was checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigCheck {
    /// Version of this document.
    pub schema_version: u32,
    /// The server, for a person.
    pub server: String,
    /// Whether it was the embedded stand-in and not OpenSSH.
    pub embedded_stand_in: bool,
    /// What was asked for, where the server is of another release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub substitution: Option<Substitution>,
    /// `MaxStartups` as written into `sshd_config`.
    pub requested: String,
    /// What it is expected to be; the requested value unless told otherwise.
    pub expected: String,
    /// What `sshd -T` prints, or what the stand-in was told; `null` where the server cannot be asked.
    pub effective: Option<String>,
    /// The value under which the server's answers are most likely, an estimate; `null` without answers.
    pub most_likely: Option<String>,
    /// Answers to connections that were held one by one, beside the expectation.
    pub held: Option<AdmissionCurve>,
    /// sshd's own draws, beside the expectation.
    pub draws: Option<AdmissionCurve>,
    /// How far the climbs went.
    pub climbs: ClimbsSeen,
    /// What kept the behaviour from being measured.
    pub problems: Vec<String>,
    /// Conclusion.
    pub agreement: Agreement,
    /// In what they differ.
    pub reasons: Vec<String>,
}

impl ConfigCheck {
    /// Draws the conclusion from everything else.
    #[must_use]
    pub fn concluded(mut self) -> Self {
        let as_written = self
            .effective
            .as_ref()
            .filter(|value| **value != self.expected)
            .map(|value| {
                format!(
                    "{} {value}, where {} is expected",
                    match self.embedded_stand_in {
                        true => "the stand-in was told",
                        false => "sshd -T says",
                    },
                    self.expected
                )
            });
        let stands = as_written.is_some();
        let behaves = [
            ("connections held one by one", &self.held),
            ("sshd's own draws", &self.draws),
        ]
        .into_iter()
        .filter_map(|(what, curve)| {
            let difference = curve.as_ref()?.difference.as_ref()?;
            Some(format!("{what}: {difference}"))
        });
        self.reasons = as_written.into_iter().chain(behaves).collect();
        let fits = self
            .held
            .as_ref()
            .is_some_and(|curve| curve.verdict == CurveVerdict::Fits);
        if self.reasons.is_empty() && self.problems.is_empty() {
            self.problems.extend(self.not_seen(fits));
        }
        // What sshd says of itself stands, whatever could be measured.
        self.agreement = if stands || (!self.reasons.is_empty() && self.problems.is_empty()) {
            Agreement::Differs
        } else if fits && self.problems.is_empty() {
            Agreement::Agrees
        } else {
            Agreement::Inconclusive
        };
        self
    }

    /// Why what did not differ is no agreement either: it must have been seen up to where everything is refused.
    fn not_seen(&self, fits: bool) -> Option<String> {
        let others = self.climbs.others();
        if self.climbs.reached_full == 0 {
            let where_to = match self.refuses_all_from() {
                Some(slots) => {
                    format!("no climb says what MaxStartups does up to {slots} slots in use")
                }
                None => String::from("no climb says what MaxStartups does up to its end"),
            };
            return Some(match others {
                Some(others) => format!("{where_to}: {others}"),
                None => format!("{where_to}: all of them ended before that"),
            });
        }
        if fits {
            return None;
        }
        let too_few = "the climbs that count hold too few decisions to judge";
        Some(match others {
            Some(others) => format!("{too_few}: {others}"),
            None => format!("{too_few}; make more of them (`--climbs`)"),
        })
    }

    /// Slots in use from which the expectation refuses everything.
    fn refuses_all_from(&self) -> Option<u32> {
        let expected = self.expected.parse::<MaxStartups>().ok()?;
        Some(expected.shut_from())
    }

    /// How many climbs reached the end of the curve; `None` where none was made.
    fn told_climbs(&self) -> Option<String> {
        let ClimbsSeen {
            made, reached_full, ..
        } = self.climbs;
        let slots = self.refuses_all_from().filter(|_| made > 0)?;
        Some(format!(
            "{reached_full} of {} reached {slots} slots in use",
            counted(u64::from(made), "climb")
        ))
    }

    /// 0 agrees, 1 differs, 3 could not be measured.
    #[must_use]
    pub fn exit(&self) -> ExitCode {
        match self.agreement {
            Agreement::Agrees => ExitCode::Success,
            Agreement::Differs => ExitCode::GateFailed,
            Agreement::Inconclusive => ExitCode::Inconclusive,
        }
    }
}

/// The document as JSON: pretty, one final newline.
#[must_use]
pub fn json(check: &ConfigCheck) -> String {
    pretty(check)
}

/// For a terminal.
#[must_use]
pub fn text(check: &ConfigCheck) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    if check.embedded_stand_in {
        line(
            "EMBEDDED STAND-IN: not an OpenSSH server; it decides by OpenSSH's rule because it was written to",
        );
    }
    for said in check.substitution.iter().flat_map(Substitution::lines) {
        line(&said);
    }
    line(&format!("MaxStartups of {}", check.server));
    line("");
    let value = |text: Option<&str>| text.unwrap_or("not known").to_owned();
    line(&format!(
        "  requested                    {}",
        check.requested
    ));
    if check.expected != check.requested {
        line(&format!(
            "  expected                     {}",
            check.expected
        ));
    }
    let asked = match check.embedded_stand_in {
        true => "effective (as told)",
        false => "effective (sshd -T)",
    };
    line(&format!(
        "  {asked}          {}",
        value(check.effective.as_deref())
    ));
    line(&format!(
        "  behaviour (most likely)      {}",
        value(check.most_likely.as_deref())
    ));
    if let Some(climbs) = check.told_climbs() {
        line(&format!("  seen                         {climbs}"));
    }
    for other in &check.climbs.other_limits {
        line(&format!("    not counted: {}", other.told));
    }
    if let Some(curve) = &check.held {
        line("");
        line(&bands(curve));
    }
    for curve in [&check.held, &check.draws].into_iter().flatten() {
        line(&admission::curve_line(curve));
    }
    line("");
    // The first one is the verdict's own, where it is inconclusive.
    let told = usize::from(check.agreement == Agreement::Inconclusive);
    for problem in check.problems.iter().skip(told) {
        line(&format!("not measurable: {problem}"));
    }
    let (word, reason) = match check.agreement {
        Agreement::Agrees => ("AGREES", check.told_climbs()),
        Agreement::Differs => ("DIFFERS", check.reasons.first().cloned()),
        Agreement::Inconclusive => ("INCONCLUSIVE", check.problems.first().cloned()),
    };
    let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    line(&format!(
        "Verdict: {word} (exit {}){reason}",
        check.exit().code()
    ));
    for reason in check.reasons.iter().skip(1) {
        line(&format!("  also: {reason}"));
    }
    out
}

/// Rows of the table.
const BANDS: usize = 12;

/// Refused shares by bands of slots: a hundred points are for the JSON.
fn bands(curve: &AdmissionCurve) -> String {
    let mut out = String::from("  slots in use    tried  refused   observed  configured\n");
    let certain = |configured: f64| configured <= 0.0 || configured >= 1.0;
    let drawn = curve
        .points
        .iter()
        .filter(|point| !certain(point.configured))
        .count();
    let size = drawn.div_ceil(BANDS).max(1);
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, point) in curve.points.iter().enumerate() {
        let joins = groups.last().is_some_and(|group| {
            let first = &curve.points[group[0]];
            if certain(point.configured) || certain(first.configured) {
                first.configured.to_bits() == point.configured.to_bits()
            } else {
                group.len() < size
            }
        });
        match groups.last_mut().filter(|_| joins) {
            Some(group) => group.push(index),
            None => groups.push(vec![index]),
        }
    }
    for group in groups {
        let points: Vec<_> = group.iter().map(|index| &curve.points[*index]).collect();
        let trials = number(points.iter().map(|point| point.trials).sum());
        let refused = number(points.iter().map(|point| point.refused).sum());
        let (observed, configured) = (
            refused / trials,
            points
                .iter()
                .map(|point| point.configured * number(point.trials))
                .sum::<f64>()
                / trials,
        );
        let (from, to) = (points[0].slots_from, points[points.len() - 1].slots_to);
        let slots = if from == to {
            from.to_string()
        } else {
            format!("{from}–{to}")
        };
        let _ = writeln!(
            out,
            "  {slots:<12} {trials:>8} {refused:>8} {:>8.1} % {:>9.1} %",
            observed * 100.0,
            configured * 100.0
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::schema::assert_conforms;
    use sshchurn_core::analysis::admission::{Trials, of_held};
    use sshchurn_core::model::{Admission, drop_probability_percent};

    fn setting(text: &str) -> MaxStartups {
        text.parse().expect("valid")
    }

    /// A server that refuses exactly the configured share of 100 connections at each number of slots.
    fn check(behaves: &str, expected: &str, effective: &str) -> ConfigCheck {
        let answers: BTreeMap<u32, Trials> = (0..=setting(behaves).full)
            .map(|slots| {
                let refused = u64::from(drop_probability_percent(slots, setting(behaves)));
                (
                    slots,
                    Trials {
                        trials: 100,
                        refused,
                    },
                )
            })
            .collect();
        ConfigCheck {
            schema_version: CONFIG_CHECK_VERSION,
            server: "local (OpenSSH_9.2p1)".to_owned(),
            embedded_stand_in: false,
            substitution: None,
            requested: expected.to_owned(),
            expected: expected.to_owned(),
            effective: Some(effective.to_owned()),
            most_likely: Some(behaves.to_owned()),
            held: Some(of_held(Admission::new(setting(expected)), &answers)),
            draws: None,
            climbs: ClimbsSeen {
                made: 100,
                reached_full: 100,
                ..ClimbsSeen::default()
            },
            problems: Vec::new(),
            agreement: Agreement::Inconclusive,
            reasons: Vec::new(),
        }
        .concluded()
    }

    #[test]
    fn three_that_agree_pass_and_any_other_is_a_difference() {
        let agreed = check("10:30:100", "10:30:100", "10:30:100");
        assert_eq!(agreed.exit(), ExitCode::Success, "{agreed:?}");
        for (behaves, expected, effective) in [
            ("10:30:60", "10:30:100", "10:30:100"),
            ("10:30:100", "10:30:100", "10:30:60"),
            ("5:100:10", "20:50:60", "5:100:10"),
        ] {
            let check = check(behaves, expected, effective);
            assert_eq!(check.exit(), ExitCode::GateFailed, "{check:?}");
            assert!(!check.reasons.is_empty());
        }
    }

    #[test]
    fn what_could_not_be_measured_is_neither() {
        let mut check = check("10:30:100", "10:30:100", "10:30:100");
        check.problems.push("a cross-check failed".to_owned());
        let check = check.concluded();
        assert_eq!(check.exit(), ExitCode::Inconclusive);
        assert!(text(&check).contains("INCONCLUSIVE"));
    }

    /// The same where so many of 3 climbs reached the end, and something else decided the others.
    fn spoilt(reached_full: u32, effective: &str) -> ConfigCheck {
        let mut check = check("10:30:100", "10:30:100", effective);
        check.climbs = ClimbsSeen {
            made: 3,
            reached_full,
            not_counted: 3 - reached_full,
            other_limits: vec![OtherLimitSeen {
                limit: "login_grace_time".to_owned(),
                climbs: 3 - reached_full,
                connections: 3,
                most_held: 60,
                told: "in some climbs, LoginGraceTime took slots back".to_owned(),
            }],
        };
        check.concluded()
    }

    #[test]
    fn agreement_needs_a_climb_to_the_end_and_what_else_decided_is_said_either_way() {
        let one = spoilt(1, "10:30:100");
        assert_eq!(one.exit(), ExitCode::Success, "{one:?}");
        let told = text(&one);
        assert!(
            told.contains("AGREES (exit 0): 1 of 3 climbs reached 100 slots in use"),
            "{told}"
        );
        assert!(
            told.contains("not counted: in some climbs, LoginGraceTime"),
            "{told}"
        );
        let none = spoilt(0, "10:30:100");
        assert_eq!(none.exit(), ExitCode::Inconclusive, "{none:?}");
        let told = text(&none);
        let words = "INCONCLUSIVE (exit 3): no climb says what MaxStartups does up to 100 slots in use: in some climbs, \
                     LoginGraceTime";
        assert!(told.contains(words), "{told}");
        // What sshd says of itself needs no climb.
        assert_eq!(spoilt(0, "10:30:60").exit(), ExitCode::GateFailed);
    }

    #[test]
    fn stand_in_is_not_shown_as_something_that_sshd_said() {
        let mut check = check("10:30:60", "10:30:100", "10:30:60");
        check.embedded_stand_in = true;
        let told = text(&check.concluded());
        assert!(!told.contains("sshd -T"), "{told}");
        assert!(
            told.contains("effective (as told)          10:30:60"),
            "{told}"
        );
    }

    #[test]
    fn difference_is_explained_by_what_decided_it() {
        let told = text(&check("10:30:60", "10:30:100", "10:30:100"));
        let verdict = told
            .lines()
            .find(|line| line.starts_with("Verdict"))
            .expect("one");
        let curve = told
            .lines()
            .find(|line| line.starts_with("Admission"))
            .expect("one");
        let reason = verdict
            .split_once("connections held one by one: ")
            .expect("a reason")
            .1;
        assert!(curve.ends_with(reason), "{curve}\n{verdict}");
    }

    #[test]
    fn document_is_what_its_schema_says() {
        for behaves in ["10:30:100", "10:30:60"] {
            let check = check(behaves, "10:30:100", "10:30:100");
            assert_conforms::<ConfigCheck>(&json(&check));
        }
    }

    #[test]
    fn text_shows_the_values_and_the_curve_in_bands() {
        insta::assert_snapshot!(text(&check("10:30:60", "10:30:100", "10:30:100")));
    }
}
