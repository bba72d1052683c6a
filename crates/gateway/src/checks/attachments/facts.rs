//! What rules are told of a part: its names as they stand and as they look, what it lies in, and how amavis would
//! describe it.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt::Write as _;

use gatepost_mail::{FileKind, FileType, Message, Origin, Part, PartId};

use super::kinds::known;

/// A message, and what is known of its tree.
pub(super) struct Tree<'a> {
    pub message: &'a Message,
    /// For each part: something in it is a file of its own.
    holds: Vec<bool>,
    /// For each part: which of its parent's it is, from 1.
    ordinal: Vec<u32>,
}

impl<'a> Tree<'a> {
    pub fn new(message: &'a Message) -> Tree<'a> {
        let mut holds = vec![false; message.parts.len()];
        let mut children = vec![0; message.parts.len()];
        let mut ordinal = vec![1; message.parts.len()];
        for (id, part) in message.parts() {
            let Some(parent) = part.parent.filter(|parent| *parent < id) else { continue };
            children[parent.0] += 1;
            ordinal[id.0] = children[parent.0];
            if is_file(message, part) {
                let mut at = Some(parent);
                while let Some(id) = at.filter(|id| !std::mem::replace(&mut holds[id.0], true)) {
                    at = message.part(id).parent.filter(|parent| *parent < id);
                }
            }
        }
        Tree { message, holds, ordinal }
    }

    pub fn facts(&'a self, id: PartId) -> Facts<'a> {
        let part = self.message.part(id);
        Facts {
            tree: self,
            id,
            part,
            names: part.names.iter().map(|name| Name::read(name)).collect(),
            chain: OnceCell::new(),
            traits: OnceCell::new(),
            lines: OnceCell::new(),
        }
    }
}

/// Whether a part is a file that somebody could save or open, and not what the reader of a document took out of it: the
/// source of a macro, or a member of the package that a document is. Programs are looked at wherever they lie.
fn is_file(message: &Message, part: &Part) -> bool {
    !is_source(part) && (part.detected.kind == FileKind::Executable || !is_in_package(message, part))
}

/// Source code that runs within a document or page.
pub(super) fn is_source(part: &Part) -> bool {
    part.origin == Origin::Embedded && part.declared == "text/plain"
}

/// A member of the zip archive that a document is.
fn is_in_package(message: &Message, part: &Part) -> bool {
    let package = |id| {
        let holder = message.part(id).detected;
        matches!(
            holder,
            FileType::DOCX
                | FileType::DOCM
                | FileType::XLSX
                | FileType::XLSM
                | FileType::PPTX
                | FileType::PPTM
                | FileType::OOXML
                | FileType::ODT
                | FileType::ODS
                | FileType::ODP
                | FileType::EPUB
        )
    };
    part.origin == Origin::Archive && part.parent.is_some_and(package)
}

/// What is known of a part, for the rules.
pub(super) struct Facts<'a> {
    tree: &'a Tree<'a>,
    pub id: PartId,
    pub part: &'a Part,
    pub names: Vec<Name<'a>>,
    chain: OnceCell<Vec<PartId>>,
    traits: OnceCell<Vec<(PartId, Cow<'a, str>)>>,
    lines: OnceCell<String>,
}

impl<'a> Facts<'a> {
    /// Whether rules about files are about it at all: not what only holds others, and not the text of a mail. A program
    /// that is declared to be text is none; a script that stands in the mail as its text is read, not run.
    pub fn is_attachment(&self) -> bool {
        let part = self.part;
        let holder = part.container && part.declared.starts_with("multipart/");
        let text = matches!(part.declared.as_str(), "text/plain" | "text/html" | "");
        let other = matches!(part.detected.kind, FileKind::Executable | FileKind::Archive);
        let body = part.origin == Origin::Mime && part.names.is_empty() && text && !other && !part.attachment;
        !holder && !body
    }

    /// As [`is_file`].
    pub fn is_file(&self) -> bool {
        is_file(self.tree.message, self.part)
    }

    /// Whether it has no file in it, as all that amavis asks its rules about.
    pub fn is_innermost(&self) -> bool {
        self.is_file() && !self.tree.holds[self.id.0]
    }

    /// Whether the reader of a document or page took it out there. A file that is looked at by itself was not.
    pub fn is_embedded(&self) -> bool {
        let raw = &self.tree.message.raw;
        let whole = self.part.body.as_ptr() == raw.as_ptr() && self.part.body.len() == raw.len();
        self.part.origin == Origin::Embedded && !whole
    }

    /// Whether it lies in an archive or document.
    pub fn is_packed(&self) -> bool {
        self.part.origin != Origin::Mime
            || self.around().any(|id| self.tree.message.part(id).origin != Origin::Mime)
    }

    /// Whether it stands in the message itself, so that it could be given another name.
    pub fn is_in_sight(&self) -> bool {
        self.part.span.is_some()
    }

    /// What it lies in, from the message inwards.
    pub fn around(&self) -> impl Iterator<Item = PartId> + '_ {
        let chain = self.chain();
        chain[..chain.len() - 1].iter().copied()
    }

    pub fn message(&self) -> &'a Message {
        self.tree.message
    }

