//! One pass over a text that tells where the beginnings of many expressions may stand, by sets of bytes.
//!
//! Of each expression up to `PATHS` sequences of byte sets are made, so that each match begins with one of them. Each is a bit;
//! for each place and byte a word tells which sequences allow that byte there.

use std::sync::LazyLock;

use super::set::ByteSet;
use super::syntax::{Assert, Node, lengths};

/// The longest sequence.
const LENGTH: usize = 8;
/// The most sequences of one expression.
const PATHS: usize = 16;
/// The most sequences of what may be a single byte: letters that are written in many ways.
const SHORT_PATHS: usize = 3;
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
    /// By the byte before.
    behind: Box<[u64; 256]>,
    /// Those that may begin where the text does.
    starts: u64,
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
    /// The byte before the match.
    behind: ByteSet,
    /// The match may be where the text begins.
    start: bool,
    /// A word begins or ends there.
    edge: bool,
}

/// Nothing, and nothing known.
const EMPTY: Path = Path { sets: Vec::new(), open: false, behind: ByteSet::ALL, start: true, edge: false };

impl Path {
    fn of(sets: Vec<ByteSet>) -> Path {
        Path { sets, ..EMPTY }
    }

    fn is_done(&self) -> bool {
        self.open || self.sets.len() >= LENGTH
    }

    fn then(&self, next: &Path) -> Path {
        let sets = self.sets.iter().chain(&next.sets).take(LENGTH).copied().collect();
        let path = Path { sets, open: next.open, ..self.clone() };
        if !self.sets.is_empty() {
            return path;
        }
        let (behind, start) = (self.behind.both(next.behind), self.start && next.start);
        Path { behind, start, edge: self.edge || next.edge, ..path }
    }

    /// With what a word's edge means for the byte before.
    fn settled(mut self) -> Path {
        let word = *WORDS;
        match self.sets.first().filter(|_| self.edge) {
            Some(first) if first.both(word) == *first => self.behind = self.behind.both(word.complement()),
            Some(first) if first.both(word).is_empty() => {
                self.behind = self.behind.both(word);
                self.start = false;
            }
            _ => {}
        }
        self
    }

    fn joined(&self, other: &Path) -> Path {
        let sets = self.sets.iter().zip(&other.sets).map(|(one, other)| one.with(*other)).collect();
        Path {
            sets,
            open: self.open || other.open || self.sets.len() != other.sets.len(),
            behind: self.behind.with(other.behind),
            start: self.start || other.start,
            edge: self.edge && other.edge,
        }
    }

    /// What it costs to have both in one: how much more often that is found.
    fn cost(&self, other: &Path) -> f64 {
        let both: f64 =
            self.sets.iter().zip(&other.sets).map(|(one, other)| share(&one.with(*other))).product();
        let alone = |path: &Path| path.sets.iter().map(share).product::<f64>() * share(&path.behind);
        both * share(&self.behind.with(other.behind)) - alone(self) - alone(other)
    }
}

