//! Calibrating: a few short runs on a server that nobody limits, and from their ledgers the costs of the model.
//!
//! Owns which runs these are, what is read off them, and the file. The runs are runs like any other, with a ledger, laws and checks: what
//! is wrong with them is wrong with the calibration. What cannot be read off is `fit`'s.

mod fit;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use sshchurn_core::analysis::latency::Stage;
use sshchurn_core::analysis::summary::{RoundSummary, RunSummary, Scope};
use sshchurn_core::analysis::witness::ServerCost;
use sshchurn_core::model::calibration::{
    CALIBRATION_VERSION, Calibration, Readings, Rush, StageMeans, Unusable, undisturbed,
};
use sshchurn_core::release::Release;
use sshchurn_core::scenario::Scenario;
use sshchurn_server::{ServerChoice, ServerOptions};

use super::error::SessionError;
use super::notice::{Notice, Observer};
use super::order::Quietly;
use super::simulate::{DEFAULT_RELEASE, Simulation};
use super::stop::Interrupts;

/// Clients at once for each core: enough that no core ever waits for one, although each connection waits some 40 ms for its first
/// command with no core busy. The server that is calibrated refuses nobody.
const CROWD_PER_CORE: u32 = 8;
const LARGEST_CROWD: u32 = 64;
/// Logins one after the other.
const ALONE: u32 = 16;
/// Logins of the crowd, for each core.
const LOGINS_PER_CORE: u32 = 100;
/// Logins that all begin at once: fewer than the listen queue takes.
const RUSH: u32 = 100;
/// How often: no two are alike.
const RUSHES: u32 = 5;
/// What a login is for.
const TRUE_COMMAND: &str = "kind = \"one-shot\"\ncommand = \"true\"";
/// Commands for each connection, where they are counted against logins.
const SHARING: u32 = 10;

/// What is to be calibrated.
#[derive(Debug, Clone)]
pub struct CalibrationOrder {
    /// On which server.
    pub server: ServerChoice,
    /// … and how it is made.
    pub options: ServerOptions,
    /// Cores of the server's machine.
    pub cores: u32,
}

/// What a calibration came to.
#[derive(Debug)]
pub enum Calibrated {
    /// It can be used.
    Usable(Box<Calibration>),
    /// It can not.
    Not(Unusable),
    /// The user stopped it.
    Stopped,
}

/// Which of the runs.
#[derive(Debug, Clone, Copy)]
struct Part {
    name: &'static str,
    tasks: u32,
    at_once: u32,
    rounds: u32,
    strategy: &'static str,
    /// How long it takes beside the others: seconds on the machine where that was looked at.
    seconds: f64,
}

impl CalibrationOrder {
    /// Measures, and fits the model.
    ///
    /// # Errors
    /// [`SessionError`] when the server cannot be had.
    pub async fn calibrate(
        &self,
        interrupts: &Interrupts,
        observer: &dyn Observer,
    ) -> Result<Calibrated, SessionError> {
        let folder = tempfile::tempdir()
            .map_err(|source| SessionError::io("make a folder", Path::new("."), source))?;
        let crowd = (CROWD_PER_CORE * self.cores).min(LARGEST_CROWD);
        let logins = LOGINS_PER_CORE * self.cores.min(8);
        let parts = [
            Part {
                name: "alone",
                tasks: ALONE,
                at_once: 1,
                seconds: 2.5,
                ..rush()
            },
            crowd_of(logins, crowd),
            Part {
                rounds: RUSHES,
                ..rush()
            },
            Part {
                rounds: RUSHES,
                ..rush_with_jobs()
            },
            Part {
                name: "commands",
                tasks: 2 * logins,
                at_once: crowd * SHARING,
                strategy: "kind = \"multiplexed\"\ncommand = \"true\"\nsessions_per_connection = 10",
                seconds: 2.0,
                ..rush()
            },
            Part {
                name: "processes",
                tasks: logins / 2,
                at_once: crowd,
                strategy: "kind = \"one-shot\"\ncommand = \"for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0; done\"",
                seconds: 2.5,
                ..rush()
            },
        ];
        let mut runs = Vec::new();
        let of = parts.len();
        let all: f64 = parts.iter().map(|part| part.seconds).sum();
        let (begun, mut done) = (Instant::now(), 0.0);
        for (number, part) in (1..).zip(parts) {
            let took = begun.elapsed().as_secs_f64();
            let left = match number {
                1 => all,
                _ => took / done * (all - done),
            };
            done += part.seconds;
            observer.notice(Notice::ServerBeingMade(format!(
                "calibrating, {number} of {of}: {} tasks, {} at once{} ({}), about {left:.0} s left",
                part.tasks,
                part.at_once,
                match part.rounds {
                    1 => String::new(),
                    rounds => format!(", {rounds} times"),
                },
                part.name
            )));
            let quietly = Quietly {
                origin: "calibration",
                server: self.server,
                options: &self.options,
                folder: &folder.path().join(part.name),
            };
            let Some(run) = quietly.run(scenario(part), interrupts).await? else {
                return Ok(Calibrated::Stopped);
            };
            let refused: u64 = run
                .strategies
                .iter()
                .map(|strategy| strategy.numbers.total.counts.banner_eof)
                .sum();
            if refused > 0 {
                return Ok(Calibrated::Not(Unusable::Refused(refused)));
            }
            runs.push(run);
        }
        let Some(readings) = self.readings(crowd, &runs) else {
            return Ok(Calibrated::Not(Unusable::Unseen));
        };
        tracing::info!(?readings, "calibrated");
        if let Err(unusable) = undisturbed(&readings) {
            return Ok(Calibrated::Not(unusable));
        }
        let fitting = readings.clone();
        let (costs, fit) = tokio::task::spawn_blocking(move || fit::fitted(&fitting))
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        let manifest = runs.first().and_then(|run| run.manifest.as_ref());
        let target = manifest.map(|manifest| &manifest.target);
        Ok(Calibrated::Usable(Box::new(Calibration {
            schema_version: CALIBRATION_VERSION,
            taken_at_unix_s: now(),
            machine: machine(),
            target: target.map_or("", |target| target.kind.as_str()).to_owned(),
            release: target
                .and_then(|target| target.release.clone())
                .unwrap_or_default(),
            readings,
            costs,
            fit,
        })))
    }

