//! A log of sshd of any length: the lines of the real recording over and over, with other client ports each time.
//!
//! Owns nothing but the text. Shared by the bench of the parser and the test of its memory, so that both speak of the
//! same log.

/// The recording that is repeated.
const REAL: &str = include_str!("../../src/server_log/fixtures/openssh-9.2-real.log");
/// The server's own port in the recording; it stays.
const SERVER_PORT: u32 = 41023;
/// What stands before a port in sshd's lines.
const MARKERS: [&str; 2] = [" port ", "]:"];

/// Writes the lines.
pub(crate) struct GrownLog {
    /// Each line cut at its client ports: text, and the port that follows it, if one does.
    lines: Vec<Vec<(&'static str, Option<u32>)>>,
    ports: u32,
}

impl GrownLog {
    /// A log whose client ports take at most `ports` values (at most 65 536).
    pub(crate) fn with_ports(ports: u32) -> Self {
        GrownLog {
            lines: REAL.lines().map(cut).collect(),
            ports,
        }
    }

    /// Appends line `number`, counted from 0, with the line end of sshd's `-E` files.
    pub(crate) fn append(&self, number: usize, log: &mut Vec<u8>) {
        use std::io::Write as _;
        let repetition = u32::try_from(number / self.lines.len()).expect("fewer repetitions");
        for (text, port) in &self.lines[number % self.lines.len()] {
            log.extend_from_slice(text.as_bytes());
            if let Some(port) = port {
                // A step that shares no factor with a power of two or ten visits every port in turn.
                let port = (port + repetition * 257) % self.ports;
                write!(log, "{port}").expect("memory takes everything");
            }
        }
        log.extend_from_slice(b"\r\n");
    }
}

fn cut(line: &'static str) -> Vec<(&'static str, Option<u32>)> {
    let mut pieces = Vec::new();
    let mut rest = line;
    let mut from = 0;
    while let Some(start) = MARKERS
        .iter()
        .filter_map(|marker| rest[from..].find(marker).map(|at| from + at + marker.len()))
        .min()
    {
        let digits = rest[start..].bytes().take_while(u8::is_ascii_digit).count();
        match rest[start..start + digits].parse() {
            Ok(port) if port != SERVER_PORT => {
                pieces.push((&rest[..start], Some(port)));
                rest = &rest[start + digits..];
                from = 0;
            }
            _ => from = start + digits,
        }
    }
    pieces.push((rest, None));
    pieces
}
