//! OpenDocument: modules of Basic, scripts, what runs them, and data from other programs.

use gatepost_mail::Budget;

use super::{begins_as_document, within};
use crate::Unreadable;
use crate::edits::Edits;
use crate::xml::{self, Token, Tokens};
use crate::zip::{self, Fate, Member, key};

/// Elements that go with all that is in them.
const GOES: &[&str] = &[
    "event-listener",
    "event-listeners",
    "script",
    "dde-source",
    "dde-connection-decl",
    "dde-connection-decls",
    "dde-link",
    "dde-links",
];

/// The document without macros; None if it has none.
pub(super) fn cleaned(
    zip: &[u8],
    members: &[Member],
    budget: &mut Budget,
    depth: u32,
) -> Result<Option<Vec<u8>>, Unreadable> {
    let mut fates = Vec::new();
    for member in members {
        fates.push(fate(zip, member, budget, depth)?);
    }
    if fates.iter().all(|fate| matches!(fate, Fate::Stays)) {
        return Ok(None);
    }
    for (member, fate) in members.iter().zip(&mut fates) {
        // Signatures of the document do not hold any more.
        if member.key() == "meta-inf/documentsignatures.xml" {
            *fate = Fate::Goes;
        }
    }
    let list: Vec<(Member, Fate)> = members.iter().cloned().zip(fates).collect();
    zip::write(zip, &list, budget).map(Some)
}

fn fate(zip: &[u8], member: &Member, budget: &mut Budget, depth: u32) -> Result<Fate, Unreadable> {
    let name = member.key();
    if goes(&name) {
        return Ok(Fate::Goes);
    }
    let beginning = zip::beginning(zip, member, 64);
    let changed = if begins_as_document(&beginning) {
        within(&zip::content(zip, member, budget)?, budget, depth)?
    } else if xml::is(&beginning) {
        let content = zip::content(zip, member, budget)?;
        part(xml::plain(&content)?, name == "meta-inf/manifest.xml", budget)?
    } else {
        None
    };
    Ok(changed.map_or(Fate::Stays, |content| Fate::Becomes(content, None)))
}

/// Whether a member holds macros, by its place: LibreOffice looks nowhere else.
fn goes(name: &str) -> bool {
    name == "meta-inf/macrosignatures.xml"
        || ["basic", "scripts", "dialogs"]
            .iter()
            .any(|folder| name.split('/').rev().skip(1).any(|step| step == *folder))
}

/// XML without what runs macros; of the manifest, without the members that go.
fn part(xml: &[u8], manifest: bool, budget: &Budget) -> Result<Option<Vec<u8>>, Unreadable> {
    const WORDS: &[&str] = &["event-listener", "script", "dde-", "macro:", "vnd.sun.star"];
    const DEEPEST: usize = 4096;
    let has = |word: &&str| memchr::memmem::find(xml, word.as_bytes()).is_some();
    if !manifest && !WORDS.iter().any(has) {
        return Ok(None);
    }
    let mut edits = Edits::default();
    // Where each open element begins, whether it goes, and whether it goes if there is something in it.
    let mut open: Vec<(usize, bool, bool)> = Vec::new();
    let mut tokens = Tokens::new(xml);
    while let Some((token, range)) = tokens.next(budget)? {
        match token {
            Token::Start { element, empty } => {
                if open.len() > DEEPEST {
                    return Err(Unreadable::Malformed("XML that is nested too deeply"));
                }
                if let Some((_, goes, true)) = open.last_mut() {
                    *goes = true;
                }
                if manifest && element.name == "encryption-data" {
                    return Err(Unreadable::Encrypted);
                }
                let path = element.get("full-path").map(|path| key(&path)).filter(|_| manifest);
                let listed = path.is_some_and(|path| {
                    goes(&path) || goes(&format!("{path}/")) || path == "meta-inf/documentsignatures.xml"
                });
                let here = listed || !manifest && GOES.contains(&&*element.name);
                let inner = open.iter().any(|(_, goes, _)| *goes);
                for attribute in element.attributes().filter(|_| !here && !inner) {
                    if runs(&attribute.value()) {
                        edits.replace(attribute.range.clone(), "#");
                    }
                }
                open.push((range.start, here && !inner, element.name == "scripts" && !manifest));
                if empty {
                    close(&mut open, range.end, &mut edits);
                }
            }
            Token::End => close(&mut open, range.end, &mut edits),
            _ => {}
        }
    }
    Ok((!edits.is_empty()).then(|| edits.apply(xml, |_, _| b"")))
}

fn close(open: &mut Vec<(usize, bool, bool)>, end: usize, edits: &mut Edits) {
    if let Some((start, true, _)) = open.pop() {
        edits.replace(start..end, "");
    }
}

/// Whether an address runs a macro or a script.
fn runs(value: &str) -> bool {
    let plain: String = value.chars().filter(|c| !c.is_whitespace() && !c.is_control()).take(64).collect();
    let lower = plain.to_ascii_lowercase();
    [
        "vnd.sun.star.script:",
        "vnd.sun.star.expand:",
        "macro:",
        "script:",
        "javascript:",
        "service:",
        "slot:",
        ".uno:",
    ]
    .iter()
    .any(|scheme| lower.starts_with(scheme))
}
