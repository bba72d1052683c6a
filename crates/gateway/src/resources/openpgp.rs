//! Detached OpenPGP signatures (RFC 9580), verified by keys that an administrator has pinned in a file.
//!
//! Cryptography and packets are rPGP's; what a signature must be to count is decided here: made by a key that is bound to
//! its owner, may sign, was not revoked, and had not expired then; not older than its key, not of the future, not expired,
//! and over a digest that nobody can forge.

use std::io::{Cursor, Read as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use pgp::composed::{Deserializable, DetachedSignature, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType, SubpacketData};
use pgp::types::{KeyDetails, Tag};

/// Largest file of keys, in bytes.
const KEY_FILE: u64 = 4 << 20;

/// Keys and signatures that are looked at in one file.
const MOST: usize = 64;

/// A signer's clock may be so much ahead of ours.
const AHEAD: Duration = Duration::from_secs(600);

/// Begins a block of keys.
const BLOCK: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// The keys of a file.
#[derive(Debug, Default)]
pub struct Keys {
    signers: Vec<Signer>,
}

/// A key or subkey that may sign.
#[derive(Debug)]
struct Signer {
    key: SignedPublicKey,
    /// The place of the subkey; None for the primary key.
    subkey: Option<usize>,
    /// Seconds since 1970; None: never.
    expires: Option<u64>,
}

/// A good signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Fingerprint of the primary key, in hex.
    pub by: String,
    /// When, in seconds since 1970.
    pub at: u64,
}

impl Keys {
    /// Reads keys, armored or not. The error names the file.
    pub fn read(path: &Path) -> Result<Keys, String> {
        let told = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let file = std::fs::File::open(path).map_err(|why| told(&why))?;
        let mut bytes = Vec::new();
        file.take(KEY_FILE + 1).read_to_end(&mut bytes).map_err(|why| told(&why))?;
        if bytes.len() as u64 > KEY_FILE {
            return Err(told(&format!("larger than {KEY_FILE} bytes")));
        }
        Keys::parse(&bytes).map_err(|why| told(&why))
    }

    /// Keys from the octets of such a file: one or several blocks.
    pub fn parse(bytes: &[u8]) -> Result<Keys, String> {
        let (mut signers, mut why) = (Vec::new(), None);
        for block in blocks(bytes) {
            let (keys, _) = SignedPublicKey::from_reader_many(Cursor::new(block))
                .map_err(|why| format!("no OpenPGP key: {why}"))?;
            for key in keys.take(MOST) {
                let key = key.map_err(|why| format!("no OpenPGP key: {why}"))?;
                match may_sign(key) {
                    Ok(more) => signers.extend(more),
                    Err(reason) => why = Some(reason),
                }
            }
        }
        match signers.is_empty() {
            false => Ok(Keys { signers }),
            true => Err(why.unwrap_or_else(|| "holds no OpenPGP key".into())),
        }
    }

    /// These and those of another file.
    pub fn and(mut self, other: Keys) -> Keys {
        self.signers.extend(other.signers);
        self
    }

    /// Those that an id names: the fingerprint of the primary key or of the subkey that signs, or its last digits, hex.
    pub fn named(self, ids: &[String]) -> Keys {
        let named = |signer: &Signer| {
            let names = [signer.name(), signer.fingerprint()];
            ids.iter().any(|id| names.iter().any(|name| name.ends_with(&id.to_ascii_lowercase())))
        };
        Keys { signers: self.signers.into_iter().filter(named).collect() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.signers.is_empty()
    }

    /// Fingerprints of the primary keys, in hex, each once.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.signers.iter().map(Signer::name).collect();
        names.dedup();
        names
    }

    /// Who of them has signed this content, by a detached signature, armored or not; or why nobody has.
    pub fn verify(&self, content: &[u8], signature: &[u8]) -> Result<Signed, String> {
        self.verify_at(content, signature, SystemTime::now())
    }

