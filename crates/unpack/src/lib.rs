//! Containers opened: a message in, and one flat list of everything that lies in it out.
//!
//! [`read`] reads the message and then walks the growing list of parts. Every part that is an archive, a compressed
//! file or a mail gives its members as further parts, and those are walked in their turn; nothing recurses. One
//! [`Budget`] pays for everything, so a bomb costs what the limits allow and is noted as a defect.
//!
//! [`Reading`] is the same in two steps, of which the second, that which unpacks, may be done by another process
//! ([`transfer`]).
//!
//! What opens a part is chosen by its content alone. One that several programs would open as different things, such as
//! a zip behind a gzip file, is opened as all of them. Damaged containers yield what can be read, and defects. Members
//! that are stored as they are stay slices of the container: nothing is copied that need not be.

mod ace;
mod apple;
mod ar;
mod arc;
mod arj;
mod bits;
mod cab;
mod card;
mod cfb;
mod chm;
mod codec;
mod compressed;
mod cpio;
mod crypto;
mod disc;
mod disk;
mod encoded;
pub mod fields;
mod gzip;
mod html;
mod installshield;
pub mod layout;
mod lha;
mod lzh;
mod lzop;
mod lzw;
mod lzx;
mod mbox;
mod msi;
mod mszip;
mod names;
mod office;
mod opening;
mod outlook;
mod passwords;
mod pdf;
#[allow(dead_code)]
mod pieces;
mod polyglot;
mod qr;
mod quantum;
mod rar;
mod reading;
mod rpm;
mod script;
mod sevenz;
mod shortcut;
mod single;
mod szdd;
mod tar;
pub mod transfer;
mod zip;
mod zoo;

use bytes::Bytes;
use gatepost_mail::{Budget, DefectKind, FileKind, FileType, Limit, Limits, Message, Origin, Part, PartId};

use opening::{Opening, Root, Stop};
use passwords::Passwords;
pub use reading::Reading;

/// Reads a message and everything that it contains.
pub fn read(raw: Bytes, limits: &Limits) -> Message {
    Reading::mail(raw, limits).finish()
}

/// Reads one file that may be no mail, and everything that it contains. The file as a whole is a part, under its name if
/// it has one. One that begins like a header is read as a mail besides: what stands there need not look like mail's to
/// us, and its attachments are found in no other way.
pub fn read_file(file: Bytes, name: Option<&str>, limits: &Limits) -> Message {
    Reading::file(file, name, limits).finish()
}

/// Reads one file as `format`, whatever it is, and everything that it contains. `parts[0]` of the result is the file.
pub fn open(format: Format, file: Bytes, limits: &Limits) -> Message {
    let mut budget = Budget::new(limits);
    let mut message = Message::unread(file.clone());
    message.push(Part { parent: None, ..Part::new(PartId(0), 0, Origin::Embedded, file) });
    let mut roots = Roots::new(&message);
    roots.open(format, &mut message, PartId(0), &mut budget);
    walk(&mut message, &mut budget, &mut roots, 1, false);
    message
}

/// A kind of container that can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Zip archives, and all that are zips inside: office documents, jar, apk, self-extracting programs.
    Zip,
    /// 7z, self-extracting programs too.
    SevenZip,
    /// gzip.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// LZMA alone.
    Lzma,
    /// lzip.
    Lzip,
    /// lzop.
    Lzop,
    /// lz4, its legacy format too.
    Lz4,
    /// Zstandard.
    Zstd,
    /// Unix compress.
    Compress,
    /// tar.
    Tar,
    /// Mail in a file of its own or in an archive.
    Mail,
    /// Mailboxes.
    Mbox,
    /// RAR.
    Rar,
    /// Cabinets.
    Cab,
    /// LHA.
    Lha,
    /// ARJ.
    Arj,
    /// Zoo.
    Zoo,
    /// ARC.
    Arc,
    /// ACE.
    Ace,
    /// Compiled HTML help.
    Chm,
    /// SZDD and KWAJ, of Microsoft's COMPRESS.
    Szdd,
    /// Setup programs and cabinets of InstallShield.
    InstallShield,
    /// cpio.
    Cpio,
    /// ar, and Debian packages.
    Ar,
    /// RPM packages.
    Rpm,
    /// Images of optical discs: ISO 9660 and UDF.
    Disc,
    /// Images of disks, with partitions or without: FAT, exFAT, NTFS, HFS+.
    Disk,
    /// Virtual disks: VHD and VHDX.
    VirtualDisk,
    /// Apple's disk images.
    Dmg,
    /// AppleSingle and AppleDouble.
    AppleFile,
    /// MacBinary.
    MacBinary,
    /// uuencode, yEnc and BinHex in files of their own.
    Encoded,
    /// Attachments of Outlook, `winmail.dat`.
    Tnef,
    /// Messages of Outlook.
    Msg,
    /// Installer packages of Windows.
    Msi,
    /// Calendars and visiting cards.
    Card,
    /// PDF.
    Pdf,
    /// HTML and SVG.
    Html,
    /// Scripts, for the files that they carry.
    Script,
    /// Shortcuts.
    Shortcut,
    /// QR codes in pictures.
    Qr,
    /// Files of two types at once.
    Polyglot,
    /// Office documents in compound files (doc, xls, ppt), macros of later ones.
    Ole,
    /// Open XML and OpenDocument files: what the members of the zip mean.
    Package,
    /// Office documents as one file of XML.
    FlatXml,
    /// The wrapper of objects and macros in Office's XML and MHTML.
    ActiveMime,
    /// Rich text.
    Rtf,
    /// OneNote sections.
    OneNote,
    /// Sheets in SYLK.
    Sylk,
    /// Comma-separated values.
    Csv,
    /// Pages and documents in the form of mail.
    Mhtml,
}

