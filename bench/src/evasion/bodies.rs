//! Ways to encode the attachment's body, sound and damaged: base64 and quoted-printable (RFC 2045 section 6), and what
//! else mail programs decode.

use std::io::Write;

use super::payload::eicar;
use super::text_encodings::{binhex, uuencode, yenc};
use super::{BASE64_BY_RFC, QP_BY_RFC, Row};

/// Encodes content.
pub type Encoder = fn(&[u8]) -> Vec<u8>;

/// Ways to write a body. Each: its name, who decodes it, the encoding that is declared and the encoder.
pub const WAYS: &[Row<(&str, Encoder)>] = &[
    ("base64-short-lines", BASE64_BY_RFC, ("base64", |content| wrapped(content, 4, b"\r\n"))),
    ("base64-odd-lines", BASE64_BY_RFC, ("base64", |content| wrapped(content, 7, b"\r\n"))),
    ("base64-letters", BASE64_BY_RFC, ("base64", |content| wrapped(content, 1, b"\r\n"))),
    ("base64-long-line", BASE64_BY_RFC, ("base64", |content| wrapped(content, 10_000, b"\r\n"))),
    ("base64-blank-lines", BASE64_BY_RFC, ("base64", |content| wrapped(content, 20, b"\r\n\r\n"))),
    ("base64-lf", "Python, MIME-tools", ("base64", |content| wrapped(content, 20, b"\n"))),
    ("base64-cr", "Python, MIME-tools", ("base64", |content| wrapped(content, 20, b"\r"))),
    ("base64-crcrlf", "Python, MIME-tools", ("base64", |content| wrapped(content, 20, b"\r\r\n"))),
    ("base64-spaces", BASE64_BY_RFC, ("base64", |content| wrapped(content, 3, b" "))),
    ("base64-tabs", BASE64_BY_RFC, ("base64", |content| wrapped(content, 5, b"\t"))),
    ("base64-indented", BASE64_BY_RFC, ("base64", |content| wrapped(content, 20, b"\r\n   "))),
    ("base64-trailing-space", BASE64_BY_RFC, ("base64", |content| wrapped(content, 20, b"  \r\n"))),
    ("base64-blanks-first", BASE64_BY_RFC, ("base64", |content| framed(b"\r\n\r\n \r\n", content, b""))),
    // RFC 2045 section 6.8: what is not in the alphabet is to be ignored.
    ("base64-exclamations", BASE64_BY_RFC, ("base64", |content| wrapped(content, 1, b"!"))),
    ("base64-stars", BASE64_BY_RFC, ("base64", |content| wrapped(content, 3, b"*\r\n"))),
    ("base64-hyphens", BASE64_BY_RFC, ("base64", |content| wrapped(content, 2, b"-"))),
    ("base64-underscores", BASE64_BY_RFC, ("base64", |content| wrapped(content, 3, b"_"))),
    ("base64-dots", BASE64_BY_RFC, ("base64", |content| wrapped(content, 4, b"."))),
    ("base64-commas", BASE64_BY_RFC, ("base64", |content| wrapped(content, 6, b","))),
    ("base64-quotes", BASE64_BY_RFC, ("base64", |content| wrapped(content, 5, b"\""))),
    ("base64-percents", BASE64_BY_RFC, ("base64", |content| wrapped(content, 7, b"%"))),
    (
        "base64-greater",
        BASE64_BY_RFC,
        ("base64", |content| between(b"> ", &wrapped(content, 20, b"\r\n> "), b"")),
    ),
    ("base64-nuls", "", ("base64", |content| wrapped(content, 1, b"\0"))),
    ("base64-8-bit", BASE64_BY_RFC, ("base64", |content| wrapped(content, 2, b"\xe9"))),
    ("base64-controls", BASE64_BY_RFC, ("base64", |content| wrapped(content, 4, b"\x0b\x0c\x1b\x7f"))),
    ("base64-utf-8", BASE64_BY_RFC, ("base64", |content| wrapped(content, 4, "\u{200b}".as_bytes()))),
    ("base64-byte-order-mark", BASE64_BY_RFC, ("base64", |content| framed(b"\xef\xbb\xbf", content, b""))),
    ("base64-junk-start", BASE64_BY_RFC, ("base64", |content| framed(b"!!!! ", content, b""))),
    ("base64-junk-line-of-four", BASE64_BY_RFC, ("base64", |content| framed(b"junk!\r\n", content, b""))),
    ("base64-junk-line-of-five", "", ("base64", |content| framed(b"junk, junk\r\n\r\n", content, b""))),
    ("base64-text-line", "", ("base64", |content| framed(b"This is no base64.\r\n\r\n", content, b""))),
    (
        "base64-pem",
        "",
        ("base64", |content| framed(b"-----BEGIN X-----\r\n", content, b"-----END X-----\r\n")),
    ),
    ("base64-comment-line", "", ("base64", |content| framed(b"# a comment\r\n", content, b""))),
    ("base64-fields-first", "", ("base64", |content| framed(b"X-A: b\r\nX-C: d\r\n\r\n", content, b""))),
    (
        "base64-signature-last",
        "Python",
        ("base64", |content| framed(b"", content, b"\r\n-- \r\nList footer\r\n")),
    ),
    ("base64-letters-last", "", ("base64", |content| framed(b"", content, b"AAAABBBB"))),
    // Padding.
    ("base64-not-padded", "", ("base64", |content| replaced(content, "="))),
    ("base64-padded-more", "Python", ("base64", |content| framed(b"", content, b"====="))),
    ("base64-padded-first", "", ("base64", |content| framed(b"====\r\n", content, b""))),
    ("base64-padding-between", "", ("base64", |content| wrapped(content, 4, b"="))),
    ("base64-two-paddings-between", "", ("base64", |content| wrapped(content, 4, b"=="))),
    ("base64-four-paddings-between", "", ("base64", |content| wrapped(content, 8, b"===="))),
    ("base64-padding-within-groups", "", ("base64", |content| wrapped(content, 3, b"="))),
    ("base64-padding-letters", "", ("base64", |content| wrapped(content, 1, b"="))),
    ("base64-soft-breaks", "", ("base64", |content| wrapped(content, 20, b"=\r\n"))),
    // Several padded runs: JavaMail, MimeKit and PHP decode them all, MIME-tools from 5.519 too.
    ("base64-runs-of-one", "MimeKit, JavaMail, PHP", ("base64", |content| runs(content, 1, b""))),
    ("base64-runs-of-two", "MimeKit, JavaMail, PHP", ("base64", |content| runs(content, 2, b""))),
    ("base64-runs-of-one-lines", "MimeKit, JavaMail, PHP", ("base64", |content| runs(content, 1, b"\r\n"))),
    ("base64-runs-of-twenty", "MimeKit, JavaMail, PHP", ("base64", |content| runs(content, 20, b"\r\n"))),
    ("base64-runs-spaced", "MimeKit, JavaMail, PHP", ("base64", |content| runs(content, 4, b" \r\n\r\n"))),
    ("base64-run-before", "MimeKit, JavaMail, PHP", ("base64", |content| framed(b"QQ==\r\n", content, b""))),
    (
        "base64-run-before-close",
        "MimeKit, JavaMail, PHP",
        ("base64", |content| framed(b"QUI=", content, b"")),
    ),
    ("base64-run-behind", "Python", ("base64", |content| framed(b"", content, b"QUJDREVGRw==\r\n"))),
    ("base64-half-padded-runs", "", ("base64", |content| half_padded(content))),
    ("base64-runs-of-decoy", "MimeKit, JavaMail, PHP", ("base64", |content| decoy_runs(content))),
    ("base64-loose-bits", "Python", ("base64", |content| loose_bits(content))),
    ("base64-url-alphabet", "", ("base64", |content| swapped(content, b"-_"))),
    ("base64-imap-alphabet", "", ("base64", |content| swapped(content, b"+,"))),
    ("base64-cut", "Python", ("base64", |content| cut(content))),
    ("base64-wide", "", ("base64", |content| wide(&base64(content)))),
    ("base64-twice", "", ("base64", |content| base64_lines(&base64_lines(content)))),
    ("base64-behind-quoted-printable", "", ("quoted-printable", |content| all_hex(&base64(content)))),
    ("base64-in-quoted-printable-letters", "", ("base64", |content| base64_lines(&all_hex(content)))),
    // Bodies that are in another encoding than declared.
    ("base64-as-7bit", "", ("7bit", base64_lines)),
    ("base64-as-8bit", "", ("8bit", base64_lines)),
    ("base64-as-binary", "", ("binary", base64_lines)),
    ("base64-as-quoted-printable", "", ("quoted-printable", base64_lines)),
    ("base64-as-uuencode", "", ("x-uuencode", base64_lines)),
    ("base64-as-unknown", "", ("x-unknown", base64_lines)),
    ("base64-as-nothing", "", ("", base64_lines)),
    ("quoted-printable-as-base64", "", ("base64", all_hex)),
    ("quoted-printable-as-7bit", "", ("7bit", all_hex)),
    ("quoted-printable-as-unknown", "", ("x-unknown", all_hex)),
    // Not the zip: on the way over SMTP a lone CR or LF in it would not stay.
    ("plain-as-base64", "", ("base64", |_| eicar())),
    ("plain-as-quoted-printable", "", ("quoted-printable", |_| eicar())),
    ("plain-as-7bit", "", ("7bit", |_| eicar())),
    ("plain-as-binary", "", ("binary", |_| eicar())),
    ("plain-as-unknown", "", ("x-unknown", |_| eicar())),
    // Quoted-printable.
    ("qp-all-hex", QP_BY_RFC, ("quoted-printable", all_hex)),
    (
        "qp-lower-hex",
        "Python, MIME-tools",
        ("quoted-printable", |content| all_hex(content).to_ascii_lowercase()),
    ),
    ("qp-soft-breaks", QP_BY_RFC, ("quoted-printable", |content| soft(content, b"=\r\n"))),
    ("qp-soft-breaks-space", QP_BY_RFC, ("quoted-printable", |content| soft(content, b"= \t\r\n"))),
    ("qp-soft-breaks-lf", "Python, MIME-tools", ("quoted-printable", |content| soft(content, b"=\n"))),
    ("qp-soft-breaks-cr", "", ("quoted-printable", |content| soft(content, b"=\r"))),
    ("qp-soft-breaks-crcrlf", "", ("quoted-printable", |content| soft(content, b"=\r\r\n"))),
    ("qp-soft-breaks-twice", "", ("quoted-printable", |content| soft(content, b"=\r\n=\r\n"))),
    ("qp-soft-breaks-nul", "", ("quoted-printable", |content| soft(content, b"=\0\r\n"))),
    ("qp-soft-breaks-equals", "", ("quoted-printable", |content| soft(content, b"==\r\n"))),
    ("qp-stray-equals-last", "", ("quoted-printable", |content| between(b"", &all_hex(content), b"="))),
    ("qp-stray-equals-first", "", ("quoted-printable", |content| between(b"=\r\n", &all_hex(content), b""))),
    (
        "qp-wrong-first",
        "Python, MIME-tools",
        ("quoted-printable", |content| between(b"=ZZ=4", &all_hex(content), b"")),
    ),
    ("qp-space-in-hex", "", ("quoted-printable", |content| hex_with(content, b"= "))),
    ("qp-tab-in-hex", "", ("quoted-printable", |content| hex_with(content, b"=\t"))),
    ("qp-break-in-hex", "", ("quoted-printable", |content| hex_with(content, b"=\r\n"))),
    ("qp-percent", "", ("quoted-printable", |content| hex_with(content, b"%"))),
    ("qp-x", "", ("quoted-printable", |content| hex_with(content, b"=x"))),
    (
        "qp-long-line",
        "Python, MIME-tools",
        ("quoted-printable", |content| between(b"", &all_hex(content), b" ")),
    ),
    ("qp-nuls", "", ("quoted-printable", |content| soft(content, b"\0"))),
    ("qp-twice", "", ("quoted-printable", |content| all_hex(&all_hex(content)))),
    // uuencode.
    ("uu", "MIME-tools", ("x-uuencode", |content| uuencode(content, "begin 644 file.bin\r\n", "end\r\n"))),
    ("uu-x-uue", "Python", ("x-uue", |content| uuencode(content, "begin 644 file.bin\r\n", "end\r\n"))),
    ("uu-uuencode", "Python", ("uuencode", |content| uuencode(content, "begin 644 file.bin\r\n", "end\r\n"))),
    ("uu-uue", "Python", ("uue", |content| uuencode(content, "begin 644 file.bin\r\n", "end\r\n"))),
    ("uu-x-uu", "", ("x-uu", |content| uuencode(content, "begin 644 file.bin\r\n", "end\r\n"))),
    ("uu-no-begin", "", ("x-uuencode", |content| uuencode(content, "", "end\r\n"))),
    ("uu-no-end", "", ("x-uuencode", |content| uuencode(content, "begin 644 file.bin\r\n", ""))),
    ("uu-no-name", "", ("x-uuencode", |content| uuencode(content, "begin 644\r\n", "end\r\n"))),
    ("uu-four-digits", "", ("x-uuencode", |content| uuencode(content, "begin 0644 f\r\n", "end\r\n"))),
    ("uu-one-digit", "", ("x-uuencode", |content| uuencode(content, "begin 6 f\r\n", "end\r\n"))),
    ("uu-no-mode", "", ("x-uuencode", |content| uuencode(content, "begin file.bin\r\n", "end\r\n"))),
    ("uu-tabs", "", ("x-uuencode", |content| uuencode(content, "begin\t644\tfile.bin\r\n", "end\r\n"))),
    ("uu-two-spaces", "", ("x-uuencode", |content| uuencode(content, "begin  644  file.bin\r\n", "end\r\n"))),
    ("uu-capitals", "", ("x-uuencode", |content| uuencode(content, "BEGIN 644 file.bin\r\n", "END\r\n"))),
    ("uu-indented", "", ("x-uuencode", |content| uuencode(content, " begin 644 file.bin\r\n", "end\r\n"))),
    (
        "uu-behind-text",
        "",
        ("x-uuencode", |content| uuencode(content, "text\r\n\r\nbegin 644 f\r\n", "end\r\n")),
    ),
    ("uu-decoy-first", "", ("x-uuencode", |content| uuencode(content, DECOY_UU, "end\r\n"))),
    (
        "uu-in-base64",
        "",
        ("base64", |content| base64_lines(&uuencode(content, "begin 644 f\r\n", "end\r\n"))),
    ),
    (
        "uu-in-quoted-printable",
        "",
        ("quoted-printable", |content| soft(&uuencode(content, "begin 644 f\r\n", "end\r\n"), b"=\r\n")),
    ),
    (
        "uu-base64-declared",
        "",
        ("x-uuencode", |content| between(b"begin-base64 644 f\r\n", &base64_lines(content), b"====\r\n")),
    ),
    // Others.
    ("gzip64", "MIME-tools", ("x-gzip64", |content| base64_lines(&gzip(content)))),
    ("gzip-in-base64", BASE64_BY_RFC, ("base64", |content| base64_lines(&gzip(content)))),
    ("data-url", "", ("7bit", |content| framed(b"data:application/zip;base64,", content, b""))),
    ("utf-16", "", ("8bit", |content| wide(content))),
    ("hex", "", ("x-hex", |content| hex_with(content, b""))),
];

