//! Tests of releases.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use gatepost_mail::Category;

use super::super::samples::{ORIGINAL, held, hold, open};
use super::*;

/// A next hop that replies as told, recipient by recipient, and keeps what it got.
struct Hop {
    replies: Mutex<Vec<Reply>>,
    got: Mutex<Vec<Release>>,
}

impl Hop {
    fn new(codes: &[u16]) -> Hop {
        let replies = codes.iter().map(|code| Reply::new(*code, "", "said")).collect();
        Hop { replies: Mutex::new(replies), got: Mutex::default() }
    }

    fn set(&self, codes: &[u16]) {
        *self.replies.lock().unwrap() = codes.iter().map(|code| Reply::new(*code, "", "said")).collect();
    }

    fn deliver(&self) -> impl Deliver {
        move |release: Release| async move {
            self.got.lock().unwrap().push(release);
            Delivery { next_hop: "smtp://hop:25".into(), replies: self.replies.lock().unwrap().clone() }
        }
    }

    fn recipients(&self) -> Vec<Vec<String>> {
        let got = self.got.lock().unwrap();
        got.iter().map(|r| r.envelope.recipients.iter().map(|r| r.address.to_string()).collect()).collect()
    }
}

async fn state(journal: &Journal, id: &str) -> Option<State> {
    journal.get(id).await.unwrap().unwrap().state
}

