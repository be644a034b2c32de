//! What log writers say of lines that they did not write.
//!
//! Owns their wording: journald's and rsyslog's.

/// Lines that a log writer says it lost: `Some(None)` where it gives no number. `None` is no such announcement, or one about another
/// program's lines.
pub(super) fn announced(program: &str, text: &str) -> Option<Option<u64>> {
    match program {
        "systemd-journald" | "systemd-journal" | "journal" => {
            // Suppressed 4321 messages from ssh.service
            if let Some(rest) = text.strip_prefix("Suppressed ") {
                let (number, unit) = rest.split_once(" messages from ")?;
                return unit.contains("ssh").then(|| number.parse().ok());
            }
            // Forwarding to syslog missed 15 messages.
            let rest = text.strip_prefix("Forwarding to syslog missed ")?;
            Some(rest.split(' ').next()?.parse().ok())
        }
        "rsyslogd" | "rsyslog" | "rsyslogd-2177" => {
            let begins = text.contains("begin to drop messages due to rate-limiting")
                || text.contains("begins to drop messages");
            // imuxsock lost 123 messages from pid 620 due to rate-limiting
            // imuxsock[pid: 620, name: sshd]: 123 messages lost due to rate-limiting
            let lost = match text.split_once(" lost ") {
                Some((_, rest)) if rest.contains(" messages") => rest.split(' ').next(),
                _ => text
                    .split_once(" messages lost")
                    .and_then(|(before, _)| before.rsplit(' ').next()),
            };
            (begins || lost.is_some()).then_some(())?;
            if let Some((_, name)) = text.split_once("name: ")
                && !name.starts_with("sshd")
            {
                return None;
            }
            Some(lost.and_then(|number| number.parse().ok()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_of_both_writers_are_known() {
        for (program, text, expected) in [
            (
                "systemd-journald",
                "Suppressed 4321 messages from ssh.service",
                Some(Some(4321)),
            ),
            (
                "systemd-journald",
                "Suppressed 7 messages from /system.slice/sshd.service",
                Some(Some(7)),
            ),
            (
                "systemd-journald",
                "Suppressed 7 messages from nginx.service",
                None,
            ),
            (
                "systemd-journald",
                "Forwarding to syslog missed 15 messages.",
                Some(Some(15)),
            ),
            ("systemd-journald", "System Journal is 8.0M", None),
            (
                "rsyslogd",
                "imuxsock lost 123 messages from pid 620 due to rate-limiting",
                Some(Some(123)),
            ),
            (
                "rsyslogd",
                "imuxsock begins to drop messages from pid 620 due to rate-limiting",
                Some(None),
            ),
            (
                "rsyslogd",
                "imuxsock[pid: 620, name: sshd]: begin to drop messages due to rate-limiting",
                Some(None),
            ),
            (
                "rsyslogd",
                "imuxsock[pid: 620, name: sshd]: 99 messages lost due to rate-limiting (200 allowed within 5 seconds)",
                Some(Some(99)),
            ),
            (
                "rsyslogd",
                "imuxsock[pid: 7, name: cron]: 99 messages lost due to rate-limiting",
                None,
            ),
            (
                "rsyslogd",
                "imjournal: 12 messages lost due to rate-limiting (20000 allowed within 600 seconds)",
                Some(Some(12)),
            ),
            ("rsyslogd", "[origin software=\"rsyslogd\"] start", None),
            ("sshd", "Suppressed 4321 messages from ssh.service", None),
        ] {
            assert_eq!(announced(program, text), expected, "{text}");
        }
    }
}
