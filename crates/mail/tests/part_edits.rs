//! Edits of parts: what is edited reads back as wanted, and all else is as it was. What other readers make of it is in
//! `other_readers.rs`.

mod editing;

use bytes::Bytes;
use editing::{add, read, rename, replace, rewrite};
use gatepost_mail::{Edit, Message, PartId, Place, apply, holds_text, takes_text, text};
use proptest::prelude::*;

/// The message with an edit, which must not be skipped.
fn edited(message: &Message, edits: &[Edit]) -> String {
    let applied = apply(message, edits);
    assert_eq!(applied.skipped, [0; 0], "{edits:?} in {}", String::from_utf8_lossy(&message.raw));
    String::from_utf8(applied.chunks.concat()).expect("UTF-8")
}

/// A multipart/mixed with a text and one part of that header and body.
fn mixed(header: &str, body: &str) -> String {
    format!(
        "Subject: a\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n\
         --b\r\n\r\nHello.\r\n--b\r\n{header}\r\n{body}\r\n--b--\r\nepilogue\r\n"
    )
}

/// Headers of parts, and what becomes of them when the part is named `new.txt`.
const RENAMED: &[(&str, &str)] = &[
    // In each field that names it, and no other.
    (
        "Content-Type: application/zip; name=\"old.zip\"\r\nContent-Transfer-Encoding: base64\r\n",
        "Content-Type: application/zip; name=\"new.txt\"\r\nContent-Transfer-Encoding: base64\r\n",
    ),
    (
        "content-type: APPLICATION/zip;\r\n\tname=old.zip; x=\"y z\"\r\nContent-Disposition: attachment;\r\n filename=old.zip; size=12\r\n",
        "Content-Type: APPLICATION/zip; x=\"y z\"; name=\"new.txt\"\r\nContent-Disposition: attachment; size=12; filename=\"new.txt\"\r\n",
    ),
    (
        "Content-Type: application/zip\r\nContent-Disposition: inline; filename*0*=utf-8''ol; filename*1=d.zip\r\n",
        "Content-Type: application/zip\r\nContent-Disposition: inline; filename=\"new.txt\"\r\n",
    ),
    (
        "Content-Type: text/plain; charset=koi8-r; format=flowed;\r\n name=\"=?utf-8?q?old=2Ezip?=\"\r\n",
        "Content-Type: text/plain; charset=koi8-r; format=flowed; name=\"new.txt\"\r\n",
    ),
    // One that has no name gets one.
    (
        "Content-Type: application/zip\r\n",
        "Content-Type: application/zip\r\nContent-Disposition: attachment; filename=\"new.txt\"\r\n",
    ),
    (
        "Content-Disposition: inline\r\nX-A: b\r\n",
        "Content-Disposition: inline; filename=\"new.txt\"\r\nX-A: b\r\n",
    ),
    ("", "Content-Disposition: attachment; filename=\"new.txt\"\r\n"),
    // Other fields that tell the name go; the one that other parts refer to stays.
    (
        "Content-Type: image/png; name=old.zip\r\nContent-Description: OLD.zip\r\nContent-Location: old.zip\r\nContent-ID: <old.zip@x>\r\nContent-Language: de\r\n",
        "Content-Type: image/png; name=\"new.txt\"\r\nContent-ID: <old.zip@x>\r\nContent-Language: de\r\n",
    ),
    // What can be read in several ways is written afresh.
    (
        "Content-Type: application/zip; name=old.zip; name=\"old.exe\"\r\n",
        "Content-Type: application/zip; name=\"new.txt\"\r\n",
    ),
    (
        "Content-Type: application/zip (old.exe); name=old.zip\r\n",
        "Content-Type: application/zip\r\nContent-Disposition: attachment; filename=\"new.txt\"\r\n",
    ),
    (
        "Content-Type: text/html; charset=\"utf-8\"; name=old page.html\r\n",
        "Content-Type: text/html; charset=utf-8\r\nContent-Disposition: attachment; filename=\"new.txt\"\r\n",
    ),
    (
        "Content-Type: application/zip; name=\"a\\\"old.zip\"\r\nContent-Disposition: attachment; filename=\"a\\b.zip\"\r\n",
        "Content-Type: application/zip\r\nContent-Disposition: attachment; filename=\"new.txt\"\r\n",
    ),
    (
        "Content-Type: application/zip; name=old.zip\r\nX: y\r\nContent-Type: application/pdf; name=old.pdf\r\n",
        "Content-Type: application/zip\r\nX: y\r\nContent-Disposition: attachment; filename=\"new.txt\"\r\n",
    ),
    (
        "Content-Disposition: inline; filename=old.zip\r\nContent-Disposition: attachment; filename=old.exe\r\n",
        "Content-Disposition: inline; filename=\"new.txt\"\r\n",
    ),
    // A field that only some readers know: all is written afresh.
    (
        "Content-Type: application/zip\r\nContent_Disposition: attachment; filename=old.zip\r\nContent-ID: <1@x>\r\n",
        "Content-ID: <1@x>\r\nContent-Type: application/zip\r\nContent-Transfer-Encoding: 7bit\r\nContent-Disposition: attachment; filename=\"new.txt\"\r\n",
    ),
    (
        "Content-Disposition : attachment;\r\n \r\n filename=old.zip\r\nContent-Transfer-Encoding: Base64 (x)\r\n",
        "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"new.txt\"\r\n",
    ),
    (
        "Content-Type: application/zip; name=old.zip\r\nno field\r\nContent-ID: <1@x>\r\nX: y\r\n",
        "Content-ID: <1@x>\r\nContent-Type: application/zip\r\nContent-Transfer-Encoding: 7bit\r\nContent-Disposition: attachment; filename=\"new.txt\"\r\n",
    ),
];

