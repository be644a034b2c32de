//! What was run, on what, against what: plain data with no behaviour.
//!
//! `target` and `cli` fill it in, the ledger stores it as its first record, `analysis` and `report` read
//! it back, so that a report can be rendered again from a run directory alone. It must know nothing of
//! ours but identifiers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{RunId, StrategyName};
use crate::reading::KernelSettings;
use crate::release::Release;
use crate::scenario::{Per, StrategyKind};

/// Everything that was fixed before the first round started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name of the run.
    pub run_id: RunId,
    /// Version of the program that made the run.
    pub tool_version: String,
    /// Start of the run, Unix time in nanoseconds: the wall-clock anchor of every instant in the ledger.
    pub started_at_unix_ns: u64,
    /// The scenario as it was executed.
    pub scenario: ScenarioRecord,
    /// The run it is compared with at its end; `null` without a baseline.
    pub baseline: Option<RunId>,
    /// The server under test.
    pub target: ServerDescription,
    /// The machine the client ran on.
    pub environment: EnvironmentRecord,
    /// Fingerprints of the keys that the tasks of clients under test log in with, in the order of the tasks' numbers and
    /// as sshd logs them (`SHA256:…`); empty where tasks have no key of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub task_keys: Vec<String>,
}

/// The scenario as executed: its name, and the effective file after command-line overrides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScenarioRecord {
    /// Scenario name.
    pub name: String,
    /// One sentence from the scenario file.
    pub description: String,
    /// Where it came from: `built-in` or the path as given.
    pub origin: String,
    /// The effective scenario as TOML, command-line overrides applied; running it repeats the run.
    pub effective_toml: String,
    /// Tasks per round.
    pub tasks: u32,
    /// At most this many tasks at once; `null` without a limit.
    pub max_in_flight: Option<u32>,
    /// The shortest of the clients' deadlines, nanoseconds.
    pub shortest_deadline_ns: u64,
    /// Silent clients beside the tasks of every round; 0 without any.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub holders: u32,
    /// Rounds of each strategy.
    pub rounds: u32,
    /// Seed of every random draw of the client.
    pub seed: u64,
    /// Factor applied to every wait (not to deadlines).
    pub time_scale: f64,
    /// The strategies in the order of the scenario.
    pub strategies: Vec<StrategyRecord>,
    /// `MaxStartups` as requested, `start:rate:full`.
    pub max_startups: String,
    /// The thresholds the run is judged by, as written (file first, then command line).
    pub thresholds: Vec<String>,
    /// What the scenario expects to show, as written; decides nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expectations: Vec<String>,
}

impl ScenarioRecord {
    /// Names of the strategies, in the order of the scenario.
    #[must_use]
    pub fn strategy_names(&self) -> Vec<StrategyName> {
        self.strategies
            .iter()
            .map(|strategy| strategy.name.clone())
            .collect()
    }

    /// The client under test of a strategy; `None` of one that is none.
    #[must_use]
    pub fn program_of(&self, name: &StrategyName) -> Option<&ProgramRecord> {
        self.strategies
            .iter()
            .find(|strategy| strategy.name == *name)
            .and_then(|strategy| strategy.program.as_ref())
    }

    /// What the logins of a strategy that fail on purpose are; `None` of another strategy.
    #[must_use]
    pub fn failing(&self, name: &StrategyName) -> Option<&FailingRecord> {
        self.strategies
            .iter()
            .find(|strategy| strategy.name == *name)
            .and_then(|strategy| strategy.failing.as_ref())
    }

    /// The kind of a strategy; `None` for one that is not of this scenario.
    #[must_use]
    pub fn kind_of(&self, name: &StrategyName) -> Option<StrategyKind> {
        self.strategies
            .iter()
            .find(|strategy| strategy.name == *name)
            .map(|strategy| strategy.kind)
    }
}

/// A strategy of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StrategyRecord {
    /// Its name in numbers and thresholds.
    pub name: StrategyName,
    /// How it uses connections.
    pub kind: StrategyKind,
    /// The client under test, of `command`.
    pub program: Option<ProgramRecord>,
    /// What its tasks try, of `failing-login`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<FailingRecord>,
}

/// Logins that fail on purpose, as they were planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailingRecord {
    /// Logins of each task.
    pub logins: u32,
    /// From the beginning of one to the next, nanoseconds; the tasks take these in turn.
    pub spacing_ns: Vec<u64>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// A client under test as it was run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProgramRecord {
    /// The program and its arguments, with placeholders.
    pub argv: Vec<String>,
    /// How often it was started.
    pub per: Per,
    /// What it must not leave on the server, a folder and a name with `*`.
    pub leftovers: Option<String>,
    /// Files among the arguments and the program itself, with their digests: what a comparison is about. A changed one
    /// is no other experiment.
    pub files: Vec<FileRecord>,
    /// What bounded each start of it.
    pub limits: String,
}

/// A file as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// As it was named.
    pub name: String,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// The repository of the images that are made for a run. Its tags say what is in them.