impl Format {
    /// All of them, in the order in which they are tried on a part.
    pub const ALL: &[Format] = &[
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

    /// Its name, the usual extension.
    pub const fn name(self) -> &'static str {
        self.entry().name
    }

    /// The formats of a part, by its content; for an ordinary one this is one at most.
    pub fn of(part: &Part) -> Vec<Format> {
        Format::ALL.iter().copied().filter(|format| (format.entry().is)(&part.body, part.detected)).collect()
    }

    /// Whether opening it takes no more than reading mail does: it is looked into where the message is read, and never
    /// makes a message one that is handed to a worker.
    const fn is_light(self) -> bool {
        matches!(self, Format::Mail | Format::Mbox | Format::Html | Format::Card | Format::Csv)
    }

    /// The table of formats: one line for each.
    const fn entry(self) -> Entry {
        match self {
            Format::Zip => Entry { name: "zip", is: zip::is, open: zip::open },
            Format::SevenZip => Entry { name: "7z", is: sevenz::is, open: sevenz::open },
            Format::Gzip => Entry { name: "gz", is: gzip::is, open: gzip::open },
            Format::Bzip2 => Entry { name: "bz2", is: compressed::is_bzip2, open: compressed::open_bzip2 },
            Format::Xz => Entry { name: "xz", is: compressed::is_xz, open: compressed::open_xz },
            Format::Lzma => Entry { name: "lzma", is: compressed::is_lzma, open: compressed::open_lzma },
            Format::Lzip => Entry { name: "lz", is: compressed::is_lzip, open: compressed::open_lzip },
            Format::Lzop => Entry { name: "lzo", is: lzop::is, open: lzop::open },
            Format::Lz4 => Entry { name: "lz4", is: compressed::is_lz4, open: compressed::open_lz4 },
            Format::Zstd => Entry { name: "zst", is: compressed::is_zstd, open: compressed::open_zstd },
            Format::Compress => {
                Entry { name: "Z", is: compressed::is_compress, open: compressed::open_compress }
            }
            Format::Tar => Entry { name: "tar", is: tar::is, open: tar::open },
            Format::Mail => Entry { name: "eml", is: is_mail, open: open_mail },
            Format::Rar => Entry { name: "rar", is: rar::is, open: rar::open },
            Format::Cab => Entry { name: "cab", is: cab::is, open: cab::open },
            Format::Lha => Entry { name: "lha", is: lha::is, open: lha::open },
            Format::Arj => Entry { name: "arj", is: arj::is, open: arj::open },
            Format::Zoo => Entry { name: "zoo", is: zoo::is, open: zoo::open },
            Format::Arc => Entry { name: "arc", is: arc::is, open: arc::open },
            Format::Ace => Entry { name: "ace", is: ace::is, open: ace::open },
            Format::Chm => Entry { name: "chm", is: chm::is, open: chm::open },
            Format::Szdd => Entry { name: "szdd", is: szdd::is, open: szdd::open },
            Format::InstallShield => {
                Entry { name: "installshield", is: installshield::is, open: installshield::open }
            }
            Format::Mbox => Entry { name: "mbox", is: mbox::is, open: mbox::open },
            Format::Cpio => Entry { name: "cpio", is: cpio::is, open: cpio::open },
            Format::Ar => Entry { name: "ar", is: ar::is, open: ar::open },
            Format::Rpm => Entry { name: "rpm", is: rpm::is, open: rpm::open },
            Format::Disc => Entry { name: "iso", is: disc::is, open: disc::open },
            Format::Disk => Entry { name: "img", is: disk::is, open: disk::open },
            Format::VirtualDisk => Entry { name: "vhd", is: disk::is_vhd, open: disk::open_vhd },
            Format::Dmg => Entry { name: "dmg", is: disk::is_dmg, open: disk::open_dmg },
            Format::AppleFile => Entry { name: "applefile", is: apple::is, open: apple::open },
            Format::MacBinary => {
                Entry { name: "macbin", is: apple::is_mac_binary, open: apple::open_mac_binary }
            }
            Format::Encoded => Entry { name: "uu", is: encoded::is, open: encoded::open },
            Format::Tnef => Entry { name: "tnef", is: outlook::tnef::is, open: outlook::tnef::open },
            Format::Msg => Entry { name: "msg", is: outlook::is_msg, open: outlook::open_msg },
            Format::Msi => Entry { name: "msi", is: msi::is, open: msi::open },
            Format::Card => Entry { name: "ics", is: card::is, open: card::open },
            Format::Pdf => Entry { name: "pdf", is: pdf::is, open: pdf::open },
            Format::Html => Entry { name: "html", is: html::is, open: html::open },
            Format::Script => Entry { name: "js", is: script::is, open: script::open },
            Format::Shortcut => Entry { name: "lnk", is: shortcut::is, open: shortcut::open },
            Format::Qr => Entry { name: "qr", is: qr::is, open: qr::open },
            Format::Polyglot => Entry { name: "polyglot", is: polyglot::is, open: polyglot::open },
            Format::Ole => Entry { name: "ole", is: office::ole::is, open: office::ole::open },
            Format::Package => Entry { name: "ooxml", is: office::package::is, open: office::package::open },
            Format::FlatXml => Entry { name: "xml", is: office::flat::is, open: office::flat::open },
            Format::ActiveMime => {
                Entry { name: "mso", is: office::flat::is_wrapped, open: office::flat::open_wrapped }
            }
            Format::Rtf => Entry { name: "rtf", is: office::rtf::is, open: office::rtf::open },
            Format::OneNote => Entry { name: "one", is: office::onenote::is, open: office::onenote::open },
            Format::Sylk => Entry { name: "slk", is: office::sheet::is_sylk, open: office::sheet::open_sylk },
            Format::Csv => Entry { name: "csv", is: office::sheet::is_csv, open: office::sheet::open_csv },
            Format::Mhtml => Entry { name: "mht", is: office::mhtml::is, open: office::mhtml::open },
        }
    }
}

