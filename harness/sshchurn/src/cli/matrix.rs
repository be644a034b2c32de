//! `sshchurn matrix`: one scenario over OpenSSH releases, one after the other, and one table of them.

use super::args::{DockerArgs, MatrixArgs};
use super::console::Console;
use super::error::{self, CliError};
use super::overrides::{self, Resolved};
use super::run::check_clients;
use super::server_choice;
use super::signals;
use crate::session::simulate::Simulation;
use crate::session::{
    Conclusion, MatrixDirectory, RunOrder, SessionError, check_thresholds, preflight, run_id,
};
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::ids::RunId;
use sshchurn_core::release::Release;
use sshchurn_core::release_changes::substitution;
use sshchurn_report::matrix::{MatrixReport, MatrixRow};
use sshchurn_server::docker::Suite;
use sshchurn_server::{ServerChoice, ServerOptions};

pub(super) async fn command(args: MatrixArgs, console: Console) -> Result<ExitCode, CliError> {
    let Resolved {
        scenario,
        origin,
        left_out,
    } = overrides::resolve(&args.scenario, &args.overrides)?;
    check_thresholds(&scenario)?;
    let docker = |image: Option<&String>| {
        server_choice::docker_options(&DockerArgs {
            image: image.cloned(),
            network: args.network,
        })
    };
    check_clients(&scenario, ServerChoice::Docker, &docker(None))?;
    let servers = servers(&args.releases, &args.images, scenario.sshd.min_release)?;
    let matrix_id = run_id(&format!("{}-matrix", scenario.name));
    let directory = MatrixDirectory::create(args.out.as_deref(), &matrix_id.0)?;
    let interrupts = signals::interrupts(&console)?;

    let mut rows = Vec::new();
    for (index, server) in servers.iter().enumerate() {
        if interrupts.requested() {
            rows.push(server.row(MatrixRow::not_run));
            continue;
        }
        console.aside(&format!(
            "== {} ({} of {})",
            server.title(),
            index + 1,
            servers.len()
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
                    release: server.asked(),
                    docker: docker(server.image()),
                    external: None,
                },
                simulation: Simulation::assumed(),
                run_id: RunId(format!("{matrix_id}-{}", server.folder(index))),
                directory: directory.run(&server.folder(index))?,
                findings,
                baseline: None,
            })
        };
        let ended = match order() {
            Ok(order) => order.run(&interrupts, &console).await,
            Err(error) => Err(error),
        };
        let row = server.row(|name| row(name, ended));
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
    console.show(&report, args.format, None)?;
    console.aside(&format!("matrix directory: {}", directory.path().display()));
    written?;
    Ok(report.exit)
}

/// What a run's end means for its row; a release that fails does not keep the others from being run.
fn row(release: &str, ended: Result<Option<Conclusion>, SessionError>) -> MatrixRow {
    let report = ended.and_then(|ended| ended.map(Conclusion::into_report).transpose());
    match report {
        Ok(None) => MatrixRow::not_run(release),
        Ok(Some(report)) => MatrixRow::ran(release, &report),
        Err(error) => {
            let (error, exit) = error::in_one_line(error);
            MatrixRow::failed(release, error, exit)
        }
    }
}

/// A server of the matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Server {
    /// An image that is made, and the releases for which it stands in because there is none of them.
    Made {
        suite: Suite,
        stands_for: Vec<Release>,
    },
    /// An image that is given.
    Given(String),
}

impl Server {
    /// What it is called in the table: what runs, and not what was asked for.
    fn name(&self) -> String {
        match self {
            Server::Made { suite, .. } => suite.release().to_string(),
            Server::Given(image) => image.clone(),
        }
    }

    fn title(&self) -> String {
        match self {
            Server::Made { suite, .. } => format!("OpenSSH {}", suite.release()),
            Server::Given(image) => format!("image {image}"),
        }
    }

    /// The name of its run directory; of two images no two are the same.
    fn folder(&self, index: usize) -> String {
        match self {
            Server::Made { .. } => self.name(),
            Server::Given(image) => {
                let plain = |c: char| match c {
                    c if c.is_ascii_alphanumeric() || "._-".contains(c) => c,
                    _ => '_',
                };
                let image: String = image.chars().map(plain).collect();
                format!("image-{}-{image}", index + 1)
            }
        }
    }

    /// What its run is asked for, so that its report says what it stands for.
    fn asked(&self) -> Option<Release> {
        match self {
            Server::Made { suite, stands_for } => {
                Some(stands_for.first().copied().unwrap_or(suite.release()))
            }
            Server::Given(_) => None,
        }
    }

    fn image(&self) -> Option<&String> {
        match self {
            Server::Made { .. } => None,
            Server::Given(image) => Some(image),
        }
    }

