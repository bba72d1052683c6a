//! Reading the journal.

use ipnet::IpNet;
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use gatepost_mail::{Action, Category};

use super::state::{State, state_of, time_of};
use super::writer::client_key;
use super::{Journal, JournalError};
use crate::records::Record;

/// Which records are asked for: those that meet every condition that is set. The latest come first.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Recipient: `user@example.org`, `example.org` (and not its subdomains), `.example.org` (subdomains only).
    pub recipient: Option<String>,
    /// Envelope sender, in the same forms; `<>` is the empty one.
    pub sender: Option<String>,
    /// Category.
    pub category: Option<Category>,
    /// Action.
    pub action: Option<Action>,
    /// Client address or network.
    pub client: Option<IpNet>,
    /// At or after.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Stands in subject, From or Message-ID, in whatever case.
    pub text: Option<String>,
    /// One of these ids; empty: any.
    pub ids: Vec<String>,
    /// State of a held message.
    pub state: Option<State>,
    /// At most so many.
    pub limit: u32,
}

impl Default for Filter {
    /// The latest 100 records.
    fn default() -> Filter {
        Filter {
            recipient: None,
            sender: None,
            category: None,
            action: None,
            client: None,
            since: None,
            until: None,
            text: None,
            ids: Vec::new(),
            state: None,
            limit: 100,
        }
    }
}

/// A record in the journal, and what became of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The record.
    pub record: Record,
    /// State, if it was ever held.
    pub state: Option<State>,
    /// Since when it is in that state.
    pub state_time: Option<Timestamp>,
    /// Recipients a release has still to reach, where some have it already.
    pub remaining: Option<Vec<String>>,
}

/// The columns of an [`Entry`].
const COLUMNS: &str = "SELECT m.id, m.record, m.state, m.state_time, m.remaining FROM message m WHERE 1";
/// States a message is listed under as held.
const HELD: [State; 2] = [State::Held, State::Releasing];

impl Journal {
    /// The record with this id (case counts).
    pub async fn get(&self, id: &str) -> Result<Option<Entry>, JournalError> {
        let row = sqlx::query("SELECT id, record, state, state_time, remaining FROM message WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| self.database_error(error))?;
        row.as_ref().map(entry).transpose().map_err(|error| self.database_error(error))
    }

    /// Records of any kind, the latest first.
    pub async fn history(&self, filter: &Filter) -> Result<Vec<Entry>, JournalError> {
        let mut query = QueryBuilder::new(COLUMNS);
        conditions(&mut query, filter);
        self.entries(query, filter.limit).await
    }

    /// Messages that are held now (or in `filter.state`), the latest first.
    pub async fn held(&self, filter: &Filter) -> Result<Vec<Entry>, JournalError> {
        let mut query = QueryBuilder::new(COLUMNS);
        held_condition(&mut query, filter);
        conditions(&mut query, filter);
        self.entries(query, filter.limit).await
    }

    /// Only the ids of what [`Journal::held`] gives: for those who want many.
    pub async fn held_ids(&self, filter: &Filter) -> Result<Vec<String>, JournalError> {
        let mut query = QueryBuilder::new("SELECT m.id FROM message m WHERE 1");
        held_condition(&mut query, filter);
        conditions(&mut query, filter);
        query.push(" ORDER BY m.time DESC, m.id LIMIT ").push_bind(filter.limit);
        query.build_query_scalar().fetch_all(&self.pool).await.map_err(|error| self.database_error(error))
    }

    /// Deletes records made before `time`, except those whose message is in the vault. Gives their number.
    pub async fn purge_before(&self, time: Timestamp) -> Result<u64, JournalError> {
        /// So that the writer never waits long for its turn.
        const AT_ONCE: u32 = 1000;
        let mut purged = 0;
        loop {
            let done = sqlx::query(
                "DELETE FROM message WHERE rowid IN (SELECT rowid FROM message WHERE time < ? \
                 AND (state IS NULL OR state NOT IN ('held', 'releasing', 'released')) LIMIT ?)",
            )
            .bind(time.as_microsecond())
            .bind(AT_ONCE)
            .execute(&self.pool)
            .await
            .map_err(|error| self.database_error(error))?
            .rows_affected();
            purged += done;
            if done < u64::from(AT_ONCE) {
                return Ok(purged);
            }
        }
    }

    /// Ids in a state that follow `after` in order of id, at most `limit`: for walks over all of them.
    pub(in crate::records) async fn ids_in_states(
        &self,
        states: &[State],
        after: &str,
        limit: u32,
    ) -> Result<Vec<String>, JournalError> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT m.id FROM message m WHERE m.id > ");
        query.push_bind(after).push(" AND m.state IN (");
        list(&mut query, states.iter().map(|state| state.name()));
        query.push(") ORDER BY m.id LIMIT ").push_bind(limit);
        query.build_query_scalar().fetch_all(&self.pool).await.map_err(|error| self.database_error(error))
    }

