//! spamd: for spamc, Exim's `spam =` and whatever else asks a SpamAssassin daemon.
//!
//! A front that only gives an opinion. The client has the message and keeps it whatever we say, so nothing is held,
//! refused or thrown away here, and no answer can lose mail. What could not be judged gets an error instead of an
//! answer, never a score: see [`gatepost_wire::spamd`] for how spamc takes that.

mod report;

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use flate2::read::ZlibDecoder;
use gatepost_mail::{Action, Address, Envelope, Headers, Protocol, Recipient, Session, Verdict};
use gatepost_wire::spamd::{self, Method, Refusal, Request, RequestReader, Score};

use super::Front;
use super::asker::{Asker, Gone, Wire, settle};
use super::listen::Place;
use super::local::{self, Mended, Unfit, mended};
use super::spool::Spool;
use crate::pipeline::Judged;
use crate::resources::net::Stream;
use crate::verdict::{self, Answers, Opinion};

/// Serves one connection, which is one request, to its end.
pub(super) async fn serve(front: Arc<Front>, stream: Stream, _peer: Option<SocketAddr>, _place: Place) {
    let mut client = Client { asker: Asker::new(Wire::Stream(stream), &front), front: &front };
    let said = match client.answer().await {
        Ok(()) => Ok(()),
        Err(End::Refused(refusal)) => {
            tracing::info!(listener = front.listener.name, "asked in vain: {refusal}");
            client.say(refusal.line().as_bytes()).await
        }
        Err(End::Gone(gone)) => Err(End::Gone(gone)),
    };
    match said {
        Ok(()) => client.asker.leave().await,
        Err(_) => tracing::debug!(listener = front.listener.name, "client is gone"),
    }
}

/// Why there is no answer.
enum End {
    /// The client hears why.
    Refused(Refusal),
    /// There is nobody to hear it.
    Gone(Gone),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> End {
        End::Refused(refusal)
    }
}

impl From<Gone> for End {
    fn from(gone: Gone) -> End {
        match gone {
            Gone::Timeout => End::Refused(Refusal::Timeout("(reading input from client)".into())),
            gone => End::Gone(gone),
        }
    }
}

struct Client<'a> {
    asker: Asker,
    front: &'a Arc<Front>,
}

