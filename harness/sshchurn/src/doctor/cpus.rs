//! CPUs: how many this process may use, and how much of them other work takes now.
//!
//! Owns that reading. The load average is for information only: it still holds the program's own last run a minute after
//! its end.

use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;
use procfs::{CurrentSI, KernelStats};
use std::sync::OnceLock;

use super::Finding;

const CHECK: &str = "CPUs";
/// How long is looked: 20 ticks of `/proc/stat` for each CPU.
const LOOK: Duration = Duration::from_millis(200);
/// Share of the usable CPUs from which on other work is told. Less is what a desktop does by itself.
const MOST_OTHER_WORK: f64 = 0.25;

/// CPU time so far, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spent {
    /// Of everybody on the CPUs that this process may use.
    all: u64,
    /// Of this process.
    own: u64,
}

/// Looks for other work for a fifth of a second. Blocks.
pub(super) fn check() -> Finding {
    let (begun, before) = (Instant::now(), spent());
    std::thread::sleep(LOOK);
    let others = match (before, spent()) {
        (Some(before), Some(after)) => Some(others(before, after, begun.elapsed())),
        _ => None,
    };
    judge(usable(), others, load_average())
}

/// CPUs that were busy with other work, on average.
fn others(before: Spent, after: Spent, elapsed: Duration) -> f64 {
    let all = after.all.saturating_sub(before.all);
    let own = after.own.saturating_sub(before.own);
    // Milliseconds are exact in a float far beyond any uptime.
    all.saturating_sub(own) as f64 / (elapsed.as_secs_f64() * 1000.0)
}

fn judge(cpus: u32, others: Option<f64>, load: Option<f64>) -> Finding {
    let load = load.map_or(String::new(), |load| format!(", load average {load:.2}"));
    let Some(others) = others else {
        return Finding::ok(CHECK, format!("{cpus} usable{load}"));
    };
    let found = format!("{cpus} usable, {others:.1} busy with other work{load}");
    if others > f64::from(cpus) * MOST_OTHER_WORK {
        Finding::warning(
            CHECK,
            found,
            "other work competes with sshd and the client: stop it, or expect more refusals and longer latencies",
        )
    } else {
        Finding::ok(CHECK, found)
    }
}

/// `/proc/stat` and getrusage(2). Stolen time counts: whoever took it competes. Waiting for a disk does not.
fn spent() -> Option<Spent> {
    let mine = sched_getaffinity(Pid::from_raw(0)).ok()?;
    let usable = |cpu: &usize| *cpu < CpuSet::count() && mine.is_set(*cpu).unwrap_or(false);
    let stats = KernelStats::current().ok()?;
    let all = stats
        .cpu_time
        .iter()
        .enumerate()
        .filter(|(cpu, _)| usable(cpu))
        .map(|(_, time)| {
            time.user_ms()
                + time.nice_ms()
                + time.system_ms()
                + time.irq_ms().unwrap_or(0)
                + time.softirq_ms().unwrap_or(0)
                + time.steal_ms().unwrap_or(0)
        })
        .sum();
    let own = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let own = (own.user_time() + own.system_time()).num_milliseconds();
    Some(Spent {
        all,
        own: u64::try_from(own).ok()?,
    })
}

/// How many CPUs this process might use when it was first asked: afterwards it may have left some of them to the server.
pub(super) fn usable() -> u32 {
    static USABLE: OnceLock<u32> = OnceLock::new();
    *USABLE.get_or_init(|| {
        std::thread::available_parallelism()
            .map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX))
    })
}

/// Processes that ran or wanted to, averaged over the last minute.
pub(super) fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg")
        .ok()?
        .split(' ')
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn load_average_of_the_programs_own_last_run_is_told_and_not_held_against_the_machine() {
        let finding = judge(2, Some(0.1), Some(14.36));
        assert_eq!(finding.status, Status::Ok);
        assert!(finding.found.contains("14.36"), "{finding:?}");
    }

    #[test]
    fn other_work_is_a_warning_also_where_the_load_average_has_not_seen_it_yet() {
        assert_eq!(judge(2, Some(0.5), Some(0.0)).status, Status::Ok);
        assert_eq!(judge(2, Some(0.6), Some(0.0)).status, Status::Warning);
        assert_eq!(judge(2, None, None).status, Status::Ok);
    }

    #[test]
    fn own_work_is_not_other_work() {
        let (before, after) = (
            Spent {
                all: 1_000,
                own: 500,
            },
            Spent {
                all: 1_300,
                own: 700,
            },
        );
        let others = others(before, after, Duration::from_millis(200));
        assert!((others - 0.5).abs() < 1e-9, "{others}");
    }

    #[test]
    fn cpu_time_can_be_read_here_and_does_not_go_back() {
        let before = spent().expect("/proc is there");
        let after = spent().expect("/proc is there");
        assert!(after.all >= before.all && after.own >= before.own);
    }
}
