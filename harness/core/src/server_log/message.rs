//! The wording of sshd's messages, OpenSSH 8.4 to 10.6, as a closed set of types.
//!
//! Owns wording only: no counting, no envelope. Every match is anchored at the start of the message and
//! peer-chosen text (user names) is skipped from the right, so that a user name cannot forge a line.

use std::time::Duration;

/// One end of a connection as sshd prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer<'a> {
    /// Address without brackets.
    pub address: &'a str,
    /// TCP port.
    pub port: u16,
}

/// Why `PerSourcePenalties` shut a source out (srclimit.c:srclimit_penalty_check_allow).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PenaltyReason {
    /// `caused crash`.
    Crash,
    /// `failed authentication`.
    FailedAuthentication,
    /// `connections without attempting authentication`.
    NoAuthentication,
    /// `attempted authentication by invalid user` (10.3 and later).
    InvalidUser,
    /// `connection prohibited by RefuseConnection` (9.9 and later).
    RefuseConnection,
    /// `exceeded LoginGraceTime`.
    GraceExceeded,
    /// `too many penalised addresses`: the table is full and its overflow policy is `deny-all`.
    TableFull,
    /// A reason of a release this parser does not know.
    Other,
}

impl PenaltyReason {
    /// The word used in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            PenaltyReason::Crash => "crash",
            PenaltyReason::FailedAuthentication => "authfail",
            PenaltyReason::NoAuthentication => "noauth",
            PenaltyReason::InvalidUser => "invaliduser",
            PenaltyReason::RefuseConnection => "refuseconnection",
            PenaltyReason::GraceExceeded => "grace-exceeded",
            PenaltyReason::TableFull => "table-full",
            PenaltyReason::Other => "other",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "caused crash" => PenaltyReason::Crash,
            "failed authentication" => PenaltyReason::FailedAuthentication,
            "connections without attempting authentication" => PenaltyReason::NoAuthentication,
            "attempted authentication by invalid user" => PenaltyReason::InvalidUser,
            "connection prohibited by RefuseConnection" => PenaltyReason::RefuseConnection,
            "exceeded LoginGraceTime" => PenaltyReason::GraceExceeded,
            _ => PenaltyReason::Other,
        }
    }
}

/// Why the listener dropped a connection, as far as the line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropCause {
    /// `MaxStartups`, or `PerSourceMaxStartups`: both are logged alike. A drop with fewer slots in use than
    /// `start` can only be the latter (sshd.c:drop_connection).
    MaxStartups,
    /// `PerSourcePenalties`.
    Penalty(PenaltyReason),
}

