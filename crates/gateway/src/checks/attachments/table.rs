//! MailScanner's tables of names and types (`filename.rules.conf`, `filetype.rules.conf`): a rule a line, its fields parted
//! by tabs; the first that matches decides.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use pcre2::bytes::Captures;

use super::facts::Facts;
use super::kinds::{known, other_media_type};
use super::rule::{Perl, compile_perl, is_new_name};
use crate::config::typed::AttachmentSet;
use crate::resources::lines::each_line_of;

/// Largest file that is read, in bytes.
const LARGEST: u64 = 4 << 20;

/// Rules of one table, at most: each is tried in turn.
const MOST: usize = 2000;

/// The tables of a set, read again when they change.
pub(super) struct Tables {
    /// The set's name.
    title: String,
    /// About names, types, names in archives, types in archives.
    files: [Vec<PathBuf>; 4],
    /// New name where a rule gives none.
    rename: String,
    tables: ArcSwap<[Vec<Line>; 4]>,
    /// The files when they were read last, and what was wrong with them then.
    read: Mutex<(Stamp, Option<String>)>,
}

/// What of each file changes when it is written or replaced: inode, size, change time.
type Stamp = Vec<Option<(u64, u64, i64, i64)>>;

/// What the tables say against a part.
pub(super) enum Told {
    /// It is not let in: the rule's log text, and its report.
    Deny(String, String),
    /// It gets another name.
    Rename(String, String, String),
}

impl Tables {
    /// Reads the tables of a set; None, if it has none. Errors: what is wrong with which line of which file.
    pub fn read(title: &str, typed: &AttachmentSet) -> Result<Option<Tables>, Vec<String>> {
        let files = [
            typed.mailscanner_filenames.clone(),
            typed.mailscanner_filetypes.clone(),
            typed.mailscanner_archive_filenames.clone(),
            typed.mailscanner_archive_filetypes.clone(),
        ];
        if files.iter().all(Vec::is_empty) {
            return Ok(None);
        }
        // Taken before reading: what is written meanwhile shows as a change.
        let stamp = stamp(&files);
        let tables = read_all(&files)?;
        let pattern = &typed.mailscanner_rename;
        let whole = pattern.to_ascii_uppercase().contains(PLACEHOLDER);
        Ok(Some(Tables {
            title: title.to_owned(),
            files,
            rename: if whole { pattern.clone() } else { format!("{PLACEHOLDER}{pattern}") },
            tables: ArcSwap::from_pointee(tables),
            read: Mutex::new((stamp, None)),
        }))
    }

    /// What speaks against a part. Names and types are judged apart, and each name by itself: it is what some reader would
    /// open the part as.
    pub fn judge(&self, facts: &Facts) -> Result<Option<Told>, pcre2::Error> {
        let tables = self.tables.load();
        let of = |outside: usize| {
            let packed = facts.is_packed() && !self.files[outside + 2].is_empty();
            &tables[if packed { outside + 2 } else { outside }]
        };
        let mut rename = None;
        for name in &facts.names {
            let forms = name.forms();
            let matches = |line: &Line| any(&line.pattern, &forms);
            match first(of(0), matches)? {
                Some(line) if line.action == Action::Deny => return Ok(Some(line.denies())),
                Some(line) => rename = rename.or(Some(line).filter(|line| line.is_rename())),
                None => {}
            }
        }
        let detected = facts.part.detected;
        let words = [known(facts.part).file, detected.name];
        let media = [detected.mime, other_media_type(detected).unwrap_or(detected.mime)];
        for told in
            [first(of(1), |line| any(&line.pattern, &words))?, first(of(1), |line| any(&line.media, &media))?]
        {
            match told {
                Some(line) if line.action == Action::Deny => return Ok(Some(line.denies())),
                Some(line) => rename = rename.or(Some(line).filter(|line| line.is_rename())),
                None => {}
            }
        }
        match rename {
            Some(line) if facts.is_in_sight() => self.renamed(line, facts),
            _ => Ok(None),
        }
    }

