//! The generator looks at itself: CPU, event-loop lag, open files. A generator fault must never be counted as a
//! failure of the server, so the evidence goes into the ledger beside everything else.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::collector::Collector;
use sshchurn_core::ledger::Event;
use sshchurn_core::quantity::nanoseconds;
use sshchurn_core::reading::GeneratorSample;

/// How often the event loop's lag is measured.
const PROBE_EVERY: Duration = Duration::from_millis(20);
/// Probes for each sample in the ledger.
const PROBES_PER_SAMPLE: u32 = 10;
/// Samples for each count of open files where the kernel does not keep one.
const SAMPLES_PER_COUNT: u32 = 25;

/// Samples until it is dropped.
pub struct HealthSampler {
    task: JoinHandle<()>,
    stop: Arc<Notify>,
}

impl HealthSampler {
    /// Starts sampling into `collector`. Must be called within a tokio runtime.
    #[must_use]
    pub fn start(collector: Collector) -> Self {
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut last = false;
            let mut files = OpenFiles::default();
            let mut worst = Duration::ZERO;
            loop {
                // The first before anything has happened: of a short run, too, the CPU time is that of all of it.
                collector.record(Event::GeneratorSampled {
                    sample: GeneratorSample {
                        cpu_seconds: cpu_seconds(),
                        loop_lag_ns: nanoseconds(worst),
                        open_files: files.number().await,
                    },
                });
                if last {
                    break;
                }
                worst = Duration::ZERO;
                for _ in 0..PROBES_PER_SAMPLE {
                    let due = Instant::now() + PROBE_EVERY;
                    tokio::select! {
                        biased;
                        () = tokio::time::sleep_until(due) => {}
                        // What has been seen of the last sample is recorded: a stall at the end counts as well.
                        () = stopped.notified() => last = true,
                    }
                    // tokio's timer has a granularity of 1 ms, which is part of the reading. Zero before it is due.
                    worst = worst.max(due.elapsed());
                    if last {
                        break;
                    }
                }
            }
        });
        HealthSampler { task, stop }
    }
}

impl HealthSampler {
    /// Stops sampling after a last sample. When this returns, no further one is recorded: a ledger may be closed after it.
    pub async fn stop(mut self) {
        self.stop.notify_one();
        let _ = (&mut self.task).await;
    }
}

impl Drop for HealthSampler {
    fn drop(&mut self) {
        self.task.abort();
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

/// Open file descriptors of this process. No work in proportion to their number is done on a thread of the runtime, where
/// it would delay what is measured.
#[derive(Debug, Default)]
struct OpenFiles {
    counted: u32,
    samples: u32,
}

impl OpenFiles {
    /// Their number: the kernel's where it keeps one, else as it was counted within the last seconds. 0 where `/proc` is
    /// not there.
    async fn number(&mut self) -> u32 {
        if let Some(kept) = kept_by_the_kernel() {
            return kept;
        }
        if self.samples.is_multiple_of(SAMPLES_PER_COUNT) {
            self.counted = tokio::task::spawn_blocking(count).await.unwrap_or(0);
        }
        self.samples = self.samples.wrapping_add(1);
        self.counted
    }
}

/// The size of the folder of descriptors, which is their number since Linux 6.2 (fs/proc/fd.c, `proc_fd_getattr`) and 0
/// before.
fn kept_by_the_kernel() -> Option<u32> {
    let size = std::fs::metadata("/proc/self/fd").ok()?.len();
    u32::try_from(size).ok().filter(|size| *size > 0)
}

/// Counts them one by one.
fn count() -> u32 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| {
        u32::try_from(entries.count()).unwrap_or(u32::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_are_seen_by_either_way() {
        let held: Vec<_> = (0..100)
            .map(|_| std::fs::File::open("/dev/null").expect("opened"))
            .collect();
        assert!(count() >= 100);
        // Linux before 6.2 keeps none.
        assert!(kept_by_the_kernel().is_none_or(|kept| kept >= 100));
        drop(held);
    }

    #[tokio::test]
    async fn sampler_begins_and_stops_with_a_sample() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let collector = Collector::new(crate::clock::RunClock::start(), sender);
        HealthSampler::start(collector.clone()).stop().await;
        collector.finish();
        let samples: Vec<_> = receiver
            .into_iter()
            .filter_map(|record| match record.event {
                Event::GeneratorSampled { sample } => Some(sample),
                _ => None,
            })
            .collect();
        assert!(
            matches!(&samples[..], [first, last] if first.cpu_seconds <= last.cpu_seconds && last.open_files > 0),
            "{samples:?}"
        );
    }
}
