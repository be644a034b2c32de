//! What the program says of a user's `sshd_config`, held against each release's own sshd. It reads the same trees by its own
//! globs and from `/etc/ssh`, in a container that the program does not know of. Skips loudly without Docker, fails where
//! `SSHCHURN_REQUIRE_DOCKER` says that it is required.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sshchurn::session::read_sshd_config;
use sshchurn::shipped::RECIPE;
use sshchurn_core::release::Release;
use sshchurn_core::sshd_file::changes;
use sshchurn_server::config_reader::{Asker, ConfigAnswer, SshdProgram};
use sshchurn_server::docker::{Suite, image};

use crate::driver::sshchurn;
use crate::machine::{Kind, on_each_kind};
use crate::releases::alone_with_images;

/// The trees beside this file: each an `/etc` with an `sshd_config`.
fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("harness/tests/real/sshd_files")
}

fn main_file(root: &Path) -> PathBuf {
    root.join("etc/ssh/sshd_config")
}

/// Lines that people have, and what each release was seen to make of them: `MaxStartups` on 8.4 to 10.0, and from 10.3 on;
/// `-` where it refuses the file.
const LINES: [(&str, &str, &str, &str); 29] = [
    (
        "two",
        "MaxStartups 10:30:60\nPort 22\nMaxStartups 500\n",
        "500:30:500",
        "10:30:60",
    ),
    (
        "two-rates",
        "MaxStartups 5:50:60\nMaxStartups 70\n",
        "70:50:70",
        "5:50:60",
    ),
    ("one", "MaxStartups 500\n", "500:30:500", "500:30:500"),
    (
        "in-match",
        "Match user x\n  X11Forwarding no\nMaxStartups 10:30:60\n",
        "-",
        "-",
    ),
    (
        "after-all",
        "MaxStartups 9:9:9\nMatch all\nMaxStartups 10:30:60\n",
        "10:30:60",
        "9:9:9",
    ),
    ("tabs", "\tmaxstartups\t10:30:60\n", "10:30:60", "10:30:60"),
    ("equals", "MaxStartups=10:30:60\n", "10:30:60", "10:30:60"),
    (
        "quotes",
        "MaxStartups \"10:30:60\"\n",
        "10:30:60",
        "10:30:60",
    ),
    (
        "comment",
        "MaxStartups 10:30:60 # why\n",
        "10:30:60",
        "10:30:60",
    ),
    ("junk", "MaxStartups 10:30:60x\n", "10:30:60", "10:30:60"),
    ("four", "MaxStartups 10:30:60:90\n", "10:30:60", "10:30:60"),
    ("commas", "MaxStartups 10,30,60\n", "10:30:10", "10:30:10"),
    (
        "large",
        "MaxStartups 10:30:4294967306\n",
        "10:30:10",
        "10:30:10",
    ),
    ("pair", "MaxStartups 10:30\n", "-", "-"),
    ("above", "MaxStartups 60:30:10\n", "-", "-"),
    ("rate", "MaxStartups 10:0:100\n", "-", "-"),
    ("none", "MaxStartups none\n", "-", "-"),
    ("nothing", "MaxStartups\n", "-", "-"),
    ("empty", "MaxStartups \"\"\n", "-", "-"),
    ("more", "MaxStartups 10:30:60 20\n", "-", "-"),
    ("open", "MaxStartups \"10:30:60\n", "-", "-"),
    ("stuck", "MaxStartups 10:30\nLoginGraceTime90\n", "-", "-"),
    ("exec", "Match exec \"/bin/true\"\n", "-", "-"),
    (
        "exec-block",
        "Match exec \"/bin/true\"\n  MaxSessions 3\n",
        "-",
        "-",
    ),
    (
        "first-equals",
        "=MaxStartups 10:30:60\n",
        "10:30:60",
        "10:30:60",
    ),
    (
        "two-equals",
        "= =MaxStartups 10:30:60\n",
        "10:30:100",
        "10:30:100",
    ),
    (
        "empty-word",
        "\"\" MaxStartups 10:30:60\n",
        "10:30:60",
        "10:30:60",
    ),
    (
        "quoted-half",
        "Max\"Startups\" 10:30:60\n",
        "10:30:60",
        "10:30:60",
    ),
    // On 8.4 it is `-`: single quotes are since 8.7.
    ("single", "MaxStartups '10:30:60'\n", "10:30:60", "10:30:60"),
];

