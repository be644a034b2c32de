//! How busy the clients' threads and the machine are.
//!
//! Owns the readings (proc(5)) and the window that a share is taken over. A thread that was not there when the window
//! began used nothing until then, so that a short burst is not taken for a busy core.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use procfs::process::Process;
use procfs::{CurrentSI as _, KernelStats};

/// Longest stretch that a share is taken over.
const WINDOW: Duration = Duration::from_secs(5);
/// Shortest one: below it the kernel's clock (10 ms) and the readings' own spread are too coarse.
const LEAST: Duration = Duration::from_secs(1);
/// Time between two readings.
pub(crate) const EVERY: Duration = Duration::from_secs(1);
/// Readings that a window needs.
const READINGS: usize = 6;

/// What was seen of a round.
#[derive(Debug, Default)]
pub(crate) struct Load {
    began: Option<Instant>,
    machine: VecDeque<(Instant, Machine)>,
    threads: HashMap<(i32, u64), VecDeque<(Instant, u64)>>,
    tick: f64,
    /// Largest shares so far.
    pub(crate) thread_share: Option<f64>,
    pub(crate) thread: String,
    pub(crate) machine_share: Option<f64>,
    pub(crate) window_s: f64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Machine {
    busy: u64,
    all: u64,
}

impl Load {
    /// Begins with the first client; does nothing after that.
    pub(crate) fn begin(&mut self, now: Instant) {
        if self.began.is_none() {
            self.began = Some(now);
            self.tick = procfs::ticks_per_second() as f64;
            self.machine.push_back((now, machine()));
        }
    }

    /// Reads everything below `root`.
    pub(crate) fn read(&mut self, root: Pid, now: Instant) {
        let Some(began) = self.began else {
            return;
        };
        let window = now.duration_since(began).min(WINDOW);
        self.machine.push_back((now, machine()));
        let mut seen = HashMap::new();
        for pid in crate::tree::below(root) {
            for (key, name, ticks) in threads(pid) {
                let history = self.threads.remove(&key).unwrap_or_default();
                seen.insert(key, (name, ticks, history));
            }
        }
        let mut busiest: Option<(f64, String)> = None;
        for (key, (name, ticks, mut history)) in seen {
            history.push_back((now, ticks));
            forget(&mut history, now);
            if window >= LEAST {
                // What it had used when the window began; nothing, if it is younger.
                let before = history
                    .front()
                    .filter(|(at, _)| now.duration_since(*at) + EVERY / 2 >= window)
                    .map_or(0, |(_, ticks)| *ticks);
                let used = (ticks - before.min(ticks)) as f64 / self.tick;
                let share = used / window.as_secs_f64();
                if busiest.as_ref().is_none_or(|(most, _)| share > *most) {
                    busiest = Some((share, name));
                }
            }
            self.threads.insert(key, history);
        }
        forget(&mut self.machine, now);
        if window < LEAST {
            return;
        }
        self.window_s = self.window_s.max(window.as_secs_f64());
        let (share, name) = busiest.unwrap_or_default();
        // A share of less time than the window is one of a shorter round.
        let share = share.min(1.0);
        if self.thread_share.is_none_or(|most| share > most) {
            (self.thread_share, self.thread) = (Some(share), name);
        }
        if let (Some((_, first)), Some((_, last))) = (self.machine.front(), self.machine.back()) {
            let all = last.all.saturating_sub(first.all);
            if all > 0 {
                let share = last.busy.saturating_sub(first.busy) as f64 / all as f64;
                self.machine_share = Some(self.machine_share.map_or(share, |most| most.max(share)));
            }
        }
    }
}

/// Drops what is older than a window; one reading at its beginning stays.
fn forget<T>(history: &mut VecDeque<(Instant, T)>, now: Instant) {
    while history.len() > READINGS
        || history
            .get(1)
            .is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW)
    {
        history.pop_front();
    }
}

/// CPU time of all cores since boot, clock ticks.
fn machine() -> Machine {
    let Ok(total) = KernelStats::current().map(|stats| stats.total) else {
        return Machine::default();
    };
    let idle = total.idle + total.iowait.unwrap_or(0);
    let others = [total.irq, total.softirq, total.steal];
    let busy = total.user + total.nice + total.system + others.into_iter().flatten().sum::<u64>();
    Machine {
        busy,
        all: busy + idle,
    }
}

/// The threads of a process: who each is (number and start), its name, and the CPU time it has used, clock ticks.
fn threads(pid: Pid) -> Vec<((i32, u64), String, u64)> {
    let tasks = Process::new(pid.as_raw()).and_then(|process| process.tasks());
    tasks
        .into_iter()
        .flatten()
        .filter_map(|task| task.ok()?.stat().ok())
        .map(|stat| {
            (
                (stat.pid, stat.starttime),
                stat.comm,
                stat.utime + stat.stime,
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_never_rests_fills_a_core_and_a_round_that_is_too_short_has_no_share() {
        let mut load = Load::default();
        let root = Pid::parent();
        let began = Instant::now();
        load.begin(began);
        load.read(root, began + Duration::from_millis(100));
        assert_eq!(load.thread_share, None);
        // This process's own threads are below its parent; what they did before the round counts as done in it, since no
        // reading was taken then. That is the most that a first reading can say.
        load.read(root, began + Duration::from_secs(2));
        let share = load.thread_share.expect("a second is long enough");
        assert!((0.0..=1.0).contains(&share), "{share}");
        assert!((load.window_s - 2.0).abs() < 1e-9);
        assert!(
            load.machine_share
                .is_none_or(|share| (0.0..=1.0).contains(&share))
        );
    }

    #[test]
    fn readings_older_than_the_window_are_forgotten() {
        let began = Instant::now();
        let mut history = VecDeque::new();
        for second in 0..20 {
            let now = began + Duration::from_secs(second);
            history.push_back((now, second));
            forget(&mut history, now);
        }
        assert_eq!(history.front().map(|(_, second)| *second), Some(14));
    }
}
