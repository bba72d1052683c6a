//! Hands an expression to the engine that takes linear time, where it has the same meaning there.

use regex_automata::meta;
use regex_automata::nfa::thompson::WhichCaptures;
use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, Hir, Look, Repetition};

use super::set::ByteSet;
use super::syntax::{Assert, Greed, Node, lengths};

/// What the lazy automaton of one expression may take for each thread that uses it, in bytes.
const CACHE: usize = 1 << 17;

/// The expression as automaton of at most so many bytes; `None`: it has what only a backtracking engine does, or is too large.
/// `relaxed`: what is atomic or possessive may give back, so that more may match.
pub fn build(node: &Node, size: usize, relaxed: bool) -> Option<meta::Regex> {
    let hir = hir(node, Place { last: true, followed: false, relaxed })?;
    let config = meta::Config::new()
        .utf8_empty(false)
        .which_captures(WhichCaptures::Implicit)
        .nfa_size_limit(Some(size))
        .onepass(false)
        .hybrid_cache_capacity(CACHE);
    meta::Builder::new().configure(config).build_from_hir(&hir).ok()
}

/// Whether `build` would try. What an expression means there may depend on what surrounds a part of it.
pub fn fits(node: &Node) -> bool {
    hir(node, Place { last: true, followed: false, relaxed: false }).is_some()
}

/// What comes behind a part.
#[derive(Clone, Copy)]
struct Place {
    /// Nothing: the match ends here.
    last: bool,
    /// At least one byte.
    followed: bool,
    /// What is atomic may give back.
    relaxed: bool,
}

fn hir(node: &Node, place: Place) -> Option<Hir> {
    Some(match node {
        Node::Empty => Hir::empty(),
        Node::Bytes(bytes) => Hir::literal(bytes.as_slice()),
        Node::Set(set) => class(set),
        Node::Assert(assert) => assertion(*assert, place)?,
        Node::Capture { node, .. } => hir(node, place)?,
        Node::Concat(nodes) => {
            let widest = nodes.iter().rposition(|node| lengths(node).0 > 0);
            let behind = |index: usize| Place {
                last: place.last && index + 1 == nodes.len(),
                followed: place.followed || widest.is_some_and(|widest| widest > index),
                relaxed: place.relaxed,
            };
            let parts = nodes.iter().enumerate().map(|(index, node)| hir(node, behind(index)));
            Hir::concat(parts.collect::<Option<Vec<_>>>()?)
        }
        Node::Alt(branches) => {
            Hir::alternation(branches.iter().map(|node| hir(node, place)).collect::<Option<Vec<_>>>()?)
        }
        Node::Repeat { node, min, max, greed } => {
            if *greed == Greed::Possessive && !place.relaxed {
                return None;
            }
            let once = *max == Some(1);
            let inner = hir(node, Place { last: place.last && once, ..place })?;
            Hir::repetition(Repetition {
                min: *min,
                max: *max,
                greedy: *greed != Greed::Lazy,
                sub: Box::new(inner),
            })
        }
        Node::Atomic(node) if place.relaxed => hir(node, place)?,
        Node::Look { .. }
        | Node::Atomic(_)
        | Node::BranchReset(_)
        | Node::Backref(..)
        | Node::Conditional(_)
        | Node::Keep
        | Node::Verbatim(_) => return None,
    })
}

fn class(set: &ByteSet) -> Hir {
    let ranges = set.ranges().into_iter().map(|(first, last)| ClassBytesRange::new(first, last));
    Hir::class(Class::Bytes(ClassBytes::new(ranges)))
}

fn assertion(assert: Assert, place: Place) -> Option<Hir> {
    Some(match assert {
        Assert::TextStart => Hir::look(Look::Start),
        // This engine finds a line behind the last newline, Perl does not; so a byte must follow.
        Assert::LineStart if place.followed => Hir::look(Look::StartLF),
        Assert::TextEnd => Hir::look(Look::End),
        // Taking the newline in changes where the match ends, not whether there is one.
        Assert::TextEndOrNewline if place.last => {
            let newline =
                Repetition { min: 0, max: Some(1), greedy: true, sub: Box::new(Hir::literal(*b"\n")) };
            Hir::concat(vec![Hir::repetition(newline), Hir::look(Look::End)])
        }
        Assert::LineEnd => Hir::look(Look::EndLF),
        Assert::Word => Hir::look(Look::WordAscii),
        Assert::NotWord => Hir::look(Look::WordAsciiNegate),
        Assert::LineStart | Assert::TextEndOrNewline | Assert::SearchStart => return None,
    })
}
