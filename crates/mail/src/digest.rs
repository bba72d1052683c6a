//! Digests of contents.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// The SHA-256 of a content, computed when it is first asked for and once for all who ask. Clones share it.
#[derive(Clone, Default)]
pub struct Digested(Arc<OnceLock<(Bytes, [u8; 32])>>);

impl Digested {
    /// The digest of `content`. That of the first content is kept; of another, which a part may be given later, it is
    /// computed each time.
    pub fn of(&self, content: &Bytes) -> [u8; 32] {
        let digest = || Sha256::digest(content).into();
        self.0.get_or_init(|| (content.clone(), digest()));
        self.known(content).unwrap_or_else(digest)
    }

    /// The digest of `content`, if it was computed before.
    pub fn known(&self, content: &Bytes) -> Option<[u8; 32]> {
        // The content is kept with its digest, so that nothing else can come to stand in its place.
        let (known, digest) = self.0.get()?;
        let same = (known.as_ptr(), known.len()) == (content.as_ptr(), content.len());
        same.then_some(*digest)
    }
}

impl fmt::Debug for Digested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The same, whether it was asked for or not.
        f.write_str("Digested")
    }
}

/// Octets as lower-case hex digits.
pub fn hex(octets: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = octets.iter().flat_map(|octet| [octet >> 4, octet & 15]);
    digits.map(|digit| DIGITS[usize::from(digit)] as char).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_has_its_digest_whatever_was_asked_before() {
        const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let digested = Digested::default();
        let content = Bytes::from(b"abcabc".to_vec());
        assert_eq!(digested.known(&content.slice(..3)), None);
        assert_eq!(hex(&digested.of(&content.slice(..3))), ABC);
        // Clones know it; others of the same place, and of the same octets, are others.
        assert_eq!(digested.clone().known(&content.slice(..3)).map(|digest| hex(&digest)), Some(ABC.into()));
        assert_eq!(digested.known(&content), None);
        assert_eq!(hex(&digested.of(&content.slice(3..))), ABC);
        assert_eq!(hex(&digested.of(&Bytes::new())), EMPTY);
        assert_eq!(digested.of(&content), Digested::default().of(&content));
    }
}
