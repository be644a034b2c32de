//! What to do next, by what came of the run.

use crate::document::RunReport;
use sshchurn_core::analysis::laws::LawStatus;
use sshchurn_core::analysis::validity::{Check, CheckId, CheckStatus};
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::gate::GateOutcome;

/// One sentence.
pub(crate) fn next_step(report: &RunReport) -> &'static str {
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
        ExitCode::Success if report.stand_in.is_some() => {
            "run it against a real sshd (`--target docker` or `--target local`) before relying on it."
        }
        ExitCode::Success if report.gates.is_empty() => {
            "add a threshold (`--threshold 'STRATEGY.banner_eof == 0'`) to make this a gate."
        }
        ExitCode::Success if report.baseline.is_some() => "keep the baseline.",
        ExitCode::Success if report.scenario.rounds < 2 => {
            "run it with `--rounds 3` and keep that report.json as the baseline of later runs: one round has no spread."
        }
        ExitCode::Success => "keep report.json as the baseline of later runs.",
        ExitCode::GateFailed => {
            "compare the failed metric by phase in the table, and its attempts in events.jsonl.zst."
        }
        ExitCode::Interrupted => "run it again to the end; these numbers are partial.",
        ExitCode::Environment => {
            "read sshd.log in the run directory: the server under test did not last."
        }
        ExitCode::Usage => "correct the command line or the scenario.",
        // A record that was broken off has books that cannot balance.
        ExitCode::Inconclusive if report.run_end.is_none() => {
            "run it again: this one was killed, or could not write its record any more."
        }
        ExitCode::Inconclusive
            if report
                .laws
                .iter()
                .any(|law| law.status == LawStatus::Broken) =>
        {
            "find out from the failed cross-check above who else uses this server, or what cut its log short."
        }
        ExitCode::Inconclusive if invalid(CheckId::GeneratorFaults) => {
            "run `sshchurn doctor` and raise the limit it names."
        }
        ExitCode::Inconclusive if invalid(CheckId::RunComplete) => {
            "raise max_duration, or run fewer tasks or rounds."
        }
        ExitCode::Inconclusive if report.undecided_by_baseline() => {
            "see the comparison for what it could not say, and run it again with more rounds."
        }
        ExitCode::Inconclusive if invalid(CheckId::Admitted) => {
            "look at the outcomes of the attempts and at sshd.log: nobody got in."
        }
        ExitCode::Inconclusive if no_data && !report.validity.iter().any(is_invalid) => {
            "leave out the thresholds without data, or run what has them: not every target and strategy has every metric."
        }
        ExitCode::Inconclusive => {
            "give the run more room (see the lines above), then run it again."
        }
    }
}
