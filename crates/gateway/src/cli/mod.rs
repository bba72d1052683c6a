//! Commands: they read arguments, call the program's parts, and print.
//!
//! Exit statuses: 0 done, 1 not found or not (wholly) done, 2 wrong usage or configuration, 75 cannot be done now. `update` has
//! two more.

pub mod auth;
pub mod check;
pub mod config;
pub mod dkim;
pub mod dmarc;
pub mod explain;
pub mod filter;
pub mod greylist;
pub mod history;
pub mod import;
pub mod init;
pub mod limits;
pub mod notices;
pub mod open;
pub mod quarantine;
pub mod reload;
pub mod rules;
pub mod scan;
pub mod update;

use std::fmt;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::time::Duration;

use gatepost_mail::{Action, Address, Category};
use ipnet::IpNet;
use jiff::Timestamp;
use serde::Serialize;

use crate::config::Located;
use crate::records::text::clean;
use crate::records::{Entry, JournalError, Record, ReleaseError, State, UpkeepError, VaultError};

/// Done.
pub const OK: u8 = 0;
/// Not found, nothing to do, or not done for all.
pub const NOT_DONE: u8 = 1;
/// Wrong usage.
pub const USAGE: u8 = 2;
/// It cannot be done now, another time it may (EX_TEMPFAIL of sysexits.h).
pub const TRY_LATER: u8 = 75;

/// Says what is wrong with the configuration, a line each.
pub fn configuration_error(problems: &[Located]) -> ExitCode {
    eprintln!("{}", problem_list(problems));
    ExitCode::from(USAGE)
}

/// Says what is wrong with the call.
pub fn usage_error(message: &str) -> ExitCode {
    eprintln!("gatepost: {message}");
    ExitCode::from(USAGE)
}

/// Problems, a line each.
pub fn problem_list(problems: &[Located]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Where a command reads and writes.
pub struct Io<'a> {
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
    /// Standard input, for confirmations.
    pub input: &'a mut dyn BufRead,
    /// Somebody sits there and can be asked.
    pub interactive: bool,
}

/// The name of whoever runs the command, for events: behind `sudo` the one who called it.
pub fn who() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name);
    let user = user.unwrap_or_else(|| nix::unistd::getuid().to_string());
    match std::env::var("SUDO_USER") {
        Ok(caller) if !caller.is_empty() && user == "root" => clean(&caller, 64),
        _ => user,
    }
}

/// What ends a command early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Wrong usage.
    Usage(String),
    /// Journal or vault.
    Records(String),
    /// Output cannot be written.
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

macro_rules! failures {
    ($($error:ty)*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Failure {
                Failure::Records(error.to_string())
            }
        })*
    };
}
failures! { JournalError VaultError UpkeepError ReleaseError serde_json::Error }

/// The exit status of a command; its failure is printed.
pub(crate) fn finish(result: Result<u8, Failure>, io: &mut Io<'_>) -> u8 {
    // Where not even an error can be printed there is nothing left to do but the status.
    match result {
        Ok(status) => status,
        // `gatepost history | head` is no failure.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => OK,
        Err(Failure::Output(error)) => {
            let _ = writeln!(io.err, "gatepost: cannot write: {error}");
            TRY_LATER
        }
        Err(Failure::Usage(message)) => {
            let _ = writeln!(io.err, "gatepost: {message}");
            USAGE
        }
        Err(Failure::Records(message)) => {
            let _ = writeln!(io.err, "gatepost: {message}");
            TRY_LATER
        }
    }
}

/// An entry as JSON: the record's fields, and what became of it.
#[derive(Serialize)]
pub(crate) struct EntryJson<'a> {
    #[serde(flatten)]
    record: &'a Record,
    state: Option<State>,
    state_time: Option<Timestamp>,
    /// It is a copy of mail that was delivered or refused.
    kept: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining: Option<&'a [String]>,
    /// Only where whoever asks may release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret_id: Option<String>,
}

impl<'a> From<&'a Entry> for EntryJson<'a> {
    fn from(entry: &'a Entry) -> EntryJson<'a> {
        EntryJson {
            record: &entry.record,
            state: entry.state,
            state_time: entry.state_time,
            kept: entry.record.is_copy(),
            remaining: entry.remaining.as_deref(),
            secret_id: None,
        }
    }
}

