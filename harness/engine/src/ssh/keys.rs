//! Ed25519 keys made for one run, or a user's own: the user's and the server's.
//!
//! Keys leave this module as OpenSSH text; russh's types stay behind it.

use std::path::Path;
use std::{fmt, io};

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey};

/// Why a key could not be made, read or written.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct KeyError {
    what: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl KeyError {
    fn new(
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        KeyError {
            what: what.into(),
            source: source.into(),
        }
    }
}

/// An SSH key pair.
#[derive(Clone)]
pub struct KeyPair {
    private: PrivateKey,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyPair").field(&self.public_line()).finish()
    }
}

impl KeyPair {
    /// Makes a new Ed25519 pair: the cheapest to sign and verify, so that the handshake cost measured is sshd's.
    ///
    /// # Errors
    /// [`KeyError`] when the system has no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let private = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519)
            .map_err(|source| KeyError::new("cannot generate an Ed25519 key", source))?;
        Ok(KeyPair { private })
    }

    /// Reads an unencrypted private key in OpenSSH or PEM form.
    ///
    /// # Errors
    /// [`KeyError`] when the file cannot be read, is no private key, or is encrypted.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let what = || format!("cannot read private key {}", path.display());
        let text = std::fs::read_to_string(path).map_err(|source| KeyError::new(what(), source))?;
        let private = russh::keys::decode_secret_key(&text, None)
            .map_err(|source| KeyError::new(what(), source))?;
        if private.is_encrypted() {
            return Err(KeyError::new(
                what(),
                io::Error::other("it is encrypted; pass one without a passphrase"),
            ));
        }
        Ok(KeyPair { private })
    }

    /// The private key as an OpenSSH PEM file, for a server's `HostKey`.
    ///
    /// # Errors
    /// [`KeyError`] when it cannot be encoded.
    pub fn private_pem(&self) -> Result<String, KeyError> {
        self.private
            .to_openssh(LineEnding::LF)
            .map(|pem| pem.to_string())
            .map_err(|source| KeyError::new("cannot encode a private key", source))
    }

    /// The public key as one line of an `authorized_keys` file, without line end.
    #[must_use]
    pub fn public_line(&self) -> String {
        self.private
            .public_key()
            .to_openssh()
            .unwrap_or_else(|_| String::from("(unencodable key)"))
    }

    /// The public key's fingerprint as sshd logs it, `SHA256:…`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let key = self.private.public_key();
        key.fingerprint(HashAlg::Sha256).to_string()
    }

    /// Accepts this key and no other as a host key.
    #[must_use]
    pub fn as_host_key(&self) -> HostKeyCheck {
        HostKeyCheck(Check::Exactly(self.private.public_key().clone()))
    }

    /// russh's own form of the private key, for the embedded server and the client.
    #[must_use]
    pub fn russh(&self) -> &PrivateKey {
        &self.private
    }
}

/// Which host key a client accepts.
#[derive(Debug, Clone)]
pub struct HostKeyCheck(Check);

#[derive(Debug, Clone)]
enum Check {
    Exactly(PublicKey),
    Any,
}

impl HostKeyCheck {
    /// Accepts any host key: for external targets named by the user, whose identity is not what is tested.
    #[must_use]
    pub fn any() -> Self {
        HostKeyCheck(Check::Any)
    }

    /// The key, as it stands in a `known_hosts` file after the name; `None` where any is accepted.
    #[must_use]
    pub fn public_line(&self) -> Option<String> {
        match &self.0 {
            Check::Exactly(key) => key.to_openssh().ok(),
            Check::Any => None,
        }
    }

    pub(crate) fn accepts(&self, offered: &PublicKey) -> bool {
        match &self.0 {
            Check::Exactly(expected) => expected.key_data() == offered.key_data(),
            Check::Any => true,
        }
    }
}
