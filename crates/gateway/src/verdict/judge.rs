//! From findings and faults to verdicts.
//!
//! Each category that a mail is in asks for the action its policy has for it. Of those that do not deliver, the worst
//! category decides; where all deliver, stripping goes before marking and marking before plain delivery, and among
//! equals the worst category decides. So spam is refused although its header is malformed, too, and malformed headers
//! are delivered: a harmless finding never opens the door to a harmful one.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use gatepost_mail::{
    Action, Category, Edit, Fault, Finding, Mail, OnFault, PartId, Points, Reply, Scope, Verdict, Weighed,
};

use super::policy::{Policies, Policy, PolicyId};
use super::rewrite::{self, Facts};
use super::template::{self, Field};
use crate::config::typed::HeaderNames;

/// Longest reason, in characters.
const MAX_REASON: usize = 300;

/// One mail to be judged, with all that is known about it.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The record's id.
    pub id: &'a str,
    /// Our host name.
    pub hostname: &'a str,
    /// The mail.
    pub mail: &'a Mail,
    /// All that was found.
    pub findings: &'a [Finding],
    /// Checks that could not look.
    pub faults: &'a [Fault],
    /// The sender is gone: refusing would make our own mail server send a bounce, so what would be refused is held.
    pub after_queue: bool,
}

/// The verdicts: one for each group of recipients that share a policy and its result, in the order of their first
/// recipients; one without recipients where the envelope has none.
pub fn judge(case: &Case, policies: &Policies, headers: &HeaderNames) -> Vec<Verdict> {
    groups(case, policies)
        .into_iter()
        .map(|group| {
            let policy = policies.policy(group.policy);
            let assessment = Assessment::new(case, policy, &group);
            Judge { case, policy, assessment, headers }.verdict(group.recipients)
        })
        .collect()
}

/// Recipients with the same policy and the same findings.
struct Group {
    policy: PolicyId,
    recipients: Vec<usize>,
    /// Findings that speak of these recipients alone.
    own: Vec<usize>,
}

fn groups(case: &Case, policies: &Policies) -> Vec<Group> {
    let Mail { session, envelope, .. } = case.mail;
    let sender = envelope.sender.as_ref();
    if envelope.recipients.is_empty() {
        let policy = policies.without_recipient(session, sender);
        return vec![Group { policy, recipients: Vec::new(), own: Vec::new() }];
    }
    let mut own = vec![Vec::new(); envelope.recipients.len()];
    for (place, finding) in case.findings.iter().enumerate() {
        if let Scope::Recipient(recipient) = finding.scope
            && let Some(own) = own.get_mut(recipient)
        {
            own.push(place);
        }
    }
    let mut groups: Vec<Group> = Vec::new();
    let mut places: BTreeMap<(PolicyId, Vec<usize>), usize> = BTreeMap::new();
    for (recipient, own) in own.into_iter().enumerate() {
        let policy = policies.find(session, sender, &envelope.recipients[recipient].address);
        let place = *places.entry((policy, own.clone())).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Group { policy, recipients: Vec::new(), own });
        }
        groups[place].recipients.push(recipient);
    }
    groups
}

/// What findings and size amount to under a policy.
struct Assessment {
    weighed: Vec<Weighed>,
    score: Points,
    /// Every category the mail is in, never empty.
    categories: BTreeSet<Category>,
}

impl Assessment {
    /// A symbol counts its points once, however often it was found: 500 parts with one quirk are one quirk.
    fn new(case: &Case, policy: &Policy, group: &Group) -> Assessment {
        let mut weighed = Vec::new();
        let mut counted = HashSet::new();
        for (place, finding) in case.findings.iter().enumerate() {
            if matches!(finding.scope, Scope::Recipient(_)) && group.own.binary_search(&place).is_err() {
                continue;
            }
            let worth = policy.worth(&finding.symbol);
            let first = counted.insert(finding.symbol.as_ref());
            let points = if first { worth.points } else { Points::ZERO };
            weighed.push(Weighed { finding: place, points, category: worth.category });
        }
        let score = weighed.iter().map(|weighed| weighed.points).sum();
        let mut categories: BTreeSet<_> = weighed.iter().filter_map(|weighed| weighed.category).collect();
        if score >= policy.spam_at {
            categories.insert(Category::Spam);
        } else if score >= policy.spammy_at {
            categories.insert(Category::Spammy);
        }
        if policy.max_size.is_some_and(|most| case.mail.message.raw.len() as u64 > most) {
            categories.insert(Category::Oversized);
        }
        if categories.is_empty() {
            categories.insert(Category::Clean);
        }
        Assessment { weighed, score, categories }
    }
}

/// What decides.
struct Decision {
    category: Category,
    action: Action,
    cause: DecidedBy,
}

enum DecidedBy {
    /// What the policy says about the category.
    Category,
    /// Checks that could not look, with this answer.
    Faults(OnFault),
    /// The policy says strip, but what was found does not stand in a part.
    NothingToStrip,
}

