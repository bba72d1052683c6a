//! The functions of SpamAssassin's plugins (`eval:` rules), written anew.
//!
//! `Native` answers those of one message. Functions that ask over the network answer by what other checks have found
//! (`Known`), and else as SpamAssassin does without a network. A function that is not in the tables here is not native:
//! `is_native` says so, for the linter and the documentation.

mod access;
mod adsp;
mod antivirus;
mod authres;
mod blocks;
mod body;
mod dates;
mod freemail;
mod header;
mod html;
mod image;
mod language;
mod links;
mod lists;
mod mime;
mod net;
mod office;
mod pattern;
mod pdf;
mod phishing;
mod relay;
mod shorteners;
mod spoof;
#[cfg(test)]
mod tests;

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock, RwLock};
use std::time::Instant;

use bytes::Bytes;

use crate::conf::{Place, Settings};
use crate::engine::{Answer, Call, Evals};
use crate::regex::{Matcher, Pattern};
use crate::texts::{HeaderRequest, HtmlFacts, Tags, Texts};

pub use access::{Access, NAME as ACCESS_FUNCTION};
pub use phishing::{Feed, Phishing};

pub(crate) use lists::from_addresses;

/// A function of a plugin.
type Function = fn(&Native<'_>, &Call<'_>) -> Answer;

static TABLE: LazyLock<HashMap<&'static str, Function>> = LazyLock::new(|| {
    let single = [
        html::FUNCTIONS,
        mime::FUNCTIONS,
        body::FUNCTIONS,
        header::FUNCTIONS,
        dates::FUNCTIONS,
        relay::FUNCTIONS,
        freemail::FUNCTIONS,
        links::FUNCTIONS,
        image::FUNCTIONS,
        pdf::FUNCTIONS,
        office::FUNCTIONS,
        spoof::FUNCTIONS,
        antivirus::FUNCTIONS,
        shorteners::FUNCTIONS,
        phishing::FUNCTIONS,
        language::FUNCTIONS,
        access::FUNCTIONS,
        authres::FUNCTIONS,
        blocks::FUNCTIONS,
    ];
    let several = lists::FUNCTIONS.iter().chain(net::FUNCTIONS);
    single.iter().chain(several).flat_map(|table| table.iter().copied()).collect()
});

/// Whether a function is answered here.
pub fn is_native(name: &str) -> bool {
    TABLE.contains_key(name)
}

/// The names of all functions that are answered here, sorted.
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = TABLE.keys().copied().collect();
    names.sort_unstable();
    names
}

/// A result of SPF (RFC 7208 section 2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpfResult {
    /// The client may send for the domain.
    Pass,
    /// The domain does not say.
    Neutral,
    /// The domain has no record.
    None,
    /// The client may not send for it.
    Fail,
    /// It should not.
    Softfail,
    /// The record is in error.
    Permerror,
    /// The DNS did not answer.
    Temperror,
}

impl SpfResult {
    fn parse(text: &[u8]) -> Option<SpfResult> {
        Some(match text.to_ascii_lowercase().as_slice() {
            b"pass" => SpfResult::Pass,
            b"neutral" => SpfResult::Neutral,
            b"none" => SpfResult::None,
            b"fail" | b"hardfail" => SpfResult::Fail,
            b"softfail" => SpfResult::Softfail,
            b"permerror" => SpfResult::Permerror,
            b"temperror" => SpfResult::Temperror,
            _ => return None,
        })
    }
}

/// A DKIM signature that was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signature {
    /// The domain of its `i=`, or its `d=`, in lower case.
    pub identity_domain: String,
    /// It verifies, has not expired, and its key is long enough.
    pub valid: bool,
    /// Its key is one for tests (`t=y`).
    pub testing: bool,
    /// Its key could not be looked up, so that nobody knows whether it is valid.
    pub unknown: bool,
}

/// A result of DMARC.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dmarc {
    /// SPF or DKIM vouch for the author's domain.
    pub pass: bool,
    /// `none`, `quarantine`, `reject`; None: the domain has no policy.
    pub policy: Option<String>,
}

