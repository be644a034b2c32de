//! Raw arguments, as clap parses them. What they mean together is decided in `run` and the other commands.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use sshchurn_core::model::server::ClientPlace;
use sshchurn_core::release::{InvalidRelease, Release};
use sshchurn_core::scenario::{MaxStartups, PackageName};
use sshchurn_core::server_log::Moment;
use sshchurn_core::sweep::{Axis, AxisError, Shard};
use sshchurn_report::RunReport;
use sshchurn_report::comparison::CompareReport;
use sshchurn_report::config_check::ConfigCheck;
use sshchurn_report::diagnose::DiagnoseReport;
use sshchurn_report::fidelity::FidelityReport;
use sshchurn_report::format::{self, Format};
use sshchurn_report::matrix::MatrixReport;
use sshchurn_report::plan::PlanReport;
use sshchurn_report::probe::ProbeReport;
use sshchurn_report::sweep::SweepReport;
use sshchurn_server::docker::Suite;

/// Load-test and reproduction harness for sshd's admission limits (MaxStartups).
///
/// Starts an OpenSSH server with a chosen MaxStartups, runs N-way fan-outs of remote-job submissions under the
/// connection-per-command and the reused-session strategy, and reports banner-EOF failures, handshake rate and
/// leftover job directories.
///
/// Exit codes: 0 ran and gates passed; 1 a gate failed; 2 usage or configuration error; 3 inconclusive or
/// invalid; 4 environment failure; 130 interrupted, with a partial report, or no report if you interrupt that too.
#[derive(Debug, Parser)]
#[command(
    name = "sshchurn",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub(super) struct Cli {
    /// More detail on stderr: -v target and rounds, -vv failures too, -vvv every event.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(super) verbose: u8,
    /// Only results and errors: no progress, no notes.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// No live display, even on a terminal; a line for each round instead.
    #[arg(long, global = true)]
    pub(super) no_progress: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a scenario and report it.
    Run(Box<RunArgs>),
    /// Put your own command under test: write a scenario and a CI workflow for it.
    Init(InitArgs),
    /// Run a scenario on several OpenSSH releases and compare them.
    Matrix(Box<MatrixArgs>),
    // Its description is that of its arguments, which says more.
    Plan(Box<PlanArgs>),
    Sweep(Box<SweepArgs>),
    CheckConfig(Box<CheckConfigArgs>),
    Probe(ProbeArgs),
    /// Compute the report of a run directory again from its event ledger and log.
    Report(ReportArgs),
    /// Compare a run with a baseline: what regressed, what improved, and what cannot be told.
    Compare(CompareArgs),
    // Its description is that of its arguments, which says more.
    Diagnose(DiagnoseArgs),
    /// Compare a model with the client it models: agrees, differs, or cannot tell.
    Fidelity(FidelityArgs),
    /// Check and list scenarios.
    #[command(subcommand)]
    Scenario(ScenarioCommand),
    /// Build and list container images of OpenSSH servers.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Check this machine: what is missing, and how to fix it.
    Doctor(DoctorArgs),
    /// Print a shell completion script.
    Completions(CompletionsArgs),
    /// Print the manual pages of all commands, or write them into a folder.
    Man(ManArgs),
}

impl TargetArg {
    /// As it is typed.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            TargetArg::Auto => "auto",
            TargetArg::Docker => "docker",
            TargetArg::Local => "local",
            TargetArg::Embedded => "embedded",
            TargetArg::External => "external",
            TargetArg::Simulated => "simulated",
        }
    }
}

/// Which server to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum TargetArg {
    /// Docker, else local, else embedded; prints which it chose, and why.
    Auto,
    /// A container with OpenSSH.
    Docker,
    /// A process of this machine's own OpenSSH server.
    Local,
    /// The in-process stand-in with OpenSSH's admission rule.
    Embedded,
    /// A running server (`--address`), if `--consent` names its host.
    External,
    /// No server: a model of one and of its machine, on virtual time, in seconds instead of hours.
    Simulated,
}

/// How a container's sshd is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum NetworkArg {
    /// The host's network namespace, bound to 127.0.0.1.
    Host,
    /// A port published on 127.0.0.1: through Docker's proxy, which hides RST from EOF.
    Published,
}

/// The container.
#[derive(Debug, Args)]
#[command(next_help_heading = "Docker target")]
pub(super) struct DockerArgs {
    /// docker: your own image with an sshd in it, by name, digest or id. It must be on this machine already; nothing is pulled.
    #[arg(long, value_name = "REF")]
    pub(super) image: Option<String>,
    /// docker: how the container is reached.
    #[arg(long, value_enum, default_value_t = NetworkArg::Host)]
    pub(super) network: NetworkArg,
}

/// The forms of a document, as the values of `--format`.
fn forms<D>(
    forms: &'static [Format<D>],
) -> impl TypedValueParser<Value = &'static Format<D>> + use<D> {
    let names = forms
        .iter()
        .map(|form| PossibleValue::new(form.name).help(form.about));
    PossibleValuesParser::new(names).map(|name| format::named(forms, &name).unwrap_or(&forms[0]))
}

