//! What the stand-in is doing at this moment: slots in use, connections served, commands running.
//!
//! Owns the counts and the guards that keep them right on every way out, panics included. It must not
//! decide on them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// The counts; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Gauges {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    startups: watch::Sender<u32>,
    connections: watch::Sender<u32>,
    /// Process groups of commands whose main process was not reaped yet, so that none of these ids can
    /// belong to somebody else.
    command_groups: Mutex<HashSet<i32>>,
}

impl Gauges {
    /// Connections accepted and not yet authenticated: what `MaxStartups` counts.
    #[must_use]
    pub fn startups(&self) -> u32 {
        *self.shared.startups.borrow()
    }

    /// Connections being served, authenticated or not.
    #[must_use]
    pub fn connections(&self) -> u32 {
        *self.shared.connections.borrow()
    }

    /// Changes of [`Gauges::startups`], to wait on.
    #[must_use]
    pub fn watch_startups(&self) -> watch::Receiver<u32> {
        self.shared.startups.subscribe()
    }

    /// Changes of [`Gauges::connections`], to wait on.
    #[must_use]
    pub fn watch_connections(&self) -> watch::Receiver<u32> {
        self.shared.connections.subscribe()
    }

    pub(super) fn take_slot(&self) -> Slot {
        self.shared.startups.send_modify(|count| *count += 1);
        Slot(self.clone())
    }

    pub(super) fn serve(&self) -> Served {
        self.shared.connections.send_modify(|count| *count += 1);
        Served(self.clone())
    }

    pub(super) fn command_started(&self, group: i32) -> CommandGroup {
        self.groups().insert(group);
        CommandGroup {
            gauges: self.clone(),
            group,
        }
    }

    /// Process groups of the commands that are running.
    pub(super) fn command_groups(&self) -> HashSet<i32> {
        self.groups().clone()
    }

    fn groups(&self) -> std::sync::MutexGuard<'_, HashSet<i32>> {
        self.shared
            .command_groups
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the slots `MaxStartups` counts; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot(Gauges);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.shared.startups.send_modify(|count| *count -= 1);
    }
}

/// One connection being served; over when dropped.
#[derive(Debug)]
pub(super) struct Served(Gauges);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.shared.connections.send_modify(|count| *count -= 1);
    }
}

/// One running command; over when dropped, which must be after it was reaped.
#[derive(Debug)]
pub(super) struct CommandGroup {
    gauges: Gauges,
    group: i32,
}

impl Drop for CommandGroup {
    fn drop(&mut self) {
        self.gauges.groups().remove(&self.group);
    }
}
