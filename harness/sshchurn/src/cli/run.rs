//! `sshchurn run`: the data flow from top to bottom. Arguments → order → run → report on stdout.

use std::path::Path;

use super::args::RunArgs;
use super::compare;
use super::console::Console;
use super::error::CliError;
use super::overrides::{self, Resolved};
use super::report;
use super::server_choice;
use super::signals;
use super::user_file::{self, UserFile};
use crate::session::{
    Baseline, Conclusion, Interrupts, RunDirectory, RunOrder, SessionError, check_thresholds,
    preflight, replay, run_id, scenario_record,
};
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::scenario::{Life, Scenario};
use sshchurn_server::ServerChoice;
use sshchurn_server::docker::{DockerNetwork, DockerOptions};

/// `sshchurn run`.
pub(super) async fn run(args: RunArgs, console: Console) -> Result<ExitCode, CliError> {
    let interrupts = signals::interrupts(&console)?;
    let Some(order) = order(&args, &interrupts, &console).await? else {
        return Ok(ExitCode::Interrupted);
    };
    let Some(concluded) = order.run(&interrupts, &console).await? else {
        return Ok(ExitCode::Interrupted);
    };
    let directory = order.directory.path();
    report::show(concluded, args.format, directory, &interrupts, &console).await
}

/// Makes a run without showing it; `None` when the user stopped it before anything was measured.
pub(super) async fn concluded(
    args: &RunArgs,
    console: &Console,
) -> Result<Option<Conclusion>, CliError> {
    let interrupts = signals::interrupts(console)?;
    let Some(order) = order(args, &interrupts, console).await? else {
        return Ok(None);
    };
    Ok(order.run(&interrupts, console).await?)
}

/// Everything that can be wrong is found here, before the server. An sshd that is asked about a user's file is taken down again.
/// The directory comes last. `None` when the user has asked to stop meanwhile.
async fn order(
    args: &RunArgs,
    interrupts: &Interrupts,
    console: &Console,
) -> Result<Option<RunOrder>, CliError> {
    let mut resolved = overrides::resolve(&args.scenario, &args.overrides)?;
    check_thresholds(&resolved.scenario)?;
    let mut server = server_choice::of(args.target, args.release, &args.docker);
    server_choice::check_options(args, server)?;
    if let Some(path) = &args.sshd_config {
        let file = UserFile::read(path, &args.lookup)?;
        file.check_not_set_twice(&args.overrides.sshd_options)?;
        let least = resolved.scenario.sshd.min_release;
        let program = user_file::program(server, args.release, least).await?;
        // What one sshd has read is run on that one, also with `auto`.
        (server, _) = server_choice::of_program(program);
        let Some(answer) = file.ask(program, interrupts, console).await? else {
            return Ok(None);
        };
        let of_file = file.of_file(&answer)?;
        resolved = overrides::resolve_with(&args.scenario, &args.overrides, Some(&of_file))?;
    }
    let Resolved {
        scenario,
        origin,
        left_out,
    } = resolved;
    let baseline = match &args.baseline {
        Some(path) => Some(baseline(path, args, &scenario, &origin, server, console)?),
        None => None,
    };
    let options = server_choice::options(args.target, args.release, &args.docker, &args.external)?;
    let simulation = server_choice::simulation(&args.simulated, args.release)?;
    check_clients(&scenario, server, &options.docker)?;
    server_choice::check_releases(
        server,
        args.release,
        scenario.sshd.min_release,
        args.docker.image.as_deref(),
    )?;
    server_choice::check_login_shell(server, scenario.sshd.login_shell.as_ref())?;
    let mut findings = preflight(&scenario, server)?;
    findings.extend(left_out);
    let run_id = run_id(&scenario.name);
    let directory = RunDirectory::create(args.out.as_deref(), &run_id.0)?;
    Ok(Some(RunOrder {
        scenario,
        origin,
        server,
        options,
        simulation,
        run_id,
        directory,
        findings,
        baseline,
    }))
}

/// Clients under test are seen by the server only, each task by an address of its own, and tasks whose logins fail come from
/// addresses of their own: that needs a log, and a path that keeps addresses.
pub(super) fn check_clients(
    scenario: &Scenario,
    server: ServerChoice,
    docker: &DockerOptions,
) -> Result<(), CliError> {
    let why = match server {
        ServerChoice::External | ServerChoice::Simulated => {
            "use `--target docker`, `local` or `embedded`, whose log can be read"
        }
        _ if docker.network == DockerNetwork::Published => {
            "a published port hides addresses; use `--network host`"
        }
        ServerChoice::Auto
        | ServerChoice::Docker
        | ServerChoice::Local
        | ServerChoice::Embedded => return Ok(()),
    };
    let with_addresses = scenario
        .strategies
        .iter()
        .find(|strategy| matches!(strategy.kind.life(), Life::Program | Life::Failing));
    let Some(strategy) = with_addresses else {
        return Ok(());
    };
    let name = strategy.name.clone();
    Err(match strategy.kind.life() {
        Life::Failing => SessionError::SourcesNeedServer {
            strategy: name,
            why,
        },
        _ => SessionError::ClientNeedsServer {
            strategy: name,
            why,
        },
    }
    .into())
}

/// Reads the baseline and checks it against what is about to be run.
fn baseline(
    path: &Path,
    args: &RunArgs,
    scenario: &Scenario,
    origin: &str,
    server: ServerChoice,
    console: &Console,
) -> Result<Baseline, CliError> {
    let report = replay::report_at(path)?;
    let record = scenario_record(scenario, origin);
    let request = compare::request(&args.compare, &record.strategy_names())?;
    let baseline = Baseline::new(report, request, &record, server)?;
    compare::warn(baseline.differences(), console);
    Ok(baseline)
}
