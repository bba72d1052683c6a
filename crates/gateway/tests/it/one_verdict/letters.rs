//! Some five hundred letters, the same in every run: what ordinary people, sloppy programs and attackers send.

use std::path::PathBuf;

use super::packing::{base64, gzip, mbox, quoted_printable, tar, uuencode, zip};
use crate::rig::eicar;

/// What makes a letter one that some protocol cannot carry as it is. The table of differences names these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quirk {
    /// A NUL in the header.
    NulInHeader,
    /// Line ends other than CRLF among others, or other bytes that are mended.
    StrayLineEnd,
    /// No header at all, or a line in it that is no field, or no empty line behind it.
    BrokenHeader,
    /// It lacks what a file must have to be taken for a mail.
    HardlyMail,
    /// Not a byte in it.
    Empty,
    /// From a file that we did not write; it may have any of the above.
    Foreign,
    /// For a recipient with a policy of its own.
    Strict,
    /// For several recipients, of whom some have a policy of their own.
    Several,
}

/// A message and its envelope.
pub struct Letter {
    /// What it is about, for those who read a failure.
    pub name: String,
    /// The message, as it would stand after SMTP's DATA without stuffed dots.
    pub raw: Vec<u8>,
    /// Sender without brackets; empty for `<>`.
    pub sender: String,
    /// Recipients without brackets. The first is found in no other letter.
    pub recipients: Vec<String>,
    /// What is odd about it.
    pub quirks: Vec<Quirk>,
}

/// Letters in the making.
struct Letters {
    letters: Vec<Letter>,
}

/// All of them, and those from the files.
pub fn letters(files: &[PathBuf]) -> Vec<Letter> {
    let mut letters = Letters { letters: Vec::new() };
    letters.clean_text();
    letters.clean_html();
    letters.attachments();
    letters.eicar();
    letters.banned();
    letters.gtube();
    letters.encrypted();
    letters.malformed_mime();
    letters.malformed_headers();
    letters.lines();
    letters.hardly_messages();
    letters.recipients();
    letters.foreign(files);
    letters.letters
}

impl Letters {
    /// Adds one whose line ends are LF here and CRLF on the wire.
    fn add(&mut self, name: impl Into<String>, text: impl AsRef<[u8]>) {
        self.exact(name, crlf(text.as_ref()), &[]);
    }

    /// Adds one byte for byte.
    fn exact(&mut self, name: impl Into<String>, raw: Vec<u8>, quirks: &[Quirk]) {
        let recipient = format!("l{:04}@example.test", self.letters.len());
        self.letters.push(Letter {
            name: name.into(),
            raw,
            sender: "a@client.test".into(),
            recipients: vec![recipient],
            quirks: quirks.to_vec(),
        });
    }

    fn clean_text(&mut self) {
        for number in 0..60 {
            let body = prose(number, 40 << (number % 9));
            self.add(format!("plain {number}"), header("text/plain", "7bit", "plain") + &body);
        }
        let umlauts = "Grüße aus Köln – ½ price, naïve façade. 日本語のテキスト。 Привет!\n";
        for number in 0..12 {
            let text = umlauts.repeat(1 + number * 5);
            self.add(format!("8bit {number}"), header("text/plain; charset=utf-8", "8bit", "x") + &text);
            let quoted = quoted_printable(text.as_bytes());
            self.add(
                format!("quoted-printable {number}"),
                header("text/plain; charset=utf-8", "quoted-printable", "x") + &quoted,
            );
            let encoded = base64(text.as_bytes());
            self.add(
                format!("base64 {number}"),
                header("text/plain; charset=utf-8", "base64", "x") + &encoded,
            );
        }
        for charset in ["iso-8859-1", "iso-8859-15", "windows-1252", "koi8-r", "shift_jis", "utf-16le"] {
            let bytes: Vec<u8> = (0xC0..=0xDF).chain(0xE0..=0xFE).collect();
            let kind = format!("text/plain; charset={charset}");
            self.add(charset, header(&kind, "base64", charset) + &base64(&bytes));
        }
        for subject in ["=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "=?utf-8?B?R3LDvMOfZQ==?=", "=?iso-8859-1?q?=E4?= x"] {
            self.add(format!("subject {subject}"), header("text/plain", "7bit", subject) + "Hello\n");
        }
    }

