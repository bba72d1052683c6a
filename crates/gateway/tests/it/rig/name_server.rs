//! A name server that answers as badly as it is told to: from a table, over UDP and TCP, and it counts what it is asked.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, MX, PTR, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record};

/// A running server.
pub struct NameServer {
    /// Where it answers.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    table: Mutex<HashMap<String, Vec<Line>>>,
    asked: Mutex<HashMap<String, usize>>,
    stop: AtomicBool,
}

#[derive(Clone)]
struct Line {
    ttl: u32,
    kind: String,
    data: String,
}

impl NameServer {
    /// Starts it with lines `NAME TTL TYPE DATA`. Types are A, AAAA, MX, TXT, PTR, CNAME (which is not followed); NODATA
    /// and NXDOMAIN, whose TTL is that of the negative answer (-1: no SOA); SERVFAIL, REFUSED, SILENT; TRUNCATED beside records
    /// that are then told over TCP only; WAIT with milliseconds beside records. A name `*.zone` stands for all below it
    /// that are not there. All else is NXDOMAIN for a minute.
    pub fn start(lines: &str) -> NameServer {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().expect("an address")) {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            table: Mutex::default(),
            asked: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        udp.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        tcp.set_nonblocking(true).expect("not blocking");
        let (for_udp, for_tcp) = (shared.clone(), shared.clone());
        let threads = vec![
            std::thread::spawn(move || for_udp.serve_udp(&udp)),
            std::thread::spawn(move || for_tcp.serve_tcp(&tcp)),
        ];
        let server = NameServer { address, shared, threads };
        server.set(lines);
        server
    }

    /// Takes another table.
    pub fn set(&self, lines: &str) {
        let mut table: HashMap<String, Vec<Line>> = HashMap::new();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut words = line.splitn(4, ' ');
            let mut word = || words.next().unwrap_or_default().to_owned();
            let (name, ttl, kind, data) = (word(), word(), word(), word());
            let ttl = ttl.parse::<i64>().unwrap_or_else(|_| panic!("{line:?} has no TTL"));
            let ttl = u32::try_from(ttl).unwrap_or(u32::MAX);
            table.entry(name.to_lowercase()).or_default().push(Line { ttl, kind, data });
        }
        *self.shared.table.lock().expect("the table") = table;
    }

    /// How often a question was asked: `a.example A`, over TCP `a.example A TCP`.
    pub fn asked(&self, question: &str) -> usize {
        self.shared.asked.lock().expect("the counts").get(question).copied().unwrap_or(0)
    }

    /// How many questions were asked in all.
    pub fn asked_in_all(&self) -> usize {
        self.shared.asked.lock().expect("the counts").values().sum()
    }

    /// Configuration that looks names up there.
    pub fn config(&self) -> String {
        format!("[checks.dns]\nservers = [\"{}\"]\n", self.address)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| _ = thread.join());
    }
}

