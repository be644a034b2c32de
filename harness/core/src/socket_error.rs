//! Errors of sockets under their symbolic names, as the kernel's header files spell them.
//!
//! Owns the names that are told apart and their form in files. Which of them the operating system reported is the
//! engine's to read, and what they mean for an attempt the classification's.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! socket_errors {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// An error of a socket. In files it is its symbolic name, `"ECONNRESET"`.
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum SocketError {
            $($(#[$doc])* $variant,)*
            /// One that nothing depends on: its symbolic name, or a word where it has no number.
            Other(String),
        }

        impl SocketError {
            /// Its symbolic name.
            #[must_use]
            pub fn name(&self) -> &str {
                match self {
                    $(SocketError::$variant => $name,)*
                    SocketError::Other(name) => name,
                }
            }
        }

        impl From<String> for SocketError {
            fn from(name: String) -> Self {
                match name.as_str() {
                    $($name => SocketError::$variant,)*
                    _ => SocketError::Other(name),
                }
            }
        }
    };
}

socket_errors! {
    /// The peer reset the connection.
    ConnectionReset = "ECONNRESET",
    /// Written to after the peer reset it.
    BrokenPipe = "EPIPE",
    /// Ended before it stood.
    ConnectionAborted = "ECONNABORTED",
    /// Nothing was acknowledged for too long.
    TimedOut = "ETIMEDOUT",
    /// Nobody listens.
    ConnectionRefused = "ECONNREFUSED",
    /// No way to the host.
    HostUnreachable = "EHOSTUNREACH",
    /// No way to the network.
    NetworkUnreachable = "ENETUNREACH",
    /// The host does not answer.
    HostDown = "EHOSTDOWN",
    /// This process may open no more files.
    ProcessFiles = "EMFILE",
    /// This machine may open no more files.
    SystemFiles = "ENFILE",
    /// No port is left, or the address is not this machine's.
    AddressNotAvailable = "EADDRNOTAVAIL",
    /// The port is taken.
    AddressInUse = "EADDRINUSE",
    /// The kernel has no buffers left.
    NoBuffers = "ENOBUFS",
    /// The kernel has no memory left.
    NoMemory = "ENOMEM",
}

impl From<SocketError> for String {
    fn from(error: SocketError) -> Self {
        error.name().to_owned()
    }
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl JsonSchema for SocketError {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SocketError".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_written_by_name_and_read_back() {
        for (error, text) in [
            (SocketError::ConnectionReset, "\"ECONNRESET\""),
            (SocketError::ProcessFiles, "\"EMFILE\""),
            (SocketError::Other("EACCES".to_owned()), "\"EACCES\""),
        ] {
            assert_eq!(serde_json::to_string(&error).expect("written"), text);
            assert_eq!(
                serde_json::from_str::<SocketError>(text).expect("read"),
                error
            );
        }
    }
}
