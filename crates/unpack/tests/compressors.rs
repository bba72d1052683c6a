//! Compressed files as their own programs write them. Programs that are not installed are left out, and it is said.

mod make;
mod peers;

use gatepost_mail::{DefectKind, Limit, Limits, Message};
use gatepost_unpack::{Format, open, read};
use make::*;
use peers::*;

/// What writes each format to its standard output.
const WRITERS: &[(Format, &[&str])] = &[
    (Format::Gzip, &["gzip", "-c"]),
    (Format::Bzip2, &["bzip2", "-c"]),
    (Format::Bzip2, &["bzip2", "-1c"]),
    (Format::Xz, &["xz", "-c"]),
    (Format::Xz, &["xz", "-0c", "--check=crc32", "--block-size=50000"]),
    (Format::Xz, &["xz", "-c", "--check=sha256", "--x86", "--lzma2=preset=1"]),
    (Format::Xz, &["xz", "-c", "--check=none", "--delta=dist=4", "--lzma2=preset=9,lc=2,lp=2,pb=0"]),
    (Format::Xz, &["xz", "-c", "--arm", "--lzma2"]),
    (Format::Xz, &["xz", "-c", "--armthumb", "--lzma2"]),
    (Format::Xz, &["xz", "-c", "--arm64", "--lzma2"]),
    (Format::Xz, &["xz", "-c", "--powerpc", "--lzma2"]),
    (Format::Xz, &["xz", "-c", "--sparc", "--lzma2"]),
    (Format::Xz, &["xz", "-c", "--ia64", "--lzma2"]),
    (Format::Lzma, &["xz", "-c", "--format=lzma"]),
    (Format::Lzma, &["xz", "-c", "--format=lzma", "--lzma1=lc=0,lp=4,pb=4"]),
    (Format::Lzip, &["lzip", "-c"]),
    (Format::Lzip, &["lzip", "-0c", "-s4096", "-b100000"]),
    (Format::Lzop, &["lzop", "-c"]),
    (Format::Lzop, &["lzop", "-1c"]),
    (Format::Lzop, &["lzop", "-9c", "--crc32"]),
    (Format::Lz4, &["lz4", "-c"]),
    (Format::Lz4, &["lz4", "-9c", "-BD", "-B4", "-BX", "--content-size"]),
    (Format::Lz4, &["lz4", "-lc"]),
    (Format::Zstd, &["zstd", "-qc"]),
    (Format::Zstd, &["zstd", "-qc", "-19", "--check"]),
    (Format::Zstd, &["zstd", "-qc", "--ultra", "-22", "--long=27"]),
    (Format::Zstd, &["zstd", "-qc", "--fast=5", "--no-check"]),
    (Format::Compress, &["compress", "-c"]),
    (Format::Compress, &["compress", "-c", "-b", "12"]),
];

fn kinds(message: &Message) -> Vec<DefectKind> {
    message.defects.iter().map(|defect| defect.kind).collect()
}

#[test]
fn what_their_programs_write_is_read() {
    for (format, command) in WRITERS {
        for (what, data) in samples() {
            let Some(packed) = piped(command, &data) else { continue };
            // Some write nothing where nothing is saved.
            if packed.is_empty() {
                continue;
            }
            let message = open(*format, packed.clone().into(), &Limits::default());
            assert!(message.parts[1].body == data, "{command:?} {what}: {:?}", message.defects);
            assert_eq!(kinds(&message), [], "{command:?} {what}: {:?}", message.defects);
            if !data.is_empty() {
                let name = format!("a.txt.{}", format.name());
                let message = read(mail(&name, &packed).into(), &Limits::default());
                let unpacked = message.parts.iter().find(|part| part.body == data);
                assert_eq!(unpacked.and_then(|part| part.name()), Some("a.txt"), "{command:?} {what}");
            }
        }
    }
}

