//! `sink`: takes SMTP and LMTP on one port, answers 250 and discards; can log or keep what it took.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use memchr::{memchr, memmem};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Arguments of `sink`.
#[derive(clap::Args)]
pub struct Options {
    /// Address to listen on.
    #[arg(long)]
    listen: SocketAddr,
    /// Folder to keep the messages in, one file each, dots unstuffed.
    #[arg(long)]
    save: Option<PathBuf>,
    /// File that gets a line for each message: its number, size in bytes and Message-ID, parted by blanks.
    #[arg(long)]
    log: Option<PathBuf>,
    /// Wait so many milliseconds before answering a message.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
    /// The answer to a message.
    #[arg(long, default_value = "250 2.0.0 Ok: taken")]
    reply: String,
    /// Offer CHUNKING (RFC 3030).
    #[arg(long)]
    chunking: bool,
}

/// What all sessions share.
struct Shared {
    save: Option<PathBuf>,
    log: Option<Mutex<File>>,
    delay: Duration,
    reply: String,
    chunking: bool,
    count: AtomicU64,
}

/// Runs until it is killed.
pub async fn run(options: Options) -> io::Result<()> {
    let log = options.log.as_ref().map(|path| File::options().create(true).append(true).open(path));
    let shared = Arc::new(Shared {
        save: options.save,
        log: log.transpose()?.map(Mutex::new),
        delay: Duration::from_millis(options.delay_ms),
        reply: format!("{}\r\n", options.reply),
        chunking: options.chunking,
        count: AtomicU64::new(0),
    });
    if let Some(folder) = &shared.save {
        std::fs::create_dir_all(folder)?;
    }
    let listener = TcpListener::bind(options.listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let shared = shared.clone();
        tokio::spawn(async move {
            // A client that breaks off is no concern of a sink.
            let _ = Session::new(stream, &shared).serve().await;
        });
    }
}

impl Shared {
    /// Whether anybody wants to see the message; else its bytes are dropped as they come.
    fn wants_content(&self) -> bool {
        self.save.is_some() || self.log.is_some()
    }

    /// Notes a message that is complete.
    fn took(&self, size: u64, content: &[u8]) -> io::Result<()> {
        let number = self.count.fetch_add(1, Relaxed) + 1;
        if let Some(folder) = &self.save {
            std::fs::write(folder.join(format!("{number:08}.eml")), unstuffed(content))?;
        }
        if let Some(log) = &self.log {
            let line = format!("{number} {size} {}\n", message_id(content));
            log.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())?;
        }
        Ok(())
    }
}

/// One connection.
struct Session<'a> {
    stream: TcpStream,
    shared: &'a Shared,
    /// Read but not yet used.
    input: Vec<u8>,
    /// Answers not yet sent: sent together when there is nothing more to read (RFC 2920).
    output: VecDeque<u8>,
    lmtp: bool,
    recipients: usize,
    content: Vec<u8>,
    size: u64,
}

const COMMAND_MAX: usize = 64 << 10;

