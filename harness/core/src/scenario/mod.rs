//! Scenarios: what to run.
//!
//! `file` is the strict TOML mirror (every problem at once, with its place and the nearest valid key),
//! `config` the validated types everything downstream uses, `client` those of a client under test, `machine` what the server's
//! machine must have, `tunables` what a strategy can be told, each key written once, `library` the scenarios shipped with the program, `schema` the JSON Schema generated from the mirror, `vary` changes keys by their paths. A scenario must not know the environment or the network.

pub mod client;
mod config;
mod conflicts;
mod file;
mod keywords;
mod library;
mod machine;
mod mirror;
mod problem;
mod reader;
pub mod schema;
#[cfg(test)]
mod tests;
mod tunables;
mod units;
mod vary;

pub use client::{ClientProgram, Per};
pub use config::{
    ArrivalConfig, ArrivalShape, HoldLife, HoldUntil, HoldersConfig, InvalidMaxStartups, JobConfig,
    JobLife, Life, MONITORING_SOURCE, MOST_SOURCES, MaxStartups, Scenario, SlowAuth, SlowAuthShape,
    SshdConfig, StrategyConfig, StrategyKind, failing_source,
};
pub(crate) use file::MOST_TASKS;
pub use keywords::{KeywordError, RefusedKeyword, adds_up, keyword_of_harness};
pub use library::Library;
pub use machine::{InvalidLoginShell, InvalidPackageName, LoginShell, PackageName, Packages};
pub use problem::{Problem, ScenarioErrors};
pub use tunables::Tunables;
pub(crate) use units::nanoseconds_of;
pub use units::{UnitError, parse_duration};
pub use vary::VaryError;
