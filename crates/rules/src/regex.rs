//! Perl's regular expressions, as SpamAssassin applies them: to octets, under `/aa`.
//!
//! An expression is read into a tree (`syntax`), which is handed to an engine of linear time where it means the same there
//! (`linear`), else to PCRE2 (`pcre`) with limits on its steps. So nothing that stands in a rule can run away: what needs more
//! is a fault.

mod begin;
mod linear;
mod literals;
mod pcre;
mod prefix;
mod set;
mod syntax;

use std::ops::Range;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::OnceLock;

use pcre2::bytes::CaptureLocations;
use regex_automata::util::pool::{Pool, PoolGuard};

pub use literals::{fold, fold_into, rarity, weight};
pub use prefix::{Beginning, Prefixes};
pub use set::is_space;
pub use syntax::SyntaxError;

/// The size of automaton up to which the linear engine is preferred, in bytes.
const SMALL: usize = 1 << 14;
/// The largest automaton, in bytes.
const LARGE: usize = 64 << 20;
/// How much of an expression is shown around an error, in bytes.
const SHOWN: usize = 200;
/// The most steps that one search takes in PCRE2.
const MATCH_LIMIT: u32 = 500_000;
/// Texts longer than that, in bytes, are looked through in pieces of it: the number of steps counts for each place at which a
/// match may begin, and would be without a bound in a text without one.
const WINDOW: usize = 16 * 1024;
/// Bytes of a window. PCRE2 doesn't count the steps of a plain repetition, `.*`, which may go through the whole text from each of them,
/// so a window must be small for the clock to be looked at in time.
const STEP: usize = 256;
/// The most steps that PCRE2 takes for all matches that begin in one window.
const WINDOW_LIMIT: u32 = 5_000_000;
/// The most work for which the linear engine is taken, as bytes of text times bytes of its automaton.
const LINEAR_WORK: usize = 1 << 34;
/// How deep its interpreter may nest. Compiled code has no use for it.
const DEPTH_LIMIT: u32 = 5_000;
/// The memory that its interpreter may take for one search, in kB.
const HEAP_LIMIT: u32 = 4_096;
/// The stack of its compiled code, in bytes.
const JIT_STACK: usize = 256 * 1024;

/// An expression that was read, and is not compiled yet.
#[derive(Debug, Clone)]
pub struct Pattern {
    parsed: syntax::Parsed,
}

/// Which engine matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Linear time.
    Linear,
    /// PCRE2, under limits.
    Backtracking,
}

/// A search that did not come to an end within its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overrun {
    /// What PCRE2 says.
    pub message: String,
}

/// A compiled expression.
#[derive(Debug)]
pub struct Matcher(Engine);

#[derive(Debug)]
enum Engine {
    /// The expression, and the same for PCRE2, for texts that are too long for so large an automaton.
    Linear(regex_automata::meta::Regex, Windows),
    Backtracking(Backtracking, Windows),
}

/// An expression for PCRE2, and room for the places of its groups: to make that each time would take longer than most searches.
#[derive(Debug)]
struct Backtracking {
    regex: pcre2::bytes::Regex,
    places: OnceLock<Pool<CaptureLocations, MakePlaces>>,
}

type MakePlaces = Box<dyn Fn() -> CaptureLocations + Send + Sync + UnwindSafe + RefUnwindSafe>;

impl Backtracking {
    fn places(&self) -> PoolGuard<'_, CaptureLocations, MakePlaces> {
        let pool = self.places.get_or_init(|| {
            let own = self.regex.clone();
            Pool::new(Box::new(move || own.capture_locations()))
        });
        pool.get()
    }
}

/// An expression for PCRE2 that looks for a match that begins in one window of the text, so that its limits and the clock count
/// for each window, and not once for each byte of the text.
#[derive(Debug)]
struct Windows {
    /// As PCRE2 writes it; `None`: what it asks for means something else in a window, or PCRE2 cannot do it.
    written: Option<Box<str>>,
    compiled: OnceLock<Result<pcre2::bytes::Regex, String>>,
}

impl Windows {
    fn new(node: &syntax::Node) -> Windows {
        let written = if depends_on_start(node) { None } else { pcre::write(node).ok() };
        Windows { written: written.map(Into::into), compiled: OnceLock::new() }
    }

