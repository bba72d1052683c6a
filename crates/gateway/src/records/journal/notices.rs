//! What somebody is to be told of, and the mails made of it.
//!
//! The journal's rows are looked at once, in their order: what is to be told of them and how far that has come are written
//! together. A mail is first marked on what stands in it and then sent, so that whoever dies in between sends the same mail
//! under the same id again, and nothing is told twice under two ids or never.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use gatepost_mail::Category;

use super::state::time_of;
use super::writer::transaction;
use super::{Journal, JournalError};
use crate::records::{Record, new_id};

/// Rows of the journal that are looked at in one step.
const AT_ONCE: u32 = 500;
/// Groups that are looked at in one round; more wait for the next.
const GROUPS: u32 = 10_000;
/// Mails sent in one round; more wait for the next.
const MAILS: u32 = 1000;
const DAY: i64 = 86_400_000_000;

/// What one address is to be told of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeItem {
    /// In which role: `admin:NAME`, `recipient`, `sender`.
    pub role: String,
    /// The address.
    pub address: String,
    /// The message's id.
    pub message: String,
    /// When it was judged.
    pub time: Timestamp,
    /// Its category.
    pub category: Category,
    /// It waits in the vault.
    pub held: bool,
    /// Language to tell it in.
    pub language: String,
    /// Listener that it came by.
    pub listener: String,
    /// What is told, as JSON.
    pub row: String,
}

/// What waits to be told to one address in one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeWaiting {
    /// The role.
    pub role: String,
    /// The address in lower case.
    pub key: String,
    /// Time of the oldest message.
    pub oldest: Timestamp,
    /// How many messages.
    pub messages: u64,
    /// When the last mail was made.
    pub last: Option<Timestamp>,
    /// Mails made in the 24 hours before.
    pub made: u64,
}

/// How a mail is made.
#[derive(Clone, Copy, Debug)]
pub struct Making {
    /// Of so many messages at most, the oldest.
    pub most: u64,
    /// It is the last one that the day's limit allows.
    pub last: bool,
    /// The time.
    pub now: Timestamp,
}

/// A mail that was made and is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticePending {
    /// Its id.
    pub id: String,
    /// The role.
    pub role: String,
    /// The address.
    pub address: String,
    /// When it was made.
    pub made: Timestamp,
    /// It waited for the day's limit.
    pub capped: bool,
    /// It is the last one that the day's limit allows.
    pub last: bool,
    /// How often it was tried.
    pub tries: u32,
}

/// What stands in a mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoticeContent {
    /// The latest messages, those first, as many as were asked for.
    pub items: Vec<NoticeItem>,
    /// How many there are of each category, the worst first.
    pub categories: Vec<(Category, u64)>,
    /// Time of the oldest.
    pub oldest: Timestamp,
}

/// What became of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeState {
    /// It is to be sent.
    Made,
    /// The next hop has it.
    Sent,
    /// It was given up, or refused.
    Failed,
}

impl NoticeState {
    /// The name in the database and in output.
    pub const fn name(self) -> &'static str {
        match self {
            NoticeState::Made => "made",
            NoticeState::Sent => "sent",
            NoticeState::Failed => "failed",
        }
    }
}

/// The columns of a [`NoticeItem`].
const ITEM: &str = "role, address, message, time, category, held, language, listener, row";

impl Journal {
    /// From now on messages are looked at for notices, unless that has begun before.
    pub async fn notices_begin(&self) -> Result<(), JournalError> {
        if self.notice_place().await?.is_some() {
            return Ok(());
        }
        let begin = "INSERT OR IGNORE INTO notice_place SELECT 1, COALESCE(MAX(rowid), 0) FROM message";
        let done = sqlx::query(begin).execute(&self.pool).await;
        done.map(drop).map_err(|error| self.database_error(error))
    }

