//! Which server the arguments ask for, and what contradicts itself in them on any machine.
//!
//! Owns that translation. What this machine lacks is the server's to say.

use super::args::{NetworkArg, RunArgs, TargetArg};
use super::error::CliError;
use crate::shipped::RECIPE;
use sshchurn_core::release::Release;
use sshchurn_core::scenario::LoginShell;
use sshchurn_engine::ssh::keys::HostKeyCheck;
use sshchurn_server::docker::{DockerNetwork, DockerOptions, Suite};
use sshchurn_server::external::ExternalOptions;
use sshchurn_server::{LogSource, ServerChoice, ServerOptions, embedded, external};

/// A release means the server whose release can be chosen, a published port the one that has one.
pub(super) fn of(server: TargetArg, release: Option<Release>, network: NetworkArg) -> ServerChoice {
    match (server, release, network) {
        (TargetArg::Auto, Some(_), _) | (TargetArg::Auto, _, NetworkArg::Published) => {
            ServerChoice::Docker
        }
        (TargetArg::Auto, None, NetworkArg::Host) => ServerChoice::Auto,
        (TargetArg::Docker, _, _) => ServerChoice::Docker,
        (TargetArg::Local, _, _) => ServerChoice::Local,
        (TargetArg::Embedded, _, _) => ServerChoice::Embedded,
        (TargetArg::External, _, _) => ServerChoice::External,
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
    check_network(server, args.network)?;
    let external = [
        (args.address.is_some(), "--address"),
        (args.user.is_some(), "--user"),
        (args.key.is_some(), "--key"),
        (args.consent.is_some(), "--consent"),
        (args.host_key.is_some(), "--host-key"),
        (args.log.is_some(), "--log"),
        (args.log_command.is_some(), "--log-command"),
    ];
    if let Some((_, option)) = external.into_iter().find(|(given, _)| *given)
        && server != ServerChoice::External
    {
        return without(option, "--target external");
    }
    let overrides = &args.overrides;
    let configures = [
        (overrides.max_startups.is_some(), "--max-startups"),
        (!overrides.sshd_options.is_empty(), "--sshd-option"),
    ];
    match configures.into_iter().find(|(given, _)| *given) {
        Some((_, option)) if server == ServerChoice::External => Err(CliError::Usage(format!(
            "{option} does nothing with --target external: that server has a configuration of its own"
        ))),
        _ => Ok(()),
    }
}

/// Only a container has a port to publish.
pub(super) fn check_network(server: ServerChoice, network: NetworkArg) -> Result<(), CliError> {
    match (server, network) {
        (ServerChoice::Auto | ServerChoice::Docker, _) | (_, NetworkArg::Host) => Ok(()),
        (_, NetworkArg::Published) => Err(CliError::Usage(
            "--network published does nothing without --target docker".to_owned(),
        )),
    }
}

/// What contradicts itself on any machine; what this machine lacks is the server's to say.
pub(super) fn check_releases(
    server: ServerChoice,
    release: Option<Release>,
    least: Option<Release>,
) -> Result<(), CliError> {
    if let Some(release) = release {
        match server {
            ServerChoice::Docker if Suite::of(release).is_none() => {
                return Err(CliError::Usage(format!(
                    "--release {release}: no image of it is known, only of {}",
                    Suite::releases()
                )));
            }
            ServerChoice::Embedded | ServerChoice::External => {
                return Err(CliError::Usage(format!(
                    "--release {release}: the release of this target cannot be chosen; use `--target docker`"
                )));
            }
            ServerChoice::Auto | ServerChoice::Docker | ServerChoice::Local => {}
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
        | ServerChoice::Embedded => Ok(()),
    }
}

pub(super) fn options(args: &RunArgs) -> Result<ServerOptions, CliError> {
    let external = match args.target {
        TargetArg::External => match (args.address, &args.user, &args.key) {
            (Some(address), Some(user), Some(key)) => Some(ExternalOptions {
                address,
                user: user.clone(),
                key: key.clone(),
                consent: args.consent.clone(),
                host_key: match &args.host_key {
                    Some(text) => HostKeyCheck::pinned(text, address).map_err(|error| {
                        let why = std::error::Error::source(&error);
                        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                        CliError::Usage(format!("{error}{why}"))
                    })?,
                    None => HostKeyCheck::any(),
                },
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
        release: args.release,
        docker: docker_options(args.network),
        external,
    })
}

pub(super) fn docker_options(network: NetworkArg) -> DockerOptions {
    DockerOptions {
        recipe: RECIPE,
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

    #[test]
    fn release_without_a_target_means_docker() {
        use NetworkArg::{Host, Published};
        for (server, release, network, expected) in [
            (TargetArg::Auto, Some(R9_2), Host, ServerChoice::Docker),
            (TargetArg::Auto, None, Published, ServerChoice::Docker),
            (TargetArg::Auto, None, Host, ServerChoice::Auto),
            (TargetArg::Local, Some(R9_2), Host, ServerChoice::Local),
        ] {
            assert_eq!(of(server, release, network), expected);
        }
        assert!(check_network(ServerChoice::Local, Published).is_err());
        assert!(check_network(ServerChoice::Docker, Published).is_ok());
    }

    #[test]
    fn release_below_what_the_scenario_needs_is_a_usage_error_naming_both() {
        let error =
            check_releases(ServerChoice::Docker, Some(R9_2), Some(R9_8)).expect_err("refused");
        assert_eq!(error.exit_code(), ExitCode::Usage);
        let text = error.to_string();
        assert!(text.contains("9.2") && text.contains("9.8"), "{text}");
        assert!(check_releases(ServerChoice::Docker, Some(R9_2), Some(R9_2)).is_ok());
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
            (ServerChoice::Docker, Some(R9_8), None),
            (ServerChoice::Embedded, Some(R9_2), None),
            (ServerChoice::External, Some(R9_2), None),
            (ServerChoice::Embedded, None, Some(R9_8)),
        ] {
            let error = check_releases(server, release, least).expect_err("refused");
            assert_eq!(error.exit_code(), ExitCode::Usage, "{error}");
        }
        // Whether this machine's sshd is of that release is only known here.
        assert!(check_releases(ServerChoice::Local, Some(R9_8), None).is_ok());
        assert!(check_releases(ServerChoice::Embedded, None, Some(R9_2)).is_ok());
        assert!(check_releases(ServerChoice::Auto, None, Some(R9_8)).is_ok());
    }
}