#[test]
fn a_part_gets_another_name() {
    for (header, expected) in RENAMED {
        let raw = mixed(header, "UEsDBAoAAAA=");
        let message = read(raw.clone());
        let text = edited(&message, &[rename(2, "new.txt")]);
        assert_eq!(text, mixed(expected, "UEsDBAoAAAA="), "{header}");
        let again = read(text);
        assert_eq!(again.parts[2].names, ["new.txt"], "{header}");
        assert_eq!(again.parts[2].body, message.parts[2].body, "{header}");
    }
}

#[test]
fn names_are_written_so_that_all_read_the_same() {
    let long = "ä".repeat(300);
    let table = [
        ("plain name.txt", "plain name.txt"),
        ("größe.txt", "größe.txt"),
        ("a\"b.txt", "a\"b.txt"),
        ("100% 'x'.txt", "100% 'x'.txt"),
        ("=?utf-8?q?x?=.txt", "=?utf-8?q?x?=.txt"),
        ("a\r\nX: y/../b\\c\0", "a__X: y_.._b_c_"),
        ("dots.exe. .", "dots.exe"),
        (" ", "attachment"),
        (&long, &"ä".repeat(255)),
    ];
    let message = read(mixed("Content-Type: application/zip; name=old.zip\r\n", "x"));
    for (name, expected) in table {
        let text = edited(&message, &[rename(2, name)]);
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        let again = read(text.clone());
        assert_eq!(again.parts[2].names, [expected], "{text}");
        assert_eq!(again.parts.len(), message.parts.len());
        assert_eq!(again.parts[2].headers.fields.len(), 1, "{text}");
    }
}