static WORDS: LazyLock<ByteSet> =
    LazyLock::new(|| ByteSet::of(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
static COMMON: LazyLock<ByteSet> =
    LazyLock::new(|| ByteSet::of(|byte| byte.is_ascii_lowercase() || byte == b' '));

/// How often a byte of ordinary text is in a set.
fn share(set: &ByteSet) -> f64 {
    let (common, rare) = (set.both(*COMMON).len(), set.both(ByteSet::ASCII.complement()).len());
    f64::from(common) / 32.0 + f64::from(rare) / 2048.0 + f64::from(set.len() - common - rare) / 512.0
}

impl Beginnings {
    /// Of expressions, by their place.
    pub fn new<'a>(nodes: impl Iterator<Item = &'a Node>) -> Beginnings {
        let mut all: Vec<(u32, Path)> = Vec::new();
        for (node, owner) in nodes.zip(0..) {
            all.extend(reduced(paths(node), PATHS).into_iter().map(|path| (owner, path.settled())));
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
            behind: Box::new([0; 256]),
            starts: 0,
            ends: [0; LENGTH + 1],
            owners: paths.iter().map(|(owner, _)| *owner).collect(),
        };
        for (number, (_, path)) in paths.iter().enumerate() {
            let bit = 1 << number;
            for place in 0..LENGTH {
                let set = path.sets.get(place).copied().unwrap_or(ByteSet::ALL);
                set.iter().for_each(|byte| block.allowed[place][usize::from(byte)] |= bit);
            }
            path.behind.iter().for_each(|byte| block.behind[usize::from(byte)] |= bit);
            block.starts |= if path.start { bit } else { 0 };
            for length in path.sets.len()..=LENGTH {
                block.ends[length] |= bit;
            }
        }
        block
    }

    fn scan(&self, text: &[u8], each: &mut impl FnMut(usize, usize) -> bool) {
        let [first, second, rest @ ..] = &*self.allowed;
        let mut wanted = u64::MAX;
        let mut behind = self.starts;
        for (at, window) in text.windows(LENGTH).enumerate() {
            let mut may = behind & first[usize::from(window[0])] & second[usize::from(window[1])];
            behind = self.behind[usize::from(window[0])];
            if may & wanted == 0 {
                continue;
            }
            for (allowed, byte) in rest.iter().zip(&window[2..]) {
                may &= allowed[usize::from(*byte)];
            }
            self.tell(may, &mut wanted, at, each);
        }
        // At the end only what is short enough.
        for at in text.len().saturating_sub(LENGTH - 1)..=text.len() {
            let left = &text[at..];
            let before = at.checked_sub(1).map_or(self.starts, |at| self.behind[usize::from(text[at])]);
            let mut may = self.ends[left.len()] & before;
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
    match node {
        Node::Bytes(bytes) => {
            let only = |byte: &u8| {
                let mut set = ByteSet::EMPTY;
                set.add(*byte);
                set
            };
            vec![Path::of(bytes.iter().take(LENGTH).map(only).collect())]
        }
        Node::Set(set) => vec![Path::of(vec![*set])],
        Node::Assert(assert) => vec![match assert {
            Assert::TextStart => Path { behind: ByteSet::EMPTY, ..EMPTY },
            Assert::LineStart => Path { behind: ByteSet::of(|byte| byte == b'\n'), ..EMPTY },
            Assert::Word => Path { edge: true, ..EMPTY },
            _ => EMPTY,
        }],
        Node::Capture { node, .. } | Node::Atomic(node) => paths(node),
        Node::Concat(nodes) => {
            let mut all = vec![EMPTY];
            for node in nodes {
                if all.iter().all(Path::is_done) {
                    break;
                }
                all = product(&all, &paths(node));
            }
            all
        }
        Node::Alt(branches) | Node::BranchReset(branches) => {
            let most = if lengths(node).0 <= 1 { SHORT_PATHS } else { PATHS };
            reduced(branches.iter().flat_map(paths).collect(), most)
        }
        Node::Repeat { node, min, max, .. } => repeated(node, *min, *max),
        Node::Empty | Node::Look { .. } | Node::Keep => vec![EMPTY],
        Node::Verbatim(text) if text.starts_with("(*") => vec![EMPTY],
        Node::Backref(..) | Node::Conditional(_) | Node::Verbatim(_) => vec![Path { open: true, ..EMPTY }],
    }
}

fn repeated(node: &Node, min: u32, max: Option<u32>) -> Vec<Path> {
    if lengths(node).1 == Some(0) {
        return if min == 0 { vec![EMPTY] } else { paths(node) };
    }
    let once = paths(node);
    let mut current = vec![EMPTY];
    let mut all = Vec::new();
    for count in 0..=max.unwrap_or(u32::MAX) {
        if count >= min {
            all.extend(current.iter().cloned());
        }
        // Each time adds a byte, or the part can be empty and shorter paths are there already.
        if Some(count) == max || count as usize > LENGTH || current.iter().all(Path::is_done) {
            break;
        }
        current = product(&current, &once);
    }
    all.extend(current);
    reduced(all, PATHS)
}

fn product(before: &[Path], after: &[Path]) -> Vec<Path> {
    let (done, short): (Vec<&Path>, Vec<&Path>) = before.iter().partition(|path| path.is_done());
    let longer = short.into_iter().flat_map(|first| after.iter().map(|next| first.then(next)));
    reduced(done.into_iter().cloned().chain(longer).collect(), PATHS)
}

/// So few that they can be told apart: what is too much is joined to where it costs least.
fn reduced(all: Vec<Path>, most: usize) -> Vec<Path> {
    // Bytes beyond ASCII are rare whichever they are.
    let rare = |path: &Path| !path.open && path.sets.iter().all(|set| set.both(ByteSet::ASCII).is_empty());
    let mut kept: Vec<Path> = Vec::new();
    for path in all {
        let alike = |other: &Path| {
            let place = |path: &Path| (path.sets.len(), path.behind, path.start, path.edge);
            place(other) == place(&path) && (*other == path || rare(other) && rare(&path))
        };
        let same = kept.iter().position(alike);
        let place = same.or_else(|| if kept.len() >= most { cheapest(&kept, &path) } else { None });
        match place {
            Some(place) => kept[place] = kept[place].joined(&path),
            None => kept.push(path),
        }
    }
    kept
}

fn cheapest(paths: &[Path], path: &Path) -> Option<usize> {
    let costs = paths.iter().map(|other| other.cost(path)).enumerate();
    costs.reduce(|best, next| if next.1 < best.1 { next } else { best }).map(|(place, _)| place)
}
