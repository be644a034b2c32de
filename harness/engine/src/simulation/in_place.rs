//! Tasks of a round inside the future that waits for them: one thread, and the order of their waking.
//!
//! Owns that order. A round may have a million tasks, most of which wait: what a wake costs, and what one that waits keeps, is what
//! this is about.

use std::future::poll_fn;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::task::{ArcWake, waker, waker_ref};
use futures::{Stream, StreamExt};

use crate::spawner::Spawner;

/// Runs tasks inside the future that waits for them: their order is that of their waking, never the scheduler's.
#[derive(Debug, Clone, Copy)]
pub struct InPlace;

impl Spawner for InPlace {
    const AHEAD: bool = false;

    async fn run_all<T>(&self, tasks: impl Stream<Item = T>, abort: impl Future<Output = ()>)
    where
        T: Future<Output = ()> + Send + 'static,
    {
        let (mut tasks, mut abort) = (pin!(tasks.fuse()), pin!(abort));
        let mut running = Tasks::default();
        // Whether there are more to come, and all is to go on.
        let mut more = true;
        poll_fn(|context| {
            while let Some(woken) = running.poll(context) {
                let context = &mut Context::from_waker(&woken);
                let aborted = abort.as_mut().poll(context).is_ready();
                if aborted {
                    running.abandon();
                }
                while let Poll::Ready(task) = tasks.as_mut().poll_next(context) {
                    match task {
                        // It was told of, and is abandoned with the others.
                        Some(task) if aborted => drop(task),
                        Some(task) => running.add(task),
                        None => break,
                    }
                }
                more = !aborted && !tasks.is_done();
            }
            match more || !running.is_empty() {
                true => Poll::Pending,
                false => Poll::Ready(()),
            }
        })
        .await;
    }
}

/// Tasks that run. Places of those that have ended are used again; whoever wakes one that has ended wakes the next in its place, which
/// does no harm.
struct Tasks<T> {
    running: Vec<Running<T>>,
    free: Vec<u32>,
    ready: Arc<Ready>,
    /// Those whose turn it is, the last first.
    turn: Vec<u32>,
    /// The place of whoever brings them.
    bringer: Arc<Place>,
}

/// A place, and the task in it; `None` once that has ended.
struct Running<T> {
    task: Option<Pin<Box<T>>>,
    place: Arc<Place>,
}

/// The number of the bringer's place.
const BRINGER: u32 = u32::MAX;

/// Who was woken.
#[derive(Default)]
struct Ready(Mutex<Woken>);

#[derive(Default)]
struct Woken {
    /// In that order.
    places: Vec<u32>,
    /// Who is to hear of the first.
    whole: Option<Waker>,
}

/// A task's place among them, as those know it who wake it.
struct Place {
    number: u32,
    woken: AtomicBool,
    ready: Arc<Ready>,
}

impl Place {
    fn new(number: u32, ready: Arc<Ready>) -> Self {
        Place {
            number,
            woken: AtomicBool::new(false),
            ready,
        }
    }
}

impl Ready {
    fn woken(&self) -> MutexGuard<'_, Woken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ArcWake for Place {
    fn wake_by_ref(place: &Arc<Self>) {
        if !place.woken.swap(true, SeqCst) {
            let mut woken = place.ready.woken();
            woken.places.push(place.number);
            let whole = woken.whole.take();
            drop(woken);
            if let Some(whole) = whole {
                whole.wake();
            }
        }
    }
}

impl<T> Default for Tasks<T> {
    fn default() -> Self {
        let ready = Arc::<Ready>::default();
        let bringer = Arc::new(Place::new(BRINGER, Arc::clone(&ready)));
        Place::wake_by_ref(&bringer);
        Tasks {
            running: Vec::new(),
            free: Vec::new(),
            ready,
            turn: Vec::new(),
            bringer,
        }
    }
}

impl<T: Future<Output = ()>> Tasks<T> {
    fn is_empty(&self) -> bool {
        self.free.len() == self.running.len()
    }

    /// One more, which is ready to begin.
    fn add(&mut self, task: T) {
        let task = Some(Box::pin(task));
        let number = match self.free.pop() {
            Some(number) => {
                self.running[number as usize].task = task;
                number
            }
            None => {
                let number = self.running.len() as u32;
                let place = Arc::new(Place::new(number, Arc::clone(&self.ready)));
                self.running.push(Running { task, place });
                number
            }
        };
        Place::wake_by_ref(&self.running[number as usize].place);
    }

    /// Drops those that have not ended.
    fn abandon(&mut self) {
        self.running.clear();
        self.free.clear();
    }

    /// Polls those that were woken, in that order, until there is none, or until it is the turn of whoever brings them: by this waker.
    fn poll(&mut self, context: &mut Context<'_>) -> Option<Waker> {
        loop {
            while let Some(number) = self.turn.pop() {
                if number == BRINGER {
                    self.bringer.woken.store(false, SeqCst);
                    return Some(waker(Arc::clone(&self.bringer)));
                }
                let Some(Running { task, place }) = self.running.get_mut(number as usize) else {
                    continue;
                };
                place.woken.store(false, SeqCst);
                let waker = waker_ref(place);
                let mut context = Context::from_waker(&waker);
                if let Some(running) = task
                    && running.as_mut().poll(&mut context).is_ready()
                {
                    *task = None;
                    self.free.push(number);
                }
            }
            let mut woken = self.ready.woken();
            if woken.places.is_empty() {
                woken.whole = Some(context.waker().clone());
                return None;
            }
            mem::swap(&mut woken.places, &mut self.turn);
            self.turn.reverse();
        }
    }
}
