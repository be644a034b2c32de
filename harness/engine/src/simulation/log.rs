//! The simulated server's own witness: the lines that its sshd would have logged and the gauge of its listener, as events of the
//! run, so that laws and numbers of a simulated ledger come about as those of a real one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::collector::Collector;
use sshchurn_core::ids::RoundId;
use sshchurn_core::ledger::Event;
use sshchurn_core::model::server::{Note, Peer};
use sshchurn_core::scenario::MaxStartups;
use sshchurn_core::server_log::wording::Line;

/// Where the simulated listener listens.
pub(super) const LISTENER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 22);
/// Who logs in.
const USER: &str = "simulated";
/// With what.
const KEY: &str = "ED25519 SHA256:simulated";

/// Tells of one round's server.
pub(super) struct Witness {
    collector: Collector,
    round: RoundId,
    max_startups: MaxStartups,
    changes: u64,
}

impl Witness {
    /// Begins with an idle server.
    pub(super) fn start(collector: Collector, round: RoundId, max_startups: MaxStartups) -> Self {
        let mut witness = Witness {
            collector,
            round,
            max_startups,
            changes: 0,
        };
        witness.slots(0);
        witness
    }

    /// Tells what happened.
    pub(super) fn tell(&mut self, notes: Vec<Note>) {
        for note in notes {
            match note {
                Note::Slots(slots) => self.slots(slots),
                Note::Connection(peer) => self.line(&Line::Connection {
                    peer: address(peer),
                    local: LISTENER,
                }),
                Note::Dropped(peer, slots) => self.line(&Line::Dropped {
                    slots,
                    peer: address(peer),
                    local: LISTENER,
                }),
                Note::Accepted(peer) => self.line(&Line::Accepted {
                    user: USER,
                    peer: address(peer),
                    key: KEY,
                }),
                Note::Failed(peer) => self.line(&Line::Failed {
                    method: "publickey",
                    known_user: true,
                    user: USER,
                    peer: address(peer),
                }),
                Note::GraceTimeout(peer) => self.line(&Line::GraceTimeout {
                    peer: address(peer),
                }),
                Note::Closed(peer) => self.line(&Line::Closed {
                    peer: address(peer),
                    preauth: true,
                    reset: false,
                }),
            }
        }
    }

    /// Says how often the gauge was read.
    pub(super) fn finish(&self, over_ns: u64) {
        self.collector.record(Event::StartupsSampled {
            round: self.round,
            samples: self.changes,
            over_ns,
            sampler_cpu_ns: None,
        });
    }

    fn slots(&mut self, slots: u32) {
        self.changes += 1;
        self.collector.record(Event::StartupsChanged {
            round: self.round,
            slots,
            start: self.max_startups.start,
            full: self.max_startups.full,
        });
    }

    fn line(&self, line: &Line<'_>) {
        self.collector.record(Event::ServerLogged {
            line: line.to_string(),
        });
    }
}

fn address(peer: Peer) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from_bits(peer.source), peer.port))
}
