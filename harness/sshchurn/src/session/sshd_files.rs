//! A user's own `sshd_config` and what it includes, from the disk.
//!
//! Owns which files may be read: the one that was named, and those under one folder. sshd looks for absolute paths under `/` and
//! for relative ones under `/etc/ssh`; here both are under the folder that the user says stands for `/`, and without one relative
//! paths are beside the file and absolute ones are refused. Nothing outside is ever opened, however a path or a link gets there.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern, glob_with};
use sshchurn_core::printable::printable;
use sshchurn_core::sshd_file::{At, ConfigFile, SourceFile, Texts};

/// Where sshd looks for relative paths (`SSHDIR`), as every distribution builds it.
const SSH_FOLDER: &str = "etc/ssh";
/// Far beyond what people write.
const MOST_BYTES: u64 = 1024 * 1024;
const MOST_FILES: usize = 1_000;

/// Why a file is not read. What is quoted of files and their names has no control characters: it is no order to the terminal.
#[derive(Debug, thiserror::Error)]
pub enum SshdFileError {
    /// It is not there, or may not be read.
    #[error("cannot read {path}: {source}{asked_by}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
        /// The `Include` line, or nothing.
        asked_by: String,
    },
    /// It is something else than a file.
    #[error("{path} is {what}, not a file{asked_by}")]
    NotAFile {
        /// What was named.
        path: String,
        /// What it is.
        what: &'static str,
        /// The `Include` line, or nothing.
        asked_by: String,
    },
    /// It cannot be an `sshd_config`.
    #[error("{path} is no sshd_config: {why}{asked_by}")]
    NotAConfig {
        /// The file.
        path: String,
        /// Why not.
        why: String,
        /// The `Include` line, or nothing.
        asked_by: String,
    },
    /// An absolute path, and nothing says what stands for `/`.
    #[error(
        "{line}: `Include {pattern}` is an absolute path, and this machine's own files are not meant; put the files under one \
         folder, such as DIR{pattern}, and name it with `--config-root DIR`"
    )]
    Absolute {
        /// The `Include` line.
        line: String,
        /// As typed.
        pattern: String,
    },
    /// It is not under the folder.
    #[error(
        "{line}: `Include {pattern}` leads out of {root}, to {to}; only files in there are read"
    )]
    Outside {
        /// The `Include` line.
        line: String,
        /// As typed.
        pattern: String,
        /// The folder.
        root: String,
        /// Where it leads.
        to: String,
    },
    /// glob(3) would take it for something, this program does not.
    #[error("{line}: `Include {pattern}`: {why}")]
    Pattern {
        /// The `Include` line.
        line: String,
        /// As typed.
        pattern: String,
        /// What is wrong.
        why: String,
    },
    /// More files than anybody has.
    #[error("{line}: more than {MOST_FILES} files are included")]
    TooMany {
        /// The `Include` line.
        line: String,
    },
}

/// Reads a file and what it includes. With `config_root` absolute paths are looked up under it, and relative ones under its
/// `etc/ssh`; without, relative ones beside the file.
///
/// # Errors
/// [`SshdFileError`] naming the file, and the line that asks for it.
pub fn read_sshd_config(
    file: &Path,
    config_root: Option<&Path>,
) -> Result<ConfigFile, SshdFileError> {
    let name = file.display().to_string();
    let text = read_text(file, &name, String::new())?;
    let root = match config_root {
        Some(root) => root,
        None => match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        },
    };
    let canonical = fs::canonicalize(root)
        .and_then(|canonical| match canonical.is_dir() {
            true => Ok(canonical),
            false => Err(io::ErrorKind::NotADirectory.into()),
        })
        .map_err(|source| SshdFileError::Unreadable {
            path: shown(root.display()),
            source,
            asked_by: String::new(),
        })?;
    let mut files = FilesUnder {
        root: root.to_path_buf(),
        canonical,
        is_root: config_root.is_some(),
        files: 0,
    };
    ConfigFile::read(SourceFile { name, text }, &mut files)
}

/// The files under one folder.
struct FilesUnder {
    /// As it was named.
    root: PathBuf,
    /// Without links.
    canonical: PathBuf,
    /// Whether it stands for `/`.
    is_root: bool,
    files: usize,
}

impl Texts for FilesUnder {
    type Error = SshdFileError;

