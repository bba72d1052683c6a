//! Between two queues of real Sendmails: what passes is delivered, what is held never is, and whatever dies when, each
//! message ends in exactly one place.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::rig::*;

const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

const NEEDED: &[&str] = &["root", "sendmail", "m4", "cc"];

/// A Sendmail that takes mail in, as the page says; the folders; a gatepost between them; where the second Sendmail
/// delivers.
struct Place {
    gatepost: Gatepost,
    sendmail: Sendmail,
    sink: Sink,
}

impl Place {
    fn start(tables: &str) -> Place {
        Place::with_folders(tables, &[])
    }

    /// Both queues with sub-folders.
    fn with_folders(tables: &str, folders: &[&str]) -> Place {
        let sink = Sink::start();
        let lines = docs::block("two-queues.md", "debian");
        let documented =
            lines.lines().find_map(|line| line.strip_prefix("DAEMON_PARMS=\"")?.strip_suffix("\";"));
        let arguments = documented.expect("DAEMON_PARMS").replace("/var/spool/mqueue.in", "{queue}");
        assert!(arguments.contains("{queue}"), "{arguments}");
        let mut sendmail = SendmailSetup::to(sink.address).arguments(&arguments).start();
        if !folders.is_empty() {
            sendmail.stop();
            for queue in [sendmail.queue(), sendmail.outgoing()] {
                folders.iter().for_each(|name| std::fs::create_dir(queue.join(name)).expect("a folder"));
            }
            sendmail.restart();
        }
        let setup = Setup::default().with(&between(&sendmail.queue(), &sendmail.outgoing())).with(tables);
        Place { gatepost: setup.start(), sendmail, sink }
    }

    /// Hands a message to the first Sendmail.
    fn send(&self, recipients: &[&str], content: &str) {
        let mut dialog = Dialog::connect(self.sendmail.smtp);
        dialog.greet();
        let reply = dialog.message("sender@client.test", recipients, content);
        assert!(reply.text.contains("accepted for delivery"), "{}", reply.text);
    }

    fn incoming(&self) -> Vec<String> {
        names(&self.sendmail.queue())
    }

    fn outgoing(&self) -> Vec<String> {
        names(&self.sendmail.outgoing())
    }

    /// Waits until nothing is left in the incoming queue, and lets the second Sendmail deliver what came out.
    fn deliver(&self) -> Vec<Received> {
        wait_for("an empty incoming queue", START, || self.incoming().is_empty().then_some(()));
        wait_for("an empty outgoing queue", START, || {
            self.sendmail.run_queue(&self.sendmail.outgoing());
            self.outgoing().is_empty().then_some(())
        });
        self.sink.received()
    }
}

/// The page's configuration, with the folders of this test.
fn between(incoming: &Path, outgoing: &Path) -> String {
    let page = docs::block_with(
        "two-queues.md",
        "gatepost",
        &[
            ("data = \"/var/lib/gatepost\"", String::new()),
            ("\"/var/spool/mqueue.in\"", format!("{incoming:?}")),
            ("\"/var/spool/mqueue\"", format!("{outgoing:?}")),
        ],
    );
    // Where released mail goes is the business of each test.
    page.split("[quarantine]").next().unwrap_or_default().to_owned()
}

/// All queue files, those in sub-folders with their folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a queue").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => names.extend(self::names(&entry.path()).iter().map(|inner| format!("{name}/{inner}"))),
            // The mark that an outgoing folder is known by.
            false if name == ".gatepost" => {}
            false => names.push(name),
        }
    }
    names.sort();
    names
}

