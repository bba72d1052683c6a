//! Edits carried out and read again.

use super::write::{LINE, field, text_entity};
use super::*;
use crate::{Budget, Limits};
use proptest::prelude::*;

fn read(raw: impl Into<Vec<u8>>) -> Message {
    Message::read(Bytes::from(raw.into()), &mut Budget::new(&Limits::default()))
}

/// Carries instructions out as a mail server does.
fn instructed(message: &Message, changes: &Changes) -> String {
    let headers = &message.headers;
    let mut fields: Vec<(String, String)> = headers
        .fields
        .iter()
        .map(|field| {
            let raw = String::from_utf8_lossy(headers.raw_field(field)).into_owned();
            (headers.name(field).to_ascii_lowercase(), raw)
        })
        .collect();
    let at = |fields: &[(String, String)], name: &str, nth: usize| {
        let same = fields.iter().enumerate().filter(|(_, field)| field.0 == name.to_ascii_lowercase());
        same.map(|(place, _)| place).nth(nth).expect("a field that is there")
    };
    let mut top = 0;
    for change in &changes.headers {
        match change {
            HeaderChange::Change { name, nth, value } => {
                let place = at(&fields, name, *nth);
                fields[place].1 = format!("{name}: {value}\r\n");
            }
            HeaderChange::Remove { name, nth } => {
                let place = at(&fields, name, *nth);
                fields.remove(place);
            }
            HeaderChange::Insert { place, name, value } => {
                let at = if *place == Place::Top { top } else { fields.len() };
                top += usize::from(*place == Place::Top);
                fields.insert(at, (name.to_ascii_lowercase(), format!("{name}: {value}\r\n")));
            }
        }
    }
    let mut out: String = fields.into_iter().map(|field| field.1).collect();
    let body = message.raw.slice(headers.raw.len()..);
    match &changes.body {
        Some(body) => {
            out.push_str("\r\n");
            out.push_str(&String::from_utf8_lossy(&body.concat()));
        }
        None => out.push_str(&String::from_utf8_lossy(&body)),
    }
    out
}

#[test]
fn instructions_come_to_the_same_as_applying() {
    let multipart = "Subject: a\r\nX-Spam: 1\r\nReceived: x\r\nX-Spam: 2\r\nx-spam: 3\r\n\
        Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n\r\none\r\n--b\r\n\
        Content-Type: application/zip; name=a.zip\r\n\r\ntwo\r\n--b--\r\n";
    let plain = "Subject: a\r\nX-Spam: 1\r\nX-Spam: 2\r\n\r\nbody\r\n";
    let add = |name: &str, place| Edit::AddHeader { name: name.into(), value: format!("{name} v ü"), place };
    let remove = |nth| Edit::RemoveHeader { name: "X-SPAM".into(), nth };
    let change = |nth| Edit::ChangeHeader { name: "x-spam".into(), nth, value: "new value ".repeat(20) };
    let replace = |part| Edit::ReplacePart { part: PartId(part), text: "taken out\n".into() };
    let rename = |part| Edit::RenamePart { part: PartId(part), name: "größe.txt".into() };
    let rewrite =
        |part| Edit::RewritePart { part: PartId(part), body: Bytes::from_static(b"new \0 content") };
    let clean = |part| Edit::CleanPart { part: PartId(part), text: "taken out\n".into() };
    let defang = |part| Edit::DefangPart { part: PartId(part), what: vec![Defang::Scripts] };
    let text = |place| Edit::AddText { text: "added\n".into(), html: "<i>added</i>".into(), place };
    let wrap = || Edit::Wrap { text: "Look out.\n".into() };
    let attachment = "Subject: a\r\nX-Spam: 1\r\nX-Spam: 2\r\nContent-Type: application/pdf\r\n\r\n%PDF\r\n";
    for raw in [multipart, plain, attachment] {
        for edits in [
            vec![],
            vec![
                add("X-A", Place::Top),
                add("X-B", Place::Top),
                add("X-C", Place::Bottom),
                add("X-D", Place::Bottom),
            ],
            vec![remove(0), change(1), add("X-Spam", Place::Top), add("X-Spam", Place::Bottom)],
            vec![remove(1), remove(0), change(0)],
            vec![replace(1), add("X-A", Place::Top)],
            vec![replace(0), remove(0), add("X-A", Place::Bottom)],
            vec![replace(2), remove(7), replace(9)],
            vec![rename(2), add("X-A", Place::Top)],
            vec![rename(0), rewrite(0), change(0)],
            vec![rewrite(2), rename(2), rewrite(1), rewrite(9)],
            vec![clean(2), defang(1), rename(2)],
            vec![clean(0), text(Place::Top)],
            vec![text(Place::Top), text(Place::Bottom), remove(1)],
            vec![replace(1), text(Place::Bottom)],
            vec![wrap(), add("X-A", Place::Bottom), remove(0)],
            vec![text(Place::Top), wrap(), replace(1), rename(2), text(Place::Bottom)],
        ] {
            let message = read(raw);
            let (applied, changes) = (apply(&message, &edits), changes(&message, &edits));
            assert_eq!(instructed(&message, &changes), written(&applied), "{edits:?}");
            assert_eq!(changes.skipped, applied.skipped, "{edits:?}");
        }
    }
}

