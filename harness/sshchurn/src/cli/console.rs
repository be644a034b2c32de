//! The console: results on stdout, everything else on stderr. The only place that prints.
//!
//! Owns the words for what a session tells.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::ledger::RoundEnd;
use sshchurn_report::format::{Format, Screen};
use sshchurn_report::write_file;

use super::error::CliError;
use super::live::RoundDisplay;
use crate::session::{DRAIN_WITHIN, Notice, Observer, RoundTitle, SignalAnswer, SweepProgress};

/// Prints. Cheap to clone.
#[derive(Clone)]
pub(super) struct Console {
    live: Arc<Mutex<Option<RoundDisplay>>>,
    /// How long the rounds so far took.
    took: Arc<Mutex<Vec<Duration>>>,
    progress: bool,
    /// Of each run, only what goes wrong is told.
    terse: bool,
    /// Nothing is told but that something went wrong.
    quiet: bool,
    colour: bool,
}

impl Console {
    pub(super) fn new(quiet: bool) -> Self {
        Console {
            live: Arc::new(Mutex::new(None)),
            took: Arc::default(),
            progress: !quiet && io::stderr().is_terminal(),
            terse: false,
            quiet,
            colour: takes_colour(&io::stdout()),
        }
    }

    /// The same console without a live display.
    pub(super) fn without_progress(mut self) -> Self {
        self.progress = false;
        self
    }

    /// The same console for a command of many runs, which says of each what it came to.
    pub(super) fn terse(mut self) -> Self {
        self.terse = true;
        self
    }

    /// What stdout is, where it is a terminal; a report that nobody looks at there is as a file's.
    fn screen(&self) -> Screen {
        let columns = match terminal_size::terminal_size_of(io::stdout()) {
            Some((terminal_size::Width(columns), _)) => columns,
            None => Screen::FILE.columns,
        };
        Screen {
            colour: self.colour,
            columns,
        }
    }

    /// Shows a document: on stdout, or in the file that was asked for.
    pub(super) fn show<D>(
        &self,
        document: &D,
        format: &Format<D>,
        out: Option<&Path>,
    ) -> Result<(), CliError> {
        let screen = match out {
            Some(_) => Screen::FILE,
            None => self.screen(),
        };
        let text = format.render(document, screen);
        match format.name {
            "text" => self.put_prose(&text, out),
            _ => self.put(&text, out),
        }
    }

    /// What people read; on a terminal, sentences are broken between words.
    pub(super) fn put_prose(&self, text: &str, out: Option<&Path>) -> Result<(), CliError> {
        match out.is_none() && io::stdout().is_terminal() {
            true => self.result(&wrapped(text, self.screen().columns)),
            false => self.put(text, out),
        }
    }

