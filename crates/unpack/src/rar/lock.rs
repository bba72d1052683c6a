//! Encrypted members and headers: keys from passwords. The ciphers of RAR 1.3 to 2.6 are not undone.

use ring::hmac;
use sha1::{Digest, Sha1};

use super::header::Lock;
use crate::crypto::{Aes, pbkdf2_sha256};

/// Rounds of SHA-1 that the key of RAR 3 takes.
const ROUNDS: u32 = 0x40000;

/// A key, and what the first block is mixed with.
pub(super) struct Key {
    aes: Aes,
    start: [u8; 16],
    /// Sums of the content are made with this one.
    sums: Option<[u8; 32]>,
}

impl Lock {
    /// What one try costs, in blocks that a hash function works through.
    pub(super) fn price(&self) -> u64 {
        match self {
            Lock::Old => u64::MAX,
            Lock::Three { .. } => u64::from(ROUNDS) / 2,
            Lock::Five { rounds, .. } => 2_u64.saturating_mul(1 << rounds.min(&40)),
        }
    }

    /// Whether the password is the right one, where that can be told by itself; None where it cannot.
    pub(super) fn accepts(&self, password: &str) -> Option<bool> {
        match self {
            Lock::Five { salt, rounds, check: Some(check), .. } if *rounds <= 24 => {
                let mut made = [0; 32];
                pbkdf2_sha256(password.as_bytes(), salt, (1 << rounds) + 32, &mut made);
                let mut folded = [0; 8];
                made.iter().enumerate().for_each(|(place, byte)| folded[place % 8] ^= byte);
                Some(folded == *check)
            }
            Lock::Three { .. } => None,
            Lock::Old | Lock::Five { .. } => Some(false),
        }
    }

    /// The key that a password makes.
    pub(super) fn key(&self, password: &str) -> Option<Key> {
        match self {
            Lock::Old => None,
            Lock::Three { salt } => three(password, salt),
            Lock::Five { salt, start, rounds, keyed_sums, .. } => {
                if *rounds > 24 {
                    return None;
                }
                let mut key = [0; 32];
                pbkdf2_sha256(password.as_bytes(), salt, 1 << rounds, &mut key);
                let sums = keyed_sums.then(|| {
                    let mut sums = [0; 32];
                    pbkdf2_sha256(password.as_bytes(), salt, (1 << rounds) + 16, &mut sums);
                    sums
                });
                Some(Key { aes: Aes::new(&key)?, start: *start, sums })
            }
        }
    }
}

/// The key of RAR 3: SHA-1 over the password in UTF-16, the salt and a counter, again and again.
fn three(password: &str, salt: &[u8]) -> Option<Key> {
    let mut seed: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
    seed.extend_from_slice(salt);
    let mut hash = Sha1::new();
    let mut start = [0; 16];
    for round in 0..ROUNDS {
        hash.update(&seed);
        hash.update(&round.to_le_bytes()[..3]);
        if round % (ROUNDS / 16) == 0 {
            start[(round / (ROUNDS / 16)) as usize] = hash.clone().finalize()[19];
        }
    }
    let mut key: Vec<u8> = hash.finalize()[..16].to_vec();
    key.chunks_exact_mut(4).for_each(<[u8]>::reverse);
    Some(Key { aes: Aes::new(&key)?, start, sums: None })
}

impl Key {
    /// Decrypts data in place.
    pub(super) fn decrypt(&self, data: &mut [u8]) {
        self.aes.cbc(self.start, data);
    }

    /// Decrypts a header, which has its own start.
    pub(super) fn decrypt_header(&self, start: [u8; 16], data: &mut [u8]) {
        self.aes.cbc(start, data);
    }

    /// The sum of the content as the header has it.
    pub(super) fn sum(&self, crc: u32) -> u32 {
        let Some(key) = &self.sums else { return crc };
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &crc.to_le_bytes());
        tag.as_ref()
            .chunks_exact(4)
            .fold(0, |sum, word| sum ^ u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
    }
}
