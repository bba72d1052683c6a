//! The text of attachments: SpamAssassin's ExtractText.
//!
//! It starts programs that print the text of a file. Here nobody is started: what others have read of the attachment
//! (`Documents`) stands for what the program would print, and of its command only the name counts.

use std::collections::{HashMap, HashSet};

use super::documents::{Document, Documents};
use super::perl::{Text, is_space, is_word};
use super::render::Rendered;
use super::tree::{Node, Tree};
use crate::conf::Settings;
use crate::regex::{Matcher, Pattern};

/// Octets of text that are taken of one attachment.
const LONGEST: usize = 1 << 20;

/// What the configuration says.
#[derive(Debug)]
pub(crate) struct Extracting {
    most_parts: usize,
    uses: Vec<Use>,
    tools: HashMap<String, Tool>,
}

/// `extracttext_use`
#[derive(Debug)]
struct Use {
    tool: String,
    /// The name of the attachment, not its type.
    by_name: bool,
    matcher: Matcher,
}

/// What a program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tool {
    /// It prints the text of documents.
    Text,
    /// It prints what is coded in a picture.
    Code,
    /// Nobody here does that.
    None,
}

/// The pseudo headers.
#[derive(Debug, Default)]
pub(crate) struct Extracted {
    /// `X-ExtractText-…` with its value.
    pub fields: Vec<(String, String)>,
}

/// What is gathered over all attachments.
#[derive(Debug, Default)]
struct Gathered {
    words: usize,
    chars: usize,
    tools: Vec<String>,
    types: Vec<String>,
    extensions: Vec<String>,
    flags: Vec<String>,
    uris: Vec<String>,
}

impl Extracting {
    pub(crate) fn of(settings: &Settings) -> Extracting {
        let words = |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
        let mut tools = HashMap::new();
        for line in settings.lines("extracttext_external") {
            let line = words(&outside_braces(line));
            if let [name, command, _, ..] = line.as_slice() {
                tools.entry(name.to_lowercase()).or_insert_with(|| tool(command));
            }
        }
        let mut uses = Vec::new();
        for line in settings.lines("extracttext_use") {
            let line = line.replace("\\\\", "\\");
            let mut words = line.split_whitespace();
            let name = words.next().unwrap_or_default().to_lowercase();
            uses.extend(words.filter_map(|what| Use::of(&name, what)));
        }
        let most_parts = settings.number("extracttext_maxparts").unwrap_or(10.0).max(0.0) as usize;
        Extracting { most_parts, uses, tools }
    }

    /// Whether no tool is configured that can do anything here.
    pub(crate) fn is_idle(&self) -> bool {
        !self.any(|tool| tool != Tool::None)
    }

    /// Whether one is configured that reads text.
    pub(crate) fn reads_text(&self) -> bool {
        self.any(|tool| tool == Tool::Text)
    }

    fn any(&self, is: impl Fn(Tool) -> bool) -> bool {
        self.uses.iter().any(|one| self.tools.get(&one.tool).is_some_and(|tool| is(*tool)))
    }

    /// Puts the text of attachments where body rules read it; None if there is none to tell of.
    pub(crate) fn extract(&self, tree: &Tree, documents: &Documents) -> Option<Extracted> {
        let mut gathered = Gathered::default();
        let most = if self.most_parts > 0 { self.most_parts } else { usize::MAX };
        for part in tree.leaves().take(most) {
            if !matches!(part.effective_kind(), b"text/plain" | b"text/html")
                && let Some(document) = documents.of(part.decoded())
            {
                self.attachment(part, document, &mut gathered);
            }
        }
        (!gathered.tools.is_empty()).then(|| gathered.told())
    }

    fn attachment(&self, part: &Node, document: &Document, gathered: &mut Gathered) {
        let name = part.name.as_deref().unwrap_or_default();
        let mut done = HashSet::new();
        let mut last = "";
        for one in &self.uses {
            let Some(tool) = self.tools.get(&one.tool) else { continue };
            let subject = if one.by_name { name } else { part.kind.as_slice() };
            let fits = !done.contains(&one.tool) && matches!(one.matcher.find(subject, 0), Ok(Some(_)));
            let text = match tool {
                Tool::Text => document.text.as_deref(),
                Tool::Code => document.code.as_deref(),
                Tool::None => None,
            };
            let Some(text) = text.filter(|_| fits) else { continue };
            done.insert(&one.tool);
            let text = cut(text);
            gathered.add(&one.tool, part, name, text);
            last = if text.is_empty() { last } else { text };
        }
        if !last.is_empty() {
            let text = Text::octets(last.as_bytes().to_vec());
            let rendered = Rendered { visible: text.clone(), text, invisible: Text::default(), html: None };
            // Nothing was asked of the part before.
            let _ = part.rendered.set(Some(rendered));
        }
    }
}

