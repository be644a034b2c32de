//! What makes a run invalid, and what does not, from hand-built ledgers.

use super::*;
use crate::analysis::laws::{self, LawStatus};
use crate::analysis::ledger_builder::{LedgerBuilder, NEW, OLD, manifest, small_run};

use crate::ledger::Event;
use crate::vocabulary::{AttemptOutcome, CleanupResult, Phase, StageFailure, TaskFate};

fn found(run: &RunSummary, id: CheckId) -> Option<Check> {
    check(run).into_iter().find(|check| check.id == id)
}

fn status(run: &RunSummary, id: CheckId) -> Option<CheckStatus> {
    found(run, id).map(|check| check.status)
}

/// A complete round of one task whose attempts end like this.
fn round_of(outcomes: &[AttemptOutcome]) -> RunSummary {
    let mut ledger = LedgerBuilder::new(manifest());
    ledger.round(OLD, 1, 1).start(0);
    for outcome in outcomes {
        ledger.attempt(0, Phase::Submit, 1, outcome.clone());
    }
    let fate = TaskFate::Failed {
        failure: crate::vocabulary::TaskFailure::SubmitConnect,
    };
    ledger
        .end(0, fate, CleanupResult::NotRequired)
        .round_end(RoundEnd::Complete)
        .run_end(RunEnd::Complete);
    ledger.summary()
}

const REFUSED: AttemptOutcome = AttemptOutcome::BannerEof {
    close: crate::vocabulary::Close::Eof,
};
const REJECTED: AttemptOutcome = AttemptOutcome::AuthFailed {
    failure: StageFailure::Rejected,
};

#[test]
fn connections_that_left_an_sshd_that_bans_without_a_login_are_said_and_others_are_not() {
    use crate::manifest::ServerKind;
    let left = |kind, identification: &str, outcomes: &[AttemptOutcome]| {
        let mut run = round_of(outcomes);
        let target = &mut run.manifest.as_mut().expect("a manifest").target;
        target.kind = kind;
        identification.clone_into(&mut target.identification);
        found(&run, CheckId::BanEarned).map(|check| (check.status, check.actual))
    };
    let (held, bans) = (AttemptOutcome::Held, "SSH-2.0-OpenSSH_9.8");
    let (status, actual) = left(
        ServerKind::External,
        bans,
        &[held.clone(), REJECTED, REFUSED],
    )
    .expect("said");
    assert_eq!(status, CheckStatus::Warn);
    assert!(
        actual.starts_with("1 connections") && actual.contains("1 after a login that failed"),
        "{actual}"
    );
    assert_eq!(
        left(
            ServerKind::External,
            bans,
            &[REFUSED, AttemptOutcome::Handshake]
        ),
        None
    );
    assert_eq!(
        left(
            ServerKind::External,
            "SSH-2.0-OpenSSH_9.7",
            std::slice::from_ref(&held)
        ),
        None
    );
    assert_eq!(left(ServerKind::Local, bans, &[held]), None);
    // Silent clients that sshd ended have earned it as well.
    let mut run = round_of(&[REFUSED]);
    let target = &mut run.manifest.as_mut().expect("a manifest").target;
    target.kind = ServerKind::External;
    bans.clone_into(&mut target.identification);
    run.strategies[0].rounds[0].numbers.holders = Some(crate::analysis::summary::Holders {
        asked: 4,
        admitted: 4,
        ended_by_grace: 1,
        ended_early: 2,
        logged_in: 1,
        ..Default::default()
    });
    let said = found(&run, CheckId::BanEarned).expect("said");
    assert!(said.actual.starts_with("3 connections"), "{}", said.actual);
}

#[test]
fn other_clients_from_more_addresses_than_are_kept_are_said_to_be_so() {
    use crate::analysis::reconciliation::OtherClients;
    let told = |connections| {
        let mut run = round_of(&[REFUSED]);
        let books = run.strategies[0].rounds[0].reconciliation.as_mut();
        books.expect("a log").others = Some(OtherClients {
            connections,
            by_address: [("192.0.2.1".to_owned(), 3)].into(),
            ..OtherClients::default()
        });
        found(&run, CheckId::OtherClients).expect("said").actual
    };
    assert!(told(3).contains("(3 from 192.0.2.1):"), "{}", told(3));
    assert!(
        told(5).contains("(3 from 192.0.2.1, 2 from further addresses):"),
        "{}",
        told(5)
    );
}

#[test]
fn client_that_met_nobody_is_no_measurement_however_few_its_refusals() {
    use AttemptOutcome::{ConnectRefused, ConnectTimeout, Handshake, Held};
    for (outcomes, expected) in [
        (&[][..], CheckStatus::Invalid),
        (&[ConnectRefused, ConnectRefused], CheckStatus::Invalid),
        (&[ConnectTimeout], CheckStatus::Invalid),
        (&[REJECTED, REJECTED], CheckStatus::Invalid),
        (&[REFUSED, REJECTED], CheckStatus::Invalid),
        // An answer, such as a banned address gets.
        (&[REFUSED, REFUSED], CheckStatus::Warn),
        (&[REFUSED, Handshake], CheckStatus::Ok),
        (&[REFUSED, Held], CheckStatus::Ok),
    ] {
        let run = round_of(outcomes);
        assert_eq!(
            status(&run, CheckId::Admitted),
            Some(expected),
            "{outcomes:?}"
        );
    }
    // Without the server's word for it, a refusal may be anybody's.
    let mut unseen = round_of(&[REFUSED, REFUSED]);
    unseen.strategies[0].rounds[0].server_log = None;
    assert_eq!(
        status(&unseen, CheckId::Admitted),
        Some(CheckStatus::Invalid)
    );
    let shut = found(&round_of(&[ConnectRefused]), CheckId::Admitted).expect("checked");
    assert!(
        shut.actual
            .contains("per-command #1 (1 attempts, 0 refused)"),
        "{shut:?}"
    );
}

