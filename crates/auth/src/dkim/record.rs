//! Key records (RFC 6376 section 3.6.1) and the public keys in them.

use ring::digest;
use ring::signature::{
    ED25519, RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use rsa::pkcs1v15::Pkcs1v15Sign;
use rsa::{BigUint, RsaPublicKey};

use super::canon::Hash;
use super::tags::{Tags, short};

/// A key's record.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) key: PublicKey,
    /// Hashes it may be used with (`h=`); any if `None`.
    pub(crate) hashes: Option<Vec<String>>,
    /// The domain is testing DKIM (`t=y`).
    pub(crate) testing: bool,
    /// `i=` must be in the domain itself, not below it (`t=s`).
    pub(crate) strict: bool,
    /// Pattern for the local part of `i=` (`g=`, RFC 4871 section 3.6.1; gone since RFC 6376).
    pub(crate) granularity: Option<String>,
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PublicKey {
    /// Modulus and exponent, big-endian, without leading zeros.
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    /// RFC 8463.
    Ed25519(Vec<u8>),
}

/// Largest RSA key that is calculated with, in bits.
pub(crate) const LARGEST: usize = 8192;

/// Smallest RSA key that `ring` calculates with, in bits.
const RING_SMALLEST: usize = 1024;

impl Record {
    /// Reads a record. The error is a clause that says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Record, String> {
        let tags = Tags::parse(text).map_err(|why| format!("is no key record: {why}"))?;
        match tags.get("v") {
            Some("DKIM1") if tags.first() == Some("v") => {}
            Some("DKIM1") => return Err("has v= behind other tags".into()),
            Some(other) => return Err(format!("is of version {:?}, not DKIM1", short(other))),
            None => {}
        }
        let services = tags.list("s").map(Iterator::collect::<Vec<_>>);
        if services.is_some_and(|list| !list.iter().any(|one| matches!(*one, "*" | "email"))) {
            return Err(format!("is not for mail: s={}", short(tags.get("s").unwrap_or_default())));
        }
        let flags: Vec<&str> = tags.list("t").into_iter().flatten().collect();
        Ok(Record {
            key: public_key(&tags)?,
            hashes: tags.list("h").map(|list| list.map(str::to_owned).collect()),
            testing: flags.contains(&"y"),
            strict: flags.contains(&"s"),
            granularity: tags.get("g").map(str::to_owned),
        })
    }
}

fn public_key(tags: &Tags<'_>) -> Result<PublicKey, String> {
    let kind = tags.get("k").unwrap_or("rsa");
    let wrong = |why: &str| Err(format!("has a p= that {why}"));
    let Some(bytes) = tags.bytes("p").map_err(|why| format!("is damaged: {why}"))? else {
        return Err("has no key (p=)".into());
    };
    match kind {
        _ if bytes.is_empty() => Err("says that the key is revoked (p= is empty)".into()),
        "rsa" => match rsa_key(&bytes) {
            Some(key) => Ok(key),
            None => wrong("is no RSA public key"),
        },
        "ed25519" if bytes.len() == 32 => Ok(PublicKey::Ed25519(bytes)),
        "ed25519" => {
            wrong(&format!("is no Ed25519 public key: it is of {} bytes instead of 32", bytes.len()))
        }
        other => Err(format!("has a key of the unknown kind {:?} (k=)", short(other))),
    }
}

impl PublicKey {
    /// As `k=` and the first half of `a=` have it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            PublicKey::Rsa { .. } => "rsa",
            PublicKey::Ed25519(_) => "ed25519",
        }
    }

    /// Size in bits.
    pub(crate) fn bits(&self) -> usize {
        match self {
            PublicKey::Rsa { modulus, .. } => {
                modulus.len() * 8 - modulus.first().map_or(0, |byte| byte.leading_zeros() as usize)
            }
            PublicKey::Ed25519(_) => 256,
        }
    }

    /// Whether `signature` is this key's for `data`: RSA PKCS#1 v1.5 over the hash (RFC 8017 section 8.2), Ed25519 over
    /// the SHA-256 of the data (RFC 8463 section 3).
    pub(crate) fn verify(&self, hash: Hash, data: &[u8], signature: &[u8]) -> bool {
        match self {
            PublicKey::Ed25519(key) => {
                let hashed = digest::digest(&digest::SHA256, data);
                UnparsedPublicKey::new(&ED25519, key).verify(hashed.as_ref(), signature).is_ok()
            }
            PublicKey::Rsa { modulus, exponent } if modulus.len() * 8 >= RING_SMALLEST => {
                let algorithm = match hash {
                    Hash::Sha1 => &RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
                    Hash::Sha256 => &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
                };
                RsaPublicKeyComponents { n: modulus, e: exponent }.verify(algorithm, data, signature).is_ok()
            }
            PublicKey::Rsa { modulus, exponent } => {
                let hashed = digest::digest(hash.digest(), data);
                let key =
                    RsaPublicKey::new(BigUint::from_bytes_be(modulus), BigUint::from_bytes_be(exponent));
                key.is_ok_and(|key| key.verify(padding(hash), hashed.as_ref(), signature).is_ok())
            }
        }
    }
}

