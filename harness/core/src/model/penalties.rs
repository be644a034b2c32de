//! `PerSourcePenalties` (OpenSSH 9.8 and later): which of a source's connections is the first that its ban refuses.
//!
//! Owns the arithmetic of srclimit.c for one source and one kind of penalty, and what of it cannot be known from outside:
//! when exactly sshd counts a penalty, and where up to 10.2 its clock's seconds begin. It must not read a log.

use crate::release::Release;

/// From here on penalties are counted in fractions of seconds (srclimit.c, monotime_double); before that the clock is read in
/// whole seconds.
const FRACTIONS_SINCE: Release = Release::new(10, 3);

/// How much later than its client sees the end of it sshd may count a penalty: it does so when it has reaped the
/// connection's process (sshd.c:child_reap). Seconds.
const COUNTED_WITHIN: f64 = 0.05;

/// The penalties in force, seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PenaltyRule {
    /// For a connection that tried to log in and did not.
    pub authfail: f64,
    /// A source is refused once more than this is outstanding.
    pub min: f64,
    /// What is outstanding grows no further than this.
    pub max: f64,
    /// The clock is read in whole seconds.
    pub whole_seconds: bool,
}

impl PenaltyRule {
    /// From what `sshd -T` prints of `PerSourcePenalties`: `crash:90 authfail:5 …` (10.3 and later: `authfail:5.000000`).
    /// `None` where penalties are off or one of those needed is not printed.
    #[must_use]
    pub fn parse(in_force: &str, release: Release) -> Option<Self> {
        let seconds = |name: &str| -> Option<f64> {
            in_force
                .split_whitespace()
                .find_map(|word| word.strip_prefix(name)?.strip_prefix(':'))?
                .parse()
                .ok()
        };
        Some(PenaltyRule {
            authfail: seconds("authfail")?,
            min: seconds("min")?,
            max: seconds("max")?,
            whole_seconds: release < FRACTIONS_SINCE,
        })
    }

    /// sshd's defaults for a connection that leaves before it has tried to log in (`noauth`; servconf.c:fill_default_server_options).
    #[must_use]
    pub const fn of_silent_clients(release: Release) -> Self {
        PenaltyRule {
            authfail: 1.0,
            min: 15.0,
            max: 600.0,
            whole_seconds: release.major < FRACTIONS_SINCE.major
                || (release.major == FRACTIONS_SINCE.major
                    && release.minor < FRACTIONS_SINCE.minor),
        }
    }

    /// How long a source is refused after so many such connections that ended at about the same time, seconds; `None` where what
    /// is outstanding bans nobody.
    #[must_use]
    pub fn ban_of(&self, connections: u32) -> Option<f64> {
        let sum = f64::from(connections) * self.authfail;
        // The first one is not capped: `max` bounds what accumulates.
        let outstanding = match connections {
            0 | 1 => sum,
            _ => sum.min(self.max),
        };
        (outstanding > self.min).then_some(outstanding)
    }

    /// Of failures that ended at these instants, in order, how many sshd had counted when it announced a ban of so long:
    /// each adds `authfail`, and what is outstanding runs off as time passes. All in seconds.
    #[must_use]
    pub fn counted(&self, announced: f64, ended: &[f64]) -> usize {
        let Some(first) = ended.first() else { return 0 };
        let mut counted = 0;
        let mut nearest = f64::INFINITY;
        let mut added = 0.0;
        for (number, at) in (1..).zip(ended) {
            added += self.authfail;
            let off = (added - (at - first) - announced).abs();
            if off <= nearest {
                (counted, nearest) = (number, off);
            }
        }
        counted
    }
}

/// One connection: when it began, and when it ended for its client; seconds on any clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FailedLogin {
    /// sshd looks for a ban.
    pub began: f64,
    /// sshd counts the penalty, at once or a little later.
    pub ended: f64,
}

/// The number of the first connection that is refused, from 1; `None` where none is.
pub type FirstRefused = Option<u64>;

/// The first refused of some logins, as far as the arithmetic says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prediction {
    /// At the earliest.
    pub earliest: FirstRefused,
    /// At the latest.
    pub latest: FirstRefused,
}

