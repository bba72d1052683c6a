//! What the mails carry: the EICAR test file, plain and in a zip. It is put together here, so that no scanner takes this
//! source, or the program made of it, for the file itself.

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// The name of the payload's file in the zip.
const NAME: &[u8] = b"eicar.com";

/// The 68 bytes of the EICAR test file.
pub fn eicar() -> Vec<u8> {
    // Every byte one higher than it is.
    const SHIFTED: &[u8] = b"Y6P\"Q&ABQ\\5]Q[Y65)Q_*8DD*8~%FJDBS.TUBOEBSE.BOUJWJSVT.UFTU.GJMF\"%I,I+";
    SHIFTED.iter().map(|byte| byte - 1).collect()
}

/// A zip that holds it, deflated (so that it does not show as it is).
pub fn zip() -> Vec<u8> {
    let content = eicar();
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
    // Writing to memory cannot fail.
    let packed = packed.write_all(&content).and_then(|()| packed.finish()).unwrap_or_default();
    let mut crc = flate2::Crc::new();
    crc.update(&content);
    let mut common = Vec::new();
    // Version 2.0, no flags, deflated, a time and a date.
    for field in [20u16, 0, 8, 0x6000, 0x5a21] {
        common.extend(field.to_le_bytes());
    }
    for field in [crc.sum(), packed.len() as u32, content.len() as u32] {
        common.extend(field.to_le_bytes());
    }
    common.extend((NAME.len() as u16).to_le_bytes());
    common.extend([0, 0]);
    let mut zip = [b"PK\x03\x04", &common[..], NAME, &packed].concat();
    let directory = zip.len() as u32;
    zip.extend(b"PK\x01\x02\x14\0");
    zip.extend(&common);
    zip.extend([0; 14]);
    zip.extend(NAME);
    let size = zip.len() as u32 - directory;
    zip.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    zip.extend(size.to_le_bytes());
    zip.extend(directory.to_le_bytes());
    zip.extend([0, 0]);
    zip
}
