//! Questions of messages, and what answers mean.

use std::collections::BTreeSet;

use gatepost_mail::{Budget, Limits, Message};

use super::*;
use crate::conf::{Options, Reader};
use crate::engine::{self, Engine};
use crate::evals::{Native, Patterns};
use crate::report::Report;
use crate::subject::text_settings;
use crate::texts::Given;

const PLUGINS: [&str; 7] = ["ASN", "AskDNS", "Check", "DNSEval", "HashBL", "URIDNSBL", "URILocalBL"];

const MAIL: &str = "Return-Path: <joe@mail.example.com>\n\
    Received: from relay.example.net (relay.example.net [203.0.113.9]) by mx.example.org with ESMTP id 1; \
    Thu, 1 Jan 2026 00:00:02 +0000\n\
    Received: from [198.51.100.7] (helo=home.example.com) by relay.example.net with ESMTP id 2; \
    Thu, 1 Jan 2026 00:00:01 +0000\n\
    From: Joe <joe@www.example.co.uk>\n\
    Reply-To: <j.o.e+tag@freemail.com>\n\
    X-Id: 1234567890\n\
    To: <me@example.org>\n\
    Subject: a test\n\
    MIME-Version: 1.0\n\
    Content-Type: multipart/mixed; boundary=b\n\n\
    --b\nContent-Type: text/html\n\n\
    <a href=\"http://shop.listed.com/x\">Look</a> <a href=\"http://192.0.2.44/\">here</a>\n\
    <a href=\"http://good.example.net/\">there</a> code 12345 write to jane@freemail.com\n\
    --b\nContent-Type: application/zip; name=a.zip\nContent-Transfer-Encoding: base64\n\nUEsDBA==\n--b--\n";

fn rules(conf: &str) -> RuleSet {
    let mut reader = Reader::new(Options::default());
    let plugins = PLUGINS.map(|name| format!("loadplugin Mail::SpamAssassin::Plugin::{name}\n")).concat();
    let text =
        format!("{plugins}util_rb_tld com org net uk\nutil_rb_2tld co.uk\ntrusted_networks 10/8\n{conf}");
    reader.read("t.cf", text.as_bytes(), &mut |_| Err(String::new()));
    let set = reader.finish();
    assert_eq!(set.warnings, [], "{conf}");
    set
}

/// A zone: `name KIND data`, `name CODE` or `name SOA primary`, a line each.
fn reply(zone: &str, query: &Query) -> Option<Reply> {
    let mut reply = Reply::default();
    let mut known = false;
    for line in zone.lines() {
        let mut words = line.trim().splitn(3, ' ');
        let (name, kind, data) = (words.next()?, words.next().unwrap_or(""), words.next().unwrap_or(""));
        if name != query.name {
            continue;
        }
        known = true;
        match (kind, Kind::parse(kind)) {
            ("SILENT", _) => return None,
            ("SOA", _) => reply.primary = Some(data.into()),
            (_, Some(kind)) if kind == query.kind || kind.name() == "CNAME" => {
                let data = match kind {
                    Kind::A => Data::Address(data.parse().unwrap()),
                    Kind::TXT => Data::Strings(data.split('+').map(String::from).collect()),
                    _ => Data::Text(data.into()),
                };
                reply.records.push(Record { kind, data });
            }
            (_, Some(_)) => {}
            (code, None) => reply.code = subtest::code(code).unwrap(),
        }
    }
    if !known {
        reply.code = 3;
    }
    Some(reply)
}

struct Said {
    hits: String,
    asked: BTreeSet<String>,
    answers: Answers,
}

fn run_with(conf: &str, mail: &str, zone: &str, known: &Known) -> Said {
    let set = rules(conf);
    let settings = text_settings(&set.settings);
    let message = Message::read(mail.to_string().into(), &mut Budget::new(&Limits::default()));
    let texts = Texts::new(&message, Given::default(), &settings);
    let net = Net::new(&set, ScoreSet { net: true, bayes: false });
    assert_eq!(net.problems(), []);
    let mut plan = net.plan(&texts, known);
    let mut asked = BTreeSet::new();
    loop {
        let due = plan.due();
        if due.is_empty() {
            break;
        }
        // The last first: the order does not matter.
        for (number, query) in due.into_iter().rev() {
            assert!(asked.insert(query.to_string()), "{query} is asked twice");
            if let Some(reply) = reply(zone, &query) {
                plan.reply(number, reply);
            }
        }
    }
    let answers = plan.finish();
    let mut hits: Vec<String> =
        answers.rules.keys().cloned().chain(answers.others.iter().map(|(name, _)| name.clone())).collect();
    hits.sort_unstable();
    Said { hits: hits.join(" "), asked, answers }
}

