//! A probe on the wire: does what the plan of [`Prober`] says, and tells it what became of each connection.
//!
//! Owns the connections that are held, how they leave, and what of an attempt's end is a refusal by sshd. Which number to ask about
//! next is the plan's. Where a key is given, a held connection leaves by logging in: that frees its slot and earns no penalty
//! (`PerSourcePenalties`, 9.8).

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, FuturesUnordered, StreamExt};
use tokio::sync::oneshot;

use crate::clock::RunClock;
use crate::ssh::{ConnectLimits, Connector, Held, Session, Tap};
use crate::stop::{StopLevel, StopSignal};
use sshchurn_core::instant::RunInstant;
use sshchurn_core::probing::{Bounds, End, Failure, Met, Prober, Step};
use sshchurn_core::release::Release;
use sshchurn_core::vocabulary::{AttemptOutcome, AttemptTrace, StageFailure};

/// For a connect, and for the identification string.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// For the login of a connection that was held.
const LOGIN_WITHIN: Duration = Duration::from_secs(30);
/// For the server's answer that shows that the slot is free.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);
/// Held connections are replaced at this age: sshd's default `LoginGraceTime` is 120 s, and what is at hand then has to log in yet.
const RENEWED_AFTER: Duration = Duration::from_secs(60);
/// Logins at a time when all are let go: each costs the server a key exchange.
const AT_ONCE: usize = 6;
/// Connections in a row that were closed without sshd's words: something before it, or a server in need, closes them.
const MOST_WORDLESS: u32 = 10;
/// Logins that may fail before no more is held.
const MOST_FAILED_LOGINS: u32 = 3;
/// Since here sshd has words for a refused client (sshd.c:drop_connection).
const WORDS_SINCE: Release = Release::new(8, 2);
/// Since here sshd bans addresses for logins that come to nothing (srclimit.c).
const BANS_SINCE: Release = Release::new(9, 8);
/// Kinds of words that are kept, and of each so many characters.
const MOST_TEXTS: usize = 8;
const MOST_CHARS: usize = 80;

/// What is asked of a probe.
#[derive(Debug, Clone)]
pub struct ProbeSettings {
    /// What it may use.
    pub bounds: Bounds,
    /// No connection is begun after this time.
    pub within: Duration,
    /// Another source address, to tell a limit per source from one for all.
    pub elsewhere: Option<IpAddr>,
}

/// A probe that is over.
#[derive(Debug)]
pub struct Probed {
    /// The plan at its end, with every answer.
    pub prober: Prober,
    /// What else was met.
    pub met: Met,
}

/// Probes until the plan is through, the time is up, or somebody stops it; `told` hears of each climb that is over. A first stop
/// lets what is held leave in good order, an abort drops it.
pub async fn probe<C: Connector>(
    clock: &RunClock,
    connector: &C,
    settings: &ProbeSettings,
    stop: &StopSignal,
    mut told: impl FnMut(&Prober),
) -> Probed {
    let begun = clock.now();
    let deadline = begun + settings.within;
    let mut hands = ProbeHands {
        clock,
        connector,
        stop,
        logs_in: settings.bounds.repeats,
        renewed_after: RENEWED_AFTER,
        held: FuturesUnordered::new(),
        order: VecDeque::new(),
        next: 0,
        wordless: 0,
        rejected: 0,
        met: Met::default(),
    };
    let mut prober = Prober::new(settings.bounds);
    loop {
        if stop.level() >= StopLevel::Drain {
            prober.stop(End::Interrupted);
        } else if clock.now() >= deadline {
            prober.stop(End::Time);
        } else if hands.must_not_go_on() {
            prober.stop(End::Failed);
        }
        match prober.step() {
            Step::Try if hands.must_renew() => {
                hands.release().await;
                hands.met.renewed += 1;
                prober.released();
            }
            Step::Try => hands.try_once(&mut prober).await,
            Step::TryElsewhere => hands.try_from(settings.elsewhere, &mut prober).await,
            Step::Release => {
                hands.release().await;
                prober.released();
            }
            Step::LetGo => {
                let climbs = prober.climbs().len();
                hands.let_go().await;
                prober.let_go();
                if prober.climbs().len() > climbs {
                    told(&prober);
                }
            }
            Step::Over => break,
        }
    }
    hands.met.took = clock.now().since(begun);
    Probed {
        prober,
        met: hands.met,
    }
}

/// A connection that is held, or was.
struct Kept<H> {
    number: u64,
    since: RunInstant,
    /// `None` when the server has ended it.
    connection: Option<(H, Tap)>,
}

