//! Whether the generator could measure what the run claims.
//!
//! Owns the checks and their limits. A check is a warning where its effect on the numbers is bounded and can
//! be stated, and makes the run invalid where it is not. The limits are set so that two CPUs running client
//! and sshd side by side meet them: such a machine is where CI runs this.

mod generator;
mod server;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::summary::RunSummary;
use crate::ledger::{RoundEnd, RunEnd};
use crate::manifest::StandIn;
use crate::quantity::number;

/// A burst's spread may be this long, plus [`BURST_PER_TASK_NS`] for each task. sshd's listener admits one
/// connection per loop and forks for each (sshd.c:server_accept_loop), at least 1 to 2 ms a piece: `connect()`
/// calls that come faster only wait in the kernel's queue, so a spread below this changes no admission.
pub const BURST_BASE_NS: u64 = 50_000_000;
/// See [`BURST_BASE_NS`].
pub const BURST_PER_TASK_NS: u64 = 2_000_000;
/// A spread this many times the limit is a ramp, not a burst: slots are freed during it.
pub const BURST_INVALID_FACTOR: u64 = 10;
/// Start lag that only shifts latencies from the intended start, visibly.
pub const START_LAG_WARN_NS: u64 = 500_000_000;
/// Event-loop lag up to which only latencies are off, by at most this much.
pub const LOOP_LAG_WARN_NS: u64 = 100_000_000;
/// Half of the shortest default deadline (connect, 10 s): beyond it a timeout may be the harness's own doing.
pub const LOOP_LAG_INVALID_NS: u64 = 5_000_000_000;
/// Share of all CPUs the harness may use in its busiest second. A russh handshake costs the client some 3 ms where
/// sshd pays 65, so side by side on two CPUs the harness stays near 5 %; half of the machine is its own load.
pub const CPU_PEAK_WARN: f64 = 0.5;
/// Mean share over the run at which the generator is what is measured (k6 and locust warn at 80 to 90 %).
pub const CPU_MEAN_INVALID: f64 = 0.9;
/// Share of the open-files limit.
pub const OPEN_FILES_WARN: f64 = 0.8;
/// Share of refusals with another cause than a decision of sshd, beyond which refusals say nothing of its limits.
pub const OTHER_CAUSES_INVALID: f64 = 0.05;

/// Which check.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum CheckId {
    /// The run went to its end.
    RunComplete,
    /// Every strategy had at least one complete round.
    Rounds,
    /// In every round the server let somebody in, or refused all.
    Admitted,
    /// Spread of first `connect()` calls in burst rounds.
    StartSpread,
    /// Start lag that the scenario does not explain.
    StartLag,
    /// Lateness of event-loop timers.
    LoopLag,
    /// CPU used by the harness.
    GeneratorCpu,
    /// How busy clients under test and the machine were.
    ClientLoad,
    /// Attempts the harness could not make.
    GeneratorFaults,
    /// Open file descriptors.
    OpenFiles,
    /// TCP connects that met SYN retransmission.
    SlowConnects,
    /// Rounds on a target proven idle.
    IdleTarget,
    /// The network path.
    NetworkPath,
    /// The target is an OpenSSH server.
    RealServer,
    /// Lines of the server's log that are not known.
    ServerLogWording,
    /// The server admits as its `MaxStartups` says.
    AdmissionRule,
    /// Refusals that sshd did not decide.
    RefusalCauses,
    /// Who else uses a server that somebody else runs.
    OtherClients,
    /// What this run's connections may have earned its address there.
    BanEarned,
}

/// How a check ended.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// Within its limit.
    Ok,
    /// Past it; the effect on the numbers is bounded and stated.
    Warn,
    /// The run could not measure what it claims.
    Invalid,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Which.
    pub id: CheckId,
    /// How it ended.
    pub status: CheckStatus,
    /// What was measured, with its unit.
    pub actual: String,
    /// The limit, with its unit.
    pub limit: String,
    /// What it means for the numbers and what to do; `None` when ok.
    pub advice: Option<String>,
}

/// Runs every check.
#[must_use]
pub fn check(run: &RunSummary) -> Vec<Check> {
    let mut checks = vec![run_complete(run), rounds(run)];
    checks.extend(admitted(run));
    // A model has no generator that could get in its own way.
    if stand_in(run) != Some(StandIn::Simulated) {
        checks.extend(generator::start_spread(run));
        checks.push(generator::start_lag(run));
        checks.push(generator::loop_lag(run));
        checks.push(generator::generator_cpu(run));
        checks.extend(generator::client_load(run));
        checks.push(generator::generator_faults(run));
        checks.extend(generator::open_files(run));
    }
    checks.push(generator::slow_connects(run));
    checks.push(server::idle_target(run));
    checks.extend(server::target(run));
    checks.extend(server::server_log_wording(run));
    checks.extend(server::admission_rule(run));
    checks.extend(server::refusal_causes(run));
    checks.extend(server::other_clients(run));
    checks.extend(server::ban_earned(run));
    checks
}

