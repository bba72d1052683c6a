//! How messages are read: tables of mails and what becomes of them, and properties that hold for any bytes.

use std::time::Duration;

use bytes::Bytes;
use gatepost_mail::{
    Budget, DefectKind, FileType, Headers, Limit, Limits, Message, Part, PartId, text, words,
};
use proptest::prelude::*;

fn read_within(raw: impl Into<Vec<u8>>, limits: &Limits) -> Message {
    Message::read(Bytes::from(raw.into()), &mut Budget::new(limits))
}

fn read(raw: impl Into<Vec<u8>>) -> Message {
    read_within(raw, &Limits::default())
}

/// A whole header in front of the lines given, all with CRLF.
fn mail(rest: &str) -> String {
    let head = "From: a@example.org\nDate: Thu, 1 Jan 2026 00:00:00 +0000\nMessage-ID: <1@example.org>\n";
    format!("{head}{rest}").replace('\n', "\r\n")
}

fn kinds(message: &Message) -> Vec<DefectKind> {
    message.defects.iter().map(|defect| defect.kind).collect()
}

/// Leaves as `declared:content`, without CR.
fn leaves(message: &Message) -> Vec<String> {
    let leaf = |part: &Part| {
        format!("{}:{}", part.declared, String::from_utf8_lossy(&part.body).replace('\r', "").trim_end())
    };
    message.parts.iter().filter(|part| !part.container).map(leaf).collect()
}

#[test]
fn defects_of_header_and_lines() {
    use DefectKind::*;
    let table: &[(&str, &str, &[DefectKind])] = &[
        ("nothing wrong", "Subject: x\r\n\r\nbody\r\n", &[]),
        ("line ends of Unix throughout", "", &[]),
        ("bare LF", "Subject: x\r\n\r\nbody\nmore\r\n", &[BareLf]),
        ("bare CR", "Subject: x\r\n\r\nbody\rmore\r\n", &[BareCr]),
        ("NUL", "Subject: x\r\n\r\nbo\0dy\r\n", &[Nul]),
        ("NUL in binary", "Content-Transfer-Encoding: binary\r\n\r\nbo\0\rdy\r\n", &[]),
        ("8-bit header", "Subject: \u{e9}\r\n\r\nbody\r\n", &[EightBitHeader]),
        ("bad line", "what is this\r\nSubject: x\r\n\r\nbody\r\n", &[BadHeaderLine]),
        ("no empty line", "Subject: x\r\nbody begins\r\n", &[NoHeader]),
        ("bad folding", "Subject: x\r\n \r\n y\r\n\r\nbody\r\n", &[BadFolding]),
        ("twice", "Subject: x\r\nSubject: y\r\n\r\nbody\r\n", &[DuplicateHeader]),
        ("bad word", "Subject: =?nonesuch?Q?x?=\r\n\r\nbody\r\n", &[BadEncodedWord]),
        ("bad type", "Content-Type: words\r\n\r\nbody\r\n", &[BadContentType]),
        ("bad encoding", "Content-Transfer-Encoding: rot13\r\n\r\nbody\r\n", &[BadTransferEncoding]),
        (
            "two encodings",
            "Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n\r\nb\r\n",
            &[DuplicateMimeHeader],
        ),
        ("bad parameter", "Content-Type: text/plain; name=\"x\r\n\r\nbody\r\n", &[BadParameter]),
        ("bad charset", "Content-Type: text/plain; charset=nonesuch\r\n\r\nbody\r\n", &[BadCharset]),
        (
            "not in its charset",
            "Content-Type: text/plain; charset=us-ascii\r\n\r\nb\u{f6}dy\r\n",
            &[BadCharset],
        ),
        ("bad base64", "Content-Transfer-Encoding: base64\r\n\r\nYm*9keQ==\r\n", &[BadBase64]),
        ("base64 after padding", "Content-Transfer-Encoding: base64\r\n\r\nYg==b2R5\r\n", &[BadBase64]),
        ("truncated base64", "Content-Transfer-Encoding: base64\r\n\r\nYm9keQ\r\n", &[TruncatedBase64]),
        ("bad QP", "Content-Transfer-Encoding: quoted-printable\r\n\r\na=b=zz\r\n", &[BadQuotedPrintable]),
        ("no uuencode", "Content-Transfer-Encoding: x-uuencode\r\n\r\nbody\r\n", &[BadUuencode]),
        ("partial", "Content-Type: message/partial; number=2; id=x\r\n\r\nbody\r\n", &[Partial]),
        ("elsewhere", "Content-Type: message/external-body; access-type=URL\r\n\r\n\r\n", &[ExternalBody]),
    ];
    for (what, rest, expected) in table {
        let mut found = kinds(&read(mail("") + rest));
        found.retain(|kind| *kind != OtherReading);
        assert_eq!(found, *expected, "{what}");
    }
    let unix = mail("Subject: x\n\nbody\n").replace('\r', "");
    assert_eq!(kinds(&read(unix)), [], "line ends of Unix throughout");
    let long = mail("\n") + &"x".repeat(999) + "\r\n" + &"y".repeat(1200);
    assert_eq!(kinds(&read(long)), [LongLine]);
    assert_eq!(kinds(&read(mail("\n") + &"x".repeat(998) + "\r\n")), []);
    assert_eq!(kinds(&read("Subject: x\r\n\r\n")), [MissingDate, MissingFrom, MissingMessageId]);
    assert_eq!(kinds(&read("")), [NoHeader, MissingDate, MissingFrom, MissingMessageId]);
}