struct Judge<'a> {
    case: &'a Case<'a>,
    policy: &'a Policy,
    assessment: Assessment,
    headers: &'a HeaderNames,
}

impl Judge<'_> {
    fn verdict(self, recipients: Vec<usize>) -> Verdict {
        let mut decision = self.decide();
        self.heed_faults(&mut decision);
        let mut edits = self.edits(&mut decision);
        if self.case.after_queue && decision.action == Action::Refuse {
            decision.action = Action::Quarantine;
        }
        if !decision.action.delivers() {
            edits.clear();
        }
        let reason = self.reason(&decision);
        let extension = self.marked(&self.policy.extensions).next().filter(|_| decision.action.delivers());
        Verdict {
            recipients,
            policy: self.policy.name.clone(),
            category: decision.category,
            score: self.assessment.score,
            action: decision.action,
            keep: self.keep(decision.action),
            edits,
            extension: extension.map(str::to_owned),
            reply: self.reply(&decision, &reason),
            reason,
            weighed: self.assessment.weighed,
        }
    }

    fn decide(&self) -> Decision {
        let worst_first = self.assessment.categories.iter().rev().copied();
        let mut asked = worst_first.map(|category| (category, self.policy.action(category)));
        let blocking = asked.clone().find(|(_, action)| !action.delivers());
        let (category, action) = blocking
            .or_else(|| asked.by_ref().reduce(|best, other| if other.1 > best.1 { other } else { best }))
            .unwrap_or((Category::Clean, Action::Deliver));
        Decision { category, action, cause: DecidedBy::Category }
    }

    /// What could not be checked is not delivered as if it had been, unless the check's configuration says so. A mail
    /// that is not delivered anyway needs no further answer: a virus is refused although another scanner is away.
    fn heed_faults(&self, decision: &mut Decision) {
        let strictest = self.case.faults.iter().map(|fault| fault.answer).max().unwrap_or(OnFault::Accept);
        if !decision.action.delivers() || strictest == OnFault::Accept {
            return;
        }
        *decision = Decision {
            category: decision.category.max(Category::Unchecked),
            action: if strictest == OnFault::Defer { Action::Defer } else { Action::Quarantine },
            cause: DecidedBy::Faults(strictest),
        };
    }

    /// Changes for delivery. Where stripping turns out impossible, the decision becomes quarantine.
    fn edits(&self, decision: &mut Decision) -> Vec<Edit> {
        if !decision.action.delivers() {
            return Vec::new();
        }
        let mut edits = self.header_edits();
        if decision.action == Action::Strip {
            match self.replacements() {
                Some(replacements) => edits.extend(replacements),
                None => {
                    decision.action = Action::Quarantine;
                    decision.cause = DecidedBy::NothingToStrip;
                }
            }
        }
        edits
    }

    fn header_edits(&self) -> Vec<Edit> {
        let tests = self.assessment.weighed.iter().filter(|weighed| weighed.points != Points::ZERO);
        let facts = Facts {
            id: self.case.id,
            hostname: self.case.hostname,
            score: self.assessment.score,
            spammy: [Category::Spammy, Category::Spam].iter().any(|c| self.assessment.categories.contains(c)),
            headers_from: self.policy.headers_from,
            spammy_at: self.policy.spammy_at,
            spam_at: self.policy.spam_at,
            tests: tests.map(|w| (self.case.findings[w.finding].symbol.as_ref(), w.points)).collect(),
            tags: self.marked(&self.policy.subject_tags).collect(),
        };
        rewrite::header_edits(&self.case.mail.message, self.headers, &facts)
    }

    /// Entries of a table for the mail's categories that are marked, worst first.
    fn marked<'t>(&self, table: &'t BTreeMap<Category, String>) -> impl Iterator<Item = &'t str> {
        let worst_first = self.assessment.categories.iter().rev();
        worst_first
            .filter(|category| self.policy.action(**category) == Action::Mark)
            .filter_map(|category| table.get(category).map(String::as_str))
    }

    /// A text for each MIME part with something to be stripped; None if something was found that is in no part.
    fn replacements(&self) -> Option<Vec<Edit>> {
        let message = &self.case.mail.message;
        let mut by_entity: BTreeMap<PartId, Vec<&Finding>> = BTreeMap::new();
        for weighed in &self.assessment.weighed {
            if weighed.category.is_none_or(|category| self.policy.action(category) != Action::Strip) {
                continue;
            }
            let finding = &self.case.findings[weighed.finding];
            let Scope::Part(part) = finding.scope else { return None };
            by_entity.entry(message.replaceable(part)?).or_default().push(finding);
        }
        let replacements = by_entity.into_iter().map(|(part, findings)| Edit::ReplacePart {
            part,
            text: self.policy.strip_text.fill(|field| match field {
                Field::Name => message.parts[part.0].name().unwrap_or("without a name").to_owned(),
                Field::Reason => evidences(findings.iter().copied()),
                other => self.field(other, ""),
            }),
        });
        Some(replacements.collect())
    }

    /// Whether a copy is kept. Not of deferred mail: the sender holds it, and each new try would leave another copy.
    fn keep(&self, action: Action) -> bool {
        let kept = self.assessment.categories.iter().any(|category| self.policy.keeps(*category));
        action == Action::Strip || (kept && action != Action::Defer)
    }

    fn reply(&self, decision: &Decision, reason: &str) -> Reply {
        let id = self.case.id;
        match (decision.action, &decision.cause) {
            (Action::Defer, DecidedBy::Faults(_)) => {
                Reply::new(451, "4.7.1", format!("Message could not be checked, try again later (id {id})"))
            }
            (Action::Defer | Action::Refuse, _) => match self.policy.reply(decision.category) {
                Some(template) => template.fill(|field| match field {
                    Field::Category => decision.category.name().to_owned(),
                    other => self.field(other, reason),
                }),
                // Not reached: a policy has a reply for each category that it refuses or defers.
                None => Reply::new(451, "4.7.1", format!("Message not taken now, try again later (id {id})")),
            },
            (Action::Quarantine | Action::Discard, _) => {
                Reply::new(250, "2.0.0", format!("Ok: taken, id {id}"))
            }
            (Action::Deliver | Action::Mark | Action::Strip, _) => {
                Reply::new(250, "2.0.0", format!("Ok, id {id}"))
            }
        }
    }

    fn field(&self, field: Field, reason: &str) -> String {
        match field {
            Field::Id => self.case.id.to_owned(),
            Field::Hostname => self.case.hostname.to_owned(),
            Field::Reason => reason.to_owned(),
            Field::Score => self.assessment.score.to_string(),
            Field::Policy => self.policy.name.to_string(),
            Field::Category | Field::Name => String::new(),
        }
    }

    fn reason(&self, decision: &Decision) -> String {
        let found = self.found(decision.category);
        let reason = match (&decision.cause, decision.category) {
            (DecidedBy::Faults(answer), _) => self.fault_reason(*answer),
            (DecidedBy::NothingToStrip, _) => {
                format!("{}; not in a part that could be stripped", evidences(found))
            }
            (_, Category::Clean) => String::new(),
            (_, Category::Spam | Category::Spammy) => self.counted(decision.category),
            (_, Category::Oversized) if found.clone().next().is_none() => {
                let size = self.case.mail.message.raw.len();
                let most = self.policy.max_size.unwrap_or_default();
                format!("{size} bytes, at most {most} are taken")
            }
            (_, Category::Virus | Category::Banned) => evidences(found),
            (_, Category::BadHeader | Category::Oversized | Category::Unchecked) => {
                joined(found.map(|finding| match finding.evidence.as_str() {
                    "" => finding.symbol.to_string(),
                    evidence => format!("{}: {evidence}", finding.symbol),
                }))
            }
        };
        template::plain(&reason, MAX_REASON)
    }

    /// Findings that put the mail into a category.
    fn found(&self, category: Category) -> impl Iterator<Item = &Finding> + Clone {
        let weighed = self.assessment.weighed.iter().filter(move |w| w.category == Some(category));
        weighed.map(|weighed| &self.case.findings[weighed.finding])
    }

    /// `clamd:main: timeout`. Details stay in the record.
    fn fault_reason(&self, answer: OnFault) -> String {
        let decisive = self.case.faults.iter().filter(|fault| fault.answer == answer);
        joined(decisive.map(|fault| format!("{}: {}", fault.check, fault.cause)))
    }

    /// Symbols that make it spam, and those that count: `GTUBE, DNSBL_ZEN=3.0`.
    fn counted(&self, category: Category) -> String {
        let counting = self.assessment.weighed.iter().filter_map(|weighed| {
            let symbol = &self.case.findings[weighed.finding].symbol;
            match weighed.points {
                Points::ZERO => (weighed.category == Some(category)).then(|| symbol.to_string()),
                points => Some(format!("{symbol}={points}")),
            }
        });
        joined(counting)
    }
}

/// The evidence of findings, or their symbols where there is none.
fn evidences<'a>(findings: impl Iterator<Item = &'a Finding>) -> String {
    joined(findings.map(|finding| match finding.evidence.as_str() {
        "" => finding.symbol.to_string(),
        evidence => evidence.to_owned(),
    }))
}

/// Each different text once, parted by commas, up to the length of a reason.
fn joined(texts: impl Iterator<Item = String>) -> String {
    let mut seen = HashSet::new();
    let mut all = String::new();
    for text in texts {
        if all.len() > MAX_REASON * 4 {
            break;
        }
        if seen.insert(text.clone()) {
            if !all.is_empty() {
                all.push_str(", ");
            }
            all.push_str(&text);
        }
    }
    all
}
