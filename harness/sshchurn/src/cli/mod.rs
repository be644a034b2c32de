//! The command line: clap, console, progress, dispatch. The only place that prints.

mod args;
mod check_config;
mod compare;
mod console;
mod diagnose;
mod doctor;
mod error;
mod fidelity;
mod image;
mod init;
mod live;
mod manual;
mod matrix;
mod overrides;
mod plan;
mod probe;
mod report;
mod run;
mod scenario;
mod server_choice;
mod signals;
mod sweep;
mod user_file;

use std::process::ExitCode as ProcessExitCode;
use std::time::Duration;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use self::args::{Cli, Command};
use self::console::Console;
use self::error::CliError;
use sshchurn_client::{LAUNCHER, launcher_main};
use sshchurn_core::exit_code::ExitCode;

/// Longest wait for what still runs when a command is over: teardown's own deadlines are shorter.
const TEARDOWN_WITHIN: Duration = Duration::from_secs(30);

/// Parses the command line, does what it says and returns the exit code.
pub fn main() -> ProcessExitCode {
    // Another kind of process, before anything of this one is made: it must have no threads.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == LAUNCHER)
    {
        return launcher_main();
    }
    let cli = Cli::parse();
    let console = Console::new(cli.quiet);
    let console = match start_tracing(cli.verbose) {
        Ok(false) if !cli.no_progress => console,
        // Both would write over each other.
        Ok(_) => console.without_progress(),
        Err(error) => {
            console.note(&error.text());
            return error.exit_code().into();
        }
    };
    let done = match cli.command {
        Command::Run(args) => in_runtime(|| run::run(*args, console.clone())),
        Command::Init(args) => in_runtime(|| init::command(args, console.clone())),
        Command::Matrix(args) => in_runtime(|| matrix::command(*args, console.clone())),
        Command::Plan(args) => in_runtime(|| plan::command(*args, console.clone())),
        Command::Sweep(args) => in_runtime(|| sweep::command(*args, console.clone())),
        Command::CheckConfig(args) => in_runtime(|| check_config::command(*args, console.clone())),
        Command::Probe(args) => in_runtime(|| probe::command(args, console.clone())),
        Command::Report(args) => in_runtime(|| report::command(args, console.clone())),
        Command::Compare(args) => compare::command(&args, &console),
        Command::Diagnose(args) => diagnose::command(&args, &console),
        Command::Fidelity(args) => fidelity::command(&args, &console),
        Command::Scenario(command) => scenario::command(&command, &console),
        Command::Image(command) => in_runtime(|| image::command(command, console.clone())),
        Command::Doctor(args) => in_runtime(|| doctor::command(args, console.clone())),
        Command::Completions(args) => manual::completions(&args, &console),
        Command::Man(args) => manual::man(&args, &console),
    };
    match done {
        Ok(code) => code.into(),
        Err(error) => {
            console.note(&error.text());
            error.exit_code().into()
        }
    }
}

/// Runs an asynchronous command on a runtime of its own, which is gone before the process ends, so that everything
/// its tasks hold is dropped.
fn in_runtime<F>(command: impl FnOnce() -> F) -> Result<ExitCode, CliError>
where
    F: Future<Output = Result<ExitCode, CliError>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    let done = runtime.block_on(command());
    // A thread that hangs in the file system must not keep the program from ending: everything else is done by now.
    runtime.shutdown_timeout(TEARDOWN_WITHIN);
    done
}

/// Starts what -v and RUST_LOG ask for; the latter says it in more detail, and alone is enough. Whether anything was
/// asked for.
fn start_tracing(verbosity: u8) -> Result<bool, CliError> {
    let level = match verbosity {
        0 => None,
        1 => Some("sshchurn=info"),
        2 => Some("sshchurn=debug,russh=info"),
        _ => Some("trace"),
    };
    let asked = std::env::var(EnvFilter::DEFAULT_ENV)
        .ok()
        .filter(|directives| !directives.trim().is_empty());
    let filter = match (asked, level) {
        (Some(directives), _) => EnvFilter::try_new(&directives)
            .map_err(|error| CliError::Usage(format!("RUST_LOG={directives}: {error}")))?,
        (None, Some(level)) => EnvFilter::new(level),
        (None, None) => return Ok(false),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(console::takes_colour(&std::io::stderr()))
        .with_writer(std::io::stderr)
        .init();
    Ok(true)
}
