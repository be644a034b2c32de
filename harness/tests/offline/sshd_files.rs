//! A user's own `sshd_config` without an sshd: what is refused before one is asked, and what OpenSSH's source says by itself.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;

use crate::driver::sshchurn;

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn file_that_cannot_be_read_is_named_with_the_line_that_asks_for_it_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let large = path.join("large").display().to_string();
    let made = File::create(&large).unwrap();
    made.set_len(100 * 1024 * 1024).unwrap();
    fs::create_dir(path.join("root")).unwrap();
    let root = path.join("root").display().to_string();
    write(path, "secret", "MaxStartups 7:7:7\n");
    symlink(path.join("secret"), path.join("root/link")).unwrap();
    let missing = path.join("none").display().to_string();
    let directory = path.display().to_string();
    let binary = write(path, "binary", "Port 1\0");
    let absolute = write(
        path,
        "absolute",
        "\nInclude /etc/ssh/sshd_config.d/*.conf\n",
    );
    let upwards = write(path, "upwards", "Include /etc/../../secret\n");
    let link = write(path, "linked", "Include /link\n");
    let spelt = write(path, "spelt", "=Incl\"ude\" /link\n");
    let order = write(path, "order", "Include /\u{1b}[2J\n");
    let no_root = path.join("no-root").display().to_string();
    for (arguments, words) in [
        (vec![&*missing], "none: No such file"),
        (vec![&*directory], "is a directory"),
        (vec!["/dev/null"], "is a device"),
        (vec![&*binary], "zero bytes"),
        (vec![&*large], "larger than 1024 KiB"),
        (
            vec![&*absolute],
            "absolute line 2: `Include /etc/ssh/sshd_config.d/*.conf`",
        ),
        (vec![&*absolute], "--config-root DIR"),
        (vec![&*upwards, "--config-root", &root], "leads out of"),
        (vec![&*link, "--config-root", &root], "leads out of"),
        (vec![&*spelt, "--config-root", &root], "leads out of"),
        (vec![&*order], "Include /\u{fffd}[2J"),
        (
            vec![&*absolute, "--config-root", &no_root],
            "no-root: No such file",
        ),
    ] {
        for command in [&["check-config"][..], &["run", "smoke", "--sshd-config"]] {
            let more: &[&str] = match command[0] {
                "run" => &["--target", "local"],
                _ => &["--as-written"],
            };
            let refused = sshchurn(&[command, &arguments, more].concat()).code(2);
            assert!(
                refused.stderr.contains(words),
                "{arguments:?}: {}",
                refused.stderr
            );
            assert!(!refused.stderr.contains("7:7:7"));
            assert!(!refused.stderr.contains('\u{1b}'));
            assert_eq!(refused.stdout, "");
        }
    }
}

#[test]
fn options_that_contradict_each_other_or_do_nothing_are_usage_errors() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "sshd_config", "MaxSessions 3\n");
    for (arguments, words) in [
        (
            &["check-config", &*file, "--max-startups", "1:30:2"][..],
            "--max-startups",
        ),
        (&["check-config", "--as-written"], "FILE"),
        (&["check-config", "--config-root", "/"], "without a FILE"),
        (
            &["check-config", "--release", "9.2", "--release", "10.6"],
            "need a FILE",
        ),
        (
            &["check-config", &file, "--connection", "who=me"],
            "user=NAME,addr=IP",
        ),
        (&["check-config", &file, "--release", "7.4"], "8.4 to 10.6"),
        (
            &["check-config", &file, "--target", "embedded"],
            "--target docker",
        ),
        (
            &["check-config", &file, "--sshd-option", "maxsessions=4"],
            "sets it too",
        ),
        (
            &[
                "run",
                "smoke",
                "--sshd-config",
                &file,
                "--max-startups",
                "1:30:2",
            ],
            "--max-startups",
        ),
        (
            &[
                "run",
                "smoke",
                "--sshd-config",
                &file,
                "--target",
                "local",
                "--sshd-option",
                "MaxSessions=4",
            ],
            "sets it too",
        ),
        (
            &[
                "run",
                "smoke",
                "--sshd-config",
                &file,
                "--target",
                "embedded",
            ],
            "--target docker",
        ),
        (
            &["run", "smoke", "--config-root", "/"],
            "without --sshd-config",
        ),
        (
            &[
                "run",
                "smoke",
                "--sshd-config",
                &file,
                "--target",
                "external",
                "--address",
                "127.0.0.1:9",
                "--user",
                "u",
                "--key",
                "k",
            ],
            "does nothing with --target external",
        ),
    ] {
        let refused = sshchurn(arguments).code(2);
        assert!(
            refused.stderr.contains(words),
            "{arguments:?}: {}",
            refused.stderr
        );
    }
}

#[test]
fn release_of_which_there_is_no_sshd_is_read_from_the_source_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text, code) in [
        ("plain", "MaxStartups 10:30:60\n", 3),
        ("one", "MaxStartups 500\n", 1),
        ("match", "Match user x\n  MaxStartups 10:30:60\n", 2),
    ] {
        let file = write(folder.path(), name, text);
        let arguments = ["check-config", &file, "--release", "10.1"];
        let read = sshchurn(&arguments).code(code);
        assert!(
            read.stdout
                .contains("OpenSSH 10.1 (from OpenSSH's source, not run)"),
            "{}",
            read.stdout
        );
        let json = sshchurn(&[&arguments[..], &["--format", "json"]].concat()).code(code);
        let document: Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!(document["releases"][0]["program"], Value::Null);
        assert_eq!(document["behaviour"].as_array().unwrap().len(), 0);
    }
}
