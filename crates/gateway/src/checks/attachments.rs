//! Attachment rules: names and types that are not let in, wherever they are nested.
//!
//! Own rules come first, in their order; the first that matches a part decides about it, for or against. Then the
//! built-in list. Every name that some reader would show is looked at, as it stands and as it looks.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::Duration;

use gatepost_mail::{
    Category, Counts, FileKind, FileType, Finding, Mail, Message, OnFault, Origin, Part, PartId,
};
use regex::{Regex, RegexBuilder};

use super::catalogue::Resources;
use super::{Answer, Check, Found, SymbolInfo, looked};
use crate::config::typed::{AttachmentRule, Attachments};
use crate::config::{Config, Problem};

const NAME: &str = "BANNED_NAME";
const TYPE: &str = "BANNED_TYPE";
const DOUBLE: &str = "BANNED_DOUBLE_EXTENSION";
const CLSID: &str = "BANNED_CLSID";
const RULE: &str = "BANNED_RULE";

const BANNED: Counts = Counts::As(Category::Banned);

/// What it finds.
pub static SYMBOLS: &[SymbolInfo] = &[
    SymbolInfo::new(NAME, "an attachment with the name of a program, script, shortcut or disk image", BANNED),
    SymbolInfo::new(TYPE, "an attachment that is a program or script, whatever its name", BANNED),
    SymbolInfo::new(DOUBLE, "a program or script that is named to look like a document", BANNED),
    SymbolInfo::new(
        CLSID,
        "a name that ends in a CLSID, by which Windows opens it as something else",
        BANNED,
    ),
    SymbolInfo::new(RULE, "an attachment that one of the own rules bans", BANNED),
];

/// Extensions that a desktop runs, installs, mounts or follows when the file is opened. Made from what Outlook and
/// Gmail block, without those that ordinary mail is full of: certificates (`cer`, `crt`, `der`), data (`mat`, `mdb`,
/// `tmp`, `cab`), source code (`py`, `pl`, `sh`: banned only when the content is a script), links (`url`), pages
/// (`html`, `svg`) and office documents with macros (`docm`, `xlsm`), which own rules can ban.
#[rustfmt::skip]
const DANGEROUS: &[&str] = &[
    // Programs and what is loaded into them.
    "exe", "com", "pif", "scr", "cpl", "dll", "ocx", "sys", "drv", "vxd", "xll", "wll", "ex_", "gadget", "apk", "xbap",
    // Scripts.
    "bat", "cmd", "vb", "vbe", "vbs", "js", "jse", "mjs", "ws", "wsc", "wsf", "wsh", "wsb", "hta", "htc", "sct",
    "ps1", "ps1xml", "ps2", "ps2xml", "psc1", "psc2", "psm1", "psd1", "msh", "msh1", "msh2", "mshxml", "msh1xml",
    "msh2xml", "jar", "jnlp", "command", "scpt", "csh", "ksh",
    // Installers.
    "msi", "msp", "mst", "msu", "msix", "msixbundle", "appx", "appxbundle", "appinstaller", "application",
    "appref-ms", "diagcab", "diagcfg", "diagpkg", "inf", "ins", "isp",
    // Shortcuts, settings and help that lead to commands.
    "lnk", "scf", "shb", "shs", "reg", "msc", "chm", "hlp", "hpj", "its", "pcd", "vsmacros", "vsw", "theme",
    "themepack", "library-ms", "search-ms", "settingcontent-ms", "desktop", "iqy", "ade", "adp", "mde",
    // Disk images: what lies in them loses the mark of the web.
    "iso", "img", "vhd", "vhdx", "dmg", "udf",
];

/// Extensions of documents, pictures and the like: what a program is dressed up as.
#[rustfmt::skip]
const HARMLESS_LOOKING: &[&str] = &[
    "txt", "rtf", "doc", "docx", "docm", "dot", "odt", "xls", "xlsx", "xlsm", "xlsb", "ods", "csv", "ppt", "pptx",
    "pps", "ppsx", "odp", "pdf", "jpg", "jpeg", "gif", "png", "bmp", "tif", "tiff", "heic", "webp", "svg", "mp3", "mp4",
    "avi", "mov", "wmv", "mpg", "mpeg", "wav", "m4a", "htm", "html", "xml", "json", "log", "eml", "msg", "zip", "rar",
    "7z", "gz", "tar", "ics", "vcf", "dwg", "ps", "eps", "md",
];

