//! Logins that fail on purpose: which of them met a ban, why, for how long, and what sshd's arithmetic says.
//!
//! Owns what a task of `failing-login` amounts to. A refusal is a ban only where its own drop line names a penalty: on the wire
//! `MaxStartups` looks the same.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::TaskId;
use crate::instant::RunInstant;
use crate::join::{Attempt, BanLine, ClientView};
use crate::manifest::{FailingRecord, Manifest};
use crate::model::{FailedLogin, PenaltyRule, first_refused};
use crate::quantity::{nanoseconds, seconds};
use crate::release::Release;
use crate::server_log::Refusal;
use crate::vocabulary::{AttemptOutcome, Phase};

/// What one task saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailingLogins {
    /// Task.
    pub task: TaskId,
    /// Its source address; `null` where it never came so far.
    pub source: Option<IpAddr>,
    /// From the beginning of one login to the next, as planned, nanoseconds.
    pub spacing_ns: u64,
    /// Logins that were planned.
    pub planned: u64,
    /// Logins that sshd turned down for their key.
    pub failed: u64,
    /// The number of the first login that was refused before it began, from 1; `null` where none was.
    pub first_refused: Option<u64>,
    /// What refused it: the word for a penalty (`authfail`), `MaxStartups`, or `unknown` where no line says it; `null`
    /// where none was refused.
    pub refused_by: Option<String>,
    /// The ban; `null` where there was none.
    pub ban: Option<Ban>,
    /// Which login the arithmetic of sshd says is refused first; `null` where its penalties are not known.
    pub predicted: Option<Predicted>,
}

/// A ban as both sides saw it. Instants are nanoseconds since the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ban {
    /// When it came into force: sshd's own line, or the end of the last login before it.
    pub began_ns: u64,
    /// How long sshd said it would last, nanoseconds; `null` without that line.
    pub announced_ns: Option<u64>,
    /// From its beginning to the last connection that it refused, nanoseconds.
    pub at_least_ns: u64,
    /// From its beginning to the first login with a valid key that was let in, nanoseconds; `null` where none was.
    pub at_most_ns: Option<u64>,
}

/// The number of the first refused login by sshd's arithmetic; `null` is none of those planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Predicted {
    /// At the earliest.
    pub earliest: Option<u64>,
    /// At the latest.
    pub latest: Option<u64>,
}

impl FailingLogins {
    /// Whether all its logins were made and none was refused.
    #[must_use]
    pub fn never_refused(&self) -> bool {
        self.failed == self.planned
    }

    /// The first login that a ban refused.
    #[must_use]
    pub fn first_banned(&self) -> Option<u64> {
        self.ban.and(self.first_refused)
    }

    /// Whether what was measured is within what was predicted; `None` where there is nothing to compare.
    #[must_use]
    pub fn as_predicted(&self) -> Option<bool> {
        let predicted = self.predicted?;
        let number = |refused: Option<u64>| refused.unwrap_or(u64::MAX);
        let seen = match self.first_banned() {
            Some(banned) => Some(banned),
            None if self.never_refused() => None,
            // Something else got in between.
            None => return None,
        };
        Some((number(predicted.earliest)..=number(predicted.latest)).contains(&number(seen)))
    }
}

/// The smallest spacing that never banned, of which every larger one did not either, nanoseconds; `None` where there is none,
/// or one that was not tried to its end.
#[must_use]
pub fn unbanned_spacing_ns(tasks: &[FailingLogins]) -> Option<u64> {
    let settled = |task: &FailingLogins| task.ban.is_some() || task.never_refused();
    if !tasks.iter().all(settled) {
        return None;
    }
    let longest_banned = tasks
        .iter()
        .filter(|task| task.ban.is_some())
        .map(|task| task.spacing_ns)
        .max();
    tasks
        .iter()
        .map(|task| task.spacing_ns)
        .filter(|spacing| longest_banned.is_none_or(|banned| *spacing > banned))
        .min()
}

/// What is needed to say it of a round.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    record: FailingRecord,
    rule: Option<PenaltyRule>,
}

impl Plan {
    pub(super) fn of(record: &FailingRecord, manifest: &Manifest) -> Plan {
        let target = &manifest.target;
        let release = target.release.as_deref().and_then(Release::find);
        let in_force = target
            .effective_config
            .iter()
            .find(|(keyword, _)| keyword == "persourcepenalties");
        Plan {
            record: record.clone(),
            rule: in_force
                .zip(release)
                .and_then(|((_, value), release)| PenaltyRule::parse(value, release)),
        }
    }
}

