//! The simulated side of the connector seam: what a strategy asks for becomes a question to the simulated server.
//!
//! A connection costs its task one wake, and so does a command: the server computes the stages in between. Owns what the
//! simulated jobs do, too: their log grows and they end as those of the real shell script.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{FutureExt, TryFutureExt};
use rustc_hash::FxHashMap;

use super::board::{Answered, Board};
use super::log::Witness;
use super::time::VirtualTime;
use crate::clock::RunClock;
use crate::collector::Collector;
use crate::round::RoundPlan;
use crate::ssh::{
    Command, CommandOutput, ConnectLimits, Connector, Held, Session, Tap, log_pieces, log_share,
};
use sshchurn_core::instant::RunInstant;
use sshchurn_core::model::server::{
    Answer, ConnectionId, Costs, Deadlines, Dial, OwnWork, Peer, ServerBooks, ServerSettings,
    SimulatedServer, Stamps, When,
};
use sshchurn_core::socket_error::SocketError;
use sshchurn_core::vocabulary::{AttemptOutcome, Close, CommandOutcome, StageFailure};

/// First port that connections come from.
const FIRST_PORT: u32 = 1024;
const PORTS: u32 = 65_536 - FIRST_PORT;

/// Makes the server of each round: every round begins on an idle one.
pub struct SimulatedServers {
    /// Its limits.
    pub settings: ServerSettings,
    /// What things take on it.
    pub costs: Costs,
    /// What it says that it is.
    pub identification: String,
    /// What it says in place of that when it refuses.
    pub refusal: &'static str,
    /// Its draws follow from this, and from the repetition.
    pub seed: u64,
    /// Whether its log and its gauge are told of.
    pub witnessed: bool,
    /// The run's.
    pub collector: Collector,
}

/// The jobs on the simulated server, by the number of the client whose job it is.
#[derive(Default)]
struct Jobs(Mutex<FxHashMap<u32, ServerJob>>);

/// A job whose directory is there.
struct ServerJob {
    began: RunInstant,
    directory: Box<str>,
}

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, FxHashMap<u32, ServerJob>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server of one round, and the way to it.
pub struct SimulatedRound {
    shared: Arc<Shared>,
    clients: AtomicU32,
}

struct Shared {
    board: Board,
    identification: String,
    refusal: &'static str,
    exec: Duration,
    process: Duration,
    connections: AtomicU32,
    jobs: Jobs,
}

impl SimulatedServers {
    /// The server of a round.
    #[must_use]
    pub fn of_round(&self, plan: &RoundPlan) -> SimulatedRound {
        self.of_round_in_grains(plan, 1)
    }

    /// As [`SimulatedServers::of_round`]; what the server does reaches the clients at multiples of `grain`.
    pub(super) fn of_round_in_grains(&self, plan: &RoundPlan, grain: u64) -> SimulatedRound {
        let seed = self.seed ^ (u64::from(plan.repetition)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let server = SimulatedServer::new(self.settings.clone(), self.costs.clone(), seed);
        let [exec, process] = {
            let costs = server.costs();
            [costs.exec_cpu_ns, costs.process_cpu_ns].map(Duration::from_nanos)
        };
        let clock: RunClock = self.collector.clock().clone();
        // The server's own time begins with the run's: it has been idle until now.
        let witness = self.witnessed.then(|| {
            Witness::start(
                self.collector.clone(),
                plan.round,
                self.settings.max_startups,
            )
        });
        SimulatedRound {
            shared: Arc::new(Shared {
                board: Board::new(clock, server, witness, grain),
                identification: self.identification.clone(),
                refusal: self.refusal,
                exec,
                process,
                connections: AtomicU32::new(0),
                jobs: Jobs::default(),
            }),
            clients: AtomicU32::new(0),
        }
    }
}

impl SimulatedRound {
    /// For one more task, or one more holder: in the order of their making, events of one instant are handled.
    pub fn connector(&self) -> SimulatedConnector {
        SimulatedConnector {
            shared: Arc::clone(&self.shared),
            client: self.clients.fetch_add(1, Relaxed),
        }
    }

    /// The way to the server, for the executor.
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.shared.board
    }

