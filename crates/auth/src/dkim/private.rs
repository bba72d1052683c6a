//! Private keys: reading, making, and the DNS record that belongs to one.

use std::fmt;

/// Kinds of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// RSA with that many bits, 2048 to 4096.
    Rsa(usize),
    /// Ed25519 (RFC 8463).
    Ed25519,
}

/// A private key to sign with.
pub struct SigningKey {}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

impl SigningKey {
    /// Reads the first private key of a PEM text: RSA as PKCS#1 or PKCS#8, Ed25519 as PKCS#8; not encrypted.
    pub fn from_pem(_pem: &[u8]) -> Result<SigningKey, KeyError> {
        Err(KeyError("to come".into()))
    }

    /// `rsa-sha256` or `ed25519-sha256`.
    pub fn algorithm(&self) -> &'static str {
        "rsa-sha256"
    }

    /// Size in bits.
    pub fn bits(&self) -> usize {
        0
    }

    /// The text of the DNS record with its public key: `v=DKIM1; k=rsa; p=…`.
    pub fn record(&self) -> String {
        String::new()
    }
}

/// A new key.
pub struct Generated {
    /// The private key as PEM (PKCS#8).
    pub pem: String,
    /// The text of its DNS record.
    pub record: String,
}

/// Makes a key. RSA takes up to seconds of processor time.
pub fn generate(_kind: Kind) -> Result<Generated, KeyError> {
    Err(KeyError("to come".into()))
}

/// The record as a line of a zone's master file, the text cut into strings of at most 255 bytes:
/// `selector._domainkey.example.org. IN TXT ( "v=DKIM1; …" "…" )`.
pub fn zone_line(_selector: &str, _domain: &str, _record: &str) -> String {
    String::new()
}

/// Why a key cannot be used; one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError(pub String);

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeyError {}