fn written(applied: &Applied) -> String {
    String::from_utf8(applied.chunks.concat()).expect("UTF-8")
}

fn add(name: &str, value: &str, place: Place) -> Edit {
    Edit::AddHeader { name: name.into(), value: value.into(), place }
}

fn remove(name: &str, nth: usize) -> Edit {
    Edit::RemoveHeader { name: name.into(), nth }
}

fn change(name: &str, nth: usize, value: &str) -> Edit {
    Edit::ChangeHeader { name: name.into(), nth, value: value.into() }
}

fn replace(part: usize, text: &str) -> Edit {
    Edit::ReplacePart { part: PartId(part), text: text.into() }
}

#[test]
fn header_edits() {
    let ends = || vec![add("T", "1", Place::Top), add("B", "2", Place::Bottom), add("U", "3", Place::Top)];
    let table = [
        // message, edits, expected
        ("A: a\r\nC: c\r\n\r\nbody\r\n", ends(), "T: 1\r\nU: 3\r\nA: a\r\nC: c\r\nB: 2\r\n\r\nbody\r\n"),
        // No body, no empty line, no line break, nothing.
        ("A: a\r\n\r\n", ends(), "T: 1\r\nU: 3\r\nA: a\r\nB: 2\r\n\r\n"),
        ("A: a\r\n", ends(), "T: 1\r\nU: 3\r\nA: a\r\nB: 2\r\n"),
        ("A: a", ends(), "T: 1\r\nU: 3\r\nA: a\r\nB: 2\r\n"),
        ("", ends(), "T: 1\r\nU: 3\r\nB: 2\r\n"),
        // No header.
        ("\r\nbody\r\n", ends(), "T: 1\r\nU: 3\r\nB: 2\r\n\r\nbody\r\n"),
        ("body at once\r\n", ends(), "T: 1\r\nU: 3\r\nB: 2\r\n\r\nbody at once\r\n"),
        // Line breaks of another kind stay.
        ("A: a\n\nbody\n", ends(), "T: 1\r\nU: 3\r\nA: a\nB: 2\r\n\nbody\n"),
        // The first line of an mbox stays first.
        ("From me Mon\r\nA: a\r\n\r\n", ends(), "From me Mon\r\nT: 1\r\nU: 3\r\nA: a\r\nB: 2\r\n\r\n"),
        ("A: 1\r\nX: x\r\n y\r\na: 2\r\n\r\nb", vec![remove("a", 1), remove("x", 0)], "A: 1\r\n\r\nb"),
        ("A: 1\r\n\r\nb", vec![remove("A", 0)], "\r\nb"),
        (
            "A: 1\r\na : 2\r\n\r\nb",
            vec![change("A", 1, "3"), add("T", "1", Place::Top)],
            "T: 1\r\nA: 1\r\nA: 3\r\n\r\nb",
        ),
        ("A: a\r\nC: c", vec![remove("C", 0), add("B", "2", Place::Bottom)], "A: a\r\nB: 2\r\n"),
        ("A: a\r\nC: c", vec![change("C", 0, "d"), add("B", "2", Place::Bottom)], "A: a\r\nC: d\r\nB: 2\r\n"),
        // Several edits of one field.
        ("A: 1\r\n\r\nb", vec![change("A", 0, "2"), change("A", 0, "3")], "A: 3\r\n\r\nb"),
        ("A: 1\r\n\r\nb", vec![remove("A", 0), change("A", 0, "3")], "\r\nb"),
    ];
    for (raw, edits, expected) in table {
        let applied = apply(&read(raw), &edits);
        assert_eq!(written(&applied), expected, "{raw:?}");
        assert_eq!(applied.skipped, Vec::<usize>::new(), "{raw:?}");
    }
}

