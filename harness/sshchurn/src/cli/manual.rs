//! `sshchurn completions` and `sshchurn man`: what is generated from the command line's own definition, so that it
//! cannot fall behind it.

use std::path::Path;

use clap::CommandFactory as _;

use super::args::{Cli, CompletionsArgs, ManArgs};
use super::console::Console;
use super::error::CliError;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_report as report;

/// Prints the completions of one shell.
pub(super) fn completions(args: &CompletionsArgs, console: &Console) -> Result<ExitCode, CliError> {
    let mut script = Vec::new();
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    console.result(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::Success)
}

/// Prints or writes the pages of all commands.
pub(super) fn man(args: &ManArgs, console: &Console) -> Result<ExitCode, CliError> {
    let pages = pages();
    match &args.out {
        None => {
            for page in pages {
                console.result(&page.roff)?;
            }
        }
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(|source| CliError::Folder {
                path: folder.clone(),
                source,
            })?;
            for page in pages {
                report::write_file(&folder.join(Path::new(&page.file)), page.roff.as_bytes())?;
            }
        }
    }
    Ok(ExitCode::Success)
}

/// One manual page.
struct Page {
    /// `sshchurn-scenario-check.1`.
    file: String,
    roff: String,
}

fn pages() -> Vec<Page> {
    // `sshchurn help run` is `sshchurn run --help`: no page of its own for each.
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add_pages(&command, &mut pages);
    pages
}

fn add_pages(command: &clap::Command, pages: &mut Vec<Page>) {
    let page = clap_mangen::Man::new(command.clone());
    let mut roff = Vec::new();
    // Memory takes everything.
    let _ = page.render(&mut roff);
    pages.push(Page {
        file: page.get_filename(),
        roff: String::from_utf8_lossy(&roff).into_owned(),
    });
    for subcommand in command.get_subcommands().filter(|it| !it.is_hide_set()) {
        add_pages(subcommand, pages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(command: &clap::Command, prefix: &str, into: &mut Vec<String>) {
        for subcommand in command.get_subcommands() {
            let name = format!("{prefix}-{}", subcommand.get_name());
            names(subcommand, &name, into);
            into.push(name);
        }
    }

    #[test]
    fn every_subcommand_has_a_page_that_says_what_it_is_for() {
        let mut wanted = vec!["sshchurn".to_owned()];
        names(&Cli::command(), "sshchurn", &mut wanted);
        assert!(wanted.contains(&"sshchurn-scenario-check".to_owned()));
        let pages = pages();
        assert_eq!(pages.len(), wanted.len(), "{wanted:#?}");
        for name in wanted {
            let page = pages
                .iter()
                .find(|page| page.file == format!("{name}.1"))
                .unwrap_or_else(|| panic!("no page {name}"));
            assert!(page.roff.contains(".SH NAME") && page.roff.contains(".SH SYNOPSIS"));
            // roff escapes every hyphen.
            let shown = name.replace('-', "\\-");
            assert!(
                page.roff.contains(&format!("{shown} \\- ")),
                "{}",
                page.roff
            );
        }
    }

    #[test]
    fn completions_of_every_shell_know_the_commands_and_their_options() {
        use clap::ValueEnum as _;
        for shell in clap_complete::Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "sshchurn", &mut script);
            let script = String::from_utf8(script).expect("text");
            for word in ["scenario", "max-startups", "completions", "time-scale"] {
                assert!(script.contains(word), "{shell} lacks {word}");
            }
        }
    }

    #[test]
    fn definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
