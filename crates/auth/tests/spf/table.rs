//! Every mechanism, macro, limit and error, one row each.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::FutureExt;
use gatepost_auth::dns::Table;
use gatepost_auth::spf::{self, Event, Identity, Limits, Outcome, Query, Spf};

/// Names that many rows share; each row adds the record of `d.example`.
const ZONE: &str = "
    d.example A 192.0.2.10
    d.example AAAA 2001:db8::10
    d.example MX 20 mx2.example
    d.example MX 10 mx1.example
    mx1.example A 192.0.2.21
    mx1.example AAAA 2001:db8::21
    mx2.example A 192.0.2.22
    alias.example CNAME mx1.example
    slow.example TIMEOUT
    broken.example FAILED
    loop.example CNAME loop.example
    null.example MX 0 .
    slowmx.example MX 10 mx1.example
    slowmx.example MX 20 slow.example
    pass.example TXT v=spf1 ip4:192.0.2.0/24 -all
    soft.example TXT v=spf1 ~all
    neutral.example TXT v=spf1 ?all
    fail.example TXT v=spf1 -all exp=exp.example
    bad.example TXT v=spf1 foo
    other.example TXT a text of someone else
    two.example TXT v=spf1 -all
    two.example TXT v=spf1 +all
    exp.example TXT %{i} may not send for %{d} (%{s}, %{h}, %{c}, %{r}, %{t}, %{p}, %{v})
    url.example TXT https://www.example/why?s=%{S}&l=%{L}
    long.example TXT 0123456789012345678901234567890123456789012345678901234567890123456789%{l}%{l}%{l}%{l}%{l}%{l}%{l}%{l}%{l}%{l}
    wrong.example TXT %{z}
    10.2.0.192.in-addr.arpa PTR d.example
    21.2.0.192.in-addr.arpa PTR liar.example
    21.2.0.192.in-addr.arpa PTR mx1.example
    22.2.0.192.in-addr.arpa PTR slow.example
    22.2.0.192.in-addr.arpa PTR MX2.example
    23.2.0.192.in-addr.arpa TIMEOUT
    liar.example A 192.0.2.99
    ok.is.example A 127.0.0.2
    a.b.is.example A 127.0.0.2
    b.a.is.example A 127.0.0.2
    c.is.example A 127.0.0.2
    10.2.0.192.in-addr.is.example A 127.0.0.2
    0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.is.example A 127.0.0.2
    d.example.is.example A 127.0.0.2
    mx1.example.is.example A 127.0.0.2
    unknown.is.example A 127.0.0.2
    helo.example.is.example A 127.0.0.2
    %.is.example A 127.0.0.2
    m%c3%bcller.is.example A 127.0.0.2
    ten.example MX 1 m1.is.example
    ten.example MX 2 m2.is.example
    ten.example MX 3 mx1.example
    ten.example MX 4 m4.is.example
    m1.is.example A 198.51.100.1
    second.example MX 10 mx2.example
    second.example MX 20 mx1.example
    m2.is.example A 198.51.100.2
    m4.is.example A 198.51.100.4
    v4only.example A 192.0.2.10
    r1.example TXT v=spf1 redirect=r2.example
    r2.example TXT v=spf1 a -all exp=url.example
    r2.example A 192.0.2.77
    nest.example TXT v=spf1 include:nest.example -all
    mail.xn--mller-kva.example A 192.0.2.10
    xn--mller-kva.example TXT v=spf1 a:mail.%{d} -all
    helo.example TXT v=spf1 ip4:192.0.2.10 -all
";

/// The client of a row, unless it names another.
const CLIENT: &str = "192.0.2.10";

/// Another, that is nowhere in the zone.
const STRANGER: &str = "198.51.100.7 a@d.example";

