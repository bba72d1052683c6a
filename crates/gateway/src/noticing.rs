//! Notices: from what the journal has to those who are to be told.
//!
//! What is to be told of a message is noted beside how far the journal was read; a mail is made of what is noted, then
//! sent, then ended, and each step is in the journal before the next one. Whoever dies after a mail was taken and before
//! that is written sends it once more, under the same Message-ID. Nothing of this stands in the way of a message.

mod forms;
mod hears;
mod row;
mod schedule;
mod templates;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gatepost_mail::{Address, Category, Envelope};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::Problem;
use crate::config::notices::{AdminForm, Notices, Rhythm, SenderForm, mailbox};
use crate::config::parts::Language;
use crate::config::typed::Config;
use crate::effects::notice::{self, About, Notice};
use crate::effects::release::ReleaseHops;
use crate::records::{
    Filter, Journal, JournalError, Making, NoticeContent, NoticeItem, NoticePending, NoticeState, Record,
};
use row::{Context, Row, shown_rows};
use templates::{Kind, Templates};

/// A mail that could not be sent for so long is given up.
const GIVEN_UP: Duration = Duration::from_secs(3 * 24 * 3600);
/// The pause after the first try; it doubles up to the longest.
const FIRST_PAUSE: u64 = 60;
const LONGEST_PAUSE: u64 = 3600;
/// So many mails one after the other that the next hop does not take now, and the round ends: it is away.
const AWAY: u32 = 3;
/// Steps in which the journal is read in one round; what is left waits for the next.
const STEPS: u32 = 200;
/// Longest text of what happened.
const DETAIL: usize = 500;
/// Records that a preview looks at.
const PREVIEWED: u32 = 10_000;

/// Makes and sends notices.
pub struct Noticer {
    settings: Notices,
    hostname: String,
    postmaster: Option<String>,
    domains: Vec<String>,
    /// By the names of policies.
    languages: BTreeMap<String, String>,
    /// Value of From.
    from: String,
    templates: Templates,
    hops: Arc<ReleaseHops>,
    /// The listener whose next hop takes what came by one that has none.
    listener: String,
}

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Mails made.
    pub made: usize,
    /// Mails that the next hop has now.
    pub sent: usize,
    /// Mails that are tried again.
    pub later: usize,
    /// Mails that were given up or refused.
    pub failed: usize,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Round { made, sent, later, failed } = self;
        write!(f, "notices: {made} made, {sent} sent, {later} to be tried again, {failed} failed")
    }
}

/// A notice as it would be sent.
pub struct Preview {
    /// In which role.
    pub role: String,
    /// To whom.
    pub to: String,
    /// When; None: it is not known.
    pub due: Option<Timestamp>,
    /// The mail.
    pub mail: Bytes,
}

/// What is configured for one role.
struct Plan<'a> {
    kind: Kind,
    /// Name of the group of administrators.
    name: &'a str,
    rhythm: Rhythm<'a>,
    /// A program shall be able to read it: one message in each.
    single: bool,
}