impl Use {
    fn of(tool: &str, what: &str) -> Option<Use> {
        let by_name = !what.contains('/');
        let ending = what.strip_prefix('.').filter(|end| {
            by_name && !end.is_empty() && end.bytes().all(|octet| octet.is_ascii_alphanumeric())
        });
        let inside = match ending {
            Some(end) => format!("^(?i).*\\.{end}$"),
            None => format!("^(?i){what}$"),
        };
        let matcher = Pattern::plain(inside.as_bytes(), b"").ok()?.compile().ok()?;
        Some(Use { tool: tool.to_owned(), by_name, matcher })
    }
}

/// `{KEY=value}` sets a variable of the program, `{}` stands for the file.
fn outside_braces(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(open) = rest.find('{') {
        let Some(close) = rest[open..].find('}').filter(|close| *close > 1) else { break };
        out.push_str(&rest[..open]);
        out.push(' ');
        rest = &rest[open + close + 1..];
    }
    out + rest
}

/// What a program does, by its name.
fn tool(command: &str) -> Tool {
    let name = command.rsplit('/').next().unwrap_or(command).to_lowercase();
    let is = |names: &[&str]| names.iter().any(|known| name.starts_with(known));
    if is(&["zbar"]) {
        Tool::Code
    } else if is(&["pdftotext", "antiword", "catdoc", "catppt", "xls2csv", "docx2txt", "odt2txt", "unrtf"]) {
        Tool::Text
    } else {
        Tool::None
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    if text[..end].bytes().all(is_space) { "" } else { &text[..end] }
}

impl Gathered {
    fn add(&mut self, tool: &str, part: &Node, name: &[u8], text: &str) {
        let add = |all: &mut Vec<String>, value: String| {
            if !all.contains(&value) {
                all.push(value);
            }
        };
        add(&mut self.tools, tool.to_owned());
        add(&mut self.types, String::from_utf8_lossy(&part.kind).into_owned());
        let extension = memchr::memrchr(b'.', name).map(|dot| &name[dot + 1..]);
        let proper = |end: &&[u8]| !end.is_empty() && !end.iter().any(|octet| matches!(octet, b'/' | b'\\'));
        if let Some(extension) = extension.filter(proper) {
            add(&mut self.extensions, String::from_utf8_lossy(extension).into_owned());
        }
        if text.is_empty() {
            add(&mut self.flags, "NoText".into());
            return;
        }
        if has_link(text.as_bytes()) {
            add(&mut self.flags, "ActionURI".into());
        } else if let Some(at) = text.find("QR-Code:") {
            add(&mut self.flags, "QR-Code".into());
            let uri = text[at + 8..].split(char::is_whitespace).next().unwrap_or_default();
            add(&mut self.uris, uri.to_owned());
        }
        if text.contains("NoText") {
            add(&mut self.flags, "NoText".into());
        }
        self.chars += text.len();
        self.words += words(text.as_bytes());
    }

    fn told(self) -> Extracted {
        let fields = [
            ("Words", self.words.to_string()),
            ("Chars", self.chars.to_string()),
            ("Tools", self.tools.join(" ")),
            ("Types", self.types.join(" ")),
            ("Extensions", self.extensions.join(" ")),
            ("Flags", self.flags.join(" ")),
            ("Uris", self.uris.join(" ")),
        ];
        let field = |(name, value)| (format!("X-ExtractText-{name}"), value);
        Extracted { fields: fields.into_iter().map(field).collect() }
    }
}

/// Whether it is a page with a link.
fn has_link(text: &[u8]) -> bool {
    memchr::memmem::find_iter(text, b"<a").any(|at| {
        let inside = &text[at + 2..];
        let inside = &inside[..memchr::memchr(b'>', inside).unwrap_or(inside.len())];
        inside.first().is_some_and(|octet| is_space(*octet))
            && memchr::memmem::find_iter(inside, b"href=\"")
                .any(|href| is_space(inside[href.saturating_sub(1)]) && inside[href + 6..].contains(&b'"'))
    })
}

/// The pieces between what is no word, less one; empty ones at the end do not count.
fn words(text: &[u8]) -> usize {
    let mut count = usize::from(text.first().is_some_and(|octet| !is_word(*octet)));
    let mut inside = false;
    for octet in text {
        let word = is_word(*octet);
        count += usize::from(word && !inside);
        inside = word;
    }
    count.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::{Options, Reader};

    const CONF: &str = "loadplugin Mail::SpamAssassin::Plugin::ExtractText\n\
        extracttext_external pdftotext {LC_ALL=C} /usr/bin/pdftotext -enc UTF-8 {} -\n\
        extracttext_use pdftotext .pdf application/pdf\n\
        extracttext_external zbar /usr/bin/zbarimg -q {}\n\
        extracttext_use zbar .png image/png\n\
        extracttext_external ocr /usr/bin/tesseract {} -\n\
        extracttext_use ocr .jpg\n";

    fn settings(conf: &str) -> Settings {
        let mut reader = Reader::new(Options::default());
        reader.read("test.cf", conf.as_bytes(), &mut |_| Err("none".into()));
        reader.finish().settings
    }

    /// The pseudo headers, and the text that body rules read of the attachment.
    fn extracted(head: &str, document: Document) -> (Vec<String>, Option<String>) {
        let tree = Tree::read(format!("{head}\n\ncontent").into());
        let documents = Documents(vec![Document { content: "content".into(), ..document }]);
        let found = Extracting::of(&settings(CONF)).extract(&tree, &documents);
        let fields = found.map(|found| found.fields.into_iter().map(|(_, value)| value).collect());
        let text = tree.nodes[0].rendered(true);
        (fields.unwrap_or_default(), text.map(|text| String::from_utf8_lossy(&text.text.bytes).into_owned()))
    }

    #[test]
    fn attachments_become_text() {
        let text = |text: &str| Document { text: Some(text.into()), ..Document::default() };
        let pdf = "Content-Type: application/pdf; name=a.PDF";
        let (fields, body) = extracted(pdf, text("Pay now, please."));
        assert_eq!(fields, ["2", "16", "pdftotext", "application/pdf", "PDF", "", ""]);
        assert_eq!(body.as_deref(), Some("Pay now, please."));
        let (fields, body) = extracted(pdf, text(" \n"));
        assert_eq!((fields[5].as_str(), body), ("NoText", None));
        let (fields, _) = extracted(pdf, text("<a class=x href=\"http://a.b/\">"));
        assert_eq!(fields[5], "ActionURI");
        let code = Document { code: Some("QR-Code:http://a.b/\n".into()), ..Document::default() };
        let (fields, _) = extracted("Content-Type: image/png; name=a.png", code.clone());
        assert_eq!(
            (fields[2].as_str(), fields[5].as_str(), fields[6].as_str()),
            ("zbar", "QR-Code", "http://a.b/")
        );
        // What nobody reads, is not configured, or is text by itself.
        for (head, document) in [
            (pdf, Document::default()),
            ("Content-Type: application/zip; name=a.zip", text("x")),
            ("Content-Type: image/jpeg; name=a.jpg", code),
            ("Content-Type: text/plain; name=a.pdf", text("x")),
        ] {
            assert_eq!(extracted(head, document).0, Vec::<String>::new(), "{head}");
        }
    }

    #[test]
    fn tools_that_nobody_here_can_stand_for_are_idle() {
        let conf = "loadplugin Mail::SpamAssassin::Plugin::ExtractText\nextracttext_external x /usr/bin/tesseract {} -\n\
            extracttext_use x .png\n";
        let codes = conf.replace("tesseract", "zbarimg");
        for (conf, idle, reads_text) in [(conf, true, false), (&codes, false, false), (CONF, false, true)] {
            let extracting = Extracting::of(&settings(conf));
            assert_eq!((extracting.is_idle(), extracting.reads_text()), (idle, reads_text), "{conf}");
        }
    }
}