#[test]
fn a_body_without_the_empty_line_before_it_is_a_body() {
    // The founding example of the field, typed by hand: with and without the empty line.
    let eicar = concat!("X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-", "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*");
    for between in ["", "\r\n"] {
        let message = read(format!("Subject: x\r\nFrom: a@b\r\nTo: c@d\r\n{between}{eicar}\r\n"));
        assert_eq!(message.parts[0].body.trim_ascii(), eicar.as_bytes());
        assert_eq!(message.headers.fields.len(), 3);
    }
}

#[test]
fn trees_are_flattened() {
    let table: &[(&str, &str, &[&str])] = &[
        ("no MIME", "\nbody\n", &["text/plain:body"]),
        (
            "mixed",
            "Content-Type: multipart/mixed; boundary=x\n\nThis is a multi-part message in MIME format.\n--x\n\none\n--x\nContent-Type: text/HTML\n\ntwo\n--x--\n",
            &["text/plain:one", "text/html:two"],
        ),
        (
            "boundary in quotes, with white space behind it",
            "Content-Type: multipart/mixed; boundary=\"a b\"\n\n--a b \t\n\none\n--a b--  \n",
            &["text/plain:one"],
        ),
        (
            "nested",
            "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/alternative; boundary=xx\n\n--xx\n\none\n--xx\n\ntwo\n--xx--\n--x\n\nthree\n--x--\n",
            &["text/plain:one", "text/plain:two", "text/plain:three"],
        ),
        (
            "nested without closing boundary",
            "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/alternative; boundary=y\n\n--y\n\none\n--x\n\ntwo\n",
            &["text/plain:one", "text/plain:two"],
        ),
        (
            "nested with the same boundary",
            "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\none\n--x--\n--x\n\ntwo\n--x--\n",
            &["multipart/mixed:", "text/plain:one", "text/plain:two"],
        ),
        (
            "boundary followed by text on every line",
            "Content-Type: multipart/mixed; boundary=x\n\n--x one\n\nbody\n--x-- end\n",
            &["text/plain:body"],
        ),
        (
            "no boundary parameter",
            "Content-Type: multipart/mixed\n\n--guess\nContent-Type: text/html\n\none\n--guess--\n",
            &["text/html:one"],
        ),
        (
            "another boundary than the one declared",
            "Content-Type: multipart/mixed; boundary=lie\n\n--guess\nContent-Type: text/html\n\none\n--guess--\n",
            &["text/html:one"],
        ),
        (
            "two boundaries declared, the second is true",
            "Content-Type: multipart/mixed; boundary=lie; boundary=x\n\n--x\n\none\n--x--\n",
            &["text/plain:one"],
        ),
        (
            "a boundary that never appears",
            "Content-Type: multipart/mixed; boundary=x\n\nall\n",
            &["multipart/mixed:all"],
        ),
        (
            "only the closing boundary",
            "Content-Type: multipart/mixed; boundary=x\n\nall\n--x--\n",
            &["multipart/mixed:all\n--x--"],
        ),
        (
            "text outside",
            "Content-Type: multipart/mixed; boundary=x\n\nbefore\n--x\n\none\n--x--\nafter\n",
            &["text/plain:one", "text/plain:before", "text/plain:after"],
        ),
        (
            "a file dressed as the usual note",
            "Content-Type: multipart/mixed; boundary=x\n\nX5O!P EICAR in MIME format\n--x\n\none\n--x--\n",
            &["text/plain:one", "text/plain:X5O!P EICAR in MIME format"],
        ),
        (
            "going on behind the closing boundary",
            "Content-Type: multipart/mixed; boundary=x\n\n--x\n\none\n--x--\n--x\n\ntwo\n--x--\n",
            &["text/plain:one", "text/plain:two"],
        ),
        (
            "empty parts",
            "Content-Type: multipart/mixed; boundary=x\n\n--x\n--x\n\n--x--\n",
            &["text/plain:", "text/plain:"],
        ),
        (
            "digest",
            "Content-Type: multipart/digest; boundary=x\n\n--x\n\nSubject: in\n\none\n--x\nContent-Type: text/plain\n\ntwo\n--x--\n",
            &["text/plain:one", "text/plain:two"],
        ),
        (
            "a message, and one encoded against the rules",
            "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: message/rfc822\n\nSubject: in\n\none\n--x\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogaW4KCnR3bwo=\n--x--\n",
            &["text/plain:one", "text/plain:two"],
        ),
        (
            "the first piece of a message in several",
            "Content-Type: message/partial; number=1; total=2; id=x\n\nSubject: in\n\none\n",
            &["text/plain:one"],
        ),
        (
            "a multipart encoded against the rules",
            "Content-Type: multipart/mixed; boundary=x\nContent-Transfer-Encoding: base64\n\nLS14CgpvbmUKLS14LS0K\n",
            &["text/plain:one"],
        ),
        (
            "quoted-printable",
            "Content-Transfer-Encoding: Quoted-Printable\n\na=3Db  \nsoft=  \n break=\n=20\n",
            &["text/plain:a=b\nsoft break"],
        ),
        (
            "uuencode",
            "Content-Transfer-Encoding: x-uuencode\n\nbegin 644 f.txt\n#0V%T\n`\nend\n",
            &["text/plain:Cat"],
        ),
        (
            "uuencode in text",
            "\nsee\nbegin 644 f.txt\n#0V%T\n`\nend\nand\nbegin-base64 644 g.txt\nRG9n\n====\n",
            &[
                "text/plain:see\nbegin 644 f.txt\n#0V%T\n`\nend\nand\nbegin-base64 644 g.txt\nRG9n\n====",
                ":Cat",
                ":Dog",
            ],
        ),
        (
            "base64 under another name",
            "Content-Transfer-Encoding: x-base64\n\nVGhpcyB0ZXh0IGlzIGxvbmcgZW5vdWdoIHRvIGJlIG1lYW50Lg==\n",
            &[
                "text/plain:VGhpcyB0ZXh0IGlzIGxvbmcgZW5vdWdoIHRvIGJlIG1lYW50Lg==",
                ":This text is long enough to be meant.",
            ],
        ),
    ];
    for (what, rest, expected) in table {
        let message = read(mail(rest));
        assert_eq!(leaves(&message), *expected, "{what}: {:?}", message.defects);
    }
}