impl Client<'_> {
    async fn answer(&mut self) -> Result<(), End> {
        let request = self.request().await?;
        match request.method {
            Method::Ping => return self.say(spamd::PONG.as_bytes()).await,
            Method::Skip => return Ok(()),
            Method::Tell => {
                let why = "TELL commands are not enabled, gatepost does not learn from them.";
                return Err(Refusal::Unavailable(why.into()).into());
            }
            _ => {}
        }
        let began = Instant::now();
        let mut raw = self.message(&request).await?;
        if request.compressed {
            raw = self.inflated(raw).await?;
        }
        let unix = is_unix(&raw);
        let limits = &self.front.limits;
        let stray = limits.stray_line_endings.into();
        let mended = mended(raw, limits.memory.bytes(), &self.front.spool, stray).await.map_err(unfit)?;
        let judged = self.judge(&request, mended, began.elapsed()).await;
        let Some(verdict) = judged.verdicts.first() else {
            return Err(not_judged("no verdict").into());
        };
        if verdict.action == Action::Defer {
            return Err(not_judged(&verdict.reply.text).into());
        }
        self.tell(&request, &judged, verdict, unix).await
    }

    async fn request(&mut self) -> Result<Request, End> {
        let time = self.front.limits.command_time.duration();
        self.asker.wait(time).await?;
        let deadline = Instant::now() + time;
        let mut reader = RequestReader::new();
        loop {
            if let Some(request) = reader.read(&mut self.asker.input, self.asker.ended)? {
                return Ok(request);
            }
            self.asker.more(time, deadline).await?;
        }
    }

    /// The message as it is sent.
    async fn message(&mut self, request: &Request) -> Result<Bytes, End> {
        let limits = &self.front.limits;
        let most = limits.message_size.bytes();
        if request.compressed && request.length.is_none() {
            return Err(Refusal::Unavailable("Compress requires Content-length header".into()).into());
        }
        let expected = request.length.unwrap_or(u64::MAX);
        if request.length.is_some_and(|length| length > most) {
            return Err(too_big(most).into());
        }
        let (silence, deadline) =
            (limits.data_time.duration(), Instant::now() + limits.message_time.duration());
        let (mut spool, mut taken) = (Spool::new(limits.memory.bytes()), 0);
        loop {
            let here = self.asker.input.len().min(usize::try_from(expected - taken).unwrap_or(usize::MAX));
            spool.buffer().extend_from_slice(&self.asker.input[..here]);
            self.asker.input.advance(here);
            settle(&mut spool, self.front).map_err(|_| no_space())?;
            taken += here as u64;
            if taken > most {
                return Err(too_big(most).into());
            }
            if taken == expected || self.asker.ended {
                break;
            }
            self.asker.more(silence, deadline).await?;
        }
        // What comes behind the message belongs to it, by all likelihood, and its client has miscounted. The client in
        // Perl always sends an empty line behind it.
        if self.asker.input[..] == b"\r\n"[..] {
            self.asker.input.clear();
        }
        let taken = taken + self.asker.input.len() as u64;
        if request.length.is_some_and(|length| length != taken) {
            let why = format!("(Content-Length mismatch: Expected {expected} bytes, got {taken} bytes)");
            return Err(Refusal::Protocol(why).into());
        }
        spool.finish().map_err(|_| no_space().into())
    }

    /// A message that was sent compressed. Whatever its stream would yield, no more is taken of it than of others.
    async fn inflated(&self, packed: Bytes) -> Result<Bytes, Refusal> {
        let front = self.front.clone();
        let inflating = tokio::task::spawn_blocking(move || inflate(&packed, &front));
        inflating.await.unwrap_or_else(|_| Err(not_judged("zlib: reading panicked")))
    }

    async fn judge(&self, request: &Request, mended: Mended, receiving: Duration) -> Judged {
        let pipeline = &self.front.pipeline;
        let envelope = envelope(request.user.as_deref(), &Headers::parse(first_lines(&mended.raw)).0);
        let mut session = Session {
            protocol: Protocol::Local,
            listener: self.front.listener.name.clone(),
            ..Session::default()
        };
        self.front.direct(&mut session, &envelope.recipients);
        let answers = Answers::Each;
        let arrival = local::arrival(pipeline, session, envelope, mended, answers, false, receiving).await;
        pipeline.advise(arrival).await
    }

    async fn tell(
        &mut self,
        request: &Request,
        judged: &Judged,
        verdict: &Verdict,
        unix: bool,
    ) -> Result<(), End> {
        let opinion = verdict::opinion(verdict, &self.front.pipeline.policies);
        let Opinion { bad, score, threshold } = opinion;
        let score = Score::from_thousandths(bad, score.as_thousandths(), threshold.as_thousandths());
        let told = match request.method {
            Method::Symbols => spamd::symbols(request, report::symbols(judged, verdict)),
            Method::ReportIfSpam if !bad => String::new(),
            Method::Report | Method::ReportIfSpam => {
                report::report(judged, verdict, &opinion, &self.front.hostname)
            }
            Method::Process | Method::Headers => {
                let chunks = changed(judged, verdict, request.method);
                return self.hand_back(request, score, &chunks, unix).await;
            }
            _ => String::new(),
        };
        let head = spamd::answer(request, score, told.len());
        self.say((head + &told).as_bytes()).await
    }

    /// Gives the message back with the line endings it came with. Judged and mended it has CRLF and no other CR.
    async fn hand_back(
        &mut self,
        request: &Request,
        score: Score,
        chunks: &[Bytes],
        unix: bool,
    ) -> Result<(), End> {
        let length: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        let taken_out = match unix {
            true => chunks.iter().map(|chunk| memchr::memchr_iter(b'\r', chunk).count()).sum(),
            false => 0,
        };
        self.say(spamd::answer(request, score, length - taken_out).as_bytes()).await?;
        for piece in chunks.iter().flat_map(|chunk| chunk.chunks(64 << 10)) {
            if unix {
                let piece: Vec<u8> = piece.iter().copied().filter(|&byte| byte != b'\r').collect();
                self.say(&piece).await?;
            } else {
                self.say(piece).await?;
            }
        }
        Ok(())
    }

    async fn say(&mut self, text: &[u8]) -> Result<(), End> {
        let time = self.front.limits.data_time.duration();
        // Nobody listens who does not hear this; there is nothing more to say then.
        self.asker.say(text, time).await.map_err(End::Gone)
    }
}

