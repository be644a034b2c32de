//! A simulated sshd: listener, admission, the work before and after authentication, and the machine under it, as a discrete
//! event simulation.
//!
//! `costs` is what things take and `settings` which limits there are, `cores` who gets how much of a processor, `books` what is
//! counted, and this is how one thing follows from another. Time is a number that the caller moves: nothing here waits, draws
//! from anything but its own seed, or knows who asked. Events of one instant are handled in the order of the clients' numbers,
//! never in that in which they were asked for, so that whoever drives this, in whatever order it wakes its tasks, gets the same.
//!
//! What is modelled, and where it comes from: the listener takes one connection a turn and draws for it with the slots in use
//! (sshd.c:server_accept_loop, should_drop_connection); 129 connections wait for it at most (`SSH_LISTEN_BACKLOG` and one more),
//! beyond that the kernel drops the SYN, which comes again after 1 s, 3 s, 7 s (RFC 6298); a slot is held from the draw until the
//! login is done or `LoginGraceTime` has passed, and what is computed meanwhile shares the cores with everything else;
//! authentication waits at least 5 ms a request (auth2.c:ensure_minimum_time_since). What is not: penalties, memory, the path's
//! bandwidth, process limits.

mod books;
mod cores;
mod costs;
mod settings;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use books::ServerBooks;
pub use cores::Cores;
pub use costs::{ClientPlace, Costs};
pub use settings::{NotSimulated, ServerSettings};

use super::admission::{Admission, Decision};
use crate::instant::RunInstant;
use crate::quantity::nanoseconds;
use crate::scenario::SlowAuthShape;

/// First wait before a SYN comes again; each further one is twice as long (RFC 6298, section 5).
const SYN_AGAIN: u64 = 1_000_000_000;
/// Requests of a login that are about its key: whether it would do, and the signature.
const KEY_REQUESTS: u64 = 2;
/// Beyond that a request is answered at once (auth2.c:ensure_minimum_time_since, 9.5).
const MOST_PATIENCE: u64 = 5_000_000_000;
/// A process whose client is gone finds out when it next reads or writes.
const LEAVING_WORK: f64 = 200_000.0;

/// Which client asks, and its how-manieth question this is: events of one instant come in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asker {
    /// The client, from 0.
    pub client: u32,
    /// Its question, from 0.
    pub question: u32,
}

/// A connection of the simulated server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(u32);

/// Something that was asked and not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Question(u32);

impl Question {
    /// Its place: places of answered questions are used again.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// How a client connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dial {
    /// It stays silent once it has the identification string.
    pub silent: bool,
    /// It asks first which methods there are.
    pub asks_methods: bool,
    /// Its key is unknown to the server.
    pub unknown_key: bool,
    /// Its deadlines.
    pub within: Deadlines,
    /// What the client does between the stages, beside what our own code takes; it does not share the server's cores.
    pub own_work: Option<OwnWork>,
    /// Where it comes from.
    pub peer: Peer,
}

/// Work of a client that has few threads: its connections wait for one, first come first served. It is done in four parts: before
/// the key exchange, after it, after the methods were named, and once logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnWork {
    /// One part, nanoseconds.
    pub part_ns: u64,
    /// Threads of all clients together.
    pub threads: u32,
}

/// How long a client waits for each stage; `None` waits for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deadlines {
    /// For the TCP connection.
    pub connect: Option<Duration>,
    /// For the identification string, from then on.
    pub banner: Option<Duration>,
    /// For key exchange and login, from then on.
    pub login: Option<Duration>,
    /// For all of it.
    pub whole: Option<Duration>,
}

/// The instants of an attempt, as the client sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamps {
    /// The TCP connection stood.
    pub connected: Option<RunInstant>,
    /// The identification string was there.
    pub identified: Option<RunInstant>,
    /// The keys were exchanged.
    pub keyed: Option<RunInstant>,
    /// The login was done.
    pub authenticated: Option<RunInstant>,
}

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Logged in, or, of a silent client, let in.
    In(ConnectionId),
    /// Refused by the admission rule, before the identification string.
    Refused,
    /// The login was refused.
    Rejected,
    /// A deadline of the client's has passed.
    TimedOut,
    /// The server has ended the connection (`LoginGraceTime`).
    Lost,
    /// The command ran.
    Ran,
    /// The connection has as many sessions as it may have (`MaxSessions`).
    ChannelRefused,
}

/// The client's end of a connection, as sshd logs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The address it comes from, IPv4 as a number: limits per source count by it.
    pub source: u32,
    /// The port.
    pub port: u16,
}

