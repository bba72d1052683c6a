//! Whatever bytes are opened as rar: no panic, no hang, no more than the limits allow.
#![no_main]

use gatepost_mail::Limits;
use gatepost_unpack::{Format, open};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = Limits { depth: 4, parts: 64, bytes: 4 << 20, ..Limits::default() };
    let message = open(Format::Rar, data.to_vec().into(), &limits);
    assert!(message.parts.len() <= 65);
    let made: usize = message.parts.iter().map(|part| part.body.len()).sum();
    assert!(made <= data.len() + (16 << 20));
    for (id, _) in message.parts() {
        message.path(id);
    }
});
