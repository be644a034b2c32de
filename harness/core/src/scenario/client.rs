//! The client under test: a program, what it is given, and what it may use.
//!
//! Owns the settings, their reading and the placeholders. Starting programs is the `client` crate's.

use std::net::Ipv4Addr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reader::Table;
use crate::ids::TaskId;

/// How often the program is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Once for every task.
    Task,
    /// Once for all tasks of a round.
    Round,
}

impl Per {
    /// The word used in scenarios.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Per::Task => "task",
            Per::Round => "round",
        }
    }
}

/// A client under test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientProgram {
    /// The program and its arguments, with placeholders.
    pub argv: Vec<String>,
    /// How often it is started.
    pub per: Per,
    /// Its working folder; by default the scenario's, from which a relative one counts.
    pub working_folder: Option<String>,
    /// Variables on top of the harness's own environment, with placeholders.
    pub environment: Vec<(String, String)>,
    /// Its standard input, with placeholders; empty when `None`.
    pub stdin: Option<String>,
    /// How long it may take.
    pub timeout: Duration,
    /// Whether it says that it is ready, and waits to be told to go, on the descriptors that it inherits.
    pub waits_for_go: bool,
    /// Whether processes that outlive it are in order.
    pub lingers: bool,
    /// Most processes and threads at once, of one start of it.
    pub max_processes: u32,
    /// Most memory of one start of it, bytes; `None` is no limit.
    pub max_memory: Option<u64>,
    /// A file name pattern, on the server, of what it must not leave there.
    pub leftovers: Option<String>,
}

/// What stands for something in arguments, environment and standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    /// The address of the task, its own.
    Host,
    /// The addresses of all tasks, separated by commas.
    Hosts,
    /// The server's port.
    Port,
    /// The user to log in as.
    User,
    /// File of the task's own private key; of one that works, for a program for all tasks.
    Key,
    /// Files of the private keys of all tasks, separated by commas.
    Keys,
    /// File of the known host keys.
    KnownHosts,
    /// An `ssh_config` with all of this.
    SshConfig,
    /// The task's number, from 0.
    Task,
    /// The number of tasks.
    Tasks,
    /// The round's number, from 1.
    Round,
    /// The folder of the scenario's file.
    Scenario,
}

impl Placeholder {
    /// All of them.
    pub const ALL: [Placeholder; 12] = [
        Placeholder::Host,
        Placeholder::Hosts,
        Placeholder::Port,
        Placeholder::User,
        Placeholder::Key,
        Placeholder::Keys,
        Placeholder::KnownHosts,
        Placeholder::SshConfig,
        Placeholder::Task,
        Placeholder::Tasks,
        Placeholder::Round,
        Placeholder::Scenario,
    ];

    /// As it is written, without braces; the variable is `SSHCHURN_` and the same in capitals.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Placeholder::Host => "host",
            Placeholder::Hosts => "hosts",
            Placeholder::Port => "port",
            Placeholder::User => "user",
            Placeholder::Key => "key",
            Placeholder::Keys => "keys",
            Placeholder::KnownHosts => "known_hosts",
            Placeholder::SshConfig => "ssh_config",
            Placeholder::Task => "task",
            Placeholder::Tasks => "tasks",
            Placeholder::Round => "round",
            Placeholder::Scenario => "scenario",
        }
    }

    /// The variable that holds it in the client's environment.
    #[must_use]
    pub fn variable(self) -> String {
        format!("SSHCHURN_{}", self.as_str().to_ascii_uppercase())
    }

    /// Whether a program that is started so often has it: one for all tasks has no task of its own, and one task no list.
    #[must_use]
    pub fn belongs_to(self, per: Per) -> bool {
        match self {
            Placeholder::Task => per == Per::Task,
            Placeholder::Hosts | Placeholder::Keys => per == Per::Round,
            Placeholder::Host
            | Placeholder::Port
            | Placeholder::User
            | Placeholder::Key
            | Placeholder::KnownHosts
            | Placeholder::SshConfig
            | Placeholder::Tasks
            | Placeholder::Round
            | Placeholder::Scenario => true,
        }
    }
}

