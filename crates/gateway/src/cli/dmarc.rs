//! `gatepost dmarc`: reports made and sent, reports of others read, and who sends as us.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{Args, Subcommand};
use gatepost_auth::report::{Limits, Received, Verified, destinations, read};
use jiff::Timestamp;

use super::{Failure, Io, NOT_DONE, OK, TRY_LATER, finish, parse_time, table};
use crate::records::text::clean;
use crate::records::{Due, Imported, Journal, ReceivedFilter, ReceivedLine, new_id};
use crate::reporting::{Reporter, last_midnight};

/// Longest file that is read.
const LONGEST: u64 = 50 << 20;

/// Send DMARC aggregate reports, read those of others, show who sends as you.
#[derive(Clone, Debug, Args)]
pub struct DmarcArgs {
    /// What to do
    #[command(subcommand)]
    pub command: DmarcCommand,
}

/// What to do with reports.
#[derive(Clone, Debug, Subcommand)]
pub enum DmarcCommand {
    /// List what is to be reported and where it goes; with --send, send it; with --write, put it into files
    Report(ReportArgs),
    /// Read reports of others into the journal: XML, gzip, zip, or mails with such attachments
    Import(ImportArgs),
    /// Show who sends as you, and what of it passes, by the reports that were read
    Show(ShowArgs),
}

/// Arguments of `report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// Messages from this time on: 2026-03-01, 2026-03-01T12:00Z, 3d. Default: all that no report has
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub since: Option<Timestamp>,
    /// Messages before this time. Default: the last midnight in UTC
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub until: Option<Timestamp>,
    /// Only to this policy domain
    #[arg(long)]
    pub domain: Option<String>,
    /// Send the reports, and those that could not be sent before; what is in them is not reported again
    #[arg(long, conflicts_with = "write")]
    pub send: bool,
    /// Write the reports into this folder; nothing counts as reported
    #[arg(long, value_name = "FOLDER")]
    pub write: Option<PathBuf>,
}

/// Arguments of `import`.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// Files; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Arguments of `show`.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// Only this domain and those below it
    #[arg(long)]
    pub domain: Option<String>,
    /// Reports that end at this time or later. Default: 30d
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub since: Option<Timestamp>,
    /// Reports that begin before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub until: Option<Timestamp>,
    /// Only what did not pass
    #[arg(long)]
    pub failing: bool,
    /// At most so many lines, those with the most messages
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Runs it. `reporter` is asked for by `report` only; its error says what is wrong with the configuration.
pub async fn run(
    args: &DmarcArgs,
    journal: &Journal,
    reporter: impl FnOnce() -> Result<Reporter, String>,
    io: &mut Io<'_>,
) -> u8 {
    let result = match &args.command {
        DmarcCommand::Report(args) => match reporter() {
            Ok(reporter) => report(args, journal, &reporter, io).await,
            Err(problems) => Err(Failure::Usage(problems)),
        },
        DmarcCommand::Import(args) => import(args, journal, io).await,
        DmarcCommand::Show(args) => show(args, journal, io).await,
    };
    finish(result, io)
}

async fn report(
    args: &ReportArgs,
    journal: &Journal,
    reporter: &Reporter,
    io: &mut Io<'_>,
) -> Result<u8, Failure> {
    let since = args.since.unwrap_or(Timestamp::UNIX_EPOCH);
    let until = args.until.unwrap_or_else(|| last_midnight(Timestamp::now()));
    let domain = args.domain.as_deref().map(str::to_ascii_lowercase);
    if (args.send || args.write.is_some()) && reporter.settings.email.is_empty() {
        return Err(Failure::Usage("name dmarc_reports.email, which reports come from".into()));
    }
    if args.send {
        let round = reporter.round(journal, since, until, domain.as_deref()).await?;
        writeln!(io.out, "{round}")?;
        return Ok(if round.later + round.failed > 0 { NOT_DONE } else { OK });
    }
    let due = journal.dmarc_due(since, until, domain.as_deref()).await?;
    if due.is_empty() {
        writeln!(io.err, "nothing is to be reported")?;
        return Ok(NOT_DONE);
    }
    let mut rows = Vec::new();
    for due in &due {
        let Some(reported) = journal.dmarc_due_rows(due).await? else { continue };
        let id =
            format!("{}.{}.{}@{}", due.begin.strftime("%Y%m%d"), due.domain, new_id(), reporter.hostname);
        let (report, record) = reporter.report(&id.to_ascii_lowercase(), due, reported);
        if let Some(folder) = &args.write {
            let path = folder.join(report.file_name(reporter.domain()));
            let written = std::fs::write(&path, report.gzip());
            written.map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
            writeln!(io.out, "{}", path.display())?;
            continue;
        }
        let goes = destinations(reporter.dns.as_ref(), &due.domain, &record).await;
        rows.push(due_row(due, report.rows.len(), &goes));
    }
    if !rows.is_empty() {
        table(io.out, &["DOMAIN", "FROM", "UNTIL", "MESSAGES", "ROWS", "GOES TO"], &rows)?;
    }
    Ok(OK)
}