/// All trees in one folder: the fixtures, and one for each of the lines.
fn trees(folder: &Path) -> Vec<String> {
    let copied = Command::new("cp")
        .arg("-r")
        .arg(format!("{}/.", fixtures().display()))
        .arg(folder)
        .status()
        .unwrap();
    assert!(copied.success());
    for (name, text, ..) in LINES {
        let main = main_file(&folder.join(format!("line-{name}")));
        fs::create_dir_all(main.parent().unwrap()).unwrap();
        fs::write(main, text).unwrap();
    }
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// What an sshd said by itself.
struct Truth {
    accepted: bool,
    text: String,
}

impl Truth {
    /// The whole of `sshd -T`, but for what only tells where the key is.
    fn settings(&self) -> BTreeSet<(String, String)> {
        self.text
            .lines()
            // Up to 9.2 `-T` looks for the keys that a file names.
            .filter(|line| !line.starts_with("Unable to load host key"))
            .filter_map(|line| line.trim().split_once(' '))
            .map(|(keyword, value)| (keyword.to_lowercase(), value.trim().to_owned()))
            // What it says of lines that it ignores begins with a path.
            .filter(|(keyword, _)| keyword != "hostkey" && !keyword.contains('/'))
            .collect()
    }
}

/// Has the sshd of an image read every tree as its own `/etc`.
fn truths(image: &str, folder: &Path) -> Vec<(String, Truth)> {
    const SCRIPT: &str = "
mkdir -p /run/sshd && ssh-keygen -q -t ed25519 -N '' -f /key || exit 9
for case in /cases/*; do
    rm -rf /etc/ssh /etc/crypto-policies && cp -r \"$case/etc/.\" /etc/ || exit 9
    echo \"==== ${case##*/}\"
    /usr/sbin/sshd -T -f /etc/ssh/sshd_config -h /key 2>&1
    echo \"---- $?\"
done";
    let docker = |arguments: &[&str]| {
        let output = Command::new("docker").args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let start = ["create", "--network", "none", "--entrypoint", "/bin/sh"];
    let id = docker(&[&start[..], &[image, "-c", SCRIPT]].concat());
    let id = id.trim();
    docker(&["cp", folder.to_str().unwrap(), &format!("{id}:/cases")]);
    let text = docker(&["start", "-a", id]);
    docker(&["rm", id]);
    text.split("==== ")
        .skip(1)
        .map(|case| {
            let (name, rest) = case.split_once('\n').unwrap();
            let (text, code) = rest.rsplit_once("---- ").unwrap();
            let truth = Truth {
                accepted: code.trim() == "0",
                text: text.to_owned(),
            };
            (name.trim().to_owned(), truth)
        })
        .collect()
}

/// What the program finds out about every tree on one release.
async fn answers(program: SshdProgram, folder: &Path, names: &[String]) -> Vec<ConfigAnswer> {
    let mut asker = Asker::start(program, &RECIPE, &|_| {}).await.unwrap();
    let mut answers = Vec::new();
    for name in names {
        let root = folder.join(name);
        let config = read_sshd_config(&main_file(&root), Some(&root)).unwrap();
        answers.push(asker.ask(&config, None).await.unwrap());
    }
    asker.end().await.unwrap();
    answers
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

/// Takes the lines that a release refuses out of a tree, as a person would who believes the program. A block keeps a first line:
/// what it says was for some connections only.
fn mend(folder: &Path, name: &str, answer: &ConfigAnswer) {
    let root = folder.join(name);
    let config = read_sshd_config(&main_file(&root), Some(&root)).unwrap();
    for (index, file) in config.files.iter().enumerate() {
        let refused: BTreeSet<usize> = answer
            .refusals()
            .filter_map(|complaint| complaint.place)
            .filter(|place| place.file == index)
            .map(|place| place.line as usize)
            .collect();
        let text: String = file
            .text
            .split_inclusive('\n')
            .enumerate()
            .map(|(line, text)| match refused.contains(&(line + 1)) {
                true if text.starts_with("Match") => "Match user !*\n",
                true => "\n",
                false => text,
            })
            .collect();
        fs::write(&file.name, text).unwrap();
    }
}

fn check_against_truth(
    release: Release,
    folder: &Path,
    names: &[String],
    answers: &[ConfigAnswer],
    truth: impl Fn() -> Vec<(String, Truth)>,
) {
    let told = |answer: &ConfigAnswer| -> BTreeSet<(String, String)> {
        let settings = answer.settings.iter().cloned();
        settings
            .filter(|(keyword, _)| keyword != "hostkey")
            .collect()
    };
    for ((name, answer), (of, truth)) in names.iter().zip(answers).zip(truth()) {
        assert_eq!(*name, of);
        let refused = answer.refusals().next();
        assert_eq!(
            truth.accepted,
            refused.is_none(),
            "{name} on {release}: {answer:#?}\n{}",
            truth.text
        );
        if truth.accepted {
            assert_eq!(told(answer), truth.settings(), "{name} on {release}");
        } else if let Some(refused) = refused {
            // Its first words are sshd's own.
            assert!(
                truth.text.contains(&refused.said),
                "{name} on {release}: {refused:?}\n{}",
                truth.text
            );
            mend(folder, name, answer);
        }
    }
    // Without the lines that were named it takes every file, and what was said to be in force is.
    for ((name, answer), (_, truth)) in names.iter().zip(answers).zip(truth()) {
        if name == "loop" {
            continue;
        }
        assert!(truth.accepted, "{name} on {release}:\n{}", truth.text);
        assert_eq!(told(answer), truth.settings(), "{name} on {release}");
    }
}

/// What the table of changes and the rows above say.
fn check_against_tables(
    release: Release,
    folder: &Path,
    names: &[String],
    answers: &[ConfigAnswer],
) {
    for (name, answer) in names.iter().zip(answers) {
        let in_force = |keyword: &str| {
            let mut settings = answer.settings.iter();
            settings
                .find(|(known, _)| known == keyword)
                .map(|(_, value)| value.as_str())
        };
        let root = folder.join(name);
        let config = read_sshd_config(&main_file(&root), Some(&root)).unwrap();
        let table = changes::reading(&config, release);
        let accepted = answer.refusals().next().is_none();
        if accepted {
            assert!(table.fatal.is_empty(), "{name} on {release}: {table:?}");
            let said = in_force("maxstartups").unwrap();
            assert_eq!(table.max_startups.to_string(), said, "{name} on {release}");
            if let Some(expected) = &table.per_source {
                let said = in_force("persourcemaxstartups").unwrap();
                assert_eq!(expected, said, "{name} on {release}");
            }
        }
        let Some((_, _, old, new)) = LINES
            .iter()
            .find(|(line, ..)| *name == format!("line-{line}"))
        else {
            continue;
        };
        let expected = match (name.as_str(), release < Release::new(10, 1)) {
            ("line-single", _) if release < Release::new(8, 7) => "-",
            (_, true) => old,
            (_, false) => new,
        };
        let said = match accepted {
            true => in_force("maxstartups").unwrap(),
            false => "-",
        };
        assert_eq!(said, expected, "{name} on {release}");
    }
}

#[test]
fn every_release_agrees_with_what_is_said_of_each_file_and_each_line() {
    let Some(_alone) = alone_with_images() else {
        return;
    };
    for suite in Suite::ALL {
        let release = suite.release();
        let folder = tempfile::tempdir().unwrap();
        let names = trees(folder.path());
        let images = block_on(image::list()).unwrap();
        let image = images.iter().find(|image| image.is_current(&RECIPE, suite));
        let image = &image.unwrap().name;
        let program = SshdProgram::Docker(suite);
        let answers = block_on(answers(program, folder.path(), &names));
        check_against_tables(release, folder.path(), &names, &answers);
        check_against_truth(release, folder.path(), &names, &answers, || {
            truths(image, folder.path())
        });
    }
}

/// `check-config` on a fixture, its document.
fn checked(name: &str, code: i32, more: &[&str]) -> Value {
    let root = fixtures().join(name);
    let (main, root) = (
        main_file(&root).display().to_string(),
        root.display().to_string(),
    );
    let fixed = [
        "check-config",
        &main,
        "--config-root",
        &root,
        "--format",
        "json",
    ];
    let finished = sshchurn(&[&fixed[..], more].concat()).code(code);
    serde_json::from_str(&finished.stdout).unwrap()
}

fn texts(lines: &Value) -> Vec<&str> {
    let lines = lines.as_array().unwrap().iter();
    lines
        .map(|line| line["at"]["text"].as_str().unwrap_or_default())
        .collect()
}

#[test]
fn vendor_keywords_are_all_named_with_their_lines_and_other_releases_are_read_from_the_source() {
    let Some(_alone) = alone_with_images() else {
        return;
    };
    let releases = ["8.4", "9.2", "10.2"];
    let more: Vec<&str> = releases.iter().flat_map(|at| ["--release", at]).collect();
    let more = [&more[..], &["--as-written"]].concat();
    let document = checked("rhel", 2, &more);
    assert_eq!(document["verdict"], "refused");
    let rows = document["releases"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    for row in &rows[..2] {
        assert_eq!(row["accepted"], false);
        let refused = texts(&row["problems"]);
        for line in ["CRYPTO_POLICY=", "RSAMinSize 2048"] {
            assert!(refused.contains(&line), "{row:#}");
        }
        // In spite of them all.
        assert_eq!(row["max_startups"], "10:30:60");
    }
    assert_eq!(rows[2]["program"], Value::Null);
    assert_eq!(rows[2]["max_startups"], "10:30:60");
    // Nothing is left of the containers.
    let left = Command::new("docker")
        .args(["ps", "-aq", "--filter", "name=sshchurn-asked"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");

    // Of a duplicate the last counts on one of these, the first on the other.
    let two = checked(
        "duplicates",
        1,
        &["--release", "9.2", "--release", "10.6", "--as-written"],
    );
    let values: Vec<&Value> = two["releases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["max_startups"])
        .collect();
    assert_eq!(values, ["500:30:500", "10:30:60"]);
}

fn own_sshd_agrees_with_the_tables_on_every_file_and_line(kind: Kind) {
    let program = match kind {
        Kind::Local => SshdProgram::Local,
        Kind::Docker => SshdProgram::Docker(Suite::DEFAULT),
    };
    let folder = tempfile::tempdir().unwrap();
    let names = trees(folder.path());
    let answers = block_on(answers(program, folder.path(), &names));
    check_against_tables(answers[0].release, folder.path(), &names, &answers);
    let of = |name: &str| {
        let index = names.iter().position(|known| known == name).unwrap();
        &answers[index]
    };
    // Every problem is named, also those behind the first at which sshd ends.
    let lines: Vec<u32> = of("match-startups")
        .refusals()
        .filter_map(|complaint| Some(complaint.place?.line))
        .collect();
    assert_eq!(BTreeSet::from_iter(lines), BTreeSet::from([6, 7, 8]));
    assert_eq!(of("loop").refusals().count(), 1);
}

fn block_applies_to_the_connection_that_is_asked_for_and_to_no_other(kind: Kind) {
    let target = ["--as-written", "--target", kind.as_str()];
    for (connection, sessions, tries) in [
        (None, "8", "6"),
        (Some("user=deploy,addr=192.0.2.1"), "2", "6"),
        (Some("user=root,addr=10.1.2.3"), "8", "2"),
    ] {
        let more = connection.map(|spec| ["--connection", spec]);
        let more = more.iter().flatten().copied();
        let more: Vec<&str> = target.into_iter().chain(more).collect();
        let document = checked("match", 0, &more);
        let settings = document["releases"][0]["settings"].as_array().unwrap();
        let value = |keyword: &str| {
            let mut settings = settings.iter();
            let found = settings.find(|setting| setting["keyword"] == keyword);
            found.unwrap()["value"].as_str().unwrap().to_owned()
        };
        assert_eq!(value("MaxSessions"), sessions, "{connection:?}");
        assert_eq!(value("MaxAuthTries"), tries, "{connection:?}");
        // After `Match all` it is for everybody.
        assert_eq!(value("LoginGraceTime"), "45");
        assert_eq!(document["match_blocks"].as_array().unwrap().len(), 2);
    }
}

fn file_that_is_read_is_also_run_as_far_as_it_can_be(kind: Kind) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sshd_config");
    // Keys, accounts and programs that are not here, and a program that would leave a trace.
    let trace = folder.path().join("trace");
    let text = format!(
        "Port 22\nMaxStartups 5:100:10\nLoginGraceTime 50\nHostKey /etc/ssh/nowhere\nUsePAM yes\n\
         AuthorizedKeysCommand /usr/bin/touch {}\nAuthorizedKeysCommandUser nobody\nAllowUsers nobody-here\nMatch User x\n\
         MaxSessions 1\n",
        trace.display()
    );
    fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let out = folder.path().join("out").display().to_string();
    let target = kind.as_str();
    let arguments = [
        "check-config",
        &file,
        "--target",
        target,
        "--climbs",
        "2",
        "--out",
        &out,
        "--format",
        "json",
    ];
    let finished = sshchurn(&arguments).code(0);
    let document: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(document["verdict"], "agrees");
    let behaviour = &document["behaviour"][0];
    assert_eq!(behaviour["check"]["effective"], "5:100:10");
    assert_eq!(behaviour["check"]["climbs"]["reached_full"], 2);
    assert_eq!(behaviour["run"][0]["keyword"], "LoginGraceTime");
    let left: Vec<&str> = behaviour["left_out"]
        .as_array()
        .unwrap()
        .iter()
        .map(|left| left["what"].as_str().unwrap())
        .collect();
    for what in [
        "HostKey",
        "UsePAM",
        "AuthorizedKeysCommand",
        "AllowUsers",
        "Match User x",
    ] {
        assert!(left.contains(&what), "{target}: {left:?}");
    }
    assert!(!trace.exists());
    // What is expected is held against both.
    let out = folder.path().join("other").display().to_string();
    let expected = [
        "check-config",
        &file,
        "--target",
        target,
        "--climbs",
        "2",
        "--out",
        &out,
        "--expect",
        "8:100:10",
    ];
    let differs = sshchurn(&expected).code(1);
    assert!(
        differs.stdout.starts_with("Verdict: DIFFERS (exit 1)"),
        "{}",
        differs.stdout
    );

    // The same of any scenario.
    let out = folder.path().join("run").display().to_string();
    let run = [
        "run",
        "smoke",
        "-n",
        "4",
        "--time-scale",
        "0.1",
        "--target",
        target,
        "--sshd-config",
        &file,
        "--out",
        &out,
        "--format",
        "json",
    ];
    let ran = sshchurn(&run);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        report["target"]["effective_max_startups"], "5:100:10",
        "{}",
        ran.stderr
    );
    let config = fs::read_to_string(Path::new(&out).join("sshd_config")).unwrap();
    assert!(config.contains("LoginGraceTime 50"), "{config}");
    assert!(!config.contains("touch"), "{config}");
    assert!(ran.stdout.contains("not run: UsePAM"), "{}", ran.stdout);
}

on_each_kind!(
    own_sshd_agrees_with_the_tables_on_every_file_and_line,
    block_applies_to_the_connection_that_is_asked_for_and_to_no_other,
    file_that_is_read_is_also_run_as_far_as_it_can_be,
);
