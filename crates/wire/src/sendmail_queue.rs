//! Files of Sendmail's mail queue, versions 4 to 8 (8.10 to 8.18).
//!
//! A message in a queue is a control file `qfID` (envelope and header) and a data file `dfID` (body, lines ended by LF).
//! [`ControlFile`] keeps every record byte for byte and in its place, and whatever it does not know as well; only what
//! an edit names changes. The records are those of `sendmail/queue.c` and of the "Sendmail Installation and Operation
//! Guide", appendix B.

use std::fmt;
use std::net::IpAddr;

/// A control file longer than this is none.
pub const CONTROL_LIMIT: usize = 16 << 20;

/// Names longer than this are none of Sendmail's.
const NAME_LIMIT: usize = 64;

/// In a header, the byte behind it is meant literally.
const META_QUOTE: u8 = 0xff;

/// In a header, the byte behind it is the name of a macro that is filled in on delivery.
const MACRO: u8 = 0x81;

/// What a file in a queue is, by the first letter of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// `qf`: envelope and header.
    Control,
    /// `df`: the body.
    Data,
    /// `tf`: a control file while it is written anew.
    Temporary,
    /// `xf`: a transcript of a delivery.
    Transcript,
    /// `hf`: the control file of a message that Sendmail holds in quarantine.
    Quarantined,
    /// `Qf`: a control file that was found damaged; Sendmail will not touch it again.
    Lost,
    /// `gf`: a control file that gatepost has decided about. Sendmail knows no such name.
    Decided,
    /// `gd`: a data file that gatepost has put beside one of those.
    Prepared,
}

impl FileKind {
    const ALL: [(FileKind, &'static str); 8] = [
        (FileKind::Control, "qf"),
        (FileKind::Data, "df"),
        (FileKind::Temporary, "tf"),
        (FileKind::Transcript, "xf"),
        (FileKind::Quarantined, "hf"),
        (FileKind::Lost, "Qf"),
        (FileKind::Decided, "gf"),
        (FileKind::Prepared, "gd"),
    ];

    /// The file's name for a queue id.
    pub fn name(self, id: &str) -> String {
        let prefix = FileKind::ALL.iter().find(|(kind, _)| *kind == self).map_or("qf", |(_, prefix)| prefix);
        format!("{prefix}{id}")
    }

    /// Kind and queue id of a file; None for what is no queue file. An id is ASCII letters and digits, so it is never a
    /// path.
    pub fn of(name: &str) -> Option<(FileKind, &str)> {
        let (prefix, id) = name.split_at_checked(2)?;
        let fits =
            !id.is_empty() && name.len() <= NAME_LIMIT && id.bytes().all(|b| b.is_ascii_alphanumeric());
        let (kind, _) = FileKind::ALL.iter().find(|(_, candidate)| *candidate == prefix)?;
        fits.then_some((*kind, id))
    }
}

/// Why a control file cannot be used. All but [`ControlError::Incomplete`] stay as they are however long one waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlError {
    /// The closing `.` is missing: it is being written, or its writer was killed.
    Incomplete,
    /// Something stands behind the closing `.`.
    BehindEnd,
    /// It begins with a continuation line.
    NoRecord,
    /// No version, or one that is not 4 to 8.
    Version,
    /// No sender.
    NoSender,
    /// No recipient.
    NoRecipient,
    /// Longer than [`CONTROL_LIMIT`].
    TooLong,
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ControlError::Incomplete => "the closing '.' is missing",
            ControlError::BehindEnd => "something stands behind the closing '.'",
            ControlError::NoRecord => "it begins with a continuation line or an empty one",
            ControlError::Version => "its version (V) is none of 4 to 8",
            ControlError::NoSender => "it names no sender (S)",
            ControlError::NoRecipient => "it names no recipient (R)",
            ControlError::TooLong => "it is longer than 16 MiB",
        })
    }
}

impl std::error::Error for ControlError {}

/// A control file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlFile {
    /// Each with its continuation lines, without the last LF; the first byte is the record's letter.
    records: Vec<Vec<u8>>,
}

/// A recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedRecipient {
    /// The address, without angle brackets.
    pub address: String,
    /// Flags: `P` primary, `N` NOTIFY was given, `S`, `F`, `D` on success, failure, delay, `A` and `B` aliases and Bcc.
    pub flags: String,
    /// `ORCPT=` as it was given.
    pub original: Option<String>,
}

impl QueuedRecipient {
    /// NOTIFY (RFC 3461) as RCPT had it, if it had it.
    pub fn notify(&self) -> Option<String> {
        if !self.flags.contains('N') {
            return None;
        }
        let asked = [('S', "SUCCESS"), ('F', "FAILURE"), ('D', "DELAY")];
        let asked: Vec<&str> =
            asked.into_iter().filter(|(flag, _)| self.flags.contains(*flag)).map(|(_, word)| word).collect();
        Some(if asked.is_empty() { "NEVER".into() } else { asked.join(",") })
    }
}

