//! Mails that hide a file where mail programs disagree: whichever way one of them reads it, the file is among the parts.

use bytes::Bytes;
use gatepost_mail::{Budget, DefectKind, Limits, Message};

/// What is hidden. Nothing in it stands for itself in any encoding by accident.
const FILE: &[u8] =
    b"This is the hidden file, version 1.\r\nIts second line = 100% of it?\r\n> and a third_one.";

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |place: usize| u32::from(chunk.get(place).copied().unwrap_or_default());
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = ALPHABET[(word >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

/// Base64 in lines of so many characters.
fn lines(text: &str, length: usize) -> String {
    let lines: Vec<&str> =
        text.as_bytes().chunks(length).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    lines.join("\n")
}

fn quoted(bytes: &[u8]) -> String {
    bytes
        .chunks(20)
        .map(|line| line.iter().map(|byte| format!("={byte:02X}")).collect::<String>())
        .collect::<Vec<_>>()
        .join("=\n")
}

fn uu(bytes: &[u8]) -> String {
    let mut out = String::new();
    let digit = |value: u32| if value & 63 == 0 { '`' } else { char::from((value & 63) as u8 + b' ') };
    for line in bytes.chunks(45) {
        out.push(digit(line.len() as u32));
        for group in line.chunks(3) {
            let byte = |place: usize| u32::from(group.get(place).copied().unwrap_or_default());
            let word = byte(0) << 16 | byte(1) << 8 | byte(2);
            out.extend([18, 12, 6, 0].map(|shift| digit(word >> shift)));
        }
        out.push('\n');
    }
    out + "`\nend\n"
}

fn yenc(bytes: &[u8]) -> Vec<u8> {
    let mut out = format!("=ybegin line=128 size={} name=a.bin\n", bytes.len()).into_bytes();
    for byte in bytes {
        match byte.wrapping_add(42) {
            critical @ (0 | b'\n' | b'\r' | b'=') => out.extend([b'=', critical.wrapping_add(64)]),
            plain => out.push(plain),
        }
    }
    out.extend(b"\n=yend\n");
    out
}

fn binhex(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr";
    let size = (bytes.len() as u32).to_be_bytes();
    let file = [b"\x05a.bin\0BINAtest\0\0", &size[..], &[0; 6], bytes, &[0; 4]].concat();
    let mut text = String::new();
    for group in file.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        text.extend([18, 12, 6, 0].map(|shift| char::from(ALPHABET[(word >> shift & 63) as usize])));
    }
    format!("(This file must be converted with BinHex 4.0)\n\n:{}:\n", lines(&text, 64))
}

/// A mail with these fields and this body.
fn mail(fields: &str, body: &str) -> String {
    format!("From: a@example.org\nSubject: x\nMIME-Version: 1.0\n{fields}\n\n{body}")
}

/// A mail whose second part has this header and body.
fn part(header: &str, body: &str) -> String {
    mail(
        "Content-Type: multipart/mixed; boundary=\"=-bound\"",
        &format!(
            "--=-bound\nContent-Type: text/plain\n\nhello\n--=-bound\n{header}\n\n{body}\n--=-bound--\n"
        ),
    )
}

/// A mail of these fields whose parts stand at this boundary.
fn split(fields: &str, boundary: &str) -> String {
    let file = lines(&base64(FILE), 60);
    let head = "Content-Type: application/octet-stream; name=a.bin\nContent-Transfer-Encoding: base64";
    mail(fields, &format!("--{boundary}\n\nhello\n--{boundary}\n{head}\n\n{file}\n--{boundary}--\n"))
}

/// Mails, with what sets them apart.
type Table = Vec<(String, Vec<u8>)>;

fn crlf(mail: &str) -> Vec<u8> {
    mail.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes()
}

/// Fields that say `base64` in some reader's eyes, before a body that is.
fn transfer_encodings() -> Table {
    let body = lines(&base64(FILE), 60);
    let cte = "Content-Transfer-Encoding";
    let values = [
        "base64",
        "BASE64",
        " base64 ",
        "\tbase64",
        "\"base64\"",
        "'base64'",
        "base64;",
        "base64 ;foo",
        "base64; x=y",
        "base64 (comment)",
        "(comment) base64",
        "(com(me)nt)base64",
        "base64 junk",
        "junk base64",
        "base 64",
        "base-64",
        "base64,",
        "base64, 7bit",
        "7bit, base64",
        "x-base64",
        "base64\0",
        "\0base64",
        "base64.",
        "=?us-ascii?q?base64?=",
        "=?utf-8?B?YmFzZTY0?=",
        "b\"ase\"64",
        "bas(x)e64",
        "\n base64",
        "\n\tbase64",
        "base\n 64",
        "8bit\n base64",
        "gzip64",
        "x-gzip64",
        "mime64",
        ":base64",
        "base64/",
        "\\base64",
        "ba\\se64",
    ];
    let mut table = Table::new();
    for value in values {
        let what = format!("encoding {value:?}");
        table.push((what, crlf(&part(&format!("{cte}:{value}"), &body))));
    }
    let fields = [
        format!("{cte} : base64"),
        format!("{cte}:base64"),
        format!("{cte}\t: base64"),
        "content-transfer-ENCODING: base64".to_owned(),
        "Content_Transfer_Encoding: base64".to_owned(),
        "Content Transfer Encoding: base64".to_owned(),
        format!(" {cte}: base64"),
        format!("\0{cte}: base64"),
        format!("{cte}\0: base64"),
        format!("\u{feff}{cte}: base64"),
        "Content-Transfer\0-Encoding: base64".to_owned(),
        format!("\u{1}{cte}: base64"),
        format!("\"{cte}\": base64"),
        format!("{cte}: 7bit\n{cte}: base64"),
        format!("{cte}: base64\n{cte}: 7bit"),
        format!("{cte}: quoted-printable\n{cte}: base64"),
        format!("{cte}: base64\n{cte}: quoted-printable"),
        format!("{cte}: x-foo\n{cte}: base64\n{cte}: 8bit"),
        format!("{cte}: \n{cte}: base64"),
        format!("{cte}:\n{cte}: base64"),
        format!("X: y\n \n{cte}: base64"),
        format!("junk\n{cte}: base64"),
        format!("junk line\nmore junk\n{cte}: base64"),
        format!("{cte}: base64\njunk"),
        format!("{cte}: base64\njunk\nX: y"),
        format!("X: y\r{cte}: base64"),
        format!("{cte}: base64\rX: y"),
        format!("X: y\n\n{cte}: base64"),
        format!("\n{cte}: base64"),
        format!("X: {}\n{cte}: base64", "x".repeat(70_000)),
        format!("X: é\n{cte}: base64"),
        format!("X-é: x\n{cte}: base64"),
        format!("{cte} base64"),
        format!("{cte}= base64"),
        format!("X-{cte}: base64"),
        "X: y".into(),
        "".into(),
        format!("{cte}: 8bit"),
        format!("{cte}: quoted-printable"),
        format!("{cte}: uuencode"),
        format!("{cte}: rot13"),
        format!("{cte}: binary"),
        format!("{cte}: base65"),
    ];
    for field in fields {
        table.push((format!("header {:?}", &field[..field.len().min(80)]), crlf(&part(&field, &body))));
    }
    table.push((
        "no empty line".into(),
        crlf(&part("", "").replace("\n\n\n--=-bound--", &format!("{cte}: base64\n{body}\n--=-bound--"))),
    ));
    let whole = format!("{cte}: base64\n\n{body}");
    table.push(("the whole mail, encoded".into(), crlf(&format!("From: a@b\n{whole}"))));
    table.push(("nothing but the body".into(), crlf(&format!("\n{body}"))));
    table
}

/// Bodies behind each encoding, broken in the ways that readers mend.
fn bodies() -> Table {
    let plain = base64(FILE);
    let of_length = |length: usize| -> String { FILE.chunks(length).map(base64).collect() };
    let of_lines = |length: usize, padded: bool| -> String {
        let line = |chunk| if padded { base64(chunk) } else { base64(chunk).replace('=', "") };
        FILE.chunks(length).map(line).collect::<Vec<_>>().join("\n")
    };
    let (head, tail) = plain.split_at(40);
    let bodies = [
        ("by the book", lines(&plain, 76)),
        ("one line", plain.clone()),
        ("a character a line", lines(&plain, 1)),
        ("lines of 7", lines(&plain, 7)),
        ("junk", plain.replace('I', "*I.")),
        ("8-bit junk", plain.replace('I', "éIü")),
        ("NUL", plain.replace('I', "\0I")),
        ("white space", plain.replace('I', " \t I")),
        ("empty lines", lines(&plain, 20).replace('\n', "\n\n")),
        ("no padding", plain.trim_end_matches('=').into()),
        ("too much padding", format!("{plain}====")),
        ("padding first", format!("===={plain}")),
        ("padded in pieces of 1", of_length(1)),
        ("padded in pieces of 2", of_length(2)),
        ("padded in pieces of 5", of_length(5)),
        ("padded lines of 10", of_lines(10, true)),
        ("bare lines of 10", of_lines(10, false)),
        ("padding that is skipped", plain.replace('I', "=I")),
        ("padding that is skipped, doubled", format!("{}=={}", &plain[..39], &plain[39..])),
        ("ends at the padding", format!("{}\nAAAA\nBBBB", base64(FILE))),
        ("text before", format!("Here it is, enjoy:\n{plain}")),
        ("a word before", format!("hello\n{plain}")),
        ("text behind", format!("{plain}\n\nThis list is sponsored by nobody.\n")),
        ("text behind its line", format!("{plain}\n-- \nSigned, me")),
        ("lines of text within", format!("{head}\nX-Junk: yes, please!\n{tail}")),
        ("a boundary within", format!("{head}\n--other\n{tail}")),
        ("the alphabet of URLs", base64(FILE).replace('+', "-").replace('/', "_")),
        ("indented", format!("  {}", lines(&plain, 40).replace('\n', "\n  "))),
        ("quoted-printable within", lines(&plain, 60).replace('=', "=3D")),
        ("soft line breaks", lines(&plain, 60).replace('\n', "=\n")),
    ];
    let mut table = Table::new();
    for (what, body) in bodies {
        let header = "Content-Type: application/octet-stream\nContent-Transfer-Encoding: ";
        table.push((format!("base64, {what}"), crlf(&part(&format!("{header}base64"), &body))));
        if matches!(what, "quoted-printable within" | "soft line breaks") {
            table.push((
                format!("both, {what}"),
                crlf(&part(&format!("{header}quoted-printable, base64"), &body)),
            ));
        }
    }
    let encoded = quoted(FILE);
    let bodies = [
        ("by the book", encoded.clone()),
        ("lower case", encoded.to_lowercase()),
        ("white space behind soft breaks", encoded.replace("=\n", "= \t\n")),
        ("no last line break", encoded.trim_end().into()),
        ("a soft break at the end", format!("{encoded}=")),
        ("stray marks", encoded.replacen("=69", "=69=", 3)),
        ("marks before soft breaks", encoded.replace("=\n", "==\n")),
        ("wrong digits", encoded.replacen("=69", "=ZZ=69", 2)),
        ("blanks before digits", encoded.replacen("=69", "= 6\t9", 3)),
        ("ends at a wrong digit", format!("{encoded}=ZZ and more text")),
        ("partly plain", String::from_utf8_lossy(FILE).replace('=', "=3D")),
    ];
    for (what, body) in bodies {
        for cte in [
            "quoted-printable",
            "Quoted Printable",
            "quoted-printable (x)",
            "quoted/printable",
            "quoted-printable;",
            "qp",
            "7bit",
            "x-rot13",
            "base64",
        ] {
            let named = cte.starts_with(['q', 'Q']);
            if what == "partly plain" && !named {
                // Nobody would guess.
                continue;
            }
            let header = format!("Content-Type: application/octet-stream\nContent-Transfer-Encoding: {cte}");
            table.push((format!("{cte}, {what}"), crlf(&part(&header, &body))));
        }
    }
    table
}

/// Files in the text forms older than MIME.
fn text_forms() -> Table {
    let uu = uu(FILE);
    let texts: Vec<(&str, Vec<u8>)> = vec![
        ("uuencode", format!("begin 644 a.bin\n{uu}").into()),
        ("uuencode, no end", format!("begin 644 a.bin\n{}", uu.replace("`\nend\n", "")).into()),
        ("uuencode, no mode", format!("begin  a.bin\n{uu}").into()),
        ("uuencode, long mode", format!("begin 100644 a.bin\n{uu}").into()),
        ("uuencode behind text", format!("See this:\nbegin 644 a.bin\n{uu}\nBye\n").into()),
        ("uuencode with spaces", format!("begin 644 a.bin\n{}", uu.replace('`', " ")).into()),
        (
            "uuencode of base64",
            format!("begin-base64 644 a.bin\n{}\n====\n", lines(&base64(FILE), 60)).into(),
        ),
        ("yEnc", yenc(FILE)),
        ("BinHex", binhex(FILE).into()),
        ("base64", lines(&base64(FILE), 60).into()),
        ("base64 behind text", format!("See:\n\n{}\n\nbye\n", lines(&base64(FILE), 60)).into()),
    ];
    let headers = [
        "Content-Type: text/plain",
        "",
        "Content-Type: application/octet-stream",
        "Content-Transfer-Encoding: 8bit",
        "Content-Transfer-Encoding: x-unknown",
        "Content-Transfer-Encoding: x-uuencode",
        "Content-Transfer-Encoding: x-yencode",
        "Content-Transfer-Encoding: mac-binhex40",
        "Content-Type: application/mac-binhex40",
    ];
    let mut table = Table::new();
    for (what, text) in texts {
        for header in headers {
            let mail = part(header, "BODY").replace('\n', "\r\n").into_bytes();
            let at = mail.windows(4).position(|four| four == b"BODY").expect("there");
            let text: Vec<u8> = text
                .iter()
                .flat_map(|byte| if *byte == b'\n' { vec![b'\r', b'\n'] } else { vec![*byte] })
                .collect();
            table.push((format!("{what} under {header:?}"), [&mail[..at], &text, &mail[at + 4..]].concat()));
        }
        if !what.starts_with("yEnc") {
            let text = String::from_utf8(text).expect("ASCII");
            for outside in [format!("{text}\n--b\n\nhello\n--b--\n"), format!("--b\n\nhello\n--b--\n{text}")]
            {
                table.push((
                    format!("{what} outside"),
                    crlf(&mail("Content-Type: multipart/mixed; boundary=b", &outside)),
                ));
            }
        }
    }
    let two = format!("begin 644 first\n#0V%T\n`\nend\nbegin 644 a.bin\n{uu}");
    table.push(("the second file".into(), crlf(&part("Content-Transfer-Encoding: x-uuencode", &two))));
    let bare = part("Content-Transfer-Encoding: x-uuencode", &uu.replace("`\nend\n", ""));
    table.push(("uuencode without its first line".into(), crlf(&bare)));
    table
}

/// Types and boundaries that readers take in several ways.
fn boundaries() -> Table {
    let types = [
        ("multipart/mixed; boundary=b", "b"),
        ("multipart/mixed; boundary=\"b\"", "b"),
        ("multipart/mixed; BOUNDARY=\"b\"", "b"),
        ("multipart/mixed; boundary=\"a b\"", "a b"),
        ("multipart/mixed; boundary=\"a \\\"b\"", "a \"b"),
        ("multipart/mixed; boundary=\"a\\b\"", "ab"),
        ("multipart/mixed; boundary=\"a\\b\"", "a\\b"),
        ("multipart/mixed; boundary=a b", "a"),
        ("multipart/mixed; boundary=a b", "a b"),
        ("multipart/mixed; boundary='b'", "'b'"),
        ("multipart/mixed; boundary='b'", "b"),
        ("multipart/mixed; boundary=\"b", "b"),
        ("multipart/mixed; boundary=b\"", "b\""),
        ("multipart/mixed; boundary=b\"", "b"),
        ("multipart/mixed; boundary=\"b\"c", "b"),
        ("multipart/mixed; boundary=\"b\"c", "bc"),
        ("multipart/mixed; boundary=b(c)", "b"),
        ("multipart/mixed; boundary=b(c)", "b(c)"),
        ("multipart/mixed; boundary=(c)b", "b"),
        ("multipart/mixed; boundary(c)=b", "b"),
        ("multipart/mixed; boundary =b", "b"),
        ("multipart/mixed; boundary= b", "b"),
        ("multipart/mixed; boundary = \"b\" ;", "b"),
        ("multipart/mixed;; boundary=b", "b"),
        ("multipart/mixed boundary=b", "b"),
        ("multipart/mixed, boundary=b", "b"),
        ("multipart/mixed; charset=x boundary=b", "b"),
        ("multipart/mixed; charset=\"x; boundary=b", "b"),
        ("multipart/mixed; boundary:b", "b"),
        ("multipart/mixed; boundary=a; boundary=b", "a"),
        ("multipart/mixed; boundary=a; boundary=b", "b"),
        ("multipart/mixed; boundary=a;b", "a;b"),
        ("multipart/mixed; boundary=a;b", "a"),
        ("multipart/mixed; boundary*=us-ascii''b", "b"),
        ("multipart/mixed; boundary*=us-ascii'en'%62", "b"),
        ("multipart/mixed; boundary*=b", "b"),
        ("multipart/mixed; boundary*0=a; boundary*1=b", "ab"),
        ("multipart/mixed; boundary*1=b; boundary*0=a", "ab"),
        ("multipart/mixed; boundary*0=a; boundary*1=b", "a"),
        ("multipart/mixed; boundary*0*=''%61; boundary*1=b", "ab"),
        ("multipart/mixed; boundary=a; boundary*=''b", "a"),
        ("multipart/mixed; boundary=a; boundary*=''b", "b"),
        ("multipart/mixed; boundary=a; boundary*0=b", "b"),
        ("multipart/mixed; boundary=\"=?us-ascii?q?b?=\"", "b"),
        ("multipart/mixed; boundary=\"=?us-ascii?q?b?=\"", "=?us-ascii?q?b?="),
        ("=?us-ascii?q?multipart/mixed?=; boundary=b", "b"),
        ("=?us-ascii?q?multipart/mixed=3B_boundary=3Db?=", "b"),
        ("multipart/mixed;\n boundary=b", "b"),
        ("multipart/mixed;\n \n boundary=b", "b"),
        ("multipart/mixed; boundary=\n b", "b"),
        ("multipart/mixed; boundary=\"a\n b\"", "a b"),
        ("multipart/mixed; boundary=\"a\n b\"", "ab"),
        ("multipart/mixed; boundary=a\n b", "ab"),
        ("multipart/mixed; boundary=\"b \"", "b"),
        ("multipart/mixed; boundary=\"b \"", "b "),
        ("multipart/mixed; boundary=\" b\"", "b"),
        ("multipart/mixed; boundary=\"b\0c\"", "b"),
        ("multipart/mixed; boundary=\"b\0c\"", "bc"),
        ("multipart/mixed; boundary=\"\"", "b"),
        ("multipart/mixed; boundary=\"\"", ""),
        ("multipart/mixed; boundary=", ""),
        ("multipart/mixed", "b"),
        ("multipart/mixed; boundary=other", "b"),
        ("multipart/mixed; boundary=B", "b"),
        ("multipart/nonesuch; boundary=b", "b"),
        ("multipart; boundary=b", "b"),
        ("multipart/; boundary=b", "b"),
        ("multipart/mixed/x; boundary=b", "b"),
        ("multi part/mixed; boundary=b", "b"),
        ("\"multipart/mixed\"; boundary=b", "b"),
        ("(c)multipart/(c)mixed(c); boundary=b", "b"),
        ("MULTIPART/MIXED; boundary=b", "b"),
        (";multipart/mixed; boundary=b", "b"),
        ("text/plain multipart/mixed; boundary=b", "b"),
        ("text/plain; boundary=b", "b"),
        ("text/plain", "b"),
        ("application/octet-stream", "b"),
        ("x/multipart; boundary=b", "b"),
        ("message/rfc822; boundary=b", "b"),
        ("", "b"),
    ];
    let mut table = Table::new();
    for (value, boundary) in types {
        let mail = split(&format!("Content-Type: {value}"), boundary);
        table.push((format!("{value:?} split at {boundary:?}"), crlf(&mail)));
    }
    let multipart = "Content-Type: multipart/mixed; boundary=b";
    let fields = [
        "Content-Type : multipart/mixed; boundary=b",
        "Content-Type:multipart/mixed; boundary=b",
        "Content_Type: multipart/mixed; boundary=b",
        "ContentType: multipart/mixed; boundary=b",
        " Content-Type: multipart/mixed; boundary=b",
        "\0Content-Type: multipart/mixed; boundary=b",
        "Content-Type\0: multipart/mixed; boundary=b",
        "junk\nContent-Type: multipart/mixed; boundary=b",
        "Content-Type multipart/mixed; boundary=b",
        "Content-Type: text/plain\nContent-Type: multipart/mixed; boundary=b",
        "Content-Type: multipart/mixed; boundary=b\nContent-Type: text/plain",
        "Content-Type: multipart/mixed; boundary=a\nContent-Type: multipart/mixed; boundary=b",
        "Content-Type: multipart/mixed; boundary=b\nContent-Type: multipart/mixed; boundary=a",
        "Content-Type: multipart/mixed\nContent-Type: text/plain; boundary=b",
        "X: y\rContent-Type: multipart/mixed; boundary=b",
        "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64",
        "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: quoted-printable",
        "X: y\n\nContent-Type: multipart/mixed; boundary=b",
        "X: y\n \nContent-Type: multipart/mixed; boundary=b",
        "Content-Type: multipart/mixed; boundary=b\njunk line",
    ];
    for field in fields {
        table.push((format!("{field:?}"), crlf(&split(field, "b"))));
    }
    let whole = split(multipart, "b");
    let lines_of = [
        ("white space behind", whole.replace("--b\n", "--b \t\n")),
        ("text behind", whole.replace("--b\n", "--b junk\n")),
        ("text behind one of them", whole.replace("--b\nContent", "--b junk\nContent")),
        ("more behind one of them", whole.replace("--b\nContent", "--bjunk\nContent")),
        ("white space before", whole.replace("\n--b", "\n  --b")),
        ("text before one of them", whole.replace("\n--b\nContent", "\ntext--b\nContent")),
        ("white space before one of them", whole.replace("\n--b\nContent", "\n --b\nContent")),
        ("never closed", whole.replace("--b--\n", "")),
        ("closed early", whole.replacen("--b\n", "--b--\n--b\n", 1)),
        ("closed between", whole.replace("--b\nContent", "--b--\n--b\nContent")),
        ("closed between with text", whole.replace("--b\nContent", "--b-- x\n--b\nContent")),
        ("closed between, not quite", whole.replace("--b\nContent", "--b--x\n--b\nContent")),
        ("closed, and another boundary", whole.replace("--b\nContent", "--b--\n--c\nContent")),
        (
            "another boundary before",
            whole.replacen("--b\n", "--c\n", 1).replace("--b\nContent", "--c\nContent"),
        ),
        (
            "the first boundary is missing",
            whole.replacen("--b\n\nhello\n", "", 1).replace("--b\nContent", "Content"),
        ),
        ("only a header behind the preamble", whole.replacen("--b\n\nhello\n--b\n", "", 1)),
        ("empty parts between", whole.replace("--b\n", "--b\n--b\n")),
        ("no line break before", whole.replace("hello\n--b", "hello--b")),
        ("BOM", format!("\u{feff}{whole}")),
        ("junk before the mail", format!("junk\n{whole}")),
        (
            "junk lines before the mail",
            format!("junk one\njunk two\njunk three\njunk four\njunk five\n{whole}"),
        ),
        ("empty lines before the mail", format!("\n\n{whole}")),
        ("mbox line before the mail", format!("From a@b Thu Jan  1 00:00:00 2026\n{whole}")),
        ("a message within", format!("From: a@b\nContent-Type: message/rfc822\n\n{whole}")),
        ("a misspelt message within", format!("From: a@b\nContent-Type: message/rfc-822\n\n{whole}")),
        ("a global message within", format!("From: a@b\nContent-Type: message/global\n\n{whole}")),
        (
            "the only piece of a message",
            format!("From: a@b\nContent-Type: message/partial; id=x; number=1; total=1\n\n{whole}"),
        ),
        (
            "a message in base64",
            format!(
                "From: a@b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n{}",
                lines(&base64(whole.as_bytes()), 76)
            ),
        ),
        ("a message in text", format!("From: a@b\nContent-Type: text/plain\n\nSee what came:\n\n{whole}")),
        (
            "a multipart in base64",
            format!(
                "{multipart}\nContent-Transfer-Encoding: base64\n\n{}",
                lines(&base64(whole.split_once("\n\n").expect("a body").1.as_bytes()), 76)
            ),
        ),
        (
            "a multipart in quoted-printable",
            format!(
                "{multipart}\nContent-Transfer-Encoding: quoted-printable\n\n{}",
                quoted(whole.split_once("\n\n").expect("a body").1.as_bytes())
            ),
        ),
        (
            "a multipart in a multipart, same boundary",
            split(multipart, "b").replacen(
                "--b\n",
                "--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n",
                1,
            ),
        ),
        (
            "a multipart in a multipart, longer boundary",
            mail(
                "Content-Type: multipart/mixed; boundary=b",
                &format!("--b\n{}\n--b--\n", split("Content-Type: multipart/mixed; boundary=bb", "bb")),
            ),
        ),
        (
            "a multipart in a multipart, shorter boundary",
            mail(
                "Content-Type: multipart/mixed; boundary=bb",
                &format!("--bb\n{}\n--bb--\n", split("Content-Type: multipart/mixed; boundary=b", "b")),
            ),
        ),
        (
            "the outer is closed within the inner",
            mail(
                "Content-Type: multipart/mixed; boundary=o",
                &format!("--o\n{}", split(multipart, "b").replace("--b\nContent", "--o--\n--b\nContent")),
            ),
        ),
        (
            "the encoding stands above",
            whole.replace("Content-Transfer-Encoding: base64\n\n", "\n").replacen(
                multipart,
                &format!("{multipart}\nContent-Transfer-Encoding: base64"),
                1,
            ),
        ),
    ];
    for (what, mail) in lines_of {
        table.push((format!("boundary lines: {what}"), crlf(&mail)));
        table.push((format!("boundary lines, LF: {what}"), mail.clone().into_bytes()));
        table.push((format!("boundary lines, CR: {what}"), mail.replace('\n', "\r").into_bytes()));
        table.push((format!("boundary lines, CR CR LF: {what}"), mail.replace('\n', "\r\r\n").into_bytes()));
    }
    let utf16: Vec<u8> = "\u{feff}"
        .chars()
        .chain(whole.replace('\n', "\r\n").chars())
        .collect::<String>()
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    table.push(("UTF-16".into(), utf16));
    let nul: Vec<u8> = crlf(&whole)
        .into_iter()
        .flat_map(|byte| if byte == b'-' { vec![0, byte] } else { vec![byte] })
        .collect();
    table.push(("NUL before each hyphen".into(), nul));
    table.push(("8-bit boundary".into(), [b"Content-Type: multipart/mixed; boundary=\"\xe9b\"\r\n\r\n--\xe9b\r\nContent-Transfer-Encoding: base64\r\n\r\n", base64(FILE).as_bytes(), b"\r\n--\xe9b--\r\n"].concat()));
    table
}

fn squeezed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| !matches!(byte, b'\r')).collect::<Vec<u8>>().trim_ascii().to_vec()
}

