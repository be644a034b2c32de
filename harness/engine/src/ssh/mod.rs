//! SSH as the harness sees it: the `Connector`/`Session` seam, russh behind it, a byte-level stream tap and
//! the classification of every failure. Must not know scenarios, targets or reports.
//!
//! `command` is what the strategies may ask for, `tap` watches the bytes of one connection, `classify` turns what it saw
//! into the one outcome of the attempt. `client` is the real connector: `socket` and `tcp_info` are its sockets, `shell`
//! its commands' text, `held` its connections that stay silent; `keys` makes and reads keys.

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use sshchurn_core::vocabulary::{AttemptOutcome, Close, CommandOutcome};

pub mod classify;
mod client;
mod command;
mod held;
pub mod keys;
mod shell;
mod socket;
mod tap;
mod tcp_info;
mod work;

pub use classify::{Severity, severity_of_attempt, severity_of_command};
pub use client::{ClientError, RusshConnector, RusshSession};
pub use command::{Captured, Command, CommandOutput, Job, JobWork, OUTPUT_LIMIT};
pub use held::HeldConnection;
pub use shell::quoted;
pub(crate) use shell::{log_pieces, log_share};
pub use tap::Tap;
pub use work::ClientWork;

/// How one connection attempt is made: its deadlines, and what the client does between the stages.
#[derive(Debug, Clone)]
pub struct ConnectLimits {
    /// For the TCP connect, from the call of `connect()`.
    pub connect: Duration,
    /// For the identification string, from the established TCP connection.
    pub banner: Duration,
    /// For key exchange and authentication, from the identification string.
    pub login: Duration,
    /// For all of it, from the call of `connect()`; `None` is no bound but those above.
    pub whole: Option<Duration>,
    /// Source address to bind to; `None` leaves the choice to the kernel.
    pub source: Option<IpAddr>,
    /// Keepalive interval of the established connection; `None` is off.
    pub keepalive: Option<Duration>,
    /// Whether it asks which methods there are (the `none` request of RFC 4252, 5.2) before it offers its key. asyncssh,
    /// OpenSSH's `ssh` and Go's client do, paramiko does not. sshd takes at least 5 ms over the answer
    /// (auth2.c:ensure_minimum_time_since), in which the connection keeps its startup slot.
    pub asks_methods: bool,
    /// Whether it offers a key that no server has ever seen, so that its login fails.
    pub unknown_key: bool,
    /// What the client has to do for it; `None` is what our own code takes.
    pub work: Option<ClientWork>,
}

impl ConnectLimits {
    /// So long for each stage, and nothing else.
    #[must_use]
    pub const fn within(each: Duration) -> Self {
        ConnectLimits {
            connect: each,
            banner: each,
            login: each,
            whole: None,
            source: None,
            keepalive: None,
            asks_methods: false,
            unknown_key: false,
            work: None,
        }
    }
}

/// Makes connections: the one seam between the strategies and the network. Strategies see this, a clock and
/// their seeded draws, never a socket; tests put a scripted connector behind it.
pub trait Connector: Send + Sync + 'static {
    /// An established, authenticated connection.
    type Session: Session;
    /// A connection that was admitted and then kept silent.
    type Held: Held;

    /// Makes everything ready that can be made ready before the barrier (a socket), so that the first
    /// `connect` starts with the `connect()` call itself.
    ///
    /// # Errors
    /// The generator fault that prevents it.
    fn prepare(&self) -> Result<(), AttemptOutcome>;

    /// Connects and authenticates; stage instants, bytes and texts go into `tap`.
    ///
    /// # Errors
    /// The outcome of the attempt: any but `Handshake` and `Interrupted`.
    fn connect(
        &self,
        limits: &ConnectLimits,
        tap: &Tap,
    ) -> impl Future<Output = Result<Self::Session, AttemptOutcome>> + Send;

    /// Connects, sends nothing, and waits for the server's identification string: the connection then occupies a
    /// startup slot until it is dropped or the server's `LoginGraceTime` ends it.
    ///
    /// # Errors
    /// The outcome of the attempt: any but `Handshake`, `Held` and `Interrupted`.
    fn hold(
        &self,
        limits: &ConnectLimits,
        tap: &Tap,
    ) -> impl Future<Output = Result<Self::Held, AttemptOutcome>> + Send;

    /// Breaks the silence of a connection: key exchange and login, within `limits.login` from now. The server gives the
    /// startup slot back then, and counts nothing against the client.
    ///
    /// # Errors
    /// The outcome of the attempt: any but `Handshake`, `Held` and `Interrupted`.
    fn log_in(
        &self,
        held: Self::Held,
        limits: &ConnectLimits,
        tap: &Tap,
    ) -> impl Future<Output = Result<Self::Session, AttemptOutcome>> + Send;
}

/// A connection that was admitted and then kept silent. Dropping it closes it.
pub trait Held: Send + 'static {
    /// Waits until the server ends the connection, and says how the attempt ended then; for ever if it does not.
    fn ended(&mut self) -> impl Future<Output = AttemptOutcome> + Send;
}

/// An established, authenticated connection. Dropping it abandons it, as a killed client process would.
pub trait Session: Send + Sync + 'static {
    /// Runs one command through an exec request without a PTY and waits for its end. Several may run at once, each on a
    /// channel of its own.
    ///
    /// # Errors
    /// Any command outcome but `Completed` and `Interrupted`.
    fn run(
        &self,
        command: Command<'_>,
        within: Duration,
    ) -> impl Future<Output = Result<CommandOutput, CommandOutcome>> + Send;

    /// Waits until the server has answered a request that every server answers (RFC 4254, 4), and says whether it has.
    fn answers(&self, within: Duration) -> impl Future<Output = bool> + Send;

    /// How the server ended the connection, when it has.
    fn lost(&self) -> Option<Close>;

    /// Closes in good order (`SSH_MSG_DISCONNECT`, then FIN), waiting a bounded time for it.
    fn close(self) -> impl Future<Output = ()> + Send;
}

#[cfg(test)]
mod tests;