/// Which rate limiter of 10.0 and later held lines back (log.c:log_ratelimit).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RateLimitedDrops {
    /// `Maxstartups logging rate-limited`.
    MaxStartups,
    /// `PerSourcePenalties logging rate-limited`.
    Penalties,
}

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerLogMessage<'a> {
    /// `Server listening on … port …`.
    Listening {
        /// Port.
        port: u16,
    },
    /// `Received signal 15; terminating.`
    Stopped,
    /// `Received SIGHUP; restarting.`: the slot counter starts again at 0.
    Restarting,
    /// `Connection from …`: admitted by the listener, and the session process is up.
    Connection {
        /// The client.
        source: Peer<'a>,
        /// The server's end.
        local: Peer<'a>,
    },
    /// `should_drop_connection: p …, r …`: one draw of the admission rule.
    Draw {
        /// Probability of refusal, per cent.
        probability: u32,
        /// The number drawn, 0 to 99: refused when below `probability`.
        drawn: u32,
    },
    /// `drop connection #…`: a refusal. Its last word is `past MaxStartups` up to 9.7, `Maxstartups` in 10.0 and 10.3,
    /// `MaxStartups` in 10.6.
    Drop {
        /// Slots in use at that moment, not counting this connection.
        slots: u32,
        /// The client.
        source: Peer<'a>,
        /// The server's end.
        local: Peer<'a>,
        /// Why.
        cause: DropCause,
    },
    /// `beginning MaxStartups throttling` (8.4 to 9.9).
    ThrottlingBegan,
    /// `in MaxStartups throttling for …` (8.4 to 9.9).
    ThrottlingContinues {
        /// Drops since the episode began.
        dropped: u64,
    },
    /// `exited MaxStartups throttling after …` (8.4 to 9.9).
    ThrottlingEnded {
        /// Drops of the whole episode.
        dropped: u64,
    },
    /// `… logging rate-limited: additional N connections dropped` (10.0 and later).
    RateLimited {
        /// Which limiter.
        which: RateLimitedDrops,
        /// Lines held back, unless `LogVerbose` forced them out.
        dropped: u64,
    },
    /// `Accepted METHOD for …`: authenticated.
    Authenticated {
        /// Authentication method.
        method: &'a str,
        /// User.
        user: &'a str,
        /// The client.
        source: Peer<'a>,
        /// Fingerprint of the key, as sshd prints it (`SHA256:…`); `None` of another method, and of a certificate, whose
        /// line goes on with words of its maker's choice (auth2-pubkey.c:format_key).
        key: Option<&'a str>,
    },
    /// `Failed METHOD for …`.
    AuthenticationFailed {
        /// The client.
        source: Peer<'a>,
        /// Whether the user is unknown to the server.
        invalid_user: bool,
    },
    /// `Invalid user … from …`.
    InvalidUser {
        /// The client.
        source: Peer<'a>,
    },
    /// `administratively prohibited connection for …`: `RefuseConnection` (9.9 and later).
    Prohibited {
        /// The client.
        source: Peer<'a>,
    },
    /// `maximum authentication attempts exceeded for …`, `Disconnecting …: Too many authentication failures`.
    TooManyAuthenticationFailures,
    /// `Timeout before authentication for …`. A lower bound: 8.4 does not log it on Linux (log.c:sigdie), nor do
    /// builds with a distribution's fix for CVE-2024-6387, which took the logging out of the signal handler
    /// (seen with Debian's 9.2p1).
    GraceTimeout {
        /// The client; 9.8 and later print no port, and 9.8 prints the two addresses swapped.
        source: Option<Peer<'a>>,
    },
    /// `Starting session: …`.
    SessionStarted {
        /// The client.
        source: Peer<'a>,
    },
    /// `Close session: …`.
    SessionEnded {
        /// The client.
        source: Peer<'a>,
    },
    /// `no more sessions`: `MaxSessions` of one connection reached.
    SessionRefused,
    /// `Received disconnect from …`: the client said good-bye.
    ReceivedDisconnect {
        /// The client.
        source: Peer<'a>,
    },
    /// `Disconnected from …`.
    Disconnected {
        /// The client.
        source: Peer<'a>,
    },
    /// `Connection closed by …`, `Connection reset by …`, `Read error from remote host …`.
    ConnectionEnded {
        /// The client.
        source: Peer<'a>,
        /// Reset rather than closed.
        reset: bool,
    },
    /// `kex_exchange_identification: Connection closed by remote host` and its reset twin: the client left
    /// before it had identified itself.
    LeftBeforeIdentification {
        /// Reset rather than closed.
        reset: bool,
    },
    /// `kex_exchange_identification: client sent invalid protocol identifier …`, `banner exchange: …`,
    /// `Unable to negotiate with …`, `Bad protocol version identification …`.
    ProtocolError {
        /// The client, of a line that names it.
        source: Option<Peer<'a>>,
    },
    /// `srclimit_penalise: …`: a source earned a penalty, or one became active.
    Penalised {
        /// Whether it shuts the source out from now on.
        active: bool,
        /// The source's address.
        source: Option<&'a str>,
        /// How long from now; whole seconds up to 10.2.
        length: Option<Duration>,
    },
    /// `AuthorizedKeysCommand command …`: sshd looks for a user's keys (misc.c:subprocess, where `LogVerbose` asks for it).
    KeyCommand,
    /// `fork: …`: no process for an admitted connection; the client sees a close without text.
    ForkFailed,
    /// `accept: …`: out of descriptors in the listener; the connection stays in the kernel's queue.
    AcceptFailed,
    /// `pipe(startup_p): …`, `reexec socketpair: …`: no descriptor for an accepted connection.
    PipeFailed,
    /// `Session process … unpriv child crash`, `session process … killed by signal …`.
    Crashed,
    /// A known line of no consequence for the books (`Postponed publickey`, `Accepted key`, `Transferred`, …).
    Incidental,
    /// A line this parser does not know.
    Unknown {
        /// The message.
        text: &'a str,
    },
}

