//! What stood beside the tasks: holders, bans that the run earned itself, logins that failed on purpose, look-ups of keys.
//!
//! Owns the words, as its parent does; each is a list of sentences, empty where there is nothing to say.

use crate::document::{RunReport, StrategyReport};
use crate::view::words::{counted, time};
use sshchurn_core::analysis::failing::{FailingLogins, Predicted};
use sshchurn_core::manifest::ServerKind;
use sshchurn_core::quantity::number;
use sshchurn_core::scenario::Life;

/// The silent clients beside the tasks of each strategy.
pub(crate) fn holders(report: &RunReport) -> Vec<String> {
    report
        .strategies
        .iter()
        .filter_map(|strategy| {
            let holders = strategy.totals.holders.filter(|holders| holders.asked > 0)?;
            // Neither its configuration nor who else may have earned a ban is known of somebody else's server.
            let (by_a_ban, early) = if report.target.kind == ServerKind::External {
                (
                    "of these by a ban",
                    "were ended by sshd (its LoginGraceTime is not known)",
                )
            } else {
                (
                    "of these by a ban that this run had earned",
                    "were ended by sshd before LoginGraceTime had passed",
                )
            };
            let parts: Vec<String> = [
                (holders.refused, "were refused"),
                (holders.refused_by_ban, by_a_ban),
                (holders.failed, "got no answer or were not asked any more"),
                (holders.ended_by_grace, "were ended by LoginGraceTime"),
                (holders.ended_early, early),
                (holders.logged_in, "left by logging in"),
            ]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("; {count} {what}"))
            .collect();
            Some(format!(
                "{}: {} of {} silent clients beside the tasks ({} in each round) were admitted and held a startup slot{}.",
                strategy.strategy,
                holders.admitted,
                holders.asked,
                report.scenario.holders,
                parts.concat()
            ))
        })
        .collect()
}

/// Bans that met connections which were not there to meet one.
pub(crate) fn own_bans(report: &RunReport) -> Vec<String> {
    let by_grace: u64 = report
        .strategies
        .iter()
        .filter_map(|strategy| strategy.totals.holders)
        .map(|holders| holders.ended_by_grace)
        .sum();
    let meant = |strategy: &&StrategyReport| {
        let kind = report.scenario.kind_of(&strategy.strategy);
        kind.is_some_and(|kind| kind.life() == Life::Failing)
    };
    report
        .strategies
        .iter()
        .filter(|strategy| !meant(strategy))
        .flat_map(|strategy| {
            let drops = strategy.totals.server.server_drops_by_cause.iter();
            drops.flat_map(|drops| &drops.penalties).map(move |(reason, count)| {
                let earned = match (report.target.kind, reason.as_str()) {
                    (ServerKind::External, _) => {
                        "who earned it is not known: others may use this server".to_owned()
                    }
                    (_, "grace-exceeded") if by_grace > 0 => format!(
                        "this run earned it itself, by {} that LoginGraceTime ended",
                        counted(by_grace, "holder")
                    ),
                    _ => "this run earned it itself, by its own connections".to_owned(),
                };
                format!(
                    "{}: sshd refused {} because it had banned the address (PerSourcePenalties, {reason}); {earned}.",
                    strategy.strategy,
                    counted(*count, "connection")
                )
            })
        })
        .collect()
}

/// Which spacing of logins never banned, and what became of each.
pub(crate) fn failing(report: &RunReport) -> Vec<String> {
    let mut sentences = Vec::new();
    for strategy in &report.strategies {
        let rounds: Vec<(u32, &FailingLogins)> = strategy
            .per_round
            .iter()
            .flat_map(|round| round.failing.iter().map(|task| (round.round.0, task)))
            .collect();
        let Some((_, first)) = rounds.first() else {
            continue;
        };
        let name = &strategy.strategy;
        let each = counted(first.planned, "failing login");
        let totals = &strategy.totals;
        sentences.push(match (totals.unbanned_spacing_ns, totals.tasks_banned) {
            _ if report.stand_in.is_some() => format!(
                "{name}: the stand-in has no penalties, so nothing is known of a spacing that bans."
            ),
            (Some(spacing), Some(0)) => format!(
                "{name}: no spacing banned, down to {} ({each} each).",
                time(spacing)
            ),
            (Some(spacing), _) => format!(
                "{name}: the smallest spacing that never banned is {} ({each} each).",
                time(spacing)
            ),
            (None, Some(banned)) if banned == totals.tasks.tasks_scheduled => {
                format!("{name}: every spacing banned ({each} each).")
            }
            (None, _) => format!(
                "{name}: which spacing never bans cannot be said: not every login was answered as it was meant to be."
            ),
        });
        let several = strategy.per_round.len() > 1;
        for (round, task) in rounds {
            let place = if several {
                format!("{name}, round {round}")
            } else {
                name.to_string()
            };
            sentences.push(format!("{place}: {}", of_task(task)));
        }
    }
    sentences
}

