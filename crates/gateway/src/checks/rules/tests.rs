//! Mails in, findings out.

use std::fs;
use std::path::Path;

use gatepost_auth::authentication::Authentication;
use gatepost_auth::dns::{DnsError, Lookup, Mx, Resolve, Table};
use gatepost_auth::{dkim, dmarc, spf};
use gatepost_mail::{Address, Budget, Envelope, Limits};
use tokio::sync::watch;

use super::*;
use crate::checks::dnsbl::testing::{resources, with_dns};
use crate::config::Config;

/// A check with these rules and settings of `[checks.rules]`.
fn check(folder: &Path, rules: &str, settings: &str) -> Box<dyn Check> {
    check_with(folder, rules, settings, &resources(&[]))
}

fn check_with(folder: &Path, rules: &str, settings: &str, resources: &Resources) -> Box<dyn Check> {
    fs::write(folder.join("10.cf"), rules).unwrap();
    let text =
        format!("hostname = 'mx.test'\n[checks.rules]\npaths = [{:?}]\n{settings}", folder.to_str().unwrap());
    let config: Config = toml::from_str(&text).expect("well-formed TOML");
    build(&config, resources).unwrap_or_else(|problems| panic!("{problems:?}")).remove(0)
}

/// Counts who waits for an answer, and answers nobody before it is told to.
struct Slow {
    waiting: watch::Sender<usize>,
    answers: watch::Receiver<bool>,
}

/// Somebody who waits; gone when nobody waits for the answer any more.
struct Waits<'a>(&'a Slow);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|waiting| *waiting -= 1);
    }
}

impl Resolve for Slow {
    fn a<'a>(&'a self, name: &'a str) -> Lookup<'a, std::net::Ipv4Addr> {
        Box::pin(async move {
            self.waiting.send_modify(|waiting| *waiting += 1);
            let _waits = Waits(self);
            let _ = self.answers.clone().wait_for(|answers| *answers).await;
            if name.starts_with("listed") { Ok(vec![[127, 0, 0, 2].into()]) } else { Err(DnsError::NoName) }
        })
    }
    fn aaaa<'a>(&'a self, _: &'a str) -> Lookup<'a, std::net::Ipv6Addr> {
        Box::pin(std::future::ready(Err(DnsError::NoName)))
    }
    fn mx<'a>(&'a self, _: &'a str) -> Lookup<'a, Mx> {
        Box::pin(std::future::ready(Err(DnsError::NoName)))
    }
    fn txt<'a>(&'a self, _: &'a str) -> Lookup<'a, String> {
        Box::pin(std::future::ready(Err(DnsError::NoName)))
    }
    fn ptr(&self, _: std::net::IpAddr) -> Lookup<'_, String> {
        Box::pin(std::future::ready(Err(DnsError::NoName)))
    }
}

fn mail(raw: &str) -> Mail {
    let message = Message::read(raw.replace('\n', "\r\n").into(), &mut Budget::new(&Limits::default()));
    let session =
        Session { client: "192.0.2.1".parse().ok(), helo: "helo.test".into(), ..Session::default() };
    let envelope = Envelope { sender: Address::new("sender@out.test"), ..Envelope::default() };
    Mail { session, envelope, message }
}

async fn look(check: &dyn Check, mail: &Mail, known: &Found) -> Found {
    check.on_mail(mail, known).expect("an answer").await.unwrap_or_else(|fault| panic!("{fault:?}"))
}

/// `NAME=points` of all findings.
fn shown(found: &Found) -> String {
    let one = |finding: &Finding| format!("{}={}", finding.symbol, finding.points.unwrap_or_default());
    found.findings.iter().map(one).collect::<Vec<_>>().join(" ")
}

const RULES: &str = r"
body CLICK /click here/i
describe CLICK Asks to click
score CLICK 1.5
body TWICE /cheap/i
tflags TWICE multiple
score TWICE 0.75
header __SUB Subject =~ /offer/
meta BOTH __SUB && CLICK
score BOTH -2.001
body OFF /click/
score OFF 0
";