    fn matching(&mut self, pattern: &str, at: At<'_>) -> Result<Vec<SourceFile>, SshdFileError> {
        let line = format!("{} line {}", shown(at.file), at.line);
        let asked_by = || format!(" ({line} includes it)");
        let outside = |to: &Path| SshdFileError::Outside {
            line: line.clone(),
            pattern: shown(pattern),
            root: shown(self.root.display()),
            to: shown(to.display()),
        };
        let not_a_pattern = |why: &str| SshdFileError::Pattern {
            line: line.clone(),
            pattern: shown(pattern),
            why: why.to_owned(),
        };
        let relative = match (pattern.strip_prefix('/'), self.is_root) {
            // sshd does not expand it, and no folder is called so.
            _ if pattern.starts_with('~') => return Ok(Vec::new()),
            (Some(_), false) => {
                return Err(SshdFileError::Absolute {
                    line,
                    pattern: shown(pattern),
                });
            }
            (Some(inside), true) => PathBuf::from(inside),
            (None, true) => Path::new(SSH_FOLDER).join(pattern),
            (None, false) => PathBuf::from(pattern),
        };
        let inside = without_parents(&relative).ok_or_else(|| outside(&relative))?;
        // Two asterisks are one to glob(3).
        let mut wanted = inside.to_string_lossy().into_owned();
        while wanted.contains("**") {
            wanted = wanted.replace("**", "*");
        }
        let root = Pattern::escape(&self.canonical.to_string_lossy());
        let options = MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            // It panics at a name that is no UTF-8 when it is to look at the dots.
            require_literal_leading_dot: false,
        };
        let paths = glob_with(&format!("{root}/{wanted}"), options)
            .map_err(|error| not_a_pattern(error.msg))?;
        let mut found = Vec::new();
        for path in paths {
            let unreadable = |path: &Path, source| SshdFileError::Unreadable {
                path: shown(path.display()),
                source,
                asked_by: asked_by(),
            };
            let at = match &path {
                Ok(path) => path.as_path(),
                Err(error) => error.path(),
            };
            if at
                .strip_prefix(&self.canonical)
                .is_ok_and(|at| is_hidden(at, Path::new(&wanted)))
            {
                continue;
            }
            let path = path.map_err(|error| {
                let path = error.path().to_path_buf();
                unreadable(&path, error.into())
            })?;
            let real = fs::canonicalize(&path).map_err(|source| unreadable(&path, source))?;
            let inside = real
                .strip_prefix(&self.canonical)
                .map_err(|_| outside(&real))?;
            self.files += 1;
            if self.files > MOST_FILES {
                return Err(SshdFileError::TooMany { line });
            }
            let name = self.root.join(inside).display().to_string();
            let text = read_text(&real, &name, asked_by())?;
            found.push(SourceFile { name, text });
        }
        // The names that glob skips would be sshd's to include.
        let (folder, last) = wanted.rsplit_once('/').unwrap_or(("", wanted.as_str()));
        let is_pattern = |part: &str| part.contains(['*', '?', '[']);
        if is_pattern(last)
            && !is_pattern(folder)
            && self.has_name_that_is_no_utf8(&self.canonical.join(folder))
        {
            return Err(not_a_pattern(
                "a file in that folder has a name that is no UTF-8; rename it",
            ));
        }
        Ok(found)
    }
}

impl FilesUnder {
    /// Whether a file in a folder is called so; a folder outside is not looked into.
    fn has_name_that_is_no_utf8(&self, folder: &Path) -> bool {
        fs::canonicalize(folder).is_ok_and(|folder| {
            folder.starts_with(&self.canonical)
                && fs::read_dir(folder).is_ok_and(|mut entries| {
                    entries
                        .any(|entry| entry.is_ok_and(|entry| entry.file_name().to_str().is_none()))
                })
        })
    }
}

/// As it is told.
fn shown(text: impl Display) -> String {
    printable(&text.to_string())
}

/// Whether something else than a dot in the pattern stands for one at the beginning of a name: to glob(3) nothing else does.
fn is_hidden(path: &Path, pattern: &Path) -> bool {
    let has_dot = |part: Component<'_>| part.as_os_str().as_encoded_bytes().starts_with(b".");
    path.components()
        .zip(pattern.components())
        .any(|(name, pattern)| has_dot(name) && !has_dot(pattern))
}