/// Reads a category.
pub(crate) fn parse_category(text: &str) -> Result<Category, String> {
    let all = Category::ALL;
    all.into_iter()
        .find(|category| category.name() == text)
        .ok_or_else(|| one_of(text, all.map(Category::name)))
}

/// Reads an action.
pub(crate) fn parse_action(text: &str) -> Result<Action, String> {
    let all = Action::ALL;
    all.into_iter().find(|action| action.name() == text).ok_or_else(|| one_of(text, all.map(Action::name)))
}

/// Reads a state.
pub(crate) fn parse_state(text: &str) -> Result<State, String> {
    State::from_name(text).ok_or_else(|| one_of(text, State::ALL.map(State::name)))
}

/// Reads an address or a network.
pub(crate) fn parse_net(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| format!("“{text}” is neither an address nor a network such as 192.0.2.0/24"))
}

/// Reads an address of an envelope, in angle brackets or not: `user@example.org`, or `postmaster` alone.
pub(crate) fn parse_address(text: &str) -> Result<Address, String> {
    let bare = text.strip_prefix('<').and_then(|inner| inner.strip_suffix('>')).unwrap_or(text);
    let plain = !bare.contains(|c: char| c.is_control() || c.is_whitespace() || "<>".contains(c));
    Address::new(bare)
        .filter(|address| plain && !address.local().is_empty())
        .filter(|address| match address.domain() {
            "" => address.local().eq_ignore_ascii_case("postmaster") && !bare.contains('@'),
            _ => true,
        })
        .ok_or_else(|| format!("“{}” is no address such as user@example.org", clean(text, 80)))
}

/// Reads an age: `90`, `90s`, `15m`, `12h`, `3d`, `2w`.
pub(crate) fn parse_age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("“{text}” is no age such as 3d, 12h, 15m or 2w");
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds: u64 = match &text[number.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        "w" => 7 * 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

/// Reads a moment: an age before now, a date or time in the system's time zone (`2026-03-01`, `2026-03-01 12:30`),
/// or one with an offset (`2026-03-01T12:30:00Z`).
pub(crate) fn parse_time(text: &str) -> Result<Timestamp, String> {
    if let Ok(age) = parse_age(text) {
        return Ok(ago(Timestamp::now(), age));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    text.parse::<jiff::civil::DateTime>()
        .or_else(|_| {
            text.parse::<jiff::civil::Date>().map(|date| date.to_datetime(jiff::civil::Time::midnight()))
        })
        .and_then(|local| local.to_zoned(jiff::tz::TimeZone::system()))
        .map(|zoned| zoned.timestamp())
        .map_err(|_| {
            format!("“{text}” is neither a time such as 2026-03-01 or 2026-03-01T12:30 nor an age such as 3d")
        })
}

/// So long before a moment.
pub(crate) fn ago(now: Timestamp, age: Duration) -> Timestamp {
    now.checked_sub(age).unwrap_or(Timestamp::MIN)
}

/// An age for people: the largest unit that fits, `3d`.
pub(crate) fn show_age(now: Timestamp, time: Timestamp) -> String {
    let seconds = now.duration_since(time).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A size for people: `1.2 MiB`.
pub(crate) fn show_size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1_024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// A path of an envelope in brackets.
pub(crate) fn show_path(address: Option<&str>) -> String {
    format!("<{}>", clean(address.unwrap_or_default(), 320))
}

/// Recipients in brackets, the first ones of many.
pub(crate) fn show_recipients(recipients: &[String], most: usize) -> String {
    let named: Vec<String> =
        recipients.iter().take(most).map(|recipient| show_path(Some(recipient))).collect();
    match recipients.len().saturating_sub(most) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// Prints rows in columns as wide as their widest cell; the last column is not padded.
pub(crate) fn table(out: &mut dyn Write, head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", padded.join("  ").trim_end())
    };
    line(&mut head.iter().copied())?;
    rows.iter().try_for_each(|row| line(&mut row.iter().map(String::as_str)))
}

fn one_of<const N: usize>(text: &str, names: [impl fmt::Display; N]) -> String {
    format!("“{text}” is none of {}", names.map(|name| name.to_string()).join(", "))
}

#[cfg(test)]
mod tests;