/// Makes the check.
pub fn build(config: &Config, _: &Resources) -> Result<Vec<Box<dyn Check>>, Vec<Problem>> {
    let attachments = &config.checks.attachments;
    if !attachments.enabled {
        return Ok(Vec::new());
    }
    Ok(vec![Box::new(AttachmentRules::build(attachments)?)])
}

/// The check.
#[derive(Debug)]
pub struct AttachmentRules {
    rules: Vec<Rule>,
    builtin: bool,
    on_fault: OnFault,
}

impl AttachmentRules {
    /// Compiles the rules. Every mistake is told, with its key.
    pub fn build(typed: &Attachments) -> Result<AttachmentRules, Vec<Problem>> {
        let mut problems = Vec::new();
        let rules = typed.rule.iter().enumerate();
        let rules = rules.map(|(place, rule)| Rule::build(place, rule, &mut problems)).collect();
        if problems.is_empty() {
            Ok(AttachmentRules { rules, builtin: typed.builtin, on_fault: typed.on_fault })
        } else {
            Err(problems)
        }
    }

    /// What is not let in: a finding for every such part, since each decides about its part.
    pub fn look(&self, message: &Message) -> Vec<Finding> {
        let parts = message.parts().filter(|(_, part)| is_attachment(part));
        parts.filter_map(|(id, part)| self.judge(message, id, part)).collect()
    }

    fn judge(&self, message: &Message, id: PartId, part: &Part) -> Option<Finding> {
        let facts =
            Facts { message, id, part, names: part.names.iter().map(|name| Name::read(name)).collect() };
        if let Some(rule) = self.rules.iter().find(|rule| rule.matches(&facts)) {
            let evidence = || format!("{}: {}", rule.name, facts.path());
            return (!rule.allow).then(|| Finding::part(RULE, id, evidence()));
        }
        if self.builtin { builtin(&facts) } else { None }
    }
}

impl Check for AttachmentRules {
    fn name(&self) -> &str {
        "attachments"
    }

    fn time(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn on_fault(&self) -> OnFault {
        self.on_fault
    }

    fn on_mail<'a>(&'a self, mail: &'a Mail, _: &'a Found) -> Answer<'a> {
        looked(Ok(self.look(&mail.message).into()))
    }
}

/// Whether rules are about this part at all: not for what only holds others, and not for the text of a mail. A program
/// that is declared to be text is none; a script that stands in the mail as its text is read, not run.
fn is_attachment(part: &Part) -> bool {
    let holder = part.container && part.declared.starts_with("multipart/");
    let text = matches!(part.declared.as_str(), "text/plain" | "text/html" | "");
    let other = matches!(part.detected.kind, FileKind::Executable | FileKind::Archive);
    let body = part.origin == Origin::Mime && part.names.is_empty() && text && !other && !part.attachment;
    !holder && !body
}

/// What is known of a part, for the rules.
struct Facts<'a> {
    message: &'a Message,
    id: PartId,
    part: &'a Part,
    names: Vec<Name<'a>>,
}

impl Facts<'_> {
    /// Where it stands, fit to be shown.
    fn path(&self) -> String {
        shown(&self.message.path(self.id))
    }

    /// Where it stands, under one of its names.
    fn path_as(&self, name: &str) -> String {
        let path = self.path();
        if self.part.name() == Some(name) { path } else { format!("{path} (also named {})", shown(name)) }
    }
}

/// A name, and the name as it looks: invisible characters gone, wide ones narrow.
struct Name<'a> {
    raw: &'a str,
    plain: Cow<'a, str>,
}