fn of_task(task: &FailingLogins) -> String {
    let every = match task.spacing_ns {
        0 => "with no pause".to_owned(),
        spacing => format!("every {}", time(spacing)),
    };
    let seen = match (task.first_refused, &task.ban) {
        (None, _) if task.never_refused() => {
            format!("none of {} was refused", counted(task.planned, "login"))
        }
        (None, _) => format!(
            "{} of {} failed as they should, and the rest were not made, or ended otherwise",
            task.failed, task.planned
        ),
        (Some(number), None) => match task.refused_by.as_deref() {
            None | Some("unknown") => {
                format!("login {number} was refused, and nothing in sshd's log says by what")
            }
            Some(limit) => format!("login {number} was refused, and not by a ban ({limit})"),
        },
        (Some(number), Some(ban)) => {
            let lasted = match ban.at_most_ns {
                Some(at_most) => {
                    format!("it lasted {} to {}", time(ban.at_least_ns), time(at_most))
                }
                None => format!("it was not over after {}", time(ban.at_least_ns)),
            };
            let announced = ban.announced_ns.map_or_else(String::new, |ns| {
                let longer = match ban.failed_after {
                    0 => String::new(),
                    more => format!(
                        " ({} already under way failed as well, which made it longer)",
                        counted(more, "login")
                    ),
                };
                format!(", and sshd had said {}{longer}", time(ns))
            });
            format!(
                "login {number} met a ban ({}); {lasted}{announced}",
                task.refused_by.as_deref().unwrap_or("unknown")
            )
        }
    };
    let predicted = match (task.predicted, task.as_predicted()) {
        (None, _) => String::new(),
        (Some(predicted), Some(false)) => {
            format!("; sshd's arithmetic says otherwise: {}", first(predicted))
        }
        (Some(predicted), Some(true) | None) => {
            format!("; sshd's arithmetic says {}", first(predicted))
        }
    };
    format!("{every}: {seen}{predicted}.")
}

/// The first login that is refused.
fn first(predicted: Predicted) -> String {
    match (predicted.earliest, predicted.latest) {
        (None, None) => "none is refused".to_owned(),
        (Some(earliest), Some(latest)) if earliest == latest => format!("login {earliest}"),
        (Some(earliest), Some(latest)) => format!("login {earliest} to {latest}"),
        (Some(earliest), None) | (None, Some(earliest)) => {
            format!("login {earliest} at the earliest, or none")
        }
    }
}