#[rustfmt::skip]
const ROWS: &[(&str, &str, Outcome, &str)] = {
    use Outcome::*;
    // Record of d.example, "from" or "IP from", result, and what the sentence or the explanation says.
    &[
        // Selection of records and their form.
        ("v=spf1", "", Neutral, "(default)"),
        ("V=SPF1 -ALL", "", Fail, "(-ALL)"),
        ("v=spf1  ip4:192.0.2.10   -all ", "", Pass, "(ip4:192.0.2.10)"),
        ("v=spf10 -all", "", None, "d.example has no SPF record"),
        ("v=spf1\t-all", "", None, "no SPF record"),
        ("v=spf1 a\tmx -all", "", PermError, "“a\u{3f}mx”"),
        ("v=spf1 +all é", "", PermError, "“é”"),
        ("v=spf1 +all moo", "", PermError, "“moo”: there is no such mechanism"),
        ("v=spf1 unknown=%{c}x other.x_y-z=1 -all", "", Fail, "(-all)"),
        ("v=spf1 unknown=%x -all", "", PermError, "“unknown=%x”"),
        ("v=spf1 1x=y -all", "", PermError, "“1x=y”"),
        ("-", "a@two.example", PermError, "two.example has more than one SPF record"),
        ("-", "a@other.example", None, "other.example has no SPF record"),
        ("-", "a@nowhere.example", None, "no such name"),
        ("-", "a@slow.example", TempError, "no name server answered in time"),
        ("-", "a@broken.example", TempError, "SERVFAIL"),
        // Identities.
        ("-", "a@localhost", None, "no full domain"),
        ("-", "a@[192.0.2.10]", None, "is an address"),
        ("-", "a@192.0.2.10", None, "is an address"),
        ("-", "a@b..example", None, "is no name"),
        ("-", "nobody", None, "there is no domain"),
        ("v=spf1 a -all", "a@d.example.", Pass, "domain of a@d.example designates"),
        ("-", "<>", Pass, "domain of postmaster@helo.example designates 192.0.2.10"),
        ("-", "HELO", Pass, "HELO domain helo.example designates 192.0.2.10"),
        ("-", "192.0.2.9 HELO", Fail, "HELO domain helo.example does not designate 192.0.2.9"),
        ("-", "a@müller.example", Pass, "(a:mail.%{d})"),
        ("-", "a@xn--mller-kva.example", Pass, "(a:mail.%{d})"),
        ("v=spf1 exists:%{l}.is.example -all", "@d.example", Fail, "postmaster@d.example"),
        ("v=spf1 exists:%{l}.is.example -all", "\"o\\k\"@d.example", Pass, "exists"),
        ("v=spf1 exists:%{l}.is.example -all", "müller@d.example", Fail, "(-all)"),
        // all, ip4, ip6.
        ("v=spf1 ?all", "", Neutral, "(?all)"),
        ("v=spf1 ~all", "", SoftFail, "(~all)"),
        ("v=spf1 all:x", "", PermError, "all takes no value"),
        ("v=spf1 ip4:192.0.2.0/28 -all", "", Pass, "(ip4:192.0.2.0/28)"),
        ("v=spf1 ip4:192.0.2.0/29 -all", "", Fail, "(-all)"),
        ("v=spf1 ip4:0.0.0.0/0 -all", "", Pass, "(ip4:0.0.0.0/0)"),
        ("v=spf1 ip4:192.0.2.10/33 -all", "", PermError, "“/33” is no prefix length from 0 to 32"),
        ("v=spf1 ip4:192.0.2.10/024 -all", "", PermError, "“/024”"),
        ("v=spf1 ip4:192.0.2.10/+8 -all", "", PermError, "“/+8”"),
        ("v=spf1 ip4:192.0.2.010 -all", "", PermError, "is no IPv4 address"),
        ("v=spf1 ip4 -all", "", PermError, "ip4 needs a colon and a value"),
        ("v=spf1 ip6:2001:db8::/64 -all", "2001:db8::10 a@d.example", Pass, "(ip6:2001:db8::/64)"),
        ("v=spf1 ip6:::/0 -all", "", Fail, "(-all)"),
        ("v=spf1 ip6:::/0 -all", "::ffff:192.0.2.10 a@d.example", Fail, "does not designate 192.0.2.10"),
        ("v=spf1 ip4:192.0.2.10 -all", "::ffff:192.0.2.10 a@d.example", Pass, "designates 192.0.2.10"),
        ("v=spf1 ip6:2001:db8::/129 -all", "", PermError, "from 0 to 128"),
        // a.
        ("v=spf1 a -all", "", Pass, "(a)"),
        ("v=spf1 a -all", "192.0.2.11 a@d.example", Fail, "(-all)"),
        ("v=spf1 a/24 -all", "192.0.2.99 a@d.example", Pass, "(a/24)"),
        ("v=spf1 a//64 -all", "2001:db8::99 a@d.example", Pass, "(a//64)"),
        ("v=spf1 a/0//64 -all", "2001:db9::99 a@d.example", Fail, "(-all)"),
        ("v=spf1 a:alias.example -all", "192.0.2.21 a@d.example", Pass, "(a:alias.example)"),
        ("v=spf1 a:loop.example -all", "", TempError, "loop.example"),
        ("v=spf1 a:slow.example -all", "", TempError, "slow.example"),
        ("v=spf1 a: -all", "", PermError, "there is no domain"),
        ("v=spf1 a/x -all", "", PermError, "“/x” is no prefix length"),
        ("v=spf1 a:192.0.2.10 -all", "", PermError, "ip4 and ip6 take those"),
        ("v=spf1 a:com -all", "", PermError, "does not end in a dot and a top-level domain"),
        ("v=spf1 a:x.example- -all", "", PermError, "top-level"),
        ("v=spf1 a:x..example -all", "", Fail, "(-all)"),
        // mx.
        ("v=spf1 mx -all", "192.0.2.22 a@d.example", Pass, "(mx)"),
        ("v=spf1 mx -all", "2001:db8::21 a@d.example", Pass, "(mx)"),
        ("v=spf1 mx/28 -all", "192.0.2.30 a@d.example", Pass, "(mx/28)"),
        ("v=spf1 mx:mx1.example -all", "192.0.2.21 a@d.example", Fail, "(-all)"),
        ("v=spf1 mx:null.example -all", "", Fail, "(-all)"),
        ("v=spf1 mx:slowmx.example -all", "192.0.2.21 a@d.example", Pass, "(mx:slowmx.example)"),
        ("v=spf1 mx:slowmx.example -all", "", TempError, "look-up of slow.example"),
        // ptr.
        ("v=spf1 ptr -all", "", Pass, "(ptr)"),
        ("v=spf1 ptr:example -all", "", PermError, "top-level"),
        ("v=spf1 ptr:mx2.example -all", "192.0.2.22 a@d.example", Pass, "(ptr:mx2.example)"),
        ("v=spf1 ptr:liar.example -all", "192.0.2.21 a@d.example", Fail, "(-all)"),
        ("v=spf1 ptr:x1.example -all", "192.0.2.21 a@d.example", Fail, "(-all)"),
        ("v=spf1 ptr -all", "192.0.2.23 a@d.example", Fail, "(-all)"),
        ("v=spf1 ptr/24 -all", "", PermError, "ptr needs a colon"),
        // exists.
        ("v=spf1 exists:ok.is.example -all", "2001:db8::10 a@d.example", Pass, "(exists:ok.is.example)"),
        ("v=spf1 exists -all", "", PermError, "exists needs a colon"),
        ("v=spf1 exists:slow.example -all", "", TempError, "slow.example"),
        // include.
        ("v=spf1 include:pass.example -all", "", Pass, "(include:pass.example)"),
        ("v=spf1 ~include:pass.example -all", "", SoftFail, "(~include:pass.example)"),
        ("v=spf1 include:fail.example include:soft.example include:neutral.example -all", "", Fail, "(-all)"),
        ("v=spf1 include:slow.example -all", "", TempError, "slow.example"),
        ("v=spf1 include:bad.example -all", "", PermError, "record of bad.example: “foo”"),
        ("v=spf1 include:other.example -all", "", PermError, "“include:other.example”: other.example has no SPF record"),
        ("v=spf1 include:%{h} -all", "", Pass, "(include:%{h})"),
        ("v=spf1 include:x..example -all", "", PermError, "there can be no such name"),
        // redirect.
        ("v=spf1 redirect=pass.example", "", Pass, "(ip4:192.0.2.0/24 of pass.example)"),
        ("v=spf1 redirect=r1.example", "192.0.2.77 a@d.example", Pass, "(a of r2.example)"),
        ("v=spf1 redirect=fail.example ?all", "", Neutral, "(?all)"),
        ("v=spf1 redirect=other.example", "", PermError, "other.example has no SPF record"),
        ("v=spf1 redirect=%{l}", "ok@d.example", PermError, "ok is no full domain"),
        ("v=spf1 redirect=a.example redirect=b.example", "", PermError, "stands twice"),
        ("v=spf1 -redirect=a.example", "", PermError, "no such mechanism"),
        ("v=spf1 redirect:a.example", "", PermError, "redirect is a modifier"),
        // Macros.
        ("v=spf1 exists:%{ir}.%{v}.is.example -all", "", Pass, "exists"),
        ("v=spf1 exists:%{ir}.%{v}.is.example -all", "2001:db8::10 a@d.example", Pass, "exists"),
        ("v=spf1 exists:%{d}.is.example -all", "", Pass, "exists"),
        ("v=spf1 exists:%{o}.is.example -all", "", Pass, "exists"),
        ("v=spf1 exists:%{h}.is.example -all", "", Pass, "exists"),
        ("v=spf1 exists:%{l-}.is.example -all", "a-b@d.example", Pass, "exists"),
        ("v=spf1 exists:%{lr-}.is.example -all", "a-b@d.example", Pass, "exists"),
        ("v=spf1 exists:%{lR-}.is.example -all", "a-b@d.example", Pass, "exists"),
        ("v=spf1 exists:%{l1-+}.is.example -all", "a-b+c@d.example", Pass, "exists"),
        ("v=spf1 exists:%{l9r+-}.is.example -all", "a+b@d.example", Pass, "exists"),
        ("v=spf1 exists:%{p}.is.example -all", "192.0.2.21 a@d.example", Pass, "exists"),
        ("v=spf1 exists:%{p}.is.example -all", "198.51.100.7 a@d.example", Pass, "exists"),
        ("v=spf1 exists:%{p}.is.example -all", "192.0.2.23 a@d.example", Pass, "exists"),
        ("v=spf1 exists:%%.is.example -all", "", Pass, "exists"),
        ("v=spf1 exists:%{L}.is.example -all", "\"müller\"@d.example", Fail, "(-all)"),
        ("v=spf1 exists:%{l0}.is.example -all", "", PermError, "keeps nothing"),
        ("v=spf1 exists:%{l99999999999999999999999}.is.example -all", "ok@d.example", Pass, "exists"),
        ("v=spf1 exists:%{x}.is.example -all", "", PermError, "“%{x}” is no macro"),
        ("v=spf1 exists:%{l*}.is.example -all", "", PermError, "“%{l*}” is no macro"),
        ("v=spf1 exists:%{}.is.example -all", "", PermError, "“%{}” is no macro"),
        ("v=spf1 exists:%{r}.is.example -all", "", PermError, "for explanations only"),
        ("v=spf1 exists:%{l.is.example -all", "", PermError, "no closing brace"),
        ("v=spf1 exists:%l.is.example -all", "", PermError, "“%” is not followed by"),
        ("v=spf1 exists:x%", "", PermError, "“%” is not followed by"),
        ("v=spf1 exists:%{o}%{o}%{o}%{o}%{o}%{o}%{o}%{o}%{o}%{o}%{o}%{o}%{o}%{o}%{o}%{o}%{o}%{o}%{o}%{o}%{o}%{o}%{o}%{o}%{o}%{o}%{o}%{o}%{o}.is.example -all", "", Pass, "exists"),
        // Explanations.
        ("v=spf1 -all exp=exp.example", "", Fail,
            "192.0.2.10 may not send for d.example (a@d.example, helo.example, 192.0.2.10, mx.example.org, 1700000000, d.example, in-addr)"),
        ("v=spf1 -all exp=exp.example", "2001:db8::1 a@d.example", Fail,
            "2.0.0.1.0.D.B.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1 may not send for d.example (a@d.example, helo.example, 2001:db8::1, mx.example.org, 1700000000, unknown, ip6)"),
        ("v=spf1 -all exp=url.example", "\"a b\"@d.example", Fail, "https://www.example/why?s=a%20b%40d.example&l=a%20b"),
        ("v=spf1 redirect=r2.example", "", Fail, "https://www.example/why?s=a%40d.example&l=a"),
        ("v=spf1 exp=exp.example redirect=two.example", "", PermError, "two.example"),
        ("v=spf1 -include:pass.example exp=url.example", "", Fail, "https://www.example/why?s=a%40d.example&l=a"),
        ("v=spf1 -all exp=exp.example exp=exp.example", "", PermError, "stands twice"),
        ("v=spf1 -all exp=", "", PermError, "there is no domain"),
    ]
};

