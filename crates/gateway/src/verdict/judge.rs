//! From findings and faults to verdicts.
//!
//! Each category that a mail is in asks for the action its policy has for it. Of those that do not deliver, the worst
//! category decides; where all deliver, stripping goes before wrapping, wrapping before marking and marking before plain
//! delivery, and among equals the worst category decides. So spam is refused although its header is malformed, too, and malformed headers
//! are delivered: a harmless finding never opens the door to a harmful one.

mod parts;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use gatepost_mail::{
    Action, Bounce, Category, Edit, Fault, Finding, Mail, OnFault, Points, Reply, Scope, Verdict, Weighed,
};
use parts::Changed;

use super::bounce;
use super::opinion;
use super::policy::{Policies, Policy, PolicyId};
use super::rewrite::{self, Facts, Test};
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
    /// The sender is gone: refusing would make our own mail server send a bounce, so what would be refused is held
    /// (unless the listener says otherwise), and what is bounced is for us to tell.
    pub after_queue: bool,
    /// Whoever asks does with the mail what it likes, so what is not to be delivered is marked as well.
    pub advice: bool,
    /// Header fields that checks want to have on top of what is delivered.
    pub fields: &'a [(String, String)],
    /// What rules put before the subject, by their names, in the order in which they hit.
    pub prefixes: &'a [(String, String)],
    /// Names under which nobody outside may tell results of sender authentication; `*`: nobody at all.
    pub authserv_ids: &'a [String],
}