#[test]
fn what_cannot_be_edited_is_skipped() {
    let uu = mixed("", "begin 644 old.exe\r\n#0V%T\r\n`\r\nend");
    let nested =
        mixed("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n", "QTogYgoKYgo=");
    let lax = "A: b\r\nContent-Type: multipart/mixed; (c) boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n";
    let open = "A: b\r\nContent-Type: multipart/mixed; boundary=b\r\n--b\r\nX: y\r\n\r\nx\r\n--b--\r\n";
    let signed = mixed("Content-Type: multipart/signed; boundary=c\r\n", "--c\r\n\r\nx\r\n--c--");
    let pgp = "A: b\r\n\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\n\r\nx\r\n";
    let smime = "Content-Type: application/pkcs7-mime; name=smime.p7m\r\n\r\nx\r\n";
    let text = add("x", "", Place::Top);
    let table = [
        (uu.as_str(), rename(3, "x")),
        (&uu, rewrite(3, b"x")),
        (&nested, rename(3, "x")),
        (&nested, rewrite(2, b"x")),
        (&uu, rewrite(0, b"x")),
        (&uu, rename(9, "x")),
        (lax, rename(0, "x")),
        (open, rename(1, "x")),
        (open, rewrite(1, b"x")),
        (&signed, text.clone()),
        (pgp, text.clone()),
        (smime, text.clone()),
        (&uu, Edit::DefangPart { part: PartId(1), what: Vec::new() }),
    ];
    for (raw, edit) in table {
        let message = read(raw);
        let applied = apply(&message, std::slice::from_ref(&edit));
        assert_eq!(
            (applied.chunks.concat(), applied.skipped),
            (raw.as_bytes().to_vec(), vec![0]),
            "{edit:?} {raw}"
        );
        match edit {
            Edit::RenamePart { part, .. } => assert!(!message.can_rename(part), "{raw}"),
            Edit::RewritePart { part, .. } => assert!(!message.can_rewrite(part), "{raw}"),
            Edit::AddText { .. } => assert!(!takes_text(&message), "{raw}"),
            _ => {}
        }
    }
}

#[test]
fn content_is_encoded_as_it_needs() {
    let header = "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: x-strange\r\n\
        Content-MD5: abc\r\nContent-ID: <1@x>\r\ncontent-transfer-encoding: base64\r\n";
    let (long, cyrillic) = (format!("{}\r\n", "x".repeat(1000)), "я".repeat(50));
    let table: &[(&[u8], &str, &str)] = &[
        (b"<b>plain</b>\r\n", "7bit", "<b>plain</b>\r\n"),
        (b"", "7bit", ""),
        (b"<!-- x\r\n--b\r\n", "quoted-printable", "<!-=2D x\r\n-=2Db\r\n"),
        ("die Größe = das Mass".as_bytes(), "quoted-printable", "die Gr=C3=B6=C3=9Fe =3D das Mass"),
        (b"From here \r\n", "quoted-printable", "=46rom here=20\r\n"),
        (b"unix\nlines\n", "base64", "dW5peApsaW5lcwo="),
        (b"\x00\x01\x02", "base64", "AAEC"),
        (long.as_bytes(), "quoted-printable", ""),
        (cyrillic.as_bytes(), "base64", ""),
    ];
    for (content, encoding, body) in table {
        let text = edited(&read(mixed(header, "old")), &[rewrite(2, content)]);
        let header = format!(
            "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\nContent-ID: <1@x>\r\n"
        );
        if body.is_empty() && !content.is_empty() {
            assert!(text.contains(&header), "{text}");
        } else {
            assert_eq!(text, mixed(&header, body));
        }
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert_eq!(read(text).parts[2].body, *content);
    }
}

