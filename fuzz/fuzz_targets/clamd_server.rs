//! Commands to clamd: every answer ends as its command did, and no stream is longer than its limit.
#![no_main]

use bytes::BytesMut;
use gatepost_wire::clamd_server::{Command, Session, StreamReader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (mut buf, mut session) = (BytesMut::from(input), Session::new());
    while let Ok(Some(command)) = session.read(&mut buf, true) {
        let mut out = Vec::new();
        match command {
            Command::InStream => {
                let mut content = Vec::new();
                let _ = StreamReader::new(1000).decode(&mut buf, &mut content);
                assert!(content.len() <= 1000);
            }
            Command::Scan(path) | Command::ContScan(path) => {
                assert!(!path.contains(&0));
                session.replies().found(&path, "Name", &mut out);
                assert!(out.ends_with(b" FOUND\0") || out.ends_with(b" FOUND\n"));
            }
            _ => session.replies().unknown(&mut out),
        }
    }
});
