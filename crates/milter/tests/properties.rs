//! Properties that hold for any input.

use bytes::{Bytes, BytesMut};
use gatepost_milter::*;
use proptest::prelude::*;

fn string() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(1..=255_u8, 0..20).prop_map(Bytes::from)
}

fn data() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn peer() -> impl Strategy<Value = Peer> {
    prop_oneof![
        Just(Peer::Unknown),
        string().prop_map(Peer::Unix),
        (any::<std::net::IpAddr>(), any::<u16>())
            .prop_map(|(address, port)| Peer::Inet(address.to_canonical(), port)),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let strings = || prop::collection::vec(string(), 1..4);
    prop_oneof![
        any::<(u32, u32, u32)>().prop_map(|(version, actions, steps)| Command::Negotiate(Offer {
            version,
            actions: Actions(actions),
            steps: Steps(steps)
        })),
        (any::<u8>(), prop::collection::vec((string(), string()), 0..4))
            .prop_map(|(stage, values)| Command::Macros { stage, values }),
        (string(), peer()).prop_map(|(host, peer)| Command::Connect(Connect { host, peer })),
        string().prop_map(Command::Helo),
        strings().prop_map(Command::Mail),
        strings().prop_map(Command::Rcpt),
        Just(Command::Data),
        (string(), string()).prop_map(|(name, value)| Command::Header { name, value }),
        Just(Command::EndOfHeader),
        data().prop_map(Command::Body),
        data().prop_map(Command::EndOfMessage),
        string().prop_map(Command::Unknown),
        Just(Command::Abort),
        Just(Command::Quit),
        Just(Command::QuitNewConnection),
    ]
}

/// Commands in a row that makes some sense, so that a session gets somewhere.
fn likely() -> impl Strategy<Value = Vec<Command>> {
    let offer = Offer { version: 6, actions: Actions(0x1ff), steps: Steps(0x1f_ffff) };
    let begin = (peer(), string(), prop::collection::vec(string(), 1..3));
    (begin, prop::collection::vec(command(), 0..20)).prop_map(move |((peer, host, arguments), rest)| {
        let mut all = vec![
            Command::Negotiate(offer),
            Command::Connect(Connect { host: host.clone(), peer }),
            Command::Helo(host),
            Command::Mail(arguments.clone()),
            Command::Rcpt(arguments),
        ];
        all.extend(rest);
        all
    })
}

/// All events until an error or the end, each reply given.
fn run(input: &[u8], step: usize, steps: Steps) -> (Vec<Event>, Option<Error>) {
    let (mut session, mut buf, mut out, mut events) =
        (Session::with_limit(1000), BytesMut::new(), Vec::new(), Vec::new());
    for chunk in input.chunks(step.max(1)) {
        buf.extend_from_slice(chunk);
        loop {
            match session.event(&mut buf) {
                Ok(Some(event)) => {
                    match event {
                        Event::Negotiate(_) => {
                            let wanted = Wanted { steps, ..Wanted::default() };
                            session.negotiate(&wanted, &mut out).unwrap();
                        }
                        _ if session.due() => session.respond(Response::Continue, &mut out).unwrap(),
                        _ => {}
                    }
                    assert!(!session.due());
                    events.push(event);
                }
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
        assert!(
            buf.len() <= 1005
                || session.agreed().version == 0
                || events.contains(&Event::Quit { reuse: false })
        );
    }
    (events, None)
}

proptest! {
    #[test]
    fn commands_are_read_as_they_were_written(command in command()) {
        let mut wire = Vec::new();
        command.write(&mut wire);
        let mut buf = BytesMut::from(&wire[..]);
        let frame = Frame::take(&mut buf, FRAME_LIMIT).unwrap().unwrap();
        prop_assert!(buf.is_empty());
        prop_assert_eq!(Command::parse(frame), Ok(command));
    }

    #[test]
    fn any_packet_is_read_or_refused_and_written_again_the_same(code in any::<u8>(), data in data()) {
        let frame = Frame { code, data };
        if let Ok(command) = Command::parse(frame.clone()) {
            let mut wire = Vec::new();
            command.write(&mut wire);
            let again = Frame::take(&mut BytesMut::from(&wire[..]), FRAME_LIMIT).unwrap().unwrap();
            prop_assert_eq!(Command::parse(again), Ok(command));
        }
        if let Ok(response) = Response::parse(frame) {
            let mut wire = Vec::new();
            response.write(&mut wire);
            let again = Frame::take(&mut BytesMut::from(&wire[..]), FRAME_LIMIT).unwrap().unwrap();
            let mut second = Vec::new();
            Response::parse(again).unwrap().write(&mut second);
            prop_assert_eq!(wire, second);
        }
    }

    #[test]
    fn any_bytes_end_in_events_or_an_error(input in prop::collection::vec(any::<u8>(), 0..200), step in 1..50_usize) {
        run(&input, step, Steps::NONE);
    }

    #[test]
    fn it_does_not_matter_how_the_input_is_split(commands in likely(), step in 1..50_usize, steps in any::<u32>()) {
        let mut wire = Vec::new();
        commands.iter().for_each(|command| command.write(&mut wire));
        prop_assert_eq!(run(&wire, step, Steps(steps)), run(&wire, wire.len(), Steps(steps)));
    }

    #[test]
    fn what_a_refusal_says_is_what_mail_servers_take(code in 400..600_u16, enhanced in "[245]\\.[0-9]{1,4}\\.[0-9]", text in any::<String>()) {
        let refusal = Refusal::new(code, &enhanced, &text).unwrap();
        let wire = refusal.wire();
        let text = std::str::from_utf8(wire.strip_suffix(b"\0").unwrap()).unwrap();
        let lines: Vec<&str> = text.split("\r\n").collect();
        for (place, line) in lines.iter().enumerate() {
            prop_assert!(line.replace("%%", "%").len() <= 510 && line.bytes().all(|byte| (32..127).contains(&byte)));
            let between = if place + 1 == lines.len() { " " } else { "-" };
            let begin = format!("{code}{between}{}.", code / 100);
            prop_assert!(line.starts_with(&begin), "{line}");
            prop_assert!(!line.replace("%%", "").contains('%'));
        }
        let read = Refusal::parse(&wire).unwrap();
        prop_assert_eq!(&read.wire(), &wire);
    }

    #[test]
    fn a_header_value_stays_one_field(value in "[a \t\r\n:%]{0,40}") {
        let mut wire = Vec::new();
        Response::AddHeader { name: "X".into(), value: value.into() }.write(&mut wire);
        let value = &wire[7..wire.len() - 1];
        prop_assert!(!value.contains(&b'\r'));
        for (place, _) in value.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            prop_assert!(matches!(value.get(place + 1), Some(b' ' | b'\t')));
        }
    }
}
