//! One pass over a text that tells where the beginnings of many expressions may stand, by sets of bytes.
//!
//! Of each expression some sequences of byte sets are made, so that each match begins with one of them. Each sequence is looked
//! for by two sets that stand together and are seldom found: a table of all pairs of bytes names those to be looked at.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use regex_automata::nfa::thompson::{NFA, State, Transition};
use regex_automata::util::look::Look;
use regex_automata::util::primitives::StateID;

use super::set::ByteSet;

/// The longest sequence.
const LENGTH: usize = 8;
/// The most sequences of one expression, if they have two sets at least.
const SEQUENCES: usize = 96;
/// The most of all, and the most states that are looked at for one expression.
const MAX_SEQUENCES: usize = 1_000;
const MAX_STATES: usize = 200_000;
/// How often a sequence may be found by accident, as share of all places, for it to be long enough.
const SELDOM: f64 = 1e-4;

/// Sequences of many expressions.
#[derive(Debug)]
pub struct Beginnings {
    sequences: Vec<Sequence>,
    /// By two bytes, the first of which counts 256: the number of a list.
    pairs: Box<[u16]>,
    /// Sequences to be looked at; the first list is empty.
    lists: Vec<Box<[Entry]>>,
    /// Each set once. What is looked at again and again is small, so that it stays near the processor.
    sets: Vec<ByteSet>,
    /// Sequences that are to be looked at where the text begins, because it is no byte before them by which they are found.
    starting: Vec<u32>,
    /// Sequences that have no two bytes.
    brief: Vec<u32>,
}

#[derive(Debug)]
struct Sequence {
    /// The expression.
    owner: u32,
    /// The byte before the match, and those of it.
    sets: [u16; LENGTH + 1],
    length: u8,
    /// The match may be where the text begins.
    start: bool,
}

/// Where a sequence may stand, if two bytes are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Entry {
    sequence: u32,
    /// Where in the sequence the first of them stands, and one more of its bytes.
    place: u8,
    other: u8,
    /// What that is to be.
    set: u16,
}

impl Sequence {
    fn new(owner: u32, numbers: &[u16], start: bool) -> Sequence {
        let mut sets = [0; LENGTH + 1];
        sets.iter_mut().zip(numbers).for_each(|(set, number)| *set = *number);
        Sequence { owner, sets, length: numbers.len() as u8, start }
    }
}

