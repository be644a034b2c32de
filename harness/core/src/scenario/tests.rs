//! Scenario files: what is accepted, what is refused and how it is said.

use proptest::prelude::*;

use super::*;
use crate::ids::{RoundId, TaskId};

const GOOD: &str = r#"
name = "good"
tasks = 12

[[strategy]]
kind = "per-command"

[[strategy]]
kind = "reused-session"

[sshd]
max_startups = "10:30:100"
"#;

/// Keys of the top level that are tables, or arrays of them.
const OF_TABLES: [&str; 7] = [
    "arrival",
    "job",
    "holders",
    "strategy",
    "sshd",
    "gate",
    "expectation",
];

fn errors(text: &str) -> String {
    Scenario::parse("bad.toml", text)
        .expect_err("the scenario is wrong")
        .render()
}

#[test]
fn smallest_scenario_has_the_providers_defaults() {
    let scenario = Scenario::parse("good.toml", GOOD).expect("a good scenario");
    assert_eq!(
        scenario.strategies[0].tunables,
        Tunables::defaults(StrategyKind::PerCommand)
    );
    assert_eq!(
        scenario.strategies[1].tunables,
        Tunables::defaults(StrategyKind::ReusedSession)
    );
    assert_eq!(scenario.strategies[0].tunables.conn_retry_attempts, 3);
    assert_eq!(scenario.strategies[1].tunables.conn_retry_attempts, 5);
    assert_eq!(scenario.strategies[1].tunables.cleanup_retries, 3);
}

#[test]
fn one_shot_knows_what_one_connection_and_one_command_need_and_nothing_else() {
    let with = |keys: &str| {
        GOOD.replace(
            "kind = \"reused-session\"",
            &format!("kind = \"one-shot\"\n{keys}"),
        )
    };
    let scenario = Scenario::parse("good.toml", &with("")).expect("a good scenario");
    let tunables = &scenario.strategies[1].tunables;
    assert_eq!(tunables.command, "true");
    assert_eq!(tunables.conn_retry_attempts, 1);
    let scenario = Scenario::parse(
        "good.toml",
        &with(
            "command = \"git-upload-pack 'x'\"\nconn_retry_attempts = 4\ncommand_timeout = \"7s\"",
        ),
    )
    .expect("a good scenario");
    assert_eq!(
        scenario.shortest_deadline(),
        Some(std::time::Duration::from_secs(7))
    );
    let again = Scenario::parse("again.toml", &scenario.to_toml()).expect("it reads back");
    assert_eq!(again, scenario);
    for (keys, expected) in [
        (
            "poll_interval = \"1s\"",
            "`one-shot` runs one command and no job",
        ),
        (
            "keepalive_interval = \"1s\"",
            "`one-shot` runs one command and no job",
        ),
        ("command = \" \"", "an empty command"),
        ("command = \"a\\u0000b\"", "NUL"),
    ] {
        let errors = errors(&with(keys));
        assert!(errors.contains(expected), "{errors}");
    }
    let errors = errors(&GOOD.replace("\n\n[sshd]", "\ncommand = \"true\"\n\n[sshd]"));
    assert!(
        errors.contains("only `one-shot` and `multiplexed` do"),
        "{errors}"
    );
}

/// A client under test with everything that one can be told.
const CLIENT: &str = r#"
argv = ["sh", "-c", "echo \"{host}\" '$x'", "{key}"]
per = "task"
working_folder = "sub/folder"
env = { PATH = "/bin", TASK = "{task}" }
stdin = "line\n"
timeout = "1500ms"
waits_for_go = true
lingers = true
max_processes = 7
max_memory = "64MiB"
leftovers = "/tmp/x-*"
"#;

#[test]
fn every_kind_reads_back_what_it_writes() {
    for kind in StrategyKind::ALL {
        let own = match kind.life() {
            Life::Program => CLIENT,
            Life::Failing => {
                "logins = 3\nspacing = \"1500ms\"\nprobe_interval = \"1s\"\nprobe_timeout = \"9s\"\n"
            }
            Life::Job(_) | Life::Hold(_) | Life::Once | Life::Shared => "",
        };
        let text = format!(
            "name = \"all\"\ntasks = 1\n[[strategy]]\nkind = \"{}\"\n{own}[sshd]\nmax_startups = \"10:30:100\"\n",
            kind.as_str()
        );
        let scenario = Scenario::parse("one.toml", &text).expect("a good scenario");
        let again = Scenario::parse("again.toml", &scenario.to_toml()).expect("it reads back");
        assert_eq!(again, scenario);
    }
}

