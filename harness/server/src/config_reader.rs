//! What an OpenSSH release's own sshd makes of a user's `sshd_config`.
//!
//! Owns asking it until it has named every line that it refuses: sshd ends at the first of most kinds, so that line is left out
//! and it is asked again. No server is started. sshd opens no key, account or program that the file names: up to 9.2 it would
//! load the host keys (there is no `-G`), and so the lines that name them are withheld and it gets a key of ours; a
//! `ListenAddress` with a host name would be looked up, and is withheld too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::docker::{AskedContainer, Recipe, Suite};
use crate::local::AskedHere;
use crate::{ServerError, docker, local};
use sshchurn_core::release::Release;
use sshchurn_core::sshd_file::complaint::{self, Complaint};
use sshchurn_core::sshd_file::{ConfigFile, Directive, Place};

/// Which sshd is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SshdProgram {
    /// This machine's own.
    Local,
    /// That of an image.
    Docker(Suite),
}

impl SshdProgram {
    /// The one that `auto` would start: a container's, else this machine's own.
    ///
    /// # Errors
    /// [`ServerError::Unavailable`] where there is neither.
    pub async fn automatic(recipe: &Recipe) -> Result<Self, ServerError> {
        let Err(no_docker) = docker::probe(recipe).await else {
            return Ok(SshdProgram::Docker(Suite::DEFAULT));
        };
        match local::probe().await {
            Ok(_) => Ok(SshdProgram::Local),
            Err(no_local) => Err(ServerError::Unavailable {
                what: format!("there is no sshd to ask: {no_docker}; {no_local}"),
                fix: String::from("`sshchurn doctor` says what this machine lacks"),
            }),
        }
    }
}

/// The release of this machine's own sshd.
///
/// # Errors
/// [`ServerError::Unavailable`] where there is none.
pub async fn local_release() -> Result<Release, ServerError> {
    local::release().await
}

/// What it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigAnswer {
    /// Its release.
    pub release: Release,
    /// … in full: `OpenSSH_9.2p1`.
    pub release_text: String,
    /// Lines that it was not shown.
    pub withheld: Vec<Place>,
    /// Everything it complained about, and what it takes and does nothing with, in the order in which it said so.
    pub complaints: Vec<Complaint>,
    /// What would be in force without the lines that it refuses: keyword in lower case, value; empty where it did not say.
    pub settings: Vec<(String, String)>,
}

impl ConfigAnswer {
    /// What keeps it from taking the file.
    pub fn refusals(&self) -> impl Iterator<Item = &Complaint> {
        self.complaints
            .iter()
            .filter(|complaint| !complaint.is_notice())
    }
}

/// From here on there is `-G`, which prints the configuration and opens nothing.
const DUMP_ONLY: Release = Release::new(9, 3);
/// Lines that are left out one after the other before it is given up.
const MOST_REFUSALS: usize = 200;

/// What one question gave.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) accepted: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// An sshd that can be asked, as often as one likes. It goes with [`Asker::end`]; dropping it is the safety net.
pub struct Asker(Asked);

/// A place where an sshd and copies of the files are.
enum Asked {
    Here(AskedHere),
    Container(AskedContainer),
}

impl Asked {
    fn release(&self) -> (Release, &str) {
        match self {
            Asked::Here(asked) => asked.release(),
            Asked::Container(asked) => (asked.release, &asked.release_text),
        }
    }

    /// The folder of the copies, and the host key.
    fn folder(&self) -> PathBuf {
        match self {
            Asked::Here(asked) => asked.folder().to_path_buf(),
            Asked::Container(_) => PathBuf::from(AskedContainer::FOLDER),
        }
    }

    async fn put(&self, name: &str, text: &str) -> Result<(), ServerError> {
        match self {
            Asked::Here(asked) => asked.put(name, text),
            Asked::Container(asked) => asked.put(name, text).await,
        }
    }

    async fn ask(&mut self, arguments: &[&str]) -> Result<Said, ServerError> {
        match self {
            Asked::Here(asked) => asked.ask(arguments).await,
            Asked::Container(asked) => asked.ask(arguments).await,
        }
    }
}

