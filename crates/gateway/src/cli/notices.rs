//! `gatepost notices`: what would be told to whom, and telling it now.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Failure, Io, NOT_DONE, OK, finish, parse_time};
use crate::noticing::Noticer;
use crate::records::Journal;
use crate::records::text::clean;

/// Show the notices that wait, or send them now.
#[derive(Clone, Debug, Args)]
pub struct NoticesArgs {
    /// What to do
    #[command(subcommand)]
    pub command: NoticesCommand,
}

/// What to do with notices.
#[derive(Clone, Debug, Subcommand)]
pub enum NoticesCommand {
    /// Print what would be sent if all that waits were sent now; nothing is sent, and nothing counts as told
    Preview(PreviewArgs),
    /// Send what waits now, due or not, and what could not be sent before; the limits of a day hold
    Send,
}

/// Arguments of `preview`.
#[derive(Clone, Debug, Args)]
pub struct PreviewArgs {
    /// Only to this address
    #[arg(long, value_name = "ADDRESS")]
    pub to: Option<String>,
    /// About all messages from this time on, told of or not: 2026-03-01, 2026-03-01T12:00Z, 3d. Default: what waits
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub since: Option<Timestamp>,
}

/// Runs it. The error of `noticer` says what is wrong with the configuration.
pub async fn run(
    args: &NoticesArgs,
    journal: &Journal,
    noticer: impl FnOnce() -> Result<Option<Noticer>, String>,
    io: &mut Io<'_>,
) -> u8 {
    let result = match (noticer(), &args.command) {
        (Err(problems), _) => Err(Failure::Usage(problems)),
        (Ok(None), _) => Err(Failure::Usage(
            "nobody is to be told: configure notices.admin.NAME, notices.recipients or notices.sender".into(),
        )),
        (Ok(Some(noticer)), NoticesCommand::Preview(args)) => preview(args, journal, &noticer, io).await,
        (Ok(Some(noticer)), NoticesCommand::Send) => send(journal, &noticer, io).await,
    };
    finish(result, io)
}

async fn preview(
    args: &PreviewArgs,
    journal: &Journal,
    noticer: &Noticer,
    io: &mut Io<'_>,
) -> Result<u8, Failure> {
    let previews = noticer.preview(journal, args.to.as_deref(), args.since).await?;
    if previews.is_empty() {
        writeln!(io.err, "nobody would be told of anything")?;
        return Ok(NOT_DONE);
    }
    for preview in previews {
        let due = preview
            .due
            .map(|due| due.to_zoned(TimeZone::system()).strftime(", due %Y-%m-%d %H:%M").to_string());
        let (role, to, due) = (clean(&preview.role, 60), clean(&preview.to, 320), due.unwrap_or_default());
        writeln!(io.out, "--- {role} {to}{due}")?;
        // Made of harmless text, but a template's author may have put in what is not meant for terminals.
        for line in String::from_utf8_lossy(&preview.mail).lines() {
            writeln!(io.out, "{}", clean(line.trim_end_matches('\r'), 2000))?;
        }
    }
    Ok(OK)
}

async fn send(journal: &Journal, noticer: &Noticer, io: &mut Io<'_>) -> Result<u8, Failure> {
    let round = noticer.round(journal, true).await?;
    writeln!(io.out, "{round}")?;
    Ok(if round.later + round.failed > 0 { NOT_DONE } else { OK })
}
