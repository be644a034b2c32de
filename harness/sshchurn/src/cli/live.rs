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
const TEMPLATE: &str = "{prefix} [{bar:24}] {pos}/{len} tasks  {msg}";

/// The display of one round; gone when dropped.
pub(super) struct RoundDisplay {
    bar: ProgressBar,
    _redraw: AbortOnDropHandle<()>,
}

impl RoundDisplay {
    /// Must be called within a tokio runtime.
    pub(super) fn start(title: &RoundTitle, live: Live) -> Self {
        let target = ProgressDrawTarget::stderr();
        let bar = ProgressBar::with_draw_target(Some(u64::from(title.tasks)), target);
        // The template is fixed, so that it parses is a matter of the unit test below.
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        bar.set_prefix(title.to_string());
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
        let client = "its connections are counted at the end of the round".to_owned();
        let message = || {
            format!(
                "submit {} poll {} cleanup {}  refused {}  {} handshakes/s",
                counts.in_phase(Phase::Submit),
                counts.in_phase(Phase::Poll),
                counts.in_phase(Phase::Cleanup),
                counts.banner_eof.load(Relaxed),
                // A round's counts begin at 0.
                now.saturating_sub(handshakes) * u64::from(REDRAWS_PER_S),
            )
        };
        bar.set_message(if under_test { client } else { message() });
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
