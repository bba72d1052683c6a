//! Rules that ask the DNS, beside SpamAssassin itself, both asking one name server.

use std::fs;

use crate::rig::*;
use crate::rules::spamassassin;
use crate::rules_plugins;

const PLUGINS: [&str; 6] = ["ASN", "AskDNS", "Check", "DNSEval", "HashBL", "URIDNSBL"];

/// A rule of each kind that asks.
const RULES: &str = r#"util_rb_tld test com
util_rb_2tld co.test
trusted_networks 10/8 192.0.2.200
originating_ip_headers X-Originating-IP
add_header all Status score=_SCORE_ tests=_TESTS(,)_
dns_available yes
rbl_timeout 20
header RBL_ALL eval:check_rbl('x', 'bl.test.')
header RBL_BITS eval:check_rbl_sub('x', '2')
header RBL_EXACT eval:check_rbl_sub('x', '127.0.0.6')
header RBL_LIKE eval:check_rbl_sub('x', '^127\.0\.0\.[45]$')
header RBL_OTHER eval:check_rbl_sub('y', '2')
header RBL_LAST eval:check_rbl('x-lastexternal', 'bl.test.', '^127\.0\.0\.4$')
header RBL_LAST_SUB eval:check_rbl_sub('x-lastexternal', '127.0.0.6')
header RBL_NOTFIRST eval:check_rbl('n-notfirsthop', 'bl.test.', '127.0.0.6')
header RBL_UNTRUSTED eval:check_rbl('u-untrusted', 'bl.test.', '127.0.0.6')
header RBL_GOOD eval:check_rbl('f-firsttrusted', 'wl.test.')
tflags RBL_GOOD net nice
header RBL_TXT eval:check_rbl_txt('t', 'bl.test.')
header RBL_TXT_SUB eval:check_rbl_sub('t', 'open relay')
header RBL_ACCREDITED eval:check_rbl_accreditor('a-firsttrusted', 'wl.test.', '127.0.0.3', 'bonded')
header RBL_HOST eval:check_rbl_from_host('h', 'rhs.test.', '127.0.0.2')
header RBL_DOMAIN eval:check_rbl_from_domain('d', 'rhs.test.', '4')
header RBL_SENDER eval:check_rbl_envfrom('e', 'rhs.test.')
header RBL_FIELDS eval:check_rbl_headers('f', 'rhs.test.', '127.0.0.8', 'X-My-IP,X-My-Host')
header RBL_SERVER eval:check_rbl_ns_from('s', 'rhs.test.')
header RBL_RECEIVED eval:check_rbl_rcvd('r', 'rhs.test.')
header NO_SENDER eval:check_dns_sender()
urirhssub URI_BLACK u.test. A 2
body URI_BLACK eval:check_uridnsbl('URI_BLACK')
urirhssub URI_RANGE u.test. A 127.0.0.2-127.0.0.3
body URI_RANGE eval:check_uridnsbl('URI_RANGE')
urirhssub URI_IP u.test. A 127.0.0.4
body URI_IP eval:check_uridnsbl('URI_IP')
tflags URI_IP net ips_only
urirhssub URI_DOMAIN u.test. A 127.0.0.0/255.255.255.0
body URI_DOMAIN eval:check_uridnsbl('URI_DOMAIN')
tflags URI_DOMAIN net domains_only
urirhssub URI_WHOLE u.test. A 16
body URI_WHOLE eval:check_uridnsbl('URI_WHOLE')
tflags URI_WHOLE net domains_only notrim
urirhsbl URI_TXT u.test. TXT
body URI_TXT eval:check_uridnsbl('URI_TXT')
urinsrhssub URI_NS nsbl.test. A 8
body URI_NS eval:check_uridnsbl('URI_NS')
urifullnsrhssub URI_NS_WHOLE nsbl.test. A 32
body URI_NS_WHOLE eval:check_uridnsbl('URI_NS_WHOLE')
uridnssub URI_A ipbl.test. A 127.0.0.3
body URI_A eval:check_uridnsbl('URI_A')
tflags URI_A net a
uridnssub URI_A_OF_NS ipbl.test. A 127.0.0.2
body URI_A_OF_NS eval:check_uridnsbl('URI_A_OF_NS')
tflags URI_A_OF_NS net a
uridnssub URI_OF_NS ipbl.test. A 127.0.0.2
body URI_OF_NS eval:check_uridnsbl('URI_OF_NS')
tflags URI_OF_NS net ns
uridnsbl_skip_domain skipped.test
askdns ASK_A _SENDERDOMAIN_.ask.test. A /^127\.0\.0\.2$/
askdns ASK_TXT _AUTHORDOMAIN_ TXT /^v=spf1 \+all$/
askdns ASK_FIELD _HEADER(Reply-To:addr:domain)_.ask.test A 127.0.0.3-127.0.0.4
askdns ASK_RELAY _LASTEXTERNALREVIP_.ask.test A 4
askdns ASK_URI _URIDOMAINS_.ask.test
askdns ASK_MX _AUTHORDOMAIN_ MX /^10 mail\.test\.$/
askdns ASK_NONE _AUTHORDOMAIN_.none.test A [NXDOMAIN]
askdns ASK_REFUSED _AUTHORDOMAIN_.elsewhere.example A [REFUSED]
askdns ASK_CAPTURED _MYID_.ask.test A "127.0.0.9"
header __MYID X-Id =~ /^(?<MYID>\d+)$/
asn_lookup asn.test _ASN_ _ASNCIDR_
header ASN_IS eval:check_asn('/^AS64500\b/')
askdns ASN_ASKED _ASN_.ask.test A
header HASH_EMAIL eval:check_hashbl_emails('h.test')
tflags HASH_EMAIL net
header HASH_REPLY eval:check_hashbl_emails('h.test/A', 'md5/nodot/notag', 'Reply-To', '^127\.0\.0\.2$', 'free')
tflags HASH_REPLY net
hashbl_acl_free free.test
header HASH_URI eval:check_hashbl_uris('h.test', 'sha1', '127.0.0.2')
tflags HASH_URI net
body HASH_BODY eval:check_hashbl_bodyre('h.test', 'sha256/max=10', '\b(1[a-km-zA-HJ-NP-Z1-9]{25,34})\b')
tflags HASH_BODY net
header HASH_TAG eval:check_hashbl_tag('h.test', 'raw', 'MYID', '^127\.')
tflags HASH_TAG net
body HASH_PART eval:check_hashbl_attachments('h.test')
tflags HASH_PART net
meta BOTH RBL_BITS && URI_BLACK
"#;

