//! A round's witnesses on the server's side, from the server into the ledger: readings and the gauge of startup slots.
//!
//! Servers do not know the ledger; this is where their plain data becomes events.

use std::time::{Duration, Instant};

use tokio_util::task::AbortOnDropHandle;

use sshchurn_core::ids::RoundId;
use sshchurn_core::ledger::Event;
use sshchurn_core::quantity::nanoseconds;
use sshchurn_engine::collector::Collector;
use sshchurn_server::{GaugeWatch, Witness};

/// Between two readings of processes and memory, at least.
const READ_EVERY: Duration = Duration::from_millis(100);
/// A reading costs some 20 µs for every process of the server; it is followed by a pause of this many times its length.
const PAUSE_FACTOR: u32 = 200;

/// The witnesses of one round, from its first event to its last.
pub(super) struct RoundWitness {
    round: RoundId,
    witness: Witness,
    collector: Collector,
    gauge: Option<GaugeWatch>,
    sampler: Option<AbortOnDropHandle<()>>,
}

impl RoundWitness {
    /// Takes the first reading and starts the gauge. Call it after `RoundStarted`, on an idle server.
    pub(super) async fn start(witness: Witness, collector: &Collector, round: RoundId) -> Self {
        record(&witness, collector, round).await;
        let gauge = witness.watch({
            let collector = collector.clone();
            move |reading| {
                collector.record(Event::StartupsChanged {
                    round,
                    slots: reading.slots,
                    start: reading.start,
                    full: reading.full,
                });
            }
        });
        let sampler = witness.is_cheap().then(|| {
            let (witness, collector) = (witness.clone(), collector.clone());
            AbortOnDropHandle::new(tokio::spawn(async move {
                let mut pause = READ_EVERY;
                loop {
                    tokio::time::sleep(pause).await;
                    let begun = Instant::now();
                    record(&witness, &collector, round).await;
                    pause = READ_EVERY.max(begun.elapsed() * PAUSE_FACTOR);
                }
            }))
        });
        RoundWitness {
            round,
            witness,
            collector: collector.clone(),
            gauge,
            sampler,
        }
    }

    /// Takes the last reading and stops the gauge. Call it before `RoundEnded`, when the server is idle again: only
    /// then has sshd waited for all its children, and their CPU time is its own.
    pub(super) async fn finish(mut self) {
        if let Some(sampler) = self.sampler.take() {
            sampler.abort();
            // Aborting only asks: it may be recording on another thread at this moment.
            let _ = sampler.await;
        }
        if let Some(gauge) = self.gauge.take()
            && let Some(end) = gauge.stop().await
        {
            self.collector.record(Event::StartupsSampled {
                round: self.round,
                samples: end.samples,
                over_ns: nanoseconds(end.over),
                sampler_cpu_ns: end.cpu.map(nanoseconds),
            });
        }
        record(&self.witness, &self.collector, self.round).await;
    }
}

async fn record(witness: &Witness, collector: &Collector, round: RoundId) {
    if witness.sees_nothing() {
        return;
    }
    // One that failed is recorded as well: what is missing at an end of the round must not look like no growth.
    let reading = Box::new(witness.read().await);
    collector.record(Event::ServerSampled { round, reading });
}
