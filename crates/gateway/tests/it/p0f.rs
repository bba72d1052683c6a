//! A real p0f on the loopback interface, asked by its socket and by amavis's p0f-analyzer.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::rig::*;

/// What loopback connections of this Linux look like, under the name of another system.
const AS_WINDOWS: &str = "classes = win,unix,other\n[mtu]\nlabel = Ethernet or modem\nsig = 65535\n\
    [tcp:request]\nlabel = s:win:Windows:XP\nsig = *:64:0:*:*,*:mss,sok,ts,nop,ws:df,id+:0\n";

/// p0f, and whoever reads what it writes.
struct P0f {
    processes: Vec<Child>,
    folder: tempfile::TempDir,
}

impl P0f {
    /// The words of the documentation's command, with the loopback interface and the port that is looked at; for the
    /// user `nobody`, who cannot be reached by others' files, the folder is open.
    fn command(line: &str, port: u16, folder: &tempfile::TempDir, signatures: Option<&str>) -> Command {
        let mut words = line.split('\'').next().expect("a command").split_whitespace();
        let mut command = Command::new(program(words.next().expect("p0f")));
        for word in words {
            match word {
                "eth0" => command.arg("lo"),
                "/run/p0f.sock" => command.arg(folder.path().join("p0f.sock")),
                word => command.arg(word),
            };
        }
        if let Some(signatures) = signatures {
            let file = folder.path().join("signatures");
            std::fs::write(&file, signatures).expect("write");
            command.arg("-f").arg(file);
        }
        command.arg(format!("tcp dst port {port}")).stdin(Stdio::null());
        command
    }

    fn with_socket(port: u16, signatures: Option<&str>) -> P0f {
        let folder = folder();
        let line = docs::block("p0f.md", "p0f");
        let child =
            P0f::command(&line, port, &folder, signatures).stdout(Stdio::null()).spawn().expect("p0f");
        let mut p0f = P0f { processes: vec![child], folder };
        wait_for("p0f answers", START, || {
            assert!(p0f.processes[0].try_wait().is_ok_and(|ended| ended.is_none()), "p0f has ended");
            std::os::unix::net::UnixStream::connect(p0f.folder.path().join("p0f.sock")).ok()
        });
        p0f
    }

    fn with_analyzer(port: u16, analyzer: SocketAddr) -> P0f {
        let folder = folder();
        let block = docs::block("p0f.md", "p0f-analyzer");
        let (line, rest) = block.split_once(" 2>&1 | ").expect("a pipe");
        assert_eq!(rest.trim(), "p0f-analyzer 2345");
        let mut first = P0f::command(line, port, &folder, None);
        let mut first = first.stdout(Stdio::piped()).spawn().expect("p0f");
        let output = first.stdout.take().expect("its output");
        let log = std::fs::File::create(folder.path().join("analyzer.log")).expect("a log");
        let second = Command::new(program("p0f-analyzer"))
            .arg(analyzer.to_string())
            .stdin(output)
            .stderr(log)
            .spawn()
            .expect("p0f-analyzer");
        let p0f = P0f { processes: vec![first, second], folder };
        wait_for("p0f-analyzer listens", START, || {
            let log = std::fs::read_to_string(p0f.folder.path().join("analyzer.log")).unwrap_or_default();
            log.contains("starting").then_some(())
        });
        p0f
    }

    fn socket(&self) -> String {
        format!("unix:{}", self.folder.path().join("p0f.sock").display())
    }
}

