//! Drives the real binary: starts it, waits for what it says, signals it, and reads what it leaves behind.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use sshchurn::session::{RunDirectory, RunFile};
use sshchurn_core::ledger::{Event, LedgerReader, LedgerSink, Record};
use sshchurn_core::server_log::{ServerLogMessage, parse_line};

/// A started harness.
pub(crate) struct Running {
    child: Child,
    stderr: Receiver<String>,
    seen: Vec<String>,
    pub(crate) directory: PathBuf,
}

/// What a finished harness left behind.
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) directory: PathBuf,
}

/// The binary under test.
pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_sshchurn")
}

/// `sshchurn run ARGS --out DIR/run`, in the background, with DIR as the temporary folder, so that what is left there is
/// seen.
pub(crate) fn start(directory: &Path, args: &[&str]) -> Running {
    start_as(directory, "run", args)
}

/// The same with another name for the run directory.
pub(crate) fn start_as(directory: &Path, name: &str, args: &[&str]) -> Running {
    std::fs::create_dir_all(directory).unwrap();
    let out = directory.join(name);
    let mut command = Command::new(binary());
    command
        .arg("run")
        .args(args)
        .arg("--out")
        .arg(&out)
        .env("TMPDIR", directory);
    start_command(command, out)
}

/// Any command that ends in a harness, in the background.
pub(crate) fn start_command(mut command: Command, directory: PathBuf) -> Running {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    Running {
        child,
        stderr: receiver,
        seen: Vec::new(),
        directory,
    }
}

/// `sshchurn run ARGS --out DIR/run`, to its end.
pub(crate) fn run(directory: &Path, args: &[&str]) -> Finished {
    start(directory, args).finish(Duration::from_secs(400))
}

/// Any other command of the binary, to its end.
pub(crate) fn sshchurn(args: &[&str]) -> Finished {
    let output = Command::new(binary())
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        directory: PathBuf::new(),
    }
}

impl Running {
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Waits until a line on stderr contains `text`, and returns it.
    pub(crate) fn wait_for(&mut self, text: &str, within: Duration) -> String {
        let deadline = Instant::now() + within;
        loop {
            match self
                .stderr
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!("no `{text}` within {within:?}: {:#?}", self.seen)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("ended without `{text}`: {:#?}", self.seen)
                }
            }
        }
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Sends a signal as soon as a line on stderr contains `moment`.
    pub(crate) fn signal_at(
        &mut self,
        moment: &str,
        within: Duration,
        signal: nix::sys::signal::Signal,
    ) {
        self.wait_for(moment, within);
        self.signal(signal);
    }

    /// Waits for its end; a harness that hangs is a failed test, and is killed.
    pub(crate) fn finish(mut self, within: Duration) -> Finished {
        let mut stdout = self.child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stdout.read_to_string(&mut text);
            text
        });
        let deadline = Instant::now() + within;
        while self.child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!("still running after {within:?}: {:#?}", self.seen);
            }
            // Its lines are the only thing to wait for besides its end.
            match self.stderr.recv_timeout(Duration::from_millis(20)) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::park_timeout(PAUSE),
            }
        }
        let code = self.child.wait().unwrap().code();
        self.seen.extend(self.stderr.iter());
        Finished {
            code,
            stdout: reader.join().unwrap(),
            stderr: self.seen.join("\n"),
            directory: self.directory,
        }
    }
}

impl Finished {
    /// Asserts the exit code, showing everything when it is another.
    #[track_caller]
    pub(crate) fn code(self, expected: i32) -> Self {
        assert_eq!(
            self.code,
            Some(expected),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    pub(crate) fn report(&self) -> Value {
        let text = std::fs::read_to_string(self.directory.join("report.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

/// Says loudly that a test is skipped, or fails where the environment says that what it needs is required.
#[track_caller]
pub(crate) fn skipped(required: &str, why: &str) {
    assert!(
        std::env::var_os(required).is_none(),
        "required by {required}: {why}"
    );
    // Not `eprintln!`, which the test harness keeps to itself when the test passes.
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("SKIPPED: {why}\n"));
}

/// The strategies of a report by name.
pub(crate) fn strategy<'r>(report: &'r Value, name: &str) -> &'r Value {
    report["strategies"]
        .as_array()
        .unwrap()
        .iter()
        .find(|strategy| strategy["strategy"] == name)
        .unwrap_or_else(|| panic!("no strategy {name}"))
}

/// A count of a scope.
pub(crate) fn count(scope: &Value, name: &str) -> u64 {
    scope["counts"][name]
        .as_u64()
        .unwrap_or_else(|| panic!("no count {name} in {scope:#}"))
}

/// Asserts that every law of the report holds, naming those that do not.
#[track_caller]
pub(crate) fn books_balance(report: &Value) {
    let laws = report["laws"].as_array().unwrap();
    assert!(!laws.is_empty());
    for law in laws {
        for line in law["balances"].as_array().unwrap() {
            assert_eq!(line["holds"], true, "{law:#}");
        }
    }
}

/// The address in a line that names the target.
fn address_in(line: &str) -> SocketAddr {
    line.split_whitespace()
        .find_map(|word| word.trim_end_matches([')', ',']).parse().ok())
        .unwrap_or_else(|| panic!("no address in {line}"))
}

/// A second client behind the harness's back, of a run that was started with `-v`: a few connections as soon as its first
/// round has begun.
pub(crate) fn stranger(running: &mut Running, within: Duration) {
    let address = address_in(&running.wait_for("target: ", within));
    running.wait_for("RoundStarted", within);
    for _ in 0..3 {
        let mut stream = TcpStream::connect(address).unwrap();
        let _ = stream.read(&mut [0_u8; 64]);
    }
}

/// Pause between two looks at a condition of which the machine gives no notice.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits for a condition on the machine, with a deadline. Never spins: what is waited for may need this core.
#[track_caller]
pub(crate) fn wait_until(within: Duration, what: &str, condition: impl Fn() -> bool) {
    assert!(
        comes_true(within, condition),
        "{what}: not within {within:?}"
    );
}

/// Whether the condition is met in time.
pub(crate) fn comes_true(within: Duration, condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + within;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::park_timeout(PAUSE);
    }
    true
}

/// Processes whose command line contains `text`.
pub(crate) fn processes_with(text: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .bytes()
                .all(|byte| byte.is_ascii_digit())
        })
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(text))
        .collect()
}

