//! `gatepost`: arguments and wiring only.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gatepost::{cli, serve};

/// A mail security gateway: judges every message while the sender is still on the line.
#[derive(Debug, Parser)]
#[command(name = "gatepost", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Scan(cli::scan::Args),
    Check(cli::check::Args),
    Config(cli::config::Args),
    Init(cli::init::Args),
    Reload(cli::reload::Args),
    Quarantine(cli::quarantine::Args),
    History(cli::history::Args),
    Explain(cli::explain::Args),
}

fn main() -> ExitCode {
    let command = match Arguments::parse().command {
        Command::Serve(args) => return serve::run(args),
        command => command,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("gatepost: cannot start: {error}");
            return ExitCode::from(2);
        }
    };
    runtime.block_on(async {
        match command {
            Command::Serve(args) => serve::run(args),
            Command::Scan(args) => cli::scan::run(args).await,
            Command::Check(args) => cli::check::run(args).await,
            Command::Config(args) => cli::config::run(&args),
            Command::Init(args) => cli::init::run(args),
            Command::Reload(args) => cli::reload::run(&args),
            Command::Quarantine(args) => cli::quarantine::run(args).await,
            Command::History(args) => cli::history::run(args).await,
            Command::Explain(args) => cli::explain::run(args).await,
        }
    })
}