#[test]
fn a_message_of_one_part_is_edited() {
    let raw = "A: a\r\nContent-Type: text/html; name=x.html\r\nB: b\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+\r\n";
    let table: &[(&[Edit], &str)] = &[
        (
            &[rename(0, "y.txt")],
            "A: a\r\nContent-Type: text/html; name=\"y.txt\"\r\nB: b\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+\r\n",
        ),
        (
            &[rewrite(0, b"<i>"), rename(0, "y.txt")],
            "A: a\r\nContent-Type: text/html; name=\"y.txt\"\r\nB: b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<i>=\r\n",
        ),
        (
            &[rewrite(0, b"<i>"), add("t", "<u>", Place::Top), rewrite(0, b"\0")],
            "A: a\r\nContent-Type: text/html; name=x.html\r\nB: b\r\nContent-Transfer-Encoding: base64\r\n\r\nAA==\r\n",
        ),
        (
            &[rewrite(0, b"<i>\r\n"), add("t", "<u>", Place::Bottom)],
            "A: a\r\nContent-Type: text/html; name=x.html\r\nB: b\r\nContent-Transfer-Encoding: 7bit\r\n\r\n<i>\r\n\r\n<u>\r\n",
        ),
    ];
    for (edits, expected) in table {
        assert_eq!(edited(&read(raw), edits), *expected);
    }
    let replaced = edited(
        &read(raw),
        &[rename(0, "y"), add("Look out.", "", Place::Top), replace(0, "Gone."), rewrite(0, b"x")],
    );
    let expected = "A: a\r\nB: b\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
        Content-Transfer-Encoding: 7bit\r\nContent-Disposition: inline; filename=\"x.html-removed.txt\"\r\n\r\n\
        Look out.\r\n\r\nGone.\r\n";
    assert_eq!(replaced, expected);
}

#[test]
fn what_is_added_to_a_text_that_is_replaced_is_added_to_the_replacement() {
    let inner = "Content-Type: multipart/alternative; boundary=c\r\n";
    let raw = mixed("X: y\r\n", "z")
        .replace("--b\r\n\r\nHello.", &format!("--b\r\n{inner}\r\n--c\r\n\r\nHello.\r\n--c--"));
    let message = read(raw);
    // The text, what it lies in, and all.
    for replaced in [vec![2], vec![1], vec![2, 1], vec![0, 2], vec![1, 0]] {
        let mut edits = vec![add("Above.", "", Place::Top)];
        edits.extend(replaced.iter().map(|part| replace(*part, "Gone.")));
        let found = edited(&message, &edits);
        assert_eq!(found.matches("Above.\r\n\r\nGone.").count(), 1, "{replaced:?} {found}");
        assert!(!found.contains("Hello."), "{found}");
    }
}

/// A message of one text with that header, the text, what is added, where, and the body that comes of it.
type Texts<'a> = (&'a str, &'a [u8], &'a str, Place, &'a str, &'a [u8]);