/// Where a result goes that is one document.
#[derive(Debug, Args)]
pub(super) struct OutFileArgs {
    /// Write the result to this file instead of stdout: all of it, or nothing.
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

/// What the command line changes in a scenario.
#[derive(Debug, Args)]
pub(super) struct OverrideArgs {
    /// Tasks per round.
    #[arg(short = 'n', long, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(super) tasks: Option<u32>,
    /// MaxStartups of the server, `start:rate:full`.
    #[arg(long, value_name = "A:R:B")]
    pub(super) max_startups: Option<MaxStartups>,
    /// Only this strategy of the scenario; repeat for more.
    #[arg(long = "strategy", value_name = "NAME")]
    pub(super) strategies: Vec<String>,
    /// Rounds of each strategy.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) rounds: Option<u32>,
    /// Seed of every random draw of the client.
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub(super) seed: Option<u64>,
    /// Factor on every wait (not on deadlines), above 0 and at most 10.
    #[arg(long, value_parser = time_scale)]
    pub(super) time_scale: Option<f64>,
    /// Bound on the whole run, such as `90s` or `5m`.
    #[arg(long, value_parser = duration)]
    pub(super) max_duration: Option<Duration>,
    /// A further sshd_config line, `Keyword=value`, in place of the scenario's; repeatable, also for keywords whose lines sshd
    /// adds up (AcceptEnv, AllowUsers, PerSourcePenalties, …).
    #[arg(long = "sshd-option", value_name = "KEYWORD=VALUE", value_parser = keyword)]
    pub(super) sshd_options: Vec<(String, String)>,
    /// A threshold to judge the run by, such as `reused-session.banner_eof == 0`; repeatable.
    #[arg(long = "threshold", value_name = "EXPR")]
    pub(super) thresholds: Vec<String>,
    /// A goal in words to judge the run by; repeatable. Short for thresholds on every strategy.
    #[arg(long = "goal", value_name = "GOAL", value_enum, ignore_case = true)]
    pub(super) goals: Vec<GoalArg>,
}

/// Goals that people ask for, each some thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum GoalArg {
    /// Every connection attempt is let in, by sshd and by the kernel.
    #[value(name = "no-refusals", alias = "no refusals")]
    Admitted,
    /// Every task succeeds, retries included.
    #[value(name = "no-lost-tasks", alias = "no lost tasks")]
    Finished,
    /// No job directory is left behind that should have been removed.
    #[value(name = "no-leftovers", alias = "no leftovers")]
    CleanedUp,
}

impl GoalArg {
    /// The thresholds that it stands for.
    pub(super) fn thresholds(self) -> Vec<String> {
        let zero = |metrics: &[&str]| metrics.iter().map(|name| format!("{name} == 0")).collect();
        match self {
            GoalArg::Admitted => zero(&[
                "banner_eof",
                "banner_timeout",
                "connect_refused",
                "connect_timeout",
            ]),
            GoalArg::Finished => zero(&["tasks_failed"]),
            GoalArg::CleanedUp => zero(&["leftover_dirs"]),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// A scenario file, or the name of a shipped one (`sshchurn scenario list`).
    #[arg(default_value = crate::shipped::DEFAULT)]
    pub(super) scenario: String,
    /// The server under test.
    #[arg(long, value_enum, default_value_t = TargetArg::Auto)]
    pub(super) target: TargetArg,
    /// OpenSSH release of the server, such as 9.2; means docker, and the nearest release there is an image of, which every
    /// output then says. With `--target local` or `--image` it is checked, and another one is an error.
    #[arg(long, value_name = "RELEASE")]
    pub(super) release: Option<Release>,
    #[command(flatten)]
    pub(super) overrides: OverrideArgs,
    /// Your own sshd_config: what can be run of it takes the place of what the scenario says of the server.
    #[arg(long, value_name = "FILE", conflicts_with = "max_startups", help_heading = FILE_HEADING)]
    pub(super) sshd_config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) lookup: FileLookupArgs,
    /// Run directory [default: sshchurn-runs/<scenario>-<UTC time>].
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) simulated: SimulatedArgs,
    /// What the result looks like.
    #[arg(long, value_parser = forms(format::RUN), default_value = "text")]
    pub(super) format: &'static Format<RunReport>,
    /// A `report.json` or run directory to compare with: a regression fails the run.
    #[arg(long, value_name = "FILE", help_heading = "Baseline")]
    pub(super) baseline: Option<PathBuf>,
    #[command(flatten)]
    pub(super) compare: CompareSettingsArgs,
    #[command(flatten)]
    pub(super) docker: DockerArgs,
    #[command(flatten)]
    pub(super) external: ExternalArgs,
}

