//! What others call the types that we detect: file(1), whose words MailScanner's tables match, and amavis, which makes
//! short names of those words (`$map_full_type_to_short_type_re`).

use gatepost_mail::{FileType, Part};

/// A type as others name it.
pub(super) struct Known {
    /// What file(1) says of it, up to its first comma.
    pub file: &'static str,
    /// amavis's short types.
    pub amavis: &'static [&'static str],
}

/// What others call what a part is by its content.
pub(super) fn known(part: &Part) -> Known {
    if part.body.is_empty() {
        return Known { file: "empty", amavis: &["empty"] };
    }
    if part.detected == FileType::TEXT {
        return match part.body.is_ascii() {
            true => Known { file: "ASCII text", amavis: &["asc"] },
            false => Known { file: "Unicode text", amavis: &["txt"] },
        };
    }
    let found = TABLE.iter().find(|(name, ..)| *name == part.detected.name);
    found.map_or(Known { file: "data", amavis: &["dat"] }, |&(_, file, amavis)| Known { file, amavis })
}

/// What `file -i` says besides our own media type.
pub(super) fn other_media_type(detected: FileType) -> Option<&'static str> {
    match detected {
        FileType::EXE | FileType::DLL | FileType::DOS => Some("application/x-dosexec"),
        FileType::ELF => Some("application/x-executable"),
        FileType::SEVENZIP => Some("application/x-7z-compressed"),
        FileType::OLE | FileType::MSI => Some("application/cdfv2"),
        FileType::RAR => Some("application/x-rar"),
        FileType::DEB => Some("application/x-debian-package"),
        _ => None,
    }
}

