//! File types by content: by magic bytes, by structure where these are shared, by the look of text.
//!
//! Names and declarations are not looked at. Detection reads a bounded number of bytes from the beginning (and the
//! end, for zip), so it costs the same for a large file as for a small one.

mod scripts;

use memchr::memmem;

/// What a file is, by its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileType {
    /// Short name, the usual extension where there is one: `zip`, `exe`, `elf`, `pdf`, `html`, `txt`, `data`.
    pub name: &'static str,
    /// Media type.
    pub mime: &'static str,
    /// Family.
    pub kind: FileKind,
}

/// Families of file types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// Plain text.
    Text,
    /// HTML or XHTML.
    Html,
    /// A picture.
    Image,
    /// Sound.
    Audio,
    /// Moving pictures.
    Video,
    /// Code for a machine: PE, ELF, Mach-O, class files.
    Executable,
    /// Code for an interpreter, and files that make a system do something when opened.
    Script,
    /// Several files in one.
    Archive,
    /// One file, compressed.
    Compressed,
    /// An office or PDF document.
    Document,
    /// A mail message or mailbox.
    Message,
    /// Nothing known.
    Data,
}

impl FileKind {
    /// All families.
    pub const ALL: [FileKind; 12] = [
        FileKind::Text,
        FileKind::Html,
        FileKind::Image,
        FileKind::Audio,
        FileKind::Video,
        FileKind::Executable,
        FileKind::Script,
        FileKind::Archive,
        FileKind::Compressed,
        FileKind::Document,
        FileKind::Message,
        FileKind::Data,
    ];

    /// Its name in configuration and records, lower case.
    pub const fn name(self) -> &'static str {
        match self {
            FileKind::Text => "text",
            FileKind::Html => "html",
            FileKind::Image => "image",
            FileKind::Audio => "audio",
            FileKind::Video => "video",
            FileKind::Executable => "executable",
            FileKind::Script => "script",
            FileKind::Archive => "archive",
            FileKind::Compressed => "compressed",
            FileKind::Document => "document",
            FileKind::Message => "message",
            FileKind::Data => "data",
        }
    }

    /// The family of that name.
    pub fn by_name(name: &str) -> Option<FileKind> {
        FileKind::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }
}

macro_rules! types {
    ($($constant:ident $name:literal $mime:literal $kind:ident $meaning:literal;)*) => {
        impl FileType {
            $(
                #[doc = $meaning]
                pub const $constant: FileType =
                    FileType { name: $name, mime: $mime, kind: FileKind::$kind };
            )*

            /// All types that are known, with what they are in a few words.
            pub const ALL: &[(FileType, &str)] = &[$((FileType::$constant, $meaning),)*];
        }
    };
}