#[test]
fn text_is_added_in_the_charset_and_encoding_of_the_mail() {
    use Place::{Bottom, Top};
    let table: &[Texts] = &[
        ("", b"a\r\n", "Ad.\n", Bottom, "", b"a\r\n\r\nAd.\r\n"),
        ("", b"a\r\n", "Ad.\nb\n", Top, "", b"Ad.\r\nb\r\n\r\na\r\n"),
        ("", b"", "Ad.", Top, "", b"Ad.\r\n"),
        ("", b"a\nb", "Ad.", Bottom, "", b"a\nb\n\nAd.\n"),
        (
            "Content-Type: text/plain; charset=utf-8\r\n",
            b"\xef\xbb\xbfa\r\n",
            "Ad.",
            Top,
            "=",
            b"\xef\xbb\xbfAd.\r\n\r\na\r\n",
        ),
        (
            "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n",
            b"\xfc\r\n",
            "\u{fc}",
            Top,
            "=",
            b"\xfc\r\n\r\n\xfc\r\n",
        ),
        (
            "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n",
            b"=FC\r\n",
            "\u{fc}",
            Bottom,
            "=",
            b"=FC\r\n\r\n=FC\r\n",
        ),
        (
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n",
            b"w7w=\r\n",
            "\u{fc}",
            Bottom,
            "=",
            b"w7wNCg0Kw7wNCg==\r\n",
        ),
        (
            "Content-Type: text/plain; charset=koi8-r\r\nContent-Transfer-Encoding: 8bit\r\n",
            b"\xc1\r\n",
            "\u{44f}",
            Bottom,
            "=",
            b"\xc1\r\n\r\n\xd1\r\n",
        ),
        // The euro is not in ISO 8859-1, nor is anything but ASCII in US-ASCII.
        (
            "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n",
            b"=FC\r\n",
            "\u{20ac}",
            Bottom,
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n",
            b"=C3=BC\r\n\r\n=E2=82=AC\r\n",
        ),
        (
            "Content-Type: text/plain; charset=us-ascii; format=flowed\r\n",
            b"a \r\nb\r\n",
            "\u{fc}",
            Bottom,
            "Content-Type: text/plain; charset=utf-8; format=flowed\r\nContent-Transfer-Encoding: quoted-printable\r\n",
            b"a=20\r\nb\r\n\r\n=C3=BC\r\n",
        ),
        (
            "",
            b"a\r\n",
            "\u{fc}",
            Bottom,
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n",
            b"a\r\n\r\n=C3=BC\r\n",
        ),
        (
            "Content-Type: text/plain; charset=utf-16\r\nContent-Transfer-Encoding: base64\r\n",
            b"/v8A/A==\r\n",
            "Ad.",
            Bottom,
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n",
            b"w7wNCg0KQWQuDQo=\r\n",
        ),
        (
            "Content-Type: text/plain; format=flowed\r\n",
            b"a \r\n",
            " >\nFrom x \n>b",
            Bottom,
            "=",
            b"a \r\n\r\n  >\r\n From x\r\n >b\r\n",
        ),
        // HTML is in ASCII, so no charset can be wrong.
        (
            "Content-Type: text/html; charset=us-ascii\r\n",
            b"<body>a</body>\r\n",
            "\u{fc}",
            Bottom,
            "=",
            b"<body>a\r\n<p>&#252;</p>\r\n</body>\r\n",
        ),
        (
            "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n",
            b"<body id=3D1>=C3=BC</body>\r\n",
            "\u{fc}",
            Top,
            "=",
            b"<body id=3D1>\r\n<p>&#252;</p>\r\n=C3=BC</body>\r\n",
        ),
        (
            "Content-Type: text/html; charset=utf-7\r\n",
            b"+APw-\r\n",
            "\u{fc}",
            Bottom,
            "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n",
            b"=C3=BC\r\n\r\n<p>&#252;</p>\r\n",
        ),
    ];
    for (header, body, text, place, new_header, new_body) in table {
        let raw = [b"A: b\r\n", header.as_bytes(), b"\r\n", body].concat();
        let new_header = if *new_header == "=" { header } else { new_header };
        let expected = [b"A: b\r\n", new_header.as_bytes(), b"\r\n", new_body].concat();
        let message = read(raw);
        let applied = apply(&message, &[add(text, "", *place)]);
        let found = applied.chunks.concat();
        assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(&expected));
        assert_eq!((found == expected, applied.skipped), (true, vec![]));
        let again = read(found);
        assert!(holds_text(&again, text), "{header}");
    }
}

