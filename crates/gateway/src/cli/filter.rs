//! `gatepost filter`: one message from standard input, judged, and marked on standard output; what delivery agents
//! (procmail, maildrop, Sieve, `.forward`) put into their pipes.
//!
//! Whoever calls has the message and keeps it until we exit with 0. So every fault ends with 75 (EX_TEMPFAIL) before a
//! byte is written, and nothing is written before the whole answer is there.

mod client;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gatepost_mail::{Action, Address, Envelope, Protocol, Recipient, Reply, Session};

use crate::build;
use crate::cli::{OK, TRY_LATER, parse_address};
use crate::config::listen::ListenAddress;
use crate::config::load;
use crate::config::typed::{Config, ListenerProtocol};
use crate::config::units::system_hostname;
use crate::front::local;
use crate::pipeline::{Pipeline, Store};
use crate::records::text::clean;
use crate::records::{Journal, Metrics, Vault};
use crate::resources::state::Memory;
use crate::verdict::Answers;
use client::Daemon;

/// Refused (EX_NOPERM of sysexits.h): mail servers bounce what a delivery program refuses so.
const REFUSED: u8 = 77;
/// Held or discarded: done with, and not to be delivered. qmail stops there as well, without a bounce. So it is with what
/// would be stripped for a caller that delivers what it has itself: the original is in the vault.
const DONE_WITH: u8 = 99;

/// The daemon's status for stray line endings where those are refused.
const UNFIT: u16 = 422;

/// Most bytes of a message.
const MOST: u64 = 256 << 20;

/// Judge one message from standard input and write it, marked, to standard output.
///
/// Exit status: 0 the message is on standard output; 77 it is refused; 99 it is held or discarded; 75 it could not be
/// judged, try again later.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Configuration file: it names the daemon's HTTP listener and its token.
    #[arg(short, long, value_name = "FILE", default_value = "/etc/gatepost/gatepost.toml")]
    config: PathBuf,
    /// The daemon's HTTP listener, `unix:/run/gatepost/http.sock` or `http://127.0.0.1:11333`. Default: the first of
    /// the configuration.
    #[arg(long, value_name = "ADDRESS")]
    daemon: Option<Daemon>,
    /// File that holds the listener's token, instead of the configuration.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Judge in this process, without a daemon.
    #[arg(long, conflicts_with_all = ["daemon", "token_file", "timeout"])]
    local: bool,
    /// Write nothing: the exit status alone tells the verdict; 99 where parts would be stripped.
    #[arg(long, conflicts_with_all = ["mark", "command"])]
    exit: bool,
    /// Keep nothing back: the message always comes out, its verdict in the field X-Gatepost-Action.
    #[arg(long)]
    mark: bool,
    /// Envelope sender; `<>` is the empty sender. Default: the one in a line `From ADDR …` before the message, as
    /// delivery agents put it there; else the empty sender.
    #[arg(long, value_name = "ADDR")]
    sender: Option<String>,
    /// Envelope recipient; may be given several times. Default: the user that runs it, at this host.
    #[arg(long, value_name = "ADDR")]
    recipient: Vec<String>,
    /// Address of the client that the message came from, where it is known.
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// What that client said in HELO.
    #[arg(long, value_name = "NAME")]
    helo: Option<String>,
    /// Seconds to wait for the daemon's answer.
    #[arg(long, value_name = "SECONDS", default_value = "180", value_parser = clap::value_parser!(u64).range(1..=86400))]
    timeout: u64,
    /// Give the message to this program instead of standard output and end with its exit status; with 0 where the
    /// message is held or discarded.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// The message as it came, taken apart.
struct Input {
    /// The mbox separator before it, as delivery agents put it.
    from_line: Vec<u8>,
    message: Vec<u8>,
    /// Lines end in a bare LF, as on Unix, and shall again.
    unix: bool,
}

/// What was decided.
struct Outcome {
    action: Action,
    /// What a sender would be told.
    reply: String,
    /// The message as it shall be delivered, with CRLF; None if it shall not.
    message: Option<Vec<u8>>,
}

impl Outcome {
    /// Of a message that was not judged.
    fn of(reply: &Reply) -> Outcome {
        let action = if reply.is_permanent() { Action::Refuse } else { Action::Defer };
        Outcome { action, reply: reply.to_string(), message: None }
    }
}

