//! RAR, cabinets, LHA, ARJ and other old archives: made here or by the programs themselves, honest and crafted.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use gatepost_mail::{DefectKind, Limits, Message};
use gatepost_unpack::{Format, open, read_file};

/// What the archives that real programs made hold.
fn hello() -> Vec<u8> {
    b"hello hello hello, old archives! ".repeat(8)
}

/// Bytes of a hexadecimal text.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let value = |digit: u8| char::from(digit).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// `name=content` of each member, and the kinds of defects.
fn listed(message: &Message) -> (Vec<String>, Vec<DefectKind>) {
    let parts = message.parts().skip(1).map(|(_, part)| {
        let lock = if part.encrypted { " encrypted" } else { "" };
        format!("{}={}{lock}", part.name().unwrap_or(""), String::from_utf8_lossy(&part.body))
    });
    let mut kinds: Vec<DefectKind> = message.defects.iter().map(|defect| defect.kind).collect();
    kinds.sort();
    kinds.dedup();
    (parts.collect(), kinds)
}

#[track_caller]
fn expect(format: Format, file: Vec<u8>, parts: &[&str], defects: &[DefectKind]) {
    let (found, kinds) = listed(&open(format, file.into(), &Limits::default()));
    assert_eq!(found, parts);
    assert_eq!(kinds, defects);
}

/// Bits, the highest of each byte first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    fn put(&mut self, value: u32, width: u32) -> &mut Bits {
        for place in (0..width).rev() {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = (value >> place & 1) as u8;
            *self.bytes.last_mut().unwrap() |= bit << (7 - self.count % 8);
            self.count += 1;
        }
        self
    }

    /// The lengths of codes that have one length each, by a code in which all lengths have five bits.
    fn lengths(&mut self, groups: &[(usize, u32)]) -> &mut Bits {
        for (symbols, length) in groups {
            for _ in 0..*symbols {
                self.put(*length, 5);
            }
        }
        self
    }
}

/// `abcabcabc…` of thirty bytes: three literals, and a match of 27 at distance 3. `length` and `distance` are the
/// symbols of the match, with the bits behind the first one.
fn abc(bits: &mut Bits, length: (u32, u32, u32), distance: u32) {
    for byte in b"abc" {
        bits.put(u32::from(*byte), 9);
    }
    bits.put(length.0, 9).put(length.1, length.2).put(distance, 6);
}

/// A block of RAR 4.
fn block4(kind: u8, flags: u16, rest: &[u8], data: &[u8]) -> Vec<u8> {
    let mut head = vec![kind];
    head.extend(flags.to_le_bytes());
    head.extend((7 + rest.len() as u16).to_le_bytes());
    head.extend(rest);
    let sum = (crc(&head) as u16).to_le_bytes();
    [&sum[..], &head, data].concat()
}

fn file4(name: &str, content: &[u8], data: &[u8], version: u8, flags: u16) -> Vec<u8> {
    let mut rest = Vec::new();
    rest.extend((data.len() as u32).to_le_bytes());
    rest.extend((content.len() as u32).to_le_bytes());
    rest.push(3);
    rest.extend(crc(content).to_le_bytes());
    rest.extend([0; 4]);
    rest.extend([version, if version == 0 { 0x30 } else { 0x33 }]);
    rest.extend((name.len() as u16).to_le_bytes());
    rest.extend([0; 4]);
    rest.extend(name.as_bytes());
    block4(0x74, 0x8000 | flags, &rest, data)
}

fn rar4(files: &[Vec<u8>]) -> Vec<u8> {
    let main = block4(0x73, 0, &[0; 6], b"");
    [b"Rar!\x1a\x07\0", &main[..], &files.concat(), &block4(0x7b, 0, b"", b"")].concat()
}

/// A block of RAR 5.
fn block5(kind: u8, rest: &[u8], data: Option<&[u8]>) -> Vec<u8> {
    let mut head = vec![kind, if data.is_some() { 2 } else { 0 }];
    if let Some(data) = data {
        head.extend([data.len() as u8 | 0x80, (data.len() >> 7) as u8]);
    }
    head.extend(rest);
    head.insert(0, head.len() as u8);
    [&crc(&head).to_le_bytes()[..], &head, data.unwrap_or_default()].concat()
}

fn file5(name: &str, content: &[u8], data: &[u8], packing: [u8; 2]) -> Vec<u8> {
    let mut rest = vec![4, content.len() as u8, 0];
    rest.extend(crc(content).to_le_bytes());
    rest.extend(packing);
    rest.extend([1, name.len() as u8]);
    rest.extend(name.as_bytes());
    block5(2, &rest, Some(data))
}

fn rar5(files: &[Vec<u8>]) -> Vec<u8> {
    [b"Rar!\x1a\x07\x01\0", &block5(1, &[0], None)[..], &files.concat(), &block5(5, &[0], None)].concat()
}