/// Puts values in the place of `{name}`. Braces around anything else stay as they are: they are the program's (`awk`,
/// JSON).
#[must_use]
pub fn filled(text: &str, value: impl Fn(Placeholder) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        rest = &rest[open..];
        let found = Placeholder::ALL.into_iter().find_map(|placeholder| {
            let after = rest[1..].strip_prefix(placeholder.as_str())?;
            Some((placeholder, after.strip_prefix('}')?))
        });
        match found {
            Some((placeholder, after)) => {
                out.push_str(&value(placeholder));
                rest = after;
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// The address that a client reaches the server by for one task: each has its own in 127/8, so that sshd's lines, which
/// name the address they were reached at, say whose a connection is. The source stays 127.0.0.1, as rules per source see
/// it.
#[must_use]
pub fn host_of(task: TaskId) -> Ipv4Addr {
    // 127.64.0.1 to 127.71.x.x: 250 in the last two places, no 0 and no 255 among them.
    let number = task.0;
    let octet = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
    Ipv4Addr::new(
        127,
        octet(64 + number / 62_500),
        octet(number / 250 % 250),
        octet(number % 250 + 1),
    )
}

/// The task of an address, as far as it is one that [`host_of`] gives out.
#[must_use]
pub fn task_of(host: Ipv4Addr) -> Option<TaskId> {
    let [127, high @ 64..=191, middle @ 0..=249, low @ 1..=250] = host.octets() else {
        return None;
    };
    Some(TaskId(
        (u32::from(high) - 64) * 62_500 + u32::from(middle) * 250 + u32::from(low) - 1,
    ))
}

/// Most tasks that have a key of their own; of more tasks all log in with the same one. sshd reads `authorized_keys` line by
/// line up to the key, twice for a login of OpenSSH's client. With so many lines that was, on OpenSSH 9.2, a tenth of the
/// CPU time of a login for the last of them, and a twentieth on average.
pub const MOST_TASK_KEYS: u32 = 1_000;

/// The keys that only `command` has.
pub(super) const KEYS: [&str; 11] = [
    "argv",
    "env",
    "leftovers",
    "lingers",
    "max_memory",
    "max_processes",
    "per",
    "stdin",
    "timeout",
    "waits_for_go",
    "working_folder",
];

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// Enough for `ansible -f 50`, and a fork bomb ends within a moment.
const DEFAULT_PROCESSES: u32 = 512;

/// Reads the keys of a client under test. Those of another strategy are only made known, for its own words about them.
pub(super) fn read(table: &Table<'_, '_>, wanted: bool) -> Option<ClientProgram> {
    if !wanted {
        for key in KEYS {
            let _ = table.value(key);
        }
        return None;
    }
    table.required("argv", "argv = [\"sh\", \"client.sh\", \"{host}\"]");
    let argv = table.strings("argv");
    let per = table
        .word("per", &[("task", Per::Task), ("round", Per::Round)])
        .unwrap_or(Per::Task);
    if let Some(argv) = &argv {
        if argv.first().is_none_or(String::is_empty) {
            table.problem(
                "argv",
                "the first element is the program, and there is none",
                Some("argv = [\"sh\", \"client.sh\", \"{host}\"]".to_owned()),
            );
        }
        if argv.iter().any(|argument| argument.contains('\0')) {
            table.problem("argv", "an argument cannot contain a NUL character", None);
        }
    }
    let environment = table.table("env").map_or_else(Vec::new, |env| {
        let entries = env.entries();
        for (name, span, value) in &entries {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                env.note(
                    span.clone(),
                    format!("`{name}` cannot be a variable of the environment"),
                    None,
                );
            }
        }
        entries
            .into_iter()
            .map(|(name, _, value)| (name, value))
            .collect()
    });
    let stdin = table.string("stdin");
    let texts = argv.iter().flatten().map(|text| ("argv", text));
    let texts = texts
        .chain(environment.iter().map(|(_, value)| ("env", value)))
        .chain(stdin.iter().map(|text| ("stdin", text)));
    for (key, text) in texts {
        for placeholder in Placeholder::ALL {
            let written = format!("{{{}}}", placeholder.as_str());
            if text.contains(&written) && !placeholder.belongs_to(per) {
                let (message, help) = match per {
                    Per::Task => (
                        "a program for each task has one address and one key",
                        "use `{host}` and `{key}`, or `per = \"round\"`",
                    ),
                    Per::Round => (
                        "a program for all tasks of a round has no task of its own",
                        "use `{hosts}`, `{keys}` and `{tasks}`, or `per = \"task\"`",
                    ),
                };
                table.problem(
                    key,
                    &format!("`{written}` cannot be filled: {message}"),
                    Some(help.to_owned()),
                );
            }
        }
    }
    let leftovers = table.string("leftovers");
    if let Some(pattern) = &leftovers
        && let Err(error) = Pattern::parse(pattern)
    {
        table.problem(
            "leftovers",
            error,
            Some("leftovers = \"/tmp/my-client-*\"".to_owned()),
        );
    }
    Some(ClientProgram {
        argv: argv?,
        per,
        working_folder: table.string("working_folder"),
        environment,
        stdin,
        timeout: table
            .positive_duration("timeout")
            .unwrap_or(DEFAULT_TIMEOUT),
        waits_for_go: table.boolean("waits_for_go").unwrap_or(false),
        lingers: table.boolean("lingers").unwrap_or(false),
        max_processes: table
            .integer("max_processes", 1..=100_000)
            .unwrap_or(DEFAULT_PROCESSES),
        max_memory: table.bytes("max_memory", u64::MAX >> 1).filter(|bytes| {
            if *bytes == 0 {
                table.problem("max_memory", "must be at least one byte", None);
            }
            *bytes > 0
        }),
        leftovers,
    })
}

/// A pattern of files on the server: an absolute folder, and a name with `*` for any characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The folder.
    pub folder: String,
    /// The name, with `*`.
    pub name: String,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Pattern, &'static str> {
        let (folder, name) = text.rsplit_once('/').ok_or("an absolute path is needed")?;
        if !text.starts_with('/') || text.contains(['\0', '\n']) {
            return Err("an absolute path is needed");
        }
        if name.is_empty() {
            return Err("a name is needed after the last `/`; `*` stands for any");
        }
        if folder.contains('*') {
            return Err("`*` can stand in the last part only");
        }
        let folder = if folder.is_empty() { "/" } else { folder };
        Ok(Pattern {
            folder: folder.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Whether a name fits: `*` is any number of characters, everything else itself.
    #[must_use]
    pub fn fits(&self, name: &str) -> bool {
        let mut parts = self.name.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else {
            return false;
        };
        let mut parts = parts.peekable();
        if parts.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_has_an_address_of_its_own_and_it_leads_back() {
        let mut seen = std::collections::HashSet::new();
        for task in (0..100_000).map(TaskId) {
            let host = host_of(task);
            assert!(seen.insert(host), "{host} twice");
            assert_eq!(task_of(host), Some(task));
            let [net, .., last] = host.octets();
            assert!(net == 127 && last != 0 && last != 255, "{host}");
        }
        for other in [
            "127.0.0.1",
            "127.0.0.2",
            "127.64.0.0",
            "10.0.0.1",
            "127.64.250.1",
        ] {
            assert_eq!(task_of(other.parse().expect("an address")), None, "{other}");
        }
    }

    #[test]
    fn placeholders_are_filled_and_other_braces_stay() {
        let value = |placeholder: Placeholder| format!("<{}>", placeholder.as_str());
        for (text, expected) in [
            ("{host}:{port}", "<host>:<port>"),
            ("awk '{print $1}' {key}", "awk '{print $1}' <key>"),
            ("{{host}}", "{<host>}"),
            ("{hosts}{host", "<hosts>{host"),
            ("{keys}{key}", "<keys><key>"),
            ("{\"a\": {task}}", "{\"a\": <task>}"),
            ("{Host}", "{Host}"),
            ("ä{round}ß", "ä<round>ß"),
        ] {
            assert_eq!(filled(text, value), expected);
        }
    }

    #[test]
    fn pattern_is_a_folder_and_a_name_with_stars() {
        let fits = |pattern: &str, name: &str| Pattern::parse(pattern).expect("one").fits(name);
        assert!(fits("/tmp/job-*", "job-"));
        assert!(fits("/tmp/job-*", "job-17"));
        assert!(!fits("/tmp/job-*", "a-job-17"));
        assert!(fits("/tmp/*-job", "a-job"));
        assert!(fits("/tmp/a*b*c", "a1b2c"));
        assert!(!fits("/tmp/a*b*c", "a1c2b"));
        assert!(fits("/tmp/*", "anything"));
        assert!(fits("/x", "x"));
        assert!(!fits("/x", "xy"));
        for wrong in ["", "tmp/x", "/tmp/", "/t*p/x", "x"] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