impl Noticer {
    /// Reads the templates. None where nobody is to be told of anything.
    ///
    /// # Errors
    /// Templates that cannot be read or filled, with file and line; languages that there are none of; no next hop.
    pub fn new(
        config: &Config,
        hops: Arc<ReleaseHops>,
        listener: String,
    ) -> Result<Option<Noticer>, Vec<Problem>> {
        let settings = config.notices.clone();
        let (templates, mut problems) = Templates::load(settings.templates.as_deref());
        for (key, language) in languages_named(config) {
            if !templates.has(&language) {
                let message = format!(
                    "there are no notices in {language:?}; there are {}, and folders in notices.templates",
                    templates.languages()
                );
                problems.push(Problem::new(key, message));
            }
        }
        if settings.enabled() && hops.hops(&listener).is_none() {
            let message =
                "notices have nowhere to go: name quarantine.release_to, or the next_hop of a listener";
            problems.push(Problem::new("notices", message));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        if !settings.enabled() {
            return Ok(None);
        }
        // What is no mailbox was told of when the configuration was read.
        let (name, address) = match mailbox(&settings.from) {
            Ok((name, address)) => (name, address.to_string()),
            Err(_) => ("gatepost".to_owned(), format!("MAILER-DAEMON@{}", config.hostname)),
        };
        let default = config.default_policy.language;
        let of_policy = |name: &str, language: Option<Language>| {
            let language =
                language.or(default).map_or(settings.language.as_str(), |language| language.name());
            (name.to_owned(), language.to_owned())
        };
        let policies = config.policy.iter().map(|policy| of_policy(&policy.name, policy.language));
        let languages = policies.chain([of_policy("default", None)]).collect();
        Ok(Some(Noticer {
            hostname: config.hostname.clone(),
            postmaster: config.postmaster(),
            domains: config.domains.clone(),
            languages,
            from: notice::mailbox(&name, &address),
            templates,
            hops,
            listener,
            settings,
        }))
    }

    /// Messages from now on are told of, unless that has begun before.
    pub async fn begin(&self, journal: &Journal) -> Result<(), JournalError> {
        journal.notices_begin().await
    }

    /// Notes what is to be told, makes mails of what is due, and sends them and those that could not be sent before.
    /// `at_once`: what is not due as well; the limits of a day hold all the same.
    pub async fn round(&self, journal: &Journal, at_once: bool) -> Result<Round, JournalError> {
        self.round_until(journal, at_once, &AtomicBool::new(false)).await
    }

    /// The same, until somebody says `stop`: the mail that is being sent then is the last one, and those left are sent by
    /// whoever comes next.
    pub async fn round_until(
        &self,
        journal: &Journal,
        at_once: bool,
        stop: &AtomicBool,
    ) -> Result<Round, JournalError> {
        self.begin(journal).await?;
        let now = Timestamp::now();
        let tell = |record: &Record| self.items(record, now);
        for _ in 0..STEPS {
            if !journal.notices_collect(self.hears_of_clean(), &tell).await? {
                break;
            }
        }
        let mut round = Round { made: self.make(journal, now, at_once).await?, ..Round::default() };
        self.send(journal, at_once, stop, &mut round).await?;
        Ok(round)
    }

    async fn make(&self, journal: &Journal, now: Timestamp, at_once: bool) -> Result<usize, JournalError> {
        let mut made = 0;
        for waiting in journal.notices_waiting(now).await? {
            // What nobody is told of any more goes when it is old.
            let Some(plan) = self.plan(&waiting.role) else { continue };
            let due = schedule::due(waiting.oldest, waiting.last, &plan.rhythm, &TimeZone::system());
            if due > now && !at_once {
                continue;
            }
            let mut left = u64::from(plan.rhythm.per_day).saturating_sub(waiting.made);
            if left == 0 {
                journal.notices_capped(&waiting.role, &waiting.key).await?;
                continue;
            }
            if plan.kind == Kind::Recipient {
                journal.notices_forget_released(&waiting.role, &waiting.key).await?;
            }
            let mut messages = waiting.messages;
            while left > 0 && messages > 0 {
                // The last one of a day tells of all that is left.
                let most = if plan.single && left > 1 { 1 } else { messages };
                let making = Making { most, last: left == 1, now };
                if journal.notices_make(&waiting.role, &waiting.key, making).await?.is_none() {
                    break;
                }
                made += 1;
                left -= 1;
                messages -= most;
            }
        }
        Ok(made)
    }

    async fn send(
        &self,
        journal: &Journal,
        at_once: bool,
        stop: &AtomicBool,
        round: &mut Round,
    ) -> Result<(), JournalError> {
        let until = if at_once { Timestamp::MAX } else { Timestamp::now() };
        let mut away = 0;
        for pending in journal.notices_pending(until).await? {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let now = Timestamp::now();
            if !journal.notices_claim(&pending.id, now).await? {
                continue;
            }
            let (delivered, detail) = self.send_one(journal, &pending).await?;
            let is_old = now.duration_since(pending.made).unsigned_abs() > GIVEN_UP;
            let state = match delivered {
                Delivered::Yes => NoticeState::Sent,
                Delivered::Later if !is_old => NoticeState::Made,
                Delivered::Later | Delivered::Never => NoticeState::Failed,
            };
            away = if delivered == Delivered::Later { away + 1 } else { 0 };
            *match state {
                NoticeState::Made => &mut round.later,
                NoticeState::Sent => &mut round.sent,
                NoticeState::Failed => &mut round.failed,
            } += 1;
            let (id, to) = (&pending.id, &pending.address);
            match state {
                NoticeState::Failed => tracing::warn!(notice = id, to, detail, "notice not sent"),
                _ => tracing::info!(notice = id, to, state = state.name(), detail, "notice"),
            }
            let pause = FIRST_PAUSE.saturating_mul(1 << pending.tries.min(10)).min(LONGEST_PAUSE);
            let next = Timestamp::now().checked_add(Duration::from_secs(pause)).unwrap_or(now);
            journal.notices_end(id, state, next, &detail).await?;
            if away >= AWAY {
                break;
            }
        }
        Ok(())
    }

    async fn send_one(
        &self,
        journal: &Journal,
        pending: &NoticePending,
    ) -> Result<(Delivered, String), JournalError> {
        let never = |why: &str| Ok((Delivered::Never, why.to_owned()));
        let Some(plan) = self.plan(&pending.role) else { return never("nobody is to be told any more") };
        let content = journal.notices_content(&pending.id, plan.rhythm.rows).await?;
        if content.items.is_empty() {
            return never("what was to be told is no longer in the journal");
        }
        let (envelope, mail) = match self.compose(&plan, pending, &content) {
            Ok(made) => made,
            Err(why) => return never(&why),
        };
        // The latest message's listener: its next hop knows the recipient.
        let listener = content.items.first().map_or(&self.listener, |item| &item.listener);
        let listener = if self.hops.hops(listener).is_some() { listener } else { &self.listener };
        let (hop, replies) = self.hops.send(listener, &envelope, mail).await;
        let short = |text: String| text.chars().take(DETAIL).collect::<String>();
        Ok(match replies.first() {
            Some(reply) if reply.is_positive() => (Delivered::Yes, short(format!("{hop}: {reply}"))),
            Some(reply) if reply.is_permanent() => (Delivered::Never, short(format!("{hop}: {reply}"))),
            Some(reply) => (Delivered::Later, short(format!("{hop}: {reply}"))),
            None => (Delivered::Later, format!("{hop} said nothing")),
        })
    }

    /// The mail about these messages.
    fn compose(
        &self,
        plan: &Plan,
        pending: &NoticePending,
        content: &NoticeContent,
    ) -> Result<(Envelope, Bytes), String> {
        let to = Address::new(&pending.address).ok_or("there is no address")?;
        let rows: Vec<(&NoticeItem, Row)> = content
            .items
            .iter()
            .filter_map(|item| Some((item, serde_json::from_str(&item.row).ok()?)))
            .collect();
        let total: u64 = content.categories.iter().map(|(_, messages)| messages).sum();
        let context = Context {
            hostname: &self.hostname,
            postmaster: self.postmaster.as_deref().unwrap_or_default(),
            name: plan.name,
            address: row::shown(&pending.address, 320),
            footer: &self.settings.footer,
            ask: &self.settings.ask,
            total,
            more: total.saturating_sub(rows.len() as u64),
            capped: pending.capped,
            last: pending.last,
            per_day: plan.rhythm.per_day,
            since: row::time_text(content.oldest),
            categories: row::counts(&content.categories),
            rows: shown_rows(&rows),
        };
        let language = content.items.first().map_or(self.settings.language.as_str(), |item| &item.language);
        let rendered = self.templates.render(language, plan.kind, &context)?;
        let (fields, message_id, header) = match &rows[..] {
            [(item, row)] if plan.single && total == 1 => {
                let fields = match plan.kind {
                    Kind::Sender => forms::delivery(item, row, &self.hostname),
                    _ => forms::feedback(item, row, &self.hostname),
                };
                (fields, row.message_id.as_str(), row.header.as_str())
            }
            _ => (String::new(), "", ""),
        };
        let about = match (fields.is_empty(), plan.kind) {
            (true, _) => None,
            (false, Kind::Sender) => Some(About::Delivery { message_id, fields: &fields, header }),
            (false, _) => Some(About::Feedback { fields: &fields, header }),
        };
        Ok(notice::mail(&Notice {
            from: &self.from,
            to: &to,
            subject: &rendered.subject,
            id: &format!("notice.{}@{}", pending.id, self.hostname),
            now: pending.made,
            text: &rendered.text,
            html: rendered.html.as_deref(),
            about,
        }))
    }

    /// What is configured for a role; None if nothing is any more.
    fn plan(&self, role: &str) -> Option<Plan<'_>> {
        let Notices { admin, recipients, sender, .. } = &self.settings;
        Some(match role {
            "recipient" if recipients.enabled => {
                Plan { kind: Kind::Recipient, name: "", rhythm: recipients.rhythm(), single: false }
            }
            "sender" if sender.enabled => {
                let single = sender.form == SenderForm::Dsn;
                Plan { kind: Kind::Sender, name: "", rhythm: sender.rhythm(), single }
            }
            _ => {
                let (name, admin) = admin.get_key_value(role.strip_prefix("admin:")?)?;
                let single = admin.form == AdminForm::Arf;
                Plan { kind: Kind::Admin, name, rhythm: admin.rhythm(), single }
            }
        })
    }

