//! Signing of outgoing mail (DKIM), and sealing of what is passed on (ARC).
//!
//! What is signed is the message as it will leave: its edits are carried out first, and the signature is one more edit
//! on top. So whoever carries the message on, in whatever way, carries the signature with it.

mod keys;
mod tables;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use gatepost_auth::arc::{Chain, SealError, Sealer};
use gatepost_auth::dkim::{Canon, SignError, Signer, SigningKey, sign_all};
use gatepost_auth::dmarc::Authors;
use gatepost_mail::{Direction, Edit, Message, OnFault, Place};
use memchr::memmem;

use self::keys::{Stamp, read_key, read_text, stamp};
use self::tables::{Entry, KeySource, KeyTable, SigningTable, TableKey, key_table, signing_table};
use crate::config::auth::Signing as Settings;
use crate::config::{Config, Problem};

/// Keys of domains that a KeyTable names by `%`, kept in memory.
const PER_DOMAIN: usize = 4096;

/// Signs and seals by one configuration. Its keys are read again when they change.
pub struct Signing {
    settings: Settings,
    canonicalization: (Canon, Canon),
    seal: String,
    book: ArcSwap<Book>,
    files: Mutex<Files>,
}

/// Every file that was read, and how it was then.
type Files = Vec<(PathBuf, Stamp)>;

/// A key and where its record is.
#[derive(Clone, Debug)]
pub struct Named {
    /// The domain that signs.
    pub domain: String,
    /// The key's name there.
    pub selector: String,
    /// The key.
    pub key: Arc<SigningKey>,
    /// It signs from then on, in seconds since 1970.
    pub from: Option<i64>,
    /// It signs until then, in seconds since 1970.
    pub until: Option<i64>,
}

/// All keys and tables as they were read.
struct Book {
    keys: Vec<Key>,
    tables: Option<Tables>,
}

/// One `[[signing.key]]`.
struct Key {
    signer: Signer,
    subdomains: bool,
    /// Seconds since 1970.
    from: Option<i64>,
    /// Seconds since 1970.
    until: Option<i64>,
}

/// OpenDKIM's tables.
struct Tables {
    keys: KeyTable,
    authors: SigningTable,
    /// Keys in files of their own, by file.
    read: HashMap<PathBuf, Arc<SigningKey>>,
    /// Keys of `%`, by file, as they are asked for; those that cannot be read as well.
    per_domain: Mutex<HashMap<PathBuf, (Stamp, ReadKey)>>,
}

/// A key, or why it cannot be read.
type ReadKey = Result<Arc<SigningKey>, String>;

