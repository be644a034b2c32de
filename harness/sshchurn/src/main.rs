//! The `sshchurn` program: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    sshchurn::cli::main()
}
