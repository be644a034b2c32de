//! Scenarios: what to run.
//!
//! `file` is the strict TOML mirror (every problem at once, with its place and the nearest valid key),
//! `config` the validated types everything downstream uses, `library` the scenarios shipped with the program,
//! `schema` the JSON Schema generated from the mirror. A scenario must not know the environment or the network.

mod config;

pub use config::{
    ArrivalConfig, ArrivalShape, InvalidMaxStartups, JobConfig, MaxStartups, Scenario, SshdConfig,
    StrategyConfig, StrategyKind, Tunables,
};
