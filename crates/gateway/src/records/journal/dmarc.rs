//! What DMARC said of messages, the reports that are made of it, and the reports that others sent.
//!
//! A message's row costs its path nothing: it goes into a queue that is written in batches. A report is first marked on
//! its rows and then sent, so that whoever dies in between sends the same report under the same id again, never a part
//! of it under another.

mod queue;
mod received;

use gatepost_auth::dmarc::{Dmarc, Method, Outcome, Policy, Softened};
use gatepost_auth::report::{Disposition, Override, Reason, Row};
use jiff::Timestamp;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::state::time_of;
use super::writer::transaction;
use super::{Journal, JournalError};
use crate::records::new_id;

pub(super) use queue::Queue;
pub use received::{Imported, ReceivedFilter, ReceivedLine};

/// Most rows of one report. What is beyond is told in it.
const ROWS: u32 = 50_000;

/// One message, as DMARC saw it for one author domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DmarcMessage {
    /// When it came.
    pub time: Timestamp,
    /// The policy's domain: whom the report goes to.
    pub policy_domain: String,
    /// The policy's record as it was published.
    pub policy: String,
    /// The row of the report that it counts for; its own count is 1.
    pub row: Row,
}

impl DmarcMessage {
    /// The messages to hand to [`Journal::dmarc`]: one for each author domain that has a policy and asks for reports.
    ///
    /// `row` is what they have in common: who sent it, what SPF and DKIM said, what was done, and why that is not what
    /// the policy asks for. The author's domain and its alignment are put in, and a reason where one is owed and none is
    /// given.
    pub fn of(dmarc: &Dmarc, time: Timestamp, row: &Row) -> Vec<DmarcMessage> {
        let message = |dmarc: &Dmarc| {
            let record = dmarc.record.as_ref().filter(|record| !record.rua.is_empty())?;
            let policy_domain = dmarc.policy_domain.clone()?;
            let row = row_for(dmarc, record.p, row);
            Some(DmarcMessage { time, policy_domain, policy: record.text.clone(), row })
        };
        std::iter::once(dmarc).chain(&dmarc.others).filter_map(message).collect()
    }
}

fn row_for(dmarc: &Dmarc, p: Policy, row: &Row) -> Row {
    let mut row = Row {
        count: 1,
        header_from: dmarc.domain.clone(),
        dkim_aligned: dmarc.is_aligned(Method::Dkim),
        spf_aligned: dmarc.is_aligned(Method::Spf),
        ..row.clone()
    };
    let published = dmarc.published.unwrap_or(p);
    if dmarc.result == Outcome::Pass {
        // RFC 9990 appendix A: nothing was done, since it passed where the policy is more than none.
        if published != Policy::None && row.disposition == Disposition::None {
            row.disposition = Disposition::Pass;
        }
        return row;
    }
    let reason = |kind, comment: &str| Reason { kind, comment: comment.to_owned() };
    if dmarc.softened == Some(Softened::Testing) && !row.reasons.iter().any(|r| r.kind == Override::TestMode)
    {
        row.reasons.push(reason(Override::TestMode, ""));
    }
    // One is owed where the policy was not followed (RFC 9990 section 2.1.1.9).
    if row.reasons.is_empty() && row.disposition.name() != published.name() {
        row.reasons.push(match dmarc.result {
            Outcome::TempError | Outcome::PermError => reason(Override::Other, &dmarc.why),
            _ => reason(Override::LocalPolicy, ""),
        });
    }
    row
}

/// Messages of one domain and one day (in UTC) that no report has yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The policy's domain.
    pub domain: String,
    /// Begin of the day, or of what was asked for.
    pub begin: Timestamp,
    /// Its end, not in it.
    pub end: Timestamp,
    /// How many messages.
    pub messages: u64,
}

/// A report that was made, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its id.
    pub id: String,
    /// The policy's domain.
    pub domain: String,
    /// Begin of its span.
    pub begin: Timestamp,
    /// The span's end, not in it.
    pub end: Timestamp,
    /// When it was made.
    pub made: Timestamp,
    /// Who has it.
    pub sent_to: Vec<String>,
}

/// What stands in a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// The policy's record, as it was found last.
    pub policy: String,
    /// The rows, equal ones counted together.
    pub rows: Vec<Row>,
    /// There were more.
    pub cut: bool,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportState {
    /// It is to be sent.
    Made,
    /// Everybody has it.
    Sent,
    /// Nobody wants it.
    Unwanted,
    /// It could not be sent.
    Failed,
}

impl ReportState {
    /// The name in the database and in output.
    pub const fn name(self) -> &'static str {
        match self {
            ReportState::Made => "made",
            ReportState::Sent => "sent",
            ReportState::Unwanted => "unwanted",
            ReportState::Failed => "failed",
        }
    }
}

