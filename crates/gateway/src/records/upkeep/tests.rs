//! Tests of upkeep, with a process that is killed on the way.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use super::super::samples::{ORIGINAL, clean_record, held, hold, open};
use super::super::{EventKind, Record};
use super::*;

fn some_time() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

async fn state(journal: &Journal, id: &str) -> Option<State> {
    journal.get(id).await.unwrap().and_then(|entry| entry.state)
}

#[tokio::test(flavor = "multi_thread")]
async fn journal_and_vault_are_made_to_agree() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, vault) = open(folder.path()).await;
    for id in ["good", "gone", "deleted", "expired", "lost", "freed"] {
        hold(&journal, &vault, id, Category::Spam, some_time()).await;
    }
    // A crash between the vault's fsync and the journal's batch.
    vault.put(&held("crashed"), ORIGINAL).unwrap();
    // A session that ended between vault and reply: its record does not speak of the vault.
    vault.put(&held("unsaid"), ORIGINAL).unwrap();
    journal.write(clean_record("unsaid").into()).await;
    journal.flush().await.unwrap();
    // A file that somebody took away, and one that came back.
    vault.delete("g/gone").unwrap();
    journal.set_state("lost", State::Missing, "", "test").await.unwrap();
    // A crash between mark and removal.
    journal.set_state("deleted", State::Deleted, "", "test").await.unwrap();
    journal.set_state("expired", State::Expired, "", "test").await.unwrap();
    journal.set_state("freed", State::Released, "", "test").await.unwrap();
    std::fs::write(vault.folder().join("g/garbage"), "gpvault").unwrap();

    let report = reconcile(&vault, &journal).await.unwrap();
    assert_eq!(report, Reconciled { files: 8, recovered: 3, missing: 1, removed: 2, unreadable: 1 });
    for (id, expected) in [
        ("good", Some(State::Held)),
        ("gone", Some(State::Missing)),
        ("deleted", Some(State::Deleted)),
        ("expired", Some(State::Expired)),
        ("lost", Some(State::Held)),
        ("freed", Some(State::Released)),
        ("crashed", Some(State::Held)),
        ("unsaid", Some(State::Held)),
        ("garbage", None),
    ] {
        assert_eq!(state(&journal, id).await, expected, "{id}");
    }
    let recovered = journal.get("crashed").await.unwrap().unwrap().record;
    assert_eq!(
        serde_json::to_value(recovered).unwrap(),
        serde_json::to_value(held("crashed").record).unwrap()
    );
    assert_eq!(journal.events("crashed").await.unwrap()[0].kind, EventKind::Recovered);

    let again = reconcile(&vault, &journal).await.unwrap();
    assert_eq!(again, Reconciled { files: 6, unreadable: 1, ..Reconciled::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_one_step_is_walked() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, vault) = open(folder.path()).await;
    let count = STEP + 50;
    // Each is synced to disk, which several can wait for together.
    std::thread::scope(|scope| {
        for first in 0..16 {
            let vault = &vault;
            scope.spawn(move || {
                for place in (first..count).step_by(16) {
                    vault.put(&held(&format!("n{place}")), b"x").unwrap();
                }
            });
        }
    });
    let report = reconcile(&vault, &journal).await.unwrap();
    assert_eq!(report, Reconciled { files: count as u64, recovered: count as u64, ..Reconciled::default() });
    for key in vault.list() {
        vault.delete(&key.unwrap()).unwrap();
    }
    let report = reconcile(&vault, &journal).await.unwrap();
    assert_eq!(report, Reconciled { missing: count as u64, ..Reconciled::default() });
}

/// Environment variable that makes [`victim`] a process to be killed: the folder to write to.
const VICTIM: &str = "GATEPOST_TEST_VICTIM";

