//! What the machine of the server under test must have besides sshd: Debian packages, and the login shell of the jobs'
//! user.
//!
//! Owns what is such a name and what is none. Looking for it, and putting it there, is the `server` crate's.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Packages, each once and sorted: the order in which a scenario lists them says nothing.
pub type Packages = BTreeSet<PackageName>;

/// The name of a Debian package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageName(String);

/// Text that names no package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the name of a Debian package: it needs two or more lower-case letters, digits, `+`, `-` or `.`, and must begin \
     with a letter or a digit"
)]
pub struct InvalidPackageName(String);

impl PackageName {
    /// As Debian writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PackageName {
    type Err = InvalidPackageName;

    /// Debian Policy, section 5.6.1. Nothing else gets near apt's command line.
    fn from_str(text: &str) -> Result<Self, InvalidPackageName> {
        let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if text.len() >= 2
            && text.starts_with(alphanumeric)
            && text
                .chars()
                .all(|c| alphanumeric(c) || matches!(c, '+' | '-' | '.'))
        {
            Ok(PackageName(text.to_owned()))
        } else {
            Err(InvalidPackageName(text.to_owned()))
        }
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The program that sshd hands every command of the jobs' user to, as the password file names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LoginShell(String);

/// Text that names no login shell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a login shell: give an absolute path such as `/bin/bash`, made of letters, digits and `/._+-`"
)]
pub struct InvalidLoginShell(String);

impl LoginShell {
    /// Its path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LoginShell {
    type Err = InvalidLoginShell;

    /// What a field of the password file can hold (no `:`, no line end), and no more than names of programs need.
    fn from_str(text: &str) -> Result<Self, InvalidLoginShell> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '+' | '-');
        if text.starts_with('/') && !text.ends_with('/') && text.chars().all(fits) {
            Ok(LoginShell(text.to_owned()))
        } else {
            Err(InvalidLoginShell(text.to_owned()))
        }
    }
}

impl fmt::Display for LoginShell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_names_are_those_of_debians_policy() {
        for name in ["git", "g++", "python3.11", "libstdc++6", "0ad", "r-base"] {
            assert_eq!(
                name.parse::<PackageName>().map(|name| name.0),
                Ok(name.to_owned())
            );
        }
        for text in [
            "",
            "g",
            "Git",
            "-y",
            "+git",
            ".git",
            "git:amd64",
            "git=1",
            "git rsync",
            "git,rsync",
            "a_b",
            "git\n",
            "gït",
            "../x",
            "$(id)",
        ] {
            assert!(text.parse::<PackageName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn login_shell_is_an_absolute_path_that_a_password_file_can_hold() {
        for path in ["/bin/sh", "/usr/bin/bash", "/opt/my-shell_2.0/bin/c++sh"] {
            assert_eq!(
                path.parse::<LoginShell>().map(|shell| shell.0),
                Ok(path.to_owned())
            );
        }
        for text in [
            "",
            "/",
            "bash",
            "bin/bash",
            "/bin/",
            "/bin/sh:x",
            "/bin/sh\n",
            "/bin/my shell",
            "/bin/a|b",
            "/bin/a&b",
            "~/sh",
        ] {
            assert!(text.parse::<LoginShell>().is_err(), "{text:?}");
        }
    }
}
