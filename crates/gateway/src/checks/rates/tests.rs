//! Rates on a clock that stands still.

use std::sync::Mutex;

use gatepost_mail::Parameters;

use super::super::{dnsbl, testing};
use super::*;
use crate::resources::state::{Clock, Hands, Memory, Op, Page, Status};

/// Notices that were sent; each is answered with what `failing` says.
#[derive(Default)]
struct Sent {
    notices: Mutex<Vec<(String, String)>>,
    failing: Option<String>,
}

impl Notify for Sent {
    fn notify(&self, _: String, subject: String, text: String) -> BoxFuture<'static, Option<String>> {
        self.notices.lock().unwrap().push((subject, text));
        Box::pin(std::future::ready(self.failing.clone()))
    }
}

struct Case {
    check: Box<dyn Check>,
    hands: Hands,
    sent: Arc<Sent>,
}

fn case(config: &str) -> Case {
    with_notices(config, Sent::default())
}

fn with_notices(config: &str, sent: Sent) -> Case {
    let config: Config = toml::from_str(config).unwrap_or_else(|error| panic!("{config}: {error}"));
    let (clock, hands) = Clock::standing(3_600_000);
    let state = Arc::new(Memory::new(1000, clock));
    let sent = Arc::new(sent);
    let resources = Resources { state, notices: sent.clone(), ..dnsbl::testing::resources(&[]) };
    Case { check: build(&config, &resources).unwrap().remove(0), hands, sent }
}

/// A message: user, client, sender and recipients.
#[derive(Clone, Copy)]
struct Message<'a> {
    user: &'a str,
    client: &'a str,
    sender: &'a str,
    recipients: &'a [&'a str],
    direction: Direction,
    listener: &'a str,
    size: Option<u64>,
}

const MESSAGE: Message = Message {
    user: "alice",
    client: "192.0.2.1",
    sender: "alice@example.org",
    recipients: &["a@there.test"],
    direction: Direction::Outbound,
    listener: "smtp",
    size: None,
};

impl Message<'_> {
    fn session(&self) -> Session {
        Session {
            user: Some(self.user).filter(|user| !user.is_empty()).map(str::to_owned),
            client: Some(self.client.parse().unwrap()),
            direction: self.direction,
            listener: self.listener.into(),
            ..Session::default()
        }
    }
}

impl Case {
    /// What each recipient of a message is told: its reply, `held`, `fault`, or nothing.
    async fn send(&self, message: Message<'_>) -> Vec<String> {
        let session = message.session();
        let parameters = Parameters { size: message.size, ..Parameters::default() };
        let mut envelope =
            Envelope { sender: Address::new(message.sender), parameters, recipients: Vec::new() };
        let mut told = Vec::new();
        for recipient in message.recipients {
            let recipient: Recipient = Address::new(recipient).unwrap().into();
            let known = Found::default();
            let answer = match self.check.on_admit(&session, &envelope, &recipient, &known) {
                None => "not counted".to_owned(),
                Some(answer) => match answer.await {
                    Err(fault) => format!("fault: {:?}", fault.answer),
                    Ok(found) => match (found.access.first(), found.forced.first()) {
                        (Some(Hit { access: Access::Reply(reply), .. }), _) => reply.to_string(),
                        (_, Some(_)) => format!("held: {}", found.findings[0].evidence),
                        _ => String::new(),
                    },
                },
            };
            if answer.is_empty() || answer.starts_with("held") {
                envelope.recipients.push(recipient);
            }
            told.push(answer);
        }
        told
    }

    async fn sends(&self, message: Message<'_>) -> bool {
        self.send(message).await.iter().all(String::is_empty)
    }
}

const THREE: &str = "[[protection.rate]]\nof = 'user'\nmessages = 3\nper = '1h'\n";

#[tokio::test]
async fn so_many_in_a_time_and_what_is_refused_does_not_count() {
    let case = case(THREE);
    for _ in 0..3 {
        assert!(case.sends(MESSAGE).await);
    }
    for _ in 0..50 {
        let told = case.send(Message { user: "ALICE", ..MESSAGE }).await;
        assert_eq!(told, ["450 4.7.1 <alice>: too many messages in 1h, try again later"]);
    }
    assert!(case.sends(Message { user: "bob", ..MESSAGE }).await, "each by itself");
    assert!(case.sends(Message { user: "", ..MESSAGE }).await, "nobody has no account");
    // The window slides: half an hour into the next one, half of the three still count.
    case.hands.move_on(Duration::from_secs(5400));
    assert!(case.sends(MESSAGE).await && case.sends(MESSAGE).await);
    assert!(!case.sends(MESSAGE).await);
}

