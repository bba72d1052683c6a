//! Sealing.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::Chain;
use crate::dkim::SigningKey;

/// Seals messages for one domain with one key.
#[derive(Clone, Debug)]
pub struct Sealer {
    /// The key; RSA, since RFC 8617 knows no other and few verify Ed25519 there.
    pub key: Arc<SigningKey>,
    /// Who seals (`d=`).
    pub domain: String,
    /// Where the key's record is (`s=`).
    pub selector: String,
    /// Names of the fields the message signature covers, each as often as it is present.
    pub fields: Vec<String>,
}

/// The values of the three fields of a set. They are to be written on top of the message exactly as `NAME: VALUE`, in
/// the order seal, message signature, results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Value of `ARC-Seal`.
    pub seal: String,
    /// Value of `ARC-Message-Signature`.
    pub message_signature: String,
    /// Value of `ARC-Authentication-Results`.
    pub results: String,
}

impl Sealer {
    /// A sealer with the usual choice of fields.
    pub fn new(key: Arc<SigningKey>, domain: &str, selector: &str) -> Sealer {
        Sealer { key, domain: domain.to_owned(), selector: selector.to_owned(), fields: Vec::new() }
    }

    /// Adds a set to the chain of a message as it is about to be sent on. `chain` is what [`super::verify`] found when
    /// the message came in, before any change; `results` is the value of the `Authentication-Results` field to
    /// seal (`authserv-id; arc=…; …`). `header` is the whole header as it is sent, `body` all behind the empty line.
    pub fn seal(
        &self,
        _header: &[u8],
        _body: &[Bytes],
        _chain: &Chain,
        _results: &str,
        _now: i64,
    ) -> Result<Sealed, SealError> {
        Err(SealError::Full)
    }
}

/// Why a message was not sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealError {
    /// The chain has fifty sets (RFC 8617 section 4.2.1).
    Full,
    /// The newest set already says that the chain failed; nothing may be added (RFC 8617 section 5.1).
    Failed,
    /// The message or the configuration cannot be sealed; one sentence.
    Unfit(String),
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SealError::Full => f.write_str("the ARC chain has fifty sets, and there may be no more"),
            SealError::Failed => {
                f.write_str("the ARC chain has failed before, and nothing may be added to it")
            }
            SealError::Unfit(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for SealError {}