/// A server that somebody else runs.
#[derive(Debug, Args)]
#[command(next_help_heading = "External target")]
pub(super) struct ExternalArgs {
    /// external: address of the server.
    #[arg(long, value_name = "IP:PORT", value_parser = address)]
    pub(super) address: Option<SocketAddr>,
    /// external: user to log in as.
    #[arg(long)]
    pub(super) user: Option<String>,
    /// external: private key file without passphrase.
    #[arg(long, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    /// external: repeat the host's address to confirm that you may load-test it. Always required: even loopback can be a tunnel.
    #[arg(long, value_name = "HOST")]
    pub(super) consent: Option<String>,
    /// external: the server's host key: its fingerprint (`SHA256:…`), a public key, a line of known_hosts, or a file with either.
    /// Another key ends the run before any load. Without it, any key is accepted and printed.
    #[arg(long, value_name = "KEY")]
    pub(super) host_key: Option<String>,
    /// external: the server's log, a file here; read from its end on and followed when rotated. Any form: plain `sshd -E`,
    /// syslog, journald's JSON, docker's.
    #[arg(long, value_name = "FILE", conflicts_with = "log_command")]
    pub(super) log: Option<PathBuf>,
    /// external: a shell command that prints the server's log as it grows, such as `journalctl -fu ssh -o json` or
    /// `ssh ADMIN@HOST tail -n0 -F /var/log/auth.log`; it is ended with the run.
    #[arg(long, value_name = "COMMAND")]
    pub(super) log_command: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct MatrixArgs {
    /// A scenario file, or the name of a shipped one (`sshchurn scenario list`).
    #[arg(default_value = crate::shipped::DEFAULT)]
    pub(super) scenario: String,
    /// OpenSSH release to run on, such as 9.2, or the nearest one there is an image of, which the table then says; repeat for
    /// more [default: every one there is an image of and the scenario allows].
    #[arg(long = "release", value_name = "RELEASE", value_parser = release_or_nearest)]
    pub(super) releases: Vec<Release>,
    /// An image of yours to run on, by name, digest or id; repeat for more. With images, releases are run where they are named.
    #[arg(long = "image", value_name = "REF")]
    pub(super) images: Vec<String>,
    #[command(flatten)]
    pub(super) overrides: OverrideArgs,
    /// Directory of `matrix.json` and of a run directory for each release
    /// [default: sshchurn-runs/<scenario>-matrix-<UTC time>].
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// What the result looks like.
    #[arg(long, value_parser = forms(format::MATRIX), default_value = "text")]
    pub(super) format: &'static Format<MatrixReport>,
    /// How the containers are reached.
    #[arg(long, value_enum, default_value_t = NetworkArg::Host)]
    pub(super) network: NetworkArg,
}

/// Run a scenario at many points, and compare them: every combination of the values of `--vary`, or the points of a list.
///
/// A KEY is a dotted path of the scenario's file (`tasks`, `job.duration`, `arrival.over`, `sshd.options.LoginGraceTime`), a key of
/// `[sshd]` alone (`max_startups`, `slow_auth`), a strategy's (`poll_interval` of every strategy that uses it,
/// `per-command.poll_interval` of that one), `strategy`, which is the only one that runs then, or `release`, the OpenSSH release of a
/// container. VALUES are separated by commas; `30..120:30` is 30, 60, 90, 120. All other keys stay as they are.
///
/// The runs are interleaved: every point once, in an order shuffled by the seed, then every point again with another seed, which is the
/// same for all points. Each run is recorded when it is over. The same command with the same `--out` goes on with what is
/// missing, whatever has stopped it.
///
/// Exit codes: 0 every run was made, whatever its thresholds say; 2 usage or configuration error, before anything is run; 3 a run could
/// not measure or is missing; 4 a run could not be made; 130 interrupted: the first Ctrl-C lets the run under way end, the second
/// gives it up.
#[derive(Debug, Args)]
pub(super) struct SweepArgs {
    /// A scenario file, or the name of a shipped one (`sshchurn scenario list`).
    #[arg(default_value = crate::shipped::DEFAULT)]
    pub(super) scenario: String,
    /// A key and its values, such as `tasks=30..120:30` or `max_startups=10:30:60,50:30:200`; repeat for every combination.
    #[arg(long, value_name = "KEY=VALUES", value_parser = axis, required_unless_present_any = ["points", "report"])]
    pub(super) vary: Vec<Axis>,
    /// A list of points instead: comma-separated values, the keys in the first line, then one point a line. A cell that is
    /// empty leaves its key alone; lines that begin with `#` are left out.
    #[arg(long, value_name = "FILE", conflicts_with = "vary")]
    pub(super) points: Option<PathBuf>,
    /// Runs of each point.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) repeats: u32,
    /// A metric to show, `[strategy.][phase.]metric[.aggregate]`; repeatable [default: tasks_failed, banner_eof, attempts,
    /// handshakes, startups_peak, submit.p99]. All of them are recorded, so that `--report` can show others later.
    #[arg(long = "metric", value_name = "SELECTOR")]
    pub(super) metrics: Vec<String>,
    /// Make only the i-th of K parts of the runs, such as 2/8; for array jobs.
    #[arg(long, value_name = "i/K")]
    pub(super) shard: Option<Shard>,
    /// Keep the run directory of each run, in `runs`.
    #[arg(long)]
    pub(super) keep_runs: bool,
    /// Run nothing: put together what is recorded in these directories, which may hold different shards of one sweep.
    #[arg(
        long,
        value_name = "DIR",
        num_args = 1..,
        conflicts_with_all = ["scenario", "vary", "points", "repeats", "shard", "keep_runs"]
    )]
    pub(super) report: Vec<PathBuf>,
    /// The server under test.
    #[arg(long, value_enum, default_value_t = TargetArg::Auto)]
    pub(super) target: TargetArg,
    /// OpenSSH release of the server, such as 9.2; means docker. `--vary release=…` runs several.
    #[arg(long, value_name = "RELEASE")]
    pub(super) release: Option<Release>,
    #[command(flatten)]
    pub(super) overrides: OverrideArgs,
    /// Directory of the sweep, to begin it or to go on with it [default: sshchurn-runs/sweep-<scenario>-<UTC time>]; with
    /// `--report`, where `sweep.json`, `sweep.csv` and `sweep.html` go [default: DIR, if it is only one].
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// What the result looks like.
    #[arg(long, value_parser = forms(format::SWEEP), default_value = "text")]
    pub(super) format: &'static Format<SweepReport>,
    #[command(flatten)]
    pub(super) docker: DockerArgs,
    #[command(flatten)]
    pub(super) external: ExternalArgs,
    #[command(flatten)]
    pub(super) simulated: SimulatedArgs,
}

/// Over what belongs to a user's own file.
const FILE_HEADING: &str = "Your sshd_config";

