//! `sshchurn diagnose` with the real binary: files, compression, order, standard input and exit codes.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::command_line::fed;
use crate::driver::{self, sshchurn};

/// The three parts of a rotated log, oldest first: an episode begins in the first and ends in the last.
const PARTS: [&str; 3] = [
    "Apr  5 04:35:00 host sshd[620]: Accepted password for x from 192.0.2.9 port 5 ssh2\n\
     Apr  5 04:35:07 host sshd[620]: error: beginning MaxStartups throttling\n\
     Apr  5 04:35:07 host sshd[620]: drop connection #10 from [192.0.2.7]:1 on [192.0.2.1]:22 past MaxStartups\n",
    "Apr  6 04:35:07 host cron[1]: nothing\n\
     Apr  6 04:35:08 host sshd[620]: error: in MaxStartups throttling for 1d00h00m, 70 connections dropped\n\
     Apr  6 04:35:08 host sshd[620]: drop connection #10 from [192.0.2.8]:2 on [192.0.2.1]:22 past MaxStartups\n",
    "Apr  7 04:35:07 host sshd[620]: exited MaxStartups throttling after 2d00h00m, 90 connections dropped\n",
];

fn file(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &str) -> Vec<u8> {
    zstd::stream::encode_all(text.as_bytes(), 1).unwrap()
}

fn document(paths: &[&Path], more: &[&str], code: i32) -> Value {
    let mut arguments = vec!["diagnose", "--format", "json"];
    arguments.extend(paths.iter().map(|path| path.to_str().unwrap()));
    arguments.extend(more);
    serde_json::from_str(&sshchurn(&arguments).code(code).stdout).unwrap()
}

/// `sshchurn diagnose ARGS` with this on its standard input: exit code, stdout and stderr.
fn with_input(arguments: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
    let arguments = [&["diagnose"][..], arguments].concat();
    let finished = fed(driver::binary(), &arguments, input);
    (finished.code, finished.stdout, finished.stderr)
}

#[test]
fn a_rotated_log_is_read_in_the_order_of_time_however_it_is_packed_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let oldest = file(folder.path(), "auth.log.2.gz", &gzip(PARTS[0]));
    let middle = file(folder.path(), "a-name-of-no-meaning", &zstd(PARTS[1]));
    let newest = file(folder.path(), "auth.log", PARTS[2].as_bytes());
    for paths in [
        [&*oldest, &*middle, &*newest],
        [&*newest, &*oldest, &*middle],
        [&*middle, &*newest, &*oldest],
    ] {
        let report = document(&paths, &["--threshold", "server_drops == 90"], 0);
        let read: Vec<&str> = report["inputs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it.as_str().unwrap())
            .collect();
        assert_eq!(
            read,
            [&oldest, &middle, &newest].map(|path| path.to_str().unwrap())
        );
        let diagnosis = &report["diagnosis"];
        assert_eq!(diagnosis["drops"]["total"], 90);
        assert_eq!(diagnosis["drops"]["listed"], 2);
        assert_eq!(diagnosis["episodes"].as_array().unwrap().len(), 1);
        assert_eq!(diagnosis["episodes"][0]["closed"], true);
        assert_eq!(diagnosis["lines"]["total"], 7);
        assert_eq!(diagnosis["lines"]["other"], 1);
    }
    // Members of one gzip file and frames of one zstd file, one after the other.
    let all = [gzip(PARTS[0]), gzip(PARTS[1]), gzip(PARTS[2])].concat();
    let all = document(&[&file(folder.path(), "all", &all)], &[], 0);
    assert_eq!(all["diagnosis"]["drops"]["total"], 90);
    let all = [zstd(PARTS[0]), zstd(PARTS[1]), zstd(PARTS[2])].concat();
    let all = document(&[&file(folder.path(), "all", &all)], &[], 0);
    assert_eq!(all["diagnosis"]["drops"]["total"], 90);
}