types! {
    DATA "data" "application/octet-stream" Data "Nothing known";
    TEXT "txt" "text/plain" Text "Plain text";
    HTML "html" "text/html" Html "HTML";
    XHTML "xhtml" "application/xhtml+xml" Html "XHTML";
    XML "xml" "application/xml" Text "XML";
    VCARD "vcf" "text/vcard" Text "Visiting card";
    CALENDAR "ics" "text/calendar" Text "Calendar data";
    PEM "pem" "application/x-pem-file" Text "Key or certificate in PEM";
    PGP "pgp" "application/pgp-encrypted" Text "OpenPGP in ASCII armour";
    PKCS7 "p7m" "application/pkcs7-mime" Data "PKCS #7 or CMS (S/MIME)";

    EXE "exe" "application/vnd.microsoft.portable-executable" Executable "Windows program (PE)";
    DLL "dll" "application/vnd.microsoft.portable-executable" Executable "Windows library (PE)";
    DOS "dos" "application/x-dosexec" Executable "DOS or 16-bit Windows program (MZ)";
    ELF "elf" "application/x-elf" Executable "Program or library of Linux and kin (ELF)";
    MACHO "macho" "application/x-mach-binary" Executable "Program or library of macOS (Mach-O)";
    CLASS "class" "application/java-vm" Executable "Java class";
    DEX "dex" "application/vnd.android.dex" Executable "Android code";
    WASM "wasm" "application/wasm" Executable "WebAssembly";
    SWF "swf" "application/vnd.adobe.flash.movie" Executable "Flash";

    SCRIPT "sh" "text/x-shellscript" Script "Script that names its interpreter (#!)";
    BATCH "bat" "text/x-msdos-batch" Script "Batch file of Windows";
    PHP "php" "text/x-php" Script "PHP";
    JS "js" "text/javascript" Script "JavaScript";
    VBS "vbs" "text/vbscript" Script "VBScript";
    WSF "wsf" "text/x-wsf" Script "Script file of Windows (XML)";
    HTA "hta" "application/hta" Script "HTML application of Windows";
    PS1 "ps1" "text/x-powershell" Script "PowerShell";
    AUTOIT "a3x" "application/x-autoit" Script "AutoIt script";
    DESKTOP "desktop" "application/x-desktop" Script "Desktop entry of Linux";
    LNK "lnk" "application/x-ms-shortcut" Script "Shortcut of Windows";
    URL "url" "application/x-mswinurl" Script "Internet shortcut";
    REG "reg" "text/x-ms-regedit" Script "Registry file of Windows";
    CHM "chm" "application/vnd.ms-htmlhelp" Script "Compiled HTML help";
    HLP "hlp" "application/winhlp" Script "Help file of old Windows";

    ZIP "zip" "application/zip" Archive "Zip archive";
    JAR "jar" "application/java-archive" Archive "Java archive";
    APK "apk" "application/vnd.android.package-archive" Archive "Android package";
    RAR "rar" "application/vnd.rar" Archive "RAR archive";
    SEVENZIP "7z" "application/x-7z-compressed" Archive "7-Zip archive";
    TAR "tar" "application/x-tar" Archive "Tar archive";
    CPIO "cpio" "application/x-cpio" Archive "Cpio archive";
    AR "ar" "application/x-archive" Archive "Ar archive";
    DEB "deb" "application/vnd.debian.binary-package" Archive "Debian package";
    RPM "rpm" "application/x-rpm" Archive "RPM package";
    CAB "cab" "application/vnd.ms-cab-compressed" Archive "Cabinet archive";
    LHA "lha" "application/x-lzh-compressed" Archive "LHA archive";
    ARJ "arj" "application/x-arj" Archive "ARJ archive";
    ZOO "zoo" "application/x-zoo" Archive "Zoo archive";
    ARC "arc" "application/x-arc" Archive "ARC archive";
    ACE "ace" "application/x-ace-compressed" Archive "ACE archive";
    ALZ "alz" "application/x-alz" Archive "ALZip archive";
    EGG "egg" "application/x-egg" Archive "EGG archive of ALZip";
    XAR "xar" "application/x-xar" Archive "XAR archive or macOS package";
    ISO "iso" "application/x-iso9660-image" Archive "Image of an optical disc";
    IMG "img" "application/x-raw-disk-image" Archive "Image of a disk";
    DMG "dmg" "application/x-apple-diskimage" Archive "Disk image of Apple's";
    VHD "vhd" "application/x-vhd" Archive "Virtual disk (VHD)";
    VHDX "vhdx" "application/x-vhdx" Archive "Virtual disk (VHDX)";
    WIM "wim" "application/x-ms-wim" Archive "Windows image";
    SQUASHFS "squashfs" "application/vnd.squashfs" Archive "Squashfs image";
    TNEF "tnef" "application/ms-tnef" Archive "Attachments of Outlook (winmail.dat)";
    UUENCODE "uu" "text/x-uuencode" Archive "Uuencoded file";
    BINHEX "hqx" "application/mac-binhex40" Archive "BinHex file";
    YENC "yenc" "text/x-yenc" Archive "File in yEnc";
    APPLEFILE "applefile" "application/applefile" Archive "File of a Macintosh with its resources (AppleSingle, AppleDouble)";
    MACBINARY "macbin" "application/x-macbinary" Archive "File of a Macintosh with its resources (MacBinary)";

    GZIP "gz" "application/gzip" Compressed "Compressed by gzip";
    BZIP2 "bz2" "application/x-bzip2" Compressed "Compressed by bzip2";
    XZ "xz" "application/x-xz" Compressed "Compressed by xz";
    LZMA "lzma" "application/x-lzma" Compressed "Compressed by lzma";
    ZSTD "zst" "application/zstd" Compressed "Compressed by zstd";
    LZ4 "lz4" "application/x-lz4" Compressed "Compressed by lz4";
    COMPRESS "Z" "application/x-compress" Compressed "Compressed by compress";
    LZIP "lz" "application/x-lzip" Compressed "Compressed by lzip";
    SZDD "szdd" "application/x-ms-compress" Compressed "Compressed by COMPRESS of Microsoft (SZDD, KWAJ)";
    LZOP "lzo" "application/x-lzop" Compressed "Compressed by lzop";

    OLE "ole" "application/x-ole-storage" Document "OLE file: Word, Excel, PowerPoint up to 2003, Outlook";
    MSI "msi" "application/x-msi" Executable "Windows installer package";
    DOCX "docx" "application/vnd.openxmlformats-officedocument.wordprocessingml.document" Document "Word document";
    DOCM "docm" "application/vnd.ms-word.document.macroenabled.12" Document "Word document with macros";
    XLSX "xlsx" "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" Document "Excel sheet";
    XLSM "xlsm" "application/vnd.ms-excel.sheet.macroenabled.12" Document "Excel sheet with macros";
    PPTX "pptx" "application/vnd.openxmlformats-officedocument.presentationml.presentation" Document "PowerPoint slides";
    PPTM "pptm" "application/vnd.ms-powerpoint.presentation.macroenabled.12" Document "PowerPoint slides with macros";
    OOXML "ooxml" "application/vnd.openxmlformats-package" Document "Other package of Open XML";
    ODT "odt" "application/vnd.oasis.opendocument.text" Document "OpenDocument text";
    ODS "ods" "application/vnd.oasis.opendocument.spreadsheet" Document "OpenDocument sheet";
    ODP "odp" "application/vnd.oasis.opendocument.presentation" Document "OpenDocument slides";
    EPUB "epub" "application/epub+zip" Document "Electronic book";
    OFFICEXML "officexml" "application/xml" Document "Office document of 2003 as XML";
    PDF "pdf" "application/pdf" Document "PDF";
    RTF "rtf" "application/rtf" Document "Rich text";
    PS "ps" "application/postscript" Document "PostScript";
    ONENOTE "one" "application/onenote" Document "OneNote section";
    SYLK "slk" "text/spreadsheet" Document "Sheet as symbolic link (SYLK)";
    MDB "mdb" "application/vnd.ms-access" Document "Access database";
    SQLITE "sqlite" "application/vnd.sqlite3" Data "SQLite database";

    EML "eml" "message/rfc822" Message "Mail message";
    MBOX "mbox" "application/mbox" Message "Mailbox";
    MULTIPART "mime" "multipart/mixed" Message "Body of a multipart";

    PNG "png" "image/png" Image "PNG";
    JPEG "jpg" "image/jpeg" Image "JPEG";
    GIF "gif" "image/gif" Image "GIF";
    BMP "bmp" "image/bmp" Image "Windows bitmap";
    TIFF "tif" "image/tiff" Image "TIFF";
    WEBP "webp" "image/webp" Image "WebP";
    HEIF "heic" "image/heif" Image "HEIF or AVIF";
    ICO "ico" "image/vnd.microsoft.icon" Image "Icon or cursor";
    PSD "psd" "image/vnd.adobe.photoshop" Image "Photoshop";
    EMF "emf" "image/emf" Image "Enhanced metafile";
    WMF "wmf" "image/wmf" Image "Windows metafile";
    SVG "svg" "image/svg+xml" Image "SVG";

    MP3 "mp3" "audio/mpeg" Audio "MP3";
    OGG "ogg" "audio/ogg" Audio "Ogg";
    WAV "wav" "audio/vnd.wave" Audio "WAV";
    FLAC "flac" "audio/flac" Audio "FLAC";
    MIDI "mid" "audio/midi" Audio "MIDI";
    AMR "amr" "audio/amr" Audio "AMR";
    MP4 "mp4" "video/mp4" Video "MP4 or QuickTime";
    AVI "avi" "video/vnd.avi" Video "AVI";
    MKV "mkv" "video/matroska" Video "Matroska or WebM";
    ASF "wmv" "video/x-ms-asf" Video "Windows media";
    FLV "flv" "video/x-flv" Video "Flash video";
    MPEG "mpg" "video/mpeg" Video "MPEG";
}

impl FileType {
    /// The type of that name, compared without case: `zip`, `exe`.
    pub fn by_name(name: &str) -> Option<FileType> {
        FileType::ALL.iter().map(|(known, _)| *known).find(|known| known.name.eq_ignore_ascii_case(name))
    }