/// Not a test of its own: the process that is killed by the next one. It holds messages and says each id once the
/// vault has it.
#[tokio::test(flavor = "multi_thread")]
async fn victim() {
    let Ok(folder) = std::env::var(VICTIM) else { return };
    let (journal, vault) = open(folder.as_ref()).await;
    for place in 0..100_000_u32 {
        let entry = held(&format!("k{}p{place}", std::process::id()));
        vault.put(&entry, &[ORIGINAL, &[b'x'; 20_000]].concat()).unwrap();
        println!("put {}", entry.record.id);
        std::io::stdout().flush().unwrap();
        journal.write(entry.record.into()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_writer_loses_no_held_message() {
    let folder = tempfile::tempdir().unwrap();
    let mut put: Vec<String> = Vec::new();
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "records::upkeep::tests::victim", "--nocapture", "--test-threads=1"])
            .env(VICTIM, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut ids = lines.filter_map(|line| Some(line.split_once("put ")?.1.to_owned()));
        put.extend(ids.by_ref().take(1 + round * 2));
        std::thread::sleep(std::time::Duration::from_micros(700 * round as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        put.extend(ids);

        let (journal, vault) = open(folder.path()).await;
        vault.sweep_temp().unwrap();
        let report = reconcile(&vault, &journal).await.unwrap();
        assert_eq!((report.missing, report.removed, report.unreadable), (0, 0, 0), "round {round}");
        assert!(report.files >= put.len() as u64, "round {round}");
        for id in &put {
            assert_eq!(state(&journal, id).await, Some(State::Held), "round {round}, {id}");
            assert!(vault.get(&Vault::key(id)).is_ok(), "round {round}, {id}");
        }
        journal.close().await.unwrap();
    }
    assert!(put.len() >= 12, "the victims did something");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_expire_by_category_and_records_after_them() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, vault) = open(folder.path()).await;
    let now = some_time();
    let days_ago = |days: u32| now - jiff::SignedDuration::from_hours(24 * i64::from(days));
    for (id, category, age) in [
        ("virusOld", Category::Virus, 7),
        ("virusNew", Category::Virus, 5),
        ("spamOld", Category::Spam, 91),
        ("spamNew", Category::Spam, 89),
        ("bannedOld", Category::Banned, 31),
        ("bannedNew", Category::Banned, 29),
        ("freedOld", Category::Spam, 91),
        ("busyOld", Category::Spam, 91),
    ] {
        hold(&journal, &vault, id, category, days_ago(age)).await;
    }
    journal.set_state("freedOld", State::Released, "", "test").await.unwrap();
    let claim = journal.claim("busyOld", false, "test").await.unwrap();
    for (id, age) in [("cleanOld", 91), ("cleanNew", 89)] {
        journal.write(Record { time: days_ago(age), ..clean_record(id) }.into()).await;
    }
    journal.flush().await.unwrap();
    let mut quarantine = typed::Quarantine::default();
    quarantine.keep_days_for.insert(Category::Banned, 30);
    // Shorter than messages are kept: their records stay with them.
    let records = typed::Journal { keep_days: 90, ..typed::Journal::default() };

    let report = expire(&journal, &vault, &quarantine, &records, now).await.unwrap();
    assert_eq!(report, Expired { messages: 4, records: 3, failed: 0 });
    for (id, there) in [
        ("virusOld", false),
        ("virusNew", true),
        ("spamOld", false),
        ("spamNew", true),
        ("bannedOld", false),
        ("bannedNew", true),
        ("freedOld", false),
        ("busyOld", true),
    ] {
        assert_eq!(vault.contains(&Vault::key(id)), there, "{id}");
    }
    assert_eq!(state(&journal, "virusOld").await, Some(State::Expired), "its record is young enough");
    assert_eq!(journal.events("virusOld").await.unwrap()[0].kind, EventKind::Expired);
    assert!(journal.get("spamOld").await.unwrap().is_none(), "its record is too old as well");
    assert!(journal.get("cleanOld").await.unwrap().is_none());
    assert!(journal.get("cleanNew").await.unwrap().is_some());
    drop(claim);
    let again = expire(&journal, &vault, &quarantine, &records, now).await.unwrap();
    assert_eq!(again, Expired::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_deleted_stays_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, vault) = open(folder.path()).await;
    for (id, before) in [("a1", State::Held), ("a2", State::Released)] {
        hold(&journal, &vault, id, Category::Spam, some_time()).await;
        journal.set_state(id, before, "", "test").await.unwrap();
        // A folder in the file's place cannot be removed as a file.
        vault.delete(&Vault::key(id)).unwrap();
        std::fs::create_dir(vault.folder().join(Vault::key(id))).unwrap();
        assert!(remove(&journal, &vault, id, State::Deleted, "", "test").await.is_err());
        assert_eq!(state(&journal, id).await, Some(before), "{id}");
    }
}

#[test]
fn days_by_category() {
    let mut quarantine = typed::Quarantine::default();
    assert_eq!(keep_days(&quarantine, Category::Virus), 6);
    assert_eq!(keep_days(&quarantine, Category::Banned), 90);
    quarantine.keep_days_for.insert(Category::Virus, 3);
    assert_eq!(keep_days(&quarantine, Category::Virus), 3);
}