/// How `rsa` pads a hash: behind the ASN.1 that names it (RFC 8017 section 9.2, note 1).
pub(crate) fn padding(hash: Hash) -> Pkcs1v15Sign {
    let (length, prefix): (usize, &[u8]) = match hash {
        Hash::Sha1 => (20, b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14"),
        Hash::Sha256 => (32, b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"),
    };
    Pkcs1v15Sign { hash_len: Some(length), prefix: prefix.into() }
}

/// `rsaEncryption` with its NULL, as it stands in a SubjectPublicKeyInfo.
const RSA_ALGORITHM: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";

/// An RSA key as it stands in `p=`: a SubjectPublicKeyInfo, as everybody writes it, or the bare RSAPublicKey that
/// RFC 6376 names.
fn rsa_key(der: &[u8]) -> Option<PublicKey> {
    let (outer, _) = der_value(der, 0x30)?;
    let key = match outer.strip_prefix(RSA_ALGORITHM) {
        Some(rest) => {
            let (bits, _) = der_value(rest, 0x03)?;
            der_value(bits.strip_prefix(&[0])?, 0x30)?.0
        }
        None => outer,
    };
    let (modulus, rest) = der_value(key, 0x02)?;
    let (exponent, _) = der_value(rest, 0x02)?;
    let plain = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
    let (modulus, exponent) = (plain(modulus), plain(exponent));
    (!modulus.is_empty() && !exponent.is_empty()).then_some(PublicKey::Rsa { modulus, exponent })
}

/// A value of DER with that tag, and what follows it.
fn der_value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    (found == tag).then_some((value, rest))
}

/// A value of DER: tag, length, and what it is made of.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let bytes = length.to_be_bytes();
    let used = bytes.iter().position(|byte| *byte != 0).and_then(|at| bytes.get(at..)).unwrap_or_default();
    let mut out = vec![tag];
    if length >= 0x80 {
        out.push(0x80 + used.len() as u8);
        out.extend_from_slice(used);
    } else {
        out.push(length as u8);
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// A SubjectPublicKeyInfo around an RSAPublicKey.
pub(crate) fn public_key_info(rsa: &[u8]) -> Vec<u8> {
    der(0x30, &[RSA_ALGORITHM, &der(0x03, &[&[0], rsa])])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dkim::tags::base64;

    /// Modulus of a key of 512 bits; its factors are nobody's concern.
    fn small(prefix: &[u8]) -> Vec<u8> {
        let number = der(0x02, &[prefix, &[0xa5; 64]]);
        der(0x30, &[&number, &der(0x02, &[&[1, 0, 1]])])
    }

    #[test]
    fn records_are_read_or_say_what_is_wrong() {
        let ed = base64(&[7; 32]);
        for (text, why) in [
            ("", "is no key record: it is empty"),
            ("v=spf1 -all", "is of version \"spf1 -all\", not DKIM1"),
            ("v=DKIM3; p=AA", "is of version \"DKIM3\", not DKIM1"),
            ("k=rsa; v=DKIM1; p=AA", "has v= behind other tags"),
            ("some words", "is no key record: \"some words\" has no value"),
            ("v=DKIM1; k=rsa; t; p=AA", "is no key record: \"t\" has no value"),
            ("v=DKIM1; k=rsa", "has no key (p=)"),
            ("v=DKIM1; p= ", "says that the key is revoked (p= is empty)"),
            ("v=DKIM1; p=***", "is damaged: p= is not base64"),
            ("v=DKIM1; p=AAAA", "has a p= that is no RSA public key"),
            ("k=ed25519; p=AAAA", "has a p= that is no Ed25519 public key: it is of 3 bytes instead of 32"),
            ("k=dsa; p=AAAA", "has a key of the unknown kind \"dsa\" (k=)"),
            (&format!("k=ed25519; s=chat; p={ed}"), "is not for mail: s=chat"),
        ] {
            assert_eq!(Record::parse(text).unwrap_err(), why, "{text}");
        }
        let record =
            Record::parse(&format!("v=DKIM1; k=ed25519; h=sha1 : sha256; s=x:email; t=y : s;n=;p={ed};"))
                .unwrap();
        assert_eq!(record.key, PublicKey::Ed25519(vec![7; 32]));
        assert_eq!(record.hashes, Some(vec!["sha1".to_owned(), "sha256".to_owned()]));
        assert!(record.testing && record.strict);
        let record = Record::parse(&format!("p={};k=ed25519", ed.trim_end_matches('='))).unwrap();
        assert!(!record.testing && !record.strict && record.hashes.is_none());
    }

    #[test]
    fn rsa_keys_stand_bare_or_with_their_algorithm() {
        let bare = small(&[0]);
        for text in [base64(&bare), base64(&public_key_info(&bare)), base64(&small(&[]))] {
            let record = Record::parse(&format!("p={text}")).unwrap();
            assert_eq!((record.key.kind(), record.key.bits()), ("rsa", 512));
            assert!(!record.key.verify(Hash::Sha256, b"", &[1; 64]));
        }
        for cut in 0..bare.len() {
            assert!(rsa_key(&bare[..cut]).is_none());
        }
    }
}