    fn renamed(&self, line: &Line, facts: &Facts) -> Result<Option<Told>, pcre2::Error> {
        let Some(name) = facts.names.first().map(|name| name.base()) else { return Ok(None) };
        let new = match (&line.action, &line.pattern) {
            (Action::RenameTo(with), Some(pattern)) => match pattern.captures(name.as_bytes())? {
                Some(found) => replaced(name, with, &found),
                // Another of its names was meant.
                None => format!("{name}.disarmed"),
            },
            _ => {
                let at = self.rename.to_ascii_uppercase().find(PLACEHOLDER).unwrap_or_default();
                let behind = self.rename.get(at + PLACEHOLDER.len()..).unwrap_or_default();
                format!("{}{name}{behind}", &self.rename[..at])
            }
        };
        Ok(Some(Told::Rename(line.name.clone(), line.report.clone(), new)))
    }

    /// Rules that are in use.
    pub fn len(&self) -> usize {
        self.tables.load().iter().map(Vec::len).sum()
    }

    /// What was wrong with the files when they were read last.
    pub fn mistake(&self) -> Option<String> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Reads the files again if they have changed. A mistake leaves the old tables in place, and is told once.
    pub fn reload(&self) {
        let now = stamp(&self.files);
        {
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            if read.0 == now {
                return;
            }
            read.0 = now;
        }
        let wrong = match read_all(&self.files) {
            Ok(tables) => {
                self.tables.store(Arc::new(tables));
                tracing::info!(set = %self.title, rules = self.len(), "attachment rules read again");
                None
            }
            Err(mistakes) => {
                for mistake in &mistakes {
                    tracing::error!(set = %self.title, "attachment rules changed but are not taken: {mistake}");
                }
                mistakes.into_iter().next().map(|first| format!("changed but not taken: {first}"))
            }
        };
        self.read.lock().unwrap_or_else(PoisonError::into_inner).1 = wrong;
    }
}

/// Stands for the old name in MailScanner's `Default Rename Pattern`, whatever its case.
const PLACEHOLDER: &str = "__FILENAME__";

/// One rule of a table.
#[derive(Debug)]
struct Line {
    action: Action,
    /// For names, or for the words of file(1).
    pattern: Option<Perl>,
    /// For media types by content, `file -i`.
    media: Option<Perl>,
    /// What is logged.
    name: String,
    /// What the recipient is told.
    report: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Action {
    Allow,
    Deny,
    /// By the set's pattern.
    Rename,
    /// What matched is replaced by this.
    RenameTo(String),
}

impl Line {
    fn is_rename(&self) -> bool {
        matches!(self.action, Action::Rename | Action::RenameTo(_))
    }

    fn denies(&self) -> Told {
        Told::Deny(self.name.clone(), self.report.clone())
    }

    /// `deny<TAB>\.exe$<TAB>log text<TAB>report`, with a pattern for the media type before the log text if there are five
    /// fields. None for what says nothing.
    fn read(line: &[u8]) -> Result<Option<Line>, String> {
        let text = match std::str::from_utf8(line) {
            Ok(text) => text.to_owned(),
            Err(_) => line.iter().map(|&byte| char::from(byte)).collect(),
        };
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            return Ok(None);
        }
        let fields: Vec<&str> = text.split('\t').map(str::trim).filter(|field| !field.is_empty()).collect();
        let (action, pattern, media, name, report) = match fields.as_slice() {
            [action, pattern, name, report] => (action, pattern, "-", name, report),
            [action, pattern, media, name, report] => (action, pattern, *media, name, report),
            _ => {
                return Err(format!(
                    "has {} fields; action, expression, log text and report are parted by tabs",
                    fields.len()
                ));
            }
        };
        let expression = |text: &str| match text {
            "-" => Ok(None),
            text => compile_perl(&expression(text), true).map(Some).map_err(|why| format!("“{text}”: {why}")),
        };
        let said = |text: &str| if text == "-" { String::new() } else { text.to_owned() };
        let read = Line {
            action: Action::read(action)?,
            pattern: expression(pattern)?,
            media: expression(media)?,
            name: said(name),
            report: said(report),
        };
        if read.pattern.is_none() && read.media.is_none() {
            return Err("has no expression".into());
        }
        Ok(Some(read))
    }
}

