//! The program on real sshds: the machine's own, and those in containers. Skips loudly where there is none, fails where
//! the environment says that it is required (`SSHCHURN_REQUIRE_LOCAL`, `SSHCHURN_REQUIRE_DOCKER`).
//!
//! One test for each kind of server, so that a broken one does not hide the other, and one test at a time on a machine.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod clients;
#[path = "../driver.rs"]
mod driver;
mod external;
mod failing_login;
mod holders;
mod images;
mod leftovers;
mod listen_queue;
mod log_follow;
mod machine;
mod packages;
mod plan;
mod probe;
mod releases;
mod runs;
mod safety;
mod slow_auth;
mod sshd_files;
mod undisturbed;
mod witness_inside;