/// Some part is the file, neither more nor less but for line ends.
fn finds(mail: &[u8]) -> Result<(), String> {
    let message = Message::read(Bytes::copy_from_slice(mail), &mut Budget::new(&Limits::default()));
    let file = squeezed(FILE);
    if message.parts.iter().any(|part| squeezed(&part.body) == file) {
        let over = |kind: DefectKind| matches!(kind, DefectKind::Over(_));
        return match message.defects.iter().find(|defect| over(defect.kind)) {
            Some(defect) => Err(format!("{defect:?}")),
            None => Ok(()),
        };
    }
    let shown = |part: &gatepost_mail::Part| {
        format!("{:?}", String::from_utf8_lossy(&part.body[..part.body.len().min(150)]))
    };
    Err(message.parts.iter().map(shown).collect::<Vec<_>>().join("\n    "))
}

#[test]
fn whoever_opens_it_we_see_it() {
    let tables = [transfer_encodings(), bodies(), text_forms(), boundaries()];
    let mut missed = Vec::new();
    let mut count = 0;
    for (what, mail) in tables.into_iter().flatten() {
        count += 1;
        if let Err(found) = finds(&mail) {
            missed.push(format!("{what}\n    {found}"));
        }
    }
    assert!(missed.is_empty(), "{} of {count} missed:\n{}", missed.len(), missed.join("\n"));
}

