//! Load-test and reproduction harness for sshd's admission limits.
//!
//! Data flows one way, and each boundary is a plain data type of `sshchurn-core`:
//! scenario → server → engine → ledger → analysis → gate → report. The crates are its walls; `session` puts them together,
//! and `cli` talks to people.

pub mod cli;
pub mod doctor;
pub mod session;
pub mod shipped;
