//! Milter, version 6, as Postfix speaks it: everything is offered, what the filter does not want is not sent, and
//! what it does not answer is not waited for. Packets that need no answer go out together with the next that does.

use std::io;

use tokio::time::Instant;

use super::connection::Connection;
use super::{END, Sent};
use crate::load::Options;

/// What Postfix offers: all actions up to SETSYMLIST, all protocol options up to leading space.
const ACTIONS: u32 = 0x1FF;
const OPTIONS: u32 = 0x1F_FFFF;

/// Bytes of body in one packet.
const CHUNK: usize = 65_535;

/// A stage of the dialogue: its command, and the options by which a filter declines it or its own answer to it.
#[derive(Clone, Copy)]
struct Stage {
    command: u8,
    name: &'static str,
    unwanted: u32,
    silent: u32,
}

const fn stage(command: u8, name: &'static str, unwanted: u32, silent: u32) -> Stage {
    Stage { command, name, unwanted: 1 << unwanted, silent: 1 << silent }
}

const CONNECT: Stage = stage(b'C', "connect", 0, 12);
const HELO: Stage = stage(b'H', "helo", 1, 13);
const MAIL: Stage = stage(b'M', "mail", 2, 14);
const RCPT: Stage = stage(b'R', "rcpt", 3, 15);
const DATA: Stage = stage(b'T', "data", 9, 16);
const HEADER: Stage = stage(b'L', "header", 5, 7);
const EOH: Stage = stage(b'N', "eoh", 6, 18);
const BODY: Stage = stage(b'B', "body", 4, 19);

/// Option by which the filter gets values with the white space before them.
const HEADER_LEADING_SPACE: u32 = 1 << 20;

/// The header fields, one a piece (`name NUL value NUL`, the value with its leading space), then an empty piece, then
/// the body in chunks. What does not look like a field ends the header, as it does for Postfix.
pub fn packets(raw: &[u8]) -> Vec<Box<[u8]>> {
    let mut pieces: Vec<Box<[u8]>> = Vec::new();
    let mut rest = raw;
    let mut field: Vec<u8> = Vec::new();
    loop {
        let end = memchr::memmem::find(rest, b"\r\n").unwrap_or(rest.len());
        let (line, next) = (&rest[..end], &rest[(end + 2).min(rest.len())..]);
        let folded = matches!(line.first(), Some(b' ' | b'\t')) && !field.is_empty();
        if !folded {
            if !field.is_empty() {
                pieces.push(field_piece(&field));
                field.clear();
            }
            if line.is_empty() || !is_field(line) {
                if line.is_empty() {
                    rest = next;
                }
                break;
            }
        } else {
            field.push(b'\n');
        }
        field.extend_from_slice(line);
        rest = next;
    }
    pieces.push(Box::default());
    pieces.extend(rest.chunks(CHUNK).map(Box::from));
    pieces
}

fn is_field(line: &[u8]) -> bool {
    memchr::memchr(b':', line)
        .is_some_and(|colon| colon > 0 && line[..colon].iter().all(u8::is_ascii_graphic))
}

fn field_piece(field: &[u8]) -> Box<[u8]> {
    let colon = memchr::memchr(b':', field).unwrap_or(field.len());
    let mut piece = field[..colon].to_vec();
    piece.push(0);
    piece.extend(field.iter().skip(colon + 1).filter(|&&byte| byte != 0));
    piece.push(0);
    piece.into_boxed_slice()
}

/// One milter connection: one SMTP session as the filter sees it.
pub struct Client {
    connection: Connection,
    /// What the filter has agreed to.
    agreed: u32,
    /// Packets that need no answer and wait for one that does.
    output: Vec<u8>,
    /// The session has been told.
    greeted: bool,
}

/// An answer that ends a message before its end.
enum Answer {
    Go,
    Skip,
    End(u16),
}

impl Client {
    /// Connects and negotiates.
    pub async fn open(options: &Options, worker: usize) -> io::Result<Client> {
        let connection = Connection::open(options, worker).await?;
        let mut client = Client { connection, agreed: 0, output: Vec::new(), greeted: false };
        let mut offer = 6u32.to_be_bytes().to_vec();
        offer.extend(ACTIONS.to_be_bytes());
        offer.extend(OPTIONS.to_be_bytes());
        client.put(b'O', &offer);
        client.flush().await?;
        let (command, data) = client.packet().await?;
        let agreed = data.get(8..12).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        client.agreed = agreed.filter(|_| command == b'O').ok_or_else(|| odd("O", command))?;
        Ok(client)
    }

    /// One message, with the session before it on a new connection.
    pub async fn send(&mut self, options: &Options, pieces: &[Box<[u8]>]) -> io::Result<Sent> {
        let started = Instant::now();
        let early = |stage: Stage, code| Ok(Sent { stage: stage.name, code, answer: started.elapsed() });
        for (stage, data) in self.envelope(options) {
            if let Answer::End(code) = self.step(stage, &data).await? {
                self.put(b'A', b"");
                return early(stage, code);
            }
        }
        let mut body = false;
        for piece in pieces {
            let stage = match (body, piece.is_empty()) {
                (true, _) => BODY,
                (false, true) => EOH,
                (false, false) => HEADER,
            };
            body |= piece.is_empty();
            let spaced = stage.command != HEADER.command || self.agreed & HEADER_LEADING_SPACE != 0;
            let answer = match spaced {
                true => self.step(stage, piece).await?,
                false => self.step(stage, &without_space(piece)).await?,
            };
            match answer {
                Answer::Go => {}
                Answer::Skip => break,
                Answer::End(code) => {
                    self.put(b'A', b"");
                    return early(stage, code);
                }
            }
        }
        self.macros(b'E', &[("i", "4Yxyz1")]);
        self.put(b'E', b"");
        self.flush().await?;
        let begin = Instant::now();
        loop {
            let (command, data) = self.packet().await?;
            if let Some(code) = end_code(command, &data) {
                return Ok(Sent { stage: END, code, answer: begin.elapsed() });
            }
            if !b"+-2beihmqp".contains(&command) {
                return Err(odd("end of message", command));
            }
        }
    }

