//! Asking a running server for its `MaxStartups`.
//!
//! Owns the order of it: consent and one login before anything is held, this process's limit of open files, then the climbs. There
//! is no run directory: the document has every answer by the number of connections that were held.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sshchurn_core::analysis::admission::Trials;
use sshchurn_core::probing::Bounds;
use sshchurn_engine::clock::RunClock;
use sshchurn_engine::ssh::keys::HostKeyCheck;
use sshchurn_engine::{ProbeSettings, probe};
use sshchurn_report::probe::{ProbeFacts, ProbeReport, report};
use sshchurn_server::external::{self, ExternalOptions};

use super::error::SessionError;
use super::notice::{Notice, Observer};
use super::stop::{Interrupts, RunStop, Stage};

/// For the first login. A server that answers nothing for so long cannot be asked.
const INTRODUCED_WITHIN: Duration = Duration::from_secs(15);
/// Descriptors of this process beside its connections.
const OWN_DESCRIPTORS: u64 = 64;

/// As whom to log in.
#[derive(Debug, Clone)]
pub struct ProbeAccount {
    /// The user.
    pub user: String,
    /// Private key file without passphrase, readable by its owner only.
    pub key: PathBuf,
    /// Which host key to accept.
    pub host_key: HostKeyCheck,
}

/// A probe.
#[derive(Debug, Clone)]
pub struct ProbeOrder {
    /// The server.
    pub address: SocketAddr,
    /// Its host's address once more, to say that it may be loaded.
    pub consent: Option<String>,
    /// Without one there is a single climb, whose connections leave without logging in.
    pub account: Option<ProbeAccount>,
    /// Another address of this machine; by default there is one on loopback.
    pub other_source: Option<IpAddr>,
    /// Connections that may be begun.
    pub max_connections: u32,
    /// Connections that may be held at a time.
    pub max_held: u32,
    /// No connection is begun after this time.
    pub within: Duration,
}

impl ProbeOrder {
    /// Probes; `None` when it was stopped before it had begun.
    ///
    /// # Errors
    /// Those of [`external::introduce`].
    pub async fn run(
        &self,
        interrupts: &Interrupts,
        observer: &impl Observer,
    ) -> Result<Option<ProbeReport>, SessionError> {
        let introduced = match &self.account {
            None => external::without_login(self.address, self.consent.as_deref())?,
            Some(account) => {
                let options = ExternalOptions {
                    address: self.address,
                    user: account.user.clone(),
                    key: account.key.clone(),
                    consent: self.consent.clone(),
                    host_key: account.host_key.clone(),
                    log: None,
                };
                tokio::select! {
                    introduced = external::introduce(&options, INTRODUCED_WITHIN) => introduced?,
                    () = interrupts.asked() => return Ok(None),
                }
            }
        };
        let (max_held, own_limit) = held_by_this_process(self.max_held);
        let elsewhere = self.other_source.or_else(|| on_loopback(self.address));
        let logs_in = self.account.is_some();
        let settings = ProbeSettings {
            bounds: Bounds {
                connections: self.max_connections,
                held: max_held,
                repeats: logs_in,
                elsewhere: elsewhere.is_some(),
            },
            within: self.within,
            elsewhere,
        };
        let mut warnings = introduced.warnings;
        if introduced.refused.count > 0 {
            warnings.push(format!(
                "The server was busy before the probe began: it refused {}.",
                introduced.refused.sentence()
            ));
        }
        interrupts.enter(Stage::Measuring);
        let stop = RunStop::new();
        let _following = interrupts.follow(&stop);
        let clock = RunClock::start();
        let told = |prober: &sshchurn_core::probing::Prober| {
            let Some(climb) = prober.climbs().last() else {
                return;
            };
            let sum = |of: fn(&Trials) -> u64| climb.answers.values().map(of).sum();
            observer.notice(Notice::ClimbEnded {
                climb: prober.climbs().len(),
                held: climb.most_held,
                tries: (sum(|seen| seen.trials), sum(|seen| seen.refused)),
                after: Duration::from_nanos(clock.now().0),
            });
        };
        let connector = introduced.endpoint.connector();
        let probed = probe(&clock, &connector, &settings, stop.signal(), told).await;
        Ok(Some(report(&ProbeFacts {
            address: self.address,
            prober: &probed.prober,
            met: &probed.met,
            identification: introduced.identification.as_deref(),
            elsewhere,
            own_limit,
            warnings: &warnings,
        })))
    }
}

/// As many as may be held by the limit of open files, which is raised where it may be; and the number, where it is less than asked.
fn held_by_this_process(asked: u32) -> (u32, Option<u32>) {
    let needed = u64::from(asked) + OWN_DESCRIPTORS;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return (asked, None);
    };
    if soft >= needed {
        return (asked, None);
    }
    let raised = needed.min(hard);
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, raised, hard) {
        Ok(()) => raised,
        Err(_) => soft,
    };
    if limit >= needed {
        return (asked, None);
    }
    let most = u32::try_from(limit.saturating_sub(OWN_DESCRIPTORS))
        .unwrap_or(asked)
        .max(1);
    (most, Some(most))
}

/// All of 127/8 is this machine, and sshd takes its addresses for as many sources.
fn on_loopback(address: SocketAddr) -> Option<IpAddr> {
    let SocketAddr::V4(address) = address else {
        return None;
    };
    let candidates = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];
    candidates
        .into_iter()
        .find(|other| address.ip().is_loopback() && other != address.ip())
        .map(IpAddr::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_a_second_address_that_is_not_the_servers() {
        for (server, other) in [
            ("127.0.0.1:22", Some("127.0.0.2")),
            ("127.0.0.2:22", Some("127.0.0.3")),
            ("192.0.2.7:22", None),
            ("[::1]:22", None),
        ] {
            let found = on_loopback(server.parse().expect("an address"));
            let other: Option<IpAddr> = other.map(|other| other.parse().expect("an address"));
            assert_eq!(found, other, "{server}");
        }
    }
}
