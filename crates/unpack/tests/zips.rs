//! Zips as other programs write them: every method, every encryption, and passwords out of the mail.

mod make;
mod peers;

use gatepost_mail::{DefectKind, FeatureKind, Limits};
use gatepost_unpack::{Format, open, read};
use make::*;
use peers::*;

#[test]
fn every_method_that_others_write() {
    let methods = ["Copy", "Deflate", "Deflate64", "BZip2", "LZMA", "PPMd"];
    for (program, method) in ["7z", "7zz"].iter().flat_map(|program| methods.map(|method| (*program, method)))
    {
        let method = format!("-mm={method}");
        let mut command = vec![program, "a", "-tzip", &method, "a.zip"];
        command.extend(FILES.split(' '));
        let Some(zip) = packed(&format!("{program}{method}"), &command, "a.zip") else { continue };
        expect_samples(&open(Format::Zip, zip.into(), &Limits::default()), &format!("{command:?}"));
    }
    for options in [&["-q"][..], &["-q", "-fz", "-9"], &["-q", "-Z", "bzip2"], &["-q", "-0"]] {
        let mut command = vec!["zip"];
        command.extend(options);
        command.push("a.zip");
        command.extend(FILES.split(' '));
        let Some(zip) = packed(&format!("zip{}", options.len()), &command, "a.zip") else { continue };
        expect_samples(&open(Format::Zip, zip.into(), &Limits::default()), &format!("{command:?}"));
    }
}

/// One zip under each encryption, and the mail that tells its password.
#[test]
fn encrypted_zips_are_opened_by_passwords_in_the_mail() {
    let commands: &[&[&str]] = &[
        &["zip", "-q", "-P", "Tr0ub4dor", "a.zip"],
        &["zip", "-q", "-0", "-P", "Tr0ub4dor", "a.zip"],
        &["7z", "a", "-tzip", "-mem=ZipCrypto", "-pTr0ub4dor", "a.zip"],
        &["7z", "a", "-tzip", "-mem=AES128", "-pTr0ub4dor", "a.zip"],
        &["7z", "a", "-tzip", "-mem=AES192", "-pTr0ub4dor", "-mm=LZMA", "a.zip"],
        &["7z", "a", "-tzip", "-mem=AES256", "-pTr0ub4dor", "a.zip"],
        &["7z", "a", "-tzip", "-mem=AES256", "-pTr0ub4dor", "-mm=Copy", "a.zip"],
    ];
    for (place, command) in commands.iter().enumerate() {
        let command: Vec<&str> = command.iter().copied().chain(FILES.split(' ')).collect();
        let Some(zip) = packed(&format!("locked{place}"), &command, "a.zip") else { continue };
        let message = read(letter("The password: Tr0ub4dor", "a.zip", &zip).into(), &Limits::default());
        expect_samples(&message, &format!("{command:?}"));
        assert!(message.parts.iter().all(|part| !part.encrypted));
        let features: Vec<(FeatureKind, &str)> =
            message.features.iter().map(|feature| (feature.kind, feature.detail.as_str())).collect();
        assert_eq!(features, [(FeatureKind::PasswordInMail, "Tr0ub4dor")], "{command:?}");
        // Not told, it stays closed.
        let message = read(letter("No word of it", "a.zip", &zip).into(), &Limits::default());
        assert!(message.defects.iter().any(|defect| defect.kind == DefectKind::Encrypted), "{command:?}");
        assert!(
            message.parts.iter().any(|part| part.encrypted && part.name() == Some("text")),
            "{command:?}"
        );
        assert!(message.features.is_empty());
        // The configured list is no word of the mail.
        let limits = Limits { passwords: ["Tr0ub4dor".to_owned()].into(), ..Limits::default() };
        let message = read(letter("No word of it", "a.zip", &zip).into(), &limits);
        expect_samples(&message, &format!("{command:?} by the list"));
        assert!(message.features.is_empty());
    }
}