impl<'a> ServerLogMessage<'a> {
    /// Reads a message without its envelope.
    #[must_use]
    pub fn parse(text: &'a str) -> Self {
        Self::known(text).unwrap_or(ServerLogMessage::Unknown { text })
    }

    fn known(text: &'a str) -> Option<Self> {
        use ServerLogMessage as M;
        // `error_f` and the like print the function first unless `LogVerbose` printed the tag (log.c:sshlogv).
        let text = text.strip_prefix("server_accept_loop: ").unwrap_or(text);
        // The first word decides; the order within an arm goes from long to short.
        let first = match memchr::memchr(b' ', text.as_bytes()) {
            Some(end) => &text[..end],
            None => text,
        };
        Some(match first {
            "drop" => parse_drop(text)?,
            "should_drop_connection:" => {
                parse_draw(text.strip_prefix("should_drop_connection: ")?)?
            }
            // Forced by LogVerbose the tag replaces the function name (log.c:sshlogv).
            "p" => parse_draw(text)?,
            "Connection" => parse_connection(text)?,
            "Accepted" if text.starts_with("Accepted key ") => M::Incidental,
            "Accepted" => {
                let (method, rest) = at_first(text.strip_prefix("Accepted ")?, " for ")?;
                let (before, after) = at_last(rest, " ssh2")?;
                let (user, source) = user_and_peer(before)?;
                M::Authenticated {
                    method,
                    user,
                    source,
                    key: fingerprint(after),
                }
            }
            "Failed" => {
                let (_, rest) = at_first(text.strip_prefix("Failed ")?, " for ")?;
                let (user, source) = user_and_peer(before_last(rest, " ssh2")?)?;
                M::AuthenticationFailed {
                    source,
                    invalid_user: user.starts_with("invalid user "),
                }
            }
            "Invalid" => {
                let (_, source) = user_and_peer(text.strip_prefix("Invalid user ")?)?;
                M::InvalidUser { source }
            }
            "administratively" => {
                let rest = text.strip_prefix("administratively prohibited connection for ")?;
                let (_, source) = user_and_peer(rest)?;
                M::Prohibited { source }
            }
            "maximum" => {
                text.strip_prefix("maximum authentication attempts exceeded for ")?;
                M::TooManyAuthenticationFailures
            }
            "Disconnecting" if text.ends_with("Too many authentication failures") => {
                M::TooManyAuthenticationFailures
            }
            "Disconnecting" => M::Incidental,
            "Timeout," => M::Incidental,
            "Timeout" => {
                let rest = text.strip_prefix("Timeout before authentication for ")?;
                M::GraceTimeout {
                    source: peer_at_end(rest),
                }
            }
            "Starting" => {
                let rest = text.strip_prefix("Starting session: ")?;
                M::SessionStarted {
                    source: peer_at_end(before_last(rest, " id ")?)?,
                }
            }
            "Close" => {
                let rest = text.strip_prefix("Close session: ")?;
                M::SessionEnded {
                    source: peer_at_end(before_last(rest, " id ")?)?,
                }
            }
            "no" => match text {
                "no more sessions" => M::SessionRefused,
                _ => return None,
            },
            "Received" => parse_received(text)?,
            "Disconnected" => M::Disconnected {
                source: peer_at_end(text.strip_prefix("Disconnected from ")?)?,
            },
            "Read" => {
                // `Read error from remote host R port rp: Connection reset by peer`
                let rest = text.strip_prefix("Read error from remote host ")?;
                let (peer, reason) = at_last(rest, ": ")?;
                M::ConnectionEnded {
                    source: peer_at_end(peer)?,
                    reset: reason == "Connection reset by peer",
                }
            }
            "kex_exchange_identification:" => {
                match text.strip_prefix("kex_exchange_identification: ")? {
                    "Connection closed by remote host" => {
                        M::LeftBeforeIdentification { reset: false }
                    }
                    "read: Connection reset by peer" | "Connection reset by peer" => {
                        M::LeftBeforeIdentification { reset: true }
                    }
                    _ => M::ProtocolError { source: None },
                }
            }
            "banner" => {
                // `banner exchange: Connection from R port rp: invalid format`
                let rest = text.strip_prefix("banner exchange: ")?;
                M::ProtocolError {
                    source: rest
                        .strip_prefix("Connection from ")
                        .and_then(peer_at_start),
                }
            }
            "Unable" => {
                // … R port rp: no matching key exchange method found. Their offer: …
                let rest = text.strip_prefix("Unable to negotiate with ")?;
                M::ProtocolError {
                    source: peer_at_start(rest),
                }
            }
            "Bad" => {
                let rest = text.strip_prefix("Bad protocol version identification ")?;
                M::ProtocolError {
                    source: peer_at_end(rest),
                }
            }
            "beginning" => match text {
                "beginning MaxStartups throttling" => M::ThrottlingBegan,
                _ => return None,
            },
            "in" => {
                let rest = text.strip_prefix("in MaxStartups throttling for ")?;
                M::ThrottlingContinues {
                    dropped: dropped_total(rest)?,
                }
            }
            "exited" => {
                let rest = text.strip_prefix("exited MaxStartups throttling after ")?;
                M::ThrottlingEnded {
                    dropped: dropped_total(rest)?,
                }
            }
            "Maxstartups" | "MaxStartups" | "PerSourcePenalties" => {
                let (which, rest) = at_first(text, " logging rate-limited: additional ")?;
                M::RateLimited {
                    which: if which == "PerSourcePenalties" {
                        RateLimitedDrops::Penalties
                    } else {
                        RateLimitedDrops::MaxStartups
                    },
                    dropped: rest.strip_suffix(" connections dropped")?.parse().ok()?,
                }
            }
            "srclimit_penalise:" => parse_penalised(text),
            "AuthorizedKeysCommand" if text.starts_with("AuthorizedKeysCommand command ") => {
                M::KeyCommand
            }
            "subprocess:" if text.starts_with("subprocess: AuthorizedKeysCommand command ") => {
                M::KeyCommand
            }
            "AuthorizedKeysCommand" if text.starts_with("AuthorizedKeysCommand pid ") => {
                M::Incidental
            }
            "subprocess:" if text.starts_with("subprocess: AuthorizedKeysCommand pid ") => {
                M::Incidental
            }
            "fork:" => M::ForkFailed,
            "accept:" => M::AcceptFailed,
            "pipe(startup_p):" => M::PipeFailed,
            "reexec" => {
                text.strip_prefix("reexec socketpair: ")?;
                M::PipeFailed
            }
            "Session" | "session" => parse_session_process(text)?,
            "Server" => {
                let rest = text.strip_prefix("Server listening on ")?;
                let (_, port) = at_last(rest, " port ")?;
                M::Listening {
                    port: leading_number(port)?,
                }
            }
            // … is not using a post-quantum key exchange algorithm (10.6, one for each such client).
            "WARNING:" => {
                text.strip_prefix("WARNING: connection from ")?;
                M::Incidental
            }
            // 7.9 and older, of a client that left before it had identified itself.
            "Did" => {
                text.strip_prefix("Did not receive identification string from ")?;
                M::LeftBeforeIdentification { reset: false }
            }
            "Postponed"
            | "Transferred:"
            | "Closing"
            | "Forked"
            | "User"
            | "terminating"
            | "syslogin_perform_logout:" => M::Incidental,
            // What PAM's modules say through sshd (`pam_unix(sshd:session): …`).
            module if module.starts_with("pam_") => M::Incidental,
            _ => return None,
        })
    }
}

