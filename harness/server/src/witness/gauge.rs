//! The gauge of startup slots: the listener's process title, `[listener] N of A-B startups` (sshd.c:prepare_proctitle and
//! server_accept_loop, 8.2 and later).
//!
//! Owns reading and repeating. sshd rewrites the title at the top of its accept loop whenever the number has changed, and
//! accepts one connection per turn: a reading every 10 ms misses peaks that are shorter than that.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

use crate::docker::InsideContainer;

/// Time from one reading to the next: 100 a second.
const EVERY: Duration = Duration::from_millis(10);
/// How long a listener may take to show the gauge for the first time.
const TITLE_WITHIN: Duration = Duration::from_secs(2);
/// Longest title looked at: sshd gives up on titles of 1024 bytes and more (setproctitle.c).
const LONGEST_TITLE: usize = 2048;

/// Startup slots at one moment, with the limits of the running listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartupsReading {
    /// Slots in use.
    pub slots: u32,
    /// `start`.
    pub start: u32,
    /// `full`.
    pub full: u32,
}

/// What a gauge that was stopped has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GaugeEnd {
    /// Readings.
    pub samples: u64,
    /// From the first to the last.
    pub over: Duration,
    /// CPU time of reading, where it can be known.
    pub cpu: Option<Duration>,
}

/// A gauge that is being read.
pub struct GaugeWatch {
    stop: Arc<AtomicBool>,
    ended: oneshot::Receiver<GaugeEnd>,
}

impl GaugeWatch {
    /// Stops reading; nothing is told any more when this returns. `None` when reading had broken off before.
    pub async fn stop(mut self) -> Option<GaugeEnd> {
        self.stop.store(true, Relaxed);
        (&mut self.ended).await.ok()
    }
}

impl Drop for GaugeWatch {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

/// Finds the gauge in a process title. NUL bytes separate and pad arguments.
pub(super) fn parse_title(title: &[u8]) -> Option<StartupsReading> {
    const MARK: &str = "[listener] ";
    let text = String::from_utf8_lossy(title);
    let rest = &text[text.find(MARK)? + MARK.len()..];
    let (slots, rest) = rest.split_once(" of ")?;
    let (start, rest) = rest.split_once('-')?;
    let (full, _) = rest.split_once(" startups")?;
    Some(StartupsReading {
        slots: slots.parse().ok()?,
        start: start.parse().ok()?,
        full: full.parse().ok()?,
    })
}

/// Waits until a listener of this machine that has just started shows the gauge: it does from the first turn of its accept
/// loop on, which comes after its log says that it listens. One that shows none (before 8.2) is not waited for any longer
/// than [`TITLE_WITHIN`].
pub(crate) async fn title_shown(listener: u32) {
    let shown = async {
        let title = || std::fs::read(format!("/proc/{listener}/cmdline"));
        // A process that is gone has no title to wait for.
        while title().is_ok_and(|title| parse_title(&title).is_none()) {
            tokio::time::sleep(EVERY).await;
        }
    };
    let _ = tokio::time::timeout(TITLE_WITHIN, shown).await;
}

/// Watches a listener of this machine; `None` when its title has no gauge.
pub(super) fn watch_title(
    listener: u32,
    on_change: impl FnMut(StartupsReading) + Send + 'static,
) -> Option<GaugeWatch> {
    let file = File::open(format!("/proc/{listener}/cmdline")).ok()?;
    let mut buffer = vec![0_u8; LONGEST_TITLE];
    let mut read = move || {
        let count = file.read_at(&mut buffer, 0).ok()?;
        parse_title(&buffer[..count])
    };
    read()?;
    watch(read, on_change)
}

/// Reads every [`EVERY`] on a thread of its own. A reading that fails is not counted: the server is going.
pub(super) fn watch(
    mut read: impl FnMut() -> Option<StartupsReading> + Send + 'static,
    mut on_change: impl FnMut(StartupsReading) + Send + 'static,
) -> Option<GaugeWatch> {
    let stop = Arc::new(AtomicBool::new(false));
    let (tell, ended) = oneshot::channel();
    let stopped = Arc::clone(&stop);
    std::thread::Builder::new()
        .name("gauge".to_owned())
        .spawn(move || {
            let mut progress = Progress::default();
            let mut due = Instant::now();
            while !stopped.load(Relaxed) {
                if let Some(reading) = read() {
                    progress.saw(reading, &mut on_change);
                }
                due += EVERY;
                let now = Instant::now();
                match due.checked_duration_since(now) {
                    Some(wait) => std::thread::sleep(wait),
                    // Late by more than a reading: those are lost, and not made up for in a burst.
                    None => due = now,
                }
            }
            // Nobody may be listening any more.
            let _ = tell.send(progress.end(thread_cpu()));
        })
        .ok()?;
    Some(GaugeWatch { stop, ended })
}

/// Reads inside a container, by a loop of its own shell that prints what changes.
pub(super) fn watch_inside(
    inside: Arc<InsideContainer>,
    mut on_change: impl FnMut(StartupsReading) + Send + 'static,
) -> GaugeWatch {
    let stop = Arc::new(AtomicBool::new(false));
    let (tell, ended) = oneshot::channel();
    let stopped = Arc::clone(&stop);
    tokio::spawn(async move {
        let mut progress = Progress::default();
        let to_the_end = inside
            .titles(&stopped, |title, readings| {
                if let Some(reading) = parse_title(title) {
                    progress.saw(reading, &mut on_change);
                    progress.samples += readings.saturating_sub(1);
                }
            })
            .await;
        // A gauge that broke off has no end: what it saw last says nothing of what came after.
        if to_the_end {
            let _ = tell.send(progress.end(None));
        }
    });
    GaugeWatch { stop, ended }
}

#[derive(Default)]
struct Progress {
    samples: u64,
    first: Option<Instant>,
    last: Option<Instant>,
    shown: Option<StartupsReading>,
}

impl Progress {
    fn saw(&mut self, reading: StartupsReading, on_change: &mut impl FnMut(StartupsReading)) {
        let now = Instant::now();
        self.samples += 1;
        self.first.get_or_insert(now);
        self.last = Some(now);
        if self.shown != Some(reading) {
            self.shown = Some(reading);
            on_change(reading);
        }
    }

