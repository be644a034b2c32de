//! What happened, in one sentence and three numbers for each strategy; shared by the renderers for people.
//!
//! Owns the words. Plain text: every renderer escapes it for its own format. Computes nothing but shares of counts.

mod aside;

use super::words::{counted, word};
use crate::document::{RunReport, StrategyReport};
use sshchurn_core::analysis::laws::LawStatus;
use sshchurn_core::analysis::summary::{Clients, Spread};
use sshchurn_core::analysis::validity::CheckStatus;
use sshchurn_core::gate::{GateOutcome, Verdict};
use sshchurn_core::manifest::{StandIn, Substitution};
use sshchurn_core::quantity::number;
use sshchurn_core::scenario::Life;
use sshchurn_core::vocabulary::CleanupPolicy;

/// The machine's CPUs, and whose they were where clients and server did not share them.
pub(crate) fn cpus(report: &RunReport) -> String {
    let cpus = counted(u64::from(report.environment.cpus), "CPU");
    match &report.target.cores {
        None => cpus,
        Some(cores) => format!("{cpus} ({cores})"),
    }
}

/// What stands before everything else, since it says that the server is not what one would take it for.
pub(crate) fn notices(report: &RunReport) -> Vec<String> {
    let stand_in = report.stand_in.map(|kind| kind.headline().to_owned());
    let substitution = report.target.substitution.iter();
    stand_in
        .into_iter()
        .chain(substitution.flat_map(Substitution::lines))
        .collect()
}

/// One number of a headline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    /// What it counts.
    pub(crate) label: &'static str,
    /// Its sum over all rounds; `None` when it is not known.
    pub(crate) value: Option<u64>,
    /// Its spread between rounds, or why it is not known.
    pub(crate) note: String,
}

/// The three numbers of a strategy.
pub(crate) fn facts(report: &RunReport, strategy: &StrategyReport) -> [Fact; 3] {
    let counts = &strategy.totals.total.counts;
    let ran = strategy.rounds > 0;
    let leftovers = strategy.totals.leftovers.map(|found| found.leftover_dirs);
    let known = |label, metric: &str, value: u64| Fact {
        label,
        value: ran.then_some(value),
        note: if ran {
            spread(strategy, strategy.spread.get(metric))
        } else {
            "no round was run".to_owned()
        },
    };
    [
        known("connection attempts", "attempts", counts.attempts),
        known("banner-EOF failures", "banner_eof", counts.banner_eof),
        match leftovers {
            Some(found) => known("leftover directories", "leftover_dirs", found),
            None => Fact {
                label: "leftover directories",
                value: None,
                note: if !ran {
                    "no round was run"
                } else if report.target.inventory_available {
                    "not counted after every round"
                } else {
                    "this target's file system cannot be listed"
                }
                .to_owned(),
            },
        },
    ]
}

fn spread(strategy: &StrategyReport, spread: Option<&Spread>) -> String {
    match (strategy.rounds, spread) {
        (0 | 1, _) => "one round".to_owned(),
        // Counts are whole, and a median of them whole or a half.
        (_, Some(spread)) if spread.min < spread.max => format!(
            "{} to {} a round, median {}",
            spread.min, spread.max, spread.median
        ),
        (_, Some(spread)) => format!("{} in every round", spread.median),
        (rounds, None) => format!("over {rounds} rounds"),
    }
}

