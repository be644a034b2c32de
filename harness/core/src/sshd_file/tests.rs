//! Files, includes and blocks; the seam is a table of texts.

use std::collections::BTreeSet;

use super::extract::extract;
use super::findings::{Finding, find};
use super::*;
use crate::scenario::SshdConfig;

/// Texts by pattern; a name is a pattern too.
struct Table(Vec<(&'static str, Vec<(&'static str, &'static str)>)>);

impl Texts for Table {
    type Error = String;

    fn matching(&mut self, pattern: &str, at: At<'_>) -> Result<Vec<SourceFile>, String> {
        if pattern.starts_with("/secret") {
            return Err(format!("{} line {}: {pattern}", at.file, at.line));
        }
        let known = self.0.iter().find(|(known, _)| *known == pattern);
        let files = known.map(|(_, files)| files.as_slice()).unwrap_or_default();
        Ok(files.iter().map(|(name, text)| file(name, text)).collect())
    }
}

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile {
        name: name.to_owned(),
        text: text.to_owned(),
    }
}

fn read(text: &str, table: Vec<(&'static str, Vec<(&'static str, &'static str)>)>) -> ConfigFile {
    ConfigFile::read(file("sshd_config", text), &mut Table(table)).expect("it can be read")
}

/// A file without includes.
pub(super) fn config(text: &str) -> ConfigFile {
    read(text, Vec::new())
}

fn place(file: usize, line: u32) -> Place {
    Place { file, line }
}

#[test]
fn included_lines_come_where_the_include_stands_and_their_blocks_end_with_their_file() {
    let config = read(
        "Include d/*.conf\nMaxSessions 1\nMatch user x\nInclude more\nPort 4\n",
        vec![
            (
                "d/*.conf",
                vec![
                    ("d/1", "Port 1\nMatch user y\nPort 2\n"),
                    ("d/2", "Port 3\n"),
                ],
            ),
            ("more", vec![("more", "MaxAuthTries 2\n")]),
        ],
    );
    let told: Vec<(String, Option<usize>)> = config
        .directives
        .iter()
        .map(|directive| {
            let text = format!("{} {}", directive.keyword, directive.rest);
            (text, directive.block)
        })
        .collect();
    let expected = [
        ("Include d/*.conf", None),
        ("Port 1", None),
        ("Match user y", Some(0)),
        ("Port 2", Some(0)),
        ("Port 3", None),
        ("MaxSessions 1", None),
        ("Match user x", Some(1)),
        ("Include more", Some(1)),
        ("MaxAuthTries 2", Some(1)),
        ("Port 4", Some(1)),
    ];
    assert_eq!(told, expected.map(|(text, block)| (text.to_owned(), block)));
    assert_eq!(config.told(config.directives[8].place), "more line 1");
    assert!(config.sets("maxsessions") && !config.sets("MaxAuthTries"));
}

#[test]
fn copies_keep_line_numbers_and_name_the_files_where_they_are() {
    let text = "# a\r\nInclude d/*.conf \"e f\"\nFoo 1\nInclude none\nInclude\nPort 1";
    let config = read(
        text,
        vec![
            ("d/*.conf", vec![("d/1", ""), ("d/2", "")]),
            ("e f", vec![("e f", "")]),
        ],
    );
    let without = BTreeSet::from([place(0, 3)]);
    let copy = config.copy(0, &without, |file| format!("/c/{file}"));
    assert_eq!(
        copy,
        "# a\r\nInclude \"/c/1\" \"/c/2\" \"/c/3\"\n# left out\n# includes nothing\nInclude\nPort 1\n"
    );
    assert_eq!(config.line(place(0, 1)), "# a");
}

#[test]
fn copies_hide_no_include_and_free_no_block() {
    let text = "=Include a\n\"\" Include a\nIncl\"ude\" a\nInclude a 'b\nInclude \"a\n= =Include a\nMatch who x\nMaxSessions 1\n\
                =Match user x\nMatch user y\n";
    let config = read(text, vec![("a", vec![("a", "")])]);
    let without = BTreeSet::from([place(0, 7), place(0, 9)]);
    let copy = config.copy(0, &without, |file| format!("/c/{file}"));
    let lines: Vec<&str> = copy.lines().collect();
    assert_eq!(
        lines,
        [
            "Include \"/c/1\"",
            "Include \"/c/1\"",
            "Include \"/c/1\"",
            "Include",
            "Include",
            // sshd ignores it.
            "= =Include a",
            "Match user !*",
            "MaxSessions 1",
            "Match user !*",
            "Match user y",
        ]
    );
    // Whoever keeps lines from sshd finds them as sshd does.
    let spelt = self::config("=HostKey /a\nHost\"Key\" /b\n\"\" ListenAddress c\n");
    let sets = |index: usize, keyword: &str| spelt.directives[index].sets(keyword);
    assert!(sets(0, "HostKey") && sets(1, "HostKey") && sets(2, "ListenAddress"));
    assert_eq!(spelt.directives[2].rest, "c");
}

#[test]
fn files_that_include_each_other_end_where_sshd_ends() {
    let config = read(
        "Include a\nPort 1\n",
        vec![
            ("a", vec![("a", "Include b\nInclude b\n")]),
            ("b", vec![("b", "Include a\nInclude a\n")]),
        ],
    );
    assert_eq!(config.files.len(), 3);
    assert!(config.too_deep.is_some());
    assert!(matches!(find(&config)[..], [Finding::TooDeep { .. }]));
    assert!(config.directives.len() <= 20, "{config:#?}");
}

#[test]
fn files_that_double_with_every_level_end_too() {
    // 2^16 lines, and no loop.
    const NAMES: [&str; 17] = [
        "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16",
    ];
    const TEXTS: [&str; 17] = [
        "Include 1\nInclude 1\n",
        "Include 2\nInclude 2\n",
        "Include 3\nInclude 3\n",
        "Include 4\nInclude 4\n",
        "Include 5\nInclude 5\n",
        "Include 6\nInclude 6\n",
        "Include 7\nInclude 7\n",
        "Include 8\nInclude 8\n",
        "Include 9\nInclude 9\n",
        "Include 10\nInclude 10\n",
        "Include 11\nInclude 11\n",
        "Include 12\nInclude 12\n",
        "Include 13\nInclude 13\n",
        "Include 14\nInclude 14\n",
        "Include 15\nInclude 15\n",
        "Port 1\nPort 2\n",
        "",
    ];
    let table = NAMES
        .iter()
        .zip(TEXTS)
        .map(|(name, text)| (*name, vec![(*name, text)]));
    let config = read("Include 0\n", table.collect());
    assert_eq!(config.too_deep, None);
    assert_eq!(config.directives.len(), MOST_DIRECTIVES);
}

#[test]
fn what_may_not_be_included_is_an_error_that_names_the_line() {
    let read = ConfigFile::read(
        file("sshd_config", "\nInclude /secret/*\n"),
        &mut Table(Vec::new()),
    );
    assert_eq!(read.expect_err("refused"), "sshd_config line 2: /secret/*");
}

#[test]
fn match_all_is_no_block_unless_it_is_included_from_one() {
    let config = read(
        "Match all\nMaxStartups 1:2:3\nMatch user x\nInclude a\n",
        vec![("a", vec![("a", "Match all\nMaxStartups 4:5:6\n")])],
    );
    let all: Vec<bool> = config.blocks.iter().map(|block| block.is_all).collect();
    assert_eq!(all, [true, false, false]);
    let inside = find(&config);
    assert!(
        matches!(inside[..], [Finding::InMatch { place: at, .. }] if at == place(1, 2)),
        "{inside:?}"
    );
}

#[test]
fn what_is_odd_is_found_whether_or_not_sshd_complains() {
    let found = |text: &str| find(&config(text));
    assert_eq!(found("MaxStartups 10:30:60 # why\nPort 1\nPort 2\n"), []);
    let text = "\u{feff}Port 22\nMaxStartups 10,30,60\nMaxStartups '500'\nLoginGraceTime90\nMaxStartups 9999999999:30:60\n";
    let kinds = found(text);
    assert!(
        matches!(
            &kinds[..],
            [
                Finding::ByteOrderMark { .. },
                Finding::PartlyRead { ignored, .. },
                Finding::SingleQuotes { .. },
                Finding::OneNumber { value, .. },
                Finding::NoSeparator { keyword: "LoginGraceTime", .. },
                Finding::CutOff { .. },
                Finding::Several { lines, .. },
            ] if ignored == ",30,60" && value == "500" && lines.len() == 3
        ),
        "{kinds:#?}"
    );
    assert!(matches!(
        &found("Include none\n")[..],
        [Finding::NothingIncluded { pattern, .. }] if pattern == "none"
    ));
    for text in ["0", "-1", "0:30:60", "-5"] {
        let told = found(&format!("MaxStartups {text}\n"));
        assert!(
            matches!(&told[..], [Finding::NotPositive { value, .. }] if value == text),
            "{told:?}"
        );
    }
    // The same twice is not odd.
    assert_eq!(found("MaxSessions 3\nmaxsessions 3\n"), []);
}

#[test]
fn what_can_be_run_is_what_is_in_force_and_the_rest_is_left_out_with_a_reason() {
    let config = config(
        "Port 2222\nMaxStartups 500\nLoginGraceTime 2m\nUsePAM yes\nUseDNS no\nAuthorizedKeysCommand /usr/bin/ldap %u\n\
         HostKey /etc/ssh/key\nBanner /etc/issue\nMatch user \u{1b}x\nMaxSessions 2\nForceCommand /bin/false\n",
    );
    let settings: Vec<(String, String)> = [
        ("maxstartups", "500:30:500"),
        ("logingracetime", "120"),
        ("maxsessions", "10"),
        ("usepam", "yes"),
        ("usedns", "no"),
        ("persourcepenalties", "crash:90 authfail:5"),
    ]
    .map(|(keyword, value)| (keyword.to_owned(), value.to_owned()))
    .to_vec();
    let of_connection = extract(&config, &settings, true).expect("runnable");
    let extract = extract(&config, &settings, false).expect("runnable");
    assert_eq!(extract.max_startups.to_string(), "500:30:500");
    let grace = ("LoginGraceTime".to_owned(), "120".to_owned());
    assert_eq!(extract.keywords, [grace]);
    let left: Vec<&str> = extract
        .left_out
        .iter()
        .map(|left| left.what.as_str())
        .collect();
    assert_eq!(
        left,
        [
            "Port",
            "UsePAM",
            "AuthorizedKeysCommand",
            "HostKey",
            "Banner",
            "Match user \u{fffd}x",
            "PerSourcePenalties"
        ]
    );
    // In force for the connection that was asked for.
    let sessions = ("MaxSessions".to_owned(), "10".to_owned());
    assert_eq!(of_connection.keywords[1..], [sessions]);
    let left_out = of_connection.left_out.iter();
    let left: Vec<&str> = left_out.map(|left| left.what.as_str()).collect();
    assert!(
        left.contains(&"ForceCommand") && !left.iter().any(|what| what.starts_with("Match")),
        "{left:?}"
    );
    let mut sshd = SshdConfig::of("1:30:2".parse().expect("valid"));
    sshd.keywords = vec![("MaxSessions".to_owned(), "1".to_owned())];
    extract.apply(&mut sshd);
    assert_eq!(sshd.keyword("MaxSessions"), None);
}

#[test]
fn files_are_called_by_what_tells_them_apart() {
    let all = ["/r/etc/ssh/sshd_config", "/r/etc/ssh/d/1", "/r/etc/crypto"];
    assert_eq!(short_name(all[0], &all), "ssh/sshd_config");
    assert_eq!(short_name(all[0], &all[..2]), "sshd_config");
    assert_eq!(short_name(all[1], &all[..2]), "d/1");
    assert_eq!(short_name(all[0], &all[..1]), "sshd_config");
    assert_eq!(short_name("a", &["a", "/b"]), "a");
}
