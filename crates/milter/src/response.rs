//! What the filter says (`SMFIR_*`).

use bytes::Bytes;

use crate::command::{Malformed, number, string, strings};
use crate::flags::{Actions, Steps};
use crate::frame::{self, Frame};
use crate::refusal::Refusal;

/// Most octets of a new body in one packet (`MILTER_CHUNK_SIZE`).
pub const CHUNK: usize = 65535;

/// A packet from the filter.
///
/// Those up to [`Response::Refuse`] and [`Response::Shutdown`] are final: each command that a reply is due to is
/// answered with one of them. The others may come before that at the end of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// `c`: go on.
    Continue,
    /// `a`: take it, and say nothing more of it. At connect and HELO this holds for the connection, else for the
    /// message.
    Accept,
    /// `r`: 5xx, in the mail server's words.
    Reject,
    /// `t`: 4xx, in the mail server's words.
    TempFail,
    /// `d`: tell the client that the message was taken, and throw it away.
    Discard,
    /// `s`: no more pieces of this body. Needs [`Steps::SKIP`].
    Skip,
    /// `y`: the client hears this. Sendmail, as it is built by default, ignores the text at connect.
    Refuse(Refusal),
    /// `4`: 421, and close the client's connection. Postfix only; for Sendmail use [`Response::Refuse`] with 421.
    Shutdown,
    /// `f`: make the connection fail. Known to neither Sendmail 8.17 nor Postfix.
    ConnectionFailure,
    /// `p`: still at it; the mail server's timeout begins anew.
    Progress,
    /// `q`: the mail server shall hold the message; its administrators read why.
    Quarantine(Bytes),
    /// `h`: add a header field. Postfix puts it last, Sendmail before the first of the same name.
    AddHeader {
        /// Its name.
        name: Bytes,
        /// Its value.
        value: Bytes,
    },
    /// `i`: insert a header field.
    ///
    /// Both Sendmail and Postfix count their own `Received` field, which the filter does not see: 0 is before it, 1 is
    /// behind it and so before all that the filter has seen. Sendmail counts other fields as well that nobody sees, so
    /// no number beyond 1 means the same to both, but for one beyond the end: last.
    InsertHeader {
        /// Where.
        index: u32,
        /// Its name.
        name: Bytes,
        /// Its value.
        value: Bytes,
    },
    /// `m`: change a header field, or delete it when the value is empty.
    ///
    /// Only those that the filter has seen are counted. After a deletion Postfix counts what is left while Sendmail
    /// still counts what is gone: delete the last of a name first.
    ChangeHeader {
        /// Which one of that name, from 1.
        index: u32,
        /// Its name.
        name: Bytes,
        /// Its new value.
        value: Bytes,
    },
    /// `e`: another sender, with ESMTP parameters if there are any (in one string, parted by spaces). Version 6.
    ChangeSender {
        /// `<a@example.org>`.
        address: Bytes,
        /// `SIZE=1 BODY=8BITMIME`.
        parameters: Option<Bytes>,
    },
    /// `+`: one more recipient; `2` with ESMTP parameters, version 6.
    AddRecipient {
        /// `<a@example.org>`.
        address: Bytes,
        /// `NOTIFY=NEVER`.
        parameters: Option<Bytes>,
    },
    /// `-`: one recipient less, by the address that RCPT gave.
    DeleteRecipient(Bytes),
    /// `b`: a new body, or the next piece of it, with CRLF line ends. Postfix wants the pieces without other responses
    /// between them. Written in packets of at most 65535 octets.
    ReplaceBody(Bytes),
    /// `O`: the filter's side of the negotiation.
    Negotiate(Agreement),
}

/// What the filter makes of the mail server's offer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// The version that is spoken: not above the mail server's.
    pub version: u32,
    /// Changes it may ask for: a subset of those offered.
    pub actions: Actions,
    /// Steps to leave out and features to use: a subset of those offered.
    pub steps: Steps,
    /// Macros it wants: names parted by spaces (`{auth_authen} i`), for a stage. Needs [`Actions::SET_SYMBOLS`].
    /// Written into the same packet.
    pub symbols: Vec<(SymbolStage, Bytes)>,
}

/// A stage that macros can be asked for (`SMFIM_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum SymbolStage {
    Connect = 0,
    Helo = 1,
    Mail = 2,
    Rcpt = 3,
    Data = 4,
    EndOfMessage = 5,
    EndOfHeader = 6,
}

impl SymbolStage {
    const ALL: [SymbolStage; 7] = [
        SymbolStage::Connect,
        SymbolStage::Helo,
        SymbolStage::Mail,
        SymbolStage::Rcpt,
        SymbolStage::Data,
        SymbolStage::EndOfMessage,
        SymbolStage::EndOfHeader,
    ];
}

