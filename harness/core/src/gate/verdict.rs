//! One verdict and one exit code out of gates, books and validity.
//!
//! Precedence, strongest first:
//! 1. interrupted by the user: inconclusive, exit 130;
//! 2. the target was lost: inconclusive, exit 4;
//! 3. a law is broken, or the run is invalid: inconclusive, exit 3, even when a gate failed, since a failure
//!    measured with books that do not balance is no measurement either;
//! 4. a gate failed: fail, exit 1, even when another had no data;
//! 5. a gate had no data: inconclusive, exit 3;
//! 6. nothing was there to judge: measured, exit 0;
//! 7. otherwise: pass, exit 0.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::judge::{GateOutcome, GateResult};
use crate::analysis::laws::{self, Law};
use crate::analysis::summary::RunSummary;
use crate::analysis::validity::{Check, CheckId, CheckStatus};
use crate::exit_code::ExitCode;
use crate::ledger::RunEnd;

/// What the run says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Valid, and every gate holds.
    Pass,
    /// Valid, and no gate was set: nothing was judged.
    Measured,
    /// Valid, and a gate does not hold.
    Fail,
    /// It could not be measured.
    Inconclusive,
}

impl Verdict {
    /// The word used in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Measured => "measured",
            Verdict::Fail => "fail",
            Verdict::Inconclusive => "inconclusive",
        }
    }
}

/// What kind of thing speaks against a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReasonId {
    /// The run was stopped.
    Interrupted,
    /// The server was gone.
    ServerLost,
    /// A cross-check failed.
    CrossCheck,
    /// The generator could not measure this.
    Invalid,
    /// A threshold failed.
    Threshold,
    /// A threshold has no data.
    NoData,
    /// The comparison with a baseline.
    Baseline,
}

/// A reason against a pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Its kind, for programs.
    pub id: ReasonId,
    /// The same for people.
    pub text: String,
}

impl Reason {
    /// A reason of a kind.
    pub fn new(id: ReasonId, text: impl Into<String>) -> Self {
        Reason {
            id,
            text: text.into(),
        }
    }
}

/// The verdict with its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Verdict.
    pub verdict: Verdict,
    /// Exit code of the program.
    pub exit_code: ExitCode,
    /// Every reason against a pass, strongest first; empty for a pass and where nothing was judged.
    pub reasons: Vec<Reason>,
}

/// Weighs everything. All reasons are kept, whichever decided.
#[must_use]
pub fn decide(run: &RunSummary, laws: &[Law], checks: &[Check], gates: &[GateResult]) -> Decision {
    let mut reasons = Vec::new();
    let mut against = |id, text: String| reasons.push(Reason::new(id, text));
    let interrupted = run.ledger.closed == Some(RunEnd::Interrupted);
    let lost = run.ledger.closed == Some(RunEnd::ServerLost);
    if interrupted {
        let text = "the run was interrupted; this report is partial";
        against(ReasonId::Interrupted, text.to_owned());
    }
    if lost {
        let text = "the server under test was lost; this report is partial";
        against(ReasonId::ServerLost, text.to_owned());
    }
    let mut unbalanced = false;
    for law in laws::broken(laws) {
        unbalanced = true;
        let rounds = law.balances.iter().filter(|line| !line.holds).count();
        let place = match law.balances.first().and_then(|line| line.round) {
            Some(_) => format!(" in {rounds} of {} rounds", law.balances.len()),
            None => String::new(),
        };
        let text = format!("a cross-check failed{place}: {}", law.description);
        against(ReasonId::CrossCheck, text);
    }
    let mut invalid = false;
    for check in checks
        .iter()
        .filter(|check| check.status == CheckStatus::Invalid)
    {
        invalid = true;
        // Said above in better words.
        if check.id == CheckId::RunComplete && (interrupted || lost) {
            continue;
        }
        let advice = check.advice.as_deref().unwrap_or("");
        let text = format!("invalid ({}): {advice}", check.actual);
        against(ReasonId::Invalid, text);
    }
    let of = |outcome| gates.iter().filter(move |gate| gate.outcome == outcome);
    for gate in of(GateOutcome::Fail) {
        let text = format!("threshold failed: {}", gate.expression);
        against(ReasonId::Threshold, text);
    }
    for gate in of(GateOutcome::Inconclusive) {
        let text = format!("no data for threshold: {}", gate.expression);
        against(ReasonId::NoData, text);
    }
    let (verdict, exit_code) = match () {
        () if interrupted => (Verdict::Inconclusive, ExitCode::Interrupted),
        () if lost => (Verdict::Inconclusive, ExitCode::Environment),
        () if unbalanced || invalid => (Verdict::Inconclusive, ExitCode::Inconclusive),
        () if of(GateOutcome::Fail).next().is_some() => (Verdict::Fail, ExitCode::GateFailed),
        () if of(GateOutcome::Inconclusive).next().is_some() => {
            (Verdict::Inconclusive, ExitCode::Inconclusive)
        }
        () if gates.is_empty() => (Verdict::Measured, ExitCode::Success),
        () => (Verdict::Pass, ExitCode::Success),
    };
    Decision {
        verdict,
        exit_code,
        reasons,
    }
}

/// Joins a run's own verdict and that of its comparison with a baseline: the precedence of the module, where a regression
/// ranks as a failed gate, and a comparison that says nothing as a gate without data. A comparison never fails on a run
/// that is no measurement.
#[must_use]
pub fn join(own: Verdict, exit: ExitCode, compared: Verdict) -> (Verdict, ExitCode) {
    match (exit, compared) {
        // Partial or not started: no comparison says more.
        (ExitCode::Interrupted | ExitCode::Environment | ExitCode::Usage, _) => (own, exit),
        (ExitCode::GateFailed, _) | (_, Verdict::Fail) => (Verdict::Fail, ExitCode::GateFailed),
        (ExitCode::Inconclusive, _) | (_, Verdict::Inconclusive) => {
            (Verdict::Inconclusive, ExitCode::Inconclusive)
        }
        (ExitCode::Success, Verdict::Pass) => (Verdict::Pass, ExitCode::Success),
        // No comparison says this: each judges.
        (ExitCode::Success, Verdict::Measured) => (own, ExitCode::Success),
    }
}
