//! Open XML (ECMA-376): projects of VBA, macro sheets of Excel 4, ActiveX controls, templates from elsewhere, DDE.
//!
//! What a part is, its relations and its type say, not its name; all three are asked. The type of the document itself stays
//! one with macros where it was: programs refuse a document whose type does not fit the end of its name, and one of such a
//! type needs no macros.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use gatepost_mail::Budget;

use super::{begins_as_document, within};
use crate::Unreadable;
use crate::edits::Edits;
use crate::xml::{self, Element, Token, Tokens};
use crate::zip::{self, Fate, Member, key};

const TYPES: &str = "[content_types].xml";

/// Relations (the last part of their type) to what goes.
const GOES: &[&str] = &[
    "vbaproject",
    "wordvbadata",
    "vbaprojectsignature",
    "vbaprojectsignatureagile",
    "vbaprojectsignaturev3",
    "control",
    "activexcontrolbinary",
    "extensibility",
    "usercustomization",
    "attachedtoolbars",
    "keymapcustomizations",
];

/// Types of content of what goes; each is a piece of the type.
const TYPES_GO: &[&str] =
    &["vbaproject", "vbadata", "ms-office.activex", "attachedtoolbars", "keymapcustomizations"];

/// Relations to what a document fetches by itself when it is opened, and that is shown or carried out.
const FETCHED: &[&str] = &["attachedtemplate", "frame", "oleobject", "subdocument", "afchunk", "package"];

/// The document without macros; None if it has none.
pub(super) fn cleaned(
    zip: &[u8],
    members: &[Member],
    budget: &mut Budget,
    depth: u32,
) -> Result<Option<Vec<u8>>, Unreadable> {
    let mut package = Package::read(zip, members, budget)?;
    let mut fates = Vec::new();
    for member in members {
        fates.push(package.fate(member, budget, depth)?);
    }
    if fates.iter().all(|fate| matches!(fate, Fate::Stays)) {
        return Ok(None);
    }
    // Signatures of the document do not hold any more.
    if package.drop_signatures() {
        for (member, fate) in members.iter().zip(&mut fates) {
            let name = member.key();
            if !matches!(fate, Fate::Goes)
                && (name == TYPES || name.ends_with(".rels") || package.gone.contains(&name))
            {
                *fate = package.fate(member, budget, depth)?;
            }
        }
    }
    let list: Vec<(Member, Fate)> = members.iter().cloned().zip(fates).collect();
    zip::write(zip, &list, budget).map(Some)
}

/// A document, as far as it matters here. All names are keys.
struct Package<'a> {
    zip: &'a [u8],
    names: Vec<String>,
    /// The list of types and the relations, which say what the rest is.
    known: HashMap<String, Vec<u8>>,
    /// Parts that go.
    gone: HashSet<String>,
    /// Macro sheets, with the names that the empty sheets in their place have.
    sheets: HashMap<String, String>,
    /// For each part the relations that it lost.
    lost: HashMap<String, HashSet<String>>,
}

/// A relation of a part to another.
struct Relation {
    id: String,
    /// The last part of its type, in lower case.
    kind: String,
    target: String,
    /// The key of the part, for those that are not outside.
    part: Option<String>,
    range: Range<usize>,
    target_at: Range<usize>,
    kind_at: Range<usize>,
}

