//! What a verdict does to parts and to the text of a mail.

use std::collections::{BTreeMap, BTreeSet};

use gatepost_mail::{
    Action, Category, Edit, FileKind, Finding, Message, PartId, Place, Scope, Treated, Treatment, takes_text,
};

use super::{DecidedBy, Decision, Judge, evidences};
use crate::config::attachments;
use crate::config::parts::PartAction;
use crate::verdict::template::{Field, Notice};

/// Changes for delivery.
#[derive(Clone, Debug, Default)]
pub(super) struct Changed {
    pub edits: Vec<Edit>,
    pub treated: Vec<Treated>,
    pub replaced: BTreeSet<PartId>,
}

impl Changed {
    fn add(&mut self, edit: Edit, how: Treatment, note: &str, findings: &[usize]) {
        if let Edit::ReplacePart { part, .. }
        | Edit::RenamePart { part, .. }
        | Edit::CleanPart { part, .. }
        | Edit::DefangPart { part, .. } = edit
        {
            self.treated.push(Treated { part, how, note: note.to_owned(), findings: findings.to_vec() });
        }
        if let Edit::ReplacePart { part, .. } = edit {
            self.replaced.insert(part);
        }
        self.edits.push(edit);
    }

    /// Whether the part, or what it lies in, is replaced.
    fn replaces(&self, message: &Message, part: PartId) -> bool {
        let mut at = Some(part);
        while let Some(id) = at {
            if self.replaced.contains(&id) {
                return true;
            }
            // Parents stand before their children; whatever claims otherwise would make a circle.
            at = message.parts.get(id.0).and_then(|part| part.parent).filter(|parent| *parent < id);
        }
        false
    }
}

