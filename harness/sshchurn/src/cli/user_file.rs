//! A user's own `sshd_config` on the command line: which sshds are asked about it, and what is run of it.
//!
//! Owns that choice. Reading the file is `session`'s, asking `server`'s, what the answer means `core`'s.

use std::path::{Path, PathBuf};

use super::args::FileLookupArgs;
use super::console::Console;
use super::error::CliError;
use super::overrides::OfFile;
use crate::session::simulate::DEFAULT_RELEASE;
use crate::session::{Interrupts, read_sshd_config};
use crate::shipped::RECIPE;
use sshchurn_core::release::Release;
use sshchurn_core::sshd_file::ConfigFile;
use sshchurn_core::sshd_file::changes;
use sshchurn_core::sshd_file::extract::{self, Extract};
use sshchurn_report::config_file::ReleaseReading;
use sshchurn_server::ServerChoice;
use sshchurn_server::config_reader::{self, Asker, ConfigAnswer, SshdProgram};
use sshchurn_server::docker::Suite;

/// The file, read.
pub(super) struct UserFile {
    path: PathBuf,
    connection: Option<String>,
    pub(super) config: ConfigFile,
}

/// An sshd to ask, or a release of which there is none here.
pub(super) enum Program {
    /// It is asked.
    Asked(SshdProgram),
    /// It is read from OpenSSH's source.
    Source(Release),
}

impl UserFile {
    /// Reads it and what it includes.
    pub(super) fn read(path: &Path, lookup: &FileLookupArgs) -> Result<Self, CliError> {
        let config = read_sshd_config(path, lookup.config_root.as_deref())
            .map_err(|error| CliError::Usage(error.to_string()))?;
        Ok(UserFile {
            path: path.to_path_buf(),
            connection: lookup.connection.clone(),
            config,
        })
    }

    /// Asks one. `None` when the user has asked to stop before it was done.
    pub(super) async fn ask(
        &self,
        program: SshdProgram,
        interrupts: &Interrupts,
        console: &Console,
    ) -> Result<Option<ConfigAnswer>, CliError> {
        let progress = |text: &str| console.aside(text);
        let asked = async {
            let mut asker = Asker::start(program, &RECIPE, &progress).await?;
            let answer = asker.ask(&self.config, self.connection.as_deref()).await;
            asker.end().await?;
            Ok::<_, CliError>(Some(answer?))
        };
        tokio::select! {
            biased;
            () = interrupts.asked() => Ok(None),
            answer = asked => answer,
        }
    }

    /// What it said, for the report.
    pub(super) fn reading(&self, answer: &ConfigAnswer) -> ReleaseReading {
        ReleaseReading::asked(
            &self.config,
            answer.release,
            &answer.release_text,
            &answer.complaints,
            &answer.settings,
            &answer.withheld,
        )
    }

    /// What can be run of it, with its name.
    pub(super) fn of_file(&self, answer: &ConfigAnswer) -> Result<OfFile, CliError> {
        Ok(OfFile {
            name: self.path.display().to_string(),
            extract: self.extract(answer)?,
        })
    }

    fn extract(&self, answer: &ConfigAnswer) -> Result<Extract, CliError> {
        if let Some(refusal) = answer.refusals().next() {
            let at = refusal.place.map_or_else(
                || self.path.display().to_string(),
                |place| self.config.told(place),
            );
            return Err(CliError::Usage(format!(
                "{} refuses {at}: {}; `sshchurn check-config {} --as-written` names every problem",
                answer.release_text,
                refusal.said,
                self.path.display()
            )));
        }
        let for_connection = self.connection.is_some();
        extract::extract(&self.config, &answer.settings, for_connection).map_err(|error| {
            CliError::Usage(format!("{} cannot be run: {error}", self.path.display()))
        })
    }

    /// Two sources for one keyword: neither is taken.
    pub(super) fn check_not_set_twice(&self, given: &[(String, String)]) -> Result<(), CliError> {
        // What a block says for the connection that is asked for is taken too.
        let in_block = |keyword: &str| {
            self.connection.is_some()
                && self.config.directives.iter().any(|line| line.sets(keyword))
        };
        match given
            .iter()
            .find(|(keyword, _)| self.config.sets(keyword) || in_block(keyword))
        {
            Some((keyword, _)) => Err(CliError::Usage(format!(
                "--sshd-option {keyword}: {} sets it too; change it there, or leave one of the two away",
                self.path.display()
            ))),
            None => Ok(()),
        }
    }
}

