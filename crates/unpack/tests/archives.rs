//! Archives as readers disagree about them: what comes out, and what is said against them.

mod make;

use std::time::{Duration, Instant};

use bytes::Bytes;
use gatepost_mail::{DefectKind, Limit, Limits, Message};
use gatepost_unpack::{Format, open, read};
use make::*;

const DEFLATE: u16 = 8;
const TEXT: &[u8] = b"hello hello hello hello hello\n";

/// Opens and lists `name=content` of all parts but the first (content cut to 12 characters), then defects.
fn listing(format: Format, bytes: Vec<u8>) -> (Vec<String>, Vec<DefectKind>) {
    listed(&open(format, bytes.into(), &Limits::default()))
}

fn listed(message: &Message) -> (Vec<String>, Vec<DefectKind>) {
    let parts = message.parts().skip(1).map(|(id, part)| {
        let body = String::from_utf8_lossy(&part.body[..part.body.len().min(12)]).into_owned();
        let lock = if part.encrypted { " encrypted" } else { "" };
        format!(
            "{}={body}{lock}",
            part.names.join("|").as_str().to_owned() + if id.0 == 0 { "!" } else { "" }
        )
    });
    let mut kinds: Vec<DefectKind> = message.defects.iter().map(|defect| defect.kind).collect();
    kinds.sort();
    kinds.dedup();
    (parts.collect(), kinds)
}

#[track_caller]
fn expect(format: Format, bytes: Vec<u8>, parts: &[&str], defects: &[DefectKind]) {
    let (found, kinds) = listing(format, bytes);
    assert_eq!(found, parts);
    assert_eq!(kinds, defects);
}

#[test]
fn honest_zips() {
    let zip =
        Zip::with(&[("a.txt", b"stored", 0), ("dir/", b"", 0), ("dir/b.txt", TEXT, DEFLATE), ("e", b"", 0)]);
    let all = ["a.txt=stored", "dir/b.txt=hello hello ", "e="];
    expect(Format::Zip, zip.clone().end(), &all, &[]);
    expect(Format::Zip, zip.clone().end_with(b"a comment PK\x05\x06"), &all, &[]);
    expect(Format::Zip, [&zip.clone().end()[..], b"junk behind"].concat(), &all, &[]);
    expect(Format::Zip, [b"MZ junk before", &zip.clone().end()[..]].concat(), &all, &[]);
    let nested = Zip::with(&[("in.zip", &zip.end(), 0)]).end();
    let want = ["in.zip=PK\u{3}\u{4}\u{14}\0\0\0\0\0\0\0", "a.txt=stored", "dir/b.txt=hello hello ", "e="];
    expect(Format::Zip, nested, &want, &[]);
}

