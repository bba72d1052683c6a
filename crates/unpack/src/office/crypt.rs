//! Encrypted documents (MS-OFFCRYPTO). Excel opens workbooks that are encrypted with one well-known password without
//! asking, so malware is; that one and the candidates of the mail are tried. What stays closed is noted as encrypted.

use bytes::Bytes;
use gatepost_mail::DefectKind;
use md5::Md5;
use sha1::{Digest, Sha1};
use sha2::{Sha256, Sha384, Sha512};

use super::vba;
use super::xml::{Tag, Token, Tokens};
use crate::cfb::Cfb;
use crate::crypto::Aes;
use crate::fields::{u16_le, u32_le, u64_le};
use crate::opening::{Member, Opening, Stop, keep};

/// The password that Excel tries by itself.
const DEFAULT: &str = "VelvetSweatshop";

/// A compound file that holds an encrypted Open XML package: the package goes out as a part if a password is known.
pub(crate) fn open(opening: &mut Opening, cfb: &Cfb) -> Result<(), Stop> {
    let (Some(info), Some(package)) = (cfb.find("EncryptionInfo"), cfb.find("EncryptedPackage")) else {
        return Ok(());
    };
    let info = vba::stream(opening, cfb, info);
    let Some(plain) = PackageKey::read(&info).and_then(|cipher| {
        let key = candidate(opening, cipher.rounds(), |password| cipher.key(password))?;
        let packed = vba::stream(opening, cfb, package);
        if let Err(limit) = opening.pay(packed.len() as u64, packed.len() as u64) {
            opening.over(limit, None);
            return None;
        }
        cipher.decrypt(&key, &packed)
    }) else {
        opening.defective(DefectKind::Encrypted, "an encrypted document");
        return Ok(());
    };
    let names = opening.name().map(str::to_owned).into_iter().collect();
    opening.embedded(Member { names, body: keep(plain), ..Member::default() })?;
    Ok(())
}

/// The stream of an encrypted workbook (MS-XLS 2.2.10), decrypted; None if no password is known.
pub(crate) fn workbook(opening: &mut Opening, stream: &Bytes) -> Option<Vec<u8>> {
    const ROUNDS: u64 = 8;
    let record = super::biff::encryption(stream)?;
    let cipher = Rc4Key::read(record.data)?;
    let key = candidate(opening, ROUNDS, |password| cipher.key(password))?;
    if let Err(limit) = opening.pay(stream.len() as u64, stream.len() as u64) {
        opening.over(limit, None);
        return None;
    }
    let mut plain = stream.to_vec();
    decrypt_records(stream, &key, &mut plain);
    Some(plain)
}

/// What the first password gives that gives anything: the default one, then those of the mail.
fn candidate<K>(opening: &mut Opening, rounds: u64, mut key: impl FnMut(&str) -> Option<K>) -> Option<K> {
    let mut found = key(DEFAULT);
    if found.is_none() {
        opening.password(rounds, |password| {
            found = key(password);
            found.is_some()
        });
    }
    found
}

/// A password as keys are derived from it.
fn wide(password: &str) -> Vec<u8> {
    password.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// How a package is encrypted.
enum PackageKey {
    /// 2.3.4.10: told in XML.
    Agile(Agile),
    /// 2.3.4.5: AES with SHA-1.
    Standard { bytes: usize, salt: [u8; 16], verifier: [u8; 16], verifier_hash: [u8; 32] },
}

struct Agile {
    data: Parameters,
    password: Parameters,
    spins: u32,
    verifier: Vec<u8>,
    verifier_hash: Vec<u8>,
    key: Vec<u8>,
}

/// What a cipher and its hash function are.
struct Parameters {
    hash: Hash,
    salt: Vec<u8>,
    bytes: usize,
}

#[derive(Clone, Copy)]
enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn of(self, pieces: &[&[u8]]) -> Vec<u8> {
        fn digest<D: Digest>(pieces: &[&[u8]]) -> Vec<u8> {
            let mut state = D::new();
            pieces.iter().for_each(|piece| state.update(piece));
            state.finalize().to_vec()
        }
        match self {
            Hash::Sha1 => digest::<Sha1>(pieces),
            Hash::Sha256 => digest::<Sha256>(pieces),
            Hash::Sha384 => digest::<Sha384>(pieces),
            Hash::Sha512 => digest::<Sha512>(pieces),
        }
    }

    /// The hash of a password, hashed again and again.
    fn spun(self, salt: &[u8], password: &str, spins: u32) -> Vec<u8> {
        let mut hash = self.of(&[salt, &wide(password)]);
        for number in 0..spins {
            hash = self.of(&[&number.to_le_bytes(), &hash]);
        }
        hash
    }
}

