//! The arrival rate of successful logins.

use super::add;
use super::result::{Logins, Peak};
use crate::quantity::number;
use crate::server_log::Moment;

/// Logins of one second or minute of the clock, and the largest so far. A log that goes back in time, as one of several servers
/// read after the other, begins anew.
#[derive(Debug, Clone, Copy)]
struct Window {
    /// Its length, microseconds.
    length: i64,
    begin: Option<Moment>,
    count: u64,
    peak: Option<Peak>,
}

impl Window {
    fn of(length: i64) -> Self {
        Window {
            length,
            begin: None,
            count: 0,
            peak: None,
        }
    }

    fn count(&mut self, at: Moment, times: u64) {
        let begin = Moment {
            micros: at.micros - at.micros.rem_euclid(self.length),
            ..at
        };
        if self.begin != Some(begin) {
            self.begin = Some(begin);
            self.count = 0;
        }
        add(&mut self.count, times);
        if self.peak.is_none_or(|peak| peak.count < self.count) {
            self.peak = Some(Peak {
                count: self.count,
                at: begin,
            });
        }
    }
}

#[derive(Debug)]
pub(super) struct LoginRate {
    count: u64,
    stamped: u64,
    second: Window,
    minute: Window,
}

impl LoginRate {
    pub(super) fn new() -> Self {
        LoginRate {
            count: 0,
            stamped: 0,
            second: Window::of(1_000_000),
            minute: Window::of(60_000_000),
        }
    }

    pub(super) fn count(&mut self, at: Option<Moment>, times: u64) {
        add(&mut self.count, times);
        if let Some(at) = at {
            add(&mut self.stamped, times);
            self.second.count(at, times);
            self.minute.count(at, times);
        }
    }

    /// With the first and the last stamp on a line of sshd's.
    pub(super) fn finish(self, span: Option<(Moment, Moment)>) -> Logins {
        let mean_per_s = span.and_then(|(from, to)| {
            // Of unlike clocks there is no difference.
            (from.zoned == to.zoned).then_some(())?;
            let micros = u64::try_from(to.since(from))
                .ok()
                .filter(|span| *span > 0)?;
            Some(number(self.stamped) / (number(micros) / 1e6))
        });
        Logins {
            count: self.count,
            mean_per_s,
            peak_second: self.second.peak,
            peak_minute: self.minute.peak,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Moment {
        Moment {
            micros: seconds * 1_000_000 + 500_000,
            zoned: true,
        }
    }

    #[test]
    fn mean_and_peaks_are_of_the_stamped_logins() {
        let mut rate = LoginRate::new();
        for second in [0, 0, 1, 59, 60, 60, 60] {
            rate.count(Some(at(second)), 1);
        }
        rate.count(None, 2);
        let logins = rate.finish(Some((at(0), at(100))));
        assert_eq!(logins.count, 9);
        assert_eq!(logins.mean_per_s, Some(0.07));
        let peak = |peak: Option<Peak>| peak.map(|peak| (peak.count, peak.at.micros / 1_000_000));
        assert_eq!(peak(logins.peak_second), Some((3, 60)));
        assert_eq!(peak(logins.peak_minute), Some((4, 0)));
    }

    #[test]
    fn without_stamps_there_is_no_rate() {
        let mut rate = LoginRate::new();
        rate.count(None, 3);
        let logins = rate.finish(None);
        assert_eq!(
            (logins.count, logins.mean_per_s, logins.peak_second),
            (3, None, None)
        );
    }
}
