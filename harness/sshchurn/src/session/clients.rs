//! Clients under test of a run: what they are given, whether they are there, and what the manifest says of them.
//!
//! Owns the way from a scenario's words to the `client` crate's rounds. Processes are that crate's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use sshchurn_client::{Access, Bounds, ClientError, ClientRound, WayIn, bounds};
use sshchurn_core::ledger::RoundEnd;
use sshchurn_core::manifest::{FileRecord, ProgramRecord};
use sshchurn_core::scenario::client::{ClientProgram, MOST_TASK_KEYS};
use sshchurn_core::scenario::{Per, Scenario};
use sshchurn_engine::collector::Collector;
use sshchurn_engine::ssh::keys::{KeyError, KeyPair};
use sshchurn_engine::{RoundPlan, StopSignal, intended_starts};
use sshchurn_server::{ClientWard, Endpoint, ServerChoice, ServerError};

use super::directory::RunDirectory;
use super::error::SessionError;
use crate::doctor::Finding;

/// This program, whatever has become of its file meanwhile.
const LAUNCHER: &str = "/proc/self/exe";

/// The clients of a run, with their way in.
pub(super) struct Clients<'a> {
    scenario: &'a Scenario,
    access: Access,
    directory: &'a RunDirectory,
    /// Private keys are in it.
    ward: ClientWard,
}

impl<'a> Clients<'a> {
    /// Writes what they are given, with these keys for the tasks; `None` where the scenario has no client under test.
    pub(super) fn prepare(
        scenario: &'a Scenario,
        endpoint: &Endpoint,
        task_keys: &[KeyPair],
        directory: &'a RunDirectory,
    ) -> Result<Option<Self>, SessionError> {
        if scenario.programs().next().is_none() {
            return Ok(None);
        }
        let io = |source| {
            SessionError::io(
                "write the clients' keys into",
                &std::env::temp_dir(),
                source,
            )
        };
        let ward = ClientWard::create().map_err(io)?;
        let key_error = |error| io(std::io::Error::other(error));
        let pems: Result<Vec<String>, KeyError> =
            task_keys.iter().map(KeyPair::private_pem).collect();
        let way = WayIn {
            port: endpoint.address.port(),
            user: &endpoint.user,
            host_key: &endpoint.host_key.public_line().unwrap_or_default(),
            key: &endpoint.key.private_pem().map_err(key_error)?,
            task_keys: &pems.map_err(key_error)?,
            tasks: scenario.tasks,
            for_each_task: scenario
                .programs()
                .any(|(_, program)| program.per == Per::Task),
        };
        let access = Access::write(ward.path(), &way).map_err(io)?;
        Ok(Some(Clients {
            scenario,
            access,
            directory,
            ward,
        }))
    }

    /// Runs the tasks of a round.
    pub(super) async fn run(
        &self,
        program: &ClientProgram,
        plan: &RoundPlan,
        collector: &Collector,
        stop: &StopSignal,
    ) -> Result<RoundEnd, ClientError> {
        ClientRound {
            launcher: Path::new(LAUNCHER),
            mark: self.ward.mark(),
            program,
            scenario: &folder(self.scenario),
            folder: working_folder(self.scenario, program),
            access: &self.access,
            outputs: self.directory.client_outputs(plan.round),
            round: plan.round,
            starts: intended_starts(self.scenario, plan.repetition),
            max_in_flight: self.scenario.arrival.max_in_flight,
            collector,
            stop,
        }
        .run()
        .await
    }
}

/// Makes the keys that tasks log in with, in the order of their numbers; none where no client under test wants them, where
/// there would be too many, and for a server that already runs, which lets in nobody but its user.
pub(super) fn task_keys(
    scenario: &Scenario,
    server: ServerChoice,
) -> Result<Arc<[KeyPair]>, SessionError> {
    let wanted = scenario.programs().next().is_some()
        && scenario.tasks <= MOST_TASK_KEYS
        && server != ServerChoice::External;
    let tasks = if wanted { scenario.tasks } else { 0 };
    let keys: Result<Arc<[KeyPair]>, KeyError> = (0..tasks).map(|_| KeyPair::generate()).collect();
    keys.map_err(|error| {
        SessionError::Server(ServerError::Io {
            action: "make the clients' keys".to_owned(),
            source: std::io::Error::other(error),
        })
    })
}

/// Where the scenario's file lies; the working folder for one that comes from no file.
fn folder(scenario: &Scenario) -> PathBuf {
    match &scenario.folder {
        Some(folder) => folder.clone(),
        None => std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
    }
}

fn working_folder(scenario: &Scenario, program: &ClientProgram) -> PathBuf {
    let folder = folder(scenario);
    match &program.working_folder {
        Some(relative) => folder.join(relative),
        None => folder,
    }
}

