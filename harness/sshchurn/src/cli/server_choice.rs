//! Which server the arguments ask for, and what contradicts itself in them on any machine.
//!
//! Owns that translation. What this machine lacks is the server's to say.

use std::net::SocketAddr;

use super::args::{
    DockerArgs, ExternalArgs, NetworkArg, OverrideArgs, RunArgs, SimulatedArgs, TargetArg,
};
use super::error::CliError;
use crate::session::calibrate;
use crate::session::simulate::Simulation;
use crate::shipped::RECIPE;
use sshchurn_core::model::server::ClientPlace;
use sshchurn_core::release::Release;
use sshchurn_core::scenario::LoginShell;
use sshchurn_engine::ssh::keys::HostKeyCheck;
use sshchurn_server::config_reader::SshdProgram;
use sshchurn_server::docker::{DockerNetwork, DockerOptions, Suite};
use sshchurn_server::external::ExternalOptions;
use sshchurn_server::{LogSource, ServerChoice, ServerOptions, embedded, external};

/// A release means the server whose release can be chosen, an image and a published port the one that has them.
pub(super) fn of(
    server: TargetArg,
    release: Option<Release>,
    DockerArgs { image, network }: &DockerArgs,
) -> ServerChoice {
    let container = release.is_some() || image.is_some() || *network == NetworkArg::Published;
    match server {
        TargetArg::Auto if container => ServerChoice::Docker,
        TargetArg::Auto => ServerChoice::Auto,
        TargetArg::Docker => ServerChoice::Docker,
        TargetArg::Local => ServerChoice::Local,
        TargetArg::Embedded => ServerChoice::Embedded,
        TargetArg::External => ServerChoice::External,
        TargetArg::Simulated => ServerChoice::Simulated,
    }
}

/// The server whose sshd a program is, and its release where it can be chosen.
pub(super) fn of_program(program: SshdProgram) -> (ServerChoice, Option<Release>) {
    match program {
        SshdProgram::Local => (ServerChoice::Local, None),
        SshdProgram::Docker(suite) => (ServerChoice::Docker, Some(suite.release())),
    }
}

/// Options that would do nothing: whoever gives one believes that it does.
pub(super) fn check_options(args: &RunArgs, server: ServerChoice) -> Result<(), CliError> {
    let without = |option: &str, what: &str| {
        Err(CliError::Usage(format!(
            "{option} does nothing without {what}"
        )))
    };
    if let (None, Some(option)) = (&args.baseline, args.compare.given()) {
        return without(option, "--baseline");
    }
    check_container(server, &args.docker)?;
    check_external(server, &args.external)?;
    check_simulated(server, &args.simulated)?;
    let looks_up = [
        (args.lookup.config_root.is_some(), "--config-root"),
        (args.lookup.connection.is_some(), "--connection"),
    ];
    if let Some((_, option)) = looks_up.into_iter().find(|(given, _)| *given)
        && args.sshd_config.is_none()
    {
        return without(option, "--sshd-config");
    }
    if args.sshd_config.is_some() && args.docker.image.is_some() {
        return Err(CliError::Usage(
            "--sshd-config is read by the sshd of a release: use `--release` instead of `--image`"
                .to_owned(),
        ));
    }
    if args.sshd_config.is_some() {
        check_configures(server, "--sshd-config")?;
    }
    check_overrides(server, &args.overrides)
}

/// What configures a server does nothing to one that is somebody else's.
pub(super) fn check_overrides(
    server: ServerChoice,
    overrides: &OverrideArgs,
) -> Result<(), CliError> {
    let configures = [
        (overrides.max_startups.is_some(), "--max-startups"),
        (!overrides.sshd_options.is_empty(), "--sshd-option"),
    ];
    match configures.into_iter().find(|(given, _)| *given) {
        Some((_, option)) => check_configures(server, option),
        None => Ok(()),
    }
}

/// The same of one option, which was given.
pub(super) fn check_configures(server: ServerChoice, option: &str) -> Result<(), CliError> {
    match server {
        ServerChoice::External => Err(CliError::Usage(format!(
            "{option} does nothing with --target external: that server has a configuration of its own"
        ))),
        _ => Ok(()),
    }
}

/// Only a server that somebody else runs has an address to be named.
pub(super) fn check_external(server: ServerChoice, args: &ExternalArgs) -> Result<(), CliError> {
    match given_of_external(args).first() {
        Some(option) if server != ServerChoice::External => Err(CliError::Usage(format!(
            "{option} does nothing without --target external"
        ))),
        _ => Ok(()),
    }
}

