//! Private keys: reading, making, and the DNS record that belongs to one.

use std::fmt;

use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPublicKey};
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use rsa::rand_core::OsRng;
use rsa::traits::PublicKeyParts;
use rsa::{RsaPrivateKey, RsaPublicKey};

use super::canon::Hash;
use super::read::ascii;
use super::record::{padding, public_key_info};
use super::tags::{base64, unbase64};

/// Shortest RSA key that may sign (RFC 8301 section 3.2), in bits.
const SHORTEST: usize = 1024;

/// Longest RSA key that may sign, in bits.
const LONGEST: usize = 8192;

/// Kinds of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// RSA with that many bits, 2048 to 4096.
    Rsa(usize),
    /// Ed25519 (RFC 8463). Few verifiers know it yet: sign with an RSA key besides.
    Ed25519,
}

/// A private key to sign with.
pub struct SigningKey(Secret);

enum Secret {
    Rsa(Box<RsaKeyPair>),
    /// Of a size that `ring` does not sign with: 1024 bits, 1536 bits and the like.
    OddRsa(Box<RsaPrivateKey>),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// Reads the first private key of a PEM text: RSA as PKCS#1 or PKCS#8, Ed25519 as PKCS#8; not encrypted.
    pub fn from_pem(pem: &[u8]) -> Result<SigningKey, KeyError> {
        let text = std::str::from_utf8(pem).map_err(|_| wrong("it is no PEM text"))?;
        let (label, body) = block(text)?;
        if label == "ENCRYPTED PRIVATE KEY" || body.contains("ENCRYPTED") {
            return Err(wrong("the key is encrypted with a password; it must be stored without one"));
        }
        let der = unbase64(body).ok_or_else(|| wrong("the text between BEGIN and END is not base64"))?;
        match label {
            "RSA PRIVATE KEY" => {
                rsa_key(RsaKeyPair::from_der(&der).ok(), || RsaPrivateKey::from_pkcs1_der(&der).ok())
            }
            "PRIVATE KEY" => match Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
                Ok(key) => Ok(SigningKey(Secret::Ed25519(key))),
                Err(_) => {
                    rsa_key(RsaKeyPair::from_pkcs8(&der).ok(), || RsaPrivateKey::from_pkcs8_der(&der).ok())
                }
            },
            other => Err(wrong(&format!("it holds a key of the form {other:?}; DKIM needs RSA or Ed25519"))),
        }
    }

    /// As `a=` has it: `rsa-sha256` or `ed25519-sha256`.
    pub fn algorithm(&self) -> &'static str {
        match &self.0 {
            Secret::Rsa(_) | Secret::OddRsa(_) => "rsa-sha256",
            Secret::Ed25519(_) => "ed25519-sha256",
        }
    }

    /// Size in bits.
    pub fn bits(&self) -> usize {
        match &self.0 {
            Secret::Rsa(key) => key.public().modulus_len() * 8,
            Secret::OddRsa(key) => key.n().bits(),
            Secret::Ed25519(_) => 256,
        }
    }

    /// The text of the DNS record with its public key: `v=DKIM1; k=rsa; p=…`.
    pub fn record(&self) -> String {
        match &self.0 {
            Secret::Rsa(key) => rsa_record(key.public().as_ref()),
            // What was read can be written: an empty key would be the only other way, and it says "revoked".
            Secret::OddRsa(key) => {
                let public = RsaPublicKey::from(key.as_ref()).to_pkcs1_der();
                rsa_record(public.as_ref().map_or(&[], |der| der.as_bytes()))
            }
            Secret::Ed25519(key) => format!("v=DKIM1; k=ed25519; p={}", base64(key.public_key().as_ref())),
        }
    }

    /// Signs canonicalized header: RSA over its SHA-256, Ed25519 over its SHA-256 as data (RFC 8463 section 3).
    pub(crate) fn sign(&self, data: &[u8]) -> Result<Vec<u8>, KeyError> {
        let hashed = digest::digest(&digest::SHA256, data);
        match &self.0 {
            Secret::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), data, &mut signature)
                    .map_err(|_| wrong("the RSA key cannot sign"))?;
                Ok(signature)
            }
            Secret::OddRsa(key) => key
                .sign_with_rng(&mut OsRng, padding(Hash::Sha256), hashed.as_ref())
                .map_err(|why| wrong(&format!("the RSA key cannot sign: {why}"))),
            Secret::Ed25519(key) => Ok(key.sign(hashed.as_ref()).as_ref().to_vec()),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, {} bits)", self.algorithm(), self.bits())
    }
}

