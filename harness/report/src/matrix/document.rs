//! The versioned matrix document, and its rows from the reports of the runs.
//!
//! Owns the shape that other programs read. A change that an older reader could misread raises
//! [`MATRIX_SCHEMA_VERSION`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::{RunReport, StrategyReport};
use sshchurn_core::analysis::admission::CurveVerdict;
use sshchurn_core::analysis::laws::LawStatus;
use sshchurn_core::analysis::reconciliation::Joined;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::gate::Verdict;
use sshchurn_core::ids::StrategyName;
use sshchurn_core::manifest::Substitution;

/// Version of the document.
pub const MATRIX_SCHEMA_VERSION: u32 = 1;

/// One scenario over several releases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MatrixReport {
    /// Version of this document.
    pub schema_version: u32,
    /// Name of the scenario.
    pub scenario: String,
    /// Where it came from: a path, or `built-in`.
    pub origin: String,
    /// The scenario in force, overrides applied, as TOML.
    pub effective_toml: String,
    /// Whether the user stopped it; then later releases were not run, and the last one that was is partial.
    pub interrupted: bool,
    /// Exit code, as a word: the most severe of the rows'.
    pub exit: ExitCode,
    /// Exit code, as the number given to the operating system.
    pub exit_code: u8,
    /// One for each server, in order of execution.
    pub rows: Vec<MatrixRow>,
}

impl MatrixReport {
    /// Puts rows together.
    #[must_use]
    pub fn new(
        scenario: &str,
        origin: &str,
        effective_toml: String,
        interrupted: bool,
        rows: Vec<MatrixRow>,
    ) -> Self {
        let stopped = interrupted.then_some(ExitCode::Interrupted);
        let exit = rows
            .iter()
            .filter_map(|row| row.exit)
            .chain(stopped)
            .max_by_key(|exit| exit.severity())
            .unwrap_or(ExitCode::Success);
        MatrixReport {
            schema_version: MATRIX_SCHEMA_VERSION,
            scenario: scenario.to_owned(),
            origin: origin.to_owned(),
            effective_toml,
            interrupted,
            exit,
            exit_code: exit.code(),
            rows,
        }
    }
}

/// How far a release got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RowState {
    /// It was run, and there is a report.
    Ran,
    /// There is no report; `error` says why.
    Failed,
    /// The user stopped the matrix before it.
    NotRun,
}

/// One release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MatrixRow {
    /// The release that is run, such as `9.2`, or the image that was given; the name of its run directory is made of it.
    pub release: String,
    /// The image that was given; absent of a release's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The releases that were asked for and of which there is no image, so that the nearest one, this, stands for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub substitutions: Vec<Substitution>,
    /// The release that ran, such as `OpenSSH_9.2p1`; `null` unless it ran.
    pub server: Option<String>,
    /// How far it got.
    pub state: RowState,
    /// Why it failed.
    pub error: Option<String>,
    /// What refused clients read instead of an identification string, and how often; all strategies together.
    pub refusal_texts: BTreeMap<String, u64>,
    /// The strategies in the order of the scenario.
    pub strategies: Vec<StrategyCell>,
    /// The conservation laws; `null` unless it ran.
    pub books: Option<BooksCell>,
    /// The admission curve; `null` when there is none.
    pub admission: Option<AdmissionCell>,
    /// Why there is no admission curve, when it ran and there is none.
    pub admission_missing: Option<String>,
    /// Verdict; `null` unless it ran.
    pub verdict: Option<Verdict>,
    /// Every reason against a pass, strongest first.
    pub reasons: Vec<String>,
    /// Exit code of this release alone, as a word; `null` when it was not run.
    pub exit: Option<ExitCode>,
    /// … as a number.
    pub exit_code: Option<u8>,
}

/// One strategy on one release, all rounds together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StrategyCell {
    /// Its name.
    pub strategy: StrategyName,
    /// Connection attempts.
    pub attempts: u64,
    /// Refusals as the client saw them.
    pub banner_eof: u64,
    /// Refusals in sshd's log; `null` unless the log holds them all.
    pub server_drops: Option<u64>,
    /// How refusals were joined to drops, where they were; by count in any round is by count here.
    pub joined: Option<Joined>,
    /// Refusals joined to a drop.
    pub matched: Option<u64>,
    /// Refusals and drops that stand alone without an explanation.
    pub unmatched: Option<u64>,
    /// CPU time of sshd per handshake, nanoseconds; `null` where it cannot be read.
    pub server_cpu_per_handshake_ns: Option<u64>,
}

