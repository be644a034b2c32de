//! Whether the generator was itself the limit, and whether it began when it meant to.
//!
//! Owns the checks of the harness's own side.

use super::{
    BURST_BASE_NS, BURST_INVALID_FACTOR, BURST_PER_TASK_NS, CPU_MEAN_INVALID, CPU_PEAK_WARN, Check,
    CheckId, CheckStatus, LOOP_LAG_INVALID_NS, LOOP_LAG_WARN_NS, OPEN_FILES_WARN,
    START_LAG_WARN_NS, make, stand_in, time,
};
use crate::analysis::summary::{BUSY_MACHINE, BUSY_THREAD, ClientLoad, RunSummary};
use crate::manifest::StandIn;
use crate::quantity::number;

pub(super) fn start_spread(run: &RunSummary) -> Option<Check> {
    let worst = run
        .rounds()
        .into_iter()
        .filter_map(|round| {
            let spread = round.start.spread_ns?;
            let limit = BURST_BASE_NS + BURST_PER_TASK_NS * round.books.tasks_scheduled;
            Some((spread, limit, round.numbers.clients.is_some()))
        })
        // The round that is furthest past its own limit.
        .max_by_key(|(spread, limit, _)| (u128::from(*spread) << 32) / u128::from(*limit))?;
    let (spread, limit, under_test) = worst;
    if under_test {
        // How long a program takes before it connects is the program's, and what sshd saw is the burst that there was.
        return Some(make(
            CheckId::StartSpread,
            if spread > limit {
                CheckStatus::Warn
            } else {
                CheckStatus::Ok
            },
            format!("{} in sshd's log", time(spread)),
            time(limit),
            "the clients did not connect at once: fewer were refused than of a burst; a client that says when it is ready \
             (`waits_for_go`) can be held back until all are",
        ));
    }
    let status = match spread {
        _ if spread > limit * BURST_INVALID_FACTOR => CheckStatus::Invalid,
        _ if spread > limit => CheckStatus::Warn,
        _ => CheckStatus::Ok,
    };
    Some(make(
        CheckId::StartSpread,
        status,
        time(spread),
        time(limit),
        "the tasks did not start at once: refusals are underestimated; free CPUs or run fewer tasks",
    ))
}

pub(super) fn start_lag(run: &RunSummary) -> Check {
    let lag = run
        .rounds()
        .iter()
        .map(|round| round.start.own_lag_max_ns)
        .max()
        .unwrap_or(0);
    let status = if lag > START_LAG_WARN_NS {
        CheckStatus::Warn
    } else {
        CheckStatus::Ok
    };
    make(
        CheckId::StartLag,
        status,
        time(lag),
        time(START_LAG_WARN_NS),
        "tasks began later than meant; submit and task latencies contain up to this much of the harness's own delay",
    )
}

pub(super) fn loop_lag(run: &RunSummary) -> Check {
    if run.generator.samples == 0 {
        return make(
            CheckId::LoopLag,
            CheckStatus::Warn,
            "not measured".to_owned(),
            time(LOOP_LAG_WARN_NS),
            "the run was over before the harness had looked at itself once; whether it was in its own way is not known",
        );
    }
    let lag = run.generator.loop_lag_max_ns;
    // Half of it is left for the server even then.
    let invalid = run
        .manifest
        .as_ref()
        .map_or(LOOP_LAG_INVALID_NS, |manifest| {
            LOOP_LAG_INVALID_NS.min(manifest.scenario.shortest_deadline_ns / 2)
        });
    let warn = LOOP_LAG_WARN_NS.min(invalid);
    let status = match lag {
        _ if lag > invalid => CheckStatus::Invalid,
        _ if lag > warn => CheckStatus::Warn,
        _ => CheckStatus::Ok,
    };
    make(
        CheckId::LoopLag,
        status,
        time(lag),
        time(warn),
        "the harness was starved of CPU; latencies may be too long by up to this much. Counts are not affected as long \
         as it stays below half of the shortest deadline",
    )
}

