//! One log line: what is wrapped around the message by syslog, the level and `LogVerbose`.
//!
//! Owns the envelope; the message itself is `message`'s.

use super::message::{ServerLogMessage, at_first};

/// Severity as far as the line shows it. On stderr and in `-E` files only debug levels have a prefix; syslog
/// also marks errors and fatal errors (log.c:do_log).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// `fatal: ` (syslog only).
    Fatal,
    /// `error: ` (syslog only).
    Error,
    /// No prefix: anything from FATAL to VERBOSE.
    Plain,
    /// `debug1: ` to `debug3: `.
    Debug(u8),
}

/// Whether sshd's processes log under this name: 9.8 split the program in two, 10.0 in three.
#[inline]
pub(super) fn is_sshd(program: &str) -> bool {
    matches!(program, "sshd" | "sshd-session" | "sshd-auth")
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLogEvent<'a> {
    /// Severity as far as the line shows it.
    pub severity: Severity,
    /// Process that wrote it, from the syslog prefix or the `LogVerbose` tag.
    pub pid: Option<u32>,
    /// Relayed by the monitor for its unprivileged child (` [preauth]`).
    pub preauth: bool,
    /// Forced by `LogVerbose`: the line carried a `file:function():line` tag.
    pub forced: bool,
    /// What it says.
    pub message: ServerLogMessage<'a>,
}

/// Reads one line, without its line end. Never fails: what is not known is [`ServerLogMessage::Unknown`].
#[must_use]
pub fn parse_line(line: &str) -> ServerLogEvent<'_> {
    let (pid, rest) = strip_syslog(line);
    parse_message(pid, rest)
}

/// Reads what is inside of an envelope that named this process, without its line end. Never fails, as [`parse_line`].
#[must_use]
pub fn parse_message(mut pid: Option<u32>, text: &str) -> ServerLogEvent<'_> {
    let (severity, rest) = strip_severity(text);
    let (tag, rest) = strip_tag(rest);
    if let Some(tag_pid) = tag.flatten() {
        pid = Some(tag_pid);
    }
    let (preauth, rest) = match rest.strip_suffix(" [preauth]") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    ServerLogEvent {
        severity,
        pid,
        preauth,
        forced: tag.is_some(),
        message: ServerLogMessage::parse(rest),
    }
}

/// `Nov 24 07:18:00 host sshd[123]: …` or `2026-11-24T07:18:00+00:00 host sshd-session[123]: …`.
///
/// A line must begin like a time stamp before a program name is looked for: user names are the peer's
/// choice, and one that contains `sshd[1]: drop connection …` must not become a drop.
fn strip_syslog(line: &str) -> (Option<u32>, &str) {
    let rest = match line.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        Some((priority, rest))
            if priority.len() <= 3 && priority.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            rest
        }
        _ => line,
    };
    let stamped = match rest.as_bytes() {
        [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'-', ..] => true,
        [a, b, c, b' ', ..] => {
            const MONTHS: [&[u8; 3]; 12] = [
                b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct",
                b"Nov", b"Dec",
            ];
            MONTHS.contains(&&[*a, *b, *c])
        }
        _ => false,
    };
    if !stamped {
        return (None, line);
    }
    let Some((head, message)) = rest.split_once("]: ") else {
        return (None, line);
    };
    let Some((before, pid)) = head.rsplit_once('[') else {
        return (None, line);
    };
    let program = before.rsplit(' ').next().unwrap_or(before);
    match (program, pid.parse()) {
        (program, Ok(pid)) if is_sshd(program) => (Some(pid), message),
        _ => (None, line),
    }
}

pub(super) fn strip_severity(text: &str) -> (Severity, &str) {
    const PREFIXES: [(&str, Severity); 5] = [
        ("debug1: ", Severity::Debug(1)),
        ("debug2: ", Severity::Debug(2)),
        ("debug3: ", Severity::Debug(3)),
        ("error: ", Severity::Error),
        ("fatal: ", Severity::Fatal),
    ];
    // Most lines have none, as one byte tells.
    if !matches!(text.as_bytes().first(), Some(b'd' | b'e' | b'f')) {
        return (Severity::Plain, text);
    }
    PREFIXES
        .iter()
        .find_map(|(prefix, severity)| text.strip_prefix(prefix).map(|rest| (*severity, rest)))
        .unwrap_or((Severity::Plain, text))
}

/// The tag of a line forced by `LogVerbose` (log.c:sshlogv): `sshd.c:drop_connection():123: ` in 8.5 and 8.6,
/// `… (pid=1): ` in 8.7 to 9.9, `… (bin=sshd, pid=1): ` from 10.0. The outer option says whether there was a
/// tag, the inner one is its process.
fn strip_tag(text: &str) -> (Option<Option<u32>>, &str) {
    let untagged = (None, text);
    // File and function are names, so one pass over them decides; a search for `():` would read all of every line.
    let file = name_length(text);
    if file <= ".c".len() || !text[..file].ends_with(".c") {
        return untagged;
    }
    let Some(rest) = text[file..].strip_prefix(':') else {
        return untagged;
    };
    let function = name_length(rest);
    if function == 0 {
        return untagged;
    }
    let Some(after) = rest[function..].strip_prefix("():") else {
        return untagged;
    };
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    let rest = &after[digits..];
    if let Some(message) = rest.strip_prefix(": ") {
        return (Some(None), message);
    }
    let Some((inner, message)) = rest
        .strip_prefix(" (")
        .and_then(|rest| at_first(rest, "): "))
    else {
        return untagged;
    };
    let pid = inner
        .rsplit_once("pid=")
        .and_then(|(_, digits)| digits.parse().ok());
    (Some(pid), message)
}

/// How far a text is a file or function name, bytes.
fn name_length(text: &str) -> usize {
    text.bytes()
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        .count()
}