const ZONES: [&str; 2] = ["test.", "zone.test."];

const RECORDS: &[&str] = &[
    // relays
    "7.100.51.198.bl.test A 127.0.0.6",
    "9.113.0.203.bl.test A 127.0.0.4",
    "9.113.0.203.bl.test TXT \"an open\" \" relay\"",
    "5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.test A 127.0.0.6",
    "99.100.51.198.bl.test A 10.0.0.1",
    "9.113.0.203.wl.test A 127.0.0.3",
    // senders
    "www.sender.co.test.rhs.test A 127.0.0.2",
    "sender.co.test.rhs.test A 127.0.0.4",
    "bounce.zone.test.rhs.test A 127.0.0.2",
    "1.2.0.192.rhs.test A 127.0.0.8",
    "zone.test SOA ns.zone.test. root.zone.test. 1 60 60 60 60",
    "bounce.zone.test A 203.0.113.1",
    "ns.zone.test.rhs.test A 127.0.0.2",
    "helo.test.rhs.test A 127.0.0.2",
    // addresses of pages
    "black.test.u.test A 127.0.0.2",
    "black.test.u.test TXT \"bought and sold\"",
    "www.black.test.u.test A 127.0.0.16",
    "44.2.0.192.u.test A 127.0.0.4",
    "skipped.test.u.test A 127.0.0.2",
    "nslisted.test NS NS1.evil.co.test.",
    "shop.nslisted.test A 203.0.113.80",
    "ns1.evil.co.test A 203.0.113.53",
    "evil.co.test.nsbl.test A 127.0.0.8",
    "ns1.evil.co.test.nsbl.test A 127.0.0.32",
    "80.113.0.203.ipbl.test A 127.0.0.3",
    "53.113.0.203.ipbl.test A 127.0.0.2",
    // names of tags
    "bounce.zone.test.ask.test A 127.0.0.2",
    "www.sender.co.test TXT \"v=spf1 \" \"+all\"",
    "www.sender.co.test MX 10 mail.test.",
    "free.test.ask.test A 127.0.0.4",
    "9.113.0.203.ask.test A 127.0.0.6",
    "black.test.ask.test A 192.0.2.1",
    "1234567890.ask.test A 127.0.0.9",
    "9.113.0.203.asn.test TXT \"64500\" \"203.0.113.0\" \"24\"",
    "as64500.ask.test A 127.0.0.1",
    // hashes: of jane@free.test, boss@free.test, the number of an account, an address, an attachment; a tag as it is
    "2d4a6f4d14d7bc455fa9274b4f1a2e3ff7e8eaef.h.test A 127.0.0.2",
    "2130ef08c2643dd9267afe92b175b7e7.h.test A 127.0.0.2",
    "ftanvejptzykz5veqvnfi6s52l6iwlveaslghizyslxii2rbeitq.h.test A 127.0.0.2",
    "be57fb4a5e402774a2a9a8d2fd47fa464856469e.h.test A 127.0.0.2",
    "d8cf4905f871e4cf0204ab8fee50bb160ac53fe8.h.test A 127.0.0.2",
    "1234567890.h.test A 127.0.0.2",
];