#[test]
fn holders_are_read_written_and_refused_where_they_would_wait_for_ever() {
    let with = |table: &str| format!("{GOOD}\n[holders]\n{table}\n");
    let scenario = Scenario::parse("good.toml", &with("count = 10\nuntil = \"grace_time\""))
        .expect("a good scenario");
    let holders = scenario.holders.expect("read");
    assert_eq!((holders.count, holders.until), (10, HoldUntil::GraceTime));
    let again = Scenario::parse("again.toml", &scenario.to_toml()).expect("it reads back");
    assert_eq!(again, scenario);
    let default = Scenario::parse("good.toml", &with("count = 1")).expect("a good scenario");
    assert_eq!(
        default.holders.map(|holders| holders.until),
        Some(HoldUntil::RoundEnd)
    );
    for (table, expected) in [
        ("until = \"round_end\"", "count"),
        ("count = 0", "holders.count"),
        ("count = 1\nuntil = \"later\"", "holders.until"),
        ("count = 1\nwho = 2", "who"),
    ] {
        let errors = errors(&with(table));
        assert!(errors.contains(expected), "{errors}");
    }
    let never = with("count = 1\nuntil = \"grace_time\"\n[sshd.options]\nLoginGraceTime = 0");
    assert!(errors(&never).contains("for ever"));
}

#[test]
fn every_spacing_of_failing_logins_has_a_task_and_a_source_of_its_own() {
    let with = |tasks: u32, keys: &str, options: &str| {
        format!(
            "name = \"f\"\ntasks = {tasks}\n[[strategy]]\nkind = \"failing-login\"\n{keys}\n[sshd]\n\
             max_startups = \"10:30:100\"\n{options}\n"
        )
    };
    let two = "spacing = [\"0s\", \"2500ms\"]\nlogins = 7";
    let scenario = Scenario::parse("f.toml", &with(2, two, "")).expect("a good scenario");
    let tunables = &scenario.strategies[0].tunables;
    assert_eq!(tunables.logins, 7);
    assert_eq!(
        tunables.spacing,
        [0, 2_500].map(std::time::Duration::from_millis)
    );
    let again = Scenario::parse("again.toml", &scenario.to_toml()).expect("it reads back");
    assert_eq!(again, scenario);
    for (text, expected) in [
        (with(1, two, ""), "need a task each"),
        (with(251, "", ""), "there are 250"),
        (with(1, "spacing = []", ""), "an empty list"),
        (with(1, "spacing = [\"1\"]", ""), "strategy[1].spacing"),
        (with(1, "command = \"true\"", ""), "only tries"),
        (
            with(2, two, "[sshd.options]\nPerSourceNetBlockSize = \"24:64\""),
            "PerSourceNetBlockSize",
        ),
        (
            with(
                2,
                two,
                "[sshd.options]\nPerSourcePenaltyExemptList = \"127.0.0.0/8\"",
            ),
            "may spare the sources",
        ),
    ] {
        let errors = errors(&text);
        assert!(errors.contains(expected), "{errors}");
    }
    // What `sshd -T` prints of no list.
    let none = "[sshd.options]\nPerSourcePenaltyExemptList = \"none\"";
    Scenario::parse("f.toml", &with(2, two, none)).expect("a good scenario");
    // All sources of a run differ, and none is an address that a task connects to.
    let sources: std::collections::BTreeSet<_> = (1..600)
        .flat_map(|round| (0..MOST_SOURCES).map(move |task| (RoundId(round), TaskId(task))))
        .map(|(round, task)| failing_source(round, task))
        .collect();
    assert_eq!(sources.len(), 599 * MOST_SOURCES as usize);
    assert!(
        sources
            .iter()
            .all(|source| source.is_loopback() && source.octets()[1] < 64)
    );
    assert!(!sources.contains(&MONITORING_SOURCE));
}

