//! The link: the strategies' only door to the network, and the place where every attempt, command and
//! connection end is recorded, exactly once each, also when a future is dropped half-way.

use std::time::Duration;

use crate::collector::Collector;
use crate::ssh::{Command, CommandOutput, ConnectLimits, Connector, Held, Session, Tap};
use sshchurn_core::ids::{AttemptId, CommandId, RoundId, TaskId};
use sshchurn_core::instant::RunInstant;
use sshchurn_core::ledger::Event;
use sshchurn_core::vocabulary::{
    AttemptOutcome, CleanupResult, Close, CommandOutcome, ConnectionEnd, Phase, RetryKind, TaskFate,
};

/// One task's recorded access to the network.
pub(crate) struct Link<C> {
    connector: C,
    collector: Collector,
    round: RoundId,
    task: TaskId,
}

/// How a task ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    pub(crate) fate: TaskFate,
    pub(crate) removal_required: bool,
    pub(crate) cleanup: CleanupResult,
}

impl<C: Connector> Link<C> {
    pub(crate) fn new(connector: C, collector: Collector, round: RoundId, task: TaskId) -> Self {
        Link {
            connector,
            collector,
            round,
            task,
        }
    }

    /// Makes the first attempt's socket ready before the barrier.
    pub(crate) fn prepare(&self) -> Result<(), AttemptOutcome> {
        self.connector.prepare()
    }

    /// Makes one recorded attempt; `ordinal` is 1 for the first try at this connection.
    pub(crate) fn connect<'a>(
        &'a self,
        phase: Phase,
        ordinal: u32,
        limits: &'a ConnectLimits,
    ) -> impl Future<Output = Result<LinkSession<C::Session>, AttemptOutcome>> + Send + 'a {
        async move {
            let mut open = self.open_attempt(phase, ordinal);
            match self.connector.connect(limits, &open.tap).await {
                Ok(session) => Ok(self.established(session, open)),
                Err(outcome) => {
                    open.end(outcome.clone());
                    Err(outcome)
                }
            }
        }
    }

    /// Makes one recorded attempt that stays silent once it is admitted. It ends when the result is released, lost or
    /// dropped.
    pub(crate) async fn hold(
        &self,
        phase: Phase,
        ordinal: u32,
        limits: &ConnectLimits,
    ) -> Result<HeldLink<C::Held>, AttemptOutcome> {
        let mut open = self.open_attempt(phase, ordinal);
        match self.connector.hold(limits, &open.tap).await {
            Ok(held) => Ok(HeldLink { held, open }),
            Err(outcome) => {
                open.end(outcome.clone());
                Err(outcome)
            }
        }
    }

    /// The same for a silent client that is no task: nothing of it is counted with the tasks.
    pub(crate) async fn hold_beside(
        &self,
        limits: &ConnectLimits,
    ) -> Result<HeldLink<C::Held>, AttemptOutcome> {
        let attempt = self.collector.next_attempt();
        self.collector.record(Event::HolderStarted {
            round: self.round,
            attempt,
        });
        let mut open = self.begun(attempt, true);
        match self.connector.hold(limits, &open.tap).await {
            Ok(held) => Ok(HeldLink { held, open }),
            Err(outcome) => {
                open.end(outcome.clone());
                Err(outcome)
            }
        }
    }

    /// Logs in on a connection that was held, and says good-bye.
    pub(crate) async fn log_in(&self, held: HeldLink<C::Held>, limits: &ConnectLimits) {
        let HeldLink { held, mut open } = held;
        match self.connector.log_in(held, limits, &open.tap).await {
            Ok(session) => self.established(session, open).close().await,
            Err(outcome) => open.end(outcome),
        }
    }

    fn established(&self, session: C::Session, mut open: OpenAttempt) -> LinkSession<C::Session> {
        open.end(AttemptOutcome::Handshake);
        LinkSession {
            session: Some(session),
            connection: OpenConnection {
                collector: self.collector.clone(),
                attempt: open.attempt,
                tap: open.tap.clone(),
                end: ConnectionEnd::AbandonedByClient,
            },
            round: self.round,
            task: self.task,
        }
    }

    fn open_attempt(&self, phase: Phase, ordinal: u32) -> OpenAttempt {
        let attempt = self.collector.next_attempt();
        self.collector.record(Event::AttemptStarted {
            round: self.round,
            task: self.task,
            attempt,
            phase,
            ordinal,
        });
        self.begun(attempt, false)
    }

    fn begun(&self, attempt: AttemptId, holder: bool) -> OpenAttempt {
        OpenAttempt {
            collector: self.collector.clone(),
            attempt,
            holder,
            tap: Tap::new(self.collector.clock().clone()),
            ended: false,
        }
    }

    /// Which task of which round it belongs to.
    pub(crate) fn place(&self) -> (RoundId, TaskId) {
        (self.round, self.task)
    }

    pub(crate) fn now(&self) -> RunInstant {
        self.collector.clock().now()
    }

    /// Waits until then, if that is still to come.
    pub(crate) fn pause_until(&self, due: RunInstant) -> impl Future<Output = ()> + Send + use<C> {
        self.collector.clock().sleep_until(due)
    }

    /// Runs one recorded command of this task on a connection that another task may have made.
    pub(crate) fn run_on<'a>(
        &self,
        connection: &'a LinkSession<C::Session>,
        command: Command<'a>,
        within: Duration,
    ) -> impl Future<Output = Result<CommandOutput, CommandOutcome>> + Send + use<'a, C> {
        connection.run_for(self.task, command, within)
    }

    /// Records a wait before another try, and waits.
    pub(crate) fn wait_to_retry(
        &self,
        phase: Phase,
        retry: RetryKind,
        wait: Duration,
    ) -> impl Future<Output = ()> + Send + use<C> {
        self.collector.record(Event::RetryScheduled {
            round: self.round,
            task: self.task,
            phase,
            retry,
            wait,
        });
        self.pause(wait)
    }

    /// Waits without recording: pauses that are part of the plan, such as the poll interval.
    pub(crate) fn pause(&self, wait: Duration) -> impl Future<Output = ()> + Send + use<C> {
        self.collector.clock().sleep(wait)
    }

    /// Records the end of a whole poll.
    pub(crate) fn poll_ended(&self, commands: u32, completed: bool) {
        self.collector.record(Event::PollEnded {
            round: self.round,
            task: self.task,
            commands,
            completed,
        });
    }

    /// Records the task's start.
    pub(crate) fn task_started(&self) {
        self.collector.record(Event::TaskStarted {
            round: self.round,
            task: self.task,
        });
    }

    /// Records the task's end.
    pub(crate) fn task_ended(&self, ending: Ending) {
        let Ending {
            fate,
            removal_required,
            cleanup,
        } = ending;
        self.collector.record(Event::TaskEnded {
            round: self.round,
            task: self.task,
            fate,
            removal_required,
            cleanup,
        });
    }

    /// Enters a phase; it is left when the guard is dropped.
    pub(crate) fn phase(&self, phase: Phase) -> PhaseGuard<'_, C> {
        self.collector.record(Event::PhaseStarted {
            round: self.round,
            task: self.task,
            phase,
        });
        PhaseGuard { link: self, phase }
    }
}