    /// Puts a text on stdout, or into the file that was asked for.
    fn put(&self, text: &str, out: Option<&Path>) -> Result<(), CliError> {
        let Some(path) = out else {
            return self.result(text);
        };
        write_file(path, text.as_bytes())?;
        self.aside(&format!("written: {}", path.display()));
        Ok(())
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

    /// What is good to know, and nothing that anybody has to act on.
    pub(super) fn aside(&self, text: &str) {
        if !self.quiet {
            self.note(text);
        }
    }

    /// A message for the person at the terminal.
    pub(super) fn note(&self, text: &str) {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let text = match terminal_size::terminal_size_of(io::stderr()) {
            Some((terminal_size::Width(columns), _)) => wrapped(text, columns),
            None => format!("{text}\n"),
        };
        let print = || {
            let _ = write!(io::stderr().lock(), "{text}");
        };
        match &*live {
            Some(display) => display.suspend(print),
            None => print(),
        }
    }

    /// How long a round and those after it may take, by the mean of those before it.
    fn left(&self, title: &RoundTitle) -> Option<Duration> {
        let took = self.took.lock().unwrap_or_else(PoisonError::into_inner);
        let done = u32::try_from(took.len()).ok().filter(|done| *done > 0)?;
        let of = u32::try_from(title.of).unwrap_or(u32::MAX);
        Some(took.iter().sum::<Duration>() / done * of.saturating_sub(done))
    }

    fn display(&self, display: Option<RoundDisplay>) {
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = display;
    }
}

impl Observer for Console {
    fn notice(&self, notice: Notice) {
        if let Notice::ScenarioBegins { .. } = notice {
            let mut took = self.took.lock().unwrap_or_else(PoisonError::into_inner);
            took.clear();
        }
        match notice {
            Notice::ServerLost(_)
            | Notice::LedgerLost
            | Notice::Interrupted(_)
            | Notice::ReportGivenUp(_) => {}
            _ if self.quiet => return,
            _ => {}
        }
        match notice {
            Notice::ScenarioBegins { .. } | Notice::ServerReady(_) | Notice::Warning(_)
                if self.terse => {}
            Notice::RoundEnded { .. } if self.terse => self.display(None),
            Notice::ScenarioBegins { name, description } => self.note(&match &*description {
                "" => format!("scenario {name}"),
                description => format!("scenario {name}: {description}"),
            }),
            Notice::ServerBeingMade(step) => self.note(&step),
            Notice::ServerReady(server) => self.note(&format!("target: {}", server.choice)),
            Notice::Warning(text) => self.note(&format!("warning: {text}")),
            Notice::RoundStarted { title, live } => {
                if self.progress {
                    let left = self.left(&title);
                    self.display(Some(RoundDisplay::start(&title, live, left)));
                }
            }
            // One line for each round, also where there is no live display.
            Notice::RoundEnded {
                title,
                counts,
                end,
                took,
            } => {
                self.display(None);
                self.took
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(took);
                let attempts = counts
                    .attempts
                    .map(|(attempts, refused)| format!(", {attempts} attempts, {refused} refused"));
                self.note(&format!(
                    "{title}: {} of {} tasks succeeded{}, {:.1} s{}",
                    counts.tasks_succeeded,
                    title.tasks,
                    attempts.unwrap_or_default(),
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
            Notice::RoundRecorded { .. } => {}
            Notice::ClimbEnded {
                climb,
                held,
                tries: (tries, refused),
                after,
            } => self.note(&format!(
                "climb {climb}: {held} held, {refused} of {tries} connections refused, {:.1} s since the beginning",
                after.as_secs_f64()
            )),
            Notice::ServerLost(death) => self.note(&format!("error: {death}")),
            Notice::LedgerLost => self.display(None),
            Notice::Interrupted(answer) => self.answered(answer),
            Notice::SweepRunStarted { run, number, of } => {
                self.note(&format!("run {number} of {of}: {run}"));
            }
            Notice::SweepRunEnded(progress) => self.note(&swept(&progress)),
            Notice::ReportGivenUp(directory) => self.note(&format!(
                "no report was written; `sshchurn report {}` computes it",
                directory.display()
            )),
        }
    }
}

impl Console {
    /// What a signal has led to.
    fn answered(&self, answer: SignalAnswer) {
        match answer {
            SignalAnswer::EndsWithoutReport => {
                self.note("stopping now; this run has measured nothing yet and gets no report");
            }
            SignalAnswer::Drains => self.note(&format!(
                "interrupted: letting running tasks finish (at most {} s); press Ctrl-C again to stop now",
                DRAIN_WITHIN.as_secs()
            )),
            SignalAnswer::Aborts => self.note("stopping now; the partial report follows"),
            SignalAnswer::ReportGoesOn => self
                .note("still writing the report; press Ctrl-C again to skip it"),
            // Whoever waits for the report says what is missing.
            SignalAnswer::ReportGivenUp => {}
            SignalAnswer::EndsAfterSweepRun => self.note(
                "interrupted: the sweep stops after the run under way; press Ctrl-C again to give that up and stop now",
            ),
            SignalAnswer::AbandonsSweepRun => {
                self.note("stopping now; the run under way is given up, the others are recorded");
            }
        }
    }
}

/// How a run of a sweep ended, and how long the others may take.
fn swept(progress: &SweepProgress) -> String {
    let SweepProgress {
        run,
        done,
        of,
        exit,
        error,
        took,
        left: (left, timed),
    } = progress;
    let ended = match (exit, error) {
        (_, Some(error)) => format!("could not be run: {error}"),
        (ExitCode::Success, None) => format!("{:.1} s", took.as_secs_f64()),
        (ExitCode::GateFailed, None) => {
            format!("{:.1} s, a threshold does not hold", took.as_secs_f64())
        }
        (other, None) => format!(
            "{:.1} s, could not measure (exit code {})",
            took.as_secs_f64(),
            other.code()
        ),
    };
    let left = match (of - done, timed) {
        (0, _) => String::new(),
        (runs, 1) => format!("; {runs} left, {} if each takes as long", span(*left)),
        (runs, timed) => format!(
            "; {runs} left, {} if each takes the median of these {timed}",
            span(*left)
        ),
    };
    format!("{done} of {of} done ({run}): {ended}{left}")
}

/// A time that is only a guess.
fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..100 => format!("some {} s", seconds.max(1)),
        seconds @ 100..6000 => format!("some {} min", (seconds + 30) / 60),
        seconds => format!(
            "some {:.1} h",
            Duration::from_secs(seconds).as_secs_f64() / 3600.0
        ),
    }
}

/// The text with its sentences broken between words, further lines of one indented a little. What is laid out in columns stays as it is.
fn wrapped(text: &str, columns: u16) -> String {
    let columns = usize::from(columns);
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let body = line.trim_start();
        let indent = &line[..line.len() - body.len()];
        let laid_out = body.contains("  ") || body.contains(['─', '│', '|']);
        if laid_out || textwrap::core::display_width(line) <= columns {
            out.push_str(line);
        } else {
            let further = format!("{indent}  ");
            let options = textwrap::Options::new(columns)
                .initial_indent(indent)
                .subsequent_indent(&further)
                .word_separator(textwrap::WordSeparator::AsciiSpace)
                .word_splitter(textwrap::WordSplitter::NoHyphenation)
                .break_words(false);
            out.push_str(&textwrap::fill(body, options));
        }
        out.push('\n');
    }
    out
}

/// Whether to write colours there (https://no-color.org: any non-empty value is a no).
pub(super) fn takes_colour(stream: &impl IsTerminal) -> bool {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !no_colour
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_broken_between_words_and_tables_are_not() {
        let sentence = "  one two three four five six";
        assert_eq!(
            wrapped(sentence, 16),
            "  one two three\n    four five\n    six\n"
        );
        let table = "attempts      120    240\n─────────────────────────\n";
        assert_eq!(wrapped(table, 16), table);
        // Colour takes no room, and what is one word stays one.
        let coloured = "\u{1b}[1mone two three\u{1b}[0m";
        assert_eq!(wrapped(coloured, 16), format!("{coloured}\n"));
        assert_eq!(
            wrapped("/a/path/of/twenty/letters", 16),
            "/a/path/of/twenty/letters\n"
        );
    }
}