/// By our own short names: the words of file(1) 5.44, and what amavisd-new 2.13 makes of them.
#[rustfmt::skip]
const TABLE: &[(&str, &str, &[&str])] = &[
    ("html", "HTML document", &["asc"]),
    ("xhtml", "XHTML document", &["asc"]),
    ("xml", "XML 1.0 document text", &["asc"]),
    ("vcf", "vCard visiting card text", &["asc"]),
    ("ics", "vCalendar calendar file text", &["asc"]),
    ("pem", "PEM certificate text", &["asc"]),
    ("pgp", "PGP message", &["pgp", "pgp.enc"]),

    ("exe", "PE32 executable (GUI) Intel 80386", &["exe", "exe-ms"]),
    ("dll", "PE32 executable (DLL) (GUI) Intel 80386", &["exe", "exe-ms", "dll"]),
    ("dos", "MS-DOS executable", &["exe", "exe-ms"]),
    ("elf", "ELF 64-bit LSB executable", &["exe", "exe-unix"]),
    ("macho", "Mach-O 64-bit executable", &["exe"]),
    ("class", "compiled Java class data", &["java"]),
    ("dex", "Dalvik dex file", &["dat"]),
    ("wasm", "WebAssembly (wasm) binary module", &["dat"]),
    ("swf", "Macromedia Flash data", &["swf"]),

    ("sh", "script text executable", &["txt"]),
    ("bat", "DOS batch file text", &["asc"]),
    ("php", "PHP script text", &["txt"]),
    ("js", "JavaScript source text", &["asc"]),
    ("vbs", "ASCII text", &["asc"]),
    ("wsf", "XML document text", &["asc"]),
    ("hta", "HTML document", &["asc"]),
    ("ps1", "ASCII text", &["asc"]),
    ("a3x", "AutoIt script", &["dat"]),
    ("desktop", "Desktop entry text", &["asc"]),
    ("lnk", "MS Windows shortcut", &["dat"]),
    ("url", "MS Windows 95 Internet shortcut text", &["url"]),
    ("reg", "MS Windows Registry file", &["asc"]),
    ("chm", "MS Windows HtmlHelp Data", &["dat"]),
    ("hlp", "MS Windows 3.1 help", &["dat"]),

    ("zip", "Zip archive data", &["zip"]),
    ("jar", "Java archive data (JAR)", &["dat"]),
    ("apk", "Android package (APK)", &["dat"]),
    ("rar", "RAR archive data", &["rar"]),
    ("7z", "7-zip archive data", &["7z"]),
    ("tar", "POSIX tar archive", &["tar"]),
    ("cpio", "ASCII cpio archive", &["cpio"]),
    ("ar", "current ar archive", &["a"]),
    ("deb", "Debian binary package", &["deb"]),
    ("rpm", "RPM v3.0 bin", &["rpm"]),
    ("cab", "Microsoft Cabinet archive data", &["cab"]),
    ("lha", "LHa (2.x) archive data", &["lha"]),
    ("arj", "ARJ archive data", &["arj"]),
    ("zoo", "Zoo archive data", &["zoo"]),
    ("arc", "ARC archive data", &["arc"]),
    ("ace", "ACE archive data", &["ace"]),
    ("xar", "xar archive", &["dat"]),
    ("iso", "ISO 9660 CD-ROM filesystem data", &["iso"]),
    ("img", "DOS/MBR boot sector", &["dat"]),
    ("vhd", "Microsoft Disk Image", &["dat"]),
    ("vhdx", "Microsoft Disk Image eXtended", &["dat"]),
    ("wim", "Windows imaging (WIM) image", &["dat"]),
    ("squashfs", "Squashfs filesystem", &["dat"]),
    ("tnef", "Transport Neutral Encapsulation Format", &["tnef"]),
    ("uu", "uuencoded text", &["uue"]),
    ("hqx", "BinHex binary text", &["hqx"]),
    ("yenc", "yEnc text", &["asc"]),
    ("applefile", "AppleDouble encoded Macintosh file", &["dat"]),
    ("macbin", "MacBinary", &["dat"]),

    ("gz", "gzip compressed data", &["gz"]),
    ("bz2", "bzip2 compressed data", &["bz2"]),
    ("xz", "XZ compressed data", &["xz"]),
    ("lzma", "LZMA compressed data", &["lzma"]),
    ("zst", "Zstandard compressed data", &["zst"]),
    ("lz4", "LZ4 compressed data", &["lz4"]),
    ("Z", "compress'd data", &["Z"]),
    ("lz", "lzip compressed data", &["dat"]),
    ("szdd", "MS Compress archive data", &["dat"]),
    ("lzo", "lzop compressed data", &["lzo"]),

    ("ole", "Composite Document File V2 Document", &["cdf-ms"]),
    ("msi", "Composite Document File V2 Document", &["cdf-ms"]),
    ("docx", "Microsoft Word 2007+", &["doc"]),
    ("docm", "Microsoft Word 2007+", &["doc"]),
    ("xlsx", "Microsoft Excel 2007+", &["dat"]),
    ("xlsm", "Microsoft Excel 2007+", &["dat"]),
    ("pptx", "Microsoft PowerPoint 2007+", &["dat"]),
    ("pptm", "Microsoft PowerPoint 2007+", &["dat"]),
    ("ooxml", "Microsoft OOXML", &["dat"]),
    ("odt", "OpenDocument Text", &["asc"]),
    ("ods", "OpenDocument Spreadsheet", &["dat"]),
    ("odp", "OpenDocument Presentation", &["dat"]),
    ("epub", "EPUB document", &["dat"]),
    ("officexml", "XML 1.0 document text", &["asc"]),
    ("pdf", "PDF document", &["pdf"]),
    ("rtf", "Rich Text Format data", &["rtf"]),
    ("ps", "PostScript document text", &["ps"]),
    ("one", "Microsoft OneNote", &["dat"]),
    ("slk", "spreadsheet interchange document text", &["txt"]),
    ("mdb", "Microsoft Access Database", &["dat"]),
    ("sqlite", "SQLite 3.x database", &["dat"]),

    ("eml", "SMTP mail text", &["asc"]),
    ("mbox", "mail folder text", &["asc"]),
    ("mime", "MIME entity text", &["asc"]),

    ("png", "PNG image data", &["image", "png"]),
    ("jpg", "JPEG image data", &["image", "jpg"]),
    ("gif", "GIF image data", &["image", "gif"]),
    ("bmp", "PC bitmap", &["image", "bmp"]),
    ("tif", "TIFF image data", &["image", "tif"]),
    ("webp", "RIFF (little-endian) data", &["dat"]),
    ("heic", "ISO Media", &["dat"]),
    ("ico", "MS Windows icon resource", &["dat"]),
    ("psd", "Adobe Photoshop Image", &["dat"]),
    ("emf", "Windows Enhanced Metafile (EMF) image data", &["dat"]),
    ("wmf", "Windows metafile", &["wmf"]),
    ("svg", "SVG Scalable Vector Graphics image", &["image", "svg"]),

    ("mp3", "Audio file with ID3", &["audio", "mpa", "mp3"]),
    ("ogg", "Ogg data", &["audio", "ogg"]),
    ("wav", "RIFF (little-endian) data", &["audio", "wav"]),
    ("flac", "FLAC audio bitstream data", &["audio", "flac"]),
    ("mid", "Standard MIDI data", &["dat"]),
    ("mp4", "ISO Media", &["dat"]),
    ("avi", "RIFF (little-endian) data", &["movie", "avi"]),
    ("mkv", "Matroska data", &["movie", "mkv"]),
    ("wmv", "Microsoft ASF", &["movie", "wmv"]),
    ("flv", "Macromedia Flash Video", &["dat"]),
    ("mpg", "MPEG sequence", &["movie", "mpg"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_speaks_of_types_that_are_known_each_once() {
        for (place, (name, file, amavis)) in TABLE.iter().enumerate() {
            assert!(FileType::by_name(name).is_some_and(|known| known.name == *name), "{name}");
            assert!(!file.contains(',') && !amavis.is_empty(), "{name}");
            assert!(TABLE[..place].iter().all(|(other, ..)| other != name), "{name} twice");
        }
    }
}
