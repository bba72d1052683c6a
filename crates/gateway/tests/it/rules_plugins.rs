//! Functions of plugins that SpamAssassin does not load by default, beside SpamAssassin itself.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::rig::*;

/// Plugins that are loaded; RelayCountry only where Perl can read such databases.
const PLUGINS: [&str; 10] = [
    "Check",
    "PDFInfo",
    "OLEVBMacro",
    "FromNameSpoof",
    "DecodeShortURLs",
    "TextCat",
    "Phishing",
    "AccessDB",
    "AntiVirus",
    "ExtractText",
];

/// Rules, in which `{}` is the folder.
const RULES: &str = r#"util_rb_tld org com ly link net
add_header all Status score=_SCORE_ tests=_TESTS(,)_
body PDF_ONE eval:pdf_count(1)
body PDF_NONE eval:pdf_count(0,0)
body PDF_IMAGES eval:pdf_image_count(1,3)
body PDF_AREA eval:pdf_pixel_coverage(200,400)
body PDF_SIZE eval:pdf_image_size_exact(10,20)
body PDF_RANGE eval:pdf_image_size_range(5,5,10,20)
body PDF_NAME eval:pdf_name_regex('/^INV.*\.pdf$/i')
body PDF_NAMED eval:pdf_named('invoice.pdf')
body PDF_AUTHOR eval:pdf_match_details('author','/^Jo\(e\)$/')
body PDF_CREATED eval:pdf_match_details('created','/^2026/')
body PDF_LOCKED eval:pdf_is_encrypted()
body PDF_EMPTY eval:pdf_is_empty_body(10)
body PDF_RATIO eval:pdf_image_to_text_ratio(0.01,1)
body PDF_MD5 eval:pdf_match_md5('{md5}')
body PDF_FUZZY eval:pdf_match_fuzzy_md5('{fuzzy}')
body PDF_TAGS eval:pdf_match_fuzzy_md5('{tags}')
uri PDF_URI /in-pdf\.com/
body OLE eval:check_olemacro()
body OLE_OBJECT eval:check_oleobject()
body OLE_RTF eval:check_olertfobject()
body OLE_CSV eval:check_olemacro_csv()
body OLE_MALICE eval:check_olemacro_malice()
body OLE_RENAMED eval:check_olemacro_renamed()
body OLE_LOCKED eval:check_olemacro_encrypted()
body OLE_PASSWORD eval:check_olemacro_zip_password()
body OLE_EXE eval:check_olemacro_download_exe()
body OLE_URI eval:check_olemacro_redirect_uri()
body OLE_MHTML eval:check_olemacro_mhtml_uri()
uri OLE_LINK /in-docx\.com/
olemacro_extended_scan 1
header FNS_SPOOF eval:check_fromname_spoof()
header FNS_DIFFER eval:check_fromname_different()
header FNS_DOMAIN eval:check_fromname_domain_differ()
header FNS_ADDRESS eval:check_fromname_contains_email()
header FNS_TO eval:check_fromname_equals_to()
header FNS_OWNER eval:check_fromname_owners_differ()
header FNS_REPLY eval:check_fromname_equals_replyto()
fns_add_addrlist (PAYPAL) *@paypal.com *@paypal-mail.com
body SHORT eval:short_url()
url_shortener bit.ly .page.link
header LANG_DE X-Languages =~ /\bde\b/
header LANG_EN X-Languages =~ /\ben\b/
body LANG_NOT eval:check_language()
body LANG_8BIT eval:check_body_8bits()
ok_languages en
body PHISH eval:check_phishing()
phishing_openphish_feed {}/open.txt
phishing_phishtank_feed {}/tank.csv
phishing_phishstats_feed {}/stats.csv
header ACCESS eval:check_access_database('{}/access.db')
body EXE eval:check_microsoft_executable()
body SUSPECT eval:check_suspect_name()
extracttext_external docx2txt {}/docx2txt {} -
extracttext_use docx2txt .docx
body EXTRACTED /lottery winner/
header EXTRACT_TOOL X-ExtractText-Tools =~ /^docx2txt$/
header EXTRACT_WORDS X-ExtractText-Words =~ /^3$/
header EXTRACT_END X-ExtractText-Extensions =~ /^docx$/
"#;