/// Which of these logins, all of which fail, is the first that the ban refuses.
#[must_use]
pub fn first_refused(rule: &PenaltyRule, logins: &[FailedLogin]) -> Prediction {
    // What counts is the time between the first penalty and the later ones: the extremes are that only the first, or all but
    // the first, are counted late.
    let late = COUNTED_WITHIN;
    let delays = [(0.0, 0.0), (late, 0.0), (0.0, late), (late, late)];
    let mut all = Vec::new();
    for (first, others) in delays {
        let counted: Vec<FailedLogin> = logins
            .iter()
            .enumerate()
            .map(|(index, login)| FailedLogin {
                ended: login.ended + if index == 0 { first } else { others },
                ..*login
            })
            .collect();
        if rule.whole_seconds {
            all.extend(
                phases(&counted).map(|phase| simulate(rule, &counted, |at| (at + phase).floor())),
            );
        } else {
            all.push(simulate(rule, &counted, |at| at));
        }
    }
    let number = |refused: &FirstRefused| refused.unwrap_or(u64::MAX);
    Prediction {
        earliest: all.iter().copied().min_by_key(number).flatten(),
        latest: all.iter().copied().max_by_key(number).flatten(),
    }
}

/// Where the seconds of sshd's clock may begin, one for each way in which that cuts these instants apart.
fn phases(logins: &[FailedLogin]) -> impl Iterator<Item = f64> {
    let mut cuts: Vec<f64> = logins
        .iter()
        .flat_map(|login| [login.began, login.ended])
        .map(|at| 1.0 - at.rem_euclid(1.0))
        .chain([0.0, 1.0])
        .collect();
    cuts.sort_by(f64::total_cmp);
    (1..cuts.len())
        .map(move |index| (cuts[index - 1], cuts[index]))
        .filter(|(from, to)| to > from)
        .map(|(from, to)| f64::midpoint(from, to))
}