impl<'a> Package<'a> {
    fn read(zip: &'a [u8], members: &[Member], budget: &mut Budget) -> Result<Package<'a>, Unreadable> {
        let names: Vec<String> = members.iter().map(Member::key).collect();
        let mut known = HashMap::new();
        for (member, name) in members.iter().zip(&names) {
            if name == TYPES || name.ends_with(".rels") {
                let content = zip::content(zip, member, budget)?;
                known.insert(name.clone(), xml::plain(&content)?.to_vec());
            }
        }
        let mut package =
            Package { zip, names, known, gone: HashSet::new(), sheets: HashMap::new(), lost: HashMap::new() };
        package.by_type(budget)?;
        package.by_relation(budget)?;
        package.by_name();
        package.note_lost(budget)?;
        Ok(package)
    }

    /// Parts that the list of types tells, each by itself or all of one extension.
    fn by_type(&mut self, budget: &Budget) -> Result<(), Unreadable> {
        let types = self.known.get(TYPES).cloned().unwrap_or_default();
        let mut listed = HashSet::new();
        let mut extensions = Vec::new();
        let mut tokens = Tokens::new(&types);
        while let Some((token, _)) = tokens.next(budget)? {
            let Token::Start { element, .. } = token else { continue };
            let kind = element.get("ContentType").unwrap_or_default().to_ascii_lowercase();
            let goes = TYPES_GO.iter().any(|part| kind.contains(part));
            if let Some(name) = element.get("PartName").map(|name| key(&percent_decoded(&name))) {
                if goes {
                    self.gone.insert(name.clone());
                } else if kind.contains("macrosheet") {
                    self.sheet(&name);
                }
                listed.insert(name);
            } else if let Some(extension) = element.get("Extension").filter(|_| goes) {
                extensions.push(format!(".{}", extension.to_lowercase()));
            }
        }
        for name in &self.names {
            if !listed.contains(name) && extensions.iter().any(|extension| name.ends_with(extension)) {
                self.gone.insert(name.clone());
            }
        }
        Ok(())
    }

    fn by_relation(&mut self, budget: &Budget) -> Result<(), Unreadable> {
        let known: Vec<(String, Vec<u8>)> = self
            .known
            .iter()
            .filter(|(name, _)| *name != TYPES)
            .map(|(a, b)| (a.clone(), b.clone()))
            .collect();
        for (name, xml) in known {
            for relation in relations(&name, &xml, budget)? {
                let Some(part) = relation.part else { continue };
                if GOES.contains(&&*relation.kind) {
                    self.gone.insert(part);
                } else if relation.kind.ends_with("macrosheet") {
                    self.sheet(&part);
                }
            }
        }
        Ok(())
    }

    fn by_name(&mut self) {
        for name in &self.names {
            let file = name.rsplit('/').next().unwrap_or(name);
            let goes = file.starts_with("vbaproject") && file.ends_with(".bin")
                || file == "vbadata.xml"
                || name.contains("/activex/")
                || name.starts_with("customui/");
            if goes || name.contains("/macrosheets/") {
                self.gone.insert(name.clone());
            }
        }
        // A folder may be called so in any document; what is in it is a macro sheet in all that are.
        let relations: Vec<String> = self.gone.iter().map(|name| relations_of(name)).collect();
        self.gone.extend(relations);
        for name in self.sheets.keys() {
            self.gone.remove(name);
        }
    }

    fn sheet(&mut self, name: &str) {
        let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
        let above = folder.rsplit_once('/').map_or("", |(above, _)| above);
        let place = format!("{above}/worksheets/no-macros-{file}");
        self.sheets.insert(name.to_owned(), place.trim_start_matches('/').to_owned());
        self.gone.insert(relations_of(name));
    }

    /// Which relations each part loses.
    fn note_lost(&mut self, budget: &Budget) -> Result<(), Unreadable> {
        for (name, xml) in self.known.iter().filter(|(name, _)| *name != TYPES) {
            let lost: HashSet<String> = relations(name, xml, budget)?
                .into_iter()
                .filter(|relation| relation.part.as_ref().is_some_and(|part| self.gone.contains(part)))
                .map(|relation| relation.id)
                .collect();
            if !lost.is_empty() {
                self.lost.insert(owner_of(name), lost);
            }
        }
        Ok(())
    }

    /// Lets signatures go as well; whether there are any.
    fn drop_signatures(&mut self) -> bool {
        let before = self.gone.len();
        self.gone.extend(self.names.iter().filter(|name| name.starts_with("_xmlsignatures/")).cloned());
        self.gone.len() > before
    }

    fn fate(&mut self, member: &Member, budget: &mut Budget, depth: u32) -> Result<Fate, Unreadable> {
        let name = member.key();
        if self.gone.contains(&name) {
            return Ok(Fate::Goes);
        }
        if let Some(place) = self.sheets.get(&name) {
            let empty = if xml::is(&zip::beginning(self.zip, member, 16)) { SHEET_XML } else { SHEET_BINARY };
            return Ok(Fate::Becomes(empty.to_vec(), Some(place.clone().into_bytes())));
        }
        if let Some(xml) = self.known.get(&name) {
            let changed =
                if name == TYPES { self.types(xml, budget)? } else { self.relations(&name, xml, budget)? };
            return Ok(changed.map_or(Fate::Stays, |xml| Fate::Becomes(xml, None)));
        }
        let beginning = zip::beginning(self.zip, member, 64);
        if begins_as_document(&beginning) {
            let content = zip::content(self.zip, member, budget)?;
            let changed = within(&content, budget, depth)?;
            return Ok(changed.map_or(Fate::Stays, |content| Fate::Becomes(content, None)));
        }
        let changed = if xml::is(&beginning) {
            let content = zip::content(self.zip, member, budget)?;
            self.part(&name, xml::plain(&content)?, budget)?
        } else if name.ends_with(".bin") && name.starts_with("xl/") {
            let content = zip::content(self.zip, member, budget)?;
            super::xlsb::cleaned(&content, &name, !self.sheets.is_empty())?
        } else {
            None
        };
        Ok(changed.map_or(Fate::Stays, |content| Fate::Becomes(content, None)))
    }

    /// The list of types without what goes.
    fn types(&self, xml: &[u8], budget: &Budget) -> Result<Option<Vec<u8>>, Unreadable> {
        let mut edits = Edits::default();
        let mut tokens = Tokens::new(xml);
        let mut depth = 0;
        while let Some((token, range)) = tokens.next(budget)? {
            match token {
                Token::Start { element, empty } => {
                    let kind = element.get("ContentType").unwrap_or_default().to_ascii_lowercase();
                    let part = element.get("PartName").map(|name| key(&percent_decoded(&name)));
                    let goes = match &part {
                        Some(part) => self.gone.contains(part) || self.sheets.contains_key(part),
                        None => element.name == "Default" && TYPES_GO.iter().any(|part| kind.contains(part)),
                    };
                    if goes && !empty {
                        return Err(Unreadable::Malformed("a list of types with elements in elements"));
                    }
                    if goes {
                        edits.replace(range, "");
                    }
                    depth += usize::from(!empty);
                }
                Token::End => {
                    depth -= 1;
                    if depth == 0 {
                        edits.replace(range.start..range.start, self.sheet_types());
                    }
                }
                _ => {}
            }
        }
        let changed = edits.apply(xml, |_, _| b"");
        Ok((changed != xml).then_some(changed))
    }

    /// The types of the sheets that stand in the place of macro sheets.
    fn sheet_types(&self) -> String {
        let mut places: Vec<&String> = self.sheets.values().collect();
        places.sort();
        places
            .into_iter()
            .map(|place| {
                let kind = match place.ends_with(".bin") {
                    true => "application/vnd.ms-excel.worksheet",
                    false => "application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml",
                };
                format!(
                    "<Override PartName=\"/{}\" ContentType=\"{kind}\"/>",
                    quick_xml::escape::escape(&**place)
                )
            })
            .collect()
    }

    /// Relations without those that lost their part. Those to what is fetched lead to nothing: what speaks of them is not
    /// broken so.
    fn relations(&self, name: &str, xml: &[u8], budget: &Budget) -> Result<Option<Vec<u8>>, Unreadable> {
        let mut edits = Edits::default();
        for relation in relations(name, xml, budget)? {
            match &relation.part {
                Some(part) if self.gone.contains(part) => edits.replace(relation.range, ""),
                Some(part) => {
                    if let Some(place) = self.sheets.get(part) {
                        let place = quick_xml::escape::escape(&**place).into_owned();
                        edits.replace(relation.target_at, format!("/{place}"));
                        edits.replace(relation.kind_at, WORKSHEET);
                    }
                }
                None if FETCHED.contains(&&*relation.kind) && leads_elsewhere(&relation.target) => {
                    edits.replace(relation.target_at, "removed");
                }
                None => {}
            }
        }
        Ok((!edits.is_empty()).then(|| edits.apply(xml, |_, _| b"")))
    }

    /// Any other part in XML.
    fn part(&self, name: &str, xml: &[u8], budget: &Budget) -> Result<Option<Vec<u8>>, Unreadable> {
        let has = |word: &str| memchr::memmem::find(xml, word.as_bytes()).is_some();
        let none = HashSet::new();
        let lost = self.lost.get(name).unwrap_or(&none);
        let names = !self.sheets.is_empty() && has("definedName");
        if lost.is_empty() && !names && !["instrText", "fldSimple", "ddeLink"].into_iter().any(has) {
            return Ok(None);
        }
        let mut scan =
            Scan { lost, names, edits: Edits::default(), fields: Vec::new(), open: Vec::new(), goes: None };
        let mut tokens = Tokens::new(xml);
        while let Some((token, range)) = tokens.next(budget)? {
            scan.token(token, range)?;
        }
        Ok((!scan.edits.is_empty()).then(|| scan.edits.apply(xml, |_, _| b"")))
    }
}

const WORKSHEET: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet";
const SHEET_XML: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n\
    <worksheet xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"><sheetData/></worksheet>";
/// BrtBeginSheet, BrtBeginSheetData and their ends (MS-XLSB 2.1.7.61).
const SHEET_BINARY: &[u8] = b"\x81\x01\0\x91\x01\0\x92\x01\0\x82\x01\0";

/// A part being looked through.
struct Scan<'a> {
    lost: &'a HashSet<String>,
    /// Names that run macro sheets go.
    names: bool,
    edits: Edits,
    /// Fields that are open.
    fields: Vec<Field>,
    /// Elements that are open: their names and where they begin.
    open: Vec<(String, usize)>,
    /// The element that goes, by how many are open around it.
    goes: Option<usize>,
}