/// Encodings that mail and news programs look for in text, declared or not; each as a row of [`WAYS`].
pub const IN_TEXT: &[Row<(&str, Encoder)>] = &[
    (
        "uu-in-text",
        "MIME-tools",
        ("7bit", |content| uuencode(content, "text\r\n\r\nbegin 644 f\r\n", "end\r\n")),
    ),
    ("uu-in-text-no-end", "", ("7bit", |content| uuencode(content, "begin 644 f\r\n", ""))),
    ("uu-in-text-decoy-first", "", ("7bit", |content| uuencode(content, DECOY_UU, "end\r\n"))),
    ("uu-in-text-indented", "", ("7bit", |content| uuencode(content, " begin 644 f\r\n", "end\r\n"))),
    (
        "uu-base64",
        "",
        ("7bit", |content| between(b"begin-base64 644 f\r\n", &base64_lines(content), b"====\r\n")),
    ),
    ("yenc", "Thunderbird", ("8bit", |content| yenc(content, true, true))),
    ("yenc-declared", "", ("x-yenc", |content| yenc(content, true, true))),
    ("yenc-no-end", "", ("8bit", |content| yenc(content, true, false))),
    ("yenc-parts", "", ("8bit", |content| yenc(content, false, true))),
    ("yenc-7bit", "", ("7bit", |content| yenc(content, true, true))),
    ("binhex", "", ("7bit", |content| binhex(content, BINHEX_NOTE))),
    ("binhex-no-note", "", ("7bit", |content| binhex(content, ""))),
    ("binhex-declared", "", ("x-binhex", |content| binhex(content, BINHEX_NOTE))),
    ("binhex-declared-40", "", ("mac-binhex40", |content| binhex(content, BINHEX_NOTE))),
];

