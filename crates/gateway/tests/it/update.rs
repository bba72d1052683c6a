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

/// A file of the site, with its checksum beside it.
fn publish(site: &Site, name: &str, content: &str) -> PathBuf {
    let path = site.root().join(name);
    fs::write(&path, content).expect("write");
    checksum(&path);
    path
}

/// As sha256sum writes it.
fn checksum(path: &Path) {
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    let folder = path.parent().expect("a folder");
    let output = Command::new("sha256sum").arg(&name).current_dir(folder).output().expect("sha256sum");
    fs::write(folder.join(format!("{name}.sha256")), output.stdout).expect("write");
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
    let authorities =
        format!("[update]\nevery = 0\nauthorities = {:?}\n", site.certificate.as_ref().expect("TLS"));
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

/// Something that is published and cannot be taken.
struct Broken {
    what: &'static str,
    /// Who signs it; empty: nobody, and the signature that was there stays.
    by: &'static str,
    content: String,
    /// What is done to the site's file then.
    then: fn(&Path),
    tables: String,
    expected: &'static str,
}

fn all_that_can_be_broken(source: &dyn Fn(&str, &str) -> String) -> Vec<Broken> {
    let usual = source("x.yar", "sha256 = \"beside\"");
    let broken = |what, by, content: &str, expected| Broken {
        what,
        by,
        content: content.to_owned(),
        then: |_| {},
        tables: usual.clone(),
        expected,
    };
    let second = rule("second");
    let good = || broken("", "maker", &second, "");
    vec![
        Broken {
            what: "tampered",
            then: |path| {
                fs::write(path, rule("evil")).expect("write");
                checksum(path);
            },
            expected: "is not of this content",
            ..good()
        },
        broken("by somebody else", "stranger", &second, "which is none of the keys"),
        Broken {
            what: "not signed",
            then: |path| fs::remove_file(path.with_extension("yar.asc")).expect("remove"),
            expected: "404",
            ..good()
        },
        Broken {
            what: "no signature",
            then: |path| fs::write(path.with_extension("yar.asc"), "hello").expect("write"),
            expected: "no OpenPGP signature",
            ..good()
        },
        Broken {
            what: "another checksum",
            then: |path| {
                let digits = "0".repeat(64);
                fs::write(path.with_extension("yar.sha256"), format!("{digits}  x.yar\n")).expect("write");
            },
            expected: "its SHA-256 is",
            ..good()
        },
        broken("no rules", "maker", "<html>Maintenance</html>", "no YARA rules that can be used"),
        broken("all mail", "maker", "rule All { condition: true }", "YARA.All matches an ordinary letter"),
        Broken {
            what: "too large",
            content: second.repeat(100),
            tables: usual.replace("[update.source.x]", "max_size = \"1 KiB\"\n[update.source.x]"),
            expected: "larger than 1024 bytes",
            ..good()
        },
        Broken { what: "cut", tables: source("cut/x.yar", ""), expected: "end of file", ..good() },
        Broken {
            what: "hanging",
            tables: source("hang/x.yar", ""),
            expected: "not fetched within 2 s",
            ..good()
        },
        Broken {
            what: "stalling",
            tables: source("stall/x.yar", ""),
            expected: "not fetched within 2 s",
            ..good()
        },
        Broken { what: "gone", tables: source("absent.yar", ""), expected: "404 ", ..good() },
        Broken {
            what: "no key",
            tables: usual.replace("maker.asc", "absent.asc"),
            expected: "No such file",
            ..good()
        },
    ]
}

#[test]
fn whatever_is_wrong_leaves_the_old() {
    if !needs(&["python3", "gpg", "sha256sum"]) {
        return;
    }
    let (site, gpg) = (Site::start(false), Gpg::with(&["maker", "stranger"]));
    let key = gpg.key("maker");
    let source = |path: &str, keys: &str| {
        let (url, signature) = (site.url(path), site.url("x.yar.asc"));
        format!(
            "[update.source.x]\nurl = \"{url}\"\nopenpgp_key = {key:?}\nsignature = \"{signature}\"\n{keys}\n"
        )
    };
    let usual = source("x.yar", "sha256 = \"beside\"");
    let client = Client::new(&usual);
    let publish = |by: &str, content: &str| {
        let path = publish(&site, "x.yar", content);
        if !by.is_empty() {
            gpg.sign(by, &path, &[]);
        }
        path
    };
    let first = rule("first");
    publish("maker", &first);
    let (code, text) = client.update(&[]);
    assert!(code == 0 && text.starts_with("x: new: 1 YARA rules, signed by "), "{code} {text}");

    for Broken { what, by, content, then, tables, expected } in all_that_can_be_broken(&source) {
        then(&publish(by, &content));
        client.configure(&tables);
        let (code, text) = client.update(&[]);
        assert!(
            code == 4 && text.starts_with("x: failed, what is installed stays: "),
            "{what}: {code} {text}"
        );
        assert!(text.contains(expected), "{what}: {text}");
        assert_eq!(client.installed("x.yar").as_ref(), Some(&first), "{what}");
    }

    // One fails, the other is new.
    publish("maker", &rule("second"));
    let absent = "[update.source.y]\nurl = \"file:///nonexistent/y.yar\"\n";
    client.configure(&(usual + absent));
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
    let client = Client::new(&format!(
        "[update.source.x]\nurl = \"file://{}\"\nopenpgp_key = {key:?}\n",
        file.display()
    ));
    assert_eq!(client.update(&[]).0, 0);
    fs::write(&file, rule("old")).expect("write");
    fs::write(file.with_extension("yar.asc"), old).expect("write");
    let (code, text) = client.update(&[]);
    assert!(code == 4 && text.contains("before the one that is installed"), "{code} {text}");
    assert_eq!(client.installed("x.yar"), Some(rule("new")));
    assert_eq!(client.update(&["--force"]).0, 0);
    assert_eq!(client.installed("x.yar"), Some(rule("old")));
}

/// With minisign, alone and beside OpenPGP.
#[test]
fn signed_by_minisign() {
    if !needs(&["minisign", "gpg"]) {
        return;
    }
    let (gpg, files) = (Gpg::with(&["maker"]), folder());
    let path = |name: &str| files.path().join(name);
    let minisign = |arguments: &[&str]| {
        let output = Command::new(program("minisign"))
            .args(arguments)
            .current_dir(files.path())
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    minisign(&["-G", "-W", "-p", "key.pub", "-s", "key.sec"]);
    let key = fs::read_to_string(path("key.pub")).expect("the key");
    let key = key.lines().nth(1).expect("its second line");
    let write = |word: &str| {
        fs::write(path("x.yar"), rule(word)).expect("write");
        minisign(&["-S", "-s", "key.sec", "-m", "x.yar"]);
    };
    let source = |keys: &str| {
        format!(
            "[update.source.x]\nurl = \"file://{}\"\nminisign_key = \"{key}\"\n{keys}\n",
            path("x.yar").display()
        )
    };
    let client = Client::new(&source(""));
    write("one");
    assert_eq!(client.update(&[]), (0, "x: new: 1 YARA rules, signed by minisign\n".into()));
    fs::write(path("x.yar"), rule("evil")).expect("write");
    let (code, text) = client.update(&[]);
    assert!(code == 4 && text.contains("The signature verification failed"), "{code} {text}");
    // Both keys: both signatures.
    client.configure(&source(&format!("openpgp_key = {:?}", gpg.key("maker"))));
    write("two");
    let (code, text) = client.update(&[]);
    assert!(code == 4 && text.contains("x.yar.asc: No such file"), "{code} {text}");
    gpg.sign("maker", &path("x.yar"), &[]);
    let (code, text) = client.update(&[]);
    assert!(code == 0 && text.contains(" and by minisign"), "{code} {text}");
    client.configure(&source("").replace(key, "RWnonsense"));
    assert_eq!(client.update(&[]).0, 4);
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
    let large: String =
        (0..2000).map(|number| rule("large").replace("Bad", &format!("Bad{number}"))).collect();
    fs::write(&file, large).expect("write");
    let (code, text) = client.update(&[]);
    assert!(code == 4 && text.contains("No space left on device"), "{code} {text}");
    assert_eq!(client.installed("x.yar"), Some(rule("small")));
    let left: Vec<_> = fs::read_dir(disk.join("updates")).expect("the folder").flatten().collect();
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().ends_with(".new")), "{left:?}");
    fs::write(&file, rule("other")).expect("write");
    assert_eq!(client.update(&[]).0, 0);
}

pub(crate) struct Unmount(pub(crate) PathBuf);

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
        let mut child =
            client.command(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
        std::thread::sleep(Duration::from_millis(7 * number as u64));
        let _ = child.kill();
        let _ = child.wait();
        let installed = client.installed("x.yar").expect("one version");
        assert!(
            (0..=number).any(|number| installed == version(number)),
            "{number}: {} bytes",
            installed.len()
        );
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
        "[update]\nevery = \"5s\"\n[update.source.x]\nurl = \"{}\"\n[update.source.y]\nurl = \"file:///nonexistent/y\"\n",
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
