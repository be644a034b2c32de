//! Connection strategies: how one task uses connections, to the last retry.
//!
//! A strategy sees a link, its job and its seeded draws, nothing else. `operator` is what those with a job share (the
//! submitting and cleaning side), `per_command` and `reused_session` are where they differ. `stalled` and `staircase` hold
//! startup slots, `one_shot` runs one command, `multiplexed` does so on a shared connection, `failing_login` fails to log in: these have no job.

mod failing_login;
mod multiplexed;
mod one_shot;
mod operator;
mod per_command;
mod reused_session;
mod staircase;
mod stalled;

use std::net::IpAddr;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Either};

use super::draws::Draws;
use super::link::Link;
use super::rendezvous::Rendezvous;
use super::share::Part;
use crate::ssh::{ClientWork, ConnectLimits, Connector, Job};
use sshchurn_core::scenario::{
    HoldLife, JobLife, Life, MONITORING_SOURCE, MaxStartups, Scenario, StrategyConfig,
    StrategyKind, Tunables,
};
use sshchurn_core::vocabulary::{CleanupResult, TaskFailure};

/// The tunables of one strategy with every wait already scaled.
#[derive(Debug, Clone)]
pub(crate) struct Strategy {
    kind: StrategyKind,
    tunables: Tunables,
    time_scale: f64,
    /// How the submitting side connects: paramiko, with deadlines for connecting and for the identification string, keepalive on in
    /// both versions.
    operator: ConnectLimits,
    /// The same for a connection that is not there long enough to be kept alive, or that says nothing at all. It comes from where
    /// everything else does.
    passing: ConnectLimits,
    /// The monitoring side: asyncssh, with one login timeout over everything.
    monitor: ConnectLimits,
    /// The same for a connection that serves one command: without keepalive.
    monitor_once: ConnectLimits,
    /// The server's, as far as the scenario knows: what a staircase expects.
    max_startups: MaxStartups,
    /// Whether silent clients that leave would be banned, so that a staircase logs in before it lets go.
    penalised: bool,
}

/// Who calls, of those that try again.
#[derive(Debug, Clone, Copy)]
enum Caller {
    /// See [`Strategy::operator`].
    Operator,
    /// See [`Strategy::passing`].
    Passing,
}

/// What a strategy works with.
pub(crate) struct Hands<'a, C> {
    pub(crate) link: &'a Link<C>,
    pub(crate) job: &'a Job,
    pub(crate) waits: &'a mut Draws,
}

impl Strategy {
    pub(crate) fn new(scenario: &Scenario, config: &StrategyConfig) -> Self {
        let mut tunables = config.tunables.clone();
        for wait in [
            &mut tunables.conn_retry_wait,
            &mut tunables.conn_retry_jitter,
            &mut tunables.poll_interval,
            &mut tunables.poll_jitter,
            &mut tunables.keepalive_interval,
        ] {
            *wait = scenario.scaled(*wait);
        }
        let keepalive = Some(tunables.keepalive_interval).filter(|interval| !interval.is_zero());
        let operator = ConnectLimits {
            connect: tunables.conn_timeout,
            banner: tunables.banner_timeout,
            login: tunables.login_timeout,
            whole: None,
            source: None,
            keepalive,
            asks_methods: false,
            unknown_key: false,
            work: ClientWork::new(tunables.connection_cost, tunables.client_threads),
        };
        let passing = ConnectLimits {
            keepalive: None,
            asks_methods: true,
            ..operator.clone()
        };
        let monitor = ConnectLimits {
            connect: tunables.login_timeout,
            banner: tunables.login_timeout,
            whole: Some(tunables.login_timeout),
            source: (!scenario.sshd.monitoring_keywords.is_empty())
                .then_some(IpAddr::V4(MONITORING_SOURCE)),
            asks_methods: true,
            ..operator.clone()
        };
        let monitor_once = ConnectLimits {
            keepalive: None,
            ..monitor.clone()
        };
        Strategy {
            kind: config.kind,
            operator,
            passing,
            monitor,
            monitor_once,
            tunables,
            time_scale: scenario.time_scale,
            max_startups: scenario.sshd.max_startups,
            penalised: scenario.sshd.penalises(),
        }
    }

    /// The same where the server may ban addresses although the scenario does not ask for it.
    pub(crate) fn penalised_too(mut self, may_ban: bool) -> Self {
        self.penalised |= may_ban;
        self
    }

    fn limits(&self, caller: Caller) -> &ConnectLimits {
        match caller {
            Caller::Operator => &self.operator,
            Caller::Passing => &self.passing,
        }
    }

    /// The wait from one poll to the next.
    pub(crate) fn until_next_poll(&self, waits: &mut Draws) -> Duration {
        let Tunables {
            poll_interval,
            poll_jitter,
            ..
        } = &self.tunables;
        match poll_jitter.is_zero() {
            // Without a draw: what is drawn later stays as it is without this key.
            true => *poll_interval,
            false => *poll_interval + waits.duration(*poll_jitter),
        }
    }

    /// What the life of a task is made of.
    pub(crate) fn life(&self) -> Life {
        self.kind.life()
    }

    /// Takes startup slots and holds them.
    pub(crate) async fn occupy<C: Connector>(
        &self,
        life: HoldLife,
        hands: &mut Hands<'_, C>,
        others: &Rendezvous,
    ) -> Result<(), TaskFailure> {
        match life {
            HoldLife::Stalled => stalled::occupy(self, hands, others).await,
            HoldLife::Staircase => staircase::climb(self, hands).await,
        }
    }

    /// Runs the one command there is.
    pub(crate) async fn run_once<C: Connector>(
        &self,
        hands: &mut Hands<'_, C>,
    ) -> Result<(), TaskFailure> {
        one_shot::run(self, hands).await
    }

    /// The one command there is, on a connection shared with other tasks.
    pub(crate) async fn run_shared<C: Connector>(
        &self,
        hands: &mut Hands<'_, C>,
        part: Part<C::Session>,
    ) -> Result<(), TaskFailure> {
        multiplexed::run(self, hands, part).await
    }

    /// Tries to log in with a key that the server does not know.
    pub(crate) async fn fail<C: Connector>(&self, hands: &Hands<'_, C>) -> Result<(), TaskFailure> {
        failing_login::run(self, hands).await
    }

    /// Detect and submit.
    pub(crate) fn submit<'a, 'h, C: Connector>(
        &'a self,
        life: JobLife,
        hands: &'a mut Hands<'h, C>,
    ) -> impl Future<Output = Result<(), TaskFailure>> + Send + use<'a, 'h, C> {
        match life {
            JobLife::PerCommand => Either::Left(per_command::submit(self, hands)),
            JobLife::ReusedSession => Either::Right(reused_session::submit(self, hands)),
        }
    }

    /// Watches the job until its exit code is seen. In a box: many more may wait to submit theirs.
    pub(crate) fn monitor<'a, C: Connector>(
        &'a self,
        life: JobLife,
        hands: &'a mut Hands<'_, C>,
    ) -> BoxFuture<'a, Result<i32, TaskFailure>> {
        match life {
            JobLife::PerCommand => per_command::monitor(self, hands).boxed(),
            JobLife::ReusedSession => reused_session::monitor(self, hands).boxed(),
        }
    }

    /// Removes the job directory.
    pub(crate) async fn cleanup<C: Connector>(&self, hands: &mut Hands<'_, C>) -> CleanupResult {
        operator::cleanup(self, hands).await
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