    fn verify_at(&self, content: &[u8], signature: &[u8], now: SystemTime) -> Result<Signed, String> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (signatures, _) = DetachedSignature::from_reader_many(Cursor::new(signature))
            .map_err(|why| format!("no OpenPGP signature: {why}"))?;
        let mut why = "holds no OpenPGP signature".to_owned();
        for signature in signatures.take(MOST) {
            let signature = signature.map_err(|why| format!("no OpenPGP signature: {why}"))?.signature;
            match self.signed(content, &signature, now) {
                Ok(signed) => return Ok(signed),
                Err(reason) => why = reason,
            }
        }
        Err(why)
    }

    fn signed(&self, content: &[u8], signature: &Signature, now: Duration) -> Result<Signed, String> {
        let at = countable(signature, now)?;
        let made_by: Vec<&Signer> =
            self.signers.iter().filter(|signer| signer.is_issuer(signature)).collect();
        if made_by.is_empty() {
            let by = signature.issuer_fingerprint().first().map(|fingerprint| fingerprint.to_string());
            let by = by.or_else(|| signature.issuer_key_id().first().map(|id| id.to_string()));
            return Err(format!(
                "signed by {}, which is none of the keys",
                by.unwrap_or_else(|| "nobody".into())
            ));
        }
        let mut why = String::new();
        for signer in made_by {
            match signer.verify(content, signature, at) {
                Ok(()) => return Ok(Signed { by: signer.name(), at }),
                Err(reason) => why = reason,
            }
        }
        Err(why)
    }
}

impl Signer {
    /// The fingerprint of the primary key.
    fn name(&self) -> String {
        self.key.primary_key.fingerprint().to_string()
    }

    /// The fingerprint of the key that signs itself.
    fn fingerprint(&self) -> String {
        self.subkey().map_or_else(|| self.name(), |subkey| subkey.key.fingerprint().to_string())
    }

    fn subkey(&self) -> Option<&SignedPublicSubKey> {
        self.key.public_subkeys.get(self.subkey?)
    }

    fn is_issuer(&self, signature: &Signature) -> bool {
        let (fingerprint, id) = match self.subkey() {
            Some(subkey) => (subkey.key.fingerprint(), subkey.key.legacy_key_id()),
            None => (self.key.primary_key.fingerprint(), self.key.primary_key.legacy_key_id()),
        };
        // Where there is a fingerprint, the id says no more than it.
        match signature.issuer_fingerprint().as_slice() {
            [] => signature.issuer_key_id().into_iter().any(|issuer| *issuer == id),
            issuers => issuers.iter().any(|issuer| **issuer == fingerprint),
        }
    }

    fn verify(&self, content: &[u8], signature: &Signature, at: u64) -> Result<(), String> {
        let (born, verified) = match self.subkey() {
            Some(subkey) => (subkey.key.created_at(), signature.verify(&subkey.key, content)),
            None => (self.key.primary_key.created_at(), signature.verify(&self.key.primary_key, content)),
        };
        verified.map_err(|_| format!("the signature by {} is not of this content", self.name()))?;
        if at < u64::from(born.as_secs()) {
            return Err(format!("signed by {} before that key was made", self.name()));
        }
        if self.expires.is_some_and(|expires| at >= expires) {
            return Err(format!("signed by {} after that key had expired", self.name()));
        }
        Ok(())
    }
}

/// When a signature was made, if it is of a kind that can count now.
fn countable(signature: &Signature, now: Duration) -> Result<u64, String> {
    if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
        return Err("no signature of a file".into());
    }
    match signature.hash_alg() {
        Some(HashAlgorithm::Md5 | HashAlgorithm::Sha1 | HashAlgorithm::Ripemd160) | None => {
            let hash = signature.hash_alg().map_or_else(String::new, |hash| format!("{hash:?}"));
            return Err(format!("signed over {hash}, which can be forged"));
        }
        Some(_) => {}
    }
    let unknown =
        |data: &SubpacketData| matches!(data, SubpacketData::Experimental(..) | SubpacketData::Other(..));
    let mut subpackets = signature.config().into_iter().flat_map(|config| config.hashed_subpackets());
    if subpackets.any(|subpacket| subpacket.is_critical && unknown(&subpacket.data)) {
        return Err("the signature depends on something that is not known here".into());
    }
    let at = signature.created().ok_or("a signature without a date")?;
    let at = Duration::from_secs(at.as_secs().into());
    if at > now + AHEAD {
        return Err("signed in the future; is the clock of this host right?".into());
    }
    let lasts = signature.signature_expiration_time().map(|time| Duration::from_secs(time.as_secs().into()));
    if lasts.is_some_and(|lasts| !lasts.is_zero() && at + lasts <= now) {
        return Err("the signature has expired".into());
    }
    Ok(at.as_secs())
}