#[test]
fn folded_fields_stay_as_they_are() {
    let folded = |value: &str| Edit::AddFolded { name: "S".into(), value: value.into(), place: Place::Top };
    let message = read("A: a\r\n\r\nbody");
    let good = "v=1;  a=b;\r\n\tb=abc\r\n   def";
    let edits = [folded(good), add("T", "1", Place::Top)];
    let expected = format!("S: {good}\r\nT: 1\r\nA: a\r\n\r\nbody");
    assert_eq!(written(&apply(&message, &edits)), expected);
    assert_eq!(instructed(&message, &changes(&message, &edits)), expected);
    for bad in ["", "a\r\nB: c", "a\r\n\r\n b", "a\n b", "a\r b", "a\r\n \t\r\n b", "a\r\n", "\u{e4}", "a\0"]
    {
        assert_eq!(apply(&message, &[folded(bad)]).skipped, [0], "{bad:?}");
    }
}

#[test]
fn what_cannot_be_done_is_told() {
    let edits = [
        remove("A", 1),
        remove("A", 0),
        change("B", 0, "x"),
        add("Bad Name", "x", Place::Top),
        add("Bad:Name", "x", Place::Top),
        add("", "x", Place::Top),
        replace(7, "x"),
    ];
    let applied = apply(&read("A: 1\r\n\r\nbody"), &edits);
    assert_eq!(applied.skipped, [0, 2, 3, 4, 5, 6]);
    assert_eq!(written(&applied), "\r\nbody");
}

#[test]
fn fields_are_folded_and_encoded() {
    let long = "tests=[".to_owned() + &["SYMBOL_NAME=1.0"; 12].join(", ") + "]";
    let table = [
        ("plain", "X: plain\r\n"),
        ("", "X:\r\n"),
        ("a\r\nInjected: b\u{0}", "X: a  Injected: b\r\n"),
        ("two  spaces", "X: two  spaces\r\n"),
        ("[S] =?utf-8?Q?H=C3=A4?=", "X: [S] =?utf-8?Q?H=C3=A4?=\r\n"),
    ];
    for (value, expected) in table {
        assert_eq!(field("X", value), expected);
    }
    let folded = field("X-Spam-Status", &long);
    assert!(folded.lines().count() > 1 && folded.lines().all(|line| line.len() <= LINE), "{folded}");
    assert_eq!(folded.replace("\r\n", ""), format!("X-Spam-Status: {long}"));

    let foreign = "Größe und Länge [x] =?utf-8?Q?a?= ".to_owned() + &"ü ".repeat(100);
    let folded = field("Subject", &foreign);
    assert!(folded.is_ascii() && folded.lines().all(|line| line.len() <= LINE), "{folded}");
    let message = read(format!("{folded}\r\n"));
    let expected = foreign.replace("=?utf-8?Q?a?= ", "a").trim().to_owned();
    assert_eq!(message.headers.text("Subject"), Some(expected));
}

const MULTIPART: &str = "From: a@a.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n\
    preamble\r\n--x\r\nContent-Type: text/plain\r\n\r\nText.\r\n--x\r\n\
    Content-Type: multipart/related; boundary=y\r\n\r\n--y\r\nContent-Type: text/html\r\n\r\n<p>Hi\r\n--y\r\n\
    Content-Type: application/octet-stream; name=\"b\u{fc}d file.exe\"\r\n\r\nMZ bad\r\n--y--\r\n--x--\r\nepilogue\r\n";

/// The part whose body holds a text and that has no children.
fn part_with(message: &Message, text: &str) -> PartId {
    let leaf = |id: PartId| message.parts.iter().all(|part| part.parent != Some(id));
    let holds = |part: &crate::Part| memchr::memmem::find(&part.body, text.as_bytes()).is_some();
    message.parts().find(|(id, part)| holds(part) && leaf(*id)).expect("such a part").0
}