fn run(conf: &str, zone: &str) -> Said {
    run_with(conf, MAIL, zone, &Known::default())
}

fn asked(said: &Said) -> Vec<&str> {
    said.asked.iter().map(String::as_str).collect()
}

#[test]
fn relays_are_asked_for() {
    for (call, flags, asked_for) in [
        ("check_rbl('x', 'bl.test.')", "", &["7.100.51.198.bl.test A", "9.113.0.203.bl.test A"][..]),
        ("check_rbl_txt('x', 'bl.test')", "", &["7.100.51.198.bl.test TXT", "9.113.0.203.bl.test TXT"]),
        ("check_rbl('x-lastexternal', 'bl.test')", "", &["9.113.0.203.bl.test A"]),
        ("check_rbl('x-notfirsthop', 'bl.test')", "", &["9.113.0.203.bl.test A"]),
        ("check_rbl('x-firsttrusted', 'bl.test')", "nice", &["9.113.0.203.bl.test A"]),
        ("check_rbl('x-untrusted', 'bl.test')", "", &["7.100.51.198.bl.test A"]),
        ("check_rbl_accreditor('x', 'bl.test', '127.0.0.2', 'nobody')", "", &[]),
        (
            "check_rbl_from_host('x', 'bl.test')",
            "",
            &["mail.example.com.bl.test A", "www.example.co.uk.bl.test A"],
        ),
        ("check_rbl_from_domain('x', 'bl.test')", "", &["example.co.uk.bl.test A", "example.com.bl.test A"]),
        ("check_rbl_envfrom('x', 'bl.test')", "", &["mail.example.com.bl.test A"]),
        ("check_rbl_envfrom('x', 'bl.test')", "ips_only", &[]),
        ("check_rbl_headers('x', 'bl.test')", "", &["freemail.com.bl.test A", "mail.example.com.bl.test A"]),
        ("check_rbl_headers('x', 'bl.test', '127.0.0.2', 'From,X-Id')", "", &["www.example.co.uk.bl.test A"]),
        ("check_rbl_ns_from('x', 'bl.test')", "", &["mail.example.com NS", "ns.host.com.bl.test A"]),
        (
            "check_rbl_rcvd('x', 'bl.test')",
            "",
            &["7.100.51.198.bl.test A", "home.example.com.bl.test A", "relay.example.net.bl.test A"],
        ),
        (
            "check_rbl_rcvd('x', 'bl.test')",
            "domains_only",
            &["home.example.com.bl.test A", "relay.example.net.bl.test A"],
        ),
        ("check_dns_sender()", "", &[]),
    ] {
        let conf = format!("header R eval:{call}\ntflags R net {flags}\n");
        let said = run(&conf, "mail.example.com SOA ns.host.com.\n");
        assert_eq!(asked(&said), asked_for, "{call} {flags}");
    }
}

#[test]
fn who_is_trusted_is_not_asked_for() {
    let mail = MAIL.replace("[203.0.113.9]", "[10.0.0.9]").replace("[198.51.100.7]", "[10.1.2.3]");
    let conf = "header R eval:check_rbl('x', 'bl.test')\n";
    assert_eq!(run_with(conf, &mail, "", &Known::default()).asked.len(), 0);
    // Somebody says that the message came from elsewhere.
    let mail = format!("X-Originating-IP: [198.51.100.99]\n{MAIL}");
    let conf = &format!("originating_ip_headers X-Originating-IP\n{conf}");
    let said = run_with(conf, &mail, "", &Known::default());
    assert!(said.asked.contains("99.100.51.198.bl.test A"), "{:?}", said.asked);
    let mail = MAIL.replace("joe@mail.example.com", "joe@a--bonded.example.com");
    let conf = "header R eval:check_rbl_accreditor('x-lastexternal', 'bl.test', '127.0.0.2', 'bonded')\n";
    assert_eq!(run_with(conf, &mail, "", &Known::default()).asked.len(), 1);
}