    /// What the server has counted.
    #[must_use]
    pub fn books(&self) -> ServerBooks {
        self.shared.board.books()
    }

    /// Takes the directories that are still on it, in the order of the clients.
    pub fn take_leftovers(&self) -> impl Iterator<Item = String> + use<> {
        let jobs = std::mem::take(&mut *self.shared.jobs.lock());
        let jobs: BTreeMap<u32, ServerJob> = jobs.into_iter().collect();
        jobs.into_values().map(|job| String::from(job.directory))
    }

    /// Lets the server finish what it does when everybody has gone, for so long at most; whether it is idle then.
    #[must_use]
    pub fn wind_up(&self, time: &VirtualTime, within: Duration) -> bool {
        let board = &self.shared.board;
        let by = time.now() + within;
        while !board.is_idle() {
            match board.next() {
                Some(next) if next <= by.0 => {
                    time.move_to(next);
                    board.advance();
                }
                _ => return false,
            }
        }
        true
    }

    /// Ends the witness's account of the round, which took so long.
    pub fn finish(&self, took: Duration) {
        self.shared.board.finish(took);
    }
}

/// One task's way to the simulated server.
#[derive(Clone)]
pub struct SimulatedConnector {
    shared: Arc<Shared>,
    client: u32,
}

/// A connection to the simulated server.
pub struct SimulatedSession {
    of: SimulatedConnector,
    connection: ConnectionId,
}

/// A silent one.
pub struct SimulatedHeld {
    of: SimulatedConnector,
    /// `None` once it was taken to log in.
    connection: Option<ConnectionId>,
}

impl SimulatedConnector {
    /// Processes that a command starts beside the login shell, which does the rest by itself (`ssh::shell` has the texts).
    fn processes(&self, command: Command<'_>) -> u32 {
        match command {
            // `uname`, `wc`, `rm`.
            Command::Detect | Command::Size(_) | Command::Cleanup(_) => 1,
            // `mkdir`.
            Command::Submit(_) => 1,
            // `cat`, once there is something.
            Command::Check(job) => {
                u32::from(self.job_ran().is_some_and(|ran| ran >= job.work.duration))
            }
            // `tail` and `head`.
            Command::Read { .. } => 2,
            Command::Run(text) => u32::from(!matches!(text.trim(), "true" | ":" | "")),
        }
    }

    /// For how long its job has been there.
    fn job_ran(&self) -> Option<Duration> {
        let began = self.shared.jobs.lock().get(&self.client)?.began;
        Some(self.shared.board.now().since(began))
    }

    fn dial(&self, limits: &ConnectLimits, silent: bool) -> Dial {
        let source = match limits.source {
            Some(IpAddr::V4(address)) => address,
            _ => Ipv4Addr::LOCALHOST,
        };
        let port = FIRST_PORT + self.shared.connections.fetch_add(1, Relaxed) % PORTS;
        Dial {
            silent,
            asks_methods: limits.asks_methods,
            unknown_key: limits.unknown_key,
            within: Deadlines {
                connect: Some(limits.connect),
                banner: Some(limits.banner),
                login: Some(limits.login),
                whole: limits.whole,
            },
            own_work: limits.work.as_ref().map(|work| {
                let (part, threads) = work.shape();
                OwnWork {
                    part_ns: u64::try_from(part.as_nanos()).unwrap_or(u64::MAX),
                    threads,
                }
            }),
            peer: Peer {
                source: source.to_bits(),
                port: u16::try_from(port).unwrap_or(u16::MAX),
            },
        }
    }

    /// Calls, at once; the answer comes when it comes.
    fn dialling<'c, 't>(
        &'c self,
        limits: &ConnectLimits,
        silent: bool,
        tap: &'t Tap,
    ) -> Dialling<'c, 't> {
        let dial = self.dial(limits, silent);
        let board = &self.shared.board;
        Dialling {
            answer: board.ask(self.client, |server, now, asker| {
                server.dial(now, asker, dial)
            }),
            call: Some(Call {
                tap,
                at: tap.now(),
                peer: dial.peer,
            }),
            of: self,
        }
    }

