//! Certificates and keys of listeners: readable, fitting, and in force.

use std::path::Path;

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::{Line, State};
use crate::config::Config;

/// Days before its end from which on a certificate is worth a warning.
const SOON: i64 = 14;

/// One line for each listener that has a certificate.
pub(super) fn lines(config: &Config) -> Vec<Line> {
    let mut lines = Vec::new();
    for listener in config.listeners() {
        if let (Some(certificate), Some(key)) = (&listener.tls_certificate, &listener.tls_key) {
            let what = format!("listener {}: certificate {}", listener.name, certificate.display());
            lines.push(match judge(certificate, key, jiff::Timestamp::now()) {
                Ok((state, detail)) => Line::new(state, what, detail),
                Err(detail) => Line::bad(what, detail),
            });
        }
    }
    lines
}

fn judge(certificate: &Path, key: &Path, now: jiff::Timestamp) -> Result<(State, String), String> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| format!("cannot be read: {error}"))?;
    let first = chain.first().ok_or("holds no certificate in PEM")?;
    let (from, until) = validity(first).ok_or("its dates cannot be read")?;
    let key_der = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| format!("key {} cannot be read: {error}", key.display()))?;
    CertifiedKey::from_der(chain, key_der, &default_provider())
        .map_err(|error| format!("does not fit the key {}: {error}", key.display()))?;
    let day = |time: jiff::Timestamp| time.strftime("%Y-%m-%d").to_string();
    let days = (until.as_second() - now.as_second()) / 86_400;
    Ok(match () {
        () if now < from => (State::Bad, format!("is valid only from {}", day(from))),
        () if now > until => (State::Bad, format!("has expired on {}", day(until))),
        () if days < SOON => (State::Doubtful, format!("expires in {days} days, on {}", day(until))),
        () => (State::Good, format!("fits its key, valid until {}", day(until))),
    })
}

/// The first and last moment a certificate is in force (RFC 5280 section 4.1): Certificate, TBSCertificate, then past
/// version, serial number, signature algorithm and issuer.
fn validity(certificate: &[u8]) -> Option<(jiff::Timestamp, jiff::Timestamp)> {
    const SEQUENCE: u8 = 0x30;
    let (_, certificate, _) = element(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, mut rest, _) = element(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
    if rest.first() == Some(&0xa0) {
        rest = element(rest)?.2;
    }
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (tag, from, rest) = element(validity)?;
    let (until_tag, until, _) = element(rest)?;
    Some((time(tag, from)?, time(until_tag, until)?))
}

/// One element of DER: its tag, its content, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let size = usize::from(first & 0x7f);
        if size == 0 || size > 4 {
            return None;
        }
        let (length, rest) = rest.split_at_checked(size)?;
        (length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// A UTCTime (`YYMMDDHHMMSSZ`) or GeneralizedTime (`YYYYMMDDHHMMSSZ`).
fn time(tag: u8, text: &[u8]) -> Option<jiff::Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let text = match tag {
        // RFC 5280 section 4.1.2.5.1: years from 50 on are of the last century.
        0x17 => format!("{}{text}", if text.get(..2)? >= "50" { "19" } else { "20" }),
        0x18 => text.to_owned(),
        _ => return None,
    };
    let digits = text.strip_suffix('Z').filter(|digits| digits.len() == 14)?;
    let date = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", digits).ok()?;
    Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Makes a self-signed certificate for 100 days; false if openssl is not installed.
    fn make(folder: &Path, name: &str) -> bool {
        let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "100",
            ])
            .args(["-subj", "/CN=gate.example.org", "-keyout"])
            .arg(key)
            .arg("-out")
            .arg(certificate)
            .output()
            .is_ok_and(|output| output.status.success())
    }

    #[test]
    fn certificates_fit_their_keys_and_have_their_time() {
        let folder = tempfile::tempdir().unwrap();
        if !make(folder.path(), "a") || !make(folder.path(), "b") {
            println!("skipped: needs openssl");
            return;
        }
        let file = |name: &str| folder.path().join(name);
        let after = |days: i64| jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
        for (certificate, key, days, state, part) in [
            ("a.pem", "a.key", 0, Some(State::Good), "fits its key, valid until 20"),
            ("a.pem", "a.key", 95, Some(State::Doubtful), "expires in "),
            ("a.pem", "a.key", 101, Some(State::Bad), "has expired on 20"),
            ("a.pem", "a.key", -1, Some(State::Bad), "is valid only from 20"),
            ("a.pem", "b.key", 0, None, "does not fit the key"),
            ("a.key", "a.key", 0, None, "holds no certificate"),
            ("none", "a.key", 0, None, "cannot be read"),
            ("a.pem", "none", 0, None, "cannot be read"),
        ] {
            let (found, detail) = match judge(&file(certificate), &file(key), after(days)) {
                Ok((state, detail)) => (Some(state), detail),
                Err(detail) => (None, detail),
            };
            assert_eq!(found, state, "{certificate} {key} {days}: {detail}");
            assert!(detail.contains(part), "{certificate} {key} {days}: {detail}");
        }
    }

    #[test]
    fn broken_certificates_have_no_dates() {
        for bytes in [&b""[..], b"\x30", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\x30\x02\x30\x00"] {
            assert_eq!(validity(bytes), None, "{bytes:x?}");
        }
        assert!(time(0x17, b"261121000000Z").unwrap().to_string().starts_with("2026-11-21"));
        assert!(time(0x17, b"991231235959Z").unwrap().to_string().starts_with("1999-12-31"));
        assert!(time(0x18, b"20500101000000Z").unwrap().to_string().starts_with("2050-01-01"));
        assert_eq!(time(0x17, b"26112100Z"), None);
    }
}
