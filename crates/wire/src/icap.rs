//! ICAP (RFC 3507), as a client of malware scanners: content is shown to them as the answer of a web server (RESPMOD).
//!
//! 204 means that the scanner would change nothing, so nothing was found. Scanners tell what they found in
//! `X-Infection-Found`, `X-Violations-Found` or `X-Virus-ID` (draft-stecher-icap-subid), and send another page instead.

use std::fmt;

use memchr::memmem;

/// Longest header that is taken, in octets.
const HEADER_LIMIT: usize = 64 << 10;

/// Names of malware that are taken from one answer.
const NAMES: usize = 50;

/// Where a scanner is: `icap://host:port/service`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Host name or address, without brackets.
    pub host: String,
    /// 1344 unless told.
    pub port: u16,
    /// The service with its slash: `/avscan`.
    pub path: String,
}

impl Url {
    /// Reads `icap://host[:port]/service[?arguments]`.
    pub fn parse(text: &str) -> Option<Url> {
        let rest = text.strip_prefix("icap://")?;
        let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match place.strip_prefix('[') {
            Some(six) => {
                let (host, port) = six.split_once(']')?;
                (host, port.strip_prefix(':'))
            }
            None => match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        let port = port.map_or(Some(1344), |port| port.parse().ok().filter(|port| *port > 0))?;
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let path = if path.is_empty() { "/" } else { path };
        (plain(host) && plain(path)).then(|| Url { host: host.into(), port, path: path.into() })
    }

    fn host_and_port(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "icap://{}{}", self.host_and_port(), self.path)
    }
}

/// A question about the service itself (section 4.10).
pub fn options(url: &Url) -> Vec<u8> {
    format!(
        "OPTIONS {url} ICAP/1.0\r\nHost: {}\r\nUser-Agent: gatepost\r\nEncapsulated: null-body=0\r\n\r\n",
        url.host_and_port()
    )
    .into_bytes()
}

/// What is sent before `length` octets of content; [`END`] follows them. `name` is the content's name, as the path of
/// the web page that it pretends to be.
pub fn respmod(url: &Url, name: &str, length: usize) -> Vec<u8> {
    let path: String = name
        .bytes()
        .take(200)
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => (byte as char).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    let request = format!("GET http://gatepost.invalid/{path} HTTP/1.1\r\nHost: gatepost.invalid\r\n\r\n");
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n"
    );
    let (header, body) = (request.len(), request.len() + answer.len());
    let kind = if length == 0 { "null-body" } else { "res-body" };
    let mut out = format!(
        "RESPMOD {url} ICAP/1.0\r\nHost: {}\r\nUser-Agent: gatepost\r\nAllow: 204\r\n\
         Encapsulated: req-hdr=0, res-hdr={header}, {kind}={body}\r\n\r\n{request}{answer}",
        url.host_and_port()
    );
    if length > 0 {
        out.push_str(&format!("{length:x}\r\n"));
    }
    out.into_bytes()
}

/// What is sent behind content, unless that is empty.
pub const END: &[u8] = b"\r\n0\r\n\r\n";

/// What a scanner says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing was found.
    Clean,
    /// What was found, by name.
    Found(Vec<String>),
    /// It sends the content back, or something else in its place; whoever asked must compare.
    Changed {
        /// Where its body begins in what was received, in chunks ([`unchunk`]); None if it has none.
        body: Option<usize>,
        /// Status of the web page that it is.
        status: u16,
    },
    /// `200` to OPTIONS: the service, and a tag that changes when its signatures do (section 4.7).
    Options {
        /// `Service`
        service: String,
        /// `ISTag`
        tag: String,
    },
    /// It could not look: status and reason.
    Failed(String),
}

/// It is no answer in this protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoAnswer(pub &'static str);

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Reads the header of an answer. `Ok(None)`: more is needed.
pub fn answer(input: &[u8]) -> Result<Option<Answer>, NoAnswer> {
    let Some(header) = block(input, 0)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&input[..header]);
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.strip_prefix("ICAP/1.").and_then(|rest| rest.split_once(' '));
    let Some((status, reason)) = status.map(|(_, rest)| rest.split_once(' ').unwrap_or((rest, ""))) else {
        return Err(NoAnswer("not an answer in ICAP"));
    };
    let fields = fields(lines);
    let field = |name: &str| {
        fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    };
    let found = names(&fields);
    match status {
        _ if !found.is_empty() => Ok(Some(Answer::Found(found))),
        "204" => Ok(Some(Answer::Clean)),
        "200"
            if field("Encapsulated")
                .is_none_or(|list| list.contains("null-body") || list.contains("opt-body"))
                && field("Methods").is_some() =>
        {
            let text = |name| field(name).unwrap_or_default().trim_matches('"').to_owned();
            Ok(Some(Answer::Options { service: text("Service"), tag: text("ISTag") }))
        }
        "200" | "201" => changed(input, header, field("Encapsulated").unwrap_or_default()),
        _ => Ok(Some(Answer::Failed(format!("{status} {reason}").trim().to_owned()))),
    }
}

