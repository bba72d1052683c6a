//! Command lines: the first octet gives the limit and the size of the chunks the input arrives in.
#![no_main]

use bytes::BytesMut;
use gatepost_wire::smtp::{Command, Line, LineReader, check_address, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&first, input)) = input.split_first() else { return };
    let (limit, step) = (usize::from(first >> 4) * 64 + 8, usize::from(first & 15) + 1);
    let (mut reader, mut buf) = (LineReader::new(limit), BytesMut::new());
    for chunk in input.chunks(step) {
        buf.extend_from_slice(chunk);
        loop {
            match reader.next(&mut buf) {
                Line::More => break,
                Line::TooLong => {}
                Line::Line(line) | Line::BareLf(line) => {
                    assert!(line.len() <= limit);
                    check(&line);
                }
            }
        }
        assert!(buf.len() <= limit + 1);
    }
});

fn check(line: &[u8]) {
    match parse(line) {
        Ok(Command::Mail(mail)) if !mail.path.is_empty() => {
            assert_eq!(check_address(&mail.path), Ok(()));
            let again = format!("MAIL FROM:<{}>", mail.path);
            assert!(
                matches!(parse(again.as_bytes()), Ok(Command::Mail(m)) if m.path == mail.path && m.params.is_empty())
            );
        }
        Ok(Command::Rcpt(rcpt)) => {
            assert!(rcpt.path.eq_ignore_ascii_case("postmaster") || check_address(&rcpt.path).is_ok());
        }
        Ok(Command::Unknown(verb)) => assert!(verb.len() <= 32 && verb.is_ascii()),
        Ok(_) => {}
        Err(error) => assert!(error.text.is_ascii() && !error.text.contains('\n')),
    }
}
