//! When connections arrived, as far as a log shows it: what a scenario needs to repeat them.
//!
//! Owns which lines are an arrival, and the bound on how many are kept. A log shows one in one of three ways: `Connection from` (let
//! in; VERBOSE and above), `Accepted` (logged in; INFO), and a refusal with a line of its own. At one level the first includes the
//! second, so that the two are never added up; of a log whose level changed neither alone has all.

use std::time::Duration;

use crate::server_log::Moment;

/// Arrivals kept: as many as a scenario may have tasks.
pub const MOST_ARRIVALS: usize = 100_000;
/// Servers named in an error.
const MOST_NAMES: usize = 5;
/// A login comes after its connection by what it takes to log in. By more than this it was of a time without such lines,
/// microseconds.
const LOGIN: i64 = 300 * 1_000_000;
/// Lines of several processes may be written so much out of order, microseconds.
const DISORDER: i64 = 1_000_000;
/// Log clocks, the coarsest first, microseconds.
const STEPS: [i64; 2] = [1_000_000, 1000];

/// A part of a log's time. Both ends belong to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArrivalWindow {
    /// Its beginning; `None` is the log's.
    pub from: Option<Moment>,
    /// Its end; `None` is the log's.
    pub to: Option<Moment>,
}

impl ArrivalWindow {
    /// Stamps without a time zone are compared as they are written. An end to the second includes all of that second.
    fn contains(&self, micros: i64) -> bool {
        let end = |to: Moment| match to.micros.rem_euclid(1_000_000) {
            0 => to.micros.saturating_add(999_999),
            _ => to.micros,
        };
        self.from.is_none_or(|from| from.micros <= micros)
            && self.to.is_none_or(|to| micros <= end(to))
    }
}

/// What shows that a connection was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdmittedBy {
    /// `Connection from`: all of them.
    Connections,
    /// `Accepted`: those that logged in.
    Logins,
}

/// Connections that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrivals {
    /// When, microseconds after the beginning of the clock's step in which the first one came; in order.
    pub offsets: Vec<i64>,
    /// When the first one came.
    pub first: Moment,
    /// When the last one came.
    pub last: Moment,
    /// The step of the log's clock: 1 s, 1 ms, or 1 µs. The place of an arrival within it is not known.
    pub step: Duration,
    /// What shows those that were let in.
    pub admitted_by: AdmittedBy,
    /// Those that were let in.
    pub admitted: u64,
    /// Those that were refused and have a line of their own.
    pub refused: u64,
    /// Later ones, which were too many.
    pub left_out: u64,
    /// Those without a time stamp, which are not among them.
    pub unstamped: u64,
    /// Fewest and most startup slots in use at a refusal by `MaxStartups` or `PerSourceMaxStartups`.
    pub slots: Option<(u32, u32)>,
}

/// Why a log gives no arrivals.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoArrivals {
    /// There is no line of one.
    #[error(
        "no line in it shows a connection that was let in, logged in or refused{}",
        match .elsewhere {
            0 => String::new(),
            count => format!(" between --from and --to; outside there are {count} such lines"),
        }
    )]
    None {
        /// Lines outside of the window.
        elsewhere: u64,
    },
    /// Nobody stamped them.
    #[error("its lines have no time stamps, so it does not say when connections arrived")]
    NoStamps,
    /// They are of several servers.
    #[error(
        "it has the connections of several servers ({}), and a scenario is of one; read the lines of one server alone, such as with \
         `grep ' HOST ' LOG | sshchurn diagnose -`",
        .0.join(", ")
    )]
    SeveralServers(Vec<String>),
    /// Some stamps have a time zone and some have none.
    #[error(
        "some of its time stamps name a time zone and some do not, so their order is not known; read its files one by one"
    )]
    MixedZones,
    /// The window has a time zone and the log has none.
    #[error(
        "its time stamps name no time zone; write --from and --to without one, by the log's own clock"
    )]
    ZoneOfWindow,
    /// The log has time zones and the window has none.
    #[error("its time stamps name a time zone; write --from and --to with one, `…Z` or `…+02:00`")]
    WindowWithoutZone,
    /// One part of it shows connections, another logins.
    #[error(
        "the log shows connections in one part and only logins in another; choose one part with --from/--to"
    )]
    LevelChanged,
    /// Too many, and the first lines are not the earliest.
    #[error(
        "it has more arrivals than a scenario takes, and is not in the order of time, so the first of them are not known; read it in \
         order (`tac LOG | sshchurn diagnose -` where its newest line comes first), or narrow it with --from and --to"
    )]
    NotInOrder,
    /// More than a scenario can take.
    #[error(
        "they span {days} days, and a scenario takes at most 7; choose a part with --from and --to"
    )]
    TooLong {
        /// From the first to the last.
        days: i64,
    },
}