/// Readers that go by another of several fields, or stop at the padding of base64: what they see is there as well.
#[test]
fn other_readings_are_parts_too() {
    let evil = "ZXZpbCBjb250ZW50";
    let table: &[(&str, &str, &[&str])] = &[
        (
            "two encodings",
            "Content-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: base64\n\nEVIL\n",
            &["text/plain:EVIL", "text/plain:evil content"],
        ),
        (
            "two encodings, the other way round",
            "Content-Transfer-Encoding: base64\nContent-Transfer-Encoding: 7bit\n\nEVIL\n",
            &["text/plain:evil content", "text/plain:EVIL"],
        ),
        (
            "the same encoding twice",
            "Content-Transfer-Encoding: base64\nContent-Transfer-Encoding: BASE64\n\nEVIL\n",
            &["text/plain:evil content"],
        ),
        (
            "text after the padding",
            "Content-Transfer-Encoding: base64\n\nZXZpbA==EVIL\n",
            &["text/plain:evilevil content", "text/plain:evil"],
        ),
        (
            "text, and a multipart",
            "Content-Type: text/plain\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\none\n--x--\n",
            &["text/plain:--x\n\none\n--x--", "text/plain:one"],
        ),
        (
            "a multipart, and encoded text",
            "Content-Type: multipart/mixed; boundary=x\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n--x\n\none\n--x--\n=65vil\n",
            &[
                "multipart/mixed:--x\n\none\n--x--\nevil",
                "text/plain:one",
                "text/plain:=65vil",
                "text/plain:evil",
            ],
        ),
        (
            "two boundaries",
            "Content-Type: multipart/mixed; boundary=x\nContent-Type: multipart/mixed; boundary=y\n\n--x\n\none\n--y\n\ntwo\n--y--\n--x--\n",
            &[
                "text/plain:one\n--y\n\ntwo\n--y--",
                "text/plain:two",
                "text/plain:--x\n\none",
                "text/plain:--x--",
            ],
        ),
        (
            "two boundaries, of which one appears",
            "Content-Type: multipart/mixed; boundary=x; boundary=y\n\n--x\n\none\n--x--\n",
            &["text/plain:one"],
        ),
    ];
    for (what, rest, expected) in table {
        let message = read(mail(&rest.replace("EVIL", evil)));
        let expected: Vec<String> = expected.iter().map(|part| part.replace("EVIL", evil)).collect();
        let found = leaves(&message);
        for expected in expected {
            let times = found.iter().filter(|leaf| **leaf == expected).count();
            assert_eq!(times, 1, "{what}: {expected} in {found:?}, {:?}", message.defects);
        }
        let over = |kind: &DefectKind| matches!(kind, DefectKind::Over(_));
        assert!(!kinds(&message).iter().any(over), "{what}");
    }
    let many = "Content-Type: text/plain\n".repeat(21) + "\nbody\n";
    assert!(kinds(&read(mail(&many))).contains(&DefectKind::Over(Limit::Parts)), "some were not read");
}