/// The first line tells how the others end.
fn is_unix(raw: &[u8]) -> bool {
    match memchr::memchr(b'\n', raw) {
        Some(end) => end == 0 || raw[end - 1] != b'\r',
        None => true,
    }
}

fn inflate(packed: &[u8], front: &Front) -> Result<Bytes, Refusal> {
    let most = front.limits.message_size.bytes();
    let mut spool = Spool::new(front.limits.memory.bytes());
    let (mut decoder, mut piece, mut size) = (ZlibDecoder::new(packed), vec![0; 64 << 10], 0);
    loop {
        match decoder.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => {
                size += read as u64;
                if size > most {
                    return Err(too_big(most));
                }
                spool.buffer().extend_from_slice(&piece[..read]);
                settle(&mut spool, front).map_err(|_| no_space())?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => {
                return Err(Refusal::Unavailable("zlib: failed to find end of zlib stream".into()));
            }
        }
    }
    spool.finish().map_err(|_| no_space())
}

/// Envelope, as far as anybody tells: the recipient by `User` if that is an address, and else both by the fields that
/// the local mail server has put above its first Received field. Below it they could be anybody's. A `User` that is a
/// name of the system stands for the recipient where there is no address.
fn envelope(user: Option<&str>, headers: &Headers) -> Envelope {
    let above = || {
        let fields = headers.fields.iter();
        fields.take_while(|field| !headers.name(field).eq_ignore_ascii_case("Received"))
    };
    let received = headers.get("Received").is_some();
    let first = |names: &[&str]| {
        let is_one_of = |name: &str| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        let field = above().find(|field| received && is_one_of(headers.name(field)))?;
        address(headers.value_text(field).trim_start_matches('<').trim_end_matches('>'))
    };
    let recipient =
        user.and_then(address).or_else(|| first(&["X-Original-To", "Delivered-To", "X-Envelope-To"]));
    let recipient = recipient.or_else(|| user.and_then(Address::new));
    Envelope {
        sender: first(&["Return-Path", "X-Envelope-From"]),
        recipients: recipient.into_iter().map(Recipient::from).collect(),
        ..Envelope::default()
    }
}

/// As many whole lines as can be read at once, and no more than a header that anybody would write.
fn first_lines(raw: &Bytes) -> Bytes {
    const MOST: usize = 64 << 10;
    if raw.len() <= MOST {
        return raw.clone();
    }
    raw.slice(..memchr::memrchr(b'\n', &raw[..MOST]).map_or(MOST, |end| end + 1))
}

fn address(text: &str) -> Option<Address> {
    let plain =
        text.len() <= 320 && !text.contains(|c: char| c.is_control() || matches!(c, ' ' | ',' | '<' | '>'));
    Address::new(text).filter(|address| plain && !address.domain().is_empty() && !address.local().is_empty())
}

/// The message with its header changed, or that header alone, in pieces.
fn changed(judged: &Judged, verdict: &Verdict, method: Method) -> Vec<Bytes> {
    let mut chunks = gatepost_mail::apply(&judged.mail.message, &local::of_header(&verdict.edits)).chunks;
    if method == Method::Headers {
        cut_behind_header(&mut chunks);
    }
    chunks
}

/// Leaves the header and the empty line behind it. A message without one gets it, for the client puts its own body
/// there.
fn cut_behind_header(chunks: &mut Vec<Bytes>) {
    // The fields are small; only the last piece, which holds the body, need not be.
    let mut header = Vec::new();
    for chunk in chunks.iter() {
        let looked_at = header.len().saturating_sub(3);
        header.extend_from_slice(chunk);
        if header.starts_with(b"\r\n") {
            header.truncate(2);
            break;
        }
        if let Some(end) = memchr::memmem::find(&header[looked_at..], b"\r\n\r\n") {
            header.truncate(looked_at + end + 4);
            break;
        }
    }
    *chunks = vec![Bytes::from(header)];
}

