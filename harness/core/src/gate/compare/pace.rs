//! How fast the machine was on each side, by a yardstick that no client changes.
//!
//! An authentication is the same work of sshd whatever a client does with its connections, so that its median says how much
//! of the machine the run had. (A key exchange is too, but told starved runs less well from the others.) A starved
//! machine polls less often and is refused more often: 3 to 6 times slower moved handshakes by 15 to 40 % on the same
//! build (`reports/README.md`). Rounds of one run share that, and cannot show it.

use super::side::StrategyRounds;

/// Metric of the yardstick.
const YARDSTICK: &str = "auth";
/// Two runs of much the same load are less far apart than this, 19 times in 20.
const SAME_PACE: f64 = 1.5;
/// What each further doubling adds to the change that has to be seen, in minimum effects.
const PER_DOUBLING: f64 = 2.0;

/// The yardstick on both sides, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pace {
    pub(super) base_ns: f64,
    pub(super) new_ns: f64,
}

impl Pace {
    /// `None` where no connection of a side got as far.
    pub(super) fn of(base: &StrategyRounds<'_>, new: &StrategyRounds<'_>) -> Option<Pace> {
        Some(Pace {
            base_ns: mean(base)?,
            new_ns: mean(new)?,
        })
    }

    /// How many minimum effects a change has to reach: 1 at the same pace.
    pub(super) fn factor(self) -> f64 {
        let ratio = self.base_ns.max(self.new_ns) / self.base_ns.min(self.new_ns);
        if ratio > SAME_PACE {
            1.0 + PER_DOUBLING * (ratio / SAME_PACE).log2()
        } else {
            1.0
        }
    }
}

fn mean(strategy: &StrategyRounds<'_>) -> Option<f64> {
    let values = strategy
        .rounds
        .iter()
        .filter_map(|round| round.get(YARDSTICK))
        .filter(|value| **value > 0.0);
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    (count > 0.0).then(|| sum / count)
}