#[test]
fn rows() {
    for (record, session, result, says) in ROWS {
        let spf = judge(record, session, Limits::default());
        let told = told(&spf);
        assert!(
            spf.result == *result && told.contains(says),
            "{record:?} {session:?}: {}\n{}",
            told,
            trace(&spf)
        );
        assert_eq!(spf.explanation.is_some(), says.contains("why?") || says.contains("may not send"));
        let field = spf.received_spf();
        assert!(
            field.starts_with(result.as_str()) && field.bytes().all(|b| (b' '..=b'~').contains(&b)),
            "{field}"
        );
    }
}

/// Records, a client, the limits; result, look-ups, void look-ups, and what the sentence says.
#[test]
fn limits() {
    let rfc = Limits::default();
    let a10 = format!("v=spf1{} ip4:192.0.2.99 -all", " a".repeat(10));
    let a11 = format!("v=spf1{} ip4:192.0.2.99 -all", " a".repeat(11));
    let p10 = format!("v=spf1{} exists:%{{p}}.x.example ip4:192.0.2.99 -all", " a".repeat(8));
    let p11 = format!("v=spf1{} exists:%{{p}}.x.example ip4:192.0.2.99 -all", " a".repeat(9));
    let three = "v=spf1 a:x.example mx:y.example exists:z.example ip4:192.0.2.99 -all";
    let deep = Limits { lookups: 1_000, ..rfc };
    let rows: &[(&str, &str, Limits, Outcome, u32, u32, &str)] = &[
        (&a10, "192.0.2.99", rfc, Outcome::Pass, 10, 0, "(ip4:192.0.2.99)"),
        (&a11, "192.0.2.99", rfc, Outcome::PermError, 11, 0, "more than 10 terms ask name servers"),
        (&a11, "192.0.2.99", Limits { lookups: 11, ..rfc }, Outcome::Pass, 11, 0, "(ip4:192.0.2.99)"),
        (&a10, "192.0.2.99", Limits { lookups: 0, ..rfc }, Outcome::PermError, 1, 0, "more than 0"),
        // The name of the client is asked for once, and counts.
        (&p10, "192.0.2.99", rfc, Outcome::Pass, 10, 2, "(ip4:192.0.2.99)"),
        (&p11, "192.0.2.99", rfc, Outcome::PermError, 11, 1, "more than 10"),
        ("v=spf1 redirect=d.example", "192.0.2.99", rfc, Outcome::PermError, 11, 0, "more than 10"),
        ("v=spf1 include:nest.example", "192.0.2.99", rfc, Outcome::PermError, 11, 0, "more than 10"),
        ("v=spf1 include:nest.example", "192.0.2.99", deep, Outcome::PermError, 21, 0, "within each other"),
        (
            three,
            "192.0.2.99",
            rfc,
            Outcome::PermError,
            3,
            3,
            "more than 2 terms whose look-ups found nothing",
        ),
        (three, "192.0.2.99", Limits { voids: 3, ..rfc }, Outcome::Pass, 3, 3, "(ip4:192.0.2.99)"),
        (three, "192.0.2.99", Limits { voids: 0, ..rfc }, Outcome::PermError, 1, 1, "more than 0"),
        // A term counts once, however many of its names are void, and what matches ends well.
        ("v=spf1 mx:d.example a:v4only.example", "2001:db8::9", rfc, Outcome::Neutral, 2, 2, "default"),
        (
            "v=spf1 mx:d.example",
            "2001:db8::21",
            Limits { voids: 0, ..rfc },
            Outcome::Pass,
            1,
            0,
            "(mx:d.example)",
        ),
        ("v=spf1 mx:second.example", "2001:db8::21", Limits { voids: 0, ..rfc }, Outcome::Pass, 1, 1, "(mx"),
        (
            "v=spf1 mx:null.example -all",
            "192.0.2.99",
            Limits { voids: 0, ..rfc },
            Outcome::Fail,
            1,
            0,
            "(-all)",
        ),
        // An explanation counts nowhere.
        (
            "v=spf1 a:x.example a:y.example -all exp=z.example",
            "192.0.2.99",
            rfc,
            Outcome::Fail,
            2,
            2,
            "(-all)",
        ),
        ("v=spf1 mx:ten.example -all", "192.0.2.21", Limits { mx: 4, ..rfc }, Outcome::Pass, 1, 0, "(mx"),
        ("v=spf1 mx:ten.example -all", "192.0.2.99", Limits { mx: 4, ..rfc }, Outcome::Fail, 1, 0, "(-all)"),
        (
            "v=spf1 mx:ten.example -all",
            "192.0.2.99",
            Limits { mx: 3, ..rfc },
            Outcome::PermError,
            1,
            0,
            "more than 3 exchangers",
        ),
        ("v=spf1 mx:ten.example -all", "192.0.2.21", Limits { mx: 3, ..rfc }, Outcome::Pass, 1, 0, "(mx"),
        ("v=spf1 ptr:mx1.example -all", "192.0.2.21", Limits { ptr: 2, ..rfc }, Outcome::Pass, 1, 0, "(ptr"),
        (
            "v=spf1 ptr:mx1.example -all",
            "192.0.2.21",
            Limits { ptr: 1, ..rfc },
            Outcome::Fail,
            1,
            0,
            "(-all)",
        ),
    ];
    for (record, ip, limits, result, lookups, voids, says) in rows {
        let spf = judge(record, &format!("{ip} a@d.example"), *limits);
        let counted = (spf.result, spf.lookups, spf.voids);
        assert_eq!(counted, (*result, *lookups, *voids), "{record} {ip}\n{}", trace(&spf));
        assert!(told(&spf).contains(says), "{record}: {}", spf.sentence());
    }
}