impl Beginnings {
    /// Of expressions, by their place; `None`: they have too many sets.
    pub fn new<'a>(automata: impl Iterator<Item = &'a NFA>) -> Option<Beginnings> {
        let mut all = Beginnings {
            sequences: Vec::new(),
            pairs: vec![0; 1 << 16].into(),
            lists: vec![Box::default()],
            sets: Vec::new(),
            starting: Vec::new(),
            brief: Vec::new(),
        };
        let mut numbers = BTreeMap::new();
        let mut of_pairs: HashMap<usize, Vec<Entry>> = HashMap::new();
        for (automaton, owner) in automata.zip(0..) {
            for Path { sets, before, .. } in paths(automaton) {
                let sets: Vec<ByteSet> = [before.behind].into_iter().chain(sets).collect();
                for set in &sets {
                    numbers.entry(*set).or_insert_with(|| {
                        all.sets.push(*set);
                        all.sets.len() - 1
                    });
                }
                let numbered =
                    sets.iter().map(|set| u16::try_from(numbers[set]).ok()).collect::<Option<Vec<_>>>()?;
                all.add(Sequence::new(owner, &numbered, before.start), &sets, &mut of_pairs);
            }
        }
        let mut known: HashMap<Vec<Entry>, u16> = HashMap::new();
        for (pair, list) in of_pairs {
            let number = match known.get(&list) {
                Some(number) => *number,
                None => u16::try_from(all.lists.len()).ok()?,
            };
            if usize::from(number) == all.lists.len() {
                all.lists.push(list.as_slice().into());
                known.insert(list, number);
            }
            all.pairs[pair] = number;
        }
        Some(all)
    }

    fn add(&mut self, sequence: Sequence, sets: &[ByteSet], of_pairs: &mut HashMap<usize, Vec<Entry>>) {
        let number = self.sequences.len() as u32;
        let seldom = |shares: &mut dyn Iterator<Item = (usize, f64)>| {
            shares.reduce(|best, next| if next.1 < best.1 { next } else { best }).map(|(place, _)| place)
        };
        let two = seldom(&mut sets.windows(2).map(|two| share(&two[0]) * share(&two[1])).enumerate());
        let Some(place) = two else {
            self.brief.push(number);
            return self.sequences.push(sequence);
        };
        let others =
            sets.iter().map(share).enumerate().filter(|(other, _)| !(place..place + 2).contains(other));
        let other = seldom(&mut others.into_iter()).unwrap_or(place);
        let set = sequence.sets[other];
        let entry = Entry { sequence: number, place: place as u8, other: other as u8, set };
        for first in sets[place].iter() {
            for second in sets[place + 1].iter() {
                of_pairs.entry(pair(first, second)).or_default().push(entry);
            }
        }
        if sequence.start && (place == 0 || other == 0) {
            self.starting.push(number);
        }
        self.sequences.push(sequence);
    }

    /// Calls for each expression and each place where it may begin.
    pub fn scan(&self, text: &[u8], mut each: impl FnMut(usize, usize)) {
        for two in text.windows(2).enumerate() {
            let (at, &[first, second]) = two else { continue };
            let list = self.pairs[pair(first, second)];
            if list == 0 {
                continue;
            }
            for entry in &*self.lists[usize::from(list)] {
                let other = (at + usize::from(entry.other)).wrapping_sub(usize::from(entry.place));
                if text.get(other).is_some_and(|byte| self.sets[usize::from(entry.set)].has(*byte)) {
                    // A place before the first byte wraps around to it.
                    let start = (at + 1).wrapping_sub(usize::from(entry.place));
                    self.one(entry.sequence, text, start, &mut each);
                }
            }
        }
        self.starting.iter().for_each(|number| self.one(*number, text, 0, &mut each));
        for number in &self.brief {
            (0..=text.len()).for_each(|start| self.one(*number, text, start, &mut each));
        }
    }

    fn one(&self, number: u32, text: &[u8], start: usize, each: &mut impl FnMut(usize, usize)) {
        let sequence = &self.sequences[number as usize];
        let allowed = |set: &u16, byte: &u8| self.sets[usize::from(*set)].has(*byte);
        let [behind, sets @ ..] = &sequence.sets;
        let sets = &sets[..usize::from(sequence.length) - 1];
        let before = match start.checked_sub(1) {
            Some(before) => text.get(before).is_some_and(|byte| allowed(behind, byte)),
            None => sequence.start,
        };
        let left = text.get(start..).unwrap_or_default();
        if before && sets.len() <= left.len() && sets.iter().zip(left).all(|(set, byte)| allowed(set, byte)) {
            each(sequence.owner as usize, start);
        }
    }
}

/// The place of two bytes in a table of all pairs.
fn pair(first: u8, second: u8) -> usize {
    usize::from(first) << 8 | usize::from(second)
}

/// What a match may begin with.
#[derive(Debug, Clone)]
struct Path {
    sets: Vec<ByteSet>,
    before: Before,
    /// Where the automaton may be behind it; empty: it is not followed further.
    states: Vec<StateID>,
    /// How often it is found by accident, as share of all places.
    share: f64,
}

/// What stands before a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Before {
    behind: ByteSet,
    /// The match may be where the text begins.
    start: bool,
    /// A word begins or ends there.
    edge: bool,
}

/// Nothing known.
const ANYWHERE: Before = Before { behind: ByteSet::ALL, start: true, edge: false };

impl Path {
    fn is_short(&self) -> bool {
        self.sets.len() < 2
    }

    fn may_grow(&self) -> bool {
        !self.states.is_empty() && self.sets.len() < LENGTH && (self.is_short() || self.share > SELDOM)
    }