/// One member that is packed, for the method of each version.
fn packed_by(version: u8) -> Vec<u8> {
    let mut bits = Bits::default();
    match version {
        20 => {
            bits.put(0, 2);
            for _ in 0..19 {
                bits.put(5, 4);
            }
            bits.lengths(&[(298, 9), (48, 6), (28, 5)]);
            // Slot 14: from 24 and 3 on, two bits.
            abc(&mut bits, (270 + 14, 0, 2), 2);
        }
        29 => {
            bits.put(0, 2);
            for _ in 0..20 {
                bits.put(5, 4);
            }
            bits.lengths(&[(299, 9), (60, 6), (17, 5), (28, 5)]);
            abc(&mut bits, (271 + 14, 0, 2), 2);
        }
        _ => {
            for _ in 0..20 {
                bits.put(5, 4);
            }
            bits.lengths(&[(306, 9), (64, 6), (16, 4), (44, 6)]);
            // Slot 14: from 26 on, two bits.
            abc(&mut bits, (262 + 14, 1, 2), 2);
            let last = (bits.count - 1) % 8;
            let size = (bits.bytes.len() as u16).to_le_bytes();
            let flags = 0xc0 | 1 << 3 | last as u8;
            let sum = 0x5a ^ flags ^ size[0] ^ size[1];
            return [&[flags, sum, size[0], size[1]], &bits.bytes[..]].concat();
        }
    }
    bits.bytes
}

#[test]
fn rar_of_every_version() {
    let abc = b"abc".repeat(10);
    let (stored, all) = (b"stored".as_slice(), "abcabcabcabcabcabcabcabcabcabc");
    let want = format!("p.txt={all}");
    for version in [20, 29] {
        let files = [
            file4("dir\\s.txt", stored, stored, 0, 0),
            file4("p.txt", &abc, &packed_by(version), version, 0),
        ];
        expect(Format::Rar, rar4(&files), &["dir/s.txt=stored", &want], &[]);
        let sfx = [b"MZ a program that is no archive ", &rar4(&files)[..]].concat();
        let message = read_file(sfx.into(), None, &Limits::default());
        assert_eq!(listed(&message).0[..], ["dir/s.txt=stored", &want], "behind a program");
        let (bad, cut) = (DefectKind::BadArchive, DefectKind::TruncatedArchive);
        let lies = [file4("p.txt", &abc[1..], &packed_by(version), version, 0)];
        expect(Format::Rar, rar4(&lies), &[&want[..want.len() - 1]], &[bad]);
        let short = [file4("p.txt", &abc, &packed_by(version)[..20], version, 0)];
        expect(Format::Rar, rar4(&short), &["p.txt="], &[cut]);
    }
    let packed = packed_by(50);
    let files = [
        file5("ü.txt", stored, stored, [0x80, 0]),
        file5("p.txt", &abc, &packed, [0x80, 3]),
        file5("again.txt", &abc, &packed, [0xc0, 3]),
    ];
    expect(Format::Rar, rar5(&files), &["ü.txt=stored", &want, &format!("again.txt={all}")], &[]);
}

#[test]
fn rar_that_cannot_be_read() {
    let stored = b"stored".as_slice();
    let cut = DefectKind::TruncatedArchive;
    let locked = [file4("a", stored, stored, 0, 4)];
    expect(Format::Rar, rar4(&locked), &["a= encrypted"], &[DefectKind::Encrypted]);
    let newer = [file4("a", stored, stored, 99, 0)];
    expect(Format::Rar, rar4(&newer), &["a="], &[DefectKind::UnknownMethod]);
    expect(Format::Rar, rar4(&[file4("a", stored, stored, 0, 2)]), &["a=stored"], &[cut]);
    let headers = [b"Rar!\x1a\x07\0", &block4(0x73, 0x80, &[0; 6], b"")[..], &[7; 64]].concat();
    expect(Format::Rar, headers, &[], &[DefectKind::Encrypted]);
    expect(Format::Rar, b"Rar!\x1a\x07\x01\0".to_vec(), &[], &[cut]);
    expect(Format::Rar, b"Rar!\x1a\x07\x01\0junk junk".to_vec(), &[], &[DefectKind::BadArchive]);
}

