//! Ways to part a multipart's body (RFC 2046 section 5.1.1): templates of `{d}` (two hyphens and the boundary), `{D}` (the
//! boundary alone), `{t}` (a text with its header), `{p}` (the attachment with its header), and `{c}` and `{b}` (its
//! header and its body). A part ends in its own line break, which the line break before the next delimiter follows.

use super::{MULTIPART_BY_RFC, Row};

/// The ways. Each: its name, who sees the attachment, the template.
pub const WAYS: &[Row<&[u8]>] = &[
    // Order and number.
    ("attachment-first", MULTIPART_BY_RFC, b"{d}\r\n{p}\r\n{d}\r\n{t}\r\n{d}--\r\n"),
    ("attachment-only", MULTIPART_BY_RFC, b"{d}\r\n{p}\r\n{d}--\r\n"),
    ("attachment-between", MULTIPART_BY_RFC, b"{d}\r\n{t}\r\n{d}\r\n{p}\r\n{d}\r\n{t}\r\n{d}--\r\n"),
    ("many-parts", MULTIPART_BY_RFC, MANY),
    ("empty-parts", MULTIPART_BY_RFC, b"{d}\r\n\r\n\r\n{d}\r\n{d}\r\n\r\n{d}\r\n{p}\r\n{d}--\r\n"),
    // Before the first boundary and after the last.
    ("preamble", MULTIPART_BY_RFC, b"some text\r\n\r\n{d}\r\n{t}\r\n{d}\r\n{p}\r\n{d}--\r\n"),
    ("epilogue", MULTIPART_BY_RFC, b"{d}\r\n{t}\r\n{d}\r\n{p}\r\n{d}--\r\n\r\nsome text\r\n"),
    ("in-preamble", "", b"{p}\r\n{d}\r\n{t}\r\n{d}--\r\n"),
    ("in-epilogue", "", b"{d}\r\n{t}\r\n{d}--\r\n{p}\r\n"),
    ("in-epilogue-behind-blank", "", b"{d}\r\n{t}\r\n{d}--\r\n\r\n{p}\r\n"),
    ("body-in-preamble", "", b"{b}\r\n{d}\r\n{t}\r\n{d}--\r\n"),
    ("body-in-epilogue", "", b"{d}\r\n{t}\r\n{d}--\r\n\r\n{b}\r\n"),
    ("nothing-parted", "", b"{b}\r\n"),
    // How it is closed.
    ("not-closed", MULTIPART_BY_RFC, b"{d}\r\n{t}\r\n{d}\r\n{p}\r\n"),
    ("closed-at-end-of-file", MULTIPART_BY_RFC, b"{d}\r\n{t}\r\n{d}\r\n{p}\r\n{d}--"),
    ("closed-early", "", b"{d}\r\n{t}\r\n{d}--\r\n{d}\r\n{p}\r\n{d}--\r\n"),
    ("closed-first", "", b"{d}--\r\n{d}\r\n{t}\r\n{d}\r\n{p}\r\n{d}--\r\n"),
    ("closed-before-attachment", "", b"{d}\r\n{t}\r\n{d}--\r\n{p}\r\n{d}--\r\n"),
    ("opened-by-close", "", b"{d}\r\n{t}\r\n{d}--\r\n{p}\r\n{d}\r\n{t}\r\n{d}--\r\n"),
    ("closed-with-text", "", b"{d}\r\n{t}\r\n{d}\r\n{p}\r\n{d}--text\r\n"),
    ("closed-with-space", MULTIPART_BY_RFC, b"{d}\r\n{t}\r\n{d}\r\n{p}\r\n{d}-- \t\r\n"),
    ("closed-three-hyphens", "", b"{d}\r\n{t}\r\n{d}---\r\n{d}\r\n{p}\r\n{d}--\r\n"),
    ("half-closed", "", b"{d}\r\n{t}\r\n{d}-\r\n{p}\r\n{d}--\r\n"),
    ("space-before-close", "", b"{d}\r\n{t}\r\n{d} --\r\n{d}\r\n{p}\r\n{d}--\r\n"),
    ("close-in-attachment", "", b"{d}\r\n{c}\r\n{d}--\r\n{b}\r\n{d}--\r\n"),
    // What stands on the delimiter's line.
    ("space-behind", MULTIPART_BY_RFC, b"{d}  \r\n{t}\r\n{d} \t \r\n{p}\r\n{d}--\r\n"),
    ("text-behind", "", b"{d}\r\n{t}\r\n{d}text\r\n{p}\r\n{d}--\r\n"),
    ("text-behind-space", "", b"{d}\r\n{t}\r\n{d} text\r\n{p}\r\n{d}--\r\n"),
    ("text-behind-all", "", b"{d}text\r\n{t}\r\n{d}text\r\n{p}\r\n{d}text--\r\n"),
    ("quote-behind", "", b"{d}\"\r\n{t}\r\n{d}\"\r\n{p}\r\n{d}\"--\r\n"),
    ("colon-behind", "", b"{d}\r\n{t}\r\n{d}: x\r\n{p}\r\n{d}--\r\n"),
    ("nul-behind", "", b"{d}\0\r\n{t}\r\n{d}\0\r\n{p}\r\n{d}--\r\n"),
    ("cr-behind", "", b"{d}\r\r\n{t}\r\n{d}\r\r\n{p}\r\n{d}--\r\n"),
    ("comment-behind", "", b"{d}\r\n{t}\r\n{d} (c)\r\n{p}\r\n{d}--\r\n"),
    ("long-space-behind", MULTIPART_BY_RFC, LONG_SPACE),
    ("space-before", "", b" {d}\r\n{t}\r\n {d}\r\n{p}\r\n {d}--\r\n"),
    ("space-before-one", "", b"{d}\r\n{t}\r\n {d}\r\n{p}\r\n{d}--\r\n"),
    ("text-before", "", b"{d}\r\n{t}\r\ntext{d}\r\n{p}\r\n{d}--\r\n"),
    ("quoted-line", "", b"> {d}\r\n{t}\r\n> {d}\r\n{p}\r\n> {d}--\r\n"),
    ("nul-before", "", b"{d}\r\n{t}\r\n\0{d}\r\n{p}\r\n{d}--\r\n"),
    ("hyphen-more", "", b"-{d}\r\n{t}\r\n-{d}\r\n{p}\r\n-{d}--\r\n"),
    ("hyphen-more-one", "", b"{d}\r\n{t}\r\n-{d}\r\n{p}\r\n{d}--\r\n"),
    ("hyphen-less", "", b"-{D}\r\n{t}\r\n-{D}\r\n{p}\r\n-{D}--\r\n"),
    ("no-hyphens", "", b"{D}\r\n{t}\r\n{D}\r\n{p}\r\n{D}--\r\n"),
    ("no-hyphens-one", "", b"{d}\r\n{t}\r\n{D}\r\n{p}\r\n{d}--\r\n"),
    ("hyphens-and-space", "", b"-- {D}\r\n{t}\r\n-- {D}\r\n{p}\r\n-- {D}--\r\n"),
    ("letter-more", "", b"{d}x\r\n{t}\r\n{d}x\r\n{p}\r\n{d}x--\r\n"),
    ("letter-more-one", "", b"{d}\r\n{t}\r\n{d}x\r\n{p}\r\n{d}x--\r\n{d}--\r\n"),
    // Line breaks at the delimiter.
    ("lf", "Python, MIME-tools", b"{d}\n{t}\n{d}\n{p}\n{d}--\n"),
    ("lf-one", "", b"{d}\r\n{t}\r\n{d}\n{p}\r\n{d}--\r\n"),
    ("cr", "", b"{d}\r{t}\r{d}\r{p}\r{d}--\r"),
    ("cr-one", "", b"{d}\r\n{t}\r\n{d}\r{p}\r\n{d}--\r\n"),
    ("cr-before", "", b"{d}\r\n{t}\r{d}\r\n{p}\r\n{d}--\r\n"),
    ("lf-before", "Python, MIME-tools", b"{d}\r\n{t}\n{d}\r\n{p}\r\n{d}--\r\n"),
    ("none-before", "", b"{d}\r\n{c}\r\n{b}{d}--\r\n"),
    ("blank-before-fields", "", b"{d}\r\n{t}\r\n{d}\r\n\r\n{p}\r\n{d}--\r\n"),
    ("blanks-before-fields", "", b"{d}\r\n{t}\r\n{d}\r\n\r\n\r\n\r\n{p}\r\n{d}--\r\n"),
    ("space-line-before-fields", "", b"{d}\r\n{t}\r\n{d}\r\n \r\n{p}\r\n{d}--\r\n"),
    ("fields-on-the-line", "", b"{d}\r\n{t}\r\n{d} {p}\r\n{d}--\r\n"),
    ("blank-lines", MULTIPART_BY_RFC, b"\r\n\r\n{d}\r\n{t}\r\n\r\n\r\n{d}\r\n{p}\r\n\r\n\r\n{d}--\r\n"),
    // The attachment's header and body.
    ("no-blank-line", "", b"{d}\r\n{t}\r\n{d}\r\n{c}{b}\r\n{d}--\r\n"),
    ("space-for-blank-line", "", b"{d}\r\n{t}\r\n{d}\r\n{c} \r\n{b}\r\n{d}--\r\n"),
    ("tab-for-blank-line", "", b"{d}\r\n{t}\r\n{d}\r\n{c}\t\r\n{b}\r\n{d}--\r\n"),
    ("lf-blank-line", "Python, MIME-tools", b"{d}\r\n{t}\r\n{d}\r\n{c}\n{b}\r\n{d}--\r\n"),
    ("cr-blank-line", "", b"{d}\r\n{t}\r\n{d}\r\n{c}\r{b}\r\n{d}--\r\n"),
    ("crcrlf-blank-line", "", b"{d}\r\n{t}\r\n{d}\r\n{c}\r\r\n{b}\r\n{d}--\r\n"),
    ("nul-blank-line", "", b"{d}\r\n{t}\r\n{d}\r\n{c}\0\r\n{b}\r\n{d}--\r\n"),
    ("junk-before-blank-line", "", b"{d}\r\n{t}\r\n{d}\r\n{c}no field\r\n\r\n{b}\r\n{d}--\r\n"),
    ("junk-before-fields", "", b"{d}\r\n{t}\r\n{d}\r\nno field\r\n{c}\r\n{b}\r\n{d}--\r\n"),
    ("from-before-fields", "", b"{d}\r\n{t}\r\n{d}\r\nFrom a@b Sat Nov 21 10:00:00 2026\r\n{p}\r\n{d}--\r\n"),
    ("no-fields", "", b"{d}\r\n{t}\r\n{d}\r\n\r\n{b}\r\n{d}--\r\n"),
    ("body-at-once", "", b"{d}\r\n{t}\r\n{d}\r\n{b}\r\n{d}--\r\n"),
    ("fields-twice", "", b"{d}\r\n{t}\r\n{d}\r\nContent-Type: text/plain\r\n\r\n{c}\r\n{b}\r\n{d}--\r\n"),
    ("delimiter-twice", MULTIPART_BY_RFC, b"{d}\r\n{t}\r\n{d}\r\n{d}\r\n{p}\r\n{d}--\r\n"),
    ("delimiter-in-fields", "", b"{d}\r\n{t}\r\n{d}\r\nX-A: b\r\n{d}\r\n{p}\r\n{d}--\r\n"),
    ("delimiter-as-folding", "", b"{d}\r\n{t}\r\n{d}\r\nX-A: b\r\n {d}\r\n{p}\r\n{d}--\r\n"),
    ("body-parted", "", b"{d}\r\n{c}\r\n\r\n{d}\r\n\r\n{b}\r\n{d}--\r\n"),
    ("byte-order-mark", "", b"\xef\xbb\xbf{d}\r\n{p}\r\n{d}--\r\n"),
    ("preamble-like-delimiter", MULTIPART_BY_RFC, b"--\r\n--other\r\n\r\n{d}\r\n{t}\r\n{d}\r\n{p}\r\n{d}--\r\n"),
    // Another multipart inside that uses the same boundary, or nearly.
    ("inner-same", "", b"{d}\r\nContent-Type: multipart/mixed; boundary=\"{D}\"\r\n\r\n{d}\r\n{p}\r\n{d}--\r\n{d}--\r\n"),
    ("inner-longer", "", b"{d}\r\nContent-Type: multipart/mixed; boundary=\"{D}x\"\r\n\r\n{d}x\r\n{p}\r\n{d}x--\r\n{d}--\r\n"),
    ("inner-hyphens", "", b"{d}\r\nContent-Type: multipart/mixed; boundary=\"{D}--\"\r\n\r\n{d}--\r\n{p}\r\n{d}----\r\n{d}--\r\n"),
    ("inner-other", MULTIPART_BY_RFC, INNER),
    ("inner-not-closed", MULTIPART_BY_RFC, b"{d}\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n{p}\r\n{d}--\r\n"),
    ("inner-closed-by-outer", "", b"{d}\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n{t}\r\n{d}\r\n{p}\r\n--i--\r\n{d}--\r\n"),
    ("inner-behind-outer", "", b"{d}\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n{t}\r\n{d}--\r\n--i\r\n{p}\r\n--i--\r\n"),
    ("inner-in-epilogue-of-inner", "", b"{d}\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n{t}\r\n--i--\r\n{p}\r\n{d}--\r\n"),
    ("inner-encoded", "", b"{d}\r\nContent-Type: multipart/mixed; boundary=i\r\nContent-Transfer-Encoding: base64\r\n\r\n--i\r\n{p}\r\n--i--\r\n{d}--\r\n"),
    ("inner-without-boundary", "", b"{d}\r\nContent-Type: multipart/mixed\r\n\r\n--i\r\n{p}\r\n--i--\r\n{d}--\r\n"),
    ("digest", "", b"{d}\r\nContent-Type: multipart/digest; boundary=i\r\n\r\n--i\r\n\r\nSubject: x\r\n{c}\r\n{b}\r\n--i--\r\n{d}--\r\n"),
    ("message-inside", "RFC 2046", b"{d}\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n{c}\r\n{b}\r\n{d}--\r\n"),
    ("message-inside-no-header", "", b"{d}\r\nContent-Type: message/rfc822\r\n\r\n{c}\r\n{b}\r\n{d}--\r\n"),
];

const MANY: &[u8] = b"{d}\r\n{t}\r\n{d}\r\n{t}\r\n{d}\r\n{t}\r\n{d}\r\n{t}\r\n{d}\r\n{t}\r\n{d}\r\n{t}\r\n{d}\r\n{t}\r\n\
    {d}\r\n{t}\r\n{d}\r\n{t}\r\n{d}\r\n{t}\r\n{d}\r\n{t}\r\n{d}\r\n{t}\r\n{d}\r\n{p}\r\n{d}\r\n{t}\r\n{d}--\r\n";

const LONG_SPACE: &[u8] = b"{d}\r\n{t}\r\n{d}\
    \x20                                                                                \x20\r\n{p}\r\n{d}--\r\n";

const INNER: &[u8] =
    b"{d}\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n{p}\r\n--i--\r\n{d}\r\n{t}\r\n{d}--\r\n";
