//! The client that never logs in: it connects, takes its startup slot and stays silent until every task of the round has
//! its answer. No slot is given back meanwhile, so a burst of N meets exactly the rule of sshd.c:should_drop_connection.

use super::{Hands, Strategy};
use crate::rendezvous::Rendezvous;
use crate::ssh::Connector;
use sshchurn_core::vocabulary::{Phase, TaskFailure};

/// One attempt; held to the end of the round when it is admitted.
pub(super) async fn occupy<C: Connector>(
    strategy: &Strategy,
    hands: &mut Hands<'_, C>,
    others: &Rendezvous,
) -> Result<(), TaskFailure> {
    let limits = &strategy.passing;
    let answer = hands.link.hold(Phase::Submit, 1, limits).await;
    others.arrive();
    let held = answer.map_err(|_| TaskFailure::SubmitConnect)?;
    // Bounded, should a task of the round never get its answer.
    let everybody = async {
        tokio::select! {
            biased;
            () = others.complete() => {}
            () = hands.link.pause(strategy.tunables.login_timeout) => {}
        }
    };
    held.until(everybody)
        .await
        .map_err(|_| TaskFailure::SubmitConnect)
}