fn mails() -> Vec<String> {
    let received = |first: &str, last: &str| {
        format!(
            "Received: from last.test (last.test [{last}]) by mx.example.com with ESMTP id 1; Thu, 1 Jan 2026 00:00:02 +0000\n\
             Received: from [{first}] (helo=helo.test) by last.test with ESMTP id 2; Thu, 1 Jan 2026 00:00:01 +0000\n"
        )
    };
    let listed = format!(
        "Return-Path: <x@bounce.zone.test>\n{}From: A <a@www.sender.co.test>\nReply-To: B <bo.ss+x@free.test>\nX-Id: 1234567890\n\
         X-My-IP: 192.0.2.1\nX-My-Host: nowhere.invalid\nSubject: one\nContent-Type: text/html\n\n\
         <a href=\"http://www.black.test/x\">one</a> <a href=\"http://192.0.2.44/\">two</a> \
         <a href=\"http://shop.nslisted.test/\">three</a>\n",
        received("198.51.100.7", "203.0.113.9"),
    );
    let hashed = format!(
        "{}From: A <a@clean.test>\nSubject: two\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n\
         Write to jane@free.test and pay 1BoatSLRHtKNgkdXEEobR76b53LETtpyT, see http://shop.hashed.test/buy or\n\
         http://www.skipped.test/ .\n--b\nContent-Type: application/zip; name=x.zip\n\
         Content-Transfer-Encoding: base64\n\nUEsDBGJhZA==\n--b--\n",
        received("2001:db8::25", "203.0.113.77"),
    );
    let vouched = format!(
        "Return-Path: <x@a--bonded.clean.test>\nX-Originating-IP: [198.51.100.99]\n{}From: c@clean.test\nSubject: three\n\ntext\n",
        received("10.1.1.1", "203.0.113.9"),
    );
    let clean = "From: d@clean.test\nSubject: four\n\nhttp://clean.test/ and nothing else\n".to_string();
    let inside = format!(
        "{}From: e@www.sender.co.test\nReply-To: <z@other.test>\nSubject: five\n\nsee www.black.test or e@black.test\n",
        received("198.51.100.7", "192.0.2.200"),
    );
    vec![listed, hashed, vouched, clean, inside]
}

