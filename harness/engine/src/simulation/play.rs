//! A round on virtual time, from its first task to its last.
//!
//! Here, and not where it is asked for, since this is what all generic code of a simulated round is compiled for.

use futures::future::{Either, select};

use super::connector::SimulatedRound;
use super::executor::{Stalled, run};
use super::in_place::InPlace;
use super::time::VirtualTime;
use crate::holders::Leaving;
use crate::round::{Engine, RoundPlan};
use sshchurn_core::instant::RunInstant;
use sshchurn_core::ledger::RoundEnd;

impl SimulatedRound {
    /// Runs the tasks of a round on this server, beside its holders; at `most` it calls `out_of_time`, which is to stop it.
    ///
    /// # Errors
    /// [`Stalled`] when everybody waits for something that never comes.
    pub fn play(
        &self,
        engine: &Engine,
        plan: &RoundPlan,
        time: &VirtualTime,
        most: RunInstant,
        out_of_time: &dyn Fn(),
    ) -> Result<RoundEnd, Stalled> {
        let connector = || self.connector();
        let tasks = engine.run_round_on(&InPlace, plan, connector);
        let tasks = engine.beside_holders(plan.round, Leaving::Closing, connector, tasks);
        let bounded = async {
            match select(Box::pin(tasks), time.sleep_until(most)).await {
                Either::Left((end, _)) => end,
                Either::Right(((), tasks)) => {
                    out_of_time();
                    tasks.await
                }
            }
        };
        run(time, self.board(), bounded)
    }
}
