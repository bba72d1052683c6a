//! Small clients of the protocols by which mail servers ask content filters: they send what the real ones send.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// Longest to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Bytes of body in one packet of the milter protocol.
const CHUNK: usize = 65_535;

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap_or_else(|error| panic!("connect to {to}: {error}"));
    stream.set_nodelay(true).expect("no delay");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    stream.set_write_timeout(Some(PATIENCE)).expect("a time limit");
    stream
}

/// A milter connection, spoken as Postfix does: all is offered, what the filter declines is not sent, and what it does
/// not answer is not waited for.
pub struct MilterClient {
    stream: TcpStream,
    agreed: u32,
    output: Vec<u8>,
}

/// How the filter ended a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MilterEnd {
    /// `a` accept, `c` continue, `d` discard, `r` reject, `t` temporary failure, `y` a reply of its own.
    pub answer: char,
    /// The reply's text, where it is one of its own.
    pub reply: String,
    /// What it wants changed: the command and its data, NULs shown as `|`.
    pub changes: Vec<(char, String)>,
}

impl MilterEnd {
    fn is(packet: (u8, Vec<u8>), changes: Vec<(char, String)>) -> MilterEnd {
        let (answer, data) = packet;
        assert!(b"acdrty".contains(&answer), "{:?} ends no message", char::from(answer));
        MilterEnd { answer: char::from(answer), reply: shown(&data), changes }
    }
}

fn shown(data: &[u8]) -> String {
    String::from_utf8_lossy(data).trim_end_matches('\0').replace('\0', "|")
}

impl MilterClient {
    /// Connects, negotiates, tells of a client and its HELO.
    pub fn connect(to: SocketAddr) -> MilterClient {
        let mut client = MilterClient { stream: connect(to), agreed: 0, output: Vec::new() };
        let offer = [6u32, 0x1FF, 0x1F_FFFF].map(u32::to_be_bytes).concat();
        client.put(b'O', &offer);
        client.flush();
        let (command, data) = client.packet();
        assert_eq!(command, b'O', "{}", data.escape_ascii());
        client.agreed = u32::from_be_bytes(data[8..12].try_into().expect("twelve bytes"));
        client.put(b'D', b"Cj\0mx.example.test\0{daemon_name}\0mx.example.test\0");
        assert!(client.step(b'C', 0, 12, b"localhost\x004\xc3\x50127.0.0.1\0").is_none(), "connect");
        assert!(client.step(b'H', 1, 13, b"client.test\0").is_none(), "helo");
        client
    }

    /// One message. Sender and recipients come without brackets.
    pub fn message(&mut self, sender: &str, recipients: &[String], raw: &[u8]) -> MilterEnd {
        self.try_message(sender, recipients, raw).unwrap_or_else(|end| {
            // The mail server tells the filter that this message is over.
            self.put(b'A', b"");
            end
        })
    }

    fn try_message(
        &mut self,
        sender: &str,
        recipients: &[String],
        raw: &[u8],
    ) -> Result<MilterEnd, MilterEnd> {
        let answered = |answer: Option<MilterEnd>| answer.map_or(Ok(()), Err);
        self.put(b'D', format!("Mi\x004Yxyz1\0{{mail_addr}}\0{sender}\0").as_bytes());
        answered(self.step(b'M', 2, 14, format!("<{sender}>\0").as_bytes()))?;
        for recipient in recipients {
            self.put(b'D', format!("Ri\x004Yxyz1\0{{rcpt_addr}}\0{recipient}\0").as_bytes());
            answered(self.step(b'R', 3, 15, format!("<{recipient}>\0").as_bytes()))?;
        }
        answered(self.step(b'T', 9, 16, b""))?;
        let (fields, body) = header_and_body(raw);
        let leading_space = self.agreed & 1 << 20 != 0;
        for field in &fields {
            answered(self.step(b'L', 5, 7, &field_data(field, leading_space)))?;
        }
        answered(self.step(b'N', 6, 18, b""))?;
        for chunk in body.chunks(CHUNK) {
            answered(self.step(b'B', 4, 19, chunk))?;
        }
        self.put(b'D', b"Ei\x004Yxyz1\0");
        self.put(b'E', b"");
        self.flush();
        let mut changes = Vec::new();
        loop {
            match self.packet() {
                (b'p', _) => {}
                (command, data) if b"+-2beihmq".contains(&command) => {
                    changes.push((char::from(command), shown(&data)));
                }
                last => return Ok(MilterEnd::is(last, changes)),
            }
        }
    }

    /// A command, unless it is declined, and its answer, unless there is none: None where the message goes on.
    fn step(&mut self, command: u8, declined: u32, silent: u32, data: &[u8]) -> Option<MilterEnd> {
        if self.agreed & 1 << declined != 0 {
            return None;
        }
        self.put(command, data);
        if self.agreed & 1 << silent != 0 {
            if self.output.len() > CHUNK {
                self.flush();
            }
            return None;
        }
        self.flush();
        loop {
            match self.packet() {
                (b'p', _) => {}
                (b'c' | b's', _) => return None,
                end => return Some(MilterEnd::is(end, Vec::new())),
            }
        }
    }

    fn put(&mut self, command: u8, data: &[u8]) {
        let length = u32::try_from(data.len() + 1).expect("a small packet");
        self.output.extend(length.to_be_bytes());
        self.output.push(command);
        self.output.extend_from_slice(data);
    }

    fn flush(&mut self) {
        self.stream.write_all(&self.output).expect("the filter listens");
        self.output.clear();
    }

    fn packet(&mut self) -> (u8, Vec<u8>) {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).expect("an answer of the filter");
        let mut packet = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut packet).expect("an answer of the filter");
        (packet[0], packet.split_off(1))
    }
}

