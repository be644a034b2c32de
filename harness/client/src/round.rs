//! A round of clients under test, as the harness sees it: when each begins, and what became of it, told as events.
//!
//! Owns the conversation with the launcher. Processes are the wardens', numbers the analysis'.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sshchurn_core::ids::{RoundId, TaskId};
use sshchurn_core::instant::RunInstant;
use sshchurn_core::ledger::{Event, RoundEnd};
use sshchurn_core::scenario::client::{ClientProgram, Per, Placeholder, filled};
use sshchurn_core::vocabulary::{CleanupResult, ClientEnd, TaskFailure, TaskFate};
use sshchurn_engine::collector::Collector;
use sshchurn_engine::{StopLevel, StopSignal};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::access::Access;
use crate::launcher::LAUNCHER;
use crate::limits;
use crate::protocol::{ClientSpec, Launch, Order, Word};
use crate::recognise;

/// Between the last preparation and the first start.
const RELEASE_LEAD: Duration = Duration::from_millis(50);
/// Most of a client's output that is looked through for refusals: all that is kept.
const LOOKED_THROUGH: u64 = 128 * 1024;

/// How much of the output of a client that failed goes into the record.
const EXCERPT_LINES: usize = 6;
const EXCERPT_CHARS: usize = 160;

/// Why a round of clients could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The launcher could not be started or spoken to.
    #[error("cannot start the clients under test")]
    Launcher(#[source] io::Error),
    /// It ended before its clients did.
    #[error("the process that watches the clients under test died{0}")]
    Died(String),
}

/// Everything about one round of clients.
pub struct ClientRound<'a> {
    /// The program that is a launcher when its first argument says so.
    pub launcher: &'a Path,
    /// A variable that every process of it carries, and its value.
    pub mark: (&'a str, &'a Path),
    /// The client.
    pub program: &'a ClientProgram,
    /// Where its scenario lies.
    pub scenario: &'a Path,
    /// Where it runs.
    pub folder: PathBuf,
    /// The way in.
    pub access: &'a Access,
    /// Where outputs go; made when there is one.
    pub outputs: PathBuf,
    /// The round.
    pub round: RoundId,
    /// When each task begins, counted from the first.
    pub starts: Vec<Duration>,
    /// At most this many at once.
    pub max_in_flight: Option<u32>,
    /// Events go here.
    pub collector: &'a Collector,
    /// When to stop.
    pub stop: &'a StopSignal,
}

