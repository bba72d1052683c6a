//! The next hop played by a server that answers by a table and remembers what it was told.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use gatepost_mail::{Address, Envelope, Recipient, Session};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::*;

/// What a command that begins so is answered; `"."` is the end of the content. Nothing said: 250.
type Table = &'static [(&'static str, &'static str)];

/// What each connection was told, line by line; `CLOSE` as an answer ends the connection.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Vec<String>>>>);

impl Told {
    fn connections(&self) -> Vec<Vec<String>> {
        lock(&self.0).clone()
    }

    /// Lines of all connections that begin so.
    fn lines(&self, begin: &str) -> Vec<String> {
        self.connections().into_iter().flatten().filter(|line| line.starts_with(begin)).collect()
    }
}

struct Server {
    _folder: tempfile::TempDir,
    hops: NextHops,
    told: Told,
}

impl Server {
    /// Over a unix socket it is LMTP that is spoken; nothing else differs here.
    fn start(table: Table) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().join("lmtp");
        let listener = UnixListener::bind(&path).unwrap();
        let told = Told::default();
        let remembered = told.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let place = {
                    let mut all = lock(&remembered.0);
                    all.push(Vec::new());
                    all.len() - 1
                };
                tokio::spawn(talk(stream, table, remembered.clone(), place));
            }
        });
        let options = Options {
            hostname: "gatepost.test".into(),
            tls: ClientTls::new(false),
            command_time: Duration::from_secs(5),
            data_time: Duration::from_secs(5),
            idle: 4,
            way_back: false,
        };
        Server { _folder: folder, hops: NextHops::new(vec![NextHop::LmtpUnix(path)], options), told }
    }
}

async fn talk(stream: UnixStream, table: Table, told: Told, place: usize) -> Option<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 hop\r\n").await.ok()?;
    let mut content = false;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if content && line != "." {
            continue;
        }
        content = line == "DATA";
        lock(&told.0)[place].push(line.to_owned());
        let found = table.iter().find(|(begin, _)| line.starts_with(begin)).map(|(_, answer)| *answer);
        match found.unwrap_or(if content { "354 go on" } else { "250 2.0.0 Ok" }) {
            "CLOSE" => return None,
            answer => stream.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?,
        }
    }
}

fn envelope(recipients: &[&str]) -> Envelope {
    Envelope {
        sender: Address::new("a@client.test"),
        recipients: recipients.iter().map(|to| Recipient::from(Address::new(to).unwrap())).collect(),
        ..Envelope::default()
    }
}

fn client(address: &str, user: Option<&str>) -> Session {
    Session {
        client: address.parse().ok(),
        port: 4711,
        helo: "client.test".into(),
        user: user.map(str::to_owned),
        ..Session::default()
    }
}

static MESSAGE: [Bytes; 1] = [Bytes::from_static(b"Subject: x\r\n\r\n.dot\r\n")];

#[tokio::test]
async fn lmtp_over_a_unix_socket_answers_each_recipient() {
    let server =
        Server::start(&[("RCPT TO:<no@", "550 5.1.1 nobody"), (".", "250 2.0.0 first\r\n451 4.2.2 second")]);
    let to = envelope(&["one@hop.test", "no@hop.test", "two@hop.test"]);
    let replies = server.hops.send(&Session::default(), &to, &MESSAGE).await;
    let replies: Vec<String> = replies.iter().map(ToString::to_string).collect();
    assert_eq!(replies, ["250 2.0.0 first", "550 5.1.1 nobody", "451 4.2.2 second"]);
    assert_eq!(server.told.lines("LHLO"), ["LHLO gatepost.test"]);
}

#[tokio::test]
async fn where_the_connection_ends_between_answers_those_that_came_stand() {
    let server = Server::start(&[(".", "250 2.0.0 first"), ("QUIT", "CLOSE")]);
    let (mut transaction, _) = server.hops.begin(&Session::default(), &envelope(&[])).await.unwrap();
    for to in ["one@hop.test", "two@hop.test"] {
        transaction.recipient(&Address::new(to).unwrap().into()).await.unwrap();
    }
    // The second answer never comes.
    let replies = transaction.message(&MESSAGE).await.unwrap();
    assert_eq!(replies.iter().map(|reply| reply.code).collect::<Vec<_>>(), [250, 451]);
    transaction.finish().await;
    server.hops.send(&Session::default(), &envelope(&["one@hop.test"]), &MESSAGE).await;
    assert_eq!(server.told.connections().len(), 2, "such a connection is not used again");
}

