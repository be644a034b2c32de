//! `MaxStartups start:rate:full` as sshd decides it, and what it does to a burst.
//!
//! Owns the rule (sshd.c:should_drop_connection, the same arithmetic in every release from 7.4 on; before
//! 8.4 the function was called drop_connection) and the exact distribution of a burst in which no slot is
//! given back. It must not draw random numbers itself: the caller supplies them.

use crate::scenario::MaxStartups;

/// Per cent of connections refused while `slots_in_use` connections, this one not counted, are accepted
/// and not yet authenticated: 0 to 100.
///
/// The order is sshd's: multiply, divide (truncating), add. Another order gives other percentages.
#[must_use]
pub fn drop_probability_percent(slots_in_use: u32, max_startups: MaxStartups) -> u32 {
    let MaxStartups { start, rate, full } = max_startups;
    if slots_in_use < start {
        return 0;
    }
    if slots_in_use >= full || rate == 100 {
        return 100;
    }
    // Reached only for start <= slots < full, so the divisor is at least 1. 64 bits because sshd's own
    // `int` is only safe for the values `MaxStartups::new` lets through.
    let scaled = u64::from(100 - rate) * u64::from(slots_in_use - start) / u64::from(full - start);
    u32::try_from(scaled).unwrap_or(100) + rate
}

/// What happens to one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It gets a slot.
    Accept,
    /// It is closed before the identification string.
    Refuse,
}

/// The rule with its setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    max_startups: MaxStartups,
}

impl Admission {
    /// The rule for one `MaxStartups` value.
    #[must_use]
    pub fn new(max_startups: MaxStartups) -> Self {
        Admission { max_startups }
    }

    /// The setting.
    #[must_use]
    pub fn max_startups(&self) -> MaxStartups {
        self.max_startups
    }

    /// The percentage sshd would draw against, or `None` where it decides without a draw: below `start`,
    /// from `full` on, and at rate 100. Only where there is a draw does sshd log one.
    #[must_use]
    pub fn drawn_against(&self, slots_in_use: u32) -> Option<u32> {
        let MaxStartups { start, rate, full } = self.max_startups;
        (slots_in_use >= start && slots_in_use < full && rate != 100)
            .then(|| drop_probability_percent(slots_in_use, self.max_startups))
    }

    /// Decides one connection. `draw` is uniform in 0..=99 and is looked at only where
    /// [`Admission::drawn_against`] says so.
    #[must_use]
    pub fn decide(&self, slots_in_use: u32, draw: u32) -> Decision {
        if draw < drop_probability_percent(slots_in_use, self.max_startups) {
            Decision::Refuse
        } else {
            Decision::Accept
        }
    }
}

/// How many of a burst of connections are accepted when no slot is given back meanwhile: every probability,
/// exactly, apart from floating-point rounding.
///
/// It bounds a real burst from below in acceptances: an sshd that authenticates somebody during the burst
/// accepts more.
#[derive(Debug, Clone, PartialEq)]
pub struct BurstDistribution {
    /// Index: connections accepted.
    probabilities: Vec<f64>,
    connections: u32,
}

impl BurstDistribution {
    /// The distribution for `connections` arriving one after the other at an idle server.
    ///
    /// Takes `connections * min(connections, full)` steps.
    #[must_use]
    pub fn of_stalled_burst(connections: u32, max_startups: MaxStartups) -> Self {
        Self::of_burst_beside(0, connections, max_startups)
    }

    /// The same where so many slots are in use already, and stay so.
    #[must_use]
    pub fn of_burst_beside(held: u32, connections: u32, max_startups: MaxStartups) -> Self {
        let most = connections.min(max_startups.full.saturating_sub(held)) as usize;
        let refused: Vec<f64> = (0..=most)
            .map(|slots| {
                let slots = u32::try_from(slots)
                    .unwrap_or(u32::MAX)
                    .saturating_add(held);
                f64::from(drop_probability_percent(slots, max_startups)) / 100.0
            })
            .collect();
        let mut probabilities = vec![0.0; most + 1];
        probabilities[0] = 1.0;
        for _ in 0..connections {
            // From the top down, so that each connection moves a state up by one at most. At `full` the
            // probability of refusal is 1, so nothing is lost at the upper end.
            for accepted in (0..=most).rev() {
                let stays = probabilities[accepted] * refused[accepted];
                let arrives = match accepted.checked_sub(1) {
                    Some(below) => probabilities[below] * (1.0 - refused[below]),
                    None => 0.0,
                };
                probabilities[accepted] = stays + arrives;
            }
        }
        BurstDistribution {
            probabilities,
            connections,
        }
    }

