//! Any bytes as a document: no panic, no hang, no more than the limits allow, and nothing left to be taken out.
#![no_main]

use gatepost_disarm::remove_macros;
use gatepost_mail::{FileType, Limits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = Limits { depth: 4, parts: 64, bytes: 8 << 20, memory: 4 << 20, ..Limits::default() };
    let Ok(Some(made)) = remove_macros(data, FileType::detect(data), &limits) else { return };
    if let Ok(Some(_)) = remove_macros(&made, FileType::detect(&made), &Limits::default()) {
        panic!("something was left");
    }
});
