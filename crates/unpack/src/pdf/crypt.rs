//! Encrypted PDF (ISO 32000-1 section 7.6, ISO 32000-2 section 7.6). Most are encrypted only to forbid printing or copying,
//! and every reader opens them with the empty user password. Others ask for the user's or the owner's.

use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes256};
use md5::{Digest, Md5};
use sha2::{Sha256, Sha384, Sha512};

use super::object::{Dict, Object};

/// How strings or streams are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Identity,
    Rc4,
    Aes128,
    Aes256,
}

/// The key of a document, and what it is for.
#[derive(Debug)]
pub(super) struct Key {
    key: Vec<u8>,
    strings: Method,
    streams: Method,
    files: Method,
}

const PADDING: &[u8; 32] = b"\x28\xbf\x4e\x5e\x4e\x75\x8a\x41\x64\x00\x4e\x56\xff\xfa\x01\x08\x2e\x2e\x00\xb6\xd0\x68\x3e\x80\x2f\x0c\xa9\xfe\x64\x53\x69\x7a";

impl Key {
    /// What trying one password costs, in blocks that a hash function works through.
    pub(super) fn rounds(encrypt: &Dict) -> u64 {
        match encrypt.get(b"R").and_then(Object::integer).unwrap_or(0) {
            ..=2 => 16,
            3..=4 => 300,
            5 => 8,
            // Some seventy rounds over up to 14 KB, for the user and for the owner.
            _ => 24_000,
        }
    }

    /// The key that a password gives, if it is that of the user or the owner. `id` is the first string of the trailer's ID.
    pub(super) fn open(encrypt: &Dict, id: &[u8], password: &str) -> Option<Key> {
        let number = |key: &[u8]| encrypt.get(key).and_then(Object::integer);
        let string = |key: &[u8]| encrypt.get(key).and_then(Object::string);
        let version = number(b"V").unwrap_or(0);
        let revision = number(b"R").unwrap_or(0);
        let default = if version >= 4 { Method::Identity } else { Method::Rc4 };
        let filter = |key: &[u8]| if version >= 4 { method(encrypt, key) } else { Some(default) };
        let strings = filter(b"StrF").unwrap_or(default);
        let streams = filter(b"StmF").unwrap_or(default);
        let files = filter(b"EFF").unwrap_or(streams);
        let key = if revision >= 5 {
            let user = (string(b"U")?, string(b"UE")?);
            let owner = string(b"O").zip(string(b"OE"));
            newer_key(revision, user, owner, password.as_bytes())?
        } else {
            let bits = number(b"Length").filter(|bits| (40..=128).contains(bits)).unwrap_or(40);
            let length = match version {
                1 => 5,
                4 => 16,
                _ => usize::try_from(bits / 8).unwrap_or(5),
            };
            let plain = matches!(encrypt.get(b"EncryptMetadata"), Some(Object::Bool(false)));
            let permissions = number(b"P").unwrap_or(0).to_le_bytes();
            let lock = Lock {
                revision,
                length: length.min(16),
                owner: string(b"O")?,
                user: string(b"U")?,
                permissions: &permissions[..4],
                id,
                plain_metadata: plain,
            };
            lock.key(password)?
        };
        Some(Key { key, strings, streams, files })
    }

    /// A string in clear, of the object of that number and generation.
    pub(super) fn string(&self, id: (u32, u16), text: &[u8]) -> Vec<u8> {
        self.decrypt(self.strings, id, text)
    }

    /// A stream in clear; `file` says that it is an embedded file.
    pub(super) fn stream(&self, id: (u32, u16), raw: &[u8], file: bool) -> Vec<u8> {
        self.decrypt(if file { self.files } else { self.streams }, id, raw)
    }

    fn decrypt(&self, method: Method, (number, generation): (u32, u16), data: &[u8]) -> Vec<u8> {
        let own = |salt: &[u8]| {
            let mut hash = Md5::new();
            hash.update(&self.key);
            hash.update(&number.to_le_bytes()[..3]);
            hash.update(generation.to_le_bytes());
            hash.update(salt);
            hash.finalize()[..(self.key.len() + 5).min(16)].to_vec()
        };
        match method {
            Method::Identity => data.to_vec(),
            Method::Rc4 => rc4(&own(b""), data),
            Method::Aes128 => unpad(cbc(&own(b"sAlT"), data)),
            Method::Aes256 => unpad(cbc(&self.key, data)),
        }
    }
}

