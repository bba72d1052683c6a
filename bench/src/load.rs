//! `load`: sends messages and measures how long each takes.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::clients::{self, Client, END, Prepared, Protocol, Sent, Target};
use crate::corpus;
use crate::stats::Latencies;

/// Arguments of `load`.
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub struct Options {
    /// The server: `127.0.0.1:25` or `unix:/run/server.sock`.
    #[arg(long)]
    pub target: Target,
    /// What it is spoken to in.
    #[arg(long, value_enum, default_value = "smtp")]
    protocol: Protocol,
    /// Folder of messages, one a file; without it, generated ones of `--size` bytes.
    #[arg(long)]
    corpus: Option<PathBuf>,
    /// Size of generated messages in bytes.
    #[arg(long, default_value_t = 4000)]
    size: usize,
    /// Connections at once.
    #[arg(long, default_value_t = 8)]
    concurrency: usize,
    /// Messages to send; the corpus is gone through again and again. 0: the corpus once.
    #[arg(long, default_value_t = 0)]
    messages: usize,
    /// Messages sent before the measurement begins.
    #[arg(long, default_value_t = 0)]
    warmup: usize,
    /// Messages a second to begin (open loop: a message that has to wait for a connection counts as waiting from the
    /// moment it was due). 0: as fast as the answers come.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// Messages on one connection before it is closed; 0: no limit.
    #[arg(long, default_value_t = 20)]
    per_connection: usize,
    /// Send MAIL, RCPT and DATA in one go (RFC 2920).
    #[arg(long)]
    pub pipelining: bool,
    /// The same as `--protocol lmtp`.
    #[arg(long)]
    lmtp: bool,
    /// Different questions to ask, where a question is all there is (policy).
    #[arg(long, default_value_t = 10_000)]
    pub distinct: usize,
    /// Folder for the messages, where the protocol hands them over as files (am-pdp).
    #[arg(long)]
    pub spool: Option<PathBuf>,
    /// Token for HTTP.
    #[arg(long)]
    pub token: Option<String>,
    /// Envelope sender.
    #[arg(long, default_value = "sender@example.org")]
    pub from: String,
    /// Envelope recipient; may be given several times.
    #[arg(long, default_value = "recipient@example.net")]
    pub to: Vec<String>,
    /// Local address to connect from; several are used in turn.
    #[arg(long)]
    pub bind: Vec<IpAddr>,
    /// Tell the server another client address for each connection (XCLIENT), from 198.18.0.0/15, so that it looks each up.
    #[arg(long)]
    pub xclient: bool,
    /// Seconds to wait for one answer.
    #[arg(long, default_value_t = 60.0)]
    timeout: f64,
    /// Stop after so many seconds even if messages are left; 0: no limit.
    #[arg(long, default_value_t = 0.0)]
    seconds: f64,
    /// Name of the run, shown in the output.
    #[arg(long, default_value = "load")]
    name: String,
}

impl Options {
    /// What is spoken.
    pub fn protocol(&self) -> Protocol {
        if self.lmtp { Protocol::Lmtp } else { self.protocol }
    }

    /// Longest to wait for one answer.
    pub fn patience(&self) -> Duration {
        Duration::from_secs_f64(self.timeout)
    }
}

/// What the connections share.
struct Plan {
    options: Options,
    messages: Vec<Prepared>,
    /// Messages in all, warm-up included.
    total: usize,
    next: AtomicUsize,
    start: Instant,
}

/// What one connection, or all of them, saw.
#[derive(Default)]
struct Seen {
    /// From the last byte of the message to the answer.
    answer: Latencies,
    /// From MAIL (with `--rate`: from the moment it was due) to the answer.
    transaction: Latencies,
    taken: u64,
    bytes: u64,
    /// Refusals and deferrals by the command they answered.
    replies: BTreeMap<String, u64>,
    errors: BTreeMap<String, u64>,
    /// When the first message counted began and the last one ended.
    span: Option<(Instant, Instant)>,
}

/// Sends and prints what it saw: one line of JSON, one for people.
pub async fn run(options: Options) -> io::Result<()> {
    let raw = match &options.corpus {
        Some(path) => corpus::load(path)?,
        None => vec![corpus::generated(options.size)],
    };
    let messages = clients::prepare(&options, &raw)?;
    let count = if options.messages == 0 { messages.len() } else { options.messages };
    let plan = Arc::new(Plan {
        total: count + options.warmup,
        messages,
        next: AtomicUsize::new(0),
        start: Instant::now(),
        options,
    });
    let workers: Vec<_> = (0..plan.options.concurrency.max(1))
        .map(|number| tokio::spawn(worker(plan.clone(), number)))
        .collect();
    let mut seen = Seen::default();
    for worker in workers {
        seen.merge(worker.await.map_err(io::Error::other)?);
    }
    seen.print(&plan.options);
    Ok(())
}

