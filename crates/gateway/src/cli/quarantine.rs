//! `gatepost quarantine`: held messages listed, shown, released, forwarded and deleted.
//!
//! Nothing here shows what a message says unless that is asked for by `show --headers` or `show --raw`; whoever
//! releases need not read.

use std::io::{BufRead as _, Read as _};
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand};
use gatepost_mail::Category;
use jiff::Timestamp;

use super::explain::{Page, facts};
use super::{
    EntryJson, Failure, Io, NOT_DONE, OK, ago, finish, parse_address, parse_age, parse_category, parse_state,
    show_age, show_path, show_recipients, show_size, table, who,
};
use crate::records::text::clean;
use crate::records::{
    Deliver, Entry, Filter, Journal, ReleaseError, Released, State, Vault, find, forward, release, remove,
};

/// List, show, release, forward or delete held messages.
#[derive(Clone, Debug, Args)]
pub struct QuarantineArgs {
    /// What to do
    #[command(subcommand)]
    pub command: QuarantineCommand,
}

/// What to do with held messages.
#[derive(Clone, Debug, Subcommand)]
pub enum QuarantineCommand {
    /// List held messages, the latest first; `kept` are copies of mail that was delivered or refused
    List(ListArgs),
    /// Show who sent a message to whom and why it is held; nothing of its content unless asked
    Show(ShowArgs),
    /// Send messages to the recipients they are held (or kept) for, as they came, without showing them
    Release(ReleaseArgs),
    /// Send a message to another address; it stays held
    Forward(ForwardArgs),
    /// Delete messages by their ids
    Delete(DeleteArgs),
    /// Delete all messages that match
    Purge(PurgeArgs),
}

/// Which held messages.
#[derive(Clone, Debug, Default, Args)]
pub struct Which {
    /// Recipient: user@example.org, example.org (and not its subdomains), or .example.org (subdomains only)
    #[arg(long, value_name = "ADDRESS|DOMAIN")]
    pub recipient: Option<String>,
    /// Envelope sender, in the same forms; <> is the empty one
    #[arg(long, value_name = "ADDRESS|DOMAIN")]
    pub sender: Option<String>,
    /// Category: clean, spammy, spam, bad-header, oversized, unchecked, banned or virus
    #[arg(long, value_parser = parse_category)]
    pub category: Option<Category>,
    /// Held for longer than this: 3d, 12h, 15m
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    pub older_than: Option<Duration>,
    /// Held for less than this
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    pub newer_than: Option<Duration>,
    /// These ids
    #[arg(long = "id", value_name = "ID")]
    pub ids: Vec<String>,
}

impl Which {
    fn is_any(&self) -> bool {
        self.recipient.is_none()
            && self.sender.is_none()
            && self.category.is_none()
            && self.older_than.is_none()
            && self.newer_than.is_none()
            && self.ids.is_empty()
    }

    fn filter(&self, state: Option<State>, limit: u32) -> Filter {
        let now = Timestamp::now();
        Filter {
            recipient: self.recipient.clone(),
            sender: self.sender.clone(),
            category: self.category,
            since: self.newer_than.map(|age| ago(now, age)),
            until: self.older_than.map(|age| ago(now, age)),
            ids: self.ids.clone(),
            state,
            limit,
            ..Filter::default()
        }
    }
}

/// Arguments of `list`.
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// Which
    #[command(flatten)]
    pub which: Which,
    /// Another state: releasing, released, deleted, expired or missing
    #[arg(long, value_parser = parse_state)]
    pub state: Option<State>,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    pub limit: u32,
    /// One JSON object a line: the whole record, and its state
    #[arg(long)]
    pub json: bool,
    /// The secret ids as well, which amavisd-release asks for: whoever knows one may have the message released
    #[arg(long)]
    pub secrets: bool,
}

/// Arguments of `show`.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// The id
    pub id: String,
    /// The message's header as well
    #[arg(long, conflicts_with_all = ["raw", "json"])]
    pub headers: bool,
    /// Nothing but the message, byte for byte
    #[arg(long, conflicts_with = "json")]
    pub raw: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `release`.
#[derive(Clone, Debug, Args)]
pub struct ReleaseArgs {
    /// The ids
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<String>,
    /// Even if it was released before
    #[arg(long)]
    pub again: bool,
}

/// Arguments of `forward`.
#[derive(Clone, Debug, Args)]
pub struct ForwardArgs {
    /// The id
    pub id: String,
    /// Where to
    #[arg(long, value_name = "ADDRESS")]
    pub to: String,
}

/// Arguments of `delete`.
#[derive(Clone, Debug, Args)]
pub struct DeleteArgs {
    /// The ids
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<String>,
    /// Do not ask (needed for several where nobody can be asked)
    #[arg(long)]
    pub yes: bool,
}

