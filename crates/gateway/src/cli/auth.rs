//! `gatepost auth`: what sender authentication says of messages, and why. For the administrator whose mail is refused,
//! or who wants to know why somebody else's was.

mod asked;

use std::io::{Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use gatepost_auth::authentication::{Authentication, Told};
use gatepost_auth::dkim;
use gatepost_auth::dns::Resolve;
use gatepost_mail::{Budget, Limits, Message};
use gatepost_wire::smtp::Stray;
use serde::Serialize;

use self::asked::{Asked, Recording};
use super::{NOT_DONE, OK, TRY_LATER, parse_time};
use crate::checks::auth::{Assessor, Sender};
use crate::config::load;
use crate::config::typed::Config;
use crate::front::local;
use crate::records::text::clean;
use crate::resources::dns::Dns;

/// Say what sender authentication (SPF, DKIM, ARC, DMARC) makes of messages, as the field that would be added to them.
///
/// Exit status: 0 told, 1 a file could not be read, 2 wrong usage, 75 a name server did not answer.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file; without one the embedded defaults.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The client's address. Without it neither SPF nor a failure of DMARC can be told.
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<IpAddr>,
    /// What the client said in HELO.
    #[arg(long, value_name = "NAME", default_value = "")]
    helo: String,
    /// Envelope sender; `<>` or nothing is the empty sender.
    #[arg(long, value_name = "ADDRESS", default_value = "")]
    from: String,
    /// Name server to ask, `127.0.0.1:53`; may be given several times. Default: those of the configuration.
    #[arg(long, value_name = "ADDRESS:PORT")]
    resolver: Vec<String>,
    /// Judge as of this time, `2026-03-01T12:30:00Z`: signatures expire. Signatures of mail from before 2018, by this time
    /// or without it by its Date, are judged by the rules of then, when short keys and SHA-1 were good; that is told.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Under which name to tell it. Default: that of the configuration, which is the host's name.
    #[arg(long, value_name = "NAME")]
    authserv_id: Option<String>,
    /// Tell every look-up, and why each mechanism passed or failed.
    #[arg(long)]
    explain: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Messages; `-` for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Judges each file.
pub async fn run(args: Args) -> ExitCode {
    let loaded = match load::load(args.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(problems) => return super::configuration_error(&problems),
    };
    let mut config = loaded.config.clone();
    if !args.resolver.is_empty() {
        config.checks.dns.servers.clone_from(&args.resolver);
    }
    let dns: Arc<dyn Resolve> = match Dns::build(&config.checks.dns) {
        Ok(dns) => Arc::new(dns),
        Err(problems) => {
            let told: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
            return super::usage_error(&format!("--resolver: {}", told.join("; ")));
        }
    };
    let at = match args.at.as_deref().map(parse_time).transpose() {
        Ok(at) => at.unwrap_or_else(jiff::Timestamp::now).as_second(),
        Err(error) => return super::usage_error(&format!("--at: {error}")),
    };
    let case = Case { args: &args, config: &config, dns, at };
    let mut out = std::io::stdout().lock();
    ExitCode::from(case.judge_all(&mut out).await.unwrap_or(NOT_DONE))
}

struct Case<'a> {
    args: &'a Args,
    config: &'a Config,
    dns: Arc<dyn Resolve>,
    at: i64,
}

/// What is printed of a file with `--json`.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    authentication_results: &'a str,
    results: Vec<Row>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lookups: Vec<Asked>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    method: &'static str,
    result: &'static str,
    about: String,
    why: String,
}

impl From<Told> for Row {
    fn from(told: Told) -> Row {
        Row { method: told.method, result: told.result, about: told.about, why: told.why }
    }
}

