//! Look-up tables as Postfix and Sendmail have them: `hash:/etc/postfix/access`, `cidr:…`, `ldap:/etc/postfix/ldap.cf`.
//!
//! Files are read at start and again when they change; one with an error in it is not taken, what was read before stays.
//! A table that cannot be asked is a fault, never "not found".

mod cf;
mod cidr;
pub mod keys;
mod ldap;
mod lines;
mod pattern;
mod posix;
mod sql;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;

use cf::Parameters;
use cidr::Cidr;
use ldap::Directory;
use lines::{Fixed, Found, TableError};
pub(crate) use pattern::compiled;
use pattern::{Patterns, Syntax};
use sql::{Engine, Sql};

/// Largest table that is read, in bytes.
const LARGEST: u64 = 1 << 30;

/// Longest key that is looked up in a file, in bytes: more than a line of SMTP may have. What is longer is a fault: nobody
/// knows what an expression would have said of it.
const LONGEST_KEY: usize = 16 << 10;

/// Longest key that a directory or database is asked for; addresses and names are shorter (RFC 5321 section 4.5.3.1).
const LONGEST_REMOTE_KEY: usize = 1000;

/// What all tables share.
#[derive(Clone, Debug)]
pub struct Options {
    /// Longest that one look-up in a directory or database may take, unless its file says otherwise.
    pub time: Duration,
    /// How long an answer of a directory or database is remembered; zero: not at all.
    pub cache: Duration,
    /// Answers that are remembered for each table.
    pub cached: usize,
    /// Connections to each database server.
    pub connections: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            time: Duration::from_secs(10),
            cache: Duration::from_secs(10),
            cached: 10_000,
            connections: 4,
        }
    }
}

/// What was found for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The right-hand side.
    pub text: String,
    /// File and line where it stands; None in tables that are no files of lines.
    pub place: Option<String>,
}

/// Why a table could not be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapError {
    /// It did not answer in time.
    Timeout(String),
    /// Anything else.
    Failed(String),
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapError::Timeout(why) | MapError::Failed(why) => f.write_str(why),
        }
    }
}

/// What must be true of the entries of a table: gets the table's form, a key (empty where keys are patterns) and the
/// value, and says what is wrong.
pub type Judge = fn(Form, &str, &str) -> Result<(), String>;

/// A table.
pub struct Map {
    /// As it was configured.
    name: String,
    form: Form,
    source: Source,
    options: Options,
    judge: Judge,
}

enum Source {
    /// In the configuration itself.
    Inline(Table),
    /// In a file, with the state it was read in.
    File(PathBuf, ArcSwap<(Stamp, Table)>),
    /// Elsewhere, as a file says.
    Remote(PathBuf, ArcSwap<(Stamp, Remote)>),
}

/// How a table is written and searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Keys and values, Postfix's: `hash:`, `btree:`, `lmdb:`, `cdb:`, `dbm:`, `texthash:`, `inline:`.
    Hash,
    /// Networks.
    Cidr,
    /// POSIX regular expressions.
    Regexp,
    /// Perl's regular expressions.
    Pcre,
    /// The same value for each key: `static:`.
    Static,
    /// Sendmail's access database.
    Sendmail,
    /// Sendmail's virtusertable.
    Virtusertable,
    /// A directory.
    Ldap,
    /// PostgreSQL.
    Pgsql,
    /// MySQL or MariaDB.
    Mysql,
    /// SQLite.
    Sqlite,
}

impl Form {
    /// By its name in the configuration, for tables that are read from a file.
    fn named(name: &str) -> Option<Form> {
        Some(match name {
            "hash" | "btree" | "lmdb" | "cdb" | "dbm" | "sdbm" | "texthash" => Form::Hash,
            "cidr" => Form::Cidr,
            "regexp" => Form::Regexp,
            "pcre" => Form::Pcre,
            "sendmail" => Form::Sendmail,
            "virtusertable" => Form::Virtusertable,
            _ => return None,
        })
    }

    fn remote(name: &str) -> Option<Form> {
        Some(match name {
            "ldap" => Form::Ldap,
            "pgsql" => Form::Pgsql,
            "mysql" => Form::Mysql,
            "sqlite" => Form::Sqlite,
            _ => return None,
        })
    }

    /// Whether its entries are patterns, which are tried on a whole name, address or mail address only, never on parts.
    pub fn is_pattern(self) -> bool {
        matches!(self, Form::Cidr | Form::Regexp | Form::Pcre | Form::Static)
    }
}