impl Journal {
    /// Hands messages over; they are written soon, off the path. It never waits: where the disk cannot keep up, messages
    /// are left out of reports, which is logged.
    pub fn dmarc(&self, messages: Vec<DmarcMessage>) {
        messages.into_iter().for_each(|message| self.dmarc.push(message));
    }

    /// Waits until the messages handed over so far are on disk; 10 s at most.
    pub async fn dmarc_flush(&self) {
        self.dmarc.flush().await;
    }

    /// What is to be reported: a line for each domain and day with messages of that span that no report has.
    pub async fn dmarc_due(
        &self,
        since: Timestamp,
        until: Timestamp,
        domain: Option<&str>,
    ) -> Result<Vec<Due>, JournalError> {
        const DAY: i64 = 86_400_000_000;
        let (since, until) = (since.as_microsecond().max(0), until.as_microsecond());
        let rows = sqlx::query(
            "SELECT domain, time / ?1 AS day, COUNT(*) AS messages FROM dmarc_message \
             WHERE report IS NULL AND time >= ?2 AND time < ?3 AND (?4 IS NULL OR domain = ?4) \
             GROUP BY domain, day ORDER BY day, domain",
        )
        .bind(DAY)
        .bind(since)
        .bind(until)
        .bind(domain)
        .fetch_all(&self.pool)
        .await
        .map_err(|error| self.database_error(error))?;
        let due = rows.iter().map(|row| -> Result<Due, sqlx::Error> {
            let day: i64 = row.try_get("day")?;
            let begin = day.saturating_mul(DAY);
            Ok(Due {
                domain: row.try_get("domain")?,
                begin: moment(begin.max(since)),
                end: moment(begin.saturating_add(DAY).min(until)),
                messages: row.try_get::<i64, _>("messages")?.unsigned_abs(),
            })
        });
        due.collect::<Result<_, _>>().map_err(|error| self.database_error(error))
    }

    /// Makes a report of what is due: marks its messages with a new id. None if there are no such messages any more.
    pub async fn dmarc_make(
        &self,
        due: &Due,
        hostname: &str,
        now: Timestamp,
    ) -> Result<Option<String>, JournalError> {
        let day = due.begin.strftime("%Y%m%d");
        // `@` and host make it one that may stand in a Message-ID (RFC 9990 section 2.5.1).
        let id = format!("{day}.{}.{}@{hostname}", due.domain, new_id().to_ascii_lowercase());
        let (begin, end) = (due.begin.as_microsecond(), due.end.as_microsecond());
        let made = transaction(&self.pool, async |connection| {
            let marked = sqlx::query(
                "UPDATE dmarc_message SET report = ? WHERE report IS NULL AND domain = ? AND time >= ? AND time < ?",
            )
            .bind(&id)
            .bind(&due.domain)
            .bind(begin)
            .bind(end)
            .execute(&mut *connection)
            .await?
            .rows_affected();
            if marked == 0 {
                return Ok(false);
            }
            sqlx::query(
                "INSERT INTO dmarc_report (id, domain, begin, end, made, state, sent_to, detail) \
                 VALUES (?, ?, ?, ?, ?, 'made', '[]', '')",
            )
            .bind(&id)
            .bind(&due.domain)
            .bind(begin)
            .bind(end)
            .bind(now.as_microsecond())
            .execute(&mut *connection)
            .await?;
            Ok(true)
        })
        .await;
        made.map(|made| made.then_some(id)).map_err(|error| self.database_error(error))
    }

    /// The reports that are to be sent, the oldest first.
    pub async fn dmarc_pending(&self, domain: Option<&str>) -> Result<Vec<Pending>, JournalError> {
        let rows = sqlx::query(
            "SELECT id, domain, begin, end, made, sent_to FROM dmarc_report \
             WHERE state = 'made' AND (?1 IS NULL OR domain = ?1) ORDER BY made, id",
        )
        .bind(domain)
        .fetch_all(&self.pool)
        .await
        .map_err(|error| self.database_error(error))?;
        let pending = rows.iter().map(|row| -> Result<Pending, sqlx::Error> {
            let sent_to: String = row.try_get("sent_to")?;
            Ok(Pending {
                id: row.try_get("id")?,
                domain: row.try_get("domain")?,
                begin: time_of(row, "begin"),
                end: time_of(row, "end"),
                made: time_of(row, "made"),
                sent_to: serde_json::from_str(&sent_to).unwrap_or_default(),
            })
        });
        pending.collect::<Result<_, _>>().map_err(|error| self.database_error(error))
    }