/// Where what an sshd_config includes is looked up, and for whom it is read.
#[derive(Debug, Args)]
pub(super) struct FileLookupArgs {
    /// Folder that stands for `/`: `Include /etc/ssh/sshd_config.d/*.conf` is looked up under it, a relative path under its
    /// etc/ssh [default: relative paths beside the file, absolute ones are refused].
    #[arg(long, value_name = "DIR", help_heading = FILE_HEADING)]
    pub(super) config_root: Option<PathBuf>,
    /// Connection that Match blocks are applied to, as for `sshd -C`, such as `user=deploy,addr=10.0.0.5` [default: none].
    #[arg(long, value_name = "SPEC", value_parser = connection, help_heading = FILE_HEADING)]
    pub(super) connection: Option<String>,
}

/// Which server to start for a configuration check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum StartedTargetArg {
    /// Docker, else local, else embedded; prints which it chose, and why.
    Auto,
    /// A container with OpenSSH.
    Docker,
    /// A process of this machine's own OpenSSH server.
    Local,
    /// The in-process stand-in with OpenSSH's admission rule.
    Embedded,
}

impl From<StartedTargetArg> for TargetArg {
    fn from(started: StartedTargetArg) -> Self {
        match started {
            StartedTargetArg::Auto => TargetArg::Auto,
            StartedTargetArg::Docker => TargetArg::Docker,
            StartedTargetArg::Local => TargetArg::Local,
            StartedTargetArg::Embedded => TargetArg::Embedded,
        }
    }
}

/// The simulated server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Simulated target")]
pub(super) struct SimulatedArgs {
    /// simulated: costs that were measured before, by `sshchurn plan --save-calibration FILE` [default: assumed ones].
    #[arg(long, value_name = "FILE")]
    pub(super) calibration: Option<PathBuf>,
    /// simulated: where the clients compute [default: elsewhere].
    #[arg(long, value_enum)]
    pub(super) clients: Option<ClientsArg>,
}

/// What a plan looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SettingArg {
    /// The smallest `start` of MaxStartups.
    Start,
    /// The largest number of tasks.
    Tasks,
    /// The shortest time over which the tasks begin.
    Stagger,
    /// The shortest poll interval.
    PollInterval,
    /// The fewest connect attempts before a client gives up.
    Attempts,
}

/// Where the clients of a plan compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ClientsArg {
    /// On machines of their own.
    Elsewhere,
    /// On the server's machine, whose cores they share.
    Here,
}

impl From<ClientsArg> for ClientPlace {
    fn from(given: ClientsArg) -> Self {
        match given {
            ClientsArg::Elsewhere => ClientPlace::Elsewhere,
            ClientsArg::Here => ClientPlace::Here,
        }
    }
}

/// Find the MaxStartups, the number of tasks or the pace that meets a goal: calibrate the server for half a minute, then simulate.
///
/// The workload is a scenario, the goals are thresholds or `--goal` [default: no task fails]. The answer comes first, then what
/// speaks for it; it is computed and not measured, unless `--verify` runs it. Exit code 0: there is an answer; 1: no value meets
/// the goals; 2: usage; 3: cannot say (the machine was busy, the calibration is too old or of another machine); 4: no server.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// A scenario file, or the name of a shipped one (`sshchurn scenario list`).
    #[arg(default_value = crate::shipped::DEFAULT)]
    pub(super) scenario: String,
    /// What to look for; everything else is as the scenario and the options say.
    #[arg(long, value_enum, default_value_t = SettingArg::Start)]
    pub(super) find: SettingArg,
    /// Share of rounds in which the goals must hold, such as `99%`.
    #[arg(long, value_parser = reliability, default_value = "99%")]
    pub(super) reliability: f64,
    /// `full` of MaxStartups, as a multiple of `start`.
    #[arg(long, value_name = "FACTOR", value_parser = at_least_one, default_value = "2")]
    pub(super) full_by_start: f64,
    /// Where the clients compute.
    #[arg(long, value_enum, default_value_t = ClientsArg::Elsewhere)]
    pub(super) clients: ClientsArg,
    /// The server to calibrate, and to verify on.
    #[arg(long, value_enum, default_value_t = StartedTargetArg::Auto)]
    pub(super) target: StartedTargetArg,
    /// OpenSSH release of that server, such as 9.2; means docker.
    #[arg(long, value_name = "RELEASE")]
    pub(super) release: Option<Release>,
    #[command(flatten)]
    pub(super) overrides: OverrideArgs,
    #[command(flatten)]
    pub(super) docker: DockerArgs,
    /// Use a calibration made earlier, for a machine that must not be loaded now. One that is older than a day, was disturbed,
    /// or is of another machine while it is asked about this one, is refused.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "assume",
        help_heading = "Calibration"
    )]
    pub(super) calibration: Option<PathBuf>,
    /// Write the calibration to this file, for later plans and for `run --target simulated --calibration`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["assume", "calibration"], help_heading = "Calibration")]
    pub(super) save_calibration: Option<PathBuf>,
    /// Only calibrate, and write the calibration to this file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["assume", "calibration", "save_calibration"], help_heading = "Calibration")]
    pub(super) calibrate_only: Option<PathBuf>,
    /// Do not calibrate; assume the costs of some machine. For trying the command out only.
    #[arg(long, help_heading = "Calibration")]
    pub(super) assume: bool,
    /// Afterwards run the answer for real, and the value that meets the goals in half of the rounds: this many rounds of each.
    #[arg(long, value_name = "ROUNDS", num_args = 0..=1, default_missing_value = "5", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) verify: Option<u32>,
    /// Skip the question of what longer paths and slower logins would change.
    #[arg(long)]
    pub(super) no_sensitivity: bool,
    /// Show the arithmetic behind the answer.
    #[arg(long)]
    pub(super) explain: bool,
    /// What the result looks like.
    #[arg(long, value_parser = forms(format::PLAN), default_value = "text")]
    pub(super) format: &'static Format<PlanReport>,
    #[command(flatten)]
    pub(super) file: OutFileArgs,
}

