//! `gatepost rules`: what rules in SpamAssassin's language find, beside SpamAssassin itself.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::rig::*;

/// Rules of each kind that needs no function, as a site writes them.
const RULES: &str = r#"util_rb_tld org ly com
add_header all Status score=_SCORE_ tests=_TESTS(,)_
body LUCKY /you (?:have|'ve) won/i
describe LUCKY You have won
score LUCKY 2.5
header __FROM_TEST From:addr =~ /\@example\.org$/
header TWICE Subject =~ /(\w+) \1/
score TWICE 0.25
uri SHORT m{^https?://bit\.ly/}
score SHORT 1
meta BOTH LUCKY && __FROM_TEST
score BOTH 0.5
rawbody BOLD /<b>/
score BOLD -0.75
header __DATED exists:Date
header NO_DATE Date =~ /^UNSET$/ [if-unset: UNSET]
score NO_DATE 0.1
tflags LUCKY multiple maxhits=2
full CHARSET /charset="?koi8-r/i
score CHARSET 3
mimeheader ZIP Content-Type =~ /name=.*\.zip/i
score ZIP 1.5
"#;

const MAILS: [&str; 5] = [
    "From: A <a@example.org>\nSubject: Hi\nContent-Type: text/html\n\n<p>You have <b>won</b>\n<a href=\"http://bit.ly/x\">this</a>\n",
    "From: A <a@example.com>\nSubject: very very\nDate: Thu, 1 Jan 2026 00:00:00 +0000\n\nYou've won. And you have\nwon again.\n",
    "From: =?utf-8?q?B=C3=A9?= <b@EXAMPLE.org>\nSubject: =?utf-8?b?dmVyeSB2ZXJ5?=\nContent-Type: text/plain; charset=KOI8-R\n\nhttps://bit.ly/abc\n",
    "From: c@example.org\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nyou have won\n--b\nContent-Type: application/zip; name=a.ZIP\n\nPK\n--b--\n",
    "Subject: nothing\nDate: Thu, 1 Jan 2026 00:00:00 +0000\nFrom: d@example.net\n\nNothing here.\n",
];

#[test]
fn rules_hit_as_in_spamassassin() {
    let folder = rules_and_mails();
    let path = |name: &str| folder.path().join(name);
    let word = |name: &str| path(name).to_str().expect("a plain path").to_owned();
    let output = run(&["rules", "hits", "--rules", &word("site"), &word("rules"), &word("mails")], b"");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    let lines: Vec<Vec<&str>> = lines.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines.len(), MAILS.len());
    let found: Vec<(&str, &str)> = lines.iter().map(|line| (line[1], line[2])).collect();
    assert_eq!(found[4], ("0.000", ""));
    assert_eq!(found[1], ("2.750", "LUCKY,TWICE"));
    for (place, line) in lines.iter().enumerate() {
        assert_eq!(line[0], word(&format!("mails/{place}.eml")));
    }
    if !needs(&["spamassassin"]) {
        return;
    }
    for (place, (score, names)) in found.into_iter().enumerate() {
        let (theirs, their_names) = spamassassin(folder.path(), MAILS[place], &["-L"]);
        assert_eq!(names, their_names, "mail {place}");
        let ours: f64 = score.parse().expect("a score");
        assert!((ours - theirs).abs() < 0.06, "mail {place}: {ours}, {theirs}");
    }
}

/// Folders `rules`, `site` with the plugins they need, and `mails`.
fn rules_and_mails() -> tempfile::TempDir {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    for name in ["rules", "site", "mails"] {
        fs::create_dir(path(name)).expect("a folder");
    }
    fs::write(path("rules/10_test.cf"), RULES).expect("rules");
    let plugins =
        ["Check", "MIMEHeader"].map(|name| format!("loadplugin Mail::SpamAssassin::Plugin::{name}\n"));
    fs::write(path("site/init.pre"), plugins.concat()).expect("plugins");
    for (place, mail) in MAILS.iter().enumerate() {
        fs::write(path(&format!("mails/{place}.eml")), mail).expect("a mail");
    }
    folder
}

/// SpamAssassin's score, one decimal, and its rules, each once.
pub fn spamassassin(folder: &Path, mail: &str, options: &[&str]) -> (f64, String) {
    let mut child = Command::new("spamassassin")
        .args(options)
        .args(["-x", "-p", "/dev/null", "-C"])
        .arg(folder.join("rules"))
        .arg(format!("--siteconfigpath={}", folder.join("site").display()))
        .env("HOME", folder)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("spamassassin");
    child.stdin.take().expect("input").write_all(mail.as_bytes()).expect("the mail");
    let output = child.wait_with_output().expect("its end");
    let text = String::from_utf8_lossy(&output.stdout).replace("\n\t", "").replace("\n ", " ");
    let status = text
        .lines()
        .find_map(|line| line.strip_prefix("X-Spam-Status: score="))
        .unwrap_or_else(|| panic!("no status: {text}"));
    let (score, tests) = status.split_once(" tests=").expect("tests");
    let tests = tests.split_whitespace().collect::<String>();
    let mut names: Vec<&str> = tests.split(',').map(str::trim).filter(|name| *name != "none").collect();
    names.sort_unstable();
    names.dedup();
    (score.parse().expect("a score"), names.join(","))
}

/// Without files it says what the rules of our own find.
#[test]
fn rules_of_our_own() {
    let folder = folder();
    let path = folder.path().join("mail.eml");
    let mail = "From: Bank <a@example.org>\nSubject: Hi\n\nhttp://192.0.2.7/login\n";
    fs::write(&path, mail).expect("a mail");
    let output = run(&["rules", "hits", path.to_str().expect("a plain path")], b"");
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0));
    assert!(line.contains("GP_LINK_IP") && line.contains("GP_NO_DATE"), "{line}");
}

