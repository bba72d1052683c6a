//! Rules by a real update channel: its zone, its mirrors, archives by tar, signatures by gpg; and SpamAssassin's own
//! sa-update beside, which must come to the same end.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::rig::*;
use crate::update::Unmount;

const CHANNEL: &str = "rules.test";
const FOLDER: &str = "rules_test";

/// Files of a version, and what they hold.
type Files = BTreeMap<String, String>;

/// A channel, and two who fetch it.
struct Feed {
    names: NameServer,
    site: Site,
    gpg: Gpg,
    /// The configuration, `ours` and `theirs`, and the keyrings.
    folder: tempfile::TempDir,
    fingerprint: String,
}

impl Feed {
    fn start() -> Feed {
        let feed = Feed {
            names: NameServer::start(""),
            site: Site::start(false),
            gpg: Gpg::with(&["maker", "stranger"]),
            folder: folder(),
            fingerprint: String::new(),
        };
        fs::create_dir(feed.site.root().join("m")).expect("a folder");
        fs::create_dir(feed.path("data")).expect("a folder");
        feed.mirrors(&["m"]);
        feed.configure(&format!("openpgp_key = {:?}", feed.gpg.key("maker")));
        let key = feed.gpg.key("maker").display().to_string();
        let (code, text) = feed.ours(&["--import", &key]);
        assert!(code == 0 && text.starts_with("imported: "), "{code} {text}");
        Feed { fingerprint: text.trim_start_matches("imported: ").trim().to_owned(), ..feed }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn word(&self, name: &str) -> String {
        self.path(name).to_str().expect("a plain path").to_owned()
    }

    fn configure(&self, keys: &str) {
        let (data, names) = (self.path("data"), self.names.config());
        let channel = format!("[update]\ntime = \"5s\"\n[update.rules.channel.\"{CHANNEL}\"]\n{keys}\n");
        fs::write(self.path("gatepost.toml"), format!("data = {data:?}\n{names}{channel}")).expect("write");
    }

    /// The list of mirrors: folders of the site, or URLs with their weights.
    fn mirrors(&self, list: &[&str]) {
        let line = |mirror: &&str| match mirror.contains("://") {
            true => format!("{mirror}\n"),
            false => format!("{}/ weight=1\n", self.site.url(mirror)),
        };
        let text: String = ["# mirrors\n".to_owned()].into_iter().chain(list.iter().map(line)).collect();
        fs::write(self.site.root().join("MIRRORED.BY"), text).expect("write");
    }

    /// What the zone says is the newest; empty: nothing for this version of SpamAssassin.
    fn announce(&self, number: &str) {
        let mirrors = format!("mirrors.{CHANNEL} 0 TXT {}\n", self.site.url("MIRRORED.BY"));
        let version = match number {
            "" => String::new(),
            number => format!("1.0.4.{CHANNEL} 0 TXT {number}\n"),
        };
        self.names.set(&(mirrors + &version));
    }

    fn archive(&self, number: u32) -> PathBuf {
        self.site.root().join(format!("m/{number}.tar.gz"))
    }

    /// Packs, signs and announces a version.
    fn publish(&self, number: u32, files: &Files) {
        self.pack(number, files);
        self.gpg.sign("maker", &self.archive(number), &[]);
        self.announce(&number.to_string());
    }

    fn pack(&self, number: u32, files: &Files) {
        let folder = self.path("packing");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("a folder");
        for (name, content) in files {
            fs::write(folder.join(name), content).expect("write");
        }
        let mut tar = Command::new("tar");
        tar.arg("-czf").arg(self.archive(number)).arg("-C").arg(&folder).args(files.keys());
        assert!(tar.status().expect("tar runs").success());
        checksum(&self.archive(number));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
        command.args(["rules", "update", "-c"]).arg(self.path("gatepost.toml")).args(arguments);
        command
    }

    /// What `gatepost rules update` does into the folder `ours`.
    fn ours(&self, arguments: &[&str]) -> (i32, String) {
        said(self.command(arguments).args(["--updatedir", &self.word("ours")]))
    }

    fn roll_back(&self) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
        command.args(["rules", "rollback", "--updatedir"]).arg(self.path("ours"));
        said(&mut command)
    }