/// Arguments of `purge`.
#[derive(Clone, Debug, Args)]
pub struct PurgeArgs {
    /// Which
    #[command(flatten)]
    pub which: Which,
    /// All held messages, when no other option says which
    #[arg(long)]
    pub all: bool,
    /// Do not ask (needed where nobody can be asked)
    #[arg(long)]
    pub yes: bool,
}

/// Runs it. `deliver` sends a message to the next hop; it is called for `release` and `forward` only.
pub async fn run(
    args: &QuarantineArgs,
    journal: &Journal,
    vault: &Vault,
    io: &mut Io<'_>,
    deliver: &impl Deliver,
) -> u8 {
    let result = match &args.command {
        QuarantineCommand::List(args) => list(args, journal, vault, io).await,
        QuarantineCommand::Show(args) => show(args, journal, vault, io).await,
        QuarantineCommand::Release(args) => release_all(args, journal, vault, io, deliver).await,
        QuarantineCommand::Forward(args) => forward_one(args, journal, vault, io, deliver).await,
        QuarantineCommand::Delete(args) => delete(args, journal, vault, io).await,
        QuarantineCommand::Purge(args) => purge(args, journal, vault, io).await,
    };
    finish(result, io)
}

async fn list(args: &ListArgs, journal: &Journal, vault: &Vault, io: &mut Io<'_>) -> Result<u8, Failure> {
    let entries = journal.held(&args.which.filter(args.state, args.limit)).await?;
    let mut head = vec!["ID", "AGE", "CATEGORY", "SENDER -> RECIPIENTS", "SUBJECT", "SIZE"];
    let mut rows = Vec::new();
    let now = Timestamp::now();
    for entry in &entries {
        let secret = if args.secrets { secret_of(entry, vault).await } else { None };
        if args.json {
            let json = EntryJson { secret_id: secret, ..EntryJson::from(entry) };
            writeln!(io.out, "{}", serde_json::to_string(&json)?)?;
            continue;
        }
        let mut cells = row(entry, now);
        if args.secrets {
            cells.insert(1, secret.unwrap_or_else(|| "-".into()));
        }
        rows.push(cells);
    }
    if args.secrets {
        head.insert(1, "SECRET");
    }
    if !rows.is_empty() {
        table(io.out, &head, &rows)?;
    }
    Ok(if entries.is_empty() { NOT_DONE } else { OK })
}

/// The secret id of a message that is in the vault. A file that cannot be read has none; who releases it hears why.
async fn secret_of(entry: &Entry, vault: &Vault) -> Option<String> {
    let in_vault = entry.state.is_some_and(State::in_vault);
    let held = if in_vault { vault.peek_async(&Vault::key(&entry.record.id)).await.ok() } else { None };
    held?.secret
}

fn row(entry: &Entry, now: Timestamp) -> Vec<String> {
    let record = &entry.record;
    vec![
        record.id.clone(),
        show_age(now, record.time),
        if record.is_copy() { format!("{}, kept", record.category) } else { record.category.to_string() },
        format!("{} -> {}", show_path(record.sender.as_deref()), show_recipients(&held_for(entry), 2)),
        clean(&record.subject, 60),
        show_size(record.size),
    ]
}

/// Those who have not got it: of a message that was delivered to some, only the others. A copy is for nobody, so all
/// are shown.
fn held_for(entry: &Entry) -> Vec<String> {
    let held = entry.record.verdicts.iter().filter(|verdict| verdict.is_held());
    let held: Vec<String> = held.flat_map(|verdict| verdict.recipients.iter().cloned()).collect();
    match &entry.remaining {
        Some(remaining) => remaining.clone(),
        None if held.is_empty() => entry.record.recipients.clone(),
        None => held,
    }
}

async fn show(args: &ShowArgs, journal: &Journal, vault: &Vault, io: &mut Io<'_>) -> Result<u8, Failure> {
    let Some(entry) = find(journal, vault, &args.id).await? else {
        writeln!(io.err, "gatepost: there is no message {}", clean(&args.id, 80))?;
        return Ok(NOT_DONE);
    };
    let original = if args.headers || args.raw {
        if !entry.state.is_some_and(State::in_vault) {
            let error = ReleaseError::NotHeld(args.id.clone(), entry.state);
            writeln!(io.err, "gatepost: {error}")?;
            return Ok(NOT_DONE);
        }
        Bytes::from(vault.get_async(&Vault::key(&args.id)).await?.1)
    } else {
        Bytes::new()
    };
    if args.raw {
        io.out.write_all(&original)?;
        return Ok(OK);
    }
    let secret = secret_of(&entry, vault).await;
    if args.json {
        let json = EntryJson { secret_id: secret, ..EntryJson::from(&entry) };
        writeln!(io.out, "{}", serde_json::to_string(&json)?)?;
    } else {
        let mut page = Page::default();
        facts(&mut page, &entry);
        if let Some(secret) = secret {
            page.fact("secret id", &secret);
        }
        write!(io.out, "{}", page.text)?;
    }
    if args.headers {
        writeln!(io.out)?;
        for line in header_lines(&original) {
            writeln!(io.out, "{line}")?;
        }
    }
    Ok(OK)
}