/// Check that a MaxStartups value, or a whole sshd_config, does what you intended: as written, as `sshd -T` prints it, and as the
/// server behaves.
///
/// With FILE, asks the sshd of each `--release` what it makes of the file: every line that it refuses, what is in force, and what
/// that means. Nothing that the file names is opened or run. Then runs what can be run of it.
///
/// Starts a server, and holds connections open one by one until everything is refused. A climb in which another limit
/// decided (PerSourceMaxStartups, PerSourcePenalties, LoginGraceTime, the listen queue) counts neither way, and the limit is
/// named. What a server that already runs has is found out by `sshchurn probe`.
///
/// Exit codes: 0 agrees; 1 differs; 2 usage or configuration error, or sshd refuses the file; 3 could not be seen; 4 environment
/// failure.
#[derive(Debug, Args)]
pub(super) struct CheckConfigArgs {
    /// Your own sshd_config [default: one with MaxStartups alone].
    #[arg(value_name = "FILE", conflicts_with = "max_startups")]
    pub(super) file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) lookup: FileLookupArgs,
    /// Only read FILE, and start no server.
    #[arg(long, requires = "file", conflicts_with_all = ["climbs", "out", "sshd_options"])]
    pub(super) as_written: bool,
    /// MaxStartups to write into the configuration, `start:rate:full` [default: 10:30:100].
    #[arg(long, value_name = "A:R:B")]
    pub(super) max_startups: Option<MaxStartups>,
    /// What it is expected to mean, `start:rate:full` [default: the same].
    #[arg(long, value_name = "A:R:B")]
    pub(super) expect: Option<MaxStartups>,
    /// A further sshd_config line, `Keyword=value`; repeatable, also for keywords whose lines sshd adds up (AcceptEnv,
    /// AllowUsers, PerSourcePenalties, …).
    #[arg(long = "sshd-option", value_name = "KEYWORD=VALUE", value_parser = keyword)]
    pub(super) sshd_options: Vec<(String, String)>,
    /// Number of climbs to `full`; more climbs detect smaller differences.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) climbs: u32,
    /// The server to start.
    #[arg(long, value_enum, default_value_t = StartedTargetArg::Auto)]
    pub(super) target: StartedTargetArg,
    /// OpenSSH release of the server, such as 9.2; means docker, and the nearest release there is an image of, which every
    /// output then says. With `--target local` or `--image` it is checked, and another one is an error. With FILE repeatable;
    /// one that cannot be had here is read from OpenSSH's source.
    #[arg(long = "release", value_name = "RELEASE")]
    pub(super) releases: Vec<Release>,
    /// Run directory [default: sshchurn-runs/staircase-<UTC time>].
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// What the result looks like.
    #[arg(long, value_parser = forms(format::CONFIG_CHECK), default_value = "text")]
    pub(super) format: &'static Format<ConfigCheck>,
    #[command(flatten)]
    pub(super) docker: DockerArgs,
}

/// Find out the MaxStartups of a running server from outside: start, rate and full, each with its 95 % interval.
///
/// Holds connections open one by one, tries again after a refusal, and goes back to where more tries tell most. Stops as soon as
/// the numbers are known closely, or a bound is met. What cannot be seen from outside is said. So is what else answered: a limit per
/// source, a ban, LoginGraceTime, the listen queue, another SSH server, or this client's own limit of open files.
///
/// Give a user and a key: then every held connection logs in before it leaves, which costs no penalty, and a climb can be repeated. No
/// command is run there. Without a key there is one climb. On OpenSSH 9.8 and later it earns this address a ban of a second for
/// each held connection, from 16 on; `--max-held 15` earns none.
///
/// While it runs, others may be refused in your place. Ask whoever runs the server.
///
/// Exit codes: 0 measured; 2 usage error, or no consent; 3 could not tell; 4 the server cannot be reached, or does not let the user
/// in; 130 interrupted, with what was seen until then.
#[derive(Debug, Args)]
pub(super) struct ProbeArgs {
    /// The server: an IP address, and a port unless it is 22. Names are not looked up.
    #[arg(value_name = "HOST[:PORT]", value_parser = address_or_host)]
    pub(super) server: SocketAddr,
    /// User to log in as.
    #[arg(long, requires = "key")]
    pub(super) user: Option<String>,
    /// Private key file without passphrase.
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(super) key: Option<PathBuf>,
    /// Repeat the host's address to confirm that you may load-test it. Always required: even loopback can be a tunnel.
    #[arg(long, value_name = "HOST")]
    pub(super) consent: Option<String>,
    /// The server's host key: its fingerprint (`SHA256:…`), a public key, a line of known_hosts, or a file with either. Another key
    /// ends the probe before any load. Without it, any key is accepted and printed.
    #[arg(long, value_name = "KEY", requires = "key")]
    pub(super) host_key: Option<String>,
    /// Another address of this machine, to tell a limit per source from MaxStartups [default: 127.0.0.2 for a server on 127.0.0.1,
    /// else none].
    #[arg(long, value_name = "IP")]
    pub(super) other_source: Option<IpAddr>,
    /// Connections that may be begun in all, refused ones included.
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) max_connections: u32,
    /// Connections that may be held at a time.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) max_held: u32,
    /// Time after which no connection is begun, such as `90s` or `5m`; those that are held then still log in and leave.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = duration)]
    pub(super) within: Duration,
    /// What the result looks like.
    #[arg(long, value_parser = forms(format::PROBE), default_value = "text")]
    pub(super) format: &'static Format<ProbeReport>,
    #[command(flatten)]
    pub(super) file: OutFileArgs,
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// A run directory.
    pub(super) run_dir: PathBuf,
    /// What the result looks like.
    #[arg(long, value_parser = forms(format::RUN), default_value = "text")]
    pub(super) format: &'static Format<RunReport>,
}