/// Of URILocalBL: the addresses in links; those of names are asked for in `rules_network.rs`.
pub const PLACES: &str = "uri_block_cc LINK_NL nl be\n\
    uri_block_cc LINK_ABROAD !nl\nuri_block_cc LINK_ABROAD !de\n\
    uri_block_cont LINK_EU eu\nuri_block_cont LINK_FAR !eu !na\n\
    uri_block_isp LINK_ISP Other \"data rancid\"\nuri_block_isp LINK_ISP_TOO DataRancid\n\
    uri_block_cidr LINK_NET 198.51.100.0/25 2001:db8::/32 192.0.2.77\n\
    uri_block_cidr LINK_LET_OFF 203.0.113.0/24\nuri_block_exclude LINK_LET_OFF 203.0.113.7\n";

const COUNTRIES: &str = "header FROM_NL X-Relay-Countries =~ /^NL$/\n\
    header FROM_XX X-Relay-Countries-External =~ /XX/\n\
    header NO_AUTH X-Relay-Countries-Auth =~ /^$/\n\
    geodb_module geoip2\ngeodb_options country:{}/country.mmdb isp:{}/country.mmdb\n";

const PDF: &str = "%PDF-1.4\n1 0 obj\n<</Author(Jo\\(e\\))/CreationDate(D:20260102030405Z)>>\n/Subtype/Image/Width 20/Height 10\n\
    stream\n/Encrypt 5 0 R\n<</S/URI/URI(http://x)>>\n/URI (http://www.in-pdf.com/a\\(b\\))\n%%EOF\n";

const TEXT_DE: &str = "Sehr geehrte Damen und Herren, wir freuen uns, Ihnen mitteilen zu können, dass unsere neue Filiale in der \
    Innenstadt ab dem kommenden Montag für Sie geöffnet ist. Besuchen Sie uns und überzeugen Sie sich von der Auswahl unserer \
    Waren. Mit freundlichen Grüßen, die Geschäftsleitung des Hauses und alle Mitarbeiterinnen und Mitarbeiter.";

const TEXT_EN: &str = "Dear customer, we are pleased to tell you that our new shop in the middle of the town will be open for you \
    from next Monday on. Come and visit us, and see for yourself what there is to choose from among our goods. With kind \
    regards, the management of the house and all those who work with us every day of the week.";