#[test]
fn answers_of_lists_of_relays() {
    let conf = "header ALL eval:check_rbl('x', 'bl.test')\n\
        header TWO eval:check_rbl_sub('x', '2')\nheader FOUR eval:check_rbl_sub('x', '4')\n\
        header EXACT eval:check_rbl_sub('x', '127.0.0.6')\nheader NOT eval:check_rbl_sub('y', '127.0.0.6')\n\
        header LIKE eval:check_rbl_sub('x', '^127\\.0\\.0\\.[5-7]$')\nscore OFF 0\n\
        header OFF eval:check_rbl_sub('x', '127.0.0.6')\n\
        header MISS eval:check_rbl('z', 'bl.test', '127.0.0.7')\n\
        header TEXT eval:check_rbl_txt('t', 'bl.test')\nheader OPEN eval:check_rbl_sub('t', 'open relay')\n\
        header CLOSED eval:check_rbl_sub('t', 'closed')\n";
    for (zone, hits) in [
        ("9.113.0.203.bl.test A 127.0.0.6", "ALL EXACT FOUR LIKE TWO"),
        ("7.100.51.198.bl.test A 127.0.0.2", "ALL TWO"),
        ("7.100.51.198.bl.test A 127.0.0.1\n9.113.0.203.bl.test A 127.0.0.4", "ALL FOUR"),
        ("9.113.0.203.bl.test A 10.0.0.6", ""),
        ("9.113.0.203.bl.test TXT an open + relay", "OPEN TEXT"),
        ("9.113.0.203.bl.test TXT an open +relay", "OPEN TEXT"),
        ("9.113.0.203.bl.test SERVFAIL", ""),
        ("9.113.0.203.bl.test SILENT\n7.100.51.198.bl.test SILENT", ""),
        ("", ""),
    ] {
        let said = run(conf, zone);
        let hits = if zone.contains("open + ") { "TEXT" } else { hits };
        assert_eq!(said.hits, hits, "{zone}");
        let silent = zone.lines().filter(|line| line.contains("SILENT")).count() * 2;
        assert_eq!(said.answers.unanswered.len(), silent);
    }
    let said = run(conf, "9.113.0.203.bl.test A 127.0.0.6");
    assert_eq!(said.answers.rules["ALL"].found, ["203.0.113.9 listed in bl.test"]);
    assert_eq!(said.answers.tags["RBL"], ["<dns:9.113.0.203.bl.test> [127.0.0.6]"]);
}

