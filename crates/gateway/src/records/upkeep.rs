//! Upkeep of journal and vault: making them agree after a crash, and letting go of what is too old.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use gatepost_mail::Category;
use jiff::Timestamp;

use super::journal::{Filter, Journal, JournalError, State};
use super::vault::{Vault, VaultError};
use crate::config::typed;

/// How many entries are handled in one step.
const STEP: usize = 500;
const WHO: &str = "gatepost";

/// What [`reconcile`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Files in the vault.
    pub files: u64,
    /// Records that were made again from their file.
    pub recovered: u64,
    /// Messages the journal calls held whose file is gone; they are marked `missing`.
    pub missing: u64,
    /// Files of messages that were deleted or had expired, removed now.
    pub removed: u64,
    /// Files that cannot be read. They stay.
    pub unreadable: u64,
}

impl fmt::Display for Reconciled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reconciled { files, recovered, missing, removed, unreadable } = self;
        write!(
            f,
            "{files} files in the vault, {recovered} records recovered, {missing} files missing, {removed} remains \
             removed, {unreadable} files unreadable"
        )
    }
}

/// Makes journal and vault agree, once at start. A crash between the vault's fsync and the journal's next batch loses
/// the record; it stands in the vault's file as well and is put back from there.
pub async fn reconcile(vault: &Vault, journal: &Journal) -> Result<Reconciled, UpkeepError> {
    let mut report = Reconciled::default();
    let mut keys = Some(vault.list());
    while let Some(mut rest) = keys.take() {
        let (step, rest) = vault
            .blocking(move |_| {
                let step: Result<Vec<String>, VaultError> = rest.by_ref().take(STEP).collect();
                step.map(|step| (step, rest))
            })
            .await?;
        if step.is_empty() {
            break;
        }
        keys = Some(rest);
        report.files += step.len() as u64;
        compare_with_journal(vault, journal, &step, &mut report).await?;
    }
    find_missing(vault, journal, &mut report).await?;
    Ok(report)
}

/// What [`expire`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Messages whose time in the vault was over.
    pub messages: u64,
    /// Records that were deleted from the journal.
    pub records: u64,
    /// Messages that could not be deleted; the log says why. They are tried again.
    pub failed: u64,
}

impl fmt::Display for Expired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Expired { messages, records, failed } = self;
        write!(
            f,
            "{messages} messages expired, {records} records deleted, {failed} messages could not be deleted"
        )
    }
}

/// Deletes held and released messages that are older than their category is kept, then records older than
/// `journal.keep_days`. The record of a message in the vault stays as long as the message.
pub async fn expire(
    journal: &Journal,
    vault: &Vault,
    quarantine: &typed::Quarantine,
    records: &typed::Journal,
    now: Timestamp,
) -> Result<Expired, UpkeepError> {
    let mut report = Expired::default();
    for category in Category::ALL {
        let days = keep_days(quarantine, category);
        for state in [State::Held, State::Releasing, State::Released] {
            expire_some(journal, vault, category, state, before(now, days), &mut report).await?;
        }
    }
    report.records = journal.purge_before(before(now, records.keep_days)).await?;
    journal.dmarc_expire(now, before(now, records.keep_days)).await?;
    journal.notices_expire(now, before(now, records.keep_days)).await?;
    Ok(report)
}

/// Days that messages of a category are kept.
pub fn keep_days(quarantine: &typed::Quarantine, category: Category) -> u32 {
    let general = if category == Category::Virus { quarantine.keep_days_virus } else { quarantine.keep_days };
    quarantine.keep_days_for.get(&category).copied().unwrap_or(general)
}

/// Deletes a message from the vault and marks it, if its state is one of `from`. False: it is not, or somebody is
/// releasing it. The mark comes first, so that nobody releases what is about to go; when the file cannot be deleted
/// the mark is taken back.
pub async fn remove(
    journal: &Journal,
    vault: &Vault,
    id: &str,
    to: State,
    detail: &str,
    who: &str,
) -> Result<bool, UpkeepError> {
    // One after the other, so that it is known which of them it was.
    for before in [State::Held, State::Released, State::Missing] {
        if !journal.change_state(id, &[before], to, detail, who).await? {
            continue;
        }
        if let Err(error) = vault.delete_async(&Vault::key(id)).await {
            journal.change_state(id, &[to], before, &format!("could not be deleted: {error}"), WHO).await?;
            return Err(error.into());
        }
        return Ok(true);
    }
    Ok(false)
}