/// `ipv4: new ADDR/32 active penalty of N seconds for …` (or `deferred`), `ADDR/32: activating ipv4 penalty of N seconds for …`.
fn parse_penalised(text: &str) -> ServerLogMessage<'_> {
    let word = match at_first(text, ": new ") {
        Some((_, rest)) => rest,
        None => text.strip_prefix("srclimit_penalise: ").unwrap_or_default(),
    };
    let seconds = at_first(text, " penalty of ").and_then(|(_, rest)| at_first(rest, " seconds "));
    ServerLogMessage::Penalised {
        active: text.contains(" active penalty ") || text.contains(": activating "),
        source: word
            .split(' ')
            .next()
            .and_then(|word| word.split_once('/'))
            .map(|(address, _)| address),
        length: seconds
            .and_then(|(seconds, _)| seconds.parse().ok())
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
    }
}

fn parse_drop(text: &str) -> Option<ServerLogMessage<'_>> {
    // drop connection #4 from [127.0.0.1]:54942 on [127.0.0.1]:41023 past MaxStartups
    let rest = text.strip_prefix("drop connection #")?;
    let (slots, rest) = at_first(rest, " from ")?;
    let (source, rest) = bracketed_peer(rest)?;
    let (local, reason) = bracketed_peer(rest.strip_prefix(" on ")?)?;
    let reason = reason.strip_prefix(' ')?;
    let cause = match reason.strip_prefix("past ").unwrap_or(reason) {
        word if word.eq_ignore_ascii_case("maxstartups") => DropCause::MaxStartups,
        "too many penalised addresses" => DropCause::Penalty(PenaltyReason::TableFull),
        other => DropCause::Penalty(match other.strip_prefix("penalty: ") {
            Some(reason) => PenaltyReason::parse(reason),
            // 10.x prints `PerSourcePenalties` when srclimit names no reason.
            None if other == "PerSourcePenalties" => PenaltyReason::Other,
            None => return None,
        }),
    };
    Some(ServerLogMessage::Drop {
        slots: slots.parse().ok()?,
        source,
        local,
        cause,
    })
}

