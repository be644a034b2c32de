//! The ledger: the ordered, complete, append-only record of typed events of a run.
//!
//! `vocabulary` is what can be said of an attempt, a command or a task; `event` the events themselves;
//! `collector` stamps and orders them (the only place that does); `file` is the versioned on-disk form.
//! The ledger must not know who produces events or who reads them.

mod event;
mod file;

pub use event::{Event, Record, RoundEnd, RunEnd};
pub use file::{FORMAT_VERSION, LedgerError, LedgerReader, LedgerSink};
