//! How many signed messages a second are verified, on one thread and without name look-ups; see bench/dkim.sh.
//!
//! dkim_speed make FOLDER              writes signed messages, SIZE-ALGORITHM.eml, and the keys: name and record on a line
//! dkim_speed verify FOLDER SECONDS    verifies each message again and again: its name, messages a second

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use gatepost_auth::dkim::{Kind, Outcome, Settings, Signer, SigningKey, generate, verify};
use gatepost_auth::dns::Table;

/// Sizes of the bodies, in bytes.
const SIZES: [usize; 3] = [2_000, 50_000, 1_000_000];

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["make", folder] => make(Path::new(folder)),
        ["verify", folder, seconds] => measure(Path::new(folder), Duration::from_secs_f64(seconds.parse()?)),
        _ => Err("dkim_speed make FOLDER, or dkim_speed verify FOLDER SECONDS".into()),
    }
}

fn make(folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut keys = String::new();
    for (name, kind) in [("rsa2048", Kind::Rsa(2048)), ("ed25519", Kind::Ed25519)] {
        let made = generate(kind)?;
        keys += &format!("{name}._domainkey.example.org {}\n", made.record);
        let signer = Signer::new(Arc::new(SigningKey::from_pem(made.pem.as_bytes())?), "example.org", name);
        for size in SIZES {
            let line = "The  quick brown fox jumps over the lazy dog, and what else it may do. \r\n";
            let body = Bytes::from(line.repeat(size / line.len() + 1));
            let header = "Received: from client.example.org by mx.example.org; Sat, 21 Nov 2026 00:00:00 +0000\r\n\
                Date: Sat, 21 Nov 2026 00:00:00 +0000\r\nFrom: Joe <joe@example.org>\r\nTo: a@example.net\r\n\
                Subject: How many a second?\r\nMessage-ID: <1@example.org>\r\nMIME-Version: 1.0\r\n\
                Content-Type: text/plain; charset=us-ascii\r\n";
            let value = signer.sign(header.as_bytes(), std::slice::from_ref(&body), 1_700_000_000)?;
            let mut message = format!("DKIM-Signature: {value}\r\n{header}\r\n").into_bytes();
            message.extend_from_slice(&body);
            std::fs::write(folder.join(format!("{size:07}-{name}.eml")), message)?;
        }
    }
    Ok(std::fs::write(folder.join("keys"), keys)?)
}

fn measure(folder: &Path, time: Duration) -> Result<(), Box<dyn Error>> {
    let mut dns = Table::default();
    for line in std::fs::read_to_string(folder.join("keys"))?.lines() {
        let (name, text) = line.split_once(' ').ok_or("a key without record")?;
        dns.add(&format!("{name} TXT {text}"));
    }
    let mut files: Vec<_> = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|kind| kind == "eml"));
    files.sort();
    let settings = Settings::new(1_700_000_000);
    for file in files {
        let message = std::fs::read(&file)?;
        let (start, mut count) = (Instant::now(), 0u32);
        while start.elapsed() < time {
            let found = verify(&dns, &message, &settings).now_or_never().ok_or("a table answers at once")?;
            if found.first().is_none_or(|one| one.outcome != Outcome::Pass) {
                return Err(format!("{}: {found:#?}", file.display()).into());
            }
            count += 1;
        }
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        println!("{name} {:.0}", f64::from(count) / start.elapsed().as_secs_f64());
    }
    Ok(())
}