/// The path without `..` and `.`; `None` where it leads above where it begins.
fn without_parents(path: &Path) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            Component::ParentDir => {
                if !inside.pop() {
                    return None;
                }
            }
        }
    }
    Some(inside)
}

/// The text of one file, if it can be an `sshd_config`. Devices and pipes are not opened.
fn read_text(path: &Path, name: &str, asked_by: String) -> Result<String, SshdFileError> {
    let unreadable = |source| SshdFileError::Unreadable {
        path: shown(name),
        source,
        asked_by: asked_by.clone(),
    };
    let not_a_config = |why: String| SshdFileError::NotAConfig {
        path: shown(name),
        why,
        asked_by: asked_by.clone(),
    };
    let kind = fs::metadata(path).map_err(unreadable)?;
    if !kind.is_file() {
        return Err(SshdFileError::NotAFile {
            path: shown(name),
            what: match kind.is_dir() {
                true => "a directory",
                false => "a device, pipe or socket",
            },
            asked_by: asked_by.clone(),
        });
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(not_a_config(format!(
            "it is larger than {} KiB",
            MOST_BYTES / 1024
        )));
    }
    if bytes.contains(&0) {
        return Err(not_a_config(
            "it has zero bytes, so it is no text".to_owned(),
        ));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;

    fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("one")).expect("made");
        fs::write(&path, text).expect("written");
        path
    }

    fn names(config: &ConfigFile, root: &Path) -> Vec<String> {
        let files = config.files.iter();
        files
            .map(|file| file.name.replace(&root.display().to_string(), "ROOT"))
            .collect()
    }

    #[test]
    fn absolute_and_relative_includes_are_under_the_root_in_the_order_of_glob() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("ro[o]t");
        let main = write(
            &root,
            "etc/ssh/sshd_config",
            "Include /etc/ssh/sshd_config.d/*.conf\nInclude more/../extra\nInclude none*\nInclude ~/x\n",
        );
        write(&root, "etc/ssh/sshd_config.d/50-b.conf", "Port 2\n");
        write(&root, "etc/ssh/sshd_config.d/10-a.conf", "Port 1\n");
        write(&root, "etc/ssh/sshd_config.d/.hidden.conf", "Port 9\n");
        write(&root, "etc/ssh/sshd_config.d/old.bak", "Port 8\n");
        write(&root, "etc/ssh/extra", "Port 3\n");
        let config = read_sshd_config(&main, Some(&root)).expect("read");
        assert_eq!(
            names(&config, &root),
            [
                "ROOT/etc/ssh/sshd_config",
                "ROOT/etc/ssh/sshd_config.d/10-a.conf",
                "ROOT/etc/ssh/sshd_config.d/50-b.conf",
                "ROOT/etc/ssh/extra",
            ]
        );
        // Without a root the absolute one is refused, naming the line and the way out.
        let error = read_sshd_config(&main, None)
            .expect_err("refused")
            .to_string();
        assert!(
            error.contains("sshd_config line 1") && error.contains("--config-root"),
            "{error}"
        );
    }

    #[test]
    fn without_a_root_relative_includes_are_beside_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let main = write(folder.path(), "sshd_config", "Include conf.d/*\n");
        write(folder.path(), "conf.d/a", "Port 1\n");
        let config = read_sshd_config(&main, None).expect("read");
        assert_eq!(
            names(&config, folder.path()),
            ["ROOT/sshd_config", "ROOT/conf.d/a"]
        );
    }

    #[test]
    fn nothing_outside_of_the_root_is_read_by_whatever_way_it_is_reached() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("root");
        write(folder.path(), "secret", "Port 1\n");
        fs::create_dir_all(root.join("etc/ssh")).expect("made");
        symlink(folder.path().join("secret"), root.join("link")).expect("linked");
        symlink(folder.path(), root.join("up")).expect("linked");
        for pattern in [
            "/../secret",
            "../../../secret",
            "/etc/../../secret",
            "/link",
            "/up/secret",
            "/up/sec*",
            "/l*",
        ] {
            let main = write(
                &root,
                "etc/ssh/sshd_config",
                &format!("Include {pattern}\n"),
            );
            let error = read_sshd_config(&main, Some(&root)).expect_err(pattern);
            assert!(
                matches!(error, SshdFileError::Outside { .. }),
                "{pattern}: {error}"
            );
        }
        // sshd takes all of these for an `Include`.
        for line in [
            "=Include /link",
            "\t\"\"Include=/link",
            "\"\" Include /link",
            "\"Include\"/link",
            "Incl\"ude\" /link",
            "=Incl\"ude\" /link",
        ] {
            let main = write(&root, "etc/ssh/sshd_config", line);
            let error = read_sshd_config(&main, Some(&root)).expect_err(line);
            assert!(
                matches!(error, SshdFileError::Outside { .. }),
                "{line}: {error}"
            );
        }
        let main = write(&root, "etc/ssh/sshd_config", "Include ../../link\n");
        assert!(matches!(
            read_sshd_config(&main, None),
            Err(SshdFileError::Outside { .. })
        ));
    }

    #[test]
    fn hidden_names_are_included_only_by_a_dot_and_names_that_are_no_utf8_not_silently_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        write(path, "d/.hidden", "Port 1\n");
        write(path, "d/seen", "Port 2\n");
        write(path, ".e/seen", "Port 3\n");
        let included = |pattern: &str| {
            let main = write(path, "sshd_config", &format!("Include {pattern}\n"));
            let config = read_sshd_config(&main, None).expect("read");
            names(&config, path)[1..].to_vec()
        };
        for (pattern, files) in [
            ("d/*", &["ROOT/d/seen"][..]),
            ("*/seen", &["ROOT/d/seen"]),
            ("*/*", &["ROOT/d/seen"]),
            ("d/.h*", &["ROOT/d/.hidden"]),
            (".e/*", &["ROOT/.e/seen"]),
            ("d/?hidden", &[]),
        ] {
            assert_eq!(included(pattern), files, "{pattern}");
        }
        fs::write(
            path.join("d").join(OsStr::from_bytes(b"f\xfcr")),
            "Port 4\n",
        )
        .expect("written");
        // It is not among what a name means.
        assert_eq!(included("d/seen"), ["ROOT/d/seen"]);
        let main = write(path, "sshd_config", "Include d/*\n");
        let error = read_sshd_config(&main, None).expect_err("refused");
        assert!(
            matches!(error, SshdFileError::Pattern { .. })
                && error.to_string().contains("no UTF-8"),
            "{error}"
        );
    }

    #[test]
    fn errors_have_no_orders_to_the_terminal() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        write(path, "e\u{1b}[2J", "Port 1\0\n");
        for line in [
            "Include /etc/\u{1b}[2J",
            "Include ../\u{1b}[2J",
            "Include \u{1b}[2J",
            "Include e\u{1b}*",
        ] {
            let main = write(path, "sshd_config", line);
            let told = read_sshd_config(&main, None).expect_err(line).to_string();
            assert!(
                told.contains('\u{fffd}') && !told.contains(char::is_control),
                "{told:?}"
            );
        }
        let told = read_sshd_config(&path.join("none\u{1b}"), None).expect_err("none");
        assert!(!told.to_string().contains(char::is_control));
    }

    #[test]
    fn what_is_no_configuration_is_refused_before_it_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        let refused = |file: &Path| {
            read_sshd_config(file, None)
                .expect_err("refused")
                .to_string()
        };
        assert!(refused(&path.join("none")).contains("cannot read"));
        assert!(refused(path).contains("is a directory"));
        assert!(refused(Path::new("/dev/zero")).contains("a device"));
        let binary = write(path, "binary", "Port 1\0\n");
        assert!(refused(&binary).contains("zero bytes"));
        let large = path.join("large");
        File::create(&large)
            .and_then(|file| file.set_len(100 * 1024 * 1024))
            .expect("made");
        assert!(refused(&large).contains("larger than 1024 KiB"));
        let main = write(path, "sshd_config", "\nInclude sub\n");
        fs::create_dir(path.join("sub")).expect("made");
        let told = refused(&main);
        assert!(
            told.contains("a directory") && told.contains("sshd_config line 2"),
            "{told}"
        );
        // Bytes that are no UTF-8 are somebody's comment.
        fs::write(path.join("latin"), b"# f\xfcr\nPort 1\n").expect("written");
        assert!(read_sshd_config(&path.join("latin"), None).is_ok());
    }
}