/// srclimit.c: srclimit_penalty_check_allow when a connection comes, srclimit_penalise when its process has ended, which may be
/// after the next one has come.
fn simulate(
    rule: &PenaltyRule,
    logins: &[FailedLogin],
    clock: impl Fn(f64) -> f64,
) -> FirstRefused {
    let mut expiry: Option<f64> = None;
    let mut active = false;
    let mut counted = logins.iter().map(|login| login.ended).peekable();
    for (number, login) in (1..).zip(logins) {
        while let Some(ended) = counted.next_if(|ended| *ended <= login.began) {
            let now = clock(ended);
            // What is over at this very instant is not over yet (expire_penalties).
            expiry = Some(match expiry.filter(|expiry| *expiry >= now) {
                None => {
                    active = rule.authfail > rule.min;
                    now + rule.authfail
                }
                Some(before) => {
                    let outstanding = (before + rule.authfail - now).min(rule.max);
                    active |= outstanding > rule.min;
                    now + outstanding
                }
            });
        }
        expiry = expiry.filter(|expiry| *expiry >= clock(login.began));
        if expiry.is_some() && active {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: PenaltyRule = PenaltyRule {
        authfail: 5.0,
        min: 15.0,
        max: 600.0,
        whole_seconds: false,
    };

    /// Logins of 55 ms, each begun so long after the one before, 60 ms at the least.
    fn every(spacing: f64) -> Vec<FailedLogin> {
        (0..60)
            .map(|index| {
                let began = f64::from(index) * spacing.max(0.06);
                FailedLogin {
                    began,
                    ended: began + 0.055,
                }
            })
            .collect()
    }

    /// Earliest and latest.
    fn predicted(rule: PenaltyRule, spacing: f64) -> (FirstRefused, FirstRefused) {
        let found = first_refused(&rule, &every(spacing));
        (found.earliest, found.latest)
    }

    #[test]
    fn what_a_ban_announces_says_how_many_failures_it_counts() {
        let ended = |spacing: f64, failures: u32| -> Vec<f64> {
            (0..failures)
                .map(|index| 0.1 + f64::from(index) * spacing)
                .collect()
        };
        for (announced, spacing, failures, counted) in [
            (20.0, 0.07, 4, 4),
            (19.9, 0.07, 5, 4),
            (17.0, 1.0, 4, 4),
            // By whole seconds.
            (16.0, 4.0, 11, 11),
            (15.07, 4.0, 11, 11),
            (20.0, 0.07, 0, 0),
        ] {
            let of = DEFAULT.counted(announced, &ended(spacing, failures));
            assert_eq!(of, counted, "{announced} s every {spacing} s");
        }
    }

    #[test]
    fn after_k_failures_so_far_apart_k_times_the_penalty_less_the_time_passed_is_outstanding() {
        // 5 k - g (k - 1) > 15, strictly; the next one is refused. Of 3 s and 4 s the sixth and the eleventh are at 15 s to
        // the instant, and what decides is when sshd counts them.
        for (spacing, earliest, latest) in [
            // Without a pause the next one is there before the last is counted.
            (0.0, Some(5), Some(6)),
            (1.0, Some(5), Some(5)),
            (2.0, Some(6), Some(6)),
            (3.0, Some(7), Some(8)),
            (4.0, Some(12), Some(13)),
            (4.5, Some(22), Some(23)),
            (5.1, None, None),
            (6.0, None, None),
        ] {
            assert_eq!(
                predicted(DEFAULT, spacing),
                (earliest, latest),
                "{spacing} s"
            );
        }
        // A ban would need what is never there: each penalty is gone when the next one comes.
        assert_eq!(predicted(DEFAULT, 5.0), (None, None));
    }

    #[test]
    fn clock_of_whole_seconds_may_count_one_gap_for_a_second_more_or_less() {
        let whole = PenaltyRule {
            whole_seconds: true,
            ..DEFAULT
        };
        // Four failures within a second or two are 20 s less nothing or 1 s.
        assert_eq!(predicted(whole, 0.0), (Some(5), Some(6)));
        // Where the gaps are whole seconds the clock sees them as they are, or all but one.
        let (earliest, latest) = predicted(whole, 2.0);
        assert!(
            earliest >= Some(5) && latest <= Some(6),
            "{earliest:?} {latest:?}"
        );
        assert_eq!(predicted(whole, 6.0), (None, None));
        // 4.5 s is 4 or 5 whole seconds in turn.
        let (earliest, latest) = predicted(whole, 4.5);
        assert!(earliest.is_some() && latest.is_some());
    }

    #[test]
    fn a_single_penalty_above_min_bans_at_once_and_none_does_more_than_max() {
        let day = PenaltyRule {
            authfail: 86_400.0,
            ..DEFAULT
        };
        assert_eq!(predicted(day, 60.0), (Some(2), Some(2)));
        // What is capped below `min` never bans.
        let capped = PenaltyRule {
            max: 15.0,
            ..DEFAULT
        };
        assert_eq!(predicted(capped, 0.0), (None, None));
    }

    #[test]
    fn silent_clients_are_banned_from_the_sixteenth_on_for_a_second_each_and_for_ten_minutes_at_most()
     {
        let rule = PenaltyRule::of_silent_clients(Release::new(10, 0));
        assert!(rule.whole_seconds);
        assert!(!PenaltyRule::of_silent_clients(Release::new(10, 6)).whole_seconds);
        for (connections, ban) in [
            (0, None),
            (15, None),
            (16, Some(16.0)),
            (100, Some(100.0)),
            (5_000, Some(600.0)),
        ] {
            assert_eq!(rule.ban_of(connections), ban, "{connections}");
        }
    }

    #[test]
    fn rule_is_read_from_what_sshd_prints_whole_or_fractional_and_off_is_no_rule() {
        let old = "crash:90 authfail:5 noauth:1 grace-exceeded:10 refuseconnection:10 max:600 min:15 max-sources4:65536";
        let rule = PenaltyRule::parse(old, Release::new(10, 2)).expect("on");
        assert_eq!(
            rule,
            PenaltyRule {
                whole_seconds: true,
                ..DEFAULT
            }
        );
        let new = "crash:90.000000 authfail:5.000000 noauth:1.000000 max:600.000000 min:15.000000";
        assert_eq!(PenaltyRule::parse(new, Release::new(10, 3)), Some(DEFAULT));
        assert_eq!(PenaltyRule::parse("no", Release::new(10, 3)), None);
    }
}
