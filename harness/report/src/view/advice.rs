//! What to do next, by what came of the run.
//!
//! Owns the kinds of advice, which it is, and the sentence of each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::RunReport;
use sshchurn_core::analysis::laws::LawStatus;
use sshchurn_core::analysis::validity::{Check, CheckId, CheckStatus};
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::gate::GateOutcome;

/// What to do next; `next_step` of report.json has the same for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    /// The pass was against a stand-in.
    RealSshd,
    /// Nothing was asked.
    AddThreshold,
    /// Nothing is worse than the baseline.
    KeepBaseline,
    /// A pass of one round.
    MoreRoundsForBaseline,
    /// A pass that later runs can be compared with.
    KeepReport,
    /// A threshold or a comparison failed.
    CompareByPhase,
    /// The run was interrupted.
    RunToTheEnd,
    /// The server under test did not last.
    ReadServerLog,
    /// The input was wrong.
    CorrectInput,
    /// The record breaks off.
    RunAgain,
    /// A cross-check failed.
    ReadCrossCheck,
    /// The generator met a limit of the machine.
    Doctor,
    /// The run was out of time.
    MoreTime,
    /// Only the comparison is undecided.
    MoreRoundsForComparison,
    /// Nobody got in.
    ReadOutcomes,
    /// Only thresholds without data keep it from a verdict.
    ThresholdsWithData,
    /// The machine was too busy to measure.
    MoreRoom,
}

impl Advice {
    /// One sentence.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Advice::RealSshd => {
                "run it against a real sshd (`--target docker` or `--target local`) before relying on it."
            }
            Advice::AddThreshold => {
                "add a threshold (`--threshold 'STRATEGY.banner_eof == 0'`) to make this a gate."
            }
            Advice::KeepBaseline => "keep the baseline.",
            Advice::MoreRoundsForBaseline => {
                "run it with `--rounds 3` and keep that report.json as the baseline of later runs: one round has no spread."
            }
            Advice::KeepReport => "keep report.json as the baseline of later runs.",
            Advice::CompareByPhase => {
                "compare the failed metric by phase in the table, and its attempts in events.jsonl.zst."
            }
            Advice::RunToTheEnd => "run it again to the end; these numbers are partial.",
            Advice::ReadServerLog => {
                "read sshd.log in the run directory: the server under test did not last."
            }
            Advice::CorrectInput => "correct the command line or the scenario.",
            Advice::RunAgain => {
                "run it again: this one was killed, or could not write its record any more."
            }
            Advice::ReadCrossCheck => {
                "find out from the failed cross-check above who else uses this server, or what cut its log short."
            }
            Advice::Doctor => "run `sshchurn doctor` and raise the limit it names.",
            Advice::MoreTime => "raise max_duration, or run fewer tasks or rounds.",
            Advice::MoreRoundsForComparison => {
                "see the comparison for what it could not say, and run it again with more rounds."
            }
            Advice::ReadOutcomes => {
                "look at the outcomes of the attempts and at sshd.log: nobody got in."
            }
            Advice::ThresholdsWithData => {
                "leave out the thresholds without data, or run what has them: not every target and strategy has every metric."
            }
            Advice::MoreRoom => "give the run more room (see the lines above), then run it again.",
        }
    }
}

/// What to do next, by what came of a run.
pub(crate) fn next_step(report: &RunReport) -> Advice {
    let is_invalid = |check: &Check| check.status == CheckStatus::Invalid;
    let invalid = |id| {
        report
            .validity
            .iter()
            .any(|check| check.id == id && is_invalid(check))
    };
    let no_data = report
        .gates
        .iter()
        .any(|gate| gate.outcome == GateOutcome::Inconclusive);
    match report.exit {
        ExitCode::Success if report.stand_in.is_some() => Advice::RealSshd,
        ExitCode::Success if report.gates.is_empty() => Advice::AddThreshold,
        ExitCode::Success if report.baseline.is_some() => Advice::KeepBaseline,
        ExitCode::Success if report.scenario.rounds < 2 => Advice::MoreRoundsForBaseline,
        ExitCode::Success => Advice::KeepReport,
        ExitCode::GateFailed => Advice::CompareByPhase,
        ExitCode::Interrupted => Advice::RunToTheEnd,
        ExitCode::Environment => Advice::ReadServerLog,
        ExitCode::Usage => Advice::CorrectInput,
        // A record that was broken off has books that cannot balance.
        ExitCode::Inconclusive if report.run_end.is_none() => Advice::RunAgain,
        ExitCode::Inconclusive
            if report
                .laws
                .iter()
                .any(|law| law.status == LawStatus::Broken) =>
        {
            Advice::ReadCrossCheck
        }
        ExitCode::Inconclusive if invalid(CheckId::GeneratorFaults) => Advice::Doctor,
        ExitCode::Inconclusive if invalid(CheckId::RunComplete) => Advice::MoreTime,
        ExitCode::Inconclusive if report.undecided_by_baseline() => Advice::MoreRoundsForComparison,
        ExitCode::Inconclusive if invalid(CheckId::Admitted) => Advice::ReadOutcomes,
        ExitCode::Inconclusive if no_data && !report.validity.iter().any(is_invalid) => {
            Advice::ThresholdsWithData
        }
        ExitCode::Inconclusive => Advice::MoreRoom,
    }
}