    /// Takes the right to send a report, for half an hour; false if somebody else has it, or it was sent.
    /// [`Journal::dmarc_told`] begins that time anew. One that seems to come from the future is over: the clock was set
    /// back.
    pub async fn dmarc_claim(&self, id: &str, now: Timestamp) -> Result<bool, JournalError> {
        self.claim_sending("dmarc_report", id, now).await
    }

    /// Notes who has a report, and claims it for another half an hour.
    pub async fn dmarc_told(&self, id: &str, sent_to: &[String], now: Timestamp) -> Result<(), JournalError> {
        let sent_to = serde_json::to_string(sent_to).unwrap_or_else(|_| "[]".into());
        let update = sqlx::query("UPDATE dmarc_report SET sent_to = ?, claimed = ? WHERE id = ?");
        let done = update.bind(sent_to).bind(now.as_microsecond()).bind(id).execute(&self.pool).await;
        done.map(|_| ()).map_err(|error| self.database_error(error))
    }

    /// Ends the sending of a report: for good, or until it is tried again ([`ReportState::Made`]).
    pub async fn dmarc_end(&self, id: &str, state: ReportState, detail: &str) -> Result<(), JournalError> {
        let update =
            sqlx::query("UPDATE dmarc_report SET state = ?, detail = ?, claimed = NULL WHERE id = ?");
        let done = update.bind(state.name()).bind(detail).bind(id).execute(&self.pool).await;
        done.map(|_| ()).map_err(|error| self.database_error(error))
    }

    /// The rows of a report, the same in the same order whenever they are asked for; `None` if there is none.
    pub async fn dmarc_rows(&self, id: &str) -> Result<Option<Reported>, JournalError> {
        self.rows_where(|query| {
            query.push("report = ").push_bind(id.to_owned());
        })
        .await
    }

    /// As [`Journal::dmarc_rows`], of what is due.
    pub async fn dmarc_due_rows(&self, due: &Due) -> Result<Option<Reported>, JournalError> {
        self.rows_where(|query| {
            query.push("report IS NULL AND domain = ").push_bind(due.domain.clone());
            query.push(" AND time >= ").push_bind(due.begin.as_microsecond());
            query.push(" AND time < ").push_bind(due.end.as_microsecond());
        })
        .await
    }

    async fn rows_where(
        &self,
        condition: impl Fn(&mut QueryBuilder<Sqlite>),
    ) -> Result<Option<Reported>, JournalError> {
        let failed = |error| self.database_error(error);
        let mut last = QueryBuilder::new("SELECT policy FROM dmarc_message WHERE ");
        condition(&mut last);
        last.push(" ORDER BY time DESC, seq DESC LIMIT 1");
        let policy = last.build_query_scalar().fetch_optional(&self.pool).await.map_err(failed)?;
        let Some(policy) = policy else { return Ok(None) };
        let mut all = QueryBuilder::new("SELECT row, COUNT(*) AS messages FROM dmarc_message WHERE ");
        condition(&mut all);
        all.push(" GROUP BY row ORDER BY row LIMIT ").push_bind(ROWS + 1);
        let found = all.build().fetch_all(&self.pool).await.map_err(failed)?;
        let mut rows = Vec::with_capacity(found.len());
        for row in &found {
            let json: String = row.try_get("row").map_err(failed)?;
            let messages: i64 = row.try_get("messages").map_err(failed)?;
            // One that cannot be read is of another version; the rest is worth reporting.
            if let Ok(row) = serde_json::from_str::<Row>(&json) {
                rows.push(Row { count: messages.unsigned_abs(), ..row });
            }
        }
        let cut = rows.len() > ROWS as usize;
        rows.truncate(ROWS as usize);
        Ok(Some(Reported { policy, rows, cut }))
    }

    /// Lets go of what is too old: messages two days after their report has ended and at the latest after two weeks,
    /// reports of either kind that are older than `before`. Gives how many messages.
    pub async fn dmarc_expire(&self, now: Timestamp, before: Timestamp) -> Result<u64, JournalError> {
        /// So that the writer never waits long for its turn.
        const AT_ONCE: u32 = 5000;
        const DAY: i64 = 86_400_000_000;
        let now = now.as_microsecond();
        let mut gone = 0;
        loop {
            let done = sqlx::query(
                "DELETE FROM dmarc_message WHERE seq IN (SELECT seq FROM dmarc_message WHERE time < ?1 \
                 AND (time < ?2 OR report IN (SELECT id FROM dmarc_report WHERE state <> 'made')) LIMIT ?3)",
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
        for sql in ["DELETE FROM dmarc_report WHERE made < ?", "DELETE FROM dmarc_received WHERE end < ?"] {
            let done = sqlx::query(sql).bind(before.as_microsecond()).execute(&self.pool).await;
            done.map_err(|error| self.database_error(error))?;
        }
        Ok(gone)
    }
}

fn moment(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap_or_default()
}

#[cfg(test)]
mod tests;