/// Longest recording, microseconds: a week.
const LONGEST: i64 = 7 * 24 * 3600 * 1_000_000;

/// Arrivals of one kind.
#[derive(Debug, Default)]
struct Kind {
    micros: Vec<i64>,
    more: u64,
    /// The earliest and the latest of all.
    range: Option<(i64, i64)>,
    /// The latest that was kept.
    last_kept: Option<i64>,
    /// One that was not kept came before that.
    disordered: bool,
    unstamped: u64,
}

impl Kind {
    fn add(&mut self, micros: i64, times: u64) {
        let room = MOST_ARRIVALS.saturating_sub(self.micros.len());
        let kept = usize::try_from(times).map_or(room, |times| times.min(room));
        self.micros.extend(std::iter::repeat_n(micros, kept));
        super::add(&mut self.more, times.saturating_sub(kept as u64));
        let (first, last) = self.range.unwrap_or((micros, micros));
        self.range = Some((first.min(micros), last.max(micros)));
        if kept > 0 {
            self.last_kept = self.last_kept.max(Some(micros));
        } else if let Some(last) = self.last_kept {
            self.disordered |= last.saturating_sub(micros) > DISORDER;
        }
    }

    /// Where it stops being complete.
    fn end(&self) -> i64 {
        match self.last_kept {
            Some(last) if self.more > 0 => last,
            _ => i64::MAX,
        }
    }

    /// Whether its connections, and these logins, are of different times.
    fn has_not_all_of(&self, logins: &Kind) -> bool {
        let (Some(connections), Some(logins)) = (self.range, logins.range) else {
            return false;
        };
        logins.0.saturating_add(LOGIN) < connections.0
            || connections.1.saturating_add(LOGIN) < logins.1
    }
}

/// Collects them while a log is read.
#[derive(Debug, Default)]
pub(super) struct ArrivalTable {
    window: ArrivalWindow,
    connections: Kind,
    logins: Kind,
    refusals: Kind,
    slots: Option<(u32, u32)>,
    origins: Vec<Option<String>>,
    zoned: u64,
    stamped: u64,
    elsewhere: u64,
}

/// What a line shows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Arrival {
    Connection,
    Login,
    /// With the slots in use, where they say something about `MaxStartups`.
    Refusal(Option<u32>),
}

impl ArrivalTable {
    pub(super) fn within(window: ArrivalWindow) -> Self {
        ArrivalTable {
            window,
            ..Self::default()
        }
    }

    pub(super) fn came(
        &mut self,
        arrival: Arrival,
        origin: Option<&str>,
        at: Option<Moment>,
        times: u64,
    ) {
        let Some(at) = at else {
            let kind = match arrival {
                Arrival::Connection => &mut self.connections,
                Arrival::Login => &mut self.logins,
                Arrival::Refusal(_) => &mut self.refusals,
            };
            super::add(&mut kind.unstamped, times);
            return;
        };
        self.stamped += 1;
        self.zoned += u64::from(at.zoned);
        if !self.window.contains(at.micros) {
            super::add(&mut self.elsewhere, times);
            return;
        }
        if self.origins.len() < MOST_NAMES && !self.origins.iter().any(|it| it.as_deref() == origin)
        {
            self.origins.push(origin.map(str::to_owned));
        }
        match arrival {
            Arrival::Connection => self.connections.add(at.micros, times),
            Arrival::Login => self.logins.add(at.micros, times),
            Arrival::Refusal(slots) => {
                self.refusals.add(at.micros, times);
                if let Some(slots) = slots {
                    let (least, most) = self.slots.unwrap_or((slots, slots));
                    self.slots = Some((least.min(slots), most.max(slots)));
                }
            }
        }
    }

