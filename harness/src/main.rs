//! The `sshchurn` program: everything is in the library.

fn main() -> std::process::ExitCode {
    sshchurn::exit_code::ExitCode::Usage.into()
}