fn parse_draw(text: &str) -> Option<ServerLogMessage<'_>> {
    let (probability, drawn) = at_first(text.strip_prefix("p ")?, ", r ")?;
    let probability = probability.parse().ok()?;
    // A percentage (sshd.c:should_drop_connection); what is more is no draw, and must not make the counts grow.
    (probability <= 100).then_some(())?;
    Some(ServerLogMessage::Draw {
        probability,
        drawn: drawn.parse().ok()?,
    })
}

fn parse_connection(text: &str) -> Option<ServerLogMessage<'_>> {
    if let Some(rest) = text.strip_prefix("Connection from ") {
        // R port rp on L port lp[ rdomain "x"]
        let (source, local) = at_first(rest, " on ")?;
        return Some(ServerLogMessage::Connection {
            source: peer_at_end(source)?,
            local: peer_at_start(local)?,
        });
    }
    let (reset, rest) = match text.strip_prefix("Connection closed by ") {
        Some(rest) => (false, rest),
        None => (true, text.strip_prefix("Connection reset by ")?),
    };
    Some(ServerLogMessage::ConnectionEnded {
        source: peer_at_end(rest)?,
        reset,
    })
}

fn parse_received(text: &str) -> Option<ServerLogMessage<'_>> {
    if let Some(rest) = text.strip_prefix("Received disconnect from ") {
        // R port rp:11: disconnected by user
        return Some(ServerLogMessage::ReceivedDisconnect {
            source: peer_at_start(rest)?,
        });
    }
    if text.starts_with("Received SIGHUP") {
        return Some(ServerLogMessage::Restarting);
    }
    text.strip_prefix("Received signal ")?
        .strip_suffix("; terminating.")?;
    Some(ServerLogMessage::Stopped)
}