/// An attempt under way; dropped before its end, it ends as interrupted. It must be dropped after the future that uses
/// the socket: what the kernel said of the socket is in the trace only then.
struct OpenAttempt {
    collector: Collector,
    attempt: AttemptId,
    /// Of a silent client that is no task.
    holder: bool,
    tap: Tap,
    ended: bool,
}

impl OpenAttempt {
    fn end(&mut self, outcome: AttemptOutcome) {
        self.ended = true;
        self.tap.ended();
        let (attempt, trace) = (self.attempt, Box::new(self.tap.trace()));
        self.collector.record(match self.holder {
            true => Event::HolderEnded {
                attempt,
                outcome,
                trace,
            },
            false => Event::AttemptEnded {
                attempt,
                outcome,
                trace,
            },
        });
    }
}

impl Drop for OpenAttempt {
    fn drop(&mut self) {
        if !self.ended {
            self.end(AttemptOutcome::Interrupted);
        }
    }
}

/// A connection that is held silent. Dropped before it is released, its attempt ends as interrupted.
pub(crate) struct HeldLink<H: Held> {
    held: H,
    open: OpenAttempt,
}

impl<H: Held> HeldLink<H> {
    /// Holds until `release` resolves, and lets go.
    ///
    /// # Errors
    /// As [`HeldLink::kept`].
    pub(crate) async fn until(
        self,
        release: impl Future<Output = ()>,
    ) -> Result<(), AttemptOutcome> {
        self.kept(release).await.map(HeldLink::let_go)
    }