impl Map {
    /// Opens a table by its name, `TYPE:FILE` or `TYPE:{ … }`. Files are read here, nothing is connected yet. The error
    /// names file and line.
    pub fn open(name: &str, options: &Options, judge: Judge) -> Result<Map, String> {
        // Postfix's proxy process stands for shared connections, which are shared here anyway.
        let bare = name.trim().strip_prefix("proxy:").unwrap_or(name.trim());
        let (kind, rest) = bare.split_once(':').unwrap_or(("", bare));
        let rest = rest.trim();
        let (form, source) = if rest.starts_with('{') {
            let (form, table) = inline(kind, rest).map_err(|why| format!("{name}: {why}"))?;
            table.judge(form, judge).map_err(|error| error.message)?;
            (form, Source::Inline(table))
        } else if kind == "static" {
            judge(Form::Static, "", rest)?;
            (Form::Static, Source::Inline(Table::Static(rest.to_owned())))
        } else if let Some(form) = Form::named(kind) {
            let local = Local::open(form, absolute(rest)?)?;
            local.judge(judge)?;
            local.warn_of_doubled();
            (form, Source::File(local.path, ArcSwap::from_pointee((local.stamp, local.table))))
        } else if let Some(form) = Form::remote(kind) {
            let path = absolute(rest)?;
            let stamp = stamp(path);
            let remote = Remote::open(form, path, options)?;
            (form, Source::Remote(path.into(), ArcSwap::from_pointee((stamp, remote))))
        } else {
            return Err(unknown(name, kind));
        };
        Ok(Map { name: name.to_owned(), form, source, options: options.clone(), judge })
    }

    /// As it was configured.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is written and searched.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Whether asking it goes over a connection.
    pub fn is_remote(&self) -> bool {
        matches!(self.source, Source::Remote(..))
    }

    /// Longest that a look-up may take.
    pub fn time(&self) -> Duration {
        self.options.time
    }

    /// Looks up one key. Tables of keys fold case, patterns do as they say.
    pub async fn lookup(&self, key: &str) -> Result<Option<Value>, MapError> {
        if key.is_empty() {
            return Ok(None);
        }
        let longest = if self.is_remote() { LONGEST_REMOTE_KEY } else { LONGEST_KEY };
        if key.len() > longest {
            let why = format!("{}: a key of {} bytes is longer than {longest}", self.name, key.len());
            return Err(MapError::Failed(why));
        }
        let told = |(text, line): Found<'_>, path: Option<&Path>| Value {
            text: text.into_owned(),
            place: path.map(|path| format!("{}:{line}", path.display())),
        };
        match &self.source {
            Source::Inline(table) => {
                let found = table.get(key).map_err(|error| self.failed(None, &error))?;
                Ok(found.map(|found| told(found, None)))
            }
            Source::File(path, current) => {
                let current = current.load();
                let found = current.1.get(key).map_err(|error| self.failed(Some(path), &error))?;
                Ok(found.map(|found| told(found, Some(path))))
            }
            Source::Remote(_, current) => {
                let current = current.load_full();
                let asked = current.1.lookup(&lines::fold(key), &self.options).await;
                let text = asked.map_err(|error| match error {
                    MapError::Timeout(why) => MapError::Timeout(format!("{}: {why}", self.name)),
                    MapError::Failed(why) => MapError::Failed(format!("{}: {why}", self.name)),
                })?;
                Ok(text.map(|text| Value { text, place: None }))
            }
        }
    }

    /// Reads its file again if it has changed; with an error in it the old stays. Blocks.
    pub fn reload(&self) {
        let read = match &self.source {
            Source::Inline(_) => return,
            Source::File(path, current) => {
                let now = stamp(path);
                let before = current.load();
                if before.0 == now {
                    return;
                }
                let local = Local::open(self.form, path);
                match local.and_then(|local| local.judge(self.judge).map(|()| local)) {
                    Ok(local) => {
                        local.warn_of_doubled();
                        current.store(Arc::new((local.stamp, local.table)));
                        Ok(())
                    }
                    Err(why) => {
                        // Said once, not every few seconds until somebody mends it.
                        current.rcu(|old| (now, old.1.clone()));
                        Err(why)
                    }
                }
            }
            Source::Remote(path, current) => {
                let now = stamp(path);
                if current.load().0 == now {
                    return;
                }
                match Remote::open(self.form, path, &self.options) {
                    Ok(remote) => {
                        current.store(Arc::new((now, remote)));
                        Ok(())
                    }
                    Err(why) => {
                        current.rcu(|old| (now, old.1.clone()));
                        Err(why)
                    }
                }
            }
        };
        match read {
            Ok(()) => tracing::info!(map = %self.name, "read again, since it has changed"),
            Err(why) => tracing::error!(map = %self.name, "not taken, what was read before stays: {why}"),
        }
    }

    fn failed(&self, path: Option<&Path>, error: &TableError) -> MapError {
        MapError::Failed(match path {
            Some(path) => located(path, error),
            None => format!("{}: {}", self.name, error.message),
        })
    }
}