/// The verdicts: one for each group of recipients that share a policy and its result, in the order of their first
/// recipients; one without recipients where the envelope has none. A group that is bounced gives two, where some of its
/// recipients do not want to be told of.
pub fn judge(case: &Case, policies: &Policies, headers: &HeaderNames) -> Vec<Verdict> {
    groups(case, policies)
        .into_iter()
        .flat_map(|group| {
            let policy = policies.policy(group.policy);
            let assessment = Assessment::new(case, policy, &group);
            Judge { case, policies, policy, assessment, headers }.verdicts(group.recipients)
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
    /// A symbol counts its points once, however often it was found: 500 parts with one quirk are one quirk. Where a finding
    /// brings points of its own along, they are those of the symbol, whoever else found it: a rule named as what a check
    /// finds counts as the rule says.
    fn new(case: &Case, policy: &Policy, group: &Group) -> Assessment {
        let mut weighed = Vec::new();
        let mut counted = HashSet::new();
        let mut brought: HashMap<&str, Points> = HashMap::new();
        for finding in case.findings {
            if let Some(points) = finding.points {
                brought.entry(&finding.symbol).or_insert(points);
            }
        }
        for (place, finding) in case.findings.iter().enumerate() {
            if matches!(finding.scope, Scope::Recipient(_)) && group.own.binary_search(&place).is_err() {
                continue;
            }
            if policy.ignores(&finding.symbol) {
                continue;
            }
            let worth = policy.worth(&finding.symbol, brought.get(finding.symbol.as_ref()).copied());
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
#[derive(Clone, Copy)]
struct Decision {
    category: Category,
    action: Action,
    cause: DecidedBy,
}

#[derive(Clone, Copy)]
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
    policies: &'a Policies,
    policy: &'a Policy,
    assessment: Assessment,
    headers: &'a HeaderNames,
}

impl Judge<'_> {
    fn verdicts(&self, recipients: Vec<usize>) -> Vec<Verdict> {
        let mut decision = self.decide();
        self.heed_faults(&mut decision);
        let mut changed = self.edits(&mut decision);
        match (decision.action, self.case.after_queue) {
            (Action::Refuse, true)
                if !self.policies.refuses_after_queue(&self.case.mail.session.listener) =>
            {
                decision.action = Action::Quarantine;
            }
            // The sender's server makes the bounce, and knows best to whom.
            (Action::Bounce, false) => decision.action = Action::Refuse,
            (Action::Bounce, true) => return self.bounced(decision, recipients, changed),
            _ => {}
        }
        if !decision.action.delivers() && !self.case.advice {
            changed = Changed::default();
        }
        vec![self.verdict(&decision, recipients, changed)]
    }

    /// After the queue it is we who tell the sender, if that can be done safely. Where not, the message is held. Edits
    /// are for whoever only asks for advice.
    fn bounced(&self, decision: Decision, recipients: Vec<usize>, changed: Changed) -> Vec<Verdict> {
        let Case { mail, findings, .. } = self.case;
        let (categories, domains) = (&self.assessment.categories, &self.policies.domains);
        let wanted = |&place: &usize| mail.envelope.recipients.get(place).is_some_and(bounce::is_wanted);
        let (told, untold): (Vec<usize>, Vec<usize>);
        let why = match bounce::unsafe_because(mail, findings, categories, domains) {
            Some(why) => {
                (told, untold) = (Vec::new(), recipients);
                why
            }
            None => {
                (told, untold) = recipients.into_iter().partition(wanted);
                "it was asked for none (NOTIFY)"
            }
        };
        let mut verdicts = Vec::new();
        if !untold.is_empty() || told.is_empty() {
            let held = Decision { action: Action::Quarantine, ..decision };
            let mut verdict = self.verdict(&held, untold, changed.clone());
            verdict.reason = template::plain(&format!("{}; not bounced: {why}", verdict.reason), MAX_REASON);
            verdict.bounce = Bounce::Unsafe(why);
            verdicts.push(verdict);
        }
        if !told.is_empty() {
            let mut verdict = self.verdict(&decision, told, changed);
            verdict.bounce = self.told(&decision, &verdict);
            verdicts.push(verdict);
        }
        verdicts.sort_by_key(|verdict| verdict.recipients.first().copied());
        verdicts
    }

    fn told(&self, decision: &Decision, verdict: &Verdict) -> Bounce {
        let refused = Decision { action: Action::Refuse, ..*decision };
        let refusal = self.reply(&refused, &verdict.reason);
        let envelope = &self.case.mail.envelope;
        let text = self.policy.bounce_text.fill(|field| match field {
            Field::Category => decision.category.name().to_owned(),
            Field::Recipients => {
                joined(verdict.recipients.iter().map(|&place| envelope.recipients[place].address.to_string()))
            }
            other => self.field(other, &verdict.reason),
        });
        Bounce::Tell { refusal, text }
    }

    fn verdict(&self, decision: &Decision, recipients: Vec<usize>, changed: Changed) -> Verdict {
        let reason = self.reason(decision);
        let extension = self.marked(&self.policy.extensions).next().filter(|_| decision.action.delivers());
        Verdict {
            recipients,
            policy: self.policy.name.clone(),
            category: decision.category,
            score: self.assessment.score,
            action: decision.action,
            keep: self.keep(decision.action),
            edits: changed.edits,
            treated: changed.treated,
            extension: extension.map(str::to_owned),
            reply: self.reply(decision, &reason),
            reason,
            weighed: self.assessment.weighed.clone(),
            bounce: Bounce::None,
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
    fn edits(&self, decision: &mut Decision) -> Changed {
        if !decision.action.delivers() && !self.case.advice {
            return Changed::default();
        }
        let mut edits = self.header_edits(decision);
        if !decision.action.delivers() {
            return Changed { edits, ..Changed::default() };
        }
        match self.content_edits(decision) {
            Some(mut content) => {
                edits.append(&mut content.edits);
                Changed { edits, ..content }
            }
            None => {
                decision.action = Action::Quarantine;
                decision.cause = DecidedBy::NothingToStrip;
                Changed { edits, ..Changed::default() }
            }
        }
    }

    fn header_edits(&self, decision: &Decision) -> Vec<Edit> {
        let advice = self.case.advice;
        let is_told =
            |weighed: &&Weighed| weighed.points != Points::ZERO || (advice && weighed.category.is_some());
        let tests = self.assessment.weighed.iter().filter(is_told);
        let facts = Facts {
            id: self.case.id,
            hostname: self.case.hostname,
            score: self.assessment.score,
            spammy: [Category::Spammy, Category::Spam].iter().any(|c| self.assessment.categories.contains(c))
                || (advice && opinion::is_bad(decision.category, decision.action)),
            headers_from: self.policy.headers_from,
            spammy_at: self.policy.spammy_at,
            spam_at: self.policy.spam_at,
            tests: tests.map(|weighed| self.test(weighed)).collect(),
            tags: self.marked(&self.policy.subject_tags).chain(self.prefixes()).collect(),
            fields: self.case.fields,
            authserv_ids: self.case.authserv_ids,
        };
        rewrite::header_edits(&self.case.mail.message, self.headers, &facts)
    }

    fn test(&self, weighed: &Weighed) -> Test<'_> {
        let finding = &self.case.findings[weighed.finding];
        let meaning = finding.meaning.as_deref().unwrap_or(&finding.evidence);
        Test { symbol: &finding.symbol, points: weighed.points, meaning }
    }

    /// Entries of a table for the mail's categories that are marked, worst first.
    fn marked<'t>(&self, table: &'t BTreeMap<Category, String>) -> impl Iterator<Item = &'t str> {
        let worst_first = self.assessment.categories.iter().rev();
        worst_first
            .filter(|category| matches!(self.policy.action(**category), Action::Mark | Action::Wrap))
            .filter_map(|category| table.get(category).map(String::as_str))
    }

    /// What rules put before the subject, each text once, of those rules that the policy does not turn off.
    fn prefixes(&self) -> Vec<&str> {
        let mut prefixes: Vec<&str> = Vec::new();
        let wanted =
            |(rule, _): &&(String, String)| self.policy.subject_prefixes && !self.policy.turns_off(rule);
        for (_, text) in self.case.prefixes.iter().filter(wanted) {
            if !prefixes.iter().any(|other| other.contains(text.as_str())) {
                prefixes.push(text);
            }
        }
        prefixes
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
            (Action::Quarantine | Action::Discard | Action::Bounce, _) => {
                Reply::new(250, "2.0.0", format!("Ok: taken, id {id}"))
            }
            (Action::Deliver | Action::Mark | Action::Wrap | Action::Strip, _) => {
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
            Field::Category | Field::Name | Field::Recipients => String::new(),
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
            (_, Category::Virus | Category::Banned | Category::Unauthenticated) => evidences(found),
            (_, Category::Restricted | Category::BadHeader | Category::Oversized | Category::Unchecked) => {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::testing::{ATTACHED, CATALOGUE, PLAIN, case, fault, mail, one, policies};
    use gatepost_mail::{PartId, Place};
    use proptest::prelude::*;

    /// Findings from names in capitals, parted by spaces: `VIRUS@2` stands in part 2, `FIVE>1` is of recipient 1.
    fn findings(names: &str) -> Vec<Finding> {
        let finding = |name: &str| {
            let (symbol, scope) = match (name.split_once('@'), name.split_once('>')) {
                (Some((symbol, part)), _) => (symbol, Scope::Part(PartId(part.parse().unwrap()))),
                (_, Some((symbol, recipient))) => (symbol, Scope::Recipient(recipient.parse().unwrap())),
                _ => (name, Scope::Mail),
            };
            let evidence = if symbol == "VIRUS" { "Eicar-Test".into() } else { String::new() };
            Finding::new(symbol.to_owned(), scope, evidence)
        };
        names.split_whitespace().map(finding).collect()
    }

    fn symbol(category: Category) -> String {
        category.name().to_uppercase().replace('-', "_")
    }

    #[test]
    fn every_action_of_every_category() {
        for category in Category::ALL {
            for action in Action::ALL {
                let config = format!("default_policy.actions.{category} = '{action}'");
                if crate::verdict::testing::build(&config).is_err() {
                    continue;
                }
                let found = findings(&format!("{}@2", symbol(category)));
                let verdict = one(&config, ATTACHED, &found, &[]);
                assert_eq!(verdict.keep, action == Action::Strip, "{config}");
                assert_eq!(verdict.edits.is_empty(), !action.delivers(), "{config}");
                let replaces = verdict.edits.iter().any(|edit| matches!(edit, Edit::ReplacePart { .. }));
                assert_eq!(replaces, action == Action::Strip, "{config}");
                let action = if action == Action::Bounce { Action::Refuse } else { action };
                assert_eq!((verdict.category, verdict.action), (category, action));
                let class = match action {
                    Action::Refuse => 5,
                    Action::Defer => 4,
                    _ => 2,
                };
                assert_eq!(verdict.reply.code / 100, class, "{config}: {}", verdict.reply);
                assert!(verdict.reply.text.contains("l1bnIZN88okd"), "{config}: {}", verdict.reply);
                assert_eq!(verdict.policy.as_ref(), "default");
            }
        }
    }

    #[test]
    fn which_category_decides() {
        let strip = "default_policy.actions = {virus = 'strip', banned = 'strip'}";
        let lax = "default_policy.actions = {virus = 'mark', spam = 'deliver', banned = 'quarantine'}";
        let table = [
            // policy, findings, category, action
            ("", "", Category::Clean, Action::Deliver),
            ("", "NOTHING UNHEARD_OF", Category::Clean, Action::Deliver),
            ("", "FIVE ONE", Category::Clean, Action::Deliver),
            ("", "FIVE ONE HALF", Category::Spammy, Action::Mark),
            ("default_policy.spammy_at = 6", "FIVE ONE", Category::Spammy, Action::Mark),
            ("default_policy.spam_at = 6.5", "FIVE ONE HALF", Category::Spam, Action::Refuse),
            ("", "FIVE ONE HALF MINUS_TWO", Category::Clean, Action::Deliver),
            ("default_policy.max_size = 10", "", Category::Oversized, Action::Refuse),
            ("default_policy.max_size = 100000", "", Category::Clean, Action::Deliver),
            ("", "SPAM BANNED VIRUS SPAMMY", Category::Virus, Action::Refuse),
            ("", "BANNED SPAM", Category::Banned, Action::Refuse),
            // A worse category that delivers does not open the door to a better one that does not.
            ("", "SPAM BAD_HEADER", Category::Spam, Action::Refuse),
            ("", "SPAM UNCHECKED", Category::Spam, Action::Refuse),
            (lax, "VIRUS BANNED SPAM", Category::Banned, Action::Quarantine),
            // All deliver.
            ("", "SPAMMY BAD_HEADER", Category::Spammy, Action::Mark),
            ("", "SPAMMY UNCHECKED BAD_HEADER", Category::Unchecked, Action::Mark),
            (lax, "VIRUS SPAM", Category::Virus, Action::Mark),
            (strip, "BANNED@2 UNCHECKED", Category::Banned, Action::Strip),
            (strip, "BANNED@2 VIRUS@2", Category::Virus, Action::Strip),
            (strip, "BANNED@2 SPAM", Category::Spam, Action::Refuse),
            // Nothing to strip.
            (strip, "BANNED@2 VIRUS", Category::Virus, Action::Quarantine),
            (strip, "VIRUS@99", Category::Virus, Action::Quarantine),
            // Turned off, or weighed.
            ("default_policy.weights.VIRUS = 0", "VIRUS", Category::Clean, Action::Deliver),
            ("default_policy.weights.VIRUS = 10", "VIRUS", Category::Spam, Action::Refuse),
            ("default_policy.categories.UNCHECKED = 'banned'", "UNCHECKED", Category::Banned, Action::Refuse),
        ];
        for (config, names, category, action) in table {
            let verdict = one(config, ATTACHED, &findings(names), &[]);
            assert_eq!((verdict.category, verdict.action), (category, action), "{config}, {names}");
        }
    }

    #[test]
    fn faults_are_never_taken_for_clean() {
        use {Action::*, OnFault::Accept};
        let (quarantine, defer) = (OnFault::Quarantine, OnFault::Defer);
        let hold = "default_policy.actions.spam = 'quarantine'";
        let strip = "default_policy.actions.virus = 'strip'";
        let table: &[(&str, &str, &[OnFault], Category, Action)] = &[
            ("", "", &[Accept], Category::Clean, Deliver),
            ("", "", &[quarantine], Category::Unchecked, Quarantine),
            ("", "", &[defer], Category::Unchecked, Defer),
            ("", "", &[Accept, defer, quarantine], Category::Unchecked, Defer),
            ("", "", &[quarantine, Accept], Category::Unchecked, Quarantine),
            ("", "SPAMMY", &[defer], Category::Unchecked, Defer),
            ("", "UNCHECKED", &[defer], Category::Unchecked, Defer),
            ("", "VIRUS", &[defer], Category::Virus, Refuse),
            ("", "SPAM", &[quarantine], Category::Spam, Refuse),
            (hold, "SPAM", &[defer], Category::Spam, Quarantine),
            (strip, "VIRUS@2", &[defer], Category::Virus, Defer),
        ];
        for (config, names, answers, category, action) in table {
            let faults: Vec<_> = answers.iter().map(|answer| fault("clamd:main", *answer)).collect();
            let verdict = one(config, ATTACHED, &findings(names), &faults);
            assert_eq!((verdict.category, verdict.action), (*category, *action), "{names} {answers:?}");
        }
        let verdict = one("", PLAIN, &[], &[fault("dnsbl:zen", Accept), fault("clamd:main", defer)]);
        assert_eq!(verdict.reason, "clamd:main: timeout");
        assert_eq!(
            verdict.reply.to_string(),
            "451 4.7.1 Message could not be checked, try again later (id l1bnIZN88okd)"
        );
    }

    /// The verdicts on a mail from one of our users.
    fn after_the_queue(config: &str, names: &str, recipients: &[&str], notify: &[&str]) -> Vec<Verdict> {
        let mut mail = mail(PLAIN, recipients);
        mail.session.user = Some("alice".into());
        mail.session.listener = "smtp".into();
        for (recipient, notify) in mail.envelope.recipients.iter_mut().zip(notify) {
            recipient.parameters = vec![format!("NOTIFY={notify}")];
        }
        let found = findings(names);
        let case = Case { after_queue: true, ..case(&mail, &found, &[]) };
        judge(&case, &policies(config), &HeaderNames::default())
    }

    #[test]
    fn actions_after_the_queue() {
        let bounce = "default_policy.actions = {banned = 'bounce', virus = 'bounce'}\n";
        let refuse = "listener = [{after_queue = true, refuse_after_queue = 'refuse'}]\n";
        let other =
            "listener = [{after_queue = true}, {listen = ['[::1]:1'], refuse_after_queue = 'refuse'}]\n";
        let table = [
            ("", "VIRUS", Action::Quarantine, 250),
            ("", "", Action::Deliver, 250),
            (refuse, "VIRUS", Action::Refuse, 550),
            (refuse, "", Action::Deliver, 250),
            (other, "VIRUS", Action::Quarantine, 250),
            ("default_policy.actions.virus = 'defer'", "VIRUS", Action::Defer, 451),
            ("default_policy.actions.virus = 'discard'", "VIRUS", Action::Discard, 250),
            (bounce, "BANNED", Action::Bounce, 250),
            (bounce, "VIRUS", Action::Quarantine, 250),
            // What decides is not all that counts.
            (bounce, "BANNED SPAM", Action::Quarantine, 250),
        ];
        for (config, names, action, code) in table {
            let verdicts = after_the_queue(config, names, &["user@in.test"], &[]);
            let [verdict] = &verdicts[..] else { panic!("{verdicts:?}") };
            assert_eq!((verdict.action, verdict.reply.code), (action, code), "{config}, {names}");
        }
    }

    #[test]
    fn who_asks_for_advice_gets_the_edits_of_a_bounce() {
        let policies = policies("default_policy.actions = {banned = 'bounce', virus = 'bounce'}");
        let forged = format!("X-Spam-Flag: NO\r\n{PLAIN}");
        for (symbols, user, action) in
            [("BANNED", Some("alice"), Action::Bounce), ("VIRUS", None, Action::Quarantine)]
        {
            let mut mail = mail(&forged, &["user@in.test"]);
            mail.session.user = user.map(str::to_owned);
            let findings = findings(symbols);
            for advice in [true, false] {
                let case = Case { after_queue: true, advice, ..case(&mail, &findings, &[]) };
                let verdicts = judge(&case, &policies, &HeaderNames::default());
                assert_eq!(verdicts[0].action, action);
                let edits = &verdicts[0].edits;
                let removed = edits.iter().any(|edit| {
                    matches!(edit, Edit::RemoveHeader { name, .. } | Edit::ChangeHeader { name, .. }
                        if name.eq_ignore_ascii_case("X-Spam-Flag"))
                });
                let added = edits.iter().any(|edit| matches!(edit, Edit::AddHeader { .. }));
                assert_eq!((removed, added), (advice, advice), "{symbols}: {edits:?}");
            }
        }
    }

    #[test]
    fn before_the_queue_a_bounce_is_a_refusal() {
        let verdict = one("default_policy.actions.banned = 'bounce'", PLAIN, &findings("BANNED"), &[]);
        assert_eq!(verdict.action, Action::Refuse);
        assert_eq!(verdict.reply.to_string(), "550 5.7.1 Attachment not accepted: BANNED (id l1bnIZN88okd)");
        assert_eq!(verdict.bounce, Bounce::None);
    }

    #[test]
    fn senders_are_told_where_that_is_safe() {
        let config = "[default_policy]
            actions = {banned = 'bounce', virus = 'bounce'}
            bounce_text = '{id} {category} {hostname} {reason}: {recipients}'
        ";
        let recipients = ["a@in.test", "b@in.test", "c@in.test"];
        let verdicts = after_the_queue(config, "BANNED", &recipients, &["FAILURE", "NEVER", "FAILURE,DELAY"]);
        let places: Vec<_> = verdicts.iter().map(|v| (v.recipients.as_slice(), v.action)).collect();
        assert_eq!(places, [(&[0, 2][..], Action::Bounce), (&[1][..], Action::Quarantine)]);
        assert_eq!(
            verdicts[0].bounce,
            Bounce::Tell {
                refusal: Reply::new(550, "5.7.1", "Attachment not accepted: BANNED (id l1bnIZN88okd)"),
                text: "l1bnIZN88okd banned mx.test BANNED: a@in.test, c@in.test".into(),
            }
        );
        assert_eq!(verdicts[0].reply.to_string(), "250 2.0.0 Ok: taken, id l1bnIZN88okd");
        assert_eq!(verdicts[1].bounce, Bounce::Unsafe("it was asked for none (NOTIFY)"));
        assert_eq!(verdicts[1].reason, "BANNED; not bounced: it was asked for none (NOTIFY)");

        let verdicts = after_the_queue(config, "VIRUS", &recipients, &[]);
        assert_eq!(verdicts.len(), 1);
        assert_eq!(verdicts[0].recipients, [0, 1, 2]);
        assert_eq!(verdicts[0].bounce, Bounce::Unsafe("viruses and spam come with forged senders"));
        // A file judged by itself has no recipients.
        assert_eq!(after_the_queue(config, "BANNED", &[], &[])[0].action, Action::Quarantine);
    }

    #[test]
    fn replies_and_reasons() {
        let id = "l1bnIZN88okd";
        let table = [
            (
                "",
                "VIRUS VIRUS",
                "Eicar-Test",
                format!("550 5.7.1 Virus detected by gatepost: Eicar-Test (id {id})"),
            ),
            ("", "BANNED", "BANNED", format!("550 5.7.1 Attachment not accepted: BANNED (id {id})")),
            (
                "default_policy.spam_at = 7",
                "FIVE ONE ONE NOTHING HALF HALF FIVE",
                "FIVE=5.0, ONE=1.0, HALF=0.5",
                format!("250 2.0.0 Ok, id {id}"),
            ),
            (
                "",
                "SPAM ONE",
                "SPAM, ONE=1.0",
                format!("550 5.7.1 Message looks like spam and is not accepted (id {id})"),
            ),
            (
                "default_policy.max_size = 10",
                "",
                "41 bytes, at most 10 are taken",
                format!("552 5.3.4 Message too large: 41 bytes, at most 10 are taken (id {id})"),
            ),
            ("", "UNCHECKED", "UNCHECKED", format!("250 2.0.0 Ok, id {id}")),
            ("", "", "", format!("250 2.0.0 Ok, id {id}")),
            (
                "default_policy.actions.bad-header = 'refuse'",
                "BAD_HEADER",
                "BAD_HEADER",
                format!("550 5.6.0 Malformed message not accepted: BAD_HEADER (id {id})"),
            ),
            (
                "default_policy.actions.unchecked = 'defer'",
                "UNCHECKED",
                "UNCHECKED",
                format!("451 4.7.1 Message not taken now, try again later (id {id})"),
            ),
            (
                "default_policy.actions.virus = 'quarantine'",
                "VIRUS",
                "Eicar-Test",
                format!("250 2.0.0 Ok: taken, id {id}"),
            ),
            (
                "default_policy.replies.virus = '554 {category} {score} {policy} {hostname}: {reason}'",
                "VIRUS ONE",
                "Eicar-Test",
                "554 5.7.1 virus 1.0 default mx.test: Eicar-Test".into(),
            ),
        ];
        for (config, names, reason, reply) in table {
            let verdict = one(config, PLAIN, &findings(names), &[]);
            assert_eq!(
                (verdict.reason.as_str(), verdict.reply.to_string()),
                (reason, reply),
                "{config}, {names}"
            );
        }
    }

    #[test]
    fn hostile_evidence_stays_in_its_place() {
        let evidence = format!("a\r\n250 2.0.0 Ok\u{0}\u{202e}ü{}", "x".repeat(10_000));
        let found: Vec<_> = (0..1000).map(|n| Finding::mail("VIRUS", format!("{n}{evidence}"))).collect();
        let verdict = one("", PLAIN, &found, &[]);
        let line = verdict.reply.to_string();
        assert!(line.len() <= 510 && line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line}");
        assert!(verdict.reason.chars().count() <= MAX_REASON && !verdict.reason.contains(char::is_control));
    }

    #[test]
    fn recipients_are_grouped_by_policy_and_findings() {
        let policies =
            policies("policy = [{name = 'lax', when = {recipients = ['lax.test']}, weights = {FIVE = 1}}]");
        let recipients = ["a@in.test", "b@lax.test", "c@in.test", "d@in.test", "e@lax.test", "a@in.test"];
        let mail = mail(PLAIN, &recipients);
        let found = findings("FIVE FIVE>2 ONE>2 HALF VIRUS>3 ONE>99");
        let verdicts = judge(&case(&mail, &found, &[]), &policies, &HeaderNames::default());
        let shown: Vec<_> = verdicts
            .iter()
            .map(|v| (v.recipients.as_slice(), v.policy.as_ref(), v.score.to_string(), v.category))
            .collect();
        let expected: [(&[usize], &str, String, Category); 4] = [
            (&[0, 5], "default", "5.5".into(), Category::Clean),
            (&[1, 4], "lax", "1.5".into(), Category::Clean),
            (&[2], "default", "6.5".into(), Category::Spammy),
            (&[3], "default", "5.5".into(), Category::Virus),
        ];
        assert_eq!(shown, expected);
        let weighed: Vec<_> = verdicts[2].weighed.iter().map(|w| (w.finding, w.points.to_string())).collect();
        // What was found twice counts once.
        let expected =
            [(0, "5.0"), (1, "0.0"), (2, "1.0"), (3, "0.5")].map(|(n, points)| (n, points.to_owned()));
        assert_eq!(weighed, expected);
    }

    /// Rules bring their points along; what a policy says of a symbol counts instead.
    #[test]
    fn points_that_findings_bring_along() {
        let rule =
            |name: &'static str, points: i64| Finding::mail(name, "").counting(Points::thousandths(points));
        let plain = |name: &'static str| Finding::mail(name, "");
        let table: [(&str, Vec<Finding>, &str, Category); 9] = [
            ("", vec![rule("RULE", 2500)], "2.5", Category::Clean),
            ("", vec![rule("RULE", 2500), rule("OTHER", -500)], "2.0", Category::Clean),
            ("", vec![rule("RULE", 7000)], "7.0", Category::Spammy),
            ("weights.RULE = 11", vec![rule("RULE", 2500)], "11.0", Category::Spam),
            ("weights.RULE = 0", vec![rule("RULE", 2500)], "0.0", Category::Clean),
            ("categories.RULE = 'banned'", vec![rule("RULE", 2500)], "2.5", Category::Banned),
            // A rule has the name of what a check finds: it counts once, as the rule says.
            ("", vec![plain("FIVE"), rule("FIVE", 1000)], "1.0", Category::Clean),
            ("weights.FIVE = 3", vec![plain("FIVE"), rule("FIVE", 1000)], "3.0", Category::Clean),
            ("", vec![plain("VIRUS"), rule("VIRUS", 1000)], "1.0", Category::Virus),
        ];
        for (typed, found, score, category) in table {
            let config: crate::config::Config =
                toml::from_str(&format!("[default_policy]\n{typed}")).expect("well-formed TOML");
            let names = ["RULE", "OTHER"].map(Into::into).into();
            let rules = super::super::RuleNames { names, change: true };
            let policies = Policies::with_rules(&config, CATALOGUE.iter().copied(), &rules).unwrap();
            let mail = mail(PLAIN, &["user@in.test"]);
            let verdicts = judge(&case(&mail, &found, &[]), &policies, &HeaderNames::default());
            assert_eq!(
                (verdicts[0].score.to_string().as_str(), verdicts[0].category),
                (score, category),
                "{typed} {found:?}"
            );
        }
    }

    #[test]
    fn without_recipients_there_is_one_verdict() {
        let mail = mail(PLAIN, &[]);
        let found = findings("VIRUS VIRUS>0");
        let verdicts = judge(&case(&mail, &found, &[]), &policies(""), &HeaderNames::default());
        assert_eq!(verdicts.len(), 1);
        assert!(verdicts[0].recipients.is_empty());
        assert_eq!((verdicts[0].category, verdicts[0].weighed.len()), (Category::Virus, 1));
    }

    #[test]
    fn copies_are_kept_as_the_policy_says() {
        let keep = "default_policy.keep = ['virus', 'spammy']\n";
        let table = [
            ("", "VIRUS", true),
            ("", "SPAMMY", true),
            ("", "SPAMMY BANNED", true),
            ("", "BANNED", false),
            ("", "", false),
            ("default_policy.actions.virus = 'defer'", "VIRUS", false),
        ];
        for (config, names, kept) in table {
            assert_eq!(one(&format!("{keep}{config}"), PLAIN, &findings(names), &[]).keep, kept, "{names}");
        }
    }

    #[test]
    fn marks_are_of_the_categories_that_are_marked() {
        let config = "[default_policy]
            actions = {clean = 'mark', bad-header = 'deliver'}
            subject_tags = {spammy = '[SPAM?] ', unchecked = '[LOCKED] ', clean = '[EXTERNAL] '}
            extensions = {spammy = '+spam', unchecked = '+locked'}
        ";
        let table = [
            ("", Some("[EXTERNAL] Hello"), None),
            ("SPAMMY", Some("[SPAM?] Hello"), Some("+spam")),
            ("SPAMMY UNCHECKED", Some("[LOCKED] [SPAM?] Hello"), Some("+locked")),
            ("BAD_HEADER", None, None),
            ("SPAMMY BAD_HEADER", Some("[SPAM?] Hello"), Some("+spam")),
            ("SPAMMY VIRUS", None, None),
        ];
        for (names, subject, extension) in table {
            let verdict = one(config, PLAIN, &findings(names), &[]);
            let tagged = verdict.edits.iter().find_map(|edit| match edit {
                Edit::ChangeHeader { name, nth: 0, value } if name == "Subject" => Some(value.as_str()),
                _ => None,
            });
            assert_eq!((tagged, verdict.extension.as_deref()), (subject, extension), "{names}");
        }
    }

    #[test]
    fn what_rules_put_before_the_subject() {
        let prefixes =
            [("ONE", "[ONE] "), ("__IN", "[IN] "), ("TWO", "[ONE] ")].map(|(r, t)| (r.into(), t.into()));
        let marked = "subject_tags.spammy = '[SPAM?] '\n";
        let table = [
            ("", "", Some("[ONE] [IN] Hello")),
            ("weights.ONE = 0", "", Some("[IN] [ONE] Hello")),
            ("weights.ONE = 3", "", Some("[ONE] [IN] Hello")),
            ("weights = {ONE = 0, TWO = 0, __IN = 0}", "", None),
            ("subject_prefixes = false", "", None),
            (marked, "SPAMMY", Some("[SPAM?] [ONE] [IN] Hello")),
            ("actions.spammy = 'deliver'", "SPAMMY", Some("[ONE] [IN] Hello")),
            ("", "SPAM", None),
        ];
        for (policy, names, expected) in table {
            let config: crate::config::Config =
                toml::from_str(&format!("[default_policy]\n{policy}")).unwrap();
            let rules = crate::verdict::RuleNames { change: true, ..Default::default() };
            let policies = Policies::with_rules(&config, CATALOGUE.iter().copied(), &rules).unwrap();
            let (mail, found) = (mail(PLAIN, &["user@in.test"]), findings(names));
            let case = Case { prefixes: &prefixes, ..case(&mail, &found, &[]) };
            let verdict = judge(&case, &policies, &HeaderNames::default()).remove(0);
            let subject = verdict.edits.iter().find_map(|edit| match edit {
                Edit::ChangeHeader { value, .. } => Some(value.as_str()),
                _ => None,
            });
            assert_eq!(subject, expected, "{policy}");
        }
    }

    #[test]
    fn stripping_names_what_and_why() {
        let config = "[default_policy]
            actions.virus = 'strip'
            strip_text = '{name}: {reason}, {id}, {hostname}'
        ";
        let mut found = findings("VIRUS@2 VIRUS@2 BAD_HEADER");
        found[1].evidence = "Other\r\nName".into();
        let verdict = one(config, ATTACHED, &found, &[]);
        let text = "a.exe: Eicar-Test, Other  Name, l1bnIZN88okd, mx.test".to_owned();
        assert!(verdict.edits.contains(&Edit::ReplacePart { part: PartId(2), text }), "{:?}", verdict.edits);
        let added = verdict.edits.iter().any(|e| matches!(e, Edit::AddHeader { place: Place::Top, .. }));
        assert!(added && verdict.keep);
    }

    #[test]
    fn a_verdict_written_out() {
        let config = "[default_policy]
            actions.virus = 'strip'
            subject_tags.spammy = '[SPAM?] '
            strip_text = '{name} is gone: {reason}'
        ";
        let raw = ATTACHED.replace("Subject", "X-Spam-Flag: NO\r\nSubject");
        let mail = mail(&raw, &["user@in.test"]);
        let found = findings("VIRUS@2 FIVE ONE HALF");
        let verdicts = judge(&case(&mail, &found, &[]), &policies(config), &HeaderNames::default());
        let applied = gatepost_mail::apply(&mail.message, &verdicts[0].edits);
        let expected = "X-Virus-Scanned: gatepost at mx.test\r\nX-Gatepost-Id: l1bnIZN88okd\r\n\
            X-Spam-Flag: YES\r\nX-Spam-Score: 6.5\r\nX-Spam-Level: ******\r\n\
            X-Spam-Status: Yes, score=6.5 tag=-999 tag2=6.31 kill=10 tests=[FIVE=5.0,\r\n ONE=1.0, HALF=0.5] autolearn=no\r\n\
            From: a@a.test\r\nSubject: [SPAM?] Hello\r\nMIME-Version: 1.0\r\n\
            Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nText.\r\n\
            --x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\
            Content-Disposition: inline; filename=\"a.exe-removed.txt\"\r\n\r\na.exe is gone: Eicar-Test\r\n--x--\r\n";
        assert_eq!(String::from_utf8(applied.chunks.concat()).unwrap(), expected);
        assert!(applied.skipped.is_empty());
    }

    /// Lists of the length and kind that sites of this field publish, with the sums they give.
    #[test]
    fn long_lists_add_up_exactly() {
        let table = [
            ("46.551", "5.8 4.5 3.5 10 10 2.5 3.5 0.001 1.25 2 -1 3.5 1"),
            ("46.023", "0.1 0.1 0.1 0.7 5.3 4.5 10 10 3.5 2.5 8.8 0.423"),
            ("48.957", "6.31 6.31 6.31 9.999 9.999 9.999 0.029 0.001"),
        ];
        for (sum, points) in table {
            let names: Vec<_> =
                points.split(' ').enumerate().map(|(n, points)| (format!("S{n}"), points)).collect();
            let symbols = names.iter().map(|(name, points)| {
                (name.as_str(), gatepost_mail::Counts::Points(points.parse().unwrap()))
            });
            let config = crate::config::Config::default();
            let policies = Policies::build(&config, symbols).unwrap();
            let found: Vec<_> = names.iter().map(|(name, _)| Finding::mail(name.clone(), "")).collect();
            let mail = mail(PLAIN, &["a@in.test"]);
            let verdicts = judge(&case(&mail, &found, &[]), &policies, &HeaderNames::default());
            assert_eq!(verdicts[0].score.to_string(), sum);
            assert_eq!(verdicts[0].category, Category::Spam);
        }
    }

    proptest! {
        #[test]
        fn the_score_is_the_sum_of_what_was_weighed(
            places in proptest::collection::vec((0..CATALOGUE.len(), 0usize..6), 0..40),
            weights in proptest::collection::vec(-100_000i64..100_000, CATALOGUE.len()),
        ) {
            let mut config = String::from("[default_policy.weights]\n");
            for ((name, _), weight) in CATALOGUE.iter().zip(&weights) {
                config.push_str(&format!("{name} = {}\n", Points::thousandths(*weight)));
            }
            let found: Vec<_> = places
                .iter()
                .map(|(symbol, scope)| {
                    let of = if *scope < 3 { Scope::Recipient(*scope) } else { Scope::Mail };
                    Finding::new(CATALOGUE[*symbol].0, of, "")
                })
                .collect();
            let mail = mail(PLAIN, &["a@in.test", "b@in.test", "c@in.test"]);
            let verdicts = judge(&case(&mail, &found, &[]), &policies(&config), &HeaderNames::default());
            let mut recipients: Vec<_> = verdicts.iter().flat_map(|v| v.recipients.clone()).collect();
            recipients.sort();
            prop_assert_eq!(recipients, vec![0, 1, 2]);
            for verdict in &verdicts {
                let sum: i64 = verdict.weighed.iter().map(|w| w.points.as_thousandths()).sum();
                prop_assert_eq!(verdict.score.as_thousandths(), sum);
                for weighed in &verdict.weighed {
                    let of = found[weighed.finding].scope;
                    prop_assert!(!matches!(of, Scope::Recipient(r) if !verdict.recipients.contains(&r)));
                }
            }
        }
    }
}
