//! Tables: what they say is what Postfix's own `postmap -q` says of the same tables and keys; a real slapd and a real
//! PostgreSQL are asked by the same files as Postfix asks them by.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use gatepost::resources::maps::{Form, Map, Options};

use crate::rig::*;

/// Numbers that look random and are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % most
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn text(&mut self, pieces: &[&str], most: usize) -> String {
        (0..=self.below(most)).map(|_| self.pick(pieces)).collect()
    }
}

/// What Postfix finds, and what it warns of.
fn postmap(folder: &Path, table: &str, keys: &[String]) -> (BTreeMap<String, String>, String) {
    std::fs::write(folder.join("main.cf"), "compatibility_level = 3.6\nsmtputf8_enable = yes\n")
        .expect("write");
    let mut child = Command::new(program("postmap"))
        .arg("-c")
        .arg(folder)
        .args(["-q", "-", table])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("postmap runs");
    let mut input = child.stdin.take().expect("its input");
    let lines = keys.join("\n") + "\n";
    let writer = std::thread::spawn(move || drop(input.write_all(lines.as_bytes())));
    let output = child.wait_with_output().expect("postmap ends");
    writer.join().expect("written");
    let found = String::from_utf8_lossy(&output.stdout);
    let found = found.lines().filter_map(|line| line.split_once('\t'));
    let warned = String::from_utf8_lossy(&output.stderr).into_owned();
    (found.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(), warned)
}

/// What we find.
async fn ours(table: &str, keys: &[String]) -> Result<BTreeMap<String, String>, String> {
    let map = Map::open(table, &Options::default(), |_: Form, _: &str, _: &str| Ok(()))?;
    let mut found = BTreeMap::new();
    for key in keys {
        if let Some(value) = map.lookup(key).await.map_err(|error| error.to_string())? {
            found.insert(key.clone(), value.text);
        }
    }
    Ok(found)
}

/// Keys that stand in tables, and some that do not.
fn keys(random: &mut Random, pieces: &[&str], count: usize) -> Vec<String> {
    let mut keys: Vec<String> = (0..count).map(|_| random.text(pieces, 7)).collect();
    keys.retain(|key| !key.trim().is_empty());
    keys
}

#[tokio::test]
async fn tables_of_keys_say_what_postmap_says() {
    if !needs(&["postmap"]) {
        return;
    }
    let folder = folder();
    let mut random = Random(1);
    let pieces = ["a", "B", "ü", "@", ".org", "+x", "example", "\"", "\\", "1.2", ":", "<>", " "];
    let values = ["OK", "550 no such  user", "x", "a, b", "\"quoted\"", "#1", "=", "with \ttab"];
    let mut table = String::from("# a comment\n\n");
    for _ in 0..400 {
        let key = random.text(&pieces[..12], 5);
        let space = random.pick(&[" ", "\t", "  \t "]);
        let value = random.pick(&values);
        let _ = writeln!(table, "{key}{space}{value}");
        table.push_str(random.pick(&[
            "",
            "",
            "",
            "# comment\n",
            "   \n",
            "  and more\n",
            "\n\tafter nothing\n",
            "  # no\n on\n",
        ]));
    }
    // What has no value Postfix warns of and leaves out; here it is an error, which is tested elsewhere.
    let file = folder.path().join("table");
    std::fs::write(&file, &table).expect("write");
    let made =
        Command::new(program("postmap")).arg(format!("hash:{}", file.display())).output().expect("postmap");
    let warned = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success() && !warned.contains("expected format"), "{warned}");
    let mut asked = keys(&mut random, &pieces, 1500);
    asked.extend(table.lines().filter_map(|line| Some(line.split_once([' ', '\t'])?.0.to_owned())));
    asked.retain(|key| !key.trim().is_empty());
    for kind in ["hash", "texthash", "btree"] {
        let name = format!("{kind}:{}", file.display());
        if kind == "btree" {
            let made = Command::new(program("postmap")).arg(&name).status().expect("postmap");
            assert!(made.success());
        }
        let (theirs, warned) = postmap(folder.path(), &name, &asked);
        assert!(theirs.len() > 150, "{} found: {warned}", theirs.len());
        differences(&name, &ours(&name, &asked).await.expect("a good table"), &theirs);
    }
    for name in
        ["inline:{ A=b, {c@d = e f, g}, h=i=j }", "inline:{a=b}", "static:all", "inline:{ {a = {b}} }"]
    {
        let asked = ["a", "A", "c@d", "h", "x", "C@D"].map(String::from);
        let (theirs, _) = postmap(folder.path(), name, &asked);
        differences(name, &ours(name, &asked).await.expect("a good table"), &theirs);
    }
}