#[test]
fn arj_cab_and_szdd_by_their_own_programs() {
    let text = hello();
    let want = format!("a.txt={}", String::from_utf8_lossy(&text));
    let one = "60ea2b00220b0102100002ba216a026b216a026b0000000000000000000000000000000000006f6e652e61726a0000308f84c100
        0060ea35002e0b010210010021216a026b25000000080100006e16b80d0000a411000000000000216a026b216a026b00000000612e7478
        7400006f5bcb7900000018428a89f95067ee791062a0a0f082824fb963e38008061c9a1e2828b0edac4ebe707e0060ea0000";
    let four = "60ea2c00220b0102100002ba216a026b216a026b000000000000000000000000000000000000666f75722e61726a0000a2b2198e
        000060ea35002e0b010210040021216a026b1f000000080100006e16b80d0000a411000000000000216a026b216a026b00000000612e74
        78740000e4f7887b000034194d86c37883900a2c101bcd86410184e463341a4ec65398879835fed84060ea0000";
    let cab = "4d534346000000006a000000000000002c00000000000000030101000100000000000000420000000100010008010000000000000000
        765dba202000612e7478740079f84a3f20000801434bcb48cdc9c957c840903a0af939290a8945c9199965a9c58ac852c3590100";
    for (format, archive) in [(Format::Arj, one), (Format::Arj, four), (Format::Cab, cab)] {
        expect(format, hex(archive), &[&want], &[]);
        let sfx = [b"MZ a program that is no archive ", &hex(archive)[..]].concat();
        let (found, _) = listed(&read_file(sfx.into(), None, &Limits::default()));
        assert_eq!(found, std::slice::from_ref(&want), "{format:?} behind a program");
    }
    // A literal, a match of three of what was before the beginning, and a match of itself.
    let szdd = [b"SZDD\x88\xf0\x27\x33Ae\x08\0\0\0", &[0b001, b'x', 0, 0, 0xf0, 0xf1][..]].concat();
    let message = read_file(szdd.into(), Some("a.ex_"), &Limits::default());
    assert_eq!(listed(&message), (vec!["a.exe=x   x   ".to_owned()], vec![]));
}

/// A member of LHA, level 0.
fn lha(method: &[u8], content: &[u8], data: &[u8]) -> Vec<u8> {
    let crc16 = content.iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 != 0 { crc >> 1 ^ 0xa001 } else { crc >> 1 })
    });
    let mut head = method.to_vec();
    head.extend((data.len() as u32).to_le_bytes());
    head.extend((content.len() as u32).to_le_bytes());
    head.extend([0, 0, 0, 0, 0x20, 0, 5]);
    head.extend(b"a.txt");
    head.extend(crc16.to_le_bytes());
    let sum = head.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    [&[head.len() as u8, sum], &head[..], data].concat()
}

#[test]
fn lha_of_several_methods() {
    let mut one_symbol = Bits::default();
    // A block of nine symbols, in codes of one symbol each: none for lengths, `z`, no distance.
    one_symbol.put(9, 16).put(0, 10).put(0, 9).put(u32::from(b'z'), 9).put(0, 8);
    let packed = lha(b"-lh5-", b"zzzzzzzzz", &one_symbol.bytes);
    let stored = lha(b"-lh0-", b"stored", b"stored");
    let all = [&packed[..], &stored, &[0]].concat();
    expect(Format::Lha, all.clone(), &["a.txt=zzzzzzzzz", "a.txt=stored"], &[]);
    // Junk between members, and a second archive behind the end of the first.
    let junk = [&stored[..], b"\x07junk junk", &packed, &[0], &stored, &[0]].concat();
    let three = ["a.txt=stored", "a.txt=zzzzzzzzz", "a.txt=stored"];
    expect(Format::Lha, junk, &three, &[DefectKind::BadArchive]);
    let unknown = [&lha(b"-lh3-", b"stored", b"stored")[..], &[0]].concat();
    expect(Format::Lha, unknown, &["a.txt="], &[DefectKind::UnknownMethod]);
    expect(Format::Lha, all[..packed.len() - 4].to_vec(), &["a.txt="], &[DefectKind::TruncatedArchive]);
}

/// A setup program: files behind it, of which one is plain.
#[test]
fn setup_programs() {
    let program = b"MZ a program \0\xc0clam.exe\0Disk1\\clam.exe\x000.0.0.0\x006\0MZ evi";
    let message = read_file(program.to_vec().into(), None, &Limits::default());
    assert_eq!(listed(&message).0, ["clam.exe=MZ evi"]);
}

fn suites() -> Option<PathBuf> {
    let named = std::env::var_os("GATEPOST_SUITES").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/suites");
    let folder = named.unwrap_or(beside);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no suites in {}", folder.display());
    None
}

/// Lhasa's archives, of thirty programs: every one opens, and hardly any has something wrong.
#[test]
fn lha_archives_of_many_programs() {
    let Some(folder) = suites() else { return };
    let (mut whole, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(folder.join("archives/lha")).unwrap() {
        let Ok(files) = std::fs::read_dir(entry.unwrap().path()) else { continue };
        for path in files.map(|file| file.unwrap().path()).filter(|path| path.is_file()) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("README") {
                continue;
            }
            let start = Instant::now();
            let message = read_file(std::fs::read(&path).unwrap().into(), None, &Limits::default());
            assert!(start.elapsed() < Duration::from_secs(20), "{name}");
            // Folders and links have no content.
            let bare = ["dir.lzh", "dirs", "symlink"].iter().any(|word| name.contains(word));
            assert!(bare || message.parts.len() > 1 || !message.defects.is_empty(), "{name}");
            if message.defects.is_empty() { whole += 1 } else { wrong.push(name) }
        }
    }
    assert!(whole > 200 && wrong.len() < 16, "{whole} {wrong:?}");
}