/// Put your own command under test.
///
/// Runs it three times against an sshd whose limits are out of the way, counts its connections, and writes sshchurn.toml with a
/// gate on that number, and a GitHub workflow that runs it on every pull request. The command finds its server in the
/// environment: SSHCHURN_HOST, SSHCHURN_PORT, SSHCHURN_USER, SSHCHURN_KEY, SSHCHURN_KNOWN_HOSTS, or all of it in the file
/// SSHCHURN_SSH_CONFIG.
///
/// Exit codes: 0 written; 2 sshchurn.toml is there already; 3 the command failed or made no connection, and nothing was
/// written; 4 environment failure.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The command and its arguments, such as `-- pytest tests/ssh`.
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub(super) argv: Vec<String>,
    /// The server that it is run against.
    #[arg(long, value_enum, default_value_t = TargetArg::Auto)]
    pub(super) target: TargetArg,
    /// How long it may take, such as `90s` or `10m`.
    #[arg(long, default_value = "10m")]
    pub(super) timeout: String,
    /// Write no GitHub workflow.
    #[arg(long)]
    pub(super) no_workflow: bool,
}

/// Hold a model against the client that it models.
///
/// Both are strategies of one run, so that their rounds were interleaved on one server. Logins must agree within 10 % and
/// refusals within 20 %, by the 90 % interval of their ratio.
///
/// Exit codes: 0 they agree; 1 they differ; 2 no such file or strategy; 3 it cannot be said.
#[derive(Debug, Args)]
pub(super) struct FidelityArgs {
    /// The run: a `report.json` or a run directory.
    pub(super) run: PathBuf,
    /// The real client: a strategy of the run. Default: its only `command`.
    #[arg(long, value_name = "STRATEGY")]
    pub(super) real: Option<String>,
    /// The model: a strategy of the run. Default: its only other one.
    #[arg(long, value_name = "STRATEGY")]
    pub(super) model: Option<String>,
    /// What the result looks like.
    #[arg(long, value_parser = forms(format::FIDELITY), default_value = "text")]
    pub(super) format: &'static Format<FidelityReport>,
    #[command(flatten)]
    pub(super) file: OutFileArgs,
}

/// Read sshd's log: what it refused, when, whom, and which limit was hit.
///
/// Takes what you have: syslog (old and new), `journalctl` output (`short`, `short-iso`, `json`), `sshd -E` files, `docker logs` and
/// json-file, `docker compose logs`, `kubectl logs`, logread, s6. Files may be compressed with gzip or zstd. Rotated files may be
/// named in any order. Lines of other programs are skipped.
///
/// Thresholds are `metric op number`, such as `server_drops == 0`. Metrics: server_drops, refused_by_max_startups,
/// refused_by_other_rule, throttling_episodes, unserved, server_accepted, grace_timeouts, sessions_refused, client_messages,
/// unknown_lines.
///
/// Exit codes: 0 read, and every threshold passed; 1 a threshold failed; 2 no such file, or an unknown metric; 3 the log cannot
/// say: it has no line from sshd, or the count may be higher than the log shows; 4 the result could not be written.
#[derive(Debug, Args)]
pub(super) struct DiagnoseArgs {
    /// Log files; `-` is standard input.
    #[arg(required = true, value_name = "LOG")]
    pub(super) logs: Vec<PathBuf>,
    /// What the result looks like.
    #[arg(long, value_parser = forms(format::DIAGNOSIS), default_value = "text")]
    pub(super) format: &'static Format<DiagnoseReport>,
    #[command(flatten)]
    pub(super) file: OutFileArgs,
    /// A threshold to judge the log by, such as `server_drops == 0`; repeatable.
    #[arg(long = "threshold", value_name = "EXPR")]
    pub(super) thresholds: Vec<String>,
    /// Write the arrivals in the log as a scenario that `sshchurn run` repeats. The file must not exist.
    #[arg(long, value_name = "FILE", help_heading = "Scenario")]
    pub(super) write_scenario: Option<PathBuf>,
    /// Only arrivals from here on, such as `2026-04-05T04:35:07`; with a time zone, `…Z` or `…+02:00`, where the log's
    /// stamps name one.
    #[arg(long, value_name = "TIME", value_parser = moment, requires = "write_scenario", help_heading = "Scenario")]
    pub(super) from: Option<Moment>,
    /// Only arrivals up to here.
    #[arg(long, value_name = "TIME", value_parser = moment, requires = "write_scenario", help_heading = "Scenario")]
    pub(super) to: Option<Moment>,
    /// The server's MaxStartups, `start:rate:full`: tells some refusals by PerSourceMaxStartups apart, which sshd logs in the same
    /// words.
    #[arg(long, value_name = "A:R:B")]
    pub(super) max_startups: Option<MaxStartups>,
    /// The server's OpenSSH release, such as 9.2: at LogLevel INFO, a release before 8.4 logs no refusals, and the log may not show
    /// which it was.
    #[arg(long, value_name = "RELEASE")]
    pub(super) release: Option<Release>,
}

