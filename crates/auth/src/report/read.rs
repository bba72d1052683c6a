//! Reading reports that came: XML, bare or packed or in a mail.
//!
//! Others write what the schema does not allow, and leave out what it demands; what can be understood is taken, the rest
//! is told. Nothing is expanded, and everything is bounded.

use std::fmt;

use bytes::Bytes;
use memchr::memmem;
use quick_xml::events::{BytesRef, Event};
use quick_xml::reader::Reader;

use super::{Discovery, Disposition, DkimResult, Override, Published, Reason, Report, Row, SpfResult};
use crate::dmarc::{Mode, Policy, ascii_name, shown};

/// What reading may cost.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Unpacking.
    pub unpack: gatepost_mail::Limits,
    /// Rows of one report.
    pub rows: usize,
    /// Reports of one file.
    pub reports: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        let unpack = gatepost_mail::Limits {
            depth: 6,
            parts: 100,
            bytes: 100 << 20,
            ..gatepost_mail::Limits::default()
        };
        Limits { unpack, rows: 200_000, reports: 20 }
    }
}

/// Nesting of elements, characters of a text, signatures and reasons of a row, problems that are told.
const DEPTH: usize = 12;
const TEXT: usize = 1000;
const ITEMS: usize = 100;
const PROBLEMS: usize = 20;

/// A report that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The report.
    pub report: Report,
    /// What was left out or guessed.
    pub problems: Vec<String>,
}

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread(String);

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unread {}

/// Reads all reports of a file: XML, gzip, zip, or a mail with such attachments. An error if there is none that can be
/// read.
pub fn read(file: Bytes, limits: &Limits) -> Result<Vec<Received>, Unread> {
    let opened = gatepost_unpack::read_file(file, None, &limits.unpack);
    let mut reports = Vec::new();
    let mut failure = None;
    for part in opened.parts.iter().filter(|part| !part.container && looks_like_one(&part.body)) {
        match read_xml(&part.body, limits) {
            Ok(received) if reports.contains(&received) => {}
            Ok(received) => reports.push(received),
            Err(why) => failure = failure.or(Some(why)),
        }
        if reports.len() == limits.reports {
            break;
        }
    }
    if !reports.is_empty() {
        return Ok(reports);
    }
    let defect = opened.defects.first().map(|defect| format!(": {}", defect.kind.name()));
    Err(failure.unwrap_or_else(|| {
        Unread(format!("there is no aggregate report in it{}", defect.unwrap_or_default()))
    }))
}

/// Whether XML with the root of a report begins here.
fn looks_like_one(body: &[u8]) -> bool {
    /// Comments may stand before the root.
    const FIRST: usize = 4096;
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    body.starts_with(b"<") && memmem::find(&body[..body.len().min(FIRST)], b"feedback").is_some()
}

