//! `gatepost reload`: checks the configuration and tells the running daemon to take it.

use std::path::PathBuf;
use std::process::ExitCode;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::build;
use crate::config::load;

/// Have the running daemon take its configuration file again.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file the daemon was started with.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A configuration with an error in it never reaches the daemon.
pub fn run(args: &Args) -> ExitCode {
    let loaded = match load::load(args.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(problems) => return super::configuration_error(&problems),
    };
    let problems = build::problems(&loaded.config);
    if !problems.is_empty() {
        return super::configuration_error(&loaded.locate(problems));
    }
    let path = loaded.config.data.join("gatepost.pid");
    let pid = match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse::<i32>().ok().filter(|&pid| pid > 1),
        Err(error) => return super::usage_error(&format!("no daemon runs on {}: {error}", path.display())),
    };
    let Some(pid) = pid else {
        return super::usage_error(&format!("{} holds no process id", path.display()));
    };
    // The file outlives a killed daemon, and its number may be somebody else's by now: only the lock tells.
    let locked = std::fs::File::open(&path).is_ok_and(|file| file.try_lock_shared().is_err());
    if !locked {
        return super::usage_error(&format!("no daemon runs on {}", loaded.config.data.display()));
    }
    match kill(Pid::from_raw(pid), Signal::SIGHUP) {
        Ok(()) => {
            println!("told process {pid} to reload; its log says whether it did");
            ExitCode::SUCCESS
        }
        Err(error) => super::usage_error(&format!("cannot signal process {pid}: {error}")),
    }
}
