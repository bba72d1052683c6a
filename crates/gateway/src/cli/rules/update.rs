//! `gatepost rules update` and `rollback`: rules by update channels, with the options and exit statuses of sa-update.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::{NOT_DONE, OK, TRY_LATER, configuration_error, usage_error};
use crate::config::Config;
use crate::config::load;
use crate::config::rule_channels::is_channel;
use crate::records::text::clean;
use crate::updating::Unable;
use crate::updating::channels::{Asked, Channels, Manner, Outcome, Scores, keyring, place, roll_back};

/// The .pre files of this site do not pass lint.
const SITE: u8 = 2;
/// Something new, and something failed.
const PARTLY: u8 = 3;
/// Something failed, and nothing is new.
const FAILED: u8 = 4;

/// Longest file of channels or keys' ids.
const LISTED: u64 = 1 << 20;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Update(Box<Update>),
    Rollback(Rollback),
}

/// Fetch the newest rules of update channels, as sa-update does: verified, linted, installed at once.
///
/// Exit status: 0 something new is installed, 1 nothing new, 2 wrong usage, or .pre files of this site do not pass lint, 3
/// something new and something failed, 4 something failed and nothing is new, 75 somebody else is updating.
#[derive(Debug, clap::Args)]
pub(super) struct Update {
    /// Configuration file of the daemon; without one the embedded defaults
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// This channel; may be given several times. Default: those of `update.rules.channel`, or updates.spamassassin.org
    #[arg(long, value_name = "NAME")]
    channel: Vec<String>,
    /// The channels of a file instead, a line each
    #[arg(long, value_name = "FILE")]
    channelfile: Option<PathBuf>,
    /// Only see whether there is something new
    #[arg(long)]
    checkonly: bool,
    /// Install this archive, with its signature (.asc) and checksum (.sha512, .sha256) beside it
    #[arg(long, value_name = "FILE", conflicts_with = "checkonly")]
    install: Option<PathBuf>,
    /// Trust this imported key too: its fingerprint, or the last 8 or 16 digits of it
    #[arg(long, value_name = "ID")]
    gpgkey: Vec<String>,
    /// Trust the keys of a file, an id a line
    #[arg(long, value_name = "FILE")]
    gpgkeyfile: Option<PathBuf>,
    /// Folder of imported keys, instead of `update.rules.keyring`
    #[arg(long, value_name = "FOLDER")]
    gpghomedir: Option<PathBuf>,
    /// Signatures are needed, which is so anyway
    #[arg(long, overrides_with = "nogpg")]
    gpg: bool,
    /// Take what nobody has signed: anybody on the way can change it. --gpgkey takes that back
    #[arg(long, visible_alias = "no-gpg")]
    nogpg: bool,
    /// Keep the OpenPGP keys of this file, and do nothing else; --gpgkey trusts them
    #[arg(long, value_name = "KEYFILE")]
    import: Vec<PathBuf>,
    /// Folder to install into, instead of `update.rules.folder`
    #[arg(long, value_name = "FOLDER")]
    updatedir: Option<PathBuf>,
    /// Fetch the list of mirrors even if it is less than a week old
    #[arg(long)]
    refreshmirrors: bool,
    /// Fetch from this mirror alone
    #[arg(long, value_name = "URL")]
    forcemirror: Option<String>,
    /// Multiply the points of all rules by this, above 0, instead of `score_multiplier`
    #[arg(long, value_name = "NUMBER", value_parser = above_zero)]
    score_multiplier: Option<f64>,
    /// Let no rule have more points than this, instead of `score_limit`
    #[arg(long, value_name = "NUMBER", value_parser = above_zero)]
    score_limit: Option<f64>,
    /// Say what was found and done, not only what failed
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// Let the rules count again that were installed before the newest ones. The newest are not fetched again; a second time takes that back.
///
/// Exit status: 0 done, 1 there is nothing to go back to, 2 wrong usage, 4 failed, 75 somebody is updating.
#[derive(Debug, clap::Args)]
pub(super) struct Rollback {
    /// Configuration file of the daemon; without one the embedded defaults
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder that was installed into, instead of `update.rules.folder`
    #[arg(long, value_name = "FOLDER")]
    updatedir: Option<PathBuf>,
    /// The channel, if several are installed
    #[arg(value_name = "CHANNEL")]
    channel: Option<String>,
}

pub(super) async fn run(command: Command) -> ExitCode {
    match command {
        Command::Update(args) => update(*args).await,
        Command::Rollback(args) => rollback(&args),
    }
}

async fn update(args: Update) -> ExitCode {
    let config = match load::load(args.config.as_deref()) {
        Ok(loaded) => loaded.config,
        Err(problems) => return configuration_error(&problems),
    };
    let asked = match args.asked() {
        Ok(asked) => asked,
        Err(why) => return usage_error(&why),
    };
    if !args.import.is_empty() {
        return import(&args, &config);
    }
    let channels = match Channels::build(&config, &asked) {
        Ok(channels) => channels,
        Err(why) => return usage_error(&why),
    };
    let manner = Manner {
        check_only: args.checkonly,
        refresh_mirrors: args.refreshmirrors,
        mirror: args.forcemirror.clone(),
        install: args.install.clone(),
    };
    if manner.install.is_some() && channels.names().count() > 1 {
        return usage_error("--install needs one --channel to install into");
    }
    let done = channels.round(&manner, |name, outcome| tell(name, outcome, &args)).await;
    ExitCode::from(match done {
        Ok(outcomes) => status(&outcomes),
        Err(why) => unable(&why),
    })
}

impl Update {
    /// What is asked for; the error names the option.
    fn asked(&self) -> Result<Asked, String> {
        let mut channels = self.channel.clone();
        if let Some(file) = &self.channelfile {
            channels = lines(file)?.iter().map(|line| line.to_ascii_lowercase()).collect();
            if channels.is_empty() {
                return Err(format!("{}: names no channel", file.display()));
            }
        }
        let mut key_ids = self.gpgkey.clone();
        if let Some(file) = &self.gpgkeyfile {
            key_ids.extend(lines(file)?);
        }
        let is_id = |id: &&String| {
            matches!(id.len(), 8 | 16 | 40 | 64) && id.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        if let Some(wrong) = key_ids.iter().find(|id| !is_id(id)) {
            return Err(format!("“{}” is no id of a key: 8, 16 or 40 hex digits", clean(wrong, 64)));
        }
        if let Some(wrong) = channels.iter().find(|name| !is_channel(name)) {
            return Err(format!("“{}” is no channel's name", clean(wrong, 80)));
        }
        let folder = self.updatedir.as_deref().map(absolute).transpose()?;
        let keyring = self.gpghomedir.as_deref().map(absolute).transpose()?;
        let scores = Scores { multiplier: self.score_multiplier, limit: self.score_limit };
        Ok(Asked { channels, folder, keyring, key_ids, unsigned: self.nogpg && !self.gpg, scores })
    }
}

/// Keeps keys.
fn import(args: &Update, config: &Config) -> ExitCode {
    let folder = args.gpghomedir.clone().unwrap_or_else(|| config.update.rules.keyring(&config.data));
    for file in &args.import {
        match keyring::import(&folder, file) {
            Ok(names) => {
                for name in names {
                    let _ = writeln!(std::io::stdout(), "imported: {}", name.to_ascii_uppercase());
                }
            }
            Err(why) => {
                eprintln!("gatepost: {why}");
                return ExitCode::from(FAILED);
            }
        }
    }
    ExitCode::from(OK)
}

fn rollback(args: &Rollback) -> ExitCode {
    let config = match load::load(args.config.as_deref()) {
        Ok(loaded) => loaded.config,
        Err(problems) => return configuration_error(&problems),
    };
    let root = args.updatedir.clone().unwrap_or_else(|| config.update.rules.folder(&config.data));
    let installed = place::channels(&root);
    let channel = match (&args.channel, installed.as_slice()) {
        (Some(name), _) if is_channel(name) => name.clone(),
        (Some(name), _) => return usage_error(&format!("“{}” is no channel's name", clean(name, 80))),
        (None, [one]) => one.clone(),
        (None, []) => return usage_error(&format!("no channel is installed in {}", root.display())),
        (None, several) => {
            let message = format!("which channel? There are {}", several.join(", "));
            return usage_error(&message);
        }
    };
    let status = match roll_back(&root, &channel) {
        Ok(Some(now)) => {
            let held =
                now.held.map_or(String::new(), |held| format!("; {held} and older are not fetched again"));
            let _ = writeln!(std::io::stdout(), "{channel}: version {} counts again{held}", now.now.number);
            OK
        }
        Ok(None) => {
            eprintln!("gatepost: {channel}: there is no version before");
            NOT_DONE
        }
        Err(why) => unable(&why),
    };
    ExitCode::from(status)
}

fn unable(why: &Unable) -> u8 {
    match why {
        Unable::Busy => {
            eprintln!("gatepost: an update is under way already");
            TRY_LATER
        }
        Unable::Folder(why) => {
            eprintln!("gatepost: {why}");
            FAILED
        }
    }
}

fn tell(name: &str, outcome: &Outcome, args: &Update) {
    let mut lines = Vec::new();
    match outcome {
        Outcome::New { before, number, what, notes } => {
            let before = before.map_or("none".into(), |before| before.to_string());
            let done = if args.checkonly { "there is a newer version" } else { "updated" };
            let what = if what.is_empty() { String::new() } else { format!(": {what}") };
            lines.extend(notes.iter().map(|note| format!("{name}: {}", clean(note, 1000))));
            lines.push(format!("{name}: {done}, {before} -> {number}{what}"));
        }
        Outcome::Same => lines.push(format!("{name}: nothing new")),
        Outcome::Failed(why) => {
            eprintln!("gatepost: channel {name}: {}; what is installed stays", clean(why, 2000));
        }
        Outcome::Site(why) => {
            eprintln!("gatepost: .pre files of this site: {}; nothing is fetched", clean(why, 2000));
        }
    }
    for line in lines.iter().filter(|_| args.verbose > 0) {
        // Where nobody reads it there is nothing to be told.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}

fn status(outcomes: &[Outcome]) -> u8 {
    let new = outcomes.iter().any(|outcome| matches!(outcome, Outcome::New { .. }));
    let failed = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Failed(_)));
    match (new, failed) {
        _ if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Site(_))) => SITE,
        (true, false) => OK,
        (false, false) => NOT_DONE,
        (true, true) => PARTLY,
        (false, true) => FAILED,
    }
}