/// Files that programs open as different things: whatever any of them finds is there, once.
#[test]
fn polyglots_are_opened_as_all_that_they_are() {
    let inner = Zip::with(&[("evil.exe", b"MZ evil", 0)]);
    let (zip, empty) = (inner.clone().end(), Zip::new().end());
    let fakes = b"PK\x05\x06 fake ".repeat(100);
    let base64 = b"Subject: a\r\nFrom: a@example.org\r\nTo: b@example.org\r\nDate: x\r\nContent-Transfer-Encoding: base64\r\n\r\nabcd\r\n";
    let table: &[(&str, Vec<u8>)] = &[
        ("gzip, corrupt", [b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xff\xff\xff junk", &zip[..]].concat()),
        ("gzip, no method", [b"\x1f\x8b\xff junk and more junk", &zip[..]].concat()),
        ("gzip, whole", [&gzip(None, b"harmless")[..], &zip].concat()),
        ("tar", [tar_file("harmless", b"1"), vec![0; 1024], zip.clone()].concat()),
        ("mail", [&base64[..], &zip].concat()),
        ("mail, fake ends", [&base64[..], &inner.clone().end_with(&fakes)].concat()),
        ("gzip, fake ends", [b"\x1f\x8b\xff junk and more", &inner.clone().end_with(&fakes)[..]].concat()),
        ("an end in the comment", inner.clone().end_with(&empty)),
        ("a directory in the comment", inner.end_with(&Zip::with(&[("a", b"harmless", 0)]).end())),
        ("a zip in a tar", [tar_file("in.zip", &zip), vec![0; 1024]].concat()),
    ];
    for (what, file) in table {
        let message = read(base64_mail("a.bin", file).into(), &Limits::default());
        // In a mail of broken base64 some readers show what stands there, so it is there twice.
        let evil = message.parts.iter().filter(|part| part.body == b"MZ evil"[..]).count();
        assert!(evil == 1 || evil == 2 && what.starts_with("mail"), "{what}: {:?}", listed(&message));
    }
    // What stands before a zip may be a mail with parts of its own.
    let eml = [&mail("evil.exe", b"MZ evil")[..], &Zip::with(&[("a", b"harmless", 0)]).end()].concat();
    let message = read(base64_mail("a.eml", &eml).into(), &Limits::default());
    assert!(message.parts.iter().any(|part| part.name() == Some("evil.exe")), "{:?}", listed(&message));
}

#[test]
fn archives_that_nobody_opens_are_told_of() {
    let table: &[(&[u8], bool)] = &[
        (b"7z\xbc\xaf\x27\x1c", false),
        (b"ALZ\x01", true),
        (b"BZh91AY&SY", false),
        (b"\xfd7zXZ\0", false),
        (b"plain text", false),
        (&Zip::with(&[("a", b"1", 0)]).end(), false),
        (&gzip(None, b"1"), false),
        (b"begin 644 f.txt\n#0V%T\n`\nend\n", false),
    ];
    for (file, told) in table {
        let message = read(base64_mail("a.bin", file).into(), &Limits::default());
        let found = message.defects.iter().any(|defect| defect.kind == DefectKind::NotOpened);
        assert_eq!(found, *told, "{:?}", String::from_utf8_lossy(file));
    }
    let text = read("Subject: a\r\n\r\nbegin 644 f.txt\n#0V%T\n`\nend\n".into(), &Limits::default());
    assert!(text.defects.iter().all(|defect| defect.kind != DefectKind::NotOpened));
}

/// A kind of defect that many members have leaves the others their place.
#[test]
fn each_kind_of_defect_is_told() {
    let mut zip = Zip::new();
    for place in 0..40 {
        let (honest, data) = Entry::of(&place.to_string(), TEXT, DEFLATE);
        let flags = if place < 30 { 0 } else { 1 };
        let method = if place < 30 { 97 } else { DEFLATE };
        let entry = Entry { method, flags, ..honest };
        zip.add(&entry, &entry, &data.iter().map(|byte| byte ^ 0xa5).collect::<Vec<u8>>());
    }
    let (_, kinds) = listing(Format::Zip, zip.end());
    assert_eq!(kinds, [DefectKind::Encrypted, DefectKind::UnknownMethod]);
}

#[test]
fn stored_members_are_not_copied() {
    let zip = Bytes::from(Zip::with(&[("a", TEXT, 0)]).end());
    let message = open(Format::Zip, zip.clone(), &Limits::default());
    let member = &message.parts[1].body;
    assert!(zip.as_ptr_range().contains(&member.as_ptr()));
}

#[test]
fn names_of_every_reader() {
    let mut zip = Zip::new();
    let (honest, data) = Entry::of("report.txt", TEXT, DEFLATE);
    zip.add(&Entry { name: b"report.exe".into(), ..honest.clone() }, &honest, &data);
    let mut extra = vec![0x75, 0x70, 10, 0, 1];
    extra.extend(crc(b"cut.txt").to_le_bytes());
    extra.extend(b"x.scr");
    let (unicode, data) = Entry::of("cut.txt", b"1", 0);
    let unicode = Entry { extra, ..unicode };
    zip.add(&unicode, &unicode, &data);
    let parts = ["report.txt|report.exe=hello hello ", "x.scr|cut.txt=1"];
    expect(Format::Zip, zip.end(), &parts, &[DefectKind::BadArchive]);
}

#[test]
fn headers_that_disagree_are_both_followed() {
    let (honest, data) = Entry::of("a", TEXT, DEFLATE);
    let junk = Entry { method: 0x4f1a, ..honest.clone() };
    let stored = Entry { method: 0, ..honest.clone() };
    let locked = Entry { flags: 1, ..honest.clone() };
    let empty = Entry { packed: 0, size: 0, ..honest.clone() };
    let short = Entry { packed: 3, ..honest.clone() };
    let raw = format!("a={}", String::from_utf8_lossy(&data[..data.len().min(12)]));
    let bad = DefectKind::BadArchive;
    let clear = "a=hello hello ".to_owned();
    type Row<'a> = (&'a Entry, &'a Entry, Vec<String>, &'a [DefectKind]);
    let table: &[Row] = &[
        (&junk, &honest, vec![clear.clone(), "a=".into()], &[bad, DefectKind::UnknownMethod]),
        (&honest, &junk, vec!["a=".into(), clear.clone()], &[bad, DefectKind::UnknownMethod]),
        (&stored, &honest, vec![clear.clone(), raw], &[bad]),
        (&honest, &locked, vec![clear.clone()], &[bad]),
        (&locked, &locked, vec![clear.clone()], &[bad]),
        (&honest, &empty, vec![clear.clone()], &[bad]),
        (&empty, &empty, vec![clear.clone()], &[bad]),
        (&short, &short, vec![clear], &[bad]),
    ];
    for (place, (local, central, parts, defects)) in table.iter().enumerate() {
        let mut zip = Zip::new();
        zip.add(local, central, &data);
        let (found, kinds) = listing(Format::Zip, zip.end());
        assert_eq!(&found, parts, "row {place}");
        assert_eq!(kinds, *defects, "row {place}");
    }
}

#[test]
fn members_that_the_directory_hides() {
    let (seen, seen_data) = Entry::of("seen.txt", b"seen", 0);
    let (hidden, data) = Entry::of("hidden.exe", TEXT, DEFLATE);
    let mut zip = Zip::new();
    zip.hide(&hidden, &data);
    zip.add(&seen, &seen, &seen_data);
    let parts = ["seen.txt=seen", "hidden.exe=hello hello "];
    expect(Format::Zip, zip.end(), &parts, &[DefectKind::BadArchive]);
    // Two archives one behind the other: some programs read the first, some the last.
    let two = [Zip::with(&[("one", b"1", 0)]).end(), Zip::with(&[("two", b"2", 0)]).end()].concat();
    expect(Format::Zip, two, &["two=2", "one=1"], &[DefectKind::BadArchive]);
}

#[test]
fn damaged_zips_yield_what_is_left() {
    let whole = Zip::with(&[("a", b"first", 0), ("b", TEXT, DEFLATE)]);
    let headers_only = whole.bytes.clone();
    expect(Format::Zip, headers_only, &["a=first", "b=hello hello "], &[DefectKind::TruncatedArchive]);
    let mut wrong = whole.clone().end();
    wrong[31] ^= 1; // a byte of the first member's content
    let (found, kinds) = listing(Format::Zip, wrong);
    assert_eq!((found.len(), kinds), (2, vec![DefectKind::BadArchive]));
    let (entry, _) = Entry::of("lost", b"x", 0);
    let mut zip = Zip::with(&[("a", b"first", 0)]);
    zip.list(&entry, 7777);
    expect(Format::Zip, zip.end(), &["a=first", "lost="], &[DefectKind::BadArchive]);
    // Sizes behind the data, no directory.
    for method in [0, DEFLATE] {
        let (entry, mut data) = Entry::of("streamed", TEXT, method);
        data.extend([&b"PK\x07\x08"[..], &entry.crc.to_le_bytes(), &entry.packed.to_le_bytes()].concat());
        data.extend(entry.size.to_le_bytes());
        let open_ended = Entry { flags: 8, crc: 0, packed: 0, size: 0, ..entry };
        let mut zip = Zip::new();
        zip.hide(&open_ended, &data);
        let parts = ["streamed=hello hello "];
        expect(Format::Zip, zip.bytes, &parts, &[DefectKind::TruncatedArchive]);
    }
}

/// Found by fuzzing: the last of all disks that zip64 can number.
#[test]
fn the_highest_disk_number() {
    let zip = Zip::with(&[("a", b"1", 0)]);
    let (at, size) = (zip.bytes.len() as u64, zip.directory.len() as u64);
    let mut wide = b"PK\x06\x06".to_vec();
    wide.extend([&44_u64.to_le_bytes()[..], &[45, 0, 45, 0], &[0xff; 8]].concat());
    for number in [1, 1, size, at] {
        wide.extend(number.to_le_bytes());
    }
    let locator = [b"PK\x06\x07", &[0; 4][..], &(at + size).to_le_bytes(), &[1, 0, 0, 0]].concat();
    let end = [b"PK\x05\x06", &[0; 4][..], &[0xff; 12], &[0, 0]].concat();
    let bytes = [zip.bytes, zip.directory, wide, locator, end].concat();
    let (found, kinds) = listing(Format::Zip, bytes);
    assert_eq!((found, kinds), (vec!["a=1".to_owned()], vec![DefectKind::TruncatedArchive]));
}

#[test]
fn what_cannot_be_read_is_still_named() {
    let mut zip = Zip::new();
    let (entry, data) = Entry::of("secret.exe", TEXT, DEFLATE);
    let noise: Vec<u8> = data.iter().map(|byte| byte ^ 0xa5).collect();
    let locked = Entry { flags: 1, ..entry.clone() };
    zip.add(&locked, &locked, &noise);
    let wavpack = Entry { method: 97, name: b"p.bin".into(), ..entry };
    zip.add(&wavpack, &wavpack, &data);
    let message = open(Format::Zip, zip.end().into(), &Limits::default());
    let (parts, kinds) = listed(&message);
    assert_eq!(parts, ["secret.exe= encrypted", "p.bin="]);
    assert_eq!(kinds, [DefectKind::Encrypted, DefectKind::UnknownMethod]);
    assert!(message.defects.iter().any(|defect| defect.detail == "method 97 (wavpack)"));
    assert_eq!(message.parts[1].detected.name, "data");
}

#[test]
fn gzips() {
    let one = gzip(Some("a.txt"), TEXT);
    expect(Format::Gzip, one.clone(), &["a.txt=hello hello "], &[]);
    let two = [gzip(None, b"one "), gzip(None, b"two")].concat();
    expect(Format::Gzip, two, &["=one two", "=one "], &[]);
    expect(Format::Gzip, [&one[..], &[0; 40]].concat(), &["a.txt=hello hello "], &[]);
    let junk = [&one[..], b"MZ and more"].concat();
    expect(Format::Gzip, junk, &["a.txt=hello hello ", "=MZ and more"], &[DefectKind::BadArchive]);
    let mut wrong = one.clone();
    let crc_at = wrong.len() - 8;
    wrong[crc_at] ^= 1;
    expect(Format::Gzip, wrong, &["a.txt=hello hello "], &[DefectKind::BadArchive]);
    let cut = one[..one.len() - 12].to_vec();
    let (parts, kinds) = listing(Format::Gzip, cut);
    assert_eq!((parts.len(), kinds), (1, vec![DefectKind::TruncatedArchive]));
    let tar = [tar_file("x.exe", b"MZ"), vec![0; 1024]].concat();
    let message = read(mail("a.tgz", &gzip(None, &tar)).into(), &Limits::default());
    let paths: Vec<String> = message.parts().map(|(id, _)| message.path(id)).collect();
    assert_eq!(paths, ["", "a.tar", "a.tar/x.exe"]);
}

#[test]
fn tars() {
    let end = vec![0; 1024];
    let long = "d/".repeat(80) + "name.exe";
    let pax_record = format!("{} path={long}\n", long.len() + 10);
    let big = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    type Row<'a> = (&'a str, Vec<Vec<u8>>, Vec<String>, &'a [DefectKind]);
    let table: &[Row] = &[
        ("plain", vec![tar_file("a", b"1"), tar_file("b", b"2")], vec!["a=1".into(), "b=2".into()], &[]),
        (
            "GNU",
            vec![
                tar_entry("x", b'L', "", &octal(long.len() + 1), (long.clone() + "\0").as_bytes()),
                tar_file("d/d", b"1"),
            ],
            vec![format!("{long}=1")],
            &[],
        ),
        (
            "pax",
            vec![
                tar_entry("x", b'x', "", &octal(pax_record.len()), pax_record.as_bytes()),
                tar_file("d/d", b"1"),
            ],
            vec![format!("{long}=1")],
            &[],
        ),
        ("base-256", vec![tar_entry("a", b'0', "", &big, b"12")], vec!["a=12".into()], &[]),
        (
            "hard link",
            vec![tar_file("a", b"1"), tar_entry("b.exe", b'1', "a", &octal(0), b"")],
            vec!["a|b.exe=1".into()],
            &[],
        ),
        ("symbolic link", vec![tar_entry("s", b'2', "a", &octal(0), b"")], vec!["s=".into()], &[]),
        ("folder", vec![tar_entry("d/", b'5', "", &octal(0), b"")], vec![], &[]),
        (
            "short",
            vec![tar_entry("a", b'0', "", &octal(9999), b"12")],
            vec!["a=12\0\0\0\0\0\0\0\0\0\0".into()],
            &[DefectKind::TruncatedArchive],
        ),
        (
            "junk",
            vec![tar_file("a", b"1"), vec![7; 512], tar_file("b", b"2")],
            vec!["a=1".into(), "b=2".into()],
            &[DefectKind::BadArchive],
        ),
        (
            "two",
            vec![tar_file("a", b"1"), end.clone(), tar_file("b", b"2")],
            vec!["a=1".into(), "b=2".into()],
            &[],
        ),
        (
            "trailing",
            vec![tar_file("a", b"1"), end.clone(), b"MZ hidden".to_vec()],
            vec!["a=1".into(), "=MZ hidden\0\0\0".into()],
            &[DefectKind::BadArchive],
        ),
    ];
    for (what, entries, parts, defects) in table {
        let mut bytes = entries.concat();
        if *what != "short" {
            bytes.extend(&end);
        }
        let (found, kinds) = listing(Format::Tar, bytes);
        assert_eq!(&found, parts, "{what}");
        assert_eq!(kinds, *defects, "{what}");
    }
}

/// The size in a pax header and the one in the header itself lead to different members: both are listed.
#[test]
fn two_sizes_in_a_tar_are_both_followed() {
    let hidden = tar_file("hidden.exe", b"MZ");
    let pax = tar_entry("x", b'x', "", &octal(13), b"13 size=1024\n");
    let tar =
        [pax, tar_entry("a", b'0', "", &octal(0), b""), hidden, tar_file("b", b"2"), vec![0; 1024]].concat();
    let (found, kinds) = listing(Format::Tar, tar);
    let names: Vec<&str> = found.iter().map(|part| part.split('=').next().unwrap()).collect();
    // Once as a member and once in what the other size makes the content of the first.
    assert_eq!(names, ["a", "b", "hidden.exe", "hidden.exe"]);
    assert!(kinds.contains(&DefectKind::BadArchive));
}

#[test]
fn mail_in_archives_and_mailboxes() {
    let inner = base64_mail("x.zip", &Zip::with(&[("evil.exe", b"MZ", 0)]).end());
    let zip = Zip::with(&[("forwarded.eml", &inner, DEFLATE)]).end();
    let message = read(mail("a.zip", &zip).into(), &Limits::default());
    let names: Vec<&str> = message.parts.iter().filter_map(|part| part.name()).collect();
    assert_eq!(names, ["a.zip", "forwarded.eml", "x.zip", "evil.exe"]);
    let from = b"From a@example.org Mon Jan  1 00:00:00 2024\n".as_slice();
    let mbox = [from, &inner, b"\n\n", from, &base64_mail("b.txt", b"second")].concat();
    let message = open(Format::Mbox, mbox.into(), &Limits::default());
    let names: Vec<&str> = message.parts.iter().filter_map(|part| part.name()).collect();
    assert_eq!(names, ["x.zip", "b.txt", "evil.exe"]);
}

/// Reads a mail with that attachment, under default limits, and checks what it cost.
#[track_caller]
fn bomb(name: &str, attachment: Vec<u8>) -> Message {
    let start = Instant::now();
    let message = read(mail(name, &attachment).into(), &Limits::default());
    let took = start.elapsed();
    // Without optimisation inflate runs a thousand times slower, so there only the work is counted.
    assert!(cfg!(debug_assertions) || took < Duration::from_millis(100), "{name} took {took:?}");
    println!("{name}: {took:?}");
    let held: usize = message.parts.iter().map(|part| part.body.len()).sum();
    assert!(held < 64 << 20, "{name} holds {held} bytes");
    message
}

fn is_over(message: &Message, limit: Limit) -> bool {
    message.defects.iter().any(|defect| defect.kind == DefectKind::Over(limit))
}

/// Sixteen archives in each of four levels, at the bottom files of zeros that pack a thousandfold.
#[test]
fn bomb_of_nested_zips() {
    let data = zeros(64);
    let entry = Entry {
        name: b"0".into(),
        method: DEFLATE,
        packed: data.len() as u32,
        size: 64 << 20,
        ..Entry::default()
    };
    let mut zip = Zip::new();
    zip.add(&entry, &entry, &data);
    let mut level = zip.end();
    for _ in 0..4 {
        let (entry, data) = Entry::of("", &level, DEFLATE);
        let mut zip = Zip::new();
        for place in 0..16 {
            let entry = Entry { name: format!("{place}.zip").into(), ..entry.clone() };
            zip.add(&entry, &entry, &data);
        }
        level = zip.end();
    }
    assert!(level.len() < 60_000, "{}", level.len());
    let message = bomb("nested.zip", level);
    assert!(is_over(&message, Limit::Ratio) || is_over(&message, Limit::Parts));
}

/// Every member is the same megabytes of zeros: each entry of the directory leads to a local header, and each has
/// the next ones and the one kernel in its data.
#[test]
fn bomb_of_overlapping_members() {
    let kernel = zeros(64);
    let count = 250;
    let mut zip = Zip::new();
    let headers: Vec<Entry> = (0..count)
        .map(|place| Entry {
            name: format!("{place:03}").into(),
            method: DEFLATE,
            size: u32::MAX - 1,
            ..Entry::default()
        })
        .collect();
    let head = headers[0].local().len();
    let mut bytes = Vec::new();
    for (place, entry) in headers.iter().enumerate() {
        // A stored block (5 bytes) quotes the header that follows.
        let quotes = (count - 1 - place) * (head + 5);
        let entry = Entry { packed: (quotes + kernel.len()) as u32, ..entry.clone() };
        zip.list(&entry, bytes.len() as u32);
        bytes.extend(entry.local());
        if place + 1 < count {
            let len = head as u16;
            bytes.push(0);
            bytes.extend(len.to_le_bytes());
            bytes.extend((!len).to_le_bytes());
        }
    }
    zip.bytes = [bytes, kernel].concat();
    let message = bomb("overlapping.zip", zip.end());
    assert!(is_over(&message, Limit::Ratio));
    assert!(message.defects.iter().any(|defect| defect.kind == DefectKind::BadArchive));
}

/// One stored member that a thousand entries lead to.
#[test]
fn bomb_of_stored_members_that_share_their_data() {
    let mut zip = Zip::new();
    let (entry, data) = Entry::of("00", &vec![b'x'; 64 << 10], 0);
    zip.hide(&entry, &data);
    for place in 0..900 {
        zip.list(&Entry { name: format!("{place}").into(), ..entry.clone() }, 0);
    }
    let message = open(Format::Zip, zip.end().into(), &Limits::default());
    let held: usize = message.parts.iter().map(|part| part.body.len()).sum();
    assert!(held < 32 << 20, "{held}");
    assert!(is_over(&message, Limit::Ratio));
}

#[test]
fn bomb_that_contains_itself() {
    let quine = quine();
    let message = bomb("quine.zip", quine.clone());
    assert_eq!(message.parts[1].body, quine, "it is no quine");
    assert!(is_over(&message, Limit::Depth));
    assert_eq!(message.parts.len(), 18);
}

#[test]
fn bomb_of_one_gzip() {
    // So large that the ratio to the whole file is only met after 256 MiB.
    let file = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &zeros(2048), &[0; 8]].concat();
    assert!(file.len() > 1 << 20, "{}", file.len());
    let message = bomb("zeros.gz", file);
    assert!(is_over(&message, Limit::Ratio));
    assert!(message.parts[1].body.len() >= 1 << 20, "what was read until then is kept");
}

