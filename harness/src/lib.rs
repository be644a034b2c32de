//! Load-test and reproduction harness for sshd's admission limits.
//!
//! The modules follow the data: `scenario` → `target` → `engine` → `ledger` → `analysis` → `gate` → `report`;
//! `cli` puts them together. Each boundary is a plain data type.

pub mod analysis;
pub mod cli;
pub mod clock;
pub mod doctor;
pub mod engine;
pub mod exit_code;
pub mod gate;
pub mod ids;
pub mod ledger;
pub mod manifest;
pub mod model;
pub mod quantity;
pub mod release;
pub mod report;
pub mod scenario;
pub mod ssh;
pub mod target;