    /// The first match that begins at `from` or later. `go` is asked before each window.
    fn find<T>(
        &self,
        text: &[u8],
        from: usize,
        go: &dyn Fn() -> bool,
        mut search: impl FnMut(&pcre2::bytes::Regex, usize) -> Result<Option<T>, Overrun>,
    ) -> Result<Option<T>, Overrun> {
        let overrun = |message: &str| Overrun { message: message.to_string() };
        let Some(written) = &self.written else {
            return Err(overrun("it cannot be tried on so long a text"));
        };
        let compiled = self.compiled.get_or_init(|| {
            let last = STEP - 1;
            built(
                &format!("(*LIMIT_MATCH={WINDOW_LIMIT})"),
                &format!("\\G(?s:.{{0,{last}}}?)\\K(?:{written})"),
            )
        });
        let regex = compiled.as_ref().map_err(|why| overrun(why))?;
        let mut at = from;
        while at <= text.len() {
            if !go() {
                return Err(overrun("the time for all rules was over while it was tried"));
            }
            if let Some(found) = search(regex, at)? {
                return Ok(Some(found));
            }
            at += STEP;
        }
        Ok(None)
    }
}

/// Whether it asks where the search began, or has what only the whole expression is asked for.
fn depends_on_start(node: &syntax::Node) -> bool {
    use syntax::Node;
    match node {
        Node::Assert(assert) => *assert == syntax::Assert::SearchStart,
        Node::Verbatim(_) => true,
        Node::Capture { node, .. }
        | Node::Repeat { node, .. }
        | Node::Look { node, .. }
        | Node::Atomic(node) => depends_on_start(node),
        Node::Concat(nodes) | Node::Alt(nodes) | Node::BranchReset(nodes) => {
            nodes.iter().any(depends_on_start)
        }
        Node::Conditional(condition) => {
            condition.written.contains('R')
                || condition.look.iter().chain([&condition.yes, &condition.no]).any(depends_on_start)
        }
        Node::Empty | Node::Bytes(_) | Node::Set(_) | Node::Backref(..) | Node::Keep => false,
    }
}

/// Compiled by PCRE2, with limits before those that hold for all.
fn built(limits: &str, text: &str) -> Result<pcre2::bytes::Regex, String> {
    let limits = format!("{limits}(*LIMIT_DEPTH={DEPTH_LIMIT})(*LIMIT_HEAP={HEAP_LIMIT})(*LF)");
    pcre2::bytes::RegexBuilder::new()
        .jit_if_available(true)
        .max_jit_stack_size(Some(JIT_STACK))
        // Perl takes one name for several groups.
        .build(&format!("{limits}(?J){text}"))
        .map_err(|error| error.to_string())
}

impl Pattern {
    /// Reads an expression with its delimiters and modifiers: `/…/i`, `m{…}`, `m!…!s`. The error is worded as SpamAssassin's.
    pub fn literal(text: &[u8]) -> Result<Pattern, String> {
        let (inside, modifiers) = delimited(text)?;
        Pattern::plain(inside, modifiers)
    }

    /// Reads what stands between the delimiters.
    pub fn plain(inside: &[u8], modifiers: &[u8]) -> Result<Pattern, String> {
        let worded = |error: SyntaxError| {
            let (before, after) = inside.split_at(error.at.min(inside.len()));
            let before = &before[before.len().saturating_sub(SHOWN)..];
            let after = &after[..after.len().min(SHOWN)];
            format!(
                "{} in regex; marked by <-- HERE in m/{} <-- HERE {}/",
                error.message,
                String::from_utf8_lossy(before),
                String::from_utf8_lossy(after)
            )
        };
        Ok(Pattern { parsed: syntax::parse(inside, modifiers).map_err(worded)? })
    }

    /// Texts of which every match contains one, both folded (`fold`); `None`: there are none.
    pub fn required(&self) -> Option<Vec<Vec<u8>>> {
        self.all_required().into_iter().next()
    }

    /// Several lists of such texts: every match contains one of each. The most telling list is first.
    pub fn all_required(&self) -> Vec<Vec<Vec<u8>>> {
        literals::required(&self.parsed.node)
    }

    /// Whether it may match the empty text.
    pub fn matches_empty(&self) -> bool {
        syntax::lengths(&self.parsed.node).0 == 0
    }

    /// The names of its groups.
    pub fn names(&self) -> &[Box<str>] {
        &self.parsed.names
    }

    /// Whether it asks for a character that no octet is, and so may never match what its author meant.
    pub fn is_wide(&self) -> bool {
        self.parsed.wide
    }

    /// Which engine it will be given, by its form.
    pub fn kind(&self) -> Kind {
        if self.parsed.names.is_empty() && linear::fits(&self.parsed.node) {
            Kind::Linear
        } else {
            Kind::Backtracking
        }
    }

    /// Compiles it. The error: PCRE2 cannot do what it asks for.
    pub fn compile(&self) -> Result<Matcher, String> {
        self.compile_for(false)
    }

    /// Compiles it so that matches end where Perl's do, to find one after the other.
    pub fn compile_exact(&self) -> Result<Matcher, String> {
        self.compile_for(self.ends_with_newline())
    }

