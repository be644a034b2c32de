//! The climbs of a client that holds what it is given: how far each went, and what else than `MaxStartups` decided in it.
//!
//! Owns what counts as evidence of another limit. A climb that met one is neither for nor against `MaxStartups`: its refusals
//! are another rule's, or the number of slots in use was a guess. Must not judge the rest; that is `admission`'s.

use std::collections::BTreeMap;
use std::time::Duration;

use super::summary::{RoundSummary, RunSummary};
use crate::join::Account;
use crate::manifest::Manifest;
use crate::scenario::{MaxStartups, StrategyKind};
use crate::server_log::DropRule;

/// How much earlier than `LoginGraceTime` a client may see its end: clocks of two processes, and sshd's counts whole seconds.
pub(super) const GRACE_SLACK: Duration = Duration::from_millis(100);

/// What else decided, or cut a climb short.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum OtherLimit {
    /// `PerSourcePenalties`, with the word for its reason.
    Penalty(String),
    /// `PerSourceMaxStartups`.
    PerSource,
    /// `LoginGraceTime` took slots back.
    LoginGraceTime,
    /// sshd's listen queue was full: the kernel refused.
    ListenQueue,
    /// sshd could not fork.
    Fork,
    /// sshd had no descriptor left.
    Descriptors,
    /// Admitted, but its process ended before the identification string.
    SessionEnded,
    /// The server ended a held connection, and nothing says why.
    ConnectionLost,
    /// An attempt was neither admitted nor refused; the metric that it is counted under.
    Failed(&'static str),
}

impl OtherLimit {
    /// The word used in documents.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            OtherLimit::Penalty(_) => "per_source_penalties",
            OtherLimit::PerSource => "per_source_max_startups",
            OtherLimit::LoginGraceTime => "login_grace_time",
            OtherLimit::ListenQueue => "listen_queue",
            OtherLimit::Fork => "fork",
            OtherLimit::Descriptors => "descriptors",
            OtherLimit::SessionEnded => "session_ended",
            OtherLimit::ConnectionLost => "connection_lost",
            OtherLimit::Failed(_) => "failed",
        }
    }
}

/// One limit, over all the climbs that met it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    /// Which.
    pub limit: OtherLimit,
    /// Climbs that met it.
    pub climbs: u32,
    /// Connections that it decided, as far as they were counted.
    pub connections: u64,
    /// The most connections that were held in any of them.
    pub most_held: u32,
    /// How long the first connection that the server ended had been held.
    pub after: Option<Duration>,
}

/// All climbs of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Climbs {
    /// How many there were.
    pub made: u32,
    /// Those that met no other limit and were decided where the expected rule refuses everything.
    pub reached_full: u32,
    /// Those that met another limit.
    pub spoilt: u32,
    /// What they met.
    pub met: Vec<Met>,
}

/// The climbs of a run, held against the rule that is expected. Drops must have been told apart by the server's own rule.
#[must_use]
pub fn of_run(run: &RunSummary, expected: MaxStartups) -> Climbs {
    let mut climbs = Climbs::default();
    let mut met: BTreeMap<OtherLimit, Met> = BTreeMap::new();
    for round in run.rounds() {
        let kind = run
            .manifest
            .as_ref()
            .and_then(|manifest| manifest.scenario.kind_of(&round.strategy));
        if kind != Some(StrategyKind::Staircase) {
            continue;
        }
        climbs.made += 1;
        let limits = limits_met(round, run.manifest.as_ref());
        if limits.is_empty() {
            let mut decided_at = round.held_trials.keys();
            climbs.reached_full +=
                u32::from(decided_at.any(|slots| *slots >= expected.shut_from()));
            continue;
        }
        climbs.spoilt += 1;
        for (limit, connections) in limits {
            let entry = met.entry(limit.clone()).or_insert(Met {
                limit,
                climbs: 0,
                connections: 0,
                most_held: 0,
                after: None,
            });
            entry.climbs += 1;
            entry.connections += connections;
            let most = round.held_trials.keys().next_back().copied();
            entry.most_held = entry.most_held.max(most.unwrap_or(0));
            entry.after = [entry.after, round.held_lost].into_iter().flatten().min();
        }
    }
    climbs.met = met.into_values().collect();
    climbs
}

