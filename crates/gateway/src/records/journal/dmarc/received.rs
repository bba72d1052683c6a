//! Reports that others sent: who sends as us, and what of it passes.

use gatepost_auth::report::{Report, Row};
use jiff::Timestamp;
use serde::Serialize;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::super::state::time_of;
use super::super::writer::transaction;
use super::super::{Journal, JournalError};

/// What became of a report that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It is in the journal now.
    New,
    /// It was there already.
    Known,
}

/// Which rows are shown.
#[derive(Clone, Debug)]
pub struct ReceivedFilter {
    /// Policy or author domain, with those below it.
    pub domain: Option<String>,
    /// Of reports that end at this time or later.
    pub since: Timestamp,
    /// Of reports that begin before.
    pub until: Timestamp,
    /// Only what did not pass.
    pub failing: bool,
    /// At most so many.
    pub limit: u32,
}

/// One sender with one result, over all reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReceivedLine {
    /// The sender's address.
    pub source: String,
    /// The author's domain.
    pub header_from: String,
    /// How many messages.
    pub messages: u64,
    /// An aligned identifier passed.
    pub passed: bool,
    /// What was done.
    pub disposition: String,
    /// What is told of DKIM.
    pub dkim: String,
    /// What is told of SPF.
    pub spf: String,
    /// Who reported it, the first by name.
    pub reporter: String,
    /// How many did.
    pub reporters: u64,
    /// The first day it was reported of.
    pub first: Timestamp,
    /// The last one.
    pub last: Timestamp,
}

impl Journal {
    /// Keeps a report. The same one, by its sender, id, domain and begin, is kept once.
    pub async fn dmarc_import(&self, report: &Report, now: Timestamp) -> Result<Imported, JournalError> {
        /// Nine values each; SQLite takes 32766 in one statement.
        const AT_ONCE: usize = 1000;
        let micro = |seconds: i64| seconds.saturating_mul(1_000_000);
        let imported = transaction(&self.pool, async |connection| {
            let new = sqlx::query(
                "INSERT INTO dmarc_received (org, report_id, domain, begin, end, imported) VALUES (?, ?, ?, ?, ?, ?) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(&report.org_name)
            .bind(&report.id)
            .bind(&report.published.domain)
            .bind(micro(report.begin))
            .bind(micro(report.end))
            .bind(now.as_microsecond())
            .execute(&mut *connection)
            .await?;
            if new.rows_affected() == 0 {
                return Ok(Imported::Known);
            }
            let seq = new.last_insert_rowid();
            for rows in report.rows.chunks(AT_ONCE) {
                let mut query = QueryBuilder::<Sqlite>::new(
                    "INSERT INTO dmarc_received_row (report, source, header_from, messages, passed, disposition, \
                     dkim, spf, row) ",
                );
                query.push_values(rows, |mut columns, row| {
                    columns
                        .push_bind(seq)
                        .push_bind(row.source.to_canonical().to_string())
                        .push_bind(row.header_from.as_str())
                        .push_bind(i64::try_from(row.count).unwrap_or(i64::MAX))
                        .push_bind(row.dkim_aligned || row.spf_aligned)
                        .push_bind(row.disposition.name())
                        .push_bind(dkim_of(row))
                        .push_bind(spf_of(row))
                        .push_bind(serde_json::to_string(row).unwrap_or_default());
                });
                query.build().persistent(false).execute(&mut *connection).await?;
            }
            Ok(Imported::New)
        })
        .await;
        imported.map_err(|error| self.database_error(error))
    }

    /// Who sent as whom, the most messages first.
    pub async fn dmarc_received(&self, filter: &ReceivedFilter) -> Result<Vec<ReceivedLine>, JournalError> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT r.source, r.header_from, SUM(MIN(r.messages, 1000000000000)) AS messages, r.passed, r.disposition, \
             r.dkim, r.spf, MIN(p.org) AS reporter, COUNT(DISTINCT p.org) AS reporters, MIN(p.begin) AS first, \
             MAX(p.end) AS last FROM dmarc_received_row r JOIN dmarc_received p ON p.seq = r.report WHERE p.end >= ",
        );
        query
            .push_bind(filter.since.as_microsecond())
            .push(" AND p.begin < ")
            .push_bind(filter.until.as_microsecond());
        if filter.failing {
            query.push(" AND r.passed = 0");
        }
        if let Some(domain) = &filter.domain {
            let domain = domain.to_lowercase();
            let below = format!("%.{}", domain.replace(['%', '_', '\\'], ""));
            query.push(" AND (p.domain = ").push_bind(domain.clone());
            query.push(" OR r.header_from = ").push_bind(domain);
            query.push(" OR r.header_from LIKE ").push_bind(below).push(")");
        }
        query.push(
            " GROUP BY r.source, r.header_from, r.passed, r.disposition, r.dkim, r.spf \
             ORDER BY messages DESC, r.source, r.header_from, r.dkim, r.spf LIMIT ",
        );
        query.push_bind(filter.limit);
        let rows = query.build().fetch_all(&self.pool).await.map_err(|error| self.database_error(error))?;
        let lines = rows.iter().map(|row| -> Result<ReceivedLine, sqlx::Error> {
            Ok(ReceivedLine {
                source: row.try_get("source")?,
                header_from: row.try_get("header_from")?,
                messages: row.try_get::<i64, _>("messages")?.unsigned_abs(),
                passed: row.try_get("passed")?,
                disposition: row.try_get("disposition")?,
                dkim: row.try_get("dkim")?,
                spf: row.try_get("spf")?,
                reporter: row.try_get("reporter")?,
                reporters: row.try_get::<i64, _>("reporters")?.unsigned_abs(),
                first: time_of(row, "first"),
                last: time_of(row, "last"),
            })
        });
        lines.collect::<Result<_, _>>().map_err(|error| self.database_error(error))
    }
}

/// The signature that tells most: one that passed for the author's domain, one that passed, any.
fn dkim_of(row: &Row) -> String {
    let best = row.dkim.iter().min_by_key(|signature| {
        (signature.result != "pass", signature.domain != row.header_from, signature.domain.clone())
    });
    match best {
        Some(signature) => told(&signature.result, &signature.domain, row.dkim_aligned),
        None => "none".into(),
    }
}

fn spf_of(row: &Row) -> String {
    match &row.spf {
        Some(spf) => told(&spf.result, &spf.domain, row.spf_aligned),
        None => "none".into(),
    }
}

fn told(result: &str, domain: &str, aligned: bool) -> String {
    format!("{result} {domain}{}", if aligned { ", aligned" } else { "" })
}