#[test]
fn a_part_is_replaced_and_nothing_else() {
    let message = read(MULTIPART);
    let part = part_with(&message, "MZ bad");
    let applied = apply(&message, &[replace(part.0, "Removed.\nSorry.\n")]);
    let entity = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\
        Content-Disposition: inline; filename=\"b_d_file.exe-removed.txt\"\r\n\r\nRemoved.\r\nSorry.";
    let bad = "Content-Type: application/octet-stream; name=\"b\u{fc}d file.exe\"\r\n\r\nMZ bad";
    assert_eq!(written(&applied), MULTIPART.replace(bad, entity));
    assert!(applied.skipped.is_empty());
}

#[test]
fn of_parts_in_each_other_the_outermost_is_replaced() {
    let message = read(MULTIPART);
    let bad = part_with(&message, "MZ bad");
    let related = message.part(bad).parent.expect("a parent");
    for edits in [
        [replace(bad.0, "inner"), replace(related.0, "outer")],
        [replace(related.0, "outer"), replace(bad.0, "inner")],
    ] {
        let applied = apply(&message, &edits);
        let text = written(&applied);
        assert!(
            text.contains("outer\r\n--x--\r\nepilogue") && !text.contains("inner") && !text.contains("--y"),
            "{text}"
        );
        assert!(text.contains("\r\n\r\nText.\r\n--x\r\n"), "{text}");
        assert!(applied.skipped.is_empty());
    }
    // Two texts for one part stand one below the other.
    let text = written(&apply(&message, &[replace(bad.0, "one"), replace(bad.0, "two")]));
    assert!(text.contains("\r\n\r\none\r\ntwo\r\n--y--"), "{text}");
}

#[test]
fn what_lies_in_an_archive_goes_with_it() {
    let mut message = read(MULTIPART);
    let bad = part_with(&message, "MZ bad");
    let member = crate::Part::new(bad, 3, crate::Origin::Archive, Bytes::from_static(b"virus"));
    let member = message.push(member);
    let deeper = message.push(crate::Part::new(member, 4, crate::Origin::Archive, Bytes::new()));
    assert_eq!(message.replaceable(deeper), Some(bad));
    let direct = apply(&message, &[replace(bad.0, "x")]);
    assert_eq!(apply(&message, &[replace(deeper.0, "x")]), direct);
}

#[test]
fn spans_that_cannot_be_right_are_not_used() {
    let mut message = read(MULTIPART);
    let bad = part_with(&message, "MZ bad");
    let parent = message.part(bad).parent;
    for span in [None, Some(0..10), Some(200..200), Some(200..1_000_000)] {
        message.parts[bad.0].span = span;
        assert_eq!(message.replaceable(bad), parent);
    }
    // A circle.
    message.parts[bad.0].parent = Some(bad);
    assert_eq!(message.replaceable(bad), None);
    assert_eq!(apply(&message, &[replace(bad.0, "x")]).skipped, [0]);
}

#[test]
fn a_header_without_end_goes_with_its_parts() {
    let raw = "A: a\r\nContent-Type: multipart/mixed; boundary=x\r\n--x\r\nFrom: b\r\n";
    let message = read(raw);
    let text = written(&apply(&message, &[replace(message.parts.len() - 1, "Gone.")]));
    assert!(text.starts_with("A: a\r\nMIME-Version: 1.0\r\nContent-Type: text/plain;"), "{text}");
    assert!(text.ends_with("\r\n\r\nGone.\r\n") && !text.contains("--x"), "{text}");
}

#[test]
fn overlapping_parts_go_together() {
    let mut message = read(MULTIPART);
    let bad = part_with(&message, "MZ bad");
    let span = message.part(bad).span.clone().expect("a span");
    let mut twin = crate::Part::new(PartId(0), 1, crate::Origin::Mime, Bytes::new());
    twin.span = Some(span.start + 10..span.end + 4);
    let twin = message.push(twin);
    let text = written(&apply(&message, &[replace(bad.0, "gone"), replace(twin.0, "also")]));
    let rest = &MULTIPART[span.end + 4..];
    assert!(text.starts_with(&MULTIPART[..span.start]) && text.ends_with(&format!("gone{rest}")), "{text}");
}

