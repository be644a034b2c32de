//! failing-login: logins with a key that the server does not know, one every so often, from an address of the task's own, as a
//! health probe or a client with a wrong key makes them. They end when all are made or one is refused before it began; then a
//! valid key is tried until it is let in again.
//!
//! Owns the order and the bounds. Whether a refusal was a ban is not known here: the server's log says it. Neither a refused
//! connection nor a login that succeeds earns a penalty, so that probing prolongs no ban.

use std::net::IpAddr;

use super::{Hands, Strategy};
use crate::ssh::{ConnectLimits, Connector};
use sshchurn_core::scenario::failing_source;
use sshchurn_core::vocabulary::{AttemptOutcome, Phase, StageFailure, TaskFailure};

/// A login that fails for its key is what is wanted, and so is a refusal; anything else fails the task.
pub(super) async fn run<C: Connector>(
    strategy: &Strategy,
    hands: &Hands<'_, C>,
) -> Result<(), TaskFailure> {
    let (link, tunables) = (hands.link, &strategy.tunables);
    let (round, task) = link.place();
    let spacings = &tunables.spacing;
    let spacing = spacings[task.0 as usize % spacings.len()];
    let valid = ConnectLimits {
        source: Some(IpAddr::V4(failing_source(round, task))),
        ..strategy.passing.clone()
    };
    let unknown = ConnectLimits {
        unknown_key: true,
        ..valid.clone()
    };
    let refused = {
        let _phase = link.phase(Phase::Submit);
        let mut due = link.now();
        let mut made = 0;
        loop {
            if made == tunables.logins {
                break false;
            }
            link.pause_until(due).await;
            // From the beginning of one to that of the next, or at once where it took longer. Lost time is not made up for:
            // logins back to back could earn a ban that is not the spacing's.
            due = link.now() + spacing;
            made += 1;
            match link.connect(Phase::Submit, 1, &unknown).await {
                Err(AttemptOutcome::AuthFailed {
                    failure: StageFailure::Rejected,
                }) => {}
                Err(AttemptOutcome::BannerEof { .. }) => break true,
                Err(_) => return Err(TaskFailure::SubmitConnect),
                // A server that lets anybody in.
                Ok(session) => {
                    session.close().await;
                    return Err(TaskFailure::SubmitCommand);
                }
            }
        }
    };
    if !refused {
        return Ok(());
    }
    let _phase = link.phase(Phase::Poll);
    let give_up = link.now() + tunables.probe_timeout;
    let mut ordinal = 1;
    while link.now() < give_up {
        link.pause(tunables.probe_interval).await;
        match link.connect(Phase::Poll, ordinal, &valid).await {
            Ok(session) => {
                session.close().await;
                return Ok(());
            }
            Err(AttemptOutcome::BannerEof { .. }) => ordinal += 1,
            Err(_) => return Err(TaskFailure::Monitor),
        }
    }
    // How long the ban lasts is not known then, and the report says so.
    Ok(())
}
