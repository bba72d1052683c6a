//! Workers that die in every way there is take one message with them and nothing else, and reach nothing while they live.

use std::io::Write;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::rig::*;

/// Lets mails tell their worker what to do; builds for release do not know it.
const TEST: (&str, &str) = ("GATEPOST_WORKER_TEST", "1");

/// Attachments by content alone.
const NO_RULES: &str = "[checks.attachments]\nenabled = false\n";

fn setup(sink: &Sink) -> Setup {
    let setup = Setup::to(sink.address).with(NO_RULES).with("[limits]\nerrors = 1000\n");
    Setup { environment: vec![TEST], ..setup }
}

fn gzipped(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).expect("in memory");
    encoder.finish().expect("in memory")
}

/// A mail with a gzip file; what its worker is to do, if anything.
fn packed(subject: &str, told: &str, content: &str) -> String {
    let mail = with_attachment(subject, "file.gz", &gzipped(content.as_bytes()));
    if told.is_empty() { mail } else { format!("X-Worker-Test: {told}\n{mail}") }
}

fn send(gatepost: &Gatepost, content: &str) -> String {
    let mut dialog = gatepost.connect();
    dialog.patience(2 * START);
    dialog.greet();
    dialog.message("a@client.test", &["user@example.test"], content).text
}

/// The process ids of its workers.
fn workers(gatepost: &Gatepost) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", gatepost.pid())).expect("it runs");
    let children =
        tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let mut ids: Vec<i32> = children
        .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter(|id| {
            let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            line.starts_with(b"gatepost-worker\0")
        })
        .filter_map(|id| id.parse().ok())
        .collect();
    ids.sort();
    ids
}

/// Its workers, once there are that many that have begun.
fn ready(gatepost: &Gatepost, count: usize) -> Vec<i32> {
    wait_for("its workers", START, || {
        let ids = workers(gatepost);
        let begun = ids.iter().all(|id| status(*id, "Seccomp_filters").is_none_or(|filters| filters != "0"));
        (ids.len() == count && begun && gatepost.metric("gatepost_workers", &[]) == count as f64)
            .then_some(ids)
    })
}

/// A figure of /proc/PID/status.
fn status(id: i32, field: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(':')?.trim().to_owned()))
}

fn runs(id: i32) -> bool {
    status(id, "State").is_some_and(|state| !state.starts_with('Z'))
}

/// Whether it uses the processor.
fn works(id: i32) -> bool {
    status(id, "State").is_some_and(|state| state.starts_with('R'))
}

/// The only fault of a record.
fn fault(record: &Value) -> (&str, &str, &str) {
    let faults = record["faults"].as_array().expect("faults");
    assert_eq!(faults.len(), 1, "{record:#}");
    let text = |key: &str| faults[0][key].as_str().expect(key);
    (text("check"), text("cause"), text("detail"))
}

#[test]
fn each_way_to_die_takes_one_message() {
    let sink = Sink::start();
    let gatepost = setup(&sink).with("[reading]\ntime = 1\n[worker]\ncount = 1\n").start();
    let table = [
        ("crash", "bug", "SIGABRT"),
        ("panic", "bug", "told to panic"),
        ("hang", "timeout", "was killed"),
        ("bloat", "limit", "memory allocation of"),
        ("execute", "bug", "SIGSYS"),
        ("babble", "bug", "makes no sense"),
    ];
    for (round, (told, cause, detail)) in table.into_iter().enumerate() {
        let reply = send(&gatepost, &packed(told, told, "hello"));
        assert!(reply.starts_with("451 4."), "{told}: {reply}");
        // The next one gets a worker that works, whoever comes: what is packed is found, what is clean arrives.
        let reply = send(&gatepost, &packed("infected", "", &eicar()));
        assert!(reply.starts_with("550 5.7.1"), "after {told}: {reply}");
        let reply = send(&gatepost, &packed("clean", "", "hello"));
        assert!(reply.starts_with("250 "), "after {told}: {reply}");
        assert_eq!(sink.received().len(), round + 1);
        let record = &gatepost.records(3 * (round + 1))[3 * round];
        let (check, found, told_detail) = fault(record);
        assert_eq!((check, found), ("unpacking", cause), "{told}: {told_detail}");
        assert!(told_detail.contains(detail), "{told}: {told_detail}");
        // What stands in the mail itself is known all the same.
        assert_eq!(record["subject"], told);
        let deaths = gatepost.metric("gatepost_worker_deaths_total", &[]);
        assert_eq!(deaths, round as f64 + 1.0, "{told}");
    }
    assert_eq!(gatepost.metric("gatepost_worker_messages_total", &[]), 2.0 * table.len() as f64);
    assert_eq!(ready(&gatepost, 1).len(), 1);
}