/// Old methods, packed here by the plainest means that their formats allow.
#[test]
fn old_methods() {
    let text = b"abababababab and more of ab, more of ab\x90\x90 abab".repeat(40);
    for (method, data) in [(1, shrunk(&text)), (2, reduced(&text)), (5, reduced(&text)), (6, imploded(&text))]
    {
        let entry = Entry {
            name: b"old".into(),
            method,
            crc: crc(&text),
            packed: data.len() as u32,
            size: text.len() as u32,
            ..Entry::default()
        };
        let mut zip = Zip::new();
        zip.add(&entry, &entry, &data);
        let message = open(Format::Zip, zip.end().into(), &Limits::default());
        assert_eq!(message.parts[1].body, text, "method {method}: {:?}", message.defects);
        assert_eq!(message.defects, []);
    }
}

/// Bits, lowest first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    fn put(&mut self, value: usize, width: usize) {
        for place in 0..width {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            *self.bytes.last_mut().expect("a byte") |= ((value >> place & 1) as u8) << (self.count % 8);
            self.count += 1;
        }
    }
}

/// Shrink: LZW that clears its table in part once, in the middle.
fn shrunk(data: &[u8]) -> Vec<u8> {
    let mut bits = Bits::default();
    let mut table: std::collections::BTreeMap<Vec<u8>, usize> =
        (0..=255).map(|byte| (vec![byte], byte as usize)).collect();
    let (mut width, mut last) = (9, 256);
    let mut at = 0;
    while at < data.len() {
        let longest = (1..=data.len() - at)
            .take_while(|len| table.contains_key(&data[at..at + len]))
            .last()
            .expect("a byte");
        let code = table[&data[at..at + longest]];
        while code >= 1 << width {
            bits.put(256, width);
            bits.put(1, width);
            width += 1;
        }
        bits.put(code, width);
        at += longest;
        if at < data.len() && last < 8191 {
            last += 1;
            table.insert(data[at - longest..=at].to_vec(), last);
        }
    }
    bits.bytes
}

/// Reduce without followers: bytes as they are.
fn reduced(data: &[u8]) -> Vec<u8> {
    let mut bits = Bits::default();
    (0..256).for_each(|_| bits.put(0, 6));
    for &byte in data {
        bits.put(byte.into(), 8);
        if byte == 144 {
            bits.put(0, 8);
        }
    }
    bits.bytes
}

/// Implode with two flat codes of 6 bits: literals, and a match of four bytes wherever the last four repeat.
fn imploded(data: &[u8]) -> Vec<u8> {
    let mut bits = Bits::default();
    for _ in 0..2 {
        bits.put(3, 8);
        (0..4).for_each(|_| bits.put(0xf5, 8));
    }
    // All codes are as long, so each is its symbol, inverted, highest bit first.
    let symbol =
        |bits: &mut Bits, value: usize| (0..6).rev().for_each(|place| bits.put(!value >> place & 1, 1));
    let mut at = 0;
    while at < data.len() {
        let repeats = at >= 44 && at + 4 <= data.len() && data[at..at + 4] == data[at - 44..at - 40];
        if repeats {
            bits.put(0, 1);
            bits.put(43, 6);
            symbol(&mut bits, 0);
            symbol(&mut bits, 2);
            at += 4;
        } else {
            bits.put(1, 1);
            bits.put(data[at].into(), 8);
            at += 1;
        }
    }
    bits.bytes
}

/// An archive with one encrypted archive and, in the clear, a file with its password.
#[test]
fn a_password_in_a_file_beside_it() {
    let folder = Folder::new("beside");
    std::fs::write(folder.0.join("evil.exe"), b"MZ evil").expect("written");
    let Some(()) = run(&folder.0, &["zip", "-q", "-P", "x9-7", "in.zip", "evil.exe"]) else { return };
    let inner = std::fs::read(folder.0.join("in.zip")).expect("an archive");
    let zip = Zip::with(&[("in.zip", &inner, 0), ("readme.txt", b"pw x9-7", 0)]).end();
    let message = read(mail("a.zip", &zip).into(), &Limits::default());
    assert!(message.parts.iter().any(|part| part.body == b"MZ evil"[..]), "{:?}", message.defects);
}