/// The options of an external server that were given.
pub(super) fn given_of_external(args: &ExternalArgs) -> Vec<&'static str> {
    let external = [
        (args.address.is_some(), "--address"),
        (args.user.is_some(), "--user"),
        (args.key.is_some(), "--key"),
        (args.consent.is_some(), "--consent"),
        (args.host_key.is_some(), "--host-key"),
        (args.log.is_some(), "--log"),
        (args.log_command.is_some(), "--log-command"),
    ];
    let given = external.into_iter().filter(|(given, _)| *given);
    given.map(|(_, option)| option).collect()
}

/// Only a container has an image, and a port to publish.
pub(super) fn check_container(
    server: ServerChoice,
    DockerArgs { image, network }: &DockerArgs,
) -> Result<(), CliError> {
    let given = [
        (image.is_some(), "--image"),
        (*network == NetworkArg::Published, "--network published"),
    ];
    match (server, given.into_iter().find(|(given, _)| *given)) {
        (ServerChoice::Auto | ServerChoice::Docker, _) | (_, None) => Ok(()),
        (_, Some((_, option))) => Err(CliError::Usage(format!(
            "{option} does nothing without --target docker"
        ))),
    }
}

/// What contradicts itself on any machine; what this machine lacks is the server's to say.
pub(super) fn check_releases(
    server: ServerChoice,
    release: Option<Release>,
    least: Option<Release>,
    image: Option<&str>,
) -> Result<(), CliError> {
    if let Some(release) = release {
        match server {
            // An image that is given has one release, and is held against the one asked for.
            ServerChoice::Docker if image.is_none() && Suite::nearest(release, None).is_none() => {
                return Err(CliError::Usage(format!(
                    "--release {release}: {}",
                    Suite::unknown(release)
                )));
            }
            ServerChoice::Embedded | ServerChoice::External => {
                return Err(CliError::Usage(format!(
                    "--release {release}: the release of this target cannot be chosen; use `--target docker`"
                )));
            }
            // The model follows the release that it is given.
            ServerChoice::Auto
            | ServerChoice::Docker
            | ServerChoice::Local
            | ServerChoice::Simulated => {}
        }
        if let Some(least) = least
            && release < least
        {
            return Err(CliError::Usage(format!(
                "--release {release}: the scenario needs OpenSSH {least} or newer (`sshd.min_release`)"
            )));
        }
    }
    if server == ServerChoice::Embedded {
        embedded::check_release(least).map_err(|error| CliError::Usage(error.to_string()))?;
    }
    Ok(())
}

/// A login shell that a scenario asks for, on a server that cannot have it on any machine.
pub(super) fn check_login_shell(
    server: ServerChoice,
    asked: Option<&LoginShell>,
) -> Result<(), CliError> {
    match server {
        ServerChoice::External => {
            external::check_login_shell(asked).map_err(|error| CliError::Usage(error.to_string()))
        }
        // What this machine or an image has is only known there.
        ServerChoice::Auto
        | ServerChoice::Docker
        | ServerChoice::Local
        | ServerChoice::Embedded
        | ServerChoice::Simulated => Ok(()),
    }
}

pub(super) fn options(
    target: TargetArg,
    release: Option<Release>,
    docker: &DockerArgs,
    args: &ExternalArgs,
) -> Result<ServerOptions, CliError> {
    let external = match target {
        TargetArg::External => match (args.address, &args.user, &args.key) {
            (Some(address), Some(user), Some(key)) => Some(ExternalOptions {
                address,
                user: user.clone(),
                key: key.clone(),
                consent: args.consent.clone(),
                host_key: host_key(args.host_key.as_deref(), address)?,
                log: match (&args.log, &args.log_command) {
                    (Some(file), _) => Some(LogSource::File(file.clone())),
                    (None, Some(command)) => Some(LogSource::Command(command.clone())),
                    (None, None) => None,
                },
            }),
            _ => {
                return Err(CliError::Usage(
                    "--target external needs --address, --user and --key".to_owned(),
                ));
            }
        },
        _ => None,
    };
    Ok(ServerOptions {
        release,
        docker: docker_options(docker),
        external,
    })
}

/// What only a simulated server has.
pub(super) fn check_simulated(server: ServerChoice, args: &SimulatedArgs) -> Result<(), CliError> {
    let given = [
        (args.calibration.is_some(), "--calibration"),
        (args.clients.is_some(), "--clients"),
    ];
    match given.into_iter().find(|(given, _)| *given) {
        Some((_, option)) if server != ServerChoice::Simulated => Err(CliError::Usage(format!(
            "{option} does nothing without --target simulated"
        ))),
        _ => Ok(()),
    }
}

/// What a simulated server goes by.
///
/// # Errors
/// A calibration that cannot be read.
pub(super) fn simulation(
    args: &SimulatedArgs,
    release: Option<Release>,
) -> Result<Simulation, CliError> {
    let mut simulation = match &args.calibration {
        Some(path) => calibrate::simulation(&calibrate::load(path)?, Some(path.clone())),
        None => Simulation::assumed(),
    };
    simulation.costs.clients = args.clients.map_or(ClientPlace::Elsewhere, Into::into);
    if let Some(release) = release {
        simulation.release = release;
    }
    Ok(simulation)
}