/// The method of a crypt filter (ISO 32000-1 section 7.6.5).
fn method(encrypt: &Dict, key: &[u8]) -> Option<Method> {
    let name = encrypt.get(key)?.name()?;
    let filter = encrypt.get(b"CF").and_then(Object::dict)?.get(name)?.dict()?;
    Some(match filter.get(b"CFM")?.name()? {
        b"V2" => Method::Rc4,
        b"AESV2" => Method::Aes128,
        b"AESV3" => Method::Aes256,
        _ => Method::Identity,
    })
}

/// What the passwords of revisions up to 4 are held against (ISO 32000-1 section 7.6.3).
struct Lock<'d> {
    revision: i64,
    /// Of the key, in bytes.
    length: usize,
    owner: &'d [u8],
    user: &'d [u8],
    permissions: &'d [u8],
    id: &'d [u8],
    plain_metadata: bool,
}

impl Lock<'_> {
    /// Passwords are in an encoding of PDF's own, which mostly is Latin-1; some programs write UTF-8.
    fn key(&self, password: &str) -> Option<Vec<u8>> {
        let latin = password.chars().map(|c| u8::try_from(c).ok()).collect::<Option<Vec<u8>>>();
        let utf8 = Some(password.as_bytes()).filter(|bytes| latin.as_deref() != Some(*bytes));
        [latin.as_deref(), utf8].into_iter().flatten().find_map(|password| {
            let password = padded(password);
            self.of_user(&password).or_else(|| self.of_user(&self.users(&password)))
        })
    }

    /// Algorithm 2 with a padded password of the user, proven by algorithm 4 or 5.
    fn of_user(&self, password: &[u8]) -> Option<Vec<u8>> {
        let mut hash = Md5::new();
        hash.update(password);
        hash.update(&self.owner[..self.owner.len().min(32)]);
        hash.update(self.permissions);
        hash.update(self.id);
        if self.revision >= 4 && self.plain_metadata {
            hash.update([0xff; 4]);
        }
        let mut key = hash.finalize()[..self.length].to_vec();
        if self.revision < 3 {
            return (rc4(&key, PADDING) == self.user.get(..32)?).then_some(key);
        }
        for _ in 0..50 {
            key = Md5::digest(&key)[..self.length].to_vec();
        }
        let mut hash = Md5::new();
        hash.update(PADDING);
        hash.update(self.id);
        let proof = hash.finalize().to_vec();
        let proof = (0..20).fold(proof, |proof, round| rc4(&mixed(&key, round), &proof));
        (proof == self.user.get(..16)?).then_some(key)
    }

    /// The padded password of the user that the padded one of the owner gives, if it is the right one (algorithm 7).
    fn users(&self, password: &[u8]) -> Vec<u8> {
        let mut key = Md5::digest(password);
        let found = self.owner[..self.owner.len().min(32)].to_vec();
        if self.revision < 3 {
            return rc4(&key[..self.length], &found);
        }
        for _ in 0..50 {
            key = Md5::digest(key);
        }
        (0..20).rev().fold(found, |found, round| rc4(&mixed(&key[..self.length], round), &found))
    }
}

/// A password of 32 bytes.
fn padded(password: &[u8]) -> Vec<u8> {
    password.iter().chain(PADDING).take(32).copied().collect()
}

fn mixed(key: &[u8], round: u8) -> Vec<u8> {
    key.iter().map(|byte| byte ^ round).collect()
}

/// Algorithm 2.A of ISO 32000-2 section 7.6.4. Of user and owner: how the password is proven, and the key wrapped by it.
fn newer_key(
    revision: i64,
    user: (&[u8], &[u8]),
    owner: Option<(&[u8], &[u8])>,
    password: &[u8],
) -> Option<Vec<u8>> {
    const LONGEST: usize = 127;
    let password = &password[..password.len().min(LONGEST)];
    let open = |(proof, wrapped): (&[u8], &[u8]), of: &[u8]| {
        let (hash, validation, salt) = (proof.get(..32)?, proof.get(32..40)?, proof.get(40..48)?);
        if hardened(revision, password, validation, of) != hash {
            return None;
        }
        // Without padding, and with zeros as the initial vector.
        let wrapped = [&[0; 16], wrapped.get(..32)?].concat();
        Some(cbc(&hardened(revision, password, salt, of), &wrapped))
    };
    open(user, b"").or_else(|| open(owner?, user.0.get(..48)?))
}