struct Entry {
    name: &'static str,
    is: fn(&[u8], FileType) -> bool,
    open: fn(&mut Opening) -> Result<(), Stop>,
}

fn is_mail(body: &[u8], detected: FileType) -> bool {
    detected == FileType::EML
        || (matches!(detected, FileType::ZIP | FileType::DATA) && FileType::begins_as_mail(body))
}

fn open_mail(opening: &mut Opening) -> Result<(), Stop> {
    opening.read_mail();
    Ok(())
}

/// Opens every part from `first` on, and what comes out of them. `light`: only up to the first that takes more than
/// reading mail does, whose place it gives.
fn walk(
    message: &mut Message,
    budget: &mut Budget,
    roots: &mut Roots,
    first: usize,
    light: bool,
) -> Option<usize> {
    let mut at = first;
    while at < message.parts.len() && budget.check_time().is_ok() {
        let part = &message.parts[at];
        if !part.container && !part.encrypted {
            let (id, detected) = (PartId(at), part.detected);
            let formats = Format::of(part);
            if light && !formats.iter().all(|format| format.is_light()) {
                return Some(at);
            }
            for format in formats {
                roots.open(format, message, id, budget);
            }
            if is_closed(message, id) {
                message.defect(DefectKind::NotOpened, id, detected.name);
            }
        }
        at += 1;
    }
    for left in at..message.parts.len() {
        if !message.parts[left].container {
            let detail = "over the limit of time; not looked into";
            message.defect(DefectKind::Over(Limit::Time), PartId(left), detail);
        }
    }
    None
}

