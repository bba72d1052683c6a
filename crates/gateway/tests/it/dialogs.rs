//! Protocol dialogs as data: each file in `dialogs/` is one, run against gatepost with a sink behind it.
//!
//! Before the first line of talk:
//!
//! - `=listener TOML`, `=top TOML`, `=tables TOML`: a line of configuration (see [`Setup`]); `=lmtp` makes it LMTP
//! - `=offer EXTENSION`: the sink offers this beside what it usually does
//! - `=on STAGE TEXT => REPLY`: what the sink says to lines that contain TEXT (`*`: all)
//!
//! Then, line by line:
//!
//! - `C: line` sends the line and CRLF; `C> bytes` sends just that, with `\r \n \t \0 \\ \xNN` and `{EICAR}` replaced
//! - `S: pattern` takes the next reply, which must match from its beginning, all its lines joined by `\n`
//! - `S* pattern`, `S! pattern`: some line, or none, of that reply says this (code and mark left off)
//! - `REPEAT n` … `END`: the lines between, n times
//! - `CONNECT`, `CONNECT FROM address`: a new connection; the first is there from the start, unless the file begins
//!   with one; `ASIDE` keeps the connection open while others are made
//! - `PAUSE ms`, `END OF CONNECTION`
//! - `RECEIVED n`: the sink has so many messages; `HAS pattern`, `HASNOT pattern`: in the last of them;
//!   `TOLD pattern`, `NOTTOLD pattern`: among the commands that the sink was given
//! - `RECORD field pattern`: in the newest record of the journal

use std::path::Path;
use std::time::Duration;

use regex::Regex;

use crate::rig::*;

macro_rules! dialogs {
    ($($name:ident)*) => {
        const ALL: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                play(stringify!($name));
            }
        )*
    };
}

dialogs! {
    after_queue_bounce
    after_queue_bounce_deferred
    after_queue_bounce_forged
    after_queue_bounce_list
    after_queue_bounce_not_wanted
    after_queue_bounce_null_sender
    after_queue_bounce_refused
    after_queue_bounce_text
    after_queue_bounce_virus
    after_queue_hold
    after_queue_lmtp_bounce_deferred
    after_queue_lmtp_mixed
    after_queue_refuse
    after_queue_way_back
    auth_as_long_as_may_be
    auth_cancelled
    auth_empty_challenge
    auth_endless
    auth_login
    auth_lost
    auth_lost_while_logging_in
    auth_nameless
    auth_not_base64
    auth_not_by_next_hop
    auth_not_configured
    auth_parameter
    auth_pipelined
    auth_pipelined_response
    auth_plain
    auth_policy
    auth_refused
    auth_sequences
    auth_too_long
    auth_xclient
    bad_addresses
    bad_sequences
    bdat
    bdat_errors
    before_queue_bounce
    bodies
    client_limit
    command_too_long
    early_talker
    ehlo
    errors_limit
    gtube
    helo
    idle_commands
    lines_too_long
    lmtp
    lmtp_too_large
    lmtp_verbs
    message_limit
    null_sender
    parameters
    pipelining
    pipelining_abuse
    prdr
    prdr_one_refused
    proxy_client_limit
    proxy_untrusted
    proxy_v1
    proxy_v2
    proxy_without_header
    recipients_limit
    recipients_many
    rset
    silent_verbs
    size
    size_of_next_hop
    slow_command
    smtputf8
    smtputf8_not_offered
    stray_refused
    unknown_command
    xclient
    xclient_untrusted
    xforward
    xforward_scope
    xforward_to_next_hop
    xforward_untrusted
}

#[test]
fn every_dialog_is_played() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/dialogs");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("the dialogs")
        .map(|entry| {
            entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned()
        })
        .collect();
    names.sort();
    assert_eq!(names, ALL);
}

fn play(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/dialogs").join(format!("{name}.txt"));
    let text = std::fs::read_to_string(&path).expect("the dialog");
    let lines: Vec<(usize, &str)> = text
        .lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line))
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        .collect();
    let (head, talk): (Vec<_>, Vec<_>) = lines.iter().partition(|(_, line)| line.starts_with('='));
    let sink = Sink::start();
    let gatepost = set_up(&head, &sink).start();
    // What the next hop offers is asked when the daemon starts; the dialogs presume that it is known.
    wait_for("a probe", START, || sink.commands().iter().any(|line| line.contains("HLO ")).then_some(()));
    std::thread::sleep(Duration::from_millis(50));
    let mut player = Player { name, gatepost, sink, dialog: None, aside: Vec::new(), reply: None };
    if !talk.first().is_some_and(|(_, line)| line.starts_with("CONNECT")) {
        player.dialog = Some(player.gatepost.connect());
    }
    player.all(&talk);
}

