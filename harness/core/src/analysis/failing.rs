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
    /// Logins that had begun before it and failed after it had, by sshd's arithmetic of what it announced: each makes it
    /// longer than that.
    pub failed_after: u64,
    /// From its beginning, or from its first refusal without sshd's line, to the last connection that it refused, nanoseconds.
    pub at_least_ns: u64,
    /// From the end of the last login that failed before it to sshd's answer to the first valid key that was let in,
    /// nanoseconds; `null` where none was.
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
        let in_force = |name: &str| {
            let mut settings = target.effective_config.iter();
            settings.find_map(|(keyword, value)| (keyword == name).then_some(value.as_str()))
        };
        // Whom such a list spares is not computed here.
        let spares = in_force("persourcepenaltyexemptlist").is_some_and(|list| list != "none");
        Plan {
            record: record.clone(),
            rule: in_force("persourcepenalties")
                .filter(|_| !spares)
                .zip(release)
                .and_then(|(value, release)| PenaltyRule::parse(value, release)),
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
        let mut lines = bans
            .iter()
            .filter(|line| line.address.is_some() && line.address == source);
        // The last that was read before the refusal. Written before it was one in any case, also where it was read after it: no
        // other address is this task's, and nothing but the ban that it met can be meant.
        let line = lines
            .clone()
            .rev()
            .find(|line| line.read_at <= client.ended)
            .or_else(|| lines.next());
        let read_at = line.map(|line| line.read_at.min(client.ended));
        let began = read_at.or(before).unwrap_or(client.begun());
        let refused = probes.iter().copied().filter(|probe| probe.refused());
        let last = refused
            .map(ClientView::begun)
            .fold(client.begun(), RunInstant::max);
        // The line is read later than it was written, so that it is no bound from below: the login that earned the ban is.
        let known_by = read_at.unwrap_or(client.begun());
        let earned = logins[..index]
            .iter()
            .map(|(_, login)| *login)
            .filter(|login| failed(login) && login.ended <= known_by)
            .map(|login| login.ended)
            .max()
            .unwrap_or(began);
        let let_in = probes
            .iter()
            .find(|probe| probe.outcome == AttemptOutcome::Handshake)
            .map(|probe| probe.trace.identified.unwrap_or(probe.ended));
        let in_force = line.map_or(client.begun(), |_| began);
        let announced = line.and_then(|line| line.length);
        // When the client and the reader of the log saw something does not say what sshd counted first; its arithmetic does.
        let failures: Vec<f64> = logins[..index]
            .iter()
            .filter(|(_, client)| failed(client))
            .map(|(_, client)| seconds(client.ended.0))
            .collect();
        let counted = plan
            .rule
            .zip(announced)
            .map(|(rule, announced)| rule.counted(announced.as_secs_f64(), &failures));
        Ban {
            began_ns: began.0,
            failed_after: counted.map_or(0, |counted| (failures.len() - counted) as u64),
            announced_ns: announced.map(nanoseconds),
            at_least_ns: nanoseconds(last.since(in_force)),
            at_most_ns: let_in.map(|at| nanoseconds(at.since(earned))),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::analysis::ledger_builder::{LedgerBuilder, manifest};
    use crate::analysis::summary::RunSummary;
    use crate::analysis::{catalogue, laws};
    use crate::ids::{AttemptId, RoundId, StrategyName};
    use crate::ledger::{Event, RoundEnd, RunEnd};
    use crate::manifest::{FailingRecord, StrategyRecord};
    use crate::scenario::StrategyKind;
    use crate::vocabulary::{AttemptTrace, CleanupResult, Close, StageFailure, TaskFate};

    const NAME: &str = "failing-login";
    const AUTHFAIL: &str = "penalty: failed authentication";

    /// A ledger with tasks at these spacings on OpenSSH 10.0 with its default penalties.
    fn begun(spacings: &[u64]) -> LedgerBuilder {
        let mut manifest = manifest();
        manifest.scenario.rounds = 1;
        manifest.scenario.strategies = vec![StrategyRecord {
            name: StrategyName(NAME.to_owned()),
            kind: StrategyKind::FailingLogin,
            program: None,
            failing: Some(FailingRecord {
                logins: 6,
                spacing_ns: spacings.iter().map(|s| s * 1_000_000_000).collect(),
            }),
        }];
        manifest.target.release = Some("OpenSSH_10.0p2".to_owned());
        manifest.target.effective_config = vec![(
            "persourcepenalties".to_owned(),
            "crash:90 authfail:5 noauth:1 max:600 min:15".to_owned(),
        )];
        let mut ledger = LedgerBuilder::new(manifest);
        ledger.round(NAME, 1, u32::try_from(spacings.len()).expect("few"));
        ledger
    }

    /// One attempt of 50 ms from the task's own address, and what sshd logs of it.
    fn attempt(
        ledger: &mut LedgerBuilder,
        task: u8,
        phase: Phase,
        outcome: AttemptOutcome,
        drop: &str,
    ) {
        let attempt = AttemptId(ledger.records.len() as u64);
        let port = 40_000 + u16::try_from(ledger.records.len()).expect("few");
        let at = ledger.instant();
        ledger.push(Event::AttemptStarted {
            round: RoundId(1),
            task: TaskId(task.into()),
            attempt,
            phase,
            ordinal: 1,
        });
        let source = format!("127.1.1.{}", task + 1);
        match outcome {
            AttemptOutcome::BannerEof { .. } => ledger.logged(&format!(
                "sshd.c:drop_connection():1 (pid=1): drop connection #0 from [{source}]:{port} on [127.0.0.1]:22 {drop}"
            )),
            _ => ledger.logged(&format!(
                "Connection from {source} port {port} on 127.0.0.1 port 22"
            )),
        };
        if outcome == AttemptOutcome::Handshake {
            ledger.logged(&format!(
                "Accepted publickey for runner from {source} port {port} ssh2: ED25519 SHA256:x"
            ));
        }
        ledger.wait(50);
        let handshake = outcome == AttemptOutcome::Handshake;
        ledger.push(Event::AttemptEnded {
            attempt,
            outcome,
            trace: Box::new(AttemptTrace {
                connect_called: Some(at),
                connected: Some(at),
                identified: handshake.then(|| at + Duration::from_millis(20)),
                local_address: source.parse().ok(),
                local_port: Some(port),
                ..AttemptTrace::default()
            }),
        });
        if handshake {
            ledger.push(Event::ConnectionEnded {
                attempt,
                end: crate::vocabulary::ConnectionEnd::ClosedByClient,
                bytes_in: 0,
                bytes_out: 0,
            });
        }
    }

    const WRONG_KEY: AttemptOutcome = AttemptOutcome::AuthFailed {
        failure: StageFailure::Rejected,
    };
    const REFUSED: AttemptOutcome = AttemptOutcome::BannerEof { close: Close::Eof };

    fn finished(mut ledger: LedgerBuilder, tasks: u32) -> RunSummary {
        for task in 0..tasks {
            ledger.start(task);
            ledger.end(task, TaskFate::Succeeded, CleanupResult::NotRequired);
        }
        ledger.round_end(RoundEnd::Complete);
        ledger.run_end(RunEnd::Complete);
        let run = ledger.summary();
        let broken: Vec<_> = laws::broken(&laws::check(&run)).cloned().collect();
        assert!(broken.is_empty(), "{broken:#?}");
        run
    }

    fn value(run: &RunSummary, metric: &str) -> Option<f64> {
        let metric = catalogue::metric(metric).expect("a metric");
        metric.of_round(&run.strategies[0].numbers, None)
    }

    #[test]
    fn ban_is_measured_from_sshds_own_line_to_the_first_login_that_is_let_in() {
        let mut ledger = begun(&[1, 6]);
        for _ in 0..4 {
            attempt(&mut ledger, 0, Phase::Submit, WRONG_KEY, "");
            ledger.wait(950);
        }
        ledger.logged(
            "srclimit_penalise: 127.1.1.1/32: activating ipv4 penalty of 17 seconds for penalty: failed authentication",
        );
        ledger.wait(50);
        attempt(&mut ledger, 0, Phase::Submit, REFUSED, AUTHFAIL);
        ledger.wait(10_000);
        attempt(&mut ledger, 0, Phase::Poll, REFUSED, AUTHFAIL);
        ledger.wait(7_000);
        attempt(&mut ledger, 0, Phase::Poll, AttemptOutcome::Handshake, "");
        for _ in 0..6 {
            attempt(&mut ledger, 1, Phase::Submit, WRONG_KEY, "");
            ledger.wait(5_950);
        }
        let run = finished(ledger, 2);
        let [banned, free] = &run.strategies[0].rounds[0].failing[..] else {
            panic!("two tasks");
        };
        assert_eq!((banned.failed, banned.first_banned()), (4, Some(5)));
        assert_eq!(banned.refused_by.as_deref(), Some("authfail"));
        let ban = banned.ban.expect("a ban");
        assert_eq!(
            (ban.announced_ns, ban.failed_after),
            (Some(17_000_000_000), 0)
        );
        // 50 ms to the refusal and 50 ms of it, then the waits and 50 ms of the probe between.
        assert_eq!(ban.at_least_ns, 10_100_000_000);
        // From the end of the fourth, 950 ms before the line, to the identification of the server.
        assert_eq!(ban.at_most_ns, Some(18_120_000_000));
        assert_eq!(
            banned.predicted,
            Some(Predicted {
                earliest: Some(5),
                latest: Some(5)
            })
        );
        assert_eq!(banned.as_predicted(), Some(true));
        assert!(free.never_refused() && free.ban.is_none());
        assert_eq!(free.as_predicted(), Some(true));
        assert_eq!(value(&run, "tasks_banned"), Some(1.0));
        assert_eq!(value(&run, "first_banned_attempt"), Some(5.0));
        assert_eq!(value(&run, "unbanned_spacing"), Some(6e9));
        assert!(value(&run, "ban").is_some());
    }

    #[test]
    fn line_of_a_ban_that_is_read_after_its_first_refusal_announces_it_all_the_same() {
        let mut ledger = begun(&[1]);
        for _ in 0..4 {
            attempt(&mut ledger, 0, Phase::Submit, WRONG_KEY, "");
            ledger.wait(950);
        }
        attempt(&mut ledger, 0, Phase::Submit, REFUSED, AUTHFAIL);
        ledger.wait(100);
        ledger.logged(
            "srclimit_penalise: 127.1.1.1/32: activating ipv4 penalty of 17 seconds for penalty: failed authentication",
        );
        ledger.wait(9_900);
        attempt(&mut ledger, 0, Phase::Poll, REFUSED, AUTHFAIL);
        ledger.wait(7_000);
        attempt(&mut ledger, 0, Phase::Poll, AttemptOutcome::Handshake, "");
        let run = finished(ledger, 1);
        let ban = run.strategies[0].rounds[0].failing[0].ban.expect("a ban");
        assert_eq!(
            (ban.announced_ns, ban.failed_after),
            (Some(17_000_000_000), 0)
        );
        // From the end of the refusal, which the ban had begun before, to the next one.
        assert_eq!(ban.at_least_ns, 10_000_000_000);
    }

    #[test]
    fn ban_that_sshd_did_not_announce_lasted_from_its_first_refusal_at_least_and_from_the_last_failure_at_most()
     {
        let mut ledger = begun(&[1]);
        for _ in 0..4 {
            attempt(&mut ledger, 0, Phase::Submit, WRONG_KEY, "");
            ledger.wait(950);
        }
        attempt(&mut ledger, 0, Phase::Submit, REFUSED, AUTHFAIL);
        ledger.wait(10_000);
        attempt(&mut ledger, 0, Phase::Poll, REFUSED, AUTHFAIL);
        ledger.wait(7_000);
        attempt(&mut ledger, 0, Phase::Poll, AttemptOutcome::Handshake, "");
        let run = finished(ledger, 1);
        let ban = run.strategies[0].rounds[0].failing[0].ban.expect("a ban");
        assert_eq!((ban.announced_ns, ban.failed_after), (None, 0));
        assert_eq!(ban.at_least_ns, 10_050_000_000);
        assert_eq!(ban.at_most_ns, Some(18_070_000_000));
    }

    #[test]
    fn nothing_is_predicted_where_some_sources_are_spared() {
        let mut manifest = manifest();
        manifest.target.release = Some("OpenSSH_10.0p2".to_owned());
        let record = FailingRecord {
            logins: 6,
            spacing_ns: vec![0],
        };
        for (list, known) in [("none", true), ("127.0.0.0/8", false)] {
            manifest.target.effective_config = [
                ("persourcepenalties", "crash:90 authfail:5 max:600 min:15"),
                ("persourcepenaltyexemptlist", list),
            ]
            .map(|(keyword, value)| (keyword.to_owned(), value.to_owned()))
            .into();
            assert_eq!(Plan::of(&record, &manifest).rule.is_some(), known, "{list}");
        }
    }

    #[test]
    fn refusal_that_its_line_gives_to_max_startups_is_no_ban_and_no_spacing_is_called_safe() {
        let mut ledger = begun(&[1]);
        attempt(&mut ledger, 0, Phase::Submit, WRONG_KEY, "");
        ledger.logged("sshd.c:should_drop_connection():1 (pid=1): p 37, r 5");
        attempt(&mut ledger, 0, Phase::Submit, REFUSED, "Maxstartups");
        attempt(&mut ledger, 0, Phase::Poll, AttemptOutcome::Handshake, "");
        let run = finished(ledger, 1);
        let task = &run.strategies[0].rounds[0].failing[0];
        assert_eq!((task.first_refused, task.ban), (Some(2), None));
        assert_eq!(task.refused_by.as_deref(), Some("MaxStartups"));
        assert_eq!(task.as_predicted(), None);
        assert_eq!(value(&run, "tasks_banned"), Some(0.0));
        assert_eq!(value(&run, "unbanned_spacing"), None);
        assert_eq!(value(&run, "first_banned_attempt"), None);
    }

    #[test]
    fn holders_are_counted_apart_and_so_is_what_sshd_logs_of_them() {
        let mut manifest = manifest();
        manifest.scenario.rounds = 1;
        manifest.scenario.holders = 4;
        manifest.scenario.strategies.truncate(1);
        manifest.target.effective_config = vec![("logingracetime".to_owned(), "2".to_owned())];
        let name = manifest.scenario.strategies[0].name.0.clone();
        let mut ledger = LedgerBuilder::new(manifest);
        ledger.round(&name, 1, 1);
        let port = |number: u64| 50_000 + u16::try_from(number).expect("few");
        let begun = ledger.instant();
        for number in 1..=3 {
            ledger.push(Event::HolderStarted {
                round: RoundId(1),
                attempt: AttemptId(1_000 + number),
            });
            if number == 3 {
                ledger.dropped(port(number));
            } else {
                ledger.connection_from(port(number));
            }
        }
        ledger.start(0);
        let attempt = ledger.connect(0, Phase::Submit, 1);
        ledger.close(attempt);
        ledger.end(0, TaskFate::Succeeded, CleanupResult::Removed);
        let close = Close::Eof;
        let mut end = |number: u64, after: u64, outcome: AttemptOutcome| {
            ledger.wait(after);
            let identified = (outcome != REFUSED).then_some(begun);
            let handshake = outcome == AttemptOutcome::Handshake;
            if handshake {
                ledger.accepted(port(number));
            }
            ledger.push(Event::HolderEnded {
                attempt: AttemptId(1_000 + number),
                outcome,
                trace: Box::new(AttemptTrace {
                    connect_called: Some(begun),
                    connected: Some(begun),
                    identified,
                    local_port: Some(port(number)),
                    ..AttemptTrace::default()
                }),
            });
            if handshake {
                ledger.push(Event::ConnectionEnded {
                    attempt: AttemptId(1_000 + number),
                    end: crate::vocabulary::ConnectionEnd::ClosedByClient,
                    bytes_in: 0,
                    bytes_out: 0,
                });
            }
        };
        end(3, 0, REFUSED);
        end(1, 1_000, AttemptOutcome::Handshake);
        end(
            2,
            1_000,
            AttemptOutcome::KexFailed {
                failure: StageFailure::Lost { close },
            },
        );
        ledger.round_end(RoundEnd::Complete);
        ledger.run_end(RunEnd::Complete);
        let run = ledger.summary();
        let broken: Vec<_> = laws::broken(&laws::check(&run)).cloned().collect();
        assert!(broken.is_empty(), "{broken:#?}");
        let numbers = &run.strategies[0].numbers;
        let holders = numbers.holders.expect("asked for");
        assert_eq!(
            (
                holders.asked,
                holders.admitted,
                holders.refused,
                holders.failed
            ),
            (4, 2, 1, 1)
        );
        assert_eq!(
            (
                holders.logged_in,
                holders.ended_by_grace,
                holders.ended_early
            ),
            (1, 1, 0)
        );
        let counts = &numbers.total.counts;
        assert_eq!(
            (counts.attempts, counts.handshakes, counts.banner_eof),
            (1, 1, 0)
        );
        assert_eq!(numbers.server_accepted, Some(1));
        let drops = numbers
            .server_drops
            .as_ref()
            .expect("a log with every drop");
        assert_eq!(drops.total(), 0);
        assert_eq!(value(&run, "holders_admitted"), Some(2.0));
        // The connections law holds all four connections of the log against both kinds.
        let books = run.strategies[0].rounds[0]
            .reconciliation
            .as_ref()
            .expect("a log");
        assert_eq!((books.connections.client, books.connections.server), (4, 4));
    }
}