fn absolute(path: &str) -> Result<&Path, String> {
    match path.starts_with('/') {
        true => Ok(Path::new(path)),
        false => Err(format!("“{path}” is no absolute path")),
    }
}

fn unknown(name: &str, kind: &str) -> String {
    match kind {
        "" => format!("“{name}” names no type; write hash:/path/of/file"),
        kind => format!(
            "“{name}”: tables of type {kind} are not read here; types are hash, btree, texthash, cidr, regexp, pcre, inline, \
             static, sendmail, virtusertable, ldap, pgsql, mysql, sqlite"
        ),
    }
}

/// A table within the configuration.
fn inline(kind: &str, text: &str) -> Result<(Form, Table), String> {
    if kind == "inline" {
        return Ok((Form::Hash, Table::Fixed(Fixed::of_pairs(&lines::inline_pairs(text)?).into())));
    }
    let form = Form::named(kind).ok_or_else(|| unknown(text, kind))?;
    let rules = lines::braced(text).ok_or("the braces do not match")?;
    let table = Table::parse(form, &rules.join("\n")).map_err(|error| error.message)?;
    Ok((form, table))
}

fn located(path: &Path, error: &TableError) -> String {
    match error.line {
        0 => format!("{}: {}", path.display(), error.message),
        line => format!("{}:{line}: {}", path.display(), error.message),
    }
}

/// A table that was read. Copies share it.
#[derive(Clone)]
enum Table {
    Fixed(Arc<Fixed>),
    Cidr(Arc<Cidr>),
    Patterns(Arc<Patterns>),
    Static(String),
}

impl Table {
    fn parse(form: Form, text: &str) -> Result<Table, TableError> {
        Ok(match form {
            Form::Cidr => Table::Cidr(Cidr::parse(text)?.into()),
            Form::Regexp => Table::Patterns(Patterns::parse(text, Syntax::Posix)?.into()),
            Form::Pcre => Table::Patterns(Patterns::parse(text, Syntax::Perl)?.into()),
            Form::Sendmail | Form::Virtusertable => Table::Fixed(Fixed::sendmail(text)?.into()),
            _ => Table::Fixed(Fixed::postfix(text)?.into()),
        })
    }

    fn get<'t>(&'t self, key: &str) -> Result<Option<Found<'t>>, TableError> {
        match self {
            Table::Fixed(table) => Ok(table.get(&lines::fold(key))),
            Table::Cidr(table) => Ok(table.get(key)),
            Table::Patterns(table) => table.get(key),
            Table::Static(text) => Ok(Some((Cow::Borrowed(text), 0))),
        }
    }

    fn judge(&self, form: Form, judge: Judge) -> Result<(), TableError> {
        let told = |line: u32| move |why: String| TableError::new(line, why);
        match self {
            Table::Fixed(table) => {
                table.iter().try_for_each(|(key, value, line)| judge(form, key, value).map_err(told(line)))
            }
            Table::Cidr(table) => {
                table.results().try_for_each(|(value, line)| judge(form, "", value).map_err(told(line)))
            }
            Table::Patterns(table) => {
                table.results().try_for_each(|(value, line)| judge(form, "", value).map_err(told(line)))
            }
            Table::Static(text) => judge(form, "", text).map_err(told(0)),
        }
    }
}

/// A table in a file.
struct Local {
    form: Form,
    path: PathBuf,
    stamp: Stamp,
    table: Table,
}

/// What tells whether a file has changed: time of its last change, size, inode.
type Stamp = Option<(SystemTime, u64, u64)>;