#[test]
fn defects_of_structure() {
    use DefectKind::*;
    let table: &[(&str, &[DefectKind])] = &[
        ("Content-Type: multipart/mixed; boundary=x\n\n--x\n\none\n--x--\n", &[]),
        ("Content-Type: multipart/mixed; boundary=x\n\n--x\n\none\n", &[UnclosedBoundary]),
        ("Content-Type: multipart/mixed\n\nall\n", &[MissingBoundary]),
        ("Content-Type: multipart/mixed; boundary=x\n\n--x\n\none\n--x--\nmore\n", &[TextOutsideParts]),
        (
            "Content-Type: multipart/mixed; boundary=x\n\n--x\n\none\n--x--\n--x\n\ntwo\n--x--\n",
            &[ReusedBoundary],
        ),
        ("Content-Type: multipart/mixed; boundary=\"x \"\n\n--x\n\none\n--x--\n", &[BadBoundary]),
        (
            "Content-Type: multipart/mixed; boundary=x\n\n--xy\n\none\n--xy--\n",
            &[BadBoundary, UnclosedBoundary],
        ),
        (
            "Content-Type: multipart/mixed; boundary=x\nContent-Transfer-Encoding: quoted-printable\n\n--x\n\none\n--x--\n",
            &[BadTransferEncoding],
        ),
        (
            "Content-Type: multipart/mixed; boundary=x\nContent-Type: text/plain\n\n--x\n\none\n--x--\n",
            &[DuplicateMimeHeader],
        ),
    ];
    for (rest, expected) in table {
        assert_eq!(kinds(&read(mail(rest))), *expected, "{rest}");
    }
}