/// A key for `ring` if it takes it, else for `rsa`.
fn rsa_key(
    ring: Option<RsaKeyPair>,
    odd: impl Fn() -> Option<RsaPrivateKey>,
) -> Result<SigningKey, KeyError> {
    if let Some(key) = ring {
        return Ok(SigningKey(Secret::Rsa(Box::new(key))));
    }
    let key = odd().ok_or_else(|| wrong("it holds neither an RSA nor an Ed25519 private key"))?;
    let bits = key.n().bits();
    if !(SHORTEST..=LONGEST).contains(&bits) {
        return Err(wrong(&format!("the RSA key has {bits} bits; {SHORTEST} to {LONGEST} can be used")));
    }
    key.validate().map_err(|why| wrong(&format!("the RSA key is damaged: {why}")))?;
    Ok(SigningKey(Secret::OddRsa(Box::new(key))))
}

fn rsa_record(public: &[u8]) -> String {
    format!("v=DKIM1; k=rsa; p={}", base64(&public_key_info(public)))
}

/// Label and text of the first private key in a PEM text.
fn block(text: &str) -> Result<(&str, &str), KeyError> {
    let mut rest = text;
    let mut seen = None;
    while let Some((_, begin)) = rest.split_once("-----BEGIN ") {
        let (label, behind) = begin.split_once("-----").ok_or_else(|| wrong("its BEGIN line is cut off"))?;
        let end = format!("-----END {label}-----");
        let (body, behind) =
            behind.split_once(&end).ok_or_else(|| wrong(&format!("its line {end:?} is missing")))?;
        if label.ends_with("PRIVATE KEY") {
            return Ok((label, body));
        }
        seen = Some(label);
        rest = behind;
    }
    Err(wrong(&match seen {
        Some(label) => format!("it holds no private key, only {label:?}"),
        None => "it holds no PEM text (-----BEGIN … PRIVATE KEY-----)".into(),
    }))
}

/// A new key.
pub struct Generated {
    /// The private key as PEM (PKCS#8).
    pub pem: String,
    /// The text of its DNS record.
    pub record: String,
}

impl fmt::Debug for Generated {
    /// Without the private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Generated({})", self.record)
    }
}

/// PKCS#8 (RFC 8410 section 7) before the 32 bytes of an Ed25519 key. The form without public key, which everybody reads.
const ED25519_PKCS8: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

/// Makes a key. RSA takes up to seconds of processor time.
pub fn generate(kind: Kind) -> Result<Generated, KeyError> {
    let der = match kind {
        Kind::Rsa(bits) if !(2048..=4096).contains(&bits) => {
            return Err(wrong(&format!("an RSA key of {bits} bits is not made; 2048 to 4096 are sensible")));
        }
        Kind::Rsa(bits) => {
            let key =
                RsaPrivateKey::new(&mut OsRng, bits).map_err(|why| wrong(&format!("no RSA key: {why}")))?;
            let der = key.to_pkcs8_der().map_err(|why| wrong(&format!("no RSA key: {why}")))?;
            der.as_bytes().to_vec()
        }
        Kind::Ed25519 => {
            let mut seed = [0; 32];
            SystemRandom::new().fill(&mut seed).map_err(|_| wrong("the system gives no random numbers"))?;
            [ED25519_PKCS8, &seed].concat()
        }
    };
    let text = base64(&der);
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().copied().map(char::from));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    let record = SigningKey::from_pem(pem.as_bytes())?.record();
    Ok(Generated { pem, record })
}

/// Longest string of a TXT record, in bytes (RFC 1035 section 3.3).
const STRING: usize = 255;

/// A record as it stands in a zone's master file, the text cut into strings of at most 255 bytes:
/// `selector._domainkey.example.org. IN TXT ( "v=DKIM1; …"` and the further ones each on a line of its own.
pub fn zone_line(selector: &str, domain: &str, record: &str) -> String {
    let (selector, domain) = (ascii(selector), ascii(domain));
    let mut line = format!("{selector}._domainkey.{}. IN TXT ( ", domain.trim_end_matches('.'));
    for (count, string) in record.as_bytes().chunks(STRING).enumerate() {
        line.push_str(if count > 0 { "\n\t\"" } else { "\"" });
        for &byte in string {
            match byte {
                b'"' | b'\\' => line.extend(['\\', char::from(byte)]),
                b' '..=b'~' => line.push(char::from(byte)),
                _ => line.push_str(&format!("\\{byte:03}")),
            }
        }
        line.push('"');
    }
    line + " )"
}

/// Why a key cannot be used; one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError(pub String);

