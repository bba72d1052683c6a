//! The texts that rules look at, compared with those that SpamAssassin itself makes.
//!
//! `oracle/texts.pl` asks the real Mail::SpamAssassin (4.0, Debian's package) about mails: those of `mails/`, and a part of the
//! suites where that folder exists (GATEPOST_SUITES, else ../shared/suites beside the repository). TEXTS_FOLDER names a folder
//! of which all mails are compared, and nothing else. Where SpamAssassin is not installed nothing is compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use gatepost_mail::Message;
use gatepost_rules::texts::{Given, HeaderRequest, Networks, Registry, TextSettings, Texts};

/// Where Debian puts the list of top-level domains.
const TLDS: &str = "/usr/share/spamassassin/20_aux_tlds.cf";

/// Whether SpamAssassin is there, with the modules that it uses for addresses and names where it finds them.
fn is_installed() -> bool {
    let modules = ["-MMail::SpamAssassin", "-MEmail::Address::XS", "-MNet::LibIDN", "-e1"];
    let perl = || Command::new("perl").args(modules).stderr(Stdio::null()).status();
    let installed = Path::new(TLDS).exists() && perl().is_ok_and(|status| status.success());
    if !installed {
        eprintln!("skipped: spamassassin, libemail-address-xs-perl or libnet-libidn-perl is not installed");
    }
    installed
}

