//! The stream tap: stands between the socket and the SSH library and records what the bytes did.
//!
//! Libraries fold a refusal into a bare "disconnected"; the tap keeps the instants, the identification
//! line, text before it (RFC 4253 section 4.2), and whether the stream ended in FIN or in an error. It
//! must not interpret: that is `classify`'s work.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::clock::RunClock;
use sshchurn_core::instant::RunInstant;
use sshchurn_core::reading::TcpReading;
use sshchurn_core::socket_error::SocketError;
use sshchurn_core::vocabulary::AttemptTrace;

/// Text before the identification line is kept up to this many bytes; sshd's refusals are at most 26.
const TEXT_LIMIT: usize = 1024;
/// RFC 4253 section 4.2: the identification string is at most 255 bytes; the rest is slack for bad peers.
const LINE_LIMIT: usize = 1024;

/// What is known of one connection attempt. Cheap to clone; every clone sees the same attempt.
pub struct Tap {
    clock: RunClock,
    /// Made when there is something to say, or somebody to share it with: a simulated burst keeps a million taps of which there is
    /// neither.
    seen: OnceLock<Arc<Seen>>,
}

impl Clone for Tap {
    fn clone(&self) -> Self {
        Tap {
            clock: self.clock.clone(),
            seen: OnceLock::from(Arc::clone(self.seen())),
        }
    }
}

#[derive(Default)]
struct Seen {
    identified: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    trace: AttemptTrace,
    /// Bytes of the current line, until the identification line is complete.
    line: Vec<u8>,
    /// Set once the client itself ends the connection: what the stream does then is no news.
    ended_by_client: bool,
}

impl Tap {
    /// A tap for one attempt.
    #[must_use]
    pub fn new(clock: RunClock) -> Self {
        Tap {
            clock,
            seen: OnceLock::new(),
        }
    }

    /// Everything recorded so far.
    #[must_use]
    pub fn trace(&self) -> AttemptTrace {
        self.state().trace.clone()
    }