    /// What sa-update does into the folder `theirs`.
    fn theirs(&self, arguments: &[&str]) -> (i32, String) {
        // It asks the servers of this host; a port by another way is tainted.
        let program = format!(
            "use Net::DNS; my $class = 'Net::DNS::Resolver'; $class->new; $class->nameservers('127.0.0.1'); \
             $class->port({}); $0 = '{}'; do $0; die $@ || $!;",
            self.names.address.port(),
            program("sa-update").display()
        );
        let mut command = Command::new("perl");
        command.args(["-T", "-e", &program, "--"]).args(arguments);
        if !arguments.iter().any(|word| word.starts_with("--channel") || *word == "--import") {
            command.args(["--channel", CHANNEL]);
        }
        command.args(["--gpghomedir", &self.word("their-keys"), "--updatedir", &self.word("theirs")]);
        said(command.env("HOME", self.folder.path()))
    }

    /// What counts for us: the version's files, and those that are read, in order.
    fn installed(&self) -> Option<(Files, Vec<String>)> {
        let root = self.path("ours");
        let text = fs::read_to_string(root.join(format!("{FOLDER}.cf"))).ok()?;
        let read: Vec<PathBuf> = text
            .lines()
            .filter_map(|line| line.strip_prefix("include "))
            .map(|name| root.join(name))
            .collect();
        let folder = read.first().expect("an include").parent().expect("a folder").to_owned();
        Some((files_of(&folder), read.iter().map(|path| name_of(path)).collect()))
    }

    /// The same of sa-update.
    fn installed_by_them(&self) -> Option<(Files, Vec<String>)> {
        let root = self.path("theirs");
        let read = |end: &str| fs::read_to_string(root.join(format!("{FOLDER}.{end}")));
        let text = read("pre").unwrap_or_default() + &read("cf").ok()?;
        let names = text.lines().filter_map(|line| line.strip_prefix("include "));
        let mut files = files_of(&root.join(FOLDER));
        // Archives that it could not take stay.
        files.retain(|name, _| name != "MIRRORED.BY" && !name.contains(".tar.gz"));
        Some((files, names.map(|name| name_of(Path::new(name))).collect()))
    }
}