/// Entries of the temporary folder that begin with `prefix`.
pub(crate) fn temporary(folder: &Path, prefix: &str) -> Vec<String> {
    std::fs::read_dir(folder)
        .unwrap()
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(prefix))
        .collect()
}

/// Asserts that neither temporary folders nor processes of a harness that used `directory` are there any more.
#[track_caller]
pub(crate) fn nothing_is_left(directory: &Path) {
    assert_eq!(temporary(directory, "sshchurn-"), Vec::<String>::new());
    assert_eq!(
        processes_with(&directory.display().to_string()),
        Vec::<String>::new()
    );
}

/// Writes the ledger of a run anew with only those of the server's lines that `keep` wants, as if the others had never been
/// logged.
pub(crate) fn keep_lines(run: &Path, mut keep: impl FnMut(&str) -> bool) {
    let ledger = RunDirectory::open(run).unwrap().file(RunFile::Ledger);
    let records: Vec<Record> = LedgerReader::open(&ledger)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut sink = LedgerSink::create(&ledger).unwrap();
    let mut seq = 0;
    for record in records {
        if let Event::ServerLogged { line } = &record.event
            && !keep(line)
        {
            continue;
        }
        sink.append(&Record { seq, ..record }).unwrap();
        seq += 1;
    }
    sink.finish().unwrap();
}

/// The client's port in a line that stands for a connection, a refusal or a login.
fn port_of(line: &str) -> Option<u16> {
    match parse_line(line).message {
        ServerLogMessage::Connection { source, .. }
        | ServerLogMessage::Drop { source, .. }
        | ServerLogMessage::Authenticated { source, .. } => Some(source.port),
        _ => None,
    }
}

/// Takes `count` such lines out of the log of a run's rounds, evenly spread over it and each of another port, and returns
/// their ports.
pub(crate) fn take_lines(run: &Path, count: usize) -> BTreeSet<u16> {
    // Those of before the first round are of the calibration, which is no round's.
    let mut lines = Vec::new();
    let ledger = RunDirectory::open(run).unwrap().file(RunFile::Ledger);
    let mut in_round = false;
    for record in LedgerReader::open(&ledger).unwrap() {
        match record.unwrap().event {
            Event::RoundStarted { .. } => in_round = true,
            Event::RoundEnded { .. } => in_round = false,
            Event::ServerLogged { line } if in_round => {
                lines.extend(port_of(&line).map(|port| (port, line)));
            }
            _ => {}
        }
    }
    let mut taken = BTreeMap::new();
    for index in (0..lines.len()).step_by((lines.len() / (2 * count)).max(1)) {
        let (port, line) = &lines[index];
        if taken.len() < count {
            taken.entry(*port).or_insert_with(|| line.clone());
        }
    }
    assert_eq!(taken.len(), count, "of {} lines", lines.len());
    let mut left: BTreeSet<String> = taken.values().cloned().collect();
    keep_lines(run, |line| !left.remove(line));
    taken.into_keys().collect()
}

/// The ports of the attempts that a report could not find in the server's log, whatever the law.
pub(crate) fn missed_ports(report: &Value) -> BTreeSet<u16> {
    let strategies = report["strategies"].as_array().unwrap();
    let rounds = strategies
        .iter()
        .flat_map(|strategy| strategy["per_round"].as_array().unwrap());
    rounds
        .flat_map(|round| {
            let books = &round["reconciliation"];
            ["connections", "handshakes", "refusals"].map(|of| {
                assert_eq!(books[of]["server_only"], 0, "{books:#}");
                books[of]["client_only_first"].as_array().unwrap()
            })
        })
        .flatten()
        .map(|case| {
            let case = case.as_str().unwrap();
            let port = case.strip_prefix("port ").unwrap();
            port.split(' ').next().unwrap().parse().unwrap()
        })
        .collect()
}