/// The connections.
struct ProbeHands<'a, C: Connector> {
    clock: &'a RunClock,
    connector: &'a C,
    stop: &'a StopSignal,
    logs_in: bool,
    renewed_after: Duration,
    held: FuturesUnordered<BoxFuture<'static, Kept<C::Held>>>,
    /// Oldest first: number, since when, and the word to give it back.
    order: VecDeque<(u64, RunInstant, oneshot::Sender<()>)>,
    next: u64,
    /// In a row.
    wordless: u32,
    /// Logins that the server did not want.
    rejected: u32,
    met: Met,
}

/// Holds until it is asked back or the server has ended it.
async fn kept<H: Held>(
    number: u64,
    since: RunInstant,
    mut held: H,
    tap: Tap,
    asked_back: oneshot::Receiver<()>,
) -> Kept<H> {
    let lost = tokio::select! {
        biased;
        _ = held.ended() => true,
        // A sender that is gone asks too.
        _ = asked_back => false,
    };
    Kept {
        number,
        since,
        connection: (!lost).then_some((held, tap)),
    }
}

impl<C: Connector> ProbeHands<'_, C> {
    /// Logins fail, for good or so often that this address would be banned for it.
    fn must_not_go_on(&self) -> bool {
        let identification = self.met.identification.as_deref();
        let bans = identification
            .and_then(Release::find)
            .is_none_or(|release| release >= BANS_SINCE);
        let failed = match bans {
            true => self.met.logins_failed.0,
            false => self.rejected,
        };
        failed >= MOST_FAILED_LOGINS
    }

    /// The oldest would be ended by the server soon.
    fn must_renew(&self) -> bool {
        let oldest = self.order.front();
        self.logs_in
            && oldest
                .is_some_and(|(_, since, _)| self.clock.now().since(*since) >= self.renewed_after)
    }

    /// Begins one connection, and holds it if it is admitted.
    async fn try_once(&mut self, prober: &mut Prober) {
        let limits = limits(None);
        let tap = Tap::new(self.clock.clone());
        let since = self.clock.now();
        let answer = self.connector.hold(&limits, &tap).await;
        let trace = tap.trace();
        self.note(&trace);
        let admitted = match answer {
            Ok(held) => {
                self.keep(held, tap, since);
                Some(true)
            }
            Err(AttemptOutcome::BannerEof { .. }) => self.refused(&trace).then_some(false),
            Err(outcome) => {
                self.met.failed = Some(failure(&outcome, &trace, prober.held()));
                prober.failed();
                return;
            }
        };
        // A slot that was given back behind our back: of how many this was the answer is not known.
        if let Some(lost) = self.lost() {
            prober.unanswered();
            self.cut_short(lost, prober);
            return;
        }
        match admitted {
            Some(true) => prober.admitted(),
            Some(false) => prober.refused(),
            None => {
                prober.unanswered();
                if self.wordless >= MOST_WORDLESS {
                    prober.stop(End::Failed);
                }
            }
        }
    }

    /// Begins one connection from the other address. If it is admitted it leaves at once.
    async fn try_from(&mut self, source: Option<IpAddr>, prober: &mut Prober) {
        let limits = limits(source);
        let tap = Tap::new(self.clock.clone());
        match self.connector.hold(&limits, &tap).await {
            Ok(held) => {
                self.leave(held, &tap).await;
                prober.elsewhere(true);
            }
            Err(AttemptOutcome::BannerEof { .. }) => prober.elsewhere(false),
            Err(outcome) => {
                self.met.failed = Some(failure(&outcome, &tap.trace(), prober.held()));
                prober.failed();
            }
        }
        if let Some(lost) = self.lost() {
            self.cut_short(lost, prober);
        }
    }

    fn keep(&mut self, held: C::Held, tap: Tap, since: RunInstant) {
        let (asked_back, word) = oneshot::channel();
        let number = self.next;
        self.next += 1;
        self.order.push_back((number, since, asked_back));
        self.held.push(kept(number, since, held, tap, word).boxed());
    }

    /// How long a connection had been held that the server has ended; `None` while all are there.
    fn lost(&mut self) -> Option<Duration> {
        let ended = self.held.next().now_or_never().flatten()?;
        self.order.retain(|(number, _, _)| *number != ended.number);
        Some(self.clock.now().since(ended.since))
    }

    fn cut_short(&mut self, lost: Duration, prober: &mut Prober) {
        self.met.lost_after.push(lost);
        // The next climb will know better.
        self.renewed_after = self.renewed_after.min(lost / 2);
        prober.lost();
    }

    /// What every attempt shows of the server.
    fn note(&mut self, trace: &AttemptTrace) {
        if let Some(line) = &trace.identification {
            self.met.identification.get_or_insert_with(|| line.clone());
        }
        if let (Some(called), Some(connected)) = (trace.connect_called, trace.connected) {
            let took = connected.since(called);
            let quickest = self
                .met
                .round_trip
                .map_or(took, |quickest| quickest.min(took));
            self.met.round_trip = Some(quickest);
        }
    }

    /// Whether it was sshd that refused, by its words where it has some.
    fn refused(&mut self, trace: &AttemptTrace) -> bool {
        let text = trace.text_before.as_deref().unwrap_or_default().trim();
        let release = self.met.identification.as_deref().and_then(Release::find);
        if text.is_empty() && release.is_some_and(|release| release >= WORDS_SINCE) {
            self.met.wordless += 1;
            self.wordless += 1;
            return false;
        }
        self.wordless = 0;
        let kept: String = text.chars().take(MOST_CHARS).collect();
        let kept = kept.escape_debug().to_string();
        if self.met.texts.len() < MOST_TEXTS || self.met.texts.contains_key(&kept) {
            *self.met.texts.entry(kept).or_default() += 1;
        }
        true
    }

    /// Gives the oldest back, and waits until its slot is free.
    async fn release(&mut self) {
        let Some((number, _, asked_back)) = self.order.pop_front() else {
            return;
        };
        let _ = asked_back.send(());
        while let Some(ended) = self.held.next().await {
            if ended.connection.is_none() {
                self.met
                    .lost_after
                    .push(self.clock.now().since(ended.since));
            }
            self.order.retain(|(other, _, _)| *other != ended.number);
            let asked = ended.number == number;
            if let Some((held, tap)) = ended.connection {
                self.leave(held, &tap).await;
            }
            if asked {
                return;
            }
        }
    }

    /// Gives all of them back, some at a time.
    async fn let_go(&mut self) {
        self.order.clear();
        let mut all = Vec::new();
        while let Some(ended) = self.held.next().await {
            all.extend(ended.connection);
        }
        let count = all.len();
        let silent = || (0..count).map(|_| Left::Silent).collect();
        let (connector, logs_in) = (self.connector, self.logs_in);
        let left: Vec<Left> = if logs_in && self.stop.level() < StopLevel::Abort {
            let leaving = stream::iter(all)
                .map(|(held, tap)| logged_in(connector, held, tap))
                .buffer_unordered(AT_ONCE)
                .collect();
            tokio::select! {
                biased;
                () = self.stop.at_least(StopLevel::Abort) => silent(),
                left = leaving => left,
            }
        } else {
            silent()
        };
        for one in left {
            self.has_left(one);
        }
    }

    async fn leave(&mut self, held: C::Held, tap: &Tap) {
        let left = match self.logs_in {
            true => logged_in(self.connector, held, tap.clone()).await,
            false => Left::Silent,
        };
        self.has_left(left);
    }

    fn has_left(&mut self, left: Left) {
        match left {
            Left::LoggedIn => {}
            Left::Silent => self.met.left_silent += 1,
            Left::NotLetIn { metric, by_server } => {
                let (count, last) = &mut self.met.logins_failed;
                *count += 1;
                *last = Some(metric);
                self.rejected += u32::from(by_server);
            }
        }
    }
}

