//! Whatever bytes are opened as any of the formats: no panic, no hang, no more than the limits allow. The first byte says
//! which format.
#![no_main]

use std::time::Duration;

use gatepost_mail::Limits;
use gatepost_unpack::{Format, open};
use libfuzzer_sys::fuzz_target;

/// New ones at the end: the files of the corpus begin with a place in this table.
const FORMATS: [Format; 53] = [
    Format::Gzip,
    Format::Tar,
    Format::Rar,
    Format::Cab,
    Format::Lha,
    Format::Arj,
    Format::Zoo,
    Format::Arc,
    Format::Ace,
    Format::Chm,
    Format::Szdd,
    Format::InstallShield,
    Format::Mail,
    Format::Mbox,
    Format::Cpio,
    Format::Ar,
    Format::Rpm,
    Format::VirtualDisk,
    Format::Dmg,
    Format::AppleFile,
    Format::MacBinary,
    Format::Encoded,
    Format::Tnef,
    Format::Msg,
    Format::Msi,
    Format::Card,
    Format::Disc,
    Format::Disk,
    Format::Bzip2,
    Format::Xz,
    Format::Lzma,
    Format::Lzip,
    Format::Lzop,
    Format::Lz4,
    Format::Zstd,
    Format::Compress,
    Format::SevenZip,
    Format::Zip,
    Format::Pdf,
    Format::Html,
    Format::Script,
    Format::Shortcut,
    Format::Qr,
    Format::Polyglot,
    Format::Ole,
    Format::Package,
    Format::FlatXml,
    Format::ActiveMime,
    Format::Rtf,
    Format::OneNote,
    Format::Sylk,
    Format::Csv,
    Format::Mhtml,
];

fuzz_target!(|data: &[u8]| {
    assert!(Format::ALL.iter().all(|format| FORMATS.contains(format)), "a format is missing in this target");
    let Some((first, file)) = data.split_first() else { return };
    let Some(format) = FORMATS.get(usize::from(*first)) else { return };
    let limits = Limits {
        depth: 4,
        parts: 64,
        bytes: 4 << 20,
        // What takes longer than the fuzzer waits does not keep to this.
        time: Duration::from_secs(4),
        memory: 32 << 20,
        // Trying one takes long on purpose, and a corpus knows which it is.
        passwords: ["infected".to_owned()].into(),
        texts: 1 << 16,
        ..Limits::default()
    };
    let message = open(*format, file.to_vec().into(), &limits);
    assert!(message.parts.len() <= 65);
    assert!(message.texts.iter().map(|told| told.text.len()).sum::<usize>() <= 1 << 16);
    let made: usize = message.parts.iter().map(|part| part.body.len()).sum();
    assert!(made <= 2 * data.len() + (16 << 20));
    for (id, _) in message.parts() {
        message.path(id);
    }
});