/// What sshd logs, and what its gauge shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// A connection has a process of its own.
    Connection(Peer),
    /// One was refused; so many slots were in use before it.
    Dropped(Peer, u32),
    /// One has logged in.
    Accepted(Peer),
    /// A login was refused.
    Failed(Peer),
    /// One ran into `LoginGraceTime`.
    GraceTimeout(Peer),
    /// The client was gone before it had logged in.
    Closed(Peer),
    /// So many slots are in use.
    Slots(u32),
}

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The client makes its socket.
    Dialling,
    /// Its SYN was dropped so often.
    Knocking(u32),
    /// It waits to be accepted.
    Queued,
    /// Its process starts.
    Starting,
    /// The client computes its part of the key exchange.
    ClientKeys,
    /// The server computes its own.
    ServerKeys,
    /// The client prepares to log in.
    Preparing,
    /// The server looks the client's keys up, in its so-manieth request.
    Looking(u8),
    /// It computes over the request.
    Authenticating(u8),
    /// It takes its time over the answer.
    Waiting(u8),
    /// Logged in as far as the client knows; the slot is still held.
    Releasing,
    /// Silent on purpose.
    Held,
    /// Logged in.
    Open,
    /// Its process winds up.
    Leaving,
    /// The server has ended it.
    Ended,
}

#[derive(Debug, Clone)]
struct Connection {
    asker: Asker,
    dial: Dial,
    stage: Stage,
    stamps: Stamps,
    /// Whom to tell.
    question: Option<Question>,
    /// What this connection's work takes, beside the mean.
    factor: f64,
    /// Since when it has a startup slot.
    slot: Option<u64>,
    /// The client is gone.
    gone: bool,
    called: u64,
    /// When its request reached the server.
    asked: u64,
    sessions: u32,
    /// Commands that wait for the session to be made.
    early: Vec<u32>,
    ready: bool,
    /// Told apart from earlier users of the same place.
    life: u32,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    asker: Asker,
    connection: u32,
    what: Asked,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Asked {
    Login,
    /// Only to hear of the connection's end.
    End,
    Command {
        work_ns: f64,
    },
    /// Its place is free.
    Nothing,
}

/// A connection's place, and which of the place's users it is: what was set going for an earlier one is no business of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct At {
    index: u32,
    life: u32,
}

/// What is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    /// A turn of the listener's.
    Turn,
    /// Of a connection's process, or of its client.
    Of(Asker, At),
    /// Making the session after the login.
    Session(Asker, At),
    /// A command: the question and its life, the connection and its life.
    Command(Asker, [u32; 2], At),
    /// Nobody waits for it: winding up, and the jobs themselves.
    Alone(Asker),
}

/// What is due at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Syn(At),
    /// The stage's wait is over.
    Stage(At),
    /// The client has done its own work and begins with the key exchange.
    Keys(At),
    /// The answer reaches the client.
    Told(At, u8),
    /// The question is asked on the server's side.
    CommandArrives(u32, u32),
    Deadline(At),
    CommandDeadline(u32, u32),
    Grace(At),
}

/// The simulated server.
#[derive(Debug)]
pub struct SimulatedServer {
    settings: ServerSettings,
    costs: Costs,
    admission: Admission,
    draws: ChaCha8Rng,
    cores: Cores<Work>,
    now: u64,
    due: BinaryHeap<Reverse<(u64, Asker, Due)>>,
    connections: Vec<Connection>,
    free_connections: Vec<u32>,
    questions: Vec<Pending>,
    free_questions: Vec<u32>,
    /// Told apart from earlier users of the same place.
    question_lives: Vec<u32>,
    queue: VecDeque<u32>,
    /// The connection whose turn it is, and what becomes of it.
    turn: Option<(u32, Decision)>,
    slots: u32,
    /// When each thread of the clients is free.
    threads: BinaryHeap<Reverse<u64>>,
    by_source: HashMap<u32, u32>,
    answers: Vec<(Question, Answer, Stamps)>,
    notes: Option<Vec<Note>>,
    books: ServerBooks,
}

impl SimulatedServer {
    /// An idle server. Draws follow from `seed`.
    #[must_use]
    pub fn new(settings: ServerSettings, costs: Costs, seed: u64) -> Self {
        SimulatedServer {
            admission: Admission::new(settings.max_startups),
            draws: ChaCha8Rng::seed_from_u64(seed),
            cores: Cores::new(&costs),
            settings,
            costs,
            now: 0,
            due: BinaryHeap::new(),
            connections: Vec::new(),
            free_connections: Vec::new(),
            questions: Vec::new(),
            free_questions: Vec::new(),
            question_lives: Vec::new(),
            queue: VecDeque::new(),
            turn: None,
            slots: 0,
            threads: BinaryHeap::new(),
            by_source: HashMap::new(),
            answers: Vec::new(),
            notes: None,
            books: ServerBooks::default(),
        }
    }