#[test]
fn texts_are_those_of_spamassassin() {
    if !is_installed() {
        return;
    }
    let (files, least) = match std::env::var_os("TEXTS_FOLDER") {
        Some(folder) => (mails(&PathBuf::from(folder)), 0.0),
        None => (mails(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mails")), 1.0),
    };
    let report = compare(&files, &[], &defaults());
    assert!(report.agreement() >= least, "{}", report.text);
    println!("{}", report.text);
}

#[test]
fn texts_of_the_suites_are_those_of_spamassassin() {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/suites");
    let root = std::env::var_os("GATEPOST_SUITES").map_or_else(beside, PathBuf::from);
    if !root.exists() {
        eprintln!("skipped: the suites are not there");
        return;
    }
    if !is_installed() {
        return;
    }
    let folders = ["spamassassin/nice", "spamassassin/spam", "ham-signed", "mime-evasion"];
    let all: Vec<PathBuf> = folders.iter().flat_map(|folder| mails(&root.join(folder))).collect();
    let files: Vec<PathBuf> = all.into_iter().step_by(5).collect();
    let report = compare(&files, &[], &defaults());
    assert!(report.agreement() >= 0.995, "{}", report.text);
}

#[test]
fn settings_change_texts_as_in_spamassassin() {
    if !is_installed() {
        return;
    }
    let files = mails(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mails"));
    let networks = |mut networks: Networks, texts: &[&str]| {
        texts.iter().for_each(|text| networks.add(text).unwrap());
        networks
    };
    let plain = TextSettings {
        normalize_charset: false,
        body_part_scan_size: 1000,
        rawbody_part_scan_size: 3000,
        ..defaults()
    };
    let trusting = TextSettings {
        trusted_networks: Some(networks(Networks::loopback(), &["!192.0.2.5", "10/8", "192.0.2.0/24"])),
        internal_networks: Some(networks(Networks::loopback(), &["10.0.0.0/8"])),
        msa_networks: networks(Networks::default(), &["192.0.2.1"]),
        originating_ip_headers: vec!["X-Originating-IP".into()],
        envelope_sender_header: Some("Return-Path".into()),
        parse_dkim_uris: false,
        ..defaults()
    };
    for (settings, own) in [
        (&["normalize_charset 0", "body_part_scan_size 1000", "rawbody_part_scan_size 3000"][..], plain),
        (
            &[
                "trusted_networks !192.0.2.5 10/8 192.0.2.0/24",
                "internal_networks 10.0.0.0/8",
                "msa_networks 192.0.2.1",
                "originating_ip_headers X-Originating-IP",
                "envelope_sender_header Return-Path",
                "parse_dkim_uris 0",
            ],
            trusting,
        ),
    ] {
        let report = compare(&files, settings, &own);
        assert!(report.agreement() >= 1.0, "{settings:?}\n{}", report.text);
    }
}

#[test]
fn texts_of_broken_mails_are_those_of_spamassassin() {
    if !is_installed() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("texts-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let whole = mails(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mails"));
    let mut random = Random(std::env::var("TEXTS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7));
    let files: Vec<PathBuf> = (0..300)
        .map(|number| {
            let mut mail = std::fs::read(&whole[random.below(whole.len())]).unwrap();
            mail.truncate(8000);
            (0..=random.below(20)).for_each(|_| random.harm(&mut mail));
            let file = folder.join(format!("{number:03}"));
            std::fs::write(&file, mail).unwrap();
            file
        })
        .collect();
    let report = compare(&files, &[], &defaults());
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(report.agreement() >= 0.999, "{}", report.text);
}

/// The same numbers each time, to break mails with.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }

    /// Puts something in, or takes something out.
    fn harm(&mut self, mail: &mut Vec<u8>) {
        const PIECES: [&[u8]; 48] = [
            b"<",
            b">",
            b"\"",
            b"'",
            b"=",
            b"&",
            b"&#",
            b";",
            b"--",
            b"\n",
            b"\n\n",
            b" ",
            b"\t",
            b"(",
            b")",
            b"@",
            b".",
            b",",
            b"/",
            b"\\",
            b"<!--",
            b"-->",
            b"</a>",
            b"<a href=",
            b"<font color=",
            b"<style>",
            b"<title>",
            b"=?utf-8?q?",
            b"?=",
            b"http://",
            b"www.x.com",
            b"\xe9",
            b"\xc2\xa0",
            b"\xa0",
            b"%41",
            b"\0",
            b"[192.0.2.1]",
            b" by ",
            b" with ",
            b"from ",
            b"\r\n",
            b"&eacute",
            b"&#8217;",
            b"<![CDATA[",
            b"]]>",
            b"boundary=",
            b"charset=",
            b"mailto:",
        ];
        let at = self.below(mail.len());
        match self.below(5) {
            0 => drop(mail.drain(at..(at + self.below(20)).min(mail.len()))),
            1 => mail.iter_mut().skip(at).take(1).for_each(|octet| *octet = self.below(256) as u8),
            _ => drop(mail.splice(at..at, PIECES[self.below(PIECES.len())].iter().copied())),
        }
    }
}

fn defaults() -> TextSettings {
    TextSettings {
        registry: registry(),
        line_feeds: false,
        originating_ip_headers: Vec::new(),
        ..TextSettings::default()
    }
}

/// All files below a folder, in order.
fn mails(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What came of a comparison.
struct Report {
    /// By kind: how many texts agree, and how many there are.
    kinds: BTreeMap<String, (usize, usize)>,
    text: String,
}

impl Report {
    /// The part of all texts that agree.
    fn agreement(&self) -> f64 {
        let sum = |pick: fn(&(usize, usize)) -> usize| self.kinds.values().map(pick).sum::<usize>() as f64;
        let all = sum(|(_, all)| *all);
        if all > 0.0 { sum(|(same, _)| *same) / all } else { 1.0 }
    }
}

type Told = BTreeMap<(String, String), String>;

/// Compares, with settings as SpamAssassin reads them and as we do.
fn compare(files: &[PathBuf], settings: &[&str], own: &TextSettings) -> Report {
    let theirs = oracle(files, settings);
    let mut report = Report { kinds: BTreeMap::new(), text: String::new() };
    let mut shown: BTreeMap<String, usize> = BTreeMap::new();
    for file in files {
        let name = file.to_string_lossy().into_owned();
        let raw = Bytes::from(std::fs::read(file).unwrap_or_default());
        let ours = told(&Texts::new(&Message::unread(raw), Given::default(), own));
        let empty = Told::new();
        let theirs = theirs.get(&name).unwrap_or(&empty);
        let keys: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
        for key in keys {
            let (our, their) = (ours.get(key), theirs.get(key));
            let kind = if key.0 == "header" { format!("header {}", key.1) } else { key.0.clone() };
            let counts = report.kinds.entry(kind.clone()).or_default();
            counts.1 += 1;
            if our == their {
                counts.0 += 1;
                continue;
            }
            let times = shown.entry(kind).or_default();
            *times += 1;
            if *times <= 12 {
                let (our, their) = around(our, their);
                let _ =
                    write!(report.text, "{name}: {} {}\n  ours   {our}\n  theirs {their}\n", key.0, key.1);
            }
        }
    }
    let agreement = report.agreement();
    for (kind, (same, all)) in &report.kinds {
        if same < all {
            let _ = writeln!(report.text, "{kind}: {same} of {all}");
        }
    }
    let _ = writeln!(report.text, "{} mails, {:.4} % of texts agree", files.len(), agreement * 100.0);
    report
}

/// Both texts around the first difference.
fn around(our: Option<&String>, their: Option<&String>) -> (String, String) {
    let (one, other) = (our.map_or("-", String::as_str), their.map_or("-", String::as_str));
    let same = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let cut = |text: &str| text[same.saturating_sub(60)..text.len().min(same + 100)].to_owned();
    (cut(one), cut(other))
}

/// What SpamAssassin tells, by file.
fn oracle(files: &[PathBuf], settings: &[&str]) -> BTreeMap<String, Told> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/texts.pl");
    let mut command = Command::new("perl");
    command
        .arg(script)
        .arg(TLDS)
        .args(settings)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().expect("perl starts");
    let mut input = child.stdin.take().expect("perl has a standard input");
    let names: Vec<String> = files.iter().map(|file| file.to_string_lossy().into_owned()).collect();
    let list = names.join("\n") + "\n";
    let writer = std::thread::spawn(move || input.write_all(list.as_bytes()));
    let output = child.wait_with_output().expect("perl ends");
    writer.join().expect("the list was written").expect("perl reads the list");
    let mut all: BTreeMap<String, Told> = BTreeMap::new();
    let mut file = String::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let mut parts = line.splitn(3, '\t');
        let (kind, key, value) =
            (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        if kind == "file" {
            file = key.to_owned();
            all.entry(file.clone()).or_default();
        } else {
            all.entry(file.clone()).or_default().insert((kind.to_owned(), key.to_owned()), value.to_owned());
        }
    }
    all
}

/// Top-level domains and kin, as the file has them.
fn registry() -> Registry {
    let mut registry = Registry::default();
    for line in std::fs::read_to_string(TLDS).unwrap_or_default().lines() {
        let mut words = line.split('#').next().unwrap_or("").split_whitespace();
        let set = match words.next() {
            Some("util_rb_tld") => &mut registry.tlds,
            Some("util_rb_2tld") => &mut registry.two_level,
            Some("util_rb_3tld") => &mut registry.three_level,
            _ => continue,
        };
        set.extend(words.map(|word| word.to_ascii_lowercase().into_bytes()));
    }
    registry
}

/// What the oracle asks of the header.
const REQUESTS: &str = "
  Subject Subject:raw From From:raw From:addr From:name From:name:raw From:addr:host From:addr:domain From:host To To:addr To:name
  Cc:addr Reply-To Reply-To:addr Reply-To:host ToCc ToCc:raw MESSAGEID MESSAGEID:raw EnvelopeFrom EnvelopeFrom:addr Return-Path:addr
  Received Received:first Received:last Received:raw Received:ip Received:host X-Originating-IP X-Originating-IP:ip
  X-Originating-IP:revip Date Message-Id Message-Id:host Message-Id:domain Content-Type Content-Type:raw Sender:addr Sender:name
  List-Id List-Id:raw X-Mailer User-Agent In-Reply-To References X-Spam-Relays-Trusted X-Spam-Relays-Untrusted
  X-Spam-Relays-Internal X-Spam-Relays-External ALL ALL:raw ALL-TRUSTED ALL-UNTRUSTED ALL-INTERNAL ALL-EXTERNAL ALL-UNTRUSTED:raw
  X-SenderDomain X-AuthorDomain Delivered-To:addr";

/// And of each page.
const NUMBERS: [&str; 17] = [
    "length",
    "html_length",
    "non_space_len",
    "ratio",
    "image_area",
    "min_size",
    "max_size",
    "closed_extra_ratio",
    "bad_tag_ratio",
    "non_element_ratio",
    "obfuscation_ratio",
    "backhair_count",
    "font_low_contrast",
    "font_invalid_color",
    "font_face_bad",
    "form_action_mailto",
    "embeds",
];

/// Our texts in the oracle's words.
fn told(texts: &Texts<'_>) -> Told {
    let mut told = Told::new();
    let mut tell = |kind: &str, key: &[u8], value: &[u8]| {
        told.insert((kind.to_owned(), escaped(key)), escaped(value));
    };
    let bodies = [
        ("body", texts.body()),
        ("visible", texts.visible_body()),
        ("invisible", texts.invisible_body()),
        ("rawbody", texts.rawbody()),
    ];
    for (kind, lines) in bodies {
        for (place, line) in lines.iter().enumerate() {
            tell(kind, place.to_string().as_bytes(), line);
        }
    }
    tell("full", b"", texts.full());
    for request in REQUESTS.split_whitespace() {
        if let Some(value) = texts.header(&HeaderRequest::parse(request)).joined() {
            tell("header", request.as_bytes(), &value);
        }
    }
    for uri in texts.uris() {
        let types: Vec<&str> = std::iter::once("types").chain(uri.types.iter().copied()).collect();
        tell("uri", &uri.raw, types.join(" ").as_bytes());
        let mut cleaned = uri.cleaned.clone();
        cleaned.sort();
        tell("cleaned", &uri.raw, &cleaned.join(&b' '));
        let mut hosts: Vec<Vec<u8>> =
            uri.hosts.iter().map(|(host, domain)| [&host[..], b"=", domain].concat()).collect();
        hosts.sort();
        tell("hosts", &uri.raw, &hosts.join(&b' '));
        if !uri.anchor_texts.is_empty() {
            tell("anchor", &uri.raw, &uri.anchor_texts.join(&b'|'));
        }
    }
    for (place, page) in texts.html().iter().enumerate() {
        for name in NUMBERS {
            if let Some(number) = page.number(name) {
                tell("html", format!("{place} {name}").as_bytes(), general(number).as_bytes());
            }
        }
        for (tag, open) in page.open_tags() {
            tell("inside", &[format!("{place} ").as_bytes(), tag].concat(), open.to_string().as_bytes());
        }
        for name in ["title", "anchor", "script", "comment"] {
            if let Some(texts) = page.texts(name) {
                tell("html text", format!("{place} {name}").as_bytes(), &texts.join(&b'|'));
            }
        }
    }
    rest(texts, &mut tell);
    told
}

fn rest(texts: &Texts<'_>, tell: &mut impl FnMut(&str, &[u8], &[u8])) {
    let flags = texts.flags();
    for (name, set) in [
        ("missing_head_body_separator", flags.missing_head_body_separator),
        ("truncated_header", flags.truncated_header),
        ("missing_mime_headers", flags.missing_mime_headers),
        ("missing_mime_head_body_separator", flags.missing_mime_head_body_separator),
        ("mime_epilogue_exists", flags.mime_epilogue_exists),
        ("mimepart_limit_exceeded", flags.mimepart_limit_exceeded),
    ] {
        if set {
            tell("flag", name.as_bytes(), b"1");
        }
    }
    for name in ["Content-Type", "Content-Disposition", "Content-Transfer-Encoding"] {
        for (place, value) in texts.mime_headers(name, false).iter().enumerate() {
            if let Some(value) = value {
                tell("mime", format!("{place} {name}").as_bytes(), value);
            }
        }
        for (place, value) in texts.mime_headers(name, true).iter().enumerate() {
            tell("mime", format!("{place} {name}:raw").as_bytes(), value.as_deref().unwrap_or_default());
        }
    }
    tell("relays", b"unparseable", texts.relays().unparseable.to_string().as_bytes());
}

fn escaped(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text {
        if matches!(byte, 0x20..=0x24 | 0x26..=0x7e) {
            out.push(char::from(*byte));
        } else {
            let _ = write!(out, "%{byte:02x}");
        }
    }
    out
}

/// As C's `%.9g` writes a number.
fn general(number: f64) -> String {
    if number == 0.0 {
        return "0".into();
    }
    let scientific = format!("{number:.8e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    if (-4..9).contains(&exponent) {
        let places = usize::try_from(8 - exponent).unwrap_or(0);
        return trim(&format!("{number:.places$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trim(digits), exponent.abs())
}