/// Where a field is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// Before the first field that the message has.
    First(usize),
    /// Behind all others.
    Last,
}

impl ControlFile {
    /// Reads a whole control file.
    pub fn parse(content: &[u8]) -> Result<ControlFile, ControlError> {
        if content.len() > CONTROL_LIMIT {
            return Err(ControlError::TooLong);
        }
        let mut records: Vec<Vec<u8>> = Vec::new();
        let mut rest = content;
        loop {
            let Some(end) = rest.iter().position(|&b| b == b'\n') else {
                return Err(ControlError::Incomplete);
            };
            let line = &rest[..end];
            rest = &rest[end + 1..];
            match (line.first(), records.last_mut()) {
                (Some(b'.'), _) if line.len() == 1 => break,
                (Some(b' ' | b'\t'), Some(record)) => {
                    record.push(b'\n');
                    record.extend_from_slice(line);
                }
                (None | Some(b' ' | b'\t'), _) => return Err(ControlError::NoRecord),
                _ => records.push(line.to_vec()),
            }
        }
        if !rest.is_empty() {
            return Err(ControlError::BehindEnd);
        }
        let file = ControlFile { records };
        match file.version() {
            Some(4..=8) => {}
            _ => return Err(ControlError::Version),
        }
        if file.text(b'S').is_none() {
            return Err(ControlError::NoSender);
        }
        if file.recipients().is_empty() {
            return Err(ControlError::NoRecipient);
        }
        Ok(file)
    }