#[test]
fn a_fault_is_answered_as_configured() {
    for (answer, code, delivered, held) in
        [("accept", "250", 1, 0), ("quarantine", "250", 0, 1), ("defer", "451", 0, 0)]
    {
        let sink = Sink::start();
        let gatepost = setup(&sink).with(&format!("[reading]\non_fault = \"{answer}\"\n")).start();
        let reply = send(&gatepost, &packed("one", "crash", "hello"));
        assert!(reply.starts_with(code), "{answer}: {reply}");
        assert_eq!(sink.received().len(), delivered, "{answer}");
        assert_eq!(gatepost.held(held).len(), held, "{answer}");
        // What is found elsewhere in the message counts all the same.
        let infected = packed("two", "crash", "hello").replace("See there.", &eicar());
        assert!(send(&gatepost, &infected).starts_with("550 "), "{answer}");
    }
}

/// While one worker hangs, all other mail goes its way: that without archives and that with some.
#[test]
fn others_do_not_wait_for_one_that_hangs() {
    let sink = Sink::start();
    let gatepost = setup(&sink).with("[reading]\ntime = 100\n[worker]\ncount = 2\n").start();
    ready(&gatepost, 2);
    std::thread::scope(|scope| {
        let hanging = scope.spawn(|| send(&gatepost, &packed("hanging", "hang", "hello")));
        let busy =
            wait_for("a worker that hangs", START, || workers(&gatepost).into_iter().find(|id| works(*id)));
        for round in 0..5 {
            assert!(send(&gatepost, &mail("plain", "hello")).starts_with("250 "), "{round}");
            assert!(send(&gatepost, &packed("packed", "", "hello")).starts_with("250 "), "{round}");
            assert!(send(&gatepost, &packed("infected", "", &eicar())).starts_with("550 "), "{round}");
        }
        assert!(!hanging.is_finished() && runs(busy));
        kill(Pid::from_raw(busy), Signal::SIGKILL).expect("it hangs still");
        let reply = hanging.join().expect("a reply");
        assert!(reply.starts_with("451 4."), "{reply}");
    });
    assert_eq!(sink.received().len(), 10);
}

/// One that dies while it has nothing to do costs no message anything.
#[test]
fn a_worker_killed_while_idle_is_not_missed() {
    let sink = Sink::start();
    let gatepost = setup(&sink).with("[worker]\ncount = 2\n").start();
    for round in 0..3 {
        for id in ready(&gatepost, 2) {
            kill(Pid::from_raw(id), Signal::SIGKILL).expect("a worker");
            wait_for("its end", START, || (!runs(id)).then_some(()));
        }
        assert!(send(&gatepost, &packed("packed", "", "hello")).starts_with("250 "), "{round}");
    }
    assert!(gatepost.records(3).iter().all(|record| record["faults"] == serde_json::json!([])));
}

/// Whoever stops the daemon, systemd or Ctrl-C, may signal all its processes; it still needs them for what it has taken.
#[test]
fn only_the_daemon_is_told_to_stop() {
    let sink = Sink::start();
    let gatepost = setup(&sink).with("[worker]\ncount = 2\n").start();
    let before = ready(&gatepost, 2);
    for id in &before {
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
            kill(Pid::from_raw(*id), signal).expect("a worker");
        }
    }
    assert!(send(&gatepost, &packed("packed", "", "hello")).starts_with("250 "));
    assert!(before.iter().all(|id| runs(*id)));
}

/// However the daemon ends, no worker stays: neither one that waits nor one that hangs.
#[test]
fn workers_end_with_the_daemon() {
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let sink = Sink::start();
        let mut gatepost = setup(&sink).with("[reading]\ntime = 300\n[worker]\ncount = 2\n").start();
        let ids = ready(&gatepost, 2);
        let mut dialog = gatepost.connect();
        dialog.greet();
        if signal == Signal::SIGKILL {
            dialog.say("MAIL FROM:<a@client.test>", "250");
            dialog.say("RCPT TO:<user@example.test>", "250");
            dialog.say("DATA", "354");
            dialog.content(&packed("hanging", "hang", "hello"));
            wait_for("a worker that hangs", START, || ids.iter().find(|id| works(**id)));
        } else {
            dialog.say("QUIT", "221");
        }
        gatepost.signal(signal);
        gatepost.wait();
        for id in ids {
            wait_for("its end", START, || (!runs(id)).then_some(()));
        }
    }
}

/// Ordinary mail never gets there, and neither does mail in mail.
#[test]
fn plain_mail_needs_no_worker() {
    let sink = Sink::start();
    let gatepost = setup(&sink).start();
    let image = b"\x89PNG\r\n\x1a\n and so on".repeat(100);
    for content in [
        mail("plain", "hello"),
        mail("page", "<html><body><p>hello").replace("\n\n", "\nContent-Type: text/html\n\n"),
        with_attachment("picture", "a.png", &image),
        with_attachment("forwarded", "a.eml", mail("inner", "hello").as_bytes()),
    ] {
        assert!(send(&gatepost, &content).starts_with("250 "));
    }
    assert_eq!(gatepost.metric("gatepost_worker_messages_total", &[]), 0.0);
    assert!(send(&gatepost, &packed("packed", "", "hello")).starts_with("250 "));
    assert_eq!(gatepost.metric("gatepost_worker_messages_total", &[]), 1.0);
}