impl<'a> Name<'a> {
    fn read(raw: &'a str) -> Name<'a> {
        let odd = |c: char| !c.is_ascii() || c.is_ascii_control();
        let plain = if raw.contains(odd) {
            Cow::Owned(raw.chars().filter(|c| !is_invisible(*c)).map(narrow).collect())
        } else {
            Cow::Borrowed(raw)
        };
        Name { raw, plain }
    }

    /// The last step of the path.
    fn base(&self) -> &str {
        self.plain.rsplit(['/', '\\']).find(|step| !step.is_empty()).unwrap_or_default()
    }

    /// As it stands, as it looks, and its last step.
    fn forms(&self) -> [&str; 3] {
        [self.raw, &self.plain, self.base()]
    }
}

fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// Full-width letters and the dots that look like one as their ASCII counterparts; odd spaces as spaces.
fn narrow(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '\u{2024}' | '\u{fe52}' | '\u{3002}' | '\u{ff61}' => '.',
        c if c.is_whitespace() => ' ',
        '\u{2800}' | '\u{3164}' => ' ',
        c => c,
    }
}

/// The built-in list.
fn builtin(facts: &Facts) -> Option<Finding> {
    let mut worst: Option<(&'static str, &str)> = None;
    for name in &facts.names {
        match judge_name(name) {
            Some(symbol) if symbol != NAME => {
                worst = Some((symbol, name.raw));
                break;
            }
            Some(symbol) => worst = worst.or(Some((symbol, name.raw))),
            None => {}
        }
    }
    if let Some((symbol, name)) = worst {
        return Some(Finding::part(symbol, facts.id, facts.path_as(name)));
    }
    let detected = facts.part.detected;
    matches!(detected.kind, FileKind::Executable | FileKind::Script)
        .then(|| Finding::part(TYPE, facts.id, format!("{} ({})", facts.path(), detected.name)))
}

/// Whether a name alone is a reason.
fn judge_name(name: &Name) -> Option<&'static str> {
    // A class id is no danger in front of an ordinary extension, as in names that programs make up: {…}.pdf.
    static CLASS_ID: LazyLock<Regex> = LazyLock::new(|| {
        let id = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}";
        Regex::new(&format!(r"(?i)\.\s*\{{{id}|\{{{id}\}}?[\s.]*$")).expect("a fixed pattern")
    });
    if name.plain.contains('{') && CLASS_ID.is_match(&name.plain) {
        return Some(CLSID);
    }
    // Windows cuts a name at the colon of an alternate stream.
    let base = name.base();
    let whole = std::iter::once(base);
    whole
        .chain(base.split(':').filter(|piece| piece.len() < base.len()))
        .find_map(|base| judge_base(base, name.raw))
}

fn judge_base(base: &str, raw: &str) -> Option<&'static str> {
    // Windows drops dots and spaces at the end.
    let blank = |c: char| c == '.' || c == ' ' || c == '_' || c == '"' || c == '\'';
    let trimmed = base.trim_end_matches(['.', ' ', '"', '\'']);
    let (stem, extension) = trimmed.rsplit_once('.')?;
    let extension = extension.trim();
    if !DANGEROUS.iter().any(|known| known.eq_ignore_ascii_case(extension)) {
        return None;
    }
    let turned =
        raw.contains(['\u{202a}', '\u{202b}', '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}']);
    let gap = stem.ends_with("    ") || stem.ends_with("____");
    let before = stem.trim_end_matches(blank).rsplit_once('.').map(|(_, before)| before.trim());
    let looks =
        before.is_some_and(|before| HARMLESS_LOOKING.iter().any(|known| known.eq_ignore_ascii_case(before)));
    Some(if turned || gap || looks { DOUBLE } else { NAME })
}