    fn compile_for(&self, exact: bool) -> Result<Matcher, String> {
        let linear = |size, relaxed| {
            let fits = self.parsed.names.is_empty() && !exact;
            let regex = fits.then(|| linear::build(&self.parsed.node, size, relaxed)).flatten();
            regex.map(|regex| Matcher(Engine::Linear(regex, Windows::new(&self.parsed.node))))
        };
        if let Some(matcher) = linear(SMALL, false) {
            return Ok(matcher);
        }
        // PCRE2 has no room for the largest expressions. Then an automaton of many megabytes is better than none, and one
        // that lets atomic groups give back is, too.
        self.backtracking().or_else(|why| linear(LARGE, false).or_else(|| linear(LARGE, true)).ok_or(why))
    }

    /// Compiles it for PCRE2, whatever its form.
    pub fn backtracking(&self) -> Result<Matcher, String> {
        let build = |text: &str| built(&format!("(*LIMIT_MATCH={MATCH_LIMIT})"), text);
        let node = &self.parsed.node;
        let text = pcre::write(node)?;
        // What has no room as it stands may have with its parts called.
        let smaller = |why| {
            pcre::write_shared(node).ok_or(()).and_then(|text| build(&text).map_err(drop)).map_err(|()| why)
        };
        let own = Backtracking { regex: build(&text).or_else(smaller)?, places: OnceLock::new() };
        Ok(Matcher(Engine::Backtracking(own, Windows::new(node))))
    }

    /// Whether a match may be told one newline longer than Perl tells it.
    fn ends_with_newline(&self) -> bool {
        fn holds(node: &syntax::Node) -> bool {
            use syntax::Node;
            match node {
                Node::Assert(assert) => *assert == syntax::Assert::TextEndOrNewline,
                Node::Capture { node, .. } | Node::Repeat { node, .. } => holds(node),
                Node::Concat(nodes) | Node::Alt(nodes) => nodes.iter().any(holds),
                _ => false,
            }
        }
        holds(&self.parsed.node)
    }
}

impl Matcher {
    /// The first match that begins at `from` or later; what stands before is seen by look-behinds.
    pub fn find(&self, text: &[u8], from: usize) -> Result<Option<Range<usize>>, Overrun> {
        self.find_while(text, from, &|| true)
    }

    /// The same, as long as `go` says so: it is asked now and then in long texts. That it did not is an overrun.
    pub fn find_while(
        &self,
        text: &[u8],
        from: usize,
        go: &dyn Fn() -> bool,
    ) -> Result<Option<Range<usize>>, Overrun> {
        if from > text.len() {
            return Ok(None);
        }
        let length = text.len() - from;
        match &self.0 {
            Engine::Linear(regex, windows)
                if length > WINDOW && length.saturating_mul(regex.memory_usage()) > LINEAR_WORK =>
            {
                windows.find(text, from, go, |regex, at| found(regex, text, at))
            }
            Engine::Backtracking(_, windows) if length > WINDOW && windows.written.is_some() => {
                windows.find(text, from, go, |regex, at| found(regex, text, at))
            }
            Engine::Linear(regex, _) => {
                let input = regex_automata::Input::new(text).span(from..text.len());
                Ok(regex.find(input).map(|found| found.range()))
            }
            Engine::Backtracking(own, _) => found(&own.regex, text, from),
        }
    }

    /// As `find`, with the texts of named groups that took part and are not empty.
    pub fn captures(&self, text: &[u8], from: usize) -> Result<Option<Captured>, Overrun> {
        self.captures_while(text, from, &|| true)
    }

    /// The same, as long as `go` says so.
    pub fn captures_while(
        &self,
        text: &[u8],
        from: usize,
        go: &dyn Fn() -> bool,
    ) -> Result<Option<Captured>, Overrun> {
        let Engine::Backtracking(own, windows) = &self.0 else {
            return Ok(self.find_while(text, from, go)?.map(|range| (range, Vec::new())));
        };
        if from > text.len() {
            return Ok(None);
        }
        if text.len() - from > WINDOW && windows.written.is_some() {
            let mut places = None;
            return windows.find(text, from, go, |regex, at| {
                captured(regex, places.get_or_insert_with(|| regex.capture_locations()), text, at)
            });
        }
        captured(&own.regex, &mut own.places(), text, from)
    }

    /// Where a group by number stands in the first match, if it took part. Only for `Pattern::backtracking`.
    pub fn group(&self, text: &[u8], number: usize) -> Result<Option<Range<usize>>, Overrun> {
        let Engine::Backtracking(own, _) = &self.0 else { return Ok(None) };
        let mut places = own.places();
        let found = own.regex.captures_read_at(&mut places, text, 0).map_err(overrun)?;
        Ok(found.and_then(|_| places.get(number)).map(|(start, end)| start..end))
    }