    /// With one more set, behind which the automaton may be in these states.
    fn grown(&self, set: ByteSet, before: Before, states: Vec<StateID>) -> Path {
        let sets = self.sets.iter().copied().chain([set]).collect();
        let behind = share(&before.behind) / share(&self.before.behind);
        Path { sets, before, states, share: self.share * share(&set) * behind }
    }
}

/// What each match begins with one of: paths that are found most often are followed first.
fn paths(automaton: &NFA) -> Vec<Path> {
    let mut walk = Walk { automaton, seen: vec![0; automaton.states().len()], number: 0, left: MAX_STATES };
    let mut all = walk.first();
    loop {
        let growing = all.iter().enumerate().filter(|(_, path)| path.may_grow());
        let most = growing.max_by(|(_, one), (_, other)| {
            one.is_short().cmp(&other.is_short()).then(one.share.total_cmp(&other.share))
        });
        let Some((place, _)) = most else { return all };
        let path = all.swap_remove(place);
        let next = walk.next(&path);
        let room = if path.is_short() { MAX_SEQUENCES } else { SEQUENCES };
        if all.len() + next.len() <= room && walk.left > 0 {
            all.extend(next);
        } else {
            all.push(Path { states: Vec::new(), ..path });
        }
    }
}

/// Goes through an automaton.
struct Walk<'a> {
    automaton: &'a NFA,
    /// By state: the number of the walk that came by last.
    seen: Vec<u32>,
    number: u32,
    /// How many more states are looked at.
    left: usize,
}

impl Walk<'_> {
    /// Empty paths, by what must stand before them.
    fn first(&mut self) -> Vec<Path> {
        let mut found: BTreeMap<Before, Vec<StateID>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut open = vec![(self.automaton.start_anchored(), ANYWHERE)];
        while let Some((id, before)) = open.pop() {
            self.left = self.left.saturating_sub(1);
            if self.left == 0 {
                return vec![Path { sets: Vec::new(), before: ANYWHERE, states: Vec::new(), share: 1.0 }];
            }
            if !seen.insert((id, before)) {
                continue;
            }
            let State::Look { look, next } = self.automaton.state(id) else {
                match follow(self.automaton.state(id)) {
                    Some(next) => open.extend(next.map(|id| (id, before))),
                    None => found.entry(before).or_default().push(id),
                }
                continue;
            };
            let before = match look {
                Look::Start => Before { behind: ByteSet::EMPTY, ..before },
                Look::StartLF => {
                    Before { behind: before.behind.both(ByteSet::of(|byte| byte == b'\n')), ..before }
                }
                Look::WordAscii => Before { edge: true, ..before },
                _ => before,
            };
            open.push((*next, before));
        }
        let path = |(before, states): (Before, Vec<StateID>)| {
            let share = share(&before.behind);
            Path { sets: Vec::new(), before, states: self.unless_matched(states), share }
        };
        found.into_iter().map(path).collect()
    }

    /// Paths that are one set longer.
    fn next(&mut self, path: &Path) -> Vec<Path> {
        let mut of_state: BTreeMap<StateID, ByteSet> = BTreeMap::new();
        let mut add = |next: StateID, set: ByteSet| of_state.entry(next).or_default().join(set);
        let range = |range: &Transition| (range.next, ByteSet::range(range.start, range.end));
        for id in &path.states {
            match self.automaton.state(*id) {
                State::ByteRange { trans } => add(trans.next, ByteSet::range(trans.start, trans.end)),
                State::Sparse(all) => {
                    all.transitions.iter().map(range).for_each(|(next, set)| add(next, set))
                }
                State::Dense(all) => {
                    (0..=255)
                        .zip(&*all.transitions)
                        .for_each(|(byte, next)| add(*next, ByteSet::range(byte, byte)));
                }
                _ => {}
            }
        }
        let mut of_set: BTreeMap<ByteSet, Vec<StateID>> = BTreeMap::new();
        of_state.into_iter().for_each(|(id, set)| of_set.entry(set).or_default().push(id));
        // What is seldom found anyway is not told apart.
        let is_rare = |set: &ByteSet| path.share * share(set) <= SELDOM;
        let (rare, mut next): (Vec<_>, Vec<_>) = of_set.into_iter().partition(|(set, _)| is_rare(set));
        let joined = |(one, mut ids): (ByteSet, Vec<StateID>), (other, more): (ByteSet, Vec<StateID>)| {
            ids.extend(more);
            (one.with(other), ids)
        };
        next.extend(rare.into_iter().reduce(joined));
        let mut all = Vec::new();
        for (set, ids) in next {
            let states = self.behind(ids);
            for (set, before) in settled(set, path) {
                all.push(path.grown(set, before, states.clone()));
            }
        }
        all
    }

    /// States in which the next byte counts.
    fn behind(&mut self, mut open: Vec<StateID>) -> Vec<StateID> {
        self.number += 1;
        let mut found = Vec::new();
        while let Some(id) = open.pop() {
            if std::mem::replace(&mut self.seen[id.as_usize()], self.number) == self.number {
                continue;
            }
            self.left = self.left.saturating_sub(1);
            match self.automaton.state(id) {
                State::Look { next, .. } => open.push(*next),
                state => match follow(state) {
                    Some(next) => open.extend(next),
                    None => found.push(id),
                },
            }
        }
        self.unless_matched(found)
    }

    /// None, if the match may end there: whatever follows is then allowed.
    fn unless_matched(&self, states: Vec<StateID>) -> Vec<StateID> {
        let matched = states.iter().any(|id| matches!(self.automaton.state(*id), State::Match { .. }));
        if matched { Vec::new() } else { states }
    }
}

