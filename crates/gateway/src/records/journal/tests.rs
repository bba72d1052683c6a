//! Tests of the journal.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use gatepost_mail::{Action, Category};

use super::super::samples::{clean_record, record};
use super::writer::BATCH;
use super::*;

async fn journal(folder: &tempfile::TempDir) -> Journal {
    Journal::open(&folder.path().join("journal.db")).await.unwrap()
}

async fn write_all(journal: &Journal, records: impl IntoIterator<Item = Record>) {
    for record in records {
        journal.write(Arc::new(record)).await;
    }
    journal.flush().await.unwrap();
}

fn ids(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.record.id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_read_back_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    write_all(&journal, [record("a1")]).await;
    let entry = journal.get("a1").await.unwrap().unwrap();
    assert_eq!(serde_json::to_value(&entry.record).unwrap(), serde_json::to_value(record("a1")).unwrap());
    assert_eq!(entry.state, None, "it was never held");
    assert!(journal.get("a2").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_are_batched_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Arc::new(journal(&folder).await);
    let started = Instant::now();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let journal = journal.clone();
            tokio::spawn(async move {
                for place in 0..1000 {
                    journal.write(Arc::new(clean_record(&format!("w{writer}n{place}")))).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    journal.flush().await.unwrap();
    println!("8000 records in {:?}", started.elapsed());
    let all = Filter { limit: u32::MAX, ..Filter::default() };
    assert_eq!(journal.history(&all).await.unwrap().len(), 8000);
    assert_eq!(journal.history(&Filter::default()).await.unwrap().len(), 100, "the default limit");
    assert_eq!(journal.dropped(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_written_without_flush_and_on_drop() {
    let folder = tempfile::tempdir().unwrap();
    let writing = journal(&folder).await;
    let reading = journal(&folder).await;
    let appears = async |id: &str| {
        for _ in 0..200 {
            if reading.get(id).await.unwrap().is_some() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    };
    writing.write(Arc::new(record("a1"))).await;
    assert!(appears("a1").await, "after the batch's time");
    writing.write(Arc::new(record("a2"))).await;
    drop(writing);
    assert!(appears("a2").await, "after the journal was dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_case_sensitive() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    write_all(&journal, [record("abC"), record("abc")]).await;
    assert_eq!(journal.get("abC").await.unwrap().unwrap().record.id, "abC");
    assert_eq!(journal.get("abc").await.unwrap().unwrap().record.id, "abc");
    assert!(journal.get("ABC").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_find_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    let time = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    write_all(
        &journal,
        [
            Record { time: time("2026-03-01T00:00:00Z"), ..record("virus") },
            Record {
                time: time("2026-03-02T00:00:00Z"),
                sender: None,
                recipients: vec!["postmaster".into(), "x@other.example".into()],
                client: Some("2001:db8::7".parse().unwrap()),
                subject: "Grüße".into(),
                ..clean_record("bounce")
            },
            Record {
                time: time("2026-03-03T00:00:00Z"),
                client: None,
                sender: Some("a@sub.example.net".into()),
                quarantine: Some("h/held".into()),
                category: Category::Spam,
                action: Action::Quarantine,
                ..clean_record("held")
            },
        ],
    )
    .await;
    let some = |text: &str| Some(text.to_owned());
    let all = Filter::default();
    for (filter, found) in [
        (Filter { ..all.clone() }, vec!["held", "bounce", "virus"]),
        (Filter { limit: 1, ..all.clone() }, vec!["held"]),
        (Filter { recipient: some("ONE@example.org"), ..all.clone() }, vec!["held", "virus"]),
        (Filter { recipient: some("two@sub.example.org"), ..all.clone() }, vec!["virus"]),
        (Filter { recipient: some("example.org"), ..all.clone() }, vec!["held", "virus"]),
        (Filter { recipient: some("@example.org"), ..all.clone() }, vec!["held", "virus"]),
        (Filter { recipient: some(".example.org"), ..all.clone() }, vec!["virus"]),
        (Filter { recipient: some("postmaster"), ..all.clone() }, vec!["bounce"]),
        (Filter { recipient: some("*"), ..all.clone() }, vec!["held", "bounce", "virus"]),
        (Filter { recipient: some("' OR 1 --"), ..all.clone() }, vec![]),
        (Filter { sender: some("<>"), ..all.clone() }, vec!["bounce"]),
        (Filter { sender: some("sender@EXAMPLE.net"), ..all.clone() }, vec!["virus"]),
        (Filter { sender: some("example.net"), ..all.clone() }, vec!["virus"]),
        (Filter { sender: some(".example.net"), ..all.clone() }, vec!["held"]),
        (Filter { category: Some(Category::Virus), ..all.clone() }, vec!["virus"]),
        (Filter { action: Some(Action::Deliver), ..all.clone() }, vec!["bounce"]),
        (Filter { client: Some("192.0.2.0/24".parse().unwrap()), ..all.clone() }, vec!["virus"]),
        (Filter { client: Some("192.0.2.2/32".parse().unwrap()), ..all.clone() }, vec![]),
        (Filter { client: Some("2001:db8::/32".parse().unwrap()), ..all.clone() }, vec!["bounce"]),
        (Filter { client: Some("0.0.0.0/0".parse().unwrap()), ..all.clone() }, vec!["virus"]),
        (Filter { since: Some(time("2026-03-02T00:00:00Z")), ..all.clone() }, vec!["held", "bounce"]),
        (Filter { until: Some(time("2026-03-02T00:00:00Z")), ..all.clone() }, vec!["virus"]),
        (Filter { text: some("GRÜSSE"), ..all.clone() }, vec![]),
        (Filter { text: some("GRÜßE"), ..all.clone() }, vec!["bounce"]),
        (Filter { text: some("invoice"), ..all.clone() }, vec!["held", "virus"]),
        (Filter { text: some("%"), ..all.clone() }, vec![]),
        (Filter { ids: vec!["held".into(), "virus".into()], ..all.clone() }, vec!["held", "virus"]),
        (Filter { state: Some(State::Held), ..all.clone() }, vec!["held"]),
        (Filter { category: Some(Category::Clean), sender: some("<>"), ..all.clone() }, vec!["bounce"]),
    ] {
        assert_eq!(ids(&journal.history(&filter).await.unwrap()), found, "{filter:?}");
    }
    assert_eq!(ids(&journal.held(&all).await.unwrap()), ["held"]);
    assert_eq!(journal.held_ids(&all).await.unwrap(), ["held"]);
    let others = Filter { recipient: some("x@other.example"), ..all };
    assert!(journal.held(&others).await.unwrap().is_empty(), "it matches, but is not held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_write_replaces_the_record_but_not_its_state() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    let held = Record { quarantine: Some("a/a1".into()), ..record("a1") };
    assert!(journal.recover(&held).await.unwrap());
    assert!(!journal.recover(&Record { subject: "other".into(), ..held.clone() }).await.unwrap(), "kept");
    assert!(journal.set_state("a1", State::Released, "250 Ok", "alice").await.unwrap());
    write_all(&journal, [Record { subject: "later".into(), ..held }]).await;
    let entry = journal.get("a1").await.unwrap().unwrap();
    assert_eq!((entry.record.subject.as_str(), entry.state), ("later", Some(State::Released)));
    let events = journal.events("a1").await.unwrap();
    let kinds: Vec<_> =
        events.iter().map(|event| (event.kind, event.detail.as_str(), event.who.as_str())).collect();
    assert_eq!(
        kinds,
        [
            (EventKind::Recovered, "made again from the vault's file", "gatepost"),
            (EventKind::Released, "250 Ok", "alice")
        ]
    );
    assert!(!journal.set_state("a2", State::Deleted, "", "").await.unwrap(), "there is none");
    assert!(!journal.note("a2", EventKind::Forwarded, "", "").await.unwrap(), "there is none");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_out_of_the_vault_again_is_not_held() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    // Somebody looked while the message was in the vault; then the next hop deferred it and the file was removed.
    assert!(journal.recover(&Record { quarantine: Some("a/a1".into()), ..record("a1") }).await.unwrap());
    write_all(&journal, [clean_record("a1")]).await;
    let entry = journal.get("a1").await.unwrap().unwrap();
    assert_eq!((entry.state, entry.state_time), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_reads_while_another_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (writing, reading) = (journal(&folder).await, journal(&folder).await);
    for round in 1..=20_u32 {
        let records = (0..50).map(|place| clean_record(&format!("r{round}n{place}")));
        let latest = Filter::default();
        let (_, seen) = tokio::join!(write_all(&writing, records), reading.history(&latest));
        seen.unwrap();
        let all = Filter { limit: u32::MAX, ..Filter::default() };
        assert_eq!(reading.history(&all).await.unwrap().len() as u32, round * 50);
        // The other one writes as well.
        assert!(reading.note("r1n0", EventKind::Forwarded, "x", "y").await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/data/journal.db");
    let journal = Journal::open(&path).await.unwrap();
    write_all(&journal, [record("a1")]).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    for name in ["journal.db", "journal.db-wal", "journal.db-shm"] {
        assert_eq!(mode(&path.with_file_name(name)), 0o600, "{name}");
    }
    journal.close().await.unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    Journal::open(&path).await.unwrap();
    assert_eq!(mode(&path), 0o600, "an existing file is closed to others");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_database_stops_nobody_and_the_oldest_give_way() {
    const MORE: u32 = 300;
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    let mut lock = journal.pool.begin_with("BEGIN EXCLUSIVE").await.unwrap();
    let count = 4096 + BATCH as u32 + MORE;
    let started = Instant::now();
    for place in 0..count {
        journal.write(Arc::new(clean_record(&format!("n{place}")))).await;
    }
    assert!(started.elapsed() < Duration::from_secs(15), "took {:?}", started.elapsed());
    assert!(journal.trouble().unwrap().contains("locked"), "{:?}", journal.trouble());
    let dropped = journal.dropped();
    assert!((u64::from(MORE)..=u64::from(MORE) + BATCH as u64).contains(&dropped), "{dropped}");
    sqlx::query("SELECT 1").execute(&mut *lock).await.unwrap();
    lock.rollback().await.unwrap();
    journal.flush().await.unwrap();
    assert_eq!(journal.trouble(), None);
    let all = Filter { limit: u32::MAX, ..Filter::default() };
    let written = journal.history(&all).await.unwrap();
    assert_eq!(written.len() as u64, u64::from(count) - dropped);
    assert!(journal.get(&format!("n{}", count - 1)).await.unwrap().is_some(), "the latest is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_says_nothing_at_all_holds_nobody_up() {
    const MORE: usize = 20;
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
    // Nobody else gets a connection, so statements neither fail nor end.
    let _taken = pool.acquire().await.unwrap();
    let queue = Queue::start(journal.path().to_owned(), pool.clone(), Counter::default());
    let started = Instant::now();
    for place in 0..4096 + BATCH + MORE {
        queue.push(Arc::new(clean_record(&format!("n{place}")))).await;
    }
    assert!(started.elapsed() < Duration::from_secs(8), "took {:?}", started.elapsed());
    assert!(queue.dropped() >= MORE as u64, "{}", queue.dropped());
    assert!(queue.trouble().unwrap().contains("stuck"), "{:?}", queue.trouble());
    queue.let_go();
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_a_locked_journal_says_what_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, other) = (journal(&folder).await, journal(&folder).await);
    let lock = other.pool.begin_with("BEGIN EXCLUSIVE").await.unwrap();
    journal.write(Arc::new(record("a1"))).await;
    let dropped = journal.queue.clone();
    let Err(JournalError::NotWritten { left: 1, .. }) = journal.close().await else {
        panic!("it was not written")
    };
    assert_eq!(dropped.dropped(), 1);
    lock.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn records_the_database_refuses_for_good_do_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    sqlx::query(
        "CREATE TRIGGER refuse BEFORE INSERT ON message WHEN NEW.id = 'bad' BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    .execute(&journal.pool)
    .await
    .unwrap();
    write_all(&journal, ["a1", "bad", "a2"].map(record)).await;
    assert_eq!(journal.dropped(), 1);
    for (id, there) in [("a1", true), ("bad", false), ("a2", true)] {
        assert_eq!(journal.get(id).await.unwrap().is_some(), there, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    write_all(&journal, ["a1", "a2"].map(record)).await;
    sqlx::query("UPDATE message SET record = '{}' WHERE id = 'a1'").execute(&journal.pool).await.unwrap();
    assert_eq!(ids(&journal.history(&Filter::default()).await.unwrap()), ["a2"]);
    assert!(journal.get("a1").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn purging_spares_what_is_in_the_vault() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    let held = |id: &str| Record { quarantine: Some(format!("x/{id}")), ..record(id) };
    let states = [State::Held, State::Released, State::Deleted, State::Expired, State::Missing];
    write_all(&journal, states.map(|state| held(state.name())).into_iter().chain([record("plain")])).await;
    for state in states {
        journal.set_state(state.name(), state, "", "test").await.unwrap();
    }
    let time = record("plain").time;
    assert_eq!(journal.purge_before(time).await.unwrap(), 0, "not before that time");
    assert_eq!(journal.purge_before(time + Duration::from_secs(1)).await.unwrap(), 4);
    assert_eq!(ids(&journal.history(&Filter::default()).await.unwrap()), ["held", "released"]);
    let orphans: i64 =
        sqlx::query_scalar("SELECT count(*) FROM recipient WHERE message NOT IN (SELECT id FROM message)")
            .fetch_one(&journal.pool)
            .await
            .unwrap();
    assert_eq!(orphans, 0);
    assert!(journal.events("deleted").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_exclude_each_other_and_run_out() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    write_all(&journal, [Record { quarantine: Some("a/a1".into()), ..record("a1") }, record("never")]).await;
    let Claim::Taken(first) = journal.claim("a1", false, "x").await.unwrap() else { panic!("it is held") };
    assert!(matches!(journal.claim("a1", true, "y").await.unwrap(), Claim::Busy(_)));
    assert!(matches!(journal.claim("never", false, "y").await.unwrap(), Claim::NotHeld(None)));
    assert!(matches!(journal.claim("none", false, "y").await.unwrap(), Claim::Unknown));
    assert!(!journal.set_state("a1", State::Deleted, "", "y").await.unwrap(), "not while it is released");
    assert!(journal.renew(&first).await.unwrap());

    sqlx::query("UPDATE message SET state_time = state_time - 61000000")
        .execute(&journal.pool)
        .await
        .unwrap();
    let Claim::Taken(second) = journal.claim("a1", false, "y").await.unwrap() else {
        panic!("the claim ran out")
    };
    assert!(second.interrupted.is_some());
    assert!(!journal.renew(&first).await.unwrap());
    journal.settle(&first, None, "too late", "x").await.unwrap();
    assert!(
        matches!(journal.claim("a1", false, "z").await.unwrap(), Claim::Busy(_)),
        "the late one changes nothing"
    );
    journal.settle(&second, Some(&[]), "250 Ok", "y").await.unwrap();
    assert!(matches!(journal.claim("a1", false, "z").await.unwrap(), Claim::AlreadyReleased(_)));
    let Claim::Taken(third) = journal.claim("a1", true, "z").await.unwrap() else { panic!("again") };
    journal.settle(&third, None, "451 away", "z").await.unwrap();
    assert!(
        matches!(journal.claim("a1", false, "z").await.unwrap(), Claim::AlreadyReleased(_)),
        "as it was before"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_nobody_and_records_follow_when_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = super::super::samples::SmallDisk::mount(folder.path(), "8m") else { return };
    let journal = Journal::open(&disk.path().join("journal.db")).await.unwrap();
    write_all(&journal, [record("a1")]).await;
    let ballast = disk.path().join("ballast");
    let mut full = std::fs::File::create(&ballast).unwrap();
    while std::io::Write::write(&mut full, &[1; 4096]).is_ok_and(|written| written > 0) {}
    // Enough that the space SQLite has in its files already does not do.
    for place in 0..200 {
        journal.write(Arc::new(Record { subject: "x".repeat(2000), ..record(&format!("n{place}")) })).await;
    }
    for _ in 0..100 {
        if journal.trouble().is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(journal.trouble().unwrap().contains("full"), "{:?}", journal.trouble());
    assert!(journal.get("a1").await.unwrap().is_some(), "reading goes on");
    std::fs::remove_file(&ballast).unwrap();
    drop(full);
    journal.flush().await.unwrap();
    assert_eq!(journal.dropped(), 0);
    assert!(journal.get("n199").await.unwrap().is_some());
    journal.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_root_makes_belongs_to_the_owner_of_the_folder() {
    use std::os::unix::fs::{MetadataExt as _, chown};

    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can give files away");
        return;
    }
    const SOMEBODY: u32 = 12345;
    let folder = tempfile::tempdir().unwrap();
    chown(folder.path(), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    let journal = journal(&folder).await;
    write_all(&journal, [record("a1")]).await;
    super::super::Vault::open(&folder.path().join("vault"), 0).unwrap();
    for name in ["journal.db", "journal.db-wal", "journal.db-shm", "vault"] {
        assert_eq!(std::fs::metadata(folder.path().join(name)).unwrap().uid(), SOMEBODY, "{name}");
    }
}