#[test]
fn spans_hold_exactly_the_entity() {
    let raw = mail(
        "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=y\n\n--y\nA: b\n\none\n\n--y--\n--x\n\ntwo\n--x--\n",
    );
    let message = read(raw.clone());
    let spans: Vec<&str> = message
        .parts
        .iter()
        .map(|part| &raw[part.span.clone().expect("all stand in the raw message")])
        .collect();
    let inner = "Content-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\nA: b\r\n\r\none\r\n\r\n--y--";
    let outer = format!("Content-Type: message/rfc822\r\n\r\n{inner}");
    assert_eq!(spans, [raw.as_str(), &outer, inner, "A: b\r\n\r\none\r\n", "\r\ntwo"]);
    let place = |id: usize| message.path(PartId(id));
    assert_eq!([place(0), place(1), place(3), place(4)], ["", "1", "1/1/1", "2"]);
    // Nothing is copied where nothing is encoded.
    let raw_range = message.raw.as_ptr_range();
    assert!(message.parts.iter().all(|part| part.body.is_empty() || raw_range.contains(&part.body.as_ptr())));
}

#[test]
fn decoded_parts_have_the_span_of_their_encoded_form_but_what_is_in_them_has_none() {
    let raw =
        mail("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogaW4KCnR3bwo=\n");
    let message = read(raw.clone());
    assert_eq!(message.parts[0].span, Some(0..raw.len()));
    assert_eq!(message.parts[1].span, None);
    assert_eq!(message.parts[1].headers.text("subject").as_deref(), Some("in"));
}

#[test]
fn names_most_usual_first() {
    let table: &[(&str, &[&str])] = &[
        ("Content-Disposition: attachment; filename=a.txt", &["a.txt"]),
        (
            "Content-Disposition: attachment; filename=\"a b.txt\"\nContent-Type: text/plain; name=c.txt",
            &["a b.txt", "c.txt"],
        ),
        ("Content-Disposition: attachment; filename=a.txt; filename*=UTF-8''%C3%A9.exe", &["é.exe", "a.txt"]),
        ("Content-Disposition: attachment; filename*0*=iso-8859-1'fr'%E9; filename*1=.exe", &["é.exe"]),
        (
            "Content-Disposition: attachment; filename=\"=?utf-8?B?w6k=?= =?utf-8?Q?.exe?=\"",
            &["é.exe", "=?utf-8?B?w6k=?= =?utf-8?Q?.exe?="],
        ),
        ("Content-Disposition: attachment; filename=a b.exe", &["a b.exe", "a"]),
        ("Content-Disposition: attachment; filename=\"a.exe. .\"", &["a.exe. .", "a.exe"]),
        (
            "Content-Disposition: attachment; filename=\"..\\\\..\\\\x\\0.exe\"",
            &["..\\..\\x\\0.exe", "..\\\\..\\\\x\\0.exe"],
        ),
        ("Content-Disposition: attachment; filename=\"a\0.exe\"", &["a.exe", "a"]),
        ("Content-Disposition: attachment; filename*=''evil.js%00.txt", &["evil.js.txt", "evil.js"]),
        ("Content-Disposition: attachment; filename=\"a.txt", &["a.txt"]),
        ("Content-Disposition: attachment; filename=a.txt;.exe", &["a.txt", "a.txt;.exe"]),
        ("Content-Disposition: attachment; filename=\"a.txt\n .exe\"", &["a.txt .exe"]),
        ("Content-Type: text/plain; name=\"\u{e9}.exe\"", &["é.exe"]),
        ("Content-Type: text/plain; name=\"+AGU-.exe\"; charset=utf-7", &["+AGU-.exe"]),
    ];
    for (fields, expected) in table {
        let message = read(mail(&format!("{fields}\n\nbody\n")));
        assert_eq!(message.parts[0].names, *expected, "{fields}");
    }
    let latin =
        [mail("Content-Type: text/plain; name=\"").as_bytes(), b"\xe9.exe\"\r\n\r\nbody\r\n"].concat();
    assert_eq!(read(latin).parts[0].names, ["é.exe"]);
    let long = mail(&format!("Content-Type: text/plain; name=\"a{}.exe\"\n\n", " ".repeat(5000)));
    assert!(read(long).parts[0].names[0].ends_with(".exe"));
}