#[tokio::test]
async fn tables_of_networks_say_what_postmap_says() {
    if !needs(&["postmap"]) {
        return;
    }
    let folder = folder();
    let file = folder.path().join("table");
    let name = format!("cidr:{}", file.display());
    let mut random = Random(2);
    let mut found = 0;
    for _ in 0..25 {
        let (mut table, mut open) = (String::new(), 0);
        for line in 0..30 {
            let net = network(&mut random);
            let not = random.pick(&["", "", "", "", "!"]);
            match random.below(8) {
                0 => {
                    open += 1;
                    let _ = writeln!(table, "if {not}{net}");
                }
                1 if open > 0 => {
                    open -= 1;
                    table.push_str("endif\n");
                }
                _ => {
                    let _ = writeln!(table, "{not}{net}\tresult {line}");
                }
            }
        }
        table.push_str(&"ENDIF\n".repeat(open));
        std::fs::write(&file, &table).expect("write");
        let mut asked: Vec<String> = (0..120).map(|_| address(&mut random)).collect();
        asked.extend(
            ["mail.example.org", "192.0.2", "::ffff:10.0.0.1", "10.0.0.1 ", "2001:DB8::1", "2001:0db8::0:1"]
                .map(String::from),
        );
        let (theirs, warned) = postmap(folder.path(), &name, &asked);
        assert!(!warned.contains("warning"), "{warned}\n{table}");
        found += theirs.len();
        differences(&table, &ours(&name, &asked).await.expect("a good table"), &theirs);
    }
    assert!(found > 500, "{found}");
}

/// A network of few bits, so that many hold the same addresses.
fn network(random: &mut Random) -> String {
    let (text, most) = match random.below(4) {
        0 => (address_of(random, true), 128),
        _ => (address_of(random, false), 32),
    };
    let length = match random.below(3) {
        0 => most,
        _ => random.below(most + 1),
    };
    let net: ipnet::IpNet = format!("{text}/{length}").parse().expect("a network");
    let net = net.trunc();
    match random.below(5) {
        0 => format!("[{}]/{length}", net.network()),
        1 if length == most => net.network().to_string(),
        _ => net.to_string(),
    }
}

fn address(random: &mut Random) -> String {
    let six = random.below(4) == 0;
    address_of(random, six)
}

fn address_of(random: &mut Random, six: bool) -> String {
    if six {
        let groups = ["0", "1", "db8"];
        return format!("2001:{}::{}:{}", random.pick(&groups), random.pick(&groups), random.pick(&groups));
    }
    let octets = ["0", "1", "128", "255"];
    let mut octet = || random.pick(&octets).to_owned();
    format!("10.{}.{}.{}", octet(), octet(), octet())
}

