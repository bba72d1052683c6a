//! Words for an encoding that some readers know and others do not (RFC 2045 section 6.1), with bodies in the encoding
//! that is meant.

use super::bodies::{Encoder, all_hex, base64_lines};
use super::text_encodings::uuencode;
use super::{BASE64_BY_RFC, QP_BY_RFC, Row};

const UU: Encoder = |content| uuencode(content, "begin 644 file.bin\r\n", "end\r\n");

/// The words. Each: its name, who knows it, the word and the encoder.
pub const WAYS: &[Row<(&[u8], Encoder)>] = &[
    ("base64-upper", BASE64_BY_RFC, (b"BASE64", base64_lines)),
    ("base64-mixed", BASE64_BY_RFC, (b"bAsE64", base64_lines)),
    ("base64-hyphen", "", (b"base-64", base64_lines)),
    ("base64-underscore", "", (b"base_64", base64_lines)),
    ("base64-x", "", (b"x-base64", base64_lines)),
    ("base64-short", "", (b"b64", base64_lines)),
    ("base64-letter", "", (b"b", base64_lines)),
    ("base64-mime", "", (b"mime64", base64_lines)),
    ("base64-name-only", "", (b"base", base64_lines)),
    ("base64-longer", "", (b"base640", base64_lines)),
    ("base64-more", "", (b"base64encoded", base64_lines)),
    ("base64-number", "", (b"base 64", base64_lines)),
    ("base64-parameter", "", (b"base64; x=y", base64_lines)),
    ("base64-charset", "", (b"base64; charset=utf-8", base64_lines)),
    ("base64-and-7bit", "", (b"base64, 7bit", base64_lines)),
    ("7bit-and-base64", "", (b"7bit, base64", base64_lines)),
    ("8bit-base64", "", (b"8bit base64", base64_lines)),
    ("base64-8bit", "", (b"base64 8bit", base64_lines)),
    ("base64-slash", "", (b"base64/7bit", base64_lines)),
    ("base64-in-sentence", "", (b"encoded in base64", base64_lines)),
    ("base64-equals", "", (b"encoding=base64", base64_lines)),
    ("base64-full-width", "", ("\u{ff42}ase64".as_bytes(), base64_lines)),
    ("base64-cyrillic", "", ("b\u{430}se64".as_bytes(), base64_lines)),
    ("base64-nul", "", (b"base64\0\0\0", base64_lines)),
    ("quoted-printable", QP_BY_RFC, (b"quoted-printable", all_hex)),
    ("qp-upper", QP_BY_RFC, (b"QUOTED-PRINTABLE", all_hex)),
    ("qp-space", "", (b"quoted printable", all_hex)),
    ("qp-underscore", "", (b"quoted_printable", all_hex)),
    ("qp-joined", "", (b"quotedprintable", all_hex)),
    ("qp-short", "", (b"qp", all_hex)),
    ("qp-letter", "", (b"q", all_hex)),
    ("qp-x", "", (b"x-quoted-printable", all_hex)),
    ("qp-typo", "", (b"quoted-printible", all_hex)),
    ("qp-parameter", "", (b"quoted-printable; x=y", all_hex)),
    ("qp-and-7bit", "", (b"quoted-printable, 7bit", all_hex)),
    ("7bit-and-qp", "", (b"7bit, quoted-printable", all_hex)),
    ("qp-and-base64", "", (b"quoted-printable, base64", all_hex)),
    ("base64-and-qp", "", (b"quoted-printable, base64", base64_lines)),
    ("uu-upper", "", (b"X-UUENCODE", UU)),
    ("uu-short", "", (b"uu", UU)),
    ("uu-hyphen", "", (b"uu-encode", UU)),
    ("uu-word", "", (b"uuencoded", UU)),
    ("uu-x-word", "", (b"x-uuencoded", UU)),
];