impl Judge<'_> {
    /// What is done to the parts and the text of a mail that is delivered. None if something in it should be taken out
    /// that stands in no part.
    pub(super) fn content_edits(&self, decision: &Decision) -> Option<Changed> {
        let message = &self.case.mail.message;
        let mut changed = self.part_edits(decision)?;
        self.defang(&mut changed);
        let wrapped = self.assessment.categories.iter().rev().copied();
        let wraps = wrapped.into_iter().find(|category| self.policy.action(*category) == Action::Wrap);
        if let Some(category) = wraps {
            let text = self.about_mail(&self.policy.parts.wrap_text, category, decision);
            changed.edits.push(Edit::Wrap { text });
        }
        if wraps.is_some() || takes_text(message) {
            changed.edits.extend(self.texts(decision));
        }
        Some(changed)
    }

    /// What is done with each MIME part in which something was found.
    fn part_edits(&self, decision: &Decision) -> Option<Changed> {
        let message = &self.case.mail.message;
        let mut asked: BTreeMap<PartId, Vec<(PartAction, usize)>> = BTreeMap::new();
        for weighed in &self.assessment.weighed {
            let finding = &self.case.findings[weighed.finding];
            let Some(action) = self.part_action(decision, finding, weighed.category) else { continue };
            match finding.scope {
                Scope::Part(part) => {
                    asked.entry(message.replaceable(part)?).or_default().push((action, weighed.finding));
                }
                _ if weighed.category.is_some() => return None,
                // A symbol of the mail as a whole cannot ask for anything about parts.
                _ => {}
            }
        }
        let mut changed = Changed::default();
        // Parents stand before what lies in them.
        for (part, asked) in asked {
            if !changed.replaces(message, part) {
                self.treat(&mut changed, part, &asked);
            }
        }
        Some(changed)
    }

    fn part_action(
        &self,
        decision: &Decision,
        finding: &Finding,
        category: Option<Category>,
    ) -> Option<PartAction> {
        let rules = &self.policy.parts;
        match category {
            None => rules.of_symbol(&finding.symbol),
            Some(category) => {
                let strips =
                    decision.action == Action::Strip && self.policy.action(category) == Action::Strip;
                strips.then(|| rules.of(&finding.symbol, category))
            }
        }
    }

    /// Replaces a part, or cleans and renames it, as the findings in it ask.
    fn treat(&self, changed: &mut Changed, part: PartId, asked: &[(PartAction, usize)]) {
        let message = &self.case.mail.message;
        let name = message.parts[part.0].name();
        let findings: Vec<usize> = asked.iter().map(|(_, finding)| *finding).collect();
        let of = |wanted: PartAction| -> Vec<usize> {
            asked.iter().filter(|(action, _)| *action == wanted).map(|(_, finding)| *finding).collect()
        };
        let text = || {
            self.policy.strip_text.fill(|field| match field {
                Field::Name => name.unwrap_or("without a name").to_owned(),
                Field::Reason => evidences(findings.iter().map(|place| &self.case.findings[*place])),
                other => self.field(other, ""),
            })
        };
        let (renamed, cleaned) = (of(PartAction::Rename), of(PartAction::Clean));
        let cannot = (!renamed.is_empty() && !message.can_rename(part))
            || (!cleaned.is_empty() && !message.can_rewrite(part));
        if cannot || asked.iter().any(|(action, _)| *action == PartAction::Replace) {
            let note = if cannot { "it has no place of its own" } else { "" };
            return changed.add(
                Edit::ReplacePart { part, text: text() },
                Treatment::Replaced,
                note,
                &findings,
            );
        }
        if !cleaned.is_empty() {
            changed.add(Edit::CleanPart { part, text: text() }, Treatment::Cleaned, "", &cleaned);
        }
        if !renamed.is_empty() {
            let renaming = renamed.iter().map(|place| &self.case.findings[*place]);
            let asked = renaming
                .filter(|finding| attachments::is_rename(&finding.symbol))
                .find_map(|finding| attachments::new_name(&finding.evidence));
            let by_pattern = || {
                self.policy.parts.rename_to.fill(|field| match field {
                    Field::Name => name.unwrap_or("attachment").to_owned(),
                    other => self.field(other, ""),
                })
            };
            let name = asked.map_or_else(by_pattern, str::to_owned);
            let how = Treatment::Renamed(name.clone());
            changed.add(Edit::RenamePart { part, name }, how, "", &renamed);
        }
    }

    /// Whether there is anything to be taken out of it is seen later.
    fn defang(&self, changed: &mut Changed) {
        let message = &self.case.mail.message;
        let what = self.policy.parts.defang(&self.assessment.categories);
        if what.is_empty() {
            return;
        }
        for (id, part) in message.parts() {
            let is_html = matches!(part.declared.as_str(), "text/html" | "application/xhtml+xml")
                || part.detected.kind == FileKind::Html;
            if is_html && message.can_rewrite(id) && !changed.replaces(message, id) {
                let edit = Edit::DefangPart { part: id, what: what.clone() };
                changed.add(edit, Treatment::Defanged(what.clone()), "", &[]);
            }
        }
    }

    /// Warnings at the top, a disclaimer at the bottom.
    fn texts(&self, decision: &Decision) -> Vec<Edit> {
        let rules = &self.policy.parts;
        let warnings = rules.warnings(&self.assessment.categories);
        let warnings = warnings.map(|(category, warning)| {
            self.about_mail(warning, category, decision).trim_matches('\n').to_owned() + "\n"
        });
        let warnings: Vec<String> = warnings.collect();
        let mut edits = Vec::new();
        if !warnings.is_empty() {
            let text = warnings.join("\n");
            edits.push(Edit::AddText { text, html: String::new(), place: Place::Top });
        }
        let disclaimer = rules.disclaimer.as_ref();
        if let Some(footer) = disclaimer.filter(|footer| !footer.is_in(&self.case.mail.message)) {
            let (text, html) = (footer.text.clone(), footer.html.clone());
            edits.push(Edit::AddText { text, html, place: Place::Bottom });
        }
        edits
    }

    /// A text about the mail, which is in this category.
    fn about_mail(&self, text: &Notice, category: Category, decision: &Decision) -> String {
        let cause = if category == decision.category { decision.cause } else { DecidedBy::Category };
        let reason = self.reason(&Decision { category, cause, ..*decision });
        text.fill(|field| match field {
            Field::Category => category.name().to_owned(),
            other => self.field(other, &reason),
        })
    }
}

#[cfg(test)]
mod tests;
