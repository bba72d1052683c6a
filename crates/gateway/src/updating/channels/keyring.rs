//! Keys that sign channels: SpamAssassin's own, and those that were imported, each file of them a file of a folder.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::super::{give, replace};
use crate::resources::openpgp::Keys;

/// SpamAssassin's release key, which signs `updates.spamassassin.org`:
/// 5E54 1DC9 59CB 8BAC 7C78 DFDC 4056 A61A 5244 EC45.
const SPAMASSASSIN: &[u8] = include_bytes!("spamassassin.asc");

/// Files that are read.
const MOST: usize = 256;

/// SpamAssassin's key.
pub fn spamassassin() -> Result<Keys, String> {
    Keys::parse(SPAMASSASSIN).map_err(|why| format!("SpamAssassin's release key: {why}"))
}

/// Keeps the keys of a file. They count where somebody names them. Returns their fingerprints; blocks.
pub fn import(keyring: &Path, file: &Path) -> Result<Vec<String>, String> {
    let names = Keys::read(file)?.names();
    let first = names.first().ok_or_else(|| format!("{}: holds no OpenPGP key", file.display()))?;
    let content = fs::read(file).map_err(|why| format!("{}: {why}", file.display()))?;
    if !keyring.is_dir() {
        let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(keyring);
        let given = made.and_then(|()| give(keyring, keyring.parent().unwrap_or(keyring)));
        given.map_err(|why| format!("{}: {why}", keyring.display()))?;
    }
    replace(&keyring.join(format!("{first}.asc")), &content)?;
    Ok(names)
}

/// All keys that were imported. A file that cannot be used is as if it were not there; blocks.
pub fn load(keyring: &Path) -> Result<Keys, String> {
    if !keyring.exists() {
        return Ok(Keys::default());
    }
    let mut keys = Keys::default();
    let entries = fs::read_dir(keyring).map_err(|why| format!("{}: {why}", keyring.display()))?;
    for entry in entries.flatten().take(MOST) {
        let path = entry.path();
        if path.extension().is_some_and(|end| end == "asc")
            && let Ok(more) = Keys::read(&path)
        {
            keys = keys.and(more);
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_imported_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let keyring = folder.path().join("a/keys");
        assert!(load(&keyring).unwrap().is_empty());
        let file = folder.path().join("GPG.KEY");
        fs::write(&file, SPAMASSASSIN).unwrap();
        assert_eq!(import(&keyring, &file).unwrap(), spamassassin().unwrap().names());
        fs::write(keyring.join("broken.asc"), "x").unwrap();
        assert_eq!(load(&keyring).unwrap().names().len(), 1);
        assert!(import(&keyring, &keyring.join("broken.asc")).unwrap_err().contains("broken.asc"));
    }
}