/// What of a key may sign, or why nothing may.
fn may_sign(key: SignedPublicKey) -> Result<Vec<Signer>, String> {
    let (primary, name) = (&key.primary_key, key.primary_key.fingerprint().to_string());
    if key.details.revocation_signatures.iter().any(|signature| signature.verify_key(primary).is_ok()) {
        return Err(format!("the key {name} is revoked"));
    }
    let own =
        newest(own_signatures(&key)).ok_or_else(|| format!("the key {name} is not signed by itself"))?;
    let primary_expires = expires(primary.created_at().as_secs(), own);
    let primary_signs = own.key_flags().sign() || !has_flags(own);
    let subkeys: Vec<(usize, Option<u64>)> = key
        .public_subkeys
        .iter()
        .enumerate()
        .filter_map(|(place, subkey)| Some((place, subkey_expires(&key, subkey)?)))
        .collect();
    // A subkey is good no longer than the key that it belongs to.
    let sooner = |one: Option<u64>| one.into_iter().chain(primary_expires).min();
    let mut signers = Vec::new();
    if primary_signs {
        signers.push(Signer { key: key.clone(), subkey: None, expires: primary_expires });
    }
    for (place, expires) in subkeys {
        signers.push(Signer { key: key.clone(), subkey: Some(place), expires: sooner(expires) });
    }
    if signers.is_empty() { Err(format!("the key {name} may not sign")) } else { Ok(signers) }
}

/// What the owner of a key says of it: signatures on its names that are not taken back, and on itself.
fn own_signatures(key: &SignedPublicKey) -> Vec<&Signature> {
    let primary = &key.primary_key;
    let direct = key.details.direct_signatures.iter();
    let mut own: Vec<&Signature> = direct.filter(|signature| signature.verify_key(primary).is_ok()).collect();
    for user in &key.details.users {
        let (certified, revoked): (Vec<&Signature>, Vec<&Signature>) = user
            .signatures
            .iter()
            .filter(|signature| signature.verify_certification(primary, Tag::UserId, &user.id).is_ok())
            .partition(|signature| signature.typ() != Some(SignatureType::CertRevocation));
        if revoked.is_empty() {
            own.extend(certified);
        }
    }
    own
}

/// When a subkey expires, if it may sign: it must be bound by the key, not revoked, and agree to that itself (RFC 9580
/// section 5.2.1.9).
fn subkey_expires(key: &SignedPublicKey, subkey: &SignedPublicSubKey) -> Option<Option<u64>> {
    let valid = subkey
        .signatures
        .iter()
        .filter(|signature| signature.verify_subkey_binding(&key.primary_key, &subkey.key).is_ok());
    let (bindings, revocations): (Vec<&Signature>, Vec<&Signature>) =
        valid.partition(|signature| signature.typ() == Some(SignatureType::SubkeyBinding));
    let binding = newest(bindings).filter(|binding| revocations.is_empty() && binding.key_flags().sign())?;
    let agreed = binding.embedded_signature()?;
    agreed.verify_primary_key_binding(&subkey.key, &key.primary_key).ok()?;
    Some(expires(subkey.key.created_at().as_secs(), binding))
}

fn newest(signatures: Vec<&Signature>) -> Option<&Signature> {
    signatures.into_iter().max_by_key(|signature| signature.created())
}

fn expires(born: u32, by: &Signature) -> Option<u64> {
    let lasts = by.key_expiration_time().map(|time| time.as_secs()).filter(|lasts| *lasts > 0)?;
    Some(u64::from(born) + u64::from(lasts))
}

fn has_flags(signature: &Signature) -> bool {
    let mut subpackets = signature.config().into_iter().flat_map(|config| config.hashed_subpackets());
    subpackets.any(|subpacket| matches!(subpacket.data, SubpacketData::KeyFlags(_)))
}

/// The blocks of an armored file; what is not armored is one.
fn blocks(bytes: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> = memchr::memmem::find_iter(bytes, BLOCK).take(MOST).collect();
    if starts.is_empty() {
        return vec![bytes];
    }
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    starts.iter().zip(ends).map(|(&start, end)| &bytes[start..end]).collect()
}

#[cfg(test)]
mod tests;
