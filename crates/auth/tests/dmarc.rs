//! DMARC: a row for each row of RFC 9989's tables and examples, the traps of public suffixes, and the mails of the
//! spoofing attacks that are known as the espoofer cases.

use futures_util::FutureExt;
use gatepost_auth::dmarc::{
    Authors, Dmarc, Identifier, Method, Mode, Problem, Proof, Query, Softened, evaluate,
};
use gatepost_auth::dns::Table;

/// Zones that most cases share; `*` in a case adds none of its own.
const ZONES: &str = "
    example.com A 192.0.2.1
    news.example.com A 192.0.2.1
    foo.example.com A 192.0.2.1
    _dmarc.example.com TXT v=DMARC1; p=reject
    _dmarc.example.net TXT v=DMARC1; p=reject
";

/// `pass:example.com` and the like, separated by blanks.
fn identifiers(text: &str) -> Vec<Identifier> {
    let one = |word: &str| {
        let (proof, domain) = word.split_once(':').expect("PROOF:DOMAIN");
        let proof = match proof {
            "pass" => Proof::Pass,
            "fail" => Proof::Fail,
            "temperror" => Proof::TempError,
            _ => panic!("{proof} is no proof"),
        };
        Identifier { domain: domain.to_owned(), proof }
    };
    text.split_whitespace().map(one).collect()
}

fn judge(zones: &str, authors: &Authors, spf: &str, dkim: &str, guard: bool, draw: Option<&str>) -> Dmarc {
    let (spf, dkim) = (identifiers(spf), identifiers(dkim));
    let query = Query { authors, spf: &spf, dkim: &dkim, draw, guard };
    evaluate(&Table::new(zones), &query).now_or_never().expect("a table answers at once")
}

/// What stands in a row: `RESULT POLICY TAG POLICY-DOMAIN ALIGNED…`, with `-` for nothing.
fn row(dmarc: &Dmarc) -> String {
    let tag = if dmarc.published.is_some() { dmarc.tag.name() } else { "-" };
    let mut text = format!(
        "{} {} {tag} {}",
        dmarc.result.name(),
        dmarc.policy,
        dmarc.policy_domain.as_deref().unwrap_or("-")
    );
    for aligned in &dmarc.aligned {
        text += match (aligned.method, aligned.mode) {
            (Method::Spf, Mode::Strict) => " spf-s",
            (Method::Spf, Mode::Relaxed) => " spf-r",
            (Method::Dkim, Mode::Strict) => " dkim-s",
            (Method::Dkim, Mode::Relaxed) => " dkim-r",
        };
    }
    text
}

/// Zones, author, SPF, DKIM, and the row that comes of it.
type Case<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str);

