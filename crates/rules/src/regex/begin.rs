//! One pass over a text that tells where the beginnings of many expressions may stand, by sets of bytes.
//!
//! Of each expression up to `PATHS` sequences of byte sets are made, so that each match begins with one of them. Each is a bit;
//! for each place and byte a word tells which sequences allow that byte there.

use super::set::ByteSet;
use super::syntax::{Node, lengths};

/// The longest sequence.
const LENGTH: usize = 6;
/// The most sequences of one expression.
const PATHS: usize = 6;
/// Sequences to a word.
const WORD: usize = 64;

/// Sequences of many expressions.
#[derive(Debug)]
pub struct Beginnings {
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    /// By place and byte.
    allowed: Box<[[u64; 256]; LENGTH]>,
    /// By length: sequences that are not longer.
    ends: [u64; LENGTH + 1],
    /// The expression of each.
    owners: Vec<u32>,
}

/// What a match begins with.
#[derive(Debug, Clone, PartialEq)]
struct Path {
    sets: Vec<ByteSet>,
    /// Whatever follows is not known.
    open: bool,
}

impl Path {
    fn is_done(&self) -> bool {
        self.open || self.sets.len() >= LENGTH
    }

    /// Roughly how often it is found at a place.
    fn share(&self) -> f64 {
        self.sets.iter().map(share).product()
    }

    fn joined(&self, other: &Path) -> Path {
        let sets = self.sets.iter().zip(&other.sets).map(|(one, other)| {
            let mut both = *one;
            both.join(*other);
            both
        });
        Path { sets: sets.collect(), open: self.open || other.open || self.sets.len() != other.sets.len() }
    }
}

/// How often a byte of ordinary text is in a set.
fn share(set: &ByteSet) -> f64 {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b' ' => 1.0 / 32.0,
        0x80.. => 1.0 / 2048.0,
        _ => 1.0 / 512.0,
    };
    set.iter().map(one).sum()
}

impl Beginnings {
    /// Of expressions, by their place.
    pub fn new<'a>(nodes: impl Iterator<Item = &'a Node>) -> Beginnings {
        let mut all: Vec<(u32, Path)> = Vec::new();
        for (node, owner) in nodes.zip(0..) {
            all.extend(reduced(paths(node)).into_iter().map(|path| (owner, path)));
        }
        Beginnings { blocks: all.chunks(WORD).map(Block::new).collect() }
    }

    /// Calls for each expression and each place where it may begin, until it answers `true` for the expression.
    pub fn scan(&self, text: &[u8], mut each: impl FnMut(usize, usize) -> bool) {
        for block in &self.blocks {
            block.scan(text, &mut each);
        }
    }
}

impl Block {
    fn new(paths: &[(u32, Path)]) -> Block {
        let mut block = Block {
            allowed: Box::new([[0; 256]; LENGTH]),
            ends: [0; LENGTH + 1],
            owners: paths.iter().map(|(owner, _)| *owner).collect(),
        };
        for (number, (_, path)) in paths.iter().enumerate() {
            let bit = 1 << number;
            for place in 0..LENGTH {
                let set = path.sets.get(place).copied().unwrap_or(ByteSet::ALL);
                set.iter().for_each(|byte| block.allowed[place][usize::from(byte)] |= bit);
            }
            for length in path.sets.len()..=LENGTH {
                block.ends[length] |= bit;
            }
        }
        block
    }

    fn scan(&self, text: &[u8], each: &mut impl FnMut(usize, usize) -> bool) {
        let [first, second, third, rest @ ..] = &*self.allowed;
        let mut wanted = u64::MAX;
        let whole = text.len().saturating_sub(LENGTH - 1);
        for (at, window) in text.windows(LENGTH).enumerate() {
            let mut may = first[usize::from(window[0])] & second[usize::from(window[1])] & third[usize::from(window[2])];
            if may & wanted == 0 {
                continue;
            }
            for (allowed, byte) in rest.iter().zip(&window[3..]) {
                may &= allowed[usize::from(*byte)];
            }
            self.tell(may, &mut wanted, at, each);
        }
        // At the end only what is short enough.
        for at in whole..=text.len() {
            let left = &text[at..];
            let mut may = self.ends[left.len().min(LENGTH)];
            for (allowed, byte) in self.allowed.iter().zip(left) {
                may &= allowed[usize::from(*byte)];
            }
            self.tell(may, &mut wanted, at, each);
        }
    }

