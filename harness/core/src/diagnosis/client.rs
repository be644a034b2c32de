//! What clients print when a server turns them away.
//!
//! Owns their wording. What it means is the report's to say.

use aho_corasick::{AhoCorasick, MatchKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A message of a client.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ClientMessage {
    /// `kex_exchange_identification: Connection closed by remote host` (`ssh_exchange_identification` up to 7.9).
    ExchangeClosed,
    /// `kex_exchange_identification: read: Connection reset by peer`.
    ExchangeReset,
    /// `kex_exchange_identification: …` with other words.
    ExchangeFailed,
    /// `Exceeded MaxStartups` or `Not allowed at this time`: the server's own text, which OpenSSH shows with `-v`.
    RefusalText,
    /// `Error reading SSH protocol banner` (paramiko).
    BannerError,
    /// `Connection timed out during banner exchange`.
    BannerTimeout,
    /// `Connection closed by … port …` without another message: all that 9.5 and later print.
    Closed,
    /// `Connection reset by … port …` without another message.
    Reset,
    /// `Session open refused by peer`: `MaxSessions`, seen by a multiplexing client.
    SessionRefused,
}

/// Looks for all of them in one pass.
#[derive(Debug)]
pub(super) struct ClientMessages {
    search: AhoCorasick,
}

const NEEDLES: [(&str, ClientMessage); 9] = [
    // The longer ones first: the leftmost match decides, and the first of those that begin at one place.
    (
        "_exchange_identification: Connection closed by remote host",
        ClientMessage::ExchangeClosed,
    ),
    (
        "_exchange_identification: read: Connection reset by peer",
        ClientMessage::ExchangeReset,
    ),
    (
        "_exchange_identification: banner line ",
        ClientMessage::RefusalText,
    ),
    (
        "_exchange_identification: Exceeded MaxStartups",
        ClientMessage::RefusalText,
    ),
    (
        "_exchange_identification: Not allowed at this time",
        ClientMessage::RefusalText,
    ),
    ("_exchange_identification: ", ClientMessage::ExchangeFailed),
    (
        "Error reading SSH protocol banner",
        ClientMessage::BannerError,
    ),
    (
        "timed out during banner exchange",
        ClientMessage::BannerTimeout,
    ),
    (
        "Session open refused by peer",
        ClientMessage::SessionRefused,
    ),
];

impl ClientMessages {
    /// Builds the search.
    pub(super) fn new() -> Self {
        let needles = NEEDLES.iter().map(|(needle, _)| needle);
        ClientMessages {
            search: AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostFirst)
                .build(needles)
                .expect("nine short words fit an automaton"),
        }
    }

    /// The message in a line that is not sshd's.
    pub(super) fn find(&self, text: &str) -> Option<ClientMessage> {
        let found = self.search.find(text)?;
        let (_, message) = NEEDLES[found.pattern().as_usize()];
        // Any other line before the server's identification is shown in the same way.
        let refused = ["Exceeded MaxStartups", "Not allowed at this time"];
        match message {
            ClientMessage::RefusalText if !refused.iter().any(|words| text.contains(words)) => {
                Some(ClientMessage::ExchangeFailed)
            }
            message => Some(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_wherever_they_stand_and_nothing_else_is() {
        use ClientMessage as M;
        let messages = ClientMessages::new();
        for (text, expected) in [
            (
                "kex_exchange_identification: Connection closed by remote host",
                Some(M::ExchangeClosed),
            ),
            (
                "fatal: [web1]: UNREACHABLE! => ssh_exchange_identification: Connection closed by remote host",
                Some(M::ExchangeClosed),
            ),
            (
                "kex_exchange_identification: read: Connection reset by peer",
                Some(M::ExchangeReset),
            ),
            (
                "debug1: kex_exchange_identification: banner line 0: Exceeded MaxStartups",
                Some(M::RefusalText),
            ),
            (
                "debug1: kex_exchange_identification: banner line 0: Not allowed at this time",
                Some(M::RefusalText),
            ),
            (
                "debug1: ssh_exchange_identification: Exceeded MaxStartups",
                Some(M::RefusalText),
            ),
            (
                "debug1: kex_exchange_identification: banner line 0: Welcome",
                Some(M::ExchangeFailed),
            ),
            (
                "kex_exchange_identification: write: Broken pipe",
                Some(M::ExchangeFailed),
            ),
            (
                "paramiko.ssh_exception.SSHException: Error reading SSH protocol banner",
                Some(M::BannerError),
            ),
            (
                "Connection timed out during banner exchange",
                Some(M::BannerTimeout),
            ),
            (
                "mux_client_request_session: session request failed: Session open refused by peer",
                Some(M::SessionRefused),
            ),
            ("Exceeded MaxStartups", None),
            ("all is well", None),
            ("", None),
        ] {
            assert_eq!(messages.find(text), expected, "{text}");
        }
    }
}