#[test]
fn clean_mail_goes_through_and_bad_mail_is_held() {
    if !needs(NEEDED) {
        return;
    }
    let place = Place::start("");
    place.send(&["user@example.test"], &mail("clean", "Gr\u{fc}\u{df}e\n.\n..two dots"));
    place.send(&["user@example.test"], &eicar_body("virus"));
    let received = place.deliver();
    assert_eq!(received.len(), 1);
    let text = received[0].text();
    assert!(received[0].mail.contains("<sender@client.test>"), "{}", received[0].mail);
    assert!(text.contains("\r\nGr\u{fc}\u{df}e\r\n.\r\n..two dots\r\n"), "{text}");
    assert!(received[0].header("X-Gatepost-Id").is_some(), "{text}");
    // Ours stands above the trace field of the Sendmail that took it.
    assert!(
        text.find("X-Gatepost-Id").unwrap_or(usize::MAX) < text.find("by sendmail.example.test").unwrap_or(0),
        "{text}"
    );
    let held = place.gatepost.held(1);
    assert_eq!(held.len(), 1, "{held:?}");
    let records = place.gatepost.records(2);
    for record in &records {
        assert_eq!(record["listener"], "queue", "{record:#}");
        assert_eq!(record["client"], "127.0.0.1", "{record:#}");
        assert_eq!(record["helo"], "client.test", "{record:#}");
    }
    // They are judged side by side, so either may be done first.
    let viruses = records.iter().filter(|record| record["category"] == "virus").count();
    assert_eq!((records.len(), viruses), (2, 1), "{records:#?}");
    let id = held[0]["id"].as_str().expect("an id");
    let raw = place.gatepost.command(&["quarantine", "show"], &[id, "--raw"]);
    assert!(String::from_utf8_lossy(&raw.stdout).contains(&eicar()));
    // Without release_to there is nowhere to go, and a Maildir that nobody reads is not somewhere.
    let released = place.gatepost.command(&["quarantine", "release"], &[id]);
    assert!(String::from_utf8_lossy(&released.stderr).contains("release_to"), "{released:?}");
}

#[test]
fn edits_are_made_in_the_control_file_and_the_body() {
    if !needs(NEEDED) {
        return;
    }
    let policy = "[default_policy]\nactions.banned = \"strip\"\nactions.spam = \"mark\"\n\
        subject_tags.spam = \"[SPAM] \"\nextensions.spam = \"+spam\"\n";
    let place = Place::start(policy);
    place.send(&["user@example.test"], &with_attachment("stripped", "run.vbs", b"MsgBox 1"));
    let forged = mail("marked", GTUBE).replace("Subject:", "X-Spam-Flag: NO\nX-Old: 1\n\tfolded\nSubject:");
    place.send(&["user@example.test", "other@example.test"], &forged);
    let received = place.deliver();
    assert_eq!(received.len(), 2);
    let find = |what: &str| received.iter().find(|mail| mail.text().contains(what)).expect("it arrived");
    let stripped = find("See there.");
    assert!(!stripped.text().contains("TXNnQm94"), "{}", stripped.text());
    assert!(stripped.text().contains("run.vbs"), "{}", stripped.text());
    let marked = find("GTUBE");
    assert_eq!(marked.header("Subject").as_deref(), Some("[SPAM] marked"));
    assert_eq!(marked.header("X-Spam-Flag").as_deref(), Some("YES"), "{}", marked.text());
    assert_eq!(marked.text().matches("X-Spam-Flag").count(), 1, "{}", marked.text());
    assert!(marked.text().contains("X-Old: 1\r\n\tfolded\r\n"), "{}", marked.text());
    let recipients = marked.recipients.join(" ");
    assert!(recipients.contains("user+spam@example.test"), "{recipients}");
    assert!(recipients.contains("other+spam@example.test"), "{recipients}");
}