impl Plan {
    /// The next message to send and when it is due; None when all are sent or time is up.
    fn take(&self) -> Option<(usize, Instant)> {
        let number = self.next.fetch_add(1, Relaxed);
        let time_up = self.options.seconds > 0.0 && self.start.elapsed().as_secs_f64() > self.options.seconds;
        if number >= self.total || time_up {
            return None;
        }
        let due = match self.options.rate {
            rate if rate > 0.0 => self.start + Duration::from_secs_f64(number as f64 / rate),
            _ => Instant::now(),
        };
        Some((number, due))
    }
}

/// One connection after the other, until all messages are sent.
async fn worker(plan: Arc<Plan>, worker: usize) -> Seen {
    let mut seen = Seen::default();
    let mut connection: Option<(Client, usize)> = None;
    while let Some((number, due)) = plan.take() {
        if plan.options.rate > 0.0 {
            sleep_until(due).await;
        }
        let counted = number >= plan.options.warmup;
        let begin = if plan.options.rate > 0.0 { due } else { Instant::now() };
        let message = &plan.messages[number % plan.messages.len()];
        let sent = one(&plan, worker, &mut connection, message).await;
        let end = Instant::now();
        if counted {
            let (first, last) = seen.span.unwrap_or((begin, end));
            seen.span = Some((first.min(begin), last.max(end)));
            seen.note(sent, begin, end, message.size());
        } else if sent.is_err() {
            connection = None;
            continue;
        }
    }
    if let Some((mut client, _)) = connection {
        let _ = client.quit().await;
    }
    seen
}

/// Sends one message on the connection at hand, or on a new one. After an error there is none at hand.
async fn one(
    plan: &Plan,
    worker: usize,
    connection: &mut Option<(Client, usize)>,
    message: &Prepared,
) -> io::Result<Sent> {
    let options = &plan.options;
    let (mut client, used) = match connection.take() {
        Some(open) => open,
        None => (Client::open(options, worker).await?, 0),
    };
    let sent = client.send(options, worker, message).await?;
    if options.per_connection > 0 && used + 1 >= options.per_connection {
        client.quit().await?;
    } else {
        *connection = Some((client, used + 1));
    }
    Ok(sent)
}

impl Seen {
    fn note(&mut self, sent: io::Result<Sent>, begin: Instant, end: Instant, size: usize) {
        match sent {
            Ok(sent) => {
                if sent.stage == END {
                    self.answer.add(sent.answer);
                    self.transaction.add(end - begin);
                    self.bytes += size as u64;
                }
                if sent.code / 100 == 2 {
                    self.taken += 1;
                } else {
                    *self.replies.entry(format!("{} to {}", sent.code, sent.stage)).or_default() += 1;
                }
            }
            Err(error) => *self.errors.entry(error.to_string()).or_default() += 1,
        }
    }

    fn merge(&mut self, other: Seen) {
        self.answer.merge(other.answer);
        self.transaction.merge(other.transaction);
        self.taken += other.taken;
        self.bytes += other.bytes;
        for (reply, count) in other.replies {
            *self.replies.entry(reply).or_default() += count;
        }
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
        self.span = match (self.span, other.span) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
    }

    fn print(self, options: &Options) {
        let seconds = self.span.map_or(0.0, |(first, last)| (last - first).as_secs_f64()).max(1e-9);
        let class = |class: &str| -> u64 {
            self.replies.iter().filter(|(reply, _)| reply.starts_with(class)).map(|(_, count)| count).sum()
        };
        let (deferred, refused) = (class("4"), class("5"));
        let errors: u64 = self.errors.values().sum();
        let answered = self.taken + deferred + refused;
        let rate = answered as f64 / seconds;
        let megabytes = self.bytes as f64 / 1e6 / seconds;
        let (answer, transaction) = (self.answer.sorted(), self.transaction.sorted());
        println!(
            r#"{{"name":{},"messages":{answered},"seconds":{seconds:.3},"per_second":{rate:.1},"mb_per_second":{megabytes:.2},"concurrency":{},"rate":{},"2xx":{},"4xx":{deferred},"5xx":{refused},"errors":{errors},"answer_ms":{},"transaction_ms":{},"replies":{},"error_kinds":{}}}"#,
            quoted(&options.name),
            options.concurrency,
            options.rate,
            self.taken,
            answer.json(),
            transaction.json(),
            object(&self.replies),
            object(&self.errors),
        );
        println!(
            "{}: {answered} messages in {seconds:.2} s: {rate:.0}/s, {megabytes:.1} MB/s; 2xx {} 4xx {deferred} \
             5xx {refused} errors {errors}; answer {}; transaction {}",
            options.name,
            self.taken,
            answer.line(),
            transaction.line(),
        );
    }
}

fn object(counts: &BTreeMap<String, u64>) -> String {
    let members: Vec<_> = counts.iter().map(|(name, count)| format!("{}:{count}", quoted(name))).collect();
    format!("{{{}}}", members.join(","))
}

/// A JSON string; what is no printable ASCII becomes a question mark.
fn quoted(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c == '"' || c == '\\' || !(' '..='~').contains(&c) { '?' } else { c })
        .collect();
    format!("\"{text}\"")
}