#[test]
fn text_is_added_where_it_is_read() {
    let part = |header: &str, text: &str| format!("Content-Type: {header}\r\n\r\n{text}\r\n");
    let multi = |kind: &str, boundary: &str, parts: &[String]| {
        let parts: String = parts.iter().map(|part| format!("--{boundary}\r\n{part}")).collect();
        format!("Content-Type: multipart/{kind}; boundary={boundary}\r\n\r\n{parts}--{boundary}--\r\n")
    };
    let text = || part("text/plain", "T");
    let html = || part("text/html", "H");
    let image = || part("image/png", "P");
    let attached = || part("text/plain\r\nContent-Disposition: attachment", "Z");
    let named = || part("text/html; name=x.html", "N");
    let mail = || part("message/rfc822", &format!("S: x\r\n{}", text().trim_end()));
    // Letters of the parts to which something is added; none where a text of its own is put before all.
    let table: Vec<(String, &str)> = vec![
        (text(), "T"),
        (html(), "H"),
        (multi("alternative", "a", &[text(), html()]), "TH"),
        (multi("mixed", "m", &[text(), html()]), "T"),
        (multi("mixed", "m", &[image(), attached(), named(), html()]), "H"),
        (
            multi(
                "mixed",
                "m",
                &[
                    multi("alternative", "a", &[text(), multi("related", "r", &[html(), image()])]),
                    attached(),
                ],
            ),
            "TH",
        ),
        (multi("related", "r", &[multi("alternative", "a", &[text(), html()]), image()]), "TH"),
        (multi("report", "r", &[text(), mail()]), "T"),
        (multi("mixed", "m", &[mail(), image()]), ""),
        (multi("mixed", "m", &[attached()]), ""),
        (attached(), ""),
        (image(), ""),
        (mail(), ""),
        (part("text/plain\r\nContent-Transfer-Encoding: x-unknown", "T"), ""),
    ];
    for (body, expected) in table {
        let raw = format!("Subject: s\r\n{body}");
        let message = read(raw.clone());
        let edits =
            [add("Above.", "<i>Above.</i>", Place::Top), add("Below.", "<i>Below.</i>", Place::Bottom)];
        let found = edited(&message, &edits);
        let again = read(found.clone());
        assert!(holds_text(&again, "Above.") && holds_text(&again, "Below."), "{found}");
        let with = |letter: char| {
            let whole = |part: &gatepost_mail::Part| {
                text::of(part).is_some_and(|text| {
                    text.text.split_whitespace().collect::<String>() == format!("Above.{letter}Below.")
                })
            };
            again.parts.iter().any(whole)
        };
        let letters: String = "TNHZP".chars().filter(|letter| with(*letter)).collect();
        assert_eq!(letters, expected, "{found}");
        if expected.is_empty() {
            assert_eq!(again.parts[0].declared, "multipart/mixed");
            assert_eq!(&*again.parts[1].body, b"Above.\r\n\r\nBelow.", "{found}");
            let content = body.split_once("\r\n\r\n").expect("a body").1;
            assert!(found.contains(&format!("\r\n\r\n{content}\r\n--=_gatepost_")), "{found}");
            assert_eq!(again.parts[2].declared, message.parts[0].declared, "{found}");
        }
        let others = |message: &Message| -> Vec<Bytes> {
            let other = |part: &&gatepost_mail::Part| !part.container && b"PZN".contains(&part.body[0]);
            message.parts.iter().filter(other).map(|part| part.body.clone()).collect()
        };
        assert_eq!(others(&again), others(&message), "{found}");
    }
}

#[test]
fn what_a_boundary_could_be_taken_from_is_encoded() {
    let message = read(mixed("X: y\r\n", "z"));
    let found = edited(&message, &[add("--b\n--b--\nDisclaimer", "", Place::Bottom)]);
    let again = read(found.clone());
    assert_eq!(again.parts.len(), message.parts.len(), "{found}");
    assert_eq!(&*again.parts[1].body, b"Hello.\r\n\r\n--b\r\n--b--\r\nDisclaimer\r\n");
}

#[test]
fn a_text_that_is_there_is_found() {
    let table = [
        ("Content-Type: text/plain\r\n\r\nHi.\r\n> This mail\r\n> is secret.\r\n", true),
        ("Content-Type: text/html\r\n\r\n<p>This <b>mail</b><br>is&nbsp;secret.</p>\r\n", true),
        ("Content-Type: text/plain\r\n\r\nThis mail is public.\r\n", false),
        (
            "Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nThis mail is secret.\r\n",
            false,
        ),
    ];
    for (raw, expected) in table {
        assert_eq!(holds_text(&read(raw), "This mail\nis secret.\n"), expected, "{raw}");
        assert!(holds_text(&read(raw), " \n"));
    }
}

