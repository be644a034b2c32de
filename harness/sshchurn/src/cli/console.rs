//! The console: results on stdout, everything else on stderr. The only place that prints.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::error::CliError;

/// Prints. Cheap to clone.
#[derive(Clone)]
pub(super) struct Console {
    live: Arc<Mutex<Option<ProgressBar>>>,
    progress: bool,
    colour: bool,
}

impl Console {
    pub(super) fn new() -> Self {
        Console {
            live: Arc::new(Mutex::new(None)),
            progress: io::stderr().is_terminal(),
            colour: takes_colour(&io::stdout()),
        }
    }

    /// The same console without a live display.
    pub(super) fn without_progress(mut self) -> Self {
        self.progress = false;
        self
    }

    /// Whether stdout takes colour.
    pub(super) fn colour(&self) -> bool {
        self.colour
    }

    /// A result. A closed pipe (`| head`) is the reader's choice; a full disk is an error, and whoever reads half a
    /// document must not take the exit code for its.
    pub(super) fn result(&self, text: &str) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        let end = if text.ends_with('\n') { "" } else { "\n" };
        let written = stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.write_all(end.as_bytes()))
            .and_then(|()| stdout.flush());
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::Output(error)),
            _ => Ok(()),
        }
    }

    /// A message for the person at the terminal.
    pub(super) fn note(&self, text: &str) {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let print = || {
            let _ = writeln!(io::stderr().lock(), "{text}");
        };
        match &*live {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Starts the live display of one round of `tasks`.
    pub(super) fn start_round(&self, tasks: u32) -> Live {
        let bar = self.progress.then(|| {
            let bar =
                ProgressBar::with_draw_target(Some(u64::from(tasks)), ProgressDrawTarget::stderr());
            // The template is fixed, so that it parses is a matter of the unit test below.
            if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
                bar.set_style(style);
            }
            bar
        });
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = bar.clone();
        Live {
            console: self.clone(),
            bar,
        }
    }
}

/// Whether to write colours there (https://no-color.org: any non-empty value is a no).
pub(super) fn takes_colour(stream: &impl IsTerminal) -> bool {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !no_colour
}

const TEMPLATE: &str = "{prefix} [{bar:24}] {pos}/{len} tasks  {msg}";

/// The live display of one round; gone when dropped.
pub(super) struct Live {
    console: Console,
    bar: Option<ProgressBar>,
}

impl Live {
    pub(super) fn show(&self, prefix: &str, ended: u64, counts: String) {
        if let Some(bar) = &self.bar {
            bar.set_prefix(prefix.to_owned());
            bar.set_position(ended);
            bar.set_message(counts);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        *self
            .console
            .live
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
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
