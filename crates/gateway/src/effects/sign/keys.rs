//! Private keys on disk: read whole, refused where others could read them, noticed when they change.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use gatepost_auth::dkim::SigningKey;
use zeroize::Zeroizing;

/// Largest file that is read: a key, a table of a large site.
const LARGEST: u64 = 16 << 20;

/// What tells that a file is another than it was: time of its last change, size, inode, mode.
pub(super) type Stamp = Option<(SystemTime, u64, u64, u32)>;

/// How a file is now; None if it is not there.
pub(super) fn stamp(file: &Path) -> Stamp {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino(), metadata.mode()))
}

/// Reads a key. The error names the file, and what would be right.
pub(super) fn read_key(file: &Path) -> Result<SigningKey, String> {
    let shown = file.display();
    let opened = File::open(file).map_err(|error| format!("{shown}: {error}"))?;
    let metadata = opened.metadata().map_err(|error| format!("{shown}: {error}"))?;
    if !metadata.is_file() {
        return Err(format!("{shown} is no file"));
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o027 != 0 {
        return Err(format!(
            "{shown} has mode {mode:04o}: a private key is for its owner, and at most for its group to read; \
             chmod 0600 {shown}"
        ));
    }
    let pem = Zeroizing::new(read(opened).map_err(|error| format!("{shown}: {error}"))?);
    SigningKey::from_pem(&pem).map_err(|error| format!("{shown}: {error}"))
}

/// Reads a text.
pub(super) fn read_text(file: &Path) -> Result<String, String> {
    let bytes = File::open(file).and_then(read).map_err(|error| format!("{}: {error}", file.display()))?;
    String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8", file.display()))
}

fn read(file: File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(std::io::Error::other(format!("is larger than {} MiB", LARGEST >> 20)));
    }
    Ok(bytes)
}