impl Parameters {
    fn read(tag: &Tag) -> Option<Parameters> {
        let hash = match tag.get("hashAlgorithm")?.as_str() {
            "SHA1" | "SHA-1" => Hash::Sha1,
            "SHA256" | "SHA-256" => Hash::Sha256,
            "SHA384" | "SHA-384" => Hash::Sha384,
            "SHA512" | "SHA-512" => Hash::Sha512,
            _ => return None,
        };
        let is_known =
            tag.get("cipherAlgorithm")? == "AES" && tag.get("cipherChaining")? == "ChainingModeCBC";
        let bits: usize = tag.get("keyBits")?.parse().ok()?;
        let salt = super::base64(tag.get("saltValue")?.as_bytes());
        (is_known && matches!(bits, 128 | 192 | 256)).then_some(Parameters { hash, salt, bytes: bits / 8 })
    }

    /// Decrypts whole blocks; `start` is what the first is chained to.
    fn decrypt(key: &[u8], start: &[u8], data: &mut [u8]) -> Option<()> {
        let mut before = [0x36; 16];
        before.iter_mut().zip(start).for_each(|(byte, other)| *byte = *other);
        Aes::new(key)?.cbc(before, data);
        Some(())
    }
}

impl PackageKey {
    fn read(info: &[u8]) -> Option<PackageKey> {
        match (u16_le(info, 0)?, u16_le(info, 2)?) {
            (4, 4) => Agile::read(info.get(8..)?).map(PackageKey::Agile),
            (2..=4, 2) => {
                let size = u32_le(info, 8)? as usize;
                let bits = u32_le(info, 12 + 16)?;
                let at = size.checked_add(12)?;
                let rest = info.get(at..)?;
                Some(PackageKey::Standard {
                    bytes: usize::try_from(bits / 8).ok().filter(|bytes| matches!(bytes, 16 | 24 | 32))?,
                    salt: *rest.get(4..)?.first_chunk()?,
                    verifier: *rest.get(20..)?.first_chunk()?,
                    verifier_hash: *rest.get(40..)?.first_chunk()?,
                })
            }
            _ => None,
        }
    }

    /// What a try costs, in blocks of a hash function.
    fn rounds(&self) -> u64 {
        match self {
            PackageKey::Agile(agile) => u64::from(agile.spins) * 2,
            PackageKey::Standard { .. } => u64::from(STANDARD_SPINS),
        }
    }

    /// The key of the package, if the password is right.
    fn key(&self, password: &str) -> Option<Vec<u8>> {
        let (bytes, salt, verifier, verifier_hash) = match self {
            PackageKey::Agile(agile) => return agile.key(password),
            PackageKey::Standard { bytes, salt, verifier, verifier_hash } => {
                (*bytes, salt, *verifier, *verifier_hash)
            }
        };
        let base = Hash::Sha1.spun(salt, password, STANDARD_SPINS);
        let last = Hash::Sha1.of(&[&base, &[0; 4]]);
        let padded = |with: u8| {
            let mut block = [with; 64];
            block.iter_mut().zip(&last).for_each(|(byte, other)| *byte ^= other);
            Hash::Sha1.of(&[&block])
        };
        let key = [padded(0x36), padded(0x5c)].concat().get(..bytes)?.to_vec();
        let aes = Aes::new(&key)?;
        let (mut verifier, mut hash) = (verifier, verifier_hash);
        aes.ecb(&mut verifier);
        aes.ecb(&mut hash);
        (Hash::Sha1.of(&[&verifier])[..] == hash[..20]).then_some(key)
    }

    /// The package: its size, then the data.
    fn decrypt(&self, key: &[u8], packed: &[u8]) -> Option<Vec<u8>> {
        const SEGMENT: usize = 4096;
        let size = usize::try_from(u64_le(packed, 0)?).unwrap_or(usize::MAX);
        let mut plain = packed.get(8..)?.to_vec();
        match self {
            PackageKey::Agile(agile) => {
                for (number, segment) in plain.chunks_mut(SEGMENT).enumerate() {
                    let number = u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
                    let start = agile.data.hash.of(&[&agile.data.salt, &number]);
                    Parameters::decrypt(key, &start, segment)?;
                }
            }
            PackageKey::Standard { .. } => Aes::new(key)?.ecb(&mut plain),
        }
        plain.truncate(size);
        Some(plain)
    }
}