/// A field of Word (17.16): its instruction, and where that stands.
#[derive(Default)]
struct Field {
    text: String,
    places: Vec<Range<usize>>,
    /// The result has begun.
    result: bool,
    /// A field stands in its instruction.
    nested: bool,
}

impl Scan<'_> {
    fn token(&mut self, token: Token, range: Range<usize>) -> Result<(), Unreadable> {
        /// More than any program writes.
        const DEEPEST: usize = 4096;
        match token {
            Token::Start { element, empty } => {
                if self.open.len() > DEEPEST {
                    return Err(Unreadable::Malformed("XML that is nested too deeply"));
                }
                if self.goes.is_none() && self.element_goes(&element) {
                    // All controls of a sheet stand in one element, which must not be empty.
                    let list = self.open.iter().position(|(name, _)| name == "controls");
                    self.goes = Some(list.unwrap_or(self.open.len()));
                }
                self.field(&element);
                self.open.push((element.name, range.start));
                if empty {
                    self.end(range.end);
                }
            }
            Token::End => self.end(range.end),
            Token::Text(text) => {
                let instruction =
                    self.open.last().is_some_and(|(name, _)| name == "instrText" || name == "delInstrText");
                if instruction {
                    self.instruction(text, range);
                }
            }
            Token::Other => {}
        }
        Ok(())
    }

    fn end(&mut self, at: usize) {
        let Some((_, start)) = self.open.pop() else { return };
        if self.goes == Some(self.open.len()) {
            self.goes = None;
            self.edits.replace(start..at, "");
        }
    }

    fn element_goes(&self, element: &Element) -> bool {
        const AUTO: &[&str] = &["auto_open", "auto_close", "auto_activate", "auto_deactivate"];
        match &*element.name {
            "ddeLink" => true,
            "definedName" if self.names => {
                let name = element.get("name").unwrap_or_default().to_ascii_lowercase();
                let name = name.strip_prefix("_xlnm.").unwrap_or(&name);
                AUTO.iter().any(|auto| name.starts_with(auto))
            }
            _ => {
                element.attributes().any(|one| one.name.ends_with(b":id") && self.lost.contains(&one.value()))
            }
        }
    }

    fn field(&mut self, element: &Element) {
        const DEEPEST: usize = 64;
        match &*element.name {
            "fldSimple" => {
                if let Some(instruction) = element.attribute("instr").filter(|one| is_dde(&one.value())) {
                    self.edits.replace(instruction.range.clone(), " ");
                }
            }
            "fldChar" => match element.get("fldCharType").as_deref() {
                Some("begin") if self.fields.len() < DEEPEST => {
                    self.fields
                        .iter_mut()
                        .filter(|field| !field.result)
                        .for_each(|field| field.nested = true);
                    self.fields.push(Field::default());
                }
                Some("separate") => self.fields.last_mut().into_iter().for_each(|field| field.result = true),
                Some("end") => {
                    if let Some(field) = self.fields.pop() {
                        self.field_ends(field);
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn instruction(&mut self, raw: &[u8], range: Range<usize>) {
        const LONGEST: usize = 1 << 16;
        let text = xml::decoded(raw);
        if self.fields.is_empty() && is_dde(&text) {
            // Without its beginning, Word 2003 reads it too.
            self.edits.replace(range.clone(), " ");
        }
        for field in self.fields.iter_mut().filter(|field| !field.result && field.text.len() < LONGEST) {
            field.text.push_str(&text);
            field.places.push(range.clone());
        }
    }

    /// A field whose instruction is put together from others is one that hides.
    fn field_ends(&mut self, field: Field) {
        let begins_with = |word: &str| field.text.trim_start().to_ascii_uppercase().starts_with(word);
        if is_dde(&field.text) || field.nested && begins_with("QUOTE") {
            field.places.into_iter().for_each(|place| self.edits.replace(place, " "));
        }
    }
}

/// Whether the instruction of a field asks another program for data.
pub(super) fn is_dde(instruction: &str) -> bool {
    let word: String = instruction.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
    word.eq_ignore_ascii_case("DDE") || word.eq_ignore_ascii_case("DDEAUTO")
}

/// The relations in one of their lists.
fn relations(name: &str, xml: &[u8], budget: &Budget) -> Result<Vec<Relation>, Unreadable> {
    let owner = owner_of(name);
    let folder = owner.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let mut found = Vec::new();
    let mut tokens = Tokens::new(xml);
    while let Some((token, range)) = tokens.next(budget)? {
        let Token::Start { element, empty } = token else { continue };
        if element.name != "Relationship" {
            continue;
        }
        let (Some(kind), Some(target)) = (element.attribute("Type"), element.attribute("Target")) else {
            continue;
        };
        let outside = element.get("TargetMode").is_some_and(|mode| mode.eq_ignore_ascii_case("external"));
        let named = target.value();
        if !empty && !outside {
            return Err(Unreadable::Malformed("relations with elements in elements"));
        }
        found.push(Relation {
            id: element.get("Id").unwrap_or_default(),
            kind: kind.value().rsplit('/').next().unwrap_or_default().to_ascii_lowercase(),
            part: (!outside).then(|| resolved(&folder, &named)),
            target: named,
            range,
            target_at: target.range.clone(),
            kind_at: kind.range.clone(),
        });
    }
    Ok(found)
}

/// The part whose relations those are: `a/_rels/b.rels` are `a/b`'s.
fn owner_of(name: &str) -> String {
    let bare = name.strip_suffix(".rels").unwrap_or(name);
    match bare.rsplit_once("_rels/") {
        Some((folder, file)) => format!("{folder}{file}"),
        None => bare.to_owned(),
    }
}

/// Where the relations of a part stand.
fn relations_of(name: &str) -> String {
    match name.rsplit_once('/') {
        Some((folder, file)) => format!("{folder}/_rels/{file}.rels"),
        None => format!("_rels/{name}.rels"),
    }
}

/// The key of the part that a target names, relative to a folder.
fn resolved(folder: &str, target: &str) -> String {
    let target = percent_decoded(target).replace('\\', "/");
    let target = target.split(['#', '?']).next().unwrap_or_default().to_owned();
    let whole = if target.starts_with('/') { target } else { format!("{folder}/{target}") };
    let mut path: Vec<&str> = Vec::new();
    for step in whole.split('/') {
        match step {
            "" | "." => {}
            ".." => {
                path.pop();
            }
            step => path.push(step),
        }
    }
    key(&path.join("/"))
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let code = hex
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether a target lies on another machine: a template's place on the disk of whoever wrote the document does not.
pub(super) fn leads_elsewhere(target: &str) -> bool {
    let plain = target.trim().to_ascii_lowercase().replace('\\', "/");
    let path = plain.strip_prefix("file:").unwrap_or(&plain);
    let rest = path.trim_start_matches('/');
    let drive = rest.as_bytes().get(1).is_some_and(|byte| matches!(byte, b':' | b'|'));
    let scheme = path.split_once(':').is_some_and(|(scheme, _)| {
        scheme.len() > 1 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    });
    // file:///C:/x and file:///home are here; file://host/x and file:////host/x are not.
    let slashes = path.len() - rest.len();
    let host = !rest.is_empty()
        && if plain.starts_with("file:") { slashes == 2 || slashes > 3 } else { slashes > 1 };
    !drive && (scheme || host)
}