/// Text from a message, made fit to be shown: what cannot be seen is escaped.
fn shown(text: &str) -> String {
    const LONGEST: usize = 300;
    let mut out = String::with_capacity(text.len().min(LONGEST));
    for (place, c) in text.chars().enumerate() {
        if place == LONGEST {
            out.push('…');
            break;
        }
        if is_invisible(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

/// An own rule.
#[derive(Debug)]
struct Rule {
    name: String,
    allow: bool,
    filename: Option<Regex>,
    path: Option<Regex>,
    declared: Vec<String>,
    detected: Vec<String>,
    encrypted: Option<bool>,
    deeper_than: Option<u32>,
    larger_than: Option<u64>,
}

impl Rule {
    fn build(place: usize, typed: &AttachmentRule, problems: &mut Vec<Problem>) -> Rule {
        let key = |field: &str| format!("checks.attachments.rule[{place}]{field}");
        let conditions = [
            typed.filename.is_some(),
            typed.path.is_some(),
            !typed.declared.is_empty(),
            !typed.detected.is_empty(),
            typed.encrypted.is_some(),
            typed.deeper_than.is_some(),
            typed.larger_than.is_some(),
        ];
        if !conditions.contains(&true) {
            let message = "no condition, so it would match every attachment: give filename, path, declared, detected, \
                           encrypted, deeper_than or larger_than";
            problems.push(Problem::new(key(""), message));
        }
        for (at, declared) in typed.declared.iter().enumerate() {
            let halves = declared.split_once('/').filter(|(kind, sub)| !kind.is_empty() && !sub.is_empty());
            if halves.is_none() {
                let message = format!("“{declared}” is no media type: write it like image/png or image/*");
                problems.push(Problem::new(key(&format!(".declared[{at}]")), message));
            }
        }
        for (at, detected) in typed.detected.iter().enumerate() {
            if !is_type_name(detected) {
                let message = format!(
                    "“{detected}” is no file type: write a short name such as exe, zip or pdf, or one of {}",
                    families()
                );
                problems.push(Problem::new(key(&format!(".detected[{at}]")), message));
            }
        }
        let mut pattern = |field: &str, text: &Option<String>| {
            text.as_ref().and_then(|text| {
                compile(text).map_err(|message| problems.push(Problem::new(key(field), message))).ok()
            })
        };
        Rule {
            name: if typed.name.is_empty() { format!("rule {}", place + 1) } else { typed.name.clone() },
            allow: typed.allow,
            filename: pattern(".filename", &typed.filename),
            path: pattern(".path", &typed.path),
            declared: typed.declared.iter().map(|declared| declared.to_ascii_lowercase()).collect(),
            detected: typed.detected.iter().map(|detected| detected.to_ascii_lowercase()).collect(),
            encrypted: typed.encrypted,
            deeper_than: typed.deeper_than,
            larger_than: typed.larger_than.map(|size| size.bytes()),
        }
    }

    /// Whether all conditions that are given hold. The cheap ones come first.
    fn matches(&self, facts: &Facts) -> bool {
        let part = facts.part;
        self.encrypted.is_none_or(|encrypted| part.encrypted == encrypted)
            && self.deeper_than.is_none_or(|depth| part.depth > depth)
            && self.larger_than.is_none_or(|size| part.body.len() as u64 > size)
            && (self.declared.is_empty()
                || self.declared.iter().any(|wanted| is_declared(wanted, &part.declared)))
            && (self.detected.is_empty() || self.detected.iter().any(|wanted| is_detected(wanted, part)))
            && self.filename.as_ref().is_none_or(|pattern| {
                let named = |name: &Name| name.forms().iter().any(|form| pattern.is_match(form));
                self.names_match(facts, named)
            })
            && self.path.as_ref().is_none_or(|pattern| self.path_matches(pattern, facts))
    }

    fn path_matches(&self, pattern: &Regex, facts: &Facts) -> bool {
        let path = facts.message.path(facts.id);
        let own = facts.part.name().unwrap_or_default();
        let holder = path.strip_suffix(own).unwrap_or(&path);
        let named = |name: &Name| pattern.is_match(&format!("{holder}{}", name.plain));
        match (self.allow, facts.names.is_empty()) {
            (_, true) => pattern.is_match(&path),
            (true, false) => self.names_match(facts, named),
            (false, false) => pattern.is_match(&path) || self.names_match(facts, named),
        }
    }

    /// Any name is enough to ban a part. To allow it takes all of them: each is what some reader would open it as.
    fn names_match(&self, facts: &Facts, matches: impl Fn(&Name) -> bool) -> bool {
        if self.allow {
            !facts.names.is_empty() && facts.names.iter().all(matches)
        } else {
            facts.names.iter().any(matches)
        }
    }
}

/// A pattern without case, of bounded size.
fn compile(text: &str) -> Result<Regex, String> {
    const LARGEST: usize = 1 << 20;
    let built =
        RegexBuilder::new(text).case_insensitive(true).size_limit(LARGEST).dfa_size_limit(LARGEST).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            "the pattern becomes too large: use fewer or smaller repetitions".to_owned()
        }
        error => format!("not a regular expression: {error}"),
    })
}

