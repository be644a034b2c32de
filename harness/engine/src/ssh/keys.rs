//! Ed25519 keys made for one run, or a user's own: the user's and the server's.
//!
//! Keys leave this module as OpenSSH text; russh's types stay behind it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

use russh::Preferred;
use russh::keys::known_hosts::known_host_keys_path;
use russh::keys::ssh_key::{Fingerprint, LineEnding};
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
        HostKeyCheck {
            wanted: Wanted::OneOf(vec![self.private.public_key().clone()]),
            shown: None,
        }
    }

    /// russh's own form of the private key, for the embedded server and the client.
    #[must_use]
    pub fn russh(&self) -> &PrivateKey {
        &self.private
    }
}

/// Host keys that are told apart of one server; more than a balancer has servers behind it.
const MOST_KEYS: usize = 16;

/// Which host key a client accepts, and which keys the server has shown. Clones share the second.
#[derive(Debug, Clone)]
pub struct HostKeyCheck {
    wanted: Wanted,
    /// Every key that was shown, in the order of its first time; `None` where nobody asks.
    shown: Option<Arc<Mutex<Vec<PublicKey>>>>,
}

#[derive(Debug, Clone)]
enum Wanted {
    OneOf(Vec<PublicKey>),
    Fingerprint(Fingerprint),
    Any,
}

impl HostKeyCheck {
    /// Accepts any host key, and remembers what was shown.
    #[must_use]
    pub fn any() -> Self {
        HostKeyCheck::noting(Wanted::Any)
    }

    /// Accepts what a user has of the key: its fingerprint (`SHA256:…`), a public key, a line of `known_hosts`, or the path of
    /// a file with either. Of a `known_hosts` file, the keys of this address count, hashed names too; of a single line, the
    /// key, whatever name stands before it.
    ///
    /// # Errors
    /// [`KeyError`] when it is none of these, or a file that has no key for this address.
    pub fn pinned(text: &str, address: SocketAddr) -> Result<Self, KeyError> {
        let text = text.trim();
        let invalid = |why: String| {
            KeyError::new(
                format!("`--host-key {text}` cannot be used"),
                io::Error::other(why),
            )
        };
        if text.starts_with("SHA256:") {
            let fingerprint = text
                .parse()
                .map_err(|error| invalid(format!("it is no fingerprint: {error}")))?;
            return Ok(HostKeyCheck::noting(Wanted::Fingerprint(fingerprint)));
        }
        if let Some((_, key)) = key_in(text) {
            return Ok(HostKeyCheck::noting(Wanted::OneOf(vec![key])));
        }
        let file = std::fs::read_to_string(text).map_err(|error| {
            invalid(format!(
                "it is neither a fingerprint (`SHA256:…`), nor a public key or a line of known_hosts, nor a file that can \
                 be read ({error})"
            ))
        })?;
        let named = known_host_keys_path(&address.ip().to_string(), address.port(), text)
            .map_err(|error| invalid(error.to_string()))?;
        // A `.pub` file has no host name before its key.
        let bare = file
            .lines()
            .filter_map(key_in)
            .filter(|(before, _)| before.is_empty());
        let keys: Vec<PublicKey> = named
            .into_iter()
            .map(|(_, key)| key)
            .chain(bare.map(|(_, key)| key))
            .collect();
        if keys.is_empty() {
            return Err(invalid(format!(
                "the file has no key for {address}; `ssh-keyscan -p {} {}` prints what the server shows",
                address.port(),
                address.ip()
            )));
        }
        Ok(HostKeyCheck::noting(Wanted::OneOf(keys)))
    }

    fn noting(wanted: Wanted) -> Self {
        HostKeyCheck {
            wanted,
            shown: Some(Arc::default()),
        }
    }

    /// Whether any key will do.
    #[must_use]
    pub fn accepts_any(&self) -> bool {
        matches!(self.wanted, Wanted::Any)
    }

    /// The fingerprints that are accepted; none where any is.
    #[must_use]
    pub fn wanted(&self) -> Vec<String> {
        match &self.wanted {
            Wanted::OneOf(keys) => keys.iter().map(fingerprint).collect(),
            Wanted::Fingerprint(fingerprint) => vec![fingerprint.to_string()],
            Wanted::Any => Vec::new(),
        }
    }

    /// The fingerprints of the keys that the server has shown so far, with their types, in the order of their first time.
    #[must_use]
    pub fn shown(&self) -> Vec<String> {
        let keys = self.shown.as_deref().map(lock);
        keys.iter()
            .flat_map(|keys| keys.iter())
            .map(fingerprint)
            .collect()
    }

    /// Those of them that were not accepted.
    #[must_use]
    pub fn refused(&self) -> Vec<String> {
        let keys = self.shown.as_deref().map(lock);
        keys.iter()
            .flat_map(|keys| keys.iter())
            .filter(|key| !self.is_wanted(key))
            .map(fingerprint)
            .collect()
    }

    /// The key, as it stands in a `known_hosts` file after the name; `None` where any is accepted.
    #[must_use]
    pub fn public_line(&self) -> Option<String> {
        match &self.wanted {
            Wanted::OneOf(keys) => keys.first()?.to_openssh().ok(),
            Wanted::Fingerprint(_) | Wanted::Any => None,
        }
    }