    /// The file as it is to be written.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.records.join(&b'\n');
        out.extend_from_slice(b"\n.\n");
        out
    }

    /// Its version.
    pub fn version(&self) -> Option<u32> {
        self.number(b'V')
    }

    /// When the message came, in seconds since 1970.
    pub fn created(&self) -> Option<u64> {
        self.text(b'T')?.trim().parse().ok()
    }

    /// The envelope sender without angle brackets; empty for bounces.
    pub fn sender(&self) -> String {
        address(self.first(b'S').unwrap_or_default())
    }

    /// The envelope id (`ENVID=`).
    pub fn envelope_id(&self) -> Option<String> {
        self.text(b'Z')
    }

    /// `AUTH=` of MAIL, as it stands.
    pub fn auth(&self) -> Option<String> {
        self.text(b'A')
    }

    /// The body's type, `8BITMIME` or `7BIT`.
    pub fn body_type(&self) -> Option<String> {
        self.text(b'B')
    }

    /// Flags: `8` has 8-bit data, `b` drop Bcc, `d` RET was given, `n` and it was HDRS, `r` a response, `s` split, `w`
    /// the sender was warned, `e` needs SMTPUTF8.
    pub fn flags(&self) -> String {
        self.text(b'F').unwrap_or_default()
    }

    /// Why Sendmail holds it.
    pub fn quarantine_reason(&self) -> Option<String> {
        self.text(b'q')
    }

    /// The folder of the data file, when it is another than the control file's (queue groups).
    pub fn data_folder(&self) -> Option<String> {
        self.text(b'd')
    }

    /// How often delivery was tried.
    pub fn tries(&self) -> u32 {
        self.number(b'N').unwrap_or(0)
    }

    /// The value of a macro that was saved: `_`, `{client_addr}`. Empty is none.
    pub fn macro_value(&self, name: &str) -> Option<String> {
        let value = self
            .records
            .iter()
            .find_map(|record| record.strip_prefix(b"$")?.strip_prefix(name.as_bytes()))?;
        Some(lossy(value)).filter(|value| !value.is_empty())
    }

    /// Address and name of the client that brought the message: of `{client_addr}` and `{client_name}` where the
    /// configuration saves them, else of `$_`. Neither for local submission.
    pub fn client(&self) -> (Option<IpAddr>, Option<String>) {
        let told = self.macro_value("{client_addr}").and_then(|text| ip(&text));
        let (shown, name) = self.macro_value("_").map_or((None, None), |text| validated(&text));
        let name = self.macro_value("{client_name}").filter(|name| !name.starts_with('[')).or(name);
        match told.or(shown) {
            Some(client) => (Some(client), name),
            None => (None, None),
        }
    }

    /// The recipients, in their order.
    pub fn recipients(&self) -> Vec<QueuedRecipient> {
        let mut recipients = Vec::new();
        let mut original = None;
        for record in &self.records {
            match record.split_first() {
                Some((b'Q', text)) => original = Some(lossy(text)),
                Some((b'R', text)) => {
                    let (flags, text) = recipient_parts(text);
                    let flags = lossy(flags);
                    recipients.push(QueuedRecipient {
                        address: address(text),
                        flags,
                        original: original.take(),
                    });
                }
                _ => {}
            }
        }
        recipients
    }

    /// The header as the message has it, lines ended by CRLF, without the empty line behind it. Fields that Sendmail only
    /// fills in on delivery (`Return-Path: <$g>`) are not in it.
    pub fn header(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for field in self.records.iter().filter_map(|record| Field::of(record)).filter(Field::is_shown) {
            for (place, line) in field.text.split(|&b| b == b'\n').enumerate() {
                if place > 0 {
                    out.extend_from_slice(b"\r\n");
                }
                unquote(line, &mut out);
            }
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    /// Makes spaces of stray CRs in the header, and says how many there were.
    pub fn mend(&mut self) -> u64 {
        let mut mended = 0;
        for byte in self.records.iter_mut().filter(|record| record.first() == Some(&b'H')).flatten() {
            if *byte == b'\r' {
                *byte = b' ';
                mended += 1;
            }
        }
        mended
    }

    /// Adds a field. The value may be folded, by CRLF or LF and white space; a line that does not begin with white space
    /// is made to.
    pub fn insert_field(&mut self, place: Among, name: &str, value: &str) {
        let record = [b"H??", name.as_bytes(), b": ", &quote(value)].concat();
        let shown = self.fields();
        let at = match place {
            Among::First(ahead) => shown.get(ahead).copied(),
            Among::Last => None,
        };
        let behind_header = self.records.iter().rposition(|record| record.first() == Some(&b'H'));
        let at = at.or(behind_header.map(|last| last + 1)).unwrap_or(self.records.len());
        self.records.insert(at, record);
    }

    /// Gives the `nth` (from 0) field of that name, compared without case, another value; false if there is none.
    pub fn change_field(&mut self, name: &str, nth: usize, value: &str) -> bool {
        let Some(place) = self.field(name, nth) else { return false };
        let Some(field) = Field::of(&self.records[place]) else { return false };
        let record = [b"H?", field.conditions, b"?", field.name, b": ", &quote(value)].concat();
        self.records[place] = record;
        true
    }

    /// Removes the `nth` (from 0) field of that name; false if there is none.
    pub fn remove_field(&mut self, name: &str, nth: usize) -> bool {
        let place = self.field(name, nth);
        place.map(|place| self.records.remove(place)).is_some()
    }

    /// Leaves only those recipients, given by their places.
    pub fn keep_recipients(&mut self, keep: impl Fn(usize) -> bool) {
        let mut kept = Vec::with_capacity(self.records.len());
        // Records that belong to the next recipient, all of the list's after the first of them.
        let mut belonging: Vec<Vec<u8>> = Vec::new();
        let mut place = 0;
        for record in std::mem::take(&mut self.records) {
            match record.first() {
                Some(b'Q' | b'r') => belonging.push(record),
                Some(b'R') => {
                    if keep(place) {
                        kept.append(&mut belonging);
                        kept.push(record);
                    }
                    belonging.clear();
                    place += 1;
                }
                _ => {
                    kept.append(&mut belonging);
                    kept.push(record);
                }
            }
        }
        kept.append(&mut belonging);
        self.records = kept;
    }

    /// Gives recipients, by their places, other addresses, their flags kept; None leaves one as it is.
    pub fn change_recipients(&mut self, address: impl Fn(usize) -> Option<String>) {
        let recipients = self.records.iter_mut().filter(|record| record.first() == Some(&b'R'));
        for (place, record) in recipients.enumerate() {
            let Some(address) = address(place) else { continue };
            let (flags, _) = recipient_parts(&record[1..]);
            // A line break would begin a record.
            let address: String = address.chars().filter(|c| !c.is_control()).collect();
            *record = [b"R", flags, b":<", address.as_bytes(), b">"].concat();
        }
    }

    /// Says that the body has 8-bit data.
    pub fn set_eight_bit(&mut self) {
        match self.records.iter_mut().find(|record| record.first() == Some(&b'F')) {
            Some(flags) if flags.contains(&b'8') => {}
            Some(flags) => flags.push(b'8'),
            None => {
                let sender =
                    self.records.iter().position(|record| matches!(record.first(), Some(b'$' | b'S')));
                self.records.insert(sender.unwrap_or(self.records.len()), b"F8".to_vec());
            }
        }
    }

    /// Removes what tells of the data file: where it lies (`d`), its inode (`I`), its length (`L`). Sendmail works these
    /// out again.
    pub fn forget_data_file(&mut self) {
        self.records.retain(|record| !matches!(record.first(), Some(b'd' | b'I' | b'L')));
    }

    /// Places of the fields that the message has.
    fn fields(&self) -> Vec<usize> {
        let shown = |record: &&Vec<u8>| Field::of(record).is_some_and(|field| field.is_shown());
        let places = self.records.iter().enumerate().filter(|(_, record)| shown(record));
        places.map(|(place, _)| place).collect()
    }

    fn field(&self, name: &str, nth: usize) -> Option<usize> {
        let named = |place: &usize| {
            Field::of(&self.records[*place])
                .is_some_and(|field| field.name.eq_ignore_ascii_case(name.as_bytes()))
        };
        self.fields().into_iter().filter(named).nth(nth)
    }

    /// What stands behind the first record of a letter.
    fn first(&self, letter: u8) -> Option<&[u8]> {
        self.records.iter().find(|record| record.first() == Some(&letter)).map(|record| &record[1..])
    }

    fn text(&self, letter: u8) -> Option<String> {
        self.first(letter).map(lossy)
    }

    fn number(&self, letter: u8) -> Option<u32> {
        self.text(letter)?.trim().parse().ok()
    }
}

/// A record of the header: `H?conditions?Name: value`.
struct Field<'a> {
    conditions: &'a [u8],
    /// Without the white space that may stand before the colon.
    name: &'a [u8],
    /// Name and value.
    text: &'a [u8],
}

