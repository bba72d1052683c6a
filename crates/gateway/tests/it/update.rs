//! Rules and hash lists from a real web server, signed by a real gpg: what is new is installed and counts, and whatever is
//! wrong leaves what is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::rig::*;

/// A configuration with one source, or several, in a folder of its own; no daemon runs.
struct Client {
    folder: tempfile::TempDir,
    data: PathBuf,
}

impl Client {
    fn new(tables: &str) -> Client {
        let folder = folder();
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("a folder");
        let client = Client { folder, data };
        client.configure(tables);
        client
    }

    fn configure(&self, tables: &str) {
        let text = format!("data = {:?}\n[update]\ntime = \"2s\"\n{tables}\n", self.data);
        fs::write(self.config(), text).expect("write");
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("gatepost.toml")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
        command.arg("update").arg("-c").arg(self.config()).args(arguments);
        command
    }

    /// Exit status and what it says.
    fn update(&self, arguments: &[&str]) -> (i32, String) {
        said(&self.command(arguments).output().expect("gatepost runs"))
    }

    fn installed(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.data.join("updates").join(name)).ok()
    }
}

fn said(output: &Output) -> (i32, String) {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

fn rule(word: &str) -> String {
    format!("rule Bad {{ meta: name = \"Test.{word}\" strings: $a = \"{word}\" condition: $a }}\n")
}

/// A file of the site, with its checksum beside it as sha256sum writes it.
fn publish(site: &Site, name: &str, content: &str) -> PathBuf {
    let path = site.root().join(name);
    fs::write(&path, content).expect("write");
    let output = Command::new("sha256sum").arg(name).current_dir(site.root()).output().expect("sha256sum");
    fs::write(site.root().join(format!("{name}.sha256")), output.stdout).expect("write");
    path
}

#[test]
fn what_is_new_counts_within_seconds() {
    if !needs(&["python3", "openssl", "gpg", "sha256sum"]) {
        return;
    }
    let (site, gpg, sink) = (Site::start(true), Gpg::with(&["maker"]), Sink::start());
    let file = publish(&site, "all.yar", &rule("needle"));
    gpg.sign("maker", &file, &[]);
    let example = docs::block_with(
        "updates.md",
        "source",
        &[
            ("https://rules.example.org/all.yar", site.url("all.yar")),
            ("/etc/gatepost/keys/rules.example.org.asc", gpg.key("maker").display().to_string()),
        ],
    );
    let authorities = format!("[update]\nevery = 0\nauthorities = {:?}\n", site.certificate.as_ref().expect("TLS"));
    let gatepost = Setup::to(sink.address).with(&authorities).with(&example).start();
    let send = |body: &str| {
        let mut dialog = gatepost.connect();
        dialog.greet();
        dialog.message("a@client.test", &["user@example.test"], &mail("x", body))
    };
    assert_eq!((send("a needle").code, send("a haystack").code), (250, 250));
    let (code, text) = said(&gatepost.command(&["update"], &["--dry-run"]));
    assert!(code == 0 && text.contains("example: new, not installed: 1 YARA rules, signed by "), "{text}");
    let (code, text) = said(&gatepost.command(&["update"], &[]));
    assert!(code == 0 && text.contains("example: new: 1 YARA rules, signed by "), "{text}");
    wait_for("the rules count", START, || (send("a needle").code == 550).then_some(()));
    assert!(send("a needle").text.contains("Test.needle"));

    // The same again: neither fetched nor verified.
    let (code, text) = said(&gatepost.command(&["update"], &[]));
    assert!(code == 1 && text == "example: nothing new\n", "{code} {text}");
    gpg.sign("maker", &publish(&site, "all.yar", &rule("haystack")), &[]);
    let (code, text) = said(&gatepost.command(&["update"], &["example"]));
    assert!(code == 0, "{code} {text}");
    wait_for("the new rules count", START, || (send("a haystack").code == 550).then_some(()));
    assert_eq!(send("a needle").code, 250);
    let (code, text) = said(&gatepost.command(&["update"], &["other"]));
    assert!(code == 2 && text.contains("“other” is none of example"), "{code} {text}");
}

#[test]
fn a_server_says_what_has_not_changed() {
    if !needs(&["python3"]) {
        return;
    }
    let site = Site::start(false);
    publish(&site, "list.hdb", "900150983cd24fb0d6963f7d28e17f72:3:Abc\n");
    let pinned = fs::read_to_string(site.root().join("list.hdb.sha256")).expect("a checksum");
    let source = |keys: &str| {
        format!("[update.source.list]\nurl = \"{}\"\nkind = \"hashes\"\n{keys}\n", site.url("list.hdb"))
    };
    // Over HTTP a file must be known or signed.
    let client = Client::new(&source(""));
    let (code, text) = client.update(&[]);
    assert!(code == 2 && text.contains("anybody on the way could change it"), "{code} {text}");
    client.configure(&source(&format!("sha256 = \"{}\"", &pinned[..64])));
    assert_eq!(client.update(&[]), (0, "list: new: 1 hashes\n".into()));
    assert_eq!(client.update(&[]), (1, "list: nothing new\n".into()));
    assert_eq!(site.log().matches("GET /list.hdb ").count(), 1, "{}", site.log());
    assert_eq!(client.update(&["--force"]), (1, "list: nothing new\n".into()));

    let tls = Site::start(true);
    publish(&tls, "list.hdb", "900150983cd24fb0d6963f7d28e17f72:3:Abc\n");
    let authorities = format!("authorities = {:?}\n", tls.certificate.as_ref().expect("TLS"));
    let source = format!("[update.source.list]\nurl = \"{}\"\nkind = \"hashes\"\n", tls.url("list.hdb"));
    client.configure(&source);
    let (code, text) = client.update(&[]);
    assert!(code == 4 && text.contains("UnknownIssuer"), "{code} {text}");
    client.configure(&(authorities + &source));
    // Verified anew under other terms, and still the same.
    assert_eq!(client.update(&[]), (1, "list: nothing new\n".into()));
    assert_eq!(client.update(&[]), (1, "list: nothing new\n".into()));
    assert!(tls.log().contains("\"GET /list.hdb HTTP/1.1\" 304"), "{}", tls.log());
}

/// Each breaks one thing after the first version was installed.
#[test]
fn whatever_is_wrong_leaves_the_old() {
    if !needs(&["python3", "gpg", "sha256sum"]) {
        return;
    }
    let (site, gpg) = (Site::start(false), Gpg::with(&["maker", "stranger"]));
    let key = gpg.key("maker");
    let source = |path: &str, keys: &str| {
        let url = site.url(path);
        format!("[update.source.x]\nurl = \"{url}\"\nopenpgp_key = {key:?}\nsignature = \"{}\"\n{keys}\n", site.url("x.yar.asc"))
    };
    let usual = source("x.yar", "sha256 = \"beside\"");
    let client = Client::new(&usual);
    let first = rule("first");
    gpg.sign("maker", &publish(&site, "x.yar", &first), &[]);
    let (code, text) = client.update(&[]);
    assert!(code == 0 && text.starts_with("x: new: 1 YARA rules, signed by "), "{code} {text}");

    let sign = |user: &str, content: &str, options: &[&str]| {
        gpg.sign(user, &publish(&site, "x.yar", content), options);
    };
    let cases: &[(&str, &dyn Fn() -> String, &str)] = &[
        ("tampered", &|| { sign("maker", &rule("second"), &[]); publish(&site, "x.yar", &rule("evil")); usual.clone() }, "is not of this content"),
        ("by somebody else", &|| { sign("stranger", &rule("second"), &[]); usual.clone() }, "which is none of the keys"),
        ("not signed", &|| { publish(&site, "x.yar", &rule("second")); fs::remove_file(site.root().join("x.yar.asc")).expect("remove"); usual.clone() }, "404"),
        ("no signature", &|| { publish(&site, "x.yar", &rule("second")); fs::write(site.root().join("x.yar.asc"), "hello").expect("write"); usual.clone() }, "no OpenPGP signature"),
        ("another checksum", &|| { sign("maker", &rule("second"), &[]); publish(&site, "y.yar", "else"); fs::rename(site.root().join("y.yar.sha256"), site.root().join("x.yar.sha256")).expect("rename"); usual.clone() }, "its SHA-256 is"),
        ("older", &|| { sign("maker", &rule("second"), &["--faked-system-time", "20400101T000000!"]); usual.clone() }, "in the future"),
        ("no rules", &|| { sign("maker", "<html>Maintenance</html>", &[]); usual.clone() }, "no YARA rules that can be used"),
        ("all mail", &|| { sign("maker", "rule All { condition: true }", &[]); usual.clone() }, "YARA.All matches an ordinary letter"),
        ("too large", &|| { sign("maker", &rule("second").repeat(100), &[]); usual.replace("[update.source.x]", "max_size = \"1 KiB\"\n[update.source.x]") }, "larger than 1024 bytes"),
        ("cut", &|| { sign("maker", &rule("second"), &[]); source("cut/x.yar", "") }, "end of file"),
        ("hanging", &|| source("hang/x.yar", ""), "not fetched within 2 s"),
        ("stalling", &|| source("stall/x.yar", ""), "not fetched within 2 s"),
        ("gone", &|| source("absent.yar", ""), "404 "),
        ("no key", &|| usual.replace(".asc\"\nsignature", ".absent\"\nsignature"), "No such file"),
    ];
    for (what, breaking, expected) in cases {
        client.configure(&breaking());
        let (code, text) = client.update(&[]);
        assert!(code == 4 && text.starts_with("x: failed, what is installed stays: "), "{what}: {code} {text}");
        assert!(text.contains(expected), "{what}: {text}");
        assert_eq!(client.installed("x.yar").as_ref(), Some(&first), "{what}");
    }

    // What was signed before is not taken in the place of what was signed later, unless that is asked for.
    client.configure(&source("x.yar", ""));
    sign("maker", &rule("ancient"), &["--ignore-time-conflict", "--faked-system-time", "20200101T000000!"]);
    let (code, text) = client.update(&[]);
    assert!(code == 4 && text.contains("before that key was made"), "{code} {text}");

    // One fails, the other is new.
    sign("maker", &rule("second"), &[]);
    let absent = format!("[update.source.y]\nurl = \"file:///nonexistent/y.yar\"\n");
    client.configure(&(usual.clone() + &absent));
    let (code, text) = client.update(&[]);
    assert!(code == 3 && text.contains("x: new: ") && text.contains("y: failed"), "{code} {text}");
    assert_eq!(client.installed("x.yar"), Some(rule("second")));
    assert_eq!(client.update(&["x"]).0, 1);
    assert_eq!(client.update(&["y"]).0, 4);
}

#[test]
fn a_signature_is_not_rolled_back() {
    if !needs(&["gpg"]) {
        return;
    }
    let (gpg, files) = (Gpg::with(&["maker"]), folder());
    let file = files.path().join("x.yar");
    let write = |word: &str| {
        fs::write(&file, rule(word)).expect("write");
        gpg.sign("maker", &file, &[]);
        fs::read(file.with_extension("yar.asc")).expect("a signature")
    };
    let old = write("old");
    std::thread::sleep(Duration::from_millis(1100));
    write("new");
    let key = gpg.key("maker");
    let client = Client::new(&format!("[update.source.x]\nurl = \"file://{}\"\nopenpgp_key = {key:?}\n", file.display()));
    assert_eq!(client.update(&[]).0, 0);
    fs::write(&file, rule("old")).expect("write");
    fs::write(file.with_extension("yar.asc"), old).expect("write");
    let (code, text) = client.update(&[]);
    assert!(code == 4 && text.contains("before the one that is installed"), "{code} {text}");
    assert_eq!(client.installed("x.yar"), Some(rule("new")));
    assert_eq!(client.update(&["--force"]).0, 0);
    assert_eq!(client.installed("x.yar"), Some(rule("old")));
}

#[test]
fn no_room_on_the_disk() {
    if !needs(&["root", "mount"]) {
        return;
    }
    let files = folder();
    let disk = files.path().join("disk");
    fs::create_dir(&disk).expect("a folder");
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&disk).status();
    if !mount.is_ok_and(|status| status.success()) {
        println!("skipped: no tmpfs can be mounted here");
        return;
    }
    let _unmount = Unmount(disk.clone());
    let file = files.path().join("x.yar");
    fs::write(&file, rule("small")).expect("write");
    let mut client = Client::new("");
    client.data = disk.clone();
    client.configure(&format!("[update.source.x]\nurl = \"file://{}\"\n", file.display()));
    assert_eq!(client.update(&[]).0, 0);
    let large: String = (0..2000).map(|number| rule("large").replace("Bad", &format!("Bad{number}"))).collect();
    fs::write(&file, large).expect("write");
    let (code, text) = client.update(&[]);
    assert!(code == 4 && text.contains("No space left on device"), "{code} {text}");
    assert_eq!(client.installed("x.yar"), Some(rule("small")));
    let left: Vec<_> = fs::read_dir(disk.join("updates")).expect("the folder").flatten().collect();
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().ends_with(".new")), "{left:?}");
    fs::write(&file, rule("other")).expect("write");
    assert_eq!(client.update(&[]).0, 0);
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Killed at any moment, it leaves one version or the other, whole.
#[test]
fn killed_in_between() {
    let files = folder();
    let file = files.path().join("x.yar");
    let version = |number: usize| -> String {
        (0..300).map(|rule| format!("rule V{number}_{rule} {{ condition: false }}\n")).collect()
    };
    let client = Client::new(&format!("[update.source.x]\nurl = \"file://{}\"\n", file.display()));
    fs::write(&file, version(0)).expect("write");
    assert_eq!(client.update(&[]).0, 0);
    for number in 1..=20 {
        fs::write(&file, version(number)).expect("write");
        let mut child = client.command(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
        std::thread::sleep(Duration::from_millis(7 * number as u64));
        let _ = child.kill();
        let _ = child.wait();
        let installed = client.installed("x.yar").expect("one version");
        assert!((0..=number).any(|number| installed == version(number)), "{number}: {} bytes", installed.len());
    }
    // What such a process left is removed, and the next one works.
    let left = client.data.join("updates/.x.yar.new");
    fs::write(&left, "half").expect("write");
    fs::write(&file, rule("last")).expect("write");
    assert_eq!(client.update(&[]).0, 0);
    assert_eq!(client.installed("x.yar"), Some(rule("last")));
    assert!(!left.exists());

    // Two at once would write over each other.
    let lock = fs::File::options().write(true).open(client.data.join("updates/.lock")).expect("the lock");
    lock.lock().expect("locked");
    let (code, text) = client.update(&[]);
    assert!(code == 75 && text.contains("under way already"), "{code} {text}");
    assert_eq!(client.update(&["--dry-run"]).0, 1);
}

#[test]
fn the_daemon_asks_by_itself() {
    let (sink, files) = (Sink::start(), folder());
    let file = files.path().join("x.yar");
    fs::write(&file, rule("needle")).expect("write");
    let url = |path: &Path| format!("file://{}", path.display());
    let source = format!(
        "[update]\nevery = \"10s\"\n[update.source.x]\nurl = \"{}\"\n[update.source.y]\nurl = \"file:///nonexistent/y\"\n",
        url(&file)
    );
    let gatepost = Setup::to(sink.address).with(&source).start();
    let send = |body: &str| {
        let mut dialog = gatepost.connect();
        dialog.greet();
        dialog.message("a@client.test", &["user@example.test"], &mail("x", body)).code
    };
    wait_for("the rules are fetched and count", START, || (send("a needle") == 550).then_some(()));
    let (code, health) = gatepost.http("/health");
    assert!(code == 200 && health.contains("update:y") && !health.contains("update:x: "), "{code} {health}");
    fs::write(&file, rule("haystack")).expect("write");
    wait_for("the new rules are fetched and count", START, || (send("a haystack") == 550).then_some(()));
}
