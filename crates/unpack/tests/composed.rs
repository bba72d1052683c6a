//! Containers composed byte by byte, for what no program at hand makes: what comes out, and what is said against them.

mod make;

use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use gatepost_mail::{DefectKind, Limit, Limits, Message};
use gatepost_unpack::{Format, open, read_file};
use std::io::Write;

fn opened(file: Vec<u8>) -> Message {
    read_file(file.into(), None, &Limits::default())
}

/// All parts but the first as `name=content`, content cut to 12 characters, then the kinds of defects.
fn listed(message: &Message) -> (Vec<String>, Vec<DefectKind>) {
    let parts = message.parts().skip(1).map(|(_, part)| {
        let body = String::from_utf8_lossy(&part.body[..part.body.len().min(12)]).into_owned();
        format!("{}={body}", part.names.join("|"))
    });
    (parts.collect(), message.defects.iter().map(|defect| defect.kind).collect())
}

#[track_caller]
fn expect(file: Vec<u8>, parts: &[&str], defects: &[DefectKind]) {
    let (found, kinds) = listed(&opened(file));
    assert_eq!(found, parts);
    assert_eq!(kinds, defects);
}

fn be16(value: usize) -> [u8; 2] {
    (value as u16).to_be_bytes()
}

fn be32(value: usize) -> [u8; 4] {
    (value as u32).to_be_bytes()
}

fn be64(value: usize) -> [u8; 8] {
    (value as u64).to_be_bytes()
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

fn base64(data: &[u8]) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let word =
            three.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        let letter = |place: usize| char::from(letters[(word >> (18 - 6 * place) & 63) as usize]);
        (0..4).map(|place| if place <= three.len() { letter(place) } else { '=' }).collect::<String>()
    };
    data.chunks(3).map(group).collect()
}

/// A lead, an empty header of signatures, a header with those scripts, and a payload.
fn rpm(scripts: &[(usize, &str)], payload: &[u8]) -> Vec<u8> {
    let magic = b"\x8e\xad\xe8\x01\0\0\0\0";
    let mut file = b"\xed\xab\xee\xdb\x03\0\0\0".to_vec();
    file.resize(96, 0);
    file.extend([&magic[..], &be32(0), &be32(4), b"sig!", b"\0\0\0\0"].concat());
    let (mut index, mut store) = (Vec::new(), Vec::new());
    for (tag, text) in scripts {
        index.extend([be32(*tag), be32(6), be32(store.len()), be32(1)].concat());
        store.extend_from_slice(text.as_bytes());
        store.push(0);
    }
    file.extend([&magic[..], &be32(scripts.len()), &be32(store.len()), &index, &store, payload].concat());
    file
}

#[test]
fn packages_of_rpm() {
    let payload = make::gzip(None, b"payload");
    let file = rpm(&[(1000, "name"), (1024, "rm -rf /\n"), (9, "x")], &payload);
    let (parts, defects) = listed(&opened(file.clone()));
    assert_eq!((&parts[0][..], parts.len()), ("%post=rm -rf /\n", 3), "{parts:?}");
    assert!(parts[2].ends_with("=payload") && defects.is_empty(), "{parts:?} {defects:?}");
    for end in 0..file.len() {
        let message = open(Format::Rpm, file[..end].to_vec().into(), &Limits::default());
        assert!(message.parts.len() > 1 || !message.defects.is_empty(), "{end}");
    }
}

#[test]
fn files_of_a_macintosh() {
    let entries = |list: &[(usize, &[u8])]| {
        let mut at = 26 + 12 * list.len();
        let (mut table, mut data) = (Vec::new(), Vec::new());
        for (kind, content) in list {
            table.extend([be32(*kind), be32(at), be32(content.len())].concat());
            data.extend_from_slice(content);
            at += content.len();
        }
        let head = [&b"\0\x05\x16\0\0\x02\0\0"[..], &[0; 16], &be16(list.len())].concat();
        [head, table, data].concat()
    };
    let single = entries(&[(3, b"a.txt"), (1, b"the data"), (9, &[0; 32]), (2, b"the rest")]);
    expect(single.clone(), &["a.txt=the data", "a.txt/..namedfork/rsrc=the rest"], &[]);
    expect(
        single[..single.len() - 4].to_vec(),
        &["a.txt=the data", "a.txt/..namedfork/rsrc=the "],
        &[DefectKind::TruncatedArchive],
    );
    expect(single[..40].to_vec(), &[], &[DefectKind::TruncatedArchive]);

    let mut binary = vec![0, 9];
    binary.extend(b"evil .exe");
    binary.resize(65, 0);
    binary.extend(b"TEXTttxt");
    binary.resize(83, 0);
    binary.extend([be32(7), be32(3)].concat());
    binary.resize(128, 0);
    binary.extend(b"MZ fake");
    binary.resize(256, 0);
    binary.extend(b"res");
    binary.resize(384, 0);
    expect(binary.clone(), &["evil .exe=MZ fake", "evil .exe/..namedfork/rsrc=res"], &[]);
    // Sizes that add up to something else: no MacBinary.
    binary.extend([1; 512]);
    expect(binary, &[], &[]);
}

