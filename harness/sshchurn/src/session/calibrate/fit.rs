//! The search for the costs that cannot be read off: those under which the model does again what the server did.
//!
//! Owns the search. What was read off is [`Readings`]'s; which runs are made again is `calibrate`'s.

use std::path::PathBuf;

use sshchurn_core::analysis::summary::RunSummary;
use sshchurn_core::model::calibration::{Fit, Readings, Rush, RushFit};
use sshchurn_core::model::server::{Costs, Shares};

use super::super::error::SessionError;
use super::super::simulate::{DEFAULT_RELEASE, Simulation, summary};
use super::{Part, crowd_of, means, rush, rush_with_jobs, rushes, scenario, slot_time};

/// What the clients together may weigh against one process of the server's. On one machine they are one group to the scheduler; beside a
/// container they have as much as all of it.
const CLIENTS: [f64; 3] = [3.0, 10.0, 1000.0];
/// What the listener may.
const LISTENERS: [f64; 11] = [
    0.06, 0.08, 0.1, 0.12, 0.14, 0.17, 0.2, 0.24, 0.29, 0.35, 0.5,
];
/// Tries of the model.
const TRIES: u32 = 10;
/// Of what is left of a login's work when the login is done: until its slot is free, and until its first command can run. The rest is its
/// end.
const RELEASE: f64 = 0.05;
const SESSION: f64 = 0.55;

/// The costs and shares under which the model's crowd and its rushes come and go as the real ones did, and how well all of it fits then.
///
/// What was read off is where the search begins: times of a single client contain waits that no processor is busy with, and some of the
/// work of a login is the kernel's and on nobody's account. Each cost is then scaled by how far off the times are that it makes.
/// How the kernel shares the cores between clients and server is the same in every round; where the listener happens to be is not.
pub(super) fn fitted(readings: &Readings) -> Result<(Costs, Fit), SessionError> {
    let mut best: Option<(f64, Costs, Fit)> = None;
    for clients in CLIENTS {
        let mut costs = readings.costs(readings.after_keys() / 2.0);
        // All that a login costs the machine, the client's part included.
        let mut whole = f64::from(readings.cores) * 1e9 / readings.logins_per_s;
        for _ in 0..TRIES {
            let Some(fit) = fit_of(readings, &mut costs, clients)? else {
                break;
            };
            let off = fit.residual();
            tracing::debug!(clients, off, "tried");
            if best.as_ref().is_none_or(|(least, ..)| off < *least) {
                best = Some((off, costs.clone(), fit.clone()));
            }
            rescale(readings, &mut costs, &mut whole, &fit);
        }
    }
    let nothing = || SessionError::NothingMeasured(PathBuf::from("the calibration"));
    let (off, mut costs, fit) = best.ok_or_else(nothing)?;
    costs.uncertainty = off;
    Ok((costs, fit))
}

/// Costs nearer to those that would give the readings.
fn rescale(readings: &Readings, costs: &mut Costs, whole: &mut f64, fit: &Fit) {
    let scaled = |ns: u64, ratio: f64| (ns as f64 / ratio.clamp(0.6, 1.6)).max(1000.0) as u64;
    let [rushes, with_jobs] = [&fit.rushes, &fit.rushes_with_jobs];
    let of = |rushes: &[RushFit], ratio: fn(&RushFit) -> f64| mean(rushes.iter().map(ratio));
    // To the identification string most of a rush waits for the listener.
    costs.start_cpu_ns = scaled(costs.start_cpu_ns, fit.banner);
    let kex = [fit.kex, of(rushes, |it| it.kex), of(with_jobs, |it| it.kex)];
    costs.kex_cpu_ns = scaled(costs.kex_cpu_ns, mean(kex));
    // What the least time of the requests does not hide.
    let hidden = 2.0 * costs.auth_request_ns as f64;
    let shown = |ns: f64| (ns - hidden).max(hidden * 0.05);
    let real = |rushes: &[Rush]| mean(rushes.iter().map(|rush| rush.auth_ns));
    let auth = [
        (readings.crowded.auth_ns, fit.auth),
        (real(&readings.rushes), of(rushes, |it| it.auth)),
        (
            real(&readings.rushes_with_jobs),
            of(with_jobs, |it| it.auth),
        ),
    ]
    .map(|(real, ratio)| shown(real * ratio) / shown(real));
    costs.auth_cpu_ns = scaled(costs.auth_cpu_ns.max(100_000), mean(auth));
    costs.process_cpu_ns = scaled(costs.process_cpu_ns, of(with_jobs, |it| it.exec));
    *whole *= fit.logins.clamp(0.8, 1.25);
    let known = costs.accept_cpu_ns
        + costs.fork_cpu_ns
        + costs.start_cpu_ns
        + costs.kex_cpu_ns
        + costs.auth_cpu_ns
        + costs.exec_cpu_ns;
    let rest = (*whole - readings.client_cpu_ns - known as f64).max(0.0);
    costs.release_cpu_ns = (rest * RELEASE) as u64;
    costs.session_cpu_ns = (rest * SESSION) as u64;
    costs.end_cpu_ns = (rest * (1.0 - RELEASE - SESSION)) as u64;
    costs.first_command_wait_ns = readings.first_command_wait_ns(rest * SESSION);
}

