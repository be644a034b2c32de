//! The plan: what to try next, given every answer so far, and when there is nothing left to learn within the bounds.
//!
//! A climb holds what it is given and tries again, so that every number of held connections is asked about; after a refusal it just
//! tries again, which costs the server nothing and earns no penalty. Later climbs go where the intervals are wide: they stay for a
//! while at a number where `start` may be, giving one connection back for each that is admitted, and they go no further than pays.

use std::collections::BTreeMap;

use super::fit::{CurveFit, Finding, fit};
use super::{Answers, Estimate};
use crate::analysis::admission::Trials;
use crate::model::drop_probability_percent;
use crate::quantity::number;

/// What a probe may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Connections begun.
    pub connections: u32,
    /// Connections held at a time.
    pub held: u32,
    /// What is held can be given back at no cost, so that a climb can be repeated. Without a key it cannot.
    pub repeats: bool,
    /// There is a second address to try from.
    pub elsewhere: bool,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Begin a connection, and hold it if it is admitted.
    Try,
    /// Begin one from another source address, and let it go again.
    TryElsewhere,
    /// Give the oldest held connection back.
    Release,
    /// Give all of them back: the climb is over.
    LetGo,
    /// Nothing is held, and nothing more is to be tried.
    Over,
}

/// Why the probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All intervals are as narrow as wanted.
    Told,
    /// Nothing was held and everything was refused, from the beginning or after a climb.
    RefusedIdle,
    /// As many connections were held as may be, and none was refused.
    MostHeld,
    /// As many connections were begun as may be.
    Connections,
    /// Without a key there is one climb.
    OneClimb,
    /// Climbs were cut short time and again, or there were too many of them.
    CutShort,
    /// The time was up.
    Time,
    /// Somebody stopped it.
    Interrupted,
    /// A connection came to nothing that the rule knows.
    Failed,
}

/// How a climb ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClimbEnd {
    /// Everything was refused.
    Shut,
    /// It had gone as far as it should.
    FarEnough,
    /// As many were held as may be.
    MostHeld,
    /// A bound was met, or somebody stopped it.
    Stopped,
    /// The server ended a held connection.
    Lost,
    /// A connection came to nothing that the rule knows.
    Failed,
}

/// One climb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Climb {
    /// Decisions by number held.
    pub answers: Answers,
    /// The most that were held.
    pub most_held: u32,
    /// How it ended.
    pub end: ClimbEnd,
    /// It says nothing of `MaxStartups`: nothing was held and everything was refused, or that came right after it.
    pub discarded: bool,
}

/// Refusals in a row that say that everything is refused, at the least: an even chance of being admitted would show with a
/// probability of 1 - 2^-30.
const SHUT: u64 = 30;
/// The same where nothing was ever admitted beyond: over two climbs they leave no rate but 99 and 100, over one as well.
const SHUT_HARD: u64 = 100;
/// Tries at one number of connections, at the most.
const MOST_TRIES: u64 = 3_000;
/// Tries from the other address; where the rule draws, one in ten would be admitted at least.
const ELSEWHERE: u32 = 20;
/// Admissions that one stay at one number is given.
const MOST_STAYS: u32 = 60;
/// Climbs.
const MOST_CLIMBS: usize = 60;
/// Climbs that lost a connection, after which it is no accident.
const MOST_LOST: usize = 3;
/// Chance of being admitted below which a climb for the rate's sake goes no further: many tries for little.
const PAYS: u32 = 90;

/// A stay at one number of connections.
#[derive(Debug, Clone, Copy)]
struct Stay {
    level: u32,
    left: u32,
}

/// The probe's mind.
#[derive(Debug, Clone)]
pub struct Prober {
    bounds: Bounds,
    climbs: Vec<Climb>,
    /// Of climbs that are over and count.
    known: Answers,
    /// Of the climb under way.
    answers: Answers,
    held: u32,
    most_held: u32,
    /// Refusals since the last admission or release.
    row: u64,
    begun: u32,
    stay: Option<Stay>,
    ceiling: Option<u32>,
    elsewhere: Option<(u32, Trials)>,
    ending: Option<ClimbEnd>,
    end: Option<End>,
}

