//! Tests of what the journal keeps for DMARC.

use gatepost_auth::dmarc::{Authors, Identifier, Proof, Query, evaluate};
use gatepost_auth::dns::Table;
use gatepost_auth::report::{Disposition, DkimResult, Limits, SpfResult, read_xml};

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn row(source: &str) -> Row {
    Row {
        source: source.parse().unwrap(),
        count: 1,
        disposition: Disposition::None,
        dkim_aligned: false,
        spf_aligned: true,
        reasons: Vec::new(),
        header_from: "example.com".into(),
        envelope_from: Some("example.com".into()),
        envelope_to: None,
        dkim: vec![DkimResult {
            domain: "example.net".into(),
            selector: Some("s".into()),
            result: "pass".into(),
            human: None,
        }],
        spf: Some(SpfResult {
            domain: "example.com".into(),
            scope: Some("mfrom".into()),
            result: "pass".into(),
            human: None,
        }),
    }
}

fn message(time: &str, domain: &str, source: &str) -> DmarcMessage {
    DmarcMessage {
        time: at(time),
        policy_domain: domain.into(),
        policy: format!("v=DMARC1; p=none; rua=mailto:a@{domain}"),
        row: row(source),
    }
}

async fn journal(folder: &tempfile::TempDir) -> Journal {
    Journal::open(&folder.path().join("journal.db")).await.unwrap()
}

const FOREVER: (Timestamp, Timestamp) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);

#[tokio::test]
async fn messages_become_reports_once() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    journal.dmarc(vec![
        message("2026-03-01T00:00:00Z", "example.com", "192.0.2.1"),
        message("2026-03-01T23:59:59.999Z", "example.com", "192.0.2.1"),
        message("2026-03-01T12:00:00Z", "example.com", "192.0.2.2"),
        message("2026-03-02T00:00:00Z", "example.com", "192.0.2.1"),
        message("2026-03-01T12:00:00Z", "example.net", "192.0.2.1"),
    ]);
    journal.dmarc_flush().await;
    let all = journal.dmarc_due(FOREVER.0, FOREVER.1, None).await.unwrap();
    let told: Vec<_> = all.iter().map(|due| (due.domain.as_str(), due.begin, due.messages)).collect();
    let (first, second) = (at("2026-03-01T00:00:00Z"), at("2026-03-02T00:00:00Z"));
    assert_eq!(told, [("example.com", first, 3), ("example.net", first, 1), ("example.com", second, 1)]);
    assert_eq!(all[0].end, second);
    // A part of a day, and one domain.
    let some = journal.dmarc_due(at("2026-03-01T12:00:00Z"), second, Some("example.com")).await.unwrap();
    assert_eq!((some.len(), some[0].messages, some[0].begin), (1, 2, at("2026-03-01T12:00:00Z")));

    let seen = journal.dmarc_due_rows(&all[0]).await.unwrap().unwrap();
    let id = journal.dmarc_make(&all[0], "gw.test", second).await.unwrap().unwrap();
    assert!(id.starts_with("20260301.example.com.") && id.ends_with("@gw.test"), "{id}");
    assert_eq!(journal.dmarc_make(&all[0], "gw.test", second).await.unwrap(), None, "it is made already");
    let reported = journal.dmarc_rows(&id).await.unwrap().unwrap();
    assert_eq!(reported, seen);
    assert_eq!(reported.rows.iter().map(|row| row.count).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(reported.policy, "v=DMARC1; p=none; rua=mailto:a@example.com");
    // What comes late stands in a report of its own.
    journal.dmarc(vec![message("2026-03-01T12:00:00Z", "example.com", "192.0.2.9")]);
    journal.dmarc_flush().await;
    assert_eq!(journal.dmarc_rows(&id).await.unwrap().unwrap(), reported);
    assert_eq!(journal.dmarc_due(FOREVER.0, second, Some("example.com")).await.unwrap()[0].messages, 1);
}

