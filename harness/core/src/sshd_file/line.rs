//! One line of an `sshd_config`, cut as sshd cuts it.
//!
//! Owns that and nothing else: misc.c `strdelim` for the keyword, misc.c `argv_split` for what follows (since 8.7; before it
//! `strdelim` for every word, which knows double quotes only).

use std::borrow::Cow;

use crate::release::Release;

/// What sshd takes for space (misc.c `WHITESPACE`); a form feed at the end of a line as well.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// From here on arguments are cut by `argv_split`, to which a single quote is one.
pub(super) const SINGLE_QUOTES: Release = Release::new(8, 7);

/// Keyword and the rest of a line that says something. What sshd takes for a keyword must be one here, however it is spelt: an
/// `Include` that is not recognised would be sshd's to follow.
pub(super) fn split(line: &str) -> Option<(Cow<'_, str>, &str)> {
    // servconf.c: `load_server_config` cuts off what is before, `process_server_config_line` what is behind.
    let line = line
        .trim_start_matches([' ', '\t', '\r'])
        .trim_end_matches([' ', '\t', '\r', '\n', '\u{c}']);
    let (mut keyword, mut rest) = strdelim(line)?;
    // It looks at one more word where the first is empty.
    if keyword.is_empty() {
        (keyword, rest) = strdelim(rest)?;
    }
    (!keyword.is_empty() && !keyword.starts_with('#')).then_some((keyword, rest))
}

/// misc.c `strdelim`: the first word and what follows. A quote may begin within the word, and ends it; `None` where it is not
/// closed.
fn strdelim(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(end) = text.find(|c| SPACE.contains(&c) || c == '=' || c == '"') else {
        return Some((Cow::Borrowed(text), ""));
    };
    let (word, delimiter, rest) = (&text[..end], &text[end..=end], &text[end + 1..]);
    if delimiter == "\"" {
        let (quoted, rest) = rest.split_once('"')?;
        let word = match word.is_empty() {
            true => Cow::Borrowed(quoted),
            false => Cow::Owned(format!("{word}{quoted}")),
        };
        return Some((word, rest.trim_start_matches(SPACE)));
    }
    let rest = rest.trim_start_matches(SPACE);
    // One of them only.
    let rest = match rest.strip_prefix('=') {
        Some(after) if delimiter != "=" => after.trim_start_matches(SPACE),
        Some(_) | None => rest,
    };
    Some((Cow::Borrowed(word), rest))
}

/// The arguments up to a comment; `None` where a quote is not closed.
pub(super) fn arguments(rest: &str, release: Release) -> Option<Vec<String>> {
    let single = release >= SINGLE_QUOTES;
    let mut words = Vec::new();
    let mut left = rest.chars().peekable();
    loop {
        while left.next_if(|c| SPACE.contains(c)).is_some() {}
        match left.peek() {
            None | Some('#') => return Some(words),
            Some(_) => {}
        }
        let mut word = String::new();
        let mut quote = None;
        while let Some(&c) = left.peek() {
            match (c, quote) {
                (c, None) if SPACE.contains(&c) => break,
                ('\\', _) if single => {
                    left.next();
                    let escaped = left.next_if(|next| {
                        matches!(next, '\'' | '"' | '\\') || (*next == ' ' && quote.is_none())
                    });
                    word.push(escaped.unwrap_or('\\'));
                    continue;
                }
                ('"', None) => quote = Some(c),
                ('\'', None) if single => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                (c, _) => word.push(c),
            }
            left.next();
        }
        if quote.is_some() {
            return None;
        }
        words.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Release = Release::new(8, 4);
    const NEW: Release = Release::new(9, 2);

    #[test]
    fn keyword_ends_at_space_or_at_one_equals_sign() {
        for (line, keyword, rest) in [
            ("MaxStartups 10:30:60", "MaxStartups", "10:30:60"),
            ("\tmaxstartups\t10:30:60\r", "maxstartups", "10:30:60"),
            ("MaxStartups=10:30:60", "MaxStartups", "10:30:60"),
            ("MaxStartups = 10:30:60", "MaxStartups", "10:30:60"),
            ("MaxStartups == 10", "MaxStartups", "= 10"),
            ("\"MaxStartups\" 10", "MaxStartups", "10"),
            ("LoginGraceTime90", "LoginGraceTime90", ""),
            ("MaxStartups= =10", "MaxStartups", "=10"),
            ("MaxStartups 10 \u{c} \u{c}", "MaxStartups", "10"),
        ] {
            assert_eq!(split(line), Some((Cow::Borrowed(keyword), rest)), "{line}");
        }
        for line in ["", "  ", "# MaxStartups 1", "\t#", "\r"] {
            assert_eq!(split(line), None, "{line:?}");
        }
    }

    #[test]
    fn keyword_is_found_behind_an_empty_word_and_with_quotes_inside_as_sshd_finds_it() {
        for line in [
            "=Include /x",
            "= Include /x",
            " =Include=/x",
            "\"\" Include /x",
            "\"\"Include /x",
            "\t\"\"Include = /x",
            "Incl\"ude\" /x",
            "Include\"\" /x",
            "Include\"\"/x",
            "\"Include\"/x",
            "=Incl\"ude\"/x",
        ] {
            assert_eq!(
                split(line),
                Some((Cow::Borrowed("Include"), "/x")),
                "{line}"
            );
        }
        // sshd ignores them.
        for line in [
            "= =Include /x",
            "==Include /x",
            "\"\" =Include /x",
            "\"\"\"\"Include /x",
            "Incl\"ude /x",
            "\"Include /x",
            "=",
            "\"\"",
            "= # Include /x",
        ] {
            assert_eq!(split(line), None, "{line}");
        }
        // To it a quote in the middle ends the word.
        assert_eq!(
            split("Incl\"ud\"e /x"),
            Some((Cow::Borrowed("Includ"), "e /x"))
        );
    }

    #[test]
    fn arguments_end_at_a_comment_and_only_newer_releases_know_single_quotes() {
        for (rest, release, words) in [
            ("10:30:60 # why", NEW, &["10:30:60"][..]),
            ("10:30:60#x", NEW, &["10:30:60#x"]),
            ("'10:30:60'", NEW, &["10:30:60"]),
            ("'10:30:60'", OLD, &["'10:30:60'"]),
            ("\"a b\" c", OLD, &["a b", "c"]),
            ("a\\ b", NEW, &["a b"]),
        ] {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(arguments(rest, release), Some(words), "{rest} on {release}");
        }
        assert_eq!(arguments("\"open", NEW), None);
    }
}
