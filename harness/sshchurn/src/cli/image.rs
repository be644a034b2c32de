//! `sshchurn image`: build and list the images of the docker target.

use super::args::{ImageCommand, ImageReleaseArg};
use super::console::Console;
use super::error::CliError;
use crate::shipped::RECIPE;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_server::docker::{Suite, image};

pub(super) async fn command(command: ImageCommand, console: Console) -> Result<ExitCode, CliError> {
    match command {
        ImageCommand::Build { release } => {
            let suites = match release {
                ImageReleaseArg::All => Suite::ALL.to_vec(),
                ImageReleaseArg::One(suite) => vec![suite],
            };
            build(&suites, &console).await
        }
        ImageCommand::List => {
            for image in image::list().await? {
                let release = image
                    .release
                    .map_or_else(|| "?".to_owned(), |release| release.to_string());
                let recipe = if image.is_outdated(&RECIPE) {
                    "  (another recipe; no run uses it)"
                } else {
                    ""
                };
                console.result(&format!(
                    "{release:<5} {:<17} {:<49} {}  {} MB{recipe}",
                    image.suite,
                    image.name,
                    image.id,
                    image.size_bytes / 1_000_000
                ))?;
            }
            Ok(ExitCode::Success)
        }
    }
}

/// Builds one after the other; one that cannot be had is no reason to go without the others.
async fn build(suites: &[Suite], console: &Console) -> Result<ExitCode, CliError> {
    let mut worst = Ok(ExitCode::Success);
    for suite in suites {
        match image::build(&RECIPE, *suite, &|text: &str| console.note(text)).await {
            Ok(image) => console.result(&image.name)?,
            Err(error) => {
                // All but the last are said here; that one ends the command.
                if let Err(earlier) = std::mem::replace(&mut worst, Err(error.into())) {
                    let earlier: CliError = earlier;
                    console.note(&earlier.text());
                }
            }
        }
    }
    worst
}
