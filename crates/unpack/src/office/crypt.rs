//! Encrypted documents (MS-OFFCRYPTO). Excel opens workbooks that are encrypted with one well-known password without
//! asking, so malware is; that one and the candidates of the mail are tried. What stays closed is noted as encrypted.

use bytes::Bytes;
use gatepost_mail::DefectKind;
use md5::{Digest, Md5};
use ring::digest::{self, Algorithm, Context};

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
    hash: &'static Algorithm,
    salt: Vec<u8>,
    bytes: usize,
}

/// The hash of pieces put together.
fn hash(algorithm: &'static Algorithm, pieces: &[&[u8]]) -> digest::Digest {
    let mut state = Context::new(algorithm);
    pieces.iter().for_each(|piece| state.update(piece));
    state.finish()
}

/// The hash of a password, hashed again and again.
fn spun(algorithm: &'static Algorithm, salt: &[u8], password: &str, spins: u32) -> digest::Digest {
    let first = hash(algorithm, &[salt, &wide(password)]);
    (0..spins).fold(first, |last, number| hash(algorithm, &[&number.to_le_bytes(), last.as_ref()]))
}

const SHA1: &Algorithm = &digest::SHA1_FOR_LEGACY_USE_ONLY;

impl Parameters {
    fn read(tag: &Tag) -> Option<Parameters> {
        let hash = match tag.get("hashAlgorithm")?.as_str() {
            "SHA1" | "SHA-1" => SHA1,
            "SHA256" | "SHA-256" => &digest::SHA256,
            "SHA384" | "SHA-384" => &digest::SHA384,
            "SHA512" | "SHA-512" => &digest::SHA512,
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
        let base = spun(SHA1, salt, password, STANDARD_SPINS);
        let last = hash(SHA1, &[base.as_ref(), &[0; 4]]);
        let padded = |with: u8| {
            let mut block = [with; 64];
            block.iter_mut().zip(last.as_ref()).for_each(|(byte, other)| *byte ^= other);
            hash(SHA1, &[&block])
        };
        let key = [padded(0x36).as_ref(), padded(0x5c).as_ref()].concat().get(..bytes)?.to_vec();
        let aes = Aes::new(&key)?;
        let (mut verifier, mut told) = (verifier, verifier_hash);
        aes.ecb(&mut verifier);
        aes.ecb(&mut told);
        (*hash(SHA1, &[&verifier]).as_ref() == told[..20]).then_some(key)
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
                    let start = hash(agile.data.hash, &[&agile.data.salt, &number]);
                    Parameters::decrypt(key, start.as_ref(), segment)?;
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
        let base = spun(own.hash, &own.salt, password, self.spins);
        let open = |block: &[u8], value: &[u8]| {
            let mut key = hash(own.hash, &[base.as_ref(), block]).as_ref().to_vec();
            key.resize(own.bytes, 0x36);
            let mut value = value.to_vec();
            Parameters::decrypt(&key, &own.salt, &mut value)?;
            Some(value)
        };
        let verifier = open(VERIFIER, &self.verifier)?;
        let proof = hash(own.hash, &[&verifier]);
        let told = open(VERIFIER_HASH, &self.verifier_hash)?;
        if told.get(..proof.as_ref().len())? != proof.as_ref() {
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
            Some(_) => hash(SHA1, &[self.salt, &wide]).as_ref().to_vec(),
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
        let (verifier, told) = proof.split_at(self.verifier.len());
        let right = match self.sha1 {
            Some(_) => hash(SHA1, &[verifier]).as_ref() == told,
            None => Md5::digest(verifier)[..] == *told,
        };
        right.then_some(key)
    }
}

impl Key {
    /// The cipher of one block.
    fn block(&self, number: u32) -> Rc4 {
        match self.sha1 {
            Some(bytes) => {
                let mut key = hash(SHA1, &[&self.base, &number.to_le_bytes()]).as_ref()[..bytes].to_vec();
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
pub(crate) mod tests {
    use super::*;
    use crate::office::biff::tests::{record, workbook};
    use aes::Aes128Enc;
    use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};

    /// Test vectors of RFC 6229 (key 0102030405).
    #[test]
    fn rc4_as_known() {
        let mut data = [0; 8];
        Rc4::new(&[1, 2, 3, 4, 5]).apply(&mut data);
        assert_eq!(data, [0xb2, 0x39, 0x63, 0x05, 0xf0, 0x3d, 0xc0, 0x27]);
    }

    /// A workbook that runs `calc`, encrypted with RC4 and that password.
    pub(crate) fn locked_workbook(password: &str) -> Vec<u8> {
        let salt = [7; 16];
        let base = {
            let first = Md5::digest(wide(password));
            let mut second = Md5::new();
            (0..16).for_each(|_| second.update([&first[..5], &salt].concat()));
            second.finalize()[..5].to_vec()
        };
        let key = Key { base, sha1: None };
        let mut proof = [&[9; 16][..], &Md5::digest([9; 16])].concat();
        key.block(0).apply(&mut proof);
        let pass = record(0x2f, &[&[1, 0, 1, 0, 1, 0][..], &salt, &proof].concat());
        let plain = workbook();
        // Behind the first record, which tells the version.
        let stream = [&plain[..12], &pass, &plain[12..]].concat();
        let mut locked = stream.clone();
        decrypt_records(&stream, &key, &mut locked);
        locked
    }

    fn encrypt(key: &[u8], chain: Option<&[u8]>, data: &[u8]) -> Vec<u8> {
        let cipher = Aes128Enc::new_from_slice(key).expect("a key");
        let mut before = [0; 16];
        before.copy_from_slice(chain.unwrap_or(&[0; 16]));
        let mut out = Vec::new();
        for chunk in data.chunks(16) {
            let mut block = [0; 16];
            block[..chunk.len()].copy_from_slice(chunk);
            block.iter_mut().zip(before).for_each(|(byte, other)| *byte ^= other);
            let mut array = Array::from(block);
            cipher.encrypt_block(&mut array);
            if chain.is_some() {
                before.copy_from_slice(&array);
            }
            out.extend_from_slice(&array);
        }
        out
    }

    #[test]
    fn standard_packages() {
        let salt = [3; 16];
        // The key as the reader derives it, from a first reading with an empty proof.
        let last = hash(SHA1, &[spun(SHA1, &salt, DEFAULT, STANDARD_SPINS).as_ref(), &[0; 4]]);
        let mut block = [0x36; 64];
        block.iter_mut().zip(last.as_ref()).for_each(|(byte, other)| *byte ^= other);
        let key = hash(SHA1, &[&block]).as_ref()[..16].to_vec();
        let verifier = [5; 16];
        let proof = hash(SHA1, &[&verifier]);
        let header = [&[0; 16][..], &128u32.to_le_bytes(), &[0; 12]].concat();
        let info = [
            &[4, 0, 2, 0, 0x24, 0, 0, 0][..],
            &(header.len() as u32).to_le_bytes(),
            &header,
            &16u32.to_le_bytes(),
            &salt,
            &encrypt(&key, None, &verifier),
            &20u32.to_le_bytes(),
            &encrypt(&key, None, &[proof.as_ref(), &[0; 12]].concat()),
        ]
        .concat();
        let cipher = PackageKey::read(&info).expect("a header");
        assert_eq!(cipher.key("other"), None);
        let found = cipher.key(DEFAULT).expect("the password is right");
        let packed = [&5u64.to_le_bytes()[..], &encrypt(&key, None, b"plain")].concat();
        assert_eq!(cipher.decrypt(&found, &packed).as_deref(), Some(&b"plain"[..]));
        for end in 0..info.len() {
            assert!(PackageKey::read(&info[..end]).is_none());
        }
    }

    #[test]
    fn agile_packages() {
        let (salt, key) = ([4; 16], [8; 16]);
        let sealed = |block: &[u8], data: &[u8]| {
            let base = spun(SHA1, &salt, DEFAULT, 10);
            let own = hash(SHA1, &[base.as_ref(), block]);
            base64_of(&encrypt(&own.as_ref()[..16], Some(&salt), data))
        };
        let proof = hash(SHA1, &[&[6; 16]]);
        let common = "saltSize='16' blockSize='16' keyBits='128' hashSize='20' cipherAlgorithm='AES' \
                      cipherChaining='ChainingModeCBC' hashAlgorithm='SHA1'";
        let xml = format!(
            "<encryption><keyData {common} saltValue='{}'/><p:encryptedKey {common} spinCount='10' saltValue='{}' \
             encryptedVerifierHashInput='{}' encryptedVerifierHashValue='{}' encryptedKeyValue='{}'/></encryption>",
            base64_of(&salt),
            base64_of(&salt),
            sealed(b"\xfe\xa7\xd2\x76\x3b\x4b\x9e\x79", &[6; 16]),
            sealed(b"\xd7\xaa\x0f\x6d\x30\x61\x34\x4e", &[proof.as_ref(), &[0; 12]].concat()),
            sealed(b"\x14\x6e\x0b\xe7\xab\xac\xd0\xd6", &key),
        );
        let info = [&[4, 0, 4, 0, 0x40, 0, 0, 0][..], xml.as_bytes()].concat();
        let cipher = PackageKey::read(&info).expect("a header");
        assert_eq!((cipher.rounds(), cipher.key("other")), (20, None));
        assert_eq!(cipher.key(DEFAULT).as_deref(), Some(&key[..]));
        let start = hash(SHA1, &[&salt, &[0; 4]]);
        let packed =
            [&5u64.to_le_bytes()[..], &encrypt(&key, Some(&start.as_ref()[..16]), b"plain")].concat();
        assert_eq!(cipher.decrypt(&key, &packed).as_deref(), Some(&b"plain"[..]));
        let long = xml.replace("spinCount='10'", "spinCount='10000000'");
        assert!(PackageKey::read(&[&info[..8], long.as_bytes()].concat()).is_none());
    }

    fn base64_of(data: &[u8]) -> String {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut out = String::new();
        for three in data.chunks(3) {
            let bits =
                three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
            let digits = (0..=three.len()).map(|place| DIGITS[(bits >> (18 - 6 * place) & 63) as usize]);
            out.extend(digits.map(char::from));
            out.extend(std::iter::repeat_n('=', 3 - three.len()));
        }
        out
    }
}
