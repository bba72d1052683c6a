//! Unpacking by way of another process gives what unpacking here gives.

mod make;

use std::time::Duration;

use bytes::Bytes;
use gatepost_mail::{Limits, Message, Origin};
use gatepost_unpack::{Reading, read, read_file};
use make::*;

/// What a worker would make of it, and back.
fn by_parcels(mut reading: Reading) -> Message {
    if reading.is_done() {
        return reading.finish();
    }
    let sent = reading.parcel();
    let area = Bytes::from(sent.pieces.concat());
    let there = Reading::from_parcel(area.clone(), &sent.table).expect("a reading");
    let answer = there.finish_to_parcel(&area);
    reading.take(&sent, Bytes::from(answer.pieces.concat()), &answer.table).expect("an answer");
    reading.into_message()
}

#[track_caller]
fn same(here: &Message, there: &Message, what: &str) {
    // With their features and links; not the messages as a whole, so that a difference can be read.
    for (a, b) in here.parts.iter().zip(&there.parts) {
        assert_eq!(format!("{a:?}"), format!("{b:?}"), "{what}");
    }
    assert_eq!(here.parts.len(), there.parts.len(), "{what}");
    assert_eq!(here.defects, there.defects, "{what}");
    assert_eq!(format!("{here:?}"), format!("{there:?}"), "{what}");
}

fn attached(file: &[u8]) -> Vec<u8> {
    let head = b"From: a@example.org\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello\r\n\
        --x\r\nContent-Type: application/octet-stream; name=file\r\nContent-Disposition: attachment; filename=other\r\n\
        Content-Transfer-Encoding: binary\r\n\r\n";
    [&head[..], file, b"\r\n--x--\r\n"].concat()
}

/// A page with a text in it.
const PDF: &[u8] = b"%PDF-1.4\n1 0 obj\n<</Pages 2 0 R>>\nendobj\n2 0 obj\n<</Kids[3 0 R]>>\nendobj\n\
    3 0 obj\n<</Resources<</Font<</F<</Subtype/Type1/BaseFont/Courier>>>>>>/Contents 4 0 R>>\nendobj\n\
    4 0 obj\n<<>>\nstream\nBT /F 9 Tf 9 700 Td (two) Tj 0 -10 Td (lines) Tj ET\nendstream\nendobj\ntrailer\n<</Root 1 0 R>>";

fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let text = b"hello hello hello hello hello\n".as_slice();
    let zip = Zip::with(&[("a.txt", b"stored", 0), ("bé.txt", text, 8), ("e", b"", 0)]).end();
    let mail = b"From: b@example.org\r\nTo: c@example.org\r\nSubject: in\r\nContent-Type: text/html; charset=latin1\r\n\r\n<p>x";
    let tar = [tar_file("m.eml", mail), tar_file("z.zip", &zip), vec![0; 1024]].concat();
    let mut locked = Entry::of("locked.exe", b"0123456789ab", 0);
    locked.0.flags |= 1;
    let mut closed = Zip::new();
    closed.add(&locked.0, &locked.0, &locked.1);
    vec![
        ("no container", b"nothing".to_vec()),
        ("zip", zip.clone()),
        ("zip in zip", Zip::with(&[("in.zip", &zip, 0), ("deflated.zip", &zip, 8)]).end()),
        ("gzip", gzip(Some("a.tar"), &tar)),
        ("tar", tar.clone()),
        ("mail in tar in gzip in zip", Zip::with(&[("x.gz", &gzip(None, &tar), 8)]).end()),
        ("mail", attached(&attached(&zip))),
        ("encrypted", closed.end()),
        ("damaged", zip[..zip.len() / 2].to_vec()),
        ("bomb", Zip::with(&[("zeros", &vec![0; 8 << 20], 8)]).end()),
        ("document", PDF.to_vec()),
        ("document in zip", Zip::with(&[("a.pdf", PDF, 8), ("b.pdf", PDF, 0)]).end()),
        ("rar, not opened", b"Rar!\x1a\x07\x00 and so on".to_vec()),
    ]
}

#[test]
fn nothing_is_lost_on_the_way() {
    let mut handed = 0;
    for (what, file) in samples() {
        for limits in [
            Limits::default(),
            Limits { depth: 3, ..Limits::default() },
            Limits { parts: 5, ..Limits::default() },
            Limits { bytes: 100, ..Limits::default() },
            Limits { ratio: 2, ..Limits::default() },
            Limits { texts: 1000, ..Limits::default() },
            Limits { texts: 5, ..Limits::default() },
        ] {
            let mail = Bytes::from(attached(&file));
            let reading = Reading::mail(mail.clone(), &limits);
            handed += usize::from(!reading.is_done());
            same(&read(mail, &limits), &by_parcels(reading), what);
            let file = Bytes::from(file.clone());
            let reading = Reading::file(file.clone(), Some("a.bin"), &limits);
            same(&read_file(file, Some("a.bin"), &limits), &by_parcels(reading), what);
        }
    }
    assert!(handed > 30, "{handed}");
}

