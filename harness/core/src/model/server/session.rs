//! Commands of a connection that has logged in.

use super::connection::{Asked, At, Due, Pending, Work};
use super::questions::{Answer, Question, Stamps};
use super::{ClientPlace, SimulatedServer, Worker};

impl SimulatedServer {
    pub(super) fn session_made(&mut self, index: u32) {
        match self.costs.first_command_wait_ns {
            0 => self.ready(index),
            wait => self.at(self.now + wait, index, Due::Ready(self.here(index))),
        }
    }

    pub(super) fn ready(&mut self, index: u32) {
        self.connections[index as usize].ready = true;
        for [question, life] in self.early.remove(&index).unwrap_or_default() {
            // It may have been given up meanwhile.
            if self.questions[question as usize].life == life {
                self.execute(question);
            }
        }
        self.end_if_gone(index);
    }

    pub(super) fn command_arrives(&mut self, question: u32, life: u32) {
        let pending = self.questions[question as usize];
        if pending.life != life {
            return;
        }
        let index = pending.connection;
        let most = self.settings.max_sessions;
        let connection = &mut self.connections[index as usize];
        if connection.sessions >= most {
            self.answer(
                Question::at(question),
                Answer::ChannelRefused,
                Stamps::default(),
            );
            return;
        }
        connection.sessions += 1;
        if connection.ready {
            self.execute(question);
        } else {
            self.early.entry(index).or_default().push([question, life]);
        }
    }

    fn execute(&mut self, question: u32) {
        let Pending {
            asker,
            connection,
            life,
            what,
        } = self.questions[question as usize];
        if let Asked::Command { work_ns } = what {
            let question = [question, life];
            let connection = self.here(connection);
            let command = Work::Command(asker, question, connection);
            self.cores.add(Worker::Server, work_ns as f64, command);
        }
    }

    pub(super) fn command_done(&mut self, [question, life]: [u32; 2], at: At) {
        let connection = &mut self.connections[at.index as usize];
        if connection.life == at.life {
            connection.sessions = connection.sessions.saturating_sub(1);
        }
        let pending = self.questions[question as usize];
        if pending.life != life {
            return;
        }
        self.books.commands += 1;
        let asker = pending.asker;
        let question = [question, life];
        match (self.costs.clients, self.costs.client_exec_cpu_ns) {
            (_, 0) => self.answer_if_asked(question, Answer::Ran),
            (ClientPlace::Here, work) => {
                let output = Work::Output(asker, question);
                self.cores.add(Worker::Client, work as f64, output);
            }
            (ClientPlace::Elsewhere, work) => {
                self.due.put(self.now + work, (asker, Due::Ran(question)));
            }
        }
    }
}