#[tokio::test]
async fn rules_that_hit_are_findings_with_points_and_what_matched() {
    let folder = tempfile::tempdir().unwrap();
    let check = check(folder.path(), RULES, "");
    let found =
        look(&*check, &mail("Subject: offer\n\nClick here: cheap, cheap, CHEAP\n"), &Found::default()).await;
    let mut told: Vec<_> = found.findings.iter().collect();
    told.sort_by_key(|finding| finding.symbol.clone());
    assert_eq!(
        shown(&told.into_iter().cloned().collect::<Vec<_>>().into()),
        "BOTH=-2.001 CLICK=1.5 TWICE=2.25"
    );
    let click = found.findings.iter().find(|finding| finding.symbol == "CLICK").unwrap();
    assert_eq!(
        (click.evidence.as_str(), click.meaning.as_deref()),
        ("BODY: “Click here”", Some("Asks to click"))
    );
    let twice = found.findings.iter().find(|finding| finding.symbol == "TWICE").unwrap();
    assert!(twice.evidence.ends_with("3 times"), "{}", twice.evidence);
    assert!(found.faults.is_empty());
}

#[tokio::test]
async fn too_large_is_told_and_no_mail_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let check = check(folder.path(), RULES, "max_size = 40");
    let found =
        look(&*check, &mail("Subject: a\n\nclick here and a few bytes more\n"), &Found::default()).await;
    assert_eq!(shown(&found), "RULES_SKIPPED=0.0");
    assert!(found.findings[0].evidence.contains("at most 40"));

    let mut file = mail("");
    file.message = gatepost_unpack::read_file("MZ".into(), Some("a.exe"), &Limits::default());
    assert!(check.on_mail(&file, &Found::default()).is_none());
}

#[tokio::test]
async fn where_it_came_from_is_what_the_session_says() {
    const SEEN: &str = "header SEEN X-Spam-Relays-External =~ /^\\[ ip=192\\.0\\.2\\.1 rdns=name\\.test helo=helo\\.test by=mx\\.test .*envfrom=sender\\@out\\.test/\n\
        header ONCE X-Spam-Relays-External !~ /192\\.0\\.2\\.1.*192\\.0\\.2\\.1/\n\
        header FROM EnvelopeFrom =~ /^sender\\@out\\.test/\n";
    let folder = tempfile::tempdir().unwrap();
    let check = check(folder.path(), SEEN, "");
    let known = Found { client_name: Some("name.test".into()), ..Found::default() };
    let plain = "Subject: a\n\nText\n";
    let received = "Received: from helo.test (name.test [192.0.2.1])\n\tby mx.test (Postfix) with ESMTP id 4\n\t(envelope-from <sender@out.test>); Mon, 2 Mar 2026 10:00:00 +0000\nSubject: a\n\nText\n";
    for (what, raw, via, protocol) in [
        ("from the client itself", plain, Via::Direct, Protocol::Esmtp),
        ("handed on by our mail server", received, Via::Xforward, Protocol::Esmtp),
        ("a pipe behind it", received, Via::Direct, Protocol::Local),
        ("a pipe before it", plain, Via::Direct, Protocol::Local),
    ] {
        let mut mail = mail(raw);
        (mail.session.via, mail.session.protocol) = (via, protocol);
        let mut found: Vec<_> = look(&*check, &mail, &known).await.findings;
        found.sort_by_key(|finding| finding.symbol.clone());
        let names: Vec<_> = found.iter().map(|finding| finding.symbol.as_ref()).collect();
        assert_eq!(names, ["FROM", "ONCE", "SEEN"], "{what}");
    }
}