/// A disk image with one table of blocks: stored, zero, zlib, ADC and one that nobody knows.
fn dmg(unknown: u32) -> (Vec<u8>, Vec<u8>) {
    let image = [vec![b'a'; 512], vec![0; 1024], b"abcd".repeat(256), vec![b'x'; 512], vec![0; 512]].concat();
    let adc = [&[0x83][..], b"xxxx", &[0x7f, 0, 3].repeat(7), &[0xa6], &[b'x'; 39]].concat();
    let blocks: [(u32, usize, Vec<u8>); 6] = [
        (1, 1, vec![b'a'; 512]),
        (2, 2, Vec::new()),
        (0x8000_0005, 2, zlib(&b"abcd".repeat(256))),
        (0x8000_0004, 1, adc),
        (unknown, 1, Vec::new()),
        (0xffff_ffff, 0, Vec::new()),
    ];
    let (mut data, mut table, mut sector) = (Vec::new(), Vec::new(), 0);
    for (kind, count, packed) in &blocks {
        table.extend(
            [
                &kind.to_be_bytes()[..],
                &[0; 4],
                &be64(sector),
                &be64(*count),
                &be64(data.len()),
                &be64(packed.len()),
            ]
            .concat(),
        );
        data.extend_from_slice(packed);
        sector += count;
    }
    let mut mish =
        [&b"mish"[..], &be32(1), &be64(0), &be64(sector), &be64(0), &be32(0x208), &be32(0)].concat();
    mish.resize(200, 0);
    mish.extend(be32(blocks.len()));
    mish.extend(table);
    let list = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<plist version=\"1.0\"><dict><key>resource-fork</key><dict>\
         <key>blkx</key><array><dict><key>Attributes</key><string>0x0050</string><key>Data</key><data>\n{}</data>\
         <key>ID</key><string>0</string><key>Name</key><string>disk (Apple_HFS : 1)</string></dict></array>\
         </dict></dict></plist>\n",
        base64(&mish)
    );
    let mut end =
        [&b"koly"[..], &be32(4), &be32(512), &be32(1), &be64(0), &be64(0), &be64(data.len())].concat();
    end.resize(56, 0);
    end.extend([be32(1), be32(1)].concat());
    end.resize(216, 0);
    end.extend([be64(data.len()), be64(list.len())].concat());
    end.resize(488, 0);
    end.extend([&be32(1)[..], &be64(sector)].concat());
    end.resize(512, 0);
    ([data, list.into_bytes(), end].concat(), image)
}