#[test]
fn what_came_is_read_beside_what_was_mended() {
    // As came, as mended, and bodies that only the first has.
    let table: &[(&str, &str, &[&str])] = &[
        ("A: b\r\n\r\none\rtwo\r\n", "A: b\r\n\r\none two\r\n", &["one\rtwo", "one\r\ntwo"]),
        (
            "A: b\rContent-Transfer-Encoding: base64\r\n\r\naGlkZGVu\r\n",
            "A: b Content-Transfer-Encoding: base64\r\n\r\naGlkZGVu\r\n",
            &["hidden"],
        ),
        ("A: b\r\n\r\na\0b\r\n", "A: b\r\n\r\na b\r\n", &["a\0b", "ab", "a"]),
        ("A: b\r\n\r\nsame\r\n", "A: b\r\n\r\nsame\r\n", &[]),
    ];
    for (came, mended, bodies) in table {
        let raw = Bytes::from_static(mended.as_bytes());
        let mut budget = Budget::new(&Limits::default());
        let message =
            Message::read_mended(raw.clone(), Some(Bytes::from_static(came.as_bytes())), &mut budget);
        let before = Message::read(raw, &mut Budget::new(&Limits::default()));
        let found = |message: &Message, body: &str| {
            message.parts.iter().any(|part| part.body.trim_ascii_end() == body.as_bytes())
        };
        for body in *bodies {
            assert!(found(&message, body) && !found(&before, body), "{came:?}: {body:?} {:?}", message.parts);
        }
        assert_eq!(message.parts.len() > before.parts.len(), !bodies.is_empty(), "{came:?}");
        // All that stands in the mended message is where it was.
        assert_eq!(message.parts[0].body, before.parts[0].body);
    }
}