/// The states that are reached without a byte; `None`: it waits for one, or is the end.
fn follow(state: &State) -> Option<Box<dyn Iterator<Item = StateID> + '_>> {
    match state {
        State::Union { alternates } => Some(Box::new(alternates.iter().copied())),
        State::BinaryUnion { alt1, alt2 } => Some(Box::new([*alt1, *alt2].into_iter())),
        State::Capture { next, .. } => Some(Box::new(std::iter::once(*next))),
        _ => None,
    }
}

/// The first set with what a word's edge means for the byte before.
fn settled(set: ByteSet, path: &Path) -> Vec<(ByteSet, Before)> {
    let before = path.before;
    if !before.edge || !path.sets.is_empty() {
        return vec![(set, before)];
    }
    let word = *WORDS;
    let (inside, outside) = (set.both(word), set.both(word.complement()));
    let begins = Before { behind: before.behind.both(word.complement()), ..before };
    let ends = Before { behind: before.behind.both(word), start: false, ..before };
    [(inside, begins), (outside, ends)].into_iter().filter(|(set, _)| !set.is_empty()).collect()
}

static WORDS: LazyLock<ByteSet> =
    LazyLock::new(|| ByteSet::of(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));

/// How often a byte of ordinary text is in a set.
fn share(set: &ByteSet) -> f64 {
    set.iter().map(|byte| SHARES[usize::from(byte)]).sum::<f64>().max(1e-9)
}

/// How often each byte is found in ordinary text.
static SHARES: LazyLock<[f64; 256]> = LazyLock::new(|| {
    let letters = b"etaoinsrhldcumfpgywbvkxjqz";
    let of_letters =
        [95, 69, 62, 58, 55, 54, 50, 47, 40, 33, 31, 24, 22, 20, 17, 17, 16, 15, 14, 12, 8, 7, 2, 2, 1, 1];
    let one = |byte: u8| match byte {
        b' ' => 165.0,
        b'a'..=b'z' => {
            letters.iter().zip(of_letters).find(|(letter, _)| **letter == byte).map_or(1, |of| of.1).into()
        }
        b'A'..=b'Z' => 1.5,
        b'.' | b'-' | b'\n' | b'/' => 9.0,
        b'0'..=b'9' | b',' | b'=' | b':' | b'>' | b'<' | b'"' => 4.0,
        b'!'..=b'~' => 1.0,
        0x80.. => 0.05,
        _ => 0.2,
    };
    let all: [f64; 256] = std::array::from_fn(|byte| one(byte as u8));
    let sum: f64 = all.iter().sum();
    all.map(|share| share / sum)
});