    /// Bytes received and sent so far.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        let state = self.state();
        (state.trace.bytes_in, state.trace.bytes_out)
    }

    /// The run clock, as the tap stamps with it.
    #[must_use]
    pub fn now(&self) -> RunInstant {
        self.clock.now()
    }

    /// Stamps the call of `connect()`.
    pub fn connect_called(&self) {
        let now = self.now();
        self.state().trace.connect_called = Some(now);
    }

    /// Notes the source address that was chosen, where the kernel did not choose it.
    pub fn bound_to(&self, source: IpAddr) {
        self.state().trace.local_address = Some(source);
    }

    /// Notes what the call of `connect()` took.
    pub fn bound(&self, local: SocketAddr) {
        let trace = &mut self.state().trace;
        // The kernel says 0 where the call failed before it took one.
        trace.local_port = (local.port() != 0).then_some(local.port());
        if !local.ip().is_unspecified() {
            trace.local_address = Some(local.ip());
        }
    }

    /// Stamps the established TCP connection.
    pub fn connected(&self) {
        let now = self.now();
        self.state().trace.connected = Some(now);
    }

    /// Notes what the kernel said of the socket, the last time before it was let go.
    pub fn measured(&self, reading: Option<TcpReading>) {
        self.state().trace.tcp = reading;
    }

    /// Takes down what nobody had to watch a stream for.
    pub(crate) fn tell(&self, told: impl FnOnce(&mut AttemptTrace)) {
        told(&mut self.state().trace);
    }

    /// Whether the attempt has become a connection.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.state().trace.authenticated.is_some()
    }

    /// Stamps the end of the key exchange.
    pub fn keyed(&self) {
        let now = self.now();
        self.state().trace.keyed = Some(now);
    }

    /// Stamps successful authentication.
    pub fn authenticated(&self) {
        let now = self.now();
        self.state().trace.authenticated = Some(now);
    }

    /// Stamps the moment the outcome was known, once.
    pub fn ended(&self) {
        let now = self.now();
        self.state().trace.ended.get_or_insert(now);
    }

    /// Notes that the client ends the connection: later ends of the stream are its own doing.
    pub fn ending(&self) {
        self.state().ended_by_client = true;
    }

    /// Waits until the identification line is complete; for ever if it never is.
    pub async fn identified(&self) {
        loop {
            let notified = self.seen().identified.notified();
            if self.state().trace.identified.is_some() {
                return;
            }
            notified.await;
        }
    }

    /// Records bytes that arrived.
    pub fn received(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let now = self.now();
        let mut state = self.state();
        state.trace.bytes_in += bytes.len() as u64;
        state.trace.first_byte.get_or_insert(now);
        if state.trace.identified.is_none() {
            state.read_lines(bytes, now);
            if state.trace.identified.is_some() {
                drop(state);
                self.seen().identified.notify_waiters();
            }
        }
    }

    /// Records bytes that were sent.
    pub fn sent(&self, bytes: usize) {
        self.state().trace.bytes_out += bytes as u64;
    }

    /// Records the server's FIN.
    pub fn end_of_file(&self) {
        let mut state = self.state();
        if !state.ended_by_client && state.trace.errno.is_none() {
            state.trace.saw_eof = true;
            state.keep_partial_line();
        }
    }

    /// Records the first error of the stream.
    pub fn failed(&self, error: &io::Error) {
        let mut state = self.state();
        if state.ended_by_client || state.trace.saw_eof || state.trace.errno.is_some() {
            return;
        }
        state.trace.errno = Some(socket_error(error));
        state.keep_partial_line();
    }

    fn seen(&self) -> &Arc<Seen> {
        self.seen.get_or_init(Arc::default)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = &self.seen().state;
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Splits what arrives before the identification line into lines (RFC 4253 section 4.2: other lines may come first).
    fn read_lines(&mut self, bytes: &[u8], now: RunInstant) {
        for &byte in bytes {
            if byte != b'\n' {
                if self.line.len() < LINE_LIMIT {
                    self.line.push(byte);
                }
                continue;
            }
            let mut line = std::mem::take(&mut self.line);
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            let text = String::from_utf8_lossy(&line);
            if line.starts_with(b"SSH-") {
                self.trace.identification = Some(text.into_owned());
                self.trace.identified = Some(now);
                return;
            }
            self.add_text(&text);
        }
    }

    /// A last line without line end is text too (a peer may close in the middle of one).
    fn keep_partial_line(&mut self) {
        if self.trace.identified.is_none() && !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.add_text(&String::from_utf8_lossy(&line));
        }
    }

    fn add_text(&mut self, text: &str) {
        let before = self.trace.text_before.get_or_insert_default();
        if before.len() < TEXT_LIMIT {
            if !before.is_empty() {
                before.push('\n');
            }
            before.push_str(text.trim_end_matches('\r'));
        }
    }
}

/// The operating system's error; the error kind where there is no number.
pub(super) fn socket_error(error: &io::Error) -> SocketError {
    SocketError::from(match error.raw_os_error() {
        Some(number) => format!("{:?}", Errno::from_raw(number)),
        None => format!("{:?}", error.kind()),
    })
}

/// A TCP stream whose every byte and end goes past a [`Tap`].
pub(super) struct TappedStream {
    stream: Arc<TcpStream>,
    tap: Tap,
}

impl TappedStream {
    pub(super) fn new(stream: Arc<TcpStream>, tap: Tap) -> Self {
        TappedStream { stream, tap }
    }

    /// After a failed write the server's last words may still lie in the receive queue (Linux keeps data that
    /// arrived before the RST): the reason for the refusal is worth one look.
    fn collect_last_words(&self) {
        let mut buffer = [0_u8; 512];
        while let Ok(count) = self.stream.try_read(&mut buffer) {
            if count == 0 {
                return;
            }
            self.tap.received(&buffer[..count]);
        }
    }

    fn note_write_error(&self, error: &io::Error) {
        self.collect_last_words();
        self.tap.failed(error);
    }
}

impl AsyncRead for TappedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match self.stream.try_read(buf.initialize_unfilled()) {
                Ok(0) => {
                    self.tap.end_of_file();
                    return Poll::Ready(Ok(()));
                }
                Ok(count) => {
                    self.tap.received(&buf.initialize_unfilled()[..count]);
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.tap.failed(&error);
                    return Poll::Ready(Err(error));
                }
            }
        }
    }
}

impl AsyncWrite for TappedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_write(buf) {
                Ok(count) => {
                    self.tap.sent(count);
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.note_write_error(&error);
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A peer that is already gone makes this fail, which is no news.
        let _ = socket2::SockRef::from(&*self.stream).shutdown(std::net::Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}