#[test]
fn the_message_itself_is_replaced() {
    let header = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\
        Content-Disposition: inline; filename=\"attachment-removed.txt\"\r\n\r\nGone.\r\n";
    let table = [
        (
            "A: a\r\nContent-Type: text/html\r\nMIME-Version: 1.0\r\nB: b\r\nContent-Base: x\r\n\r\nbad\r\n",
            format!("A: a\r\nMIME-Version: 1.0\r\nB: b\r\n{header}"),
        ),
        ("A: a\r\n\r\nbad", format!("A: a\r\nMIME-Version: 1.0\r\n{header}")),
        ("A: a\r\n", format!("A: a\r\nMIME-Version: 1.0\r\n{header}")),
        ("A: a", format!("A: a\r\nMIME-Version: 1.0\r\n{header}")),
        ("bad at once", format!("MIME-Version: 1.0\r\n{header}")),
        ("A: a\r\nno field\r\nB: b\r\n\r\nbad", format!("A: a\r\nB: b\r\nMIME-Version: 1.0\r\n{header}")),
        ("\r\nbad", format!("MIME-Version: 1.0\r\n{header}")),
        ("", format!("MIME-Version: 1.0\r\n{header}")),
    ];
    for (raw, expected) in table {
        let applied = apply(&read(raw), &[replace(0, "Gone.")]);
        assert_eq!((written(&applied), applied.skipped), (expected, vec![]), "{raw:?}");
    }
    let edits = [add("T", "1", Place::Top), add("B", "2", Place::Bottom), replace(0, "Gone.")];
    let text = written(&apply(&read("A: a\r\n\r\nbad"), &edits));
    assert_eq!(text, format!("T: 1\r\nA: a\r\nB: 2\r\nMIME-Version: 1.0\r\n{header}"));
}

#[test]
fn texts_are_encoded_where_they_must_be() {
    let table = [
        ("plain\n", "7bit", "plain\r\n"),
        ("dots\n.\n", "7bit", "dots\r\n.\r\n"),
        ("Größe = 5\n", "quoted-printable", "Gr=C3=B6=C3=9Fe =3D 5\r\n"),
        ("end \nü", "quoted-printable", "end=20\r\n=C3=BC\r\n"),
    ];
    for (text, encoding, body) in table {
        let (header, found) = text_entity(None, text);
        assert_eq!(found, body);
        assert!(header.contains(&format!("Content-Transfer-Encoding: {encoding}\r\n")), "{header}");
    }
    let (_, body) = text_entity(None, &"ä=".repeat(500));
    assert!(body.lines().all(|line| line.len() <= 76));
}

#[test]
fn untouched_bytes_are_shared() {
    let message = read(MULTIPART);
    let applied = apply(&message, &[add("T", "1", Place::Top)]);
    let last = applied.chunks.last().expect("a chunk");
    assert!(std::ptr::eq(last.as_ptr(), message.raw.as_ptr()) && last.len() == message.raw.len());
}