#[test]
fn addresses_of_pages_in_lists() {
    let zone = "listed.com.u.test A 127.0.0.2\nshop.listed.com.u.test A 127.0.0.16\n44.2.0.192.u.test A 127.0.0.4\n\
        listed.com NS NS1.hoster.co.uk.\nns1.hoster.co.uk A 203.0.113.53\nhoster.co.uk.u.test A 127.0.0.8\n\
        ns1.hoster.co.uk.u.test A 127.0.0.32\nshop.listed.com A 203.0.113.80\n\
        80.113.0.203.u.test A 127.0.0.64\n53.113.0.203.u.test A 127.0.0.128\nlisted.com.u.test TXT a text\n";
    for (line, flags, hits, some) in [
        ("urirhssub R u.test. A 2", "net", true, "listed.com.u.test A"),
        ("urirhssub R u.test. A 4", "net", true, "44.2.0.192.u.test A"),
        ("urirhssub R u.test. A 4", "net domains_only", false, "listed.com.u.test A"),
        ("urirhssub R u.test. A 2", "net ips_only", false, "44.2.0.192.u.test A"),
        ("urirhssub R u.test. A 16", "net notrim", true, "shop.listed.com.u.test A"),
        ("urirhssub R u.test. A 127.0.0.2-127.0.0.3", "net", true, "example.net.u.test A"),
        ("urirhssub R u.test. A 127.0.0.1", "net", false, "listed.com.u.test A"),
        ("urirhsbl R u.test. TXT", "net", true, "listed.com.u.test TXT"),
        ("urinsrhssub R u.test. A 8", "net", true, "hoster.co.uk.u.test A"),
        ("urinsrhsbl R u.test. A", "net", true, "listed.com NS"),
        ("urifullnsrhssub R u.test. A 32", "net", true, "ns1.hoster.co.uk.u.test A"),
        ("uridnssub R u.test. A 64", "net a", true, "shop.listed.com A"),
        ("uridnssub R u.test. A 128", "net a", false, "80.113.0.203.u.test A"),
        // As in SpamAssassin 4.0.1, lists for name servers are asked only beside those for hosts.
        ("uridnssub R u.test. A 128", "net a ns", true, "53.113.0.203.u.test A"),
        ("uridnssub R u.test. A 128", "net ns", false, ""),
    ] {
        let conf = format!("{line}\nbody R eval:check_uridnsbl('R')\ntflags R {flags}\n");
        let said = run(&conf, zone);
        assert_eq!(said.hits == "R", hits, "{line} {flags}: {:?}", said.asked);
        assert!(some.is_empty() || said.asked.contains(some), "{line}: {:?}", said.asked);
    }
    let conf =
        "urirhsbl R u.test. A\nbody R eval:check_uridnsbl('R')\nuridnsbl_skip_domain listed.com 192.0.2.44\n";
    assert_eq!(asked(&run(conf, zone)), ["example.net.u.test A"]);
    let conf = format!(
        "{}uridnsbl_max_domains 1\n",
        conf.lines().take(2).map(|line| format!("{line}\n")).collect::<String>()
    );
    let said = run(&conf, zone);
    assert_eq!(asked(&said), ["listed.com.u.test A"]);
    assert_eq!(said.answers.rules["R"].found, ["URI: listed.com"]);
    assert_eq!(said.answers.tags["URIHOSTS"], ["shop.listed.com"]);
}

#[test]
fn names_of_tags() {
    let known = Known {
        tags: HashMap::from([("DKIMDOMAIN".into(), vec!["a.com".into(), "b.com".into()])]),
        ..Known::default()
    };
    for (rule, zone, hits, some) in [
        ("askdns R _SENDERDOMAIN_ TXT /^v=spf1 \\+all$/", "mail.example.com TXT v=spf1+ +all", false, ""),
        ("askdns R _SENDERDOMAIN_ TXT /^v=spf1 -all$/", "mail.example.com TXT v=spf1+ -all", true, ""),
        ("askdns R _AUTHORDOMAIN_.l.test.", "www.example.co.uk.l.test A 127.0.0.2", true, ""),
        ("askdns R _DKIMDOMAIN_.l.test A /^127/", "b.com.l.test A 127.0.0.2", true, "a.com.l.test A"),
        ("askdns R _DKIMDOMAIN_._DKIMDOMAIN_.l.test A 2", "b.com.b.com.l.test A 127.0.0.2", true, ""),
        ("askdns R _NOSUCH_.l.test A", "", false, ""),
        (
            "askdns R _HEADER(Reply-To:addr:domain)_.l.test A 127.0.0.2",
            "freemail.com.l.test A 127.0.0.2",
            true,
            "",
        ),
        ("askdns R _LASTEXTERNALREVIP_.l.test A", "9.113.0.203.l.test A 10.0.0.1", true, ""),
        ("askdns R _LASTEXTERNALHELO_ A /./", "relay.example.net A 192.0.2.1", true, ""),
        ("askdns R _URIDOMAINS_.l.test A", "listed.com.l.test A 127.0.0.1", true, "example.net.l.test A"),
        (
            "askdns R _XID_.l.test A\nheader __X X-Id =~ /^(?<XID>\\d+)/",
            "1234567890.l.test A 1.2.3.4",
            true,
            "",
        ),
        ("askdns R plain.test A [NXDOMAIN]", "", true, "plain.test A"),
        ("askdns R plain.test A [ServFail,5]", "plain.test REFUSED", true, ""),
        ("askdns R plain.test A", "plain.test SERVFAIL\nplain.test A 127.0.0.1", false, ""),
        ("askdns R plain.test A [NOERROR]", "plain.test TXT x", true, ""),
        ("askdns R plain.test TXT,MX \"10 m.test.\"", "plain.test MX 10 m.test.", true, "plain.test TXT"),
        ("askdns R plain.test A", "plain.test CNAME other.", false, ""),
        ("askdns R plain.test CNAME", "plain.test CNAME other.", true, ""),
        ("askdns R in-va-.test A", "", false, ""),
    ] {
        let said = run_with(&format!("{rule}\n"), MAIL, zone, &known);
        assert_eq!(said.hits == "R", hits, "{rule}: {:?}", said.asked);
        assert!(some.is_empty() || said.asked.contains(some), "{rule}: {:?}", said.asked);
    }
}

