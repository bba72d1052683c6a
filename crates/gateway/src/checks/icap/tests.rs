//! Answers of scanners, and what they mean.

use super::super::testing;
use super::*;
use crate::config::units::{Seconds, Size};
use tokio::net::TcpListener;

/// A scanner that reads one question and says `answer`, for each of its connections; `…` stands for the content it was sent.
async fn scanner(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut input = Vec::new();
            while !input.ends_with(b"\r\n0\r\n\r\n") && !input.starts_with(b"OPTIONS") {
                if stream.read_buf(&mut input).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    format!("icap://{place}/avscan")
}

fn icap(url: &str) -> Icap {
    let settings = IcapScanner {
        url: url.into(),
        time: Seconds::new(3),
        max_size: Size::mebibytes(1),
        ..IcapScanner::default()
    };
    let mut problems = Vec::new();
    let icap = Icap::new("test", &settings, &testing::outside(), &mut problems);
    assert_eq!(problems, []);
    icap
}

fn told(scan: &Scan) -> String {
    match &scan.fault {
        Some(fault) => format!("{:?}: {}", fault.cause, fault.detail.split("avscan: ").last().unwrap_or("")),
        None => scan.hits.iter().map(|hit| format!("{} ", hit.name)).collect(),
    }
}

#[tokio::test]
async fn every_answer_means_something() {
    let parts: &[(&str, &str)] = &[("multipart/mixed", ""), ("text/plain", "good content")];
    let mail = testing::mail("Subject: a\r\n\r\n", parts);
    for (answer, expected) in [
        ("ICAP/1.0 204 No Content\r\n\r\n", ""),
        (
            "ICAP/1.0 200 OK\r\nX-Infection-Found: Type=0; Threat=Worm;\r\nEncapsulated: null-body=0\r\n\r\n",
            "Worm ",
        ),
        (
            "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\nHTTP/1.1 200 OK\r\n\r\nc\r\ngood content\r\n0\r\n\r\n",
            "",
        ),
        (
            "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n3\r\nbad\r\n0\r\n\r\n",
            "replaced by the scanner ",
        ),
        (
            "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, null-body=26\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n",
            "blocked with 403 ",
        ),
        ("ICAP/1.0 404 Service not found\r\n\r\n", "Unavailable: 404 Service not found"),
        ("ICAP/1.0 204", "Unavailable: unexpected end of file"),
        ("HTTP/1.0 200 OK\r\n\r\n", "Unavailable: not an answer in ICAP"),
    ] {
        let scan = icap(&scanner(answer).await).scan(&mail).await;
        assert_eq!(told(&scan), expected, "{answer}");
        assert_eq!(scan.seen.contains(&None), scan.fault.is_none());
    }
    let away = icap("icap://127.0.0.1:1/avscan");
    assert!(told(&away.scan(&mail).await).starts_with("Unavailable: "));
    assert!(away.health().await.state.is_err());

    // What is too large is told, and does not count as seen.
    let large = "x".repeat(2 << 20);
    let mail = testing::mail("Subject: a\r\n\r\n", &[("text/plain", &large)]);
    let scan = icap(&scanner("ICAP/1.0 204 No Content\r\n\r\n").await).scan(&mail).await;
    assert_eq!((scan.skipped.len(), scan.seen.len()), (1, 0));
}

#[tokio::test]
async fn a_scanner_that_says_nothing_is_a_fault() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut silent = icap(&format!("icap://{}/avscan", listener.local_addr().unwrap()));
    silent.common.time = Duration::from_millis(300);
    let mail = testing::mail("Subject: a\r\n\r\n", &[("text/plain", "x")]);
    assert_eq!(told(&silent.scan(&mail).await), "Timeout: no answer within 300 ms");
}

#[test]
fn mistakes_are_told() {
    for (change, key) in [
        ((|s| s.url = "http://x/".into()) as fn(&mut IcapScanner), "url"),
        (|s| s.connections = 0, "connections"),
        (|s| s.time = Seconds::new(0), "time"),
        (|s| s.max_size = Size::mebibytes(0), "max_size"),
    ] {
        let mut wrong = IcapScanner { url: "icap://h/s".into(), ..IcapScanner::default() };
        change(&mut wrong);
        let mut problems = Vec::new();
        Icap::new("test", &wrong, &testing::outside(), &mut problems);
        assert_eq!(
            problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(),
            [format!("checks.icap.test.{key}")]
        );
    }
}

/// What was shown once is not shown again while its tag stays the same; what is clean, under its name.
#[tokio::test]
async fn what_was_seen_is_not_shown_again() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (url, shown, tag) =
        (listener.local_addr().unwrap(), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (count, current) = (shown.clone(), tag.clone());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut input = Vec::new();
            while !input.ends_with(b"\r\n0\r\n\r\n") && !input.starts_with(b"OPTIONS") {
                if stream.read_buf(&mut input).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let text = String::from_utf8_lossy(&input).into_owned();
            let answer = if text.starts_with("OPTIONS") {
                let tag = current.load(Ordering::Relaxed);
                let tag = if tag == 0 { String::new() } else { format!("ISTag: \"{tag}\"\r\n") };
                format!("ICAP/1.0 200 OK\r\nMethods: RESPMOD\r\n{tag}Encapsulated: null-body=0\r\n\r\n")
            } else {
                count.fetch_add(1, Ordering::Relaxed);
                let found = "ICAP/1.0 200 OK\r\nX-Virus-ID: Worm\r\nEncapsulated: null-body=0\r\n\r\n";
                let blocked = "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, null-body=26\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n";
                match (text.contains("a worm"), text.contains("odd")) {
                    (true, _) => found.into(),
                    (_, true) => blocked.into(),
                    _ => "ICAP/1.0 204 No Content\r\n\r\n".into(),
                }
            };
            _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let engine = icap(&format!("icap://{url}/avscan"));
    let look = async |name: &str, content: &str| {
        let mut mail = testing::mail("Subject: a\r\n\r\n", &[("text/plain", content)]);
        mail.message.parts[0].names = vec![name.into()];
        let before = shown.load(Ordering::Relaxed);
        let said = told(&engine.scan(&mail).await);
        (said, shown.load(Ordering::Relaxed) - before)
    };
    let said = |names: &str, shown: u32| (names.to_owned(), shown);
    // Without a tag nobody can tell how long an answer is good.
    engine.health().await.state.unwrap();
    assert_eq!(look("a", "good").await, said("", 1));
    assert_eq!(look("a", "good").await, said("", 1));
    tag.store(1, Ordering::Relaxed);
    engine.health().await.state.unwrap();
    for (name, content, expected) in [
        ("a", "good", said("", 1)),
        ("a", "good", said("", 0)),
        ("b.exe", "good", said("", 1)),
        ("a", "a worm", said("Worm ", 1)),
        ("b", "a worm", said("Worm ", 0)),
        // Why it was blocked is not said, so it may be another time.
        ("a", "odd", said("blocked with 403 ", 1)),
        ("a", "odd", said("blocked with 403 ", 1)),
    ] {
        assert_eq!(look(name, content).await, expected, "{name} {content}");
    }
    tag.store(2, Ordering::Relaxed);
    engine.health().await.state.unwrap();
    assert_eq!(look("a", "good").await, said("", 1));
}