/// Pieces of messages, to be put together in any order.
fn hostile_message() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just("From: a@a.test\r\n"),
        Just("Subject: =?utf-8?Q?a?=\r\n b\r\n"),
        Just("X-Spam-Flag: NO\r\n"),
        Just("Content-Type: multipart/mixed; boundary=x\r\n"),
        Just("Content-Type: multipart/mixed; boundary=\"y\"\r\n"),
        Just("Content-Type: message/rfc822\r\n"),
        Just("Content-Type: application/zip; name=a.zip\r\n"),
        Just("Content-Transfer-Encoding: base64\r\n"),
        Just("\r\n"),
        Just("\n"),
        Just("\r"),
        Just(" "),
        Just("--x\r\n"),
        Just("--y\r\n"),
        Just("--x--\r\n"),
        Just("--y--\n"),
        Just("TVqQAAMA\r\n"),
        Just("no field\r\n"),
        Just("text"),
        Just("\u{fc}\0"),
    ];
    proptest::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn without_edits_nothing_changes(raw in hostile_message()) {
        let message = read(raw.clone());
        let applied = apply(&message, &[]);
        prop_assert!(applied.chunks.len() <= 1);
        prop_assert_eq!(applied.chunks.concat(), raw.into_bytes());
    }

    #[test]
    fn an_added_field_leaves_all_other_bytes(raw in hostile_message(), top: bool, value in "[ -~]{0,200}") {
        let message = read(raw.clone());
        let raw = raw.into_bytes();
        let place = if top { Place::Top } else { Place::Bottom };
        let text = apply(&message, &[add("X-Added", &value, place)]).chunks.concat();
        let added = field("X-Added", &value).into_bytes();
        let at = memchr::memmem::find(&text, &added).expect("the field");
        let (before, after) = (&text[..at], &text[at + added.len()..]);
        prop_assert!(raw.starts_with(before.strip_suffix(b"\r\n").filter(|_| !raw.starts_with(before)).unwrap_or(before)));
        prop_assert!(raw.ends_with(after) || after.strip_prefix(b"\r\n").is_some_and(|after| raw == after));
        let again = read(text);
        prop_assert_eq!(again.headers.text("X-Added"), Some(message_text(&value)));
        prop_assert_eq!(again.headers.fields.len(), message.headers.fields.len() + 1);
    }

    #[test]
    fn a_replaced_part_is_gone(raw in hostile_message(), part: proptest::sample::Index) {
        let message = read(raw.clone());
        let raw = raw.into_bytes();
        let part = part.index(message.parts.len());
        let applied = apply(&message, &[replace(part, "In its place.\n")]);
        let id = message.replaceable(PartId(part));
        prop_assert_eq!(id.is_none(), applied.skipped == [0]);
        let text = applied.chunks.concat();
        if let Some(PartId(id)) = id && id != 0 {
            let span = message.parts[id].span.clone().expect("a span");
            prop_assert!(text.starts_with(&raw[..span.start]) && text.ends_with(&raw[span.end..]));
        }
        if id.is_some() {
            let again = read(text);
            let replaced = |part: &crate::Part| part.body.starts_with(b"In its place.");
            prop_assert!(again.parts.iter().any(replaced), "{:?}", again.parts);
        }
    }
}

/// Any edit, of a part that may not be there.
fn any_edit() -> impl Strategy<Value = Edit> {
    let place = prop_oneof![Just(Place::Top), Just(Place::Bottom)];
    let text = "(a|\u{fc}|\n|--x|<b>| |\"|\r){0,8}";
    (0..8usize, 0..6usize, text, place).prop_map(|(kind, part, text, place)| {
        let part = PartId(part);
        match kind {
            0 => Edit::ReplacePart { part, text },
            1 => Edit::RenamePart { part, name: text },
            2 => Edit::RewritePart { part, body: Bytes::from(text) },
            3 => Edit::CleanPart { part, text },
            4 => Edit::DefangPart { part, what: vec![Defang::Forms] },
            5 => Edit::AddText { html: format!("<p>{text}</p>"), text, place },
            6 => Edit::Wrap { text },
            _ => Edit::AddHeader { name: "X-Added".into(), value: format!("v{text}"), place },
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_edits_of_any_message(raw in hostile_message(), edits in proptest::collection::vec(any_edit(), 0..5)) {
        let message = read(raw.clone());
        let applied = apply(&message, &edits);
        let changes = changes(&message, &edits);
        prop_assert_eq!(&changes.skipped, &applied.skipped);
        let new = applied.chunks.concat();
        if applied.skipped.len() == edits.len() {
            prop_assert_eq!(&new, raw.as_bytes());
        }
        // What was not carried out makes no difference.
        let rest: Vec<Edit> =
            edits.iter().enumerate().filter(|(at, _)| !applied.skipped.contains(at)).map(|(_, it)| it.clone()).collect();
        prop_assert_eq!(&apply(&message, &rest).chunks.concat(), &new);
        // A mail server that knows the same header comes to the same.
        let header = &message.headers;
        let plain = header.fields.iter().all(|field| !field.name.is_empty() && header.raw_field(field).ends_with(b"\n"));
        let ended = message.raw[header.raw.len()..].starts_with(b"\r\n");
        if plain && ended {
            prop_assert_eq!(instructed(&message, &changes), String::from_utf8_lossy(&new));
        }
        // Whatever came of it can be edited again.
        let again = read(new);
        apply(&again, &edits);
    }
}

/// A value as it is read back: encoded words in it decoded.
fn message_text(value: &str) -> String {
    crate::words::decode(value.trim().as_bytes()).trim().to_owned()
}
