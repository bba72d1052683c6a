//! Edits of messages that others collected because they are hard to read: whatever part is replaced, its content is
//! gone and all else is as it was.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use gatepost_mail::{Applied, Budget, Edit, Limits, Message, PartId, Place, apply};

/// A folder of the collection of test messages, which is not part of the repository.
fn suite(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("GATEPOST_SUITES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/suites"), PathBuf::from);
    let folder = root.join(folder);
    if !folder.is_dir() {
        println!("skipped: {} is absent", folder.display());
        return None;
    }
    Some(folder)
}

/// Files below a folder that end in one of these.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder that can be listed") {
            let path = entry.expect("an entry").path();
            let wanted =
                |path: &Path| path.extension().is_some_and(|e| endings.iter().any(|wanted| e == *wanted));
            match path.is_dir() {
                true => folders.push(path),
                false if wanted(&path) => found.push(path),
                false => {}
            }
        }
    }
    found.sort();
    found
}

fn read(raw: impl Into<Bytes>) -> Message {
    Message::read(raw.into(), &mut Budget::new(&Limits::default()))
}

fn replace(message: &Message, part: usize) -> Applied {
    apply(message, &[Edit::ReplacePart { part: PartId(part), text: "In its place.\n".into() }])
}

#[test]
fn every_part_can_be_replaced() {
    let mut replaced = 0;
    for folder in ["mime4j", "mime-evasion"] {
        for file in suite(folder).map(|folder| files(&folder, &["msg", "eml"])).unwrap_or_default() {
            let raw = std::fs::read(&file).expect("a readable file");
            let message = read(raw.clone());
            for (id, part) in message.parts().filter(|(_, part)| part.body.len() > 20) {
                let what = format!("{}, part {}", file.display(), id.0);
                let applied = replace(&message, id.0);
                assert!(applied.skipped.is_empty(), "{what}");
                let text = applied.chunks.concat();
                let entity = message.replaceable(id).expect("something to replace");
                if entity.0 != 0 {
                    let span = message.part(entity).span.clone().expect("its place");
                    assert!(
                        text.starts_with(&raw[..span.start]) && text.ends_with(&raw[span.end..]),
                        "{what}"
                    );
                }
                let again = read(text);
                let stands = |part: &gatepost_mail::Part| part.body.starts_with(b"In its place.");
                assert!(again.parts.iter().any(stands), "{what}");
                let same = again.parts.iter().filter(|other| other.body == part.body).count();
                let before = message.parts.iter().filter(|other| other.body == part.body).count();
                assert!(same < before, "{what}: still there");
                replaced += 1;
            }
        }
    }
    println!("{replaced} parts replaced");
}

#[test]
fn a_field_is_added_and_nothing_else() {
    for folder in ["mime4j", "mime-evasion", "ham-signed"] {
        for file in suite(folder).map(|folder| files(&folder, &["msg", "eml"])).unwrap_or_default() {
            let raw = std::fs::read(&file).expect("a readable file");
            let message = read(raw.clone());
            let edit = |place| Edit::AddHeader { name: "X-Added".into(), value: "1".into(), place };
            let text = apply(&message, &[edit(Place::Top), edit(Place::Bottom)]).chunks.concat();
            let text = String::from_utf8_lossy(&text).replace("X-Added: 1\r\n", "");
            // A message that is nothing but body gets an empty line before it.
            let text = if message.headers.raw.is_empty() { text.trim_start_matches("\r\n") } else { &text };
            assert_eq!(text, String::from_utf8_lossy(&raw), "{}", file.display());
        }
    }
}

#[test]
fn every_part_that_stands_can_be_renamed() {
    let mut renamed = 0;
    for folder in ["mime4j", "mime-evasion"] {
        for file in suite(folder).map(|folder| files(&folder, &["msg", "eml"])).unwrap_or_default() {
            let raw = std::fs::read(&file).expect("a readable file");
            let message = read(raw.clone());
            let named =
                message.parts().filter(|(id, part)| !part.names.is_empty() && message.can_rename(*id));
            for (id, part) in named {
                let what = format!("{}, part {}", file.display(), id.0);
                let edit = Edit::RenamePart { part: id, name: "In its place.new".into() };
                let applied = apply(&message, &[edit]);
                assert!(applied.skipped.is_empty(), "{what}");
                let text = applied.chunks.concat();
                if id.0 != 0 {
                    let span = part.span.clone().expect("its place");
                    assert!(
                        text.starts_with(&raw[..span.start]) && text.ends_with(&raw[span.end..]),
                        "{what}"
                    );
                }
                let again = read(text);
                let same = |other: &&gatepost_mail::Part| {
                    other.names.first().is_some_and(|n| n == "In its place.new")
                };
                let new = again.parts.iter().find(same).unwrap_or_else(|| panic!("{what}: no such name"));
                assert_eq!(
                    (&new.names[..], &new.body),
                    (&["In its place.new".to_owned()][..], &part.body),
                    "{what}"
                );
                for name in &part.names {
                    let with = |message: &Message| {
                        message.parts.iter().filter(|part| part.names.contains(name)).count()
                    };
                    assert!(with(&again) < with(&message), "{what}: {name:?} is still there");
                }
                renamed += 1;
            }
        }
    }
    println!("{renamed} parts renamed");
}