    fn clean_html(&mut self) {
        for number in 0..20 {
            let html = format!(
                "<html><body><p>{}</p><a href=\"https://www.example.org/{number}\">here</a></body></html>\n",
                prose(number, 60 << (number % 6))
            );
            self.add(format!("html {number}"), header("text/html; charset=utf-8", "7bit", "html") + &html);
            self.add(
                format!("html in base64 {number}"),
                header("text/html; charset=utf-8", "base64", "html") + &base64(html.as_bytes()),
            );
            let alternative = multipart(
                "alternative",
                &[
                    "Content-Type: text/plain\n\nSee the other part.\n".into(),
                    format!(
                        "Content-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n{}",
                        quoted_printable(html.as_bytes())
                    ),
                ],
            );
            self.add(format!("alternative {number}"), alternative);
        }
        let image = "Content-Type: image/png\nContent-ID: <i@x>\nContent-Transfer-Encoding: base64\n\n";
        let image =
            format!("{image}{}", base64(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02"));
        let page = "Content-Type: text/html\n\n<img src=\"cid:i@x\">\n";
        self.add("related", multipart("related", &[page.into(), image]));
    }

    fn attachments(&mut self) {
        let pdf: &[u8] =
            b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n";
        let files: &[(&str, &[u8])] = &[
            ("notes.txt", b"Some notes.\nMore of them.\n"),
            ("table.csv", b"a,b,c\n1,2,3\n"),
            ("paper.pdf", pdf),
            ("photo.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xd9"),
            ("picture.gif", b"GIF89a\x01\0\x01\0\0\0\0;"),
            ("empty.bin", b""),
            ("data.json", b"{\"a\": [1, 2, 3]}\n"),
            ("page.xml", b"<?xml version=\"1.0\"?><a><b/></a>\n"),
        ];
        for (name, content) in files {
            self.add(format!("attached {name}"), attached(name, content));
            self.add(format!("zipped {name}"), attached("files.zip", &zip(&[(name, content)], true)));
            self.add(format!("stored {name}"), attached("files.zip", &zip(&[(name, content)], false)));
            self.add(format!("tarred {name}"), attached("files.tar.gz", &gzip(&tar(&[(name, content)]))));
            let again = zip(&[("inner.zip", &zip(&[(name, content)], true))], true);
            self.add(format!("zipped twice {name}"), attached("outer.zip", &again));
        }
        let many: Vec<(String, Vec<u8>)> =
            (0..40).map(|number| (format!("file{number}.txt"), prose(number, 200).into_bytes())).collect();
        let many: Vec<(&str, &[u8])> =
            many.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
        self.add("zip of forty", attached("forty.zip", &zip(&many, true)));
        self.add("a gzip of nothing but zeros", attached("zeros.gz", &gzip(&vec![0; 3 << 20])));
        for size in [10_000, 200_000, 600_000] {
            let noise = noise(size);
            self.add(format!("{size} bytes of noise"), attached("noise.bin", &noise));
        }
        let forwarded = header("text/plain", "7bit", "first") + "The first mail.\n";
        let inner = format!("Content-Type: message/rfc822\n\n{forwarded}");
        self.add("forwarded", multipart("mixed", &["Content-Type: text/plain\n\nSee.\n".into(), inner]));
    }

    /// EICAR in each encoding that mail has, in each thing that we open.
    fn eicar(&mut self) {
        let test = eicar();
        let test = test.as_bytes();
        let mail = header("text/plain", "7bit", "inner") + &eicar() + "\n";
        let mail = mail.as_bytes();
        let carriers: Vec<(&str, Vec<u8>)> = vec![
            ("eicar.txt", test.to_vec()),
            ("deflated.zip", zip(&[("eicar.txt", test)], true)),
            ("stored.zip", zip(&[("eicar.txt", test)], false)),
            ("eicar.txt.gz", gzip(test)),
            ("eicar.tar", tar(&[("eicar.txt", test)])),
            ("eicar.tgz", gzip(&tar(&[("a/b/eicar.txt", test)]))),
            ("eicar.mbox", mbox(&[mail, mail])),
            ("eicar.eml", mail.to_vec()),
            ("zip.zip", zip(&[("in.zip", &zip(&[("eicar.txt", test)], true))], true)),
            ("zip.gz", gzip(&zip(&[("eicar.txt", test)], true))),
            ("mail.zip", zip(&[("mail.eml", mail)], true)),
            ("mbox.tar.gz", gzip(&tar(&[("mbox", &mbox(&[mail]))]))),
            ("second.zip", zip(&[("a.txt", b"harmless"), ("b/eicar.txt", test)], true)),
        ];
        for (name, content) in &carriers {
            for (encoding, text) in [
                ("base64", base64(content)),
                ("quoted-printable", quoted_printable(content)),
                ("x-uuencode", uuencode(name, content)),
            ] {
                self.add(format!("eicar in {name}, {encoding}"), attached_as(name, encoding, &text));
            }
            let inside =
                header("text/plain", "7bit", "uuencoded") + "See below\n\n" + &uuencode(name, content);
            self.add(format!("eicar in {name}, uuencoded in the text"), inside);
            let inner = attached(name, content);
            let nested = multipart("mixed", &[format!("Content-Type: message/rfc822\n\n{inner}")]);
            self.add(format!("eicar in {name}, forwarded"), nested);
            let deep = multipart(
                "mixed",
                &[multipart_part(
                    "alternative",
                    "b1",
                    &[
                        "Content-Type: text/plain\n\nx\n".into(),
                        multipart_part("related", "b2", &[part(name, "base64", &base64(content))]),
                    ],
                )],
            );
            self.add(format!("eicar in {name}, deep"), deep);
        }
        for encoding in ["7bit", "8bit", "binary"] {
            self.add(
                format!("eicar in the body, {encoding}"),
                header("text/plain", encoding, "x") + &eicar() + "\n",
            );
            self.add(
                format!("eicar attached, {encoding}"),
                attached_as("e.txt", encoding, &(eicar() + "\n")),
            );
        }
        let html = format!("<html><body><pre>{}</pre></body></html>\n", eicar());
        self.add("eicar in html", header("text/html", "7bit", "x") + &html);
        self.add("eicar in html, base64", header("text/html", "base64", "x") + &base64(html.as_bytes()));
    }

    fn banned(&mut self) {
        let program = [b"MZ\x90\0\x03\0\0\0".as_slice(), &[0; 52], b"\x40\0\0\0PE\0\0\x4c\x01"].concat();
        for name in [
            "setup.exe",
            "photo.scr",
            "run.bat",
            "run.cmd",
            "page.js",
            "page.vbs",
            "link.lnk",
            "x.hta",
            "old.com",
            "tool.pif",
            "SETUP.EXE",
            "invoice.pdf.exe",
            "picture.jpg.scr",
            "tool.msi",
            "script.ps1",
            "a.jar",
            "disk.iso",
            "x.{00020C01-0000-0000-C000-000000000046}",
            "setup.exe. ",
            "se\u{202e}cod.exe",
        ] {
            self.add(format!("banned {name:?}"), attached(name, &program));
            self.add(
                format!("banned {name:?} in a zip"),
                attached("files.zip", &zip(&[(name, &program)], true)),
            );
        }
        self.add("a program with a harmless name", attached("notes.txt", &program));
        self.add(
            "a program with a harmless name in a zip",
            attached("f.zip", &zip(&[("n.txt", &program)], true)),
        );
        let content = base64(&program);
        for (what, fields) in [
            ("in Content-Type only", "Content-Type: application/octet-stream; name=setup.exe\n".to_owned()),
            ("RFC 2231", "Content-Disposition: attachment; filename*=utf-8''setup%2Eexe\n".to_owned()),
            (
                "RFC 2231 in pieces",
                "Content-Disposition: attachment; filename*0=set; filename*1=up.exe\n".to_owned(),
            ),
            (
                "RFC 2047",
                format!(
                    "Content-Disposition: attachment; filename=\"=?utf-8?B?{}?=\"\n",
                    base64(b"setup.exe").trim_end()
                ),
            ),
            ("twice", "Content-Disposition: attachment; filename=a.txt; filename=setup.exe\n".to_owned()),
            ("folded", "Content-Disposition: attachment;\n\tfilename=\"setup\n .exe\"\n".to_owned()),
        ] {
            let part = format!("{fields}Content-Transfer-Encoding: base64\n\n{content}");
            self.add(format!("banned name {what}"), multipart("mixed", &[part]));
        }
    }

    fn gtube(&mut self) {
        let test =
            format!("{}{}", "XJS*C4JDBQADN1.NSBN3*2IDNEN*", "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X");
        self.add("gtube", header("text/plain", "7bit", "x") + &test + "\n");
        self.add("gtube in base64", header("text/plain", "base64", "x") + &base64(test.as_bytes()));
        self.add(
            "gtube in quoted-printable",
            header("text/plain", "quoted-printable", "x") + &quoted_printable(test.as_bytes()),
        );
        self.add("gtube in html", header("text/html", "7bit", "x") + "<p>" + &test + "</p>\n");
        self.add("gtube in the subject", header("text/plain", "7bit", &test) + "Hello\n");
        self.add("gtube attached", attached("gtube.txt", test.as_bytes()));
        self.add("gtube and eicar", header("text/plain", "7bit", "x") + &test + "\n\n" + &eicar() + "\n");
        let part = format!("Content-Type: text/plain\n\n{test}\n");
        self.add("gtube in a multipart", multipart("alternative", &[part]));
    }

    fn encrypted(&mut self) {
        for name in ["secret.txt", "setup.exe", "a/b/c.doc", "photo.jpg"] {
            let content = b"twelve bytes and more than that";
            let mut archive = zip(&[(name, content)], false);
            // A member that says it is encrypted and is not is one that can be read.
            let at = memchr::memmem::find(&archive, content).expect("stored");
            archive[at..at + content.len()].iter_mut().for_each(|byte| *byte ^= 0x5A);
            for (signature, flags) in [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)] {
                let at = memchr::memmem::find(&archive, signature).expect("a zip");
                archive[at + flags] |= 1;
            }
            self.add(format!("encrypted {name}"), attached("secret.zip", &archive));
            let twice = zip(&[("secret.zip", &archive)], true);
            self.add(format!("encrypted {name} in a zip"), attached("outer.zip", &twice));
        }
        for cut in [4, 30, 60] {
            let archive = zip(&[("a.txt", &noise(400))], true);
            self.add(format!("a zip cut at {cut}"), attached("cut.zip", &archive[..cut]));
        }
        self.add("a gzip cut", attached("cut.gz", &gzip(&noise(4000))[..1000]));
    }

    fn malformed_mime(&mut self) {
        let text = "Content-Type: text/plain\n\nText.\n";
        let program = part("setup.exe", "base64", &base64(b"MZ\x90\0"));
        let whole = |fields: &str, body: &str| format!("{}{fields}\n{body}", plain_fields("malformed"));
        let mixed =
            |boundary: &str| format!("MIME-Version: 1.0\nContent-Type: multipart/mixed; {boundary}\n");
        for (name, fields, body) in [
            ("no boundary", mixed(""), format!("--b\n{text}\n--b--\n")),
            ("empty boundary", mixed("boundary=\"\""), format!("--\n{text}\n----\n")),
            ("boundary never appears", mixed("boundary=other"), format!("--b\n{text}\n--b--\n")),
            ("never closed", mixed("boundary=b"), format!("--b\n{text}\n--b\n{program}\n")),
            (
                "goes on after its end",
                mixed("boundary=b"),
                format!("--b\n{text}\n--b--\n--b\n{program}\n--b--\n"),
            ),
            (
                "two boundaries",
                mixed("boundary=a; boundary=b"),
                format!("--a\n{text}\n--b\n{program}\n--b--\n--a--\n"),
            ),
            ("boundary with a space", mixed("boundary=\"b \""), format!("--b \n{text}\n--b --\n")),
            (
                "boundary of 80",
                mixed(&format!("boundary={}", "b".repeat(80))),
                format!("--{}\n{text}\n", "b".repeat(80)),
            ),
            ("preamble with a part", mixed("boundary=b"), format!("{program}\n--b\n{text}\n--b--\n")),
            ("epilogue with a part", mixed("boundary=b"), format!("--b\n{text}\n--b--\n{program}\n")),
            (
                "boundary of its own parent",
                mixed("boundary=b"),
                format!("--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n{program}\n--b--\n--b--\n"),
            ),
            ("no parts", mixed("boundary=b"), "--b--\n".into()),
            (
                "two types",
                "Content-Type: text/plain\nContent-Type: multipart/mixed; boundary=b\n".into(),
                format!("--b\n{program}\n--b--\n"),
            ),
            (
                "two encodings",
                "Content-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: base64\n".into(),
                base64(eicar().as_bytes()),
            ),
            ("no type", "Content-Type: \n".into(), "x\n".into()),
            ("half a type", "Content-Type: text\n".into(), "x\n".into()),
            ("a type with junk", "Content-Type: text/plain junk; =; charset\n".into(), "x\n".into()),
            ("unknown encoding", "Content-Transfer-Encoding: rot13\n".into(), "x\n".into()),
            ("unknown charset", "Content-Type: text/plain; charset=klingon\n".into(), "x\n".into()),
            (
                "encoded multipart",
                mixed("boundary=b") + "Content-Transfer-Encoding: base64\n",
                base64(format!("--b\n{program}\n--b--\n").as_bytes()),
            ),
            (
                "base64 with junk",
                "Content-Transfer-Encoding: base64\n".into(),
                base64(eicar().as_bytes()).replace('A', "A!*\n"),
            ),
            (
                "base64 cut",
                "Content-Transfer-Encoding: base64\n".into(),
                base64(eicar().as_bytes())[..41].to_owned() + "\n",
            ),
            (
                "base64 after padding",
                "Content-Transfer-Encoding: base64\n".into(),
                "YQ==\n".to_owned() + &base64(eicar().as_bytes()),
            ),
            (
                "quoted-printable broken",
                "Content-Transfer-Encoding: quoted-printable\n".into(),
                "a=ZZ b= c=\n=4\n".into(),
            ),
            ("uuencode without an end", String::new(), uuencode("a.txt", &noise(300)).replace("end\n", "")),
            ("partial", "Content-Type: message/partial; id=a; number=1; total=2\n".into(), "x\n".into()),
            (
                "external",
                "Content-Type: message/external-body; access-type=URL; URL=\"https://example.org\"\n".into(),
                "\n".into(),
            ),
            ("comment in the type", "Content-Type: text/(a comment)plain\n".into(), "x\n".into()),
            ("encoded word with junk", "X-A: =?utf-8?B?!!!?= =?nope?q?x?=\n".into(), "x\n".into()),
        ] {
            self.add(name, whole(&fields, &body));
        }
        let mut deep = "Content-Type: text/plain\n\ndeep\n".to_owned();
        for level in 0..40 {
            deep = multipart_part("mixed", &format!("b{level}"), &[deep]);
        }
        self.add("forty levels", format!("{}MIME-Version: 1.0\n{deep}", plain_fields("deep")));
        let parts: Vec<String> = (0..300).map(|_| text.to_owned()).collect();
        self.add("three hundred parts", multipart("mixed", &parts));
    }

    fn malformed_headers(&mut self) {
        let fields = plain_fields("x");
        for (name, header) in [
            ("two subjects", fields.clone() + "Subject: again\n"),
            ("two senders", fields.clone() + "From: other@client.test\n"),
            ("8-bit subject", fields.replace("Subject: x", "Subject: Grüße")),
            ("8-bit from", fields.replace("From: ", "From: Jürgen ")),
            ("an empty value", fields.clone() + "X-Empty:\n"),
            ("a value of spaces", fields.clone() + "X-Spaces:    \n"),
            ("no space", fields.replace("Subject: x", "Subject:x")),
            ("tabs", fields.replace("Subject: x", "Subject:\tx\ty")),
            ("folded", fields.clone() + "X-Folded: a\n b\n\tc\n  d\n"),
            ("folded at once", fields.clone() + "X-Folded:\n value\n"),
            ("two hundred fields", fields.clone() + &"X-Many: 1\n".repeat(200)),
            ("a field of 900", fields.clone() + &format!("X-Long: {}\n", "v".repeat(890))),
            ("a folded field of 20,000", fields.clone() + &format!("X-Long: {}\n", "v v\n ".repeat(4000))),
            ("our own fields", fields.clone() + "X-Spam-Flag: NO\nX-Spam-Status: No\nX-Virus-Scanned: yes\n"),
            ("received", format!("Received: from a by b; Thu, 01 Jan 2026 00:00:00 +0000\n{fields}")),
            (
                "many received",
                "Received: from a by b; Thu, 01 Jan 2026 00:00:00 +0000\n".repeat(30) + &fields,
            ),
            ("return path", format!("Return-Path: <x@y>\n{fields}")),
            ("lower case", fields.to_lowercase()),
            ("upper case", fields.to_uppercase()),
            ("a bad date", fields.replace("Thu, 01 Jan 2026 00:00:00 +0000", "yesterday")),
            ("a group", fields.replace("To: <user@example.test>", "To: undisclosed-recipients:;")),
        ] {
            self.add(name, header + "\nHello\n");
        }
        for name in ["Date", "From", "Message-ID"] {
            let without: Vec<&str> = fields.lines().filter(|line| !line.starts_with(name)).collect();
            let raw = crlf((without.join("\n") + "\n\nHello\n").as_bytes());
            self.exact(format!("no {name}"), raw, &[Quirk::HardlyMail]);
        }
        self.exact("one field", b"Subject: x\r\n\r\nHello\r\n".to_vec(), &[Quirk::HardlyMail]);
        let broken = [
            ("a line that is no field", format!("{fields}this is no field\nX-A: b\n")),
            ("a name with a space", format!("{fields}X A: b\nX-B: c\n")),
            ("an empty name", format!("{fields}: b\nX-B: c\n")),
            ("begins folded", format!(" folded\n{fields}")),
            ("a blank line in a folded field", format!("{fields}X-A: b\n \n c\n")),
            ("a space before the colon", fields.replace("Subject:", "Subject :")),
            ("an mbox separator", format!("From a@client.test Thu Jan 01 00:00:00 2026\n{fields}")),
            ("an escaped mbox separator", format!(">From a@client.test Thu Jan 01 00:00:00 2026\n{fields}")),
        ];
        for (name, header) in broken {
            self.exact(name, crlf((header + "\nHello\n").as_bytes()), &[Quirk::BrokenHeader]);
        }
        let nul = fields.replace("Subject: x", "Subject: a\0b");
        self.exact(
            "NUL in the header",
            crlf((nul + "\nHello\n").as_bytes()),
            &[Quirk::NulInHeader, Quirk::HardlyMail, Quirk::StrayLineEnd],
        );
    }

    fn lines(&mut self) {
        let head = header("text/plain", "7bit", "lines");
        for (name, body) in [
            ("dots", ".\n..\n...\n.a\n..b\n.\n".to_owned()),
            ("a dot at the end", "Hello\n.\n".into()),
            ("dots in base64", format!("{}\n", ".".repeat(70)).repeat(10)),
            ("from at a line's start", "From here on\n>From there\n".into()),
            ("a line of 998", "x".repeat(998) + "\n"),
            ("a line of 999", "x".repeat(999) + "\n"),
            ("a line of 5,000", "x y ".repeat(1250) + "\n"),
            ("a line of 100,000", "x".repeat(100_000) + "\n"),
            ("empty lines at the end", "Hello\n\n\n\n\n".into()),
            ("only empty lines", "\n\n\n\n".into()),
            ("spaces at line ends", "a \nb\t\n \n".into()),
            ("control characters", "a\x01\x02\x08\x0b\x0c\x1b[31m\x7f\n".into()),
            ("8-bit in 7bit", "Grüße\n".into()),
            ("SMTP in the body", "MAIL FROM:<a@b>\nRCPT TO:<c@d>\nDATA\nQUIT\n".into()),
        ] {
            self.add(name, head.clone() + &body);
        }
        for bytes in [b"\xff\xfe\xfd\n".as_slice(), b"\xc3\x28 \xa0\xa1\n", b"\xed\xa0\x80\n"] {
            self.add(format!("bytes {}", bytes.escape_ascii()), [head.as_bytes(), bytes].concat());
        }
        let nul = head.clone() + "a\0b\0\0c\n";
        self.exact("NUL in the body", crlf(nul.as_bytes()), &[Quirk::HardlyMail, Quirk::StrayLineEnd]);
        let head = crlf(head.as_bytes());
        for (name, body) in [
            ("bare LF", b"one\ntwo\r\nthree\n\r\n".as_slice()),
            ("bare CR", b"one\rtwo\r\nthree\r\r\n"),
            ("a lone dot between LF", b"one\n.\nMAIL FROM:<x@y>\r\n"),
            ("a lone dot between CR", b"one\r.\rtwo\r\n"),
            ("LF, then CRLF", b"one\n\r\ntwo\r\n"),
        ] {
            self.exact(name, [&head, body].concat(), &[Quirk::StrayLineEnd]);
        }
        self.exact("no line end at the end", [&head, b"Hello".as_slice()].concat(), &[]);
    }

    fn hardly_messages(&mut self) {
        use Quirk::*;
        self.exact("nothing", Vec::new(), &[HardlyMail, Empty]);
        self.exact("one empty line", b"\r\n".to_vec(), &[HardlyMail]);
        self.exact("two empty lines", b"\r\n\r\n".to_vec(), &[HardlyMail]);
        self.exact("one word", b"Hello\r\n".to_vec(), &[HardlyMail]);
        self.exact("no header", b"Hello,\r\n\r\nhow are you?\r\n".to_vec(), &[HardlyMail, BrokenHeader]);
        self.exact("a body behind an empty line", b"\r\nHello\r\n".to_vec(), &[HardlyMail]);
        self.exact("eicar without a header", format!("\r\n{}\r\n", eicar()).into_bytes(), &[HardlyMail]);
        self.exact("a header and no empty line", crlf(plain_fields("x").as_bytes()), &[]);
        self.exact("a header without a body", crlf((plain_fields("x") + "\n").as_bytes()), &[]);
    }

    /// Recipients at `strict.test` have a policy of their own.
    fn recipients(&mut self) {
        for (name, raw) in [
            ("clean", header("text/plain", "7bit", "x") + "Hello\n"),
            ("eicar", header("text/plain", "7bit", "x") + &eicar() + "\n"),
            ("banned", attached("setup.exe", b"MZ\x90\0")),
            ("dupes", plain_fields("x") + "Subject: again\n\nHello\n"),
        ] {
            for (who, others) in [
                ("a strict one", &["@strict.test"][..]),
                ("an ordinary and a strict one", &["@example.test", "b@strict.test"]),
                ("a strict and an ordinary one", &["@strict.test", "b@example.test"]),
                (
                    "five",
                    &["@example.test", "b@example.test", "c@strict.test", "d@example.test", "e@strict.test"],
                ),
            ] {
                self.add(format!("{name} for {who}"), &raw);
                if let Some(letter) = self.letters.last_mut() {
                    let first = letter.recipients[0].split('@').next().unwrap_or_default().to_owned();
                    letter.recipients = others.iter().map(|&other| other.to_owned()).collect();
                    letter.recipients[0].insert_str(0, &first);
                    letter.quirks.push(if others.len() == 1 { Quirk::Strict } else { Quirk::Several });
                }
            }
            self.add(format!("{name} without a sender"), &raw);
            if let Some(letter) = self.letters.last_mut() {
                letter.sender.clear();
            }
        }
    }
}

impl Letters {
    /// Mails that nobody of this project wrote, with CRLF whatever they had. What else they are nobody knows here.
    fn foreign(&mut self, files: &[PathBuf]) {
        for file in files {
            let Ok(raw) = std::fs::read(file) else { continue };
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            // Mailboxes' separators are not part of the mail.
            let separator = if raw.starts_with(b"From ") {
                memchr::memchr(b'\n', &raw).map_or(0, |end| end + 1)
            } else {
                0
            };
            let lines: Vec<&[u8]> = raw[separator..].split(|&byte| byte == b'\n').collect();
            let lines: Vec<&[u8]> =
                lines.iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
            self.exact(format!("file {name}"), lines.join(b"\r\n".as_slice()), &[Quirk::Foreign]);
        }
    }
}

/// Fields of an ordinary header, with no word on the content.
fn plain_fields(subject: &str) -> String {
    format!(
        "From: <sender@client.test>\nTo: <user@example.test>\nSubject: {subject}\n\
         Date: Thu, 01 Jan 2026 00:00:00 +0000\nMessage-ID: <x@client.test>\n"
    )
}

/// A whole header, empty line included.
fn header(kind: &str, encoding: &str, subject: &str) -> String {
    let fields = plain_fields(subject);
    format!("{fields}MIME-Version: 1.0\nContent-Type: {kind}\nContent-Transfer-Encoding: {encoding}\n\n")
}

/// A part: header and body.
fn part(name: &str, encoding: &str, text: &str) -> String {
    format!(
        "Content-Type: application/octet-stream\nContent-Transfer-Encoding: {encoding}\n\
         Content-Disposition: attachment; filename=\"{name}\"\n\n{text}"
    )
}

fn multipart_part(kind: &str, boundary: &str, parts: &[String]) -> String {
    let parts: String = parts.iter().map(|part| format!("--{boundary}\n{part}\n")).collect();
    format!("Content-Type: multipart/{kind}; boundary=\"{boundary}\"\n\n{parts}--{boundary}--\n")
}

fn multipart(kind: &str, parts: &[String]) -> String {
    format!("{}MIME-Version: 1.0\n{}", plain_fields("parts"), multipart_part(kind, "=_b0", parts))
}

fn attached_as(name: &str, encoding: &str, text: &str) -> String {
    multipart("mixed", &["Content-Type: text/plain\n\nSee there.\n".into(), part(name, encoding, text)])
}

fn attached(name: &str, content: &[u8]) -> String {
    attached_as(name, "base64", &base64(content))
}

/// LF becomes CRLF.
fn crlf(text: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(text.len() + text.len() / 40);
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => raw.extend([line, b"\r\n"].concat()),
            None => raw.extend_from_slice(line),
        }
    }
    raw
}

/// So many bytes of sentences, another text for each number.
fn prose(number: usize, size: usize) -> String {
    const WORDS: &[&str] = &[
        "the", "meeting", "is", "moved", "to", "Tuesday", "please", "bring", "your", "notes", "and", "we",
        "will", "talk", "about", "budget", "garden", "harbour", "invoice", "letters", "from", "last", "year",
        "thanks",
    ];
    let mut random = Random(number as u64 + 1);
    let mut text = String::new();
    let mut line = 0;
    while text.len() < size {
        let word = WORDS[random.next() as usize % WORDS.len()];
        let end = if line + word.len() > 66 { '\n' } else { ' ' };
        line = if end == '\n' { 0 } else { line + word.len() + 1 };
        text.push_str(word);
        text.push(end);
    }
    text.push('\n');
    text
}

/// Bytes that no packer makes smaller.
fn noise(size: usize) -> Vec<u8> {
    let mut random = Random(size as u64);
    (0..size).map(|_| random.next().to_le_bytes()[4]).collect()
}

/// Numbers that look random and are the same in every run (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
