//! Whatever bytes are opened as a document: no panic, no hang, no more than the limits allow. The first byte says which
//! format.
#![no_main]

use gatepost_mail::Limits;
use gatepost_unpack::{Format, open};
use libfuzzer_sys::fuzz_target;

const FORMATS: [Format; 8] = [
    Format::Ole,
    Format::Package,
    Format::FlatXml,
    Format::ActiveMime,
    Format::Rtf,
    Format::OneNote,
    Format::Sylk,
    Format::Csv,
];

fuzz_target!(|data: &[u8]| {
    let Some((first, file)) = data.split_first() else { return };
    let limits = Limits { depth: 4, parts: 64, bytes: 4 << 20, ..Limits::default() };
    let format = FORMATS[usize::from(*first) % FORMATS.len()];
    let message = open(format, file.to_vec().into(), &limits);
    assert!(message.parts.len() <= 65);
    let made: usize = message.parts.iter().map(|part| part.body.len()).sum();
    assert!(made <= 2 * data.len() + (16 << 20));
});