#[tokio::test]
async fn a_surplus_reply_spoils_a_connection() {
    let server = Server::start(&[(".", "250 2.0.0 Ok\r\n250 2.0.0 and again")]);
    for _ in 0..3 {
        let replies = server.hops.send(&Session::default(), &envelope(&["one@hop.test"]), &MESSAGE).await;
        assert_eq!(replies[0].to_string(), "250 2.0.0 Ok");
        // Let the surplus arrive.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.told.connections().len(), 3);
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = Server::start(&[]);
    for _ in 0..3 {
        server.hops.send(&Session::default(), &envelope(&["one@hop.test"]), &MESSAGE).await;
    }
    assert_eq!(server.told.connections().len(), 1);
    assert_eq!(server.told.lines("LHLO").len(), 1);
}

#[tokio::test]
async fn no_client_passes_for_the_one_before() {
    let server = Server::start(&[
        ("LHLO", "250-hop\r\n250 XCLIENT NAME ADDR PORT PROTO HELO LOGIN"),
        ("XCLIENT", "220 hop"),
    ]);
    let sessions =
        [client("192.0.2.1", Some("alice")), client("192.0.2.1", Some("alice")), client("192.0.2.1", None)];
    for session in &sessions {
        let replies = server.hops.send(session, &envelope(&["one@hop.test"]), &MESSAGE).await;
        assert!(replies[0].is_positive());
    }
    let told = server.told.lines("XCLIENT");
    assert_eq!(told.len(), 2, "the same client is told once: {told:?}");
    assert!(told[0].contains("LOGIN=alice") && told[1].contains("LOGIN=[UNAVAILABLE]"), "{told:?}");
    assert_eq!(server.told.lines("LHLO client.test").len(), 2, "its HELO is not replaced by ours");
    assert_eq!(server.told.connections().len(), 1);
    // Of nobody nothing can be told: somebody else's connection is not for it.
    server.hops.send(&Session::default(), &envelope(&["one@hop.test"]), &MESSAGE).await;
    assert_eq!(server.told.connections().len(), 2);
}

#[tokio::test]
async fn recipients_foreseen_are_told_with_mail_and_only_once() {
    let server = Server::start(&[
        ("LHLO", "250-hop\r\n250 PIPELINING"),
        ("RCPT TO:<no@", "550 5.1.1 nobody"),
        (".", "250 2.0.0 Ok"),
    ]);
    let foreseen = envelope(&["one@hop.test", "no@hop.test"]);
    let (mut transaction, reply) = server.hops.begin(&Session::default(), &foreseen).await.unwrap();
    assert!(reply.is_positive());
    let mut codes = Vec::new();
    for recipient in &foreseen.recipients {
        codes.push(transaction.recipient(recipient).await.unwrap().code);
    }
    assert_eq!(codes, [250, 550]);
    assert!(transaction.stands().await);
    assert_eq!(transaction.message(&MESSAGE).await.unwrap().len(), 1);
    transaction.finish().await;
    assert_eq!(server.told.lines("RCPT").len(), 2);
}

#[tokio::test]
async fn somebody_foreseen_who_is_no_recipient_gets_nothing() {
    let server = Server::start(&[("LHLO", "250-hop\r\n250 PIPELINING"), (".", "250 2.0.0 Ok")]);
    let foreseen = envelope(&["not-after-all@hop.test"]);
    let (mut transaction, _) = server.hops.begin(&Session::default(), &foreseen).await.unwrap();
    assert!(!transaction.stands().await, "the envelope must be told anew");
    let told = transaction.begin_again(&Session::default(), &envelope(&["one@hop.test"])).await.unwrap();
    assert_eq!(transaction.message_to(told, &MESSAGE).await.unwrap().len(), 1);
    let lines = server.told.connections().concat();
    let reset = lines.iter().position(|line| line == "RSET").expect("RSET");
    assert!(lines[reset..].iter().all(|line| !line.contains("not-after-all")), "{lines:?}");
}

#[tokio::test]
async fn a_lost_connection_is_replaced_before_the_content_goes_out() {
    let server = Server::start(&[("NOOP", "CLOSE"), (".", "250 2.0.0 Ok")]);
    let to = envelope(&["one@hop.test"]);
    let (mut transaction, _) = server.hops.begin(&Session::default(), &envelope(&[])).await.unwrap();
    transaction.recipient(&to.recipients[0]).await.unwrap();
    transaction.answered = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
    assert!(!transaction.stands().await && transaction.lost());
    let told = transaction.begin_again(&Session::default(), &to).await.unwrap();
    assert!(transaction.message_to(told, &MESSAGE).await.unwrap()[0].is_positive());
    assert_eq!(server.told.connections().len(), 2);
}

#[test]
fn parameters_go_where_they_are_offered() {
    let offers = |lines: &str| Capabilities::from_reply(&smtp::Reply::new(250, "", format!("hop\n{lines}")));
    for (lines, parameter, goes) in [
        ("DSN", "RET=HDRS", true),
        ("DSN", "notify=NEVER", true),
        ("", "RET=HDRS", false),
        ("XVERP", "XVERP=+=", true),
        ("", "XVERP", false),
        ("AUTH PLAIN", "AUTH=<>", false),
    ] {
        assert_eq!(accepts(&offers(lines), parameter, false), goes, "{lines} {parameter}");
    }
}

#[test]
fn a_421_of_the_next_hop_is_not_ours() {
    assert_eq!(own(smtp::Reply::new(421, "4.3.2", "closing")).to_string(), "451 4.3.2 closing");
}