    /// Looks at the next messages and notes what `tell` says of each, once, whoever else does the same. False when there
    /// are no more. `clean`: of clean mail, too, somebody may be told.
    pub async fn notices_collect(
        &self,
        clean: bool,
        tell: &(dyn Fn(&Record) -> Vec<NoticeItem> + Sync),
    ) -> Result<bool, JournalError> {
        let Some(place) = self.notice_place().await? else { return Ok(false) };
        let (records, next) = self.records_behind(place, clean, AT_ONCE).await?;
        if next == place {
            return Ok(false);
        }
        let mut items = Vec::new();
        for record in records {
            if !self.is_notice(&record).await? {
                items.extend(tell(&record));
            }
        }
        let noted = transaction(&self.pool, async |connection| {
            let moved = sqlx::query("UPDATE notice_place SET place = ? WHERE place = ?");
            if moved.bind(next).bind(place).execute(&mut *connection).await?.rows_affected() == 0 {
                return Ok(());
            }
            // A row has eleven values; SQLite takes 32766 in one statement.
            for some in items.chunks(1000) {
                let mut query =
                    QueryBuilder::<Sqlite>::new(format!("INSERT OR IGNORE INTO notice_item (key, {ITEM}) "));
                query.push_values(some, |mut columns, item| {
                    columns
                        .push_bind(item.address.to_lowercase())
                        .push_bind(item.role.as_str())
                        .push_bind(item.address.as_str())
                        .push_bind(item.message.as_str())
                        .push_bind(item.time.as_microsecond())
                        .push_bind(item.category.name())
                        .push_bind(i64::from(item.held))
                        .push_bind(item.language.as_str())
                        .push_bind(item.listener.as_str())
                        .push_bind(item.row.as_str());
                });
                query.build().persistent(false).execute(&mut *connection).await?;
            }
            Ok(())
        })
        .await;
        noted.map(|()| true).map_err(|error| self.database_error(error))
    }

    /// The messages that were not looked at yet, `most` rows at most.
    pub async fn notices_ahead(&self, clean: bool, most: u32) -> Result<Vec<Record>, JournalError> {
        let Some(place) = self.notice_place().await? else { return Ok(Vec::new()) };
        let mut ahead = Vec::new();
        for record in self.records_behind(place, clean, most).await?.0 {
            if !self.is_notice(&record).await? {
                ahead.push(record);
            }
        }
        Ok(ahead)
    }

    /// Up to where the journal was looked at. Where it has fewer rows than that it has begun anew, and so do we.
    async fn notice_place(&self) -> Result<Option<i64>, JournalError> {
        let failed = |error| self.database_error(error);
        let sql = "SELECT place, (SELECT COALESCE(MAX(rowid), 0) FROM message) AS last FROM notice_place";
        let Some(row) = sqlx::query(sql).fetch_optional(&self.pool).await.map_err(failed)? else {
            return Ok(None);
        };
        let place: i64 = row.try_get("place").map_err(failed)?;
        let last: i64 = row.try_get("last").map_err(failed)?;
        if place <= last {
            return Ok(Some(place));
        }
        let back = sqlx::query("UPDATE notice_place SET place = 0 WHERE place = ?").bind(place);
        back.execute(&self.pool).await.map_err(failed)?;
        Ok(Some(0))
    }

    /// Records behind a place that can matter, and the place that is then reached.
    async fn records_behind(
        &self,
        place: i64,
        clean: bool,
        most: u32,
    ) -> Result<(Vec<Record>, i64), JournalError> {
        let rows = sqlx::query(
            "SELECT rowid AS place, CASE WHEN ?1 OR category <> 'clean' THEN record END AS record FROM message \
             WHERE rowid > ?2 ORDER BY rowid LIMIT ?3",
        )
        .bind(clean)
        .bind(place)
        .bind(most)
        .fetch_all(&self.pool)
        .await
        .map_err(|error| self.database_error(error))?;
        let mut records = Vec::new();
        let mut next = place;
        for row in &rows {
            next = row.try_get("place").map_err(|error| self.database_error(error))?;
            let json: Option<&str> = row.try_get("record").map_err(|error| self.database_error(error))?;
            // One that cannot be read is of another version; nobody can be told of it.
            records.extend(json.and_then(|json| serde_json::from_str::<Record>(json).ok()));
        }
        Ok((records, next))
    }