/// What is wrong with the clients of a scenario, before anything is started: each a sentence with its remedy.
pub(super) fn missing(scenario: &Scenario) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (strategy, client) in scenario.programs() {
        let mut report = |what: String, fix: String| {
            let found = format!("strategy `{}`: {what}", strategy.name);
            findings.push(Finding::failure("client", found, fix));
        };
        let place = working_folder(scenario, client);
        if !place.is_dir() {
            report(
                format!("its working folder {} is not there", place.display()),
                "make it, or correct `working_folder`; a relative one counts from the scenario's file".to_owned(),
            );
        }
        let program = &client.argv[0];
        // One that a placeholder is in is known only when it is started.
        if program.contains('{') {
            continue;
        }
        match found(scenario, program) {
            Found::There(_) => {}
            Found::NotExecutable(path) => {
                let path = path.display();
                report(
                    format!("{path} cannot be executed"),
                    format!(
                        "`chmod +x {path}`, or name its interpreter first: `argv = [\"sh\", \"{program}\"]`"
                    ),
                );
            }
            Found::Nowhere => report(
                format!("there is no program `{program}`"),
                if program.contains('/') {
                    format!(
                        "looked for at {}; a relative path counts from the scenario's file",
                        folder(scenario).join(program).display()
                    )
                } else {
                    "looked for in PATH; install it, or correct `argv`".to_owned()
                },
            ),
        }
    }
    findings
}

enum Found {
    There(PathBuf),
    NotExecutable(PathBuf),
    Nowhere,
}

/// Looks a program up as exec does: a path from the scenario's folder, a name in PATH.
fn found(scenario: &Scenario, program: &str) -> Found {
    use std::os::unix::fs::PermissionsExt as _;
    let executable = |path: &Path| {
        std::fs::metadata(path)
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        let path = folder(scenario).join(program);
        return match path.is_file() {
            _ if executable(&path) => Found::There(path),
            true => Found::NotExecutable(path),
            false => Found::Nowhere,
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|place| place.join(program))
        .find(|path| executable(path))
        .map_or(Found::Nowhere, Found::There)
}

/// What the manifest says of a client: its words, its files' digests, its bounds.
pub(super) fn record(scenario: &Scenario, program: &ClientProgram) -> ProgramRecord {
    let place = working_folder(scenario, program);
    let mut files = Vec::new();
    if let Found::There(path) = found(scenario, &program.argv[0]) {
        files.extend(digest(&program.argv[0], &path));
    }
    for argument in &program.argv[1..] {
        let path = place.join(argument);
        if path.is_file() {
            files.extend(digest(argument, &path));
        }
    }
    let bounds = bounds();
    let memory = match program.max_memory {
        Some(bytes) => format!(", at most {bytes} bytes of memory"),
        None => String::new(),
    };
    let limits = match bounds {
        Bounds::Neither => bounds.describe(),
        Bounds::ControlGroups { .. } | Bounds::ResourceLimits => format!(
            "at most {} processes{memory}; {}",
            program.max_processes,
            bounds.describe()
        ),
    };
    ProgramRecord {
        argv: program.argv.clone(),
        per: program.per,
        leftovers: program.leftovers.clone(),
        files,
        limits,
    }
}

fn digest(name: &str, path: &Path) -> Option<FileRecord> {
    let bytes = std::fs::read(path).ok()?;
    let digest = Sha256::digest(&bytes);
    Some(FileRecord {
        name: name.to_owned(),
        sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(tasks: u32, kind: &str) -> Scenario {
        let text = format!(
            "name = \"x\"\ntasks = {tasks}\n[[strategy]]\n{kind}\n[sshd]\nmax_startups = \"10:30:100\"\n"
        );
        Scenario::parse("x.toml", &text).expect("a scenario")
    }

    #[test]
    fn tasks_of_a_client_under_test_have_different_keys_where_there_are_not_too_many() {
        let client = "kind = \"command\"\nargv = [\"true\"]";
        let made =
            |tasks, kind, server| task_keys(&scenario(tasks, kind), server).expect("randomness");
        let keys = made(MOST_TASK_KEYS, client, ServerChoice::Local);
        let fingerprints: std::collections::HashSet<String> =
            keys.iter().map(KeyPair::fingerprint).collect();
        assert_eq!(fingerprints.len(), MOST_TASK_KEYS as usize);
        for (tasks, kind, server) in [
            (MOST_TASK_KEYS + 1, client, ServerChoice::Local),
            (3, "kind = \"one-shot\"", ServerChoice::Local),
            (3, client, ServerChoice::External),
        ] {
            assert!(made(tasks, kind, server).is_empty(), "{tasks} {kind}");
        }
    }
}