    /// As `find`, with the place of the first group, if it took part. Only for `Pattern::backtracking`.
    pub fn first_group(&self, text: &[u8], from: usize) -> Result<Option<WithGroup>, Overrun> {
        let Engine::Backtracking(own, _) = &self.0 else { return Ok(None) };
        if from > text.len() {
            return Ok(None);
        }
        let mut places = own.places();
        let found = own.regex.captures_read_at(&mut places, text, from).map_err(overrun)?;
        Ok(found.map(|found| {
            let group = places.get(1).filter(|(start, end)| start <= end);
            (found.start()..found.end().max(found.start()), group.map(|(start, end)| start..end))
        }))
    }

    /// Which engine it is.
    pub fn kind(&self) -> Kind {
        match &self.0 {
            Engine::Linear(..) => Kind::Linear,
            Engine::Backtracking(..) => Kind::Backtracking,
        }
    }
}

/// Where a match is, and its first group.
pub type WithGroup = (Range<usize>, Option<Range<usize>>);

/// Where a match is, and the texts of its named groups.
pub type Captured = (Range<usize>, Vec<(String, Vec<u8>)>);

fn found(regex: &pcre2::bytes::Regex, text: &[u8], from: usize) -> Result<Option<Range<usize>>, Overrun> {
    let found = regex.find_at(text, from).map_err(overrun)?;
    // \K in a look-ahead can put the start behind the end.
    Ok(found.map(|found| found.start()..found.end().max(found.start())))
}

fn captured(
    regex: &pcre2::bytes::Regex,
    places: &mut CaptureLocations,
    text: &[u8],
    from: usize,
) -> Result<Option<Captured>, Overrun> {
    let Some(found) = regex.captures_read_at(places, text, from).map_err(overrun)? else {
        return Ok(None);
    };
    let range = found.start()..found.end().max(found.start());
    let named = regex.capture_names().iter().enumerate().filter_map(|(index, name)| {
        let (start, end) = places.get(index)?;
        let text = text.get(start..end).filter(|text| !text.is_empty())?;
        Some((name.as_deref()?.to_string(), text.to_vec()))
    });
    Ok(Some((range, named.collect())))
}

fn overrun(error: pcre2::Error) -> Overrun {
    Overrun { message: error.to_string() }
}

/// What stands between the delimiters, and the modifiers behind them.
pub fn delimited(text: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let (inside, end) = match text {
        [b'/', rest @ ..] => (rest, b'/'),
        [b'm', open, rest @ ..] | [b'q', b'r', open, rest @ ..] => match open {
            b'{' => (rest, b'}'),
            b'(' => (rest, b')'),
            b'<' => (rest, b'>'),
            b'[' => (rest, b']'),
            b'\\' => return Err("backslash delimiter not allowed".into()),
            other if other.is_ascii_alphanumeric() || *other == b'_' => {
                return Err("missing regexp delimiters".into());
            }
            other => (rest, *other),
        },
        _ => return Err("missing regexp delimiters".into()),
    };
    let modifiers = inside.iter().rev().take_while(|b| b.is_ascii_lowercase() && **b != b'e').count();
    let Some(close) = (inside.len() - modifiers).checked_sub(1).filter(|&at| inside[at] == end) else {
        return Err("invalid end delimiter/mods".into());
    };
    let (pattern, modifiers) = (&inside[..close], &inside[close + 1..]);
    if memchr::memmem::find(pattern, b"(?{").is_some() || memchr::memmem::find(pattern, b"(??{").is_some() {
        return Err("eval (?{}) found".into());
    }
    if !matches!(end, b'}' | b')' | b']') && unescaped(pattern, end) {
        return Err(format!("unquoted delimiter '{}' found", char::from(end)));
    }
    Ok((pattern, modifiers))
}

/// Whether a delimiter stands in it without a backslash before it.
fn unescaped(pattern: &[u8], delimiter: u8) -> bool {
    let mut escaped = false;
    pattern.iter().any(|&byte| {
        let found = byte == delimiter && !escaped;
        escaped = byte == b'\\' && !escaped;
        found
    })
}

/// Whether SpamAssassin says of it, when it lints, that it always matches; and why.
pub fn always_matches(pattern: &[u8]) -> Option<&'static str> {
    let double = pattern
        .windows(2)
        .enumerate()
        .any(|(at, pair)| pair == b"||" && (at == 0 || pattern[at - 1] != b'\\'));
    if pattern.is_empty() {
        Some("empty")
    } else if double {
        Some("contains '||'")
    } else if pattern.starts_with(b"|") || pattern.ends_with(b"|") && !pattern.ends_with(b"\\|") {
        Some("starts or ends with '|'")
    } else {
        None
    }
}
