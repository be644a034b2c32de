//! A round on one axis of time: attempts by outcome, tasks by phase, startup slots, in bins of equal width.
//!
//! Owns the binning, in memory that does not grow with the round: when a round outgrows its bins, they are doubled in
//! width. Columns rather than rows: the same numbers in a tenth of the JSON.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::instant::RunInstant;
use crate::join::{Seen, SshdView};
use crate::quantity::nanoseconds;
use crate::vocabulary::{AttemptOutcome, Phase};

/// Most bins of a round.
pub const MAX_BINS: usize = 256;
/// Narrowest bin; wider ones are this times a power of two.
pub const NARROWEST_BIN: Duration = Duration::from_millis(10);

/// A round's course. Every column has one value for each bin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeLine {
    /// Start of the first bin, nanoseconds since the start of the run: the start of the round.
    pub from_ns: u64,
    /// Width of a bin, nanoseconds.
    pub bin_ns: u64,
    /// Attempts begun in the bin.
    pub attempts: Vec<u32>,
    /// Attempts that ended authenticated in the bin.
    pub handshakes: Vec<u32>,
    /// Refusals in the bin.
    pub banner_eof: Vec<u32>,
    /// Attempts that ended in any other way in the bin.
    pub other_outcomes: Vec<u32>,
    /// Most tasks at once in their submit phase.
    pub submitting: Vec<u32>,
    /// Most tasks at once in their poll phase.
    pub polling: Vec<u32>,
    /// Most tasks at once in their cleanup phase.
    pub cleaning: Vec<u32>,
    /// Most startup slots in use, from the listener's gauge; `null` without one.
    pub slots: Option<Vec<u32>>,
}

impl TimeLine {
    /// Number of bins.
    #[must_use]
    pub fn bins(&self) -> usize {
        self.attempts.len()
    }
}

/// What became of one task, in one word.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TaskEnd {
    /// Exit code read, and 0; a task that only holds its connection: admitted.
    Succeeded,
    /// No connection for detect or submit within the retry budget.
    SubmitConnect,
    /// A detect or submit command failed.
    SubmitCommand,
    /// Monitoring ended in an error.
    Monitor,
    /// The job ended with another exit code than 0.
    JobExit,
    /// Killed on purpose.
    Killed,
    /// The client under test failed.
    Client,
    /// The run was stopped while it was under way.
    Interrupted,
    /// The run was stopped before it began.
    NotStarted,
    /// The ledger breaks off before its end.
    Unknown,
}

/// Counts of things that happen in a bin.
#[derive(Clone, Copy)]
enum Count {
    Attempts,
    Handshakes,
    BannerEof,
    Other,
}

/// Builds a [`TimeLine`] from events in the order of time.
#[derive(Debug, Clone)]
pub(crate) struct TimeLineBuilder {
    from: RunInstant,
    width_ns: u64,
    /// Indexed like [`Count`].
    counts: [Vec<u32>; 4],
    /// The three phases, then slots.
    levels: [Level; 4],
    gauge_seen: bool,
}

/// Something that has a value at every instant; a bin keeps its largest.
#[derive(Debug, Clone, Default)]
struct Level {
    now: u32,
    peaks: Vec<u32>,
}

const SLOTS: usize = 3;

impl TimeLineBuilder {
    pub(crate) fn new(from: RunInstant) -> Self {
        TimeLineBuilder {
            from,
            width_ns: nanoseconds(NARROWEST_BIN),
            counts: Default::default(),
            levels: Default::default(),
            gauge_seen: false,
        }
    }

    pub(crate) fn attempt_started(&mut self, at: RunInstant) {
        self.count(at, Count::Attempts);
    }

    pub(crate) fn attempt_ended(&mut self, at: RunInstant, outcome: &AttemptOutcome) {
        self.count(
            at,
            match outcome {
                AttemptOutcome::Handshake => Count::Handshakes,
                AttemptOutcome::BannerEof { .. } => Count::BannerEof,
                _ => Count::Other,
            },
        );
    }

    /// A connection that sshd's lines tell of, whole, and in any order.
    pub(crate) fn connection(&mut self, view: &SshdView) {
        self.count(view.read_at, Count::Attempts);
        let (at, what) = match (view.seen, view.accepted_at) {
            (Seen::Dropped, _) => (view.read_at, Count::BannerEof),
            (_, Some(at)) => (at, Count::Handshakes),
            (_, None) => (view.read_at, Count::Other),
        };
        self.count(at, what);
    }

