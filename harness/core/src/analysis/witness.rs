//! What the server's machine shows beside sshd's log: startup slots, CPU, processes, memory, the kernel's listen queue.
//!
//! Owns shapes and sums of these witnesses. They are folded from the ledger like everything else.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::instant::RunInstant;
use crate::quantity::{nanoseconds, number, seconds};
use crate::reading::{KernelReading, ServerReading};

/// Startup slots in use over a round, from the listener's process title (sshd.c: `[listener] N of A-B startups`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Startups {
    /// Readings in the round.
    pub samples: u64,
    /// Readings per second.
    pub samples_per_s: f64,
    /// Share of one CPU that reading cost; `null` where it was not measured.
    pub sampler_cpu_share: Option<f64>,
    /// `start` of the running listener.
    pub start: u32,
    /// `full` of the running listener.
    pub full: u32,
    /// Most slots in use at once. Between two readings more may have been in use.
    pub peak: u32,
    /// Time with `start` or more slots in use: connections were refused at random, nanoseconds.
    pub above_start_ns: u64,
    /// Time with `full` slots in use: every connection was refused, nanoseconds.
    pub at_full_ns: u64,
    /// Mean slots in use over the round, weighted by time.
    pub mean: f64,
}

/// Where sshd's CPU time was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CostSource {
    /// The listener and every process it has waited for (`/proc/PID/stat`): sshd and the commands it ran, not the
    /// detached jobs.
    ProcessTree,
    /// The container's control group: sshd, commands and jobs.
    ControlGroup,
}

/// What a round cost the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerCost {
    /// Where CPU time was read.
    pub source: CostSource,
    /// CPU time, nanoseconds.
    pub cpu_ns: u64,
    /// CPU time of the container's control group, detached jobs included, nanoseconds; `null` without a container.
    pub group_cpu_ns: Option<u64>,
    /// CPU time of the listener itself, nanoseconds: taking connections, deciding over them and making processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener_cpu_ns: Option<u64>,
    /// CPU time per handshake, nanoseconds; `null` without handshakes.
    pub cpu_per_handshake_ns: Option<u64>,
    /// CPU time per scheduled task, nanoseconds.
    pub cpu_per_task_ns: Option<u64>,
    /// Most processes of sshd and its sessions at once, as sampled.
    pub processes_peak: Option<u32>,
    /// Most memory of those processes at once, as sampled: sum of their resident set sizes
    /// without what they share with files, bytes.
    pub memory_peak_bytes: Option<u64>,
}

/// The kernel's view of the listen queue over a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KernelCounters {
    /// How much the counters of the server's network namespace grew. Other listeners count too.
    pub grown: KernelReading,
    /// The listening socket itself; `null` where it was not read.
    pub listener: Option<ListenerCounters>,
}

/// The listening socket over a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerCounters {
    /// Most connections that waited to be accepted, as sampled.
    pub queue_peak: u32,
    /// The most that may wait.
    pub queue_limit: u32,
    /// What its full queue turned away; `null` where the kernel does not say.
    pub drops: Option<u64>,
}

/// A gauge whose readings cover less of the time since its first one than this was lost on the way.
const COVERED: f64 = 0.9;
/// … unless no more than this is missing: a reading is late when the machine is busy, and one through an engine comes in
/// pieces.
const SLACK_NS: u64 = 1_500_000_000;

/// Folds one round's readings.
#[derive(Debug, Clone, Default)]
pub(crate) struct WitnessBuilder {
    gauge: Option<Gauge>,
    /// The first reading, and the latest of those after it.
    first: Option<ServerReading>,
    last: Option<ServerReading>,
    processes_peak: Option<u32>,
    memory_peak: Option<u64>,
    queue_peak: u32,
    queue_limit: Option<u32>,
}

#[derive(Debug, Clone)]
struct Gauge {
    start: u32,
    full: u32,
    slots: u32,
    peak: u32,
    from: RunInstant,
    since: RunInstant,
    above_start_ns: u64,
    at_full_ns: u64,
    weighted: f64,
    ended: Option<GaugeEnd>,
}

#[derive(Debug, Clone, Copy)]
struct GaugeEnd {
    samples: u64,
    over_ns: u64,
    cpu_ns: Option<u64>,
}

impl Gauge {
    fn pass(&mut self, at: RunInstant) {
        let time = nanoseconds(at.since(self.since));
        if self.slots >= self.start {
            self.above_start_ns += time;
        }
        if self.slots >= self.full {
            self.at_full_ns += time;
        }
        self.weighted += f64::from(self.slots) * seconds(time);
        self.since = at;
    }
}

