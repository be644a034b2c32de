//! From the identification string to the login, on both sides of the connection, and what becomes of it.

use std::cmp::Reverse;

use rand::RngExt;

use super::connection::{Due, KEY_REQUESTS, Stage, Word, Work};
use super::questions::{Answer, ConnectionId, Note, When};
use super::{SimulatedServer, Worker};
use crate::quantity::nanoseconds;
use crate::scenario::SlowAuthShape;

/// Beyond that a request is answered at once (auth2.c:ensure_minimum_time_since, 9.5).
const MOST_PATIENCE: u64 = 5_000_000_000;

impl SimulatedServer {
    /// What a connection's process, or its client, was computing is done.
    pub(super) fn computed(&mut self, index: u32) {
        let half = self.half_trip();
        let connection = &self.connections[index as usize];
        match (connection.stage, connection.gone) {
            (Stage::Dialling, true) => self.free(index),
            (Stage::Dialling, false) => {
                self.at(self.now + half, index, Due::Syn(self.here(index)));
            }
            (Stage::Starting | Stage::ClientKeys, _) => self.wait(index, half),
            (Stage::ServerKeys | Stage::Authenticating(_), true) => self.wind_up(index),
            (Stage::ServerKeys, false) => self.keyed(index),
            (Stage::Authenticating(request), false) => self.take_time(index, request),
            (Stage::Releasing, _) => {
                self.give_slot_back(index);
                if self.manner(index).unknown_key {
                    self.free(index);
                } else {
                    self.connections[index as usize].stage = Stage::Open;
                    self.end_if_gone(index);
                }
            }
            (Stage::Leaving, _) => {
                self.give_slot_back(index);
                self.free(index);
            }
            (
                Stage::Knocking(_)
                | Stage::Queued
                | Stage::Preparing
                | Stage::Looking(_)
                | Stage::Waiting(_)
                | Stage::Held
                | Stage::Open
                | Stage::Ended,
                _,
            ) => {}
        }
    }

    fn wait(&mut self, index: u32, wait: u64) {
        if wait == 0 {
            self.waited(index);
        } else {
            self.at(self.now + wait, index, Due::Stage(self.here(index)));
        }
    }

    pub(super) fn waited(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if connection.gone {
            self.wind_up(index);
            return;
        }
        match connection.stage {
            Stage::Starting => {
                connection.identified = When::at(self.now);
                if self.manner(index).silent {
                    self.connections[index as usize].stage = Stage::Held;
                    self.answer_now(index, Answer::In(ConnectionId(index)));
                } else {
                    self.identified(index);
                }
            }
            Stage::ClientKeys => {
                connection.stage = Stage::ServerKeys;
                self.server_work(index, Worker::Server, self.costs.kex_cpu_ns);
            }
            Stage::Preparing => self.request(index, 0),
            Stage::Looking(request) => {
                connection.stage = Stage::Authenticating(request);
                // Which methods there are is known without looking.
                let work = match self.manner(index).is_about_keys(request) {
                    true => self.costs.auth_cpu_ns / u64::from(KEY_REQUESTS),
                    false => 0,
                };
                self.server_work(index, Worker::Server, work);
            }
            Stage::Waiting(request) => match request + 1 < self.manner(index).requests() {
                true => self.request(index, request + 1),
                false => self.authenticated(index),
            },
            _ => {}
        }
    }

    /// The client has the identification string and speaks.
    pub(super) fn identified(&mut self, index: u32) {
        self.connections[index as usize].stage = Stage::ClientKeys;
        match self.own_parts(index, 1) {
            0 => self.client_keys(index),
            wait => self.at(self.now + wait, index, Due::Keys(self.here(index))),
        }
    }

    pub(super) fn client_keys(&mut self, index: u32) {
        self.client_work(index, self.costs.client_kex_cpu_ns);
    }

    /// How long the client's own work takes from now on, its wait for a thread included.
    fn own_parts(&mut self, index: u32, parts: u32) -> u64 {
        let Some(work) = self.manner(index).own_work else {
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
        connection.keyed = When::at(self.now + half);
        let parts = 1 + u32::from(self.manner(index).asks_methods);
        let own = self.own_parts(index, parts);
        // The answer comes back, the service request goes out, back and out again with the first request.
        self.wait(index, 4 * half + own);
    }

    /// A request to log in reaches the server.
    fn request(&mut self, index: u32, request: u8) {
        let connection = &mut self.connections[index as usize];
        connection.stage = Stage::Looking(request);
        connection.asked = self.now;
        let about_keys = self.manner(index).is_about_keys(request);
        let looks = match (about_keys, self.settings.slow_auth) {
            (true, Some(slow)) => {
                let mean = nanoseconds(slow.mean) / u64::from(KEY_REQUESTS);
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
        let last = request + 1 == self.manner(index).requests();
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
        self.wait(index, patience + if last { 0 } else { 2 * half });
    }

    /// The signature was checked: the client hears of it, and a moment later the slot is free.
    fn authenticated(&mut self, index: u32) {
        let half = self.half_trip();
        let unknown_key = self.manner(index).unknown_key;
        let connection = &mut self.connections[index as usize];
        let (asker, peer) = (connection.asker, connection.peer);
        connection.stage = Stage::Releasing;
        if unknown_key {
            self.books.rejected += 1;
            self.note(Note::Failed(peer));
            self.tell(index, Word::Rejected);
            self.server_work(index, Worker::Server, self.costs.end_cpu_ns);
            return;
        }
        connection.authenticated = When::at(self.now + half);
        let factor = f64::from(connection.factor);
        self.books.logins += 1;
        self.note(Note::Accepted(peer));
        let later = half + self.own_parts(index, 1);
        self.tell_later(index, later, Word::In);
        let session = Work::Session(asker, self.here(index));
        let work = self.costs.session_cpu_ns as f64 * factor;
        self.cores.add(Worker::Server, work, session);
        self.server_work(index, Worker::Server, self.costs.release_cpu_ns);
    }

    /// The word sets out to the client.
    pub(super) fn tell(&mut self, index: u32, word: Word) {
        self.tell_later(index, self.half_trip(), word);
    }

    fn tell_later(&mut self, index: u32, later: u64, word: Word) {
        match later {
            0 => self.told(index, word),
            later => self.at(self.now + later, index, Due::Told(self.here(index), word)),
        }
    }

    pub(super) fn told(&mut self, index: u32, word: Word) {
        let answer = match word {
            Word::Refused { reset } => Answer::Refused { reset },
            Word::Rejected => Answer::Rejected,
            Word::Lost => Answer::Lost,
            Word::In => Answer::In(ConnectionId(index)),
        };
        self.answer_now(index, answer);
    }

    pub(super) fn answer_now(&mut self, index: u32, answer: Answer) {
        let silent = self.manner(index).silent;
        let connection = &mut self.connections[index as usize];
        let stamps = connection.stamps();
        let question = connection.question.take();
        if let Some(question) = question {
            self.answer(question, answer, stamps);
        }
        match answer {
            // No process was ever made for it.
            Answer::Refused { .. } => self.free(index),
            // Whoever did not wait for it will not end it either.
            Answer::Lost if question.is_some() && !silent => self.free(index),
            _ => self.end_if_gone(index),
        }
    }
}