const DECOY_UU: &str = "begin 644 a\r\n#0V%T\r\n`\r\nend\r\nbegin 644 f\r\n";
const BINHEX_NOTE: &str = "(This file must be converted with BinHex 4.0)\r\n\r\n";

/// base64 on one line.
pub fn base64(content: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    for group in content.chunks(3) {
        let byte = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let letter = ALPHABET[(word >> (18 - 6 * digit) & 63) as usize];
            out.push(if digit <= group.len() { letter } else { b'=' });
        }
    }
    out
}

/// base64 as mail programs write it.
pub fn base64_lines(content: &[u8]) -> Vec<u8> {
    wrapped(content, 76, b"\r\n")
}

/// Every byte as quoted-printable writes strange ones, without line breaks.
pub fn all_hex(content: &[u8]) -> Vec<u8> {
    hex_with(content, b"=")
}

/// base64 with a separator behind each so many letters.
fn wrapped(content: &[u8], letters: usize, separator: &[u8]) -> Vec<u8> {
    let lines = base64(content);
    let lines: Vec<&[u8]> = lines.chunks(letters).collect();
    [lines.join(separator), b"\r\n".to_vec()].concat()
}

fn between(before: &[u8], text: &[u8], behind: &[u8]) -> Vec<u8> {
    [before, text, behind].concat()
}

