//! What became of held messages: a state each, changed only by conditional updates, and a list of events.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::Row as _;

use super::writer::{Existing, insert, row, transaction};
use super::{Journal, JournalError};
use crate::records::{Record, new_id};

/// A claim that is not renewed for so long belongs to a process that is gone.
pub const CLAIM_TIME: Duration = Duration::from_secs(60);

/// State of a message that was held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// In the vault, waiting.
    Held,
    /// Being released right now.
    Releasing,
    /// Released; the original stays in the vault until it expires.
    Released,
    /// Deleted by somebody.
    Deleted,
    /// Deleted because its time was over.
    Expired,
    /// The journal says held, but the vault has no such file.
    Missing,
}

impl State {
    /// All of them.
    pub const ALL: [State; 6] =
        [State::Held, State::Releasing, State::Released, State::Deleted, State::Expired, State::Missing];

    /// The name in the database and in output.
    pub const fn name(self) -> &'static str {
        match self {
            State::Held => "held",
            State::Releasing => "releasing",
            State::Released => "released",
            State::Deleted => "deleted",
            State::Expired => "expired",
            State::Missing => "missing",
        }
    }

    /// By its name.
    pub fn from_name(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether the vault should have the original.
    pub const fn in_vault(self) -> bool {
        matches!(self, State::Held | State::Releasing | State::Released)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that happened to a message after its record was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// What.
    pub kind: EventKind,
    /// Details: the next hop's reply, the new recipient, the reason.
    pub detail: String,
    /// Who did it: a user's name, or `gatepost`.
    pub who: String,
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// Put back among the held.
    Held,
    /// A release was begun.
    Releasing,
    /// Released to its recipients.
    Released,
    /// Released to some of its recipients; it stays held for the others.
    ReleasedInPart,
    /// A release that the next hop refused.
    ReleaseFailed,
    /// Sent to another address.
    Forwarded,
    /// Deleted.
    Deleted,
    /// Its time was over.
    Expired,
    /// Its file is not in the vault.
    Missing,
    /// The record was made again from the vault's file.
    Recovered,
}

impl EventKind {
    const ALL: [EventKind; 10] = [
        EventKind::Held,
        EventKind::Releasing,
        EventKind::Released,
        EventKind::ReleasedInPart,
        EventKind::ReleaseFailed,
        EventKind::Forwarded,
        EventKind::Deleted,
        EventKind::Expired,
        EventKind::Missing,
        EventKind::Recovered,
    ];

    /// The name in the database and in output.
    pub const fn name(self) -> &'static str {
        match self {
            EventKind::Held => "held",
            EventKind::Releasing => "releasing",
            EventKind::Released => "released",
            EventKind::ReleasedInPart => "released-in-part",
            EventKind::ReleaseFailed => "release-failed",
            EventKind::Forwarded => "forwarded",
            EventKind::Deleted => "deleted",
            EventKind::Expired => "expired",
            EventKind::Missing => "missing",
            EventKind::Recovered => "recovered",
        }
    }
}

