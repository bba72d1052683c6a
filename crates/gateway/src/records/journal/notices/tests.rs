//! Tests of what the journal keeps for notices.

use super::*;
use crate::records::samples::{clean_record, record};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const NOW: &str = "2026-03-01T13:00:00Z";

/// Each address hears of each message.
fn tell(addresses: &'static [&'static str]) -> impl Fn(&Record) -> Vec<NoticeItem> + Sync {
    move |record| {
        let item = |address: &&str| NoticeItem {
            role: "recipient".into(),
            address: (*address).into(),
            message: record.id.clone(),
            time: record.time,
            category: record.category,
            held: record.quarantine.is_some(),
            language: "en".into(),
            listener: record.listener.clone(),
            row: "{}".into(),
        };
        addresses.iter().map(item).collect()
    }
}

async fn journal(folder: &tempfile::TempDir) -> Journal {
    Journal::open(&folder.path().join("journal.db")).await.unwrap()
}

async fn write(journal: &Journal, records: Vec<Record>) {
    for record in records {
        journal.write(record.into()).await;
    }
    journal.flush().await.unwrap();
}

async fn collect(journal: &Journal, addresses: &'static [&'static str]) {
    while journal.notices_collect(false, &tell(addresses)).await.unwrap() {}
}

async fn waiting(journal: &Journal) -> Vec<(String, u64, u64)> {
    let waiting = journal.notices_waiting(at(NOW)).await.unwrap();
    waiting.into_iter().map(|one| (one.key, one.messages, one.made)).collect()
}

const MAKING: Making = Making { most: u64::MAX, last: false, now: Timestamp::UNIX_EPOCH };

fn making() -> Making {
    Making { now: at(NOW), ..MAKING }
}

#[tokio::test]
async fn each_message_is_looked_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    write(&journal, vec![record("before")]).await;
    collect(&journal, &["a@x.test"]).await;
    assert_eq!(waiting(&journal).await, [], "nobody has begun");
    journal.notices_begin().await.unwrap();
    write(&journal, vec![record("one"), clean_record("clean"), record("two")]).await;
    assert_eq!(journal.notices_ahead(false, 10).await.unwrap().len(), 2);
    journal.notices_begin().await.unwrap();
    collect(&journal, &["A@x.test", "b@x.test"]).await;
    collect(&journal, &["A@x.test", "b@x.test"]).await;
    assert_eq!(waiting(&journal).await, [("a@x.test".into(), 2, 0), ("b@x.test".into(), 2, 0)]);
    assert_eq!(journal.notices_ahead(false, 10).await.unwrap().len(), 0);
    // A record that is written again is known already.
    write(&journal, vec![record("two")]).await;
    collect(&journal, &["a@x.test"]).await;
    assert_eq!(waiting(&journal).await[0].1, 2);
    // A journal that has begun anew.
    sqlx::query("DELETE FROM message").execute(&journal.pool).await.unwrap();
    write(&journal, vec![record("three")]).await;
    collect(&journal, &["a@x.test"]).await;
    assert_eq!(waiting(&journal).await[0].1, 3);
}

#[tokio::test]
async fn many_messages_for_many() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    journal.notices_begin().await.unwrap();
    write(&journal, (0..1200).map(|n| record(&format!("m{n}"))).collect()).await;
    collect(&journal, &["a@x.test", "b@x.test", "c@x.test"]).await;
    assert_eq!(waiting(&journal).await.iter().map(|one| one.1).collect::<Vec<_>>(), [1200; 3]);
}