/// Usual base64 with text before and behind.
fn framed(before: &[u8], content: &[u8], behind: &[u8]) -> Vec<u8> {
    between(before, &base64_lines(content), behind)
}

/// base64 without some characters.
fn replaced(content: &[u8], without: &str) -> Vec<u8> {
    base64_lines(content).into_iter().filter(|byte| !without.as_bytes().contains(byte)).collect()
}

/// base64 in runs of so many bytes of content, each with its own padding.
fn runs(content: &[u8], bytes: usize, separator: &[u8]) -> Vec<u8> {
    let runs: Vec<Vec<u8>> = content.chunks(bytes).map(base64).collect();
    [runs.join(separator), b"\r\n".to_vec()].concat()
}

/// Runs of one byte with one padding character where two belong.
fn half_padded(content: &[u8]) -> Vec<u8> {
    content.chunks(1).flat_map(|byte| base64(byte)[..3].to_vec()).collect()
}

/// An empty run, a run that is the first half, and one that is the rest.
fn decoy_runs(content: &[u8]) -> Vec<u8> {
    let (first, rest) = content.split_at(content.len() / 2 / 3 * 3 + 1);
    [b"====\r\n".to_vec(), base64(first), b"\r\n====\r\n".to_vec(), base64(rest), b"\r\n".to_vec()].concat()
}

