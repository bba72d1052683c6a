//! `gatepost rules`: what rules in SpamAssassin's language say about mail, for those who write them, and where they come from.
//! All but `update` ask nothing over the network, unless they are told to.

mod each;
mod explain;
mod hits;
mod lint;
mod list;
mod network;
mod update;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::{Failure, Io, NOT_DONE, OK, TRY_LATER, finish};
use crate::resources::rules::Rules;

/// Rules in SpamAssassin's language: what they find, and what is wrong with them.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Either,
}

#[derive(Debug, Subcommand)]
enum Either {
    #[command(flatten)]
    Channels(update::Command),
    #[command(flatten)]
    Authors(Command),
}

#[derive(Debug, Subcommand)]
enum Command {
    Hits(hits::Hits),
    Explain(explain::Explain),
    Lint(Source),
    List(Source),
    Show(list::Show),
}

#[derive(Debug, clap::Args)]
struct Source {
    /// Folder of .cf and .pre files, or one such file; may be given several times, in the order in which they count.
    /// Default: the rules that gatepost brings.
    #[arg(long = "rules", value_name = "FOLDER")]
    rules: Vec<PathBuf>,
}

/// Runs it.
pub async fn run(args: Args) -> ExitCode {
    match args.command {
        Either::Channels(command) => update::run(command).await,
        Either::Authors(command) => for_authors(command),
    }
}

fn for_authors(command: Command) -> ExitCode {
    let mut io = Io {
        out: &mut io::stdout().lock(),
        err: &mut io::stderr().lock(),
        input: &mut io::empty(),
        interactive: false,
    };
    let result = match command {
        Command::Hits(args) => hits::run(&args, &mut io),
        Command::Explain(args) => explain::run(&args, &mut io),
        Command::Lint(source) => lint::run(&source, &mut io),
        Command::List(source) => list::run(&source, &mut io),
        Command::Show(args) => list::show(&args, &mut io),
    };
    ExitCode::from(finish(result, &mut io))
}

impl Source {
    fn load(&self) -> Result<Rules, Failure> {
        self.load_for(false)
    }

    fn load_for(&self, network: bool) -> Result<Rules, Failure> {
        Rules::load(&self.rules, network).map_err(|error| Failure::Records(error.to_string()))
    }
}
