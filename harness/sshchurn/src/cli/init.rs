//! `sshchurn init -- COMMAND`: a client under test, behind a gate, in one step.
//!
//! Owns what is written and what is said of what was found. The run is `run`'s.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;

use super::args::{Cli, Command, InitArgs, RunArgs};
use super::console::Console;
use super::error::CliError;
use super::run;
use crate::shipped::GITHUB_WORKFLOW;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_report::RunReport;

/// The scenario, in the folder that the command is run in.
const SCENARIO: &str = "sshchurn.toml";
/// Where GitHub looks for workflows.
const WORKFLOW: &str = ".github/workflows/sshchurn.yml";
/// Rounds of the first run: whether a client makes the same number of connections each time is part of what it finds.
const ROUNDS: &str = "3";

/// `sshchurn init`.
pub(super) async fn command(args: InitArgs, console: Console) -> Result<ExitCode, CliError> {
    let scenario = PathBuf::from(SCENARIO);
    if scenario.exists() {
        return Err(CliError::Usage(format!(
            "{SCENARIO} is there already; remove it, or run it: `sshchurn run {SCENARIO}`"
        )));
    }
    write(&scenario, &text(&args.argv, &args.timeout, None))?;
    let report = match first_run(&args, &console).await {
        Ok(Some(report)) => report,
        nothing => {
            // What was not run is not left behind, half made.
            let _ = fs::remove_file(&scenario);
            return nothing.map(|_| ExitCode::Interrupted);
        }
    };
    let found = Found::of(&report);
    console.result(&found.sentence())?;
    let Some(most) = found.gate() else {
        let _ = fs::remove_file(&scenario);
        return Ok(ExitCode::Inconclusive);
    };
    write(&scenario, &text(&args.argv, &args.timeout, Some(most)))?;
    let mut written = vec![SCENARIO];
    if !args.no_workflow && !Path::new(WORKFLOW).exists() {
        write(Path::new(WORKFLOW), GITHUB_WORKFLOW)?;
        written.push(WORKFLOW);
    }
    console.result(&format!(
        "Written: {}. Try it: `sshchurn run {SCENARIO}`.\n",
        written.join(", ")
    ))?;
    Ok(ExitCode::Success)
}

/// What the first run found.
struct Found {
    /// Logins of each round, the fewest and the most.
    logins: Option<(f64, f64)>,
    refused: u64,
    failed: u64,
    output: String,
}

impl Found {
    fn of(report: &RunReport) -> Self {
        let totals = report.strategies.first().map(|strategy| &strategy.totals);
        let spread = report
            .strategies
            .first()
            .and_then(|strategy| strategy.spread.get("handshakes"));
        Found {
            logins: spread.map(|spread| (spread.min, spread.max)),
            refused: totals.map_or(0, |totals| totals.total.counts.banner_eof),
            failed: totals.map_or(0, |totals| totals.tasks.tasks_failed),
            output: totals
                .and_then(|totals| totals.clients.as_ref()?.failures.first())
                .map_or_else(String::new, |failure| {
                    format!(" ({}):\n{}", failure.end, failure.output)
                }),
        }
    }

    /// The most logins that a later run may make; `None` where there is nothing to go by.
    fn gate(&self) -> Option<f64> {
        let (_, most) = self.logins?;
        (most > 0.0 && self.failed == 0).then_some(most)
    }

    fn sentence(&self) -> String {
        match self.logins {
            _ if self.failed > 0 => format!(
                "Your command failed{}\nNothing was written. It must pass against the server in $SSHCHURN_HOST, \
                 $SSHCHURN_PORT, $SSHCHURN_USER and $SSHCHURN_KEY (or $SSHCHURN_SSH_CONFIG).\n",
                self.output
            ),
            None | Some((_, 0.0)) => "Your command made no connection that sshd let in. Nothing was written. It must connect to \
                 $SSHCHURN_HOST, port $SSHCHURN_PORT, as $SSHCHURN_USER, with the key $SSHCHURN_KEY (or take all of that from \
                 $SSHCHURN_SSH_CONFIG).\n"
                .to_owned(),
            Some((least, most)) if least < most => format!(
                "Your command made {least} to {most} connections a run: it is not the same each time. The gate is set at {most}.\n"
            ),
            Some((_, most)) => {
                let refused = match self.refused {
                    0 => String::new(),
                    refused => format!(" ({refused} were refused)"),
                };
                let connections = match most <= 1.0 {
                    true => "connection",
                    false => "connections",
                };
                format!(
                    "Your command made {most} {connections} in each of {ROUNDS} runs{refused}. The gate is set at {most}.\n"
                )
            }
        }
    }
}

async fn first_run(args: &InitArgs, console: &Console) -> Result<Option<RunReport>, CliError> {
    let run = run_args(&["--target", args.target.as_str(), "--rounds", ROUNDS])?;
    let concluded = run::concluded(&run, console).await?;
    Ok(concluded.map(|concluded| concluded.report))
}

/// As if they had been typed after `sshchurn run sshchurn.toml`.
fn run_args(more: &[&str]) -> Result<Box<RunArgs>, CliError> {
    let typed = [&["sshchurn", "run", SCENARIO][..], more].concat();
    match Cli::try_parse_from(typed).map(|cli| cli.command) {
        Ok(Command::Run(run)) => Ok(run),
        Ok(_) => Err(CliError::Usage("no run".to_owned())),
        Err(error) => Err(CliError::Usage(error.to_string())),
    }
}

/// The scenario: limits out of the way, one program for the round, and the gate when there is a number for it.
fn text(argv: &[String], timeout: &str, most: Option<f64>) -> String {
    let argv = toml::Value::from(argv.to_vec());
    let gate = most.map_or_else(String::new, |most| {
        format!(
            "\n# What it made when this was written: more is a change for the worse, whatever the machine.\n\
             [[gate]]\nthreshold = \"handshakes.max <= {most}\"\n"
        )
    });
    format!(
        "# The client under test, run once a round. Its server is in $SSHCHURN_HOST, $SSHCHURN_PORT, $SSHCHURN_USER,\n\
         # $SSHCHURN_KEY and $SSHCHURN_KNOWN_HOSTS, or in the file $SSHCHURN_SSH_CONFIG.\n\
         name = \"client\"\ntasks = 1\n\n\
         [[strategy]]\nkind = \"command\"\nargv = {argv}\nper = \"round\"\ntimeout = \"{timeout}\"\n\n\
         [sshd]\nmax_startups = \"1000:30:2000\"\n{gate}"
    )
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, text))
        .map_err(|source| CliError::Folder {
            path: path.to_path_buf(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sshchurn_core::scenario::Scenario;

    #[test]
    fn whatever_the_command_is_the_scenario_reads_back_as_it() {
        for argv in [
            vec!["pytest", "tests/ssh"],
            vec!["sh", "-c", "echo \"a\\b\"\n\tdone ü \u{7}"],
        ] {
            let argv: Vec<String> = argv.into_iter().map(str::to_owned).collect();
            for most in [None, Some(7.0)] {
                let text = text(&argv, "10m", most);
                let scenario = Scenario::parse("init.toml", &text).expect("a good scenario");
                let (_, program) = scenario.programs().next().expect("a client");
                assert_eq!(program.argv, argv);
                assert_eq!(scenario.gate.len(), usize::from(most.is_some()));
            }
        }
    }
}
