//! The protocol of clamd, the ClamAV daemon, as its server speaks it: what clamd 1.4 reads and answers.
//!
//! A command that begins with `z` ends in NUL, one that begins with `n` in LF, and so do its answers. Without either it
//! is of the old kind: a line, or as much of one as came at once. On a connection there is one command, unless it is
//! `IDSESSION`: after that there may be any number until `END`, and each answer bears the number of its command.

use bytes::{Buf, BytesMut};
use memchr::memchr;

/// Longest command, in octets: a word and a path.
const COMMAND_LIMIT: usize = 8192;

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A sign of life.
    Ping,
    /// Engine and signatures.
    Version,
    /// The same, and the names of commands.
    VersionCommands,
    /// To have the signatures read again.
    Reload,
    /// Figures of the daemon's.
    Stats,
    /// Look at a file or folder, up to the first that is found.
    Scan(Vec<u8>),
    /// Look at a file or folder, all of it.
    ContScan(Vec<u8>),
    /// The same, several files at once.
    MultiScan(Vec<u8>),
    /// Look at a file or folder, and name all that is found in a file.
    AllMatchScan(Vec<u8>),
    /// Look at the content that follows in frames.
    InStream,
    /// Look at the open file that comes as ancillary data.
    FilDes,
    /// Further commands follow on this connection.
    IdSession,
    /// None follow.
    End,
    /// To have the daemon ended (`SHUTDOWN`, `QUIT`).
    Shutdown,
    /// Commands that clamd still knows and no longer does anything for.
    Obsolete,
    /// Not a command, or with an argument that it does not take.
    Unknown,
    /// A command that there is not within a session.
    NotInSession,
}

/// Whether a word is followed by an argument, and whether it can stand without `z` or `n`.
struct Word {
    name: &'static str,
    argument: bool,
    plain: bool,
    make: fn(Vec<u8>) -> Command,
}

/// In clamd's order: the first that a command begins with is the one.
const WORDS: &[Word] = &[
    Word { name: "SCAN", argument: true, plain: true, make: Command::Scan },
    Word { name: "QUIT", argument: false, plain: true, make: |_| Command::Shutdown },
    Word { name: "RELOAD", argument: false, plain: true, make: |_| Command::Reload },
    Word { name: "PING", argument: false, plain: true, make: |_| Command::Ping },
    Word { name: "CONTSCAN", argument: true, plain: true, make: Command::ContScan },
    Word { name: "VERSIONCOMMANDS", argument: false, plain: false, make: |_| Command::VersionCommands },
    Word { name: "VERSION", argument: false, plain: true, make: |_| Command::Version },
    Word { name: "END", argument: false, plain: false, make: |_| Command::End },
    Word { name: "SHUTDOWN", argument: false, plain: true, make: |_| Command::Shutdown },
    Word { name: "MULTISCAN", argument: true, plain: true, make: Command::MultiScan },
    Word { name: "FILDES", argument: false, plain: true, make: |_| Command::FilDes },
    Word { name: "STATS", argument: false, plain: false, make: |_| Command::Stats },
    Word { name: "IDSESSION", argument: false, plain: false, make: |_| Command::IdSession },
    Word { name: "INSTREAM", argument: false, plain: false, make: |_| Command::InStream },
    Word { name: "DETSTATSCLEAR", argument: false, plain: true, make: |_| Command::Obsolete },
    Word { name: "DETSTATS", argument: false, plain: true, make: |_| Command::Obsolete },
    Word { name: "ALLMATCHSCAN", argument: true, plain: false, make: Command::AllMatchScan },
];

/// The commands that we tell of, for [`Replies::commands`].
const OFFERED: &str = "SCAN RELOAD PING CONTSCAN VERSIONCOMMANDS VERSION END MULTISCAN FILDES STATS IDSESSION INSTREAM \
                       ALLMATCHSCAN";

/// A command is longer than 8192 octets. The connection is of no use afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandTooLong;

impl std::fmt::Display for CommandTooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a command is longer than {COMMAND_LIMIT} octets")
    }
}

impl std::error::Error for CommandTooLong {}

/// Reads the commands of a connection, and makes the answers to them.
#[derive(Debug)]
pub struct Session {
    /// Number of the last command of a session; None outside one.
    id: Option<u32>,
    /// What ends the answers to the last command.
    end: u8,
}

impl Default for Session {
    fn default() -> Session {
        Session { id: None, end: b'\n' }
    }
}