fn all_are(cases: &[Case<'_>]) {
    for (zones, from, spf, dkim, want) in cases {
        let authors = Authors::of_values([format!("<a@{from}>").as_bytes()]);
        let dmarc = judge(zones, &authors, spf, dkim, false, None);
        assert_eq!(row(&dmarc), *want, "{from} spf {spf} dkim {dkim} with {zones}\n{dmarc:#?}");
        assert!(!dmarc.why.is_empty(), "{dmarc:?}");
    }
}

/// RFC 9989 table 1 (section 4.4) and the examples of appendices B.1 and B.1.2.
#[test]
fn alignment() {
    let strict = "_dmarc.example.com TXT v=DMARC1; p=reject; adkim=s; aspf=s";
    all_are(&[
        (ZONES, "news.example.com", "", "pass:foo.example.com", "pass none p example.com dkim-r"),
        (ZONES, "news.example.com", "", "pass:news.example.com", "pass none p example.com dkim-s"),
        (ZONES, "news.example.com", "", "pass:foo.example.net", "fail reject p example.com"),
        (ZONES, "example.com", "pass:example.com", "", "pass none p example.com spf-s"),
        (ZONES, "example.com", "pass:child.example.com", "", "pass none p example.com spf-r"),
        (ZONES, "child.example.com", "pass:example.net", "", "fail reject p example.com"),
        (ZONES, "example.com", "", "pass:example.com", "pass none p example.com dkim-s"),
        (ZONES, "child.example.com", "", "pass:example.com", "pass none p example.com dkim-r"),
        (ZONES, "child.example.com", "", "pass:example.net", "fail reject p example.com"),
        (
            ZONES,
            "Example.COM",
            "pass:EXAMPLE.com",
            "pass:Foo.Example.Com",
            "pass none p example.com spf-s dkim-r",
        ),
        (ZONES, "example.com", "fail:example.com", "fail:example.com", "fail reject p example.com"),
        (ZONES, "example.com", "", "", "fail reject p example.com"),
        (ZONES, "badexample.com", "", "pass:example.com", "none none - -"),
        (ZONES, "example.com", "", "pass:badexample.com", "fail reject p example.com"),
        (
            strict,
            "example.com",
            "pass:child.example.com",
            "pass:child.example.com",
            "fail reject p example.com",
        ),
        (
            strict,
            "example.com",
            "pass:example.com",
            "pass:child.example.com",
            "pass none p example.com spf-s",
        ),
        (
            strict,
            "child.example.com",
            "pass:example.com",
            "pass:child.example.com",
            "pass none p example.com dkim-s",
        ),
        (
            "_dmarc.example.com TXT v=DMARC1; p=reject; adkim=s",
            "example.com",
            "pass:a.example.com",
            "pass:a.example.com",
            "pass none p example.com spf-r",
        ),
        (
            "_dmarc.example.com TXT v=DMARC1; p=reject; aspf=s",
            "example.com",
            "pass:a.example.com",
            "pass:a.example.com",
            "pass none p example.com dkim-r",
        ),
    ]);
}

/// RFC 9989 section 9.2: each result, and RFC 9989 section 4.10.1 on errors of look-ups.
#[test]
fn results() {
    all_are(&[
        (ZONES, "example.com", "", "pass:example.com", "pass none p example.com dkim-s"),
        (ZONES, "example.com", "", "", "fail reject p example.com"),
        ("example.org A 192.0.2.1", "example.org", "pass:example.org", "", "none none - -"),
        ("_dmarc.example.org TXT v=spf1 -all", "example.org", "pass:example.org", "", "none none - -"),
        (
            "_dmarc.example.org TXT v=DMARC1; p=bogus",
            "example.org",
            "pass:example.org",
            "",
            "permerror none - example.org",
        ),
        (
            "_dmarc.example.org TXT v=DMARC1; p=bogus; rua=mailto:a@example.org",
            "example.org",
            "",
            "",
            "fail none p example.org",
        ),
        (
            "_dmarc.example.org TXT v=DMARC1\n_dmarc.example.org TXT v=DMARC1; p=reject",
            "example.org",
            "",
            "",
            "none none - -",
        ),
        (
            "_dmarc.example.org TXT hello\n_dmarc.example.org TXT v=DMARC1; p=reject",
            "example.org",
            "",
            "",
            "fail reject p example.org",
        ),
        ("_dmarc.example.org TIMEOUT", "example.org", "pass:example.org", "", "temperror none - -"),
        ("_dmarc.example.org FAILED", "example.org", "pass:example.org", "", "temperror none - -"),
        // The author's record is there, and whether it is one organization's is not known …
        (
            "_dmarc.a.example.org TXT v=DMARC1; p=reject\n_dmarc.example.org TIMEOUT",
            "a.example.org",
            "",
            "pass:b.example.org",
            "temperror none p a.example.org",
        ),
        // … which does not matter where something else proves it,
        (
            "_dmarc.a.example.org TXT v=DMARC1; p=reject\n_dmarc.example.org TIMEOUT",
            "a.example.org",
            "pass:a.example.org",
            "pass:b.example.org",
            "pass none p a.example.org spf-s",
        ),
        // or nothing can.
        (
            "_dmarc.a.example.org TXT v=DMARC1; p=reject\n_dmarc.example.org TIMEOUT",
            "a.example.org",
            "",
            "pass:b.example",
            "fail reject p a.example.org",
        ),
        // A public suffix whose servers fail takes nobody's policy away.
        (
            "_dmarc.example.org TXT v=DMARC1; p=reject\n_dmarc.org FAILED",
            "a.example.org",
            "",
            "pass:b.example.org",
            "pass none p example.org dkim-r",
        ),
        ("_dmarc.org FAILED", "a.example.org", "", "pass:b.example.org", "temperror none - -"),
        // SPF or DKIM could not be checked this time: it counts where it would have been aligned.
        (ZONES, "example.com", "temperror:a.example.com", "", "temperror none p example.com"),
        (ZONES, "example.com", "", "temperror:example.com", "temperror none p example.com"),
        (ZONES, "example.com", "", "temperror:example.net", "fail reject p example.com"),
        (ZONES, "example.com", "temperror:example.com", "pass:example.com", "pass none p example.com dkim-s"),
        // What is no domain is aligned with none.
        (
            ZONES,
            "example.com",
            "pass:example.com'a.example.net",
            "pass:example.com(.example.net",
            "fail reject p example.com",
        ),
        (ZONES, "example.com", "pass:", "pass:.", "fail reject p example.com"),
    ]);
}

/// `p`, `sp`, `np` by who asks: RFC 9989 section 4.7 and section 4.10.1.
#[test]
fn which_tag() {
    let zone = |tags: &str| {
        format!(
            "example.com A 192.0.2.1\na.example.com A 192.0.2.1\nempty.example.com TXT x\n_dmarc.example.com TXT v=DMARC1; {tags}"
        )
    };
    for (tags, own, below, absent) in [
        ("p=reject", "reject p", "reject p", "reject p"),
        ("p=none; sp=reject", "none p", "reject sp", "reject sp"),
        ("p=none; np=reject", "none p", "none p", "reject np"),
        ("p=none; sp=quarantine; np=reject", "none p", "quarantine sp", "reject np"),
        ("p=reject; sp=none; np=none", "reject p", "none sp", "none np"),
        ("sp=quarantine", "none p", "quarantine sp", "quarantine sp"),
    ] {
        for (from, want) in [
            ("example.com", own),
            ("a.example.com", below),
            ("empty.example.com", below),
            ("x.example.com", absent),
        ] {
            all_are(&[(&zone(tags), from, "", "", &format!("fail {want} example.com"))]);
        }
    }
    let unsure = format!("{}\nx.example.com TIMEOUT", zone("p=none; np=reject"));
    all_are(&[
        (&unsure, "x.example.com", "", "", "temperror none np example.com"),
        (&unsure, "x.example.com", "", "pass:example.com", "pass none p example.com dkim-r"),
        // A record on the way up that is not the organizational domain's is nobody's but its own.
        (
            "_dmarc.b.example.com TXT v=DMARC1; p=reject; sp=reject\n_dmarc.example.com TXT v=DMARC1; p=none",
            "a.b.example.com",
            "",
            "",
            "fail none p example.com",
        ),
    ]);
}

/// `t=` (RFC 9989 section 4.7) and the historic `pct=` (RFC 7489 section 6.6.4).
#[test]
fn testing_and_drawing() {
    let of = |tags: &str, draw: Option<&str>| {
        let zones = format!("_dmarc.example.com TXT v=DMARC1; {tags}");
        let authors = Authors::of_values([&b"a@example.com"[..]]);
        let dmarc = judge(&zones, &authors, "", "", false, draw);
        (dmarc.policy.name(), dmarc.softened)
    };
    let testing = Some(Softened::Testing);
    for (tags, want) in [
        ("p=reject; t=y", ("quarantine", testing)),
        ("p=quarantine; t=y", ("none", testing)),
        ("p=none; t=y", ("none", None)),
        ("p=reject; t=n", ("reject", None)),
        ("p=reject; pct=0", ("reject", None)),
        ("p=reject; pct=0; t=y", ("quarantine", testing)),
    ] {
        assert_eq!(of(tags, None), want, "{tags}");
    }
    for seed in ["a", "b", "c"] {
        assert_eq!(of("p=reject; pct=0", Some(seed)), ("quarantine", Some(Softened::NotDrawn)));
        assert_eq!(of("p=quarantine; pct=0", Some(seed)), ("none", Some(Softened::NotDrawn)));
        assert_eq!(of("p=reject; pct=100", Some(seed)), ("reject", None));
        assert_eq!(of("p=reject; pct=50", Some(seed)), of("p=reject; pct=50", Some(seed)));
    }
    let drawn = (0..1000).filter(|n| of("p=reject; pct=30", Some(&n.to_string())).0 == "reject").count();
    assert!((240..360).contains(&drawn), "{drawn}");
}

/// RFC 9989 appendix B.4, and what section 4.10 says in its text.
#[test]
fn walks_of_the_rfc() {
    let simple = "_dmarc.example.com TXT v=DMARC1; p=reject\n_dmarc.signing.example.com TXT v=DMARC1; p=none";
    let bank = "_dmarc.bank.example TXT v=DMARC1; p=reject; psd=y\n_dmarc.giant.bank.example TXT v=DMARC1; p=quarantine";
    let n = "_dmarc.mail.example.com TXT v=DMARC1; p=reject; psd=n\n_dmarc.example.com TXT v=DMARC1; p=none";
    let suffix = "_dmarc.com TXT v=DMARC1; p=quarantine; psd=y; np=reject\na.mail.example.com A 192.0.2.1";
    all_are(&[
        (
            simple,
            "example.com",
            "pass:example.com",
            "pass:signing.example.com",
            "pass none p example.com spf-s dkim-r",
        ),
        (
            simple,
            "a.b.c.d.e.f.g.h.i.j.k.example.com",
            "pass:example.com",
            "pass:signing.example.com",
            "pass none p example.com spf-r dkim-r",
        ),
        (
            bank,
            "giant.bank.example",
            "pass:mail.giant.bank.example",
            "pass:mail.mega.bank.example",
            "pass none p giant.bank.example spf-r",
        ),
        (
            bank,
            "giant.bank.example",
            "",
            "pass:mail.mega.bank.example",
            "fail quarantine p giant.bank.example",
        ),
        // Nobody at the organizational domain: the suffix's policy.
        (bank, "mega.bank.example", "", "", "fail reject p bank.example"),
        (bank, "mega.bank.example", "", "pass:a.mega.bank.example", "pass none p bank.example dkim-r"),
        (bank, "bank.example", "", "", "fail reject p bank.example"),
        (bank, "bank.example", "", "pass:giant.bank.example", "fail reject p bank.example"),
        (bank, "a.bank.example", "", "pass:bank.example", "fail reject p bank.example"),
        (n, "a.mail.example.com", "", "pass:b.mail.example.com", "pass none p mail.example.com dkim-r"),
        (n, "a.mail.example.com", "", "pass:b.example.com", "fail reject p mail.example.com"),
        (n, "example.com", "", "pass:mail.example.com", "fail none p example.com"),
        (suffix, "a.mail.example.com", "", "pass:b.example.com", "pass none p com dkim-r"),
        (suffix, "a.mail.example.com", "", "pass:b.example2.com", "fail quarantine p com"),
        (suffix, "nobody.com", "", "", "fail reject np com"),
    ]);
}

/// At most eight look-ups for a name, however long, and none twice.
#[test]
fn walks_are_bounded() {
    let long = vec!["a"; 100].join(".") + ".example.com";
    let authors = Authors::of_values([format!("a@{long}").as_bytes()]);
    let dmarc = judge("", &authors, "", &format!("pass:b.{long}"), false, None);
    assert_eq!((dmarc.result.name(), dmarc.trace.len()), ("none", 8));
    // Dozens of signatures cost eight walks, of which what they share is asked for once.
    let many: String = (0..64).map(|n| format!("pass:a.b.c.d.e.f.g.h{n}.example.com ")).collect();
    let authors = Authors::of_values([&b"a@example.com"[..]]);
    let dmarc = judge("_dmarc.example.com TXT v=DMARC1; p=reject", &authors, "", &many, false, None);
    assert!(dmarc.trace.len() <= 8 * 8, "{}", dmarc.trace.len());
    assert!(dmarc.is_aligned(Method::Dkim));
    // Those of other organizations cost none, so they keep nobody from being compared.
    let others: String = (0..20).map(|n| format!("pass:a{n}.other{n}.com ")).collect();
    let dkim = others + "pass:b.example.com";
    let dmarc = judge("_dmarc.example.com TXT v=DMARC1; p=reject", &authors, "", &dkim, false, None);
    assert!(dmarc.is_aligned(Method::Dkim), "{dmarc:?}");
}

/// Names near public suffixes; with the guard, a suffix is one whether its record says so or not.
#[test]
fn public_suffixes() {
    // A suffix with a record of RFC 7489's time: by the walk it is the organizational domain of all below it.
    let old = "_dmarc.co.uk TXT v=DMARC1; p=quarantine\n_dmarc.victim.co.uk TXT v=DMARC1; p=reject";
    let new = "_dmarc.co.uk TXT v=DMARC1; p=quarantine; psd=y\n_dmarc.victim.co.uk TXT v=DMARC1; p=reject";
    let private = "_dmarc.github.io TXT v=DMARC1; p=reject";
    let none = "_dmarc.victim.co.uk TXT v=DMARC1; p=reject";
    let upper = "_dmarc.victim.co.uk TXT v=DMARC1; p=reject\n_dmarc.uk TXT v=DMARC1; p=none";
    for (zones, from, dkim, walk, guarded) in [
        (
            old,
            "victim.co.uk",
            "pass:attacker.co.uk",
            "pass none p victim.co.uk dkim-r",
            "fail reject p victim.co.uk",
        ),
        (
            new,
            "victim.co.uk",
            "pass:attacker.co.uk",
            "fail reject p victim.co.uk",
            "fail reject p victim.co.uk",
        ),
        (
            none,
            "victim.co.uk",
            "pass:attacker.co.uk",
            "fail reject p victim.co.uk",
            "fail reject p victim.co.uk",
        ),
        (none, "victim.co.uk", "pass:co.uk", "fail reject p victim.co.uk", "fail reject p victim.co.uk"),
        (
            upper,
            "victim.co.uk",
            "pass:attacker.co.uk",
            "pass none p victim.co.uk dkim-r",
            "fail reject p victim.co.uk",
        ),
        (old, "co.uk", "pass:co.uk", "pass none p co.uk dkim-s", "pass none p co.uk dkim-s"),
        (old, "co.uk", "", "fail quarantine p co.uk", "fail quarantine p co.uk"),
        (old, "other.co.uk", "", "fail quarantine p co.uk", "fail quarantine p co.uk"),
        (
            private,
            "a.github.io",
            "pass:b.github.io",
            "pass none p github.io dkim-r",
            "fail reject p github.io",
        ),
        (
            private,
            "a.github.io",
            "pass:x.a.github.io",
            "pass none p github.io dkim-r",
            "pass none p github.io dkim-r",
        ),
        (
            private,
            "github.io",
            "pass:github.io",
            "pass none p github.io dkim-s",
            "pass none p github.io dkim-s",
        ),
    ] {
        let authors = Authors::of_values([format!("a@{from}").as_bytes()]);
        for (guard, want) in [(false, walk), (true, guarded)] {
            let dmarc = judge(zones, &authors, "", dkim, guard, None);
            assert_eq!(row(&dmarc), want, "{from} {dkim} guard {guard}\n{dmarc:#?}");
            if walk != guarded {
                assert!(dmarc.notes.iter().any(|note| note.contains("public suffix list")), "{dmarc:#?}");
            }
        }
    }
}

/// Mails of the kinds that are known from the paper "Composition kills" (USENIX Security 2020), where the attacker holds
/// attack.example and its keys, and writes as legitimate.example, which asks for rejection. `spf` and `dkim` are what a
/// careless check might claim: whatever it claims of something that is no domain must prove nothing.
#[test]
fn spoofed_mails() {
    const ZONES: &str = "
        _dmarc.legitimate.example TXT v=DMARC1; p=reject
        legitimate.example A 192.0.2.1
        attack.example A 192.0.2.2
    ";
    type Spoof = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static [Problem]);
    let cases: &[Spoof] = &[
        // A name below the victim's that does not exist has no SPF, and proves nothing.
        (
            "server a1",
            "From: <admin@legitimate.example>",
            "fail:mailfrom.notexist.legitimate.example",
            "",
            "fail reject",
            &[],
        ),
        // MAIL FROM that is no address: SPF was checked for HELO.
        ("server a2", "From: <admin@legitimate.example>", "pass:attack.example", "", "fail reject", &[]),
        // A selector with NUL: the signature is for the victim, its key the attacker's. DKIM refuses such selectors.
        (
            "server a3",
            "From: <admin@legitimate.example>",
            "pass:33.attack.example",
            "fail:legitimate.example",
            "fail reject",
            &[],
        ),
        (
            "server a3, NUL in d=",
            "From: <admin@legitimate.example>",
            "",
            "pass:legitimate.example\0.attack.example",
            "fail reject",
            &[],
        ),
        (
            "server a4",
            "From: <admin@legitimate.example>",
            "pass:attack.example",
            "pass:legitimate.example'a.attack.example",
            "fail reject",
            &[],
        ),
        (
            "server a5",
            "From: <admin@legitimate.example>",
            "pass:legitimate.example(a.attack.example",
            "",
            "fail reject",
            &[],
        ),
        ("server a6", "From: <admin@legitimate.example>", "pass:any.attack.example", "", "fail reject", &[]),
        ("server a7", "From: <admin@legitimate.example>", "pass:attack.example", "", "fail reject", &[]),
        (
            "server a8",
            "From: <first@attack.example>\r\nFrom: <admin@legitimate.example>",
            "pass:attack.example",
            "pass:attack.example",
            "fail reject",
            &[Problem::SeveralFields, Problem::SeveralAddresses],
        ),
        (
            "server a9",
            " From: <first@attack.example>\r\nFrom: <admin@legitimate.example>",
            "pass:attack.example",
            "pass:attack.example",
            "fail reject",
            &[Problem::HiddenName, Problem::SeveralFields, Problem::SeveralAddresses],
        ),
        (
            "server a10",
            "From: <first@attack.example>\r\nFrom : <admin@legitimate.example>",
            "pass:attack.example",
            "pass:attack.example",
            "fail reject",
            &[Problem::HiddenName, Problem::SeveralFields, Problem::SeveralAddresses],
        ),
        (
            "server a11",
            "From\r\n : <first@attack.example>\r\nFrom: <admin@legitimate.example>",
            "pass:attack.example",
            "pass:attack.example",
            "fail reject",
            &[Problem::HiddenName, Problem::SeveralFields, Problem::SeveralAddresses],
        ),
        // There is no From but the hidden one. Sender and Resent-From are nobody's identity: that some client shows them
        // is told by the problem, on which policy may act.
        (
            "server a12",
            "From\r\n : <first@attack.example>\r\nSender: <admin@legitimate.example>",
            "pass:attack.example",
            "",
            "none none",
            &[Problem::HiddenName],
        ),
        (
            "server a13",
            "From\r\n : <first@attack.example>\r\nResent-From: <admin@legitimate.example>",
            "pass:attack.example",
            "",
            "none none",
            &[Problem::HiddenName],
        ),
        (
            "server a14",
            "From: <first@attack.example>, <admin@legitimate.example>\r\nSender: <s@sender.legitimate.example>",
            "pass:attack.example",
            "pass:attack.example",
            "fail reject",
            &[Problem::SeveralAddresses],
        ),
        (
            "server a15",
            "From:=?utf-8?B?PGFkbWluQGxlZ2l0aW1hdGUuZXhhbXBsZT4=?=,<second@attack.example>",
            "pass:attack.example",
            "pass:attack.example",
            "fail reject",
            &[Problem::EncodedAddress, Problem::SeveralAddresses],
        ),
        (
            "server a16",
            "From: <@attack.example,@any.example:admin@legitimate.example>",
            "pass:attack.example",
            "pass:attack.example",
            "fail reject",
            &[Problem::Route],
        ),
        (
            "server a17",
            "From: <admin@legitimate.example>\\,<second@attack.example>",
            "pass:attack.example",
            "pass:attack.example",
            "fail reject",
            &[Problem::Unbalanced, Problem::Junk, Problem::SeveralAddresses],
        ),
        (
            "server a18",
            "From: admin@legitimate.example,<second@attack.example>",
            "pass:attack.example",
            "pass:attack.example",
            "fail reject",
            &[Problem::SeveralAddresses],
        ),
        (
            "server a19",
            "From: <any@attack.example>admin@legitimate.example",
            "pass:attack.example",
            "pass:attack.example",
            "fail reject",
            &[Problem::Junk, Problem::SeveralAddresses],
        ),
        // An account at the victim's own provider, which signs what its users write: DMARC passes and must, for the
        // domain is right. That there are several authors is told, and whether a user may write as another is for the
        // provider to ask.
        (
            "client a1",
            "From: <attacker@legitimate.example>\r\nFrom: <admin@legitimate.example>",
            "pass:legitimate.example",
            "pass:legitimate.example",
            "pass none",
            &[Problem::SeveralFields, Problem::SeveralAddresses],
        ),
        (
            "client a2",
            "From: <attacker@legitimate.example>, <admin@legitimate.example>",
            "pass:legitimate.example",
            "pass:legitimate.example",
            "pass none",
            &[Problem::SeveralAddresses],
        ),
        (
            "client a3",
            "From: <admin@legitimate.example>",
            "pass:legitimate.example",
            "pass:legitimate.example",
            "pass none",
            &[],
        ),
    ];
    for (name, header, spf, dkim, want, problems) in cases {
        let mail = format!("{header}\r\nTo: <victim@victim.example>\r\nSubject: {name}\r\n\r\nHi\r\n");
        let authors = Authors::of_header(mail.as_bytes());
        let dmarc = judge(ZONES, &authors, spf, dkim, true, None);
        assert_eq!(format!("{} {}", dmarc.result.name(), dmarc.policy), *want, "{name}: {dmarc:#?}");
        assert_eq!(authors.problems, *problems, "{name}");
    }
}