/// Whether a part holds others that nobody here takes out.
fn is_closed(message: &Message, id: PartId) -> bool {
    const OPENED: &[FileType] = &[
        FileType::ZIP,
        FileType::JAR,
        FileType::APK,
        FileType::SEVENZIP,
        FileType::GZIP,
        FileType::TAR,
        FileType::RAR,
        FileType::CAB,
        FileType::LHA,
        FileType::ARJ,
        FileType::ZOO,
        FileType::ARC,
        FileType::ACE,
        FileType::SZDD,
        FileType::CPIO,
        FileType::AR,
        FileType::DEB,
        FileType::RPM,
        FileType::ISO,
        FileType::IMG,
        FileType::VHD,
        FileType::VHDX,
        FileType::DMG,
        FileType::APPLEFILE,
        FileType::MACBINARY,
        FileType::UUENCODE,
        FileType::YENC,
        FileType::BINHEX,
        FileType::TNEF,
        FileType::BZIP2,
        FileType::XZ,
        FileType::LZMA,
        FileType::LZIP,
        FileType::LZOP,
        FileType::LZ4,
        FileType::ZSTD,
        FileType::COMPRESS,
    ];
    let detected = message.part(id).detected;
    let holds = matches!(detected.kind, FileKind::Archive | FileKind::Compressed);
    holds && !OPENED.contains(&detected)
}

/// For every part, the attachment that it came out of in the end, and what was made of that so far.
struct Roots {
    of: Vec<usize>,
    roots: Vec<Root>,
    passwords: Passwords,
}

impl Roots {
    fn new(message: &Message) -> Roots {
        let root = |part: &Part| Root { packed: part.body.len() as u64, ..Root::default() };
        let roots = message.parts.iter().map(root).collect();
        Roots { of: (0..message.parts.len()).collect(), roots, passwords: Passwords::default() }
    }

    fn open(&mut self, format: Format, message: &mut Message, id: PartId, budget: &mut Budget) {
        let root = self.of[id.0];
        let mut opening = Opening::new(message, id, budget, &mut self.roots[root], &mut self.passwords);
        // What stopped it is noted as a defect.
        let _stopped: Result<(), Stop> = (format.entry().open)(&mut opening);
        self.of.resize(message.parts.len(), root);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn files_are_read_as_what_they_are_and_as_mail_where_they_may_be_some() {
        let mail =
            "Subject: x\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\none\r\n--x--\r\n";
        for (file, bodies) in [
            ("hello\n", &["hello\n"][..]),
            ("", &[""]),
            (&format!("X-A: b\r\n{mail}"), &["", "one", ""]),
            (mail, &["", "one", ""]),
            ("not a field\nX: y\n", &["not a field\nX: y\n"]),
        ] {
            let message = read_file(file.to_owned().into(), Some("a.txt"), &Limits::default());
            let whole = message.parts.last().expect("a part");
            assert_eq!((whole.name(), &whole.body[..]), (Some("a.txt"), file.as_bytes()), "{file:?}");
            assert_eq!(message.parts.len(), bodies.len(), "{file:?}");
            for (part, body) in message.parts.iter().zip(bodies).filter(|(_, body)| !body.is_empty()) {
                assert_eq!(part.body, body.as_bytes(), "{file:?}");
            }
        }
        let zip = b"PK\x03\x04 not really a zip".as_slice();
        let message = read_file(Bytes::from_static(zip), None, &Limits::default());
        assert_eq!(message.parts[0].detected, FileType::ZIP);
    }

    /// What is not looked into because the time is up is told of, part by part.
    #[test]
    fn time_that_is_up_is_told() {
        let mail =
            "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\none\r\n--x\r\n\r\ntwo\r\n--x--\r\n";
        let mut message = Message::read(mail.into(), &mut Budget::new(&Limits::default()));
        let mut budget = Budget::new(&Limits { time: Duration::ZERO, ..Limits::default() });
        std::thread::sleep(Duration::from_millis(2));
        let mut roots = Roots::new(&message);
        walk(&mut message, &mut budget, &mut roots, 0, false);
        let over = message.defects.iter().filter(|defect| defect.kind == DefectKind::Over(Limit::Time));
        assert_eq!(over.map(|defect| defect.part.0).collect::<Vec<_>>(), [1, 2]);
    }
}
