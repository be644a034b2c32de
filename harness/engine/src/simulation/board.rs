//! The board between the tasks and the simulated server: questions go in, answers come back and wake whoever asked.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::log::Witness;
use crate::clock::RunClock;
use sshchurn_core::instant::RunInstant;
use sshchurn_core::model::server::{Answer, Asker, Question, ServerBooks, SimulatedServer, Stamps};
use sshchurn_core::quantity::nanoseconds;

/// Answers for which there is always room.
const MOST_ROOM: usize = 1024;

/// One server and those who ask it. Clones are the same board.
#[derive(Clone)]
pub struct Board(Arc<Shared>);

struct Shared {
    clock: RunClock,
    /// The server's events reach the clients at multiples of this, nanoseconds.
    grain: u64,
    /// Something was asked, so that the next event may be an earlier one.
    #[cfg(test)]
    asked: tokio::sync::Notify,
    state: Mutex<State>,
}

struct State {
    server: SimulatedServer,
    /// Questions that each client has asked.
    questions: Vec<u32>,
    /// Where each question stands.
    asked: Vec<Asked>,
    /// Answers since nobody was left who had not come for one.
    answers: Vec<(Question, Answer, Stamps)>,
    /// Those of them that nobody has come for yet.
    untaken: usize,
    witness: Option<Witness>,
}

/// Where a question stands.
#[derive(Default)]
enum Asked {
    /// Nobody waits for its answer.
    #[default]
    Silent,
    Waited(Waker),
    /// Its answer's place.
    Answered(u32),
}

/// What is at that place of a list that grows to it.
fn at<T: Default>(all: &mut Vec<T>, place: usize) -> &mut T {
    if all.len() <= place {
        all.resize_with(place + 1, T::default);
    }
    &mut all[place]
}

impl State {
    /// Who asks a client's next question.
    fn asker(&mut self, client: u32) -> Asker {
        let asked = at(&mut self.questions, client as usize);
        let question = *asked;
        *asked += 1;
        Asker { client, question }
    }

    /// The answer, if it is there; nobody waits for it any more.
    fn take(&mut self, question: Question) -> Option<(Answer, Stamps)> {
        match mem::take(self.asked.get_mut(question.index())?) {
            Asked::Answered(place) => {
                self.untaken -= 1;
                self.server.taken(question);
                let (_, answer, stamps) = self.answers[place as usize];
                Some((answer, stamps))
            }
            Asked::Silent | Asked::Waited(_) => None,
        }
    }

    /// Puts what the server has logged meanwhile on record.
    fn tell(&mut self) {
        if let Some(witness) = &mut self.witness {
            witness.tell(self.server.take_notes());
        }
    }
}

impl Board {
    /// A board for one server; `witness` tells what it logs.
    pub(super) fn new(
        clock: RunClock,
        server: SimulatedServer,
        witness: Option<Witness>,
        grain: u64,
    ) -> Self {
        let server = match witness {
            Some(_) => server.noting(),
            None => server,
        };
        Board(Arc::new(Shared {
            clock,
            grain,
            #[cfg(test)]
            asked: tokio::sync::Notify::new(),
            state: Mutex::new(State {
                server,
                questions: Vec::new(),
                asked: Vec::new(),
                answers: Vec::new(),
                untaken: 0,
                witness,
            }),
        }))
    }

    /// What the server has counted.
    #[must_use]
    pub fn books(&self) -> ServerBooks {
        self.state().server.books().clone()
    }

    /// When something happens on the server next, as the clients see it.
    pub(super) fn next(&self) -> Option<u64> {
        let RunInstant(next) = self.state().server.next_at()?;
        Some(next.div_ceil(self.0.grain) * self.0.grain)
    }

    /// Lets the server go on, to `by` at most; when the clients hear of it next, if they do by then.
    pub(super) fn heard_by(&self, by: u64) -> Option<u64> {
        let RunInstant(heard) = self.state().server.run_until(RunInstant(by))?;
        Some(heard.div_ceil(self.0.grain) * self.0.grain)
    }

    /// Something was asked since the last look.
    #[cfg(test)]
    pub(super) async fn asked(&self) {
        self.0.asked.notified().await;
    }

    /// Lets everything happen that is due, and wakes those whose answers are there.
    pub(super) fn advance(&self) {
        let now = self.0.clock.now();
        let mut wakers = Vec::new();
        let mut state = self.state();
        let State {
            server,
            asked,
            answers,
            untaken,
            ..
        } = &mut *state;
        if *untaken == 0 {
            answers.clear();
            // Of a million answers at once, room is not kept for another million.
            answers.shrink_to(MOST_ROOM);
        }
        let before = answers.len();
        server.advance(now, answers);
        *untaken += answers.len() - before;
        for (place, (question, ..)) in answers.iter().enumerate().skip(before) {
            let place = Asked::Answered(place as u32);
            if let Asked::Waited(waker) = mem::replace(at(asked, question.index()), place) {
                wakers.push(waker);
            }
        }
        state.tell();
        drop(state);
        for waker in wakers {
            waker.wake();
        }
    }

    /// Whether the server has nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        self.state().server.is_idle()
    }

    /// The present instant.
    pub(super) fn now(&self) -> RunInstant {
        self.0.clock.now()
    }

    /// Does something to the server, at this instant.
    pub(super) fn act<T>(&self, act: impl FnOnce(&mut SimulatedServer, RunInstant) -> T) -> T {
        self.with(|state, now| act(&mut state.server, now))
    }

    /// The same as a client's next question.
    pub(super) fn act_as<T>(
        &self,
        client: u32,
        act: impl FnOnce(&mut SimulatedServer, RunInstant, Asker) -> T,
    ) -> T {
        self.with(|state, now| {
            let asker = state.asker(client);
            act(&mut state.server, now, asker)
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut State, RunInstant) -> T) -> T {
        let now = self.now();
        let mut state = self.state();
        let done = act(&mut state, now);
        state.tell();
        drop(state);
        #[cfg(test)]
        self.0.asked.notify_one();
        done
    }

    /// Ends the account of a round that took so long.
    pub(super) fn finish(&self, took: Duration) {
        if let Some(witness) = &self.state().witness {
            witness.finish(nanoseconds(took));
        }
    }

    /// Asks something for a client, and waits for the answer; dropped before, the question is given up.
    pub(super) fn ask(
        &self,
        client: u32,
        question: impl FnOnce(&mut SimulatedServer, RunInstant, Asker) -> Question,
    ) -> Answered {
        let question = self.act_as(client, question);
        Answered {
            board: self.clone(),
            question: Some(question),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer to a question.
pub(super) struct Answered {
    board: Board,
    /// `None` once it was answered.
    question: Option<Question>,
}

impl Future for Answered {
    type Output = (Answer, Stamps);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<(Answer, Stamps)> {
        let Some(question) = self.question else {
            return Poll::Pending;
        };
        let mut state = self.board.state();
        if let Some(answer) = state.take(question) {
            drop(state);
            self.question = None;
            return Poll::Ready(answer);
        }
        *at(&mut state.asked, question.index()) = Asked::Waited(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        if let Some(question) = self.question {
            let mut state = self.board.state();
            match state.take(question) {
                // Answered already, and nobody came for it.
                Some((answer, _)) => {
                    drop(state);
                    if let Answer::In(connection) = answer {
                        self.board.act(|server, now| server.close(now, connection));
                    }
                }
                None => {
                    drop(state);
                    self.board.act(|server, now| server.give_up(now, question));
                }
            }
        }
    }
}