/// Which host key to accept of the server at `address`.
pub(super) fn host_key(given: Option<&str>, address: SocketAddr) -> Result<HostKeyCheck, CliError> {
    let Some(text) = given else {
        return Ok(HostKeyCheck::any());
    };
    HostKeyCheck::pinned(text, address).map_err(|error| {
        let why = std::error::Error::source(&error);
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        CliError::Usage(format!("{error}{why}"))
    })
}

pub(super) fn docker_options(DockerArgs { image, network }: &DockerArgs) -> DockerOptions {
    DockerOptions {
        recipe: RECIPE,
        image: image.clone(),
        network: match network {
            NetworkArg::Host => DockerNetwork::Host,
            NetworkArg::Published => DockerNetwork::Published,
        },
        shared_folder: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sshchurn_core::exit_code::ExitCode;

    const R9_2: Release = Release::new(9, 2);
    const R9_8: Release = Release::new(9, 8);

    fn container(image: Option<&str>, network: NetworkArg) -> DockerArgs {
        DockerArgs {
            image: image.map(str::to_owned),
            network,
        }
    }

    #[test]
    fn release_or_image_without_a_target_means_docker() {
        use NetworkArg::{Host, Published};
        for (server, release, image, network, expected) in [
            (
                TargetArg::Auto,
                Some(R9_2),
                None,
                Host,
                ServerChoice::Docker,
            ),
            (
                TargetArg::Auto,
                None,
                Some("my/base"),
                Host,
                ServerChoice::Docker,
            ),
            (TargetArg::Auto, None, None, Published, ServerChoice::Docker),
            (TargetArg::Auto, None, None, Host, ServerChoice::Auto),
            (
                TargetArg::Local,
                Some(R9_2),
                None,
                Host,
                ServerChoice::Local,
            ),
        ] {
            assert_eq!(of(server, release, &container(image, network)), expected);
        }
        for options in [container(None, Published), container(Some("my/base"), Host)] {
            assert!(check_container(ServerChoice::Local, &options).is_err());
            assert!(check_container(ServerChoice::Docker, &options).is_ok());
        }
    }

    #[test]
    fn release_below_what_the_scenario_needs_is_a_usage_error_naming_both() {
        let error = check_releases(ServerChoice::Docker, Some(R9_2), Some(R9_8), None)
            .expect_err("refused");
        assert_eq!(error.exit_code(), ExitCode::Usage);
        let text = error.to_string();
        assert!(text.contains("9.2") && text.contains("9.8"), "{text}");
        assert!(check_releases(ServerChoice::Docker, Some(R9_2), Some(R9_2), None).is_ok());
    }

    #[test]
    fn login_shell_of_somebody_elses_server_is_a_usage_error_and_none_is_not() {
        let shell = "/bin/bash".parse::<LoginShell>().expect("a path");
        let error = check_login_shell(ServerChoice::External, Some(&shell)).expect_err("refused");
        assert_eq!(error.exit_code(), ExitCode::Usage);
        let text = error.to_string();
        assert!(
            text.contains("/bin/bash") && text.contains("--target docker"),
            "{text}"
        );
        assert!(check_login_shell(ServerChoice::External, None).is_ok());
        assert!(check_login_shell(ServerChoice::Docker, Some(&shell)).is_ok());
    }

    #[test]
    fn release_that_a_server_cannot_have_is_a_usage_error() {
        for (server, release, least) in [
            (ServerChoice::Docker, Some(Release::new(11, 3)), None),
            (ServerChoice::Docker, Some(Release::new(7, 0)), None),
            (ServerChoice::Embedded, Some(R9_2), None),
            (ServerChoice::External, Some(R9_2), None),
            (ServerChoice::Embedded, None, Some(R9_8)),
        ] {
            let error = check_releases(server, release, least, None).expect_err("refused");
            assert_eq!(error.exit_code(), ExitCode::Usage, "{error}");
        }
        let fine = |server, release, least, image| {
            assert!(check_releases(server, release, least, image).is_ok());
        };
        // Whether this machine's sshd is of that release is only known here.
        fine(ServerChoice::Local, Some(R9_8), None, None);
        fine(ServerChoice::Embedded, None, Some(R9_2), None);
        fine(ServerChoice::Auto, None, Some(R9_8), None);
        // There is no image of it, and a nearest one.
        fine(ServerChoice::Docker, Some(R9_8), None, None);
        // What is in an image is only known when it is looked into.
        fine(
            ServerChoice::Docker,
            Some(Release::new(11, 3)),
            None,
            Some("my/base"),
        );
    }
}