impl WitnessBuilder {
    pub(crate) fn startups_changed(&mut self, slots: u32, start: u32, full: u32, at: RunInstant) {
        let gauge = self.gauge.get_or_insert(Gauge {
            start,
            full,
            slots,
            peak: slots,
            from: at,
            since: at,
            above_start_ns: 0,
            at_full_ns: 0,
            weighted: 0.0,
            ended: None,
        });
        gauge.pass(at);
        (gauge.slots, gauge.start, gauge.full) = (slots, start, full);
        gauge.peak = gauge.peak.max(slots);
    }

    pub(crate) fn startups_sampled(
        &mut self,
        samples: u64,
        over_ns: u64,
        cpu_ns: Option<u64>,
        at: RunInstant,
    ) {
        if let Some(gauge) = &mut self.gauge {
            gauge.pass(at);
            gauge.ended = Some(GaugeEnd {
                samples,
                over_ns,
                cpu_ns,
            });
        }
    }

    pub(crate) fn server_sampled(&mut self, reading: &ServerReading) {
        match self.first {
            None => self.first = Some(*reading),
            Some(_) => self.last = Some(*reading),
        }
        self.processes_peak = self.processes_peak.max(reading.processes);
        self.memory_peak = self.memory_peak.max(reading.memory_bytes);
        if let Some(listener) = &reading.listener {
            self.queue_peak = self.queue_peak.max(listener.queue);
            self.queue_limit = Some(listener.queue_limit);
        }
    }

    /// `None` when the gauge was never read, or not until the end of the round: what was last seen says nothing of the rest.
    pub(crate) fn startups(&self) -> Option<Startups> {
        let gauge = self.gauge.as_ref()?;
        let end = gauge.ended?;
        let time_ns = nanoseconds(gauge.since.since(gauge.from));
        if time_ns.saturating_sub(end.over_ns) > SLACK_NS
            && number(end.over_ns) < COVERED * number(time_ns)
        {
            return None;
        }
        let (time, over) = (seconds(time_ns), seconds(end.over_ns));
        let per = |amount: f64, time: f64| if time > 0.0 { amount / time } else { 0.0 };
        Some(Startups {
            samples: end.samples,
            samples_per_s: per(number(end.samples), over),
            sampler_cpu_share: end.cpu_ns.map(|cpu| per(seconds(cpu), over)),
            start: gauge.start,
            full: gauge.full,
            peak: gauge.peak,
            above_start_ns: gauge.above_start_ns,
            at_full_ns: gauge.at_full_ns,
            mean: per(gauge.weighted, time),
        })
    }

    pub(crate) fn kernel(&self) -> Option<KernelCounters> {
        let of = |of: fn(&KernelReading) -> Option<u64>| {
            self.grown(|reading| reading.kernel.as_ref().and_then(of))
        };
        let grown = KernelReading {
            listen_overflows: of(|kernel| kernel.listen_overflows),
            listen_drops: of(|kernel| kernel.listen_drops),
            syncookies_sent: of(|kernel| kernel.syncookies_sent),
            syncookies_recv: of(|kernel| kernel.syncookies_recv),
            syncookies_failed: of(|kernel| kernel.syncookies_failed),
            req_q_full_do_cookies: of(|kernel| kernel.req_q_full_do_cookies),
            req_q_full_drop: of(|kernel| kernel.req_q_full_drop),
            embryonic_rsts: of(|kernel| kernel.embryonic_rsts),
        };
        // Every kernel has this one: without it nothing was read.
        grown.listen_overflows?;
        Some(KernelCounters {
            grown,
            listener: self.queue_limit.map(|queue_limit| ListenerCounters {
                queue_peak: self.queue_peak,
                queue_limit,
                drops: self.grown(|reading| reading.listener?.drops),
            }),
        })
    }

    pub(crate) fn cost(&self, handshakes: u64, tasks: u64) -> Option<ServerCost> {
        let tree = self.grown(|reading| reading.tree_cpu_ns);
        let (source, cpu_ns) = match tree {
            Some(cpu_ns) => (CostSource::ProcessTree, cpu_ns),
            None => (
                CostSource::ControlGroup,
                self.grown(|reading| reading.group_cpu_ns)?,
            ),
        };
        Some(ServerCost {
            source,
            cpu_ns,
            group_cpu_ns: self.grown(|reading| reading.group_cpu_ns),
            listener_cpu_ns: self.grown(|reading| reading.listener_cpu_ns),
            cpu_per_handshake_ns: cpu_ns.checked_div(handshakes),
            cpu_per_task_ns: cpu_ns.checked_div(tasks),
            processes_peak: self.processes_peak,
            memory_peak_bytes: self.memory_peak,
        })
    }