    /// Calls for each sequence that is still wanted; what is found is no longer.
    fn tell(&self, may: u64, wanted: &mut u64, at: usize, each: &mut impl FnMut(usize, usize) -> bool) {
        let mut found = may & *wanted;
        let mut told = None;
        while found != 0 {
            let number = found.trailing_zeros();
            found &= found - 1;
            let Some(&owner) = self.owners.get(number as usize) else { break };
            if told != Some(owner) && each(owner as usize, at) {
                let own = |number: usize| self.owners.get(number) == Some(&owner);
                let bits = (0..WORD).filter(|number| own(*number)).fold(0, |bits, number| bits | 1 << number);
                *wanted &= !bits;
                found &= !bits;
            }
            told = Some(owner);
        }
    }
}

/// What each match begins with one of.
fn paths(node: &Node) -> Vec<Path> {
    let empty = || vec![Path { sets: Vec::new(), open: false }];
    match node {
        Node::Bytes(bytes) => {
            let only = |byte: &u8| {
                let mut set = ByteSet::EMPTY;
                set.add(*byte);
                set
            };
            vec![Path { sets: bytes.iter().take(LENGTH).map(only).collect(), open: false }]
        }
        Node::Set(set) => vec![Path { sets: vec![*set], open: false }],
        Node::Capture { node, .. } | Node::Atomic(node) => paths(node),
        Node::Concat(nodes) => {
            let mut all = empty();
            for node in nodes {
                if all.iter().all(Path::is_done) {
                    break;
                }
                all = product(&all, &paths(node));
            }
            all
        }
        Node::Alt(branches) | Node::BranchReset(branches) => {
            reduced(branches.iter().flat_map(paths).collect())
        }
        Node::Repeat { node, min, max, .. } => repeated(node, *min, *max),
        Node::Empty | Node::Assert(_) | Node::Look { .. } | Node::Keep => empty(),
        Node::Verbatim(text) if text.starts_with("(*") => empty(),
        Node::Backref(..) | Node::Conditional(_) | Node::Verbatim(_) => vec![Path { sets: Vec::new(), open: true }],
    }
}

fn repeated(node: &Node, min: u32, max: Option<u32>) -> Vec<Path> {
    let mut current = vec![Path { sets: Vec::new(), open: false }];
    // Of what has no width, once is enough.
    let most = if lengths(node).1 == Some(0) { 0 } else { max.unwrap_or(u32::MAX) };
    let once = paths(node);
    let mut all = Vec::new();
    for count in 0..=most {
        if count >= min {
            all.extend(current.iter().cloned());
        }
        // Each time adds a byte, or the part can be empty and shorter paths are there already.
        if count == most || count as usize > LENGTH || current.iter().all(Path::is_done) {
            break;
        }
        current = product(&current, &once);
    }
    all.extend(current);
    reduced(all)
}

fn product(before: &[Path], after: &[Path]) -> Vec<Path> {
    let mut all = Vec::new();
    for first in before {
        if first.is_done() {
            all.push(first.clone());
            continue;
        }
        for then in after {
            let sets = first.sets.iter().chain(&then.sets).take(LENGTH).copied().collect();
            all.push(Path { sets, open: then.open });
        }
    }
    reduced(all)
}

/// So few that they can be told apart: those that cost least by it are joined.
fn reduced(mut all: Vec<Path>) -> Vec<Path> {
    // Bytes beyond ASCII are rare whichever they are.
    let rare = |path: &Path| !path.open && path.sets.iter().all(|set| (0..0x80).all(|byte| !set.has(byte)));
    let mut kept: Vec<Path> = Vec::new();
    for path in all.drain(..) {
        let same = |other: &&mut Path| {
            **other == path || other.sets.len() == path.sets.len() && rare(other) && rare(&path)
        };
        match kept.iter_mut().find(same) {
            Some(other) => *other = other.joined(&path),
            None => kept.push(path),
        }
        if kept.len() > 2 * PATHS {
            join_cheapest(&mut kept);
        }
    }
    while kept.len() > PATHS {
        join_cheapest(&mut kept);
    }
    kept
}

fn join_cheapest(paths: &mut Vec<Path>) {
    let mut best: Option<(f64, usize, usize, Path)> = None;
    for one in 0..paths.len() {
        for other in one + 1..paths.len() {
            let joined = paths[one].joined(&paths[other]);
            let cost = joined.share() - paths[one].share() - paths[other].share();
            if best.as_ref().is_none_or(|(least, ..)| cost < *least) {
                best = Some((cost, one, other, joined));
            }
        }
    }
    if let Some((_, one, other, joined)) = best {
        paths.swap_remove(other);
        paths[one] = joined;
    }
}
