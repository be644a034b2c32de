//! What a terminal shows of a round while it runs.
//!
//! Samples live counts in a task of its own: the generator never waits for a display.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sshchurn_core::vocabulary::Phase;
use tokio_util::task::AbortOnDropHandle;

use crate::session::{Live, RoundTitle};

/// Redraws of the display.
const REDRAWS_PER_S: u32 = 4;
const TEMPLATE: &str = "{prefix} [{bar:16}] {pos}/{len} tasks\n  {msg}";

/// The display of one round; gone when dropped.
pub(super) struct RoundDisplay {
    bar: ProgressBar,
    _redraw: AbortOnDropHandle<()>,
}

impl RoundDisplay {
    /// Must be called within a tokio runtime. `left` is how long this round and those after it may take.
    pub(super) fn start(title: &RoundTitle, live: Live, left: Option<Duration>) -> Self {
        let target = ProgressDrawTarget::stderr();
        let bar = ProgressBar::with_draw_target(Some(u64::from(title.tasks)), target);
        // The template is fixed, so that it parses is a matter of the unit test below.
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        bar.set_prefix(match left {
            Some(left) => format!("{title}, about {} s left", left.as_secs().max(1)),
            None => title.to_string(),
        });
        RoundDisplay {
            _redraw: AbortOnDropHandle::new(tokio::spawn(redraw(
                bar.clone(),
                live,
                title.under_test,
            ))),
            bar,
        }
    }

    /// Prints without being written over.
    pub(super) fn suspend(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }
}

impl Drop for RoundDisplay {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

async fn redraw(bar: ProgressBar, live: Live, under_test: bool) {
    let counts = live.counts();
    let mut handshakes = 0;
    loop {
        let now = counts.handshakes.load(Relaxed);
        bar.set_position(counts.tasks_ended.load(Relaxed));
        // Where the server has no gauge that is read, nothing is said of it.
        let slots = match counts.full.load(Relaxed) {
            0 => String::new(),
            full => format!(
                "slots {} (start {}, full {full}) ",
                counts.slots.load(Relaxed),
                counts.start.load(Relaxed)
            ),
        };
        bar.set_message(match under_test {
            true => format!("{slots}its connections are counted at the end of the round"),
            false => format!(
                "{slots}submit {} poll {} cleanup {} refused {} logins {}/s",
                counts.in_phase(Phase::Submit),
                counts.in_phase(Phase::Poll),
                counts.in_phase(Phase::Cleanup),
                counts.banner_eof.load(Relaxed),
                // A round's counts begin at 0.
                now.saturating_sub(handshakes) * u64::from(REDRAWS_PER_S),
            ),
        });
        handshakes = now;
        tokio::time::sleep(Duration::from_secs(1) / REDRAWS_PER_S).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_template_parses() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
