//! `sshchurn check-config`: what `MaxStartups` was meant to be, what `sshd -T` says, and what the server does; for a value, or
//! for a user's own file.
//!
//! Owns putting the scenario `staircase` together; reading its run against the expectation is `session`'s, asking about a file
//! [`user_file`](super::user_file)'s.

use std::path::Path;

use super::args::CheckConfigArgs;
use super::console::Console;
use super::error::CliError;
use super::overrides::{self, OfFile};
use super::report;
use super::server_choice;
use super::signals;
use super::user_file::{self, Program, UserFile};
use crate::session::simulate::Simulation;
use crate::session::{
    Interrupts, MatrixDirectory, RunDirectory, RunOrder, SessionError, config_check, preflight,
    run_id,
};
use crate::shipped::SCENARIOS;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::scenario::{MaxStartups, Scenario};
use sshchurn_report::config_check::ConfigCheck;
use sshchurn_report::config_file::{
    Behaviour, ConfigFileCheck, FileVerdict, ReleaseReading, Setting,
};
use sshchurn_report::format;
use sshchurn_server::config_reader::{ConfigAnswer, SshdProgram};
use sshchurn_server::{ServerError, ServerOptions};

/// The scenario that is run.
const SCENARIO: &str = "staircase";

pub(super) async fn command(args: CheckConfigArgs, console: Console) -> Result<ExitCode, CliError> {
    if let Some(path) = &args.file {
        return file(path, &args, &console).await;
    }
    let release = match args.releases[..] {
        [] => None,
        [release] => Some(release),
        _ => {
            return Err(CliError::Usage(
                "several `--release` need a FILE; `sshchurn matrix staircase` runs one value on several".to_owned(),
            ));
        }
    };
    if args.lookup.config_root.is_some() || args.lookup.connection.is_some() {
        return Err(CliError::Usage(
            "`--config-root` and `--connection` do nothing without a FILE".to_owned(),
        ));
    }
    let (mut scenario, origin) = staircase(&args)?;
    if let Some(max_startups) = args.max_startups {
        scenario.sshd.max_startups = max_startups;
    }
    overrides::set_keywords(&mut scenario, &args.sshd_options)?;
    let expected = args.expect.unwrap_or(scenario.sshd.max_startups);
    let server = server_choice::of(args.target.into(), release, &args.docker);
    server_choice::check_container(server, &args.docker)?;
    server_choice::check_releases(
        server,
        release,
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
            release,
            docker: server_choice::docker_options(&args.docker),
            external: None,
        },
        simulation: Simulation::assumed(),
        run_id,
        directory,
        findings,
        baseline: None,
        scenario,
    };
    let interrupts = signals::interrupts(&console)?;
    let (check, failed) = match checked(&order, expected, &interrupts, &console).await? {
        Checked::Measured { check, failed } => (check, failed),
        Checked::Not(exit) => return Ok(exit),
    };
    console.show(&*check, args.format, None)?;
    Ok(if failed {
        ExitCode::Environment
    } else {
        check.exit()
    })
}

/// The scenario with the climbs that are asked for.
fn staircase(args: &CheckConfigArgs) -> Result<(Scenario, String), CliError> {
    let (mut scenario, origin) = SCENARIOS
        .resolve(SCENARIO)
        .map_err(|errors| CliError::Scenario(errors.render()))?;
    scenario.rounds = args.climbs;
    Ok((scenario, origin))
}

/// What a run of the scenario came to.
enum Checked {
    /// It says something; `failed` where not everything could be written down.
    Measured {
        check: Box<ConfigCheck>,
        failed: bool,
    },
    /// It was stopped, or the machine was in the way: that has been told.
    Not(ExitCode),
}

/// Runs the scenario and reads it against what is expected.
async fn checked(
    order: &RunOrder,
    expected: MaxStartups,
    interrupts: &Interrupts,
    console: &Console,
) -> Result<Checked, CliError> {
    let (check, problems) = match order.run(interrupts, console).await {
        Ok(None) => return Ok(Checked::Not(ExitCode::Interrupted)),
        Ok(Some(concluded)) => {
            let report = concluded.report;
            if matches!(report.exit, ExitCode::Interrupted | ExitCode::Environment) {
                report::tell(concluded.problems, order.directory.path(), console);
                console.note("the check was not finished; the run directory has what was measured");
                return Ok(Checked::Not(report.exit));
            }
            let check = config_check::of_run(order, &report, expected)?;
            (check, concluded.problems)
        }
        // sshd has the last word on its configuration: that is an answer, not a failure.
        Err(SessionError::Server(ServerError::ConfigDiffers { effective, .. })) => (
            config_check::of_refusal(order, expected, effective),
            Vec::new(),
        ),
        Err(error) => return Err(error.into()),
    };
    let failed = !problems.is_empty();
    let directory = order.directory.path();
    report::tell(problems, directory, console);
    // A server that was not started has left none.
    if directory.exists() {
        console.aside(&format!("run directory: {}", directory.display()));
    }
    Ok(Checked::Measured {
        check: Box::new(check),
        failed,
    })
}

