//! Text that somebody else chose, such as a file's name or a line of a configuration, as it is told.
//!
//! Owns which characters may be an order to a terminal.

/// The text with U+FFFD for each control character.
#[must_use]
pub fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}