/// What other checks have found. What is None was not looked at.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// SPF of the envelope's sender.
    pub spf: Option<SpfResult>,
    /// SPF of HELO.
    pub spf_helo: Option<SpfResult>,
    /// All DKIM signatures.
    pub dkim: Option<Vec<Signature>>,
    /// Whether the ARC chain holds; None also if there is none.
    pub arc: Option<bool>,
    /// DMARC of the author's domain.
    pub dmarc: Option<Dmarc>,
    /// Values of tags that stand in names which `askdns` and `check_hashbl_tag` ask for (`DKIMDOMAIN`, `RELAYCOUNTRY` …), and
    /// those that answers have given (`ASN`, `RBL` …).
    pub tags: HashMap<String, Vec<String>>,
    /// Answers for rules whose functions ask the DNS or a service, by the rule's name.
    pub rules: HashMap<String, Answer>,
    /// Hits of rules that have no function (`askdns`).
    pub others: Vec<(String, Answer)>,
}

/// An expression made ready, or why it cannot be.
type Compiled = Result<Arc<Matcher>, String>;

/// What functions keep for all messages: expressions in their arguments, compiled once, and files that settings name.
#[derive(Debug, Default)]
pub struct Patterns {
    compiled: RwLock<HashMap<Box<[u8]>, Compiled>>,
    wild: OnceLock<Vec<String>>,
    /// Files, read by whoever reads the rules.
    pub files: Files,
}

/// Contents of files that settings or arguments of functions name.
#[derive(Debug, Default)]
pub struct Files {
    /// Feeds of Phishing.
    pub phishing: Phishing,
    /// Tables of AccessDB, by file.
    pub access: HashMap<String, Access>,
}

impl Patterns {
    /// With files that were read.
    pub fn with(files: Files) -> Patterns {
        Patterns { files, ..Patterns::default() }
    }

    /// Compiled, without delimiters around it.
    fn compiled(&self, text: &[u8]) -> Result<Arc<Matcher>, String> {
        self.made(text, |text| Pattern::plain(text, b"")?.compile())
    }

    /// Compiled, with delimiters around it or without.
    fn either(&self, text: &[u8]) -> Result<Arc<Matcher>, String> {
        let delimited = match text {
            [b'/', ..] => true,
            [b'm', next, ..] | [b'q', b'r', next, ..] => !(next.is_ascii_alphanumeric() || *next == b'_'),
            _ => false,
        };
        if !delimited {
            return self.compiled(text);
        }
        self.made(text, |text| Pattern::literal(text)?.compile())
    }

    /// Compiled so that its groups can be asked for.
    fn grouping(&self, text: &[u8]) -> Result<Arc<Matcher>, String> {
        self.made(text, |text| Pattern::plain(text, b"")?.backtracking())
    }

    fn made(
        &self,
        text: &[u8],
        make: impl FnOnce(&[u8]) -> Result<Matcher, String>,
    ) -> Result<Arc<Matcher>, String> {
        if let Ok(all) = self.compiled.read()
            && let Some(found) = all.get(text)
        {
            return found.clone();
        }
        let made = make(text).map(Arc::new);
        if let Ok(mut all) = self.compiled.write() {
            all.insert(text.into(), made.clone());
        }
        made
    }

    /// The domains of `freemail_domains` with wild cards.
    fn wild(&self, settings: &Settings) -> &[String] {
        self.wild.get_or_init(|| {
            let all = settings.words("freemail_domains").into_iter().flatten();
            all.filter(|domain| domain.contains(['*', '?'])).cloned().collect()
        })
    }
}

/// What is made out once in a message.
#[derive(Debug, Default)]
struct Memo {
    attachments: OnceCell<mime::Attachments>,
    uppercase: OnceCell<f64>,
    base64: OnceCell<usize>,
    blank: OnceCell<(usize, usize)>,
    vertical: OnceCell<i64>,
    stock: OnceCell<usize>,
    difference: OnceCell<(f64, usize, usize)>,
    shift: OnceCell<i64>,
    from: OnceCell<Vec<Vec<u8>>>,
    to: OnceCell<Vec<Vec<u8>>>,
    free: OnceCell<Option<Vec<Vec<u8>>>>,
    images: OnceCell<HashMap<&'static str, image::Pictures>>,
    redirected: OnceCell<bool>,
    bounced: OnceCell<bool>,
    links: OnceCell<Vec<(bool, usize)>>,
    received: OnceCell<i64>,
    names: OnceCell<spoof::Names>,
    programs: OnceCell<(bool, bool)>,
    authres: OnceCell<authres::Results>,
}

