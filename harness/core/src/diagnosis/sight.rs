//! Whether a log would show a refusal, if there was one: host by host, from one restart to the next.
//!
//! Owns what lets the lines of one listener vouch for nothing but themselves: another host may have another release, and a
//! restart may bring another level.

use std::collections::HashMap;

use super::result::LogLevel;
use crate::release::Release;
use crate::server_log::{Enveloped, ServerLogMessage};

/// Hosts told apart. Of others it is not known what they would show.
const MOST_HOSTS: usize = 10_000;
/// Since then INFO shows that there were refusals. Before, only VERBOSE does.
const AT_INFO: Release = Release::new(8, 4);
/// Since then sessions have a program of their own, `sshd-session`.
const SESSION_PROGRAM: Release = Release::new(9, 8);

/// What a listener's lines show, from its start to its restart.
#[derive(Debug, Clone, Copy, Default)]
struct Stretch {
    /// It has lines.
    any: bool,
    /// It has lines other than those of a start and of an end.
    spoke: bool,
    level: Option<LogLevel>,
    /// What was logged once would have been logged again.
    dropped: bool,
    /// At least.
    release: Option<Release>,
    /// `sshd` itself wrote lines of a session.
    old: bool,
}

/// One host.
#[derive(Debug, Default)]
struct Sight {
    /// Empty where lines name none.
    name: String,
    stretch: Stretch,
    /// A stretch has ended.
    ended: bool,
    /// A stretch may hide refusals.
    blind: bool,
    /// A stretch at INFO does not show its release. A restart seldom brings another one, so the host's other stretches tell.
    unsure: bool,
    /// The same, and it is older than [`SESSION_PROGRAM`].
    unsure_old: bool,
    /// A stretch shows a release since [`AT_INFO`].
    at_info: bool,
    /// The same, and not one since [`SESSION_PROGRAM`].
    at_info_old: bool,
}

impl Sight {
    fn end_stretch(&mut self, next: Stretch) {
        let stretch = std::mem::replace(&mut self.stretch, next);
        if !stretch.any {
            return;
        }
        let at_info = stretch.release >= Some(AT_INFO);
        self.at_info |= at_info;
        self.at_info_old |= at_info && stretch.release < Some(SESSION_PROGRAM);
        // Below INFO 10.0 and later show none.
        let info = stretch.level >= Some(LogLevel::Info);
        let shown = stretch.dropped || stretch.level >= Some(LogLevel::Verbose) || info && at_info;
        match (shown, info, stretch.old) {
            (true, _, _) => {}
            (false, false, _) => self.blind = true,
            (false, true, false) => self.unsure = true,
            (false, true, true) => self.unsure_old = true,
        }
    }

    fn ends_blind(&mut self) -> bool {
        // After a restart of which nothing came there is nothing to hide.
        if self.stretch.spoke || !self.ended {
            self.end_stretch(Stretch::default());
        }
        self.blind || self.unsure && !self.at_info || self.unsure_old && !self.at_info_old
    }
}

/// Whether the process of one connection logs it.
fn is_of_a_session(message: &ServerLogMessage<'_>) -> bool {
    use ServerLogMessage as M;
    matches!(
        message,
        M::Connection { .. }
            | M::Authenticated { .. }
            | M::AuthenticationFailed { .. }
            | M::InvalidUser { .. }
            | M::SessionStarted { .. }
            | M::SessionEnded { .. }
            | M::ReceivedDisconnect { .. }
            | M::Disconnected { .. }
            | M::ConnectionEnded { .. }
    )
}

/// What each host's lines show.
#[derive(Debug)]
pub(super) struct Sights {
    hosts: Vec<Sight>,
    /// Where each is, by its name.
    places: HashMap<String, usize>,
    /// Where the last one was that was looked for: most often the next one is the same.
    last: usize,
    /// There were too many hosts.
    overflowed: bool,
    /// Of every host, as the user said.
    release: Option<Release>,
}

impl Sights {
    pub(super) fn new(release: Option<Release>) -> Self {
        Sights {
            hosts: Vec::new(),
            places: HashMap::new(),
            last: 0,
            overflowed: false,
            release,
        }
    }

    fn beginning(&self) -> Stretch {
        Stretch {
            release: self.release,
            ..Stretch::default()
        }
    }

    /// A line of sshd's. To be told before what it proves.
    pub(super) fn line(&mut self, line: Enveloped<'_>, message: &ServerLogMessage<'_>) {
        use ServerLogMessage as M;
        let name = line.origin.unwrap_or_default();
        let beginning = self.beginning();
        if self.host(name).is_none() {
            if self.hosts.len() >= MOST_HOSTS {
                self.overflowed = true;
                return;
            }
            self.places.insert(name.to_owned(), self.hosts.len());
            self.hosts.push(Sight {
                name: name.to_owned(),
                stretch: beginning,
                ..Sight::default()
            });
        }
        let Some(sight) = self.host(name) else {
            return;
        };
        match message {
            // One for each address: only the first of them ends something.
            M::Listening { .. } if sight.stretch.spoke => {
                // What proves no level is taken to be at this line's.
                sight.stretch.level.get_or_insert(LogLevel::Info);
                sight.end_stretch(beginning);
                sight.ended = true;
            }
            M::Listening { .. } | M::Stopped | M::Restarting => {}
            _ => sight.stretch.spoke = true,
        }
        sight.stretch.any = true;
        sight.stretch.old |= line.program == Some("sshd") && is_of_a_session(message);
    }

    fn host(&mut self, name: &str) -> Option<&mut Sight> {
        let same = self
            .hosts
            .get(self.last)
            .is_some_and(|host| host.name == name);
        if !same {
            self.last = *self.places.get(name)?;
        }
        self.hosts.get_mut(self.last)
    }

    fn stretch(&mut self, origin: Option<&str>) -> Option<&mut Stretch> {
        let host = self.host(origin.unwrap_or_default())?;
        Some(&mut host.stretch)
    }

    /// A line that may be of sshd's, or of a client's under the same name.
    pub(super) fn maybe_line(&mut self, origin: Option<&str>) {
        if let Some(stretch) = self.stretch(origin) {
            stretch.spoke = true;
        }
    }

    /// A line shows this level, which is that of the listener.
    pub(super) fn at_level(&mut self, origin: Option<&str>, level: LogLevel) {
        if let Some(stretch) = self.stretch(origin) {
            stretch.level = stretch.level.max(Some(level));
        }
    }

    /// A line shows that connections were refused.
    pub(super) fn dropped(&mut self, origin: Option<&str>) {
        if let Some(stretch) = self.stretch(origin) {
            stretch.dropped = true;
        }
    }

    /// A line is of this release or a later one.
    pub(super) fn at_least_release(&mut self, origin: Option<&str>, release: Release) {
        if let Some(stretch) = self.stretch(origin) {
            stretch.release = stretch.release.max(Some(release));
        }
    }

    /// Whether any part of the log may hide refusals.
    pub(super) fn ends_blind(mut self) -> bool {
        self.overflowed || self.hosts.iter_mut().any(Sight::ends_blind)
    }
}
