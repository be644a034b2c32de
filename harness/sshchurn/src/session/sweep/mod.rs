//! The life of a sweep: many runs of one scenario, one after the other, each recorded when it is over, so that whoever begins the
//! same sweep again in the same directory goes on where it stopped.
//!
//! `directory` is where it is kept, `stop` what a signal does to it. What a sweep is, and what is kept of a run, is `report`'s; how a
//! run is made is [`RunOrder`]'s alone.

mod directory;
mod stop;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::gate::Selector;
use sshchurn_core::quantity::nanoseconds;
use sshchurn_core::scenario::Scenario;
use sshchurn_core::sweep::{Job, Shard, label, seed_of};
use sshchurn_report::RunReport;
use sshchurn_report::sweep::{Sources, SweepDefinition, SweepRecord, SweepReport};
use sshchurn_server::{ServerChoice, ServerOptions};

use super::conclude::Conclusion;
use super::error::SessionError;
use super::notice::{Notice, Observer};
use super::order::{RunOrder, run_id};
use super::preflight::preflight;
use super::simulate::Simulation;
use super::stop::Interrupts;
use crate::doctor::Finding;

pub use directory::SweepDirectory;
pub use stop::SweepStop;

/// A sweep that is to be run, or to be gone on with.
#[derive(Debug)]
pub struct Sweep {
    /// What it is.
    pub definition: SweepDefinition,
    /// How each of its points is run, in their order.
    pub points: Vec<SweepPoint>,
    /// Where it is kept.
    pub directory: SweepDirectory,
    /// Which part of it is run here.
    pub shard: Shard,
    /// Whether the run directories stay.
    pub keep_runs: bool,
}

/// How a point is run.
#[derive(Debug)]
pub struct SweepPoint {
    /// With the point's changes.
    pub scenario: Scenario,
    /// On which server.
    pub server: ServerChoice,
    /// … and how it is made.
    pub options: ServerOptions,
    /// What a simulated server goes by.
    pub simulation: Simulation,
    /// What the changes took out of the scenario, for the report.
    pub findings: Vec<Finding>,
}

/// How far a sweep is when a run of it has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepProgress {
    /// The run, in words.
    pub run: String,
    /// Runs that are over, those of earlier processes included.
    pub done: usize,
    /// All that are to be made here.
    pub of: usize,
    /// How it ended.
    pub exit: ExitCode,
    /// Why it could not be made.
    pub error: Option<String>,
    /// How long it took.
    pub took: Duration,
    /// How long the others take, if each takes the median of those that this process has made; and how many those were.
    pub left: (Duration, usize),
}

/// What a sweep's run fails with, as its record tells it: text and exit code are the command line's to give.
pub type Told<'a> = &'a (dyn Fn(SessionError) -> (String, ExitCode) + Sync);

impl Sweep {
    /// Makes the runs that are missing, in their order. Whether the user has stopped it before the last.
    ///
    /// A run that cannot be made is recorded as such and keeps no other from being made; it is tried again the next time.
    ///
    /// # Errors
    /// [`SessionError`] when the directory cannot be read or written, or another process runs the same in it.
    pub async fn run(
        &self,
        stop: &SweepStop,
        observer: &dyn Observer,
        told: Told<'_>,
    ) -> Result<bool, SessionError> {
        let _lock = self.directory.lock(self.shard)?;
        let done: BTreeSet<Job> = self
            .directory
            .records(&self.definition)?
            .iter()
            .filter(|record| record.is_done())
            .map(SweepRecord::job)
            .collect();
        let asked = self.definition.jobs(self.shard);
        let left: Vec<Job> = asked
            .iter()
            .filter(|job| !done.contains(job))
            .copied()
            .collect();
        let before = asked.len() - left.len();
        let mut times: Vec<Duration> = Vec::new();
        for (index, job) in left.iter().enumerate() {
            if stop.requested() {
                return Ok(true);
            }
            let Some(point) = self.points.get(job.point as usize - 1) else {
                continue;
            };
            let run = self.words(*job);
            observer.notice(Notice::SweepRunStarted {
                run: run.clone(),
                number: before + index + 1,
                of: asked.len(),
            });
            let began = Instant::now();
            let ended = self.run_job(*job, point, stop, observer).await;
            let took = began.elapsed();
            let settings = &self.definition.points[job.point as usize - 1].settings;
            let seed = seed_of(point.scenario.seed, job.repeat);
            let record = match ended {
                // Half a run is no run; what was done before it is recorded.
                Ok(None) => return Ok(true),
                Ok(Some(report)) => {
                    SweepRecord::ran(*job, settings, seed, nanoseconds(took), &report)
                }
                Err(error) => {
                    let (error, exit) = told(error);
                    SweepRecord::failed(*job, settings, seed, nanoseconds(took), error, exit)
                }
            };
            self.directory.write_record(&record)?;
            if !self.keep_runs {
                self.directory.remove_run(*job);
            }
            times.push(took);
            observer.notice(Notice::SweepRunEnded(SweepProgress {
                run,
                done: before + index + 1,
                of: asked.len(),
                exit: record.exit,
                error: record.error,
                took,
                left: (time_left(&times, left.len() - index - 1), times.len()),
            }));
        }
        Ok(false)
    }