impl Signing {
    /// Reads keys and tables. Every problem names its key of the configuration.
    pub fn build(config: &Config) -> Result<Signing, Vec<Problem>> {
        let settings = config.signing.clone();
        let mut problems = Vec::new();
        let canonicalization = canonicalization(&settings.canonicalization).unwrap_or_else(|why| {
            problems.push(Problem::new("signing.canonicalization", why));
            (Canon::Relaxed, Canon::Relaxed)
        });
        check_fields(&settings, &mut problems);
        let signs = !settings.key.is_empty() || settings.signing_table.is_some();
        let own = [Direction::Outbound, Direction::Internal];
        let never = settings.directions.iter().all(|direction| own.contains(direction));
        if signs && config.domains.is_empty() && config.checks.arc.seal.is_empty() && never {
            let why = "needs domains: without them nobody can tell which way mail goes, and nothing would be signed";
            problems.push(Problem::new("signing.directions", why));
        }
        let seal = name(&config.checks.arc.seal);
        let (book, files) = Book::read(&settings, canonicalization, &mut problems);
        let sealed = |key: &Key| key.signer.domain == seal && key.signer.key.algorithm() == "rsa-sha256";
        if problems.is_empty() && !seal.is_empty() && !book.keys.iter().any(sealed) {
            let why = format!("there is no RSA key of {seal} in [[signing.key]]");
            problems.push(Problem::new("checks.arc.seal", why));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let (book, files) = (ArcSwap::from_pointee(book), Mutex::new(files));
        Ok(Signing { settings, canonicalization, seal, book, files })
    }

    /// Whether mail that goes this way is signed.
    pub fn is_for(&self, direction: Direction) -> bool {
        let book = self.book.load();
        self.settings.directions.contains(&direction) && (!book.keys.is_empty() || book.tables.is_some())
    }

    /// Whether mail that goes this way is sealed.
    pub fn seals(&self, direction: Direction) -> bool {
        direction == Direction::Inbound && !self.seal.is_empty()
    }

    /// What happens to a message that should be signed and cannot be.
    pub fn on_fault(&self) -> OnFault {
        self.settings.on_fault
    }

    /// All keys that are known by name, in the order of the configuration: first `[[signing.key]]`, then the KeyTable.
    pub fn keys(&self) -> Vec<Named> {
        let book = self.book.load();
        let mut keys: Vec<Named> = book
            .keys
            .iter()
            .map(|Key { signer, from, until, .. }| Named {
                domain: signer.domain.clone(),
                selector: signer.selector.clone(),
                key: signer.key.clone(),
                from: *from,
                until: *until,
            })
            .collect();
        let tables = book.tables.iter().flat_map(|tables| tables.keys.values().map(move |key| (tables, key)));
        let mut more: Vec<Named> = tables
            .filter(|(_, key)| key.domain != "%")
            .filter_map(|(tables, key)| {
                let KeySource::File(file) = &key.key else { return None };
                let (domain, selector) = (key.domain.clone(), key.selector.clone());
                Some(Named { domain, selector, key: tables.read.get(file)?.clone(), from: None, until: None })
            })
            .collect();
        more.sort_by(|a, b| (&a.domain, &a.selector).cmp(&(&b.domain, &b.selector)));
        keys.extend(more);
        keys
    }

    /// The signatures of a message with these edits, as further edits; they belong before all others, on top. None where
    /// nobody signs for its author, or where it is a message that cannot be signed, which the log tells. `now` is in seconds since 1970. Takes processor time, and reads files where a KeyTable
    /// names one for each domain.
    ///
    /// Errors: a key that is asked for is not there.
    pub fn sign(&self, message: &Message, edits: &[Edit], now: i64) -> Result<Vec<Edit>, String> {
        let signers = self.signers(message, now)?;
        if signers.is_empty() {
            return Ok(Vec::new());
        }
        let (header, body) = parted(gatepost_mail::apply(message, edits).chunks);
        let signers: Vec<&Signer> = signers.iter().collect();
        let mut fields = Vec::with_capacity(signers.len());
        for (signer, value) in signers.iter().zip(sign_all(&signers, &header, &body, now)) {
            let place = format!("{}._domainkey.{}", signer.selector, signer.domain);
            match value {
                Ok(value) => fields.push(on_top("DKIM-Signature", value)),
                // It would be no better tomorrow; without a signature it is what it was.
                Err(SignError::Message(why)) => {
                    tracing::warn!("a message goes unsigned by {place}: {why}");
                }
                Err(SignError::Signer(why)) => return Err(format!("{place} cannot sign: {why}")),
            }
        }
        Ok(fields)
    }

    /// One more set on the chain of a message with these edits: three fields that belong before all others, on top. None
    /// where the chain may not be continued. `results` is the value of the Authentication-Results field that is sealed.
    ///
    /// Errors: it cannot be sealed; one sentence.
    pub fn seal(
        &self,
        message: &Message,
        edits: &[Edit],
        chain: &Chain,
        results: &str,
        now: i64,
    ) -> Result<Vec<Edit>, String> {
        let book = self.book.load();
        let fits = |key: &&Key| {
            key.signer.domain == self.seal && key.is_valid(now) && key.signer.key.algorithm() == "rsa-sha256"
        };
        let Some(key) = book.keys.iter().find(fits) else {
            return Err(format!("no RSA key of {} is valid now", self.seal));
        };
        let Signer { key, domain, selector, .. } = &key.signer;
        let (header, body) = parted(gatepost_mail::apply(message, edits).chunks);
        let sealer = Sealer::new(key.clone(), domain, selector);
        match sealer.seal(&header, &body, chain, results, now) {
            Ok(sealed) => Ok(vec![
                on_top("ARC-Seal", sealed.seal),
                on_top("ARC-Message-Signature", sealed.message_signature),
                on_top("ARC-Authentication-Results", sealed.results),
            ]),
            Err(SealError::Full | SealError::Failed) => Ok(Vec::new()),
            Err(SealError::Unfit(why)) => Err(why),
        }
    }

    /// Reads changed files again; where one is wrong, all stays as it was, and the log says so once. Blocks.
    pub fn reload(&self) {
        if let Some(tables) = &self.book.load().tables {
            tables.forget_changed();
        }
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if files.iter().all(|(file, before)| stamp(file) == *before) {
            return;
        }
        let mut problems = Vec::new();
        let (book, now) = Book::read(&self.settings, self.canonicalization, &mut problems);
        *files = now;
        if problems.is_empty() {
            tracing::info!("signing keys read again");
            self.book.store(Arc::new(book));
        }
        for Problem { key, message } in problems {
            tracing::error!("{key}: {message}; the old keys stay");
        }
    }

    /// Who signs, for the author of a message.
    fn signers(&self, message: &Message, now: i64) -> Result<Vec<Signer>, String> {
        let authors = Authors::of_header(&message.headers.raw);
        let book = self.book.load();
        let mut signers = Vec::new();
        for domain in &authors.domains {
            let by_key = book.keys.iter().filter(|key| key.is_valid(now) && key.is_for(domain));
            signers.extend(by_key.map(|key| key.signer.clone()));
            let Some(tables) = &book.tables else { continue };
            let local = local_part(message, domain);
            for (entry, key) in tables.find(&local, domain, self.settings.all_matches) {
                signers.push(self.by_table(tables, entry, key, domain)?);
            }
        }
        let mut seen: Vec<(String, String)> = Vec::new();
        signers.retain(|signer| {
            let name = (signer.domain.clone(), signer.selector.clone());
            let new = !seen.contains(&name);
            seen.push(name);
            new
        });
        Ok(signers)
    }

    fn by_table(
        &self,
        tables: &Tables,
        entry: &Entry,
        key: &TableKey,
        author: &str,
    ) -> Result<Signer, String> {
        let domain = key.domain.replace('%', author);
        let identity = entry.identity.as_ref().map(|identity| identity.replace('%', author));
        let mut signer = signer(
            tables.read_for(key, author)?,
            &domain,
            &key.selector,
            &self.settings,
            self.canonicalization,
        );
        signer.identity = identity.filter(|identity| is_within(identity, &domain));
        Ok(signer)
    }
}

impl Book {
    /// Reads everything; what is wrong stands in `problems`, and the files that were read are told in any case.
    fn read(settings: &Settings, canon: (Canon, Canon), problems: &mut Vec<Problem>) -> (Book, Files) {
        let mut files = Files::new();
        let mut keys = Vec::new();
        for (place, settings_of_key) in settings.key.iter().enumerate() {
            let at = |name: &str| format!("signing.key[{place}].{name}");
            let before = problems.len();
            let domain = name(&settings_of_key.domain);
            if !is_domain(&domain) {
                let why = format!("{:?} is not a domain; write example.org", settings_of_key.domain);
                problems.push(Problem::new(at("domain"), why));
            }
            if !is_domain(&settings_of_key.selector) {
                let why =
                    format!("{:?} is not a selector; write a name such as 2026a", settings_of_key.selector);
                problems.push(Problem::new(at("selector"), why));
            }
            let mut moment = |key: &str, text: &Option<String>| {
                let moment = text.as_deref().map(moment)?;
                moment.map_err(|why| problems.push(Problem::new(at(key), why))).ok()
            };
            let (from, until) =
                (moment("from", &settings_of_key.from), moment("until", &settings_of_key.until));
            if from.zip(until).is_some_and(|(from, until)| from >= until) {
                problems.push(Problem::new(at("until"), "is not later than from: it would never sign"));
            }
            files.push((settings_of_key.file.clone(), stamp(&settings_of_key.file)));
            match read_key(&settings_of_key.file) {
                Ok(key) if problems.len() == before => {
                    let signer = signer(Arc::new(key), &domain, &settings_of_key.selector, settings, canon);
                    keys.push(Key { signer, subdomains: settings_of_key.subdomains, from, until });
                }
                Ok(_) => {}
                Err(why) => problems.push(Problem::new(at("file"), why)),
            }
        }
        (Book { keys, tables: Tables::read(settings, &mut files, problems) }, files)
    }
}

impl Key {
    fn is_valid(&self, now: i64) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }

    fn is_for(&self, author: &str) -> bool {
        let own = &self.signer.domain;
        let below = || author.strip_suffix(own.as_str()).is_some_and(|rest| rest.ends_with('.'));
        author == own || (self.subdomains && below())
    }
}

impl Tables {
    /// None where the configuration names none, or something is wrong.
    fn read(settings: &Settings, files: &mut Files, problems: &mut Vec<Problem>) -> Option<Tables> {
        let (keys_file, authors_file) = match (&settings.key_table, &settings.signing_table) {
            (Some(keys), Some(authors)) => (keys, authors),
            (None, None) => return None,
            (Some(_), None) => {
                problems.push(Problem::new("signing.key_table", "needs signing_table beside it"));
                return None;
            }
            (None, Some(_)) => {
                problems.push(Problem::new("signing.signing_table", "needs key_table beside it"));
                return None;
            }
        };
        let (authors_file, wildcards) = match authors_file.strip_prefix("refile:") {
            Some(file) => (Path::new(file), true),
            None => (Path::new(authors_file.strip_prefix("file:").unwrap_or(authors_file)), false),
        };
        for file in [keys_file, authors_file] {
            files.push((file.to_owned(), stamp(file)));
        }
        let mut wrong = |key: &str, why: String| problems.push(Problem::new(key, why));
        let keys = read_text(keys_file).and_then(|text| key_table(&text, keys_file));
        let keys = keys.map_err(|why| wrong("signing.key_table", why)).ok()?;
        let authors =
            read_text(authors_file).and_then(|text| signing_table(&text, authors_file, wildcards, &keys));
        let authors = authors.map_err(|why| wrong("signing.signing_table", why)).ok()?;
        let mut read = HashMap::new();
        for key in keys.values() {
            let KeySource::File(file) = &key.key else { continue };
            if !read.contains_key(file) {
                files.push((file.clone(), stamp(file)));
                match read_key(file) {
                    Ok(key) => drop(read.insert(file.clone(), Arc::new(key))),
                    Err(why) => wrong("signing.key_table", why),
                }
            }
        }
        Some(Tables { keys, authors, read, per_domain: Mutex::default() })
    }