impl Drop for P0f {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// gatepost at an address, for which loopback is not its own network.
fn gatepost(smtp: SocketAddr, source: &str, next_hop: SocketAddr) -> Gatepost {
    let config = format!(
        "data = \"/var/lib/gatepost\"\nhostname = \"gatepost.test\"\nnetworks = [\"192.0.2.0/24\"]\n\
         [[listener]]\nlisten = [\"{smtp}\"]\nnext_hop = [\"smtp://{next_hop}\"]\n\
         [checks.p0f]\nsource = \"{source}\"\n"
    );
    Setup::documented(config, smtp).start()
}

/// Sends a message; the symbol and the text that p0f's answer became.
fn fingerprint(gatepost: &Gatepost, records: usize) -> (String, String) {
    let mut dialog = Dialog::connect_from([127, 0, 0, 7].into(), gatepost.smtp);
    dialog.greet();
    assert_eq!(dialog.message("a@client.test", &["user@example.test"], &mail("one", "hello")).code, 250);
    let all = gatepost.records(records);
    let findings = all[records - 1]["findings"].as_array().expect("findings").clone();
    let finding = findings.iter().find(|finding| finding["symbol"].as_str().unwrap_or("").starts_with("P0F"));
    let finding = finding.unwrap_or_else(|| panic!("p0f found nothing: {all:#?}"));
    let text = |key: &str| finding[key].as_str().expect("a text").to_owned();
    (text("symbol"), text("evidence"))
}

#[test]
fn a_real_p0f_by_its_socket() {
    if !needs(&["p0f", "root"]) {
        return;
    }
    let (sink, smtp) = (Sink::start(), free_address());
    let p0f = P0f::with_socket(smtp.port(), None);
    let gatepost = gatepost(smtp, &p0f.socket(), sink.address);
    let (symbol, text) = fingerprint(&gatepost, 1);
    assert_eq!(symbol, "P0F_LINUX");
    assert!(text.starts_with("Linux ") && text.contains("; dist: 0; "), "{text}");
    let message = String::from_utf8_lossy(&sink.received()[0].content).into_owned();
    assert!(message.contains(&format!("X-Amavis-OS-Fingerprint: {text}\r\n")), "{message}");
    // What is known counts for ten minutes, and when p0f is away nothing is lost but the next client's system.
    drop(p0f);
    assert_eq!(fingerprint(&gatepost, 2), (symbol, text));
    let mut dialog = Dialog::connect_from([127, 0, 0, 8].into(), gatepost.smtp);
    dialog.greet();
    assert_eq!(dialog.message("a@client.test", &["user@example.test"], &mail("two", "hello")).code, 250);
    let record = gatepost.records(3).remove(2);
    assert_eq!(
        (&record["faults"][0]["check"], &record["faults"][0]["answer"]),
        (&"p0f".into(), &"accept".into())
    );
}

#[test]
fn what_p0f_takes_for_windows_xp_has_its_points() {
    if !needs(&["p0f", "root"]) {
        return;
    }
    let (sink, smtp) = (Sink::start(), free_address());
    let p0f = P0f::with_socket(smtp.port(), Some(AS_WINDOWS));
    let gatepost = gatepost(smtp, &p0f.socket(), sink.address);
    let (symbol, text) = fingerprint(&gatepost, 1);
    assert_eq!(symbol, "P0F_WINDOWS_XP", "{text}");
    assert!(text.starts_with("Windows XP; dist: 0; link: Ethernet or modem; params: "), "{text}");
    assert_eq!(gatepost.records(1)[0]["score"], 3.5);
}

#[test]
fn amavis_s_analyzer_says_what_p0f_says() {
    if !needs(&["p0f", "p0f-analyzer", "root"]) {
        return;
    }
    let (sink, smtp, analyzer) = (Sink::start(), free_address(), free_address());
    let _p0f = P0f::with_analyzer(smtp.port(), analyzer);
    let gatepost = gatepost(smtp, &format!("udp:{analyzer}"), sink.address);
    // p0f writes into the pipe when it likes: whoever is not known yet has nothing found, and is asked for again.
    let found = wait_for("the analyzer knows", Duration::from_secs(30), || {
        let mut dialog = Dialog::connect_from([127, 0, 0, 7].into(), gatepost.smtp);
        dialog.greet();
        assert_eq!(dialog.message("a@client.test", &["user@example.test"], &mail("one", "hello")).code, 250);
        let record = gatepost.records(sink.received().len()).pop()?;
        assert_eq!(record["faults"].as_array().map(Vec::len), Some(0), "{record:#}");
        record["findings"].as_array()?.iter().find(|f| f["symbol"] == "P0F_LINUX").cloned()
    });
    let text = found["evidence"].as_str().expect("a text");
    assert!(
        text.starts_with("Linux ") && text.contains("; dist: 0; ") && text.contains("; raw_sig: 4:"),
        "{text}"
    );
}