/// Runs it; never with another status than those in its help and, with a command, that one's.
pub fn run(args: &Args) -> ExitCode {
    match filter(args) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("gatepost: {}", clean(&error, 2000));
            ExitCode::from(TRY_LATER)
        }
    }
}

fn filter(args: &Args) -> Result<u8, String> {
    check_addresses(args)?;
    let input = Input::read(std::io::stdin().lock())?;
    let args = &Args { sender: args.sender.clone().or_else(|| input.sender()), ..args.clone() };
    let mut outcome = if args.local { local(args, &input)? } else { remote(args, &input)? };
    if outcome.action == Action::Defer {
        // Marked or not: what is to be judged later is not delivered now.
        outcome.message = None;
    }
    match &outcome.message {
        Some(_) if args.exit && outcome.action == Action::Strip => Ok(DONE_WITH),
        Some(_) if args.exit => Ok(OK),
        Some(message) if args.command.is_empty() => {
            let mut out = std::io::stdout().lock();
            let written = out.write_all(&input.finish(message)).and_then(|()| out.flush());
            written.map(|()| OK).map_err(|error| format!("cannot write the message: {error}"))
        }
        Some(message) => hand_on(&args.command, &input.finish(message)),
        None => Ok(status(&outcome, !args.command.is_empty())),
    }
}

/// The exit status for what is not delivered; the reason goes to standard error, from where it may get into a bounce.
fn status(outcome: &Outcome, command: bool) -> u8 {
    match outcome.action {
        Action::Refuse => {
            eprintln!("gatepost: {}", clean(&outcome.reply, 2000));
            REFUSED
        }
        // To the mail server a program that was given the message is the delivery, and that is done.
        Action::Quarantine | Action::Discard if command => OK,
        Action::Quarantine | Action::Discard => DONE_WITH,
        // Deferred. Whatever else comes without a message is no answer to rely on.
        _ => {
            eprintln!("gatepost: {}", clean(&outcome.reply, 2000));
            TRY_LATER
        }
    }
}

/// Better here than at the daemon: a typing error in a recipe should be named.
fn check_addresses(args: &Args) -> Result<(), String> {
    if let Some(sender) = args.sender.as_deref().filter(|sender| !sender.is_empty() && *sender != "<>") {
        parse_address(sender).map_err(|error| format!("--sender: {error}"))?;
    }
    for recipient in &args.recipient {
        parse_address(recipient).map_err(|error| format!("--recipient: {error}"))?;
    }
    Ok(())
}

impl Input {
    fn read(input: impl Read) -> Result<Input, String> {
        let mut message = Vec::new();
        let read = input.take(MOST + 1).read_to_end(&mut message);
        read.map_err(|error| format!("cannot read the message: {error}"))?;
        if message.len() as u64 > MOST {
            return Err(format!("the message is larger than {} MiB", MOST >> 20));
        }
        if message.is_empty() {
            // No mail server makes such a message; whoever should have given it to us has failed.
            return Err("there is no message on standard input".into());
        }
        let separator = match message.starts_with(b"From ") {
            true => memchr::memchr(b'\n', &message).map_or(0, |end| end + 1),
            false => 0,
        };
        let rest = message.split_off(separator);
        let unix = memchr::memmem::find(&rest, b"\r\n").is_none();
        Ok(Input { from_line: message, message: rest, unix })
    }

    /// The address in the separator. Where the sender is empty, others stand there (`MAILER-DAEMON`).
    fn sender(&self) -> Option<String> {
        let line = std::str::from_utf8(&self.from_line).ok()?;
        let address = line.split_ascii_whitespace().nth(1)?;
        parse_address(address).is_ok().then(|| address.to_owned())
    }

    /// The judged message in the form that the original had.
    fn finish(&self, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.from_line.len() + message.len());
        out.extend_from_slice(&self.from_line);
        if !self.unix {
            out.extend_from_slice(message);
            return out;
        }
        let mut rest = message;
        while let Some(end) = memchr::memmem::find(rest, b"\r\n") {
            out.extend_from_slice(&rest[..end]);
            out.push(b'\n');
            rest = &rest[end + 2..];
        }
        out.extend_from_slice(rest);
        out
    }
}

