//! One client that climbs: it connects, stays silent, keeps what is admitted and tries again, so that it knows at every
//! moment how many startup slots it occupies. Each attempt is one draw of the server at a known number of slots.
//!
//! Owns the climb and its bounds. A lost connection ends it: from then on the number of slots would be a guess. Where the
//! server bans addresses, what is held logs in at the end: that costs no penalty, and the climb can be repeated.

use super::{Hands, Strategy};
use crate::rendezvous::Word;
use crate::ssh::Connector;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use sshchurn_core::model::drop_probability_percent;
use sshchurn_core::scenario::MaxStartups;
use sshchurn_core::vocabulary::{AttemptOutcome, Phase, TaskFailure};

/// Refusals in a row that say that everything is refused: an even chance of being admitted would show with a probability of
/// 1 - 2^-30.
const TRIES_WHERE_SHUT: u32 = 30;
/// Where the expected rule refuses most connections, so many more that as long a row comes by chance once in a million.
const BY_CHANCE: f64 = 1e-6;
/// Connections kept beyond that, should the server admit them.
const BEYOND_SHUT: u32 = 5;

/// How many refusals in a row say that everything is refused with so many slots in use, whatever the rest of the expected
/// rule says: it may be another server's, and something else may refuse.
fn tries(slots: u32, expected: MaxStartups) -> u32 {
    let percent = drop_probability_percent(slots, expected);
    if percent >= 100 {
        return TRIES_WHERE_SHUT;
    }
    let (mut tries, mut chance) = (0, 1.0);
    while chance > BY_CHANCE {
        tries += 1;
        chance *= f64::from(percent) / 100.0;
    }
    tries.max(TRIES_WHERE_SHUT)
}

/// Climbs to where everything is refused, and tries there a last few times.
pub(super) async fn climb<C: Connector>(
    strategy: &Strategy,
    hands: &Hands<'_, C>,
) -> Result<(), TaskFailure> {
    let limits = &strategy.passing;
    let shut_from = strategy.max_startups.shut_from();
    let release = Word::new();
    let mut held = FuturesUnordered::new();
    let mut slots = 0;
    let mut refused = 0;
    let climbed = loop {
        if refused >= tries(slots, strategy.max_startups) || slots > shut_from + BEYOND_SHUT {
            break Ok(());
        }
        let answer = tokio::select! {
            biased;
            // A slot was given back behind our back.
            Some(_) = held.next() => break Err(TaskFailure::Monitor),
            answer = hands.link.hold(Phase::Submit, refused + 1, limits) => answer,
        };
        match answer {
            Ok(connection) => {
                held.push(connection.kept(release.hear()));
                slots += 1;
                refused = 0;
            }
            Err(AttemptOutcome::BannerEof { .. }) => refused += 1,
            Err(_) => break Err(TaskFailure::SubmitConnect),
        }
    };
    release.say(());
    let mut kept = Vec::new();
    while let Some(still) = held.next().await {
        kept.extend(still);
    }
    for connection in kept {
        // One that leaves before it has authenticated earns its address a penalty, and the next climb would measure that.
        if strategy.penalised {
            hands.link.log_in(connection, limits).await;
        } else {
            connection.let_go();
        }
    }
    climbed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_shut_is_known_after_some_tries_and_one_that_is_nearly_shut_is_not_taken_for_it()
     {
        let expected: MaxStartups = "10:30:100".parse().expect("valid");
        // Nobody is refused there by the rule, or few are.
        for slots in [0, 5, 9, 10, 50] {
            assert_eq!(tries(slots, expected), TRIES_WHERE_SHUT, "{slots}");
        }
        assert_eq!(tries(100, expected), TRIES_WHERE_SHUT);
        assert_eq!(tries(4_000, expected), TRIES_WHERE_SHUT);
        // 99 of 100 are refused: so long a row must be no accident.
        let nearly = f64::from(tries(99, expected));
        assert!(0.99_f64.powf(nearly) <= BY_CHANCE, "{nearly}");
        assert!(nearly < 1_500.0, "{nearly}");
    }
}
