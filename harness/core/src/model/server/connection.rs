//! One connection as the simulated server keeps it, and what can happen to it.
//!
//! A burst keeps a million of them: instants are numbers with one that stands for "never", and how a client connects is written once
//! for all that do so alike.

use super::questions::{Asker, Deadlines, Dial, OwnWork, Peer, Question, Stamps, When};
use crate::quantity::nanoseconds;

/// Requests of a login that are about its key: whether it would do, and the signature.
pub(super) const KEY_REQUESTS: u8 = 2;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The client makes its socket.
    Dialling,
    /// Its SYN was dropped so often.
    Knocking(u8),
    /// It waits to be accepted.
    Queued,
    /// Its process starts.
    Starting,
    /// The client computes its part of the key exchange.
    ClientKeys,
    /// The server computes its own.
    ServerKeys,
    /// The client prepares to log in.
    Preparing,
    /// The server looks the client's keys up, in its so-manieth request.
    Looking(u8),
    /// It computes over the request.
    Authenticating(u8),
    /// It takes its time over the answer.
    Waiting(u8),
    /// Logged in as far as the client knows; the slot is still held.
    Releasing,
    /// Silent on purpose.
    Held,
    /// Logged in.
    Open,
    /// Its process winds up.
    Leaving,
    /// The server has ended it.
    Ended,
}

/// How clients connect that do so alike.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Manner {
    pub(super) silent: bool,
    pub(super) asks_methods: bool,
    pub(super) unknown_key: bool,
    pub(super) within: Deadlines,
    pub(super) own_work: Option<OwnWork>,
}

impl Manner {
    pub(super) fn of(dial: &Dial) -> Self {
        Manner {
            silent: dial.silent,
            asks_methods: dial.asks_methods,
            unknown_key: dial.unknown_key,
            within: dial.within,
            own_work: dial.own_work,
        }
    }

    /// Requests that a login of it consists of.
    pub(super) fn requests(&self) -> u8 {
        KEY_REQUESTS + u8::from(self.asks_methods)
    }

    pub(super) fn is_about_keys(&self, request: u8) -> bool {
        request > 0 || !self.asks_methods
    }

    /// When such a client gives up, from where its connection stands.
    pub(super) fn deadline(&self, connection: &Connection) -> Option<u64> {
        let (connected, identified) = (connection.connected.get(), connection.identified.get());
        let (from, within) = match (connected, identified) {
            (_, Some(identified)) if !self.silent => (identified, self.within.login),
            (_, Some(_)) => return None,
            (Some(connected), None) => (connected, self.within.banner),
            (None, None) => (connection.called, self.within.connect),
        };
        let stage = within.map(|within| from.saturating_add(nanoseconds(within)));
        let whole = self.within.whole;
        let whole = whole.map(|within| connection.called.saturating_add(nanoseconds(within)));
        stage.into_iter().chain(whole).min()
    }
}

#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) asker: Asker,
    pub(super) peer: Peer,
    /// Whom to tell.
    pub(super) question: Option<Question>,
    pub(super) called: u64,
    pub(super) connected: When,
    pub(super) identified: When,
    pub(super) keyed: When,
    pub(super) authenticated: When,
    /// When its request reached the server; before that, its identification string.
    pub(super) asked: u64,
    /// Since when it has a startup slot.
    pub(super) slot: When,
    /// What this connection's work takes, beside the mean.
    pub(super) factor: f32,
    /// Told apart from earlier users of the same place.
    pub(super) life: u32,
    pub(super) sessions: u32,
    /// Its place among the manners.
    pub(super) manner: u16,
    pub(super) stage: Stage,
    /// The client is gone.
    pub(super) gone: bool,
    /// Its commands can run.
    pub(super) ready: bool,
}

impl Connection {
    pub(super) fn called(asker: Asker, peer: Peer, manner: u16, now: u64) -> Self {
        Connection {
            asker,
            peer,
            question: None,
            called: now,
            connected: When::NEVER,
            identified: When::NEVER,
            keyed: When::NEVER,
            authenticated: When::NEVER,
            asked: 0,
            slot: When::NEVER,
            factor: 1.0,
            life: 0,
            sessions: 0,
            manner,
            stage: Stage::Dialling,
            gone: false,
            ready: false,
        }
    }

    pub(super) fn stamps(&self) -> Stamps {
        Stamps {
            connected: self.connected,
            identified: self.identified,
            keyed: self.keyed,
            authenticated: self.authenticated,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub(super) asker: Asker,
    pub(super) connection: u32,
    /// Told apart from earlier users of the same place.
    pub(super) life: u32,
    pub(super) what: Asked,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Asked {
    Login,
    /// Only to hear of the connection's end.
    End,
    Command {
        work_ns: u64,
    },
    /// Its place is free.
    Nothing,
}

/// A connection's place, and which of the place's users it is: what was set going for an earlier one is no business of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) index: u32,
    pub(super) life: u32,
}

/// What is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    /// A turn of the listener's.
    Turn,
    /// Of a connection's process, or of its client.
    Of(Asker, At),
    /// Making the session after the login.
    Session(Asker, At),
    /// A command: the question and its life, the connection and its life.
    Command(Asker, [u32; 2], At),
    /// A client takes what its command has put out: the question and its life.
    Output(Asker, [u32; 2]),
    /// Nobody waits for it: winding up, and the jobs themselves.
    Alone(Asker),
}

/// What became of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Word {
    Refused { reset: bool },
    Rejected,
    Lost,
    In,
}

/// What is due at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Syn(At),
    /// The stage's wait is over.
    Stage(At),
    /// The client has done its own work and begins with the key exchange.
    Keys(At),
    /// The first commands of a connection can run.
    Ready(At),
    /// The client has made its socket, or computed its part of the key exchange.
    Computed(At),
    /// What became of its login reaches the client.
    Told(At, Word),
    /// The question is asked on the server's side.
    CommandArrives(u32, u32),
    /// The client has taken what its command has put out.
    Ran([u32; 2]),
    Deadline(At),
    CommandDeadline(u32, u32),
    Grace(At),
}