/// Gives the message to a program. Its exit status is ours; one that was killed or cannot be started is a fault.
fn hand_on(command: &[OsString], message: &[u8]) -> Result<u8, String> {
    let name = command[0].to_string_lossy();
    let mut child = std::process::Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{name}: {error}"))?;
    // A program may end without reading all; its status says whether it has done its work.
    let written = child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(message));
    let status = child.wait().map_err(|error| format!("{name}: {error}"))?;
    match (status.code().and_then(|code| u8::try_from(code).ok()), written) {
        (Some(0), Err(error)) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(format!("{name}: {error}"))
        }
        (Some(code), _) => Ok(code),
        (None, _) => Err(format!("{name} ended with {status}")),
    }
}

// With a daemon.

fn remote(args: &Args, input: &Input) -> Result<Outcome, String> {
    let (daemon, mut token) = match &args.daemon {
        Some(daemon) => (daemon.clone(), String::new()),
        None => configured(&args.config)?,
    };
    if let Some(file) = &args.token_file {
        let read = std::fs::read_to_string(file);
        token = read.map_err(|error| format!("{}: {error}", file.display()))?.trim().to_owned();
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the token is no word of visible ASCII characters".into());
    }
    let time = Duration::from_secs(args.timeout);
    let answer = client::post(&daemon, &target(args), &token, &input.message, time)?;
    let header = |name: &str| answer.header(name).unwrap_or_default().to_owned();
    if answer.status == UNFIT {
        let error: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let reply = error["error"].as_str().unwrap_or_default().to_owned();
        return Ok(Outcome { action: Action::Refuse, reply, message: None });
    }
    if !matches!(answer.status, 200 | 204) {
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        return Err(format!("{daemon}: {} {text}", answer.status));
    }
    let action = super::parse_action(&header("gatepost-action"))
        .map_err(|_| format!("{daemon}: no answer of gatepost: no action is named"))?;
    let reply = header("gatepost-reply");
    Ok(Outcome { action, reply, message: (answer.status == 200).then_some(answer.body) })
}

/// The first HTTP listener of a configuration, and its token.
fn configured(file: &Path) -> Result<(Daemon, String), String> {
    let loaded = load::load(Some(file)).map_err(|problems| super::problem_list(&problems))?;
    daemon_of(&loaded.config).ok_or_else(|| {
        format!("{}: no listener with protocol = \"http\" has an address; use --daemon", file.display())
    })
}

fn daemon_of(config: &Config) -> Option<(Daemon, String)> {
    let http = config.listener.iter().filter(|listener| listener.protocol == ListenerProtocol::Http);
    http.flat_map(|listener| listener.listen.iter().map(move |text| (text, listener))).find_map(
        |(text, listener)| {
            let daemon = match text.parse().ok()? {
                ListenAddress::Unix(path) => Daemon::Unix(path),
                ListenAddress::Tcp(address) => {
                    let ip = match address.ip() {
                        IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
                        IpAddr::V6(ip) if ip.is_unspecified() => "::1".to_owned(),
                        ip => ip.to_string(),
                    };
                    Daemon::Tcp(ip, address.port())
                }
                // Only systemd knows where it is.
                ListenAddress::Systemd(_) => return None,
            };
            Some((daemon, listener.token.clone()))
        },
    )
}

