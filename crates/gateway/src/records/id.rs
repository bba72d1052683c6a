//! Ids of records: what the SMTP reply carries and `gatepost explain` is asked for; and their secret companions.

use subtle::ConstantTimeEq;

const LETTERS: &[u8; 52] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const LETTERS_AND_DIGITS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Length of an id in characters; 71 bits, so that ids do not meet by chance and cannot be guessed.
pub const ID_LENGTH: usize = 12;

/// Length of a secret id in characters; 119 bits.
const SECRET_LENGTH: usize = 20;

/// A new id: 12 of `[A-Za-z0-9]`, the first a letter, evenly distributed, from the system's randomness.
///
/// Ids are case-sensitive. A vault on a file system that folds case still works: `put` refuses to overwrite.
pub fn new_id() -> String {
    random(ID_LENGTH)
}

/// A new secret id, in the form of an id but longer: whoever knows it may have a held message released.
pub fn new_secret() -> String {
    random(SECRET_LENGTH)
}

/// Whether two secrets are the same. How long it takes tells nothing about where they differ.
pub fn same_secret(one: &str, other: &str) -> bool {
    one.len() == other.len() && bool::from(one.as_bytes().ct_eq(other.as_bytes()))
}

fn random(length: usize) -> String {
    let mut id = String::with_capacity(length);
    let mut pool = [0_u8; 32];
    while id.len() < length {
        // There is no safe way on without randomness, and Linux always has some once it has booted.
        getrandom::fill(&mut pool).expect("the operating system gives random bytes");
        for byte in pool {
            let alphabet: &[u8] = if id.is_empty() { LETTERS } else { LETTERS_AND_DIGITS };
            // Bytes beyond the last whole multiple would favour the first characters.
            let limit = 256 / alphabet.len() * alphabet.len();
            if usize::from(byte) < limit && id.len() < length {
                id.push(char::from(alphabet[usize::from(byte) % alphabet.len()]));
            }
        }
    }
    id
}

/// Whether a text has the form of an id. Longer ones (up to 64) are let in, so that the length may grow one day.
pub fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && text.as_bytes()[0].is_ascii_alphabetic()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_have_their_form_and_differ() {
        let ids: HashSet<String> = (0..10_000).map(|_| new_id()).collect();
        assert_eq!(ids.len(), 10_000);
        let mut seen = HashSet::new();
        for id in &ids {
            assert_eq!(id.len(), ID_LENGTH);
            assert!(is_id(id), "{id}");
            seen.extend(id.bytes());
        }
        assert_eq!(seen.len(), 62, "every character occurs");
    }

    #[test]
    fn secrets_differ_and_are_compared_whole() {
        let secret = new_secret();
        assert_eq!(secret.len(), SECRET_LENGTH);
        assert!(is_id(&secret) && secret != new_secret());
        for (one, other, same) in [
            ("abc", "abc", true),
            ("abc", "abd", false),
            ("abc", "ab", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(same_secret(one, other), same, "{one} {other}");
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for bad in ["", "1abc", "a/b", "../etc", "a b", "é", &"a".repeat(65)] {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