#[test]
fn mistakes_in_rules_are_told_with_file_and_line() {
    let folder = folder();
    let file = folder.path().join("a.cf");
    fs::write(&file, "body A /a/\nbody B /(/\nnonsense 1\n").expect("rules");
    let file = file.to_str().expect("a plain path");
    let output = run(&["rules", "lint", "--rules", file], b"");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("(line 2)") && text.contains("(line 3)") && text.contains(file), "{text}");
    let output = run(&["rules", "hits", "--rules", "/nonexistent/rules", "/dev/null"], b"");
    assert_eq!(output.status.code(), Some(75));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent/rules"));
}

/// Both are asked, what SpamAssassin said is kept, and a difference is told.
#[test]
fn compare_runs_spamassassin_beside_ours() {
    if !needs(&["spamassassin"]) {
        return;
    }
    let folder = rules_and_mails();
    let word = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_owned();
    let compare = || {
        let (site, rules, mails, theirs) = (word("site"), word("rules"), word("mails"), word("theirs"));
        let args = [
            "rules",
            "compare",
            "--subrules",
            "--rules",
            &site,
            "--rules",
            &rules,
            "--theirs",
            &theirs,
            &mails,
        ];
        let output = run(&args, b"");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code(), error)
    };
    let (text, status, error) = compare();
    assert_eq!(status, Some(0), "{text}{error}");
    assert!(text.starts_with("5 mails, ") && text.contains(" 100.000 % agree"), "{text}");
    let theirs = fs::read_to_string(word("theirs")).expect("what SpamAssassin said");
    assert_eq!(theirs.lines().count(), MAILS.len());

    // Had it said something else, of one mail:
    let other = theirs.replace("LUCKY,TWICE", "GONE,TWICE");
    fs::write(word("theirs"), other).expect("what SpamAssassin did not say");
    let (text, status, _) = compare();
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("mails/1.eml: +LUCKY -GONE"), "{text}");
    assert!(text.contains("1 missing (-), 1 too many (+)"), "{text}");
}

#[test]
fn without_spamassassin_nothing_can_be_compared() {
    let folder = folder();
    let mail = folder.path().join("mail.eml");
    fs::write(&mail, MAILS[0]).expect("a mail");
    let output = Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .args(["rules", "compare"])
        .arg(&mail)
        .env("PATH", folder.path())
        .output()
        .expect("gatepost");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(75), "{error}");
    assert!(error.contains("perl cannot be started"), "{error}");
}

/// The mails that belong to the rules of our own, as their author tests them.
#[test]
fn rules_of_our_own_pass_their_tests() {
    let mails = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/tests/own");
    let output = run(&["rules", "test", "--every-rule", mails.to_str().expect("a plain path")], b"");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.lines().count() == 1 && text.ends_with(" passed, 0 failed\n"), "{text}");
}

#[test]
fn bench_counts_hits_over_labelled_mail() {
    let folder = rules_and_mails();
    let word = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_owned();
    let (rules, spam, ham) = (word("rules"), word("mails/0.eml"), word("mails/4.eml"));
    let output = run(&["rules", "bench", "--json", "--rules", &rules, "--spam", &spam, "--ham", &ham], b"");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let lucky = &told["rules"].as_array().expect("rules").iter().find(|rule| rule["name"] == "LUCKY");
    let lucky = lucky.expect("a rule that hits");
    assert_eq!((&lucky["spam_percent"], &lucky["ham_percent"]), (&100.0.into(), &0.0.into()));
    assert!(told["dead"].as_array().expect("dead rules").iter().any(|name| name == "TWICE"));
    let output = run(&["rules", "bench", "--rules", &rules], b"");
    assert_eq!(output.status.code(), Some(2), "no mail is named");
}
