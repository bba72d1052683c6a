//! gatepost-bench: what it takes to measure mail gateways side by side on one small machine.
//!
//! `load` sends a corpus in any of the protocols by which a mail server asks a filter, `sink` takes and discards it,
//! `relay` is the yardstick (a plain TCP relay of the same shape), `idle` opens many connections that say next to
//! nothing. All of it is written to cost little, because it shares the machine with what it measures. The scripts beside
//! the sources start the real peers.

mod clients;
mod corpus;
mod dns;
mod evasion;
mod greylist;
mod idle;
mod inetd;
mod load;
mod relay;
mod sink;
mod stats;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "gatepost-bench",
    about = "Measure mail gateways side by side",
    version,
    args_override_self = true
)]
struct Arguments {
    /// Threads to run on; 1 is the cheapest.
    #[arg(long, default_value_t = 1, global = true)]
    threads: usize,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send messages of a corpus and report throughput and latency.
    Load(load::Options),
    /// Take mail over SMTP or LMTP and discard it.
    Sink(sink::Options),
    /// Relay TCP connections, bytes untouched.
    Relay(relay::Options),
    /// Open connections that give a byte now and then.
    Idle(idle::Options),
    /// Answer every name with NXDOMAIN after a while, and the test entries of lists with 127.0.0.2.
    Dns(dns::Options),
    /// Run a program for each connection, with the socket as its input and output.
    Inetd(inetd::Options),
    /// Decide about very many triplets by greylisting, and tell what that costs.
    Greylist(greylist::Options),
    /// Write mails that hide the EICAR test file in odd MIME.
    Evasion(evasion::Options),
}

fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse();
    let runtime = match arguments.threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        threads => tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    };
    let done = runtime.and_then(|runtime| {
        runtime.block_on(async {
            match arguments.command {
                Command::Load(options) => load::run(options).await,
                Command::Sink(options) => sink::run(options).await,
                Command::Relay(options) => relay::run(options).await,
                Command::Idle(options) => idle::run(options).await,
                Command::Dns(options) => dns::run(options).await,
                Command::Inetd(options) => inetd::run(options).await,
                Command::Greylist(options) => greylist::run(options).await,
                Command::Evasion(options) => evasion::run(&options),
            }
        })
    });
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gatepost-bench: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