/// The text of documents comes back as it was read, line ends included.
#[test]
fn texts_come_back() {
    let told = |texts: u64| {
        let limits = Limits { texts, ..Limits::default() };
        let message = by_parcels(Reading::file(PDF.into(), Some("a.pdf"), &limits));
        message.texts.iter().map(|told| told.text.to_string()).collect::<Vec<_>>()
    };
    assert_eq!((told(1000), told(5), told(0)), (vec!["two\nlines\n".into()], vec!["two\nl".into()], vec![]));
}

/// What a worker is for is what takes a decompressor or a directory to be read; mail in mail is not.
#[test]
fn only_containers_need_a_worker() {
    for (what, file) in samples() {
        let done = Reading::mail(attached(&file).into(), &Limits::default()).is_done();
        assert_eq!(done, what == "no container", "{what}");
    }
    let forwarded = attached(b"Received: by a\r\n\tid 1\r\nFrom: a\r\nSubject: b\r\n\r\nbody");
    let reading = Reading::mail(forwarded.into(), &Limits::default());
    assert!(reading.is_done() && reading.into_message().parts.len() == 4);
}

/// Members that stand in the mail as they are, are told by their place: nothing is copied.
#[test]
fn stored_members_are_not_copied() {
    let zip = Zip::with(&[("a", &[b'x'; 100_000], 0)]).end();
    let mut reading = Reading::mail(attached(&zip).into(), &Limits::default());
    let sent = reading.parcel();
    assert_eq!(sent.pieces.len(), 1, "the mail itself");
    let area = Bytes::from(sent.pieces.concat());
    let answer = Reading::from_parcel(area.clone(), &sent.table).expect("a reading").finish_to_parcel(&area);
    assert_eq!(answer.area_len(), 0);
    assert!(answer.table.len() < 200, "{}", answer.table.len());
    reading.take(&sent, Bytes::new(), &answer.table).expect("an answer");
    let message = reading.into_message();
    let member = message.parts.iter().find(|part| part.origin == Origin::Archive).expect("the member");
    assert!(message.raw.as_ptr_range().contains(&member.body.as_ptr()));
}

/// Archives that others made, where they are at hand. `GATEPOST_SUITES` names the folder.
#[test]
fn suites_come_through_whole() {
    // Every fifth of them: all take minutes, and this looks for what is lost on the way, not for what cannot be read.
    let beside = || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/suites");
    let suites = std::env::var_os("GATEPOST_SUITES").map_or_else(beside, std::path::PathBuf::from);
    if !suites.is_dir() {
        return println!("skipped: no suites in {}", suites.display());
    }
    let mut folders: Vec<_> = ["archives", "tnef", "office"].iter().map(|name| suites.join(name)).collect();
    let (mut seen, mut looked, mut handed) = (0_u32, 0, 0);
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            seen += 1;
            if !seen.is_multiple_of(5) {
                continue;
            }
            let Ok(file) = std::fs::read(&path) else { continue };
            // Time is no matter here: what runs out of it depends on the machine.
            let limits = Limits { bytes: 4 << 20, time: Duration::from_secs(600), ..Limits::default() };
            let mail = Bytes::from(attached(&file));
            let reading = Reading::mail(mail.clone(), &limits);
            looked += 1;
            handed += usize::from(!reading.is_done());
            same(&read(mail, &limits), &by_parcels(reading), &path.display().to_string());
        }
    }
    println!("{looked} files, {handed} with containers");
}

/// Of ordinary mails, where they are at hand, only those with archives, documents or pictures need a worker.
#[test]
fn ordinary_mail_needs_no_worker() {
    let beside = || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/suites");
    let suites = std::env::var_os("GATEPOST_SUITES").map_or_else(beside, std::path::PathBuf::from);
    let (mut folders, mut looked, mut handed) =
        (vec![suites.join("ham-signed"), suites.join("spamassassin")], 0, 0);
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let Ok(mail) = std::fs::read(&path) else { continue };
            let reading = Reading::mail(mail.into(), &Limits::default());
            looked += 1;
            if !reading.is_done() {
                handed += 1;
                println!("{}", path.display());
            }
        }
    }
    println!("{handed} of {looked} need a worker");
    assert!(handed * 20 <= looked, "{handed} of {looked}");
}