impl Shared {
    fn serve_udp(self: &Arc<Shared>, socket: &UdpSocket) {
        let mut buffer = [0; 4096];
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
            let Some((wait, answer)) = self.answer(&buffer[..length], false) else { continue };
            let socket = socket.try_clone().expect("the socket once more");
            std::thread::spawn(move || {
                std::thread::sleep(wait);
                let _ = socket.send_to(&answer, from);
            });
        }
    }

    fn serve_tcp(self: &Arc<Shared>, listener: &TcpListener) {
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((stream, _)) = listener.accept() else {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            };
            let shared = self.clone();
            std::thread::spawn(move || shared.serve_stream(stream));
        }
    }

    fn serve_stream(&self, mut stream: TcpStream) -> Option<()> {
        stream.set_nonblocking(false).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        loop {
            let mut length = [0; 2];
            stream.read_exact(&mut length).ok()?;
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut query).ok()?;
            let (_, answer) = self.answer(&query, true)?;
            stream.write_all(&u16::try_from(answer.len()).ok()?.to_be_bytes()).ok()?;
            stream.write_all(&answer).ok()?;
        }
    }

    /// The answer and how long to wait before it is given; None for silence.
    fn answer(&self, query: &[u8], tcp: bool) -> Option<(Duration, Vec<u8>)> {
        let query = Message::from_vec(query).ok()?;
        let question = query.queries.first()?.clone();
        let (name, kind) = (question.name().to_ascii().to_lowercase(), question.query_type().to_string());
        let name = name.trim_end_matches('.');
        let asked = format!("{name} {kind}{}", if tcp { " TCP" } else { "" });
        *self.asked.lock().expect("the counts").entry(asked).or_default() += 1;
        let lines = self.lines(name);
        let is = |wanted: &str| lines.iter().find(|line| line.kind == wanted);
        if is("SILENT").is_some() {
            return None;
        }
        let mut answer = Message::response(query.id, query.op_code);
        answer.metadata.message_type = MessageType::Response;
        answer.metadata.recursion_available = true;
        answer.add_query(question.clone());
        let wait = is("WAIT").map_or(0, |line| line.data.parse().expect("milliseconds"));
        let records = lines.iter().filter(|line| line.kind == kind || line.kind == "CNAME");
        let records: Vec<Record> = records.map(|line| record(question.name(), line)).collect();
        let nothing_for = is("NODATA").or(is("NXDOMAIN")).map_or(60, |line| line.ttl);
        if is("SERVFAIL").is_some() || is("REFUSED").is_some() {
            let code = if is("REFUSED").is_some() { ResponseCode::Refused } else { ResponseCode::ServFail };
            answer.metadata.response_code = code;
        } else if is("TRUNCATED").is_some() && !tcp {
            answer.metadata.truncation = true;
        } else if records.is_empty() {
            if lines.is_empty() || is("NXDOMAIN").is_some() {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            if nothing_for != u32::MAX {
                let root = Name::root();
                let soa = SOA::new(root.clone(), root.clone(), 1, 60, 60, 60, nothing_for);
                answer.authorities.push(Record::from_rdata(root, nothing_for, RData::SOA(soa)));
            }
        }
        answer.answers = records;
        if answer.metadata.truncation {
            answer.answers.clear();
        }
        Some((Duration::from_millis(wait), answer.to_vec().ok()?))
    }

    fn lines(&self, name: &str) -> Vec<Line> {
        let table = self.table.lock().expect("the table");
        if let Some(lines) = table.get(name) {
            return lines.clone();
        }
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(lines) = table.get(&format!("*.{parent}")) {
                return lines.clone();
            }
            rest = parent;
        }
        Vec::new()
    }
}

fn record(name: &Name, line: &Line) -> Record {
    let target = || Name::from_ascii(format!("{}.", line.data.trim_end_matches('.'))).expect("a name");
    let data = match (line.kind.as_str(), line.data.parse::<IpAddr>()) {
        ("A", Ok(IpAddr::V4(address))) => RData::A(A(address)),
        ("AAAA", Ok(IpAddr::V6(address))) => RData::AAAA(AAAA(address)),
        ("CNAME", _) => RData::CNAME(CNAME(target())),
        ("PTR", _) => RData::PTR(PTR(target())),
        ("MX", _) => {
            let (preference, host) = line.data.split_once(' ').expect("a preference and a host");
            let host = if host == "." { Name::root() } else { Name::from_ascii(host).expect("a name") };
            RData::MX(MX::new(preference.parse().expect("a preference"), host))
        }
        ("TXT", _) => {
            let strings = line.data.as_bytes().chunks(255).map(|chunk| String::from_utf8_lossy(chunk).into());
            RData::TXT(TXT::new(strings.collect()))
        }
        other => panic!("{other:?} is no record of this table"),
    };
    Record::from_rdata(name.clone(), line.ttl, data)
}
