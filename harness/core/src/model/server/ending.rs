//! How connections end other than well: deadlines of the client's, the server's grace time, and clients that leave.

use super::connection::{Due, Stage, Word, Work};
use super::questions::{Answer, Note};
use super::{SimulatedServer, Worker};

/// A process whose client is gone finds out when it next reads or writes.
const LEAVING_WORK: f64 = 200_000.0;

impl SimulatedServer {
    /// Sets the clock for the deadline that comes first from where the connection stands.
    pub(super) fn expect(&mut self, index: u32) {
        let connection = &self.connections[index as usize];
        if let Some(at) = self.manner(index).deadline(connection) {
            let length = at.saturating_sub(self.now);
            self.at_last(length, index, Due::Deadline(self.here(index)));
        }
    }

    pub(super) fn deadline(&mut self, index: u32) {
        let connection = &self.connections[index as usize];
        if connection.question.is_none() {
            return;
        }
        match self.manner(index).deadline(connection) {
            Some(at) if at > self.now => self.at(at, index, Due::Deadline(self.here(index))),
            Some(_) => {
                self.books.given_up += 1;
                self.answer_now(index, Answer::TimedOut);
                self.leave(index);
            }
            None => {}
        }
    }

    pub(super) fn grace(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if connection.slot.get().is_none() {
            return;
        }
        let (peer, gone) = (connection.peer, connection.gone);
        connection.stage = Stage::Ended;
        self.books.grace_timeouts += 1;
        self.note(Note::GraceTimeout(peer));
        self.give_slot_back(index);
        if gone {
            self.free(index);
        } else {
            self.tell(index, Word::Lost);
        }
    }

    /// The client is gone, or goes.
    pub(super) fn leave(&mut self, index: u32) {
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
            // A SYN that was dropped comes again from nobody.
            Stage::Ended | Stage::Knocking(_) => self.free(index),
            // Nothing was made for it yet: a SYN under way finds nobody, and what is accepted is let go again.
            _ => {}
        }
    }

    pub(super) fn end_if_gone(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if connection.gone && connection.stage == Stage::Open && connection.ready {
            connection.stage = Stage::Leaving;
            self.server_work(index, Worker::Server, self.costs.end_cpu_ns);
        }
    }

    /// A process that has lost its client before the login was done.
    pub(super) fn wind_up(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        let (asker, peer) = (connection.asker, connection.peer);
        if matches!(connection.stage, Stage::Leaving | Stage::Ended) {
            return;
        }
        connection.stage = Stage::Leaving;
        self.note(Note::Closed(peer));
        let leaving = Work::Of(asker, self.here(index));
        self.cores.add(Worker::Server, LEAVING_WORK, leaving);
    }

    pub(super) fn free(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        connection.life += 1;
        connection.gone = true;
        self.early.remove(&index);
        self.free_connections.push(index);
    }
}