/// The geometric mean of ratios, or of times.
fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (count, sum) = values.into_iter().fold((0.0, 0.0), |(count, sum), value| {
        (count + 1.0, sum + value.max(1e-3).ln())
    });
    if count > 0.0 {
        (sum / count).exp()
    } else {
        1.0
    }
}

/// Of each real rush, the listener's share under which the model's is most like it, and how like it that is.
fn like_the_rushes(
    real: &[Rush],
    part: Part,
    costs: &Costs,
    clients: f64,
) -> Result<Vec<(Shares, RushFit)>, SessionError> {
    let mut tried = Vec::new();
    for listener in LISTENERS {
        let shares = Shares { listener, clients };
        let costs = Costs {
            shares: vec![shares],
            listener_spread: 0.0,
            ..costs.clone()
        };
        let run = again(part, &costs)?;
        tried.extend(rushes(&run).into_iter().map(|rush| (shares, rush)));
    }
    let alike = real.iter().filter_map(|real| {
        let fits = tried
            .iter()
            .map(|(shares, rush)| (*shares, real.ratios(rush)));
        fits.min_by(|(_, a), (_, b)| a.off().total_cmp(&b.off()))
    });
    Ok(alike.collect())
}

/// How far from the listener's share in one of a few rushes that in another round may well be, as a standard deviation of its logarithm:
/// the bandwidth of a normal kernel (Silverman, *Density Estimation*, 1986, 3.4.2). The grid alone leaves half a step open.
fn between(shares: &[Shares]) -> f64 {
    let step = (LISTENERS[1] / LISTENERS[0]).ln() / 12_f64.sqrt();
    let logarithms: Vec<f64> = shares.iter().map(|shares| shares.listener.ln()).collect();
    let rushes = logarithms.len().max(2) as f64;
    let mean = logarithms.iter().sum::<f64>() / rushes;
    let variance = logarithms.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (rushes - 1.0);
    1.06 * variance.sqrt().max(step) * rushes.powf(-0.2)
}

/// What the model makes of these costs, by what was measured. The costs get the listener's shares under which the rushes fit best.
fn fit_of(
    readings: &Readings,
    costs: &mut Costs,
    clients: f64,
) -> Result<Option<Fit>, SessionError> {
    let mut alike = like_the_rushes(&readings.rushes, rush(), costs, clients)?;
    let with_jobs = &readings.rushes_with_jobs;
    alike.extend(like_the_rushes(
        with_jobs,
        rush_with_jobs(),
        costs,
        clients,
    )?);
    let (shares, mut rushes): (Vec<Shares>, Vec<RushFit>) = alike.into_iter().unzip();
    costs.listener_spread = between(&shares);
    costs.shares = shares;
    let rushes_with_jobs = rushes.split_off(readings.rushes.len().min(rushes.len()));
    let logins = u32::try_from(readings.logins).unwrap_or(u32::MAX).max(1);
    let run = again(crowd_of(logins, readings.crowd), costs)?;
    let strategy = run.strategies.first();
    let crowded = strategy.and_then(|strategy| {
        let total = &strategy.numbers.total;
        Some((means(total)?, total.rate.mean()?))
    });
    let slot = strategy.and_then(|it| slot_time(it.rounds.first()?));
    Ok(crowded.map(|(means, rate)| Fit {
        logins: rate / readings.logins_per_s,
        banner: means.banner_ns / readings.crowded.banner_ns,
        kex: means.kex_ns / readings.crowded.kex_ns,
        auth: means.auth_ns / readings.crowded.auth_ns,
        slot: slot.zip(readings.slot_ns).map(|(model, real)| model / real),
        rushes,
        rushes_with_jobs,
    }))
}

fn again(part: Part, costs: &Costs) -> Result<RunSummary, SessionError> {
    let scenario = scenario(part);
    let simulation = Simulation {
        costs: costs.clone(),
        release: DEFAULT_RELEASE,
        calibration: None,
    };
    Ok(summary(&scenario, &simulation, true)?.0)
}
