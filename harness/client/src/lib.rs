//! Clients under test: programs of somebody else's, started together, bounded, watched, and ended with everything that they
//! started.
//!
//! Three kinds of process take part. The harness (`round`) says when which client begins and records what became of it.
//! The launcher is one process for a round, single-threaded, made from the same program: it forks a warden for each
//! client and measures how busy they are. A warden (`warden`) is the parent of one client and the subreaper of everything
//! that it starts, so that processes which turn themselves into daemons are counted, named and ended with it. When the
//! harness is gone, of kill -9 too, the launcher's standard input ends, and everything with it.
//!
//! Nothing here opens a connection, or looks at one: what clients do is seen by the server.

mod access;
mod launcher;
mod limits;
mod load;
mod output;
mod protocol;
mod recognise;
mod round;
mod tree;
mod warden;

pub use access::{Access, WayIn};
pub use launcher::{LAUNCHER, main as launcher_main};
pub use limits::{Bounds, bounds};
pub use round::{ClientError, ClientRound};