#[tokio::test]
async fn a_mail_is_made_sent_and_ended() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    journal.notices_begin().await.unwrap();
    let early = Record { time: at("2026-03-01T08:00:00Z"), category: Category::Spam, ..record("early") };
    write(&journal, vec![record("one"), early, record("two")]).await;
    collect(&journal, &["A@x.test"]).await;
    let one =
        journal.notices_make("recipient", "a@x.test", Making { most: 1, ..making() }).await.unwrap().unwrap();
    let content = journal.notices_content(&one, 10).await.unwrap();
    assert_eq!(content.items.iter().map(|item| item.message.as_str()).collect::<Vec<_>>(), ["early"]);
    journal.notices_capped("recipient", "a@x.test").await.unwrap();
    let last = Making { last: true, ..making() };
    let rest = journal.notices_make("recipient", "a@x.test", last).await.unwrap().unwrap();
    assert_eq!(journal.notices_make("recipient", "a@x.test", making()).await.unwrap(), None);
    let content = journal.notices_content(&rest, 1).await.unwrap();
    assert_eq!((content.items.len(), content.categories), (1, vec![(Category::Virus, 2)]));
    write(&journal, vec![record("three")]).await;
    collect(&journal, &["a@x.test"]).await;
    assert_eq!(waiting(&journal).await, [("a@x.test".into(), 1, 2)]);

    let pending = journal.notices_pending(at(NOW)).await.unwrap();
    let told: Vec<_> = pending.iter().map(|one| (one.address.as_str(), one.capped, one.last)).collect();
    assert_eq!(told.len(), 2);
    assert!(
        told.contains(&("A@x.test", false, false)) && told.contains(&("A@x.test", true, true)),
        "{told:?}"
    );
    let now = at(NOW);
    assert!(journal.notices_claim(&one, now).await.unwrap());
    assert!(!journal.notices_claim(&one, now).await.unwrap(), "somebody is at it");
    assert!(journal.notices_claim(&one, at("2026-03-01T13:31:00Z")).await.unwrap(), "who was at it is gone");
    let later = at("2026-03-01T13:05:00Z");
    journal.notices_end(&one, NoticeState::Made, later, "away").await.unwrap();
    assert!(!journal.notices_pending(now).await.unwrap().iter().any(|pending| pending.id == one));
    let again = journal.notices_pending(later).await.unwrap();
    assert_eq!(again.iter().find(|pending| pending.id == one).map(|pending| pending.tries), Some(1));
    assert!(journal.notices_claim(&one, later).await.unwrap());
    journal.notices_end(&one, NoticeState::Sent, later, "").await.unwrap();
    assert!(!journal.notices_claim(&one, later).await.unwrap(), "it is sent");
}

#[tokio::test]
async fn nobody_is_told_of_notices_nor_of_what_was_released() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    journal.notices_begin().await.unwrap();
    let held = |id: &str| Record { quarantine: Some(format!("x/{id}")), ..record(id) };
    write(&journal, vec![held("one"), held("two")]).await;
    collect(&journal, &["a@x.test"]).await;
    sqlx::query("UPDATE message SET state = 'released' WHERE id = 'two'")
        .execute(&journal.pool)
        .await
        .unwrap();
    assert_eq!(journal.notices_forget_released("recipient", "a@x.test").await.unwrap(), 1);
    let id = journal.notices_make("recipient", "a@x.test", making()).await.unwrap().unwrap();
    let message_id = format!("<notice.{id}@mx.test>");
    let own = Record { sender: None, message_id: message_id.clone(), ..record("own") };
    let forged = Record { sender: None, message_id: "<notice.x@mx.test>".into(), ..record("forged") };
    let answer = Record { message_id, ..record("answer") };
    write(&journal, vec![own, forged, answer]).await;
    collect(&journal, &["a@x.test"]).await;
    let content = journal.notices_waiting_content("recipient", "a@x.test", 10).await.unwrap();
    let mut told: Vec<_> = content.items.iter().map(|item| item.message.as_str()).collect();
    told.sort_unstable();
    assert_eq!(told, ["answer", "forged"]);
}

#[tokio::test]
async fn what_is_old_goes() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    journal.notices_begin().await.unwrap();
    let of = |id: &str, time: &str| Record { time: at(time), ..record(id) };
    write(&journal, vec![of("sent", "2026-03-01T00:00:00Z"), of("waits", "2026-03-01T00:00:00Z")]).await;
    collect(&journal, &["a@x.test"]).await;
    let making = Making { most: 1, ..making() };
    let sent = journal.notices_make("recipient", "a@x.test", making).await.unwrap().unwrap();
    journal.notices_end(&sent, NoticeState::Sent, at(NOW), "").await.unwrap();
    let long_ago = at("2025-01-01T00:00:00Z");
    for (now, gone) in [
        ("2026-03-02T00:00:00Z", 0),
        ("2026-03-04T00:00:00Z", 1),
        ("2026-03-14T00:00:00Z", 0),
        ("2026-03-16T00:00:00Z", 1),
    ] {
        assert_eq!(journal.notices_expire(at(now), long_ago).await.unwrap(), gone, "{now}");
    }
    let count = async || {
        sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM notice").fetch_one(&journal.pool).await.unwrap()
    };
    assert_eq!(count().await, 1);
    journal.notices_expire(at("2026-03-16T00:00:00Z"), at("2026-03-10T00:00:00Z")).await.unwrap();
    assert_eq!(count().await, 0);
}
