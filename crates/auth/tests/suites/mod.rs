//! Where the suites of others are, which may be absent.

use std::path::{Path, PathBuf};

/// A folder of theirs; says so where it is absent.
pub fn suite(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("GATEPOST_SUITES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/suites"), PathBuf::from);
    let folder = root.join(folder);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {} is absent", folder.display());
    None
}