/// How often passwords are hashed where that is not told (2.3.4.7).
const STANDARD_SPINS: u32 = 50_000;

impl Agile {
    fn read(xml: &[u8]) -> Option<Agile> {
        /// More are not worth the time: Office itself takes 100,000.
        const MOST_SPINS: u32 = 1_000_000;
        let mut data = None;
        for token in Tokens::new(xml) {
            let Token::Start { tag, .. } = token else { continue };
            match tag.name {
                b"keyData" => data = Parameters::read(&tag),
                b"encryptedKey" => {
                    let blob = |name| Some(super::base64(tag.get(name)?.as_bytes()));
                    let spins = tag.get("spinCount")?.parse().ok().filter(|spins| *spins <= MOST_SPINS)?;
                    return Some(Agile {
                        data: data?,
                        password: Parameters::read(&tag)?,
                        spins,
                        verifier: blob("encryptedVerifierHashInput")?,
                        verifier_hash: blob("encryptedVerifierHashValue")?,
                        key: blob("encryptedKeyValue")?,
                    });
                }
                _ => {}
            }
        }
        None
    }

    fn key(&self, password: &str) -> Option<Vec<u8>> {
        /// What the keys of the three values are derived with (2.3.4.13).
        const VERIFIER: &[u8] = b"\xfe\xa7\xd2\x76\x3b\x4b\x9e\x79";
        const VERIFIER_HASH: &[u8] = b"\xd7\xaa\x0f\x6d\x30\x61\x34\x4e";
        const KEY: &[u8] = b"\x14\x6e\x0b\xe7\xab\xac\xd0\xd6";
        let own = &self.password;
        let base = own.hash.spun(&own.salt, password, self.spins);
        let open = |block: &[u8], value: &[u8]| {
            let mut key = own.hash.of(&[&base, block]);
            key.resize(own.bytes, 0x36);
            let mut value = value.to_vec();
            Parameters::decrypt(&key, &own.salt, &mut value)?;
            Some(value)
        };
        let verifier = open(VERIFIER, &self.verifier)?;
        let hash = own.hash.of(&[&verifier]);
        let told = open(VERIFIER_HASH, &self.verifier_hash)?;
        if told.get(..hash.len())? != hash {
            return None;
        }
        let mut key = open(KEY, &self.key)?;
        key.truncate(self.data.bytes);
        Some(key)
    }
}

/// What an RC4 key is made of.
struct Rc4Key<'a> {
    /// SHA-1 of a CryptoAPI header (2.3.5), with the bytes of its key; else MD5 and five bytes (2.3.6).
    sha1: Option<usize>,
    salt: &'a [u8],
    verifier: &'a [u8],
    verifier_hash: &'a [u8],
}

/// What keys of blocks are derived from.
struct Key {
    base: Vec<u8>,
    sha1: Option<usize>,
}