#[tokio::test]
async fn rules_are_told_what_other_checks_found() {
    const ASKS: &str = "loadplugin Mail::SpamAssassin::Plugin::SPF\nheader SPF_OK eval:check_for_spf_pass()\n\
        header HELO_BAD eval:check_for_spf_helo_fail()\nfull SIGNED eval:check_dkim_signed()\n\
        full GOOD eval:check_dkim_valid()\nheader WANTS eval:check_dmarc_reject()\n";
    let folder = tempfile::tempdir().unwrap();
    let check = check(folder.path(), ASKS, "");
    let spf = |scope, result| spf::Spf {
        scope,
        result,
        ip: "192.0.2.1".parse().unwrap(),
        helo: "helo.test".into(),
        receiver: String::new(),
        bounce: false,
        sender: "sender@out.test".into(),
        domain: "out.test".into(),
        mechanism: None,
        decided_by: None,
        problem: None,
        explanation: None,
        lookups: 0,
        voids: 0,
        trace: Vec::new(),
    };
    let _ = (spf, dkim::Outcome::Pass, dmarc::Outcome::Fail);
    let none = look(&*check, &mail("Subject: a\n\nText\n"), &Found::default()).await;
    assert_eq!(shown(&none), "");
    let authentication = Authentication {
        spf: vec![spf(spf::Scope::Helo, spf::Outcome::Fail), spf(spf::Scope::MailFrom, spf::Outcome::Pass)],
        ..Authentication::default()
    };
    let known = Found { authentication: Some(Arc::new(authentication)), ..Found::default() };
    let found = look(&*check, &mail("Subject: a\n\nText\n"), &known).await;
    let mut names: Vec<_> = found.findings.iter().map(|finding| finding.symbol.as_ref()).collect();
    names.sort_unstable();
    assert_eq!(names, ["HELO_BAD", "SPF_OK"]);
}

#[tokio::test]
async fn a_rule_that_cannot_look_is_a_fault_that_names_it() {
    // Backtracks without end on a text that almost matches.
    const RUNS: &str = "body RUNS_AWAY /(a+)+\\1[yz]/\nbody FINE /text/\nbody BROKEN /(?<n>a)(?&nowhere)/\n";
    let folder = tempfile::tempdir().unwrap();
    let check = check(folder.path(), RUNS, "on_fault = 'defer'");
    let raw = format!("Subject: a\n\ntext {}!\n", "a".repeat(5000));
    let found = look(&*check, &mail(&raw), &Found::default()).await;
    assert!(found.findings.iter().any(|finding| finding.symbol == "FINE"));
    // What is broken never looks; it was told when it was read.
    let faults: Vec<_> = found.faults.iter().map(|fault| (fault.check.as_str(), fault.answer)).collect();
    assert_eq!(faults, [("rules:RUNS_AWAY", OnFault::Defer)]);
}

#[tokio::test]
async fn names_of_rules_are_known_and_follow_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let check = check(folder.path(), RULES, "");
    let (names, change) = check.more_symbols().unwrap();
    assert!(change && names.contains("CLICK") && !names.contains("__SUB"));
    fs::write(folder.path().join("20.cf"), "body NEW /new/\n").unwrap();
    check.reload();
    assert!(check.more_symbols().unwrap().0.contains("NEW"));
    let found = look(&*check, &mail("Subject: a\n\nsomething new\n"), &Found::default()).await;
    assert_eq!(shown(&found), "NEW=1.0");
}

#[test]
fn the_rules_we_bring_are_used_where_no_files_are_named() {
    let config = Config::default();
    let check = build(&config, &resources(&[])).unwrap().remove(0);
    let (names, change) = check.more_symbols().unwrap();
    assert!(!change && names.iter().any(|name| name.starts_with("GP_")));
    // What a policy says of one of them is no slip; of another, it is.
    let policies = |weight: &str| {
        let config: Config = toml::from_str(&format!("default_policy.weights.{weight} = 1")).unwrap();
        let rules = crate::verdict::RuleNames { names: names.clone(), change };
        crate::verdict::Policies::with_rules(&config, [], &rules).map(|policies| policies.doubtful().len())
    };
    assert_eq!(policies("GP_LINK_IP"), Ok(0));
    assert!(policies("GP_LINK_IPP").unwrap_err()[0].message.contains("the nearest is GP_LINK_IP"));
}

const ASKS: &str =
    "util_rb_tld test\nrbl_timeout 60\naskdns LISTED _AUTHORDOMAIN_.bl.test A 127.0.0.2\nbody HERE /text/\n";

/// A check whose name server is slow; how many wait for it; and what has it answer.
fn slow(folder: &Path, settings: &str) -> (Box<dyn Check>, watch::Receiver<usize>, watch::Sender<bool>) {
    let ((waiting, count), (go, answers)) = (watch::channel(0), watch::channel(false));
    let settings = format!("network_time = 60\n{settings}");
    (check_with(folder, ASKS, &settings, &with_dns(Slow { waiting, answers })), count, go)
}

