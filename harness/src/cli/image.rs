//! `sshchurn image`: build and list the images of the docker target.

use super::args::ImageCommand;
use super::console::Console;
use super::error::CliError;
use crate::exit_code::ExitCode;
use crate::target::docker::image;

pub(super) async fn command(command: ImageCommand, console: Console) -> Result<ExitCode, CliError> {
    match command {
        ImageCommand::Build => {
            let image = image::build(&|text: &str| console.note(text)).await?;
            console.result(&image.name);
        }
        ImageCommand::List => {
            for image in image::list().await? {
                console.result(&format!(
                    "{}  {}  {} MB",
                    image.name,
                    image.id,
                    image.size_bytes / 1_000_000
                ));
            }
        }
    }
    Ok(ExitCode::Success)
}
