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
    let pieces = ["a", "B", "ü", "@", ".org", "+x", "example", "\"q x\"", "\\x", "1.2", ":y", "<>", " "];
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
    tables.extend((0..70).map(|_| format!("/{}/ found\n", random.text(&pieces, 7))));
    let (mut found, mut refused, mut told) = (0, 0, String::new());
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
                Ok(ours) => {
                    let differ = unlike(&ours, &theirs);
                    if !differ.is_empty() {
                        let first: Vec<_> = differ.lines().take(4).collect();
                        let _ = writeln!(told, "{kind} {table}{warned}{}", first.join("\n"));
                    }
                }
                Err(why) => {
                    refused += 1;
                    // What is wrong is left out by Postfix with a warning, and refused here.
                    if !warned.contains("warning") && !warned.contains("fatal") {
                        let _ = writeln!(told, "{kind} {table}ours: {why}");
                    }
                }
            }
        }
    }
    assert!(told.is_empty(), "{told}");
    assert!(found > 5000 && refused > 50, "{found} {refused}");
}

fn differences(what: &str, ours: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>) {
    let told = unlike(ours, theirs);
    assert!(told.is_empty(), "{what}\n{told}");
}

/// Every difference, so that one looks at all of them at once.
fn unlike(ours: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>) -> String {
    let mut told = String::new();
    for key in ours.keys().chain(theirs.keys().filter(|key| !ours.contains_key(*key))) {
        if ours.get(key) != theirs.get(key) {
            let _ = writeln!(told, "{key:?}: ours {:?}, Postfix's {:?}", ours.get(key), theirs.get(key));
        }
    }
    told
}

/// Whether Postfix can ask such tables here.
fn postfix_knows(kind: &str) -> bool {
    let known = needs(&["postmap"]) && Path::new(&format!("/usr/lib/postfix/postfix-{kind}.so")).exists();
    if !known {
        println!("not compared: needs postfix-{kind}");
    }
    known
}

/// Keys that would mean something in a filter or a statement if they were not quoted.
const NASTY: [&str; 14] = [
    "*",
    "*@example.org",
    "jane@example.org)(uid=*",
    "a\\*b@example.org",
    "' OR '1'='1",
    "'; DROP TABLE access; --",
    "\\",
    "\\'",
    "%s",
    "\"",
    "ü@example.org",
    "o'neil@example.org",
    "a\\b@example.org",
    "jane@example.org\u{1}",
];

