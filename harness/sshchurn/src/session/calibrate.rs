//! Calibrating: a few short runs on a server that nobody limits, and from their ledgers the costs of the model.
//!
//! Owns which runs these are, and the search for the costs that cannot be read off. The runs are runs like any other, with a
//! ledger, laws and checks: what is wrong with them is wrong with the calibration.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use sshchurn_core::analysis::latency::Stage;
use sshchurn_core::analysis::summary::{RoundSummary, RunSummary, Scope};
use sshchurn_core::analysis::witness::ServerCost;
use sshchurn_core::model::calibration::{
    CALIBRATION_VERSION, Calibration, Fit, Readings, Rush, RushFit, StageMeans, Unusable,
    undisturbed,
};
use sshchurn_core::model::server::{Costs, Shares};
use sshchurn_core::release::Release;
use sshchurn_core::scenario::Scenario;
use sshchurn_server::{ServerChoice, ServerOptions};

use super::error::SessionError;
use super::notice::{Notice, Observer};
use super::order::Quietly;
use super::simulate::{DEFAULT_RELEASE, Simulation, summary};
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
/// What the clients together may weigh against one process of the server's. On one machine they are one group to the scheduler; beside a
/// container they have as much as all of it.
const CLIENTS: [f64; 3] = [3.0, 10.0, 1000.0];
/// What the listener may.
const LISTENERS: [f64; 11] = [
    0.06, 0.08, 0.1, 0.12, 0.14, 0.17, 0.2, 0.24, 0.29, 0.35, 0.5,
];
/// What a login is for.
const TRUE_COMMAND: &str = "kind = \"one-shot\"\ncommand = \"true\"";
/// Commands for each connection, where they are counted against logins.
const SHARING: u32 = 10;
/// Tries of the model.
const TRIES: u32 = 10;
/// Of what is left of a login's work when the login is done: until its slot is free, and until its first command can run. The rest is its
/// end.
const RELEASE: f64 = 0.05;
const SESSION: f64 = 0.55;

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
                rounds: 1,
                strategy: TRUE_COMMAND,
            },
            Part {
                name: "crowd",
                tasks: logins,
                at_once: crowd,
                rounds: 1,
                strategy: TRUE_COMMAND,
            },
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
                rounds: 1,
                strategy: "kind = \"multiplexed\"\ncommand = \"true\"\nsessions_per_connection = 10",
            },
            Part {
                name: "processes",
                tasks: logins / 2,
                at_once: crowd,
                rounds: 1,
                strategy: "kind = \"one-shot\"\ncommand = \"for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0; done\"",
            },
        ];
        let mut runs = Vec::new();
        for part in parts {
            observer.notice(Notice::ServerBeingMade(format!(
                "calibrating: {} logins, {} at once ({})",
                part.tasks, part.at_once, part.name
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
        let [alone, crowded, rushed, with_jobs, commands, processes] = &runs[..] else {
            return Ok(Calibrated::Stopped);
        };
        let Some(readings) = self.readings(crowd, alone, crowded, commands, processes) else {
            return Ok(Calibrated::Not(Unusable::Unseen));
        };
        let readings = Readings {
            rushes: rushes(rushed),
            rushes_with_jobs: rushes(with_jobs),
            ..readings
        };
        tracing::info!(?readings, "calibrated");
        if let Err(unusable) = undisturbed(&readings) {
            return Ok(Calibrated::Not(unusable));
        }
        let fitting = readings.clone();
        let (costs, fit) = tokio::task::spawn_blocking(move || fitted(&fitting))
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        let target = alone.manifest.as_ref().map(|manifest| &manifest.target);
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

    fn readings(
        &self,
        crowd: u32,
        alone: &RunSummary,
        crowded: &RunSummary,
        commands: &RunSummary,
        processes: &RunSummary,
    ) -> Option<Readings> {
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
            rushes: Vec::new(),
            rushes_with_jobs: Vec::new(),
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

/// Many logins at once.
fn rush() -> Part {
    Part {
        name: "rush",
        tasks: RUSH,
        at_once: RUSH,
        rounds: 1,
        strategy: TRUE_COMMAND,
    }
}

/// Many jobs at once.
fn rush_with_jobs() -> Part {
    Part {
        name: "rush-with-jobs",
        strategy: "kind = \"reused-session\"\ncleanup = \"always\"\npoll_interval = \"1s\"\n[job]\nduration = \"1s\"",
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

/// The costs and shares under which the model's crowd and its rushes come and go as the real ones did, and how well all of it fits then.
///
/// What was read off is where the search begins: times of a single client contain waits that no processor is busy with, and some of the
/// work of a login is the kernel's and on nobody's account. Each cost is then scaled by how far off the times are that it makes.
/// How the kernel shares the cores between clients and server is the same in every round; where the listener happens to be is not.
fn fitted(readings: &Readings) -> Result<(Costs, Fit), SessionError> {
    let mut best: Option<(f64, Costs, Fit)> = None;
    for clients in CLIENTS {
        let mut costs = readings.costs(readings.after_keys() / 2.0);
        // All that a login costs the machine, the client's part included.
        let mut whole = f64::from(readings.cores) * 1e9 / readings.logins_per_s;
        for _ in 0..TRIES {
            let Some(fit) = fit_of(readings, &mut costs, clients)? else {
                break;
            };
            let off = fit.residual();
            tracing::debug!(clients, off, "tried");
            if best.as_ref().is_none_or(|(least, ..)| off < *least) {
                best = Some((off, costs.clone(), fit.clone()));
            }
            rescale(readings, &mut costs, &mut whole, &fit);
        }
    }
    let nothing = || SessionError::NothingMeasured(PathBuf::from("the calibration"));
    let (off, mut costs, fit) = best.ok_or_else(nothing)?;
    costs.uncertainty = off;
    Ok((costs, fit))
}

/// Costs nearer to those that would give the readings.
fn rescale(readings: &Readings, costs: &mut Costs, whole: &mut f64, fit: &Fit) {
    let scaled = |ns: u64, ratio: f64| (ns as f64 / ratio.clamp(0.6, 1.6)).max(1000.0) as u64;
    let [rushes, with_jobs] = [&fit.rushes, &fit.rushes_with_jobs];
    let of = |rushes: &[RushFit], ratio: fn(&RushFit) -> f64| mean(rushes.iter().map(ratio));
    // To the identification string most of a rush waits for the listener.
    costs.start_cpu_ns = scaled(costs.start_cpu_ns, fit.banner);
    let kex = [fit.kex, of(rushes, |it| it.kex), of(with_jobs, |it| it.kex)];
    costs.kex_cpu_ns = scaled(costs.kex_cpu_ns, mean(kex));
    // What the least time of the requests does not hide.
    let hidden = 2.0 * costs.auth_request_ns as f64;
    let shown = |ns: f64| (ns - hidden).max(hidden * 0.05);
    let real = |rushes: &[Rush]| mean(rushes.iter().map(|rush| rush.auth_ns));
    let auth = [
        (readings.crowded.auth_ns, fit.auth),
        (real(&readings.rushes), of(rushes, |it| it.auth)),
        (
            real(&readings.rushes_with_jobs),
            of(with_jobs, |it| it.auth),
        ),
    ]
    .map(|(real, ratio)| shown(real * ratio) / shown(real));
    costs.auth_cpu_ns = scaled(costs.auth_cpu_ns.max(100_000), mean(auth));
    costs.process_cpu_ns = scaled(costs.process_cpu_ns, of(with_jobs, |it| it.exec));
    *whole *= fit.logins.clamp(0.8, 1.25);
    let known = costs.accept_cpu_ns
        + costs.fork_cpu_ns
        + costs.start_cpu_ns
        + costs.kex_cpu_ns
        + costs.auth_cpu_ns
        + costs.exec_cpu_ns;
    let rest = (*whole - readings.client_cpu_ns - known as f64).max(0.0);
    costs.release_cpu_ns = (rest * RELEASE) as u64;
    costs.session_cpu_ns = (rest * SESSION) as u64;
    costs.end_cpu_ns = (rest * (1.0 - RELEASE - SESSION)) as u64;
    costs.first_command_wait_ns = readings.first_command_wait_ns(rest * SESSION);
}

/// The geometric mean of ratios, or of times.
fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (count, sum) = values.into_iter().fold((0.0, 0.0), |(count, sum), value| {
        (count + 1.0, sum + value.max(1e-3).ln())
    });
    if count > 0.0 {
        (sum / count).exp()
    } else {
        1.0
    }
}

/// Of each real rush, the listener's share under which the model's is most like it, and how like it that is.
fn like_the_rushes(
    real: &[Rush],
    part: Part,
    costs: &Costs,
    clients: f64,
) -> Result<Vec<(Shares, RushFit)>, SessionError> {
    let mut tried = Vec::new();
    for listener in LISTENERS {
        let shares = Shares { listener, clients };
        let costs = Costs {
            shares: vec![shares],
            listener_spread: 0.0,
            ..costs.clone()
        };
        let run = again(part, &costs)?;
        tried.extend(rushes(&run).into_iter().map(|rush| (shares, rush)));
    }
    let alike = real.iter().filter_map(|real| {
        let fits = tried
            .iter()
            .map(|(shares, rush)| (*shares, real.ratios(rush)));
        fits.min_by(|(_, a), (_, b)| a.off().total_cmp(&b.off()))
    });
    Ok(alike.collect())
}

/// How far from the listener's share in one of a few rushes that in another round may well be, as a standard deviation of its logarithm:
/// the bandwidth of a normal kernel (Silverman, *Density Estimation*, 1986, 3.4.2). The grid alone leaves half a step open.
fn between(shares: &[Shares]) -> f64 {
    let step = (LISTENERS[1] / LISTENERS[0]).ln() / 12_f64.sqrt();
    let logarithms: Vec<f64> = shares.iter().map(|shares| shares.listener.ln()).collect();
    let rushes = logarithms.len().max(2) as f64;
    let mean = logarithms.iter().sum::<f64>() / rushes;
    let variance = logarithms.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (rushes - 1.0);
    1.06 * variance.sqrt().max(step) * rushes.powf(-0.2)
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

/// What the model makes of these costs, by what was measured. The costs get the listener's shares under which the rushes fit best.
fn fit_of(
    readings: &Readings,
    costs: &mut Costs,
    clients: f64,
) -> Result<Option<Fit>, SessionError> {
    let mut alike = like_the_rushes(&readings.rushes, rush(), costs, clients)?;
    let with_jobs = &readings.rushes_with_jobs;
    alike.extend(like_the_rushes(
        with_jobs,
        rush_with_jobs(),
        costs,
        clients,
    )?);
    let (shares, mut rushes): (Vec<Shares>, Vec<RushFit>) = alike.into_iter().unzip();
    costs.listener_spread = between(&shares);
    costs.shares = shares;
    let rushes_with_jobs = rushes.split_off(readings.rushes.len().min(rushes.len()));
    let crowd = Part {
        name: "crowd",
        tasks: u32::try_from(readings.logins).unwrap_or(u32::MAX).max(1),
        at_once: readings.crowd,
        ..rush()
    };
    let run = again(crowd, costs)?;
    let Some((strategy, means)) = run.strategies.first().zip(means_of(&run)) else {
        return Ok(None);
    };
    let rate = strategy.numbers.total.rate.mean();
    let slot = strategy.rounds.first().and_then(slot_time);
    Ok(rate.map(|rate| Fit {
        logins: rate / readings.logins_per_s,
        banner: means.banner_ns / readings.crowded.banner_ns,
        kex: means.kex_ns / readings.crowded.kex_ns,
        auth: means.auth_ns / readings.crowded.auth_ns,
        slot: slot.zip(readings.slot_ns).map(|(model, real)| model / real),
        rushes,
        rushes_with_jobs,
    }))
}

fn again(part: Part, costs: &Costs) -> Result<RunSummary, SessionError> {
    let scenario = scenario(part);
    let simulation = Simulation {
        costs: costs.clone(),
        release: DEFAULT_RELEASE,
        calibration: None,
    };
    Ok(summary(&scenario, &simulation, true)?.0)
}

fn means_of(run: &RunSummary) -> Option<StageMeans> {
    means(&run.strategies.first()?.numbers.total)
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