/// RFC 9989 section 10.5 and RFC 7489 section 6.6.1: each author domain is judged, and the strictest failure stands.
#[test]
fn several_author_domains() {
    let zones = "_dmarc.r.example TXT v=DMARC1; p=reject\n_dmarc.q.example TXT v=DMARC1; p=quarantine\n\
                 _dmarc.n.example TXT v=DMARC1; p=none\n_dmarc.slow.example TIMEOUT";
    for (from, dkim, want) in [
        ("a@q.example, b@r.example", "", "r.example fail reject"),
        ("a@r.example, b@q.example", "pass:r.example", "q.example fail quarantine"),
        ("a@r.example, b@q.example", "pass:r.example pass:q.example", "r.example pass none"),
        ("a@r.example, b@other.example", "pass:r.example", "other.example none none"),
        ("a@n.example, b@slow.example", "", "slow.example temperror none"),
        ("a@q.example, b@slow.example", "", "q.example fail quarantine"),
        ("nobody:;", "", " permerror none"),
        ("", "", " permerror none"),
        ("root", "", " permerror none"),
    ] {
        let authors = Authors::of_values([from.as_bytes()]);
        let dmarc = judge(zones, &authors, "", dkim, false, None);
        assert_eq!(
            format!("{} {} {}", dmarc.domain, dmarc.result.name(), dmarc.policy),
            want,
            "{from}: {dmarc:#?}"
        );
    }
    // More than are judged: what was not judged cannot pass, and what failed stands.
    let many: String = (0..20).map(|n| format!("a@d{n}.example, ")).collect();
    for (from, want) in [(many.clone(), "permerror none"), (format!("a@r.example, {many}"), "fail reject")] {
        let dmarc = judge(zones, &Authors::of_values([from.as_bytes()]), "", "", false, None);
        assert_eq!(format!("{} {}", dmarc.result.name(), dmarc.policy), want);
        assert_eq!(dmarc.crowded, want.starts_with("permerror"));
    }
}

