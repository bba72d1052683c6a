//! Automata for the beginnings of expressions that have no literal text: which of them may match in a text at all. What cannot
//! be said there (look-arounds, references) is left out, so that more may be found, never less.

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::pool::Pool;
use regex_automata::{Anchored, Input, MatchKind};
use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, Hir, Repetition};

use super::Pattern;
use super::begin::Beginnings;
use super::set::ByteSet;
use super::syntax::{Node, lengths};

/// How many bytes of the beginning are looked at, at least.
const LENGTH: usize = 6;
/// Repetitions beyond that count as endless.
const MAX_COUNT: u32 = 4;
/// What one lazy automaton may take for each thread that uses it, in bytes.
const CACHE: usize = 1 << 18;
/// How far an automaton is followed from one place, in bytes: there may be as many places as bytes in a text.
const NEAR: usize = 256;
/// The largest automaton that one is made from, in bytes.
const MAX_SIZE: usize = 4 << 20;
/// Ordinary text: what is found in it is found everywhere.
const SAMPLE: &str = "Hi Robert,\n\nthank you very much for your message of 12 January 2024; I have looked at what you sent us. We \
    could meet on Monday at 10:30, or in the week after. Please tell me whether this is convenient for your group, and who \
    else should be there. Kind regards,\nJulia Quinn-Parker\n-- \nSales & Support, Example Ltd. (Berlin), phone +49 30 \
    555-0199, http://www.example.com/contact.html?id=42\n> On Fri, 5 Jan 2024, Robert wrote:\n> > is the new version \
    available now? What does it cost, $20 or more?\n\n";

type MakeCache = Box<dyn Fn() -> Cache + Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>;

/// Beginnings of expressions: one pass for all that tells where they may stand (`begin`), and an automaton for each that is
/// asked there. One automaton for several has too many states.
#[derive(Debug)]
pub struct Prefixes {
    places: Beginnings,
    parts: Vec<Beginning>,
}

struct Beginning {
    automaton: DFA,
    caches: Pool<Cache, MakeCache>,
}

impl std::fmt::Debug for Beginning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Beginning")
    }
}

impl Prefixes {
    /// Of expressions that `is_telling`; `None`: there are none, or one is too large.
    pub fn new(patterns: &[&Pattern]) -> Option<Prefixes> {
        let part = |pattern: &&Pattern| {
            let automaton = automaton(&pattern.parsed.node)?;
            let own = automaton.clone();
            let make: MakeCache = Box::new(move || own.create_cache());
            Some(Beginning { automaton, caches: Pool::new(make) })
        };
        let parts: Vec<Beginning> = patterns.iter().map(part).collect::<Option<_>>()?;
        let places = Beginnings::new(patterns.iter().map(|pattern| &pattern.parsed.node));
        (!parts.is_empty()).then_some(Prefixes { places, parts })
    }

    /// Whether the beginning of an expression is seldom enough to be looked for.
    pub fn is_telling(pattern: &Pattern) -> bool {
        let Some(automaton) = automaton(&pattern.parsed.node) else { return false };
        let input = Input::new(SAMPLE).earliest(true);
        matches!(automaton.try_search_fwd(&mut automaton.create_cache(), &input), Ok(None))
    }

    /// Calls for each expression, by its place, that may match in the text; perhaps more than once.
    pub fn scan(&self, text: &[u8], mut each: impl FnMut(usize)) {
        let mut caches: Vec<_> = self.parts.iter().map(|_| None).collect();
        self.places.scan(text, |number, at| {
            let part = &self.parts[number];
            let cache = caches[number].get_or_insert_with(|| part.caches.get());
            // If the automaton gives up, it may.
            let found = begins(&part.automaton, cache, text, at).unwrap_or(true);
            if found {
                each(number);
            }
            found
        });
    }
}

/// Whether what the automaton looks for begins at this place; None: it cannot say, or not within `NEAR`.
fn begins(automaton: &DFA, cache: &mut Cache, text: &[u8], at: usize) -> Option<bool> {
    let input = Input::new(text).range(at..).anchored(Anchored::Yes);
    let mut state = automaton.start_state_forward(cache, &input).ok()?;
    let near = &text[at..text.len().min(at + NEAR)];
    for byte in near {
        state = automaton.next_state(cache, state, *byte).ok()?;
        if state.is_tagged() {
            return if state.is_quit() { None } else { Some(state.is_match()) };
        }
    }
    if at + near.len() < text.len() {
        return None;
    }
    Some(automaton.next_eoi_state(cache, state).ok()?.is_match())
}

fn automaton(node: &Node) -> Option<DFA> {
    let config = thompson::Config::new()
        .utf8(false)
        .nfa_size_limit(Some(MAX_SIZE))
        .which_captures(thompson::WhichCaptures::None);
    let nfa = thompson::Compiler::new().configure(config).build_from_hir(&beginning(node, LENGTH)).ok()?;
    let config =
        DFA::config().match_kind(MatchKind::All).cache_capacity(CACHE).skip_cache_capacity_check(true);
    DFA::builder().configure(config).build_from_nfa(nfa).ok()
}

/// What each match begins with.
fn beginning(node: &Node, length: usize) -> Hir {
    match node {
        Node::Bytes(bytes) => Hir::literal(&bytes[..bytes.len().min(length)]),
        Node::Set(set) => class(set),
        Node::Capture { node, .. } | Node::Atomic(node) => beginning(node, length),
        Node::Concat(nodes) => {
            let (mut parts, mut left) = (Vec::new(), length);
            for node in nodes {
                let least = lengths(node).0;
                // What is cut off must be at the end.
                if least >= left {
                    parts.push(beginning(node, left));
                    break;
                }
                parts.push(beginning(node, usize::MAX));
                left -= least;
            }
            Hir::concat(parts)
        }
        Node::Alt(branches) | Node::BranchReset(branches) => {
            Hir::alternation(branches.iter().map(|branch| beginning(branch, length)).collect())
        }
        Node::Repeat { node, min, max, .. } => {
            let once = lengths(node).0;
            if *min > 0 && once >= length {
                return beginning(node, length);
            }
            let needed = if once > 0 { u32::try_from(length.div_ceil(once)).unwrap_or(1) } else { 1 };
            // What is cut off must not stand before another time.
            let whole = beginning(node, usize::MAX);
            let min = (*min).min(needed);
            let max = max.filter(|max| *max <= MAX_COUNT);
            Hir::repetition(Repetition {
                min,
                max: max.map(|max| max.max(min)),
                greedy: true,
                sub: Box::new(whole),
            })
        }
        Node::Backref(..) | Node::Conditional(_) => anything(),
        Node::Verbatim(text) if !text.starts_with("(*") => anything(),
        Node::Empty | Node::Assert(_) | Node::Look { .. } | Node::Keep | Node::Verbatim(_) => Hir::empty(),
    }
}

fn anything() -> Hir {
    let sub = Box::new(class(&ByteSet::ALL));
    Hir::repetition(Repetition { min: 0, max: None, greedy: true, sub })
}

fn class(set: &ByteSet) -> Hir {
    let ranges = set.ranges().into_iter().map(|(first, last)| ClassBytesRange::new(first, last));
    Hir::class(Class::Bytes(ClassBytes::new(ranges)))
}