    /// What is to sign for an author.
    fn find(&self, local: &str, domain: &str, all: bool) -> Vec<(&Entry, &TableKey)> {
        let entries = self.authors.find(&local.to_lowercase(), domain).into_iter();
        let named = entries.map(|entry| (entry, if entry.key == "%" { domain } else { entry.key.as_str() }));
        let known = named.filter_map(|(entry, name)| Some((entry, self.keys.get(name)?)));
        known.take(if all { usize::MAX } else { 1 }).collect()
    }

    fn read_for(&self, key: &TableKey, author: &str) -> ReadKey {
        match &key.key {
            KeySource::File(file) => {
                self.read.get(file).cloned().ok_or_else(|| format!("{} was not read", file.display()))
            }
            // An author's domain is a name in DNS: it cannot lead into another folder.
            KeySource::PerDomain(_) if !is_domain(author) => Err(format!("{author:?} is no domain")),
            KeySource::PerDomain(pattern) => {
                let file = PathBuf::from(pattern.replace('%', author));
                let mut known = self.per_domain.lock().unwrap_or_else(PoisonError::into_inner);
                if known.len() >= PER_DOMAIN {
                    known.clear();
                }
                let read = || (stamp(&file), read_key(&file).map(Arc::new));
                known.entry(file.clone()).or_insert_with(read).1.clone()
            }
        }
    }

    /// Keys that are asked for are read anew where their files have changed.
    fn forget_changed(&self) {
        let mut known = self.per_domain.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|file, (before, _)| stamp(file) == *before);
    }
}

fn signer(
    key: Arc<SigningKey>,
    domain: &str,
    selector: &str,
    settings: &Settings,
    canonicalization: (Canon, Canon),
) -> Signer {
    let mut signer = Signer::new(key, domain, selector);
    signer.canonicalization = canonicalization;
    if !settings.fields.is_empty() {
        signer.fields.clone_from(&settings.fields);
    }
    if !settings.oversign.is_empty() {
        signer.oversigned.clone_from(&settings.oversign);
    }
    signer.lifetime = Some(settings.lifetime.seconds()).filter(|seconds| *seconds > 0);
    signer
}

