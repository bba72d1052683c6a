//! Rules and lists of others, tried before they are used: they must be readable, hold something, be quick enough, and know
//! nothing of what is in everybody's mail. A rule that matches everything would refuse everything.

use std::path::Path;
use std::time::Duration;

use boreal::Compiler;
use boreal::compiler::CompilerParams;
use boreal::scanner::ScanError;
use sha2::{Digest, Sha256};

use super::hashes::Hashes;
use super::{scan_params, shown_name};
use crate::config::update::SourceKind;

/// What ordinary mail is made of.
const ORDINARY: &[(&str, &[u8])] = &[
    (
        "letter",
        b"Received: from mail.example.org (mail.example.org [192.0.2.1])\r\n\tby mx.example.net with ESMTPS id 1234\r\n\
          From: Alice Example <alice@example.org>\r\nTo: Bob Example <bob@example.net>\r\nSubject: Tomorrow\r\n\
          Date: Thu, 01 Jan 2026 12:00:00 +0000\r\nMessage-ID: <1@example.org>\r\nMIME-Version: 1.0\r\n\
          Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
          Dear Bob,\r\n\r\nplease find the minutes attached. See you at https://www.example.org/ tomorrow.\r\n\r\n\
          Kind regards\r\nAlice\r\n--b\r\nContent-Type: application/pdf; name=\"minutes.pdf\"\r\n\
          Content-Disposition: attachment; filename=\"minutes.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n\
          JVBERi0xLjQKJcOkw7zDtsOfCg==\r\n--b--\r\n",
    ),
    ("text", b"Dear Bob,\r\n\r\nplease find the minutes attached.\r\n\r\nKind regards\r\nAlice\r\n"),
    (
        "HTML page",
        b"<!DOCTYPE html>\r\n<html><head><title>News</title><style>p { margin: 0 }</style></head><body>\r\n\
          <p>Hello, <a href=\"https://www.example.org/\">read on</a></p>\
          <img src=\"https://www.example.org/logo.png\" width=\"1\" height=\"1\">\r\n</body></html>\r\n",
    ),
    ("empty line", b"\r\n"),
    ("PDF document", b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n"),
    ("zip file", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    (
        "picture",
        b"GIF89a\x01\0\x01\0\x80\0\0\xff\xff\xff\0\0\0!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;",
    ),
];

/// How many rules or hashes a file holds, if it may be used; else why not. One content may take so long. It computes: run it
/// where that is allowed.
pub fn try_out(kind: SourceKind, content: &[u8], time: Duration) -> Result<String, String> {
    match kind {
        SourceKind::Yara => try_rules(content, time),
        SourceKind::Hashes => try_hashes(content),
    }
}

fn try_rules(content: &[u8], time: Duration) -> Result<String, String> {
    let text = std::str::from_utf8(content).map_err(|_| "no YARA rules: not UTF-8")?;
    let mut compiler = Compiler::new();
    // Includes would read files of this host.
    compiler.set_params(CompilerParams::default().disable_includes(true));
    compiler.add_rules_str_in_namespace(text, "fetched").map_err(|error| {
        let lines: Vec<String> = error
            .to_string()
            .lines()
            .map(|line| line.trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect();
        format!("no YARA rules that can be used: {}", lines.join(" | "))
    })?;
    let mut scanner = compiler.finalize();
    let rules = scanner.rules().count();
    if rules == 0 {
        return Err("holds no rules".into());
    }
    scanner.set_scan_params(scan_params(time));
    for (what, sample) in ORDINARY {
        let result = match scanner.scan_mem(sample) {
            Ok(result) => result,
            Err((ScanError::Timeout, _)) => {
                return Err(format!("takes longer than {} s for an ordinary {what}", time.as_secs()));
            }
            Err((error, _)) => return Err(error.to_string()),
        };
        if let Some(rule) = result.rules.first() {
            return Err(format!("{} matches an ordinary {what}", shown_name(&scanner, rule)));
        }
    }
    Ok(format!("{rules} YARA rules"))
}

fn try_hashes(content: &[u8]) -> Result<String, String> {
    let mut hashes = Hashes::default();
    hashes.add(Path::new("line"), content).map_err(|mistakes| mistakes.join("; "))?;
    if hashes.is_empty() {
        return Err("holds no hashes".into());
    }
    for (what, sample) in ORDINARY {
        if let Some(name) = hashes.look_up(sample, || Sha256::digest(sample).into()).next() {
            return Err(format!("{name} is an ordinary {what}"));
        }
    }
    Ok(format!("{} hashes", hashes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_knows_no_ordinary_mail_is_used() {
        let rule = |condition: &str| {
            format!("rule Bad {{ strings: $a = \"Kind regards\" $b = \"evil\" condition: {condition} }}")
        };
        for (content, expected) in [
            (rule("$b and not $a"), Ok("1 YARA rules")),
            (rule("$a or $b"), Err("YARA.Bad matches an ordinary letter")),
            ("rule All { condition: true }".into(), Err("YARA.All matches an ordinary letter")),
            ("<html>404 Not Found</html>".into(), Err("no YARA rules that can be used: ")),
            ("include \"/etc/passwd\"\n".into(), Err("no YARA rules that can be used: ")),
            ("// nothing\n".into(), Err("holds no rules")),
            (String::new(), Err("holds no rules")),
            (rule("$b and not $a")[..30].into(), Err("no YARA rules that can be used: ")),
        ] {
            let tried = try_out(SourceKind::Yara, content.as_bytes(), Duration::from_secs(10));
            match (&tried, expected) {
                (Ok(what), Ok(expected)) => assert_eq!(what, expected),
                (Err(why), Err(expected)) => assert!(why.starts_with(expected), "{content}: {why}"),
                _ => panic!("{content}: {tried:?}"),
            }
        }
        // Of an empty line.
        let blank = "81051bcc2cf1bedf378224b0a93e2877:2:Blank\n";
        let other = "900150983cd24fb0d6963f7d28e17f72:3:Abc\n# and no more\n";
        for (content, expected) in [
            (other, "1 hashes"),
            (blank, "Blank is an ordinary empty line"),
            ("", "holds no hashes"),
            ("<html>", "line:1: not of the form hash:size:name"),
        ] {
            let tried = try_out(SourceKind::Hashes, content.as_bytes(), Duration::from_secs(10));
            assert_eq!(tried.unwrap_or_else(|why| why), expected, "{content}");
        }
    }
}
