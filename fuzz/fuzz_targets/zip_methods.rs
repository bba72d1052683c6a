//! Whatever bytes are a member of a zip packed by any method, encrypted or not: no panic, no hang, no more than the limits
//! allow. The first two bytes choose the method and the flags.
#![no_main]

use gatepost_mail::Limits;
use gatepost_unpack::{Format, open};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [method, flags, data @ ..] = data else { return };
    let mut zip = b"PK\x03\x04\x14\0".to_vec();
    zip.extend([*flags, 0, *method, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    zip.extend((data.len() as u32).to_le_bytes());
    zip.extend(100_000_u32.to_le_bytes());
    zip.extend([1, 0, 0, 0, b'a']);
    zip.extend(data);
    let limits = Limits { depth: 4, parts: 64, bytes: 4 << 20, ..Limits::default() };
    let message = open(Format::Zip, zip.into(), &limits);
    assert!(message.parts.len() <= 65);
    let made: usize = message.parts.iter().map(|part| part.body.len()).sum();
    assert!(made <= data.len() + (16 << 20));
});