    /// Where a part stands, fit to be shown.
    pub fn path_of(&self, id: PartId) -> String {
        shown(&self.tree.message.path(id))
    }

    /// Where it stands, under one of its names.
    pub fn path_as(&self, name: &str) -> String {
        let path = self.path_of(self.id);
        if self.part.name() == Some(name) { path } else { format!("{path} (also named {})", shown(name)) }
    }

    /// All that amavis's `$banned_filename_re` is matched against, from the message inwards, with the part that each
    /// speaks of.
    pub fn traits(&self) -> &[(PartId, Cow<'a, str>)] {
        self.traits.get_or_init(|| {
            let mut all: Vec<(PartId, Cow<'a, str>)> = Vec::new();
            for &id in self.chain() {
                let part = self.tree.message.part(id);
                if !part.declared.is_empty() {
                    all.push((id, Cow::Borrowed(&part.declared)));
                }
                all.extend(short_types(part).iter().map(|name| (id, Cow::Owned(format!(".{name}")))));
                all.extend(part.names.iter().map(|name| (id, Cow::Borrowed(name.as_str()))));
                if part.encrypted {
                    all.push((id, Cow::Borrowed("UNDECIPHERABLE")));
                }
            }
            all
        })
    }

    /// What amavis's `$banned_namepath_re` is matched against: a line for each part, fields parted by tabs.
    pub fn lines(&self) -> &str {
        self.lines.get_or_init(|| {
            let mut lines = String::new();
            let mut place = String::new();
            for (depth, &id) in self.chain().iter().enumerate() {
                let part = self.tree.message.part(id);
                if depth > 0 {
                    lines.push('\n');
                    place.push('/');
                }
                // Writing to a string does not fail.
                let _ = write!(place, "{}", self.tree.ordinal[id.0]);
                let _ = write!(lines, "P=p{:03}\tL={place}", id.0 + 1);
                let mut field = |letter: char, value: &str| {
                    let plain = value.replace(['\t', '\n'], " ");
                    let _ = write!(lines, "\t{letter}={plain}");
                };
                if !part.declared.is_empty() {
                    field('M', &part.declared);
                }
                short_types(part).iter().for_each(|name| field('T', name));
                part.names.iter().for_each(|name| field('N', name));
                if part.encrypted {
                    field('A', "U");
                    field('A', "C");
                }
            }
            lines
        })
    }

    /// The part that a place in [`Facts::lines`] speaks of.
    pub fn part_at(&self, place: usize) -> PartId {
        let before = self.lines().as_bytes().get(..place).unwrap_or_default();
        let level = before.iter().filter(|&&byte| byte == b'\n').count();
        self.chain().get(level).copied().unwrap_or(self.id)
    }

    fn chain(&self) -> &[PartId] {
        self.chain.get_or_init(|| {
            let mut chain = vec![self.id];
            let mut at = self.id;
            // Parents stand before their children; whatever claims otherwise would make a circle.
            while let Some(parent) = self.tree.message.part(at).parent.filter(|parent| *parent < at) {
                chain.push(parent);
                at = parent;
            }
            chain.reverse();
            chain
        })
    }
}

/// What amavis knows by content: nothing of what only holds other parts of a mail.
fn short_types(part: &Part) -> &'static [&'static str] {
    if part.container && part.origin == Origin::Mime { &[] } else { known(part).amavis }
}

/// A name, and the name as it looks: invisible characters gone, wide ones narrow.
pub(super) struct Name<'a> {
    pub raw: &'a str,
    pub plain: Cow<'a, str>,
}

impl<'a> Name<'a> {
    pub fn read(raw: &'a str) -> Name<'a> {
        let odd = |c: char| !c.is_ascii() || c.is_ascii_control();
        let plain = if raw.contains(odd) {
            Cow::Owned(raw.chars().filter(|c| !is_invisible(*c)).map(narrow).collect())
        } else {
            Cow::Borrowed(raw)
        };
        Name { raw, plain }
    }

    /// The last step of the path.
    pub fn base(&self) -> &str {
        self.plain.rsplit(['/', '\\']).find(|step| !step.is_empty()).unwrap_or_default()
    }

    /// As it stands, as it looks, and its last step.
    pub fn forms(&self) -> [&str; 3] {
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

/// Text from a message, made fit to be shown: what cannot be seen is escaped.
pub(super) fn shown(text: &str) -> String {
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
