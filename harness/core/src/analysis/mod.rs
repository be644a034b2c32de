//! Numbers computed from the ledger and the server's log. Pure: no tokio, files, clocks or terminals.
//!
//! `summary` folds the ledger's records one by one into counts, rates and latencies; `server_log` turns
//! sshd's own log into typed events and counts; `laws` checks that the two sides and the ledger itself
//! balance; `validity` says whether the generator could measure what it claims; `catalogue` names every
//! metric once, for gate, report and documentation; `climb` says what else than `MaxStartups` decided while one client held what
//! it got; `failing` says which logins met a ban; `fidelity` holds a model of a client against the client.

pub mod admission;
pub mod burst;
pub mod catalogue;
pub mod climb;
pub mod failing;
pub mod fidelity;
pub mod interval_log;
pub mod latency;
pub mod laws;
pub mod reconciliation;
pub mod summary;
pub mod timeline;
pub mod validity;
pub mod witness;

#[cfg(test)]
mod client_tests;
#[cfg(any(test, feature = "testing"))]
#[allow(missing_docs)]
pub mod ledger_builder;
#[cfg(test)]
mod tests;
