//! sshd's log, followed: a file that somebody else appends to is read from the last offset on, line by line.
//!
//! The one implementation for every kind of server whose log is a file here. Owns the offset, the thread and the proof
//! that the file goes on where it was left. sshd writes to the file and to nothing else: a reader that falls behind, or
//! is stopped, is never in the way of its accept loop. Must not know what its lines mean.

use sshchurn_core::analysis::summary::LOG_READ_EVERY_NS;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sshchurn_core::server_log::LogLines;
use tokio::sync::oneshot;

use crate::docker::LogSpool;
use crate::external_log::LogMark;

/// Between two readings of a log that has been read to its end.
const EVERY: Duration = Duration::from_nanos(LOG_READ_EVERY_NS);
/// Bytes of one reading; with the line in hand, all the memory a log takes.
const PIECE: usize = 64 * 1024;
/// Bytes before the offset that are read again each time: where they differ, it is another file, or emptied and refilled.
const OVERLAP: usize = 64;
/// How long a line may lack its end before it is taken for cut off. sshd writes a line in one call (log.c, `do_log`), but
/// one that crosses a page of the cache may be seen in halves.
const LINE_WITHIN: Duration = Duration::from_millis(100);
/// Lines of a log shown when a server did not come up or died.
const LAST_LINES: usize = 10;
/// The most that is read to find them.
const LAST_BYTES: u64 = 16 * 1024;

/// Why a part of the server's log is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogLost {
    /// The file became shorter, other bytes stand where it was read, or another file has its name.
    #[error(
        "sshd's log does not go on after the {read_bytes} bytes that were read of it: somebody emptied or replaced it, \
         and what it had to say of this round is lost"
    )]
    Replaced {
        /// Bytes read before that.
        read_bytes: u64,
    },
    /// The reader has ended: the file cannot be read any more.
    #[error("sshd's log can no longer be read, and what it had to say of this round is lost")]
    Ended,
    /// The user's command that prints the log has ended.
    #[error(
        "the log command ended before the run did ({how}), and what the log had to say from then on is lost"
    )]
    CommandEnded {
        /// Its exit status.
        how: String,
    },
    /// A connection of our own had no line in time.
    #[error(
        "the server's log did not come as far as the end of this round: no line named a login of our own within {} s; the \
         server was full, or the log is late",
        within.as_secs()
    )]
    Late {
        /// How long it was waited for.
        within: Duration,
    },
}

/// What one reading gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// The end of the file.
    End,
    /// Some bytes, up to the end of the file as it was then.
    Some,
    /// As many as go into one piece: there is more.
    Full,
    /// It was not the file that had been read; the next reading begins at its beginning.
    Lost,
}

/// A log file and how far it was read.
#[derive(Debug)]
pub(crate) struct LogFollower {
    path: PathBuf,
    file: Option<File>,
    offset: u64,
    /// The last bytes before the offset.
    before: Vec<u8>,
    buffer: Vec<u8>,
    lines: LogLines,
    lost: Option<LogLost>,
    rotation: Rotation,
}

/// What another file of the log's name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rotation {
    /// A loss: the server goes on writing to the file that it has open.
    None,
    /// The log goes on there, once the old file is read to its end: syslog is told to open it anew.
    Expected,
    /// It has begun to go on there.
    Seen,
}