#[test]
fn a_message_is_wrapped() {
    let raw = "From x\nDKIM-Signature: v=1\r\nSubject: größe\r\nContent-Type: multipart/mixed; boundary==_gatepost_0000000000000000\r\n\
        Content_Type: text/plain\r\nX-Keep: 1\r\n\r\n--=_gatepost_0000000000000000\r\n\r\nx\0\r\n--=_gatepost_0000000000000000--";
    let message = read(raw);
    let edits = [
        add("Warning.", "", Place::Top),
        Edit::Wrap { text: "Look out.\n".into() },
        Edit::RemoveHeader { name: "X-Keep".into(), nth: 0 },
        Edit::AddHeader { name: "X-New".into(), value: "1".into(), place: Place::Top },
    ];
    let expected = format!(
        "From x\nX-New: 1\r\nSubject: größe\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"=_gatepost_0000000000000001\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         --=_gatepost_0000000000000001\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\
         Content-Disposition: inline\r\n\r\nWarning.\r\n\r\nLook out.\r\n--=_gatepost_0000000000000001\r\n\
         Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\nContent-Disposition: attachment; \
         filename*=utf-8''gr%C3%B6%C3%9Fe.eml\r\n\r\n{raw}\r\n--=_gatepost_0000000000000001--\r\n"
    );
    assert_eq!(edited(&message, &edits), expected);
    // Parts are edited inside.
    let wrapped = edited(&message, &[Edit::Wrap { text: String::new() }, replace(1, "Gone.")]);
    assert!(
        wrapped.contains("\r\n\r\nFrom x\nDKIM-Signature") && wrapped.contains("\r\nGone.\r\n"),
        "{wrapped}"
    );
    assert!(!wrapped.contains("x\0"), "{wrapped}");
}

/// One of the ways in which a part of a well-formed message is written.
fn entity() -> impl Strategy<Value = String> {
    let header = prop_oneof![
        Just(
            "Content-Type: application/pdf; name=\"old.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjQ="
        ),
        Just(
            "Content-Type: image/png\r\nContent-ID: <1@x>\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo="
        ),
        Just(
            "Content-Type: text/plain; charset=koi8-r\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C1=C2\r\n"
        ),
        Just("Content-Type: text/html\r\n\r\n<html><body>Page</body></html>"),
        Just("Content-Disposition: attachment; filename*=utf-8''%C3%BC.txt\r\n\r\nnote"),
        Just("\r\nHello"),
        Just("Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nInner text\r\n"),
    ];
    let leaf = header.prop_map(str::to_owned).boxed();
    leaf.prop_recursive(3, 12, 4, |inner| {
        let kind = prop_oneof![Just("mixed"), Just("alternative"), Just("related")];
        (kind, proptest::collection::vec(inner, 1..4), 0u32..1_000_000).prop_map(|(kind, parts, number)| {
            let boundary = format!("b{number:06}x{}", parts.concat().len());
            let parts: String = parts.iter().map(|part| format!("--{boundary}\r\n{part}\r\n")).collect();
            format!("Content-Type: multipart/{kind}; boundary={boundary}\r\n\r\n{parts}--{boundary}--")
        })
    })
}

fn message() -> impl Strategy<Value = Message> {
    entity().prop_map(|entity| read(format!("Subject: s\r\nMIME-Version: 1.0\r\n{entity}\r\n")))
}

/// The parts that stand in the message; others are further readings of them.
fn entities(message: &Message) -> Vec<usize> {
    message.parts().filter(|(_, part)| part.span.is_some()).map(|(id, _)| id.0).collect()
}

/// All parts but one and what is in it or around it, as they stand in the message.
fn others(message: &Message, but: PartId) -> Vec<(Vec<String>, Bytes)> {
    let within = |mut id: PartId, outer: PartId| loop {
        match message.part(id).parent {
            _ if id == outer => return true,
            Some(parent) => id = parent,
            None => return false,
        }
    };
    let place = |part: &gatepost_mail::Part| Some(message.raw.slice(part.span.clone()?));
    let other = message.parts().filter(|(id, _)| !within(*id, but) && !within(but, *id));
    other.filter_map(|(_, part)| Some((part.names.clone(), place(part)?))).collect()
}