#[test]
fn recipients_may_differ_and_keep_what_they_asked_for() {
    if !needs(NEEDED) {
        return;
    }
    let policy = "[[policy]]\nname = \"lenient\"\nwhen.recipients = [\"lenient@example.test\"]\nwhen.listeners = [\"queue\"]\n\
        actions.spam = \"deliver\"\n";
    let place = Place::start(policy);
    place.sink.offer(&["PIPELINING", "8BITMIME", "DSN"]);
    let mut dialog = Dialog::connect(place.sendmail.smtp);
    dialog.greet();
    dialog.say("MAIL FROM:<sender@client.test> RET=HDRS ENVID=abc+3Dd", "250");
    dialog.say("RCPT TO:<strict@example.test> NOTIFY=NEVER", "250");
    dialog.say("RCPT TO:<lenient@example.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;orig@example.test", "250");
    dialog.say("DATA", "354");
    dialog.content(&mail("mixed", GTUBE));
    assert_eq!(dialog.try_reply().expect("a reply").code, 250);
    let received = place.deliver();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].recipients.len(), 1, "{:?}", received[0].recipients);
    let recipient = &received[0].recipients[0];
    assert!(recipient.contains("<lenient@example.test>"), "{recipient}");
    assert!(
        recipient.contains("NOTIFY=SUCCESS,DELAY") && recipient.contains("orig@example.test"),
        "{recipient}"
    );
    assert!(
        received[0].mail.contains("RET=HDRS") && received[0].mail.contains("ENVID=abc+3Dd"),
        "{}",
        received[0].mail
    );
    let verdicts = &place.gatepost.held(1)[0]["verdicts"];
    for (verdict, recipient, outcome) in
        [(0, "strict@example.test", "held"), (1, "lenient@example.test", "delivered: 250 2.0.0 Queued as")]
    {
        assert_eq!(verdicts[verdict]["recipients"], serde_json::json!([recipient]), "{verdicts:#}");
        let told = verdicts[verdict]["outcome"].as_str().unwrap_or_default();
        assert!(told.starts_with(outcome), "{verdicts:#}");
    }
}

/// One copy goes out, stripped since one recipient's policy says so; a third finds it held. From the vault each of them can
/// have the whole.
#[test]
fn whoever_gets_the_stripped_copy_can_have_the_original() {
    if !needs(NEEDED) {
        return;
    }
    let policy = |name: &str, action: &str| {
        format!(
            "[[policy]]\nname = \"{name}\"\nwhen.recipients = [\"{name}@example.test\"]\nwhen.listeners = [\"queue\"]\n\
             actions.banned = \"{action}\"\n"
        )
    };
    let tables = [("strip", "strip"), ("whole", "deliver"), ("held", "quarantine")];
    let tables: String = tables.map(|(name, action)| policy(name, action)).concat();
    let mut place = Place::start(&tables);
    let recipients = ["strip@example.test", "whole@example.test", "held@example.test"];
    place.send(&recipients, &with_attachment("three", "run.vbs", b"MsgBox 1"));
    let received = place.deliver();
    assert_eq!(received.iter().map(|mail| mail.recipients.len()).sum::<usize>(), 2);
    assert!(received.iter().all(|mail| !mail.text().contains("TXNnQm94")));
    let release_to = format!("[quarantine]\nrelease_to = [\"smtp://{}\"]\n", place.sink.address);
    place.gatepost.change(|setup| setup.tables.push_str(&release_to));
    let id = place.gatepost.held(1)[0]["id"].as_str().expect("an id").to_owned();
    let released = place.gatepost.command(&["quarantine", "release"], &[&id]);
    assert!(released.status.success(), "{released:?}");
    let all = place.sink.wait_received(received.len() + 1);
    let last = all.last().expect("it arrived");
    assert!(last.text().contains("TXNnQm94"), "{}", last.text());
    let named = last.recipients.join(" ");
    assert!(recipients.iter().all(|recipient| named.contains(recipient)), "{named}");
}

/// Both Sendmails as the page starts them, nobody helps.
#[test]
fn the_second_sendmail_delivers_by_itself() {
    if !needs(NEEDED) {
        return;
    }
    let place = Place::start("");
    let pid_file = place.sendmail.folder().join("out.pid");
    let commands = docs::block_with(
        "two-queues.md",
        "commands",
        &[
            ("/var/spool/mqueue.in", place.sendmail.queue().display().to_string()),
            ("/var/spool/mqueue", place.sendmail.outgoing().display().to_string()),
            ("/run/sendmail-out.pid", pid_file.display().to_string()),
            ("-q15s", "-q1s".into()),
        ],
    );
    let second = commands.lines().find_map(|line| line.strip_prefix("sendmail -q")).expect("the second");
    let arguments: Vec<&str> = second.split_whitespace().collect();
    let said = place.sendmail.run(&[&[&format!("-q{}", arguments[0])[..]], &arguments[1..]].concat());
    let pid = wait_for("its pid", START, || {
        std::fs::read_to_string(&pid_file).ok()?.lines().next()?.trim().parse::<i32>().ok()
    });
    for number in 0..5 {
        place.send(&["user@example.test"], &mail(&format!("number {number}"), "hello"));
    }
    let received = place.sink.wait_received(5);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
    assert_eq!(received.len(), 5, "{said}");
}