impl LogFollower {
    /// At the beginning of a file, which need not be there yet.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        LogFollower {
            path: path.into(),
            file: None,
            offset: 0,
            before: Vec::new(),
            buffer: vec![0; PIECE],
            lines: LogLines::new(),
            lost: None,
            rotation: Rotation::None,
        }
    }

    /// At the present end of a file that is there, and may be rotated.
    ///
    /// # Errors
    /// When it cannot be read.
    fn at_the_end(path: PathBuf) -> io::Result<Self> {
        // Opening a FIFO waits for its writer.
        if !fs::metadata(&path)?.is_file() {
            return Err(io::Error::other("it is no regular file; use --log-command"));
        }
        let file = File::open(&path)?;
        let mut follower = LogFollower::new(path);
        follower.rotation = Rotation::Expected;
        follower.offset = file.metadata()?.len();
        let from = follower.offset.saturating_sub(OVERLAP as u64);
        let count = read_at(&file, &mut follower.buffer[..OVERLAP], from)?;
        follower.before = follower.buffer[..count].to_vec();
        // As much as was read again is what the offset stands behind.
        follower.offset = from + count as u64;
        follower.file = Some(file);
        Ok(follower)
    }

    /// Hands on the lines that were completed since the last call.
    ///
    /// # Errors
    /// Of the file system; a file that is not there is empty.
    pub(crate) fn read_new(&mut self, sink: &mut impl FnMut(&str)) -> io::Result<()> {
        while self.read_piece(sink)? == Reading::Full {}
        Ok(())
    }

    fn read_piece(&mut self, sink: &mut impl FnMut(&str)) -> io::Result<Reading> {
        let file = match self.file.take() {
            Some(file) => file,
            None => match File::open(&self.path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Reading::End),
                Err(error) => return Err(error),
            },
        };
        let again = self.before.len();
        let count = read_at(&file, &mut self.buffer, self.offset - again as u64)?;
        let goes_on = self.buffer[..count].starts_with(&self.before);
        let at_end = goes_on && count == again;
        if at_end && self.rotation != Rotation::None {
            if self.rotation == Rotation::Seen {
                self.lines.finish(&mut *sink);
                self.offset = 0;
                self.before.clear();
                self.rotation = Rotation::Expected;
                return Ok(Reading::Full);
            }
            if length(&self.path)? > 0 && !is_at(&file, &self.path)? {
                // The old one is read once more: its last line may have come since.
                self.rotation = Rotation::Seen;
                self.file = Some(file);
                return Ok(Reading::Full);
            }
        } else if !goes_on || (at_end && !is_at(&file, &self.path)?) {
            self.lose(sink);
            return Ok(Reading::Lost);
        }
        self.file = Some(file);
        let new = &self.buffer[again..count];
        self.offset += new.len() as u64;
        self.lines.feed(new, &mut *sink);
        self.before = self.buffer[count.saturating_sub(OVERLAP)..count].to_vec();
        Ok(match count {
            _ if count == again => Reading::End,
            _ if count == self.buffer.len() => Reading::Full,
            _ => Reading::Some,
        })
    }

    /// Everything that the file held when this was called, a last line without its end included.
    fn catch_up(&mut self, sink: &mut impl FnMut(&str)) -> io::Result<Result<(), LogLost>> {
        let mut written = length(&self.path)?;
        loop {
            match self.read_piece(sink)? {
                Reading::End => break,
                // The other file of a rotation is read to its end: the length is one file's, the offset may be the other's.
                Reading::Some | Reading::Full
                    if self.rotation == Rotation::None && self.offset >= written =>
                {
                    break;
                }
                Reading::Some | Reading::Full => {}
                Reading::Lost => written = length(&self.path)?,
            }
        }
        let deadline = Instant::now() + LINE_WITHIN;
        while self.is_within_a_line() && Instant::now() < deadline {
            std::thread::sleep(EVERY);
            self.read_piece(sink)?;
        }
        if self.is_within_a_line() {
            self.lines.finish(&mut *sink);
        }
        Ok(self.lost.take().map_or(Ok(()), Err))
    }

    fn is_within_a_line(&self) -> bool {
        self.before.last().is_some_and(|byte| *byte != b'\n')
    }

    fn lose(&mut self, sink: &mut impl FnMut(&str)) {
        self.lines.finish(sink);
        if self.offset > 0 {
            self.lost.get_or_insert(LogLost::Replaced {
                read_bytes: self.offset,
            });
        }
        self.offset = 0;
        self.before.clear();
    }
}