/// Mails that a plugin has something to say about, and one about which none has.
fn mails() -> Vec<String> {
    let relations = b"<Relationships><Relationship Id=\"1\" Target=\"https://www.in-docx.com/x\" TargetMode=\"External\"/>\
        <Relationship Target=\"mhtml:http://b.com/\" TargetMode=\"External\"/></Relationships>";
    let types = ("[Content_Types].xml", &b"<Types/>"[..], false);
    let text = b"<w:p><w:t>You lottery winner you</w:t></w:p>";
    let docx = zip(&[types, ("word/document.xml", text, false)]);
    let macros = zip(&[
        types,
        ("word/vbaProject.bin", b"Sub AutoOpen()", false),
        ("word/_rels/a.rels", relations, false),
    ]);
    let objects = zip(&[types, ("xl/embeddings/oleObject1.bin", b"x", false), ("word/a.rtf", b"x", false)]);
    let locked = zip(&[("a.docm", b"0123456789abcdef", true)]);
    let nested = zip(&[("inner.zip", &zip(&[("b.doc", &b"{\\rtf1\\objdata"[..], false)]), false)]);
    let csv = b"=MSEXCEL|'\\..\\..\\Windows\\System32\\cmd.exe /c calc'!A1".to_vec();
    let mut old = b"\xd0\xcf\x11\xe0".to_vec();
    old.resize(600, 0);
    let mut encrypted = old.clone();
    encrypted[0x20b] = 0x13;
    old.extend_from_slice(b"\0Attribut\0 Document_Open\0http://www.host.com/path/to/a.exe\0");
    let plain = |head: &str, body: &str| format!("{head}\n\n{body}\n");
    let kind = "application/octet-stream";
    let mut mails = vec![
        plain("From: a@a.com\nSubject: x", "Nothing."),
        attached("invoice.pdf", "application/pdf", PDF.as_bytes()),
        attached("old.fdf", kind, &PDF.replace("20/Height 10", "7/Height 7").into_bytes()),
        attached("a.docx", kind, &docx),
        attached("b.doc", kind, &macros),
        attached("a.xlsx", kind, &objects),
        attached("a.zip", "application/zip", &locked),
        attached("a.zip", "application/zip", &nested),
        attached("a.csv", kind, &csv),
        attached("a.doc", "application/msword", &old),
        attached("a.xls", kind, &encrypted),
        attached("a.pptx", kind, &macros),
        attached("a.dat", kind, &macros),
        attached("a.exe", "image/png", b"MZ"),
        attached("a", kind, b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0"),
    ];
    for from in [
        "\"a@bank.com\" <b@evil.com>\nTo: a@bank.com\nReply-To: a@bank.com",
        "\"Joe a@bank.com\" <b@mail.bank.com>",
        "\"x@paypal.com\" <x@paypal-mail.com>",
        "\"a@bank.com\" <a@bank.com>",
        "Bank <bad@listed.com>",
        "ok@listed.com",
        "a@sub.listed.com",
    ] {
        mails.push(plain(&format!("From: {from}\nSubject: x"), "x"));
    }
    for link in [
        "http://bit.ly/abc",
        "http://bit.ly/",
        "http://a.page.link/",
        "http://www.bit.ly/x",
        "http://www.phish.com/login?a=b",
        "http://www.tank.com/x",
        "http://www.stats.com/x",
        "http://www.stats.com/low",
        "http://203.0.113.7/x",
        "http://203.0.113.8/x",
        "http://198.51.100.9/ http://198.51.100.200:8080/y",
        "http://192.0.2.77/",
        "http://10.0.0.1/",
    ] {
        mails.push(plain("From: a@a.com\nSubject: x", link));
    }
    for text in [TEXT_DE, TEXT_EN, "Grüße", "\u{44f}\u{44f}\u{44f}\u{44f}"] {
        let head = "From: a@a.com\nSubject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8";
        mails.push(plain(&format!("{head}\nContent-Transfer-Encoding: 8bit"), text));
    }
    for ip in ["203.0.113.5", "198.51.100.9"] {
        let received = format!(
            "Received: from a.com (a.com [{ip}]) by mx.example.org (Postfix) with ESMTP id 1; Thu, 1 Jan 2026 00:00:00 +0000"
        );
        mails.push(plain(&format!("{received}\nFrom: a@a.com\nSubject: x"), "x"));
    }
    mails
}

/// A mail with an attachment.
pub fn attached(name: &str, kind: &str, content: &[u8]) -> String {
    format!(
        "From: a@a.com\nSubject: x\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\n\
        Content-Type: {kind}; name=\"{name}\"\nContent-Disposition: attachment; filename=\"{name}\"\n\
        Content-Transfer-Encoding: base64\n\n{}\n--b--\n",
        base64(content)
    )
}

fn base64(content: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for (place, three) in content.chunks(3).enumerate() {
        if place % 18 == 0 && place > 0 {
            out.push('\n');
        }
        let octet = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = octet(0) << 16 | octet(1) << 8 | octet(2);
        for digit in 0..4 {
            let code = DIGITS[(bits >> (18 - 6 * digit) & 63) as usize];
            out.push(if digit > three.len() { '=' } else { char::from(code) });
        }
    }
    out
}

/// A zip of members that are stored as they are, some of them marked as encrypted.
fn zip(members: &[(&str, &[u8], bool)]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content, encrypted) in members {
        let bit = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        let octet = |crc: u32, octet: &u8| (0..8).fold(crc ^ u32::from(*octet), |crc, _| bit(crc));
        // The sum of what is encrypted is not that of what lies there.
        let crc = (!content.iter().fold(u32::MAX, octet) ^ u32::from(*encrypted)).to_le_bytes();
        let size = (content.len() as u32).to_le_bytes();
        let flags = u16::from(*encrypted).to_le_bytes();
        let length = (name.len() as u16).to_le_bytes();
        let common = [&flags[..], &[0; 6], &crc, &size, &size, &length, &[0; 2]].concat();
        let at = (out.len() as u32).to_le_bytes();
        directory.extend([&b"PK\x01\x02\x14\0\x14\0"[..], &common, &[0; 10], &at, name.as_bytes()].concat());
        out.extend([&b"PK\x03\x04\x14\0"[..], &common, name.as_bytes(), content].concat());
    }
    let count = (members.len() as u16).to_le_bytes();
    let (size, at) = ((directory.len() as u32).to_le_bytes(), (out.len() as u32).to_le_bytes());
    [&out[..], &directory, b"PK\x05\x06\0\0\0\0", &count, &count, &size, &at, &[0; 2]].concat()
}

