//! Unknown lines by shape: what stays when numbers, addresses and names are taken out.

use std::collections::HashMap;

use super::add;
use super::result::Shape;

/// Shapes told apart; the lines of others are counted together.
const MOST: usize = 200;
const LONGEST: usize = 160;

#[derive(Debug, Default)]
pub(super) struct Shapes {
    counts: HashMap<String, u64>,
    rest: u64,
}

impl Shapes {
    pub(super) fn count(&mut self, text: &str, times: u64) {
        self.put(shape(text), times);
    }

    fn put(&mut self, shape: String, times: u64) {
        if self.counts.len() < MOST || self.counts.contains_key(&shape) {
            add(self.counts.entry(shape).or_default(), times);
        } else {
            add(&mut self.rest, times);
        }
    }

    /// Takes another one's in.
    pub(super) fn merge(&mut self, other: Shapes) {
        // In an order that does not depend on the hasher, so that the same log always gives the same shapes.
        let (shapes, rest) = other.into_list();
        for Shape { shape, count } in shapes {
            self.put(shape, count);
        }
        add(&mut self.rest, rest);
    }

    /// The most frequent first, and how many lines have none of these shapes.
    pub(super) fn into_list(self) -> (Vec<Shape>, u64) {
        let mut list: Vec<Shape> = self
            .counts
            .into_iter()
            .map(|(shape, count)| Shape { shape, count })
            .collect();
        list.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.shape.cmp(&b.shape)));
        (list, self.rest)
    }
}

/// `User bob from 192.0.2.7 not allowed` → `User NAME from ADDR not allowed`.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    let mut before = "";
    for word in text.split(' ') {
        if !before.is_empty() || !shape.is_empty() {
            shape.push(' ');
        }
        if before.eq_ignore_ascii_case("user") {
            shape.push_str("NAME");
        } else {
            push_word(&mut shape, word);
        }
        before = word;
        if shape.len() > LONGEST {
            break;
        }
    }
    match shape.char_indices().nth(LONGEST) {
        Some((end, _)) => shape[..end].to_owned(),
        None => shape,
    }
}

fn push_word(shape: &mut String, word: &str) {
    let hex = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.' | '%');
    let from = word.find(|c: char| c.is_ascii_alphanumeric()).unwrap_or(0);
    let length = word[from..].find(|c| !hex(c)).unwrap_or(word.len() - from);
    let core = word[from..from + length].trim_end_matches([':', '.']);
    let digits = core.contains(|c: char| c.is_ascii_digit());
    if digits && (core.matches('.').count() == 3 || core.matches(':').count() >= 2) {
        shape.push_str(&word[..from]);
        shape.push_str("ADDR");
        push_numbers(shape, &word[from + core.len()..]);
        return;
    }
    if word.contains("SHA256:") || word.contains("MD5:") {
        shape.push_str("KEY");
        return;
    }
    push_numbers(shape, word);
}

fn push_numbers(shape: &mut String, text: &str) {
    let mut in_number = false;
    for c in text.chars() {
        if !c.is_ascii_digit() {
            shape.push(c);
        } else if !in_number {
            shape.push('N');
        }
        in_number = c.is_ascii_digit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_line_to_line_is_replaced() {
        for (text, expected) in [
            (
                "User bob from 192.0.2.7 not allowed",
                "User NAME from ADDR not allowed",
            ),
            (
                "ssh_dispatch_run_fatal: Connection from [2001:db8::1]:22: 3",
                "ssh_dispatch_run_fatal: Connection from [ADDR]:N: N",
            ),
            ("key 12ab SHA256:xyz= of 10", "key Nab KEY of N"),
            ("", ""),
        ] {
            assert_eq!(shape(text), expected);
        }
        assert_eq!(shape(&"é".repeat(500)).chars().count(), LONGEST);
    }

    #[test]
    fn shapes_are_bounded_and_no_line_is_lost() {
        let mut shapes = Shapes::default();
        let letters = |number: usize| -> String {
            format!("{number:04}")
                .bytes()
                .map(|b| char::from(b - b'0' + b'a'))
                .collect()
        };
        for number in 0..1000 {
            shapes.count(&letters(number), 1);
        }
        shapes.count(&letters(0), 5);
        let (list, rest) = shapes.into_list();
        assert_eq!((list.len(), list[0].count), (MOST, 6));
        assert_eq!(
            list.iter().map(|shape| shape.count).sum::<u64>() + rest,
            1005
        );
    }
}
