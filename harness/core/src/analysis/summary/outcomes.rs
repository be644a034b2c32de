//! What one joined attempt adds to the numbers of its round: outcome, times, rate, and who refused it.
//!
//! Owns the meaning of an outcome for each of them. Which numbers they are added to is `round`'s.

use super::numbers::{Makers, Scope, TEXTS_KEPT};
use crate::analysis::latency::Stage;
use crate::instant::RunInstant;
use crate::join::{Account, Attempt, Maker, Seen, SshdView, Unfinished};
use crate::quantity::nanoseconds;
use crate::vocabulary::{AttemptOutcome, AttemptTrace, Close};

const TEXT_CHARS: usize = 100;
const ONE_SECOND_NS: u64 = 1_000_000_000;

/// From the first attempt to the last, and the logins in it.
#[derive(Default)]
pub(super) struct Window {
    first: Option<RunInstant>,
    last: Option<RunInstant>,
    /// Instants of authentication.
    handshakes: Vec<u64>,
}

impl Window {
    /// One attempt.
    pub(super) fn take(
        &mut self,
        begun: RunInstant,
        ended: RunInstant,
        authenticated: Option<RunInstant>,
    ) {
        self.first = Some(self.first.map_or(begun, |first| first.min(begun)));
        self.last = self.last.max(Some(ended));
        self.handshakes.extend(authenticated.map(|at| at.0));
    }

    /// Another's attempts as well.
    pub(super) fn join(&mut self, other: &Window) {
        self.first = self.first.into_iter().chain(other.first).min();
        self.last = self.last.max(other.last);
        self.handshakes.extend_from_slice(&other.handshakes);
    }
}

pub(super) fn settle_rate(scope: &mut Scope, mut window: Window) {
    if let (Some(first), Some(last)) = (window.first, window.last) {
        scope.rate.handshakes = scope.counts.handshakes;
        scope.rate.window_ns = nanoseconds(last.since(first));
    }
    window.handshakes.sort_unstable();
    let mut begin = 0;
    for (end, instant) in window.handshakes.iter().enumerate() {
        while instant - window.handshakes[begin] >= ONE_SECOND_NS {
            begin += 1;
        }
        scope.rate.peak = scope.rate.peak.max((end + 1 - begin) as u64);
    }
}

pub(super) fn count_outcome(
    scope: &mut Scope,
    ordinal: u32,
    outcome: &AttemptOutcome,
    trace: &AttemptTrace,
) {
    let counts = &mut scope.counts;
    match outcome {
        AttemptOutcome::Handshake => {
            counts.handshakes += 1;
            counts.final_ok += 1;
            counts.first_attempt_ok += u64::from(ordinal == 1);
        }
        AttemptOutcome::BannerEof { close } => {
            counts.banner_eof += 1;
            match close {
                Close::Eof => scope.banner_eof_split.eof += 1,
                Close::Reset => scope.banner_eof_split.reset += 1,
            }
            if let Some(text) = trace.text_before.as_deref().filter(|text| !text.is_empty()) {
                scope.banner_eof_split.with_text += 1;
                let text: String = text.trim_end().chars().take(TEXT_CHARS).collect();
                // The peer chooses the text: bounded, like everything it chooses.
                let room = scope.banner_eof_texts.len() < TEXTS_KEPT;
                if room || scope.banner_eof_texts.contains_key(&text) {
                    *scope.banner_eof_texts.entry(text).or_default() += 1;
                }
            }
        }
        AttemptOutcome::ConnectRefused => counts.connect_refused += 1,
        AttemptOutcome::ConnectTimeout => counts.connect_timeout += 1,
        AttemptOutcome::BannerTimeout => counts.banner_timeout += 1,
        AttemptOutcome::KexFailed { .. } => counts.kex_failed += 1,
        AttemptOutcome::AuthFailed { .. } => counts.auth_failed += 1,
        AttemptOutcome::GeneratorFault { .. } => counts.generator_fault += 1,
        AttemptOutcome::Held => counts.attempts_held += 1,
        AttemptOutcome::Interrupted => counts.attempts_interrupted += 1,
    }
}

/// A connection that only sshd's lines tell of.
pub(super) fn count_connection(scope: &mut Scope, view: &SshdView) {
    let counts = &mut scope.counts;
    *match (view.seen, view.accepted, view.failed) {
        (Seen::Dropped, _, _) => &mut counts.banner_eof,
        (_, true, _) => &mut counts.handshakes,
        (_, false, Some(Unfinished::ClientLeft)) => &mut counts.client_left,
        (_, false, Some(Unfinished::Protocol)) => &mut counts.kex_failed,
        // A release that does not log that its grace time has passed says nothing at all (`GraceTimeout`).
        (_, false, Some(Unfinished::LoginFailed | Unfinished::GraceTime) | None) => {
            &mut counts.auth_failed
        }
    } += 1;
}

/// A client that was silent on purpose before its key exchange has no time for that stage.
pub(super) fn time_stages(
    scope: &mut Scope,
    outcome: &AttemptOutcome,
    trace: &AttemptTrace,
    silent_before: bool,
) {
    let stages = [
        (Stage::Tcp, trace.connect_called, trace.connected),
        (Stage::Banner, trace.connected, trace.identified),
        (
            Stage::Kex,
            trace.identified.filter(|_| !silent_before),
            trace.keyed,
        ),
        (Stage::Auth, trace.keyed, trace.authenticated),
    ];
    for (stage, from, to) in stages {
        if let (Some(from), Some(to)) = (from, to) {
            scope.latencies.record(stage, to.since(from));
        }
    }
    if let (AttemptOutcome::BannerEof { .. }, Some(from), Some(to)) =
        (outcome, trace.connect_called, trace.ended)
    {
        scope.latencies.record(Stage::Refusal, to.since(from));
    }
}

/// Who refused an attempt, and what the kernel kept from sshd.
pub(super) fn count_maker(makers: &mut Makers, attempt: &Attempt) {
    makers.listen_queue_timeout += u64::from(attempt.account == Account::ListenQueueTimeout);
    let Some(maker) = attempt.maker() else {
        return;
    };
    *match maker {
        Maker::MaxStartups => &mut makers.refused_by_max_startups,
        Maker::OtherRule => &mut makers.refused_by_other_rule,
        Maker::Unserved => &mut makers.unserved,
        Maker::ListenQueue => &mut makers.listen_queue_refused,
        Maker::Unknown => &mut makers.refused_by_unknown,
    } += 1;
}