fn on_top(name: &str, value: String) -> Edit {
    Edit::AddFolded { name: name.to_owned(), value, place: Place::Top }
}

/// Header and body as they stand on the wire: the empty line belongs to neither.
fn parted(chunks: Vec<Bytes>) -> (Vec<u8>, Vec<Bytes>) {
    let mut header = Vec::new();
    let mut chunks = chunks.into_iter();
    for chunk in chunks.by_ref() {
        let seen = header.len();
        header.extend_from_slice(&chunk);
        let from = seen.saturating_sub(3);
        let end = if header.starts_with(b"\r\n") {
            Some(0)
        } else {
            memmem::find(&header[from..], b"\r\n\r\n").map(|at| from + at + 2)
        };
        if let Some(end) = end {
            let first = chunk.slice((end + 2).saturating_sub(seen).min(chunk.len())..);
            header.truncate(end);
            return (header, std::iter::once(first).chain(chunks).collect());
        }
    }
    (header, Vec::new())
}

/// The local part of the author whose domain this is; empty where it cannot be told.
fn local_part(message: &Message, domain: &str) -> String {
    let from = message.from();
    let address = match from.rsplit_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or_default(),
        None => from.as_str(),
    };
    match address.trim().rsplit_once('@') {
        Some((local, its)) if name(its) == domain => local.trim().to_owned(),
        _ => String::new(),
    }
}

/// Whether an identity (`user@sub.domain`) is under the domain that signs (RFC 6376 section 3.5, `i=`).
fn is_within(identity: &str, domain: &str) -> bool {
    let Some((_, its)) = identity.rsplit_once('@') else { return false };
    let its = name(its);
    its == domain || its.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

/// A domain as it is compared: A-labels in lower case, without the final dot.
fn name(domain: &str) -> String {
    let plain = domain.trim().trim_end_matches('.').to_lowercase();
    idna::domain_to_ascii(&plain).unwrap_or(plain)
}

/// Letters, digits, hyphens and underscores, in labels.
fn is_domain(domain: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    domain.len() <= 253 && domain.split('.').all(label)
}

/// `relaxed/simple`; one word alone is the header's, and the body's is `simple` then (RFC 6376 section 3.5, `c=`).
fn canonicalization(text: &str) -> Result<(Canon, Canon), String> {
    let (header, body) = text.split_once('/').unwrap_or((text, "simple"));
    let one = |word: &str| match word {
        "simple" => Ok(Canon::Simple),
        "relaxed" => Ok(Canon::Relaxed),
        _ => Err(format!("{text:?} is not a pair such as relaxed/simple or relaxed/relaxed")),
    };
    Ok((one(header)?, one(body)?))
}

/// A day, which begins at midnight UTC, or a time; in seconds since 1970.
fn moment(text: &str) -> Result<i64, String> {
    let day = || text.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    let time = || text.parse::<jiff::Timestamp>().ok();
    time().or_else(|| Some(day()?.timestamp())).map(|moment| moment.as_second()).ok_or_else(|| {
        format!("{text:?} is not a day such as 2026-12-01, or a time such as 2026-12-01T06:00:00Z")
    })
}

fn check_fields(settings: &Settings, problems: &mut Vec<Problem>) {
    let is_name = |field: &String| {
        !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':' && byte != b';')
    };
    for (key, fields) in [("signing.fields", &settings.fields), ("signing.oversign", &settings.oversign)] {
        if let Some(field) = fields.iter().find(|field| !is_name(field)) {
            problems.push(Problem::new(key, format!("{field:?} is not the name of a header field")));
        }
    }
    let names_from = |fields: &[String]| fields.iter().any(|field| field.eq_ignore_ascii_case("From"));
    let fields = settings.fields.is_empty() || names_from(&settings.fields);
    if !fields && !names_from(&settings.oversign) {
        problems
            .push(Problem::new("signing.fields", "lacks From, which must be signed (RFC 6376 section 5.4)"));
    }
}

#[cfg(test)]
mod tests;
