//! Mails that others made to test readers of mail. Skipped where the folder with them is absent.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use gatepost_mail::{Budget, Limits, Message};

fn suites(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("GATEPOST_SUITES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/suites"), PathBuf::from);
    let folder = root.join(folder);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {} is absent", folder.display());
    None
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder that can be listed");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}

fn read(file: &Path) -> Message {
    let raw = std::fs::read(file).expect("a file that can be read");
    Message::read(Bytes::from(raw), &mut Budget::new(&Limits::default()))
}

#[test]
fn hidden_names_are_found() {
    let Some(folder) = suites("mime-evasion") else { return };
    let mut missed = Vec::new();
    for file in files(&folder, "eml") {
        let message = read(&file);
        let how = message.headers.text("Subject").unwrap_or_default();
        for (part, extension) in [(1, ".txt"), (2, ".zip")] {
            let names = &message.parts[part].names;
            if !names.iter().any(|name| name.ends_with(extension)) && !how.contains(".png") {
                missed.push(format!("{how}: {names:?}"));
            }
        }
    }
    assert!(missed.is_empty(), "{} missed:\n{}", missed.len(), missed.join("\n"));
}
