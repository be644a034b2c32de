//! What sshchurn knows without a network, a clock or a terminal: scenarios, the ledger's format, the admission model, the
//! analysis of a run and the judgement of it.
//!
//! Pure: its manifest has no runtime, so that nothing here can wait, connect or print.

pub mod analysis;
pub mod diagnosis;
pub mod exit_code;
pub mod gate;
pub mod ids;
pub mod instant;
pub mod join;
pub mod ledger;
pub mod manifest;
pub mod model;
mod nearest;
pub mod planning;
pub mod printable;
pub mod probing;
pub mod quantity;
pub mod reading;
pub mod release;
pub mod release_changes;
pub mod scenario;
pub mod server_log;
pub mod socket_error;
pub mod sshd_file;
pub mod sweep;
pub mod vocabulary;
