//! What is generated from the command line's definition, with the real binary and the programs that read it.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::driver::{self, Finished, sshchurn};
use sshchurn_core::release_changes::{CHANGES, Change};

/// Runs a program to its end with this on its standard input.
pub(crate) fn fed(program: &str, arguments: &[&str], input: &[u8]) -> Finished {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Finished {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
        directory: PathBuf::new(),
    }
}

/// Feeds a script to bash with `arguments`, and gives what it printed.
fn bash(arguments: &[&str], script: &str) -> String {
    let finished = fed("bash", arguments, script.as_bytes()).code(0);
    assert!(finished.stderr.is_empty(), "{}", finished.stderr);
    finished.stdout
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
fn readme_of_the_images_has_the_table_by_which_the_nearest_release_is_chosen() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/containers/README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let of_change = |change: &Change| {
        let Change { what, effect, .. } = change;
        format!("| {} | {what} | {effect} |", change.releases())
    };
    let expected: Vec<String> = CHANGES.iter().map(of_change).collect();
    let section = readme
        .split("## A release without an image")
        .nth(1)
        .unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    assert_eq!(rows.skip(1).collect::<Vec<_>>(), expected);
}

#[test]
fn release_that_cannot_be_had_and_an_image_in_the_wrong_place_are_usage_errors_that_say_what_there_is()
 {
    for release in ["7.0", "11.3", "8.10"] {
        for command in ["run", "check-config", "matrix"] {
            let refused = sshchurn(&[command, "--release", release]).code(2);
            for words in [release, "8.4, 9.2, 10.0, 10.3, 10.6"] {
                assert!(refused.stderr.contains(words), "{}", refused.stderr);
            }
        }
    }
    for target in ["local", "embedded", "external"] {
        let arguments = ["run", "smoke", "--target", target, "--image", "my/base"];
        let refused = sshchurn(&arguments).code(2);
        let said = "--image does nothing without --target docker";
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
    // What the scenario needs is not weakened by what is nearest.
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("since.toml");
    let text = sshchurn(&["scenario", "show", "smoke"]).code(0).stdout;
    std::fs::write(
        &scenario,
        text.replace("[sshd]", "[sshd]\nmin_release = \"9.8\""),
    )
    .unwrap();
    let refused = sshchurn(&["run", scenario.to_str().unwrap(), "--release", "9.6"]).code(2);
    assert!(
        refused.stderr.contains("sshd.min_release"),
        "{}",
        refused.stderr
    );
}

/// A scenario file in a folder of its own.
fn scenario(directory: &Path, text: &str) -> String {
    let path = directory.join("scenario.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

const GOOD: &str = "name = \"s\"\ntasks = 2\n[[strategy]]\nkind = \"per-command\"\n[sshd]\nmax_startups = \"9:30:9\"\n";

#[test]
fn scenario_check_finds_what_run_would_refuse() {
    let directory = tempfile::tempdir().unwrap();
    let good = scenario(directory.path(), GOOD);
    sshchurn(&["scenario", "check", &good, "smoke"]).code(0);
    let wrong = format!(
        "{GOOD}[[gate]]\nthreshold = \"pol.banner_eof == 0\"\n[[gate]]\nthreshold = \"tcp.p101 < 5ms\"\n"
    );
    let wrong = scenario(directory.path(), &wrong);
    let checked = sshchurn(&["scenario", "check", &wrong, "smoke"]).code(2);
    for words in ["scenario.toml", "pol", "percentile `p101`"] {
        assert!(
            checked.stderr.contains(words),
            "{words}: {}",
            checked.stderr
        );
    }
    assert!(
        checked.stdout.contains("smoke: ok"),
        "the others are checked as well"
    );
    // A syntax error is all there is to say of a file that was not read to its end.
    let broken = scenario(
        directory.path(),
        &GOOD.replace("[[strategy]]", "[[strategy]"),
    );
    let checked = sshchurn(&["scenario", "check", &broken]).code(2);
    assert!(checked.stderr.contains("not TOML"), "{}", checked.stderr);
    assert!(!checked.stderr.contains("missing"), "{}", checked.stderr);
}

/// `run` with these arguments is a usage error that contains `words`, and starts nothing.
#[track_caller]
fn refused(arguments: &[&str], words: &str) {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("run");
    let fixed = [
        "run",
        "--target",
        "embedded",
        "--out",
        out.to_str().unwrap(),
    ];
    let refused = sshchurn(&[&fixed[..], arguments].concat()).code(2);
    assert!(
        refused.stderr.contains(words),
        "{arguments:?}: {}",
        refused.stderr
    );
    assert!(!out.exists(), "nothing was started");
}

#[test]
fn command_line_cannot_ask_for_what_a_file_may_not() {
    for (arguments, words) in [
        (&["staircase", "-n", "5"][..], "must be alone"),
        (&["smoke", "-n", "100001"], "100000"),
        (&["smoke", "--rounds", "1001"], "1000"),
        (&["smoke", "--seed", "18446744073709551615"], "seed"),
        (
            &[
                "smoke",
                "--sshd-option",
                "MaxSessions=2",
                "--sshd-option",
                "maxsessions=3",
            ],
            "`MaxSessions=2` and `maxsessions=3`",
        ),
    ] {
        refused(arguments, words);
    }
}

#[test]
fn options_that_would_do_nothing_are_refused() {
    for (arguments, words) in [
        (
            &["smoke", "--gate-on", "attempts"][..],
            "without --baseline",
        ),
        (&["smoke", "--allow-different"], "without --baseline"),
        (
            &["smoke", "--address", "127.0.0.1:22"],
            "without --target external",
        ),
        (
            &["smoke", "--network", "published"],
            "without --target docker",
        ),
        (&["smoke", "--address", "localhost:22"], "127.0.0.1:22"),
    ] {
        refused(arguments, words);
    }
}

#[test]
fn result_that_cannot_be_written_is_no_success_and_a_reader_that_left_is() {
    let list = |stdout: Stdio| {
        Command::new(driver::binary())
            .args(["scenario", "list"])
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap()
    };
    let full = list(std::fs::File::create("/dev/full").unwrap().into());
    let stderr = String::from_utf8_lossy(&full.stderr).into_owned();
    assert_eq!(full.status.code(), Some(4), "{stderr}");
    assert!(stderr.contains("No space left"), "{stderr}");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(list(writer.into()).status.code(), Some(0));
}

#[test]
fn directory_without_a_ledger_is_no_run_directory() {
    let directory = tempfile::tempdir().unwrap();
    let refused = sshchurn(&["report", directory.path().to_str().unwrap()]).code(2);
    assert!(
        refused.stderr.contains("not a run directory"),
        "{}",
        refused.stderr
    );
    assert_eq!(
        driver::temporary(directory.path(), ""),
        Vec::<String>::new()
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

/// Nobody's user id on Linux, and root's way of being an ordinary user.
const NOBODY: u32 = 65_534;

#[test]
fn socket_of_a_docker_engine_that_this_user_may_not_use_is_named_with_the_fix() {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode));
    open(folder.path(), 0o755).unwrap();
    let socket = folder.path().join("docker.sock");
    let _engine = UnixListener::bind(&socket).unwrap();
    // Writing is what `connect` needs (unix(7)), of the owner too.
    open(&socket, 0).unwrap();
    let program = folder.path().join("sshchurn");
    std::fs::copy(driver::binary(), &program).unwrap();
    let mut command = Command::new(&program);
    if nix::unistd::geteuid().is_root() {
        command.uid(NOBODY);
    }
    let output = command
        .arg("doctor")
        .env("DOCKER_HOST", format!("unix://{}", socket.display()))
        .current_dir(folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        told.contains("may not use") && told.contains("the socket's group"),
        "{told}"
    );
    assert!(!told.contains("start Docker"), "{told}");
}
