//! What the end of one attempt adds to the numbers of its round: outcome, times, rate, and the port it is joined by.
//!
//! Owns the meaning of an outcome for each of them. Which numbers they are added to is `round`'s.

use super::books::{AttemptNote, ClientPorts};
use super::numbers::{Scope, TEXTS_KEPT};
use crate::analysis::latency::Stage;
use crate::instant::RunInstant;
use crate::quantity::nanoseconds;
use crate::vocabulary::{AttemptOutcome, AttemptTrace, Close, StageFailure};

const TEXT_CHARS: usize = 100;
const ONE_SECOND_NS: u64 = 1_000_000_000;

#[derive(Default)]
pub(super) struct Window {
    pub(super) first: Option<RunInstant>,
    pub(super) last: Option<RunInstant>,
    /// Instants of authentication.
    pub(super) handshakes: Vec<u64>,
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

pub(super) fn time_stages(scope: &mut Scope, outcome: &AttemptOutcome, trace: &AttemptTrace) {
    let stages = [
        (Stage::Tcp, trace.connect_called, trace.connected),
        (Stage::Banner, trace.connected, trace.identified),
        (Stage::Kex, trace.identified, trace.keyed),
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

/// Which server lines an attempt can stand behind. The client may have given up on a connection that sshd was
/// still about to serve: in the kernel's queue (it will be dropped or admitted later), or in authentication
/// (`Accepted` is logged before the client hears of it).
pub(super) fn note_port(
    ports: &mut ClientPorts,
    first: AttemptNote,
    outcome: &AttemptOutcome,
    trace: &AttemptTrace,
) {
    let entry = match trace.local_port {
        Some(port) => ports.by_port.entry(port).or_default(),
        None => &mut ports.without_port,
    };
    entry.first.get_or_insert(first);
    let silent = trace.identified.is_none();
    match outcome {
        AttemptOutcome::Handshake => entry.handshakes += 1,
        AttemptOutcome::BannerEof { .. } => entry.refusals += 1,
        AttemptOutcome::Interrupted | AttemptOutcome::GeneratorFault { .. } => {
            entry.maybe_accepted += u32::from(trace.keyed.is_some());
            entry.maybe_dropped += u32::from(silent);
        }
        AttemptOutcome::AuthFailed {
            failure: StageFailure::Lost { .. } | StageFailure::TimedOut,
        } => entry.maybe_accepted += 1,
        AttemptOutcome::BannerTimeout | AttemptOutcome::ConnectTimeout => entry.maybe_dropped += 1,
        AttemptOutcome::AuthFailed { .. }
        | AttemptOutcome::KexFailed { .. }
        | AttemptOutcome::Held
        | AttemptOutcome::ConnectRefused => {}
    }
    let given_up = matches!(
        outcome,
        AttemptOutcome::Interrupted
            | AttemptOutcome::BannerTimeout
            | AttemptOutcome::ConnectTimeout
            | AttemptOutcome::GeneratorFault { .. }
    );
    let reached = trace.connected.is_some();
    entry.reached += u32::from(reached);
    entry.maybe_queued += u32::from(reached && silent && given_up);
    entry.maybe_reached += u32::from(!reached && given_up && trace.connect_called.is_some());
}
