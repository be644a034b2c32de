//! `sshchurn image`: build and list the images of the docker target.

use std::time::Instant;

use super::args::{ImageCommand, ImageReleaseArg};
use super::console::Console;
use super::error::CliError;
use crate::shipped::RECIPE;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::scenario::Packages;
use sshchurn_server::docker::{Suite, image};

pub(super) async fn command(command: ImageCommand, console: Console) -> Result<ExitCode, CliError> {
    match command {
        ImageCommand::Build { release, packages } => {
            let suites = match release {
                ImageReleaseArg::All => Suite::ALL.to_vec(),
                ImageReleaseArg::One(suite) => vec![suite],
            };
            let packages = packages.into_iter().collect();
            build(&suites, &packages, &console).await
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
                let packages = match image.packages.as_str() {
                    "" => String::new(),
                    packages => format!("  with {packages}"),
                };
                console.result(&format!(
                    "{release:<5} {:<17} {:<58} {}  {} MB{packages}{recipe}",
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
async fn build(
    suites: &[Suite],
    packages: &Packages,
    console: &Console,
) -> Result<ExitCode, CliError> {
    let mut worst = Ok(ExitCode::Success);
    let begun = Instant::now();
    for (built, suite) in (0..).zip(suites) {
        // The first says how long the others take.
        if built > 0 {
            let left = suites.len() as u32 - built;
            let seconds = (begun.elapsed() / built * left).as_secs_f64();
            console.aside(&format!(
                "image {} of {}, about {seconds:.0} s left",
                built + 1,
                suites.len()
            ));
        }
        let progress = |text: &str| console.aside(text);
        match image::build(&RECIPE, *suite, packages, &progress).await {
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