impl Session {
    /// At the begin of a connection.
    pub fn new() -> Session {
        Session::default()
    }

    /// Takes a command from the front of `buf`; `None` while it is not whole. With `ended`, what is there is all there
    /// will be.
    ///
    /// `IDSESSION` begins the session before it is returned.
    pub fn read(&mut self, buf: &mut BytesMut, ended: bool) -> Result<Option<Command>, CommandTooLong> {
        let (end, plain) = match buf.first() {
            None => return Ok(None),
            Some(b'z') => (0, false),
            Some(b'n') => (b'\n', false),
            Some(_) => (b'\n', true),
        };
        self.end = end;
        let window = buf.len().min(COMMAND_LIMIT + 1);
        let text = match memchr(end, &buf[..window]) {
            Some(place) => {
                let text = buf.split_to(place);
                buf.advance(1);
                text
            }
            None if window > COMMAND_LIMIT => return Err(CommandTooLong),
            // Of the old kind, what comes at once is a command; but a path may come in pieces. freshclam puts a NUL behind
            // its RELOAD.
            None if plain && (ended || is_whole(without_nul(buf))) => buf.split(),
            None => return Ok(None),
        };
        let mut text = &text[usize::from(!plain)..];
        while end == b'\n'
            && let Some(shorter) = text.strip_suffix(b"\r")
        {
            text = shorter;
        }
        if plain {
            text = without_nul(text);
        }
        let command = parse(text, plain);
        Ok(Some(self.in_session(command, plain)))
    }

    fn in_session(&mut self, command: Command, plain: bool) -> Command {
        use Command::*;
        match &mut self.id {
            None if command == IdSession => {
                self.id = Some(0);
                IdSession
            }
            None => command,
            Some(id) => {
                *id = id.saturating_add(1);
                let known = matches!(
                    command,
                    Ping | Version | VersionCommands | Stats | Scan(_) | InStream | FilDes | End
                );
                if known && !plain { command } else { NotInSession }
            }
        }
    }

    /// Whether further commands may follow.
    pub fn goes_on(&self) -> bool {
        self.id.is_some()
    }

    /// Where the answers to the last command are put together.
    pub fn replies(&self) -> Replies<'_> {
        Replies { session: self }
    }
}

/// The answers to a command, each appended to what goes out.
#[derive(Debug, Clone, Copy)]
pub struct Replies<'a> {
    session: &'a Session,
}

impl Replies<'_> {
    /// `PONG`
    pub fn pong(self, out: &mut Vec<u8>) {
        self.line(&[b"PONG"], out);
    }

    /// `ClamAV gatepost-0.1.0`: clients know a clamd by the first word.
    pub fn version(self, version: &str, out: &mut Vec<u8>) {
        self.line(&[b"ClamAV ", &plain(version)], out);
    }

    /// The version, and which commands there are.
    pub fn commands(self, version: &str, out: &mut Vec<u8>) {
        self.line(&[b"ClamAV ", &plain(version), b"| COMMANDS: ", OFFERED.as_bytes()], out);
    }

    /// `RELOADING`
    pub fn reloading(self, out: &mut Vec<u8>) {
        self.line(&[b"RELOADING"], out);
    }

    /// Figures, in the form that clamd 1.4 gives them: threads that are busy, and the most there may be.
    pub fn stats(self, live: u32, most: u32, out: &mut Vec<u8>) {
        let text = format!(
            "POOLS: 1\n\nSTATE: VALID PRIMARY\nTHREADS: live {live}  idle 0 max {most} idle-timeout 30\n\
             QUEUE: 0 items\n\nMEMSTATS: heap N/A mmap N/A used N/A free N/A releasable N/A pools 0 pools_used N/A \
             pools_total N/A\nEND"
        );
        self.line(&[text.as_bytes()], out);
    }

    /// `path: OK`. The name is the one the client gave, or `stream`, or `fd[12]`.
    pub fn ok(self, name: &[u8], out: &mut Vec<u8>) {
        self.line(&[name, b": OK"], out);
    }

    /// `path: Eicar-Test-Signature FOUND`
    pub fn found(self, name: &[u8], signature: &str, out: &mut Vec<u8>) {
        self.line(&[name, b": ", &plain(signature), b" FOUND"], out);
    }

    /// `path: Access denied. ERROR`
    pub fn error(self, name: &[u8], why: &str, out: &mut Vec<u8>) {
        self.line(&[name, b": ", &plain(why), b" ERROR"], out);
    }

    /// `INSTREAM size limit exceeded. ERROR`
    pub fn stream_too_large(self, out: &mut Vec<u8>) {
        self.line(&[b"INSTREAM size limit exceeded. ERROR"], out);
    }

    /// No descriptor came with FILDES.
    pub fn no_descriptor(self, out: &mut Vec<u8>) {
        self.line(&[b"No file descriptor received. ERROR"], out);
    }

    /// What there is to say to [`Command::NotInSession`].
    pub fn not_in_session(self, out: &mut Vec<u8>) {
        self.line(&[b"Command invalid inside IDSESSION. ERROR"], out);
    }

    /// What there is to say to [`Command::Unknown`].
    pub fn unknown(self, out: &mut Vec<u8>) {
        self.line(&[b"UNKNOWN COMMAND"], out);
    }

    /// A command that is not done for anybody.
    pub fn unavailable(self, out: &mut Vec<u8>) {
        self.line(&[b"COMMAND UNAVAILABLE"], out);
    }

    /// A command took too long to arrive. It has no number, since it was not read.
    pub fn timed_out(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"COMMAND READ TIMED OUT\n");
    }

    fn line(self, pieces: &[&[u8]], out: &mut Vec<u8>) {
        if let Some(id) = self.session.id {
            out.extend_from_slice(format!("{id}: ").as_bytes());
        }
        pieces.iter().for_each(|piece| out.extend_from_slice(piece));
        out.push(self.session.end);
    }
}