/// What is asked for a target and releases, each once and the oldest first.
pub(super) async fn programs(
    server: ServerChoice,
    releases: &[Release],
) -> Result<Vec<Program>, CliError> {
    let releases = known(releases)?;
    let here = match server {
        ServerChoice::Local => Some(config_reader::local_release().await?),
        ServerChoice::Auto | ServerChoice::Docker => None,
        ServerChoice::Embedded | ServerChoice::External | ServerChoice::Simulated => {
            return Err(CliError::Usage(
                "a file is read by an sshd: use `--target docker` or `--target local`".to_owned(),
            ));
        }
    };
    if releases.is_empty() {
        let program = match server {
            ServerChoice::Local => SshdProgram::Local,
            ServerChoice::Docker => SshdProgram::Docker(Suite::DEFAULT),
            _ => SshdProgram::automatic(&RECIPE).await?,
        };
        return Ok(vec![Program::Asked(program)]);
    }
    Ok(releases
        .into_iter()
        .map(|release| match (here, Suite::of(release)) {
            (Some(here), _) if here == release => Program::Asked(SshdProgram::Local),
            (Some(_), _) | (None, None) => Program::Source(release),
            (None, Some(suite)) => Program::Asked(SshdProgram::Docker(suite)),
        })
        .collect())
}

/// Who reads a file that is not run. Where there is no sshd to ask, OpenSSH's source says what it would make of it.
pub(super) async fn readers(
    server: ServerChoice,
    releases: &[Release],
    console: &Console,
) -> Result<Vec<Program>, CliError> {
    if server != ServerChoice::Auto {
        return programs(server, releases).await;
    }
    match SshdProgram::automatic(&RECIPE).await {
        Ok(SshdProgram::Docker(_)) => programs(ServerChoice::Docker, releases).await,
        Ok(SshdProgram::Local) => programs(ServerChoice::Local, releases).await,
        Err(nobody) => {
            let releases = match releases {
                [] => vec![DEFAULT_RELEASE],
                releases => known(releases)?,
            };
            console.note(&format!("{nobody}; read from OpenSSH's source instead"));
            Ok(releases.into_iter().map(Program::Source).collect())
        }
    }
}

/// Releases, each once and the oldest first, if it is known what they make of a file.
fn known(releases: &[Release]) -> Result<Vec<Release>, CliError> {
    let mut releases = releases.to_vec();
    releases.sort_unstable();
    releases.dedup();
    let known = |release: &Release| Suite::of(*release).is_some() || changes::covers(*release);
    match releases.iter().find(|release| !known(release)) {
        Some(other) => Err(CliError::Usage(format!(
            "--release {other}: what it makes of a file is not known here, only of 8.4 to 10.6"
        ))),
        None => Ok(releases),
    }
}

/// The one sshd of a run: that of its target, which may be the nearest to `release`, or the one that `auto` takes.
pub(super) async fn program(
    server: ServerChoice,
    release: Option<Release>,
    least: Option<Release>,
) -> Result<SshdProgram, CliError> {
    if server == ServerChoice::Docker {
        let (suite, _) = Suite::serving(release, least)?;
        return Ok(SshdProgram::Docker(suite));
    }
    let programs = programs(server, release.as_slice()).await?;
    match programs[..] {
        // What is asked is what will be run.
        [Program::Asked(SshdProgram::Docker(_))] => {
            let (suite, _) = Suite::serving(release, least)?;
            Ok(SshdProgram::Docker(suite))
        }
        [Program::Asked(program)] => Ok(program),
        _ => Err(CliError::Usage(match release {
            Some(release) => format!(
                "--release {release}: there is no sshd of it here, only of {}",
                Suite::releases()
            ),
            None => "--sshd-config needs one sshd to ask".to_owned(),
        })),
    }
}