#[test]
fn sub_folders_are_used_as_sendmail_does() {
    if !needs(NEEDED) {
        return;
    }
    let place = Place::with_folders("", &["qf", "df", "xf"]);
    place.send(&["user@example.test"], &mail("clean", "hello"));
    place.send(&["user@example.test"], &eicar_body("virus"));
    assert_eq!(place.deliver().len(), 1);
    assert_eq!(place.gatepost.held(1).len(), 1);
}

/// What somebody has locked is being written, whichever lock it is.
#[test]
fn a_locked_message_is_not_touched() {
    if !needs(NEEDED) {
        return;
    }
    let place = Place::start("");
    let pid = place.gatepost.pid();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGSTOP).expect("stopped");
    place.send(&["user@example.test"], &mail("locked", "hello"));
    let control = place.incoming().into_iter().find(|name| name.starts_with("qf")).expect("a control file");
    let path = place.sendmail.queue().join(control);
    let file = File::options().read(true).write(true).open(&path).expect("it is there");
    file.lock().expect("a lock");
    place.gatepost.signal(Signal::SIGCONT);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(place.incoming().len(), 2, "{:?}", place.incoming());
    assert!(place.outgoing().is_empty());
    drop(file);
    assert_eq!(place.deliver().len(), 1);
    assert_eq!(place.gatepost.records(1).len(), 1, "judged once");
}

#[test]
fn what_is_put_off_or_damaged_stays_and_is_told() {
    if !needs(NEEDED) {
        return;
    }
    let check = "[checks.clamd.main]\nsocket = \"unix:/nonexistent/clamd.sock\"\n[limits]\nmessage_size = \"20 KiB\"\n";
    let mut place = Place::start(check);
    place.send(&["user@example.test"], &mail("waiting", "hello"));
    place.send(&["user@example.test"], &mail("large", &"many words\n".repeat(2000)));
    let folder = place.sendmail.queue();
    std::fs::write(folder.join("dfAB1"), "x\n").expect("write");
    std::fs::write(folder.join("qfAB1"), "V8\nS<a@b>\nRPFD:<c@d>\n.\nH??More: x\n.\n").expect("write");
    wait_for("all are told", START, || {
        let log = place.gatepost.log();
        let told = ["more than limits.message_size = 20480", "451 4.", "put aside as Qf"];
        told.iter().all(|told| log.contains(told)).then_some(())
    });
    std::thread::sleep(Duration::from_secs(3));
    let tries = place.gatepost.log().matches("stays in the incoming queue").count();
    assert!(tries <= 4, "{tries} tries in three seconds");
    let left = place.incoming();
    assert!(left.contains(&"QfAB1".into()) && left.contains(&"dfAB1".into()), "{left:?}");
    std::fs::remove_file(folder.join("QfAB1")).expect("removed");
    std::fs::remove_file(folder.join("dfAB1")).expect("removed");
    // The scanner is no longer asked: they go with the next look, without a restart.
    place.gatepost.change(|setup| setup.tables = setup.tables.replace(check, ""));
    place.gatepost.signal(Signal::SIGHUP);
    assert_eq!(place.deliver().len(), 2);
}

/// The reader takes the last line of this header for body. Trying again would not help.
#[test]
fn a_header_that_is_read_in_another_way_is_held() {
    if !needs(NEEDED) {
        return;
    }
    let place = Place::start("");
    let folder = place.sendmail.queue();
    std::fs::write(folder.join("dfAB1"), "x\n").expect("write");
    std::fs::write(folder.join("qfAB1"), "V8\nT1\nS<a@b>\nRPFD:<c@d>\nH??Subject: x\nH??no field\n.\n")
        .expect("write");
    let held = place.gatepost.held(1);
    assert_eq!(held.len(), 1, "{held:?}");
    wait_for("an empty incoming queue", START, || place.incoming().is_empty().then_some(()));
    assert!(place.outgoing().is_empty());
}