#[tokio::test]
async fn a_message_is_one_whatever_its_recipients() {
    let case = case(THREE);
    let recipients = &["a@x.test", "b@x.test", "c@y.test", "d@y.test"][..];
    assert_eq!(case.send(Message { recipients, ..MESSAGE }).await, ["", "", "", ""]);
    assert!(case.sends(MESSAGE).await && case.sends(MESSAGE).await);
    assert!(!case.sends(MESSAGE).await);
}

#[tokio::test]
async fn a_message_counts_once_though_the_next_hop_refuses_its_recipients() {
    let case = case(THREE);
    let session = MESSAGE.session();
    let known = Found::default();
    for (mail, admitted) in [true, true, true, false].into_iter().enumerate() {
        // None of them enters the envelope.
        let envelope = Envelope { sender: Address::new(MESSAGE.sender), ..Envelope::default() };
        for number in 0..10 {
            let recipient: Recipient = Address::new(&format!("{number}@there.test")).unwrap().into();
            let found = case.check.on_admit(&session, &envelope, &recipient, &known).unwrap().await.unwrap();
            assert_eq!(found.access.is_empty(), admitted, "mail {mail}, recipient {number}");
        }
    }
}

#[tokio::test]
async fn what_is_too_much_is_held_for_all_recipients() {
    let case = case("[[protection.rate]]\nof = 'user'\nmessages = 1\naction = 'hold'");
    let message = Message { recipients: &["a@x.test", "b@x.test", "c@y.test"], ..MESSAGE };
    assert!(case.sends(message).await);
    assert_eq!(case.send(message).await, ["held: user-1h: user alice: more than 1 messages in 1h"; 3]);
}

#[tokio::test]
async fn each_kind_counts_by_its_own() {
    let (one, other) = (MESSAGE, MESSAGE);
    for (of, other, together) in [
        ("user", Message { client: "192.0.2.9", sender: "x@y.test", ..other }, true),
        ("user", Message { user: "bob", ..other }, false),
        ("sender", Message { sender: "ALICE@example.org", user: "bob", ..other }, true),
        ("sender", Message { sender: "bob@example.org", ..other }, false),
        ("sender", Message { sender: "", ..other }, false),
        ("sender-domain", Message { sender: "bob@example.org", ..other }, true),
        ("sender-domain", Message { sender: "alice@example.net", ..other }, false),
        ("client", Message { user: "", ..other }, true),
        ("client", Message { client: "192.0.2.2", ..other }, false),
        ("client-net", Message { client: "192.0.2.2", ..other }, true),
        ("client-net", Message { client: "192.0.3.2", ..other }, false),
        ("recipient", Message { sender: "x@y.test", recipients: &["A@there.test"], ..other }, true),
        ("recipient", Message { recipients: &["b@there.test"], ..other }, false),
        ("recipient-domain", Message { recipients: &["b@There.test"], ..other }, true),
        ("recipient-domain", Message { recipients: &["a@elsewhere.test"], ..other }, false),
    ] {
        let case =
            case(&format!("protection.ipv4_prefix = 24\n[[protection.rate]]\nof = '{of}'\nmessages = 1"));
        assert!(case.sends(one).await, "{of}");
        assert_eq!(!case.sends(other).await, together, "{of}");
    }
}

#[tokio::test]
async fn recipients_and_bytes() {
    let recipients = case("[[protection.rate]]\nof = 'user'\nrecipients = 3\naction = 'refuse'");
    let five = &["a@x.test", "b@x.test", "c@x.test", "d@x.test", "e@x.test"][..];
    let told = recipients.send(Message { recipients: five, ..MESSAGE }).await;
    let refused = "550 5.7.1 <alice>: too many recipients in 1h";
    assert_eq!(told, ["", "", "", refused, refused]);

    let bytes = case("[[protection.rate]]\nof = 'user'\nbytes = 1000\ndirection = []");
    let mut mail = testing::mail(&"x".repeat(600), &[("text/plain", "")]);
    mail.session = MESSAGE.session();
    mail.envelope.recipients = five.iter().map(|to| Address::new(to).unwrap().into()).collect();
    for expected in [true, true, false] {
        assert_eq!(
            bytes.sends(MESSAGE).await,
            expected,
            "once for a message, the one that exceeds it is the last"
        );
        let known = Found::default();
        if let Some(answer) = bytes.check.on_mail(&mail, &known) {
            answer.await.unwrap();
        }
    }
}