/// An answer that brings a page.
fn changed(input: &[u8], header: usize, encapsulated: &str) -> Result<Option<Answer>, NoAnswer> {
    let mut body = None;
    let mut page = None;
    for item in encapsulated.split(',') {
        let (kind, place) = item.trim().split_once('=').ok_or(NoAnswer("a wrong Encapsulated field"))?;
        let place: usize = place.parse().map_err(|_| NoAnswer("a wrong Encapsulated field"))?;
        if place > HEADER_LIMIT {
            return Err(NoAnswer("a header that is too long"));
        }
        match kind {
            "res-hdr" => page = Some(header + place),
            "res-body" => body = Some(header + place),
            _ => {}
        }
    }
    let Some(page) = page else { return Err(NoAnswer("an answer without a page")) };
    if block(input.get(page..).unwrap_or_default(), 0)?.is_none() {
        return Ok(None);
    }
    let line = String::from_utf8_lossy(input[page..].split(|byte| *byte == b'\r').next().unwrap_or_default());
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or(NoAnswer("a page without a status"))?;
    Ok(Some(Answer::Changed { body, status }))
}

/// Puts chunks together (RFC 9112 section 7.1), up to `most` octets and one more. `Ok(None)`: more is needed.
pub fn unchunk(mut input: &[u8], most: usize) -> Result<Option<Vec<u8>>, NoAnswer> {
    let mut out = Vec::new();
    loop {
        let Some(end) = memmem::find(input, b"\r\n") else {
            return if input.len() > 1024 { Err(NoAnswer("a wrong chunk")) } else { Ok(None) };
        };
        let digits = input[..end].split(|byte| *byte == b';').next().unwrap_or_default();
        let length =
            std::str::from_utf8(digits).ok().and_then(|digits| usize::from_str_radix(digits.trim(), 16).ok());
        let length = length.ok_or(NoAnswer("a wrong chunk"))?;
        input = &input[end + 2..];
        if length == 0 {
            return Ok(Some(out));
        }
        out.extend_from_slice(&input[..length.min(input.len())]);
        if out.len() > most {
            out.truncate(most + 1);
            return Ok(Some(out));
        }
        match length.checked_add(2).and_then(|length| input.get(length..)) {
            Some(rest) => input = rest,
            None => return Ok(None),
        }
    }
}

/// Where the header that begins at `from` ends, its empty line included.
fn block(input: &[u8], from: usize) -> Result<Option<usize>, NoAnswer> {
    match memmem::find(&input[from..], b"\r\n\r\n") {
        Some(end) if end <= HEADER_LIMIT => Ok(Some(from + end + 4)),
        None if input.len() - from <= HEADER_LIMIT => Ok(None),
        _ => Err(NoAnswer("a header that is too long")),
    }
}

/// Names and values; continued lines are kept as lines of the value, for `X-Violations-Found` counts them.
fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in lines {
        match (line.starts_with([' ', '\t']), line.split_once(':')) {
            (true, _) => {
                if let Some((_, value)) = fields.last_mut() {
                    value.push('\n');
                    value.push_str(line.trim());
                }
            }
            (false, Some((name, value))) => fields.push((name.trim().into(), value.trim().into())),
            (false, None) => {}
        }
    }
    fields
}

