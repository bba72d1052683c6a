//! Aggregate reports: written by the schema, read as others write them, bounded, and sent only where they are asked for.

use std::io::Write as _;

use bytes::Bytes;
use futures_util::FutureExt;
use gatepost_auth::dmarc::{Mode, Policy, parse_record};
use gatepost_auth::dns::Table;
use gatepost_auth::report::{
    Discovery, Disposition, DkimResult, Limits, Override, Published, Reason, Report, Row, Sender, SpfResult,
    Verified, destinations, read, read_xml,
};
use proptest::prelude::*;

fn row() -> Row {
    Row {
        source: "192.0.2.1".parse().unwrap(),
        count: 3,
        disposition: Disposition::Quarantine,
        dkim_aligned: false,
        spf_aligned: false,
        reasons: vec![Reason { kind: Override::TestMode, comment: "t=y".into() }],
        header_from: "news.example.com".into(),
        envelope_from: Some(String::new()),
        envelope_to: Some("example.org".into()),
        dkim: vec![DkimResult {
            domain: "example.net".into(),
            selector: Some("s1".into()),
            result: "fail".into(),
            human: Some("body hash <did> not & \"verify\"".into()),
        }],
        spf: Some(SpfResult {
            domain: "example.net".into(),
            scope: Some("mfrom".into()),
            result: "softfail".into(),
            human: None,
        }),
    }
}

fn report() -> Report {
    Report {
        org_name: "Org & Co".into(),
        email: "dmarc@gw.example".into(),
        extra_contact: Some("https://gw.example/".into()),
        id: "20260301.example.com.1@gw.example".into(),
        begin: 1_772_323_200,
        end: 1_772_409_599,
        error: None,
        generator: Some("gatepost".into()),
        published: Published {
            domain: "example.com".into(),
            discovery: Some(Discovery::TreeWalk),
            p: Policy::Reject,
            sp: Some(Policy::Quarantine),
            np: Some(Policy::Reject),
            adkim: Mode::Relaxed,
            aspf: Mode::Strict,
            fo: Some("1:d".into()),
            testing: true,
        },
        rows: vec![row()],
    }
}

/// The elements in the order of RFC 9990's tables ("MUST appear in the order listed"); those in brackets may be missing.
const ORDER: &[(&str, &str)] = &[
    ("feedback", "[version] report_metadata policy_published [extension] record"),
    ("report_metadata", "org_name email [extra_contact_info] report_id date_range [error] [generator]"),
    ("date_range", "begin end"),
    ("policy_published", "domain [discovery_method] p [sp] [np] [fo] [adkim] [aspf] [testing]"),
    ("record", "row identifiers auth_results"),
    ("row", "source_ip count policy_evaluated"),
    ("policy_evaluated", "disposition dkim spf [reason]"),
    ("reason", "type [comment]"),
    ("identifiers", "header_from [envelope_from] [envelope_to]"),
    ("auth_results", "[dkim] [spf]"),
    ("dkim", "domain selector result [human_result]"),
    ("spf", "domain [scope] result [human_result]"),
];