/// Compare a new run with a baseline, round against round.
///
/// Exit codes: 0 nothing regressed; 1 a gating metric regressed; 2 no such file, another schema version, or another
/// experiment; 3 inconclusive, or too few rounds to say.
#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// The baseline: a `report.json` or a run directory.
    pub(super) base: PathBuf,
    /// The new run: a `report.json` or a run directory.
    pub(super) new: PathBuf,
    /// What the result looks like.
    #[arg(long, value_parser = forms(format::COMPARISON), default_value = "text")]
    pub(super) format: &'static Format<CompareReport>,
    #[command(flatten)]
    pub(super) file: OutFileArgs,
    #[command(flatten)]
    pub(super) settings: CompareSettingsArgs,
}

/// The rules of a comparison.
#[derive(Debug, Args)]
#[command(next_help_heading = "Baseline")]
pub(super) struct CompareSettingsArgs {
    /// A gating metric, `[strategy.][phase.]metric`; repeatable, replaces attempts, handshakes, banner_eof,
    /// tasks_failed and leftover_dirs.
    #[arg(long, value_name = "METRIC")]
    pub(super) gate_on: Vec<String>,
    /// The smallest change that counts, relative to the baseline [default: 10%].
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub(super) min_relative: Option<f64>,
    /// The smallest change that counts: connections for each task [default: 0.5].
    #[arg(long, value_name = "NUMBER", value_parser = not_negative)]
    pub(super) min_per_task: Option<f64>,
    /// The smallest change that counts: share of the tasks that fail or leave a directory, and 2 a round at least
    /// [default: 5%].
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub(super) min_tasks: Option<f64>,
    /// Compare different experiments (scenario settings, stand-in against sshd) all the same, with a warning.
    #[arg(long)]
    pub(super) allow_different: bool,
    /// What the two runs are meant to differ in: a key of the scenario, such as `max_startups` or `tasks`; repeatable.
    #[arg(long, value_name = "KEY")]
    pub(super) varied: Vec<String>,
}

impl CompareSettingsArgs {
    /// The first option that was given; without a baseline it would do nothing.
    pub(super) fn given(&self) -> Option<&'static str> {
        [
            (!self.gate_on.is_empty(), "--gate-on"),
            (self.min_relative.is_some(), "--min-relative"),
            (self.min_per_task.is_some(), "--min-per-task"),
            (self.min_tasks.is_some(), "--min-tasks"),
            (self.allow_different, "--allow-different"),
            (!self.varied.is_empty(), "--varied"),
        ]
        .into_iter()
        .find_map(|(given, name)| given.then_some(name))
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum ScenarioCommand {
    /// Check scenario files; every problem is shown with its place.
    Check {
        /// Files or shipped names.
        #[arg(required = true)]
        scenarios: Vec<String>,
    },
    /// List the shipped scenarios.
    List,
    /// Print a scenario's effective TOML.
    Show {
        /// File or shipped name.
        scenario: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ImageCommand {
    /// Build an image that the docker target uses.
    Build {
        /// OpenSSH release, or `all`: 8.4, 9.2, 10.0, 10.3, 10.6.
        #[arg(long, value_name = "RELEASE", default_value = "9.2", value_parser = image_release)]
        release: ImageReleaseArg,
        /// Further Debian packages to install in it, separated by commas, as in a scenario's `sshd.packages`.
        #[arg(long, value_name = "NAMES", value_delimiter = ',')]
        packages: Vec<PackageName>,
    },
    /// List the images built so far.
    List,
}

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Check for this scenario's size.
    #[arg(default_value = crate::shipped::DEFAULT)]
    pub(super) scenario: String,
}

/// Which images to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ImageReleaseArg {
    /// Those of every known release.
    All,
    /// One.
    One(Suite),
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub(super) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Folder for the pages, one file each; made if it is not there [default: all of them to stdout].
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
}

/// A release that there is an image of, or one near to it.
fn release_or_nearest(text: &str) -> Result<Release, String> {
    let release = release(text)?;
    match Suite::nearest(release, None) {
        Some(_) => Ok(release),
        None => Err(Suite::unknown(release)),
    }
}

fn release(text: &str) -> Result<Release, String> {
    text.parse()
        .map_err(|error: InvalidRelease| error.to_string())
}

fn suite(text: &str) -> Result<Suite, String> {
    let release = release(text)?;
    Suite::of(release).ok_or_else(|| {
        format!(
            "no image of OpenSSH {release} is known, only of {}",
            Suite::releases()
        )
    })
}

fn image_release(text: &str) -> Result<ImageReleaseArg, String> {
    match text {
        "all" => Ok(ImageReleaseArg::All),
        release => suite(release).map(ImageReleaseArg::One),
    }
}

fn axis(text: &str) -> Result<Axis, AxisError> {
    Axis::parse(text)
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "an IP address and a port are needed, such as 127.0.0.1:22 or [::1]:22; names are not looked up".to_owned()
    })
}

/// An address as `address` takes it, or an IP address alone, whose port is ssh's.
fn address_or_host(text: &str) -> Result<SocketAddr, String> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    match bare.parse::<IpAddr>() {
        Ok(host) => Ok(SocketAddr::new(host, SSH_PORT)),
        Err(_) => text.parse().map_err(|_| {
            "an IP address is needed, with a port unless it is 22, such as 192.0.2.7, 127.0.0.1:2222 or [::1]:2222; names are not \
             looked up (`getent hosts NAME` does)"
                .to_owned()
        }),
    }
}

/// Where sshd listens unless told otherwise.
const SSH_PORT: u16 = 22;