impl ClientRound<'_> {
    /// Runs the round to its end: every client has ended, and everything that they had started is gone.
    ///
    /// # Errors
    /// [`ClientError`]. Tasks that were under way have ended as interrupted then.
    pub async fn run(self) -> Result<RoundEnd, ClientError> {
        let launch = self.launch();
        std::fs::create_dir_all(&self.outputs).map_err(ClientError::Launcher)?;
        let mut child = Command::new(self.launcher)
            .arg(LAUNCHER)
            // Not read: for whoever looks at the list of processes.
            .arg(self.mark.1)
            .env(self.mark.0, self.mark.1)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            // What is typed at a terminal is the harness's: it decides what it means for them.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(ClientError::Launcher)?;
        let taken = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout)) = taken else {
            return Err(ClientError::Launcher(io::ErrorKind::BrokenPipe.into()));
        };
        let mut conversation = Conversation {
            child,
            stdin: Some(stdin),
            words: BufReader::new(stdout).lines(),
        };
        let mut first =
            serde_json::to_vec(&launch).map_err(|error| ClientError::Launcher(error.into()))?;
        first.push(b'\n');
        conversation.write(&first).await?;
        let mut state = State::new(&self, launch.clients.len());
        let done = self.follow(&mut conversation, &mut state).await;
        // The end of its leash: it ends everything that is left, says so, and goes.
        conversation.stdin = None;
        state.schedule_if_never();
        while let Ok(Some(word)) = conversation.word().await {
            state.hear(word).await;
        }
        state.interrupt_the_rest();
        let _ = conversation.child.wait().await;
        // A folder without a file is no record.
        let _ = std::fs::remove_dir(&self.outputs);
        done?;
        Ok(match self.stop.level() {
            StopLevel::Run => RoundEnd::Complete,
            StopLevel::Drain => RoundEnd::Drained,
            StopLevel::Abort => RoundEnd::Aborted,
        })
    }

    fn launch(&self) -> Launch {
        let tasks = self.starts.len();
        let tasks: Vec<Option<TaskId>> = match self.program.per {
            Per::Task => (0..tasks).map(|task| Some(number(task))).collect(),
            Per::Round => vec![None],
        };
        Launch {
            clients: tasks.into_iter().map(|task| self.client(task)).collect(),
            folder: self.folder.clone(),
            timeout_ns: u64::try_from(self.program.timeout.as_nanos()).unwrap_or(u64::MAX),
            waits_for_go: self.program.waits_for_go,
            max_processes: self.program.max_processes,
            max_memory: self.program.max_memory,
            label: limits::label(self.round.0),
        }
    }

    fn client(&self, task: Option<TaskId>) -> ClientSpec {
        let value = |placeholder| {
            self.access
                .value(placeholder, task, self.round, self.scenario)
        };
        let fill = |text: &str| filled(text, value);
        let argv: Vec<String> = self.program.argv.iter().map(|text| fill(text)).collect();
        let own = Placeholder::ALL
            .into_iter()
            .filter(|placeholder| placeholder.belongs_to(self.program.per))
            .map(|placeholder| (placeholder.variable(), value(placeholder)))
            // The lists of a large round: its program may not want them, and can have them on standard input.
            .filter(|(name, value)| fits_into_environment(name, value));
        let environment = self.program.environment.iter();
        ClientSpec {
            argv: located(argv, self.scenario),
            environment: own
                .chain(environment.map(|(name, text)| (name.clone(), fill(text))))
                .collect(),
            stdin: self.program.stdin.as_deref().map(fill),
            output: self.output_of(task),
        }
    }

    fn output_of(&self, task: Option<TaskId>) -> PathBuf {
        match task {
            Some(task) => self.outputs.join(format!("task-{}.txt", task.0)),
            None => self.outputs.join("round.txt"),
        }
    }

    async fn follow(
        &self,
        conversation: &mut Conversation,
        state: &mut State<'_>,
    ) -> Result<(), ClientError> {
        let drained = self.stop.at_least(StopLevel::Drain);
        let aborted = self.stop.at_least(StopLevel::Abort);
        tokio::pin!(drained, aborted);
        if self.program.waits_for_go {
            conversation.order(Order::Prepare).await?;
            while state.ready.len() < state.clients {
                tokio::select! {
                    biased;
                    () = &mut drained => return Ok(()),
                    word = conversation.word() => state.hear(word?.ok_or_else(died)?).await,
                }
            }
        }
        state.schedule(self.collector.clock().now() + RELEASE_LEAD);
        let mut no_more = false;
        while state.over.len() < state.clients && !(no_more && state.running == 0) {
            let next = if no_more { None } else { state.next_start() };
            let due = async {
                match next {
                    Some(at) => self.collector.clock().sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = &mut aborted => return Ok(()),
                () = &mut drained, if !no_more => no_more = true,
                () = due => {
                    // All that are due at once are told at once.
                    let (mut orders, mut early) = (Vec::new(), Vec::new());
                    while let Some(client) = state.begin(self.collector.clock().now()) {
                        orders.extend(line(Order::Go(client)));
                        early.extend(state.early.remove(&client));
                    }
                    conversation.write(&orders).await?;
                    for word in early {
                        state.hear(word).await;
                    }
                }
                word = conversation.word() => state.hear(word?.ok_or_else(died)?).await,
            }
        }
        conversation.order(Order::End).await
    }
}

/// Whether execve(2) takes a variable: Linux's `MAX_ARG_STRLEN`, with `=` and the NUL at the end, on the smallest pages.
fn fits_into_environment(name: &str, value: &str) -> bool {
    name.len() + value.len() + 2 <= 32 * 4096
}

/// The program as it is found from any folder: a path with a folder in it counts from the scenario.
fn located(mut argv: Vec<String>, scenario: &Path) -> Vec<String> {
    if let Some(program) = argv.first_mut()
        && program.contains('/')
    {
        *program = scenario.join(&program).display().to_string();
    }
    argv
}

fn number(index: usize) -> TaskId {
    TaskId(u32::try_from(index).unwrap_or(u32::MAX))
}

fn died() -> ClientError {
    ClientError::Died(String::new())
}

fn line(order: Order) -> Vec<u8> {
    let mut line = serde_json::to_vec(&order).unwrap_or_default();
    line.push(b'\n');
    line
}

struct Conversation {
    child: Child,
    stdin: Option<ChildStdin>,
    words: Lines<BufReader<ChildStdout>>,
}

impl Conversation {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let stdin = self.stdin.as_mut().ok_or_else(died)?;
        stdin
            .write_all(bytes)
            .await
            .map_err(ClientError::Launcher)?;
        stdin.flush().await.map_err(ClientError::Launcher)
    }

    async fn order(&mut self, order: Order) -> Result<(), ClientError> {
        self.write(&line(order)).await
    }

    /// The next word; `None` at the end.
    async fn word(&mut self) -> Result<Option<Word>, ClientError> {
        let Some(line) = self
            .words
            .next_line()
            .await
            .map_err(ClientError::Launcher)?
        else {
            return Ok(None);
        };
        let text = || format!(": it said `{line}`");
        serde_json::from_str(&line)
            .map(Some)
            .map_err(|_| ClientError::Died(text()))
    }
}

