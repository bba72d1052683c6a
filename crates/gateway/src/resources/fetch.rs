//! Files of others, fetched over HTTPS or HTTP, or read on this host, each within its limits of time and size.
//!
//! Servers are checked by the system's authorities, or by those that are named. Redirections are followed, never from
//! HTTPS to HTTP. A file that came before is asked for on condition (RFC 9110 section 13.1), so that what has not changed
//! costs a few octets. A file that ends before its announced length is a failure; one without announced length may be cut
//! by whoever sends it, which only a checksum or a signature tells.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use url::{Host, Url};

use super::net::{Stream, connect_tcp};
use super::tls::client_config;
use crate::config::update::Update;

/// Longest to wait for a connection, its handshakes included.
const CONNECT_TIME: Duration = Duration::from_secs(20);

/// Longest that a server may say nothing.
const SILENCE: Duration = Duration::from_secs(30);

/// Redirections that are followed.
const REDIRECTIONS: usize = 5;

/// Checksums and signatures are no larger.
const SMALL: u64 = 64 << 10;

/// Longest answer of a proxy to CONNECT.
const PROXY_ANSWER: usize = 8 << 10;

/// Longest validator that is kept.
const VALIDATOR: usize = 1024;

/// Fetches files.
#[derive(Clone)]
pub struct Fetcher {
    tls: Arc<ClientConfig>,
    proxy: Option<Url>,
    /// Longest for one file.
    time: Duration,
    /// Largest file, in bytes.
    max_size: u64,
}

/// What tells whether a file is still the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// `ETag`, as it came.
    pub etag: Option<String>,
    /// `Last-Modified`, as it came.
    pub last_modified: Option<String>,
}

/// What came of asking for a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Fetched {
    /// It is the same as that of the validators.
    Same,
    /// The file.
    New(File),
}

/// A file that was fetched.
#[derive(Debug, PartialEq, Eq)]
pub struct File {
    /// All of it.
    pub content: Vec<u8>,
    /// What to ask by the next time.
    pub validators: Validators,
}

impl Fetcher {
    /// As `[update]` says. The error names what is wrong.
    pub fn new(update: &Update) -> Result<Fetcher, String> {
        let tls = client_config(true, update.authorities.as_deref())
            .map_err(|why| format!("update.authorities: {why}"))?;
        let proxy = match update.proxy.as_str() {
            "" => None,
            text => {
                let url = Url::parse(text).ok().filter(|url| url.scheme() == "http" && url.has_host());
                Some(url.ok_or_else(|| format!("update.proxy: “{text}” is no URL of a proxy"))?)
            }
        };
        Ok(Fetcher { tls, proxy, time: update.time.duration(), max_size: update.max_size.bytes() })
    }

    /// Fetches a file: by `https`, `http` or `file`. With validators of one that came before, only if it is another. The
    /// error says which URL, and why.
    pub async fn fetch(&self, url: &str, since: Option<&Validators>) -> Result<Fetched, String> {
        self.within(url, since, self.max_size).await
    }

    /// Fetches what is small: a checksum, a signature.
    pub async fn fetch_small(&self, url: &str) -> Result<Vec<u8>, String> {
        match self.within(url, None, SMALL.min(self.max_size)).await? {
            Fetched::New(file) => Ok(file.content),
            Fetched::Same => Err(format!("{url}: the server answers a question that was not asked")),
        }
    }

    async fn within(&self, url: &str, since: Option<&Validators>, most: u64) -> Result<Fetched, String> {
        let parsed = Url::parse(url).map_err(|why| format!("{url}: {why}"))?;
        let fetching = async {
            match parsed.scheme() {
                "file" => on_this_host(&parsed, most).await,
                "http" | "https" => self.over_http(parsed, since, most).await,
                other => Err(format!("{other} is none of https, http and file")),
            }
        };
        let late = || Err(format!("not fetched within {} s", self.time.as_secs()));
        let fetched = timeout(self.time, fetching).await.unwrap_or_else(|_| late());
        fetched.map_err(|why| format!("{url}: {why}"))
    }

    async fn over_http(
        &self,
        mut url: Url,
        since: Option<&Validators>,
        most: u64,
    ) -> Result<Fetched, String> {
        for _ in 0..=REDIRECTIONS {
            let (response, _connection) = self.get(&url, since).await?;
            match response.status().as_u16() {
                200 => return body(response, most).await.map(Fetched::New),
                304 if since.is_some() => return Ok(Fetched::Same),
                301 | 302 | 303 | 307 | 308 => url = redirected(&url, response.headers())?,
                _ => return Err(format!("the server answers {}", response.status())),
            }
        }
        Err(format!("more than {REDIRECTIONS} redirections"))
    }