/// The bits that nobody needs, behind the last byte, are not zero.
fn loose_bits(content: &[u8]) -> Vec<u8> {
    let mut text = base64(content);
    if let Some(last) = text.iter().rposition(|byte| *byte != b'=')
        && text.ends_with(b"=")
    {
        text[last] += 1;
    }
    text
}

/// Other characters for the last two of the alphabet.
fn swapped(content: &[u8], last: &[u8; 2]) -> Vec<u8> {
    let swap = |byte: u8| match byte {
        b'+' => last[0],
        b'/' => last[1],
        other => other,
    };
    base64_lines(content).into_iter().map(swap).collect()
}

/// Ends inside the group behind the content.
fn cut(content: &[u8]) -> Vec<u8> {
    [replaced(&[content, b"xy"].concat(), "=\r\n"), b"QUJ".to_vec()].concat()
}

/// UTF-16, little-endian.
fn wide(text: &[u8]) -> Vec<u8> {
    text.iter().flat_map(|byte| [*byte, 0]).collect()
}

/// Two hexadecimal digits for each byte, behind a prefix.
fn hex_with(content: &[u8], prefix: &[u8]) -> Vec<u8> {
    content.iter().flat_map(|byte| [prefix, format!("{byte:02X}").as_bytes()].concat()).collect()
}

/// Quoted-printable with a separator behind each character, the first and each third of them in hexadecimal.
fn soft(content: &[u8], separator: &[u8]) -> Vec<u8> {
    let encode = |(place, byte): (usize, &u8)| {
        let plain = place % 3 != 0 && byte.is_ascii_alphanumeric();
        let text = if plain { vec![*byte] } else { format!("={byte:02X}").into() };
        [text, separator.to_vec()].concat()
    };
    content.iter().enumerate().flat_map(encode).collect()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    // Writing to memory cannot fail.
    packed.write_all(content).and_then(|()| packed.finish()).unwrap_or_default()
}
