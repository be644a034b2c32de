//! Virtual time: the same strategies, on a clock that jumps to whatever happens next, against the simulated server.
//!
//! `time` is the clock, `executor` drives one future on it, `in_place` runs the tasks within that, `board` stands between the futures and the server, `connector` is
//! the seam's simulated side, `log` tells what the server would have logged. Nothing here waits for anything real: a round of an
//! hour takes as long as its events take to compute, and the same seed gives the same events.

mod board;
mod connector;
mod executor;
mod in_place;
mod log;
mod play;
#[cfg(test)]
mod tests;
mod time;

pub use board::Board;
pub use connector::{SimulatedConnector, SimulatedRound, SimulatedServers};
pub use executor::{Stalled, run};
pub use in_place::InPlace;
pub use time::VirtualTime;