#[test]
fn workers_are_recycled_and_can_be_done_without() {
    let sink = Sink::start();
    let mut gatepost = setup(&sink).with("[worker]\ncount = 1\nrecycle = 1\n").start();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let ids = ready(&gatepost, 1);
        assert!(!seen.contains(&ids[0]), "{seen:?} {ids:?}");
        seen.extend(ids);
        assert!(send(&gatepost, &packed("infected", "", &eicar())).starts_with("550 "));
    }
    assert_eq!(gatepost.metric("gatepost_worker_deaths_total", &[]), 0.0);
    gatepost.change(|setup| setup.tables = setup.tables.replace("recycle = 1", "enabled = false"));
    gatepost.signal(Signal::SIGHUP);
    wait_for("its workers' end", START, || workers(&gatepost).is_empty().then_some(()));
    assert!(send(&gatepost, &packed("infected", "", &eicar())).starts_with("550 "));
    assert_eq!(gatepost.metric("gatepost_worker_messages_total", &[]), 3.0);
}

/// What a worker is: without rights, without files but its own, under filters that cannot be taken off. What it cannot do is
/// tried by `gatepost check`.
#[test]
fn a_worker_can_reach_nothing() {
    let sink = Sink::start();
    let gatepost = setup(&sink).with("[worker]\ncount = 1\n").start();
    let report = gatepost.command(&["check"], &[]);
    let report = String::from_utf8_lossy(&report.stdout).into_owned();
    let line = report.lines().find(|line| line.contains("workers")).expect("a line");
    if line.starts_with("warn") {
        return println!("skipped: {line}");
    }
    assert_eq!(line, "ok    workers: cannot open files, use the network or start programs");
    let id = ready(&gatepost, 1)[0];
    for (field, expected) in [
        ("Seccomp", "2"),
        ("Seccomp_filters", "2"),
        ("NoNewPrivs", "1"),
        ("CapPrm", "0000000000000000"),
        ("CapEff", "0000000000000000"),
        ("Threads", "1"),
    ] {
        assert_eq!(status(id, field).as_deref(), Some(expected), "{field}");
    }
    let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).expect("its limits");
    for (name, most) in [("Max core file size", 0_u64), ("Max open files", 6), ("Max processes", 0)] {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        assert_eq!(line.split_whitespace().nth(1).and_then(|hard| hard.parse().ok()), Some(most), "{line}");
    }
    let data = limits.lines().find_map(|line| line.strip_prefix("Max data size")).expect("data");
    assert!(!data.contains("unlimited"), "{data}");
    if nix::unistd::geteuid().is_root() {
        let open = std::fs::read_dir(format!("/proc/{id}/fd")).expect("its descriptors").flatten();
        let open: Vec<_> = open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect();
        let names: Vec<_> = open.iter().map(|path| path.to_string_lossy()).collect();
        let expected = |name: &str| {
            ["socket:", "pipe:"].iter().any(|kind| name.starts_with(kind))
                || ["/dev/null", &format!("/proc/{id}/statm")].contains(&name)
        };
        assert!(names.len() == 4 && names.iter().all(|name| expected(name)), "{names:?}");
    }
}

/// The verdict is the same wherever a message is unpacked.
#[test]
fn one_verdict_with_and_without() {
    let folder = folder();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content.replace('\n', "\r\n")).expect("write");
    };
    file("a.eml", &packed("a", "", &eicar()));
    file("b.eml", &with_attachment("b", "b.gz", &gzipped(&gzipped(&gzipped(b"hello")))));
    file("c.eml", &with_attachment("c", "c.gz", &gzipped(&vec![0; 8 << 20])));
    file("d.eml", &with_attachment("d", "d.gz", &gzipped(b"hello")[..12]));
    file("e.eml", &packed("e", "", &packed("in e", "", &eicar())));
    file("f.eml", &mail("f", "hello"));
    let scanned = |enabled: bool| {
        let config = folder.path().join("gatepost.toml");
        let offline =
            "checks.spf.enabled = false\nchecks.dkim.enabled = false\nchecks.dmarc.enabled = false\n";
        let text =
            format!("hostname = \"gatepost.test\"\n{offline}{NO_RULES}[worker]\nenabled = {enabled}\n");
        std::fs::write(&config, text).expect("write");
        let (config, files) =
            (config.to_string_lossy().into_owned(), folder.path().to_string_lossy().into_owned());
        let output = run(&["scan", "--json", "-c", &config, &files], b"");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let records: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let told = |record: Value| {
            let Value::Object(mut record) = record else { panic!("{record}") };
            ["id", "time", "times_us", "reply"].iter().for_each(|key| drop(record.remove(*key)));
            record
        };
        records.into_iter().map(told).filter(|record| record.contains_key("category")).collect::<Vec<_>>()
    };
    let (with, without) = (scanned(true), scanned(false));
    assert!(with.len() >= 6, "{}", with.len());
    for (with, without) in with.into_iter().zip(without) {
        // The configuration lies in the same folder and is judged too, but differs.
        if with["file"].as_str().is_some_and(|file| file.ends_with(".eml")) {
            assert_eq!(Value::from(with), Value::from(without));
        }
    }
}
