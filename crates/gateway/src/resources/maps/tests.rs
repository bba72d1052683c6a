//! Tests of tables as a whole: types, files that change, what is remembered.

use super::*;

fn any(_: Form, _: &str, _: &str) -> Result<(), String> {
    Ok(())
}

fn open(name: &str) -> Result<Map, String> {
    Map::open(name, &Options::default(), any)
}

async fn text(map: &Map, key: &str) -> Option<String> {
    map.lookup(key).await.unwrap().map(|value| value.text)
}

#[tokio::test]
async fn tables_of_all_types_are_opened_and_asked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("table");
    let name = |kind: &str| format!("{kind}:{}", file.display());
    for (kind, content, key, expected) in [
        ("hash", "Key some value\n", "KEY", Some(("some value", 1))),
        ("btree", "#\nkey v\n", "key", Some(("v", 2))),
        ("texthash", "key v\n", "other", None),
        ("cidr", "192.0.2.0/24 v\n", "192.0.2.7", Some(("v", 1))),
        ("regexp", "/k(e)y/ v$1\n", "a KEY b", Some(("vE", 1))),
        ("pcre", "/^k(?!x)/ v\n", "kx", None),
        ("sendmail", "To:a@b\tREJECT\n", "to:a@B", Some(("REJECT", 1))),
        ("virtusertable", "@b\terror:nouser no\n", "@b", Some(("error:nouser no", 1))),
        ("proxy:hash", "key v\n", "key", Some(("v", 1))),
    ] {
        std::fs::write(&file, content).unwrap();
        let value = open(&name(kind)).unwrap().lookup(key).await.unwrap();
        let place = |line: u32| Some(format!("{}:{line}", file.display()));
        let expected = expected.map(|(text, line)| Value { text: text.into(), place: place(line) });
        assert_eq!(value, expected, "{kind}");
    }
    for (name, key, expected) in [
        ("inline:{ Key=v, { other = two words } }", "OTHER", Some("two words")),
        ("cidr:{ { 192.0.2.0/24 OK }, { 0.0.0.0/0 no } }", "198.51.100.1", Some("no")),
        ("regexp:{ { /^a/ OK } }", "b", None),
        ("static:all", "whatever", Some("all")),
    ] {
        assert_eq!(text(&open(name).unwrap(), key).await.as_deref(), expected, "{name}");
    }
}

#[test]
fn errors_name_file_line_and_type() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("table");
    let path = file.display();
    for (kind, content, expected) in [
        ("hash", "a b\n\nc\n", format!("{path}:3: “c” has no value; write: key value")),
        (
            "cidr",
            "1.2.3 OK\n",
            format!("{path}:1: “1.2.3” is no network such as 192.0.2.0/24 or 2001:db8::/32"),
        ),
        ("pgsql", "hosts = localhost\n", format!("{path}: query is missing")),
        (
            "ldap",
            "search_base = dc=x\nbind = sasl\n",
            format!("{path}: bind: “sasl” is none of yes, no; SASL is not done here"),
        ),
        (
            "sqlite",
            "dbpath = /x\nquery = SELECT '%s'\nfoo = 1\n",
            format!("{path}:3: foo is not known to this kind of table here"),
        ),
    ] {
        std::fs::write(&file, content).unwrap();
        assert_eq!(open(&format!("{kind}:{path}")).err(), Some(expected), "{kind}");
    }
    std::fs::write(folder.path().join("gone.db"), "").unwrap();
    let gone = open(&format!("hash:{}", folder.path().join("gone").display())).err().unwrap();
    assert!(gone.contains("No such file") && gone.contains("gone.db was made from"), "{gone}");
    for (name, part) in [
        ("socketmap:inet:localhost:1:x", "type socketmap are not read here"),
        ("/etc/access", "names no type"),
        ("hash:access", "no absolute path"),
        ("inline:{a}", "is no pair"),
        ("cidr:{ { 1.2.3 OK }", "braces"),
    ] {
        let error = open(name).err().expect(name);
        assert!(error.contains(part), "{name}: {error}");
    }
    let judged =
        Map::open("inline:{a=b}", &Options::default(), |_, key, value| Err(format!("{key} is {value}")));
    assert_eq!(judged.err().as_deref(), Some("a is b"));
}

#[tokio::test]
async fn changed_files_are_read_again_and_bad_ones_are_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("table");
    std::fs::write(&file, "key one\n").unwrap();
    let judge: Judge = |_, _, value| if value == "bad" { Err("bad".into()) } else { Ok(()) };
    let map = Map::open(&format!("hash:{}", file.display()), &Options::default(), judge).unwrap();
    for (content, expected) in [
        (Some("key two two\n"), "two two"),
        (Some("key\n"), "two two"),
        (Some("key bad\n"), "two two"),
        (None, "two two"),
        (Some("# back\nkey three\n"), "three"),
    ] {
        match content {
            Some(content) => std::fs::write(&file, content).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        map.reload();
        assert_eq!(text(&map, "key").await.as_deref(), Some(expected), "{content:?}");
    }
}