    fn end(&self, cpu: Option<Duration>) -> GaugeEnd {
        GaugeEnd {
            samples: self.samples,
            over: match (self.first, self.last) {
                (Some(first), Some(last)) => last - first,
                _ => Duration::ZERO,
            },
            cpu,
        }
    }
}

/// CPU time of the calling thread since it began.
fn thread_cpu() -> Option<Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok()?;
    u64::try_from(time.num_nanoseconds())
        .ok()
        .map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn title_of_a_listener_gives_slots_and_limits() {
        let title =
            b"sshd: /usr/sbin/sshd -D -f /x/sshd_config [listener] 7 of 10-100 startups\0\0\0";
        assert_eq!(
            parse_title(title),
            Some(StartupsReading {
                slots: 7,
                start: 10,
                full: 100
            })
        );
        for title in [
            &b"/usr/sbin/sshd\0-D\0"[..],
            b"sshd: x [listener] 7 of 10-100 sta",
            b"sshd: x [listener] ",
            b"sshd-session: runner [priv]",
            b"\xff\xfe",
        ] {
            assert_eq!(parse_title(title), None);
        }
    }

    #[tokio::test]
    async fn only_changes_are_told_and_every_reading_is_counted() {
        let (tell, told) = mpsc::channel();
        let mut slots = (0..).map(|reading| reading / 3);
        let watch = watch(
            move || {
                Some(StartupsReading {
                    slots: slots.next()?,
                    start: 1,
                    full: 2,
                })
            },
            move |reading| {
                let _ = tell.send(reading.slots);
            },
        )
        .expect("a thread");
        let told = tokio::task::spawn_blocking(move || {
            (0..4)
                .map(|_| told.recv().expect("told"))
                .collect::<Vec<_>>()
        })
        .await
        .expect("no panic");
        assert_eq!(told, [0, 1, 2, 3]);
        let end = watch.stop().await.expect("it ends");
        assert!(end.samples >= 10, "{end:?}");
        assert!(end.cpu.is_some());
    }
}