impl<'a> Session<'a> {
    fn new(stream: TcpStream, shared: &'a Shared) -> Session<'a> {
        Session {
            stream,
            shared,
            input: Vec::with_capacity(64 << 10),
            output: VecDeque::new(),
            lmtp: false,
            recipients: 0,
            content: Vec::new(),
            size: 0,
        }
    }

    async fn serve(mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        self.say("220 sink ESMTP\r\n");
        loop {
            let Some(line) = self.line().await? else { return Ok(()) };
            if !self.command(&line).await? {
                return self.flush().await;
            }
        }
    }

    /// Carries out one command; false ends the session.
    async fn command(&mut self, line: &[u8]) -> io::Result<bool> {
        let verb = line.split(|&byte| byte == b' ').next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_slice() {
            b"EHLO" | b"LHLO" => {
                self.lmtp = verb == b"LHLO";
                let chunking = if self.shared.chunking { "250-CHUNKING\r\n" } else { "" };
                self.say("250-sink\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n");
                self.say(chunking);
                self.say("250 ENHANCEDSTATUSCODES\r\n");
            }
            b"HELO" => self.say("250 sink\r\n"),
            b"MAIL" => {
                self.recipients = 0;
                self.say("250 2.1.0 Ok\r\n");
            }
            b"RCPT" => {
                self.recipients += 1;
                self.say("250 2.1.5 Ok\r\n");
            }
            b"DATA" => {
                self.say("354 Go on\r\n");
                self.flush().await?;
                self.data().await?;
                self.taken().await?;
            }
            b"BDAT" => self.bdat(line).await?,
            b"RSET" | b"NOOP" => self.say("250 2.0.0 Ok\r\n"),
            b"QUIT" => {
                self.say("221 2.0.0 Bye\r\n");
                return Ok(false);
            }
            _ => self.say("502 5.5.1 Not known here\r\n"),
        }
        Ok(true)
    }

    /// Reads up to the final dot.
    async fn data(&mut self) -> io::Result<()> {
        const END: &[u8] = b"\r\n.\r\n";
        // The line end of the command DATA counts as the one before the dot.
        self.input.splice(0..0, *b"\r\n");
        let mut skip = 2;
        loop {
            if let Some(at) = memmem::find(&self.input, END) {
                self.keep(skip, at + 2);
                self.input.drain(..at + END.len());
                return Ok(());
            }
            let sure = self.input.len().saturating_sub(END.len() - 1);
            if sure > skip {
                self.keep(skip, sure);
                self.input.drain(..sure);
                skip = 0;
            }
            self.fill().await?;
        }
    }

    /// Reads one chunk; the last one ends the message.
    async fn bdat(&mut self, line: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(line).to_ascii_uppercase();
        let mut words = text.split_ascii_whitespace().skip(1);
        let Some(mut left) = words.next().and_then(|word| word.parse::<usize>().ok()) else {
            self.say("501 5.5.4 BDAT needs a size\r\n");
            return Ok(());
        };
        while left > 0 {
            if self.input.is_empty() {
                self.fill().await?;
            }
            let now = left.min(self.input.len());
            self.keep(0, now);
            self.input.drain(..now);
            left -= now;
        }
        if words.next() == Some("LAST") {
            return self.taken().await;
        }
        self.say("250 2.0.0 Ok\r\n");
        Ok(())
    }

    /// Counts a stretch of the input as content.
    fn keep(&mut self, from: usize, to: usize) {
        let to = to.min(self.input.len());
        let Some(stretch) = self.input.get(from..to) else { return };
        self.size += stretch.len() as u64;
        if self.shared.wants_content() {
            self.content.extend_from_slice(stretch);
        }
    }

    /// Answers a complete message: once in SMTP, for each recipient in LMTP.
    async fn taken(&mut self) -> io::Result<()> {
        self.shared.took(self.size, &self.content)?;
        self.content.clear();
        self.size = 0;
        if !self.shared.delay.is_zero() {
            tokio::time::sleep(self.shared.delay).await;
        }
        for _ in 0..if self.lmtp { self.recipients } else { 1 } {
            self.output.extend(self.shared.reply.as_bytes());
        }
        self.recipients = 0;
        Ok(())
    }

    /// The next command, without its line end. None: the client has gone.
    async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = memchr(b'\n', &self.input) {
                let line = self.input[..at].strip_suffix(b"\r").unwrap_or(&self.input[..at]).to_vec();
                self.input.drain(..=at);
                return Ok(Some(line));
            }
            if self.input.len() > COMMAND_MAX {
                return Err(io::Error::other("a command without end"));
            }
            match self.fill().await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                other => other?,
            }
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.flush().await?;
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn say(&mut self, text: &str) {
        self.output.extend(text.as_bytes());
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        self.stream.write_all(self.output.make_contiguous()).await?;
        self.output.clear();
        Ok(())
    }
}

