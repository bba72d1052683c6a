//! `gatepost greylist`: who was greylisted and never came back, who is known, and forgetting either.
//!
//! A running daemon has the store's file to itself and is asked over its socket; without one the file is opened here.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::Serialize;

use super::{Failure, Io, NOT_DONE, OK, TRY_LATER, finish, parse_net, show_age, show_path, table};
use crate::checks::greylist::triplet::{Client, Triplet, parts};
use crate::config::load::{self, Loaded};
use crate::config::typed::{Config, Greylist};
use crate::records::text::clean;
use crate::resources::state::{Clock, Embedded, LONGEST_PAGE, Remote, Settings, Space, State, StateError};

/// Look into greylisting: who never came back, which clients are known; and forget some of it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file of the daemon; without one the embedded defaults
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: GreylistCommand,
}

/// What is to be done.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum GreylistCommand {
    /// Who was told to come again and has not: counts, those who stand out, and with --list each
    Report(ReportArgs),
    /// List the clients that are known and need not wait, or make some known
    Whitelist(WhitelistArgs),
    /// Forget clients, senders and recipients: they are new when they come next
    Delete(DeleteArgs),
}

/// Arguments of `report`.
#[derive(Clone, Debug, clap::Args)]
pub struct ReportArgs {
    /// Client address or network
    #[arg(long, value_name = "IP|NET", value_parser = parse_net)]
    pub client: Option<IpNet>,
    /// Who came first so long ago at least: 90, 15m, 12h. Default: the configured delay
    #[arg(long, value_name = "AGE", value_parser = super::parse_age)]
    pub older: Option<Duration>,
    /// How many of those that stand out are shown
    #[arg(long, default_value_t = 10)]
    pub top: usize,
    /// Every client, sender and recipient that never came back, the latest first
    #[arg(long)]
    pub list: bool,
    /// One JSON object a line for each of them
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `whitelist`.
#[derive(Clone, Debug, clap::Args)]
pub struct WhitelistArgs {
    /// Addresses of clients that shall be known. Without any, those that are known are listed
    #[arg(value_name = "IP")]
    pub clients: Vec<IpAddr>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `delete`. All that are given must hold.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub struct DeleteArgs {
    /// Client address or network; alone, it is no longer known, either
    #[arg(long, value_name = "IP|NET", value_parser = parse_net)]
    pub client: Option<IpNet>,
    /// Envelope sender, as the report shows it; <> is the empty one
    #[arg(long, value_name = "ADDRESS")]
    pub sender: Option<String>,
    /// Recipient
    #[arg(long, value_name = "ADDRESS")]
    pub recipient: Option<String>,
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Failure {
        Failure::Records(error.to_string())
    }
}

/// Runs it. Exit status 1 when there is nothing to show or nothing was deleted.
pub async fn run(args: Args) -> ExitCode {
    let (loaded, state) = match load_with_state(args.config.as_deref()).await {
        Ok(opened) => opened,
        Err(status) => return status,
    };
    let interactive = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    let mut input = std::io::stdin().lock();
    let mut io = Io { out: &mut out, err: &mut err, input: &mut input, interactive };
    let settings = &loaded.config.checks.greylist;
    ExitCode::from(command(&args.command, settings, state.as_ref(), Timestamp::now(), &mut io).await)
}

/// The configuration, and what is remembered under it. What is wrong is told; the status to end with is the error.
pub(super) async fn load_with_state(config: Option<&Path>) -> Result<(Loaded, Arc<dyn State>), ExitCode> {
    let loaded = load::load(config).map_err(|problems| super::configuration_error(&problems))?;
    match open(&loaded.config).await {
        Ok(state) => Ok((loaded, state)),
        Err(error) => {
            eprintln!("gatepost: {error}");
            Err(ExitCode::from(TRY_LATER))
        }
    }
}

/// What is remembered: by the daemon that runs, or in its file.
async fn open(config: &Config) -> Result<Arc<dyn State>, String> {
    let (socket, path) = (config.state_socket(), config.state_path());
    let asked = Remote::connect(&socket).await;
    if let Ok(remote) = asked {
        return Ok(Arc::new(remote));
    }
    if !path.exists() {
        return Err(format!(
            "{}: there is none yet; has the daemon run with this configuration?",
            path.display()
        ));
    }
    let settings = Settings::from_config(config, Clock::system());
    let opened = tokio::task::spawn_blocking(move || Embedded::open(&settings)).await;
    let opened = opened.map_err(|error| error.to_string())?;
    match (opened, asked) {
        (Ok(state), _) => Ok(Arc::new(state)),
        (Err(why), Err(asked)) => Err(format!("{}: {asked}, and {why}", socket.display())),
        (Err(why), Ok(_)) => Err(why),
    }
}

/// One of the commands, on this state and at this time.
pub async fn command(
    command: &GreylistCommand,
    settings: &Greylist,
    state: &dyn State,
    now: Timestamp,
    io: &mut Io<'_>,
) -> u8 {
    let result = match command {
        GreylistCommand::Report(args) => report(args, settings, state, now, io).await,
        GreylistCommand::Whitelist(args) if args.clients.is_empty() => {
            known_clients(args, settings, state, now, io).await
        }
        GreylistCommand::Whitelist(args) => make_known(args, settings, state, now, io).await,
        GreylistCommand::Delete(args) => delete(args, state, io).await,
    };
    finish(result, io)
}

/// Who never came back, as `--json` shows it.
#[derive(Clone, Debug, Serialize)]
struct Gone {
    client: IpAddr,
    network: String,
    sender: String,
    recipient: String,
    first: Timestamp,
    last: Timestamp,
    attempts: u32,
}

/// Sums of a report.
#[derive(Default)]
struct Sums {
    waited: u64,
    waiting: u64,
    gone: u64,
    clients: HashMap<String, u64>,
    senders: HashMap<String, u64>,
    recipients: HashMap<String, u64>,
}

/// Most that `--list` shows and sorts.
const LISTED: usize = 100_000;

/// Most different ones that are counted, so that a report stays small whatever the store holds.
const COUNTED: usize = 1_000_000;

async fn report(
    args: &ReportArgs,
    settings: &Greylist,
    state: &dyn State,
    now: Timestamp,
    io: &mut Io<'_>,
) -> Result<u8, Failure> {
    let (delay, second) = (settings.delay.seconds(), seconds_of(now));
    let older = args.older.map_or(delay, |older| older.as_secs());
    let mut sums = Sums::default();
    let mut listed: Vec<Gone> = Vec::new();
    each(state, Space::Triplets, async |key, value| {
        let Some(triplet) = Triplet::decode(&value) else { return Ok(()) };
        if args.client.is_some_and(|net| !net.contains(&triplet.client)) {
            return Ok(());
        }
        if triplet.last.saturating_sub(triplet.first) >= delay {
            sums.waited += 1;
        } else if second.saturating_sub(triplet.first) <= older {
            sums.waiting += 1;
        } else {
            let gone = gone(&key, &triplet);
            sums.count(&gone);
            if (args.list || args.json) && listed.len() < LISTED {
                listed.push(gone);
            }
        }
        Ok(())
    })
    .await?;
    listed.sort_by_key(|gone| std::cmp::Reverse(gone.last));
    if args.json {
        for gone in &listed {
            writeln!(io.out, "{}", serde_json::to_string(gone)?)?;
        }
    } else if args.list {
        let row = |gone: &Gone| {
            let (first, last) = (show_age(now, gone.first), show_age(now, gone.last));
            let (sender, recipient) = (show_path(Some(&gone.sender)), show_path(Some(&gone.recipient)));
            vec![gone.client.to_string(), first, last, gone.attempts.to_string(), sender, recipient]
        };
        let rows: Vec<_> = listed.iter().map(row).collect();
        table(io.out, &["CLIENT", "FIRST", "LAST", "TRIES", "SENDER", "RECIPIENT"], &rows)?;
    } else {
        sums.show(args.top, io)?;
    }
    if listed.len() == LISTED {
        writeln!(io.err, "gatepost: only {LISTED} of {} are shown", sums.gone)?;
    }
    Ok(if sums.gone + sums.waiting + sums.waited == 0 { NOT_DONE } else { OK })
}

impl Sums {
    fn count(&mut self, gone: &Gone) {
        self.gone += 1;
        let domain = |address: &str| address.rsplit_once('@').map_or("<>", |(_, domain)| domain).to_owned();
        for (map, key) in [
            (&mut self.clients, gone.client.to_string()),
            (&mut self.senders, domain(&gone.sender)),
            (&mut self.recipients, gone.recipient.clone()),
        ] {
            if map.len() < COUNTED || map.contains_key(&key) {
                *map.entry(key).or_default() += 1;
            }
        }
    }

