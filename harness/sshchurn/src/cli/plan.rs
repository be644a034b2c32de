//! `sshchurn plan`: arguments → calibration → search → answer, and the answer run for real where that is asked for.

use super::args::{ClientsArg, PlanArgs, SettingArg};
use super::console::Console;
use super::error::CliError;
use super::overrides;
use super::server_choice;
use super::signals;
use crate::doctor;
use crate::session::calibrate::{self, Calibrated, CalibrationOrder};
use crate::session::plan::{PlanOrder, Verification};
use crate::session::simulate::Simulation;
use crate::session::{Interrupts, check_thresholds};
use crate::shipped::RECIPE;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::model::calibration::Calibration;
use sshchurn_report::plan::{self as render, PlanReport, Setting};
use sshchurn_server::config_reader::SshdProgram;
use sshchurn_server::{ServerChoice, ServerOptions};

/// What a plan aims at where nobody says it.
const DEFAULT_GOAL: &str = "tasks_failed == 0";

/// `sshchurn plan`.
pub(super) async fn command(args: PlanArgs, console: Console) -> Result<ExitCode, CliError> {
    let interrupts = signals::interrupts(&console)?;
    let mut scenario = overrides::resolve(&args.scenario, &args.overrides)?.scenario;
    if args.overrides.goals.is_empty() && args.overrides.thresholds.is_empty() {
        scenario.gate = vec![DEFAULT_GOAL.to_owned()];
    }
    check_thresholds(&scenario)?;
    let server = server_choice::of(args.target.into(), args.release, &args.docker);
    server_choice::check_container(server, &args.docker)?;
    server_choice::check_releases(
        server,
        args.release,
        scenario.sshd.min_release,
        args.docker.image.as_deref(),
    )?;
    super::run::check_clients(
        &scenario,
        ServerChoice::Simulated,
        &server_choice::docker_options(&args.docker),
    )?;
    let options = ServerOptions {
        release: args.release,
        docker: server_choice::docker_options(&args.docker),
        external: None,
    };
    let calibration = match calibration(&args, server, &options, &interrupts, &console).await? {
        Got::Calibration(calibration) => Some(*calibration),
        Got::Assumed => None,
        Got::Exit(exit) => return Ok(exit),
    };
    let path = args
        .save_calibration
        .as_ref()
        .or(args.calibrate_only.as_ref());
    if let (Some(path), Some(calibration)) = (path, &calibration) {
        calibrate::save(calibration, path)?;
    }
    if args.calibrate_only.is_some() {
        return Ok(ExitCode::Success);
    }
    let mut simulation = match &calibration {
        Some(calibration) => calibrate::simulation(calibration, args.calibration.clone()),
        None => Simulation::assumed(),
    };
    if let Some(release) = args.release {
        simulation.release = release;
    }
    simulation.costs.clients = args.clients.into();
    let order = PlanOrder {
        setting: setting(args.find),
        reliability: args.reliability,
        simulation,
        calibration,
        full_by_start: args.full_by_start,
        sensitivity: !args.no_sensitivity,
        scenario,
    };
    let Some(mut report) = order.plan(&interrupts, &console).await? else {
        return Ok(ExitCode::Interrupted);
    };
    if let Some(rounds) = args.verify {
        let verification = Verification {
            server,
            options,
            rounds,
        };
        let all = order.verify(&mut report, &verification, &interrupts, &console);
        if !all.await? {
            return Ok(ExitCode::Interrupted);
        }
    }
    show(&report, &args, &console)?;
    Ok(report.exit)
}

enum Got {
    Calibration(Box<Calibration>),
    Assumed,
    Exit(ExitCode),
}

/// The calibration that is given, or a new one.
async fn calibration(
    args: &PlanArgs,
    server: ServerChoice,
    options: &ServerOptions,
    interrupts: &Interrupts,
    console: &Console,
) -> Result<Got, CliError> {
    if args.assume {
        return Ok(Got::Assumed);
    }
    if let Some(path) = &args.calibration {
        let calibration = calibrate::load(path)?;
        let machine = calibrate::machine();
        let here = (args.clients == ClientsArg::Here || args.verify.is_some()).then_some(&*machine);
        return match calibration.usable(here, calibrate::now()) {
            Ok(()) => Ok(Got::Calibration(Box::new(calibration))),
            Err(why) => {
                console.note(&format!("cannot say: {}: {why}", path.display()));
                Ok(Got::Exit(ExitCode::Inconclusive))
            }
        };
    }
    // The stand-in's costs are nobody's: that is said before half a minute was spent on them.
    let nobody = match server {
        ServerChoice::Auto => SshdProgram::automatic(&RECIPE).await.is_err(),
        _ => server == ServerChoice::Embedded,
    };
    if nobody {
        console.note(
            "cannot say: what a login costs is measured on a real sshd, and none is used here; `sshchurn doctor` says what this machine \
             lacks. `--calibration FILE` takes what was measured elsewhere; `--assume` makes it up, for trying this out",
        );
        return Ok(Got::Exit(ExitCode::Inconclusive));
    }
    let order = CalibrationOrder {
        server,
        options: options.clone(),
        cores: doctor::environment(&[]).cpus,
    };
    Ok(match order.calibrate(interrupts, console).await? {
        Calibrated::Usable(calibration) => Got::Calibration(calibration),
        Calibrated::Not(why) => {
            console.note(&format!("cannot say: {why}"));
            Got::Exit(ExitCode::Inconclusive)
        }
        Calibrated::Stopped => Got::Exit(ExitCode::Interrupted),
    })
}

fn setting(find: SettingArg) -> Setting {
    match find {
        SettingArg::Start => Setting::Start,
        SettingArg::Tasks => Setting::Tasks,
        SettingArg::Stagger => Setting::StaggerMs,
        SettingArg::PollInterval => Setting::PollIntervalMs,
        SettingArg::Attempts => Setting::Attempts,
    }
}

fn show(report: &PlanReport, args: &PlanArgs, console: &Console) -> Result<(), CliError> {
    let out = args.file.out.as_deref();
    if args.explain && args.format.name == "text" {
        let [answer, arithmetic] = [render::render(report), render::explained(report)];
        return console.put_prose(&format!("{answer}\n{arithmetic}"), out);
    }
    console.show(report, args.format, out)
}