/// Explanations that are not given, and how they are kept in bounds; the result stays.
#[test]
fn explanations() {
    for (record, expected) in [
        ("v=spf1 -all exp=wrong.example", None),
        ("v=spf1 -all exp=huge.example", None),
        ("v=spf1 -all exp=two.example", None),
        ("v=spf1 -all exp=slow.example", None),
        ("v=spf1 -all exp=nowhere.example", None),
        ("v=spf1 -all exp=x..example", None),
        ("v=spf1 -include:fail.example -all", None),
        ("v=spf1 ~all exp=exp.example", None),
        ("v=spf1 -all exp=other.example", Some("a text of someone else".to_owned())),
    ] {
        let spf = judge(record, "", Limits::default());
        assert_eq!(spf.explanation, expected, "{record}\n{}", trace(&spf));
    }
    let spf = judge(
        "v=spf1 -all exp=long.example",
        &format!("{}@d.example", "\r\ném".repeat(99)),
        Limits::default(),
    );
    let text = spf.explanation.expect("an explanation");
    assert_eq!(text.len(), 400);
    assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b)), "{text}");
}

/// Of several confirmed names the domain itself is taken, then one in it, then the first (RFC 7208 section 7.3).
#[test]
fn names_of_the_client() {
    for (names, expected) in [
        ("zz.example sub.d.example D.example", "D.example"),
        ("zz.example sub.d.example", "sub.d.example"),
        ("zz.example yy.example", "zz.example"),
        ("liar.example yy.example", "yy.example"),
        ("liar.example slow.example loop.example", "unknown"),
    ] {
        let mut table = Table::new(ZONE);
        for name in names.split(' ') {
            table.add(&format!("40.2.0.192.in-addr.arpa PTR {name}."));
        }
        for line in
            ["zz A 192.0.2.40", "sub.d A 192.0.2.40", "d A 192.0.2.40", "yy A 192.0.2.40", "p TXT %{p}"]
        {
            let (name, data) = line.split_once(' ').unwrap();
            table.add(&format!("{name}.example {data}"));
        }
        table.add("d.example TXT v=spf1 -all exp=p.example");
        let query = query("192.0.2.40".parse().unwrap(), Identity::MailFrom("a@d.example"));
        let spf = spf::check(&table, &query).now_or_never().expect("no look-up waits");
        assert_eq!(spf.explanation.as_deref(), Some(expected), "{}", trace(&spf));
        assert_eq!((spf.lookups, spf.voids), (0, 0));
    }
}

