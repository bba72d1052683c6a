//! Byte-level dialogues with a front of our own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use gatepost_milter::{
    Actions, Agreement, CHUNK, Command, Connect, FRAME_LIMIT, Frame, Offer, Peer, Response, Steps,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::build;
use crate::config::Config;
use crate::front::listen::{Listening, Sessions, accept};
use crate::pipeline::Store;
use crate::records::{Journal, Metrics, Vault};
use crate::resources::state::Memory;

const ALL: Offer = Offer { version: 6, actions: Actions(0x1ff), steps: Steps(0x1f_ffff) };
const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n";

/// A listener with this configuration: keys of the listener, and further tables.
struct Listener {
    address: SocketAddr,
    drain: watch::Sender<bool>,
    accepting: tokio::task::JoinHandle<()>,
    folder: tempfile::TempDir,
}

async fn listener(keys: &str, tables: &str) -> Listener {
    listener_with(keys, tables, None, tempfile::tempdir().unwrap()).await
}

/// The same with a vault and a journal.
async fn listener_with_vault(keys: &str, tables: &str) -> (Listener, Arc<Vault>) {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&folder.path().join("journal.db")).await.unwrap();
    let vault = Arc::new(Vault::open(&folder.path().join("vault"), 0).unwrap());
    let store = Store { journal: Arc::new(journal), vault: vault.clone(), state: Memory::small() };
    (listener_with(keys, tables, Some(store), folder).await, vault)
}

async fn listener_with(
    keys: &str,
    tables: &str,
    store: Option<Store>,
    folder: tempfile::TempDir,
) -> Listener {
    // Nobody is asked about their senders where no name server is named.
    let offline = match tables.contains("checks.dns") {
        true => "",
        false => {
            "[checks]\nspf.enabled = false\ndkim.enabled = false\ndmarc.enabled = false\narc.enabled = false"
        }
    };
    let text = format!(
        "hostname = 'gate.test'\ndata = '{}'\n{tables}\n[restrictions]\nsender = []\n{offline}\n[[listener]]\nprotocol = 'milter'\n{keys}\n",
        folder.path().display()
    );
    let config: Config = toml::from_str(&text).unwrap();
    std::fs::create_dir_all(build::spool(&config)).unwrap();
    let metrics = Arc::new(Metrics::new());
    let pipeline = Arc::new(build::pipeline(&config, store, metrics.clone()).ok().unwrap());
    let (drain, draining) = watch::channel(false);
    let planned = build::fronts(&config, &pipeline, &metrics, &draining).ok().unwrap().remove(0);
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let front = Arc::new(ArcSwap::from_pointee(planned.front));
    let accepting = tokio::spawn(accept(Listening::Tcp(socket), front, Sessions::new(metrics)));
    Listener { address, drain, accepting, folder }
}

/// The mail server's side.
struct Mta {
    stream: TcpStream,
    input: BytesMut,
}

impl Mta {
    async fn connect(to: &Listener) -> Mta {
        Mta { stream: TcpStream::connect(to.address).await.unwrap(), input: BytesMut::new() }
    }

    /// Negotiated, and a client connected and greeted.
    async fn greeted(to: &Listener) -> Mta {
        let mut mta = Mta::connect(to).await;
        mta.say(&Command::Negotiate(ALL)).await;
        assert!(matches!(mta.answer().await, Response::Negotiate(_)));
        mta.say(&client("192.0.2.1")).await;
        mta.say(&Command::Helo(b("client.test"))).await;
        mta
    }

    async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn say(&mut self, command: &Command) {
        let mut out = Vec::new();
        command.write(&mut out);
        self.raw(&out).await;
    }

