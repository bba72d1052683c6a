//! Automata for the beginnings of expressions that have no literal text: which of them may match in a text at all. What cannot
//! be said there (look-arounds, references) is left out, so that more may be found, never less.

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::pool::Pool;
use regex_automata::{Anchored, Input, MatchKind};
use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, Hir, Look, Repetition};

use super::Pattern;
use super::begin::Beginnings;
use super::set::ByteSet;
use super::syntax::{Assert, Node, lengths};

/// How many bytes of the beginning are looked at, at least; more, if what is so short stands in ordinary text.
const LENGTHS: [usize; 3] = [6, 10, 16];
/// Repetitions of one byte beyond that count as endless.
const MAX_COUNT: u32 = 4;
/// What one lazy automaton may take for each thread that uses it, in bytes.
const MIN_CACHE: usize = 1 << 18;
const MAX_CACHE: usize = 1 << 20;
/// The same for each byte of the automaton that it is made from.
const ROOM: usize = 8;
/// How far an automaton is followed from one place, in bytes: there may be as many places as bytes in a text.
const NEAR: usize = 256;
/// How often one automaton is asked for all texts; then the expression itself is tried, which looks at the clock.
const MAX_ASKED: u32 = 20_000;
/// The largest automaton that one is made from, in bytes.
const MAX_SIZE: usize = 4 << 20;
/// Ordinary text: what is found in it is found everywhere.
pub const SAMPLE: &str = "Hi Robert,\n\nthank you very much for your message of 12 January 2024; I have looked at what you sent us. We \
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

/// What the matches of one expression begin with.
pub struct Beginning {
    automaton: DFA,
    caches: Pool<Cache, MakeCache>,
}

impl std::fmt::Debug for Beginning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Beginning")
    }
}

impl Beginning {
    /// So long that it is seldom enough to be looked for; `None`: it stands in ordinary text however long it is, or is too large.
    pub fn telling(pattern: &Pattern) -> Option<Beginning> {
        let is_seldom = |beginning: &Beginning| {
            let mut cache = beginning.automaton.create_cache();
            let found = beginning.automaton.try_search_fwd(&mut cache, &Input::new(SAMPLE).earliest(true));
            matches!(found, Ok(None))
        };
        LENGTHS.into_iter().filter_map(|length| Beginning::of(pattern, length)).find(is_seldom)
    }

    /// Of so many bytes at least.
    pub fn of(pattern: &Pattern, length: usize) -> Option<Beginning> {
        let automaton = automaton(&pattern.parsed.node, length)?;
        let own = automaton.clone();
        let make: MakeCache = Box::new(move || own.create_cache());
        Some(Beginning { automaton, caches: Pool::new(make) })
    }
}

impl Prefixes {
    /// Of these; `None`: there are none, or they are too large together.
    pub fn new(parts: Vec<Beginning>) -> Option<Prefixes> {
        if parts.is_empty() {
            return None;
        }
        let places = Beginnings::new(parts.iter().map(|part| part.automaton.get_nfa()))?;
        Some(Prefixes { places, parts })
    }

    /// Calls for each expression, by its place, that may match in one of the texts, and for the text's number.
    pub fn scan(&self, texts: &[&[u8]], mut each: impl FnMut(usize, u32)) {
        let mut caches: Vec<_> = self.parts.iter().map(|_| None).collect();
        // By expression: the last text, counted from one, in which it was found.
        let mut told = vec![0; self.parts.len()];
        let mut asked = vec![0; self.parts.len()];
        for (text, number) in texts.iter().zip(1..) {
            self.places.scan(text, |place, at| {
                if told[place] == number {
                    return;
                }
                let part = &self.parts[place];
                let cache = caches[place].get_or_insert_with(|| part.caches.get());
                asked[place] += 1;
                // If the automaton gives up, it may.
                if asked[place] > MAX_ASKED || begins(&part.automaton, cache, text, at).unwrap_or(true) {
                    told[place] = number;
                    each(place, number - 1);
                }
            });
        }
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

fn automaton(node: &Node, length: usize) -> Option<DFA> {
    let config = thompson::Config::new()
        .utf8(false)
        .nfa_size_limit(Some(MAX_SIZE))
        .which_captures(thompson::WhichCaptures::None);
    let nfa = thompson::Compiler::new().configure(config).build_from_hir(&beginning(node, length)).ok()?;
    // What is large has many states, and would be emptied again and again.
    let cache = nfa.memory_usage().saturating_mul(ROOM).clamp(MIN_CACHE, MAX_CACHE);
    let config =
        DFA::config().match_kind(MatchKind::All).cache_capacity(cache).skip_cache_capacity_check(true);
    DFA::builder().configure(config).build_from_nfa(nfa).ok()
}

/// What each match begins with.
fn beginning(node: &Node, length: usize) -> Hir {
    begin(node, length, true)
}

/// `first`: nothing stands before it, so that what it asks of the text before can be said.
fn begin(node: &Node, length: usize, first: bool) -> Hir {
    match node {
        Node::Assert(Assert::TextStart) if first => Hir::look(Look::Start),
        Node::Assert(Assert::LineStart) if first => Hir::look(Look::StartLF),
        Node::Assert(Assert::Word) if first => Hir::look(Look::WordAscii),
        Node::Bytes(bytes) => Hir::literal(&bytes[..bytes.len().min(length)]),
        Node::Set(set) => class(set),
        Node::Capture { node, .. } | Node::Atomic(node) => begin(node, length, first),
        Node::Concat(nodes) => {
            let (mut parts, mut left, mut first) = (Vec::new(), length, first);
            for node in nodes {
                let (least, most) = lengths(node);
                // What is cut off must be at the end.
                if least >= left {
                    parts.push(begin(node, left, first));
                    break;
                }
                parts.push(begin(node, usize::MAX, first));
                left -= least;
                first &= most == Some(0);
            }
            Hir::concat(parts)
        }
        Node::Alt(branches) | Node::BranchReset(branches) => {
            Hir::alternation(branches.iter().map(|branch| begin(branch, length, first)).collect())
        }
        Node::Repeat { node, min, max, .. } => {
            let once = lengths(node).0;
            if *min > 0 && once >= length {
                return begin(node, length, first);
            }
            let needed = if once > 0 { u32::try_from(length.div_ceil(once)).unwrap_or(1) } else { 1 };
            // What is cut off must not stand before another time.
            let whole = begin(node, usize::MAX, first);
            let min = (*min).min(needed);
            // Copies of what is long make a large automaton with very many states.
            let most = if lengths(node).1 == Some(1) { MAX_COUNT } else { 1 };
            let max = max.filter(|max| *max <= most);
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
