//! What a `MaxStartups` was meant to be, what sshd says it is, and what it does: the document of `check-config`.
//!
//! Owns its shape, its conclusion and its two renderings. Pure; the curves are the analysis'.

use crate::json::pretty;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::terminal;
use sshchurn_core::analysis::admission::{AdmissionCurve, CurveVerdict};
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::quantity::number;

/// Version of the document.
pub const CONFIG_CHECK_VERSION: u32 = 1;

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
    /// `MaxStartups` as written into `sshd_config`.
    pub requested: String,
    /// What it is expected to be; the requested value unless told otherwise.
    pub expected: String,
    /// What `sshd -T` prints; `null` where the server cannot be asked.
    pub effective: Option<String>,
    /// The value under which the server's answers are most likely, an estimate; `null` without answers.
    pub most_likely: Option<String>,
    /// Answers to connections that were held one by one, beside the expectation.
    pub held: Option<AdmissionCurve>,
    /// sshd's own draws, beside the expectation.
    pub draws: Option<AdmissionCurve>,
    /// What kept the behaviour from being measured.
    pub problems: Vec<String>,
    /// Conclusion.
    pub agreement: Agreement,
    /// Why it is not an agreement.
    pub reasons: Vec<String>,
}

impl ConfigCheck {
    /// Draws the conclusion from everything else.
    #[must_use]
    pub fn concluded(mut self) -> Self {
        if self
            .effective
            .as_ref()
            .is_some_and(|value| *value != self.expected)
        {
            self.reasons.push(format!(
                "sshd -T says {}, where {} is expected",
                self.effective.as_deref().unwrap_or("nothing"),
                self.expected
            ));
        }
        for (what, curve) in [
            ("connections held one by one", &self.held),
            ("sshd's own draws", &self.draws),
        ] {
            if let Some(curve) = curve
                .as_ref()
                .filter(|curve| curve.verdict == CurveVerdict::Differs)
            {
                self.reasons.push(match curve.contradictions.first() {
                    Some(contradiction) => format!("{what}: {contradiction}"),
                    None => format!("{what} do not fit {}", self.expected),
                });
            }
        }
        let measured = self
            .held
            .as_ref()
            .is_some_and(|curve| curve.verdict == CurveVerdict::Fits);
        self.agreement = if !self.reasons.is_empty() && self.problems.is_empty() {
            Agreement::Differs
        } else if measured && self.problems.is_empty() {
            Agreement::Agrees
        } else {
            Agreement::Inconclusive
        };
        self
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
    line(&format!(
        "  effective (sshd -T)          {}",
        value(check.effective.as_deref())
    ));
    line(&format!(
        "  behaviour (most likely)      {}",
        value(check.most_likely.as_deref())
    ));
    if let Some(curve) = &check.held {
        line("");
        line(&bands(curve));
    }
    for curve in [&check.held, &check.draws].into_iter().flatten() {
        line(&terminal::curve(curve));
    }
    line("");
    for problem in &check.problems {
        line(&format!("not measurable: {problem}"));
    }
    let (word, reason) = match check.agreement {
        Agreement::Agrees => ("AGREES", None),
        Agreement::Differs => ("DIFFERS", check.reasons.first()),
        Agreement::Inconclusive => ("INCONCLUSIVE", check.problems.first()),
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
    use sshchurn_core::scenario::MaxStartups;

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
            requested: expected.to_owned(),
            expected: expected.to_owned(),
            effective: Some(effective.to_owned()),
            most_likely: Some(behaves.to_owned()),
            held: Some(of_held(Admission::new(setting(expected)), &answers)),
            draws: None,
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
        check.problems.push("the books do not balance".to_owned());
        let check = check.concluded();
        assert_eq!(check.exit(), ExitCode::Inconclusive);
        assert!(text(&check).contains("INCONCLUSIVE"));
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