    async fn packet(&mut self) -> Option<Frame> {
        let reading = async {
            loop {
                if let Some(frame) = Frame::take(&mut self.input, FRAME_LIMIT).unwrap() {
                    return Some(frame);
                }
                if self.stream.read_buf(&mut self.input).await.unwrap_or(0) == 0 {
                    return None;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reading).await.expect("an answer in time")
    }

    async fn answer(&mut self) -> Response {
        Response::parse(self.packet().await.expect("an answer")).unwrap()
    }

    async fn ask(&mut self, command: &Command) -> Response {
        self.say(command).await;
        self.answer().await
    }

    /// Sender, recipients, header and body; each recipient must be taken.
    async fn send(&mut self, recipients: &[&'static str], body: &str) {
        self.say(&Command::Mail(vec![b("<a@client.test>"), b("SIZE=100")])).await;
        for recipient in recipients {
            assert_eq!(self.ask(&Command::Rcpt(vec![b(recipient)])).await, Response::Continue);
        }
        self.say(&header("Subject", " hello")).await;
        self.say(&header("X-Virus-Scanned", " by somebody else")).await;
        self.say(&Command::EndOfHeader).await;
        let body = Command::Body(body.to_owned().into());
        assert_eq!(self.ask(&body).await, Response::Continue);
    }

    /// A whole message, and all that is said to its end.
    async fn message(&mut self, recipients: &[&'static str], body: &str) -> Vec<Response> {
        self.send(recipients, body).await;
        self.end().await
    }

    /// What is answered to the end of a message, but for progress: that is shown whenever judging or the disk takes its time.
    async fn end(&mut self) -> Vec<Response> {
        let mut responses = self.end_with_progress().await;
        responses.retain(|response| *response != Response::Progress);
        responses
    }

    async fn end_with_progress(&mut self) -> Vec<Response> {
        self.say(&Command::EndOfMessage(Bytes::new())).await;
        let mut responses = Vec::new();
        while !responses.last().is_some_and(Response::is_final) {
            responses.push(self.answer().await);
        }
        responses
    }

    async fn closed(&mut self) {
        assert_eq!(self.packet().await, None);
    }
}

fn b(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn header(name: &'static str, value: &'static str) -> Command {
    Command::Header { name: b(name), value: b(value) }
}

fn client(address: &str) -> Command {
    Command::Connect(Connect { host: b("client.test"), peer: Peer::Inet(address.parse().unwrap(), 25) })
}

fn eicar() -> String {
    // In two halves, so that no scanner takes this file for one.
    ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR", "-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*\r\n"].concat()
}

fn refusal(responses: &[Response]) -> String {
    match responses {
        [Response::Refuse(refusal)] => refusal.to_string(),
        other => panic!("no refusal: {other:?}"),
    }
}

#[tokio::test]
async fn only_what_is_needed_is_negotiated() {
    let usual = listener("", "").await;
    let early = listener("delay_reject = false\nquarantine = 'mta'", "").await;
    // What is offered; how the answer begins: version, actions, steps; whether macros are named.
    let table: [(&Listener, &[u8], &[u8], bool); 4] = [
        (
            &usual,
            b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff",
            b"\0\0\0\x06\0\0\x01\x9f\0\x14\x73\x80",
            true,
        ),
        (
            &early,
            b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff",
            b"\0\0\0\x06\0\0\x01\xbf\0\x14\x03\x80",
            true,
        ),
        (&usual, b"\0\0\0\x0dO\0\0\0\x02\0\0\0\x3f\0\0\0\x7f", b"\0\0\0\x02\0\0\0\x1f\0\0\0\0", false),
        (&usual, b"\0\0\0\x0dO\0\0\0\x04\0\0\0\x3f\0\0\x03\xff", b"\0\0\0\x04\0\0\0\x1f\0\0\x03\x80", false),
    ];
    for (listener, offer, expected, macros) in table {
        let mut mta = Mta::connect(listener).await;
        mta.raw(offer).await;
        let frame = mta.packet().await.unwrap();
        assert_eq!(frame.data[..12].escape_ascii().to_string(), expected.escape_ascii().to_string());
        assert_eq!(frame.data.len() > 12, macros);
        let Response::Negotiate(Agreement { symbols, .. }) = Response::parse(frame).unwrap() else {
            panic!("no agreement")
        };
        assert_eq!(symbols.len(), if macros { 6 } else { 0 });
    }
}

#[tokio::test]
async fn clean_mail_goes_on_with_its_header_and_a_virus_is_refused() {
    let listener = listener("", "").await;
    let mut mta = Mta::greeted(&listener).await;
    for _ in 0..2 {
        let responses = mta.message(&["<b@x.test>"], "all is well\r\n").await;
        let codes: String = responses.iter().map(|response| char::from(response.code())).collect();
        assert!(codes.starts_with('m') && codes.ends_with('c'), "{responses:?}");
        // The one from outside goes, ours stands above what came.
        let foreign = Response::ChangeHeader { index: 1, name: b("X-Virus-Scanned"), value: Bytes::new() };
        assert_eq!(responses[0], foreign);
        let ours = |response: &Response| match response {
            Response::InsertHeader { index: 1, name, value } => {
                name == "X-Virus-Scanned" && value.starts_with(b" ")
            }
            _ => false,
        };
        assert_eq!(responses.iter().filter(|response| ours(response)).count(), 1, "{responses:?}");
        let said = refusal(&mta.message(&["<b@x.test>"], &eicar()).await);
        assert!(said.starts_with("550 5.7.1 Virus"), "{said}");
    }
    mta.say(&Command::Quit).await;
    mta.closed().await;
}

#[tokio::test]
async fn old_versions_get_a_reply_to_everything() {
    let listener = listener("", "").await;
    let mut mta = Mta::connect(&listener).await;
    mta.raw(b"\0\0\0\x0dO\0\0\0\x02\0\0\0\x3f\0\0\0\x7f").await;
    mta.answer().await;
    let mut commands = vec![
        client("192.0.2.1"),
        Command::Helo(b("client.test")),
        Command::Mail(vec![b("<>")]),
        Command::Rcpt(vec![b("<b@x.test>")]),
        header("Subject", "hello"),
        Command::EndOfHeader,
        Command::Body(b("text")),
    ];
    for command in &commands {
        assert_eq!(mta.ask(command).await, Response::Continue, "{command:?}");
    }
    let responses = mta.end().await;
    assert_eq!(responses.last(), Some(&Response::Continue));
    // The space that this mail server puts in itself is not sent.
    let value = responses.iter().find_map(|response| match response {
        Response::InsertHeader { value, .. } => Some(value.clone()),
        _ => None,
    });
    assert!(!value.unwrap().starts_with(b" "));
    // And once more, on the same connection.
    commands.drain(..2);
    commands[4] = Command::Body(eicar().into());
    for command in &commands {
        assert_eq!(mta.ask(command).await, Response::Continue, "{command:?}");
    }
    assert!(refusal(&mta.end().await).starts_with("550 5.7.1"));
}

#[tokio::test]
async fn aborted_in_any_stage_the_next_message_is_judged_alone() {
    let listener = listener("", "").await;
    let stages = [
        Command::Mail(vec![b("<a@client.test>")]),
        Command::Rcpt(vec![b("<b@x.test>")]),
        header("Subject", " virus"),
        Command::EndOfHeader,
        Command::Body(eicar().into()),
    ];
    for last in 0..stages.len() {
        let mut mta = Mta::greeted(&listener).await;
        for command in &stages[..=last] {
            mta.say(command).await;
            if matches!(command, Command::Rcpt(_) | Command::Body(_)) {
                assert_eq!(mta.answer().await, Response::Continue);
            }
        }
        mta.say(&Command::Abort).await;
        let responses = mta.message(&["<b@x.test>"], "all is well\r\n").await;
        assert_eq!(responses.last(), Some(&Response::Continue), "{:?}", stages[last]);
    }
}

#[tokio::test]
async fn limits_of_size_and_recipients() {
    let listener = listener("", "[limits]\nmessage_size = 100000\nrecipients = 2\nmemory = 1000").await;
    let mut mta = Mta::greeted(&listener).await;
    let large = Command::Body(vec![b'x'; CHUNK].into());
    mta.say(&Command::Mail(vec![b("<>")])).await;
    // How many it takes is for the mail server to say; ours is a limit of octets.
    for (number, size, taken) in [(3, 1, true), (8, FRAME_LIMIT - 100, true), (1, FRAME_LIMIT - 100, false)] {
        let parameter = Bytes::from(vec![b'x'; size]);
        for place in 0..number {
            let rcpt = Command::Rcpt(vec![format!("<{place}@x.test>").into(), parameter.clone()]);
            let answer = mta.ask(&rcpt).await;
            match taken {
                true => assert_eq!(answer, Response::Continue),
                false => assert!(refusal(&[answer]).starts_with("452 4.5.3")),
            }
        }
    }
    mta.say(&Command::EndOfHeader).await;
    assert_eq!(mta.ask(&large).await, Response::Continue);
    // As soon as it is known, not after all of it.
    assert!(refusal(&[mta.ask(&large).await]).starts_with("552 5.3.4"));
    mta.say(&Command::Abort).await;
    // A header that never ends.
    mta.say(&Command::Mail(vec![b("<>")])).await;
    assert_eq!(mta.ask(&Command::Rcpt(vec![b("<b@x.test>")])).await, Response::Continue);
    for _ in 0..4 {
        let value = Bytes::from(vec![b'x'; 30_000]);
        mta.say(&Command::Header { name: b("X-Long"), value }).await;
    }
    assert!(refusal(&mta.end().await).starts_with("552 5.3.4"));
    let small = mta.message(&["<b@x.test>"], "all is well\r\n").await;
    assert_eq!(small.last(), Some(&Response::Continue));
}

#[tokio::test]
async fn what_cannot_be_kept_is_put_off() {
    let listener = listener("", "[limits]\nmemory = 1000").await;
    std::fs::remove_dir_all(listener.folder.path().join("spool")).unwrap();
    let mut mta = Mta::greeted(&listener).await;
    mta.say(&Command::Mail(vec![b("<>")])).await;
    assert_eq!(mta.ask(&Command::Rcpt(vec![b("<b@x.test>")])).await, Response::Continue);
    let said = refusal(&[mta.ask(&Command::Body(vec![b'x'; 2000].into())).await]);
    assert!(said.starts_with("452 4.3.1"), "{said}");
    // What needs no file is still taken.
    let small = mta.message(&["<b@x.test>"], "all is well\r\n").await;
    assert_eq!(small.last(), Some(&Response::Continue));
}

#[tokio::test]
async fn stray_line_ends_are_refused_where_that_is_wanted() {
    for (setting, refused) in [("normalize", false), ("refuse", true)] {
        let tables = format!("[limits]\nstray_line_endings = '{setting}'");
        let listener = listener("", &tables).await;
        let mut mta = Mta::greeted(&listener).await;
        let responses = mta.message(&["<b@x.test>"], "bare\nline\r\n").await;
        assert_eq!(matches!(responses.last(), Some(Response::Refuse(_))), refused, "{responses:?}");
        // The lines of a folded field are parted by LF; that is none of these.
        mta.say(&Command::Mail(vec![b("<>")])).await;
        mta.ask(&Command::Rcpt(vec![b("<b@x.test>")])).await;
        mta.say(&header("Subject", " folded\n here")).await;
        assert_eq!(mta.end().await.last(), Some(&Response::Continue));
    }
}

#[tokio::test]
async fn who_sends_counts_and_what_the_mail_server_knows_of_them() {
    let tables = "domains = ['x.test']\n[default_policy]\nactions.spam = 'discard'\n\
        [[policy]]\nname = 'users'\nwhen.authenticated = true\nwhen.directions = ['outbound']\n\
        actions.spam = 'refuse'";
    let listener = listener("", tables).await;
    let mut mta = Mta::greeted(&listener).await;
    let user = Command::Macros { stage: b'M', values: vec![(b("{auth_authen}"), b("alice"))] };
    for (login, recipient, refused) in [
        (None, "<b@x.test>", false),
        (Some(&user), "<b@elsewhere.test>", true),
        // Internal: not what the policy is for.
        (Some(&user), "<b@x.test>", false),
        // The login was that message's.
        (None, "<b@elsewhere.test>", false),
    ] {
        if let Some(login) = login {
            mta.say(login).await;
        }
        let responses = mta.message(&[recipient], GTUBE).await;
        match refused {
            true => assert!(refusal(&responses).starts_with("550 "), "{responses:?}"),
            false => assert_eq!(responses, [Response::Discard], "{recipient}"),
        }
    }
}

#[tokio::test]
async fn some_get_it_marked_and_some_do_not() {
    let tables = "[default_policy]\nactions.spam = 'mark'\nextensions.spam = '+spam'\nsubject_tags.spam = '[SPAM] '\n\
        [[policy]]\nname = 'strict'\nwhen.recipients = ['strict@x.test']\nactions.spam = 'discard'";
    let listener = listener("", tables).await;
    let mut mta = Mta::greeted(&listener).await;
    let responses = mta.message(&["<b@x.test>", "<strict@x.test>"], GTUBE).await;
    for expected in [
        Response::DeleteRecipient(b("<b@x.test>")),
        Response::DeleteRecipient(b("<strict@x.test>")),
        Response::AddRecipient { address: b("<b+spam@x.test>"), parameters: None },
        Response::ChangeHeader { index: 1, name: b("Subject"), value: b(" [SPAM] hello") },
        Response::Continue,
    ] {
        assert!(responses.contains(&expected), "{expected:?} is missing: {responses:?}");
    }
}

#[tokio::test]
async fn one_policy_at_a_time_where_that_is_wanted() {
    // A policy of outgoing mail does not part recipients of incoming mail.
    let tables = "domains = ['x.test']\n[[policy]]\nname = 'strict'\nwhen.recipients = ['strict@x.test']\n\
        [[policy]]\nname = 'out'\nwhen.recipients = ['out@x.test']\nwhen.directions = ['outbound']";
    let listener = listener("mixed = 'defer-others'", tables).await;
    let mut mta = Mta::greeted(&listener).await;
    let user = Command::Macros { stage: b'M', values: vec![(b("{auth_authen}"), b("alice"))] };
    for (login, expected) in [(false, [true, true, false, true]), (true, [true, false, false, true])] {
        if login {
            mta.say(&user).await;
        }
        mta.say(&Command::Mail(vec![b("<>")])).await;
        for (recipient, taken) in
            ["<a@x.test>", "<out@x.test>", "<strict@x.test>", "<b@x.test>"].iter().zip(expected)
        {
            match mta.ask(&Command::Rcpt(vec![b(recipient)])).await {
                Response::Continue => assert!(taken, "{recipient}"),
                Response::Refuse(refusal) => assert_eq!((refusal.code(), taken), (452, false), "{recipient}"),
                other => panic!("{other:?}"),
            }
        }
        mta.say(&Command::Abort).await;
    }
}

#[tokio::test]
async fn the_mail_server_holds_what_is_to_be_held_where_it_is_asked_to() {
    let tables = "[default_policy]\nactions.virus = 'quarantine'";
    let holds = listener("quarantine = 'mta'", tables).await;
    let mut mta = Mta::greeted(&holds).await;
    let responses = mta.message(&["<b@x.test>"], &eicar()).await;
    match &responses[..] {
        [Response::Quarantine(reason), Response::Continue] => assert!(!reason.is_empty()),
        other => panic!("{other:?}"),
    }
    // Here there is no vault at all, so the message must wait.
    let vault = listener("", tables).await;
    let mut mta = Mta::greeted(&vault).await;
    let said = refusal(&mta.message(&["<b@x.test>"], &eicar()).await);
    assert!(said.starts_with("451 4.3.") || said.starts_with("452 4.3."), "{said}");
    // And a mail server that cannot hold is not asked to.
    let mut mta = Mta::connect(&holds).await;
    mta.say(&Command::Negotiate(Offer { version: 2, actions: Actions(0x1f), steps: Steps(0x7f) })).await;
    mta.answer().await;
    mta.ask(&client("192.0.2.1")).await;
    mta.ask(&Command::Mail(vec![b("<>")])).await;
    mta.ask(&Command::Rcpt(vec![b("<b@x.test>")])).await;
    mta.ask(&Command::Body(eicar().into())).await;
    assert!(refusal(&mta.end().await).starts_with("45"));
}

#[tokio::test]
async fn what_the_mail_server_cannot_do_puts_the_message_off() {
    let tables = "[default_policy]\nactions.spam = 'mark'\nextensions.spam = '+spam'\n\
        [[policy]]\nname = 'strict'\nwhen.recipients = ['strict@x.test']\nactions.spam = 'quarantine'";
    let (listener, vault) = listener_with_vault("", tables).await;
    let held = || vault.list().filter(Result::is_ok).count();
    let mut mta = Mta::connect(&listener).await;
    let offer = Offer { actions: Actions::ADD_HEADERS | Actions::CHANGE_HEADERS, ..ALL };
    mta.say(&Command::Negotiate(offer)).await;
    mta.answer().await;
    mta.say(&client("192.0.2.1")).await;
    for recipients in [&["<b@x.test>"][..], &["<b@x.test>", "<strict@x.test>"]] {
        let said = refusal(&mta.message(recipients, GTUBE).await);
        assert!(said.starts_with("451 4.3.5"), "{said}");
        // It comes again, and is not to fill the vault.
        assert_eq!(held(), 0);
    }
    // What can be done is done.
    let clean = mta.message(&["<b@x.test>"], "all is well\r\n").await;
    assert_eq!(clean.last(), Some(&Response::Continue));
    assert_eq!(mta.message(&["<strict@x.test>"], GTUBE).await, [Response::Discard]);
    assert_eq!(held(), 1);
}

#[tokio::test]
async fn a_recipient_changes_without_parameters_where_the_mail_server_takes_none() {
    let tables = "[default_policy]\nactions.spam = 'mark'\nextensions.spam = '+spam'";
    let listener = listener("", tables).await;
    let mut mta = Mta::connect(&listener).await;
    mta.say(&Command::Negotiate(Offer { actions: Actions(0x1f), ..ALL })).await;
    mta.answer().await;
    mta.say(&client("192.0.2.1")).await;
    mta.say(&Command::Mail(vec![b("<a@client.test>")])).await;
    assert_eq!(mta.ask(&Command::Rcpt(vec![b("<b@x.test>"), b("NOTIFY=NEVER")])).await, Response::Continue);
    mta.say(&header("Subject", " hello")).await;
    assert_eq!(mta.ask(&Command::Body(GTUBE.into())).await, Response::Continue);
    let responses = mta.end().await;
    let added = Response::AddRecipient { address: b("<b+spam@x.test>"), parameters: None };
    assert!(responses.contains(&added), "{responses:?}");
    assert_eq!(responses.last(), Some(&Response::Continue));
}

#[tokio::test]
async fn a_message_that_the_mail_server_reads_otherwise_is_held() {
    let (listener, vault) = listener_with_vault("", "").await;
    let mut mta = Mta::greeted(&listener).await;
    for (name, value, times) in [
        ("X-Spam\u{7f}", " x", 2),
        ("X-Spam\u{e9}", " x", 2),
        ("X Y", " x", 2),
        ("", " x", 2),
        ("X-Empty", " a\n\n b", 1),
    ] {
        mta.say(&Command::Mail(vec![b("<a@client.test>")])).await;
        assert_eq!(mta.ask(&Command::Rcpt(vec![b("<b@x.test>")])).await, Response::Continue);
        mta.say(&header("Subject", " hello")).await;
        for _ in 0..times {
            mta.say(&header(name, value)).await;
        }
        mta.say(&header("X-Spam-Flag", " NO")).await;
        mta.say(&Command::EndOfHeader).await;
        assert_eq!(mta.ask(&Command::Body(b("text\r\n"))).await, Response::Continue);
        assert_eq!(mta.end().await, [Response::Discard], "{name:?} {value:?}");
    }
    assert_eq!(vault.list().count(), 5);
}

#[tokio::test]
async fn nothing_before_the_message_waits_for_slow_checks() {
    // A name server that says nothing.
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let tables = format!(
        "[checks.dns]\nservers = ['{}']\ntime = 3\n\
         [checks.dnsbl.slow]\nzone = 'bl.test'\ntime = 3\ncategory = 'spam'\non_fault = 'defer'\n",
        silent.local_addr().unwrap()
    );
    for keys in ["", "delay_reject = false"] {
        let listener = listener(keys, &tables).await;
        let mut mta = Mta::connect(&listener).await;
        mta.say(&Command::Negotiate(ALL)).await;
        mta.answer().await;
        let began = Instant::now();
        mta.say(&client("192.0.2.1")).await;
        mta.say(&Command::Helo(b("client.test"))).await;
        mta.say(&Command::Mail(vec![b("<a@client.test>")])).await;
        for _ in 0..if keys.is_empty() { 0 } else { 3 } {
            assert_eq!(mta.answer().await, Response::Continue);
        }
        assert_eq!(mta.ask(&Command::Rcpt(vec![b("<b@x.test>")])).await, Response::Continue);
        assert!(began.elapsed() < Duration::from_millis(2500), "{:?}", began.elapsed());
        mta.say(&header("Subject", " hello")).await;
        assert_eq!(mta.ask(&Command::Body(b("all is well\r\n"))).await, Response::Continue);
        // Here it is waited for, and the mail server hears of us meanwhile.
        let responses = mta.end_with_progress().await;
        let (last, before) = responses.split_last().unwrap();
        assert!(before.len() >= 5 && before.iter().all(|response| *response == Response::Progress));
        assert!(refusal(std::slice::from_ref(last)).starts_with("451 4."), "{last:?}");
    }
}

#[tokio::test]
async fn mail_of_local_programs_is_not_refused_at_rcpt() {
    let tables = "[[policy]]\nname = 'strict'\nwhen.recipients = ['strict@x.test']\nactions.spam = 'discard'";
    let listener = listener("mixed = 'defer-others'", tables).await;
    for (address, port, submitted) in
        [("127.0.0.1", 0, true), ("::1", 0, true), ("127.0.0.1", 40_000, false), ("192.0.2.1", 0, false)]
    {
        let mut mta = Mta::connect(&listener).await;
        mta.say(&Command::Negotiate(ALL)).await;
        mta.answer().await;
        let peer = Peer::Inet(address.parse().unwrap(), port);
        mta.say(&Command::Connect(Connect { host: b("localhost"), peer })).await;
        mta.say(&Command::Mail(vec![b("<a@x.test>")])).await;
        assert_eq!(mta.ask(&Command::Rcpt(vec![b("<b@x.test>")])).await, Response::Continue);
        let answer = mta.ask(&Command::Rcpt(vec![b("<strict@x.test>")])).await;
        assert_eq!(answer == Response::Continue, submitted, "{address} {port}: {answer:?}");
    }
}

#[tokio::test]
async fn slow_judging_shows_progress() {
    // A scanner that says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tables = format!(
        "[checks.clamd.silent]\nsocket = 'tcp:{}'\ntransfer = 'instream'\ntime = 1\n",
        silent.local_addr().unwrap()
    );
    let listener = listener("", &tables).await;
    let mut mta = Mta::greeted(&listener).await;
    mta.send(&["<b@x.test>"], "all is well\r\n").await;
    let responses = mta.end_with_progress().await;
    let (last, before) = responses.split_last().unwrap();
    assert!(before.len() >= 5, "{responses:?}");
    assert!(before.iter().all(|response| *response == Response::Progress));
    assert!(refusal(std::slice::from_ref(last)).starts_with("451 4."));
}

#[tokio::test]
async fn nonsense_ends_the_connection() {
    let listener = listener("", "").await;
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\0\0\0\0",
        b"\0\0\0\x01M",
        b"\0\0\0\x0dO\0\0\0\x01\0\0\0\x3f\0\0\0\x7f",
        b"\0\0\0\x03Bxx",
    ] {
        let mut mta = Mta::connect(&listener).await;
        mta.raw(bytes).await;
        mta.closed().await;
    }
}

#[tokio::test]
async fn a_stopping_daemon_finishes_the_message_under_way() {
    let listener = listener("", "").await;
    let mut idle = Mta::greeted(&listener).await;
    idle.message(&["<b@x.test>"], "all is well\r\n").await;
    let mut busy = Mta::greeted(&listener).await;
    busy.send(&["<b@x.test>"], "all is well\r\n").await;
    listener.drain.send(true).unwrap();
    idle.closed().await;
    assert_eq!(busy.end().await.last(), Some(&Response::Continue));
    busy.closed().await;
    tokio::time::timeout(Duration::from_secs(10), listener.accepting).await.expect("all ended").unwrap();
}

#[tokio::test]
async fn the_next_client_on_the_same_connection_is_another_one() {
    let listener =
        listener("", "[[policy]]\nname = 'a'\nwhen.networks = ['198.51.100.0/24']\nactions.spam = 'discard'")
            .await;
    let mut mta = Mta::greeted(&listener).await;
    assert!(refusal(&mta.message(&["<b@x.test>"], GTUBE).await).starts_with("550"));
    mta.say(&Command::QuitNewConnection).await;
    mta.say(&client("198.51.100.7")).await;
    assert_eq!(mta.message(&["<b@x.test>"], GTUBE).await, [Response::Discard]);
}