/// Takes the stuffed dots away.
fn unstuffed(content: &[u8]) -> Vec<u8> {
    content
        .split_inclusive(|&byte| byte == b'\n')
        .flat_map(|line| line.strip_prefix(b".").unwrap_or(line))
        .copied()
        .collect()
}

/// The Message-ID field of the header, or `-`.
fn message_id(content: &[u8]) -> String {
    const NAME: &[u8] = b"message-id:";
    content
        .split(|&byte| byte == b'\n')
        .take_while(|line| !matches!(line, [] | [b'\r']))
        .find(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))
        .map(|line| String::from_utf8_lossy(&line[NAME.len()..]).trim().to_owned())
        .filter(|id| !id.is_empty())
        .unwrap_or_else(|| "-".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Talks to a sink over a real socket and returns everything it said and what it kept.
    fn dialog(pieces: &[&[u8]]) -> (String, Vec<(u64, Vec<u8>)>) {
        let folder = std::env::temp_dir().join(format!("sink-{}-{:p}", std::process::id(), pieces));
        std::fs::create_dir_all(&folder).unwrap();
        let shared = Shared {
            save: Some(folder.clone()),
            log: None,
            delay: Duration::ZERO,
            reply: "250 taken\r\n".into(),
            chunking: true,
            count: AtomicU64::new(0),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let said = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            let talk = async {
                for piece in pieces {
                    client.write_all(piece).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let mut said = String::new();
                client.read_to_string(&mut said).await.unwrap();
                said
            };
            tokio::join!(talk, Session::new(server, &shared).serve()).0
        });
        let kept = (1..=shared.count.load(Relaxed))
            .map(|n| (n, std::fs::read(folder.join(format!("{n:08}.eml"))).unwrap()))
            .collect();
        std::fs::remove_dir_all(folder).unwrap();
        (said, kept)
    }

    #[test]
    fn messages_arrive_whole_however_they_are_cut() {
        for (pieces, kept) in [
            (
                &[
                    &b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<b>\r\nDATA\r\n"[..],
                    b"A: b\r\n\r\n..c\r\n.\r\nQUIT\r\n",
                ][..],
                "A: b\r\n\r\n.c\r\n",
            ),
            (
                &[
                    b"HELO a\r\nMAIL FROM:<>\r\nRCPT TO:<b>\r\nDATA\r\nA: b\r",
                    b"\n\r\nc\r\n",
                    b".",
                    b"\r",
                    b"\nQUIT\r\n",
                ],
                "A: b\r\n\r\nc\r\n",
            ),
            (&[b"HELO a\r\nMAIL FROM:<>\r\nRCPT TO:<b>\r\nDATA\r\n", b".\r\n", b"QUIT\r\n"], ""),
            (
                &[
                    b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<b>\r\nBDAT 4\r\nA: ",
                    b"bBDAT 4 LAST\r\n\r\n\r\nQUIT\r\n",
                ],
                "A: b\r\n\r\n",
            ),
        ] {
            let (said, messages) = dialog(pieces);
            assert_eq!(messages, [(1, kept.as_bytes().to_vec())], "{said}");
            assert!(said.contains("250 taken\r\n221 "), "{said}");
        }
    }

    #[test]
    fn lmtp_answers_each_recipient() {
        let (said, _) =
            dialog(&[b"LHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<b>\r\nRCPT TO:<c>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n"]);
        assert_eq!(said.matches("250 taken").count(), 2, "{said}");
    }

    #[test]
    fn message_id_of_the_header_only() {
        for (content, id) in [
            (&b"A: b\r\nMESSAGE-ID:  <x@y>\r\n\r\n"[..], "<x@y>"),
            (b"A: b\r\n\r\nMessage-ID: <x@y>\r\n", "-"),
            (b"", "-"),
        ] {
            assert_eq!(message_id(content), id);
        }
    }
}