impl Field<'_> {
    fn of(record: &[u8]) -> Option<Field<'_>> {
        let text = record.strip_prefix(b"H")?;
        let (conditions, text) = match text.strip_prefix(b"?") {
            Some(behind) => {
                let end = behind.iter().position(|&b| b == b'?')?;
                (&behind[..end], &behind[end + 1..])
            }
            None => (&text[..0], text),
        };
        let name = text.split(|&b| b == b':').next().unwrap_or_default().trim_ascii_end();
        Some(Field { conditions, name, text })
    }

    /// Whether the message has it already: what comes from the configuration is filled in when it is delivered.
    fn is_shown(&self) -> bool {
        let mut quoted = false;
        let expands = self.text.iter().any(|&b| {
            let expands = b == MACRO && !quoted;
            quoted = b == META_QUOTE && !quoted;
            expands
        });
        self.conditions.is_empty() || !expands
    }
}

/// Flags and address of a recipient.
fn recipient_parts(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|&b| b == b':') {
        Some(colon) => (&text[..colon], &text[colon + 1..]),
        None => (&text[..0], text),
    }
}

/// The address in `<…>`, or all of it; a source route is left out.
fn address(text: &[u8]) -> String {
    let text = lossy(text);
    let inner = text.rfind('<').and_then(|open| {
        let inner = &text[open + 1..];
        inner.rfind('>').map(|close| &inner[..close])
    });
    let inner = inner.unwrap_or(&text).trim();
    match inner.split_once(':') {
        Some((route, address)) if route.starts_with('@') => address.to_owned(),
        _ => inner.to_owned(),
    }
}

/// Of `$_`: `host.name [192.0.2.1]`, `user@host.name [IPv6:2001:db8::1] (may be forged)`.
fn validated(text: &str) -> (Option<IpAddr>, Option<String>) {
    let Some((before, behind)) = text.rsplit_once('[') else { return (None, None) };
    let Some(client) = behind.split(']').next().and_then(ip) else { return (None, None) };
    let name = before.trim().rsplit('@').next().unwrap_or_default();
    let usable = !name.is_empty() && !name.starts_with('[') && !behind.contains("may be forged");
    (Some(client), usable.then(|| name.to_owned()))
}

fn ip(text: &str) -> Option<IpAddr> {
    let text = text.strip_prefix("IPv6:").unwrap_or(text);
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn lossy(bytes: &[u8]) -> String {
    let mut plain = Vec::with_capacity(bytes.len());
    unquote(bytes, &mut plain);
    String::from_utf8_lossy(&plain).into_owned()
}

/// Whether Sendmail quotes a byte in a header: those that mean something to itself.
fn is_meta(byte: u8) -> bool {
    matches!(byte, 0x80..=0x9f | META_QUOTE)
}

fn unquote(text: &[u8], out: &mut Vec<u8>) {
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match bytes.next_if(|&next| byte == META_QUOTE && is_meta(next)) {
            Some(meant) => out.push(meant),
            None => out.push(byte),
        }
    }
}

/// A value as it stands in a control file.
fn quote(value: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let value = value.trim_end_matches(['\r', '\n']);
    for (place, line) in value.split('\n').enumerate() {
        if place > 0 {
            out.push(b'\n');
            if !line.starts_with([' ', '\t']) {
                out.push(b' ');
            }
        }
        for &byte in line.as_bytes().iter().filter(|&&byte| byte != b'\r') {
            if is_meta(byte) {
                out.push(META_QUOTE);
            }
            out.push(byte);
        }
    }
    out
}

/// Makes a message's body (CRLF) of a data file (LF), piece by piece.
#[derive(Debug, Default)]
pub struct BodyReader {
    /// The piece before ended in CR.
    cr: bool,
    /// CRs that stood where none belongs, in a line or at its end. Those in a line became spaces.
    pub stray: u64,
}

impl BodyReader {
    /// Takes a piece.
    pub fn read(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        out.reserve(piece.len() + piece.len() / 32);
        let mut rest = piece;
        while let Some(&first) = rest.first() {
            if self.cr && first != b'\n' {
                out.push(b' ');
            }
            self.cr = false;
            let end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            out.extend_from_slice(&rest[..end]);
            match rest.get(end) {
                Some(b'\n') => out.extend_from_slice(b"\r\n"),
                Some(_) => {
                    self.stray += 1;
                    self.cr = true;
                }
                None => {}
            }
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }

    /// The end: a last CR becomes a space as well.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.cr) {
            out.push(b' ');
        }
    }
}