/// Killed when it was decided and not yet published; the next start has another outgoing folder, and then the right one.
#[test]
fn another_outgoing_folder_loses_nothing() {
    if !needs(NEEDED) {
        return;
    }
    let mut place = Place::start("");
    place.send(&["user@example.test"], &mail("first", "hello"));
    assert_eq!(place.deliver().len(), 1);
    place.gatepost.kill();
    place.send(&["user@example.test"], &mail("second", "hello"));
    let (incoming, outgoing) = (place.sendmail.queue(), place.sendmail.outgoing());
    let control = place.incoming().into_iter().find(|name| name.starts_with("qf")).expect("a control file");
    let id = control.trim_start_matches("qf");
    let mark = std::fs::read_link(outgoing.join(".gatepost")).expect("a mark").display().to_string();
    std::fs::copy(incoming.join(&control), outgoing.join(format!("gf{id}"))).expect("copied");
    std::fs::hard_link(incoming.join(format!("df{id}")), outgoing.join(format!("gd{id}"))).expect("linked");
    std::fs::rename(incoming.join(&control), incoming.join(format!("gf{id}.{mark}"))).expect("renamed");
    let aside = outgoing.with_extension("aside");
    std::fs::rename(&outgoing, &aside).expect("renamed");
    std::fs::create_dir(&outgoing).expect("an empty folder");
    place.gatepost.restart();
    wait_for("it is told", START, || {
        place.gatepost.log().contains("decided about for another outgoing folder").then_some(())
    });
    assert_eq!(place.incoming().len(), 2, "{:?}", place.incoming());
    place.gatepost.kill();
    std::fs::remove_dir_all(&outgoing).expect("removed");
    std::fs::rename(&aside, &outgoing).expect("renamed");
    place.gatepost.restart();
    assert_eq!(place.deliver().len(), 2);
}

#[test]
fn a_reload_adds_and_removes_queues() {
    if !needs(NEEDED) {
        return;
    }
    let mut place = Place::start("");
    let tables = between(&place.sendmail.queue(), &place.sendmail.outgoing());
    place.gatepost.change(|setup| setup.tables = setup.tables.replace(&tables, ""));
    place.gatepost.signal(Signal::SIGHUP);
    let reloaded = |times: usize| {
        wait_for("reloaded", START, || {
            (place.gatepost.log().matches("configuration reloaded").count() >= times).then_some(())
        });
    };
    reloaded(1);
    place.send(&["user@example.test"], &mail("waiting", "hello"));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(place.incoming().len(), 2);
    place.gatepost.change(|setup| setup.tables.push_str(&tables));
    place.gatepost.signal(Signal::SIGHUP);
    assert_eq!(place.deliver().len(), 1);
    place.gatepost.signal(Signal::SIGTERM);
    assert!(place.gatepost.wait().success());
}

/// Number in the subject, filling in the body, so that half a message is seen as such.
fn numbered(number: usize) -> String {
    let filling = format!("filling of {number}\n").repeat(200);
    let word = if number % 5 == 4 { GTUBE } else { "clean" };
    mail(&format!("number {number} end"), &format!("{word}\n{filling}last line of {number}"))
}

/// How often each number came, all of them whole.
fn count(texts: impl Iterator<Item = String>) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    for text in texts {
        let number =
            text.split("Subject: number ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        let number: usize = number.unwrap_or_else(|| panic!("no message of ours: {text}"));
        assert_eq!(text.matches(&format!("filling of {number}\r\n")).count(), 200, "{number} is not whole");
        assert!(text.contains(&format!("last line of {number}\r\n")), "{number} is not whole");
        *counts.entry(number).or_default() += 1;
    }
    counts
}

fn held(gatepost: &Gatepost, least: usize) -> BTreeMap<usize, usize> {
    let text = |entry: &serde_json::Value| gatepost.original(entry["id"].as_str().expect("an id"));
    count(gatepost.held(least).iter().map(text))
}

const HOLD_SPAM: &str = "[default_policy]\nactions.spam = \"quarantine\"\n";