    /// Whether a message is one of our notices, which nobody is told of: its Message-ID says so, and there is such a one.
    async fn is_notice(&self, record: &Record) -> Result<bool, JournalError> {
        let id = record.message_id.strip_prefix("<notice.").and_then(|id| id.split('@').next());
        let (Some(id), None) = (id, &record.sender) else { return Ok(false) };
        let found = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM notice WHERE id = ?").bind(id);
        let found = found.fetch_one(&self.pool).await.map_err(|error| self.database_error(error))?;
        Ok(found > 0)
    }

    /// Of held messages that were released or deleted meanwhile an address is told no more.
    pub async fn notices_forget_released(&self, role: &str, key: &str) -> Result<u64, JournalError> {
        let done = sqlx::query(
            "DELETE FROM notice_item WHERE notice IS NULL AND role = ? AND key = ? AND held = 1 AND EXISTS \
             (SELECT 1 FROM message m WHERE m.id = notice_item.message AND m.state NOT IN ('held', 'releasing'))",
        )
        .bind(role)
        .bind(key)
        .execute(&self.pool)
        .await;
        done.map(|done| done.rows_affected()).map_err(|error| self.database_error(error))
    }

    /// What waits, those first that wait the longest.
    pub async fn notices_waiting(&self, now: Timestamp) -> Result<Vec<NoticeWaiting>, JournalError> {
        let rows = sqlx::query(
            "SELECT i.role, i.key, MIN(i.time) AS oldest, COUNT(*) AS messages, \
             (SELECT MAX(made) FROM notice n WHERE n.role = i.role AND n.key = i.key) AS last, \
             (SELECT COUNT(*) FROM notice n WHERE n.role = i.role AND n.key = i.key AND n.made > ?1) AS made \
             FROM notice_item i WHERE i.notice IS NULL GROUP BY i.role, i.key ORDER BY oldest, i.role, i.key LIMIT ?2",
        )
        .bind(now.as_microsecond().saturating_sub(DAY))
        .bind(GROUPS)
        .fetch_all(&self.pool)
        .await
        .map_err(|error| self.database_error(error))?;
        let waiting = rows.iter().map(|row| -> Result<NoticeWaiting, sqlx::Error> {
            Ok(NoticeWaiting {
                role: row.try_get("role")?,
                key: row.try_get("key")?,
                oldest: time_of(row, "oldest"),
                messages: row.try_get::<i64, _>("messages")?.unsigned_abs(),
                last: row.try_get::<Option<i64>, _>("last")?.map(moment),
                made: row.try_get::<i64, _>("made")?.unsigned_abs(),
            })
        });
        waiting.collect::<Result<_, _>>().map_err(|error| self.database_error(error))
    }

    /// The day's limit makes these wait; the mail that they come in will say so.
    pub async fn notices_capped(&self, role: &str, key: &str) -> Result<(), JournalError> {
        let mark =
            "UPDATE notice_item SET capped = 1 WHERE notice IS NULL AND capped = 0 AND role = ? AND key = ?";
        let done = sqlx::query(mark).bind(role).bind(key).execute(&self.pool).await;
        done.map(drop).map_err(|error| self.database_error(error))
    }

