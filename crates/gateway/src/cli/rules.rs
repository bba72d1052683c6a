//! `gatepost rules`: what rules in SpamAssassin's language say about mail, for those who write them, and where they come from.
//! All but `update` ask nothing over the network, unless they are told to.

mod bench;
mod compare;
mod each;
mod explain;
mod hits;
mod lint;
mod list;
mod network;
mod test;
mod update;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::{Failure, Io, NOT_DONE, OK, TRY_LATER, finish};
use crate::resources::rules::{Rules, is_rules};

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
    /// What is wrong with rules, as `spamassassin --lint` says it, with file and line.
    ///
    /// Exit status: 0 no errors, 1 errors, 75 a file cannot be read.
    Lint(Source),
    /// All rules: name, score, description; tabs between the three.
    List(Source),
    Show(list::Show),
    Test(test::Test),
    Bench(bench::Bench),
    Compare(compare::Compare),
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
        Command::Test(args) => test::run(&args, &mut io),
        Command::Bench(args) => bench::run(&args, &mut io),
        Command::Compare(args) => compare::run(&args, &mut io),
    };
    ExitCode::from(finish(result, &mut io))
}

impl Source {
    /// These, then the files of rules among the paths, and the folders that hold some, unless they are among these already.
    fn with(&self, paths: &[PathBuf]) -> Source {
        let canonical = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let known: Vec<PathBuf> = self.rules.iter().map(|path| canonical(path)).collect();
        let fresh = |path: &&PathBuf| {
            let path = canonical(path);
            !known.contains(&path)
                && !path.parent().is_some_and(|folder| known.iter().any(|own| own == folder))
        };
        let rules = |path: &&PathBuf| holds_rules(path) || path.is_file() && is_rules(path);
        let more: Vec<PathBuf> = paths.iter().filter(rules).filter(fresh).cloned().collect();
        Source { rules: [&*self.rules, &more].concat() }
    }

    fn load(&self) -> Result<Rules, Failure> {
        self.load_for(false)
    }

    fn load_for(&self, network: bool) -> Result<Rules, Failure> {
        Rules::load(&self.rules, network).map_err(|error| Failure::Records(error.to_string()))
    }
}

/// Whether a folder has .cf files right in it.
fn holds_rules(path: &Path) -> bool {
    let is_rules = |entry: io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "cf"))
    };
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.any(is_rules))
}
