//! SSH as the harness sees it: the `Connector`/`Session` seam, russh behind it, a byte-level stream tap and
//! the classification of every failure. Must not know scenarios, targets or reports.

pub mod keys;