/// Whether a look-up that failed leaves a policy in doubt that asks for something.
#[test]
fn doubt() {
    for (record, dkim, doubt) in [
        ("p=reject", "temperror:example.com", true),
        ("p=reject", "temperror:a.example.com", true),
        ("p=quarantine", "temperror:example.com", true),
        ("p=quarantine; t=y", "temperror:example.com", false),
        ("p=none", "temperror:example.com", false),
        ("p=reject", "temperror:example.com pass:example.com", false),
        ("p=reject", "temperror:example.net", false),
    ] {
        let zones = format!("_dmarc.example.com TXT v=DMARC1; {record}");
        let authors = Authors::of_values([&b"a@example.com"[..]]);
        assert_eq!(judge(&zones, &authors, "", dkim, false, None).is_in_doubt(), doubt, "{record} {dkim}");
    }
    // What cannot be looked up at all hides neither such a doubt nor authors that nobody looks at.
    let zones = "_dmarc.slow.example TIMEOUT\n_dmarc.r.example TXT v=DMARC1; p=reject";
    let authors = Authors::of_values([&b"a@slow.example, b@r.example"[..]]);
    assert!(judge(zones, &authors, "", "temperror:r.example", false, None).is_in_doubt());
    let many: String = (0..20).map(|n| format!("a@d{n}.example, ")).collect();
    let authors = Authors::of_values([format!("a@slow.example, {many}").as_bytes()]);
    assert!(judge(zones, &authors, "", "", false, None).crowded);
    assert!(!judge(zones, &Authors::of_values([&b"a@slow.example"[..]]), "", "", false, None).is_in_doubt());
}

/// Unicode and ASCII forms of a domain are one.
#[test]
fn labels_of_both_kinds() {
    let zones = "_dmarc.xn--mller-kva.example TXT v=DMARC1; p=reject";
    all_are(&[
        (
            zones,
            "müller.example",
            "pass:xn--mller-kva.example",
            "",
            "pass none p xn--mller-kva.example spf-s",
        ),
        (
            zones,
            "xn--mller-kva.example",
            "",
            "pass:a.MÜLLER.example",
            "pass none p xn--mller-kva.example dkim-r",
        ),
    ]);
}