#[tokio::test]
async fn a_directory_says_what_it_says_to_postfix() {
    if !needs(&["slapd", "slapadd", "/etc/ldap/schema/inetorgperson.schema"]) {
        return;
    }
    let person = |uid: &str, mails: &[&str]| {
        let mails: String = mails.iter().map(|mail| format!("mail: {mail}\n")).collect();
        format!(
            "dn: uid={uid},ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: x\n{mails}\n"
        )
    };
    let entries =
        String::from("dn: ou=people,dc=example,dc=org\nobjectClass: organizationalUnit\nou: people\n\n")
            + &person("jane", &["jane@example.org", "j.doe@example.org"])
            + &person("neil", &["o'neil@example.org"])
            + &person("star", &["*@stars.example"])
            + &person("back", &["a\\b@example.org"])
            + &person("none", &[]);
    let folder = folder();
    let (certificate, key) = certificate(folder.path());
    let tls = (certificate.to_str().expect("a path"), key.to_str().expect("a path"));
    let mut slapd = Slapd::start(&entries, Some(tls));
    let file = folder.path().join("ldap.cf");
    let name = format!("ldap:{}", file.display());
    let documented =
        docs::block_with("access-maps.md", "ldap", &[("ldap.example.org:389", slapd.address.to_string())]);
    let plain = documented.replace("(mail=%s)", "(|(mail=%s)(uid=%u))");
    let asked: Vec<String> = [
        "jane@example.org",
        "JANE@example.org",
        "j.doe@example.org",
        "jane",
        "star",
        "jane@elsewhere.example",
        "none",
        "@example.org",
    ]
    .into_iter()
    .chain(NASTY)
    .map(String::from)
    .collect();
    for (what, lines) in [
        ("documented", documented.clone()),
        ("by two attributes", plain.clone()),
        ("a format", plain.replace("mail\n", "uid\nresult_format = %s at %D for %S\n")),
        ("one level", plain.clone() + "scope = one\n"),
        ("the base alone", plain.clone() + "scope = base\n"),
        ("a base with the key", documented.replace("ou=people", "uid=%u,ou=people")),
        ("a domain", plain.clone() + "domain = !elsewhere.example, example.org\n"),
        ("parts of the domain", documented.replace("(mail=%s)", "(mail=%u@%2.%1)")),
        ("TLS", documented.clone() + "start_tls = yes\n"),
    ] {
        std::fs::write(&file, &lines).expect("write");
        let found = ours(&name, &asked).await.unwrap_or_else(|why| panic!("{what}: {why}"));
        assert_eq!(found.contains_key("jane@example.org"), what != "the base alone", "{what}: {found:?}");
        if postfix_knows("ldap") {
            let (theirs, warned) = postmap(folder.path(), &name, &asked);
            assert!(!warned.contains("warning"), "{what}: {warned}");
            differences(what, &found, &theirs);
        }
    }
    directory_tls(&slapd, &name, &file, &documented, &certificate).await;
    std::fs::write(&file, documented.replace("bind_pw = secret", "bind_pw = wrong")).expect("write");
    let why = ours(&name, &asked[..1]).await.expect_err("a wrong password");
    assert!(why.contains("invalidCredentials"), "{why}");

    std::fs::write(&file, documented + "timeout = 1\n").expect("write");
    let options = Options { cache: std::time::Duration::ZERO, ..Options::default() };
    let map = Map::open(&name, &options, |_, _, _| Ok(())).expect("a good table");
    let known = async || map.lookup("jane@example.org").await.map(|value| value.is_some());
    assert_eq!(known().await, Ok(true));
    slapd.hang(true);
    let hanging = known().await;
    slapd.hang(false);
    assert!(hanging.is_err(), "{hanging:?}");
    assert_eq!(known().await, Ok(true));
    slapd.stop();
    assert!(known().await.is_err());
    slapd.restart();
    assert_eq!(known().await, Ok(true));
}

/// A certificate of nobody we know is not taken where it is to be checked, and is by its own authority.
async fn directory_tls(slapd: &Slapd, name: &str, file: &Path, documented: &str, certificate: &Path) {
    let checked = documented.replace("127.0.0.1", "localhost") + "start_tls = yes\ntls_require_cert = yes\n";
    for (lines, good) in
        [(String::new(), false), (format!("tls_ca_cert_file = {}\n", certificate.display()), true)]
    {
        std::fs::write(file, checked.clone() + &lines).expect("write");
        let said = ours(name, &["jane@example.org".into()]).await;
        assert_eq!(said.is_ok(), good, "{}: {said:?}", slapd.address);
    }
}