#[test]
fn declared_and_detected() {
    let message = read(mail(
        "Content-Type: Application/PDF; charset=\"UTF-8\"\nContent-Disposition: ATTACHMENT\nContent-Transfer-Encoding: base64\n\nTVqQAAMAAAAEAAAA//8AAA==\n",
    ));
    let part = &message.parts[0];
    assert_eq!((part.declared.as_str(), part.charset.as_deref()), ("application/pdf", Some("utf-8")));
    assert!(part.attachment);
    assert_eq!(part.detected, FileType::DOS);
}

#[test]
fn a_message_found_in_a_part_is_read_in_its_place() {
    let mut message = read(mail(
        "Content-Type: application/octet-stream\n\nFrom: a@b\nTo: c@d\nSubject: x\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\none\n--x--\n",
    ));
    message.read_within(PartId(0), &mut Budget::new(&Limits::default()));
    assert_eq!(leaves(&message), ["text/plain:one"]);
    let places: Vec<_> = message.parts().map(|(_, part)| (part.parent.map(|id| id.0), part.depth)).collect();
    assert_eq!(places, [(None, 0), (Some(0), 1), (Some(1), 2)]);
    assert_eq!(message.parts[0].detected, FileType::EML);
    // A place that isn't there is nothing to read.
    message.read_within(PartId(99), &mut Budget::new(&Limits::default()));
    assert_eq!(message.parts.len(), 3);
}

#[test]
fn over_a_limit_the_rest_is_unread_and_said_to_be() {
    let nested = (0..50).rev().fold("\nend\n".to_owned(), |inside, n| {
        format!("Content-Type: multipart/mixed; boundary=b{n}b\n\n--b{n}b\n{inside}\n--b{n}b--\n")
    });
    let message = read(mail(&nested));
    assert_eq!(message.parts.len(), 18);
    assert!(kinds(&message).contains(&DefectKind::Over(Limit::Depth)));
    // What was not looked into is no mere container.
    assert!(!message.parts[17].container && message.parts[16].container);

    let wide =
        "Content-Type: multipart/mixed; boundary=x\n\n".to_owned() + &"--x\n\none\n".repeat(5000) + "--x--\n";
    let message = read(mail(&wide));
    assert_eq!(message.parts.len(), 1000);
    assert!(kinds(&message).contains(&DefectKind::Over(Limit::Parts)));
    assert!(!message.parts[0].container);

    let large = mail("Content-Transfer-Encoding: base64\n\n") + &"QUJD\r\n".repeat(1000);
    let message = read_within(large, &Limits { bytes: 1000, ..Limits::default() });
    assert_eq!(kinds(&message), [DefectKind::Over(Limit::Bytes)]);

    let late = Limits { time: Duration::ZERO, ..Limits::default() };
    let message = read_within(mail("\nbody\n"), &late);
    assert_eq!(kinds(&message), [DefectKind::Over(Limit::Time)]);
    let none = read_within(mail("\nbody\n"), &Limits { parts: 0, ..Limits::default() });
    assert_eq!((none.parts.len(), kinds(&none)), (1, vec![DefectKind::Over(Limit::Parts)]));
}

