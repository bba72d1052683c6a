//! The milter protocol: whatever a mail server sends ends in events or an error, and a reply is due only once.
#![no_main]

use bytes::BytesMut;
use gatepost_milter::{Command, Error, Event, Frame, Refusal, Response, Session, Steps, Wanted};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 4096;

fuzz_target!(|input: &[u8]| {
    let Some((&first, input)) = input.split_first() else { return };
    let whole = run(input, input.len().max(1), first);
    assert_eq!(run(input, usize::from(first & 15) + 1, first), whole);
    packets(input);
    if let Some(refusal) = Refusal::parse(input) {
        assert_eq!(Refusal::parse(&refusal.wire()).as_ref(), Some(&refusal));
    }
});

/// A session whose every event is answered.
fn run(input: &[u8], step: usize, choice: u8) -> (Vec<Event>, Option<Error>) {
    let (mut session, mut buf, mut events) = (Session::with_limit(LIMIT), BytesMut::new(), Vec::new());
    let mut out = Vec::new();
    for chunk in input.chunks(step) {
        buf.extend_from_slice(chunk);
        loop {
            let event = match session.event(&mut buf) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            };
            if matches!(event, Event::Negotiate(_)) {
                let steps = Steps(u32::from(choice).wrapping_mul(0x0101_0101));
                let wanted = Wanted { steps, ..Wanted::default() };
                session.negotiate(&wanted, &mut out).expect("it is due");
            } else if session.due() {
                let response = if choice & 0x10 == 0 { Response::Continue } else { Response::TempFail };
                session.respond(response, &mut out).expect("it is due");
            }
            assert!(!session.due());
            events.push(event);
        }
    }
    (events, None)
}

/// Each packet is the same when it is written again.
fn packets(input: &[u8]) {
    let mut buf = BytesMut::from(input);
    while let Ok(Some(frame)) = Frame::take(&mut buf, LIMIT) {
        if let Ok(command) = Command::parse(frame.clone()) {
            let mut wire = Vec::new();
            command.write(&mut wire);
            let again =
                Frame::take(&mut BytesMut::from(&wire[..]), usize::MAX).expect("a packet").expect("whole");
            assert_eq!(Command::parse(again), Ok(command));
        }
        if let Ok(response) = Response::parse(frame) {
            let mut wire = Vec::new();
            response.write(&mut wire);
            let again =
                Frame::take(&mut BytesMut::from(&wire[..]), usize::MAX).expect("a packet").expect("whole");
            assert!(Response::parse(again).is_ok());
        }
    }
}