/// How often a login had its key looked up by a command.
pub(crate) fn key_commands(report: &RunReport) -> Vec<String> {
    report
        .strategies
        .iter()
        .filter_map(|strategy| {
            let server = &strategy.totals.server;
            let (commands, logins) = (server.key_commands?, server.server_accepted?);
            let each = match logins {
                0 => String::new(),
                logins => format!(" ({:.2} for each)", number(commands) / number(logins)),
            };
            Some(format!(
                "{}: sshd ran the key command {} for {}{each}; a login waits for it once.",
                strategy.strategy,
                counted(commands, "time"),
                counted(logins, "login")
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::plain;
    use sshchurn_core::analysis::failing::Ban;
    use sshchurn_core::analysis::summary::Holders;
    use sshchurn_core::ids::TaskId;
    use sshchurn_core::server_log::DropCounts;

    fn task(number: u32, spacing_s: u64, first_refused: Option<u64>) -> FailingLogins {
        FailingLogins {
            task: TaskId(number),
            source: None,
            spacing_ns: spacing_s * 1_000_000_000,
            planned: 14,
            failed: first_refused.map_or(14, |first| first - 1),
            first_refused,
            refused_by: first_refused.map(|_| "authfail".to_owned()),
            ban: first_refused.map(|_| Ban {
                began_ns: 0,
                announced_ns: Some(17_000_000_000),
                failed_after: 0,
                at_least_ns: 16_600_000_000,
                at_most_ns: Some(17_100_000_000),
            }),
            predicted: Some(Predicted {
                earliest: first_refused,
                latest: first_refused.map(|first| first + 1),
            }),
        }
    }

    #[test]
    fn each_spacing_is_told_beside_the_arithmetic_and_the_answer_comes_first() {
        let mut report = plain();
        let strategy = &mut report.strategies[0];
        strategy.per_round.truncate(1);
        let mut no_ban = task(3, 1, Some(2));
        (no_ban.ban, no_ban.refused_by) = (None, Some("MaxStartups".to_owned()));
        let mut no_line = task(5, 2, Some(6));
        (no_line.ban, no_line.refused_by) = (None, Some("unknown".to_owned()));
        let mut stopped = task(6, 3, None);
        stopped.failed = 4;
        let mut longer = task(4, 0, Some(9));
        longer.predicted = Some(Predicted {
            earliest: Some(5),
            latest: Some(5),
        });
        if let Some(ban) = &mut longer.ban {
            (ban.at_most_ns, ban.failed_after) = (None, 1);
        }
        strategy.per_round[0].failing = vec![
            task(0, 4, Some(12)),
            task(1, 5, None),
            no_ban,
            longer,
            no_line,
            stopped,
        ];
        strategy.totals.unbanned_spacing_ns = Some(5_000_000_000);
        strategy.totals.tasks_banned = Some(2);
        let name = strategy.strategy.clone();
        let expected = [
            "the smallest spacing that never banned is 5.00 s (14 failing logins each).",
            "every 4.00 s: login 12 met a ban (authfail); it lasted 16.60 s to 17.10 s, and sshd had said 17.00 s; sshd's \
             arithmetic says login 12 to 13.",
            "every 5.00 s: none of 14 logins was refused; sshd's arithmetic says none is refused.",
            "every 1.00 s: login 2 was refused, and not by a ban (MaxStartups); sshd's arithmetic says login 2 to 3.",
            "with no pause: login 9 met a ban (authfail); it was not over after 16.60 s, and sshd had said 17.00 s (1 login already \
             under way failed as well, which made it longer); sshd's arithmetic says otherwise: login 5.",
            "every 2.00 s: login 6 was refused, and nothing in sshd's log says by what; sshd's arithmetic says login 6 to 7.",
            "every 3.00 s: 4 of 14 failed as they should, and the rest were not made, or ended otherwise; sshd's arithmetic says \
             none is refused.",
        ]
        .map(|sentence| format!("{name}: {sentence}"));
        assert_eq!(failing(&report), expected);
    }

    #[test]
    fn holders_and_the_ban_that_they_earned_are_told_and_a_ban_elsewhere_is_nobodys() {
        let mut report = plain();
        report.scenario.holders = 3;
        let totals = &mut report.strategies[0].totals;
        totals.holders = Some(Holders {
            asked: 6,
            admitted: 3,
            refused: 2,
            refused_by_ban: 2,
            failed: 1,
            ended_by_grace: 2,
            ended_early: 1,
            logged_in: 0,
        });
        totals.server.server_drops_by_cause = Some(DropCounts {
            penalties: [("grace-exceeded".to_owned(), 1)].into(),
            ..DropCounts::default()
        });
        let name = report.strategies[0].strategy.clone();
        assert_eq!(
            holders(&report),
            [format!(
                "{name}: 3 of 6 silent clients beside the tasks (3 in each round) were admitted and held a startup slot; 2 were \
                 refused; 2 of these by a ban that this run had earned; 1 got no answer or were not asked any \
                 more; 2 were ended by LoginGraceTime; 1 were ended by sshd before LoginGraceTime had passed."
            )]
        );
        let of_the_run = own_bans(&report);
        assert_eq!(
            of_the_run,
            [format!(
                "{name}: sshd refused 1 connection because it had banned the address (PerSourcePenalties, grace-exceeded); this \
                 run earned it itself, by 2 holders that LoginGraceTime ended."
            )]
        );
        report.target.kind = ServerKind::External;
        assert!(own_bans(&report)[0].contains("who earned it is not known"));
        let told = holders(&report);
        for words in [
            "; 2 of these by a ban; 1 got",
            "; 1 were ended by sshd (its LoginGraceTime is not known).",
        ] {
            assert!(told[0].contains(words), "{told:?}");
        }
    }
}