fn set_up(head: &[(usize, &str)], sink: &Sink) -> Setup {
    let mut setup = Setup::to(sink.address);
    let mut offered = vec!["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"];
    for &(number, line) in head {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        setup = match key {
            "=listener" => setup.listening(value),
            "=top" => setup.globally(value),
            "=tables" => setup.with(value),
            "=lmtp" => {
                let next_hops = vec![format!("lmtp://{}", sink.address)];
                Setup { lmtp: true, next_hops, ..setup }
            }
            "=offer" => {
                offered.push(value);
                setup
            }
            "=on" => {
                let (what, reply) =
                    value.split_once(" => ").unwrap_or_else(|| panic!("line {number}: no =>"));
                let (stage, text) = what.split_once(' ').unwrap_or((what, "*"));
                let text = if text == "*" { "" } else { text };
                sink.on_some(stage, text, usize::MAX, Step::Reply(reply.to_owned()));
                setup
            }
            _ => panic!("line {number}: {line}"),
        };
    }
    sink.offer(&offered);
    setup
}

struct Player<'a> {
    name: &'a str,
    gatepost: Gatepost,
    sink: Sink,
    dialog: Option<Dialog>,
    aside: Vec<Dialog>,
    reply: Option<Reply>,
}

impl Player<'_> {
    fn all(&mut self, lines: &[(usize, &str)]) {
        let mut at = 0;
        while let Some(&(number, line)) = lines.get(at) {
            at += 1;
            let Some(times) = line.strip_prefix("REPEAT ") else {
                self.one(number, line);
                continue;
            };
            let length = lines[at..].iter().position(|(_, line)| *line == "END");
            let length = length.unwrap_or_else(|| panic!("line {number}: REPEAT without END"));
            for _ in 0..times.parse::<usize>().expect("a number") {
                self.all(&lines[at..at + length]);
            }
            at += length + 1;
        }
    }

    fn one(&mut self, number: usize, line: &str) {
        let place = format!("{}.txt:{number}: {line}", self.name);
        println!("{place}");
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        match key {
            "C:" => self.dialog().send(value),
            "C>" => self.dialog().raw(&unescaped(value)),
            "S:" => self.reply = Some(self.dialog().expect(value)),
            "S*" => assert!(self.says(value), "{place}\n{:?}", self.reply),
            "S!" => assert!(!self.says(value), "{place}\n{:?}", self.reply),
            "CONNECT" => {
                let to = self.gatepost.smtp;
                self.dialog = Some(match value.strip_prefix("FROM ") {
                    Some(from) => Dialog::connect_from(from.parse().expect("an address"), to),
                    None => Dialog::connect(to),
                });
            }
            "ASIDE" => self.aside.extend(self.dialog.take()),
            "PAUSE" => std::thread::sleep(Duration::from_millis(value.parse().expect("milliseconds"))),
            "END" if value == "OF CONNECTION" => self.dialog().expect_end(),
            "RECEIVED" => {
                assert_eq!(self.sink.received().len(), value.parse::<usize>().expect("a number"), "{place}")
            }
            "HAS" => assert!(found(value, &self.last()), "{place}\n{}", self.last()),
            "HASNOT" => assert!(!found(value, &self.last()), "{place}\n{}", self.last()),
            "TOLD" => assert!(self.told(value), "{place}\n{:#?}", self.sink.commands()),
            "NOTTOLD" => assert!(!self.told(value), "{place}\n{:#?}", self.sink.commands()),
            "RECORD" => {
                let (field, pattern) = value.split_once(' ').expect("a field and a pattern");
                // Of several messages the last may not be in the journal yet.
                wait_for(&place, Duration::from_secs(10), || {
                    let records = self.gatepost.records(1);
                    let record = records.last().expect("a record");
                    println!("{}", record[field]);
                    found(pattern, &record[field].to_string()).then_some(())
                });
            }
            _ => panic!("{place}: not known"),
        }
    }

    fn dialog(&mut self) -> &mut Dialog {
        self.dialog.as_mut().expect("a connection")
    }

    fn says(&self, pattern: &str) -> bool {
        self.reply
            .as_ref()
            .is_some_and(|reply| reply.lines().any(|line| matches(&format!("(?:{pattern})$"), line)))
    }

    fn last(&self) -> String {
        self.sink.received().last().map(Received::text).unwrap_or_default()
    }

    fn told(&self, pattern: &str) -> bool {
        self.sink.commands().iter().any(|command| found(pattern, command))
    }
}

fn found(pattern: &str, text: &str) -> bool {
    Regex::new(&format!("(?m){pattern}")).unwrap_or_else(|error| panic!("{error}")).is_match(text)
}

/// The bytes that a line of `C>` stands for.
fn unescaped(text: &str) -> Vec<u8> {
    let text = text.replace("{EICAR}", &eicar().replace('\\', "\\\\"));
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, after) = match (first, tail) {
            (b'\\', [b'r', after @ ..]) => (b'\r', after),
            (b'\\', [b'n', after @ ..]) => (b'\n', after),
            (b'\\', [b't', after @ ..]) => (b'\t', after),
            (b'\\', [b'0', after @ ..]) => (0, after),
            (b'\\', [b'\\', after @ ..]) => (b'\\', after),
            (b'\\', [b'x', high, low, after @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).expect("two digits");
                (u8::from_str_radix(digits, 16).expect("two hex digits"), after)
            }
            _ => (*first, tail),
        };
        bytes.push(byte);
        rest = after;
    }
    bytes
}