impl<'a> Rc4Key<'a> {
    /// Reads the record that tells how a workbook is encrypted (MS-XLS 2.4.117).
    fn read(data: &'a [u8]) -> Option<Rc4Key<'a>> {
        const RC4: u16 = 1;
        if u16_le(data, 0)? != RC4 {
            return None;
        }
        if (u16_le(data, 2)?, u16_le(data, 4)?) == (1, 1) {
            let (salt, verifier, verifier_hash) = (data.get(6..22)?, data.get(22..38)?, data.get(38..54)?);
            return Some(Rc4Key { sha1: None, salt, verifier, verifier_hash });
        }
        // Version, flags, the size of the header, the header: its fifth word is the size of the key in bits.
        let size = u32_le(data, 10)? as usize;
        let bits = u32_le(data, 14 + 16)?;
        let at = size.checked_add(14)?;
        let (salt, verifier) = (data.get(at + 4..at + 20)?, data.get(at + 20..at + 36)?);
        let verifier_hash = data.get(at + 40..at + 60)?;
        let bits = if bits == 0 { 40 } else { bits };
        let bytes = usize::try_from(bits / 8).ok().filter(|bytes| (5..=16).contains(bytes))?;
        Some(Rc4Key { sha1: Some(bytes), salt, verifier, verifier_hash })
    }

    /// The key, if the password is right.
    fn key(&self, password: &str) -> Option<Key> {
        let wide = wide(password);
        let base = match self.sha1 {
            Some(_) => Sha1::new().chain_update(self.salt).chain_update(&wide).finalize().to_vec(),
            None => {
                let first = Md5::digest(&wide);
                let mut second = Md5::new();
                for _ in 0..16 {
                    second.update(&first[..5]);
                    second.update(self.salt);
                }
                second.finalize()[..5].to_vec()
            }
        };
        let key = Key { base, sha1: self.sha1 };
        let mut rc4 = key.block(0);
        let mut proof = [self.verifier, self.verifier_hash].concat();
        rc4.apply(&mut proof);
        let (verifier, hash) = proof.split_at(self.verifier.len());
        let right = match self.sha1 {
            Some(_) => Sha1::digest(verifier)[..] == *hash,
            None => Md5::digest(verifier)[..] == *hash,
        };
        right.then_some(key)
    }
}

impl Key {
    /// The cipher of one block.
    fn block(&self, number: u32) -> Rc4 {
        match self.sha1 {
            Some(bytes) => {
                let hash = Sha1::new().chain_update(&self.base).chain_update(number.to_le_bytes()).finalize();
                let mut key = hash[..bytes].to_vec();
                // A key of 40 bits is filled up with zeros.
                if bytes == 5 {
                    key.resize(16, 0);
                }
                Rc4::new(&key)
            }
            None => {
                Rc4::new(&Md5::new().chain_update(&self.base).chain_update(number.to_le_bytes()).finalize())
            }
        }
    }
}

/// Decrypts the data of records in place: each block of 1,024 bytes has a key of its own, heads of records count but are
/// not encrypted, and neither are some records.
fn decrypt_records(stream: &[u8], key: &Key, plain: &mut [u8]) {
    const BLOCK: usize = 1024;
    /// Beginnings, the encryption itself, who writes (MS-XLS 2.2.10).
    const PLAIN: [u16; 7] = [0x0809, 0x002f, 0x0194, 0x0195, 0x00e1, 0x0196, 0x0138];
    const BOUND_SHEET: u16 = 0x0085;
    let mut block = usize::MAX;
    let mut mask = [0; BLOCK];
    for record in super::biff::records(stream) {
        if PLAIN.contains(&record.kind) {
            continue;
        }
        // Where a sheet begins is told to all.
        let skipped = if record.kind == BOUND_SHEET { 4 } else { 0 };
        let start = record.at + 4;
        for at in start + skipped..start + record.data.len() {
            if at / BLOCK != block {
                block = at / BLOCK;
                mask = [0; BLOCK];
                key.block(u32::try_from(block).unwrap_or(u32::MAX)).apply(&mut mask);
            }
            if let Some(byte) = plain.get_mut(at) {
                *byte ^= mask[at % BLOCK];
            }
        }
    }
}

/// RC4.
struct Rc4 {
    state: [u8; 256],
    i: u8,
    j: u8,
}

impl Rc4 {
    fn new(key: &[u8]) -> Rc4 {
        let mut state: [u8; 256] = std::array::from_fn(|place| place as u8);
        let mut j = 0u8;
        for i in 0..256 {
            let byte = key.get(i % key.len().max(1)).copied().unwrap_or_default();
            j = j.wrapping_add(state[i]).wrapping_add(byte);
            state.swap(i, usize::from(j));
        }
        Rc4 { state, i: 0, j: 0 }
    }

    fn apply(&mut self, data: &mut [u8]) {
        for byte in data {
            self.i = self.i.wrapping_add(1);
            self.j = self.j.wrapping_add(self.state[usize::from(self.i)]);
            self.state.swap(usize::from(self.i), usize::from(self.j));
            let sum = self.state[usize::from(self.i)].wrapping_add(self.state[usize::from(self.j)]);
            *byte ^= self.state[usize::from(sum)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test vectors of RFC 6229 (key 0102030405).
    #[test]
    fn rc4_as_known() {
        let mut data = [0; 8];
        Rc4::new(&[1, 2, 3, 4, 5]).apply(&mut data);
        assert_eq!(data, [0xb2, 0x39, 0x63, 0x05, 0xf0, 0x3d, 0xc0, 0x27]);
    }
}
