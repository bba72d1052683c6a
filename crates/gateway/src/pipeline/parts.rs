//! What a verdict asks for that takes more than judging: documents are cleaned and pages defanged, off the threads that
//! talk, and what was cleaned is read again before anybody gets it.
//!
//! It is done before the message is signed: a signature is over what leaves.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use bytes::Bytes;
use gatepost_disarm::{defang_html, remove_macros};
use gatepost_mail::{
    Cause, Defang, DefectKind, Edit, Fault, FileKind, Limits, Mail, Message, OnFault, Part, PartId, Treated,
    Treatment, Verdict, text,
};

use super::{Manner, Pipeline, too_slow};
use crate::checks::Found;

/// What goes out of a page that is to be cleaned: all that acts.
const ACTIVE: [Defang; 4] = [Defang::Scripts, Defang::Forms, Defang::Frames, Defang::Objects];

/// Something to be done with the content of one part.
#[derive(Clone, Debug, PartialEq)]
struct Asked {
    part: PartId,
    /// Its content, as far as it was changed already.
    body: Bytes,
    what: What,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    /// Until none of these symbols is found in it. The text stands for it where that cannot be done.
    Clean {
        text: String,
        symbols: Vec<String>,
    },
    Defang(Vec<Defang>),
}

/// What came of it.
#[derive(Clone, Debug)]
enum Came {
    /// Its new content; of a page, what was taken out.
    Changed(Bytes, Vec<Defang>),
    /// There was nothing to take out.
    Same,
    /// It cannot be done: what stands for it, and why.
    Failed { text: String, why: String },
}

impl Pipeline {
    /// Does what verdicts ask for. Faults: it could not be found out whether it can be done; what these mean is for
    /// whoever asks. Where they mean nothing, the part is replaced.
    pub(super) async fn treat(
        &self,
        mail: &Mail,
        found: &Found,
        verdicts: &mut [Verdict],
        began: Instant,
    ) -> Vec<Fault> {
        // Most verdicts ask for the same.
        let mut known: Vec<(Asked, Came)> = Vec::new();
        let mut faults = Vec::new();
        for verdict in verdicts.iter_mut() {
            while let Some((at, asked)) = Asked::first(&mail.message, found, verdict) {
                let came = match known.iter().find(|(one, _)| *one == asked) {
                    Some((_, came)) => came.clone(),
                    None => {
                        let came = self.find_out(mail, &asked, began).await.unwrap_or_else(|fault| {
                            let came = asked.failed(&mail.message, &fault);
                            faults.push(fault);
                            came
                        });
                        known.push((asked.clone(), came.clone()));
                        came
                    }
                };
                settle(verdict, at, &asked, came);
            }
        }
        faults
    }

    async fn find_out(&self, mail: &Mail, asked: &Asked, began: Instant) -> Result<Came, Fault> {
        let (message, limits) = (&mail.message, self.limits.clone());
        let part = message.part(asked.part).clone();
        let work = asked.clone();
        let done = tokio::task::spawn_blocking(move || work.done(&part, &limits));
        let left = self.judging_time.saturating_sub(began.elapsed());
        let came = match tokio::time::timeout(left, done).await {
            Err(_) => return Err(too_slow(self.judging_time)),
            Ok(Err(_)) => return Err(self.panicked()),
            Ok(Ok(came)) => came,
        };
        let (What::Clean { text, symbols }, Came::Changed(content, _)) = (&asked.what, &came) else {
            return Ok(came);
        };
        let name = message.part(asked.part).name().map(str::to_owned);
        match self.still_wrong(mail, name, content.clone(), symbols, began).await? {
            None => Ok(came),
            Some(why) => Ok(Came::Failed { text: text.clone(), why }),
        }
    }