/// Mails made to be slow to read. Each is read in well under the time that a quadratic search would take.
#[test]
fn hostile_mail_is_read_in_linear_time() {
    const N: usize = 60_000;
    let multipart = "Content-Type: multipart/mixed; boundary=x\n";
    let attacks = [
        mail(&format!("{multipart}\n{}", "--x\n".repeat(N))),
        mail(&format!("{multipart}\n{}", "--xy\n".repeat(N))),
        mail(&format!("{multipart}\n{}", "--x--\n".repeat(N))),
        mail(&format!("{multipart}\n{}", "--x".repeat(N))),
        mail(&format!("Content-Type: text/plain; name=\"{}\n\n", "a;=(".repeat(N))),
        mail(&format!("Content-Type: text/plain{}\n\n", "; name*1*='".repeat(N))),
        mail(&format!("Content-Type: text/plain{}\n\n", "; name=(".repeat(N))),
        mail(&format!("Subject: {}\n\n", "=?a?q?x?b".repeat(N))),
        mail(&format!("Subject: {}\n\n", "=?utf-8?q?x?= ".repeat(N))),
        mail(&format!("Subject: {}\n\n", "\n \n x".repeat(N))),
        mail(&"nonsense\n".repeat(N)),
        mail(&format!("\n{}", "begin 644 a\n`\n".repeat(N))),
        mail(&format!("\n{}", "begin-base64 644 a\n".repeat(N))),
        mail(&format!("Content-Type: text/html\n\n{}", "<a href=http://x.example/><div>".repeat(N))),
        mail(&format!("\n{}", "http://www.".repeat(N))),
        mail(&format!("\n{}", "www.".repeat(N))),
    ];
    for attack in attacks {
        let start = std::time::Instant::now();
        let message = read(attack.clone());
        let links: usize = message.parts.iter().filter_map(text::of).map(|text| text.links.len()).sum();
        let subject = message.subject();
        let took = start.elapsed();
        // Even unoptimised it is far below this; a quadratic one would take minutes.
        assert!(
            took < Duration::from_secs(8),
            "{took:?}, {links} links, {} for {:.200}",
            subject.len(),
            attack
        );
        assert!(message.defects.len() <= message.parts.len() * DefectKind::ALL.len());
    }
}

#[test]
fn defects_stand_once_for_each_part_and_are_fit_for_people() {
    let mut message = read(mail("\nbody\n"));
    for n in 0..2000 {
        message.defect(DefectKind::BadArchive, PartId(n), "x");
        message.defect(DefectKind::BadArchive, PartId(n), "again");
    }
    assert_eq!(message.defects.len(), 2000, "a part that is not told of would not be stripped");
    message.defect(DefectKind::Encrypted, PartId(0), "a\u{202e}b\r\n".to_owned() + &"c".repeat(999));
    let last = message.defects.last().expect("one");
    assert!(last.kind == DefectKind::Encrypted && last.detail.starts_with("a\\u{202e}b\\r\\nccc"));
    assert!(last.detail.ends_with('…') && last.detail.len() < 260);
    let message = read("Subject: x\r\nno field\r\n\r\nbody\r\n");
    let detail =
        message.defects.iter().find(|defect| defect.kind == DefectKind::NoHeader).map(|d| &d.detail[..]);
    assert_eq!(detail, Some("no empty line before the body: no field"));
}

/// Pieces that mails are made of, to be put together at random.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&str] = &[
        "\r\n",
        "\n",
        "\r",
        " ",
        "\t",
        ":",
        ";",
        "=",
        "\"",
        "--",
        "--x",
        "--x--",
        "Content-Type:",
        "multipart/mixed",
        "message/rfc822",
        "text/html",
        "; boundary=x",
        "; boundary=\"x\"",
        "Content-Transfer-Encoding: base64\r\n",
        "Content-Transfer-Encoding: quoted-printable\r\n",
        "Content-Disposition: attachment",
        "; filename*0*=",
        "''",
        "; name=",
        "=?utf-8?Q?",
        "=?iso-2022-jp?B?",
        "?=",
        "QUJD",
        "=3D",
        "begin 644 x\r\n",
        "#0V%T\r\n",
        "end\r\n",
        "<a href=",
        "<!--",
        "http://www.example.org/",
        "From: ",
        "Subject: ",
        "x",
        "\0",
        "é",
        "\\",
        "(",
        ")",
        "+AGU-",
        "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n",
    ];
    prop_oneof![
        8 => proptest::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..8),
    ]
}

