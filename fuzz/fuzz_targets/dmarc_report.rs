//! Any bytes as an aggregate report; what is read is written, and read again.
#![no_main]

use bytes::Bytes;
use gatepost_auth::report::{Limits, read, read_xml};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let limits = Limits { rows: 100, ..Limits::default() };
    let _ = read(Bytes::copy_from_slice(file), &limits);
    if let Ok(received) = read_xml(file, &limits) {
        assert!(received.report.rows.len() <= 100);
        let xml = received.report.xml();
        let again = read_xml(xml.as_bytes(), &limits).expect("what was written is read");
        assert_eq!(again.report.rows.len(), received.report.rows.len());
        assert!(!received.report.file_name("gw.example").contains('/'));
    }
});
