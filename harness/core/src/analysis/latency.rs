//! Distributions of times: with `interval_log`, which writes them down, the only place that knows hdrhistogram.
//!
//! Owns recording, merging and reading quantiles. Unit: nanoseconds throughout. Must not know what is timed.

use std::time::Duration;

use crate::quantity::nanoseconds;
use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Significant decimal digits of a quantile. Minimum, maximum, mean and count are exact.
pub const SIGNIFICANT_DIGITS: u8 = 3;

/// A distribution of times.
#[derive(Debug, Clone)]
pub struct Latency {
    // Made with the first value: most scopes never see most stages.
    histogram: Option<Histogram<u32>>,
    count: u64,
    min_ns: u64,
    max_ns: u64,
    sum_ns: u128,
}

impl Default for Latency {
    fn default() -> Self {
        Latency {
            histogram: None,
            count: 0,
            min_ns: u64::MAX,
            max_ns: 0,
            sum_ns: 0,
        }
    }
}

/// What the report says of a distribution. All in nanoseconds; quantiles by nearest rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LatencySummary {
    /// Number of values.
    pub count: u64,
    /// Smallest.
    pub min_ns: u64,
    /// Arithmetic mean.
    pub mean_ns: u64,
    /// Median.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 95th percentile.
    pub p95_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// Largest.
    pub max_ns: u64,
}

impl Latency {
    /// Adds one time.
    pub fn record(&mut self, time: Duration) {
        let ns = nanoseconds(time);
        self.count += 1;
        self.min_ns = self.min_ns.min(ns);
        self.max_ns = self.max_ns.max(ns);
        self.sum_ns += u128::from(ns);
        if self.histogram.is_none() {
            self.histogram = Histogram::new(SIGNIFICANT_DIGITS).ok().map(|mut made| {
                made.auto(true);
                made
            });
        }
        if let Some(histogram) = &mut self.histogram {
            // Not `saturating_record`: it would clip to the range so far instead of growing it. Growing cannot fail
            // where a pointer has 64 bits.
            let _ = histogram.record(ns);
        }
    }

    /// Adds every time of `other`.
    pub fn merge(&mut self, other: &Latency) {
        self.count += other.count;
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.sum_ns += other.sum_ns;
        match (&mut self.histogram, &other.histogram) {
            (Some(mine), Some(theirs)) => {
                // Cannot fail: an auto-resizing histogram grows to the other's size.
                let _ = mine.add(theirs);
            }
            (mine @ None, Some(theirs)) => *mine = Some(theirs.clone()),
            (_, None) => {}
        }
    }

    /// The distribution itself; `None` without data.
    pub(super) fn histogram(&self) -> Option<&Histogram<u32>> {
        self.histogram.as_ref()
    }

    /// Number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The value at a percentile (0 to 100), nanoseconds; `None` without data.
    #[must_use]
    pub fn percentile_ns(&self, percent: f64) -> Option<u64> {
        let histogram = self.histogram.as_ref()?;
        // A bucket's representative may lie outside what was really seen.
        Some(
            histogram
                .value_at_percentile(percent)
                .clamp(self.min_ns, self.max_ns),
        )
    }

    /// Arithmetic mean, nanoseconds; `None` without data.
    #[must_use]
    pub fn mean_ns(&self) -> Option<u64> {
        let mean = self.sum_ns.checked_div(u128::from(self.count))?;
        Some(u64::try_from(mean).unwrap_or(u64::MAX))
    }

    /// Smallest value, nanoseconds; `None` without data.
    #[must_use]
    pub fn min_ns(&self) -> Option<u64> {
        (self.count > 0).then_some(self.min_ns)
    }

    /// Largest value, nanoseconds; `None` without data.
    #[must_use]
    pub fn max_ns(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max_ns)
    }

    /// All of it; `None` without data.
    #[must_use]
    pub fn summary(&self) -> Option<LatencySummary> {
        Some(LatencySummary {
            count: self.count,
            min_ns: self.min_ns()?,
            mean_ns: self.mean_ns()?,
            p50_ns: self.percentile_ns(50.0)?,
            p90_ns: self.percentile_ns(90.0)?,
            p95_ns: self.percentile_ns(95.0)?,
            p99_ns: self.percentile_ns(99.0)?,
            max_ns: self.max_ns()?,
        })
    }
}

/// What is timed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// `connect()` called → TCP connection stands.
    Tcp,
    /// TCP connection → identification line complete.
    Banner,
    /// Identification line → key exchange done.
    Kex,
    /// Key exchange → authenticated.
    Auth,
    /// Command started → command ended.
    Exec,
    /// `connect()` called → refusal known.
    Refusal,
    /// Intended start of the task → end of its submit phase. From the *intended* start, so that a late
    /// generator cannot hide waiting (coordinated omission).
    Submit,
    /// Intended start of the task → its end.
    Task,
    /// Intended start of the task → its real start.
    StartLag,
    /// A ban's beginning → the first login that was let in again.
    Ban,
}

impl Stage {
    /// All stages in the order of a task's life.
    pub const ALL: [Stage; 10] = [
        Stage::Tcp,
        Stage::Banner,
        Stage::Kex,
        Stage::Auth,
        Stage::Exec,
        Stage::Refusal,
        Stage::Submit,
        Stage::Task,
        Stage::StartLag,
        Stage::Ban,
    ];

    /// The word used in metric names.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Tcp => "tcp",
            Stage::Banner => "banner",
            Stage::Kex => "kex",
            Stage::Auth => "auth",
            Stage::Exec => "exec",
            Stage::Refusal => "refusal",
            Stage::Submit => "submit",
            Stage::Task => "task",
            Stage::StartLag => "start_lag",
            Stage::Ban => "ban",
        }
    }
}

/// One distribution for each stage.
#[derive(Debug, Clone, Default)]
pub struct Latencies([Latency; Stage::ALL.len()]);

impl Latencies {
    /// The distribution of a stage.
    #[must_use]
    pub fn get(&self, stage: Stage) -> &Latency {
        &self.0[stage as usize]
    }

    /// Adds one time to a stage.
    pub fn record(&mut self, stage: Stage, time: Duration) {
        self.0[stage as usize].record(time);
    }

    /// Adds every time of `other`, stage by stage.
    pub fn merge(&mut self, other: &Latencies) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            mine.merge(theirs);
        }
    }
}
