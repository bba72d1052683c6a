//! What is wrong with a message, named.

use crate::{Limit, PartId};

/// Something malformed, ambiguous, unreadable or over a limit, in a message or one of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// What kind.
    pub kind: DefectKind,
    /// Where; the message itself is part 0.
    pub part: PartId,
    /// The proof, for people, escaped and shortened: the header's name, the boundary, the member's name.
    pub detail: String,
}

macro_rules! defects {
    ($($(#[$meta:meta])* $variant:ident $name:literal $meaning:literal;)*) => {
        /// Kinds of defects. Each has a stable name (used as a symbol) and a one-line meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DefectKind {
            $(#[doc = $meaning] $(#[$meta])* $variant,)*
            /// Over a limit: the rest was not looked into.
            Over(Limit),
        }

        impl DefectKind {
            /// All kinds.
            pub const ALL: &[DefectKind] = &[
                $(DefectKind::$variant,)*
                DefectKind::Over(Limit::Depth),
                DefectKind::Over(Limit::Parts),
                DefectKind::Over(Limit::Bytes),
                DefectKind::Over(Limit::Ratio),
                DefectKind::Over(Limit::Time),
                DefectKind::Over(Limit::Readings),
                DefectKind::Over(Limit::Memory),
            ];

            /// The name it is known by in findings and configuration.
            pub const fn name(self) -> &'static str {
                match self {
                    $(DefectKind::$variant => $name,)*
                    DefectKind::Over(Limit::Depth) => "OVER_DEPTH",
                    DefectKind::Over(Limit::Parts) => "OVER_PARTS",
                    DefectKind::Over(Limit::Bytes) => "OVER_BYTES",
                    DefectKind::Over(Limit::Ratio) => "OVER_RATIO",
                    DefectKind::Over(Limit::Time) => "OVER_TIME",
                    DefectKind::Over(Limit::Readings) => "OVER_READINGS",
                    DefectKind::Over(Limit::Memory) => "OVER_MEMORY",
                }
            }

            /// What it means, in one line.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(DefectKind::$variant => $meaning,)*
                    DefectKind::Over(Limit::Depth) => "nested deeper than reading.depth",
                    DefectKind::Over(Limit::Parts) => "more parts than reading.parts",
                    DefectKind::Over(Limit::Bytes) => "unpacks to more than reading.bytes",
                    DefectKind::Over(Limit::Ratio) => "a member unpacks to more than reading.ratio times its size",
                    DefectKind::Over(Limit::Time) => "reading took longer than reading.time",
                    DefectKind::Over(Limit::Readings) => "can be read in more ways than reading.readings",
                    DefectKind::Over(Limit::Memory) => "needs more than reading.memory at once to unpack",
                }
            }
        }
    };
}

defects! {
    // Lines and bytes of the whole message.
    BareCr "BARE_CR" "a CR that is not followed by LF";
    BareLf "BARE_LF" "an LF that is not preceded by CR";
    Nul "NUL_BYTE" "a NUL byte in header or text";
    SmuggledEnd "SMUGGLED_END" "a line of one dot with other ends than CRLF, which a lax server would take for the end of the message";
    LongLine "LONG_LINE" "a line over 998 bytes (RFC 5322 section 2.1.1)";

    // The header.
    NoHeader "NO_HEADER" "no header at all, or a body without the empty line before it";
    BadHeaderLine "BAD_HEADER_LINE" "a header line that is neither field nor continuation";
    BadFolding "BAD_FOLDING" "a header field folded in a line of white space only";
    EightBitHeader "EIGHT_BIT_HEADER" "bytes over 127 in a header that are not announced UTF-8";
    MissingDate "MISSING_DATE" "no Date field";
    MissingFrom "MISSING_FROM" "no From field";
    MissingMessageId "MISSING_MESSAGE_ID" "no Message-ID field";
    DuplicateHeader "DUPLICATE_HEADER" "a field that may stand once stands several times (RFC 5322 section 3.6)";
    BadEncodedWord "BAD_ENCODED_WORD" "an encoded word that cannot be decoded (RFC 2047)";

    // MIME structure.
    DuplicateMimeHeader "DUPLICATE_MIME_HEADER" "a Content- field that stands several times, so readers disagree";
    MisspeltMimeHeader "MISSPELT_MIME_HEADER" "a Content- field with junk before its name or other marks in it, which only some readers know";
    LateHeader "LATE_HEADER" "a body that begins with header fields of MIME, which only some readers take for such";
    OtherReading "OTHER_READING" "content that only some mail programs see, because they read the mail in another way";
    HiddenEncoding "HIDDEN_ENCODING" "base64, yEnc or BinHex in text that no header announces";
    BadContentType "BAD_CONTENT_TYPE" "a Content-Type that is not type/subtype; parameters";
    BadParameter "BAD_PARAMETER" "a parameter that is malformed, repeated or encoded in two ways";
    BadTransferEncoding "BAD_TRANSFER_ENCODING" "a Content-Transfer-Encoding that is unknown, or not allowed on this type";
    MissingBoundary "MISSING_BOUNDARY" "a multipart without a boundary, or one that never appears";
    BadBoundary "BAD_BOUNDARY" "a boundary that is empty, overlong or not of the allowed characters";
    ReusedBoundary "REUSED_BOUNDARY" "a boundary that goes on after its closing line, or is used inside itself";
    UnclosedBoundary "UNCLOSED_BOUNDARY" "a multipart without its closing boundary";
    TextOutsideParts "TEXT_OUTSIDE_PARTS" "a preamble or epilogue that holds more than the usual note";
    BadBase64 "BAD_BASE64" "base64 with characters that do not belong, or text after its padding";
    TruncatedBase64 "TRUNCATED_BASE64" "base64 that ends inside a group";
    BadQuotedPrintable "BAD_QUOTED_PRINTABLE" "quoted-printable with an = that is not followed by two hex digits";
    BadUuencode "BAD_UUENCODE" "uuencode, yEnc or BinHex with broken or missing lines";
    BadCharset "BAD_CHARSET" "a charset that is unknown, or text that is not in it";
    Partial "MESSAGE_PARTIAL" "one piece of a message in several (message/partial): the whole cannot be judged";
    ExternalBody "EXTERNAL_BODY" "the content lies elsewhere (message/external-body)";

    // Containers.
    Encrypted "ENCRYPTED" "encrypted: it cannot be looked into";
    BadArchive "BAD_ARCHIVE" "an archive that is damaged or lies about its contents";
    TruncatedArchive "TRUNCATED_ARCHIVE" "an archive that ends early";
    NotOpened "NOT_OPENED" "an archive or compressed file of a kind that is not opened here";
    UnknownMethod "UNKNOWN_METHOD" "packed by a method that cannot be unpacked here";
}