    fn told(&self, tap: &Tap, answer: &Answer, stamps: &Stamps) {
        let now = tap.now();
        // A stage that the client had not come to before it gave up, it has not seen.
        let seen = |stamp: When| stamp.instant().filter(|at| *at <= now);
        tap.tell(|trace| {
            trace.connected = seen(stamps.connected);
            trace.first_byte = seen(stamps.identified);
            trace.identified = seen(stamps.identified);
            trace.keyed = seen(stamps.keyed);
            trace.authenticated = seen(stamps.authenticated);
            if trace.identified.is_some() {
                trace.identification = Some(self.shared.identification.clone());
            }
            match answer {
                Answer::Refused { reset } => {
                    trace.first_byte = Some(now);
                    trace.text_before = Some(self.shared.refusal.to_owned());
                    trace.saw_eof = !reset;
                    trace.errno = reset.then_some(SocketError::ConnectionReset);
                }
                Answer::Lost => trace.saw_eof = true,
                _ => {}
            }
        });
    }
}

/// A call of `connect()` that is not over. Written by hand, since a million of them may wait: an async function would have twice the
/// size.
struct Dialling<'c, 't> {
    /// Given up before its tap hears of it.
    answer: Answered,
    call: Option<Call<'t>>,
    of: &'c SimulatedConnector,
}

impl Future for Dialling<'_, '_> {
    type Output = Result<ConnectionId, AttemptOutcome>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (answer, stamps) = ready!(self.answer.poll_unpin(context));
        if let Some(call) = self.call.take() {
            let tap = call.tap;
            drop(call);
            self.of.told(tap, &answer, &stamps);
        }
        Poll::Ready(outcome(answer, &stamps))
    }
}

/// Its tap hears of a call when it is over: an attempt that waits then keeps no record but this.
struct Call<'a> {
    tap: &'a Tap,
    at: RunInstant,
    peer: Peer,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let Peer { source, port } = self.peer;
        self.tap.tell(|trace| {
            trace.connect_called = Some(self.at);
            trace.local_address = Some(IpAddr::V4(Ipv4Addr::from_bits(source)));
            trace.local_port = Some(port);
        });
    }
}

fn outcome(answer: Answer, stamps: &Stamps) -> Result<ConnectionId, AttemptOutcome> {
    let failed = |failure| match stamps.keyed.get() {
        Some(_) => AttemptOutcome::AuthFailed { failure },
        None => AttemptOutcome::KexFailed { failure },
    };
    Err(match answer {
        Answer::In(connection) => return Ok(connection),
        Answer::Refused { reset } => AttemptOutcome::BannerEof {
            close: match reset {
                true => Close::Reset,
                false => Close::Eof,
            },
        },
        Answer::Rejected => AttemptOutcome::AuthFailed {
            failure: StageFailure::Rejected,
        },
        Answer::Lost => failed(StageFailure::Lost { close: Close::Eof }),
        Answer::TimedOut => match (stamps.connected.get(), stamps.identified.get()) {
            (None, _) => AttemptOutcome::ConnectTimeout,
            (Some(_), None) => AttemptOutcome::BannerTimeout,
            (Some(_), Some(_)) => failed(StageFailure::TimedOut),
        },
        // Answers to commands.
        Answer::Ran | Answer::ChannelRefused => AttemptOutcome::Interrupted,
    })
}

impl Connector for SimulatedConnector {
    type Session = SimulatedSession;
    type Held = SimulatedHeld;

    fn prepare(&self) -> Result<(), AttemptOutcome> {
        Ok(())
    }

    fn connect(
        &self,
        limits: &ConnectLimits,
        tap: &Tap,
    ) -> impl Future<Output = Result<SimulatedSession, AttemptOutcome>> + Send {
        self.dialling(limits, false, tap)
            .map_ok(|connection| SimulatedSession {
                of: self.clone(),
                connection,
            })
    }

    fn hold(
        &self,
        limits: &ConnectLimits,
        tap: &Tap,
    ) -> impl Future<Output = Result<SimulatedHeld, AttemptOutcome>> + Send {
        self.dialling(limits, true, tap)
            .map_ok(|connection| SimulatedHeld {
                of: self.clone(),
                connection: Some(connection),
            })
    }