#[test]
fn standard_input_is_a_log_like_any_other() {
    let whole = PARTS.concat();
    for input in [whole.clone().into_bytes(), gzip(&whole), zstd(&whole)] {
        let (code, stdout, stderr) = with_input(&["-"], &input);
        assert_eq!(code, Some(0), "{stderr}");
        assert!(
            stdout.starts_with("sshd refused 90 connections"),
            "{stdout}"
        );
    }
    // Its turn comes by its stamps too.
    let folder = tempfile::tempdir().unwrap();
    let newest = file(folder.path(), "auth.log", PARTS[2].as_bytes());
    let older = [PARTS[0], PARTS[1]].concat();
    let (code, stdout, stderr) = with_input(
        &[newest.to_str().unwrap(), "-", "--format", "json"],
        older.as_bytes(),
    );
    assert_eq!(code, Some(0), "{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["inputs"][0], "-");
    assert_eq!(report["diagnosis"]["drops"]["total"], 90);
    let (code, _, stderr) = with_input(&["-", "-"], b"");
    assert_eq!(code, Some(2), "{stderr}");
}

#[test]
fn a_log_longer_than_what_is_read_ahead_is_read_whole() {
    let mut log = PARTS[0].to_owned();
    for number in 0..20_000 {
        log.push_str(&format!(
            "Apr  5 05:00:00 host cron[{number}]: nothing of interest\n"
        ));
    }
    log.push_str(PARTS[2]);
    let (code, stdout, stderr) = with_input(&["-", "--format", "json"], &gzip(&log));
    assert_eq!(code, Some(0), "{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["diagnosis"]["lines"]["total"], 20_004);
    assert_eq!(report["diagnosis"]["drops"]["total"], 90);
}

#[test]
fn exit_codes_are_those_of_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let open = file(folder.path(), "open", PARTS[0].as_bytes());
    let closed = file(folder.path(), "closed", PARTS.concat().as_bytes());
    let clients = file(
        folder.path(),
        "client",
        b"kex_exchange_identification: Connection closed by remote host\n",
    );
    for (path, thresholds, code) in [
        (&open, &[][..], 0),
        (&clients, &[], 0),
        (&closed, &["server_drops == 90"], 0),
        (&closed, &["server_drops == 90", "server_drops < 90"], 1),
        (&open, &["server_drops == 0"], 1),
        (&open, &["server_drops >= 1"], 0),
        // At least one was refused: whether more than ten were, the log does not say.
        (&open, &["server_drops <= 10"], 3),
        (&clients, &["server_drops == 0"], 3),
        (&closed, &["server_drop == 0"], 2),
        (&closed, &["server_drops"], 2),
    ] {
        let mut arguments = vec!["diagnose", path.to_str().unwrap()];
        for threshold in thresholds {
            arguments.extend(["--threshold", threshold]);
        }
        let finished = sshchurn(&arguments).code(code);
        if code == 2 {
            assert!(finished.stdout.is_empty() && finished.stderr.contains("threshold"));
        }
    }
    let missing = folder.path().join("missing");
    let refused = sshchurn(&["diagnose", missing.to_str().unwrap()]).code(2);
    assert!(refused.stderr.contains("missing"), "{}", refused.stderr);
    sshchurn(&["diagnose", folder.path().to_str().unwrap()]).code(2);
    sshchurn(&["diagnose"]).code(2);
    let packed = gzip(&PARTS.concat().repeat(50));
    let damaged = file(folder.path(), "damaged", &packed[..packed.len() / 2]);
    let refused = sshchurn(&["diagnose", damaged.to_str().unwrap()]).code(2);
    assert!(refused.stderr.contains("gzip -dc"), "{}", refused.stderr);
}

#[test]
fn every_format_says_the_same_number() {
    let folder = tempfile::tempdir().unwrap();
    let log = file(folder.path(), "auth.log", PARTS.concat().as_bytes());
    for (format, begins) in [
        ("text", "sshd refused 90 connections"),
        ("md", "**sshd refused 90 connections"),
        ("html", "<!doctype html>"),
        ("json", "{"),
    ] {
        let stdout = sshchurn(&["diagnose", log.to_str().unwrap(), "--format", format])
            .code(0)
            .stdout;
        assert!(stdout.starts_with(begins), "{stdout}");
        assert!(stdout.contains("sshd refused 90 connections"), "{stdout}");
    }
}

/// Four connections in two seconds, one of which was refused.
const ARRIVALS: &str = "\
Apr  5 04:35:00 host sshd[700]: Connection from 192.0.2.9 port 5 on 192.0.2.1 port 22 rdomain \"\"
Apr  5 04:35:00 host sshd[701]: Connection from 192.0.2.9 port 6 on 192.0.2.1 port 22 rdomain \"\"
Apr  5 04:35:00 host sshd[620]: drop connection #10 from [192.0.2.7]:1 on [192.0.2.1]:22 past MaxStartups
Apr  5 04:35:00 host sshd[700]: Accepted password for x from 192.0.2.9 port 5 ssh2
Apr  5 04:35:01 host sshd[702]: Connection from 192.0.2.9 port 7 on 192.0.2.1 port 22 rdomain \"\"
Apr  5 09:00:00 host sshd[703]: Connection from 192.0.2.9 port 8 on 192.0.2.1 port 22 rdomain \"\"
";

#[test]
fn arrivals_of_a_log_become_a_scenario_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let log = file(folder.path(), "auth.log", ARRIVALS.as_bytes());
    let scenario = folder.path().join("busy hour.toml");
    let (log, scenario) = (log.to_str().unwrap(), scenario.to_str().unwrap());
    let arguments = [
        "diagnose",
        log,
        "--write-scenario",
        scenario,
        "--from",
        "2026-04-05T04:35:00",
        "--to",
        "2026-04-05T04:35:30",
    ];
    // A stamp without a year is of the year in which the file was written.
    let year = |text: &str| {
        let report = document(&[Path::new(log)], &[], 0);
        let from = report["diagnosis"]["from"].as_str().unwrap().to_owned();
        text.replace("2026", &from[..4])
    };
    let arguments: Vec<String> = arguments.iter().map(|it| year(it)).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let written = sshchurn(&arguments).code(0);
    assert!(written.stdout.starts_with("sshd refused 1 connection"));
    assert!(written.stderr.contains("4 arrivals"), "{}", written.stderr);
    sshchurn(&["scenario", "check", scenario]).code(0);
    let out = folder.path().join("run");
    let run = [
        "run",
        scenario,
        "--target",
        "embedded",
        "--out",
        out.to_str().unwrap(),
    ];
    sshchurn(&run).code(0);
    let report = std::fs::read_to_string(out.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let scenario_run = &report["scenario"];
    assert_eq!(scenario_run["name"], "busy-hour");
    assert_eq!(scenario_run["tasks"], 4);
    // The number of tasks is the recording's, and a file is not overwritten.
    let refused = sshchurn(&[&run[..], &["-n", "5"]].concat()).code(2);
    assert!(
        refused
            .stderr
            .contains("offsets_ms has the start of 4 tasks")
    );
    let refused = sshchurn(&arguments).code(2);
    assert!(
        refused.stderr.contains("not overwritten"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_log_without_arrivals_writes_no_scenario_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("s.toml");
    let twice = ARRIVALS.to_owned() + &ARRIVALS.replace(" host ", " other ");
    let unstamped = "Connection from 192.0.2.9 port 5 on 192.0.2.1 port 22\n";
    let zoned = "2026-04-05T04:35:00Z host sshd[700]: Connection from 192.0.2.9 port 5 on 192.0.2.1 port 22\n";
    let level_changed = "Apr  5 04:35:00 host sshd[700]: Accepted password for x from 192.0.2.9 port 5 ssh2\n\
         Apr  5 09:00:00 host sshd[703]: Connection from 192.0.2.9 port 8 on 192.0.2.1 port 22\n";
    for (log, more, code, why) in [
        (
            "Apr  5 04:35:00 host cron[1]: nothing\n",
            &[][..],
            3,
            "no line in it",
        ),
        (unstamped, &[], 3, "no time stamps"),
        (&twice, &[], 3, "several servers (host, other)"),
        (
            ARRIVALS,
            &["--to", "1999-01-01T00:00:00"],
            3,
            "outside there are 6 such lines",
        ),
        (
            ARRIVALS,
            &["--to", "2026-01-01T00:00:00Z"],
            2,
            "without one",
        ),
        (
            zoned,
            &["--from", "2026-01-01T00:00:00"],
            2,
            "write --from and --to with one",
        ),
        (level_changed, &[], 3, "choose one part"),
        (ARRIVALS, &["--to", "yesterday"], 2, "write it like"),
    ] {
        let arguments = ["-", "--write-scenario", scenario.to_str().unwrap()];
        let arguments = [&arguments[..], more].concat();
        let (found, _, stderr) = with_input(&arguments, log.as_bytes());
        assert_eq!(found, Some(code), "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
        assert!(!scenario.exists());
    }
}

#[test]
fn a_log_in_a_form_that_is_not_read_is_named_with_what_makes_a_log_of_it() {
    let folder = tempfile::tempdir().unwrap();
    for (begin, command) in [
        (&b"\xfd7zXZ\0rest"[..], "xz -dc"),
        (b"BZh91AY", "bzip2 -dc"),
        (b"LPKSHHRHrest", "journalctl --file"),
        (b"\xff\xfeA\0p\0", "iconv"),
    ] {
        let log = file(folder.path(), "log", begin);
        let refused = sshchurn(&["diagnose", log.to_str().unwrap()]).code(2);
        assert!(refused.stderr.contains(command), "{}", refused.stderr);
        let (code, _, stderr) = with_input(&["-"], begin);
        assert_eq!(code, Some(2), "{stderr}");
    }
}
