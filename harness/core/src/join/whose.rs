//! Whose a connection is that only sshd saw.
//!
//! Owns what a key and an address say of it, and which of the two is believed.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use crate::ids::TaskId;
use crate::scenario::client::task_of;

use super::server::SshdView;

/// The tasks by the fingerprints of their keys.
#[derive(Debug, Default)]
pub struct TaskKeys(HashMap<String, TaskId>);

impl TaskKeys {
    /// From the fingerprints in the order of the tasks' numbers.
    #[must_use]
    pub fn new(fingerprints: &[String]) -> Self {
        let numbered = (0..).map(TaskId).zip(fingerprints);
        TaskKeys(numbered.map(|(task, key)| (key.clone(), task)).collect())
    }

    /// The task that has this key.
    pub(super) fn task_of(&self, fingerprint: &str) -> Option<TaskId> {
        self.0.get(fingerprint).copied()
    }
}

/// By what a connection's task is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The address that it was made to, which is the task's own.
    Address,
    /// The key that it logged in with, where the address is no task's or another's.
    Key,
}

/// Which addresses tell a task, of all connections of a round.
#[derive(Debug)]
pub(super) struct Owners {
    /// Tasks whose address another task's login came by.
    shared: HashSet<TaskId>,
}

impl Owners {
    pub(super) fn of(views: &[SshdView]) -> Self {
        let shared = views
            .iter()
            .filter_map(|view| {
                address(view).filter(|task| view.key.is_some_and(|key| key != *task))
            })
            .collect();
        Owners { shared }
    }

    /// The task of a connection, and what tells it.
    ///
    /// The key is believed before the address: nobody but the task's client has it, and it had to sign with it, while any
    /// client can connect to any address. A program for all tasks may well use one address for all of them. Then that
    /// address says nothing of those that have not logged in either: they are no task's.
    pub(super) fn whose(&self, view: &SshdView) -> Option<(TaskId, Told)> {
        let address = address(view);
        match view.key {
            Some(key) if address == Some(key) => Some((key, Told::Address)),
            Some(key) => Some((key, Told::Key)),
            None => address
                .filter(|task| !self.shared.contains(task))
                .map(|task| (task, Told::Address)),
        }
    }
}

/// The task whose address a connection was made to.
pub(super) fn address(view: &SshdView) -> Option<TaskId> {
    match view.local {
        Some(IpAddr::V4(host)) => task_of(host),
        Some(IpAddr::V6(_)) | None => None,
    }
}
