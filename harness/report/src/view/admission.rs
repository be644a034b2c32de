//! Whether the server admitted as its `MaxStartups` says, in words.

use super::words::{counted, decimal};
use crate::document::RunReport;
use sshchurn_core::analysis::admission::{AdmissionCurve, CurveSource, CurveVerdict};

/// A line for each thing that is known of it.
pub(crate) fn lines(report: &RunReport) -> Vec<String> {
    let mut lines = Vec::new();
    for curve in [&report.admission, &report.admission_held]
        .into_iter()
        .flatten()
    {
        lines.push(curve_line(curve));
    }
    if let (None, Some(why)) = (&report.admission, &report.admission_missing) {
        lines.push(format!("Admission: not known: {why}"));
    }
    if let Some(found) = &report.most_likely_max_startups {
        lines.push(format!(
            "           the answers are most likely under MaxStartups {found} (an estimate)"
        ));
    }
    for burst in &report.stalled_bursts {
        let spread = |sd: Option<f64>| sd.map_or_else(String::new, |sd| format!(" ± {sd:.1}"));
        lines.push(format!(
            "           {} silent connections, {}: {:.1}{} admitted, {:.1} ± {:.1} expected{}: {}",
            burst.connections,
            counted(burst.admitted.len() as u64, "round"),
            burst.mean,
            spread(burst.standard_deviation),
            burst.expected_mean,
            burst.expected_standard_deviation,
            burst
                .z
                .map_or_else(String::new, |z| format!(", {z:+.1} standard errors")),
            word(burst.verdict)
        ));
    }
    lines
}

pub(crate) fn curve_line(curve: &AdmissionCurve) -> String {
    format!("Admission: {}", told(curve))
}

fn told(curve: &AdmissionCurve) -> String {
    let (decisions, refused) = curve
        .points
        .iter()
        .fold((0, 0), |(trials, refused), point| {
            (trials + point.trials, refused + point.refused)
        });
    let by = match curve.source {
        CurveSource::ServerDraws => "by the random draws that sshd logged",
        CurveSource::HeldConnections => "by connections held one by one",
    };
    let fit = match (curve.chi_square, curve.p_value) {
        // A test that did not decide explains nothing.
        _ if curve.difference.is_some() => String::new(),
        (Some(chi_square), Some(p_value)) => format!(
            " (χ² {chi_square:.1}, {} degrees of freedom, p {})",
            curve.degrees_of_freedom,
            probability(p_value)
        ),
        _ => String::new(),
    };
    let why = curve
        .difference
        .as_ref()
        .map_or_else(String::new, |difference| format!(": {difference}"));
    format!(
        "{} MaxStartups {} {by}: {decisions} decisions, {refused} refused; {} of {} intervals contain the \
         expected rate{fit}{why}",
        word(curve.verdict),
        curve.max_startups,
        curve.points.len().saturating_sub(curve.outside as usize),
        curve.points.len()
    )
}

fn probability(p_value: f64) -> String {
    if p_value < 0.001 {
        "< 0.001".to_owned()
    } else {
        decimal((p_value * 1000.0).round() / 1000.0)
    }
}

fn word(verdict: CurveVerdict) -> &'static str {
    match verdict {
        CurveVerdict::Fits => "consistent with",
        CurveVerdict::Differs => "DIFFERS from",
        CurveVerdict::Insufficient => "too few random decisions to judge",
    }
}
