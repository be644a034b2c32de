//! What a run amounts to: counts, rates and latencies per strategy, phase and round.
//!
//! `numbers` is the data, `clients` that of clients under test, `books` what the laws compare,
//! `summarizer` folds the ledger into it record by record, `round` is the state of a
//! round under way, which joins its attempts at its end. Memory grows with the attempts of one round and with the
//! number of rounds, not with the ledger. Must not judge: laws, validity
//! and gates read what is here.

mod books;
mod clients;
mod numbers;
mod outcomes;
mod round;
mod summarizer;

pub use books::{LedgerBooks, RoundBooks, StartNumbers};
pub use clients::{BUSY_MACHINE, BUSY_THREAD, ClientLoad, Clients, count_name};
pub use numbers::{
    BannerEofSplit, Counts, FailureCounts, GeneratorHealth, Holders, Leftovers, Makers, Numbers,
    PerTask, Rate, RetriesByKind, RoundSummary, RunSummary, Scope, Spread, StrategySummary,
    TaskCounts,
};
pub use round::LOG_READ_EVERY_NS;
pub use summarizer::Summarizer;