fn wrong(why: &str) -> KeyError {
    KeyError(why.to_owned())
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeyError {}

#[cfg(test)]
mod tests {
    use super::super::record::Record;
    use super::*;

    /// Whether the key's record verifies what the key signs.
    fn holds(key: &SigningKey) -> bool {
        let record = Record::parse(&key.record()).unwrap();
        assert_eq!(record.key.bits(), key.bits());
        let signature = key.sign(b"data").unwrap();
        assert!(!record.key.verify(Hash::Sha256, b"Data", &signature));
        record.key.verify(Hash::Sha256, b"data", &signature)
    }

    #[test]
    fn new_keys_sign_and_their_records_verify() {
        for (kind, algorithm, bits) in
            [(Kind::Ed25519, "ed25519-sha256", 256), (Kind::Rsa(2048), "rsa-sha256", 2048)]
        {
            let made = generate(kind).unwrap();
            let key = SigningKey::from_pem(made.pem.as_bytes()).unwrap();
            assert_eq!((key.algorithm(), key.bits(), key.record()), (algorithm, bits, made.record));
            assert!(holds(&key));
            let debug = format!("{key:?}");
            assert_eq!(debug, format!("SigningKey({algorithm}, {bits} bits)"));
        }
        for bits in [0, 1024, 2047, 4097, usize::MAX] {
            assert!(generate(Kind::Rsa(bits)).is_err());
        }
    }

    #[test]
    fn sizes_that_ring_does_not_take_sign_too() {
        let small = RsaPrivateKey::new(&mut OsRng, 1024).unwrap();
        let pem = |der: &[u8], label: &str| {
            format!("words\n-----BEGIN {label}-----\r\n{}\r\n-----END {label}-----\n", base64(der))
        };
        let one = rsa::pkcs1::EncodeRsaPrivateKey::to_pkcs1_der(&small).unwrap();
        let eight = small.to_pkcs8_der().unwrap();
        for text in [pem(one.as_bytes(), "RSA PRIVATE KEY"), pem(eight.as_bytes(), "PRIVATE KEY")] {
            let key = SigningKey::from_pem(text.as_bytes()).unwrap();
            assert!(matches!(key.0, Secret::OddRsa(_)) && holds(&key));
        }
        let tiny = RsaPrivateKey::new(&mut OsRng, 512).unwrap().to_pkcs8_der().unwrap();
        let why = SigningKey::from_pem(pem(tiny.as_bytes(), "PRIVATE KEY").as_bytes()).unwrap_err();
        assert_eq!(why.to_string(), "the RSA key has 512 bits; 1024 to 8192 can be used");
    }

    #[test]
    fn what_is_no_key_says_why() {
        let pem = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----");
        for (text, why) in [
            (String::new(), "it holds no PEM text (-----BEGIN … PRIVATE KEY-----)"),
            (pem("PUBLIC KEY", "AAAA"), "it holds no private key, only \"PUBLIC KEY\""),
            (pem("PRIVATE KEY", "AAAA"), "it holds neither an RSA nor an Ed25519 private key"),
            (pem("PRIVATE KEY", "?"), "the text between BEGIN and END is not base64"),
            (
                pem("EC PRIVATE KEY", "AAAA"),
                "it holds a key of the form \"EC PRIVATE KEY\"; DKIM needs RSA or Ed25519",
            ),
            (
                pem("ENCRYPTED PRIVATE KEY", "AAAA"),
                "the key is encrypted with a password; it must be stored without one",
            ),
            (
                pem("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\n\nAAAA"),
                "the key is encrypted with a password; it must be stored without one",
            ),
            ("-----BEGIN PRIVATE KEY-----\nAAAA".into(), "its line \"-----END PRIVATE KEY-----\" is missing"),
            ("-----BEGIN ".into(), "its BEGIN line is cut off"),
        ] {
            assert_eq!(SigningKey::from_pem(text.as_bytes()).unwrap_err().to_string(), why);
        }
        assert!(SigningKey::from_pem(&[0xff]).is_err());
    }

    #[test]
    fn records_are_cut_into_strings() {
        let line = zone_line("s1", "example.org.", "v=DKIM1; p=AA");
        assert_eq!(line, "s1._domainkey.example.org. IN TXT ( \"v=DKIM1; p=AA\" )");
        let line = zone_line("s1", "bücher.example", &"ab\"\\\u{e4}".repeat(60));
        assert!(line.starts_with("s1._domainkey.xn--bcher-kva.example. IN TXT ( \"ab\\\"\\\\\\195\\164ab"));
        let strings: Vec<&str> = line.split("\n\t").collect();
        assert_eq!(strings.len(), 2);
    }
}