    /// What is read off the runs, which are those of the parts in their order.
    fn readings(&self, crowd: u32, runs: &[RunSummary]) -> Option<Readings> {
        let [alone, crowded, rushed, with_jobs, commands, processes] = runs else {
            return None;
        };
        let of = |run: &RunSummary| {
            let strategy = run.strategies.first()?;
            let round = strategy.rounds.first()?;
            Some((strategy.numbers.total.clone(), round.clone()))
        };
        let (one, _) = of(alone)?;
        let (many, round) = of(crowded)?;
        let logins = many.counts.handshakes;
        let cost = round.server_cost.as_ref()?;
        let each = |cpu: u64| cpu as f64 / logins.max(1) as f64;
        // In a container not all of a session's processes are waited for by the listener; the control group has them all.
        let all = |cost: &ServerCost| cost.group_cpu_ns.unwrap_or(cost.cpu_ns);
        let client = client_cpu(crowded)? / logins.max(1) as f64;
        let (shared, shared_round) = of(commands)?;
        let per_command =
            all(shared_round.server_cost.as_ref()?) as f64 / shared.counts.commands.max(1) as f64;
        let connections_a_command =
            shared.counts.handshakes as f64 / shared.counts.commands.max(1) as f64;
        // One login costs what it costs with its command, less that command.
        let per_login = each(all(cost));
        let less_login = |per_command: f64, per_login: f64| {
            (per_command - per_login * connections_a_command) / (1.0 - connections_a_command)
        };
        let command = less_login(per_command, per_login);
        let client_command = client_cpu(commands)? / shared.counts.commands.max(1) as f64;
        let (forked, forked_round) = of(processes)?;
        let per_forked =
            all(forked_round.server_cost.as_ref()?) as f64 / forked.counts.handshakes.max(1) as f64;
        let target = &alone.manifest.as_ref()?.target;
        Some(Readings {
            cores: self.cores,
            round_trip_ns: target.round_trip_ns?,
            alone: means(&one)?,
            crowd,
            crowded: means(&many)?,
            rush: RUSH,
            rushes: rushes(rushed),
            rushes_with_jobs: rushes(with_jobs),
            logins_per_s: many.rate.mean()?,
            logins,
            server_cpu_ns: per_login,
            listener_cpu_ns: each(cost.listener_cpu_ns?),
            client_cpu_ns: client,
            client_command_cpu_ns: less_login(client_command, client).max(0.0),
            slot_ns: slot_time(&round),
            command_ns: target.exec_cost_ns?,
            command_cpu_ns: command.max(0.0),
            processes_cpu_ns: per_forked - per_login + command,
            // The listener apart, at its most.
            memory_per_login_bytes: cost
                .memory_peak_bytes
                .map(|bytes| bytes / u64::from(crowd.max(1))),
            spread: spread(&one),
        })
    }
}

/// What the clients have computed in a run: the round and a little before it.
fn client_cpu(run: &RunSummary) -> Option<f64> {
    let cpus = run.manifest.as_ref()?.environment.cpus;
    Some(run.generator.cpu_share_mean? * f64::from(cpus) * run.ended.0 as f64)
}

/// So many logins at a time, each followed by another.
fn crowd_of(logins: u32, at_once: u32) -> Part {
    Part {
        name: "crowd",
        tasks: logins,
        at_once,
        seconds: 3.0,
        ..rush()
    }
}

/// Many logins at once.
fn rush() -> Part {
    Part {
        name: "rush",
        tasks: RUSH,
        at_once: RUSH,
        rounds: 1,
        strategy: TRUE_COMMAND,
        seconds: 6.0,
    }
}