impl Response {
    /// Whether it answers a command; the others come before such a one.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Response::Continue
                | Response::Accept
                | Response::Reject
                | Response::TempFail
                | Response::Discard
                | Response::Skip
                | Response::Refuse(_)
                | Response::Shutdown
                | Response::ConnectionFailure
        )
    }

    /// What has to be agreed on for it; none for most.
    pub fn needs(&self) -> Actions {
        match self {
            Response::Quarantine(_) => Actions::QUARANTINE,
            Response::AddHeader { .. } | Response::InsertHeader { .. } => Actions::ADD_HEADERS,
            Response::ChangeHeader { .. } => Actions::CHANGE_HEADERS,
            Response::ChangeSender { .. } => Actions::CHANGE_SENDER,
            Response::AddRecipient { parameters: None, .. } => Actions::ADD_RECIPIENTS,
            Response::AddRecipient { parameters: Some(_), .. } => Actions::ADD_RECIPIENTS_WITH_PARAMETERS,
            Response::DeleteRecipient(_) => Actions::DELETE_RECIPIENTS,
            Response::ReplaceBody(_) => Actions::CHANGE_BODY,
            _ => Actions::NONE,
        }
    }

    /// Appends the packet to `out`.
    ///
    /// A NUL would end a string and is left out. In a header value, line breaks become LF, as mail servers want them;
    /// one that no white space follows, which would begin another field, and a lone CR become a space.
    pub fn write(&self, out: &mut Vec<u8>) {
        let code = self.code();
        match self {
            Response::Refuse(refusal) => frame::write(out, code, &[&refusal.wire()]),
            Response::Quarantine(text) | Response::DeleteRecipient(text) => write_strings(out, code, &[text]),
            Response::AddHeader { name, value } => write_header(out, code, None, name, value),
            Response::InsertHeader { index, name, value } | Response::ChangeHeader { index, name, value } => {
                write_header(out, code, Some(*index), name, value);
            }
            Response::ChangeSender { address, parameters }
            | Response::AddRecipient { address, parameters } => {
                let both = std::iter::once(address).chain(parameters);
                write_strings(out, code, &both.map(|text| &text[..]).collect::<Vec<_>>());
            }
            Response::ReplaceBody(data) if data.is_empty() => frame::write(out, code, &[]),
            Response::ReplaceBody(data) => {
                data.chunks(CHUNK).for_each(|chunk| frame::write(out, code, &[chunk]));
            }
            Response::Negotiate(agreement) => write_agreement(out, agreement),
            Response::Continue
            | Response::Accept
            | Response::Reject
            | Response::TempFail
            | Response::Discard
            | Response::Skip
            | Response::Shutdown
            | Response::ConnectionFailure
            | Response::Progress => frame::write(out, code, &[]),
        }
    }

    /// Reads a packet: what a mail server does, or who tests a filter.
    pub fn parse(frame: Frame) -> Result<Response, Malformed> {
        let Frame { code, data } = frame;
        let malformed = Malformed::Data(code);
        Ok(match code {
            b'c' => Response::Continue,
            b'a' => Response::Accept,
            b'r' => Response::Reject,
            b't' => Response::TempFail,
            b'd' => Response::Discard,
            b's' => Response::Skip,
            b'y' => Response::Refuse(Refusal::parse(&data).ok_or(malformed)?),
            b'4' => Response::Shutdown,
            b'f' => Response::ConnectionFailure,
            b'p' => Response::Progress,
            b'q' => Response::Quarantine(string(&data).ok_or(malformed)?),
            b'h' => {
                let (name, value) = pair(&data).ok_or(malformed)?;
                Response::AddHeader { name, value }
            }
            b'i' | b'm' => {
                let index = number(&data, 0).ok_or(malformed)?;
                let (name, value) = pair(&data.slice(4..)).ok_or(malformed)?;
                match code {
                    b'i' => Response::InsertHeader { index, name, value },
                    _ => Response::ChangeHeader { index, name, value },
                }
            }
            b'e' | b'2' => {
                let strings = strings(&data).filter(|found| (1..=2).contains(&found.len()));
                let mut strings = strings.ok_or(malformed)?.into_iter();
                let (address, parameters) = (strings.next().ok_or(malformed)?, strings.next());
                match code {
                    b'e' => Response::ChangeSender { address, parameters },
                    _ => Response::AddRecipient {
                        address,
                        // The letter says that there may be some.
                        parameters: Some(parameters.unwrap_or_default()),
                    },
                }
            }
            b'+' => Response::AddRecipient { address: string(&data).ok_or(malformed)?, parameters: None },
            b'-' => Response::DeleteRecipient(string(&data).ok_or(malformed)?),
            b'b' => Response::ReplaceBody(data),
            b'O' => Response::Negotiate(agreement(&data).ok_or(malformed)?),
            code => return Err(Malformed::Unknown(code)),
        })
    }

    /// Its letter.
    pub const fn code(&self) -> u8 {
        match self {
            Response::Continue => b'c',
            Response::Accept => b'a',
            Response::Reject => b'r',
            Response::TempFail => b't',
            Response::Discard => b'd',
            Response::Skip => b's',
            Response::Refuse(_) => b'y',
            Response::Shutdown => b'4',
            Response::ConnectionFailure => b'f',
            Response::Progress => b'p',
            Response::Quarantine(_) => b'q',
            Response::AddHeader { .. } => b'h',
            Response::InsertHeader { .. } => b'i',
            Response::ChangeHeader { .. } => b'm',
            Response::ChangeSender { .. } => b'e',
            Response::AddRecipient { parameters: None, .. } => b'+',
            Response::AddRecipient { parameters: Some(_), .. } => b'2',
            Response::DeleteRecipient(_) => b'-',
            Response::ReplaceBody(_) => b'b',
            Response::Negotiate(_) => b'O',
        }
    }
}

