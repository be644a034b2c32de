//! What is generated from the command line's definition, with the real binary and the programs that read it.
#![allow(clippy::unwrap_used)]

mod driver;

use std::io::Write as _;
use std::process::{Command, Stdio};

use driver::sshchurn;

/// Feeds a script to bash with `arguments`, and gives what it printed.
fn bash(arguments: &[&str], script: &str) -> String {
    let mut bash = Command::new("bash")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    bash.stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    let output = bash.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && stderr.is_empty(), "{stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn bash_accepts_its_completions_and_completes_with_them() {
    let script = sshchurn(&["completions", "bash"]).code(0).stdout;
    bash(&["-n"], &script);
    // As bash calls the function on `sshchurn scenario c<Tab>` and `sshchurn run --target e<Tab>`.
    let complete = |words: &str, last: usize| {
        bash(
            &["--norc"],
            &format!(
                "{script}\nCOMP_WORDS=({words}); COMP_CWORD={last}\n\
                 _sshchurn sshchurn \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{last}-1]}}\"\n\
                 printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
            ),
        )
    };
    assert_eq!(complete("sshchurn scenario c", 2), "check\n");
    assert_eq!(
        complete("sshchurn run --target e", 3),
        "embedded\nexternal\n"
    );
}

#[test]
fn completions_are_there_for_five_shells_and_no_other() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = sshchurn(&["completions", shell]).code(0).stdout;
        assert!(script.contains("sshchurn"), "{shell}");
    }
    let wrong = sshchurn(&["completions", "csh"]).code(2);
    assert!(wrong.stderr.contains("powershell"), "{}", wrong.stderr);
}

#[test]
fn manual_has_a_page_for_each_command_that_help_names() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("share/man1");
    sshchurn(&["man", "--out", &folder.display().to_string()]).code(0);
    let page = |name: &str| std::fs::read_to_string(folder.join(format!("{name}.1"))).unwrap();
    // What help names, at both levels.
    let commands = |args: &[&str]| -> Vec<String> {
        sshchurn(&[args, &["--help"]].concat())
            .code(0)
            .stdout
            .lines()
            .skip_while(|line| *line != "Commands:")
            .skip(1)
            .take_while(|line| line.starts_with("  "))
            // A long description goes on in a line of its own, further in.
            .filter_map(|line| line.strip_prefix("  "))
            .filter(|line| !line.starts_with(' '))
            .filter_map(|line| line.split_whitespace().next())
            .filter(|name| *name != "help")
            .map(str::to_owned)
            .collect()
    };
    let top = commands(&[]);
    assert!(top.len() >= 7, "{top:?}");
    let mut expected = 1;
    assert!(page("sshchurn").contains("MaxStartups"));
    for command in &top {
        expected += 1;
        assert!(page(&format!("sshchurn-{command}")).contains(".SH SYNOPSIS"));
        for inner in commands(&[command]) {
            expected += 1;
            page(&format!("sshchurn-{command}-{inner}"));
        }
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), expected);

    // Without a folder, the same pages one after the other.
    let all = sshchurn(&["man"]).code(0).stdout;
    assert_eq!(all.matches(".SH SYNOPSIS").count(), expected);
    assert!(all.contains(&page("sshchurn-scenario-check")));
}