/// Reads one report.
pub fn read_xml(xml: &[u8], limits: &Limits) -> Result<Received, Unread> {
    let text = String::from_utf8_lossy(xml.strip_prefix(b"\xef\xbb\xbf").unwrap_or(xml));
    let mut reader = Reader::from_str(text.trim_start());
    let mut found = Found::new(limits.rows);
    loop {
        let at = reader.buffer_position();
        let event = reader.read_event().map_err(|why| Unread(format!("it is no XML at byte {at}: {why}")))?;
        match event {
            Event::Start(tag) => found.open(tag.local_name().as_ref())?,
            Event::Empty(tag) => {
                found.open(tag.local_name().as_ref())?;
                found.close();
            }
            Event::End(_) => found.close(),
            Event::Text(text) => found.text(&text),
            Event::CData(text) => found.text(&text),
            Event::GeneralRef(reference) => found.reference(&reference)?,
            // Where entities could be declared.
            Event::DocType(_) => {
                return Err(Unread("it declares a document type, which no report needs".into()));
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => return found.finish(),
        }
    }
}

/// What was read so far.
struct Found {
    /// The names of the open elements, joined by slashes, and where each begins.
    path: String,
    starts: Vec<usize>,
    text: String,
    report: Report,
    row: Row,
    source: Option<std::net::IpAddr>,
    dkim: DkimResult,
    spf: SpfResult,
    reason: Reason,
    has_policy: bool,
    most_rows: usize,
    problems: Vec<String>,
}

impl Found {
    fn new(most_rows: usize) -> Found {
        let published = Published {
            domain: String::new(),
            discovery: None,
            p: Policy::None,
            sp: None,
            np: None,
            adkim: Mode::Relaxed,
            aspf: Mode::Relaxed,
            fo: None,
            testing: false,
        };
        let report = Report {
            org_name: String::new(),
            email: String::new(),
            extra_contact: None,
            id: String::new(),
            begin: 0,
            end: 0,
            error: None,
            generator: None,
            published,
            rows: Vec::new(),
        };
        Found {
            path: String::new(),
            starts: Vec::new(),
            text: String::new(),
            report,
            row: empty_row(),
            source: None,
            dkim: DkimResult::default(),
            spf: SpfResult::default(),
            reason: Reason { kind: Override::Other, comment: String::new() },
            has_policy: false,
            most_rows,
            problems: Vec::new(),
        }
    }

    fn open(&mut self, name: &str) -> Result<(), Unread> {
        if self.starts.len() == DEPTH || name.len() > 200 {
            return Err(Unread("its elements nest too deeply".into()));
        }
        if self.starts.is_empty() && name != "feedback" {
            return Err(Unread(format!("its root is {}, not feedback", shown(name))));
        }
        self.starts.push(self.path.len());
        if !self.path.is_empty() {
            self.path.push('/');
        }
        self.path.push_str(name);
        self.text.clear();
        Ok(())
    }

    fn text(&mut self, text: &str) {
        let room = TEXT.saturating_sub(self.text.len());
        self.text.push_str(&text[..text.floor_char_boundary(room.min(text.len()))]);
    }

    fn reference(&mut self, reference: &BytesRef<'_>) -> Result<(), Unread> {
        let resolved = match reference.resolve_char_ref() {
            Ok(Some(c)) => Some(c),
            Ok(None) => match &**reference {
                "amp" => Some('&'),
                "lt" => Some('<'),
                "gt" => Some('>'),
                "quot" => Some('"'),
                "apos" => Some('\''),
                _ => None,
            },
            Err(_) => None,
        };
        let c = resolved.ok_or_else(|| Unread(format!("it has the unknown entity {}", shown(reference))))?;
        self.text(c.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn problem(&mut self, what: String) {
        if self.problems.len() < PROBLEMS && !self.problems.contains(&what) {
            self.problems.push(what);
        }
    }

    fn close(&mut self) {
        let text = std::mem::take(&mut self.text);
        let text = text.trim();
        let path = std::mem::take(&mut self.path);
        let inner = path.strip_prefix("feedback/").unwrap_or_default();
        match inner.split_once('/') {
            Some(("report_metadata", name)) => self.metadata(name, text),
            Some(("policy_published", name)) => self.policy(name, text),
            Some(("record", name)) => self.record(name, text),
            None if inner == "record" => self.end_of_row(),
            _ => {}
        }
        self.path = path;
        let start = self.starts.pop().unwrap_or(0);
        self.path.truncate(start);
    }

    fn metadata(&mut self, name: &str, text: &str) {
        let report = &mut self.report;
        match name {
            "org_name" => text.clone_into(&mut report.org_name),
            "email" => text.clone_into(&mut report.email),
            "extra_contact_info" => report.extra_contact = some(text),
            "report_id" => text.clone_into(&mut report.id),
            "error" => report.error = some(text),
            "generator" => report.generator = some(text),
            "date_range/begin" | "date_range/end" => {
                let time = text.parse().unwrap_or(0);
                *(if name.ends_with("begin") { &mut report.begin } else { &mut report.end }) = time;
            }
            _ => {}
        }
    }

    fn policy(&mut self, name: &str, text: &str) {
        let policy = Policy::from_name(text);
        let mode = if text.eq_ignore_ascii_case("s") { Mode::Strict } else { Mode::Relaxed };
        let published = &mut self.report.published;
        match name {
            "domain" => published.domain = lower(text),
            "p" => {
                self.has_policy = policy.is_some();
                published.p = policy.unwrap_or_default();
            }
            "sp" => published.sp = policy,
            "np" => published.np = policy,
            "adkim" => published.adkim = mode,
            "aspf" => published.aspf = mode,
            "fo" => published.fo = some(text),
            "testing" => published.testing = text.eq_ignore_ascii_case("y"),
            "discovery_method" => {
                published.discovery = match text {
                    "psl" => Some(Discovery::Psl),
                    "treewalk" => Some(Discovery::TreeWalk),
                    _ => None,
                }
            }
            _ => {}
        }
    }

    fn record(&mut self, name: &str, text: &str) {
        let row = &mut self.row;
        let word = || text.to_ascii_lowercase();
        match name {
            "row/source_ip" => self.source = text.parse().ok(),
            "row/count" => row.count = text.parse().unwrap_or(0),
            "row/policy_evaluated/disposition" => match Disposition::from_name(text) {
                Some(disposition) => row.disposition = disposition,
                None => self.problem(format!("the disposition {} counts as none", shown(text))),
            },
            "row/policy_evaluated/dkim" => row.dkim_aligned = word() == "pass",
            "row/policy_evaluated/spf" => row.spf_aligned = word() == "pass",
            "row/policy_evaluated/reason/type" => self.reason.kind = Override::from_name(&word()),
            "row/policy_evaluated/reason/comment" => text.clone_into(&mut self.reason.comment),
            "row/policy_evaluated/reason" => {
                let empty = Reason { kind: Override::Other, comment: String::new() };
                let reason = std::mem::replace(&mut self.reason, empty);
                if row.reasons.len() < ITEMS {
                    row.reasons.push(reason);
                }
            }
            // "identities" is what some reporters write.
            "identifiers/header_from" | "identities/header_from" => row.header_from = lower(text),
            "identifiers/envelope_from" | "identities/envelope_from" => row.envelope_from = Some(lower(text)),
            "identifiers/envelope_to" | "identities/envelope_to" => row.envelope_to = some(&lower(text)),
            "auth_results/dkim/domain" => self.dkim.domain = lower(text),
            "auth_results/dkim/selector" => self.dkim.selector = some(text),
            "auth_results/dkim/result" => self.dkim.result = word(),
            "auth_results/dkim/human_result" => self.dkim.human = some(text),
            "auth_results/dkim" => {
                let signature = std::mem::take(&mut self.dkim);
                if !signature.domain.is_empty() && row.dkim.len() < ITEMS {
                    row.dkim.push(signature);
                }
            }
            "auth_results/spf/domain" => self.spf.domain = lower(text),
            "auth_results/spf/scope" => self.spf.scope = some(&word()),
            "auth_results/spf/result" => self.spf.result = word(),
            "auth_results/spf/human_result" => self.spf.human = some(text),
            "auth_results/spf" => {
                let spf = std::mem::take(&mut self.spf);
                // Of several the one of MAIL FROM counts.
                if row.spf.is_none() || spf.scope.as_deref() == Some("mfrom") {
                    row.spf = Some(spf).filter(|spf| !spf.domain.is_empty());
                }
            }
            _ => {}
        }
    }

    fn end_of_row(&mut self) {
        let mut row = std::mem::replace(&mut self.row, empty_row());
        (self.dkim, self.spf) = Default::default();
        match self.source.take() {
            None => self.problem("a row without an address of its sender is left out".into()),
            Some(_) if row.count == 0 => self.problem("a row without messages is left out".into()),
            Some(_) if self.report.rows.len() >= self.most_rows => {
                self.problem(format!("rows beyond {} are left out", self.most_rows));
            }
            Some(source) => {
                row.source = source;
                self.report.rows.push(row);
            }
        }
    }

    fn finish(mut self) -> Result<Received, Unread> {
        if !self.starts.is_empty() {
            return Err(Unread("it ends before its root does".into()));
        }
        let domain = &self.report.published.domain;
        if ascii_name(domain).is_none() {
            return Err(Unread(format!("its policy's domain is {}, which is none", shown(domain))));
        }
        if self.report.rows.is_empty() {
            return Err(Unread("it has no row".into()));
        }
        if self.report.id.is_empty() {
            self.problem("it has no id".into());
        }
        if !self.has_policy {
            self.problem("it tells no policy, which counts as none".into());
        }
        if !(0 < self.report.begin && self.report.begin <= self.report.end) {
            self.problem("its span of time is none".into());
        }
        Ok(Received { report: self.report, problems: self.problems })
    }
}

fn empty_row() -> Row {
    Row {
        source: std::net::Ipv4Addr::UNSPECIFIED.into(),
        count: 0,
        disposition: Disposition::None,
        dkim_aligned: false,
        spf_aligned: false,
        reasons: Vec::new(),
        header_from: String::new(),
        envelope_from: None,
        envelope_to: None,
        dkim: Vec::new(),
        spf: None,
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn lower(text: &str) -> String {
    text.trim_end_matches('.').to_lowercase()
}