/// What happened. One sentence for a pass, a failure and a run without conclusion alike.
pub(crate) fn sentence(report: &RunReport) -> String {
    let all = report.gates.len();
    let failed = report
        .gates
        .iter()
        .filter(|gate| gate.outcome == GateOutcome::Fail)
        .count();
    let lead = match (report.verdict, all) {
        (Verdict::Measured, _) => "Measured, and nothing judged".to_owned(),
        // A comparison with a baseline alone.
        (Verdict::Pass, 0) => "No worse than the baseline".to_owned(),
        (Verdict::Pass, 1) => "The threshold holds".to_owned(),
        (Verdict::Pass, 2) => "Both thresholds hold".to_owned(),
        (Verdict::Pass, _) => format!("All {all} thresholds hold"),
        (Verdict::Fail, 1) => "The threshold does not hold".to_owned(),
        (Verdict::Fail, _) => format!("{failed} of {all} thresholds do not hold"),
        (Verdict::Inconclusive, _) => match report.reasons.first() {
            Some(reason) => {
                format!(
                    "Nothing can be concluded ({})",
                    reason.text.trim_end_matches('.')
                )
            }
            None => "Nothing can be concluded".to_owned(),
        },
    };
    let lead = if let Some(kind) = report.stand_in {
        let mut characters = lead.chars();
        let first = characters.next().map(|first| first.to_ascii_lowercase());
        let lead: String = first.into_iter().chain(characters).collect();
        format!("{}, {lead}", kind.lead())
    } else {
        lead
    };
    let lead = match lost(report) {
        Some(lost) => format!("{lost} {lead}"),
        None => lead,
    };
    let strategies: Vec<String> = report.strategies.iter().map(clause).collect();
    if strategies.is_empty() {
        return format!("{lead}; nothing was run.");
    }
    format!("{lead}: {}.", strategies.join("; "))
}

/// Tasks that failed and were not meant to: a job that ends badly or is killed on purpose is the scenario's own.
fn lost_of(strategy: &StrategyReport) -> u64 {
    let failures = &strategy.totals.failures;
    let meant = failures.job_exit + failures.killed;
    strategy.totals.tasks.tasks_failed.saturating_sub(meant)
}

/// Whether its tasks do something; those that hold startup slots, or fail to log in, are refused on purpose.
fn has_work(report: &RunReport, strategy: &StrategyReport) -> bool {
    let kind = report.scenario.kind_of(&strategy.strategy);
    !kind.is_some_and(|kind| matches!(kind.life(), Life::Hold(_) | Life::Failing))
}

/// The tasks that were lost, before anything else is said; `None` where there are none.
fn lost(report: &RunReport) -> Option<String> {
    let lost: Vec<String> = report
        .strategies
        .iter()
        .filter(|strategy| has_work(report, strategy) && lost_of(strategy) > 0)
        .map(|strategy| {
            let tasks = strategy.totals.tasks.tasks_scheduled;
            format!(
                "{} lost {} of {tasks} tasks",
                strategy.strategy,
                lost_of(strategy)
            )
        })
        .collect();
    (!lost.is_empty()).then(|| format!("{}.", lost.join(", ")))
}

/// Whether the limit would do for these tasks, in a sentence for each strategy; none where that was not seen: a server whose
/// limit is not known, books that do not balance, a run that was broken off.
pub(crate) fn answers(report: &RunReport) -> Vec<String> {
    let Some(limit) = report.max_startups() else {
        return Vec::new();
    };
    if report.verdict == Verdict::Inconclusive {
        return Vec::new();
    }
    report
        .strategies
        .iter()
        .filter(|strategy| has_work(report, strategy))
        .filter_map(|strategy| answer(report, strategy, limit))
        .collect()
}