/// Makes a data file (LF) of a message's body (CRLF), piece by piece. A CR that stands alone stays.
#[derive(Debug, Default)]
pub struct BodyWriter {
    /// The piece before ended in CR, which is not written yet.
    cr: bool,
    /// A byte over 127 was seen.
    pub eight_bit: bool,
}

impl BodyWriter {
    /// Takes a piece.
    pub fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        self.eight_bit |= !piece.is_ascii();
        out.reserve(piece.len() + 1);
        for &byte in piece {
            if self.cr && byte != b'\n' {
                out.push(b'\r');
            }
            self.cr = byte == b'\r';
            if !self.cr {
                out.push(byte);
            }
        }
    }

    /// The end.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.cr) {
            out.push(b'\r');
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Two recipients over SMTP, folded fields: as Sendmail 8.17.1.9 wrote it.
    const PLAIN: &[u8] = b"V8\nT1795292773\nK0\nN0\nP60121\nFbs\n$_localhost [127.0.0.1]\n$rESMTP\n$sclient.test\n\
        ${daemon_flags}\nS<a@client.test>\nrRFC822; b@example.test\nRPFD:<b@example.test>\n\
        rRFC822; c@example.test\nRPFD:<c@example.test>\nH?P?Return-Path: <\x81g>\n\
        H??Received: from client.test (localhost [127.0.0.1])\n\tby mta.test (8.17.1.9/8.17.1.9) with ESMTP id \
        6ALKQDWa032633;\n\tSat, 21 Nov 2026 20:26:13 GMT\nH?D?Date: Sat, 21 Nov 2026 20:26:13 GMT\n\
        H?M?Message-Id: <202611212026.6ALKQDWa032633@mta.test>\nH??From: A <a@client.test>\n\
        H??To: b@example.test, c@example.test\nH??Subject: hello\n\tfolded\nH??X-Empty:\nH??X-Sp:   three\n.\n";

    /// DSN parameters, a quoted local part, a Return-Path and a Bcc of the sender's own.
    const DSN: &[u8] = b"V8\nT1795292774\nK0\nN0\nP60171\nFbdns\n$_localhost [127.0.0.1]\n$rESMTP\n$sclient.test\n\
        ${daemon_flags}\nS<a@client.test>\nZabc+3Dd\nA<>\nQrfc822;Or+2Big@example.test\n\
        rRFC822; b@example.test\nRPNSD:<b@example.test>\nQrfc822;Or+2Big@example.test\n\
        rRFC822; \"q s\"@example.test\nRPNSD:<\"q s\"@example.test>\nH?P?Return-Path: <\x81g>\n\
        H??Received: from client.test (localhost [127.0.0.1])\n\tby mta.test (8.17.1.9/8.17.1.9) with ESMTP id \
        6ALKQDmL032759;\n\tSat, 21 Nov 2026 20:26:14 GMT\nH??Date: Mon, 1 Jan 2024 00:00:00 +0000\n\
        H??Message-ID: <x@y>\nH??Return-Path: <evil@x>\nH??Bcc: hidden@x\nH??From: a@client.test\n\
        H??To: undisclosed\n.\n";

    /// 8-bit text with bytes that Sendmail quotes, held in its own quarantine.
    const EIGHT_BIT: &[u8] =
        b"V8\nT1795292916\nK0\nN0\nP30068\nB8BITMIME\nF8s\n$_localhost [127.0.0.1]\n$rESMTP\n\
        $sclient.test\n${daemon_flags}\nqbad thing\nS<a@client.test>\nrRFC822; b@example.test\n\
        RPFD:<b@example.test>\nH?P?Return-Path: <\x81g>\n\
        H??Subject: \xc3\xa4\xc2\xff\x81 \xff\x81g \xff\xff $g ${x} end\n.\n";

    /// Handed over by a local program.
    const LOCAL: &[u8] =
        b"V8\nT1795293037\nK0\nN0\nP30041\nF8bs\n$_root@localhost\n${daemon_flags}c u\nSroot\n\
        Aroot@mta.test\nrRFC822; x@example.test\nRPFD:x@example.test\nH?P?Return-Path: <\x81g>\n\
        H??Received: (from root@localhost)\n\tby mta.test (8.17.1.9/8.17.1.9) id 6ALKUbhj007036;\n\
        \tSat, 21 Nov 2026 20:30:37 GMT\nH?D?Date: Sat, 21 Nov 2026 20:30:37 GMT\nH?F?From: root <root>\n\
        H?x?Full-Name: root\nH?M?Message-Id: <202611212030.6ALKUbhj007036@mta.test>\nH??Subject: local\n\
        H??To: x@example.test\n.\n";

    /// After an attempt that failed: messages for the envelope and for recipients; a bounce.
    const TRIED: &[u8] =
        b"V8\nT1795292977\nK1795293000\nN3\nP60058\nMInvalid domain name\nFwrs\n$_[127.0.0.7]\n$rSMTP\n\
        $s[127.0.0.7]\n${daemon_flags}\nS<>\nCroot:0:0:owner\nMalias database unavailable\n\
        rRFC822; postmaster@mta.test\nRPFD:<postmaster>\nMalias database unavailable\n\
        rRFC822; team@mta.test\nRPFDA:<team@mta.test>\nH?P?Return-Path: <\x81g>\nH??Subject: x\n.\n";

    /// Older versions, a data file elsewhere, records that nobody knows.
    const OLD: &[u8] =
        b"V6\nT1000000000\nK0\nN0\nP30012\ndq2\nI8/1/1077253\nL120\nYfuture\n\tgoes on\n$_x\nS<a@b>\n\
        !R 300\nRPFD:<c@d>\nH??Subject: x\n.\n";

    const ALL: [&[u8]; 6] = [PLAIN, DSN, EIGHT_BIT, LOCAL, TRIED, OLD];

    fn read(content: &[u8]) -> ControlFile {
        ControlFile::parse(content).unwrap()
    }

    fn shown(file: &ControlFile) -> String {
        String::from_utf8_lossy(&file.to_bytes()).into_owned()
    }

    #[test]
    fn names() {
        for (name, expected) in [
            ("qf6ALKQDWa032633", Some((FileKind::Control, "6ALKQDWa032633"))),
            ("df6ALKQDWa032633", Some((FileKind::Data, "6ALKQDWa032633"))),
            ("tfA", Some((FileKind::Temporary, "A"))),
            ("xfA", Some((FileKind::Transcript, "A"))),
            ("hfA", Some((FileKind::Quarantined, "A"))),
            ("QfA", Some((FileKind::Lost, "A"))),
            ("gfA", Some((FileKind::Decided, "A"))),
            ("gdA", Some((FileKind::Prepared, "A"))),
            ("qf", None),
            ("q", None),
            ("", None),
            ("qfA.bak", None),
            ("qf../x", None),
            ("df\u{e4}", None),
            ("\u{e4}fA", None),
            ("ufA", None),
        ] {
            assert_eq!(FileKind::of(name), expected, "{name}");
            if let Some((kind, id)) = expected {
                assert_eq!(kind.name(id), name);
            }
        }
        assert_eq!(FileKind::of(&format!("qf{}", "A".repeat(70))), None);
    }

    #[test]
    fn real_files_are_written_as_they_were_read() {
        for content in ALL {
            assert_eq!(read(content).to_bytes(), content);
        }
    }

    #[test]
    fn envelopes() {
        let file = read(DSN);
        assert_eq!((file.version(), file.created(), file.tries()), (Some(8), Some(1_795_292_774), 0));
        assert_eq!((file.sender().as_str(), file.flags().as_str()), ("a@client.test", "bdns"));
        assert_eq!((file.envelope_id().as_deref(), file.auth().as_deref()), (Some("abc+3Dd"), Some("<>")));
        assert_eq!(file.macro_value("r").as_deref(), Some("ESMTP"));
        assert_eq!((file.macro_value("{daemon_flags}"), file.macro_value("{none}")), (None, None));
        let recipients = file.recipients();
        let second = QueuedRecipient {
            address: "\"q s\"@example.test".into(),
            flags: "PNSD".into(),
            original: Some("rfc822;Or+2Big@example.test".into()),
        };
        assert_eq!((recipients.len(), &recipients[1]), (2, &second));
        assert_eq!(second.notify().as_deref(), Some("SUCCESS,DELAY"));
        let never = QueuedRecipient { flags: "PN".into(), ..second };
        assert_eq!(never.notify().as_deref(), Some("NEVER"));
        assert_eq!(read(PLAIN).recipients()[0].notify(), None);
        assert_eq!(read(TRIED).sender(), "");
        assert_eq!((read(TRIED).tries(), read(TRIED).recipients()[0].address.as_str()), (3, "postmaster"));
        assert_eq!(
            (read(LOCAL).sender(), read(LOCAL).recipients()[0].address.clone()),
            ("root".into(), "x@example.test".into())
        );
        assert_eq!(read(EIGHT_BIT).quarantine_reason().as_deref(), Some("bad thing"));
        assert_eq!(read(EIGHT_BIT).body_type().as_deref(), Some("8BITMIME"));
        assert_eq!(read(OLD).data_folder().as_deref(), Some("q2"));
        for (written, expected) in [
            ("<a@b>", "a@b"),
            ("a@b", "a@b"),
            ("Some <One> <a@b>", "a@b"),
            ("<@relay,@other:a@b>", "a@b"),
            ("\"|/bin/x\"", "\"|/bin/x\""),
            ("<>", ""),
            ("<a", "<a"),
        ] {
            assert_eq!(address(written.as_bytes()), expected);
        }
    }

    #[test]
    fn clients() {
        for (macros, client, name) in [
            ("$_localhost [127.0.0.1]", Some("127.0.0.1"), Some("localhost")),
            ("$_[192.0.2.7]", Some("192.0.2.7"), None),
            ("$_mx.a.test [IPv6:2001:db8::1]", Some("2001:db8::1"), Some("mx.a.test")),
            ("$_joe@mx.a.test [192.0.2.7]", Some("192.0.2.7"), Some("mx.a.test")),
            ("$_mx.a.test [192.0.2.7] (may be forged)", Some("192.0.2.7"), None),
            ("$_mx.a.test [IPv6:::ffff:192.0.2.7]", Some("192.0.2.7"), Some("mx.a.test")),
            ("$_root@localhost", None, None),
            ("$_", None, None),
            ("$_x [y]", None, None),
            (
                "${client_addr}192.0.2.8\n${client_name}mx.b.test\n$_x [192.0.2.7]",
                Some("192.0.2.8"),
                Some("mx.b.test"),
            ),
            ("${client_addr}192.0.2.8\n${client_name}[192.0.2.8]", Some("192.0.2.8"), None),
        ] {
            let file = read(format!("V8\n{macros}\nS<a@b>\nRPFD:<c@d>\n.\n").as_bytes());
            let expected = (client.map(|text| text.parse().unwrap()), name.map(str::to_owned));
            assert_eq!(file.client(), expected, "{macros}");
        }
    }

    #[test]
    fn headers() {
        let header = String::from_utf8(read(PLAIN).header()).unwrap();
        assert!(
            header.starts_with("Received: from client.test (localhost [127.0.0.1])\r\n\tby mta.test"),
            "{header}"
        );
        assert!(
            header.ends_with("\r\nSubject: hello\r\n\tfolded\r\nX-Empty:\r\nX-Sp:   three\r\n"),
            "{header}"
        );
        assert!(header.contains("\r\nDate: Sat") && !header.contains("Return-Path"), "{header}");
        assert!(String::from_utf8(read(DSN).header()).unwrap().contains("\r\nReturn-Path: <evil@x>\r\n"));
        assert_eq!(read(EIGHT_BIT).header(), b"Subject: \xc3\xa4\xc2\x81 \x81g \xff $g ${x} end\r\n");
    }

    #[test]
    fn damaged_files() {
        use ControlError::*;
        for (content, error) in [
            (&b""[..], Incomplete),
            (b"V8\n", Incomplete),
            (b"V8\nS<a@b>\nRPFD:<c@d>\n.", Incomplete),
            (b"V8\nS<a@b>\nRPFD:<c@d>\n.\nH??Evil: x\n.\n", BehindEnd),
            (b"\tx\n.\n", NoRecord),
            (b"V8\n\nS<a@b>\nRPFD:<c@d>\n.\n", NoRecord),
            (b".\n", Version),
            (b"V9\nS<a@b>\nRPFD:<c@d>\n.\n", Version),
            (b"V3\nS<a@b>\nRPFD:<c@d>\n.\n", Version),
            (b"Vx\nS<a@b>\nRPFD:<c@d>\n.\n", Version),
            (b"V8\nRPFD:<c@d>\n.\n", NoSender),
            (b"V8\nS<a@b>\n.\n", NoRecipient),
        ] {
            assert_eq!(ControlFile::parse(content), Err(error), "{}", String::from_utf8_lossy(content));
        }
        assert_eq!(ControlFile::parse(&vec![b'H'; CONTROL_LIMIT + 1]), Err(TooLong));
    }

    #[test]
    fn edits_of_the_header() {
        let mut file = read(PLAIN);
        file.insert_field(Among::First(0), "X-Top", "one\r\n\ttwo");
        file.insert_field(Among::First(1), "X-Next", "\u{e4}\u{c1}\ninjected: x\r\n");
        file.insert_field(Among::Last, "X-Last", "z");
        assert!(file.change_field("subject", 0, "[SPAM] hello\r\n folded"));
        assert!(file.change_field("MESSAGE-id", 0, "<new>"));
        assert!(file.remove_field("x-empty", 0));
        assert!(!file.remove_field("x-empty", 0) && !file.change_field("Subject", 1, "x"));
        // What Sendmail fills in itself is no field of the message.
        assert!(!file.remove_field("Return-Path", 0));
        let expected = shown(&read(PLAIN))
            .replace(
                "H??Received:",
                "H??X-Top: one\n\ttwo\nH??X-Next: \u{e4}\u{c1}\n injected: x\nH??Received:",
            )
            .replace("hello\n\tfolded", "[SPAM] hello\n folded")
            .replace("<202611212026.6ALKQDWa032633@mta.test>", "<new>")
            .replace("H??X-Empty:\n", "")
            .replace("   three\n", "   three\nH??X-Last: z\n");
        let bytes = file.to_bytes();
        assert!(bytes.windows(4).any(|window| window == b"\xc3\xff\x81\n"), "0x81 is quoted");
        let plain: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0xff).collect();
        assert_eq!(String::from_utf8_lossy(&plain), expected);
        assert_eq!(read(&bytes), file);
    }

    #[test]
    fn edits_of_the_envelope() {
        let mut file = read(DSN);
        file.change_recipients(|place| (place != 0).then(|| "other+spam@example.test\nRPFD:evil@x".into()));
        file.keep_recipients(|place| place == 1);
        let recipients = file.recipients();
        assert_eq!(recipients.len(), 1);
        assert_eq!(recipients[0].address, "other+spam@example.testRPFD:evil@x");
        assert_eq!((shown(&file).matches("\nQ").count(), shown(&file).matches("\nr").count()), (1, 1));
        let mut file = read(TRIED);
        file.keep_recipients(|place| place == 0);
        assert!(shown(&file).contains(
            "Croot:0:0:owner\nMalias database unavailable\nrRFC822; postmaster@mta.test\nRPFD:<postmaster>\n"
        ));
        assert!(!shown(&file).contains("team"));
        let mut file = read(OLD);
        file.set_eight_bit();
        file.forget_data_file();
        file.set_eight_bit();
        let expected = "V6\nT1000000000\nK0\nN0\nP30012\nYfuture\n\tgoes on\nF8\n$_x\nS<a@b>\n!R 300\nRPFD:<c@d>\nH??Subject: x\n.\n";
        assert_eq!(shown(&file), expected);
        let mut file = read(PLAIN);
        file.set_eight_bit();
        assert_eq!(file.flags(), "bs8");
    }

    #[test]
    fn stray_carriage_returns() {
        let mut file = read(b"V8\nS<a@b>\nRPFD:<c@d>\nH??Subject: a\rb\r\n.\n");
        assert_eq!(file.mend(), 2);
        assert_eq!(file.header(), b"Subject: a b \r\n");
        for (data, body, stray) in [
            (&b"one\ntwo\n"[..], &b"one\r\ntwo\r\n"[..], 0),
            (b"no end", b"no end", 0),
            (b"", b"", 0),
            (b"a\rb\n", b"a b\r\n", 1),
            (b"dos\r\nlines\r\n", b"dos\r\nlines\r\n", 2),
            (b"\r\r\n\n", b" \r\n\r\n", 2),
            (b"end\r", b"end ", 1),
        ] {
            for step in 1..=data.len().max(1) {
                let (mut reader, mut out) = (BodyReader::default(), Vec::new());
                data.chunks(step).for_each(|piece| reader.read(piece, &mut out));
                reader.finish(&mut out);
                assert_eq!((&out[..], reader.stray), (body, stray), "{data:?} by {step}");
            }
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(content: Vec<u8>) {
            if let Ok(file) = ControlFile::parse(&content) {
                prop_assert_eq!(file.to_bytes(), content);
            }
        }

        #[test]
        fn whatever_is_between_stays(lines in prop::collection::vec("[A-Za-z$!][ -~\u{80}-\u{ff}]{0,40}(\n\t[ -~]{0,20})?", 0..20)) {
            let content = format!("V8\nS<a@b>\nRPFD:<c@d>\n{}.\n", lines.iter().map(|line| format!("{line}\n")).collect::<String>());
            let mut file = read(content.as_bytes());
            prop_assert_eq!(shown(&file), content.clone());
            let recipients = file.recipients();
            let header = file.header();
            file.insert_field(Among::First(0), "X-New", "value");
            let new = file.header();
            prop_assert!(new.starts_with(b"X-New: value\r\n") && new.ends_with(&header[..]));
            prop_assert!(file.remove_field("x-new", 0));
            prop_assert_eq!(shown(&file), content);
            file.keep_recipients(|place| place > 0);
            prop_assert_eq!(&file.recipients()[..], &recipients[1..]);
        }

        #[test]
        fn values_come_back(value in "[ -~\u{80}-\u{ff}]{1,60}") {
            let mut file = read(OLD);
            file.insert_field(Among::Last, "X-New", &value);
            let header = read(&file.to_bytes()).header();
            let expected = format!("X-New: {value}\r\n");
            prop_assert!(header.ends_with(expected.as_bytes()));
        }

        #[test]
        fn bodies_come_back(data in "([ -~]{0,10}\n?){0,20}", step in 1usize..20) {
            let (mut reader, mut writer) = (BodyReader::default(), BodyWriter::default());
            let (mut body, mut back) = (Vec::new(), Vec::new());
            data.as_bytes().chunks(step).for_each(|piece| reader.read(piece, &mut body));
            reader.finish(&mut body);
            body.chunks(step).for_each(|piece| writer.write(piece, &mut back));
            writer.finish(&mut back);
            prop_assert_eq!(String::from_utf8(back).unwrap(), data);
        }
    }
}