#[test]
fn least_release_is_read_written_and_refused_where_it_is_none() {
    let with = |value: &str| GOOD.replace("[sshd]\n", &format!("[sshd]\nmin_release = {value}\n"));
    let scenario = Scenario::parse("good.toml", &with("\"9.8\"")).expect("a good scenario");
    assert_eq!(
        scenario.sshd.min_release,
        Some(crate::release::Release::new(9, 8))
    );
    let again = Scenario::parse("again.toml", &scenario.to_toml()).expect("it reads back");
    assert_eq!(again, scenario);
    for wrong in ["\"9.8p1\"", "\"newest\"", "9.8"] {
        let errors = errors(&with(wrong));
        assert!(errors.contains("sshd.min_release"), "{errors}");
    }
}

#[test]
fn packages_are_a_set_and_each_that_is_none_is_said_with_its_place() {
    let with = |keys: &str| GOOD.replace("[sshd]\n", &format!("[sshd]\n{keys}\n"));
    let read = |keys: &str| Scenario::parse("good.toml", &with(keys)).expect("a good scenario");
    let scenario = read("packages = [\"rsync\", \"git\", \"rsync\", \"libstdc++6\"]");
    let names: Vec<&str> = scenario
        .sshd
        .packages
        .iter()
        .map(PackageName::as_str)
        .collect();
    assert_eq!(names, ["git", "libstdc++6", "rsync"]);
    let again = Scenario::parse("again.toml", &scenario.to_toml()).expect("it reads back");
    assert_eq!(again, scenario);
    assert_eq!(read("packages = []"), read(""));

    let text = with("packages = [\"git\", \"Rsync\", \"--purge\"]");
    let wrong = Scenario::parse("bad.toml", &text).expect_err("two are wrong");
    let places: Vec<&str> = wrong
        .problems()
        .iter()
        .map(|problem| &text[problem.span.clone()])
        .collect();
    assert_eq!(places, ["\"Rsync\"", "\"--purge\""]);
    assert!(
        wrong.problems()[0]
            .message
            .starts_with("sshd.packages: `Rsync`")
    );
    assert!(errors(&with("packages = \"git\"")).contains("a list of strings"));
}