#[tokio::test]
async fn a_database_says_what_it_says_to_postfix() {
    if postgres_programs().is_none() {
        assert!(!std::env::var("GATEPOST_RIG").is_ok_and(|value| value == "required"), "needs PostgreSQL");
        println!("skipped: needs PostgreSQL");
        return;
    }
    let mut database = Postgres::start(
        r"CREATE TABLE access (pattern text, action text, number int, net inet);
          INSERT INTO access VALUES ('jane@example.org', 'OK', 1, '10.0.0.0/8'), ('jane@example.org', 'x@y', NULL, NULL),
          ('o''neil@example.org', 'REJECT', 3, '192.0.2.0/24'), ('a\b@example.org', 'back', 4, NULL),
          ('\', 'one', 5, NULL), ('\''', 'two', 6, NULL), ('%s', 'percent', 7, NULL),
          ('ü@example.org', 'umlaut', 8, NULL), ('example.org', 'domain', 9, NULL)",
    );
    let folder = folder();
    let file = folder.path().join("pgsql.cf");
    let name = format!("pgsql:{}", file.display());
    let own = format!("127.0.0.1:{}", database.port);
    let documented = docs::block_with("access-maps.md", "pgsql", &[("db.example.org:5432", own)]);
    let query = |query: &str| documented.replace("SELECT action FROM access WHERE pattern = '%s'", query);
    let asked: Vec<String> = [
        "jane@example.org",
        "JANE@Example.org",
        "jane",
        "10.1.2.3",
        "example.org",
        "@example.org",
        "none@example.org",
    ]
    .into_iter()
    .chain(NASTY)
    .map(String::from)
    .collect();
    let older = query("").replace("query = ", "select_field = action\ntable = access\nwhere_field = pattern");
    for (what, lines, found) in [
        ("documented", documented.clone(), "OK,x@y"),
        (
            "all columns",
            query("SELECT action, number, net FROM access WHERE pattern = '%s'"),
            "OK,1,10.0.0.0/8,x@y",
        ),
        ("parts", query("SELECT action FROM access WHERE pattern = '%u@%d' AND action LIKE '%%K'"), "OK"),
        ("in another text", query("SELECT action FROM access WHERE 'x' || pattern = 'x%s'"), "OK,x@y"),
        ("a format", documented.clone() + "result_format = [%u]%2\n", "[OK]example,[x]example"),
        ("a domain", documented.clone() + "domain = example.org\n", "OK,x@y"),
        ("older parameters", older, "OK,x@y"),
        ("a function", query("SELECT upper('%s')"), "JANE@EXAMPLE.ORG"),
    ] {
        std::fs::write(&file, &lines).expect("write");
        let said = ours(&name, &asked).await.unwrap_or_else(|why| panic!("{what}: {why}"));
        assert_eq!(said.get("jane@example.org").map(String::as_str), Some(found), "{what}");
        if postfix_knows("pgsql") {
            let (theirs, warned) = postmap(folder.path(), &name, &asked);
            assert!(!warned.contains("warning"), "{what}: {warned}");
            differences(what, &said, &theirs);
        }
    }
    // A literal has the type that its column wants, and what is none is a fault.
    std::fs::write(&file, query("SELECT action FROM access WHERE net >> '%s'")).expect("write");
    assert_eq!(ours(&name, &["10.1.2.3".into()]).await.map(|found| found.len()), Ok(1));
    let why = ours(&name, &["mail.example.org".into()]).await.expect_err("no address");
    assert!(why.contains("invalid input syntax for type inet"), "{why}");

    // Away and back again; of two servers the one that is there answers.
    std::fs::write(&file, &documented).expect("write");
    let options = Options { cache: std::time::Duration::ZERO, ..Options::default() };
    let map = Map::open(&name, &options, |_, _, _| Ok(())).expect("a good table");
    let known = async || map.lookup("jane@example.org").await.map(|value| value.is_some());
    assert_eq!(known().await, Ok(true));
    database.stop();
    assert!(known().await.is_err());
    database.restart();
    assert_eq!(known().await, Ok(true));
    let two = documented.replace("hosts = ", &format!("hosts = 127.0.0.1:{} ", free_port()));
    std::fs::write(&file, two).expect("write");
    assert_eq!(ours(&name, &asked[..1]).await.map(|found| found.len()), Ok(1));
}

#[tokio::test]
async fn sqlite_says_what_it_says_to_postfix() {
    use sqlx::Connection as _;
    let folder = folder();
    let (file, path) = (folder.path().join("sqlite.cf"), folder.path().join("db"));
    let create = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut connection = sqlx::SqliteConnection::connect_with(&create).await.expect("a database");
    let statements = r"CREATE TABLE access (pattern TEXT, action TEXT, number);
         INSERT INTO access VALUES ('jane@example.org', 'OK', 1), ('jane@example.org', 'x@y', 2.5), ('\''', 'two', 3),
         ('%s', 'percent', 4)";
    sqlx::raw_sql(statements).execute(&mut connection).await.expect("filled");
    let name = format!("sqlite:{}", file.display());
    let asked: Vec<String> =
        ["jane@example.org", "JANE@example.org"].into_iter().chain(NASTY).map(String::from).collect();
    for query in [
        "SELECT action FROM access WHERE pattern = '%s'",
        "SELECT action, number FROM access WHERE pattern = '%u@%d'",
        "SELECT '<%s>' || '''' || '5%%'",
    ] {
        std::fs::write(&file, format!("dbpath = {}\nquery = {query}\n", path.display())).expect("write");
        let said = ours(&name, &asked).await.expect("a good table");
        assert!(said.contains_key("jane@example.org"), "{query}");
        if postfix_knows("sqlite") {
            let (theirs, warned) = postmap(folder.path(), &name, &asked);
            assert!(!warned.contains("warning"), "{query}: {warned}");
            differences(query, &said, &theirs);
        }
    }
}