/// Path and query of the request.
fn target(args: &Args) -> String {
    let mut query: Vec<(&str, String)> = Vec::new();
    query.extend(args.client.map(|client| ("ip", client.to_string())));
    query.extend(args.helo.clone().map(|helo| ("helo", helo)));
    query.extend(args.sender.clone().map(|sender| ("from", sender)));
    query.extend(recipients(args).into_iter().map(|recipient| ("rcpt", recipient)));
    match args.mark {
        true => query.push(("hold", "no".into())),
        false => query.push(("split", "no".into())),
    }
    let mut target = String::from("/v1/filter");
    for (place, (name, value)) in query.iter().enumerate() {
        target.push(if place == 0 { '?' } else { '&' });
        target.push_str(name);
        target.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'@' => {
                    target.push(byte.into());
                }
                _ => target.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    target
}

// Without one.

/// Judges here, with the journal and the vault of the configuration.
fn local(args: &Args, input: &Input) -> Result<Outcome, String> {
    let loaded = load::load(Some(&args.config)).map_err(|problems| super::problem_list(&problems))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(async {
        let store = open_store(&loaded.config).await?;
        let journal = store.journal.clone();
        let pipeline = build::pipeline(&loaded.config, Some(store), Arc::new(Metrics::new()));
        let pipeline = pipeline.map_err(|problems| super::problem_list(&loaded.locate(problems)))?;
        let outcome = judge(args, input, &loaded.config, &pipeline).await;
        // What was decided is true whether or not it can be looked up later.
        if let Err(error) = journal.flush().await {
            eprintln!("gatepost: no record is kept: {error}");
        }
        outcome
    })
}

async fn open_store(config: &Config) -> Result<Store, String> {
    let (folder, file) = (config.vault_folder(), config.journal_path());
    std::fs::create_dir_all(&config.data).map_err(|error| format!("{}: {error}", config.data.display()))?;
    let vault = Vault::open(&folder, config.quarantine.disk_floor.bytes());
    let vault = vault.map_err(|error| format!("vault {}: {error}", folder.display()))?;
    let journal = Journal::open(&file).await;
    let journal = journal.map_err(|error| format!("journal {}: {error}", file.display()))?;
    Ok(Store { journal: Arc::new(journal), vault: Arc::new(vault), state: Memory::small() })
}

/// As the first HTTP listener of the configuration would.
async fn judge(args: &Args, input: &Input, config: &Config, pipeline: &Pipeline) -> Result<Outcome, String> {
    let listeners = config.listeners();
    let listener = listeners.iter().find(|listener| listener.protocol == ListenerProtocol::Http);
    let address = |text: &String| Address::new(bare(text));
    let recipients: Vec<Recipient> =
        recipients(args).iter().filter_map(address).map(Recipient::from).collect();
    let envelope =
        Envelope { sender: args.sender.as_ref().and_then(address), recipients, ..Envelope::default() };
    let mut session = Session {
        client: args.client,
        helo: args.helo.clone().unwrap_or_default(),
        protocol: Protocol::Local,
        listener: listener.map_or("http", |listener| &listener.name).to_owned(),
        ..Session::default()
    };
    local::direct(&mut session, &envelope.recipients, &config.networks, &config.domains);
    let content = Bytes::copy_from_slice(&input.message);
    let (memory, stray) = (config.limits.memory.bytes(), config.limits.stray_line_endings.into());
    let content = match local::mended(content, memory, &std::env::temp_dir(), stray).await {
        Ok(mended) => mended,
        Err(unfit) => return Ok(Outcome::of(&unfit.reply())),
    };
    let after_queue = listener.is_some_and(|listener| listener.after_queue);
    let (answers, receiving) = (Answers::OneCopy, Duration::ZERO);
    let arrival = local::arrival(pipeline, session, envelope, content, answers, after_queue, receiving).await;
    let filtered = match args.mark {
        true => local::mark(pipeline, arrival).await,
        false => local::filter(pipeline, arrival, false)
            .await
            .ok_or("verdicts differ by recipient; call it for each of them alone")?,
    };
    Ok(Outcome {
        action: filtered.action,
        reply: filtered.reply.to_string(),
        message: filtered.message.map(|pieces| pieces.concat()),
    })
}

/// Without angle brackets.
fn bare(text: &str) -> &str {
    text.strip_prefix('<').and_then(|inner| inner.strip_suffix('>')).unwrap_or(text)
}

/// Those that are named; else whoever runs it, at this host: a delivery agent runs as the user it delivers to.
fn recipients(args: &Args) -> Vec<String> {
    if !args.recipient.is_empty() {
        return args.recipient.clone();
    }
    let login = std::env::var("LOGNAME").ok().filter(|name| parse_address(&format!("{name}@x")).is_ok());
    let user = || nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name);
    let name = login.or_else(user).unwrap_or_else(|| "postmaster".into());
    vec![format!("{name}@{}", system_hostname())]
}

#[cfg(test)]
mod tests;
