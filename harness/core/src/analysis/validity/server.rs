//! Whether what was measured is the server that the run is about, idle at the start of a round and refusing for its own
//! reasons.
//!
//! Owns the checks of the server's side.

use std::collections::BTreeMap;

use super::{Check, CheckId, CheckStatus, OTHER_CAUSES_INVALID, make};
use crate::analysis::admission::{self, CurveVerdict};
use crate::analysis::burst;
use crate::analysis::reconciliation::OtherClients;
use crate::analysis::summary::RunSummary;
use crate::join::Account;
use crate::manifest::{NetworkPath, StandIn};
use crate::quantity::number;
use crate::server_log::DropRule;

pub(super) fn idle_target(run: &RunSummary) -> Check {
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
        "could not confirm that the server was idle before and after each round; the numbers may include someone else's load",
    )
}

pub(super) fn target(run: &RunSummary) -> Vec<Check> {
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
    let (server_status, server_advice) = match manifest.target.kind.stand_in() {
        None => (CheckStatus::Ok, ""),
        Some(StandIn::Embedded) => (
            CheckStatus::Warn,
            "the embedded stand-in has OpenSSH's admission rule but none of its costs: refusals follow the rule, rates \
             and latencies are not sshd's",
        ),
        Some(StandIn::Simulated) => (
            CheckStatus::Warn,
            "a model computed this: it is as good as the costs that it was given",
        ),
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
            server_advice,
        ),
    ]
}

pub(super) fn server_log_wording(run: &RunSummary) -> Option<Check> {
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
pub(super) fn admission_rule(run: &RunSummary) -> Option<Check> {
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
            format!("{trials} decisions, too few of them drawn at random to judge"),
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

/// A close before the identification string looks the same to the client whatever made sshd do it.
pub(super) fn refusal_causes(run: &RunSummary) -> Option<Check> {
    let (mut refused, mut others, mut causes) = (0, 0, BTreeMap::new());
    for round in run.rounds() {
        let Some(refusals) = round
            .reconciliation
            .as_ref()
            .and_then(|books| books.refusals.as_ref())
        else {
            continue;
        };
        refused += refusals.client;
        for why in [
            Account::SessionEnded,
            Account::ForkFailed,
            Account::NoDescriptor,
        ] {
            let count = refusals.explained.get(&why).copied().unwrap_or(0);
            others += count;
            if count > 0 {
                *causes.entry(why.as_str()).or_insert(0) += count;
            }
        }
    }
    if others == 0 {
        return None;
    }
    let share = number(others) / number(refused.max(1));
    let causes: Vec<String> = causes
        .into_iter()
        .map(|(why, count)| format!("{count} {why}"))
        .collect();
    Some(make(
        CheckId::RefusalCauses,
        if share > OTHER_CAUSES_INVALID {
            CheckStatus::Invalid
        } else {
            CheckStatus::Warn
        },
        format!("{others} of {refused} refusals: {}", causes.join("; ")),
        "none",
        "sshd did not decide these: `banner_eof` holds more than its admission limits refused; see sshd.log",
    ))
}

/// Only the log of a server that somebody else runs has them in it: on the run's own they break its books.
pub(super) fn other_clients(run: &RunSummary) -> Option<Check> {
    let mut all = OtherClients::default();
    for round in run.rounds() {
        if let Some(others) = round
            .reconciliation
            .as_ref()
            .and_then(|books| books.others.as_ref())
        {
            all.merge(others);
        }
    }
    let mut from: Vec<String> = all
        .by_address
        .iter()
        .map(|(address, count)| format!("{count} from {address}"))
        .collect();
    // Only so many addresses are kept.
    let rest = all
        .connections
        .saturating_sub(all.by_address.values().sum());
    if rest > 0 {
        from.push(format!("{rest} from further addresses"));
    }
    (all.connections > 0).then(|| {
        make(
            CheckId::OtherClients,
            CheckStatus::Warn,
            format!(
                "{} connections of other clients during the rounds ({}): {} logged in, {} refused",
                all.connections,
                from.join(", "),
                all.logins,
                all.drops
            ),
            "none",
            "they are in none of the numbers; those that were admitted took slots, so refusals may be their doing",
        )
    })
}

/// Of a server that is not the run's own: connections that ended before a login. What sshd takes for each is its configuration's
/// to say; by default 1 s for one that never tried, 5 s for one whose login failed, and a ban beyond 15 s (srclimit.c,
/// srclimit_penalise). Refusals earn nothing.
pub(super) fn ban_earned(run: &RunSummary) -> Option<Check> {
    if !run.manifest.as_ref()?.target.may_ban() {
        return None;
    }
    let (mut silent, mut failed) = (0, 0);
    for round in run.rounds() {
        let counts = &round.numbers.total.counts;
        // A holder that leaves by logging in earns nothing; one that sshd ends does.
        let holders = round.numbers.holders;
        silent += counts.attempts_held
            + counts.kex_failed
            + holders.map_or(0, |holders| holders.ended_by_grace + holders.ended_early);
        failed += counts.auth_failed;
    }
    (silent + failed > 0).then(|| {
        make(
            CheckId::BanEarned,
            CheckStatus::Warn,
            format!("{silent} connections ended before they tried to log in, {failed} after a login that failed"),
            "none",
            "this release of OpenSSH bans addresses for that (PerSourcePenalties: by default 1 s and 5 s each, a ban beyond 15 s, \
             10 minutes at most): refusals after them may be such a ban, and other users of this address are in it too",
        )
    })
}
