//! Programs that behave as scanners do, and a real one.

use super::super::testing;
use super::*;
use crate::config::units::Seconds;

/// In halves, so that no scanner takes this file for the test file.
fn eicar() -> String {
    ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat()
}

fn script(folder: &Path, text: &str) -> String {
    let path = folder.join("scanner");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_string_lossy().into_owned()
}

fn settings(command: &[&str]) -> CommandScanner {
    CommandScanner {
        command: command.iter().map(|word| word.to_string()).collect(),
        infected: vec![1],
        name: Some("^.*?: (.*) FOUND$".into()),
        time: Seconds::new(10),
        ..CommandScanner::default()
    }
}

fn program(settings: &CommandScanner, data: &Path) -> Program {
    let mut problems = Vec::new();
    let program = Program::new("test", settings, data, &testing::outside(), &mut problems);
    assert_eq!(problems, []);
    program
}

fn told(scan: Scan) -> String {
    match scan.fault {
        Some(fault) => format!("{:?}: {}", fault.cause, fault.detail),
        None => scan
            .hits
            .iter()
            .map(|hit| format!("{} in {:?}", hit.name, hit.part.map(|part| part.0)))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// What exit codes and output mean: the first that fits of infected and clean, and everything else is a fault.
#[tokio::test]
async fn exit_codes_and_output_say_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let mail = testing::mail("Subject: a\r\n\r\n", &[("multipart/mixed", ""), ("text/plain", "bad")]);
    for (text, expected) in [
        ("exit 0", ""),
        ("exit 1", "unnamed in None"),
        ("echo \"$1/p001: Worm.A FOUND\"; exit 1", "Worm.A in Some(1)"),
        ("echo \"$1/message: Worm.A FOUND\"; echo \"$1/p001: Worm.A FOUND\"; exit 1", "Worm.A in Some(1)"),
        ("echo \"$1/message: Worm.B FOUND\" >&2; exit 1", "Worm.B in None"),
        ("grep -q bad $1/p001 && test -s $1/message && test ! -e $1/p000 && exit 1", "unnamed in None"),
        ("echo disk full; exit 2", "Unavailable: exit status: 2: disk full"),
        ("kill -9 $$", "Unavailable: signal: 9 (SIGKILL): "),
        ("test -z \"$CARGO_MANIFEST_DIR$USER\" || exit 3", ""),
        ("head -c 3000000 /dev/zero; exit 0", ""),
    ] {
        let path = script(folder.path(), text);
        let program = program(&settings(&[&path, "{}"]), folder.path());
        assert_eq!(told(program.scan(&mail).await), expected, "{text}");
        assert!(program.health().await.state.is_ok());
    }
    assert_eq!(fs::read_dir(folder.path().join("scan")).unwrap().count(), 0, "folders are removed");

    let path = script(folder.path(), "echo result: infected with Worm.C");
    let mut by_output = settings(&[&path, "--all", "{}/*"]);
    by_output.infected_output = Some("^result: infected".into());
    by_output.name = Some("infected with (.+)$".into());
    assert_eq!(told(program(&by_output, folder.path()).scan(&mail).await), "Worm.C in None");
}

/// A scanner that hangs is ended with all that it started, and costs one message its time.
#[tokio::test]
async fn a_scanner_that_hangs_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let path = script(folder.path(), &format!("sleep 300 & echo $! > {}; wait", pid.display()));
    let mut slow = settings(&[&path, "{}"]);
    slow.time = Seconds::new(1);
    let slow = program(&slow, folder.path());
    let mail = testing::mail("Subject: a\r\n\r\n", &[("text/plain", "x")]);
    assert_eq!(told(slow.scan(&mail).await), "Timeout: not done within 1 s");
    let child: i32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    let gone = || match fs::read_to_string(format!("/proc/{child}/stat")) {
        Ok(stat) => stat.contains(") Z "),
        Err(_) => true,
    };
    for _ in 0..100 {
        if gone() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(gone(), "what it started goes on");
    assert_eq!(fs::read_dir(folder.path().join("scan")).unwrap().count(), 0);

    let none = program(&settings(&["/nowhere/scanner", "{}"]), folder.path());
    assert!(told(none.scan(&mail).await).starts_with("Unavailable: /nowhere/scanner: "));
    assert!(none.health().await.state.is_err());
}

#[test]
fn mistakes_are_told() {
    for (change, key, why) in [
        ((|s| s.command.clear()) as fn(&mut CommandScanner), "command", "names no program"),
        (|s| s.command = vec!["/bin/true".into()], "command", "`{}`"),
        (|s| s.infected.clear(), "infected", "exit codes"),
        (|s| s.clean.clear(), "clean", "exit codes"),
        (|s| s.clean.push(1), "clean", "1 means infected already"),
        (|s| s.at_once = 0, "at_once", "at least 1"),
        (|s| s.time = Seconds::new(0), "time", "at least 1"),
        (|s| s.name = Some("(".into()), "name", "regex parse error"),
    ] {
        let mut wrong = settings(&["/bin/true", "{}"]);
        change(&mut wrong);
        let mut problems = Vec::new();
        Program::new("test", &wrong, Path::new("/tmp"), &testing::outside(), &mut problems);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].key, format!("checks.command.test.{key}"));
        assert!(problems[0].message.contains(why), "{}", problems[0].message);
    }
}