/// The lines of a file, without comments from `#` on.
fn lines(file: &Path) -> Result<Vec<String>, String> {
    let told = |why: std::io::Error| format!("{}: {why}", file.display());
    if fs::metadata(file).map_err(told)?.len() > LISTED {
        return Err(format!("{}: larger than {LISTED} bytes", file.display()));
    }
    let text = fs::read_to_string(file).map_err(told)?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    Ok(lines.filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// A number as sa-update takes it.
fn above_zero(text: &str) -> Result<f64, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number = text.parse::<f64>().ok().filter(|number| plain && *number > 0.0 && *number < 1e6);
    number.ok_or_else(|| "a number above 0, such as 0.5".to_owned())
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|why| format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_of_sa_update() {
        let new = || Outcome::New { before: None, number: 1, what: String::new(), notes: Vec::new() };
        let (same, failed) = (Outcome::Same, Outcome::Failed(String::new()));
        let site = Outcome::Site(String::new());
        for (outcomes, expected) in [
            (vec![same.clone()], 1),
            (vec![same.clone(), new()], 0),
            (vec![failed.clone(), new(), same.clone()], 3),
            (vec![same, failed], 4),
            (vec![new(), site], 2),
        ] {
            assert_eq!(status(&outcomes), expected, "{outcomes:?}");
        }
    }
}