/// An administrator reads how it came about.
#[test]
fn the_trace_tells_everything() {
    let spf = judge("v=spf1 a:x.example include:fail.example ip4:192.0.2.0/29 -all", "", Limits::default());
    let expected = "\
TXT d.example: “v=spf1 a:x.example include:fail.example ip4:192.0.2.0/29 -all”
record of d.example: v=spf1 a:x.example include:fail.example ip4:192.0.2.0/29 -all
a:x.example asks for x.example: look-up 1 of 10
A x.example: no such name
a:x.example does not match: 192.0.2.10 is not among the addresses of x.example
nothing found: void look-up 1 of 2
include:fail.example asks for fail.example: look-up 2 of 10
  TXT fail.example: “v=spf1 -all exp=exp.example”
  record of fail.example: v=spf1 -all exp=exp.example
  -all matches: it always does
include:fail.example does not match: fail.example says fail
ip4:192.0.2.0/29 does not match: 192.0.2.10 is not in 192.0.2.0/29
-all matches: it always does
";
    assert_eq!(trace(&spf), expected);

    let spf = judge("v=spf1 include:pass.example a:slow.example -all", STRANGER, Limits::default());
    let expected = "\
A slow.example: no name server answered in time
temperror: look-up of slow.example: no name server answered in time
";
    assert!(trace(&spf).ends_with(expected), "{}", trace(&spf));

    // A record as long as they get is not told to its end, but judged to its end.
    let spf = judge(&format!("v=spf1{} -all", " ip4:198.51.100.1".repeat(3_000)), "", Limits::default());
    assert_eq!((spf.result, spf.trace.len()), (Outcome::Fail, 500));
    assert!(matches!(&spf.trace[499].event, Event::Note(_)));
    let size: usize = spf.trace.iter().map(|step| step.to_string().len()).sum();
    assert!(size < 100_000, "{size}");
}

