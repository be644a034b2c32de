//! `sshchurn check-config`: what `MaxStartups` was meant to be, what `sshd -T` says, and what the server does.
//!
//! Owns putting the scenario `staircase` together; reading its run against the expectation is `session`'s.

use super::args::{CheckConfigArgs, CheckConfigFormatArg};
use super::console::Console;
use super::error::CliError;
use super::overrides;
use super::report;
use super::server_choice;
use super::signals;
use crate::session::{RunDirectory, RunOrder, SessionError, config_check, preflight, run_id};
use crate::shipped::SCENARIOS;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_report::config_check as render;
use sshchurn_server::{ServerError, ServerOptions};

/// The scenario that is run.
const SCENARIO: &str = "staircase";

pub(super) async fn command(args: CheckConfigArgs, console: Console) -> Result<ExitCode, CliError> {
    let (mut scenario, origin) = SCENARIOS
        .resolve(SCENARIO)
        .map_err(|errors| CliError::Scenario(errors.render()))?;
    scenario.rounds = args.climbs;
    if let Some(max_startups) = args.max_startups {
        scenario.sshd.max_startups = max_startups;
    }
    overrides::set_keywords(&mut scenario, &args.sshd_options)?;
    let expected = args.expect.unwrap_or(scenario.sshd.max_startups);
    let server = server_choice::of(args.target.into(), args.release, &args.docker);
    server_choice::check_container(server, &args.docker)?;
    server_choice::check_releases(
        server,
        args.release,
        scenario.sshd.min_release,
        args.docker.image.as_deref(),
    )?;
    let findings = preflight(&scenario, server)?;
    let run_id = run_id(SCENARIO);
    let directory = RunDirectory::create(args.out.as_deref(), &run_id.0)?;
    let order = RunOrder {
        origin,
        server,
        options: ServerOptions {
            release: args.release,
            docker: server_choice::docker_options(&args.docker),
            external: None,
        },
        run_id,
        directory,
        findings,
        baseline: None,
        scenario,
    };
    let interrupts = signals::interrupts(&console)?;
    let (check, problems) = match order.run(&interrupts, &console).await {
        Ok(None) => return Ok(ExitCode::Interrupted),
        Ok(Some(concluded)) => {
            let report = concluded.report;
            if matches!(report.exit, ExitCode::Interrupted | ExitCode::Environment) {
                report::tell(concluded.problems, order.directory.path(), &console);
                console.note("the check was not finished; the run directory has what was measured");
                return Ok(report.exit);
            }
            let check = config_check::of_run(&order, &report, expected)?;
            (check, concluded.problems)
        }
        // sshd has the last word on its configuration: that is an answer, not a failure.
        Err(SessionError::Server(ServerError::ConfigDiffers { effective, .. })) => (
            config_check::of_refusal(&order, expected, effective),
            Vec::new(),
        ),
        Err(error) => return Err(error.into()),
    };
    console.result(&match args.format {
        CheckConfigFormatArg::Text => render::text(&check),
        CheckConfigFormatArg::Json => render::json(&check),
    })?;
    let failed = !problems.is_empty();
    let directory = order.directory.path();
    report::tell(problems, directory, &console);
    // A server that was not started has left none.
    if directory.exists() {
        console.note(&format!("run directory: {}", directory.display()));
    }
    Ok(if failed {
        ExitCode::Environment
    } else {
        check.exit()
    })
}