    fn row(&self, of: impl FnOnce(&str) -> MatrixRow) -> MatrixRow {
        let mut row = of(&self.name());
        match self {
            Server::Made { suite, stands_for } => {
                let made = |asked: &Release| substitution(*asked, suite.release());
                row.substitutions = stands_for.iter().filter_map(made).collect();
            }
            Server::Given(image) => row.image = Some(image.clone()),
        }
        row
    }
}

/// The releases asked for, or the nearest to each, each once, oldest first; then the images. Without any all releases that the
/// scenario allows.
fn servers(
    asked: &[Release],
    images: &[String],
    least: Option<Release>,
) -> Result<Vec<Server>, CliError> {
    if let Some((release, least)) = asked
        .iter()
        .find_map(|release| Some((release, least.filter(|least| release < least)?)))
    {
        return Err(CliError::Usage(format!(
            "--release {release}: the scenario needs OpenSSH {least} or newer (`sshd.min_release`)"
        )));
    }
    let every = asked.is_empty() && images.is_empty();
    let made = Suite::ALL.into_iter().filter_map(|suite| {
        let mut named = every && least.is_none_or(|least| suite.release() >= least);
        let mut stands_for = Vec::new();
        for release in asked {
            match Suite::nearest(*release, least) {
                Some((nearest, substituted)) if nearest == suite => {
                    named = true;
                    if substituted.is_some() && !stands_for.contains(release) {
                        stands_for.push(*release);
                    }
                }
                _ => {}
            }
        }
        stands_for.sort();
        named.then_some(Server::Made { suite, stands_for })
    });
    let mut servers: Vec<Server> = made.collect();
    for image in images {
        let given = Server::Given(image.clone());
        if !servers.contains(&given) {
            servers.push(given);
        }
    }
    match least {
        Some(least) if servers.is_empty() => Err(CliError::Usage(format!(
            "the scenario needs OpenSSH {least} or newer (`sshd.min_release`), and images are known of {} only",
            Suite::releases()
        ))),
        _ => Ok(servers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Finding;
    use sshchurn_report::matrix::RowState;

    fn made(suites: &[Suite]) -> Vec<Server> {
        let made = |suite: &Suite| Server::Made {
            suite: *suite,
            stands_for: Vec::new(),
        };
        suites.iter().map(made).collect()
    }

    const R8_4: Release = Release::new(8, 4);
    const R9_2: Release = Release::new(9, 2);
    const R10_6: Release = Release::new(10, 6);

    #[test]
    fn releases_are_run_once_each_from_the_oldest_on() {
        assert_eq!(servers(&[], &[], None).expect("all"), made(&Suite::ALL));
        assert_eq!(
            servers(&[R10_6, R8_4, R10_6], &[], None).expect("two"),
            made(&[Suite::Bullseye, Suite::Forky])
        );
    }

    #[test]
    fn release_without_an_image_is_run_on_the_nearest_which_says_so_and_keeps_its_own_name() {
        let asked = [Release::new(9, 6), R9_2, Release::new(8, 7)];
        let planned = servers(&asked, &[], None).expect("one");
        let [one] = &planned[..] else {
            panic!("{planned:?}");
        };
        let row = one.row(MatrixRow::not_run);
        assert_eq!(
            (&*row.release, one.asked()),
            ("9.2", Some(Release::new(8, 7)))
        );
        let told: Vec<&str> = row.substitutions.iter().map(|made| &*made.asked).collect();
        assert_eq!(told, ["8.7", "9.6"]);
    }

    #[test]
    fn images_are_run_after_the_releases_and_alone_where_none_is_named() {
        let images = [
            "my/base:1".to_owned(),
            "my/base:2".to_owned(),
            "my/base:1".to_owned(),
        ];
        let given = |image: &str| Server::Given(image.to_owned());
        assert_eq!(
            servers(&[], &images, None).expect("two"),
            [given("my/base:1"), given("my/base:2")]
        );
        let both = servers(&[R9_2], &images[..1], None).expect("two");
        assert_eq!(both.len(), 2);
        assert_eq!(both[1].folder(1), "image-2-my_base_1");
        assert_eq!(
            both[1].row(MatrixRow::not_run).image.as_deref(),
            Some("my/base:1")
        );
    }

    #[test]
    fn scenario_keeps_older_releases_out_unless_they_are_asked_for_and_then_it_is_an_error() {
        let least = Some(Release::new(9, 8));
        assert_eq!(
            servers(&[], &[], least).expect("the newer ones"),
            made(&[Suite::Trixie, Suite::TrixieBackports, Suite::Forky])
        );
        let error = servers(&[R10_6, R9_2], &[], least).expect_err("refused");
        assert_eq!(error.exit_code(), ExitCode::Usage);
        assert!(error.to_string().contains("9.2") && error.to_string().contains("9.8"));
        assert!(servers(&[], &[], Some(Release::new(11, 0))).is_err());
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