#[tokio::test]
async fn a_report_is_sent_by_one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    journal.dmarc(vec![message("2026-03-01T00:00:00Z", "example.com", "192.0.2.1")]);
    journal.dmarc_flush().await;
    let due = journal.dmarc_due(FOREVER.0, FOREVER.1, None).await.unwrap();
    let now = at("2026-03-02T00:10:00Z");
    let id = journal.dmarc_make(&due[0], "gw.test", now).await.unwrap().unwrap();
    assert!(journal.dmarc_claim(&id, now).await.unwrap());
    assert!(!journal.dmarc_claim(&id, now).await.unwrap(), "somebody has it");
    assert!(journal.dmarc_claim(&id, at("2026-03-02T00:41:00Z")).await.unwrap(), "who had it is gone");
    journal.dmarc_told(&id, &["a@example.com".into()], now).await.unwrap();
    let pending = journal.dmarc_pending(None).await.unwrap();
    assert_eq!(
        (pending[0].id.as_str(), pending[0].sent_to.as_slice()),
        (id.as_str(), &["a@example.com".to_owned()][..])
    );
    journal.dmarc_end(&id, ReportState::Made, "later").await.unwrap();
    assert!(journal.dmarc_claim(&id, now).await.unwrap(), "it is tried again");
    journal.dmarc_end(&id, ReportState::Sent, "").await.unwrap();
    assert!(!journal.dmarc_claim(&id, now).await.unwrap());
    assert_eq!(journal.dmarc_pending(None).await.unwrap(), []);
}

#[tokio::test]
async fn what_is_old_goes() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    journal.dmarc(vec![
        message("2026-03-01T00:00:00Z", "done.example", "192.0.2.1"),
        message("2026-03-01T00:00:00Z", "waiting.example", "192.0.2.1"),
    ]);
    journal.dmarc_flush().await;
    let due = journal.dmarc_due(FOREVER.0, FOREVER.1, Some("done.example")).await.unwrap();
    let id = journal.dmarc_make(&due[0], "gw.test", at("2026-03-02T00:10:00Z")).await.unwrap().unwrap();
    let long_ago = at("2025-01-01T00:00:00Z");
    assert_eq!(
        journal.dmarc_expire(at("2026-03-05T00:00:00Z"), long_ago).await.unwrap(),
        0,
        "it is not sent yet"
    );
    journal.dmarc_end(&id, ReportState::Sent, "").await.unwrap();
    assert_eq!(journal.dmarc_expire(at("2026-03-02T12:00:00Z"), long_ago).await.unwrap(), 0);
    assert_eq!(journal.dmarc_expire(at("2026-03-05T00:00:00Z"), long_ago).await.unwrap(), 1);
    assert_eq!(journal.dmarc_expire(at("2026-03-20T00:00:00Z"), long_ago).await.unwrap(), 1);
}

#[tokio::test]
async fn all_is_written_when_the_journal_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let writing = journal(&folder).await;
    let many =
        (0..2500).map(|n| message("2026-03-01T00:00:00Z", "example.com", &format!("192.0.2.{}", n % 250)));
    writing.dmarc(many.collect());
    writing.close().await.unwrap();
    let reading = journal(&folder).await;
    let due = reading.dmarc_due(FOREVER.0, FOREVER.1, None).await.unwrap();
    assert_eq!(due[0].messages, 2500);
    assert_eq!(reading.dmarc_due_rows(&due[0]).await.unwrap().unwrap().rows.len(), 250);
}

#[tokio::test]
async fn messages_of_an_evaluation() {
    let zones = Table::new(
        "_dmarc.example.com TXT v=DMARC1; p=reject; rua=mailto:a@example.com\n_dmarc.quiet.example TXT v=DMARC1; p=reject",
    );
    let of = async |from: &str| {
        let dkim = [Identifier { domain: "example.com".into(), proof: Proof::Pass }];
        let authors = Authors::of_values([from.as_bytes()]);
        let query = Query { authors: &authors, spf: &[], dkim: &dkim, draw: None, guard: true };
        let messages =
            DmarcMessage::of(&evaluate(&zones, &query).await, at("2026-03-01T00:00:00Z"), &row("192.0.2.1"));
        let told =
            |m: DmarcMessage| (m.policy_domain, m.row.header_from, m.row.dkim_aligned, m.row.spf_aligned);
        messages.into_iter().map(told).collect::<Vec<_>>()
    };
    let one = ("example.com".to_owned(), "news.example.com".to_owned(), true, false);
    assert_eq!(of("a@news.example.com").await, std::slice::from_ref(&one));
    assert_eq!(of("a@quiet.example").await, [], "nobody asks for reports");
    assert_eq!(of("a@none.example").await, []);
    assert_eq!(of("a@none.example, b@quiet.example, c@news.example.com").await, [one]);
}

