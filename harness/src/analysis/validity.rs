//! Whether the generator could measure what the run claims.
//!
//! Owns the checks and their limits. A check is a warning where its effect on the numbers is bounded and can
//! be stated, and makes the run invalid where it is not. The limits are set so that two CPUs running client
//! and sshd side by side meet them: such a machine is where CI runs this.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::admission::{self, CurveVerdict};
use super::burst;
use super::server_log::DropRule;
use super::summary::RunSummary;
use crate::ledger::{RoundEnd, RunEnd};
use crate::manifest::{NetworkPath, TargetKind};
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
    /// Spread of first `connect()` calls in burst rounds.
    StartSpread,
    /// Start lag that the scenario does not explain.
    StartLag,
    /// Lateness of event-loop timers.
    LoopLag,
    /// CPU used by the harness.
    GeneratorCpu,
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
    checks.extend(start_spread(run));
    checks.push(start_lag(run));
    checks.push(loop_lag(run));
    checks.push(generator_cpu(run));
    checks.push(generator_faults(run));
    checks.extend(open_files(run));
    checks.push(slow_connects(run));
    checks.push(idle_target(run));
    checks.extend(target(run));
    checks.extend(server_log_wording(run));
    checks.extend(admission_rule(run));
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
        Some(RunEnd::TargetLost) => (
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

fn start_spread(run: &RunSummary) -> Option<Check> {
    let worst = run
        .rounds()
        .into_iter()
        .filter_map(|round| {
            let spread = round.start.spread_ns?;
            let limit = BURST_BASE_NS + BURST_PER_TASK_NS * round.books.tasks_scheduled;
            Some((spread, limit))
        })
        // The round that is furthest past its own limit.
        .max_by_key(|(spread, limit)| (u128::from(*spread) << 32) / u128::from(*limit))?;
    let (spread, limit) = worst;
    let status = match spread {
        _ if spread > limit * BURST_INVALID_FACTOR => CheckStatus::Invalid,
        _ if spread > limit => CheckStatus::Warn,
        _ => CheckStatus::Ok,
    };
    Some(make(
        CheckId::StartSpread,
        status,
        time(spread),
        time(limit),
        "the tasks did not start at once: refusals are underestimated; free CPUs or run fewer tasks",
    ))
}

fn start_lag(run: &RunSummary) -> Check {
    let lag = run
        .rounds()
        .iter()
        .map(|round| round.start.own_lag_max_ns)
        .max()
        .unwrap_or(0);
    let status = if lag > START_LAG_WARN_NS {
        CheckStatus::Warn
    } else {
        CheckStatus::Ok
    };
    make(
        CheckId::StartLag,
        status,
        time(lag),
        time(START_LAG_WARN_NS),
        "tasks began later than meant; submit and task latencies contain up to this much of the harness's own delay",
    )
}

fn loop_lag(run: &RunSummary) -> Check {
    let lag = run.generator.loop_lag_max_ns;
    let status = match lag {
        _ if lag > LOOP_LAG_INVALID_NS => CheckStatus::Invalid,
        _ if lag > LOOP_LAG_WARN_NS => CheckStatus::Warn,
        _ => CheckStatus::Ok,
    };
    make(
        CheckId::LoopLag,
        status,
        time(lag),
        time(LOOP_LAG_WARN_NS),
        "the harness was kept from running; latencies may be too long by up to this much, counts are not affected \
         below half of the shortest deadline",
    )
}

fn generator_cpu(run: &RunSummary) -> Check {
    let mean = run.generator.cpu_share_mean.unwrap_or(0.0);
    let peak = run.generator.cpu_share_peak.unwrap_or(mean);
    let embedded = is_embedded(run);
    let status = match () {
        // The stand-in's server side runs in this process: its CPU time cannot be told from the client's.
        () if mean >= CPU_MEAN_INVALID && !embedded => CheckStatus::Invalid,
        () if peak >= CPU_PEAK_WARN => CheckStatus::Warn,
        () => CheckStatus::Ok,
    };
    let advice = if embedded {
        "client and stand-in server share this process; rates and latencies are those of both together"
    } else {
        "the harness itself used much of the machine: rates may be the generator's limit; use more CPUs or fewer tasks"
    };
    make(
        CheckId::GeneratorCpu,
        status,
        format!(
            "{:.0} % of all CPUs in the busiest second, {:.0} % on average",
            peak * 100.0,
            mean * 100.0
        ),
        format!(
            "{:.0} % busiest, {:.0} % average",
            CPU_PEAK_WARN * 100.0,
            CPU_MEAN_INVALID * 100.0
        ),
        advice,
    )
}

fn generator_faults(run: &RunSummary) -> Check {
    let faults: u64 = run
        .strategies
        .iter()
        .map(|strategy| strategy.numbers.total.counts.generator_fault)
        .sum();
    let status = if faults > 0 {
        CheckStatus::Invalid
    } else {
        CheckStatus::Ok
    };
    make(
        CheckId::GeneratorFaults,
        status,
        format!("{faults} attempts"),
        "0",
        "the harness ran out of descriptors, ports or memory: raise the limit (`sshchurn doctor` says which) and run \
         again",
    )
}

fn open_files(run: &RunSummary) -> Option<Check> {
    let limit = run.manifest.as_ref()?.environment.open_files_limit;
    let open = u64::from(run.generator.open_files_max);
    let share = number(open) / number(limit.max(1));
    let status = if share > OPEN_FILES_WARN {
        CheckStatus::Warn
    } else {
        CheckStatus::Ok
    };
    Some(make(
        CheckId::OpenFiles,
        status,
        format!("{open} open files"),
        format!("{:.0} % of {limit}", OPEN_FILES_WARN * 100.0),
        "close to the limit of open files; a few more tasks would fail for the harness's own reasons",
    ))
}

fn slow_connects(run: &RunSummary) -> Check {
    let slow: u64 = run
        .rounds()
        .iter()
        .map(|round| round.start.slow_connects)
        .sum();
    let status = if slow > 0 {
        CheckStatus::Warn
    } else {
        CheckStatus::Ok
    };
    make(
        CheckId::SlowConnects,
        status,
        format!("{slow} TCP connects took 1 s or more"),
        "0",
        // ssh.h: SSH_LISTEN_BACKLOG.
        "connects of about 1 s and 3 s are SYN retransmissions: sshd's listen queue of 128 overflowed, and the kernel \
         delayed connections that MaxStartups would have refused; `tcp` latencies show it, refusals are \
         underestimated",
    )
}

fn idle_target(run: &RunSummary) -> Check {
    let rounds = run.rounds();
    let unproven = rounds.iter().filter(|round| !round.proven_idle).count();
    let status = if unproven > 0 {
        CheckStatus::Warn
    } else {
        CheckStatus::Ok
    };
    make(
        CheckId::IdleTarget,
        status,
        format!("{unproven} of {} rounds", rounds.len()),
        "0",
        "the target was not seen idle before and after: a round may carry load of another",
    )
}

fn target(run: &RunSummary) -> Vec<Check> {
    let Some(manifest) = &run.manifest else {
        return Vec::new();
    };
    let path = manifest.target.network_path;
    let path_status = match path {
        NetworkPath::Direct | NetworkPath::HostNetwork => CheckStatus::Ok,
        NetworkPath::PublishedPort | NetworkPath::Remote => CheckStatus::Warn,
    };
    let path_advice = match path {
        NetworkPath::PublishedPort => {
            "a proxy accepts before sshd does: resets look like EOF, every connection comes from one gateway address, \
             and attempts are compared with sshd's log by count only; prefer host networking"
        }
        _ => "latencies contain the network's; a firewall or balancer may refuse before sshd does",
    };
    let server_status = if is_embedded(run) {
        CheckStatus::Warn
    } else {
        CheckStatus::Ok
    };
    vec![
        make(
            CheckId::NetworkPath,
            path_status,
            path.as_str().to_owned(),
            "direct or host network",
            path_advice,
        ),
        make(
            CheckId::RealServer,
            server_status,
            manifest.target.kind.as_str().to_owned(),
            "an OpenSSH server",
            "the embedded stand-in has OpenSSH's admission rule but none of its costs: refusals follow the rule, rates \
             and latencies are not sshd's",
        ),
    ]
}

fn server_log_wording(run: &RunSummary) -> Option<Check> {
    let mut lines = 0;
    let mut unknown = 0;
    let mut sample = None;
    let mut read = false;
    for round in run.rounds() {
        if let Some(log) = &round.server_log {
            read = true;
            lines += log.lines;
            unknown += log.unknown_lines;
            sample = sample.or_else(|| log.unknown_samples.first().cloned());
        }
    }
    // Unknown lines do no harm by themselves (the laws would break if one were a drop); they are said, not judged.
    read.then(|| Check {
        id: CheckId::ServerLogWording,
        status: CheckStatus::Ok,
        actual: match sample {
            None => format!("0 of {lines} lines unknown"),
            Some(text) => format!("{unknown} of {lines} lines unknown, the first: {text}"),
        },
        limit: "informational".to_owned(),
        advice: None,
    })
}

/// A server that does not decide as its configuration says is not the one that was to be measured.
fn admission_rule(run: &RunSummary) -> Option<Check> {
    let rule = DropRule::of(run.manifest.as_ref()?)?;
    let held = admission::of_staircases(run, rule.max_startups.max_startups());
    // Of two witnesses the one that disagrees is the one to hear.
    let curve = match (admission::of_run(run).ok(), held) {
        (Some(log), Some(held)) if log.verdict != CurveVerdict::Differs => held,
        (log, held) => log.or(held)?,
    };
    let bursts = burst::of_run(run);
    let differing = bursts
        .iter()
        .find(|burst| burst.verdict == CurveVerdict::Differs);
    let trials: u64 = curve.points.iter().map(|point| point.trials).sum();
    let p_value = match curve.p_value {
        Some(p_value) => format!(", p {p_value:.3}"),
        None => String::new(),
    };
    let (status, actual) = match (curve.verdict, differing) {
        (CurveVerdict::Differs, _) => (
            CheckStatus::Invalid,
            match curve.contradictions.first() {
                Some(contradiction) => contradiction.clone(),
                None => format!("{trials} decisions do not fit{p_value}"),
            },
        ),
        (_, Some(burst)) => (
            CheckStatus::Invalid,
            format!(
                "{:.1} of {} silent connections admitted on average, {:.1} expected",
                burst.mean, burst.connections, burst.expected_mean
            ),
        ),
        (CurveVerdict::Fits, None) => (CheckStatus::Ok, format!("{trials} decisions fit{p_value}")),
        (CurveVerdict::Insufficient, None) => (
            CheckStatus::Ok,
            format!("{trials} decisions, too few to judge"),
        ),
    };
    Some(make(
        CheckId::AdmissionRule,
        status,
        actual,
        format!("as MaxStartups {} implies", curve.max_startups),
        "sshd does not admit as its MaxStartups says: something else refuses too, or another configuration is in force; \
         `sshchurn check-config` shows which",
    ))
}

fn is_embedded(run: &RunSummary) -> bool {
    run.manifest
        .as_ref()
        .is_some_and(|manifest| manifest.target.kind == TargetKind::Embedded)
}