impl From<State> for EventKind {
    fn from(state: State) -> EventKind {
        match state {
            State::Held => EventKind::Held,
            State::Releasing => EventKind::Releasing,
            State::Released => EventKind::Released,
            State::Deleted => EventKind::Deleted,
            State::Expired => EventKind::Expired,
            State::Missing => EventKind::Missing,
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Answer to [`Journal::claim`].
#[derive(Debug)]
pub enum Claim {
    /// The message is ours to release.
    Taken(Ticket),
    /// It has been released already.
    AlreadyReleased(Timestamp),
    /// Somebody is releasing it; the time is when the claim was last renewed.
    Busy(Timestamp),
    /// It is not held (any more).
    NotHeld(Option<State>),
    /// There is no such record.
    Unknown,
}

/// The right to release one message, for [`CLAIM_TIME`] unless renewed.
#[derive(Debug)]
pub struct Ticket {
    id: String,
    token: String,
    before: State,
    /// A release was begun at that time and never ended, so its recipients may have the message already.
    pub interrupted: Option<Timestamp>,
    /// The recipients that did not get it yet; None: all.
    pub remaining: Option<Vec<String>>,
}

impl Ticket {
    /// Which message.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl Journal {
    /// Sets the state of a message and notes the event. Says whether it was there; a message that is being released
    /// right now is left alone and counts as not there.
    pub async fn set_state(
        &self,
        id: &str,
        state: State,
        detail: &str,
        who: &str,
    ) -> Result<bool, JournalError> {
        let from = [State::Held, State::Released, State::Deleted, State::Expired, State::Missing];
        self.change_state(id, &from, state, detail, who).await
    }

    /// Sets the state if it is one of `from` (a claim that has run out counts as held), and notes the event. Says
    /// whether it did.
    pub async fn change_state(
        &self,
        id: &str,
        from: &[State],
        to: State,
        detail: &str,
        who: &str,
    ) -> Result<bool, JournalError> {
        let now = Timestamp::now();
        let change = transaction(&self.pool, async |connection| {
            let found = sqlx::query("SELECT state, state_time FROM message WHERE id = ?")
                .bind(id)
                .fetch_optional(&mut *connection)
                .await?;
            let Some(found) = found else { return Ok(false) };
            let before = match state_of(&found) {
                Some(State::Releasing) if is_over(time_of(&found, "state_time"), now) => Some(State::Held),
                state => state,
            };
            if !before.is_some_and(|state| from.contains(&state)) {
                return Ok(false);
            }
            sqlx::query("UPDATE message SET state = ?, state_time = ?, claim = NULL WHERE id = ?")
                .bind(to.name())
                .bind(now.as_microsecond())
                .bind(id)
                .execute(&mut *connection)
                .await?;
            add_event(connection, id, now, to.into(), detail, who).await?;
            Ok(true)
        });
        change.await.map_err(|error| self.database_error(error))
    }

    /// Notes an event without a change of state (`Forwarded`, say). Says whether there is such a record.
    pub async fn note(
        &self,
        id: &str,
        kind: EventKind,
        detail: &str,
        who: &str,
    ) -> Result<bool, JournalError> {
        let noted = sqlx::query(
            "INSERT INTO event (message, time, kind, detail, who) SELECT id, ?, ?, ?, ? FROM message WHERE id = ?",
        )
        .bind(Timestamp::now().as_microsecond())
        .bind(kind.name())
        .bind(detail)
        .bind(who)
        .bind(id)
        .execute(&self.pool)
        .await;
        Ok(noted.map_err(|error| self.database_error(error))?.rows_affected() > 0)
    }

    /// What happened to a message, the earliest first.
    pub async fn events(&self, id: &str) -> Result<Vec<Event>, JournalError> {
        let rows = sqlx::query("SELECT time, kind, detail, who FROM event WHERE message = ? ORDER BY seq")
            .bind(id)
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.database_error(error))?;
        Ok(rows.iter().filter_map(event_of).collect())
    }

    /// Puts a record in that came from a vault file, unless there is one already. Says whether there was none.
    pub async fn recover(&self, record: &Record) -> Result<bool, JournalError> {
        let Some(row) = row(record) else { return Ok(false) };
        let written =
            insert(&self.pool, &[row], Existing::Keep).await.map_err(|error| self.database_error(error))?;
        if written > 0 {
            self.note(&record.id, EventKind::Recovered, "made again from the vault's file", "gatepost")
                .await?;
        }
        Ok(written > 0)
    }

    /// Makes a record that was not held a held one, because the vault has its message. Says whether it did.
    pub(in crate::records) async fn adopt(&self, id: &str, key: &str) -> Result<bool, JournalError> {
        let adopted = sqlx::query(
            "UPDATE message SET state = 'held', state_time = ?, vault_key = ? WHERE id = ? AND state IS NULL",
        )
        .bind(Timestamp::now().as_microsecond())
        .bind(key)
        .bind(id)
        .execute(&self.pool)
        .await
        .map_err(|error| self.database_error(error))?;
        if adopted.rows_affected() > 0 {
            self.note(id, EventKind::Recovered, "found in the vault", "gatepost").await?;
        }
        Ok(adopted.rows_affected() > 0)
    }

    /// Takes a held message (with `again`, a released one as well) to release it. Of several that try at the same
    /// time, in this or another process, one gets it.
    pub async fn claim(&self, id: &str, again: bool, who: &str) -> Result<Claim, JournalError> {
        let claim = transaction(&self.pool, async |connection| claim(connection, id, again, who).await);
        claim.await.map_err(|error| self.database_error(error))
    }

    /// Renews a claim. False: it ran out and somebody else has taken it.
    pub async fn renew(&self, ticket: &Ticket) -> Result<bool, JournalError> {
        let renewed = sqlx::query("UPDATE message SET state_time = ? WHERE id = ? AND claim = ?")
            .bind(Timestamp::now().as_microsecond())
            .bind(&ticket.id)
            .bind(&ticket.token)
            .execute(&self.pool)
            .await;
        Ok(renewed.map_err(|error| self.database_error(error))?.rows_affected() > 0)
    }

    /// Ends a claim. `left` are the recipients that did not get the message: none of them makes it `released`; some,
    /// and it is held for those; `None` (nothing was delivered), and it is what it was before.
    pub async fn settle(
        &self,
        ticket: &Ticket,
        left: Option<&[String]>,
        detail: &str,
        who: &str,
    ) -> Result<(), JournalError> {
        let (state, kind, remaining) = match left {
            Some([]) => (State::Released, EventKind::Released, None),
            Some(some) => (State::Held, EventKind::ReleasedInPart, Some(some)),
            None => (ticket.before, EventKind::ReleaseFailed, ticket.remaining.as_deref()),
        };
        let remaining = remaining.and_then(|left| serde_json::to_string(left).ok());
        let now = Timestamp::now();
        let settle = transaction(&self.pool, async |connection| {
            sqlx::query(
                "UPDATE message SET state = ?, state_time = ?, claim = NULL, remaining = ? WHERE id = ? AND claim = ?",
            )
            .bind(state.name())
            .bind(now.as_microsecond())
            .bind(remaining)
            .bind(&ticket.id)
            .bind(&ticket.token)
            .execute(&mut *connection)
            .await?;
            // Noted even when the claim has run out: it happened all the same.
            add_event(connection, &ticket.id, now, kind, detail, who).await
        });
        settle.await.map_err(|error| self.database_error(error))
    }
}

/// Does what [`Journal::claim`] says, inside a transaction.
async fn claim(
    connection: &mut sqlx::SqliteConnection,
    id: &str,
    again: bool,
    who: &str,
) -> Result<Claim, sqlx::Error> {
    let now = Timestamp::now();
    let found = sqlx::query("SELECT state, state_time, remaining FROM message WHERE id = ?")
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(found) = found else { return Ok(Claim::Unknown) };
    let since = time_of(&found, "state_time");
    let (before, interrupted) = match state_of(&found) {
        Some(State::Held) => (State::Held, None),
        Some(State::Released) if again => (State::Released, None),
        Some(State::Released) => return Ok(Claim::AlreadyReleased(since)),
        Some(State::Releasing) if is_over(since, now) => (State::Held, Some(since)),
        Some(State::Releasing) => return Ok(Claim::Busy(since)),
        other => return Ok(Claim::NotHeld(other)),
    };
    let remaining: Option<String> = found.try_get("remaining")?;
    let ticket = Ticket {
        id: id.to_owned(),
        token: new_id(),
        before,
        interrupted,
        remaining: remaining.and_then(|json| serde_json::from_str(&json).ok()),
    };
    sqlx::query("UPDATE message SET state = 'releasing', state_time = ?, claim = ? WHERE id = ?")
        .bind(now.as_microsecond())
        .bind(&ticket.token)
        .bind(id)
        .execute(&mut *connection)
        .await?;
    add_event(connection, id, now, EventKind::Releasing, "", who).await?;
    Ok(Claim::Taken(ticket))
}

/// The state in a row's `state` column.
pub(super) fn state_of(row: &sqlx::sqlite::SqliteRow) -> Option<State> {
    row.try_get::<Option<String>, _>("state").ok().flatten().and_then(|name| State::from_name(&name))
}

/// The time in a column; 1970 when there is none.
pub(super) fn time_of(row: &sqlx::sqlite::SqliteRow, column: &str) -> Timestamp {
    let microseconds = row.try_get::<Option<i64>, _>(column).ok().flatten().unwrap_or_default();
    Timestamp::from_microsecond(microseconds).unwrap_or_default()
}

fn is_over(since: Timestamp, now: Timestamp) -> bool {
    // A clock that was set back makes a claim look as if it came from the future; that one is over as well.
    now.duration_since(since).unsigned_abs() > CLAIM_TIME
}

fn event_of(row: &sqlx::sqlite::SqliteRow) -> Option<Event> {
    let name: String = row.try_get("kind").ok()?;
    Some(Event {
        time: time_of(row, "time"),
        kind: EventKind::ALL.into_iter().find(|kind| kind.name() == name)?,
        detail: row.try_get("detail").ok()?,
        who: row.try_get("who").ok()?,
    })
}

async fn add_event(
    connection: &mut sqlx::SqliteConnection,
    id: &str,
    time: Timestamp,
    kind: EventKind,
    detail: &str,
    who: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO event (message, time, kind, detail, who) VALUES (?, ?, ?, ?, ?)")
        .bind(id)
        .bind(time.as_microsecond())
        .bind(kind.name())
        .bind(detail)
        .bind(who)
        .execute(connection)
        .await?;
    Ok(())
}