fn duration(text: &str) -> Result<Duration, String> {
    sshchurn_core::scenario::parse_duration(text).map_err(|error| error.to_string())
}

fn moment(text: &str) -> Result<Moment, String> {
    Moment::try_from(text.to_owned())
        .map_err(|error| format!("{error}; write it like 2026-04-05T04:35:07"))
}

fn time_scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if scale > 0.0 && scale <= 10.0 => Ok(scale),
        _ => Err("a number above 0 and at most 10 is needed".to_owned()),
    }
}

/// `99%` or `0.99`, as a share.
fn reliability(text: &str) -> Result<f64, String> {
    let share = match text.trim().strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.trim().parse::<f64>(),
    };
    match share {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("a share above 0 and below 100% is needed, such as `99%`; no number of rounds shows 100%".to_owned()),
    }
}

fn at_least_one(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if (1.0..=100.0).contains(&factor) => Ok(factor),
        _ => Err("a number from 1 to 100 is needed".to_owned()),
    }
}

fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        _ => Err("a number of at least 0 is needed".to_owned()),
    }
}

/// `10%`, as a share.
fn percent(text: &str) -> Result<f64, String> {
    text.strip_suffix('%')
        .and_then(|number| not_negative(number).ok())
        .map(|percent| percent / 100.0)
        .ok_or_else(|| "write it with its sign, such as `10%`".to_owned())
}

fn keyword(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((keyword, value)) if !keyword.trim().is_empty() && !value.trim().is_empty() => {
            Ok((keyword.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("write it as `Keyword=value`".to_owned()),
    }
}

/// What `sshd -C` takes (servconf.c `parse_server_match_testspec`), without what would be a word of its own.
fn connection(text: &str) -> Result<String, String> {
    const KNOWN: [&str; 6] = ["addr", "host", "laddr", "lport", "rdomain", "user"];
    let valid = text.split(',').all(|part| {
        part.split_once('=').is_some_and(|(name, value)| {
            KNOWN.contains(&name)
                && !value.is_empty()
                && !value.contains(|c: char| c.is_whitespace() || c.is_control())
        })
    });
    match valid {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "write it as `user=NAME,addr=IP`; sshd knows {}",
            KNOWN.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_image_and_the_releases_in_the_help_are_those_of_the_table() {
        let build = |arguments: &[&str]| {
            let words = ["sshchurn", "image", "build"].iter().chain(arguments);
            match Cli::try_parse_from(words) {
                Ok(Cli {
                    command: Command::Image(ImageCommand::Build { release, packages }),
                    ..
                }) => {
                    let packages: Vec<String> = packages.iter().map(ToString::to_string).collect();
                    Some((release, packages.join(" ")))
                }
                _ => None,
            }
        };
        let default = ImageReleaseArg::One(Suite::DEFAULT);
        let plain = |release| Some((release, String::new()));
        assert_eq!(build(&[]), plain(default));
        assert_eq!(build(&["--release", "all"]), plain(ImageReleaseArg::All));
        assert_eq!(
            build(&["--release", "10.6"]),
            plain(ImageReleaseArg::One(Suite::Forky))
        );
        assert_eq!(build(&["--release", "9.8"]), None);
        assert_eq!(
            build(&["--packages", "git,libstdc++6"]),
            Some((default, "git libstdc++6".to_owned()))
        );
        for wrong in ["Git", "git rsync", "git,", ""] {
            assert_eq!(build(&["--packages", wrong]), None, "{wrong:?}");
        }
        let mut command = <Cli as clap::CommandFactory>::command();
        let help = command
            .find_subcommand_mut("image")
            .and_then(|image| image.find_subcommand_mut("build"))
            .map(|build| build.render_long_help().to_string())
            .expect("image build is there");
        assert!(help.contains(&Suite::releases()), "{help}");
    }

    #[test]
    fn server_of_a_probe_is_an_address_with_or_without_a_port() {
        for (text, address) in [
            ("192.0.2.7", "192.0.2.7:22"),
            ("127.0.0.1:2222", "127.0.0.1:2222"),
            ("::1", "[::1]:22"),
            ("[::1]", "[::1]:22"),
            ("[::1]:2222", "[::1]:2222"),
        ] {
            assert_eq!(address_or_host(text), Ok(address.parse().expect("valid")));
        }
        for text in ["", "example.org", "example.org:22", "127.0.0.1:", ":22"] {
            assert!(address_or_host(text).is_err(), "{text}");
        }
        let alone = ["sshchurn", "probe", "127.0.0.1", "--user", "somebody"];
        assert!(Cli::try_parse_from(alone).is_err(), "a user needs a key");
    }

    #[test]
    fn matrix_takes_releases_and_the_overrides_of_run() {
        let cli = Cli::try_parse_from([
            "sshchurn",
            "matrix",
            "smoke",
            "--release",
            "8.4",
            "--release",
            "10.6",
            "-n",
            "3",
            "--threshold",
            "attempts >= 1",
        ])
        .expect("it parses");
        let Command::Matrix(args) = cli.command else {
            panic!("another command");
        };
        assert_eq!(args.releases, [Release::new(8, 4), Release::new(10, 6)]);
        assert_eq!(args.overrides.tasks, Some(3));
        let takes = |release| Cli::try_parse_from(["sshchurn", "matrix", "--release", release]);
        assert!(takes("9.8").is_ok(), "the nearest is run");
        let refused = takes("11.3").expect_err("there is no such release");
        assert!(
            refused.to_string().contains(&Suite::releases()),
            "{refused}"
        );
    }
}
