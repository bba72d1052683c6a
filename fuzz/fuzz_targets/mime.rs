//! Any bytes as a message: the tree is whole, within its budget, and its spans lie where they say.
#![no_main]

use gatepost_mail::{Budget, DefectKind, Limits, Message, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| {
    let limits = Limits { depth: 6, parts: 50, bytes: 1 << 20, ..Limits::default() };
    let message = Message::read(raw.to_vec().into(), &mut Budget::new(&limits));
    assert!((1..=50).contains(&message.parts.len()));
    assert!(message.defects.len() <= 50 * DefectKind::ALL.len());
    for (id, part) in message.parts() {
        assert!(part.depth <= limits.depth && part.parent.is_none_or(|parent| parent < id));
        if let Some(span) = part.span.clone() {
            assert!(message.raw[span].starts_with(&part.headers.raw));
        }
        message.path(id);
        text::of(part);
    }
});