#[test]
fn two_hundred_mails_pass() {
    if !needs(NEEDED) {
        return;
    }
    let place = Place::start(HOLD_SPAM);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for sender in 0..4 {
            let place = &place;
            scope.spawn(move || {
                let mut dialog = Dialog::connect(place.sendmail.smtp);
                dialog.greet();
                for number in (sender..200).step_by(4) {
                    let reply =
                        dialog.message("sender@client.test", &["user@example.test"], &numbered(number));
                    assert_eq!(reply.code, 250, "{}", reply.text);
                }
            });
        }
    });
    wait_for("an empty incoming queue", START, || place.incoming().is_empty().then_some(()));
    println!("200 mails taken and judged in {:?}", began.elapsed());
    let arrived = count(place.deliver().iter().map(Received::text));
    let expected = |held: bool| (0..200).filter(move |n| (n % 5 == 4) == held).map(|n| (n, 1)).collect();
    assert_eq!(arrived, expected(false));
    assert_eq!(held(&place.gatepost, 40), expected(true));
}

/// Each is delivered exactly once, or held at least once: killed between the vault and the queue, it is held again.
#[test]
fn kills_neither_lose_nor_double() {
    if !needs(NEEDED) {
        return;
    }
    const MAILS: usize = 100;
    let mut place = Place::start(HOLD_SPAM);
    let smtp = place.sendmail.smtp;
    let sender = std::thread::spawn(move || {
        let mut dialog = Dialog::connect(smtp);
        dialog.greet();
        for number in 0..MAILS {
            let reply = dialog.message("sender@client.test", &["user@example.test"], &numbered(number));
            assert_eq!(reply.code, 250, "{}", reply.text);
            std::thread::sleep(Duration::from_millis(60));
        }
    });
    let mut kills = 0;
    while !sender.is_finished() || (kills < 40 && !place.incoming().is_empty()) {
        place.gatepost.restart();
        std::thread::sleep(spread(kills, 256));
        place.gatepost.kill();
        kills += 1;
        // What is out may be delivered at any time.
        if kills % 3 == 0 {
            place.sendmail.run_queue(&place.sendmail.outgoing());
        }
    }
    sender.join().expect("the sender");
    place.gatepost.restart();
    let arrived = count(place.deliver().iter().map(Received::text));
    let expected: BTreeMap<usize, usize> = (0..MAILS).filter(|n| n % 5 != 4).map(|n| (n, 1)).collect();
    let held = held(&place.gatepost, MAILS / 5);
    let twice = held.values().filter(|&&times| times > 1).count();
    println!("{kills} kills, {} arrived, {} held, {twice} of them more than once", arrived.len(), held.len());
    assert!(kills >= 10, "only {kills} kills");
    assert_eq!(arrived, expected);
    assert_eq!(held.into_keys().collect::<Vec<_>>(), (0..MAILS).filter(|n| n % 5 == 4).collect::<Vec<_>>());
}

/// A small file system of its own, taken away again at the end.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(folder: &Path, options: &str) -> Option<Tmpfs> {
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(folder)
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Tmpfs(folder.to_owned()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The outgoing queue on another file system, which is full: mail stays where it is, and goes when there is room.
#[test]
fn a_full_outgoing_disk_loses_nothing() {
    if !needs(&["root", "mount", "sendmail", "m4", "cc"]) {
        return;
    }
    let place = Place::start("");
    let outgoing = place.sendmail.outgoing();
    let Some(_disk) = Tmpfs::mount(&outgoing, "size=1m,mode=700") else {
        println!("skipped: no tmpfs can be mounted here");
        return;
    };
    let filling = outgoing.join("filling");
    std::fs::write(&filling, vec![b'x'; 1020 << 10]).expect("filled");
    let body = "a long line of text that is of no interest\n".repeat(1000);
    place.send(&["user@example.test"], &mail("large", &body));
    wait_for("it is told", START, || place.gatepost.log().contains("No space left").then_some(()));
    assert!(place.incoming().iter().any(|name| name.starts_with("qf")), "{:?}", place.incoming());
    assert_eq!(place.outgoing(), ["filling"]);
    std::fs::remove_file(&filling).expect("room again");
    let received = place.deliver();
    assert_eq!(received.len(), 1);
    assert!(received[0].text().contains(&body.replace('\n', "\r\n")));
    assert_eq!(place.gatepost.records(2).len(), 2, "put off, then delivered");
}
