//! The generator looks at itself: CPU, event-loop lag, open files. A generator fault must never be counted as a
//! failure of the server, so the evidence goes into the ledger beside everything else.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::ledger::{Collector, Event, GeneratorSample};
use crate::quantity::nanoseconds;

/// How often the event loop's lag is measured.
const PROBE_EVERY: Duration = Duration::from_millis(20);
/// Probes for each sample in the ledger.
const PROBES_PER_SAMPLE: u32 = 10;

/// Samples until it is dropped.
pub struct HealthSampler(JoinHandle<()>);

impl HealthSampler {
    /// Starts sampling into `collector`. Must be called within a tokio runtime.
    #[must_use]
    pub fn start(collector: Collector) -> Self {
        HealthSampler(tokio::spawn(async move {
            loop {
                let mut worst = Duration::ZERO;
                for _ in 0..PROBES_PER_SAMPLE {
                    let due = Instant::now() + PROBE_EVERY;
                    tokio::time::sleep_until(due).await;
                    // tokio's timer has a granularity of 1 ms, which is part of the reading.
                    worst = worst.max(due.elapsed());
                }
                collector.record(Event::GeneratorSampled {
                    sample: GeneratorSample {
                        cpu_seconds: cpu_seconds(),
                        loop_lag_ns: nanoseconds(worst),
                        open_files: open_files(),
                    },
                });
            }
        }))
    }
}

impl HealthSampler {
    /// Stops sampling. When this returns, no further sample is recorded: a ledger may be closed after it.
    pub async fn stop(mut self) {
        self.0.abort();
        // Aborting only asks: the task may be recording on another thread at this moment.
        let _ = (&mut self.0).await;
    }
}

impl Drop for HealthSampler {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// User and system CPU time of this process, seconds.
fn cpu_seconds() -> f64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return 0.0;
    };
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6)
        .sum()
}

/// Open file descriptors of this process; 0 where `/proc` is not there.
fn open_files() -> u32 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| {
        u32::try_from(entries.count()).unwrap_or(u32::MAX)
    })
}