fn write_strings(out: &mut Vec<u8>, code: u8, strings: &[&[u8]]) {
    let mut data = Vec::new();
    for string in strings {
        data.extend(string.iter().filter(|byte| **byte != 0));
        data.push(0);
    }
    frame::write(out, code, &[&data]);
}

fn write_header(out: &mut Vec<u8>, code: u8, index: Option<u32>, name: &[u8], value: &[u8]) {
    let index = index.map(u32::to_be_bytes);
    let name: Vec<u8> = name.iter().copied().filter(|byte| !matches!(byte, 0 | b'\r' | b'\n')).collect();
    let value = folded(value);
    let index: &[u8] = index.as_ref().map_or(&[], |octets| octets);
    frame::write(out, code, &[index, &name, b"\0", &value, b"\0"]);
}

fn folded(value: &[u8]) -> Vec<u8> {
    let mut clean = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            0 => {}
            b'\r' if rest.first() == Some(&b'\n') => {}
            b'\n' if matches!(rest.first(), Some(b' ' | b'\t')) => clean.push(b'\n'),
            b'\n' if rest.is_empty() => {}
            b'\r' | b'\n' => clean.push(b' '),
            _ => clean.push(byte),
        }
    }
    clean
}

fn write_agreement(out: &mut Vec<u8>, agreement: &Agreement) {
    let Agreement { version, actions, steps, symbols } = agreement;
    let mut data = [*version, actions.0, steps.0].map(u32::to_be_bytes).as_flattened().to_vec();
    for (stage, names) in symbols {
        data.extend_from_slice(&(*stage as u32).to_be_bytes());
        data.extend(names.iter().filter(|byte| **byte != 0));
        data.push(0);
    }
    frame::write(out, b'O', &[&data]);
}

fn agreement(data: &Bytes) -> Option<Agreement> {
    let mut agreement = Agreement {
        version: number(data, 0)?,
        actions: Actions(number(data, 1)?),
        steps: Steps(number(data, 2)?),
        symbols: Vec::new(),
    };
    let mut rest = data.slice(12..);
    while !rest.is_empty() {
        let stage = number(&rest, 0)?;
        let stage = SymbolStage::ALL.into_iter().find(|known| *known as u32 == stage)?;
        let end = rest[4..].iter().position(|&byte| byte == 0)? + 4;
        if agreement.symbols.len() >= SymbolStage::ALL.len() {
            return None;
        }
        agreement.symbols.push((stage, rest.slice(4..end)));
        rest = rest.slice(end + 1..);
    }
    Some(agreement)
}