/// What was done, and the reason that is owed where it is not what was asked for.
#[tokio::test]
async fn what_was_done_and_why() {
    let rows = async |record: &str, dkim: Proof, done: Disposition, given: &[Override]| {
        let zones =
            Table::new(&format!("_dmarc.example.com TXT v=DMARC1; rua=mailto:a@example.com; {record}"));
        let dkim = [Identifier { domain: "example.com".into(), proof: dkim }];
        let authors = Authors::of_values([&b"a@example.com"[..]]);
        let query = Query { authors: &authors, spf: &[], dkim: &dkim, draw: None, guard: true };
        let reasons = given.iter().map(|kind| Reason { kind: *kind, comment: String::new() }).collect();
        let row = Row { disposition: done, reasons, ..row("192.0.2.1") };
        let messages = DmarcMessage::of(&evaluate(&zones, &query).await, at("2026-03-01T00:00:00Z"), &row);
        let row = &messages[0].row;
        let reasons: Vec<_> = row.reasons.iter().map(|reason| reason.kind.name()).collect();
        format!("{} {}", row.disposition.name(), reasons.join(" ")).trim_end().to_owned()
    };
    use Disposition::{None as Nothing, Quarantine, Reject};
    for (record, dkim, done, given, want) in [
        ("p=reject", Proof::Pass, Nothing, &[][..], "pass"),
        ("p=none", Proof::Pass, Nothing, &[], "none"),
        ("p=none", Proof::Pass, Quarantine, &[], "quarantine"),
        ("p=reject", Proof::Fail, Reject, &[], "reject"),
        ("p=reject", Proof::Fail, Nothing, &[], "none local_policy"),
        ("p=reject", Proof::Fail, Nothing, &[Override::TrustedForwarder], "none trusted_forwarder"),
        ("p=reject; t=y", Proof::Fail, Quarantine, &[], "quarantine policy_test_mode"),
        ("p=none", Proof::Fail, Nothing, &[], "none"),
        ("p=reject", Proof::TempError, Nothing, &[], "none other"),
    ] {
        assert_eq!(rows(record, dkim, done, given).await, want, "{record} {dkim:?} {done:?}");
    }
}

#[tokio::test]
async fn received_reports_are_kept_once_and_summed() {
    const XML: &str = "<feedback><report_metadata><org_name>ORG</org_name><report_id>1</report_id><date_range>\
        <begin>1772323200</begin><end>1772409599</end></date_range></report_metadata><policy_published>\
        <domain>example.com</domain><p>none</p></policy_published>\
        <record><row><source_ip>192.0.2.1</source_ip><count>5</count><policy_evaluated><disposition>none</disposition>\
        <dkim>pass</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>example.com</header_from></identifiers>\
        <auth_results><dkim><domain>example.com</domain><result>pass</result></dkim></auth_results></record>\
        <record><row><source_ip>192.0.2.66</source_ip><count>2</count><policy_evaluated><disposition>reject</disposition>\
        <dkim>fail</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>a.example.com</header_from></identifiers>\
        <auth_results><spf><domain>attack.example</domain><result>pass</result></spf></auth_results></record></feedback>";
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    let now = at("2026-03-03T00:00:00Z");
    for (org, want) in
        [("a.example", Imported::New), ("b.example", Imported::New), ("a.example", Imported::Known)]
    {
        let report = read_xml(XML.replace("ORG", org).as_bytes(), &Limits::default()).unwrap().report;
        assert_eq!(journal.dmarc_import(&report, now).await.unwrap(), want, "{org}");
    }
    let filter =
        ReceivedFilter { domain: None, since: FOREVER.0, until: FOREVER.1, failing: false, limit: 10 };
    let show = async |filter: ReceivedFilter| {
        let lines = journal.dmarc_received(&filter).await.unwrap();
        let told = |l: ReceivedLine| {
            format!(
                "{} {} {} {} | {} | {} | {} {}",
                l.source, l.header_from, l.messages, l.passed, l.dkim, l.spf, l.reporter, l.reporters
            )
        };
        lines.into_iter().map(told).collect::<Vec<_>>()
    };
    let good = "192.0.2.1 example.com 10 true | pass example.com, aligned | none | a.example 2";
    let bad = "192.0.2.66 a.example.com 4 false | none | pass attack.example | a.example 2";
    assert_eq!(show(filter.clone()).await, [good, bad]);
    assert_eq!(show(ReceivedFilter { failing: true, ..filter.clone() }).await, [bad]);
    assert_eq!(show(ReceivedFilter { domain: Some("A.example.com".into()), ..filter.clone() }).await, [bad]);
    assert_eq!(
        show(ReceivedFilter { domain: Some("example.com".into()), ..filter.clone() }).await,
        [good, bad]
    );
    assert_eq!(show(ReceivedFilter { domain: Some("%".into()), ..filter.clone() }).await, [""; 0]);
    assert_eq!(show(ReceivedFilter { since: at("2026-03-02T00:00:00Z"), ..filter.clone() }).await, [""; 0]);
    journal.dmarc_expire(now, at("2026-03-03T00:00:00Z")).await.unwrap();
    assert_eq!(show(filter).await, [""; 0]);
}
