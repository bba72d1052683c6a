//! `gatepost import`: attachment rules of amavis and MailScanner, and amavis's settings about spam, as far as they are plain
//! text, as TOML.

mod amavis;
mod lookup;
mod mailscanner;
mod perl;
mod spam;
mod written;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{NOT_DONE, OK, TRY_LATER, USAGE};

/// Largest file that is read, in bytes.
const LARGEST: u64 = 16 << 20;

/// Prints attachment rules of amavis or MailScanner, and what amavis says about spam, as TOML, and names by line what cannot be translated.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Configuration of amavisd-new: $banned_filename_re, %banned_rules, $banned_namepath_re, who bypasses and loves them; $sa_…
    Amavis {
        /// Files in the order in which amavisd reads them, or folders such as /etc/amavis/conf.d
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// MailScanner.conf with its rulesets, or tables such as filename.rules.conf
    #[command(name = "mailscanner")]
    MailScanner {
        /// Files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// What was made of files.
#[derive(Debug, Default)]
struct Imported {
    /// What to put into the configuration.
    toml: String,
    /// What could not be translated.
    notes: Notes,
}

/// What could not be translated, with file and line.
#[derive(Debug, Default)]
struct Notes(Vec<String>);

impl Notes {
    fn add(&mut self, file: &Path, line: usize, what: impl AsRef<str>) {
        let note = format!("{}:{line}: {}", file.display(), what.as_ref());
        if !self.0.contains(&note) {
            self.0.push(note);
        }
    }
}

/// Exit status 0, 1 if something could not be translated, 2 if a file cannot be read.
pub fn run(args: &Args) -> ExitCode {
    let (What::Amavis { files } | What::MailScanner { files }) = &args.what;
    let read = match read_all(files) {
        Ok(read) => read,
        Err(why) => {
            eprintln!("gatepost: {why}");
            return ExitCode::from(USAGE);
        }
    };
    let Imported { toml, notes } = match args.what {
        What::Amavis { .. } => amavis::import(&read),
        What::MailScanner { .. } => mailscanner::import(&read),
    };
    let mut text = String::new();
    if !notes.0.is_empty() {
        text.push_str("# Not translated:\n");
        notes.0.iter().for_each(|note| text.push_str(&format!("#   {}\n", one_line(note))));
        text.push('\n');
    }
    text.push_str(&toml);
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("gatepost: cannot write: {error}");
            ExitCode::from(TRY_LATER)
        }
        _ if notes.0.is_empty() => ExitCode::from(OK),
        _ => {
            eprintln!(
                "gatepost: {} things could not be translated; they are named at the top",
                notes.0.len()
            );
            ExitCode::from(NOT_DONE)
        }
    }
}

/// Files with their contents; of folders what is in them, by name.
fn read_all(paths: &[PathBuf]) -> Result<Vec<(PathBuf, String)>, String> {
    let mut all = Vec::new();
    for path in paths {
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        if !fs::metadata(path).map_err(failed)?.is_dir() {
            all.push((path.clone(), read(path)?));
            continue;
        }
        let entries = fs::read_dir(path).map_err(failed)?;
        let mut files: Vec<PathBuf> =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(failed)?;
        files.retain(|file| file.is_file());
        files.sort();
        for file in files {
            let text = read(&file)?;
            all.push((file, text));
        }
    }
    Ok(all)
}

/// A file as text; what is not UTF-8 is Latin-1.
fn read(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let data = fs::metadata(path).map_err(failed)?;
    if !data.is_file() {
        return Err(format!("{}: is no plain file", path.display()));
    }
    if data.len() > LARGEST {
        return Err(format!("{}: is larger than 16 MiB", path.display()));
    }
    let bytes = fs::read(path).map_err(failed)?;
    let latin = |error: std::string::FromUtf8Error| error.as_bytes().iter().map(|&b| char::from(b)).collect();
    Ok(String::from_utf8(bytes).unwrap_or_else(latin))
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