/// Many jobs at once.
fn rush_with_jobs() -> Part {
    Part {
        name: "rush-with-jobs",
        strategy: "kind = \"reused-session\"\ncleanup = \"always\"\npoll_interval = \"1s\"\n[job]\nduration = \"1s\"",
        seconds: 20.0,
        ..rush()
    }
}

/// The run of a part: no limit is met, every task begins when another ends.
fn scenario(part: Part) -> Scenario {
    let Part {
        name,
        tasks,
        at_once,
        rounds,
        strategy,
        ..
    } = part;
    let text = format!(
        "name = \"{name}\"\ndescription = \"calibration\"\ntasks = {tasks}\nrounds = {rounds}\nmax_duration = \"5m\"\n\
         [arrival]\nshape = \"burst\"\nmax_in_flight = {}\n[sshd]\nmax_startups = \"1000:30:1000\"\n[[strategy]]\n{strategy}\n",
        at_once.min(tasks)
    );
    Scenario::parse(name, &text).expect("the calibration's own scenario is valid")
}

fn means(scope: &Scope) -> Option<StageMeans> {
    let mean = |stage| scope.latencies.get(stage).mean_ns().map(|ns| ns as f64);
    Some(StageMeans {
        tcp_ns: mean(Stage::Tcp)?,
        banner_ns: mean(Stage::Banner)?,
        kex_ns: mean(Stage::Kex)?,
        auth_ns: mean(Stage::Auth)?,
        exec_ns: mean(Stage::Exec)?,
    })
}

/// How the time to the identification string varies between logins that have the machine for themselves; of a normal
/// distribution half of the values lie within 0.67 standard deviations.
fn spread(alone: &Scope) -> f64 {
    let banner = alone.latencies.get(Stage::Banner);
    let quartile = |percent| banner.percentile_ns(percent).unwrap_or(0) as f64;
    let mean = banner.mean_ns().unwrap_or(1).max(1) as f64;
    ((quartile(75.0) - quartile(25.0)) / 1.35 / mean).clamp(0.02, 0.5)
}

/// Mean time with a slot held, by the listener's gauge: slots in use over time are logins times their time in the slot (Little).
fn slot_time(round: &RoundSummary) -> Option<f64> {
    let seconds = round.ended.since(round.started).as_secs_f64();
    let logins = round.numbers.total.counts.handshakes.max(1) as f64;
    Some(round.startups.as_ref()?.mean * seconds * 1e9 / logins)
}

/// The rounds of a run, each a rush.
fn rushes(run: &RunSummary) -> Vec<Rush> {
    let rounds = run.strategies.iter().flat_map(|strategy| &strategy.rounds);
    rounds
        .filter_map(|round| {
            let means = means(&round.numbers.total)?;
            Some(Rush {
                banner_ns: means.banner_ns,
                kex_ns: means.kex_ns,
                auth_ns: means.auth_ns,
                exec_ns: means.exec_ns,
                slot_ns: slot_time(round),
                slots_peak: round
                    .startups
                    .as_ref()
                    .map(|startups| f64::from(startups.peak)),
            })
        })
        .collect()
}

/// A digest of what tells this machine from others.
#[must_use]
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let model = read("/proc/cpuinfo")
        .lines()
        .find(|line| line.starts_with("model name"))
        .unwrap_or_default()
        .to_owned();
    let mut digest = Sha256::new();
    for part in [
        read("/etc/machine-id"),
        read("/proc/sys/kernel/osrelease"),
        model,
        crate::doctor::environment(&[]).cpus.to_string(),
    ] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    digest
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Unix time in seconds.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

/// Reads a calibration.
///
/// # Errors
/// [`SessionError::Unreadable`] and [`SessionError::Document`].
pub fn load(path: &Path) -> Result<Calibration, SessionError> {
    let text = fs::read_to_string(path).map_err(|source| SessionError::Unreadable {
        path: path.to_path_buf(),
        source,
    })?;
    let calibration: Calibration =
        serde_json::from_str(&text).map_err(|source| SessionError::NoCalibration {
            path: path.to_path_buf(),
            source,
        })?;
    Ok(calibration)
}

/// Writes a calibration, all of it or nothing.
///
/// # Errors
/// [`SessionError::Io`].
pub fn save(calibration: &Calibration, path: &Path) -> Result<(), SessionError> {
    let failed = |source| SessionError::io("write the calibration", path, source);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    let text = serde_json::to_string_pretty(calibration).unwrap_or_default();
    writeln!(file, "{text}").map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// A simulation by this calibration.
#[must_use]
pub fn simulation(calibration: &Calibration, path: Option<PathBuf>) -> Simulation {
    Simulation {
        costs: calibration.costs.clone(),
        release: Release::find(&calibration.release).unwrap_or(DEFAULT_RELEASE),
        calibration: path,
    }
}
