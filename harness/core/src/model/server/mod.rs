//! A simulated sshd: listener, admission, the work before and after authentication, and the machine under it, as a discrete
//! event simulation.
//!
//! `questions` is what can be asked and answered, `costs` what things take and `settings` which limits there are, `cores` who gets how
//! much of a processor, `books` what is counted. How one thing follows from another is in `listener`, `login`, `session` and `ending`;
//! this hands them what comes due. Time is a number that the caller moves: nothing here waits, draws
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
mod connection;
mod cores;
mod costs;
mod ending;
mod listener;
mod login;
mod questions;
mod session;
mod settings;
mod timeouts;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rustc_hash::FxHashMap;

pub use books::ServerBooks;
pub use cores::{Cores, Worker};
pub use costs::{ClientPlace, Costs, Shares};
pub use questions::{
    Answer, Asker, ConnectionId, Deadlines, Dial, Note, OwnWork, Peer, Question, Stamps, When,
};
pub use settings::{NotSimulated, ServerSettings};

use super::admission::{Admission, Decision};
use super::agenda::Agenda;
use crate::instant::RunInstant;
use crate::quantity::nanoseconds;
use connection::{Asked, At, Connection, Due, Manner, Pending, Stage, Word, Work};
use timeouts::{Timeout, Timeouts};

/// The simulated server.
#[derive(Debug)]
pub struct SimulatedServer {
    settings: ServerSettings,
    costs: Costs,
    admission: Admission,
    draws: ChaCha8Rng,
    cores: Cores<Work>,
    now: u64,
    due: Agenda<(Asker, Due)>,
    /// What is due only if nothing comes before it, and hardly ever is.
    timeouts: Timeouts,
    connections: Vec<Connection>,
    manners: Vec<Manner>,
    free_connections: Vec<u32>,
    questions: Vec<Pending>,
    free_questions: Vec<u32>,
    /// Commands that wait for their connection's session to be made, each with its life.
    early: FxHashMap<u32, Vec<[u32; 2]>>,
    queue: VecDeque<u32>,
    /// The connection whose turn it is, and what becomes of it.
    turn: Option<(u32, Decision)>,
    slots: u32,
    /// When each thread of the clients is free.
    threads: BinaryHeap<Reverse<u64>>,
    by_source: FxHashMap<u32, u32>,
    answers: Vec<(Question, Answer, Stamps)>,
    notes: Option<Vec<Note>>,
    books: ServerBooks,
}

