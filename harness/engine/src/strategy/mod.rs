//! Connection strategies: how one task uses connections, to the last retry.
//!
//! A strategy sees a link, the job's commands and its seeded draws, nothing else. `operator` is what both
//! share (the submitting and cleaning side), `per_command` and `reused_session` are where they differ. `stalled` and
//! `staircase` are no jobs at all: they hold startup slots.

mod operator;
mod per_command;
mod reused_session;
mod staircase;
mod stalled;

use std::net::IpAddr;
use std::time::Duration;

use super::draws::Draws;
use super::job::JobCommands;
use super::link::Link;
use super::rendezvous::Rendezvous;
use crate::ssh::{ConnectLimits, Connector};
use sshchurn_core::scenario::{
    MONITORING_SOURCE, Scenario, StrategyConfig, StrategyKind, Tunables,
};
use sshchurn_core::vocabulary::{CleanupResult, TaskFailure};

/// The tunables of one strategy with every wait already scaled.
#[derive(Debug, Clone)]
pub(crate) struct Strategy {
    kind: StrategyKind,
    tunables: Tunables,
    time_scale: f64,
    monitoring_source: Option<IpAddr>,
    /// Where the server's `MaxStartups` refuses everything, and a staircase ends.
    shut_from: u32,
}

/// What a strategy works with.
pub(crate) struct Hands<'a, C> {
    pub(crate) link: &'a Link<C>,
    pub(crate) job: &'a JobCommands,
    pub(crate) waits: &'a mut Draws,
}

impl Strategy {
    pub(crate) fn new(scenario: &Scenario, config: &StrategyConfig) -> Self {
        let mut tunables = config.tunables.clone();
        for wait in [
            &mut tunables.conn_retry_wait,
            &mut tunables.conn_retry_jitter,
            &mut tunables.poll_interval,
            &mut tunables.keepalive_interval,
        ] {
            *wait = scenario.scaled(*wait);
        }
        Strategy {
            kind: config.kind,
            tunables,
            time_scale: scenario.time_scale,
            monitoring_source: (!scenario.sshd.monitoring_keywords.is_empty())
                .then_some(IpAddr::V4(MONITORING_SOURCE)),
            shut_from: scenario.sshd.max_startups.shut_from(),
        }
    }

    /// For a strategy without a job: takes startup slots and holds them.
    pub(crate) async fn occupy<C: Connector>(
        &self,
        hands: &mut Hands<'_, C>,
        others: &Rendezvous,
    ) -> Result<(), TaskFailure> {
        match self.kind {
            StrategyKind::Staircase => staircase::climb(self, hands).await,
            _ => stalled::occupy(self, hands, others).await,
        }
    }

    /// Whether the strategy runs a job at all.
    pub(crate) fn has_job(&self) -> bool {
        self.kind.has_job()
    }

    /// Detect and submit.
    pub(crate) async fn submit<C: Connector>(
        &self,
        hands: &mut Hands<'_, C>,
    ) -> Result<(), TaskFailure> {
        match self.kind {
            StrategyKind::PerCommand => per_command::submit(self, hands).await,
            StrategyKind::ReusedSession => reused_session::submit(self, hands).await,
            StrategyKind::Stalled | StrategyKind::Staircase => Err(TaskFailure::SubmitCommand),
        }
    }

    /// Watches the job until its exit code is seen.
    pub(crate) async fn monitor<C: Connector>(
        &self,
        hands: &mut Hands<'_, C>,
    ) -> Result<i32, TaskFailure> {
        match self.kind {
            StrategyKind::PerCommand => per_command::monitor(self, hands).await,
            StrategyKind::ReusedSession => reused_session::monitor(self, hands).await,
            StrategyKind::Stalled | StrategyKind::Staircase => Err(TaskFailure::Monitor),
        }
    }

    /// Removes the job directory.
    pub(crate) async fn cleanup<C: Connector>(&self, hands: &mut Hands<'_, C>) -> CleanupResult {
        operator::cleanup(self, hands).await
    }

    /// The operator side's deadlines (paramiko): connect and banner apart, keepalive on in both versions.
    fn operator_limits(&self) -> ConnectLimits {
        ConnectLimits {
            connect: self.tunables.conn_timeout,
            banner: self.tunables.banner_timeout,
            login: self.tunables.login_timeout,
            whole: None,
            source: None,
            keepalive: self.keepalive(),
        }
    }

    /// Those of a connection that stays silent: nothing is kept alive, and it comes from where everything else does.
    fn holding_limits(&self) -> ConnectLimits {
        ConnectLimits {
            keepalive: None,
            ..self.operator_limits()
        }
    }

    /// The monitoring side's deadlines (asyncssh): one login timeout over everything.
    fn monitor_limits(&self, keepalive: Option<Duration>) -> ConnectLimits {
        ConnectLimits {
            connect: self.tunables.login_timeout,
            banner: self.tunables.login_timeout,
            login: self.tunables.login_timeout,
            whole: Some(self.tunables.login_timeout),
            source: self.monitoring_source,
            keepalive,
        }
    }

    fn keepalive(&self) -> Option<Duration> {
        Some(self.tunables.keepalive_interval).filter(|interval| !interval.is_zero())
    }

    /// A wait fixed in the provider's code, given in seconds, scaled.
    fn seconds(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds).mul_f64(self.time_scale)
    }
}

/// What one look at the log found: the poll's own state, kept across polls.
#[derive(Debug, Default, Clone, Copy)]
struct LogPosition {
    offset: u64,
}

/// Parses the number a `check` or `size` command printed.
fn number(output: &[u8]) -> Option<u64> {
    std::str::from_utf8(output).ok()?.trim().parse().ok()
}
