//! Silent clients beside the tasks: each takes a startup slot before any task begins, and keeps it.
//!
//! Owns their life. They are no tasks: they wait for none and none waits for them, and what becomes of them is recorded under
//! events of their own. Where sshd may ban sources, they log in before they leave: that earns no penalty.

use std::time::Duration;

use futures::StreamExt;
use futures::future::join;
use futures::stream::FuturesUnordered;

use super::link::Link;
use super::rendezvous::Word;
use super::round::Engine;
use super::stop::StopLevel;
use crate::ssh::{ConnectLimits, Connector};
use sshchurn_core::ids::{RoundId, TaskId};
use sshchurn_core::scenario::HoldUntil;
use sshchurn_core::vocabulary::AttemptOutcome;

/// For each stage of a holder's connection. One that sshd does not answer in that time holds no slot that anybody knows of.
const WITHIN: Duration = Duration::from_secs(30);
/// For its login at the end: sshd ends one that takes longer (`LoginGraceTime`); a look-up of keys may take most of it.
const LOGIN_WITHIN: Duration = Duration::from_secs(120);

/// How a holder that sshd has not ended leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// By closing its connection. sshd counts that as `noauth` where penalties are on.
    Closing,
    /// By logging in first.
    LoggingIn,
}

impl Engine {
    /// Runs `work`, the tasks of a round, beside the scenario's holders; `connector` makes one connector for each of them.
    ///
    /// They connect one after the other. sshd identifies itself to each that it has admitted, so that its slot is known to be
    /// taken before `work` begins. Nobody is asked in place of one that is refused; one that gets no answer ends the asking.
    pub async fn beside_holders<C: Connector, T>(
        &self,
        round: RoundId,
        leaving: Leaving,
        connector: impl Fn() -> C,
        work: impl Future<Output = T>,
    ) -> T {
        let Some(holders) = self.scenario().holders else {
            return work.await;
        };
        let limits = ConnectLimits {
            asks_methods: true,
            login: LOGIN_WITHIN,
            ..ConnectLimits::within(WITHIN)
        };
        let links: Vec<Link<C>> = (0..holders.count)
            .map(|number| self.link(connector(), round, TaskId(number)))
            .collect();
        let over = Word::new();
        let released = async || match holders.until {
            HoldUntil::RoundEnd => over.hear().await,
            HoldUntil::GraceTime => self.stop().at_least(StopLevel::Drain).await,
        };
        let mut held = FuturesUnordered::new();
        for link in &links {
            let asking = link.hold_beside(&limits);
            tokio::pin!(asking);
            let answer = loop {
                tokio::select! {
                    biased;
                    () = self.stop().at_least(StopLevel::Drain) => break None,
                    answer = &mut asking => break Some(answer),
                    // What sshd does to those before is recorded when it happens.
                    Some(()) = held.next(), if !held.is_empty() => {}
                }
            };
            match answer {
                Some(Ok(holder)) => {
                    let (limits, released) = (&limits, &released);
                    held.push(async move {
                        let Ok(holder) = holder.kept(released()).await else {
                            return;
                        };
                        if leaving == Leaving::LoggingIn && self.stop().level() < StopLevel::Abort {
                            link.log_in(holder, limits).await;
                        } else {
                            holder.let_go();
                        }
                    });
                }
                Some(Err(AttemptOutcome::BannerEof { .. })) => {}
                Some(Err(_)) | None => break,
            }
        }
        let work = async {
            let done = work.await;
            over.say(());
            done
        };
        let (done, ()) = join(work, async { while held.next().await.is_some() {} }).await;
        done
    }
}