/// A user's own file: what each release makes of it, and what the server does with what can be run of it.
async fn file(
    path: &Path,
    args: &CheckConfigArgs,
    console: &Console,
) -> Result<ExitCode, CliError> {
    if args.docker.image.is_some() {
        return Err(CliError::Usage(
            "a FILE is read by the sshd of a release: use `--release` instead of `--image`"
                .to_owned(),
        ));
    }
    let server = server_choice::of(args.target.into(), None, &args.docker);
    server_choice::check_container(server, &args.docker)?;
    let file = UserFile::read(path, &args.lookup)?;
    file.check_not_set_twice(&args.sshd_options)?;
    let interrupts = signals::interrupts(console)?;
    let (mut readings, mut asked) = (Vec::new(), Vec::new());
    let programs = match args.as_written {
        true => user_file::readers(server, &args.releases, console).await?,
        false => user_file::programs(server, &args.releases).await?,
    };
    for program in programs {
        if interrupts.requested() {
            return Ok(ExitCode::Interrupted);
        }
        let program = match program {
            Program::Asked(program) => program,
            Program::Source(release) => {
                readings.push(ReleaseReading::from_source(&file.config, release));
                continue;
            }
        };
        let Some(answer) = file.ask(program, &interrupts, console).await? else {
            return Ok(ExitCode::Interrupted);
        };
        readings.push(file.reading(&answer));
        asked.push((program, answer));
    }
    let connection = args.lookup.connection.clone();
    let check = ConfigFileCheck::new(&file.config, connection, args.expect, readings);
    let show = |check: &ConfigFileCheck| {
        let form = format::named(format::CONFIG_FILE, args.format.name);
        console.show(check, form.unwrap_or(&format::CONFIG_FILE[0]), None)
    };
    if args.as_written || asked.is_empty() || check.verdict == FileVerdict::Refused {
        show(&check)?;
        return Ok(check.exit());
    }

    let several = match asked.len() {
        1 => None,
        _ => Some(MatrixDirectory::create(
            args.out.as_deref(),
            &run_id("check-config").0,
        )?),
    };
    let mut behaviour = Vec::new();
    let mut failed = false;
    for (program, answer) in &asked {
        let ran = ran(
            &file,
            args,
            *program,
            answer,
            several.as_ref(),
            &interrupts,
            console,
        )
        .await;
        // What was found out stands, whatever keeps the rest from being run.
        let (why, exit) = match ran {
            Ok(Ran::Whole(whole, not_written)) => {
                failed |= not_written;
                behaviour.push(*whole);
                continue;
            }
            Ok(Ran::Not(exit)) => ("it was stopped before its end".to_owned(), exit),
            Err(error) => {
                console.note(&error.text());
                (error.to_string(), error.exit_code())
            }
        };
        let check = check.with_behaviour(behaviour).with_unfinished(why, exit);
        show(&check)?;
        return Ok(check.exit());
    }
    let check = check.with_behaviour(behaviour);
    show(&check)?;
    Ok(if failed {
        ExitCode::Environment
    } else {
        check.exit()
    })
}

/// What came of running a file on one release.
enum Ran {
    /// How it behaved, and whether not everything could be written down.
    Whole(Box<Behaviour>, bool),
    /// It did not come to an end, which has been told.
    Not(ExitCode),
}

/// Runs what can be run of a file on the sshd that was asked about it.
async fn ran(
    file: &UserFile,
    args: &CheckConfigArgs,
    program: SshdProgram,
    answer: &ConfigAnswer,
    several: Option<&MatrixDirectory>,
    interrupts: &Interrupts,
    console: &Console,
) -> Result<Ran, CliError> {
    let OfFile { name, extract } = file.of_file(answer)?;
    let (mut scenario, origin) = staircase(args)?;
    extract.apply(&mut scenario.sshd);
    overrides::set_keywords(&mut scenario, &args.sshd_options)?;
    let release = answer.release.to_string();
    let (server, of_server) = server_choice::of_program(program);
    let findings = preflight(&scenario, server)?;
    let run_id = run_id(SCENARIO);
    let directory = match several {
        Some(several) => several.run(&release)?,
        None => RunDirectory::create(args.out.as_deref(), &run_id.0)?,
    };
    let order = RunOrder {
        origin: format!("{origin}, with {name}"),
        server,
        options: ServerOptions {
            release: of_server,
            docker: server_choice::docker_options(&args.docker),
            external: None,
        },
        simulation: Simulation::assumed(),
        run_id,
        directory,
        findings,
        baseline: None,
        scenario,
    };
    let expected = args.expect.unwrap_or(extract.max_startups);
    match checked(&order, expected, interrupts, console).await? {
        Checked::Not(exit) => Ok(Ran::Not(exit)),
        Checked::Measured { check, failed } => {
            let run = order.scenario.sshd.keywords.into_iter();
            let behaviour = Behaviour {
                release,
                run: run
                    .map(|(keyword, value)| Setting { keyword, value })
                    .collect(),
                left_out: extract.left_out.into_iter().map(Into::into).collect(),
                check: *check,
            };
            Ok(Ran::Whole(Box::new(behaviour), failed))
        }
    }
}