    /// Asks one server. The connection lasts as long as what is returned beside the answer.
    async fn get(
        &self,
        url: &Url,
        since: Option<&Validators>,
    ) -> Result<(Response<Incoming>, Connection), String> {
        let connecting = timeout(CONNECT_TIME, self.connect(url)).await;
        let stream =
            connecting.map_err(|_| format!("no connection within {} s", CONNECT_TIME.as_secs()))??;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|why| why.to_string())?;
        let connection = Connection(tokio::spawn(async move {
            // What goes wrong with it is told to whoever waits for the answer.
            let _ = connection.await;
        }));
        let by_proxy = self.proxy.is_some() && url.scheme() == "http";
        let target = if by_proxy {
            &url[..url::Position::AfterQuery]
        } else {
            &url[url::Position::BeforePath..url::Position::AfterQuery]
        };
        let mut request = Request::get(target)
            .header(header::HOST, &url[url::Position::BeforeHost..url::Position::AfterPort])
            .header(header::USER_AGENT, concat!("gatepost/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "*/*")
            .header(header::ACCEPT_ENCODING, "identity");
        let since = since.cloned().unwrap_or_default();
        for (name, value) in
            [(header::IF_NONE_MATCH, since.etag), (header::IF_MODIFIED_SINCE, since.last_modified)]
        {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|why| why.to_string())?;
        let response = timeout(SILENCE, sender.send_request(request)).await;
        let response = response.map_err(|_| silent())?.map_err(|why| told(&why))?;
        Ok((response, connection))
    }

    /// A stream to whoever serves the URL, or to the proxy.
    async fn connect(&self, url: &Url) -> Result<Stream, String> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err("names and passwords in a URL are not passed on".into());
        }
        let place = |url: &Url| {
            let host = match url.host() {
                Some(Host::Domain(name)) => name.to_owned(),
                Some(Host::Ipv4(address)) => address.to_string(),
                Some(Host::Ipv6(address)) => address.to_string(),
                None => return Err("a URL without a host".to_owned()),
            };
            Ok((host, url.port_or_known_default().unwrap_or(80)))
        };
        let (host, port) = place(url)?;
        let near = self.proxy.as_ref().map_or_else(|| Ok((host.clone(), port)), place)?;
        let mut stream =
            connect_tcp(&near.0, near.1).await.map_err(|why| format!("{}:{}: {why}", near.0, near.1))?;
        if url.scheme() == "http" {
            return Ok(stream);
        }
        if self.proxy.is_some() {
            let to = format!("{}:{port}", url.host_str().unwrap_or_default());
            stream = tunnel(stream, &to).await.map_err(|why| format!("proxy {}: {why}", near.0))?;
        }
        let name = ServerName::try_from(host).map_err(|why| why.to_string())?;
        let secured = TlsConnector::from(self.tls.clone()).connect(name, stream).await;
        Ok(Box::new(secured.map_err(|why| format!("TLS: {why}"))?))
    }
}

/// A connection, ended when it is dropped.
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A way through a proxy (RFC 9110 section 9.3.6).
async fn tunnel(mut stream: Stream, to: &str) -> Result<Stream, String> {
    let request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|why| why.to_string())?;
    let mut answer = Vec::new();
    // Octet by octet: what follows the answer belongs to the server behind.
    while !answer.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await.map_err(|why| why.to_string())?;
        answer.push(byte);
        if answer.len() > PROXY_ANSWER {
            return Err("a longer answer than it may be".into());
        }
    }
    let line = String::from_utf8_lossy(answer.split(|byte| *byte == b'\r').next().unwrap_or_default());
    match line.split(' ').nth(1) {
        Some(status) if status.len() == 3 && status.starts_with('2') => Ok(stream),
        _ => Err(format!("it answers {line:?}")),
    }
}

fn redirected(from: &Url, headers: &HeaderMap) -> Result<Url, String> {
    let location = text(headers, &header::LOCATION).ok_or("a redirection that leads nowhere")?;
    let to = from.join(&location).map_err(|why| format!("redirected to {location:?}: {why}"))?;
    match (from.scheme(), to.scheme()) {
        (_, "https") | ("http", "http") => Ok(to),
        _ => Err(format!("redirected to {to}, which is not https")),
    }
}

async fn body(response: Response<Incoming>, most: u64) -> Result<File, String> {
    let too_large = || format!("larger than {most} bytes");
    let headers = response.headers();
    if let Some(encoding) = text(headers, &header::CONTENT_ENCODING).filter(|encoding| encoding != "identity")
    {
        return Err(format!("the server encodes it as {encoding}, unasked"));
    }
    let length = text(headers, &header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if length.is_some_and(|length| length > most) {
        return Err(too_large());
    }
    let validators = Validators {
        etag: text(headers, &header::ETAG),
        last_modified: text(headers, &header::LAST_MODIFIED),
    };
    let (mut body, mut content) = (response.into_body(), Vec::new());
    while let Some(frame) = timeout(SILENCE, body.frame()).await.map_err(|_| silent())? {
        let Ok(data) = frame.map_err(|why| told(&why))?.into_data() else { continue };
        if (content.len() + data.len()) as u64 > most {
            return Err(too_large());
        }
        content.extend_from_slice(&data);
    }
    Ok(File { content, validators })
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    (value.len() <= VALIDATOR).then(|| value.to_owned())
}

fn silent() -> String {
    format!("the server says nothing for {} s", SILENCE.as_secs())
}

/// An error with its causes, which hyper keeps apart.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

async fn on_this_host(url: &Url, most: u64) -> Result<Fetched, String> {
    let path = url.to_file_path().map_err(|()| "no path of a file on this host")?;
    let read = tokio::task::spawn_blocking(move || read_file(&path, most)).await;
    let content = read.map_err(|why| why.to_string())??;
    Ok(Fetched::New(File { content, validators: Validators::default() }))
}

fn read_file(path: &PathBuf, most: u64) -> Result<Vec<u8>, String> {
    let told = |why: std::io::Error| why.to_string();
    // A pipe would keep us waiting.
    if !std::fs::metadata(path).map_err(told)?.is_file() {
        return Err("no regular file".into());
    }
    let mut content = Vec::new();
    std::fs::File::open(path)
        .map_err(told)?
        .take(most.saturating_add(1))
        .read_to_end(&mut content)
        .map_err(told)?;
    if content.len() as u64 > most {
        return Err(format!("larger than {most} bytes"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests;
