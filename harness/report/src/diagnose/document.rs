//! The versioned document.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::story;
use crate::json::pretty;
use sshchurn_core::diagnosis::{Diagnosis, ThresholdResult};
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::gate::{GateOutcome, Verdict};

/// Version of the document.
pub const DIAGNOSE_SCHEMA_VERSION: u32 = 1;

/// What a log says about sshd's limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiagnoseReport {
    /// Version of this document.
    pub schema_version: u32,
    /// The files in the order in which they were read; `-` is standard input.
    pub inputs: Vec<String>,
    /// The answer, for a person.
    pub answer: Vec<String>,
    /// What limits it, each a full sentence.
    pub limits: Vec<String>,
    /// Everything that was counted.
    pub diagnosis: Diagnosis,
    /// Thresholds, judged.
    pub thresholds: Vec<ThresholdResult>,
    /// Exit code, as a word.
    pub exit: ExitCode,
}

impl DiagnoseReport {
    /// What the thresholds say; `None` where there are none.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        (!self.thresholds.is_empty()).then_some(match self.exit {
            ExitCode::Success => Verdict::Pass,
            ExitCode::GateFailed => Verdict::Fail,
            _ => Verdict::Inconclusive,
        })
    }
}

/// Puts the document together.
#[must_use]
pub fn report(
    inputs: Vec<String>,
    diagnosis: Diagnosis,
    thresholds: Vec<ThresholdResult>,
) -> DiagnoseReport {
    let any = |outcome| thresholds.iter().any(|it| it.outcome == outcome);
    let exit = if any(GateOutcome::Fail) {
        ExitCode::GateFailed
    } else if any(GateOutcome::Inconclusive)
        || diagnosis.lines.of_sshd() + diagnosis.lines.client == 0
    {
        // A log in which nobody speaks of ssh answers nothing.
        ExitCode::Inconclusive
    } else {
        ExitCode::Success
    };
    DiagnoseReport {
        schema_version: DIAGNOSE_SCHEMA_VERSION,
        inputs,
        answer: story::answer(&diagnosis),
        limits: story::limits(&diagnosis),
        diagnosis,
        thresholds,
        exit,
    }
}

/// The document as JSON.
#[must_use]
pub fn json(report: &DiagnoseReport) -> String {
    pretty(report)
}
