//! Opens journal and vault for the commands that look into them, beside a running daemon or without one.

use std::io::{IsTerminal, stderr, stdin, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use gatepost_mail::Reply;

use super::dmarc::DmarcArgs;
use super::explain::ExplainArgs;
use super::history::HistoryArgs;
use super::notices::NoticesArgs;
use super::quarantine::QuarantineArgs;
use super::{Io, TRY_LATER};
use crate::build;
use crate::config::load::{self, Loaded};
use crate::records::{Delivery, Journal, Release, Vault};

/// Arguments of a command that needs journal and vault.
#[derive(Debug, clap::Args)]
pub struct Args<T: clap::Args> {
    /// Configuration file of the daemon; without one the embedded defaults.
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    command: T,
}

/// `gatepost quarantine …`
pub async fn quarantine(args: Args<QuarantineArgs>) -> ExitCode {
    let opened = match Opened::new(args.config).await {
        Ok(opened) => opened,
        Err(code) => return code,
    };
    let deliver = |release: Release| deliver(&opened.loaded, release);
    let run = async |io: &mut Io<'_>| {
        super::quarantine::run(&args.command, &opened.journal, &opened.vault, io, &deliver).await
    };
    with_terminal(run).await
}

/// `gatepost history …`
pub async fn history(args: Args<HistoryArgs>) -> ExitCode {
    match Opened::new(args.config).await {
        Ok(opened) => {
            with_terminal(async |io| super::history::run(&args.command, &opened.journal, io).await).await
        }
        Err(code) => code,
    }
}

/// `gatepost explain ID`
pub async fn explain(args: Args<ExplainArgs>) -> ExitCode {
    match Opened::new(args.config).await {
        Ok(opened) => {
            let run = async |io: &mut Io<'_>| {
                super::explain::run(&args.command, &opened.journal, &opened.vault, io).await
            };
            with_terminal(run).await
        }
        Err(code) => code,
    }
}

/// `gatepost dmarc …`
pub async fn dmarc(args: Args<DmarcArgs>) -> ExitCode {
    let opened = match Opened::new(args.config).await {
        Ok(opened) => opened,
        Err(code) => return code,
    };
    let loaded = &opened.loaded;
    let reporter =
        || build::reporter(&loaded.config).map_err(|problems| super::problem_list(&loaded.locate(problems)));
    with_terminal(async |io| super::dmarc::run(&args.command, &opened.journal, reporter, io).await).await
}

/// `gatepost notices …`
pub async fn notices(args: Args<NoticesArgs>) -> ExitCode {
    let opened = match Opened::new(args.config).await {
        Ok(opened) => opened,
        Err(code) => return code,
    };
    let loaded = &opened.loaded;
    let noticer =
        || build::noticer(&loaded.config).map_err(|problems| super::problem_list(&loaded.locate(problems)));
    with_terminal(async |io| super::notices::run(&args.command, &opened.journal, noticer, io).await).await
}

struct Opened {
    loaded: Loaded,
    journal: Journal,
    vault: Vault,
}

impl Opened {
    async fn new(file: Option<PathBuf>) -> Result<Opened, ExitCode> {
        let loaded = load::load(file.as_deref()).map_err(|problems| super::configuration_error(&problems))?;
        let config = &loaded.config;
        let missing = |what: &str, path: PathBuf, error: &dyn std::fmt::Display| {
            eprintln!("gatepost: {what} {}: {error}", path.display());
            ExitCode::from(TRY_LATER)
        };
        if !config.journal_path().exists() {
            let error = "there is none yet; has the daemon run with this configuration?";
            return Err(missing("journal", config.journal_path(), &error));
        }
        let journal = Journal::open(&config.journal_path()).await;
        let journal = journal.map_err(|error| missing("journal", config.journal_path(), &error))?;
        let vault = Vault::open(&config.vault_folder(), config.quarantine.disk_floor.bytes());
        let vault = vault.map_err(|error| missing("vault", config.vault_folder(), &error))?;
        Ok(Opened { loaded, journal, vault })
    }
}

async fn with_terminal(run: impl AsyncFnOnce(&mut Io<'_>) -> u8) -> ExitCode {
    let interactive = stdin().is_terminal() && stderr().is_terminal();
    let (mut out, mut err, mut input) = (stdout().lock(), stderr().lock(), stdin().lock());
    let mut io = Io { out: &mut out, err: &mut err, input: &mut input, interactive };
    ExitCode::from(run(&mut io).await)
}

/// To `quarantine.release_to`, else to where the listener would have sent it.
async fn deliver(loaded: &Loaded, release: Release) -> Delivery {
    let hops = match build::release_hops(&loaded.config) {
        Ok(hops) => hops,
        Err(problems) => {
            let text = super::problem_list(&loaded.locate(problems));
            return Delivery {
                next_hop: "no next hop".into(),
                replies: vec![Reply::new(451, "4.3.5", text)],
            };
        }
    };
    let (next_hop, replies) = hops.send(&release.listener, &release.envelope, release.original).await;
    Delivery { next_hop, replies }
}
