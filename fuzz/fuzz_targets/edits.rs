//! Any edits of any message: they are carried out or skipped, in both forms alike, and what is not edited stays.
#![no_main]

use bytes::Bytes;
use gatepost_mail::{Budget, Edit, Limits, Message, PartId, Place, apply, changes, holds_text, takes_text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<(u8, u8, String)>, &[u8])| {
    let (chosen, raw) = input;
    let limits = Limits { depth: 6, parts: 50, bytes: 1 << 20, ..Limits::default() };
    let read = |raw: Vec<u8>| Message::read(raw.into(), &mut Budget::new(&limits));
    let message = read(raw.to_vec());
    let edits: Vec<Edit> = chosen.into_iter().take(8).map(|(kind, part, text)| edit(kind, part, text)).collect();
    let applied = apply(&message, &edits);
    let instructions = changes(&message, &edits);
    assert_eq!(applied.skipped, instructions.skipped);
    assert!(applied.skipped.iter().all(|place| *place < edits.len()));
    let new = applied.chunks.concat();
    if applied.skipped.len() == edits.len() {
        assert_eq!(new, raw);
    }
    let again = read(new);
    takes_text(&again);
    holds_text(&again, "text");
});

fn edit(kind: u8, part: u8, text: String) -> Edit {
    let place = if part % 2 == 0 { Place::Top } else { Place::Bottom };
    let part = PartId(usize::from(part % 16));
    match kind % 8 {
        0 => Edit::ReplacePart { part, text },
        1 => Edit::RenamePart { part, name: text },
        2 => Edit::RewritePart { part, body: Bytes::from(text) },
        3 => Edit::CleanPart { part, text },
        4 => Edit::AddText { html: String::new(), text, place },
        5 => Edit::AddText { text: String::new(), html: text, place },
        6 => Edit::Wrap { text },
        _ => Edit::AddHeader { name: "X-Added".into(), value: text, place },
    }
}