#[tokio::test]
async fn where_only_the_envelope_is_seen_the_announced_size_counts() {
    let case = case(
        "[[protection.rate]]\nof = 'user'\nbytes = 1000\n\
         [[listener]]\nname = 'p'\nprotocol = 'policy'\nlisten = ['127.0.0.1:1']",
    );
    let message =
        Message { listener: "p", size: Some(600), recipients: &["a@x.test", "b@x.test"], ..MESSAGE };
    assert!(case.sends(message).await && case.sends(message).await);
    assert!(!case.sends(message).await);
    assert_eq!(case.send(MESSAGE).await, ["not counted"], "no listener of the configuration");
}

#[tokio::test]
async fn whom_it_is_for() {
    let base = "domains = ['example.org']\n[[protection.rate]]\nof = 'user'\nmessages = 1\n";
    for (keys, message, counts) in [
        ("direction = ['outbound']", MESSAGE, true),
        ("direction = ['outbound']", Message { direction: Direction::Internal, ..MESSAGE }, false),
        ("listeners = ['smtp']", MESSAGE, true),
        ("except = ['Alice']", MESSAGE, false),
        ("except = ['bob', '198.51.100.0/24']", MESSAGE, true),
        ("except = ['192.0.2.0/24']", MESSAGE, false),
        ("only = ['bob']", MESSAGE, false),
        ("only = ['alice']", MESSAGE, true),
    ] {
        let case = case(&format!("{base}{keys}"));
        assert!(case.sends(message).await);
        assert_eq!(!case.sends(message).await, counts, "{keys}");
    }
}

#[tokio::test]
async fn the_first_that_is_exceeded_decides_and_nothing_counts_then() {
    let case = case(
        "[[protection.rate]]\nof = 'client'\nmessages = 5\n\
         [[protection.rate]]\nof = 'user'\nmessages = 1\naction = 'hold'",
    );
    assert!(case.sends(MESSAGE).await);
    for _ in 0..10 {
        let told = case.send(MESSAGE).await;
        assert_eq!(told, ["held: user-1h: user alice: more than 1 messages in 1h"]);
    }
    for user in ["b", "c", "d", "e"] {
        assert!(case.sends(Message { user, ..MESSAGE }).await, "{user}");
    }
    assert!(!case.sends(Message { user: "f", ..MESSAGE }).await);
}

#[tokio::test]
async fn side_by_side_never_more_than_allowed() {
    let case = case(THREE);
    let all = futures_util::future::join_all((0..20).map(|_| case.sends(MESSAGE))).await;
    assert!(all.iter().filter(|sent| **sent).count() <= 3);
}

#[tokio::test]
async fn the_postmaster_is_told_once_in_a_period() {
    let case = case(THREE);
    for _ in 0..10 {
        case.send(MESSAGE).await;
    }
    tokio::task::yield_now().await;
    {
        let sent = case.sent.notices.lock().unwrap();
        let [(subject, text)] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!(subject, "Stopped: user alice, more than 3 messages in 1h");
        for part in ["[192.0.2.1]", "put off (450)", "gatepost limits reset user-1h 'alice'"] {
            assert!(text.contains(part), "{text}");
        }
    }
    case.hands.move_on(Duration::from_secs(3 * 3600));
    for _ in 0..4 {
        case.send(MESSAGE).await;
    }
    tokio::task::yield_now().await;
    assert_eq!(case.sent.notices.lock().unwrap().len(), 2, "again in the next");
}

#[tokio::test]
async fn a_notice_that_fails_is_tried_again_but_not_at_once() {
    let case = with_notices(THREE, Sent { failing: Some("away".into()), ..Sent::default() });
    let exceed = async |times: usize| {
        for _ in 0..times {
            case.send(MESSAGE).await;
            tokio::task::yield_now().await;
        }
        case.sent.notices.lock().unwrap().len()
    };
    assert_eq!(exceed(10).await, 1);
    case.hands.move_on(NOTICE_AGAIN + Duration::from_secs(1));
    assert_eq!(exceed(10).await, 2);
}