impl Prober {
    /// Nothing is known.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Prober {
            bounds,
            climbs: Vec::new(),
            known: BTreeMap::new(),
            answers: BTreeMap::new(),
            held: 0,
            most_held: 0,
            row: 0,
            begun: 0,
            stay: None,
            ceiling: None,
            elsewhere: None,
            ending: None,
            end: None,
        }
    }

    /// What to do now. The same until it is told that it was done.
    #[must_use]
    pub fn step(&mut self) -> Step {
        if self.ending.is_none() {
            self.ending = self.climb_ends();
        }
        if self.ending.is_some() {
            return match self.end.is_some() && self.held == 0 && self.answers.is_empty() {
                true => Step::Over,
                false => Step::LetGo,
            };
        }
        match self.stay {
            Some(Stay { level, left }) if self.held == level + 1 && left > 0 => Step::Release,
            _ if self.asks_elsewhere() => Step::TryElsewhere,
            _ => Step::Try,
        }
    }

    /// The connection was admitted, and is held.
    pub fn admitted(&mut self) {
        self.answer(false);
        self.held += 1;
        self.most_held = self.most_held.max(self.held);
        self.row = 0;
    }

    /// The connection was refused, in the way in which this server refuses.
    pub fn refused(&mut self) {
        self.answer(true);
        self.row += 1;
    }

    /// The connection from the other address was decided; if it was admitted it is gone again.
    pub fn elsewhere(&mut self, admitted: bool) {
        self.begun += 1;
        let (_, trials) = self.elsewhere.get_or_insert((self.held, Trials::default()));
        trials.trials += 1;
        trials.refused += u64::from(!admitted);
    }

    /// The oldest held connection was given back, be it for the plan or because its time was near.
    pub fn released(&mut self) {
        self.held = self.held.saturating_sub(1);
        self.row = 0;
        if let Some(stay) = self.stay.as_mut().filter(|stay| stay.level == self.held) {
            stay.left = stay.left.saturating_sub(1);
        }
    }

    /// The server ended a held connection: from now on the number of slots would be a guess.
    pub fn lost(&mut self) {
        self.ending = Some(ClimbEnd::Lost);
    }

    /// A connection was begun and nobody knows what to make of its end.
    pub fn unanswered(&mut self) {
        self.begun += 1;
    }

    /// A connection was begun and came to nothing that the rule knows.
    pub fn failed(&mut self) {
        self.begun += 1;
        self.ending = Some(ClimbEnd::Failed);
        self.end = Some(End::Failed);
    }

    /// No further connection is to be begun.
    pub fn stop(&mut self, end: End) {
        if self.end.is_none() {
            self.end = Some(end);
            self.ending.get_or_insert(ClimbEnd::Stopped);
        }
    }

    /// All that were held are gone.
    pub fn let_go(&mut self) {
        let end = self.ending.take().unwrap_or(ClimbEnd::Stopped);
        self.held = 0;
        self.row = 0;
        let answers = std::mem::take(&mut self.answers);
        if !answers.is_empty() {
            let refused_idle = end == ClimbEnd::Shut && self.most_held == 0;
            // What refuses an idle client now may have refused the last climb's end too.
            if let Some(before) = self.climbs.last_mut().filter(|_| refused_idle) {
                before.discarded = true;
            }
            self.climbs.push(Climb {
                answers,
                most_held: self.most_held,
                end,
                // The first one is all there is to show.
                discarded: refused_idle && !self.climbs.is_empty(),
            });
        }
        self.most_held = 0;
        self.known = self.sum_of_counted();
        if self.end.is_none() {
            self.plan(end);
        }
        if self.end.is_some() {
            self.ending = Some(end);
        }
    }

    /// Why it ended; `None` while it goes on.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Connections begun.
    #[must_use]
    pub fn begun(&self) -> u32 {
        self.begun
    }

    /// Connections held now.
    #[must_use]
    pub fn held(&self) -> u32 {
        self.held
    }

    /// The climbs that are over.
    #[must_use]
    pub fn climbs(&self) -> &[Climb] {
        &self.climbs
    }

    /// What came of trying from another address, where everything was refused from ours: number held, and decisions.
    #[must_use]
    pub fn from_elsewhere(&self) -> Option<(u32, Trials)> {
        self.elsewhere
    }

    /// What the climbs that are over and count have answered.
    #[must_use]
    pub fn counted_answers(&self) -> &Answers {
        &self.known
    }

    /// What they say.
    #[must_use]
    pub fn finding(&self) -> Finding {
        fit(&self.known)
    }

    fn answer(&mut self, refused: bool) {
        self.begun += 1;
        let seen = self.answers.entry(self.held).or_default();
        seen.trials += 1;
        seen.refused += u64::from(refused);
    }

    fn sum_of_counted(&self) -> Answers {
        let mut all: Answers = BTreeMap::new();
        for climb in self.climbs.iter().filter(|climb| !climb.discarded) {
            for (level, seen) in &climb.answers {
                let entry = all.entry(*level).or_default();
                entry.trials += seen.trials;
                entry.refused += seen.refused;
            }
        }
        all
    }

    /// Whether the climb under way is to end, and how.
    fn climb_ends(&mut self) -> Option<ClimbEnd> {
        if self.begun >= self.bounds.connections {
            self.end = Some(End::Connections);
            return Some(ClimbEnd::Stopped);
        }
        let staying = self
            .stay
            .is_some_and(|stay| self.held == stay.level + 1 && stay.left > 0);
        if staying {
            return None;
        }
        if self.held >= self.bounds.held {
            return Some(ClimbEnd::MostHeld);
        }
        if self.ceiling.is_some_and(|ceiling| self.held >= ceiling) {
            return Some(ClimbEnd::FarEnough);
        }
        let shut = self.row >= SHUT && self.row >= self.shut_after();
        (shut && !self.asks_elsewhere()).then_some(ClimbEnd::Shut)
    }

    /// Once, where everything is refused from here: until one is admitted, or so many were refused.
    fn asks_elsewhere(&self) -> bool {
        let open = match &self.elsewhere {
            None => true,
            Some((held, seen)) => {
                *held == self.held
                    && seen.trials == seen.refused
                    && seen.trials < u64::from(ELSEWHERE)
            }
        };
        self.bounds.elsewhere
            && open
            && self.held > 0
            && self.row >= SHUT
            && self.row >= self.shut_after()
    }

    /// Refusals in a row after which two more connections before everything is refused would be a surprise: an event of 5 % and
    /// less, by the slope that was seen below.
    fn shut_after(&self) -> u64 {
        if self.held == 0 {
            return SHUT;
        }
        let all = || {
            let climbing = self.answers.iter();
            self.known.iter().chain(climbing)
        };
        let first = all().filter(|(_, seen)| seen.refused > 0);
        let first = first.map(|(level, _)| *level).min().unwrap_or(self.held);
        let full = f64::from(self.held + 2);
        let span = full - f64::from(first.min(self.held));
        let (mut admitted, mut weight) = (0.0, 0.0);
        for (level, seen) in all().filter(|(level, _)| **level >= first && **level < self.held) {
            admitted += number(seen.trials - seen.refused);
            weight += number(seen.trials) * (full - f64::from(*level)) / span;
        }
        // Admitted here by an earlier climb: it is on the curve.
        if weight <= 0.0 {
            return match self.bounds.repeats {
                true => SHUT_HARD,
                false => 2 * SHUT_HARD,
            };
        }
        let at_start = ((admitted + 0.5) / weight).clamp(0.01, 0.99);
        let open = at_start * 2.0 / span;
        // A slope of few admissions is a guess.
        let tries = 3.2 / open * (1.0 + 3.0 / (admitted + 1.0));
        let most = f64::from(u32::try_from(MOST_TRIES).unwrap_or(u32::MAX));
        let mut after = SHUT;
        while number(after) < tries.min(most) {
            after += 1;
        }
        after
    }

    /// After a climb: is it told, or what is the next one for?
    fn plan(&mut self, end: ClimbEnd) {
        self.stay = None;
        self.ceiling = None;
        let lost = self
            .climbs
            .iter()
            .filter(|climb| climb.end == ClimbEnd::Lost);
        let cut_short = lost.count() >= MOST_LOST || self.climbs.len() >= MOST_CLIMBS;
        let finding = self.finding();
        let refused_idle = self
            .climbs
            .last()
            .is_some_and(|climb| climb.end == ClimbEnd::Shut && climb.most_held == 0);
        self.end = match (end, finding) {
            _ if refused_idle => Some(End::RefusedIdle),
            (_, Finding::Curve(curve)) if is_told(&curve) => Some(End::Told),
            (_, Finding::HardLimit(limit)) if limit.refused >= 2 * SHUT_HARD => Some(End::Told),
            (ClimbEnd::MostHeld, Finding::NoLimit { .. }) => Some(End::MostHeld),
            // `full` lies beyond what may be held.
            (ClimbEnd::MostHeld, Finding::Curve(curve)) if but_for_full(&curve) => {
                Some(End::MostHeld)
            }
            (ClimbEnd::Failed, _) => Some(End::Failed),
            _ if !self.bounds.repeats => Some(End::OneClimb),
            _ if cut_short => Some(End::CutShort),
            (_, Finding::Curve(curve)) => {
                self.plan_for(&curve);
                None
            }
            (
                _,
                Finding::HardLimit(_)
                | Finding::NoLimit { .. }
                | Finding::Nothing
                | Finding::RefusedIdle { .. },
            ) => None,
        };
    }

    fn plan_for(&mut self, curve: &CurveFit) {
        let Estimate { low, high, .. } = curve.start;
        let high = high.unwrap_or(low);
        if high - low > START_WITHIN {
            let admitted = 1.0 - f64::from(curve.rate.value) / 100.0;
            let mut left = 3;
            let mut chance = 1.0;
            // Until admissions alone would speak against a `start` there.
            while chance > 0.05 && left < MOST_STAYS {
                chance *= admitted;
                left += 1;
            }
            let level = u32::midpoint(low, high - 1);
            self.stay = Some(Stay { level, left });
        }
        if let Some(cap) = curve.cap {
            // It is known, and each climb up against it costs tries.
            self.ceiling = Some(cap.at);
            return;
        }
        if !is_narrow(&curve.full, full_within(curve)) {
            return;
        }
        let setting = curve.setting();
        let pays = (setting.start..setting.full)
            .find(|level| drop_probability_percent(*level, setting) >= PAYS)
            .unwrap_or(setting.full);
        self.ceiling = Some(match is_narrow(&curve.rate, RATE_WITHIN) {
            true => high + 2,
            false => pays.max(high + 2),
        });
    }
}

/// How wide an interval may be at last.
const START_WITHIN: u32 = 1;
const RATE_WITHIN: u32 = 12;

/// Two, or a fortieth of a large one.
fn full_within(curve: &CurveFit) -> u32 {
    (curve.full.value / 40).max(2)
}

fn is_narrow(estimate: &Estimate, within: u32) -> bool {
    estimate.width().is_some_and(|width| width <= within)
}

fn is_told(curve: &CurveFit) -> bool {
    // What lies beyond a cap cannot be seen, however often one climbs.
    let full = curve.cap.is_some() || is_narrow(&curve.full, full_within(curve));
    full && but_for_full(curve)
}

fn but_for_full(curve: &CurveFit) -> bool {
    is_narrow(&curve.start, START_WITHIN) && is_narrow(&curve.rate, RATE_WITHIN)
}