#[test]
fn login_shell_is_read_written_and_refused_where_it_is_none() {
    let with = |value: &str| GOOD.replace("[sshd]\n", &format!("[sshd]\nlogin_shell = {value}\n"));
    let scenario = Scenario::parse("good.toml", &with("\"/bin/bash\"")).expect("a good scenario");
    let shell = scenario.sshd.login_shell.as_ref().map(LoginShell::as_str);
    assert_eq!(shell, Some("/bin/bash"));
    let again = Scenario::parse("again.toml", &scenario.to_toml()).expect("it reads back");
    assert_eq!(again, scenario);
    for wrong in ["\"bash\"", "\"/bin/sh -l\"", "\"/bin/sh:\"", "true"] {
        let errors = errors(&with(wrong));
        assert!(errors.contains("sshd.login_shell"), "{errors}");
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = r#"
name = "bad name"
taks = 12
time_scale = 0
max_duration = 600

[arrival]
shape = "burts"

[job]
duration = "5 sec"
killed_share = 1.5
log_lines = 10
log_bytes = 5

[[strategy]]
kind = "per-command"
max_reconnect_attempts = 3
poll_intervall = "5s"

[[strategy]]
kind = "per-command"

[sshd]
max_startups = "10:30"

[sshd.options]
MaxSessions = 10
maxsessions = 5
Port = 22
"#;
    insta::assert_snapshot!(errors(text));
}

#[test]
fn syntax_errors_have_a_place() {
    insta::assert_snapshot!(errors("name = \"x\ntasks = 3\n"));
}

#[test]
fn each_wrong_value_is_named_with_its_key() {
    for (line, expected) in [
        ("tasks = 0", "tasks: 0 is out of range"),
        (
            "tasks = \"many\"",
            "tasks: a whole number is needed, not a string",
        ),
        ("seed = -1", "seed: -1 is out of range"),
        (
            "rounds = 1.5",
            "rounds: a whole number is needed, not a float",
        ),
        (
            "time_scale = nan",
            "time_scale: this number is out of range",
        ),
        (
            "max_duration = \"0s\"",
            "max_duration: must be longer than zero",
        ),
        ("job = 5", "job: a table `[job]` is needed, not an integer"),
        (
            "arrival = { shape = \"ramp\" }",
            "arrival.over: this key is missing",
        ),
        (
            "arrival = { shape = \"burst\", over = \"5s\" }",
            "arrival.over: belongs to shape `ramp` only",
        ),
        (
            "arrival = { shape = \"poisson\", rate_per_s = inf }",
            "arrival.rate_per_s: this number is out of range",
        ),
        (
            "arrival = { shape = \"poisson\", rate_per_s = 1e-20 }",
            "arrival.rate_per_s: this number is out of range",
        ),
        (
            "arrival = { shape = \"recorded\" }",
            "arrival.offsets_ms: this key is missing",
        ),
        (
            "arrival = { shape = \"recorded\", offsets_ms = [] }",
            "arrival.offsets_ms: 0 starts",
        ),
        (
            "arrival = { shape = \"recorded\", offsets_ms = [5, 3] }",
            "arrival.offsets_ms: no such start",
        ),
        (
            "arrival = { shape = \"recorded\", offsets_ms = [-1] }",
            "arrival.offsets_ms: no such start",
        ),
        (
            "arrival = { shape = \"recorded\", offsets_ms = [\"0ms\"] }",
            "arrival.offsets_ms: no such start",
        ),
        (
            "tasks = 3\narrival = { shape = \"recorded\", offsets_ms = [0, 1] }",
            "tasks: arrival.offsets_ms has the start of 2 tasks",
        ),
        (
            "job = { log_bytes = 3_000_000_000_000_000_000 }",
            "job.log_bytes: 3000000000000000000 is out of range",
        ),
        (
            "job = { log_bytes = \"2GiB\" }",
            "job.log_bytes: `2GiB` is out of range",
        ),
        (
            "gate = [{ threshhold = \"x\" }]",
            "gate[1].threshhold: unknown key",
        ),
    ] {
        let key = line.split(' ').next().unwrap_or_default();
        let mut text: String = GOOD
            .lines()
            .filter(|kept| !kept.starts_with(key))
            .map(|kept| format!("{kept}\n"))
            .collect();
        text.insert_str(0, &format!("{line}\n"));
        let rendered = errors(&text);
        assert!(rendered.contains(expected), "{line}: {rendered}");
    }
}

#[test]
fn nearest_key_and_nearest_scenario_are_offered() {
    assert!(errors(&GOOD.replace("tasks", "taks")).contains("did you mean `tasks`?"));
    let missing = Library(&[("airflow-68115", GOOD)])
        .resolve("airflow-6815")
        .expect_err("no such scenario")
        .render();
    assert!(
        missing.contains("did you mean `airflow-68115`?"),
        "{missing}"
    );
}

#[test]
fn max_startups_is_checked_as_sshd_does() {
    for (text, error) in [
        ("10:30", "start:rate:full"),
        ("100", "one-number form"),
        ("0:30:100", "at least 1"),
        ("50:30:10", "greater than"),
        ("10:0:100", "between 1 and 100"),
        ("10:101:100", "between 1 and 100"),
        ("10:30:100x", "start:rate:full"),
    ] {
        let refused = text.parse::<MaxStartups>().expect_err(text).to_string();
        assert!(refused.contains(error), "{text}: {refused}");
    }
    assert_eq!(
        "10:30:100"
            .parse::<MaxStartups>()
            .map(|value| value.to_string()),
        Ok("10:30:100".to_owned())
    );
}

/// The schema says what the reader reads: a scenario with every key of the schema has no unknown key.
#[test]
fn every_key_of_the_schema_is_read() {
    let schema: serde_json::Value = serde_json::from_str(&schema::json()).expect("JSON");
    let keys = |properties: &serde_json::Value| -> Vec<String> {
        properties
            .as_object()
            .expect("properties")
            .keys()
            .cloned()
            .collect()
    };
    let mut text = String::new();
    for key in keys(&schema["properties"]) {
        if !OF_TABLES.contains(&key.as_str()) {
            text.push_str(&format!("{key} = \"x\"\n"));
        }
    }
    for (header, definition) in [
        ("[arrival]", "ArrivalFile"),
        ("[job]", "JobFile"),
        ("[holders]", "HoldersFile"),
        ("[[strategy]]", "StrategyFile"),
        ("[[gate]]", "GateFile"),
        ("[[expectation]]", "GateFile"),
        ("[sshd]", "SshdFile"),
    ] {
        text.push_str(&format!("{header}\n"));
        for key in keys(&schema["$defs"][definition]["properties"]) {
            text.push_str(&format!("{key} = \"x\"\n"));
        }
    }
    assert!(!errors(&text).contains("unknown key"), "{}", errors(&text));
}

fn with_options(lines: &str) -> String {
    format!("{GOOD}\n[sshd.options]\n{lines}\n")
}

fn pairs(given: &[(&str, &str)]) -> Vec<(String, String)> {
    given
        .iter()
        .map(|(keyword, value)| ((*keyword).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn keyword_whose_lines_sshd_adds_up_has_a_list_of_values() {
    let text = with_options(
        "PerSourcePenalties = [\"noauth:24h\", \"authfail:24h\"]\nMaxSessions = 7\nacceptenv = [\"A\"]",
    );
    let scenario = Scenario::parse("good.toml", &text).expect("a good scenario");
    let expected = [
        ("PerSourcePenalties", "noauth:24h"),
        ("PerSourcePenalties", "authfail:24h"),
        ("MaxSessions", "7"),
        ("acceptenv", "A"),
    ];
    assert_eq!(scenario.sshd.keywords, pairs(&expected));
    // Two spellings are one keyword to sshd, and two of its lines.
    let text = with_options("AcceptEnv = \"A\"\nacceptenv = \"B\"");
    let scenario = Scenario::parse("good.toml", &text).expect("a good scenario");
    assert_eq!(
        scenario.sshd.keywords,
        pairs(&[("AcceptEnv", "A"), ("acceptenv", "B")])
    );
}

#[test]
fn other_keyword_twice_is_an_error_that_shows_both_places() {
    for (lines, words) in [
        ("MaxSessions = 7\nmaxsessions = 8", "also as `MaxSessions`"),
        ("SetEnv = [\"A=1\", \"B=2\"]", "one line of this keyword"),
        // A list in itself, and one line of it.
        (
            "PerSourcePenaltyExemptList = [\"10.0.0.0/8\", \"::1\"]",
            "one line of this keyword",
        ),
    ] {
        let told = errors(&with_options(lines));
        assert!(told.contains(words), "{told}");
        assert!(
            told.contains("─ here") && told.contains("─ and here"),
            "{told}"
        );
        assert!(told.contains("1 problem"), "{told}");
    }
    for (lines, words) in [
        ("AcceptEnv = []", "an empty list"),
        ("AcceptEnv = [[\"A\"]]", "array instead of"),
        ("Port = [1, 2]", "the harness sets this keyword itself"),
    ] {
        assert!(errors(&with_options(lines)).contains(words), "{lines}");
    }
}

#[test]
fn keywords_of_the_command_line_take_the_place_of_the_scenarios() {
    let text = with_options("LoginGraceTime = 120\nAcceptEnv = [\"A\", \"B\"]");
    let mut sshd = Scenario::parse("good.toml", &text)
        .expect("a good scenario")
        .sshd;
    sshd.set_keywords(&pairs(&[
        ("acceptenv", "C"),
        ("AcceptEnv", "D"),
        ("MaxSessions", "1"),
    ]))
    .expect("sshd takes them");
    let expected = [
        ("LoginGraceTime", "120"),
        ("acceptenv", "C"),
        ("AcceptEnv", "D"),
        ("MaxSessions", "1"),
    ];
    assert_eq!(sshd.keywords, pairs(&expected));
    let before = sshd.clone();
    let refused = sshd
        .set_keywords(&pairs(&[("SetEnv", "A=1"), ("setenv", "B=2")]))
        .expect_err("sshd takes the first");
    let told = refused.to_string();
    assert!(told.contains("`SetEnv=A=1` and `setenv=B=2`"), "{told}");
    assert_eq!(sshd, before);
}

proptest! {
    #[test]
    fn effective_scenario_reads_back_as_itself(
        tasks in 1_u32..5000,
        rounds in 1_u32..50,
        seed in 0_u64..i64::MAX as u64,
        scale in 0.001_f64..10.0,
        ramp in proptest::option::of(1_u64..100_000),
        recorded in proptest::option::of(proptest::collection::vec(0_u64..1000, 1..50)),
        in_flight in proptest::option::of(1_u32..500),
        lines in 0_u32..100,
        extra in 0_u64..10_000,
        killed in 0.0_f64..=1.0,
        poll_ms in 1_u64..60_000,
        chunk in 1_u64..1_000_000,
    ) {
        let mut scenario = Scenario::parse("good.toml", GOOD).expect("a good scenario");
        scenario.tasks = tasks;
        scenario.rounds = rounds;
        scenario.seed = seed;
        scenario.time_scale = scale;
        scenario.arrival.max_in_flight = in_flight;
        if let Some(starts) = recorded {
            let mut at = 0;
            scenario.tasks = u32::try_from(starts.len()).expect("few");
            let offsets = starts.iter().map(|gap| { at += gap; std::time::Duration::from_millis(at) }).collect();
            scenario.arrival.shape = ArrivalShape::Recorded { offsets, resolution: std::time::Duration::from_millis(seed % 3) };
        } else if let Some(ms) = ramp {
            scenario.arrival.shape = ArrivalShape::Ramp { over: std::time::Duration::from_millis(ms) };
        }
        scenario.job.log_lines = lines;
        scenario.job.log_bytes = if lines == 0 { 0 } else { u64::from(lines) + extra };
        scenario.job.killed_share = killed;
        scenario.strategies[1].tunables.poll_interval = std::time::Duration::from_millis(poll_ms);
        scenario.strategies[1].tunables.log_chunk_size = chunk;
        scenario.sshd.keywords = [("AcceptEnv", "A"), ("AcceptEnv", "B"), ("MaxSessions", "7")]
            .map(|(keyword, value)| (keyword.to_owned(), value.to_owned()))
            .to_vec();
        scenario.sshd.monitoring_keywords = vec![("MaxSessions".to_owned(), "0".to_owned())];
        scenario.gate = vec!["reused-session.banner_eof == 0".to_owned()];
        scenario.expectations = vec!["reused-session.attempts >= 1".to_owned()];
        let text = scenario.to_toml();
        match Scenario::parse("again.toml", &text) {
            Ok(again) => prop_assert_eq!(again, scenario),
            Err(errors) => prop_assert!(false, "{}\n{}", text, errors.render()),
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        let _ = Scenario::parse("fuzz.toml", &text);
    }
}

/// The tables of a scenario file with the heading of each in the documentation, and a scenario in which every key of it means something.
const TABLES: [(&str, &str, &str); 6] = [
    ("", "### Top level", ""),
    (
        "arrival",
        "### `[arrival]`",
        "shape = \"batches\"\nsize = 2\nevery = \"1s\"",
    ),
    ("job", "### `[job]`", ""),
    ("holders", "### `[holders]`", "count = 3"),
    ("sshd", "### `[sshd]`", "max_startups = \"10:30:100\""),
    (
        "strategy",
        "### `[[strategy]]` with `kind = \"command\"`",
        "kind = \"command\"\nargv = [\"true\"]",
    ),
];

/// A small scenario whose table has these lines.
fn with_table(table: &str, lines: &str) -> toml::Table {
    let mut file: toml::Table = "name = \"small\"\ntasks = 5\n[sshd]\nmax_startups = \"10:30:100\"\n[[strategy]]\nkind = \"per-command\"\n"
        .parse()
        .expect("valid");
    let lines: toml::Table = lines.parse().expect("valid");
    match table {
        "" => file.extend(lines),
        "strategy" => {
            file.insert(table.to_owned(), toml::Value::Array(vec![lines.into()]));
        }
        _ => {
            file.insert(table.to_owned(), lines.into());
        }
    }
    file
}

/// The table itself, of a file.
fn table_of<'f>(file: &'f mut toml::Table, table: &str) -> &'f mut toml::Table {
    if table.is_empty() {
        return file;
    }
    let found = match file.get_mut(table) {
        Some(toml::Value::Array(tables)) => tables.first_mut(),
        found => found,
    };
    found.and_then(toml::Value::as_table_mut).expect("a table")
}

/// The keys of a table in the schema; of strategies those that only a client under test has, the others have a table of their own.
fn keys_of(table: &str) -> serde_json::Map<String, serde_json::Value> {
    let schema = schema::value();
    let of = match table {
        "" => &schema,
        "strategy" => &schema["$defs"]["StrategyFile"],
        "arrival" => &schema["$defs"]["ArrivalFile"],
        "job" => &schema["$defs"]["JobFile"],
        "holders" => &schema["$defs"]["HoldersFile"],
        _ => &schema["$defs"]["SshdFile"],
    };
    let mut keys = of["properties"].as_object().expect("an object").clone();
    if table == "strategy" {
        keys.retain(|key, _| client::KEYS.contains(&key.as_str()));
    }
    keys
}

#[test]
fn bounds_of_the_schema_are_those_of_the_reader() {
    let mut tried = 0;
    for (table, _, lines) in TABLES {
        for (key, schema) in keys_of(table) {
            let types = schema["type"].to_string();
            if !types.contains("\"integer\"") || types.contains("\"string\"") {
                continue;
            }
            let bound = |name: &str| {
                let bound = schema[name].as_i64();
                bound.unwrap_or_else(|| panic!("{table}.{key} has no {name}"))
            };
            let (least, most) = (bound("minimum"), bound("maximum"));
            for (value, allowed) in [
                (Some(least), true),
                (Some(most), true),
                (least.checked_sub(1), false),
                (most.checked_add(1), false),
            ] {
                let Some(value) = value else { continue };
                let mut file = with_table(table, lines);
                table_of(&mut file, table).insert(key.clone(), value.into());
                let text = toml::to_string(&file).expect("valid");
                let read = Scenario::parse("bounds", &text);
                let refused = read
                    .err()
                    .is_some_and(|errors| errors.to_string().contains("is out of range"));
                assert_eq!(refused, !allowed, "{table}.{key} = {value}");
                tried += 1;
            }
        }
    }
    assert!(tried > 30, "{tried}");
}

#[test]
fn tables_of_the_documentation_have_every_key_with_its_default() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/README.md");
    let readme = std::fs::read_to_string(path).expect("the documentation");
    let mut defaults = 0;
    for (table, heading, lines) in TABLES {
        let from = readme
            .find(heading)
            .unwrap_or_else(|| panic!("no {heading}"));
        let section = readme[from + heading.len()..].split("\n### ").next();
        let section = section.unwrap_or_default();
        let written = Scenario::parse(
            "defaults",
            &toml::to_string(&with_table(table, lines)).expect("valid"),
        )
        .expect("valid")
        .to_toml();
        let mut written: toml::Table = written.parse().expect("TOML");
        let written = table_of(&mut written, table);
        for (key, schema) in keys_of(table) {
            // Tables have sections, and arrays of tables too.
            if table.is_empty() && OF_TABLES.contains(&key.as_str()) {
                continue;
            }
            let cells = [format!("`{key}`"), format!("`[{table}.{key}]`")];
            let names = |row: &&str| {
                let first = row.split('|').nth(1).unwrap_or_default();
                cells.iter().any(|cell| first.contains(cell))
            };
            let mut rows = section.lines().filter(|line| line.starts_with("| `"));
            let row = rows.find(names);
            let row = row.unwrap_or_else(|| panic!("{table}.{key} is in no row below {heading}"));
            let sentence = schema["description"].as_str().unwrap_or_default();
            let sentence = sentence.replace('\n', " ");
            let Some((_, default)) = sentence.rsplit_once("Default ") else {
                continue;
            };
            let default = default.trim_end_matches('.').trim_matches('`');
            let short = default.split(' ').next().unwrap_or_default();
            assert!(
                row.contains(short),
                "{table}.{key}: {default} is not in {row}"
            );
            // What is left out is not written, or is written as the default.
            if let Some(value) = written.get(&key).filter(|_| short == default) {
                let value = value.to_string();
                let value = value.trim_matches('"').trim_end_matches(".0");
                // `60s` and `1m` are one.
                let time = |text: &str| parse_duration(text).ok();
                let same =
                    value == default || time(value).is_some_and(|it| Some(it) == time(default));
                assert!(
                    same,
                    "{table}.{key}: {value} is written, and {default} documented"
                );
                defaults += 1;
            }
        }
    }
    assert!(defaults > 10, "{defaults}");
}
