//! A connection that several tasks share, with a channel for each of them at the same time.
//!
//! Owns who makes it, who waits for it, and when it is closed: its first task connects and holds it until the others are
//! done. Must not know what they run.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::link::LinkSession;
use crate::rendezvous::Rendezvous;
use crate::ssh::Session;

/// One shared connection.
pub(crate) struct Share<S: Session> {
    /// `None` in it: it could not be had. Taken out when it is closed.
    connection: OnceLock<Mutex<Option<Arc<LinkSession<S>>>>>,
    known: Rendezvous,
    done: Rendezvous,
}

/// A task's part in it.
pub(crate) struct Part<S: Session> {
    share: Arc<Share<S>>,
    /// It makes the connection.
    first: bool,
    /// It has said that it is done.
    done: bool,
}

impl<S: Session> Share<S> {
    /// The parts of so many tasks in one connection.
    pub(crate) fn among(tasks: u32) -> impl Iterator<Item = Part<S>> {
        let share = Arc::new(Share {
            connection: OnceLock::new(),
            known: Rendezvous::new(1),
            done: Rendezvous::new(tasks),
        });
        (0..tasks).map(move |task| Part {
            share: Arc::clone(&share),
            first: task == 0,
            done: false,
        })
    }
}

impl<S: Session> Part<S> {
    /// Whether this task makes the connection.
    pub(crate) fn is_first(&self) -> bool {
        self.first
    }

    /// The connection is there, or cannot be had. What is said first stands.
    pub(crate) fn say(&self, connection: Option<LinkSession<S>>) {
        self.share
            .connection
            .get_or_init(|| Mutex::new(connection.map(Arc::new)));
        self.share.known.arrive();
    }

    /// Waits for the connection.
    pub(crate) async fn hear(&self) -> Option<Arc<LinkSession<S>>> {
        self.share.known.complete().await;
        let said = self.share.connection.get()?;
        said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says that this task is done with it; the first one closes it when all are.
    pub(crate) async fn finish(mut self) {
        self.over();
        if !self.first {
            return;
        }
        self.share.done.complete().await;
        let connection = self
            .share
            .connection
            .get()
            .and_then(|said| said.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(connection) = connection.and_then(Arc::into_inner) {
            connection.close().await;
        }
    }

    fn over(&mut self) {
        if !std::mem::replace(&mut self.done, true) {
            if self.first {
                // Nobody must wait for what will not come.
                self.say(None);
            }
            self.share.done.arrive();
        }
    }
}

impl<S: Session> Drop for Part<S> {
    fn drop(&mut self) {
        // Not started, or interrupted.
        self.over();
    }
}
