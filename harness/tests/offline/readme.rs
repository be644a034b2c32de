//! The recipes of the README, typed as they stand there, in a folder of their own.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::driver;

/// A command of the README, and what it is said to print. A line `…` says that more follows.
struct Typed<'r> {
    command: &'r str,
    printed: Vec<&'r str>,
}

fn typed(readme: &str) -> Vec<Typed<'_>> {
    let blocks = readme.split("```console\n").skip(1);
    let mut all: Vec<Typed<'_>> = Vec::new();
    for block in blocks.filter_map(|rest| rest.split("```").next()) {
        for line in block.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => all.push(Typed {
                    command,
                    printed: Vec::new(),
                }),
                None => all.last_mut().expect("a command first").printed.push(line),
            }
        }
    }
    all
}

/// The text with every number in it made the same: times differ, and counts where chance is at work.
fn numbers_left_out(line: &str) -> String {
    let mut out = String::new();
    for character in line.trim_end().chars() {
        match character {
            '0'..='9' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            // Of a decimal number.
            '.' if out.ends_with('#') => out.push('.'),
            other => out.push(other),
        }
    }
    out.replace("#.#", "#")
}

#[test]
fn recipes_of_the_readme_print_what_it_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let commands = typed(&readme);
    assert!(commands.len() >= 4, "{}", commands.len());
    let directory = tempfile::tempdir().unwrap();
    let programs = directory.path().join("bin");
    std::fs::create_dir(&programs).unwrap();
    symlink(driver::binary(), programs.join("sshchurn")).unwrap();
    symlink(root.join("reports"), directory.path().join("reports")).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    if Command::new("ssh").arg("-V").output().is_err() {
        driver::skipped("SSHCHURN_REQUIRE_CLIENTS", "no ssh client on this machine");
        return;
    }
    if !Path::new("/usr/sbin/sshd").exists() {
        driver::skipped(
            "SSHCHURN_REQUIRE_LOCAL",
            "no sshd on this machine to read a file with",
        );
        return;
    }
    for Typed { command, printed } in commands {
        assert!(printed.len() <= 10, "`{command}` shows more than ten lines");
        let output = Command::new("sh")
            .args(["-c", &format!("{command} 2>&1")])
            .current_dir(directory.path())
            .env("PATH", &path)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let told: Vec<String> = text.lines().map(numbers_left_out).collect();
        let expected: Vec<String> = printed.iter().map(|line| numbers_left_out(line)).collect();
        let (expected, begins) = match expected.split_last() {
            Some((last, before)) if last == "…" => (before, true),
            _ => (&expected[..], false),
        };
        let told = &told[..if begins {
            expected.len().min(told.len())
        } else {
            told.len()
        }];
        assert_eq!(told, expected, "`{command}` printed\n{text}");
    }
}