fn due_row(due: &Due, rows: usize, goes: &[Verified]) -> Vec<String> {
    let one = |verified: &Verified| match verified {
        Verified::To { mailbox, .. } => mailbox.clone(),
        Verified::No { uri, why } => format!("not {}: {}", clean(uri, 80), clean(why, 200)),
        Verified::Later { uri, why } => format!("perhaps {}: {}", clean(uri, 80), clean(why, 200)),
    };
    let goes: Vec<String> = goes.iter().map(one).collect();
    vec![
        clean(&due.domain, 80),
        due.begin.to_string(),
        due.end.to_string(),
        due.messages.to_string(),
        rows.to_string(),
        if goes.is_empty() { "nobody asks for it".into() } else { goes.join("; ") },
    ]
}

async fn import(args: &ImportArgs, journal: &Journal, io: &mut Io<'_>) -> Result<u8, Failure> {
    let mut status = OK;
    for path in &args.files {
        let name = path.display();
        let reports = match open(path) {
            Ok(file) => tokio::task::spawn_blocking(move || read(file, &Limits::default())).await,
            Err(error) => {
                writeln!(io.err, "{name}: {error}")?;
                status = TRY_LATER;
                continue;
            }
        };
        let reports = match reports {
            Ok(Ok(reports)) => reports,
            Ok(Err(why)) => {
                writeln!(io.err, "{name}: {why}")?;
                status = status.max(NOT_DONE);
                continue;
            }
            Err(error) => {
                writeln!(io.err, "{name}: reading failed: {error}")?;
                status = TRY_LATER;
                continue;
            }
        };
        for Received { report, problems } in &reports {
            let imported = journal.dmarc_import(report, Timestamp::now()).await?;
            let messages: u64 = report.rows.iter().map(|row| row.count).fold(0, u64::saturating_add);
            let known = if imported == Imported::Known { ", known already" } else { "" };
            let (org, id) = (clean(&report.org_name, 60), clean(&report.id, 80));
            let domain = clean(&report.published.domain, 80);
            writeln!(io.out, "{name}: {org} on {domain}, {messages} messages, report {id}{known}")?;
            for problem in problems {
                writeln!(io.err, "{name}: {}", clean(problem, 200))?;
            }
        }
    }
    Ok(status)
}

fn open(path: &Path) -> std::io::Result<Bytes> {
    let mut content = Vec::new();
    let from: &mut dyn std::io::Read =
        if path.as_os_str() == "-" { &mut std::io::stdin() } else { &mut File::open(path)? };
    from.take(LONGEST + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LONGEST {
        return Err(std::io::Error::other(format!("it has more than {LONGEST} bytes")));
    }
    Ok(content.into())
}

async fn show(args: &ShowArgs, journal: &Journal, io: &mut Io<'_>) -> Result<u8, Failure> {
    let month = std::time::Duration::from_secs(30 * 24 * 3600);
    let filter = ReceivedFilter {
        domain: args.domain.clone(),
        since: args.since.unwrap_or_else(|| super::ago(Timestamp::now(), month)),
        until: args.until.unwrap_or(Timestamp::MAX),
        failing: args.failing,
        limit: args.limit,
    };
    let lines = journal.dmarc_received(&filter).await?;
    if args.json {
        for line in &lines {
            writeln!(io.out, "{}", serde_json::to_string(line)?)?;
        }
        return Ok(if lines.is_empty() { NOT_DONE } else { OK });
    }
    if lines.is_empty() {
        writeln!(io.err, "no report that was read says anything of it")?;
        return Ok(NOT_DONE);
    }
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    table(
        io.out,
        &["MESSAGES", "DMARC", "SOURCE", "FROM", "DKIM", "SPF", "DONE", "LAST", "REPORTED BY"],
        &rows,
    )?;
    let sum = |passed: bool| {
        lines.iter().filter(|line| line.passed == passed).map(|line| line.messages).sum::<u64>()
    };
    let cut = if lines.len() == args.limit as usize { " in the lines above; there may be more" } else { "" };
    writeln!(io.out, "\n{} messages passed, {} did not{cut}", sum(true), sum(false))?;
    Ok(OK)
}

fn row(line: &ReceivedLine) -> Vec<String> {
    let more = line.reporters.saturating_sub(1);
    let others = if more == 0 { String::new() } else { format!(" and {more} more") };
    vec![
        line.messages.to_string(),
        if line.passed { "pass" } else { "fail" }.into(),
        line.source.clone(),
        clean(&line.header_from, 80),
        clean(&line.dkim, 100),
        clean(&line.spf, 100),
        line.disposition.clone(),
        line.last.strftime("%Y-%m-%d").to_string(),
        format!("{}{others}", clean(&line.reporter, 60)),
    ]
}