    /// Whether these bytes begin with the header of a mail, whatever follows: binary content, or a zip.
    pub fn begins_as_mail(content: &[u8]) -> bool {
        mail(&content[..content.len().min(4096)]) == Some(FileType::EML)
    }

    /// Whether this is an image of an optical disc, whatever else it is: a descriptor stands in its 16th sector, of 2,048
    /// bytes or raw.
    pub fn is_disc(content: &[u8]) -> bool {
        const PLACES: [usize; 6] =
            [0x8001, 2352 * 16 + 17, 2352 * 16 + 25, 2336 * 16 + 9, 2448 * 16 + 17, 2448 * 16 + 25];
        let mark = |at: &usize| {
            content.get(*at..).is_some_and(|rest| rest.starts_with(b"CD001") || rest.starts_with(b"BEA01"))
        };
        PLACES.iter().any(mark)
    }

    /// Whether this is an image of a disk, whatever else it is: one with partitions, or with FAT, exFAT, NTFS or HFS+.
    pub fn is_disk(content: &[u8]) -> bool {
        let has = |at: usize, mark: &[u8]| content.get(at..).is_some_and(|rest| rest.starts_with(mark));
        if has(512, b"EFI PART")
            || has(512, b"PM\0\0\0\0")
            || has(1024, b"H+\0\x04")
            || has(1024, b"HX\0\x05")
        {
            return true;
        }
        // An old HFS volume that holds an HFS+ one.
        if has(1024, b"BD") && has(1024 + 124, b"H+") {
            return true;
        }
        let jump = matches!(content.first(), Some(0xeb | 0xe9 | 0x49));
        if jump && (has(3, b"NTFS    ") || has(3, b"EXFAT   ") || fat(content).is_some()) {
            return true;
        }
        has(510, b"\x55\xaa") && partitions(content)
    }

    /// What these bytes are.
    pub fn detect(content: &[u8]) -> FileType {
        if content.is_empty() {
            return FileType::TEXT;
        }
        by_first_word(content)
            .or_else(|| by_magic(content))
            .or_else(|| image(content))
            .or_else(|| old_tar(content))
            .or_else(|| by_loose_mark(content))
            .or_else(|| zip_behind_something(content))
            .or_else(|| by_text(content))
            .or_else(|| by_weak_magic(content))
            .or_else(|| lzma(content))
            .unwrap_or(FileType::DATA)
    }
}

