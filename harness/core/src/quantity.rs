//! Counts and times as the numbers that statistics and records use.
//!
//! Owns the three conversions, and what each of them may lose. It must know nothing of ours.

use std::time::Duration;

/// A count as a number to calculate with; exact below 2^53, which no run comes near.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
#[must_use]
pub fn number(count: u64) -> f64 {
    count as f64
}

/// A time in the unit of records; more than 584 years is the largest there is.
#[must_use]
pub fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds of a record as seconds; exact to less than a microsecond for a run of centuries.
#[must_use]
pub fn seconds(ns: u64) -> f64 {
    number(ns) / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_are_exact_where_they_say_so_and_saturate_where_they_cannot_be() {
        assert_eq!(
            number((1 << 53) - 1).to_bits(),
            9_007_199_254_740_991_f64.to_bits()
        );
        assert_eq!(nanoseconds(Duration::from_millis(2)), 2_000_000);
        assert_eq!(nanoseconds(Duration::MAX), u64::MAX);
        assert_eq!(seconds(1_500_000_000).to_bits(), 1.5_f64.to_bits());
    }
}