/// Text of ours on one line, whatever it was made from.
fn plain(text: &str) -> Vec<u8> {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect::<String>().into_bytes()
}

fn without_nul(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\0").unwrap_or(text)
}

/// A command of the old kind that needs no more to be one.
fn is_whole(text: &[u8]) -> bool {
    WORDS.iter().any(|word| !word.argument && word.name.as_bytes() == text)
}

fn parse(text: &[u8], plain: bool) -> Command {
    let Some(word) = WORDS.iter().find(|word| text.starts_with(word.name.as_bytes())) else {
        return Command::Unknown;
    };
    let rest = &text[word.name.len()..];
    if (plain && !word.plain) || word.argument == rest.is_empty() {
        return Command::Unknown;
    }
    if !word.argument {
        return (word.make)(Vec::new());
    }
    match rest.split_first() {
        Some((b' ', path)) if !path.contains(&0) => (word.make)(path.to_vec()),
        _ => Command::Unknown,
    }
}

/// A stream is longer than it may be. What follows on the connection is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamTooLarge;

impl std::fmt::Display for StreamTooLarge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a stream is longer than it may be")
    }
}

impl std::error::Error for StreamTooLarge {}

/// Reads the frames of `INSTREAM`: each begins with its length, four octets in network order; one of length 0 ends the
/// stream.
#[derive(Debug)]
pub struct StreamReader {
    /// Octets that may still come.
    room: u64,
    /// Octets of the frame that are still to come.
    left: u32,
}

impl StreamReader {
    /// A reader of one stream of at most `limit` octets.
    pub fn new(limit: u64) -> StreamReader {
        StreamReader { room: limit, left: 0 }
    }