/// Several streams are one file, of which programs that stop after the first see only that.
#[test]
fn streams_one_behind_the_other_are_one_file() {
    let (one, two) = (b"one ".repeat(100), b"two ".repeat(100));
    for (format, command) in WRITERS {
        if matches!(format, Format::Lzma | Format::Compress) || command.contains(&"-lc") {
            continue;
        }
        let (Some(first), Some(second)) = (piped(command, &one), piped(command, &two)) else { continue };
        let padding: &[u8] = if *format == Format::Xz { &[0; 8] } else { &[] };
        let file = [&first[..], padding, &second].concat();
        let message = open(*format, file.into(), &Limits::default());
        assert_eq!(message.parts[1].body, [&one[..], &two].concat(), "{command:?}");
        assert_eq!(message.parts[2].body, one, "{command:?}");
        assert_eq!(kinds(&message), [], "{command:?}");
        let junk = [&first[..], b"MZ and something else"].concat();
        let message = open(*format, junk.into(), &Limits::default());
        assert_eq!(
            (&message.parts[1].body[..], &message.parts[2].body[..2]),
            (&one[..], &b"MZ"[..]),
            "{command:?}"
        );
        assert_eq!(kinds(&message), [DefectKind::BadArchive], "{command:?}");
    }
}

#[test]
fn an_archive_inside_is_opened_and_named() {
    let tar = [tar_file("x.exe", b"MZ"), vec![0; 1024]].concat();
    for (command, name) in [
        (&["bzip2", "-c"][..], "a.tbz2"),
        (&["xz", "-c"], "a.txz"),
        (&["lzip", "-c"], "a.tlz"),
        (&["xz", "-c", "--format=lzma"], "a.tlz"),
        (&["zstd", "-qc"], "a.tzst"),
        (&["compress", "-c"], "a.taz"),
    ] {
        let Some(packed) = piped(command, &tar) else { continue };
        let message = read(mail(name, &packed).into(), &Limits::default());
        let paths: Vec<String> = message.parts().map(|(id, _)| message.path(id)).collect();
        assert_eq!(paths, ["", "a.tar", "a.tar/x.exe"], "{command:?}");
    }
}

#[test]
fn frames_to_be_passed_over() {
    let skipped = [&b"\x53\x2a\x4d\x18\x05\0\0\0"[..], b"12345"].concat();
    for command in [&["zstd", "-qc"][..], &["lz4", "-c"]] {
        let Some(packed) = piped(command, b"hello") else { continue };
        let file = [&skipped[..], &packed, &skipped].concat();
        let message = read(mail("a", &file).into(), &Limits::default());
        assert_eq!(message.parts[1].body, &b"hello"[..], "{command:?}");
        assert_eq!(message.parts.len(), 2);
    }
}

/// Zeros that pack thousandfold: the ratio stops them, and what is held stays small.
#[test]
fn bombs_of_one_file() {
    let zeros = vec![0; 32 << 20];
    let commands: &[(Format, &[&str])] = &[
        (Format::Bzip2, &["bzip2", "-9c"]),
        (Format::Xz, &["xz", "-0c"]),
        (Format::Lzip, &["lzip", "-0c"]),
        (Format::Lz4, &["lz4", "-1c"]),
        (Format::Zstd, &["zstd", "-qc", "--long=27"]),
        (Format::Compress, &["compress", "-c"]),
    ];
    for (format, command) in commands {
        let Some(packed) = piped(command, &zeros) else { continue };
        let message = open(*format, packed.into(), &Limits::default());
        let over = message.defects.iter().any(|defect| defect.kind == DefectKind::Over(Limit::Ratio));
        assert!(over, "{command:?} {:?}", message.defects);
        let held: usize = message.parts.iter().map(|part| part.body.len()).sum();
        assert!(held < 32 << 20, "{command:?} holds {held}");
    }
}

/// Every byte of a small file of each format turned over, and every length cut: no panic, and what is there is told.
#[test]
fn every_byte_flipped_and_every_cut() {
    let limits = Limits { bytes: 1 << 20, parts: 50, ..Limits::default() };
    let data = [b"hello hello hello hello ".repeat(4), (0..=255).collect()].concat();
    for (format, command) in WRITERS {
        let Some(packed) = piped(command, &data) else { continue };
        for place in 0..packed.len() {
            let cut = open(*format, packed[..place].to_vec().into(), &limits);
            let told = cut
                .defects
                .iter()
                .any(|defect| matches!(defect.kind, DefectKind::TruncatedArchive | DefectKind::BadArchive));
            assert!(told || cut.parts[1].body.len() <= data.len(), "{command:?} cut at {place}");
            for flip in [0xff, 1, 0x80, 0x10] {
                let mut packed = packed.clone();
                packed[place] ^= flip;
                open(*format, packed.into(), &limits);
            }
        }
    }
}
