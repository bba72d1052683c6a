//! `Authentication-Results`: as others write it, as forgers do, and as we do.

use gatepost_auth::results::{Entry, Property, Results, must_go, parse, parse_arc};
use proptest::prelude::*;

/// A reading on one line: `id | method=result (comment) {reason} kind.name=value …`.
fn told(results: &Results) -> String {
    let mut text = results.id.clone();
    for entry in &results.entries {
        text += &format!(" | {}={}", entry.method, entry.result);
        if !entry.comment.is_empty() {
            text += &format!(" ({})", entry.comment);
        }
        if !entry.reason.is_empty() {
            text += &format!(" {{{}}}", entry.reason);
        }
        for Property { kind, name, value } in &entry.properties {
            text += &format!(" {kind}.{name}={value}");
        }
    }
    text
}

/// The examples of RFC 8601 appendix B, and of the forms in use.
#[test]
fn as_others_write_it() {
    for (value, want) in [
        (" example.org 1; none", "example.org"),
        ("example.org; none ;", "example.org"),
        (
            " example.com;\r\n          spf=pass smtp.mailfrom=example.net",
            "example.com | spf=pass smtp.mailfrom=example.net",
        ),
        (
            " example.com;\r\n auth=pass (cram-md5) smtp.auth=sender@example.net;\r\n spf=pass smtp.mailfrom=example.net",
            "example.com | auth=pass (cram-md5) smtp.auth=sender@example.net | spf=pass smtp.mailfrom=example.net",
        ),
        (
            " foo.example.net (foobar) 1 (baz);\r\n dkim (Because I like it) / 1 (One yay) = (wait for it) fail\r\n policy (A dot can go here) . (like that) expired\r\n (this surprised me) = (as I wasn't expecting it) 1362471462",
            "foo.example.net | dkim=fail (A dot can go here) policy.expired=1362471462",
        ),
        (
            " example.com;\r\n dkim=pass reason=\"good signature\"\r\n header.i=@mail-router.example.net; dkim=fail reason=\"bad signature\" header.i=@newyork.example.com",
            "example.com | dkim=pass {good signature} header.i=@mail-router.example.net | dkim=fail {bad signature} header.i=@newyork.example.com",
        ),
        (
            "mx.google.com;\n dkim=pass header.i=@x.example header.s=20230601 header.b=\"aB+c/d=\";\n spf=pass (google.com: domain of a@x.example designates 192.0.2.1 as permitted sender) smtp.mailfrom=a@x.example;\n dmarc=pass (p=NONE sp=NONE dis=NONE) header.from=x.example",
            "mx.google.com | dkim=pass header.i=@x.example header.s=20230601 header.b=aB+c/d= | spf=pass (google.com: domain of a@x.example designates 192.0.2.1 as permitted sender) smtp.mailfrom=a@x.example | dmarc=pass (p=NONE sp=NONE dis=NONE) header.from=x.example",
        ),
        (
            "spf=pass (sender IP is 192.0.2.1) smtp.mailfrom=x.example; dkim=none (message not signed) header.d=none;dmarc=bestguesspass action=none header.from=x.example;compauth=pass reason=109",
            "",
        ),
        ("gw; spf=pass smtp.mailfrom=\"a b\"@x.example", "gw | spf=pass smtp.mailfrom=a b@x.example"),
        ("gw; spf=pass smtp.mailfrom=\"a\\\"b\"@x.example", "gw | spf=pass smtp.mailfrom=a\"b@x.example"),
        ("\"gw.example\" 1; dkim=pass header.b=aB/c+1==", "gw.example | dkim=pass header.b=aB/c+1=="),
        ("gw 2; spf=pass", ""),
        ("gw", "gw"),
        ("", ""),
        ("; spf=pass", ""),
        ("gw; spf", ""),
        ("gw; spf=", ""),
        ("gw; spf=pass smtp", ""),
        ("gw; spf=pass smtp.", ""),
        ("gw; spf=pass (open", ""),
        ("gw; spf=pass reason=\"open", ""),
    ] {
        let got = parse(value.as_bytes()).map(|results| told(&results)).unwrap_or_default();
        assert_eq!(got, want, "{value}");
    }
    let (instance, results) = parse_arc(b" i=2; gw.example; spf=pass smtp.mailfrom=x.example").unwrap();
    assert_eq!((instance, told(&results).as_str()), (2, "gw.example | spf=pass smtp.mailfrom=x.example"));
    for bad in ["gw; none", "i=0; gw; none", "i=51; gw; none", "i=x; gw; none", "i=1 gw; none", ""] {
        assert!(parse_arc(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn what_must_go() {
    let ids = ["gw.example.org", "bücher.example"];
    for (value, goes) in [
        ("gw.example.org; none", true),
        (" GW.Example.ORG 1; dkim=pass header.d=x.example", true),
        ("gw.example.org.; none", true),
        ("\"gw.example.org\"; none", true),
        ("\"gw.\\example.org\"; none", true),
        ("(x) gw.example.org (y); none", true),
        ("gw.example.org/1; none", true),
        ("gw(x).example.org; none", true),
        ("gw .example.org; none", true),
        ("gw.exa\0mple.org; none", true),
        ("\r\n\tgw.example.org\r\n\t; none", true),
        ("=?utf-8?q?gw.example.org?=; none", true),
        ("gw.example.org\t1; none", true),
        ("gw.example.org\r\n\t1; none", true),
        ("gw.example.org\tdkim=pass", true),
        ("x.example\tgw.example.org; none", true),
        ("gw(x).example.org 1; none", true),
        ("gw (x) .\texample.org\x0b1; none", true),
        ("=?utf-8?q?gw.example.org?=\t1; none", true),
        ("BÜCHER.example; none", true),
        ("x.example gw.example.org; none", true),
        ("x.example (gw.example.org); none", true),
        ("gw.example.org", true),
        ("gw.example.org dkim=pass", true),
        ("\"gw.example.org; dkim=pass", true),
        ("(gw.example.org; dkim=pass", true),
        ("(;) gw.example.org; dkim=pass", true),
        ("\";\" gw.example.org; dkim=pass", true),
        ("", true),
        (" ; dkim=pass", true),
        ("(); dkim=pass", true),
        ("x.example; none", false),
        ("x.example; spf=pass smtp.helo=gw.example.org", false),
        ("x.example; spf=pass (gw.example.org: ok)", false),
        ("mx.gw.example.org; none", false),
        ("gw.example.org.attack.example; none", false),
        ("gw.example.organisation; none", false),
        ("xgw.example.org; none", false),
        ("other-gw.example.org; none", false),
    ] {
        assert_eq!(must_go(value.as_bytes(), ids), goes, "{value:?}");
    }
    assert!(!must_go(b"gw.example.org; none", []));
    assert!(!must_go(b"x.example; none", [""]));
    let long = format!("x.example{}; none", " ".repeat(70_000));
    assert!(must_go(long.as_bytes(), ids));
    assert!(!must_go(long.as_bytes(), []));
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{0,40}", "[a-z.@;=()\"\\\\ \r\n\t\0]{0,30}", "[a-z]{1,8}@[a-z]{1,8}\\.example"]
}

fn entry() -> impl Strategy<Value = Entry> {
    let property = ("[a-z]{1,8}", "[a-z-]{1,12}", text());
    let properties = prop::collection::vec(property, 0..5);
    ("[a-z]{1,8}", "[a-z]{1,9}", text(), text(), properties).prop_map(
        |(method, result, comment, reason, properties)| {
            let entry = Entry::new(&method, &result).noting(&comment).because(&reason);
            properties.iter().fold(entry, |entry, (kind, name, value)| entry.with(kind, name, value))
        },
    )
}

/// What is left of a text that is quoted.
fn ascii(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect()
}

proptest! {
    /// Whatever stands in the results, the same results are read again, and nothing more.
    #[test]
    fn what_is_written_is_read(id in "[a-z]{1,10}\\.example", entries in prop::collection::vec(entry(), 0..6)) {
        let mut results = Results { id, entries };
        let value = results.value();
        let field = format!("Authentication-Results: {value}");
        for line in field.split("\r\n") {
            prop_assert!(line.len() < 998 && line.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)), "{line:?}");
        }
        prop_assert!(value.split("\r\n").skip(1).all(|line| line.starts_with('\t') && !line.trim().is_empty()));
        let mut again = parse(value.as_bytes()).unwrap();
        let (instance, in_arc) = parse_arc(results.arc_value(7).as_bytes()).unwrap();
        prop_assert_eq!(instance, 7);
        prop_assert_eq!(&in_arc, &again);
        for entry in results.entries.iter_mut().chain(&mut again.entries) {
            entry.comment.clear();
            entry.reason = ascii(&entry.reason);
            entry.properties.iter_mut().for_each(|property| property.value = ascii(&property.value));
        }
        // `none` alone says that nothing was done.
        prop_assert_eq!(results, again);
    }

    #[test]
    fn reading_never_panics(value: Vec<u8>, text in "[a-z=.;()\"\\\\/ \r\n1]{0,60}") {
        for value in [&value[..], text.as_bytes()] {
            let _ = (parse(value), parse_arc(value), must_go(value, ["gw.example"]));
        }
    }

    /// A forger's field that is read as ours is one that goes.
    #[test]
    fn what_is_read_as_ours_goes(noise in "[ (]{0,3}[a-z\"\\\\]{0,3}[) ]{0,3}", case in "gw\\.example|GW\\.EXAMPLE|\"gw\\.example\"") {
        let value = format!("{noise}{case}; dkim=pass");
        if parse(value.as_bytes()).is_ok_and(|results| results.id.eq_ignore_ascii_case("gw.example")) {
            prop_assert!(must_go(value.as_bytes(), ["gw.example"]), "{value:?}");
        }
    }
}

/// What SPF, DKIM and DMARC found, as it stands in the field and as DMARC takes it.
#[test]
fn what_was_found() {
    use futures_util::FutureExt;
    use gatepost_auth::dmarc::{Authors, Identifier, Proof, Query as Question, evaluate};
    use gatepost_auth::dns::Table;
    use gatepost_auth::report::SpfResult;
    use gatepost_auth::spf::{Identity, Limits, Query, check};
    let dns = Table::new(
        "example.com TXT v=spf1 ip4:192.0.2.1 -all\nh.example TXT v=spf1 -all\n_dmarc.example.com TXT v=DMARC1; p=reject; t=y",
    );
    let spf = |identity, ip: &str| {
        let query = Query {
            ip: ip.parse().unwrap(),
            helo: "h.example",
            identity,
            receiver: "gw.example",
            limits: Limits::default(),
            now: 0,
        };
        check(&dns, &query).now_or_never().unwrap()
    };
    for (identity, ip, entry, proof) in [
        (
            Identity::MailFrom("a@example.com"),
            "192.0.2.1",
            "spf=pass smtp.mailfrom=a@example.com",
            Proof::Pass,
        ),
        (
            Identity::MailFrom("a@example.com"),
            "192.0.2.2",
            "spf=fail smtp.mailfrom=a@example.com",
            Proof::Fail,
        ),
        (Identity::MailFrom(""), "192.0.2.1", "spf=fail smtp.helo=h.example", Proof::Fail),
        (Identity::Helo, "192.0.2.1", "spf=fail smtp.helo=h.example", Proof::Fail),
    ] {
        let spf = spf(identity, ip);
        let results = Results { id: "gw".into(), entries: vec![Entry::from(&spf)] };
        assert_eq!(results.value(), format!("gw;\r\n\t{entry}"));
        assert_eq!(Identifier::from(&spf).proof, proof);
        assert_eq!(SpfResult::from(&spf).scope.is_some(), identity != Identity::Helo);
    }
    let authors = Authors::of_values([&b"a@example.com"[..]]);
    let passed = [Identifier::from(&spf(Identity::MailFrom("a@example.com"), "192.0.2.1"))];
    for (spf, want) in [
        (&passed[..], "dmarc=pass (p=reject) header.from=example.com policy.dmarc=none"),
        (&[], "dmarc=fail (p=reject) header.from=example.com policy.dmarc=quarantine"),
    ] {
        let query = Question { authors: &authors, spf, dkim: &[], draw: None, guard: true };
        let dmarc = evaluate(&dns, &query).now_or_never().unwrap();
        let results = Results { id: "gw".into(), entries: vec![Entry::dmarc(&dmarc)] };
        assert_eq!(results.value().replace("\r\n\t", " "), format!("gw; {want}"));
    }
}