impl Action {
    fn read(text: &str) -> Result<Action, String> {
        let trimmed = text.trim_matches([' ', ',']);
        let lower = trimmed.to_ascii_lowercase();
        if lower == "allow" {
            return Ok(Action::Allow);
        }
        if lower == "rename" {
            return Ok(Action::Rename);
        }
        if lower.starts_with("rename ") {
            let with = trimmed["rename ".len()..].trim_start();
            let with = with.get(..3).filter(|to| to.eq_ignore_ascii_case("to ")).map_or(with, |_| &with[3..]);
            return match is_new_name(with) {
                true => Ok(Action::RenameTo(with.to_owned())),
                false => Err(format!("“{with}” cannot stand in a file's name")),
            };
        }
        if lower.contains('@') {
            return Err(format!(
                "“{trimmed}” sends the message to others, which no rule of ours does: write deny"
            ));
        }
        if lower.starts_with("deny") {
            return Ok(Action::Deny);
        }
        Err(format!("“{trimmed}” is none of allow, deny, deny+delete, rename, rename to TEXT"))
    }
}

/// As MailScanner reads expressions: slashes around them are none of theirs, and a star at the beginning is for any text.
fn expression(text: &str) -> String {
    let bare = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')).unwrap_or(text);
    if bare.starts_with('*') { format!(".{bare}") } else { bare.to_owned() }
}

fn any(pattern: &Option<Perl>, texts: &[&str]) -> Result<bool, pcre2::Error> {
    let Some(pattern) = pattern else { return Ok(false) };
    for text in texts {
        if pattern.is_match(text.as_bytes())? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The first rule that matches.
fn first(
    table: &[Line],
    matches: impl Fn(&Line) -> Result<bool, pcre2::Error>,
) -> Result<Option<&Line>, pcre2::Error> {
    for line in table {
        if matches(line)? {
            return Ok(Some(line));
        }
    }
    Ok(None)
}

/// What was found in `name` replaced by `with`, in which `$1`, `${1}` and `\1` stand for groups.
fn replaced(name: &str, with: &str, found: &Captures<'_>) -> String {
    let mut new = String::new();
    let mut rest = with;
    while let Some(at) = rest.find(['$', '\\']) {
        new.push_str(&rest[..at]);
        let mark = &rest[at..at + 1];
        rest = &rest[at + 1..];
        let braced = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, behind) = braced.unwrap_or(rest.split_at(digits));
        match number.parse::<usize>() {
            Ok(number) => {
                let group = found.get(number).map(|group| group.as_bytes()).unwrap_or_default();
                new.push_str(&String::from_utf8_lossy(group));
                rest = behind;
            }
            // A backslash makes what follows plain.
            Err(_) if mark == "\\" => {}
            Err(_) => new.push_str(mark),
        }
    }
    new.push_str(rest);
    let whole = found.get(0).map_or(0..0, |whole| whole.start()..whole.end());
    let (before, behind) = (name.get(..whole.start), name.get(whole.end..));
    format!("{}{new}{}", before.unwrap_or_default(), behind.unwrap_or_default())
}

fn stamp(files: &[Vec<PathBuf>; 4]) -> Stamp {
    let state = |path: &PathBuf| {
        let data = std::fs::metadata(path).ok()?;
        Some((data.ino(), data.len(), data.ctime(), data.ctime_nsec()))
    };
    files.iter().flatten().map(state).collect()
}

fn read_all(files: &[Vec<PathBuf>; 4]) -> Result<[Vec<Line>; 4], Vec<String>> {
    let mut mistakes = Vec::new();
    let tables = files.each_ref().map(|files| {
        let mut lines = Vec::new();
        for path in files {
            mistakes.extend(read_file(path, &mut lines).err().into_iter().flatten());
        }
        lines
    });
    if mistakes.is_empty() { Ok(tables) } else { Err(mistakes) }
}

fn read_file(path: &Path, lines: &mut Vec<Line>) -> Result<(), Vec<String>> {
    each_line_of(path, LARGEST, |line| {
        let Some(line) = Line::read(line)? else { return Ok(()) };
        if lines.len() >= MOST {
            return Err(format!("is one rule too many: {MOST} are read"));
        }
        lines.push(line);
        Ok(())
    })
}
