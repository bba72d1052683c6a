//! What the XML of documents says, whichever format it is of: Open XML, OpenDocument, and the flat forms of both. Elements
//! are told by their local names; those that matter are named so in one format only, or mean the same in all.

use std::collections::BTreeSet;

use gatepost_mail::{DefectKind, FeatureKind};

use super::field::{self, Fields};
use super::macros4::Macros4;
use super::vba::list;
use super::words::{self, Words};
use super::xml::{Tag, Token, Tokens, decoded};
use crate::opening::{Member, Opening, Stop};

/// What the pieces of XML of one document say together.
#[derive(Default)]
pub(crate) struct Markup {
    pub(crate) macros: Macros4,
    /// Modules of Basic and scripts.
    pub(crate) modules: BTreeSet<String>,
    /// Events that run something.
    auto: BTreeSet<String>,
    suspicious: BTreeSet<String>,
    /// Members that are macro sheets, by the list of types, in lower case.
    pub(crate) macro_sheets: Vec<String>,
}

/// Text that is being gathered.
enum Gather {
    /// An instruction of a field.
    Instruction,
    /// A formula, of the cell named.
    Formula(String),
    /// The source of a module of that name.
    Source(String),
    /// What a workbook is linked to.
    Path,
    /// A file in base64, of that name.
    File(String),
}

/// One piece of XML being read.
struct Scan<'a, 'b, 'c> {
    opening: &'a mut Opening<'b>,
    markup: &'c mut Markup,
    fields: Fields,
    gather: Option<Gather>,
    text: String,
    file: Vec<u8>,
    /// The macro sheet that this is.
    sheet: Option<String>,
    cell: String,
    /// The part of a flat package that this is in.
    part: String,
}

impl Markup {
    /// Reads one piece of XML. `name` tells which it is.
    pub(crate) fn scan(&mut self, opening: &mut Opening, xml: &[u8], name: &str) -> Result<(), Stop> {
        let sheet = self.macro_sheets.contains(&name.to_ascii_lowercase()).then(|| name.to_owned());
        let mut scan = Scan {
            opening,
            markup: self,
            fields: Fields::default(),
            gather: None,
            text: String::new(),
            file: Vec::new(),
            sheet,
            cell: String::new(),
            part: name.to_owned(),
        };
        for (count, token) in Tokens::new(xml).enumerate() {
            if count % 4096 == 0 {
                scan.opening.check_time()?;
            }
            match token {
                Token::Start { tag, empty } => {
                    if count < 8 && is_only_data(tag.name) {
                        return Ok(());
                    }
                    scan.start(&tag)?;
                    if empty {
                        scan.end(tag.name)?;
                    }
                }
                Token::End(name) => scan.end(name)?,
                Token::Text(text) => scan.text(text, true),
                Token::Plain(text) => scan.text(text, false),
            }
        }
        Ok(())
    }

    /// Tells what was gathered.
    pub(crate) fn tell(self, opening: &mut Opening) -> Result<(), Stop> {
        if !self.modules.is_empty() {
            opening.feature(FeatureKind::Macro, list(&self.modules));
        }
        if !self.auto.is_empty() {
            opening.feature(FeatureKind::MacroAuto, list(&self.auto));
        }
        if !self.suspicious.is_empty() {
            opening.feature(FeatureKind::MacroSuspicious, list(&self.suspicious));
        }
        self.macros.tell(opening)
    }

    /// The source of a module in Basic, or a script.
    pub(crate) fn source(&mut self, opening: &mut Opening, name: &str, source: &str) -> Result<(), Stop> {
        self.modules.insert(name.to_owned());
        let words = Words::of(source.as_bytes());
        self.suspicious.extend(words.suspicious);
        words::urls(source.as_bytes()).into_iter().for_each(|url| opening.link(url));
        let names = vec![crate::names::clean(&format!("vba/{name}.bas"))];
        let body = source.to_owned().into();
        opening.text(Member { names, body, ..Member::default() }, Some("utf-8".into()))?;
        Ok(())
    }
}

/// Roots of large members that hold nothing but data and looks.
fn is_only_data(root: &[u8]) -> bool {
    matches!(root, b"worksheet" | b"sst" | b"styleSheet" | b"theme" | b"calcChain" | b"document-styles")
}