/// What is known of the clients of a round.
struct State<'a> {
    round: &'a ClientRound<'a>,
    clients: usize,
    /// Those that are ready, or will never be.
    ready: HashSet<u32>,
    /// How many have begun and not ended.
    running: usize,
    /// Those that have begun and ended.
    over: HashSet<u32>,
    /// The ends of those that had not begun: told when they would have.
    early: HashMap<u32, Word>,
    /// Clients that have not begun, with their intended starts.
    waiting: VecDeque<(u32, RunInstant)>,
    scheduled: bool,
    /// Of each task, whether it has begun and ended.
    tasks: Vec<(bool, bool)>,
}

impl<'a> State<'a> {
    fn new(round: &'a ClientRound<'a>, clients: usize) -> Self {
        State {
            round,
            clients,
            ready: HashSet::new(),
            running: 0,
            over: HashSet::new(),
            early: HashMap::new(),
            waiting: VecDeque::new(),
            scheduled: false,
            tasks: vec![(false, false); round.starts.len()],
        }
    }

    fn record(&self, event: Event) {
        self.round.collector.record(event);
    }

    /// The tasks of a client: its own, or all of the round's.
    fn tasks_of(&self, client: u32) -> Vec<TaskId> {
        match self.round.program.per {
            Per::Task => vec![TaskId(client)],
            Per::Round => (0..self.tasks.len()).map(number).collect(),
        }
    }

    /// Whose a client is: a task's, or the round's; nothing of a client that there is none of.
    fn known(&self, client: u32) -> Option<Option<TaskId>> {
        ((client as usize) < self.clients).then_some(match self.round.program.per {
            Per::Task => Some(TaskId(client)),
            Per::Round => None,
        })
    }

    /// Whether a client's tasks have begun; all of a client's begin together.
    fn has_begun(&self, client: u32) -> bool {
        self.tasks
            .get(client as usize)
            .is_some_and(|(begun, _)| *begun)
    }

    fn schedule(&mut self, release: RunInstant) {
        self.scheduled = true;
        let alike = self.round.program.per == Per::Round;
        for (index, offset) in self.round.starts.iter().enumerate() {
            // One program for all begins once.
            let offset = if alike { Duration::ZERO } else { *offset };
            let intended = release + offset;
            self.record(Event::TaskScheduled {
                round: self.round.round,
                task: number(index),
                intended,
                job_id: String::new(),
            });
            if index < self.clients {
                self.waiting.push_back((number(index).0, intended));
            }
        }
        self.waiting.make_contiguous().sort_by_key(|(_, at)| *at);
    }

    /// When the next one is to begin, unless as many run as may.
    fn next_start(&self) -> Option<RunInstant> {
        let full = self
            .round
            .max_in_flight
            .is_some_and(|most| self.running >= most as usize);
        self.waiting.front().filter(|_| !full).map(|(_, at)| *at)
    }

    /// Begins the next one, if it is due.
    fn begin(&mut self, now: RunInstant) -> Option<u32> {
        self.next_start().filter(|at| *at <= now)?;
        let (client, _) = self.waiting.pop_front()?;
        self.running += 1;
        for task in self.tasks_of(client) {
            self.tasks[task.0 as usize].0 = true;
            self.record(Event::TaskStarted {
                round: self.round.round,
                task,
            });
        }
        Some(client)
    }

    async fn hear(&mut self, word: Word) {
        let round = self.round.round;
        match word {
            Word::Ready { client } => {
                self.ready.insert(client);
            }
            Word::Ended { client, .. } if !self.has_begun(client) => {
                self.ready.insert(client);
                self.early.insert(client, word);
            }
            Word::Ended {
                client,
                end,
                took_ns,
                left_behind,
                output_bytes,
            } => {
                let Some(task) = self.known(client) else {
                    return;
                };
                // Once each: a warden may be killed after its last word.
                if !self.over.insert(client) {
                    return;
                }
                self.running -= 1;
                let output = self.round.output_of(task);
                let said = said(&output).await;
                let fate = self.fate(&end, &left_behind);
                let excerpt = match fate {
                    TaskFate::Failed { .. } => excerpt(&said),
                    _ => String::new(),
                };
                self.record(Event::ClientEnded {
                    round,
                    task,
                    end,
                    took: Duration::from_nanos(took_ns),
                    left_behind,
                    output_bytes,
                    recognised: recognise::refusals(&said),
                    excerpt,
                });
                for task in self.tasks_of(client) {
                    self.end(task, fate);
                }
            }
            Word::Cleared {
                client,
                cpu_ns,
                memory_bytes,
                killed,
            } => {
                if let Some(task) = self.known(client) {
                    self.record(Event::ClientCleared {
                        round,
                        task,
                        cpu_ns,
                        memory_bytes,
                        killed,
                    });
                }
            }
            Word::Load {
                thread_share,
                thread,
                machine_share,
                window_s,
            } => self.record(Event::ClientsSampled {
                round,
                thread_share,
                thread,
                machine_share,
                window_s,
            }),
            Word::Trouble { text } => self.record(Event::Warned { text }),
        }
    }

