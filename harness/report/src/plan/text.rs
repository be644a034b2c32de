//! The plan for a person: the answer first, then what speaks for it.

use std::fmt::Write as _;

use super::document::{Answer, Metric, PlanReport, Regime, Setting, StrategyPlan};
use sshchurn_core::manifest::StandIn;
use sshchurn_core::model::calibration::RushFit;
use sshchurn_core::model::server::ClientPlace;

/// The plan.
#[must_use]
pub fn render(report: &PlanReport) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}", StandIn::Simulated.headline());
    for plan in &report.strategies {
        out.push('\n');
        strategy(&mut out, report, plan);
    }
    out.push('\n');
    basis(&mut out, report);
    out
}

fn goals(report: &PlanReport) -> String {
    report
        .goals
        .iter()
        .map(|goal| format!("`{goal}`"))
        .collect::<Vec<_>>()
        .join(" and ")
}

fn percent(share: f64) -> String {
    let text = format!("{:.1}", share * 100.0);
    format!("{} %", text.trim_end_matches(".0"))
}

/// A value in words.
fn value(setting: Setting, value: u64) -> String {
    match setting {
        Setting::Start => format!("start {value}"),
        Setting::Tasks => format!("{value} tasks"),
        Setting::StaggerMs => format!("tasks that begin over {}", seconds(value)),
        Setting::PollIntervalMs => format!("a poll every {}", seconds(value)),
        Setting::Attempts => format!("{value} connect attempts"),
    }
}

fn seconds(milliseconds: u64) -> String {
    let text = format!("{:.1}", milliseconds as f64 / 1000.0);
    format!("{} s", text.trim_end_matches(".0"))
}

fn strategy(out: &mut String, report: &PlanReport, plan: &StrategyPlan) {
    let name = &plan.strategy;
    let Some(answer) = &plan.answer else {
        let _ = writeln!(
            out,
            "{name}: no value meets {} in {} of rounds.",
            goals(report),
            percent(report.reliability)
        );
        if let Some(missed) = plan.missed {
            let _ = writeln!(
                out,
                "  Even {} meets it in {} of {} simulated rounds only.",
                value(report.setting, missed.value),
                missed.trials.held,
                missed.trials.rounds
            );
        }
        return;
    };
    match (&answer.sshd_config, report.setting) {
        (Some(line), _) => {
            let _ = writeln!(out, "{line}");
        }
        (None, setting) => {
            let _ = writeln!(out, "{name}: {}", value(setting, answer.value));
        }
    }
    let tasks = match report.setting {
        Setting::Tasks => answer.value,
        _ => u64::from(report.tasks),
    };
    let _ = writeln!(
        out,
        "  {name}: with {}, {tasks} tasks meet {} in {} of {} simulated rounds ({} asked for).",
        value(report.setting, answer.value),
        goals(report),
        answer.trials.held,
        answer.trials.rounds,
        percent(report.reliability)
    );
    evidence(out, report, answer);
}