pub const OWN_IMAGES: &str = "sshchurn/openssh";

/// Name and content hash of an image that is written `reference@id`; the name alone where there is no hash.
#[must_use]
pub fn image_parts(image: &str) -> (&str, &str) {
    let is_id = |id: &str| id.chars().all(|c| c.is_ascii_alphanumeric() || c == ':');
    image
        .rsplit_once('@')
        .filter(|(_, id)| is_id(id))
        .unwrap_or((image, ""))
}

/// Whether an image of this name is made for a run, and not given by the user.
#[must_use]
pub fn is_own_image(name: &str) -> bool {
    name.strip_prefix(OWN_IMAGES)
        .is_some_and(|rest| rest.starts_with(':'))
}

/// Which kind of server was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServerKind {
    /// A container started by this run.
    Docker,
    /// A process of the machine's own OpenSSH server.
    Local,
    /// The in-process stand-in with OpenSSH's admission rule. Not an OpenSSH server.
    Embedded,
    /// A server that was already running.
    External,
    /// No server at all: a model of one, on virtual time.
    Simulated,
}

/// What stands in for an OpenSSH server. Everything that comes of one says so first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StandIn {
    /// A server in the harness's own process, with OpenSSH's admission rule.
    Embedded,
    /// A model of a server and of its machine, on virtual time.
    Simulated,
}

impl StandIn {
    /// The word used in documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            StandIn::Embedded => "embedded",
            StandIn::Simulated => "simulated",
        }
    }

    /// The first line of everything that comes of it.
    #[must_use]
    pub fn headline(self) -> &'static str {
        match self {
            StandIn::Embedded => {
                "EMBEDDED STAND-IN: not an OpenSSH server; refusals follow OpenSSH's rule, rates and latencies do not"
            }
            StandIn::Simulated => {
                "SIMULATED: computed by a model, on virtual time; nothing here was measured"
            }
        }
    }

    /// The kind as a place where something was found out.
    #[must_use]
    pub fn lead(self) -> &'static str {
        match self {
            StandIn::Embedded => "Measured on an in-process stand-in and not on OpenSSH",
            StandIn::Simulated => "Computed by a model and not measured",
        }
    }
}

impl ServerKind {
    /// What of it is no OpenSSH server.
    #[must_use]
    pub fn stand_in(self) -> Option<StandIn> {
        match self {
            ServerKind::Embedded => Some(StandIn::Embedded),
            ServerKind::Simulated => Some(StandIn::Simulated),
            ServerKind::Docker | ServerKind::Local | ServerKind::External => None,
        }
    }

    /// The word used on the command line and in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ServerKind::Docker => "docker",
            ServerKind::Local => "local",
            ServerKind::Embedded => "embedded",
            ServerKind::External => "external",
            ServerKind::Simulated => "simulated",
        }
    }
}

/// What lies between the client's socket and sshd's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NetworkPath {
    /// Loopback, the same network namespace, nothing in between.
    Direct,
    /// A container in the host's network namespace: as direct.
    HostNetwork,
    /// A published container port: a proxy accepts first, hides RST from EOF and changes the source address.
    PublishedPort,
    /// A real network.
    Remote,
}

impl NetworkPath {
    /// The word used in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            NetworkPath::Direct => "direct",
            NetworkPath::HostNetwork => "host network",
            NetworkPath::PublishedPort => "published port (proxy)",
            NetworkPath::Remote => "remote",
        }
    }

    /// Whether sshd sees the client's own source ports, so that attempts can be joined to log lines one by one.
    #[must_use]
    pub fn keeps_source_port(self) -> bool {
        matches!(self, NetworkPath::Direct | NetworkPath::HostNetwork)
    }
}