    fn hears_of_clean(&self) -> bool {
        let Notices { admin, recipients, sender, .. } = &self.settings;
        let all = admin.values().map(|admin| &admin.about).chain([&recipients.about, &sender.about]);
        all.flatten().any(|category| *category == Category::Clean)
    }

    /// What would be sent now: what waits and was not told of; with `since`, of all messages since then whether told of or
    /// not. Nothing is changed. Only to one address where it is named.
    pub async fn preview(
        &self,
        journal: &Journal,
        to: Option<&str>,
        since: Option<Timestamp>,
    ) -> Result<Vec<Preview>, JournalError> {
        let now = Timestamp::now();
        let mut groups: BTreeMap<(String, String), (NoticeContent, Option<Timestamp>)> = BTreeMap::new();
        let records = match since {
            Some(since) => {
                let filter = Filter { since: Some(since), limit: PREVIEWED, ..Filter::default() };
                let entries = journal.history(&filter).await?.into_iter();
                entries.map(|entry| entry.record).filter(|record| !looks_like_ours(record)).collect()
            }
            None => journal.notices_ahead(self.hears_of_clean(), PREVIEWED).await?,
        };
        if since.is_none() {
            for waiting in journal.notices_waiting(now).await? {
                let Some(plan) = self.plan(&waiting.role) else { continue };
                let due = schedule::due(waiting.oldest, waiting.last, &plan.rhythm, &TimeZone::system());
                let rows = plan.rhythm.rows;
                let content = journal.notices_waiting_content(&waiting.role, &waiting.key, rows).await?;
                groups.insert((waiting.role, waiting.key), (content, Some(due)));
            }
        }
        // As if it were then, or all would be too old to be told of.
        let then = since.unwrap_or(now);
        for item in records.iter().flat_map(|record| self.items(record, then)) {
            let group = groups.entry((item.role.clone(), item.address.to_lowercase())).or_default();
            row::add(&mut group.0, item);
        }
        let wanted = to.map(str::to_lowercase);
        let wanted = |key: &String| wanted.as_ref().is_none_or(|wanted| wanted == key);
        let mut previews = Vec::new();
        for ((role, key), (mut content, due)) in groups.into_iter().filter(|((_, key), _)| wanted(key)) {
            let Some(plan) = self.plan(&role) else { continue };
            content.items.truncate(plan.rhythm.rows as usize);
            let to = content.items.first().map_or(key, |item| item.address.clone());
            let pending = NoticePending {
                id: "preview".into(),
                role: role.clone(),
                address: to.clone(),
                made: now,
                capped: false,
                last: false,
                tries: 0,
            };
            let mail = self.compose(&plan, &pending, &content);
            let mail = mail.map_or_else(|why| Bytes::from(why + "\r\n"), |(_, mail)| mail);
            previews.push(Preview { role, to, due, mail });
        }
        Ok(previews)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Delivered {
    Yes,
    Later,
    Never,
}

/// The languages that the configuration names, and where.
fn languages_named(config: &Config) -> Vec<(String, String)> {
    let notices = &config.notices;
    let mut named = vec![("notices.language".to_owned(), notices.language.clone())];
    let admin = notices.admin.iter();
    named.extend(admin.filter_map(|(name, admin)| {
        Some((format!("notices.admin.{name}.language"), admin.language.clone()?))
    }));
    named
}

/// Whether a message may be one of our notices: for a preview, which asks no table.
fn looks_like_ours(record: &Record) -> bool {
    record.sender.is_none() && record.message_id.starts_with("<notice.")
}

#[cfg(test)]
mod tests;