    /// How much a counter grew between the first reading and the last; `None` where either has no value.
    fn grown(&self, of: impl Fn(&ServerReading) -> Option<u64>) -> Option<u64> {
        let (first, last) = (self.first.as_ref()?, self.last.as_ref()?);
        of(last)?.checked_sub(of(first)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::ListenerReading;

    fn ms(ms: u64) -> RunInstant {
        RunInstant(ms * 1_000_000)
    }

    #[test]
    fn time_above_a_limit_is_counted_from_change_to_change() {
        let mut witness = WitnessBuilder::default();
        for (at, slots) in [(0, 0), (100, 10), (150, 100), (160, 20), (400, 0)] {
            witness.startups_changed(slots, 10, 100, ms(at));
        }
        assert_eq!(witness.startups(), None, "not read to the end");
        witness.startups_sampled(100, 1_000_000_000, Some(2_000_000), ms(1000));
        let startups = witness.startups().expect("read");
        assert_eq!(startups.peak, 100);
        assert_eq!(startups.above_start_ns, 300_000_000);
        assert_eq!(startups.at_full_ns, 10_000_000);
        assert!((startups.samples_per_s - 100.0).abs() < 1e-9);
        assert!((startups.sampler_cpu_share.expect("measured") - 0.002).abs() < 1e-9);
        // 10 for 50 ms, 100 for 10 ms, 20 for 240 ms, of 1 s.
        assert!((startups.mean - 6.3).abs() < 1e-9);
    }

    #[test]
    fn gauge_that_broke_off_is_no_gauge_of_the_whole_round() {
        let read_for = |over_ms: u64| {
            let mut witness = WitnessBuilder::default();
            witness.startups_changed(12, 10, 100, ms(0));
            witness.startups_sampled(10, over_ms * 1_000_000, None, ms(60_000));
            witness.startups().is_some()
        };
        assert!(!read_for(2_000));
        assert!(!read_for(50_000));
        assert!(read_for(59_000), "the last pieces were late");
        let mut short = WitnessBuilder::default();
        short.startups_changed(1, 10, 100, ms(0));
        short.startups_sampled(3, 200_000_000, None, ms(1_000));
        assert!(short.startups().is_some(), "pieces come every half second");
    }

    #[test]
    fn counter_that_was_read_once_or_not_at_an_end_has_no_growth() {
        let reading = |cpu| ServerReading {
            tree_cpu_ns: cpu,
            ..ServerReading::default()
        };
        let cost = |readings: &[Option<u64>]| {
            let mut witness = WitnessBuilder::default();
            for cpu in readings {
                witness.server_sampled(&reading(*cpu));
            }
            witness.cost(1, 1).map(|cost| cost.cpu_ns)
        };
        assert_eq!(cost(&[Some(7)]), None);
        assert_eq!(cost(&[Some(7), None]), None);
        assert_eq!(cost(&[None, Some(7), Some(9)]), None);
        assert_eq!(cost(&[Some(7), None, Some(9)]), Some(2));
    }

    #[test]
    fn cost_is_the_growth_of_a_counter_and_the_process_tree_goes_before_the_group() {
        let reading = |tree, group| ServerReading {
            tree_cpu_ns: tree,
            listener_cpu_ns: tree,
            group_cpu_ns: group,
            processes: Some(3),
            memory_bytes: Some(1000),
            kernel: Some(KernelReading {
                listen_overflows: Some(7),
                ..KernelReading::default()
            }),
            listener: Some(ListenerReading {
                queue: 3,
                queue_limit: 128,
                drops: Some(5),
            }),
        };
        let mut witness = WitnessBuilder::default();
        assert_eq!(witness.cost(1, 1), None);
        witness.server_sampled(&reading(Some(100), Some(1000)));
        witness.server_sampled(&reading(Some(400), Some(2000)));
        let cost = witness.cost(3, 0).expect("read twice");
        assert_eq!((cost.source, cost.cpu_ns), (CostSource::ProcessTree, 300));
        assert_eq!(cost.group_cpu_ns, Some(1000));
        assert_eq!(cost.cpu_per_handshake_ns, Some(100));
        assert_eq!(cost.cpu_per_task_ns, None);
        assert_eq!(
            witness.kernel(),
            Some(KernelCounters {
                grown: KernelReading {
                    listen_overflows: Some(0),
                    ..KernelReading::default()
                },
                listener: Some(ListenerCounters {
                    queue_peak: 3,
                    queue_limit: 128,
                    drops: Some(0),
                }),
            })
        );
        witness.server_sampled(&reading(None, Some(2500)));
        let cost = witness.cost(3, 1).expect("the group is still there");
        assert_eq!((cost.source, cost.cpu_ns), (CostSource::ControlGroup, 1500));
    }
}