fn parse_session_process(text: &str) -> Option<ServerLogMessage<'_>> {
    let rest = text
        .strip_prefix("Session process ")
        .or_else(|| text.strip_prefix("session process "))?;
    [
        "unpriv child crash",
        "killed by signal",
        "terminated abnormally",
    ]
    .iter()
    .any(|words| rest.contains(words))
    .then_some(ServerLogMessage::Crashed)
}

/// What `str::split_once` gives. Its searcher is made for long texts and sets up tables for every call; sshd's lines are
/// short, and hopping from one first byte of the marker (a space, mostly) to the next is several times faster. Inlined, so that the
/// marker is a constant and no function is called to compare it.
#[inline(always)]
pub(super) fn at_first<'a>(text: &'a str, marker: &str) -> Option<(&'a str, &'a str)> {
    let first = *marker.as_bytes().first()?;
    memchr::memchr_iter(first, text.as_bytes()).find_map(|at| at_marker(text, at, marker))
}

/// What `str::rsplit_once` gives, likewise.
#[inline(always)]
pub(super) fn at_last<'a>(text: &'a str, marker: &str) -> Option<(&'a str, &'a str)> {
    let first = *marker.as_bytes().first()?;
    memchr::memrchr_iter(first, text.as_bytes()).find_map(|at| at_marker(text, at, marker))
}

/// Both sides of a marker that is looked for at `at`.
#[inline(always)]
fn at_marker<'a>(text: &'a str, at: usize, marker: &str) -> Option<(&'a str, &'a str)> {
    let after = text.get(at..)?.strip_prefix(marker)?;
    Some((text.get(..at)?, after))
}

/// The text before the last `marker`: peer-chosen text stands before sshd's own last words.
fn before_last<'a>(text: &'a str, marker: &str) -> Option<&'a str> {
    at_last(text, marker).map(|(before, _)| before)
}

/// `U from R port rp`.
fn user_and_peer(text: &str) -> Option<(&str, Peer<'_>)> {
    let (user, peer) = at_last(text, " from ")?;
    Some((user, peer_at_end(peer)?))
}

/// The fingerprint in `: TYPE FINGERPRINT`.
fn fingerprint(text: &str) -> Option<&str> {
    let (_, fingerprint) = at_first(text.strip_prefix(": ")?, " ")?;
    (!fingerprint.contains(' ')).then_some(fingerprint)
}

/// The last `R port rp` of a text.
fn peer_at_end(text: &str) -> Option<Peer<'_>> {
    let (before, port) = at_last(text, " port ")?;
    let address = match memchr::memrchr(b' ', before.as_bytes()) {
        Some(space) => &before[space + 1..],
        None => before,
    };
    (!address.is_empty()).then_some(())?;
    Some(Peer {
        address,
        port: port.parse().ok()?,
    })
}

/// The `R port rp` that a text begins with.
fn peer_at_start(text: &str) -> Option<Peer<'_>> {
    let (address, rest) = at_first(text, " port ")?;
    Some(Peer {
        address,
        port: leading_number(rest)?,
    })
}

/// `[R]:rp`, and what follows.
fn bracketed_peer(text: &str) -> Option<(Peer<'_>, &str)> {
    let (address, rest) = at_first(text.strip_prefix('[')?, "]:")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (port, rest) = rest.split_at(digits);
    Some((
        Peer {
            address,
            port: port.parse().ok()?,
        },
        rest,
    ))
}

/// `T, N connections dropped`; T is misc.c:fmt_timeframe's.
fn dropped_total(text: &str) -> Option<u64> {
    let (_, count) = at_last(text, ", ")?;
    count.strip_suffix(" connections dropped")?.parse().ok()
}

fn leading_number(text: &str) -> Option<u16> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text[..digits].parse().ok()
}