fn answer(report: &RunReport, strategy: &StrategyReport, limit: &str) -> Option<String> {
    let totals = &strategy.totals;
    let attempts = totals.total.counts.attempts;
    let refused = match (&totals.total.makers, &totals.server.server_drops_by_cause) {
        (Some(makers), _) => makers.refused_by_max_startups,
        (None, Some(drops)) => drops.max_startups_draw + drops.max_startups_full,
        (None, None) => return None,
    };
    if attempts == 0 {
        return None;
    }
    let lost = lost_of(strategy);
    let tasks = totals.tasks.tasks_scheduled;
    let name = &strategy.strategy;
    let limit = match totals.holders {
        Some(holders) if holders.admitted > 0 => format!(
            "{limit}, beside {},",
            counted(u64::from(report.scenario.holders), "silent client")
        ),
        Some(_) | None => limit.to_owned(),
    };
    let seen = match totals.server.startups_peak {
        // The gauge is read a hundred times a second: more may have been in use in between.
        Some(1) => "at most 1 startup slot was seen in use at once".to_owned(),
        Some(peak) => format!("at most {peak} startup slots were seen in use at once"),
        None => "how many startup slots were in use was not seen".to_owned(),
    };
    let lower = totals
        .clients
        .as_ref()
        .is_some_and(|clients| clients.lower_bound);
    let at_least = if lower { "at least " } else { "" };
    let other = totals.total.counts.handshakes < attempts.saturating_sub(refused);
    let were = if lost == 1 { "was" } else { "were" };
    let verdict = match (refused, lost, other) {
        (0, 0, false) => format!("MaxStartups {limit} was enough: it refused nobody, and {seen}"),
        (0, 0, true) => format!(
            "MaxStartups {limit} refused nobody, and {seen}; something else kept connections out"
        ),
        (0, lost, _) => format!(
            "MaxStartups {limit} refused nobody, and {seen}; {lost} of {tasks} tasks {were} lost to something else"
        ),
        (refused, 0, _) => format!(
            "MaxStartups {limit} was enough only with retries: it refused {at_least}{refused} of {attempts} connection attempts, and no \
             task was lost; {seen}"
        ),
        (refused, lost, _) => format!(
            "MaxStartups {limit} was not enough: it refused {at_least}{refused} of {attempts} connection attempts, and {lost} of \
             {tasks} tasks {were} lost{}; {seen}",
            // Which refusal cost which task is not known.
            if other {
                ", not all of them to it for certain"
            } else {
                ""
            }
        ),
    };
    let stand_in = match report.stand_in {
        Some(StandIn::Embedded) => " (stand-in)",
        Some(StandIn::Simulated) => " (simulated)",
        None => "",
    };
    Some(format!("{name}{stand_in}: {verdict}."))
}

/// Everything that a reader has to know before believing the numbers: what bounds them, with its advice, and what was warned
/// of.
pub(crate) fn warnings(report: &RunReport) -> Vec<String> {
    let bounds = report
        .validity
        .iter()
        .filter(|check| check.status == CheckStatus::Warn)
        .map(|check| {
            let advice = check.advice.as_deref().unwrap_or_default();
            let name = word(&check.id).replace('_', " ");
            format!("{name} {} (limit {}): {advice}", check.actual, check.limit)
        });
    bounds.chain(report.warnings.iter().cloned()).collect()
}

/// How the books stand.
pub(crate) fn laws(report: &RunReport) -> String {
    let of = |status| {
        report
            .laws
            .iter()
            .filter(|law| law.status == status)
            .count()
    };
    let unknown = of(LawStatus::NotCheckable);
    let held = format!(
        "{} of {} passed",
        of(LawStatus::Holds),
        report.laws.len() - unknown
    );
    match unknown {
        0 => held,
        unknown => format!("{held}; {unknown} more cannot be made on this target"),
    }
}

fn clause(strategy: &StrategyReport) -> String {
    let name = &strategy.strategy;
    let (counts, tasks) = (&strategy.totals.total.counts, &strategy.totals.tasks);
    if counts.attempts == 0 {
        return format!("{name} made no connection attempt");
    }
    let refused = match counts.banner_eof {
        0 => "was never refused".to_owned(),
        refused => format!(
            "was refused {refused} times before the banner ({})",
            percent(refused, counts.attempts)
        ),
    };
    let left = match strategy.totals.leftovers.map(|found| found.leftover_dirs) {
        None | Some(0) => String::new(),
        Some(1) => ", leaving 1 job directory behind".to_owned(),
        Some(left) => format!(", leaving {left} job directories behind"),
    };
    format!(
        "{name} made {} connection attempts and {refused}, with {} of {} tasks succeeding{left}",
        counts.attempts, tasks.tasks_succeeded, tasks.tasks_scheduled
    )
}