/// A mail like real ones, with some stretches of it taken out, doubled or written over.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    const LIKE_REAL: &str = "Received: from a.example (a.example [192.0.2.1])\r\n\tby b.example; Thu, 1 Jan 2026 00:00:00 +0000\r\n\
        From: =?utf-8?q?Andr=C3=A9?= <a@a.example>\r\nTo: b@b.example\r\nSubject: =?utf-8?b?w6l0w6k=?=\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=\"outer\"\r\n\r\nThis is a multi-part message in MIME format.\r\n\
        --outer\r\nContent-Type: multipart/alternative; boundary=inner\r\n\r\n--inner\r\nContent-Type: text/plain; charset=utf-8\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9 =\r\nwww.a.example\r\n--inner\r\nContent-Type: text/html\r\n\r\n\
        <p><a href=\"http://a.example/?x&amp;y\">link</a>\r\n--inner--\r\n--outer\r\nContent-Type: application/zip; name=\"a.zip\"\r\n\
        Content-Disposition: attachment; filename*0*=utf-8''%C3%A9; filename*1=.zip\r\nContent-Transfer-Encoding: base64\r\n\r\n\
        UEsDBBQAAAAIAA==\r\n--outer\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nbegin 644 x.txt\r\n#0V%T\r\n`\r\nend\r\n\
        --outer--\r\n";
    let change = (any::<proptest::sample::Index>(), any::<proptest::sample::Index>(), 0..3, piece());
    proptest::collection::vec(change, 1..8).prop_map(|changes| {
        let mut mail = LIKE_REAL.as_bytes().to_vec();
        for (from, length, how, piece) in changes {
            let from = from.index(mail.len() + 1);
            let to = (from + length.index(60)).min(mail.len());
            let stretch = mail[from..to].to_vec();
            mail.splice(
                from..to,
                match how {
                    0 => Vec::new(),
                    1 => stretch.repeat(2),
                    _ => piece,
                },
            );
        }
        mail
    })
}

fn any_mail() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        mutated(),
        proptest::collection::vec(any::<u8>(), 0..400),
        proptest::collection::vec(piece(), 0..80).prop_map(|pieces| pieces.concat()),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_a_message(raw in any_mail(), parts in 1u32..20, depth in 0u32..5) {
        let limits = Limits { parts, depth, ..Limits::default() };
        let message = read_within(raw.clone(), &limits);
        prop_assert!(!message.parts.is_empty() && message.parts.len() <= parts as usize);
        for (id, part) in message.parts() {
            prop_assert!(part.depth <= depth);
            prop_assert!(part.parent.is_none_or(|parent| parent < id));
            if let Some(span) = &part.span {
                let entity = &message.raw[span.clone()];
                prop_assert!(entity.starts_with(&part.headers.raw));
            }
            text::of(part);
            message.path(id);
        }
        prop_assert!(message.raw == raw);
    }

    #[test]
    fn header_spans_reassemble(raw in any_mail()) {
        let (headers, body, _) = Headers::parse(raw.clone().into());
        prop_assert!(raw.starts_with(&headers.raw));
        prop_assert!(body >= headers.raw.len() && body <= raw.len());
        let joined: Vec<u8> = headers.fields.iter().flat_map(|field| headers.raw_field(field).to_vec()).collect();
        prop_assert_eq!(&joined, &headers.raw);
        for field in &headers.fields {
            prop_assert!(field.name.start <= field.name.end && field.name.end <= field.value.start);
            prop_assert!(field.value.start <= field.value.end && field.value.end <= field.span.end);
            headers.value_text(field);
        }
        // What stands between is nothing but the empty line.
        prop_assert!(raw[headers.raw.len()..body].iter().all(|byte| matches!(byte, b'\r' | b'\n')));
    }

    #[test]
    fn values_survive_being_encoded(value in "\\PC{0,120}") {
        let encoded = words::encode(&value);
        prop_assert!(encoded.is_ascii());
        let unfolded = encoded.replace("\r\n", "");
        let decoded = words::decode(unfolded.as_bytes());
        prop_assert_eq!(decoded.trim(), value.trim());
        if encoded.contains("=?") {
            for (place, line) in encoded.split("\r\n").enumerate() {
                prop_assert!(line.len() <= if place == 0 { 76 - 22 } else { 76 }, "{}", line);
            }
        }
    }

    #[test]
    fn words_of_any_bytes(value in proptest::collection::vec(piece(), 0..30)) {
        words::decode(&value.concat());
    }

    #[test]
    fn html_of_any_text(source in proptest::collection::vec(piece(), 0..40)) {
        let source = source.concat();
        let text = text::html(&String::from_utf8_lossy(&source));
        prop_assert!(text.text.len() <= source.len() * 3);
    }

    #[test]
    fn any_bytes_have_a_type(content in proptest::collection::vec(any::<u8>(), 0..700)) {
        FileType::detect(&content);
    }
}