/// What else than `MaxStartups` decided in a round of a client that holds what it gets, with the number of connections; empty
/// where nothing did. Without a log what refused is not known, and nothing is said of it.
#[must_use]
pub fn limits_met(round: &RoundSummary, manifest: Option<&Manifest>) -> Vec<(OtherLimit, u64)> {
    let mut met = Vec::new();
    let mut add = |limit, connections: u64| {
        if connections > 0 {
            met.push((limit, connections));
        }
    };
    let mut grace_timeouts = 0;
    if let Some(log) = &round.server_log {
        for (reason, count) in &log.drops.penalties {
            add(OtherLimit::Penalty(reason.clone()), *count);
        }
        // Where no such limit is set, a drop that `MaxStartups` does not allow is a server that does not obey it.
        if manifest
            .and_then(DropRule::of)
            .is_some_and(|rule| rule.per_source)
        {
            add(OtherLimit::PerSource, log.drops.per_source_max_startups);
        }
        add(OtherLimit::Fork, log.fork_failures);
        add(
            OtherLimit::Descriptors,
            log.pipe_failures + log.accept_failures,
        );
        grace_timeouts = log.grace_timeouts;
    }
    if let Some(books) = &round.reconciliation {
        let of = |account: Account| {
            let sides = [books.refusals.as_ref(), Some(&books.connections)];
            let counts = sides
                .into_iter()
                .flatten()
                .filter_map(|sides| sides.explained.get(&account).copied());
            counts.max().unwrap_or(0)
        };
        // One that was given up while it waited to be accepted was refused by nobody.
        add(
            OtherLimit::ListenQueue,
            of(Account::ListenQueueRefused) + of(Account::ListenQueueTimeout),
        );
        add(OtherLimit::SessionEnded, of(Account::SessionEnded));
    }
    if let Some(held) = round.held_lost {
        let grace = manifest.and_then(login_grace_time);
        // Builds with a fix for CVE-2024-6387 do not log it: the time that it took is what there is.
        let by_grace = grace_timeouts > 0 || grace.is_some_and(|grace| held + GRACE_SLACK >= grace);
        add(
            match by_grace {
                true => OtherLimit::LoginGraceTime,
                false => OtherLimit::ConnectionLost,
            },
            grace_timeouts.max(1),
        );
    }
    let counts = &round.numbers.total.counts;
    for (metric, count) in [
        ("connect_refused", counts.connect_refused),
        ("connect_timeout", counts.connect_timeout),
        ("banner_timeout", counts.banner_timeout),
        ("generator_fault", counts.generator_fault),
    ] {
        add(OtherLimit::Failed(metric), count);
    }
    met
}

/// `LoginGraceTime` in force, as `sshd -T` prints it: seconds. `None` where it is not known, or off.
pub(super) fn login_grace_time(manifest: &Manifest) -> Option<Duration> {
    let (_, seconds) = manifest
        .target
        .effective_config
        .iter()
        .find(|(keyword, _)| keyword == "logingracetime")?;
    let seconds = seconds.parse().ok().filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds))
}