/// Answers functions of plugins for one message.
#[derive(Debug)]
pub struct Native<'a> {
    texts: &'a Texts<'a>,
    settings: &'a Settings,
    known: &'a Known,
    patterns: &'a Patterns,
    memo: Memo,
    /// When the time for all rules is over.
    end: Option<Instant>,
    /// What the function that is called now has not looked at, and why.
    left_out: Cell<Option<&'static str>>,
}

/// Why something is left out: a function has looked at as much as it may.
const TOO_LATE: &str = "the time for all rules was over while it was looked at";
const TOO_HARD: &str = "an expression met its limits";

/// Steps after which a function looks at the clock.
const STEPS: usize = 64;

impl<'a> Native<'a> {
    /// For a message. `patterns` is kept as long as the settings are.
    pub fn new(
        texts: &'a Texts<'a>,
        settings: &'a Settings,
        known: &'a Known,
        patterns: &'a Patterns,
    ) -> Native<'a> {
        let (memo, left_out) = (Memo::default(), Cell::new(None));
        Native { texts, settings, known, patterns, memo, end: None, left_out }
    }

    /// Functions look for no longer than that; what they have not looked at by then is a fault.
    pub fn until(mut self, end: Instant) -> Native<'a> {
        self.end = Some(end);
        self
    }

    /// Whether the time is over. Then the function that asks shall come to an end, and its rule has a fault.
    fn is_over(&self) -> bool {
        let over = self.end.is_some_and(|end| Instant::now() >= end);
        if over {
            self.leave_out(TOO_LATE);
        }
        over
    }

    /// The same, looking at the clock now and then: `step` counts.
    fn is_over_at(&self, step: usize) -> bool {
        step % STEPS == STEPS - 1 && self.is_over()
    }

    /// The function that is called now does not look at all it should.
    fn leave_out(&self, why: &'static str) {
        self.left_out.set(Some(why));
    }

    /// Whether an expression matches, within the time.
    fn matches(&self, matcher: &Matcher, text: &[u8]) -> bool {
        match matcher.find_while(text, 0, &|| !self.is_over()) {
            Ok(found) => found.is_some(),
            Err(_) => {
                // That it is late is known already.
                if !self.is_over() {
                    self.leave_out(TOO_HARD);
                }
                false
            }
        }
    }

    /// The values of a field or pseudo header.
    fn values(&self, request: &str) -> Vec<Bytes> {
        self.texts.header(&HeaderRequest::parse(request)).0
    }

    /// The same in one text, if there is any: of addresses and names the first, as SpamAssassin's functions see them.
    fn header(&self, request: &str) -> Option<Bytes> {
        let request = HeaderRequest::parse(request);
        let HeaderRequest { addr, display_name, host, ip, .. } = request;
        let one = addr || display_name || host || ip || request.name == "EnvelopeFrom";
        let values = self.texts.header(&request);
        if !one {
            return values.joined();
        }
        let first = values.0.into_iter().next()?;
        Some(first.slice(..first.strip_suffix(b"\n").unwrap_or(&first).len()))
    }

    /// The same, empty if there is none.
    fn value(&self, request: &str) -> Bytes {
        self.header(request).unwrap_or_default()
    }

    /// The fields of that name, decoded.
    fn decoded(&self, name: &str) -> Vec<Bytes> {
        self.texts.tree().nodes[0].header.all(name.as_bytes()).map(|field| field.decoded().clone()).collect()
    }

    /// Whether that is so for some page.
    fn pages(&self, hit: impl Fn(&HtmlFacts) -> bool) -> bool {
        self.texts.html().iter().any(|page| hit(page))
    }

    /// Whether the message is a page.
    fn is_page(&self) -> bool {
        self.value("Content-Type").get(..9).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/html"))
    }

    fn attachments(&self) -> &mime::Attachments {
        self.memo.attachments.get_or_init(|| mime::look(self))
    }

    fn difference(&self) -> (f64, usize, usize) {
        *self.memo.difference.get_or_init(|| body::difference(self))
    }

    fn senders(&self) -> &[Vec<u8>] {
        self.memo.from.get_or_init(|| lists::from_addresses(self.texts))
    }

    fn to_addresses(&self) -> &[Vec<u8>] {
        self.memo.to.get_or_init(|| lists::to_addresses(self))
    }

    fn free_in_body(&self) -> Option<&Vec<Vec<u8>>> {
        self.memo.free.get_or_init(|| freemail::in_body(self)).as_ref()
    }

    /// How long the text is that rules of this kind look at, in octets: `rawbody` rules may call functions of `body` rules.
    fn length(&self, call: &Call<'_>) -> usize {
        let texts = match call.place {
            Place::RawBody => self.texts.rawbody(),
            _ => self.texts.body(),
        };
        texts.iter().map(|text| text.len()).sum()
    }

    /// Whether an expression that is an argument matches one of the texts.
    fn any_matches<'t>(
        &self,
        call: &Call<'_>,
        index: usize,
        texts: impl Iterator<Item = &'t [u8]>,
    ) -> Answer {
        let Some(pattern) = call.args.get(index) else { return of(false) };
        match self.patterns.either(&pattern.0) {
            Ok(matcher) => {
                let mut texts = texts;
                of(texts.any(|text| self.matches(&matcher, text)))
            }
            Err(fault) => Answer { fault: Some(fault), ..Answer::default() },
        }
    }

    fn images(&self, kind: &str) -> Option<&image::Pictures> {
        self.memo.images.get_or_init(|| image::look(self)).get(kind)
    }
}