    /// Reads a cleaned file again, and says what is still wrong with it.
    async fn still_wrong(
        &self,
        mail: &Mail,
        name: Option<String>,
        content: Bytes,
        symbols: &[String],
        began: Instant,
    ) -> Result<Option<String>, Fault> {
        let (message, fault) = self.read(&Manner::File(name), (content, None), began).await;
        if let Some(fault) = fault {
            return Err(fault);
        }
        let unread = |kind: DefectKind| matches!(kind, DefectKind::Over(_) | DefectKind::Encrypted);
        if let Some(defect) = message.defects.iter().find(|defect| unread(defect.kind)) {
            return Ok(Some(format!("cleaned, it could not be looked into: {}", defect.kind.name())));
        }
        let read = (message.features.iter().map(|feature| feature.kind.name()))
            .chain(message.defects.iter().map(|defect| defect.kind.name()));
        let of_reading = |symbol: &&String| {
            gatepost_mail::FeatureKind::ALL.iter().any(|kind| kind.name() == symbol.as_str())
                || DefectKind::ALL.iter().any(|kind| kind.name() == symbol.as_str())
        };
        let still = read.map(str::to_owned).find(|name| symbols.contains(name));
        let still = match still {
            None if !symbols.iter().all(|symbol| of_reading(&symbol)) => {
                // Scanners named it, or a rule about attachments: they are asked again.
                let mail = Mail { message, ..mail.clone() };
                let found = self.checks.file(&mail).await;
                if let Some(fault) = found.faults.first() {
                    return Ok(Some(format!("cleaned, it could not be checked: {}", fault.check)));
                }
                let names = found.findings.into_iter().map(|finding| finding.symbol.into_owned());
                names.into_iter().find(|name| symbols.contains(name))
            }
            still => still,
        };
        Ok(still.map(|symbol| format!("{symbol} is still found in it after cleaning")))
    }

    fn panicked(&self) -> Fault {
        Fault {
            check: "parts".into(),
            cause: Cause::Bug,
            detail: "cleaning a part panicked; please report it".into(),
            answer: self.reading_fault,
        }
    }
}

/// Whether faults let the message go on.
pub(super) fn are_accepted(faults: &[Fault]) -> bool {
    faults.iter().all(|fault| fault.answer == OnFault::Accept)
}

/// Whether something that is to go would stay. That a text cannot be added harms nobody.
pub(super) fn cannot_be_done(message: &Message, edits: &[Edit]) -> bool {
    let counts = |edit: &Edit| edit.changes_body() && !matches!(edit, Edit::AddText { .. });
    // Carried out once more for those few messages whose content changes.
    edits.iter().any(counts)
        && gatepost_mail::changes(message, edits).skipped.into_iter().any(|place| counts(&edits[place]))
}

impl Asked {
    /// What the first edit that is not decided yet asks for, with its place.
    fn first(message: &Message, found: &Found, verdict: &Verdict) -> Option<(usize, Asked)> {
        let open = |edit: &Edit| matches!(edit, Edit::DefangPart { .. } | Edit::CleanPart { .. });
        let at = verdict.edits.iter().position(open)?;
        let (part, what) = match &verdict.edits[at] {
            Edit::DefangPart { part, what } => (*part, What::Defang(what.clone())),
            Edit::CleanPart { part, text } => {
                let places = verdict.treated.iter().filter(|one| one.part == *part);
                let places = places.filter(|one| one.how == Treatment::Cleaned).flat_map(|one| &one.findings);
                let symbols = places.filter_map(|place| found.findings.get(*place));
                let symbols = symbols.map(|finding| finding.symbol.to_string()).collect();
                (*part, What::Clean { text: text.clone(), symbols })
            }
            _ => return None,
        };
        let changed = verdict.edits.iter().find_map(|edit| match edit {
            Edit::RewritePart { part: other, body } if *other == part => Some(body.clone()),
            _ => None,
        });
        let body = changed.unwrap_or_else(|| message.part(part).body.clone());
        Some((at, Asked { part, body, what }))
    }