#[test]
fn rules_of_the_network_hit_as_in_spamassassin() {
    if !needs(&["unbound"]) {
        return;
    }
    let dns = Dns::start(&ZONES, RECORDS);
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    for name in ["rules", "site", "mails"] {
        fs::create_dir(path(name)).expect("a folder");
    }
    let server = format!("dns_server [{}]:{}\n", dns.address.ip(), dns.address.port());
    fs::write(path("rules/10_test.cf"), format!("{server}{RULES}")).expect("rules");
    let plugins = PLUGINS.map(|name| format!("loadplugin Mail::SpamAssassin::Plugin::{name}\n"));
    fs::write(path("site/init.pre"), plugins.concat()).expect("plugins");
    let mails = mails();
    for (place, mail) in mails.iter().enumerate() {
        fs::write(path(&format!("mails/{place}.eml")), mail).expect("a mail");
    }
    let word = |name: &str| path(name).to_str().expect("a plain path").to_owned();
    let server = dns.address.to_string();
    let mut args = vec!["rules", "hits", "--network", "--dns", &server, "--rules"];
    let (site, rules, folder_of_mails) = (word("site"), word("rules"), word("mails"));
    args.extend([site.as_str(), &rules, &folder_of_mails]);
    let output = run(&args, b"");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{told}");
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    let found: Vec<&str> = lines.lines().map(|line| line.rsplit('\t').next().unwrap_or_default()).collect();
    assert_eq!(found.len(), mails.len());
    // What is not asked hits nothing, and is not there without the network.
    let offline = run(&["rules", "hits", "--rules", &site, &rules, &folder_of_mails], b"");
    let offline = String::from_utf8(offline.stdout).expect("UTF-8");
    assert!(offline.lines().all(|line| line.ends_with('\t')), "{offline}");
    let missing: Vec<&str> = RULES
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(kind, _)| matches!(*kind, "header" | "body" | "askdns"))
        .filter_map(|(_, rest)| rest.split(' ').next())
        .filter(|rule| {
            !rule.starts_with("__") && !found.iter().any(|names| names.split(',').any(|name| name == *rule))
        })
        .collect();
    assert_eq!(missing, ["RBL_OTHER", "NO_SENDER", "URI_OF_NS"]);
    if !needs(&["spamassassin"]) {
        return;
    }
    for (place, names) in found.into_iter().enumerate() {
        assert_eq!(names, spamassassin(folder.path(), &mails[place], &[]).1, "mail {place}");
    }
}