    fn show(&self, top: usize, io: &mut Io<'_>) -> Result<(), Failure> {
        writeln!(io.out, "{:>10}  never came back", self.gone)?;
        writeln!(io.out, "{:>10}  may yet come: their time is not over", self.waiting)?;
        writeln!(io.out, "{:>10}  came back and are known", self.waited)?;
        for (what, map) in [
            ("clients", &self.clients),
            ("senders' domains", &self.senders),
            ("recipients", &self.recipients),
        ] {
            let mut counts: Vec<_> = map.iter().collect();
            counts.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
            if counts.is_empty() || top == 0 {
                continue;
            }
            writeln!(io.out, "\n{what} that never came back most often:")?;
            for (name, count) in counts.into_iter().take(top) {
                writeln!(io.out, "{count:>10}  {}", clean(name, 320))?;
            }
        }
        Ok(())
    }
}

/// A known client, as `--json` shows it.
#[derive(Serialize)]
struct Known {
    client: String,
    count: u32,
    last: Timestamp,
}

async fn known_clients(
    args: &WhitelistArgs,
    settings: &Greylist,
    state: &dyn State,
    now: Timestamp,
    io: &mut Io<'_>,
) -> Result<u8, Failure> {
    let from = settings.auto_whitelist_clients;
    let mut known: Vec<Known> = Vec::new();
    each(state, Space::Clients, async |key, value| {
        if let Some(client) = Client::decode(&value).filter(|client| from > 0 && client.count >= from)
            && known.len() < LISTED
        {
            let name = String::from_utf8_lossy(&key).into_owned();
            known.push(Known { client: name, count: client.count, last: timestamp(client.last) });
        }
        Ok(())
    })
    .await?;
    known.sort_by_key(|known| std::cmp::Reverse(known.last));
    if args.json {
        for known in &known {
            writeln!(io.out, "{}", serde_json::to_string(known)?)?;
        }
    } else if !known.is_empty() {
        let row = |known: &Known| {
            vec![clean(&known.client, 64), known.count.to_string(), show_age(now, known.last)]
        };
        let rows: Vec<_> = known.iter().map(row).collect();
        table(io.out, &["CLIENT", "COUNT", "LAST"], &rows)?;
    }
    Ok(if known.is_empty() { NOT_DONE } else { OK })
}

async fn make_known(
    args: &WhitelistArgs,
    settings: &Greylist,
    state: &dyn State,
    now: Timestamp,
    io: &mut Io<'_>,
) -> Result<u8, Failure> {
    let count = settings.auto_whitelist_clients;
    if count == 0 {
        return Err(Failure::Usage(
            "checks.greylist.auto_whitelist_clients is 0: no client is ever known; use a whitelist file"
                .into(),
        ));
    }
    for address in &args.clients {
        let address = address.to_canonical();
        let client = Client { count, last: seconds_of(now) };
        let life = settings.max_age.duration();
        state.put(Space::Clients, address.to_string().as_bytes(), &client.encode(), life).await?;
        writeln!(io.out, "{address} is known for {}", settings.max_age)?;
    }
    state.flush().await?;
    Ok(OK)
}

async fn delete(args: &DeleteArgs, state: &dyn State, io: &mut Io<'_>) -> Result<u8, Failure> {
    let bare = |text: &String| {
        let text = text.to_ascii_lowercase();
        text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(&text).to_owned()
    };
    let (sender, recipient) = (args.sender.as_ref().map(bare), args.recipient.as_ref().map(bare));
    let mut deleted = [0_u64; 2];
    each(state, Space::Triplets, async |key, value| {
        let [_, its_sender, its_recipient] = parts(&key);
        let its_client = Triplet::decode(&value).map(|triplet| triplet.client);
        let meant = args.client.is_none_or(|net| its_client.is_some_and(|client| net.contains(&client)))
            && sender.as_ref().is_none_or(|sender| *sender == its_sender)
            && recipient.as_ref().is_none_or(|recipient| *recipient == its_recipient);
        deleted[0] += u64::from(meant && state.delete(Space::Triplets, &key).await?);
        Ok(())
    })
    .await?;
    if let (Some(net), None, None) = (args.client, &sender, &recipient) {
        each(state, Space::Clients, async |key, _| {
            let client = std::str::from_utf8(&key).ok().and_then(|text| text.parse::<IpAddr>().ok());
            let meant = client.is_some_and(|client| net.contains(&client));
            deleted[1] += u64::from(meant && state.delete(Space::Clients, &key).await?);
            Ok(())
        })
        .await?;
    }
    state.flush().await?;
    writeln!(io.out, "forgotten: {} triplets, {} clients", deleted[0], deleted[1])?;
    Ok(if deleted == [0, 0] { NOT_DONE } else { OK })
}

/// Goes through all entries of a space.
async fn each(
    state: &dyn State,
    space: Space,
    mut look: impl AsyncFnMut(Vec<u8>, Vec<u8>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut from: Option<Vec<u8>> = None;
    loop {
        let page = state.list(space, from.as_deref(), LONGEST_PAGE).await?;
        for (key, value) in page.entries {
            look(key, value).await?;
        }
        from = page.next;
        if from.is_none() {
            return Ok(());
        }
    }
}

fn gone(key: &[u8], triplet: &Triplet) -> Gone {
    let [network, sender, recipient] = parts(key);
    Gone {
        client: triplet.client,
        network,
        sender,
        recipient,
        first: timestamp(triplet.first),
        last: timestamp(triplet.last),
        attempts: triplet.attempts,
    }
}

fn timestamp(seconds: u64) -> Timestamp {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .unwrap_or(Timestamp::MAX)
}

fn seconds_of(time: Timestamp) -> u64 {
    u64::try_from(time.as_second()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::greylist::triplet::Rules;
    use crate::resources::state::Memory;

    const NOW: u64 = 1_800_000_000;

    async fn some() -> Arc<dyn State> {
        let state: Arc<dyn State> = Arc::new(Memory::new(1000, Clock::standing(NOW).0));
        let rules = Rules {
            delay: 300,
            retry_window: 172_800,
            max_age: 3_024_000,
            ipv4_prefix: 24,
            ipv6_prefix: 64,
            known_from: 5,
        };
        for (client, sender, recipient, first, last, attempts) in [
            ("192.0.2.1", "a@spam.test", "u@in.test", 5000, 5000, 1),
            ("192.0.2.1", "b@spam.test", "u@in.test", 4000, 3990, 2),
            ("198.51.100.1", "", "v@in.test", 3000, 3000, 1),
            ("192.0.2.9", "new@x.test", "u@in.test", 100, 100, 1),
            ("192.0.2.10", "good@x.test", "u@in.test", 9000, 10, 4),
        ] {
            let client: IpAddr = client.parse().unwrap();
            let triplet = Triplet { first: NOW - first, last: NOW - last, attempts, client };
            let key = rules.key(client, sender, recipient);
            state.put(Space::Triplets, &key, &triplet.encode(), Duration::from_secs(9999)).await.unwrap();
        }
        let client = Client { count: 7, last: NOW - 60 };
        state.put(Space::Clients, b"192.0.2.10", &client.encode(), Duration::from_secs(9999)).await.unwrap();
        state
    }

    /// Status, output and errors of a command line.
    async fn say(state: &dyn State, line: &str) -> (u8, String, String) {
        #[derive(clap::Parser)]
        struct Line {
            #[command(subcommand)]
            command: GreylistCommand,
        }
        let words = std::iter::once("greylist").chain(line.split_whitespace());
        let parsed: Line = clap::Parser::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut io = Io { out: &mut out, err: &mut err, input: &mut std::io::empty(), interactive: false };
        let status = command(&parsed.command, &Greylist::default(), state, timestamp(NOW), &mut io).await;
        (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[tokio::test]
    async fn who_never_came_back() {
        let state = some().await;
        let (status, out, _) = say(state.as_ref(), "report").await;
        let lines: Vec<_> = out.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(status, OK);
        assert_eq!(
            lines,
            [
                "3  never came back",
                "1  may yet come: their time is not over",
                "1  came back and are known",
                "clients that never came back most often:",
                "2  192.0.2.1",
                "1  198.51.100.1",
                "senders' domains that never came back most often:",
                "2  spam.test",
                "1  <>",
                "recipients that never came back most often:",
                "2  u@in.test",
                "1  v@in.test",
            ]
        );
        let (_, out, _) = say(state.as_ref(), "report --list").await;
        assert_eq!(
            out,
            "CLIENT        FIRST  LAST  TRIES  SENDER         RECIPIENT\n\
             198.51.100.1  50m    50m   1      <>             <v@in.test>\n\
             192.0.2.1     66m    66m   2      <b@spam.test>  <u@in.test>\n\
             192.0.2.1     83m    83m   1      <a@spam.test>  <u@in.test>\n"
        );
        let (_, out, _) = say(state.as_ref(), "report --json --client 198.51.100.0/24 --older 30s").await;
        assert_eq!(
            out,
            "{\"client\":\"198.51.100.1\",\"network\":\"198.51.100.0\",\"sender\":\"\",\"recipient\":\"v@in.test\",\
             \"first\":\"2027-01-15T07:10:00Z\",\"last\":\"2027-01-15T07:10:00Z\",\"attempts\":1}\n"
        );
        let empty = Memory::small();
        assert_eq!(say(empty.as_ref(), "report").await.0, NOT_DONE);
    }

    #[tokio::test]
    async fn known_clients_and_forgetting() {
        let state = some().await;
        let (status, out, _) = say(state.as_ref(), "whitelist").await;
        assert_eq!((status, out.as_str()), (OK, "CLIENT      COUNT  LAST\n192.0.2.10  7      60s\n"));
        let (_, out, _) = say(state.as_ref(), "whitelist 203.0.113.5 ::ffff:203.0.113.6").await;
        assert_eq!(out, "203.0.113.5 is known for 35d\n203.0.113.6 is known for 35d\n");
        assert_eq!(say(state.as_ref(), "whitelist").await.1.lines().count(), 4);

        for (line, status, expected) in [
            ("delete --sender A@spam.test --recipient u@in.test", OK, "forgotten: 1 triplets, 0 clients\n"),
            ("delete --sender a@spam.test", NOT_DONE, "forgotten: 0 triplets, 0 clients\n"),
            ("delete --sender <>", OK, "forgotten: 1 triplets, 0 clients\n"),
            (
                "delete --client 192.0.2.0/24 --recipient none@in.test",
                NOT_DONE,
                "forgotten: 0 triplets, 0 clients\n",
            ),
            ("delete --client 192.0.2.0/24", OK, "forgotten: 3 triplets, 1 clients\n"),
            ("delete --client 203.0.113.5", OK, "forgotten: 0 triplets, 1 clients\n"),
        ] {
            let (done, out, _) = say(state.as_ref(), line).await;
            assert_eq!((done, out.as_str()), (status, expected), "{line}");
        }
    }
}
