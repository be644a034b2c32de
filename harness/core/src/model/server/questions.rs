//! What can be asked of the simulated server, and what it answers and notes.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::instant::RunInstant;

/// Which client asks, and its how-manieth question this is: events of one instant come in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asker {
    /// The client, from 0.
    pub client: u32,
    /// Its question, from 0.
    pub question: u32,
}

/// A connection of the simulated server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub(super) u32);

/// Something that was asked and not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Question(NonZeroU32);

impl Question {
    /// The one in that place.
    pub(super) fn at(place: u32) -> Self {
        Question(NonZeroU32::MIN.saturating_add(place))
    }

    /// Its place: places of answered questions are used again.
    #[must_use]
    pub fn index(self) -> usize {
        self.place() as usize
    }

    pub(super) fn place(self) -> u32 {
        self.0.get() - 1
    }
}

/// How a client connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dial {
    /// It stays silent once it has the identification string.
    pub silent: bool,
    /// It asks first which methods there are.
    pub asks_methods: bool,
    /// Its key is unknown to the server.
    pub unknown_key: bool,
    /// Its deadlines.
    pub within: Deadlines,
    /// What the client does between the stages, beside what our own code takes; it does not share the server's cores.
    pub own_work: Option<OwnWork>,
    /// Where it comes from.
    pub peer: Peer,
}

/// Work of a client that has few threads: its connections wait for one, first come first served. It is done in four parts: before
/// the key exchange, after it, after the methods were named, and once logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnWork {
    /// One part, nanoseconds.
    pub part_ns: u64,
    /// Threads of all clients together.
    pub threads: u32,
}

/// How long a client waits for each stage; `None` waits for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deadlines {
    /// For the TCP connection.
    pub connect: Option<Duration>,
    /// For the identification string, from then on.
    pub banner: Option<Duration>,
    /// For key exchange and login, from then on.
    pub login: Option<Duration>,
    /// For all of it.
    pub whole: Option<Duration>,
}

/// The instants of an attempt, as the client sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamps {
    /// The TCP connection stood.
    pub connected: When,
    /// The identification string was there.
    pub identified: When,
    /// The keys were exchanged.
    pub keyed: When,
    /// The login was done.
    pub authenticated: When,
}

/// An instant, or never: in half the room of an `Option`, since there may be a million answers at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When(u64);

impl When {
    /// It has not come.
    pub const NEVER: When = When(u64::MAX);

    /// An instant, in nanoseconds.
    #[must_use]
    pub fn at(instant: u64) -> Self {
        When(instant)
    }

    /// The instant in nanoseconds, if it has come.
    #[must_use]
    pub fn get(self) -> Option<u64> {
        (self.0 != u64::MAX).then_some(self.0)
    }

    /// The same as an instant of the run.
    #[must_use]
    pub fn instant(self) -> Option<RunInstant> {
        self.get().map(RunInstant)
    }

    pub(super) fn take(&mut self) -> Option<u64> {
        std::mem::take(self).get()
    }
}

impl Default for When {
    fn default() -> Self {
        When::NEVER
    }
}

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Logged in, or, of a silent client, let in.
    In(ConnectionId),
    /// Refused by the admission rule, before the identification string. `reset` where the client had spoken before: closing a socket
    /// with something unread in it sends an RST (RFC 2525, 2.17).
    Refused {
        /// By RST, not by FIN.
        reset: bool,
    },
    /// The login was refused.
    Rejected,
    /// A deadline of the client's has passed.
    TimedOut,
    /// The server has ended the connection (`LoginGraceTime`).
    Lost,
    /// The command ran.
    Ran,
    /// The connection has as many sessions as it may have (`MaxSessions`).
    ChannelRefused,
}

/// The client's end of a connection, as sshd logs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The address it comes from, IPv4 as a number: limits per source count by it.
    pub source: u32,
    /// The port.
    pub port: u16,
}

/// What sshd logs, and what its gauge shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// A connection has a process of its own.
    Connection(Peer),
    /// One was refused; so many slots were in use before it.
    Dropped(Peer, u32),
    /// One has logged in.
    Accepted(Peer),
    /// A login was refused.
    Failed(Peer),
    /// One ran into `LoginGraceTime`.
    GraceTimeout(Peer),
    /// The client was gone before it had logged in.
    Closed(Peer),
    /// So many slots are in use.
    Slots(u32),
}