    /// Makes one run; `None` when the user stopped it.
    async fn run_job(
        &self,
        job: Job,
        point: &SweepPoint,
        stop: &SweepStop,
        observer: &dyn Observer,
    ) -> Result<Option<RunReport>, SessionError> {
        let mut scenario = point.scenario.clone();
        scenario.seed = seed_of(scenario.seed, job.repeat);
        // The machine is looked at anew for each: the one before has left sockets in TIME_WAIT.
        let mut findings = preflight(&scenario, point.server)?;
        findings.extend(point.findings.iter().cloned());
        let order = RunOrder {
            run_id: run_id(&format!("{}-{job}", scenario.name)),
            scenario,
            origin: self.definition.origin.clone(),
            server: point.server,
            options: point.options.clone(),
            simulation: point.simulation.clone(),
            directory: self.directory.run(job)?,
            findings,
            baseline: None,
        };
        let report = run_point(&order, stop.interrupts(), observer).await;
        let stopped = match &report {
            Ok(report) => report
                .as_ref()
                .is_none_or(|report| report.exit == ExitCode::Interrupted),
            Err(_) => stop.abandons_run(),
        };
        if stopped {
            self.directory.remove_run(job);
            return Ok(None);
        }
        report
    }

    /// Which run, for a person.
    fn words(&self, job: Job) -> String {
        let settings = match self.definition.point(job.point) {
            Some(point) if !point.settings.is_empty() => label(&point.settings),
            _ => "the scenario as it is".to_owned(),
        };
        match self.definition.repeats {
            1 => settings,
            of => format!("{settings}, repeat {} of {of}", job.repeat),
        }
    }

    /// What is there so far.
    ///
    /// # Errors
    /// [`SessionError`] when the directory cannot be read.
    pub fn report(
        &self,
        metrics: &[Selector],
        interrupted: bool,
    ) -> Result<SweepReport, SessionError> {
        let sources = Sources {
            records: self.directory.records(&self.definition)?,
            interrupted,
            notes: Vec::new(),
        };
        Ok(SweepReport::new(
            &self.definition,
            self.shard,
            metrics,
            sources,
        ))
    }
}

/// Makes the run of a point, on whatever server it asks for; `None` when the user stopped it before there was a report.
async fn run_point(
    order: &RunOrder,
    interrupts: &Interrupts,
    observer: &dyn Observer,
) -> Result<Option<RunReport>, SessionError> {
    let concluded = order.run(interrupts, observer).await?;
    concluded.map(Conclusion::into_report).transpose()
}

/// The median of the times so far, once for each run that is left.
fn time_left(times: &[Duration], runs: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    median.saturating_mul(u32::try_from(runs).unwrap_or(u32::MAX))
}

/// A sweep's definition and all its records in some directories, which may hold different shards of it; with what is to be said of
/// them.
///
/// # Errors
/// [`SessionError::NoSweep`] where there is none, [`SessionError::OtherSweep`] where they are not the same sweep.
pub fn gather(paths: &[PathBuf]) -> Result<(SweepDefinition, Sources), SessionError> {
    let mut gathered: Option<(SweepDefinition, Sources)> = None;
    for path in paths {
        let (directory, definition) = SweepDirectory::open(path)?;
        let records = directory.records(&definition)?;
        let Some((first, sources)) = &mut gathered else {
            let sources = Sources {
                records,
                ..Sources::default()
            };
            gathered = Some((definition, sources));
            continue;
        };
        let differences = first.differences(&definition);
        if !differences.is_empty() {
            return Err(SessionError::OtherSweep {
                path: path.clone(),
                differences,
            });
        }
        for record in records {
            let known = sources
                .records
                .iter_mut()
                .find(|known| known.job() == record.job());
            match known {
                None => sources.records.push(record),
                Some(known) if !known.is_done() => *known = record,
                Some(known) if record.is_done() && *known != record => sources.notes.push(format!(
                    "Run twice, and taken from the directory named first: {}, repeat {}; the other is in {}.",
                    label(&record.settings),
                    record.repeat,
                    path.display()
                )),
                Some(_) => {}
            }
        }
    }
    gathered.ok_or_else(|| SessionError::NoSweep(PathBuf::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_the_median_so_far_for_each_run_that_is_left() {
        let times = [9, 1, 2].map(Duration::from_secs);
        assert_eq!(time_left(&times, 5), Duration::from_secs(10));
        assert_eq!(time_left(&[], 5), Duration::ZERO);
        assert_eq!(time_left(&times, 0), Duration::ZERO);
    }
}