#[test]
fn tasks_that_wait_for_others_by_the_scenario_are_no_burst() {
    let spread = |max_in_flight| {
        let mut manifest = manifest();
        manifest.scenario.max_in_flight = max_in_flight;
        let mut ledger = LedgerBuilder::new(manifest);
        ledger.round(OLD, 1, 2).start(0);
        ledger.connect(0, Phase::Submit, 1);
        ledger
            .wait(20_000)
            .end(0, TaskFate::Succeeded, CleanupResult::Removed)
            .start(1);
        ledger.connect(1, Phase::Submit, 1);
        status(&ledger.summary(), CheckId::StartSpread)
    };
    assert_eq!(spread(Some(1)), None);
    for no_limit in [None, Some(2)] {
        assert_eq!(spread(no_limit), Some(CheckStatus::Invalid));
    }
}

#[test]
fn event_loop_is_held_against_half_of_the_shortest_deadline() {
    let lag = |deadline_ms: u64, lag_ms| {
        let mut manifest = manifest();
        manifest.scenario.shortest_deadline_ns = deadline_ms * 1_000_000;
        let mut ledger = LedgerBuilder::new(manifest);
        ledger.sample(0.0, lag_ms);
        status(&ledger.summary(), CheckId::LoopLag)
    };
    assert_eq!(lag(10_000, 50), Some(CheckStatus::Ok));
    assert_eq!(lag(10_000, 3_000), Some(CheckStatus::Warn));
    assert_eq!(lag(10_000, 5_001), Some(CheckStatus::Invalid));
    assert_eq!(lag(1_000, 501), Some(CheckStatus::Invalid));
    assert_eq!(lag(1_000, 499), Some(CheckStatus::Warn));
    // 5 s are the limit whatever the deadlines.
    assert_eq!(lag(100_000, 5_001), Some(CheckStatus::Invalid));
}

#[test]
fn generator_that_was_not_looked_at_is_not_called_healthy() {
    let run = LedgerBuilder::new(manifest()).summary();
    assert_eq!(status(&run, CheckId::LoopLag), Some(CheckStatus::Warn));
}

#[test]
fn refusals_of_processes_that_died_are_explained_but_are_no_refusals_of_sshd() {
    let crashed = |crashes: usize, refusals: usize| {
        let mut ledger = LedgerBuilder::new(manifest());
        ledger.round(OLD, 1, 1).start(0);
        for number in 0..refusals {
            ledger.refused(0, Phase::Submit, 1);
            if number < crashes {
                // sshd let it in, and its process ended before a word.
                let port = ledger.port();
                ledger.unlog(port);
                ledger.connection_from(port);
            }
        }
        ledger.round_end(RoundEnd::Complete);
        ledger.summary()
    };
    assert_eq!(status(&crashed(0, 40), CheckId::RefusalCauses), None);
    assert_eq!(
        status(&crashed(1, 40), CheckId::RefusalCauses),
        Some(CheckStatus::Warn)
    );
    let run = crashed(40, 40);
    let check = found(&run, CheckId::RefusalCauses).expect("checked");
    assert_eq!(check.status, CheckStatus::Invalid);
    assert!(check.actual.contains("40 of 40 refusals"), "{check:?}");
    // The books account for every one of them all the same.
    let broken: Vec<_> = laws::check(&run)
        .into_iter()
        .filter(|law| law.id == laws::LawId::ServerDrops && law.status == LawStatus::Broken)
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn complete_small_run_is_in_order() {
    let run = small_run(manifest()).summary();
    assert_eq!(status(&run, CheckId::Admitted), Some(CheckStatus::Ok));
    assert_eq!(status(&run, CheckId::RefusalCauses), None);
    assert!(
        run.strategies
            .iter()
            .any(|strategy| strategy.strategy.0 == NEW)
    );
}

/// A listing that was promised and not made says nothing of what lies there.
#[test]
fn inventory_that_was_not_taken_does_not_hold() {
    let mut ledger = small_run(manifest());
    for record in &mut ledger.records {
        if let Event::RoundEnded {
            inventory_taken, ..
        } = &mut record.event
        {
            *inventory_taken = false;
        }
    }
    ledger
        .records
        .retain(|record| !matches!(record.event, Event::DirectoryFound { .. }));
    let run = ledger.summary();
    let inventory = |run: &RunSummary| {
        laws::check(run)
            .into_iter()
            .find(|law| law.id == laws::LawId::Inventory)
            .map(|law| law.status)
    };
    assert_eq!(inventory(&run), Some(LawStatus::Broken));
    let mut run = run;
    if let Some(manifest) = &mut run.manifest {
        manifest.target.inventory_available = false;
    }
    assert_eq!(inventory(&run), Some(LawStatus::NotCheckable));
}