#[test]
fn limits_stop_what_they_name() {
    let many: Vec<(String, Vec<u8>)> = (0..50).map(|place| (format!("f{place}"), vec![b'x'; 100])).collect();
    let many: Vec<(&str, &[u8], u16)> = many.iter().map(|(name, data)| (&name[..], &data[..], 0)).collect();
    let zip = mail("a.zip", &Zip::with(&many).end());
    let table = [
        (Limits { parts: 10, ..Limits::default() }, Limit::Parts, 10),
        (Limits { depth: 0, ..Limits::default() }, Limit::Depth, 1),
        (Limits { time: Duration::ZERO, ..Limits::default() }, Limit::Time, 1),
    ];
    for (limits, limit, parts) in table {
        let message = read(zip.clone().into(), &limits);
        assert!(is_over(&message, limit), "{limit}: {:?}", message.defects);
        assert_eq!(message.parts.len(), parts, "{limit}");
    }
    let limits = Limits { bytes: 1000, ..Limits::default() };
    let message = read(zip.into(), &limits);
    assert!(is_over(&message, Limit::Bytes));
    assert_eq!(message.parts.len(), 51, "names are listed even where content is not");
}

/// Every byte of a small archive of each format turned over, and every length cut: no panic.
#[test]
fn every_byte_flipped_and_every_cut() {
    let limits = Limits { bytes: 1 << 20, parts: 50, ..Limits::default() };
    let zip = Zip::with(&[("a", b"stored", 0), ("b", TEXT, DEFLATE)]).end_with(b"c");
    let tar = [tar_file("a", b"1"), tar_entry("b", b'1', "a", &octal(0), b""), vec![0; 1024]].concat();
    let files = [(Format::Zip, zip), (Format::Gzip, gzip(Some("x"), TEXT)), (Format::Tar, tar)];
    for (format, file) in files {
        for place in 0..file.len() {
            open(format, file[..place].to_vec().into(), &limits);
            for flip in [0xff, 1, 0x80] {
                let mut file = file.clone();
                file[place] ^= flip;
                open(format, file.into(), &limits);
            }
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_bytes(head in 0_usize..4, bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2000)) {
        let heads: [&[u8]; 4] = [b"", b"PK\x03\x04", b"\x1f\x8b\x08\x00", b"PK\x05\x06"];
        let file = Bytes::from([heads[head], &bytes].concat());
        for format in Format::ALL {
            open(*format, file.clone(), &Limits::default());
        }
    }
}

/// Where a line of white space may end the header, or not, there is a second reading, and no third one of the same bytes.
#[test]
fn a_header_that_may_end_early_is_not_read_for_ever() {
    for line in ["  ", "no field"] {
        let raw = format!("X-Fold: a\r\n{line}\r\n b\r\nFrom: a@b.example\r\nSubject: c\r\n\r\nhello\r\n");
        let message = read(raw.into(), &Limits::default());
        assert!(message.parts.len() <= 4, "{line:?}: {} parts", message.parts.len());
        let over = |defect: &gatepost_mail::Defect| matches!(defect.kind, DefectKind::Over(_));
        assert!(!message.defects.iter().any(over), "{line:?}: {:?}", message.defects);
    }
}