#[test]
fn numbers_of_networks() {
    let conf = "asn_lookup asn.test\nasn_lookup two.test _ASN_ _OTHER_\nheader R eval:check_asn('/^AS64500\\b/')\n\
        header NO eval:check_asn('AS1', 'OTHER')\naskdns ASKED _ASN_.l.test A\n\
        header TAG eval:check_hashbl_tag('h.test', 'raw', 'ASNCIDR')\n";
    let zone = "9.113.0.203.asn.test TXT 64500+203.0.113.0+24\n\
        9.113.0.203.two.test TXT 64501 | 203.0.112.0/20 | XX\nas64500.l.test A 127.0.0.1\nas64501.l.test A 127.0.0.1\n\
        203.0.113.0/24.h.test A 127.0.0.1";
    let said = run(conf, zone);
    let mut numbers = said.answers.tags["ASN"].clone();
    numbers.sort_unstable();
    assert_eq!(numbers, ["AS64500", "AS64501"]);
    assert_eq!(said.answers.tags["ASNCIDR"], ["203.0.113.0/24"]);
    assert!(said.hits.contains("TAG"), "{} {:?}", said.hits, said.asked);
    // What waits for a tag asks when it has its first value; the two zones answered in turn.
    assert!(!said.hits.contains("NO") && said.asked.iter().any(|query| query.ends_with(".l.test A")));
    let one =
        conf.replace("asn_lookup two.test _ASN_ _OTHER_\n", "asn_prefix ''\n").replace("AS64500", "64500");
    let said = run(&one, &zone.replace("as64500.l", "64500.l"));
    assert_eq!(said.hits, "ASKED R TAG");
}

#[test]
fn hashes_of_what_is_found() {
    for (call, kind, asked_for) in [
        (
            "check_hashbl_emails('h.test', 'raw/max=10')",
            "header",
            &[
                "j.o.e+tag@freemail.com.h.test A",
                "jane@freemail.com.h.test A",
                "joe@mail.example.com.h.test A",
                "joe@www.example.co.uk.h.test A",
            ][..],
        ),
        (
            "check_hashbl_emails('h.test/A', 'raw/nodot/notag', 'Reply-To')",
            "header",
            &["joe@freemail.com.h.test A"],
        ),
        ("check_hashbl_emails('h.test', 'raw/host', 'From')", "header", &["www.example.co.uk.h.test A"]),
        ("check_hashbl_emails('h.test', 'raw/domain', 'From')", "header", &["example.co.uk.h.test A"]),
        ("check_hashbl_emails('h.test', 'raw/user', 'body')", "header", &["jane.h.test A"]),
        (
            "check_hashbl_emails('h.test', 'raw', 'ALLFROM/body', '^127', 'free')",
            "header",
            &["jane@freemail.com.h.test A"],
        ),
        (
            "check_hashbl_emails('h.test', 'md5', 'body')",
            "header",
            &["4fe148399317c004b57dd37effb6b80d.h.test A"],
        ),
        (
            "check_hashbl_uris('h.test', 'sha1')",
            "header",
            &[
                // A form of http://192.0.2.44/ without its 0, as SpamAssassin makes it.
                "1f312858322bb2abf84eb08b3b76f8bd7156218a.h.test A",
                "49484380bfda12d24feac94cb84a2a89b4749923.h.test A",
                "6f4c59c309d79db9fb87c7d4fc7a9e35dfe565bb.h.test A",
                "b82941767ac3f3fdae34fbebf03e1458827c3631.h.test A",
            ],
        ),
        ("check_hashbl_bodyre('h.test', 'raw/num', 'code (\\d+)')", "body", &["12345.h.test A"]),
        ("check_hashbl_bodyre('h.test/TXT', 'raw', 'code (\\d+)')", "body", &["12345.h.test TXT"]),
        ("check_hashbl_tag('h.test', 'raw', 'XID')", "header", &["1234567890.h.test A"]),
        (
            "check_hashbl_tag('h.test', 'raw/ipv4/revip', '_LASTEXTERNALIP_')",
            "header",
            &["9.113.0.203.h.test A"],
        ),
        ("check_hashbl_tag('h.test', 'raw/trim', 'AUTHORDOMAIN')", "header", &["example.co.uk.h.test A"]),
        ("check_hashbl_attachments('h.test', 'sha1/minsize=2')", "body", &["x", "y"]),
    ] {
        let conf = format!(
            "{kind} R eval:{call}\ntflags R net\nheader __X X-Id =~ /^(?<XID>\\d+)/\nhashbl_acl_free freemail.com !x.com\n"
        );
        let said = run(&conf, "");
        if asked_for.contains(&"x") {
            assert_eq!(said.asked.len(), asked_for.len(), "{call}: {:?}", said.asked);
        } else {
            assert_eq!(asked(&said), asked_for, "{call}");
        }
    }
    let conf = "hashbl_ignore text/html a.zip\nbody R eval:check_hashbl_attachments('h.test')\n";
    assert_eq!(run(conf, "").asked.len(), 0);
    let conf = "hashbl_email_domain_alias other.com freemail.com\nuridnsbl_skip_domain example.co.uk\n\
        header R eval:check_hashbl_emails('h.test', 'raw', 'From/body')\n";
    let said = run(conf, "jane@other.com.h.test A 127.0.0.2");
    assert_eq!((asked(&said).as_slice(), said.hits.as_str()), (&["jane@other.com.h.test A"][..], "R"));
    assert_eq!(said.answers.rules["R"].found, ["jane[at]other.com"]);
}