/// Names of what was found, each once.
fn names(fields: &[(String, String)]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut add = |name: &str| {
        let name = name.trim().trim_end_matches(';').trim();
        if !name.is_empty() && names.len() < NAMES && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    };
    for (name, value) in fields {
        if name.eq_ignore_ascii_case("X-Infection-Found") {
            // Type=0; Resolution=2; Threat=Eicar;
            let threat = value.split(';').find_map(|item| item.trim().strip_prefix("Threat="));
            add(threat.unwrap_or("unnamed"));
        } else if name.eq_ignore_ascii_case("X-Violations-Found") {
            // How many, then four lines for each: file, threat, its number, what was done.
            let lines: Vec<&str> = value.lines().collect();
            lines.iter().skip(2).step_by(4).for_each(|threat| add(threat));
            if lines.len() < 3 && lines.first().is_some_and(|count| *count != "0") {
                add("unnamed");
            }
        } else if ["X-Virus-ID", "X-Virus-Name"].iter().any(|own| name.eq_ignore_ascii_case(own))
            && !matches!(value.as_str(), "no threats" | "None" | "-")
        {
            add(value);
        }
    }
    if names.len() > 1 {
        names.retain(|name| name != "unnamed");
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_scanners() {
        for (text, expected) in [
            ("icap://127.0.0.1/avscan", Some("icap://127.0.0.1:1344/avscan")),
            ("icap://[::1]:1345/av?x=1", Some("icap://[::1]:1345/av?x=1")),
            ("icap://host", Some("icap://host:1344/")),
            ("http://host/", None),
            ("icap:///x", None),
            ("icap://host:0/x", None),
            ("icap://host:x/x", None),
            ("icap://host/x y", None),
        ] {
            assert_eq!(Url::parse(text).map(|url| url.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn questions() {
        let url = Url::parse("icap://h/av").unwrap();
        let text = String::from_utf8(respmod(&url, "a b.exe", 5)).unwrap();
        let (header, rest) = text.split_once("\r\n\r\n").unwrap();
        assert!(header.starts_with("RESPMOD icap://h:1344/av ICAP/1.0\r\nHost: h:1344\r\n"), "{header}");
        let place = |name: &str| -> usize {
            let at = header.find(name).unwrap() + name.len();
            header[at..].split([',', '\r']).next().unwrap().parse().unwrap()
        };
        assert!(rest[..place("res-hdr=")].starts_with("GET http://gatepost.invalid/a%20b.exe HTTP/1.1\r\n"));
        assert!(rest[place("res-hdr=")..].starts_with("HTTP/1.1 200 OK\r\n"));
        assert_eq!(&rest[place("res-body=")..], "5\r\n");
        assert!(String::from_utf8(respmod(&url, "", 0)).unwrap().ends_with("\r\n\r\n"));
        assert!(options(&url).starts_with(b"OPTIONS icap://h:1344/av ICAP/1.0\r\n"));
    }

    #[test]
    fn answers() {
        let page = "HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\n3\r\nbad\r\n0\r\n\r\n";
        let with_page = |fields: &str| {
            format!("ICAP/1.0 200 OK\r\n{fields}Encapsulated: res-hdr=0, res-body=45\r\n\r\n{page}")
        };
        let found = |names: &[&str]| Answer::Found(names.iter().map(|name| name.to_string()).collect());
        for (text, expected) in [
            ("ICAP/1.0 204 No Content\r\nISTag: \"x\"\r\n\r\n".to_owned(), Ok(Some(Answer::Clean))),
            ("ICAP/1.0 204 No Content\r\n".to_owned(), Ok(None)),
            (with_page("X-Infection-Found: Type=0; Resolution=2; Threat=Eicar-Test;\r\n"), Ok(Some(found(&["Eicar-Test"])))),
            (
                with_page("X-Violations-Found: 2\r\n\ta.zip\r\n\tWorm.A\r\n\t1\r\n\t2\r\n\tb.zip\r\n\tWorm.B\r\n\t1\r\n\t2\r\n"),
                Ok(Some(found(&["Worm.A", "Worm.B"]))),
            ),
            (with_page("X-Virus-ID: Worm.C\r\nX-Infection-Found: Type=0;\r\n"), Ok(Some(found(&["Worm.C"])))),
            (with_page("X-Infection-Found: Type=0;\r\n"), Ok(Some(found(&["unnamed"])))),
            ("ICAP/1.0 204 Ok\r\nX-Virus-ID: Worm.D\r\n\r\n".to_owned(), Ok(Some(found(&["Worm.D"])))),
            (
                "ICAP/1.0 200 OK\r\nMethods: RESPMOD\r\nService: C-ICAP\r\nISTag: \"abc\"\r\nEncapsulated: null-body=0\r\n\r\n"
                    .to_owned(),
                Ok(Some(Answer::Options { service: "C-ICAP".into(), tag: "abc".into() })),
            ),
            ("ICAP/1.0 404 Service not found\r\n\r\n".to_owned(), Ok(Some(Answer::Failed("404 Service not found".into())))),
            ("ICAP/1.0 500\r\n\r\n".to_owned(), Ok(Some(Answer::Failed("500".into())))),
            ("HTTP/1.1 400 Bad\r\n\r\n".to_owned(), Err(NoAnswer("not an answer in ICAP"))),
            ("ICAP/1.0 200 OK\r\n\r\n".to_owned(), Err(NoAnswer("a wrong Encapsulated field"))),
            ("ICAP/1.0 200 OK\r\nEncapsulated: res-body=0\r\n\r\n".to_owned(), Err(NoAnswer("an answer without a page"))),
            ("ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=9\r\n\r\nHTTP/1.1".to_owned(), Ok(None)),
            ("x".repeat(70_000), Err(NoAnswer("a header that is too long"))),
        ] {
            assert_eq!(answer(text.as_bytes()), expected, "{text}");
        }
        let text = with_page("");
        let Ok(Some(Answer::Changed { body: Some(body), status: 403 })) = answer(text.as_bytes()) else {
            panic!("{text}");
        };
        assert_eq!(unchunk(&text.as_bytes()[body..], 100), Ok(Some(b"bad".to_vec())));
    }

    #[test]
    fn chunks() {
        for (text, most, expected) in [
            ("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", 10, Ok(Some("abcde"))),
            ("3\r\nabc\r\n", 10, Ok(None)),
            ("3\r\nab", 10, Ok(None)),
            ("ffffffff\r\nabc", 2, Ok(Some("abc"))),
            ("ffffffffffffffff\r\nabc", 10, Ok(None)),
            ("x\r\n", 10, Err(NoAnswer("a wrong chunk"))),
        ] {
            let expected = expected.map(|out: Option<&str>| out.map(|out| out.as_bytes().to_vec()));
            assert_eq!(unchunk(text.as_bytes(), most), expected, "{text}");
        }
    }
}
