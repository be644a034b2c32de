//! One client that climbs: it connects, stays silent, keeps what is admitted and tries again, so that it knows at every
//! moment how many startup slots it occupies. Each attempt is one draw of the server at a known number of slots.
//!
//! Owns the climb and its bounds. A lost connection ends it: from then on the number of slots would be a guess.

use super::{Hands, Strategy};
use crate::rendezvous::Word;
use crate::ssh::Connector;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use sshchurn_core::vocabulary::{AttemptOutcome, Phase, TaskFailure};

/// Attempts where each must be refused: an even chance of being admitted would show with a probability of 1 - 2^-30.
const TRIES_WHERE_SHUT: u32 = 30;
/// Attempts at one number of slots before the climb is given up: at 99 % refused, one climb in 20 000 meets this.
const MOST_TRIES: u32 = 1000;
/// Connections kept beyond that, should the server admit them.
const BEYOND_SHUT: u32 = 5;

/// Climbs to where everything is refused, and tries there a last few times.
pub(super) async fn climb<C: Connector>(
    strategy: &Strategy,
    hands: &Hands<'_, C>,
) -> Result<(), TaskFailure> {
    let limits = strategy.passing_limits();
    let release = Word::new();
    let mut held = FuturesUnordered::new();
    let mut slots = 0;
    let mut refused = 0;
    let climbed = loop {
        let tries = if slots < strategy.shut_from {
            MOST_TRIES
        } else {
            TRIES_WHERE_SHUT
        };
        if refused >= tries || slots > strategy.shut_from + BEYOND_SHUT {
            break Ok(());
        }
        let answer = tokio::select! {
            biased;
            // A slot was given back behind our back.
            Some(_) = held.next() => break Err(TaskFailure::Monitor),
            answer = hands.link.hold(Phase::Submit, refused + 1, &limits) => answer,
        };
        match answer {
            Ok(connection) => {
                held.push(connection.until(release.hear()));
                slots += 1;
                refused = 0;
            }
            Err(AttemptOutcome::BannerEof { .. }) => refused += 1,
            Err(_) => break Err(TaskFailure::SubmitConnect),
        }
    };
    release.say(());
    while held.next().await.is_some() {}
    climbed
}