async fn kinds(journal: &Journal, id: &str) -> Vec<EventKind> {
    journal.events(id).await.unwrap().into_iter().map(|event| event.kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_released_once_as_it_came() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, vault) = open(folder.path()).await;
    hold(&journal, &vault, "a1", Category::Spam, Timestamp::now()).await;
    let hop = Hop::new(&[250]);
    let released = release(&journal, &vault, "a1", false, "alice", &hop.deliver()).await.unwrap();
    assert_eq!(released.summary(), "250 2.6.0 Ok, id=rel-a1, from smtp://hop:25: 250 said");
    {
        let got = hop.got.lock().unwrap();
        assert_eq!(got[0].original, ORIGINAL);
        assert_eq!(got[0].listener, "MX");
        assert_eq!(got[0].envelope.sender, Address::new("Sender@Example.net"));
        assert_eq!(got[0].envelope.recipients[0].parameters, ["NOTIFY=NEVER"]);
    }
    assert_eq!(hop.recipients(), [["one@example.org", "Two@sub.example.org"]]);
    assert_eq!(state(&journal, "a1").await, Some(State::Released));
    let events = journal.events("a1").await.unwrap();
    assert_eq!(events[1].who, "alice");
    assert_eq!(
        events[1].detail,
        "smtp://hop:25: <one@example.org>: 250 said; <Two@sub.example.org>: 250 said"
    );

    let second = release(&journal, &vault, "a1", false, "bob", &hop.deliver()).await.unwrap_err();
    assert!(matches!(second, ReleaseError::AlreadyReleased(..)), "{second}");
    assert_eq!(hop.got.lock().unwrap().len(), 1);
    release(&journal, &vault, "a1", true, "bob", &hop.deliver()).await.unwrap();
    assert_eq!(hop.got.lock().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_opens_its_own_message_only() {
    let folder = tempfile::tempdir().unwrap();
    let (_, vault) = open(folder.path()).await;
    let (one, other) = (held("a1"), Held { secret: None, ..held("a2") });
    let secret = one.secret.clone().unwrap();
    vault.put(&one, ORIGINAL).unwrap();
    vault.put(&other, ORIGINAL).unwrap();
    for (id, given, expected) in [
        ("a1", secret.as_str(), Secret::Right),
        ("a1", &secret[1..], Secret::Wrong),
        ("a1", "", Secret::Wrong),
        ("a2", secret.as_str(), Secret::Wrong),
        ("a2", "", Secret::Wrong),
        ("a3", secret.as_str(), Secret::NoEntry),
        ("../a1", secret.as_str(), Secret::NoEntry),
    ] {
        assert_eq!(check_secret(&vault, id, given).await.unwrap(), expected, "{id} {given}");
    }
    // Files of versions before there were secrets are read.
    let mut json = serde_json::to_value(&one).unwrap();
    json.as_object_mut().unwrap().remove("secret");
    assert_eq!(serde_json::from_value::<Held>(json).unwrap().secret, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_releases_at_once_one_delivers() {
    let folder = tempfile::tempdir().unwrap();
    // Two handles, as two processes have them.
    let (one, vault) = open(folder.path()).await;
    let (two, _) = open(folder.path()).await;
    let delivered = AtomicU32::new(0);
    let deliver = |_| async {
        delivered.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(50)).await;
        Delivery { next_hop: "hop".into(), replies: vec![Reply::new(250, "2.0.0", "Ok")] }
    };
    for round in 0..10_u32 {
        let id = format!("r{round}");
        hold(&one, &vault, &id, Category::Spam, Timestamp::now()).await;
        let results = tokio::join!(
            release(&one, &vault, &id, false, "x", &deliver),
            release(&two, &vault, &id, false, "y", &deliver),
        );
        assert!(results.0.is_ok() != results.1.is_ok(), "{results:?}");
        let error = results.0.err().or(results.1.err()).unwrap();
        assert!(matches!(error, ReleaseError::Busy(_) | ReleaseError::AlreadyReleased(..)), "{error}");
        assert_eq!(delivered.load(Ordering::Relaxed), round + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_release_leaves_the_message_held() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, vault) = open(folder.path()).await;
    hold(&journal, &vault, "a1", Category::Spam, Timestamp::now()).await;
    let hop = Hop::new(&[451]);
    let error = release(&journal, &vault, "a1", false, "x", &hop.deliver()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "a1 is held as before; smtp://hop:25 said <one@example.org>: 451 said; <Two@sub.example.org>: 451 said;"
    );
    assert_eq!(state(&journal, "a1").await, Some(State::Held));
    assert_eq!(kinds(&journal, "a1").await, [EventKind::Releasing, EventKind::ReleaseFailed]);
    // Replies that are missing are no deliveries.
    hop.set(&[]);
    assert!(matches!(
        release(&journal, &vault, "a1", false, "x", &hop.deliver()).await,
        Err(ReleaseError::NotDelivered(_))
    ));
    hop.set(&[250]);
    assert!(release(&journal, &vault, "a1", false, "x", &hop.deliver()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_it_already_does_not_get_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, vault) = open(folder.path()).await;
    hold(&journal, &vault, "a1", Category::Spam, Timestamp::now()).await;
    let hop = Hop::new(&[250, 452]);
    let released = release(&journal, &vault, "a1", false, "x", &hop.deliver()).await.unwrap();
    assert!(!released.is_complete());
    assert_eq!(
        released.summary(),
        "451 4.3.0 Not for all, id=rel-a1, from smtp://hop:25: <Two@sub.example.org>: 452 said"
    );
    let entry = journal.get("a1").await.unwrap().unwrap();
    assert_eq!(entry.state, Some(State::Held));
    assert_eq!(entry.remaining.unwrap(), ["Two@sub.example.org"]);
    hop.set(&[452]);
    assert!(release(&journal, &vault, "a1", false, "x", &hop.deliver()).await.is_err());
    hop.set(&[250]);
    release(&journal, &vault, "a1", false, "x", &hop.deliver()).await.unwrap();
    assert_eq!(
        hop.recipients(),
        [
            vec!["one@example.org", "Two@sub.example.org"],
            vec!["Two@sub.example.org"],
            vec!["Two@sub.example.org"]
        ]
    );
    let entry = journal.get("a1").await.unwrap().unwrap();
    assert_eq!((entry.state, entry.remaining), (Some(State::Released), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_released_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, vault) = open(folder.path()).await;
    let hop = Hop::new(&[250]);
    for id in ["gone", "damaged", "deleted"] {
        hold(&journal, &vault, id, Category::Spam, Timestamp::now()).await;
    }
    vault.delete("g/gone").unwrap();
    std::fs::write(vault.folder().join("d/damaged"), "x").unwrap();
    journal.set_state("deleted", State::Deleted, "", "x").await.unwrap();
    journal.write(super::super::samples::clean_record("never").into()).await;
    journal.flush().await.unwrap();
    for (id, why) in [
        ("none", "there is no message none"),
        ("../x", "there is no message ../x"),
        ("never", "never was not held"),
        ("deleted", "deleted is not held any more: deleted"),
        ("gone", "vault: there is no “g/gone”"),
        ("damaged", "vault: “d/damaged” is damaged: it is too short"),
    ] {
        let error = release(&journal, &vault, id, true, "x", &hop.deliver()).await.unwrap_err();
        assert_eq!(error.to_string(), why);
    }
    assert_eq!(hop.got.lock().unwrap().len(), 0);
    assert_eq!(state(&journal, "damaged").await, Some(State::Held));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_was_killed_can_be_done_again_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, vault) = open(folder.path()).await;
    hold(&journal, &vault, "a1", Category::Spam, Timestamp::now()).await;
    let hop = Hop::new(&[250]);
    // Dropped on the way, as a kill leaves it.
    let stuck = async |_| std::future::pending().await;
    let killed = release(&journal, &vault, "a1", false, "x", &stuck);
    assert!(tokio::time::timeout(Duration::from_millis(300), killed).await.is_err());
    let error = release(&journal, &vault, "a1", false, "x", &hop.deliver()).await.unwrap_err();
    assert!(matches!(error, ReleaseError::Busy(_)), "{error}");
    journal.age_claims().await;
    let released = release(&journal, &vault, "a1", false, "x", &hop.deliver()).await.unwrap();
    assert!(released.interrupted.is_some());
    assert_eq!(state(&journal, "a1").await, Some(State::Released));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_the_journal_has_not_got_yet_is_found_in_the_vault() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, vault) = open(folder.path()).await;
    vault.put(&held("a1"), ORIGINAL).unwrap();
    let hop = Hop::new(&[250]);
    release(&journal, &vault, "a1", false, "x", &hop.deliver()).await.unwrap();
    assert_eq!(state(&journal, "a1").await, Some(State::Released));
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarding_sends_a_copy_that_cannot_bounce_to_a_forged_sender() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, vault) = open(folder.path()).await;
    hold(&journal, &vault, "a1", Category::Spam, Timestamp::now()).await;
    let hop = Hop::new(&[250]);
    let to = Address::new("admin@example.org").unwrap();
    forward(&journal, &vault, "a1", &to, "x", &hop.deliver()).await.unwrap();
    {
        let got = hop.got.lock().unwrap();
        assert_eq!((got[0].envelope.sender.clone(), &got[0].original[..]), (None, ORIGINAL));
        assert!(got[0].envelope.parameters.other.is_empty() && got[0].envelope.parameters.eight_bit);
    }
    assert_eq!(hop.recipients(), [["admin@example.org"]]);
    assert_eq!(state(&journal, "a1").await, Some(State::Held));
    assert_eq!(kinds(&journal, "a1").await, [EventKind::Forwarded]);
    hop.set(&[550]);
    assert!(forward(&journal, &vault, "a1", &to, "x", &hop.deliver()).await.is_err());
}