    /// Keeps notes of what sshd would log and show.
    #[must_use]
    pub fn noting(mut self) -> Self {
        self.notes = Some(Vec::new());
        self
    }

    /// What was counted so far.
    #[must_use]
    pub fn books(&self) -> &ServerBooks {
        &self.books
    }

    /// Whether it computes nothing, holds no slot and has nobody waiting.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.slots == 0 && self.queue.is_empty() && self.turn.is_none() && self.cores.is_idle()
    }

    /// Asks to be connected, and, unless it stays silent, logged in.
    pub fn dial(&mut self, now: RunInstant, asker: Asker, dial: Dial) -> Question {
        self.settle(now);
        let connection = Connection {
            asker,
            dial,
            stage: Stage::Dialling,
            stamps: Stamps::default(),
            question: None,
            factor: 1.0,
            slot: None,
            gone: false,
            called: self.now,
            asked: 0,
            sessions: 0,
            early: Vec::new(),
            ready: false,
            life: 0,
        };
        let index = match self.free_connections.pop() {
            Some(index) => {
                let life = self.connections[index as usize].life + 1;
                self.connections[index as usize] = Connection { life, ..connection };
                index
            }
            None => {
                self.connections.push(connection);
                self.connections.len() as u32 - 1
            }
        };
        let question = self.asked(asker, index, Asked::Login);
        self.connections[index as usize].question = Some(question);
        self.expect(index);
        let job = Work::Of(asker, self.here(index));
        self.client_work(self.costs.connect_cpu_ns as f64, job);
        question
    }

    /// A silent client that was let in logs in after all, within `within`.
    pub fn log_in(
        &mut self,
        now: RunInstant,
        asker: Asker,
        connection: ConnectionId,
        within: Duration,
    ) -> Question {
        self.settle(now);
        let index = connection.0;
        let question = self.asked(asker, index, Asked::Login);
        let held = &mut self.connections[index as usize];
        held.asker = asker;
        held.question = Some(question);
        held.dial.silent = false;
        held.dial.within = Deadlines {
            login: Some(within),
            ..Deadlines::default()
        };
        // Deadlines count from now on.
        held.stamps.identified = Some(RunInstant(self.now));
        if held.stage == Stage::Ended {
            self.answer_later(index, Answer::Lost);
        } else {
            self.expect(index);
            self.identified(index);
        }
        question
    }

    /// Waits for the server to end a silent connection.
    pub fn watch(&mut self, now: RunInstant, asker: Asker, connection: ConnectionId) -> Question {
        self.settle(now);
        let question = self.asked(asker, connection.0, Asked::End);
        let held = &mut self.connections[connection.0 as usize];
        held.question = Some(question);
        if held.stage == Stage::Ended {
            self.answer_later(connection.0, Answer::Lost);
        }
        question
    }

    /// Runs a command that takes `work` of a processor on the server.
    pub fn run(
        &mut self,
        now: RunInstant,
        asker: Asker,
        connection: ConnectionId,
        work: Duration,
        within: Duration,
    ) -> Question {
        self.settle(now);
        let work_ns = nanoseconds(work) as f64;
        let question = self.asked(asker, connection.0, Asked::Command { work_ns });
        let life = self.question_lives[question.index()];
        let deadline = self.now.saturating_add(nanoseconds(within));
        self.at(deadline, asker, Due::CommandDeadline(question.0, life));
        // Opening a channel is one round trip, the request another half.
        let away = 3 * self.half_trip();
        self.at(
            self.now + away,
            asker,
            Due::CommandArrives(question.0, life),
        );
        question
    }

    /// Work that nobody waits for: the processes of a job.
    pub fn burden(&mut self, now: RunInstant, asker: Asker, work: Duration) {
        self.settle(now);
        self.cores
            .add_server(nanoseconds(work) as f64, Work::Alone(asker));
    }

    /// The client ends its connection, in good order or not.
    pub fn close(&mut self, now: RunInstant, connection: ConnectionId) {
        self.settle(now);
        self.leave(connection.0);
    }

    /// The client no longer waits for the answer, and its connection ends with it where it was for the login.
    pub fn give_up(&mut self, now: RunInstant, question: Question) {
        self.settle(now);
        let Pending {
            connection, what, ..
        } = self.questions[question.index()];
        if what == Asked::Nothing {
            return;
        }
        self.forget(question);
        self.taken(question);
        match what {
            Asked::Login => {
                self.connections[connection as usize].question = None;
                self.leave(connection);
            }
            Asked::End => self.connections[connection as usize].question = None,
            Asked::Command { .. } | Asked::Nothing => {}
        }
    }

    /// The answer was taken: the question's place may be used again.
    pub fn taken(&mut self, question: Question) {
        self.free_questions.push(question.0);
    }

    /// When something happens next; now, where an answer waits to be taken.
    #[must_use]
    pub fn next(&self) -> Option<RunInstant> {
        match self.answers.is_empty() {
            true => self.next_event(),
            false => Some(RunInstant(self.now)),
        }
    }

    fn next_event(&self) -> Option<RunInstant> {
        let due = self.due.peek().map(|Reverse((at, _, _))| *at);
        let done = self.cores.next(self.now);
        match (due, done) {
            (Some(due), Some(done)) => Some(RunInstant(due.min(done))),
            (due, done) => due.or(done).map(RunInstant),
        }
    }

    /// Lets everything happen that happens until `now`, and gives the answers that reach their clients.
    pub fn advance(&mut self, now: RunInstant) -> std::vec::Drain<'_, (Question, Answer, Stamps)> {
        self.settle(now);
        self.answers.drain(..)
    }

    /// Everything until `now` has happened before anything new is asked: what is asked at one instant meets the same server,
    /// whoever asks first.
    fn settle(&mut self, now: RunInstant) {
        while let Some(RunInstant(at)) = self.next_event()
            && at <= now.0
        {
            self.move_to(at);
            self.happen();
        }
        self.move_to(now.0);
    }

    /// What sshd has logged and shown since it was last asked.
    pub fn take_notes(&mut self) -> Vec<Note> {
        self.notes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn half_trip(&self) -> u64 {
        self.costs.round_trip_ns / 2
    }

    fn at(&mut self, at: u64, asker: Asker, due: Due) {
        self.due.push(Reverse((at, asker, due)));
    }

    fn note(&mut self, note: Note) {
        if let Some(notes) = &mut self.notes {
            notes.push(note);
        }
    }

    fn move_to(&mut self, now: u64) {
        if now > self.now {
            self.books.passed(
                now - self.now,
                self.slots,
                self.queue.len(),
                self.cores.busy(),
            );
            self.cores.pass(now - self.now);
            self.now = now;
        }
    }

    /// Everything of this very instant that is known by now: what is due first, then what is done.
    fn happen(&mut self) {
        while let Some(Reverse((at, _, due))) = self.due.peek().copied()
            && at <= self.now
        {
            self.due.pop();
            self.books.events += 1;
            self.came_due(due);
        }
        while let Some(work) = self.cores.done() {
            self.books.events += 1;
            self.finished(work);
        }
    }

    fn asked(&mut self, asker: Asker, connection: u32, what: Asked) -> Question {
        let pending = Pending {
            asker,
            connection,
            what,
        };
        match self.free_questions.pop() {
            Some(index) => {
                self.questions[index as usize] = pending;
                Question(index)
            }
            None => {
                self.questions.push(pending);
                self.question_lives.push(0);
                Question(self.questions.len() as u32 - 1)
            }
        }
    }

    fn forget(&mut self, question: Question) {
        self.questions[question.index()].what = Asked::Nothing;
        self.question_lives[question.index()] += 1;
    }

    fn client_work(&mut self, work: f64, job: Work) {
        if work > 0.0 {
            self.cores.add_client(work, job);
        } else {
            self.finished(job);
        }
    }

    /// The process of a connection computes for so long, give or take what differs between connections.
    fn server_work(&mut self, index: u32, work_ns: u64) {
        let at = self.here(index);
        let connection = &self.connections[index as usize];
        let asker = connection.asker;
        let work = work_ns as f64 * connection.factor;
        self.cores.add_server(work, Work::Of(asker, at));
    }

    fn came_due(&mut self, due: Due) {
        match due {
            Due::Syn(at) => self.of(at, Self::syn),
            Due::Stage(at) => self.of(at, Self::waited),
            Due::Keys(at) => self.of(at, Self::client_keys),
            Due::Told(at, answer) => self.of(at, |server, index| server.told(index, answer)),
            Due::CommandArrives(question, life) => self.command_arrives(question, life),
            Due::Deadline(at) => self.of(at, Self::deadline),
            Due::CommandDeadline(question, life) => {
                if self.question_lives[question as usize] == life {
                    self.answer(Question(question), Answer::TimedOut, Stamps::default());
                }
            }
            Due::Grace(at) => self.of(at, Self::grace),
        }
    }

    fn finished(&mut self, work: Work) {
        match work {
            Work::Turn => self.turn_over(),
            Work::Of(_, at) => self.of(at, Self::computed),
            Work::Session(_, at) => self.of(at, Self::session_made),
            Work::Command(_, question, connection) => self.command_done(question, connection),
            Work::Alone(_) => {}
        }
    }

    /// Acts on a connection, if it is still the one that was meant.
    fn of(&mut self, at: At, act: impl FnOnce(&mut Self, u32)) {
        if self.connections[at.index as usize].life == at.life {
            act(self, at.index);
        }
    }

    fn here(&self, index: u32) -> At {
        At {
            index,
            life: self.connections[index as usize].life,
        }
    }

    fn session_made(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        connection.ready = true;
        for question in std::mem::take(&mut connection.early) {
            self.execute(question);
        }
        self.end_if_gone(index);
    }

    /// A SYN reaches the listening socket.
    fn syn(&mut self, index: u32) {
        let half = self.half_trip();
        let connection = &mut self.connections[index as usize];
        if connection.gone {
            self.free(index);
            return;
        }
        if self.queue.len() as u64 > self.settings.backlog {
            self.books.syns_dropped += 1;
            let before = match connection.stage {
                Stage::Knocking(times) => times,
                _ => 0,
            };
            connection.stage = Stage::Knocking(before + 1);
            let asker = connection.asker;
            let again = SYN_AGAIN << before.min(20);
            self.at(self.now + again, asker, Due::Syn(self.here(index)));
            return;
        }
        connection.stage = Stage::Queued;
        connection.stamps.connected = Some(RunInstant(self.now + half));
        self.queue.push_back(index);
        self.books.queue_peak = self.books.queue_peak.max(self.queue.len() as u32);
        self.next_turn();
    }

    /// The listener takes the next connection and decides over it.
    fn next_turn(&mut self) {
        if self.turn.is_some() {
            return;
        }
        let Some(index) = self.queue.pop_front() else {
            return;
        };
        let slots = self.slots;
        let peer = self.connections[index as usize].dial.peer;
        let source = peer.source;
        let draw = match self.admission.drawn_against(slots) {
            Some(_) => self.draws.random_range(0..100),
            None => 0,
        };
        let mut decision = self.admission.decide(slots, draw);
        if let Some(most) = self.settings.per_source_max_startups {
            let of_source = self.by_source.get(&source).copied().unwrap_or(0);
            if decision == Decision::Accept && of_source >= most {
                decision = Decision::Refuse;
            }
        }
        let mut work = self.costs.accept_cpu_ns;
        match decision {
            Decision::Refuse => {
                self.books.refused += 1;
                self.note(Note::Dropped(peer, slots));
            }
            Decision::Accept => {
                self.books.admitted += 1;
                work += self.costs.fork_cpu_ns;
                let factor = self.costs.factor(&mut self.draws);
                let connection = &mut self.connections[index as usize];
                connection.slot = Some(self.now);
                connection.factor = factor;
                self.take_slot(source, 1);
            }
        }
        self.turn = Some((index, decision));
        self.cores.add_listener(work as f64, Work::Turn);
    }

    fn turn_over(&mut self) {
        let Some((index, decision)) = self.turn.take() else {
            return;
        };
        match decision {
            Decision::Refuse => self.answer_later(index, Answer::Refused),
            Decision::Accept => {
                let connection = &mut self.connections[index as usize];
                connection.stage = Stage::Starting;
                let (asker, peer) = (connection.asker, connection.dial.peer);
                self.note(Note::Connection(peer));
                if let Some(grace) = self.settings.login_grace {
                    // sshd-session.c:main adds up to 4 s from 9.9 on.
                    let jitter = match nanoseconds(self.settings.grace_jitter) {
                        0 => 0,
                        most => self.draws.random_range(0..most),
                    };
                    let at = self.now + nanoseconds(grace) + jitter;
                    self.at(at, asker, Due::Grace(self.here(index)));
                }
                self.server_work(index, self.costs.start_cpu_ns);
            }
        }
        self.next_turn();
    }

    /// What a connection's process, or its client, was computing is done.
    fn computed(&mut self, index: u32) {
        let half = self.half_trip();
        let connection = &self.connections[index as usize];
        let (asker, stage, gone) = (connection.asker, connection.stage, connection.gone);
        match stage {
            Stage::Dialling if gone => self.free(index),
            Stage::Dialling => self.at(self.now + half, asker, Due::Syn(self.here(index))),
            Stage::Starting | Stage::ClientKeys => self.wait(index, half),
            Stage::ServerKeys | Stage::Authenticating(_) if gone => self.wind_up(index),
            Stage::ServerKeys => self.keyed(index),
            Stage::Authenticating(request) => self.take_time(index, request),
            Stage::Releasing => {
                self.give_slot_back(index);
                let connection = &mut self.connections[index as usize];
                if connection.dial.unknown_key {
                    self.free(index);
                } else {
                    connection.stage = Stage::Open;
                    self.end_if_gone(index);
                }
            }
            Stage::Leaving => {
                self.give_slot_back(index);
                self.free(index);
            }
            Stage::Knocking(_)
            | Stage::Queued
            | Stage::Preparing
            | Stage::Looking(_)
            | Stage::Waiting(_)
            | Stage::Held
            | Stage::Open
            | Stage::Ended => {}
        }
    }

    fn wait(&mut self, index: u32, wait: u64) {
        if wait == 0 {
            self.waited(index);
        } else {
            let asker = self.connections[index as usize].asker;
            self.at(self.now + wait, asker, Due::Stage(self.here(index)));
        }
    }

    fn waited(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if connection.gone {
            self.wind_up(index);
            return;
        }
        match connection.stage {
            Stage::Starting => {
                connection.stamps.identified = Some(RunInstant(self.now));
                if connection.dial.silent {
                    connection.stage = Stage::Held;
                    self.answer_now(index, Answer::In(ConnectionId(index)));
                } else {
                    self.identified(index);
                }
            }
            Stage::ClientKeys => {
                connection.stage = Stage::ServerKeys;
                self.server_work(index, self.costs.kex_cpu_ns);
            }
            Stage::Preparing => self.request(index, 0),
            Stage::Looking(request) => {
                connection.stage = Stage::Authenticating(request);
                // Which methods there are is known without looking.
                let work = match self.is_about_keys(index, request) {
                    true => self.costs.auth_cpu_ns / KEY_REQUESTS,
                    false => 0,
                };
                self.server_work(index, work);
            }
            Stage::Waiting(request) => match request + 1 < self.requests(index) {
                true => self.request(index, request + 1),
                false => self.authenticated(index),
            },
            _ => {}
        }
    }

    /// The client has the identification string and speaks.
    fn identified(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        connection.stage = Stage::ClientKeys;
        let asker = connection.asker;
        match self.own_parts(index, 1) {
            0 => self.client_keys(index),
            wait => self.at(self.now + wait, asker, Due::Keys(self.here(index))),
        }
    }

    fn client_keys(&mut self, index: u32) {
        let asker = self.connections[index as usize].asker;
        let work = self.costs.client_kex_cpu_ns as f64;
        let job = Work::Of(asker, self.here(index));
        self.client_work(work, job);
    }

    /// How long the client's own work takes from now on, its wait for a thread included.
    fn own_parts(&mut self, index: u32, parts: u32) -> u64 {
        let Some(work) = self.connections[index as usize].dial.own_work else {
            return 0;
        };
        while self.threads.len() < work.threads.max(1) as usize {
            self.threads.push(Reverse(0));
        }
        let mut until = self.now;
        for _ in 0..parts {
            let free = self.threads.pop().map_or(0, |Reverse(free)| free);
            until = until.max(free) + work.part_ns;
            self.threads.push(Reverse(until));
        }
        until - self.now
    }

    /// The server has done its part of the key exchange; the client asks to log in.
    fn keyed(&mut self, index: u32) {
        let half = self.half_trip();
        let connection = &mut self.connections[index as usize];
        connection.stage = Stage::Preparing;
        connection.stamps.keyed = Some(RunInstant(self.now + half));
        let parts = 1 + u32::from(connection.dial.asks_methods);
        let own = self.own_parts(index, parts);
        // The answer comes back, the service request goes out, back and out again with the first request.
        self.wait(index, 4 * half + own);
    }

    /// Requests that this client's login consists of.
    fn requests(&self, index: u32) -> u8 {
        KEY_REQUESTS as u8 + u8::from(self.connections[index as usize].dial.asks_methods)
    }

    fn is_about_keys(&self, index: u32, request: u8) -> bool {
        request > 0 || !self.connections[index as usize].dial.asks_methods
    }

    /// A request to log in reaches the server.
    fn request(&mut self, index: u32, request: u8) {
        let connection = &mut self.connections[index as usize];
        connection.stage = Stage::Looking(request);
        connection.asked = self.now;
        let looks = match (self.is_about_keys(index, request), self.settings.slow_auth) {
            (true, Some(slow)) => {
                let mean = nanoseconds(slow.mean) / KEY_REQUESTS;
                match slow.shape {
                    SlowAuthShape::Fixed => mean,
                    SlowAuthShape::Exponential => {
                        let unit: f64 = self.draws.random();
                        (-(1.0 - unit).ln() * mean as f64) as u64
                    }
                }
            }
            _ => 0,
        };
        self.wait(index, looks);
    }

    /// A request is answered after the least time for it, or twice that, or four times: whatever it took is hidden so.
    fn take_time(&mut self, index: u32, request: u8) {
        let half = self.half_trip();
        let least = self.costs.auth_request_ns;
        let connection = &mut self.connections[index as usize];
        connection.stage = Stage::Waiting(request);
        let took = self.now - connection.asked;
        let mut answered = least;
        while answered > 0 && answered < took {
            answered *= 2;
        }
        let patience = match took > MOST_PATIENCE {
            true => 0,
            false => answered.saturating_sub(took),
        };
        let last = request + 1 == self.requests(index);
        self.wait(index, patience + if last { 0 } else { 2 * half });
    }

    /// The signature was checked: the client hears of it, and a moment later the slot is free.
    fn authenticated(&mut self, index: u32) {
        let half = self.half_trip();
        let connection = &mut self.connections[index as usize];
        let (asker, peer) = (connection.asker, connection.dial.peer);
        connection.stage = Stage::Releasing;
        if connection.dial.unknown_key {
            self.books.rejected += 1;
            self.note(Note::Failed(peer));
            self.answer_later(index, Answer::Rejected);
            self.server_work(index, self.costs.end_cpu_ns);
            return;
        }
        connection.stamps.authenticated = Some(RunInstant(self.now + half));
        self.books.logins += 1;
        self.note(Note::Accepted(peer));
        match half + self.own_parts(index, 1) {
            0 => self.answer_now(index, Answer::In(ConnectionId(index))),
            later => self.at(self.now + later, asker, Due::Told(self.here(index), 3)),
        }
        let work = self.costs.session_cpu_ns as f64 * self.connections[index as usize].factor;
        let session = Work::Session(asker, self.here(index));
        self.cores.add_server(work, session);
        self.server_work(index, self.costs.release_cpu_ns);
    }

    /// The answer sets out to the client.
    fn answer_later(&mut self, index: u32, answer: Answer) {
        let half = self.half_trip();
        if half == 0 {
            self.answer_now(index, answer);
            return;
        }
        let code = match answer {
            Answer::Refused => 0,
            Answer::Rejected => 1,
            Answer::Lost => 2,
            _ => 3,
        };
        let asker = self.connections[index as usize].asker;
        self.at(self.now + half, asker, Due::Told(self.here(index), code));
    }

    fn told(&mut self, index: u32, code: u8) {
        let answer = match code {
            0 => Answer::Refused,
            1 => Answer::Rejected,
            2 => Answer::Lost,
            _ => Answer::In(ConnectionId(index)),
        };
        self.answer_now(index, answer);
    }

    fn answer_now(&mut self, index: u32, answer: Answer) {
        let connection = &mut self.connections[index as usize];
        let (stamps, silent) = (connection.stamps, connection.dial.silent);
        let question = connection.question.take();
        if let Some(question) = question {
            self.answer(question, answer, stamps);
        }
        match answer {
            // No process was ever made for it.
            Answer::Refused => self.free(index),
            // Whoever did not wait for it will not end it either.
            Answer::Lost if question.is_some() && !silent => self.free(index),
            _ => self.end_if_gone(index),
        }
    }

    fn answer(&mut self, question: Question, answer: Answer, stamps: Stamps) {
        self.forget(question);
        self.answers.push((question, answer, stamps));
    }

    fn command_arrives(&mut self, question: u32, life: u32) {
        if self.question_lives[question as usize] != life {
            return;
        }
        let index = self.questions[question as usize].connection;
        let most = self.settings.max_sessions;
        let connection = &mut self.connections[index as usize];
        if connection.sessions >= most {
            self.answer(
                Question(question),
                Answer::ChannelRefused,
                Stamps::default(),
            );
            return;
        }
        connection.sessions += 1;
        if connection.ready {
            self.execute(question);
        } else {
            connection.early.push(question);
        }
    }

    fn execute(&mut self, question: u32) {
        let Pending {
            asker,
            connection,
            what,
        } = self.questions[question as usize];
        if let Asked::Command { work_ns } = what {
            let question = [question, self.question_lives[question as usize]];
            let connection = self.here(connection);
            self.cores
                .add_server(work_ns, Work::Command(asker, question, connection));
        }
    }

    fn command_done(&mut self, [question, life]: [u32; 2], at: At) {
        let connection = &mut self.connections[at.index as usize];
        if connection.life == at.life {
            connection.sessions = connection.sessions.saturating_sub(1);
        }
        if self.question_lives[question as usize] == life {
            self.books.commands += 1;
            self.answer(Question(question), Answer::Ran, Stamps::default());
        }
    }

    /// Sets the clock for the deadline that comes first from where the connection stands.
    fn expect(&mut self, index: u32) {
        let connection = &self.connections[index as usize];
        let asker = connection.asker;
        if let Some(at) = connection.deadline() {
            self.at(at, asker, Due::Deadline(self.here(index)));
        }
    }

    fn deadline(&mut self, index: u32) {
        let connection = &self.connections[index as usize];
        if connection.question.is_none() {
            return;
        }
        match connection.deadline() {
            Some(at) if at > self.now => {
                let asker = connection.asker;
                self.at(at, asker, Due::Deadline(self.here(index)));
            }
            Some(_) => {
                self.books.given_up += 1;
                self.answer_now(index, Answer::TimedOut);
                self.leave(index);
            }
            None => {}
        }
    }

    fn grace(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if connection.slot.is_none() {
            return;
        }
        let (peer, gone) = (connection.dial.peer, connection.gone);
        connection.stage = Stage::Ended;
        self.books.grace_timeouts += 1;
        self.note(Note::GraceTimeout(peer));
        self.give_slot_back(index);
        if gone {
            self.free(index);
        } else {
            self.answer_later(index, Answer::Lost);
        }
    }

    /// The client is gone, or goes.
    fn leave(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if std::mem::replace(&mut connection.gone, true) {
            return;
        }
        match connection.stage {
            // A process that waits notices at once, one that computes when it is done.
            Stage::Held | Stage::Preparing | Stage::Looking(_) | Stage::Waiting(_) => {
                self.wind_up(index);
            }
            Stage::Open => self.end_if_gone(index),
            Stage::Ended => self.free(index),
            // Nothing was made for it yet: a SYN under way finds nobody, and what is accepted is let go again.
            _ => {}
        }
    }

    fn end_if_gone(&mut self, index: u32) {
        let connection = &self.connections[index as usize];
        if connection.gone && connection.stage == Stage::Open && connection.ready {
            self.connections[index as usize].stage = Stage::Leaving;
            self.server_work(index, self.costs.end_cpu_ns);
        }
    }

    /// A process that has lost its client before the login was done.
    fn wind_up(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        let (asker, peer) = (connection.asker, connection.dial.peer);
        if matches!(connection.stage, Stage::Leaving | Stage::Ended) {
            return;
        }
        connection.stage = Stage::Leaving;
        self.note(Note::Closed(peer));
        let leaving = Work::Of(asker, self.here(index));
        self.cores.add_server(LEAVING_WORK, leaving);
    }

    fn take_slot(&mut self, source: u32, change: i64) {
        self.slots = (i64::from(self.slots) + change).max(0) as u32;
        if self.settings.per_source_max_startups.is_some() {
            let own = self.by_source.entry(source).or_default();
            *own = (i64::from(*own) + change).max(0) as u32;
        }
        self.books.slots_peak = self.books.slots_peak.max(self.slots);
        self.note(Note::Slots(self.slots));
    }

    fn give_slot_back(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if let Some(since) = connection.slot.take() {
            let source = connection.dial.peer.source;
            self.books.released += 1;
            self.books.in_slot_ns += u128::from(self.now - since);
            self.take_slot(source, -1);
        }
    }

    fn free(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        connection.life += 1;
        connection.gone = true;
        self.free_connections.push(index);
    }
}

impl Connection {
    /// When the client gives up, from where it stands.
    fn deadline(&self) -> Option<u64> {
        let (from, within) = match (self.stamps.connected, self.stamps.identified) {
            (_, Some(identified)) if !self.dial.silent => (identified.0, self.dial.within.login),
            (_, Some(_)) => return None,
            (Some(connected), None) => (connected.0, self.dial.within.banner),
            (None, None) => (self.called, self.dial.within.connect),
        };
        let stage = within.map(|within| from.saturating_add(nanoseconds(within)));
        let whole = self
            .dial
            .within
            .whole
            .map(|within| self.called.saturating_add(nanoseconds(within)));
        match (stage, whole) {
            (Some(stage), Some(whole)) => Some(stage.min(whole)),
            (stage, whole) => stage.or(whole),
        }
    }
}

#[cfg(test)]
mod tests;