/// A database of MaxMind's format (version 2.0) that knows one network: 203.0.113.0/24 is Dutch, and whose it is.
pub fn database() -> Vec<u8> {
    const NODES: u32 = 24;
    let network = u32::from_be_bytes([203, 0, 113, 0]);
    let mut out = Vec::new();
    for node in 0..NODES {
        let next = if node + 1 == NODES { NODES + 16 } else { node + 1 };
        let bit = network >> (31 - node) & 1;
        for side in 0..2 {
            let record = if side == bit { next } else { NODES };
            out.extend_from_slice(&record.to_be_bytes()[1..]);
        }
    }
    let text = |text: &str| [&[0x40 | text.len() as u8][..], text.as_bytes()].concat();
    out.extend_from_slice(&[0; 16]);
    out.extend([&[0xe3][..], &text("country"), &[0xe1], &text("iso_code"), &text("NL")].concat());
    out.extend(
        [text("continent"), vec![0xe1], text("code"), text("EU"), text("isp"), text("Data Rancid")].concat(),
    );
    out.extend_from_slice(b"\xab\xcd\xefMaxMind.com\xe9");
    let pairs: [(&str, Vec<u8>); 9] = [
        ("binary_format_major_version", vec![0xa1, 2]),
        ("binary_format_minor_version", vec![0xa0]),
        ("build_epoch", vec![0x04, 0x02, 0x60, 0, 0, 0]),
        ("database_type", text("GeoLite2-Country")),
        ("description", [&[0xe1][..], &text("en"), &text("test")].concat()),
        ("ip_version", vec![0xa1, 4]),
        ("languages", [&[0x01, 0x04][..], &text("en")].concat()),
        ("node_count", vec![0xc1, NODES as u8]),
        ("record_size", vec![0xa1, 24]),
    ];
    for (key, value) in pairs {
        out.extend([text(key), value].concat());
    }
    out
}

#[test]
fn plugins_find_what_they_find_in_spamassassin() {
    if !needs(&["spamassassin", "perl"]) {
        return;
    }
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let word = |name: &str| path(name).to_str().expect("a plain path").to_owned();
    ["rules", "site", "mails"].iter().for_each(|name| fs::create_dir(path(name)).expect("a folder"));
    let countries = perl("use MaxMind::DB::Reader;");
    files(folder.path(), countries);
    let numbered = |(place, mail)| format!("X-Number: {place}\n{mail}");
    let mails: Vec<String> = mails().into_iter().enumerate().map(numbered).collect();
    for (place, mail) in mails.iter().enumerate() {
        fs::write(path(&format!("mails/{place:02}.eml")), mail).expect("a mail");
    }
    let output = run(&["rules", "hits", "--rules", &word("site"), &word("rules"), &word("mails")], b"");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    let ours: Vec<String> =
        lines.lines().filter_map(|line| Some(line.split('\t').nth(2)?.to_owned())).collect();
    let theirs = spamassassin(folder.path(), &mails);
    assert_eq!((ours.len(), theirs.len()), (mails.len(), mails.len()));
    let differs = |(place, (ours, theirs)): (usize, (&String, &String))| {
        let mail: String = mails[place].chars().take(400).collect();
        (ours != theirs).then(|| format!("ours:   {ours}\ntheirs: {theirs}\n{mail}\n"))
    };
    let differences: Vec<String> = ours.iter().zip(&theirs).enumerate().filter_map(differs).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    // Each rule hits something, so nothing agrees only because nobody looks.
    let rules = fs::read_to_string(path("rules/10_test.cf")).expect("the rules");
    let named = rules.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let kind = words.next()?;
        let defines = matches!(kind, "body" | "header" | "uri") || kind.starts_with("uri_block_");
        defines.then(|| words.next())?
    });
    let silent: Vec<&str> =
        named.filter(|name| !ours.iter().any(|hits| hits.split(',').any(|hit| hit == *name))).collect();
    assert!(silent.is_empty(), "never hit: {silent:?}");
}

