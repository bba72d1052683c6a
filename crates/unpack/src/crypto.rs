//! Ciphers and key derivations of encrypted archives and documents. They only undo; nothing here keeps a secret.

use std::num::NonZeroU32;

use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes128Dec, Aes128Enc, Aes192Dec, Aes192Enc, Aes256Dec, Aes256Enc};

/// AES with a key of 16, 24 or 32 bytes, as far as decrypting needs it.
pub(crate) enum Aes {
    Short(Box<(Aes128Enc, Aes128Dec)>),
    Middle(Box<(Aes192Enc, Aes192Dec)>),
    Long(Box<(Aes256Enc, Aes256Dec)>),
}

impl Aes {
    /// None for a key of another size.
    pub(crate) fn new(key: &[u8]) -> Option<Aes> {
        fn both<E: KeyInit, D: KeyInit>(key: &[u8]) -> Option<Box<(E, D)>> {
            Some(Box::new((E::new_from_slice(key).ok()?, D::new_from_slice(key).ok()?)))
        }
        match key.len() {
            16 => both(key).map(Aes::Short),
            24 => both(key).map(Aes::Middle),
            32 => both(key).map(Aes::Long),
            _ => None,
        }
    }

    fn decrypt(&self, block: &mut [u8; 16]) {
        let mut array = Array::from(*block);
        match self {
            Aes::Short(both) => both.1.decrypt_block(&mut array),
            Aes::Middle(both) => both.1.decrypt_block(&mut array),
            Aes::Long(both) => both.1.decrypt_block(&mut array),
        }
        block.copy_from_slice(&array);
    }

    fn encrypt(&self, block: &mut [u8; 16]) {
        let mut array = Array::from(*block);
        match self {
            Aes::Short(both) => both.0.encrypt_block(&mut array),
            Aes::Middle(both) => both.0.encrypt_block(&mut array),
            Aes::Long(both) => both.0.encrypt_block(&mut array),
        }
        block.copy_from_slice(&array);
    }

    /// Decrypts whole blocks in place, chained (CBC); what is left over at the end stays as it is.
    pub(crate) fn cbc(&self, mut before: [u8; 16], data: &mut [u8]) {
        for chunk in data.chunks_exact_mut(16) {
            let Some(block) = chunk.first_chunk_mut::<16>() else { return };
            let packed = *block;
            self.decrypt(block);
            block.iter_mut().zip(before).for_each(|(byte, other)| *byte ^= other);
            before = packed;
        }
    }

    /// Decrypts whole blocks in place, each by itself (ECB).
    #[allow(dead_code, reason = "office documents use it")]
    pub(crate) fn ecb(&self, data: &mut [u8]) {
        data.chunks_exact_mut(16)
            .filter_map(|chunk| chunk.first_chunk_mut())
            .for_each(|block| self.decrypt(block));
    }

    /// Decrypts in place with a counter that begins at 1, lowest byte first, as WinZip has it.
    pub(crate) fn ctr_le(&self, data: &mut [u8]) {
        for (chunk, counter) in data.chunks_mut(16).zip(1_u128..) {
            let mut stream = counter.to_le_bytes();
            self.encrypt(&mut stream);
            chunk.iter_mut().zip(stream).for_each(|(byte, other)| *byte ^= other);
        }
    }
}

/// PBKDF2 with HMAC-SHA-1 (RFC 8018 section 5.2), into all of `key`.
pub(crate) fn pbkdf2_sha1(password: &[u8], salt: &[u8], rounds: u32, key: &mut [u8]) {
    let rounds = NonZeroU32::new(rounds).unwrap_or(NonZeroU32::MIN);
    ring::pbkdf2::derive(ring::pbkdf2::PBKDF2_HMAC_SHA1, rounds, salt, password, key);
}

/// PBKDF2 with HMAC-SHA-256, into all of `key`.
pub(crate) fn pbkdf2_sha256(password: &[u8], salt: &[u8], rounds: u32, key: &mut [u8]) {
    let rounds = NonZeroU32::new(rounds).unwrap_or(NonZeroU32::MIN);
    ring::pbkdf2::derive(ring::pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password, key);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 197 appendix C, and NIST SP 800-38A F.2.1 for the chaining.
    #[test]
    fn known_answers() {
        let plain: [u8; 16] = std::array::from_fn(|place| (place * 0x11) as u8);
        for (len, first) in [(16, 0x69), (24, 0xdd), (32, 0x8e)] {
            let key: Vec<u8> = (0..len).collect();
            let aes = Aes::new(&key).expect("a key");
            let mut block = plain;
            aes.encrypt(&mut block);
            assert_eq!(block[0], first);
            aes.cbc([0; 16], &mut block);
            assert_eq!(block, plain);
        }
        assert!(Aes::new(&[0; 15]).is_none());
        let mut key = [0; 20];
        pbkdf2_sha1(b"password", b"salt", 2, &mut key);
        assert_eq!(key[..4], [0xea, 0x6c, 0x01, 0x4d]);
    }
}