#[test]
fn elements_stand_in_the_order_of_the_schema() {
    let mut bare = report();
    (bare.extra_contact, bare.generator) = (None, None);
    (bare.rows[0].spf, bare.rows[0].envelope_to) = (None, None);
    bare.rows[0].dkim.clear();
    for report in [report(), bare] {
        let xml = report.xml();
        // Children of each open element, in order.
        let mut open: Vec<(String, Vec<String>)> = Vec::new();
        for line in xml.lines().skip(1).map(str::trim) {
            let name = |tag: &str| tag.split(['>', ' ']).next().unwrap().to_owned();
            if let Some(tag) = line.strip_prefix("</") {
                let (element, children) = open.pop().unwrap();
                assert_eq!(element, name(tag));
                let order = ORDER.iter().find(|(name, _)| *name == element).unwrap().1;
                let mut children = children.iter().peekable();
                for expected in order.split(' ') {
                    let bare = expected.trim_matches(['[', ']']);
                    let mut found = false;
                    while children.next_if(|child| *child == bare).is_some() {
                        found = true;
                    }
                    assert!(found || bare != expected, "{element} has no {bare}\n{xml}");
                }
                assert_eq!(children.next(), None, "in {element}\n{xml}");
            } else {
                let element = name(line.strip_prefix('<').unwrap());
                open.last_mut().into_iter().for_each(|(_, children)| children.push(element.clone()));
                if !line.contains("</") {
                    open.push((element, Vec::new()));
                }
            }
        }
        assert!(open.is_empty());
        assert!(xml.contains("<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">"));
    }
}

#[test]
fn what_is_written_is_read() {
    let received = read_xml(report().xml().as_bytes(), &Limits::default()).unwrap();
    assert_eq!((received.report, received.problems), (report(), vec![]));
}

#[test]
fn files_and_mails() {
    let limits = Limits::default();
    let report = report();
    let gzip = report.gzip();
    assert_eq!(gzip, report.gzip());
    let name = report.file_name("gw.example");
    assert_eq!(name, "gw.example!example.com!1772323200!1772409599!20260301examplecom1gwexample.xml.gz");
    let sender = Sender {
        domain: "gw.example",
        from: "dmarc@gw.example",
        now: "2026-03-02T00:10:00Z".parse().unwrap(),
    };
    let mail = report.mail(sender, "rua@example.com", &gzip);
    let text = String::from_utf8(mail.clone()).unwrap();
    for line in [
        "From: dmarc@gw.example\r\nTo: rua@example.com\r\n",
        "\r\nSubject: Report Domain: example.com\r\n Submitter: gw.example\r\n Report-ID: <20260301.example.com.1@gw.example>\r\n",
        "\r\nDate: Mon, 02 Mar 2026 00:10:00 +0000\r\n",
        "\r\nAuto-Submitted: auto-generated\r\n",
        "\r\nContent-Type: application/gzip;\r\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(text.lines().all(|line| line.len() < 998) && text.ends_with("--\r\n"));
    assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
    let again = report.mail(
        Sender { now: "2026-03-03T00:10:00Z".parse().unwrap(), ..sender },
        "rua@example.com",
        &gzip,
    );
    let id = |mail: &[u8]| {
        let text = String::from_utf8_lossy(mail).into_owned();
        text.lines().find(|line| line.starts_with("Message-ID")).unwrap().to_owned()
    };
    assert_eq!(id(&mail), id(&again));
    assert_ne!(id(&mail), id(&report.mail(sender, "other@example.com", &gzip)));
    // Read again: bare, packed, in a zip, in the mail.
    for file in [report.xml().into_bytes(), gzip, zipped(&[("a.xml", report.xml().as_bytes())]), mail] {
        let received = read(Bytes::from(file), &limits).unwrap();
        assert_eq!(received.len(), 1);
        assert_eq!(received[0].report, report);
    }
    let two = zipped(&[("a.xml", report.xml().as_bytes()), ("b.xml", b"<feedback/>")]);
    assert_eq!(read(Bytes::from(two), &limits).unwrap().len(), 1);
}

/// A zip file with its members stored as they are.
fn zipped(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for (name, body) in members {
        let offset = zip.len() as u32;
        let mut crc = flate2::Crc::new();
        crc.update(body);
        let mut common = vec![10, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        common.extend(crc.sum().to_le_bytes());
        common.extend((body.len() as u32).to_le_bytes());
        common.extend((body.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        zip.write_all(b"PK\x03\x04").unwrap();
        zip.extend(&common);
        zip.extend(name.as_bytes());
        zip.extend(*body);
        directory.extend(b"PK\x01\x02\x0a\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (count, start) = (members.len() as u16, zip.len() as u32);
    zip.extend(&directory);
    zip.extend(b"PK\x05\x06\0\0\0\0");
    zip.extend(count.to_le_bytes());
    zip.extend(count.to_le_bytes());
    zip.extend((directory.len() as u32).to_le_bytes());
    zip.extend(start.to_le_bytes());
    zip.extend([0, 0]);
    zip
}

/// RFC 7489's form, as large receivers write it: no namespace, `pct`, several SPF results, capitals.
#[test]
fn as_others_write_them() {
    let xml = "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<!-- x -->\n<feedback>\
        <report_metadata><org_name>google.com</org_name><email>noreply@google.com</email>\
        <extra_contact_info>https://support.google.com/a/answer/2466580</extra_contact_info>\
        <report_id>123456789</report_id><date_range><begin>1772323200</begin><end>1772409599</end></date_range></report_metadata>\
        <policy_published><domain>Example.com</domain><adkim>r</adkim><aspf>r</aspf><p>NONE</p><sp>none</sp><pct>100</pct></policy_published>\
        <record><row><source_ip>2001:db8::1</source_ip><count>2</count><policy_evaluated><disposition>none</disposition>\
        <dkim>pass</dkim><spf>fail</spf><reason><type>local_policy</type><comment>arc=pass &amp; &#x41;</comment></reason></policy_evaluated></row>\
        <identifiers><header_from>example.com</header_from></identifiers>\
        <auth_results><dkim><domain>example.com</domain><result>pass</result></dkim>\
        <spf><domain>helo.example</domain><scope>helo</scope><result>none</result></spf>\
        <spf><domain>bounce.example</domain><scope>mfrom</scope><result>PASS</result></spf></auth_results>\
        <ext:more xmlns:ext=\"urn:x\"><ext:row><ext:source_ip>x</ext:source_ip></ext:row></ext:more></record>\
        <record><row><source_ip>somewhere</source_ip><count>1</count></row></record>\
        <record><row><source_ip>192.0.2.1</source_ip><count>x</count></row></record>\
        <future/></feedback>";
    let received = read_xml(xml.as_bytes(), &Limits::default()).unwrap();
    let Report { org_name, published, rows, .. } = received.report;
    assert_eq!(
        (org_name.as_str(), published.domain.as_str(), published.p),
        ("google.com", "example.com", Policy::None)
    );
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert!(row.dkim_aligned && !row.spf_aligned && row.count == 2);
    assert_eq!(row.reasons, [Reason { kind: Override::LocalPolicy, comment: "arc=pass & A".into() }]);
    assert_eq!(row.dkim[0].selector, None);
    assert_eq!(
        row.spf.as_ref().map(|spf| (spf.domain.as_str(), spf.result.as_str())),
        Some(("bounce.example", "pass"))
    );
    assert_eq!(received.problems.len(), 2, "{:?}", received.problems);
}

#[test]
fn hostile_ones_are_bounded() {
    let xml = report().xml();
    let limits = Limits::default();
    let row = &xml[xml.find("  <record>").unwrap()..xml.find("</feedback>").unwrap()];
    let with = |old: &str, new: &str| xml.replace(old, new);
    for (what, file) in [
        ("nothing", String::new()),
        ("no XML", "hello".into()),
        ("another root", "<html><feedback/></html>".into()),
        ("an empty root", "<feedback/>".into()),
        ("no end", xml[..xml.len() - 20].into()),
        ("no row", with(row, "")),
        ("no domain", with("<domain>example.com</domain>", "")),
        ("a domain that is none", with("<domain>example.com</domain>", "<domain>../../etc</domain>")),
        ("an entity", with("Org &amp; Co", "&lol;")),
        ("a document type", with("<feedback ", "<!DOCTYPE feedback [<!ENTITY a \"b\">]><feedback ")),
        (
            "a file from elsewhere",
            with("<feedback ", "<!DOCTYPE feedback SYSTEM \"file:///etc/passwd\"><feedback "),
        ),
        ("nesting", format!("<feedback>{}", "<a>".repeat(100_000))),
        ("a wrong end", with("</report_metadata>", "</feedback>")),
    ] {
        assert!(read_xml(file.as_bytes(), &limits).is_err(), "{what}");
        assert!(read(Bytes::from(file), &limits).is_err(), "{what}");
    }
    // Long texts and many rows are cut, and it is told.
    let long = with("Org &amp; Co", &"x".repeat(5_000_000));
    assert!(read_xml(long.as_bytes(), &limits).unwrap().report.org_name.len() <= 1000);
    let many = with(row, &row.repeat(50));
    let few = Limits { rows: 10, ..Limits::default() };
    let received = read_xml(many.as_bytes(), &few).unwrap();
    assert!(received.report.rows.len() == 10 && received.problems[0].contains("beyond 10"));
    // A bomb: 150 MB of blanks in a small file.
    let mut bomb = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::fast());
    bomb.write_all(b"<feedback>").unwrap();
    (0..150).for_each(|_| bomb.write_all(&[b' '; 1 << 20]).unwrap());
    assert!(read(Bytes::from(bomb.finish().unwrap()), &limits).is_err());
}

/// RFC 9990 section 3, with its own example.
#[test]
fn destinations_that_asked_for_it() {
    let zones = "_dmarc.example.com TXT v=DMARC1; p=none\n\
        blue.example.com._report._dmarc.red.example.net TXT v=DMARC1\n\
        example.com._report._dmarc.moved.example.net TXT v=DMARC1; rua=mailto:new@moved.example.net\n\
        example.com._report._dmarc.away.example.net TXT v=DMARC1; rua=mailto:new@else.example.net\n\
        example.com._report._dmarc.both.example.net TXT v=DMARC1; rua=mailto:a@both.example.net,mailto:b@else.example.net\n\
        example.com._report._dmarc.text.example.net TXT yes please\n\
        example.com._report._dmarc.late.example.net TXT p=none; v=DMARC1\n\
        example.com._report._dmarc.two.example.net TXT hello\nexample.com._report._dmarc.two.example.net TXT v=DMARC1;\n\
        example.com._report._dmarc.slow.example.net TIMEOUT\n\
        _dmarc.victim.co.uk TXT v=DMARC1; p=none\n_dmarc.co.uk TXT v=DMARC1; p=none";
    let told = |domain: &str, rua: &str| {
        let record = parse_record(&format!("v=DMARC1; p=none; rua={rua}")).unwrap();
        let verified = destinations(&Table::new(zones), domain, &record).now_or_never().unwrap();
        let one = |verified: &Verified| match verified {
            Verified::To { mailbox, limit: None } => mailbox.clone(),
            Verified::To { mailbox, limit: Some(limit) } => format!("{mailbox}!{limit}"),
            Verified::No { .. } => "no".to_owned(),
            Verified::Later { .. } => "later".to_owned(),
        };
        verified.iter().map(one).collect::<Vec<_>>().join(" ")
    };
    for (domain, rua, want) in [
        ("example.com", "mailto:a@example.com", "a@example.com"),
        (
            "example.com",
            "mailto:a@example.com!2m, mailto:b@sub.example.com",
            "a@example.com!2097152 b@sub.example.com",
        ),
        ("blue.example.com", "mailto:a@example.com", "a@example.com"),
        ("blue.example.com", "mailto:reports@red.example.net", "reports@red.example.net"),
        ("example.com", "mailto:reports@red.example.net", "no"),
        ("example.com", "mailto:old@moved.example.net", "new@moved.example.net"),
        (
            "example.com",
            "mailto:old@moved.example.net, mailto:new@moved.example.net",
            "new@moved.example.net",
        ),
        ("example.com", "mailto:old@away.example.net", "no"),
        ("example.com", "mailto:old@both.example.net", "no"),
        ("example.com", "mailto:a@text.example.net", "no"),
        ("example.com", "mailto:a@late.example.net", "no"),
        ("example.com", "mailto:a@two.example.net", "a@two.example.net"),
        ("example.com", "mailto:a@slow.example.net, mailto:a@example.com", "later a@example.com"),
        ("example.com", "https://example.com/put", "no"),
        ("attack.co.uk", "mailto:a@victim.co.uk", "no"),
        (
            &format!("{}.example.com", vec!["a"; 90].join(".")),
            "mailto:a@very.long.name.of.a.host.in.a.far.away.example.net",
            "no",
        ),
    ] {
        assert_eq!(told(domain, rua), want, "{domain} {rua}");
    }
    let many: String = (0..50).map(|n| format!("mailto:a{n}@example.com,")).collect();
    assert_eq!(told("example.com", &many).split(' ').count(), 10);
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{0,30}", "[<>&\"'\\]!a-z\\[ ]{0,30}", "[a-z]{1,8}\\.example"]
}

proptest! {
    #[test]
    fn any_text_is_escaped(org in text(), from in text(), human in text(), id in "[a-z0-9.]{1,20}") {
        let mut report = report();
        report.org_name = org;
        report.id = id;
        report.rows[0].header_from = from;
        report.rows[0].dkim[0].human = Some(human);
        let again = read_xml(report.xml().as_bytes(), &Limits::default()).unwrap().report;
        prop_assert_eq!(again.org_name.as_str(), report.org_name.trim());
        prop_assert_eq!(again.rows[0].dkim[0].human.clone().unwrap_or_default(), report.rows[0].dkim[0].human.as_deref().unwrap().trim());
        prop_assert_eq!(again.rows.len(), 1);
    }

    #[test]
    fn reading_never_panics(file: Vec<u8>, text in "[<>/a-z&;!\\[\\]\"= -]{0,80}") {
        let limits = Limits::default();
        let _ = (read_xml(&file, &limits), read_xml(format!("<feedback>{text}</feedback>").as_bytes(), &limits));
        let _ = read(Bytes::from(file), &limits);
    }
}