    pub(super) fn finish(self) -> Result<Arrivals, NoArrivals> {
        if self.zoned != 0 && self.zoned != self.stamped {
            return Err(NoArrivals::MixedZones);
        }
        let zoned = self.zoned != 0;
        let names_zone = |moment: Option<Moment>| moment.is_some_and(|moment| moment.zoned);
        if !zoned
            && self.stamped > 0
            && (names_zone(self.window.from) || names_zone(self.window.to))
        {
            return Err(NoArrivals::ZoneOfWindow);
        }
        let names_none = |moment: Option<Moment>| moment.is_some_and(|moment| !moment.zoned);
        if zoned && (names_none(self.window.from) || names_none(self.window.to)) {
            return Err(NoArrivals::WindowWithoutZone);
        }
        let level_changed = self.connections.has_not_all_of(&self.logins);
        // A login has a line of its connection too, where the level has those.
        let unstamped = (self.connections.unstamped)
            .max(self.logins.unstamped)
            .saturating_add(self.refusals.unstamped);
        let (admitted_by, admitted) = if self.connections.micros.is_empty() {
            (AdmittedBy::Logins, self.logins)
        } else {
            (AdmittedBy::Connections, self.connections)
        };
        let refused = self.refusals;
        // Up to where both kinds are complete.
        let end = admitted.end().min(refused.end());
        let mut all: Vec<(i64, bool)> = (admitted.micros.iter().map(|at| (*at, true)))
            .chain(refused.micros.iter().map(|at| (*at, false)))
            .collect();
        all.sort_unstable();
        let kept = all.partition_point(|(at, _)| *at <= end).min(MOST_ARRIVALS);
        let left_out = (all.len() - kept) as u64;
        let left_out = left_out
            .saturating_add(admitted.more)
            .saturating_add(refused.more);
        all.truncate(kept);
        let (Some((first, _)), Some((last, _))) = (all.first().copied(), all.last().copied())
        else {
            return Err(if self.stamped == 0 && unstamped > 0 {
                NoArrivals::NoStamps
            } else {
                NoArrivals::None {
                    elsewhere: self.elsewhere,
                }
            });
        };
        if self.origins.len() > 1 {
            let name =
                |origin: Option<String>| origin.unwrap_or_else(|| "one without a name".into());
            return Err(NoArrivals::SeveralServers(
                self.origins.into_iter().map(name).collect(),
            ));
        }
        if level_changed {
            return Err(NoArrivals::LevelChanged);
        }
        if admitted.disordered || refused.disordered {
            return Err(NoArrivals::NotInOrder);
        }
        if last.saturating_sub(first) > LONGEST {
            return Err(NoArrivals::TooLong {
                days: last.saturating_sub(first) / (24 * 3600 * 1_000_000),
            });
        }
        let step = STEPS
            .into_iter()
            .find(|step| all.iter().all(|(at, _)| at.rem_euclid(*step) == 0))
            .unwrap_or(1);
        let admitted = all.iter().filter(|(_, admitted)| *admitted).count() as u64;
        let moment = |micros| Moment { micros, zoned };
        Ok(Arrivals {
            offsets: all.iter().map(|(at, _)| at - first).collect(),
            first: moment(first),
            last: moment(last),
            step: Duration::from_micros(step.unsigned_abs()),
            admitted_by,
            admitted,
            refused: kept as u64 - admitted,
            left_out,
            unstamped,
            slots: self.slots,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn at(micros: i64) -> Option<Moment> {
        Some(Moment {
            micros,
            zoned: false,
        })
    }

    fn collected(window: ArrivalWindow, lines: &[(Arrival, i64)]) -> Result<Arrivals, NoArrivals> {
        let mut table = ArrivalTable::within(window);
        for (arrival, micros) in lines {
            table.came(*arrival, Some("host"), at(*micros), 1);
        }
        table.finish()
    }

    #[test]
    fn logins_stand_for_arrivals_only_where_no_line_shows_who_was_let_in() {
        let lines = [
            (Arrival::Connection, 5 * SECOND),
            (Arrival::Login, 5 * SECOND),
            (Arrival::Refusal(Some(10)), 7 * SECOND),
            (Arrival::Refusal(Some(12)), 6 * SECOND),
        ];
        let verbose = collected(ArrivalWindow::default(), &lines).expect("arrivals");
        assert_eq!(verbose.offsets, [0, SECOND, 2 * SECOND]);
        assert_eq!((verbose.admitted, verbose.refused), (1, 2));
        assert_eq!(verbose.admitted_by, AdmittedBy::Connections);
        assert_eq!(verbose.slots, Some((10, 12)));
        assert_eq!(verbose.step, Duration::from_secs(1));
        let info = collected(ArrivalWindow::default(), &lines[1..]).expect("arrivals");
        assert_eq!(info.offsets, verbose.offsets);
        assert_eq!(info.admitted_by, AdmittedBy::Logins);
    }

    #[test]
    fn step_is_the_finest_that_a_stamp_shows() {
        for (micros, step) in [
            (2 * SECOND, Duration::from_secs(1)),
            (2 * SECOND + 7000, Duration::from_millis(1)),
            (2 * SECOND + 7001, Duration::from_micros(1)),
        ] {
            let lines = [(Arrival::Login, SECOND), (Arrival::Login, micros)];
            let arrivals = collected(ArrivalWindow::default(), &lines).expect("arrivals");
            assert_eq!(arrivals.step, step);
        }
    }

    #[test]
    fn window_includes_both_ends_and_the_whole_of_its_last_second() {
        let lines: Vec<(Arrival, i64)> = (0..10)
            .map(|half| (Arrival::Login, half * SECOND / 2))
            .collect();
        let window = ArrivalWindow {
            from: at(SECOND),
            to: at(2 * SECOND),
        };
        let arrivals = collected(window, &lines).expect("arrivals");
        assert_eq!(arrivals.offsets, [0, 500_000, 1_000_000, 1_500_000]);
        let window = ArrivalWindow {
            from: at(100 * SECOND),
            to: None,
        };
        assert_eq!(
            collected(window, &lines),
            Err(NoArrivals::None { elsewhere: 10 })
        );
    }

    #[test]
    fn what_is_beyond_the_bound_is_cut_where_both_kinds_are_complete() {
        let mut table = ArrivalTable::default();
        for second in 0..60_000 {
            table.came(Arrival::Refusal(None), None, at(second * SECOND), 2);
            table.came(Arrival::Connection, None, at(second * SECOND), 1);
        }
        let arrivals = table.finish().expect("arrivals");
        assert_eq!(arrivals.offsets.len(), MOST_ARRIVALS);
        assert_eq!(arrivals.left_out, 180_000 - MOST_ARRIVALS as u64);
        // Two refusals and one connection a second, to the end.
        assert_eq!(arrivals.last.micros, 33_333 * SECOND);
        let mut table = ArrivalTable::default();
        table.came(Arrival::Refusal(None), None, at(5 * SECOND), u64::MAX);
        table.came(Arrival::Login, None, at(6 * SECOND), 1);
        let arrivals = table.finish().expect("arrivals");
        assert_eq!((arrivals.admitted, arrivals.last.micros), (0, 5 * SECOND));
    }

    #[test]
    fn what_would_make_a_wrong_scenario_is_an_error() {
        let mut table = ArrivalTable::default();
        table.came(Arrival::Login, Some("a"), at(0), 1);
        table.came(Arrival::Login, Some("b"), at(0), 1);
        let hosts = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(table.finish(), Err(NoArrivals::SeveralServers(hosts)));
        let mut table = ArrivalTable::default();
        table.came(Arrival::Login, None, None, 1);
        assert_eq!(table.finish(), Err(NoArrivals::NoStamps));
        let zoned = Some(Moment {
            micros: 0,
            zoned: true,
        });
        let mut table = ArrivalTable::default();
        table.came(Arrival::Login, None, at(0), 1);
        table.came(Arrival::Login, None, zoned, 1);
        assert_eq!(table.finish(), Err(NoArrivals::MixedZones));
        let window = ArrivalWindow {
            from: zoned,
            to: None,
        };
        let login = [(Arrival::Login, 0)];
        assert_eq!(collected(window, &login), Err(NoArrivals::ZoneOfWindow));
        for window in [
            ArrivalWindow {
                from: at(0),
                to: None,
            },
            ArrivalWindow {
                from: zoned,
                to: at(0),
            },
        ] {
            let mut table = ArrivalTable::within(window);
            table.came(Arrival::Login, None, zoned, 1);
            assert_eq!(table.finish(), Err(NoArrivals::WindowWithoutZone));
        }
        let week = [
            (Arrival::Login, 0),
            (Arrival::Login, 8 * 24 * 3600 * SECOND),
        ];
        assert_eq!(
            collected(ArrivalWindow::default(), &week),
            Err(NoArrivals::TooLong { days: 8 })
        );
    }

    #[test]
    fn logins_of_a_time_that_has_no_connections_are_not_lost() {
        let all = ArrivalWindow::default();
        let connection = |second: i64| (Arrival::Connection, second * SECOND);
        let login = |second: i64| (Arrival::Login, second * SECOND);
        for lines in [
            [login(0), connection(1000), login(1001)],
            [connection(0), login(1), login(1000)],
        ] {
            assert_eq!(collected(all, &lines), Err(NoArrivals::LevelChanged));
        }
        // One of a connection from before the log, and one that took long.
        let lines = [login(0), connection(200), login(500)];
        let arrivals = collected(all, &lines).expect("arrivals");
        assert_eq!((arrivals.admitted, arrivals.offsets), (1, vec![0]));
        let late = ArrivalWindow {
            from: at(900 * SECOND),
            to: None,
        };
        let lines = [login(0), connection(1000), login(1001)];
        let arrivals = collected(late, &lines).expect("arrivals");
        assert_eq!(arrivals.admitted_by, AdmittedBy::Connections);
    }

    /// Logins at these times.
    fn logins(order: impl Iterator<Item = i64>) -> ArrivalTable {
        let mut table = ArrivalTable::default();
        for micros in order {
            table.came(Arrival::Login, None, at(micros), 1);
        }
        table
    }

    #[test]
    fn too_many_with_the_newest_first_are_not_cut_at_the_wrong_end() {
        let begin = 10 * SECOND;
        let full = begin..begin + i64::try_from(MOST_ARRIVALS).expect("small");
        let mut table = logins(full.clone());
        table.came(Arrival::Login, None, at(0), 1);
        assert_eq!(table.finish(), Err(NoArrivals::NotInOrder));
        // Within the disorder of several processes.
        let mut table = logins(full.clone().rev());
        table.came(Arrival::Login, None, at(begin - 1), 1);
        assert_eq!(table.finish().map(|it| it.left_out), Ok(1));
        // As many as there is room for may come in any order.
        let arrivals = logins(full.rev()).finish();
        assert_eq!(arrivals.map(|it| it.left_out), Ok(0));
    }

    #[test]
    fn arrivals_without_a_stamp_are_counted() {
        let mut table = ArrivalTable::default();
        table.came(Arrival::Connection, None, at(0), 1);
        table.came(Arrival::Connection, None, None, 3);
        table.came(Arrival::Login, None, None, 2);
        table.came(Arrival::Refusal(None), None, None, 4);
        let arrivals = table.finish().expect("arrivals");
        assert_eq!((arrivals.offsets.len(), arrivals.unstamped), (1, 7));
        // Where others have one, but none is in the window, stamps are not what is missing.
        let mut table = ArrivalTable::within(ArrivalWindow {
            from: at(SECOND),
            to: None,
        });
        table.came(Arrival::Login, None, at(0), 1);
        table.came(Arrival::Login, None, None, 1);
        assert_eq!(table.finish(), Err(NoArrivals::None { elsewhere: 1 }));
    }
}