impl Met {
    /// For a person: how many climbs, what decided, and what follows from it.
    #[must_use]
    pub fn sentence(&self) -> String {
        let climbs = match self.climbs {
            1 => "in 1 climb".to_owned(),
            many => format!("in {many} climbs"),
        };
        let connections = match self.connections {
            1 => "1 connection".to_owned(),
            many => format!("{many} connections"),
        };
        let after = self.after.map_or_else(String::new, |after| {
            format!(", the first after {:.1} s", after.as_secs_f64())
        });
        let what = match &self.limit {
            OtherLimit::Penalty(reason) => format!(
                "PerSourcePenalties refused {connections} ({reason}): the address was banned for what its connections had \
                 done before"
            ),
            OtherLimit::PerSource => format!(
                "PerSourceMaxStartups refused {connections}, with {} held at most: one address meets that limit first, and \
                 what MaxStartups would do cannot be seen from it",
                self.most_held
            ),
            OtherLimit::LoginGraceTime => format!(
                "LoginGraceTime took slots back{after}, so that the number of slots in use was no longer known: set it to more \
                 than a climb takes"
            ),
            OtherLimit::ListenQueue => {
                format!("the kernel kept {connections} from sshd, whose listen queue was full")
            }
            OtherLimit::Fork => format!("sshd could not fork for {connections}"),
            OtherLimit::Descriptors => format!("sshd had no descriptor left for {connections}"),
            OtherLimit::SessionEnded => format!(
                "{connections} that sshd admitted ended before the identification string: see sshd.log"
            ),
            OtherLimit::ConnectionLost => {
                format!("the server ended a held connection{after}, and its log does not say why")
            }
            OtherLimit::Failed(metric) => {
                format!("sshd neither admitted nor refused {connections} ({metric})")
            }
        };
        format!("{climbs}, {what}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::admission;
    use crate::analysis::ledger_builder::{LedgerBuilder, manifest};
    use crate::ids::StrategyName;
    use crate::ledger::{Event, RoundEnd, RunEnd};
    use crate::manifest::StrategyRecord;
    use crate::vocabulary::{AttemptOutcome, CleanupResult, Close, Phase, StageFailure, TaskFate};

    const CLIMB: &str = "staircase";

    fn rule() -> MaxStartups {
        "3:100:5".parse().expect("valid")
    }

    /// A run of climbs, on a server with these settings beside `MaxStartups 3:100:5`.
    fn climbing(settings: &[(&str, &str)]) -> LedgerBuilder {
        let mut manifest = manifest();
        manifest.scenario.strategies = vec![StrategyRecord {
            name: StrategyName(CLIMB.to_owned()),
            kind: StrategyKind::Staircase,
            program: None,
            failing: None,
        }];
        manifest.target.effective_max_startups = Some(rule().to_string());
        manifest.target.effective_config = settings
            .iter()
            .map(|(keyword, value)| ((*keyword).to_owned(), (*value).to_owned()))
            .collect();
        LedgerBuilder::new(manifest)
    }

    /// One climb: so many are held, and then 30 refused by drop lines that end in `why`.
    fn climb(ledger: &mut LedgerBuilder, held: u32, why: &str, lost_after_ms: Option<u64>) {
        ledger.round(CLIMB, 1, 1).start(0);
        let mut open = Vec::new();
        for _ in 0..held {
            open.push(ledger.begin(0, Phase::Submit));
        }
        for _ in 0..30 {
            let drop =
                format!("drop connection #{held} from [127.0.0.1]:PORT on [127.0.0.1]:22 {why}");
            ledger.refused_as(0, Phase::Submit, &drop);
        }
        if let Some(after) = lost_after_ms {
            ledger.wait(after);
        }
        for attempt in open {
            let close = Close::Eof;
            ledger.finish(
                attempt,
                match lost_after_ms {
                    None => AttemptOutcome::Held,
                    Some(_) => AttemptOutcome::KexFailed {
                        failure: StageFailure::Lost { close },
                    },
                },
            );
        }
        ledger.end(0, TaskFate::Succeeded, CleanupResult::NotRequired);
        ledger.round_end(RoundEnd::Complete);
    }

    fn summed(ledger: &mut LedgerBuilder) -> (Climbs, BTreeMap<u32, admission::Trials>) {
        ledger.push(Event::RunEnded {
            end: RunEnd::Complete,
        });
        let run = ledger.summary();
        (of_run(&run, rule()), admission::held_trials(&run))
    }

    #[test]
    fn climb_that_max_startups_alone_decides_reaches_full_and_counts() {
        let mut ledger = climbing(&[("logingracetime", "120"), ("persourcemaxstartups", "none")]);
        climb(&mut ledger, 3, "past MaxStartups", None);
        let (climbs, trials) = summed(&mut ledger);
        assert_eq!((climbs.made, climbs.reached_full, climbs.spoilt), (1, 1, 0));
        assert_eq!((trials[&2].trials, trials[&2].refused), (1, 0));
        assert_eq!((trials[&3].trials, trials[&3].refused), (30, 30));
    }

    #[test]
    fn banned_climb_counts_neither_way_and_its_reason_is_named() {
        let mut ledger = climbing(&[("persourcepenalties", "noauth:1")]);
        climb(&mut ledger, 3, "past MaxStartups", None);
        let ban = "penalty: connections without attempting authentication";
        climb(&mut ledger, 0, ban, None);
        climb(&mut ledger, 0, ban, None);
        let (climbs, trials) = summed(&mut ledger);
        assert_eq!((climbs.made, climbs.reached_full, climbs.spoilt), (3, 1, 2));
        let [met] = &climbs.met[..] else {
            panic!("{climbs:?}");
        };
        assert_eq!((met.climbs, met.connections), (2, 60));
        let told = met.sentence();
        assert!(
            told.starts_with("in 2 climbs, PerSourcePenalties refused 60 connections (noauth)"),
            "{told}"
        );
        assert_eq!(
            trials.get(&0).map(|seen| seen.refused),
            Some(0),
            "{trials:?}"
        );
    }

    #[test]
    fn limit_per_source_is_named_where_it_is_set_and_a_disobedient_server_where_it_is_not() {
        let mut ledger = climbing(&[("persourcemaxstartups", "2")]);
        climb(&mut ledger, 2, "past MaxStartups", None);
        let (climbs, trials) = summed(&mut ledger);
        assert_eq!((climbs.reached_full, climbs.spoilt), (0, 1));
        assert_eq!(climbs.met[0].limit, OtherLimit::PerSource);
        assert!(
            climbs.met[0].sentence().contains("with 2 held at most"),
            "{climbs:?}"
        );
        assert!(trials.is_empty(), "{trials:?}");

        let mut ledger = climbing(&[("persourcemaxstartups", "none")]);
        climb(&mut ledger, 2, "past MaxStartups", None);
        let (climbs, trials) = summed(&mut ledger);
        assert_eq!((climbs.reached_full, climbs.spoilt), (0, 0), "{climbs:?}");
        assert_eq!(
            trials[&2].refused, 30,
            "it is refused where the rule refuses none"
        );
    }

    #[test]
    fn slots_that_login_grace_time_took_back_are_told_from_a_connection_that_was_lost() {
        for (grace, limit) in [
            ("1", OtherLimit::LoginGraceTime),
            ("120", OtherLimit::ConnectionLost),
            ("0", OtherLimit::ConnectionLost),
        ] {
            let mut ledger = climbing(&[("logingracetime", grace)]);
            climb(&mut ledger, 3, "past MaxStartups", Some(1_000));
            let (climbs, trials) = summed(&mut ledger);
            assert_eq!(climbs.spoilt, 1, "{climbs:?}");
            assert_eq!(climbs.met[0].limit, limit, "LoginGraceTime {grace}");
            assert!(climbs.met[0].after >= Some(Duration::from_secs(1)));
            assert!(trials.is_empty());
        }
    }

    #[test]
    fn what_sshd_could_not_serve_is_named() {
        for (line, limit) in [
            ("fork: Resource temporarily unavailable", OtherLimit::Fork),
            (
                "pipe(startup_p): Too many open files",
                OtherLimit::Descriptors,
            ),
        ] {
            let mut ledger = climbing(&[]);
            climb(&mut ledger, 3, "past MaxStartups", None);
            ledger.logged_in(0, line);
            let (climbs, _) = summed(&mut ledger);
            assert_eq!(climbs.met[0].limit, limit, "{line}");
            assert_eq!((climbs.reached_full, climbs.spoilt), (0, 1));
        }
    }
}
