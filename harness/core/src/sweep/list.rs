//! Points from a file of comma-separated values: the keys in its first line, then one point in each.
//!
//! Owns that form: RFC 4180, with lines that are empty or begin with `#` left out, and a cell that is empty for a key that the
//! point leaves as the scenario has it.

use std::collections::BTreeSet;

use super::Setting;

/// What is wrong with a list of points.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Nothing in it.
    #[error(
        "no points: the first line has the keys, separated by commas, and each further line a point"
    )]
    Empty,
    /// Keys that are none, or the same.
    #[error(
        "line {line}: the first line has the keys, each once and none empty, such as `tasks,max_startups`"
    )]
    Keys {
        /// Where, from 1.
        line: usize,
    },
    /// Another number of values than keys.
    #[error(
        "line {line}: {found} values for {keys} keys; put a value that has a comma into double quotes"
    )]
    Width {
        /// Where, from 1.
        line: usize,
        /// Values found.
        found: usize,
        /// Keys.
        keys: usize,
    },
    /// A quotation mark without its other.
    #[error("line {line}: a double quote is not closed, or stands in the middle of a value")]
    Quotes {
        /// Where, from 1.
        line: usize,
    },
    /// Twice the same.
    #[error(
        "line {line}: the same point as in line {first}; for more than one run of each use `--repeats`"
    )]
    Repeated {
        /// Where, from 1.
        line: usize,
        /// Where it was first.
        first: usize,
    },
}

/// Reads the points of a list.
///
/// # Errors
/// [`ListError`] with the line.
pub fn parse_list(text: &str) -> Result<Vec<Vec<Setting>>, ListError> {
    let mut lines = text
        .trim_start_matches('\u{feff}')
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let (line, head) = lines.next().ok_or(ListError::Empty)?;
    let keys = cells(head).ok_or(ListError::Quotes { line })?;
    let different: BTreeSet<&String> = keys.iter().collect();
    let plain = |key: &String| !key.is_empty() && !key.contains(char::is_whitespace);
    if different.len() < keys.len() || !keys.iter().all(plain) {
        return Err(ListError::Keys { line });
    }
    let mut points: Vec<(usize, Vec<Setting>)> = Vec::new();
    for (line, text) in lines {
        let values = cells(text).ok_or(ListError::Quotes { line })?;
        if values.len() != keys.len() {
            return Err(ListError::Width {
                line,
                found: values.len(),
                keys: keys.len(),
            });
        }
        let given = keys
            .iter()
            .zip(&values)
            .filter(|(_, value)| !value.is_empty());
        let point: Vec<Setting> = given
            .map(|(key, value)| super::setting(key, value))
            .collect();
        if let Some((first, _)) = points.iter().find(|(_, other)| *other == point) {
            return Err(ListError::Repeated {
                line,
                first: *first,
            });
        }
        points.push((line, point));
    }
    match points.is_empty() {
        true => Err(ListError::Empty),
        false => Ok(points.into_iter().map(|(_, point)| point).collect()),
    }
}

/// The cells of a line; `None` where quotes do not match.
fn cells(line: &str) -> Option<Vec<String>> {
    let mut cells = Vec::new();
    let mut rest = line;
    loop {
        let trimmed = rest.trim_start();
        let (cell, after) = match trimmed.strip_prefix('"') {
            Some(quoted) => quoted_cell(quoted)?,
            None => {
                let (cell, after) = match trimmed.split_once(',') {
                    Some((cell, after)) => (cell, Some(after)),
                    None => (trimmed, None),
                };
                if cell.contains('"') {
                    return None;
                }
                (cell.trim().to_owned(), after)
            }
        };
        cells.push(cell);
        match after {
            Some(after) => rest = after,
            None => return Some(cells),
        }
    }
}

/// A cell after its opening quote, in which two quotes are one; and what follows the comma behind it.
fn quoted_cell(text: &str) -> Option<(String, Option<&str>)> {
    let mut cell = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"')?;
        cell.push_str(part);
        if let Some(after) = after.strip_prefix('"') {
            cell.push('"');
            rest = after;
            continue;
        }
        return match after.trim_start() {
            "" => Some((cell, None)),
            after => Some((cell, Some(after.strip_prefix(',')?))),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::label;

    #[test]
    fn each_line_is_a_point_and_an_empty_cell_leaves_a_key_alone() {
        let text = "# what we run at night\ntasks,max_startups,sshd.options.PerSourcePenalties\n\n30,10:30:100,\"crash:3,\"\"x\"\"\"\n 60 , ,no\n";
        let points = parse_list(text).expect("two points");
        let labels: Vec<String> = points.iter().map(|point| label(point)).collect();
        assert_eq!(
            labels,
            [
                "tasks=30, max_startups=10:30:100, sshd.options.PerSourcePenalties=crash:3,\"x\"",
                "tasks=60, sshd.options.PerSourcePenalties=no"
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, expected) in [
            ("", ListError::Empty),
            ("tasks\n# none\n", ListError::Empty),
            ("tasks,tasks\n1,2\n", ListError::Keys { line: 1 }),
            ("tasks,\n1,2\n", ListError::Keys { line: 1 }),
            (
                "a,b\n\n1\n",
                ListError::Width {
                    line: 3,
                    found: 1,
                    keys: 2,
                },
            ),
            ("a\n\"1\n", ListError::Quotes { line: 2 }),
            ("a\n1\"2\n", ListError::Quotes { line: 2 }),
            ("a\n\"1\"2\n", ListError::Quotes { line: 2 }),
            ("a\n1\n2\n1\n", ListError::Repeated { line: 4, first: 2 }),
        ] {
            assert_eq!(parse_list(text), Err(expected), "{text:?}");
        }
    }
}
