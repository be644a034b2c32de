//! The machine that real servers run on: which of them it has, and who may use it.
//!
//! Owns the lock that keeps two real sshds from running at a time: they would measure each other, and tests here say that
//! no container of this program is left.

use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::thread;

use sshchurn::shipped::RECIPE;
use sshchurn_server::{docker, local};

use crate::driver;

/// A kind of server these tests need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Local,
    Docker,
}

/// The right to start a real sshd, until it is dropped.
pub(crate) struct Alone {
    _locked: File,
}

impl Kind {
    /// What `--target` calls it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::Local => "local",
            Kind::Docker => "docker",
        }
    }

    /// Waits until nobody else on this machine tests a real sshd, be it in another thread or in another process. `None`,
    /// said loudly, where there is no such server here.
    #[track_caller]
    pub(crate) fn alone(self) -> Option<Alone> {
        let found = probe(self);
        let required = match self {
            Kind::Local => "SSHCHURN_REQUIRE_LOCAL",
            Kind::Docker => "SSHCHURN_REQUIRE_DOCKER",
        };
        match found {
            Ok(_) => Some(Alone::wait()),
            Err(error) => {
                driver::skipped(
                    required,
                    &format!("no {} server here: {error}", self.as_str()),
                );
                None
            }
        }
    }
}

/// What the library says of it. On a thread and a runtime of its own, since some tests have a runtime already.
fn probe(kind: Kind) -> Result<String, sshchurn_server::ServerError> {
    let asked = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            match kind {
                Kind::Local => local::probe().await,
                Kind::Docker => docker::probe(&RECIPE).await,
            }
        })
    });
    asked.join().unwrap()
}

impl Alone {
    fn wait() -> Self {
        let locked = lock_file();
        locked.lock().unwrap();
        Alone { _locked: locked }
    }
}

/// One for all users of the machine: opened for reading only, since the kernel keeps other users from opening a file in a
/// sticky folder with O_CREAT (`fs.protected_regular`), and reading is enough for flock(2).
fn lock_file() -> File {
    let path: PathBuf = std::env::temp_dir().join("sshchurn-real-tests.lock");
    match File::options().write(true).create_new(true).open(&path) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => panic!("{}: {error}", path.display()),
    }
    File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Makes a test for each kind of server of each function that takes a [`Kind`].
macro_rules! on_each_kind {
    ($($test:ident),+ $(,)?) => {
        mod local {
            $(
                #[test]
                fn $test() {
                    if let Some(_alone) = crate::machine::Kind::Local.alone() {
                        super::$test(crate::machine::Kind::Local);
                    }
                }
            )+
        }

        mod docker {
            $(
                #[test]
                fn $test() {
                    if let Some(_alone) = crate::machine::Kind::Docker.alone() {
                        super::$test(crate::machine::Kind::Docker);
                    }
                }
            )+
        }
    };
}
pub(crate) use on_each_kind;