/// How a held connection left.
enum Left {
    LoggedIn,
    Silent,
    NotLetIn {
        metric: &'static str,
        /// It was the server's decision, and no lack of time.
        by_server: bool,
    },
}

async fn logged_in<C: Connector>(connector: &C, held: C::Held, tap: Tap) -> Left {
    match connector.log_in(held, &limits(None), &tap).await {
        Ok(session) => {
            // sshd gives the slot back between the login and the first answer of the session's process.
            session.answers(SETTLED_WITHIN).await;
            session.close().await;
            Left::LoggedIn
        }
        Err(outcome) => Left::NotLetIn {
            metric: outcome.metric(),
            by_server: matches!(
                outcome,
                AttemptOutcome::AuthFailed {
                    failure: StageFailure::Rejected
                }
            ),
        },
    }
}

fn limits(source: Option<IpAddr>) -> ConnectLimits {
    ConnectLimits {
        login: LOGIN_WITHIN,
        source,
        ..ConnectLimits::within(ANSWER_WITHIN)
    }
}

fn failure(outcome: &AttemptOutcome, trace: &AttemptTrace, held: u32) -> Failure {
    // The answer to a SYN that comes again: the handshake's last ACK met a full accept queue (tcp_check_req).
    let repeated = trace
        .tcp
        .as_ref()
        .is_some_and(|tcp| tcp.bytes_sent == 0 && tcp.bytes_received == 0 && tcp.segments_in > 1);
    Failure {
        metric: outcome.metric(),
        held,
        own: matches!(outcome, AttemptOutcome::GeneratorFault { .. }),
        in_kernel: *outcome == AttemptOutcome::BannerTimeout && repeated,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::stop::StopController;
    use crate::testing::{EOF, FakeConnector, Script};
    use sshchurn_core::probing::Finding;

    fn settings(held: u32) -> ProbeSettings {
        ProbeSettings {
            bounds: Bounds {
                connections: 1_000,
                held,
                repeats: true,
                elsewhere: false,
            },
            within: Duration::from_secs(60),
            elsewhere: None,
        }
    }

    async fn probed(script: Script, settings: ProbeSettings) -> Probed {
        let clock = RunClock::start();
        let connector = FakeConnector::new(script, clock.clone());
        let (_controller, stop) = StopController::new();
        probe(&clock, &connector, &settings, &stop, |_| {}).await
    }

    #[tokio::test(start_paused = true)]
    async fn server_that_refuses_nobody_is_held_up_to_the_bound_and_everything_logs_in() {
        let Probed { prober, met } = probed(Script::default(), settings(7)).await;
        assert_eq!(prober.finding(), Finding::NoLimit { held: 7 });
        assert_eq!((met.left_silent, met.logins_failed), (0, (0, None)));
        assert_eq!(met.failed, None);
    }

    #[tokio::test(start_paused = true)]
    async fn hard_limit_is_seen_twice_and_without_a_key_what_is_held_leaves_silent() {
        let mut script = Script::default();
        script.connects.extend([None, None]);
        script.refuse_all = Some(EOF);
        let mut once = settings(7);
        once.bounds.repeats = false;
        let Probed { prober, met } = probed(script, once).await;
        assert!(matches!(prober.finding(), Finding::HardLimit(limit) if limit.at == 2));
        assert_eq!(met.left_silent, 2);
        assert_eq!(met.texts.get(""), Some(&200));
    }

    #[tokio::test(start_paused = true)]
    async fn slot_that_the_server_takes_back_cuts_the_climb_and_the_next_ones_renew_theirs() {
        let script = Script {
            connect_takes: Duration::from_secs(1),
            held_lost_after: Some(Duration::from_millis(4_500)),
            ..Script::default()
        };
        let mut bounds = settings(50);
        bounds.within = Duration::from_secs(40);
        let Probed { prober, met } = probed(script, bounds).await;
        assert_eq!(met.lost_after.len(), 1, "{met:?}");
        assert!(met.renewed > 0, "{met:?}");
        assert_eq!(prober.end(), Some(End::Time));
    }

    #[tokio::test(start_paused = true)]
    async fn attempt_that_is_no_answer_ends_the_probe_and_says_whose_fault_it_is() {
        let fault = AttemptOutcome::GeneratorFault {
            fault: sshchurn_core::vocabulary::GeneratorFault::OpenFiles,
        };
        let mut script = Script::default();
        script.connects.extend([None, Some(fault)]);
        let Probed { prober, met } = probed(script, settings(9)).await;
        assert_eq!(prober.end(), Some(End::Failed));
        let failed = met.failed.unwrap();
        assert!(failed.own && failed.held == 1, "{failed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn stop_lets_what_is_held_log_in_and_an_abort_drops_it() {
        for (level, left_silent) in [(StopLevel::Drain, 0), (StopLevel::Abort, 6)] {
            let script = Script {
                connect_takes: Duration::from_secs(1),
                ..Script::default()
            };
            let clock = RunClock::start();
            let connector = FakeConnector::new(script, clock.clone());
            let (controller, stop) = StopController::new();
            let settings = settings(9);
            // The connection that is under way is answered, and leaves as the others do.
            let stopping = async {
                clock.sleep(Duration::from_millis(5_500)).await;
                controller.raise(level);
            };
            let probing = probe(&clock, &connector, &settings, &stop, |_| {});
            let (probed, ()) = futures::future::join(probing, stopping).await;
            assert_eq!(probed.prober.end(), Some(End::Interrupted));
            assert_eq!(probed.prober.climbs()[0].most_held, 6);
            assert_eq!(probed.met.left_silent, left_silent, "{level:?}");
        }
    }
}