    /// Does it. Takes its time.
    fn done(&self, part: &Part, limits: &Limits) -> Came {
        let is_html = part.declared == "text/html" || part.detected.kind == FileKind::Html;
        match &self.what {
            What::Defang(what) => self.defanged(part, what, limits),
            What::Clean { text, .. } if is_html => match self.defanged(part, &ACTIVE, limits) {
                Came::Same => {
                    Came::Failed { text: text.clone(), why: "there was nothing to take out".into() }
                }
                Came::Failed { why, .. } => Came::Failed { text: text.clone(), why },
                came => came,
            },
            What::Clean { text, .. } => {
                let failed = |why: String| Came::Failed { text: text.clone(), why };
                if part.encrypted {
                    return failed("could not be cleaned: encrypted".into());
                }
                match remove_macros(&self.body, part.detected, limits) {
                    Ok(Some(body)) => Came::Changed(body.into(), Vec::new()),
                    Ok(None) => failed("there was nothing to take out".into()),
                    Err(why) => failed(format!("could not be cleaned: {why}")),
                }
            }
        }
    }

    fn defanged(&self, part: &Part, what: &[Defang], limits: &Limits) -> Came {
        let charset = part.charset.as_deref();
        match defang_html(&self.body, charset, what, limits) {
            Ok(None) => Came::Same,
            Ok(Some(made)) => Came::Changed(made.page.into(), made.taken),
            Err(why) => {
                let why = format!("its HTML could not be defanged: {why}");
                let part = Part { body: self.body.clone(), ..part.clone() };
                let text = text::of(&part).map(|text| text.text).unwrap_or_default();
                Came::Failed { text: in_its_place(text), why }
            }
        }
    }

    /// Where nobody knows whether it can be done.
    fn failed(&self, message: &Message, fault: &Fault) -> Came {
        let why = format!("{}: {}", fault.check, fault.cause);
        let text = match &self.what {
            What::Clean { text, .. } => text.clone(),
            What::Defang(_) => {
                let text = || text::of(message.part(self.part)).map(|text| text.text).unwrap_or_default();
                in_its_place(catch_unwind(AssertUnwindSafe(text)).unwrap_or_default())
            }
        };
        Came::Failed { text, why }
    }
}

/// The text of a page, or where it has none a word on what was there.
fn in_its_place(text: String) -> String {
    match text.trim() {
        "" => "[A page without text was removed here.]\n".into(),
        text => format!("{text}\n"),
    }
}

/// Puts what came of it in the place of what was asked for: one content for a part, and none for one that is replaced.
fn settle(verdict: &mut Verdict, at: usize, asked: &Asked, came: Came) {
    let part = asked.part;
    let cleans = matches!(asked.what, What::Clean { .. });
    let is_this = |treated: &Treated| {
        treated.part == part
            && match treated.how {
                Treatment::Cleaned => cleans,
                Treatment::Defanged(_) => !cleans,
                Treatment::Replaced | Treatment::Renamed(_) => false,
            }
    };
    let is_replaced = |edit: &Edit| matches!(edit, Edit::ReplacePart { part: other, .. } if *other == part);
    let rewrites = |edit: &Edit| matches!(edit, Edit::RewritePart { part: other, .. } if *other == part);
    let renames = |edit: &Edit| matches!(edit, Edit::RenamePart { part: other, .. } if *other == part);
    verdict.edits.remove(at);
    if verdict.edits.iter().any(is_replaced) {
        return verdict.treated.retain(|treated| !is_this(treated));
    }
    match came {
        Came::Same => verdict.treated.retain(|treated| !is_this(treated)),
        Came::Changed(body, what) => {
            for treated in verdict.treated.iter_mut().filter(|treated| is_this(treated)) {
                if let Treatment::Defanged(all) = &mut treated.how {
                    all.clone_from(&what);
                }
            }
            verdict.edits.retain(|edit| !rewrites(edit));
            verdict.edits.push(Edit::RewritePart { part, body });
        }
        Came::Failed { text, why } => {
            for treated in verdict.treated.iter_mut().filter(|treated| is_this(treated)) {
                (treated.how, treated.note) = (Treatment::Replaced, why.clone());
            }
            verdict.treated.retain(|one| one.part != part || one.how == Treatment::Replaced);
            verdict.edits.retain(|edit| !rewrites(edit) && !renames(edit));
            verdict.edits.push(Edit::ReplacePart { part, text });
        }
    }
}

#[cfg(test)]
mod tests;
