//! Text of a foreign server or image, made fit to be shown.
//!
//! Owns which characters are written out. Pure.

/// What a peer chose to say, fit for a terminal and for every report: control characters, and what reorders or hides text,
/// are written out as escapes (RFC 4253, section 4.2, allows printable US-ASCII only).
pub(crate) fn readable(line: &str) -> String {
    let mut text = String::new();
    for character in line.trim_end().chars() {
        if character.is_control() || is_invisible(character) {
            text.extend(character.escape_unicode());
        } else {
            text.push(character);
        }
    }
    text
}

/// Zero-width characters and directional marks, by which a text may look like another.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_a_foreign_server_do_not_reach_the_terminal() {
        assert_eq!(
            readable("SSH-2.0-x\u{1b}[2J\u{9b}31m\u{7} é\\n\r\n"),
            "SSH-2.0-x\\u{1b}[2J\\u{9b}31m\\u{7} é\\n"
        );
        let ours = "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7";
        assert_eq!(readable(ours), ours);
    }
}