#[test]
fn what_may_not_be_asked() {
    let conf = "header R eval:check_rbl('x-lastexternal', 'bl.test')\nheader S eval:check_rbl('y-lastexternal', 'a.test')\n";
    for (lines, asked_for) in [
        ("", 2),
        ("dns_query_restriction deny test", 0),
        ("dns_query_restriction deny *\ndns_query_restriction allow a.test", 1),
        ("dns_query_restriction deny .bl.test.", 1),
        ("dns_query_restriction deny bl.test\nclear_dns_query_restriction", 2),
        ("skip_rbl_checks 1", 0),
        ("dns_available no", 0),
        ("score R 1 0 1 0", 1),
    ] {
        assert_eq!(run(&format!("{conf}{lines}\n"), "").asked.len(), asked_for, "{lines}");
    }
}

#[test]
fn a_list_that_blocks_us_is_left_alone() {
    let set = rules(
        "header R eval:check_rbl('x-lastexternal', 'bl.test')\nheader B eval:check_rbl_sub('x-lastexternal', '127.0.0.255')\n\
         dns_block_rule B bl.test\n",
    );
    let settings = text_settings(&set.settings);
    let message = Message::read(MAIL.into(), &mut Budget::new(&Limits::default()));
    let texts = Texts::new(&message, Given::default(), &settings);
    let net = Net::new(&set, ScoreSet { net: true, bayes: false });
    let mut plan = net.plan(&texts, &Known::default());
    let due = plan.due();
    assert_eq!(due.len(), 1);
    plan.reply(due[0].0, reply("9.113.0.203.bl.test A 127.0.0.255", &due[0].1).unwrap());
    assert_eq!(plan.finish().rules.len(), 2);
    assert!(net.plan(&texts, &Known::default()).is_empty());
}

