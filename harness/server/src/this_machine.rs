//! What a scenario asks of the server's machine where that is this one: its packages, and programs such as a login shell.
//!
//! Owns looking. It installs and changes nothing.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{ServerError, io_error};
use sshchurn_core::manifest::PackageRecord;
use sshchurn_core::scenario::{PackageName, Packages};

/// Asks dpkg's database; part of every Debian and of what comes from it.
const DPKG_QUERY: &str = "dpkg-query";

/// The packages as they are here; `None` where none is asked for.
///
/// # Errors
/// [`ServerError::Unavailable`] with those that are missing and how that was seen, [`ServerError::Io`] when dpkg's database
/// cannot be read.
pub(crate) fn packages(wanted: &Packages) -> Result<Option<Vec<PackageRecord>>, ServerError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    look_for(wanted, DPKG_QUERY, &path)
}

/// The same without keeping the runtime from its other work.
pub(crate) async fn packages_are_here(
    wanted: &Packages,
) -> Result<Option<Vec<PackageRecord>>, ServerError> {
    let wanted = wanted.clone();
    tokio::task::spawn_blocking(move || packages(&wanted))
        .await
        .unwrap_or_else(|error| Err(io_error("look for packages")(io::Error::other(error))))
}

/// By dpkg where there is one. Elsewhere packages have other names, and a program that is called like the package is all
/// that can be looked for.
fn look_for(
    wanted: &Packages,
    dpkg_query: &str,
    path: &OsStr,
) -> Result<Option<Vec<PackageRecord>>, ServerError> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let by_dpkg = installed(wanted, dpkg_query)?;
    let dpkg = by_dpkg.is_some();
    let there = by_dpkg.unwrap_or_else(|| in_path(wanted, path));
    let missing: Vec<&str> = wanted
        .iter()
        .map(PackageName::as_str)
        .filter(|name| !there.iter().any(|package| package.name == *name))
        .collect();
    if missing.is_empty() {
        return Ok(Some(there));
    }
    let install = format!("`apt-get install {}`", missing.join(" "));
    let missing = missing.join(", ");
    Err(if dpkg {
        ServerError::Unavailable {
            what: format!(
                "the scenario needs packages on the server's machine (`sshd.packages`), and by dpkg's status these are not \
                 installed on this one: {missing}"
            ),
            fix: format!("{install}, or use `--target docker`"),
        }
    } else {
        ServerError::Unavailable {
            what: format!(
                "the scenario needs packages on the server's machine (`sshd.packages`); this one has no dpkg to ask, and no \
                 program of these names in PATH: {missing}"
            ),
            fix: format!(
                "install what brings them ({install} on Debian), or use `--target docker`"
            ),
        }
    })
}

/// Those of the packages that dpkg has installed; `None` where there is no dpkg.
fn installed(
    wanted: &Packages,
    dpkg_query: &str,
) -> Result<Option<Vec<PackageRecord>>, ServerError> {
    const FORMAT: &str = "${Package}\\t${db:Status-Status}\\t${Version}\\n";
    let asked = Command::new(dpkg_query)
        .args(["--show", "--showformat", FORMAT])
        .args(wanted.iter().map(PackageName::as_str))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output();
    let failed = io_error(format!("run {dpkg_query}"));
    let output = match asked {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // 1: some are not known to it, which is an answer. 2: it could not look.
    if !matches!(output.status.code(), Some(0 | 1)) {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(failed(io::Error::other(said)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut there: Vec<PackageRecord> = Vec::new();
    for line in text.lines() {
        let mut fields = line.split('\t');
        // A package that was removed, but whose configuration was not, is known too.
        if let (Some(name), Some("installed"), Some(version)) =
            (fields.next(), fields.next(), fields.next())
            // Of two architectures one is enough.
            && !there.iter().any(|package| package.name == name)
        {
            there.push(PackageRecord {
                name: name.to_owned(),
                version: Some(version.to_owned()),
            });
        }
    }
    Ok(Some(there))
}

fn in_path(wanted: &Packages, path: &OsStr) -> Vec<PackageRecord> {
    wanted
        .iter()
        .filter(|name| {
            std::env::split_paths(path).any(|place| is_executable(&place.join(name.as_str())))
        })
        .map(|name| PackageRecord {
            name: name.to_string(),
            version: None,
        })
        .collect()
}

/// Whether there is a file that this user may take for a program.
pub(crate) fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(names: &[&str]) -> Packages {
        let name = |name: &&str| name.parse().expect("the name of a package");
        names.iter().map(name).collect()
    }

    /// A folder with a program.
    fn with_program(name: &str, script: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
        folder
    }

    fn refusal(looked: Result<Option<Vec<PackageRecord>>, ServerError>) -> (String, String) {
        match looked {
            Err(ServerError::Unavailable { what, fix }) => (what, fix),
            other => panic!("nothing is missing: {other:?}"),
        }
    }

    #[test]
    fn dpkg_decides_where_it_is_whatever_is_in_path() {
        // rsync was removed and left its configuration; git is there for two architectures; nobody has heard of curl.
        let says = "printf 'rsync\\tconfig-files\\t3.2\\ngit\\tinstalled\\t1:2.39\\ngit\\tinstalled\\t1:2.39\\n'; exit 1";
        let dpkg = with_program("dpkg-query", says);
        let dpkg = dpkg.path().join("dpkg-query");
        let path = with_program("rsync", "");
        let look = |names: &[&str]| {
            look_for(
                &wanted(names),
                dpkg.to_str().expect("text"),
                path.path().as_os_str(),
            )
        };
        let git = PackageRecord {
            name: "git".to_owned(),
            version: Some("1:2.39".to_owned()),
        };
        assert_eq!(look(&["git"]).expect("it is there"), Some(vec![git]));
        let (what, fix) = refusal(look(&["rsync", "git", "curl"]));
        assert!(
            what.contains("dpkg's status") && what.ends_with(": curl, rsync"),
            "{what}"
        );
        assert!(fix.starts_with("`apt-get install curl rsync`"), "{fix}");
    }

    #[test]
    fn without_dpkg_a_program_of_the_same_name_will_do_and_its_version_is_not_known() {
        let path = with_program("rsync", "");
        let look = |names: &[&str]| {
            look_for(
                &wanted(names),
                "no-such-dpkg-query",
                path.path().as_os_str(),
            )
        };
        let rsync = PackageRecord {
            name: "rsync".to_owned(),
            version: None,
        };
        assert_eq!(look(&["rsync"]).expect("it is there"), Some(vec![rsync]));
        let (what, fix) = refusal(look(&["rsync", "git"]));
        assert!(
            what.contains("no dpkg") && what.ends_with("in PATH: git"),
            "{what}"
        );
        assert!(fix.contains("apt-get install git"), "{fix}");
    }

    #[test]
    fn dpkg_that_cannot_look_is_no_answer() {
        let dpkg = with_program("dpkg-query", "echo 'cannot open the database' >&2; exit 2");
        let dpkg = dpkg.path().join("dpkg-query");
        let looked = look_for(
            &wanted(&["git"]),
            dpkg.to_str().expect("text"),
            OsStr::new(""),
        );
        let error = looked.expect_err("no answer");
        let why = std::error::Error::source(&error)
            .expect("a cause")
            .to_string();
        assert_eq!(why, "cannot open the database");
    }

    #[test]
    fn nobody_is_asked_for_nothing() {
        let looked = look_for(&Packages::new(), "/dev/null", OsStr::new(""));
        assert_eq!(looked.expect("nothing is missing"), None);
    }
}
