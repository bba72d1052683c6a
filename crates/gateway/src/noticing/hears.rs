//! Who is to be told of a message.

use std::time::Duration;

use gatepost_mail::{Action, Category};
use jiff::Timestamp;

use super::Noticer;
use super::row::{Row, shorten};
use crate::config::notices::{AdminForm, SenderForm, is_machine, matches_any, plain_address};
use crate::config::units::is_among;
use crate::records::{NoticeItem, Record, VerdictRecord};

/// Of older messages nobody is told any more.
const OLD: Duration = Duration::from_secs(7 * 24 * 3600);

impl Noticer {
    /// What is to be told of a message, and to whom. Nothing of what somebody only asked about, nor of what is old.
    pub(super) fn items(&self, record: &Record, now: Timestamp) -> Vec<NoticeItem> {
        let is_old = now.checked_sub(OLD).is_ok_and(|before| record.time < before);
        if record.is_advice() || is_old {
            return Vec::new();
        }
        let mut items = self.for_admins(record);
        items.extend(self.for_recipients(record));
        items.extend(self.for_sender(record));
        items
    }

    fn for_admins(&self, record: &Record) -> Vec<NoticeItem> {
        let mut items = Vec::new();
        for (name, admin) in &self.settings.admin {
            let one_way = admin.directions.is_empty() || admin.directions.contains(&record.direction);
            let verdict = worst(record, &admin.about, &admin.actions).filter(|_| one_way);
            let Some(verdict) = verdict else { continue };
            let row = Row::of(record, verdict, happened(verdict, record), &record.recipients);
            let row = if admin.form == AdminForm::Arf { row } else { row.without_header() };
            let language = admin.language.as_ref().unwrap_or(&self.settings.language);
            let role = format!("admin:{name}");
            items.extend(
                admin.to.iter().filter_map(|to| self.item(&role, to, language, record, verdict, &row)),
            );
        }
        items
    }

    fn for_recipients(&self, record: &Record) -> Vec<NoticeItem> {
        let settings = &self.settings.recipients;
        let mut items = Vec::new();
        for verdict in record.verdicts.iter().filter(|_| settings.enabled) {
            let action = happened(verdict, record);
            if !settings.about.contains(&verdict.category) || !settings.actions.contains(&action) {
                continue;
            }
            for recipient in &verdict.recipients {
                let Some(address) = plain_address(recipient) else { continue };
                if !is_among(address.domain(), &self.domains)
                    || is_machine(address.local())
                    || matches_any(&address, &settings.except)
                {
                    continue;
                }
                // Of other recipients nobody hears.
                let row = Row::of(record, verdict, action, std::slice::from_ref(recipient)).without_header();
                let language = self.language(&verdict.policy);
                items.extend(self.item("recipient", recipient, language, record, verdict, &row));
            }
        }
        items
    }

    /// Whether the sender is one who may be told was decided when the message was there.
    fn for_sender(&self, record: &Record) -> Option<NoticeItem> {
        let settings = &self.settings.sender;
        let may = settings.enabled && record.notice.as_ref().is_some_and(|notice| notice.sender);
        let sender = record.sender.as_ref().filter(|_| may)?;
        plain_address(sender).filter(|address| is_among(address.domain(), &self.domains))?;
        let verdict = worst(record, &settings.about, &settings.actions)?;
        let action = happened(verdict, record);
        let alike = record
            .verdicts
            .iter()
            .filter(|other| happened(other, record) == action && settings.about.contains(&other.category));
        let recipients: Vec<String> = alike.flat_map(|verdict| verdict.recipients.clone()).collect();
        let row = Row::of(record, verdict, action, &recipients);
        let row = if settings.form == SenderForm::Dsn { row } else { row.without_header() };
        self.item("sender", sender, self.language(&verdict.policy), record, verdict, &row)
    }

    fn item(
        &self,
        role: &str,
        address: &str,
        language: &str,
        record: &Record,
        verdict: &VerdictRecord,
        row: &Row,
    ) -> Option<NoticeItem> {
        Some(NoticeItem {
            role: role.to_owned(),
            address: address.to_owned(),
            message: record.id.clone(),
            time: record.time,
            category: verdict.category,
            held: record.quarantine.is_some(),
            language: language.to_owned(),
            listener: shorten(&record.listener, 100),
            row: serde_json::to_string(row).ok()?,
        })
    }

    fn language(&self, policy: &str) -> &str {
        self.languages.get(policy).unwrap_or(&self.settings.language)
    }
}

/// The verdict in the worst category of those that are asked for.
fn worst<'a>(record: &'a Record, about: &[Category], actions: &[Action]) -> Option<&'a VerdictRecord> {
    let meant = |verdict: &&VerdictRecord| {
        about.contains(&verdict.category)
            && (actions.is_empty() || actions.contains(&happened(verdict, record)))
    };
    record.verdicts.iter().filter(meant).max_by_key(|verdict| (verdict.category, verdict.action))
}

/// What was really done: a verdict says what was to be done, and its outcome what the next hop and the place behind the
/// queue made of it. A record that was put back from a vault's file has no outcomes.
fn happened(verdict: &VerdictRecord, record: &Record) -> Action {
    let put_back = verdict.outcome.is_empty() && record.quarantine.is_some() && !verdict.action.delivers();
    if verdict.is_held() || put_back {
        return Action::Quarantine;
    }
    let begins = |word: &str| verdict.outcome.split("; ").any(|outcome| outcome.starts_with(word));
    let outcomes = [
        ("bounced", Action::Bounce),
        ("discarded", Action::Discard),
        ("refused", Action::Refuse),
        ("deferred", Action::Defer),
    ];
    outcomes.into_iter().find(|(word, _)| begins(word)).map_or(verdict.action, |(_, action)| action)
}
