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
        let mut running = Tasks::none_yet();
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
    places: Vec<Arc<Place<T>>>,
    free: Vec<u32>,
    ready: Arc<Ready<T>>,
    /// Those whose turn it is, the last first.
    turn: Vec<Arc<Place<T>>>,
}

/// Who was woken.
struct Ready<T>(Mutex<Woken<T>>);

struct Woken<T> {
    /// In that order.
    places: Vec<Arc<Place<T>>>,
    /// Who is to hear of the first.
    whole: Option<Waker>,
    /// Nobody is polled any more.
    over: bool,
}

/// A task's place among them, with the task: whoever wakes it has found it. Whoever brings the tasks has one, too.
struct Place<T> {
    number: u32,
    woken: AtomicBool,
    ready: Arc<Ready<T>>,
    /// `None` once it has ended.
    task: Mutex<Option<Pin<Box<T>>>>,
}

/// The number of the bringer's place.
const BRINGER: u32 = u32::MAX;

impl<T> Ready<T> {
    fn woken(&self) -> MutexGuard<'_, Woken<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Place<T> {
    fn new(number: u32, ready: &Arc<Ready<T>>, task: Option<Pin<Box<T>>>) -> Arc<Self> {
        Arc::new(Place {
            number,
            woken: AtomicBool::new(false),
            ready: Arc::clone(ready),
            task: Mutex::new(task),
        })
    }

    fn task(&self) -> MutexGuard<'_, Option<Pin<Box<T>>>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + 'static> ArcWake for Place<T> {
    fn wake_by_ref(place: &Arc<Self>) {
        if place.woken.swap(true, SeqCst) {
            return;
        }
        let mut woken = place.ready.woken();
        if woken.over {
            return;
        }
        woken.places.push(Arc::clone(place));
        let whole = woken.whole.take();
        drop(woken);
        if let Some(whole) = whole {
            whole.wake();
        }
    }
}

impl<T: Future<Output = ()> + Send + 'static> Tasks<T> {
    fn none_yet() -> Self {
        let ready = Arc::new(Ready(Mutex::new(Woken {
            places: Vec::new(),
            whole: None,
            over: false,
        })));
        Place::wake_by_ref(&Place::new(BRINGER, &ready, None));
        Tasks {
            places: Vec::new(),
            free: Vec::new(),
            ready,
            turn: Vec::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }

    /// One more, which is ready to begin.
    fn add(&mut self, task: T) {
        let task = Some(Box::pin(task));
        let place = match self.free.pop() {
            Some(number) => {
                let place = &self.places[number as usize];
                *place.task() = task;
                place
            }
            None => {
                let number = self.places.len() as u32;
                self.places.push(Place::new(number, &self.ready, task));
                &self.places[number as usize]
            }
        };
        Place::wake_by_ref(place);
    }

    /// Polls those that were woken, in that order, until there is none, or until it is the turn of whoever brings them: by this waker.
    fn poll(&mut self, context: &mut Context<'_>) -> Option<Waker> {
        loop {
            while let Some(place) = self.turn.pop() {
                place.woken.store(false, SeqCst);
                if place.number == BRINGER {
                    return Some(waker(place));
                }
                let waker = waker_ref(&place);
                let mut context = Context::from_waker(&waker);
                let mut task = place.task();
                if let Some(running) = &mut *task
                    && running.as_mut().poll(&mut context).is_ready()
                {
                    *task = None;
                    self.free.push(place.number);
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

impl<T> Tasks<T> {
    /// Drops those that have not ended.
    fn abandon(&mut self) {
        // Places and who was woken refer to each other, and so do a task and whoever is to wake it.
        let places = {
            let mut woken = self.ready.woken();
            woken.over = true;
            mem::take(&mut woken.places)
        };
        drop(places);
        for place in self.places.drain(..) {
            let task = place.task().take();
            drop(task);
        }
        self.turn.clear();
        self.free.clear();
    }
}

impl<T> Drop for Tasks<T> {
    fn drop(&mut self) {
        self.abandon();
    }
}
