//! `gatepost config`: the effective configuration, or the reference of every key.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::build;
use crate::config::{self, effective, reference};

/// Prints the effective configuration: every key, its value, and where it comes from.
#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    /// Configuration file; without it, the built-in defaults and the environment
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the reference of all keys instead, in Markdown
    #[arg(long, conflicts_with = "config")]
    pub reference: bool,
}

/// Exit status 0, or 2 when the configuration is wrong.
pub fn run(args: &ConfigArgs) -> ExitCode {
    if args.reference {
        return print(&reference());
    }
    match config::load(args.config.as_deref()) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprintln!("warning: {warning}");
            }
            let problems = loaded.locate(build::problems(&loaded.config));
            if problems.is_empty() {
                print(&effective(&loaded))
            } else {
                super::configuration_error(&problems)
            }
        }
        Err(problems) => {
            for problem in problems {
                eprintln!("{problem}");
            }
            ExitCode::from(2)
        }
    }
}

/// Prints a text; a reader that has seen enough (`| head`) is no error.
fn print(text: &str) -> ExitCode {
    use std::io::Write;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write: {error}");
            ExitCode::FAILURE
        }
    }
}