fn too_big(most: u64) -> Refusal {
    Refusal::TooBig(format!("at most {most} bytes are taken (limits.message_size)"))
}

fn no_space() -> Refusal {
    Refusal::TemporaryFailure("insufficient system storage".into())
}

fn unfit(unfit: Unfit) -> Refusal {
    match unfit {
        Unfit::NoSpace => no_space(),
        Unfit::Stray => Refusal::Unavailable(unfit.reply().to_string()),
    }
}

fn not_judged(why: &str) -> Refusal {
    Refusal::TemporaryFailure(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(text: &str) -> Headers {
        Headers::parse(Bytes::from(text.to_owned() + "\r\n")).0
    }

    #[test]
    fn who_it_is_for() {
        let received = "Received: from x by y\r\n";
        for (user, header, recipient, sender) in [
            ("alice@example.org", "", "alice@example.org", ""),
            ("alice", "", "alice", ""),
            ("", "", "", ""),
            ("alice", "Delivered-To: b@example.org\r\n", "alice", ""),
            ("alice", &format!("Delivered-To: b@example.org\r\n{received}"), "b@example.org", ""),
            ("alice", &format!("{received}Delivered-To: b@example.org\r\n"), "alice", ""),
            ("", &format!("Return-Path: <s@out.test>\r\n{received}"), "", "s@out.test"),
            (
                "",
                &format!("return-path: <>\r\nX-Envelope-To: <c@example.org>\r\n{received}"),
                "c@example.org",
                "",
            ),
            ("a", &format!("X-Envelope-To: b@example.org,\r\n c@example.org\r\n{received}"), "a", ""),
            ("a", &format!("X-Original-To: @example.org\r\n{received}"), "a", ""),
        ] {
            let user = Some(user).filter(|user| !user.is_empty());
            let found = envelope(user, &headers(header));
            let recipients: Vec<_> = found.recipients.iter().map(|r| r.address.to_string()).collect();
            let found_sender = found.sender.map(|sender| sender.to_string()).unwrap_or_default();
            assert_eq!(
                (recipients.concat(), found_sender),
                (recipient.into(), sender.into()),
                "{user:?} {header}"
            );
        }
    }

    #[test]
    fn the_first_lines_are_looked_at() {
        let line = "X-Filler: text\r\n";
        let raw = Bytes::from(line.repeat(10_000));
        let first = first_lines(&raw);
        assert_eq!((first.len() % line.len(), first.len() / line.len()), (0, (64 << 10) / line.len()));
        assert_eq!(first_lines(&Bytes::from("a".repeat(100_000))).len(), 64 << 10);
        assert_eq!(first_lines(&Bytes::from(line)), line);
    }

    #[test]
    fn the_header_alone() {
        for (pieces, expected) in [
            (&["A: b\r\n\r\nbody\r\n\r\n"][..], "A: b\r\n\r\n"),
            (&["X: y\r\n", "A: b\r\n\r\nbody"], "X: y\r\nA: b\r\n\r\n"),
            (&["X: y\r", "\n\r\n", "body"], "X: y\r\n\r\n"),
            (&["\r\nbody"], "\r\n"),
            (&["A: b\r\n"], "A: b\r\n"),
            (&[], ""),
        ] {
            let mut chunks: Vec<Bytes> =
                pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect();
            cut_behind_header(&mut chunks);
            assert_eq!(chunks.concat(), expected.as_bytes(), "{pieces:?}");
        }
    }

    #[test]
    fn the_first_line_tells_how_lines_end() {
        for (text, unix) in
            [("a\nb\r\n", true), ("a\r\nb\n", false), ("\n", true), ("\r\n", false), ("a", true)]
        {
            assert_eq!(is_unix(text.as_bytes()), unix, "{text:?}");
        }
    }
}