/// An error of the journal or of the vault.
#[derive(Debug)]
pub enum UpkeepError {
    /// Of the journal.
    Journal(JournalError),
    /// Of the vault.
    Vault(VaultError),
}

impl fmt::Display for UpkeepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpkeepError::Journal(error) => error.fmt(f),
            UpkeepError::Vault(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for UpkeepError {}

impl From<JournalError> for UpkeepError {
    fn from(error: JournalError) -> UpkeepError {
        UpkeepError::Journal(error)
    }
}

impl From<VaultError> for UpkeepError {
    fn from(error: VaultError) -> UpkeepError {
        UpkeepError::Vault(error)
    }
}

/// One step of the way from the vault to the journal.
async fn compare_with_journal(
    vault: &Vault,
    journal: &Journal,
    keys: &[String],
    report: &mut Reconciled,
) -> Result<(), UpkeepError> {
    let ids: Vec<String> = keys.iter().filter_map(|key| Some(key.split_once('/')?.1.to_owned())).collect();
    let known: HashMap<String, Option<State>> = journal.states(&ids).await?.into_iter().collect();
    for id in ids {
        let key = Vault::key(&id);
        match known.get(&id) {
            Some(Some(state)) if state.in_vault() => {}
            Some(Some(State::Deleted | State::Expired)) => {
                report.removed += u64::from(vault.delete_async(&key).await?);
            }
            // The journal lost sight of it, or says it is missing; here it is.
            Some(Some(_)) => {
                journal.change_state(&id, &[State::Missing], State::Held, "found in the vault", WHO).await?;
                report.recovered += 1;
            }
            // Its record says it was not held, yet it was put here: the session ended in between.
            Some(None) => report.recovered += u64::from(journal.adopt(&id, &key).await?),
            None => match vault.blocking(move |vault| vault.peek(&key)).await {
                Ok(held) => report.recovered += u64::from(recover(journal, held.record).await?),
                Err(error) => {
                    tracing::error!("{error}");
                    report.unreadable += 1;
                }
            },
        }
    }
    Ok(())
}

/// Puts the record of a vault file into the journal.
pub(super) async fn recover(journal: &Journal, mut record: super::Record) -> Result<bool, JournalError> {
    // It may have been made before its key was known.
    record.quarantine = Some(Vault::key(&record.id));
    journal.recover(&record).await
}

/// The way back: held messages without a file.
async fn find_missing(vault: &Vault, journal: &Journal, report: &mut Reconciled) -> Result<(), UpkeepError> {
    let states = [State::Held, State::Releasing, State::Released];
    let mut after = String::new();
    loop {
        let ids = journal.ids_in_states(&states, &after, STEP as u32).await?;
        let Some(last) = ids.last() else { return Ok(()) };
        after.clone_from(last);
        let gone = vault
            .blocking(move |vault| {
                Ok(ids.into_iter().filter(|id| !vault.contains(&Vault::key(id))).collect::<Vec<_>>())
            })
            .await?;
        for id in gone {
            let from = [State::Held, State::Released];
            if journal.change_state(&id, &from, State::Missing, "its file is not in the vault", WHO).await? {
                tracing::error!("vault: the journal holds {id}, but there is no file {}", Vault::key(&id));
                report.missing += 1;
            }
        }
    }
}

async fn expire_some(
    journal: &Journal,
    vault: &Vault,
    category: Category,
    state: State,
    until: Timestamp,
    report: &mut Expired,
) -> Result<(), UpkeepError> {
    loop {
        let filter = Filter {
            category: Some(category),
            state: Some(state),
            until: Some(until),
            limit: STEP as u32,
            ..Filter::default()
        };
        let ids = journal.held_ids(&filter).await?;
        let mut done = 0;
        for id in &ids {
            match remove(journal, vault, id, State::Expired, "", WHO).await {
                Ok(true) => done += 1,
                // It is being released; next time.
                Ok(false) => {}
                Err(error) => {
                    tracing::error!("message {id} has expired but stays: {error}");
                    report.failed += 1;
                }
            }
        }
        report.messages += done;
        // What stays would come again and again.
        if ids.len() < STEP || done == 0 {
            return Ok(());
        }
    }
}

fn before(now: Timestamp, days: u32) -> Timestamp {
    let age = Duration::from_secs(u64::from(days) * 24 * 60 * 60);
    now.checked_sub(age).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests;
