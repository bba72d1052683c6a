//! Servers that behave and servers that do not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::*;
use crate::config::units::{Seconds, Size};

/// A server that answers each request by its path, and keeps what it was asked.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let (noting, answer) = (asked.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (noting, answer) = (noting.clone(), answer.clone());
                std::thread::spawn(move || serve(stream, &noting, &*answer));
            }
        });
        Server { address, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// Without an answer it hangs.
fn serve(mut stream: TcpStream, asked: &Mutex<Vec<String>>, answer: &dyn Fn(&str) -> Option<Vec<u8>>) {
    let mut request = String::new();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while reader.read_line(&mut request).is_ok_and(|read| read > 0) && !request.ends_with("\r\n\r\n") {}
    asked.lock().unwrap().push(request.clone());
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    match answer(&path) {
        Some(bytes) => drop(stream.write_all(&bytes)),
        None => drop(stream.read(&mut [0])),
    }
}

fn fetcher(change: impl FnOnce(&mut Update)) -> Fetcher {
    let mut update = Update { time: Seconds::new(5), max_size: Size::new(1000), ..Update::default() };
    change(&mut update);
    Fetcher::new(&update).unwrap()
}

fn told(fetched: Result<Fetched, String>) -> String {
    match fetched {
        Ok(Fetched::Same) => "same".into(),
        Ok(Fetched::New(file)) => format!(
            "new {} {}",
            String::from_utf8_lossy(&file.content[..file.content.len().min(20)]),
            file.validators.etag.unwrap_or_default()
        ),
        Err(why) => why,
    }
}

#[tokio::test]
async fn every_answer_of_a_server() {
    let server = Server::start(|path| {
        let ok = |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}");
        let to =
            |place: &str| format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n");
        let text = match path {
            "/good" => ok("Content-Length: 4\r\nETag: \"1\"\r\n", "good"),
            "/chunked" => ok("Transfer-Encoding: chunked\r\n", "2\r\ngo\r\n2\r\nod\r\n0\r\n\r\n"),
            "/short" => ok("Content-Length: 10\r\n", "good"),
            "/short-chunk" => ok("Transfer-Encoding: chunked\r\n", "2\r\ngo\r\n9\r\nod"),
            "/announced" => ok("Content-Length: 1001\r\n", ""),
            "/endless" => ok("", &"x".repeat(5000)),
            "/packed" => ok("Content-Length: 4\r\nContent-Encoding: gzip\r\n", "good"),
            "/there" => to("/good"),
            "/relative" => to("good"),
            "/around" => to("/around"),
            "/nowhere" => "HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n".into(),
            "/file" => to("file:///etc/passwd"),
            "/same" => "HTTP/1.1 304 Not Modified\r\n\r\n".into(),
            "/nonsense" => "220 mail ESMTP\r\n".into(),
            "/closed" => String::new(),
            "/silent" => return None,
            _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone".into(),
        };
        Some(text.into_bytes())
    });
    let fetcher = fetcher(|update| update.time = Seconds::new(2));
    for (path, expected) in [
        ("/good", "new good \"1\""),
        ("/chunked", "new good "),
        ("/there", "new good \"1\""),
        ("/relative", "new good \"1\""),
        ("/gone", "the server answers 404 Not Found"),
        ("/short", "end of file before message length reached"),
        ("/short-chunk", "error reading a body"),
        ("/announced", "larger than 1000 bytes"),
        ("/endless", "larger than 1000 bytes"),
        ("/packed", "encodes it as gzip, unasked"),
        ("/around", "more than 5 redirections"),
        ("/nowhere", "leads nowhere"),
        ("/file", "redirected to file:///etc/passwd, which is not https"),
        ("/same", "the server answers 304"),
        ("/nonsense", "invalid HTTP"),
        ("/closed", "connection closed"),
        ("/silent", "not fetched within 2 s"),
    ] {
        let said = told(fetcher.fetch(&server.url(path), None).await);
        assert!(said.contains(expected), "{path}: {said}");
        assert!(said.starts_with("new ") || said.starts_with(&server.url(path)), "{said}");
    }
    let request = server.asked.lock().unwrap()[0].clone();
    assert!(request.starts_with("GET /good HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: {}\r\n", server.address)), "{request}");
    let refused = told(fetcher.fetch("http://127.0.0.1:1/x", None).await);
    assert!(refused.contains("127.0.0.1:1: Connection refused"), "{refused}");
    for url in ["ftp://127.0.0.1/x", "x", "http://user:secret@127.0.0.1/x", "http://"] {
        assert!(fetcher.fetch(url, None).await.is_err(), "{url}");
    }
}

#[tokio::test]
async fn what_came_before_is_asked_for_on_condition() {
    let server = Server::start(|_| Some(b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec()));
    let since = Validators {
        etag: Some("W/\"a\"".into()),
        last_modified: Some("Thu, 01 Jan 2026 00:00:00 GMT".into()),
    };
    let said = told(fetcher(|_| {}).fetch(&server.url("/x?y=z"), Some(&since)).await);
    assert_eq!(said, "same");
    let request = server.asked.lock().unwrap()[0].clone();
    for line in
        ["GET /x?y=z HTTP/1.1", "if-none-match: W/\"a\"", "if-modified-since: Thu, 01 Jan 2026 00:00:00 GMT"]
    {
        assert!(request.lines().any(|found| found == line), "{line} is not in\n{request}");
    }
}

#[tokio::test]
async fn by_a_proxy() {
    let server = Server::start(|path| {
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood";
        let answer = if path.starts_with("http://") { ok } else { "HTTP/1.1 403 Forbidden\r\n\r\n" };
        Some(answer.into())
    });
    let fetcher = fetcher(|update| update.proxy = server.url(""));
    assert_eq!(told(fetcher.fetch("http://rules.invalid/x?y#z", None).await), "new good ");
    let said = told(fetcher.fetch("https://rules.invalid/x", None).await);
    assert!(said.contains("proxy 127.0.0.1: it answers \"HTTP/1.1 403 Forbidden\""), "{said}");
    let asked = server.asked.lock().unwrap();
    assert!(
        asked[0].starts_with("GET http://rules.invalid/x?y HTTP/1.1\r\nhost: rules.invalid\r\n"),
        "{}",
        asked[0]
    );
    assert!(asked[1].starts_with("CONNECT rules.invalid:443 HTTP/1.1\r\n"), "{}", asked[1]);
}

#[tokio::test]
async fn files_of_this_host() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, size: usize| std::fs::write(folder.path().join(name), "x".repeat(size)).unwrap();
    write("fits", 1000);
    write("large", 1001);
    let url = |name: &str| format!("file://{}/{name}", folder.path().display());
    let fetcher = fetcher(|_| {});
    for (url, expected) in [
        (url("fits"), "new xxxxxxxxxxxxxxxxxxxx "),
        (url("large"), "larger than 1000 bytes"),
        (url(""), "no regular file"),
        (url("absent"), "No such file"),
        ("file://elsewhere/x".into(), "no path of a file on this host"),
    ] {
        let said = told(fetcher.fetch(&url, None).await);
        assert!(said.contains(expected), "{url}: {said}");
    }
}