fn evidence(out: &mut String, report: &PlanReport, answer: &Answer) {
    if let Some(next) = answer.next {
        let _ = writeln!(
            out,
            "  The next {} misses it: {} does in {} of {} rounds.",
            match report.setting {
                Setting::Tasks => "larger number",
                _ => "smaller value",
            },
            value(report.setting, next.value),
            next.trials.held,
            next.trials.rounds
        );
    }
    if let Some(even) = answer.even {
        let _ = writeln!(
            out,
            "  With {} it is met in about half of the rounds ({} of {}).",
            value(report.setting, even.value),
            even.trials.held,
            even.trials.rounds
        );
    }
    let _ = writeln!(out, "  {}", regime(answer.regime));
    let expected = &answer.expected;
    let _ = writeln!(out, "  A round, mean and 95 % of rounds:");
    for (what, metric) in [
        ("connection attempts", &expected.attempts),
        ("logins", &expected.handshakes),
        ("refused", &expected.banner_eof),
        ("tasks failed", &expected.tasks_failed),
        ("most slots in use", &expected.startups_peak),
    ] {
        let _ = writeln!(out, "    {what:<22} {}", numbers(metric, 1.0));
    }
    let _ = writeln!(
        out,
        "    {:<22} {} s",
        "submit, 99th percent.",
        numbers(&expected.submit_p99_ns, 1e-9)
    );
    if !answer.sensitivity.is_empty() {
        let _ = writeln!(out, "  Under other assumptions, roughly:");
        for other in &answer.sensitivity {
            let found = match other.value {
                Some(found) => value(report.setting, found),
                None => String::from("no value meets it"),
            };
            let marked = if other.validated {
                ""
            } else {
                " (not validated)"
            };
            let _ = writeln!(out, "    {:<34} {found}{marked}", other.assumption);
        }
    }
    if report.setting == Setting::Start {
        cost(out, report, answer);
    }
    for verified in &answer.verified {
        let _ = writeln!(
            out,
            "  Verified, {}: goal met in {} of {} real rounds, {} predicted; attempts {:.0} measured, {:.0} predicted; refused \
             {:.1} and {:.1}; most slots {:.0} and {:.0}.",
            value(report.setting, verified.value),
            verified.measured.held,
            verified.measured.rounds,
            percent(verified.predicted),
            verified.attempts[1],
            verified.attempts[0],
            verified.banner_eof[1],
            verified.banner_eof[0],
            verified.startups_peak[1],
            verified.startups_peak[0],
        );
    }
}

fn numbers(metric: &Metric, unit: f64) -> String {
    let show = |value: f64| {
        let value = value * unit;
        match value.abs() {
            small if small < 10.0 && small.fract() > 0.0 => format!("{value:.2}"),
            small if small < 100.0 && small.fract() > 0.0 => format!("{value:.1}"),
            _ => format!("{value:.0}"),
        }
    };
    format!(
        "{} ({} to {})",
        show(metric.mean),
        show(metric.low),
        show(metric.high)
    )
}

fn regime(regime: Regime) -> &'static str {
    match regime {
        Regime::Headroom => "Headroom: at most 5 % of connection attempts are refused.",
        Regime::NearTheKnee => {
            "Near the knee: between 5 % and 30 % of connection attempts are refused; a little more load refuses many more."
        }
        Regime::Saturated => {
            "Saturated: more than 30 % of connection attempts are refused. Numbers here are rough; only the word is meant."
        }
        Regime::ListenQueue => {
            "The listen queue is the limit: more than 128 connections wait at once, and the kernel makes clients wait 1 s, 3 s, 7 s \
             before sshd sees them. A MaxStartups larger than this does not help; a later start of some tasks does."
        }
    }
}

fn cost(out: &mut String, report: &PlanReport, answer: &Answer) {
    let full = (answer.value as f64 * report.full_by_start).round() as u64;
    let memory = match answer.memory_bytes {
        Some(bytes) => format!("about {:.0} MiB of memory and ", bytes as f64 / 1048576.0),
        None => String::new(),
    };
    let _ = writeln!(
        out,
        "  What it costs: at full, {full} logins under way, {memory}{full} descriptors of the listener. An attacker who says \
         nothing can hold as many for LoginGraceTime each, and needs {full} connections to shut everybody out."
    );
}