pub fn perl(program: &str) -> bool {
    let mut perl = Command::new("perl");
    perl.args(["-e", program]).stdout(Stdio::null()).stderr(Stdio::null());
    perl.status().is_ok_and(|status| status.success())
}

/// Rules, and the files that they name.
fn files(folder: &Path, countries: bool) {
    use md5::{Digest, Md5};
    let digest =
        |text: &[u8]| Md5::digest(text).iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    let first: String = PDF.lines().filter(|line| !line.starts_with('%')).take(3).collect();
    let here = folder.to_str().expect("a plain path");
    let more = if countries { [COUNTRIES, PLACES] } else { [""; 2] };
    let rules = format!("{RULES}{}", more.concat())
        .replace("{md5}", &digest(PDF.as_bytes()))
        .replace("{fuzzy}", &digest(first.as_bytes()))
        .replace("{tags}", &digest(b"SubtypeEncryptURI"))
        .replace(" {} -", " {FILE} -")
        .replace("{}", here)
        .replace("{FILE}", "{}");
    let write = |name: &str, content: &[u8]| fs::write(folder.join(name), content).expect("a file");
    write("rules/10_test.cf", rules.as_bytes());
    let more = if countries { &["RelayCountry", "URILocalBL"][..] } else { &[] };
    let lines =
        PLUGINS.iter().chain(more).map(|name| format!("loadplugin Mail::SpamAssassin::Plugin::{name}\n"));
    write("site/init.pre", lines.collect::<String>().as_bytes());
    write("open.txt", b"# feed\nhttp://www.phish.com/login?a=b\n");
    write("tank.csv", b"id,url,more\n7,\"http://www.tank.com/x\",y\n");
    write("stats.csv", b"# head\n\"2026\",\"7.1\",\"http://www.stats.com/x\",\"192.0.2.1\"\n\"2026\",\"5\",\"http://www.stats.com/low\",\"\"\n");
    write("country.mmdb", &database());
    write("docx2txt", b"#!/bin/sh\necho 'You lottery winner you'\n");
    let made = Command::new("chmod").arg("755").arg(folder.join("docx2txt")).status();
    assert!(made.is_ok_and(|status| status.success()));
    let table = format!(
        "use DB_File; tie my %h, 'DB_File', '{here}/access.db' or die; \
        %h = ('listed.com' => 'REJECT', 'From:ok@' => 'OK', 'a.org' => '550 no');"
    );
    assert!(perl(&table), "a table by Perl's DB_File");
}

/// The rules that SpamAssassin says hit, for each mail, in one run.
pub fn spamassassin(folder: &Path, mails: &[String]) -> Vec<String> {
    let envelope = "From a@a.com  Thu Jan  1 00:00:00 2026\n";
    let all: String = mails.iter().map(|mail| format!("{envelope}{mail}\n")).collect();
    fs::write(folder.join("all.mbox"), all).expect("the mails");
    let output = Command::new("spamassassin")
        .args(["-L", "-x", "-p", "/dev/null", "-C"])
        .arg(folder.join("rules"))
        .arg(format!("--siteconfigpath={}", folder.join("site").display()))
        .arg("--mbox")
        .arg(folder.join("all.mbox"))
        .env("HOME", folder)
        .stdin(Stdio::null())
        .output()
        .expect("spamassassin");
    let text = String::from_utf8_lossy(&output.stdout).replace("\n\t", "").replace("\n ", " ");
    // It takes them in an order of its own.
    let mut found = vec![String::new(); mails.len()];
    let mut last = None;
    for line in text.lines() {
        if let Some(status) = line.strip_prefix("X-Spam-Status: score=") {
            last = status.split_once(" tests=").map(|(_, tests)| sorted(tests));
        } else if let Some(number) = line.strip_prefix("X-Number: ")
            && let Some(place) = number.parse::<usize>().ok().and_then(|number| found.get_mut(number))
            && let Some(tests) = last.take()
        {
            *place = tests;
        }
    }
    assert!(
        found.iter().any(|tests| !tests.is_empty()),
        "{}\n{text}",
        String::from_utf8_lossy(&output.stderr)
    );
    found
}

fn sorted(tests: &str) -> String {
    let mut names: Vec<&str> = tests.split(',').map(str::trim).filter(|name| *name != "none").collect();
    names.sort_unstable();
    names.dedup();
    names.join(",")
}