fn is_declared(wanted: &str, declared: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(start) => declared.starts_with(start),
        None => declared == wanted,
    }
}

fn is_detected(wanted: &str, part: &Part) -> bool {
    part.detected.name.eq_ignore_ascii_case(wanted) || part.detected.kind.name() == wanted
}

fn families() -> String {
    FileKind::ALL.map(FileKind::name).join(", ")
}

fn is_type_name(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    FileKind::by_name(&text).is_some() || FileType::by_name(&text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_mail::{Limits, Session};

    const PROGRAM: &[u8] = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0\xb8\0\0\0\0\0\0\0@\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
        \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x40\0\0\0PE\0\0\x4c\x01\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\xe0\0\x02\x01";

    fn part(parent: Option<PartId>, name: &str, body: &[u8]) -> Part {
        let depth = u32::from(parent.is_some());
        let part = Part::new(PartId(0), depth, Origin::Mime, body.to_vec().into());
        let names = if name.is_empty() { Vec::new() } else { vec![name.to_owned()] };
        Part { parent, names, declared: "application/octet-stream".into(), ..part }
    }

    /// A multipart with these parts.
    fn message(parts: Vec<Part>) -> Message {
        let mut message = gatepost_unpack::read("Subject: x\r\n\r\nx\r\n".into(), &Limits::default());
        message.parts[0].container = true;
        message.parts[0].declared = "multipart/mixed".into();
        message.parts.extend(parts);
        message
    }

    fn named(name: &str) -> Message {
        message(vec![part(Some(PartId(0)), name, b"some text that is no program\n")])
    }

    fn builtin_rules() -> AttachmentRules {
        AttachmentRules::build(&Attachments::default()).unwrap()
    }

    #[track_caller]
    fn symbols(message: &Message) -> Vec<String> {
        builtin_rules().look(message).into_iter().map(|finding| finding.symbol.into_owned()).collect()
    }

    #[test]
    fn names_that_are_banned() {
        let table = [
            ("setup.exe", NAME),
            ("SETUP.EXE", NAME),
            ("a.vbs", NAME),
            ("a.js", NAME),
            ("a.iso", NAME),
            ("a.lnk", NAME),
            ("backup.settingcontent-ms", NAME),
            ("setup.v2.exe", NAME),
            ("a.exe.", NAME),
            ("a.exe. . ", NAME),
            ("a.exe:stream", NAME),
            ("folder/a.exe", NAME),
            ("folder\\a.exe", NAME),
            ("a.ｅｘｅ", NAME),
            ("a\u{ff0e}exe", NAME),
            ("a.e\u{200b}xe", NAME),
            (".exe", NAME),
            ("letter.txt.vbs", DOUBLE),
            ("letter.TXT.VBS", DOUBLE),
            ("invoice.pdf.exe", DOUBLE),
            ("invoice.pdf                         .exe", DOUBLE),
            ("invoice.pdf .exe", DOUBLE),
            ("invoice                  .exe", DOUBLE),
            ("invoice.pdf....exe", DOUBLE),
            ("photo.jpg.scr ", DOUBLE),
            ("annual\u{202e}fdp.exe", DOUBLE),
            ("annual\u{2067}fdp.exe", DOUBLE),
            ("letter.{00020812-0000-0000-C000-000000000046}", CLSID),
            ("letter.txt.{3050f4d8-98B5-11CF-BB82-00AA00BDCE0B}", CLSID),
            ("letter.{00020812-0000-0000-C000-000000000046", CLSID),
            ("folder.{00020812-0000-0000-C000-000000000046}/a.txt", CLSID),
            ("{00020812-0000-0000-C000-000000000046}", CLSID),
        ];
        for (name, symbol) in table {
            assert_eq!(symbols(&named(name)), [symbol], "{name}");
        }
    }

    #[test]
    fn ordinary_names_pass() {
        let names = [
            "",
            "a",
            "letter.txt",
            "invoice.pdf",
            "Invoice 2024.01.31.pdf",
            "photo.JPG",
            "archive.tar.gz",
            "data.zip",
            "report.docx",
            "report.docm",
            "sheet.xlsx",
            "sheet.xlsm",
            "slides.pptx",
            "list.csv",
            "mail.eml",
            "event.ics",
            "card.vcf",
            "smime.p7s",
            "signature.asc",
            "server.crt",
            "key.pem",
            "data.mat",
            "base.mdb",
            "patch.diff",
            "0001-fix.patch",
            "script.py",
            "page.html",
            "drawing.svg",
            "song.mp3",
            "clip.mp4",
            "file.exe.txt",
            "executable.pdf",
            "how to run setup.exe.pdf",
            "wordexe",
            "exe",
            "a.b.c.d",
            "résumé.pdf",
            "счёт.pdf",
            "請求書.xlsx",
            "{3F2504E0-4F89-11D3-9A0C-0305E82C3301}.pdf",
            "{3F2504E0-4F89-11D3-9A0C-0305E82C3301}.png",
            "winmail.dat",
            "word/vbaProject.bin",
            "_rels/.rels",
            "[Content_Types].xml",
            "docProps/app.xml",
            "word/theme/theme1.xml",
            "xl/printerSettings/printerSettings1.bin",
            "word/embeddings/oleObject1.bin",
            "customXml/item1.xml",
            "image001.wmf",
            "Thumbnails/thumbnail.png",
            "Basic/script-lb.xml",
            "version 1.5",
            "12.30 Uhr",
            "Re: meeting.msg",
            "a..pdf",
            "תמונה\u{200f}.png",
        ];
        for name in names {
            assert_eq!(symbols(&named(name)), [""; 0], "{name}");
        }
    }

    #[test]
    fn types_are_banned_whatever_they_are_called() {
        for name in ["invoice.pdf", "x", ""] {
            let mut message = message(vec![part(Some(PartId(0)), name, PROGRAM)]);
            message.parts[1].attachment = true;
            assert_eq!(symbols(&message), [TYPE], "{name}");
        }
        let findings = builtin_rules().look(&message(vec![part(Some(PartId(0)), "invoice.pdf", PROGRAM)]));
        assert_eq!(findings[0].evidence, "invoice.pdf (exe)");
    }

    #[test]
    fn the_text_of_a_mail_is_no_attachment() {
        for (declared, body) in [("text/plain", "exit\n"), ("text/html", "<script>x</script>"), ("", "x")] {
            let mut text = part(Some(PartId(0)), "", body.as_bytes());
            text.declared = declared.into();
            assert_eq!(symbols(&message(vec![text])), [""; 0], "{declared}");
        }
    }

    #[test]
    fn a_program_declared_to_be_text_is_an_attachment() {
        const SCRIPT: &[u8] = b"#!/bin/sh\nexit\n";
        for (declared, body, found) in [
            ("text/plain", PROGRAM, &[TYPE][..]),
            ("text/html", PROGRAM, &[TYPE]),
            ("", PROGRAM, &[TYPE]),
            ("text/plain", SCRIPT, &[]),
            ("application/octet-stream", SCRIPT, &[TYPE]),
        ] {
            let mut text = part(Some(PartId(0)), "", body);
            text.declared = declared.into();
            assert_eq!(symbols(&message(vec![text])), found, "{declared}");
        }
    }

    /// What one reader shows under the allowed name, another may open under a dangerous one.
    #[test]
    fn to_be_allowed_every_name_must_match() {
        let rule = |change: fn(&mut AttachmentRule)| {
            let mut rule = AttachmentRule { allow: true, ..AttachmentRule::default() };
            change(&mut rule);
            AttachmentRules::build(&Attachments { rule: vec![rule], ..Attachments::default() }).unwrap()
        };
        let by_name = rule(|rule| rule.filename = Some(r"^ours.*\.exe$".into()));
        let by_path = rule(|rule| rule.path = Some(r"^ours.*\.exe$".into()));
        for (names, allowed) in [
            (&["ours.exe"][..], true),
            (&["ours.exe", "ours-2.exe"], true),
            (&["ours.exe", "evil.exe"], false),
            (&["evil.exe", "ours.exe"], false),
        ] {
            let mut message = named("x");
            message.parts[1].names = names.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(by_name.look(&message).is_empty(), allowed, "{names:?}");
            assert_eq!(by_path.look(&message).is_empty(), allowed, "{names:?}");
        }
        let nameless = message(vec![part(Some(PartId(0)), "", PROGRAM)]);
        assert_eq!(by_name.look(&nameless).len(), 1);
    }

    /// Evidence leads through all containers to the name that is banned.
    #[test]
    fn nested_in_archives() {
        let inner = zip("invoice.pdf.exe", PROGRAM);
        let outer = zip("inner.zip", &inner);
        let message = attached("outer.zip", &outer);
        let findings = builtin_rules().look(&message);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].symbol, DOUBLE);
        assert!(findings[0].evidence.ends_with("inner.zip/invoice.pdf.exe"), "{}", findings[0].evidence);
    }

    /// All names that a reader would show are looked at, and the evidence says which it was.
    #[test]
    fn every_name_counts() {
        let mut message = named("harmless.txt");
        message.parts[1].names.push("bad\u{202e}txt.exe".into());
        let findings = builtin_rules().look(&message);
        assert_eq!(findings[0].evidence, "harmless.txt (also named bad\\u{202e}txt.exe)");
    }

    #[test]
    fn the_first_own_rule_that_matches_decides() {
        let rule = |allow, filename: &str| AttachmentRule {
            name: format!("{filename}!"),
            allow,
            filename: Some(filename.into()),
            ..AttachmentRule::default()
        };
        let table: &[(Vec<AttachmentRule>, &str, &[&str])] = &[
            (vec![rule(true, r"^setup\.exe$")], "setup.exe", &[]),
            (vec![rule(true, r"^setup\.exe$")], "other.exe", &[NAME]),
            (vec![rule(false, r"\.docm$")], "a.DOCM", &[RULE]),
            (vec![rule(false, r"\.docm$"), rule(true, "^ours")], "ours.docm", &[RULE]),
            (vec![rule(true, "^ours"), rule(false, r"\.docm$")], "ours.docm", &[]),
            (vec![rule(true, "^ours"), rule(false, r"\.docm$")], "dir/ours.docm", &[]),
            (vec![rule(false, r"\.exe$")], "a.ｅｘｅ", &[RULE]),
        ];
        for (place, (rules, name, want)) in table.iter().enumerate() {
            let rules =
                AttachmentRules::build(&Attachments { rule: rules.clone(), ..Attachments::default() })
                    .unwrap();
            let found: Vec<_> = rules.look(&named(name)).into_iter().map(|finding| finding.symbol).collect();
            assert_eq!(found, *want, "row {place}");
        }
    }

    #[test]
    fn every_condition_of_a_rule() {
        let rule = |change: fn(&mut AttachmentRule)| {
            let mut rule = AttachmentRule::default();
            change(&mut rule);
            rule
        };
        let table: &[(AttachmentRule, bool)] = &[
            (rule(|rule| rule.declared = vec!["Application/*".into()]), true),
            (rule(|rule| rule.declared = vec!["image/*".into(), "application/octet-stream".into()]), true),
            (rule(|rule| rule.declared = vec!["application/zip".into()]), false),
            (rule(|rule| rule.detected = vec!["EXE".into()]), true),
            (rule(|rule| rule.detected = vec!["executable".into()]), true),
            (rule(|rule| rule.detected = vec!["zip".into()]), false),
            (rule(|rule| rule.encrypted = Some(true)), true),
            (rule(|rule| rule.encrypted = Some(false)), false),
            (rule(|rule| rule.deeper_than = Some(0)), true),
            (rule(|rule| rule.deeper_than = Some(1)), false),
            (rule(|rule| rule.larger_than = Some(crate::config::units::Size::mebibytes(0))), true),
            (rule(|rule| rule.larger_than = Some(crate::config::units::Size::mebibytes(1))), false),
            (rule(|rule| rule.path = Some("^a.zip$".into())), true),
            (rule(|rule| rule.path = Some("other".into())), false),
            (rule(|rule| (rule.encrypted, rule.filename) = (Some(true), Some("b".into()))), false),
        ];
        let mut message = message(vec![part(Some(PartId(0)), "a.zip", PROGRAM)]);
        message.parts[1].encrypted = true;
        for (place, (rule, banned)) in table.iter().enumerate() {
            let typed = Attachments { rule: vec![rule.clone()], builtin: false, ..Attachments::default() };
            let findings = AttachmentRules::build(&typed).unwrap().look(&message);
            assert_eq!(!findings.is_empty(), *banned, "row {place}");
            assert!(findings.iter().all(|finding| finding.evidence == "rule 1: a.zip"));
        }
    }

    #[test]
    fn mistakes_name_the_key() {
        let rule = |change: fn(&mut AttachmentRule)| {
            let mut rule = AttachmentRule::default();
            change(&mut rule);
            rule
        };
        let rules = vec![
            rule(|rule| rule.filename = Some("(".into())),
            rule(|rule| rule.path = Some("x{1000}{1000}{1000}".into())),
            rule(|rule| rule.declared = vec!["image/png".into(), "exe".into()]),
            rule(|rule| rule.detected = vec!["nonsense".into()]),
            rule(|_| {}),
        ];
        let problems =
            AttachmentRules::build(&Attachments { rule: rules, ..Attachments::default() }).unwrap_err();
        let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        let want = ["[0].filename", "[1].path", "[2].declared[1]", "[3].detected[0]", "[4]"];
        assert_eq!(keys, want.map(|key| format!("checks.attachments.rule{key}")));
    }

    /// A program that no finding names would not be stripped.
    #[test]
    fn every_part_is_named() {
        let parts = (0..1000).map(|place| part(Some(PartId(0)), &format!("{place}.exe"), b"x")).collect();
        assert_eq!(symbols(&message(parts)).len(), 1000);
    }

    #[tokio::test]
    async fn the_check_answers_with_findings() {
        let check: Box<dyn Check> = Box::new(builtin_rules());
        let mail =
            Mail { session: Session::default(), envelope: Default::default(), message: named("a.exe") };
        let found = check.on_mail(&mail, &Found::default()).unwrap().await.unwrap();
        assert_eq!(found.findings.len(), 1);
        assert!(SYMBOLS.iter().any(|symbol| symbol.name == found.findings[0].symbol));
    }

    /// A zip of one stored member, without a directory.
    fn zip(name: &str, content: &[u8]) -> Vec<u8> {
        let mut crc = crc32(content).to_le_bytes().to_vec();
        let mut out = b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0".to_vec();
        out.append(&mut crc);
        for _ in 0..2 {
            out.extend((content.len() as u32).to_le_bytes());
        }
        out.extend((name.len() as u16).to_le_bytes());
        out.extend([0, 0]);
        out.extend(name.as_bytes());
        out.extend(content);
        out
    }

    fn crc32(content: &[u8]) -> u32 {
        let step = |crc: u32, byte: &u8| {
            (0..8).fold(
                crc ^ u32::from(*byte),
                |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
            )
        };
        !content.iter().fold(!0, step)
    }

    fn attached(name: &str, body: &[u8]) -> Message {
        let head = format!(
            "From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello\r\n\
             --b\r\nContent-Type: application/zip; name={name}\r\nContent-Transfer-Encoding: binary\r\n\r\n"
        );
        let raw = [head.as_bytes(), body, b"\r\n--b--\r\n"].concat();
        gatepost_unpack::read(raw.into(), &Limits::default())
    }
}