    /// Makes a mail of what waits. None if nothing does any more.
    pub async fn notices_make(
        &self,
        role: &str,
        key: &str,
        making: Making,
    ) -> Result<Option<String>, JournalError> {
        let id = new_id();
        let now = making.now.as_microsecond();
        let made = transaction(&self.pool, async |connection| {
            let marked = sqlx::query(
                "UPDATE notice_item SET notice = ?1 WHERE seq IN (SELECT seq FROM notice_item \
                 WHERE notice IS NULL AND role = ?2 AND key = ?3 ORDER BY time, seq LIMIT ?4)",
            )
            .bind(&id)
            .bind(role)
            .bind(key)
            .bind(i64::try_from(making.most).unwrap_or(i64::MAX))
            .execute(&mut *connection)
            .await?
            .rows_affected();
            if marked == 0 {
                return Ok(false);
            }
            sqlx::query(
                "INSERT INTO notice (id, role, key, address, made, capped, last, state, tries, next_try, detail) \
                 SELECT ?1, ?2, ?3, (SELECT address FROM notice_item WHERE notice = ?1 ORDER BY time DESC LIMIT 1), \
                 ?4, (SELECT MAX(capped) FROM notice_item WHERE notice = ?1), ?5, 'made', 0, ?4, ''",
            )
            .bind(&id)
            .bind(role)
            .bind(key)
            .bind(now)
            .bind(i64::from(making.last))
            .execute(&mut *connection)
            .await?;
            Ok(true)
        })
        .await;
        made.map(|made| made.then_some(id)).map_err(|error| self.database_error(error))
    }

    /// The mails that are to be sent now, the oldest first.
    pub async fn notices_pending(&self, now: Timestamp) -> Result<Vec<NoticePending>, JournalError> {
        let rows = sqlx::query(
            "SELECT id, role, address, made, capped, last, tries FROM notice \
             WHERE state = 'made' AND next_try <= ? ORDER BY made, id LIMIT ?",
        )
        .bind(now.as_microsecond())
        .bind(MAILS)
        .fetch_all(&self.pool)
        .await
        .map_err(|error| self.database_error(error))?;
        let pending = rows.iter().map(|row| -> Result<NoticePending, sqlx::Error> {
            Ok(NoticePending {
                id: row.try_get("id")?,
                role: row.try_get("role")?,
                address: row.try_get("address")?,
                made: time_of(row, "made"),
                capped: row.try_get::<i64, _>("capped")? != 0,
                last: row.try_get::<i64, _>("last")? != 0,
                tries: u32::try_from(row.try_get::<i64, _>("tries")?).unwrap_or(u32::MAX),
            })
        });
        pending.collect::<Result<_, _>>().map_err(|error| self.database_error(error))
    }

    /// Takes the right to send a mail, for half an hour; false if somebody else has it, or it was sent. One that seems to
    /// come from the future is over: the clock was set back.
    pub async fn notices_claim(&self, id: &str, now: Timestamp) -> Result<bool, JournalError> {
        self.claim_sending("notice", id, now).await
    }

    /// What stands in a mail, the same whenever it is asked for.
    pub async fn notices_content(&self, id: &str, rows: u32) -> Result<NoticeContent, JournalError> {
        self.content_where(rows, |query| {
            query.push("notice = ").push_bind(id.to_owned());
        })
        .await
    }

    /// What waits and would stand in a mail.
    pub async fn notices_waiting_content(
        &self,
        role: &str,
        key: &str,
        rows: u32,
    ) -> Result<NoticeContent, JournalError> {
        self.content_where(rows, |query| {
            query.push("notice IS NULL AND role = ").push_bind(role.to_owned());
            query.push(" AND key = ").push_bind(key.to_owned());
        })
        .await
    }

    async fn content_where(
        &self,
        rows: u32,
        condition: impl Fn(&mut QueryBuilder<Sqlite>),
    ) -> Result<NoticeContent, JournalError> {
        let failed = |error| self.database_error(error);
        let mut query = QueryBuilder::new(format!("SELECT {ITEM} FROM notice_item WHERE "));
        condition(&mut query);
        query.push(" ORDER BY time DESC, seq DESC LIMIT ").push_bind(rows);
        let items = query.build().fetch_all(&self.pool).await.map_err(failed)?;
        let items = items.iter().map(item).collect::<Result<_, _>>().map_err(failed)?;
        let mut query = QueryBuilder::new(
            "SELECT category, COUNT(*) AS messages, MIN(time) AS oldest FROM notice_item WHERE ",
        );
        condition(&mut query);
        query.push(" GROUP BY category");
        let counts = query.build().fetch_all(&self.pool).await.map_err(failed)?;
        let mut categories = Vec::new();
        let mut oldest = Timestamp::MAX;
        for row in &counts {
            let messages: i64 = row.try_get("messages").map_err(failed)?;
            categories.push((category_of(row).map_err(failed)?, messages.unsigned_abs()));
            oldest = oldest.min(time_of(row, "oldest"));
        }
        categories.sort_by(|one, other| other.cmp(one));
        Ok(NoticeContent { items, categories, oldest })
    }

