//! Which of sshd's connections is which attempt: by port, in order, and by when lines were read.
//!
//! Owns that assignment. What an attempt without a line means is `account`'s.

use std::collections::HashMap;

use super::server::SshdView;
use super::views::{ClientView, Seen};
use crate::vocabulary::AttemptOutcome;

/// Cost of an attempt that should have a line and is left without one, and of a line without an attempt.
const ALONE: u32 = 4;
/// Cost of a pair that contradict each other; less than to leave both alone, so that a contradiction is told as one.
const CONTRADICTION: u32 = 6;

/// For each attempt the index of its connection in the log, and the connections that are nobody's.
pub(super) fn by_port(
    clients: &[ClientView],
    server: &[SshdView],
) -> (Vec<Option<usize>>, Vec<usize>) {
    let mut attempts: HashMap<u16, Vec<usize>> = HashMap::new();
    for (index, client) in clients.iter().enumerate() {
        if let Some(port) = client.trace.local_port {
            attempts.entry(port).or_default().push(index);
        }
    }
    let mut lines: HashMap<u16, Vec<usize>> = HashMap::new();
    for (index, view) in server.iter().enumerate() {
        lines.entry(view.port).or_default().push(index);
    }
    let mut pairs = vec![None; clients.len()];
    let mut strays = Vec::new();
    for (port, lines) in lines {
        let Some(attempts) = attempts.get_mut(&port) else {
            strays.extend(lines);
            continue;
        };
        attempts.sort_by_key(|index| clients[*index].begun());
        let chosen = cheapest(
            attempts.len(),
            lines.len(),
            |attempt| without(&clients[attempts[attempt]]),
            |attempt, line| {
                pair(
                    &clients[attempts[attempt]],
                    attempts.get(attempt + 1).map(|next| &clients[*next]),
                    &server[lines[line]],
                )
            },
        );
        for (line, attempt) in chosen.into_iter().enumerate() {
            match attempt {
                Some(attempt) => pairs[attempts[attempt]] = Some(lines[line]),
                None => strays.push(lines[line]),
            }
        }
    }
    strays.sort_unstable();
    (pairs, strays)
}

/// What it costs to say that sshd logged nothing of an attempt.
fn without(client: &ClientView) -> u32 {
    let must_be_there = match client.outcome {
        AttemptOutcome::Handshake
        | AttemptOutcome::Held
        | AttemptOutcome::KexFailed { .. }
        | AttemptOutcome::AuthFailed { .. } => true,
        AttemptOutcome::BannerEof { .. } => client.trace.text_before.is_some(),
        AttemptOutcome::ConnectRefused
        | AttemptOutcome::ConnectTimeout
        | AttemptOutcome::BannerTimeout
        | AttemptOutcome::GeneratorFault { .. }
        | AttemptOutcome::Interrupted => false,
    };
    if must_be_there {
        ALONE
    } else {
        // A line is better than none, where there is one.
        1
    }
}

/// What it costs to say that a connection in the log is this attempt; `None` where it cannot be.
fn pair(client: &ClientView, next: Option<&ClientView>, view: &SshdView) -> Option<u32> {
    // Nothing is logged, and so nothing read, before its connection began.
    if view.read_at < client.begun() {
        return None;
    }
    if let (Some(ours), Some(theirs)) = (client.trace.local_address, view.address)
        && ours != theirs
    {
        return None;
    }
    let agrees = match client.outcome {
        AttemptOutcome::Handshake => view.seen != Seen::Dropped && view.accepted,
        AttemptOutcome::Held => view.seen == Seen::Admitted && !view.accepted,
        AttemptOutcome::KexFailed { .. } | AttemptOutcome::AuthFailed { .. } => {
            view.seen != Seen::Dropped
        }
        AttemptOutcome::BannerEof { .. } => view.seen == Seen::Dropped,
        AttemptOutcome::ConnectRefused => false,
        AttemptOutcome::ConnectTimeout
        | AttemptOutcome::BannerTimeout
        | AttemptOutcome::GeneratorFault { .. }
        | AttemptOutcome::Interrupted => true,
    };
    // The next one from this port had begun already: the line is rather its.
    let late = next.is_some_and(|next| next.begun() <= view.read_at);
    Some(match (agrees, late) {
        (true, false) => 0,
        (true, true) => 2,
        (false, _) => CONTRADICTION,
    })
}

/// The cheapest assignment of lines to attempts that keeps the order of both; each line's attempt, or none.
fn cheapest(
    attempts: usize,
    lines: usize,
    without: impl Fn(usize) -> u32,
    pair: impl Fn(usize, usize) -> Option<u32>,
) -> Vec<Option<usize>> {
    // best[a][l]: cost of the first `a` attempts and the first `l` lines.
    let mut best = vec![vec![0_u32; lines + 1]; attempts + 1];
    for line in 0..lines {
        best[0][line + 1] = best[0][line] + ALONE;
    }
    for attempt in 0..attempts {
        best[attempt + 1][0] = best[attempt][0] + without(attempt);
        for line in 0..lines {
            let mut cost = best[attempt][line + 1] + without(attempt);
            cost = cost.min(best[attempt + 1][line] + ALONE);
            if let Some(paired) = pair(attempt, line) {
                cost = cost.min(best[attempt][line] + paired);
            }
            best[attempt + 1][line + 1] = cost;
        }
    }
    let mut chosen = vec![None; lines];
    let (mut attempt, mut line) = (attempts, lines);
    while attempt > 0 && line > 0 {
        let here = best[attempt][line];
        let paired = pair(attempt - 1, line - 1)
            .is_some_and(|cost| best[attempt - 1][line - 1] + cost == here);
        if paired {
            chosen[line - 1] = Some(attempt - 1);
            attempt -= 1;
            line -= 1;
        } else if best[attempt - 1][line] + without(attempt - 1) == here {
            attempt -= 1;
        } else {
            line -= 1;
        }
    }
    chosen
}