/// Algorithm 2.B of ISO 32000-2 section 7.6.4. `of`: what the owner's password is bound to.
fn hardened(revision: i64, password: &[u8], salt: &[u8], of: &[u8]) -> Vec<u8> {
    /// The rounds end by chance, on average a few after 64.
    const MOST: usize = 4096;
    let mut key = Sha256::digest([password, salt, of].concat()).to_vec();
    if revision < 6 {
        return key;
    }
    for round in 0..MOST {
        let text = [password, key.as_slice(), of].concat().repeat(64);
        let encrypted = cbc_encrypt(&key[..16], &key[16..32], &text);
        key = match encrypted[..16].iter().map(|byte| u32::from(*byte)).sum::<u32>() % 3 {
            0 => Sha256::digest(&encrypted).to_vec(),
            1 => Sha384::digest(&encrypted).to_vec(),
            _ => Sha512::digest(&encrypted).to_vec(),
        };
        let last = encrypted.last().copied().unwrap_or_default();
        if round >= 63 && usize::from(last) <= round + 1 - 32 {
            break;
        }
    }
    key.truncate(32);
    key
}

fn rc4(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut state: [u8; 256] = std::array::from_fn(|place| place.to_le_bytes()[0]);
    let mut other = 0u8;
    for place in 0..256 {
        let from_key = key.get(place % key.len().max(1)).copied().unwrap_or_default();
        other = other.wrapping_add(state[place]).wrapping_add(from_key);
        state.swap(place, usize::from(other));
    }
    let (mut one, mut two) = (0u8, 0u8);
    let byte = |byte: &u8| {
        one = one.wrapping_add(1);
        two = two.wrapping_add(state[usize::from(one)]);
        state.swap(usize::from(one), usize::from(two));
        byte ^ state[usize::from(state[usize::from(one)].wrapping_add(state[usize::from(two)]))]
    };
    data.iter().map(byte).collect()
}

/// AES in CBC mode, the initial vector before the data. Bytes behind the last whole block are dropped; a key of another
/// length gives nothing.
fn cbc(key: &[u8], data: &[u8]) -> Vec<u8> {
    enum Cipher {
        Short(Box<Aes128>),
        Long(Box<Aes256>),
    }
    let cipher = match key.len() {
        16 => Aes128::new_from_slice(key).ok().map(|cipher| Cipher::Short(Box::new(cipher))),
        32 => Aes256::new_from_slice(key).ok().map(|cipher| Cipher::Long(Box::new(cipher))),
        _ => None,
    };
    let (Some(cipher), Some(mut before)) = (cipher, data.first_chunk::<16>().copied()) else {
        return Vec::new();
    };
    let mut out = Vec::with_capacity(data.len());
    for chunk in data[16..].chunks_exact(16) {
        let Some(&packed) = chunk.first_chunk::<16>() else { break };
        let mut block = Array::from(packed);
        match &cipher {
            Cipher::Short(cipher) => cipher.decrypt_block(&mut block),
            Cipher::Long(cipher) => cipher.decrypt_block(&mut block),
        }
        out.extend(block.iter().zip(before).map(|(byte, before)| byte ^ before));
        before = packed;
    }
    out
}

/// AES-128 in CBC mode without padding; bytes behind the last whole block are dropped.
fn cbc_encrypt(key: &[u8], start: &[u8], data: &[u8]) -> Vec<u8> {
    let (Ok(cipher), Some(mut before)) = (Aes128::new_from_slice(key), start.first_chunk::<16>().copied())
    else {
        return vec![0; 16];
    };
    let mut out = Vec::with_capacity(data.len());
    for chunk in data.chunks_exact(16) {
        let mixed: [u8; 16] = std::array::from_fn(|place| chunk[place] ^ before[place]);
        let mut block = Array::from(mixed);
        cipher.encrypt_block(&mut block);
        before = block.into();
        out.extend_from_slice(&before);
    }
    out
}

/// Without the padding of PKCS #7, where there is one.
fn unpad(mut data: Vec<u8>) -> Vec<u8> {
    if let Some(&count) = data.last()
        && (1..=16).contains(&count)
    {
        data.truncate(data.len().saturating_sub(usize::from(count)));
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6229 section 2 and FIPS 197 appendix B.
    #[test]
    fn ciphers() {
        assert_eq!(rc4(&[1, 2, 3, 4, 5], &[0; 8]), [0xb2, 0x39, 0x63, 0x05, 0xf0, 0x3d, 0xc0, 0x27]);
        let key = 0x2b7e_1516_28ae_d2a6_abf7_1588_09cf_4f3c_u128.to_be_bytes();
        let plain = 0x3243_f6a8_885a_308d_3131_98a2_e037_0734_u128.to_be_bytes();
        let packed = 0x3925_841d_02dc_09fb_dc11_8597_196a_0b32_u128.to_be_bytes();
        assert_eq!(cbc_encrypt(&key, &[0; 16], &plain), packed);
        assert_eq!(cbc(&key, &[&[0; 16], &packed[..]].concat()), plain);
        assert_eq!(cbc(&key[..7], &packed), [0_u8; 0]);
        assert_eq!(cbc(&key, b"short"), [0_u8; 0]);
    }
}