fn said(command: &mut Command) -> (i32, String) {
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

fn files_of(folder: &Path) -> Files {
    let files = fs::read_dir(folder).expect("the folder").flatten().map(|entry| entry.path());
    let files = files.filter(|path| path.is_file());
    let text = |path: &Path| String::from_utf8_lossy(&fs::read(path).expect("a file")).into_owned();
    files.map(|path| (name_of(&path), text(&path))).collect()
}

fn name_of(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

fn checksum(path: &Path) {
    for kind in ["sha256", "sha512"] {
        let mut sum = Command::new(format!("{kind}sum"));
        sum.arg(name_of(path)).current_dir(path.parent().expect("a folder"));
        let output = sum.output().expect("it runs");
        fs::write(path.with_extension(format!("gz.{kind}")), output.stdout).expect("write");
    }
}

/// A version whose files all tell its number.
fn version(number: u32) -> Files {
    let rule = |name: &str| format!("body {name}_{number} /{number}/\ndescribe {name}_{number} It\n");
    [
        ("10_first.cf", format!("require_version @@VERSION@@\n{}score FIRST_{number} 1.5\n", rule("FIRST"))),
        ("20_second.cf", rule("SECOND") + "report Contact @@CONTACT_ADDRESS@@ @@OTHER@@\n"),
        ("languages", format!("{number}\n")),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into()
}

/// One thing that is done to the channel.
struct Step {
    what: &'static str,
    prepare: fn(&Feed),
    arguments: &'static [&'static str],
    /// The exit status of both.
    code: i32,
    /// The version that counts then.
    then: u32,
    /// A part of what we say.
    said: &'static str,
}

const STEPS: &[Step] = &[
    Step {
        what: "new",
        prepare: |feed| feed.publish(1001, &version(1001)),
        arguments: &["-v"],
        code: 0,
        then: 1001,
        said: "none -> 1001: 2 rules, signed by",
    },
    Step { what: "current", prepare: |_| {}, arguments: &[], code: 1, then: 1001, said: "" },
    Step {
        what: "older",
        prepare: |feed| feed.announce("1000"),
        arguments: &["-v"],
        code: 1,
        then: 1001,
        said: "nothing new",
    },
    Step {
        what: "none for this version",
        prepare: |feed| feed.announce(""),
        arguments: &[],
        code: 1,
        then: 1001,
        said: "",
    },
    Step {
        what: "no channel",
        prepare: |feed| feed.names.set(""),
        arguments: &[],
        code: 4,
        then: 1001,
        said: "there is no channel rules.test",
    },
    Step {
        what: "check only",
        prepare: |feed| feed.publish(1002, &version(1002)),
        arguments: &["--checkonly", "-v"],
        code: 0,
        then: 1001,
        said: "there is a newer version, 1001 -> 1002",
    },
    Step {
        what: "tampered",
        prepare: |feed| {
            let signature = fs::read(feed.archive(1002).with_extension("gz.asc")).expect("a signature");
            feed.pack(1002, &version(6666));
            fs::write(feed.archive(1002).with_extension("gz.asc"), signature).expect("write");
        },
        arguments: &[],
        code: 4,
        then: 1001,
        said: "is not of this content",
    },
    Step {
        what: "no signature",
        prepare: |feed| fs::write(feed.archive(1002).with_extension("gz.asc"), "hello").expect("write"),
        arguments: &[],
        code: 4,
        then: 1001,
        said: "no OpenPGP signature",
    },
    Step {
        what: "not signed",
        prepare: |feed| fs::remove_file(feed.archive(1002).with_extension("gz.asc")).expect("remove"),
        arguments: &[],
        code: 4,
        then: 1001,
        said: "404",
    },
    Step {
        what: "by a stranger",
        prepare: |feed| feed.gpg.sign("stranger", &feed.archive(1002), &[]),
        arguments: &[],
        code: 4,
        then: 1001,
        said: "which is none of the keys",
    },
    Step {
        what: "does not pass lint",
        prepare: |feed| {
            let mut files = version(1002);
            files.insert("30_bad.cf".into(), "nonsense here\nbody BROKEN /(/\n".into());
            feed.publish(1002, &files);
        },
        arguments: &[],
        code: 4,
        then: 1001,
        said: "lint finds ",
    },
    Step {
        what: "a folder in the archive",
        prepare: |feed| {
            let folder = feed.path("packing/sub");
            fs::create_dir(&folder).expect("a folder");
            fs::write(folder.join("40.cf"), "body SUB /a/\n").expect("write");
            let mut tar = Command::new("tar");
            tar.arg("-czf")
                .arg(feed.archive(1002))
                .arg("-C")
                .arg(feed.path("packing"))
                .args(["10_first.cf", "sub/40.cf"]);
            assert!(tar.status().expect("tar runs").success());
            feed.gpg.sign("maker", &feed.archive(1002), &[]);
            checksum(&feed.archive(1002));
        },
        arguments: &[],
        code: 4,
        then: 1001,
        said: "no plain name of a file",
    },
    Step {
        what: "archive is gone",
        prepare: |feed| fs::remove_file(feed.archive(1002)).expect("remove"),
        arguments: &[],
        code: 4,
        then: 1001,
        said: "no mirror has a good archive",
    },
    Step {
        what: "the first mirror is down",
        prepare: |feed| {
            feed.publish(1002, &version(1002));
            // Nobody listens at the discard port.
            feed.mirrors(&["http://127.0.0.1:9/m weight=1000000", "m"]);
        },
        arguments: &["--refreshmirrors", "-v"],
        code: 0,
        then: 1002,
        said: "http://127.0.0.1:9/m/1002.tar.gz: ",
    },
    Step {
        what: "all mirrors are down",
        prepare: |feed| {
            feed.publish(1003, &version(1003));
            feed.mirrors(&["http://127.0.0.1:9/m"])
        },
        arguments: &["--refreshmirrors"],
        code: 4,
        then: 1002,
        said: "127.0.0.1:9",
    },
    Step {
        what: "the list that is kept names no other",
        prepare: |feed| feed.mirrors(&["m"]),
        arguments: &[],
        code: 4,
        then: 1002,
        said: "127.0.0.1:9",
    },
    Step {
        what: "it is fetched anew",
        prepare: |_| {},
        arguments: &["--refreshmirrors"],
        code: 0,
        then: 1003,
        said: "",
    },
];

/// New, current, and all that can be wrong: the same exit status and the same files as sa-update's, byte for byte.
#[test]
fn as_sa_update_does_it() {
    if !needs(&["python3", "gpg", "tar", "sha512sum", "sa-update", "perl", "curl"]) {
        return;
    }
    let feed = Feed::start();
    let (code, text) = feed.theirs(&["--import", &feed.gpg.key("maker").display().to_string()]);
    assert_eq!(code, 0, "{text}");
    for Step { what, prepare, arguments, code, then, said } in STEPS {
        prepare(&feed);
        let (our_code, text) = feed.ours(arguments);
        assert!(our_code == *code && text.contains(said), "{what}: {our_code} {text}");
        assert!(!said.is_empty() || text.is_empty(), "{what}: {text}");
        let ours = feed.installed().expect("a version");
        let with_key = [arguments, &["--gpgkey", feed.fingerprint.as_str()][..]].concat();
        let (their_code, text) = feed.theirs(&with_key);
        assert_eq!(their_code, *code, "{what}: {text}");
        assert_eq!(Some(&ours), feed.installed_by_them().as_ref(), "{what}");
        assert_eq!(ours.0["languages"], format!("{then}\n"), "{what}");
        assert!(!ours.0["20_second.cf"].contains("@@CONTACT"), "{what}");
    }
}

/// What loads code is a comment for both, in words of their own; SpamAssassin itself reads our folder.
#[test]
fn what_loads_code_becomes_a_comment() {
    if !needs(&["python3", "gpg", "tar", "sha512sum", "sa-update", "perl", "curl", "spamassassin"]) {
        return;
    }
    let feed = Feed::start();
    feed.theirs(&["--import", &feed.gpg.key("maker").display().to_string()]);
    let mut files = version(1001);
    files.insert("05_init.pre".into(), "loadplugin Mail::SpamAssassin::Plugin::Evil evil.pm\n".into());
    files.insert("30_more.cf".into(), "ifplugin Mail::SpamAssassin::Plugin::Evil\nbody EVIL /1001/\nendif\ndcc_path /bin/sh\ndns_server 192.0.2.1\n".into());
    feed.publish(1001, &files);
    assert_eq!(feed.ours(&[]), (0, String::new()));
    assert_eq!(feed.theirs(&["--gpgkey", &feed.fingerprint]).0, 0);
    let ((ours, our_names), (theirs, their_names)) =
        (feed.installed().expect("ours"), feed.installed_by_them().expect("theirs"));
    assert_eq!(our_names, their_names);
    assert_eq!(active(&ours), active(&theirs));

    let site = feed.path("site");
    fs::create_dir(&site).expect("a folder");
    fs::write(site.join("init.pre"), "loadplugin Mail::SpamAssassin::Plugin::Check\n").expect("write");
    fs::write(site.join("local.cf"), "add_header all Status tests=_TESTS(,)_\n").expect("write");
    fs::write(feed.path("mail"), "From: a@example.org\nSubject: x\n\nThis is 1001.\n").expect("write");
    let mut real = Command::new("spamassassin");
    real.args(["-L", "-x", "-p", "/dev/null", "-C", &feed.word("ours")]);
    real.arg(format!("--siteconfigpath={}", site.display()))
        .arg(feed.path("mail"))
        .env("HOME", feed.folder.path());
    let (_, text) = said(&mut real);
    assert!(text.contains("FIRST_1001") && text.contains("SECOND_1001") && !text.contains("EVIL"), "{text}");
    let hits = run(&["rules", "hits", "--rules", &feed.word("ours"), &feed.word("mail")], b"");
    let hits = String::from_utf8_lossy(&hits.stdout).into_owned();
    assert!(hits.trim_end().ends_with("\t2.500\tFIRST_1001,SECOND_1001"), "{hits}");
}

/// All that SpamAssassin ships passes lint here as it does there.
#[test]
fn the_shipped_rules() {
    const SHIPPED: &str = "/usr/share/spamassassin";
    if !needs(&[
        "python3",
        "gpg",
        "tar",
        "sha512sum",
        "sa-update",
        "perl",
        "/usr/share/spamassassin/20_head_tests.cf",
    ]) {
        return;
    }
    let feed = Feed::start();
    let mut tar = Command::new("tar");
    tar.arg("-czf").arg(feed.archive(400)).args(["-C", SHIPPED]).args(files_of(Path::new(SHIPPED)).keys());
    assert!(tar.status().expect("tar runs").success());
    checksum(&feed.archive(400));
    let file = feed.archive(400).display().to_string();
    let arguments = ["--channel", CHANNEL, "--nogpg", "--install", &file];
    let (code, text) = feed.ours(&[&arguments[..], &["--gpg"]].concat());
    assert!(code == 4 && text.contains("400.tar.gz.asc"), "{code} {text}");
    fs::write(feed.path("gatepost.toml"), format!("data = {:?}\n", feed.path("data"))).expect("write");
    let (code, text) = feed.ours(&[&arguments[..], &["-v"]].concat());
    let many = text.split("-> 400: ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
    assert!(code == 0 && many.is_some_and(|many| many > 1000), "{code} {text}");
    let (code, text) = feed.theirs(&arguments);
    assert_eq!(code, 0, "{text}");
    let (ours, theirs) = (feed.installed().expect("ours"), feed.installed_by_them().expect("theirs"));
    assert_eq!(ours.1, theirs.1);
    assert!(active(&ours.0) == active(&theirs.0) && ours.0.keys().eq(theirs.0.keys()));
}

/// Lines that are no comments.
fn active(files: &Files) -> Vec<&str> {
    let lines = files.values().flat_map(|text| text.lines());
    lines.filter(|line| !line.trim_start().starts_with('#')).collect()
}

/// Unsigned archives, files, several channels, keys by their ids: options as in sa-update.
#[test]
fn options_of_sa_update() {
    if !needs(&["python3", "gpg", "tar", "sha512sum", "sa-update", "perl", "curl"]) {
        return;
    }
    let feed = Feed::start();
    let both = |arguments: &[&str], code: i32| {
        let (our_code, text) = feed.ours(arguments);
        assert_eq!(our_code, code, "{arguments:?}: {text}");
        let (their_code, theirs) = feed.theirs(arguments);
        assert_eq!(their_code, code, "{arguments:?}: {theirs}");
        assert_eq!(feed.installed(), feed.installed_by_them(), "{arguments:?}");
        text
    };
    feed.publish(1001, &version(1001));
    // No channel is configured: no key is trusted but those that are named.
    fs::write(feed.path("gatepost.toml"), format!("data = {:?}\n{}", feed.path("data"), feed.names.config()))
        .expect("write");
    feed.ours(&["--import", &feed.gpg.key("maker").display().to_string()]);
    feed.theirs(&["--import", &feed.gpg.key("maker").display().to_string()]);
    let channel = ["--channel", CHANNEL];
    let with = |more: &[&'static str]| [&channel[..], more].concat();
    let text = both(&channel, 4);
    assert!(text.contains("no key is trusted for it"), "{text}");
    fs::write(feed.archive(1001).with_extension("gz.sha512"), "0".repeat(128)).expect("write");
    let text = both(&with(&["--nogpg"]), 4);
    assert!(text.contains("its SHA-512 is"), "{text}");
    checksum(&feed.archive(1001));
    both(&with(&["--nogpg"]), 0);

    feed.publish(1002, &version(1002));
    let id = feed.fingerprint[32..].to_owned();
    let trusted: Vec<&str> = [&channel[..], &["--nogpg", "--gpgkey", &id]].concat();
    both(&trusted, 0);
    // By hand, from a file: the older version, too.
    let file = feed.archive(1001).display().to_string();
    both(&[&channel[..], &["--gpgkey", &id, "--install", &file]].concat(), 0);
    assert_eq!(feed.installed().expect("a version").0["languages"], "1001\n");
    let text = both(&[&channel[..], &["--gpgkey", &id, "--channel", "nowhere.test"]].concat(), 3);
    assert!(text.contains("there is no channel nowhere.test"), "{text}");
    assert_eq!(feed.installed().expect("a version").0["languages"], "1002\n");
    fs::write(feed.path("channels"), format!("# ours\n{CHANNEL} # only\n\n")).expect("write");
    fs::write(feed.path("keys"), format!("{id}\n")).expect("write");
    feed.publish(1003, &version(1003));
    both(&["--channelfile", &feed.word("channels"), "--gpgkeyfile", &feed.word("keys")], 0);
    for (arguments, expected) in [
        (&["--channel", "../x"][..], "is no channel's name"),
        (&["--gpgkey", "xyz"], "is no id of a key"),
        (
            &["--channel", "a.test", "--channel", "b.test", "--install", "/x/100.tar.gz"],
            "needs one --channel",
        ),
    ] {
        let (code, text) = feed.ours(arguments);
        assert!(code == 2 && text.contains(expected), "{arguments:?}: {code} {text}");
    }
}

/// Points of a channel's rules, more or less than it gives them.
#[test]
fn points_are_adjusted_as_by_sa_update() {
    if !needs(&["python3", "gpg", "tar", "sha512sum", "sa-update", "perl", "curl"]) {
        return;
    }
    let feed = Feed::start();
    let id = feed.fingerprint[32..].to_owned();
    feed.theirs(&["--import", &feed.gpg.key("maker").display().to_string()]);
    let rules: String = (0..9).map(|number| format!("body R{number} /r{number}/\n")).collect();
    let scores = "score R0 1.5\nscore R1 0 2 -1.25 4\n  SCORE  R2   10 # much\nscore R3 -0.4\nscore R5 0\n\
                  score R6 1\nscore R6 (0.5)\nscore R7 3 3 3 3.0005\r\nscore R8 0.1";
    let lines = |files: Option<(Files, Vec<String>)>| -> Vec<String> {
        let files = files.expect("a version").0;
        let plain = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
        files["20_scores.cf"].lines().map(plain).collect()
    };
    for (number, options) in [
        (1001, &["--score-multiplier", "0.5"][..]),
        (1002, &["--score-limit", "3"]),
        (1003, &["--score-multiplier", "2.5", "--score-limit", "3.75"]),
        (1004, &[]),
    ] {
        let files = [("10_rules.cf", rules.as_str()), ("20_scores.cf", scores)];
        feed.publish(number, &files.map(|(name, text)| (name.to_owned(), text.to_owned())).into());
        let arguments = [&["--channel", CHANNEL, "--gpgkey", &id][..], options].concat();
        let (code, text) = feed.ours(&arguments);
        assert_eq!(code, 0, "{options:?}: {text}");
        let (code, text) = feed.theirs(&arguments);
        assert_eq!(code, 0, "{options:?}: {text}");
        assert_eq!(lines(feed.installed()), lines(feed.installed_by_them()), "{options:?}");
    }
    // As configured.
    feed.configure(&format!(
        "openpgp_key = {:?}\nscore_multiplier = 0.5\nscore_limit = 0.6",
        feed.gpg.key("maker")
    ));
    let files = [("10_rules.cf", rules.as_str()), ("20_scores.cf", scores)];
    feed.publish(1005, &files.map(|(name, text)| (name.to_owned(), text.to_owned())).into());
    let (code, text) = feed.ours(&[]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(lines(feed.installed())[..2], ["score R0 0.600", "score R1 0 0.600 -0.625 0.600"]);
    for wrong in ["0", "x", "1e3"] {
        let (code, text) = feed.ours(&["--score-limit", wrong]);
        assert!(code == 2 && text.contains("above 0"), "{wrong}: {code} {text}");
    }
}

/// A name that is an alias, an old archive under a new number, and the way back.
#[test]
fn there_and_back() {
    if !needs(&["python3", "gpg", "tar", "sha512sum"]) {
        return;
    }
    let feed = Feed::start();
    let counts =
        |number: u32| assert_eq!(feed.installed().expect("a version").0["languages"], format!("{number}\n"));
    feed.publish(1001, &version(1001));
    let (code, text) = feed.roll_back();
    assert!(code == 2 && text.contains("no channel is installed"), "{code} {text}");
    feed.names.set(&format!(
        "mirrors.{CHANNEL} 0 TXT {}\n1.0.4.{CHANNEL} 0 CNAME 3.3.3.{CHANNEL}\n3.3.3.{CHANNEL} 0 TXT 1001\n",
        feed.site.url("MIRRORED.BY")
    ));
    assert_eq!(feed.ours(&[]), (0, String::new()));
    assert_eq!(feed.roll_back().0, 1);

    std::thread::sleep(Duration::from_millis(1100));
    feed.publish(1002, &version(1002));
    assert_eq!(feed.ours(&[]), (0, String::new()));
    for end in ["gz", "gz.asc", "gz.sha256", "gz.sha512"] {
        fs::copy(feed.archive(1001).with_extension(end), feed.archive(1003).with_extension(end))
            .expect("copy");
    }
    feed.announce("1003");
    let (code, text) = feed.ours(&[]);
    assert!(code == 4 && text.contains("before what is installed"), "{code} {text}");
    counts(1002);

    feed.announce("1002");
    let (code, text) = feed.roll_back();
    assert!(
        code == 0 && text.contains("version 1001 counts again; 1002 and older are not fetched again"),
        "{text}"
    );
    counts(1001);
    assert_eq!(feed.ours(&[]).0, 1);
    counts(1001);
    assert_eq!(feed.roll_back().0, 0);
    counts(1002);
    assert_eq!(feed.roll_back().0, 0);
    feed.publish(1004, &version(1004));
    assert_eq!(feed.ours(&[]), (0, String::new()));
    counts(1004);
    // Mirrors that never answer, or only half: the old rules stay.
    feed.publish(1005, &version(1005));
    for mirror in ["hang", "stall/m", "cut/m"] {
        feed.mirrors(&[mirror]);
        let (code, text) = feed.ours(&["--refreshmirrors"]);
        assert!(code == 4 && text.contains("no mirror has a good archive"), "{mirror}: {code} {text}");
        counts(1004);
    }
    feed.mirrors(&["hang", "m"]);
    assert_eq!(feed.ours(&["--refreshmirrors"]), (0, String::new()));
    counts(1005);
}

/// Killed at any moment, it leaves one version or the other, whole, and the next run works.
#[test]
fn killed_in_between() {
    if !needs(&["python3", "gpg", "tar", "sha512sum"]) {
        return;
    }
    let feed = Feed::start();
    let many = |number: u32| {
        let mut files = version(number);
        files.extend(
            (30..130).map(|file| (format!("{file}_x.cf"), format!("body N{file}_{number} /{number}/\n"))),
        );
        files
    };
    feed.publish(1000, &many(1000));
    let began = Instant::now();
    assert_eq!(feed.ours(&[]).0, 0);
    let whole = began.elapsed();
    for number in 1001..1021 {
        feed.publish(number, &many(number));
        let mut command = feed.command(&["--updatedir", &feed.word("ours")]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
        std::thread::sleep(whole.mul_f64(f64::from(number - 1000) / 20.0));
        let _ = child.kill();
        let _ = child.wait();
        let (files, read) = feed.installed().expect("one version");
        let counts: u32 = files["languages"].trim().parse().expect("a number");
        assert!(files == prepared(&many(counts)) && counts <= number, "{number}: {counts}");
        assert_eq!(read.len(), files.len() - 1);
    }
    feed.publish(1030, &many(1030));
    assert_eq!(feed.ours(&[]), (0, String::new()));
    let left: Vec<String> = fs::read_dir(feed.path("ours").join(FOLDER))
        .expect("the folder")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");

    // Two at once would be in each other's way.
    let lock = fs::File::options().write(true).open(feed.path("ours/.lock")).expect("the lock");
    lock.lock().expect("locked");
    let (code, text) = feed.ours(&[]);
    assert!(code == 75 && text.contains("under way already"), "{code} {text}");
    assert_eq!(feed.ours(&["--checkonly"]).0, 1);
    assert_eq!(feed.roll_back().0, 75);
}

/// A version's files as they are installed.
fn prepared(files: &Files) -> Files {
    let fill = |text: &String| {
        let text = text.replace("@@VERSION@@", "4.000001");
        text.replace("@@CONTACT_ADDRESS@@", "the administrator of that system")
    };
    files.iter().map(|(name, text)| (name.clone(), fill(text))).collect()
}

#[test]
fn no_room_on_the_disk() {
    if !needs(&["root", "mount", "python3", "gpg", "tar", "sha512sum"]) {
        return;
    }
    let feed = Feed::start();
    let disk = feed.path("ours");
    fs::create_dir(&disk).expect("a folder");
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&disk).status();
    if !mount.is_ok_and(|status| status.success()) {
        println!("skipped: no tmpfs can be mounted here");
        return;
    }
    let _unmount = Unmount(disk);
    feed.publish(1001, &version(1001));
    assert_eq!(feed.ours(&[]), (0, String::new()));
    let before = feed.installed();
    let mut files = version(1002);
    files.insert("README".into(), "x".repeat(400 << 10));
    feed.publish(1002, &files);
    let (code, text) = feed.ours(&[]);
    assert!(code == 4 && text.contains("No space left on device"), "{code} {text}");
    assert_eq!(feed.installed(), before);
    feed.publish(1003, &version(1003));
    assert_eq!(feed.ours(&[]), (0, String::new()));
}

#[test]
fn the_daemon_fetches_by_itself() {
    if !needs(&["python3", "gpg", "tar", "sha512sum"]) {
        return;
    }
    let (feed, sink) = (Feed::start(), Sink::start());
    feed.publish(1001, &version(1001));
    let example = docs::block_with(
        "rule-updates.md",
        "channel",
        &[
            ("/etc/gatepost/keys/rules.example.com.asc", feed.gpg.key("maker").display().to_string()),
            ("rules.example.com", CHANNEL.to_owned()),
        ],
    );
    let absent = "[update.rules.channel.\"nowhere.test\"]\nunsigned = true\n";
    // The folder is not there before the first update.
    let root = feed.path("ours");
    let rules =
        format!("[update.rules]\nfolder = {root:?}\n{example}{absent}[checks.rules]\npaths = [{root:?}]\n");
    let tables = format!("{}[update]\nevery = \"10s\"\n{rules}", feed.names.config());
    let gatepost = Setup::to(sink.address).with(&tables).start();
    let mut sent = 0;
    let mut hits = |number: u32| {
        let mut dialog = gatepost.connect();
        dialog.greet();
        dialog.message("a@client.test", &["user@example.test"], &mail("x", &format!("This is {number}.")));
        sent += 1;
        let received = sink.wait_received(sent);
        let status = received.last().and_then(|mail| mail.header("X-Spam-Status")).unwrap_or_default();
        status.contains(&format!("FIRST_{number}=1.5")).then_some(())
    };
    let told = || gatepost.log().contains("holds no rules yet").then_some(());
    wait_for("that there are no rules yet is told", START, told);
    wait_for("the rules are fetched and count", START, || hits(1001));
    let told = || gatepost.http("/health").1.contains("update:nowhere.test").then_some(());
    wait_for("what failed is told", START, told);
    let (code, health) = gatepost.http("/health");
    assert!(code == 200 && !health.contains("update:rules.test"), "{code} {health}");
    feed.publish(1002, &version(1002));
    wait_for("the new rules are fetched and count", START, || hits(1002));
    assert!(hits(1001).is_none());
}
