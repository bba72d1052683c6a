//! Encrypted documents (MS-OFFCRYPTO). Excel opens workbooks that are encrypted with one well-known password without
//! asking, so malware is; that one and the words of the mail are tried, all others are noted as encrypted.

use bytes::Bytes;
use gatepost_mail::DefectKind;
use md5::Md5;
use sha1::{Digest, Sha1};

use crate::cfb::Cfb;
use crate::fields::{u16_le, u32_le};
use crate::opening::{Opening, Stop};

/// The password that Excel tries by itself.
const DEFAULT: &str = "VelvetSweatshop";

/// A compound file that holds an encrypted Open XML package.
pub(crate) fn open(opening: &mut Opening, cfb: &Cfb) -> Result<(), Stop> {
    let (Some(_), Some(_)) = (cfb.find("EncryptionInfo"), cfb.find("EncryptedPackage")) else {
        return Ok(());
    };
    opening.defective(DefectKind::Encrypted, "an encrypted document");
    Ok(())
}

/// The stream of an encrypted workbook (MS-XLS 2.2.10), decrypted; None if no password is known.
pub(crate) fn workbook(opening: &mut Opening, stream: &Bytes) -> Option<Vec<u8>> {
    let record = super::biff::encryption(stream)?;
    let cipher = Rc4Key::read(record.data)?;
    let key = cipher.key(DEFAULT)?;
    if let Err(limit) = opening.pay(stream.len() as u64, stream.len() as u64) {
        opening.over(limit, None);
        return None;
    }
    let mut plain = stream.to_vec();
    decrypt_records(stream, &key, &mut plain);
    Some(plain)
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
        let wide: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
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
