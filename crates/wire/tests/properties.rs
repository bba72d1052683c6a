//! Properties that hold for any input: readers never panic, keep bounded memory, and do not care how input is split.

use bytes::BytesMut;
use gatepost_wire::smtp::{
    BdatDecoder, Capabilities, Command, DataDecoder, Line, LineReader, Reply, ReplyReader, Stray,
    StrayReport, Stuffer, check_address, normalize, parse,
};
use gatepost_wire::{ampdp, clamd, clamd_server, p0f, policy, proxy, spamd};
use proptest::prelude::*;

/// Content made of what matters to a decoder.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        4 => Just(&b"\r\n"[..]),
        3 => Just(&b"."[..]),
        2 => Just(&b"\r"[..]),
        2 => Just(&b"\n"[..]),
        1 => Just(&b"\0"[..]),
        2 => Just(&b"text"[..]),
        1 => Just(&b"\xe9"[..]),
    ];
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

/// `input` cut into chunks of lengths that repeat `lengths`.
fn split<'a>(input: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let (mut rest, mut chunks) = (input, Vec::new());
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, after) = rest.split_at((*length).min(rest.len()));
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1..9_usize, 1..6)
}

/// Decodes `input` chunk by chunk; what came out, what was left, and the report.
fn decode(input: &[u8], lengths: &[usize], limit: u64) -> (bool, Vec<u8>, Vec<u8>, StrayReport) {
    let (mut decoder, mut buf, mut out) =
        (DataDecoder::new(limit, Stray::Refuse), BytesMut::new(), Vec::new());
    let mut ended = false;
    for chunk in split(input, lengths) {
        buf.extend_from_slice(chunk);
        ended = ended || decoder.decode(&mut buf, &mut out);
    }
    (ended, out, buf.to_vec(), decoder.report().clone())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

/// What RFC 5321 4.5.2 and the rules for stray octets make of whole input, written for clearness: content and rest.
fn model(input: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let input = [b"\r\n", input].concat();
    let end = find(&input, b"\r\n.\r\n")?;
    let (content, rest) = (&input[..end + 2], input[end + 5..].to_vec());
    let mut unstuffed = Vec::new();
    for (at, octet) in content.iter().enumerate() {
        if *octet != b'.' || at < 2 || &content[at - 2..at] != b"\r\n" {
            unstuffed.push(*octet);
        }
    }
    Some((clean(&unstuffed[2..]), rest))
}

/// CRLF for a bare LF, a space for a stray CR and for each NUL between the beginning of a line and a dot.
fn clean(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, octet) in content.iter().enumerate() {
        match octet {
            b'\r' if content.get(at + 1) == Some(&b'\n') => {}
            b'\r' => out.push(b' '),
            b'\n' => out.extend_from_slice(b"\r\n"),
            other => out.push(*other),
        }
    }
    for at in 0..out.len() {
        let line = out[..at].iter().rposition(|b| *b == b'\n').map_or(0, |lf| lf + 1);
        if out[at] == b'.' && out[line..at].iter().all(|b| *b == 0) {
            out[line..at].fill(b' ');
        }
    }
    out
}

