//! The board between the tasks and the simulated server: questions go in, answers come back and wake whoever asked.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

use super::log::Witness;
use crate::clock::RunClock;
use sshchurn_core::instant::RunInstant;
use sshchurn_core::model::server::{Answer, Question, ServerBooks, SimulatedServer, Stamps};
use sshchurn_core::quantity::nanoseconds;

/// One server and those who ask it. Clones are the same board.
#[derive(Clone)]
pub struct Board(Arc<Shared>);

struct Shared {
    clock: RunClock,
    /// The server's events reach the clients at multiples of this, nanoseconds.
    grain: u64,
    /// Something was asked, so that the next event may be an earlier one.
    asked: Notify,
    state: Mutex<State>,
}

struct State {
    server: SimulatedServer,
    places: Vec<Place>,
    witness: Option<Witness>,
}

impl State {
    /// Puts what the server has logged meanwhile on record.
    fn tell(&mut self) {
        if let Some(witness) = &mut self.witness {
            witness.tell(self.server.take_notes());
        }
    }
}

/// Of one question.
#[derive(Default)]
struct Place {
    waiting: Option<Waker>,
    answer: Option<(Answer, Stamps)>,
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
            asked: Notify::new(),
            state: Mutex::new(State {
                server,
                places: Vec::new(),
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
        let RunInstant(next) = self.state().server.next()?;
        Some(next.div_ceil(self.0.grain) * self.0.grain)
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
        let State { server, places, .. } = &mut *state;
        for (question, answer, stamps) in server.advance(now) {
            if places.len() <= question.index() {
                places.resize_with(question.index() + 1, Place::default);
            }
            let place = &mut places[question.index()];
            place.answer = Some((answer, stamps));
            wakers.extend(place.waiting.take());
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
        let now = self.now();
        let mut state = self.state();
        let done = act(&mut state.server, now);
        state.tell();
        drop(state);
        self.0.asked.notify_one();
        done
    }

    /// Ends the account of a round that took so long.
    pub(super) fn finish(&self, took: Duration) {
        if let Some(witness) = &self.state().witness {
            witness.finish(nanoseconds(took));
        }
    }

    /// Asks something, and waits for the answer; dropped before, the question is given up.
    pub(super) fn ask(
        &self,
        question: impl FnOnce(&mut SimulatedServer, RunInstant) -> Question,
    ) -> Answered {
        let question = self.act(question);
        let mut state = self.state();
        if state.places.len() <= question.index() {
            state
                .places
                .resize_with(question.index() + 1, Place::default);
        }
        drop(state);
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
        let place = &mut state.places[question.index()];
        match place.answer.take() {
            Some(answer) => {
                state.server.taken(question);
                drop(state);
                self.question = None;
                Poll::Ready(answer)
            }
            None => {
                match &place.waiting {
                    Some(waker) if waker.will_wake(context.waker()) => {}
                    _ => place.waiting = Some(context.waker().clone()),
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        if let Some(question) = self.question {
            let mut state = self.board.state();
            // Answered already, and nobody came for it.
            let answered = state.places[question.index()].answer.take();
            match answered {
                Some((answer, _)) => {
                    state.server.taken(question);
                    drop(state);
                    if let Answer::In(connection) = answer {
                        self.board.act(|server, now| server.close(now, connection));
                    }
                }
                None => {
                    state.places[question.index()] = Place::default();
                    drop(state);
                    self.board.act(|server, now| server.give_up(now, question));
                }
            }
        }
    }
}
