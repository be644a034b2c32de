//! The executor: one future on virtual time, on one thread.
//!
//! It polls until nothing can go on, then moves the clock to whatever happens next: a timer, or something on the simulated server.
//! What the server has to say at an instant is said before the timers of that instant go off.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};

use super::board::Board;
use super::time::VirtualTime;

/// Nothing will ever happen again, and the future is not done.
#[derive(Debug, thiserror::Error)]
#[error("the simulated run came to a standstill after {0} s of its own time")]
pub struct Stalled(f64);

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// Drives `future` to its end; `board` is the server that it talks to.
///
/// # Errors
/// [`Stalled`] when it waits for something that never comes.
pub fn run<F: Future>(time: &VirtualTime, board: &Board, future: F) -> Result<F::Output, Stalled> {
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    // On a thread of tokio's its locks would make a task give way after so many steps, to an executor that never comes.
    let mut future = pin!(tokio::task::unconstrained(future));
    loop {
        while woken.0.swap(false, SeqCst) {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return Ok(output);
            }
        }
        let timer = time.next();
        let heard = board.heard_by(timer.unwrap_or(u64::MAX));
        let Some(next) = heard.or(timer) else {
            return Err(Stalled(time.now().0 as f64 / 1e9));
        };
        time.move_to(next);
        if heard.is_some() {
            board.advance();
        }
        time.wake();
    }
}
