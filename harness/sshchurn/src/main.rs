//! The `sshchurn` program: everything is in the library.

use std::process::ExitCode;

/// Simulated rounds are made and thrown away by the thousand on all cores: glibc gives their memory back to the kernel after each,
/// which took a quarter of the time of a `plan`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sshchurn::cli::main()
}