/// How many lines a lax server could take for an end: see `StrayReport::lone_dot`.
fn lone_dots(input: &[u8]) -> u64 {
    let input = [b"\r\n", input].concat();
    let content = &input[..find(&input, b"\r\n.\r\n").map_or(input.len(), |end| end + 2)];
    let (mut count, mut line, mut begun, mut at) = (0, Vec::new(), &b""[..], 0);
    while at < content.len() {
        // CR NUL LF are two ends, as nobody takes them for CRLF.
        let end: &[u8] = match &content[at..] {
            [b'\r', b'\n', ..] => b"\r\n",
            // Whether it is stray is known only with the next octet, which may lie past the content.
            [b'\r', ..] => b"\r",
            [b'\n', ..] => b"\n",
            _ => b"",
        };
        if end.is_empty() {
            line.push(content[at]);
            at += 1;
            continue;
        }
        let dot = line.iter().filter(|b| **b != 0).eq([&b'.']);
        let honest = begun == b"\r\n" && end == b"\r\n" && line.len() == 1;
        count += u64::from(dot && !honest);
        at += end.len();
        (begun, line) = (end, Vec::new());
    }
    count
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn decoding_agrees_with_the_model(input in content(), lengths in lengths()) {
        let (ended, out, rest, report) = decode(&input, &lengths, 10_000);
        match model(&input) {
            None => prop_assert!(!ended && rest.is_empty()),
            Some((expected, left)) => {
                prop_assert!(ended);
                prop_assert_eq!(&out, &expected);
                prop_assert_eq!(rest, left);
                prop_assert_eq!(report.lone_dot, lone_dots(&input));
                prop_assert_eq!(report.size, out.len() as u64);
                let longest = out.split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l).len()).max();
                prop_assert_eq!(Some(report.longest_line), longest.map(|l| l as u64));
            }
        }
    }

    #[test]
    fn decoding_does_not_care_about_chunks(input in content(), lengths in lengths(), limit in 0..100_u64) {
        let whole = decode(&input, &[input.len().max(1)], limit);
        prop_assert!(whole.1.len() as u64 <= limit);
        prop_assert_eq!(decode(&input, &lengths, limit), whole);
    }

    #[test]
    fn decoded_content_is_canonical(input in content(), lengths in lengths()) {
        let (_, out, ..) = decode(&[&input[..], b"\r\n.\r\n"].concat(), &lengths, 10_000);
        let (again, report) = normalize(&out, Stray::Normalize);
        prop_assert_eq!(&again[..], &out[..]);
        prop_assert_eq!((report.bare_lf, report.bare_cr), (0, 0));
    }

    #[test]
    fn decoding_undoes_stuffing(raw in content(), one in lengths(), other in lengths()) {
        let (content, _) = normalize(&raw, Stray::Normalize);
        let (mut stuffer, mut wire) = (Stuffer::new(), Vec::new());
        for chunk in split(&content, &one) {
            stuffer.stuff(chunk, &mut wire);
        }
        stuffer.finish(&mut wire);
        let (ended, out, rest, report) = decode(&[&wire[..], b"QUIT"].concat(), &other, 10_000);
        prop_assert!(ended && rest == b"QUIT");
        let missing = if content.is_empty() || content.ends_with(b"\r\n") { &b""[..] } else { b"\r\n" };
        prop_assert_eq!(out, [&content[..], missing].concat());
        prop_assert!(!report.refused || raw.contains(&0));
    }

    #[test]
    fn stuffed_content_holds_no_end_for_any_reader(raw in content(), lengths in lengths()) {
        // Content as the decoder gives it, read by a server that drops NUL and takes any line end: one end, the last.
        let (_, content, ..) = decode(&[&raw[..], b"\r\n.\r\n"].concat(), &lengths, 10_000);
        let (mut stuffer, mut wire) = (Stuffer::new(), b"\r\n".to_vec());
        stuffer.stuff(&content, &mut wire);
        stuffer.finish(&mut wire);
        wire.retain(|b| *b != 0);
        let lines: Vec<&[u8]> = wire.split(|b| *b == b'\n' || *b == b'\r').collect();
        prop_assert_eq!(lines.iter().filter(|l| **l == b".").count(), 1);
        prop_assert!(wire.ends_with(b"\r\n.\r\n"));
    }

    #[test]
    fn bdat_does_not_care_about_chunks(input in content(), lengths in lengths(), sizes in lengths()) {
        let (mut decoder, mut buf, mut out) = (BdatDecoder::new(10_000, Stray::Normalize), BytesMut::new(), Vec::new());
        for chunk in split(&input, &sizes) {
            decoder.begin(chunk.len() as u64);
            for piece in split(chunk, &lengths) {
                buf.extend_from_slice(piece);
                decoder.decode(&mut buf, &mut out);
            }
            prop_assert!(buf.is_empty());
        }
        decoder.finish(&mut out);
        let (expected, report) = normalize(&input, Stray::Normalize);
        prop_assert_eq!(&out[..], &expected[..]);
        prop_assert_eq!(&out[..], &clean(&input)[..]);
        prop_assert_eq!(decoder.report(), &report);
    }

    #[test]
    fn parse_never_panics_and_takes_only_good_addresses(
        verb in prop_oneof![
            Just("MAIL FROM:"), Just("RCPT TO:"), Just("EHLO "), Just("XCLIENT "), Just("AUTH "), Just("BDAT "), Just("")
        ],
        argument in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            "[<>@:,.\"\\\\a-cé =\\[\\]+0-9]{0,40}".prop_map(String::into_bytes),
            "<[ab.\"@]{0,8}@[ab.]{1,5}>( [A-Z]{1,3}=[a-z+0-9]{1,4}){0,3}".prop_map(String::into_bytes),
        ],
    ) {
        let path = match parse(&[verb.as_bytes(), &argument].concat()) {
            Ok(Command::Mail(mail)) if !mail.path.is_empty() => mail.path,
            Ok(Command::Rcpt(rcpt)) if !rcpt.path.eq_ignore_ascii_case("postmaster") => rcpt.path,
            Err(error) => {
                prop_assert!(error.text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()));
                prop_assert!(error.code == 500 || error.code == 501);
                return Ok(());
            }
            _ => return Ok(()),
        };
        prop_assert_eq!(check_address(&path), Ok(()));
        // Typed again in brackets it is the same address and nothing besides.
        let Ok(Command::Mail(again)) = parse(format!("MAIL FROM:<{path}>").as_bytes()) else {
            return Err(TestCaseError::fail(path));
        };
        prop_assert_eq!((again.path, again.params.len()), (path, 0));
    }

    #[test]
    fn lines_are_bounded(input in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'x')], 0..200),
                         lengths in lengths(), limit in 0..20_usize) {
        let (mut reader, mut buf, mut lines) = (LineReader::new(limit), BytesMut::new(), Vec::new());
        for chunk in split(&input, &lengths) {
            buf.extend_from_slice(chunk);
            loop {
                match reader.next(&mut buf) {
                    Line::More => break,
                    line => lines.push(line),
                }
            }
            prop_assert!(buf.len() <= limit + 1);
        }
        for line in &lines {
            if let Line::Line(text) | Line::BareLf(text) = line {
                prop_assert!(text.len() <= limit && !text.contains(&b'\n'));
            }
        }
        let (mut reader, mut buf) = (LineReader::new(limit), BytesMut::from(&input[..]));
        for line in lines {
            prop_assert_eq!(reader.next(&mut buf), line);
        }
    }

    #[test]
    fn replies_are_bounded_and_come_back(
        input in prop_oneof![prop::collection::vec(any::<u8>(), 0..200), "([245][05]0[- ][a-z0-9. ]{0,9}\r?\n){0,9}".prop_map(String::into_bytes)],
        lengths in lengths(),
    ) {
        let (mut reader, mut buf) = (ReplyReader::with_limits(30, 4), BytesMut::new());
        'input: for chunk in split(&input, &lengths) {
            buf.extend_from_slice(chunk);
            loop {
                let reply = match reader.next(&mut buf) {
                    Ok(Some(reply)) => reply,
                    Ok(None) => break,
                    Err(_) => break 'input,
                };
                prop_assert!(reply.lines.len() <= 4 && (200..600).contains(&reply.code));
                let _ = Capabilities::from_reply(&reply);
                let mut wire = Vec::new();
                reply.write(&mut wire);
                let again = ReplyReader::new().next(&mut BytesMut::from(&wire[..]));
                let Ok(Some(again)) = again else { return Err(TestCaseError::fail(format!("{again:?}"))) };
                prop_assert_eq!((again.code, again.lines.len()), (reply.code, reply.lines.len()));
            }
            prop_assert!(buf.len() <= 32);
        }
    }

    #[test]
    fn any_reply_is_written_as_one_reply(code in any::<u16>(), enhanced in ".{0,9}", text in "(?s).{0,2000}") {
        let mut wire = Vec::new();
        Reply::new(code, enhanced, text).write(&mut wire);
        let lines: Vec<&[u8]> = wire.split_inclusive(|b| *b == b'\n').collect();
        let (last, before) = lines.split_last().unwrap();
        prop_assert!(last.len() <= 512 && last[3] == b' ' && last.ends_with(b"\r\n"));
        prop_assert!(before.iter().all(|l| l.len() <= 512 && l[3] == b'-' && l.ends_with(b"\r\n")));
        let text = |b: &u8| *b == b' ' || b.is_ascii_graphic();
        prop_assert!(lines.iter().all(|l| l[..l.len() - 2].iter().all(text)));
    }

    #[test]
    fn proxy_and_clamd_never_panic(
        start in prop::sample::select(vec![
            &b""[..], b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x20", b"1: stream",
        ]),
        input in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let input = [start, &input[..]].concat();
        let _ = proxy::parse(&mut BytesMut::from(&input[..]));
        let mut buf = BytesMut::from(&input[..]);
        while let Ok(Some(_)) = clamd::read_answer(&mut buf) {}
        prop_assert!(!buf.contains(&0) && !buf.contains(&b'\n'));
    }

    #[test]
    fn ampdp_requests_do_not_care_about_chunks(
        input in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "(request=(AM.PDP|release)\\n)?((sender|recipient|mail_id|mail_file|client_address)[=:] ?[a-z<>@%0-9.]{0,9}\r?\n){0,9}\n"
                .prop_map(String::into_bytes),
        ],
        lengths in lengths(),
    ) {
        let all = |lengths: &[usize]| {
            let (mut reader, mut buf, mut requests) = (ampdp::Reader::new(), BytesMut::new(), Vec::new());
            for chunk in split(&input, lengths) {
                buf.extend_from_slice(chunk);
                while let Ok(Some(attributes)) = reader.next(&mut buf) {
                    requests.push(ampdp::Request::new(&attributes));
                }
            }
            requests
        };
        let whole = all(&[input.len().max(1)]);
        for request in whole.iter().flatten() {
            if let ampdp::Request::Judge(judge) = request {
                prop_assert!(judge.recipients.iter().all(|path| !path.address.contains(char::is_control)));
                prop_assert!(!judge.recipients.is_empty() && !judge.mail_file.contains(&0));
            }
        }
        prop_assert_eq!(all(&lengths), whole);
    }

    #[test]
    fn policy_requests_do_not_care_about_chunks(
        input in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "(request=(smtpd_access_policy|x)\\n)?((sender|recipient|client_address|size|x)=[a-z<>@%0-9.=]{0,9}\r?\n){0,9}\n(request=)?"
                .prop_map(String::into_bytes),
        ],
        lengths in lengths(),
    ) {
        let all = |lengths: &[usize]| {
            let (mut reader, mut buf, mut requests) = (policy::Reader::new(), BytesMut::new(), Vec::new());
            for chunk in split(&input, lengths) {
                buf.extend_from_slice(chunk);
                while let Ok(Some(request)) = reader.next(&mut buf) {
                    requests.push(request);
                }
            }
            requests
        };
        let whole = all(&[input.len().max(1)]);
        for request in whole.iter().flatten() {
            prop_assert!(!request.sender.contains(char::is_control));
        }
        prop_assert_eq!(all(&lengths), whole);
    }

    #[test]
    fn policy_answers_are_one_line(text in "\\PC{0,40}[\r\n\0 a=]{0,9}\\PC{0,900}", which in 0..5_u8, code in any::<u16>()) {
        let action = match which {
            0 => policy::Action::Reply(code, text.clone(), text),
            1 => policy::Action::Prepend("X-Greylist".into(), text),
            2 => policy::Action::Prepend(text.clone(), text),
            3 => policy::Action::DeferIfPermit(text),
            _ => policy::Action::Hold(text),
        };
        let answer = String::from_utf8(action.answer()).expect("UTF-8");
        let line = answer.strip_prefix("action=").and_then(|rest| rest.strip_suffix("\n\n"));
        prop_assert!(line.is_some_and(|line| !line.is_empty() && !line.contains(char::is_control)), "{answer:?}");
    }

    #[test]
    fn fingerprints_of_any_octets(input in prop::collection::vec(any::<u8>(), 232), text in any::<Vec<u8>>()) {
        let mut right = input.clone();
        right[..8].copy_from_slice(&[0x02, 0x46, 0x30, 0x50, 0x10, 0, 0, 0]);
        for octets in [&input, &right] {
            if let Ok(Some(host)) = p0f::response(octets[..].try_into().expect("as many as it has")) {
                prop_assert!(!host.text().contains(char::is_control));
            }
        }
        prop_assert!(!p0f::analysis(&text, "[192.0.2.1]:1", "n").is_some_and(|text| text.contains(char::is_control)));
    }

    #[test]
    fn requests_to_spamd_are_read_alike_however_they_are_split(
        input in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "(CHECK|PROCESS|TELL|PING|REPORT_IFSPAM|X) SPAMC/1\\.[0-6]\r?\n((User|Content-length|Compress|Set|Foo):? ?(a@b|12|zlib|local)\r?\n){0,4}(\r?\n)?mail"
                .prop_map(String::into_bytes),
        ],
        lengths in lengths(),
    ) {
        let mut whole = BytesMut::from(&input[..]);
        let expected = spamd::RequestReader::new().read(&mut whole, true);
        if let Err(refusal) = &expected {
            let line = refusal.line();
            prop_assert!(line.ends_with("\r\n") && line.len() < 2000);
            prop_assert!(!line.trim_end().contains(char::is_control));
        }
        let (mut reader, mut buf, mut read) = (spamd::RequestReader::new(), BytesMut::new(), Ok(None));
        for chunk in split(&input, &lengths) {
            buf.extend_from_slice(chunk);
            if read == Ok(None) {
                read = reader.read(&mut buf, false);
            }
        }
        if read == Ok(None) {
            read = reader.read(&mut buf, true);
        }
        prop_assert_eq!(&read, &expected);
        if read.is_ok() {
            prop_assert_eq!(buf, whole);
        }
    }

    #[test]
    fn commands_to_clamd_are_read_alike_however_they_are_split(
        input in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "(z(IDSESSION|PING|SCAN /a|INSTREAM|END|FOO)\0|n(IDSESSION|PING|VERSION|SCAN /a b)\r?\n){0,6}"
                .prop_map(String::into_bytes),
        ],
        lengths in lengths(),
    ) {
        // What begins without `z` or `n` is what came at once, and so not the same in pieces.
        prop_assume!(matches!(input.first(), Some(b'z' | b'n')));
        let read = |session: &mut clamd_server::Session, buf: &mut BytesMut, commands: &mut Vec<_>, ended| {
            while buf.first().is_none_or(|first| ended || matches!(first, b'z' | b'n'))
                && let Ok(Some(command)) = session.read(buf, ended)
            {
                commands.push(command);
            }
        };
        let (mut session, mut buf, mut expected) = (clamd_server::Session::new(), BytesMut::from(&input[..]), Vec::new());
        read(&mut session, &mut buf, &mut expected, true);
        let (mut session, mut buf, mut commands) = (clamd_server::Session::new(), BytesMut::new(), Vec::new());
        for chunk in split(&input, &lengths) {
            buf.extend_from_slice(chunk);
            read(&mut session, &mut buf, &mut commands, false);
        }
        read(&mut session, &mut buf, &mut commands, true);
        prop_assert_eq!(commands, expected);
    }

    #[test]
    fn streams_to_clamd_keep_to_their_limit(
        content in prop::collection::vec(any::<u8>(), 0..100),
        frame in 1u32..20,
        limit in 0u64..120,
        lengths in lengths(),
    ) {
        let mut wire = Vec::new();
        clamd::instream(&content, frame, &mut wire);
        wire.extend_from_slice(b"zPING\0");
        let (mut reader, mut buf, mut out) = (clamd_server::StreamReader::new(limit), BytesMut::new(), Vec::new());
        let mut done = Ok(false);
        for chunk in split(&wire[clamd::INSTREAM.len()..], &lengths) {
            buf.extend_from_slice(chunk);
            if done == Ok(false) {
                done = reader.decode(&mut buf, &mut out);
            }
        }
        prop_assert!(out.len() as u64 <= limit);
        match done {
            Ok(ended) => {
                prop_assert!(ended && content.len() as u64 <= limit);
                prop_assert_eq!((&out, &buf[..]), (&content, &b"zPING\0"[..]));
            }
            Err(_) => prop_assert!(content.len() as u64 > limit),
        }
    }
}