fn basis(out: &mut String, report: &PlanReport) {
    let clients = match report.clients {
        ClientPlace::Here => "on the server's own machine, whose cores they share",
        ClientPlace::Elsewhere => {
            "elsewhere, with cores of their own (`--clients here` for this machine)"
        }
    };
    let _ = writeln!(out, "Clients: {clients}.");
    match &report.calibration {
        None => {
            let _ = writeln!(
                out,
                "Costs: assumed, of a machine that nobody measured. Nothing above is about your server."
            );
        }
        Some(calibration) => {
            let readings = &calibration.readings;
            let fit = &calibration.fit;
            let off = |ratio: f64| format!("{:+.0} %", (ratio - 1.0) * 100.0);
            let all: Vec<&RushFit> = fit.rushes.iter().chain(&fit.rushes_with_jobs).collect();
            let of_rushes = |ratio: fn(&RushFit) -> Option<f64>| {
                let ratios: Vec<f64> = all.iter().copied().filter_map(ratio).collect();
                match ratios.len() {
                    0 => "not known".to_owned(),
                    count => off(ratios.iter().sum::<f64>() / count as f64),
                }
            };
            let _ = writeln!(
                out,
                "Calibrated on {} ({}), {} cores: {} logins, {:.1} a second with {} at once; {:.1} ms of sshd's CPU each, {:.1} ms of \
                 the client's; round trip {:.2} ms.",
                calibration.release,
                calibration.target,
                readings.cores,
                readings.logins,
                readings.logins_per_s,
                readings.crowd,
                readings.server_cpu_ns / 1e6,
                readings.client_cpu_ns / 1e6,
                readings.round_trip_ns as f64 / 1e6
            );
            let _ = writeln!(
                out,
                "The model beside what was measured. That crowd: logins a second {}, key exchange {}, login {}{}. {} rushes of {}, of logins \
                 and of jobs: key exchange {}, login {}, most slots in use {}.",
                off(fit.logins),
                off(fit.kex),
                off(fit.auth),
                fit.slot.map_or_else(String::new, |slot| format!(
                    ", time in the slot {}",
                    off(slot)
                )),
                all.len(),
                readings.rush,
                of_rushes(|rush| Some(rush.kex)),
                of_rushes(|rush| Some(rush.auth)),
                of_rushes(|rush| rush.peak)
            );
            let _ = writeln!(
                out,
                "The fit is off by {:.0} % on average, so simulated rounds differ from each other by as much.",
                calibration.costs.uncertainty * 100.0
            );
        }
    }
}

/// The arithmetic behind it.
#[must_use]
pub fn explained(report: &PlanReport) -> String {
    let mut out = String::new();
    let Some(calibration) = &report.calibration else {
        return out;
    };
    let (readings, costs) = (&calibration.readings, &calibration.costs);
    let ms = |ns: u64| ns as f64 / 1e6;
    let _ = writeln!(out, "How it was computed");
    for (what, cost) in [
        ("client: socket and connect()", costs.connect_cpu_ns),
        ("listener: accept and decide", costs.accept_cpu_ns),
        ("listener: make a process", costs.fork_cpu_ns),
        ("process, to the identification", costs.start_cpu_ns),
        ("client: key exchange and login", costs.client_kex_cpu_ns),
        ("server: key exchange", costs.kex_cpu_ns),
        ("login: least time of a request", costs.auth_request_ns),
        ("login: CPU of both requests", costs.auth_cpu_ns),
        ("until the slot is free", costs.release_cpu_ns),
        ("session, slot free by then", costs.session_cpu_ns),
        ("wait of a first command", costs.first_command_wait_ns),
        ("a command", costs.exec_cpu_ns),
        ("client: a command", costs.client_exec_cpu_ns),
        ("a process more", costs.process_cpu_ns),
        ("end of the connection", costs.end_cpu_ns),
    ] {
        let _ = writeln!(out, "  {what:<34} {:>8.3} ms", ms(cost));
    }
    let slot = ms(costs.slot_cpu_ns()) + 2.0 * ms(costs.auth_request_ns);
    let _ = writeln!(
        out,
        "  A login holds its slot for about {slot:.0} ms on the idle machine. {} cores do {:.1} logins a second at most.",
        readings.cores,
        f64::from(readings.cores) * 1e9
            / (costs.handshake_cpu_ns() + costs.exec_cpu_ns).max(1) as f64
    );
    let _ = writeln!(
        out,
        "  By Little's law, slots in use = logins a second × time in the slot: {:.1} at {:.1} a second, alone.",
        readings.logins_per_s * slot / 1000.0,
        readings.logins_per_s
    );
    for plan in &report.strategies {
        let Some(answer) = &plan.answer else { continue };
        let (low, high) = answer.trials.interval();
        let _ = writeln!(
            out,
            "  {}: {} of {} rounds is {} to {} with 95 % confidence.",
            plan.strategy,
            answer.trials.held,
            answer.trials.rounds,
            percent(low),
            percent(high)
        );
    }
    out
}
