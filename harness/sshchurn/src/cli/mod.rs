//! The command line: clap, console, progress, dispatch. The only place that prints.

mod args;
mod check_config;
mod compare;
mod console;
mod doctor;
mod error;
mod image;
mod live;
mod manual;
mod matrix;
mod overrides;
mod report;
mod run;
mod scenario;
mod server_choice;
mod signals;

use std::process::ExitCode as ProcessExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use self::args::{Cli, Command};
use self::console::Console;
use self::error::CliError;
use sshchurn_core::exit_code::ExitCode;

/// Parses the command line, does what it says and returns the exit code.
pub fn main() -> ProcessExitCode {
    let cli = Cli::parse();
    start_tracing(cli.verbose);
    let console = match cli.verbose {
        0 => Console::new(),
        // Both would write over each other.
        _ => Console::new().without_progress(),
    };
    let done = match cli.command {
        Command::Run(args) => in_runtime(|| run::run(*args, console.clone())),
        Command::Matrix(args) => in_runtime(|| matrix::command(*args, console.clone())),
        Command::CheckConfig(args) => in_runtime(|| check_config::command(args, console.clone())),
        Command::Report(args) => in_runtime(|| report::command(args, console.clone())),
        Command::Compare(args) => compare::command(&args, &console),
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
        .map_err(CliError::Signals)?;
    runtime.block_on(command())
}

fn start_tracing(verbosity: u8) {
    let level = match verbosity {
        0 => return,
        1 => "sshchurn=info",
        2 => "sshchurn=debug,russh=info",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(console::takes_colour(&std::io::stderr()))
        .with_writer(std::io::stderr)
        .init();
}