/// As many bytes as the file has there, up to the length of the buffer.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Whether the path still leads to this file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((own.dev(), own.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Bytes of a file; none of one that is not there.
pub(crate) fn length(path: &Path) -> io::Result<u64> {
    match fs::metadata(path) {
        Ok(file) => Ok(file.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// The last lines of a log, for an error; only its end is read. Nothing where it cannot be read: there is an error to be
/// told already.
pub(crate) async fn last_lines(path: PathBuf) -> Vec<String> {
    tokio::task::spawn_blocking(move || read_last_lines(&path).unwrap_or_default())
        .await
        .unwrap_or_default()
}

pub(crate) fn read_last_lines(path: &Path) -> io::Result<Vec<String>> {
    let file = File::open(path)?;
    let from = file.metadata()?.len().saturating_sub(LAST_BYTES);
    let mut bytes = vec![0; LAST_BYTES as usize];
    let count = read_at(&file, &mut bytes, from)?;
    let text = String::from_utf8_lossy(&bytes[..count]);
    // What is cut at its beginning is no line.
    let cut = usize::from(from > 0);
    let lines: Vec<&str> = text.lines().skip(cut).collect();
    Ok(lines[lines.len().saturating_sub(LAST_LINES)..]
        .iter()
        .map(|line| (*line).to_owned())
        .collect())
}

/// A log that is being followed, from its beginning, by a thread of its own. Dropping it ends the thread.
#[derive(Debug)]
pub struct LogWatch {
    /// Closing it is the order to end.
    questions: Option<mpsc::Sender<Question>>,
    thread: Option<JoinHandle<()>>,
    spool: Option<Arc<LogSpool>>,
    /// What says how far a log is that somebody else keeps.
    mark: Option<LogMark>,
    /// The order to end, for a thread that takes no questions.
    stop: Arc<AtomicBool>,
}

/// Whether everything was handed on; the answer.
type Question = oneshot::Sender<Result<(), LogLost>>;

impl LogWatch {
    /// Follows a file. `None` when no thread can be had.
    pub(crate) fn start(path: PathBuf, sink: impl FnMut(&str) + Send + 'static) -> Option<Self> {
        LogWatch::of(LogFollower::new(path), sink)
            .inspect_err(|error| tracing::warn!(%error, "no thread for sshd's log"))
            .ok()
    }

    /// Follows a file that somebody else keeps, from its present end on and through its rotation.
    ///
    /// # Errors
    /// When the file cannot be read, or no thread be had.
    pub(crate) fn from_the_end(
        path: PathBuf,
        sink: impl FnMut(&str) + Send + 'static,
    ) -> io::Result<Self> {
        LogWatch::of(LogFollower::at_the_end(path)?, sink)
    }

    fn of(log: LogFollower, sink: impl FnMut(&str) + Send + 'static) -> io::Result<Self> {
        let (questions, asked) = mpsc::channel();
        let mut watch = LogWatch::of_thread(move |_| {
            let path = log.path.clone();
            if let Err(error) = follow(log, sink, &asked) {
                tracing::warn!(%error, log = %path.display(), "sshd's log can no longer be read");
            }
        })?;
        watch.questions = Some(questions);
        Ok(watch)
    }

    /// A thread that reads by itself until it is told to stop.
    pub(crate) fn of_thread(read: impl FnOnce(&AtomicBool) + Send + 'static) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("log".to_owned()).spawn({
            let stop = Arc::clone(&stop);
            move || read(&stop)
        })?;
        Ok(LogWatch {
            questions: None,
            thread: Some(thread),
            spool: None,
            mark: None,
            stop,
        })
    }

    /// The same where how far the log is can only be seen by a line of our own.
    pub(crate) fn marked_by(mut self, mark: LogMark) -> Self {
        self.mark = Some(mark);
        self
    }

    /// Address and port of connections that were made since the last call to see how far the log is: no attempts of the run.
    #[must_use]
    pub fn take_marks(&self) -> Vec<(IpAddr, u16)> {
        self.mark
            .as_ref()
            .map(LogMark::take_marks)
            .unwrap_or_default()
    }

    /// The same where the file is a copy that a spool keeps.
    pub(crate) fn fed_by(mut self, spool: Arc<LogSpool>) -> Self {
        self.spool = Some(spool);
        self
    }

    /// Resolves when everything that the server had written when this was called has been handed on.
    ///
    /// # Errors
    /// [`LogLost`] when something that was written before can no longer be had: once for each loss. The log is followed
    /// from its new beginning then.
    pub async fn caught_up(&self) -> Result<(), LogLost> {
        if let Some(spool) = &self.spool {
            spool.delivered().await?;
        }
        if let Some(mark) = &self.mark {
            mark.arrived().await?;
            // A command's lines are handed on as they are read: the one that was waited for was the last.
            if self.questions.is_none() {
                return Ok(());
            }
        }
        let (answer, answered) = oneshot::channel();
        self.questions
            .as_ref()
            .and_then(|questions| questions.send(answer).ok())
            .ok_or(LogLost::Ended)?;
        answered.await.unwrap_or(Err(LogLost::Ended))
    }

    /// Ends the thread: nothing is handed on any more when this returns. What was not read yet is left.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for LogWatch {
    fn drop(&mut self) {
        drop(self.questions.take());
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // It ends within one piece of the log. A sink that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

fn follow(
    mut log: LogFollower,
    mut sink: impl FnMut(&str),
    asked: &mpsc::Receiver<Question>,
) -> io::Result<()> {
    loop {
        let pause = match log.read_piece(&mut sink)? {
            Reading::Full | Reading::Lost => Duration::ZERO,
            // A writer that never rests is met every so often, not line by line.
            Reading::End | Reading::Some => EVERY,
        };
        match asked.recv_timeout(pause) {
            Ok(answer) => {
                let caught_up = log.catch_up(&mut sink)?;
                // Whoever asked may have gone.
                let _ = answer.send(caught_up);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use super::*;

    struct Log {
        folder: tempfile::TempDir,
        lines: Arc<Mutex<Vec<String>>>,
    }

    impl Log {
        fn new() -> Self {
            Log {
                folder: tempfile::tempdir().expect("a folder"),
                lines: Arc::default(),
            }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("sshd.log")
        }

        fn write(&self, text: &str) {
            let mut file = File::options()
                .create(true)
                .append(true)
                .open(self.path())
                .expect("opened");
            file.write_all(text.as_bytes()).expect("written");
        }

        fn follow(&self) -> LogWatch {
            let lines = Arc::clone(&self.lines);
            LogWatch::start(self.path(), move |line| {
                lines.lock().expect("no panic").push(line.to_owned());
            })
            .expect("a thread")
        }

        fn seen(&self) -> Vec<String> {
            self.lines.lock().expect("no panic").clone()
        }
    }

    #[tokio::test]
    async fn everything_written_before_the_question_has_been_handed_on_in_order() {
        let log = Log::new();
        let watch = log.follow();
        watch.caught_up().await.expect("a file that is to come");
        let mut wanted = Vec::new();
        for round in 0..3 {
            for line in 0..5000 {
                wanted.push(format!("round {round} line {line}"));
            }
            log.write(&format!("{}\r\n", wanted[round * 5000..].join("\r\n")));
            watch.caught_up().await.expect("all of it");
            assert_eq!(log.seen(), wanted);
        }
    }

    #[tokio::test]
    async fn lines_come_without_being_asked_for() {
        let log = Log::new();
        let (tell, told) = mpsc::channel();
        let watch = LogWatch::start(log.path(), move |line| {
            let _ = tell.send(line.to_owned());
        })
        .expect("a thread");
        log.write("one\n");
        let line = told.recv_timeout(Duration::from_secs(30)).expect("a line");
        assert_eq!(line, "one");
        watch.stop();
        assert!(told.recv().is_err(), "nothing is told after the end");
    }

    #[tokio::test]
    async fn emptied_log_is_a_loss_once_and_is_followed_from_its_new_beginning() {
        let log = Log::new();
        let watch = log.follow();
        log.write("one\ntwo\n");
        watch.caught_up().await.expect("all of it");
        File::create(log.path()).expect("emptied");
        let lost = watch.caught_up().await.expect_err("emptied");
        assert_eq!(lost, LogLost::Replaced { read_bytes: 8 });
        log.write("three\n");
        watch.caught_up().await.expect("all of it");
        assert_eq!(log.seen(), ["one", "two", "three"]);
    }

    #[tokio::test]
    async fn rotated_log_of_somebody_elses_server_loses_no_line_and_what_was_there_before_is_left_out()
     {
        let log = Log::new();
        log.write("old\n");
        let lines = Arc::clone(&log.lines);
        let watch = LogWatch::from_the_end(log.path(), move |line| {
            lines.lock().expect("no panic").push(line.to_owned());
        })
        .expect("a file");
        log.write("one\n");
        watch.caught_up().await.expect("all of it");
        let away = log.folder.path().join("sshd.log.1");
        fs::rename(log.path(), &away).expect("rotated");
        // Whoever writes it goes on in the old file until it is told.
        let mut old = File::options().append(true).open(&away).expect("opened");
        old.write_all(b"two\n").expect("written");
        watch.caught_up().await.expect("nothing is lost");
        assert_eq!(log.seen(), ["one", "two"]);
        log.write("");
        old.write_all(b"three\n").expect("written");
        watch.caught_up().await.expect("nothing is lost");
        log.write("four\n");
        watch.caught_up().await.expect("nothing is lost");
        assert_eq!(log.seen(), ["one", "two", "three", "four"]);
        // One that is emptied in its place has lost what was not read.
        File::create(log.path()).expect("emptied");
        assert!(watch.caught_up().await.is_err());
    }

    #[tokio::test]
    async fn log_that_was_emptied_and_has_grown_beyond_what_was_read_is_a_loss() {
        let log = Log::new();
        log.write("one\ntwo\n");
        let watch = log.follow();
        watch.caught_up().await.expect("all of it");
        // In one step, so that no reading falls between.
        let new = "another beginning\n";
        let file = File::options()
            .write(true)
            .open(log.path())
            .expect("opened");
        file.write_all_at(new.as_bytes(), 0).expect("written");
        assert!(watch.caught_up().await.is_err());
        assert_eq!(log.seen(), ["one", "two", "another beginning"]);
    }

    #[tokio::test]
    async fn another_file_of_the_same_name_is_a_loss_and_so_is_none() {
        let log = Log::new();
        let watch = log.follow();
        log.write("one\n");
        watch.caught_up().await.expect("all of it");
        fs::rename(log.path(), log.folder.path().join("sshd.log.1")).expect("rotated");
        log.write("two\n");
        assert!(watch.caught_up().await.is_err());
        assert_eq!(log.seen(), ["one", "two"]);
        fs::remove_file(log.path()).expect("removed");
        assert_eq!(
            watch.caught_up().await,
            Err(LogLost::Replaced { read_bytes: 4 })
        );
    }

    #[tokio::test]
    async fn line_that_a_killed_server_left_without_its_end_is_handed_on() {
        let log = Log::new();
        let watch = log.follow();
        log.write("whole\ncut o");
        watch.caught_up().await.expect("all of it");
        assert_eq!(log.seen(), ["whole", "cut o"]);
    }

    #[tokio::test]
    async fn log_that_cannot_be_read_ends_the_reader_and_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let watch = LogWatch::start(folder.path().to_path_buf(), |_| {}).expect("a thread");
        assert_eq!(watch.caught_up().await, Err(LogLost::Ended));
    }

    #[test]
    fn fifo_is_refused_and_its_writer_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("made");
        let error = LogWatch::from_the_end(path, |_| {}).expect_err("no file");
        assert!(error.to_string().contains("--log-command"), "{error}");
    }

    #[test]
    fn last_lines_are_found_without_reading_the_whole_log() {
        let log = Log::new();
        log.write(&"a line that is somewhat longer\r\n".repeat(1000));
        log.write("last\r\n");
        let lines = read_last_lines(&log.path()).expect("read");
        assert_eq!(lines.len(), LAST_LINES);
        assert_eq!(lines[0], "a line that is somewhat longer");
        assert_eq!(lines[LAST_LINES - 1], "last");
    }
}