/// The conservation laws of one release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BooksCell {
    /// Laws that hold.
    pub holding: u32,
    /// Laws that could not be checked.
    pub not_checkable: u32,
    /// What the broken ones say.
    pub broken: Vec<String>,
}

/// The admission curve of one release.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdmissionCell {
    /// The conclusion.
    pub verdict: CurveVerdict,
    /// Probability of a χ² this large under the configuration.
    pub p_value: Option<f64>,
    /// Connections decided by a draw.
    pub trials: u64,
}

impl MatrixRow {
    /// A release that ran.
    #[must_use]
    pub fn ran(release: &str, report: &RunReport) -> Self {
        let mut refusal_texts = BTreeMap::new();
        for strategy in &report.strategies {
            for (text, count) in &strategy.totals.total.banner_eof_texts {
                *refusal_texts.entry(text.clone()).or_default() += count;
            }
        }
        let laws = |status| {
            let count = report.laws.iter().filter(|law| law.status == status);
            u32::try_from(count.count()).unwrap_or(u32::MAX)
        };
        MatrixRow {
            server: Some(
                report
                    .target
                    .release
                    .clone()
                    .unwrap_or_else(|| report.target.identification.clone()),
            ),
            refusal_texts,
            strategies: report.strategies.iter().map(StrategyCell::of).collect(),
            books: Some(BooksCell {
                holding: laws(LawStatus::Holds),
                not_checkable: laws(LawStatus::NotCheckable),
                broken: report
                    .laws
                    .iter()
                    .filter(|law| law.status == LawStatus::Broken)
                    .map(|law| law.description.clone())
                    .collect(),
            }),
            admission: report.admission.as_ref().map(|curve| AdmissionCell {
                verdict: curve.verdict,
                p_value: curve.p_value,
                trials: curve.points.iter().map(|point| point.trials).sum(),
            }),
            admission_missing: report.admission_missing.clone(),
            verdict: Some(report.verdict),
            reasons: crate::view::words::reason_texts(&report.reasons),
            exit: Some(report.exit),
            exit_code: Some(report.exit_code),
            ..MatrixRow::empty(release, RowState::Ran)
        }
    }

    /// A release of which there is no report.
    #[must_use]
    pub fn failed(release: &str, error: String, exit: ExitCode) -> Self {
        MatrixRow {
            error: Some(error),
            exit: Some(exit),
            exit_code: Some(exit.code()),
            ..MatrixRow::empty(release, RowState::Failed)
        }
    }

    /// A release that was not come to.
    #[must_use]
    pub fn not_run(release: &str) -> Self {
        MatrixRow::empty(release, RowState::NotRun)
    }

    fn empty(release: &str, state: RowState) -> Self {
        MatrixRow {
            release: release.to_owned(),
            image: None,
            substitutions: Vec::new(),
            server: None,
            state,
            error: None,
            refusal_texts: BTreeMap::new(),
            strategies: Vec::new(),
            books: None,
            admission: None,
            admission_missing: None,
            verdict: None,
            reasons: Vec::new(),
            exit: None,
            exit_code: None,
        }
    }
}

impl StrategyCell {
    fn of(strategy: &StrategyReport) -> Self {
        let totals = &strategy.totals;
        // All rounds or none: a sum over some of them would be compared with the whole.
        let rounds: Option<Vec<_>> = strategy
            .per_round
            .iter()
            .map(|round| {
                let books = round.reconciliation.as_ref()?;
                Some((books.joined, books.refusals.as_ref()?))
            })
            .collect();
        let rounds = rounds.filter(|rounds| !rounds.is_empty());
        let sum = |value: fn(&sshchurn_core::analysis::reconciliation::Sides) -> u64| {
            rounds
                .as_ref()
                .map(|rounds| rounds.iter().map(|(_, sides)| value(sides)).sum())
        };
        StrategyCell {
            strategy: strategy.strategy.clone(),
            attempts: totals.total.counts.attempts,
            banner_eof: totals.total.counts.banner_eof,
            server_drops: totals.server.server_drops,
            joined: rounds.as_ref().map(|rounds| {
                let one_by_one = rounds
                    .iter()
                    .all(|(joined, _)| *joined == Joined::SourcePort);
                if one_by_one {
                    Joined::SourcePort
                } else {
                    Joined::Count
                }
            }),
            matched: sum(|sides| sides.matched),
            unmatched: sum(|sides| sides.client_only + sides.server_only),
            server_cpu_per_handshake_ns: totals.server.server_cpu_per_handshake_ns,
        }
    }
}