    fn fate(&self, end: &ClientEnd, left_behind: &BTreeMap<String, u64>) -> TaskFate {
        let failure = match end {
            ClientEnd::Exited { status: 0 }
                if !left_behind.is_empty() && !self.round.program.lingers =>
            {
                TaskFailure::ClientLeftBehind
            }
            ClientEnd::Exited { status: 0 } => return TaskFate::Succeeded,
            ClientEnd::Exited { .. }
            | ClientEnd::Signalled { .. }
            | ClientEnd::OverLimit
            | ClientEnd::Unwatched => TaskFailure::ClientExit,
            ClientEnd::TimedOut => TaskFailure::ClientTimeout,
            ClientEnd::NotStarted { .. } => TaskFailure::ClientStart,
            ClientEnd::Interrupted => return TaskFate::Interrupted,
        };
        TaskFate::Failed { failure }
    }

    fn end(&mut self, task: TaskId, fate: TaskFate) {
        let (begun, ended) = &mut self.tasks[task.0 as usize];
        if std::mem::replace(ended, true) {
            return;
        }
        let fate = if *begun { fate } else { TaskFate::NotStarted };
        self.record(Event::TaskEnded {
            round: self.round.round,
            task,
            fate,
            removal_required: false,
            cleanup: CleanupResult::NotRequired,
        });
    }

    /// Stopped before anything began: its tasks have a place all the same.
    fn schedule_if_never(&mut self) {
        if !self.scheduled {
            self.schedule(self.round.collector.clock().now());
        }
    }

    /// Tasks without an end when the round is over.
    fn interrupt_the_rest(&mut self) {
        for index in 0..self.tasks.len() {
            self.end(number(index), TaskFate::Interrupted);
        }
    }
}

/// What was kept of an output.
async fn said(output: &Path) -> String {
    let Ok(file) = tokio::fs::File::open(output).await else {
        // There was none.
        return String::new();
    };
    let mut bytes = Vec::new();
    let _ = file.take(LOOKED_THROUGH).read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Its last lines, without what would move a terminal's cursor.
fn excerpt(said: &str) -> String {
    let lines: Vec<String> = said
        .lines()
        .rev()
        .take(EXCERPT_LINES)
        .map(|line| {
            line.chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .take(EXCERPT_CHARS)
                .collect()
        })
        .collect();
    let lines: Vec<&str> = lines.iter().rev().map(|line| line.trim_end()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpt_is_the_end_without_control_characters() {
        let said = (0..20)
            .map(|n| format!("line {n}\x1b[2J\r\n"))
            .collect::<String>();
        let excerpt = excerpt(&said);
        assert_eq!(excerpt.lines().count(), EXCERPT_LINES);
        assert!(excerpt.ends_with("line 19 [2J"), "{excerpt}");
        assert!(!excerpt.contains('\x1b'));
    }

    #[test]
    fn longest_variable_is_the_longest_that_a_program_can_be_started_with() {
        let started = |length: usize| {
            let value = "x".repeat(length);
            let started = std::process::Command::new("true")
                .env("SSHCHURN_KEYS", &value)
                .status()
                .is_ok();
            (fits_into_environment("SSHCHURN_KEYS", &value), started)
        };
        let longest = 128 * 1024 - "SSHCHURN_KEYS=".len() - 1;
        assert_eq!(started(longest), (true, true));
        assert!(!started(longest + 1).0);
    }

    #[test]
    fn program_with_a_folder_in_its_name_counts_from_the_scenario_and_a_bare_one_from_path() {
        let located = |program: &str| located(vec![program.to_owned()], Path::new("/where"));
        assert_eq!(located("./client.sh"), ["/where/./client.sh"]);
        assert_eq!(located("/bin/sh"), ["/bin/sh"]);
        assert_eq!(located("ssh"), ["ssh"]);
    }
}