    pub(crate) fn phase_started(&mut self, at: RunInstant, phase: Phase) {
        let now = self.levels[phase as usize].now.saturating_add(1);
        self.level(at, phase as usize, now);
    }

    pub(crate) fn phase_ended(&mut self, at: RunInstant, phase: Phase) {
        let now = self.levels[phase as usize].now.saturating_sub(1);
        self.level(at, phase as usize, now);
    }

    pub(crate) fn slots(&mut self, at: RunInstant, slots: u32) {
        self.gauge_seen = true;
        self.level(at, SLOTS, slots);
    }

    /// The line up to `until`.
    pub(crate) fn finish(mut self, until: RunInstant) -> TimeLine {
        self.bin(until);
        let [attempts, handshakes, banner_eof, other_outcomes] = self.counts;
        let [submitting, polling, cleaning, slots] = self.levels.map(|level| level.peaks);
        TimeLine {
            from_ns: self.from.0,
            bin_ns: self.width_ns,
            attempts,
            handshakes,
            banner_eof,
            other_outcomes,
            submitting,
            polling,
            cleaning,
            slots: self.gauge_seen.then_some(slots),
        }
    }

    fn count(&mut self, at: RunInstant, what: Count) {
        let bin = self.bin(at);
        self.counts[what as usize][bin] += 1;
    }

    fn level(&mut self, at: RunInstant, which: usize, now: u32) {
        let bin = self.bin(at);
        let level = &mut self.levels[which];
        level.now = now;
        level.peaks[bin] = level.peaks[bin].max(now);
    }

    /// The bin of an instant; columns reach at least that far afterwards.
    fn bin(&mut self, at: RunInstant) -> usize {
        let after = nanoseconds(at.since(self.from));
        while after / self.width_ns >= MAX_BINS as u64 {
            self.halve();
        }
        let bin = usize::try_from(after / self.width_ns).unwrap_or(MAX_BINS - 1);
        let wanted = (bin + 1).max(self.counts[0].len());
        for column in &mut self.counts {
            column.resize(wanted, 0);
        }
        for level in &mut self.levels {
            // Nothing happened in between: the level stayed what it was.
            level.peaks.resize(wanted, level.now);
        }
        bin
    }

    /// Half as many bins of twice the width.
    fn halve(&mut self) {
        self.width_ns *= 2;
        for column in &mut self.counts {
            *column = column.chunks(2).map(|pair| pair.iter().sum()).collect();
        }
        for level in &mut self.levels {
            level.peaks = level
                .peaks
                .chunks(2)
                .map(|pair| pair.iter().copied().max().unwrap_or(0))
                .collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> RunInstant {
        RunInstant(ms * 1_000_000)
    }

    #[test]
    fn levels_last_until_they_change_and_a_bin_keeps_its_peak() {
        let mut line = TimeLineBuilder::new(ms(1000));
        line.phase_started(ms(1001), Phase::Submit);
        line.phase_started(ms(1002), Phase::Submit);
        line.phase_ended(ms(1003), Phase::Submit);
        line.slots(ms(1025), 7);
        let line = line.finish(ms(1045));
        assert_eq!(line.submitting, [2, 1, 1, 1, 1]);
        assert_eq!(line.slots, Some(vec![0, 0, 7, 7, 7]));
        assert_eq!((line.from_ns, line.bin_ns), (1_000_000_000, 10_000_000));
    }

    #[test]
    fn a_round_without_a_gauge_has_no_slots() {
        assert_eq!(TimeLineBuilder::new(ms(0)).finish(ms(5)).slots, None);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_however_long_a_round_lasts(mut times in proptest::collection::vec(0u64..400_000, 1..400)) {
            times.sort_unstable();
            let mut builder = TimeLineBuilder::new(ms(0));
            for time in &times {
                builder.attempt_started(ms(*time));
                builder.attempt_ended(ms(*time), &AttemptOutcome::Handshake);
            }
            let line = builder.finish(ms(*times.last().unwrap_or(&0)));
            prop_assert!(line.bins() <= MAX_BINS);
            prop_assert_eq!(line.attempts.iter().sum::<u32>() as usize, times.len());
            prop_assert_eq!(line.handshakes.len(), line.bins());
            prop_assert_eq!(line.polling.len(), line.bins());
        }
    }
}
