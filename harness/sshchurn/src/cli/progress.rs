//! What a user sees of a round while it runs, and the one line that stays of it.
//!
//! Samples the collector's live counts: the generator never waits for a display.

use std::convert::Infallible;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::console::Console;
use sshchurn_core::ledger::RoundEnd;
use sshchurn_core::vocabulary::Phase;
use sshchurn_engine::collector::LiveCounts;

/// Redraws of the live display.
const REDRAWS_PER_S: u32 = 4;

/// The display of one round.
pub(super) struct RoundDisplay<'a> {
    console: &'a Console,
    live: &'a LiveCounts,
    tasks: u32,
}

impl<'a> RoundDisplay<'a> {
    pub(super) fn new(console: &'a Console, live: &'a LiveCounts, tasks: u32) -> Self {
        RoundDisplay {
            console,
            live,
            tasks,
        }
    }

    /// Shows live counts for as long as it is polled.
    pub(super) async fn live(&self, title: &str) -> Infallible {
        let display = self.console.start_round(self.tasks);
        let mut handshakes = 0;
        loop {
            let now = self.live.handshakes.load(Relaxed);
            display.show(
                title,
                self.live.tasks_ended.load(Relaxed),
                format!(
                    "submit {} poll {} cleanup {}  refused {}  {} handshakes/s",
                    self.live.in_phase(Phase::Submit),
                    self.live.in_phase(Phase::Poll),
                    self.live.in_phase(Phase::Cleanup),
                    self.live.banner_eof.load(Relaxed),
                    (now - handshakes) * u64::from(REDRAWS_PER_S),
                ),
            );
            handshakes = now;
            tokio::time::sleep(Duration::from_secs(1) / REDRAWS_PER_S).await;
        }
    }

    /// One line for each round, also where there is no live display.
    pub(super) fn round_ended(&self, title: &str, end: RoundEnd, took: Duration) {
        self.console.note(&format!(
            "{title}: {} of {} tasks succeeded, {} attempts, {} refused, {:.1} s{}",
            self.live.tasks_succeeded.load(Relaxed),
            self.tasks,
            self.live.attempts.load(Relaxed),
            self.live.banner_eof.load(Relaxed),
            took.as_secs_f64(),
            match end {
                RoundEnd::Complete => "",
                RoundEnd::Drained => " (drained)",
                RoundEnd::Aborted => " (aborted)",
                RoundEnd::OutOfTime => " (out of time)",
                RoundEnd::ServerLost => " (server lost)",
            }
        ));
    }
}