#[tokio::test]
async fn no_thread_waits_for_the_dns() {
    // More than the runtime would have threads for.
    const MANY: usize = 600;
    let folder = tempfile::tempdir().unwrap();
    let (check, mut waiting, go) = slow(folder.path(), "");
    let mails: Vec<Mail> =
        (0..MANY).map(|number| mail(&format!("From: a@listed{number}.test\n\ntext\n"))).collect();
    let known = Found::default();
    let all = futures_util::future::join_all(mails.iter().map(|mail| look(&*check, mail, &known)));
    let others = async {
        // All of them, at once.
        waiting.wait_for(|waiting| *waiting == MANY).await.unwrap();
        // Meanwhile there are threads for others, and a mail that asks nothing passes.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        let found = look(&*check, &mail("Subject: a\n\ntext\n"), &known).await;
        assert_eq!((shown(&found), *waiting.borrow()), ("HERE=1.0".into(), MANY));
        go.send(true).unwrap();
    };
    let (all, ()) = tokio::join!(all, others);
    assert!(all.iter().all(|found| shown(found) == "HERE=1.0 LISTED=1.0" && found.faults.is_empty()));
}

#[tokio::test]
async fn whoever_goes_away_leaves_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let (check, mut waiting, _go) = slow(folder.path(), "");
    let (mail, known) = (mail("From: a@listed.test\n\ntext\n"), Found::default());
    let mut look = Box::pin(look(&*check, &mail, &known));
    tokio::select! {
        _ = &mut look => panic!("there is no answer"),
        waiting = waiting.wait_for(|waiting| *waiting == 1) => assert!(waiting.is_ok()),
    }
    drop(look);
    assert_eq!(*waiting.borrow(), 0);
}

#[test]
fn a_runtime_that_ends_waits_for_none_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let (check, mut waiting, _go) = slow(folder.path(), "");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let looking = runtime.spawn(async move {
        let mail = mail("From: a@listed.test\n\ntext\n");
        look(&*check, &mail, &Found::default()).await
    });
    runtime.block_on(waiting.wait_for(|waiting| *waiting == 1)).unwrap();
    drop(runtime);
    assert_eq!(*waiting.borrow(), 0);
    // It has not come to an end, it was given up.
    assert!(futures_util::FutureExt::now_or_never(looking).unwrap().is_err_and(|why| why.is_cancelled()));
}

#[tokio::test]
async fn texts_of_those_who_wait_are_kept_or_made_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("10.cf"), ASKS).unwrap();
    let rules = Arc::new(Rules::load(&[folder.path().to_owned()], true).unwrap());
    let raw = format!("From: a@listed.test\n\ntext{}\n", " word".repeat(10_000));
    for (most, kept) in [(1000, true), (100, false)] {
        let work = Work {
            rules: rules.clone(),
            message: mail(&raw).message,
            given: Given::default(),
            known: Default::default(),
            time: Duration::from_secs(60),
            kept: None,
        };
        let room = Arc::new(Semaphore::new(most));
        let Step::Asks(work, plan) = work.begin(&room) else { panic!("there is a question") };
        assert_eq!((room.available_permits() < most, work.kept.is_some()), (kept, kept));
        let dns = Table::new("listed.test.bl.test A 127.0.0.2");
        let answers = dns::ask(&dns, *plan, Duration::from_secs(60)).await;
        let looked = work.end(answers);
        assert_eq!(looked.outcome.names(), ["HERE", "LISTED"]);
        assert_eq!(room.available_permits(), most);
    }
}

#[tokio::test]
async fn long_answers_are_evaluated_too() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{}end", "x".repeat(5000));
    let rules = "util_rb_tld test\naskdns LONG _AUTHORDOMAIN_ TXT /xxend$/\n";
    let check = check_with(folder.path(), rules, "", &resources(&[("a.test", &text)]));
    let found = look(&*check, &mail("From: a@a.test\n\ntext\n"), &Found::default()).await;
    assert_eq!(shown(&found), "LONG=1.0");
}