    /// State of those of the ids that there are.
    pub(in crate::records) async fn states(
        &self,
        ids: &[String],
    ) -> Result<Vec<(String, Option<State>)>, JournalError> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT id, state FROM message WHERE id IN (");
        list(&mut query, ids.iter().map(String::as_str));
        query.push(")");
        let rows = query
            .build()
            .persistent(false)
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.database_error(error))?;
        Ok(rows.iter().filter_map(|row| Some((row.try_get("id").ok()?, state_of(row)))).collect())
    }

    async fn entries(&self, mut query: QueryBuilder<Sqlite>, limit: u32) -> Result<Vec<Entry>, JournalError> {
        query.push(" ORDER BY m.time DESC, m.id LIMIT ").push_bind(limit);
        let rows = query.build().fetch_all(&self.pool).await.map_err(|error| self.database_error(error))?;
        let mut entries = Vec::with_capacity(rows.len());
        for row in &rows {
            match entry(row) {
                Ok(entry) => entries.push(entry),
                // One record from another age must not hide all others.
                Err(error) => tracing::warn!(
                    "journal {}: record {} cannot be read: {error}",
                    self.path.display(),
                    row.try_get::<String, _>("id").unwrap_or_default()
                ),
            }
        }
        Ok(entries)
    }
}

fn entry(row: &SqliteRow) -> Result<Entry, sqlx::Error> {
    let json: &str = row.try_get("record")?;
    let remaining: Option<&str> = row.try_get("remaining")?;
    let state = state_of(row);
    Ok(Entry {
        record: serde_json::from_str(json).map_err(|error| sqlx::Error::Decode(error.into()))?,
        state,
        state_time: state.map(|_| time_of(row, "state_time")),
        remaining: remaining.and_then(|json| serde_json::from_str(json).ok()),
    })
}

fn held_condition(query: &mut QueryBuilder<Sqlite>, filter: &Filter) {
    if filter.state.is_none() {
        query.push(" AND m.state IN (");
        list(query, HELD.iter().map(|state| state.name()));
        query.push(")");
    }
}

fn conditions(query: &mut QueryBuilder<Sqlite>, filter: &Filter) {
    if let Some(recipient) = &filter.recipient {
        query.push(" AND m.id IN (SELECT r.message FROM recipient r WHERE ");
        address_condition(query, "r.address", "r.domain", recipient);
        query.push(")");
    }
    if let Some(sender) = &filter.sender {
        query.push(" AND ");
        address_condition(query, "m.sender", "m.sender_domain", sender);
    }
    if let Some(category) = filter.category {
        query.push(" AND m.category = ").push_bind(category.name());
    }
    if let Some(action) = filter.action {
        query.push(" AND m.action = ").push_bind(action.name());
    }
    if let Some(net) = filter.client {
        query.push(" AND m.client BETWEEN ").push_bind(client_key(net.network()));
        query.push(" AND ").push_bind(client_key(net.broadcast()));
    }
    if let Some(since) = filter.since {
        query.push(" AND m.time >= ").push_bind(since.as_microsecond());
    }
    if let Some(until) = filter.until {
        query.push(" AND m.time < ").push_bind(until.as_microsecond());
    }
    if let Some(text) = &filter.text {
        query.push(" AND instr(m.words, ").push_bind(text.to_lowercase()).push(") > 0");
    }
    if let Some(state) = filter.state {
        query.push(" AND m.state = ").push_bind(state.name());
    }
    if !filter.ids.is_empty() {
        query.push(" AND m.id IN (");
        list(query, filter.ids.iter().map(String::as_str));
        query.push(")");
    }
}

/// `column IN (…)` without its brackets.
fn list<'a>(query: &mut QueryBuilder<Sqlite>, values: impl Iterator<Item = &'a str>) {
    let mut items = query.separated(", ");
    for value in values {
        items.push_bind(value.to_owned());
    }
}

/// The condition of an address pattern, in the forms that policies use.
fn address_condition(query: &mut QueryBuilder<Sqlite>, address: &str, domain: &str, pattern: &str) {
    let pattern = pattern.trim().to_lowercase();
    if pattern == "<>" {
        query.push(domain).push(" = '' AND ").push(address).push(" = ''");
    } else if pattern == "*" {
        query.push("1");
    } else if pattern.starts_with('.') {
        // The tail of the domain, dot included, so that the domain itself does not match.
        let length = i64::try_from(pattern.chars().count()).unwrap_or(i64::MAX);
        query.push("substr(").push(domain).push(", -").push_bind(length).push(") = ").push_bind(pattern);
    } else if let Some(name) = pattern.strip_prefix('@') {
        query.push(domain).push(" = ").push_bind(name.to_owned());
    } else if let Some((_, name)) = pattern.rsplit_once('@') {
        // Only domains have an index: it serves both questions and costs each message one entry less.
        query.push(domain).push(" = ").push_bind(name.to_owned());
        query.push(" AND ").push(address).push(" = ").push_bind(pattern);
    } else {
        // A bare word is a domain, or a local part without one, as `postmaster` may be.
        query.push("(").push(domain).push(" = ").push_bind(pattern.clone());
        query
            .push(" OR ")
            .push(domain)
            .push(" = '' AND ")
            .push(address)
            .push(" = ")
            .push_bind(pattern)
            .push(")");
    }
}