/// Each task of a round, in the order of their numbers.
pub(super) fn of_round(
    plan: &Plan,
    tasks: u32,
    attempts: &[Attempt],
    bans: &[BanLine],
) -> Vec<FailingLogins> {
    (0..tasks)
        .map(|task| of_task(plan, TaskId(task), attempts, bans))
        .collect()
}

fn of_task(plan: &Plan, task: TaskId, attempts: &[Attempt], bans: &[BanLine]) -> FailingLogins {
    let made = |phase: Phase| {
        attempts
            .iter()
            .filter(move |attempt| attempt.task == Some(task))
            .filter_map(move |attempt| Some((attempt, attempt.client.as_ref()?)))
            .filter(move |(_, client)| client.phase == phase)
    };
    let logins: Vec<(&Attempt, &ClientView)> = made(Phase::Submit).collect();
    let probes: Vec<&ClientView> = made(Phase::Poll).map(|(_, client)| client).collect();
    let failed = |client: &ClientView| matches!(client.outcome, AttemptOutcome::AuthFailed { .. });
    let source = logins
        .iter()
        .find_map(|(_, client)| client.trace.local_address);
    let spacings = &plan.record.spacing_ns;
    let spacing_ns = spacings
        .get(task.0 as usize % spacings.len().max(1))
        .copied()
        .unwrap_or(0);
    let refused = logins.iter().position(|(_, client)| client.refused());
    let refusal = refused.map(|index| {
        let view = logins[index].0.server.as_ref();
        view.and_then(|view| view.refusal)
            .map(|(_, refusal)| refusal)
    });
    let banned = matches!(refusal, Some(Some(Refusal::Penalty(_))));
    let ban = refused.filter(|_| banned).map(|index| {
        let (_, client) = logins[index];
        let before = index.checked_sub(1).map(|index| logins[index].1.ended);
        let line = bans.iter().rev().find(|line| {
            line.address.is_some() && line.address == source && line.read_at <= client.ended
        });
        let began = line
            .map(|line| line.read_at)
            .or(before)
            .unwrap_or(client.begun());
        let refused = probes.iter().copied().filter(|probe| probe.refused());
        let last = refused
            .map(ClientView::begun)
            .fold(client.begun(), RunInstant::max);
        let let_in = probes
            .iter()
            .find(|probe| probe.outcome == AttemptOutcome::Handshake)
            .map(|probe| probe.begun());
        Ban {
            began_ns: began.0,
            announced_ns: line.and_then(|line| line.length).map(nanoseconds),
            at_least_ns: nanoseconds(last.since(began)),
            at_most_ns: let_in.map(|at| nanoseconds(at.since(began))),
        }
    });
    FailingLogins {
        task,
        source,
        spacing_ns,
        planned: u64::from(plan.record.logins),
        failed: logins.iter().filter(|(_, client)| failed(client)).count() as u64,
        first_refused: refused.map(|index| index as u64 + 1),
        refused_by: refusal.map(|refusal| word(refusal).to_owned()),
        ban,
        predicted: plan.rule.as_ref().and_then(|rule| {
            predict(
                rule,
                plan.record.logins,
                spacing_ns,
                logins.iter().map(|(_, client)| *client),
            )
        }),
    }
}

fn word(refusal: Option<Refusal>) -> &'static str {
    match refusal {
        None => "unknown",
        Some(Refusal::Penalty(reason)) => reason.as_str(),
        Some(Refusal::Draw | Refusal::Full | Refusal::MaxStartupsOrPerSource) => "MaxStartups",
        Some(Refusal::PerSource) => "PerSourceMaxStartups",
    }
}

/// By sshd's arithmetic, with the logins when they were made, and those that no longer were as they were planned.
fn predict<'a>(
    rule: &PenaltyRule,
    planned: u32,
    spacing_ns: u64,
    made: impl Iterator<Item = &'a ClientView>,
) -> Option<Predicted> {
    let mut logins: Vec<FailedLogin> = made
        .map(|client| FailedLogin {
            began: seconds(client.begun().0),
            ended: seconds(client.ended.0),
        })
        .collect();
    let first = *logins.first()?;
    let took = first.ended - first.began;
    while logins.len() < planned as usize {
        let before = logins.last().copied().unwrap_or(first);
        let began = before.began + seconds(spacing_ns).max(took);
        logins.push(FailedLogin {
            began,
            ended: began + took,
        });
    }
    let found = first_refused(rule, &logins);
    Some(Predicted {
        earliest: found.earliest,
        latest: found.latest,
    })
}