    /// Takes frames from `buf` and appends what they hold to `out`. True when the stream has ended; what is left in
    /// `buf` is then the next command. A frame that would go over the limit is refused before any of it is taken.
    pub fn decode(&mut self, buf: &mut BytesMut, out: &mut Vec<u8>) -> Result<bool, StreamTooLarge> {
        loop {
            if self.left > 0 {
                let here = buf.len().min(self.left as usize);
                out.extend_from_slice(&buf[..here]);
                buf.advance(here);
                self.left -= here as u32;
                if self.left > 0 {
                    return Ok(false);
                }
            }
            if buf.len() < 4 {
                return Ok(false);
            }
            let length = buf.get_u32();
            if length == 0 {
                return Ok(true);
            }
            self.room = self.room.checked_sub(u64::from(length)).ok_or(StreamTooLarge)?;
            self.left = length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads all of a stream that ends, and answers as a server of one file would.
    fn talk(input: &[u8]) -> String {
        let (mut buf, mut session, mut out) = (BytesMut::from(input), Session::new(), Vec::new());
        loop {
            let command = session.read(&mut buf, true).unwrap();
            let replies = session.replies();
            match command {
                None | Some(Command::End) if session.goes_on() => break,
                None => break,
                Some(Command::IdSession) => continue,
                Some(Command::Ping) => replies.pong(&mut out),
                Some(Command::Version) => replies.version("1.4.6", &mut out),
                Some(Command::Reload) => replies.reloading(&mut out),
                Some(Command::Scan(path) | Command::AllMatchScan(path)) => {
                    replies.found(&path, "Eicar-Test-Signature", &mut out);
                }
                Some(Command::ContScan(path) | Command::MultiScan(path)) => replies.ok(&path, &mut out),
                Some(Command::FilDes) => replies.no_descriptor(&mut out),
                Some(Command::InStream) => {
                    let mut content = Vec::new();
                    match StreamReader::new(8).decode(&mut buf, &mut content) {
                        Ok(true) => replies.ok(b"stream", &mut out),
                        Ok(false) => break,
                        Err(StreamTooLarge) => {
                            replies.stream_too_large(&mut out);
                            break;
                        }
                    }
                }
                Some(Command::NotInSession) => {
                    replies.not_in_session(&mut out);
                    break;
                }
                Some(Command::Obsolete) => {}
                Some(Command::Shutdown) => replies.unavailable(&mut out),
                Some(Command::Stats) => replies.stats(1, 4, &mut out),
                Some(Command::VersionCommands) => replies.commands("1.4.6", &mut out),
                Some(Command::Unknown | Command::End) => replies.unknown(&mut out),
            }
            if !session.goes_on() {
                break;
            }
        }
        String::from_utf8(out).unwrap()
    }

    /// Recorded from clamd 1.4.6, save where a comment says otherwise.
    #[test]
    fn commands_and_answers() {
        for (input, answers) in [
            ("PING", "PONG\n"),
            ("PING\n", "PONG\n"),
            ("PING\r\n", "PONG\n"),
            ("nPING\n", "PONG\n"),
            ("nPING\r\n", "PONG\n"),
            ("zPING\0", "PONG\0"),
            ("zPING\n", ""),
            ("zping\0", "UNKNOWN COMMAND\0"),
            ("zPING x\0", "UNKNOWN COMMAND\0"),
            ("PINGx\n", "UNKNOWN COMMAND\n"),
            ("FOO\n", "UNKNOWN COMMAND\n"),
            ("zPING\0zPING\0", "PONG\0"),
            ("VERSION\n", "ClamAV 1.4.6\n"),
            ("zVERSION\0", "ClamAV 1.4.6\0"),
            ("VERSIONCOMMANDS\n", "UNKNOWN COMMAND\n"),
            ("STATS\n", "UNKNOWN COMMAND\n"),
            ("zRELOAD\0", "RELOADING\0"),
            // freshclam's.
            ("RELOAD\0", "RELOADING\n"),
            ("RELOAD\n", "RELOADING\n"),
            ("SCAN /a b\n", "/a b: Eicar-Test-Signature FOUND\n"),
            ("zSCAN /a\nb\0", "/a\nb: Eicar-Test-Signature FOUND\0"),
            ("zCONTSCAN /a\0", "/a: OK\0"),
            ("nMULTISCAN /a\n", "/a: OK\n"),
            ("zALLMATCHSCAN /a\0", "/a: Eicar-Test-Signature FOUND\0"),
            ("ALLMATCHSCAN /a\n", "UNKNOWN COMMAND\n"),
            ("zSCAN\0", "UNKNOWN COMMAND\0"),
            // clamd takes any octet for the space, and looks for a file `oo`.
            ("zSCANfoo\0", "UNKNOWN COMMAND\0"),
            ("zINSTREAM\0\0\0\0\x01x\0\0\0\0", "stream: OK\0"),
            ("nINSTREAM\n\0\0\0\0", "stream: OK\n"),
            ("zINSTREAM\0\0\0\0\x09", "INSTREAM size limit exceeded. ERROR\0"),
            ("zINSTREAM\0\0\0\0\x01x", ""),
            ("INSTREAM\n\0\0\0\0", "UNKNOWN COMMAND\n"),
            ("zFILDES\0", "No file descriptor received. ERROR\0"),
            ("zEND\0", "UNKNOWN COMMAND\0"),
            ("zDETSTATS\0", ""),
            // clamd ends itself.
            ("zSHUTDOWN\0", "COMMAND UNAVAILABLE\0"),
            ("zIDSESSION\0zPING\0zVERSION\0zEND\0", "1: PONG\x002: ClamAV 1.4.6\0"),
            (
                "zIDSESSION\0zINSTREAM\0\0\0\0\0zSCAN /a\0zEND\0",
                "1: stream: OK\x002: /a: Eicar-Test-Signature FOUND\0",
            ),
            ("zIDSESSION\0nPING\nzEND\0", "1: PONG\n"),
            ("nIDSESSION\nnPING\nnPING\nnEND\n", "1: PONG\n2: PONG\n"),
            ("zIDSESSION\0zPING\0", "1: PONG\0"),
            ("zIDSESSION\0zFOO\0zPING\0", "1: Command invalid inside IDSESSION. ERROR\0"),
            ("zIDSESSION\0zCONTSCAN /a\0zPING\0", "1: Command invalid inside IDSESSION. ERROR\0"),
            ("zIDSESSION\0zIDSESSION\0", "1: Command invalid inside IDSESSION. ERROR\0"),
            // clamd closes without a word.
            ("zIDSESSION\0PING\n", "1: Command invalid inside IDSESSION. ERROR\n"),
            ("", ""),
        ] {
            assert_eq!(talk(input.as_bytes()), answers, "{input:?}");
        }
        assert!(talk(b"zVERSIONCOMMANDS\0").starts_with("ClamAV 1.4.6| COMMANDS: SCAN RELOAD PING"));
        let stats = talk(b"zIDSESSION\0zSTATS\0zEND\0");
        assert!(
            stats.starts_with("1: POOLS: 1\n\nSTATE: VALID PRIMARY\nTHREADS: live 1  idle 0 max 4 "),
            "{stats}"
        );
        assert!(stats.ends_with("\nEND\0"), "{stats}");
    }

    #[test]
    fn commands_arrive_in_pieces() {
        let input = b"zIDSESSION\0zSCAN /a\0nPING\r\nzEND\0";
        for step in 1..=input.len() {
            let (mut buf, mut session, mut commands) = (BytesMut::new(), Session::new(), Vec::new());
            for chunk in input.chunks(step) {
                buf.extend_from_slice(chunk);
                while let Some(command) = session.read(&mut buf, false).unwrap() {
                    commands.push(command);
                }
            }
            let expected = [Command::IdSession, Command::Scan(b"/a".into()), Command::Ping, Command::End];
            assert_eq!(commands, expected, "in pieces of {step}");
        }
    }

    #[test]
    fn a_command_of_the_old_kind_is_answered_at_once_unless_it_has_a_path() {
        for (input, expected) in [
            ("PING", Some(Command::Ping)),
            ("PIN", None),
            ("FILDES", Some(Command::FilDes)),
            ("SCAN /tmp/a", None),
            ("FOO", None),
        ] {
            let read = Session::new().read(&mut BytesMut::from(input), false);
            assert_eq!(read, Ok(expected), "{input}");
        }
    }

    #[test]
    fn a_command_without_end() {
        for first in [b'z', b'n', b'x'] {
            let mut buf = BytesMut::from(&[first; COMMAND_LIMIT][..]);
            assert_eq!(Session::new().read(&mut buf, false), Ok(None));
            buf.extend_from_slice(b"xx");
            assert_eq!(Session::new().read(&mut buf, false), Err(CommandTooLong));
        }
    }

    #[test]
    fn frames_arrive_in_pieces_and_within_the_limit() {
        let input = b"\0\0\0\x03abc\0\0\0\x02de\0\0\0\0zPING\0";
        for step in 1..=input.len() {
            let (mut buf, mut reader, mut out) = (BytesMut::new(), StreamReader::new(5), Vec::new());
            let mut ended = false;
            for chunk in input.chunks(step) {
                buf.extend_from_slice(chunk);
                ended = ended || reader.decode(&mut buf, &mut out).unwrap();
            }
            assert!(ended);
            assert_eq!((&out[..], &buf[..]), (&b"abcde"[..], &b"zPING\0"[..]), "in pieces of {step}");
        }
        let mut out = Vec::new();
        let refused = StreamReader::new(4).decode(&mut BytesMut::from(&input[..]), &mut out);
        assert_eq!((refused, &out[..]), (Err(StreamTooLarge), &b"abc"[..]));
        let huge =
            StreamReader::new(u64::MAX).decode(&mut BytesMut::from(&b"\xff\xff\xff\xffx"[..]), &mut out);
        assert_eq!(huge, Ok(false));
    }

    #[test]
    fn names_from_elsewhere_stay_on_their_line() {
        let (session, mut out) = (Session::new(), Vec::new());
        session.replies().found(b"stream", "Bad\0\nName", &mut out);
        assert_eq!(out, b"stream: Bad??Name FOUND\n");
    }
}