/// A name and a value, ended by NUL each.
fn pair(data: &Bytes) -> Option<(Bytes, Bytes)> {
    let mut strings = strings(data).filter(|found| found.len() == 2)?.into_iter();
    strings.next().zip(strings.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn b(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn written(response: &Response) -> Vec<u8> {
        let mut out = Vec::new();
        response.write(&mut out);
        out
    }

    fn table() -> Vec<(Response, &'static [u8])> {
        let header = |name, value| (b(name), b(value));
        let (name, value) = header("X-A", " b\n c");
        vec![
            (Response::Continue, b"\0\0\0\x01c"),
            (Response::Accept, b"\0\0\0\x01a"),
            (Response::Reject, b"\0\0\0\x01r"),
            (Response::TempFail, b"\0\0\0\x01t"),
            (Response::Discard, b"\0\0\0\x01d"),
            (Response::Skip, b"\0\0\0\x01s"),
            (Response::Shutdown, b"\0\0\0\x014"),
            (Response::ConnectionFailure, b"\0\0\0\x01f"),
            (Response::Progress, b"\0\0\0\x01p"),
            (Response::Refuse(Refusal::new(550, "5.7.1", "No").unwrap()), b"\0\0\0\x0ey550 5.7.1 No\0"),
            (Response::Quarantine(b("why")), b"\0\0\0\x05qwhy\0"),
            (Response::AddHeader { name: name.clone(), value: value.clone() }, b"\0\0\0\x0bhX-A\0 b\n c\0"),
            (
                Response::InsertHeader { index: 1, name: name.clone(), value: value.clone() },
                b"\0\0\0\x0fi\0\0\0\x01X-A\0 b\n c\0",
            ),
            (Response::ChangeHeader { index: 2, name, value: Bytes::new() }, b"\0\0\0\x0am\0\0\0\x02X-A\0\0"),
            (Response::ChangeSender { address: b("<a@b>"), parameters: None }, b"\0\0\0\x07e<a@b>\0"),
            (
                Response::ChangeSender { address: b("<>"), parameters: Some(b("SIZE=1")) },
                b"\0\0\0\x0be<>\0SIZE=1\0",
            ),
            (Response::AddRecipient { address: b("<a@b>"), parameters: None }, b"\0\0\0\x07+<a@b>\0"),
            (
                Response::AddRecipient { address: b("<a@b>"), parameters: Some(b("NOTIFY=NEVER")) },
                b"\0\0\0\x142<a@b>\0NOTIFY=NEVER\0",
            ),
            (Response::DeleteRecipient(b("<a@b>")), b"\0\0\0\x07-<a@b>\0"),
            (Response::ReplaceBody(b("new\r\n")), b"\0\0\0\x06bnew\r\n"),
            (Response::ReplaceBody(Bytes::new()), b"\0\0\0\x01b"),
            (
                Response::Negotiate(Agreement {
                    version: 6,
                    actions: Actions::SET_SYMBOLS,
                    steps: Steps::SKIP,
                    symbols: vec![(SymbolStage::Mail, b("{auth_authen}")), (SymbolStage::EndOfHeader, b(""))],
                }),
                b"\0\0\0\x24O\0\0\0\x06\0\0\x01\0\0\0\x04\0\0\0\0\x02{auth_authen}\0\0\0\0\x06\0",
            ),
        ]
    }

    #[test]
    fn written_and_read_again() {
        for (response, wire) in table() {
            assert_eq!(written(&response).escape_ascii().to_string(), wire.escape_ascii().to_string());
            let frame = Frame { code: wire[4], data: Bytes::from_static(&wire[5..]) };
            assert_eq!(Response::parse(frame), Ok(response));
        }
    }

    #[test]
    fn nothing_gets_into_a_header_that_is_no_header() {
        let change = |name, value| written(&Response::AddHeader { name: b(name), value: b(value) });
        for (name, value, expected) in [
            ("X-A", "a\r\n b\r\n\tc", "X-A\0a\n b\n\tc\0"),
            ("X-A", "a\r\nSubject: b", "X-A\0a Subject: b\0"),
            ("X-A", "a\nSubject: b\r\n\r\nbody", "X-A\0a Subject: b  body\0"),
            ("X-A", "a\rb\r\n", "X-A\0a b\0"),
            ("X\0-\r\nA", "a\0b", "X-A\0ab\0"),
        ] {
            assert_eq!(&change(name, value)[5..], expected.as_bytes(), "{value:?}");
        }
    }

    #[test]
    fn a_large_body_goes_in_pieces() {
        let body = Bytes::from(vec![b'x'; CHUNK * 2 + 1]);
        let mut wire = bytes::BytesMut::from(&written(&Response::ReplaceBody(body))[..]);
        let mut lengths = Vec::new();
        while let Some(frame) = Frame::take(&mut wire, CHUNK).unwrap() {
            lengths.push((frame.code, frame.data.len()));
        }
        assert_eq!(lengths, [(b'b', CHUNK), (b'b', CHUNK), (b'b', 1)]);
    }

    #[test]
    fn what_is_no_response() {
        let cases: [(u8, &[u8]); 12] = [
            (b'y', b"250 OK\0"),
            (b'q', b"why"),
            (b'h', b"X-A\0"),
            (b'h', b"X-A\0a\0b\0"),
            (b'i', b"\0\0\0"),
            (b'm', b"\0\0\0\x01X-A\0"),
            (b'e', b""),
            (b'2', b"a\0b\0c\0"),
            (b'O', b"\0\0\0\x06\0\0\0\0\0\0\0\0\0\0\0\x07x\0"),
            (b'O', b"\0\0\0\x06\0\0\0\0\0\0\0\0\0\0\0\x01x"),
            (b'-', b""),
            (b'z', b""),
        ];
        for (code, data) in cases {
            let frame = Frame { code, data: Bytes::from_static(data) };
            assert!(Response::parse(frame).is_err(), "{} {}", char::from(code), data.escape_ascii());
        }
    }
}
