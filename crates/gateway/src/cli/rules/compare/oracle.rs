//! Processes of Perl that hold SpamAssassin's library, each asked about one mail at a time.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// What runs in them; it tells the protocol.
const SCRIPT: &str = include_str!("../spamassassin.pl");

/// The longest answer, in bytes.
const LONGEST: u64 = 1024 * 1024;

/// What SpamAssassin says of a mail.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said {
    pub(super) score: f64,
    pub(super) limit: f64,
    /// Rules that hit.
    pub(super) names: Vec<String>,
    pub(super) subrules: Vec<String>,
}

impl Said {
    /// Reads a line of the script; the error is what it says went wrong.
    pub(super) fn parse(line: &str) -> Result<Said, String> {
        let names = |text: &str| text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let parts: Vec<&str> = line.trim_end_matches('\n').split('\t').collect();
        match parts[..] {
            ["ok", score, limit, hit, subrules] => {
                let number =
                    |text: &str| text.parse().map_err(|_| format!("SpamAssassin: {text} is no score"));
                let (score, limit) = (number(score)?, number(limit)?);
                Ok(Said { score, limit, names: names(hit), subrules: names(subrules) })
            }
            ["error", message] => Err(format!("SpamAssassin: {message}")),
            _ => Err("SpamAssassin's answer is not understood".into()),
        }
    }

    /// As a line without its end.
    pub(super) fn line(&self) -> String {
        let Said { score, limit, names, subrules } = self;
        format!("ok\t{score:.3}\t{limit:.3}\t{}\t{}", names.join(","), subrules.join(","))
    }
}

/// All processes; one is started when none is free.
pub(super) struct Oracles {
    rules: Vec<u8>,
    free: Mutex<Vec<Oracle>>,
}

impl Oracles {
    /// With rules, by the names of their files.
    pub(super) fn new(sources: &[(String, Vec<u8>)]) -> Oracles {
        let mut rules = Vec::new();
        for (name, content) in sources {
            // As SpamAssassin itself puts files together, so that `include` and its warnings know where they are.
            rules.extend_from_slice(format!("file start {name}\n").as_bytes());
            rules.extend_from_slice(content);
            rules.extend_from_slice(format!("\nfile end {name}\n").as_bytes());
        }
        Oracles { rules, free: Mutex::new(Vec::new()) }
    }

    /// Starts one, to see whether that can be done.
    pub(super) fn start(&self) -> Result<(), String> {
        let oracle = Oracle::start(&self.rules)?;
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(oracle);
        Ok(())
    }

    /// Asks about a mail. A process that fails is ended, and the next mail gets a new one.
    pub(super) fn ask(&self, file: &Path) -> Result<Said, String> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut oracle = match free {
            Some(oracle) => oracle,
            None => Oracle::start(&self.rules)?,
        };
        let line = oracle.ask(file).map_err(|error| format!("SpamAssassin does not answer: {error}"))?;
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(oracle);
        Said::parse(&line)
    }
}

/// One process.
struct Oracle {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Oracle {
    fn start(rules: &[u8]) -> Result<Oracle, String> {
        let mut child = Command::new("perl")
            .args(["-e", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("perl cannot be started: {error}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("perl has no input or output".into());
        };
        let mut oracle = Oracle { child, input, output: BufReader::new(output) };
        let line = oracle.begin(rules).map_err(|error| format!("SpamAssassin cannot be started: {error}"))?;
        if line.starts_with("ready\t") {
            return Ok(oracle);
        }
        let why = line.trim_end().trim_start_matches("error\t");
        Err(format!("SpamAssassin cannot be started (is it installed?): {why}"))
    }

    fn begin(&mut self, rules: &[u8]) -> std::io::Result<String> {
        // Where SpamAssassin is missing the script says so and ends, perhaps before it was told the rules.
        let length = format!("{}\n", rules.len());
        let written = self.input.write_all(length.as_bytes()).and_then(|()| self.input.write_all(rules));
        let written = written.and_then(|()| self.input.flush());
        let line = self.line()?;
        if line.is_empty() {
            written?;
        }
        Ok(line)
    }

    fn ask(&mut self, file: &Path) -> std::io::Result<String> {
        self.input.write_all(file.as_os_str().as_bytes())?;
        self.input.write_all(b"\0")?;
        self.input.flush()?;
        let line = self.line()?;
        if line.ends_with('\n') { Ok(line) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = Vec::new();
        (&mut self.output).take(LONGEST).read_until(b'\n', &mut line)?;
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // It may be in the middle of a mail; nothing of it is needed any more.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let said = Said::parse("ok\t-0.002\t5.000\tA,B\t__C\n").unwrap();
        assert_eq!((said.score, said.limit, said.names.len()), (-0.002, 5.0, 2));
        assert_eq!(said.line(), "ok\t-0.002\t5.000\tA,B\t__C");
        for (line, error) in [
            ("error\tno such thing", "SpamAssassin: no such thing"),
            ("ok\tx\t5\t\t", "SpamAssassin: x is no score"),
            ("ok\t1\t5\tA", "SpamAssassin's answer is not understood"),
            ("", "SpamAssassin's answer is not understood"),
        ] {
            assert_eq!(Said::parse(line), Err(error.to_owned()), "{line}");
        }
    }
}
