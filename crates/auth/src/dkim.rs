//! DomainKeys Identified Mail (RFC 6376, RFC 8301, RFC 8463): verifying and signing.
//!
//! [`verify`] looks at every `DKIM-Signature` field of a message. Where hashing a long body should not hold up others,
//! [`Prepared::new`] does it apart from the look-ups, which [`Prepared::finish`] makes side by side.
//! [`Signer`] signs, with a [`SigningKey`] read from PEM; [`generate`] makes a new one and the DNS record for it.

pub(crate) mod canon;
pub(crate) mod header;
mod private;
pub(crate) mod read;
mod record;
pub(crate) mod sign;
pub(crate) mod tags;
#[cfg(test)]
mod tests;
pub(crate) mod verify;

use std::fmt;

pub use canon::Canon;
pub use private::{Generated, KeyError, Kind, SigningKey, generate, zone_line};
pub use sign::{FIELDS, OVERSIGNED, SignError, Signer, sign_all};
pub use verify::{Prepared, verify};

/// What verifying one signature came to (RFC 8601 section 2.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// There was no signature.
    None,
    /// It verifies, and nothing speaks against it.
    Pass,
    /// It does not verify: header or body are not what was signed.
    Fail,
    /// It says nothing: malformed, of an unknown kind, expired, from the future, beyond the number that is looked at.
    Neutral,
    /// It verifies, but is not good enough for [`Settings`]: a short key, SHA-1, a part of the body only.
    Policy,
    /// Its key cannot be looked up now.
    TempError,
    /// It can never be verified: a tag that must be there is not, there is no key, or the key does not fit.
    PermError,
}

impl Outcome {
    /// As `Authentication-Results` has it: `pass`.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::None => "none",
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::Neutral => "neutral",
            Outcome::Policy => "policy",
            Outcome::TempError => "temperror",
            Outcome::PermError => "permerror",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// 2018-01-01, when SHA-1 and short keys came to an end.
const RFC_8301: i64 = 1_514_764_800;

/// What is accepted of a signature.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The time to judge by, in seconds since 1970.
    pub now: i64,
    /// Shortest RSA key that passes, in bits; shorter ones are `policy`. RFC 8301 section 3.2 asks for 1024.
    pub min_bits: usize,
    /// Whether `rsa-sha1` passes. RFC 8301 section 3.1 says it must not; it is `policy` then.
    pub sha1: bool,
    /// Whether signatures of the drafts before RFC 4871 are read, without `v=` or with `v=0.x`, and whether a key's `g=`
    /// (RFC 4871) is honoured. Otherwise the former cannot pass, and the latter is ignored (RFC 6376).
    pub historic: bool,
    /// Whether a signature over a part of the body (`l=`) passes; otherwise it is `policy`, if anything was added.
    pub lengths: bool,
    /// How far a signature's time may lie in the future, and its expiry in the past, in seconds.
    pub skew: i64,
    /// How many signatures are looked at.
    pub max: usize,
}

impl Settings {
    /// As RFC 6376 and RFC 8301 have it: keys of 1024 bits and more, no SHA-1; `l=` accepted, five minutes of skew,
    /// sixteen signatures.
    pub fn new(now: i64) -> Settings {
        Settings { now, min_bits: 1024, sha1: false, historic: false, lengths: true, skew: 300, max: 16 }
    }

    /// Everything that once was a good signature, for old mail: drafts of DKIM, SHA-1, keys from 512 bits on. None of it
    /// proves anything today: a key of 512 bits can be broken by anyone.
    pub fn historic(now: i64) -> Settings {
        Settings { min_bits: 512, sha1: true, historic: true, ..Settings::new(now) }
    }

    /// What was good at a time: [`Settings::historic`] before RFC 8301 (January 2018), [`Settings::new`] since.
    pub fn at(now: i64) -> Settings {
        match now < RFC_8301 {
            true => Settings::historic(now),
            false => Settings::new(now),
        }
    }
}

/// What came of one `DKIM-Signature` field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The result.
    pub outcome: Outcome,
    /// Why, for a postmaster: `body hash did not verify: …`.
    pub reason: String,
    /// The domain that signed (`d=`), in lower case; empty where it could not be read.
    pub domain: String,
    /// The key's selector (`s=`); empty where it could not be read.
    pub selector: String,
    /// On whose behalf (`i=`): `user@sub.domain`; `@domain` where the signature does not say.
    pub identity: String,
    /// Algorithm as written (`a=`): `rsa-sha256`.
    pub algorithm: String,
    /// Canonicalization of header and body, in full: `relaxed/simple`.
    pub canonicalization: String,
    /// Names of the signed fields (`h=`), as written.
    pub signed: Vec<String>,
    /// Size of the public key in bits, when it was found.
    pub key_bits: Option<usize>,
    /// The key's record says that the domain is testing DKIM (`t=y`): a failure is to be taken as no signature at all.
    pub testing: bool,
    /// How much of the body is signed, in bytes after canonicalization (`l=`).
    pub length: Option<u64>,
    /// How many bytes of the body, after canonicalization, are not signed.
    pub unsigned: u64,
    /// When it was made (`t=`), in seconds since 1970.
    pub signed_at: Option<u64>,
    /// When it expires (`x=`), in seconds since 1970.
    pub expires: Option<u64>,
    /// First eight characters of the signature (`b=`), for `header.b` (RFC 6008).
    pub b: String,
    /// What was done, step by step, for whoever asks why.
    pub steps: Vec<String>,
}