/// The worst status of some checks.
#[must_use]
pub fn worst(checks: &[Check]) -> CheckStatus {
    checks
        .iter()
        .map(|check| check.status)
        .max()
        .unwrap_or(CheckStatus::Ok)
}

fn make(
    id: CheckId,
    status: CheckStatus,
    actual: String,
    limit: impl Into<String>,
    advice: &str,
) -> Check {
    Check {
        id,
        status,
        actual,
        limit: limit.into(),
        advice: (status != CheckStatus::Ok).then(|| advice.to_owned()),
    }
}

/// Nanoseconds as a person reads them, three significant digits.
fn time(ns: u64) -> String {
    let ns = number(ns);
    match ns {
        _ if ns >= 1e9 => format!("{:.2} s", ns / 1e9),
        _ if ns >= 1e6 => format!("{:.1} ms", ns / 1e6),
        _ => format!("{:.0} µs", ns / 1e3),
    }
}

fn run_complete(run: &RunSummary) -> Check {
    let (status, actual, advice) = match run.ledger.closed {
        Some(RunEnd::Complete) => (CheckStatus::Ok, "complete", ""),
        Some(RunEnd::Interrupted) => (
            CheckStatus::Invalid,
            "interrupted",
            "the numbers are those of a part of the run; run it again to judge it",
        ),
        Some(RunEnd::OutOfTime) => (
            CheckStatus::Invalid,
            "out of time",
            "max_duration was reached; raise it, or run fewer tasks or rounds",
        ),
        Some(RunEnd::ServerLost) => (
            CheckStatus::Invalid,
            "target lost",
            "the server under test died or could not be asked any more; see its log",
        ),
        None => (
            CheckStatus::Invalid,
            "broken off",
            "the ledger was not closed: the run was killed or its disk filled up",
        ),
    };
    make(
        CheckId::RunComplete,
        status,
        actual.to_owned(),
        "complete",
        advice,
    )
}

fn rounds(run: &RunSummary) -> Check {
    let complete = run
        .strategies
        .iter()
        .map(|strategy| {
            strategy
                .rounds
                .iter()
                .filter(|round| round.end == Some(RoundEnd::Complete))
                .count()
        })
        .min()
        .unwrap_or(0);
    let status = if complete == 0 {
        CheckStatus::Invalid
    } else {
        CheckStatus::Ok
    };
    make(
        CheckId::Rounds,
        status,
        format!("{complete} complete rounds of each strategy"),
        "at least 1",
        "a strategy has no complete round: there is nothing to compare",
    )
}

/// A strategy that met nobody has no refusals either, and would pass as the best of all.
fn admitted(run: &RunSummary) -> Option<Check> {
    let (mut worst, mut shut, mut rounds) = (CheckStatus::Ok, Vec::new(), 0);
    for round in run.rounds() {
        if round.end != Some(RoundEnd::Complete) {
            continue;
        }
        rounds += 1;
        let counts = &round.numbers.total.counts;
        // A login that was to fail, and did so for its key, has met the server as well as any.
        let failed_as_meant = !round.failing.is_empty() && counts.auth_failed > 0;
        if counts.handshakes + counts.attempts_held > 0 || failed_as_meant {
            continue;
        }
        // All refused is an answer, such as a banned address gets; but only sshd's log tells it from a server that is gone
        // behind something that still accepts connections.
        let status = match counts.banner_eof {
            refused if refused > 0 && refused == counts.attempts && round.server_log.is_some() => {
                CheckStatus::Warn
            }
            _ => CheckStatus::Invalid,
        };
        worst = worst.max(status);
        shut.push(format!(
            "{} #{} ({} attempts, {} refused)",
            round.strategy, round.repetition, counts.attempts, counts.banner_eof
        ));
    }
    (rounds > 0).then(|| {
        make(
            CheckId::Admitted,
            worst,
            if shut.is_empty() {
                "at least one login succeeded in every round".to_owned()
            } else {
                format!("no login succeeded: {}", shut.join(", "))
            },
            "a login in every round",
            match worst {
                CheckStatus::Warn => {
                    "every attempt was refused; a ban of this address (PerSourcePenalties, a firewall) does that too"
                }
                _ => {
                    "the server could not be reached, or no login succeeded; such a run proves nothing about the client. Look at \
                     the outcomes of its attempts"
                }
            },
        )
    })
}

fn stand_in(run: &RunSummary) -> Option<StandIn> {
    run.manifest.as_ref()?.target.kind.stand_in()
}

#[cfg(test)]
mod tests;
