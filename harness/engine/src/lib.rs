//! The engine: pacing × strategy × stop rule over N tasks, told as events.
//!
//! `arrival` says when tasks begin, `strategy` how each uses connections, `stop` when to end early: three
//! values on separate axes, put together by `round`; `common` is what the tasks of one share. `holders` are the silent
//! clients beside the tasks. `probe` is no run: one client that asks a server for its limits. `clock` and `spawner` are time
//! and threads for all of them. `link` is the only door to the network and records every attempt and command that passes.
//! The engine must not know targets, analysis or reports: it gets a
//! `Connector` and a directory name, and its result is the ledger.

// An async function has room twice for what it is given, and of what a task waits in there may be a million.
#![allow(clippy::manual_async_fn)]

pub mod clock;
pub mod collector;
pub mod ssh;

mod arrival;
mod calibration;
mod common;
mod draws;
mod health;
mod holders;
mod job;
mod link;
mod probe;
mod rendezvous;
mod round;
mod share;
pub mod simulation;
mod spawner;
mod stop;
mod strategy;
mod task;

pub use arrival::intended_starts;
pub use calibration::{Calibration, LetsNobodyIn, Refusals, calibrate};
pub use health::HealthSampler;
pub use holders::Leaving;
pub use probe::{ProbeSettings, Probed, probe};
pub use round::{Engine, RoundPlan, plan_rounds};
pub use spawner::{Spawner, TokioSpawner};
pub use stop::{StopController, StopLevel, StopSignal};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod testing;
#[cfg(test)]
mod tests;