#[test]
fn addresses_of_hosts_in_links() {
    let zone =
        "shop.listed.com A 198.51.100.80\nshop.listed.com AAAA 2001:db8::80\ngood.example.net A 203.0.113.1";
    let all = "freemail.com A,freemail.com AAAA,good.example.net A,good.example.net AAAA,shop.listed.com A,shop.listed.com AAAA";
    for (conf, hits, names) in [
        ("uri_block_cidr R 198.51.100.0/24\n", "R", all),
        ("uri_block_cidr R 2001:db8::/64\n", "R", all),
        ("uri_block_cidr R 198.51.100.81\n", "", all),
        ("uri_block_cidr R 198.51.100.0/24\nuri_block_exclude R listed.com freemail.com\n", "", ""),
        // What is let off counts for that rule alone.
        (
            "uri_block_cidr R 198.51.100.0/24\nuri_block_exclude R shop.listed.com\nuri_block_cidr S 198.51.100.0/24\n",
            "S",
            all,
        ),
        ("uri_block_cidr R 198.51.100.0/24 203.0.113.0/24\nuri_block_exclude R 198.51.100.80\n", "R", all),
        // The address in a link is enough.
        ("uri_block_cidr R 192.0.2.44\n", "", ""),
        ("uri_block_cidr R 198.51.100.0/24\nscore R 0\n", "", ""),
    ] {
        let said = run(conf, zone);
        assert_eq!(said.hits, hits, "{conf}");
        let expected: Vec<&str> = names.split(',').filter(|name| !name.is_empty()).collect();
        if !conf.contains("freemail.com") {
            assert_eq!(asked(&said), expected, "{conf}");
        }
    }
    let links: String = (0..2000).map(|number| format!("http://h{number}.com/ ")).collect();
    let said = run_with(
        "uri_block_cidr R 192.0.2.1\n",
        &format!("From: a@a.com\n\n{links}\n"),
        "",
        &Known::default(),
    );
    assert_eq!(said.asked.len(), 200);
}

#[test]
fn however_many_names_questions_are_bounded() {
    let froms: String = (0..2000).map(|number| format!("<a@h{number}.com>,")).collect();
    let mail = format!("From: {froms}\n\n{}\n", "http://x.com/ ".repeat(10));
    let conf = "header R eval:check_rbl_from_host('x', 'bl.test')\naskdns S _AUTHORDOMAIN_._AUTHORDOMAIN_.l.test A\n";
    let said = run_with(conf, &mail, "", &Known::default());
    assert_eq!((said.asked.len(), said.answers.left_out > 0), (MAX_QUERIES, true));
    let long = format!("Return-Path: <a@{}com>\n\n", "a.".repeat(200));
    let conf = "header R eval:check_rbl_envfrom('x', 'bl.test')\n";
    assert_eq!(run_with(conf, &long, "", &Known::default()).asked.len(), 0);
}

#[test]
fn answers_that_nobody_waits_for_do_no_harm() {
    let set = rules("askdns R plain.test A\n");
    let settings = text_settings(&set.settings);
    let message = Message::read(MAIL.into(), &mut Budget::new(&Limits::default()));
    let texts = Texts::new(&message, Given::default(), &settings);
    let mut plan = Net::new(&set, ScoreSet { net: true, bayes: false }).plan(&texts, &Known::default());
    plan.reply(7, Reply::default());
    plan.due();
    plan.reply(0, Reply { code: 3, ..Reply::default() });
    plan.reply(
        0,
        reply("plain.test A 127.0.0.1", &Query { name: "plain.test".into(), kind: Kind::A }).unwrap(),
    );
    assert!(plan.finish().others.is_empty());
}

#[test]
fn what_takes_longer_than_the_time_is_a_fault() {
    let conf = "header H eval:check_hashbl_emails('h.test', 'md5', 'From')\n\
                body B eval:check_hashbl_bodyre('h.test', 'md5', '(\\w+)')\n";
    for (conf, early, late) in
        [(conf, 2, &["B", "H"][..]), ("askdns R plain.test TXT /(x)\\1y/\n", 1, &["dns"])]
    {
        let set = rules(conf);
        let settings = text_settings(&set.settings);
        let message = Message::read(MAIL.into(), &mut Budget::new(&Limits::default()));
        let texts = Texts::new(&message, Given::default(), &settings);
        let net = Net::new(&set, ScoreSet { net: true, bayes: false });
        let asked = |plan: &Plan| plan.queries().count();
        assert!(asked(&net.plan(&texts, &Known::default())) >= early, "{conf}");
        let plan = net.plan_until(&texts, &Known::default(), Some(Instant::now()));
        let faults = plan.finish().faults;
        let mut names: Vec<_> = faults.iter().map(|(rule, _)| rule.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, late, "{conf}");
    }
}