/// The lines up to the first empty one, made safe for a terminal.
fn header_lines(original: &[u8]) -> Vec<String> {
    let mut lines = original
        .split(|byte| *byte == b'\n')
        .map(|line| String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)));
    let mut header = Vec::new();
    while let Some(line) = lines.next().filter(|line| !line.is_empty()) {
        let (indent, rest) =
            if line.starts_with([' ', '\t']) { ("        ", line.trim_start()) } else { ("", &*line) };
        header.push(format!("{indent}{}", clean(rest, 2000)));
    }
    header
}

async fn release_all(
    args: &ReleaseArgs,
    journal: &Journal,
    vault: &Vault,
    io: &mut Io<'_>,
    deliver: &impl Deliver,
) -> Result<u8, Failure> {
    let mut status = OK;
    for id in &args.ids {
        let released = release(journal, vault, id, args.again, &who(), deliver).await;
        status = status.max(report(released, io)?);
    }
    Ok(status)
}

async fn forward_one(
    args: &ForwardArgs,
    journal: &Journal,
    vault: &Vault,
    io: &mut Io<'_>,
    deliver: &impl Deliver,
) -> Result<u8, Failure> {
    let to = parse_address(&args.to).map_err(Failure::Usage)?;
    let forwarded = forward(journal, vault, &args.id, &to, &who(), deliver).await;
    report(forwarded, io)
}

/// Prints what became of a release: the summary, and every recipient where they differ.
fn report(released: Result<Released, ReleaseError>, io: &mut Io<'_>) -> Result<u8, Failure> {
    let released = match released {
        Ok(released) => released,
        Err(error @ (ReleaseError::Journal(_) | ReleaseError::Vault(_))) => return Err(error.into()),
        Err(error) => {
            writeln!(io.err, "gatepost: {}", clean(&error.to_string(), 2000))?;
            return Ok(NOT_DONE);
        }
    };
    if let Some(since) = released.interrupted {
        writeln!(
            io.err,
            "gatepost: warning: a release of {} was begun at {since:.0} and never ended; its recipients may get it twice",
            released.id
        )?;
    }
    if let Some(error) = &released.not_noted {
        writeln!(
            io.err,
            "gatepost: warning: {} was sent, but this could not be noted: {error}",
            released.id
        )?;
    }
    writeln!(io.out, "{}", clean(&released.summary(), 2000))?;
    if released.is_complete() {
        return Ok(OK);
    }
    for (recipient, reply) in &released.replies {
        writeln!(io.out, "  <{}>: {}", clean(recipient, 320), clean(&reply.to_string(), 1000))?;
    }
    Ok(NOT_DONE)
}

async fn delete(args: &DeleteArgs, journal: &Journal, vault: &Vault, io: &mut Io<'_>) -> Result<u8, Failure> {
    if args.ids.len() > 1 && !args.yes && !confirm(args.ids.len(), io)? {
        return Ok(NOT_DONE);
    }
    for id in &args.ids {
        // A message whose record the journal has not got yet is found by this.
        find(journal, vault, id).await?;
    }
    remove_all(&args.ids, journal, vault, io).await
}

async fn purge(args: &PurgeArgs, journal: &Journal, vault: &Vault, io: &mut Io<'_>) -> Result<u8, Failure> {
    if args.which.is_any() && !args.all {
        return Err(Failure::Usage("say which messages (--category, --older-than …), or --all".into()));
    }
    let ids = journal.held_ids(&args.which.filter(Some(State::Held), u32::MAX)).await?;
    if ids.is_empty() {
        writeln!(io.err, "gatepost: no held message matches")?;
        return Ok(NOT_DONE);
    }
    if !args.yes && !confirm(ids.len(), io)? {
        return Ok(NOT_DONE);
    }
    remove_all(&ids, journal, vault, io).await
}

async fn remove_all(
    ids: &[String],
    journal: &Journal,
    vault: &Vault,
    io: &mut Io<'_>,
) -> Result<u8, Failure> {
    let who = who();
    let mut removed = 0;
    for id in ids {
        if remove(journal, vault, id, State::Deleted, "", &who).await? {
            removed += 1;
        } else {
            writeln!(io.err, "gatepost: {} is not held", clean(id, 80))?;
        }
    }
    writeln!(io.out, "{removed} deleted")?;
    Ok(if removed == ids.len() { OK } else { NOT_DONE })
}

/// Asks whoever sits there. Where nobody does, `--yes` is needed.
fn confirm(count: usize, io: &mut Io<'_>) -> Result<bool, Failure> {
    if !io.interactive {
        return Err(Failure::Usage(format!("{count} messages would be deleted; confirm with --yes")));
    }
    write!(io.err, "Delete {count} messages for good? [y/N] ")?;
    io.err.flush()?;
    let mut answer = String::new();
    (&mut *io.input).take(100).read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests;