fn stamp(path: &Path) -> Stamp {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

impl Local {
    /// Reads it.
    fn open(form: Form, path: &Path) -> Result<Local, String> {
        // Before the file is read: what changes meanwhile is read again.
        let stamp = stamp(path);
        if stamp.is_some_and(|(_, size, _)| size > LARGEST) {
            return Err(format!("{}: is larger than {LARGEST} bytes", path.display()));
        }
        let bytes = std::fs::read(path).map_err(|why| missing(form, path, &why))?;
        let text = String::from_utf8_lossy(&bytes);
        let table = Table::parse(form, &text).map_err(|error| located(path, &error))?;
        Ok(Local { form, path: path.to_owned(), stamp, table })
    }

    fn judge(&self, judge: Judge) -> Result<(), String> {
        self.table.judge(self.form, judge).map_err(|error| located(&self.path, &error))
    }

    fn warn_of_doubled(&self) {
        if let Table::Fixed(table) = &self.table {
            for line in &table.doubled {
                tracing::warn!("{}:{line}: stands there before; the first counts", self.path.display());
            }
        }
    }

    fn get(&self, key: &str) -> Result<Option<Found<'_>>, TableError> {
        self.table.get(key)
    }
}

fn missing(form: Form, path: &Path, why: &std::io::Error) -> String {
    let compiled = path.with_added_extension("db");
    match form == Form::Hash && compiled.exists() {
        true => format!(
            "{}: {why}; what is read is the text that {} was made from",
            path.display(),
            compiled.display()
        ),
        false => format!("{}: {why}", path.display()),
    }
}

/// A table elsewhere, with the answers that are remembered.
#[derive(Clone)]
struct Remote {
    table: Arc<RemoteTable>,
    answers: Arc<Mutex<Answers>>,
}

/// For each key when it was asked, and what was found.
type Answers = HashMap<String, (Instant, Option<String>)>;

enum RemoteTable {
    Ldap(Box<Directory>),
    Sql(Sql),
}

impl Remote {
    fn open(form: Form, path: &Path, options: &Options) -> Result<Remote, String> {
        let text = std::fs::read(path).map_err(|why| format!("{}: {why}", path.display()))?;
        let table = Remote::parse(form, &String::from_utf8_lossy(&text), options);
        let table = table.map_err(|error| located(path, &error))?;
        Ok(Remote { table: Arc::new(table), answers: Arc::default() })
    }

    fn parse(form: Form, text: &str, options: &Options) -> Result<RemoteTable, TableError> {
        let mut parameters = Parameters::parse(text)?;
        let sql =
            |engine, parameters: &mut Parameters| Sql::new(engine, parameters, options).map(RemoteTable::Sql);
        let table = match form {
            Form::Pgsql => sql(Engine::Postgres, &mut parameters),
            Form::Mysql => sql(Engine::MySql, &mut parameters),
            Form::Sqlite => sql(Engine::Sqlite, &mut parameters),
            _ => Directory::new(&mut parameters, options).map(Box::new).map(RemoteTable::Ldap),
        }?;
        parameters.end()?;
        Ok(table)
    }

    async fn lookup(&self, key: &str, options: &Options) -> Result<Option<String>, MapError> {
        if let Some((since, answer)) = self.remembered().get(key)
            && since.elapsed() < options.cache
        {
            return Ok(answer.clone());
        }
        let asking = async {
            match &*self.table {
                RemoteTable::Ldap(directory) => directory.lookup(key).await,
                RemoteTable::Sql(sql) => sql.lookup(key).await,
            }
        };
        let answer = tokio::time::timeout(options.time, asking)
            .await
            .map_err(|_| MapError::Timeout(format!("no answer within {} s", options.time.as_secs())))??;
        if !options.cache.is_zero() {
            self.remember(key, &answer, options);
        }
        Ok(answer)
    }

    fn remember(&self, key: &str, answer: &Option<String>, options: &Options) {
        let mut answers = self.remembered();
        if answers.len() >= options.cached.max(1) {
            answers.retain(|_, (since, _)| since.elapsed() < options.cache);
            if answers.len() >= options.cached.max(1) {
                answers.clear();
            }
        }
        answers.insert(key.to_owned(), (Instant::now(), answer.clone()));
    }

    fn remembered(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads any table as text, as its form says, and looks up a key; for fuzzing.
pub fn parse_and_get(form: &str, text: &str, key: &str) -> Option<String> {
    if let Some(form) = Form::remote(form) {
        return Remote::parse(form, text, &Options::default()).err().map(|error| error.message);
    }
    let table = Table::parse(Form::named(form)?, text).ok()?;
    table.get(key).ok()?.map(|(text, _)| text.into_owned())
}

#[cfg(test)]
mod tests;