    /// QUIT; it has no answer.
    pub async fn quit(&mut self) -> io::Result<()> {
        self.put(b'Q', b"");
        self.flush().await
    }

    /// The commands before the header, each with its macros put into the output already.
    fn envelope(&mut self, options: &Options) -> Vec<(Stage, Vec<u8>)> {
        let mut steps = Vec::new();
        if !std::mem::replace(&mut self.greeted, true) {
            let mut connect = b"client.example.org\x004".to_vec();
            connect.extend(50_000u16.to_be_bytes());
            connect.extend(b"192.0.2.10\0");
            steps.push((CONNECT, connect));
            steps.push((HELO, b"client.example.org\0".to_vec()));
        }
        steps.push((MAIL, format!("<{}>\0", options.from).into_bytes()));
        steps.extend(options.to.iter().map(|to| (RCPT, format!("<{to}>\0").into_bytes())));
        steps.push((DATA, Vec::new()));
        steps
    }

    /// One command, unless the filter does not want it, and the answer, unless it gives none.
    async fn step(&mut self, stage: Stage, data: &[u8]) -> io::Result<Answer> {
        if self.agreed & stage.unwanted != 0 {
            return Ok(Answer::Go);
        }
        match stage.command {
            b'C' => self.macros(
                b'C',
                &[("j", "mx.example.net"), ("{daemon_name}", "mx.example.net"), ("v", "Postfix 3.10.5")],
            ),
            b'M' => self.macros(
                b'M',
                &[("i", "4Yxyz1"), ("{mail_addr}", "sender@example.org"), ("{mail_mailer}", "smtp")],
            ),
            b'R' => self.macros(
                b'R',
                &[("i", "4Yxyz1"), ("{rcpt_addr}", "recipient@example.net"), ("{rcpt_mailer}", "smtp")],
            ),
            b'T' | b'N' => self.macros(stage.command, &[("i", "4Yxyz1")]),
            _ => {}
        }
        self.put(stage.command, data);
        if self.agreed & stage.silent != 0 {
            if self.output.len() > CHUNK {
                self.flush().await?;
            }
            return Ok(Answer::Go);
        }
        self.flush().await?;
        loop {
            let (command, data) = self.packet().await?;
            match command {
                b'c' => return Ok(Answer::Go),
                b's' => return Ok(Answer::Skip),
                b'p' => {}
                _ => {
                    return end_code(command, &data).map(Answer::End).ok_or_else(|| odd(stage.name, command));
                }
            }
        }
    }

    fn macros(&mut self, command: u8, macros: &[(&str, &str)]) {
        let mut data = vec![command];
        for (name, value) in macros {
            data.extend(name.bytes().chain([0]).chain(value.bytes()).chain([0]));
        }
        self.put(b'D', &data);
    }

    fn put(&mut self, command: u8, data: &[u8]) {
        self.output.extend((data.len() as u32 + 1).to_be_bytes());
        self.output.push(command);
        self.output.extend_from_slice(data);
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.connection.write(&self.output).await?;
        self.output.clear();
        Ok(())
    }

    async fn packet(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let length: [u8; 4] = self.connection.exactly(4).await?.try_into().map_err(io::Error::other)?;
        let length = u32::from_be_bytes(length) as usize;
        if length == 0 || length > 16 << 20 {
            return Err(io::Error::other(format!("a packet of {length} bytes")));
        }
        let packet = self.connection.exactly(length).await?;
        Ok((packet[0], packet[1..].to_vec()))
    }
}

fn without_space(piece: &[u8]) -> Vec<u8> {
    let mut piece = piece.to_vec();
    if let Some(end) = memchr::memchr(0, &piece)
        && piece.get(end + 1) == Some(&b' ')
    {
        piece.remove(end + 1);
    }
    piece
}

/// The code of an answer that ends a message.
fn end_code(command: u8, data: &[u8]) -> Option<u16> {
    Some(match command {
        b'c' | b'a' | b'd' => 250,
        b'r' => 550,
        b't' => 451,
        b'4' => 421,
        b'y' => std::str::from_utf8(data.get(..3)?).ok()?.parse().ok()?,
        _ => return None,
    })
}

fn odd(stage: &str, command: u8) -> io::Error {
    io::Error::other(format!("{:?} to {stage}", char::from(command)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_in_packets() {
        let shown = |raw: &[u8]| -> Vec<String> {
            packets(raw).iter().map(|piece| piece.escape_ascii().to_string()).collect()
        };
        for (raw, expected) in [
            (
                &b"A: b\r\nC:d\r\n e\r\n\r\nbody\r\n"[..],
                &["A\\x00 b\\x00", "C\\x00d\\n e\\x00", "", "body\\r\\n"][..],
            ),
            (b"A: b\r\n", &["A\\x00 b\\x00", ""]),
            (b"", &[""]),
            (b"no field\r\n", &["", "no field\\r\\n"]),
            (b"A: b\r\nno field\r\n", &["A\\x00 b\\x00", "", "no field\\r\\n"]),
            (b"\r\nbody", &["", "body"]),
        ] {
            assert_eq!(shown(raw), expected, "{}", raw.escape_ascii());
        }
        assert_eq!(without_space(b"A\0 b\0"), b"A\0b\0");
        assert_eq!(without_space(b"A\0b\0"), b"A\0b\0");
    }
}