    /// Connections in the burst.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.connections
    }

    /// Probability that exactly `accepted` connections are accepted, 0 to 1.
    #[must_use]
    pub fn probability(&self, accepted: u32) -> f64 {
        self.probabilities
            .get(accepted as usize)
            .copied()
            .unwrap_or(0.0)
    }

    /// Probability that none is refused, 0 to 1.
    #[must_use]
    pub fn probability_of_no_refusal(&self) -> f64 {
        self.probability(self.connections)
    }

    /// Expected number of accepted connections.
    #[must_use]
    pub fn mean_accepted(&self) -> f64 {
        self.moment(|accepted| accepted)
    }

    /// Expected number of refused connections.
    #[must_use]
    pub fn mean_refused(&self) -> f64 {
        f64::from(self.connections) - self.mean_accepted()
    }

    /// Standard deviation of the number of accepted connections; the same for the refused ones.
    #[must_use]
    pub fn standard_deviation(&self) -> f64 {
        let mean = self.mean_accepted();
        self.moment(|accepted| (accepted - mean).powi(2)).sqrt()
    }

    fn moment(&self, of: impl Fn(f64) -> f64) -> f64 {
        self.probabilities
            .iter()
            .zip(0_u32..)
            .map(|(probability, accepted)| probability * of(f64::from(accepted)))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn max_startups(text: &str) -> MaxStartups {
        text.parse().expect("a valid MaxStartups value")
    }

    #[test]
    fn percentages_are_those_of_should_drop_connection() {
        let default = max_startups("10:30:100");
        for (slots, percent) in [
            (0, 0),
            (9, 0),
            (10, 30),
            (11, 30),
            (12, 31),
            (20, 37),
            (50, 61),
            (75, 80),
            (99, 99),
            (100, 100),
            (5000, 100),
        ] {
            assert_eq!(
                drop_probability_percent(slots, default),
                percent,
                "{slots} slots"
            );
        }
    }

    #[test]
    fn equal_start_and_full_is_a_hard_limit() {
        let hard = max_startups("5:30:5");
        assert_eq!(drop_probability_percent(4, hard), 0);
        assert_eq!(drop_probability_percent(5, hard), 100);
        assert_eq!(Admission::new(hard).drawn_against(5), None);
    }

    #[test]
    fn rate_100_refuses_from_start_on_without_a_draw() {
        let admission = Admission::new(max_startups("5:100:10"));
        assert_eq!(admission.drawn_against(5), None);
        assert_eq!(admission.decide(4, 0), Decision::Accept);
        assert_eq!(admission.decide(5, 99), Decision::Refuse);
    }

    #[test]
    fn draw_below_the_percentage_refuses_and_one_equal_to_it_accepts() {
        let admission = Admission::new(max_startups("10:30:100"));
        assert_eq!(admission.drawn_against(9), None);
        assert_eq!(admission.drawn_against(12), Some(31));
        assert_eq!(admission.decide(12, 30), Decision::Refuse);
        assert_eq!(admission.decide(12, 31), Decision::Accept);
        assert_eq!(admission.drawn_against(100), None);
    }

    #[test]
    fn stalled_bursts_against_the_default_match_the_published_table() {
        // Connections, mean accepted, standard deviation: docs of the default 10:30:100.
        for (connections, mean, deviation) in [
            (11, 10.7, None),
            (12, 11.4, None),
            (15, 13.5, Some(1.0)),
            (20, 16.8, Some(1.4)),
            (30, 23.1, Some(2.0)),
            (50, 34.3, Some(2.7)),
            (100, 55.7, Some(3.4)),
            (200, 80.0, Some(3.3)),
            (500, 98.6, None),
        ] {
            let burst = BurstDistribution::of_stalled_burst(connections, max_startups("10:30:100"));
            let near = |value: f64, table: f64| (value - table).abs() <= 0.0501;
            assert!(
                near(burst.mean_accepted(), mean),
                "{connections}: mean {}",
                burst.mean_accepted()
            );
            if let Some(deviation) = deviation {
                assert!(
                    near(burst.standard_deviation(), deviation),
                    "{connections}: sd {}",
                    burst.standard_deviation()
                );
            }
        }
    }

    #[test]
    fn probability_of_no_refusal_matches_the_published_table() {
        for (connections, probability) in
            [(10, 1.0), (11, 0.70), (12, 0.49), (15, 0.154), (20, 0.018)]
        {
            let burst = BurstDistribution::of_stalled_burst(connections, max_startups("10:30:100"));
            assert!(
                (burst.probability_of_no_refusal() - probability).abs() < 0.0051,
                "{connections}: {}",
                burst.probability_of_no_refusal()
            );
        }
    }

    #[test]
    fn an_empty_burst_accepts_nothing_for_certain() {
        let burst = BurstDistribution::of_stalled_burst(0, max_startups("10:30:100"));
        assert_eq!(burst.probability(0), 1.0);
        assert_eq!(burst.mean_accepted(), 0.0);
    }

    fn any_max_startups() -> impl Strategy<Value = MaxStartups> {
        (1_u32..200, 1_u32..=100, 0_u32..200).prop_map(|(start, rate, more)| MaxStartups {
            start,
            rate,
            full: start + more,
        })
    }

    proptest! {
        #[test]
        fn percentage_never_falls_as_slots_fill(max_startups in any_max_startups(), slots in 0_u32..500) {
            let now = drop_probability_percent(slots, max_startups);
            prop_assert!(now <= 100);
            prop_assert!(now <= drop_probability_percent(slots + 1, max_startups));
        }

        #[test]
        fn probabilities_of_a_burst_add_up_to_one(max_startups in any_max_startups(), connections in 0_u32..300) {
            let burst = BurstDistribution::of_stalled_burst(connections, max_startups);
            let total: f64 = (0..=connections).map(|accepted| burst.probability(accepted)).sum();
            prop_assert!((total - 1.0).abs() < 1e-9, "{total}");
            prop_assert!(burst.mean_accepted() >= f64::from(connections.min(max_startups.start)) - 1e-9);
            prop_assert!(burst.mean_accepted() <= f64::from(connections.min(max_startups.full)) + 1e-9);
        }
    }
}