#[test]
fn answers_are_evaluated_as_long_as_there_is_time() {
    let set = rules("askdns R plain.test TXT /(x)\\1y/\n");
    let settings = text_settings(&set.settings);
    let message = Message::read(MAIL.into(), &mut Budget::new(&Limits::default()));
    let texts = Texts::new(&message, Given::default(), &settings);
    let net = Net::new(&set, ScoreSet { net: true, bayes: false });
    let long = Data::Strings(vec!["x".repeat(30_000)]);
    for (end, faults) in [(None, 0), (Some(Instant::now()), 1)] {
        let mut plan = net.plan(&texts, &Known::default());
        if let Some(end) = end {
            plan.until(end);
        }
        let records = vec![Record { kind: Kind::TXT, data: long.clone() }];
        plan.reply(0, Reply { records, ..Reply::default() });
        let answers = plan.finish();
        assert_eq!((answers.faults.len(), answers.others.len()), (faults, 0));
    }
}

#[test]
fn without_the_network_nothing_is_asked() {
    let set = rules("header R eval:check_rbl('x', 'bl.test')\nscore R 0 1 0 1\n");
    assert_eq!(Net::new(&set, ScoreSet { net: false, bayes: false }).rules(), 0);
    assert_eq!(Net::new(&set, ScoreSet { net: true, bayes: true }).rules(), 1);
    let set = rules("header R eval:check_rbl('x', 'bl.test', '(')\naskdns S x.test A /(/\n");
    let problems = Net::new(&set, ScoreSet { net: true, bayes: false });
    assert_eq!(problems.problems().iter().map(|(rule, _)| rule.as_str()).collect::<Vec<_>>(), ["R", "S"]);
}

#[test]
fn reports_tell_who_was_asked() {
    for (rule, answer, line) in [
        (
            "header R eval:check_rbl('x', 'l.test.')",
            "9.113.0.203.l.test A 127.0.0.2",
            "RBL: Why\n[203.0.113.9 listed in l.test]",
        ),
        (
            "header R eval:check_rbl_txt('x', 'l.test.')",
            "9.113.0.203.l.test TXT an open+ relay",
            "RBL: Why\n[an open relay]",
        ),
        (
            "header R eval:check_rbl_from_domain('x', 'l.test.')",
            "example.co.uk.l.test A 127.0.0.2",
            "RBL: Why\n[listed in example.co.uk.l.test]",
        ),
        (
            "urirhssub R l.test. A 2\nbody R eval:check_uridnsbl('R')",
            "listed.com.l.test A 127.0.0.2",
            "Why\n[URI: listed.com]",
        ),
        (
            "askdns R _AUTHORDOMAIN_ TXT /a/",
            "www.example.co.uk TXT v=a",
            "ASKDNS: Why\n[www.example.co.uk TXT:v=a]",
        ),
        ("askdns R plain.test A [NXDOMAIN]", "", "ASKDNS: Why\n[plain.test A:]"),
        (
            "body R eval:check_hashbl_bodyre('h.test', 'raw', 'code (\\d+)')",
            "12345.h.test A 127.0.0.2",
            "Why\n[12345]",
        ),
        ("rawbody R /12345/", "", "RAW: Why"),
    ] {
        let conf = format!("{rule}\ndescribe R Why\n");
        let (set, mut known) = (rules(&conf), Known::default());
        run_with(&conf, MAIL, answer, &known).answers.enter(&mut known);
        let settings = text_settings(&set.settings);
        let message = Message::read(MAIL.to_string().into(), &mut Budget::new(&Limits::default()));
        let texts = Texts::new(&message, Given::default(), &settings);
        let patterns = Patterns::default();
        let evals = Native::new(&texts, &set.settings, &known, &patterns);
        let engine = Engine::new(&set, ScoreSet { net: true, bayes: false });
        let outcome = engine.evaluate(&texts, &evals, engine::Limits::default());
        let report =
            Report { outcome: &outcome, set: &set, required: 5.0, tags: HashMap::new(), field: &|_| None };
        let report = report.filled("_REPORT_").replace("*      [", "[");
        assert_eq!(report, format!("\n*  1.0 R {line}\n"), "{rule}");
    }
}