/// Expressions that are written by hand for what they try, and many that are made of pieces.
#[tokio::test]
async fn tables_of_expressions_say_what_postmap_says() {
    if !needs(&["postmap"]) {
        return;
    }
    let folder = folder();
    let mut random = Random(3);
    let mut asked =
        keys(&mut random, &["a", "b", "A", "c", "ab", "x", ".", "@", "-", "1", "é", " ", "]", "\\"], 300);
    asked.extend(
        ["user@example.org", "User+ext@Mail.Example.ORG", "192.0.2.1", "owner-list@x", "a)b", "aa bb"]
            .map(String::from),
    );
    let by_hand = [
        "/^user@/ OK",
        "/EXAMPLE/ 550 no",
        "/EXAMPLE/i 550 no",
        "!/@/ DUNNO",
        "!!/@/ DUNNO",
        "/(.*)@(.*)/ <$2> ${1} $(1) $$1",
        "/^([^+]*)\\+?(.*)@/ $1-$2",
        "~a/b~ x",
        "/a\\/b/ x",
        "|a| x",
        "/[[:digit:]]+\\.[0-9]/ num",
        "/a{2}/ two",
        "/^a{1,2}b{0}/ x",
        "/[]a]b/ x",
        "/[^]a]b/ x",
        "/[a\\]]/ x",
        "/[a-c1-]+$/ x",
        "/\\bab\\b/ word",
        "/\\<ab\\>/ word",
        "/\\w\\W/ x",
        "/a|b|/ x",
        "/(a|b)*c/ [$1]",
        "/(a)(b)?/ $1.",
        "/a)/ x",
        "/^*/ x",
        "/*/ x",
        "/a**/ x",
        "/a+?b/ x",
        "/(a/ x",
        "/[a/ x",
        "/a\\/ x",
        "/a/",
        "/(?i)a/ x",
        "/(?!a)b/ x",
        "/\\d/ x",
        "/x/m yes",
        "/^a.b$/s x",
        "if /a/\n/b/ both\nendif\n/a/ one",
        "if !/a/\n/b/ only b\nendif\n/./ any",
        "/a/ $2",
        "!/(a)/ $1",
        "/(a)/ $x",
        "/(a)/ ${1",
        "/a b/x x",
        "/a+(/x x",
        "/\\(a\\)\\1/x $1",
        "/a\\{2\\}/x x",
        "/(a)\\1/ twice",
        "/[[.a.]]b/ x",
        "/[[=a=]]b/ x",
        "/[[:foo:]]/ x",
        "/a{,2}c/ x",
        "/a{x}/ x",
        "/a{3,1}/ x",
        "/^$/ empty",
        "/é/ accent",
        "/É/ accent",
        "/./ x\n y",
        "  /a/ indented",
        "/a.*c/U x",
        "/b/A x",
        "/a # b/x x",
        "/(a+)(a*)/U $1|$2",
    ];
    let pieces = [
        "a", "b", "A", "(", ")", "(a", ")", "|", "*", "+", "?", ".", "^", "$", "[ab]", "[^a]", "[]b]", "\\.",
        "{2}", "{1,}", "\\<", "\\b", "@", "\\1",
    ];
    let mut tables: Vec<String> = by_hand.iter().map(|table| format!("{table}\n")).collect();
    tables.extend((0..250).map(|_| format!("/{}/ found\n", random.text(&pieces, 7))));
    let (mut found, mut refused) = (0, 0);
    for kind in ["regexp", "pcre"] {
        if kind == "pcre" && !Path::new("/usr/lib/postfix/postfix-pcre.so").exists() {
            println!("skipped: pcre, needs postfix-pcre");
            continue;
        }
        for (place, table) in tables.iter().enumerate() {
            let file = folder.path().join(format!("{kind}{place}"));
            std::fs::write(&file, table).expect("write");
            let name = format!("{kind}:{}", file.display());
            let (theirs, warned) = postmap(folder.path(), &name, &asked);
            found += theirs.len();
            match ours(&name, &asked).await {
                Ok(ours) => differences(&format!("{kind} {table}{warned}"), &ours, &theirs),
                Err(why) => {
                    refused += 1;
                    // What is wrong is left out by Postfix with a warning, and refused here.
                    assert!(warned.contains("warning") || warned.contains("fatal"), "{kind} {table}{why}");
                }
            }
        }
    }
    assert!(found > 5000 && refused > 50, "{found} {refused}");
}

/// Every difference, so that one looks at all of them at once.
fn differences(what: &str, ours: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>) {
    let mut told = String::new();
    for key in ours.keys().chain(theirs.keys().filter(|key| !ours.contains_key(*key))) {
        if ours.get(key) != theirs.get(key) {
            let _ = writeln!(told, "{key:?}: ours {:?}, Postfix's {:?}", ours.get(key), theirs.get(key));
        }
    }
    assert!(told.is_empty(), "{what}\n{told}");
}
