//! What reading costs: `read_speed FOLDER ROUNDS` reads every file below the folder as a mail, on one thread, so many times,
//! and prints files, bytes, and the microseconds a file of the fastest round.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gatepost_mail::Limits;

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().collect();
    let (folder, rounds) = match words.as_slice() {
        [_, folder, rounds] => (Path::new(folder), rounds.parse().unwrap_or(5)),
        _ => return Err(std::io::Error::other("read_speed FOLDER ROUNDS")),
    };
    let mut files = Vec::new();
    list(folder, &mut files)?;
    let mails =
        files.iter().map(|file| std::fs::read(file).map(Bytes::from)).collect::<Result<Vec<_>, _>>()?;
    let limits = Limits::default();
    let mut fastest = Duration::MAX;
    let mut parts = 0;
    for _ in 0..rounds {
        let start = Instant::now();
        parts = mails.iter().map(|mail| gatepost_unpack::read(mail.clone(), &limits).parts.len()).sum();
        fastest = fastest.min(start.elapsed());
    }
    let bytes: usize = mails.iter().map(Bytes::len).sum();
    let each = fastest.as_secs_f64() * 1e6 / mails.len().max(1) as f64;
    println!("{} files, {bytes} bytes, {parts} parts: {each:.2} µs a file", mails.len());
    Ok(())
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => list(&path, files)?,
            false => files.push(path),
        }
    }
    files.sort();
    Ok(())
}