    /// The kinds of host key to ask for, those that are wanted first: a server with keys of several kinds shows the first that
    /// both sides know.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        let all = Preferred::DEFAULT.key;
        let is_wanted = |algorithm: &Algorithm| match &self.wanted {
            Wanted::OneOf(keys) => keys.iter().any(|key| match (key.algorithm(), algorithm) {
                (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
                (of, algorithm) => of == *algorithm,
            }),
            Wanted::Fingerprint(_) | Wanted::Any => true,
        };
        let (mut first, rest): (Vec<_>, Vec<_>) = all.iter().cloned().partition(is_wanted);
        first.extend(rest);
        first
    }

    pub(crate) fn accepts(&self, offered: &PublicKey) -> bool {
        if let Some(shown) = &self.shown {
            let mut shown = lock(shown);
            if shown.len() < MOST_KEYS
                && !shown.iter().any(|key| key.key_data() == offered.key_data())
            {
                shown.push(offered.clone());
            }
        }
        self.is_wanted(offered)
    }

    fn is_wanted(&self, offered: &PublicKey) -> bool {
        match &self.wanted {
            Wanted::OneOf(keys) => keys.iter().any(|key| key.key_data() == offered.key_data()),
            Wanted::Fingerprint(wanted) => offered.fingerprint(HashAlg::Sha256) == *wanted,
            Wanted::Any => true,
        }
    }
}

fn lock(keys: &Mutex<Vec<PublicKey>>) -> MutexGuard<'_, Vec<PublicKey>> {
    keys.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As `ssh-keygen -l` and sshd's log print it.
fn fingerprint(key: &PublicKey) -> String {
    format!("{} ({})", key.fingerprint(HashAlg::Sha256), key.algorithm())
}

/// The public key in a line, and what stands before it: nothing, or the names of `known_hosts`.
fn key_in(line: &str) -> Option<(&str, PublicKey)> {
    let line = line.trim();
    let starts = std::iter::once(0).chain(line.match_indices([' ', '\t']).map(|(at, _)| at + 1));
    starts.take(4).find_map(|at| {
        let key = PublicKey::from_openssh(&line[at..]).ok()?;
        Some((line[..at].trim(), key))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "127.0.0.1:2222";

    fn pinned(text: &str) -> Result<HostKeyCheck, KeyError> {
        HostKeyCheck::pinned(text, ADDRESS.parse().expect("an address"))
    }

    fn public(pair: &KeyPair) -> &PublicKey {
        pair.private.public_key()
    }

    #[test]
    fn host_key_is_pinned_by_whatever_a_user_has_of_it() {
        let (right, wrong) = (
            KeyPair::generate().expect("randomness"),
            KeyPair::generate().expect("randomness"),
        );
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path.display().to_string()
        };
        let line = right.public_line();
        for text in [
            right.fingerprint(),
            line.clone(),
            format!("{line} root@host"),
            format!("[127.0.0.1]:2222 {line}"),
            file("key.pub", format!("{line} root@host\n")),
            file(
                "known_hosts",
                format!("other {}\n[127.0.0.1]:2222 {line}\n", wrong.public_line()),
            ),
        ] {
            let check = pinned(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(check.accepts(public(&right)), "{text}");
            assert_eq!(check.refused(), Vec::<String>::new());
            assert!(!check.accepts(public(&wrong)), "{text}");
            assert_eq!(check.refused(), [fingerprint(public(&wrong))]);
            assert_eq!(check.shown().len(), 2);
        }
        for text in [
            "SHA256:short".to_owned(),
            "nonsense".to_owned(),
            file("of_others", format!("other {line}\n")),
            file("empty", String::new()),
        ] {
            let error = pinned(&text).expect_err("no key for this address");
            let why = std::error::Error::source(&error)
                .expect("a reason")
                .to_string();
            assert!(
                !why.is_empty() && error.to_string().contains(&text),
                "{error}: {why}"
            );
        }
    }

    #[test]
    fn kind_of_the_pinned_key_is_asked_for_first() {
        let rsa = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCWEacAYwDwkfhOHb66qFWYns28SdEpja6itLmQHzg1sTp9dcQj2WO6JWZgcKm0ep6y186oxGTpTHcOxzfDe05VT6a4FOpy0jYG4BrPUhAUiO/qbS6ObPziCiU0GINRvMo93ZJxhvMAjs9arfVT9Aj1m9dGNjvldoehszPiJiNJxpKs22i9Axu8igo+N598cch8cHxjSM2US+g4ZojqmZ7K6V3WhQ4YgbXHKQIWvJVFsNRel8oeIjoBdb3effPIQ56oeJrfWaWRR3BdGopDP28udNdPnSVjWKIZQ1aJMsCpYNC2Utjpr8qVVBT46SZfjbNeI1XHXhvfVVB3LzVMnD67";
        let first = |check: &HostKeyCheck| check.algorithms()[0].clone();
        assert_eq!(first(&HostKeyCheck::any()), Algorithm::Ed25519);
        let check = pinned(rsa).expect("a public key");
        assert!(matches!(first(&check), Algorithm::Rsa { .. }));
        assert_eq!(check.algorithms().len(), Preferred::DEFAULT.key.len());
    }
}