    /// Ends one try: for good, or until `next_try` ([`NoticeState::Made`]).
    pub async fn notices_end(
        &self,
        id: &str,
        state: NoticeState,
        next_try: Timestamp,
        detail: &str,
    ) -> Result<(), JournalError> {
        let update = sqlx::query(
            "UPDATE notice SET state = ?, tries = tries + 1, next_try = ?, detail = ?, claimed = NULL WHERE id = ?",
        );
        let update = update.bind(state.name()).bind(next_try.as_microsecond()).bind(detail).bind(id);
        update.execute(&self.pool).await.map(drop).map_err(|error| self.database_error(error))
    }

    /// As if what was made and claimed were so much older.
    #[cfg(test)]
    pub(crate) async fn age_notices(&self, by: std::time::Duration) {
        let by = i64::try_from(by.as_micros()).unwrap();
        let age = sqlx::query("UPDATE notice SET made = made - ?1, claimed = claimed - ?1");
        age.bind(by).execute(&self.pool).await.unwrap();
    }

    /// Lets go of what is too old: what stood in mails two days after they have ended, everything after two weeks, mails
    /// that are older than `before`.
    pub async fn notices_expire(&self, now: Timestamp, before: Timestamp) -> Result<u64, JournalError> {
        /// So that the writer never waits long for its turn.
        const AT_ONCE: u32 = 5000;
        let now = now.as_microsecond();
        let mut gone = 0;
        loop {
            let done = sqlx::query(
                "DELETE FROM notice_item WHERE seq IN (SELECT seq FROM notice_item WHERE time < ?1 \
                 AND (time < ?2 OR notice IN (SELECT id FROM notice WHERE state <> 'made' AND made < ?1)) LIMIT ?3)",
            )
            .bind(now.saturating_sub(2 * DAY))
            .bind(now.saturating_sub(14 * DAY))
            .bind(AT_ONCE)
            .execute(&self.pool)
            .await
            .map_err(|error| self.database_error(error))?
            .rows_affected();
            gone += done;
            if done < u64::from(AT_ONCE) {
                break;
            }
        }
        // The last two days count for the day's limit.
        let before = before.as_microsecond().min(now.saturating_sub(2 * DAY));
        let done = sqlx::query("DELETE FROM notice WHERE made < ?").bind(before).execute(&self.pool).await;
        done.map(|_| gone).map_err(|error| self.database_error(error))
    }
}

fn item(row: &SqliteRow) -> Result<NoticeItem, sqlx::Error> {
    Ok(NoticeItem {
        role: row.try_get("role")?,
        address: row.try_get("address")?,
        message: row.try_get("message")?,
        time: time_of(row, "time"),
        category: category_of(row)?,
        held: row.try_get::<i64, _>("held")? != 0,
        language: row.try_get("language")?,
        listener: row.try_get("listener")?,
        row: row.try_get("row")?,
    })
}

/// A name that is none is of another version, and counts as harmless.
fn category_of(row: &SqliteRow) -> Result<Category, sqlx::Error> {
    let name: &str = row.try_get("category")?;
    Ok(Category::ALL.into_iter().find(|category| category.name() == name).unwrap_or(Category::Clean))
}

fn moment(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap_or_default()
}

#[cfg(test)]
mod tests;
