//! `sshchurn sweep`: one scenario at many points. Arguments → points, each checked → runs, each recorded → tables.

use std::path::Path;

use super::args::SweepArgs;
use super::console::Console;
use super::error::{self, CliError};
use super::overrides::{self, Resolved, another_experiment, select_strategies};
use super::run::check_clients;
use super::server_choice;
use super::signals;
use crate::session::{
    Sweep, SweepDirectory, SweepPoint, SweepStop, check_thresholds, gather, preflight, run_id,
};
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::gate::Selector;
use sshchurn_core::ids::StrategyName;
use sshchurn_core::release::Release;
use sshchurn_core::scenario::{Scenario, VaryError};
use sshchurn_core::sweep::{
    OTHER_KEYS, RELEASE, STRATEGY, Setting, Shard, grid, label, parse_list,
};
use sshchurn_report::sweep::{
    self as report, AskedServer, DEFAULT_METRICS, DefinedPoint, SWEEP_SCHEMA_VERSION,
    SweepDefinition, SweepReport,
};

/// Most runs of a sweep: beyond it the records alone are more than anybody reads, and a typing error is more likely.
const MOST_RUNS: usize = 100_000;

pub(super) async fn command(args: SweepArgs, console: Console) -> Result<ExitCode, CliError> {
    if !args.report.is_empty() {
        return put_together(&args, &console);
    }
    let (definition, points) = planned(&args)?;
    let metrics = selectors(&args.metrics, &definition)?;
    let name = run_id(&format!("sweep-{}", definition.scenario));
    let (directory, there) = SweepDirectory::enter(args.out.as_deref(), &name.0, &definition)?;
    let stop = SweepStop::listen(signals::stream()?, console.clone());
    let sweep = Sweep {
        definition,
        points,
        directory,
        shard: args.shard.unwrap_or(Shard::WHOLE),
        keep_runs: args.keep_runs,
    };
    let path = sweep.directory.path().display();
    if there {
        console.aside(&format!("going on with the sweep in {path}"));
    }
    let interrupted = sweep
        .run(&stop, &console.clone().terse(), &error::in_one_line)
        .await?;
    let report = sweep.report(&metrics, interrupted)?;
    let written = SweepDirectory::write(sweep.directory.path(), &report);
    console.show(&report, args.format, None)?;
    console.aside(&format!("sweep directory: {path}"));
    if report.runs_done < report.runs_asked {
        console.note(&format!(
            "{} of {} runs are recorded; the same command with `--out {path}` goes on",
            report.runs_done, report.runs_asked
        ));
    }
    written?;
    Ok(report.exit)
}