impl SimulatedServer {
    /// An idle server. Draws follow from `seed`.
    #[must_use]
    pub fn new(settings: ServerSettings, costs: Costs, seed: u64) -> Self {
        let mut draws = ChaCha8Rng::seed_from_u64(seed);
        let (costs, shares) = costs.of_round(&mut draws);
        SimulatedServer {
            admission: Admission::new(settings.max_startups),
            draws,
            cores: Cores::new(costs.cores, shares),
            settings,
            costs,
            now: 0,
            due: Agenda::default(),
            timeouts: Timeouts::default(),
            connections: Vec::new(),
            manners: Vec::new(),
            free_connections: Vec::new(),
            questions: Vec::new(),
            free_questions: Vec::new(),
            early: FxHashMap::default(),
            queue: VecDeque::new(),
            turn: None,
            slots: 0,
            threads: BinaryHeap::new(),
            by_source: FxHashMap::default(),
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

    /// What things take in this round.
    #[must_use]
    pub fn costs(&self) -> &Costs {
        &self.costs
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
        let manner = self.known(Manner::of(&dial));
        let connection = Connection::called(asker, dial.peer, manner, self.now);
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
        self.client_work(index, self.costs.connect_cpu_ns);
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
        let manner = self.known(Manner {
            silent: false,
            within: Deadlines {
                login: Some(within),
                ..Deadlines::default()
            },
            ..self.manner(index).clone()
        });
        let held = &mut self.connections[index as usize];
        (held.asker, held.manner) = (asker, manner);
        held.question = Some(question);
        // Deadlines count from now on.
        held.identified = When::at(self.now);
        if held.stage == Stage::Ended {
            self.tell(index, Word::Lost);
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
            self.tell(connection.0, Word::Lost);
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
        let work_ns = nanoseconds(work);
        let question = self.asked(asker, connection.0, Asked::Command { work_ns });
        let life = self.questions[question.index()].life;
        let deadline = Due::CommandDeadline(question.place(), life);
        self.timeouts
            .put(self.now, nanoseconds(within), asker, deadline);
        // Opening a channel is one round trip, the request and its answer another.
        let away = 4 * self.half_trip();
        let arrives = (asker, Due::CommandArrives(question.place(), life));
        self.due.put(self.now + away, arrives);
        question
    }

    /// Work that nobody waits for: the processes of a job.
    pub fn burden(&mut self, now: RunInstant, asker: Asker, work: Duration) {
        self.settle(now);
        let work = nanoseconds(work) as f64;
        self.cores.add(Worker::Server, work, Work::Alone(asker));
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
        self.free_questions.push(question.place());
    }

    /// When something happens next; now, where an answer waits to be taken.
    #[must_use]
    pub fn next_at(&mut self) -> Option<RunInstant> {
        match self.answers.is_empty() {
            true => self.next_event(),
            false => Some(RunInstant(self.now)),
        }
    }

    fn next_event(&mut self) -> Option<RunInstant> {
        let due = self.due.next().map(|at| at.max(self.now));
        let done = self.cores.next(self.now);
        let next = due.into_iter().chain(done).min();
        while let Some(Timeout { at, due, .. }) = self.timeouts.first(next.unwrap_or(u64::MAX)) {
            if self.stands(due) {
                return Some(RunInstant(at.max(self.now)));
            }
            self.timeouts.drop_first();
        }
        next.map(RunInstant)
    }

    /// Whether what was due only if nothing came before it still is.
    fn stands(&self, due: Due) -> bool {
        let is = |at: At, waits: fn(&Connection) -> bool| {
            let connection = &self.connections[at.index as usize];
            connection.life == at.life && waits(connection)
        };
        match due {
            Due::Deadline(at) => is(at, |connection| connection.question.is_some()),
            Due::Grace(at) => is(at, |connection| connection.slot.get().is_some()),
            Due::CommandDeadline(question, life) => self.questions[question as usize].life == life,
            _ => true,
        }
    }

    /// Lets everything happen that happens until `now`, and adds the answers that reach their clients to `answers`.
    pub fn advance(&mut self, now: RunInstant, answers: &mut Vec<(Question, Answer, Stamps)>) {
        self.settle(now);
        match answers.is_empty() {
            // There may be a million.
            true => std::mem::swap(&mut self.answers, answers),
            false => answers.append(&mut self.answers),
        }
    }

    /// Lets happen what happens until `by`, up to the instant at which there is an answer or a note to take; `None` where there is none.
    pub fn run_until(&mut self, by: RunInstant) -> Option<RunInstant> {
        loop {
            if !self.answers.is_empty()
                || self.notes.as_ref().is_some_and(|notes| !notes.is_empty())
            {
                return Some(RunInstant(self.now));
            }
            let RunInstant(at) = self.next_event().filter(|at| *at <= by)?;
            self.move_to(at);
            self.happen();
        }
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

    /// Something is due for a connection.
    fn at(&mut self, at: u64, index: u32, due: Due) {
        let asker = self.connections[index as usize].asker;
        self.due.put(at, (asker, due));
    }

    /// Something is due for a connection if nothing comes before it, as long after anything like it as after any other.
    fn at_last(&mut self, length: u64, index: u32, due: Due) {
        let asker = self.connections[index as usize].asker;
        self.timeouts.put(self.now, length, asker, due);
    }

    fn manner(&self, index: u32) -> &Manner {
        &self.manners[usize::from(self.connections[index as usize].manner)]
    }

    /// The place of a manner: there are a handful of them.
    fn known(&mut self, manner: Manner) -> u16 {
        let known = self.manners.iter().position(|known| *known == manner);
        let place = known.unwrap_or_else(|| {
            self.manners.push(manner);
            self.manners.len() - 1
        });
        u16::try_from(place).unwrap_or(u16::MAX)
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
        while let Some(Timeout { asker, due, .. }) = self.timeouts.first(self.now) {
            self.timeouts.drop_first();
            if self.stands(due) {
                self.due.put(self.now, (asker, due));
            }
        }
        while let Some((_, due)) = self.due.take(self.now) {
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
            life: 0,
            what,
        };
        match self.free_questions.pop() {
            Some(index) => {
                let life = self.questions[index as usize].life;
                self.questions[index as usize] = Pending { life, ..pending };
                Question::at(index)
            }
            None => {
                self.questions.push(pending);
                Question::at(self.questions.len() as u32 - 1)
            }
        }
    }

    fn forget(&mut self, question: Question) {
        let pending = &mut self.questions[question.index()];
        pending.what = Asked::Nothing;
        pending.life += 1;
    }

    /// The client of a connection computes for so long.
    fn client_work(&mut self, index: u32, work_ns: u64) {
        let at = self.here(index);
        match self.costs.clients {
            _ if work_ns == 0 => self.computed(index),
            ClientPlace::Here => {
                let asker = self.connections[index as usize].asker;
                let work = Work::Of(asker, at);
                self.cores.add(Worker::Client, work_ns as f64, work);
            }
            // On a core of its own.
            ClientPlace::Elsewhere => self.at(self.now + work_ns, index, Due::Computed(at)),
        }
    }

    /// The process of a connection computes for so long, give or take what differs between connections.
    fn server_work(&mut self, index: u32, who: Worker, work_ns: u64) {
        let at = self.here(index);
        let connection = &self.connections[index as usize];
        let asker = connection.asker;
        let work = work_ns as f64 * f64::from(connection.factor);
        self.cores.add(who, work, Work::Of(asker, at));
    }

    fn came_due(&mut self, due: Due) {
        match due {
            Due::Syn(at) => self.of(at, Self::syn),
            Due::Stage(at) => self.of(at, Self::waited),
            Due::Keys(at) => self.of(at, Self::client_keys),
            Due::Ready(at) => self.of(at, Self::ready),
            Due::Computed(at) => self.of(at, Self::computed),
            Due::Told(at, word) => self.of(at, |server, index| server.told(index, word)),
            Due::CommandArrives(question, life) => self.command_arrives(question, life),
            Due::Ran(question) => self.answer_if_asked(question, Answer::Ran),
            Due::Deadline(at) => self.of(at, Self::deadline),
            Due::CommandDeadline(question, life) => {
                self.answer_if_asked([question, life], Answer::TimedOut);
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
            Work::Output(_, question) => self.answer_if_asked(question, Answer::Ran),
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

    /// Answers a command, unless it was answered or given up meanwhile.
    fn answer_if_asked(&mut self, [question, life]: [u32; 2], answer: Answer) {
        if self.questions[question as usize].life == life {
            self.answer(Question::at(question), answer, Stamps::default());
        }
    }

    fn answer(&mut self, question: Question, answer: Answer, stamps: Stamps) {
        self.forget(question);
        self.answers.push((question, answer, stamps));
    }
}

#[cfg(test)]
mod tests;