/// The header's fields as they stand, their lines parted by LF, and the body, as Postfix parts them: the first line that is no field ends the
/// header, and an empty line there belongs to neither.
pub fn header_and_body(raw: &[u8]) -> (Vec<Vec<u8>>, &[u8]) {
    let mut fields: Vec<Vec<u8>> = Vec::new();
    let mut rest = raw;
    while !rest.is_empty() {
        let end = memchr::memmem::find(rest, b"\r\n").map_or(rest.len(), |end| end + 2);
        let line = rest[..end].strip_suffix(b"\r\n").unwrap_or(&rest[..end]);
        match fields.last_mut() {
            _ if line.is_empty() => return (fields, &rest[end..]),
            Some(field) if matches!(line[0], b' ' | b'\t') => {
                field.push(b'\n');
                field.extend_from_slice(line);
            }
            _ if is_field(line) => fields.push(line.to_vec()),
            _ => break,
        }
        rest = &rest[end..];
    }
    (fields, rest)
}

fn is_field(line: &[u8]) -> bool {
    let colon = memchr::memchr(b':', line);
    colon.is_some_and(|colon| colon > 0 && line[..colon].iter().all(u8::is_ascii_graphic))
}

fn field_data(field: &[u8], leading_space: bool) -> Vec<u8> {
    let colon = memchr::memchr(b':', field).expect("a field");
    let (name, value) = (&field[..colon], &field[colon + 1..]);
    let value = if leading_space { value } else { value.strip_prefix(b" ").unwrap_or(value) };
    // Strings end in NUL here; Postfix leaves those out that stand in them.
    let value: Vec<u8> = value.iter().copied().filter(|&byte| byte != 0).collect();
    [name, b"\0", &value, b"\0"].concat()
}

/// Asks spamd for a user and reads the answer to its end: the status line and header, and what follows them.
pub fn spamd(to: SocketAddr, command: &str, user: &str, raw: &[u8]) -> (String, Vec<u8>) {
    let mut stream = connect(to);
    let head = format!("{command} SPAMC/1.5\r\nUser: {user}\r\nContent-length: {}\r\n\r\n", raw.len());
    stream.write_all(&[head.as_bytes(), raw].concat()).expect("spamd listens");
    stream.shutdown(std::net::Shutdown::Write).expect("no more follows");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer of spamd");
    let end = memchr::memmem::find(&answer, b"\r\n\r\n").unwrap_or(answer.len());
    let body = answer.get(end + 4..).unwrap_or_default().to_vec();
    answer.truncate(end);
    (String::from_utf8_lossy(&answer).into_owned(), body)
}

/// Has clamd scan a stream: `stream: OK`, `stream: NAME FOUND`.
pub fn clamd_stream(to: SocketAddr, raw: &[u8]) -> String {
    let mut stream = connect(to);
    let mut request = b"zINSTREAM\0".to_vec();
    for chunk in raw.chunks(CHUNK) {
        request.extend(u32::try_from(chunk.len()).expect("a small chunk").to_be_bytes());
        request.extend_from_slice(chunk);
    }
    request.extend([0; 4]);
    stream.write_all(&request).expect("clamd listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer of clamd");
    answer.trim_end_matches('\0').to_owned()
}

/// Asks by AM.PDP, as amavisd-milter does, about a message that is put into `folder` for that. The lines of the answer.
pub fn am_pdp(to: SocketAddr, folder: &Path, sender: &str, recipients: &[String], raw: &[u8]) -> Vec<String> {
    std::fs::create_dir_all(folder).expect("a folder for the message");
    std::fs::write(folder.join("email.txt"), raw).expect("the message is written");
    let folder = folder.display();
    let recipients: String =
        recipients.iter().map(|recipient| format!("recipient=<{recipient}>\n")).collect();
    let request = format!(
        "request=AM.PDP\nversion_client=2\ntempdir={folder}\ntempdir_removed_by=client\n\
         mail_file={folder}/email.txt\ndelivery_care_of=client\nqueue_id=4Yxyz1\nsender=<{sender}>\n{recipients}\
         client_address=127.0.0.1\nclient_name=localhost\nhelo_name=client.test\nprotocol_name=ESMTP\n\n"
    );
    let mut stream = connect(to);
    stream.write_all(request.as_bytes()).expect("the AM.PDP server listens");
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.ends_with(b"\n\n") && !answer.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer).expect("an answer") {
            0 => break,
            count => answer.extend_from_slice(&buffer[..count]),
        }
    }
    String::from_utf8_lossy(&answer).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// A request over HTTP: status code and body.
pub fn http(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (u16, String) {
    let mut stream = connect(to);
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).expect("the server listens");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let code = answer.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0);
    (code, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

#[test]
fn a_message_is_parted_as_postfix_does() {
    let shown = |raw: &[u8]| -> (Vec<String>, String) {
        let (fields, body) = header_and_body(raw);
        let fields = fields.iter().map(|field| field_data(field, true).escape_ascii().to_string());
        (fields.collect(), body.escape_ascii().to_string())
    };
    for (raw, fields, body) in [
        (&b"A: b\r\nC:d\r\n e\r\n\r\nx\r\n"[..], &["A\\x00 b\\x00", "C\\x00d\\n e\\x00"][..], "x\\r\\n"),
        (b"A: b\r\n", &["A\\x00 b\\x00"], ""),
        (b"no field\r\n", &[], "no field\\r\\n"),
        (b"\r\nx", &[], "x"),
        (b"", &[], ""),
    ] {
        let fields: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
        assert_eq!(shown(raw), (fields, body.to_owned()), "{}", raw.escape_ascii());
    }
    assert_eq!(field_data(b"A: b\0c", false), b"A\0bc\0");
}