#[test]
fn fields() {
    let rows = [
        (
            "v=spf1 a -all",
            "a@d.example",
            "pass (mx.example.org: domain of a@d.example designates 192.0.2.10 as permitted sender: a) \
             client-ip=192.0.2.10; envelope-from=\"a@d.example\"; helo=helo.example; identity=mailfrom; \
             receiver=mx.example.org; mechanism=a",
            ("smtp.mailfrom", "a@d.example"),
        ),
        (
            "-",
            "2001:db8::1 <>",
            "fail (mx.example.org: domain of postmaster@helo.example does not designate 2001:db8::1 as permitted \
             sender: -all) client-ip=\"2001:db8::1\"; envelope-from=\"\"; helo=helo.example; \
             identity=mailfrom; receiver=mx.example.org; mechanism=-all",
            ("smtp.mailfrom", "helo.example"),
        ),
        (
            "-",
            "HELO",
            "pass (mx.example.org: HELO domain helo.example designates 192.0.2.10 as permitted sender: \
             ip4:192.0.2.10) client-ip=192.0.2.10; helo=helo.example; identity=helo; \
             receiver=mx.example.org; mechanism=\"ip4:192.0.2.10\"",
            ("smtp.helo", "helo.example"),
        ),
        (
            "v=spf1 (x)",
            "\"a\\\"\r\né(\"@d.example",
            "permerror (mx.example.org: permanent error in processing domain of \"a\\\\\"???\\(\"@d.example: record of \
             d.example: '\\(x\\)': there is no such mechanism) client-ip=192.0.2.10; \
             envelope-from=\"\\\"a\\\\\\\"???(\\\"@d.example\"; helo=helo.example; identity=mailfrom; \
             receiver=mx.example.org; problem=\"record of d.example: '(x)': there is no such mechanism\"",
            ("smtp.mailfrom", "\"a\\\"\r\né(\"@d.example"),
        ),
    ];
    for (record, session, field, property) in rows {
        let spf = judge(record, session, Limits::default());
        assert_eq!(spf.received_spf(), field);
        assert_eq!(spf.property(), property);
    }
}