impl Scan<'_, '_, '_> {
    fn start(&mut self, tag: &Tag) -> Result<(), Stop> {
        match tag.name {
            b"Relationship" => self.relationship(tag),
            b"Override" => self.content_type(tag),
            b"fldSimple" => {
                let instruction = tag.get("instr").unwrap_or_default();
                field::instruction(self.opening, &instruction);
            }
            b"fldChar" => match tag.get("fldCharType").as_deref() {
                Some("begin") => self.fields.begin(),
                Some("separate") => self.fields.separate(),
                Some("end") => self.field_ends(),
                _ => {}
            },
            b"instrText" | b"delInstrText" => self.gather(Gather::Instruction),
            b"ddeLink" => self.dde(tag, "ddeService", "ddeTopic"),
            b"dde-source" | b"dde-connection-decl" | b"dde-link" => {
                self.dde(tag, "dde-application", "dde-topic");
            }
            b"definedName" => {
                self.markup.macros.name(&tag.get("name").unwrap_or_default());
            }
            b"NamedRange" => self.markup.macros.name(&tag.get("Name").unwrap_or_default()),
            b"macrosheet" => self.sheet = Some(self.part.clone()),
            b"c" => self.cell = tag.get("r").unwrap_or_default(),
            b"f" if self.sheet.is_some() => self.gather(Gather::Formula(self.cell.clone())),
            b"Cell" => {
                let formula = tag.get("Formula").unwrap_or_default();
                super::sheet::formula(self.opening, &formula);
            }
            b"Path" => self.gather(Gather::Path),
            b"module" => {
                if let (Some(name), Some(_)) = (tag.get("name"), tag.get("language")) {
                    self.gather(Gather::Source(name));
                }
            }
            b"event-listener" => self.event(tag),
            b"customUI" => {
                if let Some(name) = tag.get("onLoad") {
                    self.markup.auto.insert(format!("customUI onLoad {name}"));
                }
            }
            b"encryption-data" => {
                self.opening.defective(DefectKind::Encrypted, "an encrypted OpenDocument file")
            }
            b"part" => self.part = tag.get("name").unwrap_or_default().trim_start_matches('/').to_owned(),
            b"binData" => self.gather(Gather::File(tag.get("name").unwrap_or_default())),
            b"binaryData" => self.gather(Gather::File(self.part.clone())),
            b"binary-data" => self.gather(Gather::File(String::new())),
            _ => self.target(tag),
        }
        Ok(())
    }

    /// Attributes that lead elsewhere.
    fn target(&mut self, tag: &Tag) {
        let name = String::from_utf8_lossy(tag.name);
        match tag.name {
            b"attachedTemplate" | b"sourceFileName" => {
                super::elsewhere(self.opening, &name, &tag.get("val").unwrap_or_default());
            }
            b"subDoc" => super::elsewhere(self.opening, &name, &tag.get("link").unwrap_or_default()),
            b"hlink" => super::hyperlink(self.opening, &tag.get("dest").unwrap_or_default()),
            b"imagedata" | b"image" | b"object" | b"object-ole" | b"plugin" | b"applet"
            | b"floating-frame" | b"section-source" | b"background-image" | b"fill-image" | b"fill"
            | b"table-source" | b"cell-range-source" | b"template" | b"auto-reload" => {
                for attribute in ["href", "src"] {
                    super::elsewhere(self.opening, &name, &tag.get(attribute).unwrap_or_default());
                }
            }
            b"a" | b"shape" | b"rect" => {
                super::hyperlink(self.opening, &tag.get("href").unwrap_or_default());
            }
            _ => {}
        }
    }

    /// A relationship (ECMA-376 part 2, 8.3) to something outside: Office follows all but hyperlinks by itself.
    fn relationship(&mut self, tag: &Tag) {
        let kind = tag.get("Type").unwrap_or_default();
        let kind = kind.rsplit('/').next().unwrap_or_default();
        let target = tag.get("Target").unwrap_or_default();
        if !tag.get("TargetMode").is_some_and(|mode| mode.eq_ignore_ascii_case("external")) {
            if kind.to_ascii_lowercase().ends_with("macrosheet") {
                self.macro_sheet(&format!("xl/{}", target.trim_start_matches('/').trim_start_matches("xl/")));
            }
            return;
        }
        match kind {
            "hyperlink" => super::hyperlink(self.opening, &target),
            kind => super::elsewhere(self.opening, kind, &target),
        }
    }

    fn content_type(&mut self, tag: &Tag) {
        let kind = tag.get("ContentType").unwrap_or_default().to_ascii_lowercase();
        if kind.contains("macrosheet") {
            self.macro_sheet(tag.get("PartName").unwrap_or_default().trim_start_matches('/'));
        }
    }

    fn macro_sheet(&mut self, name: &str) {
        const MOST: usize = 1024;
        let name = name.to_ascii_lowercase();
        let known = &mut self.markup.macro_sheets;
        if known.len() < MOST && !known.contains(&name) {
            known.push(name);
        }
    }

    fn dde(&mut self, tag: &Tag, service: &str, topic: &str) {
        if let Some(service) = tag.get(service) {
            let topic = tag.get(topic).unwrap_or_default();
            self.opening.feature(FeatureKind::Dde, format!("{service}|{topic}"));
        }
    }

    /// Something that runs when something happens (OpenDocument 1.3 part 3, 10.3.19); clicks do not count.
    fn event(&mut self, tag: &Tag) {
        let event = tag.get("event-name").unwrap_or_default();
        let target = tag.get("href").or_else(|| tag.get("macro-name")).unwrap_or_default();
        super::elsewhere(self.opening, "event-listener", &target);
        let by_itself =
            ["load", "open", "new", "focus", "close", "save", "print", "mouseover", "start", "activate"];
        let event = event.to_ascii_lowercase();
        if by_itself.iter().any(|word| event.contains(word)) {
            self.markup.auto.insert(format!("{event} {target}"));
        }
    }

    fn gather(&mut self, what: Gather) {
        self.gather = Some(what);
        self.text.clear();
        self.file.clear();
    }

    fn text(&mut self, text: &[u8], entities: bool) {
        const LONGEST: usize = 4 << 20;
        match &self.gather {
            None => {}
            Some(Gather::File(_)) => self.file.extend_from_slice(text),
            Some(_) if self.text.len() + text.len() <= LONGEST => match entities {
                true => self.text.push_str(&decoded(text)),
                false => self.text.push_str(&String::from_utf8_lossy(text)),
            },
            Some(_) => {}
        }
    }

    fn end(&mut self, name: &[u8]) -> Result<(), Stop> {
        let closes = matches!(
            (&self.gather, name),
            (Some(Gather::Instruction), b"instrText" | b"delInstrText")
                | (Some(Gather::Formula(_)), b"f")
                | (Some(Gather::Source(_)), b"module")
                | (Some(Gather::Path), b"Path")
                | (Some(Gather::File(_)), b"binData" | b"binaryData" | b"binary-data")
        );
        if !closes {
            return Ok(());
        }
        let text = std::mem::take(&mut self.text);
        match self.gather.take() {
            Some(Gather::Instruction) if self.fields.is_open() => self.fields.text(&text),
            // Without its beginning, too, Word 2003 reads it.
            Some(Gather::Instruction) => field::instruction(self.opening, &text),
            Some(Gather::Formula(cell)) => {
                let sheet = self.sheet.as_deref().unwrap_or_default();
                let sheet = sheet.rsplit('/').next().unwrap_or_default();
                self.markup.macros.sheet(sheet, false);
                self.markup.macros.formula(&format!("{sheet}!{cell}"), &text);
            }
            Some(Gather::Source(name)) => self.markup.source(self.opening, &name, &text)?,
            Some(Gather::Path) => match text.contains('|') {
                true => self.opening.feature(FeatureKind::Dde, &text),
                false => super::elsewhere(self.opening, "workbook", &text),
            },
            Some(Gather::File(name)) => self.file(&name)?,
            None => {}
        }
        Ok(())
    }

    fn file(&mut self, name: &str) -> Result<(), Stop> {
        let packed = std::mem::take(&mut self.file);
        let data = super::base64(&packed);
        if let Err(limit) = self.opening.pay(packed.len() as u64, data.len() as u64) {
            self.opening.over(limit, None);
            return Ok(());
        }
        if data.is_empty() {
            return Ok(());
        }
        let name = name.rsplit_once("://").map_or(name, |(_, name)| name);
        let names = crate::names::readings(name.as_bytes(), true);
        self.opening.embedded(Member { names, body: data.into(), ..Member::default() })?;
        Ok(())
    }

    fn field_ends(&mut self) {
        if let Some(instruction) = self.fields.end() {
            field::instruction(self.opening, &instruction);
        }
    }
}
