//! `sshchurn matrix`: one scenario over OpenSSH releases, one after the other, and one table of them.

use super::args::{MatrixArgs, MatrixFormatArg};
use super::console::Console;
use super::error::CliError;
use super::overrides::{self, Resolved};
use super::run::check_clients;
use super::server_choice;
use super::signals;
use crate::session::{
    Conclusion, MatrixDirectory, RunOrder, SessionError, check_thresholds, preflight, run_id,
};
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::ids::RunId;
use sshchurn_core::release::Release;
use sshchurn_report::matrix::{self, MatrixReport, MatrixRow};
use sshchurn_server::docker::Suite;
use sshchurn_server::{ServerChoice, ServerOptions};

pub(super) async fn command(args: MatrixArgs, console: Console) -> Result<ExitCode, CliError> {
    let console = if args.no_progress {
        console.without_progress()
    } else {
        console
    };
    let Resolved {
        scenario,
        origin,
        left_out,
    } = overrides::resolve(&args.scenario, &args.overrides)?;
    check_thresholds(&scenario)?;
    check_clients(
        &scenario,
        ServerChoice::Docker,
        &server_choice::docker_options(args.network),
    )?;
    let suites = suites(&args.releases, scenario.sshd.min_release)?;
    let matrix_id = run_id(&format!("{}-matrix", scenario.name));
    let directory = MatrixDirectory::create(args.out.as_deref(), &matrix_id.0)?;
    let interrupts = signals::interrupts(&console)?;

    let mut rows = Vec::new();
    for (index, suite) in suites.iter().enumerate() {
        let release = suite.release().to_string();
        if interrupts.requested() {
            rows.push(MatrixRow::not_run(&release));
            continue;
        }
        console.note(&format!(
            "== OpenSSH {release} ({} of {})",
            index + 1,
            suites.len()
        ));
        // The machine is looked at anew for each: the one before has left sockets in TIME_WAIT.
        let order = || -> Result<RunOrder, SessionError> {
            let mut findings = preflight(&scenario, ServerChoice::Docker)?;
            findings.extend(left_out.iter().cloned());
            Ok(RunOrder {
                scenario: scenario.clone(),
                origin: origin.clone(),
                server: ServerChoice::Docker,
                options: ServerOptions {
                    release: Some(suite.release()),
                    docker: server_choice::docker_options(args.network),
                    external: None,
                },
                run_id: RunId(format!("{matrix_id}-{release}")),
                directory: directory.run(&release)?,
                findings,
                baseline: None,
            })
        };
        let ended = match order() {
            Ok(order) => order.run(&interrupts, &console).await,
            Err(error) => Err(error),
        };
        let row = row(&release, ended);
        if let Some(error) = &row.error {
            console.note(&format!("error: {error}"));
        }
        rows.push(row);
    }

    let interrupted = interrupts.requested();
    let report = MatrixReport::new(
        &scenario.name,
        &origin,
        scenario.to_toml(),
        interrupted,
        rows,
    );
    let written = directory.write(&report);
    console.result(&match args.format {
        MatrixFormatArg::Text => matrix::text(&report),
        MatrixFormatArg::Json => matrix::json(&report),
        MatrixFormatArg::Md => matrix::markdown(&report),
    })?;
    console.note(&format!("matrix directory: {}", directory.path().display()));
    written?;
    Ok(report.exit)
}

/// What a run's end means for its row; a release that fails does not keep the others from being run.
fn row(release: &str, ended: Result<Option<Conclusion>, SessionError>) -> MatrixRow {
    match ended {
        Ok(None) => MatrixRow::not_run(release),
        Ok(Some(mut concluded)) => match concluded.problems.pop() {
            None => MatrixRow::ran(release, &concluded.report),
            Some(problem) => failed(release, problem),
        },
        Err(error) => failed(release, error),
    }
}

fn failed(release: &str, error: SessionError) -> MatrixRow {
    let error = CliError::from(error);
    let text = error.text();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    MatrixRow::failed(release, text.replace('\n', " "), error.exit_code())
}

/// The releases asked for, each once, oldest first; without any all that the scenario allows.
fn suites(asked: &[Suite], least: Option<Release>) -> Result<Vec<Suite>, CliError> {
    let allowed = |suite: &Suite| least.is_none_or(|least| suite.release() >= least);
    if let (Some(suite), Some(least)) = (asked.iter().find(|suite| !allowed(suite)), least) {
        return Err(CliError::Usage(format!(
            "--release {}: the scenario needs OpenSSH {least} or newer (`sshd.min_release`)",
            suite.release()
        )));
    }
    let suites: Vec<Suite> = Suite::ALL
        .into_iter()
        .filter(|suite| allowed(suite) && (asked.is_empty() || asked.contains(suite)))
        .collect();
    match least {
        Some(least) if suites.is_empty() => Err(CliError::Usage(format!(
            "the scenario needs OpenSSH {least} or newer (`sshd.min_release`), and images are known of {} only",
            Suite::releases()
        ))),
        _ => Ok(suites),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Finding;
    use sshchurn_report::matrix::RowState;

    #[test]
    fn releases_are_run_once_each_from_the_oldest_on() {
        assert_eq!(suites(&[], None).expect("all"), Suite::ALL);
        assert_eq!(
            suites(&[Suite::Forky, Suite::Bullseye, Suite::Forky], None).expect("two"),
            [Suite::Bullseye, Suite::Forky]
        );
    }

    #[test]
    fn scenario_keeps_older_releases_out_unless_they_are_asked_for_and_then_it_is_an_error() {
        let least = Some(Release::new(9, 8));
        assert_eq!(
            suites(&[], least).expect("the newer ones"),
            [Suite::Trixie, Suite::TrixieBackports, Suite::Forky]
        );
        let error = suites(&[Suite::Forky, Suite::Bookworm], least).expect_err("refused");
        assert_eq!(error.exit_code(), ExitCode::Usage);
        assert!(error.to_string().contains("9.2") && error.to_string().contains("9.8"));
        assert!(suites(&[], Some(Release::new(11, 0))).is_err());
    }

    #[test]
    fn run_that_fails_and_one_that_was_stopped_before_it_began_have_rows_too() {
        let failed = row(
            "8.4",
            Err(SessionError::Preflight(vec![
                Finding::failure("ports", "none", "free some"),
                Finding::failure("files", "none", "raise the limit"),
            ])),
        );
        assert_eq!(failed.state, RowState::Failed);
        assert_eq!(
            failed.error.as_deref(),
            Some("ports: none; free some files: none; raise the limit")
        );
        assert_eq!(failed.exit, Some(ExitCode::Environment));
        assert_eq!(row("8.4", Ok(None)).state, RowState::NotRun);
    }
}
