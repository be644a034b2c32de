//! What sshd said about a configuration, line by line.
//!
//! Owns reading it out of what `sshd -T` prints on standard error (servconf.c: `FILE line N: …`, and `FILE: line N: …` for a
//! keyword that it does not know).

use super::Place;

/// One thing that sshd said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The line that it is about; `None` where it is about the whole.
    pub place: Option<Place>,
    /// sshd's own words, without file and line.
    pub said: String,
}

impl Complaint {
    /// Whether sshd goes on all the same: it knows the keyword, and does nothing with it.
    #[must_use]
    pub fn is_notice(&self) -> bool {
        ["Deprecated option", "Unsupported option"]
            .iter()
            .any(|notice| self.said.starts_with(notice))
    }

    /// Whether it is about a keyword that this build does not know.
    #[must_use]
    pub fn is_unknown_keyword(&self) -> bool {
        self.said.starts_with("Bad configuration option")
    }
}

/// Reads what sshd printed. `file_at` says which file a path is a copy of.
#[must_use]
pub fn read(printed: &str, file_at: impl Fn(&str) -> Option<usize>) -> Vec<Complaint> {
    let mut complaints: Vec<Complaint> = Vec::new();
    for text in printed.lines() {
        // sshd ends its lines with CR LF when it logs to standard error.
        let text = text.trim();
        // Their sum.
        if text.is_empty() || (text.contains("terminating,") && text.contains("bad configuration"))
        {
            continue;
        }
        let complaint = placed(text, &file_at).unwrap_or_else(|| Complaint {
            place: None,
            said: text.to_owned(),
        });
        if !complaints.contains(&complaint) {
            complaints.push(complaint);
        }
    }
    complaints
}

fn placed(text: &str, file_at: &impl Fn(&str) -> Option<usize>) -> Option<Complaint> {
    let (path, rest) = text.split_once(" line ")?;
    let (number, said) = rest.split_once(':')?;
    Some(Complaint {
        place: Some(Place {
            file: file_at(path.trim_end_matches(':'))?,
            line: number.parse().ok()?,
        }),
        said: said.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_files_are_found_in_both_forms_and_what_has_none_is_kept() {
        // As 9.2 and 8.4 print it.
        let printed = "/c/0: line 1: Bad configuration option: Foo\r\n/c/1 line 3: Invalid MaxStartups spec.\r\n\
                       /c/0: terminating, 1 bad configuration options\r\nMissing privilege separation directory: /run/sshd\r\n";
        let file_at = |path: &str| path.strip_prefix("/c/")?.parse().ok();
        let place = |file, line| Some(Place { file, line });
        let complaints = read(printed, file_at);
        let places: Vec<_> = complaints.iter().map(|complaint| complaint.place).collect();
        assert_eq!(places, [place(0, 1), place(1, 3), None]);
        assert!(complaints[0].is_unknown_keyword());
        assert_eq!(complaints[1].said, "Invalid MaxStartups spec.");
        let notice = read("/c/0 line 9: Deprecated option RSAAuthentication", file_at);
        assert!(notice[0].is_notice() && notice[0].place == place(0, 9));
    }
}
