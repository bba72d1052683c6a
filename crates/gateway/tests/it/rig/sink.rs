//! An SMTP and LMTP server of the test itself, for what no real one can be made to do on demand: fail at a chosen stage,
//! hang, close, say odd things.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::wait_for;

/// What the sink does when a rule matches.
#[derive(Clone, Debug)]
pub enum Step {
    /// Says this (CRLF is added; lines of a longer reply are parted by `\r\n`).
    Reply(String),
    /// Says nothing more and keeps the connection.
    Hang,
    /// Closes without a word.
    Close,
    /// Says this and closes.
    ReplyAndClose(String),
    /// Waits before going on as usual.
    Wait(Duration),
}

/// A message that the sink answered with 250 (to at least one recipient).
#[derive(Clone, Debug)]
pub struct Received {
    /// The line of MAIL.
    pub mail: String,
    /// The lines of RCPT that were accepted.
    pub recipients: Vec<String>,
    /// The message, dots unstuffed, as it came otherwise.
    pub content: Vec<u8>,
    /// Which connection it came over, from 1.
    pub connection: usize,
}

impl Received {
    /// The message as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }

    /// Value of the first header field of that name.
    pub fn header(&self, name: &str) -> Option<String> {
        let text = self.text();
        let head = text.split("\r\n\r\n").next().unwrap_or_default().to_owned();
        let mut fields: Vec<String> = Vec::new();
        for line in head.split("\r\n") {
            match fields.last_mut() {
                Some(last) if line.starts_with([' ', '\t']) => last.push_str(line),
                _ => fields.push(line.to_owned()),
            }
        }
        fields.iter().find_map(|field| {
            let (field_name, value) = field.split_once(':')?;
            field_name.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }
}

struct Rule {
    stage: String,
    containing: String,
    step: Step,
    times: usize,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    extensions: Vec<String>,
    received: Vec<Received>,
    commands: Vec<String>,
}

/// A running sink; it ends with the test.
pub struct Sink {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
}

impl Sink {
    /// One that takes everything and offers what an ordinary server does.
    pub fn start() -> Sink {
        Sink::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// One on a given address, which may be free only soon.
    pub fn at(address: SocketAddr) -> Sink {
        let listener =
            wait_for("a free address", Duration::from_secs(10), || TcpListener::bind(address).ok());
        let address = listener.local_addr().expect("its address");
        let sink = Sink {
            address,
            state: Arc::new(Mutex::new(State::default())),
            stop: Arc::new(AtomicBool::new(false)),
        };
        sink.offer(&["PIPELINING", "SIZE 104857600", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]);
        let (state, stop) = (sink.state.clone(), sink.stop.clone());
        std::thread::spawn(move || {
            for (number, stream) in (1..).zip(listener.incoming().flatten()) {
                if stop.load(SeqCst) {
                    return;
                }
                let state = state.clone();
                std::thread::spawn(move || Session::new(stream, state, number).map(Session::serve));
            }
        });
        sink
    }

    /// What the reply to EHLO lists.
    pub fn offer(&self, extensions: &[&str]) {
        lock(&self.state).extensions = extensions.iter().map(|&name| name.to_owned()).collect();
    }

    /// From now on, what happens at a stage: a verb, or `CONNECT`, or `END` for the end of a message, or `RESPONSE` for
    /// a line that answers a challenge (334). The newest rule that fits counts.
    pub fn on(&self, stage: &str, step: Step) {
        self.on_some(stage, "", usize::MAX, step);
    }

    /// The same, only for lines that contain some text, and so many times.
    pub fn on_some(&self, stage: &str, containing: &str, times: usize, step: Step) {
        let rule = Rule { stage: stage.into(), containing: containing.into(), step, times };
        lock(&self.state).rules.insert(0, rule);
    }

    /// All rules are gone.
    pub fn behave(&self) {
        lock(&self.state).rules.clear();
    }

    /// What it took so far.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.state).received.clone()
    }

    /// What it took, once there are `count` messages.
    pub fn wait_received(&self, count: usize) -> Vec<Received> {
        wait_for(&format!("{count} messages in the sink"), Duration::from_secs(30), || {
            let received = self.received();
            (received.len() >= count).then_some(received)
        })
    }

    /// All commands it was given, over all connections.
    pub fn commands(&self) -> Vec<String> {
        lock(&self.state).commands.clone()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        // Wakes the thread that accepts, so that it sees the flag and closes the port.
        let _ = TcpStream::connect(self.address);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Session {
    input: BufReader<TcpStream>,
    output: TcpStream,
    state: Arc<Mutex<State>>,
    number: usize,
    lmtp: bool,
    mail: String,
    recipients: Vec<String>,
    content: Vec<u8>,
}

/// The end of a session: an error of the connection, or a rule that closes.
type Go = std::io::Result<()>;

impl Session {
    fn new(stream: TcpStream, state: Arc<Mutex<State>>, number: usize) -> std::io::Result<Session> {
        // Nothing waits for ever, not even what a rule lets hang.
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        stream.set_nodelay(true)?;
        let output = stream.try_clone()?;
        let input = BufReader::new(stream);
        Ok(Session {
            input,
            output,
            state,
            number,
            lmtp: false,
            mail: String::new(),
            recipients: Vec::new(),
            content: Vec::new(),
        })
    }

    fn serve(mut self) -> Go {
        self.answer("CONNECT", "", "220 sink.test ESMTP")?;
        loop {
            let line = self.line()?;
            lock(&self.state).commands.push(line.clone());
            self.command(&line)?;
        }
    }

    fn command(&mut self, line: &str) -> Go {
        let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" | "LHLO" => {
                self.lmtp = verb == "LHLO";
                let mut lines = vec!["sink.test".to_owned()];
                lines.extend(lock(&self.state).extensions.iter().cloned());
                let last = lines.len() - 1;
                let reply: Vec<_> = lines
                    .iter()
                    .enumerate()
                    .map(|(at, line)| format!("250{}{line}", if at == last { ' ' } else { '-' }))
                    .collect();
                self.answer(&verb, line, &reply.join("\r\n")).map(drop)
            }
            "MAIL" => {
                self.recipients.clear();
                self.mail = line.to_owned();
                self.answer("MAIL", line, "250 2.1.0 sender ok").map(drop)
            }
            "RCPT" => {
                if self.answer("RCPT", line, "250 2.1.5 recipient ok")? {
                    self.recipients.push(line.to_owned());
                }
                Ok(())
            }
            "DATA" if self.recipients.is_empty() => self.say("554 5.5.1 no valid recipients"),
            "DATA" => {
                if self.answer("DATA", line, "354 go on")? {
                    self.data()?;
                    self.end()?;
                }
                Ok(())
            }
            "BDAT" => self.bdat(line),
            "AUTH" => {
                let mut reply = self.reply("AUTH", line, "235 2.7.0 authenticated")?;
                while reply.starts_with('3') {
                    self.say(&reply)?;
                    let response = self.line()?;
                    lock(&self.state).commands.push(response.clone());
                    let usual =
                        if response == "*" { "501 5.7.0 cancelled" } else { "235 2.7.0 authenticated" };
                    reply = self.reply("RESPONSE", &response, usual)?;
                }
                self.say(&reply)
            }
            "QUIT" => {
                self.answer("QUIT", line, "221 2.0.0 bye")?;
                Err(std::io::ErrorKind::ConnectionAborted.into())
            }
            "RSET" => {
                self.recipients.clear();
                self.content.clear();
                self.answer("RSET", line, "250 2.0.0 reset").map(drop)
            }
            "HELO" | "NOOP" | "XFORWARD" => self.answer(&verb, line, "250 2.0.0 ok").map(drop),
            "XCLIENT" => self.answer(&verb, line, "220 sink.test ESMTP").map(drop),
            _ => self.answer(&verb, line, "502 5.5.2 not known here").map(drop),
        }
    }

    /// Carries out the rule for a stage, or says what is usual. Whether the answer was positive.
    fn answer(&mut self, stage: &str, line: &str, usual: &str) -> std::io::Result<bool> {
        let reply = self.reply(stage, line, usual)?;
        self.say(&reply)?;
        Ok(reply.starts_with(['2', '3']))
    }

    /// What will be said at a stage; an error where a rule ends the session instead.
    fn reply(&mut self, stage: &str, line: &str, usual: &str) -> std::io::Result<String> {
        match self.step(stage, line) {
            None => return Ok(usual.to_owned()),
            Some(Step::Reply(reply)) => return Ok(reply),
            Some(Step::Wait(time)) => {
                std::thread::sleep(time);
                return Ok(usual.to_owned());
            }
            Some(Step::Close) => {}
            Some(Step::ReplyAndClose(reply)) => self.say(&reply)?,
            // Reads on and on until the other side has had enough.
            Some(Step::Hang) => drop(std::io::copy(&mut self.input, &mut std::io::sink())?),
        }
        Err(std::io::ErrorKind::ConnectionAborted.into())
    }

    fn step(&self, stage: &str, line: &str) -> Option<Step> {
        let mut state = lock(&self.state);
        let rule = state
            .rules
            .iter_mut()
            .find(|rule| rule.stage == stage && rule.times > 0 && line.contains(&rule.containing))?;
        rule.times = rule.times.saturating_sub(1);
        Some(rule.step.clone())
    }

    fn data(&mut self) -> Go {
        loop {
            let mut line = Vec::new();
            if self.input.read_until(b'\n', &mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if line == b".\r\n" {
                return Ok(());
            }
            self.content.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }

    fn bdat(&mut self, line: &str) -> Go {
        let mut words = line.split_ascii_whitespace().skip(1);
        let size: u64 = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        self.input.by_ref().take(size).read_to_end(&mut self.content)?;
        if words.next().is_some_and(|word| word.eq_ignore_ascii_case("LAST")) {
            return self.end();
        }
        self.answer("BDAT", line, "250 2.0.0 chunk ok").map(drop)
    }

    /// Answers a whole message: once in SMTP, for each recipient in LMTP.
    fn end(&mut self) -> Go {
        let recipients = std::mem::take(&mut self.recipients);
        let content = std::mem::take(&mut self.content);
        let received = Received { mail: self.mail.clone(), recipients, content, connection: self.number };
        let groups: Vec<Vec<String>> = match self.lmtp {
            true => received.recipients.iter().map(|recipient| vec![recipient.clone()]).collect(),
            false => vec![received.recipients.clone()],
        };
        for recipients in groups {
            let about = if self.lmtp { recipients[0].clone() } else { received.mail.clone() };
            let reply = self.reply("END", &about, "250 2.0.0 sink has it")?;
            // Noted before it is said, as a real server does: when the other side dies before it sees the answer, the
            // message is here all the same.
            if reply.starts_with('2') {
                lock(&self.state).received.push(Received { recipients, ..received.clone() });
            }
            self.say(&reply)?;
        }
        Ok(())
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = Vec::new();
        if self.input.read_until(b'\n', &mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
    }

    fn say(&mut self, text: &str) -> Go {
        self.output.write_all(format!("{text}\r\n").as_bytes())
    }
}
