//! Macros: the modules of a VBA project (MS-OVBA 2.3), their source, and what it is able to do.

use std::collections::BTreeSet;

use bytes::Bytes;
use gatepost_mail::{DefectKind, FeatureKind};

use super::ovba::{Decoder, Directory, Module, carve};
use super::pcode::{self, Compiled};
use super::words::{self, Words};
use crate::cfb::{Cfb, Entry};
use crate::opening::{End, Member, Opening, Stop};

/// Reads every project in a compound file: storages that hold a stream `dir`, and source that no directory leads to.
pub(crate) fn open(opening: &mut Opening, cfb: &Cfb) -> Result<(), Stop> {
    let mut project = Project::default();
    let mut read: Vec<String> = Vec::new();
    for entry in cfb.entries().iter().filter(|entry| !entry.storage) {
        opening.check_time()?;
        if entry.name.eq_ignore_ascii_case("dir") && is_project(cfb, entry) {
            project.read(opening, cfb, entry, &mut read)?;
        }
    }
    for entry in cfb.entries().iter().filter(|entry| !entry.storage && !read.contains(&entry.path)) {
        opening.check_time()?;
        let in_storage =
            folder(&entry.path).rsplit('/').next().is_some_and(|name| name.eq_ignore_ascii_case("vba"));
        if in_storage || entry.orphan {
            project.carve(opening, cfb, entry)?;
        }
    }
    project.tell(opening);
    Ok(())
}

/// What a document's macros are, all together.
#[derive(Default)]
struct Project {
    /// Modules with code.
    modules: BTreeSet<String>,
    words: Words,
    /// Why source is not believed.
    stomped: Option<String>,
    /// Identifiers that the project's compiled form knows.
    compiled: Vec<u8>,
    /// Whether the numbers of lines differ anywhere.
    differs: bool,
}

impl Project {
    fn read(
        &mut self,
        opening: &mut Opening,
        cfb: &Cfb,
        dir: &Entry,
        read: &mut Vec<String>,
    ) -> Result<(), Stop> {
        let packed = stream(opening, cfb, dir);
        let (records, end) = unpack(opening, &packed);
        if end == End::Corrupt {
            opening.defective(DefectKind::BadArchive, "the directory of a VBA project makes no sense");
        }
        let directory = Directory::read(&records);
        let storage = folder(&dir.path);
        if let Some(entry) = find(cfb, storage, "_VBA_PROJECT") {
            self.compiled.extend_from_slice(&stream(opening, cfb, entry));
        }
        for module in &directory.modules {
            opening.check_time()?;
            let Some(entry) = find(cfb, storage, &module.stream) else { continue };
            if !read.contains(&entry.path) {
                read.push(entry.path.clone());
                let body = stream(opening, cfb, entry);
                self.module(opening, module, &body, directory.code_page)?;
            }
        }
        Ok(())
    }

    /// One module: its source goes out as a part.
    fn module(
        &mut self,
        opening: &mut Opening,
        module: &Module,
        body: &Bytes,
        code_page: u16,
    ) -> Result<(), Stop> {
        let start = module.offset.min(body.len());
        let (mut source, end) = unpack(opening, &body[start..]);
        if end == End::Corrupt
            && source.is_empty()
            && let Some(at) = carve(body).last()
        {
            source = unpack(opening, &body[at..]).0;
        }
        self.stomped(module, &body[..start], &source);
        self.source(opening, &module.name, module.procedural, source, code_page)
    }

    /// Source that stands in a stream that no directory leads to.
    fn carve(&mut self, opening: &mut Opening, cfb: &Cfb, entry: &Entry) -> Result<(), Stop> {
        const MOST: usize = 16;
        let body = stream(opening, cfb, entry);
        for at in carve(&body).take(MOST) {
            let (source, _) = unpack(opening, &body[at..]);
            self.source(opening, &entry.name, false, source, 0)?;
        }
        Ok(())
    }

    fn source(
        &mut self,
        opening: &mut Opening,
        name: &str,
        procedural: bool,
        source: Vec<u8>,
        code_page: u16,
    ) -> Result<(), Stop> {
        if lines_of_code(&source) == 0 {
            return Ok(());
        }
        let words = Words::of(&source);
        // Word runs the procedure Main of a module with such a name.
        if words::is_auto(&name.to_ascii_lowercase()) {
            self.words.auto.insert(name.to_ascii_lowercase());
        }
        self.words.auto.extend(words.auto);
        self.words.suspicious.extend(words.suspicious);
        words::urls(&source).into_iter().for_each(|url| opening.link(url));
        self.modules.insert(name.to_owned());
        let extension = if procedural { "bas" } else { "cls" };
        let name = crate::names::clean(&format!("vba/{name}.{extension}"));
        let member = Member { names: vec![name], body: source.into(), ..Member::default() };
        opening.text(member, charset(code_page))?;
        Ok(())
    }

