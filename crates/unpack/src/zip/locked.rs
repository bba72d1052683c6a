//! Encrypted members: PKWARE's traditional cipher (APPNOTE 6.1) and WinZip's AES, opened by candidate passwords.

use std::num::Wrapping;

use super::header::crc32;
use super::method::{self, DEFLATE, STORED, Told};
use crate::codec::{Fault, probe};
use crate::crypto::{Aes, pbkdf2_sha1};
use crate::opening::Opening;

/// What the field of WinZip's AES tells (extra field 0x9901).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Winzip {
    /// In version 2 the header has no checksum.
    pub(super) version: u16,
    /// Size of the key: 1 for 128, 2 for 192, 3 for 256 bits.
    pub(super) strength: u8,
    /// How the member is packed.
    pub(super) method: u16,
}

/// An encrypted member, to be tried.
pub(super) struct Locked<'a> {
    /// The packed and encrypted bytes.
    pub(super) data: &'a [u8],
    /// How the content is packed.
    pub(super) method: u16,
    pub(super) told: Told,
    pub(super) crc: u32,
    /// Time of the file, which the cipher's check byte may be of.
    pub(super) time: u16,
    pub(super) winzip: Option<Winzip>,
}

impl Locked<'_> {
    /// The packed bytes without encryption, if a candidate opens it.
    pub(super) fn open(&self, opening: &mut Opening) -> Option<Vec<u8>> {
        match self.winzip {
            Some(winzip) => self.open_winzip(opening, winzip),
            None => self.open_traditional(opening),
        }
    }

    fn open_traditional(&self, opening: &mut Opening) -> Option<Vec<u8>> {
        let head: &[u8; 12] = self.data.first_chunk()?;
        let checks = [(self.crc >> 24) as u8, (self.time >> 8) as u8];
        let mut opened = None;
        opening.password(1, |password| {
            let found = spellings(password).into_iter().find_map(|password| {
                let mut keys = Keys::new(&password);
                let last = head.iter().map(|&byte| keys.decrypt(byte)).last();
                (last.is_some_and(|last| checks.contains(&last)) && self.makes_sense(&keys)).then_some(keys)
            });
            opened = found;
            opened.is_some()
        })?;
        let mut keys = opened?;
        Some(self.data[head.len()..].iter().map(|&byte| keys.decrypt(byte)).collect())
    }

    /// Whether what these keys decrypt can be unpacked; the check byte alone fits one time in 256.
    fn makes_sense(&self, keys: &Keys) -> bool {
        const ENOUGH: usize = 64 << 10;
        let mut keys = keys.clone();
        let data = &self.data[12..];
        if self.method == STORED {
            let mut crc = flate2::Crc::new();
            for chunk in data.chunks(ENOUGH) {
                let plain: Vec<u8> = chunk.iter().map(|&byte| keys.decrypt(byte)).collect();
                crc.update(&plain);
            }
            return crc.sum() == self.crc;
        }
        let some: Vec<u8> = data.iter().take(4 * ENOUGH).map(|&byte| keys.decrypt(byte)).collect();
        let mut complaints = Vec::new();
        let (made, ended) = probe(ENOUGH, |sink| match (self.method, method::decoder(self.method)) {
            (DEFLATE, _) => {
                sink.drain(&mut flate2::read::DeflateDecoder::new(&some[..]), None).map(|()| some.len())
            }
            (_, Some(decoder)) => decoder(&some, self.told, sink, &mut complaints),
            (_, None) => Err(Fault::Corrupt),
        });
        match ended {
            Ok(_) => crc32(&made) == self.crc,
            Err(Fault::Over(_)) => made.len() > ENOUGH,
            Err(Fault::Truncated | Fault::Corrupt) => some.len() < data.len() && made.len() > ENOUGH,
        }
    }

    fn open_winzip(&self, opening: &mut Opening, winzip: Winzip) -> Option<Vec<u8>> {
        /// Bytes of the checksum behind the data.
        const SUM: usize = 10;
        let key_len = match winzip.strength {
            1 => 16,
            2 => 24,
            3 => 32,
            _ => return None,
        };
        let (salt, rest) = self.data.split_at_checked(key_len / 2)?;
        let (check, rest) = rest.split_first_chunk::<2>()?;
        let (data, sum) = rest.split_at_checked(rest.len().checked_sub(SUM)?)?;
        let mut found = None;
        // 1,000 rounds of two blocks for every 20 bytes of keys.
        let rounds = 2000 * (2 * key_len + 2).div_ceil(20) as u64;
        opening.password(rounds, |password| {
            spellings(password).into_iter().any(|password| {
                let mut keys = vec![0; 2 * key_len + 2];
                pbkdf2_sha1(&password, salt, 1000, &mut keys);
                if keys[2 * key_len..] != check[..] {
                    return false;
                }
                let key = ring::hmac::Key::new(
                    ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                    &keys[key_len..2 * key_len],
                );
                let fits = ring::hmac::sign(&key, data).as_ref().starts_with(sum);
                found = Aes::new(&keys[..key_len]).filter(|_| fits);
                found.is_some()
            })
        })?;
        let mut plain = data.to_vec();
        found?.ctr_le(&mut plain);
        Some(plain)
    }
}

/// The bytes that programs make of a password: UTF-8, and Latin-1 where it has other characters than ASCII.
fn spellings(password: &str) -> Vec<Vec<u8>> {
    let mut all = vec![password.as_bytes().to_vec()];
    if !password.is_ascii()
        && let Ok(latin) = password.chars().map(|c| u8::try_from(u32::from(c))).collect()
    {
        all.push(latin);
    }
    all
}

/// The traditional cipher's state.
#[derive(Clone)]
struct Keys([Wrapping<u32>; 3]);

impl Keys {
    fn new(password: &[u8]) -> Keys {
        let mut keys = Keys([0x1234_5678, 0x2345_6789, 0x3456_7890].map(Wrapping));
        password.iter().for_each(|&byte| keys.update(byte));
        keys
    }

    fn update(&mut self, byte: u8) {
        let Keys([first, second, third]) = self;
        first.0 = step(first.0, byte);
        *second = (*second + Wrapping(first.0 & 0xff)) * Wrapping(134_775_813) + Wrapping(1);
        third.0 = step(third.0, (second.0 >> 24) as u8);
    }

    fn decrypt(&mut self, byte: u8) -> u8 {
        let value = self.0[2].0 as u16 | 2;
        let plain = byte ^ (value.wrapping_mul(value ^ 1) >> 8) as u8;
        self.update(plain);
        plain
    }
}

/// One byte more into a CRC-32, without the complements.
fn step(crc: u32, byte: u8) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut place = 0;
        while place < 256 {
            let mut value = place as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { value >> 1 ^ 0xedb8_8320 } else { value >> 1 };
                bit += 1;
            }
            table[place] = value;
            place += 1;
        }
        table
    };
    TABLE[usize::from(crc as u8 ^ byte)] ^ crc >> 8
}