/// The hosts in links by their addresses, which must be asked for.
#[test]
fn hosts_in_links_are_looked_up_as_by_spamassassin() {
    if !needs(&["unbound"]) {
        return;
    }
    let records = [
        "dutch.test A 203.0.113.80",
        "net.test A 198.51.100.9",
        "six.test AAAA 2001:db8::6",
        "far.test A 198.51.100.200",
        "two.test A 192.0.2.1",
        "two.test A 203.0.113.7",
    ];
    let dns = Dns::start(&ZONES, &records);
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let word = |name: &str| path(name).to_str().expect("a plain path").to_owned();
    ["rules", "site", "mails"].iter().for_each(|name| fs::create_dir(path(name)).expect("a folder"));
    fs::write(path("country.mmdb"), rules_plugins::database()).expect("a database");
    let database = word("country.mmdb");
    let rules = format!(
        "dns_server [{}]:{}\nutil_rb_tld test\nadd_header all Status score=_SCORE_ tests=_TESTS(,)_\ndns_available yes\n\
         rbl_timeout 20\ngeodb_module geoip2\ngeodb_options country:{database} isp:{database}\n{}\
         uri_block_exclude LINK_NL two.test\nscore LINK_FAR 0\nmeta BOTH LINK_NL && LINK_EU\n",
        dns.address.ip(),
        dns.address.port(),
        rules_plugins::PLACES
    );
    fs::write(path("rules/10_test.cf"), rules).expect("rules");
    let plugins =
        ["Check", "URILocalBL"].map(|name| format!("loadplugin Mail::SpamAssassin::Plugin::{name}\n"));
    fs::write(path("site/init.pre"), plugins.concat()).expect("plugins");
    let (nl, net) = ("BOTH,LINK_EU,LINK_ISP,LINK_ISP_TOO,LINK_LET_OFF,LINK_NL", "LINK_ABROAD,LINK_NET");
    let mails = [
        ("http://dutch.test/", nl),
        ("http://www.dutch.test/", ""),
        ("http://net.test/x", net),
        ("http://six.test/", net),
        ("http://far.test/", "LINK_ABROAD"),
        ("http://none.test/ nobody@dutch.test", "BOTH,LINK_EU,LINK_ISP,LINK_ISP_TOO,LINK_LET_OFF,LINK_NL"),
        ("http://two.test/", "LINK_ABROAD,LINK_EU,LINK_ISP,LINK_ISP_TOO"),
        (
            "http://203.0.113.8/ http://net.test/",
            "BOTH,LINK_ABROAD,LINK_EU,LINK_ISP,LINK_ISP_TOO,LINK_LET_OFF,LINK_NET,LINK_NL",
        ),
    ]
    .map(|(link, expected)| (format!("From: a@a.com\nSubject: x\n\nsee {link} there\n"), expected));
    for (place, (mail, _)) in mails.iter().enumerate() {
        fs::write(path(&format!("mails/{place}.eml")), mail).expect("a mail");
    }
    let server = dns.address.to_string();
    let (site, rules, folder_of_mails) = (word("site"), word("rules"), word("mails"));
    let asking = ["rules", "hits", "--network", "--dns", &server, "--rules", &site, &rules, &folder_of_mails];
    let output = run(&asking, b"");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    let found: Vec<&str> = lines.lines().map(|line| line.rsplit('\t').next().unwrap_or_default()).collect();
    assert_eq!(found, mails.iter().map(|(_, expected)| *expected).collect::<Vec<_>>());
    let offline = run(&["rules", "hits", "--rules", &site, &rules, &folder_of_mails], b"");
    let offline = String::from_utf8(offline.stdout).expect("UTF-8");
    let last = offline.lines().last().unwrap_or_default().to_owned();
    assert!(
        offline.lines().take(7).all(|line| line.ends_with('\t')) && last.contains("LINK_NL"),
        "{offline}"
    );
    if !needs(&["spamassassin"]) || !rules_plugins::perl("use MaxMind::DB::Reader;") {
        return;
    }
    for (mail, expected) in mails {
        assert_eq!(spamassassin(folder.path(), &mail, &[]).1, expected, "{mail}");
    }
}

/// A name server that is silent costs no more than the rules allow, and is told.
#[test]
fn a_silent_name_server_is_told_and_hits_nothing() {
    let silent = NameServer::start("*.bl.test 60 SILENT\n");
    let folder = folder();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("a plain path").to_owned()
    };
    let rules = file(
        "a.cf",
        "util_rb_tld test\nrbl_timeout 1\naskdns SILENT _AUTHORDOMAIN_.bl.test A\naskdns SPEAKS _AUTHORDOMAIN_.x.test A [NXDOMAIN]\n",
    );
    let mail = file("a.eml", "From: a@a.test\n\nx\n");
    let server = silent.address.to_string();
    let output = run(&["rules", "hits", "--network", "--dns", &server, "--rules", &rules, &mail], b"");
    let (line, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(line.trim_end().ends_with("\t1.000\tSPEAKS"), "{line}");
    assert!(told.contains("1 questions without an answer: a.test.bl.test A"), "{told}");
}