    /// Holds until `release` resolves.
    ///
    /// # Errors
    /// How the attempt ended when the server ended the connection before.
    pub(crate) async fn kept(
        mut self,
        release: impl Future<Output = ()>,
    ) -> Result<Self, AttemptOutcome> {
        let lost = tokio::select! {
            biased;
            outcome = self.held.ended() => Some(outcome),
            () = release => None,
        };
        match lost {
            Some(outcome) => {
                self.open.end(outcome.clone());
                Err(outcome)
            }
            None => Ok(self),
        }
    }

    /// Ends it without a word.
    pub(crate) fn let_go(mut self) {
        self.open.end(AttemptOutcome::Held);
    }
}

/// A phase under way.
pub(crate) struct PhaseGuard<'a, C> {
    link: &'a Link<C>,
    phase: Phase,
}

impl<C> Drop for PhaseGuard<'_, C> {
    fn drop(&mut self) {
        self.link.collector.record(Event::PhaseEnded {
            round: self.link.round,
            task: self.link.task,
            phase: self.phase,
        });
    }
}

/// A recorded, established connection. Dropping it abandons it.
pub(crate) struct LinkSession<S: Session> {
    /// `None` only while it is being closed. Dropped before the record of its end.
    session: Option<S>,
    connection: OpenConnection,
    round: RoundId,
    task: TaskId,
}

impl<S: Session> LinkSession<S> {
    /// Runs one recorded command.
    pub(crate) fn run<'a>(
        &'a self,
        command: Command<'a>,
        within: Duration,
    ) -> impl Future<Output = Result<CommandOutput, CommandOutcome>> + Send + 'a {
        self.run_for(self.task, command, within)
    }

    /// The same for another task than the one that made the connection.
    fn run_for<'a>(
        &'a self,
        task: TaskId,
        command: Command<'a>,
        within: Duration,
    ) -> impl Future<Output = Result<CommandOutput, CommandOutcome>> + Send + 'a {
        async move {
            let Some(session) = &self.session else {
                return Err(CommandOutcome::ConnectionLost { close: Close::Eof });
            };
            let id = self.connection.collector.next_command();
            self.connection.collector.record(Event::CommandStarted {
                command: id,
                attempt: self.connection.attempt,
                round: self.round,
                task,
                step: command.step(),
            });
            let mut open = OpenCommand {
                collector: &self.connection.collector,
                command: id,
                ended: false,
            };
            let result = session.run(command, within).await;
            match &result {
                Ok(output) => open.end(
                    CommandOutcome::Completed {
                        exit_status: output.exit_status,
                    },
                    output.stdout.total(),
                ),
                Err(outcome) => open.end(outcome.clone(), 0),
            }
            result
        }
    }

    /// Closes in good order. Dropped half-way, the connection has been closed all the same.
    pub(crate) fn close(mut self) -> impl Future<Output = ()> + Send {
        async move {
            if let Some(session) = self.session.take() {
                self.connection
                    .ends(session.lost(), ConnectionEnd::ClosedByClient);
                session.close().await;
            }
        }
    }
}

impl<S: Session> Drop for LinkSession<S> {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            self.connection
                .ends(session.lost(), ConnectionEnd::AbandonedByClient);
        }
    }
}

/// An established connection; its end is recorded when this is dropped, wherever that happens.
struct OpenConnection {
    collector: Collector,
    attempt: AttemptId,
    tap: Tap,
    end: ConnectionEnd,
}

impl OpenConnection {
    /// Says how it will have ended: by the server when it was lost before, else as the client means it to.
    fn ends(&mut self, lost: Option<Close>, otherwise: ConnectionEnd) {
        self.end = match lost {
            Some(Close::Eof) => ConnectionEnd::LostEof,
            Some(Close::Reset) => ConnectionEnd::LostReset,
            None => otherwise,
        };
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let (bytes_in, bytes_out) = self.tap.bytes();
        self.collector.record(Event::ConnectionEnded {
            attempt: self.attempt,
            end: self.end,
            bytes_in,
            bytes_out,
        });
    }
}

/// A command under way; dropped before its end, it ends as interrupted.
struct OpenCommand<'a> {
    collector: &'a Collector,
    command: CommandId,
    ended: bool,
}

impl OpenCommand<'_> {
    fn end(&mut self, outcome: CommandOutcome, stdout_bytes: u64) {
        self.ended = true;
        self.collector.record(Event::CommandEnded {
            command: self.command,
            outcome,
            stdout_bytes,
        });
    }
}

impl Drop for OpenCommand<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.end(CommandOutcome::Interrupted, 0);
        }
    }
}
