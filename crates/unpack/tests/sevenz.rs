//! 7z archives as 7-Zip and p7zip write them.

mod make;
mod peers;

use gatepost_mail::{DefectKind, FeatureKind, Limit, Limits};
use gatepost_unpack::{Format, open, read};
use make::*;
use peers::*;

/// Options of the methods, each behind `7z a a.7z`.
const METHODS: &[&[&str]] = &[
    &[],
    &["-m0=Copy"],
    &["-m0=LZMA", "-mx=9"],
    &["-m0=LZMA2", "-mx=1"],
    &["-m0=BZip2"],
    &["-m0=Deflate"],
    &["-m0=Deflate64"],
    &["-m0=PPMd"],
    &["-m0=Delta:4", "-m1=LZMA"],
    &["-m0=BCJ", "-m1=LZMA2"],
    &["-m0=BCJ2", "-m1=LZMA:d20", "-m2=LZMA:d16", "-m3=LZMA:d16", "-mb0:1", "-mb0s1:2", "-mb0s2:3"],
    &["-m0=ARM", "-m1=LZMA"],
    &["-m0=ARMT", "-m1=LZMA"],
    &["-m0=PPC", "-m1=LZMA"],
    &["-m0=SPARC", "-m1=LZMA"],
    &["-m0=IA64", "-m1=LZMA"],
    &["-ms=off"],
    &["-mhc=off"],
];

#[test]
fn every_method_that_7zip_writes() {
    for program in ["7z", "7zz"] {
        for (place, method) in METHODS.iter().enumerate() {
            let mut command = vec![program, "a", "a.7z"];
            command.extend(*method);
            command.extend(FILES.split(' '));
            let Some(archive) = packed(&format!("{program}{place}"), &command, "a.7z") else { continue };
            let message = open(Format::SevenZip, archive.into(), &Limits::default());
            expect_samples(&message, &format!("{command:?}"));
        }
    }
}

#[test]
fn encrypted_archives_are_opened_by_passwords_in_the_mail() {
    let options: &[&[&str]] =
        &[&[], &["-mhe=on"], &["-m0=Copy"], &["-ms=off", "-m0=BZip2"], &["-m0=PPMd", "-mhe=on"]];
    for (place, options) in options.iter().enumerate() {
        let mut command = vec!["7z", "a", "-pTr0ub4dor", "a.7z"];
        command.extend(*options);
        command.extend(FILES.split(' '));
        let Some(archive) = packed(&format!("locked7z{place}"), &command, "a.7z") else { continue };
        let message =
            read(letter("Hello, the password is Tr0ub4dor", "a.7z", &archive).into(), &Limits::default());
        expect_samples(&message, &format!("{command:?}"));
        let features: Vec<FeatureKind> = message.features.iter().map(|feature| feature.kind).collect();
        assert_eq!(features, [FeatureKind::PasswordInMail], "{command:?}");
        let limits = Limits { passwords: [].into(), ..Limits::default() };
        let message = read(letter("No word", "a.7z", &archive).into(), &limits);
        assert!(message.defects.iter().any(|defect| defect.kind == DefectKind::Encrypted), "{command:?}");
        assert!(message.parts.iter().any(|part| part.encrypted));
        let named = message.parts.iter().any(|part| part.name() == Some("text"));
        assert_eq!(named, !command.contains(&"-mhe=on"), "{command:?}");
    }
}

#[test]
fn an_archive_behind_a_program_or_cut_short() {
    let mut command = vec!["7z", "a", "a.7z"];
    command.extend(FILES.split(' '));
    let Some(archive) = packed("sfx", &command, "a.7z") else { return };
    let program =
        [&b"MZ and a program that unpacks itself 7z\xbc\xaf\x27\x1c"[..], &[7; 5000], &archive].concat();
    let message = read(mail("setup.exe", &program).into(), &Limits::default());
    expect_samples(&message, "behind a program");
    let stored = ["7z", "a", "-m0=Copy", "a.7z", "text"];
    let Some(stored) = packed("stored", &stored, "a.7z") else { return };
    let two = [&program[..], &stored].concat();
    let message = read(mail("setup.exe", &two).into(), &Limits::default());
    assert_eq!(message.parts.iter().filter(|part| part.name() == Some("text")).count(), 2);
    for len in [10, 32, 40, archive.len() - 10] {
        let message = open(Format::SevenZip, archive[..len].to_vec().into(), &Limits::default());
        let kinds: Vec<DefectKind> = message.defects.iter().map(|defect| defect.kind).collect();
        assert!(kinds.contains(&DefectKind::TruncatedArchive), "{len}: {kinds:?}");
    }
}

/// A folder of zeros that packs thousandfold, as one file and as many.
#[test]
fn a_bomb_stops_at_the_ratio() {
    let folder = Folder::new("bomb7z");
    std::fs::write(folder.0.join("zeros"), vec![0; 64 << 20]).expect("written");
    let Some(()) = run(&folder.0, &["7z", "a", "-mx=1", "a.7z", "zeros"]) else { return };
    let archive = std::fs::read(folder.0.join("a.7z")).expect("an archive");
    let message = open(Format::SevenZip, archive.into(), &Limits::default());
    assert!(message.defects.iter().any(|defect| defect.kind == DefectKind::Over(Limit::Ratio)));
    let held: usize = message.parts.iter().map(|part| part.body.len()).sum();
    assert!(held < 16 << 20, "{held}");
}

/// Every byte of small archives turned over, and every length cut: no panic.
#[test]
fn every_byte_flipped_and_every_cut() {
    let limits = Limits { bytes: 1 << 20, parts: 50, passwords: [].into(), ..Limits::default() };
    for options in [&["-mhc=off"][..], &["-m0=PPMd:mem=16"], &["-m0=Copy", "-ms=off", "-mhc=off"], &["-p1"]] {
        let folder = Folder::new("flip7z");
        for (name, data) in
            [("a", &b"hello hello hello"[..]), ("b.exe", b"MZ \xe8\0\0\0\0 and \xe9\0\0\0\0"), ("c", b"")]
        {
            std::fs::write(folder.0.join(name), data).expect("written");
        }
        let mut command = vec!["7z", "a", "a.7z"];
        command.extend(options);
        command.extend(["a", "b.exe", "c"]);
        let Some(()) = run(&folder.0, &command) else { return };
        let archive = std::fs::read(folder.0.join("a.7z")).expect("an archive");
        for place in 0..archive.len() {
            open(Format::SevenZip, archive[..place].to_vec().into(), &limits);
            for flip in [0xff, 1, 0x80] {
                let mut archive = archive.clone();
                archive[place] ^= flip;
                open(Format::SevenZip, archive.into(), &limits);
            }
        }
    }
}