    /// Compares a module's compiled code with its source.
    fn stomped(&mut self, module: &Module, cache: &[u8], source: &[u8]) {
        let Some(compiled) = Compiled::read(cache) else { return };
        let lines = lines_of_code(source);
        if compiled.lines > 0 {
            self.modules.insert(module.name.clone());
        }
        self.differs |= compiled.lines > lines;
        let reason = if lines == 0 && compiled.lines > 0 {
            format!("{}: compiled code without source", module.name)
        } else if let Some(literal) = pcode::missing(&compiled, source) {
            format!("{}: \"{}\" is not in its source", module.name, String::from_utf8_lossy(literal))
        } else {
            return;
        };
        for literal in &compiled.literals {
            let words = Words::of(&[b"\"", *literal, b"\""].concat());
            self.words.suspicious.extend(words.suspicious);
        }
        self.stomped.get_or_insert(reason);
    }

    /// Names that the compiled form knows and the source does not.
    fn hidden_names(&self) -> Words {
        let mut hidden = Words::default();
        for name in self.compiled.split(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_')) {
            let Ok(name) = std::str::from_utf8(name) else { continue };
            let name = name.to_ascii_lowercase();
            if words::is_auto(&name) && name.len() > 8 && !self.words.auto.contains(&name) {
                hidden.auto.insert(name);
            } else if words::is_suspicious(&name) && name.len() > 8 && !self.words.suspicious.contains(&name)
            {
                hidden.suspicious.insert(name);
            }
        }
        hidden
    }

    fn tell(mut self, opening: &mut Opening) {
        if self.modules.is_empty() {
            return;
        }
        if self.differs && self.stomped.is_none() {
            let hidden = self.hidden_names();
            if let Some(name) = hidden.auto.iter().chain(&hidden.suspicious).next() {
                self.stomped = Some(format!("{name} is in the compiled code, not in the source"));
            }
        }
        opening.feature(FeatureKind::Macro, list(&self.modules));
        if !self.words.auto.is_empty() {
            opening.feature(FeatureKind::MacroAuto, list(&self.words.auto));
        }
        if !self.words.suspicious.is_empty() {
            opening.feature(FeatureKind::MacroSuspicious, list(&self.words.suspicious));
        }
        if let Some(reason) = self.stomped {
            opening.feature(FeatureKind::MacroStomped, reason);
        }
    }
}

/// A few of many, for people.
pub(crate) fn list(names: &BTreeSet<String>) -> String {
    names.iter().take(12).map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// A stream `dir` beside a compiled project, or in a storage of the usual name.
fn is_project(cfb: &Cfb, dir: &Entry) -> bool {
    let storage = folder(&dir.path);
    find(cfb, storage, "_VBA_PROJECT").is_some()
        || storage.rsplit('/').next().is_some_and(|name| name.eq_ignore_ascii_case("vba"))
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn find<'a>(cfb: &'a Cfb, storage: &str, name: &str) -> Option<&'a Entry> {
    let path = if storage.is_empty() { name.to_owned() } else { format!("{storage}/{name}") };
    cfb.find(&path).filter(|entry| !entry.storage)
}

/// The content of a stream; a limit that is met is told of.
pub(crate) fn stream(opening: &mut Opening, cfb: &Cfb, entry: &Entry) -> Bytes {
    let stream = cfb.read(entry, opening);
    if let Some(limit) = stream.over {
        opening.over(limit, None);
    }
    stream.body
}

/// Unpacks a compressed container under the budget.
fn unpack(opening: &mut Opening, packed: &[u8]) -> (Vec<u8>, End) {
    let mut made = Vec::new();
    let end = opening.drain(&mut Decoder::new(packed), packed.len() as u64, &mut made);
    if let End::Over(limit) = end {
        opening.over(limit, None);
    }
    (made, end)
}

/// Lines that are more than what Office writes by itself: attributes come first in each module.
fn lines_of_code(source: &[u8]) -> usize {
    let begins =
        |line: &[u8], with: &[u8]| line.get(..with.len()).is_some_and(|head| head.eq_ignore_ascii_case(with));
    let lines = source.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines
        .filter(|line| {
            !line.is_empty() && !begins(line, b"attribute vb_") && !begins(line, b"option explicit")
        })
        .count()
}

/// The charset of a Windows code page, as mail names it.
fn charset(code_page: u16) -> Option<String> {
    match code_page {
        0 => None,
        932 => Some("shift_jis".to_owned()),
        936 => Some("gbk".to_owned()),
        949 => Some("euc-kr".to_owned()),
        950 => Some("big5".to_owned()),
        10000 => Some("macintosh".to_owned()),
        65001 => Some("utf-8".to_owned()),
        page => Some(format!("windows-{page}")),
    }
}