pub(super) fn generator_cpu(run: &RunSummary) -> Check {
    let mean = run.generator.cpu_share_mean.unwrap_or(0.0);
    let peak = run.generator.cpu_share_peak.unwrap_or(mean);
    let embedded = stand_in(run) == Some(StandIn::Embedded);
    let status = match () {
        // The stand-in's server side runs in this process: its CPU time cannot be told from the client's.
        () if mean >= CPU_MEAN_INVALID && !embedded => CheckStatus::Invalid,
        () if peak >= CPU_PEAK_WARN => CheckStatus::Warn,
        () => CheckStatus::Ok,
    };
    let advice = if embedded {
        "client and stand-in server share this process; rates and latencies are those of both together"
    } else {
        "the harness itself used much of the machine: rates may be the generator's limit; use more CPUs or fewer tasks"
    };
    make(
        CheckId::GeneratorCpu,
        status,
        format!(
            "{:.0} % of all CPUs in the busiest second, {:.0} % on average",
            peak * 100.0,
            mean * 100.0
        ),
        format!(
            "{:.0} % busiest, {:.0} % average",
            CPU_PEAK_WARN * 100.0,
            CPU_MEAN_INVALID * 100.0
        ),
        advice,
    )
}

pub(super) fn generator_faults(run: &RunSummary) -> Check {
    let faults: u64 = run
        .strategies
        .iter()
        .map(|strategy| strategy.numbers.total.counts.generator_fault)
        .sum();
    let status = if faults > 0 {
        CheckStatus::Invalid
    } else {
        CheckStatus::Ok
    };
    make(
        CheckId::GeneratorFaults,
        status,
        format!("{faults} attempts"),
        "0",
        "the harness ran out of descriptors, ports or memory: raise the limit (`sshchurn doctor` says which) and run \
         again",
    )
}

pub(super) fn open_files(run: &RunSummary) -> Option<Check> {
    let limit = run.manifest.as_ref()?.environment.open_files_limit;
    let open = u64::from(run.generator.open_files_max);
    let share = number(open) / number(limit.max(1));
    let status = if share > OPEN_FILES_WARN {
        CheckStatus::Warn
    } else {
        CheckStatus::Ok
    };
    Some(make(
        CheckId::OpenFiles,
        status,
        format!("{open} open files"),
        format!("{:.0} % of {limit}", OPEN_FILES_WARN * 100.0),
        "close to the limit of open files; a few more tasks would fail for the harness's own reasons",
    ))
}

pub(super) fn slow_connects(run: &RunSummary) -> Check {
    let slow: u64 = run
        .rounds()
        .iter()
        .map(|round| round.start.slow_connects)
        .sum();
    let status = if slow > 0 {
        CheckStatus::Warn
    } else {
        CheckStatus::Ok
    };
    make(
        CheckId::SlowConnects,
        status,
        format!("{slow} TCP connects took 1 s or more"),
        "0",
        // ssh.h: SSH_LISTEN_BACKLOG.
        "connects of about 1 s and 3 s are SYN retransmissions: sshd's listen queue of 128 overflowed, and the kernel \
         delayed connections; `tcp` latencies show it, and sshd met a slower burst than the clients made",
    )
}

/// A client that is itself the limit says little about the server.
pub(super) fn client_load(run: &RunSummary) -> Option<Check> {
    let mut clients = run
        .strategies
        .iter()
        .filter_map(|strategy| strategy.numbers.clients.as_ref())
        .peekable();
    clients.peek()?;
    let limit = format!(
        "{:.0} % of a core for a thread, {:.0} % of all cores",
        BUSY_THREAD * 100.0,
        BUSY_MACHINE * 100.0
    );
    // The busiest of them, by whichever of the two limits it is nearer to.
    let share = |load: &ClientLoad| {
        (load.thread_share / BUSY_THREAD).max(load.machine_share / BUSY_MACHINE)
    };
    let busiest = clients
        .filter_map(|clients| clients.load.as_ref())
        .max_by(|a, b| share(a).total_cmp(&share(b)));
    let Some(load) = busiest else {
        return Some(make(
            CheckId::ClientLoad,
            CheckStatus::Warn,
            "not measured".to_owned(),
            limit,
            "the rounds were too short to say whether the clients were themselves the limit",
        ));
    };
    Some(make(
        CheckId::ClientLoad,
        if load.saturated() {
            CheckStatus::Warn
        } else {
            CheckStatus::Ok
        },
        format!(
            "thread `{}` {:.0} % of a core, all cores {:.0} % busy, over {:.0} s",
            load.thread,
            load.thread_share * 100.0,
            load.machine_share * 100.0,
            load.window_s
        ),
        limit,
        "client or machine was saturated: refusals, rates and times depend on this machine's cores; the number of \
         connections that each task needs without refusals does not",
    ))
}
