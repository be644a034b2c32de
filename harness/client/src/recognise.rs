//! Refusals as clients word them.
//!
//! Owns the wordings, which differ between clients and their releases. What is recognised is information for a person: no
//! law, no metric and no verdict rests on it, since a client may say nothing, or say it twice.

/// What a client says whose connection ended before the server's identification string, and who says it.
const WORDINGS: [&str; 17] = [
    // OpenSSH, 8.0 and later, and before.
    "kex_exchange_identification: Connection closed by remote host",
    "kex_exchange_identification: read: Connection reset by peer",
    "kex_exchange_identification: Connection reset by peer",
    "ssh_exchange_identification: Connection closed by remote host",
    "ssh_exchange_identification: read: Connection reset by peer",
    "ssh_exchange_identification: Exceeded MaxStartups",
    "Exceeded MaxStartups",
    "Not allowed at this time",
    // paramiko.
    "Error reading SSH protocol banner",
    "Invalid packet header. Packet magic number",
    // asyncssh.
    "SSH connection closed",
    "Connection lost",
    // libssh2, libssh.
    "Failed getting banner",
    "Socket error: disconnected",
    // Go, golang.org/x/crypto/ssh.
    "ssh: handshake failed: EOF",
    // JSch.
    "Session.connect: java.io.IOException: End of IO Stream Read",
    // Apache MINA.
    "Server closed connection during identification phase",
];

/// OpenSSH 9.5 and later say of an end of file no more than this, as they do of any later end.
const LATE: [&str; 2] = ["Connection closed by ", "Connection reset by "];

/// Lines that speak of a refusal.
pub(crate) fn refusals(output: &str) -> u64 {
    let mut sure = 0;
    let mut late = 0;
    for line in output.lines() {
        if WORDINGS.iter().any(|wording| line.contains(wording)) {
            sure += 1;
        } else if LATE.iter().any(|wording| line.starts_with(wording)) && line.contains(" port ") {
            late += 1;
        }
    }
    // 8.3 to 9.4 print both for one connection.
    std::cmp::max(sure, late)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lines_of_one_connection_are_one_refusal() {
        for (output, count) in [
            (
                "kex_exchange_identification: read: Connection reset by peer\r\nConnection reset by 127.64.0.1 port 40022\r\n",
                1,
            ),
            ("Connection closed by 127.64.0.1 port 40022\n", 1),
            (
                "paramiko.ssh_exception.SSHException: Error reading SSH protocol banner\nok\n",
                1,
            ),
            (
                "ssh: handshake failed: EOF\nssh: handshake failed: EOF\n",
                2,
            ),
            ("all is well\nConnection closed by the user\n", 0),
            ("", 0),
        ] {
            assert_eq!(refusals(output), count, "{output}");
        }
    }
}