/// The caller's clock ends it, with all that is known by then. A missing explanation changes no result.
#[test]
fn deadlines() {
    for (record, result, says) in [
        ("v=spf1 a a:hang.example -all", Outcome::TempError, "not done within 20 s"),
        ("v=spf1 include:hang.example -all", Outcome::TempError, "not done within 20 s"),
        ("v=spf1 -all exp=hang.example", Outcome::Fail, "does not designate"),
        ("v=spf1 a -all", Outcome::Fail, "does not designate"),
    ] {
        let mut table = Table::new(ZONE);
        table.add("hang.example HANG");
        table.add(&format!("d.example TXT {record}"));
        let query = query("192.0.2.99".parse().unwrap(), Identity::MailFrom("a@d.example"));
        let limit = Duration::from_secs(20);
        let spf =
            spf::check_until(&table, &query, limit, std::future::ready(())).now_or_never().expect("an end");
        assert_eq!(spf.result, result, "{record}");
        assert!(spf.sentence().contains(says), "{}", spf.sentence());
        assert!(spf.trace.len() >= 2, "{}", trace(&spf));
        let late = Spf::late(&query, limit);
        assert_eq!((late.result, late.domain.as_str()), (Outcome::TempError, "d.example"));
    }
}

/// `session` is a sender, or an address and a sender; `<>` and `HELO` are the empty sender and the other identity.
fn judge(record: &str, session: &str, limits: Limits) -> Spf {
    let mut table = Table::new(ZONE);
    table.add(&format!("d.example TXT {record}"));
    table.add(&format!("huge.example TXT {}", "%{s}".repeat(6_000)));
    // What is left of a name that is too long.
    table.add(&format!("{}example.is.example A 127.0.0.2", "exampled.".repeat(26)));
    let (ip, from) = match session.split_once(' ') {
        Some((ip, from)) if ip.parse::<IpAddr>().is_ok() => (ip, from),
        _ => (CLIENT, session),
    };
    let identity = match from {
        "" => Identity::MailFrom("a@d.example"),
        "<>" => Identity::MailFrom(""),
        "HELO" => Identity::Helo,
        from => Identity::MailFrom(from),
    };
    let query = Query { limits, ..query(ip.parse().expect("an address"), identity) };
    spf::check(&table, &query).now_or_never().expect("no look-up waits")
}

fn query(ip: IpAddr, identity: Identity<'_>) -> Query<'_> {
    Query {
        ip,
        helo: "helo.example",
        identity,
        receiver: "mx.example.org",
        now: 1_700_000_000,
        limits: Limits::default(),
    }
}

/// The sentence, the term in parentheses, and the explanation.
fn told(spf: &Spf) -> String {
    let by = match (&spf.mechanism, &spf.decided_by) {
        (Some(term), Some(domain)) if *domain != spf.domain => format!("({term} of {domain})"),
        (Some(term), _) => format!("({term})"),
        (None, _) => String::new(),
    };
    format!("{}\n{by}\n{}", spf.sentence(), spf.explanation.as_deref().unwrap_or_default())
}

fn trace(spf: &Spf) -> String {
    spf.trace.iter().map(|step| format!("{step}\n")).collect()
}