impl Asker {
    /// Gets one ready. `progress` is told what takes long, such as building an image.
    ///
    /// # Errors
    /// [`ServerError::Unavailable`] without the program, [`ServerError::Io`] and [`ServerError::Docker`] where it cannot be had.
    pub async fn start(
        program: SshdProgram,
        recipe: &Recipe,
        progress: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Self, ServerError> {
        Ok(Asker(match program {
            SshdProgram::Local => Asked::Here(AskedHere::prepare().await?),
            SshdProgram::Docker(suite) => {
                Asked::Container(AskedContainer::start(recipe, suite, progress).await?)
            }
        }))
    }

    /// Asks what it makes of a file, for a `connection` (`sshd -C`) or for none.
    ///
    /// # Errors
    /// [`ServerError::ConfigRefused`] where it still refuses lines after 200 of them, [`ServerError::Io`] and
    /// [`ServerError::Docker`] where it cannot be asked.
    pub async fn ask(
        &mut self,
        config: &ConfigFile,
        connection: Option<&str>,
    ) -> Result<ConfigAnswer, ServerError> {
        ask_until_known(&mut self.0, config, connection).await
    }

    /// Removes what was made for it.
    ///
    /// # Errors
    /// [`ServerError::Io`] and [`ServerError::Docker`] where that fails.
    pub async fn end(self) -> Result<(), ServerError> {
        match self.0 {
            Asked::Here(asked) => asked.end(),
            Asked::Container(asked) => asked.end().await,
        }
    }
}

async fn ask_until_known(
    asked: &mut Asked,
    config: &ConfigFile,
    connection: Option<&str>,
) -> Result<ConfigAnswer, ServerError> {
    let folder = asked.folder();
    let path_of = |file: usize| folder.join(file.to_string()).to_string_lossy().into_owned();
    let file_at = |path: &str| -> Option<usize> {
        let name = Path::new(path).strip_prefix(&folder).ok()?.to_str()?;
        name.parse().ok().filter(|file| *file < config.files.len())
    };
    let (release, release_text) = asked.release();
    let release_text = release_text.to_owned();
    let main = path_of(0);
    let host_key = folder.join("host_key").to_string_lossy().into_owned();
    let mut arguments = match release >= DUMP_ONLY {
        true => vec!["-G", "-f", &main],
        false => vec!["-T", "-h", &host_key, "-f", &main],
    };
    if let Some(connection) = connection {
        arguments.extend(["-C", connection]);
    }
    let withheld: BTreeSet<Place> = config
        .directives
        .iter()
        .filter(|directive| is_withheld(directive, release))
        .map(|directive| directive.place)
        .collect();
    let mut without = withheld.clone();
    let mut changed: BTreeSet<usize> = (0..config.files.len()).collect();
    let mut complaints: Vec<Complaint> = Vec::new();
    let (settings, accepted) = loop {
        for file in std::mem::take(&mut changed) {
            let text = config.copy(file, &without, path_of);
            asked.put(&file.to_string(), &text).await?;
        }
        let said = asked.ask(&arguments).await?;
        let mut found = complaint::read(&said.stderr, file_at);
        // Of one line its first words say it: an unknown keyword in a block is refused for both.
        found.retain(|complaint| {
            !complaints.contains(complaint)
                && !complaint
                    .place
                    .is_some_and(|place| without.contains(&place))
        });
        let mut told = BTreeSet::new();
        found.retain(|complaint| complaint.place.is_none_or(|place| told.insert(place)));
        // Where sshd goes on, what it says is no refusal, however it is worded.
        if said.accepted {
            found.retain(Complaint::is_notice);
        }
        let refused: Vec<Place> = found
            .iter()
            .filter(|complaint| !complaint.is_notice())
            .filter_map(|complaint| complaint.place)
            .filter(|place| !without.contains(place))
            .collect();
        complaints.append(&mut found);
        if said.accepted {
            break (crate::sshd_config::settings(&said.stdout), true);
        }
        if refused.is_empty() {
            break (Vec::new(), false);
        }
        if without.len() - withheld.len() > MOST_REFUSALS {
            return Err(ServerError::ConfigRefused {
                detail: format!(
                    "more than {MOST_REFUSALS} lines; the last is {}: {}",
                    config.told(refused[0]),
                    complaints
                        .last()
                        .map_or("", |complaint| complaint.said.as_str())
                ),
            });
        }
        changed.extend(refused.iter().map(|place| place.file));
        without.extend(refused);
    };
    if !accepted && complaints.iter().all(Complaint::is_notice) {
        return Err(ServerError::ConfigRefused {
            detail: String::from("it ended without a word"),
        });
    }
    Ok(ConfigAnswer {
        release,
        release_text,
        withheld: withheld.into_iter().collect(),
        complaints,
        settings,
    })
}

/// Whether sshd would open or look up what a line names.
fn is_withheld(directive: &Directive, release: Release) -> bool {
    const OPENED: [&str; 3] = ["HostKey", "HostCertificate", "HostKeyAgent"];
    if directive.sets("ListenAddress") {
        return names_a_host(&directive.rest);
    }
    release < DUMP_ONLY && OPENED.iter().any(|keyword| directive.sets(keyword))
}

/// Whether a `ListenAddress` is no number (`address`, `address:port`, `[address]:port`, each with more words behind it).
fn names_a_host(rest: &str) -> bool {
    let Some(word) = rest.split_whitespace().next() else {
        return false;
    };
    let word = word.trim_matches(['"', '\'']);
    let address = match word.strip_prefix('[') {
        Some(inside) => inside.split(']').next().unwrap_or(inside),
        None if word.matches(':').count() == 1 => word.split(':').next().unwrap_or(word),
        None => word,
    };
    let address = address.split('%').next().unwrap_or(address);
    address.parse::<std::net::IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_are_numbers_are_shown_to_sshd() {
        for rest in [
            "0.0.0.0",
            "::",
            "127.0.0.1:22",
            "[::1]:22",
            "[fe80::1%eth0]:22",
            "10.0.0.1 rdomain x",
        ] {
            assert!(!names_a_host(rest), "{rest}");
        }
        for rest in ["ssh.example.com", "ssh.example.com:22", "localhost", "*"] {
            assert!(names_a_host(rest), "{rest}");
        }
    }
}
