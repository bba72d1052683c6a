//! Any text as HTML: it becomes text and links, bounded by its own length.
#![no_main]

use gatepost_mail::text;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    let found = text::html(source);
    // A replaced character grows from one byte to three, a named entity to no more than it is long.
    assert!(found.text.len() <= source.len() * 3);
});