/// The server under test as it introduced itself and as it was configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerDescription {
    /// Kind of target.
    pub kind: ServerKind,
    /// Address the client connects to.
    pub address: String,
    /// Path between client and server.
    pub network_path: NetworkPath,
    /// Identification string of the server, without line end, e.g. `SSH-2.0-OpenSSH_9.2p1 Debian-2`.
    pub identification: String,
    /// Release text where the server could be asked (`sshd -V` or the package), e.g. `OpenSSH_9.2p1`.
    pub release: Option<String>,
    /// What was asked for, where that release cannot be had and the nearest one ran; `release` is the one that ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub substitution: Option<Substitution>,
    /// Image reference and content hash, `reference@id`, docker only.
    pub image: Option<String>,
    /// Which CPUs are the clients' and which the server's; `None` where they share them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<String>,
    /// The login shell of the jobs' user; `None` where nobody could look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_shell: Option<String>,
    /// The packages that the scenario asks for, as they are there: name and version. `None` where it asks for none, or
    /// nobody could look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packages: Option<Vec<PackageRecord>>,
    /// `MaxStartups` in force, `start:rate:full`, read back from `sshd -T` (or the embedded rule); `None`
    /// where the server cannot be asked.
    pub effective_max_startups: Option<String>,
    /// The rest of the effective configuration that matters here, keyword (lower case) and value.
    pub effective_config: Vec<(String, String)>,
    /// The `sshd_config` text that was used; `None` for external targets.
    pub sshd_config: Option<String>,
    /// Base directory of the jobs as the jobs see it.
    pub jobs_directory: String,
    /// Whether leftover directories can be listed on the target's own file system.
    pub inventory_available: bool,
    /// Whether the server's log can be read.
    pub log_available: bool,
    /// Whether every refusal is in that log (`LogVerbose`, OpenSSH 8.5 and later, or embedded).
    pub log_has_every_drop: bool,
    /// What a full listen queue does in the server's network namespace; `null` where that cannot be read.
    pub kernel: Option<KernelSettings>,
    /// Why this server was taken and not the one before it in `auto`'s order.
    pub choice: String,
    /// Median TCP connect time to the target before the first round, nanoseconds.
    pub round_trip_ns: Option<u64>,
    /// Cost of one bare exec (`true`) on an established connection, nanoseconds, median.
    pub exec_cost_ns: Option<u64>,
    /// What of that cost the login shell's start-up files add, nanoseconds (login shell minus `/bin/sh`).
    pub login_shell_cost_ns: Option<u64>,
    /// How long sshd took to start over after that (SIGHUP), so that it no longer knows what the harness's own logins earned
    /// their address, nanoseconds; `None` where it keeps no such tables, or is somebody else's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_ns: Option<u64>,
    /// Warnings of the target, each a full sentence with its remedy.
    pub warnings: Vec<String>,
}

/// From this release on sshd bans addresses unless it is told not to (`PerSourcePenalties`).
const PENALISES: Release = Release::new(9, 8);

impl ServerDescription {
    /// Whether a server with a configuration of its own may ban addresses for what their clients do, by the release that it
    /// says it is. One that was started for the run does what its scenario says.
    #[must_use]
    pub fn may_ban(&self) -> bool {
        self.kind == ServerKind::External
            && Release::find(&self.identification).is_some_and(|release| release >= PENALISES)
    }

    /// Its release, and the image that was given with the beginning of its content hash.
    #[must_use]
    pub fn release_and_image(&self) -> String {
        let release = self.release.as_ref().unwrap_or(&self.identification);
        let image = self.image.as_deref().map(image_parts);
        match image.filter(|(name, _)| !is_own_image(name)) {
            Some((name, "")) => format!("{release}, image {name}"),
            Some((name, id)) => {
                let id = id.rsplit(':').next().unwrap_or_default();
                format!("{release}, image {name} {}", id.get(..12).unwrap_or(id))
            }
            None => release.clone(),
        }
    }
}

/// A release that ran in place of another, of which there is no image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Substitution {
    /// The release that was asked for, such as `8.9`.
    pub asked: String,
    /// The release that ran: the nearest one there is.
    pub ran: String,
    /// What one of them does and the other does not, as far as it changes what is measured; oldest first.
    pub differences: Vec<ReleaseDifference>,
}

/// Something that sshd does in some releases only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseDifference {
    /// Those that do it: `since 9.8`, `8.5 to 8.8`.
    pub releases: String,
    /// What they do.
    pub what: String,
    /// What that does to a measurement.
    pub effect: String,
}

impl Substitution {
    /// What ran in place of what, and why.
    #[must_use]
    pub fn headline(&self) -> String {
        let Substitution { asked, ran, .. } = self;
        format!(
            "ANOTHER RELEASE: this is OpenSSH {ran}, not the {asked} that was asked for; there is no image of {asked}, and {ran} is the \
             nearest"
        )
    }

    /// The headline, and a line for each difference.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let Substitution { asked, ran, .. } = self;
        let differences = self.differences.iter().map(
            |ReleaseDifference {
                 releases,
                 what,
                 effect,
             }| format!("OpenSSH {asked} against {ran}, {releases}: {what} ({effect})"),
        );
        let none = self.differences.is_empty().then(|| {
            format!(
                "OpenSSH {asked} against {ran}: no difference is known that changes a measurement"
            )
        });
        std::iter::once(self.headline())
            .chain(differences)
            .chain(none)
            .collect()
    }
}

/// A package on the server's machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackageRecord {
    /// Its name.
    pub name: String,
    /// Its version; `null` on a machine without dpkg, where a program of its name was found.
    pub version: Option<String>,
}

impl PackageRecord {
    /// Name and version in words.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.version {
            Some(version) => format!("{} {version}", self.name),
            None => format!("{} (a program of that name)", self.name),
        }
    }
}

/// The machine and limits of the client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentRecord {
    /// Operating system and kernel release.
    pub kernel: String,
    /// CPUs usable by this process.
    pub cpus: u32,
    /// One-minute load average when the run started.
    pub load_average_1m: Option<f64>,
    /// Soft limit of open files after raising it.
    pub open_files_limit: u64,
    /// Ephemeral port range, first and last.
    pub ephemeral_ports: Option<(u16, u16)>,
    /// Findings of the preflight checks that are not fatal, each a full sentence with its remedy.
    pub warnings: Vec<String>,
}
