//! Who runs the tasks of a round side by side.
//!
//! Thousands of tasks at once are spread over the runtime's threads: connecting alone costs the kernel some tens of
//! microseconds a task, and one thread would put that between the first and the last of a burst. Where order matters more
//! than speed, all of them are polled by the round's own future instead (`simulation::InPlace`). Must not know what a task is.

use std::future::Future;
use std::pin::pin;

use futures::{FutureExt, Stream, StreamExt};
use tokio::task::JoinSet;

/// Runs futures side by side.
pub trait Spawner: Sync {
    /// Whether all tasks of a round are made before the first of them begins: where that takes time, a burst must not wait for it.
    const AHEAD: bool;

    /// Runs `tasks` as they come, until there are no more and all have ended, or those that have not are abandoned because `abort`
    /// is there; panics when one did.
    fn run_all<T>(
        &self,
        tasks: impl Stream<Item = T>,
        abort: impl Future<Output = ()>,
    ) -> impl Future<Output = ()>
    where
        T: Future<Output = ()> + Send + 'static;
}

/// Spreads them over the threads of the tokio runtime it is called in.
#[derive(Debug, Clone, Copy)]
pub struct TokioSpawner;

impl Spawner for TokioSpawner {
    const AHEAD: bool = true;

    async fn run_all<T>(&self, tasks: impl Stream<Item = T>, abort: impl Future<Output = ()>)
    where
        T: Future<Output = ()> + Send + 'static,
    {
        let (mut tasks, mut abort) = (pin!(tasks.fuse()), pin!(abort.fuse()));
        let mut running = JoinSet::new();
        while !(tasks.is_done() && running.is_empty()) {
            tokio::select! {
                biased;
                () = &mut abort => running.abort_all(),
                task = tasks.next(), if !tasks.is_done() => if let Some(task) = task {
                    running.spawn(task);
                },
                Some(ended) = running.join_next() => if let Err(error) = ended && error.is_panic() {
                    std::panic::resume_unwind(error.into_panic());
                },
            }
        }
    }
}
