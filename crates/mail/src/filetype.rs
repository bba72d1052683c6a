//! File types by content.

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
    /// Code for an interpreter.
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

impl FileType {
    /// Nothing known: `data`, application/octet-stream.
    pub const DATA: FileType =
        FileType { name: "data", mime: "application/octet-stream", kind: FileKind::Data };

    /// Plain text.
    pub const TEXT: FileType = FileType { name: "txt", mime: "text/plain", kind: FileKind::Text };
}