/// Bytes that stand at a fixed place, and the type they tell. Programs and what runs them come first.
const MAGIC: &[(usize, &[u8], FileType)] = &[
    (0, b"\x7fELF", FileType::ELF),
    (0, b"\xfe\xed\xfa\xce", FileType::MACHO),
    (0, b"\xfe\xed\xfa\xcf", FileType::MACHO),
    (0, b"\xce\xfa\xed\xfe", FileType::MACHO),
    (0, b"\xcf\xfa\xed\xfe", FileType::MACHO),
    (0, b"dex\n0", FileType::DEX),
    (0, b"\0asm", FileType::WASM),
    (0, b"\x4c\0\0\0\x01\x14\x02\0", FileType::LNK),
    (0, b"ITSF", FileType::CHM),
    (0, b"\xa3\x48\x4b\xbe\x98\x6c\x4a\xa9\x99\x4c\x53\x0a\x86\xd6\x48\x7d", FileType::AUTOIT),
    (0, b"\x3f\x5f\x03\0", FileType::HLP),
    (0, b"Rar!\x1a\x07", FileType::RAR),
    (0, b"RE\x7e\x5e", FileType::RAR),
    (0, b"7z\xbc\xaf\x27\x1c", FileType::SEVENZIP),
    (0, b"\x1f\x8b", FileType::GZIP),
    (0, b"\xfd7zXZ\0", FileType::XZ),
    (0, b"\x28\xb5\x2f\xfd", FileType::ZSTD),
    (0, b"\x04\x22\x4d\x18", FileType::LZ4),
    (0, b"\x02\x21\x4c\x18", FileType::LZ4),
    (0, b"\x1f\x9d", FileType::COMPRESS),
    (0, b"LZIP", FileType::LZIP),
    (0, b"\x89LZO\0\r\n\x1a\n", FileType::LZOP),
    (0, b"MSCF\0\0\0\0", FileType::CAB),
    (0, b"ISc(", FileType::CAB),
    (0, b"SZDD\x88\xf0\x27\x33", FileType::SZDD),
    (0, b"SZ \x88\xf0\x27\x33\xd1", FileType::SZDD),
    (0, b"KWAJ\x88\xf0\x27\xd1", FileType::SZDD),
    (257, b"ustar", FileType::TAR),
    (0, b"070701", FileType::CPIO),
    (0, b"070702", FileType::CPIO),
    (0, b"070707", FileType::CPIO),
    (0, b"\xc7\x71", FileType::CPIO),
    (0, b"\x71\xc7", FileType::CPIO),
    (0, b"!<arch>\ndebian-binary", FileType::DEB),
    (0, b"!<arch>\n", FileType::AR),
    (0, b"\xed\xab\xee\xdb", FileType::RPM),
    (0x8001, b"CD001", FileType::ISO),
    (0x8001, b"BEA01", FileType::ISO),
    (0, b"\0\x05\x16\0\0\x02\0\0", FileType::APPLEFILE),
    (0, b"\0\x05\x16\x07\0\x02\0\0", FileType::APPLEFILE),
    (0, b"\0\x05\x16\0\0\x01\0\0", FileType::APPLEFILE),
    (0, b"\0\x05\x16\x07\0\x01\0\0", FileType::APPLEFILE),
    (0, b"=ybegin ", FileType::YENC),
    (20, b"\xdc\xa7\xc4\xfd", FileType::ZOO),
    (7, b"**ACE**", FileType::ACE),
    (0, b"ALZ\x01", FileType::ALZ),
    (0, b"EGGA", FileType::EGG),
    (0, b"xar!", FileType::XAR),
    (0, b"conectix", FileType::VHD),
    (0, b"vhdxfile", FileType::VHDX),
    (0, b"MSWIM\0\0\0", FileType::WIM),
    (0, b"hsqs", FileType::SQUASHFS),
    (0, b"\x78\x9f\x3e\x22", FileType::TNEF),
    (0, b"{\\rt", FileType::RTF),
    (0, b"%!PS", FileType::PS),
    (0, b"\x04%!PS", FileType::PS),
    (0, b"\xc5\xd0\xd3\xc6", FileType::PS),
    (0, b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", FileType::ONENOTE),
    (4, b"Standard Jet DB\0", FileType::MDB),
    (4, b"Standard ACE DB\0", FileType::MDB),
    (0, b"SQLite format 3\0", FileType::SQLITE),
    (0, b"\x89PNG\r\n\x1a\n", FileType::PNG),
    (0, b"\xff\xd8\xff", FileType::JPEG),
    (0, b"GIF87a", FileType::GIF),
    (0, b"GIF89a", FileType::GIF),
    (0, b"II*\0", FileType::TIFF),
    (0, b"MM\0*", FileType::TIFF),
    (0, b"8BPS\0", FileType::PSD),
    (40, b" EMF", FileType::EMF),
    (0, b"\xd7\xcd\xc6\x9a", FileType::WMF),
    (0, b"\x01\0\x09\0\0\x03", FileType::WMF),
    (0, b"ID3\x02", FileType::MP3),
    (0, b"ID3\x03", FileType::MP3),
    (0, b"ID3\x04", FileType::MP3),
    (0, b"OggS", FileType::OGG),
    (0, b"fLaC", FileType::FLAC),
    (0, b"MThd\0\0\0\x06", FileType::MIDI),
    (0, b"#!AMR", FileType::AMR),
    (0, b"\x1a\x45\xdf\xa3", FileType::MKV),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", FileType::ASF),
    (0, b"FLV\x01", FileType::FLV),
    (0, b"\0\0\x01\xba", FileType::MPEG),
    (0, b"\0\0\x01\xb3", FileType::MPEG),
];

/// Bytes too short or too common to be asked before the look of text.
const WEAK_MAGIC: &[(usize, &[u8], FileType)] = &[
    (0, b"MZ", FileType::DOS),
    (0, b"ZM", FileType::DOS),
    (0, b"\0\0\x01\0", FileType::ICO),
    (0, b"\0\0\x02\0", FileType::ICO),
    (0, b"\xff\xfb", FileType::MP3),
    (0, b"\xff\xf3", FileType::MP3),
    (0, b"\xff\xf2", FileType::MP3),
];

fn by_magic(content: &[u8]) -> Option<FileType> {
    of_table(MAGIC, content)
}

fn by_weak_magic(content: &[u8]) -> Option<FileType> {
    of_table(WEAK_MAGIC, content)
}

fn of_table(table: &[(usize, &[u8], FileType)], content: &[u8]) -> Option<FileType> {
    let stands = |at: usize, magic: &[u8]| content.get(at..).is_some_and(|rest| rest.starts_with(magic));
    table.iter().find(|(at, magic, _)| stands(*at, magic)).map(|(_, _, found)| *found)
}

/// Types whose mark need not stand at the beginning, so that a program or script may bear it too.
fn by_loose_mark(content: &[u8]) -> Option<FileType> {
    let found = lha(content).or_else(|| pdf(content))?;
    let runs = |other: &FileType| matches!(other.kind, FileKind::Executable | FileKind::Script);
    let other = by_text(content).filter(runs).or_else(|| by_weak_magic(content).filter(runs));
    Some(other.unwrap_or(found))
}

fn by_first_word(content: &[u8]) -> Option<FileType> {
    match *content.first_chunk::<4>()? {
        [b'M', b'Z', _, _] => portable_executable(content),
        [0xca, 0xfe, 0xba, 0xbe] => Some(java_or_macho(content)),
        [0xd0, 0xcf, 0x11, 0xe0] => Some(ole(content)),
        [b'P', b'K', 3, 4] | [b'P', b'K', 5, 6] | [b'P', b'K', 7, 8] => Some(zip(content)),
        [b'R', b'I', b'F', b'F'] => match content.get(8..12)? {
            b"WEBP" => Some(FileType::WEBP),
            b"WAVE" => Some(FileType::WAV),
            b"AVI " => Some(FileType::AVI),
            _ => None,
        },
        [b'B', b'Z', b'h', b'1'..=b'9'] => Some(FileType::BZIP2),
        [b'F' | b'C' | b'Z', b'W', b'S', 1..=60] => Some(FileType::SWF),
        [b'B', b'M', _, _] => bitmap(content),
        [0x50..=0x5f, 0x2a, 0x4d, 0x18] => behind_skippable_frames(content),
        [0x60, 0xea, low, high] => arj(content, u16::from_le_bytes([low, high])),
        [0x1a, 1..=9, ..] => arc(content),
        [0x30, ..] => pkcs7(content),
        _ if content.get(4..8) == Some(b"ftyp") => Some(iso_media(content)),
        _ => None,
    }
}

fn le32(content: &[u8], at: usize) -> Option<usize> {
    let bytes = content.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}

fn le16(content: &[u8], at: usize) -> Option<usize> {
    content.get(at..)?.first_chunk::<2>().map(|bytes| usize::from(u16::from_le_bytes(*bytes)))
}

/// A PE file behind its DOS stub (Microsoft PE format: offset at 0x3c, characteristics behind the COFF header).
fn portable_executable(content: &[u8]) -> Option<FileType> {
    const IS_DLL: usize = 0x2000;
    let header = le32(content, 0x3c)?;
    if content.get(header..)?.starts_with(b"PE\0\0") {
        let characteristics = le16(content, header.saturating_add(22)).unwrap_or_default();
        return Some(if characteristics & IS_DLL != 0 { FileType::DLL } else { FileType::EXE });
    }
    let is_new = matches!(content.get(header..)?.get(..2), Some(b"NE" | b"LE" | b"LX"));
    is_new.then_some(FileType::DOS)
}

/// Java classes and fat Mach-O files begin alike: the next word is a version (45 and up), or a small count.
fn java_or_macho(content: &[u8]) -> FileType {
    let word =
        content.get(4..).and_then(|rest| rest.first_chunk::<4>()).map(|word| u32::from_be_bytes(*word));
    if word.is_some_and(|count| count < 43) { FileType::MACHO } else { FileType::CLASS }
}

/// An OLE file is an installer package if its root says so (MS-CFB 2.6: CLSID at 80 of the first directory entry).
fn ole(content: &[u8]) -> FileType {
    const INSTALLER: &[u8] = b"\x84\x10\x0c\0\0\0\0\0\xc0\0\0\0\0\0\0\x46";
    let class = || {
        let shift = le16(content, 30).filter(|shift| (7..=12).contains(shift))?;
        let sector = le32(content, 48)?.checked_add(1)?;
        let root = sector.checked_mul(1 << shift)?;
        content.get(root.checked_add(80)?..)?.get(..16)
    };
    if class() == Some(INSTALLER) { FileType::MSI } else { FileType::OLE }
}

/// What a zip holds decides what it is: the first and the last names are looked at.
fn zip(content: &[u8]) -> FileType {
    /// Bytes looked at from either end.
    const NEAR: usize = 64 << 10;
    /// The place of the name's length and of the name in a local header and in an entry of the directory.
    const HEADERS: [(&[u8], usize, usize); 2] = [(b"PK\x03\x04", 26, 30), (b"PK\x01\x02", 28, 46)];
    if let Some(found) = declared_in_zip(content) {
        return found;
    }
    let ends = [&content[..content.len().min(NEAR)], &content[content.len().saturating_sub(NEAR)..]];
    let (mut package, mut office, mut macros, mut manifest) = (false, None, false, false);
    for (end, (magic, length_at, name_at)) in ends.into_iter().zip(HEADERS) {
        for at in memmem::find_iter(end, magic) {
            let name = le16(end, at + length_at).and_then(|length| end.get(at + name_at..)?.get(..length));
            let name = name.unwrap_or_default();
            package |= name == b"[Content_Types].xml";
            manifest |= name == b"META-INF/MANIFEST.MF";
            macros |= name.ends_with(b"vbaProject.bin");
            if name == b"AndroidManifest.xml" {
                return FileType::APK;
            }
            office = office.or(match name {
                name if name.starts_with(b"word/") => Some((FileType::DOCX, FileType::DOCM)),
                name if name.starts_with(b"xl/") => Some((FileType::XLSX, FileType::XLSM)),
                name if name.starts_with(b"ppt/") => Some((FileType::PPTX, FileType::PPTM)),
                _ => None,
            });
        }
    }
    match office {
        Some((_, with_macros)) if package && macros => with_macros,
        Some((plain, _)) if package => plain,
        _ if package => FileType::OOXML,
        _ if manifest => FileType::JAR,
        _ => FileType::ZIP,
    }
}

/// OpenDocument files and electronic books say what they are in a first member `mimetype`, stored.
fn declared_in_zip(content: &[u8]) -> Option<FileType> {
    if content.get(30..38)? != b"mimetype" {
        return None;
    }
    let extra = le16(content, 28)?;
    let declared = content.get(38 + extra..)?;
    let known = [FileType::ODT, FileType::ODS, FileType::ODP, FileType::EPUB];
    known.into_iter().find(|known| declared.starts_with(known.mime.as_bytes()))
}

/// A bitmap has its header's size behind the 14 bytes of the file header.
fn bitmap(content: &[u8]) -> Option<FileType> {
    let header = le32(content, 14)?;
    matches!(header, 12 | 40 | 52 | 56 | 64 | 108 | 124).then_some(FileType::BMP)
}

/// Lzma has no magic: properties, the size of a dictionary, a size that is unknown or not absurd, and a first byte of
/// the range coder, which is always 0.
fn lzma(content: &[u8]) -> Option<FileType> {
    let dictionary = le32(content, 1)?;
    // 2^n or 2^n + 2^(n-1), as encoders write it.
    let usual = dictionary >= 4096 && matches!(dictionary >> dictionary.trailing_zeros(), 1 | 3);
    let size = u64::from_le_bytes(*content.get(5..)?.first_chunk::<8>()?);
    let sane = content[0] < 9 * 5 * 5 && (size == u64::MAX || size < 1 << 38) && content.get(13) == Some(&0);
    (usual && sane).then_some(FileType::LZMA)
}

/// Frames to be skipped may precede those of zstd and lz4 alike (RFC 8878 section 3.1.2).
fn behind_skippable_frames(content: &[u8]) -> Option<FileType> {
    const MOST: usize = 100;
    let mut at = 0usize;
    for _ in 0..MOST {
        let rest = content.get(at..)?;
        match *rest.first_chunk::<4>()? {
            [0x50..=0x5f, 0x2a, 0x4d, 0x18] => at = at.checked_add(8)?.checked_add(le32(rest, 4)?)?,
            [0x28, 0xb5, 0x2f, 0xfd] => return Some(FileType::ZSTD),
            [0x04, 0x22, 0x4d, 0x18] => return Some(FileType::LZ4),
            _ => return None,
        }
    }
    None
}

/// A zip is read from its end, so anything may precede it: the end record is there, and it points at a directory.
fn zip_behind_something(content: &[u8]) -> Option<FileType> {
    /// The end record and the longest comment behind it.
    const NEAR: usize = 22 + 0xffff;
    let end = &content[content.len().saturating_sub(NEAR)..];
    // Looked for from the front first: where there is none, that is far quicker.
    memmem::find(end, b"PK\x05\x06")?;
    let record = memmem::rfind(end, b"PK\x05\x06")?;
    let directory = le32(end, record + 12)?;
    let start = (content.len() - end.len() + record).checked_sub(directory)?;
    content.get(start..)?.starts_with(b"PK\x01\x02").then_some(FileType::ZIP)
}

/// ARJ: the size of its first header lies within bounds, and the header begins with its own.
fn arj(content: &[u8], size: u16) -> Option<FileType> {
    let first = *content.get(4)?;
    ((30..=2600).contains(&size) && (30..=64).contains(&first)).then_some(FileType::ARJ)
}

/// ARC: a name of at most 12 printable characters, ended by NUL, follows the method.
fn arc(content: &[u8]) -> Option<FileType> {
    let name = content.get(2..15)?;
    let length = name.iter().position(|byte| *byte == 0)?;
    (length > 0 && name[..length].iter().all(u8::is_ascii_graphic)).then_some(FileType::ARC)
}

/// LHA: a method like `-lh5-` stands at byte 2.
fn lha(content: &[u8]) -> Option<FileType> {
    match content.get(2..7)? {
        [b'-', b'l', b'h' | b'z', _, b'-'] | [b'-', b'p', b'm', _, b'-'] => Some(FileType::LHA),
        _ => None,
    }
}

/// A tar of before POSIX: its header's checksum is right.
fn old_tar(content: &[u8]) -> Option<FileType> {
    let header = content.first_chunk::<512>()?;
    let digits = header[148..156].trim_ascii_start();
    let length = digits.iter().take_while(|byte| matches!(byte, b'0'..=b'7')).count();
    let stored = u32::from_str_radix(std::str::from_utf8(&digits[..length]).ok()?, 8).ok()?;
    let spaces = 8 * u32::from(b' ');
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    (header[0] != 0 && stored == sum(&header[..148]) + spaces + sum(&header[156..])).then_some(FileType::TAR)
}

/// Readers look for a PDF's mark in the first 1024 bytes.
fn pdf(content: &[u8]) -> Option<FileType> {
    memmem::find(&content[..content.len().min(1024)], b"%PDF-").map(|_| FileType::PDF)
}

/// CMS content: a sequence that begins with an object identifier 1.2.840.113549.1.7.x.
fn pkcs7(content: &[u8]) -> Option<FileType> {
    memmem::find(&content[..content.len().min(24)], b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07")
        .map(|_| FileType::PKCS7)
}

/// The family of MP4: the brand tells pictures from films.
fn iso_media(content: &[u8]) -> FileType {
    match content.get(8..12) {
        Some(b"heic" | b"heix" | b"hevc" | b"mif1" | b"msf1" | b"avif" | b"avis") => FileType::HEIF,
        _ => FileType::MP4,
    }
}

/// Images of disks and discs, whose marks stand at their end or far behind their beginning.
fn image(content: &[u8]) -> Option<FileType> {
    const TRAILER: usize = 512;
    let end = &content[content.len().saturating_sub(TRAILER)..];
    if end.starts_with(b"conectix") {
        return Some(FileType::VHD);
    }
    if end.starts_with(b"koly\0\0\0\x04") {
        return Some(FileType::DMG);
    }
    if FileType::is_disc(content) {
        return Some(FileType::ISO);
    }
    if FileType::is_disk(content) {
        return Some(FileType::IMG);
    }
    mac_binary(content).then_some(FileType::MACBINARY)
}

/// Whether a boot sector tells sizes as FAT has them: a sector, a cluster, at least one table.
fn fat(boot: &[u8]) -> Option<()> {
    let sector = le16(boot, 11)?;
    let (cluster, tables) = (*boot.get(13)?, *boot.get(16)?);
    let sane = matches!(sector, 128 | 256 | 512 | 1024 | 2048 | 4096)
        && cluster.is_power_of_two()
        && le16(boot, 14)? > 0
        && (1..=4).contains(&tables)
        && (le16(boot, 19)? > 0 || le32(boot, 32)? > 0)
        && matches!(boot.get(21)?, 0xf0 | 0xf8..);
    sane.then_some(())
}

/// Whether the four entries of a master boot record make sense, and there is a partition among them.
fn partitions(content: &[u8]) -> bool {
    let entries = content.get(446..510).unwrap_or_default().chunks_exact(16);
    let used = |entry: &[u8]| entry[4] != 0 && le32(entry, 8) > Some(0) && le32(entry, 12) > Some(0);
    let sane = |entry: &[u8]| matches!(entry[0], 0 | 0x80) && (entry[4] == 0 || used(entry));
    entries.clone().all(sane) && entries.clone().any(used)
}

/// MacBinary (I to III): a name, zeros where the format wants them, and sizes of the two forks that add up to the file's, or
/// a checksum that is right.
fn mac_binary(content: &[u8]) -> bool {
    let Some(head) = content.first_chunk::<128>() else { return false };
    let name = usize::from(head[1]);
    let zeros = head[0] == 0 && head[74] == 0 && head[82] == 0;
    if !zeros || !(1..=63).contains(&name) || head[2..2 + name].iter().any(|byte| *byte < b' ') {
        return false;
    }
    let size =
        |at: usize| head[at..].first_chunk::<4>().map_or(0, |word| u64::from(u32::from_be_bytes(*word)));
    let (data, resources) = (size(83), size(87));
    let second = u64::from(u16::from_be_bytes([head[120], head[121]]));
    let ends = 128 + second.next_multiple_of(128) + data.next_multiple_of(128) + resources;
    let fits = ends <= content.len() as u64 && ends + 256 > content.len() as u64 && data + resources > 0;
    let sum = head[..124].iter().fold(0_u16, |sum, byte| {
        (0..8).fold(
            sum ^ u16::from(*byte) << 8,
            |sum, _| if sum & 0x8000 != 0 { sum << 1 ^ 0x1021 } else { sum << 1 },
        )
    });
    let right = sum != 0 && sum == u16::from_be_bytes([head[124], head[125]]);
    right && data + resources > 0 || fits && head[101..120].iter().all(|byte| *byte == 0)
}

/// Types of text, by how it begins; None if it is no text.
fn by_text(content: &[u8]) -> Option<FileType> {
    /// How much is looked at.
    const NEAR: usize = 4096;
    let head = &content[..content.len().min(NEAR)];
    let wide = head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff");
    let narrowed: Vec<u8>;
    let head = if wide {
        narrowed = head[2..].iter().copied().filter(|byte| *byte != 0).collect();
        &narrowed
    } else {
        head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head)
    };
    if !wide && !looks_like_text(head) {
        return markup(head.trim_ascii_start());
    }
    Some(text_type(head))
}

/// Text holds no NUL and hardly any control characters.
fn looks_like_text(head: &[u8]) -> bool {
    // Counted in bytes, so that many are looked at in one instruction.
    let control = |byte: &u8| u8::from(matches!(byte, 0..=6 | 14..=26 | 28..=31 | 127));
    let controls: usize = head.chunks(255).map(|run| usize::from(run.iter().map(control).sum::<u8>())).sum();
    memchr::memchr(0, head).is_none() && controls * 50 <= head.len()
}

fn text_type(head: &[u8]) -> FileType {
    let start = head.trim_ascii_start();
    let begins =
        |with: &str| start.len() >= with.len() && start[..with.len()].eq_ignore_ascii_case(with.as_bytes());
    const STARTS: &[(&str, FileType)] = &[
        ("#!", FileType::SCRIPT),
        ("@echo", FileType::BATCH),
        ("<?php", FileType::PHP),
        ("[InternetShortcut]", FileType::URL),
        ("[{000214A0-0000-0000-C000-000000000046}]", FileType::URL),
        ("[Desktop Entry]", FileType::DESKTOP),
        ("#NoTrayIcon", FileType::AUTOIT),
        ("#AutoIt3Wrapper", FileType::AUTOIT),
        ("Windows Registry Editor", FileType::REG),
        ("REGEDIT4", FileType::REG),
        ("BEGIN:VCARD", FileType::VCARD),
        ("BEGIN:VCALENDAR", FileType::CALENDAR),
        ("-----BEGIN PGP", FileType::PGP),
        ("-----BEGIN ", FileType::PEM),
        ("(This file must be converted with BinHex", FileType::BINHEX),
        ("ID;P", FileType::SYLK),
    ];
    if let Some((_, found)) = STARTS.iter().find(|(with, _)| begins(with)) {
        return *found;
    }
    if is_uuencoded(start) {
        return FileType::UUENCODE;
    }
    let markup = markup(start);
    if markup == Some(FileType::HTML)
        && memmem::find(&head.to_ascii_lowercase(), b"<hta:application").is_some()
    {
        return FileType::HTA;
    }
    markup.or_else(|| mail(head)).or_else(|| scripts::detect(start)).unwrap_or(FileType::TEXT)
}

fn is_uuencoded(start: &[u8]) -> bool {
    let mode = start.strip_prefix(b"begin ").or_else(|| start.strip_prefix(b"begin-base64 "));
    mode.and_then(|rest| rest.get(..4)).is_some_and(|mode| {
        mode[..3].iter().all(|digit| matches!(digit, b'0'..=b'7')) && matches!(mode[3], b' ' | b'0'..=b'7')
    })
}

/// HTML, XML and kin. Leading comments and declarations are skipped.
fn markup(start: &[u8]) -> Option<FileType> {
    const TAGS: &[&str] = &[
        "!doctype html",
        "html",
        "head",
        "body",
        "script",
        "title",
        "table",
        "div",
        "p>",
        "p ",
        "a ",
        "img",
        "meta",
        "iframe",
        "style",
        "link",
        "font",
        "center",
        "span",
        "br",
        "h1",
        "h2",
        "form",
        "b>",
        "object",
        "embed",
    ];
    let mut rest = start;
    let mut xml = false;
    loop {
        let inner = rest.trim_ascii_start().strip_prefix(b"<")?;
        let begins = |with: &str| {
            inner.len() >= with.len() && inner[..with.len()].eq_ignore_ascii_case(with.as_bytes())
        };
        let skipped = if begins("!--") {
            memmem::find(inner, b"-->").map(|at| at + 3)
        } else if begins("?xml") {
            xml = true;
            memchr::memchr(b'>', inner).map(|at| at + 1)
        } else if begins("?mso-application") {
            return Some(FileType::OFFICEXML);
        } else if begins("job")
            || begins("package>")
            || begins("?wsf")
            || begins("scriptlet")
            || begins("component id")
        {
            return Some(FileType::WSF);
        } else if begins("hta:application") {
            return Some(FileType::HTA);
        } else if begins("!doctype svg") || begins("svg") {
            return Some(FileType::SVG);
        } else if begins("!doctype html") || begins("html") {
            return Some(if xml { FileType::XHTML } else { FileType::HTML });
        } else if TAGS.iter().any(|tag| begins(tag)) && !xml {
            return Some(FileType::HTML);
        } else {
            return xml.then_some(FileType::XML);
        };
        match skipped {
            Some(length) => rest = &inner[length..],
            None => return xml.then_some(FileType::XML),
        }
    }
}

/// A mail message begins with header fields, several of which only mail has; a mailbox with a line `From `.
fn mail(head: &[u8]) -> Option<FileType> {
    const TELLING: &[&str] = &[
        "received",
        "return-path",
        "from",
        "to",
        "subject",
        "date",
        "message-id",
        "mime-version",
        "content-type",
        "delivered-to",
        "dkim-signature",
        "reply-to",
        "sender",
        "x-mailer",
        "x-original-to",
        "authentication-results",
    ];
    const LINES: usize = 60;
    let mbox = head.starts_with(b"From ");
    let mut telling = 0;
    for line in head.split(|byte| *byte == b'\n').skip(usize::from(mbox)).take(LINES) {
        if line.trim_ascii().is_empty() {
            break;
        }
        if matches!(line[0], b' ' | b'\t') {
            continue;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
        let name = line[..colon].trim_ascii_end();
        if !name.iter().all(u8::is_ascii_graphic) {
            break;
        }
        telling += usize::from(TELLING.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name)));
    }
    match (mbox, telling) {
        (true, 2..) => Some(FileType::MBOX),
        (false, 3..) => Some(FileType::EML),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes at a place, zeros before.
    fn at(place: usize, magic: &[u8]) -> Vec<u8> {
        [vec![0; place], magic.to_vec(), vec![0; 64]].concat()
    }

    fn zip_of(names: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        for name in names {
            out.extend(b"PK\x03\x04");
            out.extend([0; 22]);
            out.extend((name.len() as u16).to_le_bytes());
            out.extend([0; 2]);
            out.extend(name.as_bytes());
        }
        out
    }

    fn pe(characteristics: u16) -> Vec<u8> {
        let mut out = b"MZ".to_vec();
        out.resize(0x3c, 0);
        out.extend(0x40u32.to_le_bytes());
        out.extend(b"PE\0\0");
        out.resize(0x40 + 22, 0);
        out.extend(characteristics.to_le_bytes());
        out
    }

    fn tar() -> Vec<u8> {
        let mut header = vec![0u8; 512];
        header[..5].copy_from_slice(b"a.txt");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        header
    }

    #[test]
    fn every_magic_is_its_type() {
        for (place, magic, expected) in MAGIC.iter().chain(WEAK_MAGIC) {
            assert_eq!(FileType::detect(&at(*place, magic)), *expected, "{}", expected.name);
        }
    }

    #[test]
    fn types_by_structure() {
        let mut installer = at(0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1");
        installer.resize(1024 + 128, 0);
        installer[30] = 9;
        installer[48] = 1;
        let ole = installer.clone();
        installer[1024 + 80..1024 + 96].copy_from_slice(b"\x84\x10\x0c\0\0\0\0\0\xc0\0\0\0\0\0\0\x46");
        let mut zip_end = b"text before PK\x01\x02PK\x05\x06".to_vec();
        zip_end.extend([0; 8]);
        zip_end.extend([4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut odt = zip_of(&["mimetype"]);
        odt.extend(FileType::ODT.mime.as_bytes());
        let table: Vec<(Vec<u8>, FileType)> = vec![
            (pe(0x0102), FileType::EXE),
            (pe(0x2102), FileType::DLL),
            (b"MZ\x90\0\x03\0\0\0".to_vec(), FileType::DOS),
            (b"\xca\xfe\xba\xbe\0\0\0\x34".to_vec(), FileType::CLASS),
            (b"\xca\xfe\xba\xbe\0\0\0\x02".to_vec(), FileType::MACHO),
            (ole, FileType::OLE),
            (installer, FileType::MSI),
            (zip_of(&["a.txt"]), FileType::ZIP),
            (b"PK\x05\x06\0\0\0\0".to_vec(), FileType::ZIP),
            (zip_of(&["[Content_Types].xml", "word/document.xml"]), FileType::DOCX),
            (zip_of(&["[Content_Types].xml", "word/vbaProject.bin"]), FileType::DOCM),
            (zip_of(&["xl/workbook.xml", "[Content_Types].xml"]), FileType::XLSX),
            (zip_of(&["[Content_Types].xml", "ppt/slides.xml"]), FileType::PPTX),
            (zip_of(&["[Content_Types].xml"]), FileType::OOXML),
            (zip_of(&["word/readme.txt"]), FileType::ZIP),
            (zip_of(&["META-INF/MANIFEST.MF"]), FileType::JAR),
            (zip_of(&["AndroidManifest.xml"]), FileType::APK),
            (odt, FileType::ODT),
            (b"RIFF\0\0\0\0WEBP".to_vec(), FileType::WEBP),
            (b"RIFF\0\0\0\0WAVE".to_vec(), FileType::WAV),
            (b"RIFF\0\0\0\0AVI ".to_vec(), FileType::AVI),
            (b"BZh91AY&SY".to_vec(), FileType::BZIP2),
            (b"CWS\x0aabcd".to_vec(), FileType::SWF),
            (at(0, b"BM\x1a\0\0\0\0\0\0\0\x1a\0\0\0\x0c\0\0\0"), FileType::BMP),
            (b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\0".to_vec(), FileType::LZMA),
            (at(0, b"\x60\xea\x2c\0\x22"), FileType::ARJ),
            (at(0, b"\x1a\x08name.txt\0"), FileType::ARC),
            (b"\x24\x00-lh5-\0\0".to_vec(), FileType::LHA),
            (b"\x30\xf1-lh1-Z\0".to_vec(), FileType::LHA),
            (b"\x50\x2a\x4d\x18\x01\0\0\0x\x28\xb5\x2f\xfd".to_vec(), FileType::ZSTD),
            (b"\x5e\x2a\x4d\x18\0\0\0\0\x04\x22\x4d\x18".to_vec(), FileType::LZ4),
            (zip_end, FileType::ZIP),
            (tar(), FileType::TAR),
            (b"junk before %PDF-1.4".to_vec(), FileType::PDF),
            (b"\x7fELF\x02\x01 %PDF-1.4".to_vec(), FileType::ELF),
            (b"\x4c\0\0\0\x01\x14\x02\0 %PDF-1.4".to_vec(), FileType::LNK),
            (b"ITSF\x03 %PDF-1.4".to_vec(), FileType::CHM),
            (b"#!/bin/sh\n# %PDF-1.4".to_vec(), FileType::SCRIPT),
            (b"@echo off\r\nrem %PDF-1.4".to_vec(), FileType::BATCH),
            (b"MZ-lh5-\0".to_vec(), FileType::DOS),
            (b"#!-lh5-/bin/sh\n".to_vec(), FileType::SCRIPT),
            (b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0".to_vec(), FileType::PKCS7),
            (b"\0\0\0\x18ftypmp42".to_vec(), FileType::MP4),
            (b"\0\0\0\x18ftypavif".to_vec(), FileType::HEIF),
        ];
        for (content, expected) in table {
            assert_eq!(FileType::detect(&content), expected, "{:?}", String::from_utf8_lossy(&content));
        }
    }

    #[test]
    fn types_of_text() {
        let table: &[(&[u8], FileType)] = &[
            (b"", FileType::TEXT),
            (b"Hello, world\r\n", FileType::TEXT),
            (b"caf\xe9", FileType::TEXT),
            (b"\xff\xfeH\0i\0", FileType::TEXT),
            (b"MZ is how it begins, but it is text", FileType::TEXT),
            (b"a\0b\0\x01\x02", FileType::DATA),
            (b"#!/bin/sh\necho", FileType::SCRIPT),
            (b"@ECHO OFF\r\n", FileType::BATCH),
            (b"<?php echo 1;", FileType::PHP),
            (b"[Desktop Entry]\nExec=sh", FileType::DESKTOP),
            (b"<job id='a'><script language='JScript'>", FileType::WSF),
            (b"<html><head><HTA:APPLICATION ID='a'></head>", FileType::HTA),
            (b"[InternetShortcut]\r\nURL=http://a.example/", FileType::URL),
            (b"<!DOCTYPE html><p>", FileType::HTML),
            (b"\xef\xbb\xbf \r\n<!-- c --><HTML>", FileType::HTML),
            (b"<html>\0</html>", FileType::HTML),
            (b"<?xml version=\"1.0\"?>\n<html xmlns='x'>", FileType::XHTML),
            (b"<?xml version=\"1.0\"?>\n<data>", FileType::XML),
            (b"<?xml version=\"1.0\"?>\n<svg>", FileType::SVG),
            (b"<?xml version='1.0'?><?mso-application progid='Word.Document'?>", FileType::OFFICEXML),
            (b"< 5 and > 3", FileType::TEXT),
            (b"begin 644 x.exe\n", FileType::UUENCODE),
            (b"begin with this", FileType::TEXT),
            (b"-----BEGIN CERTIFICATE-----", FileType::PEM),
            (b"-----BEGIN PGP MESSAGE-----", FileType::PGP),
            (b"BEGIN:VCARD\r\n", FileType::VCARD),
            (b"BEGIN:VCALENDAR\r\n", FileType::CALENDAR),
            (b"Received: by a\r\n\tid 1\r\nFrom: a\r\nSubject: b\r\n\r\nbody", FileType::EML),
            (b"From a@b Thu Jan 1\nFrom: a\nSubject: b\n\nbody", FileType::MBOX),
            (b"From: a note\nSubject: this\nis no mail", FileType::TEXT),
        ];
        for (content, expected) in table {
            assert_eq!(FileType::detect(content), *expected, "{:?}", String::from_utf8_lossy(content));
        }
    }

    #[test]
    fn names_are_unique_and_found() {
        for (place, (known, meaning)) in FileType::ALL.iter().enumerate() {
            assert_eq!(FileType::by_name(known.name), Some(*known));
            assert!(!meaning.is_empty());
            assert!(
                FileType::ALL[..place].iter().all(|(other, _)| !other.name.eq_ignore_ascii_case(known.name))
            );
        }
        assert_eq!(FileType::by_name("nonesuch"), None);
        for kind in FileKind::ALL {
            assert_eq!(FileKind::by_name(kind.name()), Some(kind));
        }
    }
}
