//! Raw arguments, as clap parses them. What they mean together is decided in `run` and the other commands.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::scenario::MaxStartups;

/// Load-test and reproduction harness for sshd's admission limits (MaxStartups).
///
/// Starts an OpenSSH server with a chosen MaxStartups, runs N-way fan-outs of remote-job submissions under the
/// connection-per-command and the reused-session strategy, and reports banner-EOF failures, handshake rate and
/// leftover job directories.
///
/// Exit codes: 0 ran and gates passed; 1 a gate failed; 2 usage or configuration error; 3 inconclusive or
/// invalid; 4 environment failure; 130 interrupted, with a partial report.
#[derive(Debug, Parser)]
#[command(
    name = "sshchurn",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub(super) struct Cli {
    /// Print tracing on stderr: -v info, -vv debug, -vvv everything.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(super) verbose: u8,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a scenario and report it.
    Run(Box<RunArgs>),
    /// Render the report of a run directory again, from its ledger and log.
    Report(ReportArgs),
    /// Check and list scenarios.
    #[command(subcommand)]
    Scenario(ScenarioCommand),
    /// Build and list container images of OpenSSH servers.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Check what this machine allows, with the fix for everything that is missing.
    Doctor(DoctorArgs),
}

/// Which server to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum TargetArg {
    /// Docker, else local, else embedded; says which and why.
    Auto,
    /// A container with OpenSSH.
    Docker,
    /// A process of this machine's own OpenSSH server.
    Local,
    /// The in-process stand-in with OpenSSH's admission rule.
    Embedded,
    /// A running server (`--address`); loopback only, unless `--consent` names the host.
    External,
}

/// How a container's sshd is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum NetworkArg {
    /// The host's network namespace, bound to 127.0.0.1.
    Host,
    /// A port published on 127.0.0.1: through Docker's proxy, which hides RST from EOF.
    Published,
}

/// What goes to stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FormatArg {
    /// The side-by-side table.
    Text,
    /// `report.json`.
    Json,
    /// `report.md`: for a pull-request comment or a step summary.
    Md,
    /// `junit.xml`.
    Junit,
    /// `metrics.txt`.
    Openmetrics,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// A scenario file, or the name of a shipped one (`sshchurn scenario list`).
    #[arg(default_value = crate::scenario::DEFAULT)]
    pub(super) scenario: String,
    /// The server under test.
    #[arg(long, value_enum, default_value_t = TargetArg::Auto)]
    pub(super) target: TargetArg,
    /// Tasks per round.
    #[arg(short = 'n', long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) tasks: Option<u32>,
    /// MaxStartups of the server, `start:rate:full`.
    #[arg(long, value_name = "A:R:B")]
    pub(super) max_startups: Option<MaxStartups>,
    /// Only this strategy of the scenario; repeat for more.
    #[arg(long = "strategy", value_name = "NAME")]
    pub(super) strategies: Vec<String>,
    /// Rounds of each strategy.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rounds: Option<u32>,
    /// Seed of every random draw of the client.
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// Factor on every wait (not on deadlines), above 0 and at most 10.
    #[arg(long, value_parser = time_scale)]
    pub(super) time_scale: Option<f64>,
    /// Bound on the whole run, such as `90s` or `5m`.
    #[arg(long, value_parser = duration)]
    pub(super) max_duration: Option<Duration>,
    /// A further sshd_config line, `Keyword=value`; repeatable, overrides the scenario.
    #[arg(long = "sshd-option", value_name = "KEYWORD=VALUE", value_parser = keyword)]
    pub(super) sshd_options: Vec<(String, String)>,
    /// A threshold to judge the run by, such as `reused-session.banner_eof == 0`; repeatable.
    #[arg(long = "threshold", value_name = "EXPR")]
    pub(super) thresholds: Vec<String>,
    /// Run directory [default: sshchurn-runs/<scenario>-<UTC time>].
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// What goes to stdout.
    #[arg(long, value_enum, default_value_t = FormatArg::Text)]
    pub(super) format: FormatArg,
    /// No progress display, even on a terminal.
    #[arg(long)]
    pub(super) no_progress: bool,
    /// docker: how the container is reached.
    #[arg(long, value_enum, default_value_t = NetworkArg::Host, help_heading = "Docker target")]
    pub(super) network: NetworkArg,
    /// external: address of the server.
    #[arg(long, value_name = "IP:PORT", help_heading = "External target")]
    pub(super) address: Option<SocketAddr>,
    /// external: user to log in as.
    #[arg(long, help_heading = "External target")]
    pub(super) user: Option<String>,
    /// external: private key file without passphrase.
    #[arg(long, value_name = "FILE", help_heading = "External target")]
    pub(super) key: Option<PathBuf>,
    /// external: the host's address once more, to say that you may load it; needed unless it is loopback.
    #[arg(long, value_name = "HOST", help_heading = "External target")]
    pub(super) consent: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// A run directory.
    pub(super) run_dir: PathBuf,
    /// What goes to stdout.
    #[arg(long, value_enum, default_value_t = FormatArg::Text)]
    pub(super) format: FormatArg,
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
    /// Build the image that the docker target uses.
    Build,
    /// List the images built so far.
    List,
}

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Check for this scenario's size.
    #[arg(default_value = crate::scenario::DEFAULT)]
    pub(super) scenario: String,
}

fn duration(text: &str) -> Result<Duration, String> {
    crate::scenario::parse_duration(text).map_err(|error| error.to_string())
}

fn time_scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if scale > 0.0 && scale <= 10.0 => Ok(scale),
        _ => Err("a number above 0 and at most 10 is needed".to_owned()),
    }
}

fn keyword(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((keyword, value)) if !keyword.trim().is_empty() && !value.trim().is_empty() => {
            Ok((keyword.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("write it as `Keyword=value`".to_owned()),
    }
}
