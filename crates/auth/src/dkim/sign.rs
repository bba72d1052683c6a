//! Signing.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::{Canon, SigningKey};

/// Fields that are signed where they are present.
pub const FIELDS: &[&str] = &["From"];

/// Fields that are signed once more than present, so that nobody can add one.
pub const OVERSIGNED: &[&str] = &["From"];

/// Signs messages for one domain with one key.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The key.
    pub key: Arc<SigningKey>,
    /// Who signs (`d=`).
    pub domain: String,
    /// Where the key's record is (`s=`).
    pub selector: String,
    /// On whose behalf (`i=`): `user@domain` or `@sub.domain`, under `domain`. Left out if `None`.
    pub identity: Option<String>,
    /// Canonicalization of header and body (`c=`).
    pub canonicalization: (Canon, Canon),
    /// Names of the fields to sign, each as often as it is present.
    pub fields: Vec<String>,
    /// Names of the fields to sign once more than they are present.
    pub oversigned: Vec<String>,
    /// How long the signature is good, in seconds (`x=` from `t=`); for ever if `None`.
    pub lifetime: Option<u64>,
}

impl Signer {
    /// A signer with the usual choice: relaxed/relaxed, [`FIELDS`], [`OVERSIGNED`], no expiry.
    pub fn new(key: Arc<SigningKey>, domain: &str, selector: &str) -> Signer {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Signer {
            key,
            domain: domain.to_owned(),
            selector: selector.to_owned(),
            identity: None,
            canonicalization: (Canon::Relaxed, Canon::Relaxed),
            fields: owned(FIELDS),
            oversigned: owned(OVERSIGNED),
            lifetime: None,
        }
    }

    /// Signs: gives the value of the `DKIM-Signature` field, folded with CR LF and a tab at 78 columns. The field is to
    /// be written exactly as `DKIM-Signature: VALUE` (simple canonicalization signs every byte of it).
    /// `header` is the whole header, with or without the empty line; `body` all behind that line, in pieces.
    pub fn sign(&self, header: &[u8], body: &[Bytes], now: i64) -> Result<String, SignError> {
        sign_all(&[self], header, body, now).swap_remove(0)
    }
}

/// Signs with several keys: the values in their order. The body is hashed once for all that canonicalize it alike.
pub fn sign_all(
    signers: &[&Signer],
    _header: &[u8],
    _body: &[Bytes],
    _now: i64,
) -> Vec<Result<String, SignError>> {
    signers.iter().map(|_| Err(SignError("to come".into()))).collect()
}

/// Why a message was not signed; one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignError(pub String);

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SignError {}