#[tokio::test]
async fn a_database_of_sqlite() {
    use sqlx::Connection as _;
    let folder = tempfile::tempdir().unwrap();
    let (file, database) = (folder.path().join("table.cf"), folder.path().join("db"));
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&database).create_if_missing(true);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(
        "CREATE TABLE t (k TEXT, v, n INTEGER); \
         INSERT INTO t VALUES ('a@b', 'one', 7), ('a@b', NULL, 8), ('it''s@b', 'quoted', 9), ('n@b', 5, 10)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let write = |query: &str| {
        std::fs::write(&file, format!("dbpath = {}\nquery = {query}\n", database.display())).unwrap();
    };
    write("SELECT v, n FROM t WHERE k = '%s'");
    let map = open(&format!("sqlite:{}", file.display())).unwrap();
    for (key, expected) in [
        ("A@B", Some("one")),
        ("it's@b", Some("quoted")),
        ("n@b", Some("5")),
        ("' OR '1'='1", None),
        ("none", None),
    ] {
        assert_eq!(text(&map, key).await.as_deref(), expected, "{key}");
    }
    // What was answered is remembered, also that there is nothing.
    sqlx::raw_sql("UPDATE t SET k = 'none' WHERE k = 'n@b'").execute(&mut connection).await.unwrap();
    assert_eq!((text(&map, "n@b").await.as_deref(), text(&map, "none").await), (Some("5"), None));
    // A changed file is another table.
    write("SELECT v FROM t WHERE k = '%s'");
    map.reload();
    assert_eq!((text(&map, "n@b").await, text(&map, "none").await.as_deref()), (None, Some("5")));
    // A statement that the database does not take, or a database that is gone, is a fault.
    write("SELECT nope FROM t WHERE k = '%s'");
    map.reload();
    let why = map.lookup("none").await.unwrap_err().to_string();
    assert!(why.contains("no such column"), "{why}");
    write("SELECT v FROM t WHERE k = '%s'");
    std::fs::remove_file(&database).unwrap();
    map.reload();
    assert!(matches!(map.lookup("none").await, Err(MapError::Failed(_))));
}

#[tokio::test]
async fn servers_that_are_away_are_faults() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("table.cf");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let gone = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    };
    let options = Options { time: Duration::from_secs(1), ..Options::default() };
    for (kind, host, content) in [
        ("pgsql", address, "query = SELECT '%s'\nuser = u\ndbname = d\nhosts = "),
        ("pgsql", gone, "query = SELECT '%s'\nuser = u\ndbname = d\nhosts = "),
        ("mysql", address, "query = SELECT '%s'\nuser = u\ndbname = d\nhosts = "),
        ("mysql", gone, "query = SELECT '%s'\nuser = u\ndbname = d\nhosts = "),
        ("ldap", address, "search_base = dc=x\nserver_host = "),
        ("ldap", gone, "search_base = dc=x\nserver_host = "),
    ] {
        std::fs::write(&file, format!("{content}{host}\n")).unwrap();
        let map = Map::open(&format!("{kind}:{}", file.display()), &options, any).unwrap();
        assert!(map.lookup("a@b").await.is_err(), "{kind} {host}");
    }
}

/// A million lines are one piece of memory and a list.
#[tokio::test]
async fn a_table_of_a_million_lines() {
    let folder = tempfile::tempdir().unwrap();
    let (hash, cidr) = (folder.path().join("hash"), folder.path().join("cidr"));
    let lines: String = (0..1_000_000).rev().map(|n| format!("user{n}@example.org REJECT {n}\n")).collect();
    std::fs::write(&hash, lines).unwrap();
    let lines: String =
        (0_u32..200_000).map(|n| format!("{} OK {n}\n", std::net::Ipv4Addr::from_bits(n * 16))).collect();
    std::fs::write(&cidr, lines).unwrap();
    let map = open(&format!("hash:{}", hash.display())).unwrap();
    for n in [0, 1, 500_000, 999_999] {
        assert_eq!(text(&map, &format!("User{n}@example.org")).await, Some(format!("REJECT {n}")));
    }
    assert_eq!(text(&map, "user@example.org").await, None);
    let map = open(&format!("cidr:{}", cidr.display())).unwrap();
    assert_eq!(text(&map, "0.0.1.0").await.as_deref(), Some("OK 16"));
    assert_eq!(text(&map, "0.0.1.1").await, None);
}

#[tokio::test]
async fn what_is_too_long_is_looked_up_or_a_fault() {
    let judge: Judge = |_, _, _| Ok(());
    let folder = tempfile::tempdir().unwrap();
    let ldap = folder.path().join("ldap.cf");
    std::fs::write(&ldap, "server_host = ldap://127.0.0.1:1\nsearch_base = dc=x\n").unwrap();
    let ldap = format!("ldap:{}", ldap.display());
    for (name, length, expected) in [
        ("pcre:{ {/@bad\\.example$/ REJECT} }", 1100, Some(Some("REJECT"))),
        ("static:OK", 1100, Some(Some("OK"))),
        ("inline:{ a=b }", 1100, Some(None)),
        ("pcre:{ {/@bad\\.example$/ REJECT} }", 20_000, None),
        ("inline:{ a=b }", 20_000, None),
        (ldap.as_str(), 1100, None),
    ] {
        let map = Map::open(name, &Options::default(), judge).unwrap();
        let key = format!("{}@bad.example", "x".repeat(length));
        match (map.lookup(&key).await, expected) {
            (Ok(found), Some(expected)) => {
                assert_eq!(found.as_ref().map(|value| value.text.as_str()), expected, "{name}");
            }
            (Err(MapError::Failed(why)), None) => assert!(why.contains("is longer than"), "{name}: {why}"),
            (other, _) => panic!("{name} {length}: {other:?}"),
        }
    }
}