/// The real clamscan, as amavis's table has it.
#[tokio::test]
async fn clamscan_is_such_a_scanner() {
    const CLAMSCAN: &str = "/usr/bin/clamscan";
    if !Path::new(CLAMSCAN).exists() {
        println!("skipped: {CLAMSCAN} is not installed (package clamav)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let hex: String = eicar().bytes().map(|byte| format!("{byte:02x}")).collect();
    fs::write(folder.path().join("test.ndb"), format!("Eicar-Test:0:*:{hex}\n")).unwrap();
    let database = format!("--database={}", folder.path().display());
    let mut clamscan = settings(&[CLAMSCAN, "--stdout", "--no-summary", "-r", &database, "{}"]);
    clamscan.time = Seconds::new(60);
    clamscan.name = Some("^.*?: (.*) FOUND$".into());
    let clamscan = program(&clamscan, folder.path());
    let test_file = eicar();
    for (text, expected) in [(test_file.as_str(), "Eicar-Test.UNOFFICIAL in Some(1)"), ("harmless", "")] {
        let mail = testing::mail("Subject: a\r\n\r\n", &[("multipart/mixed", ""), ("text/plain", text)]);
        assert_eq!(told(clamscan.scan(&mail).await), expected);
    }
}

/// The same message is not scanned again, nor another with the same parts if one of them is a virus, until signatures change.
#[tokio::test]
async fn what_was_scanned_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let (runs, signatures) = (folder.path().join("runs"), folder.path().join("signatures"));
    fs::create_dir(&signatures).unwrap();
    let text = format!(
        "echo run >>{}; grep -q fail $1/p001 && exit 7; grep -q worm $1/p002 && echo \"$1/p002: Worm FOUND\" && exit 1; \
         grep -q worm $1/message && echo \"$1/message: Worm FOUND\" && exit 1; exit 0",
        runs.display()
    );
    let path = script(folder.path(), &text);
    let mut settings = settings(&[&path, "{}"]);
    settings.signatures = vec![signatures.clone()];
    let program = program(&settings, folder.path());
    let look = async |subject: &str, parts: [&str; 2]| {
        let all = [("multipart/mixed", ""), ("text/plain", parts[0]), ("text/plain", parts[1])];
        let mail = testing::mail(&format!("Subject: {subject}\r\n\r\n"), &all);
        let said = told(program.scan(&mail).await);
        (said, fs::read_to_string(&runs).unwrap_or_default().lines().count())
    };
    let said = |names: &str, runs: usize| (names.to_owned(), runs);
    let worm = "Worm in Some(2)";
    assert_eq!(look("a", ["text", "a worm"]).await, said(worm, 1));
    assert_eq!(look("a", ["text", "a worm"]).await, said(worm, 1));
    assert_eq!(look("b", ["text", "a worm"]).await, said(worm, 1));
    assert_eq!(look("c", ["other text", "a worm"]).await, said(worm, 2));
    assert_eq!(look("d", ["text", "good"]).await, said("", 3));
    assert_eq!(look("d", ["text", "good"]).await, said("", 3));
    // Clean parts make no clean message.
    assert_eq!(look("worm", ["text", "good"]).await, said("Worm in None", 4));
    for run in [5, 6] {
        assert_eq!(look("e", ["fail", "good"]).await, said("Unavailable: exit status: 7: ", run));
    }
    fs::write(signatures.join("daily.cvd"), "new").unwrap();
    program.reload();
    assert_eq!(look("a", ["text", "a worm"]).await, said(worm, 7));
    program.reload();
    assert_eq!(look("a", ["text", "a worm"]).await, said(worm, 7));
    program.forget();
    assert_eq!(look("a", ["text", "a worm"]).await, said(worm, 8));
}
