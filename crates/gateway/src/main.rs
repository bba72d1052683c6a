//! `gatepost`: arguments and wiring only.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gatepost::cli::check::Probes;
use gatepost::{build, cli, serve, worker};

/// A mail security gateway: judges every message while the sender is still on the line.
#[derive(Debug, Parser)]
#[command(name = "gatepost", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Many threads make and free many small things; the system's allocator holds on to what it should give back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Scan(cli::scan::Args),
    Filter(cli::filter::Args),
    Check(cli::check::CheckArgs),
    Config(cli::config::ConfigArgs),
    Init(cli::init::InitArgs),
    Import(cli::import::Args),
    Reload(cli::reload::Args),
    Quarantine(cli::open::Args<cli::quarantine::QuarantineArgs>),
    History(cli::open::Args<cli::history::HistoryArgs>),
    Explain(cli::open::Args<cli::explain::ExplainArgs>),
    Auth(cli::auth::Args),
    Dkim(cli::dkim::Args),
    Rules(cli::rules::Args),
    Dmarc(cli::open::Args<cli::dmarc::DmarcArgs>),
    Notices(cli::open::Args<cli::notices::NoticesArgs>),
    Greylist(cli::greylist::Args),
    Limits(cli::limits::Args),
    Update(cli::update::Args),
    #[command(hide = true)]
    Worker(worker::Args),
}

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| {
        // Not even a wrong call may make a delivery agent lose or bounce what it has.
        let filtering = std::env::args_os().nth(1).is_some_and(|command| command == "filter");
        if filtering && error.use_stderr() {
            let _ = error.print();
            std::process::exit(cli::TRY_LATER.into());
        }
        error.exit()
    });
    worker::can_start();
    let command = match arguments.command {
        // Before there is a second thread: what it gives up belongs to threads.
        Command::Worker(args) => return worker::run(&args),
        Command::Serve(args) => return serve::run(args),
        Command::Filter(args) => return cli::filter::run(&args),
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
            Command::Filter(args) => cli::filter::run(&args),
            Command::Worker(args) => worker::run(&args),
            Command::Scan(args) => cli::scan::run(args).await,
            Command::Check(args) => cli::check::run(&args, &probes()).await,
            Command::Config(args) => cli::config::run(&args),
            Command::Init(args) => cli::init::run(&args),
            Command::Import(args) => cli::import::run(&args),
            Command::Reload(args) => cli::reload::run(&args),
            Command::Quarantine(args) => cli::open::quarantine(args).await,
            Command::History(args) => cli::open::history(args).await,
            Command::Explain(args) => cli::open::explain(args).await,
            Command::Auth(args) => cli::auth::run(args).await,
            Command::Dkim(args) => cli::dkim::run(args).await,
            Command::Rules(args) => cli::rules::run(args).await,
            Command::Dmarc(args) => cli::open::dmarc(args).await,
            Command::Notices(args) => cli::open::notices(args).await,
            Command::Greylist(args) => cli::greylist::run(args).await,
            Command::Limits(args) => cli::limits::run(args).await,
            Command::Update(args) => cli::update::run(args).await,
        }
    })
}

/// What `check` asks of the rest of the program.
fn probes() -> Probes {
    Probes { compile: Box::new(build::problems), resolver: Box::new(build::resolver) }
}