#[tokio::test]
async fn nobody_is_told_of_what_is_no_account_unless_wanted() {
    for (keys, told) in [("of = 'client'", 0), ("of = 'client'\nreport = true", 1), ("report = false", 0)] {
        let case = case(&format!("[[protection.rate]]\nmessages = 1\n{keys}"));
        for _ in 0..3 {
            case.send(MESSAGE).await;
        }
        tokio::task::yield_now().await;
        assert_eq!(case.sent.notices.lock().unwrap().len(), told, "{keys}");
    }
}

#[tokio::test]
async fn who_tries_out_recipients_is_found_from_the_next_session_on() {
    let case = case("protection.harvest_per_hour = 3");
    let outside = Message { user: "", client: "198.51.100.1", direction: Direction::Inbound, ..MESSAGE };
    let found = async |message: Message<'_>| match case.check.on_connect(&message.session()) {
        None => "not looked at",
        Some(answer) => match answer.await.unwrap().findings.is_empty() {
            true => "nothing",
            false => "RCPT_HARVEST",
        },
    };
    for expected in ["nothing", "nothing", "nothing", "RCPT_HARVEST"] {
        assert_eq!(found(outside).await, expected);
        case.check.on_wrong_recipient(&outside.session()).unwrap().await;
    }
    assert_eq!(found(Message { client: "198.51.100.2", ..outside }).await, "nothing");
    for ours in [MESSAGE, Message { client: "127.0.0.1", ..outside }] {
        assert_eq!(found(ours).await, "not looked at");
        assert!(case.check.on_wrong_recipient(&ours.session()).is_none());
    }
    case.hands.move_on(Duration::from_secs(2 * 3600));
    assert_eq!(found(outside).await, "nothing", "and forgotten after an hour");
}

/// A store whose disk is gone.
struct Dead;

impl State for Dead {
    fn get<'a>(&'a self, _: Space, _: &'a [u8]) -> Op<'a, Option<Vec<u8>>> {
        Box::pin(std::future::ready(Err(StateError::Full)))
    }
    fn put<'a>(&'a self, _: Space, _: &'a [u8], _: &'a [u8], _: Duration) -> Op<'a, ()> {
        Box::pin(std::future::ready(Err(StateError::Full)))
    }
    fn swap<'a>(
        &'a self,
        _: Space,
        _: &'a [u8],
        _: Option<&'a [u8]>,
        _: &'a [u8],
        _: Duration,
    ) -> Op<'a, bool> {
        Box::pin(std::future::ready(Err(StateError::Full)))
    }
    fn delete<'a>(&'a self, _: Space, _: &'a [u8]) -> Op<'a, bool> {
        Box::pin(std::future::ready(Err(StateError::Full)))
    }
    fn count<'a>(&'a self, _: Space, _: &'a [u8], _: u64, _: Duration) -> Op<'a, u64> {
        Box::pin(std::future::ready(Err(StateError::Full)))
    }
    fn list<'a>(&'a self, _: Space, _: Option<&'a [u8]>, _: usize) -> Op<'a, Page> {
        Box::pin(std::future::ready(Err(StateError::Full)))
    }
    fn flush(&self) -> Op<'_, ()> {
        Box::pin(std::future::ready(Err(StateError::Full)))
    }
    fn status(&self) -> Op<'_, Status> {
        Box::pin(std::future::ready(Err(StateError::Full)))
    }
}

#[tokio::test]
async fn a_store_that_fails_is_a_fault() {
    for (on_fault, expected) in [("accept", "fault: Accept"), ("defer", "fault: Defer")] {
        let config: Config =
            toml::from_str(&format!("protection.on_fault = '{on_fault}'\n{}", THREE)).unwrap();
        let resources = Resources { state: Arc::new(Dead), ..dnsbl::testing::resources(&[]) };
        let check = build(&config, &resources).unwrap().remove(0);
        let Case { hands, sent, .. } = case("");
        let case = Case { check, hands, sent };
        assert_eq!(case.send(MESSAGE).await, [expected]);
    }
}

#[test]
fn nothing_to_count_is_no_check() {
    let config: Config = toml::from_str("protection.harvest_per_hour = 0").unwrap();
    assert!(build(&config, &dnsbl::testing::resources(&[])).unwrap().is_empty());
}