/// Text with marks that pages write in their own way. What looks like a tag is read as one, wherever it stands.
fn added() -> impl Strategy<Value = String> {
    let tag =
        |text: &str| text.as_bytes().windows(2).any(|two| two[0] == b'<' && two[1].is_ascii_alphabetic());
    "[a-zA-Zäя€><&.]{4,40}( [a-z-]{1,9}){0,30}".prop_filter("no tag", move |text| !tag(text))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_renamed_part_has_that_name_alone(message in message(), part: prop::sample::Index, name in "[ -~äя€\u{1f600}]{1,80}") {
        let part = entities(&message)[part.index(entities(&message).len())];
        let text = edited(&message, &[rename(part, &name)]);
        let again = read(text);
        let renamed = &again.parts[part];
        prop_assert_eq!(renamed.names.len(), 1, "{:?}", renamed.names);
        let bare = |text: &str| -> String { text.chars().filter(|c| !matches!(c, '_' | '/' | '\\')).collect() };
        let wanted = bare(name.trim().trim_end_matches(['.', ' ']));
        prop_assert!(bare(&renamed.names[0]) == wanted || wanted.is_empty(), "{:?}", renamed.names);
        prop_assert_eq!(&renamed.body, &message.parts[part].body);
        prop_assert_eq!(&renamed.declared, &message.parts[part].declared);
        prop_assert_eq!(others(&again, PartId(part)), others(&message, PartId(part)));
    }

    #[test]
    fn a_rewritten_part_has_that_content(
        message in message(),
        part: prop::sample::Index,
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            "(<p>|--|b00|\r\n|\n|\r| |=|ä|text of a page|\\.|From ){0,60}".prop_map(String::into_bytes),
        ],
    ) {
        let part = entities(&message)[part.index(entities(&message).len())];
        let applied = apply(&message, &[rewrite(part, &body)]);
        prop_assert_eq!(applied.skipped.is_empty(), message.can_rewrite(PartId(part)));
        let again = read(applied.chunks.concat());
        if applied.skipped.is_empty() {
            let found = &again.parts[part].body;
            // Empty content at the end of a message, and none, are the same.
            prop_assert_eq!(found, &body);
            prop_assert_eq!(&again.parts[part].names, &message.parts[part].names);
            prop_assert_eq!(others(&again, PartId(part)), others(&message, PartId(part)));
        } else {
            prop_assert_eq!(&again.raw, &message.raw);
        }
    }

    #[test]
    fn added_text_is_read_and_all_else_is_as_it_was(message in message(), top: bool, text in added()) {
        let place = if top { Place::Top } else { Place::Bottom };
        let found = edited(&message, &[add(&text, "", place)]);
        let again = read(found);
        prop_assert!(holds_text(&again, &text));
        let new = |part: &&gatepost_mail::Part| !part.container && holds(part, &text);
        let changed = again.parts.iter().filter(new).count();
        prop_assert!(changed > 0);
        let bodies = |message: &Message| -> Vec<Bytes> {
            let leaves = message.parts.iter().filter(|part| !part.container && !holds(part, &text));
            leaves.map(|part| part.body.clone()).collect()
        };
        let (before, after) = (bodies(&message), bodies(&again));
        let kept = before.iter().filter(|body| after.contains(body)).count();
        prop_assert!(kept + changed >= before.len(), "{} of {}, {} changed", kept, before.len(), changed);
    }

    #[test]
    fn a_wrapped_message_stands_there_byte_for_byte(raw in "(Subject: x\r\n|\r\n|--=_gatepost_000000000000000[0-3]|é|\n| ){0,20}") {
        let message = read(raw.clone());
        let again = read(edited(&message, &[Edit::Wrap { text: "Look out.".into() }]));
        prop_assert_eq!(&*again.parts[1].body, b"Look out.");
        prop_assert_eq!(&*again.parts[2].body, raw.as_bytes());
        prop_assert_eq!(&again.parts[2].declared, "message/rfc822");
    }
}

fn holds(part: &gatepost_mail::Part, wanted: &str) -> bool {
    let bare = |text: &str| -> String { text.chars().filter(|c| !c.is_whitespace() && *c != '>').collect() };
    text::of(part).is_some_and(|found| bare(&found.text).contains(&bare(wanted)))
}