/// `--report`: what is recorded in some directories, as one sweep.
fn put_together(args: &SweepArgs, console: &Console) -> Result<ExitCode, CliError> {
    let (definition, sources) = gather(&args.report)?;
    let metrics = selectors(&args.metrics, &definition)?;
    let report = SweepReport::new(&definition, Shard::WHOLE, &metrics, sources);
    let out = match (&args.out, &args.report[..]) {
        (Some(out), _) => Some(out),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let written = out.map(|out| SweepDirectory::write(out, &report));
    console.show(&report, args.format, None)?;
    match out {
        Some(out) => console.aside(&format!("sweep directory: {}", out.display())),
        None => console
            .note("nothing was written; `--out DIR` writes sweep.json, sweep.csv and sweep.html"),
    }
    written.transpose()?;
    Ok(report.exit)
}

/// Everything that can be wrong with any point is found here, before the first is run.
fn planned(args: &SweepArgs) -> Result<(SweepDefinition, Vec<SweepPoint>), CliError> {
    let base = overrides::resolve(&args.scenario, &args.overrides)?;
    let all = match &args.points {
        Some(path) => listed(path)?,
        None => grid(&args.vary).map_err(|error| CliError::Usage(format!("--vary {error}")))?,
    };
    let runs = all.len().saturating_mul(args.repeats as usize);
    if runs > MOST_RUNS {
        return Err(CliError::Usage(format!(
            "{} points, {} times each, are {runs} runs; at most {MOST_RUNS} make a sweep",
            all.len(),
            args.repeats
        )));
    }
    check_not_set_twice(args, &all)?;
    let mut points = Vec::new();
    let mut defined = Vec::new();
    for settings in all {
        let point = point(args, &base, &settings).map_err(|source| CliError::Point {
            point: label(&settings),
            source: Box::new(source),
        })?;
        defined.push(DefinedPoint {
            strategies: point.scenario.strategy_names(),
            settings,
        });
        points.push(point);
    }
    let definition = SweepDefinition {
        schema_version: SWEEP_SCHEMA_VERSION,
        scenario: base.scenario.name.clone(),
        origin: base.origin,
        effective_toml: base.scenario.to_toml(),
        seed: base.scenario.seed,
        server: asked(args),
        repeats: args.repeats,
        points: defined,
    };
    Ok((definition, points))
}

/// The points of a list.
fn listed(path: &Path) -> Result<Vec<Vec<Setting>>, CliError> {
    let told = |why: String| CliError::Usage(format!("--points {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
    parse_list(&text).map_err(|error| told(error.to_string()))
}

/// One point, checked as a run of it would be.
fn point(args: &SweepArgs, base: &Resolved, settings: &[Setting]) -> Result<SweepPoint, CliError> {
    let (other, of_scenario): (Vec<Setting>, Vec<Setting>) = settings
        .iter()
        .cloned()
        .partition(|setting| OTHER_KEYS.contains(&&*setting.key));
    let value = |key: &str| {
        other
            .iter()
            .find(|setting| setting.key == key)
            .map(|it| &it.value)
    };
    let mut scenario = varied(&base.scenario, &of_scenario)?;
    let changes: Vec<String> = of_scenario.iter().map(ToString::to_string).collect();
    let mut findings = base.left_out.clone();
    findings.extend(another_experiment(&mut scenario, &changes));
    if let Some(strategy) = value(STRATEGY) {
        let dropped = select_strategies(&mut scenario, std::slice::from_ref(strategy))?;
        findings.extend(dropped.into_iter().map(overrides::not_judged));
    }
    let release = match value(RELEASE) {
        Some(text) => Some(
            text.parse::<Release>()
                .map_err(|error| CliError::Usage(error.to_string()))?,
        ),
        None => args.release,
    };
    let server = server_choice::of(args.target, release, &args.docker);
    server_choice::check_container(server, &args.docker)?;
    server_choice::check_external(server, &args.external)?;
    server_choice::check_simulated(server, &args.simulated)?;
    server_choice::check_overrides(server, &args.overrides)?;
    if scenario.sshd != base.scenario.sshd {
        server_choice::check_configures(server, "a key of [sshd]")?;
    }
    check_thresholds(&scenario)?;
    let options = server_choice::options(args.target, release, &args.docker, &args.external)?;
    check_clients(&scenario, server, &options.docker)?;
    let least = scenario.sshd.min_release;
    server_choice::check_releases(server, release, least, args.docker.image.as_deref())?;
    server_choice::check_login_shell(server, scenario.sshd.login_shell.as_ref())?;
    preflight(&scenario, server)?;
    Ok(SweepPoint {
        scenario,
        server,
        options,
        simulation: server_choice::simulation(&args.simulated, release)?,
        findings,
    })
}

fn varied(base: &Scenario, settings: &[Setting]) -> Result<Scenario, CliError> {
    base.varied(settings).map_err(|error| match error {
        VaryError::Invalid(errors) => CliError::Scenario(errors.render()),
        other => CliError::Usage(other.to_string()),
    })
}

/// An option that every point changes again would do nothing.
fn check_not_set_twice(args: &SweepArgs, points: &[Vec<Setting>]) -> Result<(), CliError> {
    let overrides = &args.overrides;
    let given = [
        (overrides.tasks.is_some(), "--tasks", &["tasks"][..]),
        (
            overrides.max_startups.is_some(),
            "--max-startups",
            &["max_startups", "sshd.max_startups"],
        ),
        (overrides.rounds.is_some(), "--rounds", &["rounds"]),
        (overrides.seed.is_some(), "--seed", &["seed"]),
        (
            overrides.time_scale.is_some(),
            "--time-scale",
            &["time_scale"],
        ),
        (
            overrides.max_duration.is_some(),
            "--max-duration",
            &["max_duration"],
        ),
        (args.release.is_some(), "--release", &[RELEASE]),
    ];
    let varied = |keys: &[&str]| {
        let mut settings = points.iter().flatten();
        settings.any(|setting| keys.contains(&&*setting.key))
    };
    match given
        .into_iter()
        .find(|(given, _, keys)| *given && varied(keys))
    {
        Some((_, option, keys)) => Err(CliError::Usage(format!(
            "{option} does nothing where `{}` is varied; leave one of them out",
            keys[0]
        ))),
        None => Ok(()),
    }
}

/// The server, by the words that make another sweep of it when they change.
fn asked(args: &SweepArgs) -> AskedServer {
    let mut options = Vec::new();
    let mut option = |name: &str, value: Option<String>| {
        options.extend(value.map(|value| format!("{name} {value}")));
    };
    option("--release", args.release.map(|release| release.to_string()));
    option("--image", args.docker.image.clone());
    let network = args.docker.network != super::args::NetworkArg::Host;
    option("--network", network.then(|| "published".to_owned()));
    option(
        "--address",
        args.external.address.map(|address| address.to_string()),
    );
    option("--user", args.external.user.clone());
    option(
        "--calibration",
        args.simulated
            .calibration
            .as_ref()
            .map(|path| path.display().to_string()),
    );
    option(
        "--clients",
        args.simulated
            .clients
            .map(|clients| format!("{clients:?}").to_lowercase()),
    );
    AskedServer {
        target: args.target.as_str().to_owned(),
        options,
    }
}

/// The metrics to show, checked against the strategies of all points.
fn selectors(texts: &[String], definition: &SweepDefinition) -> Result<Vec<Selector>, CliError> {
    let mut strategies: Vec<StrategyName> = Vec::new();
    for strategy in definition.points.iter().flat_map(|point| &point.strategies) {
        if !strategies.contains(strategy) {
            strategies.push(strategy.clone());
        }
    }
    let default = DEFAULT_METRICS.map(str::to_owned);
    let texts = if texts.is_empty() {
        &default[..]
    } else {
        texts
    };
    let mut selectors: Vec<Selector> = Vec::new();
    for text in texts {
        let told = |why: &dyn std::fmt::Display| CliError::Usage(format!("--metric {text}: {why}"));
        let selector = Selector::parse(text, &strategies).map_err(|error| told(&error.problem))?;
        report::is_kept(&selector).map_err(|why| told(&why))?;
        if !selectors.contains(&selector) {
            selectors.push(selector);
        }
    }
    Ok(selectors)
}
