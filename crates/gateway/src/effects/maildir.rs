//! The built-in next hop: a Maildir, so that a bare machine shows what gatepost does without a mail server.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use gatepost_mail::Address;

/// Stores a message durably and returns its file name. It is in `new/` and on disk before this returns, or it is not
/// there at all: written to `tmp/`, synced, renamed, and the folder synced.
pub async fn store(
    folder: PathBuf,
    sender: Option<Address>,
    recipients: Vec<Address>,
    chunks: Vec<Bytes>,
) -> io::Result<String> {
    tokio::task::spawn_blocking(move || write(&folder, sender.as_ref(), &recipients, &chunks))
        .await
        .unwrap_or_else(|_| Err(io::Error::other("the writer of the Maildir panicked")))
}

fn write(
    folder: &Path,
    sender: Option<&Address>,
    recipients: &[Address],
    chunks: &[Bytes],
) -> io::Result<String> {
    for sub in ["tmp", "new", "cur"] {
        make_folder(&folder.join(sub))?;
    }
    let name = unique_name();
    let temporary = folder.join("tmp").join(&name);
    let delivered = folder.join("new").join(&name);
    let written = write_synced(&temporary, sender, recipients, chunks)
        .and_then(|()| fs::rename(&temporary, &delivered))
        .and_then(|()| sync_folder(&folder.join("new")));
    if let Err(error) = written {
        // Nothing half-written or not surely written may stay; the sender still has the message.
        let _ = fs::remove_file(&temporary);
        let _ = fs::remove_file(&delivered);
        return Err(error);
    }
    Ok(name)
}

/// Makes a folder and those above it that are missing, their entries on disk when this returns: a synced file in a
/// folder that is gone after a power failure is gone with it.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let missing: Vec<&Path> = folder.ancestors().take_while(|above| !above.is_dir()).collect();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    missing.into_iter().filter_map(Path::parent).try_for_each(sync_folder)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    // The parent of a plain name is the empty path, which means the working folder.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}

fn write_synced(
    path: &Path,
    sender: Option<&Address>,
    recipients: &[Address],
    chunks: &[Bytes],
) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut out = io::BufWriter::new(file);
    let sender = sender.map(Address::to_string).unwrap_or_default();
    write!(out, "Return-Path: <{sender}>\r\n")?;
    for recipient in recipients {
        write!(out, "Delivered-To: {recipient}\r\n")?;
    }
    for chunk in chunks {
        out.write_all(chunk)?;
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// As Maildir names are made: time, what makes it unique in this process, host.
fn unique_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = jiff::Timestamp::now();
    let host = crate::config::units::system_hostname().replace(['/', ':'], "_");
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}.M{}P{}Q{count}.{host}", now.as_second(), now.subsec_microsecond(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stored_in_new_and_nothing_left_in_tmp() {
        let folder = tempfile::tempdir().unwrap();
        let sender = Address::new("a@example.org");
        let recipients = vec![Address::new("b@example.net").unwrap()];
        let chunks = vec![Bytes::from_static(b"Subject: x\r\n"), Bytes::from_static(b"\r\nbody\r\n")];
        let name = store(folder.path().into(), sender, recipients, chunks).await.unwrap();
        let text = fs::read_to_string(folder.path().join("new").join(name)).unwrap();
        assert_eq!(
            text,
            "Return-Path: <a@example.org>\r\nDelivered-To: b@example.net\r\nSubject: x\r\n\r\nbody\r\n"
        );
        assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn folders_are_made_as_deep_as_needed() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/Maildir");
        for _ in 0..2 {
            store(deep.clone(), None, Vec::new(), Vec::new()).await.unwrap();
        }
        assert_eq!(fs::read_dir(deep.join("new")).unwrap().count(), 2);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(store(file.path().into(), None, Vec::new(), Vec::new()).await.is_err());
    }
}