impl Case<'_> {
    /// The exit status.
    async fn judge_all(&self, out: &mut impl Write) -> std::io::Result<u8> {
        let mut status = OK;
        for file in &self.args.files {
            match self.judge(file, out).await? {
                OK => {}
                worse if status != NOT_DONE => status = worse,
                _ => {}
            }
        }
        Ok(status)
    }

    async fn judge(&self, file: &Path, out: &mut impl Write) -> std::io::Result<u8> {
        let name = file.display().to_string();
        let raw = match self.read(file).await {
            Ok(raw) => raw,
            Err(error) => {
                eprintln!("gatepost: {}", clean(&format!("{name}: {error}"), 5000));
                return Ok(NOT_DONE);
            }
        };
        let asked = Recording::new(self.dns.clone());
        let historic = self.historic(&raw);
        if let Some(why) = historic {
            let text = format!("{name}: signatures are judged by the rules before 2018, by {why}");
            eprintln!("gatepost: {}", clean(&text, 5000));
        }
        let authentication = self.assess(&asked, raw, historic.is_some()).await;
        let id = self.args.authserv_id.clone().unwrap_or_else(|| self.config.authserv_ids().swap_remove(0));
        let value = authentication.results(&id).value().replace("\r\n\t", " ");
        let told = authentication.told();
        let late = told.iter().any(|told| told.result == "temperror");
        let mut steps = if self.args.explain { steps(&authentication) } else { Vec::new() };
        if let Some(why) = historic.filter(|_| self.args.explain) {
            steps.insert(0, format!("dkim: judged by the rules before 2018, by {why}"));
        }
        let lookups = if self.args.explain { asked.into_all() } else { Vec::new() };
        if self.args.json {
            let results = told.into_iter().map(Row::from).collect();
            let line = Line { file: &name, authentication_results: &value, results, lookups, steps };
            serde_json::to_writer(&mut *out, &line)?;
            writeln!(out)?;
        } else {
            if self.args.files.len() > 1 {
                write!(out, "{}: ", clean(&name, 4096))?;
            }
            writeln!(out, "Authentication-Results: {}", clean(&value, 100_000))?;
            if self.args.explain {
                explain(out, &told, &lookups, &steps)?;
            }
        }
        Ok(if late { TRY_LATER } else { OK })
    }

    /// By what a message is from before 2018, if it is: by `--at`, and without it by its Date.
    fn historic(&self, raw: &Bytes) -> Option<&'static str> {
        match &self.args.at {
            Some(_) => dkim::is_historic(self.at).then_some("--at"),
            None => date(raw).is_some_and(dkim::is_historic).then_some("its Date"),
        }
    }

    async fn assess(&self, dns: &dyn Resolve, raw: Bytes, historic: bool) -> Authentication {
        let mut assessor = Assessor::new(self.config);
        assessor.historic = historic;
        let from = self.args.from.trim().trim_start_matches('<').trim_end_matches('>');
        let sender = Sender { client: self.args.ip, helo: &self.args.helo, from };
        let known = assessor.sender(dns, &sender, self.at).await;
        assessor.message(dns, &known, raw, self.at).await
    }

    /// A message as it would stand on the wire: without the first line of an mbox, with CRLF.
    async fn read(&self, file: &Path) -> Result<Bytes, String> {
        let mut bytes = Vec::new();
        if file == Path::new("-") {
            std::io::stdin().lock().read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        } else {
            bytes = std::fs::read(file).map_err(|error| error.to_string())?;
        }
        let content = local::without_from_line(bytes.into());
        let memory = self.config.limits.memory.bytes();
        let mended = local::mended(content, memory, &std::env::temp_dir(), Stray::Normalize).await;
        mended.map(|mended| mended.raw).map_err(|unfit| unfit.reply().to_string())
    }
}

/// When a message says it was written, in seconds since 1970.
fn date(raw: &Bytes) -> Option<i64> {
    let limits = Limits { parts: 1, ..Limits::default() };
    let message = Message::read(raw.clone(), &mut Budget::new(&limits));
    let headers = &message.headers;
    let field = headers.fields.iter().find(|field| headers.name(field).eq_ignore_ascii_case("date"))?;
    let value = String::from_utf8_lossy(headers.raw_value(field)).into_owned();
    // Comments, such as a zone's name behind its offset, say nothing more.
    let value = value.split('(').next().unwrap_or_default().trim();
    let parser = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
    Some(parser.parse_timestamp(value).ok()?.as_second())
}

fn explain(out: &mut impl Write, told: &[Told], lookups: &[Asked], steps: &[String]) -> std::io::Result<()> {
    writeln!(out, "\nResults")?;
    for told in told {
        let line = format!("{}={} {}: {}", told.method, told.result, told.about, told.why);
        writeln!(out, "  {}", clean(&line, 4000))?;
    }
    if !steps.is_empty() {
        writeln!(out, "\nSteps")?;
        for step in steps {
            writeln!(out, "  {}", clean(step, 4000))?;
        }
    }
    writeln!(out, "\nLook-ups")?;
    for asked in lookups {
        writeln!(out, "  {}", clean(&asked.to_string(), 4000))?;
    }
    if lookups.is_empty() {
        writeln!(out, "  none")?;
    }
    writeln!(out)
}

/// Step by step, what each method did.
fn steps(authentication: &Authentication) -> Vec<String> {
    let mut steps = Vec::new();
    for spf in &authentication.spf {
        let whose = format!("spf {}", spf.scope.as_str());
        steps.extend(spf.trace.iter().map(|step| format!("{whose}: {step}")));
        steps.extend(spf.explanation.iter().map(|text| format!("{whose}: the domain explains: {text}")));
    }
    for signature in authentication.dkim.iter().flatten() {
        let whose = format!("dkim {}._domainkey.{}", signature.selector, signature.domain);
        steps.extend(signature.steps.iter().map(|step| format!("{whose}: {step}")));
    }
    if let Some(chain) = &authentication.arc {
        steps.extend(chain.steps.iter().map(|step| format!("arc: {step}")));
        for set in &chain.sets {
            let whose = format!("arc i={}", set.instance);
            let (seal, message) = (&set.seal, &set.message);
            steps.push(format!("{whose}: seal of {}: {}: {}", set.domain, seal.0, seal.1));
            steps.push(format!("{whose}: signature of {}: {}: {}", set.message_domain, message.0, message.1));
            steps.push(format!("{whose}: said before: {}", set.results));
        }
    }
    if let Some(dmarc) = &authentication.dmarc {
        steps.extend(dmarc.trace.iter().map(|step| format!("dmarc: {}: {}", step.query, step.answer)));
        steps.extend(dmarc.notes.iter().map(|note| format!("dmarc: {note}")));
        let more = dmarc.others.iter();
        steps.extend(more.map(|other| format!("dmarc: another author, {}: {}", other.domain, other.why)));
    }
    if let Some(overridden) = &authentication.overridden {
        steps.push(format!("dmarc: not treated as the author's domain asks: {}", overridden.why));
    }
    steps
}
