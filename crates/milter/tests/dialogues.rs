//! Dialogues of a session: what mail servers send, which events come of it, what is answered.

use bytes::{Bytes, BytesMut};
use gatepost_milter::*;

const ALL: Offer = Offer { version: 6, actions: Actions(0x1ff), steps: Steps(0x1f_ffff) };

fn b(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn header(name: &'static str, value: &'static str) -> Command {
    Command::Header { name: b(name), value: b(value) }
}

fn args(list: &[&'static str]) -> Vec<Bytes> {
    list.iter().map(|text| b(text)).collect()
}

fn client() -> Command {
    let peer = Peer::Inet("192.0.2.1".parse().unwrap(), 25);
    Command::Connect(Connect { host: b("client.test"), peer })
}

fn macros(stage: u8, values: &[(&'static str, &'static str)]) -> Command {
    Command::Macros { stage, values: values.iter().map(|(name, value)| (b(name), b(value))).collect() }
}

/// A session with what the filter has written.
struct Filter {
    session: Session,
    wanted: Wanted,
    out: Vec<u8>,
}

impl Filter {
    fn new(actions: Actions, steps: Steps) -> Filter {
        let wanted = Wanted { actions, steps, symbols: vec![(SymbolStage::Mail, b("{auth_authen} i"))] };
        Filter { session: Session::new(), wanted, out: Vec::new() }
    }

    /// Negotiated and connected.
    fn connected(actions: Actions, steps: Steps) -> Filter {
        let mut filter = Filter::new(actions, steps);
        filter.say(&[Command::Negotiate(ALL), client()]).unwrap();
        filter
    }

    /// Feeds commands and answers each with Continue; gives a letter for each event, in upper case if a reply was due.
    fn say(&mut self, commands: &[Command]) -> Result<String, Error> {
        self.answer(commands, |_| Response::Continue)
    }

    fn answer(&mut self, commands: &[Command], answer: impl Fn(&Event) -> Response) -> Result<String, Error> {
        let mut input = Vec::new();
        commands.iter().for_each(|command| command.write(&mut input));
        let mut input = BytesMut::from(&input[..]);
        let mut letters = String::new();
        while let Some(event) = self.session.event(&mut input)? {
            let due = self.session.due();
            letters.push(if due { letter(&event) } else { letter(&event).to_ascii_lowercase() });
            if matches!(event, Event::Negotiate(_)) {
                self.session.negotiate(&self.wanted, &mut self.out).unwrap();
            } else if due {
                self.session.respond(answer(&event), &mut self.out).unwrap();
            }
        }
        Ok(letters)
    }

    /// What was answered since the last look.
    fn answers(&mut self) -> Vec<Response> {
        let mut wire = BytesMut::from(&std::mem::take(&mut self.out)[..]);
        let mut found = Vec::new();
        while let Some(frame) = Frame::take(&mut wire, FRAME_LIMIT).unwrap() {
            found.push(Response::parse(frame).unwrap());
        }
        found
    }
}

fn letter(event: &Event) -> char {
    match event {
        Event::Negotiate(_) => 'O',
        Event::Connect(_) => 'C',
        Event::Helo(_) => 'H',
        Event::Mail(_) => 'M',
        Event::Rcpt(_) => 'R',
        Event::Data => 'T',
        Event::Header { .. } => 'L',
        Event::EndOfHeader => 'N',
        Event::Body(_) => 'B',
        Event::EndOfMessage => 'E',
        Event::Unknown(_) => 'U',
        Event::Abort => 'A',
        Event::Quit { reuse: false } => 'Q',
        Event::Quit { reuse: true } => 'K',
    }
}

fn message() -> Vec<Command> {
    vec![
        Command::Mail(args(&["<a@b.test>", "SIZE=1"])),
        Command::Rcpt(args(&["<c@d.test>"])),
        Command::Data,
        header("Subject", " hello"),
        Command::EndOfHeader,
        Command::Body(b("body\r\n")),
        Command::EndOfMessage(Bytes::new()),
    ]
}

#[test]
fn a_whole_session_with_two_messages() {
    let mut filter = Filter::new(Actions::NONE, Steps::NONE);
    let mut session = vec![Command::Negotiate(ALL), client(), Command::Helo(b("client.test"))];
    session.extend(message());
    session.push(Command::Unknown(b("XFOO")));
    session.extend(message());
    session.push(Command::Quit);
    session.push(Command::Quit);
    assert_eq!(filter.say(&session).unwrap(), "OCHMRTLNBEUMRTLNBEq");
    assert!(!filter.session.in_message());
}

#[test]
fn only_what_both_want_is_agreed_on() {
    let wanted_steps = Steps::NO_DATA | Steps::SKIP | Steps::NO_REPLY_HEADER | Steps::HEADER_LEADING_SPACE;
    let wanted_actions = Actions::ADD_HEADERS | Actions::QUARANTINE | Actions::SET_SYMBOLS;
    for (version, actions, steps, expected) in [
        (6, 0x1ff, 0x1f_ffff, (6, wanted_actions, wanted_steps, 1)),
        (7, 0xffff_ffff, 0xffff_ffff, (6, wanted_actions, wanted_steps, 1)),
        (4, 0x3f, 0x3ff, (4, Actions::ADD_HEADERS | Actions::QUARANTINE, Steps(0x280), 0)),
        (2, 0x3f, 0x7f, (2, Actions::ADD_HEADERS | Actions::QUARANTINE, Steps::NONE, 0)),
        (2, 0, 0, (2, Actions::ADD_HEADERS, Steps::NONE, 0)),
    ] {
        let mut filter = Filter::new(wanted_actions, wanted_steps);
        let offer = Offer { version, actions: Actions(actions), steps: Steps(steps) };
        filter.say(&[Command::Negotiate(offer)]).unwrap();
        let agreed = filter.session.agreed().clone();
        assert_eq!(filter.answers(), [Response::Negotiate(agreed.clone())]);
        assert_eq!((agreed.version, agreed.actions, agreed.steps, agreed.symbols.len()), expected);
    }
    let old = Offer { version: 1, ..ALL };
    assert_eq!(
        Filter::new(Actions::NONE, Steps::NONE).say(&[Command::Negotiate(old)]),
        Err(Error::Version(1))
    );
}

#[test]
fn replies_are_due_where_they_were_not_declined() {
    let table = [
        (Steps::NONE, "CHMRTLNBEU"),
        (Steps::NO_REPLY_CONNECT, "cHMRTLNBEU"),
        (Steps::NO_REPLY_HELO | Steps::NO_REPLY_MAIL, "ChmRTLNBEU"),
        (Steps::NO_REPLY_RCPT | Steps::NO_REPLY_DATA, "CHMrtLNBEU"),
        (Steps::NO_REPLY_HEADER | Steps::NO_REPLY_END_OF_HEADER, "CHMRTlnBEU"),
        (Steps::NO_REPLY_BODY | Steps::NO_REPLY_UNKNOWN, "CHMRTLNbEu"),
    ];
    for (steps, expected) in table {
        let mut filter = Filter::new(Actions::NONE, steps);
        let mut commands = vec![Command::Negotiate(ALL), client(), Command::Helo(b("x"))];
        commands.extend(message());
        commands.push(Command::Unknown(b("XFOO")));
        assert_eq!(filter.say(&commands).unwrap(), format!("O{expected}"));
        assert_eq!(filter.answers().len(), 1 + expected.chars().filter(char::is_ascii_uppercase).count());
    }
}

#[test]
fn nothing_further_comes_while_a_reply_is_due() {
    let mut filter = Filter::connected(Actions::NONE, Steps::NONE);
    let mut input = Vec::new();
    message().iter().for_each(|command| command.write(&mut input));
    let mut input = BytesMut::from(&input[..]);
    assert!(matches!(filter.session.event(&mut input), Ok(Some(Event::Mail(_)))));
    let left = input.len();
    assert_eq!(filter.session.event(&mut input), Ok(None));
    assert_eq!(input.len(), left);
    filter.session.respond(Response::Continue, &mut filter.out).unwrap();
    assert!(matches!(filter.session.event(&mut input), Ok(Some(Event::Rcpt(_)))));
}

#[test]
fn the_end_may_bring_the_last_piece_along() {
    let mut filter = Filter::connected(Actions::NONE, Steps::NONE);
    let commands = [
        Command::Mail(args(&["<>"])),
        Command::Rcpt(args(&["<a@b.test>"])),
        Command::EndOfMessage(b("all of it")),
        Command::Mail(args(&["<>"])),
    ];
    assert_eq!(filter.say(&commands).unwrap(), "MRbEM");
}

#[test]
fn what_ends_a_message() {
    let mail = || Command::Mail(args(&["<>"]));
    let rcpt = || Command::Rcpt(args(&["<a@b.test>"]));
    let refuse = |at: char| {
        move |event: &Event| {
            if letter(event) == at { Response::TempFail } else { Response::Continue }
        }
    };
    // Commands, the event that is refused, the events.
    let table: [(Vec<Command>, char, &str); 9] = [
        (vec![mail(), Command::Abort, Command::Abort, mail()], '-', "MaM"),
        (vec![mail(), rcpt(), mail(), rcpt()], '-', "MRaMR"),
        (vec![mail(), Command::Helo(b("x")), Command::Abort, mail()], '-', "MaHM"),
        (vec![mail(), mail(), rcpt()], '-', "MaMR"),
        (vec![mail(), mail(), Command::Abort], 'M', "MM"),
        // A recipient that is refused ends nothing.
        (vec![mail(), rcpt(), rcpt(), header("A", "b"), Command::Abort], 'R', "MRRLa"),
        (vec![mail(), rcpt(), Command::Data, mail()], 'T', "MRTM"),
        (vec![mail(), rcpt(), header("A", "b"), mail()], 'L', "MRLM"),
        (vec![mail(), rcpt(), Command::EndOfHeader, Command::Body(b("x")), Command::Abort], 'B', "MRNB"),
    ];
    for (commands, refused, expected) in table {
        let mut filter = Filter::connected(Actions::NONE, Steps::NONE);
        let events = filter.answer(&commands, refuse(refused)).unwrap();
        assert_eq!(events, expected, "{commands:?}");
    }
}

#[test]
fn aborted_in_every_stage() {
    let whole = message();
    for stage in 1..whole.len() {
        let mut filter = Filter::connected(Actions::NONE, Steps::NONE);
        let mut commands = whole[..stage].to_vec();
        commands.push(Command::Abort);
        commands.extend(whole.clone());
        commands.push(Command::Quit);
        let expected = format!("{}aMRTLNBEq", &"MRTLNBE"[..stage]);
        assert_eq!(filter.say(&commands).unwrap(), expected);
    }
}

#[test]
fn out_of_order() {
    let mail = || Command::Mail(args(&["<>"]));
    let rcpt = || Command::Rcpt(args(&["<a@b.test>"]));
    let body = || Command::Body(b("x"));
    let table: [(Vec<Command>, u8); 12] = [
        (vec![client()], b'C'),
        (vec![rcpt()], b'R'),
        (vec![body()], b'B'),
        (vec![Command::EndOfMessage(Bytes::new())], b'E'),
        (vec![Command::Negotiate(ALL)], b'O'),
        (vec![mail(), rcpt(), Command::Data, Command::Data], b'T'),
        (vec![mail(), rcpt(), header("A", "b"), rcpt()], b'R'),
        (vec![mail(), rcpt(), Command::EndOfHeader, header("A", "b")], b'L'),
        (vec![mail(), rcpt(), Command::EndOfHeader, Command::EndOfHeader], b'N'),
        (vec![mail(), rcpt(), body(), Command::EndOfHeader], b'N'),
        (vec![mail(), rcpt(), body(), Command::Unknown(b("X"))], b'U'),
        (vec![mail(), rcpt(), body(), client()], b'C'),
    ];
    for (commands, code) in table {
        let mut filter = Filter::connected(Actions::NONE, Steps::NONE);
        assert_eq!(filter.say(&commands), Err(Error::OutOfOrder(code)), "{commands:?}");
    }
    for command in [client(), mail(), rcpt(), Command::Helo(b("x")), Command::QuitNewConnection] {
        let mut filter = Filter::new(Actions::NONE, Steps::NONE);
        assert!(filter.say(&[command]).is_err());
    }
    let mut filter = Filter::new(Actions::NONE, Steps::NONE);
    assert_eq!(filter.say(&[Command::Negotiate(ALL), mail()]), Err(Error::OutOfOrder(b'M')));
}

#[test]
fn steps_that_were_declined_may_be_missing() {
    let table = [
        (Steps::NO_CONNECT, vec![Command::Helo(b("x")), Command::Mail(args(&["<>"]))], "OHM"),
        (Steps::NO_CONNECT | Steps::NO_HELO, vec![Command::Mail(args(&["<>"]))], "OM"),
        (
            Steps::NO_CONNECT | Steps::NO_MAIL | Steps::NO_RCPT,
            vec![header("A", "b"), Command::EndOfMessage(Bytes::new())],
            "OLE",
        ),
        (Steps::NO_CONNECT | Steps::NO_MAIL, vec![Command::Rcpt(args(&["<>"]))], "OR"),
    ];
    for (steps, commands, expected) in table {
        let mut filter = Filter::new(Actions::NONE, steps);
        let mut all = vec![Command::Negotiate(ALL)];
        all.extend(commands);
        assert_eq!(filter.say(&all).unwrap(), expected);
    }
}

#[test]
fn a_connection_may_be_used_for_another_client() {
    let mut filter = Filter::connected(Actions::NONE, Steps::NONE);
    let user = macros(b'M', &[("{auth_authen}", "alice")]);
    let commands =
        [macros(b'C', &[("j", "mx.test")]), user, Command::Mail(args(&["<>"])), Command::QuitNewConnection];
    assert_eq!(filter.say(&commands).unwrap(), "Mk");
    assert_eq!(filter.session.macros().get("j"), None);
    assert_eq!(filter.say(&[client(), Command::Quit]).unwrap(), "Cq");
}

#[test]
fn macros_hold_for_their_stage_and_message() {
    let mut filter = Filter::connected(Actions::NONE, Steps::NONE);
    let user = macros(b'M', &[("{auth_authen}", "alice")]);
    let text =
        |filter: &Filter, name: &str| filter.session.macros().text(name).map(|value| value.into_owned());
    filter.say(&[macros(b'H', &[("{tls_version}", "TLSv1.3")]), Command::Helo(b("x"))]).unwrap();
    filter.say(&[user.clone(), Command::Mail(args(&["<>"]))]).unwrap();
    assert_eq!(text(&filter, "auth_authen").as_deref(), Some("alice"));
    // The next message is nobody's, if nobody says whose.
    filter.say(&[Command::Abort, Command::Mail(args(&["<>"]))]).unwrap();
    assert_eq!(text(&filter, "auth_authen"), None);
    assert_eq!(text(&filter, "{tls_version}").as_deref(), Some("TLSv1.3"));
    // Told before a MAIL that ends the message before.
    filter.say(&[user, Command::Mail(args(&["<>"]))]).unwrap();
    assert_eq!(text(&filter, "auth_authen").as_deref(), Some("alice"));
    // Those of a recipient are not the next one's.
    filter.say(&[macros(b'R', &[("{rcpt_host}", "a")]), Command::Rcpt(args(&["<a@b>"]))]).unwrap();
    assert_eq!(text(&filter, "rcpt_host").as_deref(), Some("a"));
    filter.say(&[macros(b'E', &[("i", "QUEUE")]), Command::EndOfMessage(Bytes::new())]).unwrap();
    assert_eq!(text(&filter, "i"), None);
}

#[test]
fn the_space_behind_the_colon() {
    // Agreed or not, what came, what the event says.
    for (steps, came, expected) in [
        (Steps::HEADER_LEADING_SPACE, " a", " a"),
        (Steps::HEADER_LEADING_SPACE, "a", "a"),
        (Steps::HEADER_LEADING_SPACE, "", ""),
        (Steps::NONE, "a", " a"),
        (Steps::NONE, " a", "  a"),
        (Steps::NONE, "\ta", "\ta"),
        (Steps::NONE, "\n a", "\n a"),
        (Steps::NONE, "", ""),
    ] {
        let mut filter = Filter::connected(Actions::ADD_HEADERS, steps);
        filter.say(&[Command::Mail(args(&["<>"]))]).unwrap();
        filter.answers();
        let mut wire = Vec::new();
        header("X", came).write(&mut wire);
        let event = filter.session.event(&mut BytesMut::from(&wire[..])).unwrap();
        assert_eq!(event, Some(Event::Header { name: b("X"), value: b(expected) }), "{steps:?} {came:?}");
        filter.session.respond(Response::Continue, &mut filter.out).unwrap();
        wire.clear();
        Command::EndOfMessage(Bytes::new()).write(&mut wire);
        filter.session.event(&mut BytesMut::from(&wire[..])).unwrap();
        filter.answers();
        // And back: what was told is told again.
        let same = Response::InsertHeader { index: 1, name: b("X"), value: b(expected) };
        filter.session.respond(same, &mut filter.out).unwrap();
        let Some(Response::InsertHeader { value, .. }) = filter.answers().pop() else { panic!("a header") };
        assert_eq!(value, came, "{steps:?}");
    }
}

#[test]
fn only_what_was_agreed_on_and_makes_sense_is_said() {
    let refuse = || Response::Refuse(Refusal::new(550, "5.7.1", "No").unwrap());
    let everywhere = [Response::Accept, Response::TempFail, refuse(), Response::Shutdown];
    let at_the_end = [
        Response::Progress,
        Response::Quarantine(b("why")),
        Response::DeleteRecipient(b("<a@b>")),
        Response::ReplaceBody(b("new")),
    ];
    let actions = Actions::QUARANTINE | Actions::DELETE_RECIPIENTS | Actions::CHANGE_BODY;
    let may = |commands: &[Command], steps: Steps, response: &Response| {
        let mut filter = Filter::connected(actions, steps);
        let mut wire = Vec::new();
        commands.iter().for_each(|command| command.write(&mut wire));
        let mut input = BytesMut::from(&wire[..]);
        let mut last = false;
        while filter.session.event(&mut input).unwrap().is_some() {
            last = input.is_empty();
            if !last && filter.session.due() {
                filter.session.respond(Response::Continue, &mut filter.out).unwrap();
            }
        }
        last && filter.session.respond(response.clone(), &mut filter.out).is_ok()
    };
    let (helo, mail) = (vec![Command::Helo(b("x"))], vec![Command::Mail(args(&["<>"]))]);
    let body = [mail.clone(), vec![Command::Body(b("x"))]].concat();
    let end = [body.clone(), vec![Command::EndOfMessage(Bytes::new())]].concat();
    for response in &everywhere {
        for commands in [&helo, &mail, &body, &end] {
            assert!(may(commands, Steps::NONE, response), "{response:?} {commands:?}");
        }
    }
    for response in &at_the_end {
        for (commands, allowed) in [(&helo, false), (&mail, false), (&body, false), (&end, true)] {
            assert_eq!(may(commands, Steps::NONE, response), allowed, "{response:?} {commands:?}");
        }
    }
    assert!(!may(&helo, Steps::NONE, &Response::Discard));
    assert!(may(&mail, Steps::NONE, &Response::Discard));
    assert!(may(&body, Steps::SKIP, &Response::Skip));
    assert!(!may(&body, Steps::NONE, &Response::Skip));
    assert!(!may(&end, Steps::SKIP, &Response::Skip));
    assert!(!may(&mail, Steps::NO_REPLY_MAIL, &Response::Continue));
    assert!(!may(&end, Steps::NONE, &Response::AddHeader { name: b("A"), value: b("b") }));
    assert!(!may(&end, Steps::NONE, &Response::Negotiate(Agreement::default())));
}

#[test]
fn what_is_too_large_or_none() {
    let mut session = Session::with_limit(100);
    let mut input = BytesMut::from(&b"\0\0\0\x66B"[..]);
    let too_long = FrameError::TooLong { length: 101, limit: 100 };
    assert_eq!(session.event(&mut input), Err(Error::Frame(too_long)));
    let mut session = Session::new();
    assert_eq!(
        session.event(&mut BytesMut::from(&b"\0\0\0\x01x"[..])),
        Err(Error::Malformed(Malformed::Unknown(b'x')))
    );
}