/// Everything beside the answer that a reader should know of the numbers, a sentence each.
pub(crate) fn remarks(report: &RunReport) -> Vec<String> {
    refused_by(report)
        .into_iter()
        .chain(listen_queue(report))
        .chain(clients(report))
        .chain(aside::holders(report))
        .chain(aside::own_bans(report))
        .chain(aside::failing(report))
        .chain(aside::key_commands(report))
        .chain(left_behind(report))
        .collect()
}

/// What was looked for, and where: a zero alone does not say that anybody looked.
fn left_behind(report: &RunReport) -> Option<String> {
    let looked: Vec<(u64, String)> = report
        .strategies
        .iter()
        .filter(|strategy| strategy.rounds > 0)
        .filter(|strategy| {
            let kind = report.scenario.kind_of(&strategy.strategy);
            let removes = strategy.cleanup != Some(CleanupPolicy::Never);
            removes && kind.is_some_and(|kind| matches!(kind.life(), Life::Job(_)))
        })
        .filter_map(|strategy| {
            let left = strategy.totals.leftovers?.leftover_dirs;
            let tasks = strategy.totals.tasks.tasks_scheduled;
            Some((left, format!("{} {left} of {tasks}", strategy.strategy)))
        })
        .collect();
    if looked.is_empty() {
        return None;
    }
    let more = match looked.iter().any(|(left, _)| *left > 0) {
        true => "",
        false => " The scenario orphans shows how they come about.",
    };
    let looked: Vec<String> = looked.into_iter().map(|(_, looked)| looked).collect();
    Some(format!(
        "Tasks whose job directory was left behind, counted on the server's own file system after each round: {}.{more}",
        looked.join(", ")
    ))
}

/// Who refused, in a sentence for each strategy that was refused; none where not every witness was heard.
fn refused_by(report: &RunReport) -> Vec<String> {
    report
        .strategies
        .iter()
        .filter_map(refused_sentence)
        .collect()
}

fn refused_sentence(strategy: &StrategyReport) -> Option<String> {
    let total = &strategy.totals.total;
    let makers = total.makers.as_ref()?;
    let all = total.counts.banner_eof;
    let by: Vec<String> = [
        (makers.refused_by_max_startups, "by sshd's MaxStartups"),
        (makers.refused_by_other_rule, "by another rule of sshd"),
        (makers.unserved, "because sshd could not serve them"),
        (
            makers.listen_queue_refused,
            "by the kernel, since sshd's listen queue was full",
        ),
        (makers.refused_by_unknown, "unexplained"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, by)| match count == all {
        true => format!("all {by}"),
        false => format!("{count} {by}"),
    })
    .collect();
    let waited = match makers.listen_queue_timeout {
        0 => None,
        waited => Some(format!(
            "{waited} gave up waiting for a place in the listen queue"
        )),
    };
    if by.is_empty() && waited.is_none() {
        return None;
    }
    let refused = format!(
        "{}: {} of {} connection attempts were refused",
        strategy.strategy, all, total.counts.attempts
    );
    let by = match by.is_empty() {
        true => String::new(),
        false => format!(": {}", by.join(", ")),
    };
    let waited = waited.map_or_else(String::new, |waited| format!("; {waited}"));
    Some(format!("{refused}{by}{waited}."))
}

