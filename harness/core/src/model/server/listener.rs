//! From the SYN to the process: the listen queue, the listener's turns, and the slots.

use rand::RngExt;

use super::connection::{Due, Stage, Word, Work};
use super::questions::{Note, When};
use super::{SimulatedServer, Worker};
use crate::model::Decision;
use crate::quantity::nanoseconds;

/// First wait before a SYN comes again; each further one is twice as long (RFC 6298, section 5).
const SYN_AGAIN: u64 = 1_000_000_000;

impl SimulatedServer {
    /// A SYN reaches the listening socket.
    pub(super) fn syn(&mut self, index: u32) {
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
            connection.stage = Stage::Knocking(before.saturating_add(1));
            let again = self.now + (SYN_AGAIN << before.min(20));
            // Whoever gives up before has no use for it, and a burst would keep a million of them until their time.
            let gives_up = self
                .manner(index)
                .deadline(&self.connections[index as usize]);
            if gives_up.is_none_or(|deadline| again <= deadline) {
                self.at(again, index, Due::Syn(self.here(index)));
            }
            return;
        }
        connection.stage = Stage::Queued;
        connection.connected = When::at(self.now + half);
        // The client hears of it, writes its own identification string without waiting for the server's, and that travels.
        let writes = self.costs.connect_cpu_ns as f64 / self.cores.rate(Worker::Client);
        connection.asked = self.now + 2 * half + writes as u64;
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
        let peer = self.connections[index as usize].peer;
        let draw = match self.admission.drawn_against(slots) {
            Some(_) => self.draws.random_range(0..100),
            None => 0,
        };
        let mut decision = self.admission.decide(slots, draw);
        if let Some(most) = self.settings.per_source_max_startups {
            let of_source = self.by_source.get(&peer.source).copied().unwrap_or(0);
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
                connection.slot = When::at(self.now);
                connection.factor = factor as f32;
                self.take_slot(peer.source, 1);
            }
        }
        self.turn = Some((index, decision));
        self.cores.add(Worker::Listener, work as f64, Work::Turn);
    }

    pub(super) fn turn_over(&mut self) {
        let Some((index, decision)) = self.turn.take() else {
            return;
        };
        match decision {
            Decision::Refuse => {
                let reset = self.connections[index as usize].asked <= self.now;
                self.tell(index, Word::Refused { reset });
            }
            Decision::Accept => {
                let connection = &mut self.connections[index as usize];
                connection.stage = Stage::Starting;
                let peer = connection.peer;
                self.note(Note::Connection(peer));
                if let Some(grace) = self.settings.login_grace {
                    // sshd-session.c:main adds up to 4 s from 9.9 on.
                    let jitter = match nanoseconds(self.settings.grace_jitter) {
                        0 => 0,
                        most => self.draws.random_range(0..most),
                    };
                    let (grace, due) = (nanoseconds(grace), Due::Grace(self.here(index)));
                    match jitter {
                        0 => self.at_last(grace, index, due),
                        jitter => self.at(self.now + grace + jitter, index, due),
                    }
                }
                self.server_work(index, Worker::Server, self.costs.start_cpu_ns);
            }
        }
        self.next_turn();
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

    pub(super) fn give_slot_back(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if let Some(since) = connection.slot.take() {
            let source = connection.peer.source;
            self.books.released += 1;
            self.books.in_slot_ns += u128::from(self.now - since);
            self.take_slot(source, -1);
        }
    }
}