impl Evals for Native<'_> {
    fn call(&self, call: &Call<'_>) -> Option<Answer> {
        let function = TABLE.get(call.function)?;
        self.left_out.set(None);
        let mut answer = function(self, call);
        if let Some(why) = self.left_out.take() {
            answer
                .fault
                .get_or_insert_with(|| format!("{} has not looked at everything: {why}", call.function));
        }
        Some(answer)
    }

    fn others(&self) -> Vec<(String, Answer)> {
        self.known.others.clone()
    }

    fn tags(&self) -> Tags {
        let mut tags = self.texts.tags();
        let known = self.known.tags.iter();
        tags.extend(known.map(|(tag, values)| {
            (tag.clone(), values.iter().map(|value| value.clone().into_bytes()).collect())
        }));
        if self.settings.is_loaded("FromNameSpoof") {
            tags.extend(spoof::names(self).tags.iter().cloned());
        }
        let known = self.known.tags.iter();
        let bytes = |values: &Vec<String>| values.iter().map(|value| value.clone().into_bytes()).collect();
        tags.extend(known.map(|(tag, values)| (tag.clone(), bytes(values))));
        tags
    }
}

fn of(hit: bool) -> Answer {
    Answer::of(hit)
}

/// An argument as text; empty if it is missing.
fn text(call: &Call<'_>, index: usize) -> String {
    call.args.get(index).map(|arg| arg.text()).unwrap_or_default()
}

/// An argument as a number; 0 if it is missing.
fn number(call: &Call<'_>, index: usize) -> f64 {
    call.args.get(index).map_or(0.0, |arg| arg.number())
}

/// A setting as a number.
fn number_of(settings: &Settings, name: &str, default: f64) -> f64 {
    settings.number(name).unwrap_or(default)
}

/// Whether `value EXPRESSION` holds, as in `< 384`.
fn compared(value: f64, expression: &str) -> bool {
    let expression = expression.trim();
    let end = expression.find(|c: char| !matches!(c, '<' | '>' | '=' | '!')).unwrap_or(expression.len());
    let Ok(other) = expression[end..].trim().parse::<f64>() else { return false };
    match &expression[..end] {
        "<" => value < other,
        "<=" => value <= other,
        ">" => value > other,
        ">=" => value >= other,
        "==" => value == other,
        "!=" => value != other,
        _ => false,
    }
}
