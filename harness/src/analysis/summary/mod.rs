//! What a run amounts to: counts, rates and latencies per strategy, phase and round.
//!
//! `numbers` is the data, `summarizer` folds the ledger into it record by record, `round` is the state of a
//! round under way. Memory grows with tasks and rounds, not with the ledger. Must not judge: laws, validity
//! and gates read what is here.

mod numbers;
mod round;
mod summarizer;

pub use numbers::{
    BannerEofSplit, ClientPorts, Counts, FailureCounts, GeneratorHealth, LedgerBooks, Leftovers,
    Numbers, PerTask, PortUse, Rate, RetriesByKind, RoundBooks, RoundSummary, RunSummary, Scope,
    Spread, StartNumbers, StrategySummary, TaskCounts,
};
pub use summarizer::Summarizer;