/// What the kernel's listen queue did to the run, and what helps; `None` where it did nothing.
fn listen_queue(report: &RunReport) -> Option<String> {
    let makers = || {
        report
            .strategies
            .iter()
            .filter_map(|strategy| strategy.totals.total.makers.as_ref())
    };
    let turned_away: u64 = makers()
        .map(|makers| makers.listen_queue_refused + makers.listen_queue_timeout)
        .sum();
    if turned_away > 0 {
        return Some(
            "sshd's listen queue was full. Its backlog of 128 is compiled into sshd (net.core.somaxconn can only lower \
             it), so a larger MaxStartups does not help. Spread the arrivals, or run a second listener on another port."
                .to_owned(),
        );
    }
    let overflows: u64 = report
        .strategies
        .iter()
        .flat_map(|strategy| &strategy.per_round)
        .filter_map(|round| round.kernel?.grown.listen_overflows)
        .sum();
    match (overflows, makers().next().is_some()) {
        (0, _) => None,
        (overflows, true) => Some(format!(
            "The kernel counted {overflows} overflows of a listen queue. Every connection of this run got through in the \
             end: some were delayed, none was lost to it."
        )),
        (overflows, false) => Some(format!(
            "The kernel counted {overflows} overflows of a listen queue in the server's network namespace. On this network \
             path nothing says which connections met them, so none is assigned."
        )),
    }
}

/// What is special about numbers that only the server tells, in a sentence for each thing; none where there is nothing.
fn clients(report: &RunReport) -> Vec<String> {
    let mut sentences = Vec::new();
    for strategy in &report.strategies {
        let (name, Some(clients)) = (&strategy.strategy, &strategy.totals.clients) else {
            continue;
        };
        if clients.lower_bound {
            sentences.push(format!(
                "{name}: the kernel turned connections away before sshd saw them, so every count of its connections is a \
                 lower bound."
            ));
        }
        sentences.extend(told_by_key(strategy, clients));
        sentences.extend(of_no_task(strategy, clients));
        if clients.sessions_refused > 0 {
            sentences.push(format!(
                "{name}: sshd refused {} channels because a shared connection had MaxSessions of them; OpenSSH's client \
                 then makes a connection of its own for each.",
                clients.sessions_refused
            ));
        }
        if clients.left_behind > 0 {
            let names: Vec<String> = clients
                .left_behind_names
                .iter()
                .map(|(name, count)| format!("{count} × `{name}`"))
                .collect();
            sentences.push(format!(
                "{name}: {} of {} programs left processes behind, which were ended: {}.",
                clients.left_behind,
                clients.started,
                names.join(", ")
            ));
        }
        if clients.recognised > 0 {
            sentences.push(format!(
                "{name}: {} lines of what it printed speak of a refusal; {} were refused (information only: a client may say \
                 nothing, or say it more than once).",
                clients.recognised, strategy.totals.total.counts.banner_eof
            ));
        }
    }
    sentences
}

fn told_by_key(strategy: &StrategyReport, clients: &Clients) -> Option<String> {
    let handshakes = strategy.totals.total.counts.handshakes;
    (clients.logins_by_key > 0).then(|| {
        format!(
            "{}: {} of {handshakes} logins belong to a task by the key that they used; their address was not the task's own.",
            strategy.strategy, clients.logins_by_key
        )
    })
}

fn of_no_task(strategy: &StrategyReport, clients: &Clients) -> Option<String> {
    if clients.unattributed == 0 {
        return None;
    }
    let refused = match clients.unattributed_refusals {
        0 => String::new(),
        refused => format!(", {refused} of them refused"),
    };
    let known = if clients.unattributed_logins > 0 {
        "Per task only the mean is known. A client that uses `{host}` or `{key}` is told apart by task."
    } else {
        "Logins per task are known, and of attempts per task only the mean. A client that uses `{host}` has its refusals told \
         apart as well."
    };
    Some(format!(
        "{}: {} of {} connections belong to no task{refused}: neither an address nor a key names one. {known}",
        strategy.strategy, clients.unattributed, strategy.totals.total.counts.attempts
    ))
}

/// A share, of whole per cents where that says enough.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let share = number(part) / number(whole) * 100.0;
    match share {
        _ if part > 0 && share < 1.0 => format!("{share:.1} %"),
        _ if part < whole && share > 99.0 => format!("{share:.1} %"),
        _ => format!("{share:.0} %"),
    }
}
