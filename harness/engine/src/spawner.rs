//! Who runs the tasks of a round side by side.
//!
//! Thousands of tasks at once are spread over the runtime's threads: connecting alone costs the kernel some tens of
//! microseconds a task, and one thread would put that between the first and the last of a burst. Where order matters more
//! than speed, all of them can be polled by the round's own future instead. Must not know what a task is.

use std::future::Future;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::task::AbortOnDropHandle;

/// Runs futures side by side.
pub trait Spawner: Sync {
    /// Hands `task` over. The result is ready when it has ended, and panics when it did; dropped before, the task is
    /// abandoned. A task need not begin before its result is polled.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> BoxFuture<'static, ()>;
}

/// Spreads them over the threads of the tokio runtime it is called in.
#[derive(Debug, Clone, Copy)]
pub struct TokioSpawner;

impl Spawner for TokioSpawner {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> BoxFuture<'static, ()> {
        AbortOnDropHandle::new(tokio::spawn(task))
            .map(|ended| {
                if let Err(error) = ended
                    && error.is_panic()
                {
                    std::panic::resume_unwind(error.into_panic());
                }
            })
            .boxed()
    }
}
