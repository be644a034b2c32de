//! Bytes to lines, in chunks of any size.
//!
//! Owns the line buffer and its bound; the wording of lines is `line`'s and `message`'s.

use std::borrow::Cow;

/// Longest line kept. sshd cuts its messages at 1024 bytes (log.c `MSGBUFSIZ`); what is longer is no sshd
/// line, is cut here and still counted as one line.
pub const MAX_LINE_BYTES: usize = 8 * 1024;

/// Splits one log into lines while it grows.
#[derive(Debug)]
pub struct LogLines {
    partial: Vec<u8>,
    longest: usize,
}

impl Default for LogLines {
    fn default() -> Self {
        Self::new()
    }
}

impl LogLines {
    /// At the beginning of a log.
    #[must_use]
    pub fn new() -> Self {
        Self::up_to(MAX_LINE_BYTES)
    }

    /// At the beginning of a log whose lines carry more than sshd's words; what is longer than `longest` bytes is cut.
    #[must_use]
    pub fn up_to(longest: usize) -> Self {
        LogLines {
            partial: Vec::new(),
            longest,
        }
    }

    /// Takes the next bytes of the log and hands every line they complete to `sink`. Blank lines are skipped.
    pub fn feed(&mut self, mut chunk: &[u8], mut sink: impl FnMut(&str)) {
        if !self.partial.is_empty() {
            let Some(end) = memchr::memchr(b'\n', chunk) else {
                return self.keep(chunk);
            };
            self.keep(&chunk[..end]);
            emit(&self.partial, self.longest, &mut sink);
            self.partial.clear();
            chunk = &chunk[end + 1..];
        }
        let whole = memchr::memrchr(b'\n', chunk).map_or(0, |last| last + 1);
        let (lines, partial) = chunk.split_at(whole);
        // Looked at all together: line by line it takes several times as long.
        let clean = std::str::from_utf8(lines).ok();
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', lines) {
            match clean.map(|clean| clean[from..end].trim_ascii_end()) {
                Some("") => {}
                Some(line) if line.len() <= self.longest => sink(line),
                _ => emit(&lines[from..end], self.longest, &mut sink),
            }
            from = end + 1;
        }
        self.keep(partial);
    }

    /// Hands out a last line that has no line end, as a killed server or a cut log leaves it, and starts over.
    /// Returns whether there was one.
    pub fn finish(&mut self, mut sink: impl FnMut(&str)) -> bool {
        let cut = !self.partial.is_empty();
        emit(&self.partial, self.longest, &mut sink);
        self.partial.clear();
        cut
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.longest.saturating_sub(self.partial.len());
        self.partial
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

fn emit(line: &[u8], longest: usize, sink: &mut impl FnMut(&str)) {
    let line = &line[..line.len().min(longest)];
    // -E and -e lines end in CR LF (log.c:do_log), syslog's in LF.
    let line = line.trim_ascii_end();
    if line.is_empty() {
        return;
    }
    // sshd escapes everything else with strnvis(3); other bytes mean another writer in the same file. The lossy
    // reading alone would look at every byte of every line by itself.
    let text = match std::str::from_utf8(line) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(line),
    };
    sink(&text);
}
