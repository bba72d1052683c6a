//! `gatepost limits`: what users, addresses and clients have used up of their rates, and letting them begin anew.
//!
//! A running daemon has the store's file to itself and is asked over its socket; without one the file is opened here.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use super::{Failure, Io, NOT_DONE, OK, finish, greylist, table};
use crate::config::protection::Protection;
use crate::records::text::clean;
use crate::resources::limits::{self, Counted, HARVEST_WINDOW};
use crate::resources::state::{Space, State};

/// See what has been used up of the rates of `[protection]`, and let somebody begin anew.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file of the daemon; without one the embedded defaults
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: LimitsCommand,
}

/// What is to be done.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum LimitsCommand {
    /// Who has used up most of a rate, the highest share first
    List(ListArgs),
    /// What somebody has used up of each rate
    Show(ShowArgs),
    /// Begin to count anew, so that somebody may send again
    Reset(ResetArgs),
}

/// Arguments of `list`.
#[derive(Clone, Debug, clap::Args)]
pub struct ListArgs {
    /// Only this rate, by its name
    #[arg(long, value_name = "NAME")]
    pub rate: Option<String>,
    /// Only those who have used up all that is allowed
    #[arg(long)]
    pub stopped: bool,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    pub limit: usize,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `show`.
#[derive(Clone, Debug, clap::Args)]
pub struct ShowArgs {
    /// A user, address, domain or client, as the list shows it
    #[arg(value_name = "WHO")]
    pub who: String,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `reset`.
#[derive(Clone, Debug, clap::Args)]
pub struct ResetArgs {
    /// Name of the rate; `harvest` for clients that try out recipients
    #[arg(value_name = "RATE")]
    pub rate: String,
    /// A user, address, domain or client, as the list shows it
    #[arg(value_name = "WHO")]
    pub who: String,
}

/// Most counters that are looked at in one go, so that a list stays small whatever the store holds.
const MOST: usize = 200_000;

/// One counter.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Used {
    rate: String,
    who: String,
    counted: String,
    used: u64,
    allowed: u64,
    per_seconds: u64,
}

/// Runs it. Exit status 1 when there is nothing to show or nothing was reset.
pub async fn run(args: Args) -> ExitCode {
    let (loaded, state) = match greylist::load_with_state(args.config.as_deref()).await {
        Ok(opened) => opened,
        Err(status) => return status,
    };
    let interactive = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    let mut input = std::io::stdin().lock();
    let mut io = Io { out: &mut out, err: &mut err, input: &mut input, interactive };
    ExitCode::from(command(&args.command, &loaded.config.protection, state.as_ref(), &mut io).await)
}

/// One of the commands, on this state.
pub async fn command(
    command: &LimitsCommand,
    settings: &Protection,
    state: &dyn State,
    io: &mut Io<'_>,
) -> u8 {
    let result = match command {
        LimitsCommand::List(args) => list(args, settings, state, io).await,
        LimitsCommand::Show(args) => show(args, settings, state, io).await,
        LimitsCommand::Reset(args) => reset(args, settings, state, io).await,
    };
    finish(result, io)
}

async fn list(
    args: &ListArgs,
    settings: &Protection,
    state: &dyn State,
    io: &mut Io<'_>,
) -> Result<u8, Failure> {
    let mut all = used(settings, state, io).await?;
    all.retain(|used| args.rate.as_ref().is_none_or(|rate| *rate == used.rate));
    all.retain(|used| !args.stopped || used.used >= used.allowed);
    // The highest share first: a/b > c/d is ad > cb.
    all.sort_by(|a, b| {
        let (left, right) =
            (u128::from(b.used) * u128::from(a.allowed), u128::from(a.used) * u128::from(b.allowed));
        left.cmp(&right).then_with(|| (&a.rate, &a.who).cmp(&(&b.rate, &b.who)))
    });
    let more = all.len().saturating_sub(args.limit);
    all.truncate(args.limit);
    print(&all, args.json, io)?;
    if more > 0 {
        writeln!(io.err, "gatepost: {more} more; see --limit")?;
    }
    Ok(if all.is_empty() { NOT_DONE } else { OK })
}

async fn show(
    args: &ShowArgs,
    settings: &Protection,
    state: &dyn State,
    io: &mut Io<'_>,
) -> Result<u8, Failure> {
    let who = args.who.to_lowercase();
    let mut all = Vec::new();
    for (rate, counted, allowed, per) in counters(settings) {
        let key = key(&rate, counted, &who);
        let used = state.count(Space::Limits, key.as_bytes(), 0, per).await?;
        if used > 0 {
            let (who, counted) = (who.clone(), counted.to_owned());
            all.push(Used { rate, who, counted, used, allowed, per_seconds: per.as_secs() });
        }
    }
    print(&all, args.json, io)?;
    Ok(if all.is_empty() { NOT_DONE } else { OK })
}

async fn reset(
    args: &ResetArgs,
    settings: &Protection,
    state: &dyn State,
    io: &mut Io<'_>,
) -> Result<u8, Failure> {
    let who = args.who.to_lowercase();
    let known = counters(settings);
    if !known.iter().any(|(rate, ..)| *rate == args.rate) {
        let mut names: Vec<_> = known.into_iter().map(|(rate, ..)| rate).collect();
        names.dedup();
        return Err(Failure::Usage(format!(
            "there is no rate “{}”; there are: {}",
            args.rate,
            names.join(", ")
        )));
    }
    let mut gone = false;
    for (rate, counted, ..) in known.iter().filter(|(rate, ..)| *rate == args.rate) {
        gone |= state.delete(Space::Limits, key(rate, counted, &who).as_bytes()).await?;
    }
    // The postmaster shall hear of it if it happens again.
    state.delete(Space::Limits, limits::told(&args.rate, &who).as_bytes()).await?;
    let said = if gone { "begins anew" } else { "has used up nothing" };
    writeln!(io.out, "{} {said} ({})", clean(&who, 320), args.rate)?;
    Ok(if gone { OK } else { NOT_DONE })
}

/// All counters of the rates as they are configured now.
async fn used(settings: &Protection, state: &dyn State, io: &mut Io<'_>) -> Result<Vec<Used>, Failure> {
    let known = counters(settings);
    let mut keys = Vec::new();
    let mut from: Option<Vec<u8>> = None;
    loop {
        let page = state.list(Space::Limits, from.as_deref(), 1000).await?;
        keys.extend(page.entries.into_iter().map(|(key, _)| key));
        from = page.next;
        if from.is_none() || keys.len() >= MOST {
            break;
        }
    }
    if from.is_some() {
        writeln!(io.err, "gatepost: only {MOST} counters are looked at; ask for one with `show`")?;
    }
    let mut all = Vec::new();
    for key in keys {
        let Some((rate, counted, who)) = limits::parts(&key) else { continue };
        let known = known.iter().find(|(name, what, ..)| name == rate && *what == counted);
        let Some((.., allowed, per)) = known else { continue };
        let used = state.count(Space::Limits, &key, 0, *per).await?;
        if used > 0 {
            let (rate, who, counted) = (rate.to_owned(), who.to_owned(), counted.to_owned());
            all.push(Used { rate, who, counted, used, allowed: *allowed, per_seconds: per.as_secs() });
        }
    }
    Ok(all)
}

/// What is counted: name of the rate, of what, how much is allowed, in which time.
fn counters(settings: &Protection) -> Vec<(String, &'static str, u64, Duration)> {
    let mut all = Vec::new();
    for rate in &settings.rate {
        let allowed = [rate.messages, rate.recipients, rate.bytes.bytes()];
        for (counted, allowed) in Counted::ALL.into_iter().zip(allowed).filter(|(_, allowed)| *allowed > 0) {
            all.push((rate.name(), counted.name(), allowed, rate.per.duration()));
        }
    }
    if settings.harvest_per_hour > 0 {
        all.push(("harvest".into(), "unknown", settings.harvest_per_hour.into(), HARVEST_WINDOW));
    }
    all
}

fn key(rate: &str, counted: &str, who: &str) -> String {
    match Counted::ALL.into_iter().find(|known| known.name() == counted) {
        Some(counted) => limits::rate(rate, counted, who),
        None => limits::harvest(who),
    }
}

fn print(all: &[Used], json: bool, io: &mut Io<'_>) -> Result<(), Failure> {
    if json {
        for used in all {
            writeln!(io.out, "{}", serde_json::to_string(used)?)?;
        }
        return Ok(());
    }
    let row = |used: &Used| {
        let share = format!("{} of {}", used.used, used.allowed);
        vec![used.rate.clone(), share, used.counted.clone(), clean(&used.who, 320)]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    if !rows.is_empty() {
        table(io.out, &["RATE", "USED", "OF", "WHO"], &rows)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::state::{Clock, Memory};

    const RATES: &str = "harvest_per_hour = 10\n[[rate]]\nof = 'user'\nmessages = 10\nbytes = 1000\n\
        [[rate]]\nof = 'client'\nmessages = 100\nper = '1d'";

    struct Cli {
        settings: Protection,
        state: Memory,
    }

    impl Cli {
        async fn run(&self, words: &[&str]) -> (u8, String) {
            #[derive(clap::Parser)]
            struct Line {
                #[command(subcommand)]
                command: LimitsCommand,
            }
            let line = <Line as clap::Parser>::try_parse_from([&["limits"], words].concat()).unwrap();
            let (mut out, mut err, mut input) = (Vec::new(), Vec::new(), std::io::empty());
            let mut io = Io { out: &mut out, err: &mut err, input: &mut input, interactive: false };
            let status = command(&line.command, &self.settings, &self.state, &mut io).await;
            out.append(&mut err);
            (status, String::from_utf8(out).unwrap())
        }

        async fn count(&self, rate: &str, counted: &str, who: &str, amount: u64) {
            let per = Duration::from_secs(if rate == "client-1d" { 86_400 } else { 3600 });
            let key = key(rate, counted, who);
            self.state.count(Space::Limits, key.as_bytes(), amount, per).await.unwrap();
        }
    }

    #[tokio::test]
    async fn who_has_used_up_what_and_begins_anew() {
        let state = Memory::new(1000, Clock::standing(86_400_000).0);
        let cli = Cli { settings: toml::from_str(RATES).unwrap(), state };
        assert_eq!(cli.run(&["list"]).await, (NOT_DONE, String::new()));
        cli.count("user-1h", "messages", "alice", 10).await;
        cli.count("user-1h", "bytes", "alice", 500).await;
        cli.count("client-1d", "messages", "192.0.2.1", 80).await;
        cli.count("harvest", "unknown", "198.51.100.1", 3).await;
        cli.count("gone-1h", "messages", "alice", 3).await;
        let (status, text) = cli.run(&["list"]).await;
        let lines: Vec<String> =
            text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(status, OK);
        assert_eq!(
            lines,
            [
                "RATE USED OF WHO",
                "user-1h 10 of 10 messages alice",
                "client-1d 80 of 100 messages 192.0.2.1",
                "user-1h 500 of 1000 bytes alice",
                "harvest 3 of 10 unknown 198.51.100.1",
            ]
        );
        assert_eq!(cli.run(&["list", "--stopped"]).await.1.lines().count(), 2);
        assert_eq!(cli.run(&["list", "--rate", "user-1h", "--json"]).await.1.lines().count(), 2);
        assert!(cli.run(&["list", "--limit", "1"]).await.1.contains("3 more"));
        assert_eq!(cli.run(&["show", "Alice"]).await.1.lines().count(), 3);
        assert_eq!(cli.run(&["show", "bob"]).await.0, NOT_DONE);
        cli.state
            .put(Space::Limits, limits::told("user-1h", "alice").as_bytes(), b"1", HARVEST_WINDOW)
            .await
            .unwrap();
        assert_eq!(
            cli.run(&["reset", "user-1h", "ALICE"]).await,
            (OK, "alice begins anew (user-1h)\n".into())
        );
        assert_eq!(cli.run(&["reset", "user-1h", "alice"]).await.0, NOT_DONE);
        assert_eq!(cli.run(&["reset", "harvest", "198.51.100.1"]).await.0, OK);
        let told = limits::told("user-1h", "alice");
        assert_eq!(cli.state.get(Space::Limits, told.as_bytes()).await.unwrap(), None);
        let (status, text) = cli.run(&["reset", "user", "alice"]).await;
        assert_eq!(status, super::super::USAGE);
        assert!(text.contains("there are: user-1h, client-1d, harvest"), "{text}");
    }
}