    async fn log_in(
        &self,
        mut held: SimulatedHeld,
        limits: &ConnectLimits,
        tap: &Tap,
    ) -> Result<SimulatedSession, AttemptOutcome> {
        let Some(connection) = held.connection.take() else {
            return Err(AttemptOutcome::Interrupted);
        };
        let identified = tap.trace().identified;
        let board = &self.shared.board;
        let answer = board.ask(self.client, |server, now, asker| {
            server.log_in(now, asker, connection, limits.login)
        });
        let (answer, mut stamps) = answer.await;
        // The identification string came when it came.
        stamps.identified = identified.map_or(When::NEVER, |RunInstant(at)| When::at(at));
        self.told(tap, &answer, &stamps);
        let connection = outcome(answer, &stamps)?;
        Ok(SimulatedSession {
            of: self.clone(),
            connection,
        })
    }
}

impl Held for SimulatedHeld {
    async fn ended(&mut self) -> AttemptOutcome {
        let Some(connection) = self.connection else {
            return AttemptOutcome::Interrupted;
        };
        let board = &self.of.shared.board;
        board
            .ask(self.of.client, |server, now, asker| {
                server.watch(now, asker, connection)
            })
            .await;
        AttemptOutcome::KexFailed {
            failure: StageFailure::Lost { close: Close::Eof },
        }
    }
}

impl Drop for SimulatedHeld {
    fn drop(&mut self) {
        if let Some(connection) = self.connection {
            let board = &self.of.shared.board;
            board.act(|server, now| server.close(now, connection));
        }
    }
}

impl Session for SimulatedSession {
    fn run(
        &self,
        command: Command<'_>,
        within: Duration,
    ) -> impl Future<Output = Result<CommandOutput, CommandOutcome>> + Send {
        let shared = &self.of.shared;
        let connection = self.connection;
        let work = shared.exec + shared.process * self.of.processes(command);
        let answer = shared.board.ask(self.of.client, |server, now, asker| {
            server.run(now, asker, connection, work, within)
        });
        answer.map(move |(answer, _)| match answer {
            Answer::Ran => Ok(self.output(command)),
            Answer::ChannelRefused => Err(CommandOutcome::ChannelRefused),
            Answer::TimedOut => Err(CommandOutcome::TimedOut),
            _ => Err(CommandOutcome::ConnectionLost { close: Close::Eof }),
        })
    }

    async fn answers(&self, _: Duration) -> bool {
        true
    }

    fn lost(&self) -> Option<Close> {
        None
    }

    async fn close(self) {}
}

impl SimulatedSession {
    /// What a command that has run puts out, and what it has done to the job.
    fn output(&self, command: Command<'_>) -> CommandOutput {
        let SimulatedConnector { ref shared, client } = self.of;
        let now = shared.board.now();
        let mut output = CommandOutput::default();
        match command {
            Command::Detect => output.stdout.push(b"Linux\n"),
            Command::Submit(job) => {
                let id = job.id();
                output.stdout.push(id.as_bytes());
                output.stdout.push(b"\n");
                let job_there = ServerJob {
                    began: now,
                    directory: id.into_boxed_str(),
                };
                shared.jobs.lock().insert(client, job_there);
                // Its shell and the group leader it is started by, a pause for each piece of its log, and the last `mv`.
                let work = shared.process * (3 + log_pieces(job));
                shared
                    .board
                    .act_as(client, |server, now, asker| server.burden(now, asker, work));
            }
            Command::Check(job) => {
                if self
                    .of
                    .job_ran()
                    .is_some_and(|ran| ran >= job.work.duration)
                {
                    output
                        .stdout
                        .push(format!("{}\n", job.work.exit_code).as_bytes());
                }
            }
            Command::Size(job) => {
                let size = self.of.job_ran().map_or(0, |ran| log_share(job, ran));
                output.stdout.push(format!("{size}\n").as_bytes());
            }
            Command::Read { count, .. } => output.stdout.skip(count),
            Command::Cleanup(_) => drop(shared.jobs.lock().remove(&client)),
            Command::Run(_) => {}
        }
        output
    }
}

impl Drop for SimulatedSession {
    fn drop(&mut self) {
        let connection = self.connection;
        self.of
            .shared
            .board
            .act(|server, now| server.close(now, connection));
    }
}