#[test]
fn disk_images_of_apple() {
    let (file, image) = dmg(0);
    let message = opened(file.clone());
    let part =
        message.parts.iter().find(|part| part.name() == Some("disk (Apple_HFS : 1)")).expect("an image");
    assert_eq!((part.body == image, message.defects.len()), (true, 0), "{:?}", message.defects);
    let unknown = opened(dmg(0x8000_0007).0);
    let told = unknown.defects.iter().any(|defect| defect.kind == DefectKind::UnknownMethod);
    assert!(told && unknown.parts.iter().any(|part| part.body == image));
    // 7-Zip finds the same.
    let folder = std::env::temp_dir().join(format!("gatepost-unpack-dmg-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("x.dmg"), file).expect("a file");
    let mut peer = Command::new("7z");
    peer.args(["e", "-tdmg", "-so", "x.dmg"]).current_dir(&folder).stdin(Stdio::null()).stderr(Stdio::null());
    match peer.output() {
        Ok(done) => assert!(done.stdout == image, "{} bytes by 7z", done.stdout.len()),
        Err(_) => println!("skipped: needs 7z"),
    }
    std::fs::remove_dir_all(&folder).expect("removed");
}

/// An attribute of TNEF, with its checksum.
fn attribute(level: u8, id: u32, data: &[u8]) -> Vec<u8> {
    let sum = data.iter().fold(0_u16, |sum, byte| sum.wrapping_add((*byte).into()));
    let size = (data.len() as u32).to_le_bytes();
    [&[level][..], &id.to_le_bytes(), &size, data, &sum.to_le_bytes()].concat()
}

#[test]
fn messages_in_tnef_are_opened_too() {
    let head = b"\x78\x9f\x3e\x22\x01\0".to_vec();
    let inner = [
        head.clone(),
        attribute(2, 0x0006_9002, &[0; 14]),
        attribute(2, 0x0001_8010, b"in.exe\0"),
        attribute(2, 0x0006_800f, b"MZ fake"),
    ]
    .concat();
    // One property: the attachment's object, behind what it is; and one of a name.
    let object = [&[0; 16][..], &inner].concat();
    let padding = vec![0; object.len().next_multiple_of(4) - object.len()];
    let name: Vec<u8> = "ä.msg\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let properties = [
        &2_u32.to_le_bytes()[..],
        b"\x1f\0\x07\x37\x01\0\0\0",
        &(name.len() as u32).to_le_bytes(),
        &name,
        b"\x0d\0\x01\x37\x01\0\0\0",
        &(object.len() as u32).to_le_bytes(),
        &object,
        &padding,
    ]
    .concat();
    let file = [
        head,
        attribute(1, 0x0002_800c, b"text\0"),
        attribute(2, 0x0006_9002, &[0; 14]),
        attribute(2, 0x0006_9005, &properties),
    ]
    .concat();
    let (parts, defects) = listed(&opened(file.clone()));
    assert_eq!(
        (parts[0].as_str(), parts[1].split('=').next(), parts[2].as_str()),
        ("body.txt=text", Some("ä.msg"), "in.exe=MZ fake")
    );
    assert_eq!(defects, []);
    for end in 7..file.len() {
        let message = open(Format::Tnef, file[..end].to_vec().into(), &Limits::default());
        assert!(message.parts.len() <= 4);
    }
}

/// An old initial ramdisk: several archives one behind the other, padded, and something else at last.
#[test]
fn cpio_archives_behind_each_other() {
    let member = |name: &str, data: &str| {
        let head = format!(
            "070701{:08X}{:08X}{}{:08X}{:08X}{:08X}{}{:08X}{:08X}",
            7,
            0o100_644,
            "0".repeat(16),
            1,
            0,
            data.len(),
            "0".repeat(32),
            name.len() + 1,
            0
        );
        let mut out = format!("{head}{name}\0").into_bytes();
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend_from_slice(data.as_bytes());
        out.resize(out.len().next_multiple_of(4), 0);
        out
    };
    let end = member("TRAILER!!!", "");
    let two = [member("a", "one"), end.clone(), vec![0; 300], member("b", "two"), end.clone(), vec![0; 512]]
        .concat();
    expect(two, &["a=one", "b=two"], &[]);
    let more = [member("a", "one"), end.clone(), b"something".to_vec()].concat();
    expect(more, &["a=one", "=something"], &[DefectKind::BadArchive]);
    let junk = [member("a", "one"), b"junk".to_vec(), member("b", "two"), end].concat();
    expect(junk, &["a=one", "b=two"], &[DefectKind::BadArchive]);
    expect(member("a", "one"), &["a=one"], &[DefectKind::TruncatedArchive]);
}

#[test]
fn archives_of_ar_in_both_forms_of_long_names() {
    let member = |name: &str, data: &str| {
        format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n{data}", 0, 0, 0, 644, data.len())
    };
    let gnu = [
        "!<arch>\n",
        &member("/", "sym "),
        &member("//", "a long name of GNU/\n"),
        &member("/0", "12"),
        &member("b/", "3456"),
    ]
    .concat();
    expect(gnu.into_bytes(), &["a long name of GNU=12", "b=3456"], &[]);
    let bsd = ["!<arch>\n", &member("#1/12", "name of BSD\0ab")].concat();
    expect(bsd.into_bytes(), &["name of BSD=ab"], &[]);
    let broken = [
        "!<arch>\n",
        &member("a/", "12"),
        "no header at all, but long enough to be taken for one, sixty bytes",
    ]
    .concat();
    let (parts, defects) = listed(&opened(broken.into_bytes()));
    assert_eq!(
        (parts.len(), defects),
        (2, vec![DefectKind::BadArchive, DefectKind::BadArchive][..1].to_vec())
    );
}

/// A FAT whose chains lead in circles, whose folders lead into themselves, and whose files claim gigabytes.
#[test]
fn disks_in_circles_end() {
    let mut disk = vec![0; 512 * 64];
    disk[..62].copy_from_slice(
        &[&[0xeb, 0x3c, 0x90][..], b"MSDOS5.0", &[0, 2, 1, 1, 0, 1, 16, 0, 64, 0, 0xf8, 1, 0], &[0; 38]]
            .concat(),
    );
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    // Each cluster is followed by itself.
    for cluster in 0..64_usize {
        let (at, value) = (512 + cluster * 3 / 2, cluster as u16);
        let pair = u16::from_le_bytes([disk[at], disk[at + 1]]);
        let pair = if cluster % 2 == 1 { pair & 0xf | value << 4 } else { pair & 0xf000 | value };
        disk[at..at + 2].copy_from_slice(&pair.to_le_bytes());
    }
    let entry = |name: &[u8; 11], kind: u8, first: u16| {
        [&name[..], &[kind], &[0; 14], &first.to_le_bytes(), &0xffff_fff0_u32.to_le_bytes()].concat()
    };
    let folder =
        [entry(b"FOLDER     ", 0x10, 2), entry(b"FILE    TXT", 0, 3), entry(b"BAD     TXT", 0, 900)].concat();
    disk[1024..1024 + 96].copy_from_slice(&folder);
    disk[1536..1536 + 96].copy_from_slice(&folder);
    let limits = Limits { bytes: 8 << 20, ..Limits::default() };
    let message = open(Format::Disk, disk.into(), &limits);
    assert!(message.parts.len() <= 8, "{:?}", listed(&message));
    let over = [DefectKind::Over(Limit::Bytes), DefectKind::Over(Limit::Ratio), DefectKind::TruncatedArchive];
    assert!(message.defects.iter().all(|defect| over.contains(&defect.kind)), "{:?}", message.defects);
}

/// A disk that claims terabytes costs what is stored of it.
#[test]
fn virtual_disks_cost_what_is_stored() {
    let mut file = vec![0; 4096];
    file[..8].copy_from_slice(b"conectix");
    file[16..24].copy_from_slice(&be64(512));
    file[48..56].copy_from_slice(&be64(2 << 40));
    file[60..64].copy_from_slice(&be32(3));
    file[512..520].copy_from_slice(b"cxsparse");
    file[528..536].copy_from_slice(&be64(1536));
    file[540..544].copy_from_slice(&be32(1 << 20));
    file[544..548].copy_from_slice(&be32(2 << 20));
    file[1536..].fill(0xff);
    let message = open(Format::VirtualDisk, file.clone().into(), &Limits::default());
    assert_eq!(listed(&message), (vec![], vec![DefectKind::NotOpened]));
    file[60..64].copy_from_slice(&be32(4));
    let message = open(Format::VirtualDisk, file.into(), &Limits::default());
    assert_eq!(listed(&message).1, [DefectKind::TruncatedArchive, DefectKind::NotOpened]);
}

#[test]
fn uuencode_in_a_file_of_its_own() {
    let message = open(Format::Encoded, "begin 644 f.txt\n#0V%T\n`\nend\n".into(), &Limits::default());
    assert_eq!(listed(&message), (vec!["f.txt=Cat".into()], vec![]));
    let message = open(Format::Encoded, "begin 644 f.txt\n#0V%T\n".into(), &Limits::default());
    assert_eq!(listed(&message).1, [DefectKind::BadUuencode]);
    let message = open(Format::Encoded, "begin 644".into(), &Limits::default());
    assert_eq!(listed(&message).1, [DefectKind::BadArchive]);
}

/// A web page saved as one file is a mail without the fields that mail must have.
#[test]
fn pages_saved_as_one_file() {
    let page = "From: <Saved by Blink>\r\nSnapshot-Content-Location: https://example.com/\r\nSubject: x\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/related; type=\"text/html\"; boundary=\"--b--\"\r\n\r\n\r\n----b--\r\nContent-Type: text/html\r\n\
        Content-Transfer-Encoding: quoted-printable\r\nContent-Location: https://example.com/\r\n\r\n<html>=41</html>\r\n\
        ----b--\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n----b----\r\n";
    let attached = make::base64_mail("page.mhtml", page.as_bytes());
    let message = gatepost_unpack::read(attached.into(), &Limits::default());
    for body in ["<html>A</html>", "hello"] {
        assert!(message.parts.iter().any(|part| part.body == body.as_bytes()), "{:?}", listed(&message));
    }
}
